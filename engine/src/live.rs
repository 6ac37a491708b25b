//! Reading: everything a spec declares, all at once, into an inventory.
//!
//! **Invariant:** it never writes, and what it learns about owners it tells the guard before anybody can write.

use futures_util::future::join_all;
use tokio::time::Duration;

use crate::aws::{AwsError, Class, Context, Wait};
use crate::inventory::{Found, Inventory, is_assigned};
use crate::plan::Goal;
use crate::schema::{Age, Condition, Id, Live, Outputs, Ownership, Reading, Site};
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
const OWNER: Wait =
    Wait { what: "AWS to show whose it is and what it is", counted: false, budget: Duration::from_secs(11 * 60) };

/// Reads all that `spec` declares. `account` is the account where it is known beforehand.
///
/// # Errors
/// Every read that failed, those that are about the whole run first and once.
pub async fn read(cx: &Context, spec: &Spec, goal: Goal, account: Option<&str>) -> Result<Inventory, Vec<ReadError>> {
    let whole = |error| vec![ReadError { resource: None, error }];
    for declared in spec.resources.iter().filter(|declared| declared.imported) {
        cx.aws.guard.observe_import(declared.schema(), &declared.id);
    }
    let site = account.map(|account| Site::new(&cx.aws.region, account));
    let reads = join_all(spec.resources.iter().map(|declared| {
        let id = Id { site: site.clone(), ..declared.id.clone() };
        async move { read_one(cx, declared, &id, goal).await }
    }));
    let (actual, reads) = tokio::join!(cx.read("", || cx.aws.account()), reads);
    let actual = actual.map_err(whole)?;
    if let Some(wanted) = spec.account.as_ref().filter(|wanted| **wanted != actual) {
        let message = format!(
            "the spec is for account {wanted}, but the credentials are for account {actual}; nothing was shown or written"
        );
        return Err(whole(AwsError::own(Class::Refused, "", "", message)));
    }
    let mut inventory = Inventory::new(Site::new(&cx.aws.region, &actual));
    let mut several = Vec::new();
    let mut errors: Vec<ReadError> = Vec::new();
    for (declared, read) in spec.resources.iter().zip(reads) {
        match read {
            Ok((found, others)) => {
                inventory.found.insert(declared.name.clone(), found);
                several.push((declared, others));
            }
            // One cause for all reads is one error.
            Err(error) if matches!(error.class, Class::BadCredentials | Class::NoCredentials | Class::NoAnswer) => {
                if !errors.iter().any(|known| known.error.class == error.class) {
                    errors.insert(0, ReadError { resource: None, error });
                }
            }
            Err(error) => errors.push(ReadError { resource: Some(declared.name.clone()), error }),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    // Which of several is meant may hang on what the other reads found.
    for (declared, others) in several.into_iter().filter(|(declared, _)| is_assigned(declared)) {
        inventory.choose(spec, declared, others);
        observe(cx, declared, inventory.live(&declared.name));
    }
    Ok(inventory)
}

/// Waits until it can be told of everything whose it is and what it is, before somebody decides on it.
///
/// # Errors
/// The waits that failed.
pub async fn await_owners(cx: &Context, spec: &Spec, inventory: &mut Inventory) -> Result<(), Vec<ReadError>> {
    let undecided = spec.resources.iter().filter_map(|declared| {
        let live = inventory.live(&declared.name).filter(|live| !declared.imported && live.undecided().is_some())?;
        Some((declared, meant(declared, live)))
    });
    let waits = join_all(undecided.map(|(declared, id)| async move {
        let probe = || async {
            let live = declared.kind.read(cx, &id).await?.live;
            let undecided = live.as_ref().is_some_and(|live| live.undecided().is_some());
            Ok((!undecided).then_some(live))
        };
        (declared, cx.until(OWNER, &id.name, probe).await)
    }));
    let mut errors = Vec::new();
    for (declared, live) in waits.await {
        match live {
            Ok(live) => {
                observe(cx, declared, live.as_ref());
                inventory.found.entry(declared.name.clone()).or_default().live = live;
            }
            Err(error) => errors.push(ReadError { resource: Some(declared.name.clone()), error }),
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// The identity of a declaration, with what only the read could tell.
pub fn meant(declared: &Declared, live: &Live) -> Id {
    let incarnation = live.incarnation.clone().filter(|_| is_assigned(declared));
    Id { incarnation, ..declared.id.clone() }
}

/// Reads one resource again, right before it is written to.
///
/// # Errors
/// As the kind's read.
pub async fn read_again(cx: &Context, declared: &Declared) -> Result<Option<Live>, AwsError> {
    let live = cx.read(&declared.id.name, || declared.kind.read(cx, &declared.id)).await?.live;
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
) -> Result<(Found, Vec<(Id, Live)>), AwsError> {
    if goal == Goal::Absent && declared.imported {
        // Nothing happens to it, so nobody has to be allowed to look at it.
        return Ok((Found::default(), Vec::new()));
    }
    let contents = async {
        // Only what is going to be deleted has to show what would be lost with it.
        if goal == Goal::Absent && declared.schema().holds_data && !cx.consent.delete_data {
            cx.read(&id.name, || declared.kind.contents(cx, id)).await.map(Some)
        } else {
            Ok(None)
        }
    };
    let read = cx.read(&id.name, || declared.kind.read(cx, id));
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
                age: Age::default(),
                notes: Vec::new(),
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
