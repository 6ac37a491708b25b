//! The background process that runs a server: starts it, runs its proxy, watches the time of the
//! last use, and ends it with everything that it started.
//!
//! It runs this program again, because a process can leave the terminal's session only by calling
//! `setsid` itself, and calling it between fork and exec would need `unsafe`.
//!
//! Server and supervisor end together, however one of them ends: the server reads standard input,
//! whose other end this process holds.
//!
//! **Invariant:** at most one supervisor stays alive per project: one that the record doesn't name
//! ends itself.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::SuperviseArgs;
use super::error::LocalError;
use super::folder::{Folder, MARK, Private, ServerRecord};
use super::install::VERSION;
use super::key::ServerKey;
use super::process::{self, ProcessId};
use super::proxy::Proxy;

/// The longest time between two checks of the record and the time of the last use, which each
/// command updates.
const INSPECTION_INTERVAL: Duration = Duration::from_secs(5);

/// The time until the next check while a command holds the lock.
const LOCKED_INTERVAL: Duration = Duration::from_millis(50);

/// Runs a server until it is no longer used, ends by itself, or this process receives SIGTERM.
///
/// For the hidden command `local supervise` only. Blocks and runs an async runtime, so it must not
/// be called on a thread that drives another one.
///
/// # Errors
/// When this process already leads a process group, or when server or record can't be created.
pub fn supervise(args: SuperviseArgs) -> Result<(), LocalError> {
    let refused = |what| move |source: io::Error| LocalError::System { what, source };
    rustix::process::setsid().map_err(|error| {
        refused("the supervisor of the local AWS couldn't leave the terminal's session")(error.into())
    })?;
    let private = Private::try_from(args.private.clone())
        .map_err(|error| refused("the supervisor of the local AWS received a wrong folder")(io::Error::other(error)))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(refused("the supervisor of the local AWS couldn't start"))?;

    process::adopt_orphans();
    raise_file_limit();
    let outcome = runtime.block_on(async {
        // Before the server starts: the default action of a signal would leave the server running.
        let signals = Signals::new().map_err(refused("the supervisor of the local AWS couldn't listen for signals"))?;
        let (listener, port) = Proxy::listen().map_err(refused("there is no free port on 127.0.0.1"))?;
        let key = ServerKey::random().map_err(refused("the system's random numbers can't be read"))?;
        let (server, input) = start(&args, &private, port, &key).map_err(refused("`python3` couldn't be started"))?;
        let proxy = Arc::new(Proxy::new(key.clone(), private.socket()));
        let serving = tokio::spawn(Arc::clone(&proxy).serve(listener));
        // The lock is held to the end, so that the next command finds either this server or no
        // trace of it.
        let lock = Supervised { args: &args, private: &private, port, key, proxy: &proxy }.run(&server, signals).await;
        serving.abort();
        process::end_group(group_of(&server));
        process::end_descendants();
        process::end_marked(&private.mark());
        drop(input);
        lock
    });
    private.remove();
    outcome.map(drop)
}

/// Each connection takes a file descriptor on both sides of the proxy; many systems allow 1,024 by
/// default.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    // macOS refuses "unlimited"; the limit stays as it is.
    let _ = setrlimit(Resource::Nofile, rustix::process::Rlimit { current: limit.maximum, ..limit });
}

fn group_of(server: &Child) -> i32 {
    i32::try_from(server.id()).unwrap_or_default()
}

/// Starts the server and sends it the key. The server runs as long as its standard input stays
/// open.
fn start(args: &SuperviseArgs, private: &Private, port: u16, key: &ServerKey) -> io::Result<(Child, ChildStdin)> {
    let mut server = server_command(args, private, port).spawn()?;
    let mut input = server.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
    // If the server has ended already, the next check finds that.
    let _ = writeln!(input, "{}", key.expose());
    Ok((server, input))
}

/// `-I` and `-S` exclude this machine's packages and Python's variables: an installed Docker SDK
/// would change how functions run. The environment starts empty, because functions inherit it.
fn server_command(args: &SuperviseArgs, private: &Private, port: u16) -> Command {
    let mut path = args.node_folder.clone().into_os_string();
    path.push(":/usr/bin:/bin");
    let mut command = Command::new(&args.python);
    command
        .args(["-I", "-S", "-B", "-c", include_str!("launcher.py")])
        .args([&args.packages, private.path()])
        .env_clear()
        .env("PATH", path)
        // The port of the proxy, which MiniStack puts into the URLs that it returns.
        .env("GATEWAY_PORT", port.to_string())
        .env("TMPDIR", private.path())
        .env("HOME", private.path())
        .env("IOT_MTLS_ENABLED", "0")
        .env("SFTP_ENABLED", "0")
        .env("LOG_LEVEL", "WARNING")
        .env(MARK, private.name())
        .current_dir(private.path())
        .stdin(Stdio::piped())
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

struct Supervised<'a> {
    args: &'a SuperviseArgs,
    private: &'a Private,
    port: u16,
    key: ServerKey,
    proxy: &'a Proxy,
}

impl Supervised<'_> {
    /// Returns when the server shall end or has ended, with the project's lock if that was for want
    /// of use.
    async fn run(self, server: &Child, mut signals: Signals) -> Result<Option<File>, LocalError> {
        let own = i32::try_from(std::process::id()).ok().and_then(ProcessId::of);
        let (Some(supervisor), Some(identity)) = (own, ProcessId::of(group_of(server))) else {
            return Ok(None);
        };
        let folder = Folder::known(self.args.folder.clone());
        let record = ServerRecord {
            version: VERSION.to_owned(),
            port: self.port,
            key: self.key,
            private: self.private.clone(),
            supervisor,
            server: identity,
        };
        folder.write(&record)?;

        let idle_limit = Duration::from_secs(self.args.idle_seconds);
        loop {
            if process::reap(record.server.pid) {
                return Ok(None);
            }
            let pause = match inspect(&folder, &record, self.proxy, idle_limit)? {
                Inspection::End(lock) => return Ok(lock),
                Inspection::Again(pause) => pause,
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
}

enum Inspection {
    End(Option<File>),
    Again(Duration),
}

/// Checks whether the server is still the project's and in use.
fn inspect(
    folder: &Folder,
    record: &ServerRecord,
    proxy: &Proxy,
    idle_limit: Duration,
) -> Result<Inspection, LocalError> {
    // Used by a command or by a request from outside.
    let idle = || folder.idle().map_or(Duration::MAX, |idle| idle.min(proxy.idle()));
    let unused = || idle() >= idle_limit;
    if folder.record().as_ref() != Some(record) {
        return Ok(Inspection::End(None));
    }
    if !unused() {
        let left = idle_limit.saturating_sub(idle());
        return Ok(Inspection::Again(left.min(INSPECTION_INTERVAL)));
    }
    // A command with the lock is about to use the server, or to end it by a signal. Under this
    // lock, none can begin to.
    match folder.try_lock()? {
        Some(lock) if unused() => Ok(Inspection::End(Some(lock))),
        _ => Ok(Inspection::Again(LOCKED_INTERVAL)),
    }
}
