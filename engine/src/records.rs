//! What a function's log says: an item's change, a failure with its trace, a report of AWS's, or plain text.
//!
//! Read are AWS's two log formats (tab-separated text and JSON), a stream's records as functions usually print them, and
//! what a local AWS makes of both. Whatever is anything else stays the text that it is.
//!
//! **Invariant:** pure, for any text; nothing is guessed. What does not come out whole is text.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value as Json};

/// An item, or a part of one: plain values by attribute.
pub type Image = BTreeMap<String, Json>;

/// One event of a log, taken apart.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Line {
    /// The invocation that it belongs to, where it says so.
    pub request: Option<String>,
    /// What it says; nothing where it only frames an invocation, whose report says the same and more.
    pub said: Vec<Said>,
}

/// One thing that a log says.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// What happened to an item.
    Record(Record),
    /// What a function failed with.
    Failure(Failure),
    /// What AWS tells at the end of an invocation.
    Report(Report),
    /// Anything else, as it is.
    Text {
        /// How grave it is, in the words of the runtime, where it says so.
        level: Option<String>,
        /// The text without what the log format has put in front.
        text: String,
    },
}

/// What a stream can tell about an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Happening {
    /// It was created.
    Insert,
    /// It was changed.
    Modify,
    /// It was deleted.
    Remove,
}

/// A stream's record of one item.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// What happened.
    pub happening: Happening,
    /// The item's key.
    pub keys: Image,
    /// What it was, if the stream shows that.
    pub old: Option<Image>,
    /// What it is, if the stream shows that.
    pub new: Option<Image>,
}

/// An attribute before and after.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change<'r> {
    /// Its name.
    pub attribute: &'r str,
    /// `None`: it was not there, or the stream does not show it.
    pub before: Option<&'r Json>,
    /// `None`: it is not there any more.
    pub after: Option<&'r Json>,
}

/// An error that a function threw or logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Its type, such as `TypeError`.
    pub kind: String,
    /// Its message.
    pub message: String,
    /// Where it came from, a line each.
    pub trace: Vec<String>,
}

/// What an invocation took.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    /// How long it ran, in milliseconds.
    pub duration: f64,
    /// How much of that is paid for.
    pub billed: Option<f64>,
    /// Memory that it has, in MB.
    pub memory: Option<f64>,
    /// Memory that it used at most, in MB.
    pub used: Option<f64>,
    /// How long the environment took to start, in milliseconds, where it had to.
    pub init: Option<f64>,
    /// How it ended, if not well: `timeout`, `error`.
    pub status: Option<String>,
}

impl Line {
    /// An event that is not taken apart.
    pub fn raw(text: &str) -> Line {
        Line { request: None, said: vec![Said::Text { level: None, text: text.to_owned() }] }
    }
}

impl Happening {
    /// All of them, in the order of an item's life.
    pub const ALL: [Happening; 3] = [Happening::Insert, Happening::Modify, Happening::Remove];

    /// The word of the records.
    pub fn word(self) -> &'static str {
        match self {
            Happening::Insert => "INSERT",
            Happening::Modify => "MODIFY",
            Happening::Remove => "REMOVE",
        }
    }

    fn of(word: &str) -> Option<Happening> {
        Happening::ALL.into_iter().find(|it| it.word() == word)
    }
}

impl Record {
    /// The attributes that came, changed or went, but for the key's, in the order of their names. Where the stream shows
    /// one image alone, all that it has.
    pub fn changes(&self) -> Vec<Change<'_>> {
        let mut changes: BTreeMap<&str, Change<'_>> = BTreeMap::new();
        for (attribute, before) in self.old.iter().flatten() {
            changes.insert(attribute, Change { attribute, before: Some(before), after: None });
        }
        for (attribute, after) in self.new.iter().flatten() {
            let fresh = Change { attribute, before: None, after: None };
            changes.entry(attribute).or_insert(fresh).after = Some(after);
        }
        let changed = changes.into_values().filter(|it| it.before != it.after);
        changed.filter(|it| !self.keys.contains_key(it.attribute)).collect()
    }
}

/// What Node.js and AWS call a line's gravity.
const LEVELS: [&str; 7] = ["TRACE", "DEBUG", "INFO", "WARN", "WARNING", "ERROR", "FATAL"];
/// Texts that are longer are not looked at as what Node.js prints of objects, in bytes.
const MAX_INSPECTED: usize = 1 << 18;

/// Takes a log event apart.
pub fn read(text: &str) -> Line {
    let text = text.trim_end_matches(['\n', '\r']);
    // docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-logformat.html
    framed(text).or_else(|| tabbed(text)).or_else(|| timed_out(text)).or_else(|| document(text)).unwrap_or_else(|| {
        let said = payload(text, None);
        Line { request: None, said }
    })
}

/// Lambda's own lines of the text format.
fn framed(text: &str) -> Option<Line> {
    let frame = |request: Option<&str>| Line { request: request.map(str::to_owned), said: Vec::new() };
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
        "START" if rest.starts_with(" Version: ") && !rest.contains('\n') => Some(frame(Some(id))),
        "END" if rest.is_empty() => Some(frame(Some(id))),
        "REPORT" => {
            // Of X-Ray more lines may follow.
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
            Some(Line { said: vec![Said::Report(report)], ..frame(Some(id)) })
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
        said: payload(rest, Some(level)),
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
    let is_one = is_time(time) && text.starts_with("Task timed out after ");
    let said = vec![Said::Text { level: Some("ERROR".to_owned()), text: text.trim_end().to_owned() }];
    is_one.then(|| Line { request: Some(request.to_owned()), said })
}

/// A line of the JSON format.
fn document(text: &str) -> Option<Line> {
    let line: Map<String, Json> = text.starts_with('{').then(|| serde_json::from_str(text).ok()).flatten()?;
    let word = |name: &str| line.get(name).and_then(Json::as_str);
    if let (Some(kind), Some(Json::Object(record))) = (word("type"), line.get("record")) {
        return platform(kind, record);
    }
    let level = word("level").filter(|level| LEVELS.contains(level))?;
    word("timestamp")?;
    let said = match line.get("message")? {
        Json::String(text) => payload(text, Some(level)),
        message => match spoken(message, None) {
            Some(said) => said,
            None => vec![Said::Text { level: Some(level.to_owned()), text: message.to_string() }],
        },
    };
    Some(Line { request: word("requestId").map(str::to_owned), said })
}

/// Lambda's own lines of the JSON format
/// (docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html).
fn platform(kind: &str, record: &Map<String, Json>) -> Option<Line> {
    let request = record.get("requestId").and_then(Json::as_str).map(str::to_owned);
    let status = record.get("status").and_then(Json::as_str).filter(|status| *status != "success");
    let number = |name: &str| record.get("metrics")?.get(name)?.as_f64();
    let said = match kind {
        "platform.start" | "platform.runtimeDone" | "platform.initStart" | "platform.initRuntimeDone" => Vec::new(),
        "platform.initReport" if status.is_none() => Vec::new(),
        "platform.report" => vec![Said::Report(Report {
            duration: number("durationMs")?,
            billed: number("billedDurationMs"),
            memory: number("memorySizeMB"),
            used: number("maxMemoryUsedMB"),
            init: number("initDurationMs"),
            status: status.map(str::to_owned),
        })],
        _ => return None,
    };
    Some(Line { request, said })
}

/// What a function has printed.
fn payload(text: &str, level: Option<&str>) -> Vec<Said> {
    let plain = || vec![Said::Text { level: level.map(str::to_owned), text: text.to_owned() }];
    if let Some(record) = told(text) {
        return vec![Said::Record(record)];
    }
    // Words may stand in front: `Received event: {…}`.
    let starts = [text.find('{'), text.find('[')].into_iter().flatten();
    let mut found = starts.filter_map(|at| {
        let (words, json) = text.split_at_checked(at)?;
        let json: Json = serde_json::from_str(json).ok()?;
        spoken(&json, Some(words))
    });
    found.next().or_else(|| inspected(text)).unwrap_or_else(plain)
}

/// `MODIFY keys {…} | old {…} | new {…}`, with plain values.
fn told(text: &str) -> Option<Record> {
    let (word, mut rest) = text.split_once(' ')?;
    let happening = Happening::of(word)?;
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
    Some(Record { happening, keys: images.remove("keys")?, old: images.remove("old"), new: images.remove("new") })
}

/// What a JSON value says: an event of a stream, its records, one of them, or an error. `words` are what stands in front.
fn spoken(json: &Json, words: Option<&str>) -> Option<Vec<Said>> {
    let all = |records: &[Json]| {
        let said: Option<Vec<Said>> = records.iter().map(|json| Some(Said::Record(record(json)?))).collect();
        said.filter(|it| !it.is_empty())
    };
    match json {
        Json::Array(records) => all(records),
        Json::Object(map) => {
            if let Some(Json::Array(records)) = map.get("Records") {
                return all(records);
            }
            let named = || {
                let mut named = words?.split(|c: char| !c.is_ascii_alphanumeric()).filter_map(Happening::of);
                let happening = named.next().filter(|_| named.next().is_none())?;
                images(happening, map)
            };
            record(json).or_else(named).map(Said::Record).or_else(|| failure(map).map(Said::Failure)).map(|it| vec![it])
        }
        _ => None,
    }
}

/// A stream's record in DynamoDB's own form.
fn record(json: &Json) -> Option<Record> {
    images(Happening::of(json.get("eventName")?.as_str()?)?, json.get("dynamodb")?.as_object()?)
}

fn images(happening: Happening, map: &Map<String, Json>) -> Option<Record> {
    // What is there has to be an image.
    let image = |name: &str| match map.get(name) {
        None | Some(Json::Null) => Some(None),
        Some(Json::Object(typed)) => Some(Some(typed.iter().map(plain_entry).collect::<Option<Image>>()?)),
        Some(_) => None,
    };
    Some(Record { happening, keys: image("Keys")??, old: image("OldImage")?, new: image("NewImage")? })
}

fn plain_entry((name, value): (&String, &Json)) -> Option<(String, Json)> {
    Some((name.clone(), plain(value)?))
}

/// DynamoDB's typed value as a plain one: `{"S": "x"}` as `"x"`. A number stays text if it has more digits than fit.
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

/// What Node.js prints of an object itself (`util.inspect`), where that happens to be YAML. It cuts off what lies deep, so
/// a whole event hardly ever comes out, but a single record does.
fn inspected(text: &str) -> Option<Vec<Said>> {
    // The two escape differently, and a short YAML with anchors may mean a huge one.
    let is_strange = text.contains(['\\', '&', '*']) || text.len() > MAX_INSPECTED;
    let looks_like_one = text.contains("eventName: '") && !is_strange;
    let (words, object) = text.split_at_checked(text.find(['{', '[']).filter(|_| looks_like_one)?)?;
    spoken(&serde_yaml::from_str(object).ok()?, Some(words))
}

/// An error as the runtimes log it.
fn failure(map: &Map<String, Json>) -> Option<Failure> {
    let text = |name: &str| map.get(name).and_then(Json::as_str).map(str::to_owned);
    let (kind, message) = (text("errorType")?, text("errorMessage")?);
    let trace = ["stack", "stackTrace", "trace"].into_iter().find_map(|name| map.get(name)?.as_array());
    let lines = trace.into_iter().flatten().filter_map(Json::as_str).flat_map(str::lines);
    let mut trace: Vec<String> = lines.map(|line| line.trim_end().to_owned()).collect();
    // Node.js says type and message once more.
    if let Some(first) = trace.iter().position(|line| is_trace(line)) {
        trace.drain(..first);
    }
    Some(Failure { kind, message, trace })
}

/// Whether a line is one of a Node.js trace: `    at handler (/var/task/index.js:3:9)`.
fn is_trace(line: &str) -> bool {
    line.starts_with("    at ")
}

/// Puts together what stands in several events of one stream, since a local AWS makes an event of each line: an object
/// printed over several lines, a trace below its error. `text` says and takes an event's text.
pub fn join<E>(events: Vec<E>, text: fn(&mut E) -> &mut String) -> Vec<E> {
    let mut joined: Vec<E> = Vec::new();
    // Where an object may have begun.
    let mut open: Option<usize> = None;
    for mut event in events {
        let line = text(&mut event).clone();
        if is_trace(&line)
            && let Some(last) = joined.last_mut()
        {
            let last = text(last);
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
            // Only what then says more than its lines.
            if !matches!(read(&whole).said[..], [Said::Text { .. }])
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

    /// A record as the stream has it, and what it says.
    fn record() -> impl Strategy<Value = (Json, Record)> {
        let happening = prop::sample::select(Happening::ALL.to_vec());
        (happening, image(), prop::option::of(image()), prop::option::of(image())).prop_map(
            |(happening, keys, old, new)| {
                let mut dynamodb = json!({ "Keys": keys.0, "SequenceNumber": "1" });
                for (name, image) in [("OldImage", &old), ("NewImage", &new)] {
                    if let Some((typed, _)) = image {
                        dynamodb[name] = typed.clone();
                    }
                }
                let typed = json!({ "eventName": happening.word(), "dynamodb": dynamodb });
                let plain = |image: Option<(Json, Image)>| image.map(|(_, plain)| plain);
                (typed, Record { happening, keys: keys.1, old: plain(old), new: plain(new) })
            },
        )
    }

    proptest! {
        #[test]
        fn a_record_comes_out_of_every_form_in_which_it_is_printed((typed, record) in record()) {
            let said = vec![Said::Record(record.clone())];
            let whole = json!({ "Records": [typed] });
            let tabbed = format!("2026-11-25T14:23:16.123Z\trequest\tINFO\tgot {whole}\n");
            let level = json!({ "timestamp": "t", "level": "INFO", "requestId": "request", "message": typed });
            let images = [("keys", Some(&record.keys)), ("old", record.old.as_ref()), ("new", record.new.as_ref())];
            let parts = images.into_iter().filter_map(|(name, image)| Some(format!("{name} {}", json!(image?))));
            let told = format!("{} {}", record.happening.word(), parts.collect::<Vec<_>>().join(" | "));
            for text in [typed.to_string(), format!("{whole:#}"), tabbed, level.to_string(), told] {
                prop_assert_eq!(&read(&text).said, &said, "{}", text);
            }
            // A local AWS makes an event of each line.
            let lines: Vec<String> = format!("got {typed:#}").lines().map(str::to_owned).collect();
            let joined = join(lines, |line| line);
            prop_assert_eq!(joined.iter().map(|line| read(line).said).collect::<Vec<_>>(), vec![said]);
        }

        #[test]
        fn any_text_is_read_and_what_is_no_record_stays_as_it_is(
            parts in prop::collection::vec(prop_oneof![
                Just("{"), Just("}"), Just("["), Just("]"), Just("\t"), Just("\n"), Just(" "), Just("INSERT keys "),
                Just("eventName: 'INSERT'"), Just("\"eventName\":\"MODIFY\""), Just("2026-11-25T14:23:16.123Z"),
                Just("REPORT RequestId: "), Just("    at x"), Just(": "), Just("é"), Just("&a *a"),
            ], 0..24)
        ) {
            let text = parts.concat();
            read(&text);
            let lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
            let joined = join(lines, |line| line).join("\n");
            prop_assert_eq!(&joined, &text);
        }

        #[test]
        fn plain_text_stays_as_it_is(text in "[^\t\n\r{\\[]{0,40}") {
            prop_assume!(!text.contains("RequestId: ") && !text.starts_with("INIT_START") && !text.contains("timed out"));
            prop_assert_eq!(read(&text).said, vec![Said::Text { level: None, text: text.clone() }]);
        }
    }
}
