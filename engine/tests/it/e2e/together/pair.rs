//! Two processes whose calls come to AWS in an order that a seed decides.

use std::panic::resume_unwind;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::super::project::{Project, Ran};
use super::strict::Strict;
use crate::shared::proxy::Proxy;

/// How long a call may be held: longer than a run may take.
const LIMIT: Duration = Duration::from_secs(180);

/// One of the two.
pub(super) type Side = usize;

/// Holds calls and answers of both sides, and lets them go one by one: whenever each side has one
/// that is held, chance says which of all goes on. So one side may get ahead of the other by any
/// number of calls, and nobody waits for long.
struct Schedule {
    board: Mutex<Board>,
    moved: Condvar,
}

struct Board {
    chance: fastrand::Rng,
    held: Vec<(Side, u64)>,
    n_held: u64,
    ended: [bool; 2],
}

impl Schedule {
    fn new(seed: u64) -> Schedule {
        let board = Board { chance: fastrand::Rng::with_seed(seed), held: Vec::new(), n_held: 0, ended: [false; 2] };
        Schedule { board: Mutex::new(board), moved: Condvar::new() }
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when this call, or the answer to it, may go on.
    fn pass(&self, side: Side) {
        let mut board = self.board();
        // One in three is held.
        if board.chance.u8(..3) != 0 {
            return;
        }
        board.n_held += 1;
        let ticket = (side, board.n_held);
        board.held.push(ticket);
        self.stir(&mut board);
        let is_held = |board: &mut Board| board.held.contains(&ticket);
        drop(self.moved.wait_timeout_while(board, LIMIT, is_held).unwrap_or_else(PoisonError::into_inner));
    }

    /// Nothing comes from this side any more.
    fn end(&self, side: Side) {
        let mut board = self.board();
        board.ended[side] = true;
        self.stir(&mut board);
    }

    fn stir(&self, board: &mut Board) {
        let waits = |board: &Board, side: Side| board.ended[side] || board.held.iter().any(|(of, _)| *of == side);
        while !board.held.is_empty() && waits(board, 0) && waits(board, 1) {
            let chosen = board.chance.usize(..board.held.len());
            board.held.swap_remove(chosen);
        }
        self.moved.notify_all();
    }
}

/// Runs the engine twice at once.
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
                let _end = End(schedule, side);
                running.end()
            })
        });
        ends.map(|end| end.join().unwrap_or_else(|why| resume_unwind(why)))
    })
}

/// Tells the schedule that a side has ended, however it did.
struct End<'s>(&'s Schedule, Side);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.end(self.1);
    }
}
