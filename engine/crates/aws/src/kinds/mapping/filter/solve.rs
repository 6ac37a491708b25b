//! Finds what to write so that a mapping's filters let it through.
//!
//! A pattern is expanded into alternatives without `$or`. What an alternative requires of an event
//! is either constant, like its name, or a requirement for the key, or for the item before or after
//! the update. Each attribute is then solved by itself.
//!
//! **Invariant:** whether an event passes is decided by [`Pattern::judge`] on the whole record, not
//! by how the item was found.

mod leaf;
mod tree;

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use crate::logs::EventName;

use super::judge::{self, Verdict};
use super::pattern::{Pattern, PatternRule, Test};
use super::{RecordFacts, record, verdict};

use leaf::UniqueText;
use tree::RequirementNode;

/// How many alternatives of a pattern are tried, more than AWS takes
/// (docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html).
const MAX_ALTERNATIVES: usize = 1000;
/// How many combinations of alternatives for several events are tried.
const MAX_COMBINATIONS: usize = 5000;

/// What is known about a table and its stream.
#[derive(Debug, Clone, Default)]
pub struct TableFacts {
    /// Name and type of the key's attributes, with this run's value of each.
    pub keys: Vec<(String, String, String)>,
    /// The types of all attributes that are keys of the table or of an index.
    pub types: BTreeMap<String, String>,
    /// The stream's view type.
    pub view: String,
    /// The stream's ARN.
    pub stream: String,
    /// Attributes that every item has, in DynamoDB's form; `null` inside is a value that isn't known.
    pub fixed: Map<String, Json>,
    /// A text and a number that nothing else has.
    pub own: (String, String),
}

/// An item in DynamoDB's form, and which of its events the filters let through.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Solution {
    /// The key.
    pub keys: Map<String, Json>,
    /// The other attributes of the item that is put.
    pub first: Map<String, Json>,
    /// The same after the update.
    pub second: Map<String, Json>,
    /// Whether each event passes.
    pub events: BTreeMap<EventName, Verdict>,
    /// Why events don't certainly pass.
    pub obstacles: BTreeMap<EventName, Obstacle>,
}

/// Why an event of the item doesn't certainly pass, with a sentence for each way in which it fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// No item that engine can write passes.
    Impossible(Vec<String>),
    /// engine found none.
    Uncertain(Vec<String>),
    /// Only items pass for which other events don't.
    OtherItem,
}

impl Obstacle {
    /// The reasons as one text.
    pub fn text(&self) -> String {
        match self {
            Obstacle::Impossible(reasons) | Obstacle::Uncertain(reasons) => reasons.join("; "),
            Obstacle::OtherItem => "it needs another item than the other events".to_owned(),
        }
    }
}

/// Why there is no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// No value passes.
    Impossible(String),
    /// engine found none.
    Uncertain(String),
}

impl Trouble {
    /// The one that is reported of two: with an uncertain one, the whole isn't impossible.
    fn more_hopeful(first: Option<Trouble>, second: Trouble) -> Trouble {
        match (first, second) {
            (Some(first), Trouble::Impossible(_)) => first,
            (_, second) => second,
        }
    }

    fn text(&self) -> &str {
        match self {
            Trouble::Impossible(text) | Trouble::Uncertain(text) => text,
        }
    }
}

/// A requirement: the value there must pass one of the tests.
#[derive(Debug, Clone)]
struct Demand<'p> {
    path: Vec<&'p str>,
    tests: &'p [Test],
}

/// Requirements that together make a pattern match.
#[derive(Debug, Clone, Default)]
struct Alternative<'p> {
    demands: Vec<Demand<'p>>,
    /// Whether the pattern has more, which engine doesn't know.
    is_partial: bool,
}

/// The alternatives of a pattern, up to the limit; and whether these are all.
fn alternatives(pattern: &Pattern) -> (Vec<Alternative<'_>>, bool) {
    let (mut all, mut is_complete) = (vec![Alternative::default()], true);
    for rule in &pattern.rules {
        let (more, are_all) = match rule {
            PatternRule::Value(name, tests) => {
                let demand = Demand { path: vec![name], tests };
                (vec![Alternative { demands: vec![demand], is_partial: false }], true)
            }
            PatternRule::Field(name, inner) => {
                let (mut inner, are_all) = alternatives(inner);
                for demand in inner.iter_mut().flat_map(|it| &mut it.demands) {
                    demand.path.insert(0, name);
                }
                (inner, are_all)
            }
            PatternRule::AnyOf(ways) => {
                let ways: Vec<_> = ways.iter().map(alternatives).collect();
                let are_all = ways.iter().all(|(_, are_all)| *are_all);
                (ways.into_iter().flat_map(|(ways, _)| ways).collect(), are_all)
            }
            PatternRule::Unknown => (vec![Alternative { demands: Vec::new(), is_partial: true }], true),
        };
        is_complete &= are_all && all.len() * more.len() <= MAX_ALTERNATIVES;
        let joined = all.iter().flat_map(|first| {
            more.iter().map(move |second| Alternative {
                demands: [&first.demands[..], &second.demands].concat(),
                is_partial: first.is_partial || second.is_partial,
            })
        });
        all = joined.take(MAX_ALTERNATIVES).collect();
    }
    (all, is_complete)
}

/// The part of the item that a requirement is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ItemPart {
    Keys,
    First,
    Second,
}

/// What an event requires of the item.
type Required<'p> = Vec<(ItemPart, Demand<'p>)>;

/// An item that the filters let through for as many events as possible.
pub fn solve(filters: &[Pattern], facts: &TableFacts) -> Solution {
    let solver = Solver { filters, facts };
    if filters.is_empty() {
        return solver.plain();
    }
    let (by_event, obstacles): (Vec<_>, Vec<_>) = EventName::ALL.into_iter().map(|it| solver.possible(it)).unzip();
    let mut solution = solver.best(&by_event);
    let obstacles = EventName::ALL.into_iter().zip(obstacles);
    let obstacles = obstacles.filter(|(event, _)| solution.events.get(event) != Some(&Verdict::Yes));
    solution.obstacles = obstacles.collect();
    solution
}

struct Solver<'s> {
    filters: &'s [Pattern],
    facts: &'s TableFacts,
}

impl<'s> Solver<'s> {
    /// What the item must be for an event to pass, once for each way; and why other ways are none.
    fn possible(&self, event: EventName) -> (Vec<Required<'s>>, Obstacle) {
        let (mut possible, mut impossible, mut uncertain) = (Vec::new(), Vec::new(), Vec::new());
        for filter in self.filters {
            let (alternatives, are_all) = alternatives(filter);
            if !are_all {
                uncertain.push("a filter has too many alternatives".to_owned());
            }
            for alternative in alternatives {
                let found = self.required(event, &alternative).and_then(|required| {
                    self.items(&required)?;
                    Ok(required)
                });
                match found {
                    Ok(required) => possible.push(required),
                    Err(trouble @ Trouble::Impossible(_)) => impossible.push(trouble.text().to_owned()),
                    Err(trouble @ Trouble::Uncertain(_)) => uncertain.push(trouble.text().to_owned()),
                }
            }
        }
        let sorted = |mut reasons: Vec<String>| {
            reasons.sort();
            reasons.dedup();
            reasons
        };
        let obstacle = match (possible.is_empty(), uncertain.is_empty()) {
            (false, _) => Obstacle::OtherItem,
            (true, false) => Obstacle::Uncertain(sorted(uncertain)),
            (true, true) => Obstacle::Impossible(sorted(impossible)),
        };
        (possible, obstacle)
    }

    /// The requirements of an alternative that engine can meet by choosing the item.
    fn required(&self, event: EventName, alternative: &Alternative<'s>) -> Result<Required<'s>, Trouble> {
        if alternative.is_partial {
            return Err(Trouble::Uncertain("it has a rule that engine doesn't know".to_owned()));
        }
        let none = Map::new();
        let constant = record(event, &self.record_facts(), &Json::Object(none.clone()), &Json::Object(none));
        let mut required = Required::new();
        for demand in &alternative.demands {
            let shown = |side: &str| constant.pointer(&format!("/dynamodb/{side}")).is_some();
            let part = match demand.path.as_slice() {
                ["dynamodb", "Keys", ..] => Some(ItemPart::Keys),
                ["dynamodb", "NewImage", ..] if shown("NewImage") => {
                    Some(if event == EventName::Insert { ItemPart::First } else { ItemPart::Second })
                }
                ["dynamodb", "OldImage", ..] if shown("OldImage") => {
                    Some(if event == EventName::Modify { ItemPart::First } else { ItemPart::Second })
                }
                _ => None,
            };
            if let Some(part) = part.filter(|_| demand.path.len() > 2) {
                let path = demand.path.get(2..).unwrap_or_default().to_vec();
                required.push((part, Demand { path, tests: demand.tests }));
                continue;
            }
            let found = demand.path.iter().try_fold(&constant, |found, name| match found {
                Json::Null => Some(found),
                found => found.get(name),
            });
            match judge::any(demand.tests, found) {
                Verdict::Yes => {}
                Verdict::No => return Err(Trouble::Impossible(self.unchangeable(event, demand))),
                Verdict::Unknown => {
                    let path = demand.path.join(".");
                    return Err(Trouble::Uncertain(format!("engine can't choose `{path}` of a record")));
                }
            }
        }
        Ok(required)
    }

    /// Why a constant part of a record doesn't pass.
    fn unchangeable(&self, event: EventName, demand: &Demand<'_>) -> String {
        let path = demand.path.join(".");
        let wanted: Vec<String> = demand.tests.iter().map(Test::described).collect();
        let wanted = format!("`{path}` must be {}", wanted.join(" or "));
        match demand.path.as_slice() {
            ["eventName"] => format!("its {wanted}"),
            // docs.aws.amazon.com/amazondynamodb/latest/developerguide/time-to-live-ttl-streams.html
            ["userIdentity", ..] => format!(
                "its {wanted}, which only records of items have that DynamoDB deletes by time to live: within days of \
                 their expiry, so engine can't cause one"
            ),
            ["dynamodb", "NewImage", ..] if event == EventName::Remove => {
                format!("its {wanted}, and a REMOVE has no `NewImage`")
            }
            ["dynamodb", "OldImage", ..] if event == EventName::Insert => {
                format!("its {wanted}, and an INSERT has no `OldImage`")
            }
            ["dynamodb", image @ ("NewImage" | "OldImage"), ..] => {
                format!("its {wanted}, and records of the view type {} have no `{image}`", self.facts.view)
            }
            _ => format!("its {wanted}"),
        }
    }

    fn record_facts(&self) -> RecordFacts<'s> {
        RecordFacts { view: &self.facts.view, stream: &self.facts.stream }
    }

    /// The item that passes the most events.
    fn best(&self, by_event: &[Vec<Required<'s>>]) -> Solution {
        let mut best: Option<Solution> = None;
        let n_passing = |solution: &Solution| solution.events.values().filter(|it| **it == Verdict::Yes).count();
        // Sets of events, the largest first.
        for events in [0b111_u8, 0b011, 0b101, 0b110, 0b001, 0b010, 0b100] {
            let wanted = (0..).zip(by_event).filter(|(at, _)| events >> at & 1 == 1);
            let wanted: Vec<&Vec<Required<'s>>> = wanted.map(|(_, possible)| possible).collect();
            let n_combinations = wanted.iter().fold(1_usize, |n, possible| n.saturating_mul(possible.len()));
            for at in 0..n_combinations.min(MAX_COMBINATIONS) {
                let mut rest = at;
                let chosen = wanted.iter().filter_map(|possible| {
                    let one = possible.get(rest % possible.len());
                    rest /= possible.len();
                    one
                });
                let required: Required<'s> = chosen.flatten().cloned().collect();
                let Ok(solution) = self.items(&required) else { continue };
                let n = n_passing(&solution);
                if best.as_ref().is_none_or(|best| n > n_passing(best)) {
                    best = Some(solution);
                }
                if n == EventName::ALL.len() {
                    break;
                }
            }
            if best.as_ref().is_some_and(|best| n_passing(best) >= wanted.len()) {
                break;
            }
        }
        best.unwrap_or_else(|| self.plain())
    }

    /// An item of which nothing is required.
    fn plain(&self) -> Solution {
        let keys = self.facts.keys.iter().map(|(name, type_, value)| (name.clone(), json!({ type_: value })));
        self.judged(keys.collect(), Map::new(), Map::new())
    }

    /// An item that meets all of these requirements.
    fn items(&self, required: &Required<'s>) -> Result<Solution, Trouble> {
        let TableFacts { keys, types, own, fixed, .. } = self.facts;
        let is_key = |name: &str| keys.iter().any(|(key, ..)| key == name);
        let (mut of_keys, mut first, mut second) =
            (RequirementNode::default(), RequirementNode::default(), RequirementNode::default());
        for (part, Demand { path, tests }) in required {
            let of_key = path.first().is_some_and(|name| is_key(name));
            match part {
                _ if of_key => of_keys.add(path, tests),
                // A record's `Keys` has nothing else.
                ItemPart::Keys if tests.contains(&Test::Exists(false)) => {}
                ItemPart::Keys => {
                    let path = path.first().copied().unwrap_or_default();
                    return Err(Trouble::Impossible(format!("`{path}` isn't a key of the table")));
                }
                ItemPart::First => first.add(path, tests),
                ItemPart::Second => second.add(path, tests),
            }
        }
        let mut key = Map::new();
        for (name, type_, value) in keys {
            let node = of_keys.take(name);
            let own = UniqueText { text: value, digits: value };
            key.insert(name.clone(), node.key_attribute(name, type_, value, own)?);
        }
        let own = UniqueText { text: &own.0, digits: &own.1 };
        let image = |mut node: RequirementNode<'_>| {
            for (name, value) in fixed {
                node.take(name).fits_fixed(name, value)?;
            }
            node.attributes(types, own)
        };
        Ok(self.judged(key, image(first)?, image(second)?))
    }

    fn judged(&self, keys: Map<String, Json>, first: Map<String, Json>, second: Map<String, Json>) -> Solution {
        let mut solution = Solution { keys, first, second, events: BTreeMap::new(), obstacles: BTreeMap::new() };
        let events = EventName::ALL.into_iter();
        let events = events.map(|event| (event, verdict(self.filters, &solution.record(event, self.facts))));
        solution.events = events.collect();
        solution
    }
}

impl Solution {
    /// The record of an event of the item, as far as it is known in advance.
    pub fn record(&self, event: EventName, facts: &TableFacts) -> Json {
        let image = |part: &Map<String, Json>| {
            let all = [&self.keys, &facts.fixed, part].into_iter().flatten();
            Json::Object(all.map(|(name, value)| (name.clone(), value.clone())).collect())
        };
        let (first, second) = (image(&self.first), image(&self.second));
        let (old, new) = match event {
            EventName::Insert => (&first, &first),
            EventName::Modify => (&first, &second),
            EventName::Remove => (&second, &second),
        };
        let record_facts = RecordFacts { view: &facts.view, stream: &facts.stream };
        let mut record = record(event, &record_facts, &Json::Object(self.keys.clone()), new);
        if let Some(image) = record.pointer_mut("/dynamodb/OldImage") {
            *image = old.clone();
        }
        record
    }
}

/// A message for a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its body.
    pub body: String,
}

/// A message that the filters let through, with `own` in it; or why there is none.
///
/// # Errors
/// Why no message passes, or why engine finds none, once for each way.
pub fn solve_message(filters: &[Pattern], own: &str) -> Result<Message, Vec<String>> {
    if filters.is_empty() {
        return Ok(Message { body: marked(Map::new(), own) });
    }
    let mut reasons = Vec::new();
    for filter in filters {
        let (alternatives, are_all) = alternatives(filter);
        if !are_all {
            reasons.push("a filter has too many alternatives".to_owned());
        }
        for alternative in alternatives {
            match message(&alternative, own) {
                Ok(body) => {
                    let body_seen = serde_json::from_str(&body).unwrap_or_else(|_| Json::from(body.as_str()));
                    if verdict(filters, &json!({ "body": body_seen })) == Verdict::Yes {
                        return Ok(Message { body });
                    }
                    reasons.push("engine can't evaluate a filter".to_owned());
                }
                Err(trouble) => reasons.push(trouble.text().to_owned()),
            }
        }
    }
    reasons.sort();
    reasons.dedup();
    Err(reasons)
}

fn message(alternative: &Alternative<'_>, own: &str) -> Result<String, Trouble> {
    if alternative.is_partial {
        return Err(Trouble::Uncertain("it has a rule that engine doesn't know".to_owned()));
    }
    let mut body = RequirementNode::default();
    for Demand { path, tests } in &alternative.demands {
        match path.split_first() {
            Some((&"body", path)) => body.add(path, tests),
            _ => {
                let path = path.join(".");
                return Err(Trouble::Uncertain(format!("engine chooses only the body of a message, not `{path}`")));
            }
        }
    }
    let digits = "7";
    match body.json("body", UniqueText { text: own, digits })? {
        None => Ok(marked(Map::new(), own)),
        Some(Json::String(text)) => Ok(text),
        Some(Json::Object(fields)) => Ok(marked(fields, own)),
        Some(other) => Ok(other.to_string()),
    }
}

/// A body with what is required, and with this run's text where nothing is.
fn marked(mut fields: Map<String, Json>, own: &str) -> String {
    fields.entry("engine_verify").or_insert_with(|| Json::from(own));
    Json::Object(fields).to_string()
}
