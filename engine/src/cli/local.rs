//! `engine local`: controls this project's local AWS.
//!
//! **Invariant:** it only controls the local AWS of this project.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};

use crate::diagnostic::{Diagnostic, shell_word};
use crate::local::{self, Project, Running, SuperviseArgs};

use super::CommandContext;
use super::args::OutputFormat;
use super::exit::{CommandError, Exit};
use super::interrupt::interrupt_flag;
use super::parse::account_id;
use super::session::{self, LOCAL_ACCOUNT, LOCAL_REGION};

/// Manage this project's local AWS
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  engine local start     or any command with --local
  engine local status    its status and address
  engine local env       variables for other AWS clients
  engine local reset     delete everything in it
  engine local stop      stop it; it also stops after an hour of inactivity")]
pub(super) struct LocalArgs {
    #[command(subcommand)]
    command: LocalCommand,
}

#[derive(Debug, Subcommand)]
enum LocalCommand {
    /// Start the local AWS, or print its address if it is running
    #[command(after_help = "\
Examples:
  engine local start                       or any command with --local
  engine apply --local                     deploy the spec to it")]
    Start,
    /// Stop the local AWS and delete everything deployed in it
    #[command(after_help = "\
Examples:
  engine local stop                        it also stops after an hour of inactivity")]
    Stop,
    /// Print the status and address of the local AWS; exit with code 1 if it is stopped
    #[command(after_help = "\
Examples:
  engine local status                      its address; for other tools, see `engine local env`")]
    Status {
        /// Output format
        #[arg(long, value_enum, default_value_t = OutputFormat::Human)]
        format: OutputFormat,
    },
    /// Print the environment variables that point AWS clients to the local AWS, including its key
    #[command(after_help = "\
Examples:
  engine local env                         for a shell: eval \"$(engine local env)\"")]
    Env {
        /// Use this account
        #[arg(long, value_name = "ID", value_parser = account_id)]
        account: Option<String>,
    },
    /// Delete everything in the local AWS, in all accounts and regions
    #[command(after_help = "\
Examples:
  engine local reset                       then start over: engine apply --local")]
    Reset {
        /// Stop and uninstall the local AWS; the next start installs it again
        #[arg(long)]
        install: bool,
    },
    #[command(hide = true)]
    Supervise(SuperviseArgs),
}

pub(super) fn run(cx: &CommandContext<'_>, args: LocalArgs) -> Result<Exit, CommandError> {
    let terminal = cx.terminal;
    let project = project();
    match args.command {
        LocalCommand::Start => {
            let project = Project { interrupted: interrupt_flag(), ..project };
            let running = local::ensure(&project, &mut |text| terminal.note(text))?;
            terminal.print(&format!("{}\n", address(&running)));
        }
        LocalCommand::Stop => {
            let stopped = local::stop(&project)?;
            terminal.print(if stopped { "stopped\n" } else { "not running\n" });
        }
        LocalCommand::Status { format } => {
            let running = local::status(&project)?;
            terminal.print(&match (format, &running) {
                (OutputFormat::Json, running) => format!("{}\n", status_json(running.as_ref())),
                (OutputFormat::Human, Some(running)) => format!("{}\n", address(running)),
                (OutputFormat::Human, None) => "not running\n".to_owned(),
            });
            return Ok(if running.is_some() { Exit::Done } else { Exit::Failed });
        }
        LocalCommand::Env { account } => {
            let Some(running) = local::status(&project)? else {
                let problem = "the local AWS of this project is not running";
                return Err(CommandError::one(Diagnostic::error(problem, "run `engine local start` first")));
            };
            let region = cx.global.region.as_deref().unwrap_or(LOCAL_REGION);
            terminal.print(&environment(&running, account.as_deref().unwrap_or(LOCAL_ACCOUNT), region));
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

/// The project of the current folder: the same search finds a spec's project from any folder below
/// it.
fn project() -> Project {
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    let root = session::search(session::is_project).project.map(|up| session::absolute(&up));
    Project::new(root.unwrap_or(here))
}

fn address(running: &Running) -> String {
    format!("running: {} (MiniStack {}, process {})", running.endpoint, running.version, running.pid)
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
fn status_json(running: Option<&Running>) -> Json {
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
