//! The members of Lambda's requests, made from a function's properties.
//!
//! **Invariant:** a member resets what the properties don't set, so that an update with it removes
//! what a spec no longer has.

use aws_sdk_lambda::config::Builder as Override;
use aws_sdk_lambda::types::{
    Architecture, DeadLetterConfig, Environment, EphemeralStorage, ImageConfig, LogFormat, LoggingConfig,
    TracingConfig, TracingMode,
};
use aws_smithy_types::retry::RetryConfig;

use crate::aws::{AwsError, Context};

use super::{Props, reference};

pub(super) fn architectures(props: &Props) -> Vec<Architecture> {
    vec![Architecture::from(props.architecture.as_str())]
}

/// An empty map removes all variables; omitting the field would keep them.
pub(super) fn environment(props: &Props) -> Environment {
    Environment::builder().set_variables(Some(props.environment.clone().into_iter().collect())).build()
}

pub(super) fn ephemeral_storage(props: &Props) -> Result<EphemeralStorage, AwsError> {
    let storage = EphemeralStorage::builder().size(props.ephemeral_storage).build();
    storage.map_err(|error| AwsError::defect(format!("the size of /tmp can't be sent: {error}")))
}

pub(super) fn tracing(props: &Props) -> TracingConfig {
    TracingConfig::builder().mode(TracingMode::from(props.tracing.as_str())).build()
}

/// All members, since AWS doesn't document whether it keeps omitted ones.
pub(super) fn logging(props: &Props) -> LoggingConfig {
    LoggingConfig::builder()
        .log_format(LogFormat::from(props.log_format.as_str()))
        .log_group(&props.log_group)
        .set_application_log_level(props.application_log_level.as_deref().map(Into::into))
        .set_system_log_level(props.system_log_level.as_deref().map(Into::into))
        .build()
}

/// An empty target removes the current one.
pub(super) fn dead_letter(props: &Props) -> DeadLetterConfig {
    DeadLetterConfig::builder().target_arn(props.dead_letter_target_arn.as_deref().unwrap_or_default()).build()
}

/// An empty ARN restores the key owned by AWS.
pub(super) fn kms_key(props: &Props) -> String {
    props.kms_key_arn.clone().unwrap_or_default()
}

/// Longer timeouts for calls that upload code.
pub(super) fn patient(cx: &Context) -> Override {
    aws_sdk_lambda::Config::builder().timeout_config(cx.aws.upload_timeouts.clone())
}

/// Disables the SDK's retries: a create is sent again only after a read shows that the first one
/// had no effect.
pub(super) fn once(cx: &Context) -> Override {
    patient(cx).retry_config(RetryConfig::disabled())
}

/// Empty settings restore those of the image.
pub(super) fn image_config(props: &Props) -> ImageConfig {
    reference::image_config(props.image.as_ref())
}

/// The settings of a new function's image, if it has any.
pub(super) fn image_config_of_new(props: &Props) -> Option<ImageConfig> {
    let config = image_config(props);
    (config != ImageConfig::builder().build()).then_some(config)
}
