//! An exported spec as YAML with comments.
//!
//! **Invariant:** each comment is a separate line, whatever a name in AWS contains.

use std::collections::BTreeSet;

use serde_yaml::{Mapping, Value as Out};

use crate::schema::Identity;
use crate::spec::grammar::takes;
use crate::spec::plain;
use crate::value::Value;
use crate::yaml::written;

use super::{Declaration, ExistingResource, Export};

/// The maximum length of a line with a comment.
const WIDTH: usize = 100;

impl Export {
    /// The spec, under these paragraphs as comments. `package` returns the path of a resource's
    /// package, by its name, or why there is none.
    pub fn yaml(&self, about: &[String], package: &dyn Fn(&str) -> Option<String>) -> String {
        let mut text = String::new();
        about.iter().for_each(|paragraph| comment(&mut text, 0, paragraph));
        let mut head = Mapping::new();
        head.insert("team".into(), self.team.clone().into());
        if let Some(stack) = &self.stack {
            head.insert("stack".into(), stack.clone().into());
        }
        head.insert("region".into(), self.region.clone().into());
        if !self.owns.is_empty() {
            let names: Vec<Out> = self.owns.iter().map(|name| escaped(name)).collect();
            head.insert("owns".into(), names.into());
        }
        text.push_str(&lines(head));
        text.push_str("resources:\n");
        for declaration in &self.resources {
            declaration.write(&mut text, &self.owns, package);
        }
        text
    }

    /// The values of its variables as YAML.
    pub fn values_yaml(&self) -> String {
        let values = self.values.iter().map(|(name, value)| (Out::from(name.clone()), Out::from(value.clone())));
        lines(values.collect())
    }
}

impl Declaration {
    /// It as lines of a spec that has these names in `owns:`, without its package.
    pub fn yaml(&self, owns: &BTreeSet<String>) -> String {
        let mut text = String::new();
        self.write(&mut text, owns, &|_| None);
        text
    }

    fn write(&self, text: &mut String, owns: &BTreeSet<String>, package: &dyn Fn(&str) -> Option<String>) {
        let notes = self.notes.iter().cloned();
        let gaps = self.gaps.iter().map(|gap| format!("Not exported: {gap}"));
        notes.chain(gaps).for_each(|note| comment(text, 2, &note));
        let ExistingResource { kind, id, imported, .. } = &self.existing;
        let schema = kind.schema();
        let mut body = Mapping::new();
        body.insert("type".into(), schema.kind.to_string().into());
        if *imported {
            let is_named = matches!(schema.identity, Identity::Named { .. });
            let name = id.arn.as_ref().filter(|_| !is_named).unwrap_or(&id.name);
            body.insert("import".into(), escaped(name));
        }
        for (name, value) in &self.properties {
            body.insert(name.clone().into(), plain(value));
        }
        if let Some((property, path)) = self.package.as_ref().zip(package(&self.name)) {
            body.insert(property.clone().into(), escaped(&path));
        }
        if !self.ignored.is_empty() {
            let ignored: Vec<Out> = self.ignored.iter().map(|name| name.clone().into()).collect();
            body.insert("ignore_changes".into(), ignored.into());
        }
        // Adopting a name in `owns:` always asks.
        if self.is_adopted && takes(schema, "adopt") && !owns.contains(&id.name) {
            body.insert("adopt".into(), true.into());
        }
        text.push_str(&format!("  {}:\n", self.name));
        for line in lines(body).lines() {
            let indent = if line.is_empty() { "" } else { "    " };
            text.push_str(&format!("{indent}{line}\n"));
        }
    }
}

/// A text in which `${` is no reference.
fn escaped(text: &str) -> Out {
    plain(&Value::String(text.to_owned()))
}

fn lines(mapping: Mapping) -> String {
    written(&Out::from(mapping))
}

/// Adds a paragraph as comments.
fn comment(text: &mut String, indent: usize, paragraph: &str) {
    let start = format!("{:indent$}#", "");
    let mut line = start.clone();
    let printable: String = paragraph.chars().filter(|c| *c == '\n' || !c.is_control()).collect();
    for word in printable.split_whitespace() {
        if line.len() > start.len() && line.chars().count() + 1 + word.chars().count() > WIDTH {
            text.push_str(&format!("{line}\n"));
            line.clone_from(&start);
        }
        line.push(' ');
        line.push_str(word);
    }
    text.push_str(&format!("{line}\n"));
}
