//! Reads the function's log: whether Lambda invoked it, whether it shows a change of the test item, and its errors.
//!
//! **Invariant:** a line counts only if it came after the write, and has no mark of another run.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::Value as Json;

use crate::aws::{AwsError, Context, LogEvent, Tail};
use crate::records::{self, Failure, Happening, Said};

use super::item::Item;

/// Number of lines of a stack trace that are shown.
const TRACE: usize = 8;
/// How many opening brackets of a line are tried as the start of JSON.
const MAX_STARTS: usize = 16;
/// The lines with which Lambda frames an invocation.
const BEGINS: [&str; 2] = ["START RequestId:", "\"type\":\"platform.start\""];
const ENDS: [&str; 4] =
    ["END RequestId:", "REPORT RequestId:", "\"type\":\"platform.report\"", "\"type\":\"platform.runtimeDone\""];

/// A function's log since the first write.
#[derive(Debug)]
pub(super) struct Log {
    tail: Tail,
    /// Only the lines with the item's name, once a millisecond has more lines than AWS returns.
    named: Option<Tail>,
    group: String,
    name: String,
    start: i64,
    skew: Duration,
    /// By stream, the lines since the current change was written.
    lines: HashMap<String, Vec<String>>,
    is_fresh: bool,
    trouble: Option<Trouble>,
    /// Whether the log group exists.
    pub(super) exists: bool,
}

/// A change of the test item that the log shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighting {
    /// The word for the change in the log.
    pub word: &'static str,
    /// How this run's item was recognized.
    pub by: Evidence,
}

/// How a line of the log was recognized as this run's item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Evidence {
    /// The mark of that very write.
    Mark,
    /// The item's key in a line that came after the write: the log has no mark.
    Key,
}

/// An error of the function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) message: String,
    pub(super) trace: Vec<String>,
}

impl Log {
    /// Follows a log group from now on. `skew` is how far this machine's clock may be ahead of the log's.
    ///
    /// # Errors
    /// As [`Tail::next`].
    pub(super) async fn follow(cx: &Context, group: &str, name: &str, skew: Duration) -> Result<Log, AwsError> {
        let start = before(skew);
        let mut tail = Tail::new(group, start);
        let exists = tail.next(cx).await?.is_some();
        let (group, name) = (group.to_owned(), name.to_owned());
        let (lines, trouble, is_fresh) = (HashMap::new(), None, false);
        Ok(Log { tail, named: None, group, name, start, skew, lines, is_fresh, trouble, exists })
    }

    /// Drops the lines so far, before the next change is written. With a function that logs a lot, each poll would otherwise
    /// read all of them again.
    pub(super) fn forget(&mut self) {
        self.lines.clear();
        (self.is_fresh, self.trouble) = (false, None);
        self.start = before(self.skew);
        self.tail.skip_to(self.start);
        self.named = None;
    }

    /// Reads the lines that are new since the last call.
    ///
    /// # Errors
    /// As [`Tail::next`].
    pub(super) async fn look(&mut self, cx: &Context) -> Result<(), AwsError> {
        let events = self.tail.next(cx).await?;
        self.exists |= events.is_some();
        let mut events = events.unwrap_or_default();
        if self.tail.take_crowded().is_some() && self.named.is_none() {
            self.named = Some(Tail::new(&self.group, self.start).containing(&self.name));
        }
        if let Some(named) = &mut self.named {
            events.extend(named.next(cx).await?.unwrap_or_default());
        }
        self.is_fresh = !events.is_empty();
        if self.is_fresh {
            for LogEvent { stream, text, .. } in events {
                self.lines.entry(stream).or_default().push(text);
            }
            self.trouble = self.lines.values().find_map(|lines| {
                let texts = records::join(lines.clone(), |line| line);
                texts.iter().rev().find_map(|text| trouble(text))
            });
        }
        Ok(())
    }

    /// Whether Lambda invoked the function, or it printed something, since the current change was written.
    pub(super) fn shows_a_call(&self) -> bool {
        !self.lines.is_empty()
    }

    /// Number of lines since then that the function printed itself.
    pub(super) fn n_own_lines(&self) -> usize {
        self.lines.values().flatten().filter(|line| !is_lambdas(line)).count()
    }

    /// Whether any line has a word for a change, of any item.
    pub(super) fn names_a_change(&self) -> bool {
        self.lines.values().flatten().any(|line| words(line).next().is_some())
    }

    /// The line that shows the change. Lines that don't show it alone are read together with the others of their invocation:
    /// a text of several lines is one event on AWS, and several in the local AWS.
    pub(super) fn shows(&self, names: &[String], item: &Item, change: Happening) -> Option<Sighting> {
        let is_named = |text: &str| names.iter().any(|name| text.contains(name.as_str()));
        let is_whole = |line: &String| is_named(line) && words(line).next().is_some();
        let mut lines = self.lines.values().flatten();
        if let Some(sighting) = lines.find_map(|line| read(line, &is_named, item, change)) {
            return Some(sighting);
        }
        self.lines.values().find_map(|lines| {
            let calls = lines.split(|line| is_lambdas(line));
            calls
                .map(|call| {
                    call.iter().filter(|line| !is_whole(line)).map(String::as_str).collect::<Vec<_>>().join("\n")
                })
                .find_map(|text| read(&text, &is_named, item, change))
        })
    }

    /// The function's last error.
    pub(super) fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// Whether AWS returned only some of the lines.
    pub(super) fn is_cut(&self) -> bool {
        self.named.is_some()
    }

    /// Whether the last poll found new lines: reading all of them again would take longer with each poll.
    pub(super) fn is_fresh(&self) -> bool {
        self.is_fresh
    }
}

/// The current time of the slower clock, in milliseconds since 1970.
fn before(skew: Duration) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.saturating_sub(skew).as_millis()).unwrap_or_default()
}

/// Whether Lambda itself wrote the line.
fn is_lambdas(line: &str) -> bool {
    line.starts_with("INIT_START") || BEGINS.iter().chain(&ENDS).any(|mark| line.contains(mark))
}

/// The change of the item that a text shows.
fn read(text: &str, is_named: &impl Fn(&str) -> bool, item: &Item, change: Happening) -> Option<Sighting> {
    if !is_named(text) {
        return None;
    }
    let records: Vec<Json> = json(text).iter().flat_map(records).filter(|it| is_named(&it.to_string())).collect();
    if records.is_empty() {
        let word = said(text, change)?;
        return sighting(text, word, item, change);
    }
    let of_change = records.iter().filter(|record| record["eventName"].as_str() == Some(change.word()));
    of_change.map(ToString::to_string).find_map(|record| sighting(&record, change.word(), item, change))
}

fn sighting(text: &str, word: &'static str, item: &Item, change: Happening) -> Option<Sighting> {
    match item.marks(text).mean(item, change) {
        Some(false) => None,
        Some(true) => Some(Sighting { word, by: Evidence::Mark }),
        None => Some(Sighting { word, by: Evidence::Key }),
    }
}

/// The word for a change in a text: its `eventName`, or a synonym if the text has no `eventName` of any change.
fn said(text: &str, change: Happening) -> Option<&'static str> {
    let found: Vec<&str> = words(text).collect();
    let is_official = |word: &&str| Happening::ALL.iter().any(|change| change.word() == *word);
    let has_official = found.iter().any(is_official);
    [change.word(), synonym(change)]
        .into_iter()
        .find(|word| found.contains(word) && (!has_official || is_official(word)))
}

/// What handlers print instead.
fn synonym(change: Happening) -> &'static str {
    match change {
        Happening::Insert => "CREATE",
        Happening::Modify => "UPDATE",
        Happening::Remove => "DELETE",
    }
}

/// All words for a change in a text.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .filter(|word| Happening::ALL.into_iter().any(|change| [change.word(), synonym(change)].contains(word)))
}

/// The JSON documents in a text, and those in their `message`.
fn json(text: &str) -> Vec<Json> {
    // Text may come first, brackets included: `[INFO] got {…}`.
    let mut found = text.match_indices(['{', '[']).take(MAX_STARTS).map(|(start, _)| {
        let values = serde_json::Deserializer::from_str(text.get(start..).unwrap_or_default()).into_iter::<Json>();
        values.map_while(Result::ok).collect::<Vec<Json>>()
    });
    let values = found.find(|values| !values.is_empty()).unwrap_or_default();
    let inner = |value: &Json| value["message"].as_str().map(json).unwrap_or_default();
    let inner: Vec<Json> = values.iter().flat_map(inner).collect();
    values.into_iter().chain(inner).collect()
}

/// The stream's records within a document.
fn records(document: &Json) -> Vec<Json> {
    match document {
        Json::Object(fields) if fields.get("eventName").is_some_and(Json::is_string) => vec![document.clone()],
        Json::Object(fields) => fields.values().flat_map(records).collect(),
        Json::Array(items) => items.iter().flat_map(records).collect(),
        _ => Vec::new(),
    }
}

/// The error in an event, or in events that were joined.
fn trouble(text: &str) -> Option<Trouble> {
    // docs.aws.amazon.com/lambda/latest/dg/nodejs-exceptions.html, …/configuration-timeout.html
    if let Some(at) = text.find("Task timed out after") {
        return Some(Trouble { message: text.get(at..).unwrap_or(text).to_owned(), trace: Vec::new() });
    }
    // Which file of the project a frame belongs to is not known here, so it is named as in the package.
    let line = records::read(text).with_own_frames(&|_| None);
    let short = |trace: Vec<String>| trace.iter().take(TRACE).map(|line| line.trim().to_owned()).collect();
    let failure = line.said.into_iter().find_map(|said| match said {
        Said::Failure(failure) => Some(failure),
        _ => None,
    });
    if let Some(Failure { kind, message, trace }) = failure {
        return Some(Trouble { message: format!("{kind}: {message}"), trace: short(trace) });
    }
    // An error that the function itself printed, with its trace.
    let (first, below) = text.split_once('\n')?;
    let trace = below.lines().map(str::trim).take_while(|line| line.starts_with("at ")).take(TRACE);
    let trace: Vec<String> = trace.map(str::to_owned).collect();
    let message = first.rsplit('\t').next().unwrap_or_default().trim().to_owned();
    (!trace.is_empty()).then_some(Trouble { message, trace })
}
