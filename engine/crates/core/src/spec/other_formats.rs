//! Recognizes files of other tools, so that one message replaces an error for each line.
//!
//! **Invariant:** it names the type of a file and shows none of its text, since a link may lead to
//! any file on this machine. A file with `team:` is always treated as a spec.

use std::sync::Arc;

use crate::diagnostic::{Diagnostic, SourceFile, Span, nearest};
use crate::remedy::{Advice, CliCommand};
use crate::yaml::{Node, Yaml};

/// A spec has at least one of these keys.
const SPEC_KEYS: [&str; 2] = ["team", "resources"];

/// Whether a file may be meant as a spec, even with errors.
pub(super) fn may_be_spec(file: &Arc<SourceFile>, root: Option<&Node>) -> bool {
    let is_spec_key = |key: &str| nearest(key, SPEC_KEYS).is_some();
    match root.map(|root| &root.value) {
        Some(Yaml::Map(entries)) => entries.iter().any(|entry| is_spec_key(&entry.key)),
        Some(_) => false,
        // It is not valid YAML, so only its lines can be checked.
        None => file.text().lines().any(|line| {
            let key = line.split(':').next().unwrap_or_default();
            is_spec_key(key.trim_matches(|c: char| c.is_whitespace() || "{\"'".contains(c)))
        }),
    }
}

/// The error for a mapping without any key of a spec.
pub(super) fn unrecognised(file: &Arc<SourceFile>) -> Diagnostic {
    Diagnostic::error(
        "this file is not a spec: it has neither `team:` nor `resources:`",
        pass_a_spec().then("; ").then(CliCommand::Init).then(" creates one"),
    )
    .why("its text is hidden, because it may be any file")
    .at(file.location(Span::new(0, 0)))
}

fn pass_a_spec() -> Advice {
    Advice::from("pass a spec, like ").then(CliCommand::Diff { spec: Some(super::EXAMPLE) })
}

/// What to do with the file of a tool that deploys resources; `is_known`: a page translates its
/// terms.
fn declare_resources(is_known: bool) -> Advice {
    let advice = Advice::from("declare its resources in a spec: ").then(CliCommand::Init);
    let advice = advice.then(if is_known { " creates one, " } else { " creates one, and " });
    let advice = advice.then(CliCommand::Explain(None)).then(" lists the resource types");
    match is_known {
        true => advice.then(", and engine/docs/from-terraform-or-pulumi.md translates the terms"),
        false => advice,
    }
}

/// The error for another tool's file; `None` if the file may be meant as a spec.
pub(super) fn recognised(file: &Arc<SourceFile>) -> Option<Diagnostic> {
    let keys: Vec<&str> = file.text().lines().map(str::trim_end).filter_map(key).collect();
    let has = |key: &str| keys.contains(&key);
    if has("team") {
        return None;
    }
    let begins = |starts: &[&str]| file.text().lines().any(|line| starts.iter().any(|start| line.starts_with(start)));
    let is_json = file.text().trim_start().starts_with('{');
    let is_terraform = begins(&["terraform {", "resource \"", "provider \"", "module \"", "variable \""]);
    let is_package = is_json && has("name") && (has("version") || has("scripts") || has("dependencies"));
    let is_javascript =
        begins(&["exports.", "module.exports", "export ", "import ", "const ", "'use strict'", "\"use strict\""]);
    let formats = [
        (
            is_json && has("format_version") && has("spec_text"),
            "a saved plan",
            Advice::from("run ").then(CliCommand::ApplySavedPlan).then(" with it; to create a new plan, pass the spec"),
        ),
        (begins(&["Transform: AWS::Serverless"]), "an AWS SAM template", declare_resources(false)),
        (has("AWSTemplateFormatVersion"), "a CloudFormation template", declare_resources(false)),
        (is_terraform, "a Terraform configuration", declare_resources(true)),
        (is_json && has("terraform_version"), "a Terraform state file", declare_resources(true)),
        (is_json && (has("terraform") || has("provider")), "a Terraform configuration", declare_resources(true)),
        (has("service") && has("provider"), "a Serverless Framework configuration", declare_resources(false)),
        (has("apiVersion") && has("kind"), "a Kubernetes manifest", declare_resources(false)),
        (has("services"), "a Docker Compose file", declare_resources(false)),
        (has("name") && has("runtime"), "a Pulumi project", declare_resources(true)),
        (is_package, "a Node.js package manifest", pass_a_spec()),
        (is_javascript, "JavaScript source", "set its folder as `code:` of a function in the spec".into()),
        (
            begins(&["<!DOCTYPE", "<!doctype", "<html"]),
            "a web page",
            "download the raw file instead of the page that shows it".into(),
        ),
    ];
    let (_, what, hint) = formats.into_iter().find(|(is_it, ..)| *is_it)?;
    let start = Span::new(0, file.text().lines().next().map_or(0, str::len));
    Some(Diagnostic::error(format!("this file is {what}, not a spec"), hint).at(file.location(start)))
}

/// The key at the start of a line: in YAML only without indentation, in JSON always.
fn key(line: &str) -> Option<&str> {
    let (key, _) = line.split_once(':')?;
    match key.trim_start().trim_start_matches('{').trim_start().strip_prefix('"') {
        Some(quoted) => quoted.trim_end().strip_suffix('"'),
        None => (!key.starts_with([' ', '\t', '#', '-'])).then_some(key.trim_end()),
    }
}
