//! Finds out which hop failed, and why.
//!
//! **Invariant:** a detail that can't be read is left out; it never hides another cause.

use crate::aws::trust::{Trust, closed};
use crate::aws::{AwsError, CallContext, Context};
use crate::cause::Code;
use crate::diagnostic::Diagnostic;
use crate::filter::{Obstacle, Verdict};
use crate::logs::{EventName, LoggedError};

use super::log::Log;
use super::{
    FailureCause, Finding, Hop, Pipeline, PipelineSource, Probe, QueueSource, Sample, TableSource, is_problem,
};

/// Maximum number of lines of a stack trace that are shown.
const TRACE: usize = 8;

/// What is certain to stop a record, known before anything is written.
pub(super) fn obstacle(pipeline: &Pipeline) -> Option<Finding> {
    let Pipeline { mapping, function, source, .. } = pipeline;
    let probe = source.probes().into_iter().next()?;
    let finding = |cause, diagnostic| Some(Finding { probe, hop: Hop::Invoked, cause, diagnostic });
    if !pipeline.enabled {
        return finding(FailureCause::MappingDisabled, disabled(pipeline, "Disabled"));
    }
    if matches!(source, PipelineSource::Table(table) if !table.current) {
        let problem = format!("`{mapping}` doesn't read the current stream of its table");
        let diagnostic = Diagnostic::error(problem, "run `engine apply` to make it read the current stream");
        return finding(FailureCause::StreamGone, diagnostic);
    }
    if pipeline.throttled {
        let problem = format!("Lambda can't run `{function}`: its reserved concurrency is 0");
        let diagnostic =
            Diagnostic::error(problem, "set `reserved_concurrent_executions` to more than 0, or remove it");
        return finding(FailureCause::Throttled, diagnostic);
    }
    if let Some(why) = &pipeline.broken {
        let problem = format!("Lambda can't run `{function}`");
        let diagnostic = Diagnostic::error(problem, "run `engine diff`, which shows what is wrong with it");
        return finding(FailureCause::FunctionBroken, diagnostic.why(why.clone()));
    }
    if source.probes().into_iter().any(|it| source.passes(it) == Verdict::Yes) {
        return None;
    }
    let (cause, diagnostic) = match source {
        PipelineSource::Table(table) => nothing_passes(pipeline, table),
        PipelineSource::Queue(queue) => no_message(pipeline, queue),
    };
    finding(cause, diagnostic)
}

/// A mapping that was disabled after engine read the spec's resources; `state` is the current one.
pub(super) fn disabled_meanwhile(pipeline: &Pipeline, state: &str) -> Option<Finding> {
    let (hop, cause) = (Hop::Invoked, FailureCause::MappingDisabled);
    is_disabled(state).then(|| Finding { probe: Probe::Message, hop, cause, diagnostic: disabled(pipeline, state) })
}

/// Whether a mapping in this state doesn't read its source.
pub(super) fn is_disabled(state: &str) -> bool {
    matches!(state, "Disabled" | "Disabling")
}

/// Why engine has no message that the filters let through.
fn no_message(pipeline: &Pipeline, queue: &QueueSource) -> (FailureCause, Diagnostic) {
    let problem =
        format!("engine can't build a test message that the filters of `{}` certainly let through", pipeline.mapping);
    let hint = "send a message yourself that they let through, then check `engine logs`";
    let reasons = queue.message.as_ref().err().map(|reasons| reasons.join("; ")).unwrap_or_default();
    (FailureCause::FiltersUnknown, Diagnostic::error(problem, hint).why(format!("{reasons}\n{}", shown(pipeline))))
}

/// Why the filters let no change of an item through.
fn nothing_passes(pipeline: &Pipeline, table: &TableSource) -> (FailureCause, Diagnostic) {
    let Pipeline { mapping, .. } = pipeline;
    let obstacles = || EventName::ALL.into_iter().filter_map(|it| Some((it, table.obstacle(it)?)));
    // The same reason for several changes is reported once.
    let mut reasons: Vec<(String, Vec<&str>)> = Vec::new();
    for (change, obstacle) in obstacles() {
        let text = obstacle.text();
        match reasons.iter_mut().find(|(reason, _)| *reason == text) {
            Some((_, changes)) => changes.push(change.word()),
            None => reasons.push((text, vec![change.word()])),
        }
    }
    let reasons: Vec<String> =
        reasons.into_iter().map(|(reason, changes)| format!("{}: {reason}", changes.join(", "))).collect();
    let why = format!("{}\n{}", reasons.join("\n"), shown(pipeline));
    let is_impossible = obstacles().all(|(_, obstacle)| matches!(obstacle, Obstacle::Impossible(_)));
    if !is_impossible {
        let problem = format!("engine can't build a test item that the filters of `{mapping}` certainly let through");
        let hint = "write an item yourself that they let through, then check `engine logs`";
        let diagnostic = Diagnostic::error(problem, hint).why(why);
        return (FailureCause::FiltersUnknown, diagnostic);
    }
    let problem = format!("the filters of `{mapping}` drop every change that engine can make");
    let hint =
        "if they are right, this mapping can only be tested by what causes such a record; otherwise edit `filters`";
    let diagnostic = Diagnostic::error(problem, hint).why(why);
    (FailureCause::Filtered, diagnostic.cause(Code::RecordsFiltered.name(), None))
}

/// The function got a change that the filters drop.
pub(super) fn not_filtered(pipeline: &Pipeline, change: EventName) -> Finding {
    let Pipeline { mapping, function, .. } = pipeline;
    let problem =
        format!("`{function}` got the {} of the test item, which the filters of `{mapping}` drop", change.word());
    let hint = "check whether another mapping invokes the same function: run `engine list`";
    let diagnostic = Diagnostic::error(problem, hint).why(shown(pipeline));
    Finding { probe: Probe::Change(change), hop: Hop::Logged, cause: FailureCause::NotFiltered, diagnostic }
}

/// Another item has the key that the filters require.
pub(super) fn key_taken(pipeline: &Pipeline, probe: Probe) -> Finding {
    let table = pipeline.source.name();
    let problem = format!("`{table}` has an item with the key that the filters require of the test item");
    let hint = "change that item yourself, then check `engine logs`";
    let name = super::item_name(pipeline);
    let why = format!("its key is `{name}`, and engine changes no item but its own; {}", shown(pipeline));
    let diagnostic = Diagnostic::error(problem, hint).why(why);
    Finding { probe, hop: Hop::Written, cause: FailureCause::KeyTaken, diagnostic }
}

/// Whether a mapping's result is that of a batch of the function, not of the stream. Lambda keeps
/// it until the next batch.
pub(super) fn is_of_function(result: &str) -> bool {
    result == "FAILED" || result.contains("Function call failed")
}

fn disabled(pipeline: &Pipeline, state: &str) -> Diagnostic {
    let source = match pipeline.source {
        PipelineSource::Table(_) => "stream",
        PipelineSource::Queue(_) => "queue",
    };
    let problem = format!("`{}` is {state}, so it doesn't read the {source}", pipeline.mapping);
    let hint = match pipeline.wanted {
        Some(true) => "run `engine apply` to enable it",
        Some(false) => "set `enabled: true` in the spec and run `engine apply`",
        None => "enable it in AWS; this spec leaves that to others",
    };
    Diagnostic::error(problem, hint).cause(Code::MappingDisabled.name(), None)
}

fn shown(pipeline: &Pipeline) -> String {
    let filters: Vec<String> = pipeline.filters.iter().map(ToString::to_string).collect();
    format!("its filters are {}", filters.join(" and "))
}

/// Why the item couldn't be written, or the message not sent.
pub(super) fn write(pipeline: &Pipeline, probe: Probe, error: &AwsError) -> Finding {
    let table = pipeline.source.name();
    if probe == Probe::Message {
        let diagnostic = error.diagnostic(&format!("send the test message to `{table}`"));
        let cause = if error.is(Code::Throttled) { FailureCause::Throttled } else { FailureCause::Refused };
        return Finding { probe, hop: Hop::Written, cause, diagnostic };
    }
    let mut diagnostic = error.diagnostic(&format!("write the test item to `{table}`"));
    let cause = match error.cause {
        Code::Throttled => {
            let problem = format!("`{table}` has no write capacity left for the test item");
            diagnostic = Diagnostic { problem: problem.into(), hints: Vec::new(), ..diagnostic };
            diagnostic =
                diagnostic.hint("run the command again when there are fewer writes, or raise `write_capacity`");
            FailureCause::Throttled
        }
        Code::ChangedMeanwhile => {
            let problem = format!("another process changed the test item `{}`", super::item_name(pipeline));
            diagnostic = Diagnostic { problem: problem.into(), hints: Vec::new(), ..diagnostic };
            diagnostic = diagnostic.why("another `engine verify` of this mapping may be running");
            diagnostic = diagnostic.hint("run the command again when the other one has finished");
            FailureCause::Changed
        }
        _ => FailureCause::Refused,
    };
    Finding { probe, hop: Hop::Written, cause, diagnostic }
}

/// The mapping's state and last processing result.
pub(super) async fn result(cx: &Context, pipeline: &Pipeline) -> Result<(String, String), AwsError> {
    let Pipeline { mapping, uuid, .. } = pipeline;
    let get = || async {
        cx.aws.lambda.get_event_source_mapping().uuid(uuid).send().await.context("GetEventSourceMapping", mapping)
    };
    let answer = cx.read(mapping, get).await?;
    Ok((answer.state.unwrap_or_default(), answer.last_processing_result.unwrap_or_default()))
}

/// Why what was written didn't show up in time. `before` is the mapping's result before the first
/// write, if it could be read.
pub(super) async fn of(
    cx: &Context,
    pipeline: &Pipeline,
    probe: Probe,
    log: &Log,
    sample: &Sample<'_>,
    before: Option<&str>,
) -> Result<Finding, AwsError> {
    let finding = |hop, cause, diagnostic| Ok(Finding { probe, hop, cause, diagnostic });
    let mask = |text: &str| cx.aws.secrets.mask(text);
    if let Some(error) = log.error() {
        return finding(Hop::Logged, FailureCause::FunctionError, function_fails(pipeline, error, mask));
    }
    // The other causes can be found without it.
    let answer = match self::result(cx, pipeline).await {
        Err(error) if error.unreadable().is_some() => None,
        answer => Some(answer?),
    };
    let (state, result) = answer.as_ref().map_or(("", ""), |(state, result)| (state.as_str(), result.as_str()));
    // What a function throws may be no error that Lambda logs.
    if log.shows_a_call() && log.n_own_lines() == 0 && is_of_function(result) && before != Some(result) {
        return finding(Hop::Logged, FailureCause::FunctionError, fails_silently(pipeline, result, mask));
    }
    if let Some(others) = sample.others(log).filter(|_| log.shows_a_call()) {
        return finding(Hop::Logged, FailureCause::OtherTraffic, other_traffic(pipeline, probe, &others));
    }
    if let Some(read_problem) = sample.read_problem().filter(|_| log.has_ended_call(0)) {
        let source = if probe == Probe::Message { "queue had" } else { "stream carried" };
        let hint = format!("an invocation would be enough if the {source} nothing else, but {read_problem}");
        let diagnostic = not_logged(pipeline, probe, log).hint(hint);
        return finding(Hop::Logged, FailureCause::StreamUnknown, diagnostic);
    }
    if log.shows_a_call() {
        return finding(Hop::Logged, FailureCause::NotLogged, not_logged(pipeline, probe, log));
    }
    if is_disabled(state) {
        return finding(Hop::Invoked, FailureCause::MappingDisabled, disabled(pipeline, state));
    }
    if let Some(diagnostic) = role_not_assumable(cx, pipeline) {
        return finding(Hop::Invoked, FailureCause::RoleNotTrusting, diagnostic);
    }
    if is_problem(result) {
        return finding(Hop::Invoked, FailureCause::MappingProblem, source_not_readable(pipeline, mask(result)));
    }
    if !log.exists && result.starts_with("OK") {
        return finding(Hop::Logged, FailureCause::NoLogGroup, no_log_group(pipeline));
    }
    let is_newer = before.is_some_and(|before| before != result);
    if is_newer && result.starts_with("OK") {
        return finding(Hop::Logged, FailureCause::NotLogged, invocation_not_logged(pipeline, &mask(result)));
    }
    let written = if probe == Probe::Message { "message was sent" } else { "item was written" };
    let of_when = if before == Some(result) { format!(", as before the {written}") } else { String::new() };
    let status = match answer {
        Some(_) => format!("the mapping is {state}, and its last result is \"{}\"{of_when}", mask(result)),
        None => "you lack permission to read the mapping's state and last result".to_owned(),
    };
    finding(Hop::Invoked, FailureCause::NotInvoked, not_invoked(pipeline, probe, log, status))
}

/// `others`: what else the invocation may have been for.
fn other_traffic(pipeline: &Pipeline, probe: Probe, others: &str) -> Diagnostic {
    let (what, test, source) = match probe {
        Probe::Change(change) => (format!("the {}", change.word()), "test item", "table"),
        Probe::Message => (probe.in_words(), "test message", "queue"),
    };
    let problem = format!("not proven: other traffic; `{}` was invoked, but maybe not for {what}", pipeline.function);
    let hint = format!("run the command again when the {source} is quiet, or let the function log its records");
    Diagnostic::error(problem, hint).why(format!("its log doesn't show the {test}, and {others}"))
}

fn function_fails(pipeline: &Pipeline, error: &LoggedError, mask: impl Fn(&str) -> String) -> Diagnostic {
    let Pipeline { function, log_group, .. } = pipeline;
    let LoggedError { message, trace } = error;
    let hint = format!("fix the function, then run the command again; the full log is in {log_group}");
    let diagnostic = Diagnostic::error(format!("`{function}` fails: {}", mask(message)), hint);
    let trace = trace.iter().take(TRACE).map(|line| mask(line.trim())).collect::<Vec<_>>().join("\n");
    let diagnostic = if trace.is_empty() { diagnostic } else { diagnostic.why(trace) };
    diagnostic.cause(Code::FunctionFails.name(), None)
}

fn fails_silently(pipeline: &Pipeline, result: &str, mask: impl Fn(&str) -> String) -> Diagnostic {
    let message = format!("the last result of `{}` is \"{result}\", and its log shows no error", pipeline.mapping);
    function_fails(pipeline, &LoggedError { message, trace: Vec::new() }, mask)
}

fn not_logged(pipeline: &Pipeline, probe: Probe, log: &Log) -> Diagnostic {
    let problem = format!("Lambda invoked `{}`, but its log doesn't show {}", pipeline.function, probe.in_words());
    let (test, named, hint) = match &pipeline.source {
        PipelineSource::Table(table) => (
            "item",
            super::item::names(table).join("` or `"),
            "log the whole record, like `console.log(JSON.stringify(record))`, so that the log shows its key and its \
             `eventName`",
        ),
        PipelineSource::Queue(queue) => (
            "message",
            queue.own.clone(),
            "log the whole record, like `console.log(JSON.stringify(record))`, so that the log shows its body and its \
             `messageId`",
        ),
    };
    let why = match log.n_own_lines() {
        _ if log.is_cut() => {
            format!("it logged more lines in a millisecond than AWS returns, and none with `{named}` was found")
        }
        0 => {
            "it printed nothing: it doesn't log its records, or it fails before that, as with a syntax error".to_owned()
        }
        1 => format!("its only line doesn't name the {test}"),
        n if log.names_a_change() => format!("some of its {n} lines name a change, but none has `{named}`"),
        n => format!("none of its {n} lines names the {test}"),
    };
    let mut diagnostic = Diagnostic::error(problem, hint).why(why);
    if !pipeline.filters.is_empty() {
        diagnostic = diagnostic.hint(format!("the invocation may have been for another {test}: {}", shown(pipeline)));
    }
    diagnostic.hint("run `engine validate` to check the function's code").cause(Code::NotLogged.name(), None)
}

/// The function's role, if its trust policy is known not to let Lambda assume it.
fn role_not_assumable(cx: &Context, pipeline: &Pipeline) -> Option<Diagnostic> {
    let role = pipeline.role.rsplit('/').next().unwrap_or_default();
    let trusts = cx.aws.seen.trusts();
    let Some(Trust::Missing(others)) = trusts.get(role) else { return None };
    let (why, remedy) = closed(role, others);
    let problem = format!("Lambda can't assume the role of `{}`", pipeline.function);
    Some(Diagnostic::error(problem, remedy).why(why).cause(Code::RoleNotAssumable.name(), None))
}

fn source_not_readable(pipeline: &Pipeline, result: String) -> Diagnostic {
    let Pipeline { mapping, role, .. } = pipeline;
    let needed = match pipeline.source {
        PipelineSource::Table(_) => {
            "dynamodb:DescribeStream, GetRecords, GetShardIterator and ListStreams on the stream"
        }
        PipelineSource::Queue(_) => "sqs:ReceiveMessage, DeleteMessage and GetQueueAttributes on the queue",
    };
    let hint = format!("the role {role} needs {needed}, and its trust policy must allow lambda.amazonaws.com");
    let diagnostic = Diagnostic::error(format!("Lambda reports a problem with `{mapping}`"), hint).why(result);
    let diagnostic = diagnostic.hint("run `engine policy --role` to print all permissions that it needs");
    diagnostic.cause(Code::StreamNotReadable.name(), None)
}

fn no_log_group(pipeline: &Pipeline) -> Diagnostic {
    let Pipeline { function, log_group, role, .. } = pipeline;
    let problem = format!("Lambda invoked `{function}`, but the log group {log_group} doesn't exist");
    let hint =
        format!("the role {role} needs logs:CreateLogGroup, logs:CreateLogStream and logs:PutLogEvents; ask its owner");
    let diagnostic = Diagnostic::error(problem, hint)
        .why("Lambda creates a function's log group with the permissions of the function's role");
    let diagnostic = diagnostic.hint("run `engine policy --role` to print all permissions that it needs");
    diagnostic.cause(Code::RoleLacksRight.name(), None)
}

fn invocation_not_logged(pipeline: &Pipeline, result: &str) -> Diagnostic {
    let Pipeline { function, log_group, .. } = pipeline;
    let problem = format!("Lambda invoked `{function}`, but {log_group} has no line of that invocation");
    let why = format!("the mapping's last result changed to \"{result}\" after the test was written");
    let hint = "logs can arrive late: run `engine logs --raw` to show what has arrived by now";
    Diagnostic::error(problem, hint).why(why).cause(Code::NotLogged.name(), None)
}

/// `status`: what is known about the mapping.
fn not_invoked(pipeline: &Pipeline, probe: Probe, log: &Log, status: String) -> Diagnostic {
    let Pipeline { function, log_group, .. } = pipeline;
    let problem = format!("Lambda didn't invoke `{function}` for {}", probe.in_words());
    let mut found = vec![status];
    if !log.exists {
        found.push(format!("the log group {log_group} doesn't exist, as for a function that was never invoked"));
    }
    if !pipeline.filters.is_empty() {
        found.push(shown(pipeline));
    }
    let hint =
        "a new mapping may need minutes before it reads its source: run the command again with a longer `--timeout`";
    Diagnostic::error(problem, hint).why(found.join("; ")).cause(Code::NotInvoked.name(), None)
}
