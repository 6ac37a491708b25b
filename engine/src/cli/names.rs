//! Names on a command line, and the errors for unknown ones.
//!
//! **Invariant:** no call to AWS; names are checked before anything starts.

use std::collections::BTreeSet;
use std::path::Path;

use crate::diagnostic::{Diagnostic, nearest, shell_word};
use crate::inventory::SearchScope;
use crate::plan::Options;
use crate::schema::AwsEnv;
use crate::spec::{ResourceDecl, Spec};

use super::exit::CommandError;
use super::session::{AwsTarget, LoadedSpec};

/// Where a session searches.
pub(super) fn search_scope(target: &AwsTarget, env: &AwsEnv) -> SearchScope {
    match target {
        AwsTarget::Local(_) => SearchScope::locally(),
        AwsTarget::Account(_) => SearchScope::account(env),
    }
}

/// Checks a name against the spec; for [`open_checked`](super::session::open_checked), before
/// anything starts.
pub(super) fn check_name(
    name: Option<&str>,
    has: impl Fn(&Spec, &str) -> Result<(), CommandError>,
) -> impl FnOnce(&[LoadedSpec]) -> Vec<Diagnostic> {
    move |loaded| {
        let checked = name.zip(loaded.first()).map(|(name, loaded)| has(&loaded.spec, name));
        checked.and_then(Result::err).map_or_else(Vec::new, |failure| failure.diagnostics)
    }
}

/// Rejects a spec in place of a name; `line` returns the corrected command line.
pub(super) fn reject_spec_path(name: Option<&str>, line: impl Fn(&str) -> String) -> Result<(), CommandError> {
    let Some(name) = name.filter(|name| is_path(name)) else { return Ok(()) };
    let problem = format!("expected a name from the spec, found the file `{name}`");
    Err(CommandError::usage(problem, format!("use `{}`", line(&quoted(Path::new(name))))))
}

/// Checks that the names in `--allow-imported` are imported resources of these types.
pub(super) fn check_imported(spec: &Spec, allowed: &[String], kinds: &[&str]) -> Result<(), CommandError> {
    let imported = || spec.resources.iter().filter(|it| it.imported && kinds.contains(&&*it.schema().kind));
    let Some(unknown) = allowed.iter().find(|name| !imported().any(|it| it.name == **name)) else { return Ok(()) };
    let names: Vec<String> = imported().map(|it| format!("`{}`", it.name)).collect();
    let hint = match names.is_empty() {
        true => format!("remove `--allow-imported`: the spec imports no {}", joined(kinds, "or", "")),
        false => format!("the imported {} are {}", joined(kinds, "and", "s"), names.join(", ")),
    };
    let problem = format!("`{unknown}` is not an imported {} of the spec", joined(kinds, "or", ""));
    Err(CommandError::one(Diagnostic::error(problem, hint)))
}

/// "tables, queues and functions".
fn joined(kinds: &[&str], conjunction: &str, ending: &str) -> String {
    let words: Vec<String> = kinds.iter().map(|kind| format!("{kind}{ending}")).collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} {conjunction} {last}", rest.join(", ")),
        _ => words.concat(),
    }
}

fn is_path(name: &str) -> bool {
    let is_yaml = Path::new(name).extension().is_some_and(|it| it == "yaml" || it == "yml");
    is_yaml || name.contains('/') || name.contains('\\')
}

/// The functions that mappings of the spec connect to a table, by their names in the spec.
pub(super) fn functions_behind<'s>(spec: &'s Spec, table: &ResourceDecl) -> Vec<&'s str> {
    let functions = mappings(spec).filter(|(_, source)| source.name == table.name).map(|(function, _)| function);
    functions.map(|function| function.name.as_str()).collect()
}

/// The first table that a mapping of the spec connects to a function.
pub(super) fn table_behind<'s>(spec: &'s Spec, function: &ResourceDecl) -> Option<&'s ResourceDecl> {
    let mut sources = mappings(spec).filter(|(target, _)| target.name == function.name).map(|(_, source)| source);
    sources.find(|source| source.schema().kind == "table")
}

/// The functions and sources of the spec's mappings.
fn mappings(spec: &Spec) -> impl Iterator<Item = (&ResourceDecl, &ResourceDecl)> {
    let mappings = spec.managed("mapping");
    mappings.filter_map(|it| Some((spec.target(it, "function")?, spec.target(it, "event_source_arn")?)))
}

/// A path, quoted for a shell.
pub(super) fn quoted(path: &Path) -> String {
    shell_word(&path.display().to_string())
}

/// Names on the command line that no spec has.
pub(super) fn unknown_names(loaded: &[LoadedSpec], options: &Options) -> Vec<Diagnostic> {
    if loaded.is_empty() {
        return Vec::new();
    }
    let named = options.targets.iter().map(|it| ("target", it)).chain(options.replace.iter().map(|it| ("replace", it)));
    let unknown = named.filter(|(_, name)| loaded.iter().all(|it| it.spec.resource(name).is_none()));
    let specs: Vec<&Spec> = loaded.iter().map(|it| &it.spec).collect();
    unknown.map(|(flag, name)| unknown_target(flag, name, &specs)).collect()
}

/// The error for an option with a resource that isn't in any spec. Orphans can't be targets: their
/// dependencies are unknown.
fn unknown_target(flag: &str, name: &str, specs: &[&Spec]) -> Diagnostic {
    let resources = || specs.iter().flat_map(|spec| &spec.resources);
    let known: BTreeSet<String> = resources().map(|it| format!("`{}`", it.name)).collect();
    let known = known.into_iter().collect::<Vec<_>>().join(", ");
    let problem = format!("`--{flag} {name}`: the spec has no such resource");
    if known.is_empty() {
        return Diagnostic::error(problem, "without a spec, only a whole stack can be destroyed: leave it out");
    }
    let suggestion = nearest(name, resources().map(|it| it.name.as_str()));
    let suggestion = suggestion.map_or_else(String::new, |near| format!("did you mean `{near}`? "));
    Diagnostic::error(problem, format!("{suggestion}the resources are {known}"))
        .hint("to delete orphans, which are no longer in the spec, run `engine apply` without this option")
}
