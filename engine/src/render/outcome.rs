//! Renders how the steps of a run ended, as text.
//!
//! **Invariant:** an error that affects the whole run is reported once.

use std::collections::HashSet;
use std::fmt::Write as _;

use crate::apply::StepOutcome;
use crate::diagnostic::Diagnostic;
use crate::plan::{Action, Op, Plan, Subject};
use crate::spec::Spec;

use super::{GREEN, OutputStyle, RED, YELLOW};

/// How many resources a run has adopted, added, changed and destroyed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChangeCounts {
    adopted: usize,
    added: usize,
    changed: usize,
    destroyed: usize,
    released: usize,
}

impl ChangeCounts {
    /// Counts the completed steps.
    pub fn of(plan: &Plan, endings: &[StepOutcome]) -> ChangeCounts {
        let mut tally = ChangeCounts::default();
        for (step, _) in plan.steps.iter().zip(endings).filter(|(_, ending)| matches!(ending, StepOutcome::Done(_))) {
            let adopts = plan.changes.get(step.change).is_some_and(|change| change.action == Action::Adopt);
            match step.op {
                Op::Create => tally.added += 1,
                Op::Update if adopts => tally.adopted += 1,
                Op::Update => tally.changed += 1,
                Op::Delete => tally.destroyed += 1,
                Op::Untag => tally.released += 1,
                Op::Wait => {}
            }
        }
        tally
    }

    fn plus(self, other: ChangeCounts) -> ChangeCounts {
        ChangeCounts {
            adopted: self.adopted + other.adopted,
            added: self.added + other.added,
            changed: self.changed + other.changed,
            destroyed: self.destroyed + other.destroyed,
            released: self.released + other.released,
        }
    }

    pub(super) fn text(self, destroy: bool) -> String {
        let ChangeCounts { adopted, added, changed, destroyed, released } = self;
        let released = if released > 0 { format!(", {released} forgotten") } else { String::new() };
        let adopted = if adopted > 0 { format!("{adopted} adopted, ") } else { String::new() };
        if destroy {
            format!("{destroyed} destroyed{released}")
        } else {
            format!("{adopted}{added} added, {changed} changed, {destroyed} destroyed{released}")
        }
    }
}

/// The outcome of a run as text.
pub fn outcome(spec: &Spec, plan: &Plan, endings: &[StepOutcome], destroy: bool, out: OutputStyle) -> String {
    if endings.iter().all(|ending| matches!(ending, StepOutcome::Done(_))) {
        return format!("{}\n", closing(plan, endings, destroy, out));
    }
    let mut text = String::new();
    for (step, ending) in plan.steps.iter().zip(endings) {
        let Some(change) = plan.changes.get(step.change) else { continue };
        let what = format!("{} {}", verb_of(step.op).0, change.resource);
        match ending {
            StepOutcome::Done(_) => {}
            StepOutcome::Failed(error) if error.is_interrupted() => {
                let _ = writeln!(text, "  {} {what}: {}", out.paint(YELLOW, "stopped"), error.message);
            }
            StepOutcome::Failed(error) => {
                let _ = writeln!(text, "  {} {what}: {}", out.paint(RED, "failed "), error.cause.entry().title);
            }
            StepOutcome::Skipped(cause) => {
                let _ = writeln!(text, "  {} {what}: it depends on {cause}", out.paint(YELLOW, "skipped"));
            }
            StepOutcome::NotStarted => {
                let _ = writeln!(text, "  {} {what}", out.paint(YELLOW, "not run"));
            }
        }
    }
    let failures = failures(spec, plan, endings);
    if !failures.is_empty() {
        let _ = write!(text, "\n{}", out.problems(&failures));
    }
    let _ = writeln!(text, "\n{}", closing(plan, endings, destroy, out));
    text
}

/// The last line of an outcome.
pub fn closing(plan: &Plan, endings: &[StepOutcome], destroy: bool, out: OutputStyle) -> String {
    let done = ChangeCounts::of(plan, endings).text(destroy);
    let verb = if destroy { "Destroy" } else { "Apply" };
    if endings.iter().all(|ending| matches!(ending, StepOutcome::Done(_))) {
        return format!("{} Resources: {done}.", out.paint(GREEN, &format!("{verb} complete!")));
    }
    format!("{} {done}. Run the same command again to continue.", out.paint(RED, &format!("{verb} incomplete:")))
}

/// The last line of several runs: how many are complete, and what all of them did.
pub fn total<'r>(runs: impl Iterator<Item = (&'r Plan, &'r [StepOutcome])> + Clone, destroy: bool) -> String {
    let is_complete = |endings: &[StepOutcome]| endings.iter().all(|ending| matches!(ending, StepOutcome::Done(_)));
    let n_complete = runs.clone().filter(|(_, endings)| is_complete(endings)).count();
    let n_runs = runs.clone().count();
    let done =
        runs.map(|(plan, endings)| ChangeCounts::of(plan, endings)).fold(ChangeCounts::default(), ChangeCounts::plus);
    format!("Total: {n_complete} of {n_runs} complete. Resources: {}.", done.text(destroy))
}

/// The error of each step that failed, except by Ctrl-C. A cause that affects the whole run is
/// reported once, without a place in the spec.
pub fn failures(spec: &Spec, plan: &Plan, endings: &[StepOutcome]) -> Vec<Diagnostic> {
    let mut reported = HashSet::new();
    let mut failures = Vec::new();
    for (step, ending) in plan.steps.iter().zip(endings) {
        let (Some(change), StepOutcome::Failed(error)) = (plan.changes.get(step.change), ending) else { continue };
        if error.is_interrupted() {
            continue;
        }
        if error.is_about_the_run() {
            failures.extend(reported.insert(error.cause).then(|| error.diagnostic("")));
            continue;
        }
        let diagnostic = error.diagnostic(&format!("{} `{}`", verb_of(step.op).0, change.resource));
        let is_declared = change.subject == Subject::Declared;
        let location = is_declared.then(|| spec.blamed(&change.resource, error)).flatten();
        failures.push(match location {
            Some(location) => diagnostic.at(location),
            None => diagnostic,
        });
    }
    failures
}

/// The verb for a step: imperative, in progress, and done.
pub(super) fn verb_of(op: Op) -> (&'static str, &'static str, &'static str) {
    match op {
        Op::Create => ("create", "creating", "created"),
        Op::Update => ("update", "updating", "updated"),
        Op::Delete => ("destroy", "destroying", "destroyed"),
        Op::Untag => ("forget", "removing engine's tags", "forgotten"),
        Op::Wait => ("wait for", "waiting for AWS", "ready"),
    }
}
