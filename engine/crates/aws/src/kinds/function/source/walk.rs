//! Finds and reads the files of a folder that belong to a package.
//!
//! **Invariant:** it opens only regular files, and no link leads out of the folder.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use walkdir::WalkDir;

use crate::spec::files::{self, Unread};

use super::{Files, MAX_UNZIPPED, SourceError};

/// Folders without code, which differ on every machine.
const SYSTEM: [&str; 3] = ["/proc", "/sys", "/dev"];

/// Excluded from every package: version control, leftovers of editors and file managers, and
/// engine's own folder. [`files::is_own_output`] and [`files::is_draft`] recognize engine's output
/// under other names.
const ALWAYS_LEFT_OUT: [&str; 14] = [
    // Also the packages of saved plans.
    "**/*.engine",
    "**/.git",
    "**/.gitattributes",
    "**/.gitignore",
    "**/.hg",
    "**/.svn",
    "**/.DS_Store",
    "**/Thumbs.db",
    "**/.idea",
    "**/.vscode",
    "**/*~",
    "**/*.swp",
    "**/.#*",
    "**/#*#",
];

/// The metadata and real path of an allowed path. Links are followed, and their target must be
/// allowed.
pub(super) fn accessible(path: &Path, boundary: Option<&Path>) -> Result<(fs::Metadata, PathBuf), SourceError> {
    let unreadable = |error| SourceError::Unreadable { path: path.into(), error };
    let metadata = fs::metadata(path).map_err(|error| match Unread::from(error) {
        Unread::Refused(error) => unreadable(error),
        _ => SourceError::Missing(path.into()),
    })?;
    let target = fs::canonicalize(path).map_err(unreadable)?;
    if target.parent().is_none() || SYSTEM.iter().any(|folder| target.starts_with(folder)) {
        return Err(SourceError::OperatingSystem { path: path.into(), target });
    }
    match boundary.filter(|project| !target.starts_with(project)) {
        Some(project) => Err(SourceError::Outside { path: path.into(), target, project: project.into() }),
        None => Ok((metadata, target)),
    }
}

pub(super) fn read(path: &Path, metadata: &fs::Metadata, left_out: &GlobSet) -> Result<Files, Vec<SourceError>> {
    if !metadata.is_dir() {
        let found = single(path, metadata).map_err(|error| vec![error])?;
        return contents(path, found);
    }
    let mut files = contents(path, walk(path, left_out)?)?;
    // The user chose the names of engine's output files, so only the content identifies them.
    files.retain(|_, content| !files::is_own_output(content));
    if files.is_empty() { Err(vec![SourceError::EmptyFolder(path.into())]) } else { Ok(files) }
}

/// Reads the listed files, which may have changed since.
pub(super) fn contents(path: &Path, found: BTreeMap<String, PathBuf>) -> Result<Files, Vec<SourceError>> {
    let mut files = Files::new();
    let mut errors = Vec::new();
    let mut budget = MAX_UNZIPPED;
    for (name, path) in found {
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

fn single(path: &Path, metadata: &fs::Metadata) -> Result<BTreeMap<String, PathBuf>, SourceError> {
    let path = path.to_path_buf();
    if !metadata.is_file() {
        return Err(SourceError::Special(path));
    }
    if metadata.len() == 0 {
        return Err(SourceError::EmptyFile(path));
    }
    if metadata.len() >= MAX_UNZIPPED {
        return Err(SourceError::UnzippedTooLarge { path });
    }
    match path.file_name().and_then(|name| name.to_str()) {
        Some(name) => Ok(BTreeMap::from([(name.to_owned(), path)])),
        None => Err(SourceError::NotUtf8(path)),
    }
}

/// All files in a folder that are not excluded, by their name in the archive. Reads no content.
pub(super) fn walk(root: &Path, left_out: &GlobSet) -> Result<BTreeMap<String, PathBuf>, Vec<SourceError>> {
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
        let is_draft = |name: &str| files::is_draft(name.rsplit('/').next().unwrap_or(name));
        let is_left_out = name.as_ref().is_some_and(|name| left_out.is_match(name) || is_draft(name));
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
                    Ok(metadata) => Ok(Some((name, path, metadata.len()))),
                    Err(error) => Err(walk_error(path, error)),
                },
            },
        };
        match file {
            Ok(Some((name, path, len))) => {
                size += len;
                found.insert(name, path);
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
    for pattern in ALWAYS_LEFT_OUT.into_iter().chain(exclude.iter().map(String::as_str)) {
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
