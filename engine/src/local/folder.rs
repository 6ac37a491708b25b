//! The project's `.engine/` folder: the locks, the time of the last use, the log, and the record of
//! the server.
//!
//! **Invariant:** the record is complete or absent, and each name that leads to a kill or a delete
//! is checked here against something that a file alone can't fake. No link is followed here: a
//! cloned repository may contain any.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::files::{self, Readers, own};

use super::error::LocalError;
use super::install::{Monitor, VERSION, random_name};
use super::key::ServerKey;
use super::process::{self, ProcessId};
use super::tools::last_lines;
use super::{Running, http};

/// How long a live server may take to answer before it counts as dead; a busy one answers late.
const PATIENCE: Duration = Duration::from_secs(5);

/// A supervisor needs up to four seconds to end the group of its server; see
/// [`process::end_group`].
const SUPERVISOR_LIMIT: Duration = Duration::from_secs(6);

/// The largest part of a log or a record that is read.
const MAX_BYTES: u64 = 16 << 20;

/// Time between two tries to get a lock.
const LOCK_INTERVAL: Duration = Duration::from_millis(20);

/// The file with the lock of commands that write.
const WRITES: &str = "writes.lock";

const PRIVATE_PREFIX: &str = "engine-local-";

/// The longest path of a temporary folder that leaves room for a server's socket.
const LONGEST_TEMPORARY: usize = 57;

/// The variable that names the server in the environment of its processes. MiniStack returns its
/// value on request.
pub(super) const MARK: &str = "MINISTACK_EDITION";

/// The `.engine/` folder of a project.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Creates the folder in the project's folder. Only its owner can open it: the record in it
    /// contains the server's key.
    pub(super) fn create(project: &Path) -> Result<Self, LocalError> {
        let failed = |source| LocalError::ProjectFolder { path: project.join(own::FOLDER), source };
        Ok(Self { path: own::project_folder(project).map_err(failed)? })
    }

    /// The folder, if the project has one.
    pub(super) fn open(project: &Path) -> Result<Option<Self>, LocalError> {
        let Ok(path) = fs::canonicalize(project).map(|project| project.join(own::FOLDER)) else { return Ok(None) };
        match own::is_folder(&path) {
            Ok(()) => Ok(Some(Self { path })),
            Err(source) if path.is_symlink() => Err(LocalError::ProjectFolder { path, source }),
            Err(_) => Ok(None),
        }
    }

    /// The folder in the supervisor's arguments.
    pub(super) fn known(path: PathBuf) -> Self {
        Self { path }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn log(&self) -> PathBuf {
        self.path.join("local.log")
    }

    pub(super) fn log_tail(&self) -> String {
        let log = own::read(&self.log(), MAX_BYTES).unwrap_or_default();
        last_lines(&String::from_utf8_lossy(&log), 10)
    }

    /// Waits until no other command starts, stops or resets this project's server. Dropping the
    /// file releases the lock.
    pub(super) fn lock(&self, monitor: &mut Monitor<'_>) -> Result<File, LocalError> {
        let mut is_told = false;
        loop {
            if let Some(lock) = self.try_lock()? {
                return Ok(lock);
            }
            if monitor.is_interrupted() {
                return Err(LocalError::Interrupted { what: "waiting for the local AWS" });
            }
            if !is_told {
                monitor.report("waiting for another command that starts, stops or resets the local AWS");
                is_told = true;
            }
            std::thread::sleep(LOCK_INTERVAL);
        }
    }

    /// The lock, unless another command has it.
    pub(super) fn try_lock(&self) -> Result<Option<File>, LocalError> {
        self.try_lock_file("lock")
    }

    /// The lock of commands that write to the server, with this process's number in it, unless
    /// another command has it.
    pub(super) fn try_lock_writes(&self) -> Result<Option<File>, LocalError> {
        Ok(self.try_lock_file(WRITES)?.map(signed))
    }

    /// The same after a wait. The system grants it in the order in which commands ask, so that none
    /// waits forever.
    pub(super) fn lock_writes(&self) -> Result<File, LocalError> {
        let lock = self.open_file(WRITES)?;
        lock.lock().map_err(|source| self.error(WRITES, source))?;
        Ok(signed(lock))
    }

    /// The process of the command that has the lock for writes, if it has written its number yet.
    pub(super) fn writer(&self) -> Option<u32> {
        let number = own::read(&self.path.join(WRITES), 16).ok()?;
        std::str::from_utf8(&number).ok()?.parse().ok()
    }

    fn try_lock_file(&self, name: &str) -> Result<Option<File>, LocalError> {
        let lock = self.open_file(name)?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(lock)),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(source)) => Err(self.error(name, source)),
        }
    }

    /// Records that the server is used now.
    pub(super) fn touch(&self) -> Result<(), LocalError> {
        let mark = self.open_file("last-used")?;
        mark.set_modified(SystemTime::now()).map_err(|source| self.error("last-used", source))
    }

    /// How long the server has not been used; `None` if it never was.
    pub(super) fn idle(&self) -> Option<Duration> {
        let used = fs::symlink_metadata(self.path.join("last-used")).ok()?.modified().ok()?;
        // A time in the future means that the clock was set back: assume that it was used just now.
        Some(SystemTime::now().duration_since(used).unwrap_or_default())
    }

    /// The recorded server; `None` also if another version of engine wrote the record in another
    /// format.
    pub(super) fn record(&self) -> Option<ServerRecord> {
        let text = own::read(&self.path.join("local.json"), MAX_BYTES).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Whether a server was started here and not stopped by a command, even if its record can't be
    /// read.
    pub(super) fn has_record(&self) -> bool {
        self.path.join("local.json").symlink_metadata().is_ok()
    }

    pub(super) fn write(&self, record: &ServerRecord) -> Result<(), LocalError> {
        let failed = |source| self.error("local.json", source);
        let json = serde_json::to_vec_pretty(record).map_err(|error| failed(error.into()))?;
        files::replace(&self.path.join("local.json"), &json, Readers::Owner).map_err(failed)
    }

    pub(super) fn forget(&self) -> Result<(), LocalError> {
        match fs::remove_file(self.path.join("local.json")) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(self.error("local.json", source)),
            _ => Ok(()),
        }
    }

    fn open_file(&self, name: &str) -> Result<File, LocalError> {
        own::keep(&self.path.join(name)).map_err(|source| self.error(name, source))
    }

    fn error(&self, name: &str, source: io::Error) -> LocalError {
        LocalError::ProjectFolder { path: self.path.join(name), source }
    }
}

/// The lock with this process's number in it. Without the number, as on a full disk, it is still the
/// lock: other commands only can't show who has it.
fn signed(mut lock: File) -> File {
    let _ = lock.set_len(0).and_then(|()| write!(lock, "{}", std::process::id()));
    lock
}

/// A server and its supervisor. Written by the supervisor, as soon as it has started the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ServerRecord {
    pub(super) version: String,
    /// Where the proxy listens on 127.0.0.1.
    pub(super) port: u16,
    pub(super) key: ServerKey,
    pub(super) private: Private,
    /// Runs the proxy as well.
    pub(super) supervisor: ProcessId,
    /// The leader of the process group that also contains the functions' processes.
    pub(super) server: ProcessId,
}

impl ServerRecord {
    /// The server, if it is alive and identifies itself as the one recorded here.
    pub(super) fn running(&self) -> Option<Running> {
        let mut ready = false;
        process::wait_until(PATIENCE, || {
            let lives = self.version == VERSION && self.supervisor.is_alive() && self.server.is_alive();
            ready = lives && http::is_ready(&self.private.socket(), VERSION, self.private.name());
            ready || !lives
        });
        ready.then(|| self.as_running())
    }

    pub(super) fn as_running(&self) -> Running {
        Running {
            port: self.port,
            endpoint: format!("http://127.0.0.1:{}", self.port),
            key: self.key.clone(),
            pid: self.server.pid.unsigned_abs(),
            started_now: false,
            lost_previous: false,
            version: self.version.clone(),
        }
    }

    /// Ends supervisor, server and functions in any state and removes their private folder. Returns
    /// whether there was anything to end.
    pub(super) fn end(&self) -> Result<bool, LocalError> {
        let supervised = self.supervisor.is_alive();
        self.supervisor.end(SUPERVISOR_LIMIT);
        // The supervisor ends the rest, unless it was killed before.
        let group = self.server.pid;
        let orphaned = process::group(group).iter().any(|member| {
            member.pid == group && self.server.is_alive() || member.arguments.contains(self.private.name())
        });
        if orphaned && !process::end_group(group) {
            return Err(LocalError::NotStopped { group });
        }
        process::end_marked(&self.private.mark());
        self.private.remove();
        Ok(supervised || orphaned)
    }
}

/// The server's `TMPDIR` and `HOME`. It is in the system's temporary folder and not in the project,
/// where a `package.json` or `node_modules` above a function's code would change how Node.js runs
/// it.
///
/// Its name is also the server's identity: the command lines of the functions' processes contain
/// it, and the server returns it on request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "PathBuf", into = "PathBuf")]
pub(super) struct Private {
    path: PathBuf,
    name: String,
}

impl Private {
    /// Creates a new folder that only this user can open.
    pub(super) fn create() -> Result<Self, LocalError> {
        let name = format!("{PRIVATE_PREFIX}{}", random_name());
        // The path of a socket takes 104 bytes on macOS, 108 on Linux.
        let default = Some(std::env::temp_dir()).filter(|folder| folder.as_os_str().len() <= LONGEST_TEMPORARY);
        let path = default.unwrap_or_else(|| PathBuf::from("/tmp")).join(&name);
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .and_then(|()| fs::canonicalize(&path))
            .map(|path| Self { path, name })
            .map_err(|source| LocalError::System {
                what: "the private folder of the local AWS couldn't be created",
                source,
            })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Where the server listens.
    pub(super) fn socket(&self) -> PathBuf {
        self.path.join("socket")
    }

    /// The variable in the environment of the server, and so of each process that a function
    /// starts.
    pub(super) fn mark(&self) -> String {
        format!("{MARK}={}", self.name)
    }

    /// What can't be removed is left to the system, which cleans its temporary folder.
    pub(super) fn remove(&self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

impl TryFrom<PathBuf> for Private {
    type Error = String;

    /// A record is only a file, and this path will be deleted with its content, so only names that
    /// engine gives are accepted.
    fn try_from(path: PathBuf) -> Result<Self, Self::Error> {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let random = name.strip_prefix(PRIVATE_PREFIX).unwrap_or_default();
        let is_own = random.len() == 16 && random.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_own && path.is_absolute() { Ok(Self { path, name }) } else { Err("not a private folder".into()) }
    }
}

impl From<Private> for PathBuf {
    fn from(private: Private) -> Self {
        private.path
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_record_can_only_name_a_private_folder() {
        for path in [
            "/home/user",
            "/tmp/engine-local-",
            "tmp/engine-local-0123456789abcdef",
            "/tmp/engine-local-0123456789abcdeg",
        ] {
            assert!(Private::try_from(PathBuf::from(path)).is_err(), "{path}");
        }
        assert!(Private::try_from(PathBuf::from("/tmp/engine-local-0123456789abcdef")).is_ok());
    }

    #[test]
    fn a_server_counts_as_used_now_after_the_clock_was_set_back() {
        let project = tempfile::tempdir().unwrap();
        let folder = Folder::create(project.path()).unwrap();
        assert_eq!(folder.idle(), None);
        folder.touch().unwrap();
        let later = SystemTime::now() + Duration::from_secs(7200);
        folder.open_file("last-used").unwrap().set_modified(later).unwrap();
        assert_eq!(folder.idle(), Some(Duration::ZERO));
    }
}
