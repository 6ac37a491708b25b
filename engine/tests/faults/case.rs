//! One run with a fault in its own account: the state before, the effect of the fault, and the
//! state after the same command runs again undisturbed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use serde_json::Value as Json;

use crate::layer::{AS_ENGINE, Fault};
use crate::picture::{Picture, clear, differences};
use crate::scenario::Scenario;
use crate::shared::account::{Account, ROLE};
use crate::shared::program::{Program, Ran, Running, flat};
use crate::shared::project::Project;
use crate::shared::proxy::{Proxy, Request, aged, existing_mapping};

/// The time limit of a run, with any fault.
const BOUND: Duration = Duration::from_secs(180);
/// The time limit of a run with `--local`: those of all cases wait for each other.
const QUEUED_BOUND: Duration = Duration::from_secs(900);

/// A project and the AWS that all cases share.
pub(crate) struct Lab {
    pub(crate) project: Project,
    /// The local AWS itself.
    pub(crate) endpoint: String,
    /// A proxy that makes it respond like the real AWS.
    front: Proxy,
    accounts: AtomicU64,
}

/// The response of the local AWS, changed where the real AWS would respond differently.
pub(crate) fn as_aws(request: &Request) -> String {
    static TURN: Mutex<()> = Mutex::new(());
    if request.is("POST /2015-03-31/event-source-mappings") {
        let _turn = TURN.lock().unwrap();
        return existing_mapping(request).unwrap_or_else(|| request.forward());
    }
    // Make tables look older than a minute, so that engine trusts their tags.
    let answer = request.forward();
    if request.is("DescribeTable") { aged(&answer) } else { answer }
}

impl Lab {
    pub(crate) fn new() -> Lab {
        let project = Project::new();
        let source = project.read("lambda-src/log-events/index.js");
        fs::create_dir(project.path("lambda-src/second")).unwrap();
        project.write("lambda-src/second/index.js", &source.replace("console.log(`", "console.log(`second: "));
        let endpoint = project.endpoint();
        let front = Proxy::new(&endpoint, as_aws);
        Lab { project, endpoint, front, accounts: AtomicU64::new(200_000_000_001) }
    }
}

/// The result of a run of engine.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) ran: Ran,
    /// All calls that it made: number, read or write, service, operation, name, fault.
    pub(crate) calls: Vec<String>,
}

pub(crate) struct Case<'l> {
    pub(crate) lab: &'l Lab,
    pub(crate) scenario: &'static Scenario,
    pub(crate) aws: Account,
    pub(crate) before: Picture,
}

/// The calls of an undisturbed run of a scenario, and the state that it results in.
pub(crate) struct Reference {
    pub(crate) calls: Vec<String>,
    left: BTreeMap<String, Vec<Json>>,
}

impl<'l> Case<'l> {
    /// Creates an account in the initial state of the scenario.
    pub(crate) fn new(lab: &'l Lab, scenario: &'static Scenario) -> Case<'l> {
        let account = lab.accounts.fetch_add(1, Ordering::Relaxed).to_string();
        let aws = Account::new(&lab.endpoint, &account);
        create_foreign_resources(&aws);
        let mut case = Case { lab, scenario, aws, before: Picture::default() };
        (scenario.prepare)(&case);
        case.before = Picture::of(&case.aws);
        case
    }

    /// The path of this case's own spec.
    pub(crate) fn spec(&self) -> String {
        format!("specs/{}.yaml", self.aws.id)
    }

    /// Writes the spec.
    pub(crate) fn declare(&self, text: &str) {
        self.lab.project.write(&self.spec(), text);
    }

    /// Runs engine without faults.
    pub(crate) fn engine(&self, args: &[&str]) -> Ran {
        match args.contains(&"--local") {
            true => self.lab.project.command(args).limit(QUEUED_BOUND).run(),
            false => self.lab.project.run_at(&self.lab.front.endpoint(), &self.aws.id, args),
        }
    }

    fn args(&self) -> Vec<String> {
        let spec = self.spec();
        self.scenario.command.iter().map(|arg| arg.replace("SPEC", &spec)).collect()
    }

    /// Starts the scenario's command with the given program.
    fn start(&self, mut program: Program, endpoint: &str) -> Running {
        program.args(self.args());
        match self.scenario.command.contains(&"--local") {
            true => program.limit(QUEUED_BOUND),
            false => program.limit(BOUND).endpoint(endpoint, &self.aws.id),
        };
        program.start()
    }

    /// Runs the scenario's command with `fault` at the given call.
    pub(crate) fn run_under(&self, fault: Option<&Fault>, call: usize) -> Ended {
        let record = self.lab.project.path(&format!("{}.calls", self.aws.id));
        let this = std::env::current_exe().unwrap();
        let mut program = self.lab.project.program(this.to_str().unwrap());
        program.args([AS_ENGINE, fault.map_or("-", |fault| fault.name), &call.to_string()]).arg(&record);
        let ran = self.start(program, &self.lab.front.endpoint()).end();
        let calls = fs::read_to_string(&record).unwrap_or_default();
        Ended { ran, calls: calls.lines().map(|line| line.trim_end().to_owned()).collect() }
    }

    /// Runs the shipped program against `endpoint`, and passes its process to `started`.
    pub(crate) fn run_at(&self, endpoint: &str, started: impl FnOnce(&Running)) -> Ended {
        let running = self.start(self.lab.project.command(&[]), endpoint);
        started(&running);
        Ended { ran: running.end(), calls: Vec::new() }
    }

    /// Checks the exit code and the output of the disturbed run, before the second run.
    pub(crate) fn has_ended_well(&self, ended: &Ended, codes: &[i32]) -> Result<(), String> {
        let Ran { status, out, err, .. } = &ended.ran;
        let Some(code) = status.code() else { return Err(format!("it ended with {status}")) };
        if !codes.contains(&code) {
            return Err(format!("its exit code is {code}"));
        }
        if code != 0 && err.trim().is_empty() && !out.contains("incomplete") {
            return Err(format!("it ended with {code} without a word"));
        }
        if code == 1 {
            let written = differences(&self.before.0, &Picture::of(&self.aws).0);
            if !written.is_empty() {
                return Err(format!("it ended with 1, but has written: {written:#?}"));
            }
        }
        Ok(())
    }

    /// Runs the command again without faults, and compares the state with that after an undisturbed
    /// run.
    pub(crate) fn converges(&self, reference: &Reference, is_complete: bool) -> Result<(), String> {
        let args = self.args();
        let again = self.engine(&args.iter().map(String::as_str).collect::<Vec<_>>());
        if again.code() != Some(0) {
            return Err(format!("the second run fails: {again:#?}"));
        }
        if is_complete && !again.out.contains("No changes.") {
            return Err(format!("the run ended with 0, but the next one had something left to do: {again:#?}"));
        }
        self.is_settled()?;
        let now = Picture::of(&self.aws);
        let different = differences(&reference.left, &now.comparable(&self.aws.id));
        if !different.is_empty() {
            return Err(format!("AWS is left otherwise than by an undisturbed run: {different:#?}"));
        }
        self.check_foreign_unchanged(&now)
    }

    /// Checks that resources not managed by engine are unchanged.
    fn check_foreign_unchanged(&self, now: &Picture) -> Result<(), String> {
        match differences(&self.before.foreign(), &now.foreign()) {
            different if different.is_empty() => Ok(()),
            different => Err(format!("what others own has changed: {different:#?}")),
        }
    }

    fn is_settled(&self) -> Result<(), String> {
        let spec = self.spec();
        let args: Vec<String> = self.scenario.check.iter().map(|arg| arg.replace("SPEC", &spec)).collect();
        let diff = self.engine(&args.iter().map(String::as_str).collect::<Vec<_>>());
        if diff.code() != Some(0) || !diff.out.contains("No changes.") {
            return Err(format!("something is still to be done: {diff:#?}"));
        }
        Ok(())
    }
}

impl Drop for Case<'_> {
    fn drop(&mut self) {
        // A function's process runs until the function is deleted. A failed case keeps its
        // resources for debugging.
        if !std::thread::panicking() {
            clear(&self.aws);
        }
    }
}

/// Runs the scenario undisturbed, once for all its cases.
pub(crate) fn reference(lab: &Lab, scenario: &'static Scenario) -> &'static Reference {
    static ALL: [OnceLock<Reference>; crate::scenario::SCENARIOS.len()] =
        [const { OnceLock::new() }; crate::scenario::SCENARIOS.len()];
    let index = crate::scenario::SCENARIOS.iter().position(|it| it.name == scenario.name).unwrap();
    ALL[index].get_or_init(|| {
        let case = Case::new(lab, scenario);
        let ended = case.run_under(None, 0);
        assert!(ended.ran.status.success(), "{ended:#?}");
        case.is_settled().unwrap();
        let now = Picture::of(&case.aws);
        case.check_foreign_unchanged(&now).unwrap();
        assert!(now != case.before, "nothing has happened");
        Reference { calls: ended.calls, left: now.comparable(&case.aws.id) }
    })
}

/// Creates the imported role, a table of another team whose name starts with this team's name, and
/// a function without an owner.
fn create_foreign_resources(aws: &Account) {
    const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
    const RIGHTS: &str =
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["dynamodb:*","logs:*"],"Resource":"*"}]}"#;
    aws.wait(aws.iam.create_role().role_name(ROLE).assume_role_policy_document(TRUST).send());
    let rights = aws.iam.put_role_policy().role_name(ROLE).policy_name("stream-and-logs");
    aws.wait(rights.policy_document(RIGHTS).send());
    let [table, function, _] = crate::picture::FOREIGN;
    let tags = [("engine:team", "blue-owls-archive"), ("engine:stack", "app"), ("engine:resource", "old")];
    aws.create_table(table, &tags);
    aws.put_item(table, "1", "keep me");
    aws.create_function(function, |function| function.tags("course", "cloud"));
    let add = aws.lambda.add_permission().function_name(function).statement_id("blue-owls-other");
    aws.wait(add.action("lambda:InvokeFunction").principal("s3.amazonaws.com").send());
    let stream = aws.new_stream(table, aws_sdk_dynamodb::types::StreamViewType::KeysOnly);
    aws.create_mapping(function, &stream, &[]);
}

impl Ended {
    pub(crate) fn was_killed(&self) -> bool {
        self.ran.status.signal() == Some(9)
    }

    /// Whether it succeeded and left nothing to do: a success that reports possible orphans is
    /// incomplete.
    pub(crate) fn is_complete(&self) -> bool {
        let said = flat(&self.ran.out);
        self.ran.status.success() && !["may be an orphan", "may have missed orphans"].iter().any(|it| said.contains(it))
    }
}
