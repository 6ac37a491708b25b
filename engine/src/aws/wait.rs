//! Waiting for AWS: one poller, one retry, one place that knows about Ctrl-C.
//!
//! **Invariant:** no kind sleeps, and no HTTP call in flight is ever dropped: an interrupt ends the pause between two.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, watch};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::Aws;
use super::error::{AwsError, Class};

/// What a verb needs beside its properties.
#[derive(Clone)]
pub struct Context {
    /// The clients.
    pub aws: Arc<Aws>,
    /// What the user allowed beyond the plan.
    pub consent: Consent,
    interrupt: watch::Receiver<bool>,
    steady: Steady,
    report: Reporter,
    queues: Queues,
}

/// Hears what a step is waiting for, in words to follow "waiting for".
pub type Reporter = Arc<dyn Fn(&str) + Send + Sync>;

/// One queue for each function: its writes go one after another.
type Queues = Arc<Mutex<HashMap<String, Arc<AsyncMutex<()>>>>>;

/// What the user allowed beyond the plan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Consent {
    /// Items of a table may be lost (`--delete-data`).
    pub delete_data: bool,
    /// What bears the right name is ours, where its tags may not be read (`--assume-owner`).
    pub assume_owner: bool,
}

/// Which pauses Ctrl-C does not end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Steady {
    /// None.
    Never,
    /// Those of waits for what AWS has begun.
    WhileWaiting,
    /// Also those before a call is sent again.
    Always,
}

/// A wait: for what, how often to look, and when to give up.
#[derive(Debug, Clone, Copy)]
pub struct Wait {
    /// What is waited for, to follow "waiting for".
    pub what: &'static str,
    /// Whether the looks count against Lambda's rate limit.
    pub counted: bool,
    /// From the first look to the deadline.
    pub budget: Duration,
}

/// Between two looks, as long as AWS does not throttle.
const POLL: Duration = Duration::from_millis(250);
/// Between two looks at most, however much it throttles.
const POLL_CEILING: Duration = Duration::from_secs(5);
/// How long IAM may take until everybody in AWS has heard of a role or its rights: seconds, with a tail of about a
/// minute. A role that is wrong for good answers with the very same text, so this is also how long that takes to tell.
const PROPAGATION: Duration = Duration::from_secs(90);
const READ: Wait = Wait { what: "AWS to answer", counted: true, budget: Duration::from_secs(60) };
/// How often a call without a usable answer is sent again: AWS's 5xx can be repeatable.
const FAULTS: u32 = 3;

impl Context {
    /// A context whose waits end when `interrupt` turns true.
    pub fn new(aws: Arc<Aws>, consent: Consent, interrupt: watch::Receiver<bool>) -> Context {
        Context { aws, consent, interrupt, steady: Steady::Never, report: Arc::new(|_| {}), queues: Queues::default() }
    }

    /// The same, telling `report` what is waited for.
    #[must_use]
    pub fn reporting(&self, report: Reporter) -> Context {
        Context { report, ..self.clone() }
    }

    /// The same, with pauses that go on in spite of Ctrl-C: for what must not stay half done.
    #[must_use]
    pub fn steady(&self, steady: Steady) -> Context {
        Context { steady, ..self.clone() }
    }

    /// Waits for the turn of a write to function `name`; the turn ends when the guard is dropped.
    pub async fn turn(&self, name: &str) -> OwnedMutexGuard<()> {
        let queue = {
            let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
            queues.entry(name.to_owned()).or_default().clone()
        };
        queue.lock_owned().await
    }

    /// Looks until `probe` answers `Some`: at once, then every 250 ms while the rate budget has room to spare.
    ///
    /// # Errors
    /// What `probe` fails with, unless that passes (throttling, no answer, a server fault); `Overdue` at the
    /// deadline; `Interrupted`.
    pub async fn until<T, F>(&self, wait: Wait, resource: &str, mut probe: impl FnMut() -> F) -> Result<T, AwsError>
    where
        F: Future<Output = Result<Option<T>, AwsError>>,
    {
        let deadline = Instant::now() + wait.budget;
        let mut pace = POLL;
        let mut trouble = String::new();
        let mut next = Instant::now();
        loop {
            match probe().await {
                Ok(Some(done)) => return Ok(done),
                Ok(None) => (),
                Err(error) if error.class == Class::Throttled => pace = (pace * 2).min(POLL_CEILING),
                Err(error) if error.is_ambiguous() => {
                    trouble = format!("; the last look failed: {}", self.masked(error).message);
                }
                Err(error) => return Err(self.masked(error)),
            }
            // From look to look, not from answer to look: otherwise each round trip would be waited for twice.
            next = (next + pace).max(Instant::now());
            if next >= deadline {
                let message = format!("still waiting for {} after {} s{trouble}", wait.what, wait.budget.as_secs());
                return Err(AwsError::own(Class::Overdue, "wait", resource, message));
            }
            (self.report)(wait.what);
            self.pause_until(next, Steady::WhileWaiting, wait.what, resource).await?;
            if wait.counted {
                self.aws.budget.spare().await;
            }
        }
    }

    /// Sends a change that may be repeated, again and again while AWS says "not now", with growing jittered pauses.
    ///
    /// # Errors
    /// The last error of `call`; `Interrupted`.
    pub async fn send<T, F>(&self, wait: Wait, resource: &str, mut call: impl FnMut() -> F) -> Result<T, AwsError>
    where
        F: Future<Output = Result<T, AwsError>>,
    {
        let start = Instant::now();
        let mut faults = 0;
        let mut pauses = ExponentialBuilder::new()
            .with_min_delay(POLL)
            .with_max_delay(POLL_CEILING)
            .with_jitter()
            .without_max_times()
            .build();
        loop {
            let error = match call().await {
                Err(error) => error,
                done => return done,
            };
            let (what, budget) = match error.class {
                Class::Busy | Class::Leaving => (wait.what, wait.budget),
                Class::Throttled => ("a free place in AWS's rate limit", wait.budget),
                Class::RoleNotAssumable => ("Lambda to be able to assume the role", PROPAGATION),
                Class::StreamNotReadable => ("the role to be able to read the stream", PROPAGATION),
                Class::RoleLacksRight => ("the role to have the rights that it needs", PROPAGATION),
                // The SDK has tried a few times already, but not for a create, which it may send only once.
                Class::NoAnswer | Class::ServerFault if faults < FAULTS => {
                    faults += 1;
                    ("AWS to answer", wait.budget)
                }
                _ => return Err(error),
            };
            let next = Instant::now() + pauses.next().unwrap_or(POLL_CEILING);
            if next >= start + budget {
                return Err(error);
            }
            (self.report)(what);
            self.pause_until(next, Steady::Always, what, resource).await?;
        }
    }

    /// Sends a read, again while AWS throttles it. Everything else it fails with is somebody else's to judge, but says no
    /// secret that is known by then.
    ///
    /// # Errors
    /// The last error of `call`; `Interrupted`.
    pub async fn read<T, F>(&self, resource: &str, mut call: impl FnMut() -> F) -> Result<T, AwsError>
    where
        F: Future<Output = Result<T, AwsError>>,
    {
        let attempt = || {
            let read = call();
            // Only throttling comes out as an error that `send` would repeat.
            async {
                match read.await {
                    Err(error) if error.class != Class::Throttled => Ok(Err(error)),
                    Err(error) => Err(error),
                    Ok(read) => Ok(Ok(read)),
                }
            }
        };
        self.send(READ, resource, attempt).await.and_then(|read| read).map_err(|error| self.masked(error))
    }

    /// Sends a create, which AWS does not promise to be idempotent: when the answer got lost or the name is taken,
    /// `find` looks for what it may have made before it is sent again.
    ///
    /// # Errors
    /// As [`Context::send`]; what `find` fails with.
    pub async fn create<T, C, P>(
        &self,
        wait: Wait,
        resource: &str,
        send: impl Fn() -> C,
        find: impl Fn() -> P,
    ) -> Result<T, AwsError>
    where
        C: Future<Output = Result<T, AwsError>>,
        P: Future<Output = Result<Option<T>, AwsError>>,
    {
        let attempt = || async {
            match send().await {
                Err(error) if error.is_ambiguous() => find().await?.ok_or(error),
                // Taken, and nothing there: the last one of that name is not quite gone yet.
                Err(error) if error.class == Class::Exists => {
                    let found = find().await?.ok_or(AwsError { class: Class::Leaving, ..error })?;
                    self.aws.guard.observe_ours(resource);
                    Ok(found)
                }
                done => done,
            }
        };
        self.send(wait, resource, attempt).await
    }

    /// Whether Ctrl-C was pressed.
    pub fn interrupted(&self) -> bool {
        *self.interrupt.borrow()
    }

    /// Ends when Ctrl-C is pressed.
    pub async fn interrupt(&self) {
        let mut interrupt = self.interrupt.clone();
        // An error here means that nobody can press it any more.
        if interrupt.wait_for(|pressed| *pressed).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The error without what must not be said.
    pub fn masked(&self, error: AwsError) -> AwsError {
        AwsError { message: self.aws.secrets.mask(&error.message).into(), ..error }
    }

    /// Pauses; Ctrl-C ends it, unless this context is as steady as `steady`.
    async fn pause_until(&self, moment: Instant, steady: Steady, what: &str, resource: &str) -> Result<(), AwsError> {
        if self.steady >= steady {
            sleep_until(moment).await;
            return Ok(());
        }
        match timeout_at(moment, self.interrupt()).await {
            Err(_) => Ok(()),
            Ok(()) => {
                let message = format!("interrupted while waiting for {what}; AWS goes on working on it");
                Err(AwsError::own(Class::Interrupted, "wait", resource, message))
            }
        }
    }
}
