//! One round of the loop: from a loaded spec to what is deployed.
//!
//! After a save, the plan is made from what earlier rounds read; only the functions that it changes
//! are read again. If it contains anything else, all of AWS is read and planned.
//!
//! **Invariant:** it deletes and replaces nothing, and without the user's consent it changes only
//! the code and the environment of functions.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::apply::{self, Event, Execution, StepOutcome};
use crate::aws::{AwsError, Context};
use crate::cli::args::{PARALLELISM, PlanFormat, ViewArgs};
use crate::cli::builds::{BuildMode, Builds};
use crate::cli::deploy::{Deployment, PlannedRun, command_line};
use crate::cli::exit::{CommandError, Exit};
use crate::cli::session::{self, AwsTarget, Intent, LookupReads, Run, Session};
use crate::cli::syntax;
use crate::cli::terminal::{Confirmation, Terminal, ask, with_wait_notice};
use crate::diagnostic::{Diagnostic, Severity, listed};
use crate::inventory::Inventory;
use crate::live::{self, OrphanSearch};
use crate::lookup::{Lookup, LookupRead};
use crate::plan::{Action, Change, Goal, Plan, PropertyChange, Subject};
use crate::render;
use crate::schema::{AwsEnv, Live};
use crate::spec::{ResourceDecl, Spec};
use crate::value::{Tree, Value};

/// Reads as an apply does, and finds orphans as `diff` does.
const INTENT: Intent =
    Intent { goal: Goal::Present, writes: true, orphans: OrphanSearch::Indexed, lookups: LookupReads::Required };

/// Which stack a command works on.
#[derive(PartialEq)]
struct StackIdentity {
    team: String,
    stack: String,
    env: AwsEnv,
}

impl StackIdentity {
    fn of(spec: &Spec, env: &AwsEnv) -> StackIdentity {
        StackIdentity { team: spec.team.clone(), stack: spec.stack.clone(), env: env.clone() }
    }
}

/// What earlier rounds know of AWS.
struct LastRead {
    cx: Context,
    inventory: Inventory,
    target: AwsTarget,
    /// The declarations: name, kind, name in AWS, and whether it is imported.
    shape: Vec<(String, String, String, bool)>,
    /// The lookups: their names, what they read, and their other values.
    lookups: Vec<(String, Vec<LookupRead>, [Option<Value>; 2])>,
    /// What the spec wanted of each function in the last round.
    wanted: BTreeMap<String, Tree>,
    /// Functions that have changed since they were read.
    stale: BTreeSet<String>,
}

/// What a round is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trigger {
    /// The first round, or the first one after the local AWS has started again.
    Start,
    /// A saved file.
    Save,
    /// The key to apply.
    Key,
}

/// How a round after a save ended.
pub(super) enum RoundEnd<'t> {
    /// It is complete.
    Complete,
    /// A file was saved meanwhile, so nothing was deployed.
    Outdated,
    /// The spec changes more than code and environment, so all of AWS has to be read.
    NeedsAll(Box<Session<'t>>),
}

/// The rounds of one command.
pub(super) struct Rounds<'t> {
    pub(super) terminal: &'t Terminal,
    view: ViewArgs,
    builds: BuildMode,
    /// Whether every question is answered with yes.
    pub(super) yes: bool,
    /// Whether there are keys to answer with.
    pub(super) has_keys: bool,
    interrupt: watch::Receiver<bool>,
    /// The stack that the user has agreed to.
    identity: Option<StackIdentity>,
    known: Option<LastRead>,
    /// The plan that waits for the user's answer, as text.
    pending: Option<String>,
    /// The plan of the last start, as text.
    first: Option<String>,
    /// The last problems that were shown, as text.
    reported: Option<String>,
    /// The spec's warnings that were shown.
    warned: Vec<Diagnostic>,
    /// The warnings about the code that was sent last.
    warned_code: Vec<Diagnostic>,
    /// The functions that saves don't change, as far as that was reported.
    reported_protected: BTreeSet<String>,
    /// The inputs of builds that need no other run: they failed, or the builds changed them.
    done_inputs: Option<String>,
    /// Whether a round has ended, after which logs are followed.
    may_be_followed: bool,
    /// The functions that were deployed last.
    pub(super) deployed: Vec<String>,
}

impl<'t> Rounds<'t> {
    pub(super) fn new(
        terminal: &'t Terminal,
        builds: BuildMode,
        yes: bool,
        interrupt: watch::Receiver<bool>,
    ) -> Rounds<'t> {
        Rounds {
            terminal,
            view: ViewArgs { format: PlanFormat::Human, show_unchanged: false },
            builds,
            yes,
            has_keys: false,
            interrupt,
            identity: None,
            known: None,
            pending: None,
            first: None,
            reported: None,
            warned: Vec::new(),
            warned_code: Vec::new(),
            reported_protected: BTreeSet::new(),
            done_inputs: None,
            may_be_followed: false,
            deployed: Vec::new(),
        }
    }

    /// What is known of AWS, for other readers.
    pub(super) fn inventory(&self) -> Option<(&Context, &Inventory)> {
        self.known.as_ref().map(|known| (&known.cx, &known.inventory))
    }

    /// Whether the user has agreed to the stack, and so it may have been changed.
    pub(super) fn has_begun(&self) -> bool {
        self.identity.is_some()
    }

    /// Forgets what is known of AWS.
    pub(super) fn forget(&mut self) {
        self.known = None;
    }

    /// Lets the next problems be shown even if they were the last ones.
    pub(super) fn repeat(&mut self) {
        self.reported = None;
    }

    /// Shows problems, unless they were the last ones shown.
    /// Returns whether they were.
    pub(super) fn report(&mut self, problems: &[Diagnostic]) -> bool {
        let text = self.terminal.err.problems(problems);
        let is_new = !problems.is_empty() && self.reported.as_ref() != Some(&text);
        if is_new {
            self.terminal.problems(problems);
            self.reported = Some(text);
        }
        is_new
    }

    /// Shows the warnings of a spec that weren't shown for its last version; with `is_shown`, all of
    /// them have been.
    pub(super) fn warn(&mut self, spec: &Spec, is_shown: bool) {
        if !is_shown {
            self.terminal.problems(&new_warnings(&spec.warnings, &self.warned));
        }
        self.warned.clone_from(&spec.warnings);
    }

    fn deployment<'d>(&'d self) -> Deployment<'d> {
        let (terminal, view, may_redraw) = (self.terminal, &self.view, !self.may_be_followed);
        Deployment { terminal, intent: INTENT, view, suggests_next: false, may_redraw }
    }

    /// Reads and plans everything, and applies what the user agrees to. Returns the session, with
    /// all of AWS read.
    ///
    /// # Errors
    /// Whatever prevents the plan; nothing is known of AWS then.
    pub(super) async fn all(
        &mut self,
        session: Session<'t>,
        trigger: Trigger,
        saved_at: Instant,
    ) -> Result<Session<'t>, CommandError> {
        self.known = None;
        let planned = self.deployment().plan(vec![session], self.builds.clone(), &self.interrupt).await?;
        let mut planned = planned.into_iter().next().ok_or_else(CommandError::interrupted)?;
        self.check_identity(&planned.run)?;
        if trigger == Trigger::Start {
            let text = Some(render::plan(&planned.plan, false, render::Rows::Noteworthy, self.terminal.out));
            if text != self.first {
                self.show(&planned);
            }
            self.first = text;
        }
        self.deployment().check_refusals(std::slice::from_ref(&planned))?;
        let plan = &planned.plan;
        let spec = &planned.run.session.spec;
        let is_left = |change: &Change| trigger == Trigger::Save && is_protected_update(spec, change);
        let automatic = plan.part(|change| is_automatic(change) && !is_left(change));
        let safe = plan.part(|change| !is_destructive(change));
        let allowed = plan.part(|change| !is_destructive(change) && !is_left(change));
        let (asks, is_cut) = (allowed.steps.len() > automatic.steps.len(), plan.steps.len() > safe.steps.len());
        let rest = other_changes(plan, self.terminal);
        let is_new = rest != self.pending;
        if trigger != Trigger::Start && is_new && rest.is_some() || trigger == Trigger::Key && plan.steps.is_empty() {
            self.show(&planned);
        }
        if is_cut && (is_new || trigger != Trigger::Save) {
            self.note_destructive(&planned, &safe);
        }
        if trigger == Trigger::Save {
            self.note_protected(&planned.run.session, plan);
        }
        let is_agreed = self.yes || trigger == Trigger::Start || trigger == Trigger::Key && !is_new;
        if asks && !is_agreed && is_new {
            self.ask_for_key(&planned.run.session);
        }
        let n_agreed = if is_agreed { allowed.steps.len() } else { automatic.steps.len() };
        self.pending = rest.filter(|_| n_agreed < plan.steps.len());
        let part = match is_agreed {
            true => allowed,
            false => deployable(&mut planned.run, &planned.plan, trigger == Trigger::Save),
        };
        self.check(&planned, &part).await?;
        self.consent(&planned, &part, trigger).await?;
        self.carry_out(planned.run, part, trigger, saved_at).await
    }

    /// Checks what is applied, before anything is written.
    async fn check(&mut self, planned: &PlannedRun<'_>, part: &Plan) -> Result<(), CommandError> {
        if has_only_automatic(part) {
            return self.check_syntax(&planned.run.session, part).await;
        }
        self.deployment().check(std::slice::from_ref(planned), None).await?;
        self.reported = None;
        Ok(())
    }

    /// Checks the code that a plan sends.
    async fn check_syntax(&mut self, session: &Session<'_>, plan: &Plan) -> Result<(), CommandError> {
        let found = syntax::check_sent(std::iter::once((session, Some(plan)))).await;
        let (errors, warnings): (Vec<_>, Vec<_>) = found.into_iter().partition(|it| it.severity == Severity::Error);
        if !errors.is_empty() {
            return Err(CommandError { exit: Exit::Failed, diagnostics: errors });
        }
        self.terminal.problems(&new_warnings(&warnings, &self.warned_code));
        self.warned_code = warnings;
        // Whatever it was, it is solved.
        self.reported = None;
        Ok(())
    }

    fn show(&self, planned: &PlannedRun<'_>) {
        self.deployment().show(std::slice::from_ref(planned));
    }

    /// Asks before the first apply on AWS, and before one that needs approval.
    async fn consent(&mut self, planned: &PlannedRun<'_>, part: &Plan, trigger: Trigger) -> Result<(), CommandError> {
        let PlannedRun { run, .. } = planned;
        let identity = StackIdentity::of(&run.session.spec, &run.inventory.env);
        let is_first_on_aws = self.identity.is_none() && matches!(run.session.target, AwsTarget::Account(_));
        let needs_approval = trigger == Trigger::Start && !part.steps.is_empty() && part.needs_approval();
        if is_first_on_aws && !self.yes {
            self.ask_for_stack(&run.cx, &identity).await?;
        } else if needs_approval
            && !self.yes
            && let Some(exit) = self.deployment().confirm(std::slice::from_ref(planned)).await?
        {
            return Err(CommandError { exit, diagnostics: Vec::new() });
        }
        self.identity = Some(identity);
        Ok(())
    }

    async fn ask_for_stack(&self, cx: &Context, to: &StackIdentity) -> Result<(), CommandError> {
        let StackIdentity { team, stack, env: AwsEnv { account, region, .. } } = to;
        if !Terminal::can_prompt() {
            let problem = "`dev` on AWS needs confirmation, but there is no terminal";
            let hint = "pass `--yes`, or `--local` to work on the local AWS";
            let why = format!("it would deploy to team `{team}`, stack `{stack}` in account {account}, {region}");
            return Err(CommandError::one(Diagnostic::error(problem, hint).why(why)));
        }
        self.terminal.detail(&format!(
            "engine will deploy to AWS now and each time you save: team {team}, stack {stack}, account {account}, {region}"
        ));
        match ask(self.terminal, cx, "Do you want to start?").await {
            Confirmation::Yes => Ok(()),
            Confirmation::No => {
                self.terminal.note("Nothing was changed.");
                Err(CommandError { exit: Exit::Failed, diagnostics: Vec::new() })
            }
            Confirmation::Interrupted => Err(CommandError::interrupted()),
        }
    }

    /// Checks that the spec is still for the stack that the user has agreed to.
    fn check_identity(&self, run: &Run<'_>) -> Result<(), CommandError> {
        let now = StackIdentity::of(&run.session.spec, &run.inventory.env);
        match &self.identity {
            Some(before) if *before != now => Err(other_stack(before)),
            _ => Ok(()),
        }
    }

    /// Says what answers the question about the plan that was shown.
    fn ask_for_key(&self, session: &Session<'_>) {
        let applies = match self.has_keys {
            true => "press a to apply it".to_owned(),
            false => format!("run `{}`, or start `engine dev` with `--yes`", command_line(session, "apply")),
        };
        self.terminal.note(&format!("Not applied: {applies}. Changes of code are still deployed as you save."));
    }

    fn note_destructive(&self, planned: &PlannedRun<'_>, safe: &Plan) {
        let is_left = |row: &usize| {
            let has_step = |plan: &Plan| plan.steps.iter().any(|step| step.change == *row);
            has_step(&planned.plan) && !has_step(safe)
        };
        let rows = (0..planned.plan.changes.len()).filter(is_left);
        let names: BTreeSet<&str> =
            rows.filter_map(|row| planned.plan.changes.get(row)).map(|it| it.resource.as_str()).collect();
        let command = command_line(&planned.run.session, "apply");
        self.terminal.note(&format!(
            "`dev` never deletes or replaces. To change {} as well, run `{command}`",
            listed(names.into_iter(), 10)
        ));
    }

    /// Says once which functions a save doesn't change.
    fn note_protected(&mut self, session: &Session<'_>, plan: &Plan) {
        let left =
            plan.changes.iter().filter(|it| is_protected_update(&session.spec, it)).map(|it| it.resource.clone());
        let new: BTreeSet<String> = left.filter(|name| !self.reported_protected.contains(name)).collect();
        if new.is_empty() {
            return;
        }
        let command = command_line(session, "apply");
        let applies = if self.has_keys { format!("press a, or run `{command}`") } else { format!("run `{command}`") };
        let names = listed(new.iter().map(String::as_str), 10);
        let what = if new.len() == 1 { "has `protect: true`" } else { "have `protect: true`" };
        self.terminal.note(&format!("Not deployed as you save: {names} {what}; to deploy, {applies}"));
        self.reported_protected.extend(new);
    }

    /// Applies a part of a plan, and reads AWS again if that changed anything else than code.
    async fn carry_out(
        &mut self,
        run: Run<'t>,
        part: Plan,
        trigger: Trigger,
        saved_at: Instant,
    ) -> Result<Session<'t>, CommandError> {
        if trigger != Trigger::Start && has_only_automatic(&part) {
            return Ok(self.deploy(run, &part, saved_at).await);
        }
        let planned = PlannedRun { run, plan: part };
        let slice = std::slice::from_ref(&planned);
        self.deployment().note_local_code(slice);
        let exit = match planned.plan.steps.is_empty() {
            true => Exit::Done,
            false => self.deployment().carry_out(slice, usize::from(PARALLELISM), None).await?,
        };
        if exit == Exit::Interrupted {
            return Err(CommandError { exit, diagnostics: Vec::new() });
        }
        let has_written = !planned.plan.steps.is_empty();
        let PlannedRun { run, .. } = planned;
        let run = if has_written { run.session.read(run.cx, INTENT).await? } else { run };
        Ok(self.remember(run, BTreeSet::new()))
    }

    /// Keeps what a run knows of AWS, and returns its session.
    fn remember(&mut self, run: Run<'t>, stale: BTreeSet<String>) -> Session<'t> {
        let Run { mut session, cx, inventory } = run;
        session.unlock_writes();
        self.may_be_followed = true;
        let functions = session.spec.managed("function");
        let wanted = functions.map(|it| (it.name.clone(), it.desired.clone())).collect();
        let (shape, lookups, target) = (shape(&session.spec), lookups(&session.spec), session.target.clone());
        self.known = Some(LastRead { cx, inventory, target, shape, lookups, wanted, stale });
        session
    }

    /// Deploys the code and the environment of functions after a save.
    ///
    /// # Errors
    /// Whatever prevents it.
    pub(super) async fn after_save(
        &mut self,
        mut session: Session<'t>,
        saved_at: Instant,
        has_changed: impl Fn() -> bool,
    ) -> Result<RoundEnd<'t>, CommandError> {
        let is_known = |known: &mut LastRead| {
            let has_value = |lookup: &Lookup| known.inventory.lookups.known.contains_key(&lookup.name);
            known.target == session.target
                && known.shape == shape(&session.spec)
                && known.lookups == lookups(&session.spec)
                && session.spec.used_lookups().all(has_value)
        };
        let Some(known) = self.known.take_if(is_known) else { return Ok(RoundEnd::NeedsAll(Box::new(session))) };
        session::lock_writes(std::slice::from_mut(&mut session), &self.interrupt).await?;
        if let Err(failure) = session.fill(&known.cx, &known.inventory.lookups).await {
            self.known = Some(known);
            return Err(failure);
        }
        session.identify(&known.inventory);
        live::register_secrets(&known.cx, &session.spec);
        let LastRead { cx, inventory, wanted, mut stale, .. } = known;
        let mut runs = vec![Run { session, cx, inventory }];
        let built = self.build(&mut runs).await;
        let Some(mut run) = runs.pop() else { return Ok(RoundEnd::Complete) };
        let is_ready = match built {
            Ok(true) => self.check_again(&mut run, &wanted, &mut stale).await.map(|()| true),
            built => built,
        };
        if !matches!(is_ready, Ok(true)) {
            self.remember(run, stale);
            return is_ready.map(|_| RoundEnd::Complete);
        }
        let plan = run.plan(Goal::Present);
        let rest = other_changes(&plan, self.terminal);
        if plan.refusals().next().is_some() || rest.is_some() && rest != self.pending {
            let mut session = run.session;
            session.unlock_writes();
            return Ok(RoundEnd::NeedsAll(Box::new(session)));
        }
        if has_changed() {
            self.remember(run, stale);
            return Ok(RoundEnd::Outdated);
        }
        self.pending = rest;
        self.note_protected(&run.session, &plan);
        let part = deployable(&mut run, &plan, true);
        drop(self.deploy(run, &part, saved_at).await);
        Ok(RoundEnd::Complete)
    }

    /// Reads the functions again that a save changes or that are stale, and checks their code.
    async fn check_again(
        &mut self,
        run: &mut Run<'_>,
        wanted: &BTreeMap<String, Tree>,
        stale: &mut BTreeSet<String>,
    ) -> Result<(), CommandError> {
        let is_edited = |it: &&ResourceDecl| wanted.get(&it.name) != Some(&it.desired);
        stale.extend(run.session.spec.managed("function").filter(is_edited).map(|it| it.name.clone()));
        let plan = run.plan(Goal::Present);
        stale.extend(plan.changes.iter().filter(|it| is_automatic(it)).map(|it| it.resource.clone()));
        let (read, checked) = tokio::join!(read_again(run, stale), self.check_syntax(&run.session, &plan));
        checked?;
        let read = read.map_err(|error| CommandError::of_call(&error, "read the functions"))?;
        for (name, live) in read {
            run.inventory.found.entry(name).or_default().live = live;
        }
        Ok(())
    }

    /// Runs the builds that have to run; returns whether there is a result. There is none if the
    /// same inputs have failed before.
    async fn build(&mut self, runs: &mut [Run<'_>]) -> Result<bool, CommandError> {
        let sessions: Vec<&Session<'_>> = runs.iter().map(|run| &run.session).collect();
        let builds = Builds::prepare(self.terminal, &sessions, self.builds.clone(), &self.interrupt).await?;
        let inputs = builds.stale_inputs();
        if inputs.is_some() && self.done_inputs == inputs {
            return Ok(false);
        }
        self.done_inputs = inputs;
        let changes_inputs = builds.run(&self.interrupt).await?;
        // Otherwise what the build changes would start it again.
        self.done_inputs = changes_inputs.then(|| builds.inputs_now());
        builds.load(runs)?;
        Ok(true)
    }

    /// Executes steps that change code and environment, and reports them.
    async fn deploy(&mut self, run: Run<'t>, part: &Plan, saved_at: Instant) -> Session<'t> {
        if part.steps.is_empty() {
            return self.remember(run, BTreeSet::new());
        }
        let (spec, cx) = (&run.session.spec, run.cx.interrupted_by(watch::channel(false).1));
        let execution = Execution::new(part);
        let (slots, mut ignored) = (apply::slots(usize::from(PARALLELISM)), |_: &Event| {});
        let executed = execution.run(&cx, spec, &run.inventory, &slots, &mut ignored);
        let executed = with_wait_notice(self.terminal.quiet, || cx.waits(), executed);
        self.finish(executed).await;
        let endings = execution.outcome().endings;
        let done = part.steps.iter().zip(&endings).filter(|(_, it)| matches!(it, StepOutcome::Done(_)));
        let names: BTreeSet<&str> =
            done.filter_map(|(step, _)| Some(&*part.changes.get(step.change)?.resource)).collect();
        if !names.is_empty() {
            self.deployed = names.iter().map(|name| (*name).to_owned()).collect();
            self.terminal.show(&format!("{}\n", deployed(&names, saved_at.elapsed())));
        }
        let _ = self.report(&render::failures(spec, part, &endings));
        let changed = part.steps.iter().filter_map(|step| Some(part.changes.get(step.change)?.resource.clone()));
        let stale = changed.collect();
        self.remember(run, stale)
    }

    /// Completes an update in spite of Ctrl-C; a second one ends the program.
    async fn finish(&self, work: impl Future<Output = ()>) {
        let mut work = pin!(work);
        let mut interrupt = self.interrupt.clone();
        tokio::select! {
            () = &mut work => return,
            pressed = interrupt.wait_for(|pressed| *pressed) => {
                if pressed.is_ok() {
                    self.terminal.note("completing the update; press Ctrl-C again to stop now");
                }
            }
        }
        work.await;
    }
}

/// The warnings that weren't shown before.
fn new_warnings(warnings: &[Diagnostic], before: &[Diagnostic]) -> Vec<Diagnostic> {
    warnings.iter().filter(|it| !before.contains(it)).cloned().collect()
}

/// Reads functions again.
async fn read_again(run: &Run<'_>, names: &BTreeSet<String>) -> Result<Vec<(String, Option<Live>)>, AwsError> {
    let reads = names
        .iter()
        .filter_map(|name| run.session.spec.resource(name))
        .map(|declared| async { Ok((declared.name.clone(), live::read_again(&run.cx, declared).await?)) });
    let reads = join_all(reads);
    with_wait_notice(run.session.terminal.quiet, || run.cx.waits(), reads).await.into_iter().collect()
}

fn deployed(names: &BTreeSet<&str>, took: Duration) -> String {
    format!("deployed {} ({:.1} s)", names.iter().copied().collect::<Vec<_>>().join(", "), took.as_secs_f64())
}

/// The properties of a function that are deployed without a question: its environment, its code and
/// what is derived from it.
const AUTOMATIC: [&str; 5] = ["code", "code_sha256", "code_size", "code_source", "environment"];

fn is_code(property: &PropertyChange) -> bool {
    property.path.root().is_some_and(|root| AUTOMATIC.contains(&root))
}

fn is_update_of_function(change: &Change) -> bool {
    change.kind == "function" && change.subject == Subject::Declared && change.action == Action::Update
}

/// Whether a change is of a function's code and environment alone.
fn is_automatic(change: &Change) -> bool {
    is_update_of_function(change) && !change.needs_approval && change.properties.iter().all(is_code)
}

/// Leaves all changes of functions but those of code and environment out of the next plan, as if
/// the spec ignored them. Returns whether there are functions with both.
fn postpone(spec: &mut Spec, plan: &Plan) -> bool {
    let has_both = |it: &&Change| is_update_of_function(it) && !is_automatic(it) && it.properties.iter().any(is_code);
    let mut is_postponed = false;
    for change in plan.changes.iter().filter(has_both) {
        let others = change.properties.iter().filter(|it| !is_code(it)).filter_map(|it| it.path.root());
        let declared = spec.resources.iter_mut().find(|it| it.name == change.resource);
        if let Some(declared) = declared {
            declared.lifecycle.ignore_changes.extend(others.map(str::to_owned));
            is_postponed = true;
        }
    }
    is_postponed
}

/// What is deployed without a question, where `skips_protected` without the functions that saves
/// leave alone.
fn deployable(run: &mut Run<'_>, plan: &Plan, skips_protected: bool) -> Plan {
    let again = postpone(&mut run.session.spec, plan).then(|| run.plan(Goal::Present));
    let spec = &run.session.spec;
    let is_skipped = |change: &Change| skips_protected && is_protected_update(spec, change);
    again.as_ref().unwrap_or(plan).part(|change| is_automatic(change) && !is_skipped(change))
}

/// Whether saves leave a change alone, because its function is protected.
fn is_protected_update(spec: &Spec, change: &Change) -> bool {
    is_automatic(change) && spec.resource(&change.resource).is_some_and(|it| it.lifecycle.protect)
}

fn has_only_automatic(plan: &Plan) -> bool {
    plan.part(is_automatic).steps.len() == plan.steps.len()
}

fn is_destructive(change: &Change) -> bool {
    matches!(change.action, Action::Delete | Action::Replace | Action::Forget) || change.subject != Subject::Declared
}

/// What a plan changes besides code and environment, as text.
fn other_changes(plan: &Plan, terminal: &Terminal) -> Option<String> {
    let others = plan.changes.iter().filter(|change| !is_automatic(change)).cloned().map(|mut change| {
        if is_update_of_function(&change) {
            change.properties.retain(|it| !is_code(it));
        }
        change
    });
    let changes = others.collect();
    let rest = Plan { changes, steps: Vec::new(), remarks: Vec::new() };
    (!has_only_automatic(plan)).then(|| render::plan(&rest, false, render::Rows::Noteworthy, terminal.out))
}

fn lookups(spec: &Spec) -> Vec<(String, Vec<LookupRead>, [Option<Value>; 2])> {
    let of = |it: &Lookup| (it.name.clone(), it.reads.clone(), [it.default.clone(), it.local.clone()]);
    spec.lookups.values().map(of).collect()
}

fn shape(spec: &Spec) -> Vec<(String, String, String, bool)> {
    let of = |it: &ResourceDecl| (it.name.clone(), it.schema().kind.to_string(), it.id.name.clone(), it.imported);
    spec.resources.iter().map(of).collect()
}

fn other_stack(before: &StackIdentity) -> CommandError {
    let StackIdentity { team, stack, env: AwsEnv { account, region, .. } } = before;
    let problem = "the spec is now for another team, stack, account or region";
    let hint = "change it back, or press Ctrl-C and run `engine dev` again";
    let why = format!("this command deploys to team `{team}`, stack `{stack}` in account {account}, {region}");
    CommandError::one(Diagnostic::error(problem, hint).why(why))
}
