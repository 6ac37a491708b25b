//! What a build reads, and what it wrote, as digests of contents.
//!
//! **Invariant:** only names and contents count, never times; no link is followed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use engine_core::build::READ_FILES;
use ignore::WalkBuilder;
use serde::Deserialize;
use serde::de::IgnoredAny;
use sha2::{Digest as _, Sha256};
use walkdir::WalkDir;

use crate::files::{self, own};

use super::hex;

/// The largest list of files that is read, in bytes.
const MAX_LIST: u64 = 1 << 26;

/// The part of esbuild's metafile that matters.
#[derive(Debug, Deserialize)]
struct ReadFiles {
    inputs: BTreeMap<String, IgnoredAny>,
}

/// An input that can't be read.
#[derive(Debug)]
pub struct InputError {
    /// As the spec names it.
    pub input: String,
    /// The file.
    pub path: PathBuf,
    /// The system's reason.
    pub error: io::Error,
}

/// The digest of each input by its path, relative to the build's folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Snapshot {
    declared: BTreeMap<String, String>,
    /// The other files that an earlier run has read.
    read: BTreeMap<String, String>,
}

impl Snapshot {
    /// The inputs of a build in `directory`, without what is in `outputs`; and the files that an
    /// earlier run has `read`, as far as they exist.
    pub(super) fn of(
        directory: &Path,
        inputs: &BTreeSet<String>,
        read: &BTreeSet<String>,
        outputs: &[PathBuf],
    ) -> Result<Snapshot, InputError> {
        let mut others = Snapshot::default();
        for name in read {
            let path = directory.join(name);
            if path.is_file() {
                others.add(directory, &path).map_err(|error| InputError { input: name.clone(), path, error })?;
            }
        }
        let mut snapshot = Snapshot { read: others.declared, ..Snapshot::default() };
        for input in inputs {
            let root = directory.join(input);
            let failed = |path: PathBuf| move |error| InputError { input: input.clone(), path, error };
            if root.symlink_metadata().map_err(failed(root.clone()))?.is_dir() {
                for path in files_in(&root, outputs).map_err(failed(root.clone()))? {
                    snapshot.add(directory, &path).map_err(failed(path))?;
                }
            } else {
                snapshot.add(directory, &root).map_err(failed(root))?;
            }
        }
        Ok(snapshot)
    }

    fn add(&mut self, directory: &Path, path: &Path) -> io::Result<()> {
        let name = path.strip_prefix(directory).unwrap_or(path).to_string_lossy().replace('\\', "/");
        let content = read(path)?;
        // engine may have written it into the project since, as with `--out`.
        if !files::is_own_output(&content) {
            self.declared.insert(name, hex(&Sha256::digest(content)));
        }
        Ok(())
    }

    /// Whether the build declares an input of that name.
    pub(super) fn declares(&self, name: &str) -> bool {
        self.declared.contains_key(name)
    }

    fn all(&self) -> impl Iterator<Item = (&String, &String)> {
        self.declared.iter().chain(&self.read)
    }

    /// The digest of all of them.
    pub(super) fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for (name, content) in self.all() {
            hash.update(name);
            hash.update([0]);
            hash.update(content);
        }
        hex(&hash.finalize())
    }

    /// The first input that `later` has with another content, or that only one of them has.
    pub(super) fn first_change(&self, later: &Snapshot) -> Option<String> {
        let [before, after]: [BTreeMap<_, _>; 2] = [self, later].map(|it| it.all().collect());
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).copied().collect();
        names.into_iter().find(|name| before.get(name) != after.get(name)).cloned()
    }
}

/// The files in a folder that git doesn't ignore.
fn files_in(root: &Path, outputs: &[PathBuf]) -> io::Result<Vec<PathBuf>> {
    // An output that contains the folder itself would leave nothing.
    let outputs: Vec<PathBuf> = outputs.iter().filter(|it| !root.starts_with(it)).cloned().collect();
    let mut walk = WalkBuilder::new(root);
    walk.standard_filters(false).parents(true).git_ignore(true).git_exclude(true).git_global(true).require_git(false);
    walk.filter_entry(move |entry| {
        let name = entry.file_name().as_encoded_bytes();
        let is_left_out = entry.depth() > 0 && (name == b".git" || name.ends_with(files::OWN_FOLDER.as_bytes()));
        !is_left_out && !outputs.iter().any(|output| entry.path().starts_with(output))
    });
    let mut files = Vec::new();
    for entry in walk.build() {
        let entry = entry.map_err(|error| {
            let text = error.to_string();
            error.into_io_error().unwrap_or_else(|| io::Error::other(text))
        })?;
        if entry.file_type().is_some_and(|kind| !kind.is_dir()) {
            files.push(entry.into_path());
        }
    }
    Ok(files)
}

/// The content of a file, or where a link leads to.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    if path.is_symlink() {
        return Ok(std::fs::read_link(path)?.into_os_string().into_encoded_bytes());
    }
    let mut content = Vec::new();
    match files::open(path) {
        Ok(mut file) => drop(io::Read::read_to_end(&mut file, &mut content)?),
        Err(files::Unread::Refused(error)) => return Err(error),
        // Sockets and pipes are no input, and a file may have been deleted since.
        Err(_) => {}
    }
    Ok(content)
}

/// The files that a tool says it has read, if it has written that into its output folder: relative
/// to the build's `directory`, without packages that are installed. Removes what it wrote.
pub(super) fn take_read_files(directory: &Path, folder: &Path) -> io::Result<BTreeSet<String>> {
    let list = folder.join(READ_FILES);
    let text = match own::read(&list, MAX_LIST) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        text => text?,
    };
    std::fs::remove_file(&list)?;
    let listed: ReadFiles = serde_json::from_slice(&text)?;
    let is_own = |name: &String| {
        !Path::new(name).components().any(|part| part.as_os_str() == "node_modules") && directory.join(name).is_file()
    };
    Ok(listed.inputs.into_keys().filter(is_own).collect())
}

/// The digest of the content of a file or folder; `None` if it is empty.
///
/// # Errors
/// It doesn't exist or can't be read.
pub(super) fn content(path: &Path) -> io::Result<Option<String>> {
    if !path.metadata()?.is_dir() {
        let content = read(&path.canonicalize()?)?;
        return Ok((!content.is_empty()).then(|| hex(&Sha256::digest(content))));
    }
    let mut all = Snapshot::default();
    for entry in WalkDir::new(path) {
        let entry = entry?;
        if !entry.file_type().is_dir() {
            all.add(path, entry.path())?;
        }
    }
    Ok((!all.declared.is_empty()).then(|| all.digest()))
}
