//! Filter patterns of a mapping: their errors, and whether they match a record, as far as that is
//! certain.
//!
//! The rules come from docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html, and for
//! details from docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html,
//! on which they are based. Undocumented rules and unknown parts of a record never count against a
//! pattern.

use serde_json::{Map, Value as Json, json};

use crate::diagnostic::nearest;
use crate::logs::EventName;
use crate::schema::Problem;
use crate::value::Path;

/// The record that Lambda gets for a change on a stream with this view type; `null` is a value that
/// exists but is unknown.
pub fn record(change: EventName, view: &str, keys: &Json, image: &Json) -> Json {
    let mut dynamodb = json!({ "Keys": keys, "StreamViewType": view });
    let shows = |side: &str| view == side || view == "NEW_AND_OLD_IMAGES";
    if change != EventName::Remove && shows("NEW_IMAGE") {
        dynamodb["NewImage"] = image.clone();
    }
    if change != EventName::Insert && shows("OLD_IMAGE") {
        dynamodb["OldImage"] = image.clone();
    }
    json!({ "eventName": change.word(), "eventSource": "aws:dynamodb", "dynamodb": dynamodb })
}

/// Whether all filters certainly drop the record; without filters, nothing is dropped. `null` in
/// the record is a value that exists but is unknown.
pub fn certainly_drops(filters: &[Json], record: &Json) -> bool {
    !filters.is_empty() && filters.iter().all(|filter| judge(filter, record) == Verdict::No)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    No,
    Unknown,
    Yes,
}

/// A problem with an item of a field's list.
struct Wrong {
    /// Appended to the field's name.
    problem: String,
    hint: String,
    /// Whether AWS may support it, because it adds operators over time.
    is_unknown: bool,
}

impl Wrong {
    fn new(problem: impl Into<String>, hint: impl Into<String>) -> Wrong {
        Wrong { problem: problem.into(), hint: hint.into(), is_unknown: false }
    }

    fn unknown_operator(name: &str) -> Wrong {
        let hint = nearest(name, OPERATORS).map(|near| format!("did you mean `{near}`?")).unwrap_or_else(|| {
            let known: Vec<String> = OPERATORS.iter().map(|it| format!("`{it}`")).collect();
            format!("the operators are {}; write a nested field under its parent without a list", known.join(", "))
        });
        Wrong { is_unknown: true, ..Wrong::new(format!("has an unknown operator `{name}`"), hint) }
    }
}

/// Fields of a record that always exist, with unknown values.
const UNKNOWN: [&str; 7] = [
    "eventID",
    "eventVersion",
    "awsRegion",
    "eventSourceARN",
    "ApproximateCreationDateTime",
    "SequenceNumber",
    "SizeBytes",
];

/// The problems of a pattern at `path`.
pub fn faults(pattern: &Json, path: &Path) -> Vec<Problem> {
    let mut faults = Vec::new();
    if let Json::Object(fields) = pattern {
        fields_faults(fields, path, &mut faults);
    }
    faults
}

fn fields_faults(fields: &Map<String, Json>, path: &Path, faults: &mut Vec<Problem>) {
    for (name, wanted) in fields {
        let path = path.key(name);
        let mut fault = |problem: String, hint: String| {
            faults.push(Problem::error(path.clone(), problem, hint));
        };
        match wanted {
            Json::Object(inner) => fields_faults(inner, &path, faults),
            Json::Array(ways) if ways.is_empty() => {
                fault(format!("`{name}` in a filter is an empty list"), "add values, or remove it".to_owned());
            }
            Json::Array(ways) if name == "$or" && ways.iter().all(Json::is_object) => {
                for (at, way) in ways.iter().enumerate() {
                    faults.extend(self::faults(way, &path.index(at)));
                }
            }
            Json::Array(ways) => {
                for (at, way) in ways.iter().enumerate() {
                    let path = path.index(at);
                    if let Err(Wrong { problem, hint, is_unknown }) = Test::of(way) {
                        let problem = format!("`{name}` in a filter {problem}");
                        faults.push(Problem { warning: is_unknown, ..Problem::error(path, problem, hint) });
                    } else if name == "N" && (way.is_number() || way.get("numeric").is_some()) {
                        let problem =
                            "a number at `N` matches no records: DynamoDB sends numbers as strings".to_owned();
                        let hint = match way {
                            Json::Number(number) => format!("write `N: [\"{number}\"]`"),
                            _ => "list the values as strings, like `N: [\"1\", \"2\"]`, or compare in the function"
                                .to_owned(),
                        };
                        faults.push(Problem::warning(path, problem, hint));
                    }
                }
            }
            value => fault(
                format!("`{name}` in a filter must be a list, not a single value"),
                match value {
                    Json::Number(number) if name == "N" => format!("write `N: [\"{number}\"]`"),
                    value => format!("write `{name}: [{}]`", bare(value)),
                },
            ),
        }
    }
}

/// A value as written in YAML between brackets.
fn bare(value: &Json) -> String {
    let is_word = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    match value {
        Json::String(text) if is_word(text) && !matches!(&**text, "true" | "false" | "null") => text.clone(),
        value => value.to_string(),
    }
}

/// One item of a field's list: a condition for the field's value.
enum Test<'p> {
    Is(&'p Json),
    Exists(bool),
    Prefix(&'p str),
    Suffix(&'p str),
    IgnoreCase(&'p str),
    AnythingBut(Vec<&'p Json>),
    /// A valid condition that is not evaluated.
    Other,
}

const OPERATORS: [&str; 9] =
    ["prefix", "suffix", "equals-ignore-case", "anything-but", "exists", "numeric", "cidr", "wildcard", "exactly"];

impl<'p> Test<'p> {
    /// Parses an item, or returns why AWS rejects it and how to fix it.
    fn of(item: &'p Json) -> Result<Test<'p>, Wrong> {
        let rule = match item {
            Json::Object(rule) => rule,
            Json::Array(_) => {
                let hint = "move its items to the outer list; each item is an alternative";
                return Err(Wrong::new("contains a nested list", hint));
            }
            value => return Ok(Test::Is(value)),
        };
        let mut entries = rule.iter();
        let (Some((operator, operand)), None) = (entries.next(), entries.next()) else {
            let hint = "write each operator as a separate item, like `[{ prefix: a }, { suffix: b }]`; each item is an alternative";
            return Err(Wrong::new(format!("has an item with {} operators instead of one", rule.len()), hint));
        };
        let wrong = |takes: &str, example: &str| {
            Err(Wrong::new(format!("has an invalid value for `{operator}`: {takes}"), format!("write `{example}`")))
        };
        let text = |test: fn(&'p str) -> Test<'p>| match operand {
            Json::String(text) => Ok(test(text)),
            // Only EventBridge's page documents a case-insensitive prefix.
            Json::Object(_) if matches!(&**operator, "prefix" | "suffix") => Ok(Test::Other),
            _ => wrong("it must be text", &format!("{{ {operator}: text }}")),
        };
        match operator.as_str() {
            "prefix" => text(Test::Prefix),
            "suffix" => text(Test::Suffix),
            "equals-ignore-case" => text(Test::IgnoreCase),
            "cidr" | "wildcard" | "exactly" => text(|_| Test::Other),
            "exists" => match operand {
                Json::Bool(exists) => Ok(Test::Exists(*exists)),
                _ => wrong("it must be true or false", "{ exists: true }"),
            },
            "numeric" if is_range(operand) => Ok(Test::Other),
            "numeric" => wrong("it must be a comparison", "{ numeric: [\">\", 0, \"<=\", 100] }"),
            "anything-but" => match operand {
                Json::Object(_) => Ok(Test::Other),
                Json::String(_) | Json::Number(_) => Ok(Test::AnythingBut(vec![operand])),
                Json::Array(others)
                    if !others.is_empty()
                        && (others.iter().all(Json::is_string) || others.iter().all(Json::is_number)) =>
                {
                    Ok(Test::AnythingBut(others.iter().collect()))
                }
                _ => wrong("it must be only texts or only numbers", "{ anything-but: [one, two] }"),
            },
            unknown => Err(Wrong::unknown_operator(unknown)),
        }
    }
}

/// Whether it is one comparison, or a lower bound followed by an upper one.
fn is_range(operand: &Json) -> bool {
    let Json::Array(terms) = operand else { return false };
    let sign = |term: &Json, signs: &[&str]| term.as_str().is_some_and(|it| signs.contains(&it));
    match terms.as_slice() {
        [one, number] => sign(one, &["=", "<", "<=", ">", ">="]) && number.is_number(),
        [low, from, high, to] => {
            sign(low, &[">", ">="])
                && sign(high, &["<", "<="])
                && from.as_f64().zip(to.as_f64()).is_some_and(|(from, to)| from <= to)
        }
        _ => false,
    }
}

fn judge(filter: &Json, record: &Json) -> Verdict {
    match filter {
        // AWS returns patterns as text.
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
            // `exists: false` in a missing object is a special case.
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

/// Evaluates one alternative of a rule against the record's value.
fn one_of(way: &Json, found: Option<&Json>) -> Verdict {
    let verdict = |is: bool| if is { Verdict::Yes } else { Verdict::No };
    // AWS rejects an invalid pattern, so it drops nothing.
    let Ok(test) = Test::of(way) else { return Verdict::Unknown };
    match (test, found) {
        // Lambda matches only leaf values; AWS doesn't document `exists` for others.
        (Test::Exists(_), Some(Json::Null | Json::Object(_) | Json::Array(_))) => Verdict::Unknown,
        (Test::Exists(wanted), found) => verdict(wanted == found.is_some()),
        (_, None) => Verdict::No,
        (_, Some(Json::Null)) => Verdict::Unknown,
        (Test::Is(Json::String(wanted)), Some(Json::String(text))) => verdict(wanted == text),
        (Test::Prefix(part), Some(Json::String(text))) => verdict(text.starts_with(part)),
        (Test::Suffix(part), Some(Json::String(text))) => verdict(text.ends_with(part)),
        (Test::IgnoreCase(other), Some(Json::String(text))) => verdict(text.eq_ignore_ascii_case(other)),
        (Test::AnythingBut(others), Some(Json::String(text))) => {
            verdict(!others.iter().any(|other| other.as_str() == Some(text)))
        }
        _ => Verdict::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_filter_drops_a_record_only_if_no_other_meaning_is_possible() {
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
            (json!({ "eventName": [{ "anything-but": "INSERT" }] }), true),
            (json!({ "eventName": [{ "wildcard": "M*" }] }), false),
            // AWS rejects these, so they drop nothing.
            (json!({ "eventName": "REMOVE" }), false),
            (json!({ "eventName": [] }), false),
            (json!({ "eventName": [{ "prefx": "MOD" }] }), false),
            (json!({ "eventName": [{ "prefix": "MOD", "suffix": "IFY" }] }), false),
            (json!({ "eventName": [{ "equals-ignore-case": "insert" }] }), false),
            (json!({ "dynamodb": { "NewImage": { "kind": { "S": ["todo"] } } } }), true),
            (json!({ "dynamodb": { "OldImage": { "kind": { "S": ["todo"] } } } }), true),
            (json!({ "dynamodb": { "NewImage": { "kind": { "S": [{ "exists": false }] } } } }), false),
            (json!({ "dynamodb": { "NewImage": { "id": { "S": [{ "exists": true }] } } } }), false),
            // An object is not a leaf value.
            (json!({ "dynamodb": { "NewImage": [{ "exists": false }] } }), false),
            (json!({ "dynamodb": { "NewImage": { "id": [{ "exists": false }] } } }), false),
            (json!({ "dynamodb": { "Keys": [{ "exists": true }] } }), false),
            (json!({ "dynamodb": { "OldImage": [{ "exists": true }] } }), true),
            // AWS sets this only for items that time to live has deleted.
            (json!({ "userIdentity": { "type": ["Service"] } }), true),
            (json!({ "userIdentity": { "type": [{ "exists": false }] } }), false),
            (json!({ "dynamodb": { "NewImage": { "engine_verify": { "S": ["x"] } } } }), false),
            (json!({ "dynamodb": { "Keys": { "id": { "S": ["other"] } } } }), true),
            (json!({ "dynamodb": { "SizeBytes": [{ "numeric": [">", 1000] }] } }), false),
            (json!({ "awsRegion": ["eu-west-1"] }), false),
            (json!({ "$or": [{ "eventName": ["REMOVE"] }, { "awsRegion": ["x"] }] }), false),
            (json!({ "$or": [{ "eventName": ["REMOVE"] }, { "eventName": ["MODIFY"] }] }), true),
            (json!({}), false),
        ];
        for (filter, dropped) in cases {
            assert_eq!(certainly_drops(std::slice::from_ref(&filter), &record), dropped, "{filter}");
        }
        assert!(!certainly_drops(&[], &record));
        let [other, ours] = [json!({ "eventName": ["REMOVE"] }), json!({ "eventName": ["INSERT"] })];
        assert!(!certainly_drops(&[other, ours], &record), "one of several is enough");
    }
}
