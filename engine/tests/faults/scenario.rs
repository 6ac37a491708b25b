//! What the engine is at when something goes wrong: each scenario is the whole pipeline in one of
//! its changes.

use aws_sdk_dynamodb::types::StreamViewType;
use aws_sdk_lambda::types::Environment;

use crate::case::Case;

pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// Brings the account into the state before, and writes the spec.
    pub(crate) prepare: fn(&Case<'_>),
    /// The command; `SPEC` is the spec.
    pub(crate) command: &'static [&'static str],
    /// The command that says afterwards that nothing is left to do.
    pub(crate) check: &'static [&'static str],
}

const APPLY: &[&str] = &["apply", "SPEC", "--yes", "--delete-data"];
const DIFF: &[&str] = &["diff", "SPEC", "--detailed-exitcode", "--prune-scan"];

const TABLE: &str = "blue-owls-todos";
const FUNCTION: &str = "blue-owls-logger";

pub(crate) static SCENARIOS: [Scenario; 9] = [
    Scenario { name: "create", prepare: create, command: APPLY, check: DIFF },
    Scenario {
        name: "rehearse",
        prepare: rehearse,
        command: &["apply", "SPEC", "--local"],
        check: &["diff", "SPEC", "--detailed-exitcode", "--local"],
    },
    Scenario { name: "update", prepare: update, command: APPLY, check: DIFF },
    Scenario { name: "setting", prepare: setting, command: APPLY, check: DIFF },
    Scenario { name: "replace", prepare: replace, command: APPLY, check: DIFF },
    Scenario { name: "adopt", prepare: adopt, command: APPLY, check: DIFF },
    Scenario { name: "rename", prepare: rename, command: APPLY, check: DIFF },
    Scenario { name: "prune", prepare: prune, command: APPLY, check: DIFF },
    Scenario {
        name: "destroy",
        prepare: destroy,
        command: &["destroy", "SPEC", "--yes", "--delete-data"],
        check: &["diff", "SPEC", "--destroy", "--detailed-exitcode"],
    },
];

/// The repository's own spec, with each `from` replaced by its `to`.
fn spec(case: &Case<'_>, edits: &[(&str, &str)]) -> String {
    let mut text =
        case.lab.project.read("specs/team.yaml").replace("team: blue-owls ", "stack: team\nteam: blue-owls ");
    for (from, to) in edits {
        assert!(text.contains(from), "`{from}` is not in the spec");
        text = text.replacen(from, to, 1);
    }
    text
}

/// The pipeline stands, with an item in its table.
fn standing(case: &Case<'_>, text: &str) {
    case.declare(text);
    case.engine(&["apply", &case.spec()]).expect(0, &["Apply complete!"]);
    case.aws.put_item(TABLE, "7", "buy milk");
}

/// Nothing stands, and everything is wanted, also what takes a call of its own.
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
                "handler: index.handler\n    reserved_concurrent_executions: 5\n    tags: { course: cloud }\n",
            ),
        ],
    ));
}

/// The same against the project's local AWS, which is reached another way, and without what takes a
/// call of its own.
fn rehearse(case: &Case<'_>) {
    case.declare(&spec(case, &[("# account: \"123456789012\" ", &format!("account: \"{}\" ", case.aws.id))]));
}

/// Capacity, tags, time to live and recovery of the table; code, configuration, tags and
/// concurrency of the function; the permission, which AWS only takes anew; and the mapping's
/// settings.
fn update(case: &Case<'_>) {
    standing(case, &spec(case, &[]));
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
                 reserved_concurrent_executions: 5\n    tags: { course: cloud }\n",
            ),
            ("../lambda-src/log-events", "../lambda-src/second"),
            ("source_arn: ${todos.stream_arn}\n", "source_arn: ${todos.stream_arn}\n    source_account: ${account}\n"),
            ("TRIM_HORIZON\n", "TRIM_HORIZON\n    batch_size: 7\n    tags: { course: cloud }\n"),
        ],
    ));
}

/// The least that can change: one write, so that a failure of it is a run in which nothing else has
/// happened.
fn setting(case: &Case<'_>) {
    standing(case, &spec(case, &[]));
    case.declare(&spec(case, &[("TRIM_HORIZON\n", "TRIM_HORIZON\n    batch_size: 7\n")]));
}

/// Another view of the stream: AWS makes a new stream, and with it go mapping and permission.
fn replace(case: &Case<'_>) {
    standing(case, &spec(case, &[("NEW_AND_OLD_IMAGES", "KEYS_ONLY")]));
    case.declare(&spec(case, &[("../lambda-src/log-events", "../lambda-src/second")]));
}

/// Everything has been made by hand, and not quite as it is wanted.
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

/// Every resource has another name in the spec, and the same in AWS where it has one.
fn rename(case: &Case<'_>) {
    standing(case, &spec(case, &[]));
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

/// A second pipeline stands beside the first, and leaves the spec.
fn prune(case: &Case<'_>) {
    let text = spec(case, &[]);
    let (_, resources) = text.split_once("resources:\n").unwrap();
    let second = resources.replace("todos", "lists").replace("logger", "mailer");
    let (before, after) = second.split_once("  # Existing role").unwrap();
    let (_, after) = after.split_once("\n\n").unwrap();
    standing(case, &format!("{text}\n{before}{after}"));
    case.aws.put_item("blue-owls-lists", "8", "groceries");
    case.declare(&text);
}

/// Everything stands, and goes.
fn destroy(case: &Case<'_>) {
    standing(case, &spec(case, &[]));
}
