//! Transient errors of AWS, and permanent ones with nearly the same text: each as a sequence of
//! responses in AWS's own wording, run against the library on a paused clock.
//!
//! engine waits out transient errors and reports what it waits for and why. Permanent errors end
//! at once, with the cause and a hint. [`ROWS`] lists the known behavior of AWS, and each row has
//! sequences or a reason why it can't happen here.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use engine::apply::{self, Event, StepOutcome};
use engine::aws::{AwsError, Code};
use engine::live::{self, OrphanSearch};
use engine::plan::{self, Goal, Options};
use engine::render::remedy;
use serde_json::json;
use tokio::time::Instant;

use super::library::{context, failures, load, team};
use super::server::{Cloud, Fault};
use super::world::{Orphans, Reply, World, YOUNG};
use super::{FUNCTION, Project, TABLE, deployed_world, replaced};

/// The known behavior of AWS: transient errors (`passes`), permanent ones that look alike
/// (`stays`), races (`crosses`), and undocumented behavior (`either`).
const ROWS: &[&str] = &[
    // Transient errors.
    "passes: the role cannot be assumed",
    "passes: the role has no permissions",
    "passes: the key is invalid for CreateGrant; throttled by EC2",
    "passes: a function in transition refuses changes",
    "passes: a replicated function can't be deleted",
    "passes: the role can't read the stream",
    "passes: a mapping's function's role",
    "passes: a mapping in use",
    "passes: a permission in conflict",
    "passes: a permission of a function not known yet",
    "passes: a fresh principal",
    "passes: a table in use",
    "passes: a table's tags in use",
    "passes: only so many at the same time",
    "passes: too many changes of tables",
    "passes: deletion protection toggled a moment ago",
    "passes: an IAM entity of this run not visible yet",
    "passes: changes of IAM in conflict",
    "passes: own creates not visible yet",
    "passes: a queue's new visibility timeout not seen yet",
    "passes: a queue's policy names a fresh role",
    "passes: queues and log groups",
    "passes: throttling and 5xx everywhere",
    // Permanent errors that look transient.
    "stays: the trust policy is wrong",
    "stays: the rights to the stream are missing",
    "stays: the name of a function, statement or mapping is taken",
    "stays: the name of a table is taken",
    "stays: another region, as a 404",
    "stays: two concerns in one UpdateTable",
    "stays: a change to what is there",
    "stays: a quota in the words of throttling",
    "stays: a runtime no longer supported",
    "stays: a 500 that repeats",
    "stays: access denied",
    "stays: an old role is refused",
    "stays: expired or wrong credentials",
    "stays: no room for code, policy or key",
    // Races.
    "crosses: the role was re-created",
    "crosses: a policy names a principal that is gone",
    "crosses: a policy attached right before the mapping",
    "crosses: a table not found right after its create",
    "crosses: a deleted table's name in use again",
    "crosses: a late invocation makes a log group",
    "crosses: tags lag behind",
    "crosses: a function is deleted before what hangs on it is made",
    // Undocumented: AWS may respond either way.
    "either: a mapping on a table that is CREATING is taken",
    "either: a mapping on a table that is CREATING is refused",
    "either: a mapping drains a stream that was switched off",
    "either: a mapping goes quiet with its stream",
    "either: permissions and tags during an update are taken",
    "either: permissions and tags during an update are refused",
    "either: the mappings of a deleted function are listed",
    "either: the mappings of a deleted function are not listed",
    "either: the mappings of a deleted function are an error",
    "either: a mapping survives its function's return",
    "either: a mapping is disabled by its function's return",
];

/// A row without a sequence: the reason, and the file and name of a test that covers it, if any.
struct Elsewhere(&'static str, &'static str, Option<(&'static str, &'static str)>);

const ELSEWHERE: [Elsewhere; 5] = [
    Elsewhere(
        "passes: an IAM entity of this run not visible yet",
        "the scripted account shows each new role late",
        Some(("roles.rs", "a_function_waits_for_its_new_role")),
    ),
    Elsewhere(
        "passes: changes of IAM in conflict",
        "the scripted account refuses a delete while detached policies linger",
        Some(("roles.rs", "a_removal_detaches_before_it_deletes_and_waits_for_iam")),
    ),
    Elsewhere(
        "passes: queues and log groups",
        "they have tests of their own",
        Some(("queues.rs", "a_replacement_waits_for_the_name_of_the_deleted_queue_and_shows_why")),
    ),
    Elsewhere(
        "crosses: a late invocation makes a log group",
        "the scripted account writes such a line",
        Some(("log_groups.rs", "a_late_line_does_not_leave_a_log_group_behind")),
    ),
    Elsewhere(
        "crosses: the role was re-created",
        "the plan finds it, before anything is sent",
        Some(("replacement.rs", "a_re_created_role_replaces_a_function_with_variables")),
    ),
];

/// The initial account, the spec and the goal of a sequence.
#[derive(Clone, Copy)]
struct Scene {
    world: fn() -> World,
    edit: fn(String) -> String,
    goal: Goal,
}

const CREATE: Scene = Scene { world: World::empty, edit: |text| text, goal: Goal::Present };
const UPDATE: Scene = Scene {
    world: deployed_world,
    edit: |text| {
        let text = replaced(&text, "read_capacity: 1", "tags: { course: cloud }\n    read_capacity: 2");
        replaced(&text, "    code: ../", "    memory_size: 256\n    code: ../") + "    batch_size: 10\n"
    },
    goal: Goal::Present,
};
const DESTROY: Scene = Scene { world: deployed_world, edit: |text| text, goal: Goal::Absent };

/// The expected result of a sequence.
enum End {
    /// The run succeeds, and a wait message contains this text.
    Passes(&'static str),
    /// The run succeeds, and the next run fixes what AWS changed on its own.
    PassesInTwoRuns,
    /// One step fails with this cause, after this many seconds. Error and hint contain these
    /// texts, and the call is sent at most this often.
    Fails(Code, Range<u64>, &'static [&'static str], usize),
    /// One step fails at once, because AWS refuses the call permanently. Error and hint contain these
    /// texts.
    Refused(&'static [&'static str]),
    /// AWS refuses the read permanently, so there is no plan. The hint contains this text.
    Unread(&'static str),
}

type CallHook = (&'static str, usize, Box<dyn FnOnce(&mut World) + Send>);

struct Case {
    row: &'static str,
    scene: Scene,
    faults: Vec<(&'static str, Range<usize>, Fault)>,
    hooks: Vec<CallHook>,
    end: End,
}

/// A sequence in which these calls of one operation get this fault.
fn case(row: &'static str, scene: Scene, operation: &'static str, calls: Range<usize>, fault: Fault, end: End) -> Case {
    Case { row, scene, faults: vec![(operation, calls, fault)], hooks: Vec::new(), end }
}

/// A sequence in which another actor changes the account right before a call.
fn crossing(
    row: &'static str,
    scene: Scene,
    operation: &'static str,
    call: usize,
    change_outside: impl FnOnce(&mut World) + Send + 'static,
    end: End,
) -> Case {
    Case { row, scene, faults: Vec::new(), hooks: vec![(operation, call, Box::new(change_outside))], end }
}

impl Case {
    fn and(mut self, operation: &'static str, calls: Range<usize>, fault: Fault) -> Case {
        self.faults.push((operation, calls, fault));
        self
    }
}

fn answer(operation: &str, status: u16, code: &str, text: &str) -> Fault {
    Fault::Answer(Reply::of(operation, status, code, text))
}

fn invalid(text: &str) -> Fault {
    Fault::Answer(Reply::lambda(400, "InvalidParameterValueException", text))
}

fn conflict(text: &str) -> Fault {
    Fault::Answer(Reply::lambda(409, "ResourceConflictException", text))
}

fn dynamodb(code: &str, text: &str) -> Fault {
    Fault::Answer(Reply::dynamodb(code, text))
}

fn in_use(text: &str) -> Fault {
    dynamodb("ResourceInUseException", text)
}

/// Calls 1 to 7: long enough that engine reports the wait.
const A_WHILE: Range<usize> = 1..8;
const FOR_EVER: Range<usize> = 1..usize::MAX;
const AT_ONCE: Range<u64> = 0..5;

const NOT_ASSUMABLE: &str = "The role defined for the function cannot be assumed by Lambda.";
const NOT_READABLE: &str = "Cannot access stream X. Please ensure the role can perform the GetRecords, GetShardIterator, \
                            DescribeStream, and ListStreams Actions on your stream in IAM.";
const UPDATING: &str = "The operation cannot be performed at this time. An update is in progress for resource: X";
const TRUST_IS_RIGHT: &str = "Lambda to be able to assume the role, since its trust policy is correct, and changes to roles \
                              and permissions can take about a minute to propagate in IAM";

/// IAM has long propagated its role.
fn with_old_roles() -> World {
    World { roles_created: Some("2025-11-01T09:00:00Z"), ..World::empty() }
}

fn trusting(principal: &serde_json::Value) -> World {
    let statement = json!({ "Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole" });
    World { trust: Some(json!({ "Version": "2012-10-17", "Statement": statement })), ..World::empty() }
}

/// The pipeline with a queue as the source.
fn of_queue(text: &str) -> String {
    let (head, _) = text.split_once("    event_source_arn:").unwrap();
    let jobs = "  jobs: { type: queue, visibility_timeout_seconds: 60 }\n";
    let text = replaced(head, "resources:\n", &format!("resources:\n{jobs}"));
    format!("{text}    event_source_arn: ${{jobs.arn}}\n")
}

const SHORT: &str = "Queue visibility timeout: 30 seconds is less than Function timeout: 60 seconds";

/// An account with this stack's old queue, whose visibility timeout is this many seconds.
fn with_queue(seconds: &str) -> World {
    let tags = [("engine:team", "blue-owls"), ("engine:stack", "team"), ("engine:resource", "jobs")];
    let mut world = World::empty();
    let queue = world.add_queue("blue-owls-jobs", tags.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    queue.attributes.insert("VisibilityTimeout".to_owned(), seconds.to_owned());
    world
}

fn cases_of_queues() -> Vec<Case> {
    let mut cases = Vec::new();
    let row = "passes: a queue's new visibility timeout not seen yet";
    let new = Scene { edit: |text| of_queue(&text), ..CREATE };
    let raised = Scene { world: || with_queue("30"), ..new };
    let same = Scene { world: || with_queue("60"), ..new };
    let says =
        "Lambda to see the queue's new visibility timeout, since AWS reports: Queue visibility timeout: 30 seconds";
    let create = "CreateEventSourceMapping";
    for scene in [new, raised] {
        cases.push(case(row, scene, create, A_WHILE, invalid(SHORT), End::Passes(says)));
        let says = &[SHORT, "more than a minute after this run set the queue's visibility timeout"];
        cases.push(case(
            row,
            scene,
            create,
            FOR_EVER,
            invalid(SHORT),
            End::Fails(Code::VisibilityTimeoutShort, 55..75, says, 100),
        ));
    }
    let says = &[SHORT, "at least six times"];
    cases.push(case(row, same, create, FOR_EVER, invalid(SHORT), End::Refused(says)));
    cases.extend(cases_of_queue_policies());
    cases
}

/// The pipeline with a queue whose policy names a role.
fn with_policy(text: &str, role: &str) -> String {
    let more = format!(
        "  runner: {{ type: role, trusted_services: [states.amazonaws.com] }}\n  jobs:\n    type: queue\n    \
         visibility_timeout_seconds: 60\n    policy: {{ Version: \"2012-10-17\", Statement: [{{ Effect: Allow, Principal: \
         {{ AWS: [\"{role}\"] }}, Action: sqs:SendMessage, Resource: \
         \"arn:aws:sqs:eu-central-1:123456789012:blue-owls-jobs\" }}] }}\n"
    );
    replaced(text, "resources:\n", &format!("resources:\n{more}"))
}

fn cases_of_queue_policies() -> Vec<Case> {
    let mut cases = Vec::new();
    let row = "passes: a queue's policy names a fresh role";
    let fresh = Scene { edit: |text| with_policy(&text, "${runner.arn}"), ..CREATE };
    let changed = Scene { world: || with_queue("60"), ..fresh };
    let old = Scene { edit: |text| with_policy(&text, PRINCIPAL), ..CREATE };
    let refused =
        |operation| answer(operation, 400, "InvalidAttributeValue", "Invalid value for the parameter Policy.");
    let says = "AWS to recognize the principal, since the queue's policy names the role `blue-owls-runner`";
    for (scene, operation) in [(fresh, "CreateQueue"), (changed, "SetQueueAttributes")] {
        cases.push(case(row, scene, operation, A_WHILE, refused(operation), End::Passes(says)));
        let says = &["Invalid value for the parameter Policy", "`blue-owls-runner`"];
        let end = End::Fails(Code::PrincipalUnknown, 55..70, says, 100);
        cases.push(case(row, scene, operation, FOR_EVER, refused(operation), end));
    }
    let end = End::Refused(&["Invalid value for the parameter Policy"]);
    cases.push(case(row, old, "CreateQueue", FOR_EVER, refused("CreateQueue"), end));
    cases
}

fn transient_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |row, scene, operation, calls, fault, says| {
        cases.push(case(row, scene, operation, calls, fault, End::Passes(says)));
    };
    let row = "passes: the role cannot be assumed";
    add(row, CREATE, "CreateFunction", A_WHILE, invalid(NOT_ASSUMABLE), TRUST_IS_RIGHT);
    add(row, UPDATE, "UpdateFunctionConfiguration", A_WHILE, invalid(NOT_ASSUMABLE), TRUST_IS_RIGHT);
    let row = "passes: the role has no permissions";
    let text = "The provided execution role does not have permissions to call CreateNetworkInterface on EC2";
    let says = "the role to get the permissions that it needs, since changes to roles";
    add(row, CREATE, "CreateFunction", A_WHILE, invalid(text), says);
    add(row, UPDATE, "UpdateFunctionConfiguration", A_WHILE, invalid(text), says);
    let row = "passes: the key is invalid for CreateGrant; throttled by EC2";
    let text = "Lambda was unable to configure access to your environment variables because the KMS key is invalid for \
                CreateGrant. Please check your KMS key settings.";
    add(row, CREATE, "CreateFunction", A_WHILE, invalid(text), "Lambda to be able to use the key, since changes");
    let text = "Your request has been throttled by EC2, please make sure you have enough API rate limit.";
    add(row, UPDATE, "UpdateFunctionConfiguration", A_WHILE, invalid(text), "AWS's rate limit, since many calls");
    let row = "passes: a function in transition refuses changes";
    let pending =
        "The operation cannot be performed at this time. The function is currently in the following state: Pending";
    let deleting =
        "The operation cannot be performed at this time. The function is currently in the following state: Deleting";
    let concurrent = "The function could not be updated due to a concurrent update operation.";
    let says = "an earlier change of the function to finish, since AWS reports: The operation cannot be performed at this \
                time. An update is in progress for resource";
    add(row, UPDATE, "UpdateFunctionConfiguration", A_WHILE, conflict(UPDATING), says);
    add(row, UPDATE, "UpdateFunctionConfiguration", A_WHILE, conflict(pending), "following state: Pending");
    add(row, UPDATE, "UpdateFunctionConfiguration", A_WHILE, conflict(concurrent), "concurrent update operation");
    add(row, CREATE, "CreateFunction", A_WHILE, conflict(deleting), "following state: Deleting");
    add(row, DESTROY, "DeleteFunction", A_WHILE, conflict(pending), "following state: Pending");
    add(row, DESTROY, "DeleteFunction", A_WHILE, conflict(UPDATING), "An update is in progress");
    let row = "passes: the role can't read the stream";
    let says = "the role to be able to read the stream, since changes to roles";
    add(row, CREATE, "CreateEventSourceMapping", A_WHILE, invalid(NOT_READABLE), says);
    add(row, UPDATE, "UpdateEventSourceMapping", A_WHILE, invalid(NOT_READABLE), says);
    let row = "passes: a mapping's function's role";
    add(row, CREATE, "CreateEventSourceMapping", A_WHILE, invalid(NOT_ASSUMABLE), TRUST_IS_RIGHT);
    let text = "The function execution role does not have permissions to call ReceiveMessage on SQS";
    let says = "the role to get the permissions that it needs, since changes";
    add(row, CREATE, "CreateEventSourceMapping", A_WHILE, invalid(text), says);
    add(row, UPDATE, "UpdateEventSourceMapping", A_WHILE, invalid(text), says);
    let row = "passes: a mapping in use";
    let says = "an earlier change of the mapping to finish, since AWS reports: Cannot";
    for (scene, operation, text) in [
        (UPDATE, "UpdateEventSourceMapping", "Cannot update the event source mapping because it is in use."),
        (UPDATE, "UpdateEventSourceMapping", "Cannot: the event source mapping is currently being updated."),
        (DESTROY, "DeleteEventSourceMapping", "Cannot delete the event source mapping because it is in use."),
        (DESTROY, "DeleteEventSourceMapping", "Cannot: the event source mapping is currently being updated."),
    ] {
        add(row, scene, operation, A_WHILE, answer(operation, 400, "ResourceInUseException", text), says);
    }
    let row = "passes: a permission in conflict";
    add(row, CREATE, "AddPermission", A_WHILE, conflict(concurrent), "concurrent update operation");
    add(row, CREATE, "AddPermission", A_WHILE, conflict(UPDATING), "An update is in progress");
    add(row, DESTROY, "RemovePermission", A_WHILE, conflict(concurrent), "concurrent update operation");
    let row = "passes: a permission of a function not known yet";
    let unknown = answer("AddPermission", 404, "ResourceNotFoundException", "Function not found: X");
    add(row, CREATE, "AddPermission", A_WHILE, unknown, "since AWS reports: Function not found: X");
    add(
        row,
        CREATE,
        "CreateEventSourceMapping",
        A_WHILE,
        invalid("Function does not exist"),
        "Function does not exist",
    );
    let row = "passes: a fresh principal";
    let fresh = Scene { edit: |text| replaced(&text, "dynamodb.amazonaws.com", PRINCIPAL), ..CREATE };
    let text = "The provided principal was invalid. Please check the principal and try again.";
    add(row, fresh, "AddPermission", A_WHILE, invalid(text), "AWS to recognize the principal, since changes");
    let row = "passes: a table in use";
    let says = "an earlier change of the table to finish, since";
    let busy = |text: &str| format!("Attempt to change a resource which is still in use: {text}");
    for (scene, operation, text) in [
        (UPDATE, "UpdateTable", "Table is being created: X"),
        (UPDATE, "UpdateTable", "Table is being updated: X"),
        (UPDATE, "TagTable", "Table tags are being updated: X"),
        (DESTROY, "DeleteTable", "Table is being updated: X"),
        (DESTROY, "DeleteTable", "Cannot delete table while indexes are being created, updated, or deleted"),
        (DESTROY, "DeleteTable", "Cannot delete table while stream is being enabled"),
        (DESTROY, "DeleteTable", "Cannot delete table while stream is being disabled"),
    ] {
        add(row, scene, operation, A_WHILE, in_use(&busy(text)), says);
    }
    add(row, CREATE, "CreateTable", A_WHILE, in_use(&busy("Table is being deleted: X")), says);
    let row = "passes: a table's tags in use";
    let tags = || dynamodb("LimitExceededException", "Table tags are being updated: X");
    add(row, UPDATE, "TagTable", A_WHILE, tags(), "since AWS reports: Table tags are being updated");
    add(row, UPDATE, "UpdateTable", A_WHILE, tags(), "since AWS reports: Table tags are being updated");
    let row = "passes: only so many at the same time";
    let text = "Subscriber limit exceeded: Only 1 online index can be created or deleted simultaneously per table";
    add(row, UPDATE, "UpdateTable", A_WHILE, dynamodb("LimitExceededException", text), "simultaneously per table");
    add(row, DESTROY, "DeleteTable", A_WHILE, dynamodb("LimitExceededException", text), "simultaneously per table");
    let row = "passes: too many changes of tables";
    let says = "AWS's rate limit, since many calls";
    let rate = "The rate of control plane requests made by this account is too high";
    for (scene, operation) in [(CREATE, "CreateTable"), (UPDATE, "UpdateTable"), (DESTROY, "DeleteTable")] {
        add(row, scene, operation, 1..12, dynamodb("ThrottlingException", rate), says);
        add(row, scene, operation, 1..12, dynamodb("ThrottlingException", "Rate exceeded"), says);
    }
    let row = "passes: deletion protection toggled a moment ago";
    let protected = Scene {
        edit: |text| replaced(&text, "read_capacity: 1", "deletion_protection: true\n    read_capacity: 1"),
        ..UPDATE
    };
    let text = "Deletion protection was changed less than 15 seconds ago; retry after 2026-11-22T19:00:15Z";
    add(row, protected, "UpdateTable", 1..12, dynamodb("ThrottlingException", text), says);
    let row = "passes: own creates not visible yet";
    let gone = |operation: &str| answer(operation, 404, "ResourceNotFoundException", "Function not found: X");
    add(
        row,
        CREATE,
        "GetFunction",
        2..9,
        gone("GetFunction"),
        "the function to become Active, since Lambda prepares or updates it",
    );
    cases.push(case(row, CREATE, "AddPermission", 1..2, Fault::DoneButCut, End::Passes("")).and(
        "GetPolicy",
        2..5,
        gone("GetPolicy"),
    ));
    cases.push(
        case(
            row,
            CREATE,
            "CreateEventSourceMapping",
            1..2,
            Fault::DoneButCut,
            End::Passes("doesn't show the owner of this stream's mapping yet"),
        )
        .and("ListTags", 1..6, gone("ListTags")),
    );
    cases.push(case(row, CREATE, "CreateFunction", 1..2, Fault::DoneButCut, End::Passes("")).and(
        "GetFunction",
        2..5,
        gone("GetFunction"),
    ));
    let row = "passes: throttling and 5xx everywhere";
    for code in [
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "SlowDown",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
    ] {
        let fault = answer("UpdateFunctionConfiguration", 400, code, "Rate exceeded");
        cases.push(case(row, UPDATE, "UpdateFunctionConfiguration", 1..12, fault, End::Passes(says)));
    }
    cases.push(case(row, CREATE, "CreateFunction", A_WHILE, answer("CreateFunction", 429, "", ""), End::Passes(says)));
    for status in [500, 502, 503, 504] {
        let fault = answer("CreateTable", status, "InternalServerError", "oops");
        cases.push(case(
            row,
            CREATE,
            "CreateTable",
            1..3,
            fault,
            End::Passes("AWS to respond, since AWS reports: oops"),
        ));
    }
    // Without permission to read the role, engine can only wait.
    let denied = answer("GetRole", 403, "AccessDenied", "User: X is not authorized to perform: iam:GetRole");
    let says = "changes to roles and permissions can take about a minute to propagate in IAM; its trust policy can't be \
                read";
    let row = "passes: the role cannot be assumed";
    cases.push(case(row, CREATE, "CreateFunction", A_WHILE, invalid(NOT_ASSUMABLE), End::Passes(says)).and(
        "GetRole",
        2..3,
        denied,
    ));
    // The same holds if the trust policy has conditions.
    let conditional = Scene {
        world: || {
            let mut world = trusting(&json!({ "Service": "lambda.amazonaws.com" }));
            world.trust.as_mut().unwrap()["Statement"]["Condition"] =
                json!({ "StringEquals": { "aws:SourceAccount": "1" } });
            world
        },
        ..CREATE
    };
    let says = "engine can't evaluate its trust policy, because it has conditions";
    cases.push(case(row, conditional, "CreateFunction", A_WHILE, invalid(NOT_ASSUMABLE), End::Passes(says)));
    cases
}

const PRINCIPAL: &str = "arn:aws:iam::123456789012:role/caller";

fn permanent_cases() -> Vec<Case> {
    use Code::{
        AccessDenied, AwsFault, ChangedMeanwhile, KmsKeyNotUsable, NameTaken, PrincipalUnknown, RoleNotAssumable,
        StreamNotReadable,
    };
    let mut cases = Vec::new();
    let mut add = |row, scene, operation, fault, end| cases.push(case(row, scene, operation, FOR_EVER, fault, end));
    let row = "passes: a replicated function can't be deleted";
    let text = "Lambda was unable to delete X because it is a replicated function.";
    let says = &["because it is a replicated function", "CloudFront still has replicas", "run the same command again"];
    add(row, DESTROY, "DeleteFunction", invalid(text), End::Refused(says));
    let row = "stays: the trust policy is wrong";
    let wrong = Scene { world: || trusting(&json!({ "Service": ["ec2.amazonaws.com"], "AWS": PRINCIPAL })), ..CREATE };
    let says = &[
        NOT_ASSUMABLE,
        "the trust policy of the role `fhms-pulumi-challenge-lambda-execution-role` doesn't allow the service \
         `lambda.amazonaws.com` to assume it, only `arn:aws:iam::123456789012:role/caller`, the service \
         `ec2.amazonaws.com`",
        "ask the role's owner to add this statement (`aws iam update-assume-role-policy --role-name \
         fhms-pulumi-challenge-lambda-execution-role`): {\"Effect\": \"Allow\", \"Principal\": {\"Service\": \
         \"lambda.amazonaws.com\"}, \"Action\": \"sts:AssumeRole\"}",
    ];
    add(row, wrong, "CreateFunction", invalid(NOT_ASSUMABLE), End::Refused(says));
    add(row, wrong, "CreateEventSourceMapping", invalid(NOT_ASSUMABLE), End::Refused(says));
    let wrong =
        Scene { world: || World { trust: trusting(&json!({ "Service": [] })).trust, ..deployed_world() }, ..UPDATE };
    let says = &[
        "doesn't allow the service `lambda.amazonaws.com` to assume it",
        "ask the role's owner to add this statement",
    ];
    add(row, wrong, "UpdateFunctionConfiguration", invalid(NOT_ASSUMABLE), End::Refused(says));
    // engine waits for a correct trust policy or another account's role, but not forever.
    let says = &[NOT_ASSUMABLE, "allows the service `lambda.amazonaws.com` to assume it, but IAM may be slow"];
    add(row, CREATE, "CreateFunction", invalid(NOT_ASSUMABLE), End::Fails(RoleNotAssumable, 55..65, says, 100));
    let foreign = Scene {
        edit: |text| replaced(&text, "${execution-role.arn}", "arn:aws:iam::999999999999:role/somebody-elses"),
        ..CREATE
    };
    let says = &[NOT_ASSUMABLE, "it must allow `sts:AssumeRole` for the service"];
    add(row, foreign, "CreateFunction", invalid(NOT_ASSUMABLE), End::Fails(RoleNotAssumable, 55..65, says, 100));
    let row = "stays: the rights to the stream are missing";
    let says = &[
        "Please ensure the role can perform",
        "the role `fhms-pulumi-challenge-lambda-execution-role` needs dynamodb:DescribeStream, dynamodb:GetRecords, \
         dynamodb:GetShardIterator and dynamodb:ListStreams on the stream",
        "the managed policy AWSLambdaDynamoDBExecutionRole, which grants them",
        "arn:aws:iam::aws:policy/service-role/AWSLambdaDynamoDBExecutionRole",
    ];
    add(
        row,
        CREATE,
        "CreateEventSourceMapping",
        invalid(NOT_READABLE),
        End::Fails(StreamNotReadable, 55..70, says, 100),
    );
    add(
        row,
        UPDATE,
        "UpdateEventSourceMapping",
        invalid(NOT_READABLE),
        End::Fails(StreamNotReadable, 55..70, says, 100),
    );
    let row = "stays: an old role is refused";
    let old = Scene { world: with_old_roles, ..CREATE };
    let says = &[NOT_ASSUMABLE, "allows the service `lambda.amazonaws.com` to assume it"];
    add(row, old, "CreateFunction", invalid(NOT_ASSUMABLE), End::Refused(says));
    add(row, old, "CreateEventSourceMapping", invalid(NOT_ASSUMABLE), End::Refused(says));
    let says = &["Please ensure the role can perform", "AWSLambdaDynamoDBExecutionRole"];
    add(row, old, "CreateEventSourceMapping", invalid(NOT_READABLE), End::Refused(says));
    let text = "The provided execution role does not have permissions to call SendMessage on SQS";
    add(row, old, "CreateFunction", invalid(text), End::Refused(&["SendMessage"]));
    add(row, old, "CreateEventSourceMapping", invalid(text), End::Refused(&["SendMessage"]));
    let row = "passes: a fresh principal";
    let text = "The provided principal was invalid. Please check the principal and try again.";
    let fresh = Scene { edit: |text| replaced(&text, "dynamodb.amazonaws.com", PRINCIPAL), ..CREATE };
    let says = &["The provided principal was invalid", "check the ARN"];
    add(row, fresh, "AddPermission", invalid(text), End::Fails(PrincipalUnknown, 55..65, says, 100));
    add(row, CREATE, "AddPermission", invalid(text), End::Refused(&["principal was invalid"]));
    let row = "stays: two concerns in one UpdateTable";
    for text in [
        "One or more parameter values were invalid: TableClass must be the only operation in the request",
        "You cannot modify stream status while updating table IOPS",
    ] {
        let end = End::Refused(&["ValidationException"]);
        add(row, UPDATE, "UpdateTable", dynamodb("ValidationException", text), end);
    }
    let row = "stays: a quota in the words of throttling";
    let says = &["Subscriber limit exceeded"];
    for (scene, operation, text) in [
        (CREATE, "CreateTable", "Subscriber limit exceeded: There is a limit of 2500 tables per subscriber"),
        (
            CREATE,
            "CreateTable",
            "Subscriber limit exceeded: Number of global secondary indexes exceeds the limit of 20",
        ),
        (
            UPDATE,
            "UpdateTable",
            "Subscriber limit exceeded: Provisioned throughput decreases are limited within a day.",
        ),
        (UPDATE, "UpdateTable", "Subscriber limit exceeded: Table class can be changed twice in 30 days"),
        (UPDATE, "UpdateTable", "Subscriber limit exceeded: Encryption was changed too often within a given UTC day."),
    ] {
        let fault = dynamodb("LimitExceededException", text);
        add(row, scene, operation, fault, End::Refused(says));
    }
    let row = "stays: a runtime no longer supported";
    let text = "The runtime parameter of nodejs22.x is no longer supported for creating or updating AWS Lambda functions. \
                We recommend you use a supported runtime while creating or updating functions.";
    let says = &["The runtime parameter of nodejs22.x is no longer supported", "use a newer `runtime`"];
    add(row, CREATE, "CreateFunction", invalid(text), End::Refused(says));
    add(row, UPDATE, "UpdateFunctionConfiguration", invalid(text), End::Refused(says));
    let row = "stays: a 500 that repeats";
    for (scene, operation, most) in
        [(CREATE, "CreateTable", 4), (UPDATE, "UpdateTable", 8), (CREATE, "CreateFunction", 4)]
    {
        let fault = answer(operation, 500, "InternalServerError", "oops");
        let says = &["oops", "run the same command again"];
        add(row, scene, operation, fault, End::Fails(AwsFault, 0..20, says, most));
    }
    let row = "stays: access denied";
    let text = "User: arn:aws:sts::123456789012:assumed-role/student/x is not authorized to perform: iam:PassRole on \
                resource: arn:aws:iam::123456789012:role/x because no identity-based policy allows the action";
    let says = &["for the permission `iam:PassRole` on `arn:aws:iam::123456789012:role/x`"];
    let fault = answer("CreateFunction", 403, "AccessDeniedException", text);
    add(row, CREATE, "CreateFunction", fault, End::Fails(AccessDenied, AT_ONCE, says, 1));
    let fault =
        dynamodb("AccessDeniedException", "User: X is not authorized to perform: dynamodb:UpdateTable on resource: Y");
    add(row, UPDATE, "UpdateTable", fault, End::Fails(AccessDenied, AT_ONCE, &["`dynamodb:UpdateTable` on `Y`"], 1));
    let row = "stays: expired or wrong credentials";
    for (code, cause) in [
        ("ExpiredToken", Code::CredentialsExpired),
        ("ExpiredTokenException", Code::CredentialsExpired),
        ("UnrecognizedClientException", Code::CredentialsRefused),
        ("InvalidClientTokenId", Code::CredentialsRefused),
        ("SignatureDoesNotMatch", Code::CredentialsRefused),
        ("InvalidSignatureException", Code::CredentialsRefused),
    ] {
        let says = &["get new credentials", "this machine's clock"];
        let fault = answer("CreateFunction", 403, code, "The security token included in the request is invalid");
        add(row, CREATE, "CreateFunction", fault, End::Fails(cause, AT_ONCE, says, 1));
    }
    let row = "stays: no room for code, policy or key";
    let fault = answer("CreateFunction", 400, "CodeStorageExceededException", "Code storage limit exceeded.");
    let says = &["CodeStorageExceededException", "delete unused functions or versions"];
    add(row, CREATE, "CreateFunction", fault, End::Refused(says));
    let text = "The final policy size (20600) is bigger than the limit (20480).";
    let fault = answer("AddPermission", 400, "PolicyLengthExceededException", text);
    let says = &["is bigger than the limit", "remove unused statements"];
    add(row, CREATE, "AddPermission", fault, End::Refused(says));
    let fault = dynamodb("ValidationException", "KMS validation error: the key X is disabled");
    add(row, CREATE, "CreateTable", fault, End::Refused(&["the key X is disabled"]));
    let text = "Lambda was unable to configure access to your environment variables because the KMS key is invalid for \
                CreateGrant. Please check your KMS key settings.";
    let says = &["the KMS key is invalid for CreateGrant", "kms:CreateGrant"];
    add(row, CREATE, "CreateFunction", invalid(text), End::Fails(KmsKeyNotUsable, 55..65, says, 100));
    let row = "stays: another region, as a 404";
    let text = "Functions from 'us-east-1' are not reachable in this region ('eu-central-1')";
    let fault = || answer("GetFunction", 404, "ResourceNotFoundException", text);
    add(row, CREATE, "GetFunction", fault(), End::Unread("compare the region in the spec's ARNs"));
    let fault = answer("AddPermission", 404, "ResourceNotFoundException", text);
    add(row, CREATE, "AddPermission", fault, End::Refused(&["not reachable in this region"]));
    let row = "stays: a change to what is there";
    let done = |text: &str| Fault::DoneButAnswer(Reply::dynamodb("ValidationException", text));
    let text =
        "The provisioned throughput for the table will not change. The requested value equals the current value.";
    cases.push(case(row, UPDATE, "UpdateTable", 1..2, done(text), End::Passes("")));
    let switch = Scene { edit: |text| replaced(&text, "NEW_AND_OLD_IMAGES", "NEW_IMAGE"), ..UPDATE };
    cases.push(
        case(row, switch, "UpdateTable", 1..2, done("Table has no stream to disable: TableName: X"), End::Passes(""))
            .and("UpdateTable", 2..3, done("Table already has an enabled stream: TableName: X")),
    );

    // Another actor creates or deletes it first.
    let row = "stays: the trust policy is wrong";
    let says = &["account 123456789012 has no role `fhms-pulumi-challenge-lambda-execution-role`", "check the role's"];
    let end = End::Refused(says);
    cases.push(crossing(row, CREATE, "CreateFunction", 1, |world| world.roles.clear(), end));
    let row = "stays: the name of a function, statement or mapping is taken";
    let function = |world: &mut World| world.functions.clone_from(&deployed_world().functions);
    cases.push(crossing(row, CREATE, "CreateFunction", 1, function, End::Passes("")));
    let other = move |world: &mut World| {
        function(world);
        world.functions.get_mut(FUNCTION).unwrap().change_outside("Timeout", json!(77));
    };
    let says = &["another run for this team and stack created it with a different `timeout`", "`engine diff`"];
    cases.push(crossing(row, CREATE, "CreateFunction", 1, other, End::Fails(ChangedMeanwhile, AT_ONCE, says, 1)));
    let foreign = move |world: &mut World| {
        function(world);
        world.functions.get_mut(FUNCTION).unwrap().tags.insert("engine:team".into(), "red-foxes".into());
    };
    let says = &["another owner created a resource with this name in the meantime"];
    cases.push(crossing(row, CREATE, "CreateFunction", 1, foreign, End::Fails(NameTaken, AT_ONCE, says, 1)));
    let statement = |world: &mut World| {
        let mut statement = deployed_world().functions[FUNCTION].policy[0].clone();
        statement["Condition"]["ArnLike"]["AWS:SourceArn"] = world.tables[TABLE].shown["LatestStreamArn"].clone();
        world.functions.get_mut(FUNCTION).unwrap().policy.push(statement);
    };
    cases.push(crossing(row, CREATE, "AddPermission", 1, statement, End::Passes("")));
    let other = move |world: &mut World| {
        statement(world);
        world.functions.get_mut(FUNCTION).unwrap().policy[0]["Principal"]["Service"] = json!("events.amazonaws.com");
    };
    let says = &["created it with a different `principal`"];
    cases.push(crossing(row, CREATE, "AddPermission", 1, other, End::Fails(ChangedMeanwhile, AT_ONCE, says, 1)));
    let mapping = |world: &mut World| {
        let mut mapping = deployed_world().mappings[0].clone();
        mapping.shown["EventSourceArn"] = world.tables[TABLE].shown["LatestStreamArn"].clone();
        world.mappings.push(mapping);
    };
    cases.push(crossing(row, CREATE, "CreateEventSourceMapping", 1, mapping, End::Passes("")));
    let other = move |world: &mut World| {
        mapping(world);
        world.mappings[0].shown["BatchSize"] = json!(7);
    };
    let says = &["created it with a different `batch_size`"];
    cases.push(crossing(
        row,
        CREATE,
        "CreateEventSourceMapping",
        1,
        other,
        End::Fails(ChangedMeanwhile, 0..30, says, 1),
    ));
    let foreign = move |world: &mut World| {
        mapping(world);
        world.mappings[0].tags.clear();
    };
    let says = &["another owner created a resource with this name in the meantime"];
    cases.push(crossing(row, CREATE, "CreateEventSourceMapping", 1, foreign, End::Fails(NameTaken, 0..30, says, 1)));
    let row = "stays: the name of a table is taken";
    let table = |world: &mut World| world.tables.clone_from(&deployed_world().tables);
    cases.push(crossing(row, CREATE, "CreateTable", 1, table, End::Passes("")));
    let half_made = move |world: &mut World| {
        table(world);
        world.tables.get_mut(TABLE).unwrap().make_creating();
    };
    cases.push(crossing(
        row,
        CREATE,
        "CreateTable",
        1,
        half_made,
        End::Passes("the table to become ACTIVE, since AWS"),
    ));
    let leaving = move |world: &mut World| {
        table(world);
        world.delete_table(TABLE).unwrap();
    };
    let says = "an earlier change of the table to finish, since an older table with this name is being deleted";
    cases.push(crossing(row, CREATE, "CreateTable", 1, leaving, End::Passes(says)));
    let other = move |world: &mut World| {
        table(world);
        world.tables.get_mut(TABLE).unwrap().shown["ProvisionedThroughput"]["ReadCapacityUnits"] = json!(9);
    };
    let says = &["created it with a different `read_capacity`"];
    cases.push(crossing(row, CREATE, "CreateTable", 1, other, End::Fails(ChangedMeanwhile, AT_ONCE, says, 1)));
    let foreign = move |world: &mut World| {
        table(world);
        world.tables.get_mut(TABLE).unwrap().tags.insert("engine:team".into(), "red-foxes".into());
    };
    let says = &["another owner created a resource with this name in the meantime"];
    cases.push(crossing(row, CREATE, "CreateTable", 1, foreign, End::Fails(NameTaken, AT_ONCE, says, 1)));
    // engine doesn't overwrite another actor's change that it waited for.
    let row = "passes: a table in use";
    let capacity = |world: &mut World| {
        let capacity = json!({ "ReadCapacityUnits": 7, "WriteCapacityUnits": 1 });
        world.update_table(TABLE, &json!({ "ProvisionedThroughput": capacity })).unwrap();
    };
    let untagged = Scene { edit: |text| replaced(&text, "read_capacity: 1", "read_capacity: 2"), ..UPDATE };
    let end = End::Fails(ChangedMeanwhile, 0..30, &["changed in the meantime: `read_capacity`"], 3);
    cases.push(crossing(row, untagged, "UpdateTable", 1, capacity, end));
    let row = "passes: a mapping in use";
    let batch = |world: &mut World| {
        world.mappings[0].shown["BatchSize"] = json!(7);
        world.mappings[0].pass_through(&["Updating"], true);
    };
    let end = End::Fails(ChangedMeanwhile, 0..30, &["changed in the meantime: `batch_size`"], 1);
    cases.push(crossing(row, UPDATE, "UpdateEventSourceMapping", 1, batch, end));
    cases
}

fn race_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let row = "crosses: a policy names a principal that is gone";
    let named = Scene {
        edit: |text| replaced(&text, "dynamodb.amazonaws.com", PRINCIPAL),
        world: || {
            let mut world = deployed_world();
            let statement = &mut world.functions.get_mut(FUNCTION).unwrap().policy[0];
            statement["Principal"] = json!({ "AWS": "AROAEXAMPLEEXAMPLE" });
            world
        },
        ..CREATE
    };
    let text = "The provided principal was invalid. Please check the principal and try again.";
    cases.push(case(row, named, "AddPermission", 1..4, invalid(text), End::Passes("AWS to recognize the principal")));
    let row = "crosses: a policy attached right before the mapping";
    cases.push(case(
        row,
        CREATE,
        "CreateEventSourceMapping",
        1..15,
        invalid(NOT_READABLE),
        End::Passes("the role to be able to read the stream, since changes to roles"),
    ));
    let row = "crosses: a table not found right after its create";
    let gone = dynamodb("ResourceNotFoundException", "Requested resource not found: Table: X not found");
    cases.push(case(row, CREATE, "DescribeTable", 2..6, gone.clone(), End::Passes("the table to become ACTIVE")));
    cases.push(case(row, CREATE, "CreateTable", 1..2, Fault::DoneButCut, End::Passes("")).and(
        "DescribeTable",
        2..4,
        gone,
    ));
    let row = "crosses: a deleted table's name in use again";
    let again = |world: &mut World| {
        let mut table = World::one_table();
        table.reincarnate();
        world.tables.insert(TABLE.to_owned(), table);
    };
    let mut case_ = crossing(row, DESTROY, "DescribeTable", 4, again, End::Passes(""));
    case_.faults.push((
        "DescribeTable",
        3..4,
        Fault::Answer(Reply::ok(&json!({
            "Table": { "TableName": TABLE, "TableStatus": "DELETING", "TableId": "table-1" }
        }))),
    ));
    cases.push(case_);
    let row = "crosses: a function is deleted before what hangs on it is made";
    let says = &["the function blue-owls-logger was deleted outside this run", "apply again"];
    for (world, operation) in [(unpermitted as fn() -> World, "AddPermission"), (unmapped, "CreateEventSourceMapping")]
    {
        let gone = |world: &mut World| world.functions.clear();
        let fails = End::Fails(Code::ChangedMeanwhile, 15..40, says, 20);
        cases.push(crossing(row, Scene { world, ..CREATE }, operation, 1, gone, fails));
    }
    let row = "crosses: tags lag behind";
    let lagging = Scene { world: || World { tag_lag: 12, ..World::empty() }, ..CREATE };
    cases.push(case(row, lagging, "CreateTable", 1..2, Fault::DoneButCut, End::Passes("the table to become ACTIVE")));
    cases.push(Case {
        row,
        scene: lagging,
        faults: vec![],
        hooks: vec![],
        end: End::Passes("the table to become ACTIVE"),
    });
    cases
}

fn unpermitted() -> World {
    let mut world = deployed_world();
    world.functions.get_mut(FUNCTION).unwrap().policy.clear();
    world
}

fn unmapped() -> World {
    let mut world = deployed_world();
    world.mappings.clear();
    world
}

fn undocumented_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let plain = |row, scene, end| Case { row, scene, faults: Vec::new(), hooks: Vec::new(), end };
    let lenient = Scene { world: || World { lenient: true, ..World::empty() }, ..CREATE };
    cases.push(plain("either: a mapping on a table that is CREATING is taken", lenient, End::Passes("")));
    let row = "either: a mapping on a table that is CREATING is refused";
    let text = "Stream not found: arn:aws:dynamodb:eu-central-1:123456789012:table/blue-owls-todos/stream/1";
    let says = "since AWS reports: Stream not found";
    cases.push(case(row, CREATE, "CreateEventSourceMapping", A_WHILE, invalid(text), End::Passes(says)));
    let switch = Scene { edit: |text| replaced(&text, "NEW_AND_OLD_IMAGES", "NEW_IMAGE"), ..UPDATE };
    cases.push(plain(
        "either: a mapping drains a stream that was switched off",
        switch,
        End::Passes("the mapping to be deleted"),
    ));
    let quiet = |world: &mut World| {
        world.mappings[0].shown["LastProcessingResult"] = json!("PROBLEM: Stream is disabled");
        world.mappings[0].pass_through(&[], false);
    };
    let row = "either: a mapping goes quiet with its stream";
    cases.push(crossing(row, switch, "UpdateTable", 2, quiet, End::Passes("the mapping to be deleted")));
    // Another actor's update is in progress.
    let untold = |world: &mut World| {
        world.functions.get_mut(FUNCTION).unwrap().begin_change_outside(
            "SnapStart",
            json!({ "ApplyOn": "None" }),
            false,
        );
    };
    for (row, is_lenient) in [
        ("either: permissions and tags during an update are taken", true),
        ("either: permissions and tags during an update are refused", false),
    ] {
        let begin = move |world: &mut World| {
            world.lenient = is_lenient;
            untold(world);
        };
        let says = if is_lenient { "" } else { "since AWS reports: The operation cannot be performed at this time" };
        let permission = Scene { world: unpermitted, ..CREATE };
        cases.push(crossing(row, permission, "AddPermission", 1, begin, End::Passes(says)));
        let tags = Scene {
            edit: |text| replaced(&text, "    code: ../", "    tags: { course: cloud }\n    code: ../"),
            world: deployed_world,
            ..CREATE
        };
        cases.push(crossing(row, tags, "TagResource", 1, begin, End::Passes(says)));
        cases.push(crossing(row, DESTROY, "RemovePermission", 1, begin, End::Passes(says)));
    }
    // The function no longer exists, but its mapping does.
    for (row, world) in [
        ("either: the mappings of a deleted function are listed", orphans_listed as fn() -> World),
        ("either: the mappings of a deleted function are not listed", orphans_hidden),
        ("either: the mappings of a deleted function are an error", orphans_missing),
        ("either: the mappings of a deleted function are an error", orphans_invalid),
    ] {
        cases.push(plain(row, Scene { world, ..CREATE }, End::Passes("")));
    }
    let row = "either: a mapping survives its function's return";
    cases.push(crossing(row, Scene { world: orphans_listed, ..CREATE }, "CreateFunction", 1, |_| {}, End::Passes("")));
    let row = "either: a mapping is disabled by its function's return";
    let disabled = |world: &mut World| {
        world.mappings[0].pass_through(&[], false);
        world.mappings[0].shown["LastProcessingResult"] = json!("PROBLEM: Function not found");
    };
    let scene = Scene { world: orphans_listed, ..CREATE };
    cases.push(crossing(row, scene, "CreateFunction", 1, disabled, End::PassesInTwoRuns));
    cases
}

fn orphaned(orphans: Orphans) -> World {
    let mut world = deployed_world();
    world.functions.clear();
    World { orphans, ..world }
}

fn orphans_listed() -> World {
    orphaned(Orphans::Listed)
}

fn orphans_hidden() -> World {
    orphaned(Orphans::Hidden)
}

fn orphans_missing() -> World {
    orphaned(Orphans::NotFound)
}

fn orphans_invalid() -> World {
    orphaned(Orphans::Invalid)
}

fn cases() -> Vec<Case> {
    [transient_cases(), cases_of_queues(), permanent_cases(), race_cases(), undocumented_cases()]
        .into_iter()
        .flatten()
        .collect()
}

/// Runs once and returns the reported waits and the outcomes of the steps.
async fn run_once(cloud: &Cloud, project: &Project, goal: Goal) -> Result<(Vec<String>, Vec<StepOutcome>), AwsError> {
    let mut spec = load(&project.path("specs/team.yaml"));
    let (cx, _press) = context(cloud, team());
    let options = Options::default();
    let read = live::read(&cx, &spec, goal, &options, OrphanSearch::Ignored, None).await;
    let inventory = read.map_err(|mut errors| errors.remove(0).error)?;
    for declared in &mut spec.resources {
        if let Some(live) = inventory.live(&declared.name) {
            declared.id = live::with_unique_id(declared, live);
        }
        declared.id.env = Some(inventory.env.clone());
    }
    let plan = plan::plan(&spec, &inventory, goal, &options);
    assert_eq!(plan.refusals().map(|it| it.reason.clone()).collect::<Vec<_>>(), []);
    let mut waits = Vec::new();
    let mut hear = |event: &Event| {
        if let Event::Waiting(_, what) = event
            && waits.last() != Some(what)
        {
            waits.push(what.clone());
        }
    };
    let endings = apply::apply(&cx, &spec, &inventory, &plan, 16, &mut hear).await.endings;
    Ok((waits, endings))
}

async fn run_case(case: Case) {
    let Case { row, scene, faults, hooks, end } = case;
    let about = format!("{row}, {:?} {faults:?}", scene.goal);
    let cloud = Cloud::on_current_runtime((scene.world)()).await;
    cloud.world(|world| {
        // Unless the scene says otherwise.
        world.roles_created.get_or_insert(YOUNG);
    });
    // The principal of some scenes; engine reads the role and would report it as missing.
    cloud.world(|world| drop(world.roles.insert("caller".to_owned(), super::world::role::Role::old("/"))));
    let project = Project::new(scene.edit);
    for (operation, calls, fault) in &faults {
        cloud.fault(operation, calls.clone(), fault.clone());
    }
    let disturbed =
        faults.first().map(|(operation, ..)| *operation).or(hooks.first().map(|(operation, ..)| *operation));
    for (operation, call, hook) in hooks {
        cloud.before(operation, call, hook);
    }
    let start = Instant::now();
    let run = run_once(&cloud, &project, scene.goal).await;
    let took = start.elapsed().as_secs();
    let n_calls = disturbed.map_or(0, |operation| cloud.count(operation));
    match end {
        End::Passes(_) | End::PassesInTwoRuns => {
            let (waits, endings) = run.unwrap_or_else(|error| panic!("{about}: {error}"));
            assert_eq!(failures(&endings), Vec::<&AwsError>::new(), "{about}");
            for (operation, calls, _) in &faults {
                assert!(cloud.count(operation) >= calls.end - 1, "{about}: {operation} was called too seldom");
            }
            if let End::Passes(says) = end {
                assert!(waits.iter().any(|wait| wait.contains(says)) || says.is_empty(), "{about}: {waits:#?}");
            } else {
                cloud.forget();
                run_once(&cloud, &project, scene.goal).await.unwrap();
            }
            cloud.forget();
            // IAM shows the ARN of a new role late.
            cloud.world(|world| *world = world.clone().aged());
            let (_, again) =
                run_once(&cloud, &project, scene.goal).await.unwrap_or_else(|error| panic!("{about}: {error}"));
            assert_eq!(again, [], "{about}: something is left to do");
            if scene.goal == Goal::Present {
                let counts = cloud.world(|world| (world.tables.len(), world.functions.len(), world.mappings.len()));
                assert_eq!(counts, (1, 1, 1), "{about}");
                assert!(cloud.world(|world| world.mappings[0].is_enabled()), "{about}");
            }
        }
        End::Fails(cause, seconds, says, most) => {
            let (_, endings) = run.unwrap_or_else(|error| panic!("{about}: {error}"));
            assert_eq!(single_error(&endings, says, &about).cause, cause, "{about}: {endings:?}");
            assert!(seconds.contains(&took), "{about}: took {took} s");
            assert!((1..=most).contains(&n_calls), "{about}: {n_calls} calls");
        }
        End::Refused(says) => {
            let (_, endings) = run.unwrap_or_else(|error| panic!("{about}: {error}"));
            assert!(single_error(&endings, says, &about).is_final, "{about}: {endings:?}");
            assert!(AT_ONCE.contains(&took), "{about}: took {took} s");
            assert_eq!(n_calls, 1, "{about}");
        }
        End::Unread(says) => {
            let error = run.unwrap_err();
            assert!(error.is_final, "{about}: {error}");
            assert!(error.hint().contains(says), "{about}: {:?}", error.hint());
        }
    }
}

/// The only error of a run; it and its hint contain these texts.
fn single_error<'e>(endings: &'e [StepOutcome], says: &[&str], about: &str) -> &'e AwsError {
    let [error] = failures(endings)[..] else { panic!("{about}: {endings:?}") };
    let diagnostic = error.diagnostic("").worded(remedy::text);
    let text = format!("{error}\n{}\n{:?}\n{}", diagnostic.problem, diagnostic.why, diagnostic.hints.join("\n"));
    for says in says {
        assert!(text.contains(says), "{about}: no `{says}` in {text}");
    }
    error
}

/// The number of concurrent sequences.
const STAGES: usize = 3;

#[test]
fn transient_errors_are_waited_out_and_permanent_ones_reported_at_once() {
    let (next, wrong) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let n_cases = cases().len();
    std::thread::scope(|scope| {
        for _ in 0..STAGES {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases().into_iter().nth(at) else { break };
                    let mut runtime = tokio::runtime::Builder::new_current_thread();
                    let runtime = runtime.enable_all().start_paused(true).build().unwrap();
                    // A failure is already printed and doesn't stop the other sequences.
                    let played = catch_unwind(AssertUnwindSafe(|| runtime.block_on(run_case(case))));
                    wrong.fetch_add(usize::from(played.is_err()), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(wrong.into_inner(), 0, "of {n_cases} sequences");
    eprintln!("{n_cases} sequences for {} rows", ROWS.len());
}

#[test]
fn every_row_has_a_sequence_or_a_reason() {
    let cases = cases();
    assert!(cases.iter().all(|case| ROWS.contains(&case.row)), "a sequence for no row");
    for row in ROWS {
        let n_cases = cases.iter().filter(|case| case.row == *row).count();
        let elsewhere = ELSEWHERE.iter().find(|it| it.0 == *row);
        assert_eq!(n_cases == 0, elsewhere.is_some(), "{row}: {n_cases} sequences");
        if let Some(Elsewhere(_, reason, test)) = elsewhere {
            assert!(!reason.is_empty());
            if let Some((file, name)) = test {
                let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/scripted");
                let text = std::fs::read_to_string(folder.join(file)).unwrap();
                assert!(text.contains(&format!("fn {name}(")), "{row}: {file} has no {name}");
            }
        }
    }
}
