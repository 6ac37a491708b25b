//! What earlier runs of a build read and wrote, in engine's own folder of the project, beside its
//! output, so that both can be carried to another machine.
//!
//! **Invariant:** a record that can't be read is an empty one. It decides only whether a build
//! runs, never what is deployed.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files::{self, Readers, own};

/// How many runs are kept, so that changing between branches doesn't build again without need.
const MAX_RUNS: usize = 20;
/// The largest record that is read, in bytes.
const MAX_BYTES: u64 = 1 << 22;

/// What is known of earlier runs.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct BuildRecord {
    /// The digests of inputs, each with the digest of its output, oldest first.
    runs: Vec<(String, String)>,
    /// The files that the last run read, relative to the build's folder.
    pub(super) read: BTreeSet<String>,
}

impl BuildRecord {
    /// The record of the build with this folder.
    pub(super) fn read(folder: &Path) -> BuildRecord {
        let bytes = own::read(&file(folder), MAX_BYTES).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// The output that these inputs had.
    pub(super) fn output_of(&self, inputs: &str) -> Option<&str> {
        self.runs.iter().rev().find(|(of, _)| of == inputs).map(|(_, output)| output.as_str())
    }

    /// Adds a run.
    pub(super) fn add(&mut self, inputs: String, output: String) {
        self.runs.retain(|(of, _)| *of != inputs);
        self.runs.push((inputs, output));
        let n_old = self.runs.len().saturating_sub(MAX_RUNS);
        self.runs.drain(..n_old);
    }

    /// Writes it.
    ///
    /// # Errors
    /// engine's own folder can't be written.
    pub(super) fn write(&self, project: &Path, folder: &Path) -> io::Result<()> {
        own::folder(&own::project_folder(project)?.join("builds"))?;
        let text = serde_json::to_string(self)? + "\n";
        files::replace(&file(folder), text.as_bytes(), Readers::Usual)
    }
}

fn file(folder: &Path) -> PathBuf {
    folder.with_extension("json")
}
