//! Finds the project of the current folder or of a spec, for its specs and its local AWS.
//!
//! **Invariant:** the search ends at a repository's root and at the home folder, and skips folders
//! of other users above the current one.

use std::path::{Component, Path, PathBuf};

use crate::files;

use super::patterns;

/// How many bytes of a file are read to see whether it is a spec.
const HEAD_BYTES: usize = 1 << 16;

/// The result of a search upward.
pub(in crate::cli) struct ProjectSearch {
    /// The project's folder, relative to the current one: empty, or one `..` per level.
    pub(in crate::cli) project: Option<PathBuf>,
    /// The folder of another user that ended the search.
    pub(in crate::cli) other_users_folder: Option<PathBuf>,
}

/// Finds the closest folder that `is_project`, from the current one upward.
pub(in crate::cli) fn search(is_project: impl Fn(&Path) -> bool) -> ProjectSearch {
    let here = std::env::current_dir().unwrap_or_default();
    let home = etcetera::home_dir().ok().map(|home| home.canonicalize().unwrap_or(home));
    for (depth, folder) in here.ancestors().enumerate() {
        // The current folder is the user's choice.
        if depth > 0 && !is_own(folder) {
            return ProjectSearch { project: None, other_users_folder: Some(folder.to_owned()) };
        }
        if is_project(folder) {
            let specs = folder.join("specs");
            if depth > 0 && specs.exists() && !is_own(&specs) {
                return ProjectSearch { project: None, other_users_folder: Some(specs) };
            }
            return ProjectSearch {
                project: Some(std::iter::repeat_n("..", depth).collect()),
                other_users_folder: None,
            };
        }
        if folder.join(".git").exists() || home.as_deref() == Some(folder) {
            break;
        }
    }
    ProjectSearch { project: None, other_users_folder: None }
}

#[cfg(unix)]
fn is_own(folder: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    folder.metadata().is_ok_and(|it| it.uid() == rustix::process::geteuid().as_raw())
}

#[cfg(not(unix))]
fn is_own(_folder: &Path) -> bool {
    true
}

/// Specs in the current folder instead of in `specs/`.
pub(super) fn specs_here() -> Vec<PathBuf> {
    let is_spec = |path: &PathBuf| {
        let head = files::read(path, HEAD_BYTES).unwrap_or_default();
        String::from_utf8_lossy(&head).lines().any(|line| line.trim_end() == "resources:")
    };
    let files = patterns::yaml_files(Path::new("."));
    files.into_iter().map(|path| path.strip_prefix(".").map(Path::to_owned).unwrap_or(path)).filter(is_spec).collect()
}

/// An absolute path without `..`, if it exists.
pub(in crate::cli) fn absolute(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(Path::new(".").join(path)).unwrap_or_else(|_| path.to_owned());
    let goes_up = path.components().any(|part| part == Component::ParentDir);
    if goes_up { absolute.canonicalize().unwrap_or(absolute) } else { absolute }
}

/// The project folder of a spec: the one that contains its `specs/`, or a project between the
/// current folder and the spec, or else the spec's own folder.
pub(super) fn project_of(spec: &Path) -> PathBuf {
    let absolute = absolute(spec);
    let specs = absolute.ancestors().skip(1).find(|folder| folder.file_name().is_some_and(|name| name == "specs"));
    if let Some(project) = specs.and_then(Path::parent) {
        return project.to_owned();
    }
    // A spec elsewhere in the current project belongs to that project.
    let here = std::env::current_dir().unwrap_or_default();
    let folder = absolute.parent().unwrap_or(Path::new("."));
    let within = folder.ancestors().take_while(|it| it.starts_with(&here));
    within.into_iter().find(|it| is_project(it)).unwrap_or(folder).to_owned()
}

/// Whether a folder looks like that of a project.
pub(in crate::cli) fn is_project(folder: &Path) -> bool {
    folder.join(".engine").is_dir() || folder.join("specs").is_dir()
}
