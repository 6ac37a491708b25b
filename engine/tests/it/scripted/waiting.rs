//! What engine shows while it waits: the reason, repeatedly and even while a call hangs; and what
//! to inspect when a wait times out.

use std::collections::HashMap;
use std::ops::Range;

use engine::apply::{self, Event, StepOutcome};
use engine::cause::Code;
use engine::live::{self, OrphanSearch};
use engine::plan::{self, Goal, Options, StepId};
use serde_json::json;
use tokio::time::{Duration, Instant};

use super::library::{context, failures, load, team};
use super::server::{Cloud, Fault, until};
use super::world::{Reply, World};
use super::{FUNCTION, Project, TABLE, deployed, deployed_world, replaced};

/// Runs `goal` and measures the longest silence of any step.
async fn listen(cloud: &Cloud, project: &Project, goal: Goal) -> (Duration, Vec<String>, Vec<StepOutcome>) {
    let mut spec = load(&project.path("specs/team.yaml"));
    let (cx, _press) = context(cloud, team());
    let options = Options::default();
    let inventory = live::read(&cx, &spec, goal, &options, OrphanSearch::Ignored, None).await.unwrap();
    for declared in &mut spec.resources {
        if let Some(live) = inventory.live(&declared.name) {
            declared.id = live::with_unique_id(declared, live);
        }
        declared.id.env = Some(inventory.env.clone());
    }
    let plan = plan::plan(&spec, &inventory, goal, &options);
    let mut heard: HashMap<StepId, Instant> = HashMap::new();
    let (mut silence, mut waits) = (Duration::ZERO, Vec::new());
    let mut hear = |event: &Event| {
        let id = match event {
            Event::Started(id) => *id,
            Event::Waiting(id, what) => {
                if !waits.contains(what) {
                    waits.push(what.clone());
                }
                *id
            }
            Event::Finished(id, _) => *id,
            Event::Interrupted => return,
        };
        let last = heard.insert(id, Instant::now()).unwrap_or_else(Instant::now);
        silence = silence.max(last.elapsed());
    };
    let endings = apply::apply(&cx, &spec, &inventory, &plan, 16, &mut hear).await.endings;
    (silence, waits, endings)
}

#[tokio::test(start_paused = true)]
async fn no_step_is_silent_while_its_own_or_another_call_hangs() {
    let cases = [
        ("CreateTable", 1..2, World::empty as fn() -> World, Goal::Present),
        ("CreateFunction", 1..2, World::empty, Goal::Present),
        ("DescribeTable", 3..5, World::empty, Goal::Present),
        ("AddPermission", 1..2, World::empty, Goal::Present),
        ("GetFunction", 2..3, deployed_world, Goal::Present),
        ("UpdateFunctionConfiguration", 1..2, deployed_world, Goal::Present),
        ("UpdateTable", 1..2, deployed_world, Goal::Present),
        ("DeleteEventSourceMapping", 1..2, deployed_world, Goal::Absent),
        ("DeleteTable", 1..2, deployed_world, Goal::Absent),
    ];
    for (operation, calls, world, goal) in cases {
        let cloud = Cloud::on_current_runtime(world()).await;
        let project = Project::new(|text| {
            let text = replaced(&text, "read_capacity: 1", "read_capacity: 2");
            replaced(&text, "    code: ../", "    memory_size: 256\n    code: ../")
        });
        cloud.fault(operation, calls, Fault::Silence);
        let start = Instant::now();
        let (silence, waits, endings) = listen(&cloud, &project, goal).await;
        assert_eq!(failures(&endings), Vec::<&engine::aws::AwsError>::new(), "{operation}");
        assert!(start.elapsed() > Duration::from_secs(25), "{operation} has not hung");
        assert!(silence <= Duration::from_secs(5), "{operation}: silent for {silence:?}");
        assert!(waits.iter().any(|what| what == "AWS to respond"), "{operation}: {waits:?}");
    }
}

#[test]
fn the_binary_shows_what_it_reads_and_what_it_waits_for() {
    let cloud = Cloud::start(World::empty());
    let project = Project::usual();
    cloud.hold();
    let running = project.start(&cloud, &["apply"]);
    cloud.held_reads();
    until(
        "what is read",
        || running.said(),
        |said| {
            said.contains("waiting for a response from AWS about blue-owls, blue-owls-logger, ")
                && said.contains(" more (3 s)")
        },
    );
    cloud.release();
    // Permission checks come before the first write.
    cloud.held(2);
    cloud.release();
    cloud.held(2);
    let says = |words: &'static str| until("a message", || running.said(), move |said| said.contains(words));
    says("todos: still creating, waiting for AWS to respond (");
    says("logger: still creating, waiting for AWS to respond (");
    cloud.let_go();
    running.end().ends_with(0);
}

/// A state that AWS never leaves: from which call on it is shown, when the wait for it ends, and
/// which command then inspects it.
struct Stuck {
    operation: &'static str,
    calls: Range<usize>,
    shows: serde_json::Value,
    world: fn() -> World,
    goal: Goal,
    seconds: Range<u64>,
    look: &'static str,
}

#[tokio::test(start_paused = true)]
async fn a_stuck_state_times_out_with_a_command_to_inspect_it() {
    let table = |status: &str| {
        json!({ "Table": {
            "TableName": TABLE,
            "TableId": "table-1",
            "TableStatus": status,
            "ProvisionedThroughput": { "ReadCapacityUnits": 1, "WriteCapacityUnits": 1 },
        } })
    };
    let function = |state: &str, update: &str| {
        json!({
            "Configuration": { "FunctionName": FUNCTION, "State": state, "LastUpdateStatus": update },
            "Tags": { "engine:team": "blue-owls", "engine:stack": "team", "engine:resource": "logger" },
        })
    };
    let uuid = "00000000-0000-4000-8000-000000000002";
    let mapping = |state: &str| json!({ "UUID": uuid, "State": state });
    let of_table = "`aws dynamodb describe-table --table-name blue-owls-todos --region eu-central-1`";
    let of_function = "`aws lambda get-function-configuration --function-name blue-owls-logger --region eu-central-1`";
    let of_mapping = "`aws lambda get-event-source-mapping --uuid 00000000-0000-4000-8000-000000000002 --region";
    let stuck = |operation, from: usize, shows, world, goal, seconds, look| Stuck {
        operation,
        calls: from..usize::MAX,
        shows,
        world,
        goal,
        seconds,
        look,
    };
    let empty: fn() -> World = World::empty;
    let full: fn() -> World = deployed_world;
    let cases = [
        stuck("DescribeTable", 2, table("CREATING"), empty, Goal::Present, 598..605, of_table),
        stuck("DescribeTable", 3, table("UPDATING"), full, Goal::Present, 1198..1210, of_table),
        stuck("DescribeTable", 5, table("DELETING"), full, Goal::Absent, 598..615, of_table),
        stuck("GetFunction", 2, function("Pending", ""), empty, Goal::Present, 598..605, of_function),
        stuck("GetFunction", 4, function("Active", "InProgress"), full, Goal::Present, 598..610, of_function),
        stuck("GetEventSourceMapping", 1, mapping("Creating"), empty, Goal::Present, 598..615, of_mapping),
        stuck("GetEventSourceMapping", 2, mapping("Deleting"), full, Goal::Absent, 298..310, of_mapping),
    ];
    for Stuck { operation, calls, shows, world, goal, seconds, look } in cases {
        let cloud = Cloud::on_current_runtime(world()).await;
        let project = Project::new(|text| {
            let text = replaced(&text, "read_capacity: 1", "read_capacity: 2");
            replaced(&text, "    code: ../", "    memory_size: 256\n    code: ../")
        });
        cloud.fault(operation, calls.clone(), Fault::Answer(Reply::ok(&shows)));
        let start = Instant::now();
        let (_, _, endings) = listen(&cloud, &project, goal).await;
        let about = format!("{operation} from {} on, {goal:?}", calls.start);
        let failed = failures(&endings);
        assert_eq!(
            failed.iter().map(|error| error.cause).collect::<Vec<_>>(),
            [Code::WaitOverdue],
            "{about}: {failed:?}"
        );
        let hint = failed[0].hint();
        assert!(hint.contains(look) && hint.contains("to continue waiting"), "{about}: {hint:?}");
        assert!(failed[0].message.starts_with("still waiting for the "), "{about}: {}", failed[0].message);
        assert!(seconds.contains(&start.elapsed().as_secs()), "{about}: {:?}", start.elapsed());
    }
}

/// A role without which Lambda can't remove the network interfaces of a deleted function.
#[tokio::test(start_paused = true)]
async fn a_role_whose_network_interfaces_stay_is_kept_until_a_later_run() {
    let (name, policy) = ("blue-owls-runner", r#"{"Statement":[{"Effect":"Allow","Action":"ec2:*","Resource":"*"}]}"#);
    let mut world = deployed_world();
    let owner = [("engine:team", "blue-owls"), ("engine:stack", "team"), ("engine:resource", "runner")];
    let tags = owner.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    world.add_role(name, tags).inline.insert("engine".to_owned(), policy.to_owned());
    world.interfaces = vec![("AROAEXAMPLE:123456789012".to_owned(), u32::MAX)];
    let cloud = Cloud::on_current_runtime(world).await;
    let project = Project::new(|text| {
        replaced(
            &text,
            "resources:\n",
            "resources:\n  runner: { type: role, trusted_services: [states.amazonaws.com] }\n",
        )
    });
    let start = Instant::now();
    let (_, waits, endings) = listen(&cloud, &project, Goal::Absent).await;
    let failed = failures(&endings);
    assert_eq!(failed.iter().map(|error| error.cause).collect::<Vec<_>>(), [Code::WaitOverdue], "{failed:?}");
    assert!(failed[0].message.starts_with("still waiting for Lambda to remove its network interfaces after 60 s"));
    assert!(failed[0].hint().contains("aws ec2 describe-network-interfaces"), "{:?}", failed[0].hint());
    assert!(waits.iter().any(|it| it.contains("5 to 45 minutes")), "{waits:?}");
    assert!((60..75).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    // Everything else is deleted, and the role can still do its work.
    cloud.world(|world| {
        assert!(world.tables.is_empty() && world.functions.is_empty());
        assert_eq!(world.roles[name].inline.len(), 1);
        world.interfaces.clear();
    });
    let (_, _, endings) = listen(&cloud, &project, Goal::Absent).await;
    assert_eq!(failures(&endings), Vec::<&engine::aws::AwsError>::new());
    assert!(!cloud.world(|world| world.roles.contains_key(name)));
}

#[test]
fn a_wait_for_an_unknown_owner_is_reported() {
    let cloud = deployed();
    let arn = "arn:aws:dynamodb:eu-central-1:123456789012:table/blue-owls-todos";
    let creating = json!({ "Table": { "TableName": TABLE, "TableArn": arn, "TableStatus": "CREATING" } });
    let gone = Reply::dynamodb("ResourceNotFoundException", "Requested resource not found: ResourcArn: X not found");
    cloud.always("ListTagsOfResource", Fault::Answer(gone));
    cloud.always("DescribeTable", Fault::Answer(Reply::ok(&creating)));
    let project = Project::usual();
    let running = project.start(&cloud, &["apply"]);
    let words = "waiting for AWS to return its tags and settings (blue-owls-todos) (";
    until("the reason", || running.said(), |said| said.contains(words));
    running.press_ctrl_c();
    running.end().ends_with(130);
}

#[tokio::test(start_paused = true)]
async fn retry_messages_leak_no_environment_values() {
    let cloud = Cloud::on_current_runtime(World::empty()).await;
    let project =
        Project::new(|text| replaced(&text, "    code: ../", "    environment: { TOKEN: hunter2 }\n    code: ../"));
    let text = "Busy with {\"TOKEN\":\"hunter2\"}, K=hunter2";
    cloud.fault("CreateFunction", 1..4, Fault::Answer(Reply::lambda(409, "ResourceConflictException", text)));
    cloud.fault("CreateFunction", 4..5, Fault::Answer(Reply::lambda(500, "ServiceException", text)));
    let (_, waits, endings) = listen(&cloud, &project, Goal::Present).await;
    assert_eq!(failures(&endings), Vec::<&engine::aws::AwsError>::new());
    assert_eq!(
        waits.iter().filter(|what| what.contains("Busy with {\"TOKEN\":\"***\"}, K=***")).count(),
        2,
        "{waits:?}"
    );
    assert!(!waits.iter().any(|what| what.contains("hunter2")), "{waits:?}");
}
