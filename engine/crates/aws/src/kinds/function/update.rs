//! The calls that change a function: which a change needs, and in which order.
//!
//! **Invariant:** each write requires the revision of the read before it, so a change by another
//! client is never overwritten.

use std::collections::{HashMap, VecDeque};

use aws_sdk_lambda::types::Runtime;

use crate::aws::trust::RoleDiagnosis;
use crate::aws::{AwsError, CallContext, Context};
use crate::kinds::Delta;
use crate::schema::{Id, Live, Outputs};

use super::reference;
use super::requests::{
    architectures, dead_letter, environment, ephemeral_storage, image_config, kms_key, logging, patient, tracing,
};
use super::seen::{idle, updated};
use super::{BUSY, Props, code, explained, network};
use engine_core::kind::Artifact;

/// The two calls that update a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UpdateCall {
    Configuration,
    Code,
}

/// The calls that a change needs, in the order that is more likely to fit the size limit: with each
/// call, Lambda checks the unzipped size of code and layers together, and shows neither. If
/// libraries move into a layer, the code shrinks first.
pub(super) fn calls(have: &Props, want: &Props) -> VecDeque<UpdateCall> {
    let adds_layers = want.layers.iter().any(|layer| !have.layers.contains(layer));
    let shrinks = want.code_size.zip(have.code_size).is_some_and(|(want, have)| want < have);
    let order = match adds_layers && shrinks {
        true => [UpdateCall::Code, UpdateCall::Configuration],
        false => [UpdateCall::Configuration, UpdateCall::Code],
    };
    let is_needed = |call: &UpdateCall| match call {
        UpdateCall::Configuration => !have.same_configuration(want),
        UpdateCall::Code => !have.same_code(want),
    };
    order.into_iter().filter(is_needed).collect()
}

/// The last action of an update before its next write.
pub(super) enum Before {
    /// Only the read, which returned this revision.
    Read(Option<String>),
    /// It added tags, which changes the revision, but is no update of the function.
    Tagged,
    /// It started an update, which has to succeed first.
    Updated,
}

/// A change of one function.
pub(super) struct Update<'a> {
    pub(super) cx: &'a Context,
    pub(super) id: &'a Id,
    pub(super) have: &'a Live<Props>,
    pub(super) change: Delta<'a, Props>,
    pub(super) artifact: Option<&'a Artifact>,
}

impl Update<'_> {
    /// The revision of `have`. A new function, or one with an update in progress, rejects every
    /// change, so this waits for it; one whose last update failed accepts the next.
    pub(super) async fn first_revision(&self) -> Result<Option<String>, AwsError> {
        if self.have.is_moving() { self.idle_revision().await } else { Ok(self.have.revision.clone()) }
    }

    /// The function's revision once it is idle, if it still equals `have`.
    async fn idle_revision(&self) -> Result<Option<String>, AwsError> {
        let Update { cx, id, have, .. } = self;
        let seen = idle(cx, id, &have.owner).await?;
        let unknown_now = seen.unknown();
        // Don't compare properties that either read couldn't show.
        let unknown: Vec<&str> = have.unknown.keys().chain(unknown_now.keys()).map(|name| &**name).collect();
        if !crate::kinds::without(&seen.props(), &unknown)?.same(&crate::kinds::without(&have.props, &unknown)?) {
            let message = "the function was changed while engine waited for it";
            return Err(AwsError::changed("update", &id.name, message));
        }
        Ok(seen.config.revision_id)
    }

    /// The revision that the next write requires.
    pub(super) async fn revision(&self, before: &Before) -> Result<Option<String>, AwsError> {
        match before {
            Before::Read(revision) => Ok(revision.clone()),
            Before::Tagged => self.idle_revision().await,
            Before::Updated => Ok(updated(self.cx, self.id, &self.have.owner).await?.config.revision_id),
        }
    }

    pub(super) async fn tag(&self) -> Result<(), AwsError> {
        let Update { cx, id, have, change, .. } = self;
        let arn = have.outputs.get("arn").map_or("", String::as_str);
        let tag = || async {
            let missing = crate::kinds::missing_tags(&have.props.tags, &change.to.tags);
            let tags = HashMap::from_iter(crate::kinds::all_tags(&id.owner, &missing));
            let request = cx.aws.lambda.tag_resource().resource(arn).set_tags(Some(tags));
            request.send().await.context("TagResource", &id.name).map(|_| ())
        };
        cx.send(BUSY, &id.name, tag).await
    }

    /// Sends one of the calls, and returns the hash of the code that it deployed.
    pub(super) async fn send(&self, call: UpdateCall, revision: Option<&str>) -> Result<Option<String>, AwsError> {
        match call {
            UpdateCall::Configuration => self.configure(revision).await.map(|()| None),
            UpdateCall::Code => self.upload(revision).await,
        }
    }

    async fn configure(&self, revision: Option<&str>) -> Result<(), AwsError> {
        let Update { cx, id, change, .. } = self;
        let inquiry = RoleDiagnosis::default();
        let configure = || async {
            let request = cx
                .aws
                .lambda
                .update_function_configuration()
                .function_name(&id.name)
                .set_runtime(change.member(|it| it.runtime.as_deref().map(Runtime::from)).flatten())
                .set_handler(change.member(|it| it.handler.clone()).flatten())
                .set_image_config(change.member(image_config))
                .set_role(change.member(|it| it.role.clone()))
                .set_description(change.member(|it| it.description.clone()))
                .set_memory_size(change.member(|it| it.memory_size))
                .set_timeout(change.member(|it| it.timeout))
                .set_environment(change.member(environment))
                .set_layers(change.member(|it| it.layers.clone()))
                .set_ephemeral_storage(change.member(ephemeral_storage).transpose()?)
                .set_tracing_config(change.member(tracing))
                .set_logging_config(change.member(logging))
                .set_dead_letter_config(change.member(dead_letter))
                .set_vpc_config(change.member(network::request))
                .set_kms_key_arn(change.member(kms_key))
                .set_revision_id(revision.map(str::to_owned));
            let answer = request.send().await.context("UpdateFunctionConfiguration", &id.name);
            explained(cx, id, &inquiry, &change.to.role, answer).await.map(|_| ())
        };
        cx.send(BUSY, &id.name, configure).await
    }

    async fn upload(&self, revision: Option<&str>) -> Result<Option<String>, AwsError> {
        let Update { cx, id, change, artifact, .. } = self;
        let zip = code::bytes(*artifact, "UpdateFunctionCode", id).await?;
        let code = reference::request(&change.to.code, &zip);
        let upload = || async {
            let request = cx.aws.lambda.update_function_code().function_name(&id.name);
            let code = code.clone();
            let request = request.set_zip_file(code.zip_file).set_image_uri(code.image_uri);
            let request = request.set_s3_bucket(code.s3_bucket).set_s3_key(code.s3_key);
            let request = request.set_s3_object_version(code.s3_object_version);
            let request = request.set_architectures(change.member(architectures));
            let request = request.set_revision_id(revision.map(str::to_owned));
            let answer = request.customize().config_override(patient(cx)).send().await;
            answer.context("UpdateFunctionCode", &id.name).map(|answer| answer.code_sha256)
        };
        cx.send(BUSY, &id.name, upload).await
    }
}

/// Records the object that the code with this hash comes from, in a tag of the function with these
/// outputs.
pub(super) async fn record(
    cx: &Context,
    id: &Id,
    (outputs, source): (&Outputs, &str),
    code_sha256: Option<&str>,
) -> Result<(), AwsError> {
    let arn = outputs.get("arn").map_or("", String::as_str);
    let value = reference::record(code_sha256.unwrap_or_default(), source);
    let tag = || async {
        let request = cx.aws.lambda.tag_resource().resource(arn).tags(reference::TAG, &value);
        request.send().await.context("TagResource", &id.name).map(|_| ())
    };
    cx.send(BUSY, &id.name, tag).await
}
