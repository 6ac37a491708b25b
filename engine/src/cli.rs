//! The command line: its arguments, and one function for each command.
//!
//! Each command loads, reads, plans, shows and applies; the modules below do the work.
//!
//! **Invariant:** data goes to stdout, everything else to stderr, and every path ends with one of the
//! documented exit codes.

mod check;
mod commands;
mod discovery;
mod doctor;
mod graph;
mod help;
mod init;
mod logs;
mod names;
mod patterns;
mod policy;
mod session;
mod shell;
mod syntax;
mod terminal;
mod timeline;
mod usage;
mod validate;
mod verify;

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::{Args, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use serde_json::{Value as Json, json};
use tokio::sync::watch;

use crate::aws::Network;
use crate::cause::Code;
use crate::diagnostic::{Diagnostic, nearest, shell_word};
use crate::kinds;
use crate::live::Leftovers;
use crate::local::{self, Project, Running, SuperviseArgs};
use crate::plan::{Goal, Options};
use crate::render;
use crate::saved::{Flags, SavedPlan};
use crate::spec::{Depth, kind_elsewhere};

use logs::LogsArgs;
use session::Intent;
use terminal::{Failure, Terminal, signals, start_log};

/// With the commit that it was built from, if known.
const VERSION: &str = env!("ENGINE_VERSION");

/// Deploy what a YAML spec declares: DynamoDB tables, their streams, Lambda functions and what connects them. There is no
/// state file: every command reads AWS and compares it with the spec.
#[derive(Debug, Parser)]
#[command(
    name = "engine",
    version = VERSION,
    max_term_width = 100,
    after_help = "\
Examples:
  engine init                 write a first spec
  engine apply --local        try it on this machine, without an account
  engine diff                 show what would change in AWS
  engine apply                apply the changes
  engine verify               test it end to end

`engine COMMAND -h` shows a command's options, `--help` shows everything."
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
    /// Use this profile of ~/.aws/config
    #[arg(long, global = true, value_name = "NAME")]
    profile: Option<String>,
    /// Use this region instead of the spec's
    #[arg(long, global = true, value_name = "REGION")]
    region: Option<String>,
    /// Use this URL for all AWS services
    #[arg(long, global = true, value_name = "URL", value_parser = url)]
    endpoint_url: Option<String>,
    /// Limit this process to N Lambda control-plane calls per second (account limit: 15), and to the same share of AWS's
    /// other limits
    #[arg(long, global = true, value_name = "N", value_parser = |text: &str| usage::whole::<u8>(text, 1, 15))]
    rate: Option<u8>,
    /// Run as if started in this folder
    #[arg(short = 'C', long, global = true, value_name = "DIR", alias = "chdir")]
    directory: Option<PathBuf>,
    /// When to use color (NO_COLOR is respected)
    #[arg(long, global = true, value_enum, default_value_t = Colour::Auto, value_name = "WHEN")]
    color: Colour,
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
    /// Format of everything on stderr; json prints one object per line
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    log_format: LogFormat,
    /// What is between the clients and AWS; not an option, only [`run_through`] sets it.
    #[arg(skip)]
    network: Network,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Colour {
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    #[value(name = "text", alias = "human")]
    Human,
    Json,
    Markdown,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make AWS match the spec
    #[command(
        visible_alias = "deploy",
        after_help = "\
Examples:
  engine apply specs/team.yaml --local    try it on this machine, without an account
  engine apply specs/team.yaml            in your AWS account
  engine apply --timeline timeline.html   also write a page that shows where the time went
  engine apply --plain                    for a screen reader
  engine apply --teams specs/examples/teams.txt
                                          the same spec for each team in a list"
    )]
    Apply(ApplyArgs),
    /// Show what `apply` would change
    #[command(
        visible_alias = "plan",
        after_help = "\
Examples:
  engine diff                       the plan for specs/team.yaml
  engine diff --detailed-exitcode   exit code 2 if something would change
  engine diff --destroy             what `destroy` would do
  engine diff --out plan.json       also save the plan, for `engine apply plan.json`"
    )]
    Diff(DiffArgs),
    /// Delete everything that the team's stack owns
    #[command(after_help = "\
Examples:
  engine destroy                          with a confirmation prompt
  engine destroy --yes --delete-data      without one, even if tables have items
  engine destroy --team blue-owls --stack team --region eu-central-1
                                          a stack whose spec no longer exists")]
    Destroy(DestroyArgs),
    /// Stop managing a resource: remove engine's tags, keep it in AWS
    #[command(
        alias = "release",
        after_help = "\
Examples:
  engine forget todos"
    )]
    Forget(ForgetArgs),
    /// Print the spec's outputs
    #[command(after_help = "\
Examples:
  engine output --spec specs/examples/inline.yaml         all outputs
  engine output table --spec specs/examples/inline.yaml   only the value of one")]
    Output(OutputArgs),
    /// List managed resources and their owners
    #[command(after_help = "\
Examples:
  engine list                                      what this team's stack owns
  engine list --all-teams                          what all teams own
  engine list --all-teams --prefixes specs/examples/teams.txt
                                                   also untagged resources named after a team
  engine list --teams specs/examples/teams.txt     the same spec for each team in a list")]
    List(ListArgs),
    /// Show or follow the functions' logs
    #[command(after_help = "\
Examples:
  engine logs                        every item change in the last hour
  engine logs -n 20                  the last 20 entries
  engine logs --follow               also new entries as they arrive
  engine logs logger --since 10m     one function, the last 10 minutes
  engine logs --filter MODIFY        only lines with this text
  engine logs --raw                  exactly what the functions logged
  engine logs --format json          for programs")]
    Logs(LogsArgs),
    /// Check for problems that would make an apply fail
    #[command(
        alias = "check",
        after_help = "\
Examples:
  engine preflight                       specs/team.yaml, against your account
  engine preflight --local               against the local AWS, which has no permissions
  engine preflight specs/team.yaml --json
                                         for scripts"
    )]
    Preflight(PreflightArgs),
    /// Write a first spec and its function's code
    #[command(after_help = "\
Examples:
  engine init                                    prompt for the team
  engine init demo --team red-foxes              in the folder demo
  engine init other --yes --template dead-letter
                                                 with a queue for failed records")]
    Init(InitArgs),
    /// Validate specs offline
    #[command(after_help = "\
Examples:
  engine validate                                        specs/team.yaml
  engine validate specs/team.yaml specs/examples/adopt.yaml --var suffix=9z8y7x6
                                                         several specs at once
  engine validate specs                                  every YAML file in the folder
  engine validate --teams specs/examples/teams.txt       for each team in a list
  engine validate --format github                        as annotations on a pull request")]
    Validate(ValidateArgs),
    /// Show the dependency graph of a spec or a plan
    #[command(after_help = "\
Examples:
  engine graph                               as a table
  engine graph --plan                        with what `apply` would change
  engine graph --format svg > pipeline.svg   as a picture; also dot, mermaid and html")]
    Graph(GraphArgs),
    /// Print the JSON Schema of specs, for editors
    #[command(after_help = "\
Examples:
  engine schema                             print it
  engine schema > specs/spec.schema.json    save it for editors; then start the spec with
                                            # yaml-language-server: $schema=spec.schema.json")]
    Schema,
    /// Explain a resource type, property or error code
    #[command(after_help = "\
Examples:
  engine explain                        all resource types and error codes
  engine explain table                  a resource type
  engine explain table.ttl_attribute    one of its properties
  engine explain table protect          a setting that every resource accepts
  engine explain spec                   the top-level keys of a spec
  engine explain role-not-assumable     an error code")]
    Explain {
        /// A resource type, one of its properties (`table.hash_key` or `table hash_key`), `spec`, or an error code
        #[arg(value_name = "TYPE[.PROPERTY] | spec | CODE", num_args = 0..=2)]
        what: Vec<String>,
    },
    /// Test the pipeline end to end with one item and the function's log
    #[command(after_help = "\
Examples:
  engine verify                    each mapping of specs/team.yaml, hop by hop
  engine verify --yes              also if others will see the test item
  engine verify --json --timeout 10m
                                   for scripts, with a longer timeout")]
    Verify(verify::VerifyArgs),
    /// Print a least-privilege IAM policy for a spec
    #[command(after_help = "\
Examples:
  engine policy --account 123456789012   for every command, offline
  engine policy --for diff --account 123456789012
                                         read-only
  engine policy --for verify --account 123456789012
                                         to write test items, and nothing else
  engine policy --team red-foxes --account 123456789012
                                         for another team
  engine policy --role --account 123456789012
                                         the trust and permissions policies of the roles")]
    Policy(policy::PolicyArgs),
    /// Diagnose settings, credentials, permissions, clock and tools
    #[command(after_help = "\
Examples:
  engine doctor                  accounts and keys are masked, so you can share the output
  engine doctor --local          only what the local AWS needs
  engine doctor --format json    for scripts")]
    Doctor(DoctorArgs),
    /// Generate shell completions
    #[command(after_help = "\
Examples:
  engine completions bash > engine.bash          then: source engine.bash
  engine completions zsh > _engine               into a folder of $fpath
  engine completions fish > engine.fish          into ~/.config/fish/completions
  engine completions powershell > engine.ps1     then: . ./engine.ps1")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the man page of engine or of a command
    #[command(after_help = "\
Examples:
  engine man > engine.1                then: man ./engine.1
  engine man apply > engine-apply.1    the page of one command
  engine man local stop                or local-stop, the name of its page")]
    Man {
        /// A command, or a command and its subcommand
        #[arg(value_name = "COMMAND")]
        command: Vec<String>,
    },
    /// Control this project's local AWS
    #[command(after_help = "\
Examples:
  engine local start     or any command with --local
  engine local status    where it runs
  engine local env       variables for other AWS clients
  engine local reset     delete everything in it
  engine local stop      stop it; it also stops after an hour without use")]
    Local {
        #[command(subcommand)]
        command: LocalCommand,
    },
}

#[derive(Debug, Args, Clone)]
struct SpecArgs {
    /// The specs: files, patterns, or folders with a specs/ folder. Defaults to specs/team.yaml or the only YAML file in
    /// specs/, in this folder or above
    #[arg(value_name = "SPEC")]
    spec: Vec<PathBuf>,
    /// The same as SPEC; may be repeated
    #[arg(short, long = "spec", value_name = "FILE", aliases = ["file", "filename"])]
    file: Vec<PathBuf>,
    /// Use this team instead of the spec's
    #[arg(long, value_name = "TEAM")]
    team: Option<String>,
    /// Use the spec for each team in this file (one team per line)
    #[arg(long, value_name = "FILE", conflicts_with = "team")]
    teams: Option<PathBuf>,
    /// Set the value of `${var.NAME}`; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    var: Vec<(String, String)>,
    /// Assume ownership by name if tags can't be read
    #[arg(long)]
    assume_owner: bool,
    #[command(flatten)]
    code: CodeArgs,
    /// Set for commands that work without a spec.
    #[arg(skip)]
    stack: Option<String>,
    /// Set for commands that take one spec, which is then a name and not a pattern.
    #[arg(skip)]
    is_one: bool,
    /// Set by the command.
    #[arg(skip)]
    when_stopped: WhenStopped,
}

/// What a command with `--local` does if the project's local AWS doesn't run.
#[derive(Debug, Clone, Copy, Default)]
enum WhenStopped {
    #[default]
    Start,
    /// It only compares the spec with what is there, so it says why it starts one.
    StartToCompare,
    /// It needs deployed resources, and an empty local AWS has none.
    Fail,
}

/// Which folders a spec may read code from.
#[derive(Debug, Default, Clone, Copy, Args)]
struct CodeArgs {
    /// Allow `code:` outside the project (the nearest folder with .git, or else the one with specs/)
    #[arg(long)]
    allow_code_outside: bool,
}

/// One spec for one team, for commands whose only operand is the spec.
#[derive(Debug, Args)]
struct OneSpecArgs {
    /// The spec, or a folder with a specs/ folder. Defaults to specs/team.yaml or the only YAML file in specs/, in this
    /// folder or above
    #[arg(value_name = "SPEC")]
    spec: Option<PathBuf>,
    /// The same as SPEC
    #[arg(short, long = "spec", value_name = "FILE", aliases = ["file", "filename"], conflicts_with = "spec")]
    file: Option<PathBuf>,
    #[command(flatten)]
    overrides: OverrideArgs,
}

/// One spec for one team, for commands whose operand is a name.
#[derive(Debug, Args)]
struct NamedSpecArgs {
    /// The spec, or a folder with a specs/ folder. Defaults to specs/team.yaml or the only YAML file in specs/, in this
    /// folder or above
    #[arg(long = "spec", value_name = "FILE")]
    path: Option<PathBuf>,
    #[command(flatten)]
    overrides: OverrideArgs,
}

/// What the command line overrides in a spec.
#[derive(Debug, Args)]
struct OverrideArgs {
    /// Use this team instead of the spec's
    #[arg(long, value_name = "TEAM")]
    team: Option<String>,
    /// Set the value of `${var.NAME}`; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    var: Vec<(String, String)>,
    #[command(flatten)]
    code: CodeArgs,
}

impl From<&OneSpecArgs> for SpecArgs {
    fn from(OneSpecArgs { spec, file, overrides }: &OneSpecArgs) -> SpecArgs {
        SpecArgs::one(spec.as_ref().or(file.as_ref()), overrides)
    }
}

impl From<&NamedSpecArgs> for SpecArgs {
    fn from(NamedSpecArgs { path, overrides }: &NamedSpecArgs) -> SpecArgs {
        SpecArgs::one(path.as_ref(), overrides)
    }
}

impl SpecArgs {
    /// One spec for one team.
    fn one(path: Option<&PathBuf>, OverrideArgs { team, var, code }: &OverrideArgs) -> SpecArgs {
        SpecArgs {
            spec: path.into_iter().cloned().collect(),
            file: Vec::new(),
            team: team.clone(),
            teams: None,
            var: var.clone(),
            assume_owner: false,
            code: *code,
            stack: None,
            is_one: true,
            when_stopped: WhenStopped::Start,
        }
    }

    /// The specs that are named, in either way.
    fn named(&self) -> Vec<PathBuf> {
        [self.spec.as_slice(), &self.file].concat()
    }
}

/// Which part of the spec to apply, and what to re-create.
#[derive(Debug, Args)]
struct PartArgs {
    /// Limit the command to this resource and its dependencies; may be repeated
    #[arg(long, value_name = "NAME")]
    target: Vec<String>,
    /// Delete and re-create this resource; may be repeated
    #[arg(long, value_name = "NAME")]
    replace: Vec<String>,
}

/// How a plan is shown.
#[derive(Debug, Args)]
struct ViewArgs {
    /// Output format of the plan and the result
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// Also show unchanged resources
    #[arg(long)]
    show_unchanged: bool,
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Skip the confirmation prompt
    #[arg(short, long)]
    yes: bool,
    /// Also delete tables that are not empty
    #[arg(long)]
    delete_data: bool,
    /// Maximum number of concurrent steps
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = |text: &str| usage::whole::<u16>(text, 1, 256))]
    parallelism: u16,
    /// Write an HTML page that shows where the time went
    #[arg(long, value_name = "FILE.html")]
    timeline: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ApplyArgs {
    #[command(flatten)]
    spec: SpecArgs,
    #[command(flatten)]
    part: PartArgs,
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    view: ViewArgs,
}

#[derive(Debug, Args)]
struct DiffArgs {
    #[command(flatten)]
    spec: SpecArgs,
    #[command(flatten)]
    part: PartArgs,
    /// Exit with code 2 if anything would change
    #[arg(long)]
    detailed_exitcode: bool,
    /// Show what `destroy` would do
    #[arg(long, conflicts_with = "replace")]
    destroy: bool,
    /// Find orphans by the team's name prefix if you lack permission to read the tag index
    #[arg(long)]
    prune_scan: bool,
    /// Save the plan; `engine apply FILE` then applies exactly this plan or fails
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    view: ViewArgs,
}

#[derive(Debug, Args)]
struct DestroyArgs {
    #[command(flatten)]
    spec: SpecArgs,
    /// Use this stack of --team if the spec no longer exists
    #[arg(long, value_name = "STACK", requires = "team", conflicts_with_all = ["spec", "file", "teams"])]
    stack: Option<String>,
    /// Limit the command to this resource and its dependents; may be repeated
    #[arg(long, value_name = "NAME")]
    target: Vec<String>,
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    view: ViewArgs,
}

#[derive(Debug, Args)]
struct ForgetArgs {
    /// The resource's name in the spec
    #[arg(value_name = "NAME", required = true)]
    name: String,
    #[command(flatten)]
    spec: SpecArgs,
}

#[derive(Debug, Args)]
struct OutputArgs {
    /// Print only this output
    #[arg(value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    spec: NamedSpecArgs,
    /// Output format
    #[arg(long, value_enum, default_value_t = ListFormat::Human)]
    format: ListFormat,
}

#[derive(Debug, Args)]
struct ListArgs {
    #[command(flatten)]
    spec: SpecArgs,
    /// List the resources of all teams
    #[arg(long)]
    all_teams: bool,
    /// Also list untagged resources whose names begin with a team from this file (one team per line)
    #[arg(long, value_name = "FILE", requires = "all_teams")]
    prefixes: Option<PathBuf>,
    /// Output format
    #[arg(long, value_enum, default_value_t = ListFormat::Human)]
    format: ListFormat,
}

#[derive(Debug, Args)]
struct PreflightArgs {
    #[command(flatten)]
    spec: SpecArgs,
    /// Output format
    #[arg(long, value_enum, default_value_t = ListFormat::Human)]
    format: ListFormat,
}

#[derive(Debug, Args)]
struct InitArgs {
    /// The project's folder. Defaults to the current one
    #[arg(value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Use this team; every name in AWS begins with it
    #[arg(long, value_name = "TEAM")]
    team: Option<String>,
    /// Use this execution role (name or ARN) for the function
    #[arg(long, value_name = "ROLE", value_parser = role)]
    role: Option<String>,
    /// Use this template
    #[arg(long, value_enum, default_value_t = Template::Pipeline)]
    template: Template,
    /// Skip the prompt; without --team, use the folder's name as the team
    #[arg(short, long)]
    yes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Template {
    /// A table and a function that logs every item change
    Pipeline,
    /// The same, with a queue for records that the function failed to process
    DeadLetter,
    /// The same for an existing table that another tool manages
    ExistingTable,
}

#[derive(Debug, Args)]
struct DoctorArgs {
    #[command(flatten)]
    spec: OneSpecArgs,
    /// Output format
    #[arg(long, value_enum, default_value_t = ListFormat::Human)]
    format: ListFormat,
}

#[derive(Debug, Args)]
struct GraphArgs {
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
    /// A picture
    Svg,
    /// A web page with the picture
    Html,
}

#[derive(Debug, Args)]
struct ValidateArgs {
    #[command(flatten)]
    spec: SpecArgs,
    /// Output format
    #[arg(long, value_enum, default_value_t = ValidateFormat::Human)]
    format: ValidateFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ValidateFormat {
    #[value(name = "text", alias = "human")]
    Human,
    Json,
    /// Workflow commands for GitHub Actions
    Github,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ListFormat {
    #[value(name = "text", alias = "human")]
    Human,
    Json,
}

#[derive(Debug, Subcommand)]
enum LocalCommand {
    /// Start it, or print where it runs
    #[command(after_help = "\
Examples:
  engine local start                       or any command with --local
  engine apply --local                     deploy the spec to it")]
    Start,
    /// Stop it and delete what is deployed there
    #[command(after_help = "\
Examples:
  engine local stop                        it also stops after an hour without use")]
    Stop,
    /// Print whether and where it runs; exit code 1 if it is stopped
    #[command(after_help = "\
Examples:
  engine local status                      its address; for other tools, see `engine local env`")]
    Status {
        /// Output format
        #[arg(long, value_enum, default_value_t = ListFormat::Human)]
        format: ListFormat,
    },
    /// Print the environment variables that point AWS clients to it, including its key
    #[command(after_help = "\
Examples:
  engine local env                         for a shell: eval \"$(engine local env)\"")]
    Env {
        /// Use this account
        #[arg(long, value_name = "ID", value_parser = account_id)]
        account: Option<String>,
    },
    /// Delete everything in it, in all accounts and regions
    #[command(after_help = "\
Examples:
  engine local reset                       then start over: engine apply --local")]
    Reset {
        /// Stop and uninstall it; the next start installs it again
        #[arg(long)]
        install: bool,
    },
    #[command(hide = true)]
    Supervise(SuperviseArgs),
}

/// The name under which `explain` shows the keys that are independent of a resource type.
const SPEC: &str = "spec";

/// How a run ended, as the documented exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Failed, refused or declined.
    Failed = 1,
    /// Something would change (`diff --detailed-exitcode`).
    Pending = 2,
    /// Applied in part.
    Partial = 3,
    /// Invalid command line.
    Usage = 64,
    /// Interrupted.
    Interrupted = 130,
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as NAME=VALUE".to_owned()),
    }
}

fn role(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "+=,.@_-/:".contains(c);
    match !text.is_empty() && text.chars().all(fits) {
        true => Ok(text.to_owned()),
        false => Err("use the name or ARN of a role".to_owned()),
    }
}

fn account_id(text: &str) -> Result<String, String> {
    let is_id = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_id { Ok(text.to_owned()) } else { Err("use the 12 digits of an account ID".to_owned()) }
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
    run_through(args, Network::default())
}

/// The same, with the caller's layer between the clients and AWS.
pub fn run_through(args: impl IntoIterator<Item = std::ffi::OsString>, network: Network) -> Exit {
    let args: Vec<_> = args.into_iter().collect();
    let parsed = help::command().try_get_matches_from(&args);
    let cli = match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => return usage::tell(&error, args),
    };
    start_log(&cli.global);
    // The local AWS blocks and brings its own runtime, so it comes before ours.
    let Cli { global, command } = cli;
    let global = Global { network, ..global };
    let terminal = Terminal::new(&global);
    if let Err(failure) = enter(&global) {
        terminal.problems(&failure.diagnostics);
        return failure.exit;
    }
    let result = match command {
        Command::Local { command } => local_command(&global, &terminal, command),
        Command::Explain { what } => explain(&terminal, &what),
        Command::Apply(args) => apply(&global, &terminal, &args),
        Command::Diff(args) => diff(&global, &terminal, &args),
        Command::Destroy(args) => destroy(&global, &terminal, args),
        Command::Forget(args) => forget(&global, &terminal, args),
        Command::Output(args) => output(&global, &terminal, args),
        Command::List(args) => list(&global, &terminal, &args),
        Command::Verify(args) => verify::run(&global, &terminal, &args),
        Command::Logs(args) => logs::logs(&global, &terminal, args),
        Command::Init(args) => init::run(&global, &terminal, &args),
        Command::Doctor(args) => doctor::run(&global, &terminal, &args),
        Command::Completions { shell } => shell::completions(&terminal, shell),
        Command::Man { command } => shell::man(&terminal, &command),
        Command::Graph(args) => graph::run(&global, &terminal, &args),
        Command::Schema => {
            terminal.print(&json_schema());
            Ok(Exit::Done)
        }
        Command::Validate(args) => validate::run(&global, &terminal, &args),
        Command::Preflight(args) => check::run(&global, &terminal, &args),
        Command::Policy(args) => policy::run(&global, &terminal, args),
    };
    let exit = match result {
        Ok(exit) => exit,
        Err(failure) => {
            if failure.exit == Exit::Interrupted && failure.diagnostics.is_empty() {
                // Too early for an outcome that would report it.
                terminal.say("interrupted; nothing was changed");
            }
            terminal.problems(&failure.diagnostics);
            failure.exit
        }
    };
    match exit {
        Exit::Done | Exit::Pending if terminal.told_loss() => Exit::Failed,
        exit => exit,
    }
}

/// Changes to the folder of `-C`.
fn enter(global: &Global) -> Result<(), Failure> {
    let Some(folder) = &global.directory else { return Ok(()) };
    std::env::set_current_dir(folder).map_err(|error| {
        let problem = format!("can't open the folder `{}`", folder.display());
        let diagnostic = Diagnostic::error(problem, "name an existing folder: `-C DIR`").why(error.to_string());
        Failure { exit: Exit::Usage, diagnostics: vec![diagnostic] }
    })
}

fn apply(global: &Global, terminal: &Terminal, args: &ApplyArgs) -> Result<Exit, Failure> {
    if let Some(saved) = session::saved_plan(&args.spec.named())? {
        return apply_saved(global, terminal, args, &saved);
    }
    let options = Options {
        assume_owner: args.spec.assume_owner,
        delete_data: args.run.delete_data,
        replace: args.part.replace.iter().cloned().collect(),
        targets: args.part.target.iter().cloned().collect(),
    };
    let leftovers = unless_targeted(&options, Leftovers::IndexedOrScanned);
    let intent = Intent { goal: Goal::Present, writes: true, leftovers };
    let sessions = session::open(global, terminal, &args.spec, &options, Depth::Full)?;
    on_runtime(|interrupt| commands::apply(sessions, intent, None, &args.run, &args.view, interrupt))
}

/// Applies a saved plan, if it still holds.
fn apply_saved(global: &Global, terminal: &Terminal, args: &ApplyArgs, saved: &SavedPlan) -> Result<Exit, Failure> {
    let ApplyArgs { spec, part, run, view } = args;
    let shaped = spec.team.is_some()
        || spec.teams.is_some()
        || spec.assume_owner
        || global.region.is_some()
        || !(part.target.is_empty() && part.replace.is_empty());
    if shaped {
        let problem = "a saved plan already contains the team, the region and the part of the spec";
        return Err(Failure::usage(problem, "leave out --team, --region, --target, --replace and --assume-owner"));
    }
    let flags = &saved.flags;
    let options = Options {
        assume_owner: flags.assume_owner,
        delete_data: run.delete_data,
        replace: flags.replace.clone(),
        targets: flags.target.clone(),
    };
    let spec = SpecArgs {
        spec: vec![PathBuf::from(&saved.spec)],
        file: Vec::new(),
        team: flags.team.clone(),
        assume_owner: flags.assume_owner,
        ..spec.clone()
    };
    let global = Global { local: flags.local || global.local, region: flags.region.clone(), ..global.clone() };
    let (goal, depth, leftovers) = scope(flags.destroy, flags.prune_scan);
    let intent = Intent { goal, writes: true, leftovers: unless_targeted(&options, leftovers) };
    let sessions = session::open(&global, terminal, &spec, &options, depth)?;
    on_runtime(|interrupt| commands::apply(sessions, intent, Some(saved), run, view, interrupt))
}

/// What a diff compares.
fn scope(destroy: bool, prune_scan: bool) -> (Goal, Depth, Leftovers) {
    match (destroy, prune_scan) {
        (true, _) => (Goal::Absent, Depth::Identities, Leftovers::Scanned),
        (false, true) => (Goal::Present, Depth::Full, Leftovers::IndexedOrScanned),
        (false, false) => (Goal::Present, Depth::Full, Leftovers::Indexed),
    }
}

fn diff(global: &Global, terminal: &Terminal, args: &DiffArgs) -> Result<Exit, Failure> {
    let options = Options {
        assume_owner: args.spec.assume_owner,
        delete_data: false,
        replace: args.part.replace.iter().cloned().collect(),
        targets: args.part.target.iter().cloned().collect(),
    };
    let (goal, depth, leftovers) = scope(args.destroy, args.prune_scan);
    let intent = Intent { goal, writes: false, leftovers: unless_targeted(&options, leftovers) };
    let spec = SpecArgs { when_stopped: WhenStopped::StartToCompare, ..args.spec.clone() };
    let sessions = session::open(global, terminal, &spec, &options, depth)?;
    if args.out.is_some() && sessions.len() != 1 {
        return Err(Failure::usage("a saved plan is for one spec and one team", "save one plan per spec and team"));
    }
    let flags = Flags {
        destroy: args.destroy,
        local: global.local,
        assume_owner: args.spec.assume_owner,
        prune_scan: args.prune_scan,
        replace: options.replace.clone(),
        target: options.targets.clone(),
        team: args.spec.team.clone(),
        region: global.region.clone(),
    };
    on_runtime(|interrupt| commands::diff(sessions, intent, args, flags, interrupt))
}

fn destroy(global: &Global, terminal: &Terminal, args: DestroyArgs) -> Result<Exit, Failure> {
    let options = Options {
        assume_owner: args.spec.assume_owner,
        delete_data: args.run.delete_data,
        replace: BTreeSet::new(),
        targets: args.target.iter().cloned().collect(),
    };
    let leftovers = unless_targeted(&options, Leftovers::Scanned);
    let intent = Intent { goal: Goal::Absent, writes: true, leftovers };
    let spec = SpecArgs { stack: args.stack, ..args.spec };
    let sessions = session::open(global, terminal, &spec, &options, Depth::Identities)?;
    on_runtime(|interrupt| commands::apply(sessions, intent, None, &args.run, &args.view, interrupt))
}

fn forget(global: &Global, terminal: &Terminal, args: ForgetArgs) -> Result<Exit, Failure> {
    let swapped = args.spec.spec.first().and_then(|it| it.to_str()).unwrap_or("NAME");
    names::refuse_spec(Some(&args.name), |path| format!("engine forget {swapped} {path}"))?;
    let targets = BTreeSet::from([args.name.clone()]);
    let options = Options { assume_owner: args.spec.assume_owner, targets, ..Options::default() };
    let intent = Intent { goal: Goal::Released, writes: true, leftovers: Leftovers::IndexedOrScanned };
    // An orphan can be forgotten too.
    let spec = SpecArgs { when_stopped: WhenStopped::Fail, ..args.spec.clone() };
    let sessions = session::open_checked(global, terminal, &spec, &options, Depth::Identities, |_| Vec::new())?;
    on_runtime(|interrupt| commands::forget(sessions, intent, &args.name, interrupt))
}

fn output(global: &Global, terminal: &Terminal, args: OutputArgs) -> Result<Exit, Failure> {
    let spec = SpecArgs { when_stopped: WhenStopped::Fail, ..SpecArgs::from(&args.spec) };
    if let Some(name) = args.name.as_deref() {
        names::refuse_spec(Some(name), |path| format!("engine output --spec {path}"))?;
    }
    let intent = Intent { goal: Goal::Present, writes: false, leftovers: Leftovers::Ignored };
    let unknown = names::unknown(args.name.as_deref(), commands::has_output);
    let sessions = session::open_checked(global, terminal, &spec, &Options::default(), Depth::Full, unknown)?;
    on_runtime(|interrupt| commands::output(sessions, intent, args.name.as_deref(), args.format, interrupt))
}

fn list(global: &Global, terminal: &Terminal, args: &ListArgs) -> Result<Exit, Failure> {
    let prefixes = args.prefixes.as_deref().map(session::teams).transpose()?.unwrap_or_default();
    // An administrator of all teams may have none of their specs.
    let nobody = args.all_teams && args.spec.named().is_empty() && session::find_spec().is_err();
    let bare = || Some("all-teams".to_owned());
    let spec = if nobody { SpecArgs { team: bare(), stack: bare(), ..args.spec.clone() } } else { args.spec.clone() };
    if session::is_stopped(global, &spec) {
        return Ok(commands::list_nothing(terminal, args.format));
    }
    let sessions = session::open(global, terminal, &spec, &Options::default(), Depth::Identities)?;
    on_runtime(|interrupt| commands::list(sessions, args, &prefixes, interrupt))
}

/// The JSON Schema of a spec, with examples from the specs that the tests plan and apply.
pub fn json_schema() -> String {
    const EXAMPLES: [&str; 2] =
        [include_str!("../../specs/team.yaml"), include_str!("../../specs/examples/everything.yaml")];
    format!("{:#}\n", crate::spec::grammar::json_schema(&kinds::all(), &EXAMPLES))
}

fn explain(terminal: &Terminal, words: &[String]) -> Result<Exit, Failure> {
    let look = terminal.out;
    let all = kinds::all();
    let schemas = || all.schemas();
    if words.is_empty() {
        let (kinds, codes) = (render::explain::kinds(schemas(), look), render::explain::codes(look));
        terminal
            .print(&format!("{kinds}\n`engine explain spec` shows the other keys of a spec.\n\nError codes:\n{codes}"));
        return Ok(Exit::Done);
    }
    // `table hash_key` is `table.hash_key`.
    let what = words.join(".");
    if let Some(code) = Code::named(&what) {
        terminal.print(&render::explain::code(code, look));
        return Ok(Exit::Done);
    }
    let (kind, property) = what.split_once('.').map_or((&*what, None), |(kind, property)| (kind, Some(property)));
    let (text, known): (_, Vec<&str>) = match schemas().find(|schema| schema.kind == kind) {
        Some(schema) => {
            let words = render::explain::words_of(schema).map(|(word, _)| word);
            let known = schema.settable().map(|property| &*property.name).chain(words).collect();
            (render::explain::kind(schema, property, look), known)
        }
        None if kind == SPEC => (render::explain::spec(property, look), render::explain::words_of_spec().collect()),
        None => {
            let kinds = || schemas().map(|schema| &*schema.kind).chain([SPEC]);
            let near = nearest(kind, kinds().chain(Code::ALL.iter().map(|code| code.name())));
            let rest = property.map_or_else(String::new, |property| format!(".{property}"));
            let hint = match near.or_else(|| kind_elsewhere(&all, kind)) {
                Some(near) if kinds().any(|kind| kind == near) => {
                    format!("did you mean `{near}{rest}`? `engine explain` lists resource types and error codes")
                }
                Some(near) => format!("did you mean `{near}`? `engine explain` lists resource types and error codes"),
                None => {
                    let kinds = kinds().map(|kind| format!("`{kind}`")).collect::<Vec<_>>().join(", ");
                    format!("the resource types are {kinds}; `engine explain` also lists error codes")
                }
            };
            return Err(Failure::usage(format!("no resource type or error code is named `{kind}`"), hint));
        }
    };
    let Some(text) = text else {
        let property = property.unwrap_or_default();
        let meant = nearest(property, known);
        let meant = meant.map_or_else(String::new, |near| format!("did you mean `{kind}.{near}`? "));
        let hint = format!("{meant}`engine explain {kind}` lists them");
        return Err(Failure::usage(format!("a {kind} has no property `{property}`"), hint));
    };
    terminal.print(&text);
    Ok(Exit::Done)
}

/// With `--target`, only what is attached to the targets counts as orphaned.
fn unless_targeted(options: &Options, leftovers: Leftovers) -> Leftovers {
    if options.targets.is_empty() { leftovers } else { Leftovers::Hanging }
}

/// Runs `command` on a runtime that listens for Ctrl-C.
fn on_runtime(command: impl AsyncFnOnce(watch::Receiver<bool>) -> Result<Exit, Failure>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
        let hint = "close other programs, or raise `ulimit -n`, and run the command again";
        Failure::one(Diagnostic::error("engine can't start its runtime", hint).why(error.to_string()))
    })?;
    let (sender, receiver) = watch::channel(false);
    let result = runtime.block_on(async {
        tokio::select! {
            result = command(receiver) => result,
            // Ends only at the second signal: the first one goes through the channel.
            () = signals(sender) => Ok(Exit::Interrupted),
        }
    });
    // A prompt may still block a thread that reads; it must not delay the exit.
    runtime.shutdown_background();
    result
}

/// Shell lines that point AWS clients to the local AWS, and nowhere else.
fn environment(running: &Running, account: &str, region: &str) -> String {
    let key = running.key.access_key_id(account);
    let variables = [
        ("AWS_ENDPOINT_URL", running.endpoint.as_str()),
        ("AWS_REGION", region),
        ("AWS_DEFAULT_REGION", region),
        ("AWS_ACCESS_KEY_ID", &key),
        ("AWS_SECRET_ACCESS_KEY", "local"),
    ];
    let exports = variables.map(|(name, value)| format!("export {name}={}\n", shell_word(value))).concat();
    // A profile may take precedence over the keys, and a session token belongs to other keys.
    format!("{exports}unset AWS_PROFILE AWS_SESSION_TOKEN\n")
}

/// Whether and where the local AWS runs, as one JSON document.
fn local_status(running: Option<&Running>) -> Json {
    let field = |of: fn(&Running) -> Json| running.map_or(Json::Null, of);
    json!({
        "format_version": 1,
        "running": running.is_some(),
        "endpoint": field(|it| json!(it.endpoint)),
        "port": field(|it| json!(it.port)),
        "pid": field(|it| json!(it.pid)),
        "version": field(|it| json!(it.version)),
    })
}

fn local_command(global: &Global, terminal: &Terminal, command: LocalCommand) -> Result<Exit, Failure> {
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    // The same search that finds a spec's project from any folder below it.
    let root = discovery::search(session::is_project).project.map(|up| session::absolute(&up));
    let project = Project::new(root.unwrap_or(here));
    match command {
        LocalCommand::Start => {
            let project = Project { interrupted: terminal::interrupted(), ..project };
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
        LocalCommand::Status { format } => {
            let running = local::status(&project)?;
            terminal.print(&match (format, &running) {
                (ListFormat::Json, running) => format!("{}\n", local_status(running.as_ref())),
                (ListFormat::Human, Some(running)) => {
                    format!("running: {} (MiniStack {}, process {})\n", running.endpoint, running.version, running.pid)
                }
                (ListFormat::Human, None) => "not running\n".to_owned(),
            });
            return Ok(if running.is_some() { Exit::Done } else { Exit::Failed });
        }
        LocalCommand::Env { account } => {
            let Some(running) = local::status(&project)? else {
                let problem = "the local AWS of this project is not running";
                return Err(Failure::one(Diagnostic::error(problem, "run `engine local start` first")));
            };
            let region = global.region.as_deref().unwrap_or(session::LOCAL_REGION);
            let account = account.as_deref().unwrap_or(session::LOCAL_ACCOUNT);
            terminal.print(&environment(&running, account, region));
        }
        LocalCommand::Reset { install: true } => {
            let removed = local::uninstall(&project)?;
            terminal.print(if removed { "uninstalled; the next start installs it again\n" } else { "not installed\n" });
        }
        LocalCommand::Reset { install: false } => {
            let running = local::status(&project)?.is_some();
            local::reset(&project)?;
            terminal.print(if running { "reset\n" } else { "not running\n" });
        }
        LocalCommand::Supervise(args) => local::supervise(args)?,
    }
    Ok(Exit::Done)
}
