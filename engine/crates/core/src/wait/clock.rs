//! Measures the time that counts for a wait: the time while this process is awake and AWS can be
//! reached.
//!
//! **Invariant:** it only measures; the one thing it decides is whether the process was suspended.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::unconstrained;
use tokio::time::{Instant, sleep};

use crate::cause::Code;
use crate::error::AwsError;

/// The interval at which the clock is checked.
const TICK: Duration = Duration::from_secs(5);
/// The maximum gap between two ticks on a busy machine. After a longer gap, the process was
/// suspended: the laptop was closed, the virtual machine paused or the process stopped.
const AWAKE: Duration = Duration::from_secs(20);

/// How long the process was suspended. All waits of a run share it, and one of them ticks for all:
/// if each did, the cost of many calls that wait for one rate limit would grow with the square of
/// their number.
#[derive(Debug)]
pub(super) struct Suspensions {
    state: Mutex<Ticks>,
    ticking: Semaphore,
}

#[derive(Debug)]
struct Ticks {
    last: Instant,
    asleep: Duration,
}

impl Suspensions {
    pub(super) fn new() -> Suspensions {
        let state = Mutex::new(Ticks { last: Instant::now(), asleep: Duration::ZERO });
        Suspensions { state, ticking: Semaphore::new(1) }
    }

    /// Checks the clock; returns the time now and the total suspended time.
    fn tick(&self) -> (Instant, Duration) {
        let mut ticks = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let gap = now - ticks.last;
        if gap > AWAKE {
            ticks.asleep += gap;
        }
        ticks.last = now;
        (now, ticks.asleep)
    }

    /// Ticks as long as it is polled, once the wait that ticks now has ended.
    async fn keep_ticking<T>(&self) -> T {
        // The semaphore is never closed, so acquiring can't fail.
        let _turn = self.ticking.acquire().await;
        loop {
            sleep(TICK).await;
            self.tick();
        }
    }
}

/// Counts the time while the process isn't suspended.
#[derive(Debug)]
pub(super) struct Clock {
    suspensions: Arc<Suspensions>,
    start: Instant,
    /// The suspended time before the start.
    before: Duration,
}

impl Clock {
    pub(super) fn start(suspensions: &Arc<Suspensions>) -> Clock {
        let (start, before) = suspensions.tick();
        Clock { suspensions: Arc::clone(suspensions), start, before }
    }

    /// The time so far.
    pub(super) fn passed(&self) -> Duration {
        let (now, asleep) = self.suspensions.tick();
        (now - self.start).saturating_sub(asleep - self.before)
    }

    /// Awaits `work` while the clock ticks.
    pub(super) async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        let ticking = async {
            tokio::select! {
                biased;
                done = work => done,
                never = self.suspensions.keep_ticking() => never,
            }
        };
        // Tokio's budget is for all calls of a task together. Once it is spent, each of them would
        // be polled repeatedly without progress, and the cost of many would grow with the square of
        // their number.
        let done = unconstrained(ticking).await;
        self.suspensions.tick();
        done
    }
}

/// Periods in which AWS couldn't be reached, measured with one clock.
#[derive(Debug, Default)]
pub(super) struct Outage {
    since: Option<Duration>,
    lost: Duration,
}

impl Outage {
    /// Records that AWS can't be reached.
    ///
    /// # Errors
    /// `OutOfReach` once the outage has lasted `budget`; `error` is the failure of the last call.
    pub(super) fn goes_on(&mut self, clock: &Clock, budget: Duration, error: AwsError) -> Result<(), AwsError> {
        let since = *self.since.get_or_insert(clock.passed());
        if clock.passed() - since < budget {
            return Ok(());
        }
        let message = format!("AWS couldn't be reached for {} s: {}", budget.as_secs(), error.message);
        Err(AwsError { cause: Code::OutOfReach, message: message.into(), ..error })
    }

    /// Records a response from AWS, whatever it is.
    pub(super) fn ends(&mut self, clock: &Clock) {
        if let Some(since) = self.since.take() {
            self.lost += clock.passed() - since;
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.since.is_none()
    }

    /// The total duration of past outages on the clock.
    pub(super) fn lost(&self) -> Duration {
        self.lost
    }
}
