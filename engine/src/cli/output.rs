//! `engine output`: prints the spec's outputs.
//!
//! **Invariant:** it only reads.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tokio::sync::watch;

use crate::diagnostic::{Diagnostic, nearest};
use crate::inventory::Inventory;
use crate::live::OrphanSearch;
use crate::plan::{Goal, Options};
use crate::remedy::Advice;
use crate::render;
use crate::spec::{Depth, Spec};
use crate::value::{Placeholder, Value};

use super::CommandContext;
use super::args::{NamedSpecArgs, SpecArgs, WhenStopped};
use super::exit::{CommandError, Exit};
use super::interrupt::on_runtime;
use super::names;
use super::session::{self, Intent, LookupReads, Run, Session};

/// Print the spec's outputs
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  engine output --spec specs/examples/inline.yaml         all outputs
  engine output table --spec specs/examples/inline.yaml   only the output `table`
  engine output --format env --spec specs/examples/inline.yaml
                                                          lines for a shell: export TABLE='…'")]
pub(super) struct OutputArgs {
    /// Print only this output
    #[arg(value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    spec: NamedSpecArgs,
    /// Print the outputs of each team in this file (one team per line)
    #[arg(long, value_name = "FILE", conflicts_with = "team")]
    teams: Option<PathBuf>,
    /// Output format
    #[arg(long, value_enum, default_value_t = OutputsFormat::Text)]
    format: OutputsFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OutputsFormat {
    /// A line per output
    #[value(alias = "human")]
    Text,
    /// One object
    Json,
    /// Lines for a shell, like export TABLE='blue-owls-todos'
    Env,
}

pub(super) fn run(cx: &CommandContext<'_>, args: OutputArgs) -> Result<Exit, CommandError> {
    let spec = SpecArgs { when_stopped: WhenStopped::Fail, teams: args.teams.clone(), ..SpecArgs::from(&args.spec) };
    let name = args.name.as_deref();
    names::reject_spec_path(name, |path| format!("engine output --spec {path}"))?;
    let unknown = names::check_name(name, has_output);
    let sessions = session::open_checked(cx, &spec, &Options::default(), Depth::Full, unknown)?;
    on_runtime(|interrupt| print(sessions, name, args.format, interrupt))
}

/// Whether the spec has an output of that name.
fn has_output(spec: &Spec, name: &str) -> Result<(), CommandError> {
    let known = || spec.outputs.iter().map(|(known, _)| known.as_str());
    if known().any(|known| known == name) {
        return Ok(());
    }
    let names = known().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let suggestion = nearest(name, known()).map_or_else(String::new, |near| format!("did you mean `{near}`? "));
    let hint = match (names.is_empty(), suggestion.is_empty()) {
        (true, _) => "add outputs to the spec: `outputs: { name: ${resource.attribute} }`".to_owned(),
        (false, true) => format!("use one of {names}"),
        (false, false) => format!("{suggestion}The outputs are {names}"),
    };
    Err(CommandError::one(Diagnostic::error(format!("the spec has no output `{name}`"), hint)))
}

/// Prints the spec's outputs as they are in AWS.
async fn print(
    sessions: Vec<Session<'_>>,
    name: Option<&str>,
    format: OutputsFormat,
    interrupt: watch::Receiver<bool>,
) -> Result<Exit, CommandError> {
    let intent =
        Intent { goal: Goal::Present, writes: false, orphans: OrphanSearch::Ignored, lookups: LookupReads::Required };
    let (is_one, screen) = (sessions.len() < 2, sessions.first().map(|session| session.terminal));
    let mut by_team = serde_json::Map::new();
    for run in session::read(sessions, intent, &interrupt).await? {
        let Run { session: Session { spec, terminal, target, .. }, inventory, .. } = &run;
        let known = output_values(spec, inventory, |resource, attribute| {
            let declared = spec.resource(resource)?;
            let computed = declared.schema().computed(&inventory.env, &declared.id.name);
            let live = inventory.live(resource)?;
            live.outputs.get(attribute).or_else(|| computed.get(attribute)).cloned()
        });
        let wanted: Vec<(String, Value)> =
            known.into_iter().filter(|(known, _)| name.is_none_or(|name| name == known)).collect();
        if let Some((missing, _)) = wanted.iter().find(|(_, value)| value.has_unknown()) {
            let scope = names::search_scope(target, &inventory.env);
            let location = scope.location();
            let problem =
                format!("the output `{missing}` is unknown: the resource that it refers to doesn't exist {location}");
            let diagnostic = Diagnostic::error(problem, scope.elsewhere());
            return Err(CommandError::one(
                diagnostic.hint(Advice::from("otherwise run ").then(scope.apply()).then(" first")),
            ));
        }
        let (team, outputs) = (spec.team.as_str(), wanted.as_slice());
        match (format, name, outputs) {
            (OutputsFormat::Json, ..) if is_one => terminal.print(&format!("{}\n", render::outputs_json(outputs))),
            // One document for all teams, at the end.
            (OutputsFormat::Json, ..) => drop(by_team.insert(team.to_owned(), render::outputs_json(outputs))),
            (OutputsFormat::Env, ..) => terminal.print(&render::outputs_env(outputs, (!is_one).then_some(team))),
            (OutputsFormat::Text, Some(_), [(_, value)]) if is_one => {
                terminal.print(&format!("{}\n", value.as_str().unwrap_or_default()));
            }
            (OutputsFormat::Text, ..) if is_one => terminal.print(&render::outputs(outputs)),
            (OutputsFormat::Text, ..) => terminal.print(&format!("team {team}:\n{}", render::outputs(outputs))),
        }
    }
    if let Some(terminal) = screen.filter(|_| !by_team.is_empty()) {
        terminal.print(&format!("{}\n", serde_json::Value::Object(by_team)));
    }
    Ok(Exit::Done)
}

/// The spec's outputs, with the references resolved that `lookup` knows.
pub(super) fn output_values(
    spec: &Spec,
    inventory: &Inventory,
    lookup: impl Fn(&str, &str) -> Option<String>,
) -> Vec<(String, Value)> {
    let fill = |placeholder: &Placeholder| inventory.env.fill(placeholder, &lookup);
    spec.outputs.iter().map(|(name, value)| (name.clone(), value.resolve(&fill))).collect()
}
