//! What ties resources together: where references lead, which identities follow from them, and who needs whom.
//!
//! **Invariant:** it comes after every value has been looked at by itself.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::diagnostic::Diagnostic;
use crate::graph::{Cycle, Graph};
use crate::schema::{Moment, Naming, Origin, Schema, name_in_arn};
use crate::value::{Hole, Path, Tree, Value};

use super::super::Declared;
use super::{Checker, Draft, MAX_LISTED, Reference, list, nearest};

impl Checker<'_> {
    /// Checks that every reference leads somewhere, and fills in whom the identities mean.
    pub(super) fn follow_references(&mut self, drafts: &mut [Draft]) {
        let targets: BTreeMap<String, Declared> =
            drafts.iter().map(|draft| (draft.declared.name.clone(), draft.declared.clone())).collect();
        for reference in std::mem::take(&mut self.references) {
            self.follow(&reference, &targets);
        }
        for draft in drafts.iter_mut() {
            for (name, span) in &draft.depends_on {
                if !targets.contains_key(name) && !self.is_declared(name) && !self.is_only_counted() {
                    let diagnostic = no_resource(name, targets.keys().map(String::as_str));
                    self.push(diagnostic.at(self.file.place(*span)));
                }
            }
            let schema = draft.declared.schema();
            for property in schema.properties.iter().filter(|property| property.identity) {
                let declared = &mut draft.declared;
                let target = match declared.desired.get(property.name) {
                    Some(Value::Unknown(template)) => match template.sole_hole() {
                        // One that leads nowhere is reported where it was followed.
                        Some(Hole::Output { resource, .. }) => {
                            targets.get(resource).map(|target| target.id.name.clone())
                        }
                        _ => {
                            let span = self.places.get(&declared.name, &Path::property(property.name));
                            let problem = format!("`{}` must be one reference, nothing around it", property.name);
                            let hint = "write the reference alone: it tells which resource in AWS is meant";
                            if let Some(span) = span {
                                self.error(span, problem, hint);
                            }
                            None
                        }
                    },
                    Some(Value::String(arn)) => Some(name_in_arn(arn).to_owned()),
                    _ => None,
                };
                if let Some(name) = target {
                    declared.id.anchors.insert(property.name, name);
                }
            }
        }
    }

    /// Whether there is a resource of that name, be it one of which nothing can be made: that is told already.
    fn is_declared(&self, name: &str) -> bool {
        self.places.get(name, &Path::default()).is_some()
    }

    pub(super) fn follow(&mut self, reference: &Reference, targets: &BTreeMap<String, Declared>) {
        let Reference { resource, attribute, span, .. } = reference;
        let Some(target) = targets.get(resource) else {
            if self.is_declared(resource) {
                return;
            }
            if reference.sensitive {
                // What stands there may be a secret; which resource it resembles is none.
                let near = nearest(resource, targets.keys().map(String::as_str).take(MOST_COMPARED));
                let near = near.map_or_else(String::new, |near| format!("did you mean `{near}`? Otherwise "));
                self.error(
                    *span,
                    format!("`{}` refers to a resource that this spec does not have", reference.path),
                    format!("{near}write `$${{` if it is not meant as a reference"),
                );
                return;
            }
            if self.is_only_counted() {
                return;
            }
            let diagnostic = no_resource(resource, targets.keys().map(String::as_str));
            self.push(diagnostic.at(self.file.place(*span)));
            return;
        };
        let schema = target.schema();
        let Some(output) = schema.output(attribute) else {
            if self.is_only_counted() {
                return;
            }
            let known = || schema.outputs.iter().map(|output| output.name);
            let near = nearest(attribute, known());
            let attribute = if reference.sensitive { "…" } else { attribute };
            let hint = match near {
                Some(near) => format!("did you mean `${{{resource}.{near}}}`? A {} has {}", schema.kind, list(known())),
                None => format!("a {} has {}", schema.kind, list(known())),
            };
            self.error(*span, format!("`{resource}` (a {}) has no attribute `{attribute}`", schema.kind), hint);
            return;
        };
        if let Some(fits) = reference.fits
            && !fits.contains(&(schema.kind, output.name))
        {
            let property = reference.path.to_string();
            let problem =
                format!("`{property}` can't take `${{{resource}.{attribute}}}`: `{resource}` is a {}", schema.kind);
            let wanted = fits.iter().map(|(kind, attribute)| format!("`{attribute}` of a {kind}")).collect::<Vec<_>>();
            self.error(*span, problem, format!("it takes {}", wanted.join(" or ")));
            return;
        }
        // A permission or a mapping hangs on a function that this spec makes.
        let identity =
            targets.get(&reference.from).and_then(|from| from.schema().property(&reference.path.to_string()));
        if target.imported && schema.kind == "function" && identity.is_some_and(|property| property.identity) {
            let problem = format!("`{resource}` is imported, so nothing can be attached to it");
            self.error(*span, problem, "refer to a function that this spec makes");
        }
        if let (Origin::Assigned { until: [property] }, false) = (&output.origin, target.imported)
            && matches!(target.desired.get(*property), None | Some(Value::Null))
        {
            let problem = format!("`{resource}` has no `{attribute}`, because its `{property}` is not set");
            let hint = format!("add `{property}:` to `{resource}`, or remove what refers to it");
            self.error(*span, problem, hint);
        }
    }

    /// Two declarations of one thing in AWS would undo each other for ever.
    pub(super) fn duplicates(&mut self, drafts: &mut [Draft]) {
        let mut seen: HashMap<(&str, String), &str> = HashMap::new();
        let mut imported: HashSet<(&str, String)> = HashSet::new();
        for draft in &*drafts {
            let Declared { name, .. } = &draft.declared;
            let schema = draft.declared.schema();
            // A declaration without one is reported already.
            let Some(identity) = draft.declared.identity() else { continue };
            if draft.declared.imported {
                imported.insert((schema.kind, identity.clone()));
            }
            // Under the same name twice is one key twice, which is told already.
            if let Some(first) = seen.insert((schema.kind, identity.clone()), name).filter(|first| *first != name) {
                let place = self.places.get(name, &Path::default());
                let problem = format!("`{first}` and `{name}` both mean the {} `{identity}`", schema.kind);
                if let Some(span) = place {
                    self.error(span, problem, "remove one of them, or give them different names");
                }
            }
        }
        // Where that keeps nobody from cleaning up, what is imported under one name is not ours under another.
        for Draft { declared, .. } in drafts {
            let named = matches!(declared.schema().naming, Naming::Own { .. });
            let is_theirs = imported.contains(&(declared.schema().kind, declared.id.name.clone()))
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
                    // The first ones, and the last two, which close it.
                    circle.splice(MAX_LISTED - 3..circle.len() - 2, ["…".to_owned()]);
                }
                let span = names.first().and_then(|name| self.places.get(name, &Path::default()));
                let diagnostic =
                    Diagnostic::error(format!("resources need each other in a circle: {}", circle.join(" -> ")))
                        .why("each waits for the next, so none could be made first")
                        .hint("remove one of the references or `depends_on` entries");
                self.push(match span {
                    Some(span) => diagnostic.at(self.file.place(span)),
                    None => diagnostic,
                });
                None
            }
        }
    }
}

/// Who needs whom, by references and by what each names in `depends_on`.
pub(in crate::spec) fn graph(needs: &[(&Declared, Vec<&str>)]) -> Result<Graph, Cycle> {
    let edges = needs.iter().flat_map(|(declared, depends_on)| {
        let references = references(declared.schema(), &declared.desired);
        let depends_on = depends_on.iter().map(|other| (*other, Moment::Ready));
        references.into_iter().chain(depends_on).map(|(other, moment)| (declared.name.as_str(), other, moment))
    });
    Graph::new(needs.iter().map(|(declared, _)| declared.name.as_str()), edges)
}

/// What a tree refers to, and which moment each property needs of it.
fn references<'t>(schema: &'static Schema, desired: &'t Tree) -> Vec<(&'t str, Moment)> {
    let mut found = Vec::new();
    for (name, value) in desired {
        let needs = schema.property(name).map_or(Moment::Ready, |property| property.needs);
        value.visit_templates(&Path::default(), &mut |_, template| {
            found.extend(template.holes().filter_map(|hole| match hole {
                Hole::Output { resource, .. } => Some((resource.as_str(), needs)),
                Hole::Account | Hole::Region => None,
            }));
        });
    }
    found
}

/// To compare with more would take longer than it is worth.
const MOST_COMPARED: usize = 1000;

fn no_resource<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Diagnostic {
    let known: Vec<&str> = known.collect();
    let diagnostic = Diagnostic::error(format!("there is no resource `{name}` in this spec"));
    match nearest(name, known.iter().copied().take(MOST_COMPARED)) {
        Some(near) => diagnostic.hint(format!("did you mean `{near}`?")),
        None => diagnostic.hint(format!("the resources are {}", list(known))),
    }
}
