//! Records the calls and waits of a run with their times, for `--timeline`.
//!
//! **Invariant:** it is off unless it was started. It keeps names, numbers and times, and the
//! reasons of waits, which are already masked: no body, no header.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::time::Instant;

tokio::task_local! {
    /// The current step of a plan; unset during the reads before the plan.
    static STEP: usize;
}

/// Runs `work` as part of a step.
pub async fn in_step<F: Future>(step: usize, work: F) -> F::Output {
    STEP.scope(step, work).await
}

/// Records calls and waits once it is started.
#[derive(Debug, Default)]
pub struct Recorder {
    records: OnceLock<Mutex<Records>>,
}

/// The recorded calls and waits.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Records {
    /// Every attempt of every call, in the order in which they started.
    pub attempts: Vec<Attempt>,
    /// Every pause, in the order in which they started.
    pub pauses: Vec<Pause>,
}

/// One attempt of a call; the SDK may retry a failed one.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// Its step; `None` for reads before the plan.
    pub step: Option<usize>,
    /// The SDK's ID of the call: attempts with the same ID belong to one call.
    pub call: String,
    /// The AWS API operation.
    pub operation: String,
    /// The name of the resource in AWS; may be empty.
    pub target: String,
    /// Whether it can change something.
    pub writes: bool,
    /// When it started to wait for the rate limit.
    pub begun: Instant,
    /// When it was sent.
    pub left: Option<Instant>,
    /// The result and its time.
    pub answer: Option<(Instant, CallResult)>,
}

/// The result of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallResult {
    /// It succeeded.
    Done,
    /// AWS throttled it.
    Throttled,
    /// An error, with HTTP status and AWS's error code.
    Error(u16, Option<String>),
    /// No response.
    Nothing,
}

/// A period in which a step or a read waited.
#[derive(Debug, Clone, PartialEq)]
pub struct Pause {
    /// Its step; `None` for reads before the plan.
    pub step: Option<usize>,
    /// What it waited for and why, worded to follow "waiting for".
    pub reason: String,
    /// When it started.
    pub begun: Instant,
    /// When it ended; `None` if the run ended first.
    pub ended: Option<Instant>,
}

/// The index of an attempt or a pause.
#[derive(Debug, Clone, Copy)]
pub struct EntryIndex(usize);

/// A pause that ends when this is dropped.
#[derive(Debug)]
pub struct Paused<'r> {
    recorder: &'r Recorder,
    entry: Option<EntryIndex>,
}

impl Recorder {
    /// Starts recording.
    pub fn start(&self) {
        self.records.get_or_init(Mutex::default);
    }

    /// The records so far.
    pub fn records(&self) -> Records {
        self.lock_records().map(|records| records.clone()).unwrap_or_default()
    }

    fn lock_records(&self) -> Option<MutexGuard<'_, Records>> {
        Some(self.records.get()?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Records the start of an attempt.
    pub fn attempt(&self, operation: &str, target: &str, writes: bool, call: Option<&str>) -> Option<EntryIndex> {
        let mut records = self.lock_records()?;
        records.attempts.push(Attempt {
            step: step(),
            call: call.unwrap_or_default().to_owned(),
            operation: operation.to_owned(),
            target: target.to_owned(),
            writes,
            begun: Instant::now(),
            left: None,
            answer: None,
        });
        Some(EntryIndex(records.attempts.len() - 1))
    }

    /// Records that an attempt was sent.
    pub fn left(&self, entry: Option<EntryIndex>) {
        self.change(entry, |attempt| attempt.left = Some(Instant::now()));
    }

    /// Records how an attempt was answered; `answer` runs only if calls are recorded.
    pub fn answered(&self, entry: Option<EntryIndex>, answer: impl FnOnce() -> CallResult) {
        self.change(entry, |attempt| attempt.answer = Some((Instant::now(), answer())));
    }

    fn change(&self, entry: Option<EntryIndex>, change: impl FnOnce(&mut Attempt)) {
        let Some((EntryIndex(at), mut records)) = entry.zip(self.lock_records()) else { return };
        records.attempts.get_mut(at).map(change);
    }

    /// Records the start of a pause.
    pub fn pause(&self, reason: &str) -> Paused<'_> {
        let entry = self.lock_records().map(|mut records| {
            let pause = Pause { step: step(), reason: reason.to_owned(), begun: Instant::now(), ended: None };
            records.pauses.push(pause);
            EntryIndex(records.pauses.len() - 1)
        });
        Paused { recorder: self, entry }
    }
}

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        let Some((EntryIndex(at), mut records)) = self.entry.zip(self.recorder.lock_records()) else { return };
        if let Some(pause) = records.pauses.get_mut(at) {
            pause.ended = Some(Instant::now());
        }
    }
}

fn step() -> Option<usize> {
    STEP.try_with(|step| *step).ok()
}
