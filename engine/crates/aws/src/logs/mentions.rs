//! Changes of items anywhere in a text. A handler may print a record inside another document, or in
//! its own words, which the parser leaves as text.
//!
//! **Invariant:** what the parser reads as a record is found here too.

use serde_json::{Value as Json, json};

use super::line::{EventName, LogEntry, Record, read};

/// How many opening brackets of a text are tried as the start of JSON.
const MAX_STARTS: usize = 16;

/// A stream record in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mention {
    /// Its change; `None` for an unknown `eventName`.
    pub change: Option<EventName>,
    /// The whole record as JSON.
    pub record: String,
}

/// The stream records in a text: those that the parser reads, and those in any JSON document within
/// it.
pub fn mentions(text: &str) -> Vec<Mention> {
    let parsed = read(text).entries.into_iter().filter_map(|entry| match entry {
        LogEntry::Record(Record { event_name, keys, old, new }) => {
            let record = json!({ "keys": keys, "old": old, "new": new }).to_string();
            Some(Mention { change: Some(event_name), record })
        }
        _ => None,
    });
    let nested = documents(text).iter().flat_map(records).collect::<Vec<Json>>().into_iter().map(|record| {
        let change = record.get("eventName").and_then(Json::as_str).and_then(EventName::of);
        Mention { change, record: record.to_string() }
    });
    parsed.chain(nested).collect()
}

/// The word for a change in a text: its `eventName`, or a synonym if the text has no `eventName` of
/// any change.
pub fn change_word(text: &str, change: EventName) -> Option<&'static str> {
    let found: Vec<&str> = words(text).collect();
    let is_official = |word: &&str| EventName::of(word).is_some();
    let has_official = found.iter().any(is_official);
    [change.word(), synonym(change)]
        .into_iter()
        .find(|word| found.contains(word) && (!has_official || is_official(word)))
}

/// Whether a text has a word for any change.
pub fn has_change_word(text: &str) -> bool {
    words(text).next().is_some()
}

/// What handlers print instead of an `eventName`.
fn synonym(change: EventName) -> &'static str {
    match change {
        EventName::Insert => "CREATE",
        EventName::Modify => "UPDATE",
        EventName::Remove => "DELETE",
    }
}

/// All words for a change in a text.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .filter(|word| EventName::ALL.into_iter().any(|change| [change.word(), synonym(change)].contains(word)))
}

/// The JSON documents in a text, and those in their `message`.
fn documents(text: &str) -> Vec<Json> {
    // Text may come first, brackets included: `[INFO] got {…}`.
    let mut found = text.match_indices(['{', '[']).take(MAX_STARTS).map(|(start, _)| {
        let values = serde_json::Deserializer::from_str(text.get(start..).unwrap_or_default()).into_iter::<Json>();
        values.map_while(Result::ok).collect::<Vec<Json>>()
    });
    let values = found.find(|values| !values.is_empty()).unwrap_or_default();
    let inner = |value: &Json| value["message"].as_str().map(documents).unwrap_or_default();
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
