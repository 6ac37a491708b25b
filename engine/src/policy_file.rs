//! Writes IAM policies to a folder, a file each.
//!
//! **Invariant:** it overwrites nothing but other policies.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use crate::diagnostic::Diagnostic;
use crate::files::{self, Readers, Unread};

/// More than a policy can have.
const MAX_BYTES: usize = 100_000;

/// Policies with what they are for: `blue-owls` becomes `blue-owls.json`, or `blue-owls-1.json`,
/// `blue-owls-2.json`, … if there are several.
#[derive(Debug)]
pub struct PolicyFile {
    /// The beginning of the files' names.
    pub stem: String,
    /// Their texts.
    pub texts: Vec<String>,
}

/// What a folder has after the policies were written.
#[derive(Debug)]
pub struct Written {
    /// The new files, in order.
    pub files: Vec<PathBuf>,
    /// Files of an earlier, larger set.
    pub outdated: Vec<PathBuf>,
}

/// Writes the policies; the folder is created if it doesn't exist.
///
/// # Errors
/// Another file has the name of one of them, or the folder can't be written. Nothing was written
/// then, unless the disk failed in between.
pub fn write(folder: &Path, all: &[PolicyFile]) -> Result<Written, Diagnostic> {
    std::fs::create_dir_all(folder).map_err(|error| unwritable(folder, &error))?;
    let mut named = Vec::new();
    for PolicyFile { stem, texts } in all {
        let name = |number: usize| if texts.len() == 1 { format!("{stem}.json") } else { part(stem, number) };
        named.extend(texts.iter().enumerate().map(|(at, text)| (folder.join(name(at + 1)), text)));
    }
    for (file, _) in &named {
        check(file)?;
        files::probe(file).map_err(|error| unwritable(file, &error))?;
    }
    for (file, text) in &named {
        files::replace(file, text.as_bytes(), Readers::Usual).map_err(|error| unwritable(file, &error))?;
    }
    let files: Vec<PathBuf> = named.into_iter().map(|(file, _)| file).collect();
    let outdated = all.iter().flat_map(|it| outdated(folder, &it.stem, &files)).collect();
    Ok(Written { files, outdated })
}

fn part(stem: &str, number: usize) -> String {
    format!("{stem}-{number}.json")
}

/// Policies of the same set that weren't written now.
fn outdated(folder: &Path, stem: &str, written: &[PathBuf]) -> Vec<PathBuf> {
    let written: BTreeSet<&PathBuf> = written.iter().collect();
    let numbered = (1..).map(|number| folder.join(part(stem, number)));
    // An earlier run numbered its files without a gap.
    let numbered = numbered.take_while(|file| has_policy(file) || written.contains(file));
    let all = std::iter::once(folder.join(format!("{stem}.json"))).chain(numbered);
    all.filter(|file| !written.contains(file) && has_policy(file)).collect()
}

fn has_policy(file: &Path) -> bool {
    files::read(file, MAX_BYTES).is_ok_and(|text| is_policy(&text))
}

fn is_policy(text: &[u8]) -> bool {
    let document: Json = serde_json::from_slice(text).unwrap_or_default();
    document.get("Version").is_some() && document.get("Statement").is_some()
}

/// Checks that a file can be written or overwritten.
fn check(file: &Path) -> Result<(), Diagnostic> {
    match files::read(file, MAX_BYTES) {
        Err(Unread::Missing) => Ok(()),
        Ok(text) if is_policy(&text) => Ok(()),
        Err(Unread::Refused(error)) => Err(unwritable(file, &error)),
        Ok(_) | Err(Unread::Folder | Unread::Special) => {
            let problem = format!("`{}` already exists and isn't an IAM policy", file.display());
            Err(Diagnostic::error(problem, "use another folder for `--output`"))
        }
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Diagnostic {
    let problem = format!("failed to write the policies to `{}`", path.display());
    let hint = files::remedy(error, "use a writable folder for `--output`");
    Diagnostic::error(problem, hint).why(error.to_string())
}
