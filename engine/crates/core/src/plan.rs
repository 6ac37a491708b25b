//! The plan: what it takes to make AWS match the spec, as data.
//!
//! Resources are visited in dependency order. References resolve to the outputs that their targets
//! will have after the plan, then each resource is compared with AWS. A value that AWS chooses
//! later is unknown and always differs, so a new stream reaches its mapping without a special case.
//!
//! **Invariant:** spec and inventory in, plan out. No I/O, no clock, and it never fails: what can't
//! be done becomes a refused row.

mod adoption;
mod diff;
mod orphans;
mod steps;
mod unknown;
mod unread;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::inventory::{Found, Inventory, Search};
use crate::ownership::{
    OtherOwner, OwnershipVerdict, READ_TAGS, SKIPPED_UNTAGGED, UNPROVEN, UnreadableTags, how_to_prove,
};
use crate::remedy::{Advice, Remedy, RunOption};
use crate::schema::{
    Contents, Effect, Identity, Live, Milestone, OutputOrigin, Outputs, Owner, Ownership, Rule, Schema, Status, Str,
    is_arn_within,
};
use crate::spec::{ResourceDecl, Spec};
use crate::value::{Path, Placeholder, Tree, Value, resolve};

use adoption::adopted;
use diff::{NULL, additions, differences};

pub use diff::keep;
pub use unknown::remove_unknown;

/// The state that a run is to reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// AWS matches the spec.
    Present,
    /// No resource of the spec exists in AWS.
    Absent,
    /// The named resource is no longer managed: its engine tags are removed.
    Unmanaged,
}

/// What the user allows and requests beyond the goal.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Assume ownership by name if tags can't be read.
    pub assume_owner: bool,
    /// Delete tables that are not empty.
    pub delete_data: bool,
    /// Resources to re-create even if they match the spec.
    pub replace: BTreeSet<String>,
    /// The resources to plan, along with their dependencies; empty means all.
    pub targets: BTreeSet<String>,
}

/// Everything that has to happen.
#[derive(Debug, Default)]
pub struct Plan {
    /// One row per planned declaration, in the order of the file, followed by the orphans.
    pub changes: Vec<Change>,
    /// What to do, each step with those that it waits for.
    pub steps: Vec<Step>,
    /// Notes about the plan as a whole.
    pub remarks: Vec<Advice>,
}

/// What happens to one resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Whether this is a declaration or an orphan.
    pub subject: Subject,
    /// Its name in the spec.
    pub resource: String,
    /// Its kind.
    pub kind: Str,
    /// Its name in AWS.
    pub name: String,
    /// The declaration that implies it, if the spec doesn't contain it.
    pub implied_by: Option<String>,
    /// What happens.
    pub action: Action,
    /// Property by property.
    pub properties: Vec<PropertyChange>,
    /// Why it is refused, replaced, adopted or pending.
    pub reason: Option<Advice>,
    /// What to do about a refusal.
    pub hint: Option<Advice>,
    /// What is lost, and other notes.
    pub remarks: Vec<String>,
    /// Whether it needs confirmation.
    pub needs_approval: bool,
    /// Whether the action can't be determined yet.
    pub pending: bool,
    /// Whether there is no action, but some declared properties can't be read and so weren't
    /// compared.
    pub partial: bool,
    /// The lookups that it needs and that weren't read.
    pub unread: BTreeSet<String>,
    /// The desired properties, with every known reference resolved.
    pub desired: Tree,
    /// The outputs that are known before the apply.
    pub outputs: Outputs,
}

/// The subject of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// A declaration of the spec.
    Declared,
    /// An index into [`Inventory::orphans`].
    Orphan(usize),
}

impl Change {
    /// The declaration, or the one that represents an orphan.
    pub fn declared<'a>(&self, spec: &'a Spec, inventory: &'a Inventory) -> Option<&'a ResourceDecl> {
        match self.subject {
            Subject::Declared => spec.resource(&self.resource),
            Subject::Orphan(at) => Some(&inventory.orphans.get(at)?.declared),
        }
    }

    /// Its live state in AWS.
    pub fn live<'a>(&self, inventory: &'a Inventory) -> Option<&'a Live> {
        match self.subject {
            Subject::Declared => inventory.live(&self.resource),
            Subject::Orphan(at) => inventory.orphans.get(at)?.found.live.as_ref(),
        }
    }

    /// What it is attached to in AWS, as property, kind and name.
    pub fn attachments<'a>(&self, spec: &'a Spec, inventory: &'a Inventory) -> Vec<(&'a str, &'a str, String)> {
        let pair = self.declared(spec, inventory).zip(self.live(inventory));
        pair.map(|(declared, live)| steps::attachments(&spec.kinds, declared, live)).unwrap_or_default()
    }
}

/// What happens to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Nothing.
    None,
    /// It is created.
    Create,
    /// It is updated in place.
    Update,
    /// It is deleted and re-created.
    Replace,
    /// It is deleted.
    Delete,
    /// It is adopted, and updated in place if needed.
    Adopt,
    /// It is no longer managed: its engine tags are removed, nothing else changes.
    Forget,
    /// It is read.
    Import,
    /// Nothing, and the whole plan can't be applied.
    Refused,
}

/// How one property changes.
#[derive(Debug, Clone, PartialEq)]
pub struct PropertyChange {
    /// Which.
    pub path: Path,
    /// What AWS has.
    pub before: Value,
    /// What the spec wants.
    pub after: Value,
    /// What the change requires.
    pub effect: Effect,
    /// Whether the values must not be shown.
    pub sensitive: bool,
    /// Whether it is a default of a new resource, not set in the spec.
    pub is_default: bool,
}

/// An index into [`Plan::steps`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepId(pub usize);

/// One operation on one resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The operation.
    pub op: Op,
    /// The index of its row in [`Plan::changes`].
    pub change: usize,
    /// The steps that it waits for, and until when.
    pub after: Vec<(StepId, Milestone)>,
    /// The other half of a replacement that must not remain half done, not even after Ctrl-C:
    /// without its mapping or permission the pipeline is broken, and both halves are short. The
    /// replacement of a named resource has none: it is left to the next run.
    pub pair: Option<StepId>,
}

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// Creates it.
    Create,
    /// Updates it in place.
    Update,
    /// Deletes it.
    Delete,
    /// Removes engine's tags.
    Untag,
    /// Waits until AWS completes what an earlier run started.
    Wait,
}

impl Plan {
    /// How many rows have that action.
    pub fn count(&self, action: Action) -> usize {
        self.changes.iter().filter(|change| change.action == action).count()
    }

    /// The rows that prevent the plan from being applied.
    pub fn refusals(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|change| change.action == Action::Refused)
    }

    /// Whether AWS differs from the goal.
    pub fn has_changes(&self) -> bool {
        self.changes.iter().any(|change| !matches!(change.action, Action::None | Action::Import))
    }

    /// Whether some resource's action can't be determined yet.
    pub fn is_pending(&self) -> bool {
        self.changes.iter().any(|change| change.pending)
    }

    /// Whether some resource counts as unchanged although not all of it could be compared.
    pub fn is_partial(&self) -> bool {
        self.changes.iter().any(|change| change.partial)
    }

    /// Whether one of its steps needs confirmation.
    pub fn needs_approval(&self) -> bool {
        self.steps.iter().filter_map(|step| self.changes.get(step.change)).any(|change| change.needs_approval)
    }

    /// The same with the steps of the rows that `is_wanted` alone, without those that wait for a
    /// step that is left out.
    #[must_use]
    pub fn part(&self, is_wanted: impl Fn(&Change) -> bool) -> Plan {
        let mut rows: BTreeSet<usize> = (0..self.changes.len()).collect();
        rows.retain(|row| self.changes.get(*row).is_some_and(&is_wanted));
        let row_of = |id: &StepId| self.steps.get(id.0).map(|step| step.change);
        loop {
            let waits = |step: &&Step| {
                let mut before = step.after.iter().map(|(id, _)| id).chain(&step.pair);
                rows.contains(&step.change) && before.any(|id| row_of(id).is_none_or(|row| !rows.contains(&row)))
            };
            let Some(row) = self.steps.iter().find(waits).map(|step| step.change) else { break };
            rows.remove(&row);
        }
        let kept: Vec<usize> = (0..self.steps.len()).filter(|at| self.is_step_of(*at, &rows)).collect();
        let moved = |id: StepId| kept.binary_search(&id.0).ok().map(StepId);
        let steps = kept.iter().filter_map(|at| self.steps.get(*at)).map(|step| Step {
            after: step.after.iter().filter_map(|(id, until)| Some((moved(*id)?, *until))).collect(),
            pair: step.pair.and_then(moved),
            ..step.clone()
        });
        Plan { changes: self.changes.clone(), steps: steps.collect(), remarks: self.remarks.clone() }
    }

    fn is_step_of(&self, step: usize, rows: &BTreeSet<usize>) -> bool {
        self.steps.get(step).is_some_and(|step| rows.contains(&step.change))
    }
}

/// Plans a run.
pub fn plan(spec: &Spec, inventory: &Inventory, goal: Goal, options: &Options) -> Plan {
    let mut planner =
        Planner { spec, inventory, options, rows: BTreeMap::new(), identities: HashMap::new(), cautious: false };
    let about = planner.about(goal);
    for name in spec.graph.order().filter(|name| about.contains(name)) {
        if let Some(declared) = spec.resource(name) {
            let row = match goal {
                Goal::Present => planner.present(declared),
                Goal::Absent => planner.absent(declared),
                Goal::Unmanaged => planner.unmanaged(declared),
            };
            planner.rows.insert(name.to_owned(), row);
        }
    }
    planner.finish(goal)
}

struct Planner<'a> {
    spec: &'a Spec,
    inventory: &'a Inventory,
    options: &'a Options,
    rows: BTreeMap<String, Change>,
    /// The first planned resource for each kind and [`ResourceDecl::identity`].
    identities: HashMap<(Str, String), String>,
    /// Whether some tags can't be read.
    cautious: bool,
}

const UNPROTECT: &str = "to allow it, remove `protect` from the spec";
const FEEDS_DELETED: &str = "the function that it invokes will be destroyed";

impl<'a> Planner<'a> {
    /// The declarations to plan: all, or the targets with their dependencies (dependents if they
    /// are to be deleted).
    fn about(&self, goal: Goal) -> HashSet<&'a str> {
        let graph = &self.spec.graph;
        if self.options.targets.is_empty() {
            return graph.order().collect();
        }
        let mut about: HashSet<&str> = HashSet::new();
        let targets = &self.options.targets;
        // A resource to forget may still be tagged with an older name.
        let older = |name: &str| match self.inventory.live(name).map(|live| &live.owner) {
            Some(Ownership::Engine(owner)) if goal == Goal::Unmanaged => targets.contains(&owner.resource),
            _ => false,
        };
        let mut todo: Vec<&str> = graph.order().filter(|name| targets.contains(*name) || older(name)).collect();
        while let Some(name) = todo.pop() {
            if about.insert(name) {
                match goal {
                    Goal::Present => todo.extend(graph.dependencies(name).map(|(name, _)| name)),
                    Goal::Absent => todo.extend(graph.dependents(name).map(|(name, _)| name)),
                    Goal::Unmanaged => {}
                }
            }
        }
        about
    }

    /// The resource already planned that has the same identity in AWS. [`Spec::parse`] rejects
    /// duplicates, but a spec that a caller of the library builds may have some.
    fn duplicate_of(&mut self, declared: &ResourceDecl) -> Option<String> {
        let key = (declared.schema().kind.clone(), declared.identity()?);
        match self.identities.get(&key) {
            Some(first) => Some(first.clone()),
            None => {
                self.identities.insert(key, declared.name.clone());
                None
            }
        }
    }

    fn present(&mut self, declared: &ResourceDecl) -> Change {
        let mut row = self.wanted(declared);
        let is_shown = |path: &Path| row.properties.iter().any(|it| it.path.contains(path) || path.contains(&it.path));
        let reasons = declared.reasons.iter().filter(|(path, _)| is_shown(path)).map(|(_, reason)| reason.clone());
        row.remarks.extend(reasons.collect::<Vec<_>>());
        row.partial |= row.action == Action::None && !row.unread.is_empty();
        if row.action == Action::Refused {
            // It doesn't change, so references to it resolve to its current outputs.
            row.outputs
                .extend(self.inventory.live(&declared.name).map(|live| live.outputs.clone()).unwrap_or_default());
        }
        row
    }

    fn wanted(&mut self, declared: &ResourceDecl) -> Change {
        let schema = declared.schema();
        let found = self.inventory.found.get(&declared.name);
        let in_aws = found.and_then(|found| found.live.as_ref());
        let live = in_aws.filter(|live| live.status != Status::Deleting);
        let mut row = self.resolved(declared, live);
        if let Some(first) = self.duplicate_of(declared) {
            let reason = format!("`{first}` declares the same {} in AWS", schema.kind);
            return refused(row, reason, "remove one of them from the spec, or give them different names".to_owned());
        }
        if declared.imported {
            return self.imported(row, declared, found);
        }
        if self.spec.imported_parent(declared).is_some()
            && let Some(why) = self.barred_parent(declared)
        {
            let kind = declared.parent().map_or("", |(kind, _)| kind);
            let hint = format!("attach it to a {kind} that no other team owns, and whose tags you can read");
            return refused(row, why, hint);
        }
        row.outputs = schema.computed(&self.inventory.env, &declared.id.name);
        if live.is_none() && in_aws.is_some() {
            let reason = Advice::from("AWS is still deleting the previous one; ").then(RunOption::Apply);
            row.reason = Some(reason.then(" waits until it is deleted"));
        }
        if let Some((live, reason)) = live.and_then(|live| Some((live, live.pending()?))) {
            row.outputs.extend(live.outputs.clone());
            let reason = Advice::from(format!("{reason}; ")).then(RunOption::Apply).then(" waits for that");
            return Change { reason: Some(reason), pending: true, ..row };
        }
        if let Some((reason, hint)) = self.unsatisfiable(declared, live, &row.desired) {
            return refused(row, reason, hint);
        }
        let Some(live) = live else {
            row.action = Action::Create;
            row.properties = additions(declared, &row.desired);
            self.renewal(&mut row, schema, declared);
            exposures(&mut row, schema, &Tree::new());
            return row;
        };
        self.compared(row, declared, live, found)
    }

    /// A row with the desired properties: references resolved, and live values where the spec
    /// doesn't decide.
    fn resolved(&self, declared: &ResourceDecl, live: Option<&Live>) -> Change {
        let output = |resource: &str, attribute: &str| self.rows.get(resource)?.outputs.get(attribute).cloned();
        let mut desired = resolve(&declared.desired, &|placeholder| self.inventory.env.fill(placeholder, output));
        unread::through_imports(self.spec, &mut desired);
        let unread = unread::keep_unread(declared.schema(), live.map(|live| &live.props), &mut desired);
        let unclear = live.map(|live| keep(declared, &live.props, &mut desired));
        let mut remarks = unclear.unwrap_or_default();
        remarks.extend(unread::notes(&unread, &self.inventory.lookups.unread, live.is_none()));
        Change { desired, remarks, unread: unread.into_keys().collect(), ..noop(declared) }
    }

    /// Why AWS can't have the desired properties, regardless of the owner, and how to fix that.
    fn unsatisfiable(&self, declared: &ResourceDecl, live: Option<&Live>, desired: &Tree) -> Option<(String, Advice)> {
        if let Some((placeholder, target, unread)) = self.missing_output(desired) {
            if let Some(why) = unread {
                let hint = format!("get the permission to read it, or remove the reference to `{placeholder}`");
                return Some((format!("it refers to `{placeholder}`, which can't be read ({why})"), hint.into()));
            }
            return Some((
                format!("it refers to `{placeholder}`, but the {target} in AWS has no such output"),
                format!("ask the {target}'s owner to enable it, or remove the reference to `{placeholder}`").into(),
            ));
        }
        let unsent = undeliverable(declared, live, desired);
        let (change, other) = unsent.filter(|_| !self.options.replace.contains(&declared.name))?;
        Some((
            format!("AWS accepts a change to `{change}` only together with `{other}`, which `ignore_changes` lists"),
            format!("undo the change to `{change}`, or remove `{other}` from `ignore_changes`").into(),
        ))
    }

    /// The row of a declaration whose resource exists.
    fn compared(&mut self, mut row: Change, declared: &ResourceDecl, live: &Live, found: Option<&Found>) -> Change {
        let verdict = self.verdict(declared, live);
        if let Some((reason, hint)) = self.conflict(declared, live, verdict) {
            return refused(row, reason, hint);
        }
        row.remarks.extend(live.notes.iter().cloned());
        row.properties = comparable(declared.schema(), live, &row.desired, verdict);
        if let Status::Unusable(state) = &live.status {
            let reason = format!("its state is {state}, in which AWS allows no changes");
            return refused(row, reason, "fix it in the AWS console first".to_owned());
        }
        row.reason = self.replace_reason(declared, live);
        row.action = match needed(declared, &row.properties, verdict) {
            _ if row.reason.is_some() => Action::Replace,
            Ok(action) => action,
            Err((reason, hint)) => return refused(row, reason, hint),
        };
        if verdict == OwnershipVerdict::Free && !declared.schema().adoptable {
            let reason = "skipped: it belongs to a resource that this stack doesn't own".to_owned();
            return Change { action: Action::None, properties: Vec::new(), reason: Some(reason.into()), ..row };
        }
        match claimed(row, declared, live, verdict) {
            row if row.action == Action::Refused => row,
            row if row.action == Action::Adopt => {
                let row = self.with_creator(row, declared);
                // Without the prefix, the name doesn't show that the resource is this team's.
                let needs_approval = row.needs_approval || self.spec.is_listed(declared);
                self.with_consequences(Change { needs_approval, ..row }, declared, live, found)
            }
            row => self.with_consequences(row, declared, live, found),
        }
    }

    /// Adds to a row with a known action what the action loses and what remains.
    fn with_consequences(
        &self,
        mut row: Change,
        declared: &ResourceDecl,
        live: &Live,
        found: Option<&Found>,
    ) -> Change {
        let schema = declared.schema();
        let kept = match row.action {
            Action::Replace => {
                ("; the new resource gets what the spec declares", "; the new resource gets what the spec declares")
            }
            _ => (", so it is neither compared nor changed", ", so they are neither compared nor changed"),
        };
        row.remarks.extend(unknown::notes(declared, live, kept));
        row.partial = row.action == Action::None && !unknown::declared_unknown(declared, live).is_empty();
        if let Status::InTransition(state) = &live.status {
            row.remarks.push(format!("AWS is still working on it ({state})"));
        }
        self.losses(&mut row, schema, live);
        exposures(&mut row, schema, &live.props);
        if row.action == Action::Replace {
            self.renewal(&mut row, schema, declared);
            let kept = self.deletion_blocker(declared, found).or_else(|| unknown::blocks_replacement(declared, live));
            if let Some((reason, hint)) = kept {
                return refused(row, reason, hint);
            }
            row.remarks.extend(schema.disruption.as_ref().map(|outage| outage.replaced.to_string()));
        } else {
            carry_outputs(&mut row, schema, live);
        }
        // A policy statement is missing only briefly; any other replacement needs confirmation.
        row.needs_approval |= row.action == Action::Replace && !matches!(schema.identity, Identity::Nested { .. });
        row
    }

    /// Why a resource has to be re-created even if its properties match.
    fn replace_reason(&self, declared: &ResourceDecl, live: &Live) -> Option<Advice> {
        // If it had another name before, `--replace` is about that one.
        if self.options.replace.contains(&declared.name) && !self.has_former(declared) {
            return Some(Advice::from("requested with ").then(RunOption::Replace));
        }
        if let Status::Failed(reason) = &live.status {
            return Some(format!("it failed and has to be re-created: {reason}").into());
        }
        if let Some(name) = self.replaced_target(declared) {
            return Some(format!("it depends on `{name}`, which must be replaced").into());
        }
        let bound = declared
            .schema()
            .properties
            .iter()
            .filter_map(|it| Some((it, it.replace_if_target_recreated.as_ref()?(&live.props)?)));
        bound.into_iter().find_map(|(property, why)| {
            let target = target(declared, &property.name)?;
            let newer = self.inventory.live(target)?.timestamps.created? > live.timestamps.modified?;
            newer.then(|| {
                format!("`{target}` was re-created under the same name after this resource changed: {why}").into()
            })
        })
    }

    /// Adds what an update loses, which then needs confirmation.
    fn losses(&self, row: &mut Change, schema: &Schema, live: &Live) {
        if row.action == Action::Replace {
            // Everything is lost; `Self::kept` handles that.
            return;
        }
        for property in &schema.properties {
            if !row.properties.iter().any(|change| change.path.root() == Some(&*property.name)) {
                continue;
            }
            let before = live.props.get(&*property.name).unwrap_or(&NULL);
            let after = row.desired.get(&*property.name).unwrap_or(&NULL);
            for loss in property.destructive_notes.as_ref().map(|loses| loses(before, after)).into_iter().flatten() {
                row.remarks.push(loss);
                row.needs_approval = true;
            }
        }
    }

    fn absent(&mut self, declared: &ResourceDecl) -> Change {
        let row = noop(declared);
        let found = self.inventory.found.get(&declared.name);
        let live = found.and_then(|found| found.live.as_ref());
        if declared.imported {
            return Change { action: Action::Import, ..row };
        }
        let Some(live) = live else { return row };
        if live.status == Status::Deleting {
            return Change { reason: Some("AWS is already deleting it".into()), ..row };
        }
        if let Some(reason) = live.pending() {
            return Change { reason: Some(reason.into()), pending: true, ..row };
        }
        if let Some(why) = self.barred_parent(declared) {
            return Change { reason: Some(format!("not deleted: {why}").into()), ..row };
        }
        let verdict = self.verdict(declared, live);
        match verdict {
            // Under an older resource name too: everything that this team and stack own is deleted.
            OwnershipVerdict::Owned | OwnershipVerdict::Renamed(_) => self.plan_delete(row, declared, found, None),
            // What can't have tags is deleted with its function, as an untagged one is.
            OwnershipVerdict::Free | OwnershipVerdict::Unknown(UnreadableTags::Unsupported)
                if self.feeds_what_goes(declared) =>
            {
                self.plan_delete(row, declared, found, Some(FEEDS_DELETED.into()))
            }
            OwnershipVerdict::Free => Change { reason: Some(SKIPPED_UNTAGGED.into()), ..row },
            OwnershipVerdict::Unknown(_) => refused(row, UNPROVEN.to_owned(), self.how_to_prove(declared)),
            OwnershipVerdict::OtherStack(_) | OwnershipVerdict::OutsideTeam(_) => {
                let (reason, hint) = self.conflict(declared, live, verdict).unwrap_or_default();
                refused(row, reason, hint)
            }
        }
    }

    /// The row of a resource that this stack owns and that must be deleted.
    fn plan_delete(
        &self,
        row: Change,
        declared: &ResourceDecl,
        found: Option<&Found>,
        reason: Option<Advice>,
    ) -> Change {
        if declared.lifecycle.retain && self.feeds_what_goes(declared) {
            let reason = "it has `retain: true`, but the function that it invokes will be destroyed".to_owned();
            let hint = "add `retain: true` to the function too, or remove it here".to_owned();
            return refused(row, reason, hint);
        }
        if declared.lifecycle.retain {
            let reason = Some("`retain: true` keeps it in AWS, without engine's tags".into());
            return Change { action: Action::Forget, reason, ..row };
        }
        if let Some((reason, hint)) = self.deletion_blocker(declared, found) {
            return refused(row, reason, hint);
        }
        let schema = declared.schema();
        let outage = schema.disruption.as_ref().map(|outage| outage.deleted.to_string());
        let live = found.and_then(|found| found.live.as_ref());
        let retained = schema.retained_on_delete.as_ref().and_then(|retained| retained(&live?.props));
        // The plan has a separate row for what this stack manages.
        let retained = retained.filter(|it| !self.is_managed(&it.kind, &it.name)).map(|it| {
            let kind = it.kind.replace('_', " ");
            format!("its {kind} {} is not deleted", it.name)
        });
        let users = found.and_then(|found| found.users.as_ref());
        let unchecked = users.map(|users| users.unchecked.clone()).unwrap_or_default();
        let remarks = outage.into_iter().chain(retained).chain(unchecked).collect();
        Change { action: Action::Delete, needs_approval: true, remarks, reason, ..row }
    }

    /// Whether this stack manages the resource with that name in AWS.
    fn is_managed(&self, kind: &str, name: &str) -> bool {
        let is_it = |it: &ResourceDecl| it.schema().kind == kind && it.id.name == name && !it.imported;
        let is_ours = |owner: &Ownership, us| OwnershipVerdict::of(owner, None, us).is_this_stack();
        let mut orphans = self.inventory.orphans.iter().filter(|it| is_it(&it.declared));
        self.spec.resources.iter().any(is_it)
            || orphans.any(|it| it.found.live.as_ref().is_some_and(|live| is_ours(&live.owner, &it.declared.id.owner)))
    }

    /// The resource of this stack for which AWS created a declared one, if it did.
    fn creator(&self, declared: &ResourceDecl) -> Option<&'a str> {
        let (kind, name) = declared.kind.created_for(&declared.id.name)?;
        let is_it = |it: &&ResourceDecl| it.schema().kind == kind && it.id.name == name && !it.imported;
        let creator = self.spec.resources.iter().find(is_it)?;
        let owner = &self.inventory.live(&creator.name)?.owner;
        (OwnershipVerdict::of(owner, None, &creator.id.owner) == OwnershipVerdict::Owned).then_some(&creator.name)
    }

    /// The row of an adoption: what AWS created for a resource of this stack has no other owner.
    fn with_creator(&self, row: Change, declared: &ResourceDecl) -> Change {
        let Some(creator) = self.creator(declared) else { return row };
        let reason = Some(format!("AWS created it for `{creator}`").into());
        Change { reason, needs_approval: false, ..row }
    }

    fn unmanaged(&mut self, declared: &ResourceDecl) -> Change {
        let row = noop(declared);
        if declared.imported {
            let reason = "it is imported, so this stack doesn't manage it".to_owned();
            return refused(row, reason, "name a resource that this spec manages".to_owned());
        }
        let live = self.inventory.live(&declared.name).filter(|live| live.status != Status::Deleting);
        let Some(live) = live else {
            return Change { reason: Some("it doesn't exist in AWS".into()), ..row };
        };
        if let Some(first) = self.duplicate_of(declared) {
            return Change { reason: Some(format!("`{first}` declares the same {}", row.kind).into()), ..row };
        }
        self.plan_forget(row, declared, live)
    }

    fn plan_forget(&self, row: Change, declared: &ResourceDecl, live: &Live) -> Change {
        if !declared.schema().is_tagged() {
            let reason = format!("a {} has no tags to remove", row.kind);
            return refused(
                row,
                reason,
                Advice::from(Remedy::Forget(None)).then(" on the resource that it belongs to"),
            );
        }
        if matches!(declared.schema().identity, Identity::Named { .. })
            && !self.spec.names().includes(declared.schema().arn.as_ref(), &row.name)
        {
            let reason = format!("its name {}, so this team doesn't own it", self.name_violation(declared.schema()));
            return refused(row, reason, "ask its owner to remove the tags".to_owned());
        }
        if let Some(why) = self.barred_parent(declared) {
            return refused(row, why, "ask the function's owner to remove the tags".to_owned());
        }
        match OwnershipVerdict::of(&live.owner, None, &declared.id.owner) {
            OwnershipVerdict::Owned | OwnershipVerdict::Renamed(_) => {
                let reason = Some("it stays in AWS unchanged, no longer managed by engine".into());
                Change { action: Action::Forget, reason, ..row }
            }
            OwnershipVerdict::Free => Change { reason: Some("it has no engine tags".into()), ..row },
            OwnershipVerdict::OtherStack(owner)
            | OwnershipVerdict::OutsideTeam(OtherOwner::Engine(owner) | OtherOwner::OtherRegion(owner, _)) => refused(
                row,
                format!("it belongs to {owner}"),
                Advice::from("ask its owner to ").then(Remedy::Forget(None)),
            ),
            OwnershipVerdict::OutsideTeam(OtherOwner::CloudFormation(_)) | OwnershipVerdict::Unknown(_) => {
                refused(row, "its owner can't be determined".to_owned(), self.how_to_prove(declared))
            }
        }
    }

    fn imported(&self, row: Change, declared: &ResourceDecl, found: Option<&Found>) -> Change {
        if let Some(lookup) = self.spec.unnamed_imports.get(&declared.name) {
            let reason = format!("its name is in `lookups.{lookup}`, which wasn't read");
            let why = self.inventory.lookups.unread.get(lookup).map_or_else(String::new, |why| format!(" ({why})"));
            return Change { action: Action::Import, reason: Some(format!("{reason}{why}").into()), ..row };
        }
        let Some(live) = found.and_then(|found| found.live.as_ref()) else {
            let account = &self.inventory.env.account;
            let named = declared.id.arn.as_ref().and_then(|arn| arn.split(':').nth(4));
            if let Some(named) = named.filter(|named| !named.is_empty() && *named != account) {
                let reason = format!("its ARN is in account {named}, but the credentials are for account {account}");
                let hint =
                    format!("import a {} of account {account}, or use credentials for account {named}", row.kind);
                return refused(row, reason, hint);
            }
            let reason = format!("the {} `{}` does not exist in account {account}", row.kind, row.name);
            return refused(row, reason, "check the name, account and region".to_owned());
        };
        if let (Some(wanted), Some(arn)) = (&declared.id.arn, live.outputs.get("arn"))
            && wanted != arn
        {
            let reason = format!("the {} with that name is `{arn}`, not `{wanted}`", row.kind);
            return refused(row, reason, "correct the ARN in the spec".to_owned());
        }
        let schema = declared.schema();
        for property in schema.properties.iter().filter(|property| property.verified_on_import) {
            let (before, after) = (live.props.get(&*property.name), declared.desired.get(&*property.name));
            if let (Some(before), Some(after)) = (before, after)
                && *before != Value::Null
                && before != after
            {
                let mut row = row;
                row.properties = vec![PropertyChange {
                    path: Path::property(&property.name),
                    before: before.clone(),
                    after: after.clone(),
                    effect: Effect::refuse("an imported resource is never changed"),
                    sensitive: property.sensitive,
                    is_default: false,
                }];
                let reason = format!("its `{}` in AWS differs from the spec", property.name);
                return refused(row, reason, format!("correct the spec, or import another {}", schema.kind));
            }
        }
        let mut row = Change { action: Action::Import, outputs: live.outputs.clone(), ..row };
        if OwnershipVerdict::of(&live.owner, None, &declared.id.owner).is_this_stack() {
            row.remarks.push("it still has this stack's tags, but engine doesn't change imported resources".to_owned());
        }
        let checked =
            schema.properties.iter().filter(|it| it.verified_on_import && declared.explicit.contains(&*it.name));
        let unknown = checked.filter_map(|it| Some((&it.name, live.unknown.get(&it.name)?)));
        row.remarks
            .extend(unknown.map(|(name, why)| format!("its `{name}` can't be read ({why}), so it is not compared")));
        if let Some(error) = found.and_then(|found| found.unread.as_ref()) {
            row.remarks.push(format!("engine couldn't check it: {error}"));
        }
        row
    }

    /// Who owns what AWS has for a declaration.
    fn verdict<'l>(&mut self, declared: &ResourceDecl, live: &'l Live) -> OwnershipVerdict<'l>
    where
        'a: 'l,
    {
        let parent = self.container_owner(declared);
        let verdict =
            OwnershipVerdict::of(&live.owner, parent, &declared.id.owner).assuming(self.assumes_owner(declared));
        self.cautious |= matches!(verdict, OwnershipVerdict::Unknown(_)) && !self.spec.is_listed(declared);
        verdict
    }

    /// Whether the name of a resource proves its owner if its tags can't be read.
    fn assumes_owner(&self, declared: &ResourceDecl) -> bool {
        self.options.assume_owner && !self.spec.is_listed(declared)
    }

    /// How to prove that this stack owns a resource whose tags can't be read.
    fn how_to_prove(&self, declared: &ResourceDecl) -> Advice {
        if self.spec.is_listed(declared) { READ_TAGS.into() } else { how_to_prove() }
    }

    /// Why this stack can't have a resource of this kind, to follow its name.
    fn name_violation(&self, schema: &Schema) -> String {
        let team = &self.spec.team;
        match schema.arn.as_ref().is_some_and(|form| !form.requires_prefix) {
            true => format!("neither begins with `{team}` nor is in `owns`"),
            false => format!("doesn't begin with `{team}`"),
        }
    }

    /// Why a declaration can't have the resource that exists under its name, and what to do about
    /// that.
    fn conflict(
        &self,
        declared: &ResourceDecl,
        live: &Live,
        verdict: OwnershipVerdict<'_>,
    ) -> Option<(String, Advice)> {
        let kind = &declared.schema().kind;
        match verdict {
            OwnershipVerdict::Renamed(Owner { resource: old, .. }) => {
                self.spec.resource(old).filter(|it| it.schema().kind == *kind)?;
                Some((
                    format!("it has the tags of this stack's resource `{old}`, which is also in the spec"),
                    format!("set `name:` in `{old}` to the name that it has in AWS, or choose another name here")
                        .into(),
                ))
            }
            verdict if live.owner == Ownership::Inherited => verdict.parent_conflict(),
            OwnershipVerdict::Unknown(UnreadableTags::Denied | UnreadableTags::Unsupported)
                if self.spec.is_listed(declared) =>
            {
                Some((format!("{UNPROVEN}: its name is in `owns`, which proves nothing"), READ_TAGS.into()))
            }
            OwnershipVerdict::Free if !declared.schema().adoptable => Some((
                format!("a {kind} with that name already exists, without engine tags"),
                "delete it, or choose another name".into(),
            )),
            verdict => verdict.name_conflict(),
        }
    }

    /// A reference to an unchanged resource that has no such output, with the kind of the resource.
    fn missing_output(&self, desired: &Tree) -> Option<(String, Str, Option<String>)> {
        let mut missing = None;
        for value in desired.values() {
            value.visit_templates(&Path::default(), &mut |_, template| {
                for placeholder in template.placeholders() {
                    if let Placeholder::Output { resource, attribute } = placeholder
                        && let Some(row) = self.rows.get(resource)
                        && !row.pending
                        && (row.action == Action::Import || (row.action == Action::None && row.reason.is_none()))
                    {
                        let unread = self.unread_output(resource, attribute);
                        missing = Some((placeholder.to_string(), row.kind.clone(), unread));
                    }
                }
            });
        }
        missing
    }

    /// Why the property that an output follows from can't be read, if so.
    fn unread_output(&self, resource: &str, attribute: &str) -> Option<String> {
        let output = self.spec.resource(resource)?.schema().output(attribute)?;
        let OutputOrigin::Assigned { until } = &output.origin else { return None };
        let unknown = &self.inventory.live(resource)?.unknown;
        until.iter().find_map(|property| unknown.get(property)).cloned()
    }

    /// The owner of the parent of a resource that has no tags itself.
    fn container_owner(&self, declared: &ResourceDecl) -> Option<&'a Ownership> {
        let container = identity_targets(declared).next()?;
        Some(&self.inventory.found.get(container)?.live.as_ref()?.owner)
    }

    /// Why a resource must not be touched because of the function that it is attached to: tags are
    /// easily copied, so a mapping's count only on a function of this team. A function that no
    /// longer exists is no obstacle.
    fn barred_parent(&self, declared: &ResourceDecl) -> Option<String> {
        let (kind, name) = declared.parent()?;
        if let Some((parent, _)) = self.spec.imported_parent(declared) {
            let why = self.inventory.live(&parent.name)?.owner.bars_team(&self.spec.team)?;
            return Some(format!("the {kind} `{name}` that it is attached to {why}"));
        }
        let is_it = |it: &ResourceDecl| it.schema().kind == kind && it.id.name == name;
        let is_imported = |it: &ResourceDecl| it.imported && is_it(it);
        if self.spec.untouchable.contains(name) || self.spec.resources.iter().any(is_imported) {
            return Some(format!("the {kind} `{name}` that it is attached to is imported"));
        }
        let us = &declared.id.owner;
        let parent = self.spec.kinds.get(kind).map(|kind| kind.schema());
        let form = parent.and_then(|schema| schema.arn.as_ref());
        if !self.spec.names().includes(form, name) {
            let why =
                parent.map_or_else(|| format!("doesn't begin with `{}`", self.spec.team), |it| self.name_violation(it));
            return Some(format!("the name of the {kind} `{name}` that it is attached to {why}"));
        }
        let is_listed = self.spec.names().is_listed(form, name);
        let declared = self.spec.resources.iter().filter(|it| is_it(it));
        let declared = declared.filter_map(|it| self.inventory.live(&it.name));
        let orphaned = self.inventory.orphans.iter().filter(|it| is_it(&it.declared));
        let owners = declared.chain(orphaned.filter_map(|it| it.found.live.as_ref())).map(|live| &live.owner);
        let other = self.inventory.parents.get(&(kind.to_owned().into(), name.to_owned()));
        owners.chain(other).find_map(|owner| {
            let parent = format!("the {kind} `{name}` that it is attached to");
            match OwnershipVerdict::of(owner, None, us) {
                OwnershipVerdict::OutsideTeam(owner) => Some(format!("{parent} belongs to {owner}")),
                OwnershipVerdict::Unknown(UnreadableTags::Denied | UnreadableTags::Unsupported) if is_listed => {
                    Some(format!("the tags of {parent} can't be read"))
                }
                _ => None,
            }
        })
    }

    /// Whether its function is deleted: it would survive, and invoke the next function of that
    /// name.
    fn feeds_what_goes(&self, declared: &ResourceDecl) -> bool {
        let parent = declared.schema().parent().and_then(|property| target(declared, &property.name));
        parent.and_then(|name| self.rows.get(name)).is_some_and(|row| row.action == Action::Delete)
    }

    /// The first target of an identity property that is replaced.
    fn replaced_target(&self, declared: &ResourceDecl) -> Option<String> {
        let replaced = |name: &&str| self.rows.get(*name).is_some_and(|row| row.action == Action::Replace);
        identity_targets(declared).find(replaced).map(str::to_owned)
    }

    /// Why it can't be deleted, and what to do about that.
    fn deletion_blocker(&self, declared: &ResourceDecl, found: Option<&Found>) -> Option<(String, Advice)> {
        let schema = declared.schema();
        if declared.lifecycle.protect {
            return Some(("`protect: true` prevents its deletion".to_owned(), UNPROTECT.into()));
        }
        let live = found.and_then(|found| found.live.as_ref());
        if let Some((live, lock)) = live.and_then(|live| Some((live, schema.delete_block.as_ref()?(&live.props)?))) {
            let arn = live.outputs.get("arn").map_or("ARN", String::as_str);
            return Some((lock.reason.into_owned(), lock.hint.replace("{arn}", arn).into()));
        }
        if let Some(blocker) = live.and_then(|live| self.unmanaged_source(declared, live)) {
            return Some(blocker);
        }
        if self.options.delete_data || !schema.holds_data {
            return None;
        }
        let loss = match found.and_then(|found| found.contents).unwrap_or(Contents::Unchecked) {
            Contents::Empty => return None,
            Contents::Items(1) => "it is not empty: at least one item would be lost".to_owned(),
            Contents::Items(items) => {
                format!("it is not empty: about {items} items would be lost (AWS's count is approximate)")
            }
            Contents::Unchecked => "any items in it would be lost; engine can't check whether it is empty".to_owned(),
        };
        Some((loss, Advice::from("to delete the items too, ").then(Remedy::AllowDataLoss)))
    }

    /// Why a resource on an imported one can't be deleted: it reads something that this spec doesn't
    /// attach there, so its tags may be copies.
    fn unmanaged_source(&self, declared: &ResourceDecl, live: &Live) -> Option<(String, Advice)> {
        let (parent, _) = self.spec.imported_parent(declared)?;
        let source = &declared.schema().parent()?.imported_parent.as_ref()?.source;
        let reads = live.props.get(&**source)?.as_str()?;
        let attached = self.spec.resources.iter().filter_map(|it| self.spec.imported_parent(it));
        let sources = attached.filter(|(it, _)| it.name == parent.name).map(|(_, source)| source);
        let mut arns = sources.filter_map(|it| Some(it.schema().arn.as_ref()?.of(&self.inventory.env, &it.id.name)));
        if arns.any(|arn| is_arn_within(reads, &arn)) {
            return None;
        }
        let (kind, name) = (&parent.schema().kind, &parent.id.name);
        let reason =
            format!("the {kind} `{name}` is imported, and `{reads}`, which it reads there, isn't managed by this spec");
        let command = self.delete_cmd(declared, live.unique_id.as_ref().unwrap_or(&declared.id.name))?;
        Some((reason, format!("run `{command}` if it is yours, then run the same command again").into()))
    }

    /// Refuses to delete what something uses that this plan neither deletes nor changes.
    fn refuse_used(&self, changes: &mut [Change]) {
        let is_removed = |row: &Change| matches!(row.action, Action::Delete | Action::Replace);
        let is_part = |(kind, name): &(Str, String), rows: &[Change]| {
            rows.iter()
                .any(|it| (&it.kind, &it.name) == (kind, name) && (is_removed(it) || it.action == Action::Update))
        };
        // Another run may delete it between the list that shows it and its own read, which decides.
        let is_deleted = |(kind, name): &(Str, String)| {
            self.spec.managed(kind).any(|it| it.id.name == *name && self.inventory.live(&it.name).is_none())
        };
        let used = changes.iter().enumerate().filter(|(_, row)| is_removed(row)).filter_map(|(at, row)| {
            let found = match row.subject {
                Subject::Declared => self.inventory.found.get(&row.resource)?,
                Subject::Orphan(at) => &self.inventory.orphans.get(at)?.found,
            };
            let others = found.users.as_ref()?.known.iter();
            let others = others.filter(|user| !is_part(user, changes) && !is_deleted(user));
            let others: Vec<String> = others.map(|(kind, name)| format!("the {kind} `{name}`")).collect();
            (!others.is_empty()).then(|| (at, others.join(", ")))
        });
        for (at, users) in used.collect::<Vec<_>>() {
            if let Some(row) = changes.get_mut(at) {
                let hint = "let it use another one first; or set `retain: true`, and engine only removes its tags";
                *row = refused(row.clone(), format!("it is still used by {users}"), hint);
            }
        }
    }

    fn renewal(&self, row: &mut Change, schema: &Schema, declared: &ResourceDecl) {
        // If everything that it connects is known already, it exists and stays.
        let identities = schema.properties.iter().filter(|property| property.is_identity);
        let lives_on =
            identities.clone().all(|it| row.desired.get(&*it.name).is_some_and(|value| !value.has_unknown()))
                && identity_targets(declared)
                    .all(|name| self.rows.get(name).is_some_and(|row| row.action != Action::Create));
        if let Some(renewal) = &schema.recreate_note
            && (row.action == Action::Replace || lives_on)
        {
            row.remarks.push(renewal(&row.desired).into_owned());
        }
    }

    fn finish(mut self, goal: Goal) -> Plan {
        let mut changes: Vec<Change> = Vec::new();
        for declared in &self.spec.resources {
            changes.extend(self.rows.remove(&declared.name));
        }
        self.orphans(goal, &mut changes);
        self.refuse_used(&mut changes);
        let mut remarks = Vec::new();
        if self.cautious && !self.options.assume_owner {
            let remark = Advice::from(
                "you lack permission to read some tags, so engine only creates and updates resources whose names match \
                 the spec exactly; to adopt, replace or delete resources, ",
            );
            remarks.push(remark.then(Remedy::AssumeOwner));
        }
        if !self.options.targets.is_empty() && goal != Goal::Unmanaged {
            let remark = Advice::from("this plan covers only part of the spec (").then(RunOption::Targets);
            remarks.push(remark.then("); the rest may differ from AWS"));
        } else if let (Search::Partial(why), true) = (&self.inventory.search, goal != Goal::Unmanaged) {
            remarks.push(why.clone());
        }
        remarks.extend(unknown::left_out(self.spec, self.inventory).map(Advice::from));
        let steps = steps::steps(self.spec, self.inventory, &changes);
        Plan { changes, steps, remarks }
    }
}

fn noop(declared: &ResourceDecl) -> Change {
    Change {
        subject: Subject::Declared,
        resource: declared.name.clone(),
        kind: declared.schema().kind.clone(),
        name: declared.id.name.clone(),
        implied_by: declared.implied_by.clone(),
        action: Action::None,
        properties: Vec::new(),
        reason: None,
        hint: None,
        remarks: Vec::new(),
        needs_approval: false,
        pending: false,
        partial: false,
        unread: BTreeSet::new(),
        desired: Tree::new(),
        outputs: Outputs::new(),
    }
}

fn refused(row: Change, reason: impl Into<Advice>, hint: impl Into<Advice>) -> Change {
    Change {
        action: Action::Refused,
        reason: Some(reason.into()),
        hint: Some(hint.into()),
        needs_approval: false,
        ..row
    }
}

/// The differences that engine may remove under this verdict.
fn comparable(schema: &Schema, live: &Live, desired: &Tree, verdict: OwnershipVerdict<'_>) -> Vec<PropertyChange> {
    let mut properties = differences(schema, live, desired);
    if let OwnershipVerdict::Unknown(_) = verdict {
        // Tags that can't be read are not overwritten.
        properties.retain(|change| {
            let property = change.path.root().and_then(|root| schema.property(root));
            property.is_none_or(|property| property.change != Rule::Subset)
        });
    }
    properties
}

/// The action that these differences need, or why none is possible, and what to do about that.
fn needed(
    declared: &ResourceDecl,
    properties: &[PropertyChange],
    verdict: OwnershipVerdict<'_>,
) -> Result<Action, (String, Advice)> {
    match properties.iter().map(|property| &property.effect).max() {
        // A spec that differs from an unmanaged resource is not a forbidden change; adoption
        // decides.
        Some(Effect::Refuse(_)) if verdict == OwnershipVerdict::Free && declared.schema().adoptable => {
            Ok(Action::Replace)
        }
        Some(Effect::Refuse(why)) => {
            let fixed = properties.iter().filter(|property| matches!(property.effect, Effect::Refuse(_)));
            let paths: Vec<String> = fixed.map(|property| format!("`{}`", property.path)).collect();
            let reason = format!("{} can't change: {why}", paths.join(" and "));
            let hint = Advice::from(
                "undo the change in the spec, or declare a new resource under another name; to delete and re-create it, ",
            );
            Err((reason, hint.then(Remedy::Replace(declared.name.clone()))))
        }
        Some(Effect::Replace) => Ok(Action::Replace),
        Some(Effect::InPlace) => Ok(Action::Update),
        None => Ok(Action::None),
    }
}

/// Adapts a row to the resource's owner.
fn claimed(mut row: Change, declared: &ResourceDecl, live: &Live, verdict: OwnershipVerdict<'_>) -> Change {
    match verdict {
        OwnershipVerdict::Free => adopted(row, declared, declared.schema(), live),
        OwnershipVerdict::Unknown(_) if row.action == Action::Replace => {
            let reason = format!("it must be replaced, but {UNPROVEN}");
            refused(row, reason, how_to_prove())
        }
        OwnershipVerdict::Renamed(Owner { resource: old, .. }) => {
            row.reason =
                Some(format!("it was named `{old}` in the spec; its tags will be updated to the new name").into());
            row.action = row.action.max(Action::Update);
            row
        }
        _ => row,
    }
}

/// A changed property that can't be sent, with the ignored one that AWS requires along with it.
fn undeliverable<'d>(declared: &'d ResourceDecl, live: Option<&Live>, desired: &Tree) -> Option<(&'d str, &'d str)> {
    let ignored = &declared.lifecycle.ignore_changes;
    let live = live?;
    declared.schema().properties.iter().find_map(|property| {
        let other = property.sent_with.as_deref().filter(|other| ignored.contains(*other))?;
        let name = &*property.name;
        let differs = live.props.get(name).is_some_and(|have| desired.get(name) != Some(have));
        differs.then_some((name, other))
    })
}

/// Adds who gains access through a change, which then needs confirmation.
fn exposures(row: &mut Change, schema: &Schema, live: &Tree) {
    for property in &schema.properties {
        if !row.properties.iter().any(|change| change.path.root() == Some(&*property.name)) {
            continue;
        }
        let before = live.get(&*property.name).unwrap_or(&NULL);
        let after = row.desired.get(&*property.name).unwrap_or(&NULL);
        if let Some(exposure) = property.exposes.as_ref().and_then(|exposes| exposes(before, after)) {
            row.remarks.push(exposure.into_owned());
            row.needs_approval = true;
        }
    }
}

/// Carries over the outputs of a resource that stays, except those that AWS assigns again because
/// of a change.
fn carry_outputs(row: &mut Change, schema: &Schema, live: &Live) {
    for output in &schema.outputs {
        let OutputOrigin::Assigned { until } = &output.origin else { continue };
        let before = live.outputs.get(&*output.name);
        let renewed = row.properties.iter().any(|it| until.iter().any(|whole| it.path == Path::property(whole)));
        match before {
            Some(value) if !renewed => drop(row.outputs.insert(output.name.to_string(), value.clone())),
            _ if renewed => {
                let none_to_come = until.iter().all(|it| matches!(row.desired.get(&**it), None | Some(Value::Null)));
                row.properties.push(PropertyChange {
                    path: Path::property(&output.name),
                    before: before.cloned().map_or(Value::Null, Value::String),
                    after: if none_to_come { Value::Null } else { Value::reference(&row.resource, &output.name) },
                    effect: Effect::InPlace,
                    sensitive: false,
                    is_default: false,
                });
            }
            _ => {}
        }
    }
}

/// The resource that a property refers to, if its value is exactly one reference.
fn target<'d>(declared: &'d ResourceDecl, property: &str) -> Option<&'d str> {
    Some(declared.desired.get(property)?.referred()?.0)
}

/// The resources that the identity properties refer to.
fn identity_targets(declared: &ResourceDecl) -> impl Iterator<Item = &str> {
    let identities = declared.schema().properties.iter().filter(|property| property.is_identity);
    identities.filter_map(|property| target(declared, &property.name))
}
