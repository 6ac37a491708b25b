//! The calls of `queue`
//! (docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_Operations.html), and the
//! permissions on queues. None of them reads a message, and only `verify` sends one.

use std::collections::BTreeSet;

use engine_core::kind::AccessLevel;

use crate::aws::limits::QUEUES as RATE;
use crate::operation::{At, Effect, Grant, ImpliedPermission, NameForm, Operation, Service, Takes, Wire};
use crate::policy::{
    DELETE, Imported, PLAN, PolicyBuilder,
    Purpose::{Apply, Verify},
    READ, Scope,
};
use crate::schema::ArnForm;
use crate::spec::ResourceDecl;

/// docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-queue-message-identifiers.html
pub(crate) static QUEUE: NameForm = NameForm {
    kind: "queue",
    arn: Some(ArnForm::regional("sqs", "{name}")),
    marks: Some("-_."),
    is_qualified: false,
    attached_to: None,
};

/// The team's queues.
const QUEUES: Scope = Scope {
    kind: Some("queue"),
    imported: Some(Imported {
        sid: "ImportedQueues",
        kind: "queue",
        resources: |policy, queue| vec![policy.arn(&QUEUE, queue)],
        why: None,
    }),
    ..Scope::new("Queues", |policy| policy.of_team(&QUEUE))
};

/// The same, for test messages: only those that a mapping reads.
const SOURCES: Scope = Scope { kind: Some("queue"), ..Scope::new("SourceQueues", sources) };

/// Imported queues that the user allows to test.
const ALLOWED: Scope = Scope::new("AllowedQueues", |policy| policy.allowed(&QUEUE));

/// The keys of these queues.
const KEYS: Scope = Scope {
    kind: Some("queue"),
    ..Scope::of_keys("KeysOfSourceQueues", |policy| policy.keys_of(source_queues(policy)), Some("sqs"))
};

fn sources(policy: &PolicyBuilder<'_>) -> Vec<String> {
    source_queues(policy).map(|it| policy.arn(&QUEUE, it)).collect::<BTreeSet<_>>().into_iter().collect()
}

/// The managed queues that a mapping reads.
fn source_queues<'s>(policy: &PolicyBuilder<'s>) -> impl Iterator<Item = &'s ResourceDecl> {
    let spec = policy.spec;
    let mappings = spec.resources.iter().filter(|it| it.schema().kind == "mapping");
    let queues = mappings.filter_map(move |mapping| spec.target(mapping, "event_source_arn"));
    queues.filter(|it| it.schema().kind == "queue" && !it.imported)
}

/// docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html
const fn key(action: &'static str) -> ImpliedPermission {
    let why = "SQS uses a queue's customer managed key with the sender's permissions";
    ImpliedPermission { action, grant: (&KEYS, &[Verify]), why, property: None }
}

const fn call(action: &'static str, effect: Effect, grants: &'static [Grant]) -> Operation {
    Operation::new(Service::SQS, action, effect, Wire::Json("AmazonSQS"), &RATE, grants).of_kind("queue")
}

/// A call about the queue with this name.
const fn by_name(action: &'static str, effect: Effect, grants: &'static [Grant]) -> Operation {
    call(action, effect, grants).on(&QUEUE, At::Body("QueueName"), Takes::Name)
}

/// A call about the queue with this URL.
const fn by_url(action: &'static str, effect: Effect, grants: &'static [Grant]) -> Operation {
    call(action, effect, grants).on(&QUEUE, At::Body("QueueUrl"), Takes::Url)
}

pub(super) const OPERATIONS: &[Operation] = &[
    by_name("sqs:CreateQueue", Effect::Create, &[(&QUEUES, &[Apply])]),
    by_url("sqs:DeleteQueue", Effect::Write, &[(&QUEUES, DELETE)]),
    by_url("sqs:GetQueueAttributes", Effect::Read, &[(&QUEUES, READ)]),
    by_name("sqs:GetQueueUrl", Effect::Read, &[(&QUEUES, READ)]),
    by_url("sqs:ListQueueTags", Effect::Read, &[(&QUEUES, READ)]),
    call("sqs:ListQueues", Effect::Read, &[(&Scope::LISTS, PLAN)]),
    by_url("sqs:SendMessage", Effect::Message, &[(&SOURCES, &[Verify]), (&ALLOWED, &[Verify])])
        .with_item("MessageBody")
        .implying(&[key("kms:Decrypt"), key("kms:GenerateDataKey")]),
    by_url("sqs:SetQueueAttributes", Effect::Write, &[(&QUEUES, &[Apply])]).in_place(),
    by_url("sqs:TagQueue", Effect::Write, &[(&QUEUES, &[Apply])]),
    by_url("sqs:UntagQueue", Effect::Write, &[(&QUEUES, DELETE)]),
];

/// What `access: { queue: send }` and `receive` allow
/// (docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsqs.html).
pub(super) fn access_levels() -> Vec<AccessLevel> {
    let looks = ["sqs:GetQueueAttributes", "sqs:GetQueueUrl"];
    let receive = ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:ReceiveMessage"];
    vec![
        AccessLevel::new("send", &[&looks[..], &["sqs:SendMessage"]].concat(), &[""]),
        AccessLevel::new("receive", &[&looks[..], &receive[..]].concat(), &[""]),
    ]
}
