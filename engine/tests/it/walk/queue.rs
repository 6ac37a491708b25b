//! The walks of a queue's properties, each without the rest of the pipeline.

use serde_json::{Value as Json, json};

use super::stage::AwsRequest::Sqs;
use super::{Row, row};

const KIND: &str = "queue";
const SELF: &str = "jobs";
const DEAD: &str = "  dead: { type: queue }
  other: { type: queue }
";

/// An attribute; `drifted` is the value that another tool sets.
fn attribute(
    property: &'static str,
    values: [&'static str; 2],
    name: &'static str,
    seen: [Json; 3],
    drifted: &str,
) -> Row {
    let [set, changed] = values;
    let [first, second, last] = seen;
    let pointer: &'static str = Box::leak(format!("/Attributes/{name}").into_boxed_str());
    let mut attributes = json!({});
    attributes[name] = json!(drifted);
    row(KIND, property, set, changed)
        .isolated()
        .seen(pointer, first, second, last)
        .drift(Sqs("SetQueueAttributes", json!({ "Attributes": attributes })))
}

fn number(
    property: &'static str,
    values: [&'static str; 2],
    name: &'static str,
    seen: [&str; 3],
    drifted: &str,
) -> Row {
    attribute(property, values, name, seen.map(|it| json!(it)), drifted)
}

fn arn(name: &str) -> String {
    format!("arn:aws:sqs:eu-central-1:{{account}}:blue-owls-{name}")
}

fn redrive(dead: &str, count: u32) -> Json {
    json!({ "deadLetterTargetArn": arn(dead), "maxReceiveCount": count })
}

fn policy(action: &str) -> Json {
    json!({ "Statement": [{ "Effect": "Allow", "Principal": "*", "Action": action, "Resource": "*" }] })
}

/// A property inside the redrive policy.
fn of_redrive(property: &'static str, set: &'static str, changed: &'static str, seen: [Json; 3]) -> Row {
    let drifted = redrive("other", 9).to_string();
    attribute(property, [set, changed], "RedrivePolicy", seen, &drifted).beside(DEAD).shows(&[(
        SELF,
        "update",
        &["redrive_policy"],
    )])
}

/// A property inside the redrive allow policy.
fn of_allow(property: &'static str, set: &'static str, changed: &'static str, seen: [Json; 3]) -> Row {
    let drifted = json!({ "redrivePermission": "byQueue", "sourceQueueArns": [arn("others")] }).to_string();
    attribute(property, [set, changed], "RedriveAllowPolicy", seen, &drifted).beside(DEAD).shows(&[(
        SELF,
        "update",
        &["redrive_allow_policy"],
    )])
}

pub(super) fn rows() -> Vec<Row> {
    [numbers(), documents(), others()].concat()
}

fn numbers() -> Vec<Row> {
    vec![
        number(
            "visibility_timeout_seconds",
            ["visibility_timeout_seconds: 0", "visibility_timeout_seconds: 60"],
            "VisibilityTimeout",
            ["0", "60", "30"],
            "7",
        ),
        number(
            "message_retention_seconds",
            ["message_retention_seconds: 600", "message_retention_seconds: 60"],
            "MessageRetentionPeriod",
            ["600", "60", "345600"],
            "700",
        ),
        number("delay_seconds", ["delay_seconds: 1", "delay_seconds: 2"], "DelaySeconds", ["1", "2", "0"], "3"),
        number(
            "receive_wait_time_seconds",
            ["receive_wait_time_seconds: 1", "receive_wait_time_seconds: 20"],
            "ReceiveMessageWaitTimeSeconds",
            ["1", "20", "0"],
            "3",
        ),
        number(
            "max_message_size",
            ["max_message_size: 1024", "max_message_size: 262144"],
            "MaximumMessageSize",
            ["1024", "262144", "1048576"],
            "2048",
        ),
    ]
}

fn documents() -> Vec<Row> {
    let to = "redrive_policy: { dead_letter_target_arn: '${dead.arn}', max_receive_count: 3 }";
    let to_other = "redrive_policy: { dead_letter_target_arn: '${other.arn}', max_receive_count: 3 }";
    let more = "redrive_policy: { dead_letter_target_arn: '${dead.arn}', max_receive_count: 4 }";
    let by_dead = "redrive_allow_policy: { redrive_permission: byQueue, source_queue_arns: ['${dead.arn}'] }";
    let by_both =
        "redrive_allow_policy: { redrive_permission: byQueue, source_queue_arns: ['${other.arn}', '${dead.arn}'] }";
    let by = |arns: &[&str]| json!({ "redrivePermission": "byQueue", "sourceQueueArns": arns.iter().map(|it| arn(it)).collect::<Vec<_>>() });
    let deny = json!({ "redrivePermission": "denyAll" });
    vec![
        of_redrive("redrive_policy", to, more, [redrive("dead", 3), redrive("dead", 4), Json::Null]),
        of_redrive(
            "redrive_policy.dead_letter_target_arn",
            to,
            to_other,
            [redrive("dead", 3), redrive("other", 3), Json::Null],
        ),
        of_redrive("redrive_policy.max_receive_count", to, more, [redrive("dead", 3), redrive("dead", 4), Json::Null]),
        of_allow(
            "redrive_allow_policy",
            "redrive_allow_policy: { redrive_permission: denyAll }",
            by_dead,
            [deny.clone(), by(&["dead"]), Json::Null],
        ),
        of_allow(
            "redrive_allow_policy.redrive_permission",
            "redrive_allow_policy: { redrive_permission: denyAll }",
            by_dead,
            [deny, by(&["dead"]), Json::Null],
        ),
        of_allow(
            "redrive_allow_policy.source_queue_arns",
            by_dead,
            by_both,
            [by(&["dead"]), by(&["other", "dead"]), Json::Null],
        ),
        attribute(
            "policy",
            [
                "policy: { Statement: { Effect: Allow, Principal: '*', Action: sqs:SendMessage, Resource: '*' } }",
                "policy: { Statement: [{ Effect: Allow, Principal: '*', Action: sqs:ReceiveMessage, Resource: '*' }] }",
            ],
            "Policy",
            [
                json!({ "Statement": policy("sqs:SendMessage")["Statement"][0] }),
                policy("sqs:ReceiveMessage"),
                Json::Null,
            ],
            &policy("sqs:*").to_string(),
        ),
    ]
}

fn others() -> Vec<Row> {
    vec![
        // Its name shows the type, so the other type is another queue.
        row(KIND, "fifo_queue", "fifo_queue: false", "fifo_queue: true")
            .isolated()
            .seen("/Attributes/QueueArn", json!(arn("jobs")), json!(arn("jobs.fifo")), json!(arn("jobs")))
            .shows(&[(SELF, "create", &[]), (SELF, "delete", &[])])
            .drift(Sqs("DeleteQueue", json!({})))
            .drift(Sqs(
                "CreateQueue",
                json!({
                    "QueueName": "blue-owls-jobs.fifo",
                    "Attributes": { "FifoQueue": "true" },
                    "tags": { "engine:team": "blue-owls", "engine:stack": "team", "engine:resource": "jobs" },
                }),
            )),
        attribute(
            "content_based_deduplication",
            ["content_based_deduplication: false", "content_based_deduplication: true"],
            "ContentBasedDeduplication",
            ["false", "true", "false"].map(|it| json!(it)),
            "true",
        )
        .given("fifo_queue: true"),
        attribute(
            "kms_key_arn",
            ["kms_key_arn: alias/aws/sqs", "kms_key_arn: alias/other"],
            "KmsMasterKeyId",
            [json!("alias/aws/sqs"), json!("alias/other"), Json::Null],
            "alias/by-hand",
        )
        .shows(&[(SELF, "update", &["kms_key_arn"])])
        .removal_shows(&[(SELF, "update", &["kms_key_arn", "sqs_managed_sse_enabled"])])
        .drift_shows(&[(SELF, "update", &["kms_key_arn", "sqs_managed_sse_enabled"])]),
        attribute(
            "sqs_managed_sse_enabled",
            ["sqs_managed_sse_enabled: true", "sqs_managed_sse_enabled: false"],
            "SqsManagedSseEnabled",
            ["true", "false", "true"].map(|it| json!(it)),
            "false",
        ),
        row(KIND, "tags", "tags: { course: cloud }", "tags: { course: rust }")
            .isolated()
            .seen("/Tags/course", json!("cloud"), json!("rust"), json!("rust"))
            .drift(Sqs("TagQueue", json!({ "Tags": { "course": "none" } })))
            .retained(),
    ]
}
