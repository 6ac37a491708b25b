//! Renders plans and outcomes as JSON (`schemas/plan.schema.json`).
//!
//! **Invariant:** values of sensitive properties are not in it.

use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::apply::StepOutcome;
use crate::plan::{Change, Op, Plan};
use crate::schema::{AwsEnv, Effect};
use crate::spec::Spec;
use crate::timeline::Timing;
use crate::value::Value;

use super::list::outputs_json;
use super::plan::{ACTIONS, action_style};
use super::remedy;
use super::timeline::timing_json;
use super::value::{one_line, sensitive};

/// The version of the JSON documents.
pub(super) const FORMAT_VERSION: u32 = 1;

/// A plan as one JSON document.
pub fn plan_json(spec: &Spec, env: &AwsEnv, plan: &Plan) -> Json {
    let changes: Vec<Json> = plan.changes.iter().map(change_json).collect();
    let summary = ACTIONS.map(|action| (action_style(action).word.to_owned(), json!(plan.count(action))));
    headed(
        spec,
        env,
        json!({
            "changes": changes,
            "remarks": plan.remarks.iter().map(remedy::text).collect::<Vec<_>>(),
            "summary": summary.into_iter().collect::<Json>(),
        }),
    )
}

/// A document about a spec's run: its owner and place, then the fields of `rest`.
pub(super) fn headed(spec: &Spec, env: &AwsEnv, rest: Json) -> Json {
    let mut document = json!({
        "format_version": FORMAT_VERSION,
        "team": spec.team,
        "stack": spec.stack,
        "region": env.region,
        "account": env.account,
    });
    if let (Json::Object(document), Json::Object(rest)) = (&mut document, rest) {
        document.extend(rest);
    }
    document
}

/// A plan and how each of its steps ended, as one JSON document.
pub fn outcome_json(
    spec: &Spec,
    env: &AwsEnv,
    plan: &Plan,
    status: &str,
    endings: &[StepOutcome],
    timing: Option<&Timing>,
    outputs: &[(String, Value)],
) -> Json {
    let steps = plan.steps.iter().zip(endings).map(|(step, ending)| {
        let (result, seconds, reason) = match ending {
            StepOutcome::Done(elapsed) => ("done", Some(seconds(*elapsed)), None),
            StepOutcome::Failed(error) => ("failed", None, Some(error.to_string())),
            StepOutcome::Skipped(cause) => ("skipped", None, Some(format!("it depends on {cause}"))),
            StepOutcome::NotStarted => ("not_started", None, None),
        };
        let failure = match ending {
            StepOutcome::Failed(error) => Some(error),
            _ => None,
        };
        json!({
            "resource": plan.changes.get(step.change).map(|change| &change.resource),
            "step": step_name(step.op),
            "result": result,
            "seconds": seconds,
            "reason": reason,
            "code": failure.map(|error| error.cause.name()),
            "hint": failure.map(|error| remedy::text(&error.hint())),
        })
    });
    let mut document = plan_json(spec, env, plan);
    if let Json::Object(map) = &mut document {
        map.insert("status".to_owned(), json!(status));
        map.insert("steps".to_owned(), steps.collect());
        map.insert("timing".to_owned(), timing.map_or(Json::Null, |timing| timing_json(plan, timing)));
        map.insert("outputs".to_owned(), outputs_json(outputs));
    }
    document
}

pub(super) fn step_name(op: Op) -> &'static str {
    match op {
        Op::Create => "create",
        Op::Update => "update",
        Op::Delete => "delete",
        Op::Untag => "release",
        Op::Wait => "settle",
    }
}

pub(super) fn seconds(elapsed: Duration) -> f64 {
    (elapsed.as_secs_f64() * 1000.0).round() / 1000.0
}

pub(super) fn change_json(change: &Change) -> Json {
    let value = |value: &Value, is_sensitive: bool| match value {
        Value::Null => Json::Null,
        value if is_sensitive => json!(sensitive(value, false)),
        value if value.has_unknown() => json!(one_line(value)),
        value => Json::from(value),
    };
    let properties: Vec<Json> = change
        .properties
        .iter()
        .map(|property| {
            json!({
                "path": property.path.to_string(),
                "before": value(&property.before, property.sensitive),
                "after": value(&property.after, property.sensitive),
                "effect": match property.effect {
                    Effect::InPlace => "in_place",
                    Effect::Replace => "replace",
                    Effect::Refuse(_) => "refused",
                },
            })
        })
        .collect();
    json!({
        "resource": change.resource,
        "kind": change.kind,
        "name": change.name,
        "implied_by": change.implied_by,
        "action": action_style(change.action).word,
        "undecided": change.pending || change.partial,
        "properties": properties,
        "reason": change.reason.as_ref().map(remedy::text),
        "hint": change.hint.as_ref().map(remedy::text),
        "remarks": change.remarks,
    })
}
