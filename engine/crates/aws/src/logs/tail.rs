//! Follows a log group.
//!
//! It polls FilterLogEvents, for which everyone who reads logs has permission. StartLiveTail needs
//! a separate host, which the local AWS doesn't serve.
//!
//! **Invariant:** each event is returned once, in the order of time within a poll.

use std::collections::BTreeMap;

use crate::aws::{AwsError, CallContext, Context, Existing, limits};
use crate::kinds::default_log_group;
use crate::operation::{Effect, Operation, Service, Wire};
use crate::policy::{
    Imported,
    Purpose::{Logs, Verify},
    Scope, log_group,
};

/// The log groups of the functions.
const LOG_GROUPS: Scope = Scope {
    imported: Some(Imported {
        sid: "ImportedLogs",
        kind: "function",
        resources: |policy, function| log_group(policy.env, &default_log_group(&function.id.name)),
        why: Some("the log group of an imported function isn't known in advance"),
    }),
    ..Scope::new("Logs", |policy| policy.log_groups())
};

pub(crate) const OPERATIONS: &[Operation] = &[Operation::new(
    Service::LOGS,
    "logs:FilterLogEvents",
    Effect::Read,
    Wire::Json("Logs_20140328"),
    &limits::LOGS,
    &[(&LOG_GROUPS, &[Verify, Logs])],
)];

/// One event of a log group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEvent {
    /// The event's ID.
    pub id: String,
    /// Its log stream: one for each execution environment.
    pub stream: String,
    /// When it was written, in milliseconds since 1970.
    pub at: i64,
    /// Its message without a line break at the end.
    pub text: String,
}

/// How far a poll goes back before the last event, in milliseconds: events of several streams
/// arrive out of order.
const OVERLAP: i64 = 30_000;
/// Maximum number of events on a page
/// (docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_FilterLogEvents.html).
const PAGE: i32 = 10_000;

/// Follows a log group from a given time.
#[derive(Debug)]
pub struct Tail {
    group: String,
    start: i64,
    /// Events after this time are left out.
    end: Option<i64>,
    /// Events without this text are left out.
    text: Option<String>,
    /// When the last event was written.
    last: i64,
    /// The events that were returned and may come again, by ID.
    seen: BTreeMap<String, i64>,
    /// A millisecond with more events than can be read.
    crowded: Option<i64>,
}

impl Tail {
    /// Follows the log group `group` from `start` (milliseconds since 1970).
    pub fn new(group: &str, start: i64) -> Tail {
        Tail {
            group: group.to_owned(),
            start,
            end: None,
            text: None,
            last: start,
            seen: BTreeMap::new(),
            crowded: None,
        }
    }

    /// Leaves out events after `end`.
    #[must_use]
    pub fn until(self, end: Option<i64>) -> Tail {
        Tail { end, ..self }
    }

    /// Leaves out events without `text`, which must not contain quotes.
    #[must_use]
    pub fn containing(self, text: &str) -> Tail {
        Tail { text: Some(format!("\"{text}\"")), ..self }
    }

    /// From now on, leaves out events before `start`.
    pub fn skip_to(&mut self, start: i64) {
        self.start = self.start.max(start);
    }

    /// The millisecond whose events couldn't all be read since the last call, if any: AWS returns
    /// one page of it.
    pub fn take_crowded(&mut self) -> Option<i64> {
        self.crowded.take()
    }

    /// The events since the last call, in the order of time; `None` if the log group doesn't exist
    /// (yet).
    ///
    /// # Errors
    /// `AccessDenied` without the permission `logs:FilterLogEvents`; any other error of AWS.
    pub async fn next(&mut self, cx: &Context) -> Result<Option<Vec<LogEvent>>, AwsError> {
        let mut news = Vec::new();
        let mut from = self.start.max(self.last - OVERLAP);
        loop {
            let Some(events) = self.pages(cx, from).await? else { return Ok(None) };
            let (n_events, n_before) = (events.len(), news.len());
            for event in events {
                from = from.max(event.at);
                if self.seen.insert(event.id.clone(), event.at).is_none() {
                    news.push(event);
                }
            }
            // A full page may have been cut off without a token.
            if n_events < PAGE.unsigned_abs() as usize {
                break;
            }
            if news.len() == n_before {
                // All of it is known and from one millisecond, so the rest of that can't be
                // reached.
                self.crowded = Some(from);
                from += 1;
            }
        }
        self.last = self.last.max(from);
        self.seen.retain(|_, at| *at >= self.last - OVERLAP);
        news.sort_by(|a, b| (a.at, &a.stream).cmp(&(b.at, &b.stream)));
        Ok(Some(news))
    }

    async fn pages(&self, cx: &Context, from: i64) -> Result<Option<Vec<LogEvent>>, AwsError> {
        let (mut events, mut token) = (Vec::new(), None::<String>);
        let mut n_alike = BTreeMap::new();
        loop {
            let look = || async {
                let request = cx.aws.logs.filter_log_events().log_group_name(&self.group).start_time(from).limit(PAGE);
                let request = request.set_end_time(self.end).set_filter_pattern(self.text.clone());
                request.set_next_token(token.clone()).send().await.context("FilterLogEvents", &self.group)
            };
            let Some(answer) = cx.read(&self.group, look).await.if_exists()? else { return Ok(None) };
            events.extend(answer.events.unwrap_or_default().into_iter().map(|event| {
                let stream = event.log_stream_name.unwrap_or_default();
                let at = event.timestamp.unwrap_or_default();
                let text = event.message.unwrap_or_default().trim_end_matches(['\n', '\r']).to_owned();
                // The local AWS has no IDs, so equal events are numbered.
                let id = event.event_id.unwrap_or_else(|| {
                    let alike = format!("{stream} {at} {text}");
                    let n = n_alike.entry(alike.clone()).and_modify(|n| *n += 1).or_insert(0_u32);
                    format!("{n} {alike}")
                });
                LogEvent { id, stream, at, text }
            }));
            // An empty page may have a next one; a repeated token has none.
            match answer.next_token.filter(|next| !next.is_empty() && token.as_ref() != Some(next)) {
                Some(next) => token = Some(next),
                None => return Ok(Some(events)),
            }
        }
    }
}
