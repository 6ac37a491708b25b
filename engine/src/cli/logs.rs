//! `engine logs`: shows what a spec's functions have logged.
//!
//! **Invariant:** it only reads.

mod feed;
mod printer;

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use futures_util::future::join_all;
use tokio::sync::watch;

use crate::aws::wait::Detail;
use crate::aws::{AwsError, Context, LocalSettings};
use crate::diagnostic::{Diagnostic, nearest};
use crate::inventory::Inventory;
use crate::live::{self, OrphanSearch, ReadError};
use crate::logs::LogEvent;
use crate::plan::{Goal, Options};
use crate::render::logs;
use crate::schema::AwsEnv;
use crate::spec::{Depth, ResourceDecl, Spec};

use super::CommandContext;
use super::args::{CodeArgs, NamedSpecArgs, OutputFormat, OverrideArgs, SpecArgs, ValueArgs, WhenStopped};
use super::exit::{CommandError, Exit};
use super::interrupt::on_runtime;
use super::names;
use super::parse::{PointInTime, point_in_time, whole_number};
use super::selection::for_team;
use super::session::{self, AwsTarget, Intent, LookupReads, Session};
use super::terminal::{report_waits_once, with_wait_notice};

use feed::{Feed, ParsedEvent, absent};
use printer::Printer;

/// The interval between two polls of AWS while there are new events. It doubles with each poll that
/// finds none, up to [`IDLE`]: all followers in an account share its 5 to 10 calls a second.
const BUSY: Duration = Duration::from_millis(500);
const IDLE: Duration = Duration::from_secs(4);
/// The interval between two polls of the local AWS, which has no rate limit.
const LOCAL: Duration = Duration::from_millis(50);

/// Show or follow the functions' logs
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  engine logs                        every item change in the last hour
  engine logs -n 20                  the last 20 entries
  engine logs --follow               also new entries as they arrive
  engine logs logger --since 10m     one function, the last 10 minutes
  engine logs --filter MODIFY        only entries with this text
  engine logs --raw                  exactly what the functions logged
  engine logs --format json          for scripts
  engine logs --teams specs/examples/teams.txt --since 10m
                                     of each team in a list")]
pub(super) struct LogsArgs {
    /// A function's name in the spec. Defaults to all functions, with each line prefixed by the
    /// function's name
    #[arg(value_name = "RESOURCE")]
    resource: Option<String>,
    /// Follow new entries until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// Show entries newer than this duration (90s, 10m, 2h, 1d) or time (2026-11-25T14:00)
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = point_in_time)]
    since: PointInTime,
    /// Show entries older than this duration or time
    #[arg(long, value_name = "TIME", value_parser = point_in_time, conflicts_with = "follow")]
    until: Option<PointInTime>,
    /// Show only the last N entries
    #[arg(short = 'n', long, value_name = "N", value_parser = |text: &str| whole_number::<usize>(text, 0, 1 << 32))]
    tail: Option<usize>,
    /// Show only entries that contain this text
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Print each event as it was logged, without grouping or labels
    #[arg(long)]
    raw: bool,
    /// Show times in UTC instead of local time
    #[arg(long)]
    utc: bool,
    #[command(flatten)]
    spec: NamedSpecArgs,
    /// Show the logs of each team in this file (one team per line)
    #[arg(long, value_name = "FILE", conflicts_with = "team")]
    teams: Option<PathBuf>,
    /// Output format; json prints one object per line
    #[arg(long, value_enum, default_value_t = OutputFormat::Human)]
    format: OutputFormat,
}

impl LogsArgs {
    /// All functions of one spec, for people.
    fn following(since: PointInTime) -> LogsArgs {
        let overrides = OverrideArgs { team: None, values: ValueArgs::default(), code: CodeArgs::default() };
        LogsArgs {
            resource: None,
            follow: true,
            since,
            until: None,
            tail: None,
            filter: None,
            raw: false,
            utc: false,
            spec: NamedSpecArgs { path: None, overrides },
            teams: None,
            format: OutputFormat::Human,
        }
    }

    /// The requested period in words.
    fn period(&self) -> String {
        let named = |time: PointInTime| match time {
            PointInTime::Ago(duration) => format!("{} ago", humantime::format_duration(duration)),
            PointInTime::At(time) => humantime::format_rfc3339_seconds(time).to_string(),
        };
        match (self.since, self.until) {
            (PointInTime::Ago(duration), None) => format!("in the last {}", humantime::format_duration(duration)),
            (since, None) => format!("since {}", named(since)),
            (since, Some(until)) => format!("from {} to {}", named(since), named(until)),
        }
    }

    /// Whether entries are parsed, folded and labeled.
    fn is_for_people(&self) -> bool {
        self.format == OutputFormat::Human && !self.raw
    }

    /// Start and end in milliseconds since 1970.
    fn bounds(&self) -> Result<(i64, Option<i64>), CommandError> {
        let now = SystemTime::now();
        let at = |time: PointInTime| {
            let since = time.before(now).duration_since(UNIX_EPOCH).unwrap_or_default();
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        };
        let (start, end) = (at(self.since), self.until.map(at));
        match end.is_some_and(|end| end < start) {
            true => Err(CommandError::usage("`--until` is before `--since`", "swap them, or set an earlier `--since`")),
            false => Ok((start, end)),
        }
    }
}

pub(super) fn run(cx: &CommandContext<'_>, args: LogsArgs) -> Result<Exit, CommandError> {
    let bounds = args.bounds()?;
    let spec = SpecArgs { when_stopped: WhenStopped::Fail, teams: args.teams.clone(), ..SpecArgs::from(&args.spec) };
    let name = args.resource.as_deref();
    let follow = if args.follow { " --follow" } else { "" };
    names::reject_spec_path(name, |path| format!("engine logs --spec {path}{follow}"))?;
    let unknown = names::check_name(name, |spec, name| functions(spec, Some(name)).map(drop));
    let sessions = session::open_checked(cx, &spec, &Options::default(), Depth::Identities, unknown)?;
    on_runtime(async |interrupt| show_all(&sessions, &args, bounds, interrupt).await)
}

/// Shows the logs of every team: one after the other, or with `--follow` at the same time.
async fn show_all(
    sessions: &[Session<'_>],
    args: &LogsArgs,
    bounds: (i64, Option<i64>),
    interrupt: watch::Receiver<bool>,
) -> Result<Exit, CommandError> {
    let intent =
        Intent { goal: Goal::Present, writes: false, orphans: OrphanSearch::Ignored, lookups: LookupReads::Skipped };
    let contexts = session::contexts(&sessions.iter().collect::<Vec<_>>(), intent, &interrupt).await?;
    let shown = sessions.iter().zip(contexts).map(|(session, cx)| show(session, cx, args, bounds, interrupt.clone()));
    let mut exit = Exit::Done;
    if args.follow {
        for shown in join_all(shown).await {
            exit = exit.max(shown?);
        }
    } else {
        for shown in shown {
            exit = exit.max(shown.await?);
        }
    }
    Ok(exit)
}

async fn show(
    session: &Session<'_>,
    cx: Context,
    args: &LogsArgs,
    bounds: (i64, Option<i64>),
    interrupt: watch::Receiver<bool>,
) -> Result<Exit, CommandError> {
    let (spec, terminal) = (&session.spec, session.terminal);
    let functions = functions(spec, args.resource.as_deref())?;
    let account = cx.read("", || cx.aws.account());
    let account = with_wait_notice(terminal.quiet, || cx.waits(), account).await;
    let account = account.map_err(|error| session.read_failure(vec![ReadError { resource: None, error }]))?;
    live::in_account(spec, &account).map_err(|error| failed(&error))?;
    let scope = names::search_scope(&session.target, &AwsEnv::new(&cx.aws.region, &account));
    // Only the name of its log group matters.
    let reader = cx.with_detail(Detail::ForDelete);
    let found = join_all(functions.iter().map(|declared| live::read_again(&reader, declared)));
    let found = with_wait_notice(terminal.quiet, || cx.waits(), found).await;
    let (mut feeds, mut missing) = (Vec::new(), Vec::new());
    for (declared, live) in functions.iter().zip(found) {
        match live.map_err(|error| failed(&error))? {
            Some(live) => feeds.push(Feed::new(spec, declared, &live, bounds)),
            None if args.teams.is_some() => missing.push(for_team(&spec.team, &absent(spec, declared, &scope))),
            None => missing.push(absent(spec, declared, &scope)),
        }
    }
    terminal.problems(&missing);
    let exit = if missing.is_empty() { Exit::Done } else { Exit::Failed };
    if feeds.is_empty() {
        return Ok(exit);
    }
    if args.follow {
        let groups: Vec<&str> = feeds.iter().map(|feed| feed.group.as_str()).collect();
        terminal.note(&format!("following {}; press Ctrl-C to stop", groups.join(", ")));
    }
    if args.teams.is_some() {
        feeds.iter_mut().for_each(|feed| feed.function = format!("{}/{}", spec.team, feed.function));
    }
    let printer = Printer::new(session, args, &feeds, functions.len() > 1 || args.teams.is_some());
    read_feeds(cx, session, args, &mut feeds, printer, interrupt).await.map(|ended| exit.max(ended))
}

/// Follows the logs of a spec's functions for a command that changes them meanwhile.
pub(super) struct Follower {
    args: LogsArgs,
    start: i64,
    feeds: Vec<Feed>,
}

impl Follower {
    /// Follows what is logged from now on.
    ///
    /// # Errors
    /// None: the period has no end.
    pub(super) fn from_now() -> Result<Follower, CommandError> {
        let args = LogsArgs::following(PointInTime::At(SystemTime::now()));
        Ok(Follower { start: args.bounds()?.0, args, feeds: Vec::new() })
    }

    /// Follows the functions of the spec that exist, each from where it was read before.
    pub(super) fn choose(&mut self, spec: &Spec, inventory: &Inventory) {
        let mut before = std::mem::take(&mut self.feeds);
        for declared in functions(spec, None).unwrap_or_default() {
            let Some(live) = inventory.live(&declared.name) else { continue };
            let mut feed = Feed::new(spec, declared, live, (self.start, None));
            // That nothing was logged yet needs no reason.
            feed.is_explained = true;
            if let Some(at) = before.iter().position(|it| it.group == feed.group) {
                feed.tail = before.swap_remove(at).tail;
            }
            self.feeds.push(feed);
        }
    }

    /// Prints new entries until the context is interrupted or stdout is closed.
    ///
    /// # Errors
    /// The log can't be read.
    pub(super) async fn follow(
        &mut self,
        session: &Session<'_>,
        cx: Context,
        interrupt: watch::Receiver<bool>,
    ) -> Result<Exit, CommandError> {
        let Follower { args, feeds, .. } = self;
        let printer = Printer::new(session, args, feeds, feeds.len() > 1);
        read_feeds(cx, session, args, feeds, printer, interrupt).await
    }
}

/// Prints new events until there are no more or, with `--follow`, until Ctrl-C.
async fn read_feeds(
    mut cx: Context,
    session: &Session<'_>,
    args: &LogsArgs,
    feeds: &mut [Feed],
    mut printer: Printer<'_>,
    interrupt: watch::Receiver<bool>,
) -> Result<Exit, CommandError> {
    let terminal = session.terminal;
    let mut target = session.target.clone();
    let (busy, idle) = if matches!(target, AwsTarget::Local(_)) { (LOCAL, LOCAL) } else { (BUSY, IDLE) };
    let mut pause = busy;
    loop {
        let events = join_all(feeds.iter_mut().map(|feed| feed.tail.next(&cx)));
        let events = tokio::select! {
            events = with_wait_notice(terminal.quiet, || cx.waits(), events) => events,
            // Reads change nothing, so they can be dropped.
            () = cx.interrupt() => return Ok(Exit::Interrupted),
            settings = restarted(session, &target), if args.follow => {
                terminal.note("the local AWS was restarted; following the new one");
                cx = session.reconnected(&cx, &settings, &interrupt);
                cx = cx.reporting(report_waits_once(terminal.quiet)).riding_out_outages();
                feeds.iter_mut().for_each(Feed::restart);
                target = AwsTarget::Local(settings);
                continue;
            }
        };
        let (parsed, mut notices) = parse_all(&cx, feeds, events, args)?;
        pause = if parsed.is_empty() { idle.min(pause * 2) } else { busy };
        let has_entries = printer.print(&cx, parsed).await;
        if let Some(filter) = args.filter.as_ref().filter(|_| !has_entries && notices.is_empty() && !args.follow) {
            notices.push(format!("no entry {} contains `{filter}`", args.period()));
        }
        notices.iter().for_each(|text| terminal.note(text));
        if !args.follow || !terminal.has_reader() {
            return Ok(Exit::Done);
        }
        // From now on it waits for a network that is down.
        cx = cx.riding_out_outages();
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = cx.interrupt() => return Ok(Exit::Interrupted),
        }
    }
}

/// Parses the new events of each feed (`None` without a log group), with notices about what is
/// missing.
fn parse_all<'f>(
    cx: &Context,
    feeds: &'f mut [Feed],
    events: Vec<Result<Option<Vec<LogEvent>>, AwsError>>,
    args: &LogsArgs,
) -> Result<(Vec<ParsedEvent<'f>>, Vec<String>), CommandError> {
    let (mut parsed, mut notices) = (Vec::new(), Vec::new());
    for (feed, events) in feeds.iter_mut().zip(events) {
        let events = events.map_err(|error| failed(&error))?;
        if events.as_ref().is_none_or(Vec::is_empty) && !feed.is_explained {
            notices.push(feed.silence(events.is_some(), args));
        }
        feed.is_explained = true;
        if let Some(at) = feed.tail.take_crowded() {
            let at = logs::timestamp(at);
            notices.push(format!("{}: AWS returns only some of the events logged at {at}", feed.function));
        }
        parsed.extend(feed.parse(cx, events.unwrap_or_default(), args));
    }
    Ok((parsed, notices))
}

/// Returns when another local AWS has replaced the one in `target`; never for AWS itself.
async fn restarted(session: &Session<'_>, target: &AwsTarget) -> LocalSettings {
    match target {
        AwsTarget::Local(settings) => session.restarted(settings).await,
        AwsTarget::Account(_) => std::future::pending().await,
    }
}

/// The functions to show: all, or the named one.
fn functions<'s>(spec: &'s Spec, named: Option<&str>) -> Result<Vec<&'s ResourceDecl>, CommandError> {
    let is_function = |declared: &&ResourceDecl| declared.schema().kind == "function";
    let all: Vec<&ResourceDecl> = spec.resources.iter().filter(is_function).collect();
    let names = all.iter().map(|declared| format!("`{}`", declared.name)).collect::<Vec<_>>().join(", ");
    let hint = match all.is_empty() {
        true => "the spec has no function; declare a `type: function`".to_owned(),
        false => format!("the spec's functions are {names}"),
    };
    let Some(named) = named else {
        return match all.is_empty() {
            true => {
                let problem = "the spec has no function, so there is no log to show";
                let hint = "declare a `type: function` and run `engine apply`";
                Err(CommandError::one(Diagnostic::error(problem, hint)))
            }
            false => Ok(all),
        };
    };
    match spec.resource(named) {
        Some(declared) if is_function(&declared) => Ok(vec![declared]),
        Some(declared) => {
            let problem = format!("`{named}` is a {}; only functions have a log", declared.schema().kind);
            Err(CommandError::one(Diagnostic::error(problem, hint)))
        }
        None => {
            let near = nearest(named, all.iter().map(|declared| declared.name.as_str()));
            let suggestion = near.map_or_else(String::new, |near| format!("did you mean `{near}`? "));
            let problem = format!("the spec has no resource `{named}`");
            Err(CommandError::one(Diagnostic::error(problem, format!("{suggestion}{hint}"))))
        }
    }
}

fn failed(error: &AwsError) -> CommandError {
    CommandError::of_call(error, "read the log")
}
