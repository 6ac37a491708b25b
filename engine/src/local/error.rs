//! What can go wrong with the local AWS, in the words that a user reads.
//!
//! **Invariant:** knows nothing of how a server is installed, started or found; it only words what others met.

use std::io;
use std::path::PathBuf;

use crate::diagnostic::shell_word;

/// One way of installing that was tried, and what it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The way as a user would name it: `uv`, `pip` or `venv`.
    pub way: &'static str,
    /// The last lines it wrote, or why it could not be run.
    pub said: String,
}

/// Why the local AWS could not be installed, started, reset or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocalError {
    /// The platform has no process groups, on which a clean end of the functions' processes rests.
    #[error("the local AWS does not run on Windows itself")]
    Windows,
    /// A program that is needed is not in the search path.
    #[error("`{program}` was not found")]
    ToolMissing {
        /// The program's name.
        program: &'static str,
        /// The lowest version that works.
        needed: &'static str,
    },
    /// A program that is needed is too old.
    #[error("`{program}` is version {found}, and the local AWS needs {needed} or newer")]
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
    /// A program that is needed is there, but did not say its version.
    #[error("`{path}` could not be asked for its version", path = path.display())]
    ToolBroken {
        /// Where it was found.
        path: PathBuf,
        /// What it said instead.
        said: String,
    },
    /// None of the ways to install worked.
    #[error("MiniStack could not be installed")]
    NoInstaller {
        /// The ways in the order tried.
        attempts: Vec<Attempt>,
    },
    /// The package index could not be reached.
    #[error("MiniStack could not be downloaded: the package index cannot be reached")]
    NoNetwork {
        /// The ways in the order tried.
        attempts: Vec<Attempt>,
    },
    /// What was downloaded is not what the lock file names.
    #[error("MiniStack was not installed: a download does not have the hash that the engine expects")]
    HashMismatch {
        /// What the installer said.
        said: String,
    },
    /// The cache folder cannot be made, written or has no room.
    #[error("the cache folder `{path}` cannot be used", path = path.display())]
    CacheFolder {
        /// The folder or file in it.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// What is installed is not what was installed.
    #[error("the installed MiniStack in `{path}` is damaged", path = path.display())]
    CacheDamaged {
        /// The folder of the installation.
        path: PathBuf,
    },
    /// No cache folder is known, because the user has no home.
    #[error("no cache folder is known")]
    NoCacheFolder,
    /// The project's folder cannot be written, locked or read.
    #[error("`{path}` cannot be used", path = path.display())]
    ProjectFolder {
        /// The folder or file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The server did not become ready.
    #[error("the local AWS did not start: {reason}")]
    NotStarted {
        /// What was seen.
        reason: String,
        /// The last lines of its log; may be empty.
        log_tail: String,
        /// The whole log.
        log: PathBuf,
        /// Where MiniStack is installed.
        packages: PathBuf,
    },
    /// A process could not be started or watched.
    #[error("{what}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// The running server refused to be reset.
    #[error("the local AWS could not be reset")]
    NotReset {
        /// What came instead of a confirmation.
        said: String,
    },
    /// Processes of the server are still alive after SIGKILL.
    #[error("the local AWS could not be stopped")]
    NotStopped {
        /// The group that is still there.
        group: i32,
    },
}

impl LocalError {
    /// What went wrong, as a lower-case sentence without a full stop.
    #[must_use]
    pub fn problem(&self) -> String {
        self.to_string()
    }

    /// Why, where more is known than the problem says. May be several lines.
    #[must_use]
    pub fn why(&self) -> Option<String> {
        match self {
            Self::Windows => {
                Some("it ends the processes of functions by process group, which Windows does not have".into())
            }
            Self::ToolMissing { .. } => {
                Some("the local AWS is a Python program that runs functions with the Node.js of this machine".into())
            }
            Self::ToolTooOld { path, .. } => Some(format!("it was found at `{}`", path.display())),
            Self::ToolBroken { said, .. } | Self::HashMismatch { said } | Self::NotReset { said } => Some(said.clone()),
            Self::NoInstaller { attempts } | Self::NoNetwork { attempts } => Some(in_turn(attempts)),
            Self::CacheFolder { source, .. } | Self::ProjectFolder { source, .. } | Self::System { source, .. } => {
                Some(source.to_string())
            }
            Self::CacheDamaged { .. } => {
                Some("its files have changed since the installation, so nothing of it was run".into())
            }
            Self::NoCacheFolder => Some("the user has no home folder".into()),
            Self::NotStarted { log_tail, .. } if log_tail.is_empty() => None,
            Self::NotStarted { log_tail, .. } => Some(format!("the last lines of its log are:\n{log_tail}")),
            Self::NotStopped { group } => Some(format!("processes of group {group} are still alive")),
        }
    }

    /// What to do next.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Windows => "run the engine inside WSL (Windows Subsystem for Linux)".into(),
            Self::ToolMissing { program, needed } => {
                format!("install {} {needed} or newer so that `{program}` is in `PATH`", product(program))
            }
            Self::ToolTooOld { program, needed, .. } => {
                format!("put {} {needed} or newer first in `PATH` as `{program}`", product(program))
            }
            Self::ToolBroken { .. } => "repair that program, or put a working one first in `PATH`".into(),
            Self::NoInstaller { .. } => {
                "install one of `uv`, `pip` for `python3`, or the `venv` module (on Debian `apt install python3-venv`), and try again".into()
            }
            Self::NoNetwork { .. } => {
                "the first start needs the network; if a proxy or mirror is used here, configure it for `pip` or `uv`".into()
            }
            Self::HashMismatch { .. } => {
                "don't install it by hand; try another network, or tell whoever runs the package mirror".into()
            }
            Self::CacheDamaged { .. } => "run `engine local reset --install` to install it again".into(),
            Self::CacheFolder { .. } | Self::NoCacheFolder => {
                "set `ENGINE_CACHE_DIR` to a folder that can be written and has 100 MB free".into()
            }
            Self::ProjectFolder { path, .. } if path.is_symlink() => {
                format!("remove it, if you did not make it yourself: `rm {}`", shell_word(&path.display().to_string()))
            }
            Self::ProjectFolder { path, .. } if path.exists() && !path.is_dir() && path.ends_with(".engine") => {
                "rename that file: the local AWS needs a folder of this name".into()
            }
            Self::ProjectFolder { .. } => "make the project's folder writable, on a file system that has file locks".into(),
            Self::NotStarted { log, packages, .. } => format!(
                "see `{}`; if MiniStack itself looks broken, delete `{}` and try again",
                log.display(),
                packages.display()
            ),
            Self::System { .. } => {
                "mend what the system names, and run the command again; `engine doctor --local` looks at what is needed".into()
            }
            Self::NotReset { .. } => "`engine local stop` gives a fresh one with the next command".into(),
            Self::NotStopped { group } => format!("`kill -KILL -- -{group}` ends them by hand"),
        }
    }
}

fn product(program: &str) -> &'static str {
    if program == "node" { "Node.js" } else { "Python" }
}

fn in_turn(attempts: &[Attempt]) -> String {
    let told: Vec<String> = attempts.iter().map(|attempt| format!("`{}`: {}", attempt.way, attempt.said)).collect();
    told.join("\n")
}
