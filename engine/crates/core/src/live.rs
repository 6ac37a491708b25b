//! Reads everything that a spec declares, concurrently, into an inventory.
//!
//! **Invariant:** it never writes, and it passes what it finds about owners to the guard before any
//! write.

mod discovery;
mod lookups;
mod orphans;

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::{Duration, Instant};

use crate::cause::Code;
use crate::error::AwsError;
use crate::inventory::{Found, Inventory, is_assigned};
use crate::kind::Definition;
use crate::plan::{Goal, Options};
use crate::schema::{AwsEnv, Id, Identity, Live, Reading, Status};
use crate::spec::{ResourceDecl, Spec};
use crate::wait::{Context, Detail, Wait};

pub use discovery::{Listed, TeamsListing, discover_all, list_teams, read_attached, read_existing, read_listed};
pub use lookups::{Lookups, read_lookups};
pub use orphans::OrphanSearch;

/// A resource that no declaration refers to, as it was found.
pub type Undeclared = (Arc<dyn Definition>, Id, Live);

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
    reason: "both become readable a few seconds after a change",
    inspect_cmd: "",
    limit: None,
    budget: Duration::from_secs(11 * 60),
};

/// How many resources with properties that take a call of their own a run reads in full, also if the
/// spec declares none of these properties. AWS's rate limits allow that many calls within seconds.
const READ_IN_FULL: usize = 20;

/// How often reads are repeated that contradict each other.
const TORN_READS: u32 = 3;

/// Reads everything that `spec` declares and everything else that has its owner's tags. `account`
/// is the account, if it is already known.
///
/// # Errors
/// Every read that failed; one that is about the whole run comes first, and once.
pub async fn read(
    cx: &Context,
    spec: &Spec,
    goal: Goal,
    options: &Options,
    orphans: OrphanSearch,
    account: Option<&str>,
) -> Result<Inventory, Vec<ReadError>> {
    let mut repeats = TORN_READS;
    let detail = match goal {
        Goal::Absent => Detail::ForDelete,
        Goal::Present | Goal::Unmanaged if is_large(spec) => Detail::Lean,
        Goal::Present | Goal::Unmanaged => Detail::Full,
    };
    let cx = &cx.with_detail(detail);
    loop {
        let inventory = read_once(cx, spec, goal, options, orphans, account).await?;
        // Another client may create or delete resources between the answers.
        if repeats == 0 || !is_torn(spec, &inventory) {
            return Ok(inventory);
        }
        repeats -= 1;
    }
}

/// Whether reading all of a spec in full would exceed what AWS's rate limits allow within seconds.
fn is_large(spec: &Spec) -> bool {
    let costly = |declared: &&ResourceDecl| !declared.imported && declared.schema().separate_reads().next().is_some();
    spec.resources.iter().filter(costly).count() > READ_IN_FULL
}

/// How much has to be read of a resource.
fn detail(cx: &Context, declared: &ResourceDecl) -> Detail {
    let is_named = |name: &str| declared.explicit.contains(name) || declared.lifecycle.ignore_changes.contains(name);
    match cx.detail {
        Detail::Lean if declared.schema().separate_reads().any(|it| is_named(&it.name)) => Detail::Full,
        detail => detail,
    }
}

/// Whether a nested resource was found, but its parent wasn't.
fn is_torn(spec: &Spec, inventory: &Inventory) -> bool {
    let is_there = |declared: &&ResourceDecl| inventory.live(&declared.name).is_some();
    let inner =
        spec.resources.iter().filter(|it| matches!(it.schema().identity, Identity::Nested { .. })).filter(is_there);
    inner.flat_map(|inner| inner.id.parents.values()).any(|name| {
        let parents = spec.resources.iter().filter(|it| it.id.name == *name && !it.imported);
        parents.filter(|it| matches!(it.schema().identity, Identity::Named { .. })).any(|parent| !is_there(&parent))
    })
}

async fn read_once(
    cx: &Context,
    spec: &Spec,
    goal: Goal,
    options: &Options,
    orphans: OrphanSearch,
    account: Option<&str>,
) -> Result<Inventory, Vec<ReadError>> {
    let whole = |error| vec![ReadError { resource: None, error }];
    let begun = Instant::now();
    observe_imports(cx, spec);
    register_secrets(cx, spec);
    let env = account.map(|account| AwsEnv::new(cx.account.region(), account));
    // Boxed: together these futures are too large for a thread's stack.
    let (actual, reads, candidates, attached) = tokio::join!(
        Box::pin(cx.read("", || cx.account.number())),
        read_declared(cx, spec, goal, options, env.as_ref()),
        Box::pin(orphans::search(cx, spec, orphans)),
        Box::pin(orphans::attached(cx, spec, orphans, env.as_ref()))
    );
    let actual = actual.map_err(whole)?;
    in_account(spec, &actual).map_err(whole)?;
    let env = AwsEnv::new(cx.account.region(), &actual);
    let mut inventory = Inventory { detail: cx.detail, begun, ..Inventory::new(env) };
    cx.account.observe_env(&inventory.env);
    observe_attachments(cx, spec, &inventory.env);
    let (mut others, mut errors) = (Vec::new(), Vec::<ReadError>::new());
    for (declared, read) in spec.resources.iter().zip(reads) {
        match read {
            Ok((found, more)) => {
                inventory.found.insert(declared.name.clone(), found);
                others.push((declared, more));
            }
            Err(error) => note(&mut errors, Some(&declared.name), error),
        }
    }
    let (read_elsewhere, nested) =
        tokio::join!(read_elsewhere(cx, spec, &inventory), orphans::elsewhere(cx, spec, orphans, &inventory));
    for (declared, reading) in read_elsewhere {
        match reading {
            Ok(Reading { live, others: more }) => {
                live.into_iter().for_each(|live| add_found(cx, &mut inventory, declared, live));
                others.push((declared, more));
            }
            Err(error) => note(&mut errors, Some(&declared.name), error),
        }
    }
    let candidates = candidates.map_err(|error| note(&mut errors, None, error)).unwrap_or_default();
    let mut attached = attached.map_err(|(host, error)| note(&mut errors, Some(&host), error)).unwrap_or_default();
    attached.extend(nested.map_err(|(host, error)| note(&mut errors, Some(&host), error)).unwrap_or_default());
    if !errors.is_empty() {
        return Err(errors);
    }
    assign(cx, spec, &mut inventory, others);
    if let Err((name, error)) = orphans::add(cx, spec, &mut inventory, candidates, attached).await {
        note(&mut errors, Some(&name), error);
        return Err(errors);
    }
    Ok(inventory)
}

/// Reads each declaration, in their order.
async fn read_declared(
    cx: &Context,
    spec: &Spec,
    goal: Goal,
    options: &Options,
    env: Option<&AwsEnv>,
) -> Vec<Result<(Found, Vec<(Id, Live)>), AwsError>> {
    let (imported_parents, existence) = (spec.imported_parents(), ParentExistence::of(cx, spec));
    let reads = spec.resources.iter().map(|declared| {
        let (id, existence) = (Id { env: env.cloned(), ..declared.id.clone() }, &existence);
        // Contents matter only for what may be deleted.
        let deletes = goal == Goal::Absent || options.replace.contains(&declared.name);
        // What isn't changed needs no permission to read it.
        let is_read = goal != Goal::Absent || !declared.imported || imported_parents.contains(&*declared.name);
        let is_read = is_read && !spec.unnamed_imports.contains_key(&declared.name);
        async move {
            if !is_read {
                return Ok((Found::default(), Vec::new()));
            }
            if existence.is_missing(declared).await {
                observe(cx, declared, None);
                return Ok((Found::default(), Vec::new()));
            }
            let read = read_one(cx, declared, &id, deletes).await;
            existence.note(declared, read.as_ref().map_or(true, |(found, _)| found.live.is_some()));
            read
        }
    });
    join_all(reads).await
}

/// Whether the parents of nested resources exist. In a large spec, nested resources are read only
/// then; in a small one, at the same time, which is a round trip less.
struct ParentExistence<'s>(HashMap<(&'s str, &'s str), watch::Sender<Option<bool>>>);

impl<'s> ParentExistence<'s> {
    fn of(cx: &Context, spec: &'s Spec) -> ParentExistence<'s> {
        let is_parent = |it: &&ResourceDecl| !it.imported && matches!(it.schema().identity, Identity::Named { .. });
        let parents = spec.resources.iter().filter(|_| cx.detail == Detail::Lean).filter(is_parent);
        ParentExistence(parents.map(|it| ((&*it.schema().kind, &*it.id.name), watch::Sender::new(None))).collect())
    }

    /// Notes whether this resource exists; one that can't be read may.
    fn note(&self, declared: &ResourceDecl, exists: bool) {
        if let Some(parent) = self.0.get(&(&*declared.schema().kind, &*declared.id.name)) {
            parent.send_replace(Some(exists));
        }
    }

    /// Whether this resource is nested in one that doesn't exist.
    async fn is_missing(&self, declared: &ResourceDecl) -> bool {
        let is_nested = matches!(declared.schema().identity, Identity::Nested { .. });
        let parent = declared.parent().filter(|_| is_nested).and_then(|parent| self.0.get(&parent));
        let Some(mut parent) = parent.map(watch::Sender::subscribe) else { return false };
        parent.wait_for(Option::is_some).await.is_ok_and(|exists| *exists == Some(false))
    }
}

/// Looks for nested resources that their existing parents don't have where the spec declares them.
async fn read_elsewhere<'s>(
    cx: &Context,
    spec: &'s Spec,
    inventory: &Inventory,
) -> Vec<(&'s ResourceDecl, Result<Reading, AwsError>)> {
    let has_parent = |declared: &ResourceDecl| {
        let is_parent = |it: &&ResourceDecl| declared.parent() == Some((&*it.schema().kind, &*it.id.name));
        spec.resources.iter().find(is_parent).is_some_and(|it| inventory.live(&it.name).is_some())
    };
    let missing = spec.resources.iter().filter(|it| {
        let is_nested = matches!(it.schema().identity, Identity::Nested { .. });
        is_nested && !it.imported && inventory.live(&it.name).is_none() && has_parent(it)
    });
    let reads = missing.map(|declared| async move {
        let id = Id { env: Some(inventory.env.clone()), ..declared.id.clone() };
        (declared, elsewhere(cx, &declared.kind, &id).await)
    });
    join_all(reads).await
}

fn add_found(cx: &Context, inventory: &mut Inventory, declared: &ResourceDecl, live: Live) {
    observe(cx, declared, Some(&live));
    inventory.found.insert(declared.name.clone(), Found { live: Some(live), ..Found::default() });
}

async fn elsewhere(cx: &Context, kind: &Arc<dyn Definition>, id: &Id) -> Result<Reading, AwsError> {
    let provider = cx.provider(&kind.schema().kind)?;
    let reading = cx.read(&id.name, || provider.read_elsewhere(cx, id)).await?;
    Ok(masked(cx, kind, reading))
}

/// Lets the guard refuse writes to whatever the spec imports.
fn observe_imports(cx: &Context, spec: &Spec) {
    let named = spec.resources.iter().filter(|declared| !spec.unnamed_imports.contains_key(&declared.name));
    for declared in named.filter(|declared| declared.imported) {
        cx.account.observe_import(&declared.schema().kind, &declared.id.name);
    }
    for name in &spec.untouchable {
        cx.kinds.schemas().for_each(|schema| cx.account.observe_import(&schema.kind, name));
    }
}

/// Lets the guard allow writes to what the spec attaches to imported resources.
fn observe_attachments(cx: &Context, spec: &Spec, env: &AwsEnv) {
    for (parent, source) in spec.resources.iter().filter_map(|it| spec.imported_parent(it)) {
        if let Some(form) = &source.schema().arn {
            cx.account.observe_attachment(&parent.schema().kind, &parent.id.name, &form.of(env, &source.id.name));
        }
    }
}

/// Chooses the resources of declarations whose id AWS assigns, which may depend on other reads.
/// What no declaration has chosen is an orphan.
fn assign(cx: &Context, spec: &Spec, inventory: &mut Inventory, others: Vec<(&ResourceDecl, Vec<(Id, Live)>)>) {
    let mut rest = Vec::new();
    for (declared, more) in others {
        if is_assigned(declared) {
            rest.push((&declared.kind, inventory.match_assigned(spec, declared, more)));
            observe(cx, declared, inventory.live(&declared.name));
        } else {
            rest.push((&declared.kind, more));
        }
    }
    for (kind, more) in rest {
        more.into_iter().for_each(|(id, live)| inventory.add_orphan(spec, kind, id, live, None));
    }
}

/// Checks that `actual` is the account that the spec is for.
///
/// # Errors
/// `OtherAccount` if it isn't.
pub fn in_account(spec: &Spec, actual: &str) -> Result<(), AwsError> {
    let Some(wanted) = spec.account.as_ref().filter(|wanted| *wanted != actual) else { return Ok(()) };
    let message = format!("the spec is for account {wanted}, but the credentials are for account {actual}");
    Err(AwsError::own(Code::OtherAccount, "", "", message))
}

/// Whether two errors that affect every read have the same cause: AWS's services report rejected
/// credentials in different ways.
fn is_shared(one: &AwsError, other: &AwsError) -> bool {
    one.cause == other.cause || (one.is_bad_credentials() && other.is_bad_credentials())
}

/// Adds an error; a cause that all reads share is added once.
fn note(errors: &mut Vec<ReadError>, resource: Option<&str>, error: AwsError) {
    if !error.is_about_the_run() {
        errors.push(ReadError { resource: resource.map(str::to_owned), error });
    } else if !errors.iter().any(|known| is_shared(&known.error, &error)) {
        errors.insert(0, ReadError { resource: None, error });
    }
}

/// Waits until every owner and every setting can be read. The caller then reads again.
///
/// # Errors
/// The waits that failed.
pub async fn await_owners(cx: &Context, spec: &Spec, inventory: &Inventory) -> Result<(), Vec<ReadError>> {
    let pending = spec.resources.iter().filter_map(|declared| {
        let live = inventory.live(&declared.name).filter(|live| !declared.imported && live.pending().is_some())?;
        Some((declared, with_unique_id(declared, live)))
    });
    let pending = pending.map(|(declared, id)| (&declared.kind, id, Some(declared.name.clone())));
    let orphans = inventory.orphans.iter().filter(|orphan| orphan.is_pending());
    let orphans = orphans.map(|orphan| (&orphan.declared.kind, orphan.declared.id.clone(), None));
    let waits = join_all(pending.chain(orphans).map(|(kind, id, resource)| async move {
        let probe = || async {
            let live = cx.provider(&kind.schema().kind)?.read(cx, &id).await?.live;
            let pending = live.as_ref().is_some_and(|live| live.pending().is_some());
            Ok((!pending).then_some(()))
        };
        let error = cx.until(OWNER, &id.name, probe).await.err()?;
        Some(ReadError { resource, error })
    }));
    let errors: Vec<ReadError> = waits.await.into_iter().flatten().collect();
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// The identity of a declaration, with the id that only AWS knows.
pub fn with_unique_id(declared: &ResourceDecl, live: &Live) -> Id {
    let unique_id = live.unique_id.clone().filter(|_| is_assigned(declared));
    Id { unique_id, ..declared.id.clone() }
}

/// Registers the spec's secret values, so that they are masked in texts from AWS.
pub fn register_secrets(cx: &Context, spec: &Spec) {
    for declared in &spec.resources {
        declared.schema().secrets(&declared.desired).for_each(|secret| cx.secrets.register(secret));
    }
}

/// Reads one resource and masks its secret values from then on, also in its own notes.
async fn read_masked(cx: &Context, kind: &Arc<dyn Definition>, id: &Id) -> Result<Reading, AwsError> {
    let provider = cx.provider(&kind.schema().kind)?;
    let reading = cx.read(&id.name, || provider.read(cx, id)).await?;
    Ok(masked(cx, kind, reading))
}

/// The same with its secret values registered, and masked in its own notes.
fn masked(cx: &Context, kind: &Arc<dyn Definition>, mut reading: Reading) -> Reading {
    let Reading { live, others } = &mut reading;
    for live in live.iter_mut().chain(others.iter_mut().map(|(_, live)| live)) {
        kind.schema().secrets(&live.props).for_each(|secret| cx.secrets.register(secret));
        live.notes.iter_mut().chain(live.unknown.values_mut()).for_each(|note| *note = cx.secrets.mask(note));
        if let Status::Failed(reason) = &mut live.status {
            *reason = cx.secrets.mask(reason);
        }
    }
    reading
}

/// Reads one resource again, right before it is written to.
///
/// # Errors
/// As the kind's read.
pub async fn read_again(cx: &Context, declared: &ResourceDecl) -> Result<Option<Live>, AwsError> {
    let reader = cx.with_detail(detail(cx, declared));
    let live = match read_masked(&reader, &declared.kind, &declared.id).await?.live {
        None => elsewhere(cx, &declared.kind, &declared.id).await?.live,
        live => live,
    };
    // While it is being deleted, its owner stays the same.
    if live.as_ref().is_none_or(|live| live.status != Status::Deleting) {
        observe(cx, declared, live.as_ref());
    }
    Ok(live)
}

async fn read_one(
    cx: &Context,
    declared: &ResourceDecl,
    id: &Id,
    deletes: bool,
) -> Result<(Found, Vec<(Id, Live)>), AwsError> {
    let contents = async {
        if deletes && declared.schema().holds_data && !cx.overrides.delete_data {
            let provider = cx.provider(&declared.schema().kind)?;
            cx.read(&id.name, || provider.contents(cx, id)).await.map(Some)
        } else {
            Ok(None)
        }
    };
    let users = async {
        if deletes && !declared.imported {
            let provider = cx.provider(&declared.schema().kind)?;
            cx.read(&id.name, || provider.users(cx, id)).await
        } else {
            Ok(None)
        }
    };
    let reader = cx.with_detail(if declared.imported { Detail::Imported } else { detail(cx, declared) });
    let read = read_masked(&reader, &declared.kind, id);
    let (live, contents, users) = tokio::join!(read, contents, users);
    match (live, &id.arn) {
        // An ARN is all that a reference needs, so no permission to read is required.
        (Err(error), Some(arn)) if declared.imported && error.is_denied() => {
            let live = Live::of_arn(arn, &id.name);
            observe(cx, declared, Some(&live));
            Ok((Found { live: Some(live), contents: None, users: None, unread: Some(error) }, Vec::new()))
        }
        (reading, _) => {
            let Reading { live, others } = reading?;
            observe(cx, declared, live.as_ref());
            Ok((Found { live, contents: contents?, users: users?, unread: None }, others))
        }
    }
}

fn observe(cx: &Context, declared: &ResourceDecl, live: Option<&Live>) {
    let account = &cx.account;
    match live {
        live if declared.imported => account.observe_imported(declared.schema(), &declared.id, live),
        Some(live) if live.status != Status::Deleting => account.observe(declared.schema(), &declared.id, live),
        // A resource that is being deleted has no owner; its name becomes free.
        _ => account.observe_absence(declared.schema(), &declared.id),
    }
}
