//! Executes a plan: each step starts as soon as everything that it depends on has happened.
//!
//! There are no levels and no rollback: a failure skips the steps that depend on it, all other
//! steps continue, and running the command again continues from there.
//!
//! **Invariant:** it decides nothing: the plan defines what to do, the kinds define how. It prints
//! nothing and reports progress as [`Event`]s.

mod tracker;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::cause::Code;
use crate::error::AwsError;
use crate::inventory::{Inventory, is_assigned};
use crate::kind::Want;
use crate::live::read_again;
use crate::plan::{Action, Change, Op, Plan, Step, StepId, Subject, keep, remove_unknown};
use crate::provider::Provider;
use crate::recorder::in_step;
use crate::schema::{Id, Identity, Live, Outputs, Ownership, Status};
use crate::spec::{ResourceDecl, Spec};
use crate::value::{Tree, resolve};
use crate::wait::{Context, InterruptPolicy, RESPONSE};
use tracker::{StepInfo, StepTracker};

/// Progress of a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A step started.
    Started(StepId),
    /// A step waits for something, worded to follow "waiting for".
    Waiting(StepId, String),
    /// A step ended.
    Finished(StepId, StepOutcome),
    /// Ctrl-C was pressed: no new step starts.
    Interrupted,
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq)]
pub enum StepOutcome {
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
    pub endings: Vec<StepOutcome>,
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
    pub ready: Option<Instant>,
    /// It started.
    pub started: Option<Instant>,
    /// The resource was created: steps that need only its outputs could start.
    pub created: Option<Instant>,
    /// It ended, successfully or not.
    pub ended: Option<Instant>,
}

/// How often an update restarts because the resource changed during it.
const RACES: u32 = 3;
/// A step that has reported nothing for this time reports its last wait again, or that it waits for
/// a response.
const QUIET: Duration = Duration::from_secs(4);
/// How long the reads of a plan count as those right before its first writes, from when they began.
/// Another read would show no more: AWS takes about two seconds to show a change of a table's tags.
const FRESH: Duration = Duration::from_secs(1);
/// How long calls in flight may take after Ctrl-C.
const DRAIN: Duration = Duration::from_secs(10);

/// The slots of concurrent steps. Runs that share it have at most that many running steps in total.
pub type Slots = Arc<Semaphore>;

/// The slots of `parallelism` concurrent steps, at least one.
pub fn slots(parallelism: usize) -> Slots {
    Arc::new(Semaphore::new(parallelism.max(1)))
}

/// Executes `plan` with at most `parallelism` concurrent steps.
pub async fn apply(
    cx: &Context,
    spec: &Spec,
    inventory: &Inventory,
    plan: &Plan,
    parallelism: usize,
    on_event: &mut dyn FnMut(&Event),
) -> Outcome {
    let execution = Execution::new(plan);
    execution.run(cx, spec, inventory, &slots(parallelism), on_event).await;
    execution.outcome()
}

/// The execution of a plan. Its outcome is available at any time, even after an abort.
pub struct Execution<'p> {
    plan: &'p Plan,
    begun: Instant,
    /// Until when the reads of the plan are fresh.
    fresh_until: Option<Instant>,
    tracker: RefCell<StepTracker<'p>>,
    /// The known outputs of each resource: those that the plan predicts, then those from AWS.
    outputs: RefCell<BTreeMap<String, Outputs>>,
}

impl<'p> Execution<'p> {
    /// Prepares the execution.
    pub fn new(plan: &'p Plan) -> Execution<'p> {
        // An orphan may have the same name as a declared resource.
        let declared = plan.changes.iter().filter(|change| change.subject == Subject::Declared);
        let planned = declared.map(|change| (change.resource.clone(), change.outputs.clone())).collect();
        let tracker = RefCell::new(StepTracker::new(plan));
        Execution { plan, begun: Instant::now(), fresh_until: None, tracker, outputs: RefCell::new(planned) }
    }

    /// The same right after the reads that the plan was made from, which began at `read`: until a
    /// second later and until a first step ends, a step needs no other read to delete what only
    /// connects other resources.
    #[must_use]
    pub fn right_after(self, read: Instant) -> Execution<'p> {
        Execution { fresh_until: Some(read + FRESH), ..self }
    }

    /// Executes the plan. A step has one of the `slots` from its start until its resource is
    /// created: a step that only waits for AWS needs none, and neither does one that waits for
    /// another step's writes with the same key.
    pub async fn run(
        &self,
        cx: &Context,
        spec: &Spec,
        inventory: &Inventory,
        slots: &Slots,
        on_event: &mut dyn FnMut(&Event),
    ) {
        // The plan exists, so AWS was reached before.
        let cx = &cx.riding_out_outages().with_detail(inventory.detail);
        let (sender, mut messages) = mpsc::unbounded_channel();
        let (plan, outputs) = (self.plan, &self.outputs);
        let run = Run { cx, spec, inventory, plan, outputs, deleted: RefCell::default(), sender };
        self.tracker.borrow_mut().begin(|id| run.info(id));
        let mut running = FuturesUnordered::new();
        let (mut next_slot, mut granted) = (NextSlot { slots, pending: None }, None);
        let mut drain_until: Option<Instant> = None;
        loop {
            if cx.interrupted() && drain_until.is_none() {
                drain_until = Some(Instant::now() + DRAIN);
                // A replacement that has started is completed even after Ctrl-C.
                self.tracker.borrow_mut().keep_only_finishing();
                on_event(&Event::Interrupted);
            }
            let can_start = loop {
                if !self.tracker.borrow_mut().can_start() {
                    break false;
                }
                let slot = granted.take().or_else(|| Arc::clone(slots).try_acquire_owned().ok());
                let Some(slot) = slot else { break true };
                running.extend(self.start(&run, slot, on_event));
            };
            // For another run.
            drop(granted.take());
            if running.is_empty() && !can_start {
                break;
            }
            let wakeup = async {
                tokio::select! {
                    biased;
                    Some(message) = messages.recv() => Wakeup::Message(message),
                    Some((id, result)) = running.next() => Wakeup::Ended(id, result),
                    slot = next_slot.acquire(can_start) => Wakeup::Slot(slot),
                    () = cx.interrupt(), if drain_until.is_none() => Wakeup::Interrupt,
                }
            };
            let deadline = drain_until.filter(|_| !self.tracker.borrow().is_finishing());
            let Some(wakeup) = before(deadline, wakeup).await else { break };
            match wakeup {
                Wakeup::Message(message) => self.receive(message, on_event),
                Wakeup::Ended(id, result) => {
                    // A step sends all its messages before it ends.
                    std::iter::from_fn(|| messages.try_recv().ok()).for_each(|it| self.receive(it, on_event));
                    self.ended(id, result, on_event);
                }
                Wakeup::Slot(slot) => granted = Some(slot),
                Wakeup::Interrupt => {}
            }
        }
    }

    /// Starts the next step.
    fn start<'r>(
        &self,
        run: &'r Run<'_>,
        slot: OwnedSemaphorePermit,
        on_event: &mut dyn FnMut(&Event),
    ) -> Option<impl Future<Output = (StepId, Result<Duration, AwsError>)> + use<'r, 'p>> {
        let id = self.tracker.borrow_mut().start()?;
        on_event(&Event::Started(id));
        // A write of this run makes the reads before it obsolete.
        let is_first = !self.tracker.borrow().has_progress();
        let is_fresh = is_first && self.fresh_until.is_some_and(|until| Instant::now() < until);
        Some(run.step(id, slot, is_fresh))
    }

    fn ended(&self, id: StepId, result: Result<Duration, AwsError>, on_event: &mut dyn FnMut(&Event)) {
        let updates = self.tracker.borrow_mut().ended(id, result);
        updates.into_iter().for_each(|(id, ending)| on_event(&Event::Finished(id, ending)));
    }

    fn receive(&self, message: StepUpdate, on_event: &mut dyn FnMut(&Event)) {
        match message {
            StepUpdate::Created(id) => self.tracker.borrow_mut().created(id),
            StepUpdate::Waiting(id, what) => on_event(&Event::Waiting(id, what)),
        }
    }

    /// The outcome so far. Running steps count as interrupted.
    pub fn outcome(&self) -> Outcome {
        let lost = || {
            let message = "interrupted while a call was in flight; AWS may or may not have carried it out";
            AwsError::own(Code::Interrupted, "", "", message)
        };
        let tracker = self.tracker.borrow();
        let endings = tracker.endings(|| StepOutcome::Failed(lost()));
        let times = Times { begun: self.begun, ended: Instant::now(), steps: tracker.times() };
        Outcome { endings, outputs: self.outputs.borrow().clone(), times }
    }
}

/// The wait for a slot that another run or a running step has. It keeps its place among those that
/// wait for one, unless no step can start anymore.
struct NextSlot<'s> {
    slots: &'s Slots,
    pending: Option<Pin<Box<dyn Future<Output = OwnedSemaphorePermit> + Send + 's>>>,
}

impl NextSlot<'_> {
    async fn acquire(&mut self, is_needed: bool) -> OwnedSemaphorePermit {
        if !is_needed {
            // A slot that was assigned to it goes to the next one.
            self.pending = None;
            return std::future::pending().await;
        }
        let slots = self.slots;
        let pending = self.pending.get_or_insert_with(|| {
            Box::pin(async move {
                match Arc::clone(slots).acquire_owned().await {
                    Ok(slot) => slot,
                    // The semaphore is never closed.
                    Err(_) => std::future::pending().await,
                }
            })
        });
        let slot = pending.await;
        self.pending = None;
        slot
    }
}

/// Awaits `work` until the deadline, if there is one.
async fn before<T>(deadline: Option<Instant>, work: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => timeout_at(deadline, work).await.ok(),
        None => Some(work.await),
    }
}

enum Wakeup {
    Message(StepUpdate),
    Ended(StepId, Result<Duration, AwsError>),
    Slot(OwnedSemaphorePermit),
    Interrupt,
}

enum StepUpdate {
    Created(StepId),
    Waiting(StepId, String),
}

/// Which pauses of a step Ctrl-C doesn't end: once AWS has accepted the delete of a replacement,
/// its completion is waited for, and then the create is carried out, however long it takes.
fn policy(step: &Step) -> InterruptPolicy {
    match (step.op, step.pair) {
        (Op::Create, Some(_)) => InterruptPolicy::FinishAll,
        (Op::Delete, Some(_)) => InterruptPolicy::FinishWaits,
        _ => InterruptPolicy::EndPauses,
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
    sender: mpsc::UnboundedSender<StepUpdate>,
}

/// A running step.
struct Work<'a> {
    id: StepId,
    step: &'a Step,
    change: &'a Change,
    declared: &'a ResourceDecl,
    provider: &'a dyn Provider,
    cx: Context,
    /// Whether the reads of the plan are fresh.
    is_fresh: bool,
    /// Its write key, held from the last read to the write, so that no other step of this run
    /// writes in between; and its slot.
    claims: (Option<OwnedMutexGuard<()>>, OwnedSemaphorePermit),
}

/// Reports the waits of a step.
#[derive(Clone)]
struct StepReporter {
    id: StepId,
    sender: mpsc::UnboundedSender<StepUpdate>,
    last: Arc<Mutex<LastReport>>,
}

#[derive(Clone)]
struct LastReport {
    /// When it was made, or when that wait ended.
    at: Instant,
    /// What the step waits for; `None`: it has a call in flight.
    what: Option<String>,
}

impl StepReporter {
    fn new(id: StepId, sender: mpsc::UnboundedSender<StepUpdate>) -> StepReporter {
        StepReporter { id, sender, last: Arc::new(Mutex::new(LastReport { at: Instant::now(), what: None })) }
    }

    /// Reports a wait; `None`: it has ended.
    fn report(&self, what: Option<&str>) {
        let last = LastReport { at: Instant::now(), what: what.map(str::to_owned) };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = last;
        if let Some(what) = what {
            // Fails only after the run has ended.
            let _ = self.sender.send(StepUpdate::Waiting(self.id, what.to_owned()));
        }
    }

    /// Reports again after a while, as long as it is polled.
    async fn repeat<T>(&self) -> T {
        loop {
            let LastReport { at, what } = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if at + QUIET <= Instant::now() {
                self.report(Some(what.as_deref().unwrap_or(RESPONSE)));
            } else {
                sleep_until(at + QUIET).await;
            }
        }
    }
}

impl Run<'_> {
    /// The row of a step and its resource.
    fn about(&self, id: StepId) -> Option<(&Change, &ResourceDecl)> {
        let change = self.plan.changes.get(self.plan.steps.get(id.0)?.change)?;
        Some((change, change.declared(self.spec, self.inventory)?))
    }

    /// What the order of steps depends on besides the plan.
    fn info(&self, id: StepId) -> StepInfo {
        let Some((_, declared)) = self.about(id) else { return StepInfo::default() };
        let is_nested = matches!(declared.schema().identity, Identity::Nested { .. });
        let is_write = self.plan.steps.get(id.0).is_some_and(|step| step.op != Op::Wait);
        let provider = self.cx.provider(&declared.schema().kind).ok().filter(|_| is_write);
        let write_key = provider.and_then(|provider| provider.write_key(&declared.id)).map(str::to_owned);
        StepInfo { write_key, is_nested }
    }

    async fn step(
        &self,
        id: StepId,
        slot: OwnedSemaphorePermit,
        is_fresh: bool,
    ) -> (StepId, Result<Duration, AwsError>) {
        let start = Instant::now();
        let reporter = StepReporter::new(id, self.sender.clone());
        let work = Box::pin(in_step(id.0, self.perform(id, &reporter, slot, is_fresh)));
        let result = tokio::select! {
            biased;
            result = work => result,
            never = reporter.repeat() => never,
        };
        (id, result.map(|()| start.elapsed()).map_err(|error| self.masked(id, error)))
    }

    /// The error with all secrets masked, including those that became known only now.
    fn masked(&self, id: StepId, error: AwsError) -> AwsError {
        if let Some((_, declared)) = self.about(id)
            && let Ok(want) = self.want(declared, None)
        {
            declared.schema().secrets(&want.props).for_each(|secret| self.cx.secrets.register(secret));
        }
        self.cx.masked(error)
    }

    async fn perform(
        &self,
        id: StepId,
        reporter: &StepReporter,
        slot: OwnedSemaphorePermit,
        is_fresh: bool,
    ) -> Result<(), AwsError> {
        let defect = || AwsError::defect("the plan contains a step or a resource that doesn't exist".to_owned());
        let step = self.plan.steps.get(id.0).ok_or_else(defect)?;
        let (change, declared) = self.about(id).ok_or_else(defect)?;
        let provider = &**self.cx.provider(&declared.schema().kind)?;
        let own = reporter.clone();
        let cx = self.cx.reporting(Arc::new(move |what| own.report(what))).with_interrupt_policy(policy(step));
        let mut write_lock = None;
        if step.op != Op::Wait
            && let Some(key) = provider.write_key(&declared.id)
        {
            write_lock = Some(cx.lock_writes(key).await);
        }
        let work = Work { id, step, change, declared, provider, cx, is_fresh, claims: (write_lock, slot) };
        match step.op {
            Op::Create => self.create(work).await,
            Op::Update => self.update(work).await,
            Op::Wait => {
                // It only waits.
                drop(work.claims);
                let props = self.want_readable(declared, change.live(self.inventory))?.props;
                provider.wait_ready(&work.cx, &declared.id, &props, &change.outputs).await
            }
            Op::Untag => match self.both_unchanged(&work).await? {
                Some(have) => provider.untag(&work.cx, &declared.id, have).await,
                None => Ok(()),
            },
            Op::Delete => self.delete(work).await,
        }
    }

    async fn create(&self, work: Work<'_>) -> Result<(), AwsError> {
        let Work { id, step, change, declared, provider, cx, claims, .. } = work;
        self.parent_unchanged(&cx, Op::Create, declared).await?;
        // Properties in `ignore_changes` survive a replacement, too.
        let left = change.live(self.inventory).filter(|_| change.action == Action::Replace);
        let want = self.want(declared, left)?;
        let props = want.props.clone();
        let outputs = match provider.create(&cx, &declared.id, want).await {
            Err(error) => return Err(self.put_back(&cx, step.change, declared, error).await),
            outputs => outputs?,
        };
        drop(claims);
        self.record_outputs(id, change, outputs.clone())?;
        let mut before = step.after.iter().filter_map(|(before, _)| self.plan.steps.get(before.0));
        if step.pair.is_some() || before.any(|before| before.op == Op::Update) {
            self.ensure_single(&cx, declared, &outputs).await?;
        }
        // The replacement is complete; AWS finishes it without engine, too.
        provider.wait_ready(&cx.with_interrupt_policy(InterruptPolicy::EndPauses), &declared.id, &props, &outputs).await
    }

    async fn update(&self, work: Work<'_>) -> Result<(), AwsError> {
        let mut have = self.both_unchanged(&work).await?;
        let Work { id, change, declared, provider, cx, claims, .. } = work;
        let missing = || AwsError::changed("update", &declared.id.name, "changed in the meantime: it was deleted");
        let mut tries = 0;
        let (props, outputs) = loop {
            let now = have.ok_or_else(missing)?;
            let want = self.want_readable(declared, Some(&now))?;
            let props = want.props.clone();
            match provider.update(&cx, &declared.id, now, want).await {
                // The resource changed between the read and the write: AWS's own transitions change
                // its revision, and so does a call whose response was lost; or it was deleted. So
                // it is read again.
                Err(error) if error.is_any(&[Code::ChangedMeanwhile, Code::NotFound]) && tries < RACES => tries += 1,
                answer => break (props, answer?),
            }
            have = self.unchanged(&cx, change, declared).await?;
        };
        drop(claims);
        self.record_outputs(id, change, outputs.clone())?;
        provider.wait_ready(&cx, &declared.id, &props, &outputs).await
    }

    async fn delete(&self, work: Work<'_>) -> Result<(), AwsError> {
        let (id, followers) = (&work.declared.id, self.followers(work.step));
        let check = work.cx.read(&id.name, || work.provider.check_delete(&work.cx, id, &followers));
        let planned = work
            .change
            .live(self.inventory)
            .filter(|_| work.is_fresh && work.step.pair.is_none() && work.declared.schema().parent().is_some());
        let (have, check) = match planned {
            Some(planned) => (Ok(Some(planned.clone())), check.await),
            None => tokio::join!(self.both_unchanged(&work), check),
        };
        let Some(have) = have? else { return Ok(()) };
        check?;
        let Work { step, declared, provider, cx, claims, .. } = work;
        let claims = Arc::new(Mutex::new(Some(claims)));
        let held = Arc::clone(&claims);
        let cx = cx.accepting(Arc::new(move || drop(held.lock().unwrap_or_else(PoisonError::into_inner).take())));
        let is_paired = step.pair.is_some();
        if is_paired && let Ok(want) = self.want(declared, Some(&have)) {
            cx.read(&declared.id.name, || provider.precheck(&cx, &declared.id, &want.props)).await?;
        }
        let was = is_paired.then(|| have.clone());
        provider.delete(&cx, &declared.id, have).await?;
        drop(claims);
        self.deleted.borrow_mut().extend(was.map(|was| (step.change, was)));
        Ok(())
    }

    /// What refers to a resource that is replaced, and is changed after its replacement is created.
    fn followers(&self, delete: &Step) -> Vec<&ResourceDecl> {
        let steps = &self.plan.steps;
        let is_successor = |it: &Step| (it.op, it.change) == (Op::Create, delete.change);
        let waits = |it: &Step| it.after.iter().any(|(before, _)| steps.get(before.0).is_some_and(is_successor));
        let updates = steps.iter().enumerate().filter(|(_, it)| it.op == Op::Update && waits(it));
        updates.filter_map(|(at, _)| Some(self.about(StepId(at))?.1)).collect()
    }

    /// The error of a create. If AWS refused it permanently, this first restores the resource that
    /// this run deleted for it; a resource that exists under that name by now is left alone.
    async fn put_back(&self, cx: &Context, change: usize, declared: &ResourceDecl, error: AwsError) -> AwsError {
        let is_refusal = !error.passes()
            && !error.is_any(&[Code::Busy, Code::ChangedMeanwhile, Code::NameTaken, Code::BeingDeleted]);
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

    /// Checks that another run didn't create the same resource at the same time, which is possible
    /// for resources whose name AWS assigns.
    ///
    /// # Errors
    /// `ChangedMeanwhile` if this stack owns another one.
    async fn ensure_single(&self, cx: &Context, declared: &ResourceDecl, outputs: &Outputs) -> Result<(), AwsError> {
        if !is_assigned(declared) {
            return Ok(());
        }
        let before = &declared.id.unique_id;
        let id = Id { unique_id: None, ..declared.id.clone() };
        let provider = cx.provider(&declared.schema().kind)?;
        let reading = cx.read(&id.name, || provider.read(cx, &id)).await?;
        let us = Ownership::Engine(id.owner.clone());
        let others = reading
            .others
            .into_iter()
            .filter(|(_, live)| live.owner == us && live.status != Status::Deleting && live.unique_id != *before);
        match others.filter(|(_, live)| live.outputs != *outputs).count() {
            0 => Ok(()),
            _ => {
                let kind = &declared.schema().kind;
                let message = format!("another run created another {kind} for `{}` at the same time", declared.name);
                Err(AwsError::changed("create", &declared.id.name, message))
            }
        }
    }

    /// Reads the resource and its parent again, right before the first write.
    ///
    /// # Errors
    /// Those of [`Run::parent_unchanged`] and [`Run::unchanged`].
    async fn both_unchanged(
        &self,
        Work { step, change, declared, cx, .. }: &Work<'_>,
    ) -> Result<Option<Live>, AwsError> {
        let (parent, own) =
            tokio::join!(self.parent_unchanged(cx, step.op, declared), self.unchanged(cx, change, declared));
        parent.and(own)
    }

    /// Reads the resource again, right before the first write to it.
    ///
    /// # Errors
    /// `ChangedMeanwhile` if it differs from both the state that was planned for and the desired one.
    async fn unchanged(
        &self,
        cx: &Context,
        change: &Change,
        declared: &ResourceDecl,
    ) -> Result<Option<Live>, AwsError> {
        let Some(mut now) = read_again(cx, declared).await? else { return Ok(None) };
        let then = change.live(self.inventory);
        // Properties that the plan didn't compare are not compared here either.
        then.into_iter().for_each(|then| now.forget(&then.unknown));
        let updates = matches!(change.action, Action::Update | Action::Adopt);
        let want = if updates { Some(self.want_readable(declared, Some(&now))?.props) } else { None };
        let difference = match then {
            None => Some("it didn't exist when the plan was made".to_owned()),
            Some(then) => hidden_change(change, &now).or_else(|| difference(declared, then, &now, want.as_ref())),
        };
        match difference {
            None => Ok(Some(now)),
            Some(difference) => {
                let message = format!("changed in the meantime: {difference}");
                let verb = if want.is_some() { "update" } else { "destroy" };
                Err(AwsError::changed(verb, &declared.id.name, message))
            }
        }
    }

    /// Reads the parent of a resource again, unless this run creates it: its owner also owns
    /// children without tags, and may have changed since the plan was made.
    ///
    /// # Errors
    /// `ChangedMeanwhile` if it has another owner now.
    async fn parent_unchanged(&self, cx: &Context, op: Op, declared: &ResourceDecl) -> Result<(), AwsError> {
        let parent = declared.parent().and_then(|(kind, name)| {
            self.plan.changes.iter().enumerate().find(|(_, row)| row.kind == kind && row.name == name)
        });
        let counts = |row: &Change| row.action != Action::Import || self.spec.imported_parent(declared).is_some();
        let Some((at, row)) = parent.filter(|(_, row)| counts(row)) else { return Ok(()) };
        // What is attached to a parent that is replaced is deleted before it.
        let is_old = op == Op::Delete && row.live(self.inventory).is_some();
        let is_created = !is_old && self.plan.steps.iter().any(|it| it.change == at && it.op == Op::Create);
        let Some(parent) = row.declared(self.spec, self.inventory).filter(|_| !is_created) else { return Ok(()) };
        let changed = |what: &str| {
            let message = format!("changed in the meantime: the {} `{}` that it belongs to {what}", row.kind, row.name);
            Err(AwsError::changed("write", &declared.id.name, message))
        };
        match (read_again(cx, parent).await?, row.live(self.inventory)) {
            (Some(now), Some(then))
                if now.owner == then.owner || now.owner == Ownership::Engine(parent.id.owner.clone()) =>
            {
                Ok(())
            }
            (Some(_), _) => changed("has another owner"),
            (None, _) if op == Op::Create => changed("was deleted"),
            (None, _) => Ok(()),
        }
    }

    /// The desired properties with the current outputs, and with the values of `have` for
    /// properties in `ignore_changes`.
    fn want(&self, declared: &ResourceDecl, have: Option<&Live>) -> Result<Want<Tree>, AwsError> {
        let outputs = self.outputs.borrow();
        let output = |resource: &str, attribute: &str| outputs.get(resource)?.get(attribute).cloned();
        let mut props = resolve(&declared.desired, &|placeholder| self.inventory.env.fill(placeholder, output));
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
    fn want_readable(&self, declared: &ResourceDecl, have: Option<&Live>) -> Result<Want<Tree>, AwsError> {
        let mut want = self.want(declared, have)?;
        have.into_iter().for_each(|have| remove_unknown(have, &mut want.props));
        Ok(want)
    }

    /// Records the outputs of a step, and compares them with the plan's predictions.
    fn record_outputs(&self, id: StepId, change: &Change, outputs: Outputs) -> Result<(), AwsError> {
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
        let _ = self.sender.send(StepUpdate::Created(id));
        Ok(())
    }
}

/// A property that the plan changes but that can no longer be read.
fn hidden_change(change: &Change, now: &Live) -> Option<String> {
    let mut planned = change.properties.iter().filter_map(|property| property.path.root());
    let (name, why) = planned.find_map(|root| now.unknown.get_key_value(root))?;
    Some(format!("its `{name}`, which the plan changes, can no longer be read ({why})"))
}

/// How a later read differs from the one that the plan was made for, without values, because they
/// may be secret. A change to the desired value doesn't count, because two runs may apply the same
/// spec at once. Before a delete, changes by AWS don't count either: it may disable a mapping whose
/// stream was deleted.
fn difference(declared: &ResourceDecl, then: &Live, now: &Live, want: Option<&Tree>) -> Option<String> {
    let us = &declared.id.owner;
    if then.unique_id != now.unique_id {
        return Some("it was deleted and re-created".to_owned());
    }
    if now.status == Status::Deleting {
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
        .filter(|(name, _)| want.is_some() || declared.schema().property(name).is_none_or(|it| !it.service_managed))
        .filter(|(name, value)| {
            let now = now.props.get(*name);
            now != Some(*value) && (now.is_none() || now != want.and_then(|want| want.get(*name)))
        })
        .map(|(name, _)| format!("`{name}`"))
        .collect();
    (!names.is_empty()).then(|| names.join(", "))
}
