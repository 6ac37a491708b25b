//! `engine init`: writes a first spec, the function's code and the schema for editors.
//!
//! **Invariant:** it overwrites nothing, and writes nothing at all if the spec can't be written.

use std::io::{BufRead as _, ErrorKind};
use std::path::Path;

use crate::diagnostic::Diagnostic;
use crate::files;
use crate::spec::grammar;

use super::names::quoted;
use super::terminal::{Failure, Terminal};
use super::{Exit, Global, InitArgs, Template};

/// Specs of the repository, which its tests plan and apply.
const PIPELINE: &str = include_str!("../../../specs/team.yaml");
const DEAD_LETTER: &str = include_str!("../../../specs/examples/dead-letter.yaml");
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

/// Writes a project into a folder.
pub(super) fn run(global: &Global, terminal: &Terminal, args: &InitArgs) -> Result<Exit, Failure> {
    let folder = args.folder.clone().unwrap_or_default();
    let spec = folder.join(SPEC);
    // The user didn't name these folders, so no link among them is followed.
    if let Some(linked) = FOLDERS.iter().map(|name| folder.join(name)).find(|it| it.is_symlink()) {
        let problem = format!("`{}` is a symbolic link, so nothing was written", linked.display());
        return Err(Failure::one(Diagnostic::error(
            problem,
            "remove the link, or use another folder: `engine init FOLDER`",
        )));
    }
    // Before any prompt.
    if spec.symlink_metadata().is_ok() {
        let problem = format!("`{}` already exists, so nothing was written", spec.display());
        return Err(Failure::one(Diagnostic::error(problem, "edit it, or use another folder: `engine init FOLDER`")));
    }
    let team = team(terminal, args, &folder)?;
    let text = filled(args, global, &team);
    let schema = super::json_schema();
    // The spec comes last: if it exists, the project is complete.
    let files = [
        (folder.join("lambda-src/.gitattributes"), ATTRIBUTES),
        (folder.join("lambda-src/log-events/index.js"), HANDLER),
        (folder.join("specs/spec.schema.json"), schema.as_str()),
        (spec, text.as_str()),
    ];
    let is_new = files::create_all(&files).map_err(|(path, error)| unwritable(&path, &error))?;
    let written: Vec<String> = files
        .iter()
        .zip(is_new)
        .map(|((path, _), is_new)| {
            let but = if is_new { "" } else { " (already existed, not changed)" };
            format!("  {}{but}", path.display())
        })
        .collect();
    let enter = args.folder.as_ref().map_or_else(String::new, |folder| format!("  cd {}\n", quoted(folder)));
    let first = match args.template {
        Template::Pipeline => "",
        Template::DeadLetter => "  create the queue that the spec names, or put your queue's name in specs/team.yaml\n",
        Template::ExistingTable => "  put your table's name, key and capacity in specs/team.yaml\n",
    };
    terminal.print(&format!(
        "Created for team {team}:\n{}\n\nNext:\n{enter}{first}  {:24}try it on this machine, without an account\n  \
         {:24}test that every item change reaches the function's log\n  {:24}deploy it to AWS\n",
        written.join("\n"),
        "engine apply --local",
        "engine verify --local",
        "engine apply",
    ));
    Ok(Exit::Done)
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    let hint = match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "use a folder that you have permission to write to: `engine init FOLDER`"
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "free disk space, and run the command again",
        _ => "use another folder: `engine init FOLDER`",
    };
    let problem = format!("can't write `{}`, so nothing was written", path.display());
    Failure::one(Diagnostic::error(problem, hint).why(error.to_string()))
}

/// The template for that team, with paths for the new project.
fn filled(args: &InitArgs, global: &Global, team: &str) -> String {
    let template = match args.template {
        Template::Pipeline => PIPELINE,
        Template::DeadLetter => DEAD_LETTER,
        Template::ExistingTable => EXISTING_TABLE,
    };
    let mut text = String::new();
    for line in template.lines() {
        let line = match (line.split(':').next().unwrap_or_default(), &global.region) {
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
fn team(terminal: &Terminal, args: &InitArgs, folder: &Path) -> Result<String, Failure> {
    if let Some(team) = &args.team {
        return match grammar::objection_to_team(team) {
            None => Ok(team.clone()),
            Some(objection) => {
                let problem = format!("the team name `{team}` {objection}");
                Err(Failure::usage(problem, format!("use {}", grammar::team_words())))
            }
        };
    }
    let suggested = suggestion(folder);
    if args.yes {
        return suggested.ok_or_else(|| {
            Failure::usage("the folder's name is not a valid team name", "run `engine init --team blue-owls`")
        });
    }
    if !Terminal::can_ask() {
        let problem = "the spec needs a team, but there is no terminal to ask for it (or CI is set)";
        return Err(Failure::usage(problem, "run `engine init --team blue-owls`"));
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
            Some(objection) => terminal.say(&format!("`{team}` {objection}: use {}", grammar::team_words())),
        }
    }
    let problem = "no team was entered, so nothing was written";
    Err(Failure::one(Diagnostic::error(problem, "run `engine init --team blue-owls`")))
}

/// A team name derived from the folder's name.
fn suggestion(folder: &Path) -> Option<String> {
    let absolute = std::path::absolute(Path::new(".").join(folder)).ok()?;
    let name = absolute.file_name()?.to_string_lossy().to_lowercase();
    let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let name = name.trim_matches('-').to_owned();
    grammar::objection_to_team(&name).is_none().then_some(name)
}
