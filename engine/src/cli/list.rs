//! `engine list`: lists managed resources and their owners.
//!
//! **Invariant:** it only reads.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::Args;
use tokio::sync::watch;

use crate::aws::{Access, Context};
use crate::inventory::SearchScope;
use crate::live;
use crate::plan::Options;
use crate::render::{self, Owned, OwnerKind, remedy};
use crate::schema::{AwsEnv, Id, Live, Ownership};
use crate::spec::Depth;
use crate::value::Value;

use super::CommandContext;
use super::args::{OutputFormat, SpecArgs};
use super::exit::{CommandError, Exit};
use super::interrupt::on_runtime;
use super::names;
use super::session::{self, Session};
use super::terminal::{Terminal, with_wait_notice};

/// List managed resources and their owners
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  engine list                                      what this team's stack owns
  engine list --all-teams                          what all teams own
  engine list --all-teams --prefixes specs/examples/teams.txt
                                                   also untagged resources with a team's prefix
  engine list --teams specs/examples/teams.txt     the same spec for each team in a list")]
pub(super) struct ListArgs {
    #[command(flatten)]
    spec: SpecArgs,
    /// List the resources of all teams
    #[arg(long)]
    all_teams: bool,
    /// Also list untagged resources whose names begin with a team from this file (one team per
    /// line)
    #[arg(long, value_name = "FILE", requires = "all_teams")]
    prefixes: Option<PathBuf>,
    /// Output format
    #[arg(long, value_enum, default_value_t = OutputFormat::Human)]
    format: OutputFormat,
}

pub(super) fn run(cx: &CommandContext<'_>, args: ListArgs) -> Result<Exit, CommandError> {
    let prefixes = args.prefixes.as_deref().map(session::read_teams).transpose()?.unwrap_or_default();
    // An administrator of all teams may have none of their specs.
    let has_no_spec = args.all_teams && args.spec.named().is_empty() && session::find_spec().is_err();
    let bare = || Some("all-teams".to_owned());
    let spec =
        if has_no_spec { SpecArgs { team: bare(), stack: bare(), ..args.spec.clone() } } else { args.spec.clone() };
    if session::is_stopped(cx, &spec) {
        print_nothing(cx.terminal, args.format);
        return Ok(Exit::Done);
    }
    let sessions = session::open(cx, &spec, &Options::default(), Depth::Identities)?;
    on_runtime(|interrupt| list(cx.terminal, sessions, &args, &prefixes, interrupt))
}

/// Prints the list for a local AWS that isn't running: it has no resources.
fn print_nothing(terminal: &Terminal, format: OutputFormat) {
    match format {
        OutputFormat::Json => terminal.print(&format!("{}\n", render::owned_json(&[]))),
        OutputFormat::Human => {
            let start = remedy::completed("`engine apply --local` starts it.", None);
            terminal.show(&format!("No resources: the local AWS of this project is not running. {start}\n"));
        }
    }
}

async fn list(
    terminal: &Terminal,
    sessions: Vec<Session<'_>>,
    args: &ListArgs,
    prefixes: &[String],
    interrupt: watch::Receiver<bool>,
) -> Result<Exit, CommandError> {
    // What all teams own doesn't depend on the spec.
    let n_asked = if args.all_teams { 1 } else { sessions.len() };
    let (mut owned, mut scopes, mut readers) = (Vec::new(), Vec::new(), Vec::new());
    for session in sessions.iter().take(n_asked) {
        let known = readers.iter().position(|(target, _, _)| *target == &session.target);
        let at = match known {
            Some(at) => at,
            None => {
                let (cx, account) = session.reader(Access::ReadOnly, &interrupt).await?;
                readers.push((&session.target, cx, account));
                readers.len() - 1
            }
        };
        let Some((target, cx, account)) = readers.get(at) else { continue };
        let owner = (!args.all_teams).then_some((session.spec.team.as_str(), session.spec.stack.as_str()));
        owned.extend(find_owned(cx, owner, prefixes, account, terminal).await?);
        let scope = names::search_scope(target, &AwsEnv::new(&cx.aws.region, account));
        let owners = match owner {
            Some((team, stack)) => format!("team {team}, stack {stack}"),
            None => "all teams".to_owned(),
        };
        scopes.push((owners, scope));
    }
    owned.sort();
    print_owned(terminal, args.format, &owned, &scopes);
    Ok(Exit::Done)
}

/// Prints resources, or where none exist; `scopes` are their owners and where they were searched.
fn print_owned(terminal: &Terminal, format: OutputFormat, owned: &[Owned], scopes: &[(String, SearchScope)]) {
    match format {
        OutputFormat::Json => terminal.print(&format!("{}\n", render::owned_json(owned))),
        OutputFormat::Human if owned.is_empty() => {
            for (owners, scope) in scopes {
                terminal.show(&format!(
                    "No resources of {owners} exist {}.\n{}\n",
                    scope.location(),
                    sentence(&remedy::text(&scope.elsewhere()))
                ));
            }
        }
        OutputFormat::Human => {
            let mut style = terminal.out;
            if !std::io::stdout().is_terminal() {
                // For programs, rows don't wrap.
                style.width = usize::MAX;
            }
            terminal.print(&render::owned(owned, style));
            scopes.iter().for_each(|(owners, it)| terminal.note(&format!("Resources of {owners} {}", it.location())));
        }
    }
}

/// Finds the resources of one team and stack, or of all, with their owners.
async fn find_owned(
    cx: &Context,
    owner: Option<(&str, &str)>,
    prefixes: &[String],
    account: &str,
    terminal: &Terminal,
) -> Result<Vec<Owned>, CommandError> {
    let found = live::discover_all(cx, owner, prefixes, account);
    let found = with_wait_notice(terminal.quiet, || cx.waits(), found).await;
    let found = found.map_err(|error| {
        let mut diagnostic = error.diagnostic("search for managed resources");
        if error.is_denied() && prefixes.is_empty() {
            diagnostic = diagnostic.hint("or search by name: add `--all-teams --prefixes FILE`");
        }
        CommandError::one(diagnostic)
    })?;
    let owned = found.into_iter().map(|(kind, id, live)| {
        let kind = kind.schema().kind.clone();
        let link = (kind == "mapping").then(|| link(&id, &live)).flatten();
        let (owner, team, stack, resource) = match live.owner {
            Ownership::Engine(owner) | Ownership::OtherRegion(owner, _) => {
                (OwnerKind::Team, owner.team, owner.stack, owner.resource)
            }
            Ownership::CloudFormation(stack) => (OwnerKind::CloudFormation, String::new(), stack, String::new()),
            Ownership::Unowned | Ownership::Inherited | Ownership::Untaggable => Default::default(),
            Ownership::Denied | Ownership::NotYetReadable(_) => {
                (OwnerKind::Unreadable, String::new(), String::new(), String::new())
            }
        };
        Owned { team, stack, resource, kind, name: id.name, owner, link }
    });
    Ok(owned.collect())
}

/// The names of a mapping's source and function.
fn link(id: &Id, live: &Live) -> Option<(String, String)> {
    let property = |name: &'static str| {
        let parent = id.parents.get(name).map(String::as_str).filter(|it| !it.is_empty());
        parent.or_else(|| live.props.get(name).and_then(Value::as_str)).map(str::to_owned)
    };
    // `arn:…:table/NAME/stream/…`, `arn:…:function:NAME` or a name.
    let source = property("event_source_arn")?;
    let source = source.split('/').nth(1).or_else(|| source.rsplit(':').next())?.to_owned();
    let function = property("function")?.rsplit(':').next()?.to_owned();
    Some((source, function))
}

/// A hint as a separate sentence.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), chars.as_str()))
}
