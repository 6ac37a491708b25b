//! The names of exported resources in the spec: those in their tags, or else derived from AWS's
//! names.

use std::collections::BTreeSet;

use crate::schema::{ArnForm, Identity, Ownership, is_of_team};
use crate::spec::grammar::is_resource_name;

use super::ExistingResource;

/// The maximum length of a name that is derived, which leaves room for a suffix.
const MAX_LENGTH: usize = 50;

/// A name for each resource, in their order.
pub(super) fn of(team: &str, existing: &[ExistingResource]) -> Vec<String> {
    let mut names: Vec<Option<String>> = vec![None; existing.len()];
    let mut taken = BTreeSet::new();
    // Another name than the one in the tags would be a change.
    for (name, it) in names.iter_mut().zip(existing) {
        if let Ownership::Engine(owner) = &it.live.owner
            && !it.imported
            && owner.team == team
            && is_resource_name(&owner.resource)
            && taken.insert(owner.resource.clone())
        {
            *name = Some(owner.resource.clone());
        }
    }
    for (at, it) in existing.iter().enumerate() {
        if names.get(at).is_some_and(Option::is_none) {
            let wanted = suggestion(team, it, existing, &names);
            let name = unique(&wanted, &it.kind.schema().kind, &mut taken);
            if let Some(slot) = names.get_mut(at) {
                *slot = Some(name);
            }
        }
    }
    names.into_iter().map(Option::unwrap_or_default).collect()
}

/// A valid name that may be taken.
fn suggestion(team: &str, it: &ExistingResource, existing: &[ExistingResource], names: &[Option<String>]) -> String {
    let schema = it.kind.schema();
    let Identity::ServiceAssigned = schema.identity else {
        let name = schema.arn.as_ref().map_or(&*it.id.name, |form: &ArnForm| form.split_folders(&it.id.name).1);
        return valid(without_team(team, name), &schema.kind);
    };
    // What connects other resources is named after them.
    let named = |name: &str| {
        let name = name.rsplit('/').next().unwrap_or(name);
        let at = existing.iter().position(|other| other.id.name == name);
        at.and_then(|at| names.get(at)?.clone()).unwrap_or_else(|| without_team(team, name).to_owned())
    };
    let parent = schema.parent().map(|property| property.name.clone()).unwrap_or_default();
    let (ends, sources): (Vec<_>, Vec<_>) = it.id.parents.iter().partition(|(property, _)| **property == parent);
    let words = sources.into_iter().chain(ends).map(|(_, name)| named(name));
    valid(&words.collect::<Vec<_>>().join("-to-"), &schema.kind)
}

fn without_team<'n>(team: &str, name: &'n str) -> &'n str {
    let rest = is_of_team(name, team).then(|| name.get(team.len() + 1..)).flatten();
    rest.filter(|rest| !rest.is_empty()).unwrap_or(name)
}

/// The closest valid name.
fn valid(name: &str, kind: &str) -> String {
    let word = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    let name: String = name.chars().map(word).take(MAX_LENGTH).collect();
    let name = name.trim_matches('-').to_owned();
    let kind = kind.replace('_', "-");
    match name.as_str() {
        "" => kind,
        name if is_resource_name(name) => name.to_owned(),
        name => format!("{kind}-{name}").chars().take(MAX_LENGTH).collect(),
    }
}

/// The name, with its kind or a number if it is taken.
fn unique(name: &str, kind: &str, taken: &mut BTreeSet<String>) -> String {
    let with_kind = format!("{name}-{}", kind.replace('_', "-"));
    let numbered = (2..).map(|n: u32| format!("{name}-{n}"));
    let mut all = [name.to_owned(), with_kind].into_iter().chain(numbered);
    all.find(|it| it.len() <= 63 && taken.insert(it.clone())).unwrap_or_default()
}
