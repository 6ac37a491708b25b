//! A saved plan: proof, later, that nothing has moved since somebody looked at a plan.
//!
//! It holds no value, no source and no variable, but where to find the spec, and digests of everything the plan was made
//! from. So it is not carried out itself: whoever applies it reads the spec and AWS again, plans again, and goes on only
//! if both plans were made from the same.
//!
//! Saving: after the plan is shown, `SavedPlan::new(…, Salt::random()?).write(path)`. Applying: read the file that was
//! named; [`SavedPlan::parse`] tells a saved plan from a spec. Load the spec at `saved.spec` with `saved.flags` and the
//! variables of this command, connect, read and plan as ever, then compare with a second one that has the same salt:
//!
//! ```text
//! let now = SavedPlan::new(&spec, &inventory, &plan, &overrides, saved.flags.clone(), saved.salt.clone());
//! for reason in saved.moved(&now) { /* refuse, and say why */ }
//! ```
//!
//! **Invariant:** only names of the spec's own things (resources, properties, keys, variables) are kept as they are. A
//! digest is SHA-256 over a random salt, what is digested, and its value as canonical JSON. The salt is in the same file,
//! so whoever has the file can guess values and compare: what may be secret (the spec's text, variables, sensitive
//! properties) is hashed slowly first, and only the owner may read the file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::num::NonZeroU32;
use std::path::Path as FilePath;

use ring::pbkdf2::{PBKDF2_HMAC_SHA256, derive};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};

use crate::diagnostic::Diagnostic;
use crate::files::{self, Readers, Unread};
use crate::inventory::Inventory;
use crate::plan::{Action, Change, Plan};
use crate::schema::{Condition, Live, Ownership, Rule, Schema};
use crate::spec::{Declared, Overrides, Spec};
use crate::value::{Part, Tree, Value};

/// What the file says it is.
const KIND: &str = files::SAVED_PLAN;
/// The version of the file's form.
const FORMAT_VERSION: u32 = 2;
/// How often a secret is hashed: some milliseconds for each of ours, and for each guess of somebody else's.
const ROUNDS: NonZeroU32 = NonZeroU32::MIN.saturating_add(9_999);
/// More than any saved plan has, in bytes.
pub const MAX_BYTES: usize = 16 << 20;
/// This program's.
const ENGINE: &str = env!("CARGO_PKG_VERSION");

/// What a plan was made from, as digests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedPlan {
    /// Always the same: what this file is.
    kind: String,
    /// The version of the file's form.
    pub format_version: u32,
    /// The version of the program that saved it.
    pub engine: String,
    /// The spec's path, as it was given.
    pub spec: String,
    /// Whose the plan is.
    pub team: String,
    /// Which of the team's stacks it is for.
    pub stack: String,
    /// Where.
    pub region: String,
    /// Twelve digits.
    pub account: String,
    /// What of the command line has shaped it.
    pub flags: Flags,
    /// Makes the digests of two saved plans incomparable.
    pub salt: Salt,
    /// Of the spec's text.
    spec_text: Digest,
    /// Of the value of each variable that the command line or the environment has set, by name.
    variables: BTreeMap<String, Digest>,
    /// Of each function's packed source, by resource.
    sources: BTreeMap<String, Digest>,
    /// What was read from AWS, by resource; what did not exist is missing.
    found: BTreeMap<String, Facets>,
    /// The same of what no declaration means. What it is called in AWS may come from a variable, so it is a digest.
    leftovers: BTreeMap<Digest, Leftover>,
    /// What happens, in the order of the plan.
    rows: Vec<Row>,
}

/// What of the command line shapes a plan, besides variables.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flags {
    /// `--destroy`.
    pub destroy: bool,
    /// `--local`.
    pub local: bool,
    /// `--assume-owner`.
    pub assume_owner: bool,
    /// `--prune-scan`.
    pub prune_scan: bool,
    /// `--replace`, each.
    pub replace: BTreeSet<String>,
    /// `--target`, each.
    pub target: BTreeSet<String>,
    /// `--team`.
    pub team: Option<String>,
    /// `--region`.
    pub region: Option<String>,
}

/// Random text that goes into every digest of a saved plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Salt(String);

/// A salted SHA-256, in hex.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Digest(String);

/// What was read of one resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Facets {
    owner: Digest,
    condition: Digest,
    incarnation: Digest,
    properties: BTreeMap<String, Digest>,
    /// The properties that could not be read, which are not compared.
    #[serde(default)]
    unknown: BTreeSet<String>,
    outputs: BTreeMap<String, Digest>,
}

/// Something that no declaration means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Leftover {
    kind: String,
    resource: String,
    facets: Facets,
}

/// What happens to one resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    resource: String,
    kind: String,
    action: String,
    /// The properties that change.
    paths: Vec<String>,
    /// Of its name in AWS, both sides of every change, and what it takes.
    digest: Digest,
}

impl Salt {
    /// Another one each time: 256 bits out of the seeds that the system gives the standard library's hash maps.
    pub fn random() -> Salt {
        let mut text = String::new();
        for round in 0..4_u64 {
            let mut hasher = RandomState::new().build_hasher();
            hasher.write_u64(round);
            let _ = write!(text, "{:016x}", hasher.finish());
        }
        Salt(text)
    }

    /// The digest of `value`, which is what `label` says. Under another label the same value has another digest.
    fn digest(&self, label: &[&str], value: &Json) -> Digest {
        Digest(hex(&Sha256::digest(json!([self.0, label, value]).to_string())))
    }

    /// The digest of what may be secret: guessing it takes a slow hash for each guess (RFC 8018, PBKDF2).
    fn slow_digest(&self, label: &[&str], value: &Json) -> Digest {
        let mut key = [0; 32];
        let salt = json!([self.0, label]).to_string();
        derive(PBKDF2_HMAC_SHA256, ROUNDS, salt.as_bytes(), value.to_string().as_bytes(), &mut key);
        Digest(hex(&key))
    }

    /// The digest of one property; an empty value gives nothing away.
    fn property(&self, label: &[&str], value: &Json, is_sensitive: bool) -> Digest {
        let is_empty = *value == Json::Null || *value == json!({}) || *value == json!("");
        if is_sensitive && !is_empty { self.slow_digest(label, value) } else { self.digest(label, value) }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

impl SavedPlan {
    /// What `plan` was made from. `overrides` is what `spec` was loaded with.
    pub fn new(
        spec: &Spec,
        inventory: &Inventory,
        plan: &Plan,
        overrides: &Overrides,
        flags: Flags,
        salt: Salt,
    ) -> SavedPlan {
        let text = spec.file.text();
        let set: BTreeMap<&String, &String> = overrides.env.iter().chain(&overrides.vars).collect();
        // The environment may have some for other specs.
        let used = set.into_iter().filter(|(name, _)| text.contains(&format!("var.{name}")));
        let variables = used.map(|(name, value)| (name.clone(), salt.slow_digest(&["variable", name], &json!(value))));
        let sources = spec.resources.iter().filter_map(|declared| {
            let hash = declared.desired.get("code_sha256")?;
            Some((declared.name.clone(), salt.digest(&["source", &declared.name], &canonical(hash))))
        });
        let found = inventory.found.iter().filter_map(|(name, found)| {
            let live = found.live.as_ref()?;
            let schema = spec.resource(name)?.schema();
            Some((name.clone(), Facets::new(live, schema, &["found", name], &salt)))
        });
        let leftovers = inventory.leftovers.iter().filter_map(|leftover| {
            let (live, id) = (leftover.found.live.as_ref()?, &leftover.declared.id);
            let kind = leftover.declared.schema().kind.to_owned();
            let key = salt.digest(&["leftover", &kind], &json!([id.name, id.incarnation, id.anchors]));
            let facets = Facets::new(live, leftover.declared.schema(), &["leftover", &key.0], &salt);
            Some((key, Leftover { kind, resource: leftover.declared.name.clone(), facets }))
        });
        SavedPlan {
            kind: KIND.to_owned(),
            format_version: FORMAT_VERSION,
            engine: ENGINE.to_owned(),
            spec: spec.file.name().to_owned(),
            team: spec.team.clone(),
            stack: spec.stack.clone(),
            region: inventory.site.region.clone(),
            account: inventory.site.account.clone(),
            flags,
            spec_text: salt.slow_digest(&["spec"], &json!(text)),
            variables: variables.collect(),
            sources: sources.collect(),
            found: found.collect(),
            leftovers: leftovers.collect(),
            rows: plan.changes.iter().map(|change| Row::new(change, spec, &salt)).collect(),
            salt,
        }
    }

    /// The saved plan in a file; `None` where the file is something else, a spec for instance.
    ///
    /// # Errors
    /// It is one, but damaged or of another version of this program.
    pub fn parse(bytes: &[u8]) -> Result<Option<SavedPlan>, Diagnostic> {
        let unusable = |problem: String| {
            Diagnostic::error(problem).hint("save the plan again with `engine diff --out FILE`, and look at it again")
        };
        // Not as a tree, which would take many times the room of a file that anybody may have written.
        #[derive(Deserialize)]
        struct Kind<'b> {
            #[serde(borrow)]
            kind: std::borrow::Cow<'b, str>,
        }
        #[derive(Deserialize)]
        struct Version {
            format_version: u64,
        }
        let Ok(Kind { kind }) = serde_json::from_slice(bytes) else {
            // Half of one is none, but no spec either.
            let start = String::from_utf8_lossy(bytes.get(..200).unwrap_or(bytes)).replace(char::is_whitespace, "");
            let is_half = start.starts_with(&format!(r#"{{"kind":"{}""#, KIND.replace(' ', "")));
            return if is_half { Err(unusable("the saved plan is incomplete".to_owned())) } else { Ok(None) };
        };
        if kind != KIND {
            return Ok(None);
        }
        let version = serde_json::from_slice::<Version>(bytes).ok().map(|it| it.format_version);
        if version != Some(u64::from(FORMAT_VERSION)) {
            return Err(unusable("the plan was saved by another version of this program".to_owned()));
        }
        // Its own words could repeat what somebody has put into the file.
        serde_json::from_slice(bytes).map(Some).map_err(|_| unusable("the saved plan is damaged".to_owned()))
    }

    /// Whether one could be written to `path` by now. Nothing is left there.
    ///
    /// # Errors
    /// Something else stands there, or the file can't be written.
    pub fn has_room_at(path: &FilePath) -> Result<(), Diagnostic> {
        let refused = |error: io::Error| Err(unwritable(path, &error));
        match files::read(path, MAX_BYTES) {
            Ok(bytes) if !matches!(SavedPlan::parse(&bytes), Ok(None)) => {}
            Err(Unread::Missing) => {}
            Err(Unread::Refused(error)) => return refused(error),
            Err(Unread::Folder) => return Err(unwritable(path, &"it is a folder")),
            Ok(_) | Err(Unread::Special) => {
                let taken =
                    Diagnostic::error(format!("`{}` is there already, and it is no saved plan", path.display()));
                return Err(taken.why("it would be overwritten").hint("name another file"));
            }
        }
        files::probe(path).or_else(refused)
    }

    /// Writes it to `path`, all or nothing, for its owner's eyes only.
    ///
    /// # Errors
    /// Something else stands there, or the file can't be written.
    pub fn write(&self, path: &FilePath) -> Result<(), Diagnostic> {
        Self::has_room_at(path)?;
        let mut text = serde_json::to_string_pretty(self).map_err(|error| unwritable(path, &error))?;
        text.push('\n');
        files::replace(path, text.as_bytes(), Readers::Owner).map_err(|error| unwritable(path, &error))
    }

    /// What is not as it was when this was saved, a sentence each; nothing, if the plan may be carried out. `now` has to
    /// be made with this one's salt.
    pub fn moved(&self, now: &SavedPlan) -> Vec<String> {
        let mut moved = Vec::new();
        if self.engine != now.engine {
            moved
                .push(format!("the plan was saved by version {} of this program; this is {}", self.engine, now.engine));
        }
        let who = [
            ("team", &self.team, &now.team),
            ("stack", &self.stack, &now.stack),
            ("region", &self.region, &now.region),
            ("account", &self.account, &now.account),
        ];
        for (what, then, now) in who.into_iter().filter(|(_, then, now)| then != now) {
            moved.push(format!("the plan was saved for {what} `{then}`; this is {what} `{now}`"));
        }
        moved
            .extend(self.flags.differing(&now.flags).map(|flag| format!("`{flag}` is not as when the plan was saved")));
        if self.spec_text != now.spec_text {
            moved.push(format!("the spec `{}` has changed since the plan was saved", self.spec));
        }
        for name in differing(&self.variables, &now.variables) {
            moved.push(match (self.variables.get(name), now.variables.get(name)) {
                (Some(_), _) => format!("the variable `{name}` has another value, or was not given"),
                (None, _) => format!("the variable `{name}` was not given when the plan was saved"),
            });
        }
        moved.extend(
            // What was added to the spec, or taken away, is a change of the spec.
            differing(&self.sources, &now.sources)
                .filter(|name| self.sources.contains_key(*name) && now.sources.contains_key(*name))
                .map(|name| format!("the source of `{name}` has changed")),
        );
        for name in differing(&self.found, &now.found) {
            changed(&format!("`{name}`"), self.found.get(name), now.found.get(name), &mut moved);
        }
        for key in differing(&self.leftovers, &now.leftovers) {
            let (then, now) = (self.leftovers.get(key), now.leftovers.get(key));
            let Some(it) = then.or(now) else { continue };
            let what = format!("the {} of `{}`, which is not in the spec,", it.kind, it.resource);
            changed(&what, then.map(|it| &it.facets), now.map(|it| &it.facets), &mut moved);
        }
        if moved.is_empty() {
            // Everything above may have changed it, which is no news.
            let of = |plan: &SavedPlan| plan.rows.iter().cloned().enumerate().collect::<BTreeMap<usize, Row>>();
            let (then, now) = (of(self), of(now));
            moved.extend(differing(&then, &now).filter_map(|at| {
                let row = then.get(at).or(now.get(at))?;
                Some(format!("the plan for `{}` is another one", row.resource))
            }));
        }
        moved
    }
}

impl Flags {
    fn differing(&self, other: &Flags) -> impl Iterator<Item = &'static str> {
        let flags = [
            ("--destroy", self.destroy != other.destroy),
            ("--local", self.local != other.local),
            ("--assume-owner", self.assume_owner != other.assume_owner),
            ("--prune-scan", self.prune_scan != other.prune_scan),
            ("--replace", self.replace != other.replace),
            ("--target", self.target != other.target),
            ("--team", self.team != other.team),
            ("--region", self.region != other.region),
        ];
        flags.into_iter().filter_map(|(flag, differs)| differs.then_some(flag))
    }
}

impl Facets {
    fn new(live: &Live, schema: &Schema, label: &[&str], salt: &Salt) -> Facets {
        let digest = |what: &[&str], value: &Json| salt.digest(&[label, what].concat(), value);
        let properties = live.props.iter().map(|(name, value)| {
            let label = [label, &["property", name]].concat();
            (name.clone(), salt.property(&label, &canonical(value), is_sensitive(schema, name)))
        });
        let outputs = live.outputs.iter().map(|(name, value)| (name.clone(), digest(&["output", name], &json!(value))));
        Facets {
            owner: digest(&["owner"], &owner(&live.owner)),
            condition: digest(&["condition"], &condition(&live.condition)),
            incarnation: digest(&["incarnation"], &json!(live.incarnation)),
            properties: properties.collect(),
            unknown: live.unknown.keys().map(|name| (*name).to_owned()).collect(),
            outputs: outputs.collect(),
        }
    }
}

/// How what was read of one resource differs.
fn changed(what: &str, then: Option<&Facets>, now: Option<&Facets>, moved: &mut Vec<String>) {
    let (then, now) = match (then, now) {
        (Some(then), Some(now)) => (then, now),
        (None, Some(_)) => return moved.push(format!("{what} did not exist and now does")),
        (Some(_), None) => return moved.push(format!("{what} existed and no longer does")),
        (None, None) => return,
    };
    if then.incarnation != now.incarnation {
        // Then whatever else differs is only a consequence.
        return moved.push(format!("{what} was deleted and made anew"));
    }
    if then.owner != now.owner {
        moved.push(format!("in AWS, the owner of {what} has changed"));
    }
    if then.condition != now.condition {
        moved.push(format!("in AWS, the state of {what} has changed"));
    }
    let is_known = |name: &&String| !then.unknown.contains(*name) && !now.unknown.contains(*name);
    let properties = differing(&then.properties, &now.properties).filter(is_known);
    for name in properties.chain(differing(&then.outputs, &now.outputs)) {
        moved.push(format!("in AWS, `{name}` of {what} has changed"));
    }
}

/// The keys under which two maps don't have the same.
fn differing<'m, K: Ord, V: PartialEq>(a: &'m BTreeMap<K, V>, b: &'m BTreeMap<K, V>) -> impl Iterator<Item = &'m K> {
    let keys: BTreeSet<&K> = a.keys().chain(b.keys()).collect();
    keys.into_iter().filter(|key| a.get(key) != b.get(key))
}

impl Row {
    fn new(change: &Change, spec: &Spec, salt: &Salt) -> Row {
        let kind = change.kind.to_owned();
        let schema = spec.resource(&change.resource).map(Declared::schema);
        let is_sensitive = |name: &str| schema.is_some_and(|schema| is_sensitive(schema, name));
        let label = |name: &str| ["row".to_owned(), change.resource.clone(), name.to_owned()];
        let digest = |name: &str, value: Json| {
            let label = label(name);
            // A path to a source is no secret, a source may hold one.
            let is_path = name == "code" && value.is_string();
            salt.property(&label.each_ref().map(String::as_str), &value, is_sensitive(name) && !is_path)
        };
        let desired = change.desired.iter().map(|(name, value)| json!([name, digest(name, canonical(value)).0]));
        let values = change.properties.iter().map(|property| {
            let effect = format!("{:?}", property.effect);
            let both = |value: &Value| match property.sensitive {
                // Both sides are in the digests of what was read and of what is wanted.
                true => Json::Null,
                false => canonical(value),
            };
            json!([property.path.to_string(), both(&property.before), both(&property.after), effect])
        });
        let digested = json!([change.name, desired.collect::<Vec<_>>(), values.collect::<Vec<_>>()]);
        Row {
            resource: change.resource.clone(),
            digest: salt.digest(&["row", &kind, &change.resource], &digested),
            kind,
            action: action(change.action),
            paths: change.properties.iter().map(|property| property.path.to_string()).collect(),
        }
    }
}

/// Whether a property's values are never shown.
fn is_sensitive(schema: &Schema, name: &str) -> bool {
    schema.property(name).is_some_and(|property| property.sensitive || property.change == Rule::Local)
}

fn action(action: Action) -> String {
    format!("{action:?}").to_lowercase()
}

fn owner(owner: &Ownership) -> Json {
    match owner {
        Ownership::Nobody => json!("nobody"),
        Ownership::Engine(owner) => json!({ "engine": owner }),
        Ownership::CloudFormation(stack) => json!({ "cloudformation": stack }),
        Ownership::Inherited => json!("inherited"),
        // Why is told for people, and is none of the owner's.
        Ownership::NotYetReadable(_) => json!("not yet readable"),
        Ownership::Denied => json!("denied"),
        Ownership::Untaggable => json!("untaggable"),
    }
}

fn condition(condition: &Condition) -> Json {
    match condition {
        // What AWS is still working on ends by itself; what it comes to shows in the properties.
        Condition::Settled | Condition::Changing(_) | Condition::Unclear(_) => json!("settled"),
        Condition::Leaving => json!("leaving"),
        Condition::Broken(reason) => json!(["broken", reason]),
        Condition::Unusable(word) => json!(["unusable", word]),
    }
}

/// A value as JSON that says all of it: no two values are the same JSON.
fn canonical(value: &Value) -> Json {
    match value {
        Value::List(items) => {
            let items = items.iter().map(canonical);
            Json::Array(std::iter::once(json!("list")).chain(items).collect())
        }
        Value::Map(map) => tree(map),
        Value::Unknown(template) => {
            let parts = template.0.iter().map(|part| match part {
                Part::Text(text) => json!(text),
                Part::Hole(hole) => json!({ "hole": hole.to_string() }),
            });
            Json::Array(std::iter::once(json!("template")).chain(parts).collect())
        }
        value => Json::from(value),
    }
}

fn tree(tree: &Tree) -> Json {
    Json::Object(tree.iter().map(|(key, value)| (key.clone(), canonical(value))).collect())
}

fn unwritable(path: &FilePath, error: &dyn std::fmt::Display) -> Diagnostic {
    Diagnostic::error(format!("the plan can't be saved as `{}`", path.display()))
        .why(error.to_string())
        .hint("name a file in a folder that you may write to")
}
