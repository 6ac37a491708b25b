//! `engine logs`: what a spec's functions have logged, as people want to read it.
//!
//! **Invariant:** it only reads.

use std::io::IsTerminal as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use futures_util::future::join_all;
use jiff::tz::TimeZone;
use tokio::sync::watch;

use crate::aws::{Access, AwsError, Class, Context, LocalSettings, LogEvent, Tail};
use crate::diagnostic::Diagnostic;
use crate::inventory::Searched;
use crate::kinds::default_log_group;
use crate::live;
use crate::plan::Options;
use crate::records::{self, Line};
use crate::render::logs::{self, Entry, Journal};
use crate::schema::Site;
use crate::spec::{Declared, Depth, Spec, nearest};
use crate::value::{Path, Value};

use super::names;
use super::session::{self, Session, Target};
use super::terminal::{Failure, Terminal, said_once, telling};
use super::usage::{self, Moment};
use super::{Exit, Global, ListFormat, NamedSpecArgs, SpecArgs, WhenStopped, on_runtime};

/// Between two looks at AWS, as long as something comes; twice as long after each that finds nothing, up to [`IDLE`]. All
/// who follow in an account share its 5 to 10 calls a second.
const BUSY: Duration = Duration::from_millis(500);
const IDLE: Duration = Duration::from_secs(4);
/// Between two looks at a local AWS, which nobody else asks.
const LOCAL: Duration = Duration::from_millis(50);

#[derive(Debug, Args)]
pub(super) struct LogsArgs {
    /// A function's name in the spec. Defaults to all functions, each line with the name in front
    #[arg(value_name = "RESOURCE")]
    resource: Option<String>,
    /// Follow new entries until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// Start this long ago (90s, 10m, 2h, 1d) or at this time (2026-11-25T14:00)
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = usage::moment)]
    since: Moment,
    /// End this long ago or at this time
    #[arg(long, value_name = "TIME", value_parser = usage::moment, conflicts_with = "follow")]
    until: Option<Moment>,
    /// Show only the last N entries
    #[arg(short = 'n', long, value_name = "N", value_parser = |text: &str| usage::whole::<usize>(text, 0, 1 << 32))]
    tail: Option<usize>,
    /// Show only entries that contain this text
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Print each event as it was logged, without folding or labels
    #[arg(long)]
    raw: bool,
    /// Show times in UTC instead of local time
    #[arg(long)]
    utc: bool,
    #[command(flatten)]
    spec: NamedSpecArgs,
    /// Output format; json prints one object per line
    #[arg(long, value_enum, default_value_t = ListFormat::Human)]
    format: ListFormat,
}

/// A function whose log is read.
struct Feed {
    /// The function's name in the spec.
    function: String,
    group: String,
    tail: Tail,
    /// Whether it was told why there is nothing to show, or there is something.
    told: bool,
}

impl LogsArgs {
    /// The time that is asked for, in words.
    fn period(&self) -> String {
        let named = |moment: Moment| match moment {
            Moment::Ago(duration) => format!("{} ago", humantime::format_duration(duration)),
            Moment::At(time) => humantime::format_rfc3339_seconds(time).to_string(),
        };
        match (self.since, self.until) {
            (Moment::Ago(duration), None) => format!("in the last {}", humantime::format_duration(duration)),
            (since, None) => format!("since {}", named(since)),
            (since, Some(until)) => format!("from {} to {}", named(since), named(until)),
        }
    }

    /// Begin and end in milliseconds since 1970.
    fn bounds(&self) -> Result<(i64, Option<i64>), Failure> {
        let now = SystemTime::now();
        let at = |moment: Moment| {
            let since = moment.before(now).duration_since(UNIX_EPOCH).unwrap_or_default();
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        };
        let (start, end) = (at(self.since), self.until.map(at));
        match end.is_some_and(|end| end < start) {
            true => Err(Failure::usage("`--until` is before `--since`", "swap them, or set an earlier `--since`")),
            false => Ok((start, end)),
        }
    }
}

pub(super) fn logs(global: &Global, terminal: &Terminal, args: LogsArgs) -> Result<Exit, Failure> {
    let bounds = args.bounds()?;
    let spec = SpecArgs { when_stopped: WhenStopped::Fail, ..SpecArgs::from(&args.spec) };
    if let Some(name) = args.resource.as_deref() {
        let follow = if args.follow { " --follow" } else { "" };
        names::refuse_spec(Some(name), |path| format!("engine logs --spec {path}{follow}"))?;
    }
    let unknown = names::unknown(args.resource.as_deref(), |spec, name| functions(spec, Some(name)).map(drop));
    let sessions = session::open_checked(global, terminal, &spec, &Options::default(), Depth::Identities, unknown)?;
    let Some(session) = sessions.into_iter().next() else { return Ok(Exit::Done) };
    on_runtime(async |interrupt| show(&session, &args, bounds, interrupt).await)
}

async fn show(
    session: &Session<'_>,
    args: &LogsArgs,
    (start, end): (i64, Option<i64>),
    interrupt: watch::Receiver<bool>,
) -> Result<Exit, Failure> {
    let Session { spec, terminal, target, .. } = session;
    let functions = functions(spec, args.resource.as_deref())?;
    let (cx, account) = session.reader(Access::ReadOnly, &interrupt).await?;
    let mut cx = cx.reporting(said_once(terminal.quiet));
    live::in_account(spec, &account).map_err(|error| failed(&error))?;
    let searched = names::searched(target, &Site::new(&cx.aws.region, &account));
    let found = join_all(functions.iter().map(|declared| live::read_again(&cx, declared)));
    let found = telling(terminal.quiet, || cx.waits(), found).await;
    let (mut feeds, mut missing) = (Vec::new(), Vec::new());
    for (declared, live) in functions.iter().zip(found) {
        match live.map_err(|error| failed(&error))? {
            Some(live) => {
                // Where it really logs: somebody may have changed that, and a role decides about nothing else.
                let shown = live.props.get("log_group").or(declared.desired.get("log_group"));
                let group = shown.and_then(Value::as_str).map(str::to_owned);
                let group = group.unwrap_or_else(|| default_log_group(&declared.id.name));
                let (function, tail) = (declared.name.clone(), Tail::new(&group, start).until(end));
                feeds.push(Feed { function, group, tail, told: false });
            }
            None => missing.push(absent(spec, declared, &searched)),
        }
    }
    terminal.problems(&missing);
    let exit = if missing.is_empty() { Exit::Done } else { Exit::Failed };
    if feeds.is_empty() {
        return Ok(exit);
    }
    if args.follow {
        let groups: Vec<&str> = feeds.iter().map(|feed| feed.group.as_str()).collect();
        terminal.say(&format!("following {}; Ctrl-C ends it", groups.join(", ")));
    }

    let mut look = terminal.out;
    if !std::io::stdout().is_terminal() {
        // Whoever searches lines wants each in one piece.
        look.width = usize::MAX;
    }
    let names = feeds.iter().map(|feed| feed.function.as_str()).filter(|_| functions.len() > 1);
    let zone = if args.utc { TimeZone::UTC } else { TimeZone::system() };
    let mut journal = Journal::new(names, look).in_zone(zone);
    let (busy, idle) = if matches!(target, Target::Local(_)) { (LOCAL, LOCAL) } else { (BUSY, IDLE) };
    let mut target = target.clone();
    let mut pause = busy;
    // Only of what was there already; what follows is shown.
    let mut most = args.tail;
    loop {
        let looks = join_all(feeds.iter_mut().map(|feed| feed.tail.next(&cx)));
        let looks = tokio::select! {
            looks = telling(terminal.quiet, || cx.waits(), looks) => looks,
            // Reads change nothing, so none has to be waited for.
            () = cx.interrupt() => return Ok(Exit::Interrupted),
            settings = restarted(session, &target), if args.follow => {
                terminal.say("the local AWS was restarted; following the new one");
                cx = session.moved(&cx, &settings, &interrupt).reporting(said_once(terminal.quiet)).enduring();
                feeds.iter_mut().for_each(|feed| feed.tail = Tail::new(&feed.group, start));
                target = Target::Local(settings);
                continue;
            }
        };
        let mut news = Vec::new();
        let mut silent = Vec::new();
        for (feed, events) in feeds.iter_mut().zip(looks) {
            let events = events.map_err(|error| failed(&error))?;
            if events.as_ref().is_none_or(Vec::is_empty) && !feed.told {
                silent.push(silence(feed, events.is_some(), args));
            }
            feed.told = true;
            if let Some(at) = feed.tail.take_crowded() {
                let at = logs::moment(at);
                let text = format!("{}: AWS shows only some of the lines that were logged at {at}", feed.function);
                silent.push(text);
            }
            news.extend(lines(&cx, feed, events.unwrap_or_default(), args.raw));
        }
        pause = if news.is_empty() { idle.min(pause * 2) } else { busy };
        news.sort_by_key(|(_, event, _)| event.at);
        let entries: Vec<Entry<'_>> = news.iter().flat_map(|it| entries(it, args)).collect();
        let skipped = most.take().map_or(0, |most| entries.len().saturating_sub(most));
        let text: String = entries.iter().skip(skipped).map(|entry| printed(entry, args, &mut journal)).collect();
        // Once more, since a text that was taken apart may say what it said in another form.
        let text = cx.aws.secrets.mask(&text);
        match args.raw && args.format == ListFormat::Human {
            true => terminal.print_raw(&text),
            false => terminal.print(&text),
        }
        if let Some(filter) = args.filter.as_ref().filter(|_| text.is_empty() && silent.is_empty() && !args.follow) {
            silent.push(format!("no entry logged {} contains `{filter}`", args.period()));
        }
        silent.iter().for_each(|text| terminal.say(text));
        if !args.follow || !terminal.is_heard() {
            return Ok(exit);
        }
        // From now on a network that is gone for a while is waited for.
        cx = cx.enduring();
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = cx.interrupt() => return Ok(Exit::Interrupted),
        }
    }
}

/// Returns when another local AWS has taken the place of the one in `target`: never for AWS itself.
async fn restarted(session: &Session<'_>, target: &Target) -> LocalSettings {
    match target {
        Target::Local(settings) => session.restarted(settings).await,
        Target::Account(_) => std::future::pending().await,
    }
}

/// The functions that are meant.
fn functions<'s>(spec: &'s Spec, named: Option<&str>) -> Result<Vec<&'s Declared>, Failure> {
    let is_function = |declared: &&Declared| declared.schema().kind == "function";
    let all: Vec<&Declared> = spec.resources.iter().filter(is_function).collect();
    let names = all.iter().map(|declared| format!("`{}`", declared.name)).collect::<Vec<_>>().join(", ");
    let hint = match all.is_empty() {
        true => "the spec has no function; declare a `type: function`".to_owned(),
        false => format!("the spec's functions are {names}"),
    };
    let Some(named) = named else {
        return match all.is_empty() {
            true => {
                let diagnostic = Diagnostic::error("the spec has no function whose log could be shown");
                Err(Failure::one(diagnostic.hint("declare a `type: function`, and run `engine apply`")))
            }
            false => Ok(all),
        };
    };
    match spec.resource(named) {
        Some(declared) if is_function(&declared) => Ok(vec![declared]),
        Some(declared) => {
            let problem = format!("`{named}` is a {}, and only functions have a log", declared.schema().kind);
            Err(Failure::one(Diagnostic::error(problem).hint(hint)))
        }
        None => {
            let near = nearest(named, all.iter().map(|declared| declared.name.as_str()));
            let meant = near.map_or_else(String::new, |near| format!("did you mean `{near}`? "));
            let diagnostic = Diagnostic::error(format!("the spec has no resource `{named}`"));
            Err(Failure::one(diagnostic.hint(format!("{meant}{hint}"))))
        }
    }
}

fn failed(error: &AwsError) -> Failure {
    match error.class {
        Class::Interrupted => Failure { exit: Exit::Interrupted, diagnostics: Vec::new() },
        _ => Failure::one(error.diagnostic("read the log")),
    }
}

/// That a function does not stand where it was looked for.
fn absent(spec: &Spec, declared: &Declared, searched: &Searched) -> Diagnostic {
    let Declared { name, id, .. } = declared;
    let problem = format!("`{name}` has no log: there is no function `{}` {}", id.name, searched.place());
    let diagnostic = Diagnostic::error(problem);
    let diagnostic = match spec.place(name, &Path::default()) {
        Some(place) => diagnostic.at(place),
        None => diagnostic,
    };
    match declared.imported {
        true => diagnostic.hint(searched.elsewhere()).hint("otherwise ask whoever owns it, or import another one"),
        false => diagnostic.hint(searched.elsewhere()).hint(format!("otherwise run `{}` first", searched.apply())),
    }
}

/// Why there is nothing to show.
fn silence(feed: &Feed, has_group: bool, args: &LogsArgs) -> String {
    let Feed { function, group, .. } = feed;
    let period = args.period();
    match (has_group, args.follow) {
        (true, true) => format!("{function}: nothing was logged {period}"),
        (true, false) => format!("{function}: nothing was logged {period} (`--since 1d` looks further back)"),
        (false, _) => format!(
            "{function}: nothing was ever logged, the log group {group} does not exist. Lambda makes it at the \
             function's first call, if its role allows logs:CreateLogGroup: change an item of the table that it \
             listens to, and look again"
        ),
    }
}

/// An event of a function's log, and what it says.
type Read<'f> = (&'f str, LogEvent, Line);

/// What events say, without what must not be shown.
fn lines<'f>(cx: &Context, feed: &'f Feed, mut events: Vec<LogEvent>, raw: bool) -> Vec<Read<'f>> {
    for event in &mut events {
        event.text = cx.aws.secrets.mask(&event.text);
    }
    if !raw {
        // Stable, so that each stream keeps its order.
        events.sort_by(|a, b| a.stream.cmp(&b.stream));
        let streams = events.chunk_by(|a, b| a.stream == b.stream).map(<[LogEvent]>::to_vec);
        events = streams.flat_map(|stream| records::join(stream, |event| &mut event.text)).collect();
    }
    let read = |event: LogEvent| {
        let line = if raw { Line::raw(&event.text) } else { records::read(&event.text) };
        (feed.function.as_str(), event, line)
    };
    events.into_iter().map(read).collect()
}

/// What an event says, as far as it is asked for.
fn entries<'n>((function, event, line): &'n Read<'_>, args: &LogsArgs) -> impl Iterator<Item = Entry<'n>> {
    let LogEvent { stream, at, .. } = event;
    let said = line.said.iter().filter(|said| args.filter.as_ref().is_none_or(|text| logs::contains(said, text)));
    said.map(|said| Entry { function, at: *at, stream, request: line.request.as_deref(), said })
}

fn printed(entry: &Entry<'_>, args: &LogsArgs, journal: &mut Journal) -> String {
    match args.format {
        ListFormat::Json => format!("{}\n", logs::json(entry)),
        ListFormat::Human if args.raw => logs::raw(entry),
        ListFormat::Human => journal.entry(entry),
    }
}
