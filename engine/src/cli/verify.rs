//! `engine verify`: tests each mapping of a spec end to end.
//!
//! **Invariant:** with `--format json`, stdout has exactly one document, whatever happens.

use std::cell::Cell;
use std::time::Duration;

use clap::Args;
use tokio::sync::watch;

use crate::aws::{Access, Class};
use crate::diagnostic::{Diagnostic, Place};
use crate::live::Leftovers;
use crate::plan::{Goal, Options};
use crate::render::verified;
use crate::spec::{Depth, Spec};
use crate::value::Path;
use crate::verify::{self, Cause, Pace, Pipeline, Stop};

use super::names::searched;
use super::session::{self, Intent, Run, Session, Target};
use super::terminal::{Answer, Failure, Terminal, ask, telling};
use super::{Exit, Global, ListFormat, OneSpecArgs, SpecArgs, WhenStopped, usage};

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    spec: OneSpecArgs,
    /// Skip the confirmation prompt, even if others will see the test item
    #[arg(short, long)]
    yes: bool,
    /// Maximum time to wait for each mapping, like 40s or 2m. Defaults to 5m, or 15s with --local
    #[arg(long, value_name = "DURATION", value_parser = |text: &str| usage::limited(text, 1, 86_400))]
    timeout: Option<Duration>,
    /// Output format
    #[arg(long, value_enum, default_value_t = ListFormat::Human)]
    format: ListFormat,
}

pub(super) fn run(global: &Global, terminal: &Terminal, args: &VerifyArgs) -> Result<Exit, Failure> {
    let is_told = Cell::new(args.format == ListFormat::Human);
    let result = open(global, terminal, args, &is_told);
    // Programs get one document in any case.
    if !is_told.get() {
        let problems = result.as_ref().err().map(|failure| failure.diagnostics.as_slice()).unwrap_or_default();
        terminal.print(&format!("{}\n", verified::unbegun(problems)));
    }
    result
}

fn open(global: &Global, terminal: &Terminal, args: &VerifyArgs, is_told: &Cell<bool>) -> Result<Exit, Failure> {
    let spec = SpecArgs { when_stopped: WhenStopped::Fail, ..SpecArgs::from(&args.spec) };
    let sessions = session::open(global, terminal, &spec, &Options::default(), Depth::Full)?;
    super::on_runtime(async |interrupt| match sessions.into_iter().next() {
        Some(session) => verify(session, args, is_told, interrupt).await,
        None => Ok(Exit::Done),
    })
}

async fn verify(
    mut session: Session<'_>,
    args: &VerifyArgs,
    is_told: &Cell<bool>,
    interrupt: watch::Receiver<bool>,
) -> Result<Exit, Failure> {
    let terminal = session.terminal;
    let timeout = args.timeout;
    let pace = match session.target {
        Target::Local(_) => Pace::locally(timeout),
        Target::Account(_) => Pace::on_aws(timeout),
    };
    session::lock_writes(std::slice::from_mut(&mut session), &interrupt).await?;
    let access = Access::Items { team: session.spec.team.clone() };
    let cx = session.context(access, &interrupt).await?;
    // The table's owner must be known before an item is written.
    let intent = Intent { goal: Goal::Present, writes: true, leftovers: Leftovers::Ignored };
    let read = session.read(cx.clone(), intent);
    let run = telling(terminal.quiet, || cx.waits(), read).await?;
    let Run { session: Session { spec, target, .. }, cx, inventory } = &run;
    let pipelines = verify::pipelines(spec, inventory, &searched(target, &inventory.site))
        .map_err(|diagnostics| Failure { exit: Exit::Failed, diagnostics })?;
    let company = verify::company(cx, &pipelines)
        .await
        .map_err(|error| Failure::one(error.diagnostic("find the other readers of the streams")))?;
    if !company.is_empty() && !args.yes {
        if !Terminal::can_ask() {
            let problem = "verify needs confirmation because others will see the test item, but there is no terminal (or CI \
                           is set)";
            let hint = "nothing was written; pass --yes to write the test item anyway";
            return Err(Failure::one(Diagnostic::error(problem, hint).why(company.join("; "))));
        }
        terminal.say("Others will see the test item:");
        company.iter().for_each(|line| terminal.say(&format!("  - {line}")));
        match ask(terminal, cx, "Do you want to write it?").await {
            Answer::Yes => {}
            Answer::No => {
                terminal.say("Nothing was written.");
                return Ok(Exit::Failed);
            }
            Answer::Interrupted => return Ok(Exit::Interrupted),
        }
    }
    // Text is printed as soon as it is known.
    let show = |text: &str| {
        if args.format == ListFormat::Human && !text.is_empty() {
            terminal.show(text);
        }
    };
    show(&format!("{}\n\n", run.heading()));
    let mut outcomes = Vec::new();
    for pipeline in &pipelines {
        show(&verified::pipeline(pipeline));
        let mut report = |step: &verify::Step, hop| show(&verified::progress(pipeline, step, hop));
        let verified = verify::verify(cx, pipeline, pace, &mut report);
        let mut outcome = telling(terminal.quiet, || cx.waits(), verified).await;
        if let Some(Stop::Finding(finding)) = &mut outcome.stop {
            finding.diagnostic.at = place(spec, pipeline, finding.cause);
        }
        show(&verified::outcome(pipeline, &outcome));
        outcomes.push((pipeline, outcome));
        if cx.interrupted() {
            break;
        }
    }
    if !is_told.replace(true) {
        terminal.print(&format!("{}\n", verified::json(spec, &inventory.site, &outcomes)));
    }
    let mut exit = Exit::Done;
    for (pipeline, outcome) in &outcomes {
        match &outcome.stop {
            Some(Stop::Finding(finding)) => terminal.problems(std::slice::from_ref(&finding.diagnostic)),
            Some(Stop::Failed(error)) if error.class == Class::Interrupted => {}
            Some(Stop::Failed(error)) => {
                terminal.problems(&[error.diagnostic(&format!("verify `{}`", pipeline.mapping))])
            }
            None => {}
        }
        if let Some(error) = &outcome.left {
            let item = verify::item_name(pipeline);
            let problem = format!("the test item `{item}` may still be in `{}`", pipeline.table);
            let diagnostic = Diagnostic { problem, hints: Vec::new(), ..error.diagnostic("") };
            terminal.problems(&[diagnostic.hint("run `engine verify` again: it deletes the item")]);
        }
        if outcome.stop.is_some() || outcome.left.is_some() {
            exit = Exit::Failed;
        }
    }
    Ok(if cx.interrupted() { Exit::Interrupted } else { exit })
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
        Cause::Filtered => Some((pipeline.mapping.as_str(), "filters")),
        Cause::FunctionError | Cause::NotLogged => of_function("code"),
        Cause::RoleNotTrusting | Cause::MappingProblem | Cause::NoLogGroup => of_function("role"),
        Cause::Throttled | Cause::NotInvoked | Cause::Changed | Cause::Refused => None,
    };
    let (resource, property) = blamed.unwrap_or((pipeline.mapping.as_str(), ""));
    spec.place(resource, &Path::property(property)).or_else(|| spec.place(resource, &Path::default()))
}
