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
use crate::kinds::{default_log_group, function_name};
use crate::logs::EventName;
use crate::ownership::OwnershipVerdict;
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
        match pipeline(spec, inventory, searched, mapping) {
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

fn pipeline(
    spec: &Spec,
    inventory: &Inventory,
    searched: &SearchScope,
    mapping: &ResourceDecl,
) -> Result<Pipeline, Diagnostic> {
    let problem =
        |what: String, hint: &str| Diagnostic::error(format!("`{}` can't be verified: {what}", mapping.name), hint);
    let missing = |what: &str| {
        let diagnostic = problem(format!("{what} doesn't exist {}", searched.place()), searched.elsewhere());
        diagnostic.hint(format!("otherwise run `{}` to create it", searched.apply()))
    };
    let live = inventory.live(&mapping.name).ok_or_else(|| missing("the mapping"))?;
    let stream = text(&live.props, "event_source_arn");
    let name = stream.split_once(":table/").and_then(|(_, rest)| rest.split('/').next()).unwrap_or_default();
    let of_kind =
        |kind: &str, name: &str| spec.resources.iter().find(|it| it.schema().kind == kind && it.id.name == name);
    let table = of_kind("table", name);
    let table = table.filter(|table| !table.imported).ok_or_else(|| {
        let hint = "declare the table in this spec, or ask its owner to change an item and check `engine logs`";
        problem(format!("this spec doesn't manage the table `{name}`"), hint)
            .why("engine writes a test item only to a table that the spec declares and doesn't import")
    })?;
    let live_table = inventory.live(&table.name).ok_or_else(|| missing("its table"))?;
    let verdict = OwnershipVerdict::of(&live_table.owner, None, &table.id.owner);
    if verdict == OwnershipVerdict::Free {
        let what = format!("the table `{name}` has no owner yet, so engine writes nothing to it");
        return Err(problem(what, "run `engine apply` to adopt it"));
    }
    if let Some(owner) = verdict.other_owner() {
        let hint = "ask its owner to change an item, then check `engine logs`";
        return Err(problem(format!("the table `{name}` is owned by {owner}"), hint));
    }
    let (_, function) = mapping.parent().unwrap_or_default();
    let of_function = of_kind("function", function);
    let function_live = of_function.and_then(|it| inventory.live(&it.name)).ok_or_else(|| missing("its function"))?;
    let declared_group = of_function.and_then(|it| it.desired.get("log_group"));
    let log_group = function_live.props.get("log_group").or(declared_group).and_then(Value::as_str);
    let log_group = log_group.map_or_else(|| default_log_group(function), str::to_owned);
    // A table's key can't change, so the spec has it if the read doesn't.
    let of_table = |property: &str| live_table.props.get(property).or(table.desired.get(property));
    let key = |property: &str| {
        let name = of_table(property).and_then(Value::as_str).unwrap_or_default().to_owned();
        let Some(Value::Map(types)) = of_table("attributes") else { return None };
        let type_ = types.get(&name)?.as_str()?.to_owned();
        Some(KeyAttribute { name, type_ })
    };
    let number = |tree: &crate::value::Tree, name: &str| match tree.get(name) {
        Some(Value::Number(number)) => number.as_u64(),
        _ => None,
    };
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
        keys: [key("hash_key"), key("range_key")].into_iter().flatten().collect(),
        current: live_table.outputs.get("stream_arn") == Some(&stream),
        stream,
        view: text(&live_table.props, "stream_view_type"),
        function: function.to_owned(),
        role: text(&function_live.props, "role"),
        log_group,
        throttled: number(&function_live.props, "reserved_concurrent_executions") == Some(0),
        filters,
        window: Duration::from_secs(number(&live.props, "maximum_batching_window_in_seconds").unwrap_or_default()),
    })
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
    let (mut log, before) =
        futures_util::future::try_join(Log::follow(cx, &pipeline.log_group, &name, pace.skew), async {
            Ok(diagnosis::result(cx, pipeline).await.ok())
        })
        .await?;
    let mut before = before.map(|(_, result)| result);
    for change in EventName::ALL {
        let step = Step { change, n_writes: 0, written: None, invoked: None, logged: None, sighting: None };
        steps.push(step);
        let Some(step) = steps.last_mut() else { continue };
        log.forget();
        let mut failing = None::<Instant>;
        let mut written = Instant::now();
        let mut again = written;
        loop {
            let now = Instant::now();
            let is_first = step.n_writes == 0;
            if is_first || (pace.again.is_some() && now >= again && !log.shows_a_call()) {
                step.n_writes += 1;
                if let Err(error) = item.write(cx, change, deadline).await {
                    return Err(match error.class {
                        Class::Interrupted => Stop::Failed(error),
                        _ => Stop::Finding(Box::new(diagnosis::write(pipeline, change, &error))),
                    });
                }
                if is_first {
                    written = Instant::now();
                    step.written = Some(written - now);
                    report(step, Hop::Written);
                }
                again = Instant::now() + pace.again.unwrap_or_default() + pipeline.window;
            }
            log.look(cx).await?;
            if step.invoked.is_none() && log.shows_a_call() {
                step.invoked = Some(written.elapsed());
                report(step, Hop::Invoked);
            }
            if let Some(sighting) = log.is_fresh().then(|| log.shows(&names, item, change)).flatten() {
                step.logged = Some(written.elapsed());
                step.sighting = Some(sighting);
                report(step, Hop::Logged);
                break;
            }
            let now = Instant::now();
            let fails = log.error().is_some() && now >= *failing.get_or_insert(now) + pace.grace;
            if log.error().is_none() {
                failing = None;
            }
            if fails || now >= deadline {
                let finding = diagnosis::of(cx, pipeline, change, &log, before.as_deref()).await?;
                return Err(Stop::Finding(Box::new(finding)));
            }
            cx.rest(pace.look, "the function's log", &pipeline.function).await?;
        }
        // From the second change on, the result may be that of the previous change.
        before = None;
    }
    Ok(())
}
