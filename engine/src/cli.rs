//! The command line: what can be asked, and one function for each command.
//!
//! Each command loads, reads, plans, shows and applies; how that is done stands in the modules below.
//!
//! **Invariant:** data goes to stdout, everything else to stderr, and every way out has one of the documented exit codes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anstream::{AutoStream, ColorChoice};
use clap::{Args, Parser, Subcommand, ValueEnum};
use tokio::sync::watch;

use crate::apply::{self, Ending};
use crate::aws::{Access, Aws, AwsError, Class, Consent, Context, LocalSettings, Reporter, Settings};
use crate::diagnostic::{self, Diagnostic};
use crate::inventory::Inventory;
use crate::live::{self, ReadError};
use crate::local::{self, LocalError, Project, Running, SuperviseArgs, standin};
use crate::plan::{self, Action, Allowed, Change, Goal, Plan};
use crate::render::markdown::{self, Page};
use crate::render::{self, Look, Progress, Rows};
use crate::schema::{Id, Live, Site};
use crate::spec::{Depth, Overrides, Spec};

/// The account of the local AWS, where the spec names none.
const LOCAL_ACCOUNT: &str = "000000000001";
/// The region of the local AWS, where neither spec nor flag name one.
const LOCAL_REGION: &str = "eu-central-1";
/// Taken where no spec is named.
const USUAL_SPEC: &str = "specs/team.yaml";

const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 failed, refused or answered no; 2 changes pending (diff --detailed-exitcode);
3 applied in part; 64 bad usage; 130 interrupted.";

/// Makes AWS match a YAML file: a table, its stream, a function, and what connects them. No state file: the spec says
/// what should be, AWS says what is.
#[derive(Debug, Parser)]
#[command(name = "engine", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Global {
    /// Run against a local AWS on this machine instead of the account: no credentials, no Docker
    #[arg(long, global = true, env = "ENGINE_LOCAL", value_parser = clap::builder::FalseyValueParser::new(),
          conflicts_with_all = ["profile", "endpoint_url"], hide_env = true)]
    local: bool,
    /// The profile of ~/.aws/config to use
    #[arg(long, global = true, value_name = "NAME")]
    profile: Option<String>,
    /// The region, instead of the spec's
    #[arg(long, global = true, value_name = "REGION")]
    region: Option<String>,
    /// Another address for all AWS services
    #[arg(long, global = true, value_name = "URL", value_parser = url)]
    endpoint_url: Option<String>,
    /// When to use colours (NO_COLOR is obeyed)
    #[arg(long, global = true, value_enum, default_value_t = Colour::Auto, value_name = "WHEN")]
    color: Colour,
    /// Log every call to AWS; twice: more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Print results and errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// How log lines on stderr look
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Colour {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Human,
    Json,
    /// For a pull request's comment, at most 60,000 characters
    Markdown,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the plan and carry it out
    #[command(
        alias = "deploy",
        after_help = "\
Examples:
  engine apply specs/team.yaml --local   try it on this machine, without an account
  engine apply specs/team.yaml           on AWS"
    )]
    Apply(ApplyArgs),
    /// Show what `apply` would do, without doing it
    #[command(
        alias = "plan",
        after_help = "\
Examples:
  engine diff                       the plan for specs/team.yaml
  engine diff --detailed-exitcode   exit code 2 if something would change
  engine diff --destroy             what `destroy` would do"
    )]
    Diff(DiffArgs),
    /// Delete what the spec names, dependents first
    #[command(after_help = "\
Examples:
  engine destroy                          asks first
  engine destroy --yes --delete-data      also a table that is not empty")]
    Destroy(DestroyArgs),
    /// Control the local AWS of this project
    Local {
        #[command(subcommand)]
        command: LocalCommand,
    },
}

#[derive(Debug, Args)]
struct SpecArgs {
    /// The spec; without it specs/team.yaml, or else the only YAML file in specs/
    #[arg(value_name = "SPEC")]
    spec: Option<PathBuf>,
    /// The team, instead of the spec's
    #[arg(long, value_name = "TEAM")]
    team: Option<String>,
    /// A value for `${var.NAME}`; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    var: Vec<(String, String)>,
    /// Believe names where tags may not be read
    #[arg(long)]
    assume_owner: bool,
    /// Also list what stays as it is
    #[arg(long)]
    show_unchanged: bool,
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Go ahead without asking
    #[arg(short, long)]
    yes: bool,
    /// Also delete tables that are not empty
    #[arg(long)]
    delete_data: bool,
    /// How many steps may be in work at once
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256))]
    parallelism: u16,
}

#[derive(Debug, Args)]
struct ApplyArgs {
    #[command(flatten)]
    spec: SpecArgs,
    #[command(flatten)]
    run: RunArgs,
    /// How the plan and its outcome are printed
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Debug, Args)]
struct DiffArgs {
    #[command(flatten)]
    spec: SpecArgs,
    /// Exit with 2 if something would change
    #[arg(long)]
    detailed_exitcode: bool,
    /// Show what `destroy` would do
    #[arg(long)]
    destroy: bool,
    /// How the plan is printed
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Debug, Args)]
struct DestroyArgs {
    #[command(flatten)]
    spec: SpecArgs,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Subcommand)]
enum LocalCommand {
    /// Start it, or say where it runs
    Start,
    /// Stop it; what is deployed there is gone
    Stop,
    /// Say whether and where it runs
    Status,
    /// Empty it: all accounts, all regions
    Reset,
    #[command(hide = true)]
    Supervise(SuperviseArgs),
}

/// How a run ended, as the documented exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Failed, refused, or answered no.
    Failed = 1,
    /// Something would change (`diff --detailed-exitcode`).
    Pending = 2,
    /// Applied in part.
    Partial = 3,
    /// Bad usage.
    Usage = 64,
    /// Interrupted.
    Interrupted = 130,
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn url(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    match host {
        Some(host) if !host.is_empty() && !text.contains(char::is_whitespace) => Ok(text.to_owned()),
        _ => Err("write it as http://HOST:PORT or https://HOST".to_owned()),
    }
}

/// Runs the command line `args`, and returns how it ended.
pub fn run(args: impl IntoIterator<Item = std::ffi::OsString>) -> Exit {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing can be done where even this can't be printed.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Done };
        }
    };
    start_log(&cli.global);
    // The local AWS blocks and brings its own runtime, so it comes before ours.
    let Cli { global, command } = cli;
    let terminal = Terminal::new(&global);
    let result = match command {
        Command::Local { command } => local_command(&terminal, command),
        Command::Apply(args) => Session::open(&global, &terminal, &args.spec, Depth::Full).and_then(|session| {
            session.run(|session, interrupt| apply_command(session, Goal::Present, &args.run, args.format, interrupt))
        }),
        Command::Diff(args) => {
            let depth = if args.destroy { Depth::Identities } else { Depth::Full };
            Session::open(&global, &terminal, &args.spec, depth)
                .and_then(|session| session.run(|session, interrupt| diff_command(session, &args, interrupt)))
        }
        Command::Destroy(args) => {
            Session::open(&global, &terminal, &args.spec, Depth::Identities).and_then(|session| {
                session
                    .run(|session, interrupt| apply_command(session, Goal::Absent, &args.run, Format::Human, interrupt))
            })
        }
    };
    match result {
        Ok(exit) => exit,
        Err(failure) => {
            terminal.problems(&failure.diagnostics);
            failure.exit
        }
    }
}

/// Why a command ended early.
struct Failure {
    exit: Exit,
    diagnostics: Vec<Diagnostic>,
}

impl Failure {
    fn one(diagnostic: Diagnostic) -> Failure {
        Failure { exit: Exit::Failed, diagnostics: vec![diagnostic] }
    }
}

impl From<LocalError> for Failure {
    fn from(error: LocalError) -> Failure {
        let mut diagnostic = Diagnostic::error(error.problem());
        diagnostic.why = error.why();
        diagnostic.hints.extend(error.hint());
        Failure::one(diagnostic)
    }
}

/// Where output goes, and how it may look there.
struct Terminal {
    out: Look,
    err: Look,
    quiet: bool,
    live: bool,
}

impl Terminal {
    fn new(global: &Global) -> Terminal {
        let choice = match global.color {
            Colour::Auto => ColorChoice::Auto,
            Colour::Always => ColorChoice::Always,
            Colour::Never => ColorChoice::Never,
        };
        choice.write_global();
        let width = terminal_size::terminal_size().map_or(80, |(width, _)| usize::from(width.0)).max(40);
        let colour = |choice: ColorChoice| choice != ColorChoice::Never;
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Terminal {
            out: Look { colour: colour(AutoStream::choice(&std::io::stdout())), width },
            err: Look { colour: colour(AutoStream::choice(&std::io::stderr())), width },
            quiet: global.quiet,
            // Log lines and redrawn lines would tear each other apart.
            live: std::io::stderr().is_terminal() && !dumb && global.verbose == 0,
        }
    }

    /// Data, on stdout.
    fn print(&self, text: &str) {
        // Whoever closed the pipe (`| head`) has seen enough.
        let _ = std::io::stdout().write_all(text.as_bytes()).and_then(|()| std::io::stdout().flush());
    }

    /// A line for people, on stderr.
    fn say(&self, text: &str) {
        if !self.quiet {
            // A terminal that went away is no reason to stop working.
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }

    fn problems(&self, diagnostics: &[Diagnostic]) {
        let style = if self.err.colour { diagnostic::Style::Ansi } else { diagnostic::Style::Plain };
        let _ = write!(std::io::stderr(), "{}", diagnostic::render(diagnostics, style, self.err.width));
    }

    /// Whether somebody can be asked.
    fn can_ask() -> bool {
        std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }
}

fn start_log(global: &Global) {
    use tracing_subscriber::EnvFilter;
    // Only our own lines: the SDK's may hold what must not be shown.
    let filter = match (global.quiet, global.verbose) {
        (true, _) => "engine=error",
        (_, 0) => "engine=warn",
        (_, 1) => "engine=debug",
        _ => "engine=trace",
    };
    let builder = tracing_subscriber::fmt().with_env_filter(EnvFilter::new(filter)).with_writer(std::io::stderr);
    let builder = builder.with_ansi(AutoStream::choice(&std::io::stderr()) != ColorChoice::Never);
    match global.log_format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
}

/// A loaded spec, and how to reach AWS.
struct Session<'a> {
    terminal: &'a Terminal,
    spec: Spec,
    target: Target,
    /// What the command line overrides in the spec, for the plan's first line.
    overrides: Vec<String>,
    allowed: Allowed,
    /// Which rows of the plan are shown.
    rows: Rows,
    /// Where the project's local AWS would be.
    project: Project,
}

/// Which AWS.
enum Target {
    Account(Settings),
    Local(LocalSettings),
}

impl<'a> Session<'a> {
    /// Loads the spec, and starts the local AWS if it is wanted.
    fn open(global: &Global, terminal: &'a Terminal, args: &SpecArgs, depth: Depth) -> Result<Session<'a>, Failure> {
        let path = find_spec(args.spec.as_deref())?;
        let from_env = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.to_str()?.strip_prefix("ENGINE_VAR_")?.to_owned(), value.to_str()?.to_owned()))
        });
        let overrides = Overrides {
            team: args.team.clone(),
            vars: args.var.iter().cloned().collect(),
            region: global.region.clone(),
            env: from_env.collect::<BTreeMap<_, _>>(),
        };
        let spec =
            Spec::load(&path, &overrides, depth).map_err(|diagnostics| Failure { exit: Exit::Failed, diagnostics })?;
        terminal.problems(&spec.warnings);
        let mut notes = Vec::new();
        if args.team.is_some() {
            notes.push("team from --team".to_owned());
        }
        if global.region.is_some() {
            notes.push("region from --region".to_owned());
        }
        let project = Project::new(project_of(&path));
        let target = if global.local {
            notes.push("local AWS".to_owned());
            let running = local::ensure(&project, &mut |text| terminal.say(text))?;
            announce(terminal, &running);
            Target::Local(LocalSettings {
                endpoint_url: running.endpoint,
                account: local_account(&spec),
                region: spec.region.clone().unwrap_or_else(|| LOCAL_REGION.to_owned()),
            })
        } else {
            Target::Account(Settings {
                profile: global.profile.clone(),
                region: spec.region.clone(),
                endpoint_url: global.endpoint_url.clone(),
            })
        };
        let allowed = Allowed { assume_owner: args.assume_owner, delete_data: false };
        let rows = if args.show_unchanged { Rows::All } else { Rows::Noteworthy };
        Ok(Session { terminal, spec, target, overrides: notes, allowed, rows, project })
    }

    /// Runs `command` on a runtime that listens for Ctrl-C.
    fn run(
        self,
        command: impl AsyncFnOnce(Session<'a>, watch::Receiver<bool>) -> Result<Exit, Failure>,
    ) -> Result<Exit, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
            Failure::one(Diagnostic::error("the program can't start its runtime").why(error.to_string()))
        })?;
        let (sender, receiver) = watch::channel(false);
        let result = runtime.block_on(async {
            tokio::select! {
                result = command(self, receiver) => result,
                // Only ends at the second signal: the first one is heard through the channel.
                () = signals(sender) => Ok(Exit::Interrupted),
            }
        });
        // A prompt may still hold a thread that reads; it must not keep the program from ending.
        runtime.shutdown_background();
        result
    }

    async fn connect(&self, access: Access, goal: Goal) -> Result<Aws, Failure> {
        let aws = match &self.target {
            Target::Account(settings) => Aws::connect(settings, access).await,
            Target::Local(settings) if goal == Goal::Absent => Ok(Aws::local(settings, access)),
            Target::Local(settings) => {
                let made = standin::ensure_roles(settings, &self.spec).await.map_err(|error| aws_failure(&error))?;
                for role in made {
                    let text = format!(
                        "local AWS: made a stand-in for the imported role {role} (trust for Lambda, stream and log rights)"
                    );
                    self.terminal.say(&text);
                }
                Ok(Aws::local(settings, access))
            }
        };
        aws.map_err(|error| self.read_failure(vec![ReadError { resource: None, error }]))
    }

    /// The account where it is known before AWS is asked; it saves a round trip.
    fn account(&self) -> Option<&str> {
        match &self.target {
            Target::Account(_) => self.spec.account.as_deref(),
            Target::Local(settings) => Some(&settings.account),
        }
    }

    /// Reads AWS, and waits for owners where something is to be written.
    async fn inventory(&mut self, cx: &Context, goal: Goal, decide: bool) -> Result<Inventory, Failure> {
        let read = tokio::select! {
            read = live::read(cx, &self.spec, goal, self.account()) => read,
            // Reads change nothing, so none has to be waited for.
            () = cx.interrupt() => return Err(Failure { exit: Exit::Interrupted, diagnostics: Vec::new() }),
        };
        let mut inventory = read.map_err(|errors| self.read_failure(errors))?;
        if decide {
            for declared in self.spec.resources.iter().filter(|declared| !declared.imported) {
                let live = inventory.found.get(&declared.name).and_then(|found| found.live.as_ref());
                // It may take a minute, and nothing else has been shown by then.
                if let Some(reason) = live.and_then(Live::undecided) {
                    let wait = format!("{}: waiting, since {reason}", declared.name);
                    self.terminal.say(&wait);
                }
            }
            live::await_owners(cx, &self.spec, &mut inventory).await.map_err(|errors| self.read_failure(errors))?;
        }
        for declared in &mut self.spec.resources {
            let id =
                inventory.live(&declared.name).map_or_else(|| declared.id.clone(), |live| live::meant(declared, live));
            declared.id = Id { site: Some(inventory.site.clone()), ..id };
        }
        Ok(inventory)
    }

    fn read_failure(&self, errors: Vec<ReadError>) -> Failure {
        let interrupted = errors.iter().any(|it| it.error.class == Class::Interrupted);
        let diagnostics = errors.into_iter().map(|ReadError { resource, error }| {
            let mut diagnostic = aws_diagnostic(&error);
            if let Some(place) = resource.and_then(|name| self.spec.place(&name, &crate::value::Path::default())) {
                diagnostic = diagnostic.at(place);
            }
            if error.class == Class::NoCredentials
                && let Some(running) = self.running_local()
            {
                diagnostic = diagnostic.hint(format!(
                    "a local AWS is running for this project on port {}; `--local` uses it",
                    running.port
                ));
            }
            diagnostic
        });
        Failure { exit: if interrupted { Exit::Interrupted } else { Exit::Failed }, diagnostics: diagnostics.collect() }
    }

    /// The project's local AWS, if it runs. Asked on a thread of its own, since the answer brings its own runtime.
    fn running_local(&self) -> Option<Running> {
        let project = self.project.clone();
        std::thread::spawn(move || local::status(&project)).join().ok()?.ok()?
    }

    fn page<'s>(&'s self, site: &'s Site, destroy: bool) -> Page<'s> {
        Page { spec: &self.spec, site, notes: &self.overrides, rows: self.rows, destroy }
    }

    fn heading(&self, site: &Site) -> String {
        render::heading(&self.spec, site, &self.overrides, self.terminal.out)
    }
}

/// Where refused rows and failed steps stand in the file.
fn refusals(spec: &Spec, plan: &Plan) -> Vec<Diagnostic> {
    let refused = plan.refusals().map(|change| {
        let reason = change.reason.as_deref().unwrap_or("it can't be done");
        let diagnostic = Diagnostic::error(format!("`{}` is refused: {reason}", change.resource));
        let path = change.properties.first().map(|property| property.path.clone()).unwrap_or_default();
        let diagnostic = match spec.place(&change.resource, &path) {
            Some(place) => diagnostic.at(place),
            None => diagnostic,
        };
        match &change.hint {
            Some(hint) => diagnostic.hint(hint.clone()),
            None => diagnostic,
        }
    });
    refused.collect()
}

async fn diff_command(
    mut session: Session<'_>,
    args: &DiffArgs,
    interrupt: watch::Receiver<bool>,
) -> Result<Exit, Failure> {
    let goal = if args.destroy { Goal::Absent } else { Goal::Present };
    let aws = Arc::new(session.connect(Access::ReadOnly, goal).await?);
    let cx = Context::new(aws, Consent::default(), interrupt).reporting(said_once(session.terminal.quiet));
    let inventory = session.inventory(&cx, goal, false).await?;
    let plan = plan::plan(&session.spec, &inventory, goal, session.allowed);
    show(&session, &inventory, &plan, args.destroy, args.format);
    Ok(match () {
        () if plan.count(Action::Refused) > 0 => {
            session.terminal.problems(&refusals(&session.spec, &plan));
            Exit::Failed
        }
        // What can't be judged yet may change as well.
        () if args.detailed_exitcode && (plan.has_changes() || plan.is_undecided()) => Exit::Pending,
        () => Exit::Done,
    })
}

async fn apply_command(
    mut session: Session<'_>,
    goal: Goal,
    args: &RunArgs,
    format: Format,
    interrupt: watch::Receiver<bool>,
) -> Result<Exit, Failure> {
    let destroy = goal == Goal::Absent;
    session.allowed.delete_data = args.delete_data;
    let Allowed { assume_owner, delete_data } = session.allowed;
    let access = Access::Team { team: session.spec.team.clone(), assume_owner };
    let aws = Arc::new(session.connect(access, goal).await?);
    let cx = Context::new(aws, Consent { delete_data, assume_owner }, interrupt)
        .reporting(said_once(session.terminal.quiet));
    let inventory = session.inventory(&cx, goal, true).await?;
    let plan = plan::plan(&session.spec, &inventory, goal, session.allowed);
    if format == Format::Human {
        show(&session, &inventory, &plan, destroy, format);
    }
    let document = |status: &str, endings: &[Ending]| match format {
        Format::Human => {}
        Format::Json => {
            let json = render::outcome_json(&session.spec, &inventory.site, &plan, status, endings);
            session.terminal.print(&format!("{json}\n"));
        }
        Format::Markdown => {
            session.terminal.print(&markdown::outcome(&session.page(&inventory.site, destroy), &plan, status, endings));
        }
    };
    if plan.count(Action::Refused) > 0 {
        document("refused", &[]);
        return Err(Failure { exit: Exit::Failed, diagnostics: refusals(&session.spec, &plan) });
    }
    if plan.steps.is_empty() {
        document("complete", &[]);
        return Ok(Exit::Done);
    }
    if plan.asks() && !args.yes {
        if format != Format::Human {
            // Nobody can agree to what they can't see, and stdout is for the document.
            session.terminal.say(&render::plan(&plan, destroy, session.rows, session.terminal.err));
        }
        match confirm(&cx, destroy).await.inspect_err(|_| document("declined", &[]))? {
            Answer::Yes => {}
            Answer::No => {
                document("declined", &[]);
                session.terminal.say("Nothing was changed.");
                return Ok(Exit::Failed);
            }
            Answer::Interrupted => {
                document("interrupted", &[]);
                return Ok(Exit::Interrupted);
            }
        }
    }
    let runs_code =
        |change: &Change| change.kind == "function" && matches!(change.action, Action::Create | Action::Update);
    if matches!(session.target, Target::Local(_)) && plan.changes.iter().any(runs_code) {
        session.terminal.say("local AWS: the functions' code will run on this machine, with your rights");
    }
    let mut progress = Progress::new(session.terminal.err, session.terminal.live, session.terminal.quiet);
    let parallelism = usize::from(args.parallelism);
    let endings =
        apply::apply(&cx, &session.spec, &inventory, &plan, parallelism, &mut |event| progress.event(&plan, event))
            .await;
    drop(progress);
    let complete = endings.iter().all(|ending| matches!(ending, Ending::Done(_)));
    let (status, exit) = match () {
        () if complete => ("complete", Exit::Done),
        () if cx.interrupted() => ("interrupted", Exit::Interrupted),
        () if cx.aws.guard.n_writes() == 0 => ("failed", Exit::Failed),
        () => ("partial", Exit::Partial),
    };
    match format {
        Format::Json | Format::Markdown => document(status, &endings),
        Format::Human => {
            session.terminal.print(&format!("\n{}", render::outcome(&plan, &endings, destroy, session.terminal.out)))
        }
    }
    Ok(exit)
}

fn show(session: &Session<'_>, inventory: &Inventory, plan: &Plan, destroy: bool, format: Format) {
    let text = match format {
        Format::Json => format!("{}\n", render::plan_json(&session.spec, &inventory.site, plan)),
        Format::Markdown => markdown::plan(&session.page(&inventory.site, destroy), plan),
        Format::Human => {
            let plan = render::plan(plan, destroy, session.rows, session.terminal.out);
            format!("{}\n\n{plan}", session.heading(&inventory.site))
        }
    };
    session.terminal.print(&text);
}

/// Says on stderr what reading waits for, each thing once: until then nothing else has been shown.
fn said_once(quiet: bool) -> Reporter {
    let said: Mutex<BTreeSet<String>> = Mutex::default();
    Arc::new(move |what: &str| {
        if !quiet && said.lock().unwrap_or_else(PoisonError::into_inner).insert(what.to_owned()) {
            // A terminal that went away is no reason to stop working.
            let _ = writeln!(std::io::stderr(), "waiting for {what}...");
        }
    })
}

enum Answer {
    Yes,
    No,
    Interrupted,
}

async fn confirm(cx: &Context, destroy: bool) -> Result<Answer, Failure> {
    if !Terminal::can_ask() {
        let what = if destroy { "destroying" } else { "this plan destroys, replaces or takes over something, which" };
        let diagnostic = Diagnostic::error(format!("{what} needs an answer, and there is no terminal to ask on"));
        return Err(Failure::one(diagnostic.why("nothing was changed").hint("look at the plan, then add --yes")));
    }
    let question =
        if destroy { "Do you really want to destroy this?" } else { "Do you want to perform these actions?" };
    let _ = write!(std::io::stderr(), "\n{question} Only 'yes' will be accepted: ");
    let answer = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).map(|_| line)
    });
    tokio::select! {
        line = answer => match line {
            Ok(Ok(line)) if line.trim() == "yes" => Ok(Answer::Yes),
            _ => Ok(Answer::No),
        },
        () = cx.interrupt() => {
            let _ = writeln!(std::io::stderr(), "\ninterrupted; nothing was changed");
            Ok(Answer::Interrupted)
        }
    }
}

/// Ends at the second Ctrl-C or TERM; the first one is told through `sender`.
async fn signals(sender: watch::Sender<bool>) {
    let Ok(mut presses) = Presses::listen() else {
        // Without handlers the default applies: the first signal ends the process.
        return std::future::pending().await;
    };
    presses.next().await;
    // Nobody listens any more only when the command has ended.
    let _ = sender.send(true);
    presses.next().await;
}

/// Ctrl-C and, where there is such a thing, TERM.
#[cfg(unix)]
struct Presses {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Presses {
    fn listen() -> std::io::Result<Presses> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Presses { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Presses;

#[cfg(not(unix))]
impl Presses {
    fn listen() -> std::io::Result<Presses> {
        Ok(Presses)
    }

    async fn next(&mut self) {
        // An error means that it can't be pressed.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

fn aws_diagnostic(error: &AwsError) -> Diagnostic {
    let mut diagnostic = Diagnostic::error(error.to_string());
    diagnostic.hints.extend(error.hint());
    diagnostic
}

fn aws_failure(error: &AwsError) -> Failure {
    Failure::one(aws_diagnostic(error))
}

/// The account to be in the local AWS: the one that the spec insists on, or that of an imported ARN, so that it is found.
fn local_account(spec: &Spec) -> String {
    let in_arn = |arn: &String| arn.split(':').nth(4).filter(|account| !account.is_empty()).map(str::to_owned);
    let imported = || spec.resources.iter().find_map(|declared| declared.id.arn.as_ref().and_then(in_arn));
    spec.account.clone().or_else(imported).unwrap_or_else(|| LOCAL_ACCOUNT.to_owned())
}

/// The spec to use: the one that is named, the usual one, or the only one.
fn find_spec(named: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    let usual = PathBuf::from(USUAL_SPEC);
    if usual.exists() {
        return Ok(usual);
    }
    let mut found: Vec<PathBuf> = std::fs::read_dir("specs")
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    found.retain(|path| {
        path.is_file() && path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
    });
    found.sort();
    match found.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(Failure::one(
            Diagnostic::error("no spec is named, and there is none in `specs/`")
                .hint("give the path of a YAML file, like `engine diff specs/team.yaml`"),
        )),
        several => {
            let list = several.iter().map(|path| format!("`{}`", path.display())).collect::<Vec<_>>().join(", ");
            Err(Failure::one(
                Diagnostic::error("no spec is named, and `specs/` has several").hint(format!("name one of {list}")),
            ))
        }
    }
}

/// The folder that holds `specs/`, or else the spec's own.
fn project_of(spec: &Path) -> PathBuf {
    let absolute = std::path::absolute(spec).unwrap_or_else(|_| spec.to_owned());
    let specs = absolute.ancestors().skip(1).find(|folder| folder.file_name().is_some_and(|name| name == "specs"));
    let folder = specs.and_then(Path::parent).or_else(|| absolute.parent());
    folder.map_or_else(|| PathBuf::from("."), Path::to_owned)
}

fn announce(terminal: &Terminal, running: &Running) {
    if running.lost_previous {
        terminal.say("local AWS: the earlier server is gone, and with it what was deployed there");
    }
    if running.started_now {
        terminal.say(&format!("local AWS: started on port {}", running.port));
    }
}

fn local_command(terminal: &Terminal, command: LocalCommand) -> Result<Exit, Failure> {
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    // As a spec's project is found from anywhere below it.
    let root = here.ancestors().find(|folder| folder.join(".engine").is_dir() || folder.join("specs").is_dir());
    let project = Project::new(root.unwrap_or(&here));
    match command {
        LocalCommand::Start => {
            let running = local::ensure(&project, &mut |text| terminal.say(text))?;
            terminal.print(&format!(
                "running: {} (MiniStack {}, process {})\n",
                running.endpoint, running.version, running.pid
            ));
        }
        LocalCommand::Stop => {
            let stopped = local::stop(&project)?;
            terminal.print(if stopped { "stopped\n" } else { "not running\n" });
        }
        LocalCommand::Status => match local::status(&project)? {
            Some(running) => terminal.print(&format!(
                "running: {} (MiniStack {}, process {})\n",
                running.endpoint, running.version, running.pid
            )),
            None => terminal.print("not running\n"),
        },
        LocalCommand::Reset => {
            let running = local::status(&project)?.is_some();
            local::reset(&project)?;
            terminal.print(if running { "emptied\n" } else { "not running\n" });
        }
        LocalCommand::Supervise(args) => local::supervise(args)?,
    }
    Ok(Exit::Done)
}
