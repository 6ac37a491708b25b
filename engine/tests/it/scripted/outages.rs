//! A network that fails in the middle of a run and recovers, responses that get lost together with
//! the read that would check for them, and a machine that goes to sleep.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use engine::aws::{AwsError, Code, Wait};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, advance};

use super::library::{context, failures, load, run, team};
use super::server::{Cloud, Fault, until};
use super::world::{Reply, World};
use super::{Project, TABLE, deployed, deployed_world, diff_is_empty, replaced};
use crate::support::DEADLINE;

/// Each create, and the read that shows what it created.
const CREATES: [(&str, &str); 4] = [
    ("CreateTable", "DescribeTable"),
    ("CreateFunction", "GetFunction"),
    ("AddPermission", "GetPolicy"),
    ("CreateEventSourceMapping", "ListEventSourceMappings"),
];

#[track_caller]
fn is_one_pipeline(cloud: &Cloud, what: &str) {
    let (tables, functions, statements, mappings) = cloud.world(|world| {
        let statements: usize = world.functions.values().map(|function| function.policy.len()).sum();
        (world.tables.len(), world.functions.len(), statements, world.mappings.len())
    });
    assert_eq!((tables, functions, statements, mappings), (1, 1, 1, 1), "{what}");
}

/// A connection between the binary and the scripted AWS that can be cut: then nothing listens on
/// it.
struct CuttableConnection {
    url: String,
    /// Whether to restore the connection, and where to confirm that.
    orders: mpsc::UnboundedSender<(bool, std::sync::mpsc::Sender<()>)>,
}

impl CuttableConnection {
    fn to(cloud: &Cloud) -> CuttableConnection {
        let target: SocketAddr = cloud.url.trim_start_matches("http://").parse().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (orders, mut inbox) = mpsc::unbounded_channel::<(bool, std::sync::mpsc::Sender<()>)>();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut whole = carry(TcpListener::from_std(listener).unwrap(), target);
                // The sender is dropped when the test ends.
                while let Some((mends, done)) = inbox.recv().await {
                    whole.shutdown().await;
                    if mends {
                        whole = carry(TcpListener::bind(address).await.unwrap(), target);
                    }
                    done.send(()).unwrap();
                }
            });
        });
        CuttableConnection { url: format!("http://{address}"), orders }
    }

    fn order(&self, mends: bool) {
        let (done, heard) = std::sync::mpsc::channel();
        self.orders.send((mends, done)).unwrap();
        heard.recv_timeout(DEADLINE).unwrap();
    }

    fn cut(&self) {
        self.order(false);
    }

    fn restore(&self) {
        self.order(true);
    }
}

/// Forwards bytes both ways until it is shut down.
fn carry(listener: TcpListener, target: SocketAddr) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut lines = JoinSet::new();
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            lines.spawn(async move {
                if let Ok(mut far) = TcpStream::connect(target).await {
                    // An error here means that the connection was cut.
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                }
            });
        }
    });
    tasks
}

#[test]
fn a_run_waits_for_a_network_that_fails_midway() {
    let cases: [(&[&str], &str, World); 2] = [
        (&["apply"], "CreateFunction", World::empty()),
        (&["destroy", "--yes"], "DeleteEventSourceMapping", deployed_world()),
    ];
    for (args, operation, world) in cases {
        let cloud = Cloud::start(world);
        let wire = CuttableConnection::to(&cloud);
        let project = Project::usual();
        let running = project.command_on(&wire.url, args).start();
        cloud.wait_for(operation, 1);
        wire.cut();
        let said = || running.said();
        until("the message", said, |said| said.contains("waiting for the network to come back (no response from AWS)"));
        wire.restore();
        running.end().ends_with(0);
        if args[0] == "apply" {
            is_one_pipeline(&cloud, "apply");
            diff_is_empty(&project, &cloud);
        } else {
            assert!(cloud.world(|world| world.is_empty()), "{:?}", cloud.calls());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn minutes_without_a_network_only_delay_a_run() {
    // Before a create, during a wait, before and during the read before a write, and between two
    // writes.
    let moments = [
        ("CreateTable", 1, false),
        ("CreateFunction", 1, false),
        ("AddPermission", 1, false),
        ("CreateEventSourceMapping", 1, false),
        ("DescribeTable", 3, false),
        ("GetEventSourceMapping", 2, false),
        ("GetFunction", 2, true),
        ("DescribeTable", 2, true),
        ("UpdateTable", 1, true),
        ("UpdateFunctionConfiguration", 1, true),
        ("GetFunction", 5, true),
        ("UpdateEventSourceMapping", 1, true),
    ];
    for (operation, call, updates) in moments {
        let cloud = Cloud::on_current_runtime(if updates { deployed_world() } else { World::empty() }).await;
        let project = Project::new(|text| {
            let text = replaced(&text, "read_capacity: 1", "read_capacity: 2");
            replaced(&text, "    code: ../", "    memory_size: 256\n    code: ../") + "    batch_size: 10\n"
        });
        let mut spec = load(&project.path("specs/team.yaml"));
        let (cx, _press) = context(&cloud, team());
        cloud.before(operation, call, |world| world.go_dark(Duration::from_secs(200)));
        let start = Instant::now();
        let endings = run(&cx, &mut spec).await;
        assert_eq!(failures(&endings), Vec::<&AwsError>::new(), "{operation} {call}");
        let took = start.elapsed().as_secs();
        assert!((200..260).contains(&took), "{operation} {call}: took {took} s");
        is_one_pipeline(&cloud, operation);
        let mut spec = load(&project.path("specs/team.yaml"));
        assert_eq!(run(&cx, &mut spec).await, [], "{operation} {call}: nothing is left to do");
    }
}

#[tokio::test(start_paused = true)]
async fn a_network_that_does_not_come_back_ends_the_run() {
    for operation in ["CreateTable", "DescribeTable"] {
        let cloud = Cloud::on_current_runtime(World::empty()).await;
        let project = Project::usual();
        let mut spec = load(&project.path("specs/team.yaml"));
        let (cx, _press) = context(&cloud, team());
        cloud.before(operation, 2 - usize::from(operation == "CreateTable"), |world| {
            world.go_dark(Duration::from_secs(100_000));
        });
        let start = Instant::now();
        let endings = run(&cx, &mut spec).await;
        let took = start.elapsed().as_secs();
        assert!((600..660).contains(&took), "{operation}: took {took} s");
        let failed = failures(&endings);
        assert!(!failed.is_empty() && failed.iter().all(|error| error.is(Code::OutOfReach)), "{endings:?}");
        assert!(failed[0].message.contains("AWS couldn't be reached for 600 s"), "{}", failed[0]);
        assert!(failed[0].hint().contains("check the network"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_create_is_checked_before_it_is_retried() {
    let server_fault = |operation: &str| Reply::of(operation, 503, "ServiceUnavailable", "oops");
    for (create, look) in CREATES {
        for done in [true, false] {
            // How long the check itself fails, and how.
            for (what, fault) in [("cut", Fault::Cut), ("503", Fault::Answer(server_fault(look)))] {
                let cloud = Cloud::on_current_runtime(World::empty()).await;
                let project = Project::usual();
                let mut spec = load(&project.path("specs/team.yaml"));
                let (cx, _press) = context(&cloud, team());
                cloud.fault(create, 1..2, if done { Fault::DoneButCut } else { Fault::Cut });
                // The plan makes the first read.
                let n = if what == "cut" { 40 } else { 3 };
                cloud.fault(look, 2..2 + n, fault);
                let endings = run(&cx, &mut spec).await;
                assert_eq!(failures(&endings), Vec::<&AwsError>::new(), "{create}, {what}");
                assert_eq!(cloud.count(create), if done { 1 } else { 2 }, "{create}, {what}, done: {done}");
                let calls = cloud.calls();
                if !done {
                    let creates = calls.iter().enumerate().filter(|(_, call)| call.operation == create);
                    let [first, second] = creates.map(|(at, _)| at).collect::<Vec<_>>()[..] else { panic!() };
                    let mut looks = calls[first..second].iter().filter(|call| call.operation == look);
                    assert!(looks.clone().count() > n, "{create}, {what}");
                    assert_eq!(
                        looks.next_back().map(|call| call.status >= 500 || call.status == 0),
                        Some(false),
                        "{create}"
                    );
                }
                is_one_pipeline(&cloud, create);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn retries_of_a_repeated_server_fault_end_soon() {
    let oops = |operation: &str| Reply::of(operation, 500, "InternalServerError", "oops");
    for (operation, updates, most) in
        [("CreateTable", false, 4), ("CreateFunction", false, 4), ("UpdateTable", true, 8), ("AddPermission", false, 4)]
    {
        let cloud = Cloud::on_current_runtime(if updates { deployed_world() } else { World::empty() }).await;
        let project = Project::new(|text| replaced(&text, "read_capacity: 1", "read_capacity: 2"));
        let mut spec = load(&project.path("specs/team.yaml"));
        let (cx, _press) = context(&cloud, team());
        cloud.always(operation, Fault::Answer(oops(operation)));
        let start = Instant::now();
        let endings = run(&cx, &mut spec).await;
        let causes: Vec<Code> = failures(&endings).iter().map(|error| error.cause).collect();
        assert_eq!(causes, [Code::AwsFault], "{operation}");
        assert!(start.elapsed() < Duration::from_secs(60), "{operation}: {:?}", start.elapsed());
        assert!((2..=most).contains(&cloud.count(operation)), "{operation}: {} calls", cloud.count(operation));
    }
}

// A machine that sleeps.

const HOUR: Duration = Duration::from_secs(3600);

/// Each case is a reason to wait while the machine falls asleep.
#[tokio::test(start_paused = true)]
async fn an_hour_of_sleep_ends_no_wait() {
    let creating = json!({ "Table": { "TableName": TABLE, "TableStatus": "CREATING" } });
    let pending = json!({ "Configuration": { "FunctionName": "blue-owls-logger", "State": "Pending" } });
    let busy = "The operation cannot be performed at this time. An update is in progress for resource: X";
    let throttled = Reply::dynamodb("ThrottlingException", "Rate exceeded");
    let cases = [
        ("DescribeTable", 2, Reply::ok(&creating)),
        ("GetFunction", 2, Reply::ok(&pending)),
        ("AddPermission", 1, Reply::lambda(409, "ResourceConflictException", busy)),
        ("CreateTable", 1, throttled),
        ("CreateFunction", 1, super::world::not_assumable()),
    ];
    for (operation, first, reply) in cases {
        let cloud = Cloud::on_current_runtime(World::young()).await;
        let project = Project::usual();
        let mut spec = load(&project.path("specs/team.yaml"));
        let (cx, _press) = context(&cloud, team());
        cloud.fault(operation, first..10, Fault::Answer(reply));
        let sleep = async {
            while cloud.count(operation) < 6 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            advance(HOUR).await;
        };
        let (endings, ()) = tokio::join!(run(&cx, &mut spec), sleep);
        assert_eq!(failures(&endings), Vec::<&AwsError>::new(), "{operation}");
        is_one_pipeline(&cloud, operation);
    }
}

/// The wait alone: time asleep doesn't count, time awake does, and a read follows the sleep.
#[tokio::test(start_paused = true)]
async fn sleep_does_not_count_and_is_followed_by_a_read() {
    let cloud = Cloud::on_current_runtime(World::empty()).await;
    let (cx, _press) = context(&cloud, team());
    let wait = Wait { what: "it", reason: "", inspect_cmd: "", limit: None, budget: Duration::from_secs(60) };
    // The machine falls asleep just before the budget ends, during a read or between two;
    // afterwards the resource exists.
    for in_a_look in [true, false] {
        let (start, cx) = (Instant::now(), &cx);
        let is_late = move || start.elapsed() > Duration::from_secs(57);
        let probe = || async move {
            let asleep_before = start.elapsed() > HOUR;
            if in_a_look && is_late() && !asleep_before {
                advance(HOUR).await;
            }
            Ok(asleep_before.then_some(()))
        };
        let sleep = async {
            while !in_a_look && !is_late() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            if !in_a_look {
                advance(HOUR).await;
            }
        };
        let (done, ()) = tokio::join!(cx.until(wait, "x", probe), sleep);
        assert_eq!(done, Ok(()), "in a look: {in_a_look}");
    }
    // An endless wait still times out, later by the time asleep.
    let (start, slept) = (Instant::now(), AtomicU32::new(0));
    let probe = || async {
        if slept.fetch_add(1, Ordering::Relaxed) == 100 {
            advance(HOUR).await;
        }
        Ok(None::<()>)
    };
    let error = cx.until(wait, "x", probe).await.unwrap_err();
    assert_eq!(error.cause, Code::WaitOverdue);
    let awake = start.elapsed() - HOUR;
    assert!((50..70).contains(&awake.as_secs()), "{awake:?}");
}

#[test]
fn a_plan_does_not_wait_for_a_network() {
    // Before anything is written, successful reads are no reason to wait for the failing ones.
    let cloud = deployed();
    for operation in ["GetFunction", "GetPolicy"] {
        cloud.always(operation, Fault::Cut);
    }
    let run = Project::usual().run(&cloud, &["apply"]);
    run.ends_with(1).complains("AWS can't be reached").complains_once();
    assert!(run.took < Duration::from_secs(20), "took {:?}", run.took);
    assert_eq!(super::writes(&cloud), [""; 0]);
}
