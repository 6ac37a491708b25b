//! `--timeline FILE`: the page of an apply, which must be writable before the apply starts.
//!
//! **Invariant:** it overwrites nothing but earlier timelines.

use std::io;
use std::path::Path;
use std::time::SystemTime;

use crate::apply::{Execution, Outcome};
use crate::aws::recorder::Records;
use crate::cli::exit::CommandError;
use crate::diagnostic::Diagnostic;
use crate::files::{self, Readers, Unread};
use crate::render::timeline::{GENERATOR, TimelineRun, document};
use crate::sanitize::{self, Reader, is_ci};
use crate::timeline::{Axis, Timeline};

use super::PlannedRun;

/// Enough bytes to recognize a timeline.
const HEAD: usize = 400;

/// The file for the page.
pub(in crate::cli) struct TimelineFile<'a> {
    path: &'a Path,
    /// When the command started.
    when: SystemTime,
}

impl<'a> TimelineFile<'a> {
    /// # Errors
    /// The page can't be written there.
    pub(super) fn new(path: &'a Path) -> Result<TimelineFile<'a>, CommandError> {
        let file = TimelineFile { path, when: SystemTime::now() };
        let why = match files::read(path, HEAD) {
            Ok(head) if String::from_utf8_lossy(&head).contains(&format!("content=\"{GENERATOR}\"")) => None,
            Ok(_) => {
                let taken = format!("`{}` already exists and is not a timeline", path.display());
                return Err(CommandError::one(
                    Diagnostic::error(taken, "use another file name").why("it would be overwritten"),
                ));
            }
            Err(Unread::Missing) => None,
            Err(unread) => Some(io::Error::other(format!("it {}", unread.reason()))),
        };
        let why = why.or_else(|| files::probe(path).err());
        why.map_or(Ok(file), |why| Err(CommandError::one(unwritable(path, &why).why("nothing was changed"))))
    }

    /// Its path.
    pub(super) fn path(&self) -> &Path {
        self.path
    }

    /// # Errors
    /// The file is no longer writable.
    fn write(&self, axis: &Axis, runs: &[TimelineRun<'_>]) -> Result<(), Diagnostic> {
        let text = document(axis, runs, self.when);
        let reader = Reader { runner: is_ci(), ..Reader::default() };
        let text = sanitize::clean(&text, reader);
        files::replace(self.path, text.as_bytes(), Readers::Usual).map_err(|error| unwritable(self.path, &error))
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Diagnostic {
    let hint = files::remedy(error, "use a file in a writable folder");
    Diagnostic::error(format!("can't write the timeline to `{}`: {error}", path.display()), hint)
}

/// Writes the timeline, also when dropped: a second Ctrl-C ends the command anywhere.
pub(super) struct TimelineGuard<'d> {
    file: &'d TimelineFile<'d>,
    planned: &'d [PlannedRun<'d>],
    executions: &'d [Execution<'d>],
    is_written: bool,
}

impl<'d> TimelineGuard<'d> {
    pub(super) fn new(
        file: &'d TimelineFile<'d>,
        planned: &'d [PlannedRun<'d>],
        executions: &'d [Execution<'d>],
    ) -> TimelineGuard<'d> {
        TimelineGuard { file, planned, executions, is_written: false }
    }

    /// # Errors
    /// The file is no longer writable.
    pub(super) fn write(mut self, outcomes: &[Outcome]) -> Result<(), Diagnostic> {
        self.is_written = true;
        write(self.file, self.planned, outcomes)
    }
}

impl Drop for TimelineGuard<'_> {
    fn drop(&mut self) {
        if self.is_written {
            return;
        }
        let outcomes: Vec<Outcome> = self.executions.iter().map(Execution::outcome).collect();
        if let (Err(error), Some(first)) = (write(self.file, self.planned, &outcomes), self.planned.first()) {
            first.run.session.terminal.problems(&[error]);
        }
    }
}

fn write(file: &TimelineFile<'_>, planned: &[PlannedRun<'_>], outcomes: &[Outcome]) -> Result<(), Diagnostic> {
    let records: Vec<Records> = planned.iter().map(|it| it.run.cx.aws.recorder.records()).collect();
    let Some(axis) = Axis::of(outcomes.iter().map(|outcome| &outcome.times).zip(&records)) else { return Ok(()) };
    let runs =
        planned.iter().zip(outcomes).zip(&records).map(|((PlannedRun { run, plan }, outcome), records)| TimelineRun {
            spec: &run.session.spec,
            env: &run.inventory.env,
            plan,
            endings: &outcome.endings,
            timeline: Timeline::new(&axis, plan, outcome, records),
            secrets: &run.cx.aws.secrets,
        });
    file.write(&axis, &runs.collect::<Vec<TimelineRun<'_>>>())
}
