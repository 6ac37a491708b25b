//! Client-side rate limits: below AWS's limits, and lower while other clients use them up.
//!
//! All processes of an account share its limits, and none can see the others. So each starts with a
//! moderate rate and adapts: a throttled call lowers the limit's rate by a random factor, a
//! successful one raises it by a fixed amount (additive increase, multiplicative decrease, as in
//! TCP congestion control). Calls are sent in order of arrival; polls come last and leave part of
//! the burst to other calls.
//!
//! The SDK's `RetryMode::Adaptive` is not used: it starts only after the first throttled call,
//! treats all calls of a service alike (some are counted separately), has no order and no priority
//! for polls, and does nothing for creates, which are sent once. The standard mode retries
//! throttled calls as well, through the same rate limits.
//!
//! **Invariant:** it delays calls. It refuses only those that waited for [`PATIENCE`] or whose wait
//! was ended; a refused call was never sent. Taking a token wakes one waiting call, so the cost of
//! a queue grows linearly.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep, sleep_until};

/// The maximum time that a call waits for its rate limit. It is already signed, and a signature is
/// valid for five minutes (docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html).
pub const PATIENCE: Duration = Duration::from_secs(120);

/// How long a call waits for its rate limit before that is reported.
const NOTICE_DELAY: Duration = Duration::from_secs(3);

/// The maximum number of requests of one connection in flight, to real or local AWS. Each needs a
/// file descriptor, idle connections of each service keep theirs, and macOS allows 256 by default.
/// AWS's limits never fill it for long: 250 calls per second with 40 ms each are ten in flight.
pub const MAX_IN_FLIGHT: usize = 64;

/// How engine uses a rate limit of AWS, in calls per second.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// The name of the service, for messages.
    pub service: &'static str,
    /// The initial rate.
    pub start: f64,
    /// The maximum rate, after many successful calls.
    pub ceiling: f64,
    /// Calls that can be sent at once after an idle period.
    pub burst: f64,
    /// Calls of the burst that polls leave to other calls.
    pub reserve: f64,
    /// The maximum number of calls in flight; 0 for any number.
    pub in_flight: usize,
}

/// A limit, as its index in the list that the limits were created from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LimitId(pub usize);

/// The minimum rate, however often calls are throttled: one in four seconds. Sixty processes fill
/// Lambda's limit.
const FLOOR: f64 = 0.25;
/// What a successful call adds to the rate.
const RAISE: f64 = 0.05;
/// The same before the first throttled call: the account may have no other clients, and then the
/// rate is near the limit after two seconds (slow start, as in TCP).
const RAISE_AT_FIRST: f64 = 0.2;
/// The factor by which a throttled call lowers the rate; random, so that processes don't
/// synchronize.
const LOWER: Range<f64> = 0.4..0.7;
/// The delay after a throttled call, in intervals of the new rate; random for the same reason.
const THROTTLE_DELAY: Range<f64> = 0.5..1.5;
/// The period over which the actual rate is measured.
const WINDOW: Duration = Duration::from_secs(1);
/// The rate limits of one run: one queue for each limit that AWS counts separately.
#[derive(Debug)]
pub struct RateLimits {
    /// Empty: no limits.
    limiters: Vec<Limiter>,
    in_flight: Semaphore,
}

tokio::task_local! {
    /// The call that this task makes.
    static CALL: Arc<WatchedCall>;
}

/// A call, as the rate limits see it: it is notified about its own waits, and can end them.
pub(crate) struct WatchedCall {
    on_wait: Box<dyn Fn(bool) + Send + Sync>,
    ended: Notify,
}

impl WatchedCall {
    /// `on_wait` is called with `true` after a request of this call has waited for a while, and
    /// with `false` when that request is sent after all.
    pub(crate) fn new(on_wait: impl Fn(bool) + Send + Sync + 'static) -> Arc<WatchedCall> {
        Arc::new(WatchedCall { on_wait: Box::new(on_wait), ended: Notify::new() })
    }

    /// Makes the call.
    pub(crate) async fn watch<F: Future>(self: &Arc<Self>, call: F) -> F::Output {
        CALL.scope(Arc::clone(self), call).await
    }

    /// Ends the waits of requests that haven't been sent; later requests wait normally.
    pub(crate) fn end_waits(&self) {
        self.ended.notify_waiters();
    }
}

impl Limit {
    /// A fraction of the limit. The burst is at least one call, because otherwise none could be
    /// sent.
    fn part(self, share: f64) -> Limit {
        let burst = (self.burst * share).max(1.0);
        let reserve = (self.reserve * share).min(burst - 1.0);
        let (start, ceiling) = ((self.start * share).max(FLOOR), (self.ceiling * share).max(FLOOR));
        Limit { start, ceiling, burst, reserve, ..self }
    }
}

impl RateLimits {
    /// The limits of a list, or a fraction of them, from 0 to 1, for several processes in one
    /// account.
    pub fn new(limits: &[Limit], share: f64) -> RateLimits {
        let limits = limits.iter().map(|limit| if share < 1.0 { limit.part(share) } else { *limit });
        RateLimits { limiters: limits.map(Limiter::new).collect(), in_flight: Semaphore::new(MAX_IN_FLIGHT) }
    }

    /// No limits but [`MAX_IN_FLIGHT`].
    pub fn unlimited() -> RateLimits {
        RateLimits::new(&[], 1.0)
    }

    fn limiter(&self, LimitId(at): LimitId) -> Option<&Limiter> {
        self.limiters.get(at)
    }

    /// Waits until a request can be sent.
    ///
    /// # Errors
    /// `Crowded` if the rate limit stayed exhausted for [`PATIENCE`], or if the call's waits were
    /// ended.
    pub async fn admit(&self, limit: LimitId) -> Result<Permit<'_>, Crowded> {
        let limiter = self.limiter(limit);
        let slots = patiently(limiter.map_or("AWS", |it| it.limit.service), async {
            let slot = match limiter {
                Some(limiter) => limiter.pass().await,
                None => None,
            };
            // Last: a call that waits for its rate limit keeps no other from being sent. The
            // semaphore is never closed.
            (slot, self.in_flight.acquire().await.ok())
        });
        Ok(Permit { limiter, _slots: slots.await?, sent: Instant::now() })
    }

    /// Waits until a call can be sent, or for a poll, until it delays no other call, and reserves its
    /// token. Unlike [`RateLimits::spare`], it ends and reports its wait like [`RateLimits::admit`].
    ///
    /// # Errors
    /// As [`RateLimits::admit`].
    pub async fn reserve(&self, limit: LimitId, is_poll: bool) -> Result<(), Crowded> {
        let Some(limiter) = self.limiter(limit) else { return Ok(()) };
        let priority = if is_poll { Priority::Poll } else { Priority::Call };
        patiently(limiter.limit.service, limiter.enter(priority)).await?;
        limiter.state().promised += 1;
        Ok(())
    }

    /// Waits until a poll can be sent without delaying other calls, and reserves its token.
    pub(crate) async fn spare(&self, limit: LimitId) {
        if let Some(limiter) = self.limiter(limit) {
            limiter.enter(Priority::Poll).await;
            limiter.state().promised += 1;
        }
    }

    /// By which factor a limit's rate is below its initial value.
    pub(crate) fn slowdown(&self, limit: LimitId) -> f64 {
        self.limiter(limit).map_or(1.0, |limiter| limiter.state().bucket.slowdown())
    }
}

/// Waits for the slots of a call, and reports a long wait to it.
///
/// # Errors
/// See [`RateLimits::admit`].
async fn patiently<T>(service: &'static str, slots: impl Future<Output = T>) -> Result<T, Crowded> {
    let mut slot = pin!(slots);
    let call = CALL.try_with(Arc::clone).ok();
    let mut ended = pin!(async {
        match &call {
            Some(call) => call.ended.notified().await,
            None => std::future::pending().await,
        }
    });
    let crowded = Crowded { at: service };
    tokio::select! {
        biased;
        slot = &mut slot => return Ok(slot),
        () = &mut ended => return Err(crowded),
        () = sleep(NOTICE_DELAY) => {}
    }
    let report = |waits| call.iter().for_each(|call| (call.on_wait)(waits));
    report(true);
    tokio::select! {
        biased;
        slot = slot => {
            report(false);
            Ok(slot)
        }
        () = ended => Err(crowded),
        () = sleep(PATIENCE - NOTICE_DELAY) => Err(crowded),
    }
}

/// The permission to send a request, and its slots among those in flight: of its limit, and of all.
#[derive(Debug)]
pub struct Permit<'r> {
    limiter: Option<&'r Limiter>,
    sent: Instant,
    _slots: (Option<SemaphorePermit<'r>>, Option<SemaphorePermit<'r>>),
}

impl Permit<'_> {
    /// AWS accepted the call, whether or not it succeeded.
    pub fn accepted(self) {
        if let Some(limiter) = self.limiter {
            limiter.state().bucket.raise(self.sent);
        }
    }

    /// AWS throttled the call; `pause`: for how long it wants no calls.
    pub fn throttled(self, pause: Option<Duration>) {
        if let Some(limiter) = self.limiter {
            limiter.state().bucket.lower(self.sent, Instant::now(), pause);
        }
    }
}

/// The error of a request that wasn't sent: the rate limit was exhausted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crowded {
    at: &'static str,
}

impl Crowded {
    /// The message.
    pub fn wording(&self) -> String {
        format!("timed out waiting for the rate limit of {}, which the whole account shares", self.at)
    }
}

impl fmt::Display for Crowded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.wording())
    }
}

impl std::error::Error for Crowded {}

/// Calls that share a limit, in the order in which they are sent.
#[derive(Debug)]
struct Limiter {
    limit: Limit,
    slots: Option<Semaphore>,
    state: Mutex<LimiterState>,
}

#[derive(Debug)]
struct LimiterState {
    bucket: TokenBucket,
    /// Waiting calls, the next one first. Each is notified when it becomes the next one.
    waiting: BTreeMap<(Priority, u64), Arc<Notify>>,
    n_came: u64,
    /// Tokens reserved by polls that haven't been sent yet.
    promised: u32,
}

/// The priority of a call; lower values come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Priority {
    Call,
    Poll,
}

impl Limiter {
    fn new(limit: Limit) -> Limiter {
        let bucket = TokenBucket::new(limit);
        let state = LimiterState { bucket, waiting: BTreeMap::new(), n_came: 0, promised: 0 };
        let slots = (limit.in_flight > 0).then(|| Semaphore::new(limit.in_flight));
        Limiter { limit, slots, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, LimiterState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a slot and a token.
    async fn pass(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed, so acquiring can't fail.
        let slot = match &self.slots {
            Some(slots) => slots.acquire().await.ok(),
            None => None,
        };
        self.enter(Priority::Call).await;
        slot
    }

    /// Waits for a token and takes it.
    async fn enter(&self, priority: Priority) {
        let position = {
            let mut state = self.state();
            if priority == Priority::Call && state.promised > 0 {
                state.promised -= 1;
                return;
            }
            state.n_came += 1;
            let key = (priority, state.n_came);
            let is_next = Arc::new(Notify::new());
            state.waiting.insert(key, Arc::clone(&is_next));
            Position { limiter: self, key, is_next }
        };
        loop {
            match position.try_take() {
                Admission::Taken => return,
                Admission::At(ready_at) => sleep_until(ready_at).await,
                Admission::Behind => position.is_next.notified().await,
            }
        }
    }
}

/// A position in the queue, given up when dropped.
struct Position<'l> {
    limiter: &'l Limiter,
    key: (Priority, u64),
    is_next: Arc<Notify>,
}

enum Admission {
    Taken,
    /// First in the queue; a token may be available at that time.
    At(Instant),
    /// Other calls come first.
    Behind,
}

impl Position<'_> {
    fn try_take(&self) -> Admission {
        let mut state = self.limiter.state();
        if state.waiting.first_key_value().is_some_and(|(first, _)| *first != self.key) {
            return Admission::Behind;
        }
        let now = Instant::now();
        match state.bucket.take(now, self.key.0) {
            Ok(()) => Admission::Taken,
            Err(ready_at) => Admission::At(ready_at),
        }
    }
}

impl Drop for Position<'_> {
    fn drop(&mut self) {
        let mut state = self.limiter.state();
        state.waiting.remove(&self.key);
        // A stored notification isn't lost if that call is not waiting yet.
        if let Some((_, next)) = state.waiting.first_key_value() {
            next.notify_one();
        }
    }
}

/// A token bucket whose rate adapts to throttling.
#[derive(Debug, Clone)]
struct TokenBucket {
    limit: Limit,
    /// Calls per second.
    rate: f64,
    /// Tokens available at `filled`; negative after a throttled call.
    tokens: f64,
    filled: Instant,
    /// No calls are sent before this time.
    closed: Instant,
    /// Calls sent before this time don't reflect the current rate.
    lowered: Option<Instant>,
    /// When the calls of the last [`WINDOW`] were sent.
    sent: VecDeque<Instant>,
}

impl TokenBucket {
    fn new(limit: Limit) -> TokenBucket {
        let (rate, tokens, now) = (limit.start, limit.burst, Instant::now());
        TokenBucket { limit, rate, tokens, filled: now, closed: now, lowered: None, sent: VecDeque::new() }
    }

    /// Takes a token.
    ///
    /// # Errors
    /// The time at which to try again.
    fn take(&mut self, now: Instant, priority: Priority) -> Result<(), Instant> {
        let elapsed = now.saturating_duration_since(self.filled).as_secs_f64();
        let burst = self.burst();
        self.tokens = (self.tokens + elapsed * self.rate).min(burst);
        self.filled = now;
        let reserved = if priority == Priority::Poll { self.limit.reserve.min(burst - 1.0) } else { 0.0 };
        let missing = 1.0 + reserved - self.tokens;
        // Tolerates rounding errors.
        let filled = if missing > 1e-6 { now + Duration::from_secs_f64(missing / self.rate) } else { now };
        let open = filled.max(self.closed);
        if open > now {
            return Err(open);
        }
        self.tokens -= 1.0;
        self.forget(now);
        self.sent.push_back(now);
        Ok(())
    }

    /// A lower rate also has a smaller burst, because all clients of the account share AWS's burst.
    fn burst(&self) -> f64 {
        (self.limit.burst * self.rate / self.limit.start).clamp(1.0, self.limit.burst)
    }

    fn forget(&mut self, now: Instant) {
        while self.sent.front().is_some_and(|sent| now.saturating_duration_since(*sent) >= WINDOW) {
            self.sent.pop_front();
        }
    }

    /// A call sent at `left` was throttled. Calls that were in flight at the same time count once.
    fn lower(&mut self, left: Instant, now: Instant, pause: Option<Duration>) {
        if self.lowered.is_none_or(|lowered| left > lowered) {
            self.forget(now);
            // A process that uses only part of its rate must go below that part for an effect.
            let used = self.sent.len().max(1) as f64 / WINDOW.as_secs_f64();
            self.rate = (self.rate.min(used) * between(LOWER)).max(FLOOR);
            self.tokens = self.tokens.min(1.0 - between(THROTTLE_DELAY));
            self.filled = now;
            self.lowered = Some(now);
        }
        let pause = pause.unwrap_or_default().min(PATIENCE / 2);
        self.closed = self.closed.max(now + pause);
    }

    /// A call sent at `left` was accepted.
    fn raise(&mut self, left: Instant) {
        if self.lowered.is_none_or(|lowered| left > lowered) {
            let step = if self.lowered.is_none() { RAISE_AT_FIRST } else { RAISE };
            self.rate = (self.rate + step).min(self.limit.ceiling);
        }
    }

    fn slowdown(&self) -> f64 {
        (self.limit.start / self.rate).max(1.0)
    }
}

/// A random number from a range, uniformly distributed.
fn between(range: Range<f64>) -> f64 {
    range.start + fastrand::f64() * (range.end - range.start)
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::rc::Rc;

    use futures_util::future::join_all;
    use proptest::prelude::*;

    use super::*;

    const fn limit(service: &'static str, rates: [f64; 4]) -> Limit {
        let [start, ceiling, burst, reserve] = rates;
        Limit { service, start, ceiling, burst, reserve, in_flight: 0 }
    }

    /// A limit that polls count against, one with a large burst, and one that never rises.
    const LIMITS: [Limit; 3] = [
        limit("Control", [10.0, 14.5, 10.0, 4.0]),
        limit("Reads", [5.0, 10.0, 20.0, 0.0]),
        limit("Writes", [10.0, 10.0, 10.0, 0.0]),
    ];
    const COUNTED: LimitId = LimitId(0);
    /// AWS's own limit behind the first one.
    const OF_AWS: f64 = 15.0;

    fn limits() -> RateLimits {
        RateLimits::new(&LIMITS, 1.0)
    }

    /// An event for a token bucket.
    #[derive(Debug, Clone)]
    enum BucketEvent {
        Pass(u64),
        Take(bool),
        Passed,
        Throttled(Option<u64>),
    }

    fn bucket_events() -> impl Strategy<Value = Vec<BucketEvent>> {
        let turn = prop_oneof![
            2 => (0_u64..400).prop_map(BucketEvent::Pass),
            1 => (0_u64..60_000).prop_map(BucketEvent::Pass),
            8 => any::<bool>().prop_map(BucketEvent::Take),
            2 => Just(BucketEvent::Passed),
            1 => proptest::option::of(0_u64..100).prop_map(BucketEvent::Throttled),
        ];
        prop::collection::vec(turn, 1..400)
    }

    proptest! {
        #[test]
        fn no_period_sees_more_calls_than_burst_and_ceiling_allow(bucket_events in bucket_events(), seed: u64) {
            fastrand::seed(seed);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
            runtime.block_on(async {
                for limit in LIMITS {
                    let mut bucket = TokenBucket::new(limit);
                    let (mut now, mut left): (_, Vec<Instant>) = (Instant::now(), Vec::new());
                    for turn in &bucket_events {
                        match turn {
                            BucketEvent::Pass(ms) => now += Duration::from_millis(*ms),
                            BucketEvent::Take(poll) => match bucket.take(now, if *poll { Priority::Poll } else { Priority::Call }) {
                                Ok(()) => left.push(now),
                                Err(later) => {
                                    prop_assert!(later > now && later - now < PATIENCE, "{:?}", later - now);
                                    // A retry at that time succeeds if nothing else has changed.
                                    let mut then = bucket.clone();
                                    prop_assert!(*poll || then.take(later + Duration::from_millis(1), Priority::Call).is_ok());
                                }
                            },
                            BucketEvent::Passed => bucket.raise(now),
                            BucketEvent::Throttled(pause) => bucket.lower(now, now, pause.map(Duration::from_secs)),
                        }
                        prop_assert!((FLOOR..=limit.ceiling).contains(&bucket.rate), "{}", bucket.rate);
                    }
                    // Calls in excess of the ceiling since any earlier call.
                    let over = |at: usize| (at as f64) - limit.ceiling * (left[at] - left[0]).as_secs_f64();
                    let mut least = f64::INFINITY;
                    for at in 0..left.len() {
                        least = least.min(over(at));
                        prop_assert!(over(at) - least + 1.0 <= limit.burst + 1e-3, "call {at} of {left:?}");
                    }
                }
                Ok(())
            })?;
        }
    }

    /// AWS's token bucket of an account: 15 tokens, refilled at 15 per second.
    struct AccountBucket {
        tokens: f64,
        filled: Instant,
    }

    impl AccountBucket {
        const RATE: f64 = 15.0;

        fn new() -> Rc<RefCell<AccountBucket>> {
            Rc::new(RefCell::new(AccountBucket { tokens: AccountBucket::RATE, filled: Instant::now() }))
        }

        fn takes(&mut self) -> bool {
            self.tokens =
                (self.tokens + self.filled.elapsed().as_secs_f64() * AccountBucket::RATE).min(AccountBucket::RATE);
            self.filled = Instant::now();
            let takes = self.tokens >= 1.0;
            self.tokens -= f64::from(takes);
            takes
        }
    }

    /// One process: `n_at_once` calls at a time, each retried until it succeeds.
    async fn process(
        account: &RefCell<AccountBucket>,
        n_at_once: usize,
        goes_on: impl Fn() -> bool,
        passed: &Cell<usize>,
        throttled: &Cell<usize>,
    ) {
        let limits = limits();
        let worker = || async {
            while goes_on() {
                let Ok(pass) = limits.admit(COUNTED).await else { continue };
                sleep(Duration::from_millis(20 + fastrand::u64(..60))).await;
                if account.borrow_mut().takes() {
                    passed.set(passed.get() + 1);
                    pass.accepted();
                } else {
                    throttled.set(throttled.get() + 1);
                    pass.throttled(None);
                }
            }
        };
        join_all((0..n_at_once).map(|_| worker())).await;
    }

    #[tokio::test(start_paused = true)]
    async fn twenty_processes_share_an_accounts_limit_and_none_starves() {
        for seed in 0..5 {
            fastrand::seed(seed);
            let account = AccountBucket::new();
            let end = Instant::now() + Duration::from_secs(300);
            let counts: Vec<(Cell<usize>, Cell<usize>)> = (0..20).map(|_| Default::default()).collect();
            join_all(
                counts
                    .iter()
                    .map(|(passed, throttled)| process(&account, 4, || Instant::now() < end, passed, throttled)),
            )
            .await;
            let passed: Vec<usize> = counts.iter().map(|(passed, _)| passed.get()).collect();
            let n_passed: usize = passed.iter().sum();
            let n_throttled: usize = counts.iter().map(|(_, throttled)| throttled.get()).sum();
            let (least, most) = (passed.iter().min().unwrap(), passed.iter().max().unwrap());
            println!("seed {seed}: {n_passed} passed, {n_throttled} throttled, {least} to {most} each");
            // AWS would accept 4,515 calls, about 225 per process.
            assert!(n_passed > 4_000, "{n_passed}");
            assert!(n_throttled < n_passed / 2, "{n_throttled} throttled, {n_passed} passed");
            assert!(*least > 100, "{passed:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_single_process_nearly_reaches_the_limit_and_is_not_throttled() {
        for seed in 0..5 {
            fastrand::seed(seed);
            let account = AccountBucket::new();
            let (passed, throttled, start) = (Cell::new(0), Cell::new(0), Instant::now());
            process(&account, 16, || passed.get() < 250, &passed, &throttled).await;
            // A full bucket at once, then the rate per second.
            let least = (passed.get() as f64 - AccountBucket::RATE) / AccountBucket::RATE;
            let took = start.elapsed().as_secs_f64();
            println!("seed {seed}: {} calls in {took:.1} s, at least {least:.1} s", passed.get());
            assert_eq!(throttled.get(), 0);
            assert!(took < 1.1 * least, "{took} s, at least {least} s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_share_of_the_rate_is_never_exceeded() {
        for rate in [1_u8, 3, 7] {
            let limits = RateLimits::new(&LIMITS, f64::from(rate) / OF_AWS);
            let start = Instant::now();
            let n_calls = 20 * u32::from(rate);
            for _ in 0..n_calls {
                limits.admit(COUNTED).await.unwrap().accepted();
            }
            // After the burst, which is reduced too.
            let took = start.elapsed().as_secs_f64();
            assert!((17.0..=32.0).contains(&took), "{rate} a second: {n_calls} calls in {took} s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn calls_are_sent_in_order_and_polls_after_them() {
        let limits = limits();
        let left = RefCell::new(Vec::new());
        let one = |name: String| {
            let (limits, left) = (&limits, &left);
            async move {
                if name.starts_with("poll") {
                    limits.spare(COUNTED).await;
                }
                limits.admit(COUNTED).await.unwrap();
                left.borrow_mut().push(name);
            }
        };
        // After six polls, four tokens of the burst stay reserved for other calls, even if there
        // are none.
        let early = join_all((0..8).map(|at| one(format!("poll {at}"))));
        tokio::time::timeout(Duration::from_millis(50), early).await.unwrap_err();
        assert_eq!(left.take(), (0..6).map(|at| format!("poll {at}")).collect::<Vec<_>>());
        let polls = join_all((0..3).map(|at| one(format!("poll {at}"))));
        let calls = join_all((0..20).map(|at| one(format!("call {at}"))));
        tokio::join!(polls, calls);
        let order = left.take();
        assert_eq!(order[..20], (0..20).map(|at| format!("call {at}")).collect::<Vec<_>>());
        assert_eq!(order[20..], ["poll 0", "poll 1", "poll 2"]);
    }

    #[tokio::test(start_paused = true)]
    async fn separate_limits_have_separate_queues() {
        let limits = limits();
        for _ in 0..20 {
            let pass = limits.admit(COUNTED).await.unwrap();
            pass.throttled(Some(Duration::from_secs(30)));
        }
        let start = Instant::now();
        for other in 1..LIMITS.len() {
            limits.admit(LimitId(other)).await.unwrap();
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert_eq!(limits.slowdown(COUNTED), LIMITS[0].start / FLOOR);
        limits.admit(COUNTED).await.unwrap();
        assert!(start.elapsed() >= Duration::from_secs(30), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_is_ended_or_too_long_leaves_the_queue() {
        let limits = limits();
        limits.admit(COUNTED).await.unwrap().throttled(Some(Duration::from_secs(3600)));
        let start = Instant::now();
        let reports = Arc::new(Mutex::new(Vec::new()));
        let recorded = Arc::clone(&reports);
        let call = WatchedCall::new(move |waits| recorded.lock().unwrap().push(waits));
        let other = limits.admit(COUNTED);
        let (ended, (), other) = tokio::join!(
            call.watch(limits.admit(COUNTED)),
            async {
                sleep(NOTICE_DELAY + Duration::from_millis(1)).await;
                assert_eq!(*reports.lock().unwrap(), [true]);
                call.end_waits();
            },
            other
        );
        let crowded = ended.unwrap_err();
        assert_eq!(
            crowded.to_string(),
            "timed out waiting for the rate limit of Control, which the whole account shares"
        );
        // AWS can't block a lane for longer than calls wait, and a call ends only its own waits.
        other.unwrap();
        assert_eq!(start.elapsed(), PATIENCE / 2);
        assert_eq!(*reports.lock().unwrap(), [true]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_notified_only_about_its_own_wait() {
        let limits = limits();
        limits.admit(COUNTED).await.unwrap().throttled(Some(Duration::from_secs(10)));
        let reports = Arc::new(Mutex::new(Vec::new()));
        let call = |name: &'static str| {
            let recorded = Arc::clone(&reports);
            WatchedCall::new(move |waits| recorded.lock().unwrap().push((name, waits)))
        };
        let (waiting, in_flight) = (call("waiting"), call("in flight"));
        tokio::join!(
            waiting.watch(async {
                let permit = limits.admit(COUNTED).await.unwrap();
                sleep(Duration::from_secs(20)).await;
                permit.accepted();
            }),
            in_flight.watch(async {
                let permit = limits.admit(LimitId(1)).await.unwrap();
                sleep(Duration::from_secs(20)).await;
                permit.accepted();
            })
        );
        assert_eq!(*reports.lock().unwrap(), [("waiting", true), ("waiting", false)]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_requests_in_flight_are_bounded_whatever_the_limits_are() {
        let limits = RateLimits::unlimited();
        let (n_now, n_most) = (Cell::new(0), Cell::new(0));
        join_all((0..400).map(|_| async {
            let permit = limits.admit(COUNTED).await.unwrap();
            n_now.set(n_now.get() + 1);
            n_most.set(n_most.get().max(n_now.get()));
            sleep(Duration::from_millis(10)).await;
            n_now.set(n_now.get() - 1);
            permit.accepted();
        }))
        .await;
        assert_eq!(n_most.get(), MAX_IN_FLIGHT);
    }
}
