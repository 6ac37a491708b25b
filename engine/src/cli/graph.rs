//! `engine graph`: shows the dependency graph of a spec or a plan.
//!
//! **Invariant:** without `--plan`, it calls nothing.

use clap::{Args, ValueEnum};
use tokio::sync::watch;

use crate::live::OrphanSearch;
use crate::plan::{Goal, Options};
use crate::render::graph::{Drawing, GraphView};
use crate::spec::Depth;

use super::CommandContext;
use super::args::{SpecArgs, WhenStopped};
use super::exit::{CommandError, Exit};
use super::interrupt::on_runtime;
use super::session::{self, Intent, LookupReads, Session};

/// Show the dependency graph of a spec or a plan
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  engine graph                               as a table
  engine graph --plan                        with what `apply` would change
  engine graph --format svg > pipeline.svg   as an image; also dot, mermaid and html")]
pub(super) struct GraphArgs {
    #[command(flatten)]
    spec: SpecArgs,
    /// Output format
    #[arg(long, value_enum, default_value_t = GraphFormat::Text)]
    format: GraphFormat,
    /// Also read AWS and show what `apply` would change
    #[arg(long)]
    plan: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum GraphFormat {
    /// A table
    #[value(alias = "human")]
    Text,
    /// For Graphviz
    Dot,
    /// For Markdown pages
    Mermaid,
    /// An image
    Svg,
    /// A web page with the image
    Html,
}

pub(super) fn run(cx: &CommandContext<'_>, args: GraphArgs) -> Result<Exit, CommandError> {
    let drawing = match args.format {
        GraphFormat::Text => Drawing::Text,
        GraphFormat::Dot => Drawing::Dot,
        GraphFormat::Mermaid => Drawing::Mermaid,
        GraphFormat::Svg => Drawing::Svg,
        GraphFormat::Html => Drawing::Html,
    };
    if args.plan {
        let options = Options { assume_owner: args.spec.assume_owner, ..Options::default() };
        let spec = SpecArgs { when_stopped: WhenStopped::StartToCompare, ..args.spec };
        let sessions = session::open(cx, &spec, &options, Depth::Full)?;
        check_count(sessions.len(), drawing)?;
        return on_runtime(|interrupt| draw_plans(sessions, drawing, interrupt));
    }
    // This needs no AWS.
    let (loaded, errors) = session::load(cx, &args.spec, Depth::Full)?;
    if !errors.is_empty() {
        return Err(CommandError { exit: Exit::Failed, diagnostics: errors });
    }
    check_count(loaded.len(), drawing)?;
    for it in &loaded {
        cx.terminal.problems(&it.spec.warnings);
        cx.terminal.print(&GraphView::of_spec(&it.spec).draw(drawing, cx.terminal.out));
    }
    Ok(Exit::Done)
}

/// Checks that there is one picture, since a file holds one.
fn check_count(n: usize, drawing: Drawing) -> Result<(), CommandError> {
    if n > 1 && drawing != Drawing::Text {
        return Err(CommandError::usage(
            "an image shows one spec and one team",
            "run the command once per spec and team",
        ));
    }
    Ok(())
}

async fn draw_plans(
    sessions: Vec<Session<'_>>,
    drawing: Drawing,
    interrupt: watch::Receiver<bool>,
) -> Result<Exit, CommandError> {
    let intent =
        Intent { goal: Goal::Present, writes: false, orphans: OrphanSearch::Indexed, lookups: LookupReads::Skipped };
    for run in session::read(sessions, intent, &interrupt).await? {
        let Session { spec, terminal, .. } = &run.session;
        let plan = run.plan(Goal::Present);
        terminal.print(&GraphView::of_plan(spec, &run.inventory, &plan).draw(drawing, terminal.out));
    }
    Ok(Exit::Done)
}
