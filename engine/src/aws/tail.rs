//! Follows a function's log.
//!
//! It polls FilterLogEvents instead of streaming: StartLiveTail uses a separate host, which a local AWS doesn't serve,
//! and requires a separate permission.

use std::collections::BTreeMap;

use super::error::{AwsError, Class, Named};
use super::wait::Context;

/// One event of a log group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEvent {
    /// AWS's event ID.
    pub id: String,
    /// Its log stream: one per execution environment.
    pub stream: String,
    /// When it was written, in milliseconds since 1970.
    pub at: i64,
    /// Its message, without a line break at the end.
    pub text: String,
}

/// How far a read goes back before the last event, in milliseconds: events of several streams arrive out of order.
const OVERLAP: i64 = 30_000;
/// The maximum number of events per page
/// (docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_FilterLogEvents.html).
const PAGE: i32 = 10_000;

/// Follows a log group from a point in time.
#[derive(Debug)]
pub struct Tail {
    group: String,
    start: i64,
    /// Later events are omitted.
    end: Option<i64>,
    /// When the last event was written.
    last: i64,
    /// Events that were returned and may be read again, by ID.
    seen: BTreeMap<String, i64>,
    /// A millisecond with more events than can be read.
    crowded: Option<i64>,
}

impl Tail {
    /// Follows the log group `group` from `start` (milliseconds since 1970).
    pub fn new(group: &str, start: i64) -> Tail {
        Tail { group: group.to_owned(), start, end: None, last: start, seen: BTreeMap::new(), crowded: None }
    }

    /// Omits events after `end`.
    #[must_use]
    pub fn until(self, end: Option<i64>) -> Tail {
        Tail { end, ..self }
    }

    /// Omits events before `start` from now on.
    pub fn skip_to(&mut self, start: i64) {
        self.start = self.start.max(start);
    }

    /// The millisecond whose events couldn't all be read, if any: AWS returns only one page of it.
    pub fn take_crowded(&mut self) -> Option<i64> {
        self.crowded.take()
    }

    /// New events since the last read, in order of time; `None` if the log group doesn't exist (yet).
    ///
    /// # Errors
    /// `Denied` without the permission `logs:FilterLogEvents`; other failures of the call.
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
            // A full page may be truncated without any indication.
            if n_events < PAGE.unsigned_abs() as usize {
                break;
            }
            if news.len() == n_before {
                // All events are known and have one timestamp: its other events can't be read, but later ones can.
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
                let request = request.set_end_time(self.end);
                request.set_next_token(token.clone()).send().await.named("FilterLogEvents", &self.group)
            };
            let answer = match cx.read(&self.group, look).await {
                Err(error) if error.class == Class::NotFound => return Ok(None),
                answer => answer?,
            };
            events.extend(answer.events.unwrap_or_default().into_iter().map(|event| {
                let stream = event.log_stream_name.unwrap_or_default();
                let at = event.timestamp.unwrap_or_default();
                let text = event.message.unwrap_or_default().trim_end_matches(['\n', '\r']).to_owned();
                // A local AWS returns none, so the event is identified by its index among equal ones.
                let id = event.event_id.unwrap_or_else(|| {
                    let alike = format!("{stream} {at} {text}");
                    let n = n_alike.entry(alike.clone()).and_modify(|n| *n += 1).or_insert(0_u32);
                    format!("{n} {alike}")
                });
                LogEvent { id, stream, at, text }
            }));
            // An empty page may have a next page; one that repeats its token has none.
            match answer.next_token.filter(|next| !next.is_empty() && token.as_ref() != Some(next)) {
                Some(next) => token = Some(next),
                None => return Ok(Some(events)),
            }
        }
    }
}
