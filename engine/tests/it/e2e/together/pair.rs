//! Two processes whose calls reach AWS in an order that a seed determines.

use std::panic::resume_unwind;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::super::project::{Project, Ran};
use super::strict::Strict;
use crate::shared::proxy::Proxy;

/// How long a call may be held: longer than a run may take.
const LIMIT: Duration = Duration::from_secs(180);

/// One of the two processes.
pub(super) type Side = usize;

/// Holds calls and answers of both sides and releases them one by one: once each side has one on
/// hold, a random one of all continues. So one side may get any number of calls ahead, and neither
/// waits for long.
struct Schedule {
    state: Mutex<State>,
    moved: Condvar,
}

struct State {
    chance: fastrand::Rng,
    held: Vec<(Side, u64)>,
    n_held: u64,
    ended: [bool; 2],
}

impl Schedule {
    fn new(seed: u64) -> Schedule {
        let state = State { chance: fastrand::Rng::with_seed(seed), held: Vec::new(), n_held: 0, ended: [false; 2] };
        Schedule { state: Mutex::new(state), moved: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when this call, or the answer to it, may continue.
    fn pass(&self, side: Side) {
        let mut state = self.state();
        // One in three is held.
        if state.chance.u8(..3) != 0 {
            return;
        }
        state.n_held += 1;
        let ticket = (side, state.n_held);
        state.held.push(ticket);
        self.release(&mut state);
        let is_held = |state: &mut State| state.held.contains(&ticket);
        drop(self.moved.wait_timeout_while(state, LIMIT, is_held).unwrap_or_else(PoisonError::into_inner));
    }

    /// Marks that this side makes no more calls.
    fn end(&self, side: Side) {
        let mut state = self.state();
        state.ended[side] = true;
        self.release(&mut state);
    }

    fn release(&self, state: &mut State) {
        let waits = |state: &State, side: Side| state.ended[side] || state.held.iter().any(|(of, _)| *of == side);
        while !state.held.is_empty() && waits(state, 0) && waits(state, 1) {
            let chosen = state.chance.usize(..state.held.len());
            state.held.swap_remove(chosen);
        }
        self.moved.notify_all();
    }
}

/// Runs two engine processes concurrently.
#[track_caller]
pub(super) fn race(project: &Project, strict: &Arc<Strict>, account: &str, seed: u64, args: [&[&str]; 2]) -> [Ran; 2] {
    let schedule = Arc::new(Schedule::new(seed));
    let proxies = [0, 1].map(|side| {
        let (schedule, strict) = (Arc::clone(&schedule), Arc::clone(strict));
        let endpoint = strict.endpoint.clone();
        Proxy::new(&endpoint, move |request| {
            schedule.pass(side);
            let answer = strict.answer(request);
            schedule.pass(side);
            answer
        })
    });
    let running = [0, 1].map(|side| (side, project.command_at(&proxies[side].endpoint(), account, args[side]).start()));
    std::thread::scope(|scope| {
        let schedule = &*schedule;
        let ends = running.map(|(side, running)| {
            scope.spawn(move || {
                let _end = EndNotice(schedule, side);
                running.end()
            })
        });
        ends.map(|end| end.join().unwrap_or_else(|why| resume_unwind(why)))
    })
}

/// Notifies the schedule that a side has ended, even by a panic.
struct EndNotice<'s>(&'s Schedule, Side);

impl Drop for EndNotice<'_> {
    fn drop(&mut self) {
        self.0.end(self.1);
    }
}
