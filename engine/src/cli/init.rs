//! `engine init`: writes a first spec, the function's code and the schema for editors.
//!
//! **Invariant:** it overwrites nothing, and writes nothing at all if the spec can't be written.

use std::io::{BufRead as _, ErrorKind};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::diagnostic::Diagnostic;
use crate::files::{self, NewFile};
use crate::spec::grammar;

use super::exit::{CommandError, Exit};
use super::names::quoted;
use super::schema::json_schema;
use super::terminal::Terminal;
use super::{CommandContext, export};

/// Specs of the repository, which its tests plan and apply.
const PIPELINE: &str = include_str!("../../../specs/team.yaml");
const QUEUE: &str = include_str!("../../../specs/examples/queue.yaml");
const OWN_ROLE: &str = include_str!("../../../specs/examples/own-role.yaml");
const EXISTING_TABLE: &str = include_str!("../../../specs/examples/existing-table.yaml");
const HANDLER: &str = include_str!("../../../lambda-src/log-events/index.js");
const SPEC: &str = "specs/team.yaml";
/// Next to the code, where it overrides the project's own.
const ATTRIBUTES: &str = "\
# Line endings are part of a function's package and affect its hash, so Git keeps them the same on every machine.
# Git doesn't change binary files.
* text=auto eol=lf
";
/// The folders to create in the project's folder.
const FOLDERS: [&str; 3] = ["specs", "lambda-src", "lambda-src/log-events"];
/// How often the prompt is repeated after an invalid name.
const TRIES: usize = 3;

/// Write a starter spec and its function's code
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  engine init                                    prompt for the team
  engine init demo --team red-foxes              in the folder demo
  engine init shared --yes --role lambda-role    with an existing role
  engine init other --yes --template queue       with a queue for failed records
  engine init adopted --team blue-owls --from Orders
                                                 for the table Orders in AWS")]
pub(super) struct InitArgs {
    /// The project's folder. Defaults to the current one
    #[arg(value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Use this team; every name in AWS begins with it
    #[arg(long, value_name = "TEAM")]
    team: Option<String>,
    /// Import this execution role (name or ARN) for the function. Without it, engine creates one
    #[arg(long, value_name = "ROLE", value_parser = role)]
    role: Option<String>,
    /// Use this template
    #[arg(long, value_enum, default_value_t = InitTemplate::Pipeline)]
    template: InitTemplate,
    /// Write a spec that adopts this table, as it is in AWS, with a function for its stream
    #[arg(long, value_name = "TABLE", conflicts_with = "template")]
    from: Option<String>,
    /// Skip the prompt; without --team, use the folder's name as the team
    #[arg(short, long)]
    yes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum InitTemplate {
    /// A table and a function that logs every item change
    Pipeline,
    /// A table and a function, with a queue for records that the function failed to process
    #[value(alias = "dead-letter")]
    Queue,
    /// The shortest: a table and a function with `events`, whose role engine creates
    OwnRole,
    /// A function for an existing table that another tool created
    ExistingTable,
}

impl InitTemplate {
    /// The spec, with a paragraph for an imported role unless engine always creates it.
    fn text(self) -> &'static str {
        match self {
            Self::Pipeline => PIPELINE,
            Self::Queue => QUEUE,
            Self::OwnRole => OWN_ROLE,
            Self::ExistingTable => EXISTING_TABLE,
        }
    }
}

/// Parses the name or ARN of a role.
fn role(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "+=,.@_-/:".contains(c);
    match !text.is_empty() && text.chars().all(fits) {
        true => Ok(text.to_owned()),
        false => Err("use the name or ARN of a role".to_owned()),
    }
}

pub(super) fn run(cx: &CommandContext<'_>, args: InitArgs) -> Result<Exit, CommandError> {
    if args.role.is_some() && args.template == InitTemplate::OwnRole {
        let problem = "the template `own-role` can't use an existing role";
        return Err(CommandError::usage(problem, "leave out `--role`, or use another template"));
    }
    let folder = args.folder.clone().unwrap_or_default();
    let spec = folder.join(SPEC);
    // The user didn't name these folders, so no link among them is followed.
    if let Some(linked) = FOLDERS.iter().map(|name| folder.join(name)).find(|it| it.is_symlink()) {
        let problem = format!("`{}` is a symbolic link, so nothing was written", linked.display());
        return Err(CommandError::one(Diagnostic::error(
            problem,
            "remove the link, or use another folder: `engine init FOLDER`",
        )));
    }
    // Before any prompt.
    if spec.symlink_metadata().is_ok() {
        let problem = format!("`{}` already exists, so nothing was written", spec.display());
        return Err(CommandError::one(Diagnostic::error(
            problem,
            "edit it, or use another folder: `engine init FOLDER`",
        )));
    }
    let team = team(cx.terminal, &args, &folder)?;
    let text = match &args.from {
        Some(table) => from_table(cx, &args, table, &team)?,
        None => filled(&args, args.template.text(), cx.global.region.as_deref(), &team),
    };
    let schema = json_schema();
    // The spec comes last: if it exists, the project is complete.
    let files = [
        (folder.join("lambda-src/.gitattributes"), ATTRIBUTES),
        (folder.join("lambda-src/log-events/index.js"), HANDLER),
        (folder.join("specs/spec.schema.json"), schema.as_str()),
        (spec, text.as_str()),
    ];
    let new: Vec<NewFile<'_>> = files.iter().map(|(path, text)| NewFile::new(path, text.as_bytes())).collect();
    let is_new = files::create_all(&new).map_err(|(path, error)| unwritable(&path, &error))?;
    let written: Vec<String> = files
        .iter()
        .zip(is_new)
        .map(|((path, _), is_new)| {
            let but = if is_new { "" } else { " (already existed, not changed)" };
            format!("  {}{but}", path.display())
        })
        .collect();
    let first = first_step(&args);
    let enter = args.folder.as_ref().map_or_else(String::new, |folder| format!("  cd {}\n", quoted(folder)));
    cx.terminal.print(&format!(
        "Created for team {team}:\n{}\n\nNext:\n{enter}{first}  {:24}try it on this machine, without an account\n  \
         {:24}test that every item change reaches the function's log\n  {:24}deploy it to AWS\n",
        written.join("\n"),
        "engine apply --local",
        "engine verify --local",
        "engine apply",
    ));
    Ok(Exit::Done)
}

/// What to do before the first apply.
fn first_step(args: &InitArgs) -> &'static str {
    match args.template {
        InitTemplate::Queue if args.role.is_some() => {
            "  allow the role to send to the queue: `engine policy --role` prints its permissions\n"
        }
        _ if args.from.is_some() => "  engine diff             show what adopting the table adds\n",
        InitTemplate::Pipeline | InitTemplate::Queue | InitTemplate::OwnRole => "",
        InitTemplate::ExistingTable => "  put your table's name, key and capacity in specs/team.yaml\n",
    }
}

fn unwritable(path: &Path, error: &std::io::Error) -> CommandError {
    let hint = match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => "use a writable folder: `engine init FOLDER`",
        _ => "use another folder: `engine init FOLDER`",
    };
    let problem = format!("can't write `{}`, so nothing was written", path.display());
    CommandError::one(Diagnostic::error(problem, files::remedy(error, hint)).why(error.to_string()))
}

/// The pipeline for an existing table.
fn from_table(cx: &CommandContext<'_>, args: &InitArgs, table: &str, team: &str) -> Result<String, CommandError> {
    const STREAM: &str = "    stream_view_type: NEW_AND_OLD_IMAGES\n";
    let spec = export::table(cx, table, team)?;
    let declarations = spec.resources.iter().map(|it| (it.name.as_str(), it.yaml(&spec.owns)));
    let Some((name, mut declaration)) = declarations.into_iter().next() else { return Ok(String::new()) };
    if !declaration.contains("    stream_view_type:") {
        declaration.push_str(STREAM);
    }
    let text = filled(args, EXISTING_TABLE, Some(&spec.region), team);
    let declared = format!("resources:\n{}", declaration.trim_end());
    let paragraphs = text.split("\n\n").map(|it| if it.starts_with("resources:") { declared.as_str() } else { it });
    let text = paragraphs.collect::<Vec<_>>().join("\n\n");
    let text = text.replace("${todos.", &format!("${{{name}.")).replace("  todos-to-", &format!("  {name}-to-"));
    let owns: String =
        spec.owns.iter().map(|name| format!("  - {}\n", serde_json::Value::from(name.as_str()))).collect();
    let owns = if owns.is_empty() { owns } else { format!("owns:\n{owns}") };
    Ok(text.replacen("\nresources:", &format!("{owns}\nresources:"), 1))
}

/// The template for that team, with paths for the new project, and without an imported role unless
/// one is given.
fn filled(args: &InitArgs, template: &str, region: Option<&str>, team: &str) -> String {
    let is_imported = args.role.is_some();
    let paragraphs = template.split("\n\n").filter(|it| is_imported || !it.contains("type: role\n"));
    let template = paragraphs.collect::<Vec<_>>().join("\n\n");
    let mut text = String::new();
    for line in template.lines().filter(|line| is_imported || !line.contains("${execution-role.")) {
        let line = match (line.split(':').next().unwrap_or_default(), region) {
            ("# yaml-language-server", _) => "# yaml-language-server: $schema=spec.schema.json".to_owned(),
            ("team", _) => format!("team: {team}"),
            ("region", Some(region)) => format!("region: {region}"),
            _ => line.replace("../../lambda-src", "../lambda-src").replace("blue-owls", team),
        };
        let line = match &args.role {
            Some(role) if line.trim_start().starts_with("import:") => format!("    import: {role}"),
            _ => line,
        };
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// The team from the command line or from the prompt.
fn team(terminal: &Terminal, args: &InitArgs, folder: &Path) -> Result<String, CommandError> {
    if let Some(team) = &args.team {
        return match grammar::objection_to_team(team) {
            None => Ok(team.clone()),
            Some(objection) => {
                let problem = format!("the team name `{team}` {objection}");
                Err(CommandError::usage(problem, format!("use {}", grammar::team_name_rule())))
            }
        };
    }
    let suggested = suggestion(folder);
    if args.yes {
        return suggested.ok_or_else(|| {
            CommandError::usage("the folder's name is not a valid team name", "run `engine init --team blue-owls`")
        });
    }
    if !Terminal::can_prompt() {
        let problem = "the spec needs a team, but there is no terminal to ask for it (or CI is set)";
        return Err(CommandError::usage(problem, "run `engine init --team blue-owls`"));
    }
    for _ in 0..TRIES {
        let offer = suggested.as_ref().map_or_else(String::new, |team| format!(" [{team}]"));
        terminal.prompt(&format!("Your team's name; every name in AWS will begin with it{offer}:"));
        let mut line = String::new();
        match std::io::stdin().lock().read_line(&mut line) {
            Ok(1..) => {}
            _ => break,
        }
        let team = match (line.trim(), &suggested) {
            ("", Some(team)) => team.clone(),
            (team, _) => team.to_owned(),
        };
        match grammar::objection_to_team(&team) {
            None => return Ok(team),
            Some(objection) => terminal.note(&format!("`{team}` {objection}: use {}", grammar::team_name_rule())),
        }
    }
    let problem = "no team was entered, so nothing was written";
    Err(CommandError::one(Diagnostic::error(problem, "run `engine init --team blue-owls`")))
}

/// A team name derived from the folder's name.
fn suggestion(folder: &Path) -> Option<String> {
    let absolute = std::path::absolute(Path::new(".").join(folder)).ok()?;
    let name = absolute.file_name()?.to_string_lossy().to_lowercase();
    let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let name = name.trim_matches('-').to_owned();
    grammar::objection_to_team(&name).is_none().then_some(name)
}
