//! Live properties as a spec would have them: without defaults, and without what can't be read.
//!
//! **Invariant:** a property that is left out is a default, or has a note.

use crate::schema::{Identity, Presence, Property, Rule, Schema, Shape};
use crate::value::{Tree, Value};

use super::{Declaration, ExistingResource};

/// Adds the properties of a resource to its declaration.
pub(super) fn write(declaration: &mut Declaration) {
    let ExistingResource { kind, id, live, .. } = &declaration.existing;
    let schema = kind.schema();
    let exported = kind.export(&live.props);
    let complete = complete(schema, &live.props);
    let (mut properties, mut notes, mut gaps) = (Vec::new(), Vec::new(), Vec::new());
    for property in schema.settable().filter(|it| !is_name(schema, it)) {
        let name = &*property.name;
        if let Some(value) = exported.properties.get(name) {
            properties.push((name.to_owned(), value.clone()));
            continue;
        }
        if let Some(parent) = id.parents.get(&property.name).filter(|_| property.parent) {
            properties.push((name.to_owned(), Value::String(parent.clone())));
            continue;
        }
        if let Some(why) = live.unknown.get(&property.name) {
            gaps.push(format!("`{name}` can't be read, because {why}"));
            continue;
        }
        let Some(value) = live.props.get(name).filter(|_| property.change != Rule::WriteOnly) else { continue };
        if let Some(why) = property.unclear.as_ref().and_then(|unclear| unclear(value, &Value::Null)) {
            notes.push(format!("`{name}` isn't declared: {why}"));
            continue;
        }
        let usual = default_of(property);
        let mut without = complete.clone();
        without.insert(name.to_owned(), usual.clone());
        kind.normalize(id, &mut without);
        let is_same = property.equivalent.as_ref().is_some_and(|is_same| is_same(value, &usual));
        let is_kept = property.optional_computed && *value == Value::Bool(false);
        let is_left_out = *value == Value::Null || without.get(name) == Some(value) || is_same || is_kept;
        let is_required = matches!(property.presence, Presence::Required | Presence::Implied);
        if is_required || !is_left_out {
            properties.push((name.to_owned(), without_defaults(&property.shape, value)));
        }
    }
    declaration.package = exported.package.map(|name| name.to_string());
    for (name, why) in exported.ignored {
        properties.retain(|(other, _)| *other != name);
        notes.push(format!("`{name}` isn't declared: {why}"));
        declaration.ignored.push(name.to_string());
    }
    // A spec can't set these, but it can leave them as they are.
    for property in schema.properties.iter().filter(|it| it.is_ignorable) {
        let is_empty = |value: &Value| matches!(value, Value::Null) || *value == Value::List(Vec::new());
        if live.props.get(&*property.name).is_some_and(|value| !is_empty(value)) {
            declaration.ignored.push(property.name.to_string());
        }
    }
    notes.extend(live.pending().map(|why| format!("{why}, so this may be out of date")));
    declaration.properties.extend(properties);
    declaration.notes.extend(notes);
    declaration.gaps.extend(gaps);
}

/// Whether a property only sets the resource's name.
fn is_name(schema: &Schema, property: &Property) -> bool {
    matches!(&schema.identity, Identity::Nested { key, .. } if *key == property.name)
}

/// All properties: what a read doesn't show has its default.
fn complete(schema: &Schema, live: &Tree) -> Tree {
    let properties = schema.properties.iter();
    let defaults: Tree = properties.map(|it| (it.name.to_string(), default_of(it))).collect();
    defaults.into_iter().chain(live.clone()).collect()
}

fn default_of(property: &Property) -> Value {
    match &property.presence {
        Presence::Default(default) => Value::from(default.clone()),
        _ => Value::Null,
    }
}

/// A value without the defaults inside it.
fn without_defaults(shape: &Shape, value: &Value) -> Value {
    match (shape, value) {
        (Shape::Record(members) | Shape::TextOrRecord(_, members), Value::Map(map)) => {
            let written = map.iter().filter_map(|(name, value)| {
                let member = members.iter().find(|member| member.name == *name)?;
                let is_default = *value == Value::Null || *value == default_of(member);
                let is_required = matches!(member.presence, Presence::Required);
                (is_required || !is_default).then(|| (name.clone(), without_defaults(&member.shape, value)))
            });
            Value::Map(written.collect())
        }
        (Shape::Map { value: inner, .. }, Value::Map(map)) => {
            Value::Map(map.iter().map(|(key, value)| (key.clone(), without_defaults(inner, value))).collect())
        }
        (Shape::List { item, .. } | Shape::Set { item, .. }, Value::List(items)) => {
            Value::List(items.iter().map(|it| without_defaults(item, it)).collect())
        }
        (Shape::OneOf(shapes), value) => {
            let fits = |shape: &&Shape| match value {
                Value::Map(_) => matches!(shape, Shape::Record(_) | Shape::Map { .. }),
                Value::List(_) => matches!(shape, Shape::List { .. } | Shape::Set { .. }),
                _ => false,
            };
            shapes.iter().find(fits).map_or_else(|| value.clone(), |shape| without_defaults(shape, value))
        }
        (_, value) => value.clone(),
    }
}
