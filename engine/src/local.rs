//! The embedded local AWS: a pinned MiniStack per project, in the background on a loopback port.
//!
//! Commands call [`ensure`], which installs, starts or reuses. A supervisor process (see [`supervise`]) owns the server
//! and ends it after a time without use. It also keeps the door in front of the server, which lets only requests with
//! the server's [`ServerKey`] through; nothing else listens on a port. What a command must know of a server stands in `.engine/local.json`; deployed
//! things live in the server's memory and go with it.
//!
//! All functions block and bring a runtime of their own: call them on a thread that drives none, such as one of
//! `tokio::task::spawn_blocking`.
//!
//! **Invariant:** knows no spec, no AWS client and no credentials, and reaches no address but 127.0.0.1; only the
//! installer talks to a package index. Nothing it starts sees the user's `AWS_*` variables.

#[cfg(unix)]
mod door;
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
mod server;
pub mod standin;
#[cfg(unix)]
mod supervise;
#[cfg(unix)]
mod tools;
#[cfg(not(unix))]
mod unsupported;
#[cfg(unix)]
mod wheels;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

pub use error::{Attempt, LocalError};
pub use key::ServerKey;
#[cfg(unix)]
pub use server::{ensure, reset, status, stop, survey, uninstall};
#[cfg(unix)]
pub use supervise::supervise;
#[cfg(not(unix))]
pub use unsupported::{ensure, reset, status, stop, supervise, survey, uninstall};

/// How long a server is kept that no command uses.
const IDLE_LIMIT: Duration = Duration::from_secs(60 * 60);

/// A project that has a local AWS of its own, and what of the machine is used for it.
#[derive(Debug, Clone)]
pub struct Project {
    /// The folder that gets `.engine/`: the parent of `specs/`.
    pub dir: PathBuf,
    /// The program that understands `local supervise …`; this one if `None`.
    pub executable: Option<PathBuf>,
    /// Where MiniStack is installed; `$ENGINE_CACHE_DIR` or else `engine` in the user's cache folder if `None`.
    pub cache: Option<PathBuf>,
    /// Where programs are looked for, written like `PATH`; `$PATH` if `None`.
    pub path: Option<OsString>,
    /// How long a server is kept that no command uses, in whole seconds.
    pub idle_limit: Duration,
}

impl Project {
    /// The project in `dir`, with everything else as usual.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), executable: None, cache: None, path: None, idle_limit: IDLE_LIMIT }
    }
}

/// A server that is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// The port on 127.0.0.1.
    pub port: u16,
    /// `http://127.0.0.1:PORT`, as AWS clients want it.
    pub endpoint: String,
    /// What opens the door that listens there.
    pub key: ServerKey,
    /// The process of the server, and the group of the functions' processes.
    pub pid: u32,
    /// Whether this call started it.
    pub started_now: bool,
    /// Whether an earlier server went away without `stop`, and with it all that was deployed there.
    pub lost_previous: bool,
    /// MiniStack's version.
    pub version: String,
}

/// Something that the local AWS needs, and what was found of it: version and place.
pub type Part = (&'static str, Result<String, LocalError>);

/// What a supervisor needs to know. Travels as the arguments of the hidden command `local supervise`.
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
    /// The words after the program's name that start this supervisor.
    #[must_use]
    pub fn to_args(&self) -> Vec<OsString> {
        let option = |name: &str, value: OsString| {
            let mut word = OsString::from(format!("--{name}="));
            word.push(value);
            word
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
    enum Cli {
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
            let Cli::Local(Local::Supervise(parsed)) = Cli::parse_from(line);
            prop_assert_eq!(parsed, args);
        }
    }
}
