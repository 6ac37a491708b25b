//! Progress on stderr: on a terminal, one redrawn line per unfinished step, or per run if there are
//! several, in a fixed order; plain lines everywhere else.
//!
//! **Invariant:** it receives events and draws; nothing waits for it.

mod region;
mod runs;

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use tokio::time::Instant;

use crate::apply::{Event, StepOutcome};
use crate::aws::BECAUSE;
use crate::plan::{Action, Plan, StepId};

use super::outcome::verb_of;
use super::{DIM, GREEN, OutputStyle, PLAIN, RED, YELLOW};
use region::{RUNNING, Region, RegionRow};
use runs::RunRow;

/// After this time a wait gets a plain line, and then again every [`REMINDER`].
const PATIENCE: Duration = Duration::from_secs(3);
const REMINDER: Duration = Duration::from_secs(20);

/// How often to call [`Progress::tick`], so that seconds count and a resized window is redrawn
/// soon.
pub const TICK: Duration = Duration::from_millis(250);

/// Draws the progress of runs.
pub struct Progress {
    output_style: OutputStyle,
    style: DrawMode,
    out: Box<dyn Write>,
    interrupted: bool,
    /// The steps, by run and step.
    rows: BTreeMap<(usize, StepId), StepRow>,
    /// The runs with steps.
    runs: BTreeMap<usize, RunRow>,
}

enum DrawMode {
    Live(Region),
    Plain,
    Silent,
}

/// A step.
struct StepRow {
    label: String,
    /// Its label while it is queued.
    task: String,
    doing: &'static str,
    done: &'static str,
    /// The steps that it waits for before it starts.
    needs: Vec<StepId>,
    state: RowState,
}

enum RowState {
    Queued,
    Running { notice: WaitNotice, what: Option<String> },
    Failed { after: Duration, why: String },
    Over { is_done: bool },
}

impl RowState {
    fn is_done(&self) -> bool {
        matches!(self, RowState::Over { is_done: true })
    }
}

impl StepRow {
    /// Ends the step; the line of a failed one stays.
    fn end(&mut self, ending: &StepOutcome) {
        self.state = match (ending, &self.state) {
            (StepOutcome::Failed(error), state) if !error.is_interrupted() => {
                let after = match state {
                    RowState::Running { notice, .. } => notice.since.elapsed(),
                    _ => Duration::ZERO,
                };
                RowState::Failed { after, why: error.message.to_string() }
            }
            _ => RowState::Over { is_done: matches!(ending, StepOutcome::Done(_)) },
        };
    }
}

/// Decides which waits of a step get a plain line.
struct WaitNotice {
    since: Instant,
    reported: Option<(Instant, String)>,
}

impl WaitNotice {
    fn new(since: Instant) -> WaitNotice {
        WaitNotice { since, reported: None }
    }

    /// Whether to print `what` now: the wait lasts, and is new or was printed a while ago.
    fn is_due(&mut self, now: Instant, what: &str) -> bool {
        let is_new = self.reported.as_ref().is_none_or(|(when, reported)| reported != what || now - *when >= REMINDER);
        let is_due = is_new && now - self.since >= PATIENCE;
        if is_due {
            self.reported = Some((now, what.to_owned()));
        }
        is_due
    }
}

impl Progress {
    /// `live`: stderr is a terminal that can redraw lines. `quiet`: print nothing.
    pub fn new(output_style: OutputStyle, live: bool, quiet: bool) -> Progress {
        let size = || {
            let (width, height) = terminal_size::terminal_size_of(std::io::stderr())?;
            Some((usize::from(width.0), usize::from(height.0)))
        };
        Progress::on(Box::new(std::io::stderr()), Box::new(size), output_style, live, quiet)
    }

    /// The same on `out`; `size` returns its columns and lines, if known.
    pub fn on(
        out: Box<dyn Write>,
        size: Box<dyn Fn() -> Option<(usize, usize)>>,
        output_style: OutputStyle,
        live: bool,
        quiet: bool,
    ) -> Progress {
        let style = match (quiet, live) {
            (true, _) => DrawMode::Silent,
            (_, true) => DrawMode::Live(Region::new(size)),
            (_, false) => DrawMode::Plain,
        };
        Progress { output_style, style, out, rows: BTreeMap::new(), runs: BTreeMap::new(), interrupted: false }
    }

    /// Adds the steps of a run; its resources are shown with `prefix`.
    pub fn begin(&mut self, run: usize, prefix: &str, plan: &Plan) {
        if !plan.steps.is_empty() {
            self.runs.insert(run, RunRow { prefix: prefix.to_owned(), since: None });
        }
        for (at, step) in plan.steps.iter().enumerate() {
            let Some(change) = plan.changes.get(step.change) else { continue };
            let (_, doing, done) = verb_of(step.op);
            let label = format!("{prefix}{}", change.resource);
            // A replaced resource has two steps.
            let task = match change.action {
                Action::Replace => format!("{} {label}", verb_of(step.op).0),
                _ => label.clone(),
            };
            let needs = step.after.iter().map(|(before, _)| *before).collect();
            self.rows.insert((run, StepId(at)), StepRow { label, task, doing, done, needs, state: RowState::Queued });
        }
    }

    /// Handles an event of a run.
    pub fn event(&mut self, run: usize, event: &Event) {
        match event {
            Event::Started(id) => {
                if let Some(row) = self.runs.get_mut(&run) {
                    row.since.get_or_insert_with(Instant::now);
                }
                let Some(row) = self.rows.get_mut(&(run, *id)) else { return };
                row.state = RowState::Running { notice: WaitNotice::new(Instant::now()), what: None };
                let text = format!("{}: {}...", row.label, row.doing);
                match self.style {
                    DrawMode::Live(_) => self.draw(&[]),
                    DrawMode::Plain | DrawMode::Silent => self.line(&text),
                }
            }
            Event::Waiting(id, reason) => {
                if let Some(StepRow { state: RowState::Running { what, .. }, .. }) = self.rows.get_mut(&(run, *id)) {
                    *what = Some(reason.clone());
                }
                self.tick();
            }
            Event::Finished(id, ending) => self.finished(run, *id, ending),
            Event::Interrupted if self.interrupted => {}
            Event::Interrupted => {
                self.interrupted = true;
                self.line(
                    "interrupted: finishing calls in flight, starting no new steps (Ctrl-C again stops immediately)",
                );
            }
        }
    }

    fn finished(&mut self, run: usize, id: StepId, ending: &StepOutcome) {
        let (output_style, is_live) = (self.output_style, matches!(self.style, DrawMode::Live(_)));
        if is_live && self.is_by_run() {
            return self.finished_in_run(run, id, ending);
        }
        let Some(row) = self.rows.get_mut(&(run, id)) else { return };
        row.end(ending);
        let StepRow { label, doing, done, .. } = &row;
        let text = match ending {
            StepOutcome::Done(elapsed) => {
                format!("{label}: {done} after {} {}", duration(*elapsed), output_style.paint(GREEN, "ok"))
            }
            // The outcome reports the details.
            StepOutcome::Failed(error) if error.is_interrupted() => {
                format!("{label}: {}", output_style.paint(YELLOW, "stopped"))
            }
            // On a terminal its line stays in place until the run ends.
            StepOutcome::Failed(_) if is_live => return self.draw(&[]),
            // The outcome reports the cause and the remedy.
            StepOutcome::Failed(_) => failed(label, doing, output_style),
            StepOutcome::Skipped(cause) => {
                format!("{label}: {}, it depends on {cause}", output_style.paint(YELLOW, "skipped"))
            }
            StepOutcome::NotStarted => return,
        };
        self.line(&text);
    }

    /// Updates the times, and reports long waits as plain lines.
    pub fn tick(&mut self) {
        let now = Instant::now();
        match self.style {
            DrawMode::Live(_) => self.draw(&[]),
            DrawMode::Plain => {
                // A step without a message soon waits for an answer, which is one.
                let due = self.rows.values_mut().filter_map(|row| {
                    let StepRow { label, doing, state: RowState::Running { notice, what: Some(what) }, .. } = row
                    else {
                        return None;
                    };
                    let seconds = (now - notice.since).as_secs();
                    let due = notice.is_due(now, what);
                    due.then(|| format!("{label}: still {doing}, waiting for {what} ({seconds} s)"))
                });
                let due: Vec<String> = due.collect();
                due.iter().for_each(|text| self.line(text));
            }
            DrawMode::Silent => {}
        }
    }

    /// Prints a line that stays.
    pub fn line(&mut self, text: &str) {
        match &self.style {
            DrawMode::Live(_) => self.draw(&[text]),
            // A terminal that went away is no reason to stop working.
            DrawMode::Plain => drop(self.out.write_all(self.output_style.clean(&format!("{text}\n")).as_bytes())),
            DrawMode::Silent => {}
        }
    }

    /// Draws the unfinished steps, below lines that stay.
    fn draw(&mut self, above: &[&str]) {
        let rows: Vec<RegionRow> = match self.is_by_run() {
            true => self.drawn_runs(),
            false => self.rows.iter().filter_map(|((run, _), row)| self.drawn(*run, row)).collect(),
        };
        if let DrawMode::Live(region) = &mut self.style {
            region.draw(&mut self.out, above, &rows, self.output_style);
        }
    }

    fn drawn(&self, run: usize, row: &StepRow) -> Option<RegionRow> {
        let StepRow { label, task, doing, needs, state, .. } = row;
        Some(match state {
            RowState::Over { .. } => return None,
            RowState::Failed { after, why } => {
                let failed = |doing: &str| {
                    vec![(PLAIN, format!("{label}: {doing}")), (RED, "failed".to_owned()), (PLAIN, format!(": {why}"))]
                };
                RegionRow { rank: 0, time: clock(*after), variants: vec![failed(&format!("{doing} ")), failed("")] }
            }
            RowState::Running { notice, what: None } => RegionRow {
                rank: RUNNING,
                time: clock(notice.since.elapsed()),
                variants: vec![vec![(PLAIN, format!("{label}: {doing}"))]],
            },
            RowState::Running { notice, what: Some(what) } => {
                // Without enough room, the reason is left out.
                let short = what.split_once(BECAUSE).map_or(what.as_str(), |(what, _)| what);
                let variants = [
                    format!("{label}: {doing}, waiting for {what}"),
                    format!("{label}: {doing}, waiting for {short}"),
                    format!("{label}: waits for {short}"),
                ];
                let variants = variants.map(|text| vec![(PLAIN, text)]).to_vec();
                RegionRow { rank: RUNNING, time: clock(notice.since.elapsed()), variants }
            }
            RowState::Queued => {
                let open = needs.iter().filter_map(|id| self.rows.get(&(run, *id)));
                let mut open: Vec<&str> =
                    open.filter(|it| !matches!(it.state, RowState::Over { .. })).map(|it| it.task.as_str()).collect();
                open.dedup();
                let waits = if open.is_empty() { "its turn".to_owned() } else { open.join(", ") };
                let mut variants = vec![vec![(DIM, format!("{task}: waits for {waits}"))]];
                if open.len() > 1 {
                    variants.push(vec![(DIM, format!("{task}: waits for {} others", open.len()))]);
                }
                RegionRow { rank: 2, time: String::new(), variants }
            }
        })
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        let DrawMode::Live(region) = &mut self.style else { return };
        // Failures were redrawn in place; now they become permanent lines.
        let failed = self.rows.values().filter(|row| matches!(row.state, RowState::Failed { .. }));
        let failed: Vec<String> = failed.map(|row| failed_line(row, self.output_style)).collect();
        let failed: Vec<&str> = failed.iter().map(String::as_str).collect();
        region.draw(&mut self.out, &failed, &[], self.output_style);
    }
}

fn failed_line(row: &StepRow, output_style: OutputStyle) -> String {
    failed(&row.label, row.doing, output_style)
}

fn failed(label: &str, doing: &str, output_style: OutputStyle) -> String {
    format!("{label}: {doing} {}", output_style.paint(RED, "failed"))
}

/// `0.3s`, `12s`, `2m05s`.
fn duration(elapsed: Duration) -> String {
    match elapsed.as_secs() {
        0..10 => format!("{:.1}s", elapsed.as_secs_f64()),
        _ => clock(elapsed),
    }
}

/// `3s`, `2m05s`: elapsed time.
fn clock(elapsed: Duration) -> String {
    match elapsed.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds => format!("{}m{:02}s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_wait_is_reported_on_changes_and_every_twenty_seconds() {
        let start = Instant::now();
        let mut notice = WaitNotice::new(start);
        // A step reports its wait four times a second, and another one after 50 s.
        let quarters = (0..400).filter(|quarter| {
            let what = if *quarter < 200 { "the table" } else { "its tags" };
            notice.is_due(start + Duration::from_millis(250) * *quarter, what)
        });
        assert_eq!(quarters.map(|quarter| quarter / 4).collect::<Vec<u32>>(), [3, 23, 43, 50, 70, 90]);
    }
}
