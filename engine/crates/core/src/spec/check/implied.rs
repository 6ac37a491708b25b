//! What declarations imply, and what follows for them from the others.
//!
//! **Invariant:** an implied resource is like a declared one from here on: the same checks, the same
//! plan. Only its name and its place in the file are those of the declaration that implies it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::diagnostic::Diagnostic;
use crate::kind::{Derived, ImpliedResource};
use crate::schema::{Id, Identity, Owner, Str};
use crate::value::{Path, Placeholder, Value};

use super::super::grammar::{META, keys_of};
use super::super::render::ImpliedWith;
use super::super::structure::applied;
use super::super::{Depth, Lifecycle, ResourceDecl, Spec};
use super::{Around, Checker, Draft, Reference, Span};
use crate::yaml::{Node, Yaml};

/// A value with what only a default has: mappings are merged at any depth.
fn over(default: Value, own: Value) -> Value {
    match (default, own) {
        (Value::Map(mut all), Value::Map(own)) => {
            for (key, value) in own {
                let value = match all.remove(&key) {
                    Some(default) => over(default, value),
                    None => value,
                };
                all.insert(key, value);
            }
            Value::Map(all)
        }
        (_, own) => own,
    }
}

impl Checker<'_> {
    /// Adds the resources that declarations imply, each behind its declaration, which refers to it
    /// from now on.
    pub(super) fn add_implied(&mut self, drafts: &mut Vec<Draft>, stack: &str) {
        let declared = drafts.iter().map(|draft| (draft.declared.name.clone(), draft.declared.schema().kind.clone()));
        let kinds: HashMap<String, Str> = declared.collect();
        let kind_of = |name: &str| kinds.get(name).cloned();
        for mut draft in std::mem::take(drafts) {
            let kind = Arc::clone(&draft.declared.kind);
            let implied = if draft.declared.imported { Vec::new() } else { kind.implies(&draft.declared, &kind_of) };
            let added: Vec<Draft> =
                implied.into_iter().filter_map(|it| self.implied(&mut draft.declared, it, stack)).collect();
            drafts.push(draft);
            drafts.extend(added);
        }
    }

    /// One implied resource; `None` after an error.
    fn implied(&mut self, by: &mut ResourceDecl, implied: ImpliedResource, stack: &str) -> Option<Draft> {
        let ImpliedResource { name, kind, aws_name, properties, reference, path } = implied;
        if self.structure.defaults.contains_key(&*kind) {
            let (by, name) = (by.name.clone(), name.clone());
            self.rendering.implied.push(ImpliedWith { by, name, path: path.clone(), reference: reference.clone() });
        }
        let span = self.locations.get(&by.name, &path)?;
        if let Some(declared) = self.locations.get(&name, &Path::default()) {
            self.also_declared(&name, &kind, by, reference.as_ref(), declared);
            return None;
        }
        let kind = Arc::clone(self.kinds.get(&kind)?);
        let owner = Owner { team: self.scope.team.clone(), stack: stack.to_owned(), resource: name.clone() };
        let aws_name = aws_name.unwrap_or_else(|| self.scope.default_name(&name));
        if let Identity::Named { text } = &kind.schema().identity
            && let Some(violation) = text.violation(&aws_name)
        {
            let kind = &kind.schema().kind;
            let problem = format!("the {kind} name `{aws_name}`, which `{}` implies, {violation}", by.name);
            let hint = format!("shorten the name of `{}`, or declare a {kind} and refer to it", by.name);
            self.push(Diagnostic::error(problem, hint).at(self.file.location(span)));
        }
        if matches!(kind.schema().identity, Identity::Named { .. })
            && !self.scope.names().includes(kind.schema().arn.as_ref(), &aws_name)
        {
            let error = self.implied_name_violation(kind.schema(), &aws_name, &by.name);
            self.push(error.at(self.file.location(span)));
            return None;
        }
        self.locations.set(&name, Path::default(), span);
        for (property, value) in &properties {
            let within = path.key(property);
            let span = self.locations.get(&by.name, &within).unwrap_or(span);
            self.locations.set(&name, Path::property(property), span);
            self.refer(&name, property, value, span);
        }
        if let Some((property, output)) = reference {
            by.desired.insert(property.into_owned(), Value::reference(&name, &output));
        }
        let mut declared = ResourceDecl {
            name,
            kind,
            id: Id::named(owner, aws_name),
            imported: false,
            lifecycle: Lifecycle::default(),
            explicit: properties.keys().cloned().collect::<BTreeSet<_>>(),
            desired: properties,
            artifact: None,
            build: None,
            implied_by: Some(by.name.clone()),
            reasons: Vec::new(),
        };
        self.add_defaults(&mut declared, &by.name, &path, span);
        self.finish(&mut declared, None, span);
        Some(Draft { declared, depends_on: Vec::new() })
    }

    /// Adds the defaults of its type to an implied resource. What the file has at `path` of the
    /// declaration that implies it has priority over them; they over the rest.
    fn add_defaults(&mut self, declared: &mut ResourceDecl, by: &str, path: &Path, span: Span) {
        let kind = Arc::clone(&declared.kind);
        let Some(schema) = self.kinds.get(&kind.schema().kind).map(|kind| kind.schema()) else { return };
        let Some(defaults) = self.structure.defaults.get(&*schema.kind).cloned() else { return };
        let text: Arc<str> = format!("`{}`, which `{by}` implies, uses it", declared.name).into();
        let node = Node { span, plain: false, value: Yaml::Map(defaults) };
        let Yaml::Map(entries) = applied(self.file, &node, span, &text).value else { return };
        let name = declared.name.clone();
        let around = Around { resource: &name, literal: true, lookups: false, sensitive: false };
        declared.lifecycle = self.lifecycle(&entries, false, schema, around);
        let added = entries.iter().filter(|it| !declared.desired.contains_key(&it.key)).map(|it| it.key.clone());
        self.structure.defaulted.insert(name.clone(), added.collect());
        for entry in entries.iter().filter(|it| !keys_of(&META).contains(&&*it.key)) {
            let own = declared.desired.remove(&entry.key);
            self.locations.set(&name, Path::property(&entry.key), entry.value.span);
            self.property(declared, schema, entry);
            let is_written = |own: &Value| {
                let is_member = self.locations.has(by, path) && path.parent().is_some_and(|it| it != Path::default());
                !is_member || own.has_unknown() || self.locations.has(by, &path.key(&entry.key))
            };
            if let Some(own) = own.filter(is_written) {
                let value = match declared.desired.remove(&entry.key) {
                    Some(default) => over(default, own),
                    None => own,
                };
                declared.desired.insert(entry.key.clone(), value);
            }
        }
    }

    /// Reports a resource that is both declared and implied.
    fn also_declared(
        &mut self,
        name: &str,
        kind: &str,
        by: &ResourceDecl,
        reference: Option<&(Str, Str)>,
        declared: Span,
    ) {
        let problem = format!("`{name}` is declared, and `{}` also implies a {kind} with this name", by.name);
        let hint = match reference {
            Some((property, output)) => {
                format!("add `{property}: ${{{name}.{output}}}` to `{}` to use the declared one, or rename it", by.name)
            }
            None => "remove one of them, or rename the declared one".to_owned(),
        };
        self.error(declared, problem, hint);
    }

    /// Lets the references in an implied property be checked like those in the file.
    fn refer(&mut self, from: &str, property: &str, value: &Value, span: Span) {
        value.visit_templates(&Path::property(property), &mut |path, template| {
            for placeholder in template.placeholders() {
                if let Placeholder::Output { resource, attribute } = placeholder {
                    self.references.push(Reference {
                        from: from.to_owned(),
                        path: path.clone(),
                        span,
                        resource: resource.clone(),
                        attribute: attribute.clone(),
                        fits: None,
                        sensitive: false,
                    });
                }
            }
        });
    }

    /// Adds what follows for each declaration from the others.
    pub(super) fn derive(&mut self, drafts: &mut [Draft]) {
        if self.depth == Depth::Identities {
            return;
        }
        let declared = drafts.iter().map(|draft| (draft.declared.clone(), Vec::new()));
        // A cycle is reported when the graph is built.
        let Ok(spec) = Spec::declare((&self.scope.team, ""), declared.collect()) else { return };
        let (region, account) = (self.scope.region.clone(), self.scope.account.clone());
        let spec = Spec { kinds: self.kinds.clone(), region, account, ..spec };
        for draft in drafts.iter_mut().filter(|draft| !draft.declared.imported) {
            let declared = &mut draft.declared;
            let mut derived = declared.kind.derive(declared, &spec);
            while self.drops_unused_defaults(declared, &mut derived.problems) {
                derived = declared.kind.derive(declared, &spec);
            }
            let Derived { values, explicit, reasons, depends_on, problems } = derived;
            declared.desired.extend(values);
            declared.explicit.extend(explicit.into_iter().map(str::to_owned));
            declared.reasons = reasons;
            let span = self.locations.get(&declared.name, &Path::default());
            draft.depends_on.extend(depends_on.into_iter().filter_map(|name| Some((name, span?))));
            let name = declared.name.clone();
            self.report(&name, problems);
        }
    }
}
