//! Renders a spec's outputs, and resources with their owners.

use std::fmt::Write as _;

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::{Value as Json, json};

use crate::diagnostic::{shell_word, wrap};
use crate::schema::Str;
use crate::value::Value;

use super::json::FORMAT_VERSION;
use super::value::one_line;
use super::{GREEN, OutputStyle, RED, YELLOW};

/// One resource in AWS and its owner.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owned {
    /// The team; empty if no team owns it.
    pub team: String,
    /// The team's stack, or CloudFormation's.
    pub stack: String,
    /// The resource's name in its spec; empty if no team owns it.
    pub resource: String,
    /// Its kind.
    pub kind: Str,
    /// Its name in AWS.
    pub name: String,
    /// The type of its owner.
    pub owner: OwnerKind,
    /// The source and function of a mapping.
    pub link: Option<(String, String)>,
}

/// The type of an owner.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum OwnerKind {
    /// Its tags name a team.
    Team,
    /// Its tags name a CloudFormation stack.
    CloudFormation,
    /// No tag names an owner.
    #[default]
    Untagged,
    /// Its tags can't be read (yet).
    Unreadable,
}

/// `name = value` lines.
pub fn outputs(outputs: &[(String, Value)]) -> String {
    let columns = outputs.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, value) in outputs {
        let _ = writeln!(text, "{name:columns$} = {}", one_line(value));
    }
    text
}

/// The same as a JSON object; unknown values are `null`.
pub fn outputs_json(outputs: &[(String, Value)]) -> Json {
    Json::Object(outputs.iter().map(|(name, value)| (name.clone(), Json::from(value))).collect())
}

/// The same as lines for a shell. Names are in upper case; with several teams, the team comes first.
pub fn outputs_env(outputs: &[(String, Value)], team: Option<&str>) -> String {
    let variable = |name: &str| {
        let name = team.map_or_else(|| name.to_owned(), |team| format!("{team}_{name}"));
        let name: String =
            name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
        // A shell takes no name that starts with a digit.
        if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
    };
    let text = |value: &Value| value.as_str().map_or_else(|| Json::from(value).to_string(), str::to_owned);
    outputs.iter().map(|(name, value)| format!("export {}={}\n", variable(name), shell_word(&text(value)))).collect()
}

/// Checks with their results.
pub fn checkup(lines: &[(&'static str, &'static str, String)], out: OutputStyle) -> String {
    let mut text = String::new();
    for (sign, what, found) in lines {
        let style = match *sign {
            "ok" => GREEN,
            "note" => YELLOW,
            _ => RED,
        };
        // Padded by hand: color codes have no width.
        let pad = 7_usize.saturating_sub(sign.len());
        let lead = format!("{:pad$}{}  {what:12}", "", out.paint(style, sign));
        for (at, line) in wrap(found, out.width.max(60).saturating_sub(22)).into_iter().enumerate() {
            let _ = if at == 0 { writeln!(text, "{lead} {line}") } else { writeln!(text, "{:22}{line}", "") };
        }
    }
    text
}

/// Resources and their owners as a table. A mapping is shown as what it connects, not by its random
/// ID.
pub fn owned(owned: &[Owned], out: OutputStyle) -> String {
    let resource_of = |name: &str| {
        let found = owned.iter().find(|it| it.name == name && !it.resource.is_empty());
        found.map_or_else(|| name.to_owned(), |it| it.resource.clone())
    };
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(u16::try_from(out.width).unwrap_or(u16::MAX));
    table.set_header(["TEAM", "STACK", "RESOURCE", "KIND", "NAME IN AWS"]);
    for Owned { team, stack, resource, kind, name, owner, link } in owned {
        let linked = link.as_ref().map(|(from, to)| format!("{} -> {}", resource_of(from), resource_of(to)));
        let name = linked.as_ref().unwrap_or(name);
        let stack = match owner {
            OwnerKind::Team => stack.clone(),
            OwnerKind::CloudFormation => format!("CloudFormation {stack}"),
            OwnerKind::Untagged => "(no tags)".to_owned(),
            OwnerKind::Unreadable => "(unreadable)".to_owned(),
        };
        table.add_row([&**team, &stack, resource, kind, name]);
    }
    let text = table.to_string();
    text.lines().fold(String::new(), |mut text, line| {
        let _ = writeln!(text, "{}", line.trim_end());
        text
    })
}

/// Resources and their owners as one JSON document; missing names are `null`.
pub fn owned_json(owned: &[Owned]) -> Json {
    let resources: Vec<Json> = owned
        .iter()
        .map(|Owned { team, stack, resource, kind, name, owner, link }| {
            let owner = match owner {
                OwnerKind::Team => "team",
                OwnerKind::CloudFormation => "cloudformation",
                OwnerKind::Untagged => "nobody",
                OwnerKind::Unreadable => "unreadable",
            };
            let [team, stack, resource] = [team, stack, resource].map(|text| Some(text).filter(|it| !it.is_empty()));
            let mut row =
                json!({ "owner": owner, "team": team, "stack": stack, "resource": resource, "kind": kind, "name": name });
            if let (Json::Object(row), Some((source, function))) = (&mut row, link) {
                row.insert("source".to_owned(), json!(source));
                row.insert("function".to_owned(), json!(function));
            }
            row
        })
        .collect();
    json!({ "format_version": FORMAT_VERSION, "resources": resources })
}
