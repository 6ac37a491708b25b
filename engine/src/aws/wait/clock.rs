//! Time as a budget counts it: what passes while this process is awake, and how much of that AWS was out of reach.
//!
//! **Invariant:** it measures, and decides nothing but what was sleep.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::aws::error::{AwsError, Class};

/// How often the clock is looked at while something goes on.
const TICK: Duration = Duration::from_secs(5);
/// What may pass between two ticks on a busy machine. A longer gap was seen by nobody: a laptop was shut, a virtual
/// machine paused, the process stopped.
const AWAKE: Duration = Duration::from_secs(20);

/// Counts the time that passes while somebody is awake.
#[derive(Debug)]
pub(super) struct Clock {
    last: Instant,
    passed: Duration,
}

impl Clock {
    pub(super) fn start() -> Clock {
        Clock { last: Instant::now(), passed: Duration::ZERO }
    }

    /// How much time has passed so far.
    pub(super) fn passed(&self) -> Duration {
        self.passed
    }

    /// Counts the time that `work` takes.
    pub(super) async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            let done = timeout_at(self.last + TICK, &mut work).await;
            self.tick();
            if let Ok(done) = done {
                return done;
            }
        }
    }

    fn tick(&mut self) {
        let now = Instant::now();
        let gap = now - self.last;
        if gap <= AWAKE {
            self.passed += gap;
        }
        self.last = now;
    }
}

/// Times in which AWS was out of reach, on one clock.
#[derive(Debug, Default)]
pub(super) struct Outage {
    since: Option<Duration>,
    lost: Duration,
}

impl Outage {
    /// It has begun, or goes on.
    ///
    /// # Errors
    /// `Overdue` once it has lasted `budget`; `error` is what the last call failed with.
    pub(super) fn goes_on(&mut self, clock: &Clock, budget: Duration, error: AwsError) -> Result<(), AwsError> {
        let since = *self.since.get_or_insert(clock.passed());
        if clock.passed() - since < budget {
            return Ok(());
        }
        let message = format!("for {} s AWS could not be reached: {}", budget.as_secs(), error.message);
        Err(AwsError { class: Class::OutOfReach, message: message.into(), ..error })
    }

    /// AWS has answered, whatever it said.
    pub(super) fn ends(&mut self, clock: &Clock) {
        if let Some(since) = self.since.take() {
            self.lost += clock.passed() - since;
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.since.is_none()
    }

    /// How much of the clock's time it took, once it is over.
    pub(super) fn lost(&self) -> Duration {
        self.lost
    }
}
