//! `engine graph`: draws the dependency graph.

use tokio::sync::watch;

use crate::live::Leftovers;
use crate::plan::{Goal, Options};
use crate::render::graph::{Drawing, Picture};
use crate::spec::Depth;

use super::session::{self, Intent, Session};
use super::terminal::{Failure, Terminal};
use super::{Exit, Global, GraphArgs, GraphFormat, SpecArgs, WhenStopped, on_runtime};

/// Draws all specs of the command line.
pub(super) fn run(global: &Global, terminal: &Terminal, args: &GraphArgs) -> Result<Exit, Failure> {
    let drawing = match args.format {
        GraphFormat::Text => Drawing::Text,
        GraphFormat::Dot => Drawing::Dot,
        GraphFormat::Mermaid => Drawing::Mermaid,
        GraphFormat::Svg => Drawing::Svg,
        GraphFormat::Html => Drawing::Html,
    };
    if args.plan {
        let options = Options { assume_owner: args.spec.assume_owner, ..Options::default() };
        let spec = SpecArgs { when_stopped: WhenStopped::StartToCompare, ..args.spec.clone() };
        let sessions = session::open(global, terminal, &spec, &options, Depth::Full)?;
        is_one(sessions.len(), drawing)?;
        return on_runtime(|interrupt| planned(sessions, drawing, interrupt));
    }
    // This needs no AWS.
    let (loaded, errors) = session::load(global, &args.spec, Depth::Full)?;
    if !errors.is_empty() {
        return Err(Failure { exit: Exit::Failed, diagnostics: errors });
    }
    is_one(loaded.len(), drawing)?;
    for it in &loaded {
        terminal.problems(&it.spec.warnings);
        terminal.print(&Picture::of_spec(&it.spec).draw(drawing, terminal.out));
    }
    Ok(Exit::Done)
}

/// Checks that there is one picture, since a file holds one.
fn is_one(n: usize, drawing: Drawing) -> Result<(), Failure> {
    if n > 1 && drawing != Drawing::Text {
        return Err(Failure::usage("a picture shows one spec and one team", "run the command once per spec and team"));
    }
    Ok(())
}

async fn planned(
    sessions: Vec<Session<'_>>,
    drawing: Drawing,
    interrupt: watch::Receiver<bool>,
) -> Result<Exit, Failure> {
    let intent = Intent { goal: Goal::Present, writes: false, leftovers: Leftovers::Indexed };
    for run in session::read(sessions, intent, &interrupt).await? {
        let Session { spec, terminal, .. } = &run.session;
        let plan = run.plan(Goal::Present);
        terminal.print(&Picture::of_plan(spec, &run.inventory, &plan).draw(drawing, terminal.out));
    }
    Ok(Exit::Done)
}
