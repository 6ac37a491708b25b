//! What functions have logged, a line for each thing said: for people with colours and columns, for programs as JSON.

use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use anstyle::Style;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value as Json, json};
use textwrap::core::display_width;

use crate::diagnostic::{printable, wrap};
use crate::records::{Change, Failure, Happening, Image, Record, Report, Said};

use super::{BOLD, DIM, FORMAT_VERSION, GREEN, Look, PLAIN, RED, YELLOW, word};

/// One thing that a log says, and where it stands.
#[derive(Debug, Clone)]
pub struct Entry<'e> {
    /// The function's name in the spec.
    pub function: &'e str,
    /// When it was written, in milliseconds since 1970.
    pub at: i64,
    /// The stream in which it stands.
    pub stream: &'e str,
    /// The invocation that it belongs to, where it says so.
    pub request: Option<&'e str>,
    /// What it says.
    pub said: &'e Said,
}

/// The last millisecond that can be written as a date of four digits.
const LAST: i64 = 253_402_300_799_999;
/// Columns of the longest usual label and the blanks behind it.
const LABEL: usize = "MODIFY  ".len();
/// Words keep at least so many columns, however narrow the terminal.
const ROOM: usize = 24;

/// Lines one after another, with a heading for each day.
#[derive(Debug)]
pub struct Journal {
    look: Look,
    /// Columns of the functions' names, with the blanks behind them; 0: they are not shown.
    names: usize,
    day: String,
    zone: TimeZone,
}

impl Journal {
    /// For lines of these functions; without any, no names stand in front. Times are in UTC.
    pub fn new<'n>(functions: impl Iterator<Item = &'n str>, look: Look) -> Journal {
        let names = functions.map(|name| display_width(name) + 2).max().unwrap_or(0);
        Journal { look, names, day: String::new(), zone: TimeZone::UTC }
    }

    /// Shows times as clocks in `zone` show them.
    #[must_use]
    pub fn in_zone(self, zone: TimeZone) -> Journal {
        Journal { zone, ..self }
    }

    /// One entry for people.
    pub fn entry(&mut self, entry: &Entry<'_>) -> String {
        let Journal { look, names, .. } = *self;
        let (day, time) = on_clock(entry.at, &self.zone);
        let mut text = String::new();
        if self.day != day {
            let _ = writeln!(text, "{}", look.paint(DIM, &day));
            self.day = day;
        }
        let Shown { label, style, head, body } = shown(entry.said);
        if names > 0 {
            let name = format!("{:names$}", entry.function);
            text.push_str(&look.paint(BOLD, &name));
        }
        let _ = write!(text, "{}  ", look.paint(DIM, &time));
        let mut indent = names + time.len() + 2;
        if !label.is_empty() {
            let padding = LABEL.saturating_sub(label.len()).max(2);
            let _ = write!(text, "{}{:padding$}", look.paint(style, label), "");
            indent += label.len() + padding;
        }
        let lines = match entry.said {
            // What is said as it is stays as it is.
            Said::Text { .. } => head.split('\n').map(str::to_owned).collect(),
            _ => wrap(&head, look.width.saturating_sub(indent).max(ROOM)),
        };
        let quiet = if matches!(entry.said, Said::Report(_)) { DIM } else { PLAIN };
        for (at, line) in lines.iter().map(String::as_str).chain(body.iter().map(String::as_str)).enumerate() {
            let line = look.paint(quiet, line);
            let _ = if at == 0 { writeln!(text, "{line}") } else { writeln!(text, "{:indent$}{line}", "") };
        }
        text
    }
}

/// One entry as it was logged, with whatever it holds.
pub fn raw(entry: &Entry<'_>) -> String {
    match entry.said {
        Said::Text { text, .. } => format!("{text}\n"),
        said => format!("{}\n", shown(said).head),
    }
}

/// Whether an entry, as it is shown to people, contains `text`.
pub fn contains(said: &Said, text: &str) -> bool {
    let Shown { label, head, body, .. } = shown(said);
    let whole = [&[format!("{label}  {head}")], &body[..]].concat();
    whole.join("\n").contains(text)
}

/// One thing said, as people see it.
struct Shown {
    label: &'static str,
    style: Style,
    head: String,
    /// Lines that are not wrapped.
    body: Vec<String>,
}

fn shown(said: &Said) -> Shown {
    match said {
        Said::Record(record) => {
            let style = match record.happening {
                Happening::Insert => GREEN,
                Happening::Modify => YELLOW,
                Happening::Remove => RED,
            };
            Shown { label: record.happening.word(), style, head: told(record), body: Vec::new() }
        }
        Said::Failure(Failure { kind, message, trace }) => {
            let head = printable(&format!("{kind}: {message}"));
            Shown { label: "ERROR", style: RED, head, body: trace.iter().map(|line| printable(line)).collect() }
        }
        Said::Report(report) => {
            let style = if report.status.is_some() { RED } else { DIM };
            Shown { label: "REPORT", style, head: measured(report), body: Vec::new() }
        }
        Said::Text { level, text } => {
            let (label, style) = match level.as_deref() {
                Some("TRACE") => ("TRACE", DIM),
                Some("DEBUG") => ("DEBUG", DIM),
                Some("WARN" | "WARNING") => ("WARN", YELLOW),
                Some("ERROR") => ("ERROR", RED),
                Some("FATAL") => ("FATAL", RED),
                _ => ("", PLAIN),
            };
            Shown { label, style, head: printable(text), body: Vec::new() }
        }
    }
}

/// `id=7  text: "buy milk" -> "buy oat milk"`.
fn told(record: &Record) -> String {
    let keys: Vec<String> = record.keys.iter().map(|(name, value)| format!("{}={}", word(name), bare(value))).collect();
    let is_change = record.happening == Happening::Modify && record.old.is_some() && record.new.is_some();
    let changes: Vec<String> = record.changes().iter().map(|change| changed(*change, is_change)).collect();
    let changes = match changes.is_empty() {
        true if is_change => "(no attribute changed)".to_owned(),
        _ => changes.join(", "),
    };
    printable(format!("{}  {changes}", keys.join(" ")).trim_end())
}

fn changed(change: Change<'_>, is_change: bool) -> String {
    let Change { attribute, before, after } = change;
    let name = word(attribute);
    match (before, after) {
        (Some(before), Some(after)) => format!("{name}: {} -> {}", value(before), value(after)),
        (Some(gone), None) if is_change => format!("- {name}: {}", value(gone)),
        (None, Some(come)) if is_change => format!("+ {name}: {}", value(come)),
        (one, other) => format!("{name}: {}", one.or(other).map_or_else(String::new, value)),
    }
}

/// A value in the style of plans.
fn value(json: &Json) -> String {
    match json {
        Json::Object(map) if map.is_empty() => "{}".to_owned(),
        Json::Object(map) => {
            let entries: Vec<String> = map.iter().map(|(key, it)| format!("{}: {}", word(key), value(it))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        Json::Array(items) => format!("[{}]", items.iter().map(value).collect::<Vec<_>>().join(", ")),
        plain => plain.to_string(),
    }
}

/// A key's value, without quotes where it is a plain word.
fn bare(json: &Json) -> String {
    json.as_str().map_or_else(|| value(json), word)
}

/// `12.34 ms, 67 of 128 MB, cold start 151 ms`.
fn measured(report: &Report) -> String {
    let Report { duration, memory, used, init, status, .. } = report;
    let status = status.as_ref().map(|status| format!("{} after ", printable(status))).unwrap_or_default();
    let mut text = format!("{status}{duration} ms");
    // A local AWS does not measure it.
    if let (Some(used), Some(memory)) = (used.as_ref().filter(|used| used.to_string() != "0"), memory) {
        let _ = write!(text, ", {used} of {memory} MB");
    }
    if let Some(init) = init {
        let _ = write!(text, ", cold start {init} ms");
    }
    text
}

/// The day with its offset, `2026-11-25 (UTC+01:00)`, and the time.
fn on_clock(at: i64, zone: &TimeZone) -> (String, String) {
    let timestamp = Timestamp::from_millisecond(at.clamp(0, LAST)).unwrap_or_default();
    let there = timestamp.to_zoned_datetime(zone.clone());
    let offset = if there.offset().is_zero() { "" } else { "%:z" };
    (there.strftime(&format!("%Y-%m-%d (UTC{offset})")).to_string(), there.strftime("%H:%M:%S.%3f").to_string())
}

/// Milliseconds since 1970 as `2026-11-25T14:23:16.123Z`.
pub fn moment(at: i64) -> String {
    let since = Duration::from_millis(at.clamp(0, LAST).unsigned_abs());
    humantime::format_rfc3339_millis(UNIX_EPOCH + since).to_string()
}

/// One entry as a JSON document.
pub fn json(entry: &Entry<'_>) -> Json {
    let Entry { function, at, stream, request, said } = entry;
    let mut document = Map::new();
    let mut add = |fields: Json| {
        if let Json::Object(fields) = fields {
            document.extend(fields);
        }
    };
    add(json!({
        "format_version": FORMAT_VERSION,
        "time": moment(*at),
        "function": function,
        "stream": stream,
        "request_id": request,
    }));
    add(match said {
        Said::Record(record) => {
            let Record { happening, keys, old, new } = record;
            let changes = record.changes().into_iter().map(
                |Change { attribute, before, after }| json!({ "attribute": attribute, "before": before, "after": after }),
            );
            let changes: Vec<Json> = changes.collect();
            let image = |image: &Option<Image>| image.as_ref().map(|it| json!(it));
            json!({
                "type": "record",
                "event": happening.word(),
                "keys": keys,
                "old": image(old),
                "new": image(new),
                "changes": changes,
            })
        }
        Said::Failure(Failure { kind, message, trace }) => {
            json!({ "type": "error", "error": kind, "message": message, "trace": trace })
        }
        Said::Report(Report { duration, billed, memory, used, init, status }) => json!({
            "type": "report",
            "duration_ms": duration,
            "billed_ms": billed,
            "memory_mb": memory,
            "max_memory_used_mb": used,
            "init_ms": init,
            "status": status,
        }),
        Said::Text { level, text } => json!({ "type": "text", "level": level, "text": text }),
    });
    Json::Object(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_zone_with_its_offset() {
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
}
