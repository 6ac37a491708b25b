//! `engine logs`: shows what a spec's functions have logged.
//!
//! **Invariant:** it only reads.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::path::{Component, Path as FilePath, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use futures_util::future::join_all;
use jiff::tz::TimeZone;
use tokio::sync::watch;

use crate::aws::{Access, AwsError, Class, Context, LocalSettings};
use crate::diagnostic::{Diagnostic, nearest};
use crate::inventory::Searched;
use crate::kinds::default_log_group;
use crate::live;
use crate::logs::{Line, LogEvent, RetryPolicy, Tail, join, read};
use crate::plan::Options;
use crate::render::logs::{self, Entry, Journal};
use crate::schema::Site;
use crate::spec::{Declared, Depth, Spec};
use crate::value::{Path, Value};

use super::names;
use super::session::{self, Session, Target};
use super::terminal::{Failure, Terminal, said_once, telling};
use super::usage::{self, Moment};
use super::{Exit, Global, ListFormat, NamedSpecArgs, SpecArgs, WhenStopped, on_runtime};

/// The interval between two polls of AWS while there are new events. It doubles with each poll that finds none, up to
/// [`IDLE`]: all followers in an account share its 5 to 10 calls a second.
const BUSY: Duration = Duration::from_millis(500);
const IDLE: Duration = Duration::from_secs(4);
/// The interval between two polls of the local AWS, which has no rate limit.
const LOCAL: Duration = Duration::from_millis(50);
/// How long the log waits for the settings of a mapping, which are only a detail.
const DETAIL: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(super) struct LogsArgs {
    /// A function's name in the spec. Defaults to all functions, each line with its function's name in front
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

/// The log of one function.
struct Feed {
    /// The function's name in the spec.
    function: String,
    group: String,
    tail: Tail,
    /// Whether it had events, or the reason that there are none has been shown.
    told: bool,
    /// Where the function's code is in the project, if it is there: a folder, or one file.
    code: Option<PathBuf>,
}

impl Feed {
    fn new(spec: &Spec, declared: &Declared, group: String, tail: Tail) -> Feed {
        let code = match declared.desired.get("code") {
            Some(Value::Map(code)) => code.get("path").and_then(Value::as_str),
            code => code.and_then(Value::as_str),
        };
        let folder = FilePath::new(spec.file.name()).parent().map(FilePath::to_owned).unwrap_or_default();
        let code = code.map(|code| plain(&folder.join(code)));
        Feed { function: declared.name.clone(), group, tail, told: false, code }
    }

    /// The project's file for a path below the folder of the function's code.
    fn locate(&self, path: &str) -> Option<String> {
        let code = self.code.as_ref()?;
        let is_it = |file: &PathBuf| file.is_file();
        let itself = || Some(code.clone()).filter(|code| code.file_name().is_some_and(|name| name == path));
        let file = Some(code.join(path)).filter(is_it).or_else(|| itself().filter(is_it))?;
        let here = std::env::current_dir().ok();
        let file = here.and_then(|here| file.strip_prefix(here).ok().map(FilePath::to_owned)).unwrap_or(file);
        Some(file.display().to_string())
    }
}

/// A path without `.` and without what `..` takes back.
fn plain(path: &FilePath) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match (part, plain.components().next_back()) {
            (Component::CurDir, _) => {}
            (Component::ParentDir, Some(Component::Normal(_))) => {
                plain.pop();
            }
            (part, _) => plain.push(part),
        }
    }
    plain
}

impl LogsArgs {
    /// The requested period in words.
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

    /// Whether entries are parsed, folded and labeled.
    fn for_people(&self) -> bool {
        self.format == ListFormat::Human && !self.raw
    }

    /// Start and end in milliseconds since 1970.
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
                // Its live configuration decides, and it may differ from the spec.
                let shown = live.props.get("log_group").or(declared.desired.get("log_group"));
                let group = shown.and_then(Value::as_str).map(str::to_owned);
                let group = group.unwrap_or_else(|| default_log_group(&declared.id.name));
                let tail = Tail::new(&group, start).until(end);
                feeds.push(Feed::new(spec, declared, group, tail));
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
        terminal.say(&format!("following {}; press Ctrl-C to stop", groups.join(", ")));
    }

    let mut look = terminal.out;
    if !std::io::stdout().is_terminal() {
        // Tools that search lines need each in one piece.
        look.width = usize::MAX;
    }
    let names = feeds.iter().map(|feed| feed.function.as_str()).filter(|_| functions.len() > 1);
    let zone = if args.utc { TimeZone::UTC } else { TimeZone::system() };
    let mut journal = Journal::new(names, look).in_zone(zone);
    let (busy, idle) = if matches!(target, Target::Local(_)) { (LOCAL, LOCAL) } else { (BUSY, IDLE) };
    let mut target = target.clone();
    let mut pause = busy;
    // By function: what its mapping does with a batch that fails, once that was asked for.
    let mut policies = HashMap::new();
    // It limits what exists at the start; new entries are always shown.
    let mut most = args.tail;
    loop {
        let looks = join_all(feeds.iter_mut().map(|feed| feed.tail.next(&cx)));
        let looks = tokio::select! {
            looks = telling(terminal.quiet, || cx.waits(), looks) => looks,
            // Reads change nothing, so they can be dropped.
            () = cx.interrupt() => return Ok(Exit::Interrupted),
            settings = restarted(session, &target), if args.follow => {
                terminal.say("the local AWS was restarted; following the new one");
                cx = session.moved(&cx, &settings, &interrupt).reporting(said_once(terminal.quiet)).riding_out_outages();
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
                let text = format!("{}: AWS returns only some of the events logged at {at}", feed.function);
                silent.push(text);
            }
            news.extend(lines(&cx, feed, events.unwrap_or_default(), args));
        }
        pause = if news.is_empty() { idle.min(pause * 2) } else { busy };
        news.sort_by_key(|(_, event, _)| event.at);
        let entries: Vec<Entry<'_>> = news.iter().flat_map(|it| entries(it, args)).collect();
        let most = most.take();
        let text = match args.for_people() {
            true => rows(session, &cx, &mut journal, entries, most, &mut policies).await,
            false => entries.iter().skip(skipped(most, entries.len())).map(|entry| printed(entry, args)).collect(),
        };
        // Once more: a parsed text may show a secret in a form that wasn't in the event.
        let text = cx.aws.secrets.mask(&text);
        match args.raw && args.format == ListFormat::Human {
            true => terminal.print_raw(&text),
            false => terminal.print(&text),
        }
        if let Some(filter) = args.filter.as_ref().filter(|_| text.is_empty() && silent.is_empty() && !args.follow) {
            silent.push(format!("no entry {} contains `{filter}`", args.period()));
        }
        silent.iter().for_each(|text| terminal.say(text));
        if !args.follow || !terminal.is_heard() {
            return Ok(exit);
        }
        // From now on it waits for a network that is down.
        cx = cx.riding_out_outages();
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = cx.interrupt() => return Ok(Exit::Interrupted),
        }
    }
}

/// Returns when another local AWS has replaced the one in `target`; never for AWS itself.
async fn restarted(session: &Session<'_>, target: &Target) -> LocalSettings {
    match target {
        Target::Local(settings) => session.restarted(settings).await,
        Target::Account(_) => std::future::pending().await,
    }
}

/// The functions to show: all, or the named one.
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
                let problem = "the spec has no function, so there is no log to show";
                let hint = "declare a `type: function` and run `engine apply`";
                Err(Failure::one(Diagnostic::error(problem, hint)))
            }
            false => Ok(all),
        };
    };
    match spec.resource(named) {
        Some(declared) if is_function(&declared) => Ok(vec![declared]),
        Some(declared) => {
            let problem = format!("`{named}` is a {}; only functions have a log", declared.schema().kind);
            Err(Failure::one(Diagnostic::error(problem, hint)))
        }
        None => {
            let near = nearest(named, all.iter().map(|declared| declared.name.as_str()));
            let meant = near.map_or_else(String::new, |near| format!("did you mean `{near}`? "));
            let problem = format!("the spec has no resource `{named}`");
            Err(Failure::one(Diagnostic::error(problem, format!("{meant}{hint}"))))
        }
    }
}

fn failed(error: &AwsError) -> Failure {
    match error.class {
        Class::Interrupted => Failure { exit: Exit::Interrupted, diagnostics: Vec::new() },
        _ => Failure::one(error.diagnostic("read the log")),
    }
}

/// The error for a function that doesn't exist where it was searched.
fn absent(spec: &Spec, declared: &Declared, searched: &Searched) -> Diagnostic {
    let Declared { name, id, .. } = declared;
    let problem = format!("`{name}` has no log: there is no function `{}` {}", id.name, searched.place());
    let diagnostic = Diagnostic::error(problem, searched.elsewhere());
    let diagnostic = match spec.place(name, &Path::default()) {
        Some(place) => diagnostic.at(place),
        None => diagnostic,
    };
    match declared.imported {
        true => diagnostic.hint("otherwise ask its owner, or import another function"),
        false => diagnostic.hint(format!("otherwise run `{}` first", searched.apply())),
    }
}

/// Why there are no entries.
fn silence(feed: &Feed, has_group: bool, args: &LogsArgs) -> String {
    let Feed { function, group, .. } = feed;
    let period = args.period();
    match (has_group, args.follow) {
        (true, true) => format!("{function}: nothing was logged {period}"),
        (true, false) => format!("{function}: nothing was logged {period} (use `--since 1d` for the last day)"),
        (false, _) => format!(
            "{function}: nothing was ever logged: the log group {group} doesn't exist. Lambda creates it when it first \
             invokes the function, if the function's role allows logs:CreateLogGroup. Change an item of the function's \
             table, then run the command again"
        ),
    }
}

/// The function, an event of its log, and the parsed event.
type Read<'f> = (&'f str, LogEvent, Line);

/// Parses events, with secrets masked.
fn lines<'f>(cx: &Context, feed: &'f Feed, mut events: Vec<LogEvent>, args: &LogsArgs) -> Vec<Read<'f>> {
    for event in &mut events {
        event.text = cx.aws.secrets.mask(&event.text);
    }
    if !args.raw {
        // Stable, so that each stream keeps its order.
        events.sort_by(|a, b| a.stream.cmp(&b.stream));
        let streams = events.chunk_by(|a, b| a.stream == b.stream).map(<[LogEvent]>::to_vec);
        events = streams.flat_map(|stream| join(stream, |event| &mut event.text)).collect();
    }
    let mut lines: Vec<Read<'f>> = Vec::with_capacity(events.len());
    for event in events {
        let mut line = if args.raw { Line::raw(&event.text) } else { read(&event.text) };
        if args.for_people() {
            line = line.with_own_frames(&|path| feed.locate(path));
            // An execution environment has one invocation at a time, and one stream.
            let before = lines.last().filter(|(_, before, _)| before.stream == event.stream);
            line.request = line.request.or_else(|| before?.2.request.clone());
        }
        lines.push((feed.function.as_str(), event, line));
    }
    lines
}

/// The requested entries of an event.
fn entries<'n>((function, event, line): &'n Read<'_>, args: &LogsArgs) -> impl Iterator<Item = Entry<'n>> {
    let LogEvent { stream, at, .. } = event;
    let said = line.said.iter().filter(|said| args.filter.as_ref().is_none_or(|text| logs::contains(said, text)));
    said.map(|said| Entry { function, at: *at, stream, request: line.request.as_deref(), said })
}

/// How many entries come before the last `most`.
fn skipped(most: Option<usize>, n_entries: usize) -> usize {
    most.map_or(0, |most| n_entries.saturating_sub(most))
}

/// Entries for people. Where an error repeats, it asks once for each function what its mapping does.
async fn rows(
    session: &Session<'_>,
    cx: &Context,
    journal: &mut Journal,
    entries: Vec<Entry<'_>>,
    most: Option<usize>,
    policies: &mut HashMap<String, Option<String>>,
) -> String {
    let rows = journal.fold(entries);
    let mut text = String::new();
    for row in rows.iter().skip(skipped(most, rows.len())) {
        let function = row.entry.function;
        if row.times > 1 && !policies.contains_key(function) {
            let policy = tokio::time::timeout(DETAIL, RetryPolicy::of(cx, &session.spec, function)).await;
            policies.insert(function.to_owned(), policy.ok().flatten().and_then(|policy| policy.words()));
        }
        let next = policies.get(function).and_then(Option::as_deref);
        text.push_str(&journal.row(row, next));
    }
    text
}

fn printed(entry: &Entry<'_>, args: &LogsArgs) -> String {
    match args.format {
        ListFormat::Json => format!("{}\n", logs::json(entry)),
        ListFormat::Human => logs::raw(entry),
    }
}
