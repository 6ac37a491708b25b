//! Properties that can't be read: each property of each kind in turn is not compared, not sent, and
//! reported.
//!
//! The table lists, for each property, how AWS hides it; a property without a row fails the test.

use std::collections::BTreeSet;

use engine::apply::{self, StepOutcome};
use engine::aws::Context;
use engine::inventory::Inventory;
use engine::kinds::all;
use engine::plan::{self, Change, Goal, Options, Plan};
use engine::schema::Rule;
use engine::spec::Spec;
use serde_json::{Value as Json, json};

use super::library::{context, load, read, team};
use super::server::{Cloud, Edit, Fault};
use super::world::role::Role;
use super::world::{Reply, World};
use super::{FUNCTION, Project, TABLE, deployed, is_write, replaced};

/// One way in which AWS hides properties.
struct Row {
    kind: &'static str,
    properties: &'static [&'static str],
    /// Another writer's change: if engine could read it, it would change it back.
    drift: fn(&mut World),
    hide: fn(&Cloud),
    /// The operations and request fields that would send it.
    senders: &'static [&'static str],
}

/// Properties that AWS omits if they have their default, so that a missing value is known.
const ABSENT_IS_DEFAULT: &[(&str, &[&str])] = &[
    (
        "function",
        &[
            "code_source",
            "image",
            "layers",
            "reserved_concurrent_executions",
            "dead_letter_target_arn",
            "vpc",
            "kms_key_arn",
        ],
    ),
    ("log_group", &["retention_in_days", "kms_key_arn", "deletion_protection"]),
    // The local AWS never returns the window, so a missing one was never set. Only queues have a
    // concurrency, and only Kinesis streams a time.
    ("mapping", &["kms_key_arn", "tumbling_window_in_seconds", "maximum_concurrency", "starting_position_timestamp"]),
    // SQS omits what isn't set, and what only FIFO queues have.
    ("queue", &["fifo_queue", "redrive_policy", "redrive_allow_policy", "policy", "kms_key_arn"]),
    ("role", &["description", "permissions_boundary", "tags"]),
    (
        "permission",
        &[
            "qualifier",
            "source_arn",
            "source_account",
            "principal_org_id",
            "function_url_auth_type",
            "invoked_via_function_url",
            "other_conditions",
        ],
    ),
    (
        "table",
        &[
            "billing_mode",
            "global_secondary_indexes",
            "local_secondary_indexes",
            "stream_view_type",
            "table_class",
            "kms_key_arn",
            "on_demand_throughput",
        ],
    ),
];

fn function(world: &mut World, field: &str, value: Json) {
    world.functions.get_mut(FUNCTION).unwrap().change_outside(field, value);
}

fn mapping(world: &mut World, field: &str, value: Json) {
    world.mappings[0].shown[field] = value;
}

fn table(world: &mut World, field: &str, value: Json) {
    world.tables.get_mut(TABLE).unwrap().shown[field] = value;
}

fn log_group(world: &mut World, field: &str, value: Json) {
    world.log_groups.get_mut(LOG_GROUP).unwrap().shown[field] = value;
}

/// Applies `edit` to the responses of `operation`.
fn edited(cloud: &Cloud, operation: &str, edit: impl Fn(&mut Json) + Send + Sync + 'static) {
    let edit = Edit::new(move |text| {
        let mut json: Json = serde_json::from_str(text).unwrap_or_default();
        edit(&mut json);
        json.to_string()
    });
    cloud.always(operation, Fault::DoneButEdited(edit));
}

/// Removes the field at the end of `pointer` from the responses of `operation`.
fn without(cloud: &Cloud, operation: &str, pointer: &'static str) {
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    edited(cloud, operation, move |answer| {
        if let Some(Json::Object(fields)) = answer.pointer_mut(parent) {
            fields.remove(field);
        }
    });
}

fn without_in_function(cloud: &Cloud, field: &'static str) {
    edited(cloud, "GetFunction", move |answer| drop(answer["Configuration"].as_object_mut().unwrap().remove(field)));
}

/// Edits both reads of a mapping in the same way.
fn in_mapping(cloud: &Cloud, edit: impl Fn(&mut Json) + Copy + Send + Sync + 'static) {
    edited(cloud, "ListEventSourceMappings", move |answer| {
        answer["EventSourceMappings"].as_array_mut().into_iter().flatten().for_each(edit);
    });
    edited(cloud, "GetEventSourceMapping", move |answer| edit(answer));
}

fn without_in_mapping(cloud: &Cloud, field: &'static str) {
    in_mapping(cloud, move |mapping| drop(mapping.as_object_mut().unwrap().remove(field)));
}

fn without_in_policy(cloud: &Cloud, field: &'static str) {
    edited(cloud, "GetPolicy", move |answer| {
        let mut policy: Json = serde_json::from_str(answer["Policy"].as_str().unwrap()).unwrap();
        policy["Statement"][0].as_object_mut().unwrap().remove(field);
        answer["Policy"] = json!(policy.to_string());
    });
}

fn denied(cloud: &Cloud, operation: &str) {
    let text = format!("User: X is not authorized to perform: x:{operation}");
    cloud.always(operation, Fault::Answer(Reply::of(operation, 400, "AccessDeniedException", &text)));
}

/// A field that is missing from a function's configuration.
macro_rules! of_function {
    ($property:literal, $field:literal, $drift:expr) => {
        Row {
            kind: "function",
            properties: &[$property],
            drift: |world| function(world, $field, $drift),
            hide: |cloud| without_in_function(cloud, $field),
            senders: &[$field],
        }
    };
}

/// An attribute that is missing from a queue.
macro_rules! of_queue {
    ($property:literal, $attribute:literal, $drift:expr) => {
        Row {
            kind: "queue",
            properties: &[$property],
            drift: |world| {
                let queue = world.queues.get_mut(JOBS).unwrap();
                queue.attributes.insert($attribute.to_owned(), $drift.to_owned());
            },
            hide: |cloud| without(cloud, "GetQueueAttributes", concat!("/Attributes/", $attribute)),
            senders: &[$attribute],
        }
    };
}

/// A field that is missing from a mapping.
macro_rules! of_mapping {
    ($property:literal, $field:literal, $drift:expr) => {
        Row {
            kind: "mapping",
            properties: &[$property],
            drift: |world| mapping(world, $field, $drift),
            hide: |cloud| without_in_mapping(cloud, $field),
            senders: &[$field],
        }
    };
}

const JOBS: &str = "blue-owls-jobs.fifo";
const QUEUE: &str = "arn:aws:sqs:eu-central-1:123456789012:failed";

fn of_functions() -> Vec<Row> {
    vec![
        of_function!("runtime", "Runtime", json!("nodejs20.x")),
        of_function!("handler", "Handler", json!("other.handler")),
        of_function!("role", "Role", json!("arn:aws:iam::123456789012:role/other")),
        of_function!("code_sha256", "CodeSha256", json!("AAAA")),
        of_function!("code_size", "CodeSize", json!(7)),
        of_function!("description", "Description", json!("by hand")),
        of_function!("memory_size", "MemorySize", json!(256)),
        of_function!("timeout", "Timeout", json!(60)),
        of_function!("architecture", "Architectures", json!(["arm64"])),
        of_function!("ephemeral_storage", "EphemeralStorage", json!({ "Size": 1024 })),
        of_function!("tracing", "TracingConfig", json!({ "Mode": "Active" })),
        Row {
            kind: "function",
            properties: &["log_format", "log_group", "application_log_level", "system_log_level"],
            drift: |world| {
                let logging = json!({
                    "LogFormat": "JSON", "LogGroup": "x", "ApplicationLogLevel": "WARN", "SystemLogLevel": "WARN",
                });
                function(world, "LoggingConfig", logging);
            },
            hide: |cloud| without_in_function(cloud, "LoggingConfig"),
            senders: &["LoggingConfig"],
        },
        Row {
            kind: "function",
            properties: &["environment"],
            drift: |world| function(world, "Environment", json!({ "Variables": { "BY_HAND": "1" } })),
            hide: |cloud| {
                edited(cloud, "GetFunction", |answer| {
                    let message = "Lambda was unable to decrypt your environment variables because the KMS access was \
                                   denied. Please check your KMS permissions.";
                    let error = json!({ "ErrorCode": "AccessDeniedException", "Message": message });
                    answer["Configuration"]["Environment"] = json!({ "Error": error });
                });
            },
            senders: &["Environment"],
        },
        Row {
            kind: "function",
            properties: &["async"],
            drift: |world| world.functions.get_mut(FUNCTION).unwrap().async_config = Some(json!({})),
            hide: |cloud| denied(cloud, "GetFunctionEventInvokeConfig"),
            senders: &["PutFunctionEventInvokeConfig", "DeleteFunctionEventInvokeConfig"],
        },
        Row {
            kind: "function",
            properties: &["url"],
            drift: |world| {
                let url = json!({
                    "FunctionUrl": "https://x.on.aws/", "FunctionArn": "x", "AuthType": "NONE", "CreationTime": "x",
                    "LastModifiedTime": "x",
                });
                world.functions.get_mut(FUNCTION).unwrap().url = Some(url);
            },
            hide: |cloud| denied(cloud, "GetFunctionUrlConfig"),
            senders: &["CreateFunctionUrlConfig", "UpdateFunctionUrlConfig", "DeleteFunctionUrlConfig"],
        },
        Row {
            kind: "function",
            properties: &["code_signing_config_arn"],
            // Lambda shows that the code is signed.
            drift: |world| {
                world.functions.get_mut(FUNCTION).unwrap().signing = Some("csc-by-hand".to_owned());
                function(world, "SigningProfileVersionArn", json!("arn:aws:signer:eu-central-1:1:/signing-profiles/p"));
            },
            hide: |cloud| denied(cloud, "GetFunctionCodeSigningConfig"),
            senders: &["PutFunctionCodeSigningConfig", "DeleteFunctionCodeSigningConfig"],
        },
        Row {
            kind: "function",
            // A tag records where the code comes from.
            properties: &["tags", "code_source"],
            drift: |_| {},
            hide: |cloud| cloud.world(|world| world.function_tags_denied = true),
            senders: &["TagResource"],
        },
    ]
}

fn of_tables() -> Vec<Row> {
    let row = |properties, drift, hide, senders| Row { kind: "table", properties, drift, hide, senders };
    vec![
        row(
            &["attributes"],
            |world| {
                table(world, "AttributeDefinitions", json!([{ "AttributeName": "id", "AttributeType": "N" }]));
            },
            |cloud| without(cloud, "DescribeTable", "/Table/AttributeDefinitions"),
            &["AttributeDefinitions"],
        ),
        row(
            &["hash_key", "range_key"],
            |world| table(world, "KeySchema", json!([{ "AttributeName": "other", "KeyType": "HASH" }])),
            |cloud| without(cloud, "DescribeTable", "/Table/KeySchema"),
            &["KeySchema"],
        ),
        row(
            &["read_capacity", "write_capacity"],
            |world| {
                table(world, "ProvisionedThroughput", json!({ "ReadCapacityUnits": 7, "WriteCapacityUnits": 7 }));
            },
            |cloud| without(cloud, "DescribeTable", "/Table/ProvisionedThroughput"),
            &["ProvisionedThroughput", "BillingMode"],
        ),
        row(
            &["deletion_protection"],
            |world| table(world, "DeletionProtectionEnabled", json!(true)),
            |cloud| without(cloud, "DescribeTable", "/Table/DeletionProtectionEnabled"),
            &["DeletionProtectionEnabled"],
        ),
        row(
            &["warm_throughput"],
            |_| {},
            |cloud| without(cloud, "DescribeTable", "/Table/WarmThroughput"),
            &["WarmThroughput"],
        ),
        row(
            &["ttl_attribute"],
            |world| world.tables.get_mut(TABLE).unwrap().ttl = Some("old".to_owned()),
            |cloud| denied(cloud, "DescribeTimeToLive"),
            &["UpdateTimeToLive"],
        ),
        row(
            &["ttl_attribute"],
            |world| world.tables.get_mut(TABLE).unwrap().ttl = Some("old".to_owned()),
            |cloud| without(cloud, "DescribeTimeToLive", "/TimeToLiveDescription"),
            &["UpdateTimeToLive"],
        ),
        row(
            &["point_in_time_recovery", "recovery_period_in_days"],
            |world| world.tables.get_mut(TABLE).unwrap().recovery = Some(7),
            |cloud| denied(cloud, "DescribeContinuousBackups"),
            &["UpdateContinuousBackups"],
        ),
        row(
            &["point_in_time_recovery", "recovery_period_in_days"],
            |world| world.tables.get_mut(TABLE).unwrap().recovery = Some(7),
            |cloud| without(cloud, "DescribeContinuousBackups", "/ContinuousBackupsDescription"),
            &["UpdateContinuousBackups"],
        ),
        row(&["tags"], |_| {}, |cloud| denied(cloud, "ListTagsOfResource"), &["TagTable"]),
    ]
}

fn of_log_groups() -> Vec<Row> {
    let row = |properties, drift, hide, senders| Row { kind: "log_group", properties, drift, hide, senders };
    vec![
        row(
            &["log_group_class"],
            |world| log_group(world, "logGroupClass", json!("INFREQUENT_ACCESS")),
            |cloud| without(cloud, "DescribeLogGroups", "/logGroups/0/logGroupClass"),
            &["CreateLogGroup"],
        ),
        row(&["tags"], |_| {}, |cloud| denied(cloud, "ListTagsForResource"), &["TagLogGroup"]),
    ]
}

fn of_mappings() -> Vec<Row> {
    vec![
        of_mapping!("event_source_arn", "EventSourceArn", json!("arn:aws:dynamodb:x:1:table/blue-owls-todos/stream/1")),
        of_mapping!("starting_position", "StartingPosition", json!("LATEST")),
        of_mapping!("batch_size", "BatchSize", json!(7)),
        of_mapping!("maximum_batching_window_in_seconds", "MaximumBatchingWindowInSeconds", json!(7)),
        of_mapping!("maximum_retry_attempts", "MaximumRetryAttempts", json!(7)),
        of_mapping!("maximum_record_age_in_seconds", "MaximumRecordAgeInSeconds", json!(700)),
        of_mapping!("bisect_batch_on_function_error", "BisectBatchOnFunctionError", json!(true)),
        of_mapping!("parallelization_factor", "ParallelizationFactor", json!(7)),
        of_mapping!("report_batch_item_failures", "FunctionResponseTypes", json!(["ReportBatchItemFailures"])),
        of_mapping!(
            "on_failure_destination_arn",
            "DestinationConfig",
            json!({ "OnFailure": { "Destination": QUEUE } })
        ),
        Row {
            kind: "mapping",
            properties: &["filters"],
            drift: |world| mapping(world, "FilterCriteria", insert_only()),
            hide: |cloud| {
                in_mapping(cloud, |mapping| {
                    mapping.as_object_mut().unwrap().remove("FilterCriteria");
                    mapping["FilterCriteriaError"] =
                        json!({ "ErrorCode": "KMSAccessDeniedException", "Message": "no" });
                });
            },
            senders: &["FilterCriteria"],
        },
        Row {
            kind: "mapping",
            properties: &["enabled"],
            drift: |world| world.mappings[0].pass_through(&[], false),
            hide: |cloud| without_in_mapping(cloud, "State"),
            senders: &["Enabled"],
        },
        Row {
            kind: "mapping",
            properties: &["tags"],
            drift: |_| {},
            hide: |cloud| denied(cloud, "ListTags"),
            senders: &["TagResource"],
        },
    ]
}

fn of_queues() -> Vec<Row> {
    vec![
        of_queue!("visibility_timeout_seconds", "VisibilityTimeout", "7"),
        of_queue!("message_retention_seconds", "MessageRetentionPeriod", "700"),
        of_queue!("delay_seconds", "DelaySeconds", "7"),
        of_queue!("receive_wait_time_seconds", "ReceiveMessageWaitTimeSeconds", "7"),
        of_queue!("max_message_size", "MaximumMessageSize", "7000"),
        of_queue!("content_based_deduplication", "ContentBasedDeduplication", "true"),
        of_queue!("sqs_managed_sse_enabled", "SqsManagedSseEnabled", "false"),
        Row {
            kind: "queue",
            properties: &["tags"],
            drift: |_| {},
            hide: |cloud| denied(cloud, "ListQueueTags"),
            senders: &["TagQueue"],
        },
    ]
}

fn insert_only() -> Json {
    json!({ "Filters": [{ "Pattern": r#"{"eventName":["INSERT"]}"# }] })
}

fn other_rows() -> Vec<Row> {
    vec![
        Row {
            kind: "permission",
            properties: &["action"],
            drift: |world| {
                world.functions.get_mut(FUNCTION).unwrap().policy[0]["Action"] = json!("lambda:GetFunction");
            },
            hide: |cloud| without_in_policy(cloud, "Action"),
            senders: &["AddPermission", "RemovePermission"],
        },
        Row {
            kind: "permission",
            properties: &["principal"],
            drift: |world| {
                let other = json!({ "Service": "s3.amazonaws.com" });
                world.functions.get_mut(FUNCTION).unwrap().policy[0]["Principal"] = other;
            },
            hide: |cloud| without_in_policy(cloud, "Principal"),
            senders: &["AddPermission", "RemovePermission"],
        },
    ]
}

fn role(world: &mut World) -> &mut Role {
    world.roles.get_mut(RUNNER).unwrap()
}

/// Removes an XML element from the answers of `GetRole`.
fn without_in_role(cloud: &Cloud, element: &'static str) {
    let edit = Edit::new(move |text| {
        let (head, rest) = text.split_once(&format!("<{element}>")).unwrap();
        let (_, tail) = rest.split_once(&format!("</{element}>")).unwrap();
        format!("{head}{tail}")
    });
    cloud.always("GetRole", Fault::DoneButEdited(edit));
}

fn of_roles() -> Vec<Row> {
    let row = |properties, drift, hide, senders| Row { kind: "role", properties, drift, hide, senders };
    vec![
        row(
            &["path"],
            |world| role(world).path = "/teams/".to_owned(),
            |cloud| without_in_role(cloud, "Path"),
            &["CreateRole", "DeleteRole"],
        ),
        row(
            &["max_session_duration"],
            |world| role(world).max_session_duration = Some(7200),
            |cloud| without_in_role(cloud, "MaxSessionDuration"),
            &["MaxSessionDuration"],
        ),
        row(
            &["assume_role_policy"],
            |world| role(world).trust = Some(trust_of("ec2.amazonaws.com")),
            |cloud| without_in_role(cloud, "AssumeRolePolicyDocument"),
            &["UpdateAssumeRolePolicy"],
        ),
        row(
            &["policy"],
            |world| drop(role(world).inline.insert("engine".to_owned(), DENY_ALL.to_owned())),
            |cloud| denied(cloud, "GetRolePolicy"),
            &["PutRolePolicy", "DeleteRolePolicy"],
        ),
        // A document in a form that engine doesn't know.
        row(
            &["policy"],
            |world| drop(role(world).inline.insert("engine".to_owned(), DENY_ALL.to_owned())),
            |cloud| {
                let edit = Edit::new(|text| text.replace("<PolicyDocument>%7B", "<PolicyDocument>"));
                cloud.always("GetRolePolicy", Fault::DoneButEdited(edit));
            },
            &["PutRolePolicy", "DeleteRolePolicy"],
        ),
        row(
            &["managed_policy_arns"],
            |world| role(world).attached.extend(["arn:aws:iam::aws:policy/ReadOnlyAccess".to_owned()]),
            |cloud| denied(cloud, "ListAttachedRolePolicies"),
            &["AttachRolePolicy", "DetachRolePolicy"],
        ),
        row(
            &["inline_policies"],
            |world| drop(role(world).inline.insert("by-hand".to_owned(), DENY_ALL.to_owned())),
            |cloud| denied(cloud, "ListRolePolicies"),
            &["DeleteRolePolicy"],
        ),
    ]
}

const RUNNER: &str = "blue-owls-runner";
const DENY_ALL: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Sid":"ByHand","Effect":"Deny","Action":"*","Resource":"*"}]}"#;

fn trust_of(service: &str) -> String {
    let statement = json!([{ "Effect": "Allow", "Principal": { "Service": [service] }, "Action": "sts:AssumeRole" }]);
    json!({ "Version": "2012-10-17", "Statement": statement }).to_string()
}

fn rows() -> Vec<Row> {
    [of_functions(), of_tables(), of_log_groups(), of_mappings(), of_queues(), of_roles(), other_rows()]
        .into_iter()
        .flatten()
        .collect()
}

/// A spec that changes each kind that can change, beside what a row hides, and declares tags.
fn project(kind: &str) -> Project {
    let tags = "    tags: { course: cloud }";
    let project = Project::usual();
    let table = format!(
        "hash_key: id\n    table_class: STANDARD_INFREQUENT_ACCESS\n    deletion_protection: false\n{WARM}{tags}"
    );
    project.edit("hash_key: id", &table);
    project.edit("handler: index.handler", &format!("handler: index.handler\n    layers: [{LAYER}]\n{tags}"));
    project.edit(
        "starting_position: TRIM_HORIZON",
        &format!("starting_position: TRIM_HORIZON\n    tumbling_window_in_seconds: 30\n{tags}"),
    );
    if kind == "queue" {
        // Another attribute changes in each row.
        let policy = "{ Statement: { Effect: Allow, Principal: '*', Action: sqs:SendMessage, Resource: '*' } }";
        let queue = format!("{QUEUE_SPEC}    policy: {policy}\n{tags}\n");
        project.edit("resources:\n", &format!("resources:\n{queue}"));
    } else if kind == "log_group" {
        project.edit("  logger:", &format!("{LOGS}{tags}\n    retention_in_days: 14\n\n  logger:"));
    }
    if kind == "role" {
        let runner = "  runner:\n    type: role\n    trusted_services: [states.amazonaws.com]\n";
        project.edit("resources:\n", &format!("resources:\n{runner}"));
    }
    project
}

/// More than the table has.
const WARM: &str = "    warm_throughput: { read_units_per_second: 2, write_units_per_second: 2 }\n";
const QUEUE_SPEC: &str = "  jobs:\n    type: queue\n    fifo_queue: true\n";

/// A log group that AWS has, without tags of its own.
const LOGS: &str = "  logs:\n    type: log_group\n";
const LOG_GROUP: &str = "blue-owls-logs";
const LAYER: &str = "arn:aws:lambda:eu-central-1:123456789012:layer:any:1";

async fn planned(cx: &Context, spec: &mut Spec) -> (Inventory, Plan) {
    let inventory = read(cx, spec).await.unwrap();
    let plan = plan::plan(spec, &inventory, Goal::Present, &Options::default());
    (inventory, plan)
}

fn of_kind<'p>(plan: &'p Plan, kind: &str) -> &'p Change {
    plan.changes.iter().find(|change| change.kind == kind).unwrap()
}

/// The properties of a row that a plan wants to change.
fn claimed<'p>(plan: &'p Plan, row: &Row) -> Vec<&'p str> {
    let roots = of_kind(plan, row.kind).properties.iter().filter_map(|change| change.path.root());
    roots.filter(|root| row.properties.contains(root)).collect()
}

/// The operations and fields of all writes to the resource of a kind.
fn sent(cloud: &Cloud, kind: &str) -> BTreeSet<String> {
    let name = match kind {
        "table" => TABLE.to_owned(),
        "mapping" => cloud.world(|world| world.mappings[0].uuid.clone()),
        "queue" => JOBS.to_owned(),
        "log_group" => LOG_GROUP.to_owned(),
        "role" => RUNNER.to_owned(),
        _ => FUNCTION.to_owned(),
    };
    let writes = cloud.calls().into_iter().filter(|call| is_write(call) && call.about == name);
    let words = writes.flat_map(|call| {
        let fields: Vec<String> = call.body.as_object().into_iter().flatten().map(|(field, _)| field.clone()).collect();
        std::iter::once(call.operation).chain(fields)
    });
    words.collect()
}

#[test]
fn every_property_of_every_kind_can_be_unknown() {
    for kind in all().iter() {
        let schema = kind.schema();
        let absent = ABSENT_IS_DEFAULT.iter().filter(|(kind, _)| *kind == schema.kind);
        let absent = absent.flat_map(|(_, properties)| properties.iter());
        let rows = rows();
        let rows = rows.iter().filter(|row| row.kind == schema.kind).flat_map(|row| row.properties);
        let held: BTreeSet<&str> = rows.chain(absent).copied().collect();
        // A property that is never read back can't be hidden.
        let read = schema.properties.iter().filter(|property| property.change != Rule::WriteOnly);
        assert_eq!(held, read.map(|property| &*property.name).collect(), "{}", schema.kind);
    }
}

#[tokio::test(start_paused = true)]
async fn unknown_values_are_reported_but_not_compared_or_sent() {
    let rows = rows();
    for row in &rows {
        let name = format!("{} {:?}", row.kind, row.properties);
        let mut world = super::deployed_world();
        let tags = |resource: &str| {
            [("engine:team", "blue-owls"), ("engine:stack", "team"), ("engine:resource", resource)]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into()
        };
        match row.kind {
            "queue" => drop(world.add_queue(JOBS, tags("jobs"))),
            "log_group" => world.add_log_group(LOG_GROUP, tags("logs")),
            "role" => {
                let role = world.add_role(RUNNER, tags("runner"));
                // Another property changes in each row.
                role.description = "by hand".to_owned();
                role.trust = Some(trust_of("states.amazonaws.com"));
            }
            _ => {}
        }
        let cloud = Cloud::on_current_runtime(world).await;
        cloud.world(row.drift);
        let project = project(row.kind);
        let mut spec = load(&project.path("specs/team.yaml"));
        let (cx, _press) = context(&cloud, team());
        let (_, seen) = planned(&cx, &mut spec).await;
        assert!(!claimed(&seen, row).is_empty() || row.properties == ["code_size"], "{name} has a drift to see");

        (row.hide)(&cloud);
        // A fresh spec doesn't know the mapping's ID, so a list finds the mapping.
        let mut spec = load(&project.path("specs/team.yaml"));
        // A context reads a role only once.
        let (cx, _press) = context(&cloud, team());
        let (inventory, plan) = planned(&cx, &mut spec).await;
        let change = of_kind(&plan, row.kind);
        let live = change.live(&inventory).unwrap();
        assert_eq!(
            live.unknown.keys().map(|name| &**name).collect::<BTreeSet<_>>(),
            row.properties.iter().copied().collect()
        );
        assert_eq!(claimed(&plan, row), [""; 0], "{name} is claimed");
        assert_eq!(plan.refusals().count(), 0, "{name}: {:?}", plan.refusals().collect::<Vec<_>>());
        let notes = change.remarks.iter().filter(|remark| remark.contains("can't be read ("));
        let notes: Vec<&String> = notes.collect();
        assert_eq!(notes.len(), 1, "{name}: {:?}", change.remarks);
        assert!(row.properties.iter().all(|it| notes[0].contains(&format!("`{it}`"))), "{name}: {notes:?}");
        let outcome = apply::apply(&cx, &spec, &inventory, &plan, 16, &mut |_| {}).await;
        let is_done = |ending: &StepOutcome| matches!(ending, StepOutcome::Done(_));
        assert!(outcome.endings.iter().all(is_done), "{name}: {:?}", outcome.endings);
        let sent = sent(&cloud, row.kind);
        assert!(row.senders.iter().all(|word| !sent.contains(*word)), "{name} is sent: {sent:?}");
        assert!(row.senders.is_empty() || !sent.is_empty(), "{name}: nothing was sent at all");

        // The value still exists for a caller who can read it.
        cloud.forget();
        cloud.world(|world| world.function_tags_denied = false);
        // The apply didn't wait for changes that it couldn't read.
        let seen = loop {
            let mut spec = load(&project.path("specs/team.yaml"));
            let (cx, _press) = context(&cloud, team());
            let (_, seen) = planned(&cx, &mut spec).await;
            if !of_kind(&seen, row.kind).pending {
                break seen;
            }
        };
        assert!(!claimed(&seen, row).is_empty() || row.properties == ["code_size"], "{name} is lost");
    }
    eprintln!("unknown: {} ways to hide properties", rows.len());
}

/// A function with variables that the caller can't decrypt and a setting that differs from the
/// spec.
fn undecryptable() -> Cloud {
    let cloud = deployed();
    cloud.world(|world| {
        function(world, "Environment", json!({ "Variables": { "BY_HAND": "1" } }));
        function(world, "Timeout", json!(60));
    });
    hide_variables(&cloud);
    cloud
}

fn hide_variables(cloud: &Cloud) {
    let row = of_functions().into_iter().find(|row| row.properties == ["environment"]).unwrap();
    (row.hide)(cloud);
}

const NOTE: &str = "its `environment` can't be read (you lack permission to use the KMS key), so it is neither \
                    compared nor changed";

#[test]
fn undecryptable_variables_survive_a_change_of_another_setting() {
    for spec in ["", "    environment: { MODE: new }\n", "    ignore_changes: [environment]\n"] {
        let cloud = undecryptable();
        let project = Project::new(|text| replaced(&text, "    code: ../", &format!("{spec}    code: ../")));
        for format in ["json", "markdown"] {
            project.run(&cloud, &["diff", "--format", format]).ends_with(0).says("its `environment` can't be read");
        }
        project.run(&cloud, &["apply", "--yes"]).ends_with(0).says(NOTE).says("1 changed");
        let variables = cloud.world(|world| world.functions[FUNCTION].config["Environment"]["Variables"].clone());
        assert_eq!(variables, json!({ "BY_HAND": "1" }), "{spec}");
    }
}

#[test]
fn an_adoption_that_would_overwrite_unknown_values_is_refused() {
    let cloud = undecryptable();
    cloud.world(|world| world.functions.get_mut(FUNCTION).unwrap().tags.clear());
    let declared = |line: &str| Project::new(|text| replaced(&text, "    code: ../", &format!("{line}    code: ../")));
    let project = declared("    timeout: 60\n    environment: { MODE: new }\n");
    let refused = project.run(&cloud, &["apply", "--yes"]);
    refused.ends_with(1).complains("adopting it would overwrite its `environment`, which can't be read");
    refused.complains("`ignore_changes: [environment]`");
    assert_eq!(super::writes(&cloud), [""; 0]);
    let project = declared("    timeout: 60\n    ignore_changes: [environment]\n");
    project.run(&cloud, &["apply", "--yes"]).ends_with(0).says("2 adopted").says(NOTE);
    assert_eq!(super::writes(&cloud), ["TagResource"]);
}

#[test]
fn a_replacement_requires_unknown_values_in_the_spec() {
    let cloud = undecryptable();
    let declared = |line: &str| Project::new(|text| replaced(&text, "    code: ../", &format!("{line}    code: ../")));
    let replace = ["apply", "--yes", "--replace", "logger"];
    let refused = declared("    ignore_changes: [environment]\n").run(&cloud, &replace);
    refused.ends_with(1).complains("re-creating it would lose its `environment`, which can't be read");
    assert_eq!(super::writes(&cloud), [""; 0]);
    let project = declared("    environment: { MODE: new }\n");
    let done = project.run(&cloud, &replace);
    done.ends_with(0).says("its `environment` can't be read").says("the new resource gets what the spec declares");
    let variables = cloud.world(|world| world.functions[FUNCTION].config["Environment"]["Variables"].clone());
    assert_eq!(variables, json!({ "MODE": "new" }));
}

#[test]
fn a_change_in_readability_after_the_plan_is_no_drift() {
    // Unreadable for the plan and readable afterwards: what the plan didn't compare isn't compared
    // later.
    let project = Project::usual();
    let cloud = undecryptable();
    let saved = project.path("plan.json").display().to_string();
    project.run(&cloud, &["diff", "--out", &saved]).ends_with(0);
    cloud.forget();
    project.run(&cloud, &["apply", "--yes", &saved]).ends_with(1).complains("the plan for `logger` has changed");
    cloud.world(|world| function(world, "Environment", json!({ "Variables": {} })));
    project.run(&cloud, &["apply", "--yes", &saved]).ends_with(0).says("1 changed");

    let cloud = undecryptable();
    cloud.forget();
    hide_variables_in(&cloud, 1..2);
    project.run(&cloud, &["apply", "--yes"]).ends_with(0).says("1 changed");
    let variables = cloud.world(|world| world.functions[FUNCTION].config["Environment"]["Variables"].clone());
    assert_eq!(variables, json!({ "BY_HAND": "1" }));

    // Readable for the plan, which leaves it unchanged, and unreadable afterwards.
    let cloud = deployed();
    cloud.world(|world| function(world, "Timeout", json!(60)));
    hide_variables_in(&cloud, 2..usize::MAX);
    project.run(&cloud, &["apply", "--yes"]).ends_with(0).says("1 changed");

    // Readable for the plan, which changes it, and unreadable afterwards: then it isn't changed.
    let cloud = deployed();
    cloud.world(|world| function(world, "Environment", json!({ "Variables": { "BY_HAND": "1" } })));
    hide_variables_in(&cloud, 2..usize::MAX);
    let run = project.run(&cloud, &["apply", "--yes"]);
    run.ends_with(1).says("its `environment`, which the plan changes, can no longer be read");
    assert_eq!(super::writes(&cloud), [""; 0]);
}

/// Hides the variables in some calls of GetFunction.
fn hide_variables_in(cloud: &Cloud, calls: std::ops::Range<usize>) {
    let hidden = Cloud::start(World::empty());
    hide_variables(&hidden);
    cloud.fault("GetFunction", calls, hidden.take_fault("GetFunction"));
}

/// A mapping with filters that a customer managed key encrypts: lists omit them.
fn with_encrypted_filters() -> Cloud {
    let cloud = deployed();
    cloud.world(|world| {
        mapping(world, "KMSKeyArn", json!("arn:aws:kms:eu-central-1:123456789012:key/1"));
        mapping(world, "FilterCriteria", insert_only());
    });
    cloud
}

#[test]
fn encrypted_filters_are_read_where_aws_shows_them() {
    let cloud = with_encrypted_filters();
    let filters = "starting_position: TRIM_HORIZON\n    filters: [{ eventName: [INSERT] }]\n    kms_key_arn: \
                   arn:aws:kms:eu-central-1:123456789012:key/1";
    let project = Project::new(|text| replaced(&text, "starting_position: TRIM_HORIZON", filters));
    super::diff_is_empty(&project, &cloud);
    project.edit("starting_position", "batch_size: 7\n    starting_position");
    project.run(&cloud, &["apply", "--yes"]).ends_with(0).says("1 changed");
    super::diff_is_empty(&project, &cloud);
    assert_eq!(cloud.world(|world| world.mappings[0].shown["FilterCriteria"].clone()), insert_only());
    // Without permission for that read, engine leaves them unchanged.
    denied(&cloud, "GetEventSourceMapping");
    project.edit("eventName: [INSERT]", "eventName: [REMOVE]");
    let told = "its `filters` can't be read (you lack permission for GetEventSourceMapping)";
    project.run(&cloud, &["diff"]).ends_with(0).says(told);
}
