//! Finds processes, identifies them, and ends whole groups.
//!
//! **Invariant:** knows nothing of MiniStack. A number alone never identifies a process here,
//! because the system reuses numbers: each signal goes to a process that was identified by more
//! than its number.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, kill_process_group, wait};
use serde::{Deserialize, Serialize};

/// How long a process has to end after SIGTERM, and again after SIGKILL.
const GRACE: Duration = Duration::from_secs(2);

const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// A process, identified by its number and its start time as the system reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProcessId {
    pub(super) pid: i32,
    started: String,
}

impl ProcessId {
    /// The live process with this number.
    pub(super) fn of(pid: i32) -> Option<Self> {
        find(pid).map(|process| Self { pid, started: process.started })
    }

    pub(super) fn is_alive(&self) -> bool {
        Self::of(self.pid).as_ref() == Some(self)
    }

    /// Sends this process SIGTERM, and SIGKILL if it still runs after `limit`.
    pub(super) fn end(&self, limit: Duration) {
        for signal in [Signal::TERM, Signal::KILL] {
            if let (true, Some(pid)) = (self.is_alive(), target(self.pid)) {
                // The process may have ended already, which is the goal.
                let _ = kill_process(pid, signal);
                wait_until(limit, || !self.is_alive());
            }
        }
    }
}

/// A process that is not a zombie.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: i32,
    parent: i32,
    group: i32,
    started: String,
    /// The command line, its arguments joined by spaces.
    pub(super) arguments: String,
}

/// The members of a process group that are not zombies.
pub(super) fn group(group: i32) -> Vec<Process> {
    all().into_iter().filter(|process| process.group == group).collect()
}

/// Ends a process group: SIGTERM, then SIGKILL for processes that still run after two seconds, such
/// as a function in an endless loop. Returns whether all have ended.
pub(super) fn end_group(number: i32) -> bool {
    let has_ended = || group(number).is_empty();
    let Some(leader) = target(number) else {
        return true;
    };
    for signal in [Signal::TERM, Signal::KILL] {
        // An error means that the group has ended already, which the check finds.
        let _ = kill_process_group(leader, signal);
        if wait_until(GRACE, has_ended) {
            return true;
        }
    }
    false
}

/// Makes this process the parent of orphaned descendants in any session, so that no process that a
/// function starts is lost. Linux only.
pub(super) fn adopt_orphans() {
    #[cfg(target_os = "linux")]
    // If it fails, the variable in the environment still finds nearly all.
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
}

/// Reaps children that have ended, which otherwise stay as zombies, and returns whether `server` is
/// among them.
pub(super) fn reap(server: i32) -> bool {
    let mut has_ended = false;
    while let Ok(Some((pid, _))) = wait(WaitOptions::NOHANG) {
        has_ended |= pid.as_raw_nonzero().get() == server;
    }
    has_ended
}

/// Kills all descendants of this process. Returns whether none is left.
pub(super) fn end_descendants() -> bool {
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    kill_all(|| {
        let all = all();
        let mut found = vec![own];
        let mut next = 0;
        while let Some(parent) = found.get(next).copied() {
            found.extend(all.iter().filter(|process| process.parent == parent).map(|process| process.pid));
            next += 1;
        }
        reap(0);
        found.split_off(1)
    })
}

/// Kills all processes with `mark`, a variable with its value, in their environment. Returns
/// whether none is left.
pub(super) fn end_marked(mark: &str) -> bool {
    kill_all(|| marked(mark))
}

/// Kills what `find` returns until it returns nothing: a process may start another one in the
/// meantime.
fn kill_all(find: impl Fn() -> Vec<i32>) -> bool {
    wait_until(GRACE, || {
        let found = find();
        for pid in found.iter().filter_map(|pid| target(*pid)) {
            // It may have ended already.
            let _ = kill_process(pid, Signal::KILL);
        }
        found.is_empty()
    })
}

/// Polls until `done` or until the time is over. Returns whether it is done.
pub(super) fn wait_until(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if done() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// A signal to 0, 1 or a negative number would reach far more than one process or group.
fn target(number: i32) -> Option<Pid> {
    if number > 1 { Pid::from_raw(number) } else { None }
}

#[cfg(target_os = "linux")]
use linux::{all, find, marked};
#[cfg(not(target_os = "linux"))]
use ps::{all, find, marked};

#[cfg(target_os = "linux")]
mod linux {
    //! Reads `/proc`, because a minimal container has no `ps`.

    use super::Process;

    pub(super) fn all() -> Vec<Process> {
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter_map(find).collect()
    }

    pub(super) fn find(pid: i32) -> Option<Process> {
        let read = |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).ok();
        let (parent, group, ticks) = parse_stat(&String::from_utf8_lossy(&read("stat")?))?;
        let mut arguments = read("cmdline")?;
        arguments.iter_mut().filter(|byte| **byte == 0).for_each(|byte| *byte = b' ');
        // Ticks count from the boot, so the boot is part of the time.
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let arguments = String::from_utf8_lossy(&arguments).into_owned();
        Some(Process { pid, parent, group, started: format!("{} {ticks}", boot.trim()), arguments })
    }

    /// Processes with this variable, except those of other users, which can't be read.
    pub(super) fn marked(mark: &str) -> Vec<i32> {
        let has_mark = |process: &Process| {
            let environment = std::fs::read(format!("/proc/{}/environ", process.pid)).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
        };
        all().into_iter().filter(has_mark).map(|process| process.pid).collect()
    }

    /// Parent, group and start time from `/proc/PID/stat`: fields 4, 5 and 22 of proc_pid_stat(5).
    /// The name in field 2 may contain spaces and parentheses, so the count starts after the last
    /// parenthesis. `None` for a zombie or a dead process.
    fn parse_stat(stat: &str) -> Option<(i32, i32, u64)> {
        let (_, behind_name) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = behind_name.split_whitespace().collect();
        if matches!(*fields.first()?, "Z" | "X" | "x") {
            return None;
        }
        Some((fields.get(1)?.parse().ok()?, fields.get(2)?.parse().ok()?, fields.get(19)?.parse().ok()?))
    }

    #[cfg(test)]
    mod tests {
        use super::parse_stat;

        #[test]
        fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
            let stat = "7 (a) R (b c) S 1 42 42 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 98765 1 1 1";
            assert_eq!(parse_stat(stat), Some((1, 42, 98765)));
        }

        #[test]
        fn a_zombie_is_not_alive() {
            let stat = "7 (node) Z 1 42 42 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 98765 1 1 1";
            assert_eq!(parse_stat(stat), None);
        }
    }
}

#[cfg(any(not(target_os = "linux"), test))]
#[cfg_attr(target_os = "linux", allow(dead_code))]
mod ps {
    //! Reads the output of `ps`, whose columns are the same on macOS and Linux.

    use std::process::{Command, Stdio};

    use super::Process;

    pub(super) fn all() -> Vec<Process> {
        ask(&["-A"])
    }

    /// Processes with this variable. On macOS only, `-E` shows the environment of this user's
    /// processes after their arguments.
    pub(super) fn marked(mark: &str) -> Vec<i32> {
        if cfg!(not(target_os = "macos")) {
            return Vec::new();
        }
        let has_mark = |process: &Process| process.arguments.split(' ').any(|word| word == mark);
        ask(&["-A", "-E"]).into_iter().filter(has_mark).map(|process| process.pid).collect()
    }

    pub(super) fn find(pid: i32) -> Option<Process> {
        ask(&["-p", &pid.to_string()]).into_iter().find(|process| process.pid == pid)
    }

    fn ask(selection: &[&str]) -> Vec<Process> {
        let mut command = Command::new("ps");
        // The start time is a text in the user's language and time zone unless both are fixed.
        command.env("LC_ALL", "C").env("TZ", "UTC").stdin(Stdio::null());
        command.args(["-ww", "-o", "pid=,ppid=,pgid=,stat=,lstart=,command="]).args(selection);
        let output = command.output().map(|output| output.stdout).unwrap_or_default();
        String::from_utf8_lossy(&output).lines().filter_map(parse_line).collect()
    }

    fn parse_line(line: &str) -> Option<Process> {
        let mut words = line.split_whitespace();
        let pid = words.next()?.parse().ok()?;
        let parent = words.next()?.parse().ok()?;
        let group = words.next()?.parse().ok()?;
        let zombie = words.next()?.starts_with('Z');
        let started: Vec<&str> = words.by_ref().take(5).collect();
        let arguments: Vec<&str> = words.collect();
        (!zombie).then(|| Process { pid, parent, group, started: started.join(" "), arguments: arguments.join(" ") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reused_number_is_another_process() {
        let me = i32::try_from(std::process::id()).ok().and_then(ProcessId::of);
        assert!(me.as_ref().is_some_and(ProcessId::is_alive));
        let before = me.map(|me| ProcessId { started: "earlier".into(), ..me });
        assert!(before.is_some_and(|before| !before.is_alive()));
    }

    #[test]
    fn no_signal_reaches_more_than_one_process_or_group() {
        assert_eq!([-1, 0, 1].map(target), [None; 3]);
    }

    /// Linux has both, so what macOS uses is tested there.
    #[cfg(target_os = "linux")]
    #[test]
    fn ps_and_proc_show_the_same() {
        let me = i32::try_from(std::process::id()).unwrap_or_default();
        let (from_proc, from_ps) = (linux::find(me), ps::find(me));
        let facts =
            |process: Option<Process>| process.map(|it| (it.pid, it.parent, it.group, it.arguments.trim().to_owned()));
        assert!(from_ps.as_ref().is_some_and(|process| process.started.split(' ').count() == 5));
        assert_eq!(facts(from_proc), facts(from_ps));
        assert!(ps::all().iter().any(|process| process.pid == me));
    }
}
