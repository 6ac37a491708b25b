//! The second phase: which resources there are, and which properties they have. `when` leaves
//! resources out, `for_each` repeats them, `defaults` and `tags` add properties.
//!
//! **Invariant:** each resource that is left has a body that the file could contain, and each value
//! in it has its position.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, SourceFile, Span, ValueSource, nearest};
use crate::schema::{Identity, Schema, TargetKeys};
use crate::yaml::{Entry, Node, Yaml};

use super::check::{RESOURCE, list};
use super::expand::Phases;
use super::grammar::{META, keys_of, takes};
use super::problems::Problems;
use super::template::{Name, Token, tokens};
use super::text::{Variable, first_lookup, first_reference};

/// Maximum number of resources that one `for_each` makes.
pub(super) const MAX_INSTANCES: usize = 1000;
/// The keys of a resource that have no default.
pub(super) const WITHOUT_DEFAULT: [&str; 6] = ["type", "name", "import", "for_each", "when", "depends_on"];

/// The resources that are left, and why others aren't.
#[derive(Default)]
pub(super) struct Resources {
    /// The instances of each resource with `for_each`.
    pub(super) groups: BTreeMap<String, Vec<String>>,
    /// Why a resource is left out.
    pub(super) absent: BTreeMap<String, String>,
    /// Those of them that have `for_each`.
    pub(super) absent_groups: BTreeSet<String>,
    /// The properties that a resource has only from `defaults` or `tags`.
    pub(super) defaulted: HashMap<String, BTreeSet<String>>,
    /// The default properties of each type, with those from `tags`.
    pub(super) defaults: BTreeMap<String, Vec<Entry>>,
}

impl Resources {
    /// The instances of each resource with `for_each`: none of one that is left out.
    pub(super) fn take_instances(&mut self) -> BTreeMap<String, Vec<String>> {
        let absent = std::mem::take(&mut self.absent_groups).into_iter().map(|group| (group, Vec::new()));
        std::mem::take(&mut self.groups).into_iter().chain(absent).collect()
    }
}

/// `own` with what only `default` has: mappings are merged at any depth, and `~` drops a default.
pub(super) fn merged(default: &Node, own: &Node) -> Node {
    let (Yaml::Map(defaults), Yaml::Map(entries)) = (&default.value, &own.value) else { return own.clone() };
    let find = |key: &str| defaults.iter().find(|it| it.key == key);
    let mut all: Vec<Entry> = Vec::with_capacity(defaults.len() + entries.len());
    for entry in entries {
        match (find(&entry.key), &entry.value.value) {
            (Some(_), Yaml::Null) => {}
            (Some(default), _) => {
                all.push(Entry { value: merged(&default.value, &entry.value), ..entry.clone_key() });
            }
            (None, _) => all.push(entry.clone()),
        }
    }
    all.extend(defaults.iter().filter(|it| entries.iter().all(|entry| entry.key != it.key)).cloned());
    Node { value: Yaml::Map(all), ..*own }
}

/// A default where a resource uses it: errors show both places.
pub(super) fn applied(file: &SourceFile, default: &Node, to: Span, text: &Arc<str>) -> Node {
    let moved = |used: Span| {
        let is_hidden = file.is_hidden(used);
        file.substituted(ValueSource { used, text: Arc::clone(text), from: to, is_hidden, is_applied: true })
    };
    let value = match &default.value {
        Yaml::List(items) => Yaml::List(items.iter().map(|item| applied(file, item, to, text)).collect()),
        Yaml::Map(entries) => {
            let entries = entries.iter().map(|entry| Entry {
                key: entry.key.clone(),
                key_span: moved(entry.key_span),
                value: applied(file, &entry.value, to, text),
            });
            Yaml::Map(entries.collect())
        }
        other => other.clone(),
    };
    Node { span: moved(default.span), plain: default.plain, value }
}

impl Phases<'_> {
    /// Reads `defaults:` and `tags:`.
    pub(super) fn read_defaults(&mut self, defaults: Option<&Entry>, tags: Option<&Entry>) {
        let tags = tags.and_then(|entry| self.tags(entry));
        let written = defaults.map(|entry| self.defaults_by_type(entry)).unwrap_or_default();
        for schema in self.kinds.schemas() {
            let own = written.get(&*schema.kind).cloned();
            let of_all = tags.clone().filter(|_| takes_tags(schema));
            let entries = match (own, of_all) {
                (None, None) => continue,
                (Some(own), None) => own,
                (own, Some(tags)) => {
                    let own = Node { value: Yaml::Map(own.unwrap_or_default()), ..tags.value };
                    let tags = Node { value: Yaml::Map(vec![tags]), ..own };
                    match merged(&tags, &own).value {
                        Yaml::Map(entries) => entries,
                        _ => continue,
                    }
                }
            };
            self.resources.defaults.insert(schema.kind.to_string(), entries);
        }
    }

    fn tags(&mut self, entry: &Entry) -> Option<Entry> {
        let value = self.values.replaced(&entry.value, self.problems)?;
        if !matches!(value.value, Yaml::Map(_)) {
            self.problems.error(
                entry.value.span,
                "the tags of the spec must be a YAML mapping of tag keys to their values",
                "write `tags: { app: shop }`",
            );
            return None;
        }
        Some(Entry { value, ..entry.clone_key() })
    }

    /// The valid defaults of each type, without placeholders.
    fn defaults_by_type(&mut self, entry: &Entry) -> BTreeMap<String, Vec<Entry>> {
        let mut by_type = BTreeMap::new();
        let Yaml::Map(types) = &entry.value.value else {
            let hint = "write `defaults: { function: { memory_size: 256 } }`";
            self.problems.error(entry.value.span, "`defaults` must be a YAML mapping of resource types", hint);
            return by_type;
        };
        for of_type in types {
            let Some(kind) = self.kinds.get(&of_type.key) else {
                let kinds = || self.kinds.schemas().map(|schema| &*schema.kind);
                let hint = match nearest(&of_type.key, kinds()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("the resource types are {}", list(kinds())),
                };
                self.problems.error(
                    of_type.key_span,
                    format!("`defaults` has no resource type `{}`", of_type.key),
                    hint,
                );
                continue;
            };
            let Yaml::Map(properties) = &of_type.value.value else {
                let hint = "write the properties under it, indented";
                let problem = format!("the defaults of `{}` must be a YAML mapping", of_type.key);
                self.problems.error(of_type.value.span, problem, hint);
                continue;
            };
            let mut entries = Vec::new();
            for property in properties {
                if self.can_have_default(property, kind.schema()) {
                    let value = self.property(property, Some(kind.schema()));
                    entries.extend(value.map(|value| Entry { value, ..property.clone_key() }));
                }
            }
            by_type.insert(of_type.key.clone(), entries);
        }
        by_type
    }

    fn can_have_default(&mut self, property: &Entry, schema: &Schema) -> bool {
        let key = property.key.as_str();
        let is_name = matches!(&schema.identity, Identity::Nested { key: naming, .. } if naming == key);
        if WITHOUT_DEFAULT.contains(&key) || is_name {
            let problem = format!("`{key}` can't have a default");
            self.problems.error(property.key_span, problem, "write it at each resource");
            return false;
        }
        let settable = || schema.settable().map(|it| &*it.name);
        let meta = || keys_of(&META).into_iter().filter(|word| takes(schema, word) && !WITHOUT_DEFAULT.contains(word));
        if settable().chain(meta()).any(|known| known == key) {
            return true;
        }
        if !self.problems.is_only_counted() {
            let hint = match nearest(key, settable().chain(meta())) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the properties are {}", list(settable().chain(meta()))),
            };
            let problem = format!("`defaults`: a {} has no property `{key}`", schema.kind);
            self.problems.error(property.key_span, problem, hint);
        }
        false
    }

    /// The resources that are left, each with all of its properties.
    pub(super) fn resources(&mut self, node: &Node) -> Node {
        let Yaml::Map(entries) = &node.value else { return node.clone() };
        let mut all: Vec<Entry> = Vec::with_capacity(entries.len());
        for entry in entries {
            all.extend(self.resource(entry));
        }
        self.report_twice(&all);
        self.follow_groups(&mut all);
        Node { value: Yaml::Map(all), ..*node }
    }

    /// The instances of a resource.
    fn resource(&mut self, entry: &Entry) -> Vec<Entry> {
        let Yaml::Map(body) = &entry.value.value else { return vec![entry.clone()] };
        let find = |key: &str| body.iter().find(|it| it.key == key);
        if let Some(when) = find("when")
            && let Some(reason) = self.excluded(&entry.key, when)
        {
            self.resources.absent.insert(entry.key.clone(), reason);
            if find("for_each").is_some() {
                self.resources.absent_groups.insert(entry.key.clone());
            }
            self.values.mark_used(&entry.value);
            return Vec::new();
        }
        let Some(for_each) = find("for_each") else { return vec![self.instance(entry, body, None)] };
        let Some(items) = self.items(&entry.key, for_each) else {
            self.values.mark_used(&entry.value);
            self.resources.absent.insert(entry.key.clone(), "its `for_each` is invalid".to_owned());
            return Vec::new();
        };
        let mut instances = Vec::with_capacity(items.len());
        let source = |key: &Node| ValueSource {
            used: entry.key_span,
            text: "its `for_each` has the key".into(),
            from: key.span,
            is_hidden: false,
            is_applied: false,
        };
        for (key, key_node, value) in items {
            let name = format!("{}-{key}", entry.key);
            let span = self.file.substituted(source(&key_node));
            let within = self.values.allows(0, for_each.key_span, self.problems);
            if !within {
                break;
            }
            self.values.set("each.key", Variable::evaluated(key_node, false));
            self.values.set("each.value", Variable::evaluated(value, true));
            let named = Entry { key: name, key_span: span, ..entry.clone_key() };
            instances.push(self.instance(&named, body, Some(&entry.value)));
        }
        self.values.unset("each.key");
        self.values.unset("each.value");
        let names = instances.iter().map(|it| it.key.clone()).collect();
        self.resources.groups.insert(entry.key.clone(), names);
        if instances.is_empty() {
            self.values.mark_used(&entry.value);
        }
        instances
    }

    /// One resource with its properties and its defaults.
    fn instance(&mut self, named: &Entry, body: &[Entry], repeated: Option<&Node>) -> Entry {
        let kind = body.iter().find(|it| it.key == "type").and_then(|it| match &it.value.value {
            Yaml::String(word) => self.kinds.get(word.as_str()),
            _ => None,
        });
        let schema = kind.map(|kind| kind.schema());
        let mut own = Vec::with_capacity(body.len());
        for entry in body.iter().filter(|it| !["when", "for_each"].contains(&&*it.key)) {
            let value = if entry.key == "type" { Some(entry.value.clone()) } else { self.property(entry, schema) };
            if let Some(value) = value {
                // Each value of a repeated resource counts.
                if repeated.is_some() {
                    self.values.allows(0, entry.key_span, self.problems);
                }
                own.push(Entry { value, ..entry.clone_key() });
            }
        }
        let span = if let Some(node) = repeated { node.span } else { named.value.span };
        let own = Node { span, plain: false, value: Yaml::Map(own) };
        let value = self.with_defaults(named, own, schema);
        Entry { key: named.key.clone(), key_span: named.key_span, value }
    }

    fn with_defaults(&mut self, named: &Entry, own: Node, schema: Option<&Schema>) -> Node {
        let Yaml::Map(entries) = &own.value else { return own };
        let is_imported = entries.iter().any(|it| it.key == "import");
        let defaults = schema.and_then(|schema| self.resources.defaults.get(&*schema.kind));
        let Some(defaults) = defaults.filter(|_| !is_imported) else { return own };
        let text: Arc<str> = format!("`{}` uses it", named.key).into();
        let missing = defaults.iter().filter(|it| entries.iter().all(|entry| entry.key != it.key));
        let added: BTreeSet<String> = missing.map(|it| it.key.clone()).collect();
        self.resources.defaulted.insert(named.key.clone(), added);
        let node = Node { span: own.span, plain: false, value: Yaml::Map(defaults.clone()) };
        merged(&applied(self.file, &node, named.key_span, &text), &own)
    }

    /// A property without placeholders; `None` if it isn't written then.
    pub(super) fn property(&mut self, entry: &Entry, schema: Option<&Schema>) -> Option<Node> {
        let has_names = schema.and_then(|it| it.property(&entry.key)).is_some_and(|it| it.target_keys.is_some());
        let Yaml::Map(members) = &entry.value.value else { return self.values.replaced(&entry.value, self.problems) };
        if has_names {
            return self.values.replaced_with_keys(&entry.value, self.problems);
        }
        let is_literal = |member: &Entry| {
            self.literal.contains(&(&*entry.key, &*member.key)) && matches!(member.value.value, Yaml::String(_))
        };
        if !members.iter().any(is_literal) {
            return self.values.replaced(&entry.value, self.problems);
        }
        let mut replaced = Vec::with_capacity(members.len());
        for member in members {
            let value = match is_literal(member) {
                true => Some(member.value.clone()),
                false => self.values.replaced(&member.value, self.problems),
            };
            replaced.extend(value.map(|value| Entry { value, ..member.clone_key() }));
        }
        Some(Node { value: Yaml::Map(replaced), ..entry.value })
    }

    /// Why `when` leaves a resource out; `None` if it doesn't, or is invalid.
    fn excluded(&mut self, resource: &str, when: &Entry) -> Option<String> {
        let Yaml::Map(conditions) = &when.value.value else {
            let hint = "write `when: { stage: [prod] }`";
            self.problems.error(when.value.span, "`when` must be a YAML mapping of names to allowed values", hint);
            return None;
        };
        let mut reasons = Vec::new();
        for condition in conditions {
            if !super::text::is_name(&condition.key) || condition.key.starts_with("each.") {
                let problem = format!("`when` of `{resource}`: `{}` is not a name that it can compare", condition.key);
                let near = format!("var.{}", condition.key);
                let hint = match self.values.has(&near) {
                    true => format!("did you mean `{near}`?"),
                    false => "use `stage`, `team`, `region`, `account`, `partition` or `var.NAME`".to_owned(),
                };
                self.problems.error(condition.key_span, problem, hint);
                continue;
            }
            let text = format!("${{{}}}", condition.key);
            let asked = Node { span: condition.key_span, plain: false, value: Yaml::String(text.clone()) };
            let value = self.values.replaced(&asked, self.problems);
            if value.as_ref().is_some_and(|it| it.value == Yaml::String(text)) {
                if ["region", "account", "partition"].contains(&&*condition.key) {
                    let problem = format!("`when` can't compare `{}`, which the spec doesn't set", condition.key);
                    let hint = "set `region:` or `account:` at the top of the spec or in the stage";
                    self.problems.error(condition.key_span, problem, hint);
                }
                continue;
            }
            let allowed = self.values.replaced(&condition.value, self.problems);
            if let Some((span, reference)) = allowed.as_ref().and_then(first_reference) {
                self.refers("when", resource, span, &reference);
                continue;
            }
            let allowed: Vec<Option<String>> = match allowed.as_ref().map(|it| &it.value) {
                Some(Yaml::List(items)) => items.iter().map(|item| self.scalar_text(item)).collect(),
                Some(_) => allowed.iter().map(|item| self.scalar_text(item)).collect(),
                None => vec![None],
            };
            let actual = value.as_ref().and_then(|value| self.scalar_text(value));
            if !allowed.contains(&actual) {
                reasons.push(format!("`{}` is not one of the values in its `when`", condition.key));
            }
        }
        (!reasons.is_empty()).then(|| reasons.join(", "))
    }

    /// Reports a value that only AWS knows, in what decides which resources there are.
    fn refers(&mut self, key: &str, resource: &str, span: Span, reference: &str) {
        let problem = format!("`{key}` of `{resource}` can't contain `{reference}`");
        let hint = "write the value itself, or use a variable (`${var.x}`)";
        let error = Diagnostic::error(problem, hint).at(self.file.location(span));
        self.problems.push(error.why("which resources there are must be known before engine reads AWS"));
    }

    /// A scalar as text; `None` for null. A list or mapping becomes what no text of a YAML file is.
    fn scalar_text(&self, node: &Node) -> Option<String> {
        match &node.value {
            Yaml::String(text) => Some(text.clone()),
            Yaml::Null => None,
            Yaml::Number(_) | Yaml::Bool(_) => Some(self.file.text_at_origin(node.span)),
            Yaml::List(_) | Yaml::Map(_) => Some("\0".to_owned()),
        }
    }

    /// The keys of `for_each`, each with its place and its value; `None` after an error.
    fn items(&mut self, resource: &str, for_each: &Entry) -> Option<Vec<(String, Node, Node)>> {
        let wrong = |it: &mut Self, span| {
            let problem = format!("`for_each` of `{resource}` must be a list of texts or a mapping");
            it.problems.error(span, problem, "write `for_each: [orders, users]` or `for_each: { orders: 10 }`");
        };
        let node = self.values.replaced_with_keys(&for_each.value, self.problems);
        let node = node.unwrap_or_else(|| Node { value: Yaml::List(Vec::new()), ..for_each.value });
        // What belongs to a key of a mapping can be a reference, like all that a property can be.
        let early = if matches!(node.value, Yaml::Map(_)) { first_lookup(&node) } else { first_reference(&node) };
        if let Some((span, reference)) = early {
            self.refers("for_each", resource, span, &reference);
            return None;
        }
        let items: Vec<(String, Node, Node)> = match &node.value {
            Yaml::Map(entries) => {
                let key =
                    |entry: &Entry| Node { span: entry.key_span, plain: false, value: Yaml::String(entry.key.clone()) };
                entries.iter().map(|entry| (entry.key.clone(), key(entry), entry.value.clone())).collect()
            }
            Yaml::List(items) => {
                let texts = items.iter().map(|item| match &item.value {
                    Yaml::String(text) => Some((text.clone(), item.clone(), item.clone())),
                    Yaml::Number(_) => Some((self.file.text_at_origin(item.span), item.clone(), item.clone())),
                    _ => None,
                });
                match texts.collect::<Option<Vec<_>>>() {
                    Some(texts) => texts,
                    None => {
                        wrong(self, for_each.value.span);
                        return None;
                    }
                }
            }
            // A variable without a value is already reported.
            Yaml::String(text) if text.contains("${") => return None,
            _ => {
                wrong(self, for_each.value.span);
                return None;
            }
        };
        self.are_names(resource, &items, for_each).then_some(items)
    }

    /// Whether each key makes the name of another resource.
    fn are_names(&mut self, resource: &str, items: &[(String, Node, Node)], for_each: &Entry) -> bool {
        if items.len() > MAX_INSTANCES {
            let problem =
                format!("`for_each` of `{resource}` has {} entries, but the maximum is {MAX_INSTANCES}", items.len());
            self.problems.error(for_each.value.span, problem, "split the spec into several files");
            return false;
        }
        let mut seen = BTreeSet::new();
        let mut is_valid = true;
        for (key, node, _) in items {
            let name = format!("{resource}-{key}");
            let objection = if key.is_empty() { Some("is empty".to_owned()) } else { RESOURCE.violation(&name) };
            if let Some(objection) = objection {
                let problem = format!("`for_each` of `{resource}` makes the resource `{name}`, whose name {objection}");
                self.problems.error(node.span, problem, "use letters, digits, `-` and `_`, and shorter names");
                is_valid = false;
            } else if !seen.insert(key) {
                let problem = format!("`{key}` is twice in `for_each` of `{resource}`");
                self.problems.error(node.span, problem, "remove one of them");
                is_valid = false;
            }
        }
        is_valid
    }

    /// Reports two resources of one name.
    fn report_twice(&mut self, all: &[Entry]) {
        let mut seen: HashMap<&str, &Entry> = HashMap::with_capacity(all.len());
        for entry in all {
            let Some(first) = seen.insert(&entry.key, entry) else { continue };
            // Two keys of the file are already reported.
            if self.file.is_substituted(first.key_span) || self.file.is_substituted(entry.key_span) {
                let problem = format!("two resources are called `{}`", entry.key);
                let error = Diagnostic::error(problem, "rename one of them, or change the key in `for_each`");
                self.problems.push(error.at(self.file.location(entry.key_span)));
            }
        }
    }

    /// Lets names of repeated resources mean all of their instances where that is possible, and
    /// leaves out what absent resources don't need.
    fn follow_groups(&mut self, all: &mut [Entry]) {
        let (groups, absent) = (&self.resources.groups, &self.resources.absent);
        if groups.is_empty() && absent.is_empty() {
            return;
        }
        for resource in all {
            let Yaml::Map(body) = &mut resource.value.value else { continue };
            let kind = body.iter().find(|it| it.key == "type").and_then(|it| match &it.value.value {
                Yaml::String(word) => self.kinds.get(word.as_str()),
                _ => None,
            });
            for property in body.iter_mut() {
                let keys = kind.and_then(|kind| kind.schema().property(&property.key)?.target_keys);
                match (&mut property.value.value, keys) {
                    (Yaml::List(items), _) if property.key == "depends_on" => all_of(items, groups, absent),
                    (Yaml::Map(entries), Some(keys)) => {
                        targets(
                            self.file,
                            entries,
                            (&resource.key, &property.key),
                            keys,
                            (groups, absent),
                            self.problems,
                        );
                    }
                    _ => {}
                }
            }
        }
    }

    /// The outputs whose resources exist.
    pub(super) fn outputs(&mut self, node: &Node) -> Option<Node> {
        let replaced = self.values.replaced(node, self.problems)?;
        let Yaml::Map(entries) = replaced.value else { return Some(replaced) };
        let refers = |text: &str| {
            let tokens = tokens(text).unwrap_or_default();
            tokens.iter().any(|token| match token {
                Token::Name(Name::Output { resource, .. }) => self.resources.absent.contains_key(resource),
                _ => false,
            })
        };
        let is_left = |entry: &Entry| !matches!(&entry.value.value, Yaml::String(text) if refers(text));
        let entries = entries.into_iter().filter(is_left).collect();
        Some(Node { value: Yaml::Map(entries), ..replaced })
    }
}

/// Whether resources of a kind can have tags in a spec.
fn takes_tags(schema: &Schema) -> bool {
    schema.managed && schema.settable().any(|it| it.name == "tags")
}

type KnownNames<'a> = (&'a BTreeMap<String, Vec<String>>, &'a BTreeMap<String, String>);

/// Replaces names of repeated resources in a list by those of their instances, and removes names of
/// absent resources.
fn all_of(items: &mut Vec<Node>, groups: &BTreeMap<String, Vec<String>>, absent: &BTreeMap<String, String>) {
    let instances = std::mem::take(items).into_iter().flat_map(|item| {
        let name = if let Yaml::String(name) = &item.value { name.clone() } else { String::new() };
        match groups.get(&name) {
            _ if absent.contains_key(&name) => Vec::new(),
            Some(instances) => {
                let instance = |name: &String| Node { value: Yaml::String(name.clone()), ..item };
                instances.iter().map(instance).collect()
            }
            None => vec![item],
        }
    });
    *items = instances.collect();
}

/// The same for the keys of a mapping. Here an absent resource is an error.
fn targets(
    file: &Arc<SourceFile>,
    entries: &mut Vec<Entry>,
    (resource, property): (&str, &str),
    keys: TargetKeys,
    (groups, absent): KnownNames<'_>,
    problems: &mut Problems,
) {
    for entry in std::mem::take(entries) {
        if let Some(reason) = absent.get(&entry.key) {
            let problem = format!("`{property}` of `{resource}` names `{}`, which is absent: {reason}", entry.key);
            let error = Diagnostic::error(problem, "put the same `when` on both resources");
            problems.push(error.at(file.location(entry.key_span)));
            continue;
        }
        match groups.get(&entry.key) {
            None => entries.push(entry),
            Some(instances) if keys == TargetKeys::One => {
                let problem = format!("`{property}` of `{resource}` names `{}`, which is repeated", entry.key);
                let hint = match instances.is_empty() {
                    true => "its `for_each` is empty: add a key to it, or remove the name".to_owned(),
                    false => format!("use one of {}", list(instances.iter().map(String::as_str))),
                };
                problems.error(entry.key_span, problem, hint);
            }
            Some(instances) => {
                let instance = |name: &String| Entry { key: name.clone(), ..entry.clone() };
                entries.extend(instances.iter().map(instance));
            }
        }
    }
}
