//! Finds and reads the files of a folder that belong to a package.
//!
//! **Invariant:** it opens only regular files, and no link leads out of the folder.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use walkdir::WalkDir;

use crate::spec::files::{self, Unread};

use super::{Files, MAX_UNZIPPED, SourceError};

/// Folders without code, which differ on every machine.
const SYSTEM: [&str; 3] = ["/proc", "/sys", "/dev"];

/// Excluded from every package at any depth: version control, leftovers of editors and file
/// managers, what Python compiles whenever it runs, and engine's own folder. [`files::is_own_output`] and [`files::is_draft`] recognize
/// engine's output under other names.
const ALWAYS_LEFT_OUT: [&str; 10] = [
    ".git",
    ".gitattributes",
    ".gitignore",
    ".hg",
    ".svn",
    ".DS_Store",
    "Thumbs.db",
    ".idea",
    ".vscode",
    "__pycache__",
];

/// Whether a file or folder with this name is excluded from every package.
fn is_always_left_out(name: &str) -> bool {
    let is_of_editor = name.ends_with('~')
        || name.ends_with(".swp")
        || name.starts_with(".#")
        || (name.len() > 1 && name.starts_with('#') && name.ends_with('#'));
    // Also the packages of saved plans.
    ALWAYS_LEFT_OUT.contains(&name) || name.ends_with(".engine") || is_of_editor || files::is_draft(name)
}

/// A file of a folder.
pub(super) struct FoundFile {
    path: PathBuf,
    /// What its system says about it; `None` if that doesn't show each change.
    pub(super) stamp: Option<Stamp>,
}

/// The metadata of a file, with times in nanoseconds since 1970.
pub(super) struct Stamp {
    pub(super) len: u64,
    pub(super) inode: u64,
    pub(super) device: u64,
    pub(super) modified: i128,
    pub(super) changed: i128,
}

impl Stamp {
    #[cfg(unix)]
    fn of(metadata: &fs::Metadata) -> Option<Stamp> {
        use std::os::unix::fs::MetadataExt as _;
        let time = |seconds: i64, nanoseconds: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
        Some(Stamp {
            len: metadata.len(),
            inode: metadata.ino(),
            device: metadata.dev(),
            modified: time(metadata.mtime(), metadata.mtime_nsec()),
            changed: time(metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    #[cfg(not(unix))]
    fn of(_metadata: &fs::Metadata) -> Option<Stamp> {
        None
    }
}

/// The metadata and real path of an allowed path. Links are followed, and their target must be
/// allowed.
pub(super) fn accessible(path: &Path, boundary: Option<&Path>) -> Result<(fs::Metadata, PathBuf), SourceError> {
    let unreadable = |error| SourceError::Unreadable { path: path.into(), error };
    let metadata = fs::metadata(path).map_err(|error| match Unread::from(error) {
        Unread::Refused(error) => unreadable(error),
        _ => SourceError::Missing(path.into()),
    })?;
    let target = fs::canonicalize(path).map_err(unreadable)?;
    check(path, target, boundary).map(|target| (metadata, target))
}

/// Checks that what is written to a path will be accessible; it may not exist yet.
pub(super) fn will_be_accessible(path: &Path, boundary: Option<&Path>) -> Result<(), SourceError> {
    let mut ancestors = path.ancestors().filter(|it| !it.as_os_str().is_empty()).chain([Path::new(".")]);
    let Some((ancestor, mut target)) = ancestors.find_map(|it| Some((it, fs::canonicalize(it).ok()?))) else {
        return Ok(());
    };
    for part in path.strip_prefix(ancestor).unwrap_or(path).components() {
        match part {
            Component::ParentDir => drop(target.pop()),
            part => target.push(part),
        }
    }
    check(path, target, boundary).map(drop)
}

fn check(path: &Path, target: PathBuf, boundary: Option<&Path>) -> Result<PathBuf, SourceError> {
    if target.parent().is_none() || SYSTEM.iter().any(|folder| target.starts_with(folder)) {
        return Err(SourceError::OperatingSystem { path: path.into(), target });
    }
    match boundary.filter(|project| !target.starts_with(project)) {
        Some(project) => Err(SourceError::Outside { path: path.into(), target, project: project.into() }),
        None => Ok(target),
    }
}

/// The files to pack, and the names of those that engine wrote: the user chose the names of its
/// output files, so only the content identifies them.
pub(super) fn read(
    path: &Path,
    found: BTreeMap<String, FoundFile>,
) -> Result<(Files, BTreeSet<String>), Vec<SourceError>> {
    let mut files = contents(path, found)?;
    let dropped: BTreeSet<String> =
        files.iter().filter(|(_, content)| files::is_own_output(content)).map(|(name, _)| name.clone()).collect();
    files.retain(|name, _| !dropped.contains(name));
    if files.is_empty() { Err(vec![SourceError::EmptyFolder(path.into())]) } else { Ok((files, dropped)) }
}

/// The names of all files to pack, with the content of the wanted ones.
pub(super) fn some_contents(
    found: BTreeMap<String, FoundFile>,
    dropped: &BTreeSet<String>,
    is_wanted: impl Fn(&str) -> bool,
) -> Files {
    let read = |(name, found): (String, FoundFile)| {
        let limit = usize::try_from(MAX_UNZIPPED).unwrap_or(usize::MAX);
        let content = if is_wanted(&name) { files::read(&found.path, limit).unwrap_or_default() } else { Vec::new() };
        (name, content)
    };
    found.into_iter().filter(|(name, _)| !dropped.contains(name)).map(read).collect()
}

/// Reads the listed files, which may have changed since.
pub(super) fn contents(path: &Path, found: BTreeMap<String, FoundFile>) -> Result<Files, Vec<SourceError>> {
    let mut files = Files::new();
    let mut errors = Vec::new();
    let mut budget = MAX_UNZIPPED;
    for (name, FoundFile { path, .. }) in found {
        // Check the limit again while reading, because a file may grow.
        let mut content = Vec::new();
        match files::open(&path).and_then(|file| Ok(file.take(budget).read_to_end(&mut content)?)) {
            Ok(_) => budget -= content.len() as u64,
            Err(Unread::Refused(error)) => errors.push(SourceError::Unreadable { path, error }),
            // It was a file when the folder was listed.
            Err(_) => errors.push(SourceError::Changed(path)),
        }
        files.insert(name, content);
    }
    if budget == 0 {
        errors.push(SourceError::UnzippedTooLarge { path: path.into() });
    }
    if errors.is_empty() { Ok(files) } else { Err(errors) }
}

/// A single file under its own name.
pub(super) fn single(path: &Path, metadata: &fs::Metadata) -> Result<Files, Vec<SourceError>> {
    let error = |error: fn(PathBuf) -> SourceError| Err(vec![error(path.to_path_buf())]);
    if !metadata.is_file() {
        return error(SourceError::Special);
    }
    if metadata.len() == 0 {
        return error(SourceError::EmptyFile);
    }
    if metadata.len() >= MAX_UNZIPPED {
        return error(|path| SourceError::UnzippedTooLarge { path });
    }
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return error(SourceError::NotUtf8) };
    contents(path, BTreeMap::from([(name.to_owned(), FoundFile { path: path.to_path_buf(), stamp: None })]))
}

/// All files in a folder that are not excluded, by their name in the archive. Reads no content.
pub(super) fn walk(root: &Path, left_out: &GlobSet) -> Result<BTreeMap<String, FoundFile>, Vec<SourceError>> {
    let real_root =
        fs::canonicalize(root).map_err(|error| vec![SourceError::Unreadable { path: root.into(), error }])?;
    let mut found = BTreeMap::new();
    let mut errors = Vec::new();
    let mut size = 0;
    // Sorted, so that the first error is the same on every machine.
    let mut steps = WalkDir::new(root).min_depth(1).follow_links(true).sort_by_file_name().into_iter();
    while let Some(step) = steps.next() {
        let path = match &step {
            Ok(entry) => entry.path().to_path_buf(),
            Err(error) => error.path().unwrap_or(root).to_path_buf(),
        };
        let name = archive_name(root, &path);
        // Check this first, so that excluded files cause no errors: lock files of editors are
        // broken links.
        let is_usual = |name: &str| is_always_left_out(name.rsplit('/').next().unwrap_or(name));
        let is_left_out = name.as_ref().is_some_and(|name| is_usual(name) || left_out.is_match(name));
        let is_folder = step.as_ref().is_ok_and(|entry| entry.file_type().is_dir());
        let file = match (step, name) {
            _ if is_left_out => Ok(None),
            (Err(error), _) => Err(walk_error(path, error)),
            (Ok(_), None) => Err(SourceError::NotUtf8(path)),
            (Ok(entry), Some(name)) => match link_target(&entry) {
                Some(Ok(target)) if !target.starts_with(&real_root) => {
                    Err(SourceError::LinkOutside { link: path, target })
                }
                Some(Err(error)) => Err(SourceError::Unreadable { path, error }),
                _ if is_folder => continue,
                _ if !entry.file_type().is_file() => Err(SourceError::Special(path)),
                _ => match entry.metadata() {
                    Ok(metadata) => {
                        let found = FoundFile { path, stamp: Stamp::of(&metadata) };
                        Ok(Some((name, found, metadata.len())))
                    }
                    Err(error) => Err(walk_error(path, error)),
                },
            },
        };
        match file {
            Ok(Some((name, file, len))) => {
                size += len;
                found.insert(name, file);
            }
            Ok(None) => {}
            Err(error) => errors.push(error),
        }
        if is_folder {
            steps.skip_current_dir();
        }
        if size >= MAX_UNZIPPED {
            errors.push(SourceError::UnzippedTooLarge { path: root.into() });
            break;
        }
    }
    if found.is_empty() && errors.is_empty() {
        errors.push(SourceError::EmptyFolder(root.into()));
    }
    if errors.is_empty() { Ok(found) } else { Err(errors) }
}

/// `None` if the name is not UTF-8.
fn archive_name(root: &Path, path: &Path) -> Option<String> {
    let relative = path.strip_prefix(root).unwrap_or(path);
    let parts: Option<Vec<&str>> = relative.components().map(|part| part.as_os_str().to_str()).collect();
    Some(parts?.join("/"))
}

/// The target of a symbolic link; `None` for anything else.
fn link_target(entry: &walkdir::DirEntry) -> Option<io::Result<PathBuf>> {
    entry.path_is_symlink().then(|| fs::canonicalize(entry.path()))
}

fn walk_error(path: PathBuf, error: walkdir::Error) -> SourceError {
    if error.loop_ancestor().is_some() {
        return SourceError::LinkLoop(path);
    }
    let message = error.to_string();
    let error = error.into_io_error().unwrap_or_else(|| io::Error::other(message));
    if error.kind() == io::ErrorKind::NotFound && path.is_symlink() {
        return SourceError::LinkBroken(path);
    }
    SourceError::Unreadable { path, error }
}

pub(super) fn patterns(exclude: &[String]) -> Result<GlobSet, Vec<SourceError>> {
    let mut set = GlobSetBuilder::new();
    let mut errors = Vec::new();
    for pattern in exclude.iter().map(String::as_str) {
        // `./docs`, `/docs` and `docs/` are the same as `docs`.
        let glob = pattern.strip_prefix("./").unwrap_or(pattern).trim_matches('/');
        match GlobBuilder::new(glob).literal_separator(true).backslash_escape(true).build() {
            Ok(glob) => _ = set.add(glob),
            Err(error) => {
                errors.push(SourceError::Pattern { pattern: pattern.into(), reason: error.kind().to_string() })
            }
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    set.build().map_err(|error| {
        vec![SourceError::Pattern {
            pattern: error.glob().unwrap_or_default().into(),
            reason: error.kind().to_string(),
        }]
    })
}
