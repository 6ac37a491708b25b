//! What the function's log says: whether it was called, whether it names a change of the test item, and what went wrong.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::Value as Json;

use crate::aws::{AwsError, Context, LogEvent, Tail};
use crate::records::Happening;

use super::item::Item;

/// So many lines of a stack trace are shown.
const TRACE: usize = 8;
/// The lines by which Lambda says that a call begins and ends.
const BEGINS: [&str; 2] = ["START RequestId:", "\"type\":\"platform.start\""];
const ENDS: [&str; 4] =
    ["END RequestId:", "REPORT RequestId:", "\"type\":\"platform.report\"", "\"type\":\"platform.runtimeDone\""];

/// A function's log from the first write on.
#[derive(Debug)]
pub(super) struct Log {
    tail: Tail,
    skew: Duration,
    /// By stream, what has come since the present change was written.
    lines: HashMap<String, Vec<String>>,
    /// Whether there is such a log group.
    pub(super) exists: bool,
}

/// A change of the test item that the log shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighting {
    /// The word by which it is called there.
    pub word: &'static str,
    /// What tells that it is this run's.
    pub by: Evidence,
}

/// What tells that a line of the log is about this run's item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Evidence {
    /// The mark of that very write.
    Mark,
    /// The item's key, and that the line came after the write: the log shows no more.
    Key,
}

/// What a function failed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) message: String,
    pub(super) trace: Vec<String>,
}

impl Log {
    /// Follows a log group; what stands there already is not looked at again. `skew`: how far this machine's clock may be
    /// ahead of the log's.
    ///
    /// # Errors
    /// As [`Tail::next`].
    pub(super) async fn follow(cx: &Context, group: &str, skew: Duration) -> Result<Log, AwsError> {
        let mut tail = Tail::new(group, before(skew));
        let exists = tail.next(cx).await?.is_some();
        Ok(Log { tail, skew, lines: HashMap::new(), exists })
    }

    /// Forgets what has come so far: it can't be about what is written from now on. A function that logs a lot would
    /// otherwise make each look read all of it again.
    pub(super) fn forget(&mut self) {
        self.lines.clear();
        self.tail.skip_to(before(self.skew));
    }

    /// Takes in what has come since the last look.
    ///
    /// # Errors
    /// As [`Tail::next`].
    pub(super) async fn look(&mut self, cx: &Context) -> Result<(), AwsError> {
        if let Some(events) = self.tail.next(cx).await? {
            self.exists = true;
            for LogEvent { stream, text, .. } in events {
                self.lines.entry(stream).or_default().push(text);
            }
        }
        Ok(())
    }

    /// Whether the function was called, or has said something, since the present change was written.
    pub(super) fn shows_a_call(&self) -> bool {
        !self.lines.is_empty()
    }

    /// How many lines of the function's own have come since.
    pub(super) fn n_own_lines(&self) -> usize {
        self.lines.values().flatten().filter(|line| !is_lambdas(line)).count()
    }

    /// Whether some line has the word for a change, of whatever item.
    pub(super) fn names_a_change(&self) -> bool {
        self.lines.values().flatten().any(|line| words(line).next().is_some())
    }

    /// The line that shows the change. Lines that tell nothing by themselves are read together with those of the same
    /// call: a text of several lines is one event on AWS, and several in a rehearsal.
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

    /// What the function failed with, the last time.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        self.lines
            .values()
            .find_map(|lines| (0..lines.len()).rev().find_map(|at| trouble(lines.get(at..).unwrap_or_default())))
    }
}

/// Now by the slower of two clocks, in milliseconds since 1970.
fn before(skew: Duration) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.saturating_sub(skew).as_millis()).unwrap_or_default()
}

/// Whether Lambda itself wrote the line.
fn is_lambdas(line: &str) -> bool {
    line.starts_with("INIT_START") || BEGINS.iter().chain(&ENDS).any(|mark| line.contains(mark))
}

/// What a text says about a change of the item.
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

/// The word for a change in a text: the stream's own, and where it has none of those for any change, what people say.
fn said(text: &str, change: Happening) -> Option<&'static str> {
    let found: Vec<&str> = words(text).collect();
    let is_official = |word: &&str| Happening::ALL.iter().any(|change| change.word() == *word);
    let has_official = found.iter().any(is_official);
    [change.word(), synonym(change)]
        .into_iter()
        .find(|word| found.contains(word) && (!has_official || is_official(word)))
}

/// What people call a change instead.
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

/// The JSON documents in a text, with what is JSON in their own texts.
fn json(text: &str) -> Vec<Json> {
    let Some(start) = text.find(['{', '[']) else { return Vec::new() };
    let values = serde_json::Deserializer::from_str(text.get(start..).unwrap_or_default()).into_iter::<Json>();
    let values: Vec<Json> = values.map_while(Result::ok).collect();
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

/// What the function failed with, if the first of these lines begins to say so.
fn trouble(lines: &[String]) -> Option<Trouble> {
    let (first, rest) = lines.split_first()?;
    // docs.aws.amazon.com/lambda/latest/dg/nodejs-exceptions.html, …/configuration-timeout.html
    if first.contains("Task timed out after") {
        let at = first.find("Task timed out after").unwrap_or_default();
        return Some(Trouble { message: first.get(at..).unwrap_or(first).to_owned(), trace: Vec::new() });
    }
    for document in json(first) {
        let error = if document["message"]["errorType"].is_string() { &document["message"] } else { &document };
        if let (Some(kind), Some(message)) = (error["errorType"].as_str(), error["errorMessage"].as_str()) {
            let stack = ["stack", "stackTrace", "trace"].iter().find_map(|name| error[*name].as_array());
            let lines = stack.into_iter().flatten().filter_map(Json::as_str);
            let lines = lines.map(str::trim).filter(|line| line.starts_with("at ") || line.starts_with("File "));
            let trace = lines.take(TRACE).map(str::to_owned).collect();
            return Some(Trouble { message: format!("{kind}: {message}"), trace });
        }
    }
    // Python's, in one event of several lines.
    if let Some((_, error)) = first.split_once("[ERROR] ")
        && let Some((message, trace)) = error.split_once("Traceback (most recent call last):")
    {
        let trace = trace.lines().map(str::trim).filter(|line| !line.is_empty()).take(TRACE);
        return Some(Trouble { message: message.trim().to_owned(), trace: trace.map(str::to_owned).collect() });
    }
    if first.trim_start().starts_with("at ") {
        // In the middle of a trace.
        return None;
    }
    // A trace as JavaScript prints it.
    let mut trace = first.lines().skip(1).chain(rest.iter().flat_map(|line| line.lines())).map(str::trim).peekable();
    trace.peek().filter(|line| line.starts_with("at "))?;
    let trace = trace.take_while(|line| line.starts_with("at ")).take(TRACE).map(str::to_owned).collect();
    let message = first.lines().next().unwrap_or_default().rsplit('\t').next().unwrap_or_default();
    Some(Trouble { message: message.trim().to_owned(), trace })
}
