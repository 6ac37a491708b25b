//! The frame of every HTML page: self-contained, for light and dark mode, for wide and narrow
//! windows.
//!
//! **Invariant:** a page loads nothing, which its content security policy enforces.

use std::time::Duration;

use maud::{DOCTYPE, Markup, PreEscaped, html};

/// A whole page. Its colors are `--ink`, `--ground`, `--quiet` (secondary text) and `--line`.
pub(super) fn page(generator: &str, title: &str, css: &str, body: &Markup) -> Markup {
    reloading(generator, title, css, None, body)
}

/// The same, which a browser loads again after a while.
pub(super) fn reloading(generator: &str, title: &str, css: &str, again: Option<Duration>, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="generator" content=(generator);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                @if let Some(again) = again { meta http-equiv="refresh" content=(again.as_secs()); }
                title { "engine: " (title) }
                style { (PreEscaped(BASE)) (PreEscaped(css)) }
            }
            body { (body) }
        }
    }
}

const BASE: &str = "\
:root{color-scheme:light dark;--ink:#1f2328;--ground:#fff;--quiet:#59636e;--line:#d1d9e0}\
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--ground:#0d1117;--quiet:#9198a1;--line:#30363d}}\
body{margin:24px;font-family:system-ui,sans-serif;color:var(--ink);background:var(--ground)}h1{font-size:20px}";
