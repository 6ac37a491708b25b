//! Plans all specs of a command, and shows, checks, confirms and applies the plans.
//!
//! **Invariant:** nothing is written before everything has been shown and confirmed.

mod execute;
mod show;
mod timeline;

use std::collections::BTreeSet;

use futures_util::future::join_all;
use tokio::sync::watch;

use crate::diagnostic::{Diagnostic, Severity, listed};
use crate::live::OrphanSearch;
use crate::plan::{Action, Change, Goal, Options, Plan};
use crate::remedy::Advice;
use crate::render;
use crate::saved::SavedPlan;
use crate::spec::Depth;
use crate::value::Value;

use super::args::{PlanFormat, RunArgs, ViewArgs};
use super::builds::{BuildMode, Builds};
use super::exit::{CommandError, Exit};
use super::session::{self, AwsTarget, Intent, Run, Session};
use super::terminal::{self, Confirmation, Terminal};
use super::{preflight, syntax};

pub(super) use execute::command_line;
use show::rows;
use timeline::TimelineFile;

/// How a command plans, and how it shows plans.
#[derive(Clone, Copy)]
pub(super) struct Deployment<'d> {
    pub(super) terminal: &'d Terminal,
    pub(super) intent: Intent,
    pub(super) view: &'d ViewArgs,
    /// Whether an apply ends with the commands to run next.
    pub(super) suggests_next: bool,
    /// Whether nothing else prints meanwhile, so that lines on a terminal can be redrawn.
    pub(super) may_redraw: bool,
}

/// A run and its plan.
pub(super) struct PlannedRun<'t> {
    pub(super) run: Run<'t>,
    pub(super) plan: Plan,
}

/// What `diff` compares, and so what a saved plan contains.
pub(super) struct PlanScope {
    pub(super) goal: Goal,
    pub(super) depth: Depth,
    pub(super) orphans: OrphanSearch,
}

impl PlanScope {
    pub(super) fn of(destroy: bool, prune_scan: bool) -> PlanScope {
        let (goal, depth, orphans) = match (destroy, prune_scan) {
            (true, _) => (Goal::Absent, Depth::Identities, OrphanSearch::Scanned),
            (false, true) => (Goal::Present, Depth::Full, OrphanSearch::IndexedOrScanned),
            (false, false) => (Goal::Present, Depth::Full, OrphanSearch::Indexed),
        };
        PlanScope { goal, depth, orphans }
    }
}

/// With `--target`, only what is attached to the targets counts as orphaned.
pub(super) fn unless_targeted(options: &Options, orphans: OrphanSearch) -> OrphanSearch {
    if options.targets.is_empty() { orphans } else { OrphanSearch::Attached }
}

impl<'d> Deployment<'d> {
    /// That of a command that prints nothing else.
    pub(super) fn new(terminal: &'d Terminal, intent: Intent, view: &'d ViewArgs) -> Deployment<'d> {
        Deployment { terminal, intent, view, suggests_next: true, may_redraw: true }
    }
}

impl Deployment<'_> {
    fn is_destroy(&self) -> bool {
        self.intent.goal == Goal::Absent
    }

    fn is_for_people(&self) -> bool {
        self.view.format == PlanFormat::Human
    }

    /// Reads AWS, and runs builds meanwhile, and plans.
    pub(super) async fn plan<'t>(
        &self,
        sessions: Vec<Session<'t>>,
        builds: BuildMode,
        interrupt: &watch::Receiver<bool>,
    ) -> Result<Vec<PlannedRun<'t>>, CommandError> {
        let builds = Builds::prepare(self.terminal, &sessions.iter().collect::<Vec<_>>(), builds, interrupt).await?;
        let (mut runs, _) = tokio::try_join!(session::read(sessions, self.intent, interrupt), builds.run(interrupt))?;
        builds.load(&mut runs)?;
        Ok(runs.into_iter().map(|run| PlannedRun { plan: run.plan(self.intent.goal), run }).collect())
    }

    /// Shows the plans, asks for confirmation if needed, and applies them.
    pub(super) async fn apply(
        &self,
        mut sessions: Vec<Session<'_>>,
        args: &RunArgs,
        builds: BuildMode,
        saved: Option<&SavedPlan>,
        interrupt: watch::Receiver<bool>,
    ) -> Result<Exit, CommandError> {
        let timeline = args.timeline.as_deref().map(TimelineFile::new).transpose()?;
        sessions.iter_mut().for_each(|session| session.is_recorded = timeline.is_some());
        let planned = self.plan(sessions, builds, &interrupt).await?;
        if self.is_for_people() {
            self.show(&planned);
        }
        self.check(&planned, saved).await.inspect_err(|_| self.print_documents(&planned, "refused"))?;
        let needs_approval = planned.iter().any(|it| it.plan.needs_approval());
        if needs_approval
            && !args.yes
            && let Some(exit) = self.confirm(&planned).await?
        {
            return Ok(exit);
        }
        self.note_local_code(&planned);
        self.carry_out(&planned, usize::from(args.parallelism), timeline.as_ref()).await
    }

    /// Reports what the local AWS does with the code that the plans send.
    pub(super) fn note_local_code(&self, planned: &[PlannedRun<'_>]) {
        if planned.iter().any(runs_code_here) {
            self.terminal.note("local AWS: function code runs on this machine with your permissions");
        }
        planned.iter().flat_map(code_elsewhere).for_each(|note| self.terminal.note(&note));
        let silent: BTreeSet<&str> = planned.iter().flat_map(with_destination).collect();
        if !silent.is_empty() {
            let names = listed(silent, 5);
            self.terminal.note(&format!(
                "local AWS: failed records of {names} don't reach `on_failure_destination_arn` after retries, as they do in AWS"
            ));
        }
    }

    /// Checks the plans before anything is written.
    pub(super) async fn check(
        &self,
        planned: &[PlannedRun<'_>],
        saved: Option<&SavedPlan>,
    ) -> Result<(), CommandError> {
        self.check_refusals(planned)?;
        if self.intent.goal == Goal::Present {
            // Node.js takes as long to start as IAM takes to respond.
            let (found, invalid) = tokio::join!(
                join_all(planned.iter().map(|it| preflight::check_plan(&it.run, &it.plan))),
                syntax::check_sent(planned.iter().map(|it| (&it.run.session, Some(&it.plan))))
            );
            let (errors, warnings): (Vec<_>, Vec<_>) =
                found.into_iter().flatten().chain(invalid).partition(|it| it.severity == Severity::Error);
            if !errors.is_empty() {
                return Err(CommandError { exit: Exit::Failed, diagnostics: errors });
            }
            self.terminal.problems(&warnings);
        }
        match (saved, planned.first()) {
            (Some(saved), Some(current)) => check_saved(saved, current),
            _ => Ok(()),
        }
    }

    /// Checks that no resource is refused.
    pub(super) fn check_refusals(&self, planned: &[PlannedRun<'_>]) -> Result<(), CommandError> {
        let refusals: Vec<Diagnostic> = planned.iter().flat_map(|it| it.run.refusals(&it.plan)).collect();
        match refusals.is_empty() {
            true => Ok(()),
            false => Err(CommandError { exit: Exit::Failed, diagnostics: refusals }),
        }
    }

    /// Asks for confirmation; returns how the command ends without it.
    pub(super) async fn confirm(&self, planned: &[PlannedRun<'_>]) -> Result<Option<Exit>, CommandError> {
        let Some(first) = planned.first() else { return Ok(None) };
        let (terminal, destroy) = (self.terminal, self.is_destroy());
        if !self.is_for_people() {
            // The plan must be visible before the prompt, and stdout is for the document.
            for it in planned {
                terminal.note(&render::plan(&it.plan, destroy, rows(self.view), terminal.err));
            }
        }
        let answer = terminal::confirm(terminal, &first.run.cx, destroy).await;
        match answer.inspect_err(|_| self.print_documents(planned, "declined"))? {
            Confirmation::Yes => Ok(None),
            Confirmation::No => {
                self.print_documents(planned, "declined");
                terminal.note("Nothing was changed.");
                Ok(Some(Exit::Failed))
            }
            Confirmation::Interrupted => {
                self.print_documents(planned, "interrupted");
                Ok(Some(Exit::Interrupted))
            }
        }
    }
}

/// Checks that a saved plan is still the current one.
fn check_saved(saved: &SavedPlan, PlannedRun { run, plan }: &PlannedRun<'_>) -> Result<(), CommandError> {
    let Session { spec, .. } = &run.session;
    let current = SavedPlan::new(spec, &run.inventory, plan, saved.flags.clone(), saved.salt.clone());
    let changes = saved.moved(&current);
    if changes.is_empty() {
        return Ok(());
    }
    let problem = "the saved plan is out of date, so nothing was changed";
    let hint = "review the plan above, and save it again with `engine diff --out`";
    Err(CommandError::one(Diagnostic::error(problem, hint).why(Advice::join(changes, "; "))))
}

/// What the local AWS can't do with the code of functions that a plan sends.
fn code_elsewhere(PlannedRun { run, plan }: &PlannedRun<'_>) -> Vec<String> {
    let is_local = matches!(run.session.target, AwsTarget::Local(_));
    let is_sent = |change: &&Change| {
        change.kind == "function" && matches!(change.action, Action::Create | Action::Update | Action::Replace)
    };
    let note = |change: &Change| {
        let code = &run.session.spec.resource(&change.resource)?.desired;
        let has = |property: &str| code.get(property).is_some_and(|value| *value != Value::Null);
        let name = &change.resource;
        if has("image") {
            return Some(format!("local AWS: `{name}` can't be invoked, since container images don't run here"));
        }
        let is_elsewhere = has("code_source");
        is_elsewhere
            .then(|| format!("local AWS: `{name}` needs its archive in the S3 of the local AWS, which starts empty"))
    };
    plan.changes.iter().filter(|_| is_local).filter(is_sent).filter_map(note).collect()
}

/// The mappings of streams that a plan creates or changes and that have a destination for failures,
/// which the local AWS doesn't use after retries.
fn with_destination<'p>(PlannedRun { run, plan }: &'p PlannedRun<'_>) -> impl Iterator<Item = &'p str> {
    let is_local = matches!(run.session.target, AwsTarget::Local(_));
    let is_written = |change: &&Change| {
        change.kind == "mapping" && matches!(change.action, Action::Create | Action::Update | Action::Replace)
    };
    let has_destination = |change: &&Change| {
        change.desired.get("on_failure_destination_arn").is_some_and(|destination| *destination != Value::Null)
    };
    let written = plan.changes.iter().filter(move |_| is_local).filter(is_written);
    written.filter(has_destination).map(|change| change.resource.as_str())
}

/// Whether a plan sends code to the local AWS.
fn runs_code_here(PlannedRun { run, plan }: &PlannedRun<'_>) -> bool {
    let sends_code =
        |change: &Change| change.kind == "function" && matches!(change.action, Action::Create | Action::Update);
    matches!(run.session.target, AwsTarget::Local(_)) && plan.changes.iter().any(sends_code)
}
