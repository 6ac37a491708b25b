//! Reads everything that engine manages in an account, independent of a spec.
//!
//! **Invariant:** it never writes.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures_util::future::join_all;

use crate::error::AwsError;
use crate::kind::Definition;
use crate::ownership::OwnershipVerdict;
use crate::schema::{AwsEnv, Id, Live, Owner, Ownership, Reading, Schema, Status, Str, TAG_STACK, TAG_TEAM, Tagging};
use crate::wait::{Context, Detail};

use super::orphans::{attachable_kinds, from_index_entry, ignore_permanent, list_attached, scan_kinds, services};
use super::{Undeclared, elsewhere, read_masked};

/// Everything with engine's tags, of one team and stack or of all, and everything whose name begins
/// with one of `prefixes`, tagged or not. Each is read directly: the index also lists deleted
/// resources.
///
/// # Errors
/// `AccessDenied` if you lack permission to read the tag index and there are no prefixes; the
/// scans' errors.
pub async fn discover_all(
    cx: &Context,
    of: Option<(&str, &str)>,
    prefixes: &[String],
    account: &str,
) -> Result<Vec<Undeclared>, AwsError> {
    // Only the owner matters.
    let cx = &cx.with_detail(Detail::ForDelete);
    let candidates = search(cx, of, prefixes).await?;
    let env = AwsEnv::new(cx.account.region(), account);
    let reads = join_all(candidates.into_iter().map(|(kind, id)| {
        let id = Id { env: Some(env.clone()), ..id };
        async move { read_with_attached(cx, &kind, &id).await }
    }));
    let this_stack =
        of.map(|(team, stack)| Owner { team: team.to_owned(), stack: stack.to_owned(), ..Owner::default() });
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    for read in reads.await {
        for (kind, id, live) in read? {
            let wanted = match (&live.owner, &this_stack) {
                (owner, Some(this_stack)) => OwnershipVerdict::of(owner, None, this_stack).is_this_stack(),
                // Untagged resources count only if they were searched for.
                (Ownership::Engine(_), None) => true,
                (_, None) => !prefixes.is_empty(),
            };
            // Names of nested resources are unique only within their parent.
            let parent = id.parents.values().next().filter(|_| !kind.schema().is_tagged()).cloned();
            if wanted && seen.insert((kind.schema().kind.clone(), id.name.clone(), id.unique_id.clone(), parent)) {
                found.push((kind, id, live));
            }
        }
    }
    Ok(found)
}

/// A resource that a team may own: what the tag index lists, or what has the team's prefix.
#[derive(Clone)]
pub struct Listed {
    /// Its kind.
    pub kind: Arc<dyn Definition>,
    /// Its identity, with its owner.
    pub id: Id,
}

/// What teams own, as far as it can be listed.
#[derive(Clone, Default)]
pub struct TeamsListing {
    /// What is listed for each team.
    pub teams: BTreeMap<String, Vec<Listed>>,
    /// Why resources of some types are missing, as complete clauses.
    pub unlisted: Vec<String>,
}

/// What the tag index lists for each of these teams, of any stack, with one search for all of them,
/// and by the teams' prefixes what it never lists.
///
/// # Errors
/// `AccessDenied` if you lack permission to read the tag index.
pub async fn list_teams(cx: &Context, teams: &[String]) -> Result<TeamsListing, AwsError> {
    let services = services(&cx.kinds);
    let (entries, named) =
        tokio::join!(cx.read("", || cx.account.tagged(&[(TAG_TEAM, "")], &services)), list_unindexed(cx, teams));
    let (named, unlisted) = named?;
    let mut listed: BTreeMap<String, Vec<Listed>> = BTreeMap::new();
    for found in named {
        listed.entry(found.id.owner.team.clone()).or_default().push(found);
    }
    for (arn, tags) in entries? {
        let Some(team) = tags.get(TAG_TEAM).filter(|team| teams.contains(team)) else { continue };
        let stack = tags.get(TAG_STACK).cloned().unwrap_or_default();
        let owner = Owner { team: team.clone(), stack, ..Owner::default() };
        let found = from_index_entry(&cx.kinds, &owner, &arn, &tags);
        listed.entry(team.clone()).or_default().extend(found.map(|(kind, id)| Listed { kind, id }));
    }
    Ok(TeamsListing { teams: listed, unlisted })
}

/// Resources of types that the tag index never lists, by the teams' prefixes, and the types that can't
/// be listed. Only a read shows who owns one.
async fn list_unindexed(cx: &Context, teams: &[String]) -> Result<(Vec<Listed>, Vec<String>), AwsError> {
    let owner = |team: &String| Owner { team: team.clone(), ..Owner::default() };
    let owners: Vec<Owner> = teams.iter().map(owner).collect();
    let (mut found, mut unlisted) = (Vec::new(), Vec::new());
    for kind in cx.kinds.iter().filter(|kind| kind.schema().tagging == Tagging::Own) {
        let name = &kind.schema().kind;
        let provider = cx.provider(name)?;
        match cx.read("", || provider.list_by_prefixes(cx, &owners)).await {
            Ok(ids) => found.extend(ids.into_iter().map(|id| Listed { kind: Arc::clone(kind), id })),
            Err(error) if error.is_denied() => {
                unlisted.push(format!(
                    "its resources of type {name} are missing: you lack permission for {}",
                    error.operation
                ));
            }
            Err(error) => return Err(error),
        }
    }
    Ok((found, unlisted))
}

/// Reads a resource that the tag index lists, and what is attached to it: all that exists and that
/// the team owns.
///
/// # Errors
/// As the kind's read.
pub async fn read_listed(cx: &Context, listed: &Listed, env: &AwsEnv) -> Result<Vec<Undeclared>, AwsError> {
    let id = Id { env: Some(env.clone()), ..listed.id.clone() };
    let mut found = read_with_attached(&cx.with_detail(Detail::ForDelete), &listed.kind, &id).await?;
    let is_theirs = |live: &Live| matches!(&live.owner, Ownership::Engine(owner) if owner.team == id.owner.team);
    found.retain(|(_, _, live)| live.status != Status::Deleting && is_theirs(live));
    Ok(found)
}

/// Reads one resource that no spec declares, in full; `None` if it doesn't exist.
///
/// # Errors
/// As the kind's read.
pub async fn read_existing(cx: &Context, kind: &Arc<dyn Definition>, id: &Id) -> Result<Option<Live>, AwsError> {
    let live = read_masked(cx, kind, id).await?.live;
    Ok(live.filter(|live| live.status != Status::Deleting))
}

/// Everything that is nested in or attached to a resource, regardless of its owner, and why some of it
/// can't be read, by kind.
///
/// # Errors
/// Transient errors.
pub async fn read_attached(
    cx: &Context,
    kind: &str,
    id: &Id,
) -> Result<(Vec<Undeclared>, BTreeMap<Str, String>), AwsError> {
    let kinds: Vec<(Arc<dyn Definition>, Str)> = attachable_kinds(&cx.kinds, kind).collect();
    let reads = kinds.into_iter().map(|(kind, property)| async move {
        let of_parent = Id {
            parents: BTreeMap::from([(property.clone(), id.name.clone())]),
            env: id.env.clone(),
            ..Id::named(Owner::default(), String::new())
        };
        let here = list_attached(cx, Arc::clone(&kind), property, &id.name, Owner::default(), id.env.as_ref());
        let (here, elsewhere) = tokio::join!(here, elsewhere(cx, &kind, &of_parent));
        let more = elsewhere.map(|it| it.others.into_iter().map(|(id, live)| (Arc::clone(&kind), id, live)).collect());
        (kind, [here, more])
    });
    let (mut found, mut unread) = (Vec::new(), BTreeMap::new());
    for (kind, reads) in join_all(reads).await {
        for read in reads {
            match read {
                Ok(more) => found.extend(more),
                Err(error) => {
                    let why = error.unreadable().ok_or(error)?;
                    unread.insert(kind.schema().kind.clone(), why);
                }
            }
        }
    }
    found.retain(|(_, _, live): &Undeclared| live.status != Status::Deleting);
    Ok((found, unread))
}

/// What the tag index lists and what the prefixes match, each once.
async fn search(
    cx: &Context,
    of: Option<(&str, &str)>,
    prefixes: &[String],
) -> Result<Vec<(Arc<dyn Definition>, Id)>, AwsError> {
    let services = services(&cx.kinds);
    let tags = of.map_or_else(|| vec![(TAG_TEAM, "")], |(team, stack)| vec![(TAG_TEAM, team), (TAG_STACK, stack)]);
    let owners: Vec<Owner> = prefixes.iter().map(|team| Owner { team: team.clone(), ..Owner::default() }).collect();
    let team = of.map(|(team, stack)| Owner { team: team.to_owned(), stack: stack.to_owned(), ..Owner::default() });
    let (index, scans, unindexed) = tokio::join!(
        cx.read("", || cx.account.tagged(&tags, &services)),
        join_all(owners.iter().map(|owner| scan_kinds(cx, owner, |_| true, |_| false))),
        join_all(team.iter().map(|owner| scan_kinds(cx, owner, Schema::needs_listing, |_| false)))
    );
    let mut candidates: Vec<(Arc<dyn Definition>, Id)> = Vec::new();
    match index {
        Ok(entries) => {
            let entries = entries.into_iter();
            candidates
                .extend(entries.filter_map(|(arn, tags)| from_index_entry(&cx.kinds, &Owner::default(), &arn, &tags)));
        }
        Err(error) if error.is_denied() && !prefixes.is_empty() => {}
        Err(error) => return Err(error),
    }
    for scan in scans.into_iter().chain(unindexed) {
        candidates.extend(scan?);
    }
    let mut seen = HashSet::new();
    candidates.retain(|(kind, id)| seen.insert((kind.schema().kind.clone(), id.name.clone())));
    Ok(candidates)
}

/// Reads a resource and what is attached to it.
async fn read_with_attached(cx: &Context, kind: &Arc<dyn Definition>, id: &Id) -> Result<Vec<Undeclared>, AwsError> {
    let (indexed, inner): (Vec<_>, Vec<_>) =
        attachable_kinds(&cx.kinds, &kind.schema().kind).partition(|(kind, _)| kind.schema().is_tagged());
    let no_owner = Owner::default();
    let (read, attached) = tokio::join!(read_masked(cx, kind, id), attached_to(cx, id, indexed, &no_owner));
    let (Reading { live, others }, mut attached) = (read?, attached?);
    // A resource without tags belongs to the team that its name begins with.
    if let Some(Live { owner: Ownership::Engine(owner), .. }) = &live {
        let nested = attached_to(cx, id, inner, owner).await?;
        attached.extend(nested.into_iter().filter_map(|(kind, id, live)| {
            let owner = Ownership::inherited_from(owner, &id.name).filter(|_| live.owner == Ownership::Inherited)?;
            Some((kind, id, Live { owner, ..live }))
        }));
    }
    let own = live.map(|live| (Arc::clone(kind), id.clone(), live)).into_iter();
    let others = others.into_iter().map(|(id, live)| (Arc::clone(kind), id, live));
    Ok(own.chain(others).chain(attached).collect())
}

/// The resources of these kinds that are attached to one parent.
async fn attached_to(
    cx: &Context,
    parent: &Id,
    kinds: Vec<(Arc<dyn Definition>, Str)>,
    owner: &Owner,
) -> Result<Vec<Undeclared>, AwsError> {
    let reads = kinds
        .into_iter()
        .map(|(kind, property)| list_attached(cx, kind, property, &parent.name, owner.clone(), parent.env.as_ref()));
    let found: Result<Vec<_>, AwsError> = join_all(reads).await.into_iter().map(ignore_permanent).collect();
    Ok(found?.concat())
}
