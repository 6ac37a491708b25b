//! Reading: everything a spec declares, all at once, into an inventory.
//!
//! **Invariant:** it never writes, and what it learns about owners it tells the guard before anybody can write.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use futures_util::future::{join_all, try_join_all};
use tokio::time::Duration;

use crate::aws::{AwsError, Class, Context, Tags, Wait};
use crate::inventory::{self, Found, Inventory, is_assigned};
use crate::kind::DynKind;
use crate::kinds::registry;
use crate::plan::{Goal, Options};
use crate::schema::{
    Age, Condition, Id, Live, Naming, Outputs, Owner, Ownership, Reading, Shape, Site, TAG_RESOURCE, TAG_STACK,
    TAG_TEAM, Unknown, is_of_team, name_in_arn,
};
use crate::spec::{Declared, Spec};
use crate::value::Tree;

/// What kept a run from knowing what stands in AWS.
#[derive(Debug)]
pub struct ReadError {
    /// The resource that could not be read; `None`: it is about the whole run.
    pub resource: Option<String>,
    /// Why.
    pub error: AwsError,
}

/// Until a table that is being made shows its tags (another minute for those that lag), or a mapping its settings.
const OWNER: Wait = Wait {
    what: "AWS to show whose it is and what it is",
    since: "tags and settings can be read some seconds after the change at the earliest",
    look: "",
    counted: false,
    budget: Duration::from_secs(11 * 60),
};

/// How leftovers are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leftovers {
    /// Not at all.
    Ignored,
    /// On what the spec declares, and nowhere else.
    Hanging,
    /// In the tag index.
    Indexed,
    /// In the tag index, and by the team's prefix where that can't be asked.
    IndexedOrScanned,
    /// In the tag index, which lags, and by the team's prefix.
    Scanned,
}

/// How often is read again what can't have stood there at one moment.
const TORN_READS: u32 = 3;

/// Reads all that `spec` declares, and what else bears its owner's marks. `account` is the account where it is known
/// beforehand.
///
/// # Errors
/// Every read that failed, those that are about the whole run first and once.
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
        // The reads go out at once, but somebody else may make or delete things between their answers.
        if !is_torn(spec, &inventory) {
            return Ok(inventory);
        }
    }
    read_once(cx, spec, goal, options, leftovers, account).await
}

/// Whether something was seen inside of what was not there.
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
        cx.aws.guard.observe_import(declared.schema().kind, &declared.id.name);
    }
    for name in &spec.untouchable {
        registry().keys().for_each(|kind| cx.aws.guard.observe_import(kind, name));
    }
    learn(cx, spec);
    let site = account.map(|account| Site::new(&cx.aws.region, account));
    let reads = join_all(spec.resources.iter().map(|declared| {
        let id = Id { site: site.clone(), ..declared.id.clone() };
        // Only what is going to be deleted has to show what would be lost with it.
        let deletes = goal == Goal::Absent || options.replace.contains(&declared.name);
        async move { read_one(cx, declared, &id, goal, deletes).await }
    }));
    // Each in a room of its own: together they are more than a thread's stack should carry.
    let (actual, reads, hits, neighbours) = tokio::join!(
        Box::pin(cx.read("", || cx.aws.account())),
        reads,
        Box::pin(search(cx, spec, leftovers)),
        Box::pin(neighbours(cx, spec, leftovers, site.as_ref()))
    );
    let actual = actual.map_err(whole)?;
    in_account(spec, &actual).map_err(whole)?;
    let mut inventory = Inventory::new(Site::new(&cx.aws.region, &actual));
    cx.aws.guard.observe_site(&inventory.site);
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
    // Which of several is meant may hang on what the other reads found.
    let mut rest = Vec::new();
    for (declared, more) in others {
        if is_assigned(declared) {
            rest.push((declared.kind, inventory.choose(spec, declared, more)));
            observe(cx, declared, inventory.live(&declared.name));
        } else {
            rest.push((declared.kind, more));
        }
    }
    // Only once all have chosen is left over what nobody means.
    for (kind, more) in rest {
        more.into_iter().for_each(|(id, live)| inventory.leave(spec, kind, id, live, None));
    }
    let Search { hits, outcome } = hits;
    inventory.search = outcome;
    neighbours.into_iter().for_each(|(kind, id, live)| inventory.leave(spec, kind, id, live, None));
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

/// Reads whose the functions are that leftover mappings are attached to, where nothing else has shown it: tags are easily
/// copied. What can't be read keeps nobody from going by its name.
///
/// # Errors
/// What passes, and the name of what was to be read.
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
        let kind = registry().get(kind)?;
        Some(async move { (&**kind, look(cx, &**kind, &id).await, id) })
    });
    for (kind, reading, id) in join_all(reads).await {
        match reading {
            Ok(Reading { live: Some(live), .. }) => {
                let key = (kind.schema().kind, id.name.clone());
                observe(cx, &Declared::leftover(kind, id), Some(&live));
                inventory.parents.insert(key, live.owner);
            }
            Err(error) if error.passes() => return Err((id.name, error)),
            _ => {}
        }
    }
    Ok(())
}

/// That `actual` is the account that the spec is for.
///
/// # Errors
/// `WrongAccount` where it is for another.
pub fn in_account(spec: &Spec, actual: &str) -> Result<(), AwsError> {
    let Some(wanted) = spec.account.as_ref().filter(|wanted| *wanted != actual) else { return Ok(()) };
    let message = format!("the spec is for account {wanted}, but the credentials are for account {actual}");
    Err(AwsError::own(Class::WrongAccount, "", "", message))
}

/// Adds an error; one cause for all reads is one error.
fn note(errors: &mut Vec<ReadError>, resource: Option<&str>, error: AwsError) {
    if !error.is_about_the_run() {
        errors.push(ReadError { resource: resource.map(str::to_owned), error });
    } else if !errors.iter().any(|known| known.error.class == error.class) {
        errors.insert(0, ReadError { resource: None, error });
    }
}

type DynKindRef = &'static dyn DynKind;

/// What may be left over, and how far was looked.
#[derive(Default)]
struct Search {
    hits: Vec<(DynKindRef, Id)>,
    outcome: inventory::Search,
}

/// Looks for what bears the owner's tags, and where that is not enough for what bears the team's name.
///
/// # Errors
/// What passes: then nobody has to do with less than there is. What may not be asked is told in the outcome.
async fn search(cx: &Context, spec: &Spec, leftovers: Leftovers) -> Result<Search, AwsError> {
    let complete = inventory::Search::Complete;
    if matches!(leftovers, Leftovers::Ignored | Leftovers::Hanging) {
        return Ok(Search::default());
    }
    let owner = Owner { team: spec.team.clone(), stack: spec.stack.clone(), resource: String::new() };
    let index = async {
        let tags = [(TAG_TEAM, owner.team.as_str()), (TAG_STACK, owner.stack.as_str())];
        let services = services();
        cx.read("", || cx.aws.tagged(&tags, &services)).await
    };
    let (index, scanned) = tokio::join!(index, async {
        if leftovers == Leftovers::Scanned { Some(scan(cx, &owner).await) } else { None }
    });
    let (mut hits, trouble) = match index {
        Ok(found) => (found.into_iter().filter_map(|(arn, tags)| hit(&owner, &arn, &tags)).collect(), None),
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
            "what is no longer in the spec was not looked for ({}); --prune-scan looks for it by name",
            error.message
        )),
        (Some(Ok(found)), _) => {
            hits.extend(found);
            complete
        }
        (Some(Err(error)), _) => {
            inventory::Search::Partial(format!("what is no longer in the spec may have been overlooked: {error}"))
        }
    };
    Ok(Search { hits, outcome })
}

/// Everything whose name begins with the team's, of each kind.
async fn scan(cx: &Context, owner: &Owner) -> Result<Vec<(DynKindRef, Id)>, AwsError> {
    let kinds = registry().values().filter(|kind| kind.schema().index.is_some());
    let scans = kinds.map(|kind| async move {
        let ids = cx.read(&owner.team, || kind.scan(cx, owner)).await?;
        Ok::<_, AwsError>(ids.into_iter().map(|id| (&**kind, id)).collect::<Vec<_>>())
    });
    Ok(try_join_all(scans).await?.concat())
}

/// The services that the index is asked about. Whether it takes every kind of resource by its name is not certain, and
/// one that it does not know would be refused with all others.
fn services() -> Vec<&'static str> {
    let mut services: Vec<&str> =
        registry().values().filter_map(|kind| kind.schema().index?.split(':').next()).collect();
    services.sort_unstable();
    services.dedup();
    services
}

/// An entry of the tag index as the identity of what it means.
fn hit(owner: &Owner, arn: &str, tags: &Tags) -> Option<(DynKindRef, Id)> {
    let mut fields = arn.splitn(6, ':').skip(2);
    let (service, _, _, resource) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let (word, _) = resource.split_once([':', '/'])?;
    let index = format!("{service}:{word}");
    let kind = registry().values().find(|kind| kind.schema().index == Some(&*index))?;
    let name = name_in_arn(arn).to_owned();
    let resource = tags.get(TAG_RESOURCE).cloned().unwrap_or_default();
    Some((
        &**kind,
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

/// What hangs on the declared resources of kinds of which nothing that hangs there is declared: their reads would have
/// shown it.
///
/// # Errors
/// What passes, and the name of the resource. What may not be read is not found: nobody has declared it.
async fn neighbours(
    cx: &Context,
    spec: &Spec,
    leftovers: Leftovers,
    site: Option<&Site>,
) -> Result<Vec<(DynKindRef, Id, Live)>, (String, AwsError)> {
    if leftovers == Leftovers::Ignored {
        return Ok(Vec::new());
    }
    let anchors = |it: &'static str, id: &'_ Id| -> Vec<_> {
        id.anchors.iter().map(|(property, host)| (it, *property, host.clone())).collect()
    };
    let declared: HashSet<(&str, &str, String)> =
        spec.resources.iter().flat_map(|it| anchors(it.schema().kind, &it.id)).collect();
    let hosts = spec.resources.iter().filter(|declared| !declared.imported);
    let reads = hosts.flat_map(|host| {
        let owner = Owner { resource: String::new(), ..host.id.owner.clone() };
        let declared = &declared;
        hung(host.schema().kind).filter_map(move |(kind, property)| {
            let is_declared = declared.contains(&(kind.schema().kind, property, host.id.name.clone()));
            let read = on_host(cx, kind, property, &host.id.name, owner.clone(), site);
            (!is_declared).then_some(async move { shown(read.await).map_err(|error| (host.name.clone(), error)) })
        })
    });
    Ok(try_join_all(reads).await?.concat())
}

/// The kinds that live inside or hang on a kind, with the property that says on which one.
fn hung(host: &'static str) -> impl Iterator<Item = (DynKindRef, &'static str)> {
    registry().values().filter_map(move |kind| {
        let property = kind.schema().properties.iter().find(|property| property.identity)?;
        let Shape::Link { to, .. } = &property.shape else { return None };
        to.iter().any(|(kind, _)| *kind == host).then_some((&**kind, property.name))
    })
}

/// Everything of a kind that hangs on one host.
async fn on_host(
    cx: &Context,
    kind: DynKindRef,
    property: &'static str,
    host: &str,
    owner: Owner,
    site: Option<&Site>,
) -> Result<Vec<(DynKindRef, Id, Live)>, AwsError> {
    let id = Id {
        owner,
        name: String::new(),
        arn: None,
        anchors: BTreeMap::from([(property, host.to_owned())]),
        site: site.cloned(),
        incarnation: None,
    };
    let reading = look(cx, kind, &id).await?;
    Ok(reading.others.into_iter().map(|(id, live)| (kind, id, live)).collect())
}

/// What was found on a host that nobody is about to delete: what may not be read there is not missed.
fn shown(found: Result<Vec<(DynKindRef, Id, Live)>, AwsError>) -> Result<Vec<(DynKindRef, Id, Live)>, AwsError> {
    match found {
        Err(error) if !error.passes() => Ok(Vec::new()),
        found => found,
    }
}

/// Reads what the search has found: the index shows ghosts and lags behind, so a native read decides. What can't be
/// looked at, or not at all that hangs on it, is not left over: it would go, and leave that behind.
///
/// # Errors
/// What passes, and the name of what was to be read.
async fn confirm(
    cx: &Context,
    spec: &Spec,
    inventory: &mut Inventory,
    hits: Vec<(DynKindRef, Id)>,
) -> Result<(), (String, AwsError)> {
    let site = Some(inventory.site.clone());
    // Most of what the search finds is declared, so that is told without a look at every declaration.
    let mut seen: HashSet<(&str, String)> = HashSet::new();
    for declared in &spec.resources {
        let kind = declared.schema().kind;
        seen.insert((kind, declared.id.name.clone()));
        let incarnation = inventory.live(&declared.name).and_then(|live| meant(declared, live).incarnation);
        seen.extend(incarnation.map(|uuid| (kind, uuid)));
    }
    let unknown = hits
        .into_iter()
        .filter(|(kind, id)| seen.insert((kind.schema().kind, id.name.clone())) && !inventory.knows(spec, *kind, id));
    let reads = join_all(unknown.map(|(kind, id)| {
        let id = Id { site: site.clone(), ..id };
        async move {
            let schema = kind.schema();
            let contents = async {
                match schema.holds_data && !cx.consent.delete_data {
                    true => cx.read(&id.name, || kind.contents(cx, &id)).await.ok(),
                    false => None,
                }
            };
            let hosted = hung(schema.kind).map(|(kind, property)| {
                let owner = Owner { resource: String::new(), ..id.owner.clone() };
                let site = id.site.as_ref();
                let host = &id.name;
                async move { on_host(cx, kind, property, host, owner, site).await }
            });
            let read = look(cx, kind, &id);
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
                    inventory.leave(spec, kind, id.clone(), live, None);
                    inventory.weigh(kind, &id, contents);
                }
                others.into_iter().for_each(|(id, live)| inventory.leave(spec, kind, id, live, None));
                hosted.into_iter().for_each(|(kind, id, live)| inventory.leave(spec, kind, id, live, None));
            }
            Err(error) if error.passes() => return Err((id.name, error)),
            Err(error) => {
                let message = format!("`{}` may be left over, but can't be looked at: {error}", id.name);
                inventory.search = inventory::Search::Partial(message);
            }
        }
    }
    Ok(())
}

/// Everything that bears the engine's tags, of one team and stack or of all, and what bears the names of `prefixes`,
/// tagged or not. Each is read itself: the index shows ghosts.
///
/// # Errors
/// `Denied` where the tag index may not be asked and there are no prefixes; what keeps the scans from answering.
pub async fn survey(
    cx: &Context,
    of: Option<(&str, &str)>,
    prefixes: &[String],
    account: &str,
) -> Result<Vec<(&'static dyn DynKind, Id, Live)>, AwsError> {
    let services = services();
    let tags = of.map_or_else(|| vec![(TAG_TEAM, "")], |(team, stack)| vec![(TAG_TEAM, team), (TAG_STACK, stack)]);
    let nobody = Owner { team: String::new(), stack: String::new(), resource: String::new() };
    let owners: Vec<Owner> = prefixes.iter().map(|team| Owner { team: team.clone(), ..nobody.clone() }).collect();
    let (index, scans) = tokio::join!(
        cx.read("", || cx.aws.tagged(&tags, &services)),
        join_all(owners.iter().map(|owner| scan(cx, owner)))
    );
    let mut hits: Vec<(DynKindRef, Id)> = Vec::new();
    match index {
        Ok(found) => hits.extend(found.into_iter().filter_map(|(arn, tags)| hit(&nobody, &arn, &tags))),
        Err(error) if error.class == Class::Denied && !prefixes.is_empty() => {}
        Err(error) => return Err(error),
    }
    for scan in scans {
        hits.extend(scan?);
    }
    let mut seen = HashSet::new();
    hits.retain(|(kind, id)| seen.insert((kind.schema().kind, id.name.clone())));
    let site = Site::new(&cx.aws.region, account);
    let reads = join_all(hits.into_iter().map(|(kind, id)| {
        let id = Id { site: Some(site.clone()), ..id };
        let (indexed, inner): (Vec<_>, Vec<_>) =
            hung(kind.schema().kind).partition(|(kind, _)| kind.schema().index.is_some());
        async move {
            let site = id.site.as_ref();
            let of_nobody = Owner { team: String::new(), stack: String::new(), resource: String::new() };
            let on_this = async |hung: Vec<(DynKindRef, &'static str)>, owner: &Owner| {
                let reads = hung.into_iter().map(|(kind, it)| on_host(cx, kind, it, &id.name, owner.clone(), site));
                join_all(reads).await.into_iter().map(shown).collect::<Result<Vec<_>, _>>()
            };
            let (read, hosted) = tokio::join!(look(cx, kind, &id), on_this(indexed, &of_nobody));
            let (Reading { live, others }, mut hosted) = (read?, hosted?.concat());
            // What has no tags of its own is known by the team at the beginning of its name.
            if let Some(Live { owner: Ownership::Engine(owner), .. }) = &live {
                let owned = on_this(inner, owner).await?.concat();
                hosted.extend(owned.into_iter().filter_map(|(kind, id, live)| {
                    let owner = inherited(owner, &id.name).filter(|_| live.owner == Ownership::Inherited)?;
                    Some((kind, id, Live { owner, ..live }))
                }));
            }
            let own = live.map(|live| (kind, id.clone(), live)).into_iter();
            let others = others.into_iter().map(|(id, live)| (kind, id, live));
            Ok::<_, AwsError>(own.chain(others).chain(hosted).collect::<Vec<_>>())
        }
    }));
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    for read in reads.await {
        for (kind, id, live) in read? {
            let wanted = match (&live.owner, of) {
                (Ownership::Engine(owner), Some(us)) => (owner.team.as_str(), owner.stack.as_str()) == us,
                (_, Some(_)) => false,
                // What bears no tags counts only where it was looked for.
                (Ownership::Engine(_), None) => true,
                (_, None) => !prefixes.is_empty(),
            };
            // A name inside a host may occur in each host.
            let host = id.anchors.values().next().filter(|_| kind.schema().index.is_none()).cloned();
            if wanted && seen.insert((kind.schema().kind, id.name.clone(), id.incarnation.clone(), host)) {
                found.push((kind, id, live));
            }
        }
    }
    Ok(found)
}

/// Who owns what has no tags of its own: the host's owner, if the name begins with the team's.
fn inherited(host: &Owner, name: &str) -> Option<Ownership> {
    let resource = name.strip_prefix(&host.team)?.strip_prefix('-')?.to_owned();
    Some(Ownership::Engine(Owner { resource, ..host.clone() }))
}

/// Waits until it can be told of everything whose it is and what it is; then it is time to read again.
///
/// # Errors
/// The waits that failed.
pub async fn await_owners(cx: &Context, spec: &Spec, inventory: &Inventory) -> Result<(), Vec<ReadError>> {
    let undecided = spec.resources.iter().filter_map(|declared| {
        let live = inventory.live(&declared.name).filter(|live| !declared.imported && live.undecided().is_some())?;
        Some((declared, meant(declared, live)))
    });
    let undecided = undecided.map(|(declared, id)| (declared.kind, id, Some(declared.name.clone())));
    let leftovers = inventory.leftovers.iter().filter(|leftover| leftover.is_undecided());
    let leftovers = leftovers.map(|leftover| (leftover.declared.kind, leftover.declared.id.clone(), None));
    let waits = join_all(undecided.chain(leftovers).map(|(kind, id, resource)| async move {
        let probe = || async {
            let live = kind.read(cx, &id).await?.live;
            let undecided = live.as_ref().is_some_and(|live| live.undecided().is_some());
            Ok((!undecided).then_some(()))
        };
        let error = cx.until(OWNER, &id.name, probe).await.err()?;
        Some(ReadError { resource, error })
    }));
    let errors: Vec<ReadError> = waits.await.into_iter().flatten().collect();
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// The identity of something that is not declared, with what its tags say it was called in a spec. The team and the
/// stack stay ours: that they are its owner's, too, is for others to compare.
fn called(id: Id, live: &Live) -> Id {
    match &live.owner {
        Ownership::Engine(owner) => Id { owner: Owner { resource: owner.resource.clone(), ..id.owner.clone() }, ..id },
        _ => id,
    }
}

/// The identity of a declaration, with what only the read could tell.
pub fn meant(declared: &Declared, live: &Live) -> Id {
    let incarnation = live.incarnation.clone().filter(|_| is_assigned(declared));
    Id { incarnation, ..declared.id.clone() }
}

/// Takes note of what the spec has that no text of AWS may say.
pub fn learn(cx: &Context, spec: &Spec) {
    for declared in &spec.resources {
        declared.schema().secrets(&declared.desired).for_each(|secret| cx.aws.secrets.learn(secret));
    }
}

/// Reads one of a kind; what it holds in secret is not said from then on, not even by its own notes.
async fn look(cx: &Context, kind: &dyn DynKind, id: &Id) -> Result<Reading, AwsError> {
    let mut reading = cx.read(&id.name, || kind.read(cx, id)).await?;
    let Reading { live, others } = &mut reading;
    for live in live.iter_mut().chain(others.iter_mut().map(|(_, live)| live)) {
        kind.schema().secrets(&live.props).for_each(|secret| cx.aws.secrets.learn(secret));
        live.notes.iter_mut().chain(live.unknown.values_mut()).for_each(|note| *note = cx.aws.secrets.mask(note));
        if let Condition::Broken(reason) = &mut live.condition {
            *reason = cx.aws.secrets.mask(reason);
        }
    }
    Ok(reading)
}

/// Reads one resource again, right before it is written to.
///
/// # Errors
/// As the kind's read.
pub async fn read_again(cx: &Context, declared: &Declared) -> Result<Option<Live>, AwsError> {
    let live = look(cx, declared.kind, &declared.id).await?.live;
    // One that somebody else is deleting meanwhile is still whose it was.
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
        // Nothing happens to it, so nobody has to be allowed to look at it.
        return Ok((Found::default(), Vec::new()));
    }
    let contents = async {
        if deletes && declared.schema().holds_data && !cx.consent.delete_data {
            cx.read(&id.name, || declared.kind.contents(cx, id)).await.map(Some)
        } else {
            Ok(None)
        }
    };
    let read = look(cx, declared.kind, id);
    let (live, contents) = tokio::join!(read, contents);
    match (live, &id.arn) {
        // An ARN says all that a reference needs, so somebody who may not look may still refer.
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
    let guard = &cx.aws.guard;
    match live {
        _ if declared.imported => {}
        Some(live) if live.condition != Condition::Leaving => guard.observe(declared.schema(), &declared.id, live),
        // What is on its way out is nobody's any more; its name is free once it is gone.
        _ => guard.observe_absence(declared.schema(), &declared.id),
    }
}
