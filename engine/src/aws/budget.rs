//! The rates at which a run calls each service: below what AWS takes, and lower still where others use it up.
//!
//! Twenty people in one account share Lambda's fifteen calls a second, and no process can see the others. So each starts
//! with a share of its own and listens: a throttled call lowers the service's rate by a random part, a call that passes
//! raises it by a fixed bit (additive increase and multiplicative decrease, by which the flows of a network share a
//! line). Calls leave in the order in which they came; polls come last, and leave some of a burst to everybody else.
//!
//! The SDK's own `RetryMode::Adaptive` is not used: it only begins once it was throttled, counts all calls of a service
//! alike (Lambda counts some apart), knows no order and no polls, and does nothing for creates, which are sent once.
//! What it is good at, trying a throttled call again, its standard mode does as well, through these same rates.
//!
//! **Invariant:** it delays. It refuses only what has waited for [`PATIENCE`], or is told to end; what it refuses has
//! never left.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep, sleep_until};

use super::guard::{Effect, Request};

/// How long a call waits for its place at most. It is signed by then, and a signature is good for five minutes
/// (docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html).
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// How we use what AWS lets an account do, in calls a second.
#[derive(Debug, Clone, Copy)]
struct Limit {
    /// At first.
    start: f64,
    /// At most, after many calls that passed.
    ceiling: f64,
    /// Calls that may leave at once after a quiet while.
    burst: f64,
    /// Calls of the burst that polls leave to everybody else.
    reserve: f64,
}

/// Lambda takes 15 control-plane calls a second for each account and region, all operations together except reads of a
/// function or its policy (docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html).
const LAMBDA: Limit = Limit { start: 10.0, ceiling: 14.0, burst: 10.0, reserve: 4.0 };
/// Lambda's limit, of which `--rate` is a part.
pub const LAMBDAS_RATE: u8 = 15;
/// GetFunction has 100 a second for itself (the same page).
const FUNCTIONS: Limit = Limit { start: 50.0, ceiling: 90.0, burst: 50.0, reserve: 0.0 };
/// GetPolicy has 15 a second for itself (the same page).
const POLICIES: Limit = Limit { start: 10.0, ceiling: 14.0, burst: 10.0, reserve: 0.0 };
/// AWS names none; of ten table changes at once it throttles some, and takes them a second later.
const TABLE_WRITES: Limit = Limit { start: 10.0, ceiling: 10.0, burst: 10.0, reserve: 0.0 };
/// AWS names none, and ten at once were never throttled.
const TABLE_READS: Limit = Limit { start: 50.0, ceiling: 100.0, burst: 50.0, reserve: 0.0 };
/// AWS names none; IAM's is shared by all regions of the account.
const IAM: Limit = Limit { start: 5.0, ceiling: 10.0, burst: 20.0, reserve: 0.0 };
/// AWS names none for the tag index; other tools use some five a second.
const TAGGING: Limit = Limit { start: 5.0, ceiling: 5.0, burst: 10.0, reserve: 0.0 };
/// FilterLogEvents has 5 to 10 a second, by region
/// (docs.aws.amazon.com/AmazonCloudWatch/latest/logs/cloudwatch_limits_cwl.html).
const LOGS: Limit = Limit { start: 4.0, ceiling: 5.0, burst: 5.0, reserve: 0.0 };
/// STS takes 600 a second (docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html).
const STS: Limit = Limit { start: 50.0, ceiling: 100.0, burst: 50.0, reserve: 0.0 };

/// However often it is throttled, a process goes on asking: one call in four seconds. Sixty of them fill Lambda's limit.
const FLOOR: f64 = 0.25;
/// What a call that passed adds to the rate.
const RAISE: f64 = 0.05;
/// What a throttled call leaves of the rate; by chance, so that many processes don't move in step.
const LOWER: Range<f64> = 0.4..0.7;
/// How long the next call waits after a throttled one, in intervals of the new rate; by chance, for the same reason.
const REST: Range<f64> = 0.5..1.5;
/// The time over which the rate that was really used is measured.
const WINDOW: Duration = Duration::from_secs(1);
/// Of ten parallel table changes DynamoDB throttles some; four pass.
const TABLE_WRITES_AT_ONCE: usize = 4;

/// The rate limits of one run.
#[derive(Debug)]
pub struct Budget {
    /// `None`: no limits.
    lanes: Option<Lanes>,
    table_writes: Semaphore,
    ended: Notify,
}

/// What AWS counts together.
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
            // Items have the table's own capacity; nobody here writes more than one at a time.
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
    /// That part of it. A burst lets one call through at least, or none ever would.
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
    /// A part of what AWS lets an account do, from 0 to 1: for whoever runs several processes in it.
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

    /// Waits until a request may leave; a table write holds its place until the pass is dropped.
    ///
    /// # Errors
    /// `Crowded` if there was no place within [`PATIENCE`], or if waits were told to end.
    pub(super) async fn admit(&self, request: &Request) -> Result<Pass<'_>, Crowded> {
        let lane = self.lanes.as_ref().map(|lanes| lanes.of(request));
        let place = async {
            // The semaphore is never closed, so there is always a permit in the end.
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

    /// Waits until a poll of Lambda has a place that no other call wants, and keeps that for it.
    pub(super) async fn spare(&self) {
        if let Some(Lanes { lambda, .. }) = &self.lanes {
            lambda.enter(Rank::Poll).await;
            lambda.state().promised += 1;
        }
    }

    /// How many times slower than at first Lambda's polls go by now.
    pub(super) fn slowdown(&self) -> f64 {
        self.lanes.as_ref().map_or(1.0, |lanes| lanes.lambda.state().pace.slowdown())
    }

    /// Ends the waits of all calls that have not left yet; those that come later wait as ever.
    pub(super) fn end_waits(&self) {
        self.ended.notify_waiters();
    }

    /// Whether calls may have to wait at all.
    pub(super) fn is_limited(&self) -> bool {
        self.lanes.is_some()
    }

    /// Whether a limit has kept a call waiting for as long as `long`.
    pub(super) fn is_crowded(&self, long: Duration) -> bool {
        let waits = |lane: &&Lane| {
            lane.state().waiting.iter().any(|((rank, _), came)| *rank == Rank::Call && came.elapsed() >= long)
        };
        self.lanes.as_ref().is_some_and(|lanes| lanes.all().iter().any(waits))
    }
}

/// A request may leave.
#[derive(Debug)]
pub(super) struct Pass<'b> {
    lane: Option<&'b Lane>,
    left: Instant,
    _permit: Option<SemaphorePermit<'b>>,
}

impl Pass<'_> {
    /// AWS took the call; whether it did what was asked is another matter.
    pub(super) fn taken(self) {
        if let Some(lane) = self.lane {
            lane.state().pace.raise(self.left);
        }
    }

    /// AWS said that there were too many calls, and perhaps for how long none should come.
    pub(super) fn throttled(self, pause: Option<Duration>) {
        if let Some(lane) = self.lane {
            lane.state().pace.lower(self.left, Instant::now(), pause);
        }
    }
}

/// Why a request did not leave: there was no place for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Crowded {
    at: &'static str,
}

impl Crowded {
    /// What is told of it.
    pub(super) fn wording(&self) -> String {
        format!("there was no free place in the rate limit of {}, which the whole account shares", self.at)
    }
}

impl fmt::Display for Crowded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.wording())
    }
}

impl std::error::Error for Crowded {}

/// Calls that AWS counts together, in the order in which they may leave.
#[derive(Debug)]
struct Lane {
    /// Whose limit it is, for people.
    name: &'static str,
    state: Mutex<State>,
    /// Told when the line has moved.
    moved: Notify,
}

#[derive(Debug)]
struct State {
    pace: Pace,
    /// Who waits, and since when.
    waiting: BTreeMap<(Rank, u64), Instant>,
    n_came: u64,
    /// Places that polls have waited for and not taken yet.
    promised: u32,
}

/// In the order in which they are let through.
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

    /// Waits for a place and takes it; returns when that was.
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

/// A place in the line, given up when dropped.
struct Turn<'l> {
    lane: &'l Lane,
    turn: (Rank, u64),
}

enum Look {
    Taken(Instant),
    /// First in line, and at that moment there may be a place.
    At(Instant),
    /// Others come first.
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

/// A token bucket whose rate follows what AWS says.
#[derive(Debug, Clone)]
struct Pace {
    limit: Limit,
    /// Calls a second.
    rate: f64,
    /// Calls that may leave by `filled`; less than none after a throttled one.
    tokens: f64,
    filled: Instant,
    /// Until when AWS wants no calls.
    closed: Instant,
    /// What left before this says nothing about the rate as it is now.
    lowered: Option<Instant>,
    /// When the calls of the last [`WINDOW`] left.
    sent: VecDeque<Instant>,
}

impl Pace {
    fn new(limit: Limit) -> Pace {
        let (rate, tokens, now) = (limit.start, limit.burst, Instant::now());
        Pace { limit, rate, tokens, filled: now, closed: now, lowered: None, sent: VecDeque::new() }
    }

    /// Takes a place.
    ///
    /// # Errors
    /// When to look again.
    fn take(&mut self, now: Instant, rank: Rank) -> Result<(), Instant> {
        let elapsed = now.saturating_duration_since(self.filled).as_secs_f64();
        let burst = self.burst();
        self.tokens = (self.tokens + elapsed * self.rate).min(burst);
        self.filled = now;
        let left_alone = if rank == Rank::Poll { self.limit.reserve.min(burst - 1.0) } else { 0.0 };
        let missing = 1.0 + left_alone - self.tokens;
        // A float may end a hair below.
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

    /// A slower rate also has a smaller burst: what AWS takes from all of us at once is no more than from one.
    fn burst(&self) -> f64 {
        (self.limit.burst * self.rate / self.limit.start).clamp(1.0, self.limit.burst)
    }

    fn forget(&mut self, now: Instant) {
        while self.sent.front().is_some_and(|sent| now.saturating_duration_since(*sent) >= WINDOW) {
            self.sent.pop_front();
        }
    }

    /// A call that left at `left` was throttled. Calls that were on their way with it are one piece of news.
    fn lower(&mut self, left: Instant, now: Instant, pause: Option<Duration>) {
        if self.lowered.is_none_or(|lowered| left > lowered) {
            self.forget(now);
            // Whoever uses a part of the rate must come below that part, or nothing has changed.
            let used = self.sent.len().max(1) as f64 / WINDOW.as_secs_f64();
            self.rate = (self.rate.min(used) * between(LOWER)).max(FLOOR);
            self.tokens = self.tokens.min(1.0 - between(REST));
            self.filled = now;
            self.lowered = Some(now);
        }
        let pause = pause.unwrap_or_default().min(PATIENCE / 2);
        self.closed = self.closed.max(now + pause);
    }

    /// A call that left at `left` has passed.
    fn raise(&mut self, left: Instant) {
        if self.lowered.is_none_or(|lowered| left > lowered) {
            self.rate = (self.rate + RAISE).min(self.limit.ceiling);
        }
    }

    fn slowdown(&self) -> f64 {
        (self.limit.start / self.rate).max(1.0)
    }
}

/// Any number of a range, each as likely.
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

    /// What happens to a pace.
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
        fn no_stretch_of_time_sees_more_calls_than_burst_and_ceiling_allow(turns in turns(), seed: u64) {
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
                                    // Whoever comes back then and finds nothing changed gets the place.
                                    let mut then = pace.clone();
                                    prop_assert!(*poll || then.take(later + Duration::from_millis(1), Rank::Call).is_ok());
                                }
                            },
                            Turn::Passed => pace.raise(now),
                            Turn::Throttled(pause) => pace.lower(now, now, pause.map(Duration::from_secs)),
                        }
                        prop_assert!((FLOOR..=limit.ceiling).contains(&pace.rate), "{}", pace.rate);
                    }
                    // Calls by then beyond what the ceiling allows since any call before.
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

    /// What AWS keeps for a whole account: fifteen tokens, and fifteen more each second.
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

    /// One process: so many calls at once, each sent again until it passes.
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
    async fn twenty_processes_share_one_accounts_limit_and_none_starves() {
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
            // 4,515 is what AWS would take, 225 everybody's share.
            assert!(n_passed > 4_000, "{n_passed}");
            assert!(n_throttled < n_passed / 2, "{n_throttled} throttled, {n_passed} passed");
            assert!(*least > 100, "{passed:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_share_of_the_rate_is_kept_to_however_many_calls_there_are() {
        for rate in [1_u8, 3, 7] {
            let budget = Budget::sharing(f64::from(rate) / f64::from(LAMBDAS_RATE));
            let start = Instant::now();
            let n_calls = 20 * u32::from(rate);
            for _ in 0..n_calls {
                budget.admit(&counted()).await.unwrap().taken();
            }
            // After its burst, which is a part as well.
            let took = start.elapsed().as_secs_f64();
            assert!((17.0..=32.0).contains(&took), "{rate} a second: {n_calls} calls in {took} s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn calls_leave_in_their_order_and_polls_after_them() {
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
        // Six polls leave four places of the burst to others, and wait for more even while nobody comes.
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
    async fn what_counts_apart_waits_apart() {
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
    async fn a_wait_that_is_told_to_end_or_lasts_too_long_gives_its_place_up() {
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
            "there was no free place in the rate limit of Lambda, which the whole account shares"
        );
        assert_eq!(start.elapsed(), NEWS);
        assert!(!budget.is_crowded(Duration::ZERO));
        // AWS can't close a lane for longer than anybody waits.
        budget.admit(&request).await.unwrap();
        assert_eq!(start.elapsed(), PATIENCE / 2);
    }

    const NEWS: Duration = Duration::from_secs(3);
}
