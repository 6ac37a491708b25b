//! What a function has logged, as it comes in.
//!
//! Polled, not streamed: StartLiveTail has a host of its own, which a local AWS does not answer, and FilterLogEvents is
//! there for everybody who may read logs at all.

use std::collections::BTreeMap;

use super::error::{AwsError, Class, Named};
use super::wait::Context;

/// One event of a log group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEvent {
    /// AWS's id of it.
    pub id: String,
    /// The stream in which it stands: one for each execution environment.
    pub stream: String,
    /// When it was written, in milliseconds since 1970.
    pub at: i64,
    /// What it says, without a line break at the end.
    pub text: String,
}

/// How far a look goes back behind the last event, in milliseconds: events of several streams come in out of order.
const OVERLAP: i64 = 30_000;
/// How many events a page has at most
/// (docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_FilterLogEvents.html).
const PAGE: i32 = 10_000;

/// Follows a log group from a moment on.
#[derive(Debug)]
pub struct Tail {
    group: String,
    start: i64,
    /// What was written later is left out.
    end: Option<i64>,
    /// When the last event was written.
    last: i64,
    /// What has been handed out and may come again, by its id.
    seen: BTreeMap<String, i64>,
    /// A moment of which there are more events than can be read.
    crowded: Option<i64>,
}

impl Tail {
    /// Of the log group `group`, what is written from `start` on (milliseconds since 1970).
    pub fn new(group: &str, start: i64) -> Tail {
        Tail { group: group.to_owned(), start, end: None, last: start, seen: BTreeMap::new(), crowded: None }
    }

    /// Leaves out what is written after `end`.
    #[must_use]
    pub fn until(self, end: Option<i64>) -> Tail {
        Tail { end, ..self }
    }

    /// Reads nothing that was written before `start` from now on.
    pub fn skip_to(&mut self, start: i64) {
        self.start = self.start.max(start);
    }

    /// The millisecond of which the last looks have not shown everything, if there is one: AWS hands out one page of it.
    pub fn take_crowded(&mut self) -> Option<i64> {
        self.crowded.take()
    }

    /// What has come since the last look, in the order of time; `None`: there is no such log group (yet).
    ///
    /// # Errors
    /// `Denied` without the right `logs:FilterLogEvents`; whatever else keeps AWS from answering.
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
            // A full page may be cut off without a word about what follows.
            if n_events < PAGE.unsigned_abs() as usize {
                break;
            }
            if news.len() == n_before {
                // All of it is known and of one moment, of which the rest can't be reached; what comes later can.
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
                // A local AWS gives none, so the event is known by its place among those that are alike.
                let id = event.event_id.unwrap_or_else(|| {
                    let alike = format!("{stream} {at} {text}");
                    let n = n_alike.entry(alike.clone()).and_modify(|n| *n += 1).or_insert(0_u32);
                    format!("{n} {alike}")
                });
                LogEvent { id, stream, at, text }
            }));
            // A page may be empty and still have a successor; one that repeats its token has none.
            match answer.next_token.filter(|next| !next.is_empty() && token.as_ref() != Some(next)) {
                Some(next) => token = Some(next),
                None => return Ok(Some(events)),
            }
        }
    }
}
