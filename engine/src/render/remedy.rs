//! Turns the core's advice into text: the names of options and commands.
//!
//! **Invariant:** each remedy is an imperative, and each request and command a noun, so that they
//! fit into any sentence.

use std::borrow::Cow;
use std::sync::{PoisonError, RwLock};

use crate::diagnostic::Diagnostic;
use crate::remedy::{Advice, AdvicePart, CliCommand, Remedy, RunOption};

/// Completes a command with what a run selects, for a team if one is given.
type Complete = dyn Fn(&str, Option<&str>) -> String + Send + Sync;

static COMPLETE: RwLock<Option<Box<Complete>>> = RwLock::new(None);

/// Makes `complete` complete each command in all texts from now on; it gets a team if a text is about
/// one of several.
pub fn complete_commands(complete: impl Fn(&str, Option<&str>) -> String + Send + Sync + 'static) {
    *COMPLETE.write().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(complete));
}

/// A text whose commands in backticks have the options of the run.
pub fn completed(text: &str, team: Option<&str>) -> String {
    let complete = COMPLETE.read().unwrap_or_else(PoisonError::into_inner);
    let (Some(complete), true) = (&*complete, text.contains("`engine ")) else { return text.to_owned() };
    let parts: Vec<&str> = text.split('`').collect();
    let last = parts.len() - 1;
    let complete = |(at, part): (usize, &&str)| match part.starts_with("engine ") && 0 < at && at < last {
        true => complete(part, team),
        false => (*part).to_owned(),
    };
    parts.iter().enumerate().map(complete).collect::<Vec<_>>().join("`")
}

/// A command that has the options of the run.
pub fn completed_command(command: &str) -> String {
    completed(&format!("`{command}`"), None).trim_matches('`').to_owned()
}

/// Advice as text, whose commands are those of the run.
pub fn text(advice: &Advice) -> String {
    text_for(advice, None)
}

/// The same in a text about one of the run's teams.
pub fn text_for(advice: &Advice, team: Option<&str>) -> String {
    let parts = advice.parts().iter().map(|part| match part {
        AdvicePart::Command(CliCommand::ApplySavedPlan) => own_text(part).into_owned(),
        part => completed(&own_text(part), team),
    });
    parts.collect()
}

fn own_text(part: &AdvicePart) -> Cow<'_, str> {
    match part {
        AdvicePart::Text(text) => text.into(),
        AdvicePart::Remedy(remedy) => imperative(remedy).into(),
        AdvicePart::Request(request) => format!("`{}`", option(request)).into(),
        AdvicePart::Command(command) => format!("`{}`", command_line(command)).into(),
    }
}

/// Diagnostics with their texts, to be shown.
pub fn worded<'d>(diagnostics: impl IntoIterator<Item = &'d Diagnostic>) -> Vec<Diagnostic<String>> {
    diagnostics.into_iter().map(one_worded).collect()
}

/// A diagnostic with its texts. Only what its hints name is to be run.
pub fn one_worded(diagnostic: &Diagnostic) -> Diagnostic<String> {
    Diagnostic {
        hints: diagnostic.hints.iter().map(text).collect(),
        ..diagnostic.worded(|it| it.parts().iter().map(own_text).collect())
    }
}

fn imperative(remedy: &Remedy) -> String {
    match remedy {
        Remedy::AllowDataLoss => "add `--delete-data`".to_owned(),
        Remedy::AssumeOwner => "add `--assume-owner`".to_owned(),
        Remedy::Replace(name) => format!("add `--replace {name}`"),
        Remedy::Forget(None) => "run `engine forget`".to_owned(),
        Remedy::Forget(Some(name)) => format!("run `engine forget {name}`"),
        Remedy::SearchByName => "add `--prune-scan`".to_owned(),
        Remedy::SetVariable(name) => format!("pass `--var {name}=…`, or set ENGINE_VAR_{name}"),
        Remedy::DestroyStack { team, stack, region } => {
            format!("run `engine destroy --team {team} --stack {stack} --region {region}`")
        }
    }
}

fn option(request: &RunOption) -> String {
    let (option, value) = match request {
        RunOption::Apply => ("apply", None),
        RunOption::AssumeOwner => ("--assume-owner", None),
        RunOption::Destroy => ("--destroy", None),
        RunOption::Local => ("--local", None),
        RunOption::Profile => ("--profile", None),
        RunOption::Region(region) => ("--region", region.clone()),
        RunOption::Replace => ("--replace", None),
        RunOption::SearchByName => ("--prune-scan", None),
        RunOption::Stack(stack) => ("--stack", Some(stack.clone())),
        RunOption::Stage(stage) => ("--stage", stage.clone()),
        RunOption::Targets => ("--target", None),
        RunOption::Team(team) => ("--team", team.clone()),
        RunOption::Variable(name) => ("--var", Some(format!("{name}=…"))),
    };
    value.map_or_else(|| option.to_owned(), |value| format!("{option} {value}"))
}

fn command_line(command: &CliCommand) -> String {
    let (name, argument) = match command {
        CliCommand::Apply { is_local: false } => ("apply", None),
        CliCommand::Apply { is_local: true } => ("apply", Some("--local")),
        CliCommand::ApplySavedPlan => ("apply", None),
        CliCommand::Diff { spec } => ("diff", *spec),
        CliCommand::Doctor => ("doctor", None),
        CliCommand::Explain(name) => ("explain", name.as_deref()),
        CliCommand::Init => ("init", None),
        CliCommand::SavePlan => ("diff", Some("--out FILE")),
        CliCommand::Validate(path) => ("validate", Some(&**path)),
    };
    argument.map_or_else(|| format!("engine {name}"), |argument| format!("engine {name} {argument}"))
}
