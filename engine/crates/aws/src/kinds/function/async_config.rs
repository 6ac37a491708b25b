//! How Lambda invokes a function asynchronously: retries, the age of events, and destinations.
//!
//! **Invariant:** a configuration is always written as a whole, because Lambda resets what a write
//! omits (docs.aws.amazon.com/lambda/latest/api/API_PutFunctionEventInvokeConfig.html).

use std::sync::LazyLock;

use aws_sdk_lambda::operation::get_function_event_invoke_config::GetFunctionEventInvokeConfigOutput;
use aws_sdk_lambda::types::{DestinationConfig, OnFailure, OnSuccess};
use serde::{Deserialize, Serialize};

use crate::aws::{AwsError, CallContext, Context, Existing};
use crate::kinds::text::is_target;
use crate::kinds::{fifo_destination, unusual_service};
use crate::schema::{Id, Problem, Property, Shape, Text, property};
use crate::spec::{ResourceDecl, Spec};
use crate::value::{Path, Tree, Value};

use super::BUSY;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AsyncConfig {
    maximum_retry_attempts: i32,
    maximum_event_age_in_seconds: i32,
    on_success_destination_arn: Option<String>,
    on_failure_destination_arn: Option<String>,
}

/// The property's name in specs.
pub(crate) const ASYNC: &str = "async";
const ON_SUCCESS: &str = "on_success_destination_arn";
const ON_FAILURE: &str = "on_failure_destination_arn";
/// Lambda's defaults (docs.aws.amazon.com/lambda/latest/dg/invocation-async-configuring.html).
const RETRIES: i32 = 2;
const DEFAULT_MAX_AGE: i32 = 21_600;

/// docs.aws.amazon.com/lambda/latest/api/API_OnFailure.html
static DESTINATION: LazyLock<Text> = LazyLock::new(|| {
    Text::new(
        1..=350,
        "a reference like `${failed.arn}` or the ARN of a queue, a topic, a function or an event bus",
        is_target,
    )
});

impl Default for AsyncConfig {
    fn default() -> AsyncConfig {
        AsyncConfig {
            maximum_retry_attempts: RETRIES,
            maximum_event_age_in_seconds: DEFAULT_MAX_AGE,
            on_success_destination_arn: None,
            on_failure_destination_arn: None,
        }
    }
}

/// docs.aws.amazon.com/lambda/latest/api/API_PutFunctionEventInvokeConfig.html
pub(super) fn async_config() -> Property {
    let destination = |name: &'static str, doc: &'static str| {
        property(name, Shape::link([("queue", "arn"), ("function", "arn")], Some(&DESTINATION)), doc)
    };
    let members = vec![
        property(
            "maximum_retry_attempts",
            Shape::Integer { min: 0, max: 2 },
            "maximum number of retries of a failed invocation",
        )
        .default(RETRIES),
        property(
            "maximum_event_age_in_seconds",
            Shape::Integer { min: 60, max: DEFAULT_MAX_AGE.into() },
            "maximum age of an event that Lambda still sends to the function",
        )
        .default(DEFAULT_MAX_AGE),
        destination(ON_SUCCESS, "destination for the results of successful invocations"),
        destination(ON_FAILURE, "destination for failed events; also the ARN of an S3 bucket"),
    ];
    property(ASYNC, Shape::Record(members), "how Lambda handles asynchronous invocations")
        .separate_read()
        .member("DestinationConfig")
}

/// The destinations of a declaration, by the name of their property.
pub(crate) fn destinations(desired: &Tree) -> impl Iterator<Item = (&'static str, &Value)> {
    let config = match desired.get(ASYNC) {
        Some(Value::Map(config)) => Some(config),
        _ => None,
    };
    [ON_SUCCESS, ON_FAILURE].into_iter().filter_map(move |name| Some((name, config?.get(name)?)))
}

/// The warnings for destinations of services that Lambda doesn't document as such
/// (docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html).
pub(super) fn unusual_destinations(desired: &Tree) -> Vec<Problem> {
    let problem = |(name, arn): (&str, &Value)| {
        let services: &[&str] = match name {
            ON_FAILURE => &["sqs", "sns", "lambda", "events", "s3"],
            _ => &["sqs", "sns", "lambda", "events"],
        };
        unusual_service(Path::property(ASYNC).key(name), name, arn, services)
    };
    destinations(desired).filter_map(problem).collect()
}

/// The problems of FIFO queues and topics as destinations and as the dead-letter target.
pub(super) fn fifo_targets(declared: &ResourceDecl, spec: &Spec) -> Vec<Problem> {
    let warning = |(name, arn): (&str, &Value)| fifo_destination(Path::property(ASYNC).key(name), arn, spec);
    destinations(&declared.desired).filter_map(warning).chain(fifo_dead_letters(declared, spec)).collect()
}

/// The error for a reference to a FIFO queue as the dead-letter target; an ARN of one is not a valid
/// value (docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html).
fn fifo_dead_letters(declared: &ResourceDecl, spec: &Spec) -> Option<Problem> {
    const DEAD_LETTER: &str = "dead_letter_target_arn";
    let target = declared.desired.get(DEAD_LETTER).filter(|it| it.as_str().is_none())?;
    let name = spec.name_of(target).filter(|name| name.ends_with(".fifo"))?;
    let problem = format!("`{name}` can't be a dead-letter target, because it is FIFO");
    let problem = Problem::error(Path::property(DEAD_LETTER), problem, "use a standard queue");
    Some(problem.why("Lambda sends failed invocations only to standard queues and topics"))
}

/// The current configuration; `None` if the function has none, or doesn't exist.
pub(super) async fn read(cx: &Context, id: &Id) -> Result<Option<AsyncConfig>, AwsError> {
    let request = cx.aws.lambda.get_function_event_invoke_config().function_name(&id.name);
    let answer = request.send().await.context("GetFunctionEventInvokeConfig", &id.name);
    Ok(answer.if_exists()?.map(AsyncConfig::of))
}

/// Sets or, with `None`, removes the configuration.
pub(super) async fn write(cx: &Context, id: &Id, config: Option<&AsyncConfig>) -> Result<(), AwsError> {
    let send = || async {
        let lambda = &cx.aws.lambda;
        match config {
            Some(config) => {
                let request = lambda
                    .put_function_event_invoke_config()
                    .function_name(&id.name)
                    .maximum_retry_attempts(config.maximum_retry_attempts)
                    .maximum_event_age_in_seconds(config.maximum_event_age_in_seconds)
                    .destination_config(config.destinations());
                request.send().await.context("PutFunctionEventInvokeConfig", &id.name).map(|_| ())
            }
            None => {
                let request = lambda.delete_function_event_invoke_config().function_name(&id.name);
                request.send().await.context("DeleteFunctionEventInvokeConfig", &id.name).if_deleted()
            }
        }
    };
    cx.send(BUSY, &id.name, send).await
}

impl AsyncConfig {
    /// Lambda shows only what was set, and an empty member for a destination that isn't.
    fn of(answer: GetFunctionEventInvokeConfigOutput) -> AsyncConfig {
        let destinations = answer.destination_config.unwrap_or_else(|| DestinationConfig::builder().build());
        let target = |arn: String| (!arn.is_empty()).then_some(arn);
        AsyncConfig {
            maximum_retry_attempts: answer.maximum_retry_attempts.unwrap_or(RETRIES),
            maximum_event_age_in_seconds: answer.maximum_event_age_in_seconds.unwrap_or(DEFAULT_MAX_AGE),
            on_success_destination_arn: destinations.on_success.and_then(|it| it.destination).and_then(target),
            on_failure_destination_arn: destinations.on_failure.and_then(|it| it.destination).and_then(target),
        }
    }

    fn destinations(&self) -> DestinationConfig {
        let on_success = self.on_success_destination_arn.as_ref();
        let on_failure = self.on_failure_destination_arn.as_ref();
        DestinationConfig::builder()
            .set_on_success(on_success.map(|arn| OnSuccess::builder().destination(arn).build()))
            .set_on_failure(on_failure.map(|arn| OnFailure::builder().destination(arn).build()))
            .build()
    }
}
