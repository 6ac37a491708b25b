//! Progress on stderr: one live line for each running step on a terminal, plain lines everywhere else.
//!
//! **Invariant:** it hears events and draws; nothing waits for it.

use std::collections::HashMap;
use std::io::Write as _;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::apply::{Ending, Event};
use crate::aws::Class;
use crate::plan::{Plan, StepId};

use super::{GREEN, Look, RED, YELLOW, verb_of};

/// A wait is worth a plain line once it has lasted so long, and again each time as long as [`REMINDER`].
const PATIENCE: Duration = Duration::from_secs(3);
const REMINDER: Duration = Duration::from_secs(20);

/// Draws what happens.
pub struct Progress {
    look: Look,
    style: Drawing,
    interrupted: bool,
    /// Of each run, by its number.
    running: HashMap<(usize, StepId), Running>,
}

enum Drawing {
    Live(MultiProgress),
    Plain,
    Silent,
}

struct Running {
    talk: Talk,
    bar: Option<ProgressBar>,
}

/// Which waits of a step are worth a plain line.
struct Talk {
    since: Instant,
    said: Option<(Instant, String)>,
}

impl Talk {
    fn new(since: Instant) -> Talk {
        Talk { since, said: None }
    }

    /// Whether `what` is worth a line `now`: it lasts, and is news or was said a while ago.
    fn is_due(&mut self, now: Instant, what: &str) -> bool {
        let is_news = self.said.as_ref().is_none_or(|(when, said)| said != what || now - *when >= REMINDER);
        let is_due = is_news && now - self.since >= PATIENCE;
        if is_due {
            self.said = Some((now, what.to_owned()));
        }
        is_due
    }
}

impl Progress {
    /// `live`: stderr is a terminal that can redraw lines. `quiet`: say nothing.
    pub fn new(look: Look, live: bool, quiet: bool) -> Progress {
        let style = match (quiet, live) {
            (true, _) => Drawing::Silent,
            (_, true) => Drawing::Live(MultiProgress::with_draw_target(ProgressDrawTarget::stderr())),
            (_, false) => Drawing::Plain,
        };
        Progress { look, style, running: HashMap::new(), interrupted: false }
    }

    /// Takes note of an event of one of several runs; its resources are shown behind `prefix`.
    pub fn event(&mut self, (run, prefix): (usize, &str), plan: &Plan, event: &Event) {
        if matches!(self.style, Drawing::Silent) {
            return;
        }
        let label = |id: StepId| {
            let step = plan.steps.get(id.0)?;
            Some((format!("{prefix}{}", plan.changes.get(step.change)?.resource), verb_of(step.op)))
        };
        match event {
            Event::Started(id) => {
                let Some((resource, (_, doing, _))) = label(*id) else { return };
                let bar = match &self.style {
                    Drawing::Live(bars) => {
                        let bar = bars.add(ProgressBar::new_spinner());
                        // The template is ours and constant, so the fallback is never drawn.
                        let style = ProgressStyle::with_template("  {spinner} {msg} {elapsed}");
                        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
                        bar.set_message(format!("{resource}: {doing}..."));
                        bar.enable_steady_tick(Duration::from_millis(100));
                        Some(bar)
                    }
                    _ => {
                        self.line(&format!("{resource}: {doing}..."));
                        None
                    }
                };
                self.running.insert((run, *id), Running { talk: Talk::new(Instant::now()), bar });
            }
            Event::Waiting(id, what) => {
                let Some((resource, (_, doing, _))) = label(*id) else { return };
                let Some(running) = self.running.get_mut(&(run, *id)) else { return };
                if let Some(bar) = &running.bar {
                    bar.set_message(format!("{resource}: {doing}, waiting for {what}..."));
                    return;
                }
                if running.talk.is_due(Instant::now(), what) {
                    let seconds = running.talk.since.elapsed().as_secs();
                    self.line(&format!("{resource}: still {doing}, waiting for {what} ({seconds} s)"));
                }
            }
            Event::Finished(id, ending) => {
                let Some((resource, (_, doing, done))) = label(*id) else { return };
                if let Some(bar) = self.running.remove(&(run, *id)).and_then(|running| running.bar) {
                    bar.finish_and_clear();
                }
                match ending {
                    Ending::Done(elapsed) => {
                        let sign = self.look.paint(GREEN, "ok");
                        self.line(&format!("{resource}: {done} after {} {sign}", duration(*elapsed)));
                    }
                    Ending::Failed(error) if error.class == Class::Interrupted => {
                        self.line(&format!("{resource}: {}", error.message));
                    }
                    // Why stands in the outcome, with what to do.
                    Ending::Failed(_) => {
                        let sign = self.look.paint(RED, "failed");
                        self.line(&format!("{resource}: {doing} {sign}"));
                    }
                    Ending::Skipped(cause) => {
                        let sign = self.look.paint(YELLOW, "skipped");
                        self.line(&format!("{resource}: {sign}, it depends on {cause}"));
                    }
                    Ending::NotStarted => {}
                }
            }
            Event::Interrupted if self.interrupted => {}
            Event::Interrupted => {
                self.interrupted = true;
                self.line("interrupted: calls in flight finish, nothing new begins (Ctrl-C again stops at once)");
            }
        }
    }

    /// One line that stays.
    pub fn line(&self, text: &str) {
        match &self.style {
            // A terminal that went away is no reason to stop working.
            Drawing::Live(bars) => drop(bars.println(text)),
            Drawing::Plain => drop(writeln!(std::io::stderr(), "{text}")),
            Drawing::Silent => {}
        }
    }
}

/// `0.3s`, `12s`, `2m05s`.
fn duration(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    match seconds {
        0..10 => format!("{:.1}s", elapsed.as_secs_f64()),
        10..60 => format!("{seconds}s"),
        _ => format!("{}m{:02}s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_told_once_it_lasts_when_it_changes_and_every_twenty_seconds() {
        let start = Instant::now();
        let mut talk = Talk::new(start);
        // A step says four times a second what it waits for, and after 50 s something else.
        let quarters = (0..400).filter(|quarter| {
            let what = if *quarter < 200 { "the table" } else { "its tags" };
            talk.is_due(start + Duration::from_millis(250) * *quarter, what)
        });
        assert_eq!(quarters.map(|quarter| quarter / 4).collect::<Vec<u32>>(), [3, 23, 43, 50, 70, 90]);
    }
}
