//! References between exported resources, in place of ARNs and names.
//!
//! **Invariant:** there is no cycle: a reference that would close one stays an ARN.

use std::collections::{BTreeMap, BTreeSet};

use crate::schema::{AwsEnv, Property, Rule, Schema, Shape, Str};
use crate::value::Value;

use super::{Declaration, ExistingResource, Export};

/// Replaces texts by references wherever a spec can have them, and puts each resource after those
/// that it refers to.
pub(super) fn add(export: &mut Export, env: &AwsEnv) {
    let targets = Targets::new(&export.resources, env);
    let mut edges = Edges(vec![BTreeSet::new(); export.resources.len()]);
    // The parent must be a reference.
    for is_parent in [true, false] {
        for (from, declaration) in export.resources.iter_mut().enumerate() {
            let mut pass = Pass { targets: &targets, edges: &mut edges, from };
            pass.declaration(declaration, is_parent);
        }
    }
    sort(&mut export.resources, &edges);
}

/// Puts each resource after those that it refers to, and otherwise keeps the order.
fn sort(resources: &mut Vec<Declaration>, edges: &Edges) {
    fn visit(at: usize, edges: &Edges, order: &mut Vec<usize>) {
        if !order.contains(&at) {
            edges.0.get(at).into_iter().flatten().for_each(|to| visit(*to, edges, order));
            order.push(at);
        }
    }
    let mut order = Vec::new();
    (0..resources.len()).for_each(|at| visit(at, edges, &mut order));
    let mut left: Vec<Option<Declaration>> = std::mem::take(resources).into_iter().map(Some).collect();
    resources.extend(order.into_iter().filter_map(|at| left.get_mut(at)?.take()));
}

fn can_refer(property: &Property) -> bool {
    !property.no_references && !property.sensitive && property.change != Rule::Subset
}

/// The outputs of the resources, by value.
struct Targets(BTreeMap<String, Vec<(usize, String, Str, String)>>);

impl Targets {
    fn new(resources: &[Declaration], env: &AwsEnv) -> Targets {
        let mut all: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for (at, declaration) in resources.iter().enumerate() {
            let existing = &declaration.existing;
            let schema: &Schema = existing.kind.schema();
            let mut outputs = schema.computed(env, &existing.id.name);
            outputs.extend(existing.live.outputs.clone());
            for (attribute, value) in outputs {
                let target = (at, declaration.name.clone(), schema.kind.clone(), attribute);
                all.entry(value).or_default().push(target);
            }
        }
        Targets(all)
    }

    /// The resource of one of these kinds, and its attribute, with this value.
    fn linked(&self, to: &[(Str, Str)], value: &str) -> Option<(usize, &str, &str)> {
        let found = self.0.get(value)?.iter();
        let mut fits = found.filter(|(_, _, kind, attribute)| to.iter().any(|it| it.0 == *kind && it.1 == *attribute));
        fits.next().map(|(at, name, _, attribute)| (*at, name.as_str(), attribute.as_str()))
    }

    /// The same for any kind, if the value can't be anything else.
    fn unique(&self, value: &str) -> Option<(usize, &str, &str)> {
        let is_address = value.starts_with("arn:") || value.starts_with("https://");
        let (at, name, _, attribute) = self.0.get(value).filter(|_| is_address)?.first()?;
        Some((*at, name, attribute))
    }
}

/// Which resource refers to which.
struct Edges(Vec<BTreeSet<usize>>);

impl Edges {
    /// Adds a reference unless it would close a cycle.
    fn add(&mut self, from: usize, to: usize) -> bool {
        if self.reaches(to, from) {
            return false;
        }
        self.0.get_mut(from).is_some_and(|edges| {
            edges.insert(to);
            true
        })
    }

    fn reaches(&self, from: usize, to: usize) -> bool {
        from == to || self.0.get(from).is_some_and(|edges| edges.iter().any(|next| self.reaches(*next, to)))
    }
}

/// The references of one resource.
struct Pass<'p> {
    targets: &'p Targets,
    edges: &'p mut Edges,
    from: usize,
}

impl Pass<'_> {
    /// The references of a declaration to its parent, or all others.
    fn declaration(&mut self, declaration: &mut Declaration, is_parent: bool) {
        let ExistingResource { kind, live, .. } = &declaration.existing;
        let written = &mut declaration.properties;
        for property in kind.schema().settable().filter(|it| it.parent == is_parent && can_refer(it)) {
            match written.iter_mut().find(|(name, _)| *name == property.name) {
                Some((_, value)) if property.parent => *value = self.parent(property, value),
                Some((_, value)) => *value = self.value(&property.shape, value),
                // A default can be the name of another resource.
                None => {
                    let Some(value) = live.props.get(&*property.name).filter(|_| property.is_compared()) else {
                        continue;
                    };
                    let found = self.value(&property.shape, value);
                    if matches!((&property.shape, &found), (Shape::Link { .. }, Value::Unknown(_))) {
                        written.push((property.name.to_string(), found));
                    }
                }
            }
        }
    }

    /// The parent, which is known by its name.
    fn parent(&mut self, property: &Property, value: &Value) -> Value {
        let (Shape::Link { to, .. }, Some(name)) = (&property.shape, value.as_str()) else { return value.clone() };
        let Some((at, name, _)) = self.targets.linked(to, name) else { return value.clone() };
        let Some((_, attribute)) = to.first().filter(|_| self.edges.add(self.from, at)) else { return value.clone() };
        Value::reference(name, attribute)
    }

    fn value(&mut self, shape: &Shape, value: &Value) -> Value {
        match (shape, value) {
            (Shape::Link { to, .. }, Value::String(text)) => {
                let target = self.targets.linked(to, text);
                self.refer(target, value)
            }
            (Shape::Text(_) | Shape::Texts { .. } | Shape::TextOrRecord(..), Value::String(text)) => {
                let target = self.targets.unique(text);
                self.refer(target, value)
            }
            (Shape::Texts { .. }, Value::List(items)) => Value::List(items.iter().map(|it| self.plain(it)).collect()),
            (Shape::Json { references: true, .. }, value) => self.plain(value),
            (Shape::Record(members) | Shape::TextOrRecord(_, members), Value::Map(map)) => {
                let member = |name: &str| members.iter().find(|it| it.name == *name);
                let entries = map.iter().map(|(name, value)| {
                    let value = member(name).map_or_else(|| value.clone(), |it| self.value(&it.shape, value));
                    (name.clone(), value)
                });
                Value::Map(entries.collect())
            }
            (Shape::Map { value: inner, .. }, Value::Map(map)) => {
                Value::Map(map.iter().map(|(key, value)| (key.clone(), self.value(inner, value))).collect())
            }
            // The order of a set is that of its texts.
            (Shape::Set { .. }, Value::List(items)) if items.len() > 1 => value.clone(),
            (Shape::List { item, .. } | Shape::Set { item, .. }, Value::List(items)) => {
                Value::List(items.iter().map(|it| self.value(item, it)).collect())
            }
            (_, value) => value.clone(),
        }
    }

    /// Texts at any depth.
    fn plain(&mut self, value: &Value) -> Value {
        match value {
            Value::String(text) => {
                let target = self.targets.unique(text);
                self.refer(target, value)
            }
            Value::List(items) => Value::List(items.iter().map(|it| self.plain(it)).collect()),
            Value::Map(map) => Value::Map(map.iter().map(|(key, it)| (key.clone(), self.plain(it))).collect()),
            value => value.clone(),
        }
    }

    fn refer(&mut self, target: Option<(usize, &str, &str)>, value: &Value) -> Value {
        match target {
            Some((at, name, attribute)) if self.edges.add(self.from, at) => Value::reference(name, attribute),
            _ => value.clone(),
        }
    }
}
