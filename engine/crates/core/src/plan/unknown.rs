//! Properties that can't be read: what the plan reports and refuses because of them.
//!
//! **Invariant:** an unknown property is not compared, and no step that leaves the resource in
//! place sends it.

use std::collections::{BTreeMap, BTreeSet};

use crate::inventory::Inventory;
use crate::remedy::Advice;
use crate::schema::{Live, NOT_NEEDED, Ownership, Rule, Schema};
use crate::spec::{ResourceDecl, Spec};
use crate::value::{Tree, Value};
use crate::wait::Detail;

/// Removes unreadable properties from `desired`, so that an update doesn't send them.
pub fn remove_unknown(live: &Live, desired: &mut Tree) {
    live.unknown.keys().for_each(|name| drop(desired.remove(&**name)));
}

/// One note per reason; `after` ends the note, for one property and for several.
pub(super) fn notes(declared: &ResourceDecl, live: &Live, after: (&str, &str)) -> Vec<String> {
    let mut by_reason: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for property in declared.schema().properties.iter().filter(|it| it.change != Rule::WriteOnly) {
        let Some(why) = live.unknown.get(&property.name).filter(|why| *why != NOT_NEEDED) else { continue };
        // That tags can't be read is reported once for the whole plan.
        let is_told = matches!(live.owner, Ownership::Denied | Ownership::Untaggable) && !declares_tags(declared);
        if property.change != Rule::Subset || !is_told {
            by_reason.entry(why).or_default().push(&property.name);
        }
    }
    let note = |(why, names): (&str, Vec<&str>)| {
        let after = if names.len() == 1 { after.0 } else { after.1 };
        format!("its {} can't be read ({why}){after}", listed(&names))
    };
    by_reason.into_iter().map(note).collect()
}

/// The undeclared properties that weren't read, since the spec is large, as one note.
pub(super) fn left_out(spec: &Spec, inventory: &Inventory) -> Option<String> {
    if inventory.detail != Detail::Lean {
        return None;
    }
    let is_skipped = |live: &Live, name: &str| live.unknown.get(name).is_some_and(|why| why == NOT_NEEDED);
    let skipped = spec.resources.iter().filter(|it| !it.imported).filter_map(|declared| {
        let live = inventory.live(&declared.name)?;
        let separate_reads = declared.schema().separate_reads().map(|property| &*property.name);
        let names: Vec<&str> = separate_reads.filter(|name| is_skipped(live, name)).collect();
        (!names.is_empty()).then_some((&*declared.schema().kind, names))
    });
    let mut by_kind: BTreeMap<&str, (usize, BTreeSet<&str>)> = BTreeMap::new();
    for (kind, names) in skipped {
        let (count, all) = by_kind.entry(kind).or_default();
        *count += 1;
        all.extend(names);
    }
    let of_kind = |(kind, (count, names)): (&str, (usize, BTreeSet<&str>))| {
        format!("{} of {count} {kind}s", listed(&names.into_iter().collect::<Vec<_>>()))
    };
    let parts: Vec<String> = by_kind.into_iter().map(of_kind).collect();
    (!parts.is_empty()).then(|| {
        format!(
            "not compared, because neither the spec nor engine has set it and the reads would take long at AWS's rate \
             limits: {}",
            parts.join(", ")
        )
    })
}

fn declares_tags(declared: &ResourceDecl) -> bool {
    let tags = declared.schema().properties.iter().filter(|it| it.change == Rule::Subset);
    tags.filter_map(|it| declared.desired.get(&*it.name)).any(|it| matches!(it, Value::Map(tags) if !tags.is_empty()))
}

/// Declared properties that can't be read, so they may differ from the spec.
pub(super) fn declared_unknown<'l>(declared: &ResourceDecl, live: &'l Live) -> Vec<&'l str> {
    let is_declared = |name: &&str| {
        let property = declared.schema().property(name);
        property.is_some_and(|it| it.is_compared())
            && declared.explicit.contains(*name)
            && !declared.lifecycle.ignore_changes.contains(*name)
    };
    live.unknown.keys().map(|name| &**name).filter(is_declared).collect()
}

/// Why a resource can't be adopted: an update would overwrite declared properties that can't be
/// read.
pub(super) fn blocks_adoption(declared: &ResourceDecl, schema: &Schema, live: &Live) -> Option<(String, String)> {
    let mut sent = declared_unknown(declared, live);
    // Tags are only ever added.
    sent.retain(|name| schema.property(name).is_some_and(|it| it.change != Rule::Subset));
    let why = live.unknown.get(*sent.first()?)?;
    let names = listed(&sent);
    let reason = format!("adopting it would overwrite its {names}, which can't be read ({why})");
    let mut ignored: Vec<&str> = declared.lifecycle.ignore_changes.iter().map(String::as_str).collect();
    ignored.extend(&sent);
    let hint = format!("get that permission, or add `ignore_changes: [{}]` to `{}`", ignored.join(", "), declared.name);
    Some((reason, hint))
}

/// Why a resource can't be re-created: the new one would lack properties that the spec doesn't set
/// and that can't be read.
pub(super) fn blocks_replacement(declared: &ResourceDecl, live: &Live) -> Option<(String, Advice)> {
    let is_kept = |name: &str| {
        declared.lifecycle.ignore_changes.contains(name)
            || declared
                .schema()
                .property(name)
                .is_some_and(|it| it.optional_computed && !declared.explicit.contains(&*it.name))
    };
    let (name, why) = live.unknown.iter().find(|(name, _)| is_kept(name))?;
    let reason = format!("re-creating it would lose its `{name}`, which can't be read ({why})");
    let hint = format!("set `{name}` in `{}`, and remove it from `ignore_changes` if it is listed", declared.name);
    Some((reason, hint.into()))
}

/// "`a`, `b` and `c`".
fn listed(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}
