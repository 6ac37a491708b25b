//! Lookups that haven't been read: what the plan reports because of them.
//!
//! **Invariant:** an unread value of an existing resource is not compared and not sent.

use std::collections::BTreeMap;

use crate::schema::{Schema, Shape};
use crate::spec::{ResourceDecl, Spec};
use crate::value::{Part, Path, Placeholder, Tree, Value};

/// The paths that need each unread lookup.
pub(super) type UnreadPaths = BTreeMap<String, Vec<Path>>;

/// Finds the unread values in desired properties. Those of an existing resource become its live
/// values.
pub(super) fn keep_unread(schema: &Schema, live: Option<&Tree>, desired: &mut Tree) -> UnreadPaths {
    let mut unread = UnreadPaths::new();
    for (name, value) in desired.iter_mut() {
        // A document can't be merged part by part.
        let is_atomic = schema.property(name).is_some_and(|it| matches!(it.shape, Shape::Json { .. }));
        let current = live.map(|live| live.get(name).unwrap_or(&Value::Null));
        keep_value(value, current, &Path::property(name), is_atomic, &mut unread);
    }
    unread
}

fn keep_value(value: &mut Value, live: Option<&Value>, path: &Path, is_atomic: bool, unread: &mut UnreadPaths) {
    let lookups: Vec<String> = value.unread_lookups().into_iter().map(str::to_owned).collect();
    if lookups.is_empty() {
        return;
    }
    if let Value::Map(map) = value
        && !is_atomic
    {
        let entries = live.map(|live| if let Value::Map(entries) = live { Some(entries) } else { None });
        for (key, value) in &mut *map {
            let live = entries.map(|entries| entries.and_then(|it| it.get(key)).unwrap_or(&Value::Null));
            keep_value(value, live, &path.key(key), false, unread);
        }
        // What AWS doesn't have is not sent either.
        if live.is_some() {
            map.retain(|_, value| *value != Value::Null);
        }
        return;
    }
    for lookup in lookups {
        unread.entry(lookup).or_default().push(path.clone());
    }
    if let Some(live) = live {
        *value = live.clone();
    }
}

/// One note for each reason, of which `why` has that of each lookup.
pub(super) fn notes(unread: &UnreadPaths, why: &BTreeMap<String, String>, is_new: bool) -> Vec<String> {
    let mut by_reason: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (lookup, paths) in unread {
        let reason = why.get(lookup).map_or("", String::as_str);
        let needs = paths.iter().map(|path| format!("`{path}` (`lookups.{lookup}`)"));
        by_reason.entry(reason).or_default().extend(needs);
    }
    let note = |(reason, needs): (&str, Vec<String>)| {
        let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        let end = match (is_new, needs.len()) {
            (true, 1) => "needs a lookup that wasn't read",
            (true, _) => "need lookups that weren't read",
            (false, 1) => "is not compared, because its lookup wasn't read",
            (false, _) => "are not compared, because their lookups weren't read",
        };
        format!("{} {end}{reason}", crate::lookup::listed(&needs))
    };
    by_reason.into_iter().map(note).collect()
}

/// Outputs of imported resources whose names weren't read become unread themselves.
pub(super) fn through_imports(spec: &Spec, tree: &mut Tree) {
    if !spec.unnamed_imports.is_empty() {
        tree.values_mut().for_each(|value| through(spec, value));
    }
}

fn through(spec: &Spec, value: &mut Value) {
    match value {
        Value::Unknown(template) => {
            for part in &mut template.0 {
                if let Part::Placeholder(Placeholder::Output { resource, .. }) = part
                    && let Some(lookup) = spec.unnamed_imports.get(resource)
                {
                    *part = Part::Placeholder(Placeholder::Lookup(lookup.clone()));
                }
            }
        }
        Value::List(items) => items.iter_mut().for_each(|item| through(spec, item)),
        Value::Map(map) => map.values_mut().for_each(|item| through(spec, item)),
        _ => {}
    }
}

/// Why a resource of this kind must not be deleted: an imported one, whose name wasn't read, may be
/// the same.
pub(super) fn may_be_imported(spec: &Spec, orphan: &ResourceDecl) -> Option<String> {
    let is_same = |name: &&String| spec.resource(name).is_some_and(|it| it.schema().kind == orphan.schema().kind);
    let (import, lookup) = spec.unnamed_imports.iter().find(|(name, _)| is_same(name))?;
    let kind = &orphan.schema().kind;
    Some(format!(
        "not deleted: `{import}` imports a {kind} whose name is in `lookups.{lookup}`, which wasn't read, so this may be it"
    ))
}
