//! The phases before the check: from the files and settings of a run to one YAML tree without
//! variables, for one stage.
//!
//! **Invariant:** what comes out is a spec that `check` can read as if it had been written that way.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path as FilePath;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, SourceFile, Span, nearest};
use crate::kind::Kinds;
use crate::lookup::{LookupAnswer, LookupValues, as_text};
use crate::remedy::{Advice, RunOption};
use crate::schema::partition_of;
use crate::value::Value;
use crate::yaml::{Entry, Node, Yaml};

use super::SpecOverrides;
use super::check::{RESOURCE, TEAM, list, name_hint};
use super::inputs;
use super::problems::Problems;
use super::structure::Resources;
use super::text::{Values, Variable};

/// The top-level keys whose values a stage or a run can override.
const HEADERS: [&str; 4] = ["team", "region", "account", "stack"];
/// The top-level keys that don't outlast these phases.
const CONSUMED: [&str; 5] = ["vars", "stages", "defaults", "tags", "extends"];
/// The keys of a stage that are the spec's own.
const OF_STAGE: [&str; 2] = ["account", "region"];

/// A spec without variables, for one stage.
pub(super) struct Expanded {
    /// The tree.
    pub(super) root: Node,
    /// The stage, if the spec has stages.
    pub(super) stage: Option<String>,
    /// What became of the resources.
    pub(super) resources: Resources,
    /// The values from outside of the spec, for the digests of a saved plan.
    pub(super) inputs: BTreeMap<String, String>,
}

/// Where a spec is, and for what it is expanded.
pub(super) struct ExpandContext<'a> {
    pub(super) kinds: &'a Kinds,
    pub(super) file: &'a Arc<SourceFile>,
    pub(super) dir: &'a FilePath,
    pub(super) overrides: &'a SpecOverrides,
    /// The values of the lookups, as far as they are known.
    pub(super) lookups: &'a LookupValues,
}

pub(super) struct Phases<'a> {
    pub(super) kinds: &'a Kinds,
    pub(super) file: &'a Arc<SourceFile>,
    overrides: &'a SpecOverrides,
    pub(super) values: Values<'a>,
    pub(super) literal: BTreeSet<(&'a str, &'a str)>,
    /// The evaluated headers, as they are set.
    headers: BTreeMap<&'static str, Node>,
    /// The variables in `vars:`.
    declared: BTreeSet<String>,
    pub(super) resources: Resources,
    inputs: BTreeMap<String, String>,
    pub(super) problems: &'a mut Problems,
}

/// The names of a spec's stages, in the order of the file; none if it has none or can't be read.
pub(super) fn stages(setting: &ExpandContext<'_>, root: &Node) -> Vec<String> {
    let Yaml::Map(top) = &root.value else { return Vec::new() };
    let mut problems = Problems::new(setting.file);
    let top = inputs::with_extended(setting.kinds, setting.file, top, setting.dir, setting.overrides, &mut problems);
    match top.into_iter().flatten().find(|entry| entry.key == "stages").map(|entry| entry.value.value) {
        Some(Yaml::Map(stages)) => stages.into_iter().map(|entry| entry.key).collect(),
        _ => Vec::new(),
    }
}

/// The tree without variables; `None` if the stage isn't known.
pub(super) fn expand(setting: &ExpandContext<'_>, root: &Node, problems: &mut Problems) -> Option<Expanded> {
    let ExpandContext { kinds, file, dir, overrides, lookups } = *setting;
    let Yaml::Map(top) = &root.value else {
        let (stage, resources, inputs) = (None, Resources::default(), BTreeMap::new());
        return Some(Expanded { root: root.clone(), stage, resources, inputs });
    };
    let top = inputs::with_extended(kinds, file, top, dir, overrides, problems)?;
    let mut phases = Phases {
        kinds,
        file,
        overrides,
        values: Values::new(file),
        literal: literal(kinds),
        headers: BTreeMap::new(),
        declared: BTreeSet::new(),
        resources: Resources::default(),
        inputs: BTreeMap::new(),
        problems,
    };
    phases.set_lookups(lookups);
    let (entries, stage) = phases.run(&top)?;
    let root = Node { value: Yaml::Map(entries), ..*root };
    Some(Expanded { root, stage, resources: phases.resources, inputs: phases.inputs })
}

/// The members of properties whose text is taken literally, in any kind: inline source.
fn literal(kinds: &Kinds) -> BTreeSet<(&str, &str)> {
    let properties = kinds.schemas().flat_map(|schema| &schema.properties);
    let members = properties.flat_map(|property| property.members().iter().map(|member| (&*property.name, member)));
    let literal = members.filter(|(_, member)| member.sensitive && member.no_references);
    literal.map(|(property, member)| (property, &*member.name)).collect()
}

/// The entries of a mapping; none for any other value.
fn entries_of(node: &Node) -> &[Entry] {
    match &node.value {
        Yaml::Map(entries) => entries,
        _ => &[],
    }
}

/// Adds all keys and texts of an entry, with those of the file that the spec extends.
fn add_texts<'n>(entry: &'n Entry, texts: &mut Vec<&'n str>) {
    texts.push(&entry.key);
    let mut nodes = vec![&entry.value];
    while let Some(node) = nodes.pop() {
        match &node.value {
            Yaml::String(text) => texts.push(text),
            Yaml::List(items) => nodes.extend(items),
            Yaml::Map(entries) => {
                texts.extend(entries.iter().map(|it| it.key.as_str()));
                nodes.extend(entries.iter().map(|it| &it.value));
            }
            _ => {}
        }
    }
}

/// A text at a place.
fn text_at(span: Span, text: &str) -> Node {
    Node { span, plain: false, value: Yaml::String(text.to_owned()) }
}

impl Phases<'_> {
    /// The top-level entries of the tree, and the stage; `None` if that isn't known.
    fn run(&mut self, top: &[Entry]) -> Option<(Vec<Entry>, Option<String>)> {
        let find = |key: &str| top.iter().find(|entry| entry.key == key);
        self.declare(find("vars"));
        let stages = find("stages");
        let stage = self.choose_stage(stages)?;
        let of_stage = stage.map(|entry| entries_of(&entry.value)).unwrap_or_default();
        let header = |key: &str| {
            let by_stage = of_stage.iter().find(|it| it.key == key && OF_STAGE.contains(&key));
            by_stage.or(find(key))
        };
        for key in HEADERS {
            self.set_header(key, header(key));
        }
        for entry in of_stage.iter().filter(|it| !OF_STAGE.contains(&&*it.key)) {
            self.values.set(format!("var.{}", entry.key), Variable::new(entry.value.clone()));
        }
        let files = self.set_from_outside(top);
        if let Some(stage) = stage {
            self.values.set("stage", Variable::literal(text_at(stage.key_span, &stage.key)).public());
        }
        for key in HEADERS {
            self.headers.extend(self.values.evaluate(key, self.problems).map(|value| (key, Node::clone(&value))));
        }
        let stage = stage.map(|entry| entry.key.clone()).or_else(|| self.rendered_stage());
        self.settle_builtins();
        self.values.evaluate_all(self.problems);
        self.read_defaults(find("defaults"), find("tags"));
        let mut entries = Vec::new();
        for entry in top.iter().filter(|it| !CONSUMED.contains(&&*it.key)) {
            entries.extend(self.top_level(header(&entry.key).unwrap_or(entry), &entry.key));
        }
        for key in OF_STAGE.into_iter().filter(|key| find(key).is_none()) {
            entries.extend(header(key).and_then(|entry| self.top_level(entry, key)));
        }
        self.values.report_missing(self.overrides.vars.keys(), self.problems);
        self.report_unused(stages, &files);
        Some((entries, stage))
    }

    /// Reads `vars:`.
    fn declare(&mut self, entry: Option<&Entry>) {
        let Some(entry) = entry else { return };
        let Yaml::Map(entries) = &entry.value.value else {
            let hint = "write `vars: { name: value }`";
            self.problems.error(entry.value.span, "`vars` must be a YAML mapping of names to values", hint);
            return;
        };
        for Entry { key, key_span, value } in entries {
            if let Some(objection) = RESOURCE.violation(key) {
                let problem = format!("the variable `{key}` {objection}");
                self.problems.error(*key_span, problem, name_hint(key, &RESOURCE));
            }
            self.values.set(format!("var.{key}"), Variable::new(value.clone()));
            self.declared.insert(key.clone());
        }
    }

    /// The entry of the stage that the run is for: `Some(None)` in a spec without stages, `None`
    /// after an error.
    fn choose_stage<'e>(&mut self, stages: Option<&'e Entry>) -> Option<Option<&'e Entry>> {
        let SpecOverrides { stage, usual_stage, is_local, .. } = self.overrides;
        let Some(entry) = stages else {
            let Some(stage) = stage else { return Some(None) };
            let problem = Advice::from("this spec has no stages, so it has none for ");
            let hint = "remove it, or add `stages:` at the top of the spec";
            self.problems.push(Diagnostic::error(problem.then(RunOption::Stage(Some(stage.clone()))), hint));
            return None;
        };
        let stages = self.valid_stages(entry)?;
        let find = |name: &str| stages.iter().find(|it| it.key == name).copied();
        let names = list(stages.iter().map(|it| it.key.as_str()));
        let asked = stage.as_deref().or(usual_stage.as_deref());
        let Some(asked) = asked else {
            if let Some(local) = find("local").filter(|_| *is_local) {
                return Some(Some(local));
            }
            let hint = Advice::from("choose one with ").then(RunOption::Stage(None)).then(format!(": {names}"));
            self.problems.error(entry.key_span, "this spec has stages, and none is chosen", hint);
            return None;
        };
        let found = find(asked);
        if found.is_none() {
            let hint = match nearest(asked, stages.iter().map(|it| it.key.as_str())) {
                Some(near) => format!("did you mean `{near}`? The stages are {names}"),
                None => format!("the stages are {names}"),
            };
            self.problems.error(entry.key_span, format!("this spec has no stage `{asked}`"), hint);
        }
        found.map(Some)
    }

    /// The stages; `None` after an error.
    fn valid_stages<'e>(&mut self, entry: &'e Entry) -> Option<Vec<&'e Entry>> {
        let Yaml::Map(stages) = &entry.value.value else {
            let hint = "write `stages: { dev: {}, prod: {} }`";
            self.problems.error(entry.value.span, "`stages` must be a YAML mapping of names to their values", hint);
            return None;
        };
        if stages.is_empty() {
            self.problems.error(entry.value.span, "`stages` is empty", "add a stage, or remove `stages`");
            return None;
        }
        let mut is_valid = true;
        for Entry { key, key_span, value } in stages {
            is_valid &= RESOURCE.violation(key).is_none();
            if let Some(objection) = RESOURCE.violation(key) {
                self.problems.error(
                    *key_span,
                    format!("the stage name `{key}` {objection}"),
                    name_hint(key, &RESOURCE),
                );
            }
            match &value.value {
                Yaml::Map(entries) => {
                    for entry in entries {
                        is_valid &= RESOURCE.violation(&entry.key).is_none();
                        if let Some(objection) = RESOURCE.violation(&entry.key) {
                            let problem = format!("the variable `{}` {objection}", entry.key);
                            self.problems.error(entry.key_span, problem, name_hint(&entry.key, &RESOURCE));
                        }
                    }
                }
                Yaml::Null => {}
                _ => {
                    is_valid = false;
                    let problem = format!("the stage `{key}` must be a YAML mapping of names to values");
                    self.problems.error(value.span, problem, "write `name: value` under it, or `{}`");
                }
            }
        }
        is_valid.then(|| stages.iter().collect())
    }

    /// Sets the variables from the environment, from files and from the command line, in ascending
    /// priority; returns those from files.
    fn set_from_outside(&mut self, top: &[Entry]) -> Vec<Entry> {
        let SpecOverrides { env, vars, var_files, .. } = self.overrides;
        let mut texts = Vec::new();
        top.iter().for_each(|entry| add_texts(entry, &mut texts));
        // The environment can contain variables of other specs.
        self.set_texts(env, "in the environment", |name| texts.iter().any(|text| text.contains(name)));
        let mut all = Vec::new();
        for path in var_files {
            let entries = inputs::variables(self.file, path, self.problems);
            for entry in &entries {
                self.values.set(format!("var.{}", entry.key), Variable::literal(entry.value.clone()));
                self.inputs.insert(entry.key.clone(), self.file.text_at_origin(entry.value.span));
            }
            all.extend(entries);
        }
        self.set_texts(vars, "on the command line", |_| true);
        all
    }

    fn set_texts(
        &mut self,
        values: &BTreeMap<String, String>,
        elsewhere: &'static str,
        is_used: impl Fn(&str) -> bool,
    ) {
        for (name, text) in values {
            let full = format!("var.{name}");
            let known = self.values.node(&full).cloned();
            if known.is_some() || is_used(&full) {
                let node = inputs::outside(self.file, name, text, elsewhere, known.as_ref(), self.problems);
                self.values.set(full, Variable::literal(node));
                self.inputs.insert(name.clone(), text.clone());
            }
        }
    }

    /// Sets the lookups whose values are known.
    fn set_lookups(&mut self, lookups: &LookupValues) {
        for (name, LookupAnswer { value, from, .. }) in &lookups.known {
            // A value without a text would count as missing.
            let text = as_text(value).filter(|text| !text.is_empty()).unwrap_or_else(|| "~".to_owned());
            let base = self.file.append(SourceFile::new("AWS", text.as_str()), Some("in this run")).unwrap_or_default();
            let span = Span::new(base, base + text.len());
            let node = |value| Node { span, plain: false, value };
            let value = match value {
                Value::List(items) => {
                    let items = items.iter().filter_map(as_text).map(|item| node(Yaml::String(item)));
                    Yaml::List(items.collect())
                }
                Value::Bool(value) => Yaml::Bool(*value),
                Value::Number(number) => Yaml::Number(number.clone()),
                value => as_text(value).map_or(Yaml::Null, Yaml::String),
            };
            let root = format!("lookup.{name}");
            self.values.set_text(&root, format!("`{root}` comes from {from}"));
            self.values.set(root, Variable::literal(node(value)));
        }
    }

    /// Lets `${team}` and the others be what the command line, the stage or the spec sets.
    fn set_header(&mut self, key: &str, entry: Option<&Entry>) {
        let outside = match key {
            "team" => self.overrides.team.as_ref(),
            "region" => self.overrides.region.as_ref(),
            _ => None,
        };
        if let Some(text) = outside {
            let span = entry.map_or(Span::new(0, 0), |entry| entry.value.span);
            self.values.set(key, Variable::literal(text_at(span, text)).public());
        } else if let Some(entry) = entry {
            self.values.set(key, Variable::new(entry.value.clone()).public());
        }
    }

    /// The stage of a spec without stages whose stack names one, as in one that was rendered.
    fn rendered_stage(&self) -> Option<String> {
        let Yaml::String(stack) = &self.headers.get("stack")?.value else { return None };
        Some(stack.split_once('@')?.1.to_owned())
    }

    /// What follows from the evaluated headers.
    fn settle_builtins(&mut self) {
        // An invalid team is reported later, and must not make each name invalid.
        let team = self.values.evaluate("team", self.problems);
        if let Some(Node { span, value: Yaml::String(team), .. }) = team.as_deref()
            && TEAM.violation(team).is_some()
        {
            self.values.set("team", Variable::literal(text_at(*span, "team")).public());
        }
        let region = self.values.evaluate("region", self.problems);
        if let Some(Node { span, value: Yaml::String(region), .. }) = region.as_deref()
            && !region.contains("${")
        {
            let partition = text_at(*span, partition_of(region).name);
            self.values.set("partition", Variable::literal(partition).public());
        }
    }

    /// A top-level key without variables; `None` if it isn't written then.
    fn top_level(&mut self, entry: &Entry, key: &str) -> Option<Entry> {
        let value = match key {
            "team" | "region" if self.is_overridden(key) => self.values.replaced(&entry.value, self.problems)?,
            key if HEADERS.contains(&key) => match self.headers.get(key) {
                Some(Node { value: Yaml::Null, span, .. }) if self.file.is_substituted(*span) => return None,
                Some(value) => value.clone(),
                None => entry.value.clone(),
            },
            "resources" => self.resources(&entry.value),
            "owns" | "lookups" => self.values.replaced(&entry.value, self.problems)?,
            "outputs" => self.outputs(&entry.value)?,
            _ => entry.value.clone(),
        };
        Some(Entry { value, ..entry.clone_key() })
    }

    fn is_overridden(&self, key: &str) -> bool {
        match key {
            "team" => self.overrides.team.is_some(),
            _ => self.overrides.region.is_some(),
        }
    }

    /// Reports variables that the spec doesn't know, which are probably typos.
    fn report_unused(&mut self, stages: Option<&Entry>, files: &[Entry]) {
        let used: BTreeSet<String> =
            self.values.used.iter().filter_map(|it| it.strip_prefix("var.")).map(str::to_owned).collect();
        let known: BTreeSet<&str> = used.iter().chain(&self.declared).map(String::as_str).collect();
        let hint = |name: &str| match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "remove it, use it in the spec, or declare it in `vars:`".to_owned(),
        };
        let is_unknown = |name: &str| !known.contains(name);
        let of_stages = stages.map(|it| entries_of(&it.value)).unwrap_or_default();
        let of_stages = of_stages.iter().flat_map(|stage| entries_of(&stage.value));
        let of_stages = of_stages.filter(|it| !OF_STAGE.contains(&&*it.key) && is_unknown(&it.key));
        for entry in of_stages {
            let problem = format!("this spec doesn't use `{}`, which the stage sets", entry.key);
            self.problems.error(entry.key_span, problem, hint(&entry.key));
        }
        let SpecOverrides { vars, is_one_of_several, .. } = self.overrides;
        // Another spec of the command may use it.
        let is_error = !is_one_of_several;
        for entry in files.iter().filter(|it| is_error && is_unknown(&it.key)) {
            let problem = format!("this spec doesn't use `{}`, which the file sets", entry.key);
            self.problems.error(entry.key_span, problem, hint(&entry.key));
        }
        for name in vars.keys().filter(|name| is_unknown(name)) {
            let problem =
                Advice::from("this spec doesn't use the variable in ").then(RunOption::Variable(name.clone()));
            self.problems.push(match is_error {
                true => Diagnostic::error(problem, hint(name)),
                false => Diagnostic::warning(problem, hint(name)),
            });
        }
    }
}
