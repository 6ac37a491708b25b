//! The first phase: text placeholders (`${team}`, `${var.x}` …) in a YAML tree are replaced by their
//! values, before anything checks what the tree means.
//!
//! A scalar that is only a placeholder takes the value with its type; inside longer text, a value
//! becomes text. A replaced value has its own span, which records where the value is used and
//! where it comes from (`diagnostic::origin`). References (`${todos.arn}`) stay as they are, and a
//! literal `${` stays escaped (`$${`), since a later phase splits texts again.
//!
//! **Invariant:** a placeholder that remains either has a value that only AWS knows, or its
//! error is already reported. Time and memory are limited, whatever the variables contain.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::diagnostic::{SourceFile, Span, ValueSource, nearest};
use crate::remedy::{Advice, Remedy};
use crate::yaml::{Entry, Node, Yaml};

use super::problems::{MAX_MESSAGE_CHARS, Problems};
use super::template::{Name, Token, tokens};

/// Maximum number of bytes in one text, and in all texts of a spec, after placeholders are
/// replaced. Without a limit, a file of one megabyte can expand to sixteen gigabytes.
const MAX_TEXT_BYTES: usize = 1 << 20;
const MAX_SPEC_BYTES: usize = 16 << 20;
/// Maximum number of values that placeholders and repeated resources can add to a spec.
const MAX_NODES: usize = 500_000;
/// Maximum number of variables that use each other in a row.
const MAX_CHAIN: usize = 32;
/// Maximum number of further uses that one error names.
const MAX_USES: usize = 5;

/// The value of a placeholder.
pub(super) struct Variable {
    /// The value, with its place.
    pub(super) node: Node,
    /// Its texts are literal: placeholders in them are not replaced.
    pub(super) is_literal: bool,
    /// Whether its value may be a secret.
    pub(super) is_hidden: bool,
    state: EvalState,
}

enum EvalState {
    New,
    Evaluating,
    /// `None` after an error.
    Done(Option<Arc<Node>>),
}

impl Variable {
    /// A value in a file, whose texts can use other variables.
    pub(super) fn new(node: Node) -> Variable {
        Variable { node, is_literal: false, is_hidden: true, state: EvalState::New }
    }

    /// The same with literal texts.
    pub(super) fn literal(node: Node) -> Variable {
        Variable { node: escaped(node), is_literal: true, ..Variable::new(node_null()) }
    }

    /// A value without placeholders.
    pub(super) fn evaluated(node: Node, is_hidden: bool) -> Variable {
        let state = EvalState::Done(Some(Arc::new(node.clone())));
        Variable { is_hidden, state, ..Variable::new(node) }
    }

    /// A value that is no secret.
    pub(super) fn public(self) -> Variable {
        Variable { is_hidden: false, ..self }
    }
}

fn node_null() -> Node {
    Node { span: Span::new(0, 0), plain: true, value: Yaml::Null }
}

/// A tree whose texts are literal, so that splitting them gives them back.
fn escaped(node: Node) -> Node {
    let value = match node.value {
        Yaml::String(text) => Yaml::String(text.replace("${", "$${")),
        Yaml::List(items) => Yaml::List(items.into_iter().map(escaped).collect()),
        Yaml::Map(entries) => {
            Yaml::Map(entries.into_iter().map(|entry| Entry { value: escaped(entry.value), ..entry }).collect())
        }
        other => other,
    };
    Node { value, ..node }
}

/// The values that placeholders have, and what was replaced so far.
pub(super) struct Values<'a> {
    file: &'a Arc<SourceFile>,
    /// By name as in `${…}`: `team`, `var.days`, `each.key`.
    variables: BTreeMap<String, Variable>,
    /// What the values of some of them are, as in `diagnostic::Origin`.
    texts: BTreeMap<String, Arc<str>>,
    /// The variables that are being evaluated, each used by the one before.
    chain: Vec<String>,
    /// Names that are used, also by texts that are left out.
    pub(super) used: BTreeSet<String>,
    /// The uses of variables that have no value.
    missing: BTreeMap<String, Vec<Span>>,
    n_bytes: usize,
    n_nodes: usize,
}

/// The meaning of a placeholder.
enum Resolution {
    /// A value, and whether its text may be a secret.
    Value(Node, bool),
    /// Only a later phase, or AWS, knows.
    Later,
    /// Reported.
    Error,
}

impl<'a> Values<'a> {
    /// No values.
    pub(super) fn new(file: &'a Arc<SourceFile>) -> Values<'a> {
        Values {
            file,
            variables: BTreeMap::new(),
            texts: BTreeMap::new(),
            chain: Vec::new(),
            used: BTreeSet::new(),
            missing: BTreeMap::new(),
            n_bytes: 0,
            n_nodes: 0,
        }
    }

    /// Sets the meaning of `${name}` from now on.
    pub(super) fn set(&mut self, name: impl Into<String>, variable: Variable) {
        self.variables.insert(name.into(), variable);
    }

    /// Lets `${name}` have no value from now on.
    pub(super) fn unset(&mut self, name: &str) {
        self.variables.remove(name);
    }

    /// Whether `${name}` has a value.
    pub(super) fn has(&self, name: &str) -> bool {
        self.variables.contains_key(name)
    }

    /// The value of a name, as it is set.
    pub(super) fn node(&self, name: &str) -> Option<&Node> {
        self.variables.get(name).map(|it| &it.node)
    }

    /// Sets what is said about the origin of the value of `${name}`.
    pub(super) fn set_text(&mut self, name: &str, text: String) {
        self.texts.insert(name.to_owned(), text.into());
    }

    /// The place of a value that is used somewhere else.
    fn source(&self, name: &str, used: Span, from: Span, is_hidden: bool) -> ValueSource {
        let text = self.texts.get(name).cloned().unwrap_or_else(|| set_text(name).into());
        ValueSource { used, text, from, is_hidden, is_applied: false }
    }

    /// Evaluates all variables, so that what is wrong in an unused one is reported, too.
    pub(super) fn evaluate_all(&mut self, problems: &mut Problems) {
        let names: Vec<String> = self.variables.keys().cloned().collect();
        for name in names {
            self.evaluate(&name, problems);
        }
    }

    /// The value of a name, with placeholders in it replaced; `None` if it has none or is invalid.
    pub(super) fn evaluate(&mut self, name: &str, problems: &mut Problems) -> Option<Arc<Node>> {
        let variable = self.variables.get_mut(name)?;
        match &variable.state {
            EvalState::Done(node) => return node.clone(),
            EvalState::Evaluating => {
                let span = variable.node.span;
                self.report_cycle(name, span, problems);
                return None;
            }
            EvalState::New => {}
        }
        let node = variable.node.clone();
        let value = if variable.is_literal {
            Some(node)
        } else if self.chain.len() >= MAX_CHAIN {
            let problem = format!("more than {MAX_CHAIN} variables use each other in a row");
            problems.error(node.span, problem, "write the value itself");
            None
        } else {
            variable.state = EvalState::Evaluating;
            self.chain.push(name.to_owned());
            let value = self.without_references(&node, name, problems);
            self.chain.pop();
            value
        };
        let value = value.map(Arc::new);
        if let Some(variable) = self.variables.get_mut(name) {
            variable.state = EvalState::Done(value.clone());
        }
        value
    }

    fn report_cycle(&mut self, name: &str, span: Span, problems: &mut Problems) {
        let start = self.chain.iter().position(|it| it == name).unwrap_or_default();
        let circle = self.chain.iter().skip(start).map(String::as_str).chain([name]);
        let circle: Vec<String> = circle.map(|name| format!("`{name}`")).collect();
        problems.error(
            span,
            format!("these values use each other: {}", circle.join(" -> ")),
            "write one of them as a value without `${…}`",
        );
    }

    /// The value of a variable: it can contain other variables, but no references.
    fn without_references(&mut self, node: &Node, name: &str, problems: &mut Problems) -> Option<Node> {
        let value = self.replaced(node, problems).unwrap_or_else(|| Node { value: Yaml::Null, ..node.clone() });
        if let Some((span, reference)) = first_reference(&value).filter(|_| name.starts_with("var.")) {
            // The names that only AWS knows are allowed here, too.
            let problem = format!("the variable `{}` can't contain `{reference}`", bare(name));
            problems.error(
                span,
                problem,
                "write the reference where the variable is used, or `$${` for a literal `${`",
            );
            return None;
        }
        Some(value)
    }

    /// A tree with its placeholders replaced; `None` if a variable without a value (null) takes its
    /// place, so that it counts as not written.
    pub(super) fn replaced(&mut self, node: &Node, problems: &mut Problems) -> Option<Node> {
        let value = match &node.value {
            Yaml::String(text) if text.contains("${") => return self.scalar(text, node, problems),
            Yaml::List(items) => Yaml::List(items.iter().filter_map(|item| self.replaced(item, problems)).collect()),
            Yaml::Map(entries) => {
                let entries = entries.iter().filter_map(|entry| {
                    Some(Entry { value: self.replaced(&entry.value, problems)?, ..entry.clone_key() })
                });
                Yaml::Map(entries.collect())
            }
            other => other.clone(),
        };
        Some(Node { value, ..*node })
    }

    /// The same for a mapping whose keys can contain placeholders.
    pub(super) fn replaced_with_keys(&mut self, node: &Node, problems: &mut Problems) -> Option<Node> {
        let Yaml::Map(entries) = &node.value else { return self.replaced(node, problems) };
        let mut replaced: Vec<Entry> = Vec::with_capacity(entries.len());
        for entry in entries {
            let key = self.key(entry, problems);
            if let Some(value) = self.replaced(&entry.value, problems) {
                if self.file.is_substituted(key.key_span) && replaced.iter().any(|it| it.key == key.key) {
                    let problem = format!("`{}` is set more than once, after variables are replaced", key.key);
                    problems.error(key.key_span, problem, "keep one of the two");
                    continue;
                }
                replaced.push(Entry { value, ..key });
            }
        }
        Some(Node { value: Yaml::Map(replaced), ..*node })
    }

    /// A key with its placeholders replaced, and no value.
    fn key(&mut self, entry: &Entry, problems: &mut Problems) -> Entry {
        if !entry.key.contains("${") {
            return entry.clone_key();
        }
        let node = Node { span: entry.key_span, plain: false, value: Yaml::String(entry.key.clone()) };
        match self.scalar(&entry.key, &node, problems) {
            Some(Node { span, value: Yaml::String(key), .. }) => {
                Entry { key: key.replace("$${", "${"), key_span: span, value: node_null() }
            }
            Some(Node { span, value: Yaml::Number(_) | Yaml::Bool(_), .. }) => {
                Entry { key: self.file.text_at_origin(span), key_span: span, value: node_null() }
            }
            _ => {
                problems.error(entry.key_span, "a key must be text after variables are replaced", "use a text");
                entry.clone_key()
            }
        }
    }

    /// A text with its placeholders replaced; `None` for null.
    fn scalar(&mut self, text: &str, node: &Node, problems: &mut Problems) -> Option<Node> {
        if self.is_full() {
            return Some(node.clone());
        }
        if let Some(inner) = sole_placeholder(text) {
            let mut out = Replaced::default();
            let name = self.inside(inner, node.span, &mut out, problems);
            if !out.is_complete {
                return Some(node.clone());
            }
            match self.find(&name, node.span, problems) {
                Resolution::Value(Node { value: Yaml::Null, .. }, _) => return None,
                Resolution::Value(value, is_hidden) => {
                    let is_hidden = is_hidden || out.is_hidden;
                    return Some(self.moved(&value, node.span, &name, is_hidden, problems));
                }
                Resolution::Error => return Some(node.clone()),
                Resolution::Later => {}
            }
        }
        let mut out = Replaced::default();
        self.parts(text, node.span, true, &mut out, problems);
        let Some(first) = out.sources.into_iter().next().filter(|_| out.is_complete) else {
            return Some(node.clone());
        };
        if !self.allows(out.text.len(), node.span, problems) {
            return Some(Node { value: Yaml::String("$${…}".to_owned()), ..*node });
        }
        let span = self.file.substituted(ValueSource { is_hidden: out.is_hidden, ..first });
        Some(Node { span, plain: false, value: Yaml::String(out.text) })
    }

    /// Replaces the placeholders in a text; `is_outer`: it is not the inside of a `${…}`.
    fn parts(&mut self, text: &str, span: Span, is_outer: bool, out: &mut Replaced, problems: &mut Problems) {
        let mut rest = text;
        while let Some(dollar) = rest.find('$').filter(|_| out.text.len() <= MAX_TEXT_BYTES) {
            out.text.push_str(&rest[..dollar]);
            rest = &rest[dollar..];
            if let Some(after) = rest.strip_prefix("$${") {
                out.text.push_str("$${");
                rest = after;
                continue;
            }
            let Some(after) = rest.strip_prefix("${") else {
                out.text.push('$');
                rest = &rest[1..];
                continue;
            };
            // A later phase reports a `${` that isn't closed.
            let Some(end) = closing(after) else { break };
            let (inner, after) = (&after[..end], &after[end + 1..]);
            self.part(inner, span, is_outer, out, problems);
            rest = after;
        }
        out.text.push_str(rest);
    }

    /// The inside of a placeholder, with the placeholders in it replaced.
    fn inside(&mut self, inner: &str, span: Span, out: &mut Replaced, problems: &mut Problems) -> String {
        if !inner.contains("${") {
            return inner.to_owned();
        }
        let before = std::mem::take(&mut out.text);
        self.parts(inner, span, false, out, problems);
        std::mem::replace(&mut out.text, before)
    }

    /// Replaces one placeholder, with those inside of it first.
    fn part(&mut self, inner: &str, span: Span, is_outer: bool, out: &mut Replaced, problems: &mut Problems) {
        let name = if is_outer { self.inside(inner, span, out, problems) } else { inner.to_owned() };
        let inner = name.as_str();
        match self.find(inner, span, problems) {
            Resolution::Value(value, is_hidden) => {
                let Some(text) = self.as_text(&value, inner, span, problems) else {
                    out.is_complete = false;
                    return;
                };
                if !is_outer && text.contains(['$', '{', '}']) {
                    let problem = format!("the value of `{inner}` can't be part of a reference");
                    problems.error(span, problem, "use a name of letters, digits, `-`, `_` and `.`");
                    self.n_bytes = self.n_bytes.saturating_add(text.len());
                    out.is_complete = false;
                    return;
                }
                out.is_hidden |= is_hidden;
                out.sources.push(self.source(inner, span, value.span, is_hidden));
                // Longer than any text can be: don't build it.
                if out.text.len() <= MAX_TEXT_BYTES {
                    out.text.push_str(&text);
                }
            }
            Resolution::Later => out.text.extend(["${", inner, "}"]),
            Resolution::Error => {
                out.text.extend(["${", inner, "}"]);
                out.is_complete = false;
            }
        }
    }

    /// A value as part of a longer text.
    fn as_text(&mut self, value: &Node, name: &str, span: Span, problems: &mut Problems) -> Option<String> {
        let what = match &value.value {
            Yaml::String(text) => return Some(text.clone()),
            Yaml::Number(_) | Yaml::Bool(_) => return Some(self.file.text_at_origin(value.span)),
            // A list or mapping on the command line was text.
            Yaml::List(_) | Yaml::Map(_) if self.file.is_outside(value.span) => {
                return Some(self.file.text_at_origin(value.span).replace("${", "$${"));
            }
            Yaml::Null => "null",
            Yaml::List(_) => "a list",
            Yaml::Map(_) => "a mapping",
        };
        let moved = self.file.substituted(self.source(name, span, value.span, true));
        let problem = format!("`{name}` is {what}, which can't be part of a longer text");
        problems.error(moved, problem, format!("write only `${{{name}}}` as the value, or use a text"));
        None
    }

    /// The meaning of the name in `${…}`.
    fn find(&mut self, inner: &str, span: Span, problems: &mut Problems) -> Resolution {
        let (root, path) = match split(inner) {
            Some(it) => it,
            None => return Resolution::Later,
        };
        self.used.insert(root.clone());
        if !self.variables.contains_key(&root) {
            return self.no_value(&root, span, problems);
        }
        let Some(whole) = self.evaluate(&root, problems) else { return Resolution::Error };
        let mut value: &Node = &whole;
        // `vars: { x: }` declares a variable that each run has to set.
        if value.value == Yaml::Null && value.span.start == value.span.end && !self.file.is_substituted(value.span) {
            return self.no_value(&root, span, problems);
        }
        for key in path.iter().copied() {
            let known: Vec<&str> = match &value.value {
                Yaml::Map(entries) => entries.iter().map(|entry| entry.key.as_str()).collect(),
                _ => Vec::new(),
            };
            let hint = match nearest(key, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if known.is_empty() => format!("remove `.{key}`, or make the value a mapping"),
                None => format!("use one of {}", super::check::list(known)),
            };
            let Yaml::Map(entries) = &value.value else {
                let moved = self.file.substituted(self.source(inner, span, value.span, true));
                problems.error(
                    moved,
                    format!("`{inner}`: there is no `{key}`, because the value isn't a mapping"),
                    hint,
                );
                return Resolution::Error;
            };
            let Some(entry) = entries.iter().find(|entry| entry.key == key) else {
                let moved = self.file.substituted(self.source(inner, span, value.span, true));
                problems.error(moved, format!("`{inner}`: the value has no `{key}`"), hint);
                return Resolution::Error;
            };
            value = &entry.value;
        }
        let is_hidden = self.variables.get(&root).is_none_or(|it| it.is_hidden) || self.file.is_hidden(value.span);
        // A copy of a large value isn't free, wherever it is used.
        self.n_nodes += match &value.value {
            Yaml::List(items) => items.len(),
            Yaml::Map(entries) => entries.len(),
            _ => 0,
        };
        Resolution::Value(value.clone(), is_hidden)
    }

    /// A name without a value: an error, unless only AWS knows it.
    fn no_value(&mut self, root: &str, span: Span, problems: &mut Problems) -> Resolution {
        match root {
            "region" | "account" | "partition" => return Resolution::Later,
            _ if root.starts_with("lookup.") => return Resolution::Later,
            "team" => {}
            "stage" => problems.error(
                span,
                "`${stage}` has no value, because this spec has no stages",
                "add `stages:` at the top of the spec, or remove `${stage}`",
            ),
            _ if root.starts_with("each.") => problems.error(
                span,
                format!("`${{{root}}}` has no value here"),
                "use it only in a resource with `for_each`",
            ),
            _ => self.missing.entry(bare(root).to_owned()).or_default().push(span),
        }
        Resolution::Error
    }

    /// Reports each variable without a value once, with its uses. `others`: names that the command
    /// line sets.
    pub(super) fn report_missing<'n>(&mut self, others: impl Iterator<Item = &'n String>, problems: &mut Problems) {
        let declared: Vec<String> = self.variables.keys().filter(|it| it.starts_with("var.")).cloned().collect();
        let declared: Vec<String> = declared.into_iter().chain(others.cloned()).collect();
        for (name, uses) in std::mem::take(&mut self.missing) {
            let Some(first) = uses.first() else { continue };
            if problems.is_only_counted() {
                continue;
            }
            let shown: String = name.chars().take(MAX_MESSAGE_CHARS).collect();
            let others = declared.iter().map(|it| bare(it)).filter(|it| *it != name);
            let near = nearest(&name, others);
            let near = near.map_or_else(String::new, |near| format!("did you mean `${{var.{near}}}`? Otherwise "));
            let hint = Advice::from(format!("{near}add it to `vars:`, ")).then(Remedy::SetVariable(shown));
            let error = crate::diagnostic::Diagnostic::error(format!("the variable `{name}` has no value"), hint);
            let error = error.at(self.file.location(*first));
            let lines: BTreeSet<usize> =
                uses.iter().skip(1).map(|span| self.file.location(*span).line_column().0).collect();
            let shown: Vec<String> = lines.iter().take(MAX_USES).map(ToString::to_string).collect();
            problems.push(match lines.len() {
                0 => error,
                1 => error.why(format!("it is also used on line {}", shown.join(", "))),
                n if n > MAX_USES => error.why(format!("it is also used on lines {} and more", shown.join(", "))),
                _ => error.why(format!("it is also used on lines {}", shown.join(", "))),
            });
        }
    }

    /// Counts the names in texts that are left out as used.
    pub(super) fn mark_used(&mut self, node: &Node) {
        match &node.value {
            Yaml::String(text) => {
                for after in text.split("${").skip(1) {
                    let name = after.split('}').next().unwrap_or_default();
                    self.used.extend(split(name).map(|(root, _)| root));
                }
            }
            Yaml::List(items) => items.iter().for_each(|item| self.mark_used(item)),
            Yaml::Map(entries) => entries.iter().for_each(|entry| self.mark_used(&entry.value)),
            _ => {}
        }
    }

    /// A value at the place of its use, which remembers where it comes from.
    fn moved(&mut self, node: &Node, used: Span, name: &str, is_hidden: bool, problems: &mut Problems) -> Node {
        let text = self.source(name, used, node.span, is_hidden).text;
        self.moved_to(node, used, &text, is_hidden, problems)
    }

    /// The same with the text of its origin.
    pub(super) fn moved_to(
        &mut self,
        node: &Node,
        used: Span,
        text: &Arc<str>,
        is_hidden: bool,
        problems: &mut Problems,
    ) -> Node {
        let n_bytes = if let Yaml::String(text) = &node.value { text.len() } else { 0 };
        if !self.allows(n_bytes, used, problems) {
            return Node { span: used, plain: false, value: Yaml::String(String::new()) };
        }
        let source = |from| ValueSource { used, text: Arc::clone(text), from, is_hidden, is_applied: false };
        let value = match &node.value {
            Yaml::List(items) => {
                Yaml::List(items.iter().map(|item| self.moved_to(item, used, text, is_hidden, problems)).collect())
            }
            Yaml::Map(entries) => {
                let entries = entries.iter().map(|entry| Entry {
                    key: entry.key.clone(),
                    key_span: self.file.substituted(source(entry.key_span)),
                    value: self.moved_to(&entry.value, used, text, is_hidden, problems),
                });
                Yaml::Map(entries.collect())
            }
            other => other.clone(),
        };
        Node { span: self.file.substituted(source(node.span)), plain: false, value }
    }

    /// Counts an added value; returns whether the spec stays within its limits. Reports only the
    /// one that exceeds them.
    pub(super) fn allows(&mut self, n_bytes: usize, span: Span, problems: &mut Problems) -> bool {
        if n_bytes > MAX_TEXT_BYTES {
            let problem = format!("this text has more than {MAX_TEXT_BYTES} bytes after variables are replaced");
            problems.error(span, problem, "shorten the variables, or use them less often");
            return false;
        }
        let was_full = self.is_full();
        self.n_bytes = self.n_bytes.saturating_add(n_bytes);
        self.n_nodes += 1;
        if !was_full && self.is_full() {
            let problem = format!(
                "the spec is too large after variables are replaced: more than {MAX_SPEC_BYTES} bytes or {MAX_NODES} values"
            );
            let hint = "shorten the variables, or split the spec into several files";
            problems.error(span, problem, hint);
        }
        !self.is_full()
    }

    /// Whether the spec exceeds its limits, which is reported.
    fn is_full(&self) -> bool {
        self.n_bytes > MAX_SPEC_BYTES || self.n_nodes > MAX_NODES
    }
}

/// A text whose placeholders are replaced.
struct Replaced {
    text: String,
    /// The values in it.
    sources: Vec<ValueSource>,
    is_hidden: bool,
    /// Whether all placeholders have a value.
    is_complete: bool,
}

impl Default for Replaced {
    fn default() -> Replaced {
        Replaced { text: String::new(), sources: Vec::new(), is_hidden: false, is_complete: true }
    }
}

/// What is at the place that a value comes from; empty for well-known names.
fn set_text(name: &str) -> String {
    if ["team", "stage"].contains(&name) { String::new() } else { format!("`{name}` is set") }
}

/// The name of a variable without `var.`.
fn bare(name: &str) -> &str {
    name.strip_prefix("var.").unwrap_or(name)
}

/// The inside of a text that is exactly one placeholder.
fn sole_placeholder(text: &str) -> Option<&str> {
    let after = text.strip_prefix("${")?;
    let end = closing(after)?;
    (end + 1 == after.len()).then(|| &after[..end])
}

/// The end of the placeholder that `text` is in.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let bytes = text.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'{' if at > 0 && bytes.get(at - 1) == Some(&b'$') => depth += 1,
            b'}' if depth == 0 => return Some(at),
            b'}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// The name that has a value, and the keys within that: `var.a.b` is `b` of `var.a`. `None` for
/// names of a later phase.
fn split(inner: &str) -> Option<(String, Vec<&str>)> {
    let mut names = inner.split('.');
    let first = names.next()?;
    let is_word = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    };
    let root = match first {
        "team" | "stage" | "region" | "account" | "partition" => {
            return (inner == first).then(|| (first.to_owned(), Vec::new()));
        }
        "var" => names.next().filter(|name| is_word(name) && name.starts_with(|c: char| c.is_ascii_alphabetic())),
        "each" => names.next().filter(|name| ["key", "value"].contains(name)),
        "lookup" => {
            return names
                .next()
                .filter(|name| is_word(name) && inner == format!("lookup.{name}"))
                .map(|_| (inner.to_owned(), Vec::new()));
        }
        _ => None,
    };
    let path: Vec<&str> = names.collect();
    let is_path = path.iter().all(|key| is_word(key));
    root.filter(|_| is_path).map(|root| (format!("{first}.{root}"), path))
}

/// Whether the inside of a `${…}` is a name that this phase replaces.
pub(super) fn is_name(inner: &str) -> bool {
    split(inner).is_some()
}

/// The first reference or lookup in a tree, and its place.
pub(super) fn first_reference(node: &Node) -> Option<(Span, String)> {
    first(node, &|name| matches!(name, Name::Output { .. } | Name::Lookup(_)))
}

/// The first lookup in a tree, and its place.
pub(super) fn first_lookup(node: &Node) -> Option<(Span, String)> {
    first(node, &|name| matches!(name, Name::Lookup(_)))
}

fn first(node: &Node, is_it: &dyn Fn(&Name) -> bool) -> Option<(Span, String)> {
    match &node.value {
        Yaml::String(text) => {
            let found = tokens(text).ok()?.into_iter().find_map(|token| match token {
                Token::Name(name) if is_it(&name) => match name {
                    Name::Output { resource, attribute } => Some(format!("${{{resource}.{attribute}}}")),
                    Name::Lookup(lookup) => Some(format!("${{lookup.{lookup}}}")),
                    _ => None,
                },
                _ => None,
            })?;
            Some((node.span, found))
        }
        Yaml::List(items) => items.iter().find_map(|item| first(item, is_it)),
        Yaml::Map(entries) => entries.iter().find_map(|entry| first(&entry.value, is_it)),
        _ => None,
    }
}
