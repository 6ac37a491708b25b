//! `--timeline FILE`: the page of an apply, which must be writable before the apply starts.
//!
//! **Invariant:** it overwrites nothing but earlier timelines.

use std::path::Path;
use std::time::SystemTime;

use crate::diagnostic::Diagnostic;
use crate::files::{self, Readers, Unread};
use crate::render::timeline::{GENERATOR, Ran, document};
use crate::sanitize::{self, Reader, is_ci};
use crate::timeline::Axis;

use super::terminal::Failure;

/// Enough bytes to recognize a timeline.
const HEAD: usize = 400;

/// The file for the page.
pub(super) struct PageFile<'a> {
    path: &'a Path,
    /// When the command started.
    when: SystemTime,
}

impl<'a> PageFile<'a> {
    /// # Errors
    /// The page can't be written there.
    pub(super) fn new(path: &'a Path) -> Result<PageFile<'a>, Failure> {
        let page = PageFile { path, when: SystemTime::now() };
        let why = match files::read(path, HEAD) {
            Ok(head) if String::from_utf8_lossy(&head).contains(&format!("content=\"{GENERATOR}\"")) => None,
            Ok(_) => {
                let taken = format!("`{}` already exists and is not a timeline", path.display());
                return Err(Failure::one(
                    Diagnostic::error(taken, "use another file name").why("it would be overwritten"),
                ));
            }
            Err(Unread::Missing) => None,
            Err(unread) => Some(format!("it {}", unread.reason())),
        };
        let why = why.or_else(|| files::probe(path).err().map(|error| error.to_string()));
        why.map_or(Ok(page), |why| Err(Failure::one(unwritable(path, why).why("nothing was changed"))))
    }

    /// Its path.
    pub(super) fn path(&self) -> &Path {
        self.path
    }

    /// # Errors
    /// The file is no longer writable.
    pub(super) fn write(&self, axis: &Axis, runs: &[Ran<'_>]) -> Result<(), Diagnostic> {
        let text = document(axis, runs, self.when);
        let reader = Reader { runner: is_ci(), ..Reader::default() };
        let text = sanitize::clean(&text, reader);
        files::replace(self.path, text.as_bytes(), Readers::Usual)
            .map_err(|error| unwritable(self.path, error.to_string()))
    }
}

fn unwritable(path: &Path, why: String) -> Diagnostic {
    Diagnostic::error(
        format!("can't write the timeline to `{}`: {why}", path.display()),
        "use a file in a folder that you have permission to write to",
    )
}
