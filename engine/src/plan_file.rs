//! Writes saved plans.
//!
//! **Invariant:** it overwrites nothing but another saved plan.

use std::io;
use std::path::Path;

use crate::diagnostic::Diagnostic;
use crate::files::{self, Readers, Unread};
use crate::saved::{MAX_BYTES, SavedPlan};

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
        Err(Unread::Folder) => return Err(unwritable(path, &"it is a folder")),
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
    let text = plan.to_text().map_err(|error| unwritable(path, &error))?;
    files::replace(path, text.as_bytes(), Readers::Owner).map_err(|error| unwritable(path, &error))
}

fn unwritable(path: &Path, error: &dyn std::fmt::Display) -> Diagnostic {
    Diagnostic::error(format!("failed to save the plan to `{}`", path.display()), "use a file in a writable folder")
        .why(error.to_string())
}
