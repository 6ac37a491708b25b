//! Turns the core's advice into text: the names of options and commands.
//!
//! **Invariant:** each remedy is an imperative, and each request and command a noun, so that they
//! fit into any sentence.

use std::borrow::Cow;

use crate::diagnostic::Diagnostic;
use crate::remedy::{Advice, AdvicePart, CliCommand, Remedy, RunOption};

/// Advice as text.
pub fn text(advice: &Advice) -> String {
    let parts = advice.parts().iter().map(|part| match part {
        AdvicePart::Text(text) => Cow::from(text),
        AdvicePart::Remedy(remedy) => Cow::from(imperative(remedy)),
        AdvicePart::Request(request) => Cow::from(format!("`{}`", option(request))),
        AdvicePart::Command(command) => Cow::from(format!("`{}`", command_line(command))),
    });
    parts.collect()
}

/// Diagnostics with their texts, to be shown.
pub fn worded<'d>(diagnostics: impl IntoIterator<Item = &'d Diagnostic>) -> Vec<Diagnostic<String>> {
    diagnostics.into_iter().map(|it| it.worded(text)).collect()
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
        CliCommand::Diff { spec } => ("diff", *spec),
        CliCommand::Doctor => ("doctor", None),
        CliCommand::Explain(name) => ("explain", name.as_deref()),
        CliCommand::Init => ("init", None),
        CliCommand::SavePlan => ("diff", Some("--out FILE")),
        CliCommand::Validate(path) => ("validate", Some(&**path)),
    };
    argument.map_or_else(|| format!("engine {name}"), |argument| format!("engine {name} {argument}"))
}
