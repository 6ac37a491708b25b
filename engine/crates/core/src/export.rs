//! Live resources as a spec: the inverse of `spec`.
//!
//! The schema decides what is written: each property that AWS shows and that isn't a default, in
//! the form in which the spec would have it.
//!
//! **Invariant:** no I/O, and no guess. What can't be read, or what a spec can't declare, is left
//! out with a note.

mod names;
mod properties;
mod references;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::kind::Definition;
use crate::ownership::OwnershipVerdict;
use crate::schema::{AwsEnv, Id, Identity, Live, Names, Owner, Ownership, Presence, Str, is_of_team};
use crate::spec::{Lifecycle, ResourceDecl};
use crate::value::{Tree, Value};

/// A resource that a spec is to declare.
pub struct ExistingResource {
    /// Its kind.
    pub kind: Arc<dyn Definition>,
    /// Its identity.
    pub id: Id,
    /// What was read.
    pub live: Live,
    /// Whether the spec only refers to it.
    pub imported: bool,
}

/// What the spec is to be.
pub struct ExportSettings<'s> {
    /// The team, if the tags of the resources name none.
    pub team: Option<&'s str>,
    /// Where the resources are.
    pub env: &'s AwsEnv,
    /// Whether sensitive values become variables instead of being ignored.
    pub has_values: bool,
}

/// Why resources can't be in one spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conflict {
    /// No tag and no setting names a team.
    NoTeam,
    /// They belong to several stacks: team and stack of each.
    SeveralStacks(Vec<(String, String)>),
    /// They belong to a team that isn't the one in the settings.
    OtherTeam(String),
}

/// A spec of live resources.
pub struct Export {
    /// The team.
    pub team: String,
    /// The stack, if the tags of the resources name one.
    pub stack: Option<String>,
    /// The region.
    pub region: String,
    /// Names without the team's prefix.
    pub owns: BTreeSet<String>,
    /// The declarations, each after those that it refers to.
    pub resources: Vec<Declaration>,
    /// Values of variables that the spec refers to.
    pub values: BTreeMap<String, String>,
    /// What a spec can't have.
    pub left_out: Vec<LeftOut>,
    /// Kind and name of what the declarations imply.
    implied: BTreeSet<(String, String)>,
}

/// A resource that a spec can't declare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Its kind.
    pub kind: Str,
    /// Its name in AWS.
    pub name: String,
    /// Why, as a complete clause.
    pub why: String,
}

/// One resource of the spec.
pub struct Declaration {
    /// Its name in the spec.
    pub name: String,
    /// What it declares.
    pub existing: ExistingResource,
    /// The property with the path of its package, which has to be saved to a file.
    pub package: Option<String>,
    /// Whether the stack doesn't own it yet.
    pub is_adopted: bool,
    /// Whether sensitive values are left out.
    pub is_value_hidden: bool,
    /// Its properties, in the order of the schema.
    properties: Vec<(String, Value)>,
    ignored: Vec<String>,
    /// Explanations of what the spec has.
    notes: Vec<String>,
    /// What is missing in the spec, one clause each.
    pub gaps: Vec<String>,
}

impl Export {
    /// Declares these resources.
    ///
    /// # Errors
    /// They can't be in one spec.
    pub fn new(existing: Vec<ExistingResource>, settings: &ExportSettings<'_>) -> Result<Export, Conflict> {
        let (team, stack) = owner(&existing, settings.team)?;
        let mut export = Export {
            owns: BTreeSet::new(),
            region: settings.env.region.clone(),
            resources: Vec::new(),
            values: BTreeMap::new(),
            left_out: Vec::new(),
            implied: BTreeSet::new(),
            team,
            stack,
        };
        let existing = export.without_unfit(existing);
        let names = names::of(&export.team, &existing);
        for (existing, name) in existing.into_iter().zip(names) {
            let declaration = export.declared(existing, name, settings);
            export.resources.push(declaration);
        }
        export.adopt_nested();
        export.leave_out_implied();
        references::add(&mut export, settings.env);
        Ok(export)
    }

    /// The declaration of one resource, without references.
    fn declared(&mut self, existing: ExistingResource, name: String, settings: &ExportSettings<'_>) -> Declaration {
        let is_adopted = !existing.imported && self.is_foreign(&existing.live.owner);
        let mut declaration = Declaration {
            name,
            existing,
            package: None,
            is_adopted,
            is_value_hidden: false,
            properties: Vec::new(),
            ignored: Vec::new(),
            notes: Vec::new(),
            gaps: Vec::new(),
        };
        if !declaration.existing.imported {
            self.name_it(&mut declaration);
            properties::write(&mut declaration);
            self.hide(&mut declaration, settings.has_values);
        }
        self.explain_owner(&mut declaration);
        declaration
    }

    /// The resources that a spec can declare.
    fn without_unfit(&mut self, existing: Vec<ExistingResource>) -> Vec<ExistingResource> {
        let named: BTreeSet<String> = existing.iter().map(|it| it.id.name.clone()).collect();
        let (fit, unfit): (Vec<_>, Vec<_>) =
            existing.into_iter().map(|it| (self.unfit(&it, &named), it)).partition(|(why, _)| why.is_none());
        self.left_out.extend(unfit.into_iter().filter_map(|(why, it)| {
            let (kind, name) = (it.kind.schema().kind.clone(), it.id.name);
            Some(LeftOut { kind, name, why: why? })
        }));
        fit.into_iter().map(|(_, it)| it).collect()
    }

    /// Why a spec can't declare a resource.
    fn unfit(
        &self,
        ExistingResource { kind, id, live, imported }: &ExistingResource,
        named: &BTreeSet<String>,
    ) -> Option<String> {
        let schema = kind.schema();
        if *imported {
            return None;
        }
        if let Identity::Nested { key, .. } = &schema.identity
            && !is_of_team(&id.name, &self.team)
        {
            return Some(format!("its `{key}` doesn't begin with the team's name, and engine leaves such ones alone"));
        }
        let parent = schema.parent().and_then(|parent| id.parents.get(&parent.name));
        if let Some(parent) = parent.filter(|parent| !named.contains(*parent)) {
            return Some(format!("it belongs to `{parent}`, which a spec can't refer to"));
        }
        if matches!(schema.identity, Identity::ServiceAssigned) {
            let us = self.owner("");
            if let Some(owner) = OwnershipVerdict::of(&live.owner, None, &us).other_owner() {
                return Some(format!("it belongs to {owner}"));
            }
        }
        let fixed = schema.properties.iter().find(|it| {
            let is_own = matches!(it.presence, Presence::Derived) && it.derived_from.is_none() && it.is_compared();
            is_own && !it.is_ignorable && live.props.get(&*it.name).is_some_and(|value| *value != Value::Null)
        });
        fixed.map(|it| format!("it has `{}`, which a spec can't declare", it.name))
    }

    /// What has no tags of its own is adopted together with what it is nested in.
    fn adopt_nested(&mut self) {
        let adopted: BTreeSet<String> =
            self.resources.iter().filter(|it| it.is_adopted).map(|it| it.existing.id.name.clone()).collect();
        for it in self.resources.iter_mut().filter(|it| it.existing.live.owner == Ownership::Inherited) {
            it.is_adopted = it.existing.id.parents.values().any(|parent| adopted.contains(parent));
        }
    }

    /// Whether this stack doesn't own a resource with this owner.
    fn is_foreign(&self, owner: &Ownership) -> bool {
        let us = self.owner("");
        !OwnershipVerdict::of(owner, None, &us).is_this_stack() && *owner != Ownership::Inherited
    }

    fn owner(&self, resource: &str) -> Owner {
        let stack = self.stack.clone().unwrap_or_default();
        Owner { team: self.team.clone(), stack, resource: resource.to_owned() }
    }

    /// Writes out a name in AWS that isn't the default.
    fn name_it(&mut self, declaration: &mut Declaration) {
        let ExistingResource { kind, id, live, .. } = &declaration.existing;
        let schema = kind.schema();
        let mut usual = format!("{}-{}", self.team, declaration.name);
        let has_suffix = |name: &str| live.props.get(name) == Some(&Value::Bool(true));
        let suffix = schema.properties.iter().find(|it| it.name_suffix.is_some() && has_suffix(&it.name));
        usual.push_str(suffix.and_then(|it| it.name_suffix.as_deref()).unwrap_or_default());
        let key = match &schema.identity {
            Identity::Named { .. } => "name",
            Identity::Nested { key, .. } => key,
            Identity::ServiceAssigned => return,
        };
        if id.name != usual {
            declaration.properties.push((key.to_owned(), Value::String(id.name.clone())));
        }
        let names = Names { team: &self.team, owns: &self.owns };
        if !names.includes(schema.arn.as_ref(), &id.name) {
            self.owns.insert(id.name.clone());
        }
    }

    /// Replaces sensitive values: by variables, or by `ignore_changes`.
    fn hide(&mut self, declaration: &mut Declaration, has_values: bool) {
        let schema = declaration.existing.kind.schema();
        let sensitive = schema.properties.iter().filter(|it| it.sensitive).map(|it| it.name.to_string());
        for name in sensitive.collect::<Vec<_>>() {
            let is_unknown = declaration.existing.live.unknown.contains_key(&*name);
            let at = declaration.properties.iter().position(|(property, _)| *property == name);
            let Some((_, value)) = at.map(|at| declaration.properties.remove(at)) else {
                declaration.ignored.extend(is_unknown.then_some(name));
                continue;
            };
            let Value::Map(entries) = value else { continue };
            if !has_values {
                let keys = entries.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
                declaration.notes.push(format!("The values of `{name}` stay as they are in AWS: {keys}"));
                declaration.ignored.push(name);
                declaration.is_value_hidden = true;
                continue;
            }
            let mut written = Tree::new();
            for (key, value) in entries {
                let variable = self.unused_variable(&format!("{}_{key}", declaration.name));
                written.insert(key, Value::reference("var", &variable));
                self.values.insert(variable, value.as_str().unwrap_or_default().to_owned());
            }
            declaration.properties.push((name, Value::Map(written)));
        }
    }

    /// The name of a variable that has no value yet.
    fn unused_variable(&self, name: &str) -> String {
        let numbered = (2..).map(|n| format!("{name}_{n}"));
        let mut names = std::iter::once(name.to_owned()).chain(numbered);
        names.find(|it| !self.values.contains_key(it)).unwrap_or_default()
    }

    fn explain_owner(&self, declaration: &mut Declaration) {
        let ExistingResource { live, imported, .. } = &declaration.existing;
        if *imported {
            let is_ours = matches!(&live.owner, Ownership::Engine(owner) if owner.team == self.team);
            let note = "It has engine's tags, but this spec only refers to it.".to_owned();
            declaration.notes.extend(is_ours.then_some(note));
            return;
        }
        let us = self.owner(&declaration.name);
        let verdict = OwnershipVerdict::of(&live.owner, None, &us);
        declaration.gaps.extend(verdict.other_owner().map(|owner| format!("it belongs to {owner}, and stays there")));
        if let OwnershipVerdict::Unknown(_) = verdict {
            declaration.notes.push("Its tags can't be read, so its owner is unknown.".to_owned());
        }
    }

    /// Leaves out what the declarations imply.
    fn leave_out_implied(&mut self) {
        let mut implied = BTreeSet::new();
        for declaration in self.resources.iter().filter(|it| !it.existing.imported) {
            let declared = declaration.as_declared(self.owner(&declaration.name));
            for it in declaration.existing.kind.implies(&declared, &|_| None) {
                let name = it.aws_name.unwrap_or_else(|| format!("{}-{}", self.team, it.name));
                implied.insert((it.kind.to_string(), name, declaration.existing.id.name.clone()));
            }
        }
        self.resources.retain(|it| {
            let ExistingResource { kind, id, .. } = &it.existing;
            let key = |parent: &String| (kind.schema().kind.to_string(), id.name.clone(), parent.clone());
            !id.parents.values().any(|parent| implied.contains(&key(parent)))
        });
        self.implied = implied.into_iter().map(|(kind, name, _)| (kind, name)).collect();
    }

    /// Whether the declarations imply a resource.
    pub fn is_implied(&self, kind: &str, name: &str) -> bool {
        self.implied.contains(&(kind.to_owned(), name.to_owned()))
    }
}

impl Declaration {
    /// It as the spec has it, without references.
    fn as_declared(&self, owner: Owner) -> ResourceDecl {
        let ExistingResource { kind, id, live, .. } = &self.existing;
        let implied = kind.schema().properties.iter().filter(|it| matches!(it.presence, Presence::Implied));
        let written = self.properties.iter().map(|(name, _)| name.clone());
        ResourceDecl {
            name: self.name.clone(),
            kind: Arc::clone(kind),
            id: Id { owner, ..id.clone() },
            imported: self.existing.imported,
            lifecycle: Lifecycle::default(),
            desired: live.props.clone(),
            explicit: written.chain(implied.map(|it| it.name.to_string())).collect(),
            artifact: None,
            build: None,
            implied_by: None,
            reasons: Vec::new(),
        }
    }
}

/// Team and stack that own the resources, from their tags. What the spec only refers to counts if
/// there is nothing else.
fn owner(existing: &[ExistingResource], team: Option<&str>) -> Result<(String, Option<String>), Conflict> {
    let is_named = |it: &&ExistingResource| matches!(it.kind.schema().identity, Identity::Named { .. });
    let (imported, managed): (Vec<&ExistingResource>, Vec<&ExistingResource>) =
        existing.iter().filter(is_named).partition(|it| it.imported);
    let named = if managed.is_empty() { imported } else { managed };
    let owners = named.into_iter().filter_map(|it| match &it.live.owner {
        Ownership::Engine(owner) if !owner.team.is_empty() && !owner.stack.is_empty() => Some(owner),
        _ => None,
    });
    let stacks: BTreeSet<(String, String)> = owners.map(|it| (it.team.clone(), it.stack.clone())).collect();
    let mut all = stacks.into_iter();
    match (all.next(), all.next(), team) {
        (None, _, None) => Err(Conflict::NoTeam),
        (None, _, Some(team)) => Ok((team.to_owned(), None)),
        (Some((owner, _)), None, Some(team)) if owner != team => Err(Conflict::OtherTeam(owner)),
        (Some((team, stack)), None, _) => Ok((team, Some(stack))),
        (Some(first), Some(second), _) => {
            Err(Conflict::SeveralStacks([first, second].into_iter().chain(all).collect()))
        }
    }
}
