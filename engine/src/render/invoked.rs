//! Renders the result of `engine invoke`.
//!
//! **Invariant:** texts are masked before they get here.

use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::diagnostic::Diagnostic;
use crate::invoke::Invocation;
use crate::logs::{self, Line, LogEntry, Report};
use crate::schema::AwsEnv;
use crate::spec::Spec;

use super::OutputStyle;
use super::json::headed;
use super::logs::{entry, measured};

/// The error of a function as the runtimes report it
/// (docs.aws.amazon.com/lambda/latest/dg/nodejs-exceptions.html).
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ReportedError {
    error_type: Option<String>,
    error_message: Option<String>,
    /// Node.js and Ruby call it `trace`, Python `stackTrace`.
    #[serde(alias = "stackTrace")]
    trace: Json,
}

/// The lines of the log, without those with which Lambda frames an invocation.
pub fn log(invocation: &Invocation, out: OutputStyle) -> Vec<String> {
    let parsed = lines(invocation);
    let entries = parsed.iter().filter(|line| !line.is_platform).flat_map(|line| &line.entries);
    entries.flat_map(|it| entry(it, out)).map(|line| format!("  {line}")).collect()
}

fn lines(invocation: &Invocation) -> Vec<Line> {
    let lines: Vec<String> = invocation.log.lines().map(str::to_owned).collect();
    // Which file of the project a frame belongs to is not known here.
    let joined = logs::join_split_entries(lines, |line| line);
    joined.iter().map(|line| logs::read(line).with_own_frames(&|_| None)).collect()
}

/// How long it took, and what Lambda reports about it.
pub fn duration(invocation: &Invocation) -> String {
    let ended = if invocation.error.is_some() { "Failed after" } else { "Finished in" };
    let round_trip = format!("{ended} {:.0} ms", invocation.took.as_secs_f64() * 1e3);
    match report(&lines(invocation)) {
        Some(report) => format!("{round_trip} (the function: {})", measured(report)),
        None => round_trip,
    }
}

fn report(lines: &[Line]) -> Option<&Report> {
    lines.iter().flat_map(|line| &line.entries).find_map(|entry| match entry {
        LogEntry::Report(report) => Some(report),
        _ => None,
    })
}

/// The error of a function that failed.
pub fn failure(resource: &str, invocation: &Invocation) -> Option<Diagnostic> {
    invocation.error.as_ref()?;
    let failure: ReportedError = serde_json::from_str(&invocation.payload).unwrap_or_default();
    let message = match (failure.error_type, failure.error_message) {
        (Some(kind), Some(message)) => format!("{kind}: {message}"),
        (one, other) => one.or(other).unwrap_or_else(|| invocation.payload.clone()),
    };
    let trace: Vec<&str> = match &failure.trace {
        Json::Array(lines) => lines.iter().filter_map(Json::as_str).map(str::trim).collect(),
        _ => Vec::new(),
    };
    let hint = "fix the function's code, run `engine apply`, then invoke it again";
    let diagnostic = Diagnostic::error(format!("the function `{resource}` failed: {message}"), hint);
    // The first line repeats the message.
    let frame = trace.iter().find(|line| line.starts_with("at ") || line.starts_with("File "));
    Some(match frame {
        Some(frame) => diagnostic.why(frame.replace('\n', " ")),
        None => diagnostic,
    })
}

/// The invocation as one document.
pub fn json(
    spec: &Spec,
    env: &AwsEnv,
    (resource, function): (&str, &str),
    event: &str,
    invocation: &Invocation,
) -> Json {
    let parsed = lines(invocation);
    let report = report(&parsed);
    let value = |text: &str| serde_json::from_str::<Json>(text).unwrap_or_else(|_| Json::String(text.to_owned()));
    headed(
        spec,
        env,
        json!({
            "resource": resource,
            "function": function,
            "event": value(event),
            "succeeded": invocation.error.is_none(),
            "error": invocation.error,
            "result": value(&invocation.payload),
            "log": invocation.log.lines().collect::<Vec<_>>(),
            "took_ms": (invocation.took.as_secs_f64() * 1e6).round() / 1e3,
            "duration_ms": report.map(|it| it.duration),
            "billed_ms": report.and_then(|it| it.billed),
            "memory_mb": report.and_then(|it| it.memory),
            "max_memory_used_mb": report.and_then(|it| it.used),
            "init_ms": report.and_then(|it| it.init),
        }),
    )
}
