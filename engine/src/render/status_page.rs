//! Renders the state of stacks as a page for a projector: large, light and dark, without network.
//!
//! **Invariant:** every state and every change is a word; colors and signs only repeat it.

use std::time::{Duration, SystemTime};

use jiff::tz::TimeZone;
use maud::{Markup, html};

use crate::logs::EventName;

use super::page::reloading;
use super::status::{StackRow, StackState, time};

/// Identifies a status page.
pub const GENERATOR: &str = "engine status";

/// The page. `again` is when a browser reloads it, for a file that is rewritten.
pub fn document(rows: &[StackRow], since: i64, when: SystemTime, again: Option<Duration>, zone: &TimeZone) -> String {
    let now = when.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    let now = i64::try_from(now).unwrap_or_default();
    let n_working = rows.iter().filter(|row| row.state() == StackState::Working).count();
    let body = html! {
        header {
            h1 { (n_working) " of " (rows.len()) " working" }
            p class="quiet" {
                "working: INSERT, MODIFY and REMOVE were seen since " (time(Some(since), zone)) ". Updated at " (time(Some(now), zone))
            }
        }
        main {
            ul class="board" { @for row in rows { (card(row, zone)) } }
        }
    };
    reloading(GENERATOR, "status", CSS, again, &body).into_string() + "\n"
}

fn card(row: &StackRow, zone: &TimeZone) -> Markup {
    let state = row.state();
    let class = match state {
        StackState::Working => "working",
        StackState::Deployed => "deployed",
        StackState::NotDeployed => "absent",
        StackState::Incomplete | StackState::Drifted | StackState::NotEnabled => "warning",
        StackState::Unreadable => "failure",
    };
    let resources = match state {
        StackState::Unreadable | StackState::NotDeployed => String::new(),
        _ => format!(", {} resources", row.resources()),
    };
    html! {
        li class=(class) {
            h2 { (row.name) }
            p class="state" { strong { (state.label()) } (resources) }
            ul class="changes" {
                @for (change, at) in EventName::ALL.iter().zip(row.seen) {
                    li class=(if at.is_some() { "seen" } else { "unseen" }) {
                        span aria-hidden="true" { (if at.is_some() { "✓" } else { "○" }) }
                        " " (change.word())
                        span class="at" { @if at.is_some() { (time(at, zone)) } @else { "not seen" } }
                    }
                }
            }
            @for remark in row.remarks().iter().take(2) { p class="remark" { (remark) } }
        }
    }
}

const CSS: &str = "\
:root{--good:#116329;--good-ground:#dafbe1;--warn:#7d4e00;--warn-ground:#fff1c2;--bad:#a40e26;--bad-ground:#ffebe9;\
--plain-ground:#f6f8fa}\
@media(prefers-color-scheme:dark){:root{--good:#7ee787;--good-ground:#0f2a18;--warn:#f2cc60;--warn-ground:#332701;\
--bad:#ffa198;--bad-ground:#3c1216;--plain-ground:#161b22}}\
body{margin:12px 16px}header{display:flex;flex-wrap:wrap;align-items:baseline;gap:4px 24px;margin-bottom:10px}\
h1{font-size:30px;margin:0}header p{margin:0;font-size:18px;color:var(--quiet)}\
ul{list-style:none;margin:0;padding:0}\
.board{display:grid;grid-template-columns:repeat(auto-fill,minmax(300px,1fr));gap:8px}\
.board>li{border:2px solid var(--line);border-left-width:10px;border-radius:8px;padding:5px 10px 7px;\
background:var(--plain-ground);min-width:0}\
h2{font-size:26px;line-height:1.15;margin:0;overflow-wrap:anywhere}.state{margin:0;font-size:18px}\
.changes{display:flex;gap:6px;margin-top:4px}.changes li{flex:1;font-size:16px;font-weight:600;white-space:nowrap}\
.changes .unseen{color:var(--quiet);font-weight:400}.at{display:block;font-size:15px;font-weight:400}\
.remark{margin:4px 0 0;font-size:15px;overflow-wrap:anywhere;display:-webkit-box;-webkit-line-clamp:2;\
-webkit-box-orient:vertical;overflow:hidden}\
.working{border-color:var(--good)!important;background:var(--good-ground)!important}.working strong,.seen{color:var(--good)}\
.warning{border-color:var(--warn)!important;background:var(--warn-ground)!important}.warning strong{color:var(--warn)}\
.failure{border-color:var(--bad)!important;background:var(--bad-ground)!important}.failure strong{color:var(--bad)}\
.absent h2,.absent .state{color:var(--quiet)}";
