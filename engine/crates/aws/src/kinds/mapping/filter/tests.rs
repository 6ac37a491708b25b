//! The solver against an independent evaluator: this one reads patterns as they are written, and
//! knows nothing of how the program parses or judges them.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};

use super::*;

/// How many random items must fail where the solver says that none passes.
const N_ITEMS: usize = 10_000;
const MARK: &str = "engine_verify";

/// The values at each path of an event; an element of a list is at the path of the list.
fn flattened(event: &Json, path: &str, into: &mut BTreeMap<String, Vec<Json>>) {
    match event {
        Json::Object(members) => members.iter().for_each(|(name, it)| flattened(it, &format!("{path}/{name}"), into)),
        Json::Array(elements) => elements.iter().for_each(|element| flattened(element, path, into)),
        leaf => into.entry(path.to_owned()).or_default().push(leaf.clone()),
    }
}

/// Whether an event passes a pattern, by the text of AWS's pages.
fn passes(pattern: &Json, event: &Json) -> bool {
    let mut values = BTreeMap::new();
    flattened(event, "", &mut values);
    holds(pattern, "", &values)
}

fn holds(pattern: &Json, path: &str, values: &BTreeMap<String, Vec<Json>>) -> bool {
    pattern.as_object().unwrap().iter().all(|(name, wanted)| match wanted {
        Json::Array(ways) if name == "$or" => ways.iter().any(|way| holds(way, path, values)),
        Json::Array(ways) => {
            let found = values.get(&format!("{path}/{name}")).map(Vec::as_slice).unwrap_or_default();
            ways.iter().any(|way| accepts(way, found))
        }
        inner => holds(inner, &format!("{path}/{name}"), values),
    })
}

fn accepts(way: &Json, found: &[Json]) -> bool {
    let Some((operator, operand)) = way.as_object().and_then(|it| it.iter().next()) else {
        return found.contains(way);
    };
    match operator.as_str() {
        "exists" => operand.as_bool().unwrap() != found.is_empty(),
        "anything-but" => found.iter().any(|value| !is_named(operand, value)),
        _ => found.iter().any(|value| compares(operator, operand, value)),
    }
}

/// Whether `anything-but` names the value.
fn is_named(operand: &Json, value: &Json) -> bool {
    match operand {
        Json::Array(others) => others.contains(value),
        Json::Object(rule) => rule.iter().any(|(operator, operand)| match operand {
            Json::Array(texts) => texts.iter().any(|text| compares(operator, text, value)),
            text => compares(operator, text, value),
        }),
        other => other == value,
    }
}

fn compares(operator: &str, operand: &Json, value: &Json) -> bool {
    if operator == "numeric" {
        let Some(number) = value.as_f64() else { return false };
        return operand.as_array().unwrap().chunks(2).all(|term| {
            let bound = term[1].as_f64().unwrap();
            match term[0].as_str().unwrap() {
                "<" => number < bound,
                "<=" => number <= bound,
                "=" => number == bound,
                ">=" => number >= bound,
                _ => number > bound,
            }
        });
    }
    let (Some(wanted), Some(text)) = (operand.as_str(), value.as_str()) else { return false };
    match operator {
        "prefix" => text.starts_with(wanted),
        "suffix" => text.ends_with(wanted),
        "equals-ignore-case" => text.to_lowercase() == wanted.to_lowercase(),
        _ => panic!("{operator}"),
    }
}

fn facts(view: &str) -> TableFacts {
    let text = str::to_owned;
    TableFacts {
        keys: vec![(text("id"), text("S"), text("engine-verify-1")), (text("at"), text("N"), text("123456789"))],
        types: BTreeMap::from(
            [("id", "S"), ("at", "N"), ("owner", "S")].map(|(name, type_)| (text(name), text(type_))),
        ),
        view: text(view),
        stream: text("arn:aws:dynamodb:eu-central-1:123456789012:table/t/stream/2026"),
        fixed: Map::from_iter([(text(MARK), json!({ "S": null }))]),
        own: (text("engine-verify-1"), text("123456789")),
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "a", "b", "ab", "Ab", "aB", "abc", "x-", "7", "12", "1", "300", "-4.5", "YQ==", "done"
        ]),
        Just("")
    ]
    .prop_map(str::to_owned)
}

/// An item of a field's list.
fn way() -> impl Strategy<Value = Json> {
    prop_oneof![
        6 => text().prop_map(Json::from),
        1 => prop::bool::ANY.prop_map(|it| json!(it)),
        2 => prop::bool::ANY.prop_map(|it| json!({ "exists": it })),
        2 => text().prop_map(|it| json!({ "prefix": it })),
        2 => text().prop_map(|it| json!({ "suffix": it })),
        2 => text().prop_map(|it| json!({ "equals-ignore-case": it })),
        2 => prop::collection::vec(text(), 1..3).prop_map(|it| json!({ "anything-but": it })),
        1 => text().prop_map(|it| json!({ "anything-but": it })),
        1 => text().prop_map(|it| json!({ "anything-but": { "prefix": it } })),
        1 => prop::collection::vec(text(), 1..3).prop_map(|it| json!({ "anything-but": { "suffix": it } })),
        1 => text().prop_map(|it| json!({ "anything-but": { "equals-ignore-case": it } })),
        1 => (-9..9_i32, 0..9_i32).prop_map(|(low, more)| json!({ "numeric": [">", low, "<=", low + more] })),
        1 => (-9..9_i32).prop_map(|it| json!({ "numeric": ["=", it] })),
    ]
}

fn ways() -> impl Strategy<Value = Json> {
    prop::collection::vec(way(), 1..3).prop_map(Json::from)
}

/// The requirements for an attribute in DynamoDB's form.
fn attribute() -> impl Strategy<Value = Json> {
    let type_ = prop::sample::select(vec!["S", "S", "S", "N", "N", "B", "BOOL", "NULL", "SS"]);
    let scalar = (type_, ways()).prop_map(|(type_, ways)| json!({ type_: ways }));
    scalar.prop_recursive(2, 4, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|it| json!({ "M": { "code": it } })),
            inner.prop_map(|it| json!({ "L": it })),
            (ways(), ways()).prop_map(|(s, n)| json!({ "S": s, "N": n })),
        ]
    })
}

fn part() -> impl Strategy<Value = Json> {
    let name = prop::sample::select(vec!["id", "at", "kind", "owner", "size", MARK]);
    let image = || prop::collection::btree_map(name.clone(), attribute(), 1..3).prop_map(|it| json!(it));
    let events = prop::collection::vec(prop::sample::select(vec!["INSERT", "MODIFY", "REMOVE"]), 1..3);
    let key = (prop::sample::select(vec!["id", "at"]), prop::sample::select(vec!["S", "S", "N"]), ways());
    prop_oneof![
        2 => events.prop_map(|it| json!({ "eventName": it })),
        6 => image().prop_map(|it| json!({ "dynamodb": { "NewImage": it } })),
        3 => image().prop_map(|it| json!({ "dynamodb": { "OldImage": it } })),
        2 => (image(), image()).prop_map(|(old, new)| json!({ "dynamodb": { "OldImage": old, "NewImage": new } })),
        2 => key.prop_map(|(name, type_, ways)| json!({ "dynamodb": { "Keys": { name: { type_: ways } } } })),
        1 => Just(json!({ "userIdentity": { "type": ["Service"] } })),
        1 => Just(json!({ "userIdentity": { "type": [{ "exists": false }] } })),
        1 => Just(json!({ "eventSource": [{ "prefix": "aws:" }] })),
    ]
}

fn filter() -> impl Strategy<Value = Json> {
    prop_oneof![
        3 => part(),
        2 => (part(), part()).prop_map(|(first, second)| {
            let mut both = first.as_object().unwrap().clone();
            both.extend(second.as_object().unwrap().clone());
            Json::Object(both)
        }),
        1 => (part(), part()).prop_map(|(first, second)| json!({ "$or": [first, second] })),
    ]
}

fn view() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["NEW_AND_OLD_IMAGES", "NEW_AND_OLD_IMAGES", "NEW_IMAGE", "OLD_IMAGE", "KEYS_ONLY"])
}

/// The record as it is really sent: what isn't known in advance has a value.
fn sent(mut record: Json) -> Json {
    for (pointer, value) in [
        ("/eventID", json!("1")),
        ("/eventVersion", json!("1.1")),
        ("/dynamodb/ApproximateCreationDateTime", json!(1)),
        ("/dynamodb/SequenceNumber", json!("100")),
        ("/dynamodb/SizeBytes", json!(59)),
    ] {
        *record.pointer_mut(pointer).unwrap() = value;
    }
    for image in ["NewImage", "OldImage"] {
        if let Some(mark) = record.pointer_mut(&format!("/dynamodb/{image}/{MARK}/S")) {
            *mark = json!("engine-mark-1");
        }
    }
    record
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn solutions_pass_or_are_dropped_as_the_solver_predicts(
        filters in prop::collection::vec(filter(), 1..3),
        view in view(),
    ) {
        let facts = facts(view);
        let patterns: Vec<Pattern> = filters.iter().map(Pattern::of).collect();
        let solution = solve(&patterns, &facts);
        for (event, verdict) in &solution.events {
            let record = sent(solution.record(*event, &facts));
            let is_passed = filters.iter().any(|filter| passes(filter, &record));
            match verdict {
                Verdict::Yes => prop_assert!(is_passed, "{event:?} {record:#} {solution:#?}"),
                Verdict::No => prop_assert!(!is_passed, "{event:?} {record:#} {solution:#?}"),
                Verdict::Unknown => {}
            }
            prop_assert_eq!(*verdict == Verdict::Yes, !solution.obstacles.contains_key(event));
        }
    }
}

/// Values for random items: those that a pattern names, and variants of them.
struct Pool {
    random: fastrand::Rng,
    words: Vec<String>,
}

impl Pool {
    fn of(filters: &[Json], seed: u64) -> Pool {
        fn collect(json: &Json, into: &mut Vec<String>) {
            match json {
                Json::String(text) => into.push(text.clone()),
                Json::Array(list) => list.iter().for_each(|it| collect(it, into)),
                Json::Object(map) => map.values().for_each(|it| collect(it, into)),
                _ => {}
            }
        }
        let mut words = vec!["a".to_owned(), "zz".to_owned(), "7".to_owned()];
        filters.iter().for_each(|filter| collect(filter, &mut words));
        Pool { random: fastrand::Rng::with_seed(seed), words }
    }

    fn word(&mut self) -> String {
        let at = self.random.usize(..self.words.len());
        self.words[at].clone()
    }

    fn text(&mut self) -> String {
        match self.random.u8(..8) {
            0 => self.word() + &self.word(),
            1 => self.word() + "q" + &self.word(),
            2 => self.word().to_uppercase(),
            3 => self.word().to_lowercase(),
            4 => "q".to_owned() + &self.word(),
            _ => self.word(),
        }
    }

    fn number(&mut self) -> String {
        let text = self.text();
        let is_number = text.parse::<f64>().is_ok_and(|number| number.to_string() == text);
        if is_number { text } else { self.random.i32(-20..400).to_string() }
    }

    fn value(&mut self, depth: usize) -> Json {
        match self.random.u8(..if depth == 0 { 7 } else { 9 }) {
            0..3 => json!({ "S": self.text() }),
            3 => json!({ "N": self.number() }),
            4 => json!({ "BOOL": self.random.bool() }),
            5 => {
                if self.random.bool() {
                    json!({ "NULL": true })
                } else {
                    json!({ "B": "YQ==" })
                }
            }
            6 => json!({ "SS": [self.text()] }),
            7 => json!({ "M": { "code": self.value(depth - 1) } }),
            _ => json!({ "L": [self.value(depth - 1)] }),
        }
    }

    fn item(&mut self) -> Map<String, Json> {
        let mut item = Map::new();
        for name in ["kind", "size"] {
            if self.random.u8(..4) > 0 {
                item.insert(name.to_owned(), self.value(2));
            }
        }
        let owner = self.text();
        if !owner.is_empty() && self.random.bool() {
            item.insert("owner".to_owned(), json!({ "S": owner }));
        }
        item
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, max_global_rejects: 100_000, ..ProptestConfig::default() })]

    #[test]
    fn what_the_solver_calls_impossible_passes_for_no_random_item(
        filters in prop::collection::vec(filter(), 1..3),
        view in view(),
        seed in any::<u64>(),
    ) {
        let mut facts = facts(view);
        let patterns: Vec<Pattern> = filters.iter().map(Pattern::of).collect();
        let solution = solve(&patterns, &facts);
        let impossible: Vec<EventName> = solution.obstacles.iter().filter_map(|(event, obstacle)| {
            matches!(obstacle, Obstacle::Impossible(_)).then_some(*event)
        }).collect();
        prop_assume!(!impossible.is_empty());
        let mut pool = Pool::of(&filters, seed);
        for _ in 0..N_ITEMS {
            let id = pool.text();
            facts.keys[0].2 = if id.is_empty() { "a".to_owned() } else { id };
            facts.keys[1].2 = pool.number();
            let plain = solve(&[], &facts);
            let item = Solution { first: pool.item(), second: pool.item(), ..plain };
            let event = impossible[pool.random.usize(..impossible.len())];
            let record = sent(item.record(event, &facts));
            prop_assert!(!filters.iter().any(|it| passes(it, &record)), "{event:?} {record:#} {solution:#?}");
        }
    }

    #[test]
    fn a_message_that_the_solver_builds_passes(filters in prop::collection::vec(message_filter(), 1..3)) {
        let patterns: Vec<Pattern> = filters.iter().map(Pattern::of).collect();
        if let Ok(Message { body }) = solve_message(&patterns, "engine-verify-1") {
            let seen = serde_json::from_str(&body).unwrap_or_else(|_| Json::from(body.as_str()));
            prop_assert!(filters.iter().any(|it| passes(it, &json!({ "body": seen }))), "{body} {filters:?}");
        }
    }
}

fn message_filter() -> impl Strategy<Value = Json> {
    let leaf = ways().prop_recursive(2, 4, 2, |inner| {
        prop::collection::btree_map(prop::sample::select(vec!["kind", "size"]), inner, 1..3).prop_map(|it| json!(it))
    });
    leaf.prop_map(|it| json!({ "body": it }))
}

/// The verdict on the record of a plain item, in which the mark isn't known.
fn dropped(filter: &Json) -> bool {
    let keys = json!({ "id": { "S": "engine-verify-1" } });
    let image = json!({ "id": { "S": "engine-verify-1" }, "engine_verify": { "S": null } });
    let facts = RecordFacts { view: "NEW_IMAGE", stream: "" };
    certainly_drops(std::slice::from_ref(filter), &record(EventName::Insert, &facts, &keys, &image))
}

#[test]
fn a_filter_drops_a_record_only_if_no_other_meaning_is_possible() {
    let cases = [
        (json!({ "eventName": ["REMOVE"] }), true),
        (json!({ "eventName": ["REMOVE", "INSERT"] }), false),
        (json!("{\"eventName\":[\"MODIFY\"]}"), true),
        (json!("not JSON"), false),
        (json!({ "eventName": [{ "prefix": "INS" }] }), false),
        (json!({ "eventName": [{ "prefix": "MOD" }] }), true),
        (json!({ "eventName": [{ "anything-but": ["INSERT"] }] }), true),
        (json!({ "eventName": [{ "anything-but": "INSERT" }] }), true),
        (json!({ "eventName": [{ "wildcard": "I*" }] }), false),
        (json!({ "eventName": [{ "cidr": "10.0.0.0/24" }] }), false),
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
        // DynamoDB sends numbers as strings.
        (json!({ "dynamodb": { "Keys": { "id": { "S": [{ "numeric": ["=", 1] }] } } } }), true),
        (json!({}), false),
    ];
    for (filter, is_dropped) in cases {
        assert_eq!(dropped(&filter), is_dropped, "{filter}");
    }
    let [other, ours] = [json!({ "eventName": ["REMOVE"] }), json!({ "eventName": ["INSERT"] })];
    let insert = record(EventName::Insert, &RecordFacts { view: "KEYS_ONLY", stream: "" }, &json!({}), &json!({}));
    assert!(!certainly_drops(&[], &insert));
    assert!(!certainly_drops(&[other, ours], &insert), "one of several is enough");
}

/// What the solver says about one filter: the item, the passing events, and why the others fail.
fn describe(filter: Json) -> String {
    let facts = TableFacts { fixed: Map::new(), ..facts("NEW_AND_OLD_IMAGES") };
    let solution = solve(&[Pattern::of(&filter)], &facts);
    let passing: Vec<_> =
        solution.events.iter().filter(|(_, it)| **it == Verdict::Yes).map(|(it, _)| it.word()).collect();
    let why: Vec<String> =
        solution.obstacles.iter().map(|(event, it)| format!("\n{}: {}", event.word(), it.text())).collect();
    let shown = |part: &Map<String, Json>| Json::Object(part.clone()).to_string();
    let Solution { keys, first, second, .. } = &solution;
    format!("{} {} {}\npass: {}{}", shown(keys), shown(first), shown(second), passing.join(" "), why.concat())
}

#[test]
fn the_item_and_the_reasons_can_be_read() {
    let described = [
        json!({ "dynamodb": { "NewImage": { "kind": { "S": ["Event"] }, "size": { "M": { "code": { "N": ["300"] } } } } } }),
        json!({ "eventName": ["MODIFY"], "dynamodb": {
            "OldImage": { "state": { "S": ["open"] } }, "NewImage": { "state": { "S": [{ "anything-but": ["open"] }] } } } }),
        json!({ "dynamodb": { "Keys": { "id": { "S": [{ "prefix": "user#" }] } } } }),
        json!({ "eventName": ["REMOVE"], "userIdentity": { "type": ["Service"] } }),
        json!({ "dynamodb": { "NewImage": { "at": { "S": ["x"] }, "owner": { "S": [""] } } } }),
        json!({ "dynamodb": { "NewImage": { "size": { "N": [{ "numeric": [">", 5] }, "5.0"] } } } }),
    ]
    .map(describe);
    insta::assert_snapshot!(described.join("\n\n"));
}
