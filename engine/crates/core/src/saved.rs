//! A saved plan: proof that nothing changed since the plan was reviewed.
//!
//! It contains no values, sources or variables, only the path of the spec and digests of everything
//! that the plan was made from. So it can't be executed itself: `apply` reads the spec and AWS
//! again, plans again, and continues only if both plans have the same inputs.
//!
//! Saving: after the plan is shown, `SavedPlan::new(…, Salt::random()?).write(path)`. Applying:
//! read the given file; [`SavedPlan::parse`] distinguishes a saved plan from a spec. Load the spec
//! at `saved.spec` with `saved.flags` and the variables of this command, connect, read and plan as
//! usual, then compare with a second saved plan with the same salt:
//!
//! ```text
//! let now = SavedPlan::new(&spec, &inventory, &plan, saved.flags.clone(), saved.salt.clone());
//! for reason in saved.moved(&now) { /* refuse, with the reason */ }
//! ```
//!
//! **Invariant:** only names from the spec (resources, properties, keys, variables) are stored in
//! plain text. A digest is SHA-256 over a random salt, a label, and the value as canonical JSON.
//! The salt is in the same file, so a reader of the file could guess values and compare: potential
//! secrets (the spec's text, variables, sensitive properties) use a slow hash, and only the owner
//! can read the file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::num::NonZeroU32;

use ring::pbkdf2::{PBKDF2_HMAC_SHA256, derive};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};

use crate::diagnostic::Diagnostic;
use crate::inventory::Inventory;
use crate::plan::{Action, Change, Plan};
use crate::remedy::{Advice, CliCommand, RunOption};
use crate::schema::{Live, Ownership, Property, Rule, Schema, Status};
use crate::spec::{ResourceDecl, Spec, files};
use crate::value::{Part, Tree, Value};

/// The kind of the file.
const KIND: &str = files::SAVED_PLAN;
/// The version of the file format.
const FORMAT_VERSION: u32 = 3;
/// The number of hash iterations for secrets: some milliseconds for each secret, and for each guess
/// of an attacker.
const ROUNDS: NonZeroU32 = NonZeroU32::MIN.saturating_add(9_999);
/// The maximum size of a saved plan in bytes.
pub const MAX_BYTES: usize = 16 << 20;
/// This program's version.
const ENGINE: &str = env!("CARGO_PKG_VERSION");

/// The inputs of a plan, as digests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedPlan {
    /// Always [`KIND`].
    kind: String,
    /// The version of the file format.
    pub format_version: u32,
    /// The version of the program that saved it.
    pub engine: String,
    /// The spec's path as given on the command line.
    pub spec: String,
    /// The team.
    pub team: String,
    /// The stack of the team.
    pub stack: String,
    /// The region.
    pub region: String,
    /// The account, 12 digits.
    pub account: String,
    /// The flags that affect the plan.
    pub flags: Flags,
    /// Makes the digests of two saved plans incomparable.
    pub salt: Salt,
    /// The digest of the text of the spec, and of the files that its values come from.
    spec_text: Digest,
    /// The digest of the names in `owns:`, which may contain variables.
    owns: Digest,
    /// The digest of the value of each variable set on the command line or in the environment, by
    /// name.
    variables: BTreeMap<String, Digest>,
    /// The digest of the value of each lookup that was read, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    lookups: BTreeMap<String, Digest>,
    /// The digest of each function's zip, by resource.
    sources: BTreeMap<String, Digest>,
    /// What was read from AWS, by resource; resources that didn't exist are missing.
    found: BTreeMap<String, ResourceDigest>,
    /// The same for orphans. Their names in AWS may contain variables, so the key is a digest.
    #[serde(rename = "leftovers")]
    orphans: BTreeMap<Digest, SavedOrphan>,
    /// The changes, in the order of the plan.
    rows: Vec<SavedChange>,
}

/// The flags that affect a plan, without variables.
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
    /// All values of `--replace`.
    pub replace: BTreeSet<String>,
    /// All values of `--target`.
    pub target: BTreeSet<String>,
    /// `--team`.
    pub team: Option<String>,
    /// `--region`.
    pub region: Option<String>,
    /// `--stage`.
    #[serde(default)]
    pub stage: Option<String>,
}

/// Random text that is part of every digest of a saved plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Salt(String);

/// A salted SHA-256, in hex.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Digest(String);

/// What was read of one resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ResourceDigest {
    owner: Digest,
    condition: Digest,
    #[serde(rename = "incarnation")]
    unique_id: Digest,
    properties: BTreeMap<String, Digest>,
    /// The properties that couldn't be read, which are not compared.
    #[serde(default)]
    unknown: BTreeSet<String>,
    outputs: BTreeMap<String, Digest>,
}

/// An orphan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedOrphan {
    kind: String,
    resource: String,
    facets: ResourceDigest,
}

/// The change of one resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedChange {
    resource: String,
    kind: String,
    action: String,
    /// The properties that change.
    paths: Vec<String>,
    /// The digest of its name in AWS, both sides of every change, and the desired properties.
    digest: Digest,
}

impl Salt {
    /// A new salt: 256 bits from the random seeds of the standard library's hash maps.
    pub fn random() -> Salt {
        let mut text = String::new();
        for round in 0..4_u64 {
            let mut hasher = RandomState::new().build_hasher();
            hasher.write_u64(round);
            let _ = write!(text, "{:016x}", hasher.finish());
        }
        Salt(text)
    }

    /// The digest of `value`. The same value has different digests for different labels.
    fn digest(&self, label: &[&str], value: &Json) -> Digest {
        Digest(hex(&Sha256::digest(json!([self.0, label, value]).to_string())))
    }

    /// The digest of a potential secret: each guess requires a slow hash (RFC 8018, PBKDF2).
    fn slow_digest(&self, label: &[&str], value: &Json) -> Digest {
        let mut key = [0; 32];
        let salt = json!([self.0, label]).to_string();
        derive(PBKDF2_HMAC_SHA256, ROUNDS, salt.as_bytes(), value.to_string().as_bytes(), &mut key);
        Digest(hex(&key))
    }

    /// The digest of one property; an empty value isn't secret.
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
    /// The inputs of `plan`, with those of `spec`.
    pub fn new(spec: &Spec, inventory: &Inventory, plan: &Plan, flags: Flags, salt: Salt) -> SavedPlan {
        let text = spec.file.texts();
        let variables = spec
            .inputs
            .iter()
            .map(|(name, value)| (name.clone(), salt.slow_digest(&["variable", name], &json!(value))));
        let lookups = inventory.lookups.known.iter().map(|(name, answer)| {
            let value = json!([canonical(&answer.value), answer.is_secret]);
            (name.clone(), salt.slow_digest(&["lookup", name], &value))
        });
        let sources = spec.resources.iter().filter_map(|declared| {
            let hash = declared.desired.get(&*declared.schema().content_hash()?.name)?;
            Some((declared.name.clone(), salt.digest(&["source", &declared.name], &canonical(hash))))
        });
        let found = inventory.found.iter().filter_map(|(name, found)| {
            let live = found.live.as_ref()?;
            let schema = spec.resource(name)?.schema();
            Some((name.clone(), ResourceDigest::new(live, schema, &["found", name], &salt)))
        });
        let orphans = inventory.orphans.iter().filter_map(|orphan| {
            let (live, id) = (orphan.found.live.as_ref()?, &orphan.declared.id);
            let kind = orphan.declared.schema().kind.to_string();
            let key = salt.digest(&["leftover", &kind], &json!([id.name, id.unique_id, id.parents]));
            let facets = ResourceDigest::new(live, orphan.declared.schema(), &["leftover", &key.0], &salt);
            Some((key, SavedOrphan { kind, resource: orphan.declared.name.clone(), facets }))
        });
        SavedPlan {
            kind: KIND.to_owned(),
            format_version: FORMAT_VERSION,
            engine: ENGINE.to_owned(),
            spec: spec.file.name().to_owned(),
            team: spec.team.clone(),
            stack: spec.stack.clone(),
            region: inventory.env.region.clone(),
            account: inventory.env.account.clone(),
            flags,
            spec_text: salt.slow_digest(&["spec"], &json!(text)),
            owns: salt.slow_digest(&["owns"], &json!(spec.owns)),
            variables: variables.collect(),
            lookups: lookups.collect(),
            sources: sources.collect(),
            found: found.collect(),
            orphans: orphans.collect(),
            rows: plan.changes.iter().map(|change| SavedChange::new(change, spec, &salt)).collect(),
            salt,
        }
    }

    /// Parses a saved plan; `None` if the file is something else, like a spec.
    ///
    /// # Errors
    /// The saved plan is damaged or from another version of engine.
    pub fn parse(bytes: &[u8]) -> Result<Option<SavedPlan>, Diagnostic> {
        let unusable = |problem: String| {
            let hint =
                Advice::from("save the plan again with ").then(CliCommand::SavePlan).then(", and review it again");
            Diagnostic::error(problem, hint)
        };
        // Not parsed into a tree, which would need many times the memory of an untrusted file.
        #[derive(Deserialize)]
        struct KindField<'b> {
            #[serde(borrow)]
            kind: std::borrow::Cow<'b, str>,
        }
        #[derive(Deserialize)]
        struct Version {
            format_version: u64,
        }
        let Ok(KindField { kind }) = serde_json::from_slice(bytes) else {
            // An incomplete saved plan must not be taken for a spec.
            let start = String::from_utf8_lossy(bytes.get(..200).unwrap_or(bytes)).replace(char::is_whitespace, "");
            let is_half = start.starts_with(&format!(r#"{{"kind":"{}""#, KIND.replace(' ', "")));
            return if is_half { Err(unusable("the saved plan is incomplete".to_owned())) } else { Ok(None) };
        };
        if kind != KIND {
            return Ok(None);
        }
        let version = serde_json::from_slice::<Version>(bytes).ok().map(|it| it.format_version);
        if version != Some(u64::from(FORMAT_VERSION)) {
            return Err(unusable("the plan was saved by another version of engine".to_owned()));
        }
        // serde's message is omitted, because it could quote the file.
        serde_json::from_slice(bytes).map(Some).map_err(|_| unusable("the saved plan is damaged".to_owned()))
    }

    /// The text of its file, which only the owner should be able to read.
    ///
    /// # Errors
    /// A defect: it can't be serialized.
    pub fn to_text(&self) -> serde_json::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// The lookups whose values have changed.
    fn moved_lookups(&self, now: &SavedPlan, moved: &mut Vec<Advice>) {
        for name in differing(&self.lookups, &now.lookups) {
            moved.push(match (self.lookups.get(name), now.lookups.get(name)) {
                (Some(_), Some(_)) => format!("the value of `lookups.{name}` has changed").into(),
                (Some(_), None) => format!("`lookups.{name}` was not read again").into(),
                (None, _) => format!("`lookups.{name}` was not read when the plan was saved").into(),
            });
        }
    }

    /// Everything that changed since this was saved, one sentence each; empty if the plan can be
    /// applied. `now` must have the same salt.
    pub fn moved(&self, now: &SavedPlan) -> Vec<Advice> {
        let mut moved: Vec<Advice> = Vec::new();
        if self.engine != now.engine {
            let (then, now) = (&self.engine, &now.engine);
            moved.push(format!("the plan was saved by engine {then}, but this is engine {now}").into());
        }
        let who = [
            ("team", &self.team, &now.team),
            ("stack", &self.stack, &now.stack),
            ("region", &self.region, &now.region),
            ("account", &self.account, &now.account),
        ];
        for (what, then, now) in who.into_iter().filter(|(_, then, now)| then != now) {
            moved.push(format!("the plan was saved for {what} `{then}`, but this is {what} `{now}`").into());
        }
        let flags = self.flags.differing(&now.flags);
        moved.extend(flags.map(|flag| Advice::from(flag).then(" has changed since the plan was saved")));
        if self.spec_text != now.spec_text {
            moved.push(format!("the spec `{}` has changed since the plan was saved", self.spec).into());
        }
        if self.owns != now.owns {
            moved.push("the names in `owns` have changed since the plan was saved".into());
        }
        for name in differing(&self.variables, &now.variables) {
            let change = match self.variables.get(name) {
                Some(_) => format!("the variable `{name}` has another value or isn't set"),
                None => format!("the variable `{name}` wasn't set when the plan was saved"),
            };
            moved.push(change.into());
        }
        self.moved_lookups(now, &mut moved);
        moved.extend(
            // Added and removed functions are reported as a change of the spec.
            differing(&self.sources, &now.sources)
                .filter(|name| self.sources.contains_key(*name) && now.sources.contains_key(*name))
                .map(|name| format!("the source of `{name}` has changed").into()),
        );
        for name in differing(&self.found, &now.found) {
            changed(&format!("`{name}`"), self.found.get(name), now.found.get(name), &mut moved);
        }
        for key in differing(&self.orphans, &now.orphans) {
            let (then, now) = (self.orphans.get(key), now.orphans.get(key));
            let Some(it) = then.or(now) else { continue };
            let what = format!("the {} of `{}`, which isn't in the spec,", it.kind, it.resource);
            changed(&what, then.map(|it| &it.facets), now.map(|it| &it.facets), &mut moved);
        }
        if moved.is_empty() {
            // Every difference above may change the plan, so it is reported only alone.
            let of = |plan: &SavedPlan| plan.rows.iter().cloned().enumerate().collect::<BTreeMap<usize, SavedChange>>();
            let (then, now) = (of(self), of(now));
            moved.extend(differing(&then, &now).filter_map(|at| {
                let row = then.get(at).or(now.get(at))?;
                Some(format!("the plan for `{}` has changed", row.resource).into())
            }));
        }
        moved
    }
}

impl Flags {
    fn differing(&self, other: &Flags) -> impl Iterator<Item = RunOption> {
        let flags = [
            (RunOption::Destroy, self.destroy != other.destroy),
            (RunOption::Local, self.local != other.local),
            (RunOption::AssumeOwner, self.assume_owner != other.assume_owner),
            (RunOption::SearchByName, self.prune_scan != other.prune_scan),
            (RunOption::Replace, self.replace != other.replace),
            (RunOption::Targets, self.target != other.target),
            (RunOption::Team(None), self.team != other.team),
            (RunOption::Region(None), self.region != other.region),
            (RunOption::Stage(None), self.stage != other.stage),
        ];
        flags.into_iter().filter_map(|(flag, differs)| differs.then_some(flag))
    }
}

impl ResourceDigest {
    fn new(live: &Live, schema: &Schema, label: &[&str], salt: &Salt) -> ResourceDigest {
        let digest = |what: &[&str], value: &Json| salt.digest(&[label, what].concat(), value);
        let properties = live.props.iter().map(|(name, value)| {
            let label = [label, &["property", name]].concat();
            (name.clone(), salt.property(&label, &canonical(value), is_sensitive(schema, name)))
        });
        let outputs = live.outputs.iter().map(|(name, value)| (name.clone(), digest(&["output", name], &json!(value))));
        ResourceDigest {
            owner: digest(&["owner"], &owner(&live.owner)),
            condition: digest(&["condition"], &condition(&live.status)),
            unique_id: digest(&["incarnation"], &json!(live.unique_id)),
            properties: properties.collect(),
            unknown: live.unknown.keys().map(ToString::to_string).collect(),
            outputs: outputs.collect(),
        }
    }
}

/// How the reads of one resource differ.
fn changed(what: &str, then: Option<&ResourceDigest>, now: Option<&ResourceDigest>, moved: &mut Vec<Advice>) {
    let (then, now) = match (then, now) {
        (Some(then), Some(now)) => (then, now),
        (None, Some(_)) => return moved.push(format!("{what} did not exist and now does").into()),
        (Some(_), None) => return moved.push(format!("{what} existed and no longer does").into()),
        (None, None) => return,
    };
    if then.unique_id != now.unique_id {
        // All other differences are a consequence.
        return moved.push(format!("{what} was deleted and re-created").into());
    }
    if then.owner != now.owner {
        moved.push(format!("in AWS, the owner of {what} has changed").into());
    }
    if then.condition != now.condition {
        moved.push(format!("in AWS, the state of {what} has changed").into());
    }
    let is_known = |name: &&String| !then.unknown.contains(*name) && !now.unknown.contains(*name);
    let properties = differing(&then.properties, &now.properties).filter(is_known);
    for name in properties.chain(differing(&then.outputs, &now.outputs)) {
        moved.push(format!("in AWS, `{name}` of {what} has changed").into());
    }
}

/// The keys whose values differ in two maps.
fn differing<'m, K: Ord, V: PartialEq>(a: &'m BTreeMap<K, V>, b: &'m BTreeMap<K, V>) -> impl Iterator<Item = &'m K> {
    let keys: BTreeSet<&K> = a.keys().chain(b.keys()).collect();
    keys.into_iter().filter(|key| a.get(key) != b.get(key))
}

impl SavedChange {
    fn new(change: &Change, spec: &Spec, salt: &Salt) -> SavedChange {
        let kind = change.kind.to_string();
        let schema = spec.resource(&change.resource).map(ResourceDecl::schema);
        let is_sensitive = |name: &str| schema.is_some_and(|schema| is_sensitive(schema, name));
        let label = |name: &str| ["row".to_owned(), change.resource.clone(), name.to_owned()];
        let digest = |name: &str, value: Json| {
            let label = label(name);
            // The path of a source is no secret, but the source itself may contain one.
            let property = schema.and_then(|schema| schema.property(name));
            let is_path = value.is_string() && property.is_some_and(Property::has_sensitive_members);
            salt.property(&label.each_ref().map(String::as_str), &value, is_sensitive(name) && !is_path)
        };
        let desired = change.desired.iter().map(|(name, value)| json!([name, digest(name, canonical(value)).0]));
        let values = change.properties.iter().map(|property| {
            let effect = format!("{:?}", property.effect);
            let both = |value: &Value| match property.sensitive {
                // Both sides are part of the digests of the live and desired values.
                true => Json::Null,
                false => canonical(value),
            };
            json!([property.path.to_string(), both(&property.before), both(&property.after), effect])
        });
        let digested = json!([change.name, desired.collect::<Vec<_>>(), values.collect::<Vec<_>>()]);
        SavedChange {
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
    schema.property(name).is_some_and(|property| property.sensitive || property.change == Rule::WriteOnly)
}

fn action(action: Action) -> String {
    format!("{action:?}").to_lowercase()
}

fn owner(owner: &Ownership) -> Json {
    match owner {
        Ownership::Unowned => json!("nobody"),
        Ownership::Engine(owner) => json!({ "engine": owner }),
        Ownership::OtherRegion(owner, region) => json!({ "engine": owner, "region": region }),
        Ownership::CloudFormation(stack) => json!({ "cloudformation": stack }),
        Ownership::Inherited => json!("inherited"),
        // The reason is a message for people and doesn't identify the owner.
        Ownership::NotYetReadable(_) => json!("not yet readable"),
        Ownership::Denied => json!("denied"),
        Ownership::Untaggable => json!("untaggable"),
    }
}

fn condition(condition: &Status) -> Json {
    match condition {
        // A transition ends without engine; its result is part of the properties.
        Status::Stable | Status::InTransition(_) | Status::Unreadable(_) => json!("settled"),
        Status::Deleting => json!("leaving"),
        Status::Failed(reason) => json!(["broken", reason]),
        Status::Unusable(word) => json!(["unusable", word]),
    }
}

/// A value as unambiguous JSON: different values have different JSON.
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
                Part::Placeholder(placeholder) => json!({ "hole": placeholder.to_string() }),
            });
            Json::Array(std::iter::once(json!("template")).chain(parts).collect())
        }
        value => Json::from(value),
    }
}

fn tree(tree: &Tree) -> Json {
    Json::Object(tree.iter().map(|(key, value)| (key.clone(), canonical(value))).collect())
}
