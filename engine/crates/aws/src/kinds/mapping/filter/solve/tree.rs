//! The requirements for an item or a message as a tree, and values that meet them.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::super::judge::{self, Verdict};
use super::super::pattern::Test;
use super::Trouble;
use super::leaf::{self, Domain, UniqueText};

/// The requirements for a value and for its members.
#[derive(Debug, Default)]
pub(super) struct RequirementNode<'p> {
    /// One test of each list must pass.
    tests: Vec<&'p [Test]>,
    fields: BTreeMap<&'p str, RequirementNode<'p>>,
}

impl<'p> RequirementNode<'p> {
    pub(super) fn add(&mut self, path: &[&'p str], tests: &'p [Test]) {
        match path.split_first() {
            None => self.tests.push(tests),
            Some((name, rest)) => self.fields.entry(name).or_default().add(rest, tests),
        }
    }

    /// Takes the requirements for a member out.
    pub(super) fn take(&mut self, name: &str) -> RequirementNode<'p> {
        self.fields.remove(name).unwrap_or_default()
    }

    /// Whether the value can be absent.
    fn may_be_absent(&self) -> bool {
        let is_absent = |tests: &&[Test]| tests.contains(&Test::Exists(false));
        self.tests.iter().all(is_absent) && self.fields.values().all(RequirementNode::may_be_absent)
    }

    /// Any JSON value that meets them; `None` if it must be absent.
    pub(super) fn json(&self, path: &str, own: UniqueText<'_>) -> Result<Option<Json>, Trouble> {
        let are_fields_required = self.fields.values().any(|field| !field.may_be_absent());
        match (self.tests.is_empty(), are_fields_required) {
            (true, false) => Ok(None),
            (false, false) => leaf::value(&self.tests, Domain::Any, own, path),
            (false, true) => {
                Err(Trouble::Impossible(format!("`{path}` would have to be a value and an object at once")))
            }
            (true, true) => {
                let mut object = Map::new();
                for (name, field) in &self.fields {
                    if let Some(value) = field.json(&format!("{path}.{name}"), own)? {
                        object.insert((*name).to_owned(), value);
                    }
                }
                Ok(Some(Json::Object(object)))
            }
        }
    }

    /// Attributes in DynamoDB's form that meet them. `types` are those of attributes that are keys.
    pub(super) fn attributes(
        &self,
        types: &BTreeMap<String, String>,
        own: UniqueText<'_>,
    ) -> Result<Map<String, Json>, Trouble> {
        let mut attributes = Map::new();
        for (name, node) in &self.fields {
            let of_index = types.get(*name).map(String::as_str);
            if let Some(value) = node.attribute(name, of_index, own)? {
                attributes.insert((*name).to_owned(), value);
            }
        }
        Ok(attributes)
    }

    /// The value of a key's attribute: `default` unless something else is required.
    pub(super) fn key_attribute(
        &self,
        name: &str,
        type_: &str,
        default: &str,
        own: UniqueText<'_>,
    ) -> Result<Json, Trouble> {
        let usual = json!({ type_: default });
        let passes = |tests: &[Test]| judge::any(tests, usual.get(type_)) == Verdict::Yes;
        let is_usual = self.tests.is_empty()
            && self.fields.iter().all(|(of, node)| match *of == type_ {
                true => node.fields.is_empty() && node.tests.iter().all(|tests| passes(tests)),
                false => node.may_be_absent(),
            });
        if is_usual {
            return Ok(usual);
        }
        match self.attribute(name, Some(type_), own)? {
            Some(value) => Ok(value),
            None => Err(Trouble::Impossible(format!("`{name}` is a key of the table, so it can't be absent"))),
        }
    }

    /// Whether an attribute that every test item has meets them.
    pub(super) fn fits_fixed(&self, name: &str, value: &Json) -> Result<(), Trouble> {
        let is_met = self.tests.is_empty()
            && self.fields.iter().all(|(of, node)| {
                node.fields.is_empty()
                    && node.tests.iter().all(|tests| judge::any(tests, value.get(of)) == Verdict::Yes)
            });
        match is_met {
            true => Ok(()),
            false => Err(Trouble::Uncertain(format!("engine sets the attribute `{name}` of its test item itself"))),
        }
    }

    /// An attribute in DynamoDB's form, like `{"S": "x"}`; `None` if it must be absent.
    fn attribute(&self, path: &str, of_key: Option<&str>, own: UniqueText<'_>) -> Result<Option<Json>, Trouble> {
        if !self.tests.is_empty() {
            let hint = "AWS matches only single values, not objects";
            return Err(Trouble::Uncertain(format!("`{path}` is an object like {{\"S\": …}} in a record: {hint}")));
        }
        let mut required = self.fields.iter().filter(|(_, node)| !node.may_be_absent());
        let Some((type_, node)) = required.next() else { return Ok(None) };
        if let Some((other, _)) = required.next() {
            return Err(Trouble::Impossible(format!(
                "`{path}` would have to be of the types {type_} and {other} at once"
            )));
        }
        if let Some(key) = of_key.filter(|key| key != type_) {
            return Err(Trouble::Impossible(format!("`{path}` is a key of type {key}, not {type_}")));
        }
        let inner = format!("{path}.{type_}");
        let value = node.typed(type_, &inner, of_key.is_some(), own)?;
        Ok(value.map(|value| json!({ *type_: value })))
    }

    /// The value of an attribute of this type.
    fn typed(&self, type_: &str, path: &str, is_key: bool, own: UniqueText<'_>) -> Result<Option<Json>, Trouble> {
        let scalar = |domain: Domain| match self.fields.values().all(RequirementNode::may_be_absent) {
            true => leaf::value(&self.tests, domain, own, path),
            false => Err(Trouble::Impossible(format!("`{path}` is a single value, and has no members"))),
        };
        let set = |domain: Domain| Ok(scalar(domain)?.map(|value| json!([value])));
        match type_ {
            "S" => scalar(Domain::Text { may_be_empty: !is_key }),
            "N" => scalar(Domain::Number),
            "B" => scalar(Domain::Binary),
            "BOOL" => scalar(Domain::Boolean),
            "NULL" => scalar(Domain::Null),
            "SS" => set(Domain::Text { may_be_empty: true }),
            "NS" => set(Domain::Number),
            "BS" => set(Domain::Binary),
            "M" if self.tests.is_empty() => {
                let mut members = Map::new();
                for (name, node) in &self.fields {
                    if let Some(value) = node.attribute(&format!("{path}.{name}"), None, own)? {
                        members.insert((*name).to_owned(), value);
                    }
                }
                Ok(Some(Json::Object(members)))
            }
            // The fields are those of an element.
            "L" if self.tests.is_empty() => Ok(self.attribute(path, None, own)?.map(|value| json!([value]))),
            "M" | "L" => Err(Trouble::Uncertain(format!("`{path}` is not a single value in a record"))),
            other => Err(Trouble::Impossible(format!("`{other}` in `{path}` isn't a type of DynamoDB"))),
        }
    }
}
