//! Writes a tree as YAML.
//!
//! **Invariant:** [`super::parse`] reads each text as it was, also after characters that a terminal
//! or a CI runner would act on have been made visible.

use serde_yaml::{Mapping, Value};

use crate::printable::is_steering;

use super::{Yaml, parse};

/// A tree as YAML.
pub fn written(tree: &Value) -> String {
    let text = text_of(tree);
    let mut marker = "QUOTED".to_owned();
    while text.contains(&marker) {
        marker.push('D');
    }
    // serde_yaml has no way to quote one text, so a marker takes its place.
    let mut quoted = Vec::new();
    let tree = marked(tree, &marker, &mut quoted);
    if quoted.is_empty() {
        return text;
    }
    let text = text_of(&tree);
    let mut parts = text.split(marker.as_str());
    let mut written = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (at, rest) = part.split_once('.').unwrap_or((part, ""));
        let text = at.parse().ok().and_then(|at: usize| quoted.get(at));
        written.push_str(text.map_or("", String::as_str));
        written.push_str(rest);
    }
    written
}

fn text_of(tree: &Value) -> String {
    serde_yaml::to_string(tree).unwrap_or_default()
}

/// The tree with a marker for each text that needs quotes.
fn marked(tree: &Value, marker: &str, quoted: &mut Vec<String>) -> Value {
    match tree {
        Value::String(text) if needs_quotes(text) => {
            quoted.push(in_quotes(text));
            Value::String(format!("{marker}{}.", quoted.len() - 1))
        }
        Value::Sequence(items) => Value::Sequence(items.iter().map(|item| marked(item, marker, quoted)).collect()),
        Value::Mapping(entries) => {
            let mut all = Mapping::new();
            for (key, value) in entries {
                let key = marked(key, marker, quoted);
                all.insert(key, marked(value, marker, quoted));
            }
            Value::Mapping(all)
        }
        other => other.clone(),
    }
}

/// Whether a text would be read differently as serde_yaml writes it.
fn needs_quotes(text: &str) -> bool {
    // CI runners execute lines that begin with `::` or contain `##[`.
    let is_command = text.contains("##") || text.contains('\n') && text.contains("::");
    // A spec refuses numbers where it expects text, also as other versions of YAML write them.
    let is_number = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_digit()) && text.bytes().all(|b| b.is_ascii_digit() || b == b'_')
    };
    let is_same = || match parse("", text_of(&Value::from(text)).as_bytes()).1 {
        Ok(node) => matches!(&node.value, Yaml::String(read) if read == text) && !(node.plain && is_number(text)),
        Err(_) => false,
    };
    is_command || text.chars().any(is_steering) || !is_same()
}

/// A text in double quotes (yaml.org/spec/1.2.2, section 5.7).
fn in_quotes(text: &str) -> String {
    let mut quoted = "\"".to_owned();
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '#' => quoted.push_str("\\x23"),
            c if is_steering(c) => quoted.push_str(&format!("\\U{:08x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}
