//! The event sources of a mapping, and what each of them accepts.
//!
//! **Invariant:** pure: a spec in, problems out. A source that isn't known has no problems.

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;

use crate::schema::{Presence, Problem};
use crate::spec::{ResourceDecl, Spec};
use crate::value::{Path, Tree, Value};

/// What Lambda reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EventSource {
    /// The stream of a DynamoDB table.
    Table,
    /// An SQS queue.
    Queue,
    /// A Kinesis stream.
    Kinesis,
}

/// The properties that only streams have
/// (docs.aws.amazon.com/lambda/latest/dg/services-sqs-parameters.html lists those of queues), each
/// with what to do for a queue.
const OF_STREAMS: [(&str, &str); 8] = [
    ("starting_position", "remove it: Lambda reads every message of a queue"),
    ("starting_position_timestamp", "remove it: Lambda reads every message of a queue"),
    ("maximum_retry_attempts", "remove it, and set `redrive_policy.max_receive_count` of the queue"),
    ("maximum_record_age_in_seconds", "remove it, and set `message_retention_seconds` of the queue"),
    ("bisect_batch_on_function_error", "remove it; with `report_batch_item_failures`, only failed messages return"),
    ("parallelization_factor", "remove it; `maximum_concurrency` limits concurrent invocations"),
    ("tumbling_window_in_seconds", "remove it"),
    ("on_failure_destination_arn", "remove it, and set `redrive_policy.dead_letter_target_arn` of the queue"),
];

/// The properties that only queues have.
const OF_QUEUES: [(&str, &str); 1] =
    [("maximum_concurrency", "remove it; `parallelization_factor` sets the concurrent batches per shard")];

/// The largest batch of a FIFO queue, and of a standard queue without a batching window
/// (docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html).
const SMALL_BATCH: i64 = 10;
/// AWS recommends a visibility timeout of at least six times the function's timeout plus the
/// batching window (same page).
const RECOMMENDED_TIMEOUTS: i64 = 6;
pub(crate) const VISIBILITY: &str = "visibility_timeout_seconds";

impl EventSource {
    /// The source with this ARN.
    pub(crate) fn of_arn(arn: &str) -> Option<EventSource> {
        match arn.split(':').nth(2)? {
            "dynamodb" => Some(EventSource::Table),
            "sqs" => Some(EventSource::Queue),
            "kinesis" => Some(EventSource::Kinesis),
            _ => None,
        }
    }

    /// The source in `event_source_arn`, as far as it follows from the value alone.
    pub(crate) fn of(properties: &Tree) -> Option<EventSource> {
        let value = properties.get("event_source_arn")?;
        match (value, value.referred()) {
            (_, Some((_, "stream_arn"))) => Some(EventSource::Table),
            (_, Some((_, "arn"))) => Some(EventSource::Queue),
            (Value::String(arn), _) => EventSource::of_arn(arn),
            (Value::Unknown(template), None) => EventSource::of_arn(&template.to_string()),
            _ => None,
        }
    }

    /// The source of a declaration.
    pub(crate) fn of_declared(declared: &ResourceDecl, spec: &Spec) -> Option<EventSource> {
        match spec.target(declared, "event_source_arn") {
            Some(target) => match &*target.schema().kind {
                "table" => Some(EventSource::Table),
                "queue" => Some(EventSource::Queue),
                _ => None,
            },
            None => EventSource::of(&declared.desired),
        }
    }

    /// The default of `batch_size`
    /// (docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html).
    pub(super) fn batch_size(source: Option<EventSource>) -> i32 {
        if source == Some(EventSource::Queue) { 10 } else { 100 }
    }
}

/// What is wrong with a mapping because of its source.
pub(super) fn problems(declared: &ResourceDecl, spec: &Spec) -> Vec<Problem> {
    let mut problems = Vec::new();
    match EventSource::of_declared(declared, spec) {
        Some(EventSource::Queue) => {
            problems.extend(misplaced(declared, &OF_STREAMS, "a queue"));
            problems.extend(batches(declared, spec));
            problems.extend(visibility(declared, spec));
        }
        Some(source) => {
            problems.extend(misplaced(declared, &OF_QUEUES, "a stream"));
            problems.extend(position(declared, source));
        }
        None => {}
    }
    problems
}

/// The properties of another source that a declaration sets.
fn misplaced<'a>(
    declared: &'a ResourceDecl,
    of_others: &'a [(&str, &str)],
    source: &'a str,
) -> impl Iterator<Item = Problem> + 'a {
    of_others.iter().filter(|(name, _)| is_set(declared, name)).map(move |(name, hint)| {
        Problem::error(Path::property(name), format!("`{name}` doesn't apply to {source}"), *hint).inapplicable()
    })
}

/// Whether a declaration sets a property itself, or has another value than the default.
fn is_set(declared: &ResourceDecl, name: &str) -> bool {
    let default = match declared.schema().property(name).map(|property| &property.presence) {
        Some(Presence::Default(default)) => Value::from(default.clone()),
        _ => Value::Null,
    };
    declared.explicit.contains(name) || declared.desired.get(name).is_some_and(|value| *value != default)
}

/// The position at which Lambda starts to read a stream
/// (docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html).
fn position(declared: &ResourceDecl, source: EventSource) -> Option<Problem> {
    let at = declared.desired.get("starting_position")?;
    let is_at_timestamp = at.as_str() == Some("AT_TIMESTAMP");
    let has_timestamp = is_set(declared, "starting_position_timestamp");
    if *at == Value::Null {
        let problem = format!("`{}` is missing `starting_position`", declared.name);
        let hint = "add `starting_position:` (position in the stream at which Lambda starts to read)";
        return Some(Problem::error(Path::default(), problem, hint));
    }
    if is_at_timestamp && source == EventSource::Table {
        let problem = "a DynamoDB stream doesn't support `starting_position: AT_TIMESTAMP`";
        let hint = "use `TRIM_HORIZON` or `LATEST`, or a Kinesis stream";
        return Some(Problem::error(Path::property("starting_position"), problem, hint).inapplicable());
    }
    if is_at_timestamp && !has_timestamp {
        let problem = "`starting_position: AT_TIMESTAMP` needs `starting_position_timestamp`";
        let hint = "add `starting_position_timestamp:` with a time like `2026-01-31T08:00:00Z`";
        return Some(Problem::error(Path::property("starting_position"), problem, hint));
    }
    let is_known = at.as_str().is_some();
    (is_known && has_timestamp && !is_at_timestamp).then(|| {
        let problem = "`starting_position_timestamp` needs `starting_position: AT_TIMESTAMP`";
        let property = "starting_position_timestamp";
        let problem = Problem::error(Path::property(property), problem, "remove it, or use `AT_TIMESTAMP`");
        problem.inapplicable_with(property, "starting_position")
    })
}

/// The batches of a queue (docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html).
fn batches(declared: &ResourceDecl, spec: &Spec) -> Option<Problem> {
    let size = number(declared, "batch_size").unwrap_or(0);
    let window = number(declared, "maximum_batching_window_in_seconds");
    let name = declared.desired.get("event_source_arn").and_then(|source| spec.name_of(source));
    if name.is_some_and(|name| name.ends_with(".fifo")) {
        if window.is_some_and(|window| window > 0) {
            let path = Path::property("maximum_batching_window_in_seconds");
            let problem = "a FIFO queue doesn't support `maximum_batching_window_in_seconds`";
            return Some(Problem::error(path, problem, "remove it, or use a standard queue").inapplicable());
        }
        return (size > SMALL_BATCH).then(|| {
            let problem = format!("a FIFO queue supports a `batch_size` of at most {SMALL_BATCH}, not {size}");
            let hint = format!("use a number from 1 to {SMALL_BATCH}, or a standard queue");
            Problem::error(Path::property("batch_size"), problem, hint)
        });
    }
    (size > SMALL_BATCH && window == Some(0)).then(|| {
        let problem = format!("a `batch_size` of {size} needs a batching window");
        let hint =
            format!("set `maximum_batching_window_in_seconds` to at least 1, or `batch_size` to at most {SMALL_BATCH}");
        Problem::error(Path::property("batch_size"), problem, hint)
            .why(format!("one read of a queue returns at most {SMALL_BATCH} messages"))
    })
}

/// A queue that shows a message again while the function still processes it: Lambda refuses a
/// visibility timeout below the function's timeout, and AWS recommends six times of it
/// (docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html).
fn visibility(declared: &ResourceDecl, spec: &Spec) -> Option<Problem> {
    let managed = |property, setting| {
        let target = spec.target(declared, property).filter(|it| !it.imported)?;
        let value = number(target, setting).filter(|_| !target.lifecycle.ignore_changes.contains(setting))?;
        Some((target, value))
    };
    let (queue, visible) = managed("event_source_arn", VISIBILITY)?;
    let (function, timeout) = managed("function", "timeout")?;
    visibility_problem(declared, (queue, visible), (function, timeout))
}

/// The same for known values.
pub(crate) fn visibility_problem(
    mapping: &ResourceDecl,
    (queue, visible): (&ResourceDecl, i64),
    (function, timeout): (&ResourceDecl, i64),
) -> Option<Problem> {
    let window = number(mapping, "maximum_batching_window_in_seconds").unwrap_or(0);
    let path = Path::property("event_source_arn");
    let recommended = RECOMMENDED_TIMEOUTS.saturating_mul(timeout).saturating_add(window);
    let hint = match queue.imported {
        true => format!(
            "ask the owner of `{}` to set its visibility timeout to {recommended} s or more, or lower the `timeout` of `{}`",
            queue.id.name, function.name
        ),
        false => format!("set `{VISIBILITY}: {recommended}` or more for `{}`", queue.name),
    };
    if visible < timeout {
        let problem = format!(
            "the visibility timeout of `{}` is {visible} s, below the timeout of `{}`, which is {timeout} s",
            queue.name, function.name
        );
        let why = "Lambda refuses it, because SQS would deliver messages again during an invocation";
        return Some(Problem::error(path, problem, hint).why(why));
    }
    (visible < recommended).then(|| {
        let problem = format!(
            "the visibility timeout of `{}` is {visible} s, less than AWS recommends for `{}`: {recommended} s",
            queue.name, function.name
        );
        let why = "AWS recommends six times the function's timeout plus the batching window, so that Lambda can retry a \
                   throttled batch before its messages are visible again";
        Problem::warning(path, problem, hint).why(why)
    })
}

fn number(declared: &ResourceDecl, property: &str) -> Option<i64> {
    declared.desired.get(property).and_then(Value::as_i64)
}

/// A time in the form of [`shown_time`]; `None` for other texts, and for fractions of a second,
/// which AWS doesn't return exactly.
pub(super) fn time(text: &str) -> Option<DateTime> {
    DateTime::from_str(text, Format::DateTimeWithOffset).ok().filter(|time| time.subsec_nanos() == 0)
}

/// A time in UTC.
pub(super) fn shown_time(time: &DateTime) -> Option<String> {
    DateTime::from_secs(time.secs()).fmt(Format::DateTime).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_in_utc_and_has_no_fractions() {
        let shown = |text| time(text).and_then(|time| shown_time(&time));
        assert_eq!(shown("2026-01-31T10:30:00+01:00").as_deref(), Some("2026-01-31T09:30:00Z"));
        assert_eq!(shown("2026-01-31T08:00:00Z").as_deref(), Some("2026-01-31T08:00:00Z"));
        for text in ["2026-01-31T08:00:00.5Z", "2026-01-31", "yesterday", ""] {
            assert_eq!(shown(text), None, "{text}");
        }
    }
}
