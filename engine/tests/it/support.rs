//! Helpers that several test modules share.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

pub(crate) use crate::shared::{DEADLINE, ENGINE, eventually, installed};

/// Aborts the test program unless it is dropped in time, because a test can't fail a future that is
/// never woken.
pub(crate) struct Watchdog(#[expect(dead_code, reason = "dropping it is the signal")] Sender<()>);

impl Watchdog {
    pub(crate) fn start() -> Watchdog {
        const LIMIT: Duration = Duration::from_secs(600);
        let test = std::thread::current().name().unwrap_or("a thread of a test").to_owned();
        let (sender, dropped) = channel();
        std::thread::spawn(move || {
            if dropped.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
                // Not with `eprintln!`: the test harness captures that until the test ends.
                let _ = writeln!(std::io::stderr(), "{test} does not end within {LIMIT:?}");
                std::process::exit(101);
            }
        });
        Watchdog(sender)
    }
}

/// The path of a program on this machine.
pub(crate) fn installed_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// The commands that a `--help` lists, in groups or not, without their aliases.
pub(crate) fn commands(help: &str) -> Vec<String> {
    let (_, list) = help.split_once("Usage: ").unwrap();
    let (list, _) = list.split_once("Options:\n").unwrap();
    let rows = list.lines().filter_map(|line| line.strip_prefix("  ")).filter(|row| !row.starts_with(' '));
    rows.map(|row| row.split([' ', ',']).next().unwrap().to_owned()).collect()
}
