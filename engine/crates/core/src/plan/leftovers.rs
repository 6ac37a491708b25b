//! Plans orphans: they are deleted if this stack owns them, or along with the function that they are
//! attached to.
//!
//! **Invariant:** nothing with another owner's tags is deleted here, and nothing untagged except what
//! is attached to a function of this stack.

use crate::inventory::Leftover;
use crate::ownership::{OwnershipVerdict, SKIPPED_UNTAGGED, UNPROVEN, UNPROVEN_HINT, UnreadableTags};
use crate::schema::{Condition, Naming, Ownership, is_of_team};
use crate::spec::Declared;

use super::{Action, Change, FEEDS_WHAT_GOES, Goal, Planner, Subject, blank, refused, steps};

impl Planner<'_> {
    /// The rows of the orphans.
    pub(super) fn leftovers(&self, goal: Goal, changes: &mut Vec<Change>) {
        let inventory = self.inventory;
        if inventory.leftovers.is_empty() {
            return;
        }
        let rows = inventory.leftovers.iter().enumerate();
        // Parents are decided first.
        let (inner, own): (Vec<_>, Vec<_>) =
            rows.partition(|(_, it)| !matches!(it.declared.schema().naming, Naming::Own { .. }));
        let settled: Vec<&Change> = changes.iter().collect();
        let mut found: Vec<Change> =
            own.into_iter().filter_map(|(at, it)| self.leftover(goal, at, it, &settled)).collect();
        let settled: Vec<&Change> = changes.iter().chain(&found).collect();
        let inner = inner.into_iter().filter_map(|(at, it)| self.leftover(goal, at, it, &settled));
        let inner: Vec<Change> = inner.collect();
        found.extend(inner);
        found.sort_by(|a, b| (&a.kind, &a.resource, &a.name).cmp(&(&b.kind, &b.resource, &b.name)));
        changes.append(&mut found);
    }

    /// The row of an orphan whose resource the spec declares under another name. It may have been created
    /// with another value of a variable, so it is deleted only on request.
    fn moved(&self, goal: Goal, row: Change, heir: &Declared) -> Change {
        let (name, now) = (&heir.name, &heir.id.name);
        let row = Change { remarks: Vec::new(), asks: false, ..row };
        if goal == Goal::Absent {
            let (team, stack, region) = (&self.spec.team, &self.spec.stack, &self.inventory.site.region);
            let reason = format!(
                "skipped: the spec declares `{name}` under the name `{now}`; to delete the whole stack, run \
                 `engine destroy --team {team} --stack {stack} --region {region}`"
            );
            return Change { action: Action::None, reason: Some(reason), hint: None, ..row };
        }
        let reason = format!(
            "the spec declares `{name}` under the name `{now}`; this one may have been created with another value of a \
             variable"
        );
        let hint = format!(
            "to delete it, add `--replace {name}`; to keep it as `{name}`, set its `name:` in the spec; to keep both, use a \
             separate spec with its own `stack:` for each"
        );
        refused(row, reason, hint)
    }

    /// Whether a resource in AWS has this declaration's tags but another name than in the spec.
    pub(super) fn has_former(&self, declared: &Declared) -> bool {
        self.inventory.leftovers.iter().any(|it| self.is_former(it, declared))
    }

    /// Whether `leftover` has the tags of `heir`.
    fn is_former(&self, leftover: &Leftover, heir: &Declared) -> bool {
        let owner = leftover.found.live.as_ref().map(|live| &live.owner);
        matches!(heir.schema().naming, Naming::Own { .. })
            && !heir.imported
            && leftover.declared.schema().kind == heir.schema().kind
            && owner.is_some_and(|it| OwnershipVerdict::of(it, None, &heir.id.owner) == OwnershipVerdict::Owned)
    }

    fn leftover(&self, goal: Goal, at: usize, leftover: &Leftover, rows: &[&Change]) -> Option<Change> {
        let Leftover { declared, found, instead } = leftover;
        let live = found.live.as_ref().filter(|live| live.condition != Condition::Leaving)?;
        let row = Change { subject: Subject::Leftover(at), ..blank(declared) };
        if goal == Goal::Released {
            return self.options.targets.contains(&declared.name).then(|| self.hand_over(row, declared, live));
        }
        // With `--target`, only what is attached to a deleted resource counts as an orphan.
        let is_part = !self.options.targets.is_empty();
        if is_part && matches!(declared.schema().naming, Naming::Own { .. }) {
            return None;
        }
        let team = &self.spec.team;
        let named_ours = |name: &str| is_of_team(name, team);
        let claimed = OwnershipVerdict::of(&live.owner, None, &declared.id.owner).is_ours();
        if matches!(declared.schema().naming, Naming::Own { .. }) && !named_ours(&row.name) {
            // Tags are easily copied, and engine never writes outside the team's prefix.
            let reason = format!("skipped: it has this stack's tags, but its name doesn't begin with `{team}`");
            return claimed.then_some(Change { reason: Some(reason), ..row });
        }
        if let Some(why) = self.barred_parent(declared) {
            let reason = format!("not deleted: it has this stack's tags, but {why}");
            return claimed.then_some(Change { reason: Some(reason), ..row });
        }
        let gone = |why: Option<&str>| {
            let mut row = self.gone(row.clone(), declared, Some(found), why.map(str::to_owned));
            if instead.is_some() {
                // The other one does the same work, so nothing is lost.
                row.remarks.clear();
            }
            Some(row)
        };
        let parent = declared.schema().parent().map(|property| &*property.name);
        let container = steps::hangs_on(&self.spec.kinds, declared, live)
            .into_iter()
            .find(|(property, ..)| Some(*property) == parent);
        let container = container.and_then(|(_, kind, name)| rows.iter().find(|it| it.kind == kind && it.name == name));
        let dies = container.is_some_and(|row| row.action == Action::Delete);
        let is_remade = container.is_some_and(|row| row.action == Action::Replace);
        let parent = container.filter(|row| named_ours(&row.name)).and_then(|row| row.live(self.inventory));
        let verdict = OwnershipVerdict::of(&live.owner, parent.map(|live| &live.owner), &declared.id.owner);
        let is_inherited = live.owner == Ownership::Inherited;
        if is_part && !(dies || is_remade && !is_inherited && verdict.other_owner().is_some()) {
            return None;
        }
        // Without a spec, "no longer in the spec" has no meaning.
        let heir = self.spec.resource(&declared.name).filter(|it| it.schema().kind == row.kind);
        let moved = heir.map(|heir| format!("the spec now declares `{}` as another resource", heir.name));
        let left = moved.as_deref().or(Some("it is no longer in the spec"));
        let left = left.filter(|_| !self.spec.file.name().is_empty());
        let duplicate = instead.as_ref().map(|name| format!("it duplicates `{name}`"));
        let may_assume = self.options.assume_owner;
        match verdict {
            // Its parent decides.
            verdict if is_inherited => verdict.is_ours().then(|| gone(left)).flatten(),
            OwnershipVerdict::Unknown(UnreadableTags::NotYet(_)) => {
                Some(Change { reason: live.undecided(), undecided: true, ..row })
            }
            OwnershipVerdict::Owned | OwnershipVerdict::Renamed(_) => {
                let mut row = gone(duplicate.as_deref().or(left))?;
                if let Some(heir) = heir.filter(|heir| self.is_former(leftover, heir))
                    && row.action != Action::Release
                    && !self.options.replace.contains(&heir.name)
                {
                    return Some(self.moved(goal, row, heir));
                }
                // A renamed resource gets a new name in AWS, unless the spec sets `name:`.
                let is_named = matches!(declared.schema().naming, Naming::Own { .. }) && heir.is_none();
                let is_new = |it: &&&Change| it.kind == row.kind && it.action == Action::Create;
                if let Some(heir) = rows.iter().find(is_new).filter(|_| is_named) {
                    let (heir, name) = (&heir.resource, &row.name);
                    let stays = format!("if you renamed it to `{heir}`, add `name: {name}` to `{heir}` to keep it");
                    // The option that loses nothing comes first.
                    match row.hint.as_mut().filter(|_| row.action == Action::Refused) {
                        Some(hint) => *hint = format!("{stays}; otherwise {hint}"),
                        None => row.remarks.push(stays),
                    }
                }
                Some(row)
            }
            OwnershipVerdict::Unknown(UnreadableTags::Denied) if dies && !may_assume => {
                let reason = format!("{FEEDS_WHAT_GOES}, but {UNPROVEN}");
                Some(refused(row, reason, UNPROVEN_HINT.to_owned()))
            }
            OwnershipVerdict::Free | OwnershipVerdict::Unknown(_) if dies => gone(Some(FEEDS_WHAT_GOES)),
            // The tag index returned it.
            OwnershipVerdict::Unknown(UnreadableTags::Denied) if !declared.id.owner.resource.is_empty() => {
                match may_assume {
                    true => gone(left),
                    false => {
                        let reason = "skipped: the tag index lists it for this stack, but you lack permission to read its \
                                  tags; to trust the index, add `--assume-owner`";
                        Some(Change { reason: Some(reason.to_owned()), ..row })
                    }
                }
            }
            OwnershipVerdict::Free if duplicate.is_some() => gone(duplicate.as_deref()),
            OwnershipVerdict::OtherStack(_) | OwnershipVerdict::Foreign(_) if dies || is_remade => {
                let end = if dies { "will be destroyed" } else { "must be replaced" };
                let owner = verdict.other_owner()?;
                let reason = format!("it belongs to {owner}, but the function that it invokes {end}");
                Some(refused(row, reason, "ask its owner to delete it first".to_owned()))
            }
            OwnershipVerdict::Free
                if goal == Goal::Absent
                    && instead.is_none()
                    && matches!(declared.schema().naming, Naming::Own { .. }) =>
            {
                Some(Change { reason: Some(SKIPPED_UNTAGGED.to_owned()), ..row })
            }
            _ => None,
        }
    }
}
