//! Waiting for AWS: all polling, retrying and Ctrl-C handling.
//!
//! A wait's budget counts only the time in which AWS could be reached: neither suspending the
//! machine nor a network outage ends a wait.
//!
//! **Invariant:** no kind sleeps, and no HTTP call in flight is ever dropped: an interrupt ends the
//! pause between two.

mod clock;
pub mod limiter;

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, watch};
use tokio::time::{Instant, sleep, sleep_until};

use crate::cause::Code;
use crate::error::{Api, AwsError};
use crate::kind::Kinds;
use crate::mask::Secrets;
use crate::provider::{Account, Provider, Providers};
use crate::recorder::Recorder;
use clock::{Clock, Outage, Suspensions};
use limiter::{LimitId, RateLimits, WatchedCall};

/// What a kind's operations need besides its properties.
#[derive(Clone)]
pub struct Context {
    /// The account that the run works in.
    pub account: Arc<dyn Account>,
    /// The rate limits that all calls share.
    pub limits: Arc<RateLimits>,
    /// Values that no text may show.
    pub secrets: Arc<Secrets>,
    /// Records calls and waits, if enabled.
    pub recorder: Arc<Recorder>,
    /// What the user allows in addition to the plan.
    pub overrides: Overrides,
    interrupt: watch::Receiver<bool>,
    interrupt_policy: InterruptPolicy,
    rides_out_outages: bool,
    /// How much reads have to show.
    pub detail: Detail,
    report: Reporter,
    on_accepted: OnAccepted,
    write_locks: WriteLocks,
    suspensions: Arc<Suspensions>,
    open: Arc<Mutex<BTreeMap<u64, String>>>,
    /// The resource types that the program knows.
    pub kinds: Kinds,
    providers: Providers,
}

/// The parts of a [`Context`] that belong to a connection.
pub struct ConnectionParts {
    /// See [`Context::account`].
    pub account: Arc<dyn Account>,
    /// See [`Context::limits`].
    pub limits: Arc<RateLimits>,
    /// See [`Context::secrets`].
    pub secrets: Arc<Secrets>,
    /// See [`Context::recorder`].
    pub recorder: Arc<Recorder>,
    /// See [`Context::kinds`].
    pub kinds: Kinds,
    /// The operations of each kind.
    pub providers: Providers,
}

/// Receives what a step waits for from now on, worded to follow "waiting for"; `None` when that
/// wait has ended.
pub type Reporter = Arc<dyn Fn(Option<&str>) + Send + Sync>;

/// Is called when AWS has accepted the write of a step, which only waits from then on.
pub type OnAccepted = Arc<dyn Fn() + Send + Sync>;

/// One lock per function: its writes run one at a time.
type WriteLocks = Arc<Mutex<HashMap<String, Arc<AsyncMutex<()>>>>>;

/// What the user allows in addition to the plan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Tables and queues can be deleted with their data (`--delete-data`).
    pub delete_data: bool,
    /// Assume ownership by name if tags can't be read (`--assume-owner`).
    pub assume_owner: bool,
}

/// How much a read has to show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Detail {
    /// Everything that a spec can set.
    #[default]
    Full,
    /// The same without what takes a separate call, unless engine has set it: for specs with many
    /// resources, whose calls would otherwise wait for AWS's rate limits.
    Lean,
    /// What decides whether and how to delete the resource; the rest is unknown if it takes a
    /// separate call.
    ForDelete,
    /// What references to an imported resource need, and what is verified on it.
    Imported,
}

/// Which pauses Ctrl-C doesn't end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum InterruptPolicy {
    /// None.
    EndPauses,
    /// Pauses while waiting for changes that AWS has begun.
    FinishWaits,
    /// Also pauses before a retry, and waits for a rate limit.
    FinishAll,
}

/// A wait: for what, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Wait {
    /// What to wait for, worded to follow "waiting for".
    pub what: &'static str,
    /// Why it takes a while, worded to follow "since".
    pub reason: &'static str,
    /// The AWS CLI command that shows the progress, with `{}` for the name and `{region}`; empty if
    /// there is no single one.
    pub inspect_cmd: &'static str,
    /// The rate limit that the polls share with other calls, if it matters.
    pub limit: Option<LimitId>,
    /// From the first poll to the deadline.
    pub budget: Duration,
}

/// The initial interval between two polls.
const POLL: Duration = Duration::from_millis(250);
/// The polling interval grows with the elapsed time, divided by this number: after a long wait a
/// second more doesn't matter, and all clients share the account's rate limit.
const POLLS: u32 = 80;
/// The polling interval while offline.
const POLL_WHILE_OFFLINE: Duration = Duration::from_secs(2);
/// The maximum polling interval.
const POLL_CEILING: Duration = Duration::from_secs(5);
/// How long IAM changes may take to propagate: seconds, with a tail of about a minute. A role that
/// is permanently wrong returns the same error, so it takes this long to detect, too.
const PROPAGATION: Duration = Duration::from_secs(60);
/// How long a change usually takes to propagate: the time in which the next attempt follows soon.
const USUAL_PROPAGATION: Duration = Duration::from_secs(15);
/// How long a throttled call is retried. It is long, because all clients of the account share the
/// limit.
const FAIR: Duration = Duration::from_secs(600);
const RATE_LIMIT: &str = "AWS's rate limit";
const MANY: &str = "many calls are being made in this account";
/// What a call in flight waits for.
pub const RESPONSE: &str = "AWS to respond";
const READ: Wait = Wait { what: RESPONSE, reason: "", inspect_cmd: "", limit: None, budget: Duration::from_secs(60) };
/// Why a role that looks right may still be refused.
pub const SPREADING: &str = "changes to roles and permissions can take about a minute to propagate in IAM";
/// How long a network outage in the middle of a run may last, for example in a train.
const OUT_OF_REACH: Duration = Duration::from_secs(600);
const WRITE_LOCK: &str = "its turn, since writes to one function run one at a time";
const NETWORK: &str = "the network to come back (no response from AWS)";
/// How often a create is retried after a server error or an unreadable response: its 5xx may be
/// permanent.
const FAULTS_OF_A_CREATE: u32 = 3;
/// How often other calls are retried after that: the SDK has already retried them a few times.
const FAULTS: u32 = 1;

impl Context {
    /// A context whose waits end when `interrupt` becomes true.
    pub fn new(connected: ConnectionParts, overrides: Overrides, interrupt: watch::Receiver<bool>) -> Context {
        let ConnectionParts { account, limits, secrets, recorder, kinds, providers } = connected;
        let (report, on_accepted): (Reporter, OnAccepted) = (Arc::new(|_| {}), Arc::new(|| {}));
        Context {
            account,
            limits,
            secrets,
            recorder,
            overrides,
            interrupt,
            interrupt_policy: InterruptPolicy::EndPauses,
            rides_out_outages: false,
            detail: Detail::Full,
            report,
            on_accepted,
            write_locks: WriteLocks::default(),
            suspensions: Arc::new(Suspensions::new()),
            open: Arc::default(),
            kinds,
            providers,
        }
    }

    /// The operations of a kind.
    ///
    /// # Errors
    /// A defect: the kind has a definition and no operations.
    pub fn provider(&self, kind: &str) -> Result<&Arc<dyn Provider>, AwsError> {
        let missing = || AwsError::defect(format!("the kind `{kind}` has no operations"));
        self.providers.get(kind).ok_or_else(missing)
    }

    /// The same for a run that has already reached AWS: from now on it waits out network outages.
    /// Before that, a wrong endpoint is more likely, and waiting doesn't help.
    #[must_use]
    pub fn riding_out_outages(&self) -> Context {
        Context { rides_out_outages: true, ..self.clone() }
    }

    /// The same, with reads that show no more than that.
    #[must_use]
    pub fn with_detail(&self, detail: Detail) -> Context {
        Context { detail, ..self.clone() }
    }

    /// The same, reporting waits to `report`.
    #[must_use]
    pub fn reporting(&self, report: Reporter) -> Context {
        Context { report, ..self.clone() }
    }

    /// The same, calling `on_accepted` when AWS has accepted a delete.
    #[must_use]
    pub fn accepting(&self, on_accepted: OnAccepted) -> Context {
        Context { on_accepted, ..self.clone() }
    }

    /// Notes that AWS has accepted a delete, and that the step only waits from now on.
    pub fn note_accepted(&self) {
        (self.on_accepted)();
    }

    /// The same, with pauses that continue in spite of Ctrl-C: for changes that must not remain
    /// half done.
    #[must_use]
    pub fn with_interrupt_policy(&self, interrupt_policy: InterruptPolicy) -> Context {
        Context { interrupt_policy, ..self.clone() }
    }

    /// The same with waits that end when this `interrupt` becomes true.
    #[must_use]
    pub fn interrupted_by(&self, interrupt: watch::Receiver<bool>) -> Context {
        Context { interrupt, ..self.clone() }
    }

    /// Waits for exclusive write access to the function `key`; it ends when the returned guard is
    /// dropped.
    pub async fn lock_writes(&self, key: &str) -> OwnedMutexGuard<()> {
        let lock_of_key = {
            let mut write_locks = self.write_locks.lock().unwrap_or_else(PoisonError::into_inner);
            write_locks.entry(key.to_owned()).or_default().clone()
        };
        if let Ok(lock) = Arc::clone(&lock_of_key).try_lock_owned() {
            return lock;
        }
        let _pause = self.recorder.pause(WRITE_LOCK);
        let _report = self.begin_report(WRITE_LOCK);
        lock_of_key.lock_owned().await
    }

    /// Polls until `probe` returns `Some`: immediately, then every 250 ms while the rate limit
    /// allows it, and less often the longer it takes.
    ///
    /// # Errors
    /// Errors of `probe` that are not transient (unlike throttling, no response or a server error);
    /// `WaitOverdue` at the deadline; `Interrupted`.
    pub async fn until<T, F>(&self, wait: Wait, resource: &str, mut probe: impl FnMut() -> F) -> Result<T, AwsError>
    where
        F: Future<Output = Result<Option<T>, AwsError>>,
    {
        let _open = self.open(format!("{} ({resource})", wait.what));
        let (clock, mut outage) = (Clock::start(&self.suspensions), Outage::default());
        let mut pace = POLL;
        let mut trouble = String::new();
        let mut next = Instant::now();
        loop {
            let mut what = since(wait.what, wait.reason);
            match clock.during(self.attend(Box::pin(probe()))).await.map_err(|error| self.masked(error)) {
                Ok(Some(done)) => return Ok(done),
                Err(error) if error.is(Code::NoAnswer) => {
                    outage.goes_on(&clock, OUT_OF_REACH, error)?;
                    NETWORK.clone_into(&mut what);
                }
                look => {
                    outage.ends(&clock);
                    match look {
                        Err(error) if error.is(Code::Throttled) => pace = (pace * 2).min(POLL_CEILING),
                        Err(error) if error.is_ambiguous() => {
                            trouble = format!("; the last read failed: {}", error.message);
                        }
                        Err(error) => return Err(error),
                        Ok(_) => trouble.clear(),
                    }
                }
            }
            // The SDK may have retried throttled calls that only the budget knows about.
            let slower = wait.limit.map_or(POLL, |limit| POLL.mul_f64(self.limits.slowdown(limit)));
            // Measured from poll to poll, not from response to poll, so that round trips don't add
            // up.
            let pace = pace.max((clock.passed() / POLLS).min(POLL_CEILING)).max(slower.min(POLL_CEILING));
            next = (next + if outage.is_over() { pace } else { POLL_WHILE_OFFLINE }).max(Instant::now());
            let left = wait.budget.saturating_sub(clock.passed() - outage.lost());
            if outage.is_over() && left.is_zero() {
                let message = format!("still waiting for {} after {} s{trouble}", wait.what, wait.budget.as_secs());
                let error = AwsError::own(Code::WaitOverdue, "wait", resource, message);
                return Err(self.with_inspect_cmd(wait, resource, error));
            }
            if outage.is_over() {
                // The last poll is at the deadline, not before.
                next = next.min(Instant::now() + left);
            }
            clock.during(self.pause(sleep_until(next), InterruptPolicy::FinishWaits, &what, resource)).await?;
            if let Some(limit) = wait.limit {
                let spare = self.limits.spare(limit);
                clock.during(self.pause(spare, InterruptPolicy::FinishWaits, &what, resource)).await?;
            }
        }
    }

    /// Sends an idempotent change, and retries it with jittered exponential backoff while the error
    /// is transient.
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
        let (clock, mut outage) = (Clock::start(&self.suspensions), Outage::default());
        let mut faults = 0;
        let mut spreading: Option<Duration> = None;
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
            let is_out_of_reach = error.is(Code::NoAnswer) && self.rides_out_outages;
            if !is_out_of_reach {
                outage.ends(&clock);
            }
            let spent = clock.passed() - outage.lost();
            let reason = error.reason.as_deref();
            let mut pause = None;
            let (what, deadline) = match error.cause {
                _ if error.is_final => return Err(error),
                Code::Busy | Code::BeingDeleted => (since(wait.what, &retry_reason(&error)), wait.budget),
                Code::StreamUnknown => (since("Lambda to recognize the stream", &retry_reason(&error)), wait.budget),
                Code::Throttled => (since(RATE_LIMIT, MANY), wait.budget.max(FAIR)),
                // Earlier waits don't count against the propagation time.
                cause if let Some(what) = propagating(cause) => {
                    let begun = *spreading.get_or_insert(spent);
                    pause = Some(propagation_pause(spent.saturating_sub(begun)));
                    (since(what, reason.unwrap_or(SPREADING)), begun + PROPAGATION)
                }
                Code::AwsFault | Code::NotAws if faults < max_faults => {
                    faults += 1;
                    (since(RESPONSE, &retry_reason(&error)), wait.budget)
                }
                Code::NoAnswer if self.rides_out_outages => (NETWORK.to_owned(), Duration::MAX),
                _ => return Err(error),
            };
            let next = Instant::now() + pause.or_else(|| pauses.next()).unwrap_or(POLL_CEILING);
            if is_out_of_reach {
                outage.goes_on(&clock, OUT_OF_REACH, error)?;
            } else if spent + (next - Instant::now()) >= deadline {
                let is_busy = error.is_any(&[Code::Busy, Code::BeingDeleted]);
                return Err(if is_busy { self.with_inspect_cmd(wait, resource, error) } else { error });
            }
            clock.during(self.pause(sleep_until(next), InterruptPolicy::FinishAll, &what, resource)).await?;
        }
    }

    /// Sends a change of a resource that was read before. If AWS was busy or the response was lost,
    /// `again` reads the resource before the retry, so that another client's change isn't
    /// overwritten and a lost call that succeeded isn't repeated. `again` returns a value if the
    /// change is done, and the error `Busy` for "not yet".
    ///
    /// # Errors
    /// Those of [`Context::send`] and of `again`.
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
            let is_doubtful = |error: &AwsError| error.is_ambiguous() || error.is(Code::Busy);
            doubt.store(answer.as_ref().is_err_and(is_doubtful), Ordering::Relaxed);
            answer
        };
        self.send(wait, resource, attempt).await
    }

    /// Sends a read, and retries it while AWS throttles it or, in a context that rides out outages,
    /// doesn't respond. Other errors are returned with all known secrets masked.
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
            // Only transient failures become errors, which `send` retries.
            async {
                match read.await {
                    Err(error) if error.is(Code::Throttled) || (self.rides_out_outages && error.is_ambiguous()) => {
                        Err(error)
                    }
                    read => Ok(read),
                }
            }
        };
        self.send(READ, resource, attempt).await.and_then(|read| read).map_err(|error| self.masked(error))
    }

    /// Sends a create, which isn't idempotent: if the response was lost or the name is taken,
    /// `find` must successfully look for the created resource before a retry.
    ///
    /// # Errors
    /// Those of [`Context::send`] and of `find`.
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
        // The error of a create after which `find` hasn't succeeded yet.
        let doubt: Mutex<Option<AwsError>> = Mutex::new(None);
        let doubt = || doubt.lock().unwrap_or_else(PoisonError::into_inner);
        let attempt = || async {
            let before = doubt().take();
            let error = match before {
                Some(error) => error,
                None => match send().await {
                    Err(error) if error.is_ambiguous() || error.is(Code::NameTaken) => error,
                    done => return done,
                },
            };
            match find().await {
                Ok(Some(made)) => {
                    self.account.observe_created(resource);
                    Ok(made)
                }
                // The name is taken but nothing exists: the previous resource is still being
                // deleted.
                Ok(None) if error.is(Code::NameTaken) => Err(AwsError { cause: Code::BeingDeleted, ..error }),
                Ok(None) => Err(error),
                // A resource exists, and this create didn't make it.
                Err(verdict) if verdict.is(Code::BeingDeleted) => Err(verdict),
                Err(trouble) => {
                    *doubt() = Some(error);
                    Err(trouble)
                }
            }
        };
        self.repeat(wait, FAULTS_OF_A_CREATE, resource, attempt).await
    }

    /// A pause between two polls of the caller; Ctrl-C ends it, unless the policy keeps it.
    ///
    /// # Errors
    /// `Interrupted`.
    pub async fn pause_between_polls(&self, pause: Duration, what: &str, resource: &str) -> Result<(), AwsError> {
        self.pause(sleep(pause), InterruptPolicy::FinishWaits, what, resource).await
    }

    /// Current reads and waits, each worded to follow "waiting for".
    pub fn waits(&self) -> Vec<String> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut waits: Vec<String> = open.values().cloned().collect();
        waits.sort_unstable();
        waits.dedup();
        waits
    }

    fn open(&self, what: String) -> OpenWait {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let key = open.last_key_value().map_or(0, |(key, _)| key + 1);
        open.insert(key, what);
        OpenWait { key, all: Arc::clone(&self.open) }
    }

    /// The error of a wait that timed out, with a command that shows AWS's progress.
    fn with_inspect_cmd(&self, wait: Wait, resource: &str, error: AwsError) -> AwsError {
        if wait.inspect_cmd.is_empty() || error.remedy.is_some() {
            return error;
        }
        let command = wait.inspect_cmd.replace("{region}", self.account.region()).replace("{}", resource);
        let remedy = format!("check the progress with `{command}`; run the same command again to continue waiting");
        AwsError { remedy: Some(remedy.into()), ..error }
    }

    /// Whether Ctrl-C was pressed.
    pub fn interrupted(&self) -> bool {
        *self.interrupt.borrow()
    }

    /// Completes when Ctrl-C is pressed.
    pub async fn interrupt(&self) {
        let mut interrupt = self.interrupt.clone();
        // An error means that the sender was dropped, so there won't be an interrupt.
        if interrupt.wait_for(|pressed| *pressed).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The error with secrets masked.
    pub fn masked(&self, error: AwsError) -> AwsError {
        let mask = |text: Box<str>| self.secrets.mask(&text).into();
        let api = error.api.map(|api| Box::new(Api { permission: mask(api.permission), on: mask(api.on), ..*api }));
        AwsError { message: mask(error.message), reason: error.reason.map(mask), api, ..error }
    }

    /// Awaits a call, and reports if it waits for a rate limit. Ctrl-C ends that wait. The SDK's
    /// futures are large, so they are boxed: otherwise each layer would copy them.
    async fn attend<F: Future>(&self, call: F) -> F::Output {
        let report = Arc::clone(&self.report);
        let rate_limit = || since(RATE_LIMIT, MANY);
        let watched = WatchedCall::new(move |waits| match waits {
            true => report(Some(&rate_limit())),
            false => report(Some(RESPONSE)),
        });
        let mut call = pin!(watched.watch(call));
        // Calls that start after Ctrl-C are necessary, so their waits continue.
        if !self.interrupted() && self.interrupt_policy < InterruptPolicy::FinishAll {
            tokio::select! {
                biased;
                done = &mut call => return done,
                () = self.interrupt() => watched.end_waits(),
            }
        }
        call.await
    }

    /// Pauses until `over`, reporting why; Ctrl-C ends it, unless the policy is at least `needed`.
    async fn pause(
        &self,
        over: impl Future<Output = ()>,
        needed: InterruptPolicy,
        what: &str,
        resource: &str,
    ) -> Result<(), AwsError> {
        let _pause = self.recorder.pause(what);
        let _report = self.begin_report(what);
        tokio::select! {
            biased;
            () = self.interrupt(), if self.interrupt_policy < needed => Err(given_up(what, resource)),
            () = over => Ok(()),
        }
    }

    fn begin_report(&self, what: &str) -> Reported {
        (self.report)(Some(what));
        Reported { report: Arc::clone(&self.report) }
    }
}

/// A reported wait; it ends when this is dropped.
struct Reported {
    report: Reporter,
}

impl Drop for Reported {
    fn drop(&mut self) {
        (self.report)(None);
    }
}

/// A current wait; it ends when this is dropped.
struct OpenWait {
    key: u64,
    all: Arc<Mutex<BTreeMap<u64, String>>>,
}

impl Drop for OpenWait {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

/// What a read waits for; the resource may follow.
pub const ANSWER: &str = "a response from AWS";

/// Separates what is waited for from the reason.
pub const BECAUSE: &str = ", since ";

/// The error of an interrupted wait.
fn given_up(what: &str, resource: &str) -> AwsError {
    let rest = if what.starts_with(RATE_LIMIT) { "" } else { "; AWS continues the change" };
    AwsError::own(Code::Interrupted, "wait", resource, format!("interrupted while waiting for {what}{rest}"))
}

fn since(what: &str, why: &str) -> String {
    if why.is_empty() { what.to_owned() } else { format!("{what}{BECAUSE}{why}") }
}

/// What has to propagate through AWS until the call succeeds; `None` for other errors.
fn propagating(cause: Code) -> Option<&'static str> {
    match cause {
        Code::RoleNotAssumable => Some("Lambda to be able to assume the role"),
        Code::StreamNotReadable => Some("the role to be able to read the stream"),
        Code::RoleLacksRight => Some("the role to get the permissions that it needs"),
        Code::KmsKeyNotUsable => Some("Lambda to be able to use the key"),
        Code::PrincipalUnknown => Some("AWS to recognize the principal"),
        _ => None,
    }
}

/// The pause before a call is repeated that needs a change to propagate, after this time.
fn propagation_pause(passed: Duration) -> Duration {
    let millis = if passed < USUAL_PROPAGATION { 250..400 } else { 1000..2000 };
    Duration::from_millis(fastrand::u64(millis))
}

/// Why a call is retried, worded to follow "since".
fn retry_reason(error: &AwsError) -> String {
    let text = error.message.trim_end_matches('.');
    if error.code.is_some() { format!("AWS reports: {text}") } else { text.to_owned() }
}
