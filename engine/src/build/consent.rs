//! What the user has allowed to run: a file for each build in the user's configuration folder.
//!
//! **Invariant:** a project can't allow anything. What is allowed is one command in one folder:
//! after either changes, the user is asked again.

use std::io;
use std::path::{Path, PathBuf};

use engine_core::build::{Build, Command};

use crate::files::{self, Readers};

use super::{digest, real};

/// The builds that the user has allowed.
#[derive(Debug)]
pub struct Consent {
    /// `None` if the user has no home folder.
    folder: Option<PathBuf>,
}

impl Consent {
    /// Those of this user.
    pub fn of_user() -> Consent {
        let strategy = etcetera::choose_base_strategy().ok();
        let folder = strategy.map(|it| etcetera::BaseStrategy::config_dir(&it).join("engine").join("builds"));
        Consent { folder }
    }

    /// Whether the user has allowed a build.
    pub fn covers(&self, build: &Build) -> bool {
        self.file(build).is_some_and(|file| file.is_file())
    }

    /// Records that the user allows a build.
    ///
    /// # Errors
    /// The configuration folder can't be written.
    pub fn add(&self, build: &Build) -> io::Result<()> {
        let file = self.file(build).ok_or(io::ErrorKind::NotFound)?;
        std::fs::create_dir_all(file.parent().unwrap_or(&file))?;
        // Only the name counts; the content is for people.
        let text = format!("{}\n{}\n", real(&build.directory).display(), build.command.title());
        files::replace(&file, text.as_bytes(), Readers::Owner)
    }

    fn file(&self, build: &Build) -> Option<PathBuf> {
        let words: Vec<&str> = match &build.command {
            Command::Shell(line) => vec!["shell", line],
            Command::Program(words) => std::iter::once("program").chain(words.iter().map(String::as_str)).collect(),
            // engine chooses the arguments.
            Command::Tool { title, .. } => vec!["tool", title],
        };
        Some(self.folder.as_deref()?.join(digest(&words, &real(&build.directory))))
    }

    /// Where it is.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }
}
