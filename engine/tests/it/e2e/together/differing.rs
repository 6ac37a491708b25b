//! Two specs of one team and stack that differ: between two calls of one apply, the other apply
//! runs completely.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use super::super::project::{Account, Project, Ran};
use super::super::{NO_CHANGES, TEAM};
use super::{CODE, CONFLICT_TEXTS, EXTENT, Extent, OTHER_CODE};
use crate::shared::DEADLINE;
use crate::shared::proxy::{Proxy, Request};

const RUNNER: &str = "blue-owls-runner";

/// The differences between a spec and the deployed one.
type Edits = &'static [(&'static str, &'static str)];

const CAPACITY: (&str, &str) = ("read_capacity: 1", "read_capacity: 2");
const MEMORY: (&str, &str) = ("handler: index.handler", "handler: index.handler\n    memory_size: 256");
const BATCH: (&str, &str) = ("TRIM_HORIZON", "TRIM_HORIZON\n    batch_size: 10");
const NO_MAPPING: (&str, &str) = (
    "  todos-to-logger:\n    type: mapping\n    function: ${logger.arn}\n    \
     event_source_arn: ${todos.stream_arn}\n    starting_position: TRIM_HORIZON\n",
    "",
);

/// A role and a log group of the spec.
const OWN: (&str, &str) = (
    "resources:\n",
    "resources:\n  audit:\n    type: log_group\n    retention_in_days: 14\n  runner:\n    type: role\n    \
     trusted_services: [states.amazonaws.com]\n    managed_policy_arns: [arn:aws:iam::aws:policy/ReadOnlyAccess]\n    \
     statements: [{ actions: [ses:SendEmail], resources: [\"*\"] }]\n",
);
const POLICY: (&str, &str) = ("actions: [ses:SendEmail]", "actions: [s3:GetObject]");
const RETENTION: (&str, &str) = ("retention_in_days: 14", "retention_in_days: 30");
const ATTACHED: (&str, &str) =
    ("policy/ReadOnlyAccess]", "policy/ReadOnlyAccess, arn:aws:iam::aws:policy/IAMFullAccess]");

/// The edits of the apply under test, those of the concurrent apply, and the facet in conflict.
const PAIRS: [(Edits, Edits, &str); 8] = [
    (&[CAPACITY, MEMORY, BATCH], &[("read_capacity: 1", "read_capacity: 3")], "capacity"),
    (
        &[CAPACITY, MEMORY, BATCH],
        &[("handler: index.handler", "handler: index.handler\n    memory_size: 512")],
        "memory",
    ),
    (&[CAPACITY, MEMORY, BATCH], &[(CODE, OTHER_CODE)], "code"),
    (&[CAPACITY, MEMORY, BATCH], &[NO_MAPPING], "mappings"),
    (&[MEMORY, NO_MAPPING], &[("TRIM_HORIZON", "TRIM_HORIZON\n    batch_size: 20")], "mappings"),
    (
        &[POLICY, RETENTION, ATTACHED],
        &[("actions: [ses:SendEmail]", "actions: [ses:SendEmail, \"s3:List*\"]")],
        "policy",
    ),
    (
        &[POLICY, RETENTION, ATTACHED],
        &[("policy/ReadOnlyAccess]", "policy/ReadOnlyAccess, arn:aws:iam::aws:policy/AWSLambda_FullAccess]")],
        "attached",
    ),
    (&[POLICY, RETENTION], &[("    retention_in_days: 14\n", "")], "retention"),
];

/// The current values of the properties in which the specs differ.
fn current_values(aws: &Account) -> BTreeMap<&'static str, String> {
    let table = aws.table("blue-owls-todos");
    let function = aws.lambda.get_function_configuration().function_name("blue-owls-logger");
    let function = aws.wait(function.send());
    let mappings = aws.wait(aws.lambda.list_event_source_mappings().send()).event_source_mappings.unwrap_or_default();
    let batches: Vec<_> = mappings.iter().map(|mapping| mapping.batch_size).collect();
    let policy = aws.wait(aws.iam.get_role_policy().role_name(RUNNER).policy_name("engine").send());
    let attached = aws.wait(aws.iam.list_attached_role_policies().role_name(RUNNER).send());
    let group = aws.wait(aws.log_client().describe_log_groups().log_group_name_prefix("blue-owls-audit").send());
    BTreeMap::from([
        ("capacity", format!("{:?}", table.provisioned_throughput().unwrap().read_capacity_units)),
        ("memory", format!("{:?}", function.memory_size)),
        ("code", format!("{:?}", function.code_sha256)),
        ("mappings", format!("{batches:?}")),
        ("policy", policy.policy_document),
        ("attached", format!("{:?}", attached.attached_policies)),
        ("retention", format!("{:?}", group.log_groups().first().unwrap().retention_in_days)),
    ])
}

/// How a call accesses a facet.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Touch {
    Reads(&'static str),
    /// Writes without a lock: AWS has none for tables, mappings, roles and log groups. An update of
    /// a function names the revision that was read.
    Writes(&'static str),
}

fn touch(request: &Request) -> Option<Touch> {
    let (method, path) = request.head.split_once(' ').unwrap();
    let of_one = path.split_once("/event-source-mappings/").is_some();
    if let Some(action) = request.body.strip_prefix(b"Action=") {
        let action = action.split(|byte| *byte == b'&').next().unwrap();
        return match std::str::from_utf8(action).unwrap() {
            "GetRolePolicy" => Some(Touch::Reads("policy")),
            "PutRolePolicy" => Some(Touch::Writes("policy")),
            "ListAttachedRolePolicies" => Some(Touch::Reads("attached")),
            "AttachRolePolicy" | "DetachRolePolicy" => Some(Touch::Writes("attached")),
            _ => None,
        };
    }
    match method {
        "GET" if of_one => Some(Touch::Reads("mappings")),
        "PUT" | "DELETE" if of_one => Some(Touch::Writes("mappings")),
        _ if request.is("DescribeTable") => Some(Touch::Reads("capacity")),
        _ if request.is("UpdateTable") => Some(Touch::Writes("capacity")),
        _ if path.contains("Logs_20140328.DescribeLogGroups\r\n") => Some(Touch::Reads("retention")),
        _ if path.contains("Logs_20140328.PutRetentionPolicy\r\n") => Some(Touch::Writes("retention")),
        _ => None,
    }
}

/// The result of an apply during which the concurrent apply ran.
struct RaceResult {
    /// The facets right after the concurrent apply.
    then: BTreeMap<&'static str, String>,
    /// The call before which the concurrent apply ran, and all later calls.
    calls: Vec<(String, Option<Touch>)>,
    ran: Ran,
}

impl RaceResult {
    /// Whether a facet was written without being read again. Where AWS has no lock, a run can't
    /// notice a change between its read and its write.
    fn wrote_without_reread(&self, facet: &'static str) -> bool {
        let mut touches = self.calls.iter().filter_map(|(_, touch)| *touch);
        touches.find(|it| [Touch::Reads(facet), Touch::Writes(facet)].contains(it)) == Some(Touch::Writes(facet))
    }
}

struct Case {
    account: String,
    specs: [String; 2],
}

impl Case {
    fn new(project: &Project, number: usize, (ours, theirs, _): (Edits, Edits, &str)) -> Case {
        let account = format!("22{number:010}");
        let base = project.spec_for(TEAM, &account);
        project.edit(&base, &[("team: blue-owls", "stack: app\nteam: blue-owls"), OWN]);
        let specs = [("ours", ours), ("theirs", theirs)].map(|(name, edits)| {
            let spec = format!("specs/{account}-{name}.yaml");
            project.write(&spec, &project.read(&base));
            project.edit(&spec, edits);
            spec
        });
        project.run(&["apply", &base, "--local"]).expect(0, &[]);
        Case { account, specs }
    }

    /// Runs the apply under test, with the concurrent apply before its call number `at`; `None` if
    /// there is no such call.
    fn run(&self, project: &Arc<Project>, at: usize) -> Option<RaceResult> {
        let [ours, theirs] = &self.specs;
        let endpoint = project.endpoint();
        let n_calls = AtomicUsize::new(0);
        let (then, calls) = (Arc::new(Mutex::new(None)), Arc::new(Mutex::new(Vec::new())));
        let theirs_done = (Mutex::new(false), Condvar::new());
        let proxy = {
            let (project, then, calls) = (Arc::clone(project), Arc::clone(&then), Arc::clone(&calls));
            let (theirs, upstream, account) = (theirs.clone(), endpoint.clone(), self.account.clone());
            Proxy::new(&endpoint, move |request| {
                let number = n_calls.fetch_add(1, Ordering::SeqCst) + 1;
                if number == at {
                    project.run(&["apply", &theirs, "--local", "--yes"]).expect(0, &[]);
                    *then.lock().unwrap() = Some(current_values(&Account::new(&upstream, &account)));
                    *theirs_done.0.lock().unwrap() = true;
                    theirs_done.1.notify_all();
                }
                if number >= at {
                    let done = theirs_done.0.lock().unwrap();
                    let (done, _) = theirs_done.1.wait_timeout_while(done, DEADLINE * 10, |done| !*done).unwrap();
                    assert!(*done, "theirs has not ended well");
                    drop(done);
                    let line = request.head.split("\r\n").next().unwrap().to_owned();
                    calls.lock().unwrap().push((line, touch(request)));
                }
                request.forward()
            })
        };
        let ran = project.run_at(&proxy.endpoint(), &self.account, &["apply", ours, "--yes", "--parallelism", "1"]);
        drop(proxy);
        let (then, calls) = (then.lock().unwrap().take()?, std::mem::take(&mut *calls.lock().unwrap()));
        Some(RaceResult { then, calls, ran })
    }
}

/// How many calls a command makes.
fn n_calls(project: &Project, account: &str, args: &[&str]) -> usize {
    let count = Arc::new(AtomicUsize::new(0));
    let proxy = {
        let count = Arc::clone(&count);
        Proxy::new(&project.endpoint(), move |request| {
            count.fetch_add(1, Ordering::SeqCst);
            request.forward()
        })
    };
    project.run_at(&proxy.endpoint(), account, args).expect(0, &[]);
    count.load(Ordering::SeqCst)
}

#[test]
fn changes_by_a_concurrent_apply_are_not_silently_overwritten() {
    let project = Arc::new(Project::new());
    let (step, seed) = match *EXTENT {
        Extent::All => (1, 0),
        Extent::Sample(seed) => (6, usize::try_from(seed % 6).unwrap()),
    };
    let n_reported: Vec<usize> = std::thread::scope(|scope| {
        let pairs = PAIRS.into_iter().enumerate().map(|(number, pair)| {
            let project = &project;
            scope.spawn(move || {
                let probe = Case::new(project, number * 100, pair);
                // Only calls after the plan, which shows all earlier changes. With `--prune-scan`,
                // `diff` reads all that `apply` reads.
                let n_reads = n_calls(project, &probe.account, &["diff", &probe.specs[0], "--prune-scan"]);
                let (mut n_told, mut n_well, mut n_between) = (0, 0, 0);
                for at in (n_reads + 1 + (number + seed) % step..).step_by(step) {
                    let case = Case::new(project, number * 100 + at, pair);
                    let Some(met) = case.run(project, at) else { break };
                    let aws = project.account(&case.account);
                    let RaceResult { then, calls, ran } = &met;
                    let context = format!("pair {number}, theirs before call {at}, {calls:#?}: {ran:#?}");
                    if met.wrote_without_reread(pair.2) {
                        n_between += 1;
                    } else {
                        assert_eq!(current_values(&aws)[pair.2], then[pair.2], "{context}");
                    }
                    if ran.code() == Some(0) {
                        n_well += 1;
                    } else {
                        let said = format!("{}{}", ran.out, ran.err);
                        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
                        assert!(CONFLICT_TEXTS.iter().any(|text| said.contains(text)), "{context}");
                        n_told += 1;
                    }
                    let again = project.run(&["apply", &case.specs[0], "--local", "--yes"]);
                    assert_eq!(again.code(), Some(0), "{context}, again: {again:#?}");
                    project.run(&["diff", &case.specs[0], "--local"]).expect(0, &[NO_CHANGES]);
                }
                let what = pair.2;
                println!("pair {number} ({what}): well {n_well}, told {n_told}; between read and write {n_between}");
                n_told
            })
        });
        let pairs: Vec<_> = pairs.collect();
        pairs.into_iter().map(|pair| pair.join().unwrap_or_else(|why| resume_unwind(why))).collect()
    });
    // A sample may miss the calls of a pair at which a run notices the other.
    let n_unreported = n_reported.iter().filter(|count| **count == 0).count();
    let most = if step == 1 { 0 } else { n_reported.len() / 2 };
    assert!(n_unreported <= most, "conflicts reported, by pair: {n_reported:?}");
}
