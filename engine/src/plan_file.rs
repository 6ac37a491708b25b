//! Writes saved plans, each with the packages that were built for it in a folder beside it.
//!
//! **Invariant:** it overwrites nothing but another saved plan and its packages.

use std::io;
use std::path::{Path, PathBuf};

use crate::diagnostic::Diagnostic;
use crate::files::{self, Readers, Unread};
use crate::saved::{MAX_BYTES, SavedPlan};
use crate::spec::Spec;

/// The largest package that is read, in bytes; Lambda takes less.
const MAX_PACKAGE: usize = 64 << 20;

/// Checks that a saved plan can be written to `path`, without leaving a file there.
///
/// # Errors
/// Another file exists there, or the file can't be written.
pub fn has_room_at(path: &Path) -> Result<(), Diagnostic> {
    let refused = |error: io::Error| Err(unwritable(path, &error));
    match files::read(path, MAX_BYTES) {
        Ok(bytes) if !matches!(SavedPlan::parse(&bytes), Ok(None)) => {}
        Err(Unread::Missing) => {}
        Err(Unread::Refused(error)) => return refused(error),
        Err(Unread::Folder) => return Err(unwritable(path, &io::Error::other("it is a folder"))),
        Ok(_) | Err(Unread::Special) => {
            let problem = format!("`{}` already exists and isn't a saved plan", path.display());
            let taken = Diagnostic::error(problem, "use another file for `--out`");
            return Err(taken.why("saving the plan would overwrite it"));
        }
    }
    files::probe(path).or_else(refused)
}

/// Writes a plan to `path` atomically, readable only by the owner.
///
/// # Errors
/// Another file exists there, or the file can't be written.
pub fn write(plan: &SavedPlan, path: &Path) -> Result<(), Diagnostic> {
    has_room_at(path)?;
    let text = plan.to_text().map_err(|error| unwritable(path, &error.into()))?;
    files::replace(path, text.as_bytes(), Readers::Owner).map_err(|error| unwritable(path, &error))
}

/// Writes the packages that were built for a plan, so that applying it builds nothing.
///
/// # Errors
/// They can't be written.
pub fn write_packages(spec: &Spec, path: &Path) -> Result<(), Diagnostic> {
    let folder = packages(path);
    let built = spec.resources.iter().filter(|it| it.build.is_some());
    for (name, zip) in built.filter_map(|it| Some((&it.name, it.artifact.as_ref()?))) {
        files::own::folder(&folder).map_err(|error| unwritable(&folder, &error))?;
        let file = folder.join(format!("{name}.zip"));
        let zip = zip.bytes().map_err(|error| unwritable(&file, &io::Error::other(error)))?;
        files::replace(&file, &zip, Readers::Owner).map_err(|error| unwritable(&file, &error))?;
    }
    Ok(())
}

/// Reads a package that was built for a plan.
///
/// # Errors
/// It doesn't exist or can't be read.
pub fn read_package(path: &Path, resource: &str) -> Result<Vec<u8>, Diagnostic> {
    let file = packages(path).join(format!("{resource}.zip"));
    files::read(&file, MAX_PACKAGE).map_err(|unread| {
        let problem =
            format!("the package that was planned for `{resource}`, `{}`, {}", file.display(), unread.reason());
        let hint = "keep the folder beside the saved plan, or save the plan again with `engine diff --out`";
        Diagnostic::error(problem, hint).why("a saved plan is applied as it was saved, so nothing is built again")
    })
}

/// The folder with the packages of a saved plan.
fn packages(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(files::OWN_FOLDER);
    name.into()
}

fn unwritable(path: &Path, error: &io::Error) -> Diagnostic {
    let hint = files::remedy(error, "use a file in a writable folder");
    Diagnostic::error(format!("failed to save the plan to `{}`", path.display()), hint).why(error.to_string())
}
