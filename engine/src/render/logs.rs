//! Renders the logs of functions, a line for each entry: for people with colors and columns, for
//! programs as JSON.
//!
//! **Invariant:** JSON has every entry; what is folded for people is counted.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use anstyle::Style;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value as Json, json};
use textwrap::core::display_width;

use crate::diagnostic::{printable, wrap};
use crate::logs::{AttributeChange, EventName, FunctionFailure, Image, LogEntry, Record, Report};

use super::json::FORMAT_VERSION;
use super::value::yaml_key;
use super::{BOLD, DIM, GREEN, OutputStyle, PLAIN, RED, YELLOW};

/// An entry of a log and where it was logged.
#[derive(Debug, Clone)]
pub struct JournalEntry<'e> {
    /// The function's name in the spec.
    pub function: &'e str,
    /// When it was written, in milliseconds since 1970.
    pub at: i64,
    /// Its log stream.
    pub stream: &'e str,
    /// The request ID of its invocation, if known.
    pub request: Option<&'e str>,
    /// Its content.
    pub entry: &'e LogEntry,
}

/// An entry for people, with its earlier repetitions folded into it.
#[derive(Debug)]
pub struct JournalRow<'e> {
    /// The last of them.
    pub entry: JournalEntry<'e>,
    /// How often it was logged, itself included.
    pub times: u32,
    /// When the first was logged, in milliseconds since 1970.
    since: i64,
    /// Whether this journal has shown the same error before.
    is_known: bool,
}

/// What a journal knows of an error that it has shown.
#[derive(Debug)]
struct Repeat {
    times: u32,
    since: i64,
}

/// The maximum number of different errors that are remembered: each may contain a new number.
const MAX_ERRORS: usize = 10_000;
/// The last millisecond that can be written as a date of four digits.
const LAST: i64 = 253_402_300_799_999;
/// Columns of the longest common label and the spaces after it.
const LABEL: usize = "MODIFY  ".len();
/// The minimum number of columns for text, however narrow the terminal.
const ROOM: usize = 24;

/// Consecutive entries, with a heading for each day.
#[derive(Debug)]
pub struct Journal {
    out: OutputStyle,
    /// Columns of the functions' names and the spaces after them; 0 if they aren't shown.
    names: usize,
    day: String,
    zone: TimeZone,
    /// The errors so far, by function and text.
    errors: HashMap<String, Repeat>,
}

impl Journal {
    /// For entries of these functions, each with its function's name in front; without functions,
    /// no names. Times are in UTC.
    pub fn new<'n>(functions: impl Iterator<Item = &'n str>, out: OutputStyle) -> Journal {
        let names = functions.map(|name| display_width(name) + 2).max().unwrap_or(0);
        Journal { out, names, day: String::new(), zone: TimeZone::UTC, errors: HashMap::new() }
    }

    /// Shows local times of `zone`.
    #[must_use]
    pub fn in_zone(self, zone: TimeZone) -> Journal {
        Journal { zone, ..self }
    }

    /// Folds errors that repeat into their last occurrence, with the reports of the invocations
    /// before it: a mapping sends a batch that fails again and again.
    pub fn fold<'e>(&mut self, entries: Vec<JournalEntry<'e>>) -> Vec<JournalRow<'e>> {
        let keys: Vec<Option<String>> = entries.iter().map(error_key).collect();
        let mut last: HashMap<&str, usize> = HashMap::new();
        for (at, key) in keys.iter().enumerate() {
            if let Some(key) = key {
                last.insert(key, at);
            }
        }
        let is_folded =
            |at: usize| keys.get(at).and_then(Option::as_deref).is_some_and(|key| last.get(key) != Some(&at));
        let invocation = |entry: &JournalEntry<'e>| entry.request.map(|request| (entry.function, request));
        let folded = (0..entries.len()).filter(|at| is_folded(*at)).filter_map(|at| invocation(entries.get(at)?));
        let folded: HashSet<_> = folded.collect();
        let mut in_batch: HashMap<&str, Repeat> = HashMap::new();
        if self.errors.len() > MAX_ERRORS {
            self.errors.clear();
        }
        let mut rows = Vec::new();
        for (at, entry) in entries.into_iter().enumerate() {
            let Some(key) = keys.get(at).and_then(Option::as_deref) else {
                let is_report = matches!(entry.entry, LogEntry::Report(_));
                if !(is_report && invocation(&entry).is_some_and(|it| folded.contains(&it))) {
                    rows.push(JournalRow { since: entry.at, entry, times: 1, is_known: false });
                }
                continue;
            };
            let repeat = in_batch.entry(key).or_insert(Repeat { times: 0, since: entry.at });
            repeat.times += 1;
            if is_folded(at) {
                continue;
            }
            let known = self.errors.entry(key.to_owned()).or_insert(Repeat { times: 0, since: repeat.since });
            let is_known = known.times > 0;
            known.times = known.times.saturating_add(repeat.times);
            rows.push(JournalRow { entry, times: known.times, since: known.since, is_known });
        }
        rows
    }

    /// An entry for people. `next` is what happens after an error that repeats.
    pub fn row(&mut self, row: &JournalRow<'_>, next: Option<&str>) -> String {
        let Journal { out, names, .. } = *self;
        let JournalRow { entry, times, since, is_known } = row;
        let (day, time) = on_clock(entry.at, &self.zone);
        let mut text = String::new();
        if self.day != day {
            let _ = writeln!(text, "{}", out.paint(DIM, &day));
            self.day = day;
        }
        let DisplayEntry { label, style, mut head, mut body } = display_entry(entry.entry);
        if *times > 1 {
            let (first_day, first) = on_clock(*since, &self.zone);
            let first = first.split('.').next().unwrap_or_default();
            let since = if first_day == self.day { first.to_owned() } else { format!("{first_day}, {first}") };
            let next = next.map(|next| format!("; {next}")).unwrap_or_default();
            let count = format!(" ({times} times since {since}{next})");
            let end = head.find('\n').unwrap_or(head.len());
            head.insert_str(end, &count);
        }
        if *is_known {
            head.truncate(head.find('\n').unwrap_or(head.len()));
            body.clear();
        }
        if names > 0 {
            let name = format!("{:names$}", entry.function);
            text.push_str(&out.paint(BOLD, &name));
        }
        let _ = write!(text, "{}  ", out.paint(DIM, &time));
        let mut indent = names + time.len() + 2;
        if !label.is_empty() {
            let padding = LABEL.saturating_sub(label.len()).max(2);
            let _ = write!(text, "{}{:padding$}", out.paint(style, label), "");
            indent += label.len() + padding;
        }
        let lines = match entry.entry {
            // Plain text stays as it was logged.
            LogEntry::Text { .. } => head.split('\n').map(str::to_owned).collect(),
            _ => wrap(&head, out.width.saturating_sub(indent).max(ROOM)),
        };
        let quiet = if matches!(entry.entry, LogEntry::Report(_)) { DIM } else { PLAIN };
        for (at, line) in lines.iter().map(String::as_str).chain(body.iter().map(String::as_str)).enumerate() {
            let line = out.paint(quiet, line);
            let _ = if at == 0 { writeln!(text, "{line}") } else { writeln!(text, "{:indent$}{line}", "") };
        }
        text
    }
}

/// An entry without the time, as lines.
pub(super) fn entry(entry: &LogEntry, out: OutputStyle) -> Vec<String> {
    let DisplayEntry { label, style, head, body } = display_entry(entry);
    let (label, columns) = if label.is_empty() { (String::new(), 0) } else { (format!("{label:<LABEL$}"), LABEL) };
    let lines = head.split('\n').map(str::to_owned).chain(body);
    let label = |at: usize| if at == 0 { out.paint(style, &label) } else { " ".repeat(columns) };
    lines.enumerate().map(|(at, line)| format!("{}{line}", label(at))).collect()
}

/// An entry as it was logged, control characters included.
pub fn raw(entry: &JournalEntry<'_>) -> String {
    match entry.entry {
        LogEntry::Text { text, .. } => format!("{text}\n"),
        entry => format!("{}\n", display_entry(entry).head),
    }
}

/// Whether an entry contains `text` in the form that people see.
pub fn contains(entry: &LogEntry, text: &str) -> bool {
    let DisplayEntry { label, head, body, .. } = display_entry(entry);
    let whole = [&[format!("{label}  {head}")], &body[..]].concat();
    whole.join("\n").contains(text)
}

/// What makes two entries the same error of the same function.
fn error_key(entry: &JournalEntry<'_>) -> Option<String> {
    let DisplayEntry { label: "ERROR" | "FATAL", head, body, .. } = display_entry(entry.entry) else { return None };
    Some(format!("{}\n{head}\n{}", entry.function, body.join("\n")))
}

/// The content of an entry as people see it.
struct DisplayEntry {
    label: &'static str,
    style: Style,
    head: String,
    /// Lines that are not wrapped.
    body: Vec<String>,
}

fn display_entry(entry: &LogEntry) -> DisplayEntry {
    match entry {
        LogEntry::Record(record) => {
            let style = match record.event_name {
                EventName::Insert => GREEN,
                EventName::Modify => YELLOW,
                EventName::Remove => RED,
            };
            DisplayEntry { label: record.event_name.word(), style, head: record_text(record), body: Vec::new() }
        }
        LogEntry::Failure(FunctionFailure { kind, message, trace }) => {
            let head = printable(&format!("{kind}: {message}"));
            DisplayEntry { label: "ERROR", style: RED, head, body: trace.iter().map(|line| printable(line)).collect() }
        }
        LogEntry::Report(report) => {
            let style = if report.status.is_some() { RED } else { DIM };
            DisplayEntry { label: "REPORT", style, head: measured(report), body: Vec::new() }
        }
        LogEntry::Text { level, text } => {
            let (label, style) = match level.as_deref() {
                Some("TRACE") => ("TRACE", DIM),
                Some("DEBUG") => ("DEBUG", DIM),
                Some("WARN" | "WARNING") => ("WARN", YELLOW),
                Some("ERROR") => ("ERROR", RED),
                Some("FATAL") => ("FATAL", RED),
                _ => ("", PLAIN),
            };
            DisplayEntry { label, style, head: printable(text), body: Vec::new() }
        }
    }
}

/// `id=7  text: "buy milk" -> "buy oat milk"`.
fn record_text(record: &Record) -> String {
    let keys: Vec<String> =
        record.keys.iter().map(|(name, value)| format!("{}={}", yaml_key(name), bare(value))).collect();
    let is_change = record.event_name == EventName::Modify && record.old.is_some() && record.new.is_some();
    let changes: Vec<String> = record.changes().iter().map(|change| changed(*change, is_change)).collect();
    let changes = match changes.is_empty() {
        true if is_change => "(no attribute changed)".to_owned(),
        _ => changes.join(", "),
    };
    printable(format!("{}  {changes}", keys.join(" ")).trim_end())
}

fn changed(change: AttributeChange<'_>, is_change: bool) -> String {
    let AttributeChange { attribute, before, after } = change;
    let name = yaml_key(attribute);
    match (before, after) {
        (Some(before), Some(after)) => format!("{name}: {} -> {}", value(before), value(after)),
        (Some(removed), None) if is_change => format!("- {name}: {}", value(removed)),
        (None, Some(added)) if is_change => format!("+ {name}: {}", value(added)),
        (one, other) => format!("{name}: {}", one.or(other).map_or_else(String::new, value)),
    }
}

/// A value as plans show it.
fn value(json: &Json) -> String {
    match json {
        Json::Object(map) if map.is_empty() => "{}".to_owned(),
        Json::Object(map) => {
            let entries: Vec<String> =
                map.iter().map(|(key, it)| format!("{}: {}", yaml_key(key), value(it))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        Json::Array(items) => format!("[{}]", items.iter().map(value).collect::<Vec<_>>().join(", ")),
        plain => plain.to_string(),
    }
}

/// A key's value, without quotes where it is a plain word.
fn bare(json: &Json) -> String {
    json.as_str().map_or_else(|| value(json), yaml_key)
}

/// `12.34 ms, 67 of 128 MB, cold start 151 ms`.
pub(super) fn measured(report: &Report) -> String {
    let Report { duration, memory, used, init, status, .. } = report;
    let status = status.as_ref().map(|status| format!("{} after ", printable(status))).unwrap_or_default();
    let mut text = format!("{status}{duration} ms");
    // The local AWS doesn't measure it.
    if let (Some(used), Some(memory)) = (used.as_ref().filter(|used| used.to_string() != "0"), memory) {
        let _ = write!(text, ", {used} of {memory} MB");
    }
    if let Some(init) = init {
        let _ = write!(text, ", cold start {init} ms");
    }
    text
}

/// The day with its offset from UTC, like `2026-11-25 (UTC+01:00)`, and the time.
pub(super) fn on_clock(at: i64, zone: &TimeZone) -> (String, String) {
    let timestamp = Timestamp::from_millisecond(at.clamp(0, LAST)).unwrap_or_default();
    let there = timestamp.to_zoned_datetime(zone.clone());
    let offset = if there.offset().is_zero() { "" } else { "%:z" };
    (there.strftime(&format!("%Y-%m-%d (UTC{offset})")).to_string(), there.strftime("%H:%M:%S.%3f").to_string())
}

/// Milliseconds since 1970 as `2026-11-25T14:23:16.123Z`.
pub fn timestamp(at: i64) -> String {
    let since = Duration::from_millis(at.clamp(0, LAST).unsigned_abs());
    humantime::format_rfc3339_millis(UNIX_EPOCH + since).to_string()
}

/// An entry as a JSON document.
pub fn json(entry: &JournalEntry<'_>) -> Json {
    let JournalEntry { function, at, stream, request, entry } = entry;
    let mut document = Map::new();
    let mut add = |fields: Json| {
        if let Json::Object(fields) = fields {
            document.extend(fields);
        }
    };
    add(json!({
        "format_version": FORMAT_VERSION,
        "time": timestamp(*at),
        "function": function,
        "stream": stream,
        "request_id": request,
    }));
    add(match entry {
        LogEntry::Record(record) => {
            let Record { event_name, keys, old, new } = record;
            let changes = record.changes().into_iter().map(
                |AttributeChange { attribute, before, after }| json!({ "attribute": attribute, "before": before, "after": after }),
            );
            let changes: Vec<Json> = changes.collect();
            let image = |image: &Option<Image>| image.as_ref().map(|it| json!(it));
            json!({
                "type": "record",
                "event": event_name.word(),
                "keys": keys,
                "old": image(old),
                "new": image(new),
                "changes": changes,
            })
        }
        LogEntry::Failure(FunctionFailure { kind, message, trace }) => {
            json!({ "type": "error", "error": kind, "message": message, "trace": trace })
        }
        LogEntry::Report(Report { duration, billed, memory, used, init, status }) => json!({
            "type": "report",
            "duration_ms": duration,
            "billed_ms": billed,
            "memory_mb": memory,
            "max_memory_used_mb": used,
            "init_ms": init,
            "status": status,
        }),
        LogEntry::Text { level, text } => json!({ "type": "text", "level": level, "text": text }),
    });
    Json::Object(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_local_with_their_offset() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap_or(TimeZone::UTC);
        for (at, zone, day, time) in [
            (1_764_080_596_123, &TimeZone::UTC, "2025-11-25 (UTC)", "14:23:16.123"),
            (1_764_080_596_123, &zone, "2025-11-25 (UTC+01:00)", "15:23:16.123"),
            (1_751_322_600_000, &zone, "2025-07-01 (UTC+02:00)", "00:30:00.000"),
            (-5, &TimeZone::UTC, "1970-01-01 (UTC)", "00:00:00.000"),
            (i64::MAX, &TimeZone::UTC, "9999-12-30 (UTC)", "22:00:00.000"),
        ] {
            let shown = on_clock(at, zone);
            assert!(shown.0 == day || at == i64::MAX, "{at}: {shown:?}");
            assert!(shown.1 == time || at == i64::MAX, "{at}: {shown:?}");
        }
    }

    #[test]
    fn a_repeated_error_is_counted_further_while_following() {
        let text = |level: Option<&str>| LogEntry::Text {
            level: level.map(str::to_owned),
            text: "no luck\nline 2".to_owned(),
        };
        let (error, plain) = (text(Some("ERROR")), text(None));
        let report = LogEntry::Report(Report { duration: 1.0, ..Report::default() });
        let entry = |at, request, entry| JournalEntry { function: "f", at, stream: "s", request: Some(request), entry };
        let out = OutputStyle { color: false, width: 80, plain: false };
        let mut journal = Journal::new([].into_iter(), out);
        let mut polled = |entries: Vec<JournalEntry<'_>>| {
            let rows = journal.fold(entries);
            rows.iter().map(|row| journal.row(row, Some("m goes on"))).collect::<String>()
        };
        let first = polled(vec![entry(0, "1", &error), entry(1, "1", &report), entry(2, "1", &plain)]);
        let day = "1970-01-01 (UTC)\n";
        let indent = " ".repeat(14);
        assert_eq!(
            first,
            format!(
                "{day}00:00:00.000  ERROR   no luck\n{indent}        line 2\n00:00:00.001  REPORT  1 ms\n00:00:00.002  no \
                 luck\n{indent}line 2\n"
            )
        );
        let again = vec![
            entry(1_000, "2", &error),
            entry(1_001, "2", &report),
            entry(2_000, "3", &error),
            entry(2_001, "3", &report),
        ];
        assert_eq!(
            polled(again),
            "00:00:02.000  ERROR   no luck (3 times since 00:00:00; m goes on)\n00:00:02.001  REPORT  1 ms\n"
        );
    }
}
