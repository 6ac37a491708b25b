//! Explains resource types, their properties and error codes, from the same tables that validation,
//! planning and errors use.

use std::fmt::Write as _;

use crate::cause::{CatalogEntry, Code};
use crate::kind::Kinds;
use crate::schema::{Effect, Presence, Property, Rule, Schema, Shape, Str, Text};
use crate::spec::grammar;

use super::{BOLD, OutputStyle, PLAIN, paragraph};

/// The documentation of one property.
struct Documented {
    /// Its path.
    path: String,
    values: String,
    default: String,
    /// What a change means, if it isn't an update in place.
    change: Option<String>,
    doc: Str,
}

/// All kinds, one line each.
pub fn kinds<'s>(schemas: impl Iterator<Item = &'s Schema>, out: OutputStyle) -> String {
    let mut text = String::new();
    for schema in schemas {
        let mut row = String::new();
        paragraph(&mut row, PLAIN, &format!("{:12}", schema.kind), &schema.summary, out);
        // Afterwards: color codes have no width.
        text.push_str(&row.replacen(&*schema.kind, &out.paint(BOLD, &schema.kind), 1));
    }
    text
}

/// The settings that a resource accepts in addition to its kind's properties, with their docs.
pub fn settings_of(schema: &Schema) -> impl Iterator<Item = (&'static str, &'static str)> {
    grammar::META.iter().copied().filter(|(word, _)| grammar::takes(schema, word))
}

/// The top-level keys of a spec.
pub fn spec_keys() -> impl Iterator<Item = &'static str> {
    grammar::TOP.iter().map(|(word, _)| *word)
}

/// The top-level keys and resource settings, or one top-level key (`None` if there is no such key).
pub fn spec(kinds: &Kinds, word: Option<&str>, out: OutputStyle) -> Option<String> {
    let top = grammar::TOP.iter().filter(|(top, _)| word.is_none_or(|word| word == *top));
    let mut text = format!("{}: the desired resources, as YAML\n", out.paint(BOLD, "spec"));
    let n_keys = top.map(|(word, doc)| explain_key(&mut text, word, doc, out)).count();
    if word == Some("lookups") {
        text.push_str("\nIn each lookup:\n");
        grammar::lookup_keys(kinds).into_iter().for_each(|(word, doc)| explain_key(&mut text, word, doc, out));
    }
    if word.is_none() {
        text.push_str("\nIn each resource, in addition to the properties of its type:\n");
        grammar::META.iter().for_each(|(word, doc)| explain_key(&mut text, word, doc, out));
    }
    (n_keys > 0).then_some(text)
}

fn explain_key(text: &mut String, word: &str, doc: &str, out: OutputStyle) {
    let _ = writeln!(text, "\n  {}", out.paint(BOLD, word));
    paragraph(text, PLAIN, "      ", doc, out);
}

/// One kind with its properties, or one property of it (`None` if it has no such property).
pub fn kind(schema: &Schema, property: Option<&str>, out: OutputStyle) -> Option<String> {
    let mut entries = entries(schema);
    if let Some(wanted) = property {
        entries.retain(|entry| {
            entry.path.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        });
        if entries.is_empty() && !settings_of(schema).any(|(word, _)| word == wanted) {
            return None;
        }
    }
    let mut text = format!("{}: {}\n{}\n", out.paint(BOLD, &schema.kind), schema.summary, schema.source);
    if property.is_none() && !schema.remark.is_empty() {
        text.push('\n');
        paragraph(&mut text, PLAIN, "", &schema.remark, out);
    }
    for Documented { path, values, default, change, doc } in &entries {
        let _ = writeln!(text, "\n  {}", out.paint(BOLD, path));
        paragraph(&mut text, PLAIN, "      ", doc, out);
        paragraph(&mut text, PLAIN, "      values:  ", values, out);
        paragraph(&mut text, PLAIN, "      default: ", default, out);
        if let Some(change) = change {
            paragraph(&mut text, PLAIN, "      change:  ", change, out);
        }
    }
    match property {
        Some(wanted) => {
            let word = settings_of(schema).filter(|(word, _)| *word == wanted);
            word.for_each(|(word, doc)| explain_key(&mut text, word, doc, out));
        }
        None => {
            text.push_str("\nSettings for engine:\n");
            settings_of(schema).for_each(|(word, doc)| explain_key(&mut text, word, doc, out));
            text.push_str("\nOutputs that other resources can refer to:\n");
        }
    }
    if property.is_none() {
        text.push('\n');
        for output in &schema.outputs {
            let line = format!("${{NAME.{}}}: {}", output.name, output.doc);
            paragraph(&mut text, PLAIN, "  ", &line, out);
        }
    }
    Some(text)
}

/// All error codes, one line each.
pub fn codes(out: OutputStyle) -> String {
    let width = Code::ALL.iter().map(|code| code.name().len()).max().unwrap_or(0);
    let mut text = String::new();
    for code in Code::ALL {
        let lead = format!("{:width$}  ", code.name());
        paragraph(&mut text, PLAIN, &lead, code.entry().title, out);
    }
    text
}

/// One error code: its meaning, cause and remedy.
pub fn code(code: Code, out: OutputStyle) -> String {
    let CatalogEntry { title, why, next, more, blames } = code.entry();
    let mut text = format!("{}: {title}\n\n", out.paint(BOLD, code.name()));
    paragraph(&mut text, PLAIN, "  why:  ", why, out);
    paragraph(&mut text, PLAIN, "  next: ", next, out);
    if !blames.is_empty() {
        let blames = blames.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        paragraph(&mut text, PLAIN, "  spec: ", &format!("check {blames}"), out);
    }
    text.push('\n');
    paragraph(&mut text, PLAIN, "  ", more, out);
    text
}

/// All kinds with their properties, as Markdown.
pub fn markdown<'s>(schemas: impl Iterator<Item = &'s Schema>) -> String {
    let mut text = String::new();
    for schema in schemas {
        let _ = writeln!(text, "### `{}`: {}", schema.kind, schema.summary);
        let entries = entries(schema);
        if !entries.is_empty() {
            text.push_str("| property | values | default | meaning |\n|---|---|---|---|\n");
        }
        for Documented { path, values, default, doc, .. } in entries {
            let _ = writeln!(text, "| `{path}` | {} | {default} | {doc} |", values.replace('|', "\\|"));
        }
        let outputs: Vec<String> = schema.outputs.iter().map(|it| format!("`{}` ({})", it.name, it.doc)).collect();
        let _ = write!(text, "\nOutputs: {}.\n\n", outputs.join(", "));
    }
    text
}

fn entries(schema: &Schema) -> Vec<Documented> {
    let mut found = Vec::new();
    for property in schema.settable() {
        found.push(entry(property, property.name.to_string()));
        let (inner, path) = match &property.shape {
            Shape::TextOrRecord(..) | Shape::Record(_) | Shape::OneOf(_) => {
                (property.members(), property.name.to_string())
            }
            Shape::Map { value, .. } => match &**value {
                Shape::Record(inner) => (inner.as_slice(), format!("{}.NAME", property.name)),
                _ => continue,
            },
            _ => continue,
        };
        found.extend(inner.iter().map(|inside| entry(inside, format!("{path}.{}", inside.name))));
    }
    found
}

fn entry(property: &Property, path: String) -> Documented {
    let default = match &property.presence {
        Presence::Required => "required".to_owned(),
        Presence::Default(value) => format!("`{value}`"),
        Presence::Implied => "a new one".to_owned(),
        Presence::Optional | Presence::Derived => "none".to_owned(),
    };
    let change = match &property.change {
        Rule::Compare(Effect::Replace) => Some("the resource is replaced: deleted and re-created".to_owned()),
        Rule::Compare(Effect::Refuse(why)) => Some(format!("refused: {why}")),
        Rule::Subset => Some("declared entries are added or updated, others are not changed".to_owned()),
        _ if property.optional_computed => Some("if omitted, AWS keeps the current value".to_owned()),
        _ => None,
    };
    let values = match (&property.shape, &property.quota) {
        (Shape::Integer { min, .. }, Some(quota)) => format!("{min} to {}; higher values cause a warning", quota.most),
        _ => values(&property.shape),
    };
    Documented { path, values, default, change, doc: property.doc.clone() }
}

fn values(shape: &Shape) -> String {
    let text = |text: &Text| text.expected.to_string();
    match shape {
        Shape::Bool => "true or false".to_owned(),
        Shape::Integer { min, max } => format!("{min} to {max}"),
        Shape::Text(limits) | Shape::TextOrRecord(limits, _) => text(limits),
        Shape::OpenChoice { offered, .. } => {
            let words = offered.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
            format!("{words}, or another value that AWS accepts")
        }
        Shape::Choice(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
        Shape::Link { to, literal } => {
            let links = to.iter().map(|(kind, attribute)| format!("`${{{kind}.{attribute}}}`")).collect::<Vec<_>>();
            let literal = literal.as_ref().map_or("", |_| ", or an ARN");
            format!("{}{literal}", links.join(", "))
        }
        Shape::Map { value, .. } if matches!(**value, Shape::Record(_)) => "mapping of mappings".to_owned(),
        Shape::Map { value, .. } => format!("mapping; each value: {}", values(value)),
        Shape::List { item, .. } | Shape::Set { item, .. } => format!("list; each item: {}", values(item)),
        Shape::Texts { item, .. } => format!("{}, or a list of these", text(item)),
        Shape::Json { .. } => "mapping, or JSON text".to_owned(),
        Shape::Record(_) => "mapping".to_owned(),
        Shape::OneOf(shapes) => shapes.iter().map(values).collect::<Vec<_>>().join(", or "),
    }
}
