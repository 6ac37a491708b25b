//! The names in `owns:`, and names in AWS that neither start with the team nor are in it.
//!
//! **Invariant:** what is wrong in `owns:` owns nothing.

use std::collections::BTreeSet;

use crate::diagnostic::{Diagnostic, Span};
use crate::remedy::{Advice, RunOption};
use crate::schema::{Identity, Schema};
use crate::spec::ResourceDecl;
use crate::value::Path;
use crate::yaml::{Entry, Node, Yaml};

use super::super::template::{Name, Token, tokens};
use super::{Around, Checker, nearest};

/// Maximum number of names in `owns:`.
pub(in crate::spec) const MAX_OWNED: usize = 1000;

const AROUND: Around<'_> = Around { resource: "", literal: true, lookups: false, sensitive: false };

impl Checker<'_> {
    /// Reads `owns:` into the scope; returns whether the command line names another team that would
    /// own the same names.
    pub(super) fn owns(&mut self, entry: Option<&Entry>) -> bool {
        let Some(entry) = entry else { return false };
        let Yaml::List(items) = &entry.value.value else {
            self.error(entry.value.span, "`owns` must be a list of names", "write `owns: [Orders]`, or remove it");
            return false;
        };
        let bounded = self.bounded(items.len(), MAX_OWNED, entry.value.span, "owns").is_some();
        let (mut seen, mut is_shared) = (BTreeSet::new(), false);
        for (index, item) in items.iter().take(MAX_OWNED).enumerate() {
            let Some(name) = self.owned(item, index) else { continue };
            if self.overrides.team.is_some() && !names_team(&self.file.text_at_use(item.span)) {
                is_shared = true;
                self.shared(item.span, &name);
            } else if !seen.insert(name.clone()) {
                let problem = format!("{} is twice in `owns`", self.entry_shown(&name, item.span));
                self.error(item.span, problem, "remove one of them");
            } else if bounded && self.is_listable(&name, item.span) {
                self.scope.owns.insert(name);
            }
        }
        is_shared
    }

    /// The name in an entry, with variables replaced; `None` after an error.
    fn owned(&mut self, item: &Node, index: usize) -> Option<String> {
        if !matches!(item.value, Yaml::String(_)) {
            let hint = "write `owns: [Orders]`, and quote a name that consists of digits";
            self.error(item.span, "each entry of `owns` must be text", hint);
            return None;
        }
        let value = self.text(item, "owns", AROUND, &Path::property("owns").index(index))?;
        value.as_str().map(str::to_owned)
    }

    /// An entry in a message: a variable may contain a secret.
    fn entry_shown(&self, name: &str, span: Span) -> String {
        if self.hides(span, AROUND) { "this entry".to_owned() } else { format!("`{name}`") }
    }

    /// Reports a name that another team would own, too.
    fn shared(&mut self, span: Span, name: &str) {
        let shown = self.entry_shown(name, span);
        let problem = Advice::from(format!("{shown} in `owns` must contain `${{team}}` for "));
        let hint = Advice::from("add `${team}` to it, or leave out ").then(RunOption::Team(None));
        let hint = hint.then(" or the list of teams");
        let error = Diagnostic::error(problem.then(RunOption::Team(None)), hint).at(self.file.location(span));
        self.push(error.why("two teams can't own the same name"));
    }

    /// Whether the entry is a name that some kind can have and that doesn't start with the team.
    fn is_listable(&mut self, name: &str, span: Span) -> bool {
        let shown = self.entry_shown(name, span);
        let mut fitting = self.kinds.schemas().filter(|schema| schema.can_be_listed(name)).peekable();
        if fitting.peek().is_none() {
            let (why, hint) = if name.contains(['*', '?']) {
                ("`owns` lists exact names, without wildcards".to_owned(), "list each name".to_owned())
            } else if name.starts_with("arn:") && !self.hides(span, AROUND) {
                let bare = self.kinds.name_in_arn(name);
                (
                    "it is an ARN, and `owns` lists names in this account and region".to_owned(),
                    format!("write `{bare}`"),
                )
            } else {
                let why = "no resource type that `owns` applies to allows this name";
                (why.to_owned(), "correct the name, or remove it".to_owned())
            };
            let error = Diagnostic::error(format!("{shown} in `owns` is not a valid name"), hint);
            self.push(error.at(self.file.location(span)).why(why));
            return false;
        }
        // The prefix is enough for each of them.
        let (team, names) = (self.scope.team.clone(), self.scope.names());
        if fitting.all(|schema| names.includes(schema.arn.as_ref(), name)) {
            let problem = format!("{shown} in `owns` has no effect: it starts with the team `{team}`");
            self.push(Diagnostic::warning(problem, "remove it").at(self.file.location(span)));
            return false;
        }
        true
    }

    /// The error for a name, set by the property `key`, that a resource of the spec can't have.
    pub(super) fn name_violation(&self, schema: &Schema, key: &str, name: &str) -> Diagnostic {
        let team = &self.scope.team;
        let (folders, last) = schema.arn.as_ref().map_or(("", name), |arn| arn.split_folders(name));
        let which = if folders.is_empty() { "the name" } else { "the last part of the name" };
        let owns = &self.scope.owns;
        let near = nearest(name, owns.iter().map(String::as_str)).filter(|_| schema.can_be_listed(name));
        let list = match near {
            Some(near) => format!(", or make it and `{near}` in `owns:` the same, case included"),
            None if schema.can_be_listed(name) => format!(", or add `{name}` to `owns:` if it must keep this name"),
            None => String::new(),
        };
        let import = if schema.importable { ", or use `import:` if another team owns it" } else { "" };
        let why = match owns.contains(name) {
            true => format!("`owns` doesn't apply to a {}", schema.kind),
            false => "the prefix separates the teams in an account".to_owned(),
        };
        Diagnostic::error(
            format!("{which} `{name}` must start with `{team}-`, `{team}_` or `{team}.`"),
            format!("write `{key}: {folders}${{team}}-{last}`{list}{import}"),
        )
        .why(why)
    }

    /// The error for an implied resource whose name neither starts with the team nor is in `owns`.
    pub(super) fn implied_name_violation(&self, schema: &Schema, name: &str, by: &str) -> Diagnostic {
        let problem = format!(
            "the {} name `{name}`, which `{by}` implies, must start with the team or be in `owns`",
            schema.kind.replace('_', " ")
        );
        Diagnostic::error(problem, format!("add `{name}` to `owns:`")).why("`owns` lists exact names")
    }

    /// Warns of `adopt: true` on a resource whose adoption always asks.
    pub(super) fn warn_of_adopt(&mut self, entries: &[Entry], schema: &Schema, declared: &ResourceDecl) {
        let is_listed = matches!(schema.identity, Identity::Named { .. })
            && self.scope.names().is_listed(schema.arn.as_ref(), &declared.id.name);
        let adopt = entries.iter().find(|entry| entry.key == "adopt");
        if let Some(adopt) = adopt.filter(|_| is_listed && declared.lifecycle.adopt) {
            let problem = format!("`adopt` has no effect on `{}`, because its name is in `owns`", declared.name);
            let why = "without the team's prefix, a name doesn't show the owner, so adopting it always asks";
            let warning = Diagnostic::warning(problem, "remove `adopt`");
            self.push(warning.at(self.file.location(adopt.key_span)).why(why));
        }
    }
}

/// Whether a text contains `${team}`.
fn names_team(text: &str) -> bool {
    tokens(text).is_ok_and(|tokens| tokens.iter().any(|token| matches!(token, Token::Name(Name::Team))))
}
