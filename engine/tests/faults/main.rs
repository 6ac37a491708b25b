//! After any fault, running the same command again gives the same result as an undisturbed run.
//! Every scenario injects every fault into every call that engine makes with the real SDK to a real
//! local AWS, which keeps real state.
//!
//! This test program also runs as engine itself, with a fault layer in its network stack; the
//! shipped program has none. `cargo test` runs a seeded sample, `ENGINE_FAULTS=all cargo test
//! --test faults` runs everything.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stderr)]
#![cfg(unix)]

mod case;
mod kill;
mod layer;
mod picture;
mod scenario;
#[path = "../shared/mod.rs"]
mod shared;

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use engine::operation::Effect;
use libtest_mimic::{Arguments, Failed, Trial};

use case::{Case, Lab, Reference, reference};
use kill::STOPS;
use layer::{AS_ENGINE, FAULTS, Fault};
use scenario::{SCENARIOS, Scenario};

/// The number of calls to test beyond those of an undisturbed run, because retries add calls.
const BEYOND: usize = 2;
/// The number of concurrent cases: they mostly wait.
const AT_ONCE: usize = 12;

/// The results by scenario and by group: network faults, or stops of the process from outside.
#[derive(Default)]
struct Tally(Mutex<BTreeMap<(&'static str, &'static str), Count>>);

#[derive(Default)]
struct Count {
    n_calls: usize,
    n_runs: usize,
    n_right: usize,
}

/// Runs one case with a fault or a stop at a call.
type Run = Box<dyn Fn(&Case<'_>, &Reference, usize) -> Result<(), String> + Send>;

/// The calls to test.
#[derive(Clone, Copy)]
enum Extent {
    All,
    Sample(u64),
    /// The call with this number.
    One(usize),
}

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    args.next();
    if args.next().is_some_and(|first| first == AS_ENGINE) {
        return layer::be_the_engine(args);
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    let extent = match std::env::var("ENGINE_FAULTS") {
        Ok(all) if all == "all" => Extent::All,
        Ok(call) => Extent::One(call.parse().expect("ENGINE_FAULTS is `all` or the number of a call")),
        Err(_) => Extent::Sample(seed()),
    };
    let lab: Arc<OnceLock<Lab>> = Arc::default();
    let tally = Arc::new(Tally::default());
    let start = Instant::now();
    let mut trials = Vec::new();
    let mut trial = |scenario: &'static Scenario, group, (index, name): (usize, &str), run: Run| {
        let (lab, tally) = (Arc::clone(&lab), Arc::clone(&tally));
        trials.push(Trial::test(format!("{}::{name}", scenario.name), move || {
            let lab = lab.get_or_init(Lab::new);
            let reference = reference(lab, scenario);
            let mut wrong = Vec::new();
            for call in calls(extent, reference, scenario, index) {
                let result = run(&Case::new(lab, scenario), reference, call);
                tally.note((scenario.name, group), reference.calls.len(), result.is_ok());
                wrong.extend(result.err().map(|problem| format!("at call {call}: {problem}")));
            }
            if wrong.is_empty() { Ok(()) } else { Err(Failed::from(wrong.join("\n\n"))) }
        }));
    };
    for (number, scenario) in SCENARIOS.iter().enumerate() {
        // A sample takes every second fault.
        let is_chosen = |index: usize| match extent {
            Extent::Sample(seed) => (number + index).is_multiple_of(2) == seed.is_multiple_of(2),
            Extent::All | Extent::One(_) => true,
        };
        for (index, fault) in FAULTS.iter().enumerate().filter(|(index, _)| is_chosen(*index)) {
            let run: Run = Box::new(move |case, reference, call| under_fault(case, reference, fault, call));
            trial(scenario, "faults", (index, fault.name), run);
        }
        let is_stopped = kill::SCENARIOS.contains(&scenario.name);
        for (index, stop) in STOPS.into_iter().enumerate().filter(|(index, _)| is_stopped && is_chosen(*index)) {
            let run: Run = Box::new(move |case, reference, call| kill::stopped(case, reference, stop, call));
            trial(scenario, "stops", (FAULTS.len() + index, stop.name), run);
        }
    }
    let shared = Arc::clone(&lab);
    trials.push(Trial::test("every_write_is_part_of_a_scenario", move || unmet(shared.get_or_init(Lab::new))));
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !arguments.list {
        tally.report(start, extent);
    }
    // Dropping the lab stops the local AWS.
    drop(lab);
    conclusion.exit_code()
}

fn seed() -> u64 {
    let given = std::env::var("ENGINE_FAULTS_SEED").ok();
    let given = given.map(|seed| seed.parse().expect("ENGINE_FAULTS_SEED is a number"));
    given.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        now.as_secs()
    })
}

/// The calls that a fault is injected into: all, or for a sample a different one for each fault,
/// half of them writes.
fn calls(extent: Extent, reference: &Reference, scenario: &Scenario, fault: usize) -> Vec<usize> {
    let n_calls = reference.calls.len() + BEYOND;
    match extent {
        Extent::All => (1..=n_calls).collect(),
        Extent::One(call) => vec![call],
        Extent::Sample(seed) => {
            let salt = scenario.name.bytes().fold(seed, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
            let mut random = fastrand::Rng::with_seed(salt);
            let is_write = |call: &usize| reference.calls.get(call - 1).is_some_and(|line| line.contains(" write "));
            let mut order: Vec<usize> = (1..=n_calls).collect();
            random.shuffle(&mut order);
            let writes: Vec<usize> = order.iter().copied().filter(is_write).collect();
            let order = if (fault + random.usize(0..2)).is_multiple_of(2) { writes } else { order };
            vec![order[fault % order.len()]]
        }
    }
}

/// Writes that the local AWS doesn't know.
const NOT_LOCAL: [&str; 2] = ["AssociateKmsKey", "DisassociateKmsKey"];

/// Fails if a write of a resource type meets no fault, since no scenario makes it. Tags are only
/// removed by `forget`, with one call.
fn unmet(lab: &Lab) -> Result<(), Failed> {
    let calls = SCENARIOS.iter().flat_map(|scenario| &reference(lab, scenario).calls);
    let made: BTreeSet<&str> = calls.filter_map(|line| line.split(' ').nth(3)).collect();
    let all = engine::operation::all();
    let writes = all.iter().filter(|it| matches!(it.effect, Effect::Create | Effect::Write)).map(|it| it.name);
    let unmet: Vec<&str> = writes.filter(|name| !made.contains(name) && !name.starts_with("Untag")).collect();
    if unmet == NOT_LOCAL { Ok(()) } else { Err(Failed::from(format!("no scenario makes {unmet:?}"))) }
}

/// Runs a case with the fault at one call, then again without it.
fn under_fault(case: &Case<'_>, reference: &Reference, fault: &Fault, call: usize) -> Result<(), String> {
    let ended = case.run_under(Some(fault), call);
    let is_write = ended.calls.get(call - 1).is_some_and(|line| line.contains(" write "));
    let own_end = match fault.kills() && ended.calls.len() >= call {
        true if ended.was_killed() => Ok(()),
        true => Err(format!("it was not killed, but ended with {}", ended.ran.status)),
        false if fault.is_got_over(is_write) => case.has_ended_well(&ended, &[0]),
        false => case.has_ended_well(&ended, &[0, 1, 3]),
    };
    own_end.and_then(|()| case.converges(reference, ended.is_complete())).map_err(|problem| {
        let hit = ended.calls.iter().filter(|line| line.ends_with(fault.name)).cloned().collect::<Vec<_>>();
        format!("{}: {problem}\n{}\n{}", hit.join("; "), ended.ran.out, ended.ran.err)
    })
}

impl Tally {
    fn note(&self, what: (&'static str, &'static str), n_calls: usize, is_right: bool) {
        let mut all = self.0.lock().unwrap();
        let count = all.entry(what).or_default();
        count.n_calls = n_calls;
        count.n_runs += 1;
        count.n_right += usize::from(is_right);
    }

    fn report(&self, start: Instant, extent: Extent) {
        for group in ["faults", "stops"] {
            let all = self.0.lock().unwrap();
            let of_group = all.iter().filter(|((_, it), _)| *it == group);
            let (mut n_runs, mut n_right) = (0, 0);
            for ((scenario, _), count) in of_group {
                eprintln!(
                    "{group}, {scenario}: {} calls undisturbed, {} runs, {} ended right",
                    count.n_calls, count.n_runs, count.n_right
                );
                n_runs += count.n_runs;
                n_right += count.n_right;
            }
            eprintln!("{group}: {n_runs} runs, {n_right} ended right");
        }
        let again = match extent {
            Extent::Sample(seed) => format!("; again with ENGINE_FAULTS_SEED={seed}, the whole with ENGINE_FAULTS=all"),
            _ => String::new(),
        };
        eprintln!("{} s{again}", start.elapsed().as_secs());
    }
}
