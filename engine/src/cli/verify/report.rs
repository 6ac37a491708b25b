//! Reports what `engine verify` found, for one team or several.
//!
//! **Invariant:** with several teams, each row and each error names its team.

use serde_json::Value as Json;

use crate::cli::exit::Exit;
use crate::cli::selection::for_team;
use crate::cli::session::Run;
use crate::cli::terminal::Terminal;
use crate::diagnostic::{Diagnostic, Location};
use crate::remedy::Advice;
use crate::render::{self, verified};
use crate::spec::Spec;
use crate::value::Path;
use crate::verify::{self, FailureCause, Pipeline, StopReason, VerificationResult};

use super::{Outcomes, Ready, Unready};

/// A team whose test has ended, or why it couldn't begin.
pub(super) type TeamResult<'r, 't> = Result<(&'r Ready<'t>, Outcomes<'r>), &'r Unready>;

/// The first line.
pub(super) fn heading(terminal: &Terminal, ready: &[&Ready<'_>]) -> Option<String> {
    let Run { session, inventory, .. } = &ready.first()?.run;
    let teams: Vec<&str> = ready.iter().map(|it| it.run.session.spec.team.as_str()).collect();
    Some(render::heading_of(&teams, &session.spec.stack, &inventory.env, &session.notes, terminal.out))
}

/// Reports why teams can't be tested. A reason that several share is reported once.
pub(super) fn unready<'u>(terminal: &Terminal, teams: impl Iterator<Item = &'u Unready>) {
    let mut reasons: Vec<(&[Diagnostic], Vec<&str>)> = Vec::new();
    for Unready { team, failure, .. } in teams {
        match reasons.iter_mut().find(|(known, _)| *known == failure.diagnostics) {
            Some((_, teams)) => teams.push(team),
            None => reasons.push((&failure.diagnostics, vec![team])),
        }
    }
    let named = |(reason, teams): (&[Diagnostic], Vec<&str>)| match teams.as_slice() {
        [team] => of_team(team, reason),
        _ => named(&teams.join(", "), reason),
    };
    terminal.problems(&reasons.into_iter().flat_map(named).collect::<Vec<_>>());
}

/// The same errors, which name their team, also in the commands of their hints.
fn of_team(team: &str, problems: &[Diagnostic]) -> Vec<Diagnostic> {
    named(team, &problems.iter().map(|it| for_team(team, it)).collect::<Vec<_>>())
}

/// The same errors, which begin with the name of their team or teams.
fn named(teams: &str, problems: &[Diagnostic]) -> Vec<Diagnostic> {
    let named = |it: &Diagnostic| {
        let problem = Advice::from(format!("{teams}: ")).then(it.problem.clone());
        Diagnostic { problem, ..it.clone() }
    };
    problems.iter().map(named).collect()
}

/// A row for each mapping of a team.
pub(super) fn rows(ready: &Ready<'_>, outcomes: &Outcomes<'_>) -> String {
    let team = &ready.run.session.spec.team;
    outcomes.iter().map(|(pipeline, outcome)| verified::row_of_team(team, pipeline, outcome)).collect()
}

/// The errors of a team, which name it.
pub(super) fn problems(team: &str, outcomes: &Outcomes<'_>) -> Vec<Diagnostic> {
    let problems: Vec<Diagnostic> =
        outcomes.iter().flat_map(|(pipeline, outcome)| failures(pipeline, outcome)).collect();
    of_team(team, &problems)
}

/// The results as one document: that of the team, or with a list of teams one with an entry for each.
pub(super) fn json(ended: &[TeamResult<'_, '_>], is_list: bool) -> Json {
    let document = |it: &TeamResult<'_, '_>| match it {
        Ok((ready, outcomes)) => {
            let Run { session, inventory, .. } = &ready.run;
            verified::json(&session.spec, &inventory.env, &ready.pipelines, outcomes)
        }
        Err(Unready { team, stack, failure }) => verified::unready(team, stack, &failure.diagnostics),
    };
    let documents: Vec<Json> = ended.iter().map(document).collect();
    match documents.as_slice() {
        [only] if !is_list => only.clone(),
        _ => verified::teams(documents),
    }
}

/// Reports the errors of the one team, or the total of a list, and returns how the command ends.
pub(super) fn end(terminal: &Terminal, ended: &[TeamResult<'_, '_>], is_list: bool) -> Exit {
    let mut n_verified = 0_usize;
    let mut is_interrupted = false;
    for it in ended.iter().flatten() {
        let (ready, outcomes) = it;
        if !is_list {
            terminal.problems(&outcomes.iter().flat_map(|(it, outcome)| failures(it, outcome)).collect::<Vec<_>>());
        }
        is_interrupted |= ready.run.cx.interrupted();
        n_verified += usize::from(verified::is_verified(&ready.pipelines, outcomes));
    }
    if is_list {
        terminal.note(&format!("{n_verified} of {} teams verified.", ended.len()));
    }
    match n_verified == ended.len() {
        _ if is_interrupted => Exit::Interrupted,
        true => Exit::Done,
        false => Exit::Failed,
    }
}

/// Why a mapping failed the test, and an item that is left.
fn failures(pipeline: &Pipeline, outcome: &VerificationResult) -> Vec<Diagnostic> {
    let stop = match &outcome.stop {
        Some(StopReason::Finding(finding)) => Some(finding.diagnostic.clone()),
        Some(StopReason::Failed(error)) if error.is_interrupted() => None,
        Some(StopReason::Failed(error)) => Some(error.diagnostic(&format!("verify `{}`", pipeline.mapping))),
        None => None,
    };
    let left = outcome.left.as_ref().map(|error| {
        let item = verify::item_name(pipeline);
        let problem = format!("the test item `{item}` may still be in `{}`", pipeline.source.name());
        let diagnostic = Diagnostic { problem: problem.into(), hints: Vec::new(), ..error.diagnostic("") };
        diagnostic.hint("run `engine verify` again: it deletes the item")
    });
    stop.into_iter().chain(left).collect()
}

/// The place in the spec that causes the failure, or else the mapping.
pub(super) fn blamed_location(spec: &Spec, pipeline: &Pipeline, cause: FailureCause) -> Option<Location> {
    let of_function = |property| {
        let function =
            spec.resources.iter().find(|it| it.schema().kind == "function" && it.id.name == pipeline.function);
        Some((function?.name.as_str(), property))
    };
    let blamed = match cause {
        FailureCause::MappingDisabled => Some((pipeline.mapping.as_str(), "enabled")),
        FailureCause::StreamGone => Some((pipeline.mapping.as_str(), "event_source_arn")),
        FailureCause::Filtered | FailureCause::FiltersUnknown | FailureCause::NotFiltered | FailureCause::KeyTaken => {
            Some((pipeline.mapping.as_str(), "filters"))
        }
        FailureCause::FunctionError
        | FailureCause::NotLogged
        | FailureCause::OtherTraffic
        | FailureCause::StreamUnknown => of_function("code"),
        FailureCause::FunctionBroken => of_function(""),
        FailureCause::RoleNotTrusting | FailureCause::MappingProblem | FailureCause::NoLogGroup => of_function("role"),
        FailureCause::Throttled | FailureCause::NotInvoked | FailureCause::Changed | FailureCause::Refused => None,
    };
    let (resource, property) = blamed.unwrap_or((pipeline.mapping.as_str(), ""));
    spec.location(resource, &Path::property(property)).or_else(|| spec.location(resource, &Path::default()))
}
