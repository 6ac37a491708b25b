//! Every property of every kind: set, changed, removed, and changed outside engine. The real
//! program does so in the scripted account, which answers as AWS does, and in the local AWS
//! wherever that supports the property.
//!
//! Each row of the tables in `walk/` is one such walk. A property without a row fails, and so does
//! a row without a property.
//!
//! Wherever AWS matches the spec, an export of what is there has to match, too.
//!
//! `cargo test` takes all rows to the scripted AWS, and seeded samples of rows to the local AWS and of
//! states to an export. `ENGINE_WALK=all` takes all, `ENGINE_WALK=function.` all of the rows with this
//! text in their name, and `ENGINE_WALK_SEED=7` the sample of that seed again.

mod function;
mod log_group;
mod mapping;
mod permission;
mod queue;
mod role;
mod stage;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{LazyLock, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use engine::kinds::all;
use engine::schema::{Property, Shape, settable};
use engine::spec::{Depth, Spec, SpecOverrides};
use serde_json::Value as Json;

use crate::e2e::Project;
use crate::scripted::World;
use crate::shared::program::flat;
use stage::{ALIASES, AwsRequest, OTHER_ROLE, Stage};

/// Rows that are walked concurrently: a walk mostly waits.
const AT_ONCE: usize = 8;

/// The role that engine manages.
const RUNNER: &str = "runner";
/// Resources only for their own rows.
const APART: [&str; 2] = ["jobs", RUNNER];

/// The pipeline that every walk begins with: resources with their properties.
const PIPELINE: [(&str, &str); 8] = [
    (
        "todos",
        "type: table
attributes: { id: S, at: N }
hash_key: id
range_key: at
read_capacity: 1
write_capacity: 1
stream_view_type: NEW_AND_OLD_IMAGES",
    ),
    ("execution-role", "type: role\nimport: fhms-pulumi-challenge-lambda-execution-role"),
    (
        "logger",
        "type: function
runtime: nodejs22.x
handler: index.handler
role: ${execution-role.arn}
code: ../one",
    ),
    (
        "logger-permission",
        "type: permission
function: ${logger.arn}
principal: dynamodb.amazonaws.com
source_arn: ${todos.stream_arn}",
    ),
    (
        "todos-to-logger",
        "type: mapping
function: ${logger.arn}
event_source_arn: ${todos.stream_arn}
starting_position: TRIM_HORIZON",
    ),
    // Only for its own rows.
    ("jobs", "type: queue"),
    (RUNNER, "type: role\ntrusted_services: [states.amazonaws.com]"),
    ("logs", "type: log_group\nname: /aws/lambda/blue-owls-logger"),
];

/// The walk of one property. Values are lines of the spec; a property without a value is left out.
#[derive(Clone)]
struct Row {
    kind: &'static str,
    resource: &'static str,
    /// Its path in the registry, like `global_secondary_indexes.range_key`.
    property: &'static str,
    /// The resource's properties in addition to the pipeline's.
    given: &'static str,
    /// Resources in addition to the pipeline.
    beside: &'static str,
    /// Whether the spec has only this resource, without the pipeline.
    isolated: bool,
    set: &'static str,
    changed: &'static str,
    /// Where AWS shows it (a JSON pointer), and the values there once it is set, changed, removed.
    pointer: &'static str,
    seen: [Json; 3],
    /// The values where the local AWS shows another form, which engine has to accept as well.
    seen_locally: Option<[Json; 3]>,
    /// Requests that change it outside engine.
    drift: Vec<AwsRequest>,
    /// A change as a plan shows it: resource, action, and the paths that differ or their parents.
    shown: Vec<ShownChange>,
    /// The same for a removal and for drift, if a plan shows those differently.
    shown_removed: Option<Vec<ShownChange>>,
    shown_drifted: Option<Vec<ShownChange>>,
    removal: Removal,
    /// Part of the reason for its refusal, which `--replace` lifts.
    refused: Option<&'static str>,
    /// Why the change in AWS needs two runs.
    twice: Option<&'static str>,
    /// Why the walk skips the local AWS.
    not_local: Option<&'static str>,
}

type ShownChange = (&'static str, &'static str, Vec<&'static str>);

/// The effect of removing the property from the spec.
#[derive(Clone, Copy, PartialEq)]
enum Removal {
    /// engine restores the documented default.
    Default,
    /// The spec is invalid without it, with this text in the error.
    Error(&'static str),
    /// AWS keeps it: engine never removes tags, and disables a safeguard only by an explicit value.
    Retained,
    /// AWS keeps it, and never lowers it.
    Raised,
    /// The resource isn't managed by engine, and only its owner can change it.
    Unchecked,
}

fn row(kind: &'static str, property: &'static str, set: &'static str, changed: &'static str) -> Row {
    let resource = resource_of(kind);
    let root = property.split('.').next().unwrap();
    Row {
        kind,
        resource,
        property,
        given: "",
        beside: "",
        isolated: false,
        set,
        changed,
        pointer: "",
        seen: [const { Json::Null }; 3],
        seen_locally: None,
        drift: Vec::new(),
        shown: vec![(resource, "update", vec![root])],
        shown_removed: None,
        shown_drifted: None,
        removal: Removal::Default,
        refused: None,
        twice: None,
        not_local: None,
    }
}

impl Row {
    /// Its kind and its property.
    fn name(&self) -> String {
        format!("{}.{}", self.kind, self.property)
    }

    /// Sets where AWS shows it, and the values there once it is set, changed, removed.
    fn seen(mut self, pointer: &'static str, set: Json, changed: Json, removed: Json) -> Row {
        (self.pointer, self.seen) = (pointer, [set, changed, removed]);
        self
    }

    fn seen_locally(self, set: Json, changed: Json, removed: Json) -> Row {
        Row { seen_locally: Some([set, changed, removed]), ..self }
    }

    fn drift(mut self, request: AwsRequest) -> Row {
        self.drift.push(request);
        self
    }

    fn given(self, given: &'static str) -> Row {
        Row { given, ..self }
    }

    fn beside(self, beside: &'static str) -> Row {
        Row { beside, ..self }
    }

    fn isolated(self) -> Row {
        Row { isolated: true, ..self }
    }

    fn shows(self, shown: &[(&'static str, &'static str, &[&'static str])]) -> Row {
        Row { shown: owned(shown), ..self }
    }

    fn removal_shows(self, shown: &[(&'static str, &'static str, &[&'static str])]) -> Row {
        Row { shown_removed: Some(owned(shown)), ..self }
    }

    fn drift_shows(self, shown: &[(&'static str, &'static str, &[&'static str])]) -> Row {
        Row { shown_drifted: Some(owned(shown)), ..self }
    }

    /// The spec is invalid without it.
    fn required(self, error: &'static str) -> Row {
        Row { removal: Removal::Error(error), ..self }
    }

    fn retained(self) -> Row {
        Row { removal: Removal::Retained, ..self }
    }

    fn raised(self) -> Row {
        Row { removal: Removal::Raised, ..self }
    }

    /// engine only compares it with a resource that it doesn't manage.
    fn checked(self, reason: &'static str) -> Row {
        Row { removal: Removal::Unchecked, refused: Some(reason), ..self }
    }

    fn refused(self, reason: &'static str) -> Row {
        Row { refused: Some(reason), ..self }
    }

    fn twice(self, why: &'static str) -> Row {
        Row { twice: Some(why), ..self }
    }

    fn not_local(self, why: &'static str) -> Row {
        Row { not_local: Some(why), ..self }
    }

    /// The spec with these lines merged over the resource's own.
    fn spec(&self, lines: &str) -> String {
        let mut text = "team: blue-owls\nregion: eu-central-1\nresources:\n".to_owned();
        for (resource, properties) in PIPELINE {
            let is_apart = self.isolated || APART.contains(&resource);
            if is_apart && resource != self.resource {
                continue;
            }
            text.push_str(&format!("  {resource}:\n"));
            let mut all: Vec<(&str, &str)> = Vec::new();
            let own = if resource == self.resource { [self.given, lines] } else { ["", ""] };
            for line in properties.lines().chain(own.into_iter().flat_map(str::lines)) {
                let (name, value) = line.split_once(':').unwrap();
                match all.iter_mut().find(|(other, _)| *other == name) {
                    Some(slot) => slot.1 = value,
                    None => all.push((name, value)),
                }
            }
            for (name, value) in all.into_iter().filter(|(_, value)| !value.trim().is_empty()) {
                text.push_str(&format!("    {name}:{value}\n"));
            }
        }
        text.push_str(self.beside);
        // Some specs are invalid on purpose.
        let beside = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../specs/team.yaml");
        if Spec::parse(&engine::kinds::all(), &beside, text.as_bytes(), &SpecOverrides::default(), Depth::Full).is_ok()
        {
            crate::offline::expect_in_schema(&text);
        }
        text
    }
}

fn owned(shown: &[(&'static str, &'static str, &[&'static str])]) -> Vec<ShownChange> {
    shown.iter().map(|(resource, action, paths)| (*resource, *action, paths.to_vec())).collect()
}

fn resource_of(kind: &str) -> &'static str {
    let line = format!("type: {kind}");
    PIPELINE.iter().find(|(_, lines)| lines.starts_with(&line)).unwrap().0
}

fn rows() -> Vec<Row> {
    [
        function::rows(),
        log_group::rows(),
        mapping::rows(),
        permission::rows(),
        queue::rows(),
        role::rows(),
        table::rows(),
    ]
    .concat()
}

// The walk.

/// One row in one account.
struct Walk<'r> {
    row: &'r Row,
    stage: Stage,
    /// The requests that each change took.
    sent: &'r Mutex<Vec<String>>,
}

impl Walk<'_> {
    fn walk(&self) {
        let row = self.row;
        if row.removal == Removal::Unchecked {
            return self.check();
        }
        self.stage.spec(&row.spec(row.set));
        // The scripted account already has the pipeline, so only the property is new; in the local
        // one, a single apply creates everything.
        self.apply();
        self.expect_no_diff("it is set");
        self.expect_seen(0, "it is set");

        self.stage.spec(&row.spec(row.changed));
        self.expect_diff(&row.shown, row.refused, "it is changed");
        self.stage.forget();
        self.apply();
        self.note_sent("changed");
        self.expect_no_diff("it is changed");
        self.expect_seen(1, "it is changed");

        // A property that counts only while the spec declares it has to drift during that time.
        if row.removal != Removal::Default {
            self.drift(1);
        }
        match row.removal {
            Removal::Default => {
                self.stage.spec(&row.spec(""));
                let shown = row.shown_removed.as_ref().unwrap_or(&row.shown);
                self.expect_diff(shown, row.refused, "it is removed");
                self.stage.forget();
                self.apply();
                self.note_sent("removed");
                self.expect_no_diff("it is removed");
                self.expect_seen(2, "it is removed");
                self.drift(2);
            }
            Removal::Error(words) => {
                let name = row.property.rsplit('.').next().unwrap();
                self.stage.spec(&row.spec(&without(row.changed, name)));
                let ran = self.stage.run(&["diff"]);
                assert!(
                    ran.code() == Some(1) && flat(&ran.err).contains(words),
                    "without it: no `{words}` in {ran:#?}"
                );
            }
            // `check` is its walk.
            Removal::Unchecked => {}
            Removal::Raised => {
                for (lines, when) in [("", "it is removed"), (row.set, "it is lowered")] {
                    self.stage.spec(&row.spec(lines));
                    self.expect_no_diff(when);
                    self.expect_seen(2, when);
                }
            }
            Removal::Retained => {
                self.stage.spec(&row.spec(""));
                self.expect_no_diff("it is removed");
                self.expect_seen(2, "it is removed");
                self.stage.spec(&row.spec(row.set));
                self.expect_diff(&row.shown, row.refused, "it is set again");
                self.apply();
                self.expect_no_diff("it is set again");
                self.expect_seen(0, "it is set again");
            }
        }
    }

    /// The walk of a property that engine only compares with a resource that it doesn't manage:
    /// engine refuses a difference and doesn't fix it.
    fn check(&self) {
        let row = self.row;
        let right = |when: &str| {
            self.expect_no_diff(when);
            self.expect_seen(0, when);
        };
        self.stage.spec(&row.spec(row.set));
        self.apply();
        right("it is set");
        self.stage.spec(&row.spec(row.changed));
        self.expect_diff(&row.shown, row.refused, "it is changed");
        assert_eq!(self.stage.run(&["apply", "--yes"]).code(), Some(1));
        self.stage.spec(&row.spec(""));
        right("it is removed");
        self.stage.spec(&row.spec(row.set));
        let [there, back] = &row.drift[..] else { panic!("there and back") };
        self.stage.change_outside(row.kind, there);
        self.expect_diff(row.shown_drifted.as_ref().unwrap_or(&row.shown), row.refused, "it has drifted");
        self.stage.change_outside(row.kind, back);
        right("its drift is taken back");
    }

    /// Changes it outside engine, and expects that an apply reverts that.
    fn drift(&self, seen: usize) {
        let row = self.row;
        assert!(!row.drift.is_empty(), "a row says how its property drifts");
        for request in &row.drift {
            self.stage.change_outside(row.kind, request);
        }
        let shown = row.shown_drifted.as_ref().unwrap_or(&row.shown);
        self.expect_diff(shown, row.refused, "it has drifted");
        self.apply();
        self.expect_no_diff("its drift is mended");
        self.expect_seen(seen, "its drift is mended");
    }

    fn apply(&self) {
        let mut args = vec!["apply", "--yes"];
        if self.row.refused.is_some() && self.stage.run(&["diff"]).code() == Some(1) {
            args.extend(["--replace", self.row.resource]);
        }
        let mut ran = self.stage.run(&args);
        if ran.code() != Some(0) && self.row.twice.is_some() {
            self.stage.pass_cooldowns();
            ran = self.stage.run(&args);
        }
        assert_eq!(ran.code(), Some(0), "apply: {ran:#?}");
        self.stage.pass_cooldowns();
    }

    /// Records the requests that a change took, with their bodies.
    fn note_sent(&self, what: &str) {
        let Row { kind, property, .. } = self.row;
        if let Some(mut sent) = self.stage.sent() {
            // Some requests are concurrent.
            sent.sort();
            self.sent.lock().unwrap().push(format!("{kind}.{property} {what}: {}", sent.join(", ")));
        }
    }

    fn expect_no_diff(&self, when: &str) {
        let ran = self.stage.run(&["diff", "--detailed-exitcode"]);
        assert!(ran.code() == Some(0) && ran.out.contains("No changes."), "{when}, and still differs: {ran:#?}");
        if is_sampled(&format!("export {} {when}", self.row.name()), 16) {
            self.expect_export(when);
        }
    }

    /// Exports everything, and expects that the result matches AWS.
    fn expect_export(&self, when: &str) {
        const SPEC: &str = "specs/exported.yaml";
        let listed = self.stage.run(&["list", "--format", "json"]);
        let listed: Json = serde_json::from_str(&listed.out).unwrap();
        let is_named = |it: &&Json| !["mapping", "permission"].contains(&it["kind"].as_str().unwrap());
        let names: Vec<&str> = listed["resources"]
            .as_array()
            .unwrap()
            .iter()
            .filter(is_named)
            .map(|it| it["name"].as_str().unwrap())
            .collect();
        if names.is_empty() {
            return;
        }
        self.stage.remove(&[SPEC, "lambda-src"]);
        let ran = self.stage.run(&[&["export", "-o", SPEC, "--region", "eu-central-1"][..], &names].concat());
        let text = self.stage.read(SPEC);
        assert_eq!(ran.code(), Some(0), "{when}, and is exported: {ran:#?}\n{text}");
        let ran = self.stage.run(&["diff", SPEC, "--detailed-exitcode"]);
        assert!(
            ran.code() == Some(0) && ran.out.contains("No changes."),
            "{when}, and its export differs: {ran:#?}\n{text}"
        );
    }

    fn expect_seen(&self, step: usize, when: &str) {
        let seen = self.stage.read_resource(self.row.kind);
        let pointer = self.row.pointer.replace("{account}", &self.stage.account);
        let value = seen.pointer(&pointer).cloned().unwrap_or_default();
        let locally = self.row.seen_locally.as_ref().filter(|_| self.stage.is_local());
        let wanted = locally.unwrap_or(&self.row.seen)[step].to_string().replace("{account}", &self.stage.account);
        let wanted: Json = serde_json::from_str(&wanted).unwrap();
        assert_eq!(value, wanted, "{when}, and AWS shows at {pointer}");
    }

    fn expect_diff(&self, shown: &[ShownChange], refused: Option<&str>, when: &str) {
        let ran = self.stage.run(&["diff", "--detailed-exitcode", "--format", "json"]);
        let plan: Json = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{when}: {ran:#?}"));
        assert_eq!(ran.code(), Some(if refused.is_some() { 1 } else { 2 }), "{when}: {ran:#?}");
        let mut left = shown.to_vec();
        for change in plan["changes"].as_array().unwrap() {
            let text = |field: &str| change[field].as_str().unwrap_or_default();
            if ["none", "import"].contains(&text("action")) {
                continue;
            }
            if text("action") == "refused" {
                let reason = flat(text("reason"));
                assert!(refused.is_some_and(|words| reason.contains(words)), "{when}, and is refused: {change:#}");
            }
            let at = left.iter().position(|(name, action, _)| (text("resource"), text("action")) == (*name, *action));
            let at = at.unwrap_or_else(|| panic!("{when}, and this changes, but {shown:?} should: {change:#}"));
            let (_, action, wanted) = left.remove(at);
            // A creation or deletion affects all properties.
            if ["create", "delete"].contains(&action) {
                continue;
            }
            let paths: BTreeSet<&str> =
                change["properties"].as_array().unwrap().iter().map(|it| it["path"].as_str().unwrap()).collect();
            let below = |path: &str, above: &str| {
                path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
            };
            let strange = paths.iter().find(|path| !wanted.iter().any(|above| below(path, above)));
            let missing = wanted.iter().find(|above| !paths.iter().any(|path| below(path, above)));
            assert!((strange, missing) == (None, None), "{when}, and not exactly {wanted:?} differ: {change:#}");
        }
        assert!(left.is_empty(), "{when}, and {left:?} do not change: {:#}", plan["changes"]);
    }
}

/// Removes a property from lines, whether it has its own line or is within one.
fn without(lines: &str, property: &str) -> String {
    let start = format!("{property}:");
    let cut = lines.lines().map(|line| match line.find(&start) {
        Some(0) => start.clone(),
        Some(at) => {
            // Up to the next comma or brace outside of brackets.
            let mut depth = 0;
            let end = line[at..].find(|c: char| {
                depth += i32::from(c == '[') - i32::from(c == ']');
                depth == 0 && (c == ',' || c == '}')
            });
            let rest = line[at + end.unwrap()..].trim_start_matches(',').trim_start();
            let head = line[..at].trim_end();
            let head = if rest.starts_with('}') { head.trim_end_matches(',') } else { head };
            format!("{head} {rest}")
        }
        None => line.to_owned(),
    });
    cut.collect::<Vec<_>>().join("\n")
}

/// Walks all rows, several at a time, and reports all failures.
fn walk_all(pointer: &str, rows: &[Row], stage: impl Fn(usize, &Row) -> Stage + Sync) -> Vec<String> {
    let sent = Mutex::new(Vec::new());
    let left = Mutex::new(rows.iter().enumerate());
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some((at, row)) = left.lock().unwrap().next() else { return };
                    let walk = AssertUnwindSafe(|| Walk { row, stage: stage(at, row), sent: &sent }.walk());
                    if let Err(failure) = catch_unwind(walk) {
                        let text = failure.downcast_ref::<String>().map_or("it panicked", String::as_str).to_owned();
                        failures.lock().unwrap().push(format!("{}.{}: {text}", row.kind, row.property));
                    }
                }
            });
        }
    });
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    rows.iter().for_each(|row| *counts.entry(row.kind).or_default() += 1);
    eprintln!("walked in the {pointer} AWS: {counts:?}, {} in all", rows.len());
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} of {} rows:\n{}", failures.len(), rows.len(), failures.join("\n\n"));
    let mut sent = sent.into_inner().unwrap();
    sent.sort();
    sent
}

/// What is tested.
enum Extent {
    /// A sample with this seed, where it takes long.
    Sample(u64),
    All,
    /// All of the rows whose name contains this text.
    Rows(String),
}

static EXTENT: LazyLock<Extent> = LazyLock::new(|| match std::env::var("ENGINE_WALK") {
    Ok(all) if all == "all" => Extent::All,
    Ok(words) => Extent::Rows(words),
    Err(_) => {
        let given = std::env::var("ENGINE_WALK_SEED").ok();
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let seed = given.map_or_else(now, |seed| seed.parse().expect("ENGINE_WALK_SEED is a number"));
        eprintln!("walk: again with ENGINE_WALK_SEED={seed}");
        Extent::Sample(seed)
    }
});

/// Whether a case is tested: a sample contains about one of every `one_of` cases.
fn is_sampled(case: &str, one_of: usize) -> bool {
    let Extent::Sample(seed) = *EXTENT else { return true };
    let mut hasher = DefaultHasher::new();
    case.hash(&mut hasher);
    fastrand::Rng::with_seed(seed ^ hasher.finish()).usize(..one_of) == 0
}

fn chosen() -> Vec<Row> {
    let mut rows = rows();
    if let Extent::Rows(words) = &*EXTENT {
        rows.retain(|row| row.name().contains(words));
    }
    rows
}

#[test]
fn every_property_passes_its_walk_in_the_scripted_aws() {
    let worlds: Mutex<BTreeMap<String, World>> = Mutex::new(BTreeMap::new());
    let rows = chosen();
    let sent = walk_all("scripted", &rows, |_, row| {
        let spec = row.spec("");
        let known = worlds.lock().unwrap().get(&spec).cloned();
        let world = known.unwrap_or_else(|| {
            let mut world = World::empty();
            world.add_role(OTHER_ROLE, BTreeMap::new());
            world.aliases = ALIASES.to_vec();
            world.index.mappings = true;
            let stage = Stage::scripted(world);
            stage.spec(&spec);
            let ran = stage.run(&["apply"]);
            assert_eq!(ran.code(), Some(0), "the base: {ran:#?}");
            stage.pass_cooldowns();
            let world = stage.world();
            worlds.lock().unwrap().insert(spec, world.clone());
            world
        });
        Stage::scripted(world)
    });
    // A change of one property sends that property, what AWS requires with it, and nothing else.
    if !matches!(*EXTENT, Extent::Rows(_)) {
        insta::assert_snapshot!("sent", sent.join("\n"));
    }
}

#[test]
fn every_property_passes_its_walk_where_the_local_aws_supports_it() {
    let project = Project::new();
    let url = project.endpoint();
    let (mut rows, elsewhere): (Vec<Row>, Vec<Row>) = chosen().into_iter().partition(|row| row.not_local.is_none());
    rows.retain(|row| is_sampled(&format!("local {}", row.name()), 3));
    for row in elsewhere {
        eprintln!("not in the local AWS: {}.{}: {}", row.kind, row.property, row.not_local.unwrap_or_default());
    }
    walk_all("local", &rows, |at, _| Stage::local(&url, format!("{:012}", 700_000_000_000 + at)));
}

/// The paths of all properties that a spec can set.
fn paths(properties: &[Property], above: &str, found: &mut BTreeSet<String>) {
    for property in settable(properties) {
        let path = format!("{above}{}", property.name);
        below(&property.shape, &format!("{path}."), found);
        found.insert(path);
    }
}

fn below(shape: &Shape, above: &str, found: &mut BTreeSet<String>) {
    match shape {
        Shape::Record(properties) | Shape::TextOrRecord(_, properties) => paths(properties, above, found),
        Shape::Map { value: inner, .. } | Shape::List { item: inner, .. } | Shape::Set { item: inner, .. } => {
            below(inner, above, found);
        }
        Shape::OneOf(shapes) => shapes.iter().for_each(|it| below(it, above, found)),
        _ => {}
    }
}

#[test]
fn every_property_has_a_row_and_every_row_a_property() {
    let mut known = BTreeSet::new();
    for it in all().iter() {
        let kind = &it.schema().kind;
        paths(&it.schema().properties, &format!("{kind}."), &mut known);
    }
    // They are the properties of a mapping, which have their own rows.
    known.retain(|path| !path.starts_with("function.events."));
    // A build runs here and sends nothing; `e2e::builds` has its rows.
    known.retain(|path| !path.starts_with("function.build"));
    let rows: BTreeSet<String> = rows().iter().map(Row::name).collect();
    let missing: Vec<_> = known.difference(&rows).collect();
    let strange: Vec<_> = rows.difference(&known).collect();
    assert!(missing.is_empty() && strange.is_empty(), "without a row: {missing:?}; no properties: {strange:?}");
}
