//! `engine status`: shows which stacks are deployed, and which changes reached their functions.
//!
//! **Invariant:** it only reads, and a stack that can't be read doesn't hide the others.

mod watched;

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, ValueEnum};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use jiff::tz::TimeZone;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::diagnostic::Diagnostic;
use crate::files::{self, Readers, Unread};
use crate::plan::Options;
use crate::render::status::{self, StackRow, StatusTable};
use crate::render::status_page;
use crate::sanitize::{self, Reader, is_ci};
use crate::spec::Depth;

use super::CommandContext;
use super::args::{SpecArgs, WhenStopped};
use super::exit::{CommandError, Exit};
use super::interrupt::on_runtime;
use super::parse::{PointInTime, point_in_time};
use super::session::{self, AwsTarget};
use super::terminal::Terminal;

use watched::{Round, Watched};

/// The interval between two rounds of `--watch`. Twenty functions take four seconds of the rate
/// that AWS allows for logs.
const ROUND: Duration = Duration::from_secs(5);
/// The same for the local AWS, which has no rate limit.
const LOCAL_ROUND: Duration = Duration::from_secs(1);
/// The interval between two rounds that also read the resources.
const FULL: Duration = Duration::from_secs(60);
/// Enough bytes to recognize a status page.
const HEAD: usize = 400;

/// Show what is deployed and which changes reached the functions
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  engine status --local                          one stack
  engine status --teams specs/examples/teams.txt
                                                 what each team owns, whatever its spec
  engine status --specs specs                    each spec in a folder
  engine status --teams specs/examples/teams.txt --watch --format html --output board.html
                                                 a page for a projector, kept up to date
  engine status --detailed-exitcode              exit code 2 if a stack isn't deployed
  engine status --json                           for scripts")]
pub(super) struct StatusArgs {
    // Of these, `--teams` lists teams whose resources are found by their tags.
    #[command(flatten)]
    spec: SpecArgs,
    /// Show each spec in this folder, one file per team
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["spec", "file", "team", "teams"])]
    specs: Option<PathBuf>,
    /// Read the logs again every few seconds, and the resources once a minute, until Ctrl-C
    #[arg(short, long)]
    watch: bool,
    /// Look for changes in the logs since this duration (90s, 10m, 2h, 1d) or time ago
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = point_in_time)]
    since: PointInTime,
    /// Output format
    #[arg(long, value_enum, default_value_t = StatusFormat::Text)]
    format: StatusFormat,
    /// Write the page to this file, which `--watch` keeps replacing
    #[arg(short, long, value_name = "FILE.html")]
    output: Option<PathBuf>,
    /// Exit with code 2 if a stack is not deployed, drifted, or has a mapping that isn't enabled
    #[arg(long)]
    detailed_exitcode: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StatusFormat {
    /// A row per stack, as soon as it is known
    #[value(alias = "human")]
    Text,
    /// One document per round
    Json,
    /// A page for a projector
    Html,
}

impl StatusArgs {
    /// Checks what clap can't.
    fn check(&self) -> Result<(), CommandError> {
        match (self.format, &self.output) {
            (StatusFormat::Html, None) if self.watch => Err(CommandError::usage(
                "`--watch` needs a file for the page",
                "add `--output board.html`, and open that file in a browser",
            )),
            (StatusFormat::Text | StatusFormat::Json, Some(_)) => {
                Err(CommandError::usage("`--output` is for the page", "add `--format html`"))
            }
            (_, Some(path)) => is_replaceable(path),
            _ => Ok(()),
        }
    }

    /// Since when changes count, in milliseconds since 1970.
    fn start(&self) -> i64 {
        let since = self.since.before(SystemTime::now()).duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }
}

/// Checks that the page can be written to a file, and overwrites nothing but an earlier page.
fn is_replaceable(path: &Path) -> Result<(), CommandError> {
    let refuse = |problem: String, hint: &str| Err(CommandError::one(Diagnostic::error(problem, hint)));
    let shown = path.display();
    match files::read(path, HEAD) {
        Ok(head) if String::from_utf8_lossy(&head).contains(&format!("content=\"{}\"", status_page::GENERATOR)) => {}
        Err(Unread::Missing) => {}
        Ok(_) => return refuse(format!("`{shown}` already exists and is not a status page"), "use another file name"),
        Err(unread) => return refuse(format!("`{shown}` {}", unread.reason()), "use another file name"),
    }
    files::probe(path).map_err(|error| unwritable(path, &error))
}

pub(super) fn run(cx: &CommandContext<'_>, args: StatusArgs) -> Result<Exit, CommandError> {
    args.check()?;
    let since = args.start();
    let watched = open(cx, &args, since)?;
    on_runtime(async |interrupt| show(cx.terminal, &args, watched, since, interrupt).await)
}

/// The stacks to show, in their order.
fn open<'t>(cx: &CommandContext<'t>, args: &StatusArgs, since: i64) -> Result<Vec<Watched<'t>>, CommandError> {
    let base = SpecArgs { when_stopped: WhenStopped::Fail, ..args.spec.clone() };
    let options = Options { assume_owner: base.assume_owner, ..Options::default() };
    if let Some(file) = &base.teams {
        let teams = session::read_teams(file)?;
        // What teams own doesn't depend on a spec; one may name the region and the account.
        let is_bare = base.named().is_empty() && session::find_spec().is_err();
        let stack = is_bare.then(|| "status".to_owned());
        let spec = SpecArgs { team: teams.first().cloned(), teams: None, stack, ..base };
        let sessions = session::open(cx, &spec, &options, Depth::Identities)?;
        let Some(session) = sessions.into_iter().next() else { return Ok(Vec::new()) };
        return Ok(Watched::teams(session, &teams, since));
    }
    let Some(folder) = &args.specs else {
        let sessions = session::open(cx, &base, &options, Depth::Full)?;
        return Ok(sessions.into_iter().map(|session| Watched::spec(session, since)).collect());
    };
    // A spec with errors is a row, so that it doesn't hide the other teams.
    let specs = session::in_folders(std::slice::from_ref(folder))?.into_iter();
    let opened = specs.map(|path| {
        let spec = SpecArgs { spec: vec![path.clone()], is_one: true, ..base.clone() };
        match session::open(cx, &spec, &options, Depth::Full) {
            Ok(sessions) => sessions.into_iter().map(|session| Watched::spec(session, since)).collect(),
            Err(failure) => vec![Watched::broken(&path, &failure)],
        }
    });
    Ok(opened.flatten().collect())
}

/// Shows the rows once, or until Ctrl-C.
async fn show(
    terminal: &Terminal,
    args: &StatusArgs,
    mut watched: Vec<Watched<'_>>,
    since: i64,
    interrupt: watch::Receiver<bool>,
) -> Result<Exit, CommandError> {
    watched::connect(&mut watched, &interrupt).await?;
    let is_local = watched.iter().any(|it| matches!(it.target(), Some(AwsTarget::Local(_))));
    let pause = if is_local { LOCAL_ROUND } else { ROUND };
    let table = StatusTable::new(watched.iter().map(|it| it.row.name.as_str()), terminal.out, TimeZone::system());
    if args.format == StatusFormat::Text {
        terminal.print(&table.head());
    }
    let (mut full_at, mut is_first) = (Instant::now(), true);
    loop {
        let begun = Instant::now();
        let is_full = begun >= full_at;
        if is_full {
            full_at = begun + FULL;
        }
        let before: Vec<StackRow> = watched.iter().map(|it| it.row.clone()).collect();
        let shown = |at: usize, row: &StackRow| {
            let is_new = before.get(at) != Some(row);
            if args.format == StatusFormat::Text && (is_new || is_first) {
                terminal.print(&table.row(row));
            }
        };
        let mut interrupted = interrupt.clone();
        tokio::select! {
            () = round(&mut watched, is_full, shown) => {}
            _ = interrupted.wait_for(|pressed| *pressed) => return Err(CommandError::interrupted()),
        }
        let rows: Vec<StackRow> = watched.iter().map(|it| it.row.clone()).collect();
        is_first = false;
        if args.format != StatusFormat::Text {
            document(terminal, args, &rows, since, pause)?;
        } else if !args.watch {
            terminal.note(&table.summary(&rows, since));
        }
        if !args.watch || !terminal.has_reader() {
            return Ok(exit(&rows, args.detailed_exitcode));
        }
        tokio::select! {
            () = sleep_until(begun + pause) => {}
            _ = interrupted.wait_for(|pressed| *pressed) => return Err(CommandError::interrupted()),
        }
    }
}

/// Reads every stack, and calls `shown` for each as soon as it is known.
async fn round(watched: &mut [Watched<'_>], is_full: bool, shown: impl Fn(usize, &StackRow)) {
    let listing = if is_full { watched::list(watched).await } else { Round::Logs };
    let mut reads: FuturesUnordered<_> = watched
        .iter_mut()
        .enumerate()
        .map(async |(at, it)| {
            it.update(&listing).await;
            (at, it.row.clone())
        })
        .collect();
    while let Some((at, row)) = reads.next().await {
        shown(at, &row);
    }
}

/// Prints the rows as a document, or writes them to the page's file.
fn document(
    terminal: &Terminal,
    args: &StatusArgs,
    rows: &[StackRow],
    since: i64,
    pause: Duration,
) -> Result<(), CommandError> {
    if args.format == StatusFormat::Json {
        terminal.print(&format!("{}\n", status::json(rows, since)));
        return Ok(());
    }
    let again = args.watch.then_some(pause);
    let page = status_page::document(rows, since, SystemTime::now(), again, &TimeZone::system());
    let Some(path) = &args.output else {
        terminal.print(&page);
        return Ok(());
    };
    let reader = Reader { runner: is_ci(), ..Reader::default() };
    let page = sanitize::clean(&page, reader);
    files::replace(path, page.as_bytes(), Readers::Usual).map_err(|error| unwritable(path, &error))
}

fn unwritable(path: &Path, error: &io::Error) -> CommandError {
    let problem = format!("can't write the page to `{}`: {error}", path.display());
    CommandError::one(Diagnostic::error(problem, files::remedy(error, "use a file in a writable folder")))
}

fn exit(rows: &[StackRow], detailed: bool) -> Exit {
    if rows.iter().any(|row| row.problem.is_some() || row.log_problem.is_some()) {
        Exit::Failed
    } else if detailed && rows.iter().any(|row| !row.state().is_deployed()) {
        Exit::Pending
    } else {
        Exit::Done
    }
}
