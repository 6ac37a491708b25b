//! The scenarios that faults are injected into: each is one change of the whole pipeline.

use std::io::Write as _;

use aws_sdk_dynamodb::types::StreamViewType;
use aws_sdk_lambda::types::Environment;

use crate::case::Case;

pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// Creates the initial state of the account, and writes the spec.
    pub(crate) prepare: fn(&Case<'_>),
    /// The command; `SPEC` is replaced by the path of the spec.
    pub(crate) command: &'static [&'static str],
    /// The command that must report no changes afterwards.
    pub(crate) check: &'static [&'static str],
}

const APPLY: &[&str] = &["apply", "SPEC", "--yes", "--delete-data"];
const DIFF: &[&str] = &["diff", "SPEC", "--detailed-exitcode", "--prune-scan"];
const DESTROY: &[&str] = &["destroy", "SPEC", "--yes", "--delete-data"];
const DESTROYED: &[&str] = &["diff", "SPEC", "--destroy", "--detailed-exitcode"];

const TABLE: &str = "blue-owls-todos";
const FUNCTION: &str = "blue-owls-logger";

pub(crate) static SCENARIOS: [Scenario; 18] = [
    Scenario { name: "create", prepare: create, command: APPLY, check: DIFF },
    Scenario {
        name: "rehearse",
        prepare: rehearse,
        command: &["apply", "SPEC", "--local"],
        check: &["diff", "SPEC", "--detailed-exitcode", "--local"],
    },
    Scenario { name: "queues", prepare: queues, command: APPLY, check: DIFF },
    Scenario { name: "queues-update", prepare: queues_update, command: APPLY, check: DIFF },
    Scenario { name: "queues-type", prepare: queues_type, command: APPLY, check: DIFF },
    Scenario { name: "roles", prepare: roles, command: APPLY, check: DIFF },
    Scenario { name: "roles-update", prepare: roles_update, command: APPLY, check: DIFF },
    Scenario { name: "roles-rename", prepare: roles_rename, command: APPLY, check: DIFF },
    Scenario { name: "roles-destroy", prepare: roles_destroy, command: DESTROY, check: DESTROYED },
    Scenario { name: "update", prepare: update, command: APPLY, check: DIFF },
    Scenario { name: "extend", prepare: extend, command: APPLY, check: DIFF },
    Scenario { name: "reduce", prepare: reduce, command: APPLY, check: DIFF },
    Scenario { name: "setting", prepare: setting, command: APPLY, check: DIFF },
    Scenario { name: "replace", prepare: replace, command: APPLY, check: DIFF },
    Scenario { name: "adopt", prepare: adopt, command: APPLY, check: DIFF },
    Scenario { name: "rename", prepare: rename, command: APPLY, check: DIFF },
    Scenario { name: "prune", prepare: prune, command: APPLY, check: DIFF },
    Scenario { name: "destroy", prepare: destroy, command: DESTROY, check: DESTROYED },
];

/// The spec of the repository, with each `from` replaced by its `to`.
fn spec(case: &Case<'_>, edits: &[(&str, &str)]) -> String {
    edited(case.lab.project.read("specs/team.yaml").replace("team: blue-owls ", "stack: team\nteam: blue-owls "), edits)
}

/// The text with each `from` replaced by its `to`, once.
fn edited(mut text: String, edits: &[(&str, &str)]) -> String {
    for (from, to) in edits {
        assert!(text.contains(from), "`{from}` is not in the spec");
        text = text.replacen(from, to, 1);
    }
    text
}

/// Deploys the pipeline and puts an item into its table.
fn deploy(case: &Case<'_>, text: &str) {
    case.declare(text);
    case.engine(&["apply", &case.spec()]).expect(0, &["Apply complete!"]);
    case.aws.put_item(TABLE, "7", "buy milk");
}

/// Nothing exists, and the spec also has properties that need their own API call.
fn create(case: &Case<'_>) {
    case.declare(&spec(
        case,
        &[
            (
                "write_capacity: 1\n",
                "write_capacity: 1\n    ttl_attribute: expires\n    point_in_time_recovery: true\n    \
                 tags: { course: cloud }\n",
            ),
            (
                "handler: index.handler\n",
                "handler: index.handler\n    reserved_concurrent_executions: 5\n    async: { maximum_retry_attempts: 1 }\n    \
                 url: { auth_type: NONE }\n    \
                 tags: { course: cloud }\n",
            ),
        ],
    ));
}

/// The same with `--local`, without the properties that need their own API call.
fn rehearse(case: &Case<'_>) {
    case.declare(&spec(case, &[("# account: \"123456789012\" ", &format!("account: \"{}\" ", case.aws.id))]));
}

/// A queue with its dead-letter queue, without the rest of the pipeline.
const QUEUES: &str = "stack: team
team: blue-owls
region: eu-central-1
resources:
  dead: { type: queue, message_retention_seconds: 1209600, tags: { course: cloud } }
  jobs:
    type: queue
    visibility_timeout_seconds: 60
    redrive_policy: { dead_letter_target_arn: \"${dead.arn}\", max_receive_count: 5 }
";

/// Nothing exists but what the spec doesn't declare.
fn queues(case: &Case<'_>) {
    case.declare(QUEUES);
}

/// Deploys the queues.
fn deploy_queues(case: &Case<'_>) {
    case.declare(QUEUES);
    case.engine(&["apply", &case.spec()]).expect(0, &["Apply complete!"]);
}

/// Changes attributes and tags, and removes a document.
fn queues_update(case: &Case<'_>) {
    deploy_queues(case);
    let (before, _) = QUEUES.split_once("    redrive_policy").unwrap();
    let text = before.replace("1209600", "600").replace("course: cloud", "course: rust, more: \"yes\"");
    case.declare(&format!("{text}    delay_seconds: 3\n    tags: {{ course: cloud }}\n"));
}

/// Both queues become FIFO, so each is replaced by one with another name.
fn queues_type(case: &Case<'_>) {
    deploy_queues(case);
    case.declare(
        &QUEUES
            .replace("type: queue,", "type: queue, fifo_queue: true,")
            .replace("type: queue\n", "type: queue\n    fifo_queue: true\n"),
    );
}

/// A function whose role and log group engine creates, and a role and a log group of the spec.
/// Nothing invokes the function, since Lambda would create its log group at any time.
const ROLES: &str = "stack: team
team: blue-owls
region: eu-central-1
resources:
  audit: { type: log_group, retention_in_days: 14, tags: { course: cloud } }
  logger:
    type: function
    runtime: nodejs22.x
    handler: index.handler
    access: { audit: write }
    log_retention_in_days: 14
    code: ../lambda-src/log-events
  runner:
    type: role
    description: starts the logger
    trusted_services: [states.amazonaws.com]
    access: { logger: invoke }
    statements: [{ actions: [s3:GetObject], resources: [\"*\"] }]
    managed_policy_arns:
      - arn:aws:iam::aws:policy/ReadOnlyAccess
      - arn:aws:iam::aws:policy/IAMReadOnlyAccess
    permissions_boundary: arn:aws:iam::aws:policy/PowerUserAccess
    tags: { course: cloud }
  helper:
    type: role
    trusted_services: [events.amazonaws.com]
    permissions_boundary: arn:aws:iam::aws:policy/ReadOnlyAccess
";

/// Nothing exists but what the spec doesn't declare.
fn roles(case: &Case<'_>) {
    case.declare(ROLES);
}

/// Deploys the roles and log groups, and adds an inline policy by hand.
fn deploy_roles(case: &Case<'_>) {
    case.declare(ROLES);
    case.engine(&["apply", &case.spec()]).expect(0, &["Apply complete!"]);
    let document = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ses:*","Resource":"*"}]}"#;
    let policy = case.aws.iam.put_role_policy().role_name("blue-owls-runner").policy_name("by-hand");
    case.aws.wait(policy.policy_document(document).send());
}

/// Changes every property of both roles and both log groups that can change.
fn roles_update(case: &Case<'_>) {
    deploy_roles(case);
    let edits = [
        ("retention_in_days: 14, tags: { course: cloud }", "tags: { course: rust, more: \"yes\" }"),
        ("    permissions_boundary: arn:aws:iam::aws:policy/ReadOnlyAccess\n", ""),
        ("access: { audit: write }", "access: { audit: [write, \"logs:DescribeLogStreams\"] }"),
        ("log_retention_in_days: 14", "log_retention_in_days: 7"),
        ("starts the logger", "starts it\n    max_session_duration: 7200"),
        ("[states.amazonaws.com]", "[states.amazonaws.com, events.amazonaws.com]"),
        ("[s3:GetObject]", "[s3:PutObject]"),
        ("policy/ReadOnlyAccess", "policy/AmazonSQSFullAccess"),
        ("policy/PowerUserAccess", "policy/AdministratorAccess"),
        ("    tags: { course: cloud }\n", "    tags: { course: rust, more: \"yes\" }\n"),
    ];
    case.declare(&edited(ROLES.to_owned(), &edits));
}

/// Every resource is renamed in the spec, and only the function's own role gets another name in
/// AWS.
fn roles_rename(case: &Case<'_>) {
    deploy_roles(case);
    let edits = [
        ("  audit: {", "  trail: { name: blue-owls-audit,"),
        ("  logger:\n", "  writer:\n    name: blue-owls-logger\n"),
        ("{ audit: write }", "{ trail: write }"),
        ("  runner:\n", "  starter:\n    name: blue-owls-runner\n"),
        ("{ logger: invoke }", "{ writer: invoke }"),
    ];
    case.declare(&edited(ROLES.to_owned(), &edits));
}

/// The roles and log groups are deployed, then destroyed.
fn roles_destroy(case: &Case<'_>) {
    deploy_roles(case);
}

/// Changes capacity, tags, TTL and recovery of the table; code, configuration, tags, concurrency and
/// asynchronous invocations of the function; the permission, which must be re-created; and settings of the mapping.
fn update(case: &Case<'_>) {
    deploy(case, &spec(case, &[]));
    case.declare(&spec(
        case,
        &[
            (
                "read_capacity: 1\n    write_capacity: 1\n",
                "read_capacity: 2\n    write_capacity: 3\n    ttl_attribute: expires\n    \
                 point_in_time_recovery: true\n    deletion_protection: true\n    tags: { course: cloud }\n",
            ),
            (
                "handler: index.handler\n",
                "handler: index.handler\n    memory_size: 256\n    timeout: 10\n    environment: { LEVEL: debug }\n    \
                 reserved_concurrent_executions: 5\n    async: { maximum_retry_attempts: 1 }\n    \
                 url: { auth_type: NONE }\n    \
                 tags: { course: cloud }\n",
            ),
            ("../lambda-src/log-events", "../lambda-src/second"),
            ("source_arn: ${todos.stream_arn}\n", "source_arn: ${todos.stream_arn}\n    source_account: ${account}\n"),
            ("TRIM_HORIZON\n", "TRIM_HORIZON\n    batch_size: 7\n    tags: { course: cloud }\n"),
        ],
    ));
}

/// A table that pays for each request, and a function with every setting that has its own API call
/// or that depends on other resources, and the queues that these are.
const SETTINGS: &str = "stack: team
team: blue-owls
region: eu-central-1
resources:
  role: { type: role, import: fhms-pulumi-challenge-lambda-execution-role }
  failed: { type: queue }
  done: { type: queue }
  todos:
    type: table
    attributes: { id: S, day: S }
    hash_key: id
    billing_mode: PAY_PER_REQUEST
    stream_view_type: NEW_IMAGE
    global_secondary_indexes: { by-day: { hash_key: day } }
    ttl_attribute: expires
    point_in_time_recovery: true
    on_demand_throughput: { max_read_request_units: 10 }
    tags: { course: cloud }
  logger:
    type: function
    runtime: nodejs22.x
    handler: index.handler
    role: ${role.arn}
    code: ../lambda-src/log-events
    reserved_concurrent_executions: 5
    environment: { LEVEL: debug }
    vpc: { subnet_ids: [subnet-1], security_group_ids: [sg-1] }
    kms_key_arn: arn:aws:kms:eu-central-1:111122223333:key/1
    dead_letter_target_arn: ${failed.arn}
    async: { maximum_retry_attempts: 1, on_failure_destination_arn: \"${failed.arn}\" }
    url: { auth_type: NONE, cors: { allow_origins: [\"*\"] } }
    events:
      todos: { on_failure_destination_arn: \"${failed.arn}\", maximum_retry_attempts: 3, tags: { course: cloud } }
    tags: { course: cloud }
  signed:
    type: function
    runtime: nodejs22.x
    handler: index.handler
    role: ${role.arn}
    code: { s3: { bucket: deploys, key: signed.zip } }
    code_signing_config_arn: arn:aws:lambda:eu-central-1:111122223333:code-signing-config:csc-1
";

/// The same without the settings.
fn bare() -> String {
    let is_setting = |line: &str| {
        let settings = "global_secondary ttl_ point_in on_demand tags: reserved environment: vpc: kms_key dead_letter \
                        async: url: code_signing";
        settings.split(' ').any(|setting| line.trim_start().starts_with(setting))
    };
    let lines = SETTINGS.lines().filter(|line| !is_setting(line)).map(|line| format!("{line}\n"));
    let text: String = lines.collect();
    text.replace("id: S, day: S", "id: S").replace(
        "{ on_failure_destination_arn: \"${failed.arn}\", maximum_retry_attempts: 3, tags: { course: cloud } }",
        "{}",
    )
}

/// Stores the code that the spec has in S3.
fn store(case: &Case<'_>) {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file("index.js", zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(b"exports.handler = async () => {};").unwrap();
    crate::picture::store(&case.aws, "deploys", "signed.zip", &zip.finish().unwrap().into_inner());
}

/// All settings are added, and those that have their own API call and exist change.
fn extend(case: &Case<'_>) {
    store(case);
    let few = "    async: { maximum_retry_attempts: 2 }\n    url: { auth_type: AWS_IAM }\n    events:\n";
    case.declare(&bare().replace("    events:\n", few));
    case.engine(&["apply", &case.spec()]).expect(0, &["Apply complete!"]);
    case.declare(SETTINGS);
}

/// Half of the settings change, and the others are removed.
fn reduce(case: &Case<'_>) {
    // The local AWS doesn't sign new functions.
    extend(case);
    case.engine(&["apply", &case.spec(), "--yes"]).expect(0, &["Apply complete!"]);
    let edits = [
        ("max_read_request_units: 10", "max_read_request_units: 20, max_write_request_units: 5"),
        ("    async: { maximum_retry_attempts: 1, on_failure_destination_arn: \"${failed.arn}\" }\n", ""),
        ("    url: { auth_type: NONE, cors: { allow_origins: [\"*\"] } }\n", ""),
        ("    code_signing_config_arn: arn:aws:lambda:eu-central-1:111122223333:code-signing-config:csc-1\n", ""),
        ("on_failure_destination_arn: \"${failed.arn}\", maximum_retry_attempts: 3, ", ""),
        ("    reserved_concurrent_executions: 5\n", ""),
        ("    vpc: { subnet_ids: [subnet-1], security_group_ids: [sg-1] }\n", ""),
        ("    dead_letter_target_arn: ${failed.arn}\n", ""),
        ("    ttl_attribute: expires\n    point_in_time_recovery: true\n", ""),
        ("id: S, day: S", "id: S"),
        ("    global_secondary_indexes: { by-day: { hash_key: day } }\n", ""),
    ];
    case.declare(&edited(SETTINGS.to_owned(), &edits));
}

/// The smallest change: a single write, so that its failure leaves nothing else changed.
fn setting(case: &Case<'_>) {
    deploy(case, &spec(case, &[]));
    case.declare(&spec(case, &[("TRIM_HORIZON\n", "TRIM_HORIZON\n    batch_size: 7\n")]));
}

/// Changes the stream's view type: AWS creates a new stream, so mapping and permission are
/// re-created.
fn replace(case: &Case<'_>) {
    deploy(case, &spec(case, &[("NEW_AND_OLD_IMAGES", "KEYS_ONLY")]));
    case.declare(&spec(case, &[("../lambda-src/log-events", "../lambda-src/second")]));
}

/// All resources were created by hand and differ a little from the spec.
fn adopt(case: &Case<'_>) {
    let aws = &case.aws;
    aws.create_table(TABLE, &[("course", "cloud")]);
    aws.put_item(TABLE, "7", "buy milk");
    let stream = aws.new_stream(TABLE, StreamViewType::NewAndOldImages);
    aws.create_function(FUNCTION, |function| {
        function
            .timeout(10)
            .environment(Environment::builder().variables("LEVEL", "info").build())
            .tags("course", "cloud")
    });
    let add = aws.lambda.add_permission().function_name(FUNCTION).statement_id("blue-owls-logger-permission");
    let add = add.action("lambda:InvokeFunction").principal("dynamodb.amazonaws.com").source_arn(&stream);
    aws.wait(add.send());
    aws.create_mapping(FUNCTION, &stream, &[("course", "cloud")]);
    let kept = "handler: index.handler\n    timeout: 10\n    environment: { LEVEL: debug }\n    adopt: true\n";
    case.declare(&spec(
        case,
        &[
            ("read_capacity: 1\n", "read_capacity: 2\n    adopt: true\n"),
            ("handler: index.handler\n", kept),
            ("TRIM_HORIZON\n", "TRIM_HORIZON\n    batch_size: 7\n"),
        ],
    ));
}

/// Every resource is renamed in the spec, and keeps its name in AWS if it has one.
fn rename(case: &Case<'_>) {
    deploy(case, &spec(case, &[]));
    let text = spec(
        case,
        &[
            ("  todos:\n", "  tasks:\n    name: blue-owls-todos\n"),
            ("  logger:\n", "  writer:\n    name: blue-owls-logger\n"),
            ("  logger-permission:\n", "  may-write:\n"),
            ("  todos-to-logger:\n", "  feed:\n"),
        ],
    );
    case.declare(&text.replace("${todos.", "${tasks.").replace("${logger.", "${writer."));
}

/// A second pipeline is deployed next to the first, then removed from the spec.
fn prune(case: &Case<'_>) {
    let text = spec(case, &[]);
    let (_, resources) = text.split_once("resources:\n").unwrap();
    let second = resources.replace("todos", "lists").replace("logger", "mailer");
    let (before, after) = second.split_once("  # Existing role").unwrap();
    let (_, after) = after.split_once("\n\n").unwrap();
    deploy(case, &format!("{text}\n{before}{after}"));
    case.aws.put_item("blue-owls-lists", "8", "groceries");
    case.declare(&text);
}

/// Everything is deployed, then destroyed.
fn destroy(case: &Case<'_>) {
    deploy(case, &spec(case, &[]));
}
