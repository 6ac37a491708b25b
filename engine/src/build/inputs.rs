//! What a build reads, and what it wrote, as digests of contents.
//!
//! **Invariant:** only names and contents count, never times; no link is followed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use ignore::WalkBuilder;
use sha2::{Digest as _, Sha256};
use walkdir::WalkDir;

use crate::files;

use super::hex;

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
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Snapshot(BTreeMap<String, String>);

impl Snapshot {
    /// The inputs of a build in `directory`, without what is in `outputs`.
    pub(super) fn of(directory: &Path, inputs: &BTreeSet<String>, outputs: &[PathBuf]) -> Result<Snapshot, InputError> {
        let mut snapshot = Snapshot::default();
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
            self.0.insert(name, hex(&Sha256::digest(content)));
        }
        Ok(())
    }

    /// The digest of all of them.
    pub(super) fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for (name, content) in &self.0 {
            hash.update(name);
            hash.update([0]);
            hash.update(content);
        }
        hex(&hash.finalize())
    }

    /// The first input that `later` has with another content, or that only one of them has.
    pub(super) fn first_change(&self, later: &Snapshot) -> Option<String> {
        let names: BTreeSet<&String> = self.0.keys().chain(later.0.keys()).collect();
        names.into_iter().find(|name| self.0.get(*name) != later.0.get(*name)).cloned()
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
    Ok((!all.0.is_empty()).then(|| all.digest()))
}
