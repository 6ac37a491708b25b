//! The command line: the global options, the list of commands, and their dispatch.
//!
//! Each command is a file below, with its arguments, its examples and `run`. `session` loads specs
//! and reads AWS, `deploy` shows, confirms and applies plans.
//!
//! **Invariant:** data goes to stdout, everything else to stderr, and every path ends with one of
//! the documented exit codes.

mod apply;
mod args;
mod builds;
mod completions;
mod deploy;
mod destroy;
mod dev;
mod diff;
mod doctor;
mod exit;
mod explain;
mod export;
mod forget;
mod graph;
mod help;
mod init;
mod interrupt;
mod invoke;
mod items;
mod json_input;
mod links;
mod list;
mod local;
mod logs;
mod man;
mod names;
mod output;
mod parse;
mod policy;
mod preflight;
mod render;
mod schema;
mod selection;
mod session;
mod status;
mod syntax;
mod terminal;
mod usage;
mod validate;
mod verify;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, FromArgMatches as _, Parser, Subcommand, ValueEnum};

use crate::aws::Network;
use crate::diagnostic::Diagnostic;
use crate::kind::Kinds;
use crate::kinds;

use exit::CommandError;
use selection::Selection;
use terminal::{Terminal, start_log};

pub use exit::Exit;
pub use schema::json_schema;

/// With the commit that it was built from, if known.
const VERSION: &str = env!("ENGINE_VERSION");

/// Deploy the resources in a YAML spec: DynamoDB tables and streams, Lambda functions, permissions
/// and event source mappings. There is no state file: engine reads the current state from AWS and
/// compares it with the spec.
#[derive(Debug, Parser)]
#[command(
    name = "engine",
    version = VERSION,
    max_term_width = 100,
    after_help = "\
Examples:
  engine init                 write a starter spec
  engine apply --local        deploy to a local AWS, without an account
  engine diff                 show what would change in AWS
  engine apply                apply the changes
  engine verify               test the pipeline end to end

`engine COMMAND -h` shows a command's options; `--help` shows everything."
)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Default, Args, Clone)]
#[command(next_help_heading = "Global options")]
struct Global {
    /// Use a local AWS on this machine: no account, credentials or Docker needed
    #[arg(long, global = true, env = "ENGINE_LOCAL", value_parser = clap::builder::FalseyValueParser::new(),
          conflicts_with_all = ["profile", "endpoint_url"], hide_env = true)]
    local: bool,
    /// Use this profile from ~/.aws/config
    #[arg(long, global = true, value_name = "NAME")]
    profile: Option<String>,
    /// Use this region instead of the spec's
    #[arg(long, global = true, value_name = "REGION")]
    region: Option<String>,
    /// Use this URL for all AWS services
    #[arg(long, global = true, value_name = "URL", value_parser = parse::url)]
    endpoint_url: Option<String>,
    /// Limit this process to N Lambda control-plane calls per second (account limit: 15), and to
    /// the same fraction of AWS's other rate limits
    #[arg(long, global = true, value_name = "N", value_parser = |text: &str| parse::whole_number::<u8>(text, 1, 15))]
    rate: Option<u8>,
    /// Run as if started in this folder
    #[arg(short = 'C', long, global = true, value_name = "DIR", alias = "chdir")]
    directory: Option<PathBuf>,
    /// When to use color (NO_COLOR is respected)
    #[arg(long, global = true, value_enum, default_value_t = ColorWhen::Auto, value_name = "WHEN")]
    color: ColorWhen,
    /// Print plain lines for screen readers: words instead of symbols, no color, no redrawing
    #[arg(long, global = true, env = "ENGINE_PLAIN", value_parser = clap::builder::FalseyValueParser::new(),
          hide_env = true)]
    plain: bool,
    /// Log each AWS call; repeat for more detail
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Print results and errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Log format on stderr; json prints one object per line
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    log_format: LogFormat,
    /// What is between the clients and AWS; not an option, only [`run_through`] sets it.
    #[arg(skip)]
    network: Network,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ColorWhen {
    #[default]
    Auto,
    Always,
    Never,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    #[default]
    Text,
    Json,
}

/// The commands, in the order in which completions list them.
#[derive(Debug, Subcommand)]
enum Command {
    Apply(apply::ApplyArgs),
    Diff(diff::DiffArgs),
    Destroy(destroy::DestroyArgs),
    Dev(dev::DevArgs),
    Forget(forget::ForgetArgs),
    Output(output::OutputArgs),
    List(list::ListArgs),
    Status(status::StatusArgs),
    Logs(logs::LogsArgs),
    Preflight(preflight::PreflightArgs),
    Init(init::InitArgs),
    Validate(validate::ValidateArgs),
    Render(render::RenderArgs),
    Graph(graph::GraphArgs),
    Schema(schema::SchemaArgs),
    Explain(explain::ExplainArgs),
    Export(export::ExportArgs),
    Verify(verify::VerifyArgs),
    Items(items::ItemsArgs),
    Invoke(invoke::InvokeArgs),
    Policy(policy::PolicyArgs),
    Doctor(doctor::DoctorArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
    Local(local::LocalArgs),
}

/// What every command gets.
#[derive(Clone)]
struct CommandContext<'t> {
    global: Global,
    terminal: &'t Terminal,
    kinds: Kinds,
}

impl Command {
    fn run(self, cx: &CommandContext<'_>) -> Result<Exit, CommandError> {
        match self {
            Command::Apply(args) => apply::run(cx, args),
            Command::Diff(args) => diff::run(cx, args),
            Command::Destroy(args) => destroy::run(cx, args),
            Command::Dev(args) => dev::run(cx, args),
            Command::Forget(args) => forget::run(cx, args),
            Command::Output(args) => output::run(cx, args),
            Command::List(args) => list::run(cx, args),
            Command::Status(args) => status::run(cx, args),
            Command::Logs(args) => logs::run(cx, args),
            Command::Preflight(args) => preflight::run(cx, args),
            Command::Init(args) => init::run(cx, args),
            Command::Validate(args) => validate::run(cx, args),
            Command::Render(args) => render::run(cx, args),
            Command::Graph(args) => graph::run(cx, args),
            Command::Schema(args) => schema::run(cx, args),
            Command::Explain(args) => explain::run(cx, args),
            Command::Export(args) => export::run(cx, args),
            Command::Verify(args) => verify::run(cx, args),
            Command::Items(args) => items::run(cx, args),
            Command::Invoke(args) => invoke::run(cx, args),
            Command::Policy(args) => policy::run(cx, args),
            Command::Doctor(args) => doctor::run(cx, args),
            Command::Completions(args) => completions::run(cx, args),
            Command::Man(args) => man::run(cx, args),
            Command::Local(args) => local::run(cx, args),
        }
    }
}

/// Runs the command line `args`, and returns how it ended.
pub fn run(args: impl IntoIterator<Item = OsString>) -> Exit {
    run_through(args, Network::default())
}

/// The same, with the caller's layer between the clients and AWS.
pub fn run_through(args: impl IntoIterator<Item = OsString>, network: Network) -> Exit {
    let args: Vec<_> = args.into_iter().collect();
    let parsed = help::command().try_get_matches_from(&args);
    let parsed = parsed.and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, matches)));
    let (Cli { global, command }, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return usage::report(&error, args),
    };
    let selection = Selection::of(&global, &matches);
    start_log(&global);
    let terminal = &Terminal::new(&global);
    let cx = CommandContext { global: Global { network, ..global }, terminal, kinds: kinds::all() };
    if let Err(failure) = enter(&cx.global) {
        terminal.problems(&failure.diagnostics);
        return failure.exit;
    }
    selection.set();
    let exit = command.run(&cx).unwrap_or_else(|failure| {
        if failure.exit == Exit::Interrupted && failure.diagnostics.is_empty() {
            // Too early for an outcome that would report it.
            terminal.note("interrupted; nothing was changed");
        }
        terminal.problems(&failure.diagnostics);
        failure.exit
    });
    match exit {
        Exit::Done | Exit::Pending if terminal.report_write_error() => Exit::Failed,
        exit => exit,
    }
}

/// Changes to the folder of `-C`.
fn enter(global: &Global) -> Result<(), CommandError> {
    let Some(folder) = &global.directory else { return Ok(()) };
    std::env::set_current_dir(folder).map_err(|error| {
        let problem = format!("can't open the folder `{}`", folder.display());
        let diagnostic = Diagnostic::error(problem, "name an existing folder: `-C DIR`").why(error.to_string());
        CommandError { exit: Exit::Usage, diagnostics: vec![diagnostic] }
    })
}
