//! Reads the function's log: whether Lambda invoked it, whether it shows a change of the test item,
//! and its errors.
//!
//! **Invariant:** a line counts only if it came after the write, and has no mark of another run.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::aws::{AwsError, Context};
use crate::logs::{self, EventName, LogEntry, LogEvent, LoggedError, Mention, Tail};

use super::item::TestItem;

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
    lines: HashMap<String, Vec<Logged>>,
    /// The invocations that began before the current change was written.
    earlier: HashSet<String>,
    is_fresh: bool,
    error: Option<LoggedError>,
    /// Whether the log group exists.
    pub(super) exists: bool,
}

/// A change of the test item that the log shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighting {
    /// The word for the change in the log; `None` for a message.
    pub word: Option<&'static str>,
    /// How this run's item was recognized.
    pub by: Evidence,
}

/// How a line of the log was recognized as this run's item or message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Evidence {
    /// The mark of that very write, or the message's own text.
    Mark,
    /// The item's key in a line that came after the write: the log has no mark. Or the message's ID.
    Key,
}

/// A line of the log.
#[derive(Debug)]
struct Logged {
    text: String,
    /// When it was written, in milliseconds since 1970.
    at: i64,
    /// Whether Lambda itself wrote it.
    is_platform: bool,
    /// Whether it is the first line of an invocation.
    is_start: bool,
    /// Whether it is the report of an invocation.
    is_report: bool,
    request: Option<String>,
}

impl Logged {
    fn new(text: String, at: i64) -> Logged {
        let line = logs::read(&text);
        let is_report = matches!(line.entries.as_slice(), [LogEntry::Report(_)]);
        let (is_platform, is_start, request) = (line.is_platform, line.is_start, line.request);
        Logged { text, at, is_platform, is_start, is_report, request }
    }
}

impl Log {
    /// Follows a log group from now on. `skew` is how far this machine's clock may be ahead of the
    /// log's.
    ///
    /// # Errors
    /// As [`Tail::next`].
    pub(super) async fn follow(cx: &Context, group: &str, name: &str, skew: Duration) -> Result<Log, AwsError> {
        let start = before(skew);
        let mut tail = Tail::new(group, start);
        let exists = tail.next(cx).await?.is_some();
        let (group, name) = (group.to_owned(), name.to_owned());
        let (lines, earlier, error, is_fresh) = (HashMap::new(), HashSet::new(), None, false);
        Ok(Log { tail, named: None, group, name, start, skew, lines, earlier, is_fresh, error, exists })
    }

    /// Drops the lines so far, before the next change is written. With a function that logs a lot,
    /// each poll would otherwise read all of them again.
    pub(super) fn forget(&mut self) {
        self.earlier.extend(self.lines.values().flatten().filter_map(|line| line.request.clone()));
        self.lines.clear();
        (self.is_fresh, self.error) = (false, None);
        self.start = before(self.skew);
        self.tail.skip_to(self.start);
        self.named = None;
    }

    /// Reads the lines that are new since the last call.
    ///
    /// # Errors
    /// As [`Tail::next`].
    pub(super) async fn poll(&mut self, cx: &Context) -> Result<(), AwsError> {
        let events = self.tail.next(cx).await?;
        self.exists |= events.is_some();
        let mut events = events.unwrap_or_default();
        if self.tail.take_crowded().is_some() && self.named.is_none() {
            self.named = Some(Tail::new(&self.group, self.start).containing(&self.name));
        }
        if let Some(named) = &mut self.named {
            events.extend(named.next(cx).await?.unwrap_or_default());
        }
        self.add(events);
        Ok(())
    }

    /// Adds the events of a poll.
    fn add(&mut self, events: Vec<LogEvent>) {
        self.is_fresh = !events.is_empty();
        if !self.is_fresh {
            return;
        }
        for LogEvent { stream, text, at, .. } in events {
            self.lines.entry(stream).or_default().push(Logged::new(text, at));
        }
        self.error = self.lines.values().find_map(|lines| {
            let texts = logs::join_split_entries(lines.iter().map(|line| line.text.clone()).collect(), |text| text);
            texts.iter().rev().find_map(|text| logs::read(text).error())
        });
    }

    /// Whether Lambda invoked the function, or it printed something, since the current change was
    /// written.
    pub(super) fn shows_a_call(&self) -> bool {
        !self.lines.is_empty()
    }

    /// Whether an invocation has ended that began after the current change was written, and not
    /// before `second` (since 1970, by AWS's clock).
    pub(super) fn has_ended_call(&self, second: i64) -> bool {
        self.n_ended_calls(second) > 0
    }

    /// The number of these invocations.
    pub(super) fn n_ended_calls(&self, second: i64) -> usize {
        let lines = self.lines.values().flatten();
        let reported: HashSet<&str> =
            self.lines.values().flatten().filter(|it| it.is_report).filter_map(|it| it.request.as_deref()).collect();
        let started = lines.filter(|line| line.is_start && line.at >= second * 1000);
        let started: HashSet<&str> = started.filter_map(|line| line.request.as_deref()).collect();
        started.iter().filter(|it| reported.contains(*it) && !self.earlier.contains(**it)).count()
    }

    /// Whether a line has this text.
    pub(super) fn has(&self, text: &str) -> bool {
        self.lines.values().flatten().any(|line| line.text.contains(text))
    }

    /// Whether the log shows this change with a mark of this run.
    pub(super) fn shows_own(&self, names: &[String], item: &TestItem, change: EventName) -> bool {
        let lines = self.lines.values().flatten();
        let mut mentions = lines.flat_map(|line| logs::mentions(&line.text));
        mentions.any(|it| {
            let is_named = names.iter().any(|name| it.record.contains(name.as_str()));
            is_named && it.change == Some(change) && item.marks(&it.record).has_own()
        })
    }

    /// Number of lines since then that the function printed itself.
    pub(super) fn n_own_lines(&self) -> usize {
        self.lines.values().flatten().filter(|line| !line.is_platform).count()
    }

    /// Whether any line has a word for a change, of any item.
    pub(super) fn names_a_change(&self) -> bool {
        self.lines.values().flatten().any(|line| logs::has_change_word(&line.text))
    }

    /// The line that shows the change. Lines that don't show it alone are read together with the
    /// others of their invocation: a text of several lines is one event on AWS, and several in the
    /// local AWS.
    pub(super) fn shows(&self, names: &[String], item: &TestItem, change: EventName) -> Option<Sighting> {
        let is_named = |text: &str| names.iter().any(|name| text.contains(name.as_str()));
        let is_whole = |text: &str| is_named(text) && logs::has_change_word(text);
        let mut lines = self.lines.values().flatten();
        if let Some(sighting) = lines.find_map(|line| read(&line.text, &is_named, item, change)) {
            return Some(sighting);
        }
        self.lines.values().find_map(|lines| {
            let calls = lines.split(|line| line.is_platform);
            let in_parts = |call: &[Logged]| {
                let parts = call.iter().map(|line| line.text.as_str()).filter(|text| !is_whole(text));
                parts.collect::<Vec<_>>().join("\n")
            };
            calls.map(in_parts).find_map(|text| read(&text, &is_named, item, change))
        })
    }

    /// The function's last error.
    pub(super) fn error(&self) -> Option<&LoggedError> {
        self.error.as_ref()
    }

    /// Whether AWS returned only some of the lines.
    pub(super) fn is_cut(&self) -> bool {
        self.named.is_some()
    }

    /// Whether the last poll found new lines: reading all of them again would take longer with each
    /// poll.
    pub(super) fn is_fresh(&self) -> bool {
        self.is_fresh
    }
}

/// The current time of the slower clock, in milliseconds since 1970.
fn before(skew: Duration) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.saturating_sub(skew).as_millis()).unwrap_or_default()
}

/// The change of the item that a text shows.
fn read(text: &str, is_named: &impl Fn(&str) -> bool, item: &TestItem, change: EventName) -> Option<Sighting> {
    if !is_named(text) {
        return None;
    }
    let mentions: Vec<Mention> = logs::mentions(text).into_iter().filter(|it| is_named(&it.record)).collect();
    if mentions.is_empty() {
        return sighting(text, logs::change_word(text, change)?, item, change);
    }
    let mut of_change = mentions.iter().filter(|it| it.change == Some(change));
    of_change.find_map(|it| sighting(&it.record, change.word(), item, change))
}

fn sighting(text: &str, word: &'static str, item: &TestItem, change: EventName) -> Option<Sighting> {
    match item.marks(text).mean(item, change) {
        Some(false) => None,
        Some(true) => Some(Sighting { word: Some(word), by: Evidence::Mark }),
        None => Some(Sighting { word: Some(word), by: Evidence::Key }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value as Json, json};

    use super::*;
    use crate::filter::{self, Solution};
    use crate::logs::{FunctionFailure, Line, Record};
    use crate::verify::{KeyAttribute, TableSource, item};

    const REQUEST: &str = "8f0c1d2e-3a4b-4c5d-8e6f-708192a3b4c5";
    const AT: &str = "2026-11-25T14:23:16.123Z";

    fn table() -> TableSource {
        let text = str::to_owned;
        let table = TableSource {
            name: text("a-t"),
            imported: false,
            keys: vec![KeyAttribute { name: text("id"), type_: text("S") }],
            types: BTreeMap::new(),
            stream: String::new(),
            current: true,
            view: text("NEW_AND_OLD_IMAGES"),
            is_shared: false,
            own: item::own("a", "s", "m"),
            solution: Solution::default(),
        };
        let solution = filter::solve(&[], &item::facts(&table));
        TableSource { solution, ..table }
    }

    fn record(change: EventName, name: &str) -> Json {
        let image = json!({ "id": { "S": name }, "text": { "S": "x" } });
        json!({ "eventName": change.word(), "dynamodb": { "Keys": { "id": { "S": name } }, "NewImage": image } })
    }

    /// The lines of one stream each, as AWS and the local AWS write them.
    fn corpus(name: &str) -> Vec<Vec<String>> {
        let (insert, modify) = (record(EventName::Insert, name), record(EventName::Modify, name));
        let other = record(EventName::Remove, "7");
        let tabbed = |level: &str, text: &str| format!("{AT}\t{REQUEST}\t{level}\t{text}");
        let document = |level: &str, message: Json| {
            json!({ "timestamp": AT, "level": level, "requestId": REQUEST, "message": message }).to_string()
        };
        let platform = |kind: &str, status: &str| {
            let metrics = json!({ "durationMs": 3.0, "billedDurationMs": 4 });
            let record = json!({ "requestId": REQUEST, "status": status, "metrics": metrics });
            json!({ "time": AT, "type": kind, "record": record }).to_string()
        };
        let error = json!({
            "errorType": "TypeError",
            "errorMessage": "no luck",
            "stack": ["TypeError: no luck", "    at handler (/var/task/index.js:3:9)", "    at x (node:internal:1:1)"],
        });
        let python = "{'eventName': 'REMOVE', 'dynamodb': {'Keys': {'id': {'S': 'NAME'}}}}".replace("NAME", name);
        let streams = [
            vec![
                "INIT_START Runtime Version: nodejs:22.v50\tRuntime Version ARN: arn:aws:lambda:x::runtime:y".to_owned(),
                format!("START RequestId: {REQUEST} Version: $LATEST"),
                tabbed("INFO", &insert.to_string()),
                format!("END RequestId: {REQUEST}"),
                format!("REPORT RequestId: {REQUEST}\tDuration: 3 ms\tMemory Size: 128 MB\tMax Memory Used: 67 MB\t"),
            ],
            vec![
                platform("platform.initStart", "success"),
                platform("platform.start", "success"),
                document("INFO", json!({ "Records": [insert, other] })),
                document("INFO", json!(modify.to_string())),
                platform("platform.runtimeDone", "timeout"),
                platform("platform.report", "timeout"),
            ],
            vec![format!("[INFO] got {python}")],
            vec![format!(r#"MODIFY keys {{"id":"{name}"}} | new {{"id":"{name}","text":"CREATE"}}"#)],
            vec![tabbed("ERROR", &format!("Invoke Error \t{error}"))],
            vec![document("ERROR", error.clone())],
            vec![tabbed("ERROR", "RangeError: x\n    at f (/var/task/index.js:3:9)\n    at y (node:internal:1:1)")],
            vec![format!("{AT} {REQUEST} Task timed out after 3.00 seconds")],
            vec![
                "[ERROR] KeyError: 'x'\rTraceback (most recent call last):\r\u{a0}\u{a0}File \"/var/task/index.py\", line \
                 3, in handler\r"
                    .to_owned(),
            ],
            vec!["[ERROR] KeyError: 'x'".to_owned(), "Traceback (most recent call last):".to_owned()],
            vec![tabbed("INFO", "nothing of that"), document("WARN", json!({ "a": 1 })), "plain".to_owned()],
            vec![platform("platform.fault", "error")],
        ];
        let pretty = |json: &Json| format!("got {json:#}").lines().map(str::to_owned).collect::<Vec<String>>();
        let printed = ["TypeError: no luck", "    at handler (/var/task/index.js:3:9)"].map(str::to_owned).to_vec();
        streams.into_iter().chain([pretty(&json!({ "Records": [modify] })), printed]).collect()
    }

    /// What `engine logs` makes of the lines of a stream.
    fn shown(lines: &[String]) -> Vec<Line> {
        logs::join_split_entries(lines.to_vec(), |line| line)
            .iter()
            .map(|line| logs::read(line).with_own_frames(&|_| None))
            .collect()
    }

    /// What `engine verify` knows after the same lines.
    fn followed(lines: &[String]) -> Log {
        let (tail, error) = (Tail::new("group", 0), None);
        let (group, name) = ("group".to_owned(), "name".to_owned());
        let (named, lines_, skew) = (None, HashMap::new(), Duration::ZERO);
        let mut log = Log {
            tail,
            named,
            group,
            name,
            start: 0,
            skew,
            lines: lines_,
            earlier: HashSet::new(),
            is_fresh: false,
            error,
            exists: true,
        };
        let event = |(at, text): (usize, &String)| {
            let at = i64::try_from(at).unwrap();
            LogEvent { id: at.to_string(), stream: "stream".to_owned(), at, text: text.clone() }
        };
        log.add(lines.iter().enumerate().map(event).collect());
        log
    }

    #[test]
    fn logs_and_verify_see_the_same_changes_errors_and_own_lines() {
        let table = table();
        let (names, item) = (item::names(&table), TestItem::new(&table));
        let (mut n_changes, mut n_errors, mut n_platform) = (0, 0, 0);
        for lines in corpus(&names[0]) {
            let (shown, log) = (shown(&lines), followed(&lines));
            let entries = || shown.iter().flat_map(|line| &line.entries);
            let is_this = |record: &Record| record.keys.get("id") == Some(&json!(names[0]));
            for change in EventName::ALL {
                let is_it =
                    |entry: &LogEntry| matches!(entry, LogEntry::Record(it) if it.event_name == change && is_this(it));
                let is_shown = entries().any(is_it);
                assert_eq!(log.shows(&names, &item, change).is_some(), is_shown, "{change:?}: {lines:#?}");
                n_changes += usize::from(is_shown);
            }
            let errors = entries().filter_map(|entry| match entry {
                LogEntry::Failure(FunctionFailure { kind, message, trace }) => {
                    Some((format!("{kind}: {message}"), trace.clone()))
                }
                LogEntry::Text { level, text } if level.as_deref() == Some("ERROR") => {
                    let mut lines = text.lines().map(str::to_owned);
                    Some((lines.next().unwrap_or_default(), lines.collect()))
                }
                _ => None,
            });
            let errors: Vec<_> = errors.collect();
            let error = log.error().map(|LoggedError { message, trace }| (message.clone(), trace.clone()));
            assert_eq!(error.as_ref(), errors.last(), "{lines:#?}");
            n_errors += errors.len();
            let is_platform =
                |line: &&String| matches!(logs::read(line).entries.as_slice(), [] | [LogEntry::Report(_)]);
            let of_lambda = lines.iter().filter(is_platform).count();
            assert_eq!(log.n_own_lines(), lines.len() - of_lambda, "{lines:#?}");
            n_platform += of_lambda;
        }
        assert_eq!((n_changes, n_errors, n_platform), (6, 7, 8));
    }

    #[test]
    fn a_change_in_a_handlers_own_log_format_is_found() {
        let table = table();
        let (names, item) = (item::names(&table), TestItem::new(&table));
        let name = &names[0];
        let nested = json!({ "got": { "event": record(EventName::Modify, name) } }).to_string();
        for (text, change, word) in [
            (format!("UPDATE of {name}"), EventName::Modify, "UPDATE"),
            (nested, EventName::Modify, "MODIFY"),
            (format!("MODIFY {name} after CREATE"), EventName::Modify, "MODIFY"),
        ] {
            let log = followed(std::slice::from_ref(&text));
            assert_eq!(
                log.shows(&names, &item, change),
                Some(Sighting { word: Some(word), by: Evidence::Key }),
                "{text}"
            );
            for other in EventName::ALL.into_iter().filter(|it| *it != change) {
                assert_eq!(log.shows(&names, &item, other), None, "{text}");
            }
        }
        let of_another_run = format!("INSERT {name} engine-mark-x-1");
        assert_eq!(followed(&[of_another_run]).shows(&names, &item, EventName::Insert), None);
    }

    #[test]
    fn only_an_invocation_that_began_after_the_write_and_ended_counts() {
        let request = |n: u8| format!("{n:08}-3a4b-4c5d-8e6f-708192a3b4c5");
        let start = |n: u8| format!("START RequestId: {} Version: $LATEST", request(n));
        let report = |n: u8| format!("REPORT RequestId: {}\tDuration: 3 ms\tMemory Size: 128 MB\t", request(n));
        assert!(!followed(&[start(1)]).has_ended_call(0), "it hasn't ended");
        assert!(!followed(&[report(1)]).has_ended_call(0), "when it began isn't known");
        assert!(!followed(&[start(1), report(2)]).has_ended_call(0), "they are two");
        let mut log = followed(&[start(1), report(1)]);
        assert!(log.has_ended_call(0));
        assert!(!log.has_ended_call(5), "it began before the write");
        // Late lines of an invocation that was there before the write.
        log.forget();
        log.add(vec![LogEvent { id: "x".to_owned(), stream: "stream".to_owned(), at: 9000, text: report(1) }]);
        log.add(vec![LogEvent { id: "y".to_owned(), stream: "stream".to_owned(), at: 9000, text: start(1) }]);
        assert!(!log.has_ended_call(0));
    }
}
