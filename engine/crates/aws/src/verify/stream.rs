//! What a table's stream carried while a change of the test item was under way.
//!
//! Lambda and one more reader can read a shard at a time without being throttled
//! (docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html), so it is read only when
//! the function's log doesn't show the change.
//!
//! **Invariant:** what can't be read is reported as such; it never counts as the absence of records.

use aws_sdk_dynamodbstreams::types::{AttributeValue, Record, ShardIteratorType};
use futures_util::future::try_join_all;
use serde_json::{Map, Value as Json, json};

use crate::aws::{AwsError, CallContext, Context, limits};
use crate::kinds::TABLE;
use crate::operation::{Effect, Grant, Operation, Service, Wire};
use crate::policy::{Purpose::Verify, Scope};

use super::TableSource;

/// More open shards are not read: each takes two calls.
const MAX_SHARDS: usize = 16;
/// How many pages of a shard are read at once: an empty page may have a next one.
const MAX_PAGES: usize = 4;

/// The streams of the team's tables.
const STREAMS: Scope = Scope {
    kind: Some("table"),
    ..Scope::new("Streams", |policy| policy.of_team(&TABLE).iter().map(|table| format!("{table}/stream/*")).collect())
};
/// Those of imported tables that the user allows to test.
const ALLOWED: Scope = Scope::new("AllowedStreams", |policy| {
    policy.allowed(&TABLE).iter().map(|table| format!("{table}/stream/*")).collect()
});
const GRANTS: &[Grant] = &[(&STREAMS, &[Verify]), (&ALLOWED, &[Verify])];

const fn read(action: &'static str) -> Operation {
    let wire = Wire::Json("DynamoDBStreams_20120810");
    Operation::new(Service::STREAMS, action, Effect::Read, wire, &limits::TABLE_READS, GRANTS)
}

pub(super) const DESCRIBE: Operation = read("dynamodb:DescribeStream");
pub(super) const ITERATOR: Operation = read("dynamodb:GetShardIterator");
pub(super) const RECORDS: Operation = read("dynamodb:GetRecords");

/// A stream from a moment on.
#[derive(Debug)]
pub(super) struct Stream {
    /// Where to go on reading each open shard.
    iterators: Vec<String>,
    /// Why it can't be read completely.
    pub(super) read_problem: Option<String>,
    keys: Map<String, Json>,
    /// Number of records of other items.
    pub(super) n_others: usize,
    /// The records of the test item: name and the second of the change.
    pub(super) own: Vec<(String, i64)>,
}

impl Stream {
    /// The stream of a table, before anything is read.
    pub(super) fn new(table: &TableSource) -> Stream {
        let keys = table.solution.keys.clone();
        Stream { iterators: Vec::new(), read_problem: None, keys, n_others: 0, own: Vec::new() }
    }

    /// Follows the stream with this ARN from now on.
    ///
    /// # Errors
    /// Transient errors of AWS.
    pub(super) async fn follow(&mut self, cx: &Context, arn: &str) -> Result<(), AwsError> {
        match iterators(cx, arn).await {
            Ok(Ok(iterators)) => self.iterators = iterators,
            Ok(Err(read_problem)) => self.read_problem = Some(read_problem),
            Err(error) if error.passes() => return Err(error),
            Err(error) => self.read_problem = Some(unreadable(&error)),
        }
        Ok(())
    }

    /// Forgets the records that were read.
    pub(super) fn forget(&mut self) {
        self.n_others = 0;
        self.own.clear();
    }

    /// Reads the records since the last call.
    ///
    /// # Errors
    /// Transient errors of AWS.
    pub(super) async fn poll(&mut self, cx: &Context) -> Result<(), AwsError> {
        for at in 0..self.iterators.len() {
            for _ in 0..MAX_PAGES {
                let Some(iterator) = self.iterators.get(at).cloned() else { break };
                let get = || async {
                    let request = cx.aws.streams.get_records().shard_iterator(&iterator);
                    request.send().await.context("GetRecords", "")
                };
                let answer = match cx.read("", get).await {
                    Ok(answer) => answer,
                    Err(error) if error.passes() => return Err(error),
                    Err(error) => {
                        self.read_problem = Some(unreadable(&error));
                        return Ok(());
                    }
                };
                let records = answer.records.unwrap_or_default();
                records.iter().for_each(|record| self.add(record));
                match (answer.next_shard_iterator, self.iterators.get_mut(at)) {
                    (Some(next), Some(iterator)) => *iterator = next,
                    _ => self.read_problem = Some("a shard of the stream was closed meanwhile".to_owned()),
                }
                if records.is_empty() {
                    break;
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, record: &Record) {
        let Some(change) = &record.dynamodb else { return };
        let is_own = change.keys.as_ref().is_some_and(|keys| {
            keys.len() == self.keys.len() && keys.iter().all(|(name, value)| self.keys.get(name) == Some(&typed(value)))
        });
        if is_own {
            let name = record.event_name.as_ref().map(|name| name.as_str().to_owned()).unwrap_or_default();
            let at = change.approximate_creation_date_time.as_ref().map_or(0, |time| time.secs());
            self.own.push((name, at));
        } else {
            self.n_others += 1;
        }
    }
}

fn unreadable(error: &AwsError) -> String {
    let why = error.unreadable().unwrap_or_else(|| error.to_string());
    format!("engine can't read the table's stream ({why})")
}

/// Where to start reading each open shard; or why it can't be done.
async fn iterators(cx: &Context, arn: &str) -> Result<Result<Vec<String>, String>, AwsError> {
    let (mut shards, mut last) = (Vec::new(), None::<String>);
    loop {
        let describe = || async {
            let request = cx.aws.streams.describe_stream().stream_arn(arn).set_exclusive_start_shard_id(last.clone());
            request.send().await.context("DescribeStream", arn)
        };
        let Some(stream) = cx.read(arn, describe).await?.stream_description else { break };
        shards.extend(stream.shards.unwrap_or_default().into_iter().filter_map(|shard| {
            let is_open = shard.sequence_number_range.as_ref().is_none_or(|it| it.ending_sequence_number.is_none());
            shard.shard_id.filter(|_| is_open)
        }));
        match stream.last_evaluated_shard_id {
            Some(next) if last.as_ref() != Some(&next) => last = Some(next),
            _ => break,
        }
    }
    if shards.len() > MAX_SHARDS {
        return Ok(Err(format!("the stream has {} shards, more than engine reads", shards.len())));
    }
    let iterators = try_join_all(shards.iter().map(|shard| async move {
        let get = || async {
            let request = cx.aws.streams.get_shard_iterator().stream_arn(arn).shard_id(shard);
            let request = request.shard_iterator_type(ShardIteratorType::Latest);
            request.send().await.context("GetShardIterator", arn)
        };
        Ok::<_, AwsError>(cx.read(arn, get).await?.shard_iterator)
    }));
    Ok(Ok(iterators.await?.into_iter().flatten().collect()))
}

fn typed(value: &AttributeValue) -> Json {
    use base64::Engine as _;
    match value {
        AttributeValue::S(text) => json!({ "S": text }),
        AttributeValue::N(number) => json!({ "N": number }),
        AttributeValue::B(bytes) => json!({ "B": base64::engine::general_purpose::STANDARD.encode(bytes) }),
        _ => Json::Null,
    }
}
