//! `mapping`: an event source mapping, with which Lambda reads a table's stream, a queue or a
//! Kinesis stream and invokes a function.
//!
//! ```yaml
//! team: blue-owls
//! resources:
//!   todos:
//!     type: table
//!     attributes: { id: S }
//!     hash_key: id
//!     billing_mode: PAY_PER_REQUEST
//!     stream_view_type: NEW_AND_OLD_IMAGES
//!   execution-role: { type: role, import: fhms-pulumi-challenge-lambda-execution-role }
//!   logger:
//!     type: function
//!     runtime: nodejs22.x
//!     handler: index.handler
//!     role: ${execution-role.arn}
//!     code: { inline: "exports.handler = async () => {};" }
//!   todos-to-logger:
//!     type: mapping
//!     function: ${logger.arn}
//!     event_source_arn: ${todos.stream_arn}
//!     starting_position: TRIM_HORIZON
//!   jobs: { type: queue }
//!   jobs-to-logger:
//!     type: mapping
//!     function: ${logger.arn}
//!     event_source_arn: ${jobs.arn}
//!     maximum_concurrency: 5
//! ```

mod errors;
pub mod filter;
pub(super) mod operations;
pub(crate) mod source;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aws_sdk_dynamodb::types::{TableDescription, TableStatus};
use aws_sdk_lambda::config::Builder as Override;
use aws_sdk_lambda::operation::create_event_source_mapping::CreateEventSourceMappingOutput;
use aws_sdk_lambda::types::{
    DestinationConfig, EventSourceMappingConfiguration, EventSourcePosition, Filter, FilterCriteria,
    FilterCriteriaError, FunctionResponseType, OnFailure, ScalingConfig,
};
use aws_smithy_types::retry::RetryConfig;
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::aws::error::{ErrorRow, is_unsupported, is_untaggable};
use crate::aws::trust::RoleDiagnosis;
use crate::aws::{Aws, AwsError, Batch, CallContext, Code, Context, EventSources, Existing, Wait, limits};
use crate::kind::Kind;
use crate::operation::Operation;
use crate::ownership::{OwnershipVerdict, UnreadableTags};
use crate::schema::{
    AwsEnv, Disruption, Effect, Id, Identity, Live, Locality, Output, Outputs, Owner, Ownership, Presence, Problem,
    Property, Reading, Schema, Shape, Status, Str, Tagging, Text, Timestamps, Unknown, is_of_team, partition_of,
    property,
};
use crate::spec::{ResourceDecl, Spec};
use crate::value::{Path, Tree, Value};
use engine_core::kind::{Derived, Want};

use super::{Delta, ExistenceTracker, function_name};
use source::EventSource;

pub(super) struct Mapping;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Props {
    function: String,
    event_source_arn: String,
    starting_position: Option<String>,
    /// In UTC ([`source::shown_time`]).
    starting_position_timestamp: Option<String>,
    batch_size: i32,
    maximum_batching_window_in_seconds: i32,
    /// Sorted by their JSON text.
    filters: Vec<Json>,
    kms_key_arn: Option<String>,
    maximum_retry_attempts: i32,
    maximum_record_age_in_seconds: i32,
    bisect_batch_on_function_error: bool,
    parallelization_factor: i32,
    tumbling_window_in_seconds: i32,
    report_batch_item_failures: bool,
    maximum_concurrency: Option<i32>,
    on_failure_destination_arn: Option<String>,
    enabled: bool,
    tags: BTreeMap<String, String>,
}

const ON_FAILURE: &str = "on_failure_destination_arn";
/// docs.aws.amazon.com/lambda/latest/dg/services-ddb-params.html
static DESTINATION: LazyLock<Text> = LazyLock::new(|| {
    Text::new(
        1..=350,
        "a reference like `${failed.arn}` or the ARN of an SQS queue, SNS topic or S3 bucket",
        super::text::is_target,
    )
});
/// A filter pattern (docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html).
fn pattern() -> Shape {
    Shape::Json {
        max: 4096,
        example: "{ eventName: [INSERT] }".into(),
        faults: Arc::new(filter::faults),
        references: false,
    }
}
static TIME: LazyLock<Text> = LazyLock::new(|| {
    Text::new(1..=64, "a time in whole seconds like `2026-01-31T08:00:00Z`", |text| source::time(text).is_some())
});
/// AWS's default quota of filters per mapping, which can be raised to ten (same page). AWS decides
/// about more.
const USUAL_FILTERS: i64 = 5;
/// engine's own limit.
const MAX_FILTERS: usize = 1000;

/// From how many functions on the mappings of all are listed together: below, the calls fit into
/// the burst of Lambda's rate limit, and pages, which follow each other, would take longer.
const LIST_FROM: usize = 10;

/// From how many single reads on that wait for their turn a list replaces them.
const LIST_INSTEAD: usize = 4;

const BUSY: Wait = Wait {
    what: "an earlier change of the mapping to finish",
    reason: "Lambda allows one change at a time",
    inspect_cmd: "",
    limit: Some(limits::LAMBDA),
    budget: Duration::from_secs(300),
};
/// "Changes made to attributes can take up to 60 seconds to propagate"
/// (docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html).
const QUEUE_CHANGED: Wait = Wait {
    what: "Lambda to see the queue's new visibility timeout",
    reason: "SQS needs up to 60 s to propagate it",
    inspect_cmd: "",
    limit: Some(limits::LAMBDA),
    budget: Duration::from_secs(65),
};
/// Number of consecutive reads of the table that confirm that a stream has ended: a single read may
/// be stale.
const READS_OF_AN_END: u32 = 2;
/// Number of reads of an unfinished mapping before reading its table.
const READS_BEFORE_TABLE: u32 = 10;
const READY: Wait = Wait {
    what: "the mapping to become ready",
    reason: "Lambda sets up its stream pollers, which usually takes up to a minute",
    inspect_cmd: INSPECT,
    // Each poll waits for its own turn, in which one list may answer for many.
    limit: None,
    budget: Duration::from_secs(600),
};
/// Shows the mapping's `State`, its reason, and the result of the last batch.
const INSPECT: &str = "aws lambda get-event-source-mapping --uuid {} --region {region}";
const DELETE_CMD: &str = "aws lambda delete-event-source-mapping --uuid {} --region {region}";
const DELETED: Wait = Wait {
    what: "the mapping to be deleted",
    reason: "Lambda first stops its stream pollers, which usually takes up to a minute",
    inspect_cmd: INSPECT,
    // Each poll waits for its own turn, in which one list may answer for many.
    limit: None,
    budget: Duration::from_secs(300),
};

/// Where an implied mapping of a stream starts: no record is left out.
const FROM_THE_START: &str = "TRIM_HORIZON";

/// The properties that `events` of a function takes for each source.
pub(super) fn of_event() -> Vec<Property> {
    let own = Mapping.schema().properties.into_iter();
    // `events` has no Kinesis streams, which alone start at a time.
    let without = ["function", "event_source_arn", "starting_position_timestamp"];
    let own = own.filter(|it| !without.contains(&&*it.name));
    own.map(|it| if it.name == "starting_position" { it.default(FROM_THE_START) } else { it }).collect()
}

/// The properties of one entry of `events` without its defaults, as a spec would have them.
pub(super) fn written(body: &Tree, is_stream: bool) -> Tree {
    let properties = of_event();
    let is_default = |name: &str, value: &Value| match properties.iter().find(|it| it.name == name) {
        Some(Property { presence: Presence::Default(default), .. }) => Value::from(default.clone()) == *value,
        _ => *value == Value::Null,
    };
    let needed = body.iter().filter(|(name, value)| match name.as_str() {
        "starting_position" => is_stream || !is_default(name, value),
        _ => !is_default(name, value),
    });
    needed.map(|(name, value)| (name.clone(), value.clone())).collect()
}

impl Kind for Mapping {
    type Props = Props;

    fn schema(&self) -> Schema {
        Schema {
            kind: "mapping".into(),
            summary: "an event source mapping: Lambda reads a stream or a queue and invokes a function".into(),
            remark: "The source is the stream of a table, an SQS queue, or a Kinesis stream by its ARN. A property of another source is an error: `starting_position`, `maximum_retry_attempts`, `maximum_record_age_in_seconds`, `bisect_batch_on_function_error`, `parallelization_factor`, `tumbling_window_in_seconds` and `on_failure_destination_arn` apply to streams, `maximum_concurrency` applies to queues.".into(),
            source: "https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html".into(),
            identity: Identity::ServiceAssigned,
            managed: true,
            importable: false,
            adoptable: true,
            holds_data: false,
            delete_block: None,
            retained_on_delete: None,
            arn: operations::MAPPING.arn.clone(),
            tagging: Tagging::Indexed,
            disruption: Some(Disruption {
                deleted: "new records no longer reach the function".into(),
                replaced: "the function is not invoked until the new mapping is Enabled".into(),
            }),
            recreate_note: Some(Arc::new(recreate_note)),
            properties: properties(),
            outputs: vec![Output::assigned("uuid", "the mapping's UUID")],
        }
    }

    fn normalize(&self, _id: &Id, desired: &mut Tree) {
        if desired.get("batch_size") == Some(&Value::Null) {
            let default = EventSource::batch_size(EventSource::of(desired));
            desired.insert("batch_size".to_owned(), Value::from(json!(default)));
        }
        let time = desired.get("starting_position_timestamp").and_then(Value::as_str).and_then(source::time);
        if let Some(shown) = time.and_then(|time| source::shown_time(&time)) {
            desired.insert("starting_position_timestamp".to_owned(), Value::String(shown));
        }
    }

    fn check(&self, desired: &Tree) -> Vec<Problem> {
        let mut problems = Vec::new();
        problems.extend(super::unusual_target(desired, ON_FAILURE, &["sqs", "sns", "s3"]));
        let number = |name: &str| desired.get(name).and_then(Value::as_i64);
        // docs.aws.amazon.com/lambda/latest/dg/services-ddb-windows.html: each invocation passes
        // the window's state on.
        if number("tumbling_window_in_seconds").is_some_and(|window| window > 0)
            && let Some(factor) = number("parallelization_factor").filter(|factor| *factor > 1)
        {
            let problem = format!("Lambda may reject a `parallelization_factor` of {factor} with a tumbling window");
            let hint = "remove `parallelization_factor`, or `tumbling_window_in_seconds`";
            problems.push(Problem::warning(Path::property("parallelization_factor"), problem, hint).why(
                "each invocation in a window gets the state of the previous one, so Lambda reads a shard in order",
            ));
        }
        let age = number("maximum_record_age_in_seconds");
        let problem = |age: i64| {
            let path = Path::property("maximum_record_age_in_seconds");
            let problem = format!("`maximum_record_age_in_seconds` is {age}, but must be -1 or at least 60");
            Problem::error(path, problem, "use a number from 60 to 604800, or -1 for no limit")
        };
        problems.extend(age.filter(|age| (0..60).contains(age)).map(problem));
        let has_key = desired.get("kms_key_arn").is_some_and(|key| *key != Value::Null);
        if has_key && desired.get("filters") == Some(&Value::List(Vec::new())) {
            let problem = "`kms_key_arn` has no effect without `filters`, which it encrypts";
            problems.push(Problem::warning(Path::property("kms_key_arn"), problem, "remove it, or add `filters`"));
        }
        problems
    }

    /// Lambda checks that the function's role can read the source, so a role that engine manages
    /// must have its policy first.
    fn derive(&self, declared: &ResourceDecl, spec: &Spec) -> Derived {
        let role = spec.target(declared, "function").and_then(|function| spec.target(function, "role"));
        let managed = role.filter(|role| !role.imported).map(|role| role.name.clone());
        let destination = declared.desired.get(ON_FAILURE);
        let fifo = destination.and_then(|it| super::fifo_destination(Path::property(ON_FAILURE), it, spec));
        let mut problems = source::problems(declared, spec);
        problems.extend(fifo);
        Derived { depends_on: managed.into_iter().collect(), problems, ..Derived::default() }
    }

    async fn read(&self, cx: &Context, id: &Id) -> Result<Reading<Props>, AwsError> {
        if let Some(uuid) = &id.unique_id {
            let Some((mapping, tags)) = get_with_tags(cx, id, uuid).await? else { return Ok(None.into()) };
            if id.parents.is_empty() {
                // Found in the tag index by its ARN: its function and stream become known only now.
                let id = id_of(&mapping, &id.owner, id.owner.resource.clone(), id.env.clone());
                return Ok(Reading { live: None, others: vec![(id, live(mapping, tags))] });
            }
            return Ok(Some(live(mapping, tags)).into());
        }
        let mappings = list(cx, Some(id.parent("function"))).await?;
        let found = try_join_all(mappings.iter().map(|mapping| async move {
            let (seen, tags) = tokio::join!(in_full(cx, mapping), list_tags(cx, mapping));
            let (Some(mapping), Some(tags)) = (seen?, tags?) else { return Ok(None) };
            let resource = match &tags.owner {
                Ownership::Engine(owner) => owner.resource.clone(),
                _ => String::new(),
            };
            let is_ours = OwnershipVerdict::of(&tags.owner, None, &id.owner).is_this_stack();
            let mut id = id_of(&mapping, &id.owner, resource, id.env.clone());
            if let Some((_, name)) = mapping.function_arn().and_then(|arn| arn.rsplit_once(":function:"))
                && !is_ours
            {
                // A mapping of a version or alias has another identity, but depends on the same
                // function.
                id.parents.insert("function".into(), name.to_owned());
            }
            Ok::<_, AwsError>(Some((id, live(mapping, tags))))
        }))
        .await?;
        Ok(Reading { live: None, others: found.into_iter().flatten().collect() })
    }

    async fn list_by_prefix(&self, cx: &Context, owner: &Owner) -> Result<Vec<Id>, AwsError> {
        let mappings = list(cx, None).await?;
        let found = mappings.iter().map(|mapping| id_of(mapping, owner, String::new(), None));
        Ok(found.filter(|id| is_of_team(id.parent("function"), &owner.team)).collect())
    }

    async fn create(&self, cx: &Context, id: &Id, want: Want<Props>) -> Result<Outputs, AwsError> {
        let props = want.props;
        let (inquiry, tracker, end) = (RoleDiagnosis::default(), ExistenceTracker::default(), StreamEnd::default());
        let defaults = super::with_defaults(self, id, &props)?;
        let (beyond, source) = (&Delta { from: &defaults, to: &props }, &props.event_source_arn);
        let send_with = |tags: Option<HashMap<String, String>>| {
            seeing_queue(cx, id, source, move || send_create(cx, id, beyond, tags.clone()))
        };
        let is_kinesis = EventSource::of_arn(&props.event_source_arn) == Some(EventSource::Kinesis);
        let send = || async {
            let answer = match send_with(Some(super::all_tags(&id.owner, &props.tags))).await {
                // Without tags, reads can't show an owner, as if the tags were unreadable.
                Err(error) if is_untaggable(&error) && props.tags.is_empty() => send_with(None).await,
                answer => answer,
            };
            let answer = match answer {
                Err(error) if error.is(Code::NotFound) => {
                    return Err(tracker.of_function(cx, id.parent("function"), error).await);
                }
                // engine creates no Kinesis streams, so it has no reason to wait for one.
                Err(error) if error.is(Code::StreamUnknown) && is_kinesis => {
                    return Err(AwsError { is_final: true, ..error });
                }
                Err(error) if error.is(Code::StreamUnknown) => {
                    let Some(why) = end.read(cx, id, &props.event_source_arn).await else { return Err(error) };
                    return Err(AwsError { is_final: true, reason: Some(why.into()), ..error });
                }
                answer => explained(cx, id, &inquiry, &props.event_source_arn, answer).await?,
            };
            Ok(answer.uuid.map_or_else(Outputs::new, |uuid| Outputs::from([("uuid".to_owned(), uuid)])))
        };
        let outputs = cx.create(BUSY, &id.name, send, || find_created(cx, id, &props)).await?;
        if is_dead(cx, &props.event_source_arn).await {
            let message = "the table's stream was replaced outside this run, and this stream gets no new records";
            return Err(AwsError::changed("CreateEventSourceMapping", &id.name, message));
        }
        Ok(outputs)
    }

    async fn update(&self, cx: &Context, id: &Id, have: Live<Props>, want: Want<Props>) -> Result<Outputs, AwsError> {
        let uuid = have.unique_id.clone().unwrap_or_default();
        let props = want.props;
        if super::must_tag(cx, id, &have.owner, &have.props.tags, &props.tags) {
            let arn = arn(cx, id, &uuid, "TagResource").await?;
            let tag = || async {
                let missing = super::missing_tags(&have.props.tags, &props.tags);
                let tags = super::all_tags(&id.owner, &missing);
                let request = cx.aws.lambda.tag_resource().resource(&arn).set_tags(Some(tags));
                request.send().await.context("TagResource", &id.name)
            };
            cx.send(BUSY, &id.name, tag).await?;
        }
        let unknown: Vec<&str> = have.unknown.keys().map(|name| &**name).collect();
        if !have.props.differing(&props, &unknown).is_empty() {
            let inquiry = RoleDiagnosis::default();
            let delta = Delta { from: &have.props, to: &props };
            let change = || async {
                let send = || send_update(cx, id, &uuid, &delta);
                let answer = seeing_queue(cx, id, &props.event_source_arn, send).await;
                explained(cx, id, &inquiry, &props.event_source_arn, answer).await
            };
            let again = || async {
                let changed = |message| AwsError::changed("UpdateEventSourceMapping", &id.name, message);
                let Some(mapping) = get(cx, &uuid).await? else {
                    return Err(changed("the mapping no longer exists"));
                };
                if condition(&mapping) != Status::Stable {
                    let message = format!("its state is {}", mapping.state().unwrap_or("unknown"));
                    return Err(AwsError::own(Code::Busy, "UpdateEventSourceMapping", &id.name, message));
                }
                let now = self::props(&mapping, BTreeMap::new());
                let unknown_now = self::unknown(&mapping);
                let unknown: Vec<&str> =
                    unknown.iter().copied().chain(unknown_now.keys().map(|name| &**name)).collect();
                if now.differing(&props, &unknown).is_empty() {
                    Ok(Some(()))
                } else if now.differing(&have.props, &unknown).is_empty() {
                    Ok(None)
                } else {
                    Err(changed("the mapping was changed outside this run"))
                }
            };
            cx.change(BUSY, &id.name, change, again).await?;
        }
        Ok(have.outputs)
    }

    async fn wait_ready(
        &self,
        cx: &Context,
        id: &Id,
        want: &Props,
        unknown: &[&str],
        outputs: &Outputs,
    ) -> Result<(), AwsError> {
        let uuid = outputs.get("uuid").map_or("", String::as_str);
        let (tracker, lagging, unsettled) = (ExistenceTracker::default(), AtomicU32::new(0), AtomicU32::new(0));
        let end = StreamEnd::default();
        // A mapping on a stream that has ended may never become ready.
        let watch = || async {
            let is_due = unsettled.fetch_add(1, Ordering::Relaxed) % READS_BEFORE_TABLE == READS_BEFORE_TABLE - 1;
            if !is_due && !end.is_suspected() {
                return Ok(None);
            }
            match end.read(cx, id, &want.event_source_arn).await {
                None => Ok(None),
                Some(why) => {
                    let message = format!("its stream gets no new records any more, because {why}");
                    Err(AwsError::changed("GetEventSourceMapping", &id.name, message))
                }
            }
        };
        let deleted = || AwsError::changed("GetEventSourceMapping", &id.name, "it was deleted outside this run");
        let probe = || async {
            let Some(mapping) =
                tracker.note("GetEventSourceMapping", id, get_within_limit(cx, uuid, ReadLimit::Poll).await?)?
            else {
                return Ok(None);
            };
            if condition(&mapping) == Status::Deleting {
                return Err(deleted());
            }
            if condition(&mapping) != Status::Stable {
                return watch().await;
            }
            // The state alone may still be from before the update.
            let unknown_now = self::unknown(&mapping);
            let unknown: Vec<&str> = unknown.iter().copied().chain(unknown_now.keys().map(|name| &**name)).collect();
            let differing = props(&mapping, BTreeMap::new()).differing(want, &unknown);
            if differing.is_empty() {
                return Ok(Some(()));
            }
            if lagging.fetch_add(1, Ordering::Relaxed) < super::LAGGING_READS {
                return watch().await;
            }
            let differing = differing.join(", ");
            let message = format!("AWS accepted the mapping, but still shows another value for {differing}");
            Err(AwsError::own(Code::NotAsAsked, "GetEventSourceMapping", &id.name, message))
        };
        cx.until(READY, uuid, probe).await
    }

    async fn delete(&self, cx: &Context, id: &Id, have: Live<Props>) -> Result<(), AwsError> {
        let uuid = have.unique_id.unwrap_or_default();
        let delete = || async {
            let request = cx.aws.lambda.delete_event_source_mapping().uuid(&uuid);
            match request.send().await.context("DeleteEventSourceMapping", &id.name).if_deleted() {
                // It is in use because of an earlier change, which is transient, or because it is
                // already being deleted.
                Err(error) if error.is(Code::Busy) => match get(cx, &uuid).await? {
                    Some(mapping) if mapping.state() != Some("Deleting") => Err(error),
                    _ => Ok(()),
                },
                answer => answer,
            }
        };
        cx.send(BUSY, &id.name, delete).await?;
        cx.note_accepted();
        let is_gone = || async { Ok(get_within_limit(cx, &uuid, ReadLimit::Poll).await?.is_none().then_some(())) };
        cx.until(DELETED, &uuid, is_gone).await
    }

    async fn untag(&self, cx: &Context, id: &Id, have: Live<Props>) -> Result<(), AwsError> {
        let uuid = have.unique_id.unwrap_or_default();
        let arn = arn(cx, id, &uuid, "UntagResource").await?;
        super::untag(cx, BUSY, id, (&arn, &[])).await
    }

    fn operations(&self) -> &'static [Operation] {
        operations::OPERATIONS
    }

    fn errors(&self) -> &'static [ErrorRow] {
        errors::ERRORS
    }
}

/// Ranges and defaults are those of
/// docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html.
fn properties() -> Vec<Property> {
    [of_source(), of_batches(), of_retries(), of_invocations()].concat()
}

fn of_source() -> Vec<Property> {
    vec![
        property(
            "function",
            Shape::link([("function", "arn"), ("function", "name")], None),
            "the function to invoke; an imported one only for a source that the spec manages",
        )
        .member("FunctionName")
        .required()
        .parent()
        .or_imported("event_source_arn", DELETE_CMD)
        .write_only()
        .needs_created(),
        property(
            "event_source_arn",
            Shape::link([("table", "stream_arn"), ("queue", "arn")], Some(&super::text::SOURCE_ARN)),
            "ARN of the stream or queue to read",
        )
        .required()
        .in_locality(Locality::Region)
        .identity()
        .on_change(Effect::Replace),
        property(
            "starting_position",
            Shape::choice(["TRIM_HORIZON", "LATEST", "AT_TIMESTAMP"]),
            "position in the stream at which Lambda starts to read; required for streams; `AT_TIMESTAMP` only for Kinesis",
        )
        .on_change(Effect::Replace),
        property(
            "starting_position_timestamp",
            Shape::Text(TIME.clone()),
            "time from which Lambda reads a Kinesis stream with `AT_TIMESTAMP`",
        )
        .on_change(Effect::Replace),
    ]
}

fn of_batches() -> Vec<Property> {
    vec![
        property(
            "batch_size",
            Shape::Integer { min: 1, max: 10_000 },
            "maximum number of records in one batch; defaults to 10 for a queue, and to 100 for a stream",
        ),
        property(
            "maximum_batching_window_in_seconds",
            Shape::Integer { min: 0, max: 300 },
            "maximum time to wait for a full batch",
        )
        .default(0),
        property(
            "filters",
            Shape::Set { item: Box::new(pattern()), max: MAX_FILTERS },
            "filter patterns; a record must match at least one; without filters, all records match",
        )
        .quota(USUAL_FILTERS, "AWS can raise this quota on request, usually to ten; `$or` combines patterns into one")
        .member("FilterCriteria.Filters")
        .default(json!([])),
        property(
            "kms_key_arn",
            Shape::Text(super::function::KMS_KEY.clone()),
            "ARN of the KMS key that encrypts the filters; defaults to a key owned by AWS",
        )
        .member("KMSKeyArn")
        .in_locality(Locality::Region),
    ]
}

fn of_retries() -> Vec<Property> {
    vec![
        property(
            "maximum_retry_attempts",
            Shape::Integer { min: -1, max: 10_000 },
            "maximum number of retries for a failed batch; -1 retries until its records expire",
        )
        .default(-1),
        property(
            "maximum_record_age_in_seconds",
            Shape::Integer { min: -1, max: 604_800 },
            "maximum age of records, at least 60; older ones are discarded; -1 keeps them until they expire",
        )
        .default(-1),
        property("bisect_batch_on_function_error", Shape::Bool, "split a failed batch in two and retry").default(false),
        property(
            "parallelization_factor",
            Shape::Integer { min: 1, max: 10 },
            "number of concurrent batches per shard",
        )
        .default(1),
        property(
            "tumbling_window_in_seconds",
            Shape::Integer { min: 0, max: 900 },
            "duration of a tumbling window, in which invocations share state; 0 for no window",
        )
        .default(0),
    ]
}

fn of_invocations() -> Vec<Property> {
    vec![
        property(
            "report_batch_item_failures",
            Shape::Bool,
            "retry only the records of a batch that the function reports as failed",
        )
        .member("FunctionResponseTypes")
        .default(false),
        property(
            "maximum_concurrency",
            Shape::Integer { min: 2, max: 1000 },
            "maximum number of concurrent invocations for a queue",
        )
        .member("ScalingConfig.MaximumConcurrency"),
        property(
            "on_failure_destination_arn",
            Shape::link([("queue", "arn")], Some(&DESTINATION)),
            "destination for information about discarded records",
        )
        .member("DestinationConfig.OnFailure.Destination"),
        property("enabled", Shape::Bool, "whether Lambda reads the source").default(true).service_managed(),
        super::tags(),
    ]
}

/// What a new mapping of the same source reads, from the desired properties.
fn recreate_note(props: &Tree) -> Str {
    let position = props.get("starting_position").and_then(Value::as_str);
    match (EventSource::of(props), position) {
        (Some(EventSource::Queue), _) => "messages wait in the queue until the new mapping is Enabled".into(),
        (_, Some("LATEST")) => "a new mapping with LATEST skips records that are written before it is Enabled".into(),
        (_, Some("AT_TIMESTAMP")) => {
            "a new mapping with AT_TIMESTAMP redelivers the stream's records since then".into()
        }
        (Some(EventSource::Kinesis), _) => {
            "a new mapping with TRIM_HORIZON redelivers all records that the stream retains".into()
        }
        _ => "a new mapping with TRIM_HORIZON redelivers the stream's records from the last 24 hours".into(),
    }
}

impl Props {
    /// Names of properties that differ, except tags, function and unknown ones.
    fn differing(&self, other: &Props, unknown: &[&str]) -> Vec<String> {
        super::differing(self, other, &[&["function", "tags"], unknown].concat())
    }
}

async fn send_create(
    cx: &Context,
    id: &Id,
    beyond: &Delta<'_, Props>,
    tags: Option<HashMap<String, String>>,
) -> Result<CreateEventSourceMappingOutput, AwsError> {
    let props = beyond.to;
    let request = cx
        .aws
        .lambda
        .create_event_source_mapping()
        .function_name(id.parent("function"))
        .event_source_arn(&props.event_source_arn)
        .set_starting_position(props.starting_position.as_deref().map(EventSourcePosition::from))
        .set_starting_position_timestamp(props.starting_position_timestamp.as_deref().and_then(source::time))
        // The default depends on the event source
        // (docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html).
        .batch_size(props.batch_size)
        .set_maximum_batching_window_in_seconds(beyond.member(|it| it.maximum_batching_window_in_seconds))
        .set_filter_criteria(beyond.member(filter_criteria))
        .set_kms_key_arn(beyond.member(kms_key))
        .set_maximum_retry_attempts(beyond.member(|it| it.maximum_retry_attempts))
        .set_maximum_record_age_in_seconds(beyond.member(|it| it.maximum_record_age_in_seconds))
        .set_bisect_batch_on_function_error(beyond.member(|it| it.bisect_batch_on_function_error))
        .set_parallelization_factor(beyond.member(|it| it.parallelization_factor))
        .set_tumbling_window_in_seconds(beyond.member(|it| it.tumbling_window_in_seconds))
        .set_function_response_types(beyond.member(response_types))
        .set_scaling_config(beyond.member(scaling))
        .set_destination_config(beyond.member(destination))
        .set_enabled(beyond.member(|it| it.enabled))
        .set_tags(tags);
    let once = request.customize().config_override(once());
    once.send().await.context("CreateEventSourceMapping", &id.name)
}

async fn send_update(cx: &Context, id: &Id, uuid: &str, delta: &Delta<'_, Props>) -> Result<(), AwsError> {
    let request = cx
        .aws
        .lambda
        .update_event_source_mapping()
        .uuid(uuid)
        .set_batch_size(delta.member(|it| it.batch_size))
        .set_maximum_batching_window_in_seconds(delta.member(|it| it.maximum_batching_window_in_seconds))
        .set_filter_criteria(delta.member(filter_criteria))
        .set_kms_key_arn(delta.member(kms_key))
        .set_maximum_retry_attempts(delta.member(|it| it.maximum_retry_attempts))
        .set_maximum_record_age_in_seconds(delta.member(|it| it.maximum_record_age_in_seconds))
        .set_bisect_batch_on_function_error(delta.member(|it| it.bisect_batch_on_function_error))
        .set_parallelization_factor(delta.member(|it| it.parallelization_factor))
        .set_tumbling_window_in_seconds(delta.member(|it| it.tumbling_window_in_seconds))
        .set_function_response_types(delta.member(response_types))
        .set_scaling_config(delta.member(scaling))
        .set_destination_config(delta.member(destination))
        .set_enabled(delta.member(|it| it.enabled));
    request.send().await.context("UpdateEventSourceMapping", &id.name).map(drop)
}

/// Sends a create or an update again while Lambda still sees a visibility timeout of the queue that
/// this run has replaced.
///
/// # Errors
/// Those of `send`.
async fn seeing_queue<T, F>(cx: &Context, id: &Id, source: &str, send: impl Fn() -> F) -> Result<T, AwsError>
where
    F: Future<Output = Result<T, AwsError>>,
{
    let is_outdated =
        |error: &AwsError| error.cause == Code::VisibilityTimeoutShort && cx.aws.seen.is_changed_queue(last(source));
    let attempt = || async {
        match send().await {
            Err(error) if is_outdated(&error) => Err(AwsError { cause: Code::Busy, is_final: false, ..error }),
            answer => Ok(answer),
        }
    };
    match cx.send(QUEUE_CHANGED, &id.name, attempt).await {
        Ok(answer) => answer,
        Err(error) if error.is(Code::Busy) => {
            let reason = "Lambda still sees this value more than a minute after this run set the queue's visibility \
                          timeout";
            Err(AwsError { cause: Code::VisibilityTimeoutShort, is_final: true, reason: Some(reason.into()), ..error })
        }
        Err(error) => Err(error),
    }
}

/// The mapping that a create without a clear response may have made.
async fn find_created(cx: &Context, id: &Id, props: &Props) -> Result<Option<Outputs>, AwsError> {
    let mut mappings = list(cx, Some(id.parent("function"))).await?;
    mappings.retain(|mapping| mapping.event_source_arn() == Some(&*props.event_source_arn));
    let owners = try_join_all(mappings.iter().map(|mapping| list_tags(cx, mapping))).await?;
    let seen = try_join_all(mappings.iter().map(|mapping| in_full(cx, mapping))).await?;
    let (mut leaving, mut taken, mut lagging) = (false, false, false);
    for (seen, tags) in seen.iter().zip(owners) {
        let (Some(mapping), Some(tags)) = (seen, tags) else { continue };
        match (condition(mapping), OwnershipVerdict::of(&tags.owner, None, &id.owner)) {
            (Status::Deleting, _) => leaving = true,
            (_, OwnershipVerdict::Owned | OwnershipVerdict::Unknown(UnreadableTags::Unsupported)) => {
                super::ensure_matches("CreateEventSourceMapping", id, &unlike_created(mapping, tags, props))?;
                return Ok(Some(outputs(mapping)));
            }
            (_, OwnershipVerdict::Unknown(UnreadableTags::NotYet(_))) => lagging = true,
            _ => taken |= !is_qualified(mapping),
        }
    }
    if taken {
        return Err(super::name_conflict("CreateEventSourceMapping", id));
    }
    if lagging {
        let message = "AWS doesn't show the owner of this stream's mapping yet";
        return Err(AwsError::own(Code::Busy, "CreateEventSourceMapping", &id.name, message));
    }
    if leaving {
        // A new mapping is possible once the old one is deleted.
        let message = "an older mapping of the same stream is being deleted";
        return Err(AwsError::own(Code::BeingDeleted, "CreateEventSourceMapping", &id.name, message));
    }
    Ok(None)
}

/// Names of properties of a found mapping that differ from those that a create has sent.
fn unlike_created(mapping: &EventSourceMappingConfiguration, tags: MappingTags, sent: &Props) -> Vec<String> {
    let has_tags = tags.unknown.is_none();
    let unknown = unknown(mapping);
    let unknown: Vec<&str> = unknown.keys().map(|name| &**name).collect();
    let live = props(mapping, tags.own);
    // AWS shows whether it is enabled only after its creation.
    let unlike = live.differing(sent, &unknown).into_iter().filter(|name| name != "`enabled`");
    let tags = (has_tags && !super::has_tags(&live.tags, &sent.tags)).then(|| "`tags`".to_owned());
    unlike.chain(tags).collect()
}

fn live(mapping: EventSourceMappingConfiguration, tags: MappingTags) -> Live<Props> {
    let mut unknown = unknown(&mapping);
    unknown.extend(tags.unknown.map(|why| ("tags".into(), why)));
    Live {
        outputs: outputs(&mapping),
        status: condition(&mapping),
        notes: notes(&mapping),
        unknown,
        props: props(&mapping, tags.own),
        owner: tags.owner,
        timestamps: Timestamps {
            created: None,
            modified: mapping.last_modified.and_then(|time| time.to_millis().ok()),
        },
        unique_id: mapping.uuid,
        revision: None,
    }
}

/// Properties that a response doesn't show: filters that can't be decrypted, and missing ones that
/// AWS always sends
/// (docs.aws.amazon.com/lambda/latest/api/API_EventSourceMappingConfiguration.html). The local AWS
/// omits some of them until they are set, and always omits the tumbling window, which identifies
/// it. A mapping of a queue has no properties of streams.
fn unknown(mapping: &EventSourceMappingConfiguration) -> Unknown {
    let sends_all = mapping.tumbling_window_in_seconds().is_some();
    let is_stream = source_of(mapping) != Some(EventSource::Queue);
    let is_at_timestamp = mapping.starting_position() == Some(&EventSourcePosition::AtTimestamp);
    let mut unknown = super::missing([
        ("event_source_arn", mapping.event_source_arn().is_none()),
        ("starting_position", is_stream && mapping.starting_position().is_none()),
        ("starting_position_timestamp", is_at_timestamp && mapping.starting_position_timestamp().is_none()),
        ("batch_size", mapping.batch_size().is_none()),
        ("maximum_batching_window_in_seconds", mapping.maximum_batching_window_in_seconds().is_none()),
        ("report_batch_item_failures", mapping.function_response_types.is_none()),
        ("enabled", mapping.state().is_none()),
        ("maximum_retry_attempts", sends_all && mapping.maximum_retry_attempts().is_none()),
        ("maximum_record_age_in_seconds", sends_all && mapping.maximum_record_age_in_seconds().is_none()),
        ("bisect_batch_on_function_error", sends_all && mapping.bisect_batch_on_function_error().is_none()),
        ("parallelization_factor", sends_all && mapping.parallelization_factor().is_none()),
        ("on_failure_destination_arn", sends_all && mapping.destination_config().is_none()),
    ]);
    if let Some(error) = mapping.filter_criteria_error() {
        unknown.insert("filters".into(), super::undecrypted(error.error_code(), error.message()));
    } else if filters(mapping).is_none() {
        unknown.insert("filters".into(), "AWS doesn't show encrypted filters".to_owned());
    }
    unknown
}

/// A listed mapping with its filters, which lists omit if a customer key encrypts them
/// (docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html); `None` if it no longer
/// exists.
async fn in_full(
    cx: &Context,
    mapping: &EventSourceMappingConfiguration,
) -> Result<Option<EventSourceMappingConfiguration>, AwsError> {
    let Some(uuid) = mapping.uuid().filter(|_| mapping.kms_key_arn().is_some()) else {
        return Ok(Some(mapping.clone()));
    };
    match get_itself(cx, uuid).await {
        Err(error) => Ok(Some(without_filters(mapping.clone(), error)?)),
        mapping => mapping,
    }
}

/// A listed mapping that can't be read on its own because of `error`.
///
/// # Errors
/// `error`, if it may be transient.
fn without_filters(
    mut mapping: EventSourceMappingConfiguration,
    error: AwsError,
) -> Result<EventSourceMappingConfiguration, AwsError> {
    let why = error.unreadable().ok_or(error)?;
    if mapping.kms_key_arn().is_some() {
        mapping.filter_criteria_error = Some(FilterCriteriaError::builder().message(why).build());
    }
    Ok(mapping)
}

/// The identity of a mapping; `resource` is its name according to its tags.
fn id_of(mapping: &EventSourceMappingConfiguration, owner: &Owner, resource: String, env: Option<AwsEnv>) -> Id {
    let source = source_name(mapping.event_source_arn().unwrap_or_default());
    Id {
        owner: Owner { resource, ..owner.clone() },
        name: mapping.uuid.clone().unwrap_or_default(),
        arn: None,
        parents: BTreeMap::from([
            ("function".into(), function_name(mapping.function_arn().unwrap_or_default())),
            ("event_source_arn".into(), source),
        ]),
        env,
        unique_id: mapping.uuid.clone(),
    }
}

/// The name of a source as in an identity (`Kinds::identity`), with its service unless it is a
/// table.
fn source_name(arn: &str) -> String {
    match EventSource::of_arn(arn) {
        None | Some(EventSource::Table) => table_of(arn).to_owned(),
        Some(EventSource::Queue) => format!("sqs/{}", last(arn)),
        Some(EventSource::Kinesis) => format!("kinesis/{}", last(arn)),
    }
}

/// Whether it invokes a version or an alias, which its function's ARN includes.
fn is_qualified(mapping: &EventSourceMappingConfiguration) -> bool {
    let arn = mapping.function_arn().unwrap_or_default();
    arn.rsplit_once(":function:").is_some_and(|(_, name)| name.contains(':'))
}

/// The ARN of the mapping, for its tags.
async fn arn(cx: &Context, id: &Id, uuid: &str, operation: &str) -> Result<String, AwsError> {
    match cx.read(&id.name, || get(cx, uuid)).await? {
        Some(EventSourceMappingConfiguration { event_source_mapping_arn: Some(arn), .. }) => Ok(arn),
        Some(_) => {
            let message = "the mapping can't have tags, because AWS gives it no ARN";
            Err(AwsError::refused(Code::UnexpectedAnswer, operation, &id.name, message))
        }
        None => Err(AwsError::changed(operation, &id.name, "the mapping no longer exists")),
    }
}

/// Adds details to an error about the function's role.
async fn explained<T>(
    cx: &Context,
    id: &Id,
    inquiry: &RoleDiagnosis,
    source: &str,
    answer: Result<T, AwsError>,
) -> Result<T, AwsError> {
    let error = match answer {
        Err(error) if about_role(&error) => error,
        answer => return answer,
    };
    let name = id.parent("function");
    let function = cx.aws.lambda.get_function().function_name(name).send().await.context("GetFunction", name);
    let Some(role) = function.ok().and_then(|answer| answer.configuration?.role) else { return Err(error) };
    let lacks_read = lacks_read(&error);
    let error = inquiry.explain(cx, &role, id, error).await;
    if !lacks_read {
        return Err(error);
    }
    let (partition, role) = (id.env.as_ref().map_or("aws", |env| env.partition), cx.kinds.name_in_arn(&role));
    let (needs, policy) = match EventSource::of_arn(source) {
        Some(EventSource::Queue) => (
            "sqs:ReceiveMessage, sqs:DeleteMessage and sqs:GetQueueAttributes on the queue",
            "AWSLambdaSQSQueueExecutionRole",
        ),
        Some(EventSource::Kinesis) => (
            "kinesis:DescribeStream, kinesis:DescribeStreamSummary, kinesis:GetRecords, kinesis:GetShardIterator, \
             kinesis:ListShards and kinesis:ListStreams on the stream",
            "AWSLambdaKinesisExecutionRole",
        ),
        _ => (
            "dynamodb:DescribeStream, dynamodb:GetRecords, dynamodb:GetShardIterator and dynamodb:ListStreams on the \
             stream",
            "AWSLambdaDynamoDBExecutionRole",
        ),
    };
    let remedy = format!(
        "the role `{role}` needs {needs}; its owner can attach the managed policy {policy}, which grants them: `aws iam \
         attach-role-policy --role-name {role} --policy-arn arn:{partition}:iam::aws:policy/service-role/{policy}`"
    );
    Err(AwsError { remedy: Some(remedy.into()), ..error })
}

fn about_role(error: &AwsError) -> bool {
    error.is_any(&[Code::RoleNotAssumable, Code::StreamNotReadable, Code::RoleLacksRight])
}

/// Whether the role lacks a permission to read the source: Lambda names those of a queue one at a
/// time.
fn lacks_read(error: &AwsError) -> bool {
    let is_named = |action: &&str| error.message.contains(&format!("permissions to call {action}"));
    error.is(Code::StreamNotReadable)
        || error.is(Code::RoleLacksRight)
            && ["ReceiveMessage", "DeleteMessage", "GetQueueAttributes"].iter().any(is_named)
}

struct MappingTags {
    own: BTreeMap<String, String>,
    owner: Ownership,
    /// The reason if they can't be read.
    unknown: Option<String>,
}

/// All mappings of a function by its name, including those of ended streams and deleted functions.
/// Without a name, all mappings in the region. Where many functions are read at the same time, or
/// all mappings anyway, one list answers for all.
async fn list(cx: &Context, function: Option<&str>) -> Result<Vec<EventSourceMappingConfiguration>, AwsError> {
    let aws = Arc::clone(&cx.aws);
    let at_once = std::future::ready(());
    let all =
        cx.aws.event_sources.by_function.join(function.is_none(), at_once, |batch| list_by_function(aws, batch)).await;
    let Some(function) = function else {
        let all = all?.into_iter().flat_map(|all| all.values().flatten().cloned().collect::<Vec<_>>());
        return Ok(all.collect());
    };
    if let Ok(Some(all)) = all {
        return Ok(all.get(function).cloned().unwrap_or_default());
    }
    let request = cx.aws.lambda.list_event_source_mappings().function_name(function);
    let mappings = request.into_paginator().items().send().collect::<Result<Vec<_>, _>>().await;
    Ok(mappings.context("ListEventSourceMappings", function).if_exists()?.unwrap_or_default())
}

/// All mappings in the region, by the function that they are attached to, if that takes fewer calls
/// than a list for each function of the batch.
async fn list_by_function(
    aws: Arc<Aws>,
    Batch { n_reads, is_needed }: Batch,
) -> Result<Option<HashMap<String, Vec<EventSourceMappingConfiguration>>>, AwsError> {
    if !is_needed && n_reads < LIST_FROM {
        return Ok(None);
    }
    let Some(all) = list_all(&aws, if is_needed { usize::MAX } else { n_reads / 2 }).await? else { return Ok(None) };
    let mut by_function: HashMap<String, Vec<EventSourceMappingConfiguration>> = HashMap::new();
    for mapping in all {
        by_function.entry(function_name(mapping.function_arn().unwrap_or_default())).or_default().push(mapping);
    }
    Ok(Some(by_function))
}

/// All mappings in the region by UUID, if that takes fewer calls than reading those of the batch.
async fn list_by_uuid(
    aws: Arc<Aws>,
    batch: Batch,
) -> Result<Option<HashMap<String, EventSourceMappingConfiguration>>, AwsError> {
    if batch.n_reads < LIST_INSTEAD {
        return Ok(None);
    }
    let all = list_all(&aws, batch.n_reads / 2).await?;
    let by_uuid = |all: Vec<EventSourceMappingConfiguration>| {
        all.into_iter().filter_map(|mapping| Some((mapping.uuid.clone()?, mapping))).collect()
    };
    Ok(all.map(by_uuid))
}

/// All mappings in the region; `None` if they have more than `max_pages`, of a hundred each
/// (docs.aws.amazon.com/lambda/latest/api/API_ListEventSourceMappings.html).
async fn list_all(aws: &Aws, max_pages: usize) -> Result<Option<Vec<EventSourceMappingConfiguration>>, AwsError> {
    let n_pages = &aws.event_sources.n_pages;
    if n_pages.load(Ordering::Relaxed) > max_pages {
        // The account has many others.
        return Ok(None);
    }
    let (mut all, mut marker) = (Vec::new(), None);
    for page_number in 1..=max_pages {
        let request = aws.lambda.list_event_source_mappings().set_marker(marker);
        let page = request.send().await.context("ListEventSourceMappings", "")?;
        all.extend(page.event_source_mappings.unwrap_or_default());
        marker = page.next_marker.filter(|marker| !marker.is_empty());
        n_pages.store(page_number + usize::from(marker.is_some()), Ordering::Relaxed);
        if marker.is_none() {
            return Ok(Some(all));
        }
    }
    Ok(None)
}

/// Which rate limit's turn a read of a mapping waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReadLimit {
    Call,
    Poll,
}

/// One mapping as [`get`] shows it, from a list of all if many wait for their turn. A list without
/// it decides only that a poll found nothing.
async fn get_within_limit(
    cx: &Context,
    uuid: &str,
    turn: ReadLimit,
) -> Result<Option<EventSourceMappingConfiguration>, AwsError> {
    let (aws, limits) = (Arc::clone(&cx.aws), Arc::clone(&cx.limits));
    let own_turn = async move {
        // A wait that was ended ends that of the call, too.
        let _ = limits.reserve(limits::LAMBDA, turn == ReadLimit::Poll).await;
    };
    let EventSources { reads, polls, .. } = &cx.aws.event_sources;
    let batches = if turn == ReadLimit::Poll { polls } else { reads };
    match batches.join(false, own_turn, |batch| list_by_uuid(aws, batch)).await {
        Ok(Some(all)) => match all.get(uuid) {
            Some(mapping) => in_full(cx, mapping).await,
            None if turn == ReadLimit::Poll => Ok(None),
            None => get(cx, uuid).await,
        },
        _ => get(cx, uuid).await,
    }
}

/// One mapping. Without permission to read it directly, it is looked up in the list of all
/// mappings.
async fn get(cx: &Context, uuid: &str) -> Result<Option<EventSourceMappingConfiguration>, AwsError> {
    match get_itself(cx, uuid).await {
        Err(error) if error.unreadable().is_some() => {
            let Ok(all) = list(cx, None).await else { return Err(error) };
            let found = all.into_iter().find(|mapping| mapping.uuid() == Some(uuid));
            found.map(|mapping| without_filters(mapping, error)).transpose()
        }
        answer => answer,
    }
}

/// One mapping with its tags, both read at the same time if the account is known, and so the
/// mapping's ARN.
async fn get_with_tags(
    cx: &Context,
    id: &Id,
    uuid: &str,
) -> Result<Option<(EventSourceMappingConfiguration, MappingTags)>, AwsError> {
    let Some(env) = &id.env else {
        let Some(mapping) = get_within_limit(cx, uuid, ReadLimit::Call).await? else { return Ok(None) };
        return Ok(list_tags(cx, &mapping).await?.map(|tags| (mapping, tags)));
    };
    let arn = operations::MAPPING.arn(env, uuid);
    let (mapping, answer) = tokio::join!(get_within_limit(cx, uuid, ReadLimit::Call), ask_for_tags(cx, &arn, uuid));
    let Some(mapping) = mapping? else { return Ok(None) };
    let tags = match mapping.event_source_mapping_arn() {
        Some(shown) if shown == arn => tags_of(cx, uuid, answer).await?,
        // AWS shows none, or one of another form.
        _ => list_tags(cx, &mapping).await?,
    };
    Ok(tags.map(|tags| (mapping, tags)))
}

async fn get_itself(cx: &Context, uuid: &str) -> Result<Option<EventSourceMappingConfiguration>, AwsError> {
    let answer =
        cx.aws.lambda.get_event_source_mapping().uuid(uuid).send().await.context("GetEventSourceMapping", uuid);
    match answer {
        Ok(answer) => Ok(Some(
            EventSourceMappingConfiguration::builder()
                .set_uuid(answer.uuid)
                .set_state(answer.state)
                .set_batch_size(answer.batch_size)
                .set_event_source_arn(answer.event_source_arn)
                .set_starting_position(answer.starting_position)
                .set_starting_position_timestamp(answer.starting_position_timestamp)
                .set_event_source_mapping_arn(answer.event_source_mapping_arn)
                .set_function_arn(answer.function_arn)
                .set_last_modified(answer.last_modified)
                .set_last_processing_result(answer.last_processing_result)
                .set_state_transition_reason(answer.state_transition_reason)
                .set_maximum_batching_window_in_seconds(answer.maximum_batching_window_in_seconds)
                .set_kms_key_arn(answer.kms_key_arn)
                .set_filter_criteria(answer.filter_criteria)
                .set_filter_criteria_error(answer.filter_criteria_error)
                .set_maximum_retry_attempts(answer.maximum_retry_attempts)
                .set_maximum_record_age_in_seconds(answer.maximum_record_age_in_seconds)
                .set_bisect_batch_on_function_error(answer.bisect_batch_on_function_error)
                .set_parallelization_factor(answer.parallelization_factor)
                .set_tumbling_window_in_seconds(answer.tumbling_window_in_seconds)
                .set_function_response_types(answer.function_response_types)
                .set_destination_config(answer.destination_config)
                .set_scaling_config(answer.scaling_config)
                .build(),
        )),
        Err(error) if error.is(Code::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A mapping's tags; `None` if the mapping no longer exists.
async fn list_tags(cx: &Context, mapping: &EventSourceMappingConfiguration) -> Result<Option<MappingTags>, AwsError> {
    let (arn, uuid) = (mapping.event_source_mapping_arn().unwrap_or_default(), mapping.uuid().unwrap_or_default());
    if arn.is_empty() {
        // AWS gives mappings an ARN where it gives them tags.
        let why = "AWS doesn't support tags of mappings here".to_owned();
        return Ok(Some(MappingTags { own: BTreeMap::new(), owner: Ownership::Untaggable, unknown: Some(why) }));
    }
    tags_of(cx, uuid, ask_for_tags(cx, arn, uuid).await).await
}

async fn ask_for_tags(cx: &Context, arn: &str, uuid: &str) -> Result<HashMap<String, String>, AwsError> {
    let answer = cx.aws.lambda.list_tags().resource(arn).send().await.context("ListTags", uuid)?;
    Ok(answer.tags.unwrap_or_default())
}

/// What an answer to ListTags shows about a mapping; `None` if the mapping no longer exists.
async fn tags_of(
    cx: &Context,
    uuid: &str,
    answer: Result<HashMap<String, String>, AwsError>,
) -> Result<Option<MappingTags>, AwsError> {
    let nothing = |owner, unknown| Ok(Some(MappingTags { own: BTreeMap::new(), owner, unknown }));
    let error = match answer {
        Ok(tags) => {
            if tags.is_empty() && drops_tags(&cx.aws.region) {
                let why = "AWS doesn't store tags of mappings here".to_owned();
                return nothing(Ownership::Untaggable, Some(why));
            }
            let pairs = || tags.iter().map(|(key, value)| (key.as_str(), value.as_str()));
            let own = super::own_tags(pairs());
            return Ok(Some(MappingTags { own, owner: Ownership::from_tags(pairs()), unknown: None }));
        }
        Err(error) => error,
    };
    // It was just created, or deleted since the last read.
    if error.is(Code::NotFound) {
        return match get(cx, uuid).await? {
            Some(_) => nothing(Ownership::NotYetReadable("AWS doesn't show its tags yet".to_owned()), None),
            None => Ok(None),
        };
    }
    match error.unreadable() {
        Some(why) if is_unsupported(&error) => nothing(Ownership::Untaggable, Some(why)),
        Some(why) => nothing(Ownership::Denied, Some(why)),
        None => Err(error),
    }
}

/// Whether AWS accepts tags of mappings in this region but doesn't return them, as in GovCloud and
/// China (github.com/hashicorp/terraform-provider-aws/issues/40755,
/// github.com/aws/aws-cdk/issues/31965). Missing tags prove nothing there, but returned tags prove
/// that AWS stores them.
fn drops_tags(region: &str) -> bool {
    partition_of(region).name != "aws"
}

/// Whether a table now has another stream, as far as known.
async fn is_dead(cx: &Context, stream_arn: &str) -> bool {
    if EventSource::of_arn(stream_arn) != Some(EventSource::Table) {
        return false;
    }
    let Ok(Some(table)) = table(cx, stream_arn).await else { return false };
    is_its(&table, stream_arn) && table.latest_stream_arn().is_some_and(|latest| latest != stream_arn)
}

/// Determines from the table whether a stream has ended, so that waiting is pointless.
#[derive(Debug, Default)]
struct StreamEnd(AtomicU32);

impl StreamEnd {
    /// Whether the last read showed that the stream has ended.
    fn is_suspected(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }

    /// Reads the table; returns the reason once enough consecutive reads show that the stream has
    /// ended.
    async fn read(&self, cx: &Context, id: &Id, stream_arn: &str) -> Option<&'static str> {
        let Some(why) = ended(cx, id, stream_arn).await else {
            self.0.store(0, Ordering::Relaxed);
            return None;
        };
        (self.0.fetch_add(1, Ordering::Relaxed) + 1 >= READS_OF_AN_END).then_some(why)
    }
}

/// Why a source gets no new records any more; `None` if it may still get them.
async fn ended(cx: &Context, id: &Id, stream_arn: &str) -> Option<&'static str> {
    match EventSource::of_arn(stream_arn)? {
        EventSource::Table => {}
        EventSource::Queue => return queue_ended(cx, stream_arn).await,
        EventSource::Kinesis => return None,
    }
    let is_here = id
        .env
        .as_ref()
        .is_some_and(|env| stream_arn.split(':').skip(3).take(2).eq([env.region.as_str(), env.account.as_str()]));
    match table(cx, stream_arn).await {
        Ok(Some(table)) if is_its(&table, stream_arn) && table.table_status() == Some(&TableStatus::Active) => {
            // A disabled stream keeps its ARN, but the table loses its stream specification.
            let is_on = table.stream_specification().is_some_and(|stream| stream.stream_enabled);
            match table.latest_stream_arn() == Some(stream_arn) {
                false => Some("the table has no such stream"),
                true if !is_on => Some("the table's stream is turned off"),
                true => None,
            }
        }
        Err(error) if error.is(Code::NotFound) && is_here => Some("the table doesn't exist"),
        _ => None,
    }
}

/// The same for a queue.
async fn queue_ended(cx: &Context, arn: &str) -> Option<&'static str> {
    let (name, account) = (last(arn), arn.split(':').nth(4)?);
    let read = || async {
        let request = cx.aws.sqs.get_queue_url().queue_name(name).queue_owner_aws_account_id(account);
        request.send().await.context("GetQueueUrl", name)
    };
    match cx.read(name, read).await {
        Err(error) if error.is(Code::NotFound) => Some("the queue doesn't exist"),
        _ => None,
    }
}

async fn table(cx: &Context, stream_arn: &str) -> Result<Option<TableDescription>, AwsError> {
    let name = table_of(stream_arn);
    let look = || async {
        let answer = cx.aws.dynamodb.describe_table().table_name(name).send().await;
        Ok(answer.context("DescribeTable", name)?.table)
    };
    cx.read(name, look).await
}

fn is_its(table: &TableDescription, stream_arn: &str) -> bool {
    table.table_arn().is_some_and(|arn| stream_arn.strip_prefix(arn).is_some_and(|it| it.starts_with('/')))
}

/// The table's name in a stream's ARN.
fn table_of(stream_arn: &str) -> &str {
    stream_arn.split_once(":table/").map_or("", |(_, rest)| rest.split('/').next().unwrap_or_default())
}

/// The last part of an ARN.
fn last(arn: &str) -> &str {
    arn.rsplit([':', '/']).next().unwrap_or_default()
}

/// A mapping as properties, with AWS's defaults for missing members. The response has no `Enabled`
/// member; it follows from the state, including transitional ones.
fn props(mapping: &EventSourceMappingConfiguration, tags: BTreeMap<String, String>) -> Props {
    let destination = mapping.destination_config().and_then(DestinationConfig::on_failure);
    Props {
        function: String::new(),
        enabled: !matches!(mapping.state(), Some("Disabled" | "Disabling")),
        event_source_arn: mapping.event_source_arn().unwrap_or_default().to_owned(),
        starting_position: mapping.starting_position().map(|position| position.as_str().to_owned()),
        starting_position_timestamp: mapping.starting_position_timestamp().and_then(source::shown_time),
        batch_size: mapping.batch_size().unwrap_or_else(|| EventSource::batch_size(source_of(mapping))),
        maximum_batching_window_in_seconds: mapping.maximum_batching_window_in_seconds().unwrap_or(0),
        filters: filters(mapping).unwrap_or_default(),
        kms_key_arn: mapping.kms_key_arn().filter(|arn| !arn.is_empty()).map(str::to_owned),
        maximum_retry_attempts: mapping.maximum_retry_attempts().unwrap_or(-1),
        maximum_record_age_in_seconds: mapping.maximum_record_age_in_seconds().unwrap_or(-1),
        bisect_batch_on_function_error: mapping.bisect_batch_on_function_error().unwrap_or(false),
        parallelization_factor: mapping.parallelization_factor().unwrap_or(1),
        tumbling_window_in_seconds: mapping.tumbling_window_in_seconds().unwrap_or(0),
        report_batch_item_failures: mapping
            .function_response_types()
            .contains(&FunctionResponseType::ReportBatchItemFailures),
        maximum_concurrency: mapping.scaling_config().and_then(ScalingConfig::maximum_concurrency),
        on_failure_destination_arn: destination.and_then(OnFailure::destination).map(str::to_owned),
        tags,
    }
}

/// What a mapping reads.
fn source_of(mapping: &EventSourceMappingConfiguration) -> Option<EventSource> {
    mapping.event_source_arn().and_then(EventSource::of_arn)
}

/// The patterns as JSON, in the same order as in a spec: AWS returns the text as sent, in which
/// whitespace and key order are irrelevant. `None` if AWS doesn't show some because they are
/// encrypted.
fn filters(mapping: &EventSourceMappingConfiguration) -> Option<Vec<Json>> {
    let shown = mapping.filter_criteria().map(FilterCriteria::filters).unwrap_or_default();
    let parsed = shown.iter().map(|filter| {
        let pattern: Json = serde_json::from_str(filter.pattern()?).ok()?;
        // Convert it through a tree to sort its keys.
        Some(Json::from(&Value::from(pattern)))
    });
    let mut patterns = parsed.collect::<Option<Vec<_>>>()?;
    patterns.sort_by_cached_key(Json::to_string);
    patterns.dedup();
    Some(patterns)
}

/// Filter criteria without a list remove all filters; omitting them would keep the filters.
fn filter_criteria(props: &Props) -> FilterCriteria {
    let patterns = props.filters.iter();
    let filters = patterns.map(|pattern| Filter::builder().pattern(pattern.to_string()).build()).collect::<Vec<_>>();
    FilterCriteria::builder().set_filters((!filters.is_empty()).then_some(filters)).build()
}

/// An empty ARN removes the key; omitting it would keep the key.
fn kms_key(props: &Props) -> String {
    props.kms_key_arn.clone().unwrap_or_default()
}

fn response_types(props: &Props) -> Vec<FunctionResponseType> {
    props.report_batch_item_failures.then_some(FunctionResponseType::ReportBatchItemFailures).into_iter().collect()
}

/// An empty configuration removes the limit; omitting it would keep the limit.
fn scaling(props: &Props) -> ScalingConfig {
    ScalingConfig::builder().set_maximum_concurrency(props.maximum_concurrency).build()
}

/// An empty configuration removes the destination; omitting it would keep the destination.
fn destination(props: &Props) -> DestinationConfig {
    let target = props.on_failure_destination_arn.as_ref();
    let on_failure = target.map(|arn| OnFailure::builder().destination(arn).build());
    DestinationConfig::builder().set_on_failure(on_failure).build()
}

fn notes(mapping: &EventSourceMappingConfiguration) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(result) = mapping.last_processing_result().filter(|result| result.starts_with("PROBLEM")) {
        notes.push(format!("Lambda reports about its last batch: {result}"));
    }
    let by_hand = |reason: &&str| matches!(*reason, "" | "User action" | "USER_INITIATED");
    if matches!(mapping.state(), Some("Disabled" | "Disabling"))
        && let Some(reason) = mapping.state_transition_reason().filter(|reason| !by_hand(reason))
    {
        notes.push(format!("AWS has disabled it: {reason}"));
    }
    notes
}

fn outputs(mapping: &EventSourceMappingConfiguration) -> Outputs {
    mapping.uuid().map_or_else(Outputs::new, |uuid| Outputs::from([("uuid".to_owned(), uuid.to_owned())]))
}

fn condition(mapping: &EventSourceMappingConfiguration) -> Status {
    match mapping.state() {
        Some("Deleting") => Status::Deleting,
        Some("Enabled" | "Disabled") | None => Status::Stable,
        // In these two states, AWS doesn't show whether it will be enabled.
        Some(state @ ("Creating" | "Updating")) => Status::Unreadable(state.to_owned()),
        Some(state) => Status::InTransition(state.to_owned()),
    }
}

/// Disables the SDK's retries: a create is sent again only after a read shows that the first one
/// had no effect.
fn once() -> Override {
    aws_sdk_lambda::Config::builder().retry_config(RetryConfig::disabled())
}
