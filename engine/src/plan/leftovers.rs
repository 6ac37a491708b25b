//! What becomes of what no declaration means: it goes if it is ours, or if what it hangs on goes.
//!
//! **Invariant:** nothing that bears another owner's tags is ever deleted here, and nothing untagged but what hangs on a
//! function of ours.

use crate::inventory::Leftover;
use crate::schema::{Condition, Naming, Owner, Ownership, is_of_team};
use crate::spec::Declared;

use super::{Action, Change, FEEDS_WHAT_GOES, Goal, MAY_NOT_READ, Planner, Subject, blank, refused, steps};

impl Planner<'_> {
    /// The rows of what no declaration means.
    pub(super) fn leftovers(&self, goal: Goal, changes: &mut Vec<Change>) {
        let inventory = self.inventory;
        if inventory.leftovers.is_empty() {
            return;
        }
        let rows = inventory.leftovers.iter().enumerate();
        // What something else lives in or hangs on is decided first.
        let (inner, own): (Vec<_>, Vec<_>) =
            rows.partition(|(_, it)| !matches!(it.declared.schema().naming, Naming::Own { .. }));
        let settled: Vec<&Change> = changes.iter().collect();
        let mut found: Vec<Change> =
            own.into_iter().filter_map(|(at, it)| self.leftover(goal, at, it, &settled)).collect();
        let settled: Vec<&Change> = changes.iter().chain(&found).collect();
        let inner = inner.into_iter().filter_map(|(at, it)| self.leftover(goal, at, it, &settled));
        let inner: Vec<Change> = inner.collect();
        found.extend(inner);
        found.sort_by(|a, b| (a.kind, &a.resource, &a.name).cmp(&(b.kind, &b.resource, &b.name)));
        changes.append(&mut found);
    }

    /// The row of an orphan whose resource the spec declares under another name. Another value of a variable may have created
    /// it, so it is deleted only on request.
    fn moved(&self, goal: Goal, row: Change, heir: &Declared) -> Change {
        let (name, now) = (&heir.name, &heir.id.name);
        let row = Change { remarks: Vec::new(), asks: false, ..row };
        if goal == Goal::Absent {
            let (team, stack, region) = (&self.spec.team, &self.spec.stack, &self.inventory.site.region);
            let reason = format!(
                "left alone: the spec now has `{name}` under the name `{now}`; \
                 `engine destroy --team {team} --stack {stack} --region {region}` deletes all of the stack"
            );
            return Change { action: Action::None, reason: Some(reason), hint: None, ..row };
        }
        let reason = format!(
            "`{name}` is still in the spec under the name `{now}`, and another value of a variable may have created this one"
        );
        let hint = format!(
            "to delete it, add `--replace {name}`; to keep it as `{name}`, give it that `name:` again; to keep both, use a spec \
             for each with a `stack:` of its own"
        );
        refused(row, reason, hint)
    }

    /// Whether something in AWS has the tags of this declaration and another name than the spec gives it.
    pub(super) fn has_former(&self, declared: &Declared) -> bool {
        self.inventory.leftovers.iter().any(|it| self.is_former(it, declared))
    }

    /// Whether `leftover` has the tags of `heir`.
    fn is_former(&self, leftover: &Leftover, heir: &Declared) -> bool {
        let owner = leftover.found.live.as_ref().map(|live| &live.owner);
        matches!(heir.schema().naming, Naming::Own { .. })
            && !heir.imported
            && leftover.declared.schema().kind == heir.schema().kind
            && matches!(owner, Some(Ownership::Engine(owner)) if *owner == heir.id.owner)
    }

    fn leftover(&self, goal: Goal, at: usize, leftover: &Leftover, rows: &[&Change]) -> Option<Change> {
        let Leftover { declared, found, instead } = leftover;
        let live = found.live.as_ref().filter(|live| live.condition != Condition::Leaving)?;
        let row = Change { subject: Subject::Leftover(at), ..blank(declared) };
        if goal == Goal::Released {
            return self.options.targets.contains(&declared.name).then(|| self.hand_over(row, declared, live));
        }
        // Of a part of the spec nobody can say what is left over, but what hangs on what goes.
        let is_part = !self.options.targets.is_empty();
        if is_part && matches!(declared.schema().naming, Naming::Own { .. }) {
            return None;
        }
        let us = (self.spec.team.as_str(), self.spec.stack.as_str());
        let is_ours = |owner: &Owner| (owner.team.as_str(), owner.stack.as_str()) == us;
        let named_ours = |name: &str| is_of_team(name, us.0);
        if matches!(declared.schema().naming, Naming::Own { .. }) && !named_ours(&row.name) {
            // Tags are easily copied, and nothing outside the team's prefix is ever written to.
            let claimed = matches!(&live.owner, Ownership::Engine(owner) if is_ours(owner));
            let reason = format!("left alone: it bears our tags, but its name does not begin with `{}`", us.0);
            return claimed.then_some(Change { reason: Some(reason), ..row });
        }
        if let Some(why) = self.barred_parent(declared) {
            let claimed = matches!(&live.owner, Ownership::Engine(owner) if is_ours(owner));
            let reason = format!("not deleted: it has this stack's tags, but {why}");
            return claimed.then_some(Change { reason: Some(reason), ..row });
        }
        let gone = |why: Option<&str>| {
            let mut row = self.gone(row.clone(), declared, Some(found), why.map(str::to_owned));
            if instead.is_some() {
                // The other one goes on, so nobody misses this one.
                row.remarks.clear();
            }
            Some(row)
        };
        let container = steps::hangs_on(declared, live).into_iter().find(|(_, kind, _)| *kind == "function");
        let container = container.and_then(|(_, kind, name)| rows.iter().find(|it| it.kind == kind && it.name == name));
        let dies = container.is_some_and(|row| row.action == Action::Delete);
        let is_remade = container.is_some_and(|row| row.action == Action::Replace);
        let is_anothers = match &live.owner {
            Ownership::Engine(owner) => !is_ours(owner),
            Ownership::CloudFormation(_) => true,
            _ => false,
        };
        if is_part && !(dies || is_remade && is_anothers) {
            return None;
        }
        // Without a spec there is nothing that it could have left.
        let heir = self.spec.resource(&declared.name).filter(|it| it.schema().kind == row.kind);
        let moved = heir.map(|heir| format!("`{}` is another one now, by what the spec says of it", heir.name));
        let left = moved.as_deref().or(Some("it is no longer in the spec"));
        let left = left.filter(|_| !self.spec.file.name().is_empty());
        let duplicate = instead.as_ref().map(|name| format!("`{name}` is another one that connects the same"));
        match &live.owner {
            Ownership::NotYetReadable(reason) => {
                let reason = Some(format!("it can't be told yet whose it is: {reason}"));
                Some(Change { reason, undecided: true, ..row })
            }
            Ownership::Engine(owner) if is_ours(owner) => {
                let mut row = gone(duplicate.as_deref().or(left))?;
                if let Some(heir) = heir.filter(|heir| self.is_former(leftover, heir))
                    && row.action != Action::Release
                    && !self.options.replace.contains(&heir.name)
                {
                    return Some(self.moved(goal, row, heir));
                }
                // Another name in the spec is another one in AWS, unless that is written.
                let is_named = matches!(declared.schema().naming, Naming::Own { .. }) && heir.is_none();
                let is_new = |it: &&&Change| it.kind == row.kind && it.action == Action::Create;
                if let Some(heir) = rows.iter().find(is_new).filter(|_| is_named) {
                    let (heir, name) = (&heir.resource, &row.name);
                    let stays = format!("if it is called `{heir}` now, write `name: {name}` there, and it stays");
                    // The way that loses nothing comes first.
                    match row.hint.as_mut().filter(|_| row.action == Action::Refused) {
                        Some(hint) => *hint = format!("{stays}; otherwise {hint}"),
                        None => row.remarks.push(stays),
                    }
                }
                Some(row)
            }
            Ownership::Inherited => {
                let container = container.filter(|row| named_ours(&row.name));
                let owner = container.and_then(|row| row.live(self.inventory)).map(|live| &live.owner);
                let ours = matches!(owner, Some(Ownership::Engine(owner)) if is_ours(owner));
                if ours { gone(left) } else { None }
            }
            Ownership::Denied if dies && !self.options.assume_owner => {
                let reason = "the function that it feeds would go, but its tags may not be read".to_owned();
                Some(refused(row, reason, MAY_NOT_READ.to_owned()))
            }
            Ownership::Nobody | Ownership::Untaggable | Ownership::Denied if dies => gone(Some(FEEDS_WHAT_GOES)),
            // The tag index has named it.
            Ownership::Denied if !declared.id.owner.resource.is_empty() => match self.options.assume_owner {
                true => gone(left),
                false => {
                    let reason = "left alone: the tag index says that it is ours, but its tags may not be read; \
                                  --assume-owner believes the index";
                    Some(Change { reason: Some(reason.to_owned()), ..row })
                }
            },
            Ownership::Nobody if duplicate.is_some() => gone(duplicate.as_deref()),
            Ownership::Engine(_) | Ownership::CloudFormation(_) if dies || is_remade => {
                let whose = match &live.owner {
                    Ownership::CloudFormation(stack) => format!("the CloudFormation stack `{stack}`"),
                    Ownership::Engine(owner) => owner.to_string(),
                    _ => String::new(),
                };
                let end = if dies { "would go" } else { "would be made anew" };
                let reason = format!("it belongs to {whose}, and the function that it feeds {end}");
                Some(refused(row, reason, "its owner has to delete it first".to_owned()))
            }
            Ownership::Nobody
                if goal == Goal::Absent
                    && instead.is_none()
                    && matches!(declared.schema().naming, Naming::Own { .. }) =>
            {
                Some(Change { reason: Some("left alone: it bears no tags of the engine".to_owned()), ..row })
            }
            _ => None,
        }
    }
}
