//! Plans orphans: they are deleted if this stack owns them, or along with the function that they
//! are attached to.
//!
//! **Invariant:** nothing with another owner's tags is deleted here, and nothing untagged except
//! what is attached to a function of this stack.

use crate::inventory::Orphan;
use crate::ownership::{OwnershipVerdict, SKIPPED_UNTAGGED, UNPROVEN, UnreadableTags, how_to_prove};
use crate::remedy::{Advice, Remedy};
use crate::schema::{Identity, Live, Ownership, Status};
use crate::spec::ResourceDecl;

use super::{Action, Change, FEEDS_DELETED, Goal, Planner, Subject, noop, refused, steps, unread};

impl Planner<'_> {
    /// The rows of the orphans.
    pub(super) fn orphans(&self, goal: Goal, changes: &mut Vec<Change>) {
        let inventory = self.inventory;
        if inventory.orphans.is_empty() {
            return;
        }
        let rows = inventory.orphans.iter().enumerate();
        // Parents are decided first.
        let (inner, own): (Vec<_>, Vec<_>) =
            rows.partition(|(_, it)| !matches!(it.declared.schema().identity, Identity::Named { .. }));
        let decided: Vec<&Change> = changes.iter().collect();
        let mut found: Vec<Change> =
            own.into_iter().filter_map(|(at, it)| self.orphan(goal, at, it, &decided)).collect();
        let decided: Vec<&Change> = changes.iter().chain(&found).collect();
        let inner = inner.into_iter().filter_map(|(at, it)| self.orphan(goal, at, it, &decided));
        let inner: Vec<Change> = inner.collect();
        found.extend(inner);
        found.sort_by(|a, b| (&a.kind, &a.resource, &a.name).cmp(&(&b.kind, &b.resource, &b.name)));
        changes.append(&mut found);
    }

    /// The row of an orphan whose resource the spec declares under another name. It may have been
    /// created with another value of a variable, so it is deleted only on request.
    fn renamed(&self, goal: Goal, row: Change, successor: &ResourceDecl) -> Change {
        let (name, now) = (&successor.name, &successor.id.name);
        let row = Change { remarks: Vec::new(), needs_approval: false, ..row };
        if goal == Goal::Absent {
            let destroy = Remedy::DestroyStack {
                team: self.spec.team.clone(),
                stack: self.spec.stack.clone(),
                region: self.inventory.env.region.clone(),
            };
            let skipped =
                format!("skipped: the spec declares `{name}` under the name `{now}`; to delete the whole stack, ");
            let reason = Some(Advice::from(skipped).then(destroy));
            return Change { action: Action::None, reason, hint: None, ..row };
        }
        let reason = format!(
            "the spec declares `{name}` under the name `{now}`; this one may have been created with another value of a \
             variable"
        );
        let keep = format!(
            "; to keep it as `{name}`, set its `name:` in the spec; to keep both, use a separate spec with its own `stack:` \
             for each"
        );
        let hint = Advice::from("to delete it, ").then(Remedy::Replace(name.clone())).then(keep);
        refused(row, reason, hint)
    }

    /// Whether a resource in AWS has this declaration's tags but another name than in the spec.
    pub(super) fn has_former(&self, declared: &ResourceDecl) -> bool {
        self.inventory.orphans.iter().any(|it| self.is_former(it, declared))
    }

    /// Whether `orphan` has the tags of `successor`.
    fn is_former(&self, orphan: &Orphan, successor: &ResourceDecl) -> bool {
        let owner = orphan.found.live.as_ref().map(|live| &live.owner);
        matches!(successor.schema().identity, Identity::Named { .. })
            && !successor.imported
            && orphan.declared.schema().kind == successor.schema().kind
            && owner.is_some_and(|it| OwnershipVerdict::of(it, None, &successor.id.owner) == OwnershipVerdict::Owned)
    }

    fn orphan(&self, goal: Goal, at: usize, orphan: &Orphan, rows: &[&Change]) -> Option<Change> {
        let Orphan { declared, found, .. } = orphan;
        let live = found.live.as_ref().filter(|live| live.status != Status::Deleting)?;
        let row = Change { subject: Subject::Orphan(at), ..noop(declared) };
        if goal == Goal::Unmanaged {
            return self.options.targets.contains(&declared.name).then(|| self.plan_forget(row, declared, live));
        }
        // With `--target`, only what is attached to a deleted resource counts as an orphan.
        let is_part = !self.options.targets.is_empty();
        if is_part && matches!(declared.schema().identity, Identity::Named { .. }) {
            return None;
        }
        if let Some(reason) = self.out_of_reach(declared) {
            let claimed = OwnershipVerdict::of(&live.owner, None, &declared.id.owner).is_this_stack();
            return claimed.then_some(Change { reason: Some(reason.into()), ..row });
        }
        let parent = self.parent_of(declared, live, rows);
        let verdict = OwnershipVerdict::of(&live.owner, parent.owner, &declared.id.owner);
        let is_in_the_way = parent.is_replaced && live.owner != Ownership::Inherited && verdict.other_owner().is_some();
        if is_part && !(parent.is_deleted || is_in_the_way) {
            return None;
        }
        self.by_verdict(row, &OrphanRow { goal, source: orphan, live, rows, parent, verdict })
    }

    /// Why an orphan must not be deleted, regardless of the owner in its tags.
    fn out_of_reach(&self, declared: &ResourceDecl) -> Option<String> {
        let schema = declared.schema();
        let form = schema.arn.as_ref();
        if matches!(schema.identity, Identity::Named { .. }) && !self.spec.names().includes(form, &declared.id.name) {
            // Tags are easily copied, and engine never writes what has neither the team's prefix nor
            // a name in `owns`.
            let why = self.name_violation(schema);
            let listing =
                if schema.can_be_listed(&declared.id.name) { "; to delete it, add its name to `owns`" } else { "" };
            return Some(format!("skipped: it has this stack's tags, but its name {why}{listing}"));
        }
        if let Some(why) = unread::may_be_imported(self.spec, declared) {
            return Some(why);
        }
        let why = self.barred_parent(declared)?;
        let reason = format!("not deleted: it has this stack's tags, but {why}");
        Some(match self.delete_cmd(declared, declared.id.unique_id.as_ref().unwrap_or(&declared.id.name)) {
            Some(command) => format!("{reason}; to delete it, run `{command}`"),
            None => reason,
        })
    }

    /// The command that deletes a resource with this ID which is attached to an imported one.
    pub(super) fn delete_cmd(&self, declared: &ResourceDecl, id: &str) -> Option<String> {
        let command = &declared.schema().parent()?.imported_parent.as_ref()?.delete_cmd;
        let (kind, name) = declared.parent()?;
        let is_it = |it: &&ResourceDecl| it.imported && it.schema().kind == kind && it.id.name == name;
        self.spec.resources.iter().find(is_it)?;
        Some(command.replace("{region}", &self.inventory.env.region).replace("{}", id))
    }

    /// What the plan does with the parent of an orphan.
    fn parent_of<'p>(&self, declared: &ResourceDecl, live: &Live, rows: &[&'p Change]) -> OrphanParent<'p>
    where
        Self: 'p,
    {
        let property = declared.schema().parent().map(|property| &*property.name);
        let row = steps::attachments(&self.spec.kinds, declared, live)
            .into_iter()
            .find(|(name, ..)| Some(*name) == property)
            .and_then(|(_, kind, name)| rows.iter().copied().find(|it| it.kind == kind && it.name == name));
        let live =
            row.filter(|row| self.spec.can_have_name(&row.kind, &row.name)).and_then(|row| row.live(self.inventory));
        OrphanParent {
            is_deleted: row.is_some_and(|row| row.action == Action::Delete),
            is_replaced: row.is_some_and(|row| row.action == Action::Replace),
            owner: live.map(|live| &live.owner),
        }
    }

    /// The row of an orphan by its owner.
    fn by_verdict(&self, row: Change, orphan: &OrphanRow<'_>) -> Option<Change> {
        let OrphanRow { goal, source: Orphan { declared, instead, .. }, live, ref parent, verdict, .. } = *orphan;
        match verdict {
            // Its parent decides.
            verdict if live.owner == Ownership::Inherited => {
                verdict.is_this_stack().then(|| self.orphan_delete(row, orphan, self.orphaned_because(declared)))
            }
            OwnershipVerdict::Unknown(UnreadableTags::NotYet(_)) => {
                Some(Change { reason: live.pending().map(Advice::from), pending: true, ..row })
            }
            OwnershipVerdict::Owned | OwnershipVerdict::Renamed(_) => Some(self.owned_orphan(row, orphan)),
            OwnershipVerdict::Unknown(UnreadableTags::Denied) if parent.is_deleted && !self.options.assume_owner => {
                let reason = format!("{FEEDS_DELETED}, but {UNPROVEN}");
                Some(refused(row, reason, how_to_prove()))
            }
            OwnershipVerdict::Free | OwnershipVerdict::Unknown(_) if parent.is_deleted => {
                Some(self.orphan_delete(row, orphan, Some(FEEDS_DELETED.to_owned())))
            }
            // The tag index returned it.
            OwnershipVerdict::Unknown(UnreadableTags::Denied) if !declared.id.owner.resource.is_empty() => {
                if self.assumes_owner(declared) {
                    return Some(self.orphan_delete(row, orphan, self.orphaned_because(declared)));
                }
                let reason =
                    "skipped: `tag:GetResources` lists it for this stack, but you lack permission to read its tags";
                let reason = match self.spec.is_listed(declared) {
                    true => Advice::from(reason),
                    false => Advice::from(format!("{reason}; to trust that list, ")).then(Remedy::AssumeOwner),
                };
                Some(Change { reason: Some(reason), ..row })
            }
            OwnershipVerdict::Free if instead.is_some() => Some(self.orphan_delete(row, orphan, duplicates(instead))),
            OwnershipVerdict::OtherStack(_) | OwnershipVerdict::OutsideTeam(_)
                if parent.is_deleted || parent.is_replaced =>
            {
                let end = if parent.is_deleted { "will be destroyed" } else { "must be replaced" };
                let owner = verdict.other_owner()?;
                let reason = format!("it belongs to {owner}, but the function that it invokes {end}");
                Some(refused(row, reason, "ask its owner to delete it first".to_owned()))
            }
            OwnershipVerdict::Free
                if goal == Goal::Absent && matches!(declared.schema().identity, Identity::Named { .. }) =>
            {
                Some(Change { reason: Some(SKIPPED_UNTAGGED.into()), ..row })
            }
            _ => None,
        }
    }

    /// The row of an orphan that this stack owns.
    fn owned_orphan(&self, row: Change, orphan: &OrphanRow<'_>) -> Change {
        let Orphan { declared, instead, .. } = orphan.source;
        let mut row = self.orphan_delete(row, orphan, duplicates(instead).or_else(|| self.orphaned_because(declared)));
        let successor = self.successor(declared);
        if let Some(successor) = successor.filter(|successor| self.is_former(orphan.source, successor))
            && row.action != Action::Forget
            && !self.options.replace.contains(&successor.name)
            && !differs_in_suffix(&row.name, successor)
        {
            return self.renamed(orphan.goal, row, successor);
        }
        // A renamed resource gets a new name in AWS, unless the spec sets `name:`.
        let is_named = matches!(declared.schema().identity, Identity::Named { .. }) && successor.is_none();
        let is_new = |it: &&&Change| it.kind == row.kind && it.action == Action::Create;
        if let Some(successor) = orphan.rows.iter().find(is_new).filter(|_| is_named) {
            let (successor, name) = (&successor.resource, &row.name);
            let stays = format!("if you renamed it to `{successor}`, add `name: {name}` to `{successor}` to keep it");
            // The option that loses nothing comes first.
            match row.hint.as_mut().filter(|_| row.action == Action::Refused) {
                Some(hint) => *hint = Advice::from(format!("{stays}; otherwise ")).then(std::mem::take(hint)),
                None => row.remarks.push(stays),
            }
        }
        row
    }

    /// The row of an orphan that has to be deleted.
    fn orphan_delete(&self, row: Change, orphan: &OrphanRow<'_>, reason: Option<String>) -> Change {
        let Orphan { declared, found, instead } = orphan.source;
        let mut row = self.plan_delete(row, declared, Some(found), reason.map(Advice::from));
        if instead.is_some() {
            // The successor replaces it, so deleting it loses nothing.
            row.remarks.clear();
        }
        row
    }

    /// The declaration that has an orphan's name in the spec.
    fn successor(&self, orphan: &ResourceDecl) -> Option<&ResourceDecl> {
        self.spec.resource(&orphan.name).filter(|it| it.schema().kind == orphan.schema().kind)
    }

    /// Why a resource is an orphan. Without a spec, "no longer in the spec" has no meaning.
    fn orphaned_because(&self, orphan: &ResourceDecl) -> Option<String> {
        let has_spec = !self.spec.file.name().is_empty();
        has_spec.then(|| match (self.successor(orphan), self.spec.absent.get(&orphan.name)) {
            (Some(successor), _) => format!("the spec now declares `{}` as another resource", successor.name),
            (None, Some(reason)) => format!("it is left out: {reason}"),
            (None, None) if self.spec.instances.contains_key(&orphan.name) => {
                format!("the spec now declares `{}` with `for_each`", orphan.name)
            }
            (None, None) => {
                let removed = "it is no longer in the spec";
                let parent = || orphan.parent().and_then(|(kind, name)| self.orphaned(kind, name));
                let cause = self.missing_key(orphan).or_else(|| self.missing_key(parent()?));
                cause.map_or_else(|| removed.to_owned(), |cause| format!("{removed}; {cause}"))
            }
        })
    }

    /// The orphan with this kind and name in AWS.
    fn orphaned(&self, kind: &str, name: &str) -> Option<&ResourceDecl> {
        let mut orphans = self.inventory.orphans.iter().map(|it| &it.declared);
        orphans.find(|it| it.schema().kind == kind && it.id.name == name)
    }

    /// What a repeated resource lacks for its instances to include an orphan, whose name alone
    /// doesn't prove that it ever was one.
    fn missing_key(&self, orphan: &ResourceDecl) -> Option<String> {
        let key = |group: &str| orphan.name.strip_prefix(group)?.strip_prefix('-').filter(|key| !key.is_empty());
        let kind = |instance: &String| self.spec.resource(instance).map(|it| &it.schema().kind);
        let fits = |instances: &[String]| {
            !instances.contains(&orphan.name)
                && instances.first().and_then(kind).is_none_or(|kind| *kind == orphan.schema().kind)
        };
        let groups = self.spec.instances.iter().filter(|(_, instances)| fits(instances));
        let groups = groups.filter_map(|(group, _)| Some((group, key(group)?)));
        let (group, key) = groups.max_by_key(|(group, _)| group.len())?;
        Some(match self.spec.absent.get(group) {
            Some(reason) => format!("`{group}` is left out: {reason}"),
            None => format!("`for_each` of `{group}` doesn't have the key `{key}`"),
        })
    }
}

/// Whether a name differs from a declaration's only in the suffix that a property requires, so that
/// a change of that property created the other name.
fn differs_in_suffix(name: &str, successor: &ResourceDecl) -> bool {
    let mut suffixes = successor.schema().properties.iter().filter_map(|property| property.name_suffix.as_deref());
    let stem = |name: &str, suffix: &str| name.strip_suffix(suffix).unwrap_or(name).to_owned();
    suffixes.any(|suffix| stem(name, suffix) == stem(&successor.id.name, suffix))
}

/// An orphan with what decides about it.
struct OrphanRow<'o> {
    goal: Goal,
    source: &'o Orphan,
    live: &'o Live,
    /// The rows that are already decided.
    rows: &'o [&'o Change],
    parent: OrphanParent<'o>,
    verdict: OwnershipVerdict<'o>,
}

/// The resource that an orphan is attached to.
struct OrphanParent<'p> {
    is_deleted: bool,
    is_replaced: bool,
    /// Its owner, if it exists and has the team's prefix.
    owner: Option<&'p Ownership>,
}

fn duplicates(other: &Option<String>) -> Option<String> {
    other.as_ref().map(|name| format!("it duplicates `{name}`"))
}
