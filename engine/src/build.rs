//! Builds: finds the ones of a command's specs, decides which have to run, and runs them.
//!
//! Those with the same command and folder are one. A build whose inputs and output are as they were
//! after an earlier run doesn't run.
//!
//! **Invariant:** what runs sees only the variables of [`environment`], and no process of it
//! outlives its run.

pub mod consent;
mod environment;
mod inputs;
mod process;
mod record;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use engine_core::build::{Build, Command, Output};
use sha2::{Digest as _, Sha256};

use crate::files;

pub use consent::Consent;
pub use inputs::InputError;
pub use process::BuildFailure;

use inputs::Snapshot;
use record::BuildRecord;

/// How often a build runs at most until it is certain what it has read.
const MAX_RUNS: usize = 3;

/// A build of one or more declarations.
#[derive(Debug)]
pub struct Job {
    /// As the first declaration has it.
    pub build: Build,
    /// The declarations: the spec's position among those of the command, and the resource's name.
    pub users: Vec<(usize, String)>,
    /// Identifies the command and its folder within the project.
    key: String,
    /// The folder of the project, which contains engine's own folder.
    project: PathBuf,
    /// What it reads, of all declarations.
    inputs: BTreeSet<String>,
    /// The paths that it writes, of all declarations.
    outputs: BTreeSet<PathBuf>,
}

/// Why a build has no result.
#[derive(Debug)]
pub enum BuildError {
    /// It has an input that can't be read.
    Input(InputError),
    /// It didn't succeed.
    Failed(BuildFailure),
    /// It succeeded, but this path doesn't exist or is empty.
    NoOutput(PathBuf),
    /// engine's own folder, or the output, can't be read or written.
    Io(PathBuf, io::Error),
}

impl From<InputError> for BuildError {
    fn from(error: InputError) -> BuildError {
        BuildError::Input(error)
    }
}

/// What is to be reported about a build that has run.
#[derive(Debug, Default)]
pub struct FinishedBuild {
    /// An input that it changed.
    pub changed_input: Option<String>,
    /// Whether the same inputs had another output before.
    pub differs: bool,
}

/// Whether a build has to run, and its inputs now.
#[derive(Debug, Default)]
pub struct BuildState {
    inputs: Snapshot,
    /// Whether inputs and output are as they were after an earlier run.
    pub is_fresh: bool,
}

impl BuildState {
    /// A digest of its inputs.
    pub fn inputs(&self) -> String {
        self.inputs.digest()
    }
}

/// The builds of declarations, each with the spec's position and the project's folder; equal ones
/// are one.
pub fn jobs<'b>(wanted: impl IntoIterator<Item = (usize, &'b Path, &'b str, &'b Build)>) -> Vec<Job> {
    let mut jobs: BTreeMap<(PathBuf, String), Job> = BTreeMap::new();
    for (spec, project, resource, build) in wanted {
        let project = real(project);
        let key = key(build, &project);
        let job = jobs.entry((project.clone(), key.clone())).or_insert_with(|| Job {
            build: build.clone(),
            users: Vec::new(),
            key,
            project,
            inputs: BTreeSet::new(),
            outputs: BTreeSet::new(),
        });
        job.users.push((spec, resource.to_owned()));
        job.inputs.extend(build.inputs.iter().cloned());
        match &build.output {
            Output::Path(path) => drop(job.outputs.insert(path.clone())),
            Output::Folder => {
                let folder = job.folder();
                job.outputs.insert(folder);
            }
        }
    }
    let mut jobs: Vec<Job> = jobs.into_values().collect();
    jobs.sort_by(|one, other| one.users.cmp(&other.users));
    jobs
}

/// A digest of the command and the folder in which it runs, the same on every machine if that is
/// part of the project.
fn key(build: &Build, project: &Path) -> String {
    let words: Vec<&str> = match &build.command {
        Command::Shell(line) => vec!["shell", line],
        Command::Program(words) => std::iter::once("program").chain(words.iter().map(String::as_str)).collect(),
        Command::Tool { title, args, .. } => {
            ["tool", title].into_iter().chain(args.iter().map(String::as_str)).collect()
        }
    };
    let directory = real(&build.directory);
    digest(&words, directory.strip_prefix(project).unwrap_or(&directory))
}

/// A digest of words and a path.
fn digest(words: &[&str], path: &Path) -> String {
    let mut hash = Sha256::new();
    for word in words {
        hash.update(u64::try_from(word.len()).unwrap_or_default().to_le_bytes());
        hash.update(word);
    }
    hash.update(path.as_os_str().as_encoded_bytes());
    hex(&hash.finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The real path of a folder, or an absolute one if it doesn't exist.
fn real(path: &Path) -> PathBuf {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned())
}

impl Job {
    /// What it does, for people.
    pub fn title(&self) -> String {
        self.build.command.title()
    }

    /// engine's own folder for what it writes and for its record.
    pub fn folder(&self) -> PathBuf {
        // Long enough to be unique in a project, and short enough for the paths of Windows.
        let name = self.key.get(..16).unwrap_or(&self.key);
        self.project.join(files::own::FOLDER).join("builds").join(name)
    }

    /// Reads its inputs and its output, and compares them with the record of an earlier run.
    ///
    /// # Errors
    /// An input is missing or can't be read.
    pub fn state(&self) -> Result<BuildState, InputError> {
        let record = BuildRecord::read(&self.folder());
        let inputs = self.snapshot(&record)?;
        let output = self.output().ok();
        let is_fresh = output.is_some() && record.output_of(&inputs.digest()) == output.as_deref();
        Ok(BuildState { inputs, is_fresh })
    }

    /// Runs it; `interrupted` ends once the user presses Ctrl-C.
    ///
    /// # Errors
    /// It can't start, fails, takes longer than `limit`, is interrupted, or writes nothing.
    pub async fn run(
        &self,
        state: &BuildState,
        limit: Duration,
        interrupted: impl Future<Output = ()>,
    ) -> Result<FinishedBuild, BuildError> {
        let folder = self.folder();
        let unwritable = |error| BuildError::Io(folder.clone(), error);
        files::own::project_folder(&self.project).map_err(unwritable)?;
        let (mut record, mut inputs) = (BuildRecord::read(&folder), state.inputs.clone());
        let mut interrupted = pin!(interrupted);
        for _ in 0..MAX_RUNS {
            if self.build.output == Output::Folder {
                renew(&folder).map_err(unwritable)?;
            }
            let run = process::run(&self.build, &folder, limit, interrupted.as_mut());
            run.await.map_err(BuildError::Failed)?;
            let mut read = inputs::take_read_files(&real(&self.build.directory), &folder).map_err(unwritable)?;
            read.retain(|name| !inputs.declares(name));
            if read == record.read {
                break;
            }
            record.read = read;
            // A file may have changed since the run has read it, so only the next run counts.
            inputs = self.snapshot(&record)?;
        }
        let output = self.output()?;
        let after = self.snapshot(&record)?;
        let digest = inputs.digest();
        let differs = record.output_of(&digest).is_some_and(|before| before != output);
        record.add(digest, output);
        record.write(&self.project, &folder).map_err(unwritable)?;
        Ok(FinishedBuild { changed_input: inputs.first_change(&after), differs })
    }

    fn snapshot(&self, record: &BuildRecord) -> Result<Snapshot, InputError> {
        let outputs: Vec<PathBuf> = self.outputs.iter().map(|path| real(path)).collect();
        Snapshot::of(&real(&self.build.directory), &self.inputs, &record.read, &outputs)
    }

    /// The files that the last run has read.
    pub fn read_files(&self) -> Vec<PathBuf> {
        let directory = real(&self.build.directory);
        BuildRecord::read(&self.folder()).read.iter().map(|name| directory.join(name)).collect()
    }

    /// The digest of its output.
    fn output(&self) -> Result<String, BuildError> {
        let mut all = Vec::new();
        for path in &self.outputs {
            match inputs::content(path) {
                Ok(Some(digest)) => all.push(digest),
                Ok(None) => return Err(BuildError::NoOutput(path.clone())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(BuildError::NoOutput(path.clone()));
                }
                Err(error) => return Err(BuildError::Io(path.clone(), error)),
            }
        }
        let words: Vec<&str> = all.iter().map(String::as_str).collect();
        Ok(digest(&words, Path::new("")))
    }
}

/// Empties engine's own folder for the output of a tool.
fn renew(folder: &Path) -> io::Result<()> {
    let parent = folder.parent().unwrap_or(folder);
    files::own::folder(parent)?;
    match files::own::is_folder(folder) {
        Ok(()) => std::fs::remove_dir_all(folder)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    files::own::folder(folder)
}
