//! The settings that GetFunction doesn't show, each of which takes a read and writes of its own.
//!
//! **Invariant:** a setting that can't be read is unknown, and then it isn't written either.

use engine_core::wait::Detail;

use crate::aws::{AwsError, Context};
use crate::ownership::OwnershipVerdict;
use crate::schema::{Id, Live};

use super::async_config::{self, ASYNC, AsyncConfig};
use super::{Props, look, reserve};

/// The answers of the reads.
pub(super) struct Details {
    async_config: Result<Option<AsyncConfig>, AwsError>,
}

/// Reads the settings at the same time as the function; `None` if the run doesn't compare them.
pub(super) async fn read(cx: &Context, id: &Id) -> Option<Details> {
    match cx.detail {
        Detail::Full => Some(Details { async_config: async_config::read(cx, id).await }),
        Detail::ForDelete | Detail::Imported => None,
    }
}

/// Adds the settings to a function.
///
/// # Errors
/// A read's, unless it costs only its setting.
pub(super) fn add(live: &mut Live<Props>, details: Option<Details>) -> Result<(), AwsError> {
    match details {
        Some(details) => {
            live.props.async_config = crate::kinds::detail(details.async_config, &[ASYNC], &mut live.unknown)?;
        }
        None => drop(live.unknown.insert(ASYNC.into(), "a deletion doesn't depend on it".to_owned())),
    }
    Ok(())
}

/// Writes the settings that differ.
pub(super) async fn update(cx: &Context, id: &Id, have: &Props, want: &Props) -> Result<(), AwsError> {
    if have.reserved_concurrent_executions != want.reserved_concurrent_executions {
        reserve(cx, id, want.reserved_concurrent_executions).await?;
    }
    if have.async_config != want.async_config {
        async_config::write(cx, id, want.async_config.as_ref()).await?;
    }
    Ok(())
}

/// Whether any setting differs.
pub(super) fn differ(have: &Props, want: &Props) -> bool {
    let settings = |props: &Props| (props.reserved_concurrent_executions, props.async_config.clone());
    settings(have) != settings(want)
}

/// Writes what a create can't set; `now` has the rest of the function.
///
/// # Errors
/// Also if it has another owner by now.
pub(super) async fn complete(cx: &Context, id: &Id, now: &Props, want: &Props) -> Result<(), AwsError> {
    // What a spec doesn't declare is not set on a new function.
    let mut have = want.clone();
    if want.reserved_concurrent_executions.is_some() {
        have.reserved_concurrent_executions = now.reserved_concurrent_executions;
    }
    if want.async_config.is_some() {
        // Without permission for the read, it is written again.
        let config = cx.read(&id.name, || async_config::read(cx, id)).await;
        have.async_config = crate::kinds::readable(config)?.flatten();
    }
    if !differ(&have, want) {
        return Ok(());
    }
    let _lock = cx.lock_writes(&id.name).await;
    // Other writes in this run may have taken a while, so check the owner again.
    if look(cx, id)
        .await?
        .is_some_and(|seen| OwnershipVerdict::of(&seen.owner, None, &id.owner).other_owner().is_some())
    {
        return Err(crate::kinds::name_conflict("PutFunctionConcurrency", id));
    }
    update(cx, id, &have, want).await
}
