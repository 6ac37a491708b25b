//! `engine verify`: tests each mapping of a spec end to end.
//!
//! **Invariant:** with `--format json`, stdout has exactly one document, whatever happens.

use std::cell::Cell;
use std::time::Duration;

use clap::Args;
use tokio::sync::watch;

use crate::aws::{Access, Class, Context};
use crate::diagnostic::{Diagnostic, Place};
use crate::live::OrphanSearch;
use crate::plan::{Goal, Options};
use crate::render::verified;
use crate::spec::{Depth, Spec};
use crate::value::Path;
use crate::verify::{self, Cause, Outcome, Pipeline, Stop, Timing};

use super::CommandContext;
use super::args::{CodeArgs, OneSpecArgs, OutputFormat, OverrideArgs, SpecArgs, ValueArgs, WhenStopped};
use super::exit::{CommandError, Exit};
use super::interrupt::on_runtime;
use super::names::search_scope;
use super::parse::duration_within;
use super::session::{self, AwsTarget, Intent, LookupReads, Run, Session};
use super::terminal::{Confirmation, Terminal, ask, with_wait_notice};

/// Test the pipeline end to end with one item and the function's log
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  engine verify                    each mapping of specs/team.yaml, hop by hop
  engine verify --yes              even if others will see the test item, or it looks real
  engine verify --json --timeout 10m
                                   for scripts, with a longer timeout")]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    spec: OneSpecArgs,
    /// Skip the confirmation prompt, even if others will see the test item or it looks like a real one
    #[arg(short, long)]
    yes: bool,
    /// Allow writing the test item to this imported table, by its name in the spec; can be repeated
    #[arg(long, value_name = "NAME")]
    allow_imported: Vec<String>,
    /// Maximum time to wait for each mapping, like 40s or 2m. Defaults to 5m, or 15s with --local
    #[arg(long, value_name = "DURATION", value_parser = |text: &str| duration_within(text, 1, 86_400))]
    timeout: Option<Duration>,
    /// Output format
    #[arg(long, value_enum, default_value_t = OutputFormat::Human)]
    format: OutputFormat,
}

pub(super) fn run(cx: &CommandContext<'_>, args: VerifyArgs) -> Result<Exit, CommandError> {
    let is_printed = Cell::new(args.format == OutputFormat::Human);
    let result = open(cx, &args, &is_printed);
    // Programs get one document in any case.
    if !is_printed.get() {
        let problems = result.as_ref().err().map(|failure| failure.diagnostics.as_slice()).unwrap_or_default();
        cx.terminal.print(&format!("{}\n", verified::not_started(problems)));
    }
    result
}

fn open(cx: &CommandContext<'_>, args: &VerifyArgs, is_printed: &Cell<bool>) -> Result<Exit, CommandError> {
    let spec = SpecArgs { when_stopped: WhenStopped::Fail, ..SpecArgs::from(&args.spec) };
    let sessions = session::open(cx, &spec, &Options::default(), Depth::Full)?;
    on_runtime(async |interrupt| match sessions.into_iter().next() {
        Some(session) => verify(session, args, is_printed, interrupt).await,
        None => Ok(Exit::Done),
    })
}

/// Tests the mappings of a session, as without options; with `yes`, without a question.
pub(super) async fn by_key(
    session: Session<'_>,
    yes: bool,
    interrupt: watch::Receiver<bool>,
) -> Result<Exit, CommandError> {
    let overrides = OverrideArgs { team: None, values: ValueArgs::default(), code: CodeArgs::default() };
    let spec = OneSpecArgs { spec: None, file: None, overrides };
    let args = VerifyArgs { spec, yes, allow_imported: Vec::new(), timeout: None, format: OutputFormat::Human };
    verify(session, &args, &Cell::new(true), interrupt).await
}

async fn verify(
    mut session: Session<'_>,
    args: &VerifyArgs,
    is_printed: &Cell<bool>,
    interrupt: watch::Receiver<bool>,
) -> Result<Exit, CommandError> {
    let terminal = session.terminal;
    let timeout = args.timeout;
    let pace = match session.target {
        AwsTarget::Local(_) => Timing::locally(timeout),
        AwsTarget::Account(_) => Timing::on_aws(timeout),
    };
    session::lock_writes(std::slice::from_mut(&mut session), &interrupt).await?;
    let access = Access::Items { team: session.spec.team.clone(), owns: session.spec.owns.clone() };
    let cx = session.context(access, &interrupt).await?;
    // The table's owner must be known before an item is written.
    let intent = Intent {
        goal: Goal::Present,
        writes: true,
        orphans: OrphanSearch::Ignored,
        lookups: LookupReads::ToFindResources,
    };
    let read = session.read(cx.clone(), intent);
    let run = with_wait_notice(terminal.quiet, || cx.waits(), read).await?;
    let Run { session: Session { spec, target, .. }, cx, inventory } = &run;
    check_imported(spec, &args.allow_imported)?;
    let pipelines = verify::pipelines(spec, inventory, &search_scope(target, &inventory.env), &args.allow_imported)
        .map_err(|diagnostics| CommandError { exit: Exit::Failed, diagnostics })?;
    let observers = verify::company(cx, &pipelines)
        .await
        .map_err(|error| CommandError::one(error.diagnostic("find the other readers of the streams")))?;
    let shaped = verified::shaped_items(&pipelines);
    if !(args.yes || observers.is_empty() && shaped.is_empty())
        && let Some(exit) = confirm(terminal, cx, &observers, &shaped).await?
    {
        return Ok(exit);
    }
    let outcomes = test(&run, &pipelines, pace, args.format).await;
    if !is_printed.replace(true) {
        terminal.print(&format!("{}\n", verified::json(spec, &inventory.env, &outcomes)));
    }
    for (pipeline, outcome) in &outcomes {
        report(terminal, pipeline, outcome);
    }
    Ok(if cx.interrupted() {
        Exit::Interrupted
    } else if outcomes.iter().any(|(_, outcome)| outcome.stop.is_some() || outcome.left.is_some()) {
        Exit::Failed
    } else {
        Exit::Done
    })
}

/// Refuses names in `--allow-imported` that aren't imported tables of the spec.
fn check_imported(spec: &Spec, allowed: &[String]) -> Result<(), CommandError> {
    let imported = || spec.resources.iter().filter(|it| it.imported && it.schema().kind == "table");
    let Some(unknown) = allowed.iter().find(|name| !imported().any(|it| it.name == **name)) else { return Ok(()) };
    let names: Vec<String> = imported().map(|it| format!("`{}`", it.name)).collect();
    let hint = match names.is_empty() {
        true => "remove `--allow-imported`: the spec imports no table".to_owned(),
        false => format!("the imported tables are {}", names.join(", ")),
    };
    Err(CommandError::one(Diagnostic::error(format!("`{unknown}` is not an imported table of the spec"), hint)))
}

/// Asks whether `observers` may see the test items, and whether those that look real, `shaped`, may
/// be written; returns how the command ends if not.
async fn confirm(
    terminal: &Terminal,
    cx: &Context,
    observers: &[String],
    shaped: &[String],
) -> Result<Option<Exit>, CommandError> {
    if !Terminal::can_prompt() {
        let why = match observers.is_empty() {
            true => "its filters require an item that looks like a real one, so the function may do real work",
            false => "others will see the test item",
        };
        let problem = format!("verify needs confirmation because {why}, but there is no terminal (or CI is set)");
        let hint = "nothing was written; pass --yes to write the test item anyway";
        let lines: Vec<&str> = observers.iter().chain(shaped).map(String::as_str).collect();
        return Err(CommandError::one(Diagnostic::error(problem, hint).why(lines.join("; "))));
    }
    let list = |heading: &str, lines: &[String]| {
        if !lines.is_empty() {
            terminal.note(heading);
            lines.iter().for_each(|line| terminal.note(&format!("  - {line}")));
        }
    };
    list("Others will see the test item:", observers);
    list("To pass the filters, the test item looks like a real one, so the function may do real work:", shaped);
    Ok(match ask(terminal, cx, "Do you want to write it?").await {
        Confirmation::Yes => None,
        Confirmation::No => {
            terminal.note("Nothing was written.");
            Some(Exit::Failed)
        }
        Confirmation::Interrupted => Some(Exit::Interrupted),
    })
}

/// Tests the mappings one after the other; text is printed as soon as it is known.
async fn test<'p>(
    run: &Run<'_>,
    pipelines: &'p [Pipeline],
    pace: Timing,
    format: OutputFormat,
) -> Vec<(&'p Pipeline, Outcome)> {
    let (Session { spec, terminal, .. }, cx) = (&run.session, &run.cx);
    let show = |text: &str| {
        if format == OutputFormat::Human && !text.is_empty() {
            terminal.show(text);
        }
    };
    show(&format!("{}\n\n", run.heading()));
    let mut outcomes = Vec::new();
    for pipeline in pipelines {
        show(&verified::pipeline(pipeline));
        let mut report = |step: &verify::Step, progress| show(&verified::progress(pipeline, step, progress));
        let verified = verify::verify(cx, pipeline, pace, &mut report);
        let mut outcome = with_wait_notice(terminal.quiet, || cx.waits(), verified).await;
        if let Some(Stop::Finding(finding)) = &mut outcome.stop {
            finding.diagnostic.at = place(spec, pipeline, finding.cause);
        }
        show(&verified::outcome(pipeline, &outcome));
        outcomes.push((pipeline, outcome));
        if cx.interrupted() {
            break;
        }
    }
    outcomes
}

/// Reports why a mapping failed the test, and an item that is left.
fn report(terminal: &Terminal, pipeline: &Pipeline, outcome: &Outcome) {
    match &outcome.stop {
        Some(Stop::Finding(finding)) => terminal.problems(std::slice::from_ref(&finding.diagnostic)),
        Some(Stop::Failed(error)) if error.class == Class::Interrupted => {}
        Some(Stop::Failed(error)) => {
            terminal.problems(&[error.diagnostic(&format!("verify `{}`", pipeline.mapping))]);
        }
        None => {}
    }
    if let Some(error) = &outcome.left {
        let item = verify::item_name(pipeline);
        let problem = format!("the test item `{item}` may still be in `{}`", pipeline.table);
        let diagnostic = Diagnostic { problem: problem.into(), hints: Vec::new(), ..error.diagnostic("") };
        terminal.problems(&[diagnostic.hint("run `engine verify` again: it deletes the item")]);
    }
}

/// The place in the spec that causes the failure, or else the mapping.
fn place(spec: &Spec, pipeline: &Pipeline, cause: Cause) -> Option<Place> {
    let of_function = |property| {
        let function =
            spec.resources.iter().find(|it| it.schema().kind == "function" && it.id.name == pipeline.function);
        Some((function?.name.as_str(), property))
    };
    let blamed = match cause {
        Cause::MappingDisabled => Some((pipeline.mapping.as_str(), "enabled")),
        Cause::StreamGone => Some((pipeline.mapping.as_str(), "event_source_arn")),
        Cause::Filtered | Cause::FiltersUnknown | Cause::NotFiltered | Cause::KeyTaken => {
            Some((pipeline.mapping.as_str(), "filters"))
        }
        Cause::FunctionError | Cause::NotLogged | Cause::OtherTraffic | Cause::StreamUnknown => of_function("code"),
        Cause::FunctionBroken => of_function(""),
        Cause::RoleNotTrusting | Cause::MappingProblem | Cause::NoLogGroup => of_function("role"),
        Cause::Throttled | Cause::NotInvoked | Cause::Changed | Cause::Refused => None,
    };
    let (resource, property) = blamed.unwrap_or((pipeline.mapping.as_str(), ""));
    spec.place(resource, &Path::property(property)).or_else(|| spec.place(resource, &Path::default()))
}
