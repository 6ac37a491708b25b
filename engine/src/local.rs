//! The embedded local AWS: a pinned MiniStack per project, in the background on a loopback port.
//!
//! Commands call [`ensure`], which installs, starts or reuses. A supervisor process (see
//! [`supervise`]) owns the server and ends it after an hour without use. It also runs the proxy in
//! front of the server, which only accepts requests with the server's [`ServerKey`]; nothing else
//! listens on a port. `.engine/local.json` records how to reach the server; deployed resources live
//! in the server's memory and end with it.
//!
//! All functions block, and some run an async runtime: call them on a thread that drives none, such
//! as one of `tokio::task::spawn_blocking`.
//!
//! **Invariant:** knows no spec, no AWS client and no credentials, and connects to no address
//! except 127.0.0.1; only the installer talks to a package index. Nothing that it starts sees the
//! user's `AWS_*` variables.

mod error;
#[cfg(unix)]
mod folder;
#[cfg(unix)]
mod http;
#[cfg(unix)]
mod install;
#[cfg_attr(not(unix), allow(dead_code))]
mod key;
#[cfg(unix)]
mod process;
#[cfg(unix)]
mod proxy;
#[cfg(unix)]
mod server;
#[cfg(unix)]
mod supervise;
#[cfg(unix)]
mod syntax;
#[cfg(unix)]
mod tools;
#[cfg(not(unix))]
mod unsupported;
#[cfg(unix)]
mod wheels;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

pub use error::{InstallAttempt, LocalError};
pub use key::ServerKey;
#[cfg(unix)]
pub use server::{
    cache_folder, check_requirements, ensure, lock_writes, reset, status, stop, try_lock_writes, uninstall,
};
#[cfg(unix)]
pub use supervise::supervise;
#[cfg(unix)]
pub use syntax::check_syntax;
#[cfg(not(unix))]
pub use unsupported::{
    check_requirements, check_syntax, ensure, lock_writes, reset, status, stop, supervise, try_lock_writes, uninstall,
};

/// How long a server runs without use.
const IDLE_LIMIT: Duration = Duration::from_secs(60 * 60);

/// A project with its own local AWS, and the parts of the machine that it uses.
#[derive(Debug, Clone)]
pub struct Project {
    /// The folder that gets `.engine/`: the parent of `specs/`.
    pub dir: PathBuf,
    /// The program that has the command `local supervise`. Defaults to this one.
    pub executable: Option<PathBuf>,
    /// Where MiniStack is installed. Defaults to `$ENGINE_CACHE_DIR`, else `engine` in the user's
    /// cache folder.
    pub cache: Option<PathBuf>,
    /// The search path for programs, in the form of `PATH`. Defaults to `$PATH`.
    pub path: Option<OsString>,
    /// How long a server runs without use, in whole seconds.
    pub idle_limit: Duration,
    /// Set once the user presses Ctrl-C; ends an installation, a start, and waits for other
    /// commands.
    pub interrupted: Arc<AtomicBool>,
}

impl Project {
    /// The project in `dir`, with the defaults for everything else.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            executable: None,
            cache: None,
            path: None,
            idle_limit: IDLE_LIMIT,
            interrupted: Arc::default(),
        }
    }
}

/// A server that is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// The port on 127.0.0.1.
    pub port: u16,
    /// `http://127.0.0.1:PORT`, as AWS clients want it.
    pub endpoint: String,
    /// The key that requests to this port need.
    pub key: ServerKey,
    /// The server's process, and the group of the functions' processes.
    pub pid: u32,
    /// Whether this call started it.
    pub started_now: bool,
    /// Whether a previous server ended without `stop`, and its resources with it.
    pub lost_previous: bool,
    /// MiniStack's version.
    pub version: String,
}

/// A requirement of the local AWS, and what was found: version and path.
pub type RequirementCheck = (&'static str, Result<String, LocalError>);

/// The right to write to a project's local AWS. It ends with this value, or with the process,
/// however that ends.
#[derive(Debug)]
pub struct WriteLock {
    _file: std::fs::File,
}

/// The answer to a request for a [`WriteLock`].
#[derive(Debug)]
pub enum LockAttempt {
    /// No other command has it.
    Granted(WriteLock),
    /// Another command has it, as this process, if that is known.
    Taken(Option<u32>),
}

/// JavaScript to check.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Script {
    /// The file's content.
    pub text: Vec<u8>,
    /// Whether it is an ES module, and otherwise CommonJS.
    pub is_module: bool,
}

/// What Node.js makes of a [`Script`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyntaxVerdict {
    /// It can be parsed.
    Valid,
    /// It can't be parsed.
    Invalid {
        /// The line of the error, from 1.
        line: usize,
        /// Its column, from 1, as far as Node.js shows it.
        column: Option<usize>,
        /// The reason, such as `Unexpected token ')'`.
        reason: String,
        /// The major version of Node.js.
        major: u32,
    },
    /// There is no Node.js, or it has not answered.
    Unknown,
}

/// The arguments of a supervisor, as those of the hidden command `local supervise`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct SuperviseArgs {
    /// The project's `.engine` folder
    #[arg(long)]
    pub folder: PathBuf,
    /// The folder that becomes the server's `TMPDIR` and `HOME`, removed at the end
    #[arg(long)]
    pub private: PathBuf,
    /// Where MiniStack is installed
    #[arg(long)]
    pub packages: PathBuf,
    /// The Python that runs it
    #[arg(long)]
    pub python: PathBuf,
    /// The folder with the `node` that runs functions
    #[arg(long)]
    pub node_folder: PathBuf,
    /// Seconds without use after which the server ends
    #[arg(long)]
    pub idle_seconds: u64,
}

impl SuperviseArgs {
    /// The command-line arguments that start this supervisor.
    #[must_use]
    pub fn to_args(&self) -> Vec<OsString> {
        let option = |name: &str, value: OsString| {
            let mut argument = OsString::from(format!("--{name}="));
            argument.push(value);
            argument
        };
        vec![
            "local".into(),
            "supervise".into(),
            option("folder", self.folder.clone().into()),
            option("private", self.private.clone().into()),
            option("packages", self.packages.clone().into()),
            option("python", self.python.clone().into()),
            option("node-folder", self.node_folder.clone().into()),
            option("idle-seconds", self.idle_seconds.to_string().into()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use proptest::prelude::*;

    use super::*;

    #[derive(Parser)]
    enum TestCli {
        #[command(subcommand)]
        Local(Local),
    }

    #[derive(clap::Subcommand)]
    enum Local {
        Supervise(SuperviseArgs),
    }

    proptest! {
        #[test]
        fn the_arguments_survive_the_command_line(
            paths in prop::array::uniform5("[ -~äß]{1,20}".prop_map(PathBuf::from)),
            idle_seconds: u64,
        ) {
            let [folder, private, packages, python, node_folder] = paths;
            let args = SuperviseArgs { folder, private, packages, python, node_folder, idle_seconds };
            let line = std::iter::once("engine".into()).chain(args.to_args());
            let TestCli::Local(Local::Supervise(parsed)) = TestCli::parse_from(line);
            prop_assert_eq!(parsed, args);
        }
    }
}
