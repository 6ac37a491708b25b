//! A resource type that is only data, read from `tests/kinds/archive.yaml`, next to those of AWS:
//! validated, planned, applied to an in-memory world, and discovered by its ARNs. None of its data
//! is `'static`, and the core doesn't know it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use engine::apply::{self, Outcome, StepOutcome};
use engine::cause::Code;
use engine::diagnostic::{self, Style};
use engine::error::AwsError;
use engine::inventory::Inventory;
use engine::kind::{Definition, Kinds, Want};
use engine::live::{self, OrphanSearch};
use engine::plan::{Action, Change, Goal, Options, Plan, plan};
use engine::provider::{Account, Pending, Provider, Providers, Tags};
use engine::render::remedy;
use engine::schema::{
    ArnForm, AwsEnv, DeleteBlock, Disruption, Effect, Id, Identity, Live, Output, OutputOrigin, Outputs, Ownership,
    Property, Reading, Rule, Schema, Shape, Status, Tagging, Text, Timestamps, property,
};
use engine::spec::{Depth, Spec, SpecOverrides};
use engine::value::{Tree, Value};
use engine::wait::limiter::RateLimits;
use engine::wait::{ConnectionParts, Context, Overrides};
use serde::Deserialize;
use serde_json::Value as Json;
use tokio::sync::watch;

use crate::support::Watchdog;

/// A resource type as written in YAML.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KindDocument {
    kind: String,
    summary: String,
    source: String,
    name: NameDocument,
    arn: Arn,
    holds_data: bool,
    locked: LockedDocument,
    deleted: String,
    replaced: String,
    properties: serde_yaml::Mapping,
    outputs: serde_yaml::Mapping,
}

#[derive(Deserialize)]
struct NameDocument {
    min: usize,
    max: usize,
    characters: String,
}

#[derive(Deserialize)]
struct Arn {
    service: String,
    resource: String,
}

#[derive(Deserialize)]
struct LockedDocument {
    property: String,
    reason: String,
    hint: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PropertyDocument {
    doc: String,
    link: Option<BTreeMap<String, String>>,
    integer: Option<(i64, i64)>,
    choice: Option<Vec<String>>,
    text: Option<(usize, usize)>,
    #[serde(rename = "bool", default)]
    _bool: bool,
    #[serde(default)]
    required: bool,
    default: Option<Json>,
    effect: Option<String>,
    refuse: Option<String>,
    loses: Option<String>,
    #[serde(default)]
    sensitive: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OutputDocument {
    doc: String,
    #[serde(default)]
    arn: bool,
    computed: Option<String>,
    until: Option<Vec<String>>,
}

fn properties(document: serde_yaml::Mapping) -> Vec<Property> {
    let read = |(name, value): (serde_yaml::Value, serde_yaml::Value)| {
        let it: PropertyDocument = serde_yaml::from_value(value).unwrap();
        let shape = match it {
            PropertyDocument { link: Some(to), .. } => Shape::link(to, Some(&Text::any(2048))),
            PropertyDocument { integer: Some((min, max)), .. } => Shape::Integer { min, max },
            PropertyDocument { choice: Some(words), .. } => Shape::choice(words),
            PropertyDocument { text: Some((min, max)), .. } => Shape::Text(Text { min, ..Text::any(max) }),
            _ => Shape::Bool,
        };
        let mut property = property(name.as_str().unwrap().to_owned(), shape, it.doc);
        if it.required {
            property = property.required();
        }
        if let Some(default) = it.default {
            property = property.default(default);
        }
        if it.effect.is_some_and(|effect| effect == "replace") {
            property = property.on_change(Effect::Replace);
        }
        if let Some(why) = it.refuse {
            property = property.on_change(Effect::refuse(why));
        }
        if let Some(loss) = it.loses {
            property = property.destructive_notes(move |before, after| {
                let number = |value: &Value| Json::from(value).as_i64().unwrap_or_default();
                let is_lost = number(after) < number(before);
                is_lost.then(|| loss.replace("{after}", &number(after).to_string())).into_iter().collect()
            });
        }
        if it.sensitive { property.sensitive() } else { property }
    };
    document.into_iter().map(read).collect()
}

fn outputs(document: serde_yaml::Mapping) -> Vec<Output> {
    let read = |(name, value): (serde_yaml::Value, serde_yaml::Value)| {
        let (name, it) = (name.as_str().unwrap().to_owned(), serde_yaml::from_value(value).unwrap());
        match it {
            OutputDocument { doc, arn: true, .. } => Output::arn(name, doc),
            OutputDocument { doc, computed: Some(form), .. } => Output::computed(name, doc, move |env, name| {
                form.replace("{name}", name).replace("{region}", &env.region).replace("{account}", &env.account)
            }),
            OutputDocument { doc, until, .. } => Output::assigned(name, doc).until(until.unwrap_or_default()),
        }
    };
    document.into_iter().map(read).collect()
}

impl KindDocument {
    fn schema(self) -> Schema {
        let NameDocument { min, max, characters } = self.name;
        let text =
            Text::new(min..=max, format!("`{characters}`"), move |text| text.chars().all(|c| characters.contains(c)));
        let LockedDocument { property, reason, hint } = self.locked;
        Schema {
            kind: self.kind.into(),
            summary: self.summary.into(),
            remark: "".into(),
            source: self.source.into(),
            identity: Identity::Named { text },
            managed: true,
            importable: true,
            adoptable: false,
            holds_data: self.holds_data,
            retained_on_delete: None,
            disruption: Some(Disruption { deleted: self.deleted.into(), replaced: self.replaced.into() }),
            delete_block: Some(Arc::new(move |props| {
                let lock = || DeleteBlock { reason: reason.clone().into(), hint: hint.clone().into() };
                (props.get(&property) == Some(&Value::Bool(true))).then(lock)
            })),
            recreate_note: None,
            properties: properties(self.properties),
            outputs: outputs(self.outputs),
            arn: Some(ArnForm {
                service: self.arn.service.into(),
                has_region: true,
                has_account: true,
                resource: self.arn.resource.into(),
                has_folders: false,
                requires_prefix: false,
            }),
            tagging: Tagging::Indexed,
        }
    }
}

/// A definition that only has a schema.
struct FromData(Schema);

impl Definition for FromData {
    fn schema(&self) -> &Schema {
        &self.0
    }
}

/// All AWS kinds and the one from the file.
fn kinds() -> Kinds {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kinds/archive.yaml");
    let document: KindDocument = serde_yaml::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let archive: Arc<dyn Definition> = Arc::new(FromData(document.schema()));
    Kinds::new(engine::kinds::all().iter().cloned().chain([archive]))
}

/// What exists, by kind and name.
#[derive(Default)]
struct World {
    entries: BTreeMap<(String, String), Live>,
    serial: u32,
}

type SharedWorld = Arc<Mutex<World>>;

/// Operations that follow the schema, for any kind.
struct InMemory {
    kind: Arc<dyn Definition>,
    world: SharedWorld,
}

impl InMemory {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    fn key(&self, id: &Id) -> (String, String) {
        (self.kind.schema().kind.to_string(), id.name.clone())
    }

    /// Creates or updates the resource. Assigns an output again if a property in its `until`
    /// changes.
    fn put(&self, id: &Id, have: Option<&Live>, want: Tree) -> Result<Outputs, AwsError> {
        if let Some((name, _)) = want.iter().find(|(_, value)| value.has_unknown()) {
            return Err(AwsError::refused(Code::UnexpectedAnswer, "put", &id.name, format!("`{name}` is not known")));
        }
        let schema = self.kind.schema();
        let mut world = self.world();
        world.serial += 1;
        let mut outputs = schema.computed(&env(), &id.name);
        for output in &schema.outputs {
            let OutputOrigin::Assigned { until } = &output.origin else { continue };
            let is_kept = |live: &&Live| until.iter().all(|it| live.props.get(&**it) == want.get(&**it));
            let kept = have.filter(is_kept).and_then(|live| live.outputs.get(&*output.name)).cloned();
            let arn = format!("{}/{}/{}", outputs["arn"], output.name, world.serial);
            outputs.insert(output.name.to_string(), kept.unwrap_or(arn));
        }
        let is_read = |name: &str| schema.property(name).is_some_and(|it| it.change != Rule::WriteOnly);
        let props = want.into_iter().filter(|(name, _)| is_read(name)).collect();
        let live = entry(props, outputs.clone(), Ownership::Engine(id.owner.clone()));
        world.entries.insert(self.key(id), live);
        Ok(outputs)
    }
}

impl Provider for InMemory {
    fn read<'a>(&'a self, _: &'a Context, id: &'a Id) -> Pending<'a, Reading> {
        let live = self.world().entries.get(&self.key(id)).cloned();
        Box::pin(std::future::ready(Ok(live.into())))
    }

    fn create<'a>(&'a self, _: &'a Context, id: &'a Id, want: Want<Tree>) -> Pending<'a, Outputs> {
        Box::pin(std::future::ready(self.put(id, None, want.props)))
    }

    fn update<'a>(&'a self, _: &'a Context, id: &'a Id, have: Live, want: Want<Tree>) -> Pending<'a, Outputs> {
        Box::pin(std::future::ready(self.put(id, Some(&have), want.props)))
    }

    fn wait_ready<'a>(&'a self, _: &'a Context, _: &'a Id, _: &'a Tree, _: &'a Outputs) -> Pending<'a, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn delete<'a>(&'a self, _: &'a Context, id: &'a Id, _: Live) -> Pending<'a, ()> {
        self.world().entries.remove(&self.key(id));
        Box::pin(std::future::ready(Ok(())))
    }
}

fn entry(props: Tree, outputs: Outputs, owner: Ownership) -> Live {
    Live {
        props,
        outputs,
        owner,
        status: Status::Stable,
        unique_id: None,
        revision: None,
        timestamps: Timestamps::default(),
        notes: Vec::new(),
        unknown: Default::default(),
    }
}

fn env() -> AwsEnv {
    AwsEnv::new("eu-central-1", "123456789012")
}

/// An account whose tag index covers the in-memory world.
struct IndexedAccount(SharedWorld);

impl Account for IndexedAccount {
    fn region(&self) -> &str {
        "eu-central-1"
    }

    fn number(&self) -> Pending<'_, String> {
        Box::pin(std::future::ready(Ok(env().account)))
    }

    fn tagged<'a>(&'a self, _: &'a [(&'a str, &'a str)], services: &'a [&'a str]) -> Pending<'a, Vec<(String, Tags)>> {
        let world = self.0.lock().unwrap();
        let tagged = world.entries.values().filter_map(|live| {
            let Ownership::Engine(owner) = &live.owner else { return None };
            let arn = live.outputs["arn"].clone();
            let tags = owner.tags().map(|(key, value)| (key.to_owned(), value.to_owned()));
            services.contains(&arn.split(':').nth(2)?).then_some((arn, tags.into()))
        });
        Box::pin(std::future::ready(Ok(tagged.collect())))
    }

    fn observe_env(&self, _: &AwsEnv) {}

    fn observe(&self, _: &Schema, _: &Id, _: &Live) {}

    fn observe_absence(&self, _: &Schema, _: &Id) {}

    fn observe_import(&self, _: &str, _: &str) {}

    fn observe_created(&self, _: &str) {}
}

struct Stage {
    cx: Context,
    world: SharedWorld,
    _interrupt: watch::Sender<bool>,
    _watchdog: Watchdog,
}

impl Stage {
    /// A world with a role that is not managed by engine.
    fn new() -> Stage {
        let (kinds, world) = (kinds(), SharedWorld::default());
        let role = Outputs::from([("arn".into(), "arn:aws:iam::123456789012:role/runner".into())]);
        let role = entry(Tree::new(), role, Ownership::Unowned);
        world.lock().unwrap().entries.insert(("role".to_owned(), "runner".to_owned()), role);
        let providers = kinds.iter().map(|kind| {
            let provider = InMemory { kind: Arc::clone(kind), world: Arc::clone(&world) };
            (kind.schema().kind.to_string(), Arc::new(provider) as Arc<dyn Provider>)
        });
        let connected = ConnectionParts {
            account: Arc::new(IndexedAccount(Arc::clone(&world))),
            limits: Arc::new(RateLimits::unlimited()),
            secrets: Arc::default(),
            recorder: Arc::default(),
            providers: Providers::new(providers),
            kinds,
        };
        let (interrupt, receiver) = watch::channel(false);
        let cx = Context::new(connected, Overrides::default(), receiver);
        Stage { cx, world, _interrupt: interrupt, _watchdog: Watchdog::start() }
    }

    fn spec(&self, text: &str) -> Result<Spec, String> {
        let overrides = SpecOverrides::default();
        let spec = Spec::parse(&self.cx.kinds, Path::new("main.yaml"), text.as_bytes(), &overrides, Depth::Full);
        spec.map_err(|errors| diagnostic::render(&remedy::worded(&errors), Style::Plain, 120))
    }

    async fn plan(&self, spec: &Spec) -> (Inventory, Plan) {
        let (goal, options) = (Goal::Present, Options::default());
        let inventory = live::read(&self.cx, spec, goal, &options, OrphanSearch::Indexed, None).await.unwrap();
        let plan = plan(spec, &inventory, goal, &options);
        (inventory, plan)
    }

    async fn apply(&self, text: &str) -> Plan {
        let spec = self.spec(text).unwrap();
        let (inventory, plan) = self.plan(&spec).await;
        let Outcome { endings, .. } = apply::apply(&self.cx, &spec, &inventory, &plan, 4, &mut |_| ()).await;
        assert!(endings.iter().all(|ending| matches!(ending, StepOutcome::Done(_))), "{endings:?}");
        let (_, again) = self.plan(&spec).await;
        assert!(!again.has_changes(), "{again:?}");
        plan
    }

    fn live(&self, kind: &str, name: &str) -> Live {
        self.world.lock().unwrap().entries[&(kind.to_owned(), name.to_owned())].clone()
    }
}

const SPEC: &str = "\
team: owls
resources:
  todos:
    type: table
    attributes: { id: S }
    hash_key: id
    billing_mode: PAY_PER_REQUEST
    stream_view_type: NEW_IMAGE
  keep:
    type: archive
    stream: ${todos.stream_arn}
    token: mellon
  runner: { type: role, import: runner }
  logger:
    type: function
    runtime: nodejs22.x
    handler: index.handler
    role: ${runner.arn}
    environment: { ARCHIVE: '${keep.url}', CURSOR: '${keep.cursor}', ARN: '${keep.arn}' }
    code: { inline: 'exports.handler = async () => {};' }
";

fn row<'p>(plan: &'p Plan, resource: &str) -> &'p Change {
    plan.changes.iter().find(|row| row.resource == resource).unwrap()
}

fn actions(plan: &Plan) -> Vec<(&str, Action)> {
    plan.changes.iter().map(|row| (row.resource.as_str(), row.action)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_kind_read_from_a_file_is_planned_and_applied_with_the_aws_kinds() {
    let stage = Stage::new();
    let plan = stage.apply(SPEC).await;
    let created = [("todos", Action::Create), ("keep", Action::Create), ("runner", Action::Import)];
    assert_eq!(actions(&plan), [&created[..], &[("logger", Action::Create)]].concat());
    // References work in both directions: the archive gets the table's output, and the function's
    // variables get the archive's.
    let (todos, keep) = (stage.live("table", "owls-todos"), stage.live("archive", "owls-keep"));
    assert_eq!(keep.props["stream"], Value::String(todos.outputs["stream_arn"].clone()));
    assert_eq!(keep.props["retention_in_days"], Value::Number(30.into()));
    assert_eq!(keep.outputs["arn"], "arn:aws:archiver:eu-central-1:123456789012:archive/owls-keep");
    let Value::Map(variables) = &stage.live("function", "owls-logger").props["environment"] else { panic!("no map") };
    assert_eq!(variables["ARCHIVE"].as_str(), Some("https://owls-keep.eu-central-1.archiver.example.com"));
    assert_eq!(variables["CURSOR"].as_str(), Some(&*keep.outputs["cursor"]));
    // Computed outputs are known in the plan; assigned ones are not.
    let Value::Map(planned) = &row(&plan, "logger").desired["environment"] else { panic!("no map") };
    assert_eq!((planned["ARN"].has_unknown(), planned["CURSOR"].has_unknown()), (false, true));

    // A new stream re-creates the archive, and that changes the cursor in the function.
    let plan = stage.apply(&SPEC.replace("NEW_IMAGE", "KEYS_ONLY")).await;
    let updated = [("todos", Action::Update), ("keep", Action::Replace), ("runner", Action::Import)];
    assert_eq!(actions(&plan), [&updated[..], &[("logger", Action::Update)]].concat());
    assert_eq!(row(&plan, "keep").remarks, ["its records are deleted"]);
    assert!(row(&plan, "keep").needs_approval);
    assert_ne!(stage.live("archive", "owls-keep").outputs["cursor"], keep.outputs["cursor"]);
}

#[tokio::test(start_paused = true)]
async fn the_rules_in_a_file_decide_how_its_resources_change() {
    let stage = Stage::new();
    stage.apply(SPEC).await;
    let with = |line: &str| SPEC.replace("    token: mellon\n", &format!("    token: mellon\n    {line}\n"));
    let shorter = stage.apply(&with("retention_in_days: 7")).await;
    assert_eq!(row(&shorter, "keep").action, Action::Update);
    assert_eq!(row(&shorter, "keep").remarks, ["records older than 7 days are deleted"]);
    let (_, refused) = stage.plan(&stage.spec(&with("format: parquet")).unwrap()).await;
    assert_eq!(row(&refused, "keep").reason, Some("`format` can't change: files can't be converted".into()));

    // As an orphan, it is discovered by its tags and the form of its ARN. The file also defines
    // what blocks its deletion.
    let mut without = with("legal_hold: true");
    stage.apply(&without).await;
    let (from, to) = (without.find("  keep:").unwrap(), without.find("  runner:").unwrap());
    without.replace_range(from..to, "");
    let without = without.replace("'${keep.url}', CURSOR: '${keep.cursor}', ARN: '${keep.arn}'", "none");
    let (_, locked) = stage.plan(&stage.spec(&without).unwrap()).await;
    let row = row(&locked, "keep");
    assert_eq!((row.kind.as_ref(), row.action), ("archive", Action::Refused));
    assert_eq!(row.reason, Some("its legal hold is on".into()));
    let key = ("archive".to_owned(), "owls-keep".to_owned());
    let released = stage.world.lock().unwrap().entries.get_mut(&key).map(|live| {
        live.props.insert("legal_hold".to_owned(), Value::Bool(false));
    });
    assert!(released.is_some());
    stage.apply(&without).await;
    assert!(!stage.world.lock().unwrap().entries.contains_key(&key));
}

#[test]
fn the_schema_in_a_file_validates_values_and_hides_secrets() {
    let stage = Stage::new();
    let errors =
        stage.spec(&SPEC.replace("token: mellon", "token: [mellon]\n    formt: json\n    format: csv")).unwrap_err();
    for text in ["a archive has no property `formt`", "did you mean `format`?", "invalid value `csv` for `format`"] {
        assert!(errors.contains(text), "{text}\n{errors}");
    }
    assert!(errors.contains("`token`") && !errors.contains("mellon"), "{errors}");
    let errors = stage.spec(&SPEC.replace("${todos.stream_arn}", "${todos.arn}")).unwrap_err();
    assert!(errors.contains("use `stream_arn` of a table"), "{errors}");
    let imported =
        "team: owls\nresources:\n  keep: { type: archive, import: 'arn:aws:archiver:r:1:archive/foxes-keep' }\n";
    assert_eq!(stage.spec(imported).unwrap().resources[0].id.name, "foxes-keep");
    let errors = stage.spec(&imported.replace("archiver", "iam")).unwrap_err();
    assert!(errors.contains("is not the ARN of a archive"), "{errors}");
}

#[test]
fn a_parent_of_any_kind_must_be_managed_by_the_spec() {
    let archive = kinds().get("archive").unwrap().schema().clone();
    let reader = Schema {
        kind: "reader".to_owned().into(),
        properties: vec![property("from", Shape::link([("archive", "arn")], None), "").required().parent()],
        ..archive
    };
    let reader: Arc<dyn Definition> = Arc::new(FromData(reader));
    let kinds = Kinds::new(kinds().iter().cloned().chain([reader]));
    let spec = |archive: &str| {
        let text = format!(
            "team: owls\nresources:\n  keep: {{ type: archive, {archive} }}\n  reads: {{ type: reader, from: '${{keep.arn}}' }}\n"
        );
        Spec::parse(&kinds, Path::new("main.yaml"), text.as_bytes(), &SpecOverrides::default(), Depth::Full)
    };
    let managed = spec("stream: 'arn:aws:dynamodb:eu-central-1:1:table/t/stream/1'").unwrap();
    assert_eq!(managed.resource("reads").unwrap().parent(), Some(("archive", "owls-keep")));
    let errors = diagnostic::render(&remedy::worded(&spec("import: foxes-keep").unwrap_err()), Style::Plain, 120);
    assert!(errors.contains("`keep` is imported, so nothing can be attached to it"), "{errors}");
    assert!(errors.contains("refer to a archive that this spec manages"), "{errors}");
}
