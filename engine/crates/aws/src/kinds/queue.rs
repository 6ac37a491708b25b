//! `queue`: an SQS queue, standard or FIFO, with its dead-letter queue and policy.
//!
//! ```yaml
//! team: blue-owls
//! resources:
//!   failed: { type: queue, message_retention_seconds: 1209600 }
//!   jobs:
//!     type: queue
//!     visibility_timeout_seconds: 60
//!     redrive_policy: { dead_letter_target_arn: "${failed.arn}", max_receive_count: 5 }
//!     policy:
//!       Version: "2012-10-17"
//!       Statement:
//!         - Effect: Allow
//!           Principal: { Service: sns.amazonaws.com }
//!           Action: sqs:SendMessage
//!           Resource: "arn:aws:sqs:${region}:${account}:${team}-jobs"
//!           Condition: { ArnEquals: { "aws:SourceArn": "arn:aws:sns:${region}:${account}:${team}-news" } }
//! ```

mod attributes;
mod errors;
pub(super) mod operations;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_sqs::config::Builder as Override;
use aws_sdk_sqs::types::QueueAttributeName;
use aws_smithy_types::retry::RetryConfig;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::aws::error::ErrorRow;
use crate::aws::{AwsError, CallContext, Context, Existing, Wait};
use crate::cause::Code;
use crate::iam::document;
use crate::kind::Kind;
use crate::operation::Operation;
use crate::ownership::{OwnershipVerdict, UnreadableTags};
use crate::schema::{
    AwsEnv, Contents, Disruption, Effect, Id, Identity, Live, Locality, Output, Outputs, Owner, Problem, Property,
    Reading, Schema, Shape, Status, Tagging, Text, Timestamps, Unknown, is_of_team, property,
};
use crate::spec::{ResourceDecl, Spec};
use crate::value::{Path, Tree, Value};
use engine_core::kind::{AccessLevel, Derived, Want};

use super::{ExistenceTracker, NOT_SENT};
use attributes::Attributes;

pub(super) struct Queue;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Props {
    fifo_queue: bool,
    content_based_deduplication: bool,
    visibility_timeout_seconds: i64,
    message_retention_seconds: i64,
    delay_seconds: i64,
    receive_wait_time_seconds: i64,
    max_message_size: i64,
    redrive_policy: Option<Redrive>,
    redrive_allow_policy: Option<Allow>,
    policy: Option<Json>,
    kms_key_arn: Option<String>,
    sqs_managed_sse_enabled: Option<bool>,
    tags: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Redrive {
    dead_letter_target_arn: String,
    max_receive_count: i64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Allow {
    redrive_permission: String,
    source_queue_arns: Vec<String>,
}

const FIFO: &str = ".fifo";
const ALLOW_ALL: &str = "allowAll";
const BY_QUEUE: &str = "byQueue";

/// docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html
static NAME: LazyLock<Text> = LazyLock::new(|| {
    Text::new(1..=80, "letters, digits, `-` and `_`, and `.fifo` at the end for a FIFO queue", |text| {
        let stem = text.strip_suffix(FIFO).unwrap_or(text);
        !stem.is_empty() && super::text::is_word(stem)
    })
});
/// SQS keeps the text as written, and accepts a key of the same region by ARN or alias
/// (docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-server-side-encryption.html).
static KMS_KEY: LazyLock<Text> = LazyLock::new(|| {
    Text::new(1..=2048, "the ARN of a KMS key, or an alias like `alias/aws/sqs`", |text| {
        text.starts_with("alias/") || super::text::is_arn(text, "kms")
    })
});
/// docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-policies.html
const MAX_POLICY: usize = 8192;

/// Queue operations are eventually consistent: "changes made to attributes can take up to 60
/// seconds to propagate", those of the retention up to 15 minutes
/// (docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html).
const SPREADING: Duration = Duration::from_secs(60);
/// Two equal reads this far apart show that a change has arrived: single reads show old and new
/// values in turns. A new queue can be used after the same time
/// (docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html).
const BETWEEN_READS: Duration = Duration::from_secs(1);

/// A deleted queue's name is free after 60 seconds
/// (docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_DeleteQueue.html).
const CREATE: Wait = Wait {
    what: "the name of the deleted queue to become available",
    reason: "SQS keeps it for 60 s",
    inspect_cmd: "",
    limit: None,
    budget: Duration::from_secs(150),
};
const VISIBLE: Wait = Wait {
    what: "the new queue and its tags to become visible",
    reason: "SQS's reads are eventually consistent",
    inspect_cmd: INSPECT,
    limit: None,
    budget: SPREADING,
};
const PROPAGATED: Wait = Wait {
    what: "the queue's attributes to propagate",
    reason: "SQS needs up to 60 s for that",
    inspect_cmd: INSPECT,
    limit: None,
    budget: Duration::from_secs(65),
};
const BUSY: Wait = Wait {
    what: "SQS to accept the change",
    reason: "an earlier change is still propagating",
    inspect_cmd: INSPECT,
    limit: None,
    budget: Duration::from_secs(65),
};
const DELETED: Wait = Wait {
    what: "the queue to be deleted",
    reason: "SQS needs up to 60 s for that",
    inspect_cmd: INSPECT,
    limit: None,
    budget: Duration::from_secs(120),
};
const INSPECT: &str = "aws sqs get-queue-url --queue-name {}";
/// How many consecutive reads have to miss a deleted queue, because a single one may be ahead.
const MISSES: u32 = 2;

impl Kind for Queue {
    type Props = Props;

    fn schema(&self) -> Schema {
        Schema {
            kind: "queue".into(),
            summary: "an SQS queue, standard or FIFO".into(),
            remark: "The name of a FIFO queue ends with `.fifo`, which engine appends to a default name. SQS keeps the name of a deleted queue for 60 seconds, so a replacement takes that long.".into(),
            source: "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html".into(),
            identity: Identity::Named { text: NAME.clone() },
            managed: true,
            importable: true,
            adoptable: true,
            holds_data: true,
            delete_block: None,
            retained_on_delete: None,
            disruption: Some(Disruption {
                deleted: "its messages are deleted too, and sending to it fails".into(),
                replaced: "its messages are deleted, and sending and receiving fail for about a minute".into(),
            }),
            recreate_note: None,
            arn: operations::QUEUE.arn.clone(),
            tagging: Tagging::Indexed,
            properties: properties(),
            outputs: vec![
                Output::arn("arn", "the queue's ARN"),
                Output::assigned("url", "the queue's URL"),
                Output::computed("name", "the queue's name", |_, name| name.to_owned()),
            ],
        }
    }

    fn normalize(&self, _id: &Id, desired: &mut Tree) {
        let has_key = !matches!(desired.get("kms_key_arn"), None | Some(Value::Null));
        let slot = desired.entry("sqs_managed_sse_enabled".to_owned()).or_insert(Value::Null);
        if *slot == Value::Null {
            *slot = Value::Bool(!has_key);
        }
    }

    fn check(&self, desired: &Tree) -> Vec<Problem> {
        check(desired)
    }

    fn derive(&self, declared: &ResourceDecl, spec: &Spec) -> Derived {
        let is_fifo = declared.desired.get("fifo_queue") == Some(&Value::Bool(true));
        let dead = dead_letter(&declared.desired).and_then(|it| spec.name_of(it));
        let problems = dead.and_then(|dead| dead_letter_problem(is_fifo, &dead)).into_iter().collect();
        Derived { problems, ..Derived::default() }
    }

    fn access_levels(&self) -> Vec<AccessLevel> {
        operations::access_levels()
    }

    async fn read(&self, cx: &Context, id: &Id) -> Result<Reading<Props>, AwsError> {
        Ok(read_queue(cx, id).await?.into())
    }

    async fn list_by_prefix(&self, cx: &Context, owner: &Owner) -> Result<Vec<Id>, AwsError> {
        // Without a maximum, SQS sends no token for the next page
        // (docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ListQueues.html).
        let request = cx.aws.sqs.list_queues().queue_name_prefix(&owner.team).max_results(1000);
        let urls = request.into_paginator().items().send().collect::<Result<Vec<_>, _>>().await;
        let urls = urls.context("ListQueues", &owner.team)?;
        let names = urls.iter().filter_map(|url| url.rsplit('/').next()).filter(|name| is_of_team(name, &owner.team));
        Ok(names.map(|name| super::scanned(owner, name.to_owned())).collect())
    }

    async fn contents(&self, cx: &Context, id: &Id) -> Result<Contents, AwsError> {
        let Some((_, address)) = url(cx, id).await? else { return Ok(Contents::Empty) };
        match n_messages(cx, &id.name, &address).await {
            Ok(Some(0)) => Ok(Contents::Empty),
            Ok(Some(n)) => Ok(Contents::Items(n)),
            Ok(None) => Ok(Contents::Unchecked),
            Err(error) if error.is_denied() => Ok(Contents::Unchecked),
            Err(error) => Err(error),
        }
    }

    async fn create(&self, cx: &Context, id: &Id, want: Want<Props>) -> Result<Outputs, AwsError> {
        let props = want.props;
        cx.aws.seen.note_changed_queue(&id.name);
        let attributes = attributes::of_new(&super::with_defaults(self, id, &props)?, &props);
        let send = || async {
            let request = cx
                .aws
                .sqs
                .create_queue()
                .queue_name(&id.name)
                .set_attributes((!attributes.is_empty()).then(|| attributes.clone()))
                .set_tags(Some(super::all_tags(&id.owner, &props.tags)));
            let answer = request.customize().config_override(once()).send().await.context("CreateQueue", &id.name);
            answer.map(|_| None).map_err(|error| about_policy(cx, &props, error))
        };
        // An existing queue with the same attributes counts as created, so only tags show the owner
        // (docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html).
        let find = || find_created(cx, id, &props);
        match cx.create(CREATE, &id.name, send, || async { Ok(find().await?.map(Some)) }).await? {
            Some(outputs) => Ok(outputs),
            None => cx.until(VISIBLE, &id.name, find).await,
        }
    }

    async fn update(&self, cx: &Context, id: &Id, have: Live<Props>, want: Want<Props>) -> Result<Outputs, AwsError> {
        let (want, address) = (want.props, address_of(cx, id, &have.outputs)?);
        if super::must_tag(cx, id, &have.owner, &have.props.tags, &want.tags) {
            let tags = super::all_tags(&id.owner, &super::missing_tags(&have.props.tags, &want.tags));
            let tag = || async {
                let request = cx.aws.sqs.tag_queue().queue_url(&address).set_tags(Some(tags.clone()));
                request.send().await.context("TagQueue", &id.name)
            };
            cx.send(BUSY, &id.name, tag).await?;
        }
        let changed = attributes::changed(&have.props, &want);
        if changed.contains_key(&QueueAttributeName::VisibilityTimeout) {
            cx.aws.seen.note_changed_queue(&id.name);
        }
        if !changed.is_empty() {
            let set = || async {
                let request = cx.aws.sqs.set_queue_attributes().queue_url(&address);
                let answer = request.set_attributes(Some(changed.clone())).send().await;
                answer
                    .context("SetQueueAttributes", &id.name)
                    .map(|_| ())
                    .map_err(|error| about_policy(cx, &want, error))
            };
            let again = || is_changed(cx, id, &have, &want);
            cx.change(BUSY, &id.name, set, again).await?;
        }
        Ok(have.outputs)
    }

    async fn wait_ready(
        &self,
        cx: &Context,
        id: &Id,
        want: &Props,
        unknown: &[&str],
        _outputs: &Outputs,
    ) -> Result<(), AwsError> {
        let (tracker, was_equal) = (ExistenceTracker::default(), AtomicBool::new(false));
        let probe = || async {
            let live = tracker.note("GetQueueAttributes", id, read_queue(cx, id).await?)?;
            let is_equal = match &live {
                Some(live) => is_as_wanted(id, live, want, unknown)?,
                None => false,
            };
            if was_equal.swap(is_equal, Ordering::Relaxed) && is_equal {
                return Ok(Some(()));
            }
            if is_equal {
                cx.pause_between_polls(BETWEEN_READS, PROPAGATED.what, &id.name).await?;
            }
            Ok(None)
        };
        match cx.until(PROPAGATED, &id.name, probe).await {
            // AWS has accepted the change. Some reads may show the old values for longer, and so may
            // the next plan.
            Err(error) if error.is(Code::WaitOverdue) => Ok(()),
            answer => answer,
        }
    }

    async fn delete(&self, cx: &Context, id: &Id, have: Live<Props>) -> Result<(), AwsError> {
        let address = address_of(cx, id, &have.outputs)?;
        let ensure_empty = || async {
            if cx.overrides.delete_data {
                return Ok(None);
            }
            match n_messages(cx, &id.name, &address).await? {
                Some(0) => Ok(None),
                Some(_) => Err(not_empty(id)),
                None => Err(super::not_sent("GetQueueAttributes", &id.name)),
            }
        };
        cx.read(&id.name, ensure_empty).await?;
        let delete = || async {
            let request = cx.aws.sqs.delete_queue().queue_url(&address);
            request.send().await.context("DeleteQueue", &id.name).if_deleted()
        };
        cx.change(BUSY, &id.name, delete, ensure_empty).await?;
        let misses = AtomicU32::new(0);
        let is_deleted = || async {
            let attributes = attributes(cx, id, &address).await?;
            // A queue that was created later is another one with the same name.
            let is_there = attributes.is_some_and(|it| it.get(&CREATED).cloned() == have.unique_id);
            let n = if is_there { 0 } else { misses.load(Ordering::Relaxed) + 1 };
            misses.store(n, Ordering::Relaxed);
            Ok((n >= MISSES).then_some(()))
        };
        cx.until(DELETED, &id.name, is_deleted).await
    }

    async fn untag(&self, cx: &Context, id: &Id, have: Live<Props>) -> Result<(), AwsError> {
        let address = address_of(cx, id, &have.outputs)?;
        let keys = id.owner.tags().map(|(key, _)| key.to_owned()).to_vec();
        let untag = || async {
            let request = cx.aws.sqs.untag_queue().queue_url(&address).set_tag_keys(Some(keys.clone()));
            request.send().await.context("UntagQueue", &id.name)
        };
        cx.send(BUSY, &id.name, untag).await.map(|_| ())
    }

    fn operations(&self) -> &'static [Operation] {
        operations::OPERATIONS
    }

    fn errors(&self) -> &'static [ErrorRow] {
        errors::ERRORS
    }
}

/// An error about the queue's policy, which is transient if the policy names a role that this run
/// created or changed: SQS doesn't know it yet, and answers as for a malformed policy.
fn about_policy(cx: &Context, want: &Props, error: AwsError) -> AwsError {
    let is_about_policy = error.cause == Code::InvalidValue && error.message.contains("parameter Policy");
    let fresh = want.policy.as_ref().filter(|_| is_about_policy).and_then(|policy| {
        let named = roles(policy);
        named.into_iter().find(|role| cx.aws.seen.is_written_role(role))
    });
    let Some(role) = fresh else { return error };
    let reason = format!("the queue's policy names the role `{role}`, which IAM may not have propagated yet");
    AwsError { cause: Code::PrincipalUnknown, is_final: false, reason: Some(reason.into()), ..error }
}

/// The names of the roles that a policy has as principals.
fn roles(policy: &Json) -> BTreeSet<String> {
    fn collect(value: &Json, is_principal: bool, found: &mut BTreeSet<String>) {
        match value {
            Json::String(arn) if is_principal && arn.contains(":role/") => {
                found.extend(arn.rsplit('/').next().map(str::to_owned));
            }
            Json::Array(items) => items.iter().for_each(|item| collect(item, is_principal, found)),
            Json::Object(map) => map.iter().for_each(|(name, value)| {
                collect(value, is_principal || matches!(name.as_str(), "Principal" | "NotPrincipal"), found);
            }),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    collect(policy, false, &mut found);
    found
}

/// Ranges and defaults are those of
/// docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html, and
/// for redrives of docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html.
fn properties() -> Vec<Property> {
    let number = |name: &'static str, member: &'static str, min, max, default: i64, doc: &'static str| {
        property(name, Shape::Integer { min, max }, doc).member(member).default(default)
    };
    let arn = || Shape::link([("queue", "arn")], Some(&super::text::QUEUE_ARN));
    vec![
        property("fifo_queue", Shape::Bool, "whether it is a FIFO queue, which keeps the order of messages")
            .default(false)
            .name_suffix(FIFO)
            .on_change(Effect::Replace),
        property(
            "content_based_deduplication",
            Shape::Bool,
            "recognize duplicates by their content; only for a FIFO queue",
        )
        .default(false),
        number(
            "visibility_timeout_seconds",
            "VisibilityTimeout",
            0,
            43_200,
            30,
            "time for which a received message is hidden from other receivers",
        ),
        number(
            "message_retention_seconds",
            "MessageRetentionPeriod",
            60,
            1_209_600,
            345_600,
            "time after which SQS deletes a message",
        )
        .destructive_notes(retention_loss),
        number("delay_seconds", "DelaySeconds", 0, 900, 0, "time for which a new message is hidden"),
        number(
            "receive_wait_time_seconds",
            "ReceiveMessageWaitTimeSeconds",
            0,
            20,
            0,
            "maximum time that a receive call waits for a message",
        ),
        number(
            "max_message_size",
            "MaximumMessageSize",
            1024,
            1_048_576,
            1_048_576,
            "maximum size of a message in bytes",
        ),
        property(
            "redrive_policy",
            Shape::Record(vec![
                property(
                    "dead_letter_target_arn",
                    arn(),
                    "ARN of the dead-letter queue; of the same type: FIFO or standard",
                )
                .required(),
                property(
                    "max_receive_count",
                    Shape::Integer { min: 1, max: 1000 },
                    "number of receives after which SQS moves a message there",
                )
                .required(),
            ]),
            "dead-letter queue for messages that can't be processed",
        ),
        property(
            "redrive_allow_policy",
            Shape::Record(vec![
                property(
                    "redrive_permission",
                    Shape::choice([ALLOW_ALL, "denyAll", BY_QUEUE]),
                    "which queues can use this one as their dead-letter queue",
                )
                .required(),
                property(
                    "source_queue_arns",
                    Shape::Set { item: Box::new(arn()), max: 10 },
                    "ARNs of these queues, with byQueue; as text if they refer to this queue",
                )
                .default(json!([])),
            ]),
            "which queues can use this one as their dead-letter queue; defaults to all of the account and region",
        )
        .equivalent(is_same_allow),
        property(
            "policy",
            Shape::Json { max: MAX_POLICY, example: EXAMPLE.into(), faults: Arc::new(policy_faults), references: true },
            "resource policy: who else can use the queue",
        )
        .equivalent(is_same_policy),
        property(
            "kms_key_arn",
            Shape::Text(KMS_KEY.clone()),
            "ARN or alias of the KMS key for encryption; defaults to keys owned by SQS",
        )
        .member("KmsMasterKeyId")
        .in_locality(Locality::Region),
        property(
            "sqs_managed_sse_enabled",
            Shape::Bool,
            "encrypt with keys owned by SQS; defaults to true, or to false with `kms_key_arn`",
        ),
        super::tags(),
    ]
}

const EXAMPLE: &str = "{ Version: \"2012-10-17\", Statement: […] }";

fn check(desired: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    let is = |name: &str| desired.get(name) == Some(&Value::Bool(true));
    if is("content_based_deduplication") && !is("fifo_queue") {
        let path = Path::property("content_based_deduplication");
        let problem = "`content_based_deduplication` needs a FIFO queue";
        let problem = Problem::error(path, problem, "add `fifo_queue: true`, or remove this line");
        problems.push(problem.inapplicable_with("content_based_deduplication", "fifo_queue"));
    }
    if is("sqs_managed_sse_enabled") && !matches!(desired.get("kms_key_arn"), None | Some(Value::Null)) {
        let path = Path::property("sqs_managed_sse_enabled");
        let problem = "`sqs_managed_sse_enabled` can't be combined with `kms_key_arn`";
        let hint = "remove one of them";
        let problem = Problem::error(path, problem, hint).why("SQS uses one kind of encryption at a time");
        let (managed, key) = ("sqs_managed_sse_enabled", "kms_key_arn");
        problems.push(problem.inapplicable_with(managed, key).inapplicable_with(key, managed));
    }
    if let Some(Value::Map(allow)) = desired.get("redrive_allow_policy") {
        let has_arns = matches!(allow.get("source_queue_arns"), Some(Value::List(arns)) if !arns.is_empty());
        let by_queue = allow.get("redrive_permission").and_then(Value::as_str) == Some(BY_QUEUE);
        let path = Path::property("redrive_allow_policy");
        match (by_queue, has_arns) {
            (true, false) => problems.push(Problem::error(
                path,
                "`redrive_permission: byQueue` needs `source_queue_arns`",
                "add the ARNs of the queues that can use this one",
            )),
            (false, true) => problems.push(Problem::error(
                path.key("source_queue_arns"),
                "`source_queue_arns` has no effect without `redrive_permission: byQueue`",
                "remove it, or write `redrive_permission: byQueue`",
            )),
            _ => {}
        }
    }
    problems
}

/// The dead-letter queue's ARN in a queue's properties, possibly a reference.
fn dead_letter(desired: &Tree) -> Option<&Value> {
    match desired.get("redrive_policy") {
        Some(Value::Map(redrive)) => redrive.get("dead_letter_target_arn"),
        _ => None,
    }
}

/// The error for a dead-letter queue of another type
/// (docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html).
fn dead_letter_problem(is_fifo: bool, dead: &str) -> Option<Problem> {
    let path = Path::property("redrive_policy").key("dead_letter_target_arn");
    let (queue, other, hint) = match (is_fifo, dead.ends_with(FIFO)) {
        (true, false) => ("FIFO", "a standard queue", "use a queue with `fifo_queue: true`"),
        (false, true) => ("standard", "a FIFO queue", "use a queue without `fifo_queue`"),
        _ => return None,
    };
    let problem = format!("a {queue} queue can't use `{dead}` as its dead-letter queue, because that is {other}");
    Some(Problem::error(path, problem, hint).why("SQS needs both queues to be of the same type"))
}

/// The errors in a policy document that AWS would certainly refuse; `null` is a value that isn't
/// known yet (docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html).
fn policy_faults(policy: &Json, path: &Path) -> Vec<Problem> {
    let statements: &[Json] = match policy.get("Statement") {
        Some(Json::Array(statements)) => statements,
        Some(Json::Null) => &[],
        Some(statement) => std::slice::from_ref(statement),
        None => {
            let hint = format!("write `policy: {EXAMPLE}`");
            return vec![Problem::error(path.clone(), "the policy has no `Statement`", hint)];
        }
    };
    let is_list = policy.get("Statement").is_some_and(Json::is_array);
    let location = |index| if is_list { path.key("Statement").index(index) } else { path.key("Statement") };
    let faults = statements.iter().enumerate().flat_map(|(index, statement)| {
        let lacks = |names: &[&str]| !names.iter().any(|name| statement.get(*name).is_some());
        let missing = [&["Effect"][..], &["Principal", "NotPrincipal"], &["Action", "NotAction"]];
        missing
            .into_iter()
            .filter(move |names| lacks(names))
            .map(move |names| names.join("` or `"))
            .collect::<Vec<_>>()
            .into_iter()
            .map(move |names| (index, names))
    });
    faults
        .map(|(index, names)| {
            let problem = format!("a statement of the policy has no `{names}`");
            Problem::error(location(index), problem, format!("add `{names}`"))
        })
        .collect()
}

fn is_same_policy(have: &Value, want: &Value) -> bool {
    let are_policies = matches!((have, want), (Value::Map(_), Value::Map(_)));
    are_policies && !want.has_unknown() && document::is_equivalent(&Json::from(have), &Json::from(want))
}

/// Without a policy, every queue is allowed; the order of ARNs is irrelevant.
fn is_same_allow(have: &Value, want: &Value) -> bool {
    let read = |value: &Value| match value {
        Value::Null => Some(None),
        value if value.has_unknown() => None,
        value => serde_json::from_value(Json::from(value)).ok().map(Some),
    };
    read(have).zip(read(want)).is_some_and(|(have, want)| canonical_allow(have) == canonical_allow(want))
}

fn canonical_allow(allow: Option<Allow>) -> Option<Allow> {
    let mut allow = allow.filter(|allow| allow.redrive_permission != ALLOW_ALL)?;
    allow.source_queue_arns.sort();
    Some(allow)
}

fn retention_loss(before: &Value, after: &Value) -> Vec<String> {
    match (before.as_i64(), after.as_i64()) {
        (Some(before), Some(after)) if after < before => {
            vec![format!("messages that are older than {after} s are deleted")]
        }
        _ => Vec::new(),
    }
}

impl Props {
    /// The same in a form in which equal settings are equal.
    fn canonical(&self) -> Props {
        Props {
            policy: self.policy.as_ref().map(document::normalize),
            redrive_allow_policy: canonical_allow(self.redrive_allow_policy.clone()),
            ..self.clone()
        }
    }

    /// Names of properties that differ, except tags and unknown ones.
    fn differing(&self, other: &Props, unknown: &[&str]) -> Vec<String> {
        super::differing(&self.canonical(), &other.canonical(), &[&["tags"], unknown].concat())
    }
}

/// Disables the SDK's retries: a create is sent again only after a read shows that the first one
/// had no effect, and a message never.
pub(crate) fn once() -> Override {
    aws_sdk_sqs::Config::builder().retry_config(RetryConfig::disabled())
}

const CREATED: QueueAttributeName = QueueAttributeName::CreatedTimestamp;

/// The URL that SQS shows, and the one for requests; `None` if the queue doesn't exist. They differ
/// for a local AWS.
async fn url(cx: &Context, id: &Id) -> Result<Option<(String, String)>, AwsError> {
    let answer = cx.aws.sqs.get_queue_url().queue_name(&id.name).send().await.context("GetQueueUrl", &id.name);
    let Some(url) = answer.if_exists()?.and_then(|answer| answer.queue_url) else { return Ok(None) };
    let account = url.rsplit('/').nth(1).unwrap_or_default();
    let address = operations::QUEUE.url(&AwsEnv::new(&cx.aws.region, account), &id.name);
    Ok(Some((url, address)))
}

/// The URL for requests about a queue that was read.
fn address_of(cx: &Context, id: &Id, outputs: &Outputs) -> Result<String, AwsError> {
    let account = outputs.get("arn").and_then(|arn| arn.split(':').nth(4));
    let account = account.or_else(|| id.env.as_ref().map(|env| env.account.as_str()));
    let account =
        account.ok_or_else(|| AwsError::defect(format!("the queue `{}` was read without its ARN", id.name)))?;
    Ok(operations::QUEUE.url(&AwsEnv::new(&cx.aws.region, account), &id.name))
}

async fn attributes(cx: &Context, id: &Id, address: &str) -> Result<Option<Attributes>, AwsError> {
    let request = cx.aws.sqs.get_queue_attributes().queue_url(address).attribute_names(QueueAttributeName::All);
    let answer = request.send().await.context("GetQueueAttributes", &id.name).if_exists()?;
    Ok(answer.map(|answer| answer.attributes.unwrap_or_default()))
}

async fn list_tags(cx: &Context, id: &Id, address: &str) -> Result<BTreeMap<String, String>, AwsError> {
    let answer = cx.aws.sqs.list_queue_tags().queue_url(address).send().await.context("ListQueueTags", &id.name)?;
    Ok(answer.tags.unwrap_or_default().into_iter().collect())
}

/// The number of messages: visible, in flight and delayed
/// (docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_GetQueueAttributes.html);
/// `None` if SQS doesn't show them. No message is received, because that would hide it.
pub(crate) async fn n_messages(cx: &Context, name: &str, address: &str) -> Result<Option<u64>, AwsError> {
    use QueueAttributeName::{
        ApproximateNumberOfMessages, ApproximateNumberOfMessagesDelayed, ApproximateNumberOfMessagesNotVisible,
    };
    let counts =
        [ApproximateNumberOfMessages, ApproximateNumberOfMessagesNotVisible, ApproximateNumberOfMessagesDelayed];
    let request = cx.aws.sqs.get_queue_attributes().queue_url(address).set_attribute_names(Some(counts.to_vec()));
    let answer = request.send().await.context("GetQueueAttributes", name).if_exists()?;
    let Some(answer) = answer else { return Ok(Some(0)) };
    let attributes = answer.attributes.unwrap_or_default();
    Ok(counts.iter().map(|count| attributes.get(count)?.parse::<u64>().ok()).sum())
}

/// Reads the queue; `None` if it doesn't exist. If the account is known, so is the URL, and all
/// reads run at once.
async fn read_queue(cx: &Context, id: &Id) -> Result<Option<Live<Props>>, AwsError> {
    let all = |address: String| async move { tokio::join!(attributes(cx, id, &address), list_tags(cx, id, &address)) };
    let (url, (attributes, tags)) = match &id.env {
        Some(env) => {
            let (url, read) = tokio::join!(url(cx, id), all(operations::QUEUE.url(env, &id.name)));
            let Some((url, _)) = url? else { return Ok(None) };
            (url, read)
        }
        None => {
            let Some((url, address)) = url(cx, id).await? else { return Ok(None) };
            (url, all(address).await)
        }
    };
    let Some(attributes) = attributes? else { return Ok(None) };
    live(id, url, &attributes, tags).map(Some)
}

fn live(
    id: &Id,
    url: String,
    attributes: &Attributes,
    tags: Result<BTreeMap<String, String>, AwsError>,
) -> Result<Live<Props>, AwsError> {
    let time = |name: &QueueAttributeName| attributes.get(name)?.parse::<i64>().ok()?.checked_mul(1000);
    let timestamps = Timestamps { created: time(&CREATED), modified: time(&QueueAttributeName::LastModifiedTimestamp) };
    let mut of_tags = Unknown::new();
    let hidden = |tags: &BTreeMap<String, String>| {
        (tags.is_empty() && is_new(timestamps.created))
            .then_some("the queue is less than a minute old, and its tags may not be visible yet")
    };
    let (tags, owner) = super::tags_and_owner(tags, hidden, &mut of_tags)?;
    let (props, mut unknown) = attributes::props(attributes, tags);
    unknown.extend(of_tags);
    let outputs = [
        ("arn", attributes.get(&QueueAttributeName::QueueArn).cloned()),
        ("url", Some(url)),
        ("name", Some(id.name.clone())),
    ];
    Ok(Live {
        notes: notes(&props),
        props,
        outputs: outputs.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect(),
        owner,
        status: Status::Stable,
        unique_id: attributes.get(&CREATED).cloned(),
        revision: None,
        timestamps,
        unknown,
    })
}

/// Whether a queue is so new that SQS may not show its tags everywhere.
fn is_new(created_ms: Option<i64>) -> bool {
    let created = created_ms.and_then(|ms| u64::try_from(ms).ok()).map(|ms| UNIX_EPOCH + Duration::from_millis(ms));
    created.is_some_and(|time| SystemTime::now().duration_since(time).unwrap_or_default() < SPREADING)
}

/// A deleted user or role remains in a policy as its unique ID, and a new one with the same name
/// is another principal
/// (docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html).
fn notes(props: &Props) -> Vec<String> {
    fn deleted(value: &Json, found: &mut Vec<String>) {
        match value {
            Json::String(text) if text.len() > 16 && (text.starts_with("AROA") || text.starts_with("AIDA")) => {
                found.push(format!("its policy refers to `{text}`, a user or role that was deleted"));
            }
            Json::Array(items) => items.iter().for_each(|item| deleted(item, found)),
            Json::Object(fields) => fields.values().for_each(|item| deleted(item, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    let policy = props.policy.as_ref().map(document::normalize).unwrap_or_default();
    for statement in policy.get("Statement").and_then(Json::as_array).into_iter().flatten() {
        ["Principal", "NotPrincipal"]
            .iter()
            .filter_map(|name| statement.get(*name))
            .for_each(|it| deleted(it, &mut found));
    }
    found
}

/// The queue that this run or an earlier one of the same stack created; `None` if it isn't visible
/// yet.
///
/// # Errors
/// The queue has another owner, or other properties.
async fn find_created(cx: &Context, id: &Id, want: &Props) -> Result<Option<Outputs>, AwsError> {
    let Some(live) = read_queue(cx, id).await? else { return Ok(None) };
    match OwnershipVerdict::of(&live.owner, None, &id.owner) {
        OwnershipVerdict::Unknown(UnreadableTags::NotYet(_)) => return Ok(None),
        OwnershipVerdict::Owned => {}
        // Only its age shows whether this run created it.
        OwnershipVerdict::Unknown(UnreadableTags::Denied) if is_new(live.timestamps.created) => {}
        _ => return Err(super::name_conflict("CreateQueue", id)),
    }
    let unknown: Vec<&str> = live.unknown.keys().map(|name| &**name).collect();
    let mut unlike = live.props.differing(want, &unknown);
    if !unknown.contains(&"tags") && !super::has_tags(&live.props.tags, &want.tags) {
        unlike.push("`tags`".to_owned());
    }
    super::ensure_matches("CreateQueue", id, &unlike)?;
    Ok(Some(live.outputs))
}

/// Whether a read shows what a create or update has set.
///
/// # Errors
/// The queue has another owner.
fn is_as_wanted(id: &Id, live: &Live<Props>, want: &Props, unknown: &[&str]) -> Result<bool, AwsError> {
    let has_tags = match OwnershipVerdict::of(&live.owner, None, &id.owner) {
        OwnershipVerdict::Unknown(UnreadableTags::Denied) => true,
        OwnershipVerdict::Owned => unknown.contains(&"tags") || super::has_tags(&live.props.tags, &want.tags),
        verdict if verdict.other_owner().is_some() => {
            return Err(super::name_conflict("GetQueueAttributes", id));
        }
        _ => false,
    };
    let unknown: Vec<&str> = unknown.iter().copied().chain(live.unknown.keys().map(|name| &**name)).collect();
    Ok(has_tags && live.props.differing(want, &unknown).is_empty())
}

/// Whether a change whose response was lost has arrived; `None` if the queue is as before.
///
/// # Errors
/// The queue was deleted or changed outside this run.
async fn is_changed(cx: &Context, id: &Id, have: &Live<Props>, want: &Props) -> Result<Option<()>, AwsError> {
    let changed = |message| AwsError::changed("SetQueueAttributes", &id.name, message);
    let Some(now) = read_queue(cx, id).await? else { return Err(changed("the queue no longer exists")) };
    let unknown = have.unknown.keys().chain(now.unknown.keys());
    let unknown: Vec<&str> = unknown.map(|name| &**name).collect();
    if now.props.differing(want, &unknown).is_empty() {
        return Ok(Some(()));
    }
    match now.props.differing(&have.props, &unknown).is_empty() {
        true => Ok(None),
        false => Err(changed("the queue was changed outside this run")),
    }
}

fn not_empty(id: &Id) -> AwsError {
    let message = "a check right before the delete found messages in it";
    AwsError::own(Code::QueueNotEmpty, "DeleteQueue", &id.name, message)
        .with_reason(message.to_owned(), Code::QueueNotEmpty.entry().next.to_owned())
}
