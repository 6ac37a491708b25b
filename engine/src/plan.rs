//! The plan: what has to happen so that AWS looks like the spec, as data.
//!
//! Resources are visited in dependency order. Each one's references are filled in with what is known about its
//! targets after the plan, then it is compared with what stands in AWS. What AWS will choose only later is unknown and
//! always differs, so a new stream reaches its mapping without a special case.
//!
//! **Invariant:** spec and inventory in, plan out. No I/O, no clock, and it never fails: what can't be done is a row
//! that says so.

use std::collections::{BTreeMap, BTreeSet};

use crate::inventory::{Found, Inventory};
use crate::schema::{
    Condition, Contents, Effect, Live, Moment, Naming, Origin, Outputs, Owner, Ownership, Property, Rule, Schema,
};
use crate::spec::{Declared, Spec};
use crate::value::{Hole, Path, Tree, Value, resolve};

/// What a run is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// AWS looks like the spec.
    Present,
    /// Nothing of the spec is left in AWS.
    Absent,
}

/// What the user allows beyond what is safe.
#[derive(Debug, Clone, Copy, Default)]
pub struct Allowed {
    /// Take what bears the right name for ours, where its tags may not be read.
    pub assume_owner: bool,
    /// Delete tables that are not empty.
    pub delete_data: bool,
}

/// Everything that has to happen.
#[derive(Debug, Default)]
pub struct Plan {
    /// One row for each declaration, in the order of the file.
    pub changes: Vec<Change>,
    /// What to do, each with what it has to wait for.
    pub steps: Vec<Step>,
    /// What is worth knowing about the whole.
    pub remarks: Vec<String>,
}

/// What happens to one resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Its name in the spec.
    pub resource: String,
    /// Its kind.
    pub kind: &'static str,
    /// Its name in AWS.
    pub name: String,
    /// What happens.
    pub action: Action,
    /// Property by property.
    pub properties: Vec<PropertyChange>,
    /// Why it is refused, replaced, adopted or waited for.
    pub reason: Option<String>,
    /// What to do about a refusal.
    pub hint: Option<String>,
    /// What is lost or has to be known.
    pub remarks: Vec<String>,
    /// Whether somebody has to agree first.
    pub asks: bool,
    /// Whether it can't be told yet what happens.
    pub undecided: bool,
    /// What is wanted, with everything filled in that is known.
    pub desired: Tree,
    /// The outputs that are promised to come out.
    pub outputs: Outputs,
}

/// What happens to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Nothing.
    None,
    /// It is made.
    Create,
    /// It is changed in place.
    Update,
    /// It is deleted and made anew.
    Replace,
    /// It is deleted.
    Delete,
    /// It is taken over, and changed in place where that is needed.
    Adopt,
    /// It is looked up.
    Import,
    /// Nothing, and nothing else of this plan either.
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
    /// What it takes.
    pub effect: Effect,
    /// Whether the values must not be shown.
    pub sensitive: bool,
}

/// The place of a step in [`Plan::steps`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepId(pub usize);

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What.
    pub op: Op,
    /// To which row of [`Plan::changes`].
    pub change: usize,
    /// What has to have happened before.
    pub after: Vec<(StepId, Moment)>,
}

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// Makes it.
    Create,
    /// Changes it in place.
    Update,
    /// Deletes it.
    Delete,
    /// Waits until AWS is done with what an earlier run began.
    Settle,
}

impl Plan {
    /// How many rows have that action.
    pub fn count(&self, action: Action) -> usize {
        self.changes.iter().filter(|change| change.action == action).count()
    }

    /// The rows that keep the plan from being carried out.
    pub fn refusals(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|change| change.action == Action::Refused)
    }

    /// Whether AWS differs from the goal.
    pub fn has_changes(&self) -> bool {
        self.changes.iter().any(|change| !matches!(change.action, Action::None | Action::Import))
    }

    /// Whether it can't be told yet of something what happens to it.
    pub fn is_undecided(&self) -> bool {
        self.changes.iter().any(|change| change.undecided)
    }

    /// Whether somebody has to agree before it is carried out.
    pub fn asks(&self) -> bool {
        self.changes.iter().any(|change| change.asks)
    }
}

/// Plans a run.
pub fn plan(spec: &Spec, inventory: &Inventory, goal: Goal, allowed: Allowed) -> Plan {
    let mut planner = Planner { spec, inventory, allowed, rows: BTreeMap::new(), cautious: false };
    for name in spec.graph.order() {
        if let Some(declared) = spec.resource(name) {
            let row = match goal {
                Goal::Present => planner.present(declared),
                Goal::Absent => planner.absent(declared),
            };
            planner.rows.insert(name.to_owned(), row);
        }
    }
    planner.finish()
}

struct Planner<'a> {
    spec: &'a Spec,
    inventory: &'a Inventory,
    allowed: Allowed,
    rows: BTreeMap<String, Change>,
    /// Some tags may not be read.
    cautious: bool,
}

/// Whose a resource is, seen from one declaration.
enum Standing {
    Ours,
    /// Ours, if names are to be believed.
    Assumed,
    Adoptable,
    Refused(String, String),
}

impl Planner<'_> {
    fn present(&mut self, declared: &Declared) -> Change {
        let mut row = self.wanted(declared);
        if row.action == Action::Refused {
            // Nothing happens to it, so what refers to it goes on seeing what it is now.
            let live = self.inventory.found.get(&declared.name).and_then(|found| found.live.as_ref());
            row.outputs.extend(live.map(|live| live.outputs.clone()).unwrap_or_default());
        }
        row
    }

    fn wanted(&mut self, declared: &Declared) -> Change {
        let schema = declared.schema();
        let found = self.inventory.found.get(&declared.name);
        let live = found.and_then(|found| found.live.as_ref());
        let desired = resolve(&declared.desired, &|hole| self.fill(hole));
        let mut row = Change { desired, ..blank(declared) };
        if declared.imported {
            return self.imported(row, declared, found);
        }
        row.outputs = schema.computed(&self.inventory.site, &declared.id.name);
        let live = match live {
            Some(live) if live.condition == Condition::Leaving => {
                row.reason = Some("an older one is still being deleted; this waits until it is gone".to_owned());
                None
            }
            live => live,
        };
        if let Some((live, reason)) = live.and_then(|live| Some((live, live.undecided()?))) {
            row.outputs.extend(live.outputs.clone());
            return Change { reason: Some(format!("{reason}; `apply` waits for that")), undecided: true, ..row };
        }
        if let Some((hole, target)) = self.missing_output(&row.desired) {
            let reason = format!("it refers to `{hole}`, and the {target} has no such thing in AWS");
            return refused(row, reason, format!("its owner has to provide it, or remove what refers to `{hole}`"));
        }
        let Some(live) = live else {
            row.action = Action::Create;
            row.properties = additions(schema, &row.desired);
            self.renewal(&mut row, schema, declared);
            return row;
        };
        let standing = self.standing(declared, live);
        if let Standing::Refused(reason, hint) = standing {
            return refused(row, reason, hint);
        }
        row.properties = differences(schema, &live.props, &row.desired);
        if let Standing::Assumed = standing {
            // Whether the declared tags stand there can't be seen, and they are not put on blindly.
            row.properties.retain(|change| {
                let property = change.path.root().and_then(|root| schema.property(root));
                property.is_none_or(|property| property.change != Rule::Ensure)
            });
        }
        let worst = row.properties.iter().map(|property| property.effect).max();
        let container = self.replaced_target(declared);
        let broken = match &live.condition {
            Condition::Unusable(state) => {
                let reason = format!("AWS has it in the state {state}, in which nothing can be changed");
                return refused(row, reason, "its owner has to mend it in the AWS console first".to_owned());
            }
            Condition::Broken(reason) => Some(format!("it failed, and only making it anew helps: {reason}")),
            _ => None,
        };
        row.action = match worst {
            Some(Effect::Refuse(why)) => {
                let paths: Vec<String> = row
                    .properties
                    .iter()
                    .filter(|property| matches!(property.effect, Effect::Refuse(_)))
                    .map(|property| format!("`{}`", property.path))
                    .collect();
                let reason = format!("{} can't change: {why}", paths.join(" and "));
                let hint = "undo the change in the spec, or declare another resource under another name".to_owned();
                return refused(row, reason, hint);
            }
            _ if broken.is_some() || container.is_some() => {
                row.reason =
                    broken.or_else(|| container.map(|name| format!("it hangs on `{name}`, which is replaced")));
                Action::Replace
            }
            Some(Effect::Replace) => Action::Replace,
            Some(Effect::InPlace) => Action::Update,
            None => Action::None,
        };
        if let Standing::Adoptable = standing {
            if !schema.adoptable {
                // A statement in the policy of a function that is not ours.
                let reason = "what it belongs to is not ours, so it is left alone".to_owned();
                return Change { action: Action::None, properties: Vec::new(), reason: Some(reason), ..row };
            }
            row = adopted(row, declared, schema, live);
            if row.action == Action::Refused {
                return row;
            }
        }
        if let (Standing::Assumed, Action::Replace) = (&standing, row.action) {
            let reason = "it would be replaced, but its tags may not be read, so it may not be ours".to_owned();
            return refused(row, reason, "ask for the right to read its tags, or add --assume-owner".to_owned());
        }
        if let Condition::Changing(state) = &live.condition {
            row.remarks.push(format!("AWS is still working on it ({state})"));
        }
        if matches!(row.action, Action::None | Action::Update | Action::Adopt) {
            let kept = schema.outputs.iter().filter(|output| match output.origin {
                Origin::Computed(_) => false,
                Origin::Assigned { until } => !row
                    .properties
                    .iter()
                    .any(|property| property.path.root().is_some_and(|root| until.contains(&root))),
            });
            let kept = kept.filter_map(|output| Some((output.name.to_owned(), live.outputs.get(output.name)?.clone())));
            row.outputs.extend(kept);
        } else if row.action == Action::Replace {
            self.renewal(&mut row, schema, declared);
            if let Some(refusal) = self.keeps_data(schema, found) {
                return refused(row, refusal, "add --delete-data to lose them".to_owned());
            }
        }
        let null = Value::Null;
        for property in schema
            .properties
            .iter()
            .filter(|property| row.properties.iter().any(|change| change.path.root() == Some(property.name)))
        {
            let (before, after) = (live.props.get(property.name), row.desired.get(property.name));
            let losses = property.loses.map(|loses| loses(before.unwrap_or(&null), after.unwrap_or(&null)));
            for loss in losses.into_iter().flatten() {
                row.remarks.push(loss);
                row.asks = true;
            }
        }
        // A statement is gone for a moment only; everything else that is replaced is worth a question.
        row.asks |= row.action == Action::Replace && !matches!(schema.naming, Naming::Inner { .. });
        row
    }

    fn absent(&mut self, declared: &Declared) -> Change {
        let row = blank(declared);
        let found = self.inventory.found.get(&declared.name);
        let live = found.and_then(|found| found.live.as_ref());
        if declared.imported {
            return Change { action: Action::Import, ..row };
        }
        let Some(live) = live else { return row };
        if live.condition == Condition::Leaving {
            return Change { reason: Some("it is being deleted already".to_owned()), ..row };
        }
        if let Some(reason) = live.undecided() {
            return Change { reason: Some(reason), undecided: true, ..row };
        }
        let remarks = declared.schema().leaves.map(|leaves| leaves(&row.name)).into_iter().collect();
        let delete = Change { action: Action::Delete, asks: true, remarks, ..row.clone() };
        match self.standing(declared, live) {
            Standing::Ours => match self.keeps_data(declared.schema(), found) {
                Some(refusal) => refused(row, refusal, "add --delete-data to lose them".to_owned()),
                None => delete,
            },
            Standing::Assumed => {
                let reason = "its tags may not be read, so it may not be ours".to_owned();
                refused(row, reason, "ask for the right to read its tags, or add --assume-owner".to_owned())
            }
            Standing::Adoptable => {
                Change { reason: Some("left alone: it bears no tags of the engine".to_owned()), ..row }
            }
            Standing::Refused(..) if live.owner == Ownership::Nobody => {
                Change { reason: Some("left alone: it bears no tags of the engine".to_owned()), ..row }
            }
            Standing::Refused(reason, hint) => match &live.owner {
                // Ours under an older resource name: all that this team and stack own goes.
                Ownership::Engine(owner) if same_stack(owner, &declared.id.owner) => delete,
                _ => refused(row, reason, hint),
            },
        }
    }

    fn imported(&self, row: Change, declared: &Declared, found: Option<&Found>) -> Change {
        let Some(live) = found.and_then(|found| found.live.as_ref()) else {
            let reason =
                format!("the {} `{}` does not exist in account {}", row.kind, row.name, self.inventory.site.account);
            return refused(row, reason, "check the name, the account and the region".to_owned());
        };
        if let (Some(wanted), Some(arn)) = (&declared.id.arn, live.outputs.get("arn"))
            && wanted != arn
        {
            let reason = format!("the {} of that name is `{arn}`, not `{wanted}`", row.kind);
            return refused(row, reason, "correct the ARN in the spec".to_owned());
        }
        let mut row = Change { action: Action::Import, outputs: live.outputs.clone(), ..row };
        if let Some(error) = found.and_then(|found| found.unread.as_ref()) {
            row.remarks.push(format!("it could not be checked: {error}"));
        }
        row
    }

    fn standing(&mut self, declared: &Declared, live: &Live) -> Standing {
        let us = &declared.id.owner;
        match &live.owner {
            Ownership::Engine(owner) if owner == us => Standing::Ours,
            Ownership::Inherited => match self.container_owner(declared) {
                Some(Ownership::Engine(owner)) if same_stack(owner, us) => Standing::Ours,
                // Where the function itself is gone or not ours, its own row says so.
                Some(Ownership::Denied) => self.assume(),
                _ => Standing::Adoptable,
            },
            Ownership::Engine(owner) if same_stack(owner, us) => Standing::Refused(
                format!("it bears the tags of this stack's resource `{}`", owner.resource),
                format!("call the resource `{}` again: renaming is not supported yet", owner.resource),
            ),
            Ownership::Engine(owner) if owner.team == us.team && !owner.stack.is_empty() => Standing::Refused(
                format!("it belongs to {owner}"),
                format!(
                    "if the spec file was renamed, add `stack: {}` to it; otherwise choose another name",
                    owner.stack
                ),
            ),
            Ownership::Engine(owner) => {
                Standing::Refused(format!("it belongs to {owner}"), "choose another name".to_owned())
            }
            Ownership::CloudFormation(stack) => Standing::Refused(
                format!("it belongs to the CloudFormation stack `{stack}`"),
                "choose another name, or let CloudFormation go on managing it".to_owned(),
            ),
            Ownership::Nobody if declared.schema().adoptable => Standing::Adoptable,
            Ownership::Nobody => Standing::Refused(
                format!("a {} of that name stands there already, without the engine's tags", declared.schema().kind),
                "delete it, or choose another name: only tables can be taken over yet".to_owned(),
            ),
            // Undecided, which was looked at before; tags that can't be read prove nothing.
            Ownership::NotYetReadable(_) | Ownership::Denied => self.assume(),
        }
    }

    fn assume(&mut self) -> Standing {
        self.cautious = true;
        if self.allowed.assume_owner { Standing::Ours } else { Standing::Assumed }
    }

    /// A reference to something that lives on as it is and has no such output, with the kind of its target.
    fn missing_output(&self, desired: &Tree) -> Option<(String, &'static str)> {
        let mut missing = None;
        for value in desired.values() {
            value.visit_templates(&Path::default(), &mut |_, template| {
                for hole in template.holes() {
                    if let Hole::Output { resource, .. } = hole
                        && let Some(row) = self.rows.get(resource)
                        && !row.undecided
                        && (row.action == Action::Import || (row.action == Action::None && row.reason.is_none()))
                    {
                        missing = Some((hole.to_string(), row.kind));
                    }
                }
            });
        }
        missing
    }

    /// The owner of what a resource without tags of its own lives in.
    fn container_owner(&self, declared: &Declared) -> Option<&Ownership> {
        let container = identity_targets(declared).next()?;
        Some(&self.inventory.found.get(container)?.live.as_ref()?.owner)
    }

    /// The first target of an identity property that is replaced.
    fn replaced_target(&self, declared: &Declared) -> Option<String> {
        let replaced = |name: &&str| self.rows.get(*name).is_some_and(|row| row.action == Action::Replace);
        identity_targets(declared).find(replaced).map(str::to_owned)
    }

    /// Why what it holds keeps it from being deleted.
    fn keeps_data(&self, schema: &Schema, found: Option<&Found>) -> Option<String> {
        if self.allowed.delete_data || !schema.holds_data {
            return None;
        }
        match found.and_then(|found| found.contents).unwrap_or(Contents::Unchecked) {
            Contents::Empty => None,
            Contents::Items(1) => Some("it is not empty: at least one item would be lost".to_owned()),
            Contents::Items(items) => {
                Some(format!("it is not empty: about {items} items would be lost (AWS's count is some hours old)"))
            }
            Contents::Unchecked => {
                Some("its items would be lost, and whether it has any can't be looked at".to_owned())
            }
        }
    }

    fn renewal(&self, row: &mut Change, schema: &Schema, declared: &Declared) {
        // Where everything it connects is known already, it stands, and goes on standing.
        let identities = schema.properties.iter().filter(|property| property.identity);
        let lives_on = identities.clone().all(|it| row.desired.get(it.name).is_some_and(|value| !value.has_unknown()))
            && identity_targets(declared)
                .all(|name| self.rows.get(name).is_some_and(|row| row.action != Action::Create));
        if let Some(renewal) = schema.renewal
            && (row.action == Action::Replace || lives_on)
        {
            row.remarks.push(renewal(&row.desired).to_owned());
        }
    }

    fn fill(&self, hole: &Hole) -> Option<String> {
        match hole {
            Hole::Output { resource, attribute } => self.rows.get(resource)?.outputs.get(attribute).cloned(),
            Hole::Account => Some(self.inventory.site.account.clone()),
            Hole::Region => Some(self.inventory.site.region.clone()),
        }
    }

    fn finish(mut self) -> Plan {
        let mut remarks = Vec::new();
        if self.cautious && !self.allowed.assume_owner {
            remarks.push(
                "some tags may not be read, so only the exact names of the spec are created or changed in place; \
                 nothing is adopted, replaced or deleted without --assume-owner"
                    .to_owned(),
            );
        }
        let changes: Vec<Change> = self.spec.resources.iter().filter_map(|it| self.rows.remove(&it.name)).collect();
        let steps = steps(self.spec, self.inventory, &changes);
        Plan { changes, steps, remarks }
    }
}

fn same_stack(a: &Owner, b: &Owner) -> bool {
    (&a.team, &a.stack) == (&b.team, &b.stack)
}

fn blank(declared: &Declared) -> Change {
    Change {
        resource: declared.name.clone(),
        kind: declared.schema().kind,
        name: declared.id.name.clone(),
        action: Action::None,
        properties: Vec::new(),
        reason: None,
        hint: None,
        remarks: Vec::new(),
        asks: false,
        undecided: false,
        desired: Tree::new(),
        outputs: Outputs::new(),
    }
}

fn refused(row: Change, reason: String, hint: String) -> Change {
    Change { action: Action::Refused, reason: Some(reason), hint: Some(hint), asks: false, ..row }
}

/// Adoption never resets: what stands in AWS and not in the spec has to be written down first.
fn adopted(row: Change, declared: &Declared, schema: &Schema, live: &Live) -> Change {
    let undeclared: Vec<String> = row
        .properties
        .iter()
        .filter_map(|property| property.path.root())
        .filter(|root| !declared.written.contains(*root))
        .filter_map(|root| Some((schema.property(root)?, live.props.get(root)?)))
        .map(|(property, value)| match property.sensitive {
            true => format!("\n    {}: # as it is in AWS", property.name),
            false => format!("\n    {}: {}", property.name, serde_json::Value::from(&as_written(value))),
        })
        .collect();
    if !undeclared.is_empty() {
        let reason = "adopting never resets, and the spec does not declare what it has".to_owned();
        return refused(row, reason, format!("add to `{}`, to keep it:{}", declared.name, undeclared.concat()));
    }
    if row.action == Action::Replace {
        let reason = "adopting it would mean to replace it".to_owned();
        return refused(row, reason, format!("describe the {} as it is, then adopt it", schema.kind));
    }
    Change {
        action: Action::Adopt,
        reason: Some("a tool that still manages it will undo this".to_owned()),
        asks: !declared.lifecycle.adopt,
        ..row
    }
}

/// As a spec would say it: what is not set has no line there.
fn as_written(value: &Value) -> Value {
    match value {
        Value::Map(map) => {
            let set = map.iter().filter(|(_, value)| **value != Value::Null);
            Value::Map(set.map(|(key, value)| (key.clone(), as_written(value))).collect())
        }
        value => value.clone(),
    }
}

/// The resources that the identity properties refer to.
fn identity_targets(declared: &Declared) -> impl Iterator<Item = &str> {
    let identities = declared.schema().properties.iter().filter(|property| property.identity);
    identities.filter_map(|property| match declared.desired.get(property.name)? {
        Value::Unknown(template) => match template.sole_hole()? {
            Hole::Output { resource, .. } => Some(resource.as_str()),
            Hole::Account | Hole::Region => None,
        },
        _ => None,
    })
}

/// Everything that a new resource gets.
fn additions(schema: &Schema, desired: &Tree) -> Vec<PropertyChange> {
    let says_nothing = |value: &Value| match value {
        Value::Null => true,
        Value::Map(map) => map.is_empty(),
        Value::List(list) => list.is_empty(),
        _ => false,
    };
    compared(schema)
        .filter_map(|property| Some((property, desired.get(property.name)?)))
        .filter(|(_, after)| !says_nothing(after))
        .map(|(property, after)| PropertyChange {
            path: Path::property(property.name),
            before: Value::Null,
            after: after.clone(),
            effect: Effect::InPlace,
            sensitive: property.sensitive,
        })
        .collect()
}

/// Where the wanted properties differ from the living ones.
fn differences(schema: &Schema, live: &Tree, desired: &Tree) -> Vec<PropertyChange> {
    let mut changes: Vec<PropertyChange> = Vec::new();
    for property in &schema.properties {
        let (before, after) = (live.get(property.name).unwrap_or(&NULL), desired.get(property.name).unwrap_or(&NULL));
        // What may not be read is no part of what is known to live, and is left alone.
        if !live.contains_key(property.name) || (property.sticky && *after == Value::Null) {
            continue;
        }
        let path = Path::property(property.name);
        let usual = match property.change {
            Rule::Compare(effect) => effect,
            Rule::Ensure => Effect::InPlace,
            Rule::ShownWith(other) if before != after && changes.iter().any(|it| it.path.root() == Some(other)) => {
                Effect::InPlace
            }
            Rule::Local | Rule::Checked | Rule::ShownWith(_) => continue,
        };
        let mut found = Vec::new();
        compare(&path, before, after, property.change == Rule::Ensure, &mut found);
        changes.extend(found.into_iter().map(|(path, before, after)| PropertyChange {
            effect: property.decide.map_or(usual, |decide| decide(&path, live, desired)),
            path,
            before: before.clone(),
            after: after.clone(),
            sensitive: property.sensitive,
        }));
    }
    changes
}

static NULL: Value = Value::Null;

/// Every place where two values differ. Mappings are compared key by key, and so are lists that hold some; of what is
/// only `ensured`, only what is wanted is looked at.
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

fn compared(schema: &Schema) -> impl Iterator<Item = &Property> {
    schema.properties.iter().filter(|property| property.is_compared())
}

/// What to do, each step with those it waits for.
fn steps(spec: &Spec, inventory: &Inventory, changes: &[Change]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    // For each resource: the step that deletes it, and the one after which it is as wanted.
    let mut deletes: BTreeMap<&str, StepId> = BTreeMap::new();
    let mut mains: BTreeMap<&str, (StepId, Op)> = BTreeMap::new();
    let mut add = |op: Op, change: usize| {
        steps.push(Step { op, change, after: Vec::new() });
        StepId(steps.len() - 1)
    };
    for (index, change) in changes.iter().enumerate() {
        let live = inventory.found.get(&change.resource).and_then(|found| found.live.as_ref());
        let changing = live.is_some_and(|live| matches!(live.condition, Condition::Changing(_)));
        let (deletes_it, main) = match change.action {
            Action::Create => (false, Some(Op::Create)),
            Action::Update | Action::Adopt => (false, Some(Op::Update)),
            Action::Delete => (true, None),
            Action::Replace => (true, Some(Op::Create)),
            Action::None if changing && !change.desired.is_empty() => (false, Some(Op::Settle)),
            Action::None | Action::Import | Action::Refused => (false, None),
        };
        if deletes_it {
            deletes.insert(&change.resource, add(Op::Delete, index));
        }
        if let Some(op) = main {
            mains.insert(&change.resource, (add(op, index), op));
        }
    }
    let mut rather_later = Vec::new();
    for name in spec.graph.order() {
        for (dependency, moment) in spec.graph.dependencies(name) {
            if let (Some(&(main, _)), Some(&(target, op))) = (mains.get(name), mains.get(dependency)) {
                // What is changed rather than made has to be ready: its outputs may be those of before.
                let moment = if op == Op::Create { moment } else { Moment::Ready };
                steps[main.0].after.push((target, moment));
            }
            match (deletes.get(name), deletes.get(dependency), mains.get(dependency)) {
                // Dependents go first.
                (Some(&delete), Some(&target), _) => steps[target.0].after.push((delete, Moment::Ready)),
                // What is replaced because its target changes goes only once the target is as wanted: until then the
                // old one still does its work.
                (Some(&delete), None, Some(&(target, _))) => rather_later.push((delete, target)),
                _ => {}
            }
        }
        if let (Some(&delete), Some(&(main, _))) = (deletes.get(name), mains.get(name)) {
            steps[main.0].after.push((delete, Moment::Ready));
        }
    }
    for (delete, target) in rather_later {
        // Unless the target itself needs it gone: it changes only after something whose dependents go first.
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

/// Whether `step` can't begin before `other` has.
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
