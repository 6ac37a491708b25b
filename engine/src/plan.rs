//! The plan: what has to happen so that AWS looks like the spec, as data.
//!
//! Resources are visited in dependency order. Each one's references are filled in with what is known about its
//! targets after the plan, then it is compared with what stands in AWS. What AWS will choose only later is unknown and
//! always differs, so a new stream reaches its mapping without a special case.
//!
//! **Invariant:** spec and inventory in, plan out. No I/O, no clock, and it never fails: what can't be done is a row
//! that says so.

mod adoption;
mod diff;
mod leftovers;
mod steps;
mod unknown;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::inventory::{Found, Inventory, Search};
use crate::schema::{
    Condition, Contents, Effect, Live, Moment, Naming, Origin, Outputs, Owner, Ownership, Rule, Schema, is_of_team,
};
use crate::spec::{Declared, Spec};
use crate::value::{Hole, Part, Path, Template, Tree, Value, resolve};

use adoption::adopted;
use diff::{NULL, additions, differences};

pub use diff::keep;
pub use unknown::leave_out;

/// What a run is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// AWS looks like the spec.
    Present,
    /// Nothing of the spec is left in AWS.
    Absent,
    /// What is named is handed over: our tags come off it.
    Released,
}

/// What the user allows and asks for beyond the goal.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Take what bears the right name for ours, where its tags may not be read.
    pub assume_owner: bool,
    /// Delete tables that are not empty.
    pub delete_data: bool,
    /// Resources that are made anew, whatever they look like.
    pub replace: BTreeSet<String>,
    /// The resources that the run is about, with what it takes for them; empty: all.
    pub targets: BTreeSet<String>,
}

/// Everything that has to happen.
#[derive(Debug, Default)]
pub struct Plan {
    /// One row for each declaration that the run is about, in the order of the file, then those of what is left over.
    pub changes: Vec<Change>,
    /// What to do, each with what it has to wait for.
    pub steps: Vec<Step>,
    /// What is worth knowing about the whole.
    pub remarks: Vec<String>,
}

/// What happens to one resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// What it is about.
    pub subject: Subject,
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
    /// Whether nothing happens although some of what the spec declares can't be read, and so not be compared.
    pub partial: bool,
    /// What is wanted, with everything filled in that is known.
    pub desired: Tree,
    /// The outputs that are promised to come out.
    pub outputs: Outputs,
}

/// What a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// A declaration of the spec.
    Declared,
    /// The place of something in [`Inventory::leftovers`].
    Leftover(usize),
}

impl Change {
    /// The declaration that it is about, or what stands for one.
    pub fn declared<'a>(&self, spec: &'a Spec, inventory: &'a Inventory) -> Option<&'a Declared> {
        match self.subject {
            Subject::Declared => spec.resource(&self.resource),
            Subject::Leftover(at) => Some(&inventory.leftovers.get(at)?.declared),
        }
    }

    /// What stands in AWS of it.
    pub fn live<'a>(&self, inventory: &'a Inventory) -> Option<&'a Live> {
        match self.subject {
            Subject::Declared => inventory.live(&self.resource),
            Subject::Leftover(at) => inventory.leftovers.get(at)?.found.live.as_ref(),
        }
    }

    /// What it hangs on in AWS, as property, kind and name.
    pub fn hangs_on(&self, spec: &Spec, inventory: &Inventory) -> Vec<(&'static str, &'static str, String)> {
        let stands = self.declared(spec, inventory).zip(self.live(inventory));
        stands.map(|(declared, live)| steps::hangs_on(declared, live)).unwrap_or_default()
    }
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
    /// It is handed over: our tags come off, nothing else.
    Release,
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
    /// Whether it is the default of something new, which nobody has written.
    pub usual: bool,
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
    /// Takes our tags off.
    Release,
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

    /// Whether something is taken for unchanged of which not all could be compared.
    pub fn is_partial(&self) -> bool {
        self.changes.iter().any(|change| change.partial)
    }

    /// Whether somebody has to agree before it is carried out.
    pub fn asks(&self) -> bool {
        self.changes.iter().any(|change| change.asks)
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
                Goal::Released => planner.released(declared),
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
    /// By kind and [`Declared::identity`], the resource that was planned first.
    identities: HashMap<(&'static str, String), String>,
    /// Some tags may not be read.
    cautious: bool,
}

/// Whose a resource is, seen from one declaration.
enum Standing {
    Ours,
    /// Ours, under the name of a resource that is no longer in the spec.
    Renamed(String),
    /// Ours, if names are to be believed.
    Assumed,
    Adoptable,
    Refused(String, String),
}

const KEEP_DATA: &str = "add --delete-data to lose them";
const UNPROTECT: &str = "remove `protect` from the spec first, if that is what you want";
const FEEDS_WHAT_GOES: &str = "the function that it feeds goes";
const MAY_NOT_READ: &str = "ask for the right to read its tags, or add --assume-owner";

impl<'a> Planner<'a> {
    /// The declarations that the run is about: all, or what was asked for with what it takes to make or to remove it.
    fn about(&self, goal: Goal) -> HashSet<&'a str> {
        let graph = &self.spec.graph;
        if self.options.targets.is_empty() {
            return graph.order().collect();
        }
        let mut about: HashSet<&str> = HashSet::new();
        let targets = &self.options.targets;
        // What is handed over may still bear an older name.
        let older = |name: &str| match self.inventory.live(name).map(|live| &live.owner) {
            Some(Ownership::Engine(owner)) if goal == Goal::Released => targets.contains(&owner.resource),
            _ => false,
        };
        let mut todo: Vec<&str> = graph.order().filter(|name| targets.contains(*name) || older(name)).collect();
        while let Some(name) = todo.pop() {
            if about.insert(name) {
                match goal {
                    Goal::Present => todo.extend(graph.dependencies(name).map(|(name, _)| name)),
                    Goal::Absent => todo.extend(graph.dependents(name).map(|(name, _)| name)),
                    Goal::Released => {}
                }
            }
        }
        about
    }

    /// The resource with the same identity in AWS that was planned before. [`Spec::parse`] lets none through; a spec of a caller
    /// of the library may have one.
    fn duplicate_of(&mut self, declared: &Declared) -> Option<String> {
        let key = (declared.schema().kind, declared.identity()?);
        match self.identities.get(&key) {
            Some(first) => Some(first.clone()),
            None => {
                self.identities.insert(key, declared.name.clone());
                None
            }
        }
    }

    fn present(&mut self, declared: &Declared) -> Change {
        let mut row = self.wanted(declared);
        if row.action == Action::Refused {
            // Nothing happens to it, so what refers to it goes on seeing what it is now.
            row.outputs
                .extend(self.inventory.live(&declared.name).map(|live| live.outputs.clone()).unwrap_or_default());
        }
        row
    }

    fn wanted(&mut self, declared: &Declared) -> Change {
        let schema = declared.schema();
        let found = self.inventory.found.get(&declared.name);
        let live = found.and_then(|found| found.live.as_ref());
        let mut desired = resolve(&declared.desired, &|hole| self.fill(hole));
        let live = match live {
            Some(live) if live.condition == Condition::Leaving => None,
            live => live,
        };
        let unclear = live.map(|live| keep(declared, &live.props, &mut desired));
        let mut row = Change { desired, remarks: unclear.unwrap_or_default(), ..blank(declared) };
        if let Some(first) = self.duplicate_of(declared) {
            let reason = format!("`{first}` is the same {} in AWS", schema.kind);
            return refused(row, reason, "remove one of them from the spec, or give them different names".to_owned());
        }
        if declared.imported {
            return self.imported(row, declared, found);
        }
        row.outputs = schema.computed(&self.inventory.site, &declared.id.name);
        if live.is_none() && found.is_some_and(|found| found.live.is_some()) {
            row.reason = Some("an older one is still being deleted; this waits until it is gone".to_owned());
        }
        if let Some((live, reason)) = live.and_then(|live| Some((live, live.undecided()?))) {
            row.outputs.extend(live.outputs.clone());
            return Change { reason: Some(format!("{reason}; `apply` waits for that")), undecided: true, ..row };
        }
        if let Some((hole, target)) = self.missing_output(&row.desired) {
            let reason = format!("it refers to `{hole}`, and the {target} has no such thing in AWS");
            return refused(row, reason, format!("its owner has to provide it, or remove what refers to `{hole}`"));
        }
        let unsent = undeliverable(declared, live, &row.desired);
        if let Some((change, other)) = unsent.filter(|_| !self.options.replace.contains(&declared.name)) {
            let reason =
                format!("AWS takes a change of `{change}` only along with `{other}`, whose changes are ignored");
            let hint = format!("undo the change of `{change}`, or remove `{other}` from `ignore_changes`");
            return refused(row, reason, hint);
        }
        let Some(live) = live else {
            row.action = Action::Create;
            row.properties = additions(declared, &row.desired);
            self.renewal(&mut row, schema, declared);
            return row;
        };
        let standing = self.standing(declared, live);
        if let Standing::Refused(reason, hint) = standing {
            return refused(row, reason, hint);
        }
        row.remarks.extend(live.notes.iter().cloned());
        row.properties = differences(schema, live, &row.desired);
        if let Standing::Assumed = standing {
            // Whether the declared tags stand there can't be seen, and they are not put on blindly.
            row.properties.retain(|change| {
                let property = change.path.root().and_then(|root| schema.property(root));
                property.is_none_or(|property| property.change != Rule::Ensure)
            });
        }
        if let Condition::Unusable(state) = &live.condition {
            let reason = format!("AWS has it in the state {state}, in which nothing can be changed");
            return refused(row, reason, "its owner has to mend it in the AWS console first".to_owned());
        }
        let anew = self.made_anew(declared, live);
        row.action = match row.properties.iter().map(|property| property.effect).max() {
            _ if anew.is_some() => {
                row.reason = anew;
                Action::Replace
            }
            // Whoever describes it otherwise than it is has not changed it, so nothing is refused for that reason.
            Some(Effect::Refuse(_)) if matches!(standing, Standing::Adoptable) && schema.adoptable => Action::Replace,
            Some(Effect::Refuse(why)) => {
                let fixed = row.properties.iter().filter(|property| matches!(property.effect, Effect::Refuse(_)));
                let paths: Vec<String> = fixed.map(|property| format!("`{}`", property.path)).collect();
                let reason = format!("{} can't change: {why}", paths.join(" and "));
                let hint = format!(
                    "undo the change in the spec, or declare another resource under another name; `--replace {}` \
                     deletes it and makes it anew",
                    declared.name
                );
                return refused(row, reason, hint);
            }
            Some(Effect::Replace) => Action::Replace,
            Some(Effect::InPlace) => Action::Update,
            None => Action::None,
        };
        match &standing {
            Standing::Adoptable if !schema.adoptable => {
                let reason = "what it belongs to is not ours, so it is left alone".to_owned();
                return Change { action: Action::None, properties: Vec::new(), reason: Some(reason), ..row };
            }
            Standing::Adoptable => {
                row = adopted(row, declared, schema, live);
                if row.action == Action::Refused {
                    return row;
                }
            }
            Standing::Assumed if row.action == Action::Replace => {
                let reason = "it would be replaced, but its tags may not be read, so it may not be ours".to_owned();
                return refused(row, reason, MAY_NOT_READ.to_owned());
            }
            Standing::Renamed(old) => {
                row.reason = Some(format!("it was called `{old}` in the spec; its tags are changed to its new name"));
                row.action = row.action.max(Action::Update);
            }
            _ => {}
        }
        let kept = match row.action {
            Action::Replace => {
                ("; the new one gets what the spec declares", "; the new one gets what the spec declares")
            }
            _ => (", so it is not compared and not changed", ", so they are not compared and not changed"),
        };
        row.remarks.extend(unknown::notes(declared, live, kept));
        row.partial = row.action == Action::None && !unknown::declared_unknown(declared, live).is_empty();
        if let Condition::Changing(state) = &live.condition {
            row.remarks.push(format!("AWS is still working on it ({state})"));
        }
        self.losses(&mut row, schema, live);
        if row.action == Action::Replace {
            self.renewal(&mut row, schema, declared);
            let kept = self.kept(declared, found).or_else(|| unknown::blocks_replacement(declared, live));
            if let Some((reason, hint)) = kept {
                return refused(row, reason, hint);
            }
            row.remarks.extend(schema.outage.map(|outage| outage.replaced.to_owned()));
        } else {
            carry_outputs(&mut row, schema, live);
        }
        // A statement is gone for a moment only; everything else that is replaced is worth a question.
        row.asks |= row.action == Action::Replace && !matches!(schema.naming, Naming::Inner { .. });
        row
    }

    /// Why a resource has to be made anew, whatever its properties look like.
    fn made_anew(&self, declared: &Declared, live: &Live) -> Option<String> {
        // Where it has had another name, that one is meant.
        if self.options.replace.contains(&declared.name) && !self.has_former(declared) {
            return Some("asked for by --replace".to_owned());
        }
        if let Condition::Broken(reason) = &live.condition {
            return Some(format!("it failed, and only making it anew helps: {reason}"));
        }
        if let Some(name) = self.replaced_target(declared) {
            return Some(format!("it hangs on `{name}`, which is replaced"));
        }
        let bound = declared.schema().properties.iter().filter_map(|it| Some((it, (it.bound?)(&live.props)?)));
        bound.into_iter().find_map(|(property, why)| {
            let target = target(declared, property.name)?;
            let newer = self.inventory.live(target)?.age.born? > live.age.changed?;
            newer.then(|| format!("`{target}` was made anew under the same name since it was last changed: {why}"))
        })
    }

    /// What is lost, and what has to be asked for because of that.
    fn losses(&self, row: &mut Change, schema: &Schema, live: &Live) {
        if row.action == Action::Replace {
            // It is lost as a whole.
            return;
        }
        for property in &schema.properties {
            if !row.properties.iter().any(|change| change.path.root() == Some(property.name)) {
                continue;
            }
            let before = live.props.get(property.name).unwrap_or(&NULL);
            let after = row.desired.get(property.name).unwrap_or(&NULL);
            for loss in property.loses.map(|loses| loses(before, after)).into_iter().flatten() {
                row.remarks.push(loss);
                row.asks = true;
            }
        }
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
        if let Some(why) = self.barred_parent(declared) {
            return Change { reason: Some(format!("not deleted: {why}")), ..row };
        }
        let untagged = || "left alone: it bears no tags of the engine".to_owned();
        match self.standing(declared, live) {
            Standing::Ours | Standing::Renamed(_) => self.gone(row, declared, found, None),
            // Nobody's can be told from it by tags, so it goes with its function as one without tags does.
            Standing::Assumed if live.owner == Ownership::Untaggable && self.feeds_what_goes(declared) => {
                self.gone(row, declared, found, Some(FEEDS_WHAT_GOES.to_owned()))
            }
            Standing::Assumed => {
                let reason = "its tags may not be read, so it may not be ours".to_owned();
                refused(row, reason, MAY_NOT_READ.to_owned())
            }
            Standing::Adoptable if self.feeds_what_goes(declared) => {
                self.gone(row, declared, found, Some(FEEDS_WHAT_GOES.to_owned()))
            }
            Standing::Adoptable => Change { reason: Some(untagged()), ..row },
            Standing::Refused(..) if live.owner == Ownership::Nobody => Change { reason: Some(untagged()), ..row },
            Standing::Refused(reason, hint) => match &live.owner {
                // Ours under an older resource name: all that this team and stack own goes.
                Ownership::Engine(owner) if same_stack(owner, &declared.id.owner) => {
                    self.gone(row, declared, found, None)
                }
                _ => refused(row, reason, hint),
            },
        }
    }

    /// The row of something of ours that has to go.
    fn gone(&self, row: Change, declared: &Declared, found: Option<&Found>, reason: Option<String>) -> Change {
        if declared.lifecycle.retain && self.feeds_what_goes(declared) {
            let reason = "`retain: true`, but the function that it feeds is deleted, so it can't stay".to_owned();
            return refused(row, reason, "retain the function, too, or let go of both".to_owned());
        }
        if declared.lifecycle.retain {
            let reason = Some("`retain: true`: it stays in AWS, without our tags".to_owned());
            return Change { action: Action::Release, reason, ..row };
        }
        if let Some((reason, hint)) = self.kept(declared, found) {
            return refused(row, reason, hint);
        }
        let schema = declared.schema();
        let outage = schema.outage.map(|outage| outage.deleted.to_owned());
        let live = found.and_then(|found| found.live.as_ref());
        let left = schema.leaves.and_then(|leaves| leaves(&live?.props));
        let remarks = outage.into_iter().chain(left).collect();
        Change { action: Action::Delete, asks: true, remarks, reason, ..row }
    }

    fn released(&mut self, declared: &Declared) -> Change {
        let row = blank(declared);
        if declared.imported {
            let reason = "it is imported: whoever owns it is not us".to_owned();
            return refused(row, reason, "name a resource that this spec makes".to_owned());
        }
        let live = self.inventory.live(&declared.name).filter(|live| live.condition != Condition::Leaving);
        let Some(live) = live else {
            return Change { reason: Some("nothing stands there in AWS".to_owned()), ..row };
        };
        self.hand_over(row, declared, live)
    }

    fn hand_over(&self, row: Change, declared: &Declared, live: &Live) -> Change {
        if declared.schema().index.is_none() {
            let reason = format!("a {} bears no tags that could come off", row.kind);
            return refused(row, reason, "release what it belongs to".to_owned());
        }
        if matches!(declared.schema().naming, Naming::Own { .. }) && !is_of_team(&row.name, &declared.id.owner.team) {
            let reason = format!("its name does not begin with `{}`, so it is nothing of ours", self.spec.team);
            return refused(row, reason, "whoever owns it can take its tags off".to_owned());
        }
        if let Some(why) = self.barred_parent(declared) {
            return refused(row, why, "the function's owner can remove its tags".to_owned());
        }
        match &live.owner {
            Ownership::Engine(owner) if same_stack(owner, &declared.id.owner) => {
                let reason = Some("it stays in AWS as it is, and is nobody's from then on".to_owned());
                Change { action: Action::Release, reason, ..row }
            }
            Ownership::Nobody => Change { reason: Some("it bears no tags of the engine".to_owned()), ..row },
            Ownership::Engine(owner) => {
                refused(row, format!("it belongs to {owner}"), "its owner can release it".to_owned())
            }
            _ => refused(row, "whose it is can't be told".to_owned(), MAY_NOT_READ.to_owned()),
        }
    }

    fn imported(&self, row: Change, declared: &Declared, found: Option<&Found>) -> Change {
        let Some(live) = found.and_then(|found| found.live.as_ref()) else {
            let account = &self.inventory.site.account;
            let named = declared.id.arn.as_ref().and_then(|arn| arn.split(':').nth(4));
            if let Some(named) = named.filter(|named| !named.is_empty() && *named != account) {
                let reason = format!("its ARN is of the account {named}, and the credentials are for {account}");
                return refused(
                    row,
                    reason,
                    "import one of this account, or take the other one's credentials".to_owned(),
                );
            }
            let reason = format!("the {} `{}` does not exist in account {account}", row.kind, row.name);
            return refused(row, reason, "check the name, the account and the region".to_owned());
        };
        if let (Some(wanted), Some(arn)) = (&declared.id.arn, live.outputs.get("arn"))
            && wanted != arn
        {
            let reason = format!("the {} of that name is `{arn}`, not `{wanted}`", row.kind);
            return refused(row, reason, "correct the ARN in the spec".to_owned());
        }
        let schema = declared.schema();
        for property in schema.properties.iter().filter(|property| property.change == Rule::Checked) {
            let (before, after) = (live.props.get(property.name), declared.desired.get(property.name));
            if let (Some(before), Some(after)) = (before, after)
                && *before != Value::Null
                && before != after
            {
                let mut row = row;
                row.properties = vec![PropertyChange {
                    path: Path::property(property.name),
                    before: before.clone(),
                    after: after.clone(),
                    effect: Effect::Refuse("what is imported is never changed"),
                    sensitive: property.sensitive,
                    usual: false,
                }];
                let reason = format!("its `{}` is not what the spec says", property.name);
                return refused(row, reason, "correct the spec, or import another".to_owned());
            }
        }
        let mut row = Change { action: Action::Import, outputs: live.outputs.clone(), ..row };
        if let Ownership::Engine(owner) = &live.owner
            && same_stack(owner, &declared.id.owner)
        {
            row.remarks.push("it still bears this stack's tags; it is left as it is all the same".to_owned());
        }
        let checked =
            schema.properties.iter().filter(|it| it.change == Rule::Checked && declared.written.contains(it.name));
        let unknown = checked.filter_map(|it| Some((it.name, live.unknown.get(it.name)?)));
        row.remarks
            .extend(unknown.map(|(name, why)| format!("its `{name}` can't be read ({why}), so it is not compared")));
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
                Some(Ownership::Denied) => self.assume(),
                Some(Ownership::Engine(_) | Ownership::CloudFormation(_)) => Standing::Refused(
                    "what it lives in belongs to somebody else".to_owned(),
                    "let it live in a resource of this stack".to_owned(),
                ),
                // Where the function itself is gone, its own row says so.
                _ => Standing::Adoptable,
            },
            Ownership::Engine(owner) if same_stack(owner, us) => {
                let other = self.spec.resource(&owner.resource);
                match other.filter(|it| it.schema().kind == declared.schema().kind) {
                    None => Standing::Renamed(owner.resource.clone()),
                    Some(_) => Standing::Refused(
                        format!(
                            "it bears the tags of this stack's resource `{}`, which is in the spec too",
                            owner.resource
                        ),
                        format!("give `{}` the `name:` of its own, or choose another name here", owner.resource),
                    ),
                }
            }
            Ownership::Engine(owner) if owner.team == us.team && !owner.stack.is_empty() => Standing::Refused(
                format!("it belongs to {owner}"),
                format!(
                    "if the spec file was renamed, add `stack: {}` to it; if the resource has moved here from that stack, \
                     let it be handed over there first (`engine forget {}`); otherwise choose another name",
                    owner.stack, owner.resource
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
                "delete it, or choose another name".to_owned(),
            ),
            // Undecided, which was looked at before; tags that can't be read, or can't exist, prove nothing.
            Ownership::NotYetReadable(_) | Ownership::Denied | Ownership::Untaggable => self.assume(),
        }
    }

    fn assume(&mut self) -> Standing {
        self.cautious = true;
        if self.options.assume_owner { Standing::Ours } else { Standing::Assumed }
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

    /// Why nothing may happen to something because of the function that it is attached to: tags are easily copied, so those
    /// of a mapping count only on a function of this team. One that no longer exists is no obstacle.
    fn barred_parent(&self, declared: &Declared) -> Option<String> {
        let (kind, name) = declared.host()?;
        let is_it = |it: &Declared| it.schema().kind == kind && it.id.name == name;
        let is_imported = |it: &Declared| it.imported && is_it(it);
        if self.spec.untouchable.contains(name) || self.spec.resources.iter().any(is_imported) {
            return Some(format!("the {kind} `{name}` that it is attached to is imported"));
        }
        let team = &self.spec.team;
        if !is_of_team(name, team) {
            return Some(format!("the {kind} `{name}` that it is attached to does not begin with `{team}`"));
        }
        let declared = self.spec.resources.iter().filter(|it| is_it(it));
        let declared = declared.filter_map(|it| self.inventory.live(&it.name));
        let orphaned = self.inventory.leftovers.iter().filter(|it| is_it(&it.declared));
        let owners = declared.chain(orphaned.filter_map(|it| it.found.live.as_ref())).map(|live| &live.owner);
        owners.chain(self.inventory.parents.get(&(kind, name.to_owned()))).find_map(|owner| match owner {
            Ownership::Engine(owner) if owner.team != *team => {
                Some(format!("the {kind} `{name}` that it is attached to belongs to {owner}"))
            }
            Ownership::CloudFormation(stack) => Some(format!(
                "the {kind} `{name}` that it is attached to belongs to the CloudFormation stack `{stack}`"
            )),
            _ => None,
        })
    }

    /// Whether it is about a function that is deleted: it would live on, and feed the next one of that name.
    fn feeds_what_goes(&self, declared: &Declared) -> bool {
        let goes = |row: &Change| row.kind == "function" && row.action == Action::Delete;
        identity_targets(declared).any(|name| self.rows.get(name).is_some_and(goes))
    }

    /// The first target of an identity property that is replaced.
    fn replaced_target(&self, declared: &Declared) -> Option<String> {
        let replaced = |name: &&str| self.rows.get(*name).is_some_and(|row| row.action == Action::Replace);
        identity_targets(declared).find(replaced).map(str::to_owned)
    }

    /// Why it can't be deleted, and what to do about that.
    fn kept(&self, declared: &Declared, found: Option<&Found>) -> Option<(String, String)> {
        let schema = declared.schema();
        if declared.lifecycle.protect {
            return Some(("`protect: true` keeps it from being deleted".to_owned(), UNPROTECT.to_owned()));
        }
        let live = found.and_then(|found| found.live.as_ref());
        if let Some(lock) = live.and_then(|live| schema.locked.and_then(|locked| locked(&live.props))) {
            return Some((lock.reason.to_owned(), lock.hint.to_owned()));
        }
        if self.options.delete_data || !schema.holds_data {
            return None;
        }
        let loss = match found.and_then(|found| found.contents).unwrap_or(Contents::Unchecked) {
            Contents::Empty => return None,
            Contents::Items(1) => "it is not empty: at least one item would be lost".to_owned(),
            Contents::Items(items) => {
                format!("it is not empty: about {items} items would be lost (AWS's count is some hours old)")
            }
            Contents::Unchecked => "its items would be lost, and whether it has any can't be looked at".to_owned(),
        };
        Some((loss, KEEP_DATA.to_owned()))
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

    fn finish(mut self, goal: Goal) -> Plan {
        let mut changes: Vec<Change> = Vec::new();
        for declared in &self.spec.resources {
            changes.extend(self.rows.remove(&declared.name));
        }
        self.leftovers(goal, &mut changes);
        let mut remarks = Vec::new();
        if self.cautious && !self.options.assume_owner {
            remarks.push(
                "some tags may not be read, so only the exact names of the spec are created or changed in place; \
                 nothing is adopted, replaced or deleted without --assume-owner"
                    .to_owned(),
            );
        }
        if !self.options.targets.is_empty() && goal != Goal::Released {
            remarks.push("only a part of the spec is looked at (--target); the rest may differ from AWS".to_owned());
        } else if let (Search::Partial(why), true) = (&self.inventory.search, goal != Goal::Released) {
            remarks.push(why.clone());
        }
        let steps = steps::steps(self.spec, self.inventory, &changes);
        Plan { changes, steps, remarks }
    }
}

fn same_stack(a: &Owner, b: &Owner) -> bool {
    (&a.team, &a.stack) == (&b.team, &b.stack)
}

fn blank(declared: &Declared) -> Change {
    Change {
        subject: Subject::Declared,
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
        partial: false,
        desired: Tree::new(),
        outputs: Outputs::new(),
    }
}

fn refused(row: Change, reason: String, hint: String) -> Change {
    Change { action: Action::Refused, reason: Some(reason), hint: Some(hint), asks: false, ..row }
}

/// A property that changes and can't be sent, with the ignored one that AWS wants along with it.
fn undeliverable(declared: &Declared, live: Option<&Live>, desired: &Tree) -> Option<(&'static str, &'static str)> {
    let ignored = &declared.lifecycle.ignore_changes;
    let live = live?;
    declared.schema().properties.iter().find_map(|property| {
        let other = property.sent_with.filter(|other| ignored.contains(*other))?;
        let differs = live.props.get(property.name).is_some_and(|have| desired.get(property.name) != Some(have));
        differs.then_some((property.name, other))
    })
}

/// What comes out of a resource that lives on: what it has, but for what its changes make AWS choose anew.
fn carry_outputs(row: &mut Change, schema: &Schema, live: &Live) {
    for output in &schema.outputs {
        let Origin::Assigned { until } = output.origin else { continue };
        let before = live.outputs.get(output.name);
        let renewed = row.properties.iter().any(|it| it.path.root().is_some_and(|root| until.contains(&root)));
        match before {
            Some(value) if !renewed => drop(row.outputs.insert(output.name.to_owned(), value.clone())),
            _ if renewed => {
                let hole = Hole::Output { resource: row.resource.clone(), attribute: output.name.to_owned() };
                let none_to_come = until.iter().all(|it| matches!(row.desired.get(*it), None | Some(Value::Null)));
                row.properties.push(PropertyChange {
                    path: Path::property(output.name),
                    before: before.cloned().map_or(Value::Null, Value::String),
                    after: if none_to_come { Value::Null } else { Value::Unknown(Template(vec![Part::Hole(hole)])) },
                    effect: Effect::InPlace,
                    sensitive: false,
                    usual: false,
                });
            }
            _ => {}
        }
    }
}

/// The resource that a property refers to, if it is nothing but that reference.
fn target<'d>(declared: &'d Declared, property: &str) -> Option<&'d str> {
    match declared.desired.get(property)? {
        Value::Unknown(template) => match template.sole_hole()? {
            Hole::Output { resource, .. } => Some(resource.as_str()),
            Hole::Account | Hole::Region => None,
        },
        _ => None,
    }
}

/// The resources that the identity properties refer to.
fn identity_targets(declared: &Declared) -> impl Iterator<Item = &str> {
    let identities = declared.schema().properties.iter().filter(|property| property.identity);
    identities.filter_map(|property| target(declared, property.name))
}
