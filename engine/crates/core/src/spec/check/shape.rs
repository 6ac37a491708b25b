//! Checks one value against its shape: type and range; replaces variables and keeps references.
//!
//! **Invariant:** it checks one property at a time and doesn't know other resources.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use crate::diagnostic::{Diagnostic, Span};
use crate::remedy::Advice;
use crate::schema::{JsonFn, Property, Shape, Str, Text, settable};
use crate::value::{Part, Path, Placeholder, Template, Tree, Value};
use crate::yaml::{Entry, Node, Yaml};

use super::super::template::{Name, Token, tokens};
use super::{Around, Checker, Reference, list, nearest, text_hint};

/// The shape with the form of a value, or the main one, whose error says what is expected.
fn of_form<'s>(shapes: &'s [Shape], value: &Yaml) -> Option<&'s Shape> {
    let fits = |shape: &&Shape| match value {
        Yaml::Map(_) => matches!(shape, Shape::Record(_) | Shape::Map { .. }),
        Yaml::List(_) => matches!(shape, Shape::List { .. } | Shape::Set { .. }),
        _ => false,
    };
    shapes.iter().find(fits).or(shapes.first())
}

impl<'a> Checker<'a> {
    /// A value of a shape; `None` after an error.
    pub(super) fn value(
        &mut self,
        shape: &'a Shape,
        node: &Node,
        name: &str,
        around: Around<'_>,
        path: &Path,
    ) -> Option<Value> {
        self.locations.set(around.resource, path.clone(), node.span);
        match self.unread_lookup(shape, node, around, path) {
            Some(unread) => unread,
            None => self.shaped(shape, node, name, around, path),
        }
    }

    /// A value of a shape that is known, or whose text has placeholders.
    fn shaped(&mut self, shape: &'a Shape, node: &Node, name: &str, around: Around<'_>, path: &Path) -> Option<Value> {
        let span = node.span;
        if matches!(node.value, Yaml::Null) {
            self.error(span, format!("`{name}` has no value"), "add a value, or remove the line");
            return None;
        }
        match shape {
            Shape::Bool => self.bool(node, name, around, path).map(Value::Bool),
            Shape::Integer { min, max } => self.integer_in_range((*min, *max), node, name, around, path),
            Shape::Text(text) => self.text_of(text, node, name, around, path),
            Shape::Choice(choices) => self.choice(choices, node, name, around, path),
            Shape::OpenChoice { offered, retired, form } => {
                self.open_choice((offered, retired, form), node, name, around, path)
            }
            Shape::Link { to, literal } => self.link(to, literal.as_ref(), node, name, around, path),
            Shape::Map { key, value, max } => {
                let entries = self.entries(node, name)?;
                let bounded = self.bounded(entries.len(), *max, span, name);
                let entries = entries.iter().take(*max);
                let map = entries.map(|entry| self.map_entry(key, value, entry, name, around, path)).collect();
                bounded?;
                Some(Value::Map(map))
            }
            Shape::List { item, max } => self.list(item, *max, node, name, around, path).map(Value::List),
            Shape::Set { item, max } => {
                let mut items = self.list(item, *max, node, name, around, path)?;
                items.sort_by_cached_key(|item| Json::from(item).to_string());
                items.dedup();
                Some(Value::List(items))
            }
            Shape::Texts { item, max } => self.texts(item, *max, node, name, around, path),
            Shape::Json { max, example, faults, references } => {
                let around = if *references { around } else { known(around) };
                let json = self.json(*max, example, node, name, around, path)?;
                self.faults(faults, &Json::from(&json), node, around, path);
                Some(json)
            }
            Shape::Record(properties) => self.record(properties, node, name, around, path),
            Shape::TextOrRecord(text, properties) => match node.value {
                Yaml::Map(_) => self.record(properties, node, name, around, path),
                _ => self.text_of(text, node, name, around, path),
            },
            Shape::OneOf(shapes) => self.value(of_form(shapes, &node.value)?, node, name, around, path),
        }
    }

    /// A word of an enumeration that AWS extends.
    fn open_choice(
        &mut self,
        (offered, retired, form): (&[Str], &[Str], &Text),
        node: &Node,
        name: &str,
        around: Around<'_>,
        path: &Path,
    ) -> Option<Value> {
        let value = self.text(node, name, known(around), path)?;
        let word = value.as_str()?;
        if form.violation(word).is_some() {
            return self.choice_error(word, offered, node.span, name, around);
        }
        if !offered.iter().chain(retired).any(|it| it == word) {
            self.warn_of_unknown(word, offered.iter().map(|it| &**it), node.span, name, around);
        }
        Some(value)
    }

    /// A text within its limits.
    fn text_of(&mut self, limits: &Text, node: &Node, name: &str, around: Around<'_>, path: &Path) -> Option<Value> {
        let value = self.text(node, name, around, path)?;
        self.object(limits, &value, node.span, name, around)?;
        Some(value)
    }

    fn integer_in_range(
        &mut self,
        (min, max): (i64, i64),
        node: &Node,
        name: &str,
        around: Around<'_>,
        path: &Path,
    ) -> Option<Value> {
        let number = self.integer(node, name, around, path)?;
        if number < min && max == i64::from(i32::MAX) {
            let problem = format!("`{name}` is {number}, below the minimum of {min}");
            self.error(node.span, problem, format!("use {min} or more"));
            return None;
        }
        if !(min..=max).contains(&number) {
            let problem = format!("`{name}` is {number}, outside the range {min} to {max}");
            self.error(node.span, problem, format!("use a number from {min} to {max}"));
            return None;
        }
        Some(Value::Number(number.into()))
    }

    /// One of a few words.
    fn choice(&mut self, choices: &[Str], node: &Node, name: &str, around: Around<'_>, path: &Path) -> Option<Value> {
        let value = self.text(node, name, known(around), path)?;
        let word = value.as_str()?;
        if choices.iter().any(|it| it == word) {
            return Some(value);
        }
        self.choice_error(word, choices, node.span, name, around)
    }

    /// An entry of the mapping `name`.
    fn map_entry(
        &mut self,
        limits: &Text,
        shape: &'a Shape,
        entry: &Entry,
        name: &str,
        around: Around<'_>,
        path: &Path,
    ) -> (String, Value) {
        let Entry { key, key_span, value } = entry;
        if let Some(objection) = limits.violation(key) {
            let problem = format!("the key `{key}` in `{name}` {objection}");
            self.error(*key_span, problem, limits.suggestion(key));
        }
        // Keep the key after an error, so that no other check reports it as missing.
        let value = self.value(shape, value, key, around, &path.key(key)).unwrap_or(Value::Null);
        (key.clone(), value)
    }

    /// One text, or a list of texts.
    fn texts(
        &mut self,
        item: &Text,
        max: usize,
        node: &Node,
        name: &str,
        around: Around<'_>,
        path: &Path,
    ) -> Option<Value> {
        let Yaml::List(items) = &node.value else { return self.text_of(item, node, name, around, path) };
        let bounded = self.bounded(items.len(), max, node.span, name);
        let items = items.iter().take(max).enumerate();
        let values = items.map(|(index, node)| self.text_of(item, node, name, around, &path.index(index)));
        let mut values = values.collect::<Vec<_>>().into_iter().collect::<Option<Vec<_>>>()?;
        bounded?;
        match values.len() {
            0 => {
                self.error(node.span, format!("`{name}` is empty"), "add at least one entry");
                None
            }
            1 => values.pop(),
            _ => Some(Value::List(values)),
        }
    }

    /// Reports a word that is not allowed.
    fn choice_error(
        &mut self,
        word: &str,
        choices: &[Str],
        span: Span,
        name: &str,
        around: Around<'_>,
    ) -> Option<Value> {
        if self.is_only_counted() {
            return None;
        }
        let choices = choices.iter().map(|it| &**it);
        let hint = match nearest(word, choices.clone()) {
            Some(near) => format!("did you mean `{near}`? Use one of {}", list(choices)),
            None => format!("use one of {}", list(choices)),
        };
        let problem = match self.hides(span, around) {
            true => format!("invalid value for `{name}`"),
            false => format!("invalid value `{word}` for `{name}`"),
        };
        self.error(span, problem, hint);
        None
    }

    /// Warns of an unknown word, which a newer version of AWS may accept.
    pub(super) fn warn_of_unknown<'n>(
        &mut self,
        word: &str,
        choices: impl Iterator<Item = &'n str> + Clone,
        span: Span,
        name: &str,
        around: Around<'_>,
    ) {
        let problem = match self.hides(span, around) {
            true => format!("engine doesn't know about this value of `{name}`"),
            false => format!("`{name}` is `{word}`, which engine doesn't know about"),
        };
        self.push(unknown_value(problem, word, choices).at(self.file.location(span)));
    }

    /// `None` after an error. Callers still check the first `max` entries, and skip the others:
    /// there may be many.
    pub(super) fn bounded(&mut self, length: usize, max: usize, span: Span, name: &str) -> Option<()> {
        if length <= max {
            return Some(());
        }
        let problem = format!("`{name}` has {length} entries, but the maximum is {max}");
        self.error(span, problem, format!("keep at most {max} entries"));
        None
    }

    fn list(
        &mut self,
        item: &'a Shape,
        max: usize,
        node: &Node,
        name: &str,
        around: Around<'_>,
        path: &Path,
    ) -> Option<Vec<Value>> {
        let Yaml::List(items) = &node.value else {
            self.error(node.span, format!("`{name}` must be a list"), format!("write `{name}: [one, two]`"));
            return None;
        };
        let bounded = self.bounded(items.len(), max, node.span, name);
        let items = items.iter().take(max).enumerate();
        let values = items.map(|(index, node)| self.value(item, node, name, around, &path.index(index)));
        let values = values.collect::<Vec<_>>();
        bounded?;
        values.into_iter().collect()
    }

    /// A JSON object, written as YAML or as text. Text can contain variables but no references.
    fn json(
        &mut self,
        max: usize,
        example: &str,
        node: &Node,
        name: &str,
        around: Around<'_>,
        path: &Path,
    ) -> Option<Value> {
        let json = match &node.value {
            Yaml::Map(_) => self.plain(node, name, around, path)?,
            Yaml::Null | Yaml::Bool(_) | Yaml::Number(_) | Yaml::List(_) => {
                let is_entry = path.to_string().ends_with(']');
                let (problem, hint) = match is_entry {
                    true => {
                        (format!("each entry of `{name}` must be a mapping"), format!("write `{name}: [{example}]`"))
                    }
                    false => (format!("`{name}` must be a mapping"), format!("write `{name}: {example}`")),
                };
                self.error(node.span, problem, hint);
                return None;
            }
            Yaml::String(_) => {
                let text = self.text(node, name, known(around), path)?;
                match serde_json::from_str(text.as_str().unwrap_or_default()) {
                    Ok(json @ Json::Object(_)) => Value::from(json),
                    Ok(_) => {
                        self.error(node.span, format!("`{name}` is not a JSON object"), "start it with `{`");
                        return None;
                    }
                    Err(error) => {
                        let problem = format!("`{name}` is not valid JSON: {error}");
                        self.error(node.span, problem, "write it as YAML under the key, or as JSON in quotes");
                        return None;
                    }
                }
            }
        };
        let length = Json::from(&json).to_string().chars().count();
        if length > max {
            let problem = format!("`{name}` has {length} characters as JSON, but the maximum is {max}");
            self.error(node.span, problem, format!("shorten it to {max} characters"));
            return None;
        }
        Some(json)
    }

    fn faults(&mut self, faults: &JsonFn, json: &Json, node: &Node, around: Around<'_>, path: &Path) {
        // Show it as written if it contains a variable, whose value may be a secret.
        let written = self.hides(node.span, around).then(|| as_written(node));
        let faults = faults(written.as_ref().unwrap_or(json), path);
        self.report(around.resource, faults);
    }

    /// YAML as a value without a schema.
    fn plain(&mut self, node: &Node, name: &str, around: Around<'_>, path: &Path) -> Option<Value> {
        self.locations.set(around.resource, path.clone(), node.span);
        Some(match &node.value {
            Yaml::Null => Value::Null,
            Yaml::Bool(bool) => Value::Bool(*bool),
            Yaml::Number(number) => Value::Number(number.clone()),
            Yaml::String(_) => self.text(node, name, around, path)?,
            Yaml::List(items) => {
                let items = items.iter().enumerate().map(|(at, item)| self.plain(item, name, around, &path.index(at)));
                Value::List(items.collect::<Vec<_>>().into_iter().collect::<Option<_>>()?)
            }
            Yaml::Map(entries) => {
                let entries = entries.iter().map(|Entry { key, value, .. }| {
                    Some((key.clone(), self.plain(value, name, around, &path.key(key))?))
                });
                Value::Map(entries.collect::<Vec<_>>().into_iter().collect::<Option<_>>()?)
            }
        })
    }

    pub(super) fn record(
        &mut self,
        properties: &'a [Property],
        node: &Node,
        name: &str,
        around: Around<'_>,
        path: &Path,
    ) -> Option<Value> {
        let entries = self.entries(node, name)?;
        let (mut tree, mut written) = (Tree::new(), BTreeSet::new());
        for Entry { key, key_span, value } in entries {
            let Some(property) = settable(properties).find(|property| property.name == *key) else {
                if self.is_only_counted() {
                    continue;
                }
                written.extend(nearest(key, settable(properties).map(|it| &*it.name)).map(str::to_owned));
                self.unknown(key, *key_span, &format!("`{name}`"), properties.iter().map(|it| &*it.name));
                continue;
            };
            written.insert(key.clone());
            let around = Around { lookups: around.lookups && property.takes_lookups(), ..around };
            // Inline source is literal: JavaScript has its own `${…}`.
            let value = if property.sensitive && property.no_references && matches!(value.value, Yaml::String(_)) {
                self.locations.set(around.resource, path.key(key), value.span);
                self.raw_text(value, key, around).map(Value::String)
            } else {
                self.value(&property.shape, value, key, around, &path.key(key))
            };
            if let Some(value) = value {
                tree.insert(key.clone(), value);
            }
        }
        self.complete(&mut tree, properties, &written, node.span, name);
        Some(Value::Map(tree))
    }

    pub(super) fn link(
        &mut self,
        to: &'a [(Str, Str)],
        literal: Option<&Text>,
        node: &Node,
        name: &str,
        around: Around<'_>,
        path: &Path,
    ) -> Option<Value> {
        let before = self.references.len();
        let value = self.text(node, name, around, path)?;
        let example =
            to.first().map_or_else(String::new, |(kind, attribute)| format!("${{name-of-a-{kind}.{attribute}}}"));
        match (&value, literal) {
            (Value::Unknown(template), _) if template.as_reference().is_some() => {
                if let Some(reference) = self.references.get_mut(before) {
                    reference.fits = Some(to);
                }
            }
            (Value::Unknown(_), Some(_)) => {}
            (_, Some(text)) => self.object(text, &value, node.span, name, around)?,
            (_, None) => {
                let problem = format!("`{name}` must be a reference to a resource in this spec");
                self.error(node.span, problem, format!("write `{name}: {example}`"));
                return None;
            }
        }
        Some(value)
    }

    /// Text with variables replaced and references kept.
    pub(super) fn text(&mut self, node: &Node, name: &str, around: Around<'_>, path: &Path) -> Option<Value> {
        let raw = self.raw_text(node, name, around)?;
        let tokens = match tokens(&raw) {
            Ok(tokens) => tokens,
            Err(errors) => {
                for (problem, hint) in errors {
                    // The text between the braces may be part of a secret that only looks like a
                    // reference.
                    let problem = if around.sensitive { "it contains an invalid `${…}`".to_owned() } else { problem };
                    self.error(node.span, format!("`{name}`: {problem}"), hint);
                }
                return None;
            }
        };
        let before = self.references.len();
        let n_tokens = tokens.len();
        let parts = tokens.into_iter().filter_map(|token| self.part(token, node.span, around, path));
        let parts: Vec<Part> = parts.collect();
        let is_complete = parts.len() == n_tokens;
        let value = Template(parts).resolve(&|_| None);
        let is_early = |placeholder: &&Placeholder| match placeholder {
            Placeholder::Lookup(_) => !around.lookups,
            _ => around.literal,
        };
        if let Value::Unknown(template) = &value
            && let Some(placeholder) = template.placeholders().find(is_early)
        {
            self.not_literal(placeholder, node.span, name);
            // Report the reference only once.
            self.references.truncate(before);
            return None;
        }
        is_complete.then_some(value)
    }

    /// A part of a text, with a variable replaced; `None` if it has no value. Records references.
    fn part(&mut self, token: Token, span: Span, around: Around<'_>, path: &Path) -> Option<Part> {
        let known_or =
            |value: &Option<String>, placeholder| value.clone().map_or(Part::Placeholder(placeholder), Part::Text);
        Some(match token {
            Token::Text(text) => Part::Text(text),
            Token::Name(Name::Team) => Part::Text(self.scope.team.clone()),
            Token::Name(Name::Region) => known_or(&self.scope.region, Placeholder::Region),
            Token::Name(Name::Account) => known_or(&self.scope.account, Placeholder::Account),
            Token::Name(Name::Partition) => Part::Placeholder(Placeholder::Partition),
            Token::Name(Name::Missing(_)) => return None,
            Token::Name(Name::Lookup(lookup)) => self.lookup_placeholder(&lookup, span, around, path)?,
            Token::Name(Name::Output { resource, attribute }) => {
                self.references.push(Reference {
                    from: around.resource.to_owned(),
                    path: path.clone(),
                    span,
                    resource: resource.clone(),
                    attribute: attribute.clone(),
                    fits: None,
                    sensitive: around.sensitive,
                });
                Part::Placeholder(Placeholder::Output { resource, attribute })
            }
        })
    }

    /// Reports a placeholder in a text that must not have any.
    fn not_literal(&mut self, placeholder: &Placeholder, span: Span, name: &str) {
        let shown = placeholder.to_string();
        let hint = if shown == "${account}" || shown == "${region}" {
            format!("set `{}:` at the top of the spec", shown.trim_matches(['$', '{', '}']))
        } else {
            "write the value itself, or use a variable (`${var.x}`)".to_owned()
        };
        if matches!(placeholder, Placeholder::Lookup(_)) {
            let error = Diagnostic::error(format!("`{name}` can't use `{shown}`"), hint).at(self.file.location(span));
            let why = "what identifies or describes a resource must be known before engine reads AWS, and be no secret";
            self.push(error.why(why));
            return;
        }
        let problem = format!("`{name}` can't contain `{shown}`: its value must be known before engine reads AWS");
        self.error(span, problem, hint);
    }

    /// A string as written; an unquoted number or boolean is an error.
    pub(super) fn raw_text(&mut self, node: &Node, name: &str, around: Around<'_>) -> Option<String> {
        if let (true, Yaml::Number(_) | Yaml::Bool(_)) = (self.file.is_substituted(node.span), &node.value) {
            let text = self.file.text_at_origin(node.span);
            self.rendering.adapted.insert(node.span, Yaml::String(text.clone()));
            return Some(text);
        }
        if let (true, Yaml::List(_) | Yaml::Map(_)) = (self.file.is_outside(node.span), &node.value) {
            let text = self.file.text_at_origin(node.span).replace("${", "$${");
            self.rendering.adapted.insert(node.span, Yaml::String(text.clone()));
            return Some(text);
        }
        let written = self.file.text_at_use(node.span);
        // YAML reads `012` as text, but without quotes it may be candidate as a number.
        let digits = |text: &str| {
            text.starts_with(|c: char| c.is_ascii_digit()) && text.bytes().all(|b| b.is_ascii_digit() || b == b'_')
        };
        let quoted = || match around.sensitive {
            true => "quote it".to_owned(),
            false => format!("quote it: `{name}: \"{written}\"`"),
        };
        let in_line = || format!("write `{name}: text` on one line");
        let (problem, hint) = match &node.value {
            Yaml::String(text) if !(node.plain && digits(text)) => return Some(text.clone()),
            Yaml::String(_) | Yaml::Number(_) => (format!("`{name}` must be text, not a number"), quoted()),
            Yaml::Bool(_) => (format!("`{name}` must be text, not a boolean"), quoted()),
            Yaml::Null => (format!("`{name}` has no value"), "add a value, or remove the line".to_owned()),
            Yaml::List(_) => (format!("`{name}` must be text, not a list"), in_line()),
            Yaml::Map(_) => (format!("`{name}` must be text, not a mapping"), in_line()),
        };
        self.error(node.span, problem, hint);
        None
    }

    pub(super) fn bool(&mut self, node: &Node, name: &str, around: Around<'_>, path: &Path) -> Option<bool> {
        if let Yaml::Bool(bool) = node.value {
            return Some(bool);
        }
        let substituted = self.substituted(node, name, around, path)?;
        let bool = substituted.as_deref().and_then(|text| text.parse().ok());
        self.rendering.adapted.extend(bool.map(|bool| (node.span, Yaml::Bool(bool))));
        if bool.is_none() {
            self.error(node.span, format!("`{name}` must be true or false"), "write `true` or `false` without quotes");
        }
        bool
    }

    pub(super) fn integer(&mut self, node: &Node, name: &str, around: Around<'_>, path: &Path) -> Option<i64> {
        if let Yaml::Number(number) = &node.value
            && let Some(integer) = number.as_i64()
        {
            return Some(integer);
        }
        let substituted = self.substituted(node, name, around, path)?;
        let integer: Option<i64> = substituted.as_deref().and_then(|text| text.parse().ok());
        self.rendering.adapted.extend(integer.map(|integer| (node.span, Yaml::Number(integer.into()))));
        if integer.is_none() {
            self.error(node.span, format!("`{name}` must be a whole number"), "write only digits, without quotes");
        }
        integer
    }

    /// A string with its variables replaced, for properties that are not text; `Some(None)` if it
    /// has no variables.
    pub(super) fn substituted(
        &mut self,
        node: &Node,
        name: &str,
        around: Around<'_>,
        path: &Path,
    ) -> Option<Option<String>> {
        match &node.value {
            Yaml::String(text) if text.contains("${") || self.file.is_substituted(node.span) => {
                let value = self.text(node, name, Around { literal: true, ..around }, path)?;
                Some(value.as_str().map(str::to_owned))
            }
            _ => Some(None),
        }
    }

    pub(super) fn entries<'n>(&mut self, node: &'n Node, name: &str) -> Option<&'n [Entry]> {
        let Yaml::Map(entries) = &node.value else {
            self.error(
                node.span,
                format!("`{name}` must be a mapping"),
                format!("write `{name}: {{ key: value }}`, or the keys under it, indented"),
            );
            return None;
        };
        Some(entries)
    }

    /// Checks text against its limits, if it is known.
    pub(super) fn object(
        &mut self,
        text: &Text,
        value: &Value,
        span: Span,
        name: &str,
        around: Around<'_>,
    ) -> Option<()> {
        let Some(known) = value.as_str() else { return Some(()) };
        let Some(objection) = text.violation(known) else { return Some(()) };
        let hidden = self.hides(span, around);
        let hint = if hidden { text.suggestion(known) } else { text_hint(known, text) };
        let problem = match text.is_malformed(known) && !hidden && known.chars().count() <= 80 {
            true => format!("invalid value `{known}` for `{name}`"),
            false => format!("`{name}` {objection}"),
        };
        self.error(span, problem, hint);
        None
    }

    pub(super) fn unknown<'n>(&mut self, key: &str, span: Span, owner: &str, known: impl Iterator<Item = &'n str>) {
        let known: Vec<&str> = known.collect();
        let hint = match nearest(key, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the properties are {}", list(known)),
        };
        self.error(span, format!("{owner} has no property `{key}`"), hint);
    }
}

/// Around a value that must be known before engine reads AWS.
fn known(around: Around<'_>) -> Around<'_> {
    Around { literal: true, lookups: false, ..around }
}

/// The warning for a word that is not in engine's list.
pub(super) fn unknown_value<'n>(
    problem: impl Into<Advice>,
    word: &str,
    choices: impl Iterator<Item = &'n str> + Clone,
) -> Diagnostic {
    let hint = match nearest(word, choices.clone()) {
        Some(near) => format!("if this is a typo, did you mean `{near}`?"),
        None => format!("if this is a typo, use one of the known values: {}", list(choices)),
    };
    Diagnostic::warning(problem, hint).why("AWS adds values over time, so engine lets AWS decide")
}

/// YAML as JSON, without replacing variables.
fn as_written(node: &Node) -> Json {
    match &node.value {
        Yaml::Null => Json::Null,
        Yaml::Bool(bool) => Json::Bool(*bool),
        Yaml::Number(number) => Json::Number(number.clone()),
        Yaml::String(text) => Json::String(text.clone()),
        Yaml::List(items) => items.iter().map(as_written).collect(),
        Yaml::Map(entries) => entries.iter().map(|entry| (entry.key.clone(), as_written(&entry.value))).collect(),
    }
}
