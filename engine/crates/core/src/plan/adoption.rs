//! Adopting what another tool created: unchanged, or not at all.
//!
//! **Invariant:** adopting resets nothing. What AWS has and the spec lacks is printed as lines to paste.

use crate::schema::{Effect, Live, Presence, Rule, Schema};
use crate::spec::Declared;
use crate::value::Value;

use super::{Action, Change, PropertyChange, refused, unknown};

/// The row of a resource that has no engine tags.
pub(super) fn adopted(row: Change, declared: &Declared, schema: &Schema, live: &Live) -> Change {
    if let Some((reason, hint)) = unknown::blocks_adoption(declared, schema, live) {
        return refused(row, reason, hint);
    }
    let (mut add, mut correct) = (String::new(), String::new());
    let mut is_reset = false;
    let mut ignored: Vec<&str> = declared.lifecycle.ignore_changes.iter().map(String::as_str).collect();
    for property in schema.properties.iter().filter(|it| it.change != Rule::Ensure) {
        if matches!(property.presence, Presence::Derived) || declared.lifecycle.ignore_changes.contains(&*property.name)
        {
            continue;
        }
        let Some(value) = live.props.get(&*property.name) else { continue };
        let written = declared.written.contains(&*property.name);
        // A property that is kept unless set is adopted too, so it has to be set.
        let kept = property.sticky && *value != Value::Null && *value != Value::Bool(false);
        let dropped = row
            .properties
            .iter()
            .any(|change| change.path.root() == Some(&*property.name) && (!written || change.after == Value::Null));
        let fixed = row
            .properties
            .iter()
            .any(|change| change.path.root() == Some(&*property.name) && change.effect != Effect::InPlace);
        is_reset |= dropped || (kept && !written);
        if !(dropped || (kept && !written) || fixed) {
            continue;
        }
        if *value == Value::Null {
            correct.push_str(&format!("\n    # no {}", property.name));
        } else if property.sensitive {
            // Its values are never shown, so they can't be pasted.
            ignored.push(&property.name);
        } else {
            let lines = line(&property.name, value);
            if written { &mut correct } else { &mut add }.push_str(&lines);
        }
    }
    if ignored.len() > declared.lifecycle.ignore_changes.len() {
        let lines = format!("\n    ignore_changes: [{}]", ignored.join(", "));
        if declared.lifecycle.ignore_changes.is_empty() { &mut add } else { &mut correct }.push_str(&lines);
    }
    let name = &declared.name;
    let unsayable = |change: &PropertyChange| {
        change.effect != Effect::InPlace
            && change
                .path
                .root()
                .and_then(|root| schema.property(root))
                .is_some_and(|it| matches!(it.presence, Presence::Derived))
    };
    let unsayables: Vec<String> =
        row.properties.iter().filter(|it| unsayable(it)).map(|it| format!("`{}`", it.path)).collect();
    let is_unsayable = !unsayables.is_empty();
    if !is_unsayable && (!add.is_empty() || !correct.is_empty()) {
        let reason = match is_reset {
            true => "adopting it would reset what the spec doesn't declare, and adopting never resets",
            false => "adopting it would replace it, and engine only replaces resources that this stack owns",
        };
        let reason = reason.to_owned();
        let hint = match (add.is_empty(), correct.is_empty()) {
            (false, true) => format!("to keep it as it is, add to `{name}`:{add}"),
            (true, _) => format!("to keep it as it is, correct in `{name}`:{correct}"),
            (false, false) => format!("to keep it as it is, correct in `{name}`:{correct}\nand add:{add}"),
        };
        return refused(row, reason, hint);
    }
    if row.action == Action::Replace {
        let reason = match is_unsayable {
            true => format!("adopting it would replace it, because its {} can't change", unsayables.join(" and ")),
            false => "adopting it would replace it, and engine only replaces resources that this stack owns".to_owned(),
        };
        // No spec can declare what it is.
        return refused(row, reason, format!("delete that {}, or declare another one", schema.kind));
    }
    Change {
        action: Action::Adopt,
        reason: Some("if another tool still manages it, that tool will undo this".to_owned()),
        asks: !declared.lifecycle.adopt,
        ..row
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
