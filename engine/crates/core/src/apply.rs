//! Executes a plan: each step starts as soon as everything that it depends on has happened.
//!
//! There are no levels and no rollback: a failure skips the steps that depend on it, all other steps continue, and
//! running the command again continues from there.
//!
//! **Invariant:** it decides nothing: the plan defines what to do, the kinds define how. It prints nothing and reports
//! progress as [`Event`]s.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::error::{AwsError, Class};
use crate::inventory::{Inventory, is_assigned};
use crate::kind::Want;
use crate::live::read_again;
use crate::plan::{Action, Change, Op, Plan, StepId, Subject, keep, leave_out};
use crate::recorder::in_step;
use crate::schema::{Condition, Id, Live, Moment, Naming, Outputs, Ownership};
use crate::spec::{Declared, Spec};
use crate::value::{Tree, resolve};
use crate::wait::{Context, Steady};

/// Progress of a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A step started.
    Started(StepId),
    /// A step waits for something, worded to follow "waiting for".
    Waiting(StepId, String),
    /// A step ended.
    Finished(StepId, Ending),
    /// Ctrl-C was pressed: no new step starts.
    Interrupted,
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    /// It succeeded after this time.
    Done(Duration),
    /// It failed.
    Failed(AwsError),
    /// It never started, because a step of that resource failed.
    Skipped(String),
    /// It never started, because of Ctrl-C.
    NotStarted,
}

/// The result of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// How each step of the plan ended.
    pub endings: Vec<Ending>,
    /// The known outputs of each resource.
    pub outputs: BTreeMap<String, Outputs>,
    /// The times of all steps.
    pub times: Times,
}

/// The times of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Times {
    /// The start of the run.
    pub begun: Instant,
    /// The end of the last step.
    pub ended: Instant,
    /// The times of each step of the plan.
    pub steps: Vec<StepTimes>,
}

/// The times of a step; `None` for what didn't happen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StepTimes {
    /// Its dependencies had completed, so it could start.
    pub free: Option<Instant>,
    /// It started.
    pub started: Option<Instant>,
    /// The resource was created: steps that need only its outputs could start.
    pub made: Option<Instant>,
    /// It ended, successfully or not.
    pub ended: Option<Instant>,
}

/// How often an update restarts because the resource changed during it.
const RACES: u32 = 3;
/// A step that hasn't reported a wait for this time has a call in flight, or waits for its turn.
const QUIET: Duration = Duration::from_secs(4);
/// How long calls in flight may take after Ctrl-C.
const DRAIN: Duration = Duration::from_secs(10);

/// Executes `plan` with at most `parallelism` concurrent steps.
pub async fn apply(
    cx: &Context,
    spec: &Spec,
    inventory: &Inventory,
    plan: &Plan,
    parallelism: usize,
    on_event: &mut dyn FnMut(&Event),
) -> Outcome {
    let course = Course::new(plan);
    course.run(cx, spec, inventory, parallelism, on_event).await;
    course.outcome()
}

/// The execution of a plan. Its outcome is available at any time, even after an abort.
pub struct Course<'p> {
    plan: &'p Plan,
    begun: Instant,
    board: RefCell<Board>,
    /// The known outputs of each resource: those that the plan predicts, then those from AWS.
    outputs: RefCell<BTreeMap<String, Outputs>>,
}

impl<'p> Course<'p> {
    /// Prepares the execution.
    pub fn new(plan: &'p Plan) -> Course<'p> {
        // An orphan may have the same name as a declared resource.
        let declared = plan.changes.iter().filter(|change| change.subject == Subject::Declared);
        let planned = declared.map(|change| (change.resource.clone(), change.outputs.clone())).collect();
        let board = RefCell::new(Board::new(plan));
        Course { plan, begun: Instant::now(), board, outputs: RefCell::new(planned) }
    }

    /// Executes the plan with at most `parallelism` concurrent steps.
    pub async fn run(
        &self,
        cx: &Context,
        spec: &Spec,
        inventory: &Inventory,
        parallelism: usize,
        on_event: &mut dyn FnMut(&Event),
    ) {
        // The plan exists, so AWS was reached before.
        let cx = &cx.enduring();
        let (sender, mut messages) = mpsc::unbounded_channel();
        let deleted = RefCell::default();
        let run = Run { cx, spec, inventory, plan: self.plan, outputs: &self.outputs, deleted, sender };
        let mut running = FuturesUnordered::new();
        let mut drain_until: Option<Instant> = None;
        loop {
            if cx.interrupted() && drain_until.is_none() {
                drain_until = Some(Instant::now() + DRAIN);
                on_event(&Event::Interrupted);
            }
            while self.board.borrow().working.len() < parallelism.max(1) {
                // A replacement that has started is completed even after Ctrl-C.
                let may_start = |id, endings: &[_]| drain_until.is_none() || completes(&run, endings, id);
                let Some(id) = self.board.borrow_mut().next(may_start) else { break };
                on_event(&Event::Started(id));
                running.push(run.step(id));
            }
            if running.is_empty() {
                break;
            }
            let turn = async {
                tokio::select! {
                    // Messages first: a step sends all of them before it ends.
                    biased;
                    Some(message) = messages.recv() => Turn::Message(message),
                    Some((id, result)) = running.next() => Turn::Ended(id, result),
                    () = cx.interrupt(), if drain_until.is_none() => Turn::Interrupt,
                }
            };
            let mending = {
                let board = self.board.borrow();
                let unmade =
                    |id: &StepId| !board.made.contains(id) && board.endings.get(id.0).is_some_and(Option::is_none);
                board.started.iter().any(|id| mends(&run, *id) && unmade(id))
                    || board.free.iter().any(|id| completes(&run, &board.endings, *id))
            };
            let turn = match drain_until.filter(|_| !mending) {
                Some(deadline) => match timeout_at(deadline, turn).await {
                    Ok(turn) => turn,
                    Err(_) => break,
                },
                None => turn.await,
            };
            match turn {
                Turn::Message(Message::Made(id)) => self.board.borrow_mut().made(id),
                Turn::Message(Message::Waiting(id, what)) => on_event(&Event::Waiting(id, what)),
                Turn::Ended(id, result) => {
                    let news = self.board.borrow_mut().ended(self.plan, id, result);
                    for (id, ending) in news {
                        on_event(&Event::Finished(id, ending));
                    }
                }
                Turn::Interrupt => {}
            }
        }
    }

    /// The outcome so far. Running steps count as interrupted.
    pub fn outcome(&self) -> Outcome {
        let lost = || {
            let message = "interrupted while a call was in flight; AWS may or may not have carried it out";
            AwsError::own(Class::Interrupted, "", "", message)
        };
        let board = self.board.borrow();
        let endings = board.endings.iter().enumerate().map(|(index, ending)| match ending {
            Some(ending) => ending.clone(),
            None if board.started.contains(&StepId(index)) => Ending::Failed(lost()),
            None => Ending::NotStarted,
        });
        let times = Times { begun: self.begun, ended: Instant::now(), steps: board.times.clone() };
        Outcome { endings: endings.collect(), outputs: self.outputs.borrow().clone(), times }
    }
}

/// Whether a step is half of a replacement that must be completed: without its mapping or permission the pipeline is
/// broken, and both halves are short. The replacement of a named resource is left to the next run.
fn mends(run: &Run<'_>, id: StepId) -> bool {
    let (change, declared) = run.about(id).unzip();
    change.is_some_and(|change| change.action == Action::Replace)
        && declared.is_some_and(|declared| !matches!(declared.schema().naming, Naming::Own { .. }))
}

/// Whether a step is the second half of such a replacement after the first half succeeded.
fn completes(run: &Run<'_>, endings: &[Option<Ending>], id: StepId) -> bool {
    let Some(step) = run.plan.steps.get(id.0).filter(|step| step.op == Op::Create) else { return false };
    mends(run, id)
        && step.after.iter().any(|(before, _)| {
            let deleted =
                run.plan.steps.get(before.0).is_some_and(|it| it.op == Op::Delete && it.change == step.change);
            deleted && matches!(endings.get(before.0), Some(Some(Ending::Done(_))))
        })
}

enum Turn {
    Message(Message),
    Ended(StepId, Result<Duration, AwsError>),
    Interrupt,
}

enum Message {
    Made(StepId),
    Waiting(StepId, String),
}

/// Which steps can start, and how the others ended.
struct Board {
    /// For each step, the steps that wait for it, and the milestone.
    waiting: Vec<Vec<(StepId, Moment)>>,
    /// The number of milestones that each step still waits for.
    missing: Vec<usize>,
    /// Steps that can start, in the order of the plan.
    free: BTreeSet<StepId>,
    /// Started steps whose resource isn't created yet; a step that only waits for AWS doesn't count.
    working: BTreeSet<StepId>,
    started: BTreeSet<StepId>,
    made: BTreeSet<StepId>,
    endings: Vec<Option<Ending>>,
    times: Vec<StepTimes>,
}

impl Board {
    fn new(plan: &Plan) -> Board {
        let mut waiting = vec![Vec::new(); plan.steps.len()];
        for (index, step) in plan.steps.iter().enumerate() {
            for (before, moment) in &step.after {
                if let Some(waiters) = waiting.get_mut(before.0) {
                    waiters.push((StepId(index), *moment));
                }
            }
        }
        let missing: Vec<usize> = plan.steps.iter().map(|step| step.after.len()).collect();
        let free = missing.iter().enumerate().filter(|(_, missing)| **missing == 0).map(|(index, _)| StepId(index));
        let free: BTreeSet<StepId> = free.collect();
        let begun = Instant::now();
        let times =
            missing.iter().map(|missing| StepTimes { free: (*missing == 0).then_some(begun), ..<_>::default() });
        let times = times.collect();
        Board {
            free,
            times,
            waiting,
            missing,
            working: BTreeSet::new(),
            started: BTreeSet::new(),
            made: BTreeSet::new(),
            endings: vec![None; plan.steps.len()],
        }
    }

    /// Takes the first step that can start and that `may_start` allows.
    fn next(&mut self, may_start: impl Fn(StepId, &[Option<Ending>]) -> bool) -> Option<StepId> {
        let id = self.free.iter().copied().find(|id| may_start(*id, &self.endings))?;
        self.free.remove(&id);
        self.started.insert(id);
        self.working.insert(id);
        self.note(id, |times| &mut times.started);
        Some(id)
    }

    /// Records a time of a step; the first call counts.
    fn note(&mut self, id: StepId, what: impl FnOnce(&mut StepTimes) -> &mut Option<Instant>) {
        if let Some(times) = self.times.get_mut(id.0) {
            what(times).get_or_insert_with(Instant::now);
        }
    }

    fn made(&mut self, id: StepId) {
        self.working.remove(&id);
        if self.made.insert(id) {
            self.note(id, |times| &mut times.made);
            self.happened(id, Moment::Made);
        }
    }

    fn happened(&mut self, id: StepId, moment: Moment) {
        for (waiter, wanted) in self.waiting.get(id.0).into_iter().flatten() {
            if let Some(missing) = self.missing.get_mut(waiter.0).filter(|_| *wanted == moment) {
                *missing -= 1;
                if *missing == 0 {
                    self.free.insert(*waiter);
                    if let Some(times) = self.times.get_mut(waiter.0) {
                        times.free = Some(Instant::now());
                    }
                }
            }
        }
    }

    /// Records the end of a step; returns it with the skips that result from it.
    fn ended(&mut self, plan: &Plan, id: StepId, result: Result<Duration, AwsError>) -> Vec<(StepId, Ending)> {
        let failed = result.is_err();
        self.note(id, |times| &mut times.ended);
        let mut news = vec![(id, result.map_or_else(Ending::Failed, Ending::Done))];
        if failed {
            self.working.remove(&id);
            let row = plan.steps.get(id.0).and_then(|step| plan.changes.get(step.change));
            let cause = row.map_or_else(String::new, |row| row.resource.clone());
            let (mut lost, mut seen) = (vec![id], BTreeSet::new());
            while let Some(gone) = lost.pop() {
                for (waiter, _) in self.waiting.get(gone.0).into_iter().flatten() {
                    // A step that needed only the first milestone may have started and continues.
                    if !self.started.contains(waiter) && seen.insert(*waiter) {
                        self.free.remove(waiter);
                        news.push((*waiter, Ending::Skipped(cause.clone())));
                        lost.push(*waiter);
                    }
                }
            }
        } else {
            self.made(id);
            self.happened(id, Moment::Ready);
        }
        for (id, ending) in &news {
            if let Some(slot) = self.endings.get_mut(id.0) {
                *slot = Some(ending.clone());
            }
        }
        news
    }
}

struct Run<'a> {
    cx: &'a Context,
    spec: &'a Spec,
    inventory: &'a Inventory,
    plan: &'a Plan,
    outputs: &'a RefCell<BTreeMap<String, Outputs>>,
    /// Resources that this run deleted to replace them, by row in the plan.
    deleted: RefCell<BTreeMap<usize, Live>>,
    sender: mpsc::UnboundedSender<Message>,
}

/// Reports the waits of a step.
#[derive(Clone)]
struct Voice {
    id: StepId,
    sender: mpsc::UnboundedSender<Message>,
    /// The time of the last report.
    last: Arc<Mutex<Instant>>,
}

impl Voice {
    fn say(&self, what: &str) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        // Fails only after the run has ended.
        let _ = self.sender.send(Message::Waiting(self.id, what.to_owned()));
    }

    fn last(&self) -> Instant {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Run<'_> {
    /// The row of a step and its resource.
    fn about(&self, id: StepId) -> Option<(&Change, &Declared)> {
        let change = self.plan.changes.get(self.plan.steps.get(id.0)?.change)?;
        Some((change, change.declared(self.spec, self.inventory)?))
    }

    async fn step(&self, id: StepId) -> (StepId, Result<Duration, AwsError>) {
        let start = Instant::now();
        let (sender, last) = (self.sender.clone(), Arc::new(Mutex::new(start)));
        let voice = Voice { id, sender, last };
        let mut work = Box::pin(in_step(id.0, self.perform(id, &voice)));
        let result = loop {
            match timeout_at(voice.last() + QUIET, &mut work).await {
                Ok(result) => break result,
                Err(_) if voice.last() + QUIET <= Instant::now() => voice.say("AWS to respond"),
                Err(_) => {}
            }
        };
        (id, result.map(|()| start.elapsed()).map_err(|error| self.masked(id, error)))
    }

    /// The error with all secrets masked, including those that became known only now.
    fn masked(&self, id: StepId, error: AwsError) -> AwsError {
        if let Some((_, declared)) = self.about(id)
            && let Ok(want) = self.want(declared, None)
        {
            declared.schema().secrets(&want.props).for_each(|secret| self.cx.secrets.learn(secret));
        }
        self.cx.masked(error)
    }

    async fn perform(&self, id: StepId, voice: &Voice) -> Result<(), AwsError> {
        let defect = || AwsError::defect("the plan contains a step or a resource that doesn't exist".to_owned());
        let step = self.plan.steps.get(id.0).ok_or_else(defect)?;
        let (change, declared) = self.about(id).ok_or_else(defect)?;
        let provider = self.cx.provider(&declared.schema().kind)?;
        let reporter = voice.clone();
        let cx = self.cx.reporting(Arc::new(move |what| reporter.say(what)));
        let mends = mends(self, id);
        // Held from the last read to the write, so that no other step of this run writes in between.
        let mut turn = None;
        if step.op != Op::Settle {
            if let Some(queue) = provider.queue(&declared.id) {
                turn = Some(cx.turn(queue).await);
            }
            self.host_unchanged(&cx, step.op, declared).await?;
        }
        match step.op {
            Op::Create => {
                // Properties in `ignore_changes` survive a replacement, too.
                let left = change.live(self.inventory).filter(|_| change.action == Action::Replace);
                let want = self.want(declared, left)?;
                let props = want.props.clone();
                // The second half of a replacement must be completed.
                let steady = if mends { cx.steady(Steady::Always) } else { cx.clone() };
                let outputs = match provider.create(&steady, &declared.id, want).await {
                    Err(error) => return Err(self.put_back(&steady, step.change, declared, error).await),
                    outputs => outputs?,
                };
                drop(turn);
                self.made(id, change, outputs.clone())?;
                let mut before = step.after.iter().filter_map(|(before, _)| self.plan.steps.get(before.0));
                if mends || before.any(|before| before.op == Op::Update) {
                    self.alone(&cx, declared, &outputs).await?;
                }
                provider.settle(&cx, &declared.id, &props, &outputs).await
            }
            Op::Update => {
                let gone = || {
                    AwsError::own(
                        Class::Changed,
                        "update",
                        &declared.id.name,
                        "changed in the meantime: it was deleted",
                    )
                };
                let mut tries = 0;
                let (props, outputs) = loop {
                    let have = self.unchanged(&cx, change, declared).await?.ok_or_else(gone)?;
                    let want = self.want_in_place(declared, Some(&have))?;
                    let props = want.props.clone();
                    match provider.update(&cx, &declared.id, have, want).await {
                        // The resource changed between the read and the write: AWS's own transitions change its
                        // revision, and so does a call whose response was lost; or it was deleted. So it is read again.
                        Err(error) if matches!(error.class, Class::Changed | Class::NotFound) && tries < RACES => {
                            tries += 1;
                        }
                        answer => break (props, answer?),
                    }
                };
                drop(turn);
                self.made(id, change, outputs.clone())?;
                provider.settle(&cx, &declared.id, &props, &outputs).await
            }
            Op::Settle => {
                let props = self.want_in_place(declared, change.live(self.inventory))?.props;
                provider.settle(&cx, &declared.id, &props, &change.outputs).await
            }
            Op::Release => match self.unchanged(&cx, change, declared).await? {
                Some(have) => provider.release(&cx, &declared.id, have).await,
                None => Ok(()),
            },
            Op::Delete => match self.unchanged(&cx, change, declared).await? {
                Some(have) => {
                    if mends && let Ok(want) = self.want(declared, Some(&have)) {
                        provider.precheck(&cx, &declared.id, &want.props).await?;
                    }
                    // Once AWS has accepted the delete, its completion is waited for even after Ctrl-C.
                    let steady = if mends { cx.steady(Steady::WhileWaiting) } else { cx.clone() };
                    let was = mends.then(|| have.clone());
                    provider.delete(&steady, &declared.id, have).await?;
                    self.deleted.borrow_mut().extend(was.map(|was| (step.change, was)));
                    Ok(())
                }
                None => Ok(()),
            },
        }
    }

    /// The error of a create. If AWS refused it permanently, this first restores the resource that this run deleted for
    /// it; a resource that exists under that name by now is left alone.
    async fn put_back(&self, cx: &Context, change: usize, declared: &Declared, error: AwsError) -> AwsError {
        let is_refusal =
            !error.passes() && !matches!(error.class, Class::Busy | Class::Changed | Class::Exists | Class::Leaving);
        let was = self.deleted.borrow_mut().remove(&change).filter(|_| is_refusal);
        let kind = &declared.schema().kind;
        let (Some(was), Ok(provider)) = (was, cx.provider(kind)) else { return error };
        let what = match provider.put_back(cx, &declared.id, was).await {
            Ok(true) => format!("the old {kind} was restored and works as before"),
            Ok(false) => return error,
            Err(second) => format!(
                "the old {kind} was deleted, and restoring it failed, too: {}",
                self.cx.masked(second).message.trim_end_matches('.')
            ),
        };
        AwsError { reason: Some(format!("{}; {what}", error.why()).into()), ..error }
    }

    /// Checks that another run didn't create the same resource at the same time, which is possible for resources whose
    /// name AWS assigns.
    ///
    /// # Errors
    /// `Changed` if this stack owns another one.
    async fn alone(&self, cx: &Context, declared: &Declared, outputs: &Outputs) -> Result<(), AwsError> {
        if !is_assigned(declared) {
            return Ok(());
        }
        let before = &declared.id.incarnation;
        let id = Id { incarnation: None, ..declared.id.clone() };
        let provider = cx.provider(&declared.schema().kind)?;
        let reading = cx.read(&id.name, || provider.read(cx, &id)).await?;
        let us = Ownership::Engine(id.owner.clone());
        let others = reading.others.into_iter().filter(|(_, live)| {
            live.owner == us && live.condition != Condition::Leaving && live.incarnation != *before
        });
        match others.filter(|(_, live)| live.outputs != *outputs).count() {
            0 => Ok(()),
            _ => {
                let kind = &declared.schema().kind;
                let message = format!("another run created another {kind} for `{}` at the same time", declared.name);
                Err(AwsError::own(Class::Changed, "create", &declared.id.name, message))
            }
        }
    }

    /// Reads the resource again, right before the first write to it.
    ///
    /// # Errors
    /// `Changed` if it differs from both the state that was planned for and the desired state.
    async fn unchanged(&self, cx: &Context, change: &Change, declared: &Declared) -> Result<Option<Live>, AwsError> {
        let Some(mut now) = read_again(cx, declared).await? else { return Ok(None) };
        let then = change.live(self.inventory);
        // Properties that the plan didn't compare are not compared here either.
        then.into_iter().for_each(|then| now.forget(&then.unknown));
        let updates = matches!(change.action, Action::Update | Action::Adopt);
        let want = if updates { Some(self.want_in_place(declared, Some(&now))?.props) } else { None };
        let difference = match then {
            None => Some("it didn't exist when the plan was made".to_owned()),
            Some(then) => hidden_change(change, &now).or_else(|| difference(declared, then, &now, want.as_ref())),
        };
        match difference {
            None => Ok(Some(now)),
            Some(difference) => {
                let message = format!("changed in the meantime: {difference}");
                let verb = if want.is_some() { "update" } else { "destroy" };
                Err(AwsError::own(Class::Changed, verb, &declared.id.name, message))
            }
        }
    }

    /// Reads the parent of a resource again, unless this run creates it: its owner also owns children without tags, and
    /// may have changed since the plan was made.
    ///
    /// # Errors
    /// `Changed` if it has another owner now.
    async fn host_unchanged(&self, cx: &Context, op: Op, declared: &Declared) -> Result<(), AwsError> {
        let host = declared.host().and_then(|(kind, name)| {
            self.plan.changes.iter().enumerate().find(|(_, row)| row.kind == kind && row.name == name)
        });
        let Some((at, row)) = host.filter(|(_, row)| row.action != Action::Import) else { return Ok(()) };
        // What is attached to a parent that is replaced is deleted before it.
        let is_old = op == Op::Delete && row.live(self.inventory).is_some();
        let is_made = !is_old && self.plan.steps.iter().any(|it| it.change == at && it.op == Op::Create);
        let Some(host) = row.declared(self.spec, self.inventory).filter(|_| !is_made) else { return Ok(()) };
        let changed = |what: &str| {
            let message = format!("changed in the meantime: the {} `{}` that it belongs to {what}", row.kind, row.name);
            Err(AwsError::own(Class::Changed, "write", &declared.id.name, message))
        };
        match (read_again(cx, host).await?, row.live(self.inventory)) {
            (Some(now), Some(then))
                if now.owner == then.owner || now.owner == Ownership::Engine(host.id.owner.clone()) =>
            {
                Ok(())
            }
            (Some(_), _) => changed("has another owner"),
            (None, _) if op == Op::Create => changed("was deleted"),
            (None, _) => Ok(()),
        }
    }

    /// The desired properties with the current outputs, and with the values of `have` for properties in `ignore_changes`.
    fn want(&self, declared: &Declared, have: Option<&Live>) -> Result<Want<Tree>, AwsError> {
        let outputs = self.outputs.borrow();
        let output = |resource: &str, attribute: &str| outputs.get(resource)?.get(attribute).cloned();
        let mut props = resolve(&declared.desired, &|placeholder| self.inventory.site.fill(placeholder, output));
        if let Some(have) = have {
            keep(declared, &have.props, &mut props);
        }
        if let Some((name, _)) = props.iter().find(|(_, value)| value.has_unknown()) {
            let message =
                format!("`{name}` of `{}` is still unknown although everything it refers to exists", declared.name);
            return Err(AwsError::defect(message));
        }
        Ok(Want { props, artifact: declared.artifact.clone() })
    }

    /// The same for an in-place change: without properties that can't be read.
    fn want_in_place(&self, declared: &Declared, have: Option<&Live>) -> Result<Want<Tree>, AwsError> {
        let mut want = self.want(declared, have)?;
        have.into_iter().for_each(|have| leave_out(have, &mut want.props));
        Ok(want)
    }

    /// Records the outputs of a step, and compares them with the plan's predictions.
    fn made(&self, id: StepId, change: &Change, outputs: Outputs) -> Result<(), AwsError> {
        let broken =
            change.outputs.iter().find(|(name, promised)| outputs.get(*name).is_some_and(|now| now != *promised));
        if let Some((name, promised)) = broken.filter(|_| change.action != Action::Replace) {
            let message = format!(
                "the plan predicted `{promised}` as `{name}` of `{}`, but AWS returned another",
                change.resource
            );
            return Err(AwsError::defect(message));
        }
        self.outputs.borrow_mut().entry(change.resource.clone()).or_default().extend(outputs);
        // Fails only after the run has ended.
        let _ = self.sender.send(Message::Made(id));
        Ok(())
    }
}

/// A property that the plan changes but that can no longer be read.
fn hidden_change(change: &Change, now: &Live) -> Option<String> {
    let mut planned = change.properties.iter().filter_map(|property| property.path.root());
    let (name, why) = planned.find_map(|root| now.unknown.get_key_value(root))?;
    Some(format!("its `{name}`, which the plan changes, can no longer be read ({why})"))
}

/// How a later read differs from the one that the plan was made for, without values, because they may be secret. A
/// change to the desired value doesn't count, because two runs may apply the same spec at once. Before a delete, changes
/// by AWS don't count either: it may disable a mapping whose stream was deleted.
fn difference(declared: &Declared, then: &Live, now: &Live, want: Option<&Tree>) -> Option<String> {
    let us = &declared.id.owner;
    if then.incarnation != now.incarnation {
        return Some("it was deleted and re-created".to_owned());
    }
    if now.condition == Condition::Leaving {
        // Another deletion doesn't conflict with a delete.
        return want.map(|_| "it is being deleted".to_owned());
    }
    if then.owner != now.owner && !(want.is_some() && now.owner == Ownership::Engine(us.clone())) {
        return Some("it has another owner".to_owned());
    }
    if want.is_none() && then.is_moving() {
        // AWS may have finished the transition by now, and everything is deleted anyway.
        return None;
    }
    let names: Vec<String> = then
        .props
        .iter()
        .filter(|(name, _)| !now.unknown.contains_key(name.as_str()))
        .filter(|(name, _)| want.is_some() || declared.schema().property(name).is_none_or(|it| !it.restless))
        .filter(|(name, value)| {
            let now = now.props.get(*name);
            now != Some(*value) && (now.is_none() || now != want.and_then(|want| want.get(*name)))
        })
        .map(|(name, _)| format!("`{name}`"))
        .collect();
    (!names.is_empty()).then(|| names.join(", "))
}
