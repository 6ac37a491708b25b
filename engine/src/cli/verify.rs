//! `engine verify`: tests each mapping of a spec end to end.
//!
//! **Invariant:** with `--format json`, stdout has exactly one document, whatever happens.

mod report;

use std::cell::Cell;
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use futures_util::future::join_all;
use tokio::sync::{Mutex, watch};

use crate::apply::{Slots, slots};
use crate::aws::{Access, Context};
use crate::diagnostic::Diagnostic;
use crate::live::OrphanSearch;
use crate::plan::{Goal, Options};
use crate::render::verified;
use crate::spec::Depth;
use crate::verify::{self, Intervals, Pipeline, StopReason, VerificationResult};

use super::CommandContext;
use super::args::{CodeArgs, OneSpecArgs, OutputFormat, OverrideArgs, PARALLELISM, SpecArgs, ValueArgs, WhenStopped};
use super::exit::{CommandError, Exit};
use super::interrupt::on_runtime;
use super::names::{self, search_scope};
use super::parse::{duration_within, whole_number};
use super::session::{self, AwsTarget, Intent, LookupReads, Run, Session};
use super::terminal::{Confirmation, Terminal, ask, with_wait_notice};

/// Test the pipeline end to end with one item or message
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  engine verify                    each mapping of specs/team.yaml, hop by hop
  engine verify --yes              even if others will see the test item, it looks real, or a
                                   message to a queue can't be taken back
  engine verify --json --timeout 10m
                                   for scripts, with a longer timeout
  engine verify --teams specs/examples/teams.txt --yes
                                   each team in a list")]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    spec: OneSpecArgs,
    /// Verify each team in this file (one team per line)
    #[arg(long, value_name = "FILE", conflicts_with = "team")]
    teams: Option<PathBuf>,
    /// Skip the confirmation prompt, even if others will see the test item, it looks like a real one,
    /// or it is a message, which can't be taken back
    #[arg(short, long)]
    yes: bool,
    /// Allow writing the test item or message to this imported table or queue, by its name in the
    /// spec; can be repeated
    #[arg(long, value_name = "NAME")]
    allow_imported: Vec<String>,
    /// Maximum time to wait for each mapping, like 40s or 2m. Defaults to 5m, or 15s with --local
    #[arg(long, value_name = "DURATION", value_parser = |text: &str| duration_within(text, 1, 86_400))]
    timeout: Option<Duration>,
    /// With --teams: maximum number of mappings that are tested at the same time
    #[arg(long, value_name = "N", requires = "teams", default_value_t = PARALLELISM, value_parser = |text: &str| whole_number::<u16>(text, 1, 256))]
    parallelism: u16,
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
        cx.terminal.print(&format!("{}\n", verified::not_started(problems, args.teams.is_some())));
    }
    result
}

fn open(cx: &CommandContext<'_>, args: &VerifyArgs, is_printed: &Cell<bool>) -> Result<Exit, CommandError> {
    let teams = args.teams.clone();
    let spec = SpecArgs { when_stopped: WhenStopped::Fail, teams, ..SpecArgs::from(&args.spec) };
    let sessions = session::open(cx, &spec, &Options::default(), Depth::Full)?;
    on_runtime(async |interrupt| verify(sessions, args, is_printed, interrupt).await)
}

/// Tests the mappings of a session, as without options; with `yes`, without a question.
pub(super) async fn by_key(
    session: Session<'_>,
    yes: bool,
    interrupt: watch::Receiver<bool>,
) -> Result<Exit, CommandError> {
    let overrides = OverrideArgs { team: None, values: ValueArgs::default(), code: CodeArgs::default() };
    let spec = OneSpecArgs { spec: None, file: None, overrides };
    let args = VerifyArgs {
        spec,
        teams: None,
        yes,
        allow_imported: Vec::new(),
        timeout: None,
        parallelism: PARALLELISM,
        format: OutputFormat::Human,
    };
    verify(vec![session], &args, &Cell::new(true), interrupt).await
}

/// The mappings of a team, ready to be tested.
struct Ready<'t> {
    run: Run<'t>,
    pipelines: Vec<Pipeline>,
    /// Who else will see the tests.
    observers: Vec<String>,
}

/// Why the mappings of a team can't be tested.
struct Unready {
    team: String,
    stack: String,
    failure: CommandError,
}

/// The outcomes of a team's mappings, in their order; those after Ctrl-C are missing.
type Outcomes<'p> = Vec<(&'p Pipeline, VerificationResult)>;

async fn verify(
    mut sessions: Vec<Session<'_>>,
    args: &VerifyArgs,
    is_printed: &Cell<bool>,
    interrupt: watch::Receiver<bool>,
) -> Result<Exit, CommandError> {
    let Some(terminal) = sessions.first().map(|session| session.terminal) else { return Ok(Exit::Done) };
    session::lock_writes(&mut sessions, &interrupt).await?;
    let access =
        |session: &Session<'_>| Access::Items { team: session.spec.team.clone(), owns: session.spec.owns.clone() };
    let contexts =
        session::contexts_with(&sessions.iter().collect::<Vec<_>>(), Goal::Present, access, &interrupt).await?;
    let waits = || contexts.iter().flat_map(|cx| cx.waits()).collect();
    let prepared = sessions.into_iter().zip(&contexts).map(|(session, cx)| prepare(session, cx.clone(), args));
    let mut teams = with_wait_notice(terminal.quiet, waits, join_all(prepared)).await;
    if teams.iter().any(|it| it.as_ref().is_err_and(|it| it.failure.exit == Exit::Interrupted)) {
        return Err(CommandError::interrupted());
    }
    if args.teams.is_none()
        && let Some(Err(unready)) = teams.pop_if(|it| it.is_err())
    {
        return Err(unready.failure);
    }
    verify::note_sharing(teams.iter_mut().flatten().map(|it| &mut it.pipelines));
    report::unready(terminal, teams.iter().filter_map(|it| it.as_ref().err()));
    let ready: Vec<&Ready<'_>> = teams.iter().flatten().collect();
    if let Some(exit) = confirm(terminal, &ready, args).await? {
        return Ok(exit);
    }
    let mut outcomes = with_wait_notice(terminal.quiet, waits, test(terminal, &ready, args)).await.into_iter();
    let ended: Vec<Result<(&Ready<'_>, Outcomes<'_>), &Unready>> =
        teams.iter().map(|it| it.as_ref().map(|it| (it, outcomes.next().unwrap_or_default()))).collect();
    if !is_printed.replace(true) {
        terminal.print(&format!("{}\n", report::json(&ended, args.teams.is_some())));
    }
    Ok(report::end(terminal, &ended, args.teams.is_some()))
}

/// Reads what a team's mappings consist of, and who else will see their test items.
async fn prepare<'t>(session: Session<'t>, cx: Context, args: &VerifyArgs) -> Result<Ready<'t>, Unready> {
    let (team, stack) = (session.spec.team.clone(), session.spec.stack.clone());
    // The table's owner must be known before an item is written.
    let intent = Intent {
        goal: Goal::Present,
        writes: true,
        orphans: OrphanSearch::Ignored,
        lookups: LookupReads::ToFindResources,
    };
    let prepared = async {
        let run = session.read(cx, intent).await?;
        let Run { session: Session { spec, target, .. }, cx, inventory } = &run;
        names::check_imported(spec, &args.allow_imported, &["table", "queue"])?;
        let scope = search_scope(target, &inventory.env);
        let pipelines = verify::pipelines(spec, inventory, &scope, &args.allow_imported)
            .map_err(|diagnostics| CommandError { exit: Exit::Failed, diagnostics })?;
        let observers = verify::company(cx, &pipelines)
            .await
            .map_err(|error| CommandError::one(error.diagnostic("find the other readers of the streams")))?;
        Ok(Ready { run, pipelines, observers })
    };
    prepared.await.map_err(|failure| Unready { team, stack, failure })
}

/// What the user has to know before anything is written, a line each.
struct Confirmations {
    /// Who else will see the tests.
    observers: Vec<String>,
    /// The test items that look real.
    shaped: Vec<String>,
    /// The messages that will be sent.
    messages: Vec<String>,
}

impl Confirmations {
    /// The question about all teams.
    fn new(ready: &[&Ready<'_>], is_list: bool) -> Confirmations {
        let mut observers: Vec<String> = ready.iter().flat_map(|it| it.observers.iter().cloned()).collect();
        // Teams may share a table.
        observers.sort();
        observers.dedup();
        let all = |lines_of: fn(&[Pipeline]) -> Vec<String>| {
            let of_team = |it: &&Ready<'_>| {
                let team = if is_list { format!("{}: ", it.run.session.spec.team) } else { String::new() };
                lines_of(&it.pipelines).into_iter().map(|line| format!("{team}{line}")).collect::<Vec<_>>()
            };
            ready.iter().flat_map(of_team).collect()
        };
        Confirmations { observers, shaped: all(verified::shaped_items), messages: all(verified::messages) }
    }

    fn is_empty(&self) -> bool {
        self.observers.is_empty() && self.shaped.is_empty() && self.messages.is_empty()
    }

    /// Why there is no run without an answer.
    fn reason(&self) -> &'static str {
        match (self.messages.is_empty(), self.observers.is_empty()) {
            (false, _) => "a message to a queue can't be taken back",
            (true, false) => "others will see the test item",
            (true, true) => "its filters require an item that looks like a real one, so the function may do real work",
        }
    }

    /// Its lines in groups, each with a heading.
    fn groups(&self) -> [(&'static str, &[String]); 3] {
        [
            ("Others will see the test:", &self.observers),
            (
                "To pass the filters, the test item looks like a real one, so the function may do real work:",
                &self.shaped,
            ),
            ("These messages can't be taken back, and the function may do real work:", &self.messages),
        ]
    }
}

/// Asks once for all teams; returns how the command ends if nothing may be written.
async fn confirm(terminal: &Terminal, ready: &[&Ready<'_>], args: &VerifyArgs) -> Result<Option<Exit>, CommandError> {
    let question = Confirmations::new(ready, args.teams.is_some());
    let Some(cx) = ready.first().map(|it| &it.run.cx).filter(|_| !args.yes && !question.is_empty()) else {
        return Ok(None);
    };
    if !Terminal::can_prompt() {
        let reason = question.reason();
        let problem = format!("verify needs confirmation because {reason}, but there is no terminal (or CI is set)");
        let hint = "nothing was written; pass --yes to run the test anyway";
        let lines: Vec<&str> = question.groups().into_iter().flat_map(|(_, lines)| lines).map(String::as_str).collect();
        return Err(CommandError::one(Diagnostic::error(problem, hint).why(lines.join("; "))));
    }
    for (heading, lines) in question.groups().into_iter().filter(|(_, lines)| !lines.is_empty()) {
        terminal.detail(heading);
        lines.iter().for_each(|line| terminal.detail(&format!("  - {line}")));
    }
    Ok(match ask(terminal, cx, "Do you want to run the test?").await {
        Confirmation::Yes => None,
        Confirmation::No => {
            terminal.note("Nothing was written.");
            Some(Exit::Failed)
        }
        Confirmation::Interrupted => Some(Exit::Interrupted),
    })
}

/// Tests the mappings of all teams, of each team one after the other, and shows the results as soon
/// as they are known.
async fn test<'r>(terminal: &Terminal, ready: &[&'r Ready<'_>], args: &VerifyArgs) -> Vec<Outcomes<'r>> {
    let is_for_people = args.format == OutputFormat::Human;
    let show = |text: &str| {
        if is_for_people && !text.is_empty() {
            terminal.show(text);
        }
    };
    report::heading(terminal, ready).inspect(|heading| show(&format!("{heading}\n\n")));
    let test_slots = TestSlots::new(args, ready);
    if args.teams.is_none() {
        return join_all(ready.iter().map(|it| test_team(it, args, &test_slots, &show))).await;
    }
    join_all(ready.iter().map(async |it| {
        let outcomes = test_team(it, args, &test_slots, &|_| {}).await;
        show(&report::rows(it, &outcomes));
        let problems = report::problems(&it.run.session.spec.team, &outcomes);
        terminal.problems(&problems);
        outcomes
    }))
    .await
}

/// Limits how many mappings are tested at the same time: all of the process to `--parallelism`, and
/// those of a table or queue to one.
struct TestSlots<'r> {
    slots: Slots,
    sources: HashMap<&'r str, Mutex<()>>,
}

impl<'r> TestSlots<'r> {
    fn new(args: &VerifyArgs, ready: &[&'r Ready<'_>]) -> TestSlots<'r> {
        let pipelines = ready.iter().flat_map(|it| &it.pipelines);
        let sources = pipelines.map(|it| (it.source.arn(), Mutex::new(()))).collect();
        TestSlots { slots: slots(usize::from(args.parallelism)), sources }
    }
}

/// Tests the mappings of a team one after the other.
async fn test_team<'r>(
    ready: &'r Ready<'_>,
    args: &VerifyArgs,
    test_slots: &TestSlots<'_>,
    show: &impl Fn(&str),
) -> Outcomes<'r> {
    let Ready { run: Run { session, cx, .. }, pipelines, .. } = ready;
    let pace = match session.target {
        AwsTarget::Local(_) => Intervals::locally(args.timeout),
        AwsTarget::Account(_) => Intervals::on_aws(args.timeout),
    };
    let mut outcomes = Vec::new();
    for pipeline in pipelines {
        let source = match test_slots.sources.get(pipeline.source.arn()) {
            Some(source) => Some(source.lock().await),
            None => None,
        };
        let slot = test_slots.slots.acquire().await;
        if cx.interrupted() {
            break;
        }
        show(&verified::pipeline(pipeline));
        let mut report = |step: &verify::ProbeStep, progress| show(&verified::progress(pipeline, step, progress));
        let mut outcome = verify::verify(cx, pipeline, pace, &mut report).await;
        drop((slot, source));
        if let Some(StopReason::Finding(finding)) = &mut outcome.stop {
            finding.diagnostic.at = report::blamed_location(&session.spec, pipeline, finding.cause);
        }
        show(&verified::outcome(pipeline, &outcome));
        outcomes.push((pipeline, outcome));
    }
    outcomes
}
