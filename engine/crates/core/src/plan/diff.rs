//! Compares live and desired properties.
//!
//! **Invariant:** knows values and the schema's rules, but no rows, owners or steps.

use std::collections::BTreeSet;

use crate::schema::{Effect, Live, Presence, Property, Rule, Schema, part_of};
use crate::spec::ResourceDecl;
use crate::value::{Path, Tree, Value};

use super::PropertyChange;

/// Every property of a new resource.
pub(super) fn additions(declared: &ResourceDecl, desired: &Tree) -> Vec<PropertyChange> {
    let says_nothing = |value: &Value| match value {
        Value::Null => true,
        Value::Map(map) => map.is_empty(),
        Value::List(list) => list.is_empty(),
        _ => false,
    };
    let schema = declared.schema();
    let is_displayed = |property: &&Property| property.is_compared() || matches!(property.change, Rule::DisplayWith(_));
    schema
        .properties
        .iter()
        .filter(is_displayed)
        .filter_map(|property| Some((property, desired.get(&*property.name)?)))
        .filter(|(_, after)| !says_nothing(after))
        .map(|(property, after)| PropertyChange {
            path: Path::property(&property.name),
            before: Value::Null,
            after: after.clone(),
            effect: Effect::InPlace,
            sensitive: property.sensitive,
            is_default: matches!(property.presence, Presence::Default(_) | Presence::Optional)
                && !declared.explicit.contains(&*property.name),
        })
        .collect()
}

/// The desired properties that differ from the live ones.
pub(super) fn differences(schema: &Schema, live: &Live, desired: &Tree) -> Vec<PropertyChange> {
    let mut changes: Vec<PropertyChange> = Vec::new();
    for property in schema.properties.iter().filter(|it| !live.unknown.contains_key(&it.name)) {
        let live = &live.props;
        let name = &*property.name;
        let (before, after) = (live.get(name).unwrap_or(&NULL), desired.get(name).unwrap_or(&NULL));
        let path = Path::property(&property.name);
        let usual = match &property.change {
            Rule::Compare(effect) => effect,
            Rule::Subset => &Effect::InPlace,
            Rule::DisplayWith(other)
                if before != after && changes.iter().any(|it| it.path.root() == Some(&**other)) =>
            {
                &Effect::InPlace
            }
            Rule::WriteOnly | Rule::DisplayWith(_) => continue,
        };
        if property.equivalent.as_ref().is_some_and(|is_same| is_same(before, after)) {
            continue;
        }
        let mut found = Vec::new();
        compare(&path, before, after, property.change == Rule::Subset, &mut found);
        changes.extend(found.into_iter().map(|(path, before, after)| PropertyChange {
            effect: property.decide.as_ref().map_or_else(|| usual.clone(), |decide| decide(&path, live, desired)),
            path,
            before: before.clone(),
            after: after.clone(),
            sensitive: property.sensitive,
            is_default: false,
        }));
    }
    changes
}

pub(super) static NULL: Value = Value::Null;

/// Finds every path at which two values differ. Mappings, and lists of mappings, are compared entry
/// by entry; where entries are only `ensured`, those that the spec doesn't declare are not
/// compared.
fn compare<'v>(
    path: &Path,
    before: &'v Value,
    after: &'v Value,
    ensured: bool,
    found: &mut Vec<(Path, &'v Value, &'v Value)>,
) {
    match (before, after) {
        (Value::Map(have), Value::Map(want)) => {
            let keys: BTreeSet<&String> = want.keys().chain(have.keys().filter(|_| !ensured)).collect();
            for key in keys {
                let (before, after) = (have.get(key).unwrap_or(&NULL), want.get(key).unwrap_or(&NULL));
                compare(&path.key(key), before, after, ensured, found);
            }
        }
        (Value::List(have), Value::List(want)) if have.iter().chain(want).any(|it| matches!(it, Value::Map(_))) => {
            for index in 0..have.len().max(want.len()) {
                let (before, after) = (have.get(index).unwrap_or(&NULL), want.get(index).unwrap_or(&NULL));
                compare(&path.index(index), before, after, ensured, found);
            }
        }
        (before, after) if before != after => found.push((path.clone(), before, after)),
        _ => {}
    }
}

/// Copies live values into `desired` where the spec doesn't decide: ignored properties and parts of
/// them, those that keep their value unless set, those that mean the same in another form, and
/// those that can't be compared. Returns notes about the last.
pub fn keep(declared: &ResourceDecl, live: &Tree, desired: &mut Tree) -> Vec<String> {
    let ignored = &declared.lifecycle.ignore_changes;
    let mut notes = Vec::new();
    for property in &declared.schema().properties {
        // A property that can't be read has no live value.
        let (Some(have), name) = (live.get(&*property.name), &*property.name) else { continue };
        let is_left = ignored.contains(name)
            || property.derived_from.as_ref().is_some_and(|other| ignored.contains(&**other))
            || (property.optional_computed && !declared.explicit.contains(name));
        let why = property.unclear.as_ref().and_then(|unclear| unclear(have, desired.get(name)?)).filter(|_| !is_left);
        notes.extend(why.as_ref().map(|why| format!("`{name}` is not compared: {why}")));
        let wanted = desired.get(name).filter(|want| **want != Value::Null);
        // Nothing wanted stays nothing: a new resource wouldn't get the live value.
        let is_same = property.equivalent.as_ref().zip(wanted).is_some_and(|(is_same, want)| is_same(have, want));
        if is_left || is_same || why.is_some() {
            desired.insert(name.to_owned(), have.clone());
            continue;
        }
        let parts = ignored.iter().filter_map(|path| path.strip_prefix(name)?.strip_prefix('.'));
        for part in parts.filter_map(|rest| part_of(name, &property.shape, rest).ok()) {
            if let Some(want) = desired.get_mut(name) {
                keep_part(&part, have, want);
            }
        }
    }
    notes
}

/// The same for one part. An entry that AWS doesn't have is not sent either; entries of a mapping
/// that is created or deleted have no live value.
fn keep_part(part: &[&str], have: &Value, want: &mut Value) {
    let ([step, deeper @ ..], Value::Map(have), Value::Map(want)) = (part, have, want) else { return };
    let keys: BTreeSet<String> = match *step {
        "*" => have.keys().chain(want.keys()).cloned().collect(),
        key => BTreeSet::from([key.to_owned()]),
    };
    for key in keys {
        match (have.get(&key), deeper.is_empty()) {
            (Some(value), true) => drop(want.insert(key, value.clone())),
            (None, true) => drop(want.remove(&key)),
            (Some(value), false) => {
                if let Some(want) = want.get_mut(&key) {
                    keep_part(deeper, value, want);
                }
            }
            (None, false) => {}
        }
    }
}
