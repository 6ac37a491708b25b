//! Turns a YAML tree into declarations: every rule that can be checked without AWS, each violation
//! with its position.
//!
//! **Invariant:** checking continues after an error wherever possible, so that one run reports all
//! errors, and no message repeats a value that may be secret.

mod implied;
mod lookups;
mod owned;
mod references;
mod shape;

use std::collections::{BTreeMap, BTreeSet};
use std::mem::take;
use std::path::Path as FilePath;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread;

pub(crate) use crate::diagnostic::nearest;
use crate::diagnostic::{self, Diagnostic, Location, Severity, SourceFile, Span};
use crate::graph::Graph;
use crate::kind::{Definition, Kinds, Loaded, SpecFolder};
use crate::lookup::{Lookup, LookupValues};
use crate::remedy::{Advice, CliCommand, RunOption};
use crate::schema::{
    Id, Identity, Locality, Names, Owner, Presence, Problem, Property, Schema, Str, Text, Unignorable, is_known_region,
    is_region, part_of, regions, settable,
};
use crate::value::{Path, Tree, Value};
use crate::yaml::{Entry, Node, Yaml};

use super::expand::{ExpandContext, Expanded, expand};
use super::grammar::{META, TOP, keys_of, takes};
use super::problems::Problems;
use super::render::Rendering;
use super::structure::Resources;
use super::{Depth, Lifecycle, Locations, LookupUse, ResourceDecl, Spec, SpecOverrides, SpecSource};

pub(super) use lookups::MAX_LOOKUPS;
pub(super) use owned::MAX_OWNED;
pub(super) use references::graph;

/// Maximum number of names in a hint.
const MAX_LISTED: usize = 40;
/// The key of the variables.
const VARS: &str = "vars";
pub(super) const RESERVED_NAMES: [&str; 8] =
    ["var", "lookup", "team", "region", "account", "partition", "stage", "each"];

pub(super) static TEAM: LazyLock<Text> = LazyLock::new(|| {
    let is_allowed = |text: &str| {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.bytes().all(word) && !text.ends_with(['-', '_'])
    };
    Text::new(2..=32, "letters, digits, `-` and `_`, starting and ending with a letter or digit", is_allowed)
});
pub(super) static STACK: LazyLock<Text> = LazyLock::new(|| {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    // A stack of a stage is `stack@stage`.
    let is_allowed = move |text: &str| {
        let (stack, stage) = text.split_once('@').unwrap_or((text, "stage"));
        !stack.is_empty() && RESOURCE.violation(stage).is_none() && stack.bytes().all(word)
    };
    Text::new(1..=128, "letters, digits, `-`, `_` and `.`", is_allowed)
});
pub(super) static RESOURCE: LazyLock<Text> = LazyLock::new(|| {
    let is_allowed = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    Text::new(1..=63, "letters, digits, `-` and `_`, starting with a letter", is_allowed)
});
pub(super) static ACCOUNT: LazyLock<Text> =
    LazyLock::new(|| Text::new(12..=12, "12 digits", |text| text.bytes().all(|byte| byte.is_ascii_digit())));
pub(super) static REGION: LazyLock<Text> =
    LazyLock::new(|| Text::new(9..=32, "a region name, like `eu-central-1`", is_region));

/// Checks a whole file, with the values of its lookups as far as they are known. The files that
/// `before`, the same spec without them, has loaded are not loaded again.
pub(super) fn check(
    kinds: &Kinds,
    source: &SpecSource,
    values: &LookupValues,
    before: Option<&Spec>,
) -> (Option<Spec>, Vec<Diagnostic>) {
    let SpecSource { file, root, stem, dir, overrides, depth } = source;
    file.reveal_except(sensitive(kinds, root));
    let mut problems = Problems::new(file);
    let setting = ExpandContext { kinds, file, dir, overrides, lookups: values };
    let Some(Expanded { root, stage, resources, inputs }) = expand(&setting, root, &mut problems) else {
        return (None, problems.into_diagnostics());
    };
    let mut checker = Checker {
        kinds,
        file,
        overrides,
        depth: *depth,
        dir,
        problems,
        before,
        lookups: BTreeMap::new(),
        declared_lookups: BTreeSet::new(),
        lookup_uses: BTreeMap::new(),
        loaded: BTreeMap::new(),
        locations: Locations::default(),
        references: Vec::new(),
        scope: NameScope { stage, ..NameScope::default() },
        untouchable: BTreeSet::new(),
        unnamed_imports: BTreeMap::new(),
        is_anything_barred: false,
        structure: resources,
        rendering: Rendering::default(),
    };
    let spec = checker.file(&root, stem);
    let rendering = Rendering { root: Some(Arc::new(root)), ..std::mem::take(&mut checker.rendering) };
    let spec = spec.map(|spec| Spec { inputs, rendering, ..spec });
    (spec, checker.problems.into_diagnostics())
}

/// Errors in names that come from the command line.
pub(super) fn names(team: &str, stack: &str, region: Option<&str>) -> Vec<Diagnostic> {
    let given = [
        ("team", team, &TEAM, RunOption::Team(Some(team.to_owned()))),
        ("stack", stack, &STACK, RunOption::Stack(stack.to_owned())),
    ];
    let region = region.map(|it| ("region", it, &REGION, RunOption::Region(Some(it.to_owned()))));
    let wrong = given.into_iter().chain(region).filter_map(|(what, value, text, request)| {
        let violation = text.violation(value)?;
        let problem = Advice::from("invalid ").then(request).then(format!(": the {what} name {violation}"));
        Some(Diagnostic::error(problem, text_hint(value, text)))
    });
    wrong.collect()
}

/// A problem that a kind found, with its place.
pub(super) fn diagnostic_of(problem: Problem, location: Option<Location>) -> Diagnostic {
    let Problem { problem, why, hint, warning, .. } = problem;
    let severity = if warning { Severity::Warning } else { Severity::Error };
    let mut diagnostic = Diagnostic::new(severity, problem, hint);
    diagnostic.at = location;
    diagnostic.why = why.map(Advice::from);
    diagnostic
}

/// The hint for an invalid text.
fn text_hint(value: &str, text: &Text) -> String {
    if text.expected == REGION.expected { region_hint(value) } else { name_hint(value, text) }
}

fn region_hint(name: &str) -> String {
    let zone = name.strip_suffix(|c: char| c.is_ascii_lowercase()).filter(|region| is_region(region));
    match (zone, nearest(name, regions())) {
        (Some(region), _) => format!("`{name}` is an availability zone; its region is `{region}`"),
        (None, Some(near)) => format!("did you mean `{near}`?"),
        (None, None) => REGION.suggestion(name),
    }
}

/// The hint for an invalid name: a corrected name where there is one.
pub(super) fn name_hint(name: &str, text: &Text) -> String {
    let corrected: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect();
    let corrected = corrected.trim_matches(['-', '_']);
    let is_ours = [&TEAM.expected, &STACK.expected, &RESOURCE.expected].contains(&&text.expected);
    match is_ours && text.is_malformed(name) && text.violation(corrected).is_none() {
        true => format!("did you mean `{corrected}`? Use {}", text.expected),
        false => text.suggestion(name),
    }
}

/// The kind for another tool's resource type: `aws_dynamodb_table`, `AWS::Lambda::Permission`, or
/// just `lambda`.
pub fn kind_elsewhere<'k>(kinds: &'k Kinds, word: &str) -> Option<&'k str> {
    let word = word.to_lowercase();
    let schemas = || kinds.schemas();
    let is_of_service = |schema: &&Schema| schema.arn.as_ref().is_some_and(|arn| word.ends_with(&*arn.service));
    let named = schemas().find(|schema| word.contains(&*schema.kind));
    let kind = named.or_else(|| schemas().filter(|it| it.is_indexed()).find(is_of_service));
    kind.map(|schema| &*schema.kind)
}

/// The keys whose values are secret or contain secrets, in any kind: a misspelled `type:` must not
/// show one.
struct SecretKeys<'k> {
    /// The sensitive properties.
    sensitive: BTreeSet<&'k str>,
    /// The properties with sensitive members, each with the members that aren't.
    partly: BTreeMap<&'k str, Vec<&'k str>>,
    /// All of them, with the sensitive members, and with the variables, which any of them can
    /// contain.
    all: BTreeSet<&'k str>,
}

impl<'k> SecretKeys<'k> {
    fn new(kinds: &'k Kinds) -> SecretKeys<'k> {
        let mut keys = SecretKeys { sensitive: BTreeSet::new(), partly: BTreeMap::new(), all: BTreeSet::from([VARS]) };
        for property in kinds.schemas().flat_map(|schema| &schema.properties) {
            let (hidden, shown): (Vec<&Property>, Vec<&Property>) =
                property.members().iter().partition(|member| member.sensitive);
            if property.sensitive {
                keys.sensitive.insert(&property.name);
            } else if !hidden.is_empty() {
                keys.partly.entry(&property.name).or_default().extend(shown.iter().map(|member| &*member.name));
            } else {
                continue;
            }
            keys.all.insert(&property.name);
            keys.all.extend(hidden.iter().map(|member| &*member.name));
        }
        keys
    }
}

/// Spans that may contain secrets: values of sensitive properties, variables (which these can use),
/// and values of unknown keys, since such a key may be one of these, misspelled.
pub(super) fn sensitive(kinds: &Kinds, root: &Node) -> Vec<Span> {
    let secret = SecretKeys::new(kinds);
    let mut spans = Vec::new();
    for entry in entries(root) {
        match entry.key.as_str() {
            "resources" => {
                // An entry that is no mapping may be a variable with the wrong indentation.
                let stray = entries(&entry.value).iter().filter(|it| !matches!(it.value.value, Yaml::Map(_)));
                spans.extend(stray.map(|it| it.value.span));
                for resource in entries(&entry.value) {
                    sensitive_in(kinds, &secret, None, &resource.value, &mut spans);
                }
            }
            VARS => each_value(&entry.value, &mut spans),
            "stages" => {
                for stage in entries(&entry.value) {
                    let header = |it: &&Entry| ["account", "region"].contains(&&*it.key);
                    spans.extend(entries(&stage.value).iter().filter(|it| !header(it)).map(|it| it.value.span));
                    if !matches!(stage.value.value, Yaml::Map(_)) {
                        spans.push(stage.value.span);
                    }
                }
            }
            "defaults" => {
                for of_type in entries(&entry.value) {
                    sensitive_in(kinds, &secret, Some(&of_type.key), &of_type.value, &mut spans);
                    if !matches!(of_type.value.value, Yaml::Map(_)) {
                        spans.push(of_type.value.span);
                    }
                }
            }
            key if keys_of(&TOP).contains(&key) || is_harmless_typo(entry, &keys_of(&TOP), &secret) => {}
            _ => spans.push(entry.value.span),
        }
    }
    spans
}

/// The same for one resource.
fn sensitive_in(
    kinds: &Kinds,
    secret: &SecretKeys<'_>,
    type_name: Option<&str>,
    resource: &Node,
    spans: &mut Vec<Span>,
) {
    let is_known =
        |key: &str| keys_of(&META).contains(&key) || kinds.schemas().any(|schema| schema.property(key).is_some());
    let properties = properties_of(kinds, type_name, resource);
    for entry in entries(resource) {
        let key = entry.key.as_str();
        if secret.sensitive.contains(key) || key == "for_each" && matches!(entry.value.value, Yaml::Map(_)) {
            each_value(&entry.value, spans);
        } else if let Some(shown) = secret.partly.get(key) {
            let hidden = entries(&entry.value)
                .iter()
                .filter(|it| !shown.contains(&it.key.as_str()) && !is_harmless_typo(it, shown, secret));
            spans.extend(hidden.map(|it| it.value.span));
        } else if !is_known(key) && !is_harmless_typo(entry, &properties, secret) {
            spans.push(entry.value.span);
        }
    }
}

fn each_value(node: &Node, spans: &mut Vec<Span>) {
    match &node.value {
        Yaml::Map(entries) => spans.extend(entries.iter().map(|entry| entry.value.span)),
        _ => spans.push(node.span),
    }
}

/// The keys that a resource may have, by this name of its type or its `type:`; empty if that is
/// unknown.
fn properties_of<'k>(kinds: &'k Kinds, type_name: Option<&str>, resource: &Node) -> Vec<&'k str> {
    let word = entries(resource).iter().find(|it| it.key == "type").and_then(|it| match &it.value.value {
        Yaml::String(word) => Some(word.as_str()),
        _ => None,
    });
    let Some(word) = type_name.or(word) else { return Vec::new() };
    let properties = kinds.get(word).map(|kind| kind.schema().settable().map(|it| &*it.name));
    properties.into_iter().flatten().chain(keys_of(&META)).collect()
}

/// Whether an unknown key is a misspelled key whose value can't be secret, like `hashkey` for
/// `hash_key`.
///
/// Uppercase keys look like environment variables with the wrong indentation, and a mapping may
/// contain anything.
fn is_harmless_typo(entry: &Entry, known: &[&str], secret: &SecretKeys<'_>) -> bool {
    fn has_mapping(node: &Node) -> bool {
        match &node.value {
            Yaml::Map(_) => true,
            Yaml::List(items) => items.iter().any(has_mapping),
            _ => false,
        }
    }
    let bare = |text: &str| text.to_ascii_lowercase().replace(['_', '-'], "");
    let key = bare(&entry.key);
    let is_near = |known: &str| {
        let known = bare(known);
        let most = if key.len() < 6 { 1 } else { 2 };
        key.len() <= 100 && strsim::damerau_levenshtein(&key, &known) <= most
    };
    entry.key.contains(|c: char| c.is_ascii_lowercase())
        && !has_mapping(&entry.value)
        && nearest(&entry.key, secret.all.iter().copied()).is_none()
        && known.iter().filter(|it| !secret.all.contains(*it)).any(|it| is_near(it))
}

/// The entries of a mapping; empty for any other value.
fn entries(node: &Node) -> &[Entry] {
    match &node.value {
        Yaml::Map(entries) => entries,
        _ => &[],
    }
}

struct Checker<'a> {
    kinds: &'a Kinds,
    file: &'a Arc<SourceFile>,
    overrides: &'a SpecOverrides,
    depth: Depth,
    dir: &'a FilePath,
    problems: Problems,
    /// The same spec without the values of its lookups.
    before: Option<&'a Spec>,
    /// The valid lookups.
    lookups: BTreeMap<String, Lookup>,
    /// The names of all lookups.
    declared_lookups: BTreeSet<String>,
    /// What uses each lookup that isn't read yet.
    lookup_uses: BTreeMap<String, Vec<LookupUse>>,
    /// What was loaded for each resource.
    loaded: BTreeMap<String, Loaded>,
    locations: Locations,
    references: Vec<Reference<'a>>,
    scope: NameScope,
    untouchable: BTreeSet<String>,
    /// The imported resources whose names are in lookups that aren't read yet.
    unnamed_imports: BTreeMap<String, String>,
    /// Whether the name of an imported resource can't be determined.
    is_anything_barred: bool,
    /// What became of the file's resources.
    structure: Resources,
    /// What a rendered spec needs besides the tree.
    rendering: Rendering,
}

/// Values of `${…}` names.
#[derive(Default)]
struct NameScope {
    team: String,
    region: Option<String>,
    account: Option<String>,
    stage: Option<String>,
    owns: BTreeSet<String>,
}

impl NameScope {
    /// The name in AWS of a resource without `name:`.
    fn default_name(&self, resource: &str) -> String {
        match &self.stage {
            Some(stage) => format!("{}-{stage}-{resource}", self.team),
            None => format!("{}-{resource}", self.team),
        }
    }

    /// The names that the spec's resources can have.
    fn names(&self) -> Names<'_> {
        Names { team: &self.team, owns: &self.owns }
    }
}

/// A reference, resolved once all resources are known.
struct Reference<'a> {
    from: String,
    path: Path,
    span: Span,
    resource: String,
    attribute: String,
    /// Allowed targets, if the reference is the property's whole value.
    fits: Option<&'a [(Str, Str)]>,
    /// Whether its text must be hidden: it may be part of a secret that only looks like a
    /// reference.
    sensitive: bool,
}

/// The context of the property that is being checked.
#[derive(Clone, Copy)]
struct Around<'a> {
    resource: &'a str,
    literal: bool,
    /// Whether lookups are allowed.
    lookups: bool,
    sensitive: bool,
}

impl<'a> Checker<'a> {
    fn file(&mut self, root: &Node, stem: &str) -> Option<Spec> {
        let Yaml::Map(top) = &root.value else {
            let problem = "a spec must be a YAML mapping with `team:` and `resources:`";
            self.error(root.span, problem, "start with `team: your-team`");
            return None;
        };
        self.unknown_top_level(top);
        let find = |key: &str| top.iter().find(|entry| entry.key == key);
        self.lookups(find("lookups"));
        let team = self.team(find("team"), root);
        self.scope.team = team.clone().unwrap_or_else(|| "team".to_owned());
        let region = self.region(find("region"));
        self.scope.region.clone_from(&region);
        let account = find("account").and_then(|entry| self.header(entry, &ACCOUNT));
        self.scope.account.clone_from(&account);
        let stack = self.stack(find("stack"), root, stem);
        let is_shared = self.owns(find("owns"));
        let mut resources = self.resources(find("resources"), root, stack.as_deref().unwrap_or("stack"));
        self.add_implied(&mut resources, stack.as_deref().unwrap_or("stack"));
        let outputs = self.outputs(find("outputs"));
        let folder = self.resolve(&mut resources);
        let graph = match (self.graph(&resources), self.depth) {
            (Some(graph), _) => graph,
            // A cycle prevents creating resources, but not deleting them.
            (None, Depth::Identities) => Graph::new(resources.iter().map(|it| it.declared.name.as_str()), []).ok()?,
            (None, Depth::Full) => return None,
        };
        if self.is_uncertain(find("region"), &region) || self.is_uncertain(find("account"), &account) || is_shared {
            return None;
        }
        Some(Spec {
            kinds: self.kinds.clone(),
            file: Arc::clone(self.file),
            team: team?,
            stack: stack?,
            owns: take(&mut self.scope.owns),
            region,
            account,
            positions: resources.iter().enumerate().map(|(at, draft)| (draft.declared.name.clone(), at)).collect(),
            resources: resources.into_iter().map(|draft| draft.declared).collect(),
            graph,
            outputs,
            stage: self.scope.stage.take(),
            absent: take(&mut self.structure.absent),
            instances: self.structure.take_instances(),
            inputs: BTreeMap::new(),
            lookups: take(&mut self.lookups),
            lookup_uses: take(&mut self.lookup_uses),
            unnamed_imports: take(&mut self.unnamed_imports),
            untouchable: take(&mut self.untouchable),
            warnings: Vec::new(),
            folder,
            loaded: take(&mut self.loaded),
            source: None,
            locations: take(&mut self.locations),
            rendering: Rendering::default(),
        })
    }

    /// Adds what follows from other resources and from local files.
    fn resolve(&mut self, resources: &mut [Draft]) -> SpecFolder {
        self.follow_references(resources);
        self.duplicates(resources);
        let folder = self.folder();
        self.load(resources, &folder);
        self.derive(resources);
        folder
    }

    /// Whether resources can't be identified: an invalid region or account must not fall back to
    /// another one, and an imported resource with an unreadable name must not be treated as managed.
    fn is_uncertain(&self, written: Option<&Entry>, value: &Option<String>) -> bool {
        self.is_anything_barred || (written.is_some() && value.is_none())
    }

    fn unknown_top_level(&mut self, top: &[Entry]) {
        for entry in top.iter().filter(|entry| !keys_of(&TOP).contains(&entry.key.as_str())) {
            if self.is_only_counted() {
                continue;
            }
            let hint = match nearest(&entry.key, keys_of(&TOP)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("use one of {}; resources go under `resources:`", list(keys_of(&TOP))),
            };
            self.error(entry.key_span, format!("unknown top-level key `{}`", entry.key), hint);
        }
    }

    fn region(&mut self, entry: Option<&Entry>) -> Option<String> {
        // Check it even if the command line overrides it: the next run may not.
        let written = entry.and_then(|entry| self.header(entry, &REGION));
        if let (Some(entry), Some(region)) = (entry, written.as_deref().filter(|it| !is_known_region(it))) {
            let around = Around { resource: "", literal: true, lookups: false, sensitive: false };
            self.warn_of_unknown(region, regions(), entry.value.span, "region", around);
        }
        let Some(region) = &self.overrides.region else { return written };
        if REGION.violation(region).is_some() {
            let problem = Advice::from(format!("`{region}` is not a valid region for ")).then(RunOption::Region(None));
            self.push(Diagnostic::error(problem, region_hint(region)));
        } else if !is_known_region(region) {
            let request = RunOption::Region(Some(region.clone()));
            let problem = Advice::from("engine doesn't recognize the region in ").then(request);
            self.push(shape::unknown_value(problem, region, regions()));
        }
        Some(region.clone())
    }

    /// The stack, which is another one for each stage.
    fn stack(&mut self, entry: Option<&Entry>, root: &Node, stem: &str) -> Option<String> {
        let stack = self.stack_of_all(entry, root, stem)?;
        match &self.scope.stage {
            Some(stage) if stack.ends_with(&format!("@{stage}")) => Some(stack),
            Some(stage) => Some(format!("{stack}@{stage}")),
            None => Some(stack),
        }
    }

    fn stack_of_all(&mut self, entry: Option<&Entry>, root: &Node, stem: &str) -> Option<String> {
        if let Some(entry) = entry {
            return self.header(entry, &STACK);
        }
        let Some(objection) = STACK.violation(stem) else { return Some(stem.to_owned()) };
        let problem = format!("the file name can't be used as the stack name: `{stem}` {objection}");
        self.error(root.span, problem, "add `stack: name` to the spec, or rename the file");
        None
    }

    fn team(&mut self, entry: Option<&Entry>, root: &Node) -> Option<String> {
        // Check it even if the command line overrides it: the next run may not.
        let written = entry.map(|entry| self.header(entry, &TEAM));
        match (&self.overrides.team, written) {
            (Some(team), _) => match TEAM.violation(team) {
                None => Some(team.clone()),
                Some(objection) => {
                    let problem = format!("the team name `{team}` {objection}");
                    self.push(Diagnostic::error(problem, name_hint(team, &TEAM)));
                    None
                }
            },
            (None, Some(written)) => written,
            (None, None) => {
                let hint = Advice::from("add `team: your-team` at the top, or pass ").then(RunOption::Team(None));
                self.error(root.span, "the spec has no `team`", hint);
                None
            }
        }
    }

    /// A string at the top of the file, which may contain variables.
    fn header(&mut self, entry: &Entry, text: &Text) -> Option<String> {
        let around = Around { resource: "", literal: true, lookups: false, sensitive: false };
        let value = self.text(&entry.value, &entry.key, around, &Path::property(&entry.key))?;
        self.object(text, &value, entry.value.span, &entry.key, around)?;
        Some(value.as_str()?.to_owned())
    }

    /// Whether a text of the file must be hidden: a variable may contain a secret, wherever it is
    /// used.
    fn hides(&self, span: Span, around: Around<'_>) -> bool {
        around.sensitive || self.file.is_hidden(span) || self.file.text_at_use(span).contains("${var.")
    }

    fn resources(&mut self, entry: Option<&Entry>, root: &Node, stack: &str) -> Vec<Draft> {
        let Some(entry) = entry else {
            self.error(
                root.span,
                "the spec has no `resources`",
                "add `resources:` with at least one resource under it",
            );
            return Vec::new();
        };
        let entries = match &entry.value.value {
            Yaml::Map(entries) => entries,
            Yaml::Null => {
                self.error(entry.key_span, "`resources` is empty", "add a resource under it, or write `resources: {}`");
                return Vec::new();
            }
            _ => {
                self.error(
                    entry.value.span,
                    "`resources` must be a YAML mapping of names to resources",
                    "write each resource as `name:` with its properties under it",
                );
                return Vec::new();
            }
        };
        entries.iter().filter_map(|entry| self.resource(entry, stack)).collect()
    }

    fn resource(&mut self, entry: &Entry, stack: &str) -> Option<Draft> {
        let name = entry.key.as_str();
        let entries = self.resource_entries(entry)?;
        let find = |key: &str| entries.iter().find(|entry| entry.key == key);
        let around = Around { resource: name, literal: true, lookups: false, sensitive: false };
        let Some(kind) = self.kind(find("type"), entry, around) else {
            if let Some(import) = find("import") {
                self.bar(import);
            }
            return None;
        };
        let schema = kind.schema();
        let depends_on = self.depends_on(find("depends_on"), around);
        let imported = find("import").is_some();
        let lifecycle = self.lifecycle(entries, imported, schema, around);
        let owner = Owner { team: self.scope.team.clone(), stack: stack.to_owned(), resource: name.to_owned() };
        let (aws_name, arn) = self.identity(entry, entries, schema, around);
        let mut declared = ResourceDecl {
            name: name.to_owned(),
            kind: Arc::clone(kind),
            id: Id { arn, ..Id::named(owner, aws_name) },
            imported,
            lifecycle,
            desired: Tree::new(),
            explicit: BTreeSet::new(),
            artifact: None,
            build: None,
            implied_by: None,
            reasons: Vec::new(),
        };
        for entry in entries.iter().filter(|entry| !keys_of(&META).contains(&entry.key.as_str())) {
            self.property(&mut declared, schema, entry);
        }
        if let Some(entry) = find("name").filter(|_| imported) {
            let hint = "remove `name:`; `import:` already names the resource";
            self.error(entry.key_span, "`name` and `import` can't be combined", hint);
        }
        if !imported {
            self.warn_of_adopt(entries, schema, &declared);
            self.finish(&mut declared, find("name"), entry.key_span);
        }
        Some(Draft { declared, depends_on })
    }

    /// Completes a managed resource whose own properties are known, and checks it as a whole.
    fn finish(&mut self, declared: &mut ResourceDecl, name: Option<&Entry>, span: Span) {
        let kind = Arc::clone(&declared.kind);
        self.complete(&mut declared.desired, &kind.schema().properties, &declared.explicit, span, &declared.name);
        self.name_suffix(declared, kind.schema(), name, span);
        kind.normalize(&declared.id, &mut declared.desired);
        // Skip follow-up errors about properties whose value is already reported as invalid.
        let mut problems = kind.check(&declared.desired);
        // What remains is checked without the defaults that were skipped.
        while self.drops_unused_defaults(declared, &mut problems) {
            kind.normalize(&declared.id, &mut declared.desired);
            problems = kind.check(&declared.desired);
        }
        problems.retain(|problem| {
            let root = problem.path.root().unwrap_or_default();
            !declared.explicit.contains(root) || declared.desired.contains_key(root)
        });
        self.report(&declared.name, problems);
    }

    /// Drops defaults that a resource can't take, and the problems with them; returns whether there
    /// were any.
    fn drops_unused_defaults(&self, declared: &mut ResourceDecl, problems: &mut Vec<Problem>) -> bool {
        let Some(defaulted) = self.structure.defaulted.get(&declared.name) else { return false };
        let kind = Arc::clone(&declared.kind);
        let explicit = declared.explicit.clone();
        let is_default = |name: &str| defaulted.contains(name) && explicit.contains(name);
        let unused = |problem: &Problem| {
            let mut unused = problem.inapplicable.iter().filter(|it| is_default(&it.property));
            let unused = unused.find(|it| !it.because.as_deref().is_some_and(is_default))?;
            kind.schema().property(&unused.property)
        };
        let n_problems = problems.len();
        problems.retain(|problem| {
            let Some(property) = unused(problem) else { return true };
            let value = match &property.presence {
                Presence::Default(default) => Value::from(default.clone()),
                _ => Value::Null,
            };
            declared.explicit.remove(&*property.name);
            declared.desired.insert(property.name.to_string(), value);
            false
        });
        problems.len() < n_problems
    }

    /// Checks a resource's name in the spec, and returns its entries, with their positions
    /// recorded.
    fn resource_entries<'e>(&mut self, entry: &'e Entry) -> Option<&'e [Entry]> {
        let name = entry.key.as_str();
        self.locations.set(name, Path::default(), entry.key_span);
        if let Some(objection) = RESOURCE.violation(name) {
            self.error(entry.key_span, format!("the resource name `{name}` {objection}"), name_hint(name, &RESOURCE));
        } else if RESERVED_NAMES.contains(&name) {
            let hint = format!("choose another name; these are reserved for `${{…}}`: {}", list(RESERVED_NAMES));
            self.error(entry.key_span, format!("the resource name `{name}` is reserved"), hint);
        }
        let Yaml::Map(entries) = &entry.value.value else {
            self.error(
                entry.key_span,
                format!("the resource `{name}` must be a YAML mapping"),
                "write `type:` and its properties under the name, indented",
            );
            return None;
        };
        for Entry { key, key_span, value } in entries {
            let span = if matches!(value.value, Yaml::Map(_) | Yaml::List(_)) { *key_span } else { value.span };
            self.locations.set(name, Path::property(key), span);
        }
        Some(entries)
    }

    /// A resource's name in AWS, and its ARN if the spec has it.
    fn identity(
        &mut self,
        resource: &Entry,
        entries: &[Entry],
        schema: &Schema,
        around: Around<'_>,
    ) -> (String, Option<String>) {
        let find = |key: &str| entries.iter().find(|entry| entry.key == key);
        if let Some(entry) = find("import") {
            let imported = self.import(entry, schema, around);
            if imported.is_none() {
                self.bar(entry);
            }
            return imported.unwrap_or_default();
        }
        if !schema.managed {
            let hint = format!("add `import: name-of-the-{}`", schema.kind);
            self.error(resource.key_span, format!("engine can't create a {}, only import it", schema.kind), hint);
            return Default::default();
        }
        let key = if let Identity::Nested { key, .. } = &schema.identity { key } else { "name" };
        (self.own_name(find(key), resource, schema, around), None)
    }

    /// Checks one property and adds it to its resource.
    fn property(&mut self, declared: &mut ResourceDecl, schema: &'a Schema, entry: &Entry) {
        let Entry { key, key_span, value } = entry;
        let Some(property) = settable(&schema.properties).find(|property| property.name == *key) else {
            if self.is_only_counted() {
                return;
            }
            let settable = || schema.settable().map(|it| &*it.name);
            // Don't report a misspelled property as missing, too.
            declared.explicit.extend(nearest(key, settable()).map(str::to_owned));
            let meta = keys_of(&META).into_iter().filter(|key| takes(schema, key));
            self.unknown(key, *key_span, &format!("a {}", schema.kind), settable().chain(meta));
            return;
        };
        if declared.imported && !property.verified_on_import {
            let problem = format!("`{key}` can't be set, because `{}` is imported", declared.name);
            let hint = "remove the line; engine reads imported resources and never changes them";
            self.error(*key_span, problem, hint);
            return;
        }
        declared.explicit.insert(key.clone());
        if matches!(&schema.identity, Identity::Nested { key: naming, .. } if naming == key) {
            // Already checked as the name.
            declared.desired.insert(key.clone(), Value::String(declared.id.name.clone()));
            return;
        }
        let around = Around {
            resource: &declared.name,
            literal: property.no_references,
            lookups: property.takes_lookups(),
            sensitive: property.sensitive,
        };
        if let Some(found) = self.value(&property.shape, value, key, around, &Path::property(key)) {
            if let Some(home) = property.locality {
                self.check_localities(home, value, &found);
            }
            self.within_quota(property, &found, value.span);
            declared.desired.insert(key.clone(), found);
        }
    }

    /// Warns of values above AWS's default quota.
    fn within_quota(&mut self, property: &Property, found: &Value, span: Span) {
        let Some(quota) = &property.quota else { return };
        let length = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let (n, is_count) = match found {
            Value::Number(number) => (number.as_i64().unwrap_or_default(), false),
            Value::List(items) => (length(items.len()), true),
            Value::Map(map) => (length(map.len()), true),
            _ => return,
        };
        if n > quota.most {
            let (name, most) = (&property.name, quota.most);
            let problem = match is_count {
                true => format!("`{name}` has {n} entries, above AWS's default limit of {most}"),
                false => format!("`{name}` is {n}, above AWS's default limit of {most}"),
            };
            let hint = format!("use at most {most}, or request a higher quota for this account");
            self.push(Diagnostic::warning(problem, hint).at(self.file.location(span)).why(&*quota.beyond));
        }
    }

    /// Reads a resource's lifecycle settings.
    fn lifecycle(&mut self, entries: &[Entry], imported: bool, schema: &Schema, around: Around<'_>) -> Lifecycle {
        let mut lifecycle = Lifecycle::default();
        for Entry { key, key_span, value } in entries {
            let slot = match key.as_str() {
                "adopt" => &mut lifecycle.adopt,
                "protect" => &mut lifecycle.protect,
                "retain" => &mut lifecycle.retain,
                "ignore_changes" => {
                    lifecycle.ignore_changes = self.ignored(value, schema, around);
                    continue;
                }
                _ => continue,
            };
            *slot = self.bool(value, key, around, &Path::property(key)).unwrap_or_default();
            if imported {
                let problem = format!("`{key}` has no effect, because `{}` is imported", around.resource);
                self.error(*key_span, problem, "remove the line; engine never changes or deletes imported resources");
            } else if key == "retain" && !schema.is_tagged() {
                let problem = format!("a {} can't be retained, because it has no tags", schema.kind);
                self.error(*key_span, problem, "set `retain: true` on the resource that it belongs to");
            }
        }
        if lifecycle.protect && lifecycle.retain {
            let span = entries.iter().find(|entry| entry.key == "retain").map(|entry| entry.key_span);
            if let Some(span) = span {
                let problem = "`protect` and `retain` can't be combined";
                let hint = "keep one: `protect` prevents deletion, `retain` stops managing the resource";
                self.error(span, problem, hint);
            }
        }
        lifecycle
    }

    fn ignored(&mut self, node: &Node, schema: &Schema, around: Around<'_>) -> BTreeSet<String> {
        let Yaml::List(items) = &node.value else {
            let hint = "write `ignore_changes: [read_capacity]`";
            self.error(node.span, "`ignore_changes` must be a list of properties", hint);
            return BTreeSet::new();
        };
        let can = || schema.properties.iter().filter(|it| schema.is_ignorable(it)).map(|it| &*it.name);
        let mut ignored = BTreeSet::new();
        for item in items {
            let Some(path) = self.raw_text(item, "ignore_changes", around) else { continue };
            let (name, rest) = path.split_once('.').map_or((&*path, None), |(name, rest)| (name, Some(rest)));
            let property = schema.properties.iter().find(|it| it.name == name && schema.is_ignorable(it));
            if self.is_only_counted() {
                continue;
            }
            match (property, rest) {
                (None, _) => {
                    let hint = match nearest(name, can()) {
                        Some(near) if schema.property(name).is_none() => format!("did you mean `{near}`?"),
                        _ => format!("use one of {}", list(can())),
                    };
                    self.error(item.span, format!("changes to `{name}` can't be ignored in a {}", schema.kind), hint);
                }
                (Some(property), Some(rest)) => match part_of(name, &property.shape, rest) {
                    Ok(_) => {}
                    Err(Unignorable::Whole(name)) => {
                        let problem = format!("`{path}` is part of `{name}`, which can only be ignored as a whole");
                        self.error(item.span, problem, format!("write `ignore_changes: [{name}]`"));
                    }
                    Err(Unignorable::Unknown { name, known }) => {
                        let hint = match nearest(name, known.iter().copied()) {
                            Some(near) => format!("did you mean `{near}`?"),
                            None => format!("use one of {}", list(known)),
                        };
                        self.error(item.span, format!("`{path}` refers to `{name}`, which doesn't exist"), hint);
                    }
                },
                (Some(_), None) => {}
            }
            ignored.insert(path);
        }
        ignored
    }

    /// Reads `outputs:`, which an apply and `engine output` print.
    fn outputs(&mut self, entry: Option<&Entry>) -> Vec<(String, Value)> {
        let Some(entry) = entry else { return Vec::new() };
        let Yaml::Map(entries) = &entry.value.value else {
            let hint = "write `outputs: { name: ${resource.attribute} }`";
            self.error(entry.value.span, "`outputs` must be a YAML mapping of names to text", hint);
            return Vec::new();
        };
        let mut outputs = Vec::new();
        for Entry { key, key_span, value } in entries {
            if let Some(objection) = RESOURCE.violation(key) {
                self.error(*key_span, format!("the output `{key}` {objection}"), name_hint(key, &RESOURCE));
            }
            let around = Around { resource: "", literal: false, lookups: true, sensitive: false };
            if let Some(value) = self.text(value, key, around, &Path::property("outputs").key(key)) {
                outputs.push((key.clone(), value));
            }
        }
        outputs
    }

    fn kind(&mut self, entry: Option<&Entry>, resource: &Entry, around: Around<'_>) -> Option<&'a Arc<dyn Definition>> {
        let all = self.kinds;
        let kinds = || all.schemas().map(|schema| &*schema.kind);
        let Some(entry) = entry else {
            let hint = format!("add `type:` with one of these: {}", list(kinds()));
            self.error(resource.key_span, format!("`{}` has no `type`", resource.key), hint);
            return None;
        };
        let word = self.raw_text(&entry.value, "type", around)?;
        let kind = all.get(word.as_str());
        if kind.is_none() && !self.is_only_counted() {
            let hint = match nearest(&word, kinds()).or_else(|| kind_elsewhere(all, &word)) {
                Some(near) => format!("did you mean `{near}`? The resource types are {}", list(kinds())),
                None => format!("the resource types are {}", list(kinds())),
            };
            self.error(entry.value.span, format!("unknown resource type `{word}`"), hint);
        }
        kind
    }

    fn depends_on(&mut self, entry: Option<&Entry>, around: Around<'_>) -> Vec<(String, Span)> {
        let Some(entry) = entry else { return Vec::new() };
        let Yaml::List(items) = &entry.value.value else {
            self.error(entry.value.span, "`depends_on` must be a list of resource names", "write `depends_on: [name]`");
            return Vec::new();
        };
        let names = items.iter().filter_map(|item| Some((self.raw_text(item, "depends_on", around)?, item.span)));
        names.collect()
    }

    /// Records the name of an invalid import: the resource still has another owner.
    fn bar(&mut self, import: &Entry) {
        match &import.value.value {
            Yaml::String(text) if !text.contains("${") => {
                let name = if text.starts_with("arn:") { self.kinds.name_in_arn(text) } else { text };
                self.untouchable.insert(name.to_owned());
            }
            _ => self.is_anything_barred = true,
        }
    }

    /// The name and, if given, the ARN of an imported resource.
    fn import(&mut self, entry: &Entry, schema: &Schema, around: Around<'_>) -> Option<(String, Option<String>)> {
        if !schema.importable {
            let hint =
                "remove `import:`; the spec that contains the function always creates its permissions and mappings";
            self.error(entry.key_span, format!("a {} can't be imported", schema.kind), hint);
            return None;
        }
        let late = Around { lookups: true, ..around };
        let value = self.text(&entry.value, "import", late, &Path::property("import"))?;
        let Some(text) = value.as_str() else {
            let lookup = value.unread_lookups().first().map(|name| (*name).to_owned())?;
            self.unnamed_imports.insert(around.resource.to_owned(), lookup);
            return Some((String::new(), None));
        };
        let span = entry.value.span;
        let arn = text.starts_with("arn:").then(|| text.to_owned());
        let name = match (&arn, &schema.arn) {
            (Some(_), Some(form)) => form.name(text),
            (Some(_), None) => None,
            (None, _) => Some(text),
        };
        let Some(name) = name else {
            self.error(
                span,
                format!("`{text}` is not the ARN of a {}", schema.kind),
                format!("write the name or ARN of a {}", schema.kind),
            );
            return None;
        };
        let (Identity::Named { text: rule } | Identity::Nested { text: rule, .. }) = &schema.identity else {
            return None;
        };
        if let Some(objection) = rule.violation(name) {
            let problem = match name {
                "" => format!("`import` doesn't name a {}", schema.kind),
                _ => format!("the {} name `{name}` {objection}", schema.kind),
            };
            self.error(span, problem, rule.suggestion(name));
            return None;
        }
        for home in [Locality::Region, Locality::Account] {
            self.in_locality(home, text, span)?;
        }
        Some((name.to_owned(), arn))
    }

    /// Rejects an ARN from another region or account than the spec's, where both are known.
    fn in_locality(&mut self, home: Locality, arn: &str, span: Span) -> Option<()> {
        let (field, word, wanted) = match home {
            Locality::Region => (3, "region", &self.scope.region),
            Locality::Account => (4, "account", &self.scope.account),
        };
        let (Some(wanted), Some(named)) = (wanted, arn.split(':').nth(field)) else { return Some(()) };
        // Some ARNs have no region or account (`arn:aws:iam::…`).
        if !arn.starts_with("arn:") || named.is_empty() || named == wanted {
            return Some(());
        }
        let problem = format!("this ARN is in {word} `{named}`, but the spec is for {word} `{wanted}`");
        self.error(span, problem, format!("use an ARN in `{wanted}`, or correct `{word}:`"));
        None
    }

    /// The same for every text in a property's value.
    fn check_localities(&mut self, home: Locality, node: &Node, value: &Value) {
        match (value, &node.value) {
            (Value::String(arn), _) => drop(self.in_locality(home, arn, node.span)),
            (Value::List(values), Yaml::List(nodes)) => {
                values.iter().zip(nodes).for_each(|(value, node)| self.check_localities(home, node, value));
            }
            _ => {}
        }
    }

    /// The name in AWS of a managed resource.
    fn own_name(&mut self, entry: Option<&Entry>, resource: &Entry, schema: &Schema, around: Around<'_>) -> String {
        let usual = self.scope.default_name(&resource.key);
        let (name, span) = match (entry, &schema.identity) {
            // The error in the resource's name is already reported.
            (None, _) if RESOURCE.violation(&resource.key).is_some() => return usual,
            (None, _) => (usual, resource.key_span),
            (Some(entry), Identity::Named { .. } | Identity::Nested { .. }) => {
                let Some(value) = self.text(&entry.value, &entry.key, around, &Path::property(&entry.key)) else {
                    return usual;
                };
                let name = value.as_str().unwrap_or_default().to_owned();
                self.warn_of_variable(entry, &resource.key);
                if !self.scope.names().includes(schema.arn.as_ref(), &name) {
                    let diagnostic = self.name_violation(schema, &entry.key, &name);
                    self.push(diagnostic.at(self.file.location(entry.value.span)));
                    return usual;
                }
                (name, entry.value.span)
            }
            (Some(entry), _) => {
                let hint = format!("remove `name:`; engine uses `{usual}`, from the resource's name");
                self.error(entry.key_span, format!("a {} has no `name` property", schema.kind), hint);
                return usual;
            }
        };
        if let Identity::Named { text } | Identity::Nested { text, .. } = &schema.identity
            && let Some(objection) = text.violation(&name)
        {
            let problem = format!("the {} name `{name}` {objection}", schema.kind);
            let key = if let Identity::Nested { key, .. } = &schema.identity { key } else { "name" };
            let hint = format!("rename the resource, or set `{key}:`");
            self.push(
                Diagnostic::error(problem, hint)
                    .at(self.file.location(span))
                    .why(format!("AWS allows {} to {} characters: {}", text.min, text.max, text.expected)),
            );
        }
        name
    }

    /// Appends to a default name what a property requires at its end, and requires it in `name:`.
    fn name_suffix(&mut self, declared: &mut ResourceDecl, schema: &Schema, written: Option<&Entry>, resource: Span) {
        let Identity::Named { text } = &schema.identity else { return };
        let rule = schema.properties.iter().find_map(|it| Some((it, it.name_suffix.as_deref()?)));
        let Some((property, suffix)) = rule else { return };
        // An invalid value is already reported.
        let Some(Value::Bool(is_on)) = declared.desired.get(&*property.name) else { return };
        let (name, property) = (&mut declared.id.name, &property.name);
        let Some(written) = written else {
            if *is_on {
                name.push_str(suffix);
                if let Some(violation) = text.violation(name) {
                    let problem = format!("the {} name `{name}` {violation}", schema.kind);
                    self.error(resource, problem, "rename the resource, or set `name:`");
                }
            }
            return;
        };
        let (problem, hint) = match (is_on, name.ends_with(suffix)) {
            (true, false) => (
                format!("the name `{name}` must end with `{suffix}`, because `{property}` is true"),
                format!("write `name: {name}{suffix}`, or remove `{property}`"),
            ),
            (false, true) => (
                format!("the name `{name}` can't end with `{suffix}`, because `{property}` isn't true"),
                format!("add `{property}: true`, or remove `{suffix}` from the name"),
            ),
            _ => return,
        };
        self.error(written.value.span, problem, hint);
    }

    /// Warns of a name that depends on a variable: another value names another resource in AWS and
    /// orphans this one.
    fn warn_of_variable(&mut self, name: &Entry, resource: &str) {
        if self.scope.stage.is_some() || !self.file.text_at_use(name.value.span).contains("${var.") {
            return;
        }
        let problem = format!("the name of `{resource}` depends on a variable");
        let why = Advice::from("with another value, ")
            .then(CliCommand::Apply { is_local: false })
            .then(" creates another resource and orphans this one");
        let warning = Diagnostic::warning(
            problem,
            "write the full name; for several copies, use one spec per copy, each with its own `stack:`",
        );
        self.push(warning.at(self.file.location(name.value.span)).why(why));
    }

    /// Fills in defaults and reports missing required properties.
    fn complete(
        &mut self,
        tree: &mut Tree,
        properties: &[Property],
        written: &BTreeSet<String>,
        span: Span,
        owner: &str,
    ) {
        for property in properties.iter().filter(|property| !written.contains(&*property.name)) {
            match &property.presence {
                Presence::Required => {
                    let problem = format!("`{owner}` is missing `{}`", property.name);
                    self.error(span, problem, format!("add `{}:` ({})", property.name, property.doc));
                }
                Presence::Default(default) => {
                    drop(tree.insert(property.name.to_string(), Value::from(default.clone())))
                }
                Presence::Optional | Presence::Implied => drop(tree.insert(property.name.to_string(), Value::Null)),
                Presence::Derived => {}
            }
        }
    }

    /// Packs local files, after all checks that don't need them.
    fn load(&mut self, drafts: &mut [Draft], folder: &SpecFolder) {
        if self.depth == Depth::Identities {
            return;
        }
        let mut drafts: Vec<&mut Draft> = drafts.iter_mut().filter(|draft| !draft.declared.imported).collect();
        let loaded = load_all(&drafts, self.before, folder);
        for (draft, loaded) in drafts.iter_mut().zip(loaded) {
            let name = draft.declared.name.clone();
            self.loaded.insert(name.clone(), Loaded { problems: Vec::new(), ..loaded.clone() });
            let problems = draft.declared.set_loaded(loaded);
            self.report(&name, problems);
        }
    }

    /// Where the spec's local files are.
    fn folder(&self) -> SpecFolder {
        let boundary = (!self.overrides.allow_code_outside && self.depth == Depth::Full)
            .then(|| super::files::project(self.dir, self.overrides.current_dir.as_deref()));
        SpecFolder { path: self.dir.to_owned(), boundary, cache: self.overrides.cache.clone() }
    }

    fn report(&mut self, resource: &str, problems: Vec<Problem>) {
        for problem in problems {
            let span = self.locations.get(resource, &problem.path);
            self.push(diagnostic_of(problem, span.map(|span| self.file.location(span))));
        }
    }

    fn error(&mut self, span: Span, problem: impl Into<Advice>, hint: impl Into<Advice>) {
        self.problems.error(span, problem, hint);
    }

    fn push(&mut self, diagnostic: Diagnostic) {
        self.problems.push(diagnostic);
    }

    fn is_only_counted(&mut self) -> bool {
        self.problems.is_only_counted()
    }
}

/// A declaration that is not complete yet.
struct Draft {
    declared: ResourceDecl,
    depends_on: Vec<(String, Span)>,
}

/// Loads the local files of all declarations, in their order: on all processors, since packing a
/// large folder takes seconds.
///
/// What `before` has loaded is not loaded again.
fn load_all(drafts: &[&mut Draft], before: Option<&Spec>, folder: &SpecFolder) -> Vec<Loaded> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut loaded = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(Draft { declared, .. }) = drafts.get(at).map(|it| &**it) else { return loaded };
            let known = before.and_then(|spec| spec.loaded.get(&declared.name)).cloned();
            loaded.push((at, known.unwrap_or_else(|| declared.kind.load(&declared.desired, folder, None))));
        }
    };
    let n_threads = thread::available_parallelism().map_or(1, usize::from).min(drafts.len());
    let mut loaded = thread::scope(|scope| {
        // Parsing code recurses, as deep as on the main thread.
        let start = |_| thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work).ok();
        let others: Vec<_> = (1..n_threads).filter_map(start).collect();
        let mut loaded = work();
        for other in others {
            loaded.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        loaded
    });
    loaded.sort_by_key(|(at, _)| *at);
    loaded.into_iter().map(|(_, loaded)| loaded).collect()
}

/// In bytes.
const STACK_BYTES: usize = 8 << 20;

pub(super) fn list<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    diagnostic::listed(names, MAX_LISTED)
}
