//! The background process that looks after one server: starts it, watches the mark of the last use, and ends it with
//! everything that it started.
//!
//! It is our own program run again, because a process can leave the terminal's session only by calling `setsid` itself,
//! and calling it between fork and exec would need `unsafe`.
//!
//! **Invariant:** at most one supervisor lives on for a project: one that the record doesn't name ends itself.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::SuperviseArgs;
use super::error::LocalError;
use super::folder::{Folder, Private, Record};
use super::install::VERSION;
use super::process::{self, Identity};

/// The longest time between two looks at mark and record. The mark of a server in use moves with each command.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// The time until the next look while a command holds the lock.
const LOCKED_INTERVAL: Duration = Duration::from_millis(50);

/// Runs one server until it is not used any more, ends by itself, or this process gets SIGTERM.
///
/// For the hidden command `local supervise` only. Blocks, and brings a runtime of its own: must not be called on a
/// thread that is driving another one.
///
/// # Errors
/// When this process leads a process group already, or when server or record cannot be made.
pub fn supervise(args: SuperviseArgs) -> Result<(), LocalError> {
    let refused = |what| move |source: io::Error| LocalError::System { what, source };
    rustix::process::setsid()
        .map_err(|error| refused("the supervisor could not leave the terminal's session")(error.into()))?;
    let private = Private::try_from(args.private.clone())
        .map_err(|error| refused("the supervisor was told a wrong folder")(io::Error::other(error)))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(refused("the supervisor could not be started"))?;

    let outcome = runtime.block_on(async {
        // Before the server starts, so that no signal finds the default action, which would leave the server behind.
        let signals = Signals::new().map_err(refused("the supervisor could not listen to signals"))?;
        let server = server_command(&args, private.path(), private.name()).spawn();
        let server = server.map_err(refused("`python3` could not be started"))?;
        let group = i32::try_from(server.id()).unwrap_or_default();
        // The lock is kept until all is over, so that the next command finds either this server or nothing of it.
        let lock = watch(&args, &private, group, server, signals).await;
        process::end_group(group);
        lock
    });
    private.remove();
    outcome.map(drop)
}

/// `-S` keeps the machine's own packages out: a Docker SDK there would change how functions are run. The environment is
/// built from empty, because a function inherits all of it.
fn server_command(args: &SuperviseArgs, private: &Path, identity: &str) -> Command {
    let mut path = args.node_folder.clone().into_os_string();
    path.push(":/usr/bin:/bin");
    let mut command = Command::new(&args.python);
    command
        .args(["-S", "-m", "ministack"])
        .env_clear()
        .env("PYTHONPATH", &args.packages)
        .env("PATH", path)
        .env("BIND_HOST", "127.0.0.1")
        .env("GATEWAY_PORT", args.port.to_string())
        .env("TMPDIR", private)
        .env("HOME", private)
        .env("IOT_MTLS_ENABLED", "0")
        .env("SFTP_ENABLED", "0")
        .env("LOG_LEVEL", "WARNING")
        .env("MINISTACK_EDITION", identity)
        // Python looks for modules in the current folder first.
        .current_dir(private)
        .stdin(Stdio::null())
        .process_group(0);
    command
}

struct Signals {
    child: Signal,
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            child: signal(SignalKind::child())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

/// Returns when the server shall end or has ended, with the project's lock if that was for want of use.
async fn watch(
    args: &SuperviseArgs,
    private: &Private,
    group: i32,
    mut server: Child,
    mut signals: Signals,
) -> Result<Option<File>, LocalError> {
    let own = i32::try_from(std::process::id()).ok().and_then(Identity::of);
    let (Some(supervisor), Some(identity)) = (own, Identity::of(group)) else {
        return Ok(None);
    };
    let folder = Folder::known(args.folder.clone());
    let record =
        Record { version: VERSION.to_owned(), port: args.port, private: private.clone(), supervisor, server: identity };
    folder.write(&record)?;

    let idle_limit = Duration::from_secs(args.idle_seconds);
    loop {
        if !matches!(server.try_wait(), Ok(None)) {
            return Ok(None);
        }
        let pause = match look(&folder, &record, idle_limit)? {
            Look::End(lock) => return Ok(lock),
            Look::Again(pause) => pause,
        };
        tokio::select! {
            _ = signals.terminate.recv() => return Ok(None),
            _ = signals.interrupt.recv() => return Ok(None),
            _ = signals.hangup.recv() => return Ok(None),
            _ = signals.child.recv() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

enum Look {
    End(Option<File>),
    Again(Duration),
}

/// Looks whether the server is still ours to keep and in use.
fn look(folder: &Folder, record: &Record, idle_limit: Duration) -> Result<Look, LocalError> {
    let unused = |folder: &Folder| folder.idle().is_none_or(|idle| idle >= idle_limit);
    if folder.record().as_ref() != Some(record) {
        return Ok(Look::End(None));
    }
    if !unused(folder) {
        let left = idle_limit.saturating_sub(folder.idle().unwrap_or_default());
        return Ok(Look::Again(left.min(LOOK_INTERVAL)));
    }
    // Who holds the lock is about to use the server, or to end it by a signal. Under our lock nobody can begin to.
    match folder.try_lock()? {
        Some(lock) if unused(folder) => Ok(Look::End(Some(lock))),
        _ => Ok(Look::Again(LOCKED_INTERVAL)),
    }
}
