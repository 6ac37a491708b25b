//! The live resources that matter to a spec: what each declaration refers to, and what else has its
//! owner's tags.
//!
//! **Invariant:** only data, and the choice of the resource that a declaration refers to. No I/O.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::AwsError;
use crate::kind::Definition;
use crate::ownership::OwnershipVerdict;
use crate::remedy::Advice;
use crate::schema::{Condition, Contents, Id, Live, Naming, Owner, Ownership, Site, Str};
use crate::spec::{Declared, Spec};
use crate::value::{Hole, Value};

/// What exists in AWS.
#[derive(Debug)]
pub struct Inventory {
    /// Region and account.
    pub site: Site,
    /// By resource name; one entry for each declaration.
    pub found: BTreeMap<String, Found>,
    /// Possible orphans: undeclared resources of this owner, or attached to one.
    pub leftovers: Vec<Leftover>,
    /// The owners of what orphans are attached to, by kind and name, if it wasn't read otherwise.
    pub parents: BTreeMap<(Str, String), Ownership>,
    /// How complete the search for orphans was.
    pub search: Search,
}

/// The result of one read.
#[derive(Debug, Default)]
pub struct Found {
    /// The resource; `None` if it doesn't exist.
    pub live: Option<Live>,
    /// What would be lost with it; only read if it may be deleted.
    pub contents: Option<Contents>,
    /// Why an imported resource couldn't be read, if that is no obstacle.
    pub unread: Option<AwsError>,
}

/// A resource that no declaration refers to.
#[derive(Debug)]
pub struct Leftover {
    /// It as a declaration without desired properties.
    pub declared: Declared,
    /// What was read; it always exists.
    pub found: Found,
    /// The declared resource that this one duplicates.
    pub instead: Option<String>,
}

impl Leftover {
    /// Whether its owner can't be determined yet.
    pub fn is_undecided(&self) -> bool {
        let owner =
            self.found.live.as_ref().filter(|live| live.condition != Condition::Leaving).map(|live| &live.owner);
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
    pub fn new(site: Site) -> Inventory {
        Inventory {
            site,
            found: BTreeMap::new(),
            leftovers: Vec::new(),
            parents: BTreeMap::new(),
            search: Search::Complete,
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
    pub fn choose(&mut self, spec: &Spec, declared: &Declared, others: Vec<(Id, Live)>) -> Vec<(Id, Live)> {
        let wanted = identities(declared, self);
        let mut candidates: Vec<(Fit, Id, Live)> = Vec::new();
        let mut rest = Vec::new();
        for (id, live) in others {
            match rank(spec, declared, &id, &live) {
                Some(rank) => {
                    let off = wanted.iter().any(|(name, value)| live.props.get(*name) != Some(value));
                    candidates.push(((live.condition == Condition::Leaving, off, rank), id, live));
                }
                None => rest.push((id, live)),
            }
        }
        candidates.sort_by_key(|(fit, ..)| *fit);
        let mut candidates = candidates.into_iter();
        let chosen = candidates.next().map(|(_, _, live)| live);
        self.found.entry(declared.name.clone()).or_default().live = chosen;
        for (_, id, live) in candidates {
            self.leave(spec, &declared.kind, id, live, Some(declared.name.clone()));
        }
        rest
    }

    /// Adds a resource that no declaration refers to, once.
    pub fn leave(&mut self, spec: &Spec, kind: &Arc<dyn Definition>, id: Id, live: Live, instead: Option<String>) {
        if instead.is_some() || !self.knows(spec, kind, &id) {
            let found = Found { live: Some(live), ..Found::default() };
            let mut declared = Declared::leftover(Arc::clone(kind), id);
            // Lifecycle settings also apply to the same resource under its former name.
            let heir = spec.resource(&declared.name).filter(|it| it.schema().kind == kind.schema().kind);
            if let Some(heir) = heir.filter(|_| instead.is_none()) {
                declared.lifecycle = heir.lifecycle.clone();
            }
            self.leftovers.push(Leftover { declared, found, instead });
        }
    }

    /// Whether a resource is declared, already added, or must not be touched.
    pub fn knows(&self, spec: &Spec, kind: &Arc<dyn Definition>, id: &Id) -> bool {
        let schema = kind.schema();
        let same = |other: &Declared| {
            other.schema().kind == schema.kind
                && match &schema.naming {
                    Naming::Own { .. } => other.id.name == id.name,
                    Naming::Inner { .. } => (&other.id.name, &other.id.anchors) == (&id.name, &id.anchors),
                    Naming::Assigned => id.incarnation.is_some() && other.id.incarnation == id.incarnation,
                }
        };
        let chosen = |other: &Declared| {
            id.incarnation.is_some()
                && other.schema().kind == schema.kind
                && self.live(&other.name).is_some_and(|live| live.incarnation == id.incarnation)
        };
        spec.untouchable.contains(&id.name)
            || spec.resources.iter().any(|other| same(other) || chosen(other))
            || self.leftovers.iter().any(|it| same(&it.declared))
    }

    /// Sets what would be lost with an orphan.
    pub fn weigh(&mut self, kind: &Arc<dyn Definition>, id: &Id, contents: Option<Contents>) {
        let it = self
            .leftovers
            .iter_mut()
            .find(|it| it.declared.schema().kind == kind.schema().kind && it.declared.id.name == id.name);
        if let Some(leftover) = it {
            leftover.found.contents = contents;
        }
    }
}

/// How well a candidate fits a declaration, best first: not being deleted, connecting the same
/// resources, and its [`rank`].
type Fit = (bool, bool, u8);

/// How well a resource fits a declaration by its owner; `None` means not at all.
fn rank(spec: &Spec, declared: &Declared, id: &Id, live: &Live) -> Option<u8> {
    let same = declared.id.anchors.iter().all(|(name, anchor)| id.anchors.get(name) == Some(anchor));
    let gone =
        |owner: &Owner| spec.resource(&owner.resource).is_none_or(|it| it.schema().kind != declared.schema().kind);
    match OwnershipVerdict::of(&live.owner, None, &declared.id.owner) {
        OwnershipVerdict::Owned => Some(0),
        _ if !same => None,
        OwnershipVerdict::Renamed(owner) => gone(owner).then_some(1),
        OwnershipVerdict::Free | OwnershipVerdict::Unknown(_) => Some(2),
        // Another owner's resource is in the way.
        OwnershipVerdict::OtherStack(_) | OwnershipVerdict::Foreign(_) => Some(3),
    }
}

/// The values of the identity properties, as far as they are known.
fn identities<'d>(declared: &'d Declared, inventory: &Inventory) -> Vec<(&'d str, Value)> {
    let output = |resource: &str, attribute: &str| inventory.live(resource)?.outputs.get(attribute).cloned();
    let fill = |placeholder: &Hole| inventory.site.fill(placeholder, output);
    let compared = declared.schema().properties.iter().filter(|property| property.identity && property.is_compared());
    compared.filter_map(|it| Some((&*it.name, declared.desired.get(&*it.name)?.resolve(&fill)))).collect()
}

/// Whether AWS assigns the id of a declaration's kind.
pub fn is_assigned(declared: &Declared) -> bool {
    matches!(declared.schema().naming, Naming::Assigned)
}

/// Where a resource was searched for, for messages that it doesn't exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchScope {
    /// The place, to follow "doesn't exist".
    place: String,
    is_local: bool,
}

impl SearchScope {
    /// In an account.
    pub fn account(site: &Site) -> SearchScope {
        SearchScope { place: format!("in {}, account {}", site.region, site.account), is_local: false }
    }

    /// In the local AWS of this machine.
    pub fn locally() -> SearchScope {
        SearchScope { place: "in the local AWS".to_owned(), is_local: true }
    }

    /// The place: "in eu-west-1, account 123456789012".
    pub fn place(&self) -> &str {
        &self.place
    }

    /// What to do if it was the wrong place; shown before any hint that would create something
    /// there.
    pub fn elsewhere(&self) -> &'static str {
        match self.is_local {
            true => "to search your account, leave out `--local`",
            false => "to search elsewhere, pass `--region` or `--profile`; `engine doctor` shows the current ones",
        }
    }

    /// The command that creates what is missing there.
    pub fn apply(&self) -> &'static str {
        if self.is_local { "engine apply --local" } else { "engine apply" }
    }
}
