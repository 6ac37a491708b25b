//! A function as Lambda shows it, and waiting until it shows what it should.
//!
//! **Invariant:** what a response doesn't show is unknown, never a default.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_lambda::operation::get_function::GetFunctionOutput;
use aws_sdk_lambda::types::{
    Architecture, DeadLetterConfig, EphemeralStorage, FunctionConfiguration, LastUpdateStatus, LogFormat,
    LoggingConfig, PackageType, State, TracingMode,
};
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use serde_json::Value as Json;

use crate::aws::{AwsError, CallContext, Code, Context, Existing, Wait};
use crate::kinds::{ExistenceTracker, Input};
use crate::ownership::OwnershipVerdict;
use crate::schema::{Id, Live, Outputs, Ownership, Status, Timestamps, Unknown};

use super::reference::{self, ContainerImage, SOURCE};
use super::{Props, default_log_group, details, network};

const ACTIVE: Wait = Wait {
    what: "the function to become Active",
    reason: "Lambda prepares or updates it, which usually takes seconds",
    inspect_cmd: INSPECT,
    limit: None,
    budget: Duration::from_secs(600),
};
const UPDATED: Wait = Wait {
    what: "the function's update to finish",
    reason: "Lambda accepts the next change only after it",
    inspect_cmd: INSPECT,
    limit: None,
    budget: Duration::from_secs(600),
};
/// Shows the function's `State` and `LastUpdateStatus`, each with its reason.
pub(super) const INSPECT: &str = "aws lambda get-function-configuration --function-name {} --region {region}";

/// A function as returned by GetFunction.
pub(super) struct FunctionRead {
    pub(super) config: FunctionConfiguration,
    /// The image that it runs instead of a package, with its package type if there is no URI.
    image: Option<ContainerImage>,
    /// The value of the tag that records where its code comes from.
    recorded: Option<String>,
    reserved: Option<i32>,
    /// Whether engine may have set what takes a separate call to read.
    pub(super) is_marked: bool,
    tags: BTreeMap<String, String>,
    /// Why its tags can't be read.
    tags_error: Option<String>,
    pub(super) owner: Ownership,
}

impl FunctionRead {
    pub(super) fn of(answer: GetFunctionOutput) -> Option<FunctionRead> {
        let tags = answer.tags.unwrap_or_default();
        let pairs = || tags.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let config = answer.configuration?;
        let uri = answer.code.and_then(|code| code.image_uri).filter(|uri| !uri.is_empty());
        // Unknown package types are not Zip either.
        let other = config.package_type().filter(|it| **it != PackageType::Zip);
        let image = other.map(|it| reference::of(&config, uri.unwrap_or_else(|| it.as_str().to_owned())));
        Some(FunctionRead {
            config,
            image,
            reserved: answer.concurrency.and_then(|it| it.reserved_concurrent_executions),
            recorded: tags.get(reference::TAG).cloned(),
            // Without any tags, they may be hidden.
            is_marked: tags.contains_key(details::MARK) || tags.is_empty(),
            tags: crate::kinds::own_tags(pairs()),
            // Without permission for ListTags, the response has no tags; newer responses include
            // the error.
            owner: if answer.tags_error.is_some() { Ownership::Denied } else { Ownership::from_tags(pairs()) },
            tags_error: answer.tags_error.map(|error| match error.error_code.contains("AccessDenied") {
                true => "you lack permission for ListTags".to_owned(),
                false => error.message,
            }),
        })
    }

    /// Checks that this stack owns it, or that its owner hasn't changed.
    pub(super) fn still(&self, owner: &Ownership, id: &Id) -> Result<(), AwsError> {
        if self.owner == *owner || OwnershipVerdict::of(&self.owner, None, &id.owner) == OwnershipVerdict::Owned {
            return Ok(());
        }
        let message = "its owner changed during this run";
        Err(AwsError::changed("update", &id.name, message))
    }

    pub(super) fn live(self) -> Live<Props> {
        Live {
            outputs: outputs(&self.config),
            status: condition(&self.config),
            unique_id: None,
            revision: self.config.revision_id.clone(),
            timestamps: Timestamps { created: None, modified: self.config.last_modified().and_then(milliseconds) },
            notes: notes(&self),
            unknown: self.unknown(),
            props: self.props(),
            owner: self.owner,
        }
    }

    /// Whether its code may be signed: engine signs only code in S3, and the response shows a signature.
    pub(super) fn may_be_signed(&self) -> bool {
        self.recorded.is_some() || self.config.signing_profile_version_arn().is_some()
    }

    /// Properties that the response doesn't show: those for which AWS returns an error, and missing
    /// ones that AWS always sends
    /// (docs.aws.amazon.com/lambda/latest/api/API_FunctionConfiguration.html), as in regions
    /// without the feature.
    pub(super) fn unknown(&self) -> Unknown {
        let config = &self.config;
        let no_logging = config.logging_config().is_none();
        // A container image has neither, and no size of a zip.
        let is_zip = self.image.is_none();
        let mut unknown = crate::kinds::missing([
            ("runtime", is_zip && config.runtime().is_none()),
            ("handler", is_zip && config.handler().is_none()),
            ("role", config.role().is_none()),
            ("code_sha256", config.code_sha256().is_none()),
            ("code_size", is_zip && config.code_size() == 0),
            ("description", config.description().is_none()),
            ("memory_size", config.memory_size().is_none()),
            ("timeout", config.timeout().is_none()),
            ("architecture", config.architectures().is_empty()),
            ("ephemeral_storage", config.ephemeral_storage().is_none()),
            ("tracing", config.tracing_config().is_none_or(|it| it.mode().is_none())),
            ("log_format", no_logging),
            ("log_group", no_logging),
            ("application_log_level", no_logging),
            ("system_log_level", no_logging),
        ]);
        if let Some(error) = config.environment().and_then(|environment| environment.error()) {
            unknown.insert("environment".into(), crate::kinds::undecrypted(error.error_code(), error.message()));
        }
        let hidden = ["tags", SOURCE].into_iter().zip(std::iter::repeat(self.tags_error.clone()));
        unknown.extend(hidden.filter_map(|(name, why)| Some((name.into(), why?))));
        unknown
    }

    /// Its properties, with AWS's defaults for missing or empty values, and without those in
    /// [`details`].
    pub(super) fn props(&self) -> Props {
        let FunctionRead { config, image, recorded, reserved, tags, tags_error: _, is_marked: _, owner: _ } = self;
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        let logging = config.logging_config();
        let json = logging.and_then(LoggingConfig::log_format) == Some(&LogFormat::Json);
        let level = |level: Option<&str>| json.then(|| level.unwrap_or("INFO").to_owned());
        let group = logging.and_then(LoggingConfig::log_group).filter(|group| !group.is_empty());
        let target = config.dead_letter_config().and_then(DeadLetterConfig::target_arn);
        let variables = config.environment().and_then(|environment| environment.variables());
        Props {
            runtime: config.runtime().map(|it| it.as_str().to_owned()).filter(|it| !it.is_empty()),
            handler: config.handler().filter(|it| !it.is_empty()).map(str::to_owned),
            role: text(config.role()),
            access: Input,
            statements: Input,
            code: Json::Null,
            build: Input,
            code_sha256: config.code_sha256().map(str::to_owned),
            code_size: Some(config.code_size()),
            code_source: reference::recorded(recorded.as_deref(), config.code_sha256()),
            code_signing_config_arn: None,
            image: image.clone(),
            description: text(config.description()),
            memory_size: config.memory_size().unwrap_or(128),
            timeout: config.timeout().unwrap_or(3),
            environment: variables.into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect(),
            architecture: config.architectures().first().map_or("x86_64", Architecture::as_str).to_owned(),
            layers: config.layers().iter().filter_map(|layer| layer.arn().map(str::to_owned)).collect(),
            ephemeral_storage: config.ephemeral_storage().map_or(512, EphemeralStorage::size),
            tracing: config.tracing_config().and_then(|it| it.mode()).map_or("PassThrough", TracingMode::as_str).into(),
            log_format: if json { "JSON" } else { "Text" }.to_owned(),
            log_retention_in_days: Input,
            events: Input,
            log_group: group.map_or_else(|| default_log_group(&text(config.function_name())), str::to_owned),
            application_log_level: level(logging.and_then(|it| Some(it.application_log_level()?.as_str()))),
            system_log_level: level(logging.and_then(|it| Some(it.system_log_level()?.as_str()))),
            reserved_concurrent_executions: *reserved,
            dead_letter_target_arn: target.filter(|arn| !arn.is_empty()).map(str::to_owned),
            async_config: None,
            url: None,
            vpc: network::of(config),
            kms_key_arn: config.kms_key_arn().filter(|arn| !arn.is_empty()).map(str::to_owned),
            tags: tags.clone(),
        }
    }
}

/// The current function; `None` if it doesn't exist (yet).
pub(super) async fn read_function(cx: &Context, id: &Id) -> Result<Option<FunctionRead>, AwsError> {
    // GetFunction doesn't count against Lambda's 15 control-plane calls per second, unlike
    // GetFunctionConfiguration.
    let answer = cx.aws.lambda.get_function().function_name(&id.name).send().await.context("GetFunction", &id.name);
    let seen = answer.if_exists()?.and_then(FunctionRead::of);
    let config = seen.as_ref().map(|seen| &seen.config);
    let in_vpc = config.filter(|it| it.vpc_config().is_some_and(|vpc| !vpc.subnet_ids().is_empty()));
    if let Some(role) = in_vpc.and_then(FunctionConfiguration::role) {
        cx.aws.seen.note_vpc_role(role);
    }
    Ok(seen)
}

/// Waits until the function is active: for its create, and for an update that an earlier run
/// started.
pub(super) async fn active(cx: &Context, id: &Id) -> Result<FunctionRead, AwsError> {
    let tracker = ExistenceTracker::default();
    let probe = || async {
        let Some(seen) = tracker.note("GetFunction", id, read_function(cx, id).await?)? else { return Ok(None) };
        match condition(&seen.config) {
            Status::Failed(reason) => {
                let message = format!("Lambda couldn't create the function: {reason}");
                Err(AwsError::own(Code::FunctionFailed, "CreateFunction", &id.name, message))
            }
            Status::Stable => Ok(Some(seen)),
            _ => Ok(None),
        }
    };
    cx.until(ACTIVE, &id.name, probe).await
}

/// Waits until no create or update is in progress, and returns the function. Fails if it no longer
/// belongs to `owner` or this stack.
pub(super) async fn idle(cx: &Context, id: &Id, owner: &Ownership) -> Result<FunctionRead, AwsError> {
    let probe = || async {
        let Some(seen) = read_function(cx, id).await? else {
            return Err(AwsError::changed("GetFunction", &id.name, "the function no longer exists"));
        };
        seen.still(owner, id)?;
        let busy = matches!(condition(&seen.config), Status::InTransition(_) | Status::Unreadable(_));
        Ok((!busy).then_some(seen))
    };
    cx.until(UPDATED, &id.name, probe).await
}

/// Waits until this run's update has succeeded.
pub(super) async fn updated(cx: &Context, id: &Id, owner: &Ownership) -> Result<FunctionRead, AwsError> {
    let seen = idle(cx, id, owner).await?;
    if seen.config.last_update_status() == Some(&LastUpdateStatus::Failed) {
        return Err(failed_update(id, &seen.config));
    }
    Ok(seen)
}

pub(super) fn failed_update(id: &Id, config: &FunctionConfiguration) -> AwsError {
    let reason = reason(config.last_update_status_reason());
    let message = format!("Lambda couldn't update the function and still runs the previous version: {reason}");
    AwsError::own(Code::FunctionFailed, "UpdateFunction", &id.name, message)
}

fn outputs(config: &FunctionConfiguration) -> Outputs {
    [("arn", config.function_arn()), ("name", config.function_name())]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
        .collect()
}

fn condition(config: &FunctionConfiguration) -> Status {
    match (config.state(), config.last_update_status()) {
        (Some(State::Failed), _) => Status::Failed(reason(config.state_reason())),
        (Some(State::Deleting), _) => Status::Deleting,
        (None | Some(State::Active | State::Inactive), Some(status @ LastUpdateStatus::InProgress)) => {
            // Lambda shows the new values, and the old ones again if the update fails.
            Status::Unreadable(status.as_str().to_owned())
        }
        (None | Some(State::Active | State::Inactive), _) => Status::Stable,
        // This includes states unknown to engine.
        (Some(state), _) => Status::InTransition(state.as_str().to_owned()),
    }
}

fn notes(seen: &FunctionRead) -> Vec<String> {
    let config = &seen.config;
    let mut notes = Vec::new();
    // engine knows of no others.
    let unknown = config.package_type().filter(|it| ![PackageType::Zip, PackageType::Image].contains(it));
    notes.extend(unknown.map(|it| format!("its package type is {}, which can't be changed", it.as_str())));
    if config.state() == Some(&State::Inactive) {
        notes.push("it is inactive; Lambda activates it at the next invocation".to_owned());
    }
    if config.last_update_status() == Some(&LastUpdateStatus::Failed) {
        let reason = reason(config.last_update_status_reason());
        notes.push(format!("its last update failed, so Lambda still runs the previous version: {reason}"));
    }
    notes
}

fn reason(text: Option<&str>) -> String {
    text.unwrap_or("no reason given").to_owned()
}

/// Converts `2026-11-22T20:47:57.123+0000`, the time format of Lambda, to milliseconds since 1970.
fn milliseconds(text: &str) -> Option<i64> {
    let (rest, minutes) = text.split_at_checked(text.len().checked_sub(2)?)?;
    DateTime::from_str(&format!("{rest}:{minutes}"), Format::DateTimeWithOffset).ok()?.to_millis().ok()
}
