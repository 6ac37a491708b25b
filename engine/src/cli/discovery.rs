//! The project that a command is given in, where no spec is named.
//!
//! **Invariant:** above the current folder, nothing beyond a repository or the home folder is searched, and no folder that
//! belongs to another user.

use std::path::{Path, PathBuf};

use crate::files;

use super::patterns;

/// As much of a file is read to see whether it is a spec.
const HEAD_BYTES: usize = 1 << 16;

/// A search upwards.
pub(super) struct Search {
    /// The project's folder, relative to the current one: empty, or `..` for each level.
    pub(super) project: Option<PathBuf>,
    /// The folder that ended the search, since it belongs to another user.
    pub(super) foreign: Option<PathBuf>,
}

/// Looks for the closest folder that `is_project`, from the current one up.
pub(super) fn search(is_project: impl Fn(&Path) -> bool) -> Search {
    let here = std::env::current_dir().unwrap_or_default();
    let home = etcetera::home_dir().ok().map(|home| home.canonicalize().unwrap_or(home));
    for (depth, folder) in here.ancestors().enumerate() {
        // The current folder is the user's own choice.
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

/// Specs that lie in the current folder itself instead of in `specs/`.
pub(super) fn specs_here() -> Vec<PathBuf> {
    let is_spec = |path: &PathBuf| {
        let head = files::read(path, HEAD_BYTES).unwrap_or_default();
        String::from_utf8_lossy(&head).lines().any(|line| line.trim_end() == "resources:")
    };
    let files = patterns::yaml_files(Path::new("."));
    files.into_iter().map(|path| path.strip_prefix(".").map(Path::to_owned).unwrap_or(path)).filter(is_spec).collect()
}
