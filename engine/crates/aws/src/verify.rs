//! The end-to-end test of a pipeline: it puts, updates and deletes one item of the table, and each
//! change that the mapping's filters let through must reach the function; or it sends one message
//! to the queue, which must reach the function.
//!
//! **Invariant:** it writes nothing but the test item and the message. It leaves no item behind,
//! however a run ends.

mod diagnosis;
mod item;
mod log;
mod message;
mod stream;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value as Json};
use tokio::time::Instant;

use crate::aws::{AwsError, CallContext, Code, Context, InterruptPolicy};
use crate::diagnostic::Diagnostic;
use crate::filter::{self, Message, Obstacle, Pattern, Solution, Verdict};
use crate::inventory::{Inventory, SearchScope};
use crate::items::{self, key_attributes};
use crate::kinds::{self, default_log_group, function_name};
use crate::logs::{EventName, plain_item};
use crate::ownership::{OwnershipVerdict, READ_TAGS, UnreadableTags};
use crate::remedy::Advice;
use crate::schema::{Live, Status};
use crate::spec::{ResourceDecl, Spec};
use crate::value::Value;

pub use crate::items::KeyAttribute;
pub use log::{Evidence, Sighting};

pub(crate) use item::OPERATIONS;

use item::TestItem;
use log::Log;
use message::TestMessage;
use stream::Stream;

/// Time limit for deleting the test item.
const REMOVAL: Duration = Duration::from_secs(30);
/// How many times a function's log is awaited to be quiet: others may use the table too.
const MAX_SETTLING: u32 = 10;

/// A mapping to verify, with its source and function.
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
    /// Whether it reads its source.
    pub enabled: bool,
    /// Whether the spec wants it enabled; `None` if the spec leaves that to others.
    pub wanted: Option<bool>,
    /// What it reads.
    pub source: PipelineSource,
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
    /// How long a record may be held back: the mapping's batching window, and the queue's delay.
    pub window: Duration,
    /// Why Lambda can't run the function, if AWS knows.
    pub broken: Option<String>,
}

/// What a mapping reads, and what is written there.
#[derive(Debug, Clone)]
pub enum PipelineSource {
    /// The stream of a table.
    Table(Box<TableSource>),
    /// A queue.
    Queue(QueueSource),
}

/// A table whose stream a mapping reads.
#[derive(Debug, Clone)]
pub struct TableSource {
    /// Its name.
    pub name: String,
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
    /// Whether a pipeline that may be tested earlier has the same table, so that the function may still
    /// get records of its test item.
    pub is_shared: bool,
    /// A text and a number that nothing else has.
    pub own: (String, String),
    /// The test item, and which of its changes the filters let through.
    pub solution: Solution,
}

/// A queue that a mapping reads.
#[derive(Debug, Clone)]
pub struct QueueSource {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// Whether the spec imports it.
    pub imported: bool,
    /// Whether it is a FIFO queue.
    pub is_fifo: bool,
    /// A text that nothing else has, different for each run.
    pub own: String,
    /// The test message; or why there is none that the filters let through.
    pub message: Result<Message, Vec<String>>,
}

impl PipelineSource {
    /// The name of the table or queue.
    pub fn name(&self) -> &str {
        match self {
            PipelineSource::Table(table) => &table.name,
            PipelineSource::Queue(queue) => &queue.name,
        }
    }

    /// The ARN of the stream or queue.
    pub fn arn(&self) -> &str {
        match self {
            PipelineSource::Table(table) => &table.stream,
            PipelineSource::Queue(queue) => &queue.arn,
        }
    }

    /// What is written as a test, in order.
    fn probes(&self) -> Vec<Probe> {
        match self {
            PipelineSource::Table(_) => EventName::ALL.map(Probe::Change).to_vec(),
            PipelineSource::Queue(_) => vec![Probe::Message],
        }
    }

    /// Whether the filters let it through.
    fn passes(&self, probe: Probe) -> Verdict {
        match (self, probe) {
            (PipelineSource::Table(table), Probe::Change(change)) => {
                table.solution.events.get(&change).copied().unwrap_or(Verdict::Unknown)
            }
            (PipelineSource::Queue(QueueSource { message: Ok(_), .. }), Probe::Message) => Verdict::Yes,
            _ => Verdict::No,
        }
    }
}

impl TableSource {
    /// Why a change doesn't certainly pass, if it doesn't.
    fn obstacle(&self, change: EventName) -> Option<&Obstacle> {
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

impl Pipeline {
    /// The test message, if the source is a queue and one will be sent.
    pub fn message(&self) -> Option<&str> {
        match &self.source {
            PipelineSource::Queue(QueueSource { message: Ok(message), .. }) if diagnosis::obstacle(self).is_none() => {
                Some(&message.body)
            }
            _ => None,
        }
    }
}

/// What is written as a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// A change of the test item.
    Change(EventName),
    /// The test message.
    Message,
}

impl Probe {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Probe::Change(change) => change.word(),
            Probe::Message => "MESSAGE",
        }
    }

    /// The same within a sentence.
    fn in_words(self) -> String {
        match self {
            Probe::Change(change) => format!("the {} of the test item", change.word()),
            Probe::Message => "the test message".to_owned(),
        }
    }
}

impl Serialize for Probe {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

/// The hops of a change or message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Hop {
    /// DynamoDB or SQS accepted the write.
    Written,
    /// The function's log shows an invocation.
    Invoked,
    /// The function's log shows the change or message.
    Logged,
}

impl Hop {
    /// The heading of its column.
    pub fn words(self, source: &PipelineSource) -> &'static str {
        match (self, source) {
            (Hop::Written, PipelineSource::Table(_)) => "item written",
            (Hop::Written, PipelineSource::Queue(_)) => "message sent",
            (Hop::Invoked, _) => "function invoked",
            (Hop::Logged, _) => "log line found",
        }
    }
}

/// Why a hop failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureCause {
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
    /// What failed.
    pub probe: Probe,
    /// The hop that failed.
    pub hop: Hop,
    /// The reason for programs.
    pub cause: FailureCause,
    /// The reason and the fix for people.
    pub diagnostic: Diagnostic,
}

/// How it is known that a change reached the function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Proof {
    /// An invocation began after the write and ended without an error, while the stream carried
    /// nothing but the test item, or the queue had nothing but the test message. Weaker: the log
    /// doesn't show it.
    Invoked,
    /// The function's log shows the change or message.
    Logged,
}

/// The progress of a change or message. Times count from the answer to the write.
#[derive(Debug, Clone)]
pub struct ProbeStep {
    /// What is written.
    pub probe: Probe,
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

impl ProbeStep {
    fn of(source: &PipelineSource, probe: Probe) -> ProbeStep {
        let (n_writes, passes) = (0, source.passes(probe));
        ProbeStep { probe, n_writes, written: None, invoked: None, logged: None, sighting: None, passes, proof: None }
    }
}

/// News about a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeEvent {
    /// It reached this hop.
    Reached(Hop),
    /// Its test has ended.
    Ended,
}

/// The result for one mapping.
#[derive(Debug)]
pub struct VerificationResult {
    /// The steps that were begun.
    pub steps: Vec<ProbeStep>,
    /// What stopped it early, if anything.
    pub stop: Option<StopReason>,
    /// Why the test item couldn't be deleted.
    pub left: Option<AwsError>,
    /// Total duration.
    pub took: Duration,
}

impl VerificationResult {
    /// Whether every change that the filters let through reached the function.
    pub fn is_verified(&self) -> bool {
        self.stop.is_none() && self.left.is_none()
    }
}

/// What stopped a verification.
#[derive(Debug)]
pub enum StopReason {
    /// A hop failed.
    Finding(Box<Finding>),
    /// A call to AWS failed, or the user pressed Ctrl-C.
    Failed(AwsError),
}

impl From<AwsError> for StopReason {
    fn from(error: AwsError) -> StopReason {
        StopReason::Failed(error)
    }
}

/// Timeouts and intervals.
#[derive(Debug, Clone, Copy)]
pub struct Intervals {
    /// Time limit for one mapping.
    pub timeout: Duration,
    /// Interval between two reads of the log.
    pub poll: Duration,
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

impl Intervals {
    /// For AWS, where a new mapping may need minutes before it reads its stream.
    pub fn on_aws(timeout: Option<Duration>) -> Intervals {
        Intervals {
            timeout: timeout.unwrap_or(Duration::from_secs(300)),
            poll: Duration::from_millis(500),
            again: Some(Duration::from_secs(15)),
            grace: Duration::from_secs(5),
            state: Duration::from_secs(2),
            late: Duration::from_secs(3),
            quiet: Duration::from_secs(3),
            skew: Duration::from_secs(60),
        }
    }

    /// For the local AWS.
    pub fn locally(timeout: Option<Duration>) -> Intervals {
        Intervals {
            timeout: timeout.unwrap_or(Duration::from_secs(15)),
            poll: Duration::from_millis(15),
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

/// The mappings of a spec with their sources and functions. `allowed` are the imported tables and
/// queues that can be written, by their names in the spec.
///
/// # Errors
/// A mapping that can't be verified: a part of it doesn't exist, or this stack doesn't own its
/// source.
pub fn pipelines(
    spec: &Spec,
    inventory: &Inventory,
    searched: &SearchScope,
    allowed: &[String],
) -> Result<Vec<Pipeline>, Vec<Diagnostic>> {
    let mappings = spec.resources.iter().filter(|declared| declared.schema().kind == "mapping");
    let (mut pipelines, mut errors) = (Vec::<Pipeline>::new(), Vec::new());
    for mapping in mappings {
        let lookup = PipelineReader { spec, inventory, searched, allowed, mapping };
        match lookup.pipeline().and_then(|it| lookup.beside(&pipelines, it)) {
            Ok(pipeline) => pipelines.push(pipeline),
            Err(error) => errors.push(match spec.location(&mapping.name, &crate::value::Path::default()) {
                Some(location) => error.at(location),
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
        stacks.iter().map(|stack| stack.iter().map(|it| it.source.arn().to_owned()).collect()).collect();
    for (at, stack) in stacks.iter_mut().enumerate() {
        for pipeline in stack.iter_mut() {
            let PipelineSource::Table(table) = &mut pipeline.source else { continue };
            let is_elsewhere = |(of, all): (usize, &Vec<String>)| of != at && all.contains(&table.stream);
            table.is_shared |= sources.iter().enumerate().any(is_elsewhere);
        }
    }
}

/// A mapping of the spec, and where the parts of its pipeline are looked up.
struct PipelineReader<'s> {
    spec: &'s Spec,
    inventory: &'s Inventory,
    searched: &'s SearchScope,
    allowed: &'s [String],
    mapping: &'s ResourceDecl,
}

impl<'s> PipelineReader<'s> {
    fn pipeline(&self) -> Result<Pipeline, Diagnostic> {
        let PipelineReader { spec, mapping, .. } = self;
        let live = self.live(mapping).ok_or_else(|| self.missing("the mapping"))?;
        let filters: Vec<Json> = match live.props.get("filters") {
            Some(Value::List(filters)) => filters.iter().map(Json::from).collect(),
            _ => Vec::new(),
        };
        let patterns: Vec<Pattern> = filters.iter().map(Pattern::of).collect();
        let (source, delay) = self.source(&text(&live.props, "event_source_arn"), &patterns)?;
        let (_, name) = mapping.parent().unwrap_or_default();
        let function = self.declared("function", name);
        let live_function = function.and_then(|it| self.live(it)).ok_or_else(|| self.missing("its function"))?;
        let declared_group = function.and_then(|it| it.desired.get("log_group"));
        let log_group = live_function.props.get("log_group").or(declared_group).and_then(Value::as_str);
        let window = number(&live.props, "maximum_batching_window_in_seconds").unwrap_or_default();
        Ok(Pipeline {
            team: spec.team.clone(),
            stack: spec.stack.clone(),
            mapping: mapping.name.clone(),
            uuid: live.unique_id.clone().unwrap_or_default(),
            enabled: live.props.get("enabled") != Some(&Value::Bool(false)),
            wanted: match mapping.desired.get("enabled") {
                _ if mapping.imported || mapping.lifecycle.ignore_changes.contains("enabled") => None,
                Some(Value::Bool(enabled)) => Some(*enabled),
                _ => Some(true),
            },
            source,
            function: name.to_owned(),
            role: text(&live_function.props, "role"),
            log_group: log_group.map_or_else(|| default_log_group(name), str::to_owned),
            throttled: number(&live_function.props, "reserved_concurrent_executions") == Some(0),
            filters,
            window: Duration::from_secs(window) + delay,
            broken: match &live_function.status {
                Status::Failed(why) | Status::Unusable(why) => Some(why.clone()),
                _ => None,
            },
        })
    }

    /// The pipeline next to those of the spec's other mappings.
    fn beside(&self, earlier: &[Pipeline], mut pipeline: Pipeline) -> Result<Pipeline, Diagnostic> {
        let other = earlier.iter().find(|it| it.source.arn() == pipeline.source.arn());
        match (&mut pipeline.source, other) {
            (PipelineSource::Table(table), other) => table.is_shared = other.is_some(),
            (PipelineSource::Queue(queue), Some(other)) => {
                let problem = format!("`{}` reads the queue `{}` too", other.mapping, queue.name);
                let hint = "send a message yourself, then check `engine logs`";
                return Err(self.problem(problem, hint).why("Lambda passes each message to only one of them"));
            }
            (PipelineSource::Queue(_), None) => {}
        }
        Ok(pipeline)
    }

    /// The source with this ARN, if a test can be written to it, and how long it delays a record.
    fn source(&self, arn: &str, filters: &[Pattern]) -> Result<(PipelineSource, Duration), Diagnostic> {
        let PipelineReader { spec: Spec { team, stack, .. }, mapping, .. } = self;
        let own = item::own(team, stack, &mapping.name);
        match kinds::EventSource::of_arn(arn) {
            Some(kinds::EventSource::Kinesis) => {
                let hint = "put a record into it yourself, then check `engine logs`";
                let problem = self.problem("its source is a Kinesis stream".to_owned(), hint);
                Err(problem.why("engine doesn't write to the streams of others, so this mapping isn't proven"))
            }
            Some(kinds::EventSource::Queue) => {
                let name = arn.rsplit(':').next().unwrap_or_default();
                let (queue, live) = self.writable("queue", name)?;
                let own = format!("{}-{}", own.0, item::nonce());
                let message = filter::solve_message(filters, &own);
                let (name, arn, imported) = (name.to_owned(), arn.to_owned(), queue.imported);
                let is_fifo = name.ends_with(".fifo");
                let delay = Duration::from_secs(number(&live.props, "delay_seconds").unwrap_or_default());
                Ok((PipelineSource::Queue(QueueSource { name, arn, imported, is_fifo, own, message }), delay))
            }
            Some(kinds::EventSource::Table) | None => {
                let name = arn.split_once(":table/").and_then(|(_, rest)| rest.split('/').next()).unwrap_or_default();
                let (table, live) = self.writable("table", name)?;
                let types = match live.props.get("attributes").or(table.desired.get("attributes")) {
                    Some(Value::Map(types)) => types
                        .iter()
                        .filter_map(|(name, it)| Some((name.to_string(), it.as_str()?.to_owned())))
                        .collect(),
                    _ => BTreeMap::new(),
                };
                let mut table = TableSource {
                    name: name.to_owned(),
                    imported: table.imported,
                    keys: key_attributes(table, Some(live)),
                    types,
                    current: live.outputs.get("stream_arn").map(String::as_str) == Some(arn),
                    stream: arn.to_owned(),
                    view: text(&live.props, "stream_view_type"),
                    is_shared: false,
                    own,
                    solution: Solution::default(),
                };
                table.solution = filter::solve(filters, &item::facts(&table));
                Ok((PipelineSource::Table(Box::new(table)), Duration::ZERO))
            }
        }
    }

    /// The table or queue with this name in AWS, if a test can be written to it.
    fn writable(&self, kind: &str, name: &str) -> Result<(&'s ResourceDecl, &'s Live), Diagnostic> {
        let declared = self.declared(kind, name).ok_or_else(|| {
            let hint = format!(
                "declare or import the {kind} in this spec, or ask its owner to {} and check `engine logs`",
                manual_action(kind)
            );
            self.problem(format!("this spec doesn't have the {kind} `{name}`"), hint)
                .why(format!("engine writes a test only to a {kind} that the spec declares"))
        })?;
        let live = self.live(declared).ok_or_else(|| self.missing(&format!("its {kind}")))?;
        match declared.imported {
            true => self.imported(declared, live)?,
            false => self.managed(declared, live)?,
        }
        Ok((declared, live))
    }

    /// Refuses an imported table or queue unless the user named it and no other team owns it.
    fn imported(&self, declared: &ResourceDecl, live: &Live) -> Result<(), Diagnostic> {
        let (kind, resource, name) = (&declared.schema().kind, &declared.name, &declared.id.name);
        let by_hand = manual_action(kind);
        if !self.allowed.contains(resource) {
            let what = if *kind == "table" { "write one test item" } else { "send one test message" };
            let hint = format!(
                "pass `--allow-imported {resource}` to {what} to it, or ask its owner to {by_hand} and check `engine logs`"
            );
            let problem = format!("this spec doesn't manage the {kind} `{name}`");
            return Err(self
                .problem(problem, hint)
                .why(format!("engine writes a test to an imported {kind} only if you allow it by name")));
        }
        match OwnershipVerdict::of(&live.owner, None, &declared.id.owner) {
            OwnershipVerdict::Unknown(UnreadableTags::NotYet(why)) => {
                let problem = format!("engine can't tell yet who owns the imported {kind} `{name}`: {why}");
                Err(self.problem(problem, "run the command again in a minute"))
            }
            OwnershipVerdict::Unknown(_) => {
                Err(self.problem(format!("engine can't tell who owns the imported {kind} `{name}`"), READ_TAGS))
            }
            _ => match live.owner.bars_team(&declared.id.owner.team) {
                Some(owner) => Err(self.problem(
                    format!("the imported {kind} `{name}` {owner}"),
                    format!("ask its owner to {by_hand}, then check `engine logs`"),
                )),
                None => Ok(()),
            },
        }
    }

    /// Refuses a table or queue that this stack doesn't own.
    fn managed(&self, declared: &ResourceDecl, live: &Live) -> Result<(), Diagnostic> {
        let hint = format!("ask its owner to {}, then check `engine logs`", manual_action(&declared.schema().kind));
        match items::owner_problem(self.spec, declared, live, &hint) {
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
        let diagnostic = self.problem(format!("{what} doesn't exist {}", searched.location()), searched.elsewhere());
        diagnostic.hint(Advice::from("otherwise run ").then(searched.apply()).then(" to create it"))
    }
}

/// How a user causes a record.
fn manual_action(kind: &str) -> &'static str {
    if kind == "table" { "change an item" } else { "send a message" }
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

/// Who else will see the tests, a sentence each. What can't be checked counts.
///
/// # Errors
/// Transient errors of AWS.
pub async fn company(cx: &Context, pipelines: &[Pipeline]) -> Result<Vec<String>, AwsError> {
    let mut company = Vec::new();
    for (at, pipeline) in pipelines.iter().enumerate() {
        let source = &pipeline.source;
        if pipelines.iter().take(at).any(|earlier| earlier.source.arn() == source.arn()) {
            continue;
        }
        let name = source.name();
        match source {
            PipelineSource::Table(table) => {
                if table.imported {
                    company.push(format!(
                        "the spec imports the table `{name}`, so its owner and its readers will see the test item"
                    ));
                }
                company.extend(other_items(cx, table, pipelines).await?);
            }
            PipelineSource::Queue(queue) if queue.imported => company.push(format!(
                "the spec imports the queue `{name}`, so its owner and its receivers may see the test message"
            )),
            PipelineSource::Queue(_) => {}
        }
        let list = || async {
            let pages = cx.aws.lambda.list_event_source_mappings().event_source_arn(source.arn()).into_paginator();
            pages.items().send().collect::<Result<Vec<_>, _>>().await.context("ListEventSourceMappings", name)
        };
        for other in cx.read(name, list).await? {
            let uuid = other.uuid.unwrap_or_default();
            if other.event_source_arn.as_deref() != Some(source.arn()) || pipelines.iter().any(|it| it.uuid == uuid) {
                continue;
            }
            let function = function_name(&other.function_arn.unwrap_or_default());
            company.push(match source {
                PipelineSource::Table(_) => {
                    format!("the mapping {uuid}, which isn't in this spec, sends it to `{function}`")
                }
                PipelineSource::Queue(_) => format!(
                    "the mapping {uuid}, which isn't in this spec, reads `{name}` too, so Lambda may pass the test \
                     message to `{function}` instead"
                ),
            });
        }
    }
    Ok(company)
}

/// Whether a table has items besides the test items that killed runs left.
async fn other_items(cx: &Context, table: &TableSource, pipelines: &[Pipeline]) -> Result<Option<String>, AwsError> {
    let TableSource { name, keys, .. } = table;
    let tables = pipelines.iter().filter_map(|it| match &it.source {
        PipelineSource::Table(other) if other.name == *name => Some(&**other),
        _ => None,
    });
    let ours: Vec<_> = tables.map(item::key).collect();
    let scan = || async {
        let mut request = cx.aws.dynamodb.scan().table_name(name);
        request = request.limit(i32::try_from(ours.len() + 1).unwrap_or(i32::MAX));
        let names: Vec<String> = (0..keys.len()).map(|at| format!("#k{at}")).collect();
        for (name, key) in names.iter().zip(keys) {
            request = request.expression_attribute_names(name, &key.name);
        }
        request.projection_expression(names.join(", ")).send().await.context("Scan", name)
    };
    match cx.read(name, scan).await {
        Ok(found) => {
            let is_ours = |item: &std::collections::HashMap<String, _>| {
                ours.iter().any(|key| key.iter().all(|(name, value)| item.get(name) == Some(value)))
            };
            let has_others = !found.items().iter().all(is_ours);
            Ok(has_others.then(|| format!("the table `{name}` has items, so its readers will see the test item too")))
        }
        Err(error) if error.passes() => Err(error),
        Err(_) => Ok(Some(format!("engine can't check whether the table `{name}` is empty"))),
    }
}

/// The test item's partition key, or the text of the test message, as a log shows it.
pub fn item_name(pipeline: &Pipeline) -> String {
    match &pipeline.source {
        PipelineSource::Table(table) => item::names(table).into_iter().next().unwrap_or_default(),
        PipelineSource::Queue(queue) => queue.own.clone(),
    }
}

/// Verifies one mapping and reports each hop as soon as it is known. It deletes the test item, also
/// after Ctrl-C.
pub async fn verify(
    cx: &Context,
    pipeline: &Pipeline,
    intervals: Intervals,
    report: &mut dyn FnMut(&ProbeStep, ProbeEvent),
) -> VerificationResult {
    let start = Instant::now();
    let (mut sample, mut steps) = (Sample::new(&pipeline.source), Vec::new());
    let stop = prove(cx, pipeline, intervals, &mut sample, &mut steps, report).await.err();
    let left = sample.remove(&cx.with_interrupt_policy(InterruptPolicy::FinishAll)).await.err();
    VerificationResult { steps, stop, left, took: start.elapsed() }
}

async fn prove(
    cx: &Context,
    pipeline: &Pipeline,
    intervals: Intervals,
    sample: &mut Sample<'_>,
    steps: &mut Vec<ProbeStep>,
    report: &mut dyn FnMut(&ProbeStep, ProbeEvent),
) -> Result<(), StopReason> {
    if let Some(finding) = diagnosis::obstacle(pipeline) {
        return Err(StopReason::Finding(Box::new(finding)));
    }
    let deadline = Instant::now() + intervals.timeout + pipeline.window * 3;
    let name = item_name(pipeline);
    let log = Log::follow(cx, &pipeline.log_group, &name, intervals.skew);
    let result = async { Ok(diagnosis::result(cx, pipeline).await.ok()) };
    let (mut log, before) = futures_util::future::try_join(log, result).await?;
    match &pipeline.source {
        PipelineSource::Table(table) if table.is_shared => drain_previous(cx, pipeline, intervals, &mut log).await?,
        PipelineSource::Table(_) => {}
        // The read of the spec may be older, and a message can't be taken back.
        PipelineSource::Queue(_) => {
            let state = before.as_ref().map(|(state, _)| state.as_str()).unwrap_or_default();
            if let Some(finding) = diagnosis::disabled_meanwhile(pipeline, state) {
                return Err(StopReason::Finding(Box::new(finding)));
            }
            log.poll(cx).await?;
        }
    }
    sample.prepare(cx).await?;
    let before = before.map(|(_, result)| result);
    let dropped = Vec::new();
    let mut verification = Verification { cx, pipeline, intervals, deadline, log, sample, report, before, dropped };
    for probe in pipeline.source.probes() {
        steps.push(ProbeStep::of(&pipeline.source, probe));
        let Some(step) = steps.last_mut() else { continue };
        verification.verify_step(step).await?;
    }
    Ok(())
}

/// Waits until the function has got the records of the previous test item in its table, so that they
/// are not taken for this one's.
async fn drain_previous(
    cx: &Context,
    pipeline: &Pipeline,
    intervals: Intervals,
    log: &mut Log,
) -> Result<(), AwsError> {
    for _ in 0..MAX_SETTLING {
        cx.pause_between_polls(
            intervals.quiet + pipeline.window,
            "records of the previous test item",
            pipeline.source.name(),
        )
        .await?;
        log.poll(cx).await?;
        if !log.is_fresh() {
            break;
        }
    }
    Ok(())
}

/// What a run writes to the source, and how the function's log and the source show it.
enum Sample<'p> {
    Item {
        table: &'p TableSource,
        item: Box<TestItem>,
        /// Its partition key in the forms in which the log may show it.
        names: Vec<String>,
        stream: Stream,
    },
    Message(TestMessage<'p>),
}

impl<'p> Sample<'p> {
    fn new(source: &'p PipelineSource) -> Sample<'p> {
        match source {
            PipelineSource::Table(table) => {
                let (item, names, stream) = (Box::new(TestItem::new(table)), item::names(table), Stream::new(table));
                Sample::Item { table, item, names, stream }
            }
            PipelineSource::Queue(queue) => Sample::Message(TestMessage::new(queue)),
        }
    }

    /// Prepares the first write.
    async fn prepare(&mut self, cx: &Context) -> Result<(), AwsError> {
        let Sample::Item { table, stream, .. } = self else { return Ok(()) };
        if table.imported {
            cx.aws.guard.allow_item("table", &table.name, Json::Object(table.solution.keys.clone()));
        }
        stream.follow(cx, &table.stream).await
    }

    /// Forgets what the source carried.
    fn forget(&mut self) {
        if let Sample::Item { stream, .. } = self {
            stream.forget();
        }
    }

    async fn write(&mut self, cx: &Context, probe: Probe, deadline: Instant) -> Result<(), AwsError> {
        match (self, probe) {
            (Sample::Item { item, .. }, Probe::Change(change)) => item.write(cx, change, deadline).await,
            (Sample::Message(message), Probe::Message) => message.send(cx, deadline).await,
            _ => Err(AwsError::defect("a test that isn't of its source".to_owned())),
        }
    }

    /// Whether it can be written again without another effect.
    fn is_repeatable(&self) -> bool {
        matches!(self, Sample::Item { .. })
    }

    /// Whether something else has the item's key.
    fn is_key_taken(&self) -> bool {
        matches!(self, Sample::Item { item, .. } if item.is_key_taken())
    }

    /// How the log shows it.
    fn sighting(&self, log: &Log, probe: Probe) -> Option<Sighting> {
        match (self, probe) {
            (Sample::Item { item, names, .. }, Probe::Change(change)) => log.shows(names, item, change),
            (Sample::Message(message), Probe::Message) => message.sighting(log),
            _ => None,
        }
    }

    /// Reads what the source carried.
    async fn poll(&mut self, cx: &Context) -> Result<(), AwsError> {
        match self {
            Sample::Item { stream, .. } => stream.poll(cx).await,
            Sample::Message(message) => message.poll(cx).await,
        }
    }

    /// Whether an invocation has ended that the source shows to be possible for it.
    fn is_delivered(&self, log: &Log, probe: Probe) -> bool {
        match self {
            Sample::Item { stream, .. } => {
                let own = stream.own.iter().rev().find(|(name, _)| name == probe.word());
                own.is_some_and(|(_, second)| stream.read_problem.is_none() && log.has_ended_call(*second))
            }
            Sample::Message(message) => {
                log.has_ended_call(0) && (message.is_consumed() || message.others(log).is_some())
            }
        }
    }

    /// What else an invocation may have been for, as a clause.
    fn others(&self, log: &Log) -> Option<String> {
        match self {
            Sample::Item { stream, table, .. } if stream.n_others > 0 => {
                Some(format!("the stream of `{}` carried {} other records meanwhile", table.name, stream.n_others))
            }
            Sample::Item { .. } => None,
            Sample::Message(message) => message.others(log),
        }
    }

    /// Why engine can't know what the source carried.
    fn read_problem(&self) -> Option<&str> {
        match self {
            Sample::Item { stream, .. } => stream.read_problem.as_deref(),
            Sample::Message(message) => message.read_problem.as_deref(),
        }
    }

    /// Deletes the item. A message can't be deleted.
    async fn remove(&mut self, cx: &Context) -> Result<(), AwsError> {
        match self {
            Sample::Item { item, .. } if item.may_exist() => match item.remove(cx, Instant::now() + REMOVAL).await {
                Err(error) if error.is(Code::ChangedMeanwhile) => Ok(()),
                removed => removed,
            },
            _ => Ok(()),
        }
    }
}

/// The verification of one mapping, in progress.
struct Verification<'p, 's> {
    cx: &'p Context,
    pipeline: &'p Pipeline,
    intervals: Intervals,
    deadline: Instant,
    log: Log,
    sample: &'p mut Sample<'s>,
    report: &'p mut dyn FnMut(&ProbeStep, ProbeEvent),
    /// The mapping's result before the first write, if it could be read.
    before: Option<String>,
    /// The changes that the filters dropped since the last one that passed.
    dropped: Vec<EventName>,
}

/// What is known about a step that is being waited for.
#[derive(Default)]
struct Waiting {
    /// Since when the log shows an error.
    failing: Option<Instant>,
    /// Since when an invocation has ended that may be the one for the step.
    ended: Option<Instant>,
    /// Since when the mapping has a problem that isn't the function's.
    troubled: Option<Instant>,
}

impl Verification<'_, '_> {
    /// Makes a write, and waits until it reached the function if the filters let it through.
    async fn verify_step(&mut self, step: &mut ProbeStep) -> Result<(), StopReason> {
        if self.dropped.is_empty() {
            self.log.forget();
            self.sample.forget();
        }
        let start = Instant::now();
        self.write(step).await?;
        let written = Instant::now();
        step.written = Some(written - start);
        (self.report)(step, ProbeEvent::Reached(Hop::Written));
        if step.passes == Verdict::Yes {
            self.wait(step, written).await?;
            self.dropped.clear();
            // From now on, the result may be that of this step.
            self.before = None;
        } else if let (Verdict::No, Probe::Change(change)) = (step.passes, step.probe) {
            self.dropped.push(change);
        }
        (self.report)(step, ProbeEvent::Ended);
        Ok(())
    }

    async fn wait(&mut self, step: &mut ProbeStep, written: Instant) -> Result<(), StopReason> {
        let Verification { cx, pipeline, intervals, .. } = *self;
        let is_repeatable = self.sample.is_repeatable();
        let next_write = || Some(Instant::now() + intervals.again? + pipeline.window).filter(|_| is_repeatable);
        let (mut again, mut waiting, mut next_state) = (next_write(), Waiting::default(), written + intervals.state);
        loop {
            self.log.poll(cx).await?;
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
                next_state = Instant::now() + intervals.state;
            }
            let fails = self.log.error().is_some() && now >= *waiting.failing.get_or_insert(now) + intervals.grace;
            if self.log.error().is_none() {
                waiting.failing = None;
            }
            if fails || now >= self.deadline {
                return Err(self.finding(step).await?);
            }
            cx.pause_between_polls(intervals.poll, "the function's log", &pipeline.function).await?;
            if again.is_some_and(|again| Instant::now() >= again) && !self.log.shows_a_call() {
                self.write(step).await?;
                again = next_write();
            }
        }
    }

    async fn write(&mut self, step: &mut ProbeStep) -> Result<(), StopReason> {
        step.n_writes += 1;
        let written = self.sample.write(self.cx, step.probe, self.deadline).await;
        written.map_err(|error| match error.cause {
            Code::Interrupted => StopReason::Failed(error),
            _ if self.sample.is_key_taken() => {
                StopReason::Finding(Box::new(diagnosis::key_taken(self.pipeline, step.probe)))
            }
            _ => StopReason::Finding(Box::new(diagnosis::write(self.pipeline, step.probe, &error))),
        })
    }

    /// Whether the log shows the step; reports the hops that it shows for the first time.
    fn is_logged(&mut self, step: &mut ProbeStep, written: Instant) -> bool {
        if step.invoked.is_none() && self.log.shows_a_call() {
            step.invoked = Some(written.elapsed());
            (self.report)(step, ProbeEvent::Reached(Hop::Invoked));
        }
        let sighting = self.log.is_fresh().then(|| self.sample.sighting(&self.log, step.probe)).flatten();
        if sighting.is_some() {
            step.logged = Some(written.elapsed());
            step.sighting = sighting;
            (self.report)(step, ProbeEvent::Reached(Hop::Logged));
        }
        sighting.is_some()
    }

    /// Whether an invocation that the log doesn't name can only be the one for the step.
    async fn is_invoked(&mut self, step: &ProbeStep, waiting: &mut Waiting) -> Result<bool, StopReason> {
        if !self.log.has_ended_call(0) || self.log.error().is_some() {
            waiting.ended = None;
            return Ok(false);
        }
        let now = Instant::now();
        if now < *waiting.ended.get_or_insert(now) + self.intervals.late {
            return Ok(false);
        }
        self.sample.poll(self.cx).await?;
        if !self.sample.is_delivered(&self.log, step.probe) {
            return Ok(false);
        }
        if self.sample.others(&self.log).is_some() {
            // A function that logs its records may still log this one.
            let is_over = now >= waiting.ended.unwrap_or(now) + self.intervals.grace && !self.log.names_a_change();
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

    /// Stops if Lambda already knows why the step can't reach the function.
    async fn check_mapping(&mut self, step: &ProbeStep, waiting: &mut Waiting) -> Result<(), StopReason> {
        let (state, result) = match diagnosis::result(self.cx, self.pipeline).await {
            Ok(answer) => answer,
            Err(error) if error.passes() => return Err(error.into()),
            Err(_) => return Ok(()),
        };
        // Lambda keeps the result of the last batch, however old.
        let is_current = !diagnosis::is_of_function(&result) || self.before.as_ref().is_some_and(|it| *it != result);
        let now = Instant::now();
        if !is_problem(&result) || !is_current {
            waiting.troubled = None;
        } else if waiting.troubled.is_none() {
            waiting.troubled = Some(now);
        }
        let is_over = waiting.troubled.is_some_and(|since| now >= since + self.intervals.grace);
        if diagnosis::is_disabled(&state) || is_over && !self.log.shows_a_call() {
            return Err(self.finding(step).await?);
        }
        Ok(())
    }

    /// Stops if the log shows a change that the filters drop.
    fn check_dropped(&self) -> Result<(), StopReason> {
        let Sample::Item { item, names, .. } = &*self.sample else { return Ok(()) };
        let is_logged = |change: &EventName| self.log.shows_own(names, item, *change);
        match self.dropped.iter().copied().find(is_logged) {
            Some(change) => Err(StopReason::Finding(Box::new(diagnosis::not_filtered(self.pipeline, change)))),
            None => Ok(()),
        }
    }

    /// Why the step didn't reach the function.
    async fn finding(&mut self, step: &ProbeStep) -> Result<StopReason, StopReason> {
        let Verification { cx, pipeline, .. } = *self;
        if self.log.shows_a_call() {
            self.sample.poll(cx).await?;
        }
        let before = self.before.as_deref();
        let mut finding = diagnosis::of(cx, pipeline, step.probe, &self.log, self.sample, before).await?;
        if let PipelineSource::Queue(queue) = &pipeline.source {
            finding.diagnostic = finding.diagnostic.hint(message::fate(queue));
        }
        Ok(StopReason::Finding(Box::new(finding)))
    }
}

/// Whether a mapping's result is a failure: `PROBLEM: …` on AWS, `FAILED` in the local AWS.
fn is_problem(result: &str) -> bool {
    result.starts_with("PROBLEM") || result == "FAILED"
}
