//! Which steps of a plan can start, in which order, and how the others ended.
//!
//! **Invariant:** only bookkeeping: it awaits nothing and knows no resource.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::AwsError;
use crate::plan::{Op, Plan, Step, StepId};
use crate::schema::Milestone;

use super::{StepOutcome, StepTimes};

/// What the order of steps depends on besides the plan.
#[derive(Default)]
pub(super) struct StepInfo {
    /// Steps with the same key write one at a time.
    pub write_key: Option<String>,
    /// Whether its resource is part of another one, like a statement of a policy.
    pub is_nested: bool,
}

/// Which steps can start, and how the others ended.
pub(super) struct StepTracker<'p> {
    plan: &'p Plan,
    steps: Vec<Tracked>,
    /// Steps that can start.
    ready: BTreeSet<Rank>,
    keys: HashMap<String, WriteKey>,
    /// After Ctrl-C, only the second halves of replacements start.
    only_finishing: bool,
    /// Whether any step has got further than its start.
    has_progress: bool,
}

/// The order in which steps start: those with the longest remaining path first, then as in the
/// plan.
type Rank = (Reverse<u32>, StepId);

struct Tracked {
    state: StepState,
    /// The steps that wait for it, and the milestone.
    dependents: Vec<(StepId, Milestone)>,
    /// The estimated length of the longest chain of steps that starts with it.
    remaining: u32,
    write_key: Option<String>,
    times: StepTimes,
}

enum StepState {
    /// The number of milestones of other steps that it still waits for.
    Blocked(usize),
    /// It can start once it has a slot and its write key.
    Ready,
    /// It has a slot, and its write key.
    Running,
    /// Its resource is created, and AWS finishes it.
    Created,
    Ended(StepOutcome),
}

#[derive(Default)]
struct WriteKey {
    is_taken: bool,
    /// Ready steps that wait for it; they take no slot.
    waiting: BTreeSet<Rank>,
}

/// How long a step is expected to take, in calls: until its resource is created, and until it is
/// ready.
struct Estimate {
    created: u32,
    ready: u32,
}

impl Estimate {
    /// Durations are unknown before a run, so each call counts the same, and so does the wait for
    /// AWS after it. What is nested in another resource exists with the response.
    fn new(step: &Step, is_nested: bool) -> Estimate {
        match step.op {
            Op::Create | Op::Update if !is_nested => Estimate { created: 1, ready: 2 },
            Op::Delete if !is_nested => Estimate { created: 2, ready: 2 },
            _ => Estimate { created: 1, ready: 1 },
        }
    }
}

impl<'p> StepTracker<'p> {
    /// The steps of a plan before its execution.
    pub(super) fn new(plan: &'p Plan) -> StepTracker<'p> {
        let begun = Instant::now();
        let steps = plan.steps.iter().map(|step| {
            let is_ready = step.after.is_empty();
            let state = if is_ready { StepState::Ready } else { StepState::Blocked(step.after.len()) };
            let times = StepTimes { ready: is_ready.then_some(begun), ..StepTimes::default() };
            Tracked { state, dependents: Vec::new(), remaining: 0, write_key: None, times }
        });
        let mut steps: Vec<Tracked> = steps.collect();
        for (at, step) in plan.steps.iter().enumerate() {
            for (before, milestone) in &step.after {
                if let Some(before) = steps.get_mut(before.0) {
                    before.dependents.push((StepId(at), *milestone));
                }
            }
        }
        StepTracker {
            plan,
            steps,
            ready: BTreeSet::new(),
            keys: HashMap::new(),
            only_finishing: false,
            has_progress: false,
        }
    }

    /// Begins the execution.
    pub(super) fn begin(&mut self, info: impl Fn(StepId) -> StepInfo) {
        let infos: Vec<StepInfo> = (0..self.steps.len()).map(|at| info(StepId(at))).collect();
        let estimates: Vec<Estimate> =
            self.plan.steps.iter().zip(&infos).map(|(step, info)| Estimate::new(step, info.is_nested)).collect();
        self.set_remaining(&estimates);
        self.put_second_halves_first();
        for (tracked, info) in self.steps.iter_mut().zip(infos) {
            tracked.write_key = info.write_key;
        }
        let ready = self.steps.iter().enumerate().filter(|(_, it)| matches!(it.state, StepState::Ready));
        self.ready = ready.map(|(at, it)| (Reverse(it.remaining), StepId(at))).collect();
    }

    /// Determines the remaining path of each step, dependents first.
    fn set_remaining(&mut self, estimates: &[Estimate]) {
        let mut missing: Vec<usize> = self.steps.iter().map(|it| it.dependents.len()).collect();
        let mut todo: Vec<usize> = (0..missing.len()).filter(|at| missing.get(*at) == Some(&0)).collect();
        while let Some(at) = todo.pop() {
            let (Some(tracked), Some(estimate)) = (self.steps.get(at), estimates.get(at)) else { continue };
            let through = tracked.dependents.iter().map(|(dependent, milestone)| {
                let share = if *milestone == Milestone::Created { estimate.created } else { estimate.ready };
                share + self.steps.get(dependent.0).map_or(0, |it| it.remaining)
            });
            let remaining = through.max().unwrap_or(0).max(estimate.ready);
            if let Some(tracked) = self.steps.get_mut(at) {
                tracked.remaining = remaining;
            }
            for (before, _) in self.plan.steps.get(at).iter().flat_map(|step| &step.after) {
                if let Some(missing) = missing.get_mut(before.0) {
                    *missing -= 1;
                    if *missing == 0 {
                        todo.push(before.0);
                    }
                }
            }
        }
    }

    /// A create whose old resource this run deletes comes before everything else: until then,
    /// the resource doesn't exist.
    fn put_second_halves_first(&mut self) {
        let plan = self.plan;
        let is_second_half = |step: &Step| {
            let mut before = step.after.iter().filter_map(|(before, _)| plan.steps.get(before.0));
            step.op == Op::Create && before.any(|before| before.op == Op::Delete && before.change == step.change)
        };
        for (tracked, _) in self.steps.iter_mut().zip(&plan.steps).filter(|(_, step)| is_second_half(step)) {
            tracked.remaining = u32::MAX;
        }
    }

    /// Whether a step can start now. Sets aside those whose write key is taken.
    pub(super) fn can_start(&mut self) -> bool {
        while let Some(rank) = self.ready.first().copied() {
            let key = self.steps.get(rank.1.0).and_then(|it| it.write_key.as_ref());
            match key.and_then(|key| self.keys.get_mut(key)).filter(|key| key.is_taken) {
                Some(key) => key.waiting.insert(rank),
                None => return true,
            };
            self.ready.pop_first();
        }
        false
    }

    /// Starts the step with the longest remaining path.
    pub(super) fn start(&mut self) -> Option<StepId> {
        let (_, id) = self.ready.pop_first()?;
        let tracked = self.steps.get_mut(id.0)?;
        tracked.state = StepState::Running;
        tracked.times.started = Some(Instant::now());
        if let Some(key) = &tracked.write_key {
            self.keys.entry(key.clone()).or_default().is_taken = true;
        }
        Some(id)
    }

    /// Whether any step has got further than its start.
    pub(super) fn has_progress(&self) -> bool {
        self.has_progress
    }

    /// The resource of a step was created.
    pub(super) fn created(&mut self, id: StepId) {
        let Some(tracked) = self.steps.get_mut(id.0).filter(|it| matches!(it.state, StepState::Running)) else {
            return;
        };
        tracked.state = StepState::Created;
        self.has_progress = true;
        tracked.times.created = Some(Instant::now());
        self.release_key(id);
        self.happened(id, Milestone::Created);
    }

    /// Records the end of a step; returns it with the skips that result from it.
    pub(super) fn ended(&mut self, id: StepId, result: Result<Duration, AwsError>) -> Vec<(StepId, StepOutcome)> {
        let is_done = result.is_ok();
        if is_done {
            self.created(id);
        }
        self.has_progress = true;
        let ending = result.map_or_else(StepOutcome::Failed, StepOutcome::Done);
        if let Some(tracked) = self.steps.get_mut(id.0) {
            let before = std::mem::replace(&mut tracked.state, StepState::Ended(ending.clone()));
            tracked.times.ended = Some(Instant::now());
            if matches!(before, StepState::Running) {
                self.release_key(id);
            }
        }
        let mut updates = vec![(id, ending)];
        match is_done {
            true => self.happened(id, Milestone::Ready),
            false => updates.extend(self.skip_dependents(id)),
        }
        updates
    }

    /// Steps with the write key of `id` can start: all of them are ready, since the next one may be
    /// skipped.
    fn release_key(&mut self, id: StepId) {
        let key = self.steps.get(id.0).and_then(|it| it.write_key.as_ref());
        if let Some(key) = key.and_then(|key| self.keys.get_mut(key)) {
            key.is_taken = false;
            self.ready.extend(std::mem::take(&mut key.waiting));
        }
    }

    fn happened(&mut self, id: StepId, milestone: Milestone) {
        let dependents = self.steps.get(id.0).map(|it| it.dependents.clone()).unwrap_or_default();
        for (dependent, _) in dependents.into_iter().filter(|(_, wanted)| *wanted == milestone) {
            let Some(tracked) = self.steps.get_mut(dependent.0) else { continue };
            let StepState::Blocked(missing) = &mut tracked.state else { continue };
            *missing -= 1;
            if *missing == 0 {
                tracked.state = StepState::Ready;
                tracked.times.ready = Some(Instant::now());
                let rank = (Reverse(tracked.remaining), dependent);
                if !self.only_finishing || self.finishes(dependent) {
                    self.ready.insert(rank);
                }
            }
        }
    }

    /// Skips what depends on a failed step. A step that needed only its first milestone may have
    /// started and continues.
    fn skip_dependents(&mut self, failed: StepId) -> Vec<(StepId, StepOutcome)> {
        let row = self.plan.steps.get(failed.0).and_then(|step| self.plan.changes.get(step.change));
        let cause = row.map_or_else(String::new, |row| row.resource.clone());
        let (mut lost, mut skipped) = (vec![failed], Vec::new());
        while let Some(id) = lost.pop() {
            let dependents = self.steps.get(id.0).map(|it| it.dependents.clone()).unwrap_or_default();
            for (dependent, _) in dependents {
                let Some(tracked) = self.steps.get_mut(dependent.0) else { continue };
                if !matches!(tracked.state, StepState::Blocked(_) | StepState::Ready) {
                    continue;
                }
                let ending = StepOutcome::Skipped(cause.clone());
                tracked.state = StepState::Ended(ending.clone());
                let rank = (Reverse(tracked.remaining), dependent);
                self.ready.remove(&rank);
                if let Some(key) = tracked.write_key.as_ref().and_then(|key| self.keys.get_mut(key)) {
                    key.waiting.remove(&rank);
                }
                skipped.push((dependent, ending));
                lost.push(dependent);
            }
        }
        skipped
    }

    /// From now on, only the second halves of begun replacements start.
    pub(super) fn keep_only_finishing(&mut self) {
        self.only_finishing = true;
        let waiting = self.keys.values_mut().flat_map(|key| std::mem::take(&mut key.waiting));
        let ready: Vec<Rank> = std::mem::take(&mut self.ready).into_iter().chain(waiting).collect();
        let kept = ready.into_iter().filter(|(_, id)| self.finishes(*id)).collect();
        self.ready = kept;
    }

    /// Whether half of a replacement that must be completed is running or about to start.
    pub(super) fn is_finishing(&self) -> bool {
        let is_begun =
            |(tracked, step): (&Tracked, &Step)| step.pair.is_some() && matches!(tracked.state, StepState::Running);
        let mut ready = self.ready.iter().chain(self.keys.values().flat_map(|key| &key.waiting));
        self.steps.iter().zip(&self.plan.steps).any(is_begun) || ready.any(|(_, id)| self.finishes(*id))
    }

    /// Whether a step is the second half of a replacement whose first half succeeded.
    fn finishes(&self, id: StepId) -> bool {
        let create = self.plan.steps.get(id.0).filter(|step| step.op == Op::Create);
        let delete = create.and_then(|create| self.steps.get(create.pair?.0));
        delete.is_some_and(|delete| matches!(delete.state, StepState::Ended(StepOutcome::Done(_))))
    }

    /// How each step has ended so far; `lost`: those that still run.
    pub(super) fn endings(&self, lost: impl Fn() -> StepOutcome) -> Vec<StepOutcome> {
        let ending = |tracked: &Tracked| match &tracked.state {
            StepState::Blocked(_) | StepState::Ready => StepOutcome::NotStarted,
            StepState::Running | StepState::Created => lost(),
            StepState::Ended(ending) => ending.clone(),
        };
        self.steps.iter().map(ending).collect()
    }

    /// The times of each step.
    pub(super) fn times(&self) -> Vec<StepTimes> {
        self.steps.iter().map(|it| it.times).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three steps with one write key: the second also waits for a fourth, which fails before the
    /// second starts.
    #[tokio::test]
    async fn a_skipped_step_doesnt_keep_others_from_their_write_key() {
        let step = |after| Step { op: Op::Create, change: 0, after, pair: None };
        let waits = vec![(StepId(3), Milestone::Created)];
        let plan = Plan { steps: [vec![], waits, vec![], vec![]].map(step).into(), ..Plan::default() };
        let mut tracker = StepTracker::new(&plan);
        tracker.begin(|id| StepInfo { write_key: (id.0 != 3).then(|| "function".to_owned()), is_nested: true });
        let failure = || AwsError::defect("it failed".to_owned());
        let begun: Vec<StepId> =
            std::iter::from_fn(|| tracker.can_start().then(|| tracker.start()).flatten()).collect();
        assert_eq!(begun, [StepId(3), StepId(0)]);
        tracker.created(StepId(3));
        assert!(!tracker.can_start(), "both others wait for the write key");
        tracker.ended(StepId(0), Ok(Duration::ZERO));
        tracker.ended(StepId(3), Err(failure()));
        assert!(tracker.can_start());
        assert_eq!(tracker.start(), Some(StepId(2)));
    }
}
