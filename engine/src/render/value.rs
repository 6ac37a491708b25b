//! Renders values as in YAML, on one line or several.
//!
//! **Invariant:** what is shown of a sensitive value doesn't depend on the value.

use serde_json::Value as Json;
use textwrap::core::display_width;

use crate::diagnostic::printable;
use crate::value::{Tree, Value};

/// A value to lay out.
pub(super) enum DisplayValue {
    /// On one line or, if that is too long, with one entry per line.
    Value(Value),
    /// Unchanged.
    Text(String),
}

impl DisplayValue {
    pub(super) fn on_one_line(&self) -> String {
        match self {
            DisplayValue::Value(value) => one_line(value),
            DisplayValue::Text(text) => text.clone(),
        }
    }

    /// In lines of at most `room` columns, if it can be divided.
    pub(super) fn lines(&self, room: usize) -> Vec<String> {
        match self {
            DisplayValue::Value(value) => tall(value, room),
            DisplayValue::Text(text) => vec![text.clone()],
        }
    }
}

/// A sensitive value as text.
pub(super) fn sensitive(value: &Value, is_changed: bool) -> String {
    match value {
        Value::Null => "null".to_owned(),
        value if !value.unread_lookups().is_empty() => "(sensitive, not read)".to_owned(),
        value if value.has_unknown() => "(sensitive, known after apply)".to_owned(),
        _ if is_changed => "(sensitive, changed)".to_owned(),
        _ => "(sensitive)".to_owned(),
    }
}

/// A value as text on one line.
pub(super) fn one_line(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        value if value.is_unbuilt() => "(known after build)".to_owned(),
        Value::Unknown(template) if template.unread_lookups().next().is_some() => "(not read)".to_owned(),
        Value::Unknown(_) => "(known after apply)".to_owned(),
        Value::Map(map) if map.is_empty() => "{}".to_owned(),
        Value::Map(map) => {
            let entries: Vec<String> =
                set(map).map(|(key, value)| format!("{}: {}", yaml_key(key), one_line(value))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        Value::List(items) => format!("[{}]", items.iter().map(one_line).collect::<Vec<_>>().join(", ")),
        value => printable(&Json::from(value).to_string()),
    }
}

/// The entries of a mapping that are set.
pub(super) fn set(map: &Tree) -> impl Iterator<Item = (&String, &Value)> {
    map.iter().filter(|(_, value)| **value != Value::Null)
}

/// A key as in YAML: quoted if needed.
pub(super) fn yaml_key(key: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "_-./:@+$%".contains(c);
    if !key.is_empty() && key.chars().all(is_plain) { key.to_owned() } else { Json::from(key).to_string() }
}

/// A value with one entry per line, if it is wider than `room` columns.
pub(super) fn tall(value: &Value, room: usize) -> Vec<String> {
    let line = one_line(value);
    if display_width(&line) <= room {
        return vec![line];
    }
    let inner = room.saturating_sub(2);
    let entries: Vec<Vec<String>> = match value {
        Value::Map(map) => {
            let entries = set(map).map(|(key, value)| {
                let key = yaml_key(key);
                let mut lines = tall(value, inner.saturating_sub(display_width(&key) + 2));
                if let Some(first) = lines.first_mut() {
                    *first = format!("{key}: {first}");
                }
                lines
            });
            entries.collect()
        }
        Value::List(items) => items.iter().map(|item| tall(item, inner)).collect(),
        _ => return vec![line],
    };
    let (open, close) = if matches!(value, Value::Map(_)) { ("{", "}") } else { ("[", "]") };
    let entries = entries.into_iter().flatten().map(|line| format!("  {line}"));
    std::iter::once(open.to_owned()).chain(entries).chain([close.to_owned()]).collect()
}
