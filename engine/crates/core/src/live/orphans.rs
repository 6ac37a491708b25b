//! Searches for orphans: by their owner's tags, by the team's name prefix and the names in `owns:`,
//! and on what the spec declares.
//!
//! **Invariant:** what is found is read directly before it counts as an orphan, since the tag index
//! lags.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use futures_util::future::{join_all, try_join_all};

use crate::error::AwsError;
use crate::inventory::{self, Inventory, is_assigned};
use crate::kind::{Definition, Kinds};
use crate::provider::Tags;
use crate::remedy::{Advice, Remedy};
use crate::schema::{
    ArnForm, AwsEnv, Contents, Id, Identity, Live, Owner, Ownership, Reading, Schema, Shape, Str, TAG_RESOURCE,
    TAG_STACK, TAG_TEAM, Tagging, Users,
};
use crate::spec::{ResourceDecl, Spec};
use crate::value::Value;
use crate::wait::{Context, Detail};

use super::{Undeclared, observe, read_masked, with_unique_id};

/// How orphans are searched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrphanSearch {
    /// Not at all.
    Ignored,
    /// Only on what the spec declares.
    Attached,
    /// In the tag index.
    Indexed,
    /// In the tag index, or by the team's prefix if the index can't be read.
    IndexedOrScanned,
    /// In the tag index, which lags, and also by the team's prefix.
    Scanned,
}

/// What a search found by name or tag.
type FoundIds = Vec<(Arc<dyn Definition>, Id)>;

/// Possible orphans, and how complete the search was.
#[derive(Default)]
pub(super) struct Candidates {
    found: FoundIds,
    search: inventory::Search,
}

/// Searches by the owner's tags, and if that isn't enough, by the team's name prefix.
///
/// # Errors
/// Transient errors: a retry may find more. Missing permissions are reported in the outcome.
pub(super) async fn search(cx: &Context, spec: &Spec, orphans: OrphanSearch) -> Result<Candidates, AwsError> {
    if matches!(orphans, OrphanSearch::Ignored | OrphanSearch::Attached) {
        return Ok(Candidates::default());
    }
    let owner = Owner { team: spec.team.clone(), stack: spec.stack.clone(), resource: String::new() };
    let index = async {
        let tags = [(TAG_TEAM, owner.team.as_str()), (TAG_STACK, owner.stack.as_str())];
        let services = services(&cx.kinds);
        cx.read("", || cx.account.tagged(&tags, &services)).await
    };
    // The index doesn't list all kinds, and a diff finds the others by what refers to them.
    let (index, scanned, unindexed) = tokio::join!(
        index,
        async { if orphans == OrphanSearch::Scanned { Some(scan(cx, spec, &owner, |_| true).await) } else { None } },
        async {
            match orphans {
                OrphanSearch::IndexedOrScanned => scan(cx, spec, &owner, Schema::needs_listing).await,
                _ => Ok(Vec::new()),
            }
        }
    );
    let (mut found, trouble) = match index {
        Ok(entries) => {
            let entries = entries.into_iter();
            (entries.filter_map(|(arn, tags)| from_index_entry(&cx.kinds, &owner, &arn, &tags)).collect(), None)
        }
        Err(error) => (Vec::new(), Some(error)),
    };
    let scanned = match (scanned, &trouble) {
        (None, Some(_)) if orphans == OrphanSearch::IndexedOrScanned => Some(scan(cx, spec, &owner, |_| true).await),
        (scanned, _) => scanned,
    };
    let (more, search) = outcome(scanned, trouble, unindexed)?;
    found.extend(more);
    Ok(Candidates { found, search })
}

/// Everything of some kinds whose name begins with the team's prefix, and what may exist under the
/// names in `owns:`.
async fn scan(
    cx: &Context,
    spec: &Spec,
    owner: &Owner,
    includes: impl Fn(&Schema) -> bool,
) -> Result<FoundIds, AwsError> {
    let declares = |schema: &Schema| spec.managed(&schema.kind).next().is_some();
    let found = scan_kinds(cx, owner, &includes, declares).await?;
    let kinds = cx.kinds.iter().filter(|kind| kind.schema().is_tagged() && includes(kind.schema()));
    let listed = kinds.flat_map(|kind| {
        let names = spec.listed_names(kind.schema());
        names.map(|name| (Arc::clone(kind), Id::named(owner.clone(), name.to_owned())))
    });
    Ok(found.into_iter().chain(listed).collect())
}

/// What the scans found, and how complete the search was.
///
/// # Errors
/// Transient ones.
fn outcome(
    scanned: Option<Result<FoundIds, AwsError>>,
    trouble: Option<AwsError>,
    unindexed: Result<FoundIds, AwsError>,
) -> Result<(FoundIds, inventory::Search), AwsError> {
    let (mut found, search) = match (scanned, trouble) {
        (None, None) => (Vec::new(), inventory::Search::Complete),
        (None, Some(error)) | (Some(Err(error)), _) if error.passes() => return Err(error),
        (None, Some(error)) => {
            let problem = format!("engine couldn't search for orphans ({}); to find them by name, ", error.message);
            (Vec::new(), inventory::Search::Partial(Advice::from(problem).then(Remedy::SearchByName)))
        }
        (Some(Ok(more)), _) => (more, inventory::Search::Complete),
        (Some(Err(error)), _) => (Vec::new(), missed(&error)),
    };
    match unindexed {
        Ok(more) => {
            found.extend(more);
            Ok((found, search))
        }
        Err(error) if error.passes() => Err(error),
        Err(error) => Ok((found, missed(&error))),
    }
}

fn missed(error: &AwsError) -> inventory::Search {
    inventory::Search::Partial(format!("engine may have missed orphans: {error}").into())
}

/// Everything of some kinds whose name begins with the team's prefix. Without permission to list a
/// kind that the tag index doesn't list either, a team that `declares` none of it probably has
/// none.
pub(super) async fn scan_kinds(
    cx: &Context,
    owner: &Owner,
    includes: impl Fn(&Schema) -> bool,
    declares: impl Fn(&Schema) -> bool,
) -> Result<FoundIds, AwsError> {
    let kinds = cx.kinds.iter().filter(|kind| kind.schema().is_tagged() && includes(kind.schema()));
    let declares = &declares;
    let scans = kinds.map(|kind| async move {
        let schema = kind.schema();
        let provider = cx.provider(&schema.kind)?;
        let ids = match cx.read(&owner.team, || provider.list_by_prefix(cx, owner)).await {
            Err(error) if error.is_denied() && schema.needs_listing() => {
                if declares(schema) {
                    Err(error)
                } else {
                    Ok(Vec::new())
                }
            }
            ids => ids,
        };
        Ok::<_, AwsError>(ids?.into_iter().map(|id| (Arc::clone(kind), id)).collect::<Vec<_>>())
    });
    Ok(try_join_all(scans).await?.concat())
}

/// The services to search the index for. Resource types are not used: if the index doesn't know
/// one, it rejects the whole request.
pub(super) fn services(kinds: &Kinds) -> Vec<&str> {
    let mut services: Vec<&str> = indexed(kinds).map(|(_, arn)| &*arn.service).collect();
    services.sort_unstable();
    services.dedup();
    services
}

/// The kinds that the tag index searches, with the form of their ARNs.
fn indexed(kinds: &Kinds) -> impl Iterator<Item = (&Arc<dyn Definition>, &ArnForm)> {
    let indexed = kinds.iter().filter(|kind| kind.schema().is_indexed());
    indexed.filter_map(|kind| Some((kind, kind.schema().arn.as_ref()?)))
}

/// The identity of the resource that an entry of the tag index describes.
pub(super) fn from_index_entry(
    kinds: &Kinds,
    owner: &Owner,
    arn: &str,
    tags: &Tags,
) -> Option<(Arc<dyn Definition>, Id)> {
    let (kind, name) = indexed(kinds).find_map(|(kind, form)| Some((kind, form.name(arn)?.to_owned())))?;
    let resource = tags.get(TAG_RESOURCE).cloned().unwrap_or_default();
    Some((
        Arc::clone(kind),
        Id {
            owner: Owner { resource, ..owner.clone() },
            unique_id: matches!(kind.schema().identity, Identity::ServiceAssigned).then(|| name.clone()),
            name,
            arn: None,
            parents: BTreeMap::new(),
            env: None,
        },
    ))
}

/// What is attached to declared resources, for kinds that the spec doesn't declare there: declared
/// ones are found by their own reads.
///
/// # Errors
/// Transient errors, with the name of the resource. What can't be read is skipped, since it isn't
/// declared.
pub(super) async fn attached(
    cx: &Context,
    spec: &Spec,
    orphans: OrphanSearch,
    env: Option<&AwsEnv>,
) -> Result<Vec<Undeclared>, (String, AwsError)> {
    if orphans == OrphanSearch::Ignored {
        return Ok(Vec::new());
    }
    let parents = |it: &'_ ResourceDecl| {
        let kind = it.schema().kind.clone();
        it.id
            .parents
            .iter()
            .map(|(property, parent)| (kind.clone(), property.clone(), parent.clone()))
            .collect::<Vec<_>>()
    };
    let declared: HashSet<(Str, Str, String)> = spec.resources.iter().flat_map(parents).collect();
    let parents = spec.resources.iter().filter(|declared| !declared.imported);
    let reads = parents.flat_map(|parent| {
        let owner = Owner { resource: String::new(), ..parent.id.owner.clone() };
        let declared = &declared;
        attachable_kinds(&cx.kinds, &parent.schema().kind).filter_map(move |(kind, property)| {
            let is_declared =
                declared.contains(&(kind.schema().kind.clone(), property.clone(), parent.id.name.clone()));
            let read = list_attached(cx, kind, property, &parent.id.name, owner.clone(), env);
            (!is_declared)
                .then_some(async move { ignore_permanent(read.await).map_err(|error| (parent.name.clone(), error)) })
        })
    });
    Ok(try_join_all(reads).await?.concat())
}

/// What existing resources of the spec have nested where no declaration leads to, like the policy of an
/// alias.
///
/// # Errors
/// As [`attached`].
pub(super) async fn elsewhere(
    cx: &Context,
    spec: &Spec,
    orphans: OrphanSearch,
    inventory: &Inventory,
) -> Result<Vec<Undeclared>, (String, AwsError)> {
    // A parent that is deleted takes all of it along.
    let is_searched = matches!(orphans, OrphanSearch::IndexedOrScanned | OrphanSearch::Scanned);
    if !is_searched || cx.detail != Detail::Full {
        return Ok(Vec::new());
    }
    let parents = spec.resources.iter().filter(|it| !it.imported && inventory.live(&it.name).is_some());
    let reads = parents.flat_map(|parent| {
        let kinds = attachable_kinds(&cx.kinds, &parent.schema().kind);
        let nested = kinds.filter(|(kind, _)| matches!(kind.schema().identity, Identity::Nested { .. }));
        nested.map(move |(kind, property)| async move {
            let owner = Owner { resource: String::new(), ..parent.id.owner.clone() };
            let id = any_of(property, &parent.id.name, owner, Some(&inventory.env));
            // What a declaration has the name of is found by its own read.
            let is_declared = |id: &Id| {
                let mut declared = spec.managed(&kind.schema().kind).filter(|it| it.id.name == id.name);
                declared.any(|it| it.parent().is_some_and(|(_, name)| name == parent.id.name))
            };
            let found = super::elsewhere(cx, &kind, &id).await.map(|reading| {
                let others = reading.others.into_iter().filter(|(id, _)| !is_declared(id));
                undeclared(&kind, others.collect())
            });
            ignore_permanent(found).map_err(|error| (parent.name.clone(), error))
        })
    });
    Ok(try_join_all(reads).await?.concat())
}

/// The kinds that can be nested in or attached to a kind, with the property that refers to it.
pub(super) fn attachable_kinds(kinds: &Kinds, parent: &str) -> impl Iterator<Item = (Arc<dyn Definition>, Str)> {
    kinds.iter().filter_map(move |kind| {
        let property = kind.schema().parent()?;
        let Shape::Link { to, .. } = &property.shape else { return None };
        to.iter().any(|(kind, _)| *kind == parent).then(|| (Arc::clone(kind), property.name.clone()))
    })
}

/// Every resource of a kind that is attached to one parent.
pub(super) async fn list_attached(
    cx: &Context,
    kind: Arc<dyn Definition>,
    property: Str,
    parent: &str,
    owner: Owner,
    env: Option<&AwsEnv>,
) -> Result<Vec<Undeclared>, AwsError> {
    let reading = read_masked(cx, &kind, &any_of(property, parent, owner, env)).await?;
    Ok(undeclared(&kind, reading.others))
}

/// The identity that reads everything which is nested in or attached to one parent, and has no name.
fn any_of(property: Str, parent: &str, owner: Owner, env: Option<&AwsEnv>) -> Id {
    let parents = BTreeMap::from([(property, parent.to_owned())]);
    Id { parents, env: env.cloned(), ..Id::named(owner, String::new()) }
}

fn undeclared(kind: &Arc<dyn Definition>, others: Vec<(Id, Live)>) -> Vec<Undeclared> {
    others.into_iter().map(|(id, live)| (Arc::clone(kind), id, live)).collect()
}

/// Ignores permanent errors about a parent that isn't deleted: what is attached to it doesn't
/// matter.
pub(super) fn ignore_permanent(found: Result<Vec<Undeclared>, AwsError>) -> Result<Vec<Undeclared>, AwsError> {
    match found {
        Err(error) if !error.passes() => Ok(Vec::new()),
        found => found,
    }
}

/// Adds what the search found and what is attached to declared resources, and what orphans are
/// attached to.
///
/// # Errors
/// Transient errors, with the name of the resource.
pub(super) async fn add(
    cx: &Context,
    spec: &Spec,
    inventory: &mut Inventory,
    candidates: Candidates,
    attached: Vec<Undeclared>,
) -> Result<(), (String, AwsError)> {
    inventory.search = candidates.search;
    attached.into_iter().for_each(|(kind, id, live)| inventory.add_orphan(spec, &kind, id, live, None));
    Box::pin(verify(cx, spec, inventory, candidates.found)).await?;
    let referenced = referenced(cx, spec, inventory);
    if !referenced.is_empty() {
        Box::pin(verify(cx, spec, inventory, referenced)).await?;
    }
    for orphan in &inventory.orphans {
        observe(cx, &orphan.declared, orphan.found.live.as_ref());
    }
    Box::pin(read_parents(cx, spec, inventory)).await
}

/// What live resources of this stack refer to by ARN, of kinds that the tag index doesn't list.
fn referenced(cx: &Context, spec: &Spec, inventory: &Inventory) -> FoundIds {
    let declared = spec.resources.iter().filter_map(|it| Some((it.schema(), inventory.live(&it.name)?)));
    let orphans = inventory.orphans.iter();
    let orphans = orphans.filter_map(|it| Some((it.declared.schema(), it.found.live.as_ref()?)));
    let mut found: BTreeMap<(Str, String), (Arc<dyn Definition>, Id)> = BTreeMap::new();
    for (schema, live) in declared.chain(orphans) {
        for property in &schema.properties {
            let Shape::Link { to, .. } = &property.shape else { continue };
            let Some(arn) = live.props.get(&*property.name).and_then(Value::as_str) else { continue };
            for kind in to.iter().filter_map(|(kind, _)| cx.kinds.get(kind)) {
                let target = kind.schema();
                let form = target.arn.as_ref();
                let name = form.and_then(|form| form.name(arn));
                if let Some(name) =
                    name.filter(|name| target.tagging == Tagging::Own && spec.names().includes(form, name))
                {
                    let owner = Owner { team: spec.team.clone(), stack: spec.stack.clone(), resource: String::new() };
                    let id = Id::named(owner, name.to_owned());
                    found.insert((target.kind.clone(), name.to_owned()), (Arc::clone(kind), id));
                }
            }
        }
    }
    found.into_values().filter(|(kind, id)| !inventory.is_tracked(spec, kind, id)).collect()
}

/// Reads what the search found: the index lags and lists deleted resources, so a direct read
/// decides. If a resource or what is attached to it can't be read, it doesn't count as an orphan:
/// deleting it would leave the rest behind.
///
/// # Errors
/// Transient errors, with the name of the resource.
async fn verify(
    cx: &Context,
    spec: &Spec,
    inventory: &mut Inventory,
    candidates: Vec<(Arc<dyn Definition>, Id)>,
) -> Result<(), (String, AwsError)> {
    let env = Some(inventory.env.clone());
    // Most candidates are declared; a set avoids comparing each with every declaration.
    let mut seen: HashSet<(Str, String)> = HashSet::new();
    for declared in &spec.resources {
        let kind = &declared.schema().kind;
        seen.insert((kind.clone(), declared.id.name.clone()));
        let unique_id = inventory.live(&declared.name).and_then(|live| with_unique_id(declared, live).unique_id);
        seen.extend(unique_id.map(|uuid| (kind.clone(), uuid)));
    }
    let unknown = candidates.into_iter().filter(|(kind, id)| {
        seen.insert((kind.schema().kind.clone(), id.name.clone())) && !inventory.is_tracked(spec, kind, id)
    });
    let reads = join_all(unknown.map(|(kind, id)| {
        let id = Id { env: env.clone(), ..id };
        async move {
            let read = read_candidate(cx, &kind, &id).await;
            (kind, id, read)
        }
    }));
    for (kind, id, read) in reads.await {
        match read {
            Ok(CandidateReads { reading: Reading { live, others }, attached, contents, users }) => {
                if let Some(live) = live {
                    let id = with_tagged_name(id, &live);
                    inventory.add_orphan(spec, &kind, id.clone(), live, None);
                    inventory.set_contents(&kind, &id, contents, users);
                }
                others.into_iter().for_each(|(id, live)| inventory.add_orphan(spec, &kind, id, live, None));
                attached.into_iter().for_each(|(kind, id, live)| inventory.add_orphan(spec, &kind, id, live, None));
            }
            Err(error) if error.passes() => return Err((id.name, error)),
            Err(error) => {
                let message = format!("`{}` may be an orphan, but can't be read: {error}", id.name);
                inventory.search = inventory::Search::Partial(message.into());
            }
        }
    }
    Ok(())
}

/// Reads a possible orphan, what is attached to it, and what would be lost with it, as far as that
/// can be read.
async fn read_candidate(cx: &Context, kind: &Arc<dyn Definition>, id: &Id) -> Result<CandidateReads, AwsError> {
    let schema = kind.schema();
    let contents = async {
        if !schema.holds_data || cx.overrides.delete_data {
            return None;
        }
        let provider = cx.provider(&schema.kind).ok()?;
        cx.read(&id.name, || provider.contents(cx, id)).await.ok()
    };
    let users = async {
        let provider = cx.provider(&schema.kind).ok()?;
        cx.read(&id.name, || provider.users(cx, id)).await.ok().flatten()
    };
    let attached = attachable_kinds(&cx.kinds, &schema.kind).map(|(kind, property)| {
        let owner = Owner { resource: String::new(), ..id.owner.clone() };
        list_attached(cx, kind, property, &id.name, owner, id.env.as_ref())
    });
    let (reading, contents, users, attached) =
        tokio::join!(read_masked(cx, kind, id), contents, users, try_join_all(attached));
    Ok(CandidateReads { reading: reading?, attached: attached?.concat(), contents, users })
}

/// What was read about a possible orphan.
struct CandidateReads {
    reading: Reading,
    attached: Vec<Undeclared>,
    contents: Option<Contents>,
    users: Option<Users>,
}

/// The identity of an undeclared resource, with the resource name from its tags. Team and stack
/// stay this spec's; the plan compares them with the owner's.
fn with_tagged_name(id: Id, live: &Live) -> Id {
    match &live.owner {
        Ownership::Engine(owner) => Id { owner: Owner { resource: owner.resource.clone(), ..id.owner.clone() }, ..id },
        _ => id,
    }
}

/// Reads the owners of the functions that orphaned mappings are attached to, unless they are known:
/// tags are easily copied. If an owner can't be read, the function's name decides.
///
/// # Errors
/// Transient errors, with the name of the function.
async fn read_parents(cx: &Context, spec: &Spec, inventory: &mut Inventory) -> Result<(), (String, AwsError)> {
    let is_known = |(kind, name): &(&str, &str)| {
        let is_it = |it: &ResourceDecl| it.schema().kind == *kind && it.id.name == *name;
        spec.resources.iter().any(is_it) || inventory.orphans.iter().any(|it| is_it(&it.declared))
    };
    let parents = inventory.orphans.iter().filter(|it| is_assigned(&it.declared)).filter_map(|it| it.declared.parent());
    let unknown: BTreeSet<(&str, &str)> =
        parents.filter(|(kind, name)| spec.can_have_name(kind, name)).filter(|it| !is_known(it)).collect();
    let reads = unknown.into_iter().filter_map(|(kind, name)| {
        let owner = Owner { team: spec.team.clone(), stack: spec.stack.clone(), resource: String::new() };
        let id = Id { env: Some(inventory.env.clone()), ..Id::named(owner, name.to_owned()) };
        let kind = cx.kinds.get(kind)?;
        Some(async move { (kind, read_masked(cx, kind, &id).await, id) })
    });
    for (kind, reading, id) in join_all(reads).await {
        match reading {
            Ok(Reading { live: Some(live), .. }) => {
                let key = (kind.schema().kind.clone(), id.name.clone());
                observe(cx, &ResourceDecl::orphan(Arc::clone(kind), id), Some(&live));
                inventory.parents.insert(key, live.owner);
            }
            Err(error) if error.passes() => return Err((id.name, error)),
            _ => {}
        }
    }
    Ok(())
}
