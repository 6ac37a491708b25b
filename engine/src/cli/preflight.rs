//! `engine preflight`: finds problems that would make an apply fail. `apply` does the same for the
//! resources that it changes.
//!
//! **Invariant:** it never writes, and results about permissions are only warnings.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format as TimeFormat;
use clap::Args;
use futures_util::StreamExt as _;
use futures_util::future::{join, join_all};
use futures_util::stream;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::aws::rights;
use crate::aws::trust::{self, RoleLookup};
use crate::diagnostic::{Diagnostic, Severity};
use crate::live::OrphanSearch;
use crate::plan::{Action, Goal, Options, Plan};
use crate::preflight::{self, Question, Who};
use crate::render::remedy;
use crate::spec::{Depth, ResourceDecl};

use super::args::{OutputFormat, SpecArgs, WhenStopped};
use super::exit::{CommandError, Exit};
use super::interrupt::on_runtime;
use super::session::{self, AwsTarget, Intent, LookupReads, Run, Session};
use super::terminal::with_wait_notice;
use super::validate::counted;
use super::{CommandContext, syntax};

/// Concurrent simulator requests.
const AT_ONCE: usize = 16;

/// Check for problems that would make an apply fail
#[derive(Debug, Args)]
#[command(
    alias = "check",
    after_help = "\
Examples:
  engine preflight                       specs/team.yaml, against your account
  engine preflight --local               against the local AWS, which doesn't check permissions
  engine preflight specs/team.yaml --json
                                         for scripts"
)]
pub(super) struct PreflightArgs {
    #[command(flatten)]
    spec: SpecArgs,
    /// Output format
    #[arg(long, value_enum, default_value_t = OutputFormat::Human)]
    format: OutputFormat,
}

pub(super) fn run(cx: &CommandContext<'_>, args: PreflightArgs) -> Result<Exit, CommandError> {
    let options = Options { assume_owner: args.spec.assume_owner, ..Options::default() };
    let spec = SpecArgs { when_stopped: WhenStopped::StartToCompare, ..args.spec };
    let sessions = session::open(cx, &spec, &options, Depth::Full)?;
    on_runtime(|interrupt| check(sessions, args.format, interrupt))
}

async fn check(
    sessions: Vec<Session<'_>>,
    format: OutputFormat,
    interrupt: watch::Receiver<bool>,
) -> Result<Exit, CommandError> {
    let intent =
        Intent { goal: Goal::Present, writes: false, orphans: OrphanSearch::Ignored, lookups: LookupReads::Required };
    let runs = session::read(sessions, intent, &interrupt).await?;
    let waits = || vec!["IAM to evaluate the roles' permissions".to_owned()];
    let Some(first) = runs.first() else { return Ok(Exit::Done) };
    let all = join_all(runs.iter().map(|run| async {
        let roles = named_roles(run, &|_| true).await;
        let mut asked = simulate(run, &|_| true).await;
        read_role_policies(run, &mut asked).await;
        (roles, asked)
    }));
    let all = tokio::select! {
        all = with_wait_notice(first.session.terminal.quiet, waits, all) => all,
        () = first.cx.interrupt() => return Ok(Exit::Interrupted),
    };
    let mut exit = Exit::Done;
    for (run, (roles, asked)) in runs.iter().zip(all) {
        let Session { spec, terminal, .. } = &run.session;
        let mut findings = run.refusals(&run.plan(Goal::Present));
        findings.extend(self::findings(run, &roles, &asked));
        findings.extend(syntax::check_sent(std::iter::once((&run.session, None))).await);
        let unchecked = unchecked(run, &asked);
        let n_certain = findings.iter().filter(|it| it.severity == Severity::Error).count();
        match format {
            OutputFormat::Json => {
                let env = &run.inventory.env;
                let document = json!({
                    "format_version": 1, "team": spec.team, "stack": spec.stack, "region": env.region,
                    "account": env.account, "findings": remedy::worded(&findings), "not_checked": unchecked,
                });
                terminal.print(&format!("{document}\n"));
            }
            OutputFormat::Human => {
                terminal.problems(&findings);
                let unchecked: String = unchecked.iter().map(|it| format!("Couldn't check {it}\n")).collect();
                let verdict = match (n_certain, findings.len()) {
                    (0, 0) => "Ready to apply: no problems found".to_owned(),
                    (0, n) => format!("Ready to apply, with {}", counted(n, "warning")),
                    (n, _) => format!("Not ready to apply: {}", counted(n, "error")),
                };
                terminal.show(&format!("{}\n{unchecked}{verdict}\n", run.heading()));
            }
        }
        if n_certain > 0 {
            exit = Exit::Failed;
        }
    }
    Ok(exit)
}

/// The problems of `plan` before an apply, after at most one round of requests.
pub(super) async fn check_plan(run: &Run<'_>, plan: &Plan) -> Vec<Diagnostic> {
    if plan.steps.is_empty() {
        return Vec::new();
    }
    let is_changed = |declared: &ResourceDecl| {
        let changes = |action| matches!(action, Action::Create | Action::Update | Action::Replace | Action::Adopt);
        plan.changes.iter().any(|change| change.resource == declared.name && changes(change.action))
    };
    let (roles, asked) = join(named_roles(run, &is_changed), simulate(run, &is_changed)).await;
    findings(run, &roles, &asked)
}

fn findings(run: &Run<'_>, roles: &BTreeMap<String, RoleLookup>, asked: &[Question]) -> Vec<Diagnostic> {
    let (spec, trusts) = (&run.session.spec, run.cx.aws.seen.trusts());
    let (today, now_ms) = today();
    preflight::findings(spec, &run.inventory, &trusts, roles, asked, (&today, now_ms))
}

/// Reads the roles of this account that functions name by ARN, each once. Roles of other accounts
/// are reported without a read, and the local AWS only has stand-ins.
async fn named_roles(run: &Run<'_>, is_selected: &dyn Fn(&ResourceDecl) -> bool) -> BTreeMap<String, RoleLookup> {
    if matches!(run.session.target, AwsTarget::Local(_)) {
        return BTreeMap::new();
    }
    let account = run.inventory.env.account.as_str();
    let functions = run.session.spec.managed("function").filter(|it| is_selected(it));
    let arns: BTreeSet<&str> = functions.filter_map(preflight::named_role).collect();
    let arns = arns.into_iter().filter(|arn| arn.split(':').nth(4) == Some(account));
    let lookups = arns.map(|arn| async move { Some((arn.to_owned(), trust::look_up(&run.cx, arn).await?)) });
    join_all(lookups).await.into_iter().flatten().collect()
}

/// Now, as `2026-11-25T17:30:00Z` and in milliseconds since 1970.
pub(super) fn today() -> (String, i64) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let day = DateTime::from_secs(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    let now_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
    (day.fmt(TimeFormat::DateTime).unwrap_or_default(), now_ms)
}

/// Asks IAM's policy simulator. The local AWS has no permissions.
async fn simulate(run: &Run<'_>, is_selected: &dyn Fn(&ResourceDecl) -> bool) -> Vec<Question> {
    if matches!(run.session.target, AwsTarget::Local(_)) {
        return Vec::new();
    }
    let caller = run.cx.aws.seen.principal();
    let mut questions = preflight::questions(&run.session.spec, &run.inventory, caller.as_deref(), is_selected);
    let answers = stream::iter(&questions)
        .map(|it| async { rights::simulate(&run.cx, &it.principal, &it.pairs()).await })
        .buffered(AT_ONCE);
    let answers = timeout(rights::PATIENCE, answers.collect::<Vec<_>>()).await;
    for (question, answer) in questions.iter_mut().zip(answers.unwrap_or_default()) {
        if let Ok(decisions) = answer {
            question.decide(&decisions);
        }
    }
    questions
}

/// Reads the policies of the roles that the simulator returned nothing about.
async fn read_role_policies(run: &Run<'_>, questions: &mut [Question]) {
    let roles: BTreeSet<String> = questions
        .iter()
        .filter(|question| question.decisions.is_none())
        .filter_map(|question| match &question.who {
            Who::Role(role) => Some(role.clone()),
            Who::Caller => None,
        })
        .collect();
    let read = roles.into_iter().map(|role| async {
        let policies = rights::policies(&run.cx, &role).await.ok()?;
        Some((role, policies))
    });
    let policies: BTreeMap<String, Vec<String>> = join_all(read).await.into_iter().flatten().collect();
    for question in questions.iter_mut().filter(|question| question.decisions.is_none()) {
        if let Who::Role(role) = &question.who
            && let Some(policies) = policies.get(role)
        {
            let decisions: Vec<_> = question.pairs().iter().map(|need| rights::decide(policies, need)).collect();
            question.decide(&decisions);
        }
    }
}

/// What couldn't be checked, to follow "couldn't check".
fn unchecked(run: &Run<'_>, asked: &[Question]) -> Vec<String> {
    if matches!(run.session.target, AwsTarget::Local(_)) {
        return vec!["permissions: the local AWS has none".to_owned()];
    }
    let open = |is_callers: bool| {
        let open = asked.iter().filter(move |it| (it.who == Who::Caller) == is_callers && it.decisions.is_none());
        open.map(|it| format!("`{}`", it.function)).collect::<Vec<_>>().join(", ")
    };
    let mut unchecked = Vec::new();
    match open(false) {
        none if none.is_empty() => {}
        functions => unchecked.push(format!(
            "the permissions of the role of {functions}: you lack permission to simulate or read the role's policies"
        )),
    }
    if run.cx.aws.seen.principal().is_none() || !open(true).is_empty() {
        unchecked.push("whether you may pass the role to Lambda".to_owned());
    }
    unchecked
}
