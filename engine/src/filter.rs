//! Whether a mapping's filters let a record through, as far as that can be told for certain.
//!
//! The rules are those of docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html. What is not in them, or
//! not known of the record, is never held against it.

use serde_json::{Map, Value as Json, json};

use crate::records::Happening;

/// What Lambda shows of a change on a stream of that view type, for the filters to judge; `null` stands for what is there
/// and not known.
pub fn record(change: Happening, view: &str, keys: &Json, image: &Json) -> Json {
    let mut dynamodb = json!({ "Keys": keys, "StreamViewType": view });
    let shows = |side: &str| view == side || view == "NEW_AND_OLD_IMAGES";
    if change != Happening::Remove && shows("NEW_IMAGE") {
        dynamodb["NewImage"] = image.clone();
    }
    if change != Happening::Insert && shows("OLD_IMAGE") {
        dynamodb["OldImage"] = image.clone();
    }
    json!({ "eventName": change.word(), "eventSource": "aws:dynamodb", "dynamodb": dynamodb })
}

/// Whether every one of the filters drops the record for certain; no filters drop nothing. What is `null` in the record
/// is there, and not known.
pub fn drop_for_certain(filters: &[Json], record: &Json) -> bool {
    !filters.is_empty() && filters.iter().all(|filter| judge(filter, record) == Verdict::No)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    No,
    Unknown,
    Yes,
}

/// Parts of a record that are always there, and of which nothing is known beforehand.
const UNKNOWN: [&str; 7] = [
    "eventID",
    "eventVersion",
    "awsRegion",
    "eventSourceARN",
    "ApproximateCreationDateTime",
    "SequenceNumber",
    "SizeBytes",
];

fn judge(filter: &Json, record: &Json) -> Verdict {
    match filter {
        // As the text that AWS keeps.
        Json::String(text) => {
            serde_json::from_str(text).map_or(Verdict::Unknown, |filter: Json| judge(&filter, record))
        }
        Json::Object(fields) => all_of(fields, record),
        _ => Verdict::Unknown,
    }
}

fn all_of(fields: &Map<String, Json>, record: &Json) -> Verdict {
    let verdicts = fields.iter().map(|(name, wanted)| match (name.as_str(), wanted) {
        ("$or", Json::Array(ways)) => ways.iter().map(|way| judge(way, record)).max().unwrap_or(Verdict::Unknown),
        (name, _) if UNKNOWN.contains(&name) => Verdict::Unknown,
        (name, Json::Object(inner)) => match record.get(name) {
            // What should be absent in something that is absent is a rule of its own.
            None if mentions_absence(wanted) => Verdict::Unknown,
            None => Verdict::No,
            Some(Json::Null) => Verdict::Unknown,
            Some(found) => all_of(inner, found),
        },
        (name, Json::Array(ways)) => {
            ways.iter().map(|way| one_of(way, record.get(name))).max().unwrap_or(Verdict::Unknown)
        }
        _ => Verdict::Unknown,
    });
    verdicts.min().unwrap_or(Verdict::Yes)
}

fn mentions_absence(filter: &Json) -> bool {
    filter.to_string().contains("\"exists\":false")
}

/// One alternative of a rule, held against what the record has there.
fn one_of(way: &Json, found: Option<&Json>) -> Verdict {
    let told = |is: bool| if is { Verdict::Yes } else { Verdict::No };
    let exists = way.get("exists").and_then(Json::as_bool);
    match (way, found) {
        (_, None) => told(exists == Some(false)),
        (_, Some(_)) if exists.is_some() => told(exists == Some(true)),
        (_, Some(Json::Null)) => Verdict::Unknown,
        (Json::Object(rule), Some(Json::String(text))) => match rule.iter().next() {
            Some((name, Json::String(part))) if name == "prefix" => told(text.starts_with(part.as_str())),
            Some((name, Json::String(part))) if name == "suffix" => told(text.ends_with(part.as_str())),
            Some((name, Json::String(other))) if name == "equals-ignore-case" => told(text.eq_ignore_ascii_case(other)),
            Some((name, Json::Array(others))) if name == "anything-but" => {
                told(!others.iter().any(|other| other.as_str() == Some(text)))
            }
            // `N` is a text, and numeric rules do not work on it.
            _ => Verdict::Unknown,
        },
        (Json::String(wanted), Some(Json::String(text))) => told(wanted == text),
        _ => Verdict::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_record_is_dropped_only_where_nothing_else_can_be_meant() {
        let image = json!({ "id": { "S": "engine-verify-1" }, "engine_verify": { "S": null } });
        let record = json!({
            "eventName": "INSERT",
            "eventSource": "aws:dynamodb",
            "dynamodb": { "Keys": { "id": { "S": "engine-verify-1" } }, "NewImage": image },
        });
        let cases = [
            (json!({ "eventName": ["REMOVE"] }), true),
            (json!({ "eventName": ["REMOVE", "INSERT"] }), false),
            (json!("{\"eventName\":[\"MODIFY\"]}"), true),
            (json!("not JSON"), false),
            (json!({ "eventName": [{ "prefix": "INS" }] }), false),
            (json!({ "eventName": [{ "prefix": "MOD" }] }), true),
            (json!({ "eventName": [{ "anything-but": ["INSERT"] }] }), true),
            (json!({ "eventName": [{ "wildcard": "M*" }] }), false),
            (json!({ "eventName": [{ "equals-ignore-case": "insert" }] }), false),
            (json!({ "dynamodb": { "NewImage": { "kind": { "S": ["todo"] } } } }), true),
            (json!({ "dynamodb": { "OldImage": { "kind": { "S": ["todo"] } } } }), true),
            (json!({ "dynamodb": { "NewImage": { "kind": { "S": [{ "exists": false }] } } } }), false),
            (json!({ "dynamodb": { "NewImage": { "id": { "S": [{ "exists": true }] } } } }), false),
            (json!({ "dynamodb": { "NewImage": { "engine_verify": { "S": ["x"] } } } }), false),
            (json!({ "dynamodb": { "Keys": { "id": { "S": ["other"] } } } }), true),
            (json!({ "dynamodb": { "SizeBytes": [{ "numeric": [">", 1000] }] } }), false),
            (json!({ "awsRegion": ["eu-west-1"] }), false),
            (json!({ "$or": [{ "eventName": ["REMOVE"] }, { "awsRegion": ["x"] }] }), false),
            (json!({ "$or": [{ "eventName": ["REMOVE"] }, { "eventName": ["MODIFY"] }] }), true),
            (json!({}), false),
        ];
        for (filter, dropped) in cases {
            assert_eq!(drop_for_certain(std::slice::from_ref(&filter), &record), dropped, "{filter}");
        }
        assert!(!drop_for_certain(&[], &record));
        let [other, ours] = [json!({ "eventName": ["REMOVE"] }), json!({ "eventName": ["INSERT"] })];
        assert!(!drop_for_certain(&[other, ours], &record), "one of several is enough");
    }
}
