//! Single keys from the terminal, without Enter.
//!
//! **Invariant:** the terminal reads whole lines again while engine asks, and when it ends.

use std::collections::VecDeque;
use std::io::{IsTerminal as _, Stdin};
use std::sync::PoisonError;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcsetattr};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;

use super::Terminal;

/// The time between two checks for a key. A thread that waits for one would also take what is typed
/// as an answer to a question.
const POLL_INTERVAL: Duration = Duration::from_millis(40);

/// The keys that the user presses.
pub(in crate::cli) struct Keys<'t> {
    terminal: &'t Terminal,
    input: Stdin,
    /// Arrives when the user resumes a suspended command: the shell has changed the terminal.
    resumed: Option<Signal>,
    pressed: VecDeque<char>,
}

impl<'t> Keys<'t> {
    /// Listens for keys; `None` without a terminal, and in the background.
    pub(in crate::cli) fn listen(terminal: &'t Terminal) -> Option<Keys<'t>> {
        let input = std::io::stdin();
        let is_in_front = || tcgetpgrp(&input).is_ok_and(|group| group == rustix::process::getpgrp());
        if !(input.is_terminal() && std::io::stderr().is_terminal() && is_in_front()) {
            return None;
        }
        let lines = tcgetattr(&input).ok()?;
        *terminal.line_mode.lock().unwrap_or_else(PoisonError::into_inner) = Some(lines);
        let resumed = signal(SignalKind::from_raw(rustix::process::Signal::CONT.as_raw())).ok();
        let keys = Keys { terminal, input, resumed, pressed: VecDeque::new() };
        terminal.read_keys();
        Some(keys)
    }

    /// The next key; `None` once the terminal is closed.
    pub(in crate::cli) async fn next(&mut self) -> Option<char> {
        loop {
            if let Some(key) = self.pressed.pop_front() {
                return Some(key);
            }
            let resumed = async {
                match &mut self.resumed {
                    Some(signal) => drop(signal.recv().await),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = sleep(POLL_INTERVAL) => {}
                () = resumed => self.terminal.read_keys(),
            }
            if !has_input(&self.input) {
                continue;
            }
            let mut bytes = [0; 64];
            let n_read = rustix::io::read(&self.input, &mut bytes).ok().filter(|read| *read > 0)?;
            let text = String::from_utf8_lossy(bytes.get(..n_read)?);
            // Arrow and function keys are sequences.
            self.pressed.extend(text.chars().take_while(|key| *key != '\u{1b}'));
        }
    }
}

impl Drop for Keys<'_> {
    fn drop(&mut self) {
        let lines = self.terminal.line_mode.lock().unwrap_or_else(PoisonError::into_inner).take();
        set(lines);
    }
}

fn has_input(input: &Stdin) -> bool {
    let mut polled = [PollFd::new(input, PollFlags::IN)];
    poll(&mut polled, Some(&Default::default())).is_ok_and(|n_ready| n_ready > 0)
}

fn set(mode: Option<Termios>) {
    if let Some(mode) = mode {
        // A terminal that went away needs no mode.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &mode);
    }
}

/// While it exists, the terminal reads whole lines.
pub(super) struct LineMode<'t>(&'t Terminal);

impl Drop for LineMode<'_> {
    fn drop(&mut self) {
        self.0.read_keys();
    }
}

impl Terminal {
    /// Reads whole lines, also where keys are listened for.
    pub(super) fn read_lines(&self) -> LineMode<'_> {
        set(self.lines());
        LineMode(self)
    }

    fn lines(&self) -> Option<Termios> {
        self.line_mode.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Passes on each key without Enter, and doesn't show it, if keys are listened for.
    fn read_keys(&self) {
        set(self.lines().map(|mut mode| {
            mode.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
            mode.special_codes[SpecialCodeIndex::VMIN] = 1;
            mode.special_codes[SpecialCodeIndex::VTIME] = 0;
            mode
        }));
    }
}
