//! Files that are no spec but look familiar: one sentence about all of it helps more than one about each line.
//!
//! **Invariant:** it only names what a file is, and shows none of its text: it may have been found through a link, and be
//! any file of this machine. A file that names a team is always taken for a spec.

use std::sync::Arc;

use crate::diagnostic::{Diagnostic, SourceFile, Span, nearest};
use crate::yaml::{Node, Yaml};

/// Of these, a spec has one at least.
const TELLING: [&str; 2] = ["team", "resources"];

/// Whether somebody may have written a file as a spec, however much is wrong with it.
pub(super) fn may_be_spec(file: &Arc<SourceFile>, root: Option<&Node>) -> bool {
    let tells = |key: &str| nearest(key, TELLING).is_some();
    match root.map(|root| &root.value) {
        Some(Yaml::Map(entries)) => entries.iter().any(|entry| tells(&entry.key)),
        Some(_) => false,
        // All that can be told of what is no YAML.
        None => file.text().lines().any(|line| {
            let key = line.split(':').next().unwrap_or_default();
            tells(key.trim_matches(|c: char| c.is_whitespace() || "{\"'".contains(c)))
        }),
    }
}

/// The error of a mapping that has nothing of a spec.
pub(super) fn unrecognised(file: &Arc<SourceFile>) -> Diagnostic {
    Diagnostic::error("this file is not a spec: it has neither `team:` nor `resources:`")
        .why("nothing of its text is shown, since it may not be meant for engine")
        .at(file.place(Span::new(0, 0)))
        .hint("name the spec instead, like `engine diff specs/team.yaml`; `engine init` writes a first one")
}

/// What is told about a file that somebody has made for another tool; `None` where it may be meant as a spec.
pub(super) fn recognised(file: &Arc<SourceFile>) -> Option<Diagnostic> {
    const OTHER_TOOL: &str =
        "write what it deploys as a spec: `engine init` writes a first one, and `engine explain` lists the kinds";
    const KNOWN_TOOL: &str = "write what it deploys as a spec: `engine init` writes a first one, `engine explain` lists the \
                              kinds, and engine/docs/from-terraform-or-pulumi.md says what is called how";
    let keys: Vec<&str> = file.text().lines().map(str::trim_end).filter_map(key).collect();
    let has = |key: &str| keys.contains(&key);
    let begins = |starts: &[&str]| file.text().lines().any(|line| starts.iter().any(|start| line.starts_with(start)));
    let is_json = file.text().trim_start().starts_with('{');
    let (what, hint) = match () {
        () if has("team") => return None,
        () if is_json && has("format_version") && has("spec_text") => {
            ("a saved plan", "`engine apply` carries it out; to see a plan, name its spec")
        }
        () if begins(&["Transform: AWS::Serverless"]) => ("an AWS SAM template", OTHER_TOOL),
        () if has("AWSTemplateFormatVersion") => ("a CloudFormation template", OTHER_TOOL),
        () if begins(&["terraform {", "resource \"", "provider \"", "module \"", "variable \""]) => {
            ("a Terraform configuration", KNOWN_TOOL)
        }
        () if is_json && has("terraform_version") => ("a state of Terraform", KNOWN_TOOL),
        () if is_json && (has("terraform") || has("provider")) => ("a Terraform configuration", KNOWN_TOOL),
        () if has("service") && has("provider") => ("a configuration of the Serverless Framework", OTHER_TOOL),
        () if has("apiVersion") && has("kind") => ("a Kubernetes manifest", OTHER_TOOL),
        () if has("services") => ("a Docker Compose file", OTHER_TOOL),
        () if has("name") && has("runtime") => ("a Pulumi project", KNOWN_TOOL),
        () if is_json && has("name") && (has("version") || has("scripts") || has("dependencies")) => {
            ("the manifest of a Node.js package", "name the spec instead, like `engine diff specs/team.yaml`")
        }
        () if begins(&[
            "exports.",
            "module.exports",
            "export ",
            "import ",
            "const ",
            "'use strict'",
            "\"use strict\"",
        ]) =>
        {
            ("JavaScript source", "name its folder in `code:` of a function of the spec")
        }
        () if begins(&["<!DOCTYPE", "<!doctype", "<html"]) => {
            ("a web page", "save the raw file, not the page that shows it")
        }
        () => return None,
    };
    let start = Span::new(0, file.text().lines().next().map_or(0, str::len));
    Some(Diagnostic::error(format!("this file is {what}, not a spec")).at(file.place(start)).hint(hint))
}

/// The key at the beginning of a line: of YAML if it isn't indented, of JSON in any case.
fn key(line: &str) -> Option<&str> {
    let (key, _) = line.split_once(':')?;
    match key.trim_start().trim_start_matches('{').trim_start().strip_prefix('"') {
        Some(quoted) => quoted.trim_end().strip_suffix('"'),
        None => (!key.starts_with([' ', '\t', '#', '-'])).then_some(key.trim_end()),
    }
}
