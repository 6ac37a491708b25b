//! Parses a function's log into changes of items, errors with their traces, Lambda's reports, and
//! plain text.
//!
//! It knows Lambda's two log formats (tab-separated text and JSON), stream records as functions
//! usually print them, and what the local AWS makes of both.
//!
//! **Invariant:** pure, for any text; nothing is guessed. Whatever can't be parsed completely stays
//! text.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::trace;

/// An item or a part of it: plain values by attribute.
pub type Image = BTreeMap<String, Json>;

/// One parsed event of a log.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Line {
    /// The request ID of its invocation, if the line has it.
    pub request: Option<String>,
    /// Whether Lambda wrote it to frame or report an invocation, instead of the function.
    pub is_platform: bool,
    /// Whether it is the first line of an invocation.
    pub is_start: bool,
    /// Its content. Empty for a line that only frames an invocation: the invocation's report has
    /// the same and more.
    pub entries: Vec<LogEntry>,
}

/// One entry of a log.
#[derive(Debug, Clone, PartialEq)]
pub enum LogEntry {
    /// A change of an item.
    Record(Record),
    /// An error of the function.
    Failure(FunctionFailure),
    /// Lambda's report at the end of an invocation.
    Report(Report),
    /// Anything else, unchanged.
    Text {
        /// Its log level as the runtime writes it, if the line has one.
        level: Option<String>,
        /// The text without the prefix of the log format.
        text: String,
    },
}

/// The kind of a change in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum EventName {
    /// The item was created.
    Insert,
    /// The item was updated.
    Modify,
    /// The item was deleted.
    Remove,
}

/// A stream record: one change of one item.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The kind of change.
    pub event_name: EventName,
    /// The item's key.
    pub keys: Image,
    /// The item before, if the stream's view type includes it.
    pub old: Option<Image>,
    /// The item after, if the stream's view type includes it.
    pub new: Option<Image>,
}

/// An attribute before and after.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttributeChange<'r> {
    /// Its name.
    pub attribute: &'r str,
    /// `None`: it didn't exist, or the stream's view type leaves it out.
    pub before: Option<&'r Json>,
    /// `None`: it no longer exists, or the stream's view type leaves it out.
    pub after: Option<&'r Json>,
}

/// An error that a function threw or logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionFailure {
    /// Its type, such as `TypeError`.
    pub kind: String,
    /// Its message.
    pub message: String,
    /// The lines of its stack trace.
    pub trace: Vec<String>,
}

/// An error as one message, whether the function threw or logged it, or Lambda ended the
/// invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedError {
    /// Its type and message.
    pub message: String,
    /// The lines of its stack trace in the function's code.
    pub trace: Vec<String>,
}

/// The time and memory of an invocation.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    /// Duration in milliseconds.
    pub duration: f64,
    /// Billed duration in milliseconds.
    pub billed: Option<f64>,
    /// Memory size in MB.
    pub memory: Option<f64>,
    /// Maximum memory used in MB.
    pub used: Option<f64>,
    /// Init duration in milliseconds, on a cold start.
    pub init: Option<f64>,
    /// `timeout` or `error`, unless the invocation succeeded.
    pub status: Option<String>,
}

impl Line {
    /// An event that isn't parsed.
    pub fn raw(text: &str) -> Line {
        Line { entries: vec![LogEntry::Text { level: None, text: text.to_owned() }], ..Line::default() }
    }

    /// The first error in it. Text without an error's type counts only if a stack trace follows it.
    pub fn error(&self) -> Option<LoggedError> {
        let (message, trace) = self.entries.iter().find_map(LogEntry::error)?;
        // Which file of the project a frame belongs to is not known here, so it is named as in the
        // package.
        Some(LoggedError { message, trace: trace::own(trace.into_iter(), &|_| None) })
    }

    /// The same without the runtime's stack frames. `locate` returns the project's file for a path
    /// below the folder of the function's code.
    #[must_use]
    pub fn with_own_frames(mut self, locate: &dyn Fn(&str) -> Option<String>) -> Line {
        for entries in &mut self.entries {
            match entries {
                LogEntry::Failure(failure) => {
                    failure.trace = trace::own(failure.trace.iter().map(String::as_str), locate);
                }
                LogEntry::Text { text, .. } if text.contains('\n') => {
                    *text = trace::own(text.split('\n'), locate).join("\n")
                }
                _ => {}
            }
        }
        self
    }
}

impl LogEntry {
    fn error(&self) -> Option<(String, Vec<&str>)> {
        match self {
            LogEntry::Failure(FunctionFailure { kind, message, trace }) => {
                Some((format!("{kind}: {message}"), trace.iter().map(String::as_str).collect()))
            }
            // What a function logs of an error that it handles has another level.
            LogEntry::Text { level: Some(level), .. } if !["ERROR", "FATAL"].contains(&level.as_str()) => None,
            LogEntry::Text { text, .. } => {
                if let Some((_, message)) = text.find(TIMED_OUT).and_then(|at| text.split_at_checked(at)) {
                    return Some((message.to_owned(), Vec::new()));
                }
                let (first, below) = text.split_once('\n')?;
                let trace: Vec<&str> = below.lines().take_while(|line| line.trim_start().starts_with("at ")).collect();
                let message = first.rsplit('\t').next().unwrap_or_default().trim().to_owned();
                (!trace.is_empty()).then_some((message, trace))
            }
            LogEntry::Record(_) | LogEntry::Report(_) => None,
        }
    }
}

impl EventName {
    /// All kinds, in the order of an item's life.
    pub const ALL: [EventName; 3] = [EventName::Insert, EventName::Modify, EventName::Remove];

    /// The `eventName` of a record.
    pub fn word(self) -> &'static str {
        match self {
            EventName::Insert => "INSERT",
            EventName::Modify => "MODIFY",
            EventName::Remove => "REMOVE",
        }
    }

    /// The change with this `eventName`.
    pub fn of(word: &str) -> Option<EventName> {
        EventName::ALL.into_iter().find(|it| it.word() == word)
    }
}

impl Record {
    /// The attributes outside the key that were added, changed or removed, sorted by name. If the
    /// stream's view type includes only one image, all its attributes.
    pub fn changes(&self) -> Vec<AttributeChange<'_>> {
        let mut changes: BTreeMap<&str, AttributeChange<'_>> = BTreeMap::new();
        for (attribute, before) in self.old.iter().flatten() {
            changes.insert(attribute, AttributeChange { attribute, before: Some(before), after: None });
        }
        for (attribute, after) in self.new.iter().flatten() {
            let fresh = AttributeChange { attribute, before: None, after: None };
            changes.entry(attribute).or_insert(fresh).after = Some(after);
        }
        let changed = changes.into_values().filter(|it| it.before != it.after);
        changed.filter(|it| !self.keys.contains_key(it.attribute)).collect()
    }
}

/// The log levels of Node.js, Python and Lambda.
const LEVELS: [&str; 7] = ["TRACE", "DEBUG", "INFO", "WARN", "WARNING", "ERROR", "FATAL"];
/// How Lambda's line about a timeout begins, after time and request ID
/// (docs.aws.amazon.com/lambda/latest/dg/configuration-timeout.html).
const TIMED_OUT: &str = "Task timed out after ";
/// Longer texts, in bytes, aren't parsed as objects printed by Node.js or Python.
const MAX_INSPECTED: usize = 1 << 18;
/// How many opening brackets of a text are tried as the start of JSON.
const MAX_STARTS: usize = 16;

/// Parses a log event.
pub fn read(text: &str) -> Line {
    let text = text.trim_end_matches(['\n', '\r']);
    // docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-logformat.html
    framed(text)
        .or_else(|| tabbed(text))
        .or_else(|| timed_out(text))
        .or_else(|| document(text))
        .unwrap_or_else(|| Line { entries: payload(text, None), ..Line::default() })
}

/// Lambda's own lines in the text format.
fn framed(text: &str) -> Option<Line> {
    let frame =
        |request: Option<&str>| Line { request: request.map(str::to_owned), is_platform: true, ..Line::default() };
    let is_id = |word: &str| word.len() == 36 && word.bytes().all(|it| it.is_ascii_hexdigit() || it == b'-');
    if text.starts_with("INIT_START Runtime Version: ") && !text.contains('\n') {
        return Some(frame(None));
    }
    let (word, rest) = text.split_once(" RequestId: ")?;
    let (id, rest) = rest.split_at(rest.find(['\t', ' ', '\n']).unwrap_or(rest.len()));
    if !is_id(id) {
        return None;
    }
    match word {
        "START" if rest.starts_with(" Version: ") && !rest.contains('\n') => {
            Some(Line { is_start: true, ..frame(Some(id)) })
        }
        "END" if rest.is_empty() => Some(frame(Some(id))),
        "REPORT" => {
            // X-Ray may add lines below.
            let fields = rest.lines().next()?.split('\t').filter_map(|field| field.trim().split_once(": "));
            let fields: BTreeMap<&str, &str> = fields.collect();
            let number = |name: &str| fields.get(name)?.split(' ').next()?.parse().ok();
            let report = Report {
                duration: number("Duration")?,
                billed: number("Billed Duration"),
                memory: number("Memory Size"),
                used: number("Max Memory Used"),
                init: number("Init Duration"),
                status: fields.get("Status").map(|status| (*status).to_owned()),
            };
            Some(Line { entries: vec![LogEntry::Report(report)], ..frame(Some(id)) })
        }
        _ => None,
    }
}

/// `time⇥request⇥LEVEL⇥text` of Node.js, `[LEVEL]⇥time⇥request⇥text` of Python.
fn tabbed(text: &str) -> Option<Line> {
    let fields: Vec<&str> = text.splitn(4, '\t').collect();
    let [first, second, third, rest] = fields[..] else { return None };
    let python = || first.strip_prefix('[')?.strip_suffix(']').filter(|_| is_time(second));
    let (level, request) = match python() {
        Some(level) => (level, third),
        None if is_time(first) => (third, second),
        None => return None,
    };
    let level = LEVELS.contains(&level).then_some(level)?;
    Some(Line {
        request: Some(request).filter(|it| *it != "undefined").map(str::to_owned),
        entries: payload(rest, Some(level)),
        ..Line::default()
    })
}

/// `2026-11-25T14:23:16.123Z`.
fn is_time(word: &str) -> bool {
    word.len() == 24 && word.ends_with('Z') && word.bytes().take(4).all(|it| it.is_ascii_digit())
}

/// `time request Task timed out after 3.00 seconds`.
fn timed_out(text: &str) -> Option<Line> {
    let fields: Vec<&str> = text.splitn(3, ' ').collect();
    let [time, request, text] = fields[..] else { return None };
    let is_one = is_time(time) && text.starts_with(TIMED_OUT);
    let entries = vec![LogEntry::Text { level: Some("ERROR".to_owned()), text: text.trim_end().to_owned() }];
    is_one.then(|| Line { request: Some(request.to_owned()), entries, ..Line::default() })
}

/// A line in the JSON format.
fn document(text: &str) -> Option<Line> {
    let line: Map<String, Json> = text.starts_with('{').then(|| serde_json::from_str(text).ok()).flatten()?;
    let word = |name: &str| line.get(name).and_then(Json::as_str);
    if let (Some(kind), Some(Json::Object(record))) = (word("type"), line.get("record")) {
        return platform(kind, record);
    }
    word("timestamp")?;
    let request = word("requestId").map(str::to_owned);
    // Python's runtime logs an unhandled exception without `message`.
    if let Some(failure) = failure(&line).filter(|_| !line.contains_key("message")) {
        return Some(Line { request, entries: vec![LogEntry::Failure(failure)], ..Line::default() });
    }
    let level = word("level").filter(|level| LEVELS.contains(level))?;
    let entries = match line.get("message")? {
        Json::String(text) => payload(text, Some(level)),
        message => match spoken(message, None) {
            Some(entries) => entries,
            None => vec![LogEntry::Text { level: Some(level.to_owned()), text: message.to_string() }],
        },
    };
    Some(Line { request, entries, ..Line::default() })
}

/// Lambda's own lines in the JSON format
/// (docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html).
fn platform(kind: &str, record: &Map<String, Json>) -> Option<Line> {
    let request = record.get("requestId").and_then(Json::as_str).map(str::to_owned);
    let status = record.get("status").and_then(Json::as_str).filter(|status| *status != "success");
    let number = |name: &str| record.get("metrics")?.get(name)?.as_f64();
    let entries = match kind {
        "platform.start" | "platform.runtimeDone" | "platform.initStart" | "platform.initRuntimeDone" => Vec::new(),
        "platform.initReport" if status.is_none() => Vec::new(),
        "platform.report" => vec![LogEntry::Report(Report {
            duration: number("durationMs")?,
            billed: number("billedDurationMs"),
            memory: number("memorySizeMB"),
            used: number("maxMemoryUsedMB"),
            init: number("initDurationMs"),
            status: status.map(str::to_owned),
        })],
        _ => return None,
    };
    Some(Line { request, entries, is_platform: true, is_start: kind == "platform.start" })
}

/// The content of a function's own line.
fn payload(text: &str, level: Option<&str>) -> Vec<LogEntry> {
    let plain = || vec![LogEntry::Text { level: level.map(str::to_owned), text: text.to_owned() }];
    if let Some(record) = plain_record_anywhere(text) {
        return vec![LogEntry::Record(record)];
    }
    // Text may come first, brackets included: `[INFO] user {7} sent {…}`.
    let starts = text.match_indices(['{', '[']).take(MAX_STARTS);
    let mut found = starts.filter_map(|(at, _)| {
        let (words, json) = text.split_at_checked(at)?;
        let json: Json = serde_json::from_str(json).ok()?;
        spoken(&json, Some(words))
    });
    let thrown = || level.is_none().then(|| thrown(text)).flatten().map(|failure| vec![LogEntry::Failure(failure)]);
    found.next().or_else(|| inspected(text)).or_else(thrown).unwrap_or_else(plain)
}

/// An error without a level, as a runtime prints it: `TypeError: no luck` above the frames of
/// Node.js, the same below those of Python, and `[ERROR] KeyError: 'x'` of Lambda's Python runtime,
/// with or without frames.
fn thrown(text: &str) -> Option<FunctionFailure> {
    // The runtime separates the lines of an event with carriage returns, and indents with no-break
    // spaces (github.com/aws/aws-lambda-python-runtime-interface-client,
    // awslambdaric/bootstrap.py).
    let text = text.replace("\r\n", "\n").replace('\r', "\n").replace('\u{a0}', " ");
    let failure = |head: &str, trace: &[&str]| {
        let (kind, message) = typed(head)?;
        let trace = trace.iter().map(|line| line.trim_end().to_owned()).collect();
        Some(FunctionFailure { kind: kind.to_owned(), message: message.trim_end().to_owned(), trace })
    };
    let lines: Vec<&str> = text.lines().collect();
    if let Some(error) = text.strip_prefix("[ERROR] ") {
        let (head, frames) = error.split_once(trace::TRACEBACK).unwrap_or((error, ""));
        let frames: Vec<&str> = frames.lines().filter(|line| !line.trim().is_empty()).collect();
        return failure(head, &frames).filter(|it| !it.message.is_empty() || !frames.is_empty());
    }
    if let Some((_, below)) = lines.split_first().filter(|(first, _)| **first == trace::TRACEBACK) {
        let n_frames = below.iter().take_while(|line| line.starts_with("  ")).count();
        let (frames, error) = below.split_at_checked(n_frames)?;
        return failure(&error.join("\n"), frames);
    }
    let first = lines.iter().position(|line| trace::is_of_node(line))?;
    let (head, frames) = lines.split_at_checked(first)?;
    let is_whole = frames.iter().all(|line| trace::is_of_node(line));
    // `console.trace` prints frames as well.
    let is_error = |it: &FunctionFailure| ["Error", "Exception"].iter().any(|end| it.kind.ends_with(end));
    failure(&head.join("\n"), frames).filter(|it| is_whole && is_error(it))
}

/// Type and message of `TypeError: no luck`.
fn typed(head: &str) -> Option<(&str, &str)> {
    let (kind, message) = head.split_once(": ").unwrap_or((head.trim_end(), ""));
    let is_part = |part: &str| part.starts_with(|c: char| c.is_alphabetic() || c == '_');
    let is_type = kind.split('.').all(is_part) && kind.chars().all(|c| c.is_alphanumeric() || "._".contains(c));
    is_type.then_some((kind, message))
}

/// A record that [`plain_record`] parses, also after leading text.
fn plain_record_anywhere(text: &str) -> Option<Record> {
    let starts = EventName::ALL.into_iter().filter_map(|it| text.find(&format!("{} keys {{", it.word())));
    let start = starts.min()?;
    let is_word = text.get(..start)?.ends_with(|c: char| c.is_alphanumeric() || c == '_');
    plain_record(text.get(start..)?).filter(|_| !is_word)
}

/// `MODIFY keys {…} | old {…} | new {…}`, with plain values.
fn plain_record(text: &str) -> Option<Record> {
    let (word, mut rest) = text.split_once(' ')?;
    let event_name = EventName::of(word)?;
    let mut images: BTreeMap<&str, Image> = BTreeMap::new();
    loop {
        let (name, json) = rest.split_once(' ')?;
        let mut values = serde_json::Deserializer::from_str(json).into_iter::<Image>();
        let image = values.next()?.ok()?;
        rest = json.get(values.byte_offset()..)?;
        if !["keys", "old", "new"].contains(&name) || images.insert(name, image).is_some() {
            return None;
        }
        match rest.strip_prefix(" | ") {
            Some(more) => rest = more,
            None if rest.trim().is_empty() => break,
            None => return None,
        }
    }
    Some(Record { event_name, keys: images.remove("keys")?, old: images.remove("old"), new: images.remove("new") })
}

/// The content of a JSON value: a stream's event, its records, one record, or an error. `words` is
/// the text in front of it.
fn spoken(json: &Json, words: Option<&str>) -> Option<Vec<LogEntry>> {
    let all = |records: &[Json]| {
        let entries: Option<Vec<LogEntry>> = records.iter().map(|json| Some(LogEntry::Record(record(json)?))).collect();
        entries.filter(|it| !it.is_empty())
    };
    match json {
        Json::Array(records) => all(records),
        Json::Object(map) => {
            if let Some(Json::Array(records)) = map.get("Records") {
                return all(records);
            }
            let named = || {
                let mut named = words?.split(|c: char| !c.is_ascii_alphanumeric()).filter_map(EventName::of);
                let event_name = named.next().filter(|_| named.next().is_none())?;
                images(event_name, map)
            };
            record(json)
                .or_else(named)
                .map(LogEntry::Record)
                .or_else(|| failure(map).map(LogEntry::Failure))
                .map(|it| vec![it])
        }
        _ => None,
    }
}

/// A stream's record in DynamoDB's own form.
fn record(json: &Json) -> Option<Record> {
    images(EventName::of(json.get("eventName")?.as_str()?)?, json.get("dynamodb")?.as_object()?)
}

fn images(event_name: EventName, map: &Map<String, Json>) -> Option<Record> {
    // Anything but an image makes it something else.
    let image = |name: &str| match map.get(name) {
        None | Some(Json::Null) => Some(None),
        Some(Json::Object(typed)) => Some(Some(typed.iter().map(plain_entry).collect::<Option<Image>>()?)),
        Some(_) => None,
    };
    Some(Record { event_name, keys: image("Keys")??, old: image("OldImage")?, new: image("NewImage")? })
}

/// Attributes in DynamoDB's form as plain values.
pub fn plain_item(typed: &Map<String, Json>) -> Json {
    typed.iter().filter_map(plain_entry).collect::<Map<String, Json>>().into()
}

fn plain_entry((name, value): (&String, &Json)) -> Option<(String, Json)> {
    Some((name.clone(), plain(value)?))
}

/// DynamoDB's typed value as a plain one: `{"S": "x"}` as `"x"`. A number stays text if it has more
/// digits than fit.
fn plain(typed: &Json) -> Option<Json> {
    let map = typed.as_object().filter(|map| map.len() == 1)?;
    let (kind, inside) = map.iter().next()?;
    let texts = |list: &Json, read: fn(&str) -> Json| {
        Some(Json::Array(list.as_array()?.iter().map(|it| it.as_str().map(read)).collect::<Option<_>>()?))
    };
    match kind.as_str() {
        "S" | "B" if inside.is_string() => Some(inside.clone()),
        "N" => inside.as_str().map(number),
        "BOOL" if inside.is_boolean() => Some(inside.clone()),
        "NULL" => Some(Json::Null),
        "SS" | "BS" => texts(inside, |text| Json::from(text)),
        "NS" => texts(inside, number),
        "M" => Some(Json::Object(inside.as_object()?.iter().map(plain_entry).collect::<Option<_>>()?)),
        "L" => Some(Json::Array(inside.as_array()?.iter().map(plain).collect::<Option<_>>()?)),
        _ => None,
    }
}

fn number(text: &str) -> Json {
    let number = serde_json::from_str::<serde_json::Number>(text).ok();
    number.filter(|it| it.to_string() == text).map_or_else(|| Json::from(text), Json::Number)
}

/// An object as Node.js (`util.inspect`) or Python (`repr`) prints it, where that happens to be
/// YAML. Node.js abbreviates nested values, so a single record can be read, but hardly ever a whole
/// event.
fn inspected(text: &str) -> Option<Vec<LogEntry>> {
    // Escapes differ from YAML's, and parents can expand a short YAML to a huge one.
    let is_strange = text.contains(['\\', '&', '*']) || text.len() > MAX_INSPECTED;
    let looks_like_one = (text.contains("eventName: '") || text.contains("'eventName': '")) && !is_strange;
    let starts = text.match_indices(['{', '[']).filter(|_| looks_like_one).take(MAX_STARTS);
    let mut found = starts.filter_map(|(at, _)| {
        let (words, object) = text.split_at_checked(at)?;
        spoken(&serde_yaml::from_str(object).ok()?, Some(words))
    });
    found.next()
}

/// An error as the runtimes log it in JSON.
fn failure(map: &Map<String, Json>) -> Option<FunctionFailure> {
    let text = |name: &str| map.get(name).and_then(Json::as_str).map(str::to_owned);
    let (kind, message) = (text("errorType")?, text("errorMessage")?);
    let trace = ["stack", "stackTrace", "trace"].into_iter().find_map(|name| map.get(name)?.as_array());
    let lines = trace.into_iter().flatten().filter_map(Json::as_str).flat_map(str::lines);
    let mut trace: Vec<String> = lines.map(|line| line.trim_end().to_owned()).collect();
    // Node.js repeats type and message.
    if let Some(first) = trace.iter().position(|line| trace::is_of_node(line)) {
        trace.drain(..first);
    }
    Some(FunctionFailure { kind, message, trace })
}

/// Whether a line continues the error that ends `last`: a frame of Node.js, or the frames and the
/// error of Python.
fn continues(last: &str, line: &str) -> bool {
    if trace::is_of_node(line) {
        return true;
    }
    let is_runtimes = last.starts_with("[ERROR] ");
    if line == trace::TRACEBACK {
        return is_runtimes && !last.contains('\n');
    }
    let is_open = last.starts_with(trace::TRACEBACK) || is_runtimes && last.contains(trace::TRACEBACK);
    let end = last.rsplit('\n').next().unwrap_or_default();
    let is_in_frames = is_open && (end == trace::TRACEBACK || end.starts_with("  "));
    is_in_frames && (line.starts_with("  ") || !is_runtimes && typed(line).is_some())
}

/// Joins what was logged at once, but is in several events of one stream: the local AWS makes an
/// event of each line, so an object printed over several lines, or a trace below its error, is
/// spread over them. `text` borrows an event's text.
pub fn join_split_entries<E>(events: Vec<E>, text: fn(&mut E) -> &mut String) -> Vec<E> {
    let mut joined: Vec<E> = Vec::new();
    // The line that an object may begin with.
    let mut open: Option<usize> = None;
    for mut event in events {
        let line = text(&mut event).clone();
        if let Some(last) = joined.last_mut().map(text).filter(|last| continues(last, &line)) {
            last.push('\n');
            last.push_str(&line);
            continue;
        }
        joined.push(event);
        if line.ends_with(['{', '[']) && !line.starts_with([' ', '\t']) {
            open = Some(joined.len() - 1);
        } else if let Some(start) = open.take_if(|_| line == "}" || line == "]") {
            let lines: Vec<String> = joined.iter_mut().skip(start).map(|it| text(it).clone()).collect();
            let whole = lines.join("\n");
            // Only if the whole means more than its lines.
            if !matches!(read(&whole).entries[..], [LogEntry::Text { .. }])
                && let Some(first) = joined.get_mut(start)
            {
                *text(first) = whole;
                joined.truncate(start + 1);
            }
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// A value, typed and plain.
    fn value() -> impl Strategy<Value = (Json, Json)> {
        let leaf = prop_oneof![
            any::<String>().prop_map(|text| (json!({ "S": text }), json!(text))),
            any::<i64>().prop_map(|number| (json!({ "N": number.to_string() }), json!(number))),
            any::<bool>().prop_map(|bool| (json!({ "BOOL": bool }), json!(bool))),
            Just((json!({ "NULL": true }), Json::Null)),
            Just((json!({ "NS": ["1", "2.50"] }), json!([1, "2.50"]))),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(|items| {
                    let (typed, plain): (Vec<Json>, Vec<Json>) = items.into_iter().unzip();
                    (json!({ "L": typed }), json!(plain))
                }),
                prop::collection::btree_map("[a-z]{1,3}", inner, 0..3).prop_map(|map| {
                    let plain: BTreeMap<_, _> = map.iter().map(|(name, (_, plain))| (name, plain)).collect();
                    let typed: BTreeMap<_, _> = map.iter().map(|(name, (typed, _))| (name, typed)).collect();
                    (json!({ "M": typed }), json!(plain))
                }),
            ]
        })
    }

    fn image() -> impl Strategy<Value = (Json, Image)> {
        prop::collection::btree_map("[a-z]{1,4}", value(), 1..4).prop_map(|map| {
            let typed: BTreeMap<_, _> = map.iter().map(|(name, (typed, _))| (name, typed)).collect();
            (json!(typed), map.iter().map(|(name, (_, plain))| (name.clone(), plain.clone())).collect())
        })
    }

    /// A record as in the stream, and its parsed form.
    fn record() -> impl Strategy<Value = (Json, Record)> {
        let event_name = prop::sample::select(EventName::ALL.to_vec());
        (event_name, image(), prop::option::of(image()), prop::option::of(image())).prop_map(
            |(event_name, keys, old, new)| {
                let mut dynamodb = json!({ "Keys": keys.0, "SequenceNumber": "1" });
                for (name, image) in [("OldImage", &old), ("NewImage", &new)] {
                    if let Some((typed, _)) = image {
                        dynamodb[name] = typed.clone();
                    }
                }
                let typed = json!({ "eventName": event_name.word(), "dynamodb": dynamodb });
                let plain = |image: Option<(Json, Image)>| image.map(|(_, plain)| plain);
                (typed, Record { event_name, keys: keys.1, old: plain(old), new: plain(new) })
            },
        )
    }

    proptest! {
        #[test]
        fn a_record_is_parsed_from_every_form_that_functions_print((typed, record) in record()) {
            let entries = vec![LogEntry::Record(record.clone())];
            let whole = json!({ "Records": [typed] });
            let tabbed = format!("2026-11-25T14:23:16.123Z\trequest\tINFO\tgot {whole}\n");
            let level = json!({ "timestamp": "t", "level": "INFO", "requestId": "request", "message": typed });
            let images = [("keys", Some(&record.keys)), ("old", record.old.as_ref()), ("new", record.new.as_ref())];
            let parts = images.into_iter().filter_map(|(name, image)| Some(format!("{name} {}", json!(image?))));
            let plain = format!("{} {}", record.event_name.word(), parts.collect::<Vec<_>>().join(" | "));
            for text in [typed.to_string(), format!("{whole:#}"), tabbed, level.to_string(), plain] {
                prop_assert_eq!(&read(&text).entries, &entries, "{}", text);
            }
            // A local AWS makes an event of each line.
            let lines: Vec<String> = format!("got {typed:#}").lines().map(str::to_owned).collect();
            let joined = join_split_entries(lines, |line| line);
            prop_assert_eq!(joined.iter().map(|line| read(line).entries).collect::<Vec<_>>(), vec![entries]);
        }

        #[test]
        fn any_text_is_parsed_and_non_records_stay_unchanged(
            parts in prop::collection::vec(prop_oneof![
                Just("{"), Just("}"), Just("["), Just("]"), Just("\t"), Just("\n"), Just(" "), Just("INSERT keys "),
                Just("eventName: 'INSERT'"), Just("\"eventName\":\"MODIFY\""), Just("2026-11-25T14:23:16.123Z"),
                Just("REPORT RequestId: "), Just("    at x"), Just(": "), Just("é"), Just("&a *a"),
            ], 0..24)
        ) {
            let text = parts.concat();
            read(&text);
            let lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
            let joined = join_split_entries(lines, |line| line).join("\n");
            prop_assert_eq!(&joined, &text);
        }

        #[test]
        fn plain_text_stays_as_it_is(text in "[^\t\n\r{\\[]{0,40}") {
            prop_assume!(!text.contains("RequestId: ") && !text.starts_with("INIT_START") && !text.contains("timed out"));
            prop_assert_eq!(read(&text).entries, vec![LogEntry::Text { level: None, text: text.clone() }]);
        }
    }
}
