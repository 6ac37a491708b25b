//! What a run asks of AWS and what it waits for, with times: for who wants to see afterwards where the time went.
//!
//! **Invariant:** it is off unless it was started. It keeps names, numbers and times, and of texts only the reasons of
//! waits, which are masked before they come here: no body, no header.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use tokio::time::Instant;

use super::error;
use super::guard::{Effect, Request};

tokio::task_local! {
    /// The step of a plan that is at work; what happens outside of any belongs to the reads before.
    static STEP: usize;
}

/// Does `work` as the step of that number.
pub async fn in_step<F: Future>(step: usize, work: F) -> F::Output {
    STEP.scope(step, work).await
}

/// Keeps what happens, once it is started.
#[derive(Debug, Default)]
pub struct Recorder {
    kept: OnceLock<Mutex<Records>>,
}

/// What was kept.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Records {
    /// Every attempt of every call, in the order in which they began.
    pub attempts: Vec<Attempt>,
    /// Every pause, in the order in which they began.
    pub pauses: Vec<Pause>,
}

/// One attempt of a call; the SDK makes several of one that fails.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// Whose it was; `None` for reads before the plan.
    pub step: Option<usize>,
    /// The SDK's id of the call: attempts with the same are one call.
    pub call: String,
    /// The operation, as AWS calls it.
    pub operation: String,
    /// What it is about, by its name in AWS; may be empty.
    pub target: String,
    /// Whether it may change something.
    pub writes: bool,
    /// When it asked for its place in the rate limit.
    pub begun: Instant,
    /// When it left.
    pub left: Option<Instant>,
    /// What came back, and when.
    pub answer: Option<(Instant, Answer)>,
}

/// What came back of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// What was asked for.
    Done,
    /// "Too many calls."
    Throttled,
    /// An error, by its HTTP status and AWS's word for it.
    Error(u16, Option<String>),
    /// Nothing.
    Nothing,
}

/// A time in which a step waited, or a read.
#[derive(Debug, Clone, PartialEq)]
pub struct Pause {
    /// Whose it was; `None` for reads before the plan.
    pub step: Option<usize>,
    /// What was waited for and why, to follow "waiting for".
    pub reason: String,
    /// When it began.
    pub begun: Instant,
    /// When it was over; `None` if the run ended first.
    pub ended: Option<Instant>,
}

/// The place of an attempt or a pause among its like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place(usize);

/// A pause that lasts as long as this lives.
#[derive(Debug)]
pub(super) struct Paused<'r> {
    recorder: &'r Recorder,
    place: Option<Place>,
}

impl Recorder {
    /// From now on everything is kept.
    pub fn start(&self) {
        self.kept.get_or_init(Mutex::default);
    }

    /// What has been kept so far.
    pub fn records(&self) -> Records {
        self.kept().map(|kept| kept.clone()).unwrap_or_default()
    }

    fn kept(&self) -> Option<MutexGuard<'_, Records>> {
        Some(self.kept.get()?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// An attempt begins.
    pub(super) fn attempt(&self, request: &Request, call: Option<&str>) -> Option<Place> {
        let mut kept = self.kept()?;
        kept.attempts.push(Attempt {
            step: step(),
            call: call.unwrap_or_default().to_owned(),
            operation: request.operation.clone(),
            target: request.target.as_ref().map(|(_, name)| name.clone()).unwrap_or_default(),
            writes: request.effect != Effect::Read,
            begun: Instant::now(),
            left: None,
            answer: None,
        });
        Some(Place(kept.attempts.len() - 1))
    }

    /// It leaves.
    pub(super) fn left(&self, place: Option<Place>) {
        self.change(place, |attempt| attempt.left = Some(Instant::now()));
    }

    /// An answer has come, or will not come any more.
    pub(super) fn answered(&self, place: Option<Place>, response: Option<&HttpResponse>) {
        self.change(place, |attempt| attempt.answer = Some((Instant::now(), response.map_or(Answer::Nothing, answer))));
    }

    fn change(&self, place: Option<Place>, change: impl FnOnce(&mut Attempt)) {
        let Some((Place(at), mut kept)) = place.zip(self.kept()) else { return };
        kept.attempts.get_mut(at).map(change);
    }

    /// A pause begins.
    pub(super) fn pause(&self, reason: &str) -> Paused<'_> {
        let place = self.kept().map(|mut kept| {
            let pause = Pause { step: step(), reason: reason.to_owned(), begun: Instant::now(), ended: None };
            kept.pauses.push(pause);
            Place(kept.pauses.len() - 1)
        });
        Paused { recorder: self, place }
    }
}

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        let Some((Place(at), mut kept)) = self.place.zip(self.recorder.kept()) else { return };
        if let Some(pause) = kept.pauses.get_mut(at) {
            pause.ended = Some(Instant::now());
        }
    }
}

fn answer(response: &HttpResponse) -> Answer {
    match error::throttle(response) {
        Some(_) => Answer::Throttled,
        None if response.status().as_u16() < 400 => Answer::Done,
        None => {
            let is_code = |code: &String| code.len() < 100 && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
            let code = error::codes(response).find(is_code).filter(|code| !code.is_empty());
            Answer::Error(response.status().as_u16(), code)
        }
    }
}

fn step() -> Option<usize> {
    STEP.try_with(|step| *step).ok()
}
