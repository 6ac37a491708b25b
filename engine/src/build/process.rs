//! Runs the program of a build, with everything that it starts, in a separate process group.
//!
//! **Invariant:** no process of the group outlives the run, however it ends.

use std::collections::VecDeque;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use engine_core::build::{Build, Command, OUTPUT};
use engine_core::schema::Problem;
use tokio::time::{Instant, sleep, sleep_until};

use super::environment::environment;

/// How many bytes of the output are kept, the last ones.
const MAX_OUTPUT: usize = 1 << 18;
/// The time between two checks whether the program has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// How long the group has to end after SIGTERM, and a detached process to close the output.
const GRACE: Duration = Duration::from_secs(2);

/// Why a build didn't succeed.
#[derive(Debug)]
pub enum BuildFailure {
    /// There is no program for it.
    Missing(Box<Problem>),
    /// The program isn't in `PATH`, and how to install it.
    NotFound(String, Option<&'static str>),
    /// The program can't be started.
    Unstartable(io::Error),
    /// It ended with an error, after this output.
    Failed(ExitStatus, String),
    /// It took longer than the limit, with this output so far.
    Overdue(Duration, String),
    /// The user pressed Ctrl-C.
    Interrupted,
}

/// Runs a build whose folder of engine's own is `folder`.
pub(super) async fn run(
    build: &Build,
    folder: &Path,
    limit: Duration,
    interrupted: impl Future<Output = ()>,
) -> Result<(), BuildFailure> {
    let mut command = command(build, folder)?;
    let (reader, writer) = io::pipe().map_err(BuildFailure::Unstartable)?;
    let other = writer.try_clone().map_err(BuildFailure::Unstartable)?;
    command.stdin(Stdio::null()).stdout(writer).stderr(other);
    let child = command.spawn().map_err(BuildFailure::Unstartable)?;
    // Its copies of the pipe would keep the output open.
    drop(command);
    let output = Capture::start(reader);
    let mut group = Group { child, is_reaped: false };
    let (mut interrupted, deadline) = (pin!(interrupted), Instant::now() + limit);
    let ended = loop {
        if group.has_ended() {
            break None;
        }
        tokio::select! {
            () = sleep(POLL_INTERVAL) => {}
            () = &mut interrupted => break Some(BuildFailure::Interrupted),
            () = sleep_until(deadline) => break Some(BuildFailure::Overdue(limit, String::new())),
        }
    };
    let status = group.end().await.map_err(BuildFailure::Unstartable)?;
    let output = output.end().await;
    match ended {
        None if status.success() => Ok(()),
        None => Err(BuildFailure::Failed(status, output)),
        Some(BuildFailure::Overdue(limit, _)) => Err(BuildFailure::Overdue(limit, output)),
        Some(failure) => Err(failure),
    }
}

/// The command with its folder and environment.
fn command(build: &Build, folder: &Path) -> Result<std::process::Command, BuildFailure> {
    let directory = &super::real(&build.directory);
    let downloads = matches!(build.command, Command::Tool { downloads: true, .. });
    let (program, args, install) = match &build.command {
        Command::Shell(line) if cfg!(windows) => (PathBuf::from("cmd"), vec!["/C".to_owned(), line.clone()], None),
        Command::Shell(line) => (PathBuf::from("sh"), vec!["-c".to_owned(), line.clone()], None),
        Command::Program(words) => {
            let (program, args) = words.split_first().map_or((PathBuf::new(), &[][..]), |(it, args)| (it.into(), args));
            (program, args.to_vec(), None)
        }
        Command::Tool { program, args, install, .. } => {
            let program = program.clone().map_err(BuildFailure::Missing)?;
            let folder = super::real(folder).display().to_string();
            (program, args.iter().map(|arg| arg.replace(OUTPUT, &folder)).collect(), Some(*install))
        }
    };
    let path = std::env::var_os("PATH");
    let found = which::which_in(&program, path, directory)
        .map_err(|_| BuildFailure::NotFound(program.display().to_string(), install))?;
    let mut command = std::process::Command::new(found);
    command.args(args).current_dir(directory).env_clear().envs(environment(downloads));
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    Ok(command)
}

/// The program and everything that it has started.
struct Group {
    child: Child,
    is_reaped: bool,
}

impl Group {
    /// Whether the program itself has ended. It is not reaped, so that its number stays taken.
    #[cfg(unix)]
    fn has_ended(&self) -> bool {
        use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(waitid(WaitId::Pid(Pid::from_child(&self.child)), options), Ok(None))
    }

    #[cfg(not(unix))]
    fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends what is left of the group: SIGTERM, and then SIGKILL.
    #[cfg(unix)]
    async fn end(&mut self) -> io::Result<ExitStatus> {
        use rustix::process::Signal;
        self.signal(Signal::TERM);
        let deadline = Instant::now() + GRACE;
        while !self.has_ended() && Instant::now() < deadline {
            sleep(POLL_INTERVAL).await;
        }
        self.signal(Signal::KILL);
        self.is_reaped = true;
        self.child.wait()
    }

    #[cfg(not(unix))]
    async fn end(&mut self) -> io::Result<ExitStatus> {
        // It may have ended already.
        let _ = self.child.kill();
        self.is_reaped = true;
        self.child.wait()
    }

    #[cfg(unix)]
    fn signal(&self, signal: rustix::process::Signal) {
        // All of them may have ended already, which is the goal.
        let _ = rustix::process::kill_process_group(rustix::process::Pid::from_child(&self.child), signal);
    }
}

impl Drop for Group {
    /// The command ends early: another build failed, or the user pressed Ctrl-C twice.
    fn drop(&mut self) {
        if self.is_reaped {
            return;
        }
        #[cfg(unix)]
        self.signal(rustix::process::Signal::KILL);
        #[cfg(not(unix))]
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The end of what a program prints.
struct Capture {
    bytes: Arc<Mutex<VecDeque<u8>>>,
    thread: JoinHandle<()>,
}

impl Capture {
    fn start(mut reader: io::PipeReader) -> Capture {
        let bytes: Arc<Mutex<VecDeque<u8>>> = Arc::default();
        let kept = Arc::clone(&bytes);
        let thread = std::thread::spawn(move || {
            let mut part = [0; 1 << 13];
            while let Ok(n @ 1..) = reader.read(&mut part) {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend(part.get(..n).unwrap_or_default());
                let n_old = kept.len().saturating_sub(MAX_OUTPUT);
                kept.drain(..n_old);
            }
        });
        Capture { bytes, thread }
    }

    /// All output. A process that left the group may keep the pipe open, so the wait has a limit.
    async fn end(self) -> String {
        let deadline = Instant::now() + GRACE;
        while !self.thread.is_finished() && Instant::now() < deadline {
            sleep(POLL_INTERVAL).await;
        }
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes.iter().copied().collect::<Vec<u8>>()).into_owned()
    }
}
