//! What happens to a batch after an error: the mapping's retries, in words.
//!
//! **Invariant:** what can't be read is left out.

use std::time::Duration;

use crate::aws::{CallContext, Context};
use crate::kinds::function_name;
use crate::spec::{ResourceDecl, Spec};

/// How long a DynamoDB stream keeps records, in seconds
/// (docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html).
const RETENTION: i32 = 86_400;

/// What a mapping does with a batch that the function fails; `None` is unknown.
#[derive(Debug, Clone, Default)]
pub struct RetryPolicy {
    /// The mapping's name.
    mapping: String,
    /// Whether it reads its stream.
    enabled: Option<bool>,
    /// Maximum number of retries; -1 is unlimited.
    attempts: Option<i32>,
    /// Maximum age of a record in seconds; -1 is unlimited.
    age: Option<i32>,
    /// Whether it splits a failed batch in two.
    bisects: Option<bool>,
    /// How long its stream keeps records, in seconds.
    retention: Option<i32>,
    /// The ARN that the metadata of a batch is sent to in the end; empty for none.
    destination: Option<String>,
}

impl RetryPolicy {
    /// The settings of the only mapping that invokes a function. `None` if several do, because it
    /// isn't known which batch failed, or if they can't be read.
    pub async fn of(cx: &Context, spec: &Spec, function: &str) -> Option<RetryPolicy> {
        let name = &spec.resource(function)?.id.name;
        let list = || async {
            let request = cx.aws.lambda.list_event_source_mappings().function_name(name);
            request.send().await.context("ListEventSourceMappings", name)
        };
        let page = cx.read(name, list).await.ok()?;
        let is_all = page.next_marker.as_ref().is_none_or(String::is_empty);
        let mappings = page.event_source_mappings.unwrap_or_default();
        let [mapping] = mappings.as_slice() else { return None };
        let stream = mapping.event_source_arn().filter(|_| is_all)?;
        let service = stream.split(':').nth(2).filter(|it| ["dynamodb", "kinesis"].contains(it))?;
        let is_it = |declared: &&ResourceDecl| {
            let attached = declared.parent().map(|(_, function)| function.to_owned());
            declared.schema().kind == "mapping"
                && attached == mapping.function_arn().map(function_name)
                && declared.id.parents.values().any(|source| stream.contains(&format!(":table/{source}/")))
        };
        let declared = spec.resources.iter().find(is_it);
        let destination = mapping.destination_config();
        Some(RetryPolicy {
            mapping: declared.map_or_else(|| "its mapping".to_owned(), |declared| declared.name.clone()),
            enabled: mapping.state().map(|state| !matches!(state, "Disabled" | "Disabling")),
            attempts: mapping.maximum_retry_attempts(),
            age: mapping.maximum_record_age_in_seconds(),
            bisects: mapping.bisect_batch_on_function_error(),
            retention: (service == "dynamodb").then_some(RETENTION),
            destination: destination
                .map(|it| it.on_failure().and_then(|it| it.destination()).unwrap_or_default().to_owned()),
        })
    }

    /// What happens next, in words, as far as that is known
    /// (docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html).
    pub fn description(&self) -> Option<String> {
        let RetryPolicy { mapping, attempts, age, bisects, .. } = self;
        if self.enabled == Some(false) {
            return Some(format!("{mapping} is disabled, so failed batches aren't retried"));
        }
        let old = |seconds: i32| {
            let age = u64::from(seconds.unsigned_abs());
            let in_hours = (age > 0 && age % 3600 == 0).then(|| format!("{}h", age / 3600));
            let age = in_hours.unwrap_or_else(|| humantime::format_duration(Duration::from_secs(age)).to_string());
            format!("its records are {age} old")
        };
        let expired = || self.retention.map_or_else(|| "its records expire".to_owned(), old);
        let (until, is_endless) = match (*attempts, *age) {
            (Some(0), _) => ("never retries a failed batch".to_owned(), false),
            (Some(n), Some(age)) if n > 0 && age >= 0 => {
                (format!("retries a failed batch {}, or until {}", many(n), old(age)), false)
            }
            (Some(n), _) if n > 0 => (format!("retries a failed batch {}", many(n)), false),
            (Some(_), Some(age)) if age >= 0 => (format!("retries a failed batch until {}", old(age)), false),
            (Some(_), Some(_)) => (format!("retries a failed batch until it succeeds or {}", expired()), true),
            _ => return None,
        };
        let splits = if *bisects == Some(true) && *attempts != Some(0) { ", split in two each time" } else { "" };
        let end = match self.destination.as_deref() {
            Some("") if is_endless => String::new(),
            Some("") if *attempts == Some(0) => " and drops it".to_owned(),
            Some("") => " and then drops it".to_owned(),
            Some(arn) => format!(" and then reports it to {}", arn.rsplit(':').next().unwrap_or(arn)),
            None => String::new(),
        };
        let comma = if splits.is_empty() || end.is_empty() { "" } else { "," };
        Some(format!("{mapping} {until}{splits}{comma}{end}"))
    }
}

fn many(n: i32) -> String {
    if n == 1 { "once".to_owned() } else { format!("up to {n} times") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_policy_is_described_as_far_as_it_is_known() {
        let policy = |enabled, attempts, age, bisects, destination: Option<&str>| RetryPolicy {
            mapping: "m".to_owned(),
            enabled,
            attempts,
            age,
            bisects,
            retention: Some(86_400),
            destination: destination.map(str::to_owned),
        };
        let (on, queue) = (Some(true), Some("arn:aws:sqs:eu-central-1:1:failed"));
        for (policy, words) in [
            (policy(None, None, None, None, None), None),
            (policy(on, Some(-1), None, on, queue), None),
            (policy(on, None, Some(-1), on, queue), None),
            (policy(Some(false), None, None, None, None), Some("m is disabled, so failed batches aren't retried")),
            (
                policy(on, Some(-1), Some(-1), Some(false), Some("")),
                Some("m retries a failed batch until it succeeds or its records are 24h old"),
            ),
            (
                policy(on, Some(-1), Some(600), on, Some("")),
                Some(
                    "m retries a failed batch until its records are 10m old, split in two each time, and then drops it",
                ),
            ),
            (
                policy(on, Some(3), Some(-1), None, queue),
                Some("m retries a failed batch up to 3 times and then reports it to failed"),
            ),
            (policy(on, Some(1), None, None, None), Some("m retries a failed batch once")),
            (
                policy(on, Some(2), Some(60), None, Some("")),
                Some("m retries a failed batch up to 2 times, or until its records are 1m old and then drops it"),
            ),
            (policy(on, Some(0), None, on, Some("")), Some("m never retries a failed batch and drops it")),
        ] {
            assert_eq!(policy.description().as_deref(), words, "{policy:?}");
        }
    }
}
