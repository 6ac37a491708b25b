//! Error messages: each cause in the catalog, triggered by one of AWS's own responses, with the
//! printed error.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use engine::apply;
use engine::aws::AwsError;
use engine::cause::Code;
use engine::plan::{self, Goal, Options};
use engine::render::{self, OutputStyle, remedy};
use serde_json::{Value as Json, json};

use super::library::{context, load, read, team};
use super::server::{Cloud, Fault};
use super::world::{self, Reply, World, YOUNG};
use super::{FUNCTION, Project, ROLE, TABLE, deployed_world, replaced};

/// How a case is run.
#[derive(Clone, Copy)]
enum RunMode {
    /// The binary with these arguments.
    Binary(&'static [&'static str]),
    /// The binary without credentials, with these environment variables.
    WithoutCredentials(&'static [(&'static str, &'static str)]),
    /// The library on a paused clock, for causes that engine first waits out.
    PausedClock,
}

/// A scenario that leads to one cause.
struct Case {
    code: &'static str,
    edit: fn(String) -> String,
    world: fn() -> World,
    faults: Vec<(&'static str, Range<usize>, Fault)>,
    how: RunMode,
}

const APPLY: RunMode = RunMode::Binary(&["apply", "--yes"]);
const DIFF: RunMode = RunMode::Binary(&["diff"]);
const DESTROY: RunMode = RunMode::Binary(&["destroy", "--yes"]);
const ROLE_TO_ASSUME: &str = "arn:aws:iam::123456789012:role/deployer";
const ALWAYS: Range<usize> = 1..usize::MAX;

/// The codes that no AWS response can lead to, and why.
const UNREACHED: [(&str, &str); 9] = [
    ("mfa-required", "it takes a profile, and the tests of credentials have one"),
    ("mapping-disabled", "`verify` finds it, and its tests show it"),
    ("records-filtered", "`verify` finds it, and its tests show it"),
    ("function-fails", "`verify` finds it, and its tests show it"),
    ("not-logged", "`verify` finds it, and its tests show it"),
    ("not-invoked", "`verify` finds it, and its tests show it"),
    ("nothing-to-change", "AWS's answers with this cause are taken for done; it is there to tell them apart"),
    ("interrupted", "an interrupted step is no error: it is told in a line of its own, and by its code in JSON"),
    ("guarded", "the guard stops what only a defect of the engine can send; its own tests make it do so"),
];

fn same(text: String) -> String {
    text
}

fn function_with(text: &str, line: &str) -> String {
    replaced(text, "    code: ../", &format!("    {line}\n    code: ../"))
}

fn with_code(text: &str, code: &str) -> String {
    let line = text.lines().find(|line| line.starts_with("    code: ../")).unwrap();
    replaced(text, line, &format!("    code: {code}"))
}

fn capacity(text: String) -> String {
    replaced(&text, "read_capacity: 1", "read_capacity: 2")
}

fn memory(text: String) -> String {
    function_with(&text, "memory_size: 5000")
}

/// A role that only EC2 may assume; it is too new for preflight to report an error.
fn closed() -> World {
    let principal = json!({ "Service": "ec2.amazonaws.com" });
    let statement = json!([{ "Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole" }]);
    World {
        trust: Some(json!({ "Version": "2012-10-17", "Statement": statement })),
        roles_created: Some(YOUNG),
        ..World::empty()
    }
}

/// AWS's own texts, as sent over the wire.
#[allow(clippy::too_many_lines)]
fn cases() -> Vec<Case> {
    let case = |code, how, world, edit, operation, calls, fault| Case {
        code,
        edit,
        world,
        faults: vec![(operation, calls, fault)],
        how,
    };
    let new = |code, how, operation, fault| case(code, how, World::empty, same, operation, ALWAYS, fault);
    let with = |code, edit, operation, fault| case(code, APPLY, World::empty, edit, operation, ALWAYS, fault);
    let old = |code, how, edit, operation, fault| case(code, how, deployed_world, edit, operation, ALWAYS, fault);
    let without_credentials = |code, variables| Case {
        code,
        edit: same,
        world: World::empty,
        faults: Vec::new(),
        how: RunMode::WithoutCredentials(variables),
    };
    let lambda = |status, code: &str, text: &str| Fault::Answer(Reply::lambda(status, code, text));
    let invalid = |text: &str| lambda(400, "InvalidParameterValueException", text);
    let table = |code: &str, text: &str| Fault::Answer(Reply::dynamodb(code, text));
    let sts = |status, code: &str, text: &str| Fault::Answer(Reply::query(status, code, text));
    let shows = |body: &Json| Fault::Answer(Reply::ok(body));
    let user = "User: arn:aws:iam::123456789012:user/student is not authorized to perform:";
    vec![
        case(
            "role-not-assumable",
            APPLY,
            closed,
            same,
            "CreateFunction",
            ALWAYS,
            Fault::Answer(world::not_assumable()),
        ),
        new("role-not-assumable", RunMode::PausedClock, "CreateFunction", Fault::Answer(world::not_assumable())),
        new(
            "role-of-other-account",
            APPLY,
            "CreateFunction",
            lambda(403, "AccessDeniedException", "Cross-account pass role is not allowed."),
        ),
        case(
            "role-lacks-right",
            RunMode::PausedClock,
            World::empty,
            |text| function_with(&text, "dead_letter_target_arn: \"arn:aws:sqs:eu-central-1:123456789012:letters\""),
            "CreateFunction",
            ALWAYS,
            invalid("The provided execution role does not have permissions to call SendMessage on SQS"),
        ),
        new(
            "stream-not-readable",
            RunMode::PausedClock,
            "CreateEventSourceMapping",
            Fault::Answer(world::stream_not_readable()),
        ),
        new(
            "visibility-timeout-short",
            APPLY,
            "CreateEventSourceMapping",
            invalid("Queue visibility timeout: 30 seconds is less than Function timeout: 60 seconds"),
        ),
        with(
            "stream-unknown",
            |text| {
                let stream =
                    "arn:aws:dynamodb:eu-central-1:123456789012:table/blue-owls-todos/stream/2020-01-01T00:00:00.000";
                replaced(&text, "event_source_arn: ${todos.stream_arn}", &format!("event_source_arn: \"{stream}\""))
            },
            "CreateEventSourceMapping",
            invalid(
                "Stream not found: arn:aws:dynamodb:eu-central-1:123456789012:table/blue-owls-todos/stream/2020-01-01T00:00:00.000",
            ),
        ),
        case(
            "kms-key-not-usable",
            RunMode::PausedClock,
            World::empty,
            |text| function_with(&text, "environment: { TOKEN: hunter2 }"),
            "CreateFunction",
            ALWAYS,
            invalid(
                "Lambda was unable to configure access to your environment variables because the KMS key is invalid for \
                 CreateGrant. Please check your KMS key settings. KMS Exception: InvalidArnException",
            ),
        ),
        with(
            "kms-key-not-usable",
            |text| {
                let key = "kms_key_arn: \"arn:aws:kms:eu-central-1:123456789012:key/a1\"";
                replaced(&text, "    read_capacity: 1", &format!("    {key}\n    read_capacity: 1"))
            },
            "CreateTable",
            table(
                "ValidationException",
                "KMS validation error: the key arn:aws:kms:eu-central-1:123456789012:key/a1 is disabled",
            ),
        ),
        case(
            "lookup-unusable",
            APPLY,
            World::empty,
            |text| {
                let text = function_with(&text, "environment: { TABLE: \"${lookup.table}\" }");
                replaced(&text, "resources:\n", "lookups: { table: { cfn_output: shop.TableName } }\nresources:\n")
            },
            "DescribeStacks",
            ALWAYS,
            Fault::Answer(Reply::raw(
                200,
                "<R><DescribeStacksResult><Stacks><member><StackStatus>UPDATE_IN_PROGRESS</StackStatus></member></Stacks>\
                 </DescribeStacksResult></R>",
            )),
        ),
        new(
            "principal-unknown",
            APPLY,
            "AddPermission",
            invalid("The provided principal was invalid. Please check the principal and try again."),
        ),
        new(
            "access-denied",
            APPLY,
            "CreateFunction",
            lambda(
                403,
                "AccessDeniedException",
                &format!(
                    "{user} iam:PassRole on resource: arn:aws:iam::123456789012:role/{ROLE} because no identity-based \
                     policy allows the iam:PassRole action"
                ),
            ),
        ),
        new(
            "explicit-deny",
            APPLY,
            "CreateTable",
            table(
                "AccessDeniedException",
                &format!(
                    "{user} dynamodb:CreateTable on resource: \
                     arn:aws:dynamodb:eu-central-1:123456789012:table/blue-owls-todos with an explicit deny in a service \
                     control policy"
                ),
            ),
        ),
        without_credentials("no-credentials", &[]),
        without_credentials(
            "credentials-not-fetched",
            &[("AWS_WEB_IDENTITY_TOKEN_FILE", "no/token"), ("AWS_ROLE_ARN", ROLE_TO_ASSUME)],
        ),
        without_credentials("profile-unknown", &[("AWS_PROFILE", "blue-owl")]),
        without_credentials("setting-malformed", &[("AWS_ACCESS_KEY_ID", "AKIA\n"), ("AWS_SECRET_ACCESS_KEY", "any")]),
        without_credentials(
            "ca-bundle-unusable",
            &[("AWS_CA_BUNDLE", "no/ca.pem"), ("AWS_ACCESS_KEY_ID", "AKIA"), ("AWS_SECRET_ACCESS_KEY", "any")],
        ),
        new(
            "credentials-expired",
            DIFF,
            "GetCallerIdentity",
            sts(403, "ExpiredToken", "The security token included in the request is expired"),
        ),
        new(
            "credentials-refused",
            DIFF,
            "GetCallerIdentity",
            sts(403, "InvalidClientTokenId", "The security token included in the request is invalid."),
        ),
        new(
            "clock-wrong",
            DIFF,
            "GetCallerIdentity",
            sts(
                403,
                "SignatureDoesNotMatch",
                "Signature expired: 20251101T090000Z is now earlier than 20251101T091500Z (20251101T092000Z - 5 min.)",
            ),
        ),
        new(
            "other-region",
            APPLY,
            "AddPermission",
            lambda(
                404,
                "ResourceNotFoundException",
                "Functions from 'us-east-1' are not reachable in this region ('eu-central-1')",
            ),
        ),
        with(
            "other-region",
            |text| function_with(&text, "layers: [\"arn:aws:lambda:eu-central-1:123456789012:layer:tools:1\"]"),
            "CreateFunction",
            invalid(
                "Layers are not in the same region as the function. Layers are expected to be in region eu-central-1.",
            ),
        ),
        Case {
            code: "other-account",
            edit: |text| replaced(&text, "# account: \"123456789012\"", "account: \"999999999999\""),
            world: World::empty,
            faults: Vec::new(),
            how: DIFF,
        },
        Case {
            code: "region-not-usable",
            edit: |text| replaced(&text, "region: eu-central-1\n", ""),
            world: World::empty,
            faults: Vec::new(),
            how: DIFF,
        },
        new(
            "service-not-enabled",
            APPLY,
            "CreateFunction",
            lambda(403, "SubscriptionRequiredException", "The AWS Access Key Id needs a subscription for the service"),
        ),
        new(
            "service-not-enabled",
            DIFF,
            "GetCallerIdentity",
            sts(
                403,
                "RegionDisabledException",
                "STS is not activated in this region for account:123456789012. Your account administrator can activate \
                 STS in this region using the IAM Console.",
            ),
        ),
        new(
            "access-denied",
            DIFF,
            "GetFunction",
            lambda(403, "AccessDeniedException", "The caller lacks a permission"),
        ),
        new("no-answer", DIFF, "GetCallerIdentity", Fault::Cut),
        Case { code: "out-of-reach", edit: same, world: World::empty, faults: Vec::new(), how: RunMode::PausedClock },
        new("not-aws", DIFF, "GetCallerIdentity", Fault::Answer(Reply::raw(200, "<html>Please sign in</html>"))),
        new("not-aws", APPLY, "CreateTable", Fault::Answer(Reply::raw(405, "<html>Method Not Allowed</html>"))),
        new(
            "aws-fault",
            RunMode::PausedClock,
            "CreateTable",
            Fault::Answer(Reply::of(
                "CreateTable",
                500,
                "InternalServerError",
                "The request processing has failed because of an unknown error, exception or failure.",
            )),
        ),
        new(
            "throttled",
            RunMode::PausedClock,
            "CreateTable",
            table("ThrottlingException", "The rate of control plane requests made by this account is too high"),
        ),
        new(
            "busy",
            RunMode::PausedClock,
            "AddPermission",
            lambda(
                409,
                "ResourceConflictException",
                "The operation cannot be performed at this time. An update is in progress for resource: X",
            ),
        ),
        new(
            "being-deleted",
            RunMode::PausedClock,
            "CreateTable",
            table("ResourceInUseException", "Table is being deleted: blue-owls-todos"),
        ),
        case(
            "wait-overdue",
            RunMode::PausedClock,
            World::empty,
            same,
            "DescribeTable",
            2..usize::MAX,
            shows(&json!({ "Table": { "TableName": TABLE, "TableStatus": "CREATING" } })),
        ),
        Case { code: "name-taken", edit: same, world: World::empty, faults: Vec::new(), how: RunMode::PausedClock },
        old(
            "not-found",
            APPLY,
            memory,
            "UpdateFunctionConfiguration",
            lambda(
                404,
                "ResourceNotFoundException",
                "Function not found: arn:aws:lambda:eu-central-1:123456789012:function:blue-owls-logger",
            ),
        ),
        old(
            "changed-meanwhile",
            APPLY,
            memory,
            "UpdateFunctionConfiguration",
            lambda(
                412,
                "PreconditionFailedException",
                "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to \
                 retrieve the latest Revision Id",
            ),
        ),
        case(
            "table-not-empty",
            DESTROY,
            deployed_world,
            same,
            "Scan",
            2..usize::MAX,
            shows(&json!({ "Count": 1, "ScannedCount": 1, "Items": [{ "id": { "S": "a" } }] })),
        ),
        case(
            "queue-not-empty",
            DESTROY,
            || {
                let mut world = deployed_world();
                let tags = [("engine:team", "blue-owls"), ("engine:stack", "team"), ("engine:resource", "jobs")];
                world.add_queue("blue-owls-jobs", tags.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
                world
            },
            |text| replaced(&text, "resources:\n", "resources:\n  jobs: { type: queue }\n"),
            "GetQueueAttributes",
            4..usize::MAX,
            shows(&json!({ "Attributes": {
                "ApproximateNumberOfMessages": "1",
                "ApproximateNumberOfMessagesNotVisible": "0",
                "ApproximateNumberOfMessagesDelayed": "0",
            } })),
        ),
        Case {
            code: "role-in-use",
            edit: |text| {
                let role = "  runner: { type: role, trusted_services: [ec2.amazonaws.com] }\n";
                replaced(&text, "resources:\n", &format!("resources:\n{role}"))
            },
            world: || {
                let mut world = deployed_world();
                let tags = [("engine:team", "blue-owls"), ("engine:stack", "team"), ("engine:resource", "runner")];
                let tags = tags.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
                world.add_role("blue-owls-runner", tags);
                world
            },
            faults: Vec::new(),
            how: DESTROY,
        },
        old(
            "deletion-protected",
            DESTROY,
            same,
            "DeleteTable",
            table(
                "ValidationException",
                "Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection \
                 first.",
            ),
        ),
        old(
            "ttl-too-soon",
            APPLY,
            |text| replaced(&text, "    read_capacity: 1", "    ttl_attribute: until\n    read_capacity: 1"),
            "UpdateTimeToLive",
            table("ValidationException", "Time to live has been modified multiple times within a fixed interval"),
        ),
        old(
            "changed-too-often",
            APPLY,
            capacity,
            "UpdateTable",
            table(
                "LimitExceededException",
                "Subscriber limit exceeded: Provisioned throughput decreases are limited within a given UTC day. After \
                 the first 4 decreases, each subsequent decrease in the same UTC day can be performed at most once every \
                 3600 seconds.",
            ),
        ),
        new(
            "table-quota",
            APPLY,
            "CreateTable",
            table(
                "LimitExceededException",
                "Subscriber limit exceeded: There is a limit of 2500 tables per subscriber",
            ),
        ),
        new(
            "index-quota",
            APPLY,
            "CreateTable",
            table(
                "ValidationException",
                "One or more parameter values were invalid: GlobalSecondaryIndex count exceeds the per-table limit of 20",
            ),
        ),
        new(
            "index-quota",
            APPLY,
            "CreateTable",
            table(
                "ValidationException",
                "One or more parameter values were invalid: Number of LocalSecondaryIndexes exceeds per-table limit of 5",
            ),
        ),
        with(
            "concurrency-quota",
            |text| function_with(&text, "reserved_concurrent_executions: 50"),
            "PutFunctionConcurrency",
            invalid(
                "Specified ReservedConcurrentExecutions for function decreases account's \
                 UnreservedConcurrentExecution below its minimum value of [100].",
            ),
        ),
        new(
            "quota-reached",
            APPLY,
            "CreateFunction",
            lambda(402, "ServiceQuotaExceededException", "The request would exceed a service quota"),
        ),
        new(
            "code-storage-full",
            APPLY,
            "CreateFunction",
            lambda(400, "CodeStorageExceededException", "Code storage limit exceeded."),
        ),
        new("code-too-large", APPLY, "CreateFunction", invalid("Unzipped size must be smaller than 262144000 bytes")),
        new(
            "code-unreadable",
            APPLY,
            "CreateFunction",
            lambda(
                400,
                "InvalidZipFileException",
                "Could not unzip uploaded file. Please check your file, then try to upload again.",
            ),
        ),
        with(
            "environment-too-large",
            |text| function_with(&text, "environment: { TOKEN: hunter2 } # not hunter3"),
            "CreateFunction",
            invalid(
                "Lambda was unable to configure your environment variables because the environment variables you have \
                 provided exceeded the 4KB limit. String measured: {\"TOKEN\":\"hunter2\"}",
            ),
        ),
        new(
            "runtime-not-supported",
            APPLY,
            "CreateFunction",
            invalid(
                "The runtime parameter of nodejs22.x is no longer supported for creating or updating AWS Lambda \
                 functions. We recommend you use a supported runtime while creating or updating functions.",
            ),
        ),
        new(
            "handler-invalid",
            APPLY,
            "CreateFunction",
            lambda(
                400,
                "ValidationException",
                "1 validation error detected: Value 'index.handler' at 'handler' failed to satisfy constraint: Member \
                 must satisfy regular expression pattern: [^\\s]+",
            ),
        ),
        with(
            "memory-not-allowed",
            memory,
            "CreateFunction",
            invalid(
                "'MemorySize' value failed to satisfy constraint: Member must have value less than or equal to 3008",
            ),
        ),
        with(
            "layer-not-usable",
            |text| function_with(&text, "layers: [\"arn:aws:lambda:eu-central-1:123456789012:layer:tools:1\"]"),
            "CreateFunction",
            invalid("Layer version arn:aws:lambda:eu-central-1:123456789012:layer:tools:1 does not exist."),
        ),
        with(
            "network-not-usable",
            |text| function_with(&text, "vpc: { subnet_ids: [subnet-1], security_group_ids: [sg-1] }"),
            "CreateFunction",
            invalid(
                "Error occurred while DescribeSubnets. EC2 Error Code: InvalidSubnetID.NotFound. EC2 Error Message: \
                 The subnet ID 'subnet-1' does not exist",
            ),
        ),
        with(
            "code-object-not-usable",
            |text| with_code(&text, "{ s3: { bucket: deploys, key: app.zip } }"),
            "CreateFunction",
            invalid(
                "Error occurred while GetObject. S3 Error Code: NoSuchKey. S3 Error Message: The specified key does not \
                 exist.",
            ),
        ),
        with(
            "image-not-usable",
            |text| {
                let text = with_code(&text, "{ image: 123456789012.dkr.ecr.eu-central-1.amazonaws.com/app:1 }");
                replaced(&replaced(&text, "    runtime: nodejs22.x\n", ""), "    handler: index.handler\n", "")
            },
            "CreateFunction",
            invalid(
                "Source image 123456789012.dkr.ecr.eu-central-1.amazonaws.com/app:1 does not exist. Provide a valid \
                 source image.",
            ),
        ),
        with(
            "code-not-signed",
            |text| {
                let config = "arn:aws:lambda:eu-central-1:123456789012:code-signing-config:csc-0123456789abcdef0";
                let text = with_code(&text, "{ s3: { bucket: deploys, key: app.zip } }");
                replaced(&text, "    code: {", &format!("    code_signing_config_arn: {config}\n    code: {{"))
            },
            "CreateFunction",
            lambda(
                400,
                "CodeVerificationFailedException",
                "Lambda cannot deploy the function. The function or layer might be signed using a signature that the \
                 client is not configured to accept.",
            ),
        ),
        new(
            "policy-too-large",
            APPLY,
            "AddPermission",
            lambda(
                400,
                "PolicyLengthExceededException",
                "The final policy size (20562) is bigger than the limit (20480).",
            ),
        ),
        with(
            "filter-invalid",
            |text| text + "    filters: [{ eventName: [INSERT] }]\n",
            "CreateEventSourceMapping",
            invalid("Invalid filter pattern definition."),
        ),
        old(
            "function-replicated",
            DESTROY,
            same,
            "DeleteFunction",
            invalid(
                "Lambda was unable to delete arn:aws:lambda:us-east-1:123456789012:function:blue-owls-logger:1 because it \
                 is a replicated function. Please see our documentation for Deleting Lambda@Edge Functions and Replicas.",
            ),
        ),
        case(
            "function-failed",
            APPLY,
            World::empty,
            same,
            "GetFunction",
            2..usize::MAX,
            shows(&json!({ "Configuration": {
                "FunctionName": FUNCTION, "State": "Failed", "StateReasonCode": "InternalError",
                "StateReason": "The function failed to be created due to an internal error.",
            } })),
        ),
        case(
            "not-as-asked",
            RunMode::PausedClock,
            deployed_world,
            capacity,
            "UpdateTable",
            ALWAYS,
            shows(&json!({ "TableDescription": { "TableName": TABLE, "TableStatus": "UPDATING" } })),
        ),
        new(
            "invalid-value",
            APPLY,
            "CreateFunction",
            lambda(
                400,
                "ValidationException",
                "1 validation error detected: Value 'nodejs' at 'role' failed to satisfy constraint: Member must satisfy \
                 regular expression pattern: arn:(aws[a-zA-Z-]*)?:iam::\\d{12}:role/?[a-zA-Z_0-9+=,.@\\-_/]+",
            ),
        ),
        new(
            "rejected",
            APPLY,
            "CreateFunction",
            lambda(400, "SnapStartException", "The afterRestore() runtime hook encountered an error."),
        ),
        old("unexpected-answer", DIFF, same, "GetPolicy", shows(&json!({ "Policy": "{ no JSON" }))),
        new(
            "defect",
            APPLY,
            "CreateFunction",
            Fault::DoneButAnswer(Reply::ok(&json!({
                "FunctionName": FUNCTION,
                "FunctionArn": "arn:aws:lambda:eu-central-1:123456789012:function:another",
            }))),
        ),
    ]
}

/// Runs a case and returns its output from the first error on.
fn play(case: &Case) -> String {
    let project = Project::new(case.edit);
    let set = |cloud: &Cloud| {
        for (operation, calls, fault) in &case.faults {
            cloud.fault(operation, calls.clone(), fault.clone());
        }
        match case.code {
            "out-of-reach" => cloud.before("CreateTable", 1, |world| {
                world.go_dark(tokio::time::Duration::from_secs(100_000));
            }),
            "name-taken" => cloud.before("CreateTable", 1, |world| {
                world.tables.clone_from(&deployed_world().tables);
                world.tables.get_mut(TABLE).unwrap().tags.insert("engine:team".into(), "red-foxes".into());
            }),
            // After the plan.
            "role-in-use" => cloud.before("ListInstanceProfilesForRole", 2, |world| {
                world.roles.get_mut("blue-owls-runner").unwrap().profiles.push("web".to_owned());
            }),
            _ => {}
        }
    };
    let printed = match case.how {
        RunMode::PausedClock => {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().start_paused(true).build().unwrap();
            runtime.block_on(async {
                let cloud = Cloud::on_current_runtime((case.world)()).await;
                set(&cloud);
                apply_on_paused_clock(&cloud, &project).await
            })
        }
        RunMode::Binary(args) => {
            let cloud = Cloud::start((case.world)());
            set(&cloud);
            let run = project.run(&cloud, args);
            assert!(matches!(run.code(), Some(1 | 3)), "{}: {:?}\n{}{}", case.code, run.code(), run.out, run.err);
            format!("{}{}", run.out, run.err).replace(&cloud.url, "http://ADDRESS")
        }
        RunMode::WithoutCredentials(variables) => {
            let mut command = project.command(&["diff"]);
            command.envs(variables.iter().copied());
            let run = command.run();
            format!("{}{}", run.out, run.err)
        }
    };
    let folder = project.path("").display().to_string();
    let printed = printed.replace(&folder, "");
    let at = printed.find("\nerror").map_or(0, |at| at + 1);
    let end = printed[at..].find(" incomplete: ").map_or(printed.len(), |end| at + end);
    printed[at..end].trim_end_matches(char::is_alphabetic).to_owned()
}

/// Runs an apply and renders its result for a terminal of 80 columns.
async fn apply_on_paused_clock(cloud: &Cloud, project: &Project) -> String {
    let mut spec = load(&project.path("specs/team.yaml"));
    let (cx, _press) = context(cloud, team());
    let inventory = read(&cx, &mut spec).await.unwrap();
    let plan = plan::plan(&spec, &inventory, Goal::Present, &Options::default());
    let outcome = apply::apply(&cx, &spec, &inventory, &plan, 16, &mut |_| {}).await;
    render::outcome(&spec, &plan, &outcome.endings, false, OutputStyle { color: false, width: 80, plain: false })
}

/// How many cases run at the same time.
const STAGES: usize = 3;

#[test]
fn each_cause_shows_its_location_reason_and_next_step() {
    let cases = cases();
    let next = AtomicUsize::new(0);
    let told: Mutex<BTreeMap<usize, String>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..STAGES {
            scope.spawn(|| {
                while let Some((at, case)) = {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    cases.get(at).map(|case| (at, case))
                } {
                    let printed = play(case);
                    told.lock().unwrap_or_else(PoisonError::into_inner).insert(at, printed);
                }
            });
        }
    });
    let told = told.into_inner().unwrap();
    let all: Vec<String> = told.values().map(|text| text.trim_end().to_owned()).collect();
    insta::assert_snapshot!("causes", all.join("\n\n------\n\n"));
    for (case, text) in cases.iter().zip(&all) {
        let code = case.code;
        assert!(text.starts_with(&format!("error[{code}]: ")), "{code}: {text}");
        assert_eq!(text.matches("error[").count(), 1, "one cause is one error: {text}");
        assert_eq!(text.matches(&format!("`engine explain {code}`")).count(), 1, "{code}: {text}");
        assert!(text.contains("= why: ") && text.contains("= hint: "), "{code}: {text}");
        // Each error contains the catalog's title, so AWS's text is never its only explanation.
        let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains(Code::named(code).unwrap().entry().title), "{code}: {text}");
        assert!(!text.contains("hunter"), "{code}: {text}");
        assert!(
            text.lines()
                .all(|line| line.chars().count() <= 80 || line.starts_with("error[") || !line.trim().contains(' '))
        );
    }
}

#[test]
fn every_code_has_a_case_or_a_reason_why_not() {
    let reached: BTreeSet<&str> = cases().iter().map(|case| case.code).collect();
    for code in Code::ALL {
        let reason = UNREACHED.iter().find(|(name, _)| *name == code.name());
        assert_eq!(reached.contains(code.name()), reason.is_none(), "{}", code.name());
    }
    assert_eq!(reached.len() + UNREACHED.len(), Code::ALL.len(), "a case or a reason for no code");
}

/// Scripts rely on codes, so this list only grows.
#[test]
fn codes_keep_their_names() {
    let names: Vec<&str> = Code::ALL.iter().map(|code| code.name()).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "a name is used twice");
    let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    assert!(names.iter().all(|name| is_name(name)), "{names:?}");
    insta::assert_snapshot!("codes", names.join("\n"));
}

#[test]
fn explain_shows_the_meaning_reason_and_next_step_of_each_code() {
    let project = Project::usual();
    let listed = project.command(&["explain"]).run();
    let kinds = engine::kinds::all();
    let properties: BTreeSet<&str> =
        kinds.schemas().flat_map(|schema| &schema.properties).map(|property| &*property.name).collect();
    for code in Code::ALL {
        let entry = code.entry();
        listed.says(&format!("{} {}", code.name(), entry.title));
        let run = project.command(&["explain", code.name()]).run();
        run.ends_with(0).says(entry.title).says(entry.why).says(entry.next).says(entry.more);
        let n_sentences = 2 + entry.more.matches(". ").count() + usize::from(entry.more.ends_with('.'));
        assert!(n_sentences >= 3, "{}: {n_sentences}", run.out);
        let names_a_command = ["`engine ", "`aws ", "`timedatectl "].iter().any(|it| entry.next.contains(it));
        assert!(names_a_command, "{} names no command: {}", code.name(), entry.next);
        for text in [entry.title, entry.why, entry.next] {
            assert!(!text.ends_with('.') && !text.contains("  "), "{text}");
        }
        for name in entry.blames {
            assert!(properties.contains(name) || ["name", "statement_id"].contains(name), "{name} is no property");
        }
        for command in entry.next.split('`').chain(entry.more.split('`')).filter(|it| it.starts_with("engine explain"))
        {
            let what = command.trim_start_matches("engine explain ").replace("TYPE", "table");
            project.command(&["explain", &what]).run().ends_with(0);
        }
    }
}

#[test]
fn a_mistyped_code_gets_a_suggestion() {
    let project = Project::usual();
    for (what, near) in
        [("role-not-asumable", "role-not-assumable"), ("acces-denied", "access-denied"), ("tabel", "table")]
    {
        let run = project.command(&["explain", what]).run();
        run.ends_with(64).complains(&format!("did you mean `{near}`?"));
    }
}

#[test]
fn explain_shows_that_streams_need_no_permission_for_dynamodb() {
    let project = Project::usual();
    let run = project.command(&["explain", "permission"]).run();
    run.ends_with(0)
        .says("DynamoDB doesn't: Lambda polls the stream with the")
        .says("because its task requires one; it has no effect")
        .says("you can remove it");
}

#[test]
fn json_output_contains_the_code_of_a_failure() {
    let cloud = Cloud::start(closed());
    cloud.always("CreateFunction", Fault::Answer(world::not_assumable()));
    let run = Project::usual().run(&cloud, &["apply", "--yes", "--format", "json"]);
    run.ends_with(3);
    let document: Json = serde_json::from_str(&run.out).unwrap();
    let steps = document["steps"].as_array().unwrap();
    let failed: Vec<&Json> = steps.iter().filter(|step| step["result"] == "failed").collect();
    let [failed] = failed[..] else { panic!("{steps:?}") };
    assert_eq!(failed["code"], "role-not-assumable");
    assert!(failed["hint"].as_str().unwrap().contains("aws iam update-assume-role-policy"), "{failed}");
    assert!(steps.iter().all(|step| step["code"].is_null() == (step["result"] != "failed")), "{steps:?}");
}

/// For a failed step and for a failed read.
#[test]
fn json_logs_contain_the_code_of_a_failure() {
    for (operation, args) in [("CreateFunction", ["apply", "--yes"]), ("GetFunction", ["diff", "--show-unchanged"])] {
        let cloud = Cloud::start(World::empty());
        let text = "User: x is not authorized to perform: lambda:any";
        cloud.always(operation, Fault::Answer(Reply::lambda(403, "AccessDeniedException", text)));
        let run = Project::usual().run(&cloud, &[args[0], args[1], "--log-format", "json"]);
        let lines = run.err.lines().map(|line| serde_json::from_str::<Json>(line).unwrap());
        let lines = lines.filter(|line| line["level"] != "INFO");
        let [line] = &lines.collect::<Vec<_>>()[..] else { panic!("{}", run.err) };
        assert_eq!(line["level"], "ERROR");
        let fields = &line["fields"];
        assert_eq!((&fields["code"], &fields["file"]), (&json!("access-denied"), &json!("specs/team.yaml")), "{line}");
        assert!(fields["line"].is_u64() && fields["hint"].as_str().unwrap().contains("`lambda:any`"), "{line}");
        assert!(fields["said"].as_str().unwrap().contains(text), "{line}");
    }
}

/// An error is complete whatever part of AWS's response is missing.
#[test]
fn every_cause_has_a_problem_a_reason_and_a_hint() {
    for cause in Code::ALL {
        for (code, message) in [(None, "it is so"), (Some("AnyException"), "any text"), (Some(""), "")] {
            let error = AwsError {
                code: code.map(Into::into),
                ..AwsError::own(*cause, "CreateTable", "blue-owls-todos", message)
            };
            let entry = cause.entry();
            let diagnostic = error.diagnostic("create `todos`").worded(remedy::text);
            assert_eq!(diagnostic.problem, format!("create `todos`: {}", entry.title));
            assert_eq!(diagnostic.code(), Some(cause.name()));
            assert!(diagnostic.hints.iter().all(|hint| hint.len() > 20) && diagnostic.hints.len() == 1, "{cause:?}");
            assert_eq!(diagnostic.aws_text().is_some(), code.is_some(), "{cause:?}");
            assert!(diagnostic.why.is_some_and(|why| why.contains(entry.why)), "{cause:?}");
        }
    }
}
