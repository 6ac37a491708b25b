//! Stops the shipped program from outside at each of its calls: with SIGKILL before AWS receives
//! the call or after AWS completes it, with one Ctrl-C, and with two.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use engine::operation;
use rustix::process::{Pid, Signal, kill_process};

use crate::case::{Case, Ended, Reference, as_aws};
use crate::picture::{Picture, differences};
use crate::shared::eventually;
use crate::shared::program::Lines;
use crate::shared::proxy::{Proxy, Request, header};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Killed,
    KilledAfter,
    Interrupted,
    InterruptedTwice,
}

/// How a run is ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stop {
    pub(crate) name: &'static str,
    way: Way,
}

/// All ways to end a run.
pub(crate) const STOPS: [Stop; 4] = [
    Stop { name: "sigkill_before", way: Way::Killed },
    Stop { name: "sigkill_after", way: Way::KilledAfter },
    Stop { name: "ctrl_c_once", way: Way::Interrupted },
    Stop { name: "ctrl_c_twice", way: Way::InterruptedTwice },
];

/// The scenarios that these stops are tested in.
pub(crate) const SCENARIOS: [&str; 10] =
    ["create", "queues", "roles", "roles-update", "roles-destroy", "update", "extend", "reduce", "replace", "destroy"];

/// State that the proxy shares with the thread that waits for the process.
#[derive(Default)]
struct Shared {
    process: Mutex<Option<(Pid, Lines)>>,
    has_ended: AtomicBool,
    n_calls: AtomicUsize,
    /// For a write in flight during Ctrl-C: whether the process waited for the response.
    answered: Mutex<Option<bool>>,
}

/// Runs the case's command, stops it at the given call, then runs it again without a stop.
pub(crate) fn stopped(case: &Case<'_>, reference: &Reference, stop: Stop, call: usize) -> Result<(), String> {
    let shared = Arc::new(Shared::default());
    let proxy = {
        let shared = Arc::clone(&shared);
        Proxy::new(&case.lab.endpoint, move |request| {
            // Wait for the process ID: the stop needs it.
            let (process, said) = shared.process.lock().unwrap().clone().unwrap();
            let n_calls = shared.n_calls.fetch_add(1, Ordering::SeqCst) + 1;
            if n_calls == call { hit(request, stop.way, process, &shared, &said) } else { as_aws(request) }
        })
    };
    let mut unknown = Some(shared.process.lock().unwrap());
    let ended = case.run_at(&proxy.endpoint(), |running| {
        let id = Pid::from_raw(running.id().try_into().unwrap()).unwrap();
        *unknown.take().unwrap() = Some((id, running.err.clone()));
    });
    shared.has_ended.store(true, Ordering::SeqCst);
    let was_hit = shared.n_calls.load(Ordering::SeqCst) >= call;
    drop(proxy);
    let result = check_outcome(case, &ended, stop.way, was_hit).and_then(|()| {
        if *shared.answered.lock().unwrap() == Some(false) {
            return Err("it has not waited for the answer to a write in flight".to_owned());
        }
        case.converges(reference, ended.is_complete())
    });
    result.map_err(|problem| format!("{problem}\n{}\n{}", ended.ran.out, ended.ran.err))
}

/// Stops the process at this call and returns the response.
fn hit(request: &Request, way: Way, process: Pid, shared: &Shared, said: &Lines) -> String {
    let press = || {
        kill_process(process, Signal::INT).unwrap();
        eventually("Ctrl-C is heard", || {
            said.text().contains("interrupted") || shared.has_ended.load(Ordering::SeqCst)
        });
    };
    match way {
        Way::Killed => kill_process(process, Signal::KILL).unwrap(),
        Way::KilledAfter => {
            as_aws(request);
            kill_process(process, Signal::KILL).unwrap();
        }
        Way::Interrupted => {
            let writes = !reads(request);
            if writes {
                *shared.answered.lock().unwrap() = Some(false);
            }
            press();
            let answer = as_aws(request);
            if writes {
                *shared.answered.lock().unwrap() = Some(!shared.has_ended.load(Ordering::SeqCst));
            }
            return answer;
        }
        Way::InterruptedTwice => {
            press();
            if !shared.has_ended.load(Ordering::SeqCst) {
                kill_process(process, Signal::INT).unwrap();
            }
            // This call never gets a response.
            eventually("the second Ctrl-C ends it", || shared.has_ended.load(Ordering::SeqCst));
        }
    }
    String::new()
}

/// Whether engine declares the request as a read.
fn reads(request: &Request) -> bool {
    let mut words = request.head.split_whitespace();
    let (method, uri) = (words.next().unwrap(), words.next().unwrap());
    let target = request.head.lines().find_map(|line| header(line, "x-amz-target"));
    let parsed = operation::all().parse(method, uri, target.as_deref(), &request.body);
    parsed.is_some_and(|request| request.effect == operation::Effect::Read)
}

/// Checks the exit status and the required output of a stopped run.
fn check_outcome(case: &Case<'_>, ended: &Ended, way: Way, was_hit: bool) -> Result<(), String> {
    if !was_hit {
        return case.has_ended_well(ended, &[0]);
    }
    if matches!(way, Way::Killed | Way::KilledAfter) {
        let not_killed = || format!("it was not killed, but ended with {}", ended.ran.status);
        return if ended.was_killed() { Ok(()) } else { Err(not_killed()) };
    }
    // A run with no steps left to start completes normally despite Ctrl-C.
    let may_be_done = way == Way::Interrupted && ended.ran.out.contains("complete!");
    case.has_ended_well(ended, if may_be_done { &[0] } else { &[130] })?;
    if way == Way::InterruptedTwice || may_be_done {
        return Ok(());
    }
    if !ended.ran.err.contains("interrupted") {
        return Err("it does not say that it was interrupted".to_owned());
    }
    if ended.ran.out.contains("incomplete: ") {
        return starts_no_step(&ended.ran.err);
    }
    let written = differences(&case.before.0, &Picture::of(&case.aws).0);
    if written.is_empty() { Ok(()) } else { Err(format!("it tells nothing of what it has done: {written:#?}")) }
}

/// Checks that no step starts after Ctrl-C, except the second half of a replacement of a mapping or
/// a permission, which have no name.
fn starts_no_step(stderr: &str) -> Result<(), String> {
    let (_, rest) = stderr.split_once("interrupted: ").unwrap_or_default();
    let begun = rest.lines().filter(|line| line.ends_with("ing...") && !line.contains(": still "));
    let allowed = ["todos-to-logger: creating...", "logger-permission: creating..."];
    let begun: Vec<&str> = begun.filter(|line| !allowed.contains(line)).collect();
    if begun.is_empty() { Ok(()) } else { Err(format!("it began after Ctrl-C: {begun:?}")) }
}
