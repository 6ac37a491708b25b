//! What declarations imply, and what follows for them from the others.
//!
//! **Invariant:** an implied resource is like a declared one from here on: the same checks, the same
//! plan. Only its name and its place in the file are those of the declaration that implies it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::diagnostic::Diagnostic;
use crate::kind::{Derived, Implied};
use crate::schema::{Id, Identity, Owner};
use crate::value::{Part, Path, Placeholder, Template, Value};

use super::super::{Depth, Lifecycle, ResourceDecl, Spec};
use super::{Checker, Draft};

impl Checker<'_> {
    /// Adds the resources that declarations imply, each behind its declaration, which refers to it
    /// from now on.
    pub(super) fn add_implied(&mut self, drafts: &mut Vec<Draft>, stack: &str) {
        for mut draft in std::mem::take(drafts) {
            let kind = Arc::clone(&draft.declared.kind);
            let implied = if draft.declared.imported { Vec::new() } else { kind.implies(&draft.declared) };
            let added: Vec<Draft> =
                implied.into_iter().filter_map(|it| self.implied(&mut draft.declared, it, stack)).collect();
            drafts.push(draft);
            drafts.extend(added);
        }
    }

    /// One implied resource; `None` after an error.
    fn implied(&mut self, by: &mut ResourceDecl, implied: Implied, stack: &str) -> Option<Draft> {
        let Implied { name, kind, aws_name, properties, reference: (property, output) } = implied;
        let span = self.places.get(&by.name, &Path::default())?;
        if let Some(declared) = self.places.get(&name, &Path::default()) {
            let problem = format!("`{name}` is declared, and `{}` also implies a {kind} with this name", by.name);
            let hint = format!(
                "add `{property}: ${{{name}.{output}}}` to `{}` to use the declared one, or rename it",
                by.name
            );
            self.error(declared, problem, hint);
            return None;
        }
        let kind = Arc::clone(self.kinds.get(&kind)?);
        let owner = Owner { team: self.scope.team.clone(), stack: stack.to_owned(), resource: name.clone() };
        let aws_name = aws_name.unwrap_or_else(|| format!("{}-{name}", self.scope.team));
        if let Identity::Named { text } = &kind.schema().identity
            && let Some(violation) = text.violation(&aws_name)
        {
            let problem =
                format!("the {} name `{aws_name}`, which `{}` implies, {violation}", kind.schema().kind, by.name);
            let hint =
                format!("shorten the name of `{}`, or declare a {} and refer to it", by.name, kind.schema().kind);
            self.push(Diagnostic::error(problem, hint).at(self.file.place(span)));
        }
        self.places.set(&name, Path::default(), span);
        let target = Placeholder::Output { resource: name.clone(), attribute: output.into_owned() };
        by.desired.insert(property.into_owned(), Value::Unknown(Template(vec![Part::Placeholder(target)])));
        let mut declared = ResourceDecl {
            name,
            kind,
            id: Id { owner, name: aws_name, arn: None, parents: BTreeMap::new(), env: None, unique_id: None },
            imported: false,
            lifecycle: Lifecycle::default(),
            explicit: properties.keys().cloned().collect::<BTreeSet<_>>(),
            desired: properties,
            artifact: None,
            implied_by: Some(by.name.clone()),
            reasons: Vec::new(),
        };
        self.finish(&mut declared, None, span);
        Some(Draft { declared, depends_on: Vec::new() })
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
            let Derived { values, reasons, depends_on, problems } = declared.kind.derive(declared, &spec);
            declared.desired.extend(values);
            declared.reasons = reasons;
            let span = self.places.get(&declared.name, &Path::default());
            draft.depends_on.extend(depends_on.into_iter().filter_map(|name| Some((name, span?))));
            let name = declared.name.clone();
            self.problems(&name, problems);
        }
    }
}
