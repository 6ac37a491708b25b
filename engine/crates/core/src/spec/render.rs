//! A spec after all phases, as YAML: the same resources, without variables, stages and defaults.
//!
//! **Invariant:** the result is a spec that plans like the one that it was made from.

use std::collections::HashMap;
use std::sync::Arc;

use serde_yaml::{Mapping, Value as Out};

use crate::diagnostic::Span;
use crate::schema::{Identity, Str};
use crate::value::{Part, Path, Value};
use crate::yaml::{Entry, Node, Yaml, written};

use super::{ResourceDecl, Spec};

/// What is kept of the phases for [`Spec::rendered`].
#[derive(Debug, Default)]
pub(super) struct Rendering {
    /// The tree without variables.
    pub(super) root: Option<Arc<Node>>,
    /// Values whose type the check adapted, by place.
    pub(super) adapted: HashMap<Span, Yaml>,
    /// The implied resources with defaults, which have to be written out.
    pub(super) implied: Vec<ImpliedWith>,
}

/// An implied resource with defaults.
#[derive(Debug)]
pub(super) struct ImpliedWith {
    pub(super) by: String,
    pub(super) name: String,
    /// Where the declaration has its properties.
    pub(super) path: Path,
    /// The property of the declaration that refers to it, and the output.
    pub(super) reference: Option<(Str, Str)>,
}

impl Spec {
    /// The spec as YAML after all phases: for one stage, with all names, without variables,
    /// conditions, repetitions and defaults. Values of variables are in it, also where they are
    /// sensitive.
    pub fn rendered(&self) -> String {
        let mut all = Mapping::new();
        let mut set = |key: &str, value: Option<Out>| value.map(|value| all.insert(key.into(), value));
        let text = |text: &String| Out::from(text.clone());
        set("team", Some(text(&self.team)));
        set("stack", Some(text(&self.stack)));
        set("region", self.region.as_ref().map(text));
        set("account", self.account.as_ref().map(text));
        for entry in self.rendering.root.as_deref().map(entries).unwrap_or_default() {
            match entry.key.as_str() {
                "team" | "stack" | "region" | "account" => {}
                "resources" => drop(set("resources", Some(self.resources_rendered(&entry.value)))),
                _ => drop(set(&entry.key, Some(self.out(&entry.value)))),
            }
        }
        written(&Out::from(all))
    }

    fn resources_rendered(&self, node: &Node) -> Out {
        let mut all = Mapping::new();
        for entry in entries(node) {
            let mut body = match self.out(&entry.value) {
                Out::Mapping(body) => body,
                other => {
                    all.insert(entry.key.clone().into(), other);
                    continue;
                }
            };
            if let Some(declared) = self.resource(&entry.key) {
                add_name(&mut body, declared);
            }
            let mut beside = Vec::new();
            for it in self.rendering.implied.iter().filter(|it| it.by == entry.key) {
                beside.extend(self.written_out(it, &mut body));
            }
            all.insert(entry.key.clone().into(), body.into());
            beside.into_iter().for_each(|(name, body)| drop(all.insert(name.into(), body)));
        }
        all.into()
    }

    /// An implied resource as if it were declared; changes the declaration that implies it
    /// accordingly.
    fn written_out(&self, implied: &ImpliedWith, by: &mut Mapping) -> Option<(String, Out)> {
        let declared = self.resource(&implied.name)?;
        let path = implied.path.to_string();
        let root = implied.path.root().unwrap_or_default();
        let key = path.strip_prefix(root).and_then(|rest| rest.strip_prefix('.'));
        match (&implied.reference, key) {
            (Some((property, output)), None) => {
                by.remove(root);
                by.insert(property.to_string().into(), format!("${{{}.{output}}}", implied.name).into());
            }
            (None, Some(key)) => {
                let Some(Out::Mapping(members)) = by.get_mut(root) else { return None };
                members.remove(key);
                if members.is_empty() {
                    by.remove(root);
                }
            }
            _ => return None,
        }
        let mut body = Mapping::new();
        body.insert("type".into(), declared.schema().kind.to_string().into());
        for name in declared.explicit.iter().filter(|name| declared.schema().settable().any(|it| it.name == **name)) {
            if let Some(value) = declared.desired.get(name).filter(|value| **value != Value::Null) {
                body.insert(name.clone().into(), plain(value));
            }
        }
        let lifecycle = &declared.lifecycle;
        for (key, is_on) in [("protect", lifecycle.protect), ("retain", lifecycle.retain), ("adopt", lifecycle.adopt)] {
            if is_on {
                body.insert(key.into(), true.into());
            }
        }
        if !lifecycle.ignore_changes.is_empty() {
            let ignored: Vec<Out> = lifecycle.ignore_changes.iter().map(|it| it.clone().into()).collect();
            body.insert("ignore_changes".into(), ignored.into());
        }
        add_name(&mut body, declared);
        Some((implied.name.clone(), body.into()))
    }

    /// A node of the tree.
    fn out(&self, node: &Node) -> Out {
        match self.rendering.adapted.get(&node.span).unwrap_or(&node.value) {
            Yaml::Null => Out::Null,
            Yaml::Bool(is_on) => Out::from(*is_on),
            Yaml::Number(number) => serde_yaml::to_value(number).unwrap_or_default(),
            Yaml::String(text) => Out::from(text.clone()),
            Yaml::List(items) => Out::Sequence(items.iter().map(|item| self.out(item)).collect()),
            Yaml::Map(entries) => {
                let entries = entries.iter().map(|entry| (Out::from(entry.key.clone()), self.out(&entry.value)));
                Out::Mapping(entries.collect())
            }
        }
    }
}

fn entries(node: &Node) -> &[Entry] {
    match &node.value {
        Yaml::Map(entries) => entries,
        _ => &[],
    }
}

/// Writes out a managed resource's name in AWS.
fn add_name(body: &mut Mapping, declared: &ResourceDecl) {
    let key = match &declared.schema().identity {
        Identity::Named { .. } => "name",
        Identity::Nested { key, .. } => key,
        Identity::ServiceAssigned => return,
    };
    if !declared.imported && !body.contains_key(key) {
        body.insert(key.into(), declared.id.name.clone().into());
    }
}

/// A value as the file could contain it.
pub(crate) fn plain(value: &Value) -> Out {
    let escaped = |text: &str| text.replace("${", "$${");
    match value {
        Value::Null => Out::Null,
        Value::Bool(is_on) => Out::from(*is_on),
        Value::Number(number) => serde_yaml::to_value(number).unwrap_or_default(),
        Value::String(text) => Out::from(escaped(text)),
        Value::List(items) => Out::Sequence(items.iter().map(plain).collect()),
        Value::Map(map) => {
            let entries = map.iter().filter(|(_, value)| **value != Value::Null);
            Out::Mapping(entries.map(|(key, value)| (Out::from(key.clone()), plain(value))).collect())
        }
        Value::Unknown(template) => {
            let parts = template.0.iter().map(|part| match part {
                Part::Text(text) => escaped(text),
                Part::Placeholder(placeholder) => placeholder.to_string(),
            });
            Out::from(parts.collect::<String>())
        }
    }
}
