//! What has to run before a declaration's package exists, as data.
//!
//! **Invariant:** nothing runs here. The program asks the user, runs it, and then loads the
//! declaration again.

use std::path::PathBuf;
use std::sync::Arc;

use crate::schema::Problem;
use crate::value::Path;

/// Stands for [`Output::Folder`] in the arguments of a [`Command::Tool`].
pub const OUTPUT: &str = "{output}";
/// The file in [`Output::Folder`] in which a tool may list what it has read: a JSON document whose
/// keys under `inputs` are paths relative to its folder, as esbuild writes it. It isn't part of the
/// output, and what it lists counts as inputs, besides packages that are installed.
pub const READ_FILES: &str = "engine-read-files.json";

/// A build, which makes the package of one or more declarations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// What runs.
    pub command: Command,
    /// The folder in which it runs; absolute, or relative to the working directory.
    pub directory: PathBuf,
    /// What it reads, relative to `directory`: files, and folders without what git ignores in them.
    pub inputs: Vec<String>,
    /// What it writes.
    pub output: Output,
    /// The property that asks for it.
    pub path: Path,
}

/// What a build runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A line for the system's shell.
    Shell(String),
    /// A program and its arguments.
    Program(Vec<String>),
    /// A tool that engine runs by itself.
    Tool {
        /// What it does, for people: `esbuild src/index.ts`.
        title: String,
        /// The program, searched in `PATH` if it is a bare name; or why there is none, which
        /// matters only if the build has to run.
        program: Result<PathBuf, Box<Problem>>,
        /// Its arguments, in which [`OUTPUT`] stands for its output folder.
        args: Vec<String>,
        /// How to install the program, if it isn't in `PATH`.
        install: &'static str,
        /// Whether it downloads packages, and so needs the credentials of their registry.
        downloads: bool,
        /// What some of its messages mean.
        explanations: Vec<Explanation>,
    },
}

/// What a message in a tool's output means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// What precedes the subject, which is the rest of the line.
    pub marker: &'static str,
    /// The problem, in which `{}` stands for the subject.
    pub problem: String,
    /// What the user can do.
    pub hint: &'static str,
}

/// Where a build writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// A file or folder of the user; absolute, or relative to the working directory.
    Path(PathBuf),
    /// A folder of engine's own, which is empty when the build starts.
    Folder,
}

/// What a build has made.
#[derive(Debug, Clone)]
pub enum Built {
    /// Its output; for [`Output::Folder`], that is in this folder.
    Output(PathBuf),
    /// The package that was made of its output earlier.
    Package(Arc<[u8]>),
}

impl Command {
    /// The command as text, for people.
    pub fn title(&self) -> String {
        match self {
            Command::Shell(line) => line.clone(),
            Command::Program(words) => words.join(" "),
            Command::Tool { title, .. } => title.clone(),
        }
    }
}
