//! Client-side rate limits for each service: below AWS's limits, and lower while other clients use them up.
//!
//! All processes of an account share Lambda's 15 calls per second, and none can see the others. So each starts with a
//! moderate rate and adapts: a throttled call lowers the service's rate by a random factor, a successful one raises it
//! by a fixed amount (additive increase, multiplicative decrease, as in TCP congestion control). Calls leave in order
//! of arrival; polls come last and leave part of the burst to other calls.
//!
//! The SDK's `RetryMode::Adaptive` is not used: it starts only after the first throttled call, treats all calls of a
//! service alike (Lambda counts some separately), has no order and no priority for polls, and does nothing for
//! creates, which are sent once. The standard mode retries throttled calls as well, through the same rate limits.
//!
//! **Invariant:** it delays calls. It refuses only those that waited for [`PATIENCE`] or whose wait was ended; a
//! refused call was never sent.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep, sleep_until};

use super::guard::{Effect, Request};

/// The maximum time that a call waits for its rate limit. It is already signed, and a signature is valid for five minutes
/// (docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html).
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// How engine uses a rate limit of AWS, in calls per second.
#[derive(Debug, Clone, Copy)]
struct Limit {
    /// The initial rate.
    start: f64,
    /// The maximum rate, after many successful calls.
    ceiling: f64,
    /// Calls that can be sent at once after an idle period.
    burst: f64,
    /// Calls of the burst that polls leave to other calls.
    reserve: f64,
}

/// Lambda allows 15 control-plane calls per second per account and region, for all operations except GetFunction and
/// GetPolicy (docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html).
const LAMBDA: Limit = Limit { start: 10.0, ceiling: 14.0, burst: 10.0, reserve: 4.0 };
/// Lambda's limit, which `--rate` reduces.
pub const LAMBDAS_RATE: u8 = 15;
/// GetFunction has its own limit of 100 per second (same page).
const FUNCTIONS: Limit = Limit { start: 50.0, ceiling: 90.0, burst: 50.0, reserve: 0.0 };
/// GetPolicy has its own limit of 15 per second (same page).
const POLICIES: Limit = Limit { start: 10.0, ceiling: 14.0, burst: 10.0, reserve: 0.0 };
/// Not documented; DynamoDB throttles some of ten simultaneous table changes and accepts them a second later.
const TABLE_WRITES: Limit = Limit { start: 10.0, ceiling: 10.0, burst: 10.0, reserve: 0.0 };
/// Not documented; ten simultaneous reads were never throttled.
const TABLE_READS: Limit = Limit { start: 50.0, ceiling: 100.0, burst: 50.0, reserve: 0.0 };
/// Not documented; all regions of an account share IAM's limit.
const IAM: Limit = Limit { start: 5.0, ceiling: 10.0, burst: 20.0, reserve: 0.0 };
/// Not documented for the tag index; other tools use about five calls per second.
const TAGGING: Limit = Limit { start: 5.0, ceiling: 5.0, burst: 10.0, reserve: 0.0 };
/// FilterLogEvents has a limit of 5 to 10 per second, depending on the region
/// (docs.aws.amazon.com/AmazonCloudWatch/latest/logs/cloudwatch_limits_cwl.html).
const LOGS: Limit = Limit { start: 4.0, ceiling: 5.0, burst: 5.0, reserve: 0.0 };
/// STS allows 600 calls per second (docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html).
const STS: Limit = Limit { start: 50.0, ceiling: 100.0, burst: 50.0, reserve: 0.0 };

/// The minimum rate, however often calls are throttled: one in four seconds. Sixty processes fill Lambda's limit.
const FLOOR: f64 = 0.25;
/// What a successful call adds to the rate.
const RAISE: f64 = 0.05;
/// The factor by which a throttled call lowers the rate; random, so that processes don't synchronize.
const LOWER: Range<f64> = 0.4..0.7;
/// The delay after a throttled call, in intervals of the new rate; random for the same reason.
const REST: Range<f64> = 0.5..1.5;
/// The period over which the actual rate is measured.
const WINDOW: Duration = Duration::from_secs(1);
/// DynamoDB throttles some of ten parallel table changes, but not four.
const TABLE_WRITES_AT_ONCE: usize = 4;

/// The rate limits of one run.
#[derive(Debug)]
pub struct Budget {
    /// `None`: no limits.
    lanes: Option<Lanes>,
    table_writes: Semaphore,
    ended: Notify,
}

/// One lane for each limit that AWS counts separately.
#[derive(Debug)]
struct Lanes {
    lambda: Lane,
    functions: Lane,
    policies: Lane,
    table_writes: Lane,
    table_reads: Lane,
    iam: Lane,
    tagging: Lane,
    logs: Lane,
    sts: Lane,
}

impl Lanes {
    fn of(&self, request: &Request) -> &Lane {
        match (request.service, request.operation.as_str()) {
            ("lambda", "GetFunction") => &self.functions,
            ("lambda", "GetPolicy") => &self.policies,
            ("lambda", _) => &self.lambda,
            // Items use the table's own capacity, and engine writes only one at a time.
            ("dynamodb", _) if matches!(request.effect, Effect::Read | Effect::Item) => &self.table_reads,
            ("dynamodb", _) => &self.table_writes,
            ("iam", _) => &self.iam,
            ("tagging", _) => &self.tagging,
            ("logs", _) => &self.logs,
            _ => &self.sts,
        }
    }

    fn all(&self) -> [&Lane; 9] {
        let Lanes { lambda, functions, policies, table_writes, table_reads, iam, tagging, logs, sts } = self;
        [lambda, functions, policies, table_writes, table_reads, iam, tagging, logs, sts]
    }
}

impl Limit {
    /// A fraction of the limit. The burst is at least one call, because otherwise none could be sent.
    fn part(self, share: f64) -> Limit {
        let Limit { start, ceiling, burst, reserve } = self;
        let burst = (burst * share).max(1.0);
        let reserve = (reserve * share).min(burst - 1.0);
        Limit { start: (start * share).max(FLOOR), ceiling: (ceiling * share).max(FLOOR), burst, reserve }
    }
}

impl Default for Budget {
    fn default() -> Budget {
        Budget::sharing(1.0)
    }
}

impl Budget {
    /// A fraction of the account's limits, from 0 to 1, for several processes in one account.
    pub fn sharing(share: f64) -> Budget {
        let lane = |name, limit: Limit| Lane::new(name, if share < 1.0 { limit.part(share) } else { limit });
        let lanes = Lanes {
            lambda: lane("Lambda", LAMBDA),
            functions: lane("Lambda", FUNCTIONS),
            policies: lane("Lambda", POLICIES),
            table_writes: lane("DynamoDB", TABLE_WRITES),
            table_reads: lane("DynamoDB", TABLE_READS),
            iam: lane("IAM", IAM),
            tagging: lane("the tag index", TAGGING),
            logs: lane("CloudWatch Logs", LOGS),
            sts: lane("STS", STS),
        };
        Budget { lanes: Some(lanes), table_writes: Semaphore::new(TABLE_WRITES_AT_ONCE), ended: Notify::new() }
    }

    /// No limits: a local AWS has none.
    pub fn unlimited() -> Budget {
        Budget { lanes: None, table_writes: Semaphore::new(Semaphore::MAX_PERMITS), ended: Notify::new() }
    }

    /// Waits until a request can be sent; a table write holds its permit until the pass is dropped.
    ///
    /// # Errors
    /// `Crowded` if the rate limit stayed exhausted for [`PATIENCE`], or if waits were ended.
    pub(super) async fn admit(&self, request: &Request) -> Result<Pass<'_>, Crowded> {
        let lane = self.lanes.as_ref().map(|lanes| lanes.of(request));
        let place = async {
            // The semaphore is never closed, so acquiring can't fail.
            let permit = match (request.service, request.effect) {
                ("dynamodb", Effect::Create | Effect::Write) => self.table_writes.acquire().await.ok(),
                _ => None,
            };
            let left = match lane {
                Some(lane) => lane.enter(Rank::Call).await,
                None => Instant::now(),
            };
            Pass { lane, left, _permit: permit }
        };
        tokio::select! {
            biased;
            pass = place => Ok(pass),
            () = self.ended.notified() => Err(Crowded { at: lane.map_or("AWS", |lane| lane.name) }),
            () = sleep(PATIENCE) => Err(Crowded { at: lane.map_or("AWS", |lane| lane.name) }),
        }
    }

    /// Waits until a poll of Lambda can be sent without delaying other calls, and reserves its token.
    pub(super) async fn spare(&self) {
        if let Some(Lanes { lambda, .. }) = &self.lanes {
            lambda.enter(Rank::Poll).await;
            lambda.state().promised += 1;
        }
    }

    /// By which factor Lambda's rate is below its initial value.
    pub(super) fn slowdown(&self) -> f64 {
        self.lanes.as_ref().map_or(1.0, |lanes| lanes.lambda.state().pace.slowdown())
    }

    /// Ends the waits of all calls that haven't been sent; later calls wait normally.
    pub(super) fn end_waits(&self) {
        self.ended.notify_waiters();
    }

    /// Whether there are rate limits at all.
    pub(super) fn is_limited(&self) -> bool {
        self.lanes.is_some()
    }

    /// Whether a call has been waiting for a rate limit for at least `long`.
    pub(super) fn is_crowded(&self, long: Duration) -> bool {
        let waits = |lane: &&Lane| {
            lane.state().waiting.iter().any(|((rank, _), came)| *rank == Rank::Call && came.elapsed() >= long)
        };
        self.lanes.as_ref().is_some_and(|lanes| lanes.all().iter().any(waits))
    }
}

/// The permission to send a request.
#[derive(Debug)]
pub(super) struct Pass<'b> {
    lane: Option<&'b Lane>,
    left: Instant,
    _permit: Option<SemaphorePermit<'b>>,
}

impl Pass<'_> {
    /// AWS accepted the call, whether or not it succeeded.
    pub(super) fn taken(self) {
        if let Some(lane) = self.lane {
            lane.state().pace.raise(self.left);
        }
    }

    /// AWS throttled the call; `pause`: for how long it wants no calls.
    pub(super) fn throttled(self, pause: Option<Duration>) {
        if let Some(lane) = self.lane {
            lane.state().pace.lower(self.left, Instant::now(), pause);
        }
    }
}

/// The error of a request that wasn't sent: the rate limit was exhausted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Crowded {
    at: &'static str,
}

impl Crowded {
    /// The message.
    pub(super) fn wording(&self) -> String {
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
struct Lane {
    /// The name of the service, for messages.
    name: &'static str,
    state: Mutex<State>,
    /// Notified when the queue has moved.
    moved: Notify,
}

#[derive(Debug)]
struct State {
    pace: Pace,
    /// Waiting calls, and since when each waits.
    waiting: BTreeMap<(Rank, u64), Instant>,
    n_came: u64,
    /// Tokens reserved by polls that haven't been sent yet.
    promised: u32,
}

/// The priority of a call; lower values come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Call,
    Poll,
}

impl Lane {
    fn new(name: &'static str, limit: Limit) -> Lane {
        let state = State { pace: Pace::new(limit), waiting: BTreeMap::new(), n_came: 0, promised: 0 };
        Lane { name, state: Mutex::new(state), moved: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a token and takes it; returns the time of that.
    async fn enter(&self, rank: Rank) -> Instant {
        let turn = {
            let mut state = self.state();
            if rank == Rank::Call && state.promised > 0 {
                state.promised -= 1;
                return Instant::now();
            }
            state.n_came += 1;
            let turn = (rank, state.n_came);
            state.waiting.insert(turn, Instant::now());
            Turn { lane: self, turn }
        };
        loop {
            let mut moved = std::pin::pin!(self.moved.notified());
            moved.as_mut().enable();
            match turn.try_take() {
                Look::Taken(left) => return left,
                Look::At(moment) => tokio::select! {
                    () = sleep_until(moment) => {}
                    () = moved => {}
                },
                Look::Behind => moved.await,
            }
        }
    }
}

/// A place in the queue, given up when dropped.
struct Turn<'l> {
    lane: &'l Lane,
    turn: (Rank, u64),
}

enum Look {
    Taken(Instant),
    /// First in the queue; a token may be available at that time.
    At(Instant),
    /// Other calls come first.
    Behind,
}

impl Turn<'_> {
    fn try_take(&self) -> Look {
        let mut state = self.lane.state();
        if state.waiting.first_key_value().is_some_and(|(first, _)| *first != self.turn) {
            return Look::Behind;
        }
        let now = Instant::now();
        match state.pace.take(now, self.turn.0) {
            Ok(()) => Look::Taken(now),
            Err(moment) => Look::At(moment),
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.lane.state().waiting.remove(&self.turn);
        self.lane.moved.notify_waiters();
    }
}

/// A token bucket whose rate adapts to throttling.
#[derive(Debug, Clone)]
struct Pace {
    limit: Limit,
    /// Calls per second.
    rate: f64,
    /// Tokens available at `filled`; negative after a throttled call.
    tokens: f64,
    filled: Instant,
    /// No calls are sent before this time.
    closed: Instant,
    /// Calls sent before this time say nothing about the current rate.
    lowered: Option<Instant>,
    /// When the calls of the last [`WINDOW`] were sent.
    sent: VecDeque<Instant>,
}

impl Pace {
    fn new(limit: Limit) -> Pace {
        let (rate, tokens, now) = (limit.start, limit.burst, Instant::now());
        Pace { limit, rate, tokens, filled: now, closed: now, lowered: None, sent: VecDeque::new() }
    }

    /// Takes a token.
    ///
    /// # Errors
    /// The time at which to try again.
    fn take(&mut self, now: Instant, rank: Rank) -> Result<(), Instant> {
        let elapsed = now.saturating_duration_since(self.filled).as_secs_f64();
        let burst = self.burst();
        self.tokens = (self.tokens + elapsed * self.rate).min(burst);
        self.filled = now;
        let left_alone = if rank == Rank::Poll { self.limit.reserve.min(burst - 1.0) } else { 0.0 };
        let missing = 1.0 + left_alone - self.tokens;
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
            self.tokens = self.tokens.min(1.0 - between(REST));
            self.filled = now;
            self.lowered = Some(now);
        }
        let pause = pause.unwrap_or_default().min(PATIENCE / 2);
        self.closed = self.closed.max(now + pause);
    }

    /// A call sent at `left` was accepted.
    fn raise(&mut self, left: Instant) {
        if self.lowered.is_none_or(|lowered| left > lowered) {
            self.rate = (self.rate + RAISE).min(self.limit.ceiling);
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

    fn call(service: &'static str, operation: &str, effect: Effect) -> Request {
        Request { service, operation: operation.to_owned(), effect, target: None, statement: None, place: None }
    }

    fn counted() -> Request {
        call("lambda", "ListEventSourceMappings", Effect::Read)
    }

    /// An event for a token bucket.
    #[derive(Debug, Clone)]
    enum Turn {
        Pass(u64),
        Take(bool),
        Passed,
        Throttled(Option<u64>),
    }

    fn turns() -> impl Strategy<Value = Vec<Turn>> {
        let turn = prop_oneof![
            2 => (0_u64..400).prop_map(Turn::Pass),
            1 => (0_u64..60_000).prop_map(Turn::Pass),
            8 => any::<bool>().prop_map(Turn::Take),
            2 => Just(Turn::Passed),
            1 => proptest::option::of(0_u64..100).prop_map(Turn::Throttled),
        ];
        prop::collection::vec(turn, 1..400)
    }

    proptest! {
        #[test]
        fn no_period_sees_more_calls_than_burst_and_ceiling_allow(turns in turns(), seed: u64) {
            fastrand::seed(seed);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
            runtime.block_on(async {
                for limit in [LAMBDA, FUNCTIONS, POLICIES, TABLE_WRITES, TABLE_READS, IAM, TAGGING, LOGS, STS] {
                    let mut pace = Pace::new(limit);
                    let (mut now, mut left): (_, Vec<Instant>) = (Instant::now(), Vec::new());
                    for turn in &turns {
                        match turn {
                            Turn::Pass(ms) => now += Duration::from_millis(*ms),
                            Turn::Take(poll) => match pace.take(now, if *poll { Rank::Poll } else { Rank::Call }) {
                                Ok(()) => left.push(now),
                                Err(later) => {
                                    prop_assert!(later > now && later - now < PATIENCE, "{:?}", later - now);
                                    // A retry at that time succeeds if nothing else has changed.
                                    let mut then = pace.clone();
                                    prop_assert!(*poll || then.take(later + Duration::from_millis(1), Rank::Call).is_ok());
                                }
                            },
                            Turn::Passed => pace.raise(now),
                            Turn::Throttled(pause) => pace.lower(now, now, pause.map(Duration::from_secs)),
                        }
                        prop_assert!((FLOOR..=limit.ceiling).contains(&pace.rate), "{}", pace.rate);
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
    struct Account {
        tokens: f64,
        filled: Instant,
    }

    impl Account {
        const RATE: f64 = 15.0;

        fn new() -> Rc<RefCell<Account>> {
            Rc::new(RefCell::new(Account { tokens: Account::RATE, filled: Instant::now() }))
        }

        fn takes(&mut self) -> bool {
            self.tokens = (self.tokens + self.filled.elapsed().as_secs_f64() * Account::RATE).min(Account::RATE);
            self.filled = Instant::now();
            let takes = self.tokens >= 1.0;
            self.tokens -= f64::from(takes);
            takes
        }
    }

    /// One process: `n_at_once` calls at a time, each retried until it succeeds.
    async fn process(
        account: &RefCell<Account>,
        n_at_once: usize,
        goes_on: impl Fn() -> bool,
        passed: &Cell<usize>,
        throttled: &Cell<usize>,
    ) {
        let budget = Budget::default();
        let worker = || async {
            while goes_on() {
                let Ok(pass) = budget.admit(&counted()).await else { continue };
                sleep(Duration::from_millis(20 + fastrand::u64(..60))).await;
                if account.borrow_mut().takes() {
                    passed.set(passed.get() + 1);
                    pass.taken();
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
            let account = Account::new();
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
    async fn a_share_of_the_rate_is_never_exceeded() {
        for rate in [1_u8, 3, 7] {
            let budget = Budget::sharing(f64::from(rate) / f64::from(LAMBDAS_RATE));
            let start = Instant::now();
            let n_calls = 20 * u32::from(rate);
            for _ in 0..n_calls {
                budget.admit(&counted()).await.unwrap().taken();
            }
            // After the burst, which is reduced too.
            let took = start.elapsed().as_secs_f64();
            assert!((17.0..=32.0).contains(&took), "{rate} a second: {n_calls} calls in {took} s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn calls_are_sent_in_order_and_polls_after_them() {
        let budget = Budget::default();
        let left = RefCell::new(Vec::new());
        let one = |name: String| {
            let (budget, left) = (&budget, &left);
            async move {
                if name.starts_with("poll") {
                    budget.spare().await;
                }
                budget.admit(&counted()).await.unwrap();
                left.borrow_mut().push(name);
            }
        };
        // After six polls, four tokens of the burst stay reserved for other calls, even if there are none.
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
        let budget = Budget::default();
        for _ in 0..20 {
            let pass = budget.admit(&counted()).await.unwrap();
            pass.throttled(Some(Duration::from_secs(30)));
        }
        let start = Instant::now();
        for request in [
            call("lambda", "GetFunction", Effect::Read),
            call("lambda", "GetPolicy", Effect::Read),
            call("dynamodb", "CreateTable", Effect::Create),
            call("dynamodb", "DescribeTable", Effect::Read),
            call("iam", "GetRole", Effect::Read),
            call("tagging", "GetResources", Effect::Read),
            call("logs", "FilterLogEvents", Effect::Read),
            call("sts", "GetCallerIdentity", Effect::Read),
        ] {
            budget.admit(&request).await.unwrap();
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert_eq!(budget.slowdown(), LAMBDA.start / FLOOR);
        budget.admit(&counted()).await.unwrap();
        assert!(start.elapsed() >= Duration::from_secs(30), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_is_ended_or_too_long_leaves_the_queue() {
        let budget = Budget::default();
        budget.admit(&counted()).await.unwrap().throttled(Some(Duration::from_secs(3600)));
        let start = Instant::now();
        let request = counted();
        let (ended, ()) = tokio::join!(budget.admit(&request), async {
            sleep(NEWS).await;
            assert!(budget.is_crowded(NEWS));
            budget.end_waits();
        });
        let crowded = ended.unwrap_err();
        assert_eq!(
            crowded.to_string(),
            "timed out waiting for the rate limit of Lambda, which the whole account shares"
        );
        assert_eq!(start.elapsed(), NEWS);
        assert!(!budget.is_crowded(Duration::ZERO));
        // AWS can't block a lane for longer than calls wait.
        budget.admit(&request).await.unwrap();
        assert_eq!(start.elapsed(), PATIENCE / 2);
    }

    const NEWS: Duration = Duration::from_secs(3);
}
