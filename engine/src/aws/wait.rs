//! Waiting for AWS: one poller, one retry, one place that knows about Ctrl-C.
//!
//! A budget counts the time in which AWS could have been at work and we could have looked: neither what the machine
//! sleeps through nor a network that is gone for a while ends a wait.
//!
//! **Invariant:** no kind sleeps, and no HTTP call in flight is ever dropped: an interrupt ends the pause between two.

mod clock;

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::Aws;
use super::error::{AwsError, Class};
use clock::{Clock, Outage};

/// What a verb needs beside its properties.
#[derive(Clone)]
pub struct Context {
    /// The clients.
    pub aws: Arc<Aws>,
    /// What the user allowed beyond the plan.
    pub consent: Consent,
    interrupt: watch::Receiver<bool>,
    steady: Steady,
    enduring: bool,
    report: Reporter,
    queues: Queues,
    open: Arc<Mutex<BTreeMap<u64, String>>>,
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
    /// Why that takes a while, to follow "since".
    pub since: &'static str,
    /// The AWS CLI's command that shows how far it is, with `{}` for the name; empty: there is no single one.
    pub look: &'static str,
    /// Whether the looks count against Lambda's rate limit.
    pub counted: bool,
    /// From the first look to the deadline.
    pub budget: Duration,
}

/// Between two looks, as long as AWS does not throttle and what is waited for is young.
const POLL: Duration = Duration::from_millis(250);
/// What lasts is looked at this many times until it has lasted as long again: a second more means nothing by then, and
/// the account's rate limit is everybody's.
const LOOKS: u32 = 80;
/// Between two looks while there is no network.
const POLL_IN_THE_DARK: Duration = Duration::from_secs(2);
/// Between two looks at most, however much it throttles.
const POLL_CEILING: Duration = Duration::from_secs(5);
/// How long IAM may take until everybody in AWS has heard of a role or its rights: seconds, with a tail of about a
/// minute. A role that is wrong for good answers with the very same text, so this is also how long that takes to tell.
const PROPAGATION: Duration = Duration::from_secs(90);
/// How long a call is tried that AWS throttles. Others in the account get their turns as well, so this has to be long.
const FAIR: Duration = Duration::from_secs(600);
const PLACE: &str = "a free place in AWS's rate limit";
const MANY: &str = "many calls are made in this account at the moment";
/// A call that has waited so long for its place is worth a word.
const NEWS: Duration = Duration::from_secs(3);
const READ: Wait = Wait { what: "AWS to answer", since: "", look: "", counted: true, budget: Duration::from_secs(60) };
/// Why what is right for everybody who looks may still be refused.
pub(super) const SPREADING: &str = "IAM takes up to a minute or so to let all of AWS know of a role and its rights";
/// How long AWS may be out of reach in the middle of a run: for a train's tunnel, or the way to the next room.
const OUT_OF_REACH: Duration = Duration::from_secs(600);
const TURN: &str = "its turn, since what writes to one function goes one after another";
const NETWORK: &str = "the network to come back (AWS gives no answer)";
/// How often a create that AWS failed at, or gave no readable answer to, is sent again: its 5xx can be repeatable.
const FAULTS_OF_A_CREATE: u32 = 3;
/// How often everything else is: the SDK has tried a few times already.
const FAULTS: u32 = 1;

impl Context {
    /// A context whose waits end when `interrupt` turns true.
    pub fn new(aws: Arc<Aws>, consent: Consent, interrupt: watch::Receiver<bool>) -> Context {
        let (report, queues): (Reporter, _) = (Arc::new(|_| {}), Queues::default());
        let open = Arc::default();
        Context { aws, consent, interrupt, steady: Steady::Never, enduring: false, report, queues, open }
    }

    /// The same for a run that has reached AWS before: from now on a network that is gone is waited for. Until then it
    /// is more likely that the endpoint is wrong, which nobody should have to wait for.
    #[must_use]
    pub fn enduring(&self) -> Context {
        Context { enduring: true, ..self.clone() }
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
        if let Ok(turn) = Arc::clone(&queue).try_lock_owned() {
            return turn;
        }
        let _pause = self.aws.recorder.pause(TURN);
        (self.report)(TURN);
        queue.lock_owned().await
    }

    /// Looks until `probe` answers `Some`: at once, then every 250 ms while the rate budget has room to spare, and less
    /// often what takes long.
    ///
    /// # Errors
    /// What `probe` fails with, unless that passes (throttling, no answer, a server fault); `Overdue` at the
    /// deadline; `Interrupted`.
    pub async fn until<T, F>(&self, wait: Wait, resource: &str, mut probe: impl FnMut() -> F) -> Result<T, AwsError>
    where
        F: Future<Output = Result<Option<T>, AwsError>>,
    {
        let _open = self.open(format!("{} ({resource})", wait.what));
        let (mut clock, mut outage) = (Clock::start(), Outage::default());
        let mut pace = POLL;
        let mut trouble = String::new();
        let mut next = Instant::now();
        loop {
            let mut what = since(wait.what, wait.since);
            match clock.during(self.attend(Box::pin(probe()))).await.map_err(|error| self.masked(error)) {
                Ok(Some(done)) => return Ok(done),
                Err(error) if error.class == Class::NoAnswer => {
                    outage.goes_on(&clock, OUT_OF_REACH, error)?;
                    NETWORK.clone_into(&mut what);
                }
                look => {
                    outage.ends(&clock);
                    match look {
                        Err(error) if error.class == Class::Throttled => pace = (pace * 2).min(POLL_CEILING),
                        Err(error) if error.is_ambiguous() => {
                            trouble = format!("; the last look failed: {}", error.message);
                        }
                        Err(error) => return Err(error),
                        Ok(_) => trouble.clear(),
                    }
                }
            }
            // The SDK may have tried again and met throttles of which only the budget has heard.
            let slower = if wait.counted { POLL.mul_f64(self.aws.budget.slowdown()) } else { POLL };
            // From look to look, not from answer to look: otherwise each round trip would be waited for twice.
            let pace = pace.max((clock.passed() / LOOKS).min(POLL_CEILING)).max(slower.min(POLL_CEILING));
            next = (next + if outage.is_over() { pace } else { POLL_IN_THE_DARK }).max(Instant::now());
            let left = wait.budget.saturating_sub(clock.passed() - outage.lost());
            if outage.is_over() && left.is_zero() {
                let message = format!("still waiting for {} after {} s{trouble}", wait.what, wait.budget.as_secs());
                let error = AwsError::own(Class::Overdue, "wait", resource, message);
                return Err(self.to_look_at(wait, resource, error));
            }
            if outage.is_over() {
                // The last look comes when time is up, not before.
                next = next.min(Instant::now() + left);
            }
            clock.during(self.pause(sleep_until(next), Steady::WhileWaiting, &what, resource)).await?;
            if wait.counted {
                let spare = self.aws.budget.spare();
                clock.during(self.pause(spare, Steady::WhileWaiting, &what, resource)).await?;
            }
        }
    }

    /// Sends a change that may be repeated, again and again while AWS says "not now", with growing jittered pauses.
    ///
    /// # Errors
    /// The last error of `call`; `Interrupted`.
    pub async fn send<T, F>(&self, wait: Wait, resource: &str, call: impl FnMut() -> F) -> Result<T, AwsError>
    where
        F: Future<Output = Result<T, AwsError>>,
    {
        self.repeat(wait, FAULTS, resource, call).await
    }

    async fn repeat<T, F>(
        &self,
        wait: Wait,
        max_faults: u32,
        resource: &str,
        mut call: impl FnMut() -> F,
    ) -> Result<T, AwsError>
    where
        F: Future<Output = Result<T, AwsError>>,
    {
        let (mut clock, mut outage) = (Clock::start(), Outage::default());
        let mut faults = 0;
        let mut spreading = None;
        let mut pauses = ExponentialBuilder::new()
            .with_min_delay(POLL)
            .with_max_delay(POLL_CEILING)
            .with_jitter()
            .without_max_times()
            .build();
        loop {
            let error = match clock.during(self.attend(Box::pin(call()))).await {
                Err(error) => self.masked(error),
                done => return done,
            };
            let is_out_of_reach = error.class == Class::NoAnswer && self.enduring;
            if !is_out_of_reach {
                outage.ends(&clock);
            }
            let spent = clock.passed() - outage.lost();
            let reason = error.reason.as_deref();
            let (what, deadline) = match error.class {
                Class::Busy | Class::Leaving => (since(wait.what, &said(&error)), wait.budget),
                Class::StreamUnknown => (since("Lambda to know the stream", &said(&error)), wait.budget),
                Class::Throttled => (since(PLACE, MANY), wait.budget.max(FAIR)),
                // What was waited for before does not count against IAM.
                Class::RoleNotAssumable
                | Class::StreamNotReadable
                | Class::RoleLacksRight
                | Class::KeyNotUsable
                | Class::PrincipalUnknown => {
                    let what = match error.class {
                        Class::RoleNotAssumable => "Lambda to be able to assume the role",
                        Class::StreamNotReadable => "the role to be able to read the stream",
                        Class::KeyNotUsable => "Lambda to be able to use the key",
                        Class::PrincipalUnknown => "AWS to know the principal",
                        _ => "the role to have the rights that it needs",
                    };
                    (since(what, reason.unwrap_or(SPREADING)), *spreading.get_or_insert(spent) + PROPAGATION)
                }
                Class::ServerFault | Class::Garbled if faults < max_faults => {
                    faults += 1;
                    (since("AWS to answer", &said(&error)), wait.budget)
                }
                Class::NoAnswer if self.enduring => (NETWORK.to_owned(), Duration::MAX),
                _ => return Err(error),
            };
            let next = Instant::now() + pauses.next().unwrap_or(POLL_CEILING);
            if is_out_of_reach {
                outage.goes_on(&clock, OUT_OF_REACH, error)?;
            } else if spent + (next - Instant::now()) >= deadline {
                return Err(match error.class {
                    Class::Busy | Class::Leaving => self.to_look_at(wait, resource, error),
                    _ => error,
                });
            }
            clock.during(self.pause(sleep_until(next), Steady::Always, &what, resource)).await?;
        }
    }

    /// Sends a change of what was read before. Once AWS was busy with something else, or its answer got lost, `again`
    /// decides before it is sent again: what somebody else has changed meanwhile must not be overwritten unseen, and
    /// what the lost call has done is done. It says so with a value, and "not yet" as an error of the class `Busy`.
    ///
    /// # Errors
    /// As [`Context::send`]; what `again` fails with.
    pub async fn change<T, C, P>(
        &self,
        wait: Wait,
        resource: &str,
        call: impl Fn() -> C,
        again: impl Fn() -> P,
    ) -> Result<T, AwsError>
    where
        C: Future<Output = Result<T, AwsError>>,
        P: Future<Output = Result<Option<T>, AwsError>>,
    {
        let doubt = AtomicBool::new(false);
        let attempt = || async {
            if doubt.load(Ordering::Relaxed)
                && let Some(done) = again().await?
            {
                return Ok(done);
            }
            let answer = call().await;
            let is_doubtful = |error: &AwsError| error.is_ambiguous() || error.class == Class::Busy;
            doubt.store(answer.as_ref().is_err_and(is_doubtful), Ordering::Relaxed);
            answer
        };
        self.send(wait, resource, attempt).await
    }

    /// Sends a read, again while AWS throttles it, and in an enduring context while there is no answer. Everything else
    /// it fails with is somebody else's to judge, but says no secret that is known by then.
    ///
    /// # Errors
    /// The last error of `call`; `Interrupted`.
    pub async fn read<T, F>(&self, resource: &str, mut call: impl FnMut() -> F) -> Result<T, AwsError>
    where
        F: Future<Output = Result<T, AwsError>>,
    {
        let about = if resource.is_empty() { String::new() } else { format!(" about {resource}") };
        let _open = self.open(format!("{ANSWER}{about}"));
        let attempt = || {
            let read = call();
            // Only what passes comes out as an error that `send` would repeat.
            async {
                match read.await {
                    Err(error) if error.class == Class::Throttled || (self.enduring && error.is_ambiguous()) => {
                        Err(error)
                    }
                    read => Ok(read),
                }
            }
        };
        self.send(READ, resource, attempt).await.and_then(|read| read).map_err(|error| self.masked(error))
    }

    /// Sends a create, which AWS does not promise to be idempotent: when the answer got lost or the name is taken,
    /// `find` looks for what it may have made before it is sent again, however long that look takes to succeed.
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
        // What a create failed with after which nobody could look yet.
        let doubt: Mutex<Option<AwsError>> = Mutex::new(None);
        let doubt = || doubt.lock().unwrap_or_else(PoisonError::into_inner);
        let attempt = || async {
            let before = doubt().take();
            let error = match before {
                Some(error) => error,
                None => match send().await {
                    Err(error) if error.is_ambiguous() || error.class == Class::Exists => error,
                    done => return done,
                },
            };
            match find().await {
                Ok(Some(made)) => {
                    self.aws.guard.observe_ours(resource);
                    Ok(made)
                }
                // Taken, and nothing there: the last one of that name is not quite gone yet.
                Ok(None) if error.class == Class::Exists => Err(AwsError { class: Class::Leaving, ..error }),
                Ok(None) => Err(error),
                // Something is there, and it is not what may have been made.
                Err(verdict) if verdict.class == Class::Leaving => Err(verdict),
                Err(trouble) => {
                    *doubt() = Some(error);
                    Err(trouble)
                }
            }
        };
        self.repeat(wait, FAULTS_OF_A_CREATE, resource, attempt).await
    }

    /// A pause between two looks, for whoever looks by himself; Ctrl-C ends it, unless this context is steady.
    ///
    /// # Errors
    /// `Interrupted`.
    pub async fn rest(&self, pause: Duration, what: &str, resource: &str) -> Result<(), AwsError> {
        self.pause(sleep(pause), Steady::WhileWaiting, what, resource).await
    }

    /// What is read and waited for at the moment, each in words to follow "waiting for".
    pub fn waits(&self) -> Vec<String> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut waits: Vec<String> = open.values().cloned().collect();
        waits.sort_unstable();
        waits.dedup();
        waits
    }

    fn open(&self, what: String) -> Open {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let key = open.last_key_value().map_or(0, |(key, _)| key + 1);
        open.insert(key, what);
        Open { key, all: Arc::clone(&self.open) }
    }

    /// The error of a wait that has come to its end, with what shows how far AWS is.
    fn to_look_at(&self, wait: Wait, resource: &str, error: AwsError) -> AwsError {
        if wait.look.is_empty() || error.remedy.is_some() {
            return error;
        }
        let look = wait.look.replace("{}", resource);
        let remedy = format!(
            "`{look} --region {}` shows how far AWS is; run the same command again, and it goes on waiting",
            self.aws.region
        );
        AwsError { remedy: Some(remedy.into()), ..error }
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
        let mask = |text: Box<str>| self.aws.secrets.mask(&text).into();
        AwsError { message: mask(error.message), reason: error.reason.map(mask), ..error }
    }

    /// Sees a call through, and says so where it has to wait for its place in a rate limit. Ctrl-C ends that wait. The
    /// SDK's futures are large, so they come boxed: each layer around them would copy them once more.
    async fn attend<F: Future>(&self, call: F) -> F::Output {
        let budget = &self.aws.budget;
        let mut call = pin!(call);
        // What is sent after Ctrl-C has to be sent.
        let mut ended = self.interrupted();
        loop {
            tokio::select! {
                biased;
                done = &mut call => return done,
                () = self.interrupt(), if !ended => {
                    ended = true;
                    budget.end_waits();
                }
                () = sleep(NEWS), if budget.is_limited() => {
                    if budget.is_crowded(NEWS) {
                        (self.report)(&since(PLACE, MANY));
                    }
                }
            }
        }
    }

    /// Pauses until `over`, saying for what now and then; Ctrl-C ends it, unless this context is as steady as `steady`.
    async fn pause(
        &self,
        over: impl Future<Output = ()>,
        steady: Steady,
        what: &str,
        resource: &str,
    ) -> Result<(), AwsError> {
        let _pause = self.aws.recorder.pause(what);
        let mut over = pin!(over);
        loop {
            (self.report)(what);
            tokio::select! {
                biased;
                () = self.interrupt(), if self.steady < steady => {
                    return Err(given_up(what, resource));
                }
                () = &mut over => return Ok(()),
                () = sleep(NEWS) => {}
            }
        }
    }
}

/// Something that is waited for, as long as it lives.
struct Open {
    key: u64,
    all: Arc<Mutex<BTreeMap<u64, String>>>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

/// What a read waits for; behind it may stand what it is about.
pub const ANSWER: &str = "an answer of AWS";

/// Stands between what is waited for and why.
pub const BECAUSE: &str = ", since ";

/// That somebody has ended a wait.
fn given_up(what: &str, resource: &str) -> AwsError {
    let rest = if what.starts_with(PLACE) { "" } else { "; AWS goes on working on it" };
    AwsError::own(Class::Interrupted, "wait", resource, format!("interrupted while waiting for {what}{rest}"))
}

fn since(what: &str, why: &str) -> String {
    if why.is_empty() { what.to_owned() } else { format!("{what}{BECAUSE}{why}") }
}

/// Why a call was refused for the moment, to follow "since".
fn said(error: &AwsError) -> String {
    let text = error.message.trim_end_matches('.');
    if error.code.is_some() { format!("AWS says: {text}") } else { text.to_owned() }
}
