//! The live resources that matter to a spec: what each declaration refers to, and what else has its
//! owner's tags.
//!
//! **Invariant:** only data, and the choice of the resource that a declaration refers to. No I/O.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;

use crate::error::AwsError;
use crate::kind::Definition;
use crate::lookup::LookupValues;
use crate::ownership::OwnershipVerdict;
use crate::remedy::{Advice, CliCommand, RunOption};
use crate::schema::{AwsEnv, Contents, Id, Identity, Live, Owner, Ownership, Status, Str, Users};
use crate::spec::{ResourceDecl, Spec};
use crate::value::{Placeholder, Value};
use crate::wait::Detail;

/// What exists in AWS.
#[derive(Debug)]
pub struct Inventory {
    /// Region and account.
    pub env: AwsEnv,
    /// By resource name; one entry for each declaration.
    pub found: BTreeMap<String, Found>,
    /// Possible orphans: undeclared resources of this owner, or attached to one.
    pub orphans: Vec<Orphan>,
    /// The owners of what orphans are attached to, by kind and name, if it wasn't read otherwise.
    pub parents: BTreeMap<(Str, String), Ownership>,
    /// The values of the spec's lookups, and why others weren't read.
    pub lookups: LookupValues,
    /// How complete the search for orphans was.
    pub search: Search,
    /// How much the reads had to show.
    pub detail: Detail,
    /// When the reads began.
    pub begun: Instant,
}

/// The result of one read.
#[derive(Debug, Default)]
pub struct Found {
    /// The resource; `None` if it doesn't exist.
    pub live: Option<Live>,
    /// What would be lost with it; only read if it may be deleted.
    pub contents: Option<Contents>,
    /// What uses it; only read if it may be deleted, and `None` for kinds that nothing uses.
    pub users: Option<Users>,
    /// Why an imported resource couldn't be read, if that is no obstacle.
    pub unread: Option<AwsError>,
}

/// A resource that no declaration refers to.
#[derive(Debug)]
pub struct Orphan {
    /// It as a declaration without desired properties.
    pub declared: ResourceDecl,
    /// What was read; it always exists.
    pub found: Found,
    /// The declared resource that this one duplicates.
    pub instead: Option<String>,
}

impl Orphan {
    /// Whether its owner can't be determined yet.
    pub fn is_pending(&self) -> bool {
        let owner = self.found.live.as_ref().filter(|live| live.status != Status::Deleting).map(|live| &live.owner);
        matches!(owner, Some(Ownership::NotYetReadable(_)))
    }
}

/// How complete the search for orphans was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Search {
    /// Complete, as far as AWS allows.
    #[default]
    Complete,
    /// Partial or none, with the reason.
    Partial(Advice),
}

impl Inventory {
    /// An empty inventory.
    pub fn new(env: AwsEnv) -> Inventory {
        Inventory {
            env,
            found: BTreeMap::new(),
            orphans: Vec::new(),
            parents: BTreeMap::new(),
            lookups: LookupValues::default(),
            search: Search::Complete,
            detail: Detail::Full,
            begun: Instant::now(),
        }
    }

    /// The live resource of the declaration with that name.
    pub fn live(&self, resource: &str) -> Option<&Live> {
        self.found.get(resource)?.live.as_ref()
    }

    /// Chooses the one of `others` that a declaration refers to, for kinds whose id AWS assigns,
    /// and adds duplicates as orphans. Returns the rest, which other declarations may refer to.
    ///
    /// Candidates have the declaration's tags; or connect the same resources and have the tags of a
    /// resource that is no longer in the spec, or no owner. One that reads the source that the spec
    /// wants *now* comes first: the others read a deleted source, and Lambda allows no second
    /// mapping for the same one.
    #[must_use]
    pub fn match_assigned(&mut self, spec: &Spec, declared: &ResourceDecl, others: Vec<(Id, Live)>) -> Vec<(Id, Live)> {
        let wanted = identities(declared, self);
        let mut candidates: Vec<(CandidateRank, Id, Live)> = Vec::new();
        let mut rest = Vec::new();
        for (id, live) in others {
            match rank(spec, declared, &id, &live) {
                Some(rank) => {
                    let off = wanted.iter().any(|(name, value)| live.props.get(*name) != Some(value));
                    candidates.push(((live.status == Status::Deleting, off, rank), id, live));
                }
                None => rest.push((id, live)),
            }
        }
        candidates.sort_by_key(|(fit, ..)| *fit);
        let mut candidates = candidates.into_iter();
        let chosen = candidates.next().map(|(_, _, live)| live);
        self.found.entry(declared.name.clone()).or_default().live = chosen;
        for (_, id, live) in candidates {
            self.add_orphan(spec, &declared.kind, id, live, Some(declared.name.clone()));
        }
        rest
    }

    /// Adds a resource that no declaration refers to, once.
    pub fn add_orphan(&mut self, spec: &Spec, kind: &Arc<dyn Definition>, id: Id, live: Live, instead: Option<String>) {
        if instead.is_some() || !self.is_tracked(spec, kind, &id) {
            let found = Found { live: Some(live), ..Found::default() };
            let mut declared = ResourceDecl::orphan(Arc::clone(kind), id);
            // Lifecycle settings also apply to the same resource under its former name.
            let successor = spec.resource(&declared.name).filter(|it| it.schema().kind == kind.schema().kind);
            if let Some(successor) = successor.filter(|_| instead.is_none()) {
                declared.lifecycle = successor.lifecycle.clone();
            }
            self.orphans.push(Orphan { declared, found, instead });
        }
    }

    /// Whether a resource is declared, already added, or must not be touched.
    pub fn is_tracked(&self, spec: &Spec, kind: &Arc<dyn Definition>, id: &Id) -> bool {
        let schema = kind.schema();
        let same = |other: &ResourceDecl| {
            other.schema().kind == schema.kind
                && match &schema.identity {
                    Identity::Named { .. } => other.id.name == id.name,
                    Identity::Nested { .. } => (&other.id.name, &other.id.parents) == (&id.name, &id.parents),
                    Identity::ServiceAssigned => id.unique_id.is_some() && other.id.unique_id == id.unique_id,
                }
        };
        let chosen = |other: &ResourceDecl| {
            id.unique_id.is_some()
                && other.schema().kind == schema.kind
                && self.live(&other.name).is_some_and(|live| live.unique_id == id.unique_id)
        };
        spec.untouchable.contains(&id.name)
            || spec.resources.iter().any(|other| same(other) || chosen(other))
            || self.orphans.iter().any(|it| same(&it.declared))
    }

    /// Sets what would be lost with an orphan, and what uses it.
    pub fn set_contents(
        &mut self,
        kind: &Arc<dyn Definition>,
        id: &Id,
        contents: Option<Contents>,
        users: Option<Users>,
    ) {
        let it = self
            .orphans
            .iter_mut()
            .find(|it| it.declared.schema().kind == kind.schema().kind && it.declared.id.name == id.name);
        if let Some(orphan) = it {
            (orphan.found.contents, orphan.found.users) = (contents, users);
        }
    }
}

/// How well a candidate fits a declaration, best first: not being deleted, connecting the same
/// resources, and its [`rank`].
type CandidateRank = (bool, bool, u8);

/// How well a resource fits a declaration by its owner; `None` means not at all.
fn rank(spec: &Spec, declared: &ResourceDecl, id: &Id, live: &Live) -> Option<u8> {
    let same = declared.id.parents.iter().all(|(name, parent)| id.parents.get(name) == Some(parent));
    let is_undeclared =
        |owner: &Owner| spec.resource(&owner.resource).is_none_or(|it| it.schema().kind != declared.schema().kind);
    match OwnershipVerdict::of(&live.owner, None, &declared.id.owner) {
        OwnershipVerdict::Owned => Some(0),
        _ if !same => None,
        OwnershipVerdict::Renamed(owner) => is_undeclared(owner).then_some(1),
        OwnershipVerdict::Free | OwnershipVerdict::Unknown(_) => Some(2),
        // Another owner's resource already has the name.
        OwnershipVerdict::OtherStack(_) | OwnershipVerdict::OutsideTeam(_) => Some(3),
    }
}

/// The values of the identity properties, as far as they are known.
fn identities<'d>(declared: &'d ResourceDecl, inventory: &Inventory) -> Vec<(&'d str, Value)> {
    let output = |resource: &str, attribute: &str| inventory.live(resource)?.outputs.get(attribute).cloned();
    let fill = |placeholder: &Placeholder| inventory.env.fill(placeholder, output);
    let compared =
        declared.schema().properties.iter().filter(|property| property.is_identity && property.is_compared());
    compared.filter_map(|it| Some((&*it.name, declared.desired.get(&*it.name)?.resolve(&fill)))).collect()
}

/// Whether AWS assigns the id of a declaration's kind.
pub fn is_assigned(declared: &ResourceDecl) -> bool {
    matches!(declared.schema().identity, Identity::ServiceAssigned)
}

/// Where a resource was searched for, for messages that it doesn't exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchScope {
    /// The place, to follow "doesn't exist".
    location: String,
    is_local: bool,
}

impl SearchScope {
    /// In an account.
    pub fn account(env: &AwsEnv) -> SearchScope {
        SearchScope { location: format!("in {}, account {}", env.region, env.account), is_local: false }
    }

    /// In the local AWS of this machine.
    pub fn locally() -> SearchScope {
        SearchScope { location: "in the local AWS".to_owned(), is_local: true }
    }

    /// The place: "in eu-west-1, account 123456789012".
    pub fn location(&self) -> &str {
        &self.location
    }

    /// What to do if it was the wrong place; shown before any hint that would create something
    /// there.
    pub fn elsewhere(&self) -> Advice {
        match self.is_local {
            true => Advice::from("to search your account, leave out ").then(RunOption::Local),
            false => Advice::from("to search elsewhere, pass ")
                .then(RunOption::Region(None))
                .then(" or ")
                .then(RunOption::Profile)
                .then("; ")
                .then(CliCommand::Doctor)
                .then(" shows the current ones"),
        }
    }

    /// The command that creates what is missing there.
    pub fn apply(&self) -> CliCommand {
        CliCommand::Apply { is_local: self.is_local }
    }
}
