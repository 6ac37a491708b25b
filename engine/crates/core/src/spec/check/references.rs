//! Relations between resources: targets of references, the identities that follow from them, and
//! the dependency graph.
//!
//! **Invariant:** it runs after each value has been checked on its own.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::diagnostic::Diagnostic;
use crate::graph::{Cycle, Graph};
use crate::schema::{Identity, ImportedParent, Milestone, OutputOrigin, Property, Schema, Str};
use crate::value::{Part, Path, Placeholder, Template, Tree, Value};

use super::super::ResourceDecl;
use super::{Checker, Draft, MAX_LISTED, Reference, list, nearest};

impl Checker<'_> {
    /// Checks that each reference has a target, and fills in the parents' names.
    pub(super) fn follow_references(&mut self, drafts: &mut [Draft]) {
        let targets: BTreeMap<String, ResourceDecl> =
            drafts.iter().map(|draft| (draft.declared.name.clone(), draft.declared.clone())).collect();
        for reference in std::mem::take(&mut self.references) {
            self.follow(&reference, &targets);
        }
        for draft in drafts.iter_mut() {
            for (name, span) in &draft.depends_on {
                if !targets.contains_key(name) && !self.is_declared(name) && !self.is_only_counted() {
                    let diagnostic = no_resource(name, targets.keys().map(String::as_str));
                    self.push(diagnostic.at(self.file.location(*span)));
                }
            }
            let kind = Arc::clone(&draft.declared.kind);
            for property in kind.schema().properties.iter().filter(|property| property.is_identity) {
                let declared = &mut draft.declared;
                let target = match declared.desired.get(&*property.name) {
                    Some(Value::Unknown(template)) => match template.as_reference() {
                        // A reference without a target is already reported.
                        Some(Placeholder::Output { resource, .. }) => {
                            targets.get(resource).map(|target| self.target_identity(property, target))
                        }
                        // Its target is known when the lookup is read.
                        Some(Placeholder::Lookup(_)) => None,
                        // An ARN whose account or region isn't known yet.
                        None if is_arn(template) => Some(self.kinds.identity_in_arn(property, &template.to_string())),
                        _ => {
                            let span = self.locations.get(&declared.name, &Path::property(&property.name));
                            let problem = format!("`{}` must be a single reference, without other text", property.name);
                            let hint = "write only the reference, because it identifies the resource in AWS";
                            if let Some(span) = span {
                                self.error(span, problem, hint);
                            }
                            None
                        }
                    },
                    Some(Value::String(arn)) => Some(self.kinds.identity_in_arn(property, arn)),
                    _ => None,
                };
                if let Some(name) = target {
                    declared.id.parents.insert(property.name.clone(), name);
                }
            }
        }
    }

    /// How a property that identifies a resource names this target.
    fn target_identity(&self, property: &Property, target: &ResourceDecl) -> String {
        let service = target.schema().arn.as_ref().map_or("", |form| &*form.service);
        self.kinds.identity(property, service, &target.id.name)
    }

    /// Whether the spec has a resource with this name, even an invalid one, which is already
    /// reported.
    fn is_declared(&self, name: &str) -> bool {
        self.locations.get(name, &Path::default()).is_some()
    }

    /// Checks a reference: its target, the target's output, and whether the property accepts that.
    pub(super) fn follow(&mut self, reference: &Reference, targets: &BTreeMap<String, ResourceDecl>) {
        let Reference { resource, attribute, span, .. } = reference;
        let Some(target) = targets.get(resource) else { return self.no_target(reference, targets) };
        let schema = target.schema();
        let Some(output) = schema.output(attribute) else { return self.no_output(reference, schema) };
        if let Some(fits) = reference.fits
            && !fits.iter().any(|(kind, attribute)| (kind, attribute) == (&schema.kind, &output.name))
        {
            let property = reference.path.to_string();
            let problem = format!(
                "`${{{resource}.{attribute}}}` can't be used for `{property}`: `{resource}` is a {}",
                schema.kind
            );
            let wanted = fits.iter().map(|(kind, attribute)| format!("`{attribute}` of a {kind}")).collect::<Vec<_>>();
            self.error(*span, problem, format!("use {}", wanted.join(" or ")));
            return;
        }
        self.attachment(reference, target, targets);
        if let (OutputOrigin::Assigned { until }, false) = (&output.origin, target.imported)
            && let [property] = until.as_slice()
            && matches!(target.desired.get(&**property), None | Some(Value::Null))
        {
            let problem = format!("`{resource}` has no `{attribute}`, because its `{property}` is not set");
            let hint = format!("add `{property}:` to `{resource}`, or remove this reference");
            self.error(*span, problem, hint);
        }
    }

    /// A resource can only be attached to one that this spec manages, or to an imported one if its
    /// kind allows that.
    fn attachment(&mut self, reference: &Reference, target: &ResourceDecl, targets: &BTreeMap<String, ResourceDecl>) {
        let Some(from) = targets.get(&reference.from).filter(|_| target.imported) else { return };
        let property = from.schema().property(&reference.path.to_string());
        let Some(property) = property.filter(|property| property.parent) else { return };
        let (name, kind) = (&reference.resource, &target.schema().kind);
        let managed = format!("refer to a {kind} that this spec manages");
        match &property.imported_parent {
            None => {
                self.error(reference.span, format!("`{name}` is imported, so nothing can be attached to it"), managed);
            }
            Some(ImportedParent { source, .. }) => {
                let read = from.desired.get(&**source).and_then(Value::referred);
                if read.and_then(|(resource, _)| targets.get(resource)).is_none_or(|read| read.imported) {
                    let problem =
                        format!("`{name}` is imported, so `{source}` must refer to a resource that this spec manages");
                    self.error(reference.span, problem, format!("use such a reference for `{source}`, or {managed}"));
                }
            }
        }
    }

    /// Reports a reference to a resource that doesn't exist.
    fn no_target(&mut self, reference: &Reference, targets: &BTreeMap<String, ResourceDecl>) {
        let Reference { resource, span, .. } = reference;
        // What `events` implies for a missing source has a similar name.
        let known = targets.keys().map(String::as_str).filter(|name| *name != reference.from);
        if self.is_declared(resource) {
            return;
        }
        // The name of a resource of the file is no secret.
        let left_out = self.left_out(resource);
        if reference.sensitive && left_out.is_none() {
            // The text may be a secret; the name of a similar resource is not.
            let near = nearest(resource, known.take(MOST_COMPARED));
            let near = near.map_or_else(String::new, |near| format!("did you mean `{near}`? Otherwise "));
            self.error(
                *span,
                format!("`{}` refers to a resource that doesn't exist in this spec", reference.path),
                format!("{near}write `$${{` for a literal `${{`"),
            );
        } else if !self.is_only_counted() {
            let error = left_out.unwrap_or_else(|| no_resource(resource, known));
            self.push(error.at(self.file.location(*span)));
        }
    }

    /// The error for a name in the file that isn't the name of a resource, because that is absent or
    /// repeated.
    fn left_out(&self, resource: &str) -> Option<Diagnostic> {
        if let Some(instances) = self.structure.groups.get(resource) {
            let problem =
                format!("`{resource}` is repeated by `for_each`, so a reference must name one of its resources");
            let hint = match instances.is_empty() {
                true => "its `for_each` is empty: add a key to it, or remove the reference".to_owned(),
                false => format!("use one of {}", list(instances.iter().map(String::as_str))),
            };
            return Some(Diagnostic::error(problem, hint));
        }
        let reason = self.structure.absent.get(resource)?;
        let problem = format!("`{resource}` is absent: {reason}");
        Some(Diagnostic::error(problem, "put the same `when` on this resource, or remove the reference"))
    }

    /// Reports a reference to an output that the target doesn't have.
    fn no_output(&mut self, reference: &Reference, target: &Schema) {
        let Reference { resource, attribute, span, .. } = reference;
        if self.is_only_counted() {
            return;
        }
        let known = || target.outputs.iter().map(|output| &*output.name);
        let near = nearest(attribute, known());
        let attribute = if reference.sensitive { "…" } else { attribute };
        let hint = match near {
            Some(near) => format!("did you mean `${{{resource}.{near}}}`? A {} has {}", target.kind, list(known())),
            None => format!("a {} has {}", target.kind, list(known())),
        };
        self.error(*span, format!("`{resource}` (a {}) has no attribute `{attribute}`", target.kind), hint);
    }

    /// Rejects two declarations of one AWS resource: each apply would overwrite one with the other.
    pub(super) fn duplicates(&mut self, drafts: &mut [Draft]) {
        let mut seen: HashMap<(&str, String), &str> = HashMap::new();
        let mut imported: HashSet<(Str, String)> = HashSet::new();
        for draft in &*drafts {
            let ResourceDecl { name, .. } = &draft.declared;
            let schema = draft.declared.schema();
            // A declaration without an identity is already reported.
            let Some(identity) = draft.declared.identity() else { continue };
            if draft.declared.imported {
                imported.insert((schema.kind.clone(), identity.clone()));
            }
            // The same name twice is a duplicate key, which is already reported.
            if let Some(first) = seen.insert((&schema.kind, identity.clone()), name).filter(|first| *first != name) {
                let location = self.locations.get(name, &Path::default());
                let problem = format!("`{first}` and `{name}` both declare the {} `{identity}`", schema.kind);
                if let Some(span) = location {
                    self.error(span, problem, "remove one of them, or give them different names");
                }
            }
        }
        // A destroy continues after these errors, so treat each declaration of an imported resource
        // as imported.
        for Draft { declared, .. } in drafts {
            let named = matches!(declared.schema().identity, Identity::Named { .. });
            let is_theirs = imported.contains(&(declared.schema().kind.clone(), declared.id.name.clone()))
                || self.untouchable.contains(&declared.id.name);
            declared.imported |= named && is_theirs;
        }
    }

    pub(super) fn graph(&mut self, drafts: &[Draft]) -> Option<Graph> {
        let needs = drafts
            .iter()
            .map(|draft| (&draft.declared, draft.depends_on.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>()));
        match graph(&needs.collect::<Vec<_>>()) {
            Ok(graph) => Some(graph),
            Err(Cycle(names)) => {
                let mut circle: Vec<String> =
                    names.iter().chain(names.first()).map(|name| format!("`{name}`")).collect();
                if circle.len() > MAX_LISTED {
                    // Keep the first ones and the last two, which close the cycle.
                    circle.splice(MAX_LISTED - 3..circle.len() - 2, ["…".to_owned()]);
                }
                let span = names.first().and_then(|name| self.locations.get(name, &Path::default()));
                let diagnostic = Diagnostic::error(
                    format!("dependency cycle: {}", circle.join(" -> ")),
                    "remove one of the references or `depends_on` entries",
                )
                .why("each resource depends on the next, so none can be created first");
                self.push(match span {
                    Some(span) => diagnostic.at(self.file.location(span)),
                    None => diagnostic,
                });
                None
            }
        }
    }
}

/// The dependency graph, from references and `depends_on`.
pub(in crate::spec) fn graph(needs: &[(&ResourceDecl, Vec<&str>)]) -> Result<Graph, Cycle> {
    let edges = needs.iter().flat_map(|(declared, depends_on)| {
        let references = references(declared.schema(), &declared.desired);
        let depends_on = depends_on.iter().map(|other| (*other, Milestone::Ready));
        references.into_iter().chain(depends_on).map(|(other, milestone)| (declared.name.as_str(), other, milestone))
    });
    Graph::new(needs.iter().map(|(declared, _)| declared.name.as_str()), edges)
}

/// The resources that a tree refers to, each with the moment that the property has to wait for.
fn references<'t>(schema: &Schema, desired: &'t Tree) -> Vec<(&'t str, Milestone)> {
    let mut found = Vec::new();
    for (name, value) in desired {
        let needs = schema.property(name).map_or(Milestone::Ready, |property| property.needs);
        value.visit_templates(&Path::default(), &mut |_, template| {
            found.extend(template.placeholders().filter_map(|placeholder| match placeholder {
                Placeholder::Output { resource, .. } => Some((resource.as_str(), needs)),
                Placeholder::Account
                | Placeholder::Region
                | Placeholder::Partition
                | Placeholder::Build
                | Placeholder::Lookup(_) => None,
            }));
        });
    }
    found
}

/// Whether a template is an ARN that names its resource without a reference.
fn is_arn(template: &Template) -> bool {
    let is_reference = |placeholder: &Placeholder| matches!(placeholder, Placeholder::Output { .. });
    let ends_known = matches!(template.0.last(), Some(Part::Text(text)) if !text.ends_with([':', '/']));
    ends_known && template.to_string().starts_with("arn:") && !template.placeholders().any(is_reference)
}

/// Maximum number of names to compare for a suggestion, which bounds its time.
const MOST_COMPARED: usize = 1000;

fn no_resource<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Diagnostic {
    let known: Vec<&str> = known.collect();
    let hint = match nearest(name, known.iter().copied().take(MOST_COMPARED)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the resources are {}", list(known)),
    };
    Diagnostic::error(format!("there is no resource `{name}` in this spec"), hint)
}
