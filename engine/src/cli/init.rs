//! `engine init`: a first spec, the function's code and the schema for editors, in a folder of one's own.
//!
//! **Invariant:** it never writes over anything, and writes nothing at all if the spec can't be written.

use std::io::{BufRead as _, ErrorKind};
use std::path::Path;

use crate::diagnostic::Diagnostic;
use crate::files;
use crate::spec::grammar;

use super::names::quoted;
use super::terminal::{Failure, Terminal};
use super::{Exit, Global, InitArgs, Template};

/// The specs of the repository, which its tests plan and apply.
const PIPELINE: &str = include_str!("../../../specs/team.yaml");
const DEAD_LETTER: &str = include_str!("../../../specs/examples/dead-letter.yaml");
const EXISTING_TABLE: &str = include_str!("../../../specs/examples/existing-table.yaml");
const HANDLER: &str = include_str!("../../../lambda-src/log-events/index.js");
const SPEC: &str = "specs/team.yaml";
/// Beside the code, where it holds whatever else the project's own says.
const ATTRIBUTES: &str = "\
# Line endings are part of a function's package and decide its hash, so Git keeps them the same on every machine.
# What Git takes for binary stays as it is.
* text=auto eol=lf
";
/// What is made below the folder that is named.
const FOLDERS: [&str; 3] = ["specs", "lambda-src", "lambda-src/log-events"];
/// Somebody may slip this often.
const TRIES: usize = 3;

/// Writes a project into a folder.
pub(super) fn run(global: &Global, terminal: &Terminal, args: &InitArgs) -> Result<Exit, Failure> {
    let folder = args.folder.clone().unwrap_or_default();
    let spec = folder.join(SPEC);
    // Nobody has named these, so none is followed anywhere else.
    if let Some(linked) = FOLDERS.iter().map(|name| folder.join(name)).find(|it| it.is_symlink()) {
        let problem = format!("`{}` is a symbolic link, and nothing was written", linked.display());
        return Err(Failure::one(
            Diagnostic::error(problem).hint("remove the link, or name another folder: `engine init FOLDER`"),
        ));
    }
    // Before anybody is asked anything.
    if spec.symlink_metadata().is_ok() {
        let problem = format!("`{}` is there already, and nothing was written", spec.display());
        return Err(Failure::one(
            Diagnostic::error(problem).hint("edit it, or name another folder: `engine init FOLDER`"),
        ));
    }
    let team = team(terminal, args, &folder)?;
    let text = filled(args, global, &team);
    let schema = format!("{:#}\n", grammar::json_schema());
    // The spec comes last: where it is, all of it is.
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
            let but = if is_new { "" } else { " (it was there, and stays as it is)" };
            format!("  {}{but}", path.display())
        })
        .collect();
    let enter = args.folder.as_ref().map_or_else(String::new, |folder| format!("  cd {}\n", quoted(folder)));
    let first = match args.template {
        Template::Pipeline => "",
        Template::DeadLetter => "  make the queue that the spec names, or write the name of yours\n",
        Template::ExistingTable => "  write your table's name, key and capacity into specs/team.yaml\n",
    };
    terminal.print(&format!(
        "Written for team {team}:\n{}\n\nNext:\n{enter}{first}  {:24}try it on this machine, without an account\n  \
         {:24}prove that every change of an item reaches the function's log\n  {:24}do it on AWS\n",
        written.join("\n"),
        "engine apply --local",
        "engine verify --local",
        "engine apply",
    ));
    Ok(Exit::Done)
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    let hint = match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => "name a folder that is yours to write to",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "make room on the disk, and run it again",
        _ => "name another folder: `engine init FOLDER`",
    };
    let problem = format!("`{}` can't be written, so nothing was", path.display());
    Failure::one(Diagnostic::error(problem).why(error.to_string()).hint(hint))
}

/// The template for that team, as it lies in the new project.
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

/// The team that was given, or that somebody gives now.
fn team(terminal: &Terminal, args: &InitArgs, folder: &Path) -> Result<String, Failure> {
    if let Some(team) = &args.team {
        return match grammar::objection_to_team(team) {
            None => Ok(team.clone()),
            Some(objection) => {
                let problem = format!("the team's name `{team}` {objection}");
                Err(Failure::usage(problem, format!("it takes {}", grammar::team_words())))
            }
        };
    }
    let suggested = suggestion(folder);
    if args.yes {
        return suggested.ok_or_else(|| {
            Failure::usage("the folder's name makes no team's name", "name the team: `engine init --team blue-owls`")
        });
    }
    if !Terminal::can_ask() {
        let problem = "whose spec it is has to be said, and there is nobody to ask: no terminal, or CI is set";
        return Err(Failure::usage(problem, "name the team: `engine init --team blue-owls`"));
    }
    for _ in 0..TRIES {
        let offer = suggested.as_ref().map_or_else(String::new, |team| format!(" [{team}]"));
        terminal.prompt(&format!("Your team's name, with which every name in AWS begins{offer}:"));
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
            Some(objection) => terminal.say(&format!("`{team}` {objection}: it takes {}", grammar::team_words())),
        }
    }
    let diagnostic = Diagnostic::error("no team was named, and nothing was written");
    Err(Failure::one(diagnostic.hint("name the team: `engine init --team blue-owls`")))
}

/// A team's name out of a folder's.
fn suggestion(folder: &Path) -> Option<String> {
    let absolute = std::path::absolute(Path::new(".").join(folder)).ok()?;
    let name = absolute.file_name()?.to_string_lossy().to_lowercase();
    let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let name = name.trim_matches('-').to_owned();
    grammar::objection_to_team(&name).is_none().then_some(name)
}
