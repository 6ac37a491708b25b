//! Applies plans, and reports their progress and outcomes.
//!
//! **Invariant:** the timeline is written however the command ends.

use std::cell::RefCell;
use std::path::Path;
use std::pin::pin;

use futures_util::future::join_all;
use tokio::time::timeout;

use crate::apply::{self, Event, Execution, Outcome, StepOutcome};
use crate::cli::exit::{CommandError, Exit};
use crate::cli::names::quoted;
use crate::cli::output::output_values;
use crate::cli::session::{AwsTarget, Run, Session, find_spec};
use crate::diagnostic::Diagnostic;
use crate::plan::Goal;
use crate::render::timeline::took;
use crate::render::{self, TICK, remedy};
use crate::spec::ResourceDecl;
use crate::timeline::Timing;
use crate::value::Value;

use super::timeline::{TimelineFile, TimelineGuard};
use super::{Deployment, PlannedRun};

impl Deployment<'_> {
    /// Applies all plans concurrently, and reports the outcome of each.
    pub(in crate::cli) async fn carry_out(
        &self,
        planned: &[PlannedRun<'_>],
        parallelism: usize,
        timeline: Option<&TimelineFile<'_>>,
    ) -> Result<Exit, CommandError> {
        let prefixes = prefixes(planned);
        let executions: Vec<Execution<'_>> =
            planned.iter().map(|it| Execution::new(&it.plan).right_after(it.run.inventory.begun)).collect();
        let guard = timeline.map(|file| TimelineGuard::new(file, planned, &executions));
        self.execute(planned, &prefixes, &executions, parallelism).await;
        let outcomes: Vec<Outcome> = executions.iter().map(Execution::outcome).collect();
        let write_error = guard.and_then(|guard| guard.write(&outcomes).err());
        let timings: Vec<Timing> =
            planned.iter().zip(&outcomes).map(|(it, outcome)| Timing::of(&it.plan, &outcome.times)).collect();
        let mut exit = Exit::Done;
        let (mut n_complete, mut n_failed) = (0_usize, 0_usize);
        for ((it, outcome), timing) in planned.iter().zip(&outcomes).zip(&timings) {
            let ended = status(&it.run, &outcome.endings).1;
            n_complete += usize::from(ended == Exit::Done && !it.plan.steps.is_empty());
            n_failed += usize::from(ended != Exit::Done);
            exit = exit.max(ended);
            self.report(it, outcome, timing, planned.len() > 1);
        }
        let ran = planned.iter().zip(&outcomes).map(|(it, outcome)| (&it.plan, outcome.endings.as_slice()));
        if self.is_for_people() && ran.clone().filter(|(plan, _)| !plan.steps.is_empty()).count() > 1 {
            self.terminal.show(&format!("\n{}\n", render::total(ran, self.is_destroy())));
        }
        if self.is_for_people() {
            let runs = prefixes.iter().zip(planned).zip(&timings);
            let runs = runs.map(|((prefix, it), timing)| (prefix.as_str(), &it.plan, timing));
            took(runs, self.terminal.err).inspect(|took| self.terminal.note(took));
        }
        exit = exit.max(self.report_timeline(timeline, write_error));
        if self.suggests_next
            && exit == Exit::Done
            && n_complete > 0
            && self.intent.goal == Goal::Present
            && self.is_for_people()
        {
            next_command(planned).inspect(|next| self.terminal.note(next));
        }
        // If one run succeeds and another fails, the command is partly done.
        Ok(if exit == Exit::Failed && n_complete > 0 && n_failed > 0 { Exit::Partial } else { exit })
    }

    /// Applies all plans concurrently, and shows their progress.
    async fn execute(
        &self,
        planned: &[PlannedRun<'_>],
        prefixes: &[String],
        executions: &[Execution<'_>],
        parallelism: usize,
    ) {
        let progress = RefCell::new(self.terminal.progress(self.may_redraw));
        // All runs of the process share them.
        let slots = apply::slots(parallelism);
        for (at, (it, prefix)) in planned.iter().zip(prefixes).enumerate() {
            progress.borrow_mut().begin(at, prefix, &it.plan);
        }
        let runs = planned.iter().zip(executions).enumerate().map(|(at, (PlannedRun { run, .. }, execution))| {
            let (progress, slots) = (&progress, &slots);
            async move {
                let mut report = |event: &Event| progress.borrow_mut().event(at, event);
                execution.run(&run.cx, &run.session.spec, &run.inventory, slots, &mut report).await;
            }
        });
        let mut runs = pin!(join_all(runs));
        while timeout(TICK, &mut runs).await.is_err() {
            progress.borrow_mut().tick();
        }
    }

    /// Reports the outcome of a run, one of several or the only one.
    fn report(&self, it: &PlannedRun<'_>, outcome: &Outcome, timing: &Timing, is_one_of_several: bool) {
        let PlannedRun { run, plan } = it;
        let (spec, terminal, endings) = (&run.session.spec, self.terminal, &outcome.endings);
        let (status, exit) = status(run, endings);
        let outputs = if exit == Exit::Done { self.outputs(run, outcome) } else { Vec::new() };
        terminal.log_problems(&render::failures(spec, plan, endings));
        if !plan.steps.is_empty() {
            let closing = render::closing(plan, endings, self.is_destroy(), terminal.err);
            terminal.summary(&spec.team, &spec.stack, status, &closing);
        }
        if !self.is_for_people() {
            return self.print_document(it, status, endings, Some(timing), &outputs);
        }
        if !plan.steps.is_empty() {
            let heading = if is_one_of_several { format!("{}\n", run.heading()) } else { String::new() };
            let text = render::outcome(spec, plan, endings, self.is_destroy(), terminal.out);
            terminal.show(&format!("\n{heading}{text}"));
        }
        if !outputs.is_empty() {
            terminal.print(&format!("\nOutputs:\n\n{}", render::outputs(&outputs)));
        }
    }

    /// The spec's outputs after an apply.
    fn outputs(&self, run: &Run<'_>, outcome: &Outcome) -> Vec<(String, Value)> {
        if self.intent.goal != Goal::Present {
            return Vec::new();
        }
        output_values(&run.session.spec, &run.inventory, |resource, attribute| {
            outcome.outputs.get(resource)?.get(attribute).cloned()
        })
    }

    /// Reports where the timeline is, or why there is none.
    fn report_timeline(&self, timeline: Option<&TimelineFile<'_>>, write_error: Option<Diagnostic>) -> Exit {
        match (write_error, timeline) {
            (Some(error), _) => {
                self.terminal.problems(&[error]);
                return Exit::Failed;
            }
            (None, Some(file)) => self.terminal.note(&format!("Wrote the timeline to {}", quoted(file.path()))),
            (None, None) => {}
        }
        Exit::Done
    }
}

/// What precedes the names of each run's resources, where there are several runs.
fn prefixes(planned: &[PlannedRun<'_>]) -> Vec<String> {
    let prefix = |PlannedRun { run, .. }: &PlannedRun<'_>| {
        let spec = &run.session.spec;
        if planned.len() > 1 { format!("{}/{}/", spec.team, spec.stack) } else { String::new() }
    };
    planned.iter().map(prefix).collect()
}

/// How a run ended: its status in documents, and its exit code.
fn status(run: &Run<'_>, endings: &[StepOutcome]) -> (&'static str, Exit) {
    if endings.iter().all(|ending| matches!(ending, StepOutcome::Done(_))) {
        ("complete", Exit::Done)
    } else if run.cx.interrupted() {
        ("interrupted", Exit::Interrupted)
    } else if run.cx.aws.guard.n_writes() == 0 {
        ("failed", Exit::Failed)
    } else {
        ("partial", Exit::Partial)
    }
}

/// The commands to run after an apply.
fn next_command(planned: &[PlannedRun<'_>]) -> Option<String> {
    let is_mapping = |it: &ResourceDecl| it.schema().kind == "mapping" && !it.imported;
    let PlannedRun { run: Run { session, .. }, .. } =
        planned.iter().find(|it| it.run.session.spec.resources.iter().any(is_mapping))?;
    let each = if planned.len() > 1 { ", for each spec and team" } else { "" };
    let (verify, logs) = (command_line(session, "verify"), command_line(session, "logs"));
    Some(format!("Next: `{verify}`, then `{logs}`{each}"))
}

/// The command line that runs a command for the same spec, team and AWS.
pub(in crate::cli) fn command_line(session: &Session<'_>, command: &str) -> String {
    let Session { spec, overrides, target, .. } = session;
    let local = if matches!(target, AwsTarget::Local(_)) { " --local" } else { "" };
    let team = overrides.team.as_ref().map_or_else(String::new, |team| format!(" --team {team}"));
    let path = Path::new(spec.file.name());
    let is_default = find_spec().is_ok_and(|default| default == path);
    let named = if is_default { String::new() } else { format!(" --spec {}", quoted(path)) };
    remedy::completed_command(&format!("engine {command}{local}{named}{team}"))
}
