//! Renders the results of `engine verify`, for people and for programs.
//!
//! **Invariant:** times are those that were measured; a hop that wasn't reached has none.

use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::diagnostic::Diagnostic;
use crate::filter::Verdict;
use crate::logs::EventName;
use crate::schema::AwsEnv;
use crate::spec::Spec;
use crate::verify::{
    Hop, Pipeline, PipelineSource, Probe, ProbeEvent, ProbeStep, Proof, StopReason, VerificationResult, item_name,
};

use super::json::{FORMAT_VERSION, headed};
use super::remedy;

/// The heading of a mapping.
pub fn pipeline(pipeline: &Pipeline) -> String {
    format!("{}: {} -> {}\n", pipeline.mapping, pipeline.source.name(), pipeline.function)
}

/// The progress of a step: the header of the table after the first write, and a row at the end of
/// each step.
pub fn progress(pipeline: &Pipeline, step: &ProbeStep, progress: ProbeEvent) -> String {
    let test = match step.probe {
        Probe::Change(EventName::Insert) => Some("item"),
        Probe::Change(_) => None,
        Probe::Message => Some("message"),
    };
    match (progress, test) {
        (ProbeEvent::Reached(Hop::Written), Some(test)) if step.n_writes == 1 => {
            let words = |hop: Hop| hop.words(&pipeline.source);
            let [written, invoked, logged] = [Hop::Written, Hop::Invoked, Hop::Logged].map(words);
            format!("  {test} {}\n  {:8}{written:>14}{invoked:>18}{logged:>16}\n", item_name(pipeline), "")
        }
        (ProbeEvent::Ended, _) => row(step),
        (ProbeEvent::Reached(_), _) => String::new(),
    }
}

fn row(step: &ProbeStep) -> String {
    let shown =
        |time: Option<Duration>| time.map_or_else(|| "-".to_owned(), |time| format!("{:.3} s", time.as_secs_f64()));
    let [written, invoked, logged] = [step.written, step.invoked, step.logged].map(shown);
    let change = step.probe.word();
    match step.passes {
        Verdict::Yes => format!("  {change:8}{written:>14}{invoked:>18}{logged:>16}\n"),
        Verdict::No => format!("  {change:8}{written:>14}          the filters drop it, as expected\n"),
        Verdict::Unknown => format!("  {change:8}{written:>14}          not awaited: it may not pass the filters\n"),
    }
}

/// The result: the row of a change that wasn't finished, and a summary.
pub fn outcome(pipeline: &Pipeline, outcome: &VerificationResult) -> String {
    // A change that wasn't written has no row.
    let is_open = |step: &&ProbeStep| step.written.is_some() && step.passes == Verdict::Yes && step.proof.is_none();
    let halfway = outcome.steps.iter().filter(is_open);
    format!("{}{}\n", halfway.map(row).collect::<String>(), last(pipeline, outcome))
}

fn last(Pipeline { function, source, .. }: &Pipeline, outcome: &VerificationResult) -> String {
    match &outcome.stop {
        None => format!("Verified in {:.1} s: {}.", outcome.took.as_secs_f64(), proven(function, &outcome.steps)),
        // An item that can't arrive isn't written.
        Some(StopReason::Finding(finding)) if outcome.steps.is_empty() => {
            format!("Not verified; nothing was written. A record would fail at \"{}\".", finding.hop.words(source))
        }
        Some(StopReason::Finding(finding)) => {
            format!("Not verified: {} failed at \"{}\".", in_words(finding.probe), finding.hop.words(source))
        }
        Some(StopReason::Failed(error)) if error.is_interrupted() => "Interrupted.".to_owned(),
        Some(StopReason::Failed(_)) => "Not verified.".to_owned(),
    }
}

/// The result of a mapping in a list of teams.
pub fn row_of_team(team: &str, pipeline: &Pipeline, outcome: &VerificationResult) -> String {
    format!("{team}/{}: {}\n", pipeline.mapping, last(pipeline, outcome))
}

/// Whether all mappings were tested and have passed.
pub fn is_verified(pipelines: &[Pipeline], outcomes: &[(&Pipeline, VerificationResult)]) -> bool {
    outcomes.len() == pipelines.len() && outcomes.iter().all(|(_, outcome)| outcome.is_verified())
}

/// What is proven of which change, and what the filters drop.
fn proven(function: &str, steps: &[ProbeStep]) -> String {
    let words = |is: &dyn Fn(&ProbeStep) -> bool| {
        let words: Vec<&str> = steps.iter().filter(|step| is(step)).map(|step| in_words(step.probe)).collect();
        (!words.is_empty()).then(|| listed(&words))
    };
    let logged = words(&|step| step.proof == Some(Proof::Logged));
    let invoked = words(&|step| step.proof == Some(Proof::Invoked));
    let dropped = words(&|step| step.passes == Verdict::No);
    let unknown = words(&|step| step.passes == Verdict::Unknown);
    let clauses = [
        logged.map(|words| format!("the log of {function} shows {words}")),
        invoked.map(|words| format!("Lambda invoked {function} for {words}, which its log doesn't show")),
        dropped.map(|words| format!("the filters drop {words}")),
        unknown.map(|words| format!("{words} may not pass the filters")),
    ];
    clauses.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

fn in_words(probe: Probe) -> &'static str {
    match probe {
        Probe::Change(change) => change.word(),
        Probe::Message => "the test message",
    }
}

fn listed(words: &[&str]) -> String {
    match words {
        [rest @ .., last] if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        words => words.concat(),
    }
}

/// What is known about the test items that look like real ones, a line each.
pub fn shaped_items(pipelines: &[Pipeline]) -> Vec<String> {
    let shown = |pipeline: &Pipeline| {
        let PipelineSource::Table(table) = &pipeline.source else { return None };
        let (first, second) = table.shaped_item()?;
        let later = if first == second { String::new() } else { format!(", then {second}") };
        Some(format!("for `{}`: {first}{later}", pipeline.mapping))
    };
    pipelines.iter().filter_map(shown).collect()
}

/// The messages that will be sent, a line each.
pub fn messages(pipelines: &[Pipeline]) -> Vec<String> {
    let shown = |it: &Pipeline| Some(format!("for `{}`, to `{}`: {}", it.mapping, it.source.name(), it.message()?));
    pipelines.iter().filter_map(shown).collect()
}

/// The results as one document.
pub fn json(spec: &Spec, env: &AwsEnv, pipelines: &[Pipeline], outcomes: &[(&Pipeline, VerificationResult)]) -> Json {
    let millis = |time: Option<Duration>| time.map(|time| (time.as_secs_f64() * 1e6).round() / 1e3);
    let step = |step: &ProbeStep| {
        json!({
            "change": step.probe,
            "passes_filters": match step.passes {
                Verdict::Yes => json!(true),
                Verdict::No => json!(false),
                Verdict::Unknown => Json::Null,
            },
            "proof": step.proof,
            "writes": step.n_writes,
            "written_ms": millis(step.written),
            "invoked_ms": millis(step.invoked),
            "logged_ms": millis(step.logged),
            "word": step.sighting.and_then(|it| it.word),
            "matched_by": step.sighting.map(|it| it.by),
        })
    };
    let failed = |outcome: &VerificationResult| match &outcome.stop {
        Some(StopReason::Finding(it)) => {
            json!({ "change": it.probe, "hop": it.hop, "cause": it.cause, "diagnostic": remedy::one_worded(&it.diagnostic) })
        }
        Some(StopReason::Failed(error)) => {
            json!({ "cause": "error", "code": error.cause.name(), "message": error.to_string() })
        }
        None => Json::Null,
    };
    let mappings: Vec<Json> = outcomes
        .iter()
        .map(|(pipeline, outcome)| {
            let steps: Vec<Json> = outcome.steps.iter().map(step).collect();
            let (table, queue) = match &pipeline.source {
                PipelineSource::Table(table) => (Some(&table.name), None),
                PipelineSource::Queue(queue) => (None, Some(&queue.name)),
            };
            json!({
                "resource": pipeline.mapping,
                "uuid": pipeline.uuid,
                "table": table,
                "queue": queue,
                "function": pipeline.function,
                "log_group": pipeline.log_group,
                "item": table.map(|_| item_name(pipeline)),
                "message": queue.and_then(|_| pipeline.message()),
                "verified": outcome.is_verified(),
                "proof": weakest(&outcome.steps).filter(|_| outcome.is_verified()),
                "took_ms": millis(Some(outcome.took)),
                "changes": steps,
                "failed": failed(outcome),
                "left": outcome.left.as_ref().map(ToString::to_string),
            })
        })
        .collect();
    let verified = is_verified(pipelines, outcomes);
    headed(spec, env, json!({ "verified": verified, "mappings": mappings, "problems": [] }))
}

/// The document of a team that couldn't be tested because of these problems.
pub fn unready(team: &str, stack: &str, problems: &[Diagnostic]) -> Json {
    json!({
        "format_version": FORMAT_VERSION, "team": team, "stack": stack, "region": null, "account": null,
        "verified": false, "mappings": [], "problems": remedy::worded(problems),
    })
}

/// The documents of several teams as one.
pub fn teams(documents: Vec<Json>) -> Json {
    let verified = documents.iter().all(|it| it["verified"] == true);
    json!({ "format_version": FORMAT_VERSION, "verified": verified, "teams": documents, "problems": [] })
}

/// The weakest proof of the changes that pass the filters.
fn weakest(steps: &[ProbeStep]) -> Option<Proof> {
    steps.iter().filter(|step| step.passes == Verdict::Yes).map(|step| step.proof).min().flatten()
}

/// The same document if nothing could be started because of these problems; with a list of teams if
/// `is_list`.
pub fn not_started(problems: &[Diagnostic], is_list: bool) -> Json {
    let problems = remedy::worded(problems);
    if is_list {
        return json!({ "format_version": FORMAT_VERSION, "verified": false, "teams": [], "problems": problems });
    }
    json!({
        "format_version": FORMAT_VERSION, "team": null, "stack": null, "region": null, "account": null,
        "verified": false, "mappings": [], "problems": problems,
    })
}
