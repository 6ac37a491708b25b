//! Who owns a resource from the point of view of a stack, and the texts about it.
//!
//! A read shows an [`Ownership`]. What follows from it is an [`OwnershipVerdict`], which plan,
//! orphans, guard, reads and kinds share.
//!
//! **Invariant:** only tags that name the team and the stack prove ownership, and no option overrides another
//! owner.

use std::fmt;

use crate::remedy::{Advice, Remedy};
use crate::schema::{Owner, Ownership};

/// Who owns a resource, as one declaration or orphan of a stack sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnershipVerdict<'o> {
    /// This stack, under the same resource name.
    Owned,
    /// This stack, under another resource name.
    Renamed(&'o Owner),
    /// Another stack of the same team.
    OtherStack(&'o Owner),
    /// Another team or tool.
    OutsideTeam(OtherOwner<'o>),
    /// It has no owner.
    Free,
    /// Its tags can't be read.
    Unknown(UnreadableTags<'o>),
}

/// The owner of a resource that this stack doesn't own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtherOwner<'o> {
    /// A stack of engine.
    Engine(&'o Owner),
    /// A stack of engine in this other region.
    OtherRegion(&'o Owner, &'o str),
    /// A CloudFormation stack.
    CloudFormation(&'o str),
}

/// Why tags can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnreadableTags<'o> {
    /// Not yet, for this reason.
    NotYet(&'o str),
    /// No permission to read them.
    Denied,
    /// AWS doesn't support tags for this resource type here.
    Unsupported,
}

/// Follows the name of what can't be proved to be owned.
pub const UNPROVEN: &str = "you lack permission to read its tags, so engine can't confirm that this stack owns it";
/// Why a resource without an owner is not deleted.
pub const SKIPPED_UNTAGGED: &str = "skipped: it has no engine tags";

/// The only proof that this stack owns something whose name doesn't have the team's prefix.
pub const READ_TAGS: &str = "get permission to read its tags";

/// How to prove that this stack owns something whose tags can't be read.
pub fn how_to_prove() -> Advice {
    Advice::from(format!("{READ_TAGS}, or ")).then(Remedy::AssumeOwner)
}

impl fmt::Display for OtherOwner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OtherOwner::Engine(owner) => owner.fmt(f),
            OtherOwner::OtherRegion(owner, region) => write!(f, "{owner} in {region}"),
            OtherOwner::CloudFormation(stack) => write!(f, "the CloudFormation stack `{stack}`"),
        }
    }
}

impl<'o> OwnershipVerdict<'o> {
    /// The verdict of `us` on a resource with this owner. `parent` is the owner of its parent, if
    /// the parent exists; it decides about a resource that inherits its owner, whose name starts
    /// with the team's.
    pub fn of(owner: &'o Ownership, parent: Option<&'o Ownership>, us: &Owner) -> OwnershipVerdict<'o> {
        match owner {
            Ownership::Engine(owner) if owner == us => OwnershipVerdict::Owned,
            Ownership::Engine(owner) if (&owner.team, &owner.stack) == (&us.team, &us.stack) => {
                OwnershipVerdict::Renamed(owner)
            }
            Ownership::Engine(owner) if owner.team == us.team => OwnershipVerdict::OtherStack(owner),
            Ownership::Engine(owner) => OwnershipVerdict::OutsideTeam(OtherOwner::Engine(owner)),
            Ownership::OtherRegion(owner, region) => {
                OwnershipVerdict::OutsideTeam(OtherOwner::OtherRegion(owner, region))
            }
            Ownership::CloudFormation(stack) => OwnershipVerdict::OutsideTeam(OtherOwner::CloudFormation(stack)),
            Ownership::Unowned => OwnershipVerdict::Free,
            Ownership::Inherited => OwnershipVerdict::inherited(parent, us),
            Ownership::NotYetReadable(reason) => OwnershipVerdict::Unknown(UnreadableTags::NotYet(reason)),
            Ownership::Denied => OwnershipVerdict::Unknown(UnreadableTags::Denied),
            Ownership::Untaggable => OwnershipVerdict::Unknown(UnreadableTags::Unsupported),
        }
    }

    fn inherited(parent: Option<&'o Ownership>, us: &Owner) -> OwnershipVerdict<'o> {
        match parent.map(|parent| OwnershipVerdict::of(parent, None, us)) {
            Some(OwnershipVerdict::Owned | OwnershipVerdict::Renamed(_)) => OwnershipVerdict::Owned,
            Some(verdict @ (OwnershipVerdict::OtherStack(_) | OwnershipVerdict::OutsideTeam(_))) => verdict,
            Some(verdict @ OwnershipVerdict::Unknown(UnreadableTags::Denied)) => verdict,
            // A parent that doesn't exist or has no certain owner is reported for itself.
            None | Some(OwnershipVerdict::Free | OwnershipVerdict::Unknown(_)) => OwnershipVerdict::Free,
        }
    }

    /// The verdict if the user consents (`assume_owner`) to count unproven resources with the
    /// stack's names as owned. Tags that become readable soon are waited for.
    #[must_use]
    pub fn assuming(self, assume_owner: bool) -> OwnershipVerdict<'o> {
        match self {
            OwnershipVerdict::Unknown(UnreadableTags::Denied | UnreadableTags::Unsupported) if assume_owner => {
                OwnershipVerdict::Owned
            }
            verdict => verdict,
        }
    }

    /// Whether this stack owns it, under any resource name.
    pub fn is_this_stack(&self) -> bool {
        matches!(self, OwnershipVerdict::Owned | OwnershipVerdict::Renamed(_))
    }

    /// The owner, if it is known and isn't this stack.
    pub fn other_owner(&self) -> Option<OtherOwner<'o>> {
        match self {
            OwnershipVerdict::OtherStack(owner) => Some(OtherOwner::Engine(owner)),
            OwnershipVerdict::OutsideTeam(owner) => Some(*owner),
            _ => None,
        }
    }

    /// Why a declaration can't have a resource that another owner has under its name, and what to
    /// do about it.
    pub fn name_conflict(&self) -> Option<(String, Advice)> {
        let owner = self.other_owner()?;
        let hint = match owner {
            OtherOwner::OtherRegion(..) => {
                "all regions share its name: add `${region}` to `name:`, or use another stack or team in each region"
                    .into()
            }
            OtherOwner::CloudFormation(_) => "choose another name, and leave this one to CloudFormation".into(),
            OtherOwner::Engine(Owner { stack, resource, .. })
                if matches!(self, OwnershipVerdict::OtherStack(_)) && !stack.is_empty() =>
            {
                let moved = format!(
                    "if the spec file was renamed, add `stack: {stack}` to it; if the resource moved here from that stack, "
                );
                let forget = Remedy::Forget(Some(resource.clone()));
                Advice::from(moved).then(forget).then(" there first; otherwise choose another name")
            }
            OtherOwner::Engine(_) => "choose another name".into(),
        };
        Some((format!("it belongs to {owner}"), hint))
    }

    /// The same for a resource that inherits its owner from a parent.
    pub fn parent_conflict(&self) -> Option<(String, Advice)> {
        self.other_owner()?;
        Some((
            "it belongs to a resource that this stack doesn't own".to_owned(),
            "attach it to a resource of this stack".into(),
        ))
    }
}

impl Ownership {
    /// Why a team can't attach anything to an imported resource with this owner, following its name:
    /// another team owns it, or may do so. One that isn't deployed with engine has no team.
    pub fn bars_team(&self, team: &str) -> Option<String> {
        match self {
            Ownership::Engine(owner) | Ownership::OtherRegion(owner, _)
                if !owner.team.is_empty() && owner.team != team =>
            {
                Some(format!("belongs to {owner}"))
            }
            Ownership::Denied | Ownership::NotYetReadable(_) => {
                Some("has tags that can't be read, so another team may own it".to_owned())
            }
            _ => None,
        }
    }

    /// The owner of a resource without tags that belongs to a resource of `parent`: the same, if
    /// its name begins with the team's prefix.
    pub fn inherited_from(parent: &Owner, name: &str) -> Option<Ownership> {
        let resource = name.strip_prefix(&parent.team)?.strip_prefix('-')?.to_owned();
        Some(Ownership::Engine(Owner { resource, ..parent.clone() }))
    }
}

#[cfg(test)]
mod tests {
    use super::{OtherOwner, OwnershipVerdict as Verdict, UnreadableTags};
    use crate::remedy::{AdvicePart, Remedy};
    use crate::schema::{Owner, Ownership};

    fn owner(team: &str, stack: &str, resource: &str) -> Owner {
        Owner { team: team.to_owned(), stack: stack.to_owned(), resource: resource.to_owned() }
    }

    /// Every owner that a read can show, with the verdict of team `a`, stack `s`, resource `r`.
    fn owners() -> Vec<(Ownership, &'static str)> {
        let engine = |team, stack, resource| Ownership::Engine(owner(team, stack, resource));
        vec![
            (engine("a", "s", "r"), "owned"),
            (engine("a", "s", "old"), "renamed"),
            (engine("a", "s", ""), "renamed"),
            (engine("a", "other", "r"), "other stack"),
            (engine("a", "", "r"), "other stack"),
            (engine("a-b", "s", "r"), "foreign"),
            (engine("", "s", "r"), "foreign"),
            (Ownership::CloudFormation("s".to_owned()), "foreign"),
            (Ownership::Unowned, "free"),
            (Ownership::NotYetReadable("why".to_owned()), "unknown: not yet"),
            (Ownership::Denied, "unknown: denied"),
            (Ownership::Untaggable, "unknown: unsupported"),
            (Ownership::Inherited, "free"),
        ]
    }

    fn name(verdict: &Verdict<'_>) -> &'static str {
        match verdict {
            Verdict::Owned => "owned",
            Verdict::Renamed(_) => "renamed",
            Verdict::OtherStack(_) => "other stack",
            Verdict::OutsideTeam(_) => "foreign",
            Verdict::Free => "free",
            Verdict::Unknown(UnreadableTags::NotYet(_)) => "unknown: not yet",
            Verdict::Unknown(UnreadableTags::Denied) => "unknown: denied",
            Verdict::Unknown(UnreadableTags::Unsupported) => "unknown: unsupported",
        }
    }

    #[test]
    fn each_owner_parent_and_consent_has_one_verdict() {
        let us = owner("a", "s", "r");
        let all = owners();
        let parents = || all.iter().map(|(parent, verdict)| (Some(parent), *verdict)).chain([(None, "free")]);
        for (of, plain) in &all {
            for (parent, of_parent) in parents() {
                for overrides in [false, true] {
                    let verdict = Verdict::of(of, parent, &us).assuming(overrides);
                    let wanted = match (of, of_parent) {
                        // A parent counts only for what inherits its owner.
                        (Ownership::Inherited, "renamed") => "owned",
                        (Ownership::Inherited, "unknown: not yet" | "unknown: unsupported") => "free",
                        (Ownership::Inherited, of_parent) => of_parent,
                        _ => plain,
                    };
                    let wanted = match wanted {
                        "unknown: denied" | "unknown: unsupported" if overrides => "owned",
                        wanted => wanted,
                    };
                    let case = format!("{of:?}, {parent:?}, overrides: {overrides}");
                    assert_eq!(name(&verdict), wanted, "{case}");
                    assert_eq!(verdict.is_this_stack(), ["owned", "renamed"].contains(&wanted), "{case}");
                    let is_others = ["other stack", "foreign"].contains(&wanted);
                    assert_eq!(verdict.other_owner().is_some(), is_others, "{case}");
                    assert_eq!(verdict.name_conflict().is_some(), is_others, "{case}");
                    assert_eq!(verdict.parent_conflict().is_some(), is_others, "{case}");
                }
            }
        }
    }

    #[test]
    fn a_conflict_names_the_owner_and_the_way_out() {
        let us = owner("a", "s", "r");
        let conflict = |of: Ownership| Verdict::of(&of, None, &us).name_conflict().unwrap_or_default();
        let engine = |team, stack| Ownership::Engine(owner(team, stack, "x"));
        let cloudformation = Ownership::CloudFormation("cfn".to_owned());
        for (of, reason, hint) in [
            (engine("a", "t"), "team `a`, stack `t`, resource `x`", " there first; otherwise choose another name"),
            (engine("a", ""), "team `a`, stack ``, resource `x`", "choose another name"),
            (engine("b", "t"), "team `b`, stack `t`, resource `x`", "choose another name"),
            (cloudformation, "the CloudFormation stack `cfn`", "leave this one to CloudFormation"),
        ] {
            let (problem, way_out) = conflict(of);
            assert_eq!(problem, format!("it belongs to {reason}"));
            let is_text = |part: &AdvicePart| matches!(part, AdvicePart::Text(text) if text.contains(hint));
            assert!(way_out.parts().iter().any(is_text), "{way_out:?}");
            let forget = AdvicePart::Remedy(Remedy::Forget(Some("x".to_owned())));
            assert_eq!(way_out.parts().contains(&forget), hint.contains("there first"), "{way_out:?}");
        }
        let owner = owner("b", "t", "x");
        assert_eq!(OtherOwner::Engine(&owner).to_string(), owner.to_string());
    }

    #[test]
    fn only_a_name_of_the_team_inherits_the_owner() {
        let parent = owner("a", "s", "f");
        let child = Ownership::Engine(owner("a", "s", "x"));
        assert_eq!(Ownership::inherited_from(&parent, "a-x"), Some(child));
        assert_eq!(Ownership::inherited_from(&parent, "ab-x"), None);
        assert_eq!(Ownership::inherited_from(&parent, "a"), None);
    }
}
