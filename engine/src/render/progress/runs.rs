//! The live view of several runs: a line for each run instead of each step.
//!
//! **Invariant:** it only counts steps; their rows say what they do.

use std::time::Duration;

use tokio::time::Instant;

use crate::apply::StepOutcome;
use crate::aws::BECAUSE;
use crate::plan::StepId;

use super::region::{Parts, RUNNING, RegionRow};
use super::{DIM, GREEN, PLAIN, Progress, RED, RowState, StepRow, clock, duration};

/// A run with steps.
pub(super) struct RunRow {
    /// What precedes the names of its resources.
    pub(super) prefix: String,
    /// When its first step started.
    pub(super) since: Option<Instant>,
}

impl RunRow {
    fn label(&self) -> &str {
        self.prefix.trim_end_matches('/')
    }

    fn elapsed(&self) -> Duration {
        self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

impl Progress {
    /// Whether there is a line for each run.
    pub(super) fn is_by_run(&self) -> bool {
        self.runs.len() > 1
    }

    /// The runs that aren't complete.
    pub(super) fn drawn_runs(&self) -> Vec<RegionRow> {
        self.runs.iter().filter_map(|(run, row)| self.drawn_run(*run, row)).collect()
    }

    /// Reports a run whose last step has ended.
    pub(super) fn finished_in_run(&mut self, run: usize, id: StepId, ending: &StepOutcome) {
        self.rows.entry((run, id)).and_modify(|row| row.end(ending));
        let complete = self.runs.get(&run).filter(|_| self.count(run, |state| !state.is_done()) == 0).map(|row| {
            let (n, ok) = (self.count(run, |_| true), self.output_style.paint(GREEN, "ok"));
            format!("{}: {n} of {n} steps after {} {ok}", row.label(), duration(row.elapsed()))
        });
        match complete {
            Some(text) => self.line(&text),
            None => self.draw(&[]),
        }
    }

    fn steps_of(&self, run: usize) -> impl Iterator<Item = &StepRow> {
        self.rows.range((run, StepId(0))..(run + 1, StepId(0))).map(|(_, row)| row)
    }

    fn count(&self, run: usize, is_counted: impl Fn(&RowState) -> bool) -> usize {
        self.steps_of(run).filter(|row| is_counted(&row.state)).count()
    }

    fn drawn_run(&self, run: usize, row: &RunRow) -> Option<RegionRow> {
        let n_failed = self.count(run, |state| matches!(state, RowState::Failed { .. }));
        let n_open = self.count(run, |state| matches!(state, RowState::Queued | RowState::Running { .. }));
        if n_open + n_failed == 0 {
            return None;
        }
        let counts =
            format!("{}: {} of {}", row.label(), self.count(run, RowState::is_done), self.count(run, |_| true));
        let with = |text: &str| -> Parts {
            let mut parts = vec![(PLAIN, counts.clone())];
            if n_failed > 0 {
                parts.extend([(PLAIN, ", ".to_owned()), (RED, format!("{n_failed} failed"))]);
            }
            parts.push((PLAIN, text.to_owned()));
            parts
        };
        let time = clock(row.elapsed());
        let running = self.steps_of(run).filter(|it| matches!(it.state, RowState::Running { .. })).collect::<Vec<_>>();
        let Some(StepRow { label, doing, state: RowState::Running { what, .. }, .. }) = running.first() else {
            return Some(match (n_failed, row.since) {
                (0, None) => RegionRow {
                    rank: 2,
                    time: String::new(),
                    variants: vec![vec![(DIM, format!("{counts}, waits for its turn"))]],
                },
                (0, Some(_)) => RegionRow { rank: 2, time, variants: vec![with("")] },
                _ => RegionRow { rank: 0, time: String::new(), variants: vec![with("")] },
            });
        };
        let more = match running.len() {
            0 | 1 => String::new(),
            n => format!(" (and {} more)", n - 1),
        };
        let resource = label.strip_prefix(&row.prefix).unwrap_or(label);
        let plain = with(&format!(", {resource}: {doing}{more}"));
        let what = what.as_deref().map(|what| (what, what.split_once(BECAUSE).map_or(what, |(short, _)| short)));
        let [long, short, alone] = match what {
            None => [plain.clone(), plain.clone(), plain.clone()],
            Some((what, short)) => [
                with(&format!(", {resource}: {doing}, waiting for {what}{more}")),
                with(&format!(", {resource}: {doing}, waiting for {short}{more}")),
                with(&format!(", {resource}: waits for {short}")),
            ],
        };
        Some(RegionRow { rank: RUNNING, time, variants: vec![long, short, alone, plain, with("")] })
    }
}
