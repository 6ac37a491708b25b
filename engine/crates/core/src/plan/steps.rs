//! Turns rows into steps that wait for each other.
//!
//! **Invariant:** decides the order alone; each row decides what happens to its resource.

use std::collections::{BTreeSet, HashMap};

use crate::inventory::Inventory;
use crate::kind::Kinds;
use crate::schema::{Condition, Live, Moment, Naming, Origin, Schema, Shape};
use crate::spec::{Declared, Spec};
use crate::value::Value;

use super::{Action, Change, Op, Step, StepId, Subject};

/// The steps of one row: the one that deletes or forgets it, and the one that makes it match the spec.
#[derive(Clone, Copy, Default)]
struct Own {
    delete: Option<StepId>,
    main: Option<(StepId, Op)>,
}

/// The steps of all rows, each with those that it waits for.
pub(super) fn steps(spec: &Spec, inventory: &Inventory, changes: &[Change]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut own: Vec<Own> = vec![Own::default(); changes.len()];
    for (index, change) in changes.iter().enumerate() {
        let mut add = |op: Op| {
            steps.push(Step { op, change: index, after: Vec::new(), pair: None });
            StepId(steps.len() - 1)
        };
        let live = change.live(inventory);
        let changing = live.is_some_and(|live| matches!(live.condition, Condition::Changing(_)));
        let (delete, main) = match change.action {
            Action::Create => (None, Some(Op::Create)),
            Action::Update | Action::Adopt => (None, Some(Op::Update)),
            Action::Delete => (Some(Op::Delete), None),
            Action::Release => (Some(Op::Release), None),
            Action::Replace => (Some(Op::Delete), Some(Op::Create)),
            Action::None if changing && !change.desired.is_empty() => (None, Some(Op::Settle)),
            Action::None | Action::Import | Action::Refused => (None, None),
        };
        own[index] = Own { delete: delete.map(&mut add), main: main.map(|op| (add(op), op)) };
    }
    let by_name: HashMap<&str, usize> = changes
        .iter()
        .enumerate()
        .filter(|(_, it)| it.subject == Subject::Declared)
        .map(|(at, it)| (&*it.resource, at))
        .collect();
    let in_aws: HashMap<(&str, &str), usize> =
        changes.iter().enumerate().map(|(at, it)| ((&*it.kind, it.name.as_str()), at)).collect();
    let mut rather_later = Vec::new();
    let mut wanted: BTreeSet<(usize, usize)> = BTreeSet::new();
    for name in spec.graph.order() {
        let Some(&at) = by_name.get(name) else { continue };
        for (dependency, moment) in spec.graph.dependencies(name) {
            let Some(&on) = by_name.get(dependency) else { continue };
            wanted.insert((at, on));
            if let (Some((main, _)), Some((target, op))) = (own[at].main, own[on].main) {
                // Wait until an update is ready: until then, outputs may be the old ones.
                let moment = if op == Op::Create { moment } else { Moment::Ready };
                steps[main.0].after.push((target, moment));
            }
            match (own[at].delete, own[on].delete, own[on].main) {
                // Dependents are deleted first.
                (Some(delete), Some(target), _) => steps[target.0].after.push((delete, Moment::Ready)),
                // A resource that is replaced because its target changes is deleted only after the target is
                // updated: until then the old one still works.
                (Some(delete), None, Some((target, _))) => rather_later.push((delete, target)),
                _ => {}
            }
        }
    }
    for (at, change) in changes.iter().enumerate() {
        if let (Some(delete), Some((main, _))) = (own[at].delete, own[at].main) {
            steps[main.0].after.push((delete, Moment::Ready));
        }
        let Some(declared) = change.declared(spec, inventory) else { continue };
        if let (Some(delete), Some((main, _))) = (own[at].delete, own[at].main)
            && !matches!(declared.schema().naming, Naming::Own { .. })
        {
            (steps[delete.0].pair, steps[main.0].pair) = (Some(main), Some(delete));
        }
        let hangs_on = |live| hangs_on(&spec.kinds, declared, live);
        for (_, kind, name) in change.live(inventory).map(hangs_on).unwrap_or_default() {
            // It may be attached to another resource now than the spec wants.
            let Some(&on) = in_aws.get(&(kind, name.as_str())).filter(|on| !wanted.contains(&(at, **on))) else {
                continue;
            };
            match (own[at].delete, own[at].main, own[on].delete, own[on].main) {
                (Some(delete), _, Some(target), _) => steps[target.0].after.push((delete, Moment::Ready)),
                // Once updated, it is no longer attached.
                (None, Some((main, _)), Some(target), _) => steps[target.0].after.push((main, Moment::Ready)),
                // It is deleted before its target gets new outputs.
                (Some(delete), None, None, Some((target, _))) if renews_outputs(&changes[on], spec, inventory) => {
                    steps[target.0].after.push((delete, Moment::Ready));
                }
                _ => {}
            }
        }
    }
    for (delete, target) in rather_later {
        // Skip this if the target already waits for the deletion, which would be a cycle.
        if !waits_for(&steps, target, delete) {
            steps[delete.0].after.push((target, Moment::Ready));
        }
    }
    for step in &mut steps {
        step.after.sort_unstable();
        step.after.dedup();
    }
    steps
}

/// What a live resource is attached to, as property, kind and name, by its identity properties.
pub(super) fn hangs_on<'d>(kinds: &Kinds, declared: &'d Declared, live: &Live) -> Vec<(&'d str, &'d str, String)> {
    let identities = declared.schema().properties.iter().filter(|property| property.identity);
    let targets = identities.filter_map(|property| {
        let Shape::Link { to, .. } = &property.shape else { return None };
        let (kind, _) = to.first()?;
        let name = match live.props.get(&*property.name) {
            Some(Value::String(arn)) if !arn.is_empty() => kinds.name_in_arn(arn).to_owned(),
            // A qualifier (`name:alias`) is not part of the name.
            _ => declared.id.anchors.get(&property.name)?.split(':').next()?.to_owned(),
        };
        Some((&*property.name, &**kind, name))
    });
    targets.collect()
}

/// Whether an update makes AWS assign a new value to an output.
fn renews_outputs(change: &Change, spec: &Spec, inventory: &Inventory) -> bool {
    let schema: Option<&Schema> = change.declared(spec, inventory).map(Declared::schema);
    let renewing = |property: &str| {
        schema.is_some_and(|schema| {
            schema.outputs.iter().any(|output| match &output.origin {
                Origin::Assigned { until } => until.iter().any(|it| it == property),
                Origin::Arn | Origin::Computed(_) => false,
            })
        })
    };
    change.properties.iter().filter_map(|property| property.path.root()).any(renewing)
}

/// Whether `step` waits for `other`, directly or not.
fn waits_for(steps: &[Step], step: StepId, other: StepId) -> bool {
    let (mut todo, mut seen) = (vec![step], BTreeSet::from([step]));
    while let Some(id) = todo.pop() {
        if id == other {
            return true;
        }
        todo.extend(steps[id.0].after.iter().map(|(before, _)| *before).filter(|before| seen.insert(*before)));
    }
    false
}
