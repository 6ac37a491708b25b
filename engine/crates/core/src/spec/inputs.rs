//! The files and settings that a spec's values come from, besides the spec: the file that it
//! extends, files of variables, the environment and the command line.
//!
//! **Invariant:** no value of a file of variables is ever shown.

use std::path::Path as FilePath;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, SourceFile, Span};
use crate::kind::Kinds;
use crate::yaml::{self, Entry, Node, Yaml};

use super::SpecOverrides;
use super::check::sensitive;
use super::files;
use super::problems::Problems;
use super::structure::merged;

/// The top-level keys that an extended file can't have, since they are a spec's own.
const OWN: [&str; 5] = ["resources", "outputs", "stack", "owns", "extends"];
/// The top-level keys whose entries are merged with those of the extended file.
const MERGED: [&str; 4] = ["vars", "lookups", "tags", "stages"];

/// The top-level entries of a spec, with those of the file that it extends; `None` if that can't be
/// read, since it may have any value.
pub(super) fn with_extended(
    kinds: &Kinds,
    file: &Arc<SourceFile>,
    top: &[Entry],
    dir: &FilePath,
    overrides: &SpecOverrides,
    problems: &mut Problems,
) -> Option<Vec<Entry>> {
    let own: Vec<Entry> = top.iter().filter(|entry| entry.key != "extends").cloned().collect();
    let Some(extends) = top.iter().find(|entry| entry.key == "extends") else { return Some(own) };
    let base = extended(kinds, file, extends, dir, overrides, problems)?;
    let mut all = own;
    for inherited in base {
        if OWN.contains(&&*inherited.key) {
            let problem = format!("a file that a spec extends can't contain `{}`", inherited.key);
            problems.error(inherited.key_span, problem, "move it to the spec");
            continue;
        }
        match all.iter_mut().find(|entry| entry.key == inherited.key) {
            None => all.push(inherited),
            Some(entry) if inherited.key == "defaults" => {
                entry.value = merged(&inherited.value, &entry.value);
            }
            Some(entry) if MERGED.contains(&&*entry.key) => {
                entry.value = by_key(inherited.value, &entry.value, entry.key == "stages");
            }
            Some(_) => {}
        }
    }
    Some(all)
}

/// A mapping with the entries of `inherited` that `own` doesn't have; `is_deep`: their entries, too.
fn by_key(inherited: Node, own: &Node, is_deep: bool) -> Node {
    let (Yaml::Map(inherited), Yaml::Map(entries)) = (inherited.value, &own.value) else { return own.clone() };
    let mut all = entries.clone();
    for entry in inherited {
        match all.iter_mut().find(|it| it.key == entry.key) {
            None => all.push(entry),
            Some(known) if is_deep => known.value = by_key(entry.value, &known.value, false),
            Some(_) => {}
        }
    }
    Node { value: Yaml::Map(all), ..*own }
}

/// The entries of the extended file; `None` after an error.
fn extended(
    kinds: &Kinds,
    file: &Arc<SourceFile>,
    extends: &Entry,
    dir: &FilePath,
    overrides: &SpecOverrides,
    problems: &mut Problems,
) -> Option<Vec<Entry>> {
    let span = extends.value.span;
    let Yaml::String(name) = &extends.value.value else {
        problems.error(span, "`extends` must be the path of one file", "write `extends: common.yaml`");
        return None;
    };
    let path = dir.join(name);
    let boundary = (!overrides.allow_code_outside).then(|| files::project(dir, overrides.current_dir.as_deref()));
    let real = files::real_path(&path);
    if let (Some(boundary), Some(real)) = (&boundary, &real)
        && !real.starts_with(boundary)
    {
        let problem = format!("`{name}` is outside the project");
        let error = Diagnostic::error(problem, "move the file into the project, or copy what the spec needs from it");
        let why = "a spec can only extend files in its project: the nearest folder with .git, or else with specs/";
        problems.push(error.at(file.location(span)).why(why));
        return None;
    }
    let bytes = match files::read(&path, yaml::MAX_BYTES.saturating_add(1)) {
        Ok(bytes) => bytes,
        Err(unread) => {
            let problem = format!("the file `{name}` {}", unread.reason());
            problems.error(span, problem, "correct the path, which is relative to the spec");
            return None;
        }
    };
    let (source, root, errors) = yaml::read(&path.display().to_string(), &bytes);
    let is_spec_like = matches!(&root, Some(Node { value: Yaml::Map(entries), .. })
        if entries.iter().all(|entry| super::grammar::keys_of(&super::grammar::TOP).contains(&&*entry.key)));
    match &root {
        Some(root) if is_spec_like => source.reveal_except(sensitive(kinds, root)),
        // It may be any file, so none of its text is shown.
        _ => source.reveal_except(vec![Span::new(0, source.text().len())]),
    }
    errors.into_iter().for_each(|error| problems.push(error));
    let base = file.append(source, None)?;
    match root.map(|root| shifted(root, base).value) {
        Some(Yaml::Map(entries)) if is_spec_like => Some(entries),
        Some(_) => {
            let problem = format!("`{name}` can't be extended: it has other keys than those of a spec");
            problems.error(span, problem, "a file that a spec extends has keys like `vars`, `defaults` and `tags`");
            None
        }
        // Why there is none is among the errors.
        None => None,
    }
}

/// The variables in a file, with spans of the spec; none after an error.
pub(super) fn variables(file: &Arc<SourceFile>, path: &FilePath, problems: &mut Problems) -> Vec<Entry> {
    let name = path.display().to_string();
    let bytes = match files::read(path, yaml::MAX_BYTES.saturating_add(1)) {
        Ok(bytes) => bytes,
        Err(unread) => {
            let problem = format!("the file of variables `{name}` {}", unread.reason());
            problems.push(Diagnostic::error(problem, "correct the path, which is relative to the current folder"));
            return Vec::new();
        }
    };
    let (source, root, errors) = yaml::read(&name, &bytes);
    let values = match root.as_ref().map(|root| &root.value) {
        Some(Yaml::Map(entries)) => entries.iter().map(|entry| entry.value.span).collect(),
        _ => vec![Span::new(0, source.text().len())],
    };
    source.reveal_except(values);
    let Some(base) = file.append(Arc::clone(&source), None) else { return Vec::new() };
    errors.into_iter().for_each(|error| problems.push(error));
    match root.map(|root| shifted(root, base).value) {
        Some(Yaml::Map(entries)) if entries.iter().any(|entry| entry.key == "resources") => {
            let error =
                Diagnostic::error("this file of variables is a spec: it has `resources`", "pass it as the spec");
            problems.push(error.at(source.location(Span::new(0, 0))));
            Vec::new()
        }
        Some(Yaml::Map(entries)) => entries,
        Some(_) => {
            let hint = "write `name: value` for each variable";
            let error = Diagnostic::error("a file of variables must be a mapping of names to values", hint);
            problems.push(error.at(source.location(Span::new(0, 0))));
            Vec::new()
        }
        None => Vec::new(),
    }
}

/// The value of a text from the command line or the environment (`elsewhere`), where a list or
/// mapping is JSON. `known`: the value that it replaces, which shows what is meant.
pub(super) fn outside(
    file: &Arc<SourceFile>,
    name: &str,
    text: &str,
    elsewhere: &'static str,
    known: Option<&Node>,
    problems: &mut Problems,
) -> Node {
    let base = file.append(SourceFile::new(elsewhere, text), Some(elsewhere)).unwrap_or_default();
    let span = Span::new(base, base + text.len());
    let as_text = Node { span, plain: false, value: Yaml::String(text.to_owned()) };
    let (needed, is_possible) = match known.map(|it| &it.value) {
        Some(Yaml::List(_)) => (Some("a list"), true),
        Some(Yaml::Map(_)) => (Some("a mapping"), true),
        None | Some(Yaml::Null) => (None, text.trim_start().starts_with(['[', '{'])),
        Some(_) => (None, false),
    };
    if !is_possible {
        return as_text;
    }
    let is_json = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    let (_, parsed) = yaml::parse(elsewhere, text.as_bytes());
    match (parsed, needed) {
        (Ok(node), _) if is_json && matches!(node.value, Yaml::List(_) | Yaml::Map(_)) => shifted(node, base),
        (_, None) => as_text,
        (_, Some(what)) => {
            let problem = format!("the value of `{name}` {elsewhere} is not {what} as JSON");
            let hint = "write it as JSON, like `[\"a\", \"b\"]` or `{\"key\": \"value\"}`";
            let error = Diagnostic::error(problem, hint).why(format!("the spec sets `{name}` to {what}"));
            let Some(known) = known else { return as_text };
            problems.push(error.at(file.location(known.span)));
            known.clone()
        }
    }
}

/// A tree whose spans begin at `base`.
fn shifted(node: Node, base: usize) -> Node {
    let moved = |span: Span| Span::new(span.start + base, span.end + base);
    let value = match node.value {
        Yaml::List(items) => Yaml::List(items.into_iter().map(|item| shifted(item, base)).collect()),
        Yaml::Map(entries) => {
            let entries = entries.into_iter().map(|entry| Entry {
                key: entry.key,
                key_span: moved(entry.key_span),
                value: shifted(entry.value, base),
            });
            Yaml::Map(entries.collect())
        }
        other => other,
    };
    Node { span: moved(node.span), value, ..node }
}
