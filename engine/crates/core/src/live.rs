//! Reads everything that a spec declares, concurrently, into an inventory.
//!
//! **Invariant:** it never writes, and it passes what it finds about owners to the guard before any write.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use futures_util::future::{join_all, try_join_all};
use tokio::time::Duration;

use crate::error::{AwsError, Class};
use crate::inventory::{self, Found, Inventory, is_assigned};
use crate::kind::{Definition, Kinds};
use crate::ownership::OwnershipVerdict;
use crate::plan::{Goal, Options};
use crate::provider::Tags;
use crate::schema::{
    Age, ArnForm, Condition, Id, Live, Naming, Outputs, Owner, Ownership, Reading, Shape, Site, Str, TAG_RESOURCE,
    TAG_STACK, TAG_TEAM, Unknown, is_of_team,
};
use crate::spec::{Declared, Spec};
use crate::value::Tree;
use crate::wait::{Context, Wait};

/// A resource that no declaration refers to, as it was found.
type Undeclared = (Arc<dyn Definition>, Id, Live);

/// Why a run couldn't read AWS.
#[derive(Debug)]
pub struct ReadError {
    /// The resource that couldn't be read; `None` if the error is about the whole run.
    pub resource: Option<String>,
    /// Why.
    pub error: AwsError,
}

/// Until a new table's tags can be read (with a minute to spare for lag), or a mapping's settings.
const OWNER: Wait = Wait {
    what: "AWS to return its tags and settings",
    since: "both become readable a few seconds after a change",
    look: "",
    limit: None,
    budget: Duration::from_secs(11 * 60),
};

/// How orphans are searched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leftovers {
    /// Not at all.
    Ignored,
    /// Only on what the spec declares.
    Hanging,
    /// In the tag index.
    Indexed,
    /// In the tag index, or by the team's prefix if the index can't be read.
    IndexedOrScanned,
    /// In the tag index, which lags, and also by the team's prefix.
    Scanned,
}

/// How often reads are repeated that contradict each other.
const TORN_READS: u32 = 3;

/// Reads everything that `spec` declares and everything else that has its owner's tags. `account` is
/// the account, if it is already known.
///
/// # Errors
/// Every read that failed; one that is about the whole run comes first, and once.
pub async fn read(
    cx: &Context,
    spec: &Spec,
    goal: Goal,
    options: &Options,
    leftovers: Leftovers,
    account: Option<&str>,
) -> Result<Inventory, Vec<ReadError>> {
    for _ in 0..TORN_READS {
        let inventory = read_once(cx, spec, goal, options, leftovers, account).await?;
        // Another client may create or delete resources between the answers.
        if !is_torn(spec, &inventory) {
            return Ok(inventory);
        }
    }
    read_once(cx, spec, goal, options, leftovers, account).await
}

/// Whether a nested resource was found, but its parent wasn't.
fn is_torn(spec: &Spec, inventory: &Inventory) -> bool {
    let is_there = |declared: &&Declared| inventory.live(&declared.name).is_some();
    let inner = spec.resources.iter().filter(|it| matches!(it.schema().naming, Naming::Inner { .. })).filter(is_there);
    inner.flat_map(|inner| inner.id.anchors.values()).any(|host| {
        let hosts = spec.resources.iter().filter(|it| it.id.name == *host && !it.imported);
        hosts.filter(|it| matches!(it.schema().naming, Naming::Own { .. })).any(|host| !is_there(&host))
    })
}

async fn read_once(
    cx: &Context,
    spec: &Spec,
    goal: Goal,
    options: &Options,
    leftovers: Leftovers,
    account: Option<&str>,
) -> Result<Inventory, Vec<ReadError>> {
    let whole = |error| vec![ReadError { resource: None, error }];
    for declared in spec.resources.iter().filter(|declared| declared.imported) {
        cx.account.observe_import(&declared.schema().kind, &declared.id.name);
    }
    for name in &spec.untouchable {
        cx.kinds.schemas().for_each(|schema| cx.account.observe_import(&schema.kind, name));
    }
    learn(cx, spec);
    let site = account.map(|account| Site::new(cx.account.region(), account));
    let reads = join_all(spec.resources.iter().map(|declared| {
        let id = Id { site: site.clone(), ..declared.id.clone() };
        // Contents matter only for what may be deleted.
        let deletes = goal == Goal::Absent || options.replace.contains(&declared.name);
        async move { read_one(cx, declared, &id, goal, deletes).await }
    }));
    // Boxed: together these futures are too large for a thread's stack.
    let (actual, reads, hits, neighbours) = tokio::join!(
        Box::pin(cx.read("", || cx.account.number())),
        reads,
        Box::pin(search(cx, spec, leftovers)),
        Box::pin(neighbours(cx, spec, leftovers, site.as_ref()))
    );
    let actual = actual.map_err(whole)?;
    in_account(spec, &actual).map_err(whole)?;
    let mut inventory = Inventory::new(Site::new(cx.account.region(), &actual));
    cx.account.observe_site(&inventory.site);
    let mut others = Vec::new();
    let mut errors: Vec<ReadError> = Vec::new();
    for (declared, read) in spec.resources.iter().zip(reads) {
        match read {
            Ok((found, more)) => {
                inventory.found.insert(declared.name.clone(), found);
                others.push((declared, more));
            }
            Err(error) => note(&mut errors, Some(&declared.name), error),
        }
    }
    let hits = hits.map_err(|error| note(&mut errors, None, error)).unwrap_or_default();
    let neighbours = neighbours.map_err(|(host, error)| note(&mut errors, Some(&host), error)).unwrap_or_default();
    if !errors.is_empty() {
        return Err(errors);
    }
    // The choice among several candidates may depend on the other reads.
    let mut rest = Vec::new();
    for (declared, more) in others {
        if is_assigned(declared) {
            rest.push((&declared.kind, inventory.choose(spec, declared, more)));
            observe(cx, declared, inventory.live(&declared.name));
        } else {
            rest.push((&declared.kind, more));
        }
    }
    // What no declaration has chosen is an orphan.
    for (kind, more) in rest {
        more.into_iter().for_each(|(id, live)| inventory.leave(spec, kind, id, live, None));
    }
    let Search { hits, outcome } = hits;
    inventory.search = outcome;
    neighbours.into_iter().for_each(|(kind, id, live)| inventory.leave(spec, &kind, id, live, None));
    let failed = |(name, error): (String, AwsError)| {
        let mut errors = Vec::new();
        note(&mut errors, Some(&name), error);
        errors
    };
    Box::pin(confirm(cx, spec, &mut inventory, hits)).await.map_err(failed)?;
    for leftover in &inventory.leftovers {
        observe(cx, &leftover.declared, leftover.found.live.as_ref());
    }
    Box::pin(read_parents(cx, spec, &mut inventory)).await.map_err(failed)?;
    Ok(inventory)
}

/// Reads the owners of the functions that orphaned mappings are attached to, unless they are known:
/// tags are easily copied. If an owner can't be read, the function's name decides.
///
/// # Errors
/// Transient errors, with the name of the function.
async fn read_parents(cx: &Context, spec: &Spec, inventory: &mut Inventory) -> Result<(), (String, AwsError)> {
    let is_known = |(kind, name): &(&str, &str)| {
        let is_it = |it: &Declared| it.schema().kind == *kind && it.id.name == *name;
        spec.resources.iter().any(is_it) || inventory.leftovers.iter().any(|it| is_it(&it.declared))
    };
    let parents = inventory.leftovers.iter().filter(|it| is_assigned(&it.declared)).filter_map(|it| it.declared.host());
    let unknown: BTreeSet<(&str, &str)> =
        parents.filter(|(_, name)| is_of_team(name, &spec.team)).filter(|it| !is_known(it)).collect();
    let reads = unknown.into_iter().filter_map(|(kind, name)| {
        let id = Id {
            owner: Owner { team: spec.team.clone(), stack: spec.stack.clone(), resource: String::new() },
            name: name.to_owned(),
            arn: None,
            anchors: BTreeMap::new(),
            site: Some(inventory.site.clone()),
            incarnation: None,
        };
        let kind = cx.kinds.get(kind)?;
        Some(async move { (kind, look(cx, kind, &id).await, id) })
    });
    for (kind, reading, id) in join_all(reads).await {
        match reading {
            Ok(Reading { live: Some(live), .. }) => {
                let key = (kind.schema().kind.clone(), id.name.clone());
                observe(cx, &Declared::leftover(Arc::clone(kind), id), Some(&live));
                inventory.parents.insert(key, live.owner);
            }
            Err(error) if error.passes() => return Err((id.name, error)),
            _ => {}
        }
    }
    Ok(())
}

/// Checks that `actual` is the account that the spec is for.
///
/// # Errors
/// `WrongAccount` if it isn't.
pub fn in_account(spec: &Spec, actual: &str) -> Result<(), AwsError> {
    let Some(wanted) = spec.account.as_ref().filter(|wanted| *wanted != actual) else { return Ok(()) };
    let message = format!("the spec is for account {wanted}, but the credentials are for account {actual}");
    Err(AwsError::own(Class::WrongAccount, "", "", message))
}

/// Adds an error; a cause that all reads share is added once.
fn note(errors: &mut Vec<ReadError>, resource: Option<&str>, error: AwsError) {
    if !error.is_about_the_run() {
        errors.push(ReadError { resource: resource.map(str::to_owned), error });
    } else if !errors.iter().any(|known| known.error.class == error.class) {
        errors.insert(0, ReadError { resource: None, error });
    }
}

/// Possible orphans, and how complete the search was.
#[derive(Default)]
struct Search {
    hits: Vec<(Arc<dyn Definition>, Id)>,
    outcome: inventory::Search,
}

/// Searches by the owner's tags, and if that isn't enough, by the team's name prefix.
///
/// # Errors
/// Transient errors: a retry may find more. Missing permissions are reported in the outcome.
async fn search(cx: &Context, spec: &Spec, leftovers: Leftovers) -> Result<Search, AwsError> {
    let complete = inventory::Search::Complete;
    if matches!(leftovers, Leftovers::Ignored | Leftovers::Hanging) {
        return Ok(Search::default());
    }
    let owner = Owner { team: spec.team.clone(), stack: spec.stack.clone(), resource: String::new() };
    let index = async {
        let tags = [(TAG_TEAM, owner.team.as_str()), (TAG_STACK, owner.stack.as_str())];
        let services = services(&cx.kinds);
        cx.read("", || cx.account.tagged(&tags, &services)).await
    };
    let (index, scanned) = tokio::join!(index, async {
        if leftovers == Leftovers::Scanned { Some(scan(cx, &owner).await) } else { None }
    });
    let (mut hits, trouble) = match index {
        Ok(found) => (found.into_iter().filter_map(|(arn, tags)| hit(&cx.kinds, &owner, &arn, &tags)).collect(), None),
        Err(error) => (Vec::new(), Some(error)),
    };
    let scanned = match (scanned, &trouble) {
        (None, Some(_)) if leftovers == Leftovers::IndexedOrScanned => Some(scan(cx, &owner).await),
        (scanned, _) => scanned,
    };
    let outcome = match (scanned, trouble) {
        (None, None) => complete,
        (None, Some(error)) | (Some(Err(error)), _) if error.passes() => return Err(error),
        (None, Some(error)) => inventory::Search::Partial(format!(
            "engine couldn't search for orphans ({}); to find them by name, add `--prune-scan`",
            error.message
        )),
        (Some(Ok(found)), _) => {
            hits.extend(found);
            complete
        }
        (Some(Err(error)), _) => inventory::Search::Partial(format!("engine may have missed orphans: {error}")),
    };
    Ok(Search { hits, outcome })
}

/// Everything whose name begins with the team's prefix, for each kind.
async fn scan(cx: &Context, owner: &Owner) -> Result<Vec<(Arc<dyn Definition>, Id)>, AwsError> {
    let kinds = cx.kinds.iter().filter(|kind| kind.schema().is_indexed);
    let scans = kinds.map(|kind| async move {
        let provider = cx.provider(&kind.schema().kind)?;
        let ids = cx.read(&owner.team, || provider.scan(cx, owner)).await?;
        Ok::<_, AwsError>(ids.into_iter().map(|id| (Arc::clone(kind), id)).collect::<Vec<_>>())
    });
    Ok(try_join_all(scans).await?.concat())
}

/// The services to search the index for. Resource types are not used: if the index doesn't know one,
/// it rejects the whole request.
fn services(kinds: &Kinds) -> Vec<&str> {
    let mut services: Vec<&str> = indexed(kinds).map(|(_, arn)| &*arn.service).collect();
    services.sort_unstable();
    services.dedup();
    services
}

/// The kinds that the tag index searches, with the form of their ARNs.
fn indexed(kinds: &Kinds) -> impl Iterator<Item = (&Arc<dyn Definition>, &ArnForm)> {
    let indexed = kinds.iter().filter(|kind| kind.schema().is_indexed);
    indexed.filter_map(|kind| Some((kind, kind.schema().arn.as_ref()?)))
}

/// The identity of the resource that an entry of the tag index describes.
fn hit(kinds: &Kinds, owner: &Owner, arn: &str, tags: &Tags) -> Option<(Arc<dyn Definition>, Id)> {
    let (kind, name) = indexed(kinds).find_map(|(kind, form)| Some((kind, form.name(arn)?.to_owned())))?;
    let resource = tags.get(TAG_RESOURCE).cloned().unwrap_or_default();
    Some((
        Arc::clone(kind),
        Id {
            owner: Owner { resource, ..owner.clone() },
            incarnation: matches!(kind.schema().naming, Naming::Assigned).then(|| name.clone()),
            name,
            arn: None,
            anchors: BTreeMap::new(),
            site: None,
        },
    ))
}

/// What is attached to declared resources, for kinds that the spec doesn't declare there: declared
/// ones are found by their own reads.
///
/// # Errors
/// Transient errors, with the name of the resource. What can't be read is skipped, since it isn't declared.
async fn neighbours(
    cx: &Context,
    spec: &Spec,
    leftovers: Leftovers,
    site: Option<&Site>,
) -> Result<Vec<Undeclared>, (String, AwsError)> {
    if leftovers == Leftovers::Ignored {
        return Ok(Vec::new());
    }
    let anchors = |it: &'_ Declared| {
        let kind = it.schema().kind.clone();
        it.id.anchors.iter().map(|(property, host)| (kind.clone(), property.clone(), host.clone())).collect::<Vec<_>>()
    };
    let declared: HashSet<(Str, Str, String)> = spec.resources.iter().flat_map(anchors).collect();
    let hosts = spec.resources.iter().filter(|declared| !declared.imported);
    let reads = hosts.flat_map(|host| {
        let owner = Owner { resource: String::new(), ..host.id.owner.clone() };
        let declared = &declared;
        hung(&cx.kinds, &host.schema().kind).filter_map(move |(kind, property)| {
            let is_declared = declared.contains(&(kind.schema().kind.clone(), property.clone(), host.id.name.clone()));
            let read = on_host(cx, kind, property, &host.id.name, owner.clone(), site);
            (!is_declared).then_some(async move { shown(read.await).map_err(|error| (host.name.clone(), error)) })
        })
    });
    Ok(try_join_all(reads).await?.concat())
}

/// The kinds that can be nested in or attached to a kind, with the property that refers to it.
fn hung(kinds: &Kinds, host: &str) -> impl Iterator<Item = (Arc<dyn Definition>, Str)> {
    kinds.iter().filter_map(move |kind| {
        let property = kind.schema().parent()?;
        let Shape::Link { to, .. } = &property.shape else { return None };
        to.iter().any(|(kind, _)| *kind == host).then(|| (Arc::clone(kind), property.name.clone()))
    })
}

/// Every resource of a kind that is attached to one parent.
async fn on_host(
    cx: &Context,
    kind: Arc<dyn Definition>,
    property: Str,
    host: &str,
    owner: Owner,
    site: Option<&Site>,
) -> Result<Vec<Undeclared>, AwsError> {
    let id = Id {
        owner,
        name: String::new(),
        arn: None,
        anchors: BTreeMap::from([(property, host.to_owned())]),
        site: site.cloned(),
        incarnation: None,
    };
    let reading = look(cx, &kind, &id).await?;
    Ok(reading.others.into_iter().map(|(id, live)| (Arc::clone(&kind), id, live)).collect())
}

/// Ignores permanent errors about a parent that isn't deleted: what is attached to it doesn't matter.
fn shown(found: Result<Vec<Undeclared>, AwsError>) -> Result<Vec<Undeclared>, AwsError> {
    match found {
        Err(error) if !error.passes() => Ok(Vec::new()),
        found => found,
    }
}

/// Reads what the search found: the index lags and lists deleted resources, so a direct read decides.
/// If a resource or what is attached to it can't be read, it doesn't count as an orphan: deleting it
/// would leave the rest behind.
///
/// # Errors
/// Transient errors, with the name of the resource.
async fn confirm(
    cx: &Context,
    spec: &Spec,
    inventory: &mut Inventory,
    hits: Vec<(Arc<dyn Definition>, Id)>,
) -> Result<(), (String, AwsError)> {
    let site = Some(inventory.site.clone());
    // Most hits are declared; a set avoids comparing each with every declaration.
    let mut seen: HashSet<(Str, String)> = HashSet::new();
    for declared in &spec.resources {
        let kind = &declared.schema().kind;
        seen.insert((kind.clone(), declared.id.name.clone()));
        let incarnation = inventory.live(&declared.name).and_then(|live| meant(declared, live).incarnation);
        seen.extend(incarnation.map(|uuid| (kind.clone(), uuid)));
    }
    let unknown = hits.into_iter().filter(|(kind, id)| {
        seen.insert((kind.schema().kind.clone(), id.name.clone())) && !inventory.knows(spec, kind, id)
    });
    let reads = join_all(unknown.map(|(kind, id)| {
        let id = Id { site: site.clone(), ..id };
        async move {
            let schema = kind.schema();
            let contents = async {
                match schema.holds_data && !cx.consent.delete_data {
                    true => {
                        let provider = cx.provider(&schema.kind).ok()?;
                        cx.read(&id.name, || provider.contents(cx, &id)).await.ok()
                    }
                    false => None,
                }
            };
            let hosted = hung(&cx.kinds, &schema.kind).map(|(kind, property)| {
                let owner = Owner { resource: String::new(), ..id.owner.clone() };
                let site = id.site.as_ref();
                let host = &id.name;
                async move { on_host(cx, kind, property, host, owner, site).await }
            });
            let read = look(cx, &kind, &id);
            let (read, contents, hosted) = tokio::join!(read, contents, try_join_all(hosted));
            let whole = read.and_then(|read| Ok((read, hosted?.concat())));
            (kind, id, whole, contents)
        }
    }));
    for (kind, id, read, contents) in reads.await {
        match read {
            Ok((Reading { live, others }, hosted)) => {
                if let Some(live) = live {
                    let id = called(id, &live);
                    inventory.leave(spec, &kind, id.clone(), live, None);
                    inventory.weigh(&kind, &id, contents);
                }
                others.into_iter().for_each(|(id, live)| inventory.leave(spec, &kind, id, live, None));
                hosted.into_iter().for_each(|(kind, id, live)| inventory.leave(spec, &kind, id, live, None));
            }
            Err(error) if error.passes() => return Err((id.name, error)),
            Err(error) => {
                let message = format!("`{}` may be an orphan, but can't be read: {error}", id.name);
                inventory.search = inventory::Search::Partial(message);
            }
        }
    }
    Ok(())
}

/// Everything with engine's tags, of one team and stack or of all, and everything whose name begins
/// with one of `prefixes`, tagged or not. Each is read directly: the index also lists deleted resources.
///
/// # Errors
/// `Denied` if you lack permission to read the tag index and there are no prefixes; the scans' errors.
pub async fn survey(
    cx: &Context,
    of: Option<(&str, &str)>,
    prefixes: &[String],
    account: &str,
) -> Result<Vec<Undeclared>, AwsError> {
    let services = services(&cx.kinds);
    let tags = of.map_or_else(|| vec![(TAG_TEAM, "")], |(team, stack)| vec![(TAG_TEAM, team), (TAG_STACK, stack)]);
    let nobody = Owner { team: String::new(), stack: String::new(), resource: String::new() };
    let owners: Vec<Owner> = prefixes.iter().map(|team| Owner { team: team.clone(), ..nobody.clone() }).collect();
    let (index, scans) = tokio::join!(
        cx.read("", || cx.account.tagged(&tags, &services)),
        join_all(owners.iter().map(|owner| scan(cx, owner)))
    );
    let mut hits: Vec<(Arc<dyn Definition>, Id)> = Vec::new();
    match index {
        Ok(found) => hits.extend(found.into_iter().filter_map(|(arn, tags)| hit(&cx.kinds, &nobody, &arn, &tags))),
        Err(error) if error.class == Class::Denied && !prefixes.is_empty() => {}
        Err(error) => return Err(error),
    }
    for scan in scans {
        hits.extend(scan?);
    }
    let mut seen = HashSet::new();
    hits.retain(|(kind, id)| seen.insert((kind.schema().kind.clone(), id.name.clone())));
    let site = Site::new(cx.account.region(), account);
    let reads = join_all(hits.into_iter().map(|(kind, id)| {
        let id = Id { site: Some(site.clone()), ..id };
        let (indexed, inner): (Vec<_>, Vec<_>) =
            hung(&cx.kinds, &kind.schema().kind).partition(|(kind, _)| kind.schema().is_indexed);
        async move {
            let site = id.site.as_ref();
            let of_nobody = Owner { team: String::new(), stack: String::new(), resource: String::new() };
            let on_this = async |hung: Vec<(Arc<dyn Definition>, Str)>, owner: &Owner| {
                let reads = hung.into_iter().map(|(kind, it)| on_host(cx, kind, it, &id.name, owner.clone(), site));
                join_all(reads).await.into_iter().map(shown).collect::<Result<Vec<_>, _>>()
            };
            let (read, hosted) = tokio::join!(look(cx, &kind, &id), on_this(indexed, &of_nobody));
            let (Reading { live, others }, mut hosted) = (read?, hosted?.concat());
            // A resource without tags belongs to the team that its name begins with.
            if let Some(Live { owner: Ownership::Engine(owner), .. }) = &live {
                let owned = on_this(inner, owner).await?.concat();
                hosted.extend(owned.into_iter().filter_map(|(kind, id, live)| {
                    let owner =
                        Ownership::inherited_from(owner, &id.name).filter(|_| live.owner == Ownership::Inherited)?;
                    Some((kind, id, Live { owner, ..live }))
                }));
            }
            let own = live.map(|live| (Arc::clone(&kind), id.clone(), live)).into_iter();
            let others = others.into_iter().map(|(id, live)| (Arc::clone(&kind), id, live));
            Ok::<_, AwsError>(own.chain(others).chain(hosted).collect::<Vec<_>>())
        }
    }));
    let us = of.map(|(team, stack)| Owner { team: team.to_owned(), stack: stack.to_owned(), ..nobody.clone() });
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    for read in reads.await {
        for (kind, id, live) in read? {
            let wanted = match (&live.owner, &us) {
                (owner, Some(us)) => OwnershipVerdict::of(owner, None, us).is_ours(),
                // Untagged resources count only if they were searched for.
                (Ownership::Engine(_), None) => true,
                (_, None) => !prefixes.is_empty(),
            };
            // Names of nested resources are unique only within their parent.
            let host = id.anchors.values().next().filter(|_| !kind.schema().is_indexed).cloned();
            if wanted && seen.insert((kind.schema().kind.clone(), id.name.clone(), id.incarnation.clone(), host)) {
                found.push((kind, id, live));
            }
        }
    }
    Ok(found)
}

/// Waits until every owner and every setting can be read. The caller then reads again.
///
/// # Errors
/// The waits that failed.
pub async fn await_owners(cx: &Context, spec: &Spec, inventory: &Inventory) -> Result<(), Vec<ReadError>> {
    let undecided = spec.resources.iter().filter_map(|declared| {
        let live = inventory.live(&declared.name).filter(|live| !declared.imported && live.undecided().is_some())?;
        Some((declared, meant(declared, live)))
    });
    let undecided = undecided.map(|(declared, id)| (&declared.kind, id, Some(declared.name.clone())));
    let leftovers = inventory.leftovers.iter().filter(|leftover| leftover.is_undecided());
    let leftovers = leftovers.map(|leftover| (&leftover.declared.kind, leftover.declared.id.clone(), None));
    let waits = join_all(undecided.chain(leftovers).map(|(kind, id, resource)| async move {
        let probe = || async {
            let live = cx.provider(&kind.schema().kind)?.read(cx, &id).await?.live;
            let undecided = live.as_ref().is_some_and(|live| live.undecided().is_some());
            Ok((!undecided).then_some(()))
        };
        let error = cx.until(OWNER, &id.name, probe).await.err()?;
        Some(ReadError { resource, error })
    }));
    let errors: Vec<ReadError> = waits.await.into_iter().flatten().collect();
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// The identity of an undeclared resource, with the resource name from its tags. Team and stack stay
/// this spec's; the plan compares them with the owner's.
fn called(id: Id, live: &Live) -> Id {
    match &live.owner {
        Ownership::Engine(owner) => Id { owner: Owner { resource: owner.resource.clone(), ..id.owner.clone() }, ..id },
        _ => id,
    }
}

/// The identity of a declaration, with the id that only AWS knows.
pub fn meant(declared: &Declared, live: &Live) -> Id {
    let incarnation = live.incarnation.clone().filter(|_| is_assigned(declared));
    Id { incarnation, ..declared.id.clone() }
}

/// Registers the spec's secret values, so that they are masked in texts from AWS.
pub fn learn(cx: &Context, spec: &Spec) {
    for declared in &spec.resources {
        declared.schema().secrets(&declared.desired).for_each(|secret| cx.secrets.learn(secret));
    }
}

/// Reads one resource and masks its secret values from then on, also in its own notes.
async fn look(cx: &Context, kind: &Arc<dyn Definition>, id: &Id) -> Result<Reading, AwsError> {
    let provider = cx.provider(&kind.schema().kind)?;
    let mut reading = cx.read(&id.name, || provider.read(cx, id)).await?;
    let Reading { live, others } = &mut reading;
    for live in live.iter_mut().chain(others.iter_mut().map(|(_, live)| live)) {
        kind.schema().secrets(&live.props).for_each(|secret| cx.secrets.learn(secret));
        live.notes.iter_mut().chain(live.unknown.values_mut()).for_each(|note| *note = cx.secrets.mask(note));
        if let Condition::Broken(reason) = &mut live.condition {
            *reason = cx.secrets.mask(reason);
        }
    }
    Ok(reading)
}

/// Reads one resource again, right before it is written to.
///
/// # Errors
/// As the kind's read.
pub async fn read_again(cx: &Context, declared: &Declared) -> Result<Option<Live>, AwsError> {
    let live = look(cx, &declared.kind, &declared.id).await?.live;
    // While it is being deleted, its owner stays the same.
    if live.as_ref().is_none_or(|live| live.condition != Condition::Leaving) {
        observe(cx, declared, live.as_ref());
    }
    Ok(live)
}

async fn read_one(
    cx: &Context,
    declared: &Declared,
    id: &Id,
    goal: Goal,
    deletes: bool,
) -> Result<(Found, Vec<(Id, Live)>), AwsError> {
    if goal == Goal::Absent && declared.imported {
        // It isn't changed, so no permission to read it is needed.
        return Ok((Found::default(), Vec::new()));
    }
    let contents = async {
        if deletes && declared.schema().holds_data && !cx.consent.delete_data {
            let provider = cx.provider(&declared.schema().kind)?;
            cx.read(&id.name, || provider.contents(cx, id)).await.map(Some)
        } else {
            Ok(None)
        }
    };
    let read = look(cx, &declared.kind, id);
    let (live, contents) = tokio::join!(read, contents);
    match (live, &id.arn) {
        // An ARN is all that a reference needs, so no permission to read is required.
        (Err(error), Some(arn)) if declared.imported && error.class == Class::Denied => {
            let outputs = Outputs::from([("arn".to_owned(), arn.clone()), ("name".to_owned(), id.name.clone())]);
            let live = Live {
                props: Tree::new(),
                outputs,
                owner: Ownership::Denied,
                condition: Condition::Settled,
                incarnation: None,
                revision: None,
                age: Age::default(),
                notes: Vec::new(),
                unknown: Unknown::new(),
            };
            Ok((Found { live: Some(live), contents: None, unread: Some(error) }, Vec::new()))
        }
        (reading, _) => {
            let Reading { live, others } = reading?;
            observe(cx, declared, live.as_ref());
            Ok((Found { live, contents: contents?, unread: None }, others))
        }
    }
}

fn observe(cx: &Context, declared: &Declared, live: Option<&Live>) {
    let account = &cx.account;
    match live {
        _ if declared.imported => {}
        Some(live) if live.condition != Condition::Leaving => account.observe(declared.schema(), &declared.id, live),
        // A resource that is being deleted has no owner; its name becomes free.
        _ => account.observe_absence(declared.schema(), &declared.id),
    }
}
