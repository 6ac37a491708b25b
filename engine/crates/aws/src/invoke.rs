//! Direct invocations of a function, and the stream records to invoke it with.
//!
//! **Invariant:** a function is invoked at most once: a call whose answer was lost isn't repeated.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_lambda::config::retry::RetryConfig;
use aws_sdk_lambda::config::timeout::TimeoutConfig;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::LogType;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};
use tokio::time::Instant;

use crate::aws::{AwsError, CallContext, Code, Context, Wait};
use crate::diagnostic::Diagnostic;
use crate::filter::{self, RecordFacts};
use crate::items::{self, ItemTable, KeyAttribute, key_attributes};
use crate::logs::EventName;
use crate::remedy::Advice;
use crate::schema::Live;
use crate::spec::{ResourceDecl, Spec};
use crate::value::Value;

/// The most bytes of an event that Lambda takes
/// (docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html).
pub const MAX_EVENT: usize = 6 * 1024 * 1024;

/// The longest time that a function can run (same page).
const MAX_DURATION: Duration = Duration::from_secs(900);
/// Until a response arrives after the function has ended.
const RESPONSE: Duration = Duration::from_secs(60);

/// Until Lambda invokes a new function, or one whose network it connects again
/// (docs.aws.amazon.com/lambda/latest/dg/functions-states.html).
const ACTIVE: Wait = Wait {
    what: "Lambda to activate the function",
    reason: "it was created or changed a moment ago",
    inspect_cmd: "",
    limit: None,
    budget: Duration::from_secs(300),
};

/// The key of the records that engine makes, unless it is a number.
const KEY: &str = "engine-invoke";
/// The text in their images.
const IMAGE: &str = "from engine invoke";

/// Whether a text is about a record that engine has made for an invocation, so that it shows nothing
/// of the table's stream.
pub fn is_about_own_record(text: &str) -> bool {
    text.contains(KEY) || text.contains("engine invoke") || text.contains(&STANDARD.encode(KEY))
}

/// What an invocation returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// The function's result, which is usually JSON; empty if it returned nothing. After an error,
    /// the error as JSON.
    pub payload: String,
    /// `Unhandled` or `Handled` if the function failed.
    pub error: Option<String>,
    /// The last 4 KB of its log, if Lambda returned any.
    pub log: String,
    /// From the request to the response.
    pub took: Duration,
}

/// Invokes a function and waits for its result. Secrets are masked in what it returns.
///
/// # Errors
/// `AccessDenied` without the permission `lambda:InvokeFunction`; `Throttled` at the limit of
/// concurrent executions; `NoAnswer` if the response was lost, and the function may have run.
pub async fn invoke(cx: &Context, function: &str, live: &Live, event: &str) -> Result<Invocation, AwsError> {
    let timeout = match live.props.get("timeout") {
        Some(Value::Number(seconds)) => seconds.as_u64().map_or(MAX_DURATION, Duration::from_secs),
        _ => MAX_DURATION,
    };
    let limits = TimeoutConfig::builder().read_timeout(timeout + RESPONSE);
    let limits = limits.operation_attempt_timeout(timeout + RESPONSE * 2).build();
    let call = || async {
        let request = cx.aws.lambda.invoke().function_name(function).log_type(LogType::Tail);
        let request = request.payload(Blob::new(event)).customize();
        let once =
            aws_sdk_lambda::Config::builder().timeout_config(limits.clone()).retry_config(RetryConfig::disabled());
        let start = Instant::now();
        let answer = request.config_override(once).send().await.context("Invoke", function);
        match answer {
            // In these two cases, the function certainly didn't run.
            Err(error) if error.is_any(&[Code::Busy, Code::Throttled]) => Err(error),
            answer => Ok(answer.map(|answer| (answer, start.elapsed()))),
        }
    };
    let (answer, took) = cx.send(ACTIVE, function, call).await?.map_err(|error| cx.masked(error))?;
    let text = |bytes: &[u8]| cx.secrets.mask(&String::from_utf8_lossy(bytes));
    let log = answer.log_result.and_then(|log| STANDARD.decode(log).ok()).unwrap_or_default();
    Ok(Invocation {
        payload: answer.payload.map(|payload| text(payload.as_ref())).unwrap_or_default(),
        error: answer.function_error,
        log: text(&log),
        took,
    })
}

/// Checks that this stack can invoke a function: it owns it, or the spec imports it, and no other
/// team owns it.
///
/// # Errors
/// Another owner, or none that is certain.
pub fn check_owner(spec: &Spec, function: &ResourceDecl, live: &Live) -> Result<(), Diagnostic> {
    let hint = "ask its owner to invoke it";
    let problem = match function.imported {
        true => live
            .owner
            .bars_team(&spec.team)
            .map(|owner| (format!("the function `{}` {owner}", function.id.name), Advice::from(hint))),
        false => items::owner_problem(spec, function, live, hint),
    };
    let refuse = |(what, hint)| Diagnostic::error(format!("`{}` can't be invoked: {what}", function.name), hint);
    problem.map_or(Ok(()), |problem| Err(refuse(problem)))
}

/// The table behind a function, from which its test records are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordSource {
    /// Its key, partition key first.
    pub keys: Vec<KeyAttribute>,
    /// The ARN of its stream.
    pub stream: String,
    /// The stream's view type.
    pub view: String,
}

impl RecordSource {
    /// The source that a table is for its functions; `None` without a stream.
    pub fn new(table: &ResourceDecl, live: &Live) -> Option<RecordSource> {
        let view = live.props.get("stream_view_type").and_then(Value::as_str)?.to_owned();
        let stream = live.outputs.get("stream_arn").filter(|arn| !arn.is_empty())?.clone();
        let declared = ItemTable::declared(table).keys;
        let keys = if declared.is_empty() { key_attributes(table, Some(live)) } else { declared };
        Some(RecordSource { keys, stream, view })
    }

    /// An event with one record of a change, as Lambda passes it
    /// (docs.aws.amazon.com/lambda/latest/dg/with-ddb.html).
    pub fn event(&self, change: EventName, region: &str) -> Json {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let value = |key: &KeyAttribute| match key.type_.as_str() {
            "N" => json!({ "N": "7" }),
            "B" => json!({ "B": STANDARD.encode(KEY) }),
            _ => json!({ "S": KEY }),
        };
        let keys: serde_json::Map<String, Json> = self.keys.iter().map(|key| (key.name.clone(), value(key))).collect();
        let image = |text: &str| {
            let mut image = keys.clone();
            // A name that no key has.
            let mut name = "text".to_owned();
            while image.contains_key(&name) {
                name.push('_');
            }
            image.insert(name, json!({ "S": text }));
            Json::Object(image)
        };
        let old = if change == EventName::Modify { "before engine invoke" } else { IMAGE };
        let new = IMAGE;
        let facts = RecordFacts { view: &self.view, stream: &self.stream };
        let mut record = filter::record(change, &facts, &Json::Object(keys.clone()), &image(new));
        let dynamodb = &mut record["dynamodb"];
        if let Some(before) = dynamodb.get_mut("OldImage") {
            *before = image(old);
        }
        let size = [&dynamodb["Keys"], &dynamodb["NewImage"], &dynamodb["OldImage"]].map(|it| it.to_string().len());
        dynamodb["ApproximateCreationDateTime"] = json!(now.as_secs());
        dynamodb["SequenceNumber"] = json!(format!("{:021}", now.as_micros()));
        dynamodb["SizeBytes"] = json!(size.iter().sum::<usize>());
        record["eventID"] = json!(format!("{:032x}", now.as_nanos()));
        record["eventVersion"] = json!("1.1");
        record["awsRegion"] = json!(region);
        record["eventSourceARN"] = json!(self.stream);
        json!({ "Records": [record] })
    }
}
