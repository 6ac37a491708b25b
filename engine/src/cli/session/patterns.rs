//! Finds the specs of a command line: those in a folder, and those that match a pattern, which not
//! every shell expands.
//!
//! Files found this way must be within the folder: a cloned repository could have links to
//! anywhere.
//!
//! **Invariant:** it only looks at names and reads no files.

use std::path::{Component, Path, PathBuf};

use globset::GlobBuilder;
use walkdir::WalkDir;

use crate::cli::exit::{CommandError, Exit};
use crate::cli::names::quoted;
use crate::diagnostic::Diagnostic;

/// Replaces each folder by the YAML files directly in it, sorted by name.
pub(in crate::cli) fn in_folders(named: &[PathBuf]) -> Result<Vec<PathBuf>, CommandError> {
    let mut specs = Vec::new();
    for path in named {
        if !path.is_dir() {
            specs.push(path.clone());
            continue;
        }
        let below = path.join("specs");
        let path = if below.is_dir() { &below } else { path };
        let found: Vec<PathBuf> = yaml_files(path).into_iter().filter(|path| may_be_spec(path)).collect();
        if found.is_empty() {
            let problem = format!("the folder `{}` has no `.yaml` or `.yml` file with a spec", path.display());
            return Err(CommandError::one(Diagnostic::error(
                problem,
                "use the folder that directly contains the specs",
            )));
        }
        specs.extend(within(path, found)?);
    }
    Ok(specs)
}

/// Whether a file found in a folder is more than values for specs: without a line `resources:`, but
/// with one of the keys of such a file, or without a key of a spec at all, it is none. A file that
/// can't be read or parsed is reported when it is loaded; so is a link, which may lead elsewhere.
pub(super) fn may_be_spec(path: &Path) -> bool {
    path.is_symlink() || crate::spec::Spec::is_values_only(path) != Some(true)
}

/// The YAML files directly in a folder, sorted by name; none if it can't be read.
pub(super) fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| is_yaml(path)).collect();
    files.sort();
    files
}

/// Checks that none of the files found in a folder is a link out of it.
pub(super) fn within(folder: &Path, found: Vec<PathBuf>) -> Result<Vec<PathBuf>, CommandError> {
    let root = std::fs::canonicalize(Path::new(".").join(folder)).unwrap_or_default();
    // A path that can't be resolved is reported when the file is read.
    let leads_out = |path: &&PathBuf| std::fs::canonicalize(path).is_ok_and(|real| !real.starts_with(&root));
    let refused: Vec<Diagnostic> = found.iter().filter(leads_out).map(|path| link_out(folder, path)).collect();
    match refused.is_empty() {
        true => Ok(found),
        false => Err(CommandError { exit: Exit::Failed, diagnostics: refused }),
    }
}

fn link_out(folder: &Path, path: &Path) -> Diagnostic {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    Diagnostic::error(
        format!("`{}` is a link to a file outside `{}`", path.display(), folder.display()),
        format!("if you trust it, name the file on the command line: `{}`", quoted(path)),
    )
    .why("engine follows such a link only if you name the file yourself: it could point to any file on this machine")
    .hint("otherwise remove the link")
}

fn is_yaml(path: &Path) -> bool {
    path.is_file() && path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

/// Replaces each pattern by the files that match it, sorted by name.
pub(super) fn expand(named: &[PathBuf]) -> Result<Vec<PathBuf>, CommandError> {
    let mut specs = Vec::new();
    for path in named {
        match is_pattern(path).then(|| matching_files(path)).flatten() {
            None => specs.push(path.clone()),
            Some(found) if found.is_empty() => {
                let problem = format!("no file matches the pattern `{}`", path.display());
                return Err(CommandError::one(Diagnostic::error(problem, "correct it, or list the specs")));
            }
            Some(found) => specs.extend(within(&named_part(path), found)?),
        }
    }
    Ok(specs)
}

/// Whether a path is a pattern and not the name of a file.
fn is_pattern(path: &Path) -> bool {
    path.to_str().is_some_and(|text| text.contains(['*', '?', '['])) && path.symlink_metadata().is_err()
}

/// The folder before the first pattern component.
fn named_part(pattern: &Path) -> PathBuf {
    pattern.components().take_while(is_plain).collect()
}

fn is_plain(part: &Component<'_>) -> bool {
    !part.as_os_str().to_string_lossy().contains(['*', '?', '['])
}

/// `None` if it is no valid pattern. As in a shell, only a pattern that begins with a dot matches a
/// name that does.
fn matching_files(path: &Path) -> Option<Vec<PathBuf>> {
    let folder = named_part(path);
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
    let matching = entries.flatten().filter(|entry| entry.file_type().is_file()).filter_map(|entry| {
        let below = entry.path().strip_prefix(root).ok()?.to_path_buf();
        glob.is_match(&below).then(|| folder.join(below))
    });
    Some(matching.collect())
}
