//! Whatever goes wrong, running the same command again ends where an undisturbed run ends. Every call of the engine
//! meets every fault, in every scenario: the real SDK and a real local AWS behind it, whose state is real.
//!
//! This program is also the engine itself, with the faults in front of its network; the shipped one has no such thing.
//! A seeded sample runs with `cargo test`, the whole with `ENGINE_FAULTS=all cargo test --test faults`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stderr)]
#![cfg(unix)]

mod case;
mod layer;
mod picture;
mod scenario;
#[path = "../shared/mod.rs"]
mod shared;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use libtest_mimic::{Arguments, Failed, Trial};

use case::{Case, Lab, reference, was_killed};
use layer::{AS_ENGINE, FAULTS, Fault};
use scenario::{SCENARIOS, Scenario};

/// Calls beyond those of an undisturbed run that are hit as well: a retry makes runs longer.
const BEYOND: usize = 2;
/// Cases that run at the same time: most of it is waiting.
const AT_ONCE: usize = 6;

/// What has been run, by scenario.
#[derive(Default)]
struct Tally(Mutex<BTreeMap<&'static str, (usize, usize, usize)>>);

/// Which calls are hit.
#[derive(Clone, Copy)]
enum Extent {
    All,
    Sample(u64),
    /// The one of this number.
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
    for scenario in &SCENARIOS {
        for (index, fault) in FAULTS.iter().enumerate() {
            let (lab, tally) = (Arc::clone(&lab), Arc::clone(&tally));
            let run = move || under_fault(lab.get_or_init(Lab::new), scenario, (index, fault), extent, &tally);
            trials.push(Trial::test(format!("{}::{}", scenario.name, fault.name), run));
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !arguments.list {
        tally.tell(start, extent);
    }
    // The local AWS ends with the lab.
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

/// The calls that a fault hits: all, or for a sample another one for each fault.
fn calls(extent: Extent, n_calls: usize, scenario: &Scenario, fault: usize) -> Vec<usize> {
    match extent {
        Extent::All => (1..=n_calls).collect(),
        Extent::One(call) => vec![call],
        Extent::Sample(seed) => {
            let salt = scenario.name.bytes().fold(seed, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
            let mut order: Vec<usize> = (1..=n_calls).collect();
            fastrand::Rng::with_seed(salt).shuffle(&mut order);
            vec![order[fault % n_calls]]
        }
    }
}

/// Runs a scenario with the fault at each call in turn.
fn under_fault(
    lab: &Lab,
    scenario: &'static Scenario,
    (index, fault): (usize, &Fault),
    extent: Extent,
    tally: &Tally,
) -> Result<(), Failed> {
    let reference = reference(lab, scenario);
    let n_calls = reference.calls.len() + BEYOND;
    let mut wrong = Vec::new();
    for call in calls(extent, n_calls, scenario, index) {
        let case = Case::new(lab, scenario);
        let ended = case.run_under(Some(fault), call);
        let was_hit = ended.calls.len() >= call;
        let own_end = match fault.kills() && was_hit {
            true if was_killed(&ended) => Ok(()),
            true => Err(format!("it was not killed, but ended with {}", ended.status)),
            false => case.has_ended_well(&ended, &[0, 1, 3]),
        };
        let result = own_end.and_then(|()| case.converges(reference, ended.status.success()));
        tally.note(scenario, reference.calls.len(), result.is_ok());
        if let Err(problem) = result {
            let layer_says = ended.calls.iter().filter(|line| line.ends_with(fault.name)).cloned().collect::<Vec<_>>();
            wrong.push(format!("call {call} {layer_says:?}: {problem}\n{}\n{}", ended.stdout, ended.stderr));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n\n").into()) }
}

impl Tally {
    fn note(&self, scenario: &'static Scenario, n_calls: usize, is_right: bool) {
        let mut all = self.0.lock().unwrap();
        let entry = all.entry(scenario.name).or_insert((n_calls, 0, 0));
        entry.1 += 1;
        entry.2 += usize::from(is_right);
    }

    fn tell(&self, start: Instant, extent: Extent) {
        let all = self.0.lock().unwrap();
        let (mut n_runs, mut n_right) = (0, 0);
        for (name, (n_calls, runs, right)) in all.iter() {
            eprintln!(
                "{name}: {n_calls} calls undisturbed, {runs} runs under {} faults, {right} ended right",
                FAULTS.len()
            );
            n_runs += runs;
            n_right += right;
        }
        let seconds = start.elapsed().as_secs();
        let sample = match extent {
            Extent::Sample(seed) => format!("; again with ENGINE_FAULTS_SEED={seed}, the whole with ENGINE_FAULTS=all"),
            _ => String::new(),
        };
        eprintln!("{n_runs} runs, {n_right} ended right, {seconds} s{sample}");
    }
}
