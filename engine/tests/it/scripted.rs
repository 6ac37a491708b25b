//! What the local AWS can't show: waiting states, lost responses, refusals, races and the number of
//! calls. The real binary, or the library on a paused clock, talks to a scripted AWS that is
//! stricter than the real one.

#![cfg(unix)]

mod causes;
mod command_line;
mod credentials;
mod doctor;
mod economy;
mod elsewhere;
mod escapes;
mod export;
mod files;
mod foreign;
mod forged_requests;
mod function_updates;
mod graph;
mod headers;
mod hostile;
mod imported_functions;
mod lambda_reads;
mod library;
mod log_groups;
mod logs;
mod lookups;
mod mapping_updates;
mod outages;
mod owned;
mod packages;
mod policy;
mod preflight;
mod pruning;
mod queues;
mod races;
mod replacement;
mod roles;
mod secrets;
mod sends;
mod server;
mod several;
mod side_reads;
mod states;
mod status;
mod streams;
mod table_updates;
mod timeline;
mod unreadable;
mod verify;
mod waiting;
mod world;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use engine::value::Value;
use serde_json::{Value as Json, json};

pub(crate) use server::Cloud;
use server::{Fault, RecordedCall, named, until};
pub(crate) use world::{ACCOUNT, World};
use world::{ROLE, Reply};

use crate::shared::program::{Program, Ran, Running};

/// An access key ID that selects neither the local AWS nor a real account.
const KEY_ID: &str = "AKIAEXAMPLE";
const TABLE: &str = "blue-owls-todos";
const FUNCTION: &str = "blue-owls-logger";

/// A folder laid out like this repository, with the spec under test.
pub(crate) struct Project {
    folder: tempfile::TempDir,
}

impl Project {
    /// With `specs/team.yaml` of the repository, changed by `edit`.
    fn new(edit: impl FnOnce(String) -> String) -> Project {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let folder = tempfile::tempdir().unwrap();
        let project = Project { folder };
        fs::create_dir_all(project.path("specs")).unwrap();
        fs::create_dir_all(project.path("lambda-src/log-events")).unwrap();
        fs::create_dir_all(project.path("home")).unwrap();
        let source = "lambda-src/log-events/index.js";
        fs::copy(root.join(source), project.path(source)).unwrap();
        project.spec(&edit(fs::read_to_string(root.join("specs/team.yaml")).unwrap()));
        project
    }

    pub(crate) fn usual() -> Project {
        Project::new(|text| text)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn spec(&self, text: &str) {
        fs::write(self.path("specs/team.yaml"), text).unwrap();
    }

    /// Replaces `from` in the spec, which must contain it.
    pub(crate) fn edit(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.path("specs/team.yaml")).unwrap();
        self.spec(&replaced(&text, from, to));
    }

    pub(crate) fn command(&self, args: &[&str]) -> Program {
        let mut engine = Program::engine(self.folder.path());
        engine.args(args).env("HOME", self.path("home"));
        engine
    }

    /// Engine with credentials, and the scripted AWS at `url`.
    pub(crate) fn command_on(&self, url: &str, args: &[&str]) -> Program {
        let mut engine = self.command(args);
        // An earlier local AWS may have had this port, and a key of its own.
        engine.endpoint(url, KEY_ID).env("AWS_ACCESS_KEY_ID", KEY_ID);
        engine
    }

    fn start(&self, cloud: &Cloud, args: &[&str]) -> Running {
        self.command_on(&cloud.url, args).start()
    }

    #[track_caller]
    pub(crate) fn run(&self, cloud: &Cloud, args: &[&str]) -> Ran {
        self.command_on(&cloud.url, args).run()
    }
}

fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "`{from}` is not in the spec");
    text.replace(from, to)
}

/// The account as after an `apply` of `specs/team.yaml` long ago.
fn deployed() -> Cloud {
    Cloud::start(deployed_world())
}

fn deployed_world() -> World {
    static WORLD: OnceLock<World> = OnceLock::new();
    let world = WORLD.get_or_init(|| {
        let cloud = Cloud::start(World::empty());
        Project::usual().run(&cloud, &["apply"]).ends_with(0);
        cloud.world(|world| world.clone())
    });
    world.clone().aged()
}

/// The operations that engine declares as reads.
fn reads() -> Vec<&'static str> {
    let operations = engine::operation::all();
    operations.iter().filter(|it| it.effect == engine::operation::Effect::Read).map(|it| it.name).collect()
}

fn is_write(call: &RecordedCall) -> bool {
    !reads().contains(&call.operation.trim_start_matches("IAM's "))
}

fn writes(cloud: &Cloud) -> Vec<String> {
    cloud.calls().iter().filter(|call| is_write(call)).map(|call| call.operation.clone()).collect()
}

/// A body as text, with its keys in alphabetical order.
fn in_order(body: &Json) -> String {
    format!("{:#}", Json::from(&Value::from(body.clone())))
}

/// The index of the n-th call of an operation; `n` starts at 1.
#[track_caller]
fn nth(calls: &[RecordedCall], operation: &str, n: usize) -> usize {
    let found = calls.iter().enumerate().filter(|(_, call)| call.operation == operation).nth(n - 1);
    found.unwrap_or_else(|| panic!("no call {n} of {operation} in {:?}", calls.iter().map(named).collect::<Vec<_>>())).0
}

/// How often an operation was called between two indexes.
fn between(calls: &[RecordedCall], from: usize, to: usize, operation: &str) -> usize {
    calls[from..to].iter().filter(|call| call.operation == operation).count()
}

#[track_caller]
fn diff_is_empty(project: &Project, cloud: &Cloud) {
    project.run(cloud, &["diff", "--detailed-exitcode"]).ends_with(0).says("No changes.");
}

// The calls of a diff.

/// The calls of a diff that finds no changes: those in flight at once, and those that follow their
/// responses.
#[track_caller]
fn two_waves(cloud: &Cloud, project: &Project, n_first: usize, n_second: usize) -> String {
    cloud.hold();
    let running = project.start(cloud, &["diff", "--detailed-exitcode"]);
    let first = cloud.held(n_first);
    cloud.release();
    let second = cloud.held(n_second);
    cloud.release();
    running.end().ends_with(0).says("No changes.");
    assert_eq!(cloud.calls().len(), first.len() + second.len(), "no third round trip");
    assert_eq!(cloud.calls().iter().map(|call| call.in_flight).max(), Some(first.len()));
    let uuid = cloud.world(|world| world.mappings[0].uuid.clone());
    format!("{}\nthen\n{}", first.join("\n"), second.join("\n")).replace(&uuid, "UUID")
}

#[test]
fn a_diff_reads_everything_in_parallel_and_then_only_tags() {
    let cloud = deployed();
    let project = Project::usual();
    insta::assert_snapshot!(two_waves(&cloud, &project, 11, 2), @r"
    DescribeContinuousBackups blue-owls-todos
    DescribeTable blue-owls-todos
    DescribeTimeToLive blue-owls-todos
    GetCallerIdentity
    GetFunction blue-owls-logger
    GetFunctionEventInvokeConfig blue-owls-logger
    GetFunctionUrlConfig blue-owls-logger
    GetPolicy blue-owls-logger
    GetResources
    GetRole fhms-pulumi-challenge-lambda-execution-role
    ListEventSourceMappings blue-owls-logger
    then
    ListTags UUID
    ListTagsOfResource blue-owls-todos
    ");
}

#[test]
fn a_known_account_lets_a_tables_tags_be_read_in_the_first_wave() {
    let cloud = deployed();
    let project = Project::new(|text| replaced(&text, "# account: \"123456789012\"", "account: \"123456789012\""));
    insta::assert_snapshot!(two_waves(&cloud, &project, 12, 1), @r"
    DescribeContinuousBackups blue-owls-todos
    DescribeTable blue-owls-todos
    DescribeTimeToLive blue-owls-todos
    GetCallerIdentity
    GetFunction blue-owls-logger
    GetFunctionEventInvokeConfig blue-owls-logger
    GetFunctionUrlConfig blue-owls-logger
    GetPolicy blue-owls-logger
    GetResources
    GetRole fhms-pulumi-challenge-lambda-execution-role
    ListEventSourceMappings blue-owls-logger
    ListTagsOfResource blue-owls-todos
    then
    ListTags UUID
    ");
}

#[test]
fn an_empty_page_can_have_a_next_page() {
    let cloud = deployed();
    cloud.world(|world| world.small_pages = true);
    diff_is_empty(&Project::usual(), &cloud);
    assert_eq!(cloud.count("ListEventSourceMappings"), 2);
}

// Order and waits.

#[test]
fn apply_waits_for_every_state_and_leaves_nothing_to_change() {
    let cloud = Cloud::start(World::empty());
    let project = Project::usual();
    cloud.hold();
    let running = project.start(&cloud, &["apply"]);
    cloud.held_reads();
    cloud.release();
    // Checks of the role's permissions and of the permission to pass it: the only round trip beyond
    // those of a diff.
    assert!(cloud.held(2).iter().all(|call| call.starts_with("SimulatePrincipalPolicy ")));
    cloud.release();
    assert_eq!(cloud.held(2), [format!("CreateFunction {FUNCTION}"), format!("CreateTable {TABLE}")], "at once");
    cloud.let_go();
    running.end().ends_with(0).says("Apply complete! Resources: 4 added, 0 changed, 0 destroyed.");
    let calls = cloud.calls();
    assert!(
        cloud.world(|world| world.mappings.len() == 1 && world.mappings[0].is_enabled()),
        "ends when it is Enabled"
    );
    let (mapping, permission) = (nth(&calls, "CreateEventSourceMapping", 1), nth(&calls, "AddPermission", 1));
    let (table, function) = (nth(&calls, "CreateTable", 1), nth(&calls, "CreateFunction", 1));
    // CREATING twice, then ACTIVE.
    assert_eq!(between(&calls, table, mapping, "DescribeTable"), 3, "the mapping waits for the table");
    assert!(permission > function && calls[permission].start >= calls[function].end.unwrap());
    assert!(permission < mapping, "the permission does not wait for the table to be ACTIVE");
    assert_eq!(writes(&cloud).len(), 4);
    diff_is_empty(&project, &cloud);
}

#[test]
fn a_parallelism_of_one_means_one_write_at_a_time() {
    let cloud = Cloud::start(World::empty());
    let project = Project::usual();
    cloud.hold();
    let running = project.start(&cloud, &["apply", "--parallelism", "1"]);
    cloud.held_reads();
    cloud.release();
    cloud.held(1);
    cloud.let_go();
    running.end().ends_with(0);
    let calls = cloud.calls();
    let creates = calls.iter().filter(|call| is_write(call));
    for (before, after) in creates.clone().zip(creates.skip(1)) {
        assert!(after.start >= before.end.unwrap(), "{} overlaps {}", named(after), named(before));
    }
}

#[test]
fn configuration_code_and_tags_change_one_after_the_other() {
    let cloud = deployed();
    let project = Project::new(|text| {
        replaced(
            &text,
            "    code: ../",
            "    memory_size: 256\n    environment: { LEVEL: debug }\n    tags: { course: cloud }\n    code: ../",
        )
    });
    let source = project.path("lambda-src/log-events/index.js");
    fs::write(&source, fs::read_to_string(&source).unwrap() + "// changed\n").unwrap();
    project.run(&cloud, &["apply"]).ends_with(0);
    let calls = cloud.calls();
    let (config, code) = (nth(&calls, "UpdateFunctionConfiguration", 1), nth(&calls, "UpdateFunctionCode", 1));
    // InProgress twice, then Successful.
    assert_eq!(between(&calls, config, code, "GetFunction"), 3);
    assert_eq!(between(&calls, code, calls.len(), "GetFunction"), 3);
    assert_eq!(writes(&cloud), ["TagResource", "UpdateFunctionConfiguration", "UpdateFunctionCode"]);
    diff_is_empty(&project, &cloud);
}

#[test]
fn removing_the_environment_clears_it() {
    let cloud = deployed();
    let project =
        Project::new(|text| replaced(&text, "    code: ../", "    environment: { LEVEL: debug }\n    code: ../"));
    project.run(&cloud, &["apply"]).ends_with(0);
    project.edit("    environment: { LEVEL: debug }\n", "");
    project.run(&cloud, &["apply"]).ends_with(0);
    diff_is_empty(&project, &cloud);
    assert_eq!(
        cloud.world(|world| world.functions[FUNCTION].config["Environment"].clone()),
        json!({ "Variables": {} })
    );
}

#[test]
fn a_function_that_is_still_pending_is_waited_for_before_it_changes() {
    let cloud = deployed();
    cloud.world(|world| world.functions.get_mut(FUNCTION).unwrap().make_pending());
    let project = Project::new(|text| replaced(&text, "    code: ../", "    memory_size: 256\n    code: ../"));
    project.run(&cloud, &["apply"]).ends_with(0);
    assert_eq!(cloud.world(|world| world.functions[FUNCTION].config["MemorySize"].clone()), 256);
}

#[test]
fn a_new_view_type_replaces_the_stream_and_the_mapping() {
    let cloud = deployed();
    let project = Project::new(|text| {
        replaced(&replaced(&text, "NEW_AND_OLD_IMAGES", "NEW_IMAGE"), "read_capacity: 1", "read_capacity: 2")
    });
    let old = cloud.world(|world| world.mappings[0].uuid.clone());
    project.run(&cloud, &["apply"]).ends_with(1).complains("add `--yes`");
    assert_eq!(writes(&cloud), [""; 0], "nothing is written unasked");
    cloud.forget();
    project.run(&cloud, &["apply", "--yes"]).ends_with(0);
    let calls = cloud.calls();
    let [capacity, off, on] = [1, 2, 3].map(|n| nth(&calls, "UpdateTable", n));
    assert!(calls[capacity].body["ProvisionedThroughput"].is_object());
    assert_eq!(calls[off].body["StreamSpecification"]["StreamEnabled"], false);
    assert_eq!(calls[on].body["StreamSpecification"]["StreamViewType"], "NEW_IMAGE");
    // One stale read, UPDATING twice, then two reads that show the change.
    assert_eq!(between(&calls, capacity, off, "DescribeTable"), 5);
    assert_eq!(between(&calls, off, on, "DescribeTable"), 5);
    let (delete, create) = (nth(&calls, "DeleteEventSourceMapping", 1), nth(&calls, "CreateEventSourceMapping", 1));
    assert!(between(&calls, on, delete, "DescribeTable") >= 5, "the old one goes when the new stream is on");
    // Deleting twice, then 404.
    assert_eq!(between(&calls, delete, create, "GetEventSourceMapping"), 3);
    assert_eq!(calls[delete].about, old);
    let (remove, add) = (nth(&calls, "RemovePermission", 1), nth(&calls, "AddPermission", 1));
    assert!(on < remove && remove < add);
    diff_is_empty(&project, &cloud);
}

#[test]
fn a_mapping_changes_in_place_and_is_waited_for() {
    let cloud = deployed();
    let project = Project::new(|text| text + "    batch_size: 10\n    enabled: false\n");
    project.run(&cloud, &["apply"]).ends_with(0);
    assert_eq!(writes(&cloud), ["UpdateEventSourceMapping"]);
    // Once before the write, then Updating twice, Disabling twice, and Disabled.
    assert_eq!(cloud.count("GetEventSourceMapping"), 6);
    diff_is_empty(&project, &cloud);
}

#[test]
fn destroy_deletes_the_mapping_first_and_waits_for_every_deletion() {
    let cloud = deployed();
    let project = Project::usual();
    project.run(&cloud, &["destroy"]).ends_with(1).complains("add `--yes`");
    assert_eq!(writes(&cloud), [""; 0]);
    cloud.forget();
    project.run(&cloud, &["destroy", "--yes"]).ends_with(0).says("Destroy complete! Resources: 4 destroyed.");
    let calls = cloud.calls();
    let mapping = nth(&calls, "DeleteEventSourceMapping", 1);
    let (function, table) = (nth(&calls, "DeleteFunction", 1), nth(&calls, "DeleteTable", 1));
    let permission = nth(&calls, "RemovePermission", 1);
    assert_eq!(
        between(&calls, mapping, function.min(table), "GetEventSourceMapping"),
        3,
        "404 before anything it joins"
    );
    assert!(permission < function);
    assert_eq!(between(&calls, table, calls.len(), "DescribeTable"), 3, "DELETING twice, then not found");
    assert!(cloud.world(|world| world.tables.is_empty() && world.functions.is_empty() && world.mappings.is_empty()));
    assert_eq!(cloud.world(|world| world.roles.keys().cloned().collect::<Vec<_>>()), [ROLE]);
    project.run(&cloud, &["destroy", "--yes"]).ends_with(0);
}

#[test]
fn a_table_that_fills_up_after_the_plan_is_not_deleted() {
    let cloud = deployed();
    // The plan makes the first scan.
    cloud.before("Scan", 2, |world| world.tables.get_mut(TABLE).unwrap().items = 1);
    Project::usual().run(&cloud, &["destroy", "--yes"]).ends_with(3).says("--delete-data");
    assert_eq!(cloud.count("DeleteTable"), 0);
    assert!(cloud.world(|world| world.functions.is_empty()), "everything else goes");
}

// Creates are not idempotent.

/// The name of a disturbance, and what it does to the first call of an operation.
type Disturbance = (&'static str, fn(&str) -> Fault);

#[test]
fn a_lost_response_never_creates_a_second_resource() {
    let operations = ["CreateTable", "CreateFunction", "AddPermission", "CreateEventSourceMapping"];
    let faults: [Disturbance; 4] = [
        ("answer lost", |_| Fault::DoneButCut),
        ("500 after it was done", |operation| {
            Fault::DoneButAnswer(Reply::of(operation, 500, "InternalServerError", "oops"))
        }),
        ("500 before it was done", |operation| Fault::Answer(Reply::of(operation, 500, "InternalServerError", "oops"))),
        ("line cut before it was done", |_| Fault::Cut),
    ];
    let project = Project::usual();
    for (what, fault) in faults {
        let cloud = Cloud::start(World { tag_lag: 2, ..World::empty() });
        for operation in operations {
            cloud.fault(operation, 1..2, fault(operation));
        }
        let run = project.run(&cloud, &["apply"]);
        assert_eq!(run.code(), Some(0), "{what}: {}{}", run.out, run.err);
        let (tables, functions, statements, mappings) = cloud.world(|world| {
            let statements: usize = world.functions.values().map(|function| function.policy.len()).sum();
            (world.tables.len(), world.functions.len(), statements, world.mappings.len())
        });
        assert_eq!((tables, functions, statements, mappings), (1, 1, 1, 1), "{what}");
        diff_is_empty(&project, &cloud);
    }
}

#[test]
fn a_lost_update_response_is_not_mistaken_for_another_writers_change() {
    let operations = [
        "UpdateTable",
        "TagTable",
        "TagResource",
        "UpdateFunctionConfiguration",
        "UpdateFunctionCode",
        "UpdateEventSourceMapping",
    ];
    let cloud = deployed();
    let project = Project::new(|text| {
        let text = replaced(&text, "read_capacity: 1", "tags: { course: cloud }\n    read_capacity: 3");
        replaced(&text, "    code: ../", "    tags: { course: cloud }\n    timeout: 10\n    code: ../")
            + "    batch_size: 10\n"
    });
    let source = project.path("lambda-src/log-events/index.js");
    fs::write(&source, fs::read_to_string(&source).unwrap() + "// changed\n").unwrap();
    for operation in operations {
        cloud.fault(operation, 1..2, Fault::DoneButCut);
    }
    project.run(&cloud, &["apply"]).ends_with(0);
    diff_is_empty(&project, &cloud);
    for operation in ["DeleteTable", "DeleteFunction", "RemovePermission", "DeleteEventSourceMapping"] {
        cloud.fault(operation, 1..2, Fault::DoneButCut);
    }
    project.run(&cloud, &["destroy", "--yes"]).ends_with(0);
    assert!(cloud.world(|world| world.tables.is_empty() && world.functions.is_empty() && world.mappings.is_empty()));
}

// Transient and permanent refusals.

#[test]
fn transient_refusals_are_retried() {
    let busy = |text: &str| Reply::lambda(409, "ResourceConflictException", text);
    let in_use = |text: &str| Reply::dynamodb("ResourceInUseException", text);
    let cases: Vec<(&str, &str, Reply)> = vec![
        ("CreateFunction", "role not assumable yet", world::not_assumable()),
        ("CreateEventSourceMapping", "stream not readable yet", world::stream_not_readable()),
        (
            "CreateEventSourceMapping",
            "function not known yet",
            Reply::lambda(400, "InvalidParameterValueException", "Function does not exist"),
        ),
        (
            "AddPermission",
            "function not known yet",
            Reply::lambda(404, "ResourceNotFoundException", "Function not found: X"),
        ),
        (
            "AddPermission",
            "concurrent change",
            busy("The operation cannot be performed at this time. An update is in progress for resource: X"),
        ),
        (
            "CreateTable",
            "throttled",
            Reply::dynamodb("ThrottlingException", "Rate of requests exceeds the allowed throughput."),
        ),
        ("DescribeTable", "throttled read", Reply::dynamodb("ThrottlingException", "Rate exceeded")),
        ("GetFunction", "throttled read", Reply::lambda(429, "TooManyRequestsException", "Rate Exceeded.")),
        ("ListEventSourceMappings", "AWS down", Reply::lambda(503, "ServiceException", "")),
        ("CreateTable", "an older one of the name is going", in_use("Table is being deleted: blue-owls-todos")),
    ];
    // One run for each operation and text, all in parallel.
    std::thread::scope(|scope| {
        for (operation, what, reply) in cases {
            scope.spawn(move || {
                let project = Project::usual();
                let cloud = Cloud::start(World::young());
                cloud.fault(operation, 1..3, Fault::Answer(reply));
                let run = project.run(&cloud, &["apply"]);
                assert_eq!(run.code(), Some(0), "{operation}, {what}: {}{}", run.out, run.err);
                assert!(cloud.count(operation) >= 3, "{operation}, {what}");
                assert!(cloud.world(|world| world.mappings.len() == 1 && world.mappings[0].is_enabled()));
            });
        }
    });
}

#[test]
fn changes_wait_for_another_writers_changes() {
    let busy = |text: &str| Reply::lambda(409, "ResourceConflictException", text);
    let in_use = |text: &str| Reply::dynamodb("ResourceInUseException", text);
    let cloud = deployed();
    let cases = [
        ("UpdateTable", in_use("Attempt to change a resource which is still in use: Table is being updated: X")),
        (
            "UpdateFunctionConfiguration",
            busy("The operation cannot be performed at this time. An update is in progress for resource: X"),
        ),
        (
            "UpdateEventSourceMapping",
            Reply::lambda(
                400,
                "ResourceInUseException",
                "Cannot update the event source mapping because it is in use.",
            ),
        ),
        ("TagTable", Reply::dynamodb("LimitExceededException", "Table tags are being updated: X")),
    ];
    for (operation, reply) in cases {
        cloud.fault(operation, 1..3, Fault::Answer(reply));
    }
    let project = Project::new(|text| {
        let text = replaced(&text, "read_capacity: 1", "tags: { course: cloud }\n    read_capacity: 3");
        replaced(&text, "    code: ../", "    timeout: 10\n    code: ../") + "    batch_size: 10\n"
    });
    project.run(&cloud, &["apply"]).ends_with(0);
    for operation in ["UpdateTable", "UpdateFunctionConfiguration", "UpdateEventSourceMapping", "TagTable"] {
        assert_eq!(cloud.count(operation), 3, "{operation}");
    }
    cloud.forget();
    let cases = [
        (
            "DeleteTable",
            in_use(
                "Attempt to change a resource which is still in use: Cannot delete table while stream is being disabled",
            ),
        ),
        (
            "DeleteFunction",
            busy(
                "The operation cannot be performed at this time. The function is currently in the following state: Pending",
            ),
        ),
        (
            "DeleteEventSourceMapping",
            Reply::lambda(
                400,
                "ResourceInUseException",
                "Cannot delete the event source mapping because it is in use.",
            ),
        ),
    ];
    for (operation, reply) in cases {
        cloud.fault(operation, 1..3, Fault::Answer(reply));
    }
    project.run(&cloud, &["destroy", "--yes"]).ends_with(0);
    assert!(cloud.world(|world| world.tables.is_empty() && world.functions.is_empty() && world.mappings.is_empty()));
}

#[test]
fn a_quota_error_is_not_retried_and_other_steps_continue() {
    let cloud = Cloud::start(World::empty());
    let text = "Subscriber limit exceeded: There is a limit of 2500 tables per subscriber";
    cloud.always("CreateTable", Fault::Answer(Reply::dynamodb("LimitExceededException", text)));
    Project::usual()
        .run(&cloud, &["apply"])
        .ends_with(3)
        .says(text)
        .says("aws: LimitExceededException (CreateTable, request scripted-request)");
    assert_eq!(cloud.count("CreateTable"), 1);
    assert_eq!(cloud.count("CreateFunction"), 1, "the function does not need the table");
    assert_eq!(cloud.count("CreateEventSourceMapping"), 0);
    // The SDK classifies this code as throttling and would retry.
    let cloud = deployed();
    let text = "Subscriber limit exceeded: Provisioned throughput decreases are limited within a given UTC day.";
    cloud.always("UpdateTable", Fault::Answer(Reply::dynamodb("LimitExceededException", text)));
    let project = Project::new(|text| replaced(&text, "read_capacity: 1", "read_capacity: 2"));
    project.run(&cloud, &["apply"]).ends_with(1).says(text);
    assert_eq!(cloud.count("UpdateTable"), 1);
}

#[test]
fn a_denied_read_is_named_and_nothing_is_written() {
    for operation in
        ["DescribeTable", "GetFunction", "GetPolicy", "ListEventSourceMappings", "GetRole", "GetCallerIdentity"]
    {
        let cloud = deployed();
        let text = format!("User: arn:aws:iam::{ACCOUNT}:user/student is not authorized to perform: x:{operation}");
        let code = if operation == "GetRole" { "AccessDenied" } else { "AccessDeniedException" };
        let status = if operation == "DescribeTable" { 400 } else { 403 };
        cloud.always(operation, Fault::Answer(Reply::of(operation, status, code, &text)));
        let run = Project::usual().run(&cloud, &["apply", "--yes"]);
        run.ends_with(1).complains(&text).complains(operation);
        run.complains(&format!("ask the account's administrator for the permission `x:{operation}`"));
        run.complains_once();
        assert_eq!(writes(&cloud), [""; 0], "{operation}");
    }
}

#[test]
fn unreadable_tags_prevent_tagging_and_destroy() {
    let cloud = deployed();
    let text = "User: X is not authorized to perform: dynamodb:ListTagsOfResource";
    cloud.always("ListTagsOfResource", Fault::Answer(Reply::dynamodb("AccessDeniedException", text)));
    let project = Project::usual();
    project.edit("read_capacity: 1", "read_capacity: 2\n    tags: { course: cloud }");
    project.run(&cloud, &["apply"]).ends_with(0).says("1 changed").says("you lack permission to read some tags");
    assert_eq!(cloud.count("TagResource"), 0, "putting tags on would be a claim to what may be another team's");
    assert_eq!(cloud.world(|world| world.tables[TABLE].shown["ProvisionedThroughput"]["ReadCapacityUnits"].clone()), 2);
    let before = writes(&cloud).len();
    project.run(&cloud, &["destroy", "--yes"]).ends_with(1).complains("--assume-owner");
    assert_eq!(writes(&cloud).len(), before, "a refused row stops the whole command");
    project.run(&cloud, &["destroy", "--yes", "--assume-owner"]).ends_with(0);
    assert!(cloud.world(|world| world.tables.is_empty()));
}

#[test]
fn bad_credentials_are_one_error() {
    let text = "The security token included in the request is expired";
    // The first call may detect them, or only a later one.
    for refused in [&reads()[..], &["DescribeTable", "GetFunction", "GetPolicy"]] {
        let cloud = deployed();
        for operation in refused {
            let query = matches!(*operation, "GetRole" | "GetCallerIdentity");
            let code = if query { "ExpiredToken" } else { "ExpiredTokenException" };
            cloud.always(operation, Fault::Answer(Reply::of(operation, 403, code, text)));
        }
        let run = Project::usual().run(&cloud, &["diff"]);
        run.ends_with(1).complains(text).complains("aws sso login").complains_once();
    }
}

#[test]
fn credentials_that_expire_mid_run_end_it_and_keep_finished_steps() {
    let cloud = Cloud::start(World::empty());
    let text = "The security token included in the request is expired";
    cloud.always("CreateEventSourceMapping", Fault::Answer(Reply::lambda(403, "ExpiredTokenException", text)));
    let project = Project::usual();
    project.run(&cloud, &["apply"]).ends_with(3).says(text);
    cloud.forget();
    project.run(&cloud, &["apply"]).ends_with(0).says("Apply complete! Resources: 1 added, 0 changed, 0 destroyed.");
}

#[test]
fn another_account_is_neither_shown_nor_touched() {
    let cloud = deployed();
    let project = Project::new(|text| replaced(&text, "# account: \"123456789012\"", "account: \"210987654321\""));
    for command in [&["diff"][..], &["apply", "--yes"], &["destroy", "--yes"]] {
        let run = project.run(&cloud, command);
        run.ends_with(1)
            .complains("the spec is for account 210987654321, but the credentials are for account 123456789012");
        assert_eq!(run.out, "");
    }
    assert_eq!(writes(&cloud), [""; 0]);
}

#[test]
fn an_unreachable_endpoint_is_one_error() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let run = Project::usual().command_on(&format!("http://127.0.0.1:{port}"), &["diff"]).run();
    run.ends_with(1).complains("AWS can't be reached").complains("check the network, the region and the endpoint");
    run.complains_once();
    assert!(run.took < Duration::from_secs(20), "took {:?}", run.took);
    eprintln!("connection refused: {:?}", run.took);
}

#[test]
fn missing_credentials_are_reported_within_seconds() {
    let project = Project::usual();
    // A metadata service that never responds, as on most machines, and one that refuses.
    let deaf = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let deaf = format!("http://{}", deaf.local_addr().unwrap());
    let refusing = Cloud::start(World::empty());
    refusing.always("Metadata", Fault::Answer(Reply::lambda(403, "Forbidden", "")));
    for (what, disabled, url) in
        [("off", "true", deaf.clone()), ("deaf", "false", deaf.clone()), ("refusing", "false", refusing.url.clone())]
    {
        let mut command = project.command(&["diff"]);
        command.env("AWS_EC2_METADATA_DISABLED", disabled).env("AWS_EC2_METADATA_SERVICE_ENDPOINT", url);
        let run = command.run();
        run.ends_with(1).complains("no AWS credentials found").complains("AWS_ACCESS_KEY_ID").complains("--local");
        run.complains_once();
        assert!(run.took < Duration::from_secs(10), "{what}: took {:?}", run.took);
        eprintln!("no credentials, metadata service {what}: {:?}", run.took);
    }
    assert!(refusing.count("Metadata") > 0, "the metadata service was asked");
}

#[test]
fn a_credentials_service_set_in_the_environment_is_used() {
    let cloud = deployed();
    let project = Project::usual();
    let mut command = project.command(&["diff", "--endpoint-url", &cloud.url]);
    command.env("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{}/latest/credentials", cloud.url));
    command.run().ends_with(0).says("No changes.");
    assert!(cloud.count("Metadata") > 0);
}

// The read before each write.

/// The read that precedes another writer's change, that change, and what engine reports about it.
type ConcurrentChange = (&'static str, fn(&mut World), &'static str);

#[test]
fn a_change_since_the_plan_is_not_overwritten() {
    let cases: [ConcurrentChange; 4] = [
        (
            "GetFunction",
            |world| world.functions.get_mut(FUNCTION).unwrap().change_outside("Timeout", json!(77)),
            "changed in the meantime: `timeout`",
        ),
        (
            "GetFunction",
            |world| {
                drop(world.functions.get_mut(FUNCTION).unwrap().tags.insert("engine:team".into(), "red-foxes".into()))
            },
            "it has another owner",
        ),
        ("DescribeTable", |world| world.tables.get_mut(TABLE).unwrap().reincarnate(), "it was deleted and re-created"),
        (
            "DescribeTable",
            |world| {
                world.tables.get_mut(TABLE).unwrap().shown["ProvisionedThroughput"]["WriteCapacityUnits"] = json!(9)
            },
            "changed in the meantime: `write_capacity`",
        ),
    ];
    for (read, change_outside, words) in cases {
        let cloud = deployed();
        let project = Project::new(|text| {
            replaced(
                &replaced(&text, "read_capacity: 1", "read_capacity: 2"),
                "    code: ../",
                "    memory_size: 256\n    code: ../",
            )
        });
        // The plan makes the first read.
        cloud.before(read, 2, change_outside);
        let run = project.run(&cloud, &["apply"]);
        run.ends_with(3).says("changed in the meantime").says(words);
        let writes = writes(&cloud);
        let other = if read == "GetFunction" { "UpdateTable" } else { "UpdateFunctionConfiguration" };
        assert_eq!(writes, [other], "{words}: only the other branch is written");
    }
}

#[test]
fn a_new_revision_id_alone_is_no_conflict() {
    let cloud = deployed();
    let project = Project::new(|text| replaced(&text, "    code: ../", "    memory_size: 256\n    code: ../"));
    // After the read before the write, another writer changes a setting that engine doesn't manage.
    cloud.before("UpdateFunctionConfiguration", 1, |world| {
        world.functions.get_mut(FUNCTION).unwrap().change_outside("SnapStart", json!({ "ApplyOn": "None" }));
    });
    project.run(&cloud, &["apply"]).ends_with(0);
    assert_eq!(cloud.count("UpdateFunctionConfiguration"), 2);
    // Now it changes a setting that engine manages.
    project.edit("memory_size: 256", "memory_size: 512");
    cloud.forget();
    cloud.before("UpdateFunctionConfiguration", 1, |world| {
        world.functions.get_mut(FUNCTION).unwrap().change_outside("Timeout", json!(77));
    });
    project.run(&cloud, &["apply"]).ends_with(1).says("changed in the meantime").says("`timeout`");
    assert_eq!(cloud.world(|world| world.functions[FUNCTION].config["MemorySize"].clone()), 256);
}

#[test]
fn a_resource_deleted_before_its_step_does_not_fail_a_destroy() {
    let cloud = deployed();
    cloud.before("DeleteEventSourceMapping", 1, |world| {
        world.mappings.clear();
        world.functions.clear();
        world.tables.clear();
    });
    Project::usual().run(&cloud, &["destroy", "--yes"]).ends_with(0);
    assert_eq!(cloud.count("DeleteTable"), 0);
}

#[test]
fn another_teams_resource_of_that_name_stops_the_command() {
    let cloud = deployed();
    cloud.world(|world| {
        world.tables.get_mut(TABLE).unwrap().tags.insert("engine:team".into(), "red-foxes".into());
    });
    for command in [&["apply", "--yes"][..], &["destroy", "--yes"]] {
        Project::usual().run(&cloud, command).ends_with(1).complains("red-foxes");
    }
    assert_eq!(writes(&cloud), [""; 0]);
}

// Ctrl-C.

#[test]
fn ctrl_c_ends_waits_and_starts_no_new_steps() {
    let cloud = Cloud::start(World::empty());
    let project = Project::usual();
    // Every read shows the table as CREATING, forever.
    let creating = json!({ "Table": { "TableName": TABLE, "TableStatus": "CREATING" } });
    cloud.fault("DescribeTable", 2..usize::MAX, Fault::Answer(Reply::ok(&creating)));
    let running = project.start(&cloud, &["apply"]);
    cloud.wait_for("DescribeTable", 5);
    until(
        "the permission to be added",
        || running.said(),
        |said| said.contains("logger-permission: added") || said.contains("logger-permission: created"),
    );
    let pressed = Instant::now();
    running.press_ctrl_c();
    let run = running.end();
    run.ends_with(130).complains("interrupted").says("todos").says("AWS continues the change").says("todos-to-logger");
    assert!(pressed.elapsed() < Duration::from_secs(5), "took {:?}", pressed.elapsed());
    assert_eq!(cloud.count("CreateEventSourceMapping"), 0);
    cloud.forget();
    // The next run continues from there.
    project.run(&cloud, &["apply"]).ends_with(0);
    diff_is_empty(&project, &cloud);
}

#[test]
fn a_second_ctrl_c_stops_at_once() {
    let cloud = Cloud::start(World::empty());
    // A call in flight keeps the first Ctrl-C from ending the run.
    cloud.always("CreateTable", Fault::Silence);
    let project = Project::usual();
    let running = project.start(&cloud, &["apply"]);
    cloud.wait_for("CreateTable", 1);
    running.press_ctrl_c();
    until("the first one to be heard", || running.said(), |said| said.contains("interrupted"));
    let pressed = Instant::now();
    running.press_ctrl_c();
    running.end().ends_with(130);
    assert!(pressed.elapsed() < Duration::from_secs(5), "took {:?}", pressed.elapsed());
}

#[test]
fn a_replacement_that_has_begun_is_completed_after_ctrl_c() {
    let cloud = deployed();
    let project = Project::usual();
    project.edit("NEW_AND_OLD_IMAGES", "NEW_IMAGE");
    let running = project.start(&cloud, &["apply", "--yes"]);
    cloud.wait_for("DeleteEventSourceMapping", 1);
    running.press_ctrl_c();
    running.end().ends_with(130);
    assert_eq!(cloud.count("CreateEventSourceMapping"), 1, "half of it would leave the pipeline cut");
    project.run(&cloud, &["apply"]).ends_with(0);
    diff_is_empty(&project, &cloud);
}

#[test]
fn a_resource_being_deleted_is_waited_for_and_re_created() {
    for (deletion, creation) in
        [("DeleteEventSourceMapping", "CreateEventSourceMapping"), ("DeleteTable", "CreateTable")]
    {
        let cloud = deployed();
        let project = Project::usual();
        let running = project.start(&cloud, &["destroy", "--yes"]);
        cloud.wait_for(deletion, 1);
        running.press_ctrl_c();
        running.end().ends_with(130);
        project.run(&cloud, &["apply", "--yes"]).ends_with(0);
        assert!(cloud.count(creation) >= 1, "{creation}");
        diff_is_empty(&project, &cloud);
    }
}

#[test]
fn aws_error_texts_leak_no_environment_values() {
    let cloud = Cloud::start(World::empty());
    let quoted = r#"Environment variables are invalid: {"TOKEN":"hunter2 \"quoted\""} and hunter2 "quoted""#;
    let measured = r#"exceeded the 4KB limit. String measured: {"OTHER":"hunter2"}"#;
    let bare = r#"K=hunter2 \"quoted\" ; K=hunter2 "quoted""#;
    for text in [quoted, measured, bare] {
        cloud.always("CreateFunction", Fault::Answer(Reply::lambda(400, "InvalidParameterValueException", text)));
        let project = Project::usual();
        project.edit(
            "    handler: index.handler",
            "    handler: index.handler\n    environment: { TOKEN: 'hunter2 \"quoted\"' }",
        );
        for args in [&["apply", "-vv"][..], &["apply", "--format", "json"]] {
            let run = project.run(&cloud, args);
            let shown = format!("{}{}", run.out, run.err);
            assert!(shown.contains("InvalidParameterValueException") && !shown.contains("hunter2"), "{shown}");
        }
    }
}

#[test]
fn a_concurrent_deletion_does_not_fail_a_destroy() {
    let cloud = deployed();
    // The third read of the table is the last one before its deletion.
    cloud.before("DescribeTable", 3, |world| drop(world.delete_table(TABLE)));
    Project::usual().run(&cloud, &["destroy", "--yes"]).ends_with(0);
    assert!(cloud.world(|world| world.tables.is_empty()));
}
