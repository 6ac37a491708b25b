//! The errors of the local AWS, with their texts.
//!
//! **Invariant:** contains texts only; how a server is installed, started or found is up to the
//! other modules.

use std::io;
use std::path::PathBuf;

use crate::diagnostic::shell_word;
use crate::files;

/// One way of installing that was tried, and its output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallAttempt {
    /// The program: `uv`, `pip` or `venv`.
    pub way: &'static str,
    /// The last lines of its output, or why it couldn't be run.
    pub output: String,
}

/// Why the local AWS couldn't be installed, started, reset or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocalError {
    /// The platform has no process groups, which are needed to end the functions' processes.
    #[error("the local AWS doesn't run natively on Windows")]
    Windows,
    /// The user pressed Ctrl-C.
    #[error("{what} was interrupted")]
    Interrupted {
        /// What was interrupted, as a noun.
        what: &'static str,
    },
    /// The project's local AWS doesn't run, and the command doesn't start it.
    #[error("the local AWS of this project is not running")]
    NotRunning,
    /// A required program is not in the search path.
    #[error("`{program}` was not found")]
    ToolMissing {
        /// The program's name.
        program: &'static str,
        /// The lowest version that works.
        needed: &'static str,
    },
    /// A required program is too old.
    #[error("`{program}` is version {found}, but the local AWS needs {needed} or newer")]
    ToolTooOld {
        /// The program's name.
        program: &'static str,
        /// The version found.
        found: String,
        /// The lowest version that works.
        needed: &'static str,
        /// Where it was found.
        path: PathBuf,
    },
    /// A required program exists, but doesn't work.
    #[error("`{path}` doesn't work", path = path.display())]
    ToolBroken {
        /// Where it was found.
        path: PathBuf,
        /// Its output.
        output: String,
    },
    /// None of the ways to install worked.
    #[error("the local AWS (MiniStack) couldn't be installed")]
    NoInstaller {
        /// The ways in the order tried.
        attempts: Vec<InstallAttempt>,
    },
    /// The package index couldn't be reached.
    #[error("the local AWS (MiniStack) couldn't be downloaded: the package index can't be reached")]
    NoNetwork {
        /// The ways in the order tried.
        attempts: Vec<InstallAttempt>,
    },
    /// A download doesn't match the lock file.
    #[error("the local AWS (MiniStack) was not installed: a download doesn't have the expected hash")]
    HashMismatch {
        /// The installer's output.
        output: String,
    },
    /// The cache folder can't be created or written, or is full.
    #[error("the cache folder `{path}` can't be used", path = path.display())]
    CacheFolder {
        /// The folder or file in it.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The installation has changed since it was made.
    #[error("the installed local AWS (MiniStack) in `{path}` is damaged", path = path.display())]
    CacheDamaged {
        /// The folder of the installation.
        path: PathBuf,
    },
    /// There is no default cache folder, because the user has no home folder.
    #[error("there is no cache folder")]
    NoCacheFolder,
    /// The project's folder can't be written, locked or read.
    #[error("`{path}` can't be used", path = path.display())]
    ProjectFolder {
        /// The folder or file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The server didn't become ready.
    #[error("the local AWS didn't start: {reason}")]
    NotStarted {
        /// What happened.
        reason: String,
        /// The last lines of its log; may be empty.
        log_tail: String,
        /// The log file.
        log: PathBuf,
    },
    /// A process couldn't be started or watched.
    #[error("{what}")]
    System {
        /// What failed.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// The running server refused to be reset.
    #[error("the local AWS couldn't be reset")]
    NotReset {
        /// The answer instead of a confirmation.
        output: String,
    },
    /// Processes of the server are still alive after SIGKILL.
    #[error("the local AWS couldn't be stopped")]
    NotStopped {
        /// The group that still exists.
        group: i32,
    },
}

impl LocalError {
    /// The problem, as a lower-case sentence without a full stop.
    #[must_use]
    pub fn problem(&self) -> String {
        self.to_string()
    }

    /// The reason, if there is more to it than the problem. May be several lines.
    #[must_use]
    pub fn why(&self) -> Option<String> {
        match self {
            Self::Windows => {
                Some("it uses process groups to stop the functions' processes, and Windows has none".into())
            }
            Self::Interrupted { .. } => {
                Some("engine deployed nothing and left no partly installed or partly started local AWS behind".into())
            }
            Self::NotRunning => Some("a stopped local AWS has no resources".into()),
            Self::ToolMissing { .. } => {
                Some("the local AWS is a Python program that runs functions with this machine's Node.js".into())
            }
            Self::ToolTooOld { path, .. } => Some(format!("engine found it at `{}`", path.display())),
            Self::ToolBroken { output, .. } | Self::HashMismatch { output } | Self::NotReset { output } => {
                Some(output.clone())
            }
            Self::NoInstaller { attempts } | Self::NoNetwork { attempts } => Some(list_attempts(attempts)),
            Self::CacheFolder { source, .. } | Self::ProjectFolder { source, .. } | Self::System { source, .. } => {
                Some(source.to_string())
            }
            Self::CacheDamaged { .. } => {
                Some("its files have changed since the installation, so engine doesn't run them".into())
            }
            Self::NoCacheFolder => Some("your user has no home folder".into()),
            Self::NotStarted { log_tail, .. } if log_tail.is_empty() => None,
            Self::NotStarted { log_tail, .. } => Some(format!("the last lines of its log are:\n{log_tail}")),
            Self::NotStopped { group } => Some(format!("processes of group {group} are still alive")),
        }
    }

    /// What to do next.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Windows => "run engine in WSL (Windows Subsystem for Linux)".into(),
            Self::Interrupted { .. } => "run the command again to start over".into(),
            Self::NotRunning => "run `engine apply --local` first".into(),
            Self::ToolMissing { program, needed } => {
                format!("install {} {needed} or newer and add `{program}` to `PATH`", product(program))
            }
            Self::ToolTooOld { program, needed, .. } => {
                format!("put {} {needed} or newer first in `PATH` as `{program}`", product(program))
            }
            Self::ToolBroken { .. } => "repair that program, or put a working one first in `PATH`".into(),
            Self::NoInstaller { .. } => {
                "install `uv`, `pip` for `python3`, or the `venv` module (on Debian `apt install python3-venv`), and run the \
                 command again"
                    .into()
            }
            Self::NoNetwork { .. } => {
                "connect to the internet for the first start; if you use a proxy or a mirror, configure it for `pip` or `uv`"
                    .into()
            }
            Self::HashMismatch { .. } => {
                "try another network, or report the mismatch to your package mirror's operator; \
                 don't install the package manually".into()
            }
            Self::CacheDamaged { .. } => "run `engine local reset --install` to install it again".into(),
            Self::CacheFolder { .. } | Self::NoCacheFolder => {
                "set `ENGINE_CACHE_DIR` to a writable folder with 100 MB of free space".into()
            }
            Self::ProjectFolder { path, .. } if path.is_symlink() => {
                format!("remove it if you didn't create it: `rm {}`", shell_word(&path.display().to_string()))
            }
            Self::ProjectFolder { path, .. } if path.exists() && !path.is_dir() && path.ends_with(".engine") => {
                "rename that file: the local AWS needs a folder with this name".into()
            }
            Self::ProjectFolder { source, .. } => {
                let hint = "make the project's folder writable, or move it to a file system that supports file locks";
                files::remedy(source, hint)
            }
            Self::NotStarted { log, .. } => {
                format!("see `{}`; `engine local reset --install` installs the local AWS again", log.display())
            }
            Self::System { .. } => {
                "fix this problem and run the command again; `engine doctor --local` checks the requirements".into()
            }
            Self::NotReset { .. } => "run `engine local stop`, then `engine local start` for an empty local AWS".into(),
            Self::NotStopped { group } => format!("run `kill -KILL -- -{group}`"),
        }
    }
}

fn product(program: &str) -> &'static str {
    if program == "node" { "Node.js" } else { "Python" }
}

fn list_attempts(attempts: &[InstallAttempt]) -> String {
    let tried: Vec<String> = attempts.iter().map(|attempt| format!("`{}`: {}", attempt.way, attempt.output)).collect();
    tried.join("\n")
}
