//! Turns rows into steps that wait for each other.
//!
//! **Invariant:** decides the order alone; each row decides what happens to its resource.

use std::collections::{BTreeSet, HashMap};

use crate::inventory::Inventory;
use crate::kind::Kinds;
use crate::schema::{Identity, Live, Milestone, OutputOrigin, Schema, Status, Str};
use crate::spec::{ResourceDecl, Spec};
use crate::value::{Path, Value};

use super::{Action, Change, Op, Step, StepId, Subject};

/// The steps of one row: the one that deletes or forgets it, and the one that makes it match the
/// spec.
#[derive(Clone, Copy, Default)]
struct RowSteps {
    delete: Option<StepId>,
    main: Option<(StepId, Op)>,
}

/// The steps of all rows, each with those that it waits for.
pub(super) fn steps(spec: &Spec, inventory: &Inventory, changes: &[Change]) -> Vec<Step> {
    let mut order = Order { spec, inventory, changes, steps: Vec::new(), own: Vec::new() };
    order.add_steps();
    order.pair_replacements();
    let Dependencies { declared, delete_later } = order.follow_spec();
    order.follow_attachments(&declared);
    order.follow_references();
    for (delete, target) in delete_later {
        // Skip this if the target already waits for the deletion, which would be a cycle.
        if !waits_for(&order.steps, target, delete) {
            order.wait(delete, target, Milestone::Ready);
        }
    }
    for step in &mut order.steps {
        step.after.sort_unstable();
        step.after.dedup();
    }
    order.steps
}

/// The steps while their order is decided.
struct Order<'a> {
    spec: &'a Spec,
    inventory: &'a Inventory,
    changes: &'a [Change],
    steps: Vec<Step>,
    /// The steps of each row.
    own: Vec<RowSteps>,
}

/// The dependencies of the spec between rows.
#[derive(Default)]
struct Dependencies {
    /// A row and one that it depends on.
    declared: BTreeSet<(usize, usize)>,
    /// Deletions, each with the step that it should wait for, unless that would be a cycle.
    delete_later: Vec<(StepId, StepId)>,
}

impl Order<'_> {
    /// Adds the steps that each row needs.
    fn add_steps(&mut self) {
        for (index, change) in self.changes.iter().enumerate() {
            let live = change.live(self.inventory);
            let changing = live.is_some_and(|live| matches!(live.status, Status::InTransition(_)));
            let (delete, main) = match change.action {
                Action::Create => (None, Some(Op::Create)),
                Action::Update | Action::Adopt => (None, Some(Op::Update)),
                Action::Delete => (Some(Op::Delete), None),
                Action::Forget => (Some(Op::Untag), None),
                Action::Replace => (Some(Op::Delete), Some(Op::Create)),
                Action::None if changing && !change.desired.is_empty() => (None, Some(Op::Wait)),
                Action::None | Action::Import | Action::Refused => (None, None),
            };
            let mut add = |op: Op| {
                self.steps.push(Step { op, change: index, after: Vec::new(), pair: None });
                StepId(self.steps.len() - 1)
            };
            self.own.push(RowSteps { delete: delete.map(&mut add), main: main.map(|op| (add(op), op)) });
        }
    }

    /// Lets `step` wait for `other`.
    fn wait(&mut self, step: StepId, other: StepId, milestone: Milestone) {
        self.steps[step.0].after.push((other, milestone));
    }

    /// Lets the creation of a replaced resource wait for its deletion.
    fn pair_replacements(&mut self) {
        for (at, change) in self.changes.iter().enumerate() {
            let (Some(delete), Some((main, _))) = (self.own[at].delete, self.own[at].main) else { continue };
            self.wait(main, delete, Milestone::Ready);
            let declared = change.declared(self.spec, self.inventory);
            if declared.is_some_and(|it| !matches!(it.schema().identity, Identity::Named { .. })) {
                (self.steps[delete.0].pair, self.steps[main.0].pair) = (Some(main), Some(delete));
            }
        }
    }

    /// Lets steps wait for those of the rows that they depend on in the spec.
    fn follow_spec(&mut self) -> Dependencies {
        let declared = self.changes.iter().enumerate().filter(|(_, it)| it.subject == Subject::Declared);
        let by_name: HashMap<&str, usize> = declared.map(|(at, it)| (&*it.resource, at)).collect();
        let mut dependencies = Dependencies::default();
        let graph = &self.spec.graph;
        for name in graph.order() {
            let Some(&at) = by_name.get(name) else { continue };
            for (dependency, milestone) in graph.dependencies(name) {
                let Some(&on) = by_name.get(dependency) else { continue };
                dependencies.declared.insert((at, on));
                if let (Some((main, _)), Some((target, op))) = (self.own[at].main, self.own[on].main) {
                    // Wait until an update is ready: until then, outputs may be the old ones.
                    self.wait(main, target, if op == Op::Create { milestone } else { Milestone::Ready });
                }
                match (self.own[at].delete, self.own[on].delete, self.own[on].main) {
                    // Dependents are deleted first.
                    (Some(delete), Some(target), _) => self.wait(target, delete, Milestone::Ready),
                    // A resource that is replaced because its target changes is deleted only after
                    // the target is updated: until then the old one still works.
                    (Some(delete), None, Some((target, _))) => dependencies.delete_later.push((delete, target)),
                    _ => {}
                }
            }
        }
        dependencies
    }

    /// Lets steps wait for those of what their resource is attached to in AWS, which may be another
    /// resource than the spec wants.
    fn follow_attachments(&mut self, declared_pairs: &BTreeSet<(usize, usize)>) {
        let rows = self.changes.iter().enumerate();
        let in_aws: HashMap<(&str, &str), usize> = rows.map(|(at, it)| ((&*it.kind, it.name.as_str()), at)).collect();
        for (at, change) in self.changes.iter().enumerate() {
            for (_, kind, name) in change.attachments(self.spec, self.inventory) {
                let Some(&on) = in_aws.get(&(kind, name.as_str())) else { continue };
                if declared_pairs.contains(&(at, on)) {
                    continue;
                }
                match (self.own[at].delete, self.own[at].main, self.own[on].delete, self.own[on].main) {
                    (Some(delete), _, Some(target), _) => self.wait(target, delete, Milestone::Ready),
                    // Once updated, it is no longer attached.
                    (None, Some((main, _)), Some(target), _) => self.wait(target, main, Milestone::Ready),
                    // It is deleted before its target gets new outputs.
                    (Some(delete), None, None, Some((target, _)))
                        if renews_outputs(&self.changes[on], self.spec, self.inventory) =>
                    {
                        self.wait(target, delete, Milestone::Ready);
                    }
                    _ => {}
                }
            }
        }
    }
}

impl Order<'_> {
    /// Lets the deletion of a resource wait until no live resource refers to it. Resources that refer
    /// to each other don't wait.
    fn follow_references(&mut self) {
        let rows = self.changes.iter().enumerate();
        let in_aws: HashMap<(&str, &str), usize> = rows.map(|(at, it)| ((&*it.kind, it.name.as_str()), at)).collect();
        let mut waits: BTreeSet<(StepId, StepId)> = BTreeSet::new();
        for (at, change) in self.changes.iter().enumerate() {
            let RowSteps { delete, main } = self.own[at];
            // The old resource of a replacement is what refers.
            let Some(step) = delete.or(main.map(|(step, _)| step)) else { continue };
            for (kind, name) in self.references(change) {
                let target = in_aws.get(&(&*kind, name.as_str())).and_then(|on| self.own[*on].delete);
                let is_deleted = |target: &StepId| self.steps[target.0].op == Op::Delete && *target != step;
                waits.extend(target.filter(is_deleted).map(|target| (target, step)));
            }
        }
        for (target, step) in &waits {
            if !waits.contains(&(*step, *target)) && !waits_for(&self.steps, *step, *target) {
                self.wait(*target, *step, Milestone::Ready);
            }
        }
    }

    /// What the live resource of a row refers to, as kind and name.
    fn references(&self, change: &Change) -> Vec<(Str, String)> {
        let (Some(declared), Some(live)) = (change.declared(self.spec, self.inventory), change.live(self.inventory))
        else {
            return Vec::new();
        };
        let present = declared.schema().properties.iter().filter_map(|it| Some((it, live.props.get(&*it.name)?)));
        let found = present.flat_map(|(it, value)| self.spec.kinds.references(&self.inventory.env, &it.shape, value));
        found.collect()
    }
}

/// What a live resource is attached to, as property, kind and name, by its identity properties.
pub(super) fn attachments<'d>(
    kinds: &Kinds,
    declared: &'d ResourceDecl,
    live: &Live,
) -> Vec<(&'d str, &'d str, String)> {
    let identities = declared.schema().properties.iter().filter(|property| property.is_identity);
    let targets = identities.filter_map(|property| {
        let (kind, name) = match live.props.get(&*property.name) {
            Some(Value::String(arn)) if !arn.is_empty() => kinds.linked_by_arn(property, arn)?,
            _ => kinds.linked_by_identity(property, declared.id.parents.get(&property.name)?)?,
        };
        Some((&*property.name, kind, name))
    });
    targets.collect()
}

/// Whether an update makes AWS assign a new value to an output.
fn renews_outputs(change: &Change, spec: &Spec, inventory: &Inventory) -> bool {
    let schema: Option<&Schema> = change.declared(spec, inventory).map(ResourceDecl::schema);
    let renewing = |path: &Path| {
        schema.is_some_and(|schema| {
            schema.outputs.iter().any(|output| match &output.origin {
                OutputOrigin::Assigned { until } => until.iter().any(|whole| *path == Path::property(whole)),
                OutputOrigin::Arn | OutputOrigin::Computed(_) => false,
            })
        })
    };
    change.properties.iter().any(|property| renewing(&property.path))
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
