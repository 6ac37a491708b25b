//! The settings that GetFunction doesn't show, each of which takes separate reads and writes.
//!
//! **Invariant:** a setting that can't be read is unknown, and then it isn't written either.

use std::collections::HashMap;

use engine_core::wait::Detail;

use crate::aws::{AwsError, CallContext, Context};
use crate::ownership::OwnershipVerdict;
use crate::schema::{Id, Live, NOT_NEEDED, Unknown};

use super::async_config::{self, ASYNC, AsyncConfig};
use super::reference::SIGNING;
use super::seen::read_function;
use super::url::{self, FunctionUrl, URL};
use super::{BUSY, Props, signing};

/// The tag of functions for which engine has set one of these settings: large specs read the settings
/// only of such functions. It stays when the setting is removed.
pub(super) const MARK: &str = "engine:settings";
const MARK_VALUE: &str = "more";

/// The answers of the reads; `None` for those that the run doesn't need.
pub(super) struct Details {
    async_config: Option<Answer<AsyncConfig>>,
    url: Option<Answer<(FunctionUrl, String)>>,
}

type Answer<T> = Result<Option<T>, AwsError>;

/// Reads the settings at the same time as the function.
pub(super) async fn read(cx: &Context, id: &Id) -> Details {
    match cx.detail {
        Detail::Full => read_all(cx, id).await,
        // Its URL is an output.
        Detail::Imported => Details { async_config: None, url: Some(url::read(cx, id).await) },
        Detail::Lean | Detail::ForDelete => Details { async_config: None, url: None },
    }
}

async fn read_all(cx: &Context, id: &Id) -> Details {
    let (config, url) = tokio::join!(async_config::read(cx, id), url::read(cx, id));
    Details { async_config: Some(config), url: Some(url) }
}

/// Reads the settings after the function, if only then is known that engine has set one.
pub(super) async fn read_late(cx: &Context, id: &Id, details: Details, is_marked: bool) -> Details {
    if is_marked && cx.detail == Detail::Lean { read_all(cx, id).await } else { details }
}

/// All tags of a new function.
pub(super) fn tags_of_new(id: &Id, props: &Props) -> HashMap<String, String> {
    let mark = needs_mark(props).then(|| (MARK.to_owned(), MARK_VALUE.to_owned()));
    crate::kinds::all_tags(&id.owner, &props.tags).into_iter().chain(mark).collect()
}

/// Whether engine sets one of the settings.
fn needs_mark(props: &Props) -> bool {
    props.async_config.is_some() || props.url.is_some()
}

/// Adds the mark if it is missing and one of the settings is about to be set; returns whether it was.
pub(super) async fn ensure_mark(cx: &Context, id: &Id, have: &Live<Props>, want: &Props) -> Result<bool, AwsError> {
    let is_change = (&have.props.async_config, &have.props.url) != (&want.async_config, &want.url);
    if !is_change || !needs_mark(want) || read_function(cx, id).await?.is_none_or(|seen| seen.is_marked) {
        return Ok(false);
    }
    let arn = have.outputs.get("arn").map_or("", String::as_str);
    let tag = || async {
        let request = cx.aws.lambda.tag_resource().resource(arn).tags(MARK, MARK_VALUE);
        request.send().await.context("TagResource", &id.name).map(|_| ())
    };
    cx.send(BUSY, &id.name, tag).await.map(|()| true)
}

/// Adds the settings to a function.
///
/// # Errors
/// A read's, unless it costs only its setting.
pub(super) fn add(live: &mut Live<Props>, details: Details) -> Result<(), AwsError> {
    live.props.async_config = known(details.async_config, ASYNC, &mut live.unknown)?;
    if let Some((url, address)) = known(details.url, URL, &mut live.unknown)? {
        live.props.url = Some(url);
        live.outputs.insert(URL.to_owned(), address);
    }
    Ok(())
}

/// Adds the code signing configuration, which takes a second round trip and is rare: only for code
/// that came from S3 or that Lambda shows as signed. engine attaches none to other code.
pub(super) async fn add_signing(
    cx: &Context,
    id: &Id,
    live: &mut Live<Props>,
    may_be_signed: bool,
) -> Result<(), AwsError> {
    if may_be_signed {
        let answer = match cx.detail {
            Detail::Full | Detail::Lean => Some(signing::read(cx, id).await),
            Detail::Imported | Detail::ForDelete => None,
        };
        live.props.code_signing_config_arn = known(answer, SIGNING, &mut live.unknown)?;
    }
    Ok(())
}

/// The value of a setting, which is unknown if it wasn't or can't be read.
fn known<T>(answer: Option<Answer<T>>, name: &'static str, unknown: &mut Unknown) -> Answer<T> {
    match answer {
        Some(answer) => crate::kinds::detail(answer, &[name], unknown),
        None => {
            unknown.insert(name.into(), NOT_NEEDED.to_owned());
            Ok(None)
        }
    }
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
    (have.reserved_concurrent_executions, &have.async_config)
        != (want.reserved_concurrent_executions, &want.async_config)
}

/// Writes what a create can't set; `now` has the rest of the function.
///
/// # Errors
/// Also if it has another owner by now.
pub(super) async fn complete(cx: &Context, id: &Id, now: &Props, want: &Props) -> Result<(), AwsError> {
    // What a spec doesn't declare is not set on a new function.
    let mut have = want.clone();
    // If there is another value, another run has set it.
    if now.reserved_concurrent_executions.is_none() {
        have.reserved_concurrent_executions = None;
    }
    if want.async_config.is_some() {
        // Without permission for the read, it is written again.
        let config = cx.read(&id.name, || async_config::read(cx, id)).await;
        have.async_config = crate::kinds::readable(config)?.flatten();
        if have.async_config.is_some() && have.async_config != want.async_config {
            return crate::kinds::ensure_matches("CreateFunction", id, &[format!("`{ASYNC}`")]);
        }
    }
    if !differ(&have, want) {
        return Ok(());
    }
    let _lock = cx.lock_writes(&id.name).await;
    // Other writes in this run may have taken a while, so check the owner again.
    if read_function(cx, id)
        .await?
        .is_some_and(|seen| OwnershipVerdict::of(&seen.owner, None, &id.owner).other_owner().is_some())
    {
        return Err(crate::kinds::name_conflict("PutFunctionConcurrency", id));
    }
    update(cx, id, &have, want).await
}

/// Sets or, with `None`, removes the reserved concurrency.
async fn reserve(cx: &Context, id: &Id, executions: Option<i32>) -> Result<(), AwsError> {
    let send = || async {
        let lambda = &cx.aws.lambda;
        match executions {
            Some(executions) => {
                let request = lambda.put_function_concurrency().function_name(&id.name);
                let request = request.reserved_concurrent_executions(executions);
                request.send().await.context("PutFunctionConcurrency", &id.name).map(|_| ())
            }
            None => {
                let request = lambda.delete_function_concurrency().function_name(&id.name);
                request.send().await.context("DeleteFunctionConcurrency", &id.name).map(|_| ())
            }
        }
    };
    cx.send(BUSY, &id.name, send).await
}
