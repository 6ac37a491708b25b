//! Measures the time that counts for a wait: the time while this process is awake and AWS can be reached.
//!
//! **Invariant:** it only measures; the one thing it decides is whether the process was suspended.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::error::{AwsError, Class};

/// The interval at which the clock is checked.
const TICK: Duration = Duration::from_secs(5);
/// The maximum gap between two ticks on a busy machine. After a longer gap, the process was suspended: the laptop was
/// closed, the virtual machine paused or the process stopped.
const AWAKE: Duration = Duration::from_secs(20);

/// Counts the time while the process isn't suspended.
#[derive(Debug)]
pub(super) struct Clock {
    last: Instant,
    passed: Duration,
}

impl Clock {
    pub(super) fn start() -> Clock {
        Clock { last: Instant::now(), passed: Duration::ZERO }
    }

    /// The time so far.
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
        Err(AwsError { class: Class::OutOfReach, message: message.into(), ..error })
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
