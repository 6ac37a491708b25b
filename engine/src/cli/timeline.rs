//! `--timeline FILE`: the page of an apply, which must be writable before anything is made.
//!
//! **Invariant:** it never writes over anything but a page of its own.

use std::path::Path;
use std::time::SystemTime;

use crate::diagnostic::Diagnostic;
use crate::files::{self, Readers, Unread};
use crate::render::timeline::{GENERATOR, Ran, document};
use crate::sanitize::{self, Reader, is_ci};
use crate::timeline::Axis;

use super::terminal::Failure;

/// Enough of a page to know it by.
const HEAD: usize = 400;

/// The file for the page.
pub(super) struct PageFile<'a> {
    path: &'a Path,
    /// When the command began.
    when: SystemTime,
}

impl<'a> PageFile<'a> {
    /// # Errors
    /// The page could not be written there.
    pub(super) fn new(path: &'a Path) -> Result<PageFile<'a>, Failure> {
        let page = PageFile { path, when: SystemTime::now() };
        let why = match files::read(path, HEAD) {
            Ok(head) if String::from_utf8_lossy(&head).contains(&format!("content=\"{GENERATOR}\"")) => None,
            Ok(_) => {
                let taken = format!("`{}` is there already, and it is no timeline", path.display());
                return Err(Failure::one(
                    Diagnostic::error(taken).why("it would be overwritten").hint("name another file"),
                ));
            }
            Err(Unread::Missing) => None,
            Err(unread) => Some(format!("it {}", unread.reason())),
        };
        let why = why.or_else(|| files::probe(path).err().map(|error| error.to_string()));
        why.map_or(Ok(page), |why| Err(Failure::one(unwritable(path, why).why("nothing was changed"))))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        self.path
    }

    /// # Errors
    /// What it was fit for at first it is no longer.
    pub(super) fn write(&self, axis: &Axis, runs: &[Ran<'_>]) -> Result<(), Diagnostic> {
        let text = document(axis, runs, self.when);
        let reader = Reader { runner: is_ci(), ..Reader::default() };
        let text = sanitize::clean(&text, reader);
        files::replace(self.path, text.as_bytes(), Readers::Usual)
            .map_err(|error| unwritable(self.path, error.to_string()))
    }
}

fn unwritable(path: &Path, why: String) -> Diagnostic {
    Diagnostic::error(format!("the timeline can't be written to `{}`: {why}", path.display()))
        .hint("name a file in a folder that you may write to")
}
