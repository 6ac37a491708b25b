//! Which specs a command line means: a folder's, and those that a pattern fits, which not every shell expands.
//!
//! **Invariant:** it looks at names, and reads no file.

use std::path::{Component, Path, PathBuf};

use globset::GlobBuilder;
use walkdir::WalkDir;

use crate::diagnostic::Diagnostic;

use super::terminal::Failure;

/// The YAML files right in each folder that is named, in the order of their names, and all else as it is.
pub(super) fn in_folders(named: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut specs = Vec::new();
    for path in named {
        if !path.is_dir() {
            specs.push(path.clone());
            continue;
        }
        let below = path.join("specs");
        let path = if below.is_dir() { &below } else { path };
        let found = yaml_files(path);
        if found.is_empty() {
            let problem = format!("the folder `{}` has no `.yaml` or `.yml` file", path.display());
            return Err(Failure::one(Diagnostic::error(problem).hint("name the folder that the specs are right in")));
        }
        specs.extend(found);
    }
    Ok(specs)
}

/// The YAML files right in a folder, in the order of their names; none if it can't be read.
pub(super) fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| is_yaml(path)).collect();
    files.sort();
    files
}

fn is_yaml(path: &Path) -> bool {
    path.is_file() && path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

/// The files that each pattern fits, in the order of their names, and all else as it is.
pub(super) fn fitting(named: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut specs = Vec::new();
    for path in named {
        match is_pattern(path).then(|| files_that_fit(path)).flatten() {
            None => specs.push(path.clone()),
            Some(found) if found.is_empty() => {
                let problem = format!("no file fits the pattern `{}`", path.display());
                return Err(Failure::one(Diagnostic::error(problem).hint("correct it, or name the specs one by one")));
            }
            Some(found) => specs.extend(found),
        }
    }
    Ok(specs)
}

/// Whether something else than a file of that name is meant.
fn is_pattern(path: &Path) -> bool {
    path.to_str().is_some_and(|text| text.contains(['*', '?', '['])) && path.symlink_metadata().is_err()
}

/// `None` where it is no pattern after all. As in a shell, what begins with a dot is only found by a dot.
fn files_that_fit(path: &Path) -> Option<Vec<PathBuf>> {
    let is_plain = |part: &Component<'_>| !part.as_os_str().to_string_lossy().contains(['*', '?', '[']);
    let folder: PathBuf = path.components().take_while(is_plain).collect();
    let parts: Vec<&str> =
        path.components().skip_while(is_plain).map(|part| part.as_os_str().to_str()).collect::<Option<_>>()?;
    let glob = GlobBuilder::new(&parts.join("/")).literal_separator(true).build().ok()?.compile_matcher();
    let is_shown = |name: &str, depth: usize| {
        !name.starts_with('.') || parts.get(depth.saturating_sub(1)).is_some_and(|part| part.starts_with('.'))
    };
    let root = if folder.as_os_str().is_empty() { Path::new(".") } else { &folder };
    let depth = if parts.contains(&"**") { usize::MAX } else { parts.len() };
    let entries = WalkDir::new(root).min_depth(1).max_depth(depth).follow_links(true).sort_by_file_name().into_iter();
    let entries = entries.filter_entry(|entry| is_shown(&entry.file_name().to_string_lossy(), entry.depth()));
    let fitting = entries.flatten().filter(|entry| entry.file_type().is_file()).filter_map(|entry| {
        let below = entry.path().strip_prefix(root).ok()?.to_path_buf();
        glob.is_match(&below).then(|| folder.join(below))
    });
    Some(fitting.collect())
}
