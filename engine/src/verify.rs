//! The proof that a pipeline works: one item is put, updated and deleted in the table, and the function's log has to
//! show all three.
//!
//! **Invariant:** nothing is written but the test item, and none is left behind, however a run ends.

mod diagnosis;
mod item;
mod log;

use std::time::Duration;

use serde::Serialize;
use serde_json::Value as Json;
use tokio::time::Instant;

use crate::aws::{AwsError, Class, Context, Named, Steady};
use crate::diagnostic::Diagnostic;
use crate::inventory::{Inventory, Searched};
use crate::kinds::default_log_group;
use crate::records::Happening;
use crate::schema::Ownership;
use crate::spec::{Declared, Spec};
use crate::value::Value;

pub use item::KeyAttribute;
pub use log::{Evidence, Sighting};

use item::Item;
use log::Log;

/// How long the test item's removal is tried.
const REMOVAL: Duration = Duration::from_secs(30);

/// A mapping to be verified, and what it connects.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// Whose it is.
    pub team: String,
    /// The team's stack.
    pub stack: String,
    /// The mapping's name in the spec.
    pub mapping: String,
    /// The mapping's id.
    pub uuid: String,
    /// Whether the stream is read.
    pub enabled: bool,
    /// The table.
    pub table: String,
    /// What its key is made of, the partition key first.
    pub keys: Vec<KeyAttribute>,
    /// The stream that the mapping reads.
    pub stream: String,
    /// Whether that is the table's present one.
    pub current: bool,
    /// What its records show.
    pub view: String,
    /// The function.
    pub function: String,
    /// The ARN of its role.
    pub role: String,
    /// Where it logs.
    pub log_group: String,
    /// Whether it may run at all.
    pub throttled: bool,
    /// The mapping's filters.
    pub filters: Vec<Json>,
    /// How long the mapping waits for a batch to fill.
    pub window: Duration,
}

/// The way of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Hop {
    /// DynamoDB has taken the item.
    Written,
    /// The function's log shows a call.
    Invoked,
    /// The function's log shows the change.
    Logged,
}

impl Hop {
    /// In words.
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
    /// The mapping reads a stream that is not the table's present one.
    StreamGone,
    /// The trust policy of the function's role does not let Lambda assume it.
    RoleNotTrusting,
    /// The mapping's last result is a problem.
    MappingProblem,
    /// The mapping's filters drop the record.
    Filtered,
    /// The function fails.
    FunctionError,
    /// There is no log group.
    NoLogGroup,
    /// The function was called, and its log does not name the item.
    NotLogged,
    /// Too many writes for the table, or the function may not run.
    Throttled,
    /// Nothing was seen, and nothing tells why.
    NotInvoked,
    /// Somebody else has changed the test item.
    Changed,
    /// DynamoDB refused the write.
    Refused,
}

/// The first hop that failed, and what was found there.
#[derive(Debug, Clone)]
pub struct Finding {
    /// Of which change.
    pub change: Happening,
    /// Which one.
    pub hop: Hop,
    /// Why, for programs.
    pub cause: Cause,
    /// Why, and what to do, for people.
    pub diagnostic: Diagnostic,
}

/// How far a change has come; times are from the moment when DynamoDB had taken it.
#[derive(Debug, Clone)]
pub struct Step {
    /// The change.
    pub change: Happening,
    /// How often it was written.
    pub n_writes: u32,
    /// How long the write took.
    pub written: Option<Duration>,
    /// When a call was seen.
    pub invoked: Option<Duration>,
    /// When the line was seen.
    pub logged: Option<Duration>,
    /// What was seen.
    pub sighting: Option<Sighting>,
}

/// How the verification of one mapping ended.
#[derive(Debug)]
pub struct Outcome {
    /// What has happened.
    pub steps: Vec<Step>,
    /// What stopped it, if something did.
    pub stop: Option<Stop>,
    /// Why the test item could not be removed.
    pub left: Option<AwsError>,
    /// From start to end.
    pub took: Duration,
}

/// What stopped a verification.
#[derive(Debug)]
pub enum Stop {
    /// A hop failed.
    Finding(Box<Finding>),
    /// AWS failed, or Ctrl-C was pressed.
    Failed(AwsError),
}

impl From<AwsError> for Stop {
    fn from(error: AwsError) -> Stop {
        Stop::Failed(error)
    }
}

/// How patient a verification is.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// For all of a mapping.
    pub timeout: Duration,
    /// Between two looks into the log.
    pub look: Duration,
    /// After how long a change is written again that nobody has heard of: a mapping that is new, or was changed, may miss
    /// what is written in its first minutes (docs.aws.amazon.com/lambda/latest/dg/with-ddb.html).
    pub again: Option<Duration>,
    /// How long a function that fails may take to mend by itself.
    pub grace: Duration,
    /// How far this machine's clock may be ahead of that of the log.
    pub skew: Duration,
}

impl Pace {
    /// For AWS, where a fresh mapping may take minutes to read its stream.
    pub fn on_aws(timeout: Option<Duration>) -> Pace {
        Pace {
            timeout: timeout.unwrap_or(Duration::from_secs(300)),
            look: Duration::from_millis(500),
            again: Some(Duration::from_secs(15)),
            grace: Duration::from_secs(20),
            skew: Duration::from_secs(60),
        }
    }

    /// For a rehearsal.
    pub fn locally(timeout: Option<Duration>) -> Pace {
        Pace {
            timeout: timeout.unwrap_or(Duration::from_secs(15)),
            look: Duration::from_millis(15),
            again: None,
            grace: Duration::from_secs(3),
            // The log is written by this machine.
            skew: Duration::ZERO,
        }
    }
}

/// The mappings of a spec with what they connect.
///
/// # Errors
/// What keeps one from being verified: it does not stand, or its table is not ours.
pub fn pipelines(spec: &Spec, inventory: &Inventory, searched: &Searched) -> Result<Vec<Pipeline>, Vec<Diagnostic>> {
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
        let error = Diagnostic::error("the spec has no mapping, so there is nothing to verify");
        errors.push(error.hint("declare a `type: mapping` that connects a table's stream and a function"));
    }
    if errors.is_empty() { Ok(pipelines) } else { Err(errors) }
}

fn pipeline(
    spec: &Spec,
    inventory: &Inventory,
    searched: &Searched,
    mapping: &Declared,
) -> Result<Pipeline, Diagnostic> {
    let problem = |what: String| Diagnostic::error(format!("`{}` can't be verified: {what}", mapping.name));
    let missing = |what: &str| {
        let diagnostic = problem(format!("{what} does not stand {}", searched.place())).hint(searched.elsewhere());
        diagnostic.hint(format!("otherwise `{}` makes what is missing", searched.apply()))
    };
    let live = inventory.live(&mapping.name).ok_or_else(|| missing("the mapping"))?;
    let stream = text(&live.props, "event_source_arn");
    let name = stream.split_once(":table/").and_then(|(_, rest)| rest.split('/').next()).unwrap_or_default();
    let of_kind =
        |kind: &str, name: &str| spec.resources.iter().find(|it| it.schema().kind == kind && it.id.name == name);
    let table = of_kind("table", name);
    let table = table.filter(|table| !table.imported).ok_or_else(|| {
        problem(format!("the table `{name}` is not this spec's"))
            .why(
                "a test item is only written to a table that the spec manages; what is imported, or not in it, is never \
                 written",
            )
            .hint("declare the table in this spec, or have an item changed by its owner and look at `engine logs`")
    })?;
    let live_table = inventory.live(&table.name).ok_or_else(|| missing("its table"))?;
    let somebody = match &live_table.owner {
        Ownership::Nobody => {
            let hint = "`engine apply` takes it over, if you agree";
            return Err(problem(format!("nobody owns the table `{name}` yet, so nothing is written to it")).hint(hint));
        }
        Ownership::Engine(owner) if (&owner.team, &owner.stack) != (&spec.team, &spec.stack) => Some(owner.to_string()),
        Ownership::CloudFormation(stack) => Some(format!("the CloudFormation stack `{stack}`")),
        _ => None,
    };
    if let Some(somebody) = somebody {
        let hint = "have an item changed by its owner, and look at `engine logs`";
        return Err(problem(format!("the table `{name}` belongs to {somebody}")).hint(hint));
    }
    let (_, function) = mapping.host().unwrap_or_default();
    let of_function = of_kind("function", function);
    let function_live = of_function.and_then(|it| inventory.live(&it.name)).ok_or_else(|| missing("its function"))?;
    let declared_group = of_function.and_then(|it| it.desired.get("log_group"));
    let log_group = function_live.props.get("log_group").or(declared_group).and_then(Value::as_str);
    let log_group = log_group.map_or_else(|| default_log_group(function), str::to_owned);
    // The key never changes, so where the read does not show it, the spec does.
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
        uuid: live.incarnation.clone().unwrap_or_default(),
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

/// Who else sees the test items, each in a sentence; what may not be looked at counts as somebody.
///
/// # Errors
/// What keeps AWS from answering.
pub async fn company(cx: &Context, pipelines: &[Pipeline]) -> Result<Vec<String>, AwsError> {
    let mut company = Vec::new();
    for (at, pipeline) in pipelines.iter().enumerate() {
        let Pipeline { table, stream, keys, .. } = pipeline;
        if pipelines.iter().take(at).any(|earlier| earlier.table == *table) {
            continue;
        }
        // What killed runs have left is nobody's.
        let ours: Vec<_> = pipelines.iter().filter(|it| it.table == *table).map(item::key).collect();
        let scan = || async {
            let mut request = cx.aws.dynamodb.scan().table_name(table);
            request = request.limit(i32::try_from(ours.len() + 1).unwrap_or(i32::MAX));
            let names: Vec<String> = (0..keys.len()).map(|at| format!("#k{at}")).collect();
            for (name, key) in names.iter().zip(keys) {
                request = request.expression_attribute_names(name, &key.name);
            }
            request.projection_expression(names.join(", ")).send().await.named("Scan", table)
        };
        match cx.read(table, scan).await {
            Ok(found) => {
                let is_ours = |item: &std::collections::HashMap<String, _>| {
                    ours.iter().any(|key| key.iter().all(|(name, value)| item.get(name) == Some(value)))
                };
                if !found.items().iter().all(is_ours) {
                    company
                        .push(format!("the table `{table}` holds items, so whoever reads it sees the test item too"));
                }
            }
            Err(error) if error.passes() => return Err(error),
            Err(_) => company.push(format!("whether the table `{table}` is empty may not be looked at")),
        }
        let mut marker = None;
        loop {
            let list = || async {
                let request = cx.aws.lambda.list_event_source_mappings().event_source_arn(stream);
                request.set_marker(marker.clone()).send().await.named("ListEventSourceMappings", table)
            };
            let page = cx.read(table, list).await?;
            for other in page.event_source_mappings.unwrap_or_default() {
                let uuid = other.uuid.unwrap_or_default();
                if other.event_source_arn.as_ref() == Some(stream) && !pipelines.iter().any(|it| it.uuid == uuid) {
                    let arn = other.function_arn.unwrap_or_default();
                    let function = crate::aws::guard::function_name(&arn);
                    company.push(format!("the mapping {uuid}, which is not in this spec, hands it to `{function}`"));
                }
            }
            marker = page.next_marker.filter(|marker| !marker.is_empty());
            if marker.is_none() {
                break;
            }
        }
    }
    Ok(company)
}

/// The name under which a log shows the test item.
pub fn item_name(pipeline: &Pipeline) -> String {
    item::names(pipeline).into_iter().next().unwrap_or_default()
}

/// Verifies one mapping, and tells each hop as it is seen. The test item is gone afterwards, also after Ctrl-C.
pub async fn verify(cx: &Context, pipeline: &Pipeline, pace: Pace, report: &mut dyn FnMut(&Step, Hop)) -> Outcome {
    let start = Instant::now();
    let (mut item, mut steps) = (Item::new(pipeline), Vec::new());
    let stop = prove(cx, pipeline, pace, &mut item, &mut steps, report).await.err();
    let steady = cx.steady(Steady::Always);
    let left = match item.may_stand() {
        true => item.remove(&steady, Instant::now() + REMOVAL).await.err().filter(|it| it.class != Class::Changed),
        false => None,
    };
    Outcome { steps, stop, left, took: start.elapsed() }
}

async fn prove(
    cx: &Context,
    pipeline: &Pipeline,
    pace: Pace,
    item: &mut Item,
    steps: &mut Vec<Step>,
    report: &mut dyn FnMut(&Step, Hop),
) -> Result<(), Stop> {
    if let Some(finding) = diagnosis::obstacle(pipeline) {
        return Err(Stop::Finding(Box::new(finding)));
    }
    let deadline = Instant::now() + pace.timeout + pipeline.window * 3;
    let names = item::names(pipeline);
    let (mut log, before) = futures_util::future::try_join(Log::follow(cx, &pipeline.log_group, pace.skew), async {
        Ok(diagnosis::result(cx, pipeline).await.ok())
    })
    .await?;
    let mut before = before.map(|(_, result)| result);
    for change in Happening::ALL {
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
            if let Some(sighting) = log.shows(&names, item, change) {
                step.logged = Some(written.elapsed());
                step.sighting = Some(sighting);
                report(step, Hop::Logged);
                break;
            }
            let now = Instant::now();
            let fails = log.trouble().is_some() && now >= *failing.get_or_insert(now) + pace.grace;
            if log.trouble().is_none() {
                failing = None;
            }
            if fails || now >= deadline {
                let finding = diagnosis::of(cx, pipeline, change, &log, before.as_deref()).await?;
                return Err(Stop::Finding(Box::new(finding)));
            }
            cx.rest(pace.look, "the function's log", &pipeline.function).await?;
        }
        // From the second change on, the result may be that of the one before.
        before = None;
    }
    Ok(())
}
