//! Adopting what another tool created: unchanged, or not at all.
//!
//! **Invariant:** adopting resets nothing. What AWS has and the spec lacks is printed as lines to
//! paste.

use crate::schema::{Effect, Live, Presence, Rule, Schema};
use crate::spec::ResourceDecl;
use crate::value::Value;

use super::{Action, Change, PropertyChange, refused, unknown};

const REPLACES: &str = "adopting it would replace it, and engine only replaces resources that this stack owns";

/// The row of a resource that has no engine tags.
pub(super) fn adopted(row: Change, declared: &ResourceDecl, schema: &Schema, live: &Live) -> Change {
    if let Some((reason, hint)) = unknown::blocks_adoption(declared, schema, live) {
        return refused(row, reason, hint);
    }
    let fixed = unsettable(&row, schema);
    let lines = SpecLines::of(&row, declared, schema, live);
    if fixed.is_empty()
        && let Some(hint) = lines.hint(&declared.name)
    {
        let reason = match lines.is_reset {
            true => "adopting it would reset what the spec doesn't declare, and engine never does that",
            false => REPLACES,
        };
        return refused(row, reason.to_owned(), hint);
    }
    if row.action == Action::Replace {
        let reason = match fixed.is_empty() {
            true => REPLACES.to_owned(),
            false => format!("adopting it would replace it, because its {} can't change", fixed.join(" and ")),
        };
        // No spec can declare what it is.
        return refused(row, reason, format!("delete that {}, or declare another one", schema.kind));
    }
    Change {
        action: Action::Adopt,
        reason: Some("if another tool still manages it, that tool will undo these changes".into()),
        needs_approval: !declared.lifecycle.adopt,
        ..row
    }
}

/// The differing properties that can't change and that no spec can set.
fn unsettable(row: &Change, schema: &Schema) -> Vec<String> {
    let is_derived = |change: &PropertyChange| {
        let property = change.path.root().and_then(|root| schema.property(root));
        property.is_some_and(|it| matches!(it.presence, Presence::Derived))
    };
    let fixed = row.properties.iter().filter(|change| change.effect != Effect::InPlace && is_derived(change));
    fixed.map(|change| format!("`{}`", change.path)).collect()
}

/// The lines of a spec that declare a resource as it is.
#[derive(Default)]
struct SpecLines {
    /// To add.
    add: String,
    /// Instead of existing ones.
    correct: String,
    /// Whether adopting it without them would reset a property.
    is_reset: bool,
}

impl SpecLines {
    fn of(row: &Change, declared: &ResourceDecl, schema: &Schema, live: &Live) -> SpecLines {
        let mut lines = SpecLines::default();
        let mut ignored: Vec<&str> = declared.lifecycle.ignore_changes.iter().map(String::as_str).collect();
        for property in schema.properties.iter().filter(|it| it.change != Rule::Subset) {
            let name = &*property.name;
            let is_changed = row.properties.iter().any(|change| change.path.root() == Some(name));
            if property.is_ignorable && matches!(property.presence, Presence::Derived) && is_changed {
                // It can't be set, but it can be ignored.
                ignored.push(name);
                lines.is_reset = true;
                continue;
            }
            if matches!(property.presence, Presence::Derived) || declared.lifecycle.ignore_changes.contains(name) {
                continue;
            }
            let Some(value) = live.props.get(name) else { continue };
            let written = declared.explicit.contains(name);
            // A property that is kept unless set is adopted too, so it has to be set.
            let kept = property.optional_computed && *value != Value::Null && *value != Value::Bool(false);
            let changes = || row.properties.iter().filter(|change| change.path.root() == Some(name));
            let is_reset = changes().any(|change| !written || change.after == Value::Null) || (kept && !written);
            lines.is_reset |= is_reset;
            if !is_reset && changes().all(|change| change.effect == Effect::InPlace) {
                continue;
            }
            if *value == Value::Null {
                lines.correct.push_str(&format!("\n    # no {name}"));
            } else if property.sensitive {
                // Its values are never shown, so they can't be pasted.
                ignored.push(name);
            } else {
                if written { &mut lines.correct } else { &mut lines.add }.push_str(&line(name, value));
            }
        }
        if ignored.len() > declared.lifecycle.ignore_changes.len() {
            let line = format!("\n    ignore_changes: [{}]", ignored.join(", "));
            let is_new = declared.lifecycle.ignore_changes.is_empty();
            if is_new { &mut lines.add } else { &mut lines.correct }.push_str(&line);
        }
        lines
    }

    /// What to do with the lines; `None` if there are none.
    fn hint(&self, name: &str) -> Option<String> {
        let SpecLines { add, correct, .. } = self;
        match (add.is_empty(), correct.is_empty()) {
            (true, true) => None,
            (false, true) => Some(format!("to keep it as it is, add to `{name}`:{add}")),
            (true, false) => Some(format!("to keep it as it is, use these lines in `{name}`:{correct}")),
            (false, false) => {
                Some(format!("to keep it as it is, use these lines in `{name}`:{correct}\nand add:{add}"))
            }
        }
    }
}

/// A property as lines of a spec, each after a line break; unset entries are left out.
fn line(property: &str, value: &Value) -> String {
    fn lines(text: &mut String, indent: usize, key: &str, value: serde_json::Value) {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        // A key that YAML would not read as text is quoted.
        let special = ["true", "false", "null"].contains(&&*key.to_ascii_lowercase());
        let plain = key.starts_with(|c: char| c.is_ascii_alphabetic()) && key.bytes().all(word) && !special;
        let key = if plain { key.to_owned() } else { serde_json::Value::from(key).to_string() };
        text.push_str(&format!("\n{:indent$}{key}:", ""));
        match value {
            serde_json::Value::Object(map) if !map.is_empty() => {
                let set = map.into_iter().filter(|(_, value)| !value.is_null());
                set.for_each(|(key, value)| lines(text, indent + 2, &key, value));
            }
            // `${` in a value from AWS is no reference.
            value => text.push_str(&format!(" {}", value.to_string().replace("${", "$${"))),
        }
    }
    let mut text = String::new();
    lines(&mut text, 4, property, serde_json::Value::from(value));
    text
}
