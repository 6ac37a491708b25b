//! What stands in AWS, as far as a spec asks: what each declaration means there, and what else bears its owner's marks.
//!
//! **Invariant:** data, and the choice of which of several things a declaration means. No I/O.

use std::collections::BTreeMap;

use crate::aws::AwsError;
use crate::kind::DynKind;
use crate::schema::{Condition, Contents, Id, Live, Naming, Owner, Ownership, Site};
use crate::spec::{Declared, Spec};
use crate::value::{Hole, Value};

/// What stands in AWS.
#[derive(Debug)]
pub struct Inventory {
    /// Where.
    pub site: Site,
    /// By resource name; one entry for each declaration.
    pub found: BTreeMap<String, Found>,
    /// What may be this owner's, or hangs on what is, and no declaration means.
    pub leftovers: Vec<Leftover>,
    /// Who owns what leftovers are attached to, by kind and name, where nothing else was read of it.
    pub parents: BTreeMap<(&'static str, String), Ownership>,
    /// How far leftovers were looked for.
    pub search: Search,
}

/// What one read found.
#[derive(Debug, Default)]
pub struct Found {
    /// The resource; `None`: nothing stands there.
    pub live: Option<Live>,
    /// What would be lost with it; only looked at where something may be deleted.
    pub contents: Option<Contents>,
    /// Why an imported resource could not be looked at, where that is no obstacle.
    pub unread: Option<AwsError>,
}

/// Something that no declaration means.
#[derive(Debug)]
pub struct Leftover {
    /// What it would be if it were declared; nothing is desired of it.
    pub declared: Declared,
    /// What was read; it always stands there.
    pub found: Found,
    /// The resource of the spec that means another of its kind, where this one would do as well.
    pub instead: Option<String>,
}

impl Leftover {
    /// Whether it can't be told yet whose it is.
    pub fn is_undecided(&self) -> bool {
        let owner =
            self.found.live.as_ref().filter(|live| live.condition != Condition::Leaving).map(|live| &live.owner);
        matches!(owner, Some(Ownership::NotYetReadable(_)))
    }
}

/// How far leftovers were looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Search {
    /// As far as AWS lets anybody look.
    #[default]
    Complete,
    /// Not at all, or in part; why.
    Partial(String),
}

impl Inventory {
    /// With nothing found yet.
    pub fn new(site: Site) -> Inventory {
        Inventory {
            site,
            found: BTreeMap::new(),
            leftovers: Vec::new(),
            parents: BTreeMap::new(),
            search: Search::Complete,
        }
    }

    /// What the declaration of that name means.
    pub fn live(&self, resource: &str) -> Option<&Live> {
        self.found.get(resource)?.live.as_ref()
    }

    /// Settles which of `others` a declaration means whose id AWS assigns, and notes those that would do as well. Returns
    /// the rest, which other declarations may mean.
    ///
    /// Those that may be meant: what bears its marks; what bears those of a resource that is no longer in the spec, and
    /// connects the same; what nobody owns and connects the same. The one that reads what the spec wants to be read
    /// *now* comes first: the others are on something that is gone, and a new one could not be made beside it.
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
            self.leave(spec, declared.kind, id, live, Some(declared.name.clone()));
        }
        rest
    }

    /// Notes something that no declaration means, once.
    pub fn leave(&mut self, spec: &Spec, kind: &'static dyn DynKind, id: Id, live: Live, instead: Option<String>) {
        if instead.is_some() || !self.knows(spec, kind, &id) {
            let found = Found { live: Some(live), ..Found::default() };
            let mut declared = Declared::leftover(kind, id);
            // What a spec says about a resource's end holds for what it was under another name, too.
            let heir = spec.resource(&declared.name).filter(|it| it.schema().kind == kind.schema().kind);
            if let Some(heir) = heir.filter(|_| instead.is_none()) {
                declared.lifecycle = heir.lifecycle.clone();
            }
            self.leftovers.push(Leftover { declared, found, instead });
        }
    }

    /// Whether something is declared, or noted already, or not to be touched.
    pub fn knows(&self, spec: &Spec, kind: &'static dyn DynKind, id: &Id) -> bool {
        let schema = kind.schema();
        let same = |other: &Declared| {
            other.schema().kind == schema.kind
                && match schema.naming {
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

    /// Notes what would be lost with a leftover.
    pub fn weigh(&mut self, kind: &'static dyn DynKind, id: &Id, contents: Option<Contents>) {
        let it = self
            .leftovers
            .iter_mut()
            .find(|it| it.declared.schema().kind == kind.schema().kind && it.declared.id.name == id.name);
        if let Some(leftover) = it {
            leftover.found.contents = contents;
        }
    }
}

/// How far something is from what a declaration means: whether it is on its way out, whether it connects something else,
/// and its [`rank`].
type Fit = (bool, bool, u8);

/// How well something fits a declaration; `None`: not at all.
fn rank(spec: &Spec, declared: &Declared, id: &Id, live: &Live) -> Option<u8> {
    let us = &declared.id.owner;
    let same = declared.id.anchors.iter().all(|(name, anchor)| id.anchors.get(name) == Some(anchor));
    let gone =
        |owner: &Owner| spec.resource(&owner.resource).is_none_or(|it| it.schema().kind != declared.schema().kind);
    match &live.owner {
        Ownership::Engine(owner) if owner == us => Some(0),
        Ownership::Engine(owner) if same && (&owner.team, &owner.stack) == (&us.team, &us.stack) => {
            gone(owner).then_some(1)
        }
        Ownership::Nobody | Ownership::Denied | Ownership::Untaggable | Ownership::NotYetReadable(_) if same => Some(2),
        // Somebody else's stands where ours would.
        _ if same => Some(3),
        _ => None,
    }
}

/// What the identity properties come to, as far as it is known.
fn identities<'d>(declared: &'d Declared, inventory: &Inventory) -> Vec<(&'d str, Value)> {
    let fill = |hole: &Hole| match hole {
        Hole::Output { resource, attribute } => inventory.live(resource)?.outputs.get(attribute).cloned(),
        Hole::Account => Some(inventory.site.account.clone()),
        Hole::Region => Some(inventory.site.region.clone()),
    };
    let compared = declared.schema().properties.iter().filter(|property| property.identity && property.is_compared());
    compared.filter_map(|it| Some((it.name, declared.desired.get(it.name)?.resolve(&fill)))).collect()
}

/// Whether AWS picks the id of a declaration's kind.
pub fn is_assigned(declared: &Declared) -> bool {
    matches!(declared.schema().naming, Naming::Assigned)
}

/// Where something was looked for, for texts that say that it is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Searched {
    /// The place, to follow "does not stand".
    place: String,
    is_local: bool,
}

impl Searched {
    /// In an account.
    pub fn account(site: &Site) -> Searched {
        Searched { place: format!("in {}, account {}", site.region, site.account), is_local: false }
    }

    /// In the local AWS of this machine.
    pub fn locally() -> Searched {
        Searched { place: "in the local AWS".to_owned(), is_local: true }
    }

    /// The place: "in eu-west-1, account 123456789012".
    pub fn place(&self) -> &str {
        &self.place
    }

    /// What to do if it was the wrong place to look at, to be said before anything that would make something there.
    pub fn elsewhere(&self) -> &'static str {
        match self.is_local {
            true => "if it stands in your account, leave out `--local`",
            false => "if it stands elsewhere, pass `--region` or `--profile`; `engine doctor` shows where this looks",
        }
    }

    /// The command that makes what is missing there.
    pub fn apply(&self) -> &'static str {
        if self.is_local { "engine apply --local" } else { "engine apply" }
    }
}
