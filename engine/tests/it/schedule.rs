//! How a plan is executed: in virtual time, on in-memory resource types that are stricter than AWS.
//! They refuse an unknown value, a second create, a reference to a deleted or unready resource, and
//! the deletion of a resource in use.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use engine::apply::{self, Event, Execution, Outcome, StepOutcome, Times};
use engine::cause::Code;
use engine::error::AwsError;
use engine::inventory::{Found, Inventory};
use engine::kind::{Definition, Kinds, Want};
use engine::plan::{Goal, Op, Options, Plan, StepId, plan};
use engine::provider::{Account, Pending, Provider, Providers, Tags};
use engine::schema::{
    AwsEnv, Effect, Id, Identity, Live, Milestone, Output, Outputs, Owner, Ownership, Reading, Schema, Shape, Status,
    Str, Tagging, Text, Timestamps, property,
};
use engine::spec::{Lifecycle, ResourceDecl, Spec};
use engine::timeline::Timing;
use engine::value::{Part, Placeholder, Template, Tree, Value};
use engine::wait::limiter::{Limit, LimitId, RateLimits};
use engine::wait::{ConnectionParts, Context, Overrides, Wait};
use insta::assert_snapshot;
use proptest::prelude::*;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::support::Watchdog;

fn any_text() -> Text {
    Text::any(100)
}

/// A resource with its own name; `flip` changes its serial in place, as a view type changes a
/// stream.
fn thing() -> Schema {
    let list = || Shape::List { item: Box::new(Shape::Text(any_text())), max: 100 };
    Schema {
        kind: "thing".into(),
        summary: "".into(),
        remark: "".into(),
        source: "".into(),
        identity: Identity::Named { text: any_text() },
        managed: true,
        importable: false,
        adoptable: true,
        recreate_note: None,
        delete_block: None,
        retained_on_delete: None,
        disruption: None,
        arn: None,
        tagging: Tagging::Inherited,
        holds_data: false,
        properties: vec![
            property("size", Shape::Integer { min: 0, max: 9 }, ""),
            property("shape", Shape::Text(any_text()), "").on_change(Effect::Replace),
            property("flip", Shape::Text(any_text()), ""),
            property("uses", list(), ""),
            property("uses_made", list(), "").needs_created(),
        ],
        outputs: vec![
            Output::computed("name", "", |_, name| name.to_owned()),
            Output::assigned("serial", "").until(["flip"]),
        ],
    }
}

/// A resource that connects things and has no name of its own, like a mapping.
fn tie() -> Schema {
    Schema {
        kind: "tie".into(),
        identity: Identity::ServiceAssigned,
        properties: vec![
            property("source", Shape::Text(any_text()), "").identity().on_change(Effect::Replace),
            property("size", Shape::Integer { min: 0, max: 9 }, ""),
        ],
        outputs: vec![Output::assigned("id", "")],
        ..thing()
    }
}

/// A resource that is part of a thing, like a permission in a function's policy. A thing accepts
/// only one write at a time.
fn grant() -> Schema {
    let on = Shape::Link { to: vec![("thing".into(), "serial".into())], literal: None };
    Schema {
        kind: "grant".into(),
        identity: Identity::Nested { key: "label".into(), text: any_text() },
        properties: vec![
            property("on", on, "").parent().on_change(Effect::Replace).needs_created(),
            property("label", Shape::Text(any_text()), ""),
            property("size", Shape::Integer { min: 0, max: 9 }, ""),
            property("shape", Shape::Text(any_text()), "").on_change(Effect::Replace),
        ],
        outputs: Vec::new(),
        ..thing()
    }
}

/// The resource that has a given name in the world.
#[derive(Debug, Clone)]
struct WorldEntry {
    kind: Str,
    props: Tree,
    serial: String,
    unique_id: u64,
    ready_at: Instant,
}

/// The durations of a resource's operations in milliseconds: until a create or update is made, then
/// until it is ready; a delete.
#[derive(Debug, Clone, Copy)]
struct Durations {
    created: u64,
    ready: u64,
    delete: u64,
}

#[derive(Debug, Default)]
struct World {
    entries: BTreeMap<String, WorldEntry>,
    durations: BTreeMap<String, Durations>,
    serial: u64,
    /// The current and the maximum number of running operations.
    working: usize,
    most: usize,
    calls: usize,
    /// The write keys of the running operations.
    writing: BTreeSet<String>,
    /// The calls that fail: before any effect, or with a lost answer.
    faults: BTreeMap<usize, bool>,
    /// The resources whose next write is refused.
    refused: BTreeSet<String>,
    /// The calls that are throttled.
    throttled: BTreeSet<usize>,
    /// The number of reads in an apply, and the reads that are throttled.
    reads: usize,
    throttled_reads: BTreeSet<usize>,
    /// The resources that the next read doesn't find.
    missed: BTreeSet<String>,
    /// The resources of which another run created a duplicate at the same time.
    doubled: BTreeSet<String>,
    /// The resources whose writes wait for the rate limit.
    limited: BTreeSet<String>,
    /// The resource whose create returns a wrong name.
    liar: Option<String>,
    /// Whether any reference prevents a delete; otherwise only a tie that the spec keeps prevents
    /// it.
    strict_deletes: bool,
    declared_ties: BTreeMap<String, String>,
}

type SharedWorld = Arc<Mutex<World>>;

struct Fake {
    schema: Schema,
    world: SharedWorld,
}

fn failure(message: impl Into<Box<str>>) -> AwsError {
    AwsError::refused(Code::UnexpectedAnswer, "fake", "", message)
}

fn throttled() -> AwsError {
    AwsError::own(Code::Throttled, "fake", "", "too many calls")
}

const SENT: Wait =
    Wait { what: "it to be free", reason: "", inspect_cmd: "", limit: None, budget: Duration::from_secs(1000) };

impl Fake {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Waits, changes the world, and loses the answer if the test asks for it; a throttled call is
    /// sent again.
    async fn call<T>(
        &self,
        cx: &Context,
        id: &Id,
        ms: u64,
        change: impl Fn(&mut World) -> Result<T, AwsError>,
    ) -> Result<T, AwsError> {
        let change = &change;
        cx.send(SENT, &id.name, || async move {
            if self.world().limited.contains(&id.name) {
                cx.limits.admit(LimitId(0)).await.map_err(|crowded| failure(crowded.to_string()))?.accepted();
            }
            self.call_once(id, ms, change).await
        })
        .await
    }

    async fn call_once<T>(
        &self,
        id: &Id,
        ms: u64,
        change: impl Fn(&mut World) -> Result<T, AwsError>,
    ) -> Result<T, AwsError> {
        let key = self.write_key(id);
        let fault = {
            let mut world = self.world();
            world.calls += 1;
            let call = world.calls;
            if world.throttled.remove(&call) {
                return Err(throttled());
            }
            world.working += 1;
            world.most = world.most.max(world.working);
            assert!(key.is_none_or(|key| world.writing.insert(key.to_owned())), "{key:?} is written to twice");
            if world.refused.remove(&id.name) { Some(false) } else { world.faults.remove(&call) }
        };
        sleep(Duration::from_millis(ms)).await;
        let mut world = self.world();
        world.working -= 1;
        key.map(|key| world.writing.remove(key));
        match fault {
            Some(false) => Err(failure("refused this once")),
            Some(true) => change(&mut world).and_then(|_| Err(failure("the answer got lost"))),
            None => change(&mut world),
        }
    }

    async fn ready(&self, cx: &Context, name: &str) -> Result<(), AwsError> {
        let wait = Wait {
            what: "it to be ready",
            reason: "",
            inspect_cmd: "",
            limit: None,
            budget: Duration::from_secs(1000),
        };
        let probe =
            || std::future::ready(Ok(self.world().entries.get(name).is_none_or(WorldEntry::is_ready).then_some(())));
        cx.until(wait, name, probe).await
    }
}

impl WorldEntry {
    fn is_ready(&self) -> bool {
        self.ready_at <= Instant::now()
    }
}

impl World {
    fn durations(&self, name: &str) -> Durations {
        self.durations.get(name).copied().unwrap_or(Durations { created: 100, ready: 0, delete: 100 })
    }

    /// Each reference must lead to an existing resource, and to a ready one if the property needs
    /// it.
    fn check(&self, kind: &str, props: &Tree) -> Result<(), AwsError> {
        for (property, value) in props {
            if value.has_unknown() {
                return Err(failure(format!("`{property}` is not known")));
            }
            for serial in serials(value) {
                let target = self.entries.values().find(|entry| entry.serial == serial);
                let target = target.ok_or_else(|| failure(format!("nothing has the serial {serial}")))?;
                if (kind == "tie" || property == "uses") && !target.is_ready() {
                    return Err(failure(format!("{serial} is not ready")));
                }
            }
        }
        Ok(())
    }
}

/// All texts in a value that name a serial.
fn serials(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) if text.contains('#') => vec![text],
        Value::List(items) => items.iter().flat_map(serials).collect(),
        _ => Vec::new(),
    }
}

impl Definition for Fake {
    fn schema(&self) -> &Schema {
        &self.schema
    }
}

impl Provider for Fake {
    fn write_key<'a>(&self, id: &'a Id) -> Option<&'a str> {
        match &*self.schema.kind {
            "thing" => Some(&id.name),
            _ => id.parents.get("on").map(String::as_str),
        }
    }

    fn untag<'a>(&'a self, _: &'a Context, _: &'a Id, _: Live) -> Pending<'a, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn read<'a>(&'a self, _: &'a Context, id: &'a Id) -> Pending<'a, Reading> {
        let mut world = self.world();
        world.reads += 1;
        let read = world.reads;
        if world.throttled_reads.remove(&read) {
            return Box::pin(std::future::ready(Err(throttled())));
        }
        let entry = world.entries.get(&id.name).cloned();
        let live = entry.map(|entry| Live {
            props: entry.props.clone(),
            outputs: entry.outputs(&id.name),
            owner: Ownership::Engine(id.owner.clone()),
            status: if entry.is_ready() { Status::Stable } else { Status::InTransition("UPDATING".into()) },
            unique_id: Some(entry.unique_id.to_string()),
            revision: None,
            timestamps: Timestamps::default(),
            notes: Vec::new(),
            unknown: Default::default(),
        });
        let live = live.filter(|_| !world.missed.remove(&id.name));
        let mut reading = Reading::from(live);
        if let Some(live) = reading.live.clone().filter(|_| world.doubled.contains(&id.name)) {
            let unique_id = Some("another".to_owned());
            let outputs = Outputs::from([("id".to_owned(), "another".to_owned())]);
            let twin = Live { unique_id: unique_id.clone(), outputs, ..live };
            reading.others.push((Id { unique_id, ..id.clone() }, twin));
        }
        Box::pin(std::future::ready(Ok(reading)))
    }

    fn create<'a>(&'a self, cx: &'a Context, id: &'a Id, want: Want<Tree>) -> Pending<'a, Outputs> {
        Box::pin(async move {
            let (durations, kind) = (self.world().durations(&id.name), self.schema.kind.clone());
            self.world().check(&kind, &want.props)?;
            self.call(cx, id, durations.created, |world| {
                world.check(&kind, &want.props)?;
                if world.entries.contains_key(&id.name) {
                    return Err(failure(format!("{} exists already", id.name)));
                }
                world.serial += 1;
                let entry = WorldEntry {
                    kind: kind.clone(),
                    props: want.props.clone(),
                    serial: format!("{}#{}", id.name, world.serial),
                    unique_id: world.serial,
                    ready_at: Instant::now() + Duration::from_millis(durations.ready),
                };
                let mut outputs = entry.outputs(&id.name);
                if world.liar.as_ref() == Some(&id.name) {
                    outputs.insert("name".into(), "somebody".into());
                }
                world.entries.insert(id.name.clone(), entry);
                Ok(outputs)
            })
            .await
        })
    }

    fn update<'a>(&'a self, cx: &'a Context, id: &'a Id, _: Live, want: Want<Tree>) -> Pending<'a, Outputs> {
        Box::pin(async move {
            self.ready(cx, &id.name).await?;
            let durations = self.world().durations(&id.name);
            self.call(cx, id, durations.created, |world| {
                world.check(&self.schema.kind, &want.props)?;
                world.serial += 1;
                let serial = world.serial;
                let entry = world.entries.get_mut(&id.name).ok_or_else(|| failure("nothing to update"))?;
                if entry.props.get("shape") != want.props.get("shape") {
                    return Err(failure("a shape can't be changed in place"));
                }
                if entry.props.get("flip") != want.props.get("flip") {
                    entry.serial = format!("{}#{serial}", id.name);
                }
                entry.props = want.props.clone();
                entry.ready_at = Instant::now() + Duration::from_millis(durations.ready);
                Ok(entry.outputs(&id.name))
            })
            .await
        })
    }

    fn wait_ready<'a>(&'a self, cx: &'a Context, id: &'a Id, want: &'a Tree, _: &'a Outputs) -> Pending<'a, ()> {
        assert!(!want.values().any(Value::has_unknown));
        Box::pin(self.ready(cx, &id.name))
    }

    fn delete<'a>(&'a self, cx: &'a Context, id: &'a Id, _: Live) -> Pending<'a, ()> {
        Box::pin(async move {
            self.ready(cx, &id.name).await?;
            let durations = self.world().durations(&id.name);
            self.call(cx, id, durations.delete, |world| {
                let Some(entry) = world.entries.get(&id.name) else { return Ok(()) };
                let user = world.entries.iter().find(|(name, other)| {
                    let mut used = other.props.values().flat_map(serials);
                    let kept = world.declared_ties.get(name.as_str()) == Some(&id.name);
                    (kept || world.strict_deletes) && used.any(|serial| *serial == entry.serial)
                });
                if let Some((user, _)) = user {
                    return Err(failure(format!("{} is in use by {user}", id.name)));
                }
                world.entries.remove(&id.name);
                Ok(())
            })
            .await
        })
    }
}

impl WorldEntry {
    fn outputs(&self, name: &str) -> Outputs {
        let serial = || self.serial.clone();
        match &*self.kind {
            "thing" => [("name".to_owned(), name.to_owned()), ("serial".to_owned(), serial())].into(),
            "tie" => [("id".to_owned(), serial())].into(),
            _ => Outputs::new(),
        }
    }
}

/// One resource of a spec in this world. Its references lead to earlier nodes, by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ResourceNode {
    name: String,
    /// The thing that it ties, or is part of; a node with neither is a thing itself.
    ties: Option<String>,
    on: Option<String>,
    size: u32,
    shape: u32,
    flip: u32,
    uses: Vec<String>,
    uses_created: Vec<String>,
    depends_on: Vec<String>,
}

pub(crate) fn node(name: &str) -> ResourceNode {
    ResourceNode { name: name.into(), ..ResourceNode::default() }
}

impl ResourceNode {
    pub(crate) fn uses(mut self, others: &[&str]) -> ResourceNode {
        self.uses = others.iter().map(|other| (*other).into()).collect();
        self
    }

    fn uses_created(mut self, others: &[&str]) -> ResourceNode {
        self.uses_created = others.iter().map(|other| (*other).into()).collect();
        self
    }

    pub(crate) fn ties(mut self, other: &str) -> ResourceNode {
        self.ties = Some(other.into());
        self
    }

    pub(crate) fn on(mut self, other: &str) -> ResourceNode {
        self.on = Some(other.into());
        self
    }

    fn is_thing(&self) -> bool {
        self.ties.is_none() && self.on.is_none()
    }
}

/// An account that contains only the world.
struct InMemoryAccount;

impl Account for InMemoryAccount {
    fn region(&self) -> &str {
        "eu-central-1"
    }

    fn number(&self) -> Pending<'_, String> {
        Box::pin(std::future::ready(Ok("123456789012".to_owned())))
    }

    fn tagged<'a>(&'a self, _: &'a [(&'a str, &'a str)], _: &'a [&'a str]) -> Pending<'a, Vec<(String, Tags)>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn observe_env(&self, _: &AwsEnv) {}

    fn observe(&self, _: &Schema, _: &Id, _: &Live) {}

    fn observe_absence(&self, _: &Schema, _: &Id) {}

    fn observe_import(&self, _: &str, _: &str) {}

    fn observe_created(&self, _: &str) {}
}

/// A world, and the definitions and the context that act in it.
pub(crate) struct Stage {
    world: SharedWorld,
    pub(crate) thing: Arc<dyn Definition>,
    tie: Arc<dyn Definition>,
    grant: Arc<dyn Definition>,
    pub(crate) cx: Context,
    interrupt: watch::Sender<bool>,
    _watchdog: Watchdog,
}

/// The result of one apply.
struct ApplyResult {
    plan: Plan,
    endings: Vec<StepOutcome>,
    /// The reported events, each with its time in milliseconds.
    events: Vec<(u64, Event)>,
    times: Times,
}

impl Stage {
    pub(crate) fn new() -> Stage {
        let world = SharedWorld::default();
        let fake = |schema| Arc::new(Fake { schema, world: Arc::clone(&world) });
        let (thing, tie, grant) = (fake(thing()), fake(tie()), fake(grant()));
        let providers = [("thing", &thing), ("tie", &tie), ("grant", &grant)]
            .map(|(name, fake)| (name.to_owned(), Arc::<Fake>::clone(fake) as Arc<dyn Provider>));
        let [thing, tie, grant] = [thing, tie, grant].map(|fake| fake as Arc<dyn Definition>);
        let connected = ConnectionParts {
            account: Arc::new(InMemoryAccount),
            limits: Arc::new(RateLimits::unlimited()),
            secrets: Arc::default(),
            recorder: Arc::default(),
            kinds: Kinds::new([&thing, &tie, &grant].map(Arc::clone)),
            providers: Providers::new(providers),
        };
        let (interrupt, receiver) = watch::channel(false);
        let cx = Context::new(connected, Overrides::default(), receiver);
        Stage { thing, tie, grant, cx, interrupt, world, _watchdog: Watchdog::start() }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Hides a resource from the next read.
    pub(crate) fn miss(&self, name: &str) {
        self.world().missed.insert(format!("owls-{name}"));
    }

    /// Refuses the next write of a resource.
    pub(crate) fn refuse(&self, name: &str) {
        self.world().refused.insert(format!("owls-{name}"));
    }

    pub(crate) fn set_durations(&self, name: &str, created: u64, ready: u64, delete: u64) {
        self.world().durations.insert(format!("owls-{name}"), Durations { created, ready, delete });
    }

    pub(crate) fn spec(&self, nodes: &[ResourceNode]) -> Spec {
        let resources = nodes.iter().map(|node| {
            let serial = |name: &String| {
                let placeholder = Placeholder::Output { resource: name.clone(), attribute: "serial".into() };
                Value::Unknown(Template(vec![Part::Placeholder(placeholder)]))
            };
            let list = |names: &[String]| Value::List(names.iter().map(serial).collect());
            let mut desired = Tree::from([("size".to_owned(), Value::Number(node.size.into()))]);
            let name = format!("owls-{}", node.name);
            if let Some(target) = &node.ties {
                desired.insert("source".into(), serial(target));
            } else if let Some(target) = &node.on {
                desired.insert("on".into(), serial(target));
                desired.insert("label".into(), Value::String(name.clone()));
                desired.insert("shape".into(), Value::String(node.shape.to_string()));
            } else {
                desired.insert("shape".into(), Value::String(node.shape.to_string()));
                desired.insert("flip".into(), Value::String(node.flip.to_string()));
                desired.insert("uses".into(), list(&node.uses));
                desired.insert("uses_made".into(), list(&node.uses_created));
            }
            let owner = Owner { team: "owls".into(), stack: "main".into(), resource: node.name.clone() };
            let parents = node.on.iter().map(|on| ("on".into(), format!("owls-{on}"))).collect();
            let kind = match node {
                ResourceNode { ties: Some(_), .. } => &self.tie,
                ResourceNode { on: Some(_), .. } => &self.grant,
                _ => &self.thing,
            };
            let declared = ResourceDecl {
                name: node.name.clone(),
                kind: Arc::clone(kind),
                id: Id { owner, name, arn: None, parents, env: None, unique_id: None },
                imported: false,
                lifecycle: Lifecycle::default(),
                explicit: desired.keys().cloned().collect::<BTreeSet<_>>(),
                desired,
                artifact: None,
                build: None,
                implied_by: None,
                reasons: Vec::new(),
            };
            (declared, node.depends_on.clone())
        });
        Spec::declare(("owls", "main"), resources.collect()).unwrap()
    }

    pub(crate) async fn plan(&self, spec: &Spec, goal: Goal) -> (Inventory, Plan) {
        let mut found = BTreeMap::new();
        let throttled_reads = std::mem::take(&mut self.world().throttled_reads);
        for declared in &spec.resources {
            let live =
                self.cx.provider(&declared.schema().kind).unwrap().read(&self.cx, &declared.id).await.unwrap().live;
            found.insert(declared.name.clone(), Found { live, ..Found::default() });
        }
        (self.world().reads, self.world().throttled_reads) = (0, throttled_reads);
        let inventory = Inventory { found, ..Inventory::new(AwsEnv::new("eu-central-1", "123456789012")) };
        let plan = plan(spec, &inventory, goal, &Options::default());
        (inventory, plan)
    }

    async fn apply(&self, nodes: &[ResourceNode], goal: Goal, parallelism: usize) -> ApplyResult {
        let spec = self.spec(nodes);
        let ties =
            nodes.iter().filter_map(|it| Some((format!("owls-{}", it.name), format!("owls-{}", it.ties.as_ref()?))));
        self.world().declared_ties = ties.collect();
        let (inventory, plan) = self.plan(&spec, goal).await;
        let start = Instant::now();
        let events = RefCell::new(Vec::new());
        let mut hear = |event: &Event| {
            events.borrow_mut().push((u64::try_from(start.elapsed().as_millis()).unwrap(), event.clone()));
        };
        let Outcome { endings, times, .. } =
            apply::apply(&self.cx, &spec, &inventory, &plan, parallelism, &mut hear).await;
        ApplyResult { plan, endings, events: events.into_inner(), times }
    }

    pub(crate) async fn deploy(&self, nodes: &[ResourceNode]) {
        let run = self.apply(nodes, Goal::Present, 16).await;
        assert!(run.is_done(), "{}", run.story());
        (self.world().calls, self.world().most) = (0, 0);
    }

    async fn is_settled(&self, nodes: &[ResourceNode]) -> bool {
        let (_, plan) = self.plan(&self.spec(nodes), Goal::Present).await;
        !plan.has_changes() && plan.steps.is_empty()
    }

    /// The world as text: each resource with its properties, without what differs from run to run.
    fn shape(&self) -> String {
        let world = self.world();
        let plain = |text: &str| text.split('#').next().unwrap().to_owned();
        let entries = world.entries.iter().map(|(name, entry)| {
            let props = entry.props.iter().map(|(name, value)| {
                let text = serde_json::Value::from(value).to_string();
                let text = if text.contains('#') { serials(value).into_iter().map(plain).collect() } else { text };
                format!("{name}={text}")
            });
            format!("{name}: {}\n", props.collect::<Vec<_>>().join(" "))
        });
        entries.collect()
    }
}

impl ApplyResult {
    fn is_done(&self) -> bool {
        self.endings.iter().all(|ending| matches!(ending, StepOutcome::Done(_)))
    }

    fn name(&self, id: StepId) -> String {
        let step = &self.plan.steps[id.0];
        format!("{:?} {}", step.op, self.plan.changes[step.change].resource).to_lowercase()
    }

    /// One line for each start and end of a step, with its virtual time.
    fn story(&self) -> String {
        let mut story = String::new();
        for (ms, event) in &self.events {
            let line = match event {
                Event::Started(id) => format!("{} begins", self.name(*id)),
                Event::Finished(id, StepOutcome::Done(_)) => format!("{} done", self.name(*id)),
                Event::Finished(id, StepOutcome::Failed(error)) => {
                    format!("{} failed: {}", self.name(*id), error.message)
                }
                Event::Finished(id, StepOutcome::Skipped(cause)) => format!("{} skipped for {cause}", self.name(*id)),
                Event::Finished(id, StepOutcome::NotStarted) => format!("{} left", self.name(*id)),
                Event::Interrupted => "interrupted".to_owned(),
                Event::Waiting(..) => continue,
            };
            writeln!(story, "{ms:>5} {line}").unwrap();
        }
        for (index, ending) in self.endings.iter().enumerate() {
            if *ending == StepOutcome::NotStarted {
                writeln!(story, "    - {} left", self.name(StepId(index))).unwrap();
            }
        }
        story
    }

    /// The critical path, with the actual and the ideal total time.
    fn timing(&self) -> String {
        let Timing { total, ideal, path } = Timing::of(&self.plan, &self.times);
        let links = path.iter().map(|link| format!("{} {}", self.name(link.step), link.share.as_millis()));
        let links: Vec<String> = links.collect();
        format!("total {} ideal {}: {}", total.as_millis(), ideal.as_millis(), links.join(" -> "))
    }

    /// Checks that every step starts after all steps that it waits for. `Made` has no event; the
    /// strict world checks it.
    fn assert_ordered(&self) {
        let mut done = BTreeSet::new();
        let mut begun = BTreeSet::new();
        for (_, event) in &self.events {
            match event {
                Event::Started(id) => {
                    for (before, moment) in &self.plan.steps[id.0].after {
                        let ok =
                            if *moment == Milestone::Created { begun.contains(before) } else { done.contains(before) };
                        assert!(ok, "{} before {}\n{}", self.name(*id), self.name(*before), self.story());
                    }
                    assert!(begun.insert(*id), "{} twice", self.name(*id));
                }
                Event::Finished(id, StepOutcome::Done(_)) => assert!(done.insert(*id)),
                _ => {}
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_starts_as_soon_as_its_own_dependencies_are_done() {
    let stage = Stage::new();
    // Two chains of different speed: a level-by-level run would make `quick-b` wait for `slow`.
    stage.set_durations("slow", 1000, 4000, 0);
    let nodes = [
        node("slow"),
        node("quick"),
        node("quick-b").uses(&["quick"]),
        node("quick-c").uses(&["quick-b"]),
        node("of-made").uses_created(&["slow"]),
        node("of-ready").uses(&["slow"]),
        node("of-all").uses(&["quick-c"]).uses_created(&["of-made", "slow"]),
        node("tie").ties("slow"),
    ];
    let run = stage.apply(&nodes, Goal::Present, 16).await;
    run.assert_ordered();
    assert_snapshot!(run.story(), @"
       0 create quick begins
       0 create slow begins
     100 create quick done
     100 create quick-b begins
     200 create quick-b done
     200 create quick-c begins
     300 create quick-c done
    1000 create of-made begins
    1100 create of-made done
    1100 create of-all begins
    1200 create of-all done
    5000 create slow done
    5000 create of-ready begins
    5000 create tie begins
    5100 create of-ready done
    5100 create tie done
    ");
    assert!(stage.is_settled(&nodes).await);
}

#[tokio::test(start_paused = true)]
async fn the_critical_path_is_the_longest_chain_even_if_steps_wait_for_slots() {
    let nodes = [
        node("slow"),
        node("quick"),
        node("of-made").uses_created(&["slow"]),
        node("of-all").uses(&["quick"]).uses_created(&["of-made"]),
        node("tie").ties("slow"),
    ];
    for (parallelism, timing) in [
        // The step that needs `slow` ready ends last, not the step that only needs it made.
        (16, "total 5100 ideal 5100: create slow 5000 -> create tie 100"),
        (1, "total 5100 ideal 5100: create slow 5000 -> create tie 100"),
    ] {
        let stage = Stage::new();
        stage.set_durations("slow", 1000, 4000, 0);
        assert_eq!(stage.apply(&nodes, Goal::Present, parallelism).await.timing(), timing);
    }
    // Waiting for a slot makes the run longer, not the path.
    let stage = Stage::new();
    stage.set_durations("late", 700, 0, 0);
    let lined: Vec<ResourceNode> = ["first", "second", "late"].map(node).into();
    let run = stage.apply(&lined, Goal::Present, 1).await;
    assert_eq!(run.timing(), "total 900 ideal 700: create late 700");
    let late = run.times.steps[2];
    assert_eq!(late.started.unwrap() - late.ready.unwrap(), Duration::from_millis(200));
    // Some steps only need a resource to be made.
    let stage = Stage::new();
    stage.set_durations("slow", 1000, 500, 0);
    stage.set_durations("of-made", 800, 0, 0);
    let run = stage.apply(&nodes[..3], Goal::Present, 16).await;
    assert_eq!(run.timing(), "total 1800 ideal 1800: create slow 1000 -> create of-made 800");
    // A failure ends a chain at the failed step, and skipped steps take no time.
    let stage = Stage::new();
    stage.world().faults.insert(1, false);
    let run = stage.apply(&nodes[..1], Goal::Present, 16).await;
    assert_eq!(run.timing(), "total 100 ideal 100: create slow 100");
}

#[tokio::test(start_paused = true)]
async fn dependents_of_an_updated_resource_wait_until_it_is_ready() {
    let stage = Stage::new();
    let mut nodes = [node("a"), node("made").uses_created(&["a"]), node("tie").ties("a")];
    stage.deploy(&nodes).await;
    stage.set_durations("a", 1000, 4000, 0);
    nodes[0].flip = 1;
    let run = stage.apply(&nodes, Goal::Present, 16).await;
    run.assert_ordered();
    assert_snapshot!(run.story(), @"
       0 update a begins
    5000 update a done
    5000 delete tie begins
    5000 update made begins
    5100 delete tie done
    5100 create tie begins
    5100 update made done
    5200 create tie done
    ");
    assert!(stage.is_settled(&nodes).await);
}

#[tokio::test(start_paused = true)]
async fn parallelism_is_limited_and_waiting_steps_hold_no_slot() {
    for (parallelism, total) in [(1, 1000), (2, 500), (3, 400), (16, 100)] {
        let stage = Stage::new();
        let names: Vec<String> = (0..10).map(|index| format!("n{index}")).collect();
        let nodes: Vec<ResourceNode> = names.iter().map(|name| node(name)).collect();
        for name in &names {
            // Each step waits ten times as long for AWS as its call takes, without holding a slot.
            stage.set_durations(name, 100, 1000, 0);
        }
        let start = Instant::now();
        let run = stage.apply(&nodes, Goal::Present, parallelism).await;
        assert!(run.is_done());
        assert_eq!(stage.world().most, parallelism.min(10));
        let last = run.events.iter().filter(|(_, event)| matches!(event, Event::Started(_))).map(|(ms, _)| *ms).max();
        assert_eq!(last, Some(total - 100), "{parallelism}");
        // The last step becomes ready with the first check after its second.
        assert_eq!(start.elapsed(), Duration::from_millis(total + 1000), "{parallelism}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_skips_only_its_dependents() {
    let stage = Stage::new();
    stage.set_durations("other", 5000, 0, 0);
    let nodes = [
        node("bad"),
        node("child").uses(&["bad"]),
        node("grandchild").uses_created(&["child"]),
        node("other"),
        node("of-other").uses(&["other"]),
    ];
    stage.world().faults.insert(1, false);
    let run = stage.apply(&nodes, Goal::Present, 16).await;
    run.assert_ordered();
    assert_snapshot!(run.story(), @r"
       0 create bad begins
       0 create other begins
     100 create bad failed: refused this once
     100 create child skipped for bad
     100 create grandchild skipped for bad
    5000 create other done
    5000 create of-other begins
    5100 create of-other done
    ");
    // The same command continues after the failure.
    let run = stage.apply(&nodes, Goal::Present, 16).await;
    assert_snapshot!(run.story(), @r"
      0 create bad begins
    100 create bad done
    100 create child begins
    200 create child done
    200 create grandchild begins
    300 create grandchild done
    ");
    assert!(stage.is_settled(&nodes).await);
}

#[tokio::test(start_paused = true)]
async fn an_interrupt_ends_waits_but_completes_started_connection_replacements() {
    let stage = Stage::new();
    let mut nodes = [node("a"), node("tie").ties("a"), node("b"), node("c"), node("of-c").uses(&["c"])];
    stage.deploy(&nodes).await;
    // The tie moves to `b` and is being deleted; `c` waits for AWS; `of-c` has not started.
    nodes[1].ties = Some("b".into());
    nodes[3].flip = 1;
    stage.set_durations("tie", 300, 0, 2000);
    stage.set_durations("c", 100, 60_000, 0);
    let interrupt = async {
        sleep(Duration::from_millis(1000)).await;
        stage.interrupt.send(true).unwrap();
    };
    let (run, ()) = tokio::join!(stage.apply(&nodes, Goal::Present, 16), interrupt);
    assert_snapshot!(run.story(), @r"
       0 delete tie begins
       0 update c begins
    1000 update c failed: interrupted while waiting for it to be ready; AWS continues the change
    1000 update of-c skipped for c
    1000 interrupted
    2000 delete tie done
    2000 create tie begins
    2300 create tie done
    ");
    stage.interrupt.send(false).unwrap();
    sleep(Duration::from_secs(60)).await;
    let run = stage.apply(&nodes, Goal::Present, 16).await;
    assert_snapshot!(run.story(), @r"
      0 update of-c begins
    100 update of-c done
    ");
    assert!(stage.is_settled(&nodes).await);
}

#[tokio::test(start_paused = true)]
async fn a_call_in_flight_gets_ten_seconds_after_an_interrupt() {
    let stage = Stage::new();
    stage.set_durations("hangs", 3_600_000, 0, 0);
    let interrupt = async {
        sleep(Duration::from_millis(1000)).await;
        stage.interrupt.send(true).unwrap();
    };
    let nodes = [node("hangs"), node("next").uses(&["hangs"])];
    let start = Instant::now();
    let (run, ()) = tokio::join!(stage.apply(&nodes, Goal::Present, 16), interrupt);
    assert_eq!(start.elapsed(), Duration::from_secs(11));
    let words: Vec<String> = run.endings.iter().map(|ending| format!("{ending:?}")).collect();
    assert!(words[0].contains("AWS may or may not have carried it out"), "{words:?}");
    assert_eq!(run.endings[1], StepOutcome::NotStarted);
}

#[tokio::test(start_paused = true)]
async fn after_an_interrupt_a_replacement_completes_despite_throttled_reads() {
    let stage = Stage::new();
    let mut nodes = [node("a"), node("grant").on("a")];
    stage.deploy(&nodes).await;
    nodes[1].shape = 1;
    // The delete reads the parent and the grant; then the create reads the parent.
    stage.world().throttled_reads = [3, 4, 5, 6].into();
    let interrupt = async {
        sleep(Duration::from_millis(50)).await;
        stage.interrupt.send(true).unwrap();
    };
    let (run, ()) = tokio::join!(stage.apply(&nodes, Goal::Present, 16), interrupt);
    assert!(run.is_done(), "{}", run.story());
    assert!(stage.world().throttled_reads.is_empty());
    let story = run.story();
    let lines: Vec<&str> = story.lines().take(4).map(|line| &line[6..]).collect();
    assert_eq!(lines, ["delete grant begins", "interrupted", "delete grant done", "create grant begins"]);
}

#[tokio::test(start_paused = true)]
async fn with_one_slot_each_replacement_is_completed_before_the_next_begins() {
    let stage = Stage::new();
    let mut nodes: Vec<ResourceNode> = ["a", "b", "c"].map(node).into();
    nodes.extend(["a", "b", "c"].map(|host| node(&format!("grant-{host}")).on(host)));
    stage.deploy(&nodes).await;
    nodes[3..].iter_mut().for_each(|grant| grant.shape = 1);
    let run = stage.apply(&nodes, Goal::Present, 1).await;
    assert!(run.is_done(), "{}", run.story());
    let story = run.story();
    let begun: Vec<&str> = story.lines().filter_map(|line| line[6..].strip_suffix(" begins")).collect();
    let both = |host: &str| [format!("delete grant-{host}"), format!("create grant-{host}")];
    assert_eq!(begun, ["a", "b", "c"].map(both).concat());
}

/// Forty parts of one thing, before or after six tables that take AWS eight seconds. Each part has
/// a longer remaining path than a table.
async fn crowd_of_one_key(parts_first: bool) -> Timing {
    let stage = Stage::new();
    let host = [node("host")];
    let parts: Vec<ResourceNode> = (0..40).map(|at| node(&format!("part-{at}")).on("host")).collect();
    let after =
        (0..40).map(|at| ResourceNode { depends_on: vec![format!("part-{at}")], ..node(&format!("after-part-{at}")) });
    let tables: Vec<ResourceNode> = (0..6).map(|at| node(&format!("table-{at}"))).collect();
    tables.iter().for_each(|table| stage.set_durations(&table.name, 100, 8000, 0));
    let crowds = if parts_first { [parts, tables] } else { [tables, parts] };
    stage.deploy(&host).await;
    let nodes: Vec<ResourceNode> = host.into_iter().chain(crowds.concat()).chain(after).collect();
    let run = stage.apply(&nodes, Goal::Present, 16).await;
    assert!(run.is_done(), "{}", run.story());
    run.assert_ordered();
    Timing::of(&run.plan, &run.times)
}

#[tokio::test(start_paused = true)]
async fn a_step_that_waits_for_its_write_key_blocks_no_other_step() {
    let (parts_first, tables_first) = (crowd_of_one_key(true).await, crowd_of_one_key(false).await);
    assert!(parts_first.total <= tables_first.total.mul_f64(1.02), "{parts_first:?} {tables_first:?}");
    for timing in [parts_first, tables_first] {
        assert!(timing.total <= timing.ideal.mul_f64(1.05), "{timing:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_longest_remaining_path_begins_first() {
    let stage = Stage::new();
    let mut nodes: Vec<ResourceNode> = (0..6).map(|at| node(&format!("single-{at}"))).collect();
    nodes.push(node("link-0"));
    nodes.extend((1..6).map(|at| node(&format!("link-{at}")).uses(&[&format!("link-{}", at - 1)])));
    let run = stage.apply(&nodes, Goal::Present, 2).await;
    run.assert_ordered();
    assert_eq!(run.timing(), format!("total 600 ideal 600: {}", run.timing().split_once(": ").unwrap().1));
}

#[tokio::test(start_paused = true)]
async fn runs_that_share_slots_run_no_more_steps_than_one_run() {
    let stage = Stage::new();
    let names = ["a", "b", "c"].map(|team| (0..8).map(|at| node(&format!("{team}{at}"))).collect::<Vec<_>>());
    let specs = names.map(|nodes| stage.spec(&nodes));
    let mut plans = Vec::new();
    for spec in &specs {
        plans.push(stage.plan(spec, Goal::Present).await);
    }
    let slots = apply::slots(4);
    let start = Instant::now();
    let runs = specs.iter().zip(&plans).map(|(spec, (inventory, plan))| {
        let slots = &slots;
        let cx = &stage.cx;
        async move {
            let execution = Execution::new(plan);
            execution.run(cx, spec, inventory, slots, &mut |_| {}).await;
            execution.outcome().endings
        }
    });
    let endings = futures_util::future::join_all(runs).await.concat();
    assert!(endings.iter().all(|ending| matches!(ending, StepOutcome::Done(_))), "{endings:?}");
    assert_eq!(stage.world().most, 4);
    assert_eq!(start.elapsed(), Duration::from_millis(600));
}

#[tokio::test(start_paused = true)]
async fn a_step_names_the_rate_limit_only_while_its_own_call_waits_for_it() {
    let mut stage = Stage::new();
    let limit = Limit { service: "Fake", start: 1.0, ceiling: 1.0, burst: 1.0, reserve: 0.0, in_flight: 0 };
    let limits = RateLimits::new(&[limit], 1.0);
    // AWS throttles all calls for a while.
    limits.admit(LimitId(0)).await.unwrap().throttled(Some(Duration::from_secs(10)));
    stage.cx.limits = Arc::new(limits);
    stage.world().limited.insert("owls-waits".into());
    stage.set_durations("waits", 9000, 0, 0);
    stage.set_durations("in-flight", 19_000, 0, 0);
    let run = stage.apply(&[node("waits"), node("in-flight")], Goal::Present, 16).await;
    assert!(run.is_done());
    let mut said = String::new();
    for (ms, event) in &run.events {
        if let Event::Waiting(id, what) = event {
            writeln!(said, "{ms:>5} {}: {what}", run.name(*id)).unwrap();
        }
    }
    assert_snapshot!(said, @"
     3000 create waits: AWS's rate limit, since many calls are being made in this account
     4000 create in-flight: AWS to respond
     7000 create waits: AWS's rate limit, since many calls are being made in this account
     8000 create in-flight: AWS to respond
    10000 create waits: AWS to respond
    12000 create in-flight: AWS to respond
    14000 create waits: AWS to respond
    16000 create in-flight: AWS to respond
    18000 create waits: AWS to respond
    ");
}

#[tokio::test(start_paused = true)]
async fn a_concurrent_create_of_the_same_connection_is_detected() {
    let stage = Stage::new();
    let mut nodes = [node("a"), node("b"), node("tie").ties("a")];
    stage.deploy(&nodes).await;
    nodes[2].ties = Some("b".into());
    stage.world().doubled.insert("owls-tie".into());
    let run = stage.apply(&nodes, Goal::Present, 16).await;
    assert_snapshot!(run.story(), @"
      0 delete tie begins
    100 delete tie done
    100 create tie begins
    200 create tie failed: another run created another tie for `tie` at the same time
    ");
}

/// Counts the polls of a future.
async fn polls_of<T>(future: impl Future<Output = T>) -> usize {
    let (mut future, mut n_polls) = (std::pin::pin!(future), 0);
    std::future::poll_fn(|cx| {
        n_polls += 1;
        future.as_mut().poll(cx)
    })
    .await;
    n_polls
}

#[tokio::test(start_paused = true)]
async fn polls_of_rate_limited_calls_grow_only_with_the_number_of_calls() {
    let mut n_polls = [0, 0];
    for (sum, n_calls) in n_polls.iter_mut().zip([1_000, 5_000]) {
        // Just fast enough that no call waits longer than the maximum.
        let limit = Limit { service: "Fake", start: 50.0, ceiling: 50.0, burst: 10.0, reserve: 0.0, in_flight: 0 };
        let mut cx = Stage::new().cx;
        cx.limits = Arc::new(RateLimits::new(&[limit], 1.0));
        let call = || async {
            cx.limits.admit(LimitId(0)).await.map_err(|crowded| failure(crowded.to_string()))?.accepted();
            Ok(())
        };
        let calls = (0..n_calls).map(|_| polls_of(async { cx.read("", call).await.unwrap() }));
        *sum = futures_util::future::join_all(calls).await.into_iter().sum();
    }
    let [few, many] = n_polls;
    // Both runs have the same number of calls that need not wait long.
    assert!(many <= 5 * few + 1_000, "{many} polls, {few} of a fifth of the calls");
}

#[tokio::test(start_paused = true)]
async fn a_resource_that_changed_since_the_plan_is_not_written() {
    /// A change by another user between the plan and its step.
    type Meddle = fn(&mut World);
    let meddlers: [(&str, Meddle); 4] = [
        ("a property", |world| {
            world.entries.get_mut("owls-a").unwrap().props.insert("size".into(), Value::Number(9.into()));
        }),
        ("re-created", |world| world.entries.get_mut("owls-a").unwrap().unique_id = 99),
        ("gone", |world| drop(world.entries.remove("owls-a"))),
        ("nothing", |_| {}),
    ];
    let mut all = String::new();
    for (what, meddle) in meddlers {
        for change in ["in place", "replace"] {
            let stage = Stage::new();
            let mut nodes = [node("a")];
            stage.deploy(&nodes).await;
            if change == "in place" {
                nodes[0].size = 5;
            } else {
                nodes[0].shape = 5;
            }
            let spec = stage.spec(&nodes);
            let (inventory, plan) = stage.plan(&spec, Goal::Present).await;
            meddle(&mut stage.world());
            let Outcome { endings, times, .. } =
                apply::apply(&stage.cx, &spec, &inventory, &plan, 16, &mut |_| {}).await;
            let run = ApplyResult { plan, endings, events: Vec::new(), times };
            let said = run.endings.iter().enumerate().map(|(index, ending)| match ending {
                StepOutcome::Done(_) => format!("{} done", run.name(StepId(index))),
                StepOutcome::Failed(error) => format!("{} failed: {}", run.name(StepId(index)), error.message),
                other => format!("{} {other:?}", run.name(StepId(index))),
            });
            writeln!(all, "{what}, {change}: {}", said.collect::<Vec<_>>().join("; ")).unwrap();
        }
    }
    assert_snapshot!(all, @r#"
    a property, in place: update a failed: changed in the meantime: `size`
    a property, replace: delete a failed: changed in the meantime: `size`; create a Skipped("a")
    re-created, in place: update a failed: changed in the meantime: it was deleted and re-created
    re-created, replace: delete a failed: changed in the meantime: it was deleted and re-created; create a Skipped("a")
    gone, in place: update a failed: changed in the meantime: it was deleted
    gone, replace: delete a done; create a done
    nothing, in place: update a done
    nothing, replace: delete a done; create a done
    "#);
}

#[tokio::test(start_paused = true)]
async fn an_output_that_differs_from_the_plan_stops_its_users() {
    let stage = Stage::new();
    stage.world().liar = Some("owls-a".into());
    let run = stage.apply(&[node("a"), node("b").uses(&["a"])], Goal::Present, 16).await;
    assert_snapshot!(run.story(), @r"
      0 create a begins
    100 create a failed: the plan predicted `owls-a` as `name` of `a`, but AWS returned another
    100 create b skipped for a
    ");
}

/// A deployed spec, and its next version.
#[derive(Debug, Clone)]
struct Story {
    before: Vec<ResourceNode>,
    after: Vec<ResourceNode>,
    /// The resources that a user deletes by hand in between.
    vanished: Vec<String>,
    parallelism: usize,
    durations: Vec<(u64, u64, u64)>,
}

fn story() -> impl Strategy<Value = Story> {
    // One number decides each choice, so that shrinking stays simple.
    let node = (any::<[u8; 6]>(), any::<[u8; 6]>(), (0_u64..8, 0_u64..8, 0_u64..8));
    (prop::collection::vec(node, 1..12), 1_usize..6).prop_map(|(seeds, parallelism)| {
        let (mut before, mut after, mut vanished, mut durations) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let things =
            |nodes: &[ResourceNode]| nodes.iter().filter(|it| it.is_thing()).map(|it| it.name.clone()).collect();
        for (index, (base, edit, tempo)) in seeds.into_iter().enumerate() {
            let known: Vec<String> = things(&before);
            let pick = |seed: u8, rate: u8| -> Vec<String> {
                let hits = known.iter().enumerate();
                let hits = hits.filter(|(at, _)| (seed.rotate_left(u32::try_from(*at).unwrap()) % rate) == 0);
                hits.map(|(_, name)| name.clone()).collect()
            };
            let mut node =
                ResourceNode { name: format!("n{index}"), size: u32::from(base[0] % 3), ..ResourceNode::default() };
            if base[1] % 3 == 0 && !known.is_empty() {
                node.ties = Some(known[usize::from(base[2]) % known.len()].clone());
            } else if base[1] % 3 == 1 && !known.is_empty() {
                node.on = Some(known[usize::from(base[2]) % known.len()].clone());
            } else {
                (node.uses, node.uses_created) = (pick(base[3], 3), pick(base[4], 4));
            }
            node.depends_on = pick(base[5], 6);
            before.push(node.clone());
            match edit[0] % 6 {
                0 => node.size += 1,
                1 => node.shape += 1,
                2 => node.flip += 1,
                3 if node.ties.is_some() => {
                    node.ties = Some(known[usize::from(edit[1]) % known.len()].clone());
                }
                // A part that moves to another thing would be another resource.
                3 if node.on.is_some() => {}
                3 => (node.uses, node.uses_created) = (pick(edit[1], 3), pick(edit[2], 4)),
                4 => vanished.push(node.name.clone()),
                _ => {}
            }
            after.push(node);
            durations.push((tempo.0 * 100, tempo.1 * 250, tempo.2 * 100));
        }
        Story { before, after, vanished, parallelism, durations }
    })
}

/// Runs a future on a fresh virtual clock.
fn in_virtual_time<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(future)
}

fn cases() -> ProptestConfig {
    ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() }
}

/// The throttled calls, and the throttled reads.
fn throttled_ones() -> impl Strategy<Value = [BTreeSet<usize>; 2]> {
    let some = || prop::collection::btree_set(1_usize..40, 0..12);
    (some(), some()).prop_map(|(calls, reads)| [calls, reads])
}

impl Stage {
    fn throttle(&self, [calls, reads]: &[BTreeSet<usize>; 2]) {
        let mut world = self.world();
        (world.throttled, world.throttled_reads) = (calls.clone(), reads.clone());
    }

    /// Forgets the operations that an interrupted run left running.
    fn abandon(&self) {
        let mut world = self.world();
        world.working = 0;
        world.writing.clear();
    }

    /// Presses Ctrl-C right before a future is polled for the n-th time.
    async fn interrupted_at<T>(&self, poll: usize, future: impl Future<Output = T>) -> T {
        let (mut future, mut n_polls) = (std::pin::pin!(future), 0);
        std::future::poll_fn(|cx| {
            n_polls += 1;
            if n_polls == poll {
                self.interrupt.send(true).unwrap();
            }
            future.as_mut().poll(cx)
        })
        .await
    }

    async fn of(story: &Story) -> Stage {
        let stage = Stage::new();
        stage.deploy(&story.before).await;
        for (index, (created, ready, delete)) in story.durations.iter().enumerate() {
            stage.set_durations(&format!("n{index}"), *created, *ready, *delete);
        }
        for name in &story.vanished {
            stage.world().entries.remove(&format!("owls-{name}"));
        }
        stage
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn any_change_is_carried_out_in_order_and_once(story in story()) {
        in_virtual_time(async {
            let stage = Stage::of(&story).await;
            let run = stage.apply(&story.after, Goal::Present, story.parallelism).await;
            assert!(run.is_done(), "{}", run.story());
            run.assert_ordered();
            assert!(stage.world().most <= story.parallelism);
            assert!(stage.is_settled(&story.after).await, "{}", run.story());
            // The result equals a deployment from scratch.
            let fresh = Stage::new();
            fresh.deploy(&story.after).await;
            assert_eq!(stage.shape(), fresh.shape());
            // A destroy deletes everything, dependents first.
            stage.world().strict_deletes = true;
            let run = stage.apply(&story.after, Goal::Absent, story.parallelism).await;
            assert!(run.is_done(), "{}", run.story());
            run.assert_ordered();
            assert_eq!(stage.shape(), "");
        });
    }

    #[test]
    fn after_any_failures_a_rerun_reaches_the_same_state(
        story in story(),
        faults in prop::collection::btree_map(1_usize..30, any::<bool>(), 0..6),
        throttled in throttled_ones(),
        interrupt_after in prop::option::of(0_u64..3000),
    ) {
        in_virtual_time(async {
            let stage = Stage::of(&story).await;
            stage.world().faults = faults;
            stage.throttle(&throttled);
            let mut stories = String::new();
            for round in 0.. {
                assert!(round < 10, "it never ends:\n{stories}");
                let interrupt = async {
                    if let Some(ms) = interrupt_after.filter(|_| round == 0) {
                        sleep(Duration::from_millis(ms)).await;
                        stage.interrupt.send(true).unwrap();
                    }
                };
                let (run, ()) = tokio::join!(stage.apply(&story.after, Goal::Present, story.parallelism), interrupt);
                stage.interrupt.send(false).unwrap();
                run.assert_ordered();
                stories.push_str(&run.story());
                stories.push('\n');
                if run.is_done() {
                    break;
                }
                stage.abandon();
            }
            assert!(stage.is_settled(&story.after).await, "{stories}");
            let fresh = Stage::new();
            fresh.deploy(&story.after).await;
            assert_eq!(stage.shape(), fresh.shape());
        });
    }

    #[test]
    fn an_interrupt_at_any_await_leaves_no_partial_connection_replacement(
        story in story(),
        throttled in throttled_ones(),
        poll in 1_usize..200,
    ) {
        in_virtual_time(async {
            let stage = Stage::of(&story).await;
            stage.throttle(&throttled);
            let run = stage.interrupted_at(poll, stage.apply(&story.after, Goal::Present, story.parallelism)).await;
            run.assert_ordered();
            assert!(stage.world().most <= story.parallelism);
            let is_done = |id: &StepId| matches!(run.endings[id.0], StepOutcome::Done(_));
            for (index, step) in run.plan.steps.iter().enumerate().filter(|(_, step)| step.op == Op::Create) {
                // The other steps that it waits for may not have started.
                if step.pair.is_some_and(|delete| is_done(&delete)) && step.after.iter().all(|(on, _)| is_done(on)) {
                    let is_made = run.times.steps[index].created.is_some();
                    assert!(is_made, "{} is missing\n{}", run.name(StepId(index)), run.story());
                }
            }
            // The interrupt ended only waits: calls that had started ended, and the same command
            // does the rest.
            stage.interrupt.send(false).unwrap();
            sleep(Duration::from_secs(60)).await;
            let again = stage.apply(&story.after, Goal::Present, story.parallelism).await;
            assert!(again.is_done(), "{}{}", run.story(), again.story());
            assert!(stage.is_settled(&story.after).await, "{}{}", run.story(), again.story());
        });
    }
}
