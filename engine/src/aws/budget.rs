//! The rate limits that all calls of a run share, so that many resources at once don't throttle each other.
//!
//! **Invariant:** it delays, it never refuses; and a poll never takes what a write could use.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until};

use super::guard::{Effect, Request};

/// Lambda takes 15 control-plane calls a second for each account and region, all operations together except reads of a
/// function or its policy (docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html). We stay below.
const LAMBDA_INTERVAL: Duration = Duration::from_millis(100);
/// Calls that may leave at once after a quiet second.
const LAMBDA_BURST: u32 = 10;
/// Calls of the burst that polls leave to everybody else.
const LAMBDA_RESERVE: u32 = 4;
/// Of ten parallel table changes DynamoDB throttles some; four pass.
const TABLE_WRITES_AT_ONCE: usize = 4;

/// The rate limits of one run.
#[derive(Debug)]
pub struct Budget {
    /// When the next Lambda call would leave if there were no bursts (the theoretical arrival time of the generic cell
    /// rate algorithm); `None`: no limit.
    lambda: Option<Mutex<Instant>>,
    table_writes: Semaphore,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { lambda: Some(Mutex::new(Instant::now())), table_writes: Semaphore::new(TABLE_WRITES_AT_ONCE) }
    }
}

impl Budget {
    /// No limits: a local AWS has none.
    pub fn unlimited() -> Budget {
        Budget { lambda: None, table_writes: Semaphore::new(Semaphore::MAX_PERMITS) }
    }

    /// Waits until a request may leave; a table write holds its place until the answer is dropped.
    pub(super) async fn admit(&self, request: &Request) -> Option<SemaphorePermit<'_>> {
        let exempt = matches!(request.operation.as_str(), "GetFunction" | "GetPolicy");
        match request.service {
            "lambda" if !exempt => {
                if let Some(arrival) = &self.lambda {
                    let leave = {
                        let mut arrival = arrival.lock().unwrap_or_else(PoisonError::into_inner);
                        let now = (*arrival).max(Instant::now());
                        *arrival = now + LAMBDA_INTERVAL;
                        now - LAMBDA_INTERVAL * (LAMBDA_BURST - 1)
                    };
                    sleep_until(leave).await;
                }
                None
            }
            // The semaphore is never closed, so there is always a permit in the end.
            "dynamodb" if request.effect != Effect::Read => self.table_writes.acquire().await.ok(),
            _ => None,
        }
    }

    /// Waits until a poll would leave the reserve untouched, also by those that come meanwhile.
    pub(super) async fn spare(&self) {
        let Some(arrival) = &self.lambda else { return };
        loop {
            let arrival = *arrival.lock().unwrap_or_else(PoisonError::into_inner);
            let leave = arrival - LAMBDA_INTERVAL * (LAMBDA_BURST - 1 - LAMBDA_RESERVE);
            if leave <= Instant::now() {
                return;
            }
            sleep_until(leave).await;
        }
    }
}
