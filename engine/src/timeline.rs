//! The timeline of an apply: when each step ran, its waits and calls, and the critical path.
//!
//! It compares two lengths: the *total*, from the start of the run to its end, and the *ideal*,
//! which the same steps would take if each started as soon as its dependencies allow. The longest
//! chain of such steps is the critical path: only a faster step in it makes the run faster.
//!
//! **Invariant:** pure; every time comes from the run.

use std::time::Duration;

use tokio::time::Instant;

use crate::apply::{Outcome, Times};
use crate::aws::recorder::{Attempt, CallResult, Pause, Records};
use crate::plan::{Plan, StepId};
use crate::schema::Milestone;

/// How long a run took, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Timing {
    /// From its start to its end.
    pub total: Duration,
    /// The length of the critical path.
    pub ideal: Duration,
    /// The critical path, from its first step to its last.
    pub path: Vec<PathStep>,
}

/// A step of the critical path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathStep {
    /// The step.
    pub step: StepId,
    /// Its share of the path: until the next step could start, or for the last step, until it was
    /// ready.
    pub share: Duration,
}

/// The time until a step's resource was created, and until it was ready.
#[derive(Clone, Copy, Default)]
struct Length {
    created: Duration,
    ready: Duration,
}

impl Timing {
    /// Finds the critical path. A step that never started takes no time.
    pub fn of(plan: &Plan, times: &Times) -> Timing {
        let lengths: Vec<Length> = times
            .steps
            .iter()
            .map(|step| {
                let Some(started) = step.started else { return Length::default() };
                let ready = step.ended.unwrap_or(times.ended).saturating_duration_since(started);
                Length {
                    created: step.created.map_or(ready, |created| created.saturating_duration_since(started)),
                    ready,
                }
            })
            .collect();
        let length = |id: StepId| lengths.get(id.0).copied().unwrap_or_default();
        let share = |id: StepId, milestone: Milestone| match milestone {
            Milestone::Created => length(id).created,
            Milestone::Ready => length(id).ready,
        };
        // When each step would start, and the step that it would wait for last. Without cycles, as
        // many rounds as steps are enough.
        let mut begins: Vec<(Duration, Option<PathStep>)> = vec![(Duration::ZERO, None); plan.steps.len()];
        for _ in &plan.steps {
            let mut is_settled = true;
            for (at, step) in plan.steps.iter().enumerate() {
                for (before, milestone) in &step.after {
                    let link = PathStep { step: *before, share: share(*before, *milestone) };
                    let least = begins.get(before.0).map_or(Duration::ZERO, |(begin, _)| *begin) + link.share;
                    if let Some(begin) = begins.get_mut(at).filter(|(begin, _)| *begin < least) {
                        (*begin, is_settled) = ((least, Some(link)), false);
                    }
                }
            }
            if is_settled {
                break;
            }
        }
        let ends = begins.iter().enumerate().map(|(at, (begin, _))| (*begin + length(StepId(at)).ready, at));
        // Of two that end together, the first in the plan.
        let last = ends.rev().max_by_key(|(end, _)| *end).filter(|(end, _)| !end.is_zero());
        let mut path: Vec<PathStep> = Vec::new();
        let mut next = last.map(|(_, at)| PathStep { step: StepId(at), share: length(StepId(at)).ready });
        while let Some(link) = next {
            path.push(link);
            next = begins.get(link.step.0).and_then(|(_, before)| *before);
        }
        path.reverse();
        let total = times.ended.saturating_duration_since(times.begun);
        Timing { total, ideal: last.map_or(Duration::ZERO, |(end, _)| end), path }
    }
}

/// The axis for the runs of one command. It starts with the first read and leaves out the time for
/// showing and confirming the plan.
#[derive(Debug, Clone, Copy)]
pub struct Axis {
    first_read: Instant,
    begun: Instant,
    /// The time for reading before the first step.
    pub reading: Duration,
    /// From the first read to the end of the last run.
    pub length: Duration,
}

/// One run on the axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Timeline {
    /// Its lengths.
    pub timing: Timing,
    /// The reads before the first step.
    pub reads: Option<Bar>,
    /// Each step that started.
    pub bars: Vec<(StepId, Bar)>,
}

/// A bar: start, end, and what happened in between.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    /// When it could start: never after `begin`, and before it if `--parallelism` steps were
    /// running.
    pub ready: Duration,
    /// When it started.
    pub begin: Duration,
    /// When the resource was created.
    pub created: Option<Duration>,
    /// When it ended.
    pub end: Duration,
    /// Its waits.
    pub waits: Vec<TimedWait>,
    /// Its calls to AWS.
    pub calls: Vec<TimedCall>,
}

/// One wait; polls in between don't split it.
#[derive(Debug, Clone, PartialEq)]
pub struct TimedWait {
    /// When it started.
    pub begin: Duration,
    /// When it ended.
    pub end: Duration,
    /// The reason, to follow "waiting for".
    pub reason: String,
}

/// A call with all its attempts.
#[derive(Debug, Clone, PartialEq)]
pub struct TimedCall {
    /// AWS's name of the operation.
    pub operation: String,
    /// The target's name in AWS; may be empty.
    pub target: String,
    /// When it was first sent, or started to wait for the rate limit.
    pub begin: Duration,
    /// When the last response arrived.
    pub end: Duration,
    /// Whether it may change something.
    pub writes: bool,
    /// The response to each attempt; `None` if the run ended first.
    pub answers: Vec<Option<CallResult>>,
    /// How long its attempts waited for the rate limit.
    pub rate_limited: Duration,
    /// Whether it repeats a call that failed.
    pub is_retry: bool,
}

impl TimedCall {
    /// Whether that response is a failure. A read that finds nothing succeeds; a rejected write
    /// doesn't.
    pub fn is_failure(&self, answer: &Option<CallResult>) -> bool {
        match answer {
            Some(CallResult::Done) => false,
            Some(CallResult::Error(status, _)) => self.writes || *status >= 500,
            Some(CallResult::Throttled | CallResult::Nothing) | None => true,
        }
    }
}

impl Bar {
    /// The number of retries.
    pub fn retries(&self) -> usize {
        self.calls.iter().map(|call| call.answers.len().saturating_sub(1) + usize::from(call.is_retry)).sum()
    }

    /// The number of throttled attempts.
    pub fn throttled(&self) -> usize {
        self.calls.iter().flat_map(|call| &call.answers).filter(|it| **it == Some(CallResult::Throttled)).count()
    }
}

impl Axis {
    /// The axis for these runs.
    pub fn of<'r>(runs: impl Iterator<Item = (&'r Times, &'r Records)> + Clone) -> Option<Axis> {
        let begun = runs.clone().map(|(times, _)| times.begun).min()?;
        let ended = runs.clone().map(|(times, _)| times.ended).max()?;
        let reads = || runs.clone().flat_map(|(_, records)| &records.attempts).filter(|it| it.step.is_none());
        let first_read = reads().map(|it| it.begun).min().unwrap_or(begun).min(begun);
        let read = reads().filter_map(|it| Some(it.answer.as_ref()?.0)).max().unwrap_or(first_read).min(begun);
        let reading = read.saturating_duration_since(first_read);
        Some(Axis { first_read, begun, reading, length: reading + ended.saturating_duration_since(begun) })
    }

    fn offset(&self, at: Instant) -> Duration {
        match at < self.begun {
            true => at.saturating_duration_since(self.first_read).min(self.reading),
            false => self.reading + at.saturating_duration_since(self.begun),
        }
    }
}

impl Timeline {
    /// The timeline of a run.
    pub fn new(axis: &Axis, plan: &Plan, Outcome { times, .. }: &Outcome, records: &Records) -> Timeline {
        let bars = times.steps.iter().enumerate().filter_map(|(at, step)| {
            let begin = axis.offset(step.started?);
            let end = step.ended.unwrap_or(times.ended);
            let bar = Bar {
                ready: step.ready.map_or(begin, |ready| axis.offset(ready)),
                begin,
                created: step.created.map(|created| axis.offset(created)),
                end: axis.offset(end),
                waits: waits(axis, records, Some(at), end),
                calls: calls(axis, records, Some(at), end),
            };
            Some((StepId(at), bar))
        });
        let calls = calls(axis, records, None, times.begun);
        let begin = calls.iter().map(|call| call.begin).min();
        let reads = begin.map(|begin| Bar {
            ready: begin,
            begin,
            created: None,
            end: calls.iter().map(|call| call.end).max().unwrap_or(begin),
            waits: waits(axis, records, None, times.begun),
            calls,
        });
        Timeline { timing: Timing::of(plan, times), reads, bars: bars.collect() }
    }
}

/// The waits of a step. Pauses for the same reason are one wait, unless there was a write in
/// between.
fn waits(axis: &Axis, records: &Records, step: Option<usize>, ended: Instant) -> Vec<TimedWait> {
    let mut waits: Vec<(Instant, TimedWait)> = Vec::new();
    for Pause { reason, begun, ended: over, .. } in records.pauses.iter().filter(|it| it.step == step) {
        let over = over.unwrap_or(ended);
        let writes = |from: Instant| {
            let mut writes = records.attempts.iter().filter(|it| it.step == step && it.writes);
            writes.any(|it| (from..*begun).contains(&it.begun))
        };
        match waits.iter_mut().rev().find(|(last, wait)| wait.reason == *reason && !writes(*last)) {
            Some((last, wait)) => (*last, wait.end) = (over.max(*last), wait.end.max(axis.offset(over))),
            None => {
                let (begin, end) = (axis.offset(*begun), axis.offset(over));
                waits.push((over, TimedWait { begin, end, reason: reason.clone() }));
            }
        }
    }
    waits.into_iter().map(|(_, wait)| wait).collect()
}

/// The calls of a step.
fn calls(axis: &Axis, records: &Records, step: Option<usize>, ended: Instant) -> Vec<TimedCall> {
    let mut calls: Vec<(&Attempt, TimedCall)> = Vec::new();
    for attempt in records.attempts.iter().filter(|it| it.step == step) {
        let end = axis.offset(attempt.answer.as_ref().map_or(ended, |(when, _)| *when));
        let answer = attempt.answer.as_ref().map(|(_, answer)| answer.clone());
        let rate_limited = attempt.left.unwrap_or(ended).saturating_duration_since(attempt.begun);
        let same = |it: &&mut (&Attempt, TimedCall)| !attempt.call.is_empty() && it.0.call == attempt.call;
        if let Some((_, call)) = calls.iter_mut().rev().find(same) {
            call.answers.push(answer);
            (call.end, call.rate_limited) = (end, call.rate_limited + rate_limited);
            continue;
        }
        let mut before = calls.iter().rev().map(|(_, call)| call);
        let before = before.find(|call| (&call.operation, &call.target) == (&attempt.operation, &attempt.target));
        let call = TimedCall {
            operation: attempt.operation.clone(),
            target: attempt.target.clone(),
            begin: axis.offset(attempt.begun),
            end,
            writes: attempt.writes,
            answers: vec![answer],
            rate_limited,
            is_retry: before.is_some_and(|call| call.answers.last().is_some_and(|last| call.is_failure(last))),
        };
        calls.push((attempt, call));
    }
    calls.into_iter().map(|(_, call)| call).collect()
}
