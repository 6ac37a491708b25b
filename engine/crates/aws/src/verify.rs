//! The end-to-end test of a pipeline: it puts, updates and deletes one item of the table, and each
//! change that the mapping's filters let through must reach the function.
//!
//! **Invariant:** it writes nothing but the test item, and leaves none behind, however a run ends.

mod diagnosis;
mod item;
mod log;
mod stream;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value as Json};
use tokio::time::Instant;

use crate::aws::{AwsError, CallContext, Class, Context, InterruptPolicy};
use crate::diagnostic::Diagnostic;
use crate::filter::{self, Obstacle, Pattern, Solution, Verdict};
use crate::inventory::{Inventory, SearchScope};
use crate::items::{self, key_attributes};
use crate::kinds::{Source, default_log_group, function_name};
use crate::logs::{EventName, plain_item};
use crate::ownership::{OwnershipVerdict, READ_TAGS, UnreadableTags};
use crate::remedy::Advice;
use crate::schema::{Live, Status};
use crate::spec::{ResourceDecl, Spec};
use crate::value::Value;

pub use crate::items::KeyAttribute;
pub use log::{Evidence, Sighting};

pub(crate) use item::OPERATIONS;

use item::Item;
use log::Log;
use stream::Stream;

/// Time limit for deleting the test item.
const REMOVAL: Duration = Duration::from_secs(30);
/// How many times a function's log is awaited to be quiet: others may use the table too.
const MAX_SETTLING: u32 = 10;

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
    /// Whether the spec imports the table.
    pub imported: bool,
    /// The table's key attributes, partition key first.
    pub keys: Vec<KeyAttribute>,
    /// The types of all attributes that are keys of the table or of an index.
    pub types: BTreeMap<String, String>,
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
    /// Why Lambda can't run the function, if AWS knows.
    pub broken: Option<String>,
    /// Whether a pipeline that may be tested earlier has the same table, so that this function may
    /// still get records of its test item.
    pub shares_table: bool,
    /// The test item, and which of its changes the filters let through.
    pub solution: Solution,
}

impl Pipeline {
    /// Whether the filters let a change of the test item through.
    pub fn passes(&self, change: EventName) -> Verdict {
        self.solution.events.get(&change).copied().unwrap_or(Verdict::Unknown)
    }

    /// Why a change doesn't certainly pass, if it doesn't.
    pub fn obstacle(&self, change: EventName) -> Option<&Obstacle> {
        self.solution.obstacles.get(&change)
    }

    /// The test item and the same after its update, if the filters require something of it: it then
    /// looks like a real one.
    pub fn shaped_item(&self) -> Option<(Json, Json)> {
        let plain = filter::solve(&[], &item::facts(self));
        let Solution { keys, first, second, .. } = &self.solution;
        let is_shaped = (keys, first, second) != (&plain.keys, &plain.first, &plain.second);
        let shown = |version: &Map<String, Json>| {
            plain_item(&keys.iter().chain(version).map(|(name, value)| (name.clone(), value.clone())).collect())
        };
        is_shaped.then(|| (shown(first), shown(second)))
    }
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
    /// The mapping's filters drop every change of every item that engine can write.
    Filtered,
    /// engine found no item that the mapping's filters let through.
    FiltersUnknown,
    /// The function got a change that the filters drop.
    NotFiltered,
    /// Lambda can't run the function.
    FunctionBroken,
    /// Lambda invoked the function, whose log doesn't name the item, and the stream carried other
    /// items meanwhile.
    OtherTraffic,
    /// The same, and engine can't read what the stream carried.
    StreamUnknown,
    /// The table has an item with the key that the filters require.
    KeyTaken,
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

/// How it is known that a change reached the function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Proof {
    /// An invocation began after the write and ended without an error, while the stream carried
    /// nothing but the test item. Weaker: the log doesn't show the change.
    Invoked,
    /// The function's log shows the change.
    Logged,
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
    /// Whether the filters let it through; only then it is waited for.
    pub passes: Verdict,
    /// How it is known that it reached the function.
    pub proof: Option<Proof>,
}

impl Step {
    fn of(pipeline: &Pipeline, change: EventName) -> Step {
        let (n_writes, passes) = (0, pipeline.passes(change));
        Step { change, n_writes, written: None, invoked: None, logged: None, sighting: None, passes, proof: None }
    }
}

/// News about a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It reached this hop.
    Reached(Hop),
    /// Its test has ended.
    Ended,
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

impl Outcome {
    /// Whether every change that the filters let through reached the function.
    pub fn is_verified(&self) -> bool {
        self.stop.is_none() && self.left.is_none()
    }
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
    /// Interval between two reads of the mapping's result.
    pub state: Duration,
    /// How long lines may arrive after the report of their invocation.
    pub late: Duration,
    /// How long a log must be quiet before it counts as settled.
    pub quiet: Duration,
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
            grace: Duration::from_secs(5),
            state: Duration::from_secs(2),
            late: Duration::from_secs(3),
            quiet: Duration::from_secs(3),
            skew: Duration::from_secs(60),
        }
    }

    /// For the local AWS.
    pub fn locally(timeout: Option<Duration>) -> Timing {
        Timing {
            timeout: timeout.unwrap_or(Duration::from_secs(15)),
            look: Duration::from_millis(15),
            again: None,
            grace: Duration::from_secs(2),
            state: Duration::from_millis(500),
            late: Duration::from_millis(200),
            quiet: Duration::from_secs(1),
            // This machine writes the log.
            skew: Duration::ZERO,
        }
    }
}

/// The mappings of a spec with their tables and functions. `allowed` are the imported tables in
/// which a test item can be written, by their names in the spec.
///
/// # Errors
/// A mapping that can't be verified: a part of it doesn't exist, or this stack doesn't own its
/// table.
pub fn pipelines(
    spec: &Spec,
    inventory: &Inventory,
    searched: &SearchScope,
    allowed: &[String],
) -> Result<Vec<Pipeline>, Vec<Diagnostic>> {
    let mappings = spec.resources.iter().filter(|declared| declared.schema().kind == "mapping");
    let (mut pipelines, mut errors) = (Vec::<Pipeline>::new(), Vec::new());
    for mapping in mappings {
        match (Lookup { spec, inventory, searched, allowed, mapping }).pipeline() {
            Ok(pipeline) => {
                let shares_table = pipelines.iter().any(|earlier| earlier.table == pipeline.table);
                pipelines.push(Pipeline { shares_table, ..pipeline });
            }
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

/// Notes which pipelines have a table of another stack's pipeline, too: each list is a stack's.
pub fn note_sharing<'p>(stacks: impl Iterator<Item = &'p mut Vec<Pipeline>>) {
    let mut stacks: Vec<&mut Vec<Pipeline>> = stacks.collect();
    let sources: Vec<Vec<String>> =
        stacks.iter().map(|stack| stack.iter().map(|it| it.stream.clone()).collect()).collect();
    for (at, stack) in stacks.iter_mut().enumerate() {
        for pipeline in stack.iter_mut() {
            let is_elsewhere = |(of, all): (usize, &Vec<String>)| of != at && all.contains(&pipeline.stream);
            pipeline.shares_table |= sources.iter().enumerate().any(is_elsewhere);
        }
    }
}

/// A mapping of the spec, and where the parts of its pipeline are looked up.
struct Lookup<'s> {
    spec: &'s Spec,
    inventory: &'s Inventory,
    searched: &'s SearchScope,
    allowed: &'s [String],
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
        let types = live_table.props.get("attributes").or(table.desired.get("attributes"));
        let mut pipeline = Pipeline {
            team: spec.team.clone(),
            stack: spec.stack.clone(),
            mapping: mapping.name.clone(),
            uuid: live.unique_id.clone().unwrap_or_default(),
            enabled: live.props.get("enabled") != Some(&Value::Bool(false)),
            table: table.id.name.clone(),
            imported: table.imported,
            keys: key_attributes(table, Some(live_table)),
            types: match types {
                Some(Value::Map(types)) => {
                    types.iter().filter_map(|(name, it)| Some((name.to_string(), it.as_str()?.to_owned()))).collect()
                }
                _ => BTreeMap::new(),
            },
            current: live_table.outputs.get("stream_arn") == Some(&stream),
            stream,
            view: text(&live_table.props, "stream_view_type"),
            function: name.to_owned(),
            role: text(&live_function.props, "role"),
            log_group: log_group.map_or_else(|| default_log_group(name), str::to_owned),
            throttled: number(&live_function.props, "reserved_concurrent_executions") == Some(0),
            filters,
            window: Duration::from_secs(number(&live.props, "maximum_batching_window_in_seconds").unwrap_or_default()),
            broken: match &live_function.status {
                Status::Failed(why) | Status::Unusable(why) => Some(why.clone()),
                _ => None,
            },
            shares_table: false,
            solution: Solution::default(),
        };
        let filters: Vec<Pattern> = pipeline.filters.iter().map(Pattern::of).collect();
        pipeline.solution = filter::solve(&filters, &item::facts(&pipeline));
        Ok(pipeline)
    }

    /// The table of a stream, if a test item can be written to it.
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
        let table = self.declared("table", name).ok_or_else(|| {
            let hint =
                "declare or import the table in this spec, or ask its owner to change an item and check `engine logs`";
            self.problem(format!("this spec doesn't have the table `{name}`"), hint)
                .why("engine writes a test item only to a table that the spec declares")
        })?;
        let live = self.live(table).ok_or_else(|| self.missing("its table"))?;
        match table.imported {
            true => self.imported_table(table, live)?,
            false => self.managed_table(table, live)?,
        }
        Ok((table, live))
    }

    /// Refuses an imported table unless the user named it and no other team owns it.
    fn imported_table(&self, table: &ResourceDecl, live: &Live) -> Result<(), Diagnostic> {
        let (resource, name) = (&table.name, &table.id.name);
        if !self.allowed.contains(resource) {
            let hint = format!(
                "pass `--allow-imported {resource}` to write one test item to it, or ask its owner to change an item and \
                 check `engine logs`"
            );
            let problem = format!("this spec doesn't manage the table `{name}`");
            return Err(self
                .problem(problem, hint)
                .why("engine writes a test item to an imported table only if you allow it by name"));
        }
        match OwnershipVerdict::of(&live.owner, None, &table.id.owner) {
            OwnershipVerdict::Unknown(UnreadableTags::NotYet(why)) => {
                let problem = format!("engine can't tell yet who owns the imported table `{name}`: {why}");
                Err(self.problem(problem, "run the command again in a minute"))
            }
            OwnershipVerdict::Unknown(_) => {
                Err(self.problem(format!("engine can't tell who owns the imported table `{name}`"), READ_TAGS))
            }
            _ => match live.owner.bars_team(&table.id.owner.team) {
                Some(owner) => Err(self.problem(
                    format!("the imported table `{name}` {owner}"),
                    "ask its owner to change an item, then check `engine logs`",
                )),
                None => Ok(()),
            },
        }
    }

    /// Refuses a table that this stack doesn't own.
    fn managed_table(&self, table: &ResourceDecl, live: &Live) -> Result<(), Diagnostic> {
        let hint = "ask its owner to change an item, then check `engine logs`";
        match items::owner_problem(self.spec, table, live, hint) {
            Some((what, hint)) => Err(self.problem(what, hint)),
            None => Ok(()),
        }
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
        if pipeline.imported {
            company.push(format!(
                "the spec imports the table `{table}`, so its owner and its readers will see the test item"
            ));
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

/// Verifies one mapping and reports each hop as soon as it is known. It deletes the test item, also
/// after Ctrl-C.
pub async fn verify(
    cx: &Context,
    pipeline: &Pipeline,
    pace: Timing,
    report: &mut dyn FnMut(&Step, Progress),
) -> Outcome {
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
    report: &mut dyn FnMut(&Step, Progress),
) -> Result<(), Stop> {
    if let Some(finding) = diagnosis::obstacle(pipeline) {
        return Err(Stop::Finding(Box::new(finding)));
    }
    let deadline = Instant::now() + pace.timeout + pipeline.window * 3;
    let (names, name) = (item::names(pipeline), item_name(pipeline));
    if pipeline.imported {
        cx.aws.guard.allow_item("table", &pipeline.table, Json::Object(pipeline.solution.keys.clone()));
    }
    let log = Log::follow(cx, &pipeline.log_group, &name, pace.skew);
    let result = async { Ok(diagnosis::result(cx, pipeline).await.ok()) };
    let (mut log, before) = futures_util::future::try_join(log, result).await?;
    if pipeline.shares_table {
        settle(cx, pipeline, pace, &mut log).await?;
    }
    let stream = Stream::follow(cx, pipeline).await?;
    let before = before.map(|(_, result)| result);
    let dropped = Vec::new();
    let mut verification =
        Verification { cx, pipeline, pace, deadline, names, log, stream, item, report, before, dropped };
    for change in EventName::ALL {
        steps.push(Step::of(pipeline, change));
        let Some(step) = steps.last_mut() else { continue };
        verification.verify_change(step).await?;
    }
    Ok(())
}

/// Waits until the function has got the records of the previous test item in its table, so that they
/// are not taken for this one's.
async fn settle(cx: &Context, pipeline: &Pipeline, pace: Timing, log: &mut Log) -> Result<(), AwsError> {
    for _ in 0..MAX_SETTLING {
        cx.rest(pace.quiet + pipeline.window, "records of the previous test item", &pipeline.table).await?;
        log.look(cx).await?;
        if !log.is_fresh() {
            break;
        }
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
    stream: Stream,
    item: &'p mut Item,
    report: &'p mut dyn FnMut(&Step, Progress),
    /// The mapping's result before the first write, if it could be read.
    before: Option<String>,
    /// The changes that the filters dropped since the last one that passed.
    dropped: Vec<EventName>,
}

/// What is known about a change that is being waited for.
#[derive(Default)]
struct Waiting {
    /// Since when the log shows an error.
    failing: Option<Instant>,
    /// Since when an invocation has ended that may be the one for the change.
    ended: Option<Instant>,
    /// Since when the mapping has a problem that isn't the function's.
    troubled: Option<Instant>,
}

impl Verification<'_> {
    /// Makes a change, and waits until it reached the function if the filters let it through.
    async fn verify_change(&mut self, step: &mut Step) -> Result<(), Stop> {
        if self.dropped.is_empty() {
            self.log.forget();
            self.stream.forget();
        }
        let start = Instant::now();
        self.write(step).await?;
        let written = Instant::now();
        step.written = Some(written - start);
        (self.report)(step, Progress::Reached(Hop::Written));
        if step.passes == Verdict::Yes {
            self.wait(step, written).await?;
            self.dropped.clear();
            // From now on, the result may be that of this change.
            self.before = None;
        } else if step.passes == Verdict::No {
            self.dropped.push(step.change);
        }
        (self.report)(step, Progress::Ended);
        Ok(())
    }

    async fn wait(&mut self, step: &mut Step, written: Instant) -> Result<(), Stop> {
        let Verification { cx, pipeline, pace, .. } = *self;
        let next_write = || Some(Instant::now() + pace.again? + pipeline.window);
        let (mut again, mut waiting, mut next_state) = (next_write(), Waiting::default(), written + pace.state);
        loop {
            self.log.look(cx).await?;
            if self.is_logged(step, written) {
                step.proof = Some(Proof::Logged);
                return self.check_dropped();
            }
            if self.is_invoked(step, &mut waiting).await? {
                step.proof = Some(Proof::Invoked);
                return Ok(());
            }
            let now = Instant::now();
            if now >= next_state {
                self.check_mapping(step, &mut waiting).await?;
                next_state = Instant::now() + pace.state;
            }
            let fails = self.log.error().is_some() && now >= *waiting.failing.get_or_insert(now) + pace.grace;
            if self.log.error().is_none() {
                waiting.failing = None;
            }
            if fails || now >= self.deadline {
                return Err(self.finding(step).await?);
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
        let written = self.item.write(self.cx, step.change, self.deadline).await;
        written.map_err(|error| match error.class {
            Class::Interrupted => Stop::Failed(error),
            _ if self.item.is_taken() => Stop::Finding(Box::new(diagnosis::key_taken(self.pipeline, step.change))),
            _ => Stop::Finding(Box::new(diagnosis::write(self.pipeline, step.change, &error))),
        })
    }

    /// Whether the log shows the change; reports the hops that it shows for the first time.
    fn is_logged(&mut self, step: &mut Step, written: Instant) -> bool {
        if step.invoked.is_none() && self.log.shows_a_call() {
            step.invoked = Some(written.elapsed());
            (self.report)(step, Progress::Reached(Hop::Invoked));
        }
        let sighting = self.log.is_fresh().then(|| self.log.shows(&self.names, self.item, step.change)).flatten();
        if sighting.is_some() {
            step.logged = Some(written.elapsed());
            step.sighting = sighting;
            (self.report)(step, Progress::Reached(Hop::Logged));
        }
        sighting.is_some()
    }

    /// Whether an invocation that the log doesn't name can only be the one for the change.
    async fn is_invoked(&mut self, step: &Step, waiting: &mut Waiting) -> Result<bool, Stop> {
        if !self.log.has_ended_call(0) || self.log.error().is_some() {
            waiting.ended = None;
            return Ok(false);
        }
        let now = Instant::now();
        if now < *waiting.ended.get_or_insert(now) + self.pace.late {
            return Ok(false);
        }
        self.stream.look(self.cx).await?;
        let own = self.stream.own.iter().rev().find(|(name, _)| name == step.change.word());
        let Some((_, second)) = own.filter(|_| self.stream.blind.is_none()) else { return Ok(false) };
        if !self.log.has_ended_call(*second) {
            return Ok(false);
        }
        if self.stream.n_others > 0 {
            // A function that logs its records may still log this one.
            let is_over = now >= waiting.ended.unwrap_or(now) + self.pace.grace && !self.log.names_a_change();
            return match is_over {
                true => Err(self.finding(step).await?),
                false => Ok(false),
            };
        }
        match diagnosis::result(self.cx, self.pipeline).await {
            Ok((_, result)) => Ok(!is_problem(&result)),
            Err(error) if error.passes() => Err(error.into()),
            Err(_) => Ok(false),
        }
    }

    /// Stops if Lambda already knows why the change can't reach the function.
    async fn check_mapping(&mut self, step: &Step, waiting: &mut Waiting) -> Result<(), Stop> {
        let (state, result) = match diagnosis::result(self.cx, self.pipeline).await {
            Ok(answer) => answer,
            Err(error) if error.passes() => return Err(error.into()),
            Err(_) => return Ok(()),
        };
        let is_disabled = matches!(state.as_str(), "Disabled" | "Disabling");
        // Lambda keeps the result of the last batch, however old.
        let is_current = !diagnosis::is_of_function(&result) || self.before.as_ref().is_some_and(|it| *it != result);
        let now = Instant::now();
        if !is_problem(&result) || !is_current {
            waiting.troubled = None;
        } else if waiting.troubled.is_none() {
            waiting.troubled = Some(now);
        }
        let is_over = waiting.troubled.is_some_and(|since| now >= since + self.pace.grace);
        if is_disabled || is_over && !self.log.shows_a_call() {
            return Err(self.finding(step).await?);
        }
        Ok(())
    }

    /// Stops if the log shows a change that the filters drop.
    fn check_dropped(&self) -> Result<(), Stop> {
        let is_logged = |change: &EventName| self.log.shows_own(&self.names, self.item, *change);
        match self.dropped.iter().copied().find(is_logged) {
            Some(change) => Err(Stop::Finding(Box::new(diagnosis::not_filtered(self.pipeline, change)))),
            None => Ok(()),
        }
    }

    /// Why the change didn't reach the function.
    async fn finding(&mut self, step: &Step) -> Result<Stop, Stop> {
        let Verification { cx, pipeline, .. } = *self;
        if self.log.shows_a_call() {
            self.stream.look(cx).await?;
        }
        let before = self.before.as_deref();
        let finding = diagnosis::of(cx, pipeline, step.change, &self.log, &self.stream, before).await?;
        Ok(Stop::Finding(Box::new(finding)))
    }
}

/// Whether a mapping's result is a failure: `PROBLEM: …` on AWS, `FAILED` in the local AWS.
fn is_problem(result: &str) -> bool {
    result.starts_with("PROBLEM") || result == "FAILED"
}
