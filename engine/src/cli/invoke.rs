//! `engine invoke`: invokes a function of the spec and shows its result and log.
//!
//! **Invariant:** the result goes to stdout, the log and everything else to stderr.

use std::path::{Path as FilePath, PathBuf};

use clap::{Args, ValueEnum};
use tokio::sync::watch;

use crate::aws::Access;
use crate::aws::wait::Detail;
use crate::diagnostic::{Diagnostic, listed, nearest};
use crate::invoke::{self, Invocation, MAX_EVENT, RecordSource};
use crate::live;
use crate::logs::EventName;
use crate::operation::Effect;
use crate::plan::Options;
use crate::remedy::Advice;
use crate::render::invoked;
use crate::schema::{AwsEnv, Live};
use crate::spec::{Depth, ResourceDecl, Spec};
use crate::value::{Path, Value};
use crate::wait;

use super::CommandContext;
use super::args::{NamedSpecArgs, OutputFormat, SpecArgs, WhenStopped};
use super::exit::{CommandError, Exit};
use super::interrupt::on_runtime;
use super::json_input::JsonInput;
use super::names;
use super::session::{self, Session};
use super::terminal::{report_waits_once, with_wait_notice};

/// Invoke a function and show its result, log and duration
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  engine invoke logger --local                   with an INSERT record of its table, or with {}
  engine invoke logger --record modify --local   with another change
  engine invoke logger -d '{\"Records\": []}' --local
                                                 with this event
  engine invoke logger --json --local            for scripts")]
pub(super) struct InvokeArgs {
    /// The function's name in the spec
    #[arg(value_name = "FUNCTION")]
    function: String,
    /// Use the JSON in this file as the event; `-` reads stdin
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["data", "record"])]
    event: Option<PathBuf>,
    /// Use this JSON as the event
    #[arg(short, long, value_name = "JSON", conflicts_with = "record")]
    data: Option<String>,
    /// Use a stream record of the function's table as the event. Defaults to insert for a function
    /// that a mapping connects to a table
    #[arg(long, value_enum, value_name = "CHANGE")]
    record: Option<RecordKind>,
    /// Also invoke this imported function
    #[arg(long, value_name = "NAME")]
    allow_imported: Vec<String>,
    #[command(flatten)]
    spec: NamedSpecArgs,
    /// Output format
    #[arg(long, value_enum, default_value_t = OutputFormat::Human)]
    format: OutputFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RecordKind {
    /// A new item
    Insert,
    /// An updated item
    Modify,
    /// A deleted item
    Remove,
}

impl From<RecordKind> for EventName {
    fn from(kind: RecordKind) -> EventName {
        match kind {
            RecordKind::Insert => EventName::Insert,
            RecordKind::Modify => EventName::Modify,
            RecordKind::Remove => EventName::Remove,
        }
    }
}

pub(super) fn run(cx: &CommandContext<'_>, args: InvokeArgs) -> Result<Exit, CommandError> {
    let name = Some(args.function.as_str());
    names::reject_spec_path(name, |path| format!("engine invoke FUNCTION --spec {path}"))?;
    let event = match (&args.event, &args.data) {
        (Some(path), _) => Some(JsonInput::file(path, MAX_EVENT)?),
        (None, Some(data)) => Some(JsonInput::argument(data, MAX_EVENT)?),
        (None, None) => None,
    };
    let spec = SpecArgs { when_stopped: WhenStopped::Fail, ..SpecArgs::from(&args.spec) };
    let check = names::check_name(name, |spec, _| Invoked::new(spec, &args).map(drop));
    let sessions = session::open_checked(cx, &spec, &Options::default(), Depth::Identities, check)?;
    let Some(session) = sessions.into_iter().next() else { return Ok(Exit::Done) };
    let call = Invoked::new(&session.spec, &args)?;
    on_runtime(async |interrupt| call.run(&session, event.as_ref(), args.format, interrupt).await.map(|(exit, _)| exit))
}

/// Invokes a function of a session with the event in a file, or with the last one, or with the
/// default; returns the event.
pub(super) async fn by_key(
    session: &Session<'_>,
    name: &str,
    file: Option<&FilePath>,
    last: Option<&str>,
    interrupt: watch::Receiver<bool>,
) -> Result<String, CommandError> {
    let event = match (file, last) {
        (Some(file), _) => Some(JsonInput::file(file, MAX_EVENT)?),
        (None, Some(last)) => Some(JsonInput::argument(last, MAX_EVENT)?),
        (None, None) => None,
    };
    let spec = &session.spec;
    let function = spec.resource(name).ok_or_else(CommandError::interrupted)?;
    let table = names::table_behind(spec, function).filter(|_| event.is_none());
    let record = table.map(|table| (EventName::Insert, table));
    let call = Invoked { function, record, shows_log: false };
    call.run(session, event.as_ref(), OutputFormat::Human, interrupt).await.map(|(_, event)| event)
}

/// The function of one command, and the record that it gets without an event.
struct Invoked<'s> {
    function: &'s ResourceDecl,
    record: Option<(EventName, &'s ResourceDecl)>,
    /// Whether the log is shown, which may be followed anyway.
    shows_log: bool,
}

impl<'s> Invoked<'s> {
    /// Checks the arguments against the spec.
    fn new(spec: &'s Spec, args: &InvokeArgs) -> Result<Invoked<'s>, CommandError> {
        let function = function(spec, args)?;
        let table = names::table_behind(spec, function);
        let has_event = args.event.is_some() || args.data.is_some();
        let record = match (args.record, table) {
            (Some(kind), Some(table)) => Some((kind.into(), table)),
            (None, Some(table)) if !has_event => Some((EventName::Insert, table)),
            (Some(_), None) => {
                let problem = format!("no mapping of the spec connects `{}` to a table of the spec", function.name);
                let hint = "leave out `--record`, and pass an event: `-d JSON` or `-e FILE`";
                return Err(CommandError::one(at(spec, function, Diagnostic::error(problem, hint))));
            }
            _ => None,
        };
        Ok(Invoked { function, record, shows_log: true })
    }

    /// Returns how the command ends, and the event.
    async fn run(
        &self,
        session: &Session<'_>,
        event: Option<&JsonInput>,
        format: OutputFormat,
        interrupt: watch::Receiver<bool>,
    ) -> Result<(Exit, String), CommandError> {
        let Invoked { function, record, .. } = self;
        let (spec, terminal) = (&session.spec, session.terminal);
        let access = Access::Single {
            team: spec.team.clone(),
            owns: spec.owns.clone(),
            effect: Effect::Invoke,
            kind: "function",
            name: function.id.name.clone(),
            allow_imported: function.imported,
        };
        let (cx, account) = session.reader(access, &interrupt).await?;
        let cx = cx.reporting(report_waits_once(terminal.quiet));
        live::in_account(spec, &account).map_err(|error| CommandError::of_call(&error, "use the account"))?;
        let env = AwsEnv::new(&cx.aws.region, &account);
        if function.imported {
            cx.aws.guard.observe_import("function", &function.id.name);
        }
        // Only owners, the function's timeout and the table's stream matter.
        let reader = cx.with_detail(Detail::ForDelete);
        let reads = async {
            let table = async {
                let Some((change, table)) = record else { return Ok(None) };
                let live = read(&reader, session, table, &env).await?;
                source(spec, table, &live).map(|source| Some((*change, *table, source)))
            };
            futures_util::future::try_join(read(&reader, session, function, &env), table).await
        };
        let (live, record) = with_wait_notice(terminal.quiet, || cx.waits(), reads).await?;
        invoke::check_owner(spec, function, &live).map_err(|it| CommandError::one(at(spec, function, it)))?;
        self.check_concurrency(spec, &live)?;
        let (event, what) = match (event, record) {
            (Some(event), _) => (event.json().get().to_owned(), "the event".to_owned()),
            (None, Some((change, table, source))) => {
                let what = format!("a stream record of `{}` ({})", table.name, change.word());
                (source.event(change, &env.region).to_string(), what)
            }
            (None, None) => ("{}".to_owned(), "the event {}".to_owned()),
        };
        terminal.note(&format!("invoking {} with {what}", function.id.name));
        let invocation = invoke::invoke(&cx, &function.id.name, &live, &event);
        let invocation = tokio::select! {
            invocation = with_wait_notice(terminal.quiet, || cx.waits(), invocation) => invocation,
            () = cx.interrupt() => {
                terminal.note("interrupted; the function may still be running");
                return Err(CommandError::interrupted());
            }
        };
        let invocation =
            invocation.map_err(|error| CommandError::of_call(&error, &format!("invoke `{}`", function.name)))?;
        self.show(session, &env, &event, &invocation, format);
        Ok((if invocation.error.is_some() { Exit::Failed } else { Exit::Done }, event))
    }

    /// Checks that Lambda may run it at all: otherwise it throttles each invocation.
    fn check_concurrency(&self, spec: &Spec, live: &Live) -> Result<(), CommandError> {
        let reserved = live.props.get("reserved_concurrent_executions");
        if reserved != Some(&Value::Number(0.into())) {
            return Ok(());
        }
        let problem = format!("Lambda can't run `{}`: its reserved concurrency is 0", self.function.name);
        let hint = match self.function.imported {
            true => "ask its owner to raise its reserved concurrency",
            false => "set `reserved_concurrent_executions` to more than 0, or remove it, and run `engine apply`",
        };
        let why = "Lambda throttles each invocation of it, so nothing was invoked";
        Err(CommandError::one(at(spec, self.function, Diagnostic::error(problem, hint).why(why))))
    }

    fn show(&self, session: &Session<'_>, env: &AwsEnv, event: &str, invocation: &Invocation, format: OutputFormat) {
        let (Session { spec, terminal, .. }, Invoked { function, .. }) = (session, self);
        let names = (function.name.as_str(), function.id.name.as_str());
        if format == OutputFormat::Json {
            terminal.print(&format!("{}\n", invoked::json(spec, env, names, event, invocation)));
        } else {
            if self.shows_log {
                invoked::log(invocation, terminal.err).iter().for_each(|line| terminal.note(line));
            }
            terminal.note(&invoked::duration(invocation));
            if invocation.error.is_none() {
                terminal.print(&format!("{}\n", invocation.payload));
            }
        }
        if let Some(failure) = invoked::failure(&function.name, invocation) {
            terminal.problems(&[at(spec, function, failure)]);
        }
    }
}

/// The function to invoke.
fn function<'s>(spec: &'s Spec, args: &InvokeArgs) -> Result<&'s ResourceDecl, CommandError> {
    let name = args.function.as_str();
    let functions = || spec.resources.iter().filter(|it| it.schema().kind == "function");
    let known = listed(functions().map(|it| it.name.as_str()), 10);
    let hint =
        if known.is_empty() { "declare a `type: function`".to_owned() } else { format!("the functions are {known}") };
    for allowed in &args.allow_imported {
        if !functions().any(|it| it.imported && it.name == *allowed) {
            let problem = format!("`--allow-imported {allowed}`: the spec imports no such function");
            return Err(CommandError::one(Diagnostic::error(problem, "leave it out, or name an imported function")));
        }
    }
    let problem = match spec.resource(name) {
        Some(function) if function.schema().kind != "function" => {
            format!("`{name}` is a {}, and only functions can be invoked", function.schema().kind)
        }
        Some(function) if function.imported && !args.allow_imported.iter().any(|it| it == name) => {
            let problem = format!("`{name}` is imported, so this stack doesn't own it");
            let hint = format!("add `--allow-imported {name}` if its owner agrees");
            return Err(CommandError::one(at(spec, function, Diagnostic::error(problem, hint))));
        }
        Some(function) => return Ok(function),
        None => format!("the spec has no resource `{name}`"),
    };
    let near = nearest(name, functions().map(|it| it.name.as_str()));
    let near = near.map_or_else(String::new, |near| format!("did you mean `{near}`? "));
    Err(CommandError::one(Diagnostic::error(problem, format!("{near}{hint}"))))
}

fn at(spec: &Spec, declared: &ResourceDecl, diagnostic: Diagnostic) -> Diagnostic {
    match spec.location(&declared.name, &Path::default()) {
        Some(location) => diagnostic.at(location),
        None => diagnostic,
    }
}

/// Reads a resource, which must exist.
async fn read(
    cx: &wait::Context,
    session: &Session<'_>,
    declared: &ResourceDecl,
    env: &AwsEnv,
) -> Result<Live, CommandError> {
    let live = live::read_again(cx, declared).await;
    live.map_err(|error| CommandError::of_call(&error, &format!("read `{}`", declared.name)))?.ok_or_else(|| {
        let scope = names::search_scope(&session.target, env);
        let (kind, name) = (&declared.schema().kind, &declared.id.name);
        let problem = format!("`{}` can't be used: there is no {kind} `{name}` {}", declared.name, scope.location());
        let diagnostic = at(&session.spec, declared, Diagnostic::error(problem, scope.elsewhere()));
        CommandError::one(diagnostic.hint(Advice::from("otherwise run ").then(scope.apply()).then(" first")))
    })
}

/// The table of a record, which must have a stream.
fn source(spec: &Spec, table: &ResourceDecl, live: &Live) -> Result<RecordSource, CommandError> {
    RecordSource::new(table, live).ok_or_else(|| {
        let problem = format!("`{}` has no stream, so there are no records of it", table.name);
        let hint = "run `engine apply` if the spec enables it, or pass an event: `-d JSON` or `-e FILE`";
        CommandError::one(at(spec, table, Diagnostic::error(problem, hint)))
    })
}
