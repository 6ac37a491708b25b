//! Finding, starting, resetting and stopping the server of a project.
//!
//! **Invariant:** which server a project has changes only under the project's lock.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use etcetera::BaseStrategy;

use crate::files::own;

use super::error::LocalError;
use super::folder::{Folder, Private, ServerRecord};
use super::install::Monitor;
use super::tools::{self, Tool, Tools};
use super::{LockAttempt, Project, RequirementCheck, Running, SuperviseArgs, WriteLock, http, install};

/// A server is usually ready after 0.2 s; the rest is for a busy machine that compiles the packages
/// first.
const START_LIMIT: Duration = Duration::from_secs(15);

const READY_INTERVAL: Duration = Duration::from_millis(20);

/// The Node.js that AWS runs the example specs' functions with.
const NODE_MAJOR: u32 = 22;

/// Returns the project's running server, or starts one and first installs MiniStack if it is
/// missing. Counts as a use.
///
/// `report` gets a line, without a full stop, for each step that takes time.
///
/// # Errors
/// When Python, Node.js or a way to install is missing, when the server doesn't become ready, or
/// when the user interrupts; see [`LocalError`].
pub fn ensure(project: &Project, report: &mut dyn FnMut(&str)) -> Result<Running, LocalError> {
    let mut monitor = Monitor { report, interrupted: &project.interrupted };
    let folder = Folder::create(&project.dir)?;
    let _lock = folder.lock(&mut monitor)?;
    folder.touch()?;
    let lost_previous = folder.has_record();
    let previous = folder.record();
    if let Some(running) = previous.as_ref().and_then(ServerRecord::running) {
        return Ok(running);
    }
    let tools = project.tools()?;
    let python = tools.python()?;
    let node = tools.node()?;
    let packages = install::packages(&project.cache()?, &tools, &python, &mut monitor)?;
    if node.version[0] != NODE_MAJOR {
        let version = tools::dotted(node.version);
        monitor.report(&format!("functions run with your Node.js {version}, whatever `runtime` they declare"));
    }
    if let Some(record) = previous {
        record.end()?;
    }
    monitor.report(&format!("starting MiniStack {}", install::VERSION));
    let running = match start(project, &folder, &packages, &python, &node) {
        Ok(running) => running,
        Err(error) => {
            // Otherwise the next command would report resources as lost that never existed.
            if !lost_previous {
                folder.forget()?;
            }
            return Err(error);
        }
    };
    // Starting may have taken longer than the idle limit.
    folder.touch()?;
    Ok(Running { started_now: true, lost_previous, ..running })
}

/// Checks what the local AWS needs of this machine, without changing or starting anything.
pub fn check_requirements(project: &Project) -> Vec<RequirementCheck> {
    let tools = match project.tools() {
        Ok(tools) => tools,
        Err(error) => return vec![("local AWS", Err(error))],
    };
    let found = |tool: &Tool| format!("{} at {}", tools::dotted(tool.version), tool.executable.display());
    let python = tools.python();
    let cache = project.cache().and_then(|cache| {
        let is_installed = python.as_ref().map_or(Ok(false), |python| install::is_installed(&cache, python))?;
        let state = if is_installed { "is installed" } else { "is installed by the first `--local`" };
        Ok(format!("{}; MiniStack {} {state}", cache.display(), install::VERSION))
    });
    vec![
        ("python3", python.map(|tool| found(&tool))),
        ("Node.js", tools.node().map(|tool| found(&tool))),
        ("cache", cache),
    ]
}

/// The project's running server, if there is one. Does not count as a use, and changes nothing.
///
/// # Errors
/// The project's folder is a link. A server whose record can't be read is not running.
pub fn status(project: &Project) -> Result<Option<Running>, LocalError> {
    let record = Folder::open(&project.dir)?.and_then(|folder| folder.record());
    Ok(record.as_ref().and_then(ServerRecord::running))
}

/// Ends the project's server with all processes of its functions, and returns whether there was
/// one.
///
/// # Errors
/// When the project's folder can't be used, or a process survives SIGKILL.
pub fn stop(project: &Project) -> Result<bool, LocalError> {
    let Some(folder) = Folder::open(&project.dir)? else {
        return Ok(false);
    };
    let _lock = folder.lock(&mut silently(project, &mut |_| {}))?;
    let was_running = folder.record().map_or(Ok(false), |record| record.end())?;
    folder.forget()?;
    Ok(was_running)
}

/// Deletes everything in the project's server, in all accounts and regions; does nothing if none is
/// running. Counts as a use.
///
/// # Errors
/// When the server doesn't confirm it, or the project's folder can't be used.
pub fn reset(project: &Project) -> Result<(), LocalError> {
    let Some(folder) = Folder::open(&project.dir)? else {
        return Ok(());
    };
    let _lock = folder.lock(&mut silently(project, &mut |_| {}))?;
    folder.touch()?;
    match folder.record().filter(|record| record.running().is_some()) {
        Some(record) => http::reset(&record.private.socket()).map_err(|output| LocalError::NotReset { output }),
        None => Ok(()),
    }
}

/// Asks for the right to write to the project's local AWS, which one command has at a time: two
/// that write at once would not see each other's resources.
///
/// # Errors
/// When the project's folder can't be used.
pub fn try_lock_writes(project: &Project) -> Result<LockAttempt, LocalError> {
    let folder = Folder::create(&project.dir)?;
    Ok(match folder.try_lock_writes()? {
        Some(file) => LockAttempt::Granted(WriteLock { _file: file }),
        None => LockAttempt::Taken(folder.writer()),
    })
}

/// Waits for the right to write to the project's local AWS, and blocks the thread meanwhile.
///
/// # Errors
/// When the project's folder can't be used.
pub fn lock_writes(project: &Project) -> Result<WriteLock, LocalError> {
    Folder::create(&project.dir)?.lock_writes().map(|file| WriteLock { _file: file })
}

fn silently<'m>(project: &'m Project, report: &'m mut dyn FnMut(&str)) -> Monitor<'m> {
    Monitor { report, interrupted: &project.interrupted }
}

/// Stops the project's server and deletes MiniStack from the cache folder; the next [`ensure`]
/// installs it again. Returns whether there was an installation.
///
/// # Errors
/// Those of [`stop`], and when the cache folder can't be written.
pub fn uninstall(project: &Project) -> Result<bool, LocalError> {
    stop(project)?;
    install::remove(&project.cache()?)
}

/// Starts a supervisor and waits until its server is ready.
fn start(
    project: &Project,
    folder: &Folder,
    packages: &Path,
    python: &Tool,
    node: &Tool,
) -> Result<Running, LocalError> {
    let executable = project.executable()?;
    let private = Private::create()?;
    let args = SuperviseArgs {
        folder: folder.path().to_owned(),
        private: private.path().to_owned(),
        packages: packages.to_owned(),
        python: python.executable.clone(),
        node_folder: node.executable.parent().unwrap_or(Path::new("/")).to_owned(),
        idle_seconds: project.idle_limit.as_secs().max(1),
    };
    let mut supervisor = spawn(&executable, folder, &args).inspect_err(|_| private.remove())?;
    let unready = match wait_until_ready(project, folder, &private, &mut supervisor) {
        Ok(record) => return Ok(record.as_running()),
        Err(unready) => unready,
    };
    if let Some(record) = folder.record().filter(|record| record.private == private) {
        record.end()?;
    }
    // One without a record yet; its server ends with it.
    let _ = supervisor.kill().and_then(|()| supervisor.wait());
    private.remove();
    let reason = match unready {
        StartFailure::Interrupted => return Err(LocalError::Interrupted { what: "the start of the local AWS" }),
        StartFailure::Ended => "it ended by itself".to_owned(),
        StartFailure::Silent => format!("it was not ready after {} s", START_LIMIT.as_secs()),
    };
    let (log, log_tail) = (folder.log(), folder.log_tail());
    Err(LocalError::NotStarted { reason, log_tail, log })
}

enum StartFailure {
    Ended,
    Silent,
    Interrupted,
}

/// Waits for the server that uses this private folder. The supervisor ends when its server does, so
/// only it is watched.
fn wait_until_ready(
    project: &Project,
    folder: &Folder,
    private: &Private,
    supervisor: &mut Child,
) -> Result<ServerRecord, StartFailure> {
    let deadline = Instant::now() + START_LIMIT;
    while Instant::now() < deadline {
        if project.interrupted.load(Ordering::Relaxed) {
            return Err(StartFailure::Interrupted);
        }
        if !matches!(supervisor.try_wait(), Ok(None)) {
            return Err(StartFailure::Ended);
        }
        let record = folder.record().filter(|record| record.private == *private);
        if let Some(record) = record.filter(|_| http::is_ready(&private.socket(), install::VERSION, private.name())) {
            return Ok(record);
        }
        std::thread::sleep(READY_INTERVAL);
    }
    Err(StartFailure::Silent)
}

/// The supervisor needs no variable of the user's environment, and lives for an hour after the
/// command, so it gets none.
fn spawn(executable: &Path, folder: &Folder, args: &SuperviseArgs) -> Result<Child, LocalError> {
    let in_log = |source| LocalError::ProjectFolder { path: folder.log(), source };
    let log = own::renew(&folder.log()).map_err(in_log)?;
    let mut command = Command::new(executable);
    command.args(args.to_args()).env_clear().current_dir("/").stdin(Stdio::null());
    command.stderr(log.try_clone().map_err(in_log)?).stdout(log);
    let refused = |source| LocalError::System { what: "engine couldn't start its supervisor process", source };
    command.spawn().map_err(refused)
}

/// The folder with everything that engine can get or make again: `named`, else `$ENGINE_CACHE_DIR`,
/// else `engine` in the user's cache folder.
///
/// # Errors
/// There is no such folder.
pub fn cache_folder(named: Option<PathBuf>) -> Result<PathBuf, LocalError> {
    let named = named.or_else(|| std::env::var_os("ENGINE_CACHE_DIR").map(PathBuf::from));
    if let Some(named) = named.filter(|path| !path.as_os_str().is_empty()) {
        return std::path::absolute(&named).map_err(|source| LocalError::CacheFolder { path: named, source });
    }
    let strategy = etcetera::choose_base_strategy().map_err(|_| LocalError::NoCacheFolder)?;
    Ok(strategy.cache_dir().join("engine"))
}

impl Project {
    pub(super) fn tools(&self) -> Result<Tools, LocalError> {
        let path = self.path.clone().or_else(|| std::env::var_os("PATH"));
        Tools::new(path.unwrap_or_default())
    }

    fn cache(&self) -> Result<PathBuf, LocalError> {
        cache_folder(self.cache.clone())
    }

    fn executable(&self) -> Result<PathBuf, LocalError> {
        let own = self.executable.clone().map_or_else(std::env::current_exe, Ok);
        own.map_err(|source| LocalError::System { what: "engine couldn't find its own program", source })
    }
}
