//! Finds the project of the current folder, for commands without a spec.
//!
//! **Invariant:** the search ends at a repository's root and at the home folder, and skips folders of
//! other users above the current one.

use std::path::{Path, PathBuf};

use crate::files;

use super::patterns;

/// How many bytes of a file are read to see whether it is a spec.
const HEAD_BYTES: usize = 1 << 16;

/// The result of a search upward.
pub(super) struct Search {
    /// The project's folder, relative to the current one: empty, or one `..` per level.
    pub(super) project: Option<PathBuf>,
    /// The folder of another user that ended the search.
    pub(super) foreign: Option<PathBuf>,
}

/// Finds the closest folder that `is_project`, from the current one upward.
pub(super) fn search(is_project: impl Fn(&Path) -> bool) -> Search {
    let here = std::env::current_dir().unwrap_or_default();
    let home = etcetera::home_dir().ok().map(|home| home.canonicalize().unwrap_or(home));
    for (depth, folder) in here.ancestors().enumerate() {
        // The current folder is the user's choice.
        if depth > 0 && !is_own(folder) {
            return Search { project: None, foreign: Some(folder.to_owned()) };
        }
        if is_project(folder) {
            let specs = folder.join("specs");
            if depth > 0 && specs.exists() && !is_own(&specs) {
                return Search { project: None, foreign: Some(specs) };
            }
            return Search { project: Some(std::iter::repeat_n("..", depth).collect()), foreign: None };
        }
        if folder.join(".git").exists() || home.as_deref() == Some(folder) {
            break;
        }
    }
    Search { project: None, foreign: None }
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
