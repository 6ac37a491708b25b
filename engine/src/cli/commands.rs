//! The commands that call AWS: they read, plan, show, confirm and apply all specs concurrently.
//!
//! **Invariant:** nothing is written before everything has been shown and confirmed.

use std::cell::RefCell;
use std::io::IsTerminal as _;
use std::path::Path;
use std::pin::pin;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::apply::{self, Event, Execution, Outcome, StepOutcome};
use crate::aws::recorder::Records;
use crate::aws::{Access, Class, Context};
use crate::diagnostic::{Diagnostic, Severity, nearest};
use crate::inventory::Inventory;
use crate::live;
use crate::plan::{Action, Change, Goal, Plan};
use crate::plan_file;
use crate::render::markdown::{self, Page};
use crate::render::timeline::{self, Ran};
use crate::render::{self, Holder, Look, Owned, Rows, TICK, remedy};
use crate::saved::{Flags, Salt, SavedPlan};
use crate::schema::{Id, Live, Ownership, Site};
use crate::spec::{Declared, Spec};
use crate::timeline::{Axis, Timeline, Timing};
use crate::value::{Hole, Value};

use super::check;
use super::names;
use super::session::{self, Intent, Run, Session, Target};
use super::syntax;
use super::terminal::{Answer, Failure, Terminal, confirm, telling};
use super::timeline::PageFile;
use super::{DiffArgs, Exit, Format, ListArgs, ListFormat, RunArgs, ViewArgs};

/// Shows the plans.
pub(super) async fn diff(
    sessions: Vec<Session<'_>>,
    intent: Intent,
    args: &DiffArgs,
    flags: Flags,
    interrupt: watch::Receiver<bool>,
) -> Result<Exit, Failure> {
    let mut exit = Exit::Done;
    let mut refusals = Vec::new();
    let mut terminal = None;
    if let Some(out) = &args.out {
        plan_file::has_room_at(out).map_err(Failure::one)?;
    }
    let planned = planned(session::read(sessions, intent, &interrupt).await?, intent.goal);
    show(&planned, &args.view);
    for Planned { run, plan, .. } in planned {
        refusals.extend(run.refusals(&plan));
        if let Some(out) = args.out.as_ref().filter(|_| refusals.is_empty()) {
            if plan.is_undecided() {
                let problem = "the plan wasn't saved: some resources can't be determined yet";
                return Err(Failure::one(Diagnostic::error(problem, "try again in a minute")));
            }
            let salt = Salt::random();
            let Session { spec, overrides, terminal, .. } = &run.session;
            let saved = SavedPlan::new(spec, &run.inventory, &plan, overrides, flags.clone(), salt);
            plan_file::write(&saved, out).map_err(Failure::one)?;
            let file = names::quoted(out);
            terminal.say(&format!("Saved the plan to {file}. To apply exactly this plan, run: engine apply {file}"));
        }
        // What can't be determined yet may change as well.
        if args.detailed_exitcode && (plan.has_changes() || plan.is_undecided() || plan.is_partial()) {
            exit = Exit::Pending;
        }
        terminal = Some(run.session.terminal);
    }
    if let Some(terminal) = terminal.filter(|_| !refusals.is_empty()) {
        terminal.problems(&refusals);
        exit = Exit::Failed;
    }
    Ok(exit)
}

/// A run and its plan.
struct Planned<'t> {
    run: Run<'t>,
    plan: Plan,
    goal: Goal,
}

/// Plans each run.
fn planned(runs: Vec<Run<'_>>, goal: Goal) -> Vec<Planned<'_>> {
    runs.into_iter().map(|run| Planned { plan: run.plan(goal), run, goal }).collect()
}

impl Planned<'_> {
    /// Prints the JSON or Markdown document, if requested.
    fn document(
        &self,
        view: &ViewArgs,
        status: &str,
        endings: &[StepOutcome],
        timing: Option<&Timing>,
        outputs: &[(String, Value)],
    ) {
        let Session { spec, terminal, .. } = &self.run.session;
        match view.format {
            Format::Human => {}
            Format::Json => {
                let site = &self.run.inventory.site;
                let json = render::outcome_json(spec, site, &self.plan, status, endings, timing, outputs);
                terminal.print(&format!("{json}\n"));
            }
            Format::Markdown => {
                terminal.print(&markdown::outcome(&page(&self.run, self.goal, view), &self.plan, status, endings));
            }
        }
    }
}

/// Shows the plans, asks for confirmation if needed, and applies them.
pub(super) async fn apply(
    mut sessions: Vec<Session<'_>>,
    intent: Intent,
    saved: Option<&SavedPlan>,
    args: &RunArgs,
    view: &ViewArgs,
    interrupt: watch::Receiver<bool>,
) -> Result<Exit, Failure> {
    let goal = intent.goal;
    let page = args.timeline.as_deref().map(PageFile::new).transpose()?;
    sessions.iter_mut().for_each(|session| session.is_recorded = page.is_some());
    let runs = session::read(sessions, intent, &interrupt).await?;
    let planned = planned(runs, goal);
    let Some(first) = planned.first() else { return Ok(Exit::Done) };
    let terminal = first.run.session.terminal;
    if view.format == Format::Human {
        show(&planned, view);
    }
    let tell = |status: &str| planned.iter().for_each(|it| it.document(view, status, &[], None, &[]));
    let refusals: Vec<Diagnostic> = planned.iter().flat_map(|it| it.run.refusals(&it.plan)).collect();
    if !refusals.is_empty() {
        tell("refused");
        return Err(Failure { exit: Exit::Failed, diagnostics: refusals });
    }
    if goal == Goal::Present {
        let found = join_all(planned.iter().map(|it| check::before(&it.run, &it.plan))).await;
        let broken = syntax::of_code(planned.iter().map(|it| (&it.run.session.spec, Some(&it.plan)))).await;
        let (certain, warnings): (Vec<_>, Vec<_>) =
            found.into_iter().flatten().chain(broken).partition(|it| it.severity == Severity::Error);
        if !certain.is_empty() {
            tell("refused");
            return Err(Failure { exit: Exit::Failed, diagnostics: certain });
        }
        terminal.problems(&warnings);
    }
    if let Some(saved) = saved {
        let Session { spec, overrides, .. } = &first.run.session;
        let (flags, salt) = (saved.flags.clone(), saved.salt.clone());
        let now = SavedPlan::new(spec, &first.run.inventory, &first.plan, overrides, flags, salt);
        let moved = saved.moved(&now);
        if !moved.is_empty() {
            tell("refused");
            let problem = "the saved plan is out of date, so nothing was changed";
            let hint = "review the plan above, and save it again with `engine diff --out`";
            return Err(Failure::one(Diagnostic::error(problem, hint).why(moved.join("; "))));
        }
    }
    if planned.iter().any(|it| it.plan.asks()) && !args.yes {
        if view.format != Format::Human {
            // The plan must be visible before the prompt, and stdout is for the document.
            planned
                .iter()
                .for_each(|it| terminal.say(&render::plan(&it.plan, goal == Goal::Absent, rows(view), terminal.err)));
        }
        match confirm(terminal, &first.run.cx, goal == Goal::Absent).await.inspect_err(|_| tell("declined"))? {
            Answer::Yes => {}
            Answer::No => {
                tell("declined");
                terminal.say("Nothing was changed.");
                return Ok(Exit::Failed);
            }
            Answer::Interrupted => {
                tell("interrupted");
                return Ok(Exit::Interrupted);
            }
        }
    }
    let runs_code =
        |change: &Change| change.kind == "function" && matches!(change.action, Action::Create | Action::Update);
    let local = |it: &&Planned<'_>| matches!(it.run.session.target, Target::Local(_));
    if planned.iter().filter(local).any(|it| it.plan.changes.iter().any(runs_code)) {
        terminal.say("local AWS: function code runs on this machine with your permissions");
    }
    carry_out(&planned, goal, usize::from(args.parallelism), view, page.as_ref()).await
}

/// Applies all plans concurrently, and reports the outcome of each.
async fn carry_out(
    planned: &[Planned<'_>],
    goal: Goal,
    parallelism: usize,
    view: &ViewArgs,
    page: Option<&PageFile<'_>>,
) -> Result<Exit, Failure> {
    let Some(first) = planned.first() else { return Ok(Exit::Done) };
    let terminal = first.run.session.terminal;
    let progress = RefCell::new(terminal.progress());
    let several = planned.len() > 1;
    let prefixes: Vec<String> = planned
        .iter()
        .map(
            |Planned { run: Run { session: Session { spec, .. }, .. }, .. }| {
                if several { format!("{}/{}/", spec.team, spec.stack) } else { String::new() }
            },
        )
        .collect();
    for (at, (it, prefix)) in planned.iter().zip(&prefixes).enumerate() {
        progress.borrow_mut().begin(at, prefix, &it.plan);
    }
    // All runs of the process share them.
    let slots = apply::slots(parallelism);
    let executions: Vec<Execution<'_>> = planned.iter().map(|it| Execution::new(&it.plan)).collect();
    let due = page.map(|page| PageDue { page, planned, executions: &executions, is_due: true });
    {
        let works = planned.iter().zip(&executions).enumerate().map(|(at, (Planned { run, .. }, execution))| {
            let (progress, slots) = (&progress, &slots);
            async move {
                let spec = &run.session.spec;
                let mut report = |event: &Event| progress.borrow_mut().event(at, event);
                execution.run(&run.cx, spec, &run.inventory, slots, &mut report).await;
            }
        });
        let mut works = pin!(join_all(works));
        while timeout(TICK, &mut works).await.is_err() {
            progress.borrow_mut().tick();
        }
    }
    drop(progress);
    let all: Vec<Outcome> = executions.iter().map(Execution::outcome).collect();
    let lost = due.and_then(|due| due.write(&all).err());
    let timings: Vec<Timing> =
        planned.iter().zip(&all).map(|(it, outcome)| Timing::of(&it.plan, &outcome.times)).collect();
    let mut exit = Exit::Done;
    let (mut n_complete, mut n_failed) = (0_usize, 0_usize);
    for ((it, Outcome { endings, outputs, .. }), timing) in planned.iter().zip(all).zip(&timings) {
        let Planned { run, plan, .. } = it;
        let complete = endings.iter().all(|ending| matches!(ending, StepOutcome::Done(_)));
        let (status, ended) = match () {
            () if complete => ("complete", Exit::Done),
            () if run.cx.interrupted() => ("interrupted", Exit::Interrupted),
            () if run.cx.aws.guard.n_writes() == 0 => ("failed", Exit::Failed),
            () => ("partial", Exit::Partial),
        };
        n_complete += usize::from(complete && !plan.steps.is_empty());
        n_failed += usize::from(!complete);
        exit = worse(exit, ended);
        let known = if complete && goal == Goal::Present {
            values(&run.session.spec, &run.inventory, |resource, attribute| {
                outputs.get(resource)?.get(attribute).cloned()
            })
        } else {
            Vec::new()
        };
        let Session { spec, .. } = &run.session;
        terminal.log(&render::failures(spec, plan, &endings));
        if !plan.steps.is_empty() {
            let closing = render::closing(plan, &endings, goal == Goal::Absent, terminal.err);
            terminal.summary(&spec.team, &spec.stack, status, &closing);
        }
        if view.format != Format::Human {
            it.document(view, status, &endings, Some(timing), &known);
            continue;
        }
        if !plan.steps.is_empty() {
            let heading = if several { format!("{}\n", run.heading()) } else { String::new() };
            terminal.show(&format!(
                "\n{heading}{}",
                render::outcome(&run.session.spec, plan, &endings, goal == Goal::Absent, terminal.out)
            ));
        }
        if !known.is_empty() {
            terminal.print(&format!("\nOutputs:\n\n{}", render::outputs(&known)));
        }
    }
    if view.format == Format::Human {
        let runs = prefixes.iter().zip(planned).zip(&timings);
        let took = timeline::took(runs.map(|((prefix, it), timing)| (prefix.as_str(), &it.plan, timing)), terminal.err);
        took.inspect(|took| terminal.say(took));
    }
    match (lost, page) {
        (Some(lost), _) => {
            terminal.problems(&[lost]);
            exit = worse(exit, Exit::Failed);
        }
        (None, Some(page)) => terminal.say(&format!("Wrote the timeline to {}", names::quoted(page.path()))),
        (None, None) => {}
    }
    if exit == Exit::Done && n_complete > 0 && goal == Goal::Present && view.format == Format::Human {
        next_command(planned).inspect(|next| terminal.say(next));
    }
    // If one run succeeds and another fails, the command is partly done.
    Ok(if exit == Exit::Failed && n_complete > 0 && n_failed > 0 { Exit::Partial } else { exit })
}

/// The commands to run after an apply.
fn next_command(planned: &[Planned<'_>]) -> Option<String> {
    let is_mapping = |it: &Declared| it.schema().kind == "mapping" && !it.imported;
    let Planned { run: Run { session, .. }, .. } =
        planned.iter().find(|it| it.run.session.spec.resources.iter().any(is_mapping))?;
    let Session { terminal, spec, overrides, target, .. } = session;
    let folder =
        terminal.directory.as_deref().map_or_else(String::new, |folder| format!(" -C {}", names::quoted(folder)));
    let local = if matches!(target, Target::Local(_)) { " --local" } else { "" };
    let team = overrides.team.as_ref().map_or_else(String::new, |team| format!(" --team {team}"));
    let path = Path::new(spec.file.name());
    let is_usual = session::find_spec().is_ok_and(|usual| usual == path);
    let named = if is_usual { String::new() } else { format!(" --spec {}", names::quoted(path)) };
    let options = format!("{local}{named}{team}");
    let each = if planned.len() > 1 { ", for each spec and team" } else { "" };
    Some(format!("Next: `engine{folder} verify{options}`, then `engine{folder} logs{options}`{each}"))
}

/// Writes the page, also when dropped: a second Ctrl-C ends the command anywhere.
struct PageDue<'d> {
    page: &'d PageFile<'d>,
    planned: &'d [Planned<'d>],
    executions: &'d [Execution<'d>],
    is_due: bool,
}

impl PageDue<'_> {
    fn write(mut self, outcomes: &[Outcome]) -> Result<(), Diagnostic> {
        self.is_due = false;
        write_page(self.page, self.planned, outcomes)
    }
}

impl Drop for PageDue<'_> {
    fn drop(&mut self) {
        if !self.is_due {
            return;
        }
        let outcomes: Vec<Outcome> = self.executions.iter().map(Execution::outcome).collect();
        if let (Err(lost), Some(first)) = (write_page(self.page, self.planned, &outcomes), self.planned.first()) {
            first.run.session.terminal.problems(&[lost]);
        }
    }
}

/// Writes the timeline.
fn write_page(page: &PageFile<'_>, planned: &[Planned<'_>], outcomes: &[Outcome]) -> Result<(), Diagnostic> {
    let records: Vec<Records> = planned.iter().map(|it| it.run.cx.aws.recorder.records()).collect();
    let Some(axis) = Axis::of(outcomes.iter().map(|outcome| &outcome.times).zip(&records)) else { return Ok(()) };
    let runs = planned.iter().zip(outcomes).zip(&records).map(|((Planned { run, plan, .. }, outcome), records)| Ran {
        spec: &run.session.spec,
        site: &run.inventory.site,
        plan,
        endings: &outcome.endings,
        timeline: Timeline::new(&axis, plan, outcome, records),
        secrets: &run.cx.aws.secrets,
    });
    page.write(&axis, &runs.collect::<Vec<Ran<'_>>>())
}

/// The more severe exit code: 130, then 3, 1 and 0.
fn worse(a: Exit, b: Exit) -> Exit {
    let rank = |exit: Exit| match exit {
        Exit::Interrupted => 3,
        Exit::Partial => 2,
        Exit::Failed => 1,
        _ => 0,
    };
    if rank(b) > rank(a) { b } else { a }
}

/// Removes engine's tags from the named resource.
pub(super) async fn forget(
    sessions: Vec<Session<'_>>,
    intent: Intent,
    name: &str,
    interrupt: watch::Receiver<bool>,
) -> Result<Exit, Failure> {
    let view = ViewArgs { format: Format::Human, show_unchanged: false };
    let runs = session::read(sessions, intent, &interrupt).await?;
    let planned = planned(runs, intent.goal);
    if planned.iter().all(|it| it.plan.changes.is_empty()) {
        let searched = planned.first().map(|it| names::searched(&it.run.session.target, &it.run.inventory.site));
        let place = searched.as_ref().map_or_else(String::new, |searched| format!(" {}", searched.place()));
        let problem = format!("this team's stack owns no resource `{name}`{place}");
        let known = planned.iter().flat_map(|it| &it.run.session.spec.resources).map(|it| it.name.as_str());
        let known = known.filter(|known| *known != name);
        let owned = "`engine list` shows what it owns";
        return Err(Failure::one(match (nearest(name, known), searched) {
            (Some(near), _) => Diagnostic::error(problem, format!("did you mean `{near}`?")).hint(owned),
            (None, Some(searched)) => Diagnostic::error(problem, searched.elsewhere()).hint(owned),
            (None, None) => Diagnostic::error(problem, owned),
        }));
    }
    show(&planned, &view);
    let refusals: Vec<Diagnostic> = planned.iter().flat_map(|it| it.run.refusals(&it.plan)).collect();
    if !refusals.is_empty() {
        return Err(Failure { exit: Exit::Failed, diagnostics: refusals });
    }
    carry_out(&planned, intent.goal, 1, &view, None).await
}

/// Whether the spec has an output of that name.
pub(super) fn has_output(spec: &Spec, name: &str) -> Result<(), Failure> {
    let known = || spec.outputs.iter().map(|(known, _)| known.as_str());
    if known().any(|known| known == name) {
        return Ok(());
    }
    let names = known().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let meant = nearest(name, known()).map_or_else(String::new, |near| format!("did you mean `{near}`? "));
    let hint = match (names.is_empty(), meant.is_empty()) {
        (true, _) => "add outputs to the spec: `outputs: { name: ${resource.attribute} }`".to_owned(),
        (false, true) => format!("use one of {names}"),
        (false, false) => format!("{meant}The outputs are {names}"),
    };
    Err(Failure::one(Diagnostic::error(format!("the spec has no output `{name}`"), hint)))
}

/// Prints the spec's outputs as they are in AWS.
pub(super) async fn output(
    sessions: Vec<Session<'_>>,
    intent: Intent,
    name: Option<&str>,
    format: ListFormat,
    interrupt: watch::Receiver<bool>,
) -> Result<Exit, Failure> {
    for run in session::read(sessions, intent, &interrupt).await? {
        let Run { session: Session { spec, terminal, target, .. }, inventory, .. } = &run;
        let known = values(spec, inventory, |resource, attribute| {
            let declared = spec.resource(resource)?;
            let computed = declared.schema().computed(&inventory.site, &declared.id.name);
            let live = inventory.live(resource)?;
            live.outputs.get(attribute).or_else(|| computed.get(attribute)).cloned()
        });
        let wanted: Vec<(String, Value)> =
            known.into_iter().filter(|(known, _)| name.is_none_or(|name| name == known)).collect();
        if let Some((missing, _)) = wanted.iter().find(|(_, value)| value.has_unknown()) {
            let searched = names::searched(target, &inventory.site);
            let place = searched.place();
            let problem =
                format!("the output `{missing}` is unknown: the resource that it refers to doesn't exist {place}");
            let diagnostic = Diagnostic::error(problem, searched.elsewhere());
            return Err(Failure::one(diagnostic.hint(format!("otherwise run `{}` first", searched.apply()))));
        }
        terminal.print(&match (format, name, wanted.as_slice()) {
            (ListFormat::Json, _, _) => format!("{}\n", render::outputs_json(&wanted)),
            (ListFormat::Human, Some(_), [(_, value)]) => format!("{}\n", value.as_str().unwrap_or_default()),
            _ => render::outputs(&wanted),
        });
    }
    Ok(Exit::Done)
}

/// The spec's outputs, with the references resolved that `lookup` knows.
fn values(spec: &Spec, inventory: &Inventory, lookup: impl Fn(&str, &str) -> Option<String>) -> Vec<(String, Value)> {
    let fill = |placeholder: &Hole| inventory.site.fill(placeholder, &lookup);
    spec.outputs.iter().map(|(name, value)| (name.clone(), value.resolve(&fill))).collect()
}

/// Lists resources and their owners.
pub(super) async fn list(
    sessions: Vec<Session<'_>>,
    args: &ListArgs,
    prefixes: &[String],
    interrupt: watch::Receiver<bool>,
) -> Result<Exit, Failure> {
    let Some(first) = sessions.first() else { return Ok(Exit::Done) };
    let terminal: &Terminal = first.terminal;
    // What all teams own doesn't depend on the spec.
    let n_asked = if args.all_teams { 1 } else { sessions.len() };
    let (mut owned, mut places, mut readers) = (Vec::new(), Vec::new(), Vec::new());
    for session in sessions.iter().take(n_asked) {
        let known = readers.iter().position(|(target, _, _)| *target == &session.target);
        let at = match known {
            Some(at) => at,
            None => {
                let (cx, account) = session.reader(Access::ReadOnly, &interrupt).await?;
                readers.push((&session.target, cx, account));
                readers.len() - 1
            }
        };
        let Some((target, cx, account)) = readers.get(at) else { continue };
        let us = (!args.all_teams).then_some((session.spec.team.as_str(), session.spec.stack.as_str()));
        owned.extend(survey(cx, us, prefixes, account, terminal).await?);
        let searched = names::searched(target, &Site::new(&cx.aws.region, account));
        let whose = match us {
            Some((team, stack)) => format!("team {team}, stack {stack}"),
            None => "all teams".to_owned(),
        };
        places.push((whose, searched));
    }
    owned.sort();
    match args.format {
        ListFormat::Json => terminal.print(&format!("{}\n", render::owned_json(&owned))),
        ListFormat::Human if owned.is_empty() => {
            for (whose, searched) in &places {
                terminal.show(&format!(
                    "No resources of {whose} exist {}.\n{}\n",
                    searched.place(),
                    sentence(searched.elsewhere())
                ));
            }
        }
        ListFormat::Human => {
            let mut look = terminal.out;
            if !std::io::stdout().is_terminal() {
                // For programs, rows don't wrap.
                look.width = usize::MAX;
            }
            terminal.print(&render::owned(&owned, look));
            places.iter().for_each(|(whose, it)| terminal.say(&format!("Resources of {whose} {}", it.place())));
        }
    }
    Ok(Exit::Done)
}

/// The list for a local AWS that isn't running: it has no resources.
pub(super) fn list_nothing(terminal: &Terminal, format: ListFormat) -> Exit {
    match format {
        ListFormat::Json => terminal.print(&format!("{}\n", render::owned_json(&[]))),
        ListFormat::Human => terminal
            .show("No resources: the local AWS of this project is not running. `engine apply --local` starts it.\n"),
    }
    Exit::Done
}

/// Finds the resources of one team and stack, or of all, with their owners.
async fn survey(
    cx: &Context,
    us: Option<(&str, &str)>,
    prefixes: &[String],
    account: &str,
    terminal: &Terminal,
) -> Result<Vec<Owned>, Failure> {
    let survey = live::survey(cx, us, prefixes, account);
    let survey = telling(terminal.quiet, || cx.waits(), survey).await;
    let survey = survey.map_err(|error| {
        let mut diagnostic = error.diagnostic("search for managed resources");
        if error.class == Class::Denied && prefixes.is_empty() {
            diagnostic = diagnostic.hint("or search by name: add `--all-teams --prefixes FILE`");
        }
        Failure::one(diagnostic)
    })?;
    let owned = survey.into_iter().map(|(kind, id, live)| {
        let kind = kind.schema().kind.clone();
        let link = (kind == "mapping").then(|| link(&id, &live)).flatten();
        let (owner, team, stack, resource) = match live.owner {
            Ownership::Engine(owner) => (Holder::Team, owner.team, owner.stack, owner.resource),
            Ownership::CloudFormation(stack) => (Holder::CloudFormation, String::new(), stack, String::new()),
            Ownership::Nobody | Ownership::Inherited | Ownership::Untaggable => Default::default(),
            Ownership::Denied | Ownership::NotYetReadable(_) => {
                (Holder::Unreadable, String::new(), String::new(), String::new())
            }
        };
        Owned { team, stack, resource, kind, name: id.name, owner, link }
    });
    Ok(owned.collect())
}

/// The names of a mapping's source and function.
fn link(id: &Id, live: &Live) -> Option<(String, String)> {
    let property = |name: &'static str| {
        let anchor = id.anchors.get(name).map(String::as_str).filter(|it| !it.is_empty());
        anchor.or_else(|| live.props.get(name).and_then(Value::as_str)).map(str::to_owned)
    };
    // `arn:…:table/NAME/stream/…`, `arn:…:function:NAME` or a name.
    let source = property("event_source_arn")?;
    let source = source.split('/').nth(1).or_else(|| source.rsplit(':').next())?.to_owned();
    let function = property("function")?.rsplit(':').next()?.to_owned();
    Some((source, function))
}

/// A hint as a separate sentence.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), chars.as_str()))
}

/// Shows plans; those that differ only in the team are shown once.
fn show(planned: &[Planned<'_>], view: &ViewArgs) {
    for Planned { run, plan, goal } in planned {
        let Session { spec, terminal, .. } = &run.session;
        match view.format {
            Format::Json => terminal.print(&format!("{}\n", render::plan_json(spec, &run.inventory.site, plan))),
            Format::Markdown => terminal.print(&markdown::plan(&page(run, *goal, view), plan)),
            Format::Human => {}
        }
    }
    if view.format != Format::Human {
        return;
    }
    for (at, alike) in alike(planned, view).iter().enumerate() {
        let Some((Planned { run, .. }, text)) = alike.first() else { continue };
        let Session { spec, notes, terminal, .. } = &run.session;
        let teams: Vec<&str> = alike.iter().map(|(it, _)| it.run.session.spec.team.as_str()).collect();
        let heading = render::heading_of(&teams, &spec.stack, &run.inventory.site, notes, terminal.out);
        let text = if teams.len() > 1 { for_any_team(text, &spec.team) } else { text.clone() };
        terminal.show(&format!("{}{heading}\n\n{text}", if at == 0 { "" } else { "\n" }));
    }
}

/// The plans as text, grouped if they differ only in the team.
fn alike<'p>(planned: &'p [Planned<'p>], view: &ViewArgs) -> Vec<Vec<(&'p Planned<'p>, String)>> {
    let mut groups: Vec<(String, Vec<(&Planned<'_>, String)>)> = Vec::new();
    for it in planned {
        let Session { spec, notes, terminal, .. } = &it.run.session;
        let text = it.text(view, terminal.out);
        let site = &it.run.inventory.site;
        let key = format!("{} {site:?} {notes:?}\n{}", spec.stack, for_any_team(&text, &spec.team));
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, group)) => group.push((it, text)),
            None => groups.push((key, vec![(it, text)])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

/// Replaces the team's name by a placeholder, where it is a whole word or begins a name.
fn for_any_team(text: &str, team: &str) -> String {
    let (mut found, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(team) {
        let (before, after) = (&rest[..at], &rest[at + team.len()..]);
        let is_start = !before.ends_with(|c: char| c.is_alphanumeric() || c == '-' || c == '_');
        let is_end = !after.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        found.push_str(before);
        found.push_str(if is_start && is_end { "<team>" } else { team });
        rest = after;
    }
    found + rest
}

impl Planned<'_> {
    /// The plan as text, without the reasons for refusals: the errors that follow report them.
    fn text(&self, view: &ViewArgs, look: Look) -> String {
        let Planned { run, plan, goal } = self;
        let destroy = *goal == Goal::Absent;
        if run.renamed(plan).is_some() {
            return format!("{}\n", render::summary(plan, destroy, look));
        }
        let changes = plan.changes.iter().cloned().map(|change| match change.action {
            // Lines to paste into the spec stand only there as a spec has them.
            Action::Refused if !change.hint.as_ref().is_some_and(|hint| remedy::words(hint).contains('\n')) => {
                Change { reason: None, hint: None, ..change }
            }
            _ => change,
        });
        let brief = Plan { changes: changes.collect(), steps: Vec::new(), remarks: plan.remarks.clone() };
        render::plan(&brief, destroy, rows(view), look)
    }
}

fn page<'r>(run: &'r Run<'_>, goal: Goal, view: &ViewArgs) -> Page<'r> {
    let Session { spec, notes, .. } = &run.session;
    Page { spec, site: &run.inventory.site, notes, rows: rows(view), destroy: goal == Goal::Absent }
}

fn rows(view: &ViewArgs) -> Rows {
    if view.show_unchanged { Rows::All } else { Rows::Noteworthy }
}
