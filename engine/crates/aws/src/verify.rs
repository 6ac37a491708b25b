//! The end-to-end test of a pipeline: it puts, updates and deletes one item of the table, and the
//! function's log must show all three changes.
//!
//! **Invariant:** it writes nothing but the test item, and leaves none behind, however a run ends.

mod diagnosis;
mod item;
mod log;

use std::time::Duration;

use serde::Serialize;
use serde_json::Value as Json;
use tokio::time::Instant;

use crate::aws::{AwsError, CallContext, Class, Context, InterruptPolicy};
use crate::diagnostic::Diagnostic;
use crate::inventory::{Inventory, SearchScope};
use crate::kinds::{Source, default_log_group, function_name};
use crate::logs::EventName;
use crate::ownership::{OwnershipVerdict, READ_TAGS, UNPROVEN};
use crate::remedy::Advice;
use crate::schema::Live;
use crate::spec::{ResourceDecl, Spec};
use crate::value::Value;

pub use item::KeyAttribute;
pub use log::{Evidence, Sighting};

pub(crate) use item::OPERATIONS;

use item::Item;
use log::Log;

/// Time limit for deleting the test item.
const REMOVAL: Duration = Duration::from_secs(30);

/// A mapping to verify, with its table and function.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// The spec's team.
    pub team: String,
    /// The team's stack.
    pub stack: String,
    /// The mapping's name in the spec.
    pub mapping: String,
    /// The mapping's id.
    pub uuid: String,
    /// Whether it reads its stream.
    pub enabled: bool,
    /// The table.
    pub table: String,
    /// The table's key attributes, partition key first.
    pub keys: Vec<KeyAttribute>,
    /// The stream that the mapping reads.
    pub stream: String,
    /// Whether that is the table's current stream.
    pub current: bool,
    /// The stream's view type.
    pub view: String,
    /// The function.
    pub function: String,
    /// The ARN of its role.
    pub role: String,
    /// The function's log group.
    pub log_group: String,
    /// Whether its reserved concurrency is 0, so that Lambda can't run it.
    pub throttled: bool,
    /// The mapping's filters.
    pub filters: Vec<Json>,
    /// The mapping's batching window.
    pub window: Duration,
}

/// The hops of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Hop {
    /// DynamoDB accepted the write.
    Written,
    /// The function's log shows an invocation.
    Invoked,
    /// The function's log shows the change.
    Logged,
}

impl Hop {
    /// The heading of its column.
    pub fn words(self) -> &'static str {
        match self {
            Hop::Written => "item written",
            Hop::Invoked => "function invoked",
            Hop::Logged => "log line found",
        }
    }
}

/// Why a hop failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The mapping is not Enabled.
    MappingDisabled,
    /// The mapping reads an old stream of its table.
    StreamGone,
    /// The trust policy of the function's role doesn't let Lambda assume it.
    RoleNotTrusting,
    /// The mapping's last result is a problem.
    MappingProblem,
    /// The mapping's filters drop the record.
    Filtered,
    /// The function fails.
    FunctionError,
    /// The log group doesn't exist.
    NoLogGroup,
    /// Lambda invoked the function, and its log doesn't name the item.
    NotLogged,
    /// The table has no write capacity left, or the function's reserved concurrency is 0.
    Throttled,
    /// No invocation was found, for an unknown reason.
    NotInvoked,
    /// Another process changed the test item.
    Changed,
    /// DynamoDB refused the write.
    Refused,
}

/// The first hop that failed, and why.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The change that failed.
    pub change: EventName,
    /// The hop that failed.
    pub hop: Hop,
    /// The reason for programs.
    pub cause: Cause,
    /// The reason and the fix for people.
    pub diagnostic: Diagnostic,
}

/// The progress of a change. Times count from DynamoDB's answer to the write.
#[derive(Debug, Clone)]
pub struct Step {
    /// The change.
    pub change: EventName,
    /// Number of writes.
    pub n_writes: u32,
    /// Duration of the write.
    pub written: Option<Duration>,
    /// When the log showed an invocation.
    pub invoked: Option<Duration>,
    /// When the log showed the change.
    pub logged: Option<Duration>,
    /// The line that shows the change.
    pub sighting: Option<Sighting>,
}

/// The result for one mapping.
#[derive(Debug)]
pub struct Outcome {
    /// The changes that were begun.
    pub steps: Vec<Step>,
    /// What stopped it early, if anything.
    pub stop: Option<Stop>,
    /// Why the test item couldn't be deleted.
    pub left: Option<AwsError>,
    /// Total duration.
    pub took: Duration,
}

/// What stopped a verification.
#[derive(Debug)]
pub enum Stop {
    /// A hop failed.
    Finding(Box<Finding>),
    /// A call to AWS failed, or the user pressed Ctrl-C.
    Failed(AwsError),
}

impl From<AwsError> for Stop {
    fn from(error: AwsError) -> Stop {
        Stop::Failed(error)
    }
}

/// Timeouts and intervals.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// Time limit for one mapping.
    pub timeout: Duration,
    /// Interval between two reads of the log.
    pub look: Duration,
    /// When to write a change again that had no effect: a new or updated mapping may miss records
    /// of its first minutes (docs.aws.amazon.com/lambda/latest/dg/with-ddb.html).
    pub again: Option<Duration>,
    /// How long a failing function may take to recover.
    pub grace: Duration,
    /// How far this machine's clock may be ahead of the log's.
    pub skew: Duration,
}

impl Timing {
    /// For AWS, where a new mapping may need minutes before it reads its stream.
    pub fn on_aws(timeout: Option<Duration>) -> Timing {
        Timing {
            timeout: timeout.unwrap_or(Duration::from_secs(300)),
            look: Duration::from_millis(500),
            again: Some(Duration::from_secs(15)),
            grace: Duration::from_secs(20),
            skew: Duration::from_secs(60),
        }
    }

    /// For the local AWS.
    pub fn locally(timeout: Option<Duration>) -> Timing {
        Timing {
            timeout: timeout.unwrap_or(Duration::from_secs(15)),
            look: Duration::from_millis(15),
            again: None,
            grace: Duration::from_secs(3),
            // This machine writes the log.
            skew: Duration::ZERO,
        }
    }
}

/// The mappings of a spec with their tables and functions.
///
/// # Errors
/// A mapping that can't be verified: a part of it doesn't exist, or this stack doesn't own its
/// table.
pub fn pipelines(spec: &Spec, inventory: &Inventory, searched: &SearchScope) -> Result<Vec<Pipeline>, Vec<Diagnostic>> {
    let mappings = spec.resources.iter().filter(|declared| declared.schema().kind == "mapping");
    let (mut pipelines, mut errors) = (Vec::new(), Vec::new());
    for mapping in mappings {
        match (Lookup { spec, inventory, searched, mapping }).pipeline() {
            Ok(pipeline) => pipelines.push(pipeline),
            Err(error) => errors.push(match spec.place(&mapping.name, &crate::value::Path::default()) {
                Some(place) => error.at(place),
                None => error,
            }),
        }
    }
    if pipelines.is_empty() && errors.is_empty() {
        let hint = "declare a `type: mapping` that connects a table's stream and a function";
        errors.push(Diagnostic::error("the spec has no mapping, so there is nothing to verify", hint));
    }
    if errors.is_empty() { Ok(pipelines) } else { Err(errors) }
}

/// A mapping of the spec, and where the parts of its pipeline are looked up.
struct Lookup<'s> {
    spec: &'s Spec,
    inventory: &'s Inventory,
    searched: &'s SearchScope,
    mapping: &'s ResourceDecl,
}

impl<'s> Lookup<'s> {
    fn pipeline(&self) -> Result<Pipeline, Diagnostic> {
        let Lookup { spec, mapping, .. } = self;
        let live = self.live(mapping).ok_or_else(|| self.missing("the mapping"))?;
        let stream = text(&live.props, "event_source_arn");
        let (table, live_table) = self.own_table(&stream)?;
        let (_, name) = mapping.parent().unwrap_or_default();
        let function = self.declared("function", name);
        let live_function = function.and_then(|it| self.live(it)).ok_or_else(|| self.missing("its function"))?;
        let declared_group = function.and_then(|it| it.desired.get("log_group"));
        let log_group = live_function.props.get("log_group").or(declared_group).and_then(Value::as_str);
        let filters = match live.props.get("filters") {
            Some(Value::List(filters)) => filters.iter().map(Json::from).collect(),
            _ => Vec::new(),
        };
        Ok(Pipeline {
            team: spec.team.clone(),
            stack: spec.stack.clone(),
            mapping: mapping.name.clone(),
            uuid: live.unique_id.clone().unwrap_or_default(),
            enabled: live.props.get("enabled") != Some(&Value::Bool(false)),
            table: table.id.name.clone(),
            keys: key_attributes(table, live_table),
            current: live_table.outputs.get("stream_arn") == Some(&stream),
            stream,
            view: text(&live_table.props, "stream_view_type"),
            function: name.to_owned(),
            role: text(&live_function.props, "role"),
            log_group: log_group.map_or_else(|| default_log_group(name), str::to_owned),
            throttled: number(&live_function.props, "reserved_concurrent_executions") == Some(0),
            filters,
            window: Duration::from_secs(number(&live.props, "maximum_batching_window_in_seconds").unwrap_or_default()),
        })
    }

    /// The table of a stream, if this stack owns it.
    fn own_table(&self, stream: &str) -> Result<(&'s ResourceDecl, &'s Live), Diagnostic> {
        let other = match Source::of_arn(stream) {
            Some(Source::Queue) => Some("an SQS queue"),
            Some(Source::Kinesis) => Some("a Kinesis stream"),
            Some(Source::Table) | None => None,
        };
        if let Some(other) = other {
            let hint = "send a test message yourself, then check `engine logs`";
            return Err(self
                .problem(format!("its source is {other}"), hint)
                .why("engine writes a test item to a table, and follows it through the table's stream"));
        }
        let name = stream.split_once(":table/").and_then(|(_, rest)| rest.split('/').next()).unwrap_or_default();
        let table = self.declared("table", name).filter(|table| !table.imported).ok_or_else(|| {
            let hint = "declare the table in this spec, or ask its owner to change an item and check `engine logs`";
            self.problem(format!("this spec doesn't manage the table `{name}`"), hint)
                .why("engine writes a test item only to a table that the spec declares and doesn't import")
        })?;
        let live = self.live(table).ok_or_else(|| self.missing("its table"))?;
        let verdict = OwnershipVerdict::of(&live.owner, None, &table.id.owner);
        if verdict == OwnershipVerdict::Free {
            let what = format!("the table `{name}` has no owner yet, so engine writes nothing to it");
            return Err(self.problem(what, "run `engine apply` to adopt it"));
        }
        if matches!(verdict, OwnershipVerdict::Unknown(_)) && self.spec.is_listed(table) {
            return Err(self.problem(format!("the table `{name}` has no team's prefix, and {UNPROVEN}"), READ_TAGS));
        }
        if let Some(owner) = verdict.other_owner() {
            let hint = "ask its owner to change an item, then check `engine logs`";
            return Err(self.problem(format!("the table `{name}` is owned by {owner}"), hint));
        }
        Ok((table, live))
    }

    /// The declaration with this name in AWS.
    fn declared(&self, kind: &str, name: &str) -> Option<&'s ResourceDecl> {
        self.spec.resources.iter().find(|it| it.schema().kind == kind && it.id.name == name)
    }

    fn live(&self, declared: &ResourceDecl) -> Option<&'s Live> {
        self.inventory.live(&declared.name)
    }

    fn problem(&self, what: String, hint: impl Into<Advice>) -> Diagnostic {
        Diagnostic::error(format!("`{}` can't be verified: {what}", self.mapping.name), hint)
    }

    fn missing(&self, what: &str) -> Diagnostic {
        let searched = self.searched;
        let diagnostic = self.problem(format!("{what} doesn't exist {}", searched.place()), searched.elsewhere());
        diagnostic.hint(Advice::from("otherwise run ").then(searched.apply()).then(" to create it"))
    }
}

/// A table's key attributes, partition key first. They can't change, so the spec has them if the
/// read doesn't.
fn key_attributes(table: &ResourceDecl, live: &Live) -> Vec<KeyAttribute> {
    let value = |property: &str| live.props.get(property).or(table.desired.get(property));
    let key = |property: &str| {
        let name = value(property).and_then(Value::as_str).unwrap_or_default().to_owned();
        let Some(Value::Map(types)) = value("attributes") else { return None };
        let type_ = types.get(&name)?.as_str()?.to_owned();
        Some(KeyAttribute { name, type_ })
    };
    [key("hash_key"), key("range_key")].into_iter().flatten().collect()
}

fn number(tree: &crate::value::Tree, name: &str) -> Option<u64> {
    match tree.get(name) {
        Some(Value::Number(number)) => number.as_u64(),
        _ => None,
    }
}

fn text(tree: &crate::value::Tree, name: &str) -> String {
    tree.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Who else will see the test items, a sentence each. What can't be checked counts.
///
/// # Errors
/// Transient errors of AWS.
pub async fn company(cx: &Context, pipelines: &[Pipeline]) -> Result<Vec<String>, AwsError> {
    let mut company = Vec::new();
    for (at, pipeline) in pipelines.iter().enumerate() {
        let Pipeline { table, stream, keys, .. } = pipeline;
        if pipelines.iter().take(at).any(|earlier| earlier.table == *table) {
            continue;
        }
        // Test items that killed runs left don't count.
        let ours: Vec<_> = pipelines.iter().filter(|it| it.table == *table).map(item::key).collect();
        let scan = || async {
            let mut request = cx.aws.dynamodb.scan().table_name(table);
            request = request.limit(i32::try_from(ours.len() + 1).unwrap_or(i32::MAX));
            let names: Vec<String> = (0..keys.len()).map(|at| format!("#k{at}")).collect();
            for (name, key) in names.iter().zip(keys) {
                request = request.expression_attribute_names(name, &key.name);
            }
            request.projection_expression(names.join(", ")).send().await.context("Scan", table)
        };
        match cx.read(table, scan).await {
            Ok(found) => {
                let is_ours = |item: &std::collections::HashMap<String, _>| {
                    ours.iter().any(|key| key.iter().all(|(name, value)| item.get(name) == Some(value)))
                };
                if !found.items().iter().all(is_ours) {
                    company.push(format!("the table `{table}` has items, so its readers will see the test item too"));
                }
            }
            Err(error) if error.passes() => return Err(error),
            Err(_) => company.push(format!("engine can't check whether the table `{table}` is empty")),
        }
        let list = || async {
            let pages = cx.aws.lambda.list_event_source_mappings().event_source_arn(stream).into_paginator();
            pages.items().send().collect::<Result<Vec<_>, _>>().await.context("ListEventSourceMappings", table)
        };
        for other in cx.read(table, list).await? {
            let uuid = other.uuid.unwrap_or_default();
            if other.event_source_arn.as_ref() == Some(stream) && !pipelines.iter().any(|it| it.uuid == uuid) {
                let function = function_name(&other.function_arn.unwrap_or_default());
                company.push(format!("the mapping {uuid}, which isn't in this spec, sends it to `{function}`"));
            }
        }
    }
    Ok(company)
}

/// The test item's partition key as a log shows it.
pub fn item_name(pipeline: &Pipeline) -> String {
    item::names(pipeline).into_iter().next().unwrap_or_default()
}

/// Verifies one mapping and reports each hop as soon as the log shows it. It deletes the test item,
/// also after Ctrl-C.
pub async fn verify(cx: &Context, pipeline: &Pipeline, pace: Timing, report: &mut dyn FnMut(&Step, Hop)) -> Outcome {
    let start = Instant::now();
    let (mut item, mut steps) = (Item::new(pipeline), Vec::new());
    let stop = prove(cx, pipeline, pace, &mut item, &mut steps, report).await.err();
    let steady = cx.with_interrupt_policy(InterruptPolicy::FinishAll);
    let left = match item.may_stand() {
        true => item.remove(&steady, Instant::now() + REMOVAL).await.err().filter(|it| it.class != Class::Changed),
        false => None,
    };
    Outcome { steps, stop, left, took: start.elapsed() }
}

async fn prove(
    cx: &Context,
    pipeline: &Pipeline,
    pace: Timing,
    item: &mut Item,
    steps: &mut Vec<Step>,
    report: &mut dyn FnMut(&Step, Hop),
) -> Result<(), Stop> {
    if let Some(finding) = diagnosis::obstacle(pipeline) {
        return Err(Stop::Finding(Box::new(finding)));
    }
    let deadline = Instant::now() + pace.timeout + pipeline.window * 3;
    let (names, name) = (item::names(pipeline), item_name(pipeline));
    let (log, before) = futures_util::future::try_join(Log::follow(cx, &pipeline.log_group, &name, pace.skew), async {
        Ok(diagnosis::result(cx, pipeline).await.ok())
    })
    .await?;
    let mut before = before.map(|(_, result)| result);
    let mut verification = Verification { cx, pipeline, pace, deadline, names, log, item, report };
    for change in EventName::ALL {
        let step = Step { change, n_writes: 0, written: None, invoked: None, logged: None, sighting: None };
        steps.push(step);
        let Some(step) = steps.last_mut() else { continue };
        verification.verify_change(step, before.as_deref()).await?;
        // From the second change on, the result may be that of the previous change.
        before = None;
    }
    Ok(())
}

/// The verification of one mapping, in progress.
struct Verification<'p> {
    cx: &'p Context,
    pipeline: &'p Pipeline,
    pace: Timing,
    deadline: Instant,
    /// The test item's partition key in the forms in which the log may show it.
    names: Vec<String>,
    log: Log,
    item: &'p mut Item,
    report: &'p mut dyn FnMut(&Step, Hop),
}

impl Verification<'_> {
    /// Makes a change and waits until the log shows it. `before` is the mapping's result before the
    /// first write, if it could be read.
    async fn verify_change(&mut self, step: &mut Step, before: Option<&str>) -> Result<(), Stop> {
        let Verification { cx, pipeline, pace, .. } = *self;
        self.log.forget();
        let start = Instant::now();
        self.write(step).await?;
        let written = Instant::now();
        step.written = Some(written - start);
        (self.report)(step, Hop::Written);
        let next_write = || Some(Instant::now() + pace.again? + pipeline.window);
        let (mut again, mut failing) = (next_write(), None::<Instant>);
        loop {
            self.log.look(cx).await?;
            if self.is_logged(step, written) {
                return Ok(());
            }
            let now = Instant::now();
            let fails = self.log.error().is_some() && now >= *failing.get_or_insert(now) + pace.grace;
            if self.log.error().is_none() {
                failing = None;
            }
            if fails || now >= self.deadline {
                let finding = diagnosis::of(cx, pipeline, step.change, &self.log, before).await?;
                return Err(Stop::Finding(Box::new(finding)));
            }
            cx.rest(pace.look, "the function's log", &pipeline.function).await?;
            if again.is_some_and(|again| Instant::now() >= again) && !self.log.shows_a_call() {
                self.write(step).await?;
                again = next_write();
            }
        }
    }

    async fn write(&mut self, step: &mut Step) -> Result<(), Stop> {
        step.n_writes += 1;
        self.item.write(self.cx, step.change, self.deadline).await.map_err(|error| match error.class {
            Class::Interrupted => Stop::Failed(error),
            _ => Stop::Finding(Box::new(diagnosis::write(self.pipeline, step.change, &error))),
        })
    }

    /// Whether the log shows the change; reports the hops that it shows for the first time.
    fn is_logged(&mut self, step: &mut Step, written: Instant) -> bool {
        if step.invoked.is_none() && self.log.shows_a_call() {
            step.invoked = Some(written.elapsed());
            (self.report)(step, Hop::Invoked);
        }
        let sighting = self.log.is_fresh().then(|| self.log.shows(&self.names, self.item, step.change)).flatten();
        if sighting.is_some() {
            step.logged = Some(written.elapsed());
            step.sighting = sighting;
            (self.report)(step, Hop::Logged);
        }
        sighting.is_some()
    }
}
