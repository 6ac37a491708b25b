//! Reports what a command waits for, before there is any progress to show.
//!
//! **Invariant:** it only writes to stderr, and nothing with `--quiet`.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::aws::{ANSWER, Reporter};
use crate::wait::RESPONSE;

use super::line;

/// Reports on stderr what reading waits for, each wait once: nothing else has been shown by then.
pub(in crate::cli) fn report_waits_once(quiet: bool) -> Reporter {
    let reported: Mutex<BTreeSet<String>> = Mutex::default();
    Arc::new(move |what: Option<&str>| {
        // Another call in flight isn't worth a notice.
        if let Some(what) = what.filter(|what| *what != RESPONSE)
            && !quiet
            && reported.lock().unwrap_or_else(PoisonError::into_inner).insert(what.to_owned())
        {
            line(&format!("waiting for {what}..."));
        }
    })
}

/// After this time a read reports what it waits for, and then again every [`REMINDER`].
const PATIENCE: Duration = Duration::from_secs(3);
const REMINDER: Duration = Duration::from_secs(20);
/// How many waits are named; the rest are counted.
const NAMED_WAITS: usize = 3;

/// Runs `work`, and reports on stderr what it waits for.
pub(in crate::cli) async fn with_wait_notice<T>(
    quiet: bool,
    waits: impl Fn() -> Vec<String>,
    work: impl Future<Output = T>,
) -> T {
    let start = Instant::now();
    let mut work = pin!(work);
    let mut next = start + PATIENCE;
    loop {
        if let Ok(done) = timeout_at(next, &mut work).await {
            return done;
        }
        next = Instant::now() + REMINDER;
        if !quiet {
            line(&format!("{} ({} s)", wait_notice(&waits()), start.elapsed().as_secs()));
        }
    }
}

/// `waiting for A, B, C and 4 more`.
fn wait_notice(waits: &[String]) -> String {
    // A wait that several share is reported once.
    let about = |wait: &'_ String| wait.strip_prefix(ANSWER)?.strip_prefix(" about ").map(str::to_owned);
    let about: Vec<String> = waits.iter().filter_map(about).collect();
    let is_alike = about.len() > 1 && waits.iter().all(|wait| wait.starts_with(ANSWER));
    if is_alike {
        let named = about.iter().take(NAMED_WAITS).cloned().collect::<Vec<_>>().join(", ");
        let more = about.len().saturating_sub(NAMED_WAITS);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        return format!("waiting for {ANSWER} about {named}{more}");
    }
    let named: Vec<&str> = waits.iter().take(NAMED_WAITS).map(String::as_str).collect();
    match waits.len() - named.len() {
        0 if named.is_empty() => format!("waiting for {ANSWER}"),
        0 => format!("waiting for {}", named.join(", ")),
        more => format!("waiting for {} and {more} more", named.join(", ")),
    }
}
