//! `lookups:` and its uses: what a spec reads in AWS, and where its values go.
//!
//! **Invariant:** the names that lookups read are known before engine reads AWS, so they can't
//! depend on each other or on resources.

use crate::diagnostic::Span;
use crate::lookup::{Lookup, LookupRead, LookupSource};
use crate::schema::{Shape, Text};
use crate::value::{Part, Path, Placeholder, Template, Value};
use crate::yaml::{Entry, Node, Yaml};

use super::super::LookupUse;
use super::super::grammar::{LOOKUP, keys_of};
use super::{Around, Checker, RESOURCE, list, name_hint, nearest};

/// Maximum number of lookups, and of names of one lookup.
pub(in crate::spec) const MAX_LOOKUPS: usize = 100;
const MAX_NAMES: usize = 10;
/// Before and after the name of a lookup that is used.
const OPEN: &str = "${lookup.";
const CLOSE: char = '}';

/// The lookup that is all of a value.
fn only_lookup(node: &Node) -> Option<&str> {
    let Yaml::String(text) = &node.value else { return None };
    let name = text.strip_prefix(OPEN)?.strip_suffix(CLOSE)?;
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')).then_some(name)
}

impl<'a> Checker<'a> {
    /// Reads `lookups:`.
    pub(super) fn lookups(&mut self, entry: Option<&Entry>) {
        let Some(entry) = entry else { return };
        let Yaml::Map(entries) = &entry.value.value else {
            let example = self.kinds.lookups().first().map_or_else(String::new, example);
            let hint = format!("write `lookups: {{ name: {example} }}`");
            self.error(entry.value.span, "`lookups` must be a YAML mapping of names to lookups", hint);
            return;
        };
        if self.bounded(entries.len(), MAX_LOOKUPS, entry.value.span, "lookups").is_none() {
            return;
        }
        for entry in entries {
            if let Some(violation) = RESOURCE.violation(&entry.key) {
                let problem = format!("the lookup `{}` {violation}", entry.key);
                self.error(entry.key_span, problem, name_hint(&entry.key, &RESOURCE));
            }
            self.declared_lookups.insert(entry.key.clone());
            if let Some(lookup) = self.lookup(entry) {
                self.lookups.insert(lookup.name.clone(), lookup);
            }
        }
    }

    /// One lookup; `None` after an error.
    fn lookup(&mut self, entry: &Entry) -> Option<Lookup> {
        let name = &entry.key;
        let sources = self.kinds.lookups();
        let Yaml::Map(entries) = &entry.value.value else {
            let example = sources.first().map_or_else(String::new, example);
            let problem = format!("the lookup `{name}` must be a mapping");
            self.error(entry.value.span, problem, format!("write `{name}: {example}`"));
            return None;
        };
        let used: Vec<(&Entry, &'a LookupSource)> =
            entries.iter().filter_map(|it| Some((it, sources.iter().find(|source| source.key == it.key)?))).collect();
        let [(written, source)] = used.as_slice() else {
            let all = list(sources.iter().map(|it| &*it.key));
            match used.get(1) {
                Some((second, _)) => {
                    let problem = format!("the lookup `{name}` has several sources");
                    self.error(second.key_span, problem, "keep one of them; use a lookup of its own for each other");
                }
                None => {
                    // A misspelled source is one error.
                    if !self.unknown_lookup_keys(entries, None) {
                        let problem = format!("the lookup `{name}` has no source");
                        self.error(entry.key_span, problem, format!("add one of {all}"));
                    }
                }
            }
            return None;
        };
        self.unknown_lookup_keys(entries, Some(source));
        let names = self.lookup_names(written, source)?;
        let find = |key: &str| entries.iter().find(|it| it.key == key);
        let part = source.part.as_ref().and_then(|(key, _)| find(key));
        let part =
            part.map(|entry| self.lookup_text(&entry.value, &entry.key)).map_or(Some(None), |it| it.map(Some))?;
        let read = |name: String| LookupRead { source: source.key.clone(), name, part: part.clone() };
        Some(Lookup {
            name: name.clone(),
            reads: names.into_iter().map(read).collect(),
            what: source.what.clone(),
            is_secret: source.is_secret,
            default: find("default").and_then(|it| self.lookup_value(it)),
            local: find("local").and_then(|it| self.lookup_value(it)),
            span: entry.key_span,
        })
    }

    /// Reports keys that a lookup doesn't have; returns whether there are any.
    fn unknown_lookup_keys(&mut self, entries: &[Entry], source: Option<&LookupSource>) -> bool {
        let mut is_any = false;
        let sources = self.kinds.lookups().iter().map(|it| &*it.key);
        let part = source.and_then(|it| it.part.as_ref()).map(|(key, _)| &**key);
        let known: Vec<&str> = sources.chain(part).chain(keys_of(&LOOKUP)).collect();
        for Entry { key, key_span, .. } in entries.iter().filter(|it| !known.contains(&it.key.as_str())) {
            // Which parts there are depends on the source.
            if source.is_none() && self.kinds.lookups().iter().any(|it| it.part.as_ref().is_some_and(|it| it.0 == *key))
            {
                continue;
            }
            let hint = match nearest(key, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("use {}", list(known.iter().copied())),
            };
            let problem = match source {
                Some(source) => format!("a lookup with `{}` has no `{key}`", source.key),
                None => format!("a lookup has no `{key}`"),
            };
            self.error(*key_span, problem, hint);
            is_any = true;
        }
        is_any
    }

    /// The names that a lookup tries.
    fn lookup_names(&mut self, entry: &Entry, source: &LookupSource) -> Option<Vec<String>> {
        let Yaml::List(items) = &entry.value.value else {
            return Some(vec![self.lookup_name(&entry.value, source)?]);
        };
        let span = entry.value.span;
        if !source.takes_list || items.is_empty() {
            let problem = if items.is_empty() { "is empty" } else { "takes one name, not a list" };
            let hint = format!("write `{}: {}`", source.key, source.example);
            self.error(span, format!("`{}` {problem}", source.key), hint);
            return None;
        }
        self.bounded(items.len(), MAX_NAMES, span, &source.key)?;
        let names: Vec<Option<String>> = items.iter().map(|item| self.lookup_name(item, source)).collect();
        names.into_iter().collect()
    }

    fn lookup_name(&mut self, node: &Node, source: &LookupSource) -> Option<String> {
        let name = self.lookup_text(node, &source.key)?;
        let text: &Text = &source.name;
        if let Some(violation) = text.violation(&name) {
            let problem = match text.is_malformed(&name) && !self.hides(node.span, PLAIN) {
                true => format!("`{name}` can't be the name of {}", source.what),
                false => format!("the name of {} {violation}", source.what),
            };
            self.error(node.span, problem, format!("{}, like `{}`", text.suggestion(&name), source.example));
            return None;
        }
        Some(name)
    }

    /// A text of a lookup, which can contain variables.
    fn lookup_text(&mut self, node: &Node, key: &str) -> Option<String> {
        if matches!(&node.value, Yaml::String(text) if text.contains(OPEN)) {
            let problem = format!("`{key}` of a lookup can't use another lookup, because all are read at once");
            self.error(node.span, problem, "write the value itself, or use a variable (`${var.x}`)");
            return None;
        }
        let value = self.text(node, key, PLAIN, &Path::property("lookups"))?;
        Some(value.as_str()?.to_owned())
    }

    /// A value that is used instead of one from AWS.
    fn lookup_value(&mut self, entry: &Entry) -> Option<Value> {
        let Entry { key, value: node, .. } = entry;
        match &node.value {
            Yaml::Null => Some(Value::Null),
            Yaml::Bool(value) => Some(Value::Bool(*value)),
            Yaml::Number(number) => Some(Value::Number(number.clone())),
            Yaml::String(_) => self.lookup_text(node, key).map(Value::String),
            Yaml::List(items) if items.iter().all(|it| matches!(it.value, Yaml::String(_))) => {
                let items: Vec<Option<Value>> =
                    items.iter().map(|item| self.lookup_text(item, key).map(Value::String)).collect();
                items.into_iter().collect::<Option<_>>().map(Value::List)
            }
            Yaml::List(_) | Yaml::Map(_) => {
                let hint = "write text, a number, `true`, `false`, `~` for no value, or a list of texts";
                self.error(node.span, format!("`{key}` of a lookup must be a single value or a list of texts"), hint);
                None
            }
        }
    }

    /// The placeholder of a lookup that isn't read yet; `None` after an error.
    pub(super) fn lookup_placeholder(
        &mut self,
        name: &str,
        span: Span,
        around: Around<'_>,
        path: &Path,
    ) -> Option<Part> {
        let Some(lookup) = self.lookups.get(name) else {
            // An invalid one is already reported.
            if !self.declared_lookups.contains(name) && !self.is_only_counted() {
                self.no_lookup(name, span, around, path);
            }
            return None;
        };
        let used =
            LookupUse { resource: around.resource.to_owned(), path: path.clone(), span, is_hidden: around.sensitive };
        if lookup.is_secret && around.lookups && !around.sensitive {
            let error = used.shows_secret(&lookup.name, self.file.location(span));
            self.push(error);
            return None;
        }
        self.lookup_uses.entry(name.to_owned()).or_default().push(used);
        Some(Part::Placeholder(Placeholder::Lookup(name.to_owned())))
    }

    /// Reports a lookup that the spec doesn't have.
    fn no_lookup(&mut self, name: &str, span: Span, around: Around<'_>, path: &Path) {
        let near = nearest(name, self.lookups.keys().map(String::as_str));
        let problem = match around.sensitive {
            // The text may be a secret.
            true => format!("`{path}` refers to a lookup that doesn't exist in this spec"),
            false => format!("there is no lookup `{name}` in this spec"),
        };
        let hint = match near {
            Some(near) => format!("did you mean `${{lookup.{near}}}`?"),
            None => "add it to `lookups:`".to_owned(),
        };
        self.error(span, problem, hint);
    }

    /// The value of a property that is a lookup which isn't read yet, if its shape is not text;
    /// `Some(None)` after an error.
    pub(super) fn unread_lookup(
        &mut self,
        shape: &Shape,
        node: &Node,
        around: Around<'_>,
        path: &Path,
    ) -> Option<Option<Value>> {
        let name = only_lookup(node)?;
        let is_late = matches!(
            shape,
            Shape::Bool | Shape::Integer { .. } | Shape::List { .. } | Shape::Set { .. } | Shape::Texts { .. }
        );
        if !is_late || !around.lookups {
            return None;
        }
        let part = self.lookup_placeholder(name, node.span, around, path);
        Some(part.map(|part| Value::Unknown(Template(vec![part]))))
    }
}

/// Where lookups are declared: text with variables only.
const PLAIN: Around<'static> = Around { resource: "", literal: true, lookups: false, sensitive: false };

fn example(source: &LookupSource) -> String {
    format!("{{ {}: {} }}", source.key, source.example)
}
