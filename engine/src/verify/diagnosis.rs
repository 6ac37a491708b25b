//! Which hop failed, and what was found there.

use crate::aws::trust::{Trust, closed};
use crate::aws::{AwsError, Class, Context, Named};
use crate::cause::Code;
use crate::diagnostic::Diagnostic;
use crate::filter;
use crate::records::Happening;

use super::item::{self, Item};
use super::log::Log;
use super::{Cause, Finding, Hop, Pipeline};

/// What keeps a record from arriving for certain, known before anything is written.
pub(super) fn obstacle(pipeline: &Pipeline) -> Option<Finding> {
    let Pipeline { mapping, function, filters, .. } = pipeline;
    let finding = |change, cause, diagnostic| Some(Finding { change, hop: Hop::Invoked, cause, diagnostic });
    if !pipeline.enabled {
        return finding(Happening::Insert, Cause::MappingDisabled, disabled(pipeline, "Disabled"));
    }
    if !pipeline.current {
        let problem = format!("`{mapping}` reads a stream that is not the present one of its table");
        let diagnostic = Diagnostic::error(problem).hint("`engine apply` makes it read the present one");
        return finding(Happening::Insert, Cause::StreamGone, diagnostic);
    }
    if pipeline.throttled {
        let problem = format!("`{function}` may not run: its reserved concurrency is 0");
        let diagnostic =
            Diagnostic::error(problem).hint("set `reserved_concurrent_executions` to more than 0, or drop it");
        return finding(Happening::Insert, Cause::Throttled, diagnostic);
    }
    let dropped = |change: &Happening| filter::drop_for_certain(filters, &Item::record(pipeline, *change));
    let change = Happening::ALL.into_iter().find(dropped)?;
    let problem = format!("the filters of `{mapping}` drop the {} of the test item", change.word());
    let diagnostic = Diagnostic::error(problem).why(shown(pipeline));
    let hint = "change `filters` so that all three pass, if they should; beside its key the test item has the texts \
                `engine_verify` and `engine_note`";
    finding(change, Cause::Filtered, diagnostic.hint(hint).cause(Code::RecordsFiltered.name(), None))
}

fn disabled(pipeline: &Pipeline, state: &str) -> Diagnostic {
    let problem = format!("`{}` is {state}, so nobody reads the stream", pipeline.mapping);
    let hint = "`engine apply` enables it, unless the spec says `enabled: false`";
    Diagnostic::error(problem).hint(hint).cause(Code::MappingDisabled.name(), None)
}

fn shown(pipeline: &Pipeline) -> String {
    let filters: Vec<String> = pipeline.filters.iter().map(ToString::to_string).collect();
    format!("its filters are {}", filters.join(" and "))
}

/// Why an item was not written.
pub(super) fn write(pipeline: &Pipeline, change: Happening, error: &AwsError) -> Finding {
    let Pipeline { table, .. } = pipeline;
    let mut diagnostic = error.diagnostic(&format!("write the test item to `{table}`"));
    let cause = match error.class {
        Class::Throttled => {
            let problem = format!("`{table}` has no write unit left for the test item");
            diagnostic = Diagnostic { problem, hints: Vec::new(), ..diagnostic };
            diagnostic = diagnostic.hint("run it again when less is written, or raise `write_capacity`");
            Cause::Throttled
        }
        Class::Changed => {
            let problem = format!("somebody else has changed the test item `{}`", super::item_name(pipeline));
            diagnostic = Diagnostic { problem, hints: Vec::new(), ..diagnostic };
            diagnostic = diagnostic.why("perhaps another `engine verify` of this mapping runs");
            diagnostic = diagnostic.hint("run it again when the other one has ended");
            Cause::Changed
        }
        _ => Cause::Refused,
    };
    Finding { change, hop: Hop::Written, cause, diagnostic }
}

/// The mapping's state, and the result of the last batch that it has sent.
pub(super) async fn result(cx: &Context, pipeline: &Pipeline) -> Result<(String, String), AwsError> {
    let Pipeline { mapping, uuid, .. } = pipeline;
    let get = || async {
        cx.aws.lambda.get_event_source_mapping().uuid(uuid).send().await.named("GetEventSourceMapping", mapping)
    };
    let answer = cx.read(mapping, get).await?;
    Ok((answer.state.unwrap_or_default(), answer.last_processing_result.unwrap_or_default()))
}

/// Why a change that was written has not come to light in time; `before`: the mapping's result before the first write,
/// where that could be read.
pub(super) async fn of(
    cx: &Context,
    pipeline: &Pipeline,
    change: Happening,
    log: &Log,
    before: Option<&str>,
) -> Result<Finding, AwsError> {
    let Pipeline { mapping, function, log_group, .. } = pipeline;
    let word = change.word();
    let finding = |hop, cause, diagnostic| Ok(Finding { change, hop, cause, diagnostic });
    let mask = |text: &str| cx.aws.secrets.mask(text);
    if let Some(trouble) = log.trouble() {
        let diagnostic = Diagnostic::error(format!("`{function}` fails: {}", mask(&trouble.message)));
        let trace = trouble.trace.iter().map(|line| mask(line)).collect::<Vec<_>>().join("\n");
        let diagnostic = if trace.is_empty() { diagnostic } else { diagnostic.why(trace) };
        let hint = format!("mend the function, then run it again; the whole log stands in {log_group}");
        let diagnostic = diagnostic.hint(hint).cause(Code::FunctionFails.name(), None);
        return finding(Hop::Logged, Cause::FunctionError, diagnostic);
    }
    // It only adds a detail, without which the other causes can still be told apart.
    let answer = match self::result(cx, pipeline).await {
        Err(error) if error.unreadable().is_some() => None,
        answer => Some(answer?),
    };
    let (state, result) = answer.as_ref().map_or(("", ""), |(state, result)| (state.as_str(), result.as_str()));
    if log.shows_a_call() {
        let problem = format!("`{function}` was called, but its log does not name the {word} of the test item");
        let why = match log.n_own_lines() {
            0 => "it logged nothing of its own: it says nothing of its records, or fails before it comes to that, as with an \
                  error in its syntax"
                .to_owned(),
            1 => "its only line does not name it".to_owned(),
            n if log.names_a_change() => {
                format!("of its {n} lines some name a change, but none with `{}`", item::names(pipeline).join("` or `"))
            }
            n => format!("none of its {n} lines names it"),
        };
        let hint = "log the record whole, like `console.log(JSON.stringify(record))`: its key and its `eventName` \
                    have to show";
        let mut diagnostic = Diagnostic::error(problem).why(why).hint(hint);
        if !pipeline.filters.is_empty() {
            diagnostic = diagnostic.hint(format!("the call may have been for another item: {}", shown(pipeline)));
        }
        let diagnostic = diagnostic.hint("`engine validate` shows what can be seen of errors in its code");
        return finding(Hop::Logged, Cause::NotLogged, diagnostic.cause(Code::NotLogged.name(), None));
    }
    if matches!(state, "Disabled" | "Disabling") {
        return finding(Hop::Invoked, Cause::MappingDisabled, disabled(pipeline, state));
    }
    let role = pipeline.role.rsplit('/').next().unwrap_or_default();
    if let Some(Trust::Missing(others)) = cx.aws.seen.trusts().get(role) {
        let (why, remedy) = closed(role, others);
        let diagnostic = Diagnostic::error(format!("Lambda may not assume the role of `{function}`")).why(why);
        let diagnostic = diagnostic.hint(remedy).cause(Code::RoleNotAssumable.name(), None);
        return finding(Hop::Invoked, Cause::RoleNotTrusting, diagnostic);
    }
    if result.starts_with("PROBLEM") || result == "FAILED" {
        let diagnostic = Diagnostic::error(format!("Lambda has a problem with `{mapping}`")).why(mask(result));
        let hint = format!(
            "the role {} needs dynamodb:DescribeStream, GetRecords, GetShardIterator and ListStreams on the stream, and \
             Lambda must be able to assume it",
            pipeline.role
        );
        let diagnostic = diagnostic.hint(hint).hint("`engine policy --role` prints all that it needs");
        let diagnostic = diagnostic.cause(Code::StreamNotReadable.name(), None);
        return finding(Hop::Invoked, Cause::MappingProblem, diagnostic);
    }
    if !log.exists && result.starts_with("OK") {
        let problem = format!("`{function}` was called, but there is no log group {log_group}");
        let diagnostic =
            Diagnostic::error(problem).why("a function makes its log group itself, with the rights of its role");
        let hint = format!(
            "the role {} needs logs:CreateLogGroup, logs:CreateLogStream and logs:PutLogEvents; ask its owner",
            pipeline.role
        );
        let diagnostic = diagnostic.hint(hint).hint("`engine policy --role` prints all that it needs");
        return finding(Hop::Logged, Cause::NoLogGroup, diagnostic.cause(Code::RoleLacksRight.name(), None));
    }
    let is_newer = before.is_some_and(|before| before != result);
    if is_newer && result.starts_with("OK") {
        let problem = format!("`{function}` was called, but no line of that call was found in {log_group}");
        let why = format!("the mapping's last result has become \"{}\" since the test item was written", mask(result));
        let hint = format!("`engine logs --raw` shows what {log_group} has by now; a log can lag behind the call");
        let diagnostic = Diagnostic::error(problem).why(why).hint(hint);
        return finding(Hop::Logged, Cause::NotLogged, diagnostic.cause(Code::NotLogged.name(), None));
    }
    let mut diagnostic = Diagnostic::error(format!("`{function}` was not called for the {word} of the test item"));
    let of_when = if before == Some(result) { ", as before the item was written" } else { "" };
    let mut found = vec![match answer {
        Some(_) => format!("the mapping is {state}, its last result is \"{}\"{of_when}", mask(result)),
        None => "you can't read the mapping's state and last result".to_owned(),
    }];
    if !log.exists {
        found.push(format!("there is no log group {log_group}, as with a function that was never called"));
    }
    if !pipeline.filters.is_empty() {
        found.push(shown(pipeline));
    }
    diagnostic = diagnostic.why(found.join("; "));
    let hint =
        "a mapping that was just made may take minutes to read its stream: run it again, with a longer --timeout";
    finding(Hop::Invoked, Cause::NotInvoked, diagnostic.hint(hint).cause(Code::NotInvoked.name(), None))
}
