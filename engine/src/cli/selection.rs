//! The options that select the AWS, the spec, the team and the stage of a run, which the commands in
//! its texts repeat: without them, a user who follows a hint would act on something else.
//!
//! **Invariant:** completing a command twice is the same as once, and a run without these options
//! shows commands as they are.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{ArgMatches, Command};

use crate::diagnostic::{Diagnostic, shell_word};
use crate::remedy::Advice;
use crate::render::remedy;

use super::Global;
use super::help;
use super::names::quoted;
use super::session::find_spec;

/// The commands that read no project.
const ANYWHERE: [&str; 4] = ["completions", "explain", "man", "schema"];

/// What the command line of a run selects.
#[derive(Debug, Default, Clone)]
pub(super) struct Selection {
    pub(super) directory: Option<PathBuf>,
    pub(super) is_local: bool,
    pub(super) profile: Option<String>,
    pub(super) region: Option<String>,
    pub(super) specs: Vec<PathBuf>,
    pub(super) team: Option<String>,
    pub(super) teams: Option<PathBuf>,
    pub(super) stage: Option<String>,
}

impl Selection {
    /// That of a command line.
    pub(super) fn of(global: &Global, matches: &ArgMatches) -> Selection {
        let mut command = matches;
        while let Some((_, inner)) = command.subcommand() {
            command = inner;
        }
        let text = |id: &str| command.try_get_one::<String>(id).ok().flatten().cloned();
        // The same id has another type in some commands.
        let paths = |id: &str| match command.try_get_many::<PathBuf>(id) {
            Ok(Some(paths)) => paths.cloned().collect(),
            _ => Vec::new(),
        };
        Selection {
            directory: global.directory.clone(),
            is_local: global.local,
            profile: global.profile.clone(),
            region: global.region.clone(),
            specs: ["spec", "file", "path"].into_iter().flat_map(paths).collect(),
            team: text("team"),
            teams: paths("teams").into_iter().next(),
            stage: text("stage"),
        }
    }

    /// Makes all texts from now on repeat it.
    pub(super) fn set(mut self) {
        // The default needs no option.
        if let [only] = self.specs.as_slice()
            && find_spec().is_ok_and(|default| default == *only)
        {
            self.specs.clear();
        }
        let root = Arc::new(help::command());
        remedy::complete_commands(move |command, team| self.completed(&root, command, team));
    }

    /// A command with the options that it lacks; that of a team instead of the list of teams.
    fn completed(&self, root: &Command, text: &str, team: Option<&str>) -> String {
        let Some(mut written) = Written::parse(root, text) else { return text.to_owned() };
        // What `init` writes doesn't depend on an AWS.
        let shown = if written.name == "init" { &[] } else { help::aws_options(written.name) };
        let directory = self.directory.as_deref().filter(|_| !ANYWHERE.contains(&written.name));
        if self.is_local && shown.contains(&"local") {
            written.add("local", &[], "--local".to_owned());
        }
        if let Some(profile) = self.profile.as_deref().filter(|_| shown.contains(&"profile")) {
            written.add("profile", &[], format!("--profile {}", shell_word(profile)));
        }
        if written.is_saved_plan() {
            // It has the rest.
            return written.text(text, directory);
        }
        if let Some(region) = self.region.as_deref().filter(|_| shown.contains(&"region")) {
            written.add("region", &[], format!("--region {}", shell_word(region)));
        }
        written.add_specs(&self.specs.iter().map(|it| quoted(it)).collect::<Vec<_>>());
        let own = self.team.as_deref().or(team.filter(|_| self.teams.is_some())).map(shell_word);
        match (own, &self.teams) {
            (Some(team), _) => written.add("team", &["teams", "specs", "all-teams"], format!("--team {team}")),
            (None, Some(file)) if written.takes("teams") => {
                written.add("teams", &["team", "specs", "all-teams"], format!("--teams {}", quoted(file)));
            }
            // The text isn't about one of the teams.
            (None, Some(_)) => written.add("team", &[], "--team TEAM".to_owned()),
            (None, None) => {}
        }
        if let Some(stage) = self.stage.as_deref().map(shell_word) {
            written.add("stage", &["stack"], format!("--stage {stage}"));
        }
        written.text(text, directory)
    }
}

/// A command as a text has it.
struct Written<'c, 't> {
    command: &'c Command,
    /// The name of the program's command, of which `command` may be a part.
    name: &'c str,
    options: BTreeSet<String>,
    operands: Vec<&'t str>,
    added: Vec<String>,
}

impl<'c, 't> Written<'c, 't> {
    /// `None` if it is no command of the program.
    fn parse(root: &'c Command, text: &'t str) -> Option<Written<'c, 't>> {
        let mut words = text.split_whitespace().skip(1).peekable();
        let skips = if words.peek() == Some(&"-C") { 2 } else { 0 };
        let mut words = words.skip(skips).peekable();
        let mut command = root.find_subcommand(words.next()?)?;
        let name = command.get_name();
        while let Some(inner) = words.peek().and_then(|word| command.find_subcommand(word)) {
            command = inner;
            words.next();
        }
        let mut written = Written { command, name, options: BTreeSet::new(), operands: Vec::new(), added: Vec::new() };
        while let Some(word) = words.next() {
            match word.strip_prefix("--") {
                Some(long) => {
                    let takes_value = written.arg(long).is_some_and(|arg| arg.get_action().takes_values());
                    written.options.insert(long.to_owned());
                    words.by_ref().take(usize::from(takes_value)).for_each(drop);
                }
                None if word.starts_with('-') => {}
                None => written.operands.push(word),
            }
        }
        Some(written)
    }

    /// Whether its operand is a saved plan instead of a spec.
    fn is_saved_plan(&self) -> bool {
        let is_spec = |path: &str| [".yaml", ".yml"].iter().any(|end| path.trim_matches('\'').ends_with(end));
        self.name == "apply" && self.operands.iter().any(|it| !is_spec(it))
    }

    /// The text with what was added.
    fn text(&self, text: &str, directory: Option<&Path>) -> String {
        let rest = text.strip_prefix("engine ").unwrap_or(text);
        let directory = directory.filter(|_| !rest.starts_with("-C "));
        let directory = directory.map_or_else(String::new, |it| format!(" -C {}", quoted(it)));
        let added = self.added.iter().map(|it| format!(" {it}")).collect::<String>();
        format!("engine{directory} {rest}{added}")
    }

    fn arg(&self, long: &str) -> Option<&'c clap::Arg> {
        self.command.get_arguments().find(|arg| arg.get_long() == Some(long))
    }

    fn takes(&self, long: &str) -> bool {
        self.arg(long).is_some()
    }

    /// Adds an option that the command takes, unless it has it or one that excludes it.
    fn add(&mut self, long: &str, excluding: &[&str], option: String) {
        let is_global = ["local", "profile", "region"].contains(&long);
        let has = |it: &&str| self.options.contains(*it);
        if (is_global || self.takes(long)) && !has(&long) && !excluding.iter().any(has) {
            self.options.insert(long.to_owned());
            self.added.push(option);
        }
    }

    fn add_specs(&mut self, specs: &[String]) {
        // As an operand, it comes after the others.
        let at = self.command.get_positionals().position(|arg| arg.get_id() == "spec");
        if at.is_some_and(|at| self.operands.len() > at) {
            return;
        }
        let takes_many = self.arg("spec").is_some_and(|arg| matches!(arg.get_action(), clap::ArgAction::Append));
        let option = match specs {
            [] => return,
            [_] => specs.concat(),
            _ if takes_many => specs.join(" --spec "),
            // It takes one of them.
            _ => "SPEC".to_owned(),
        };
        self.add("spec", &["stack", "specs", "file"], format!("--spec {option}"));
    }
}

/// The problem with this team in the commands of its texts.
pub(super) fn for_team(team: &str, problem: &Diagnostic) -> Diagnostic {
    let text = |advice: &Advice| Advice::from(remedy::text_for(advice, Some(team)));
    Diagnostic { hints: problem.hints.iter().map(text).collect(), ..problem.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_gets_the_options_that_it_takes_and_lacks() {
        let root = help::command();
        let none = Selection::default();
        let local = Selection { is_local: true, ..Selection::default() };
        let one = Selection {
            specs: vec!["specs/a b.yaml".into()],
            team: Some("owl".to_owned()),
            stage: Some("dev".to_owned()),
            ..local.clone()
        };
        let teams = Selection { teams: Some("teams.txt".into()), ..local.clone() };
        let several = Selection { specs: vec!["a.yaml".into(), "b.yaml".into()], ..local.clone() };
        let account = Selection {
            directory: Some("there".into()),
            profile: Some("work".to_owned()),
            region: Some("eu-west-1".to_owned()),
            ..Selection::default()
        };
        let destroy = "engine destroy --team owl --stack c --region eu-central-1";
        let cases = [
            (&none, "engine apply", "engine apply"),
            (&local, "engine apply", "engine apply --local"),
            (&local, "engine items put todos", "engine items put todos --local"),
            (&local, "engine explain table", "engine explain table"),
            (&local, "engine local start", "engine local start"),
            (&local, "engine validate", "engine validate"),
            (&local, "engine nonsense", "engine nonsense"),
            (&local, destroy, &format!("{destroy} --local")),
            (&one, destroy, &format!("{destroy} --local")),
            (&one, "engine apply", "engine apply --local --spec 'specs/a b.yaml' --team owl --stage dev"),
            (
                &one,
                "engine diff --out FILE",
                "engine diff --out FILE --local --spec 'specs/a b.yaml' --team owl --stage dev",
            ),
            (&one, "engine diff specs/team.yaml", "engine diff specs/team.yaml --local --team owl --stage dev"),
            (&one, "engine forget todos", "engine forget todos --local --spec 'specs/a b.yaml' --team owl --stage dev"),
            (&several, "engine apply", "engine apply --local --spec a.yaml --spec b.yaml"),
            (&several, "engine logs", "engine logs --local --spec SPEC"),
            (&teams, "engine apply", "engine apply --local --teams teams.txt"),
            (&teams, "engine invoke logger", "engine invoke logger --local --team TEAM"),
            (&account, "engine apply", "engine -C there apply --profile work --region eu-west-1"),
            (&account, destroy, &format!("engine -C there {} --profile work", &destroy["engine ".len()..])),
            (&account, "engine explain table", "engine explain table"),
            (&one, "engine apply plan.json", "engine apply plan.json --local"),
            (&account, "engine init", "engine -C there init"),
        ];
        for (selection, text, completed) in cases {
            assert_eq!(selection.completed(&root, text, None), completed);
            assert_eq!(selection.completed(&root, completed, None), completed);
        }
        let of_team = teams.completed(&root, "engine apply --local", Some("owl"));
        assert_eq!(of_team, "engine apply --local --team owl");
        assert_eq!(teams.completed(&root, &of_team, None), of_team);
    }
}
