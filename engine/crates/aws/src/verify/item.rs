//! The test item: its key, its attributes, and the writes that each make a visible change.
//!
//! **Invariant:** the key is fixed for a team's mapping, so a run finds and deletes the item that a
//! killed run left. The mark differs for each run and for each write.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use crate::aws::{AwsError, CallContext, Class, Context};
use crate::filter;
use crate::kinds::{TABLES, item_operation};
use crate::logs::EventName;
use crate::operation::Operation;
use crate::policy::Purpose::Verify;

use super::Pipeline;

pub(crate) const OPERATIONS: &[Operation] = &[
    item_operation("dynamodb:DeleteItem", &[(&TABLES, &[Verify])]),
    item_operation("dynamodb:PutItem", &[(&TABLES, &[Verify])]),
    item_operation("dynamodb:UpdateItem", &[(&TABLES, &[Verify])]),
];

/// The attribute that holds the mark.
const MARK: &str = "engine_verify";
const MARK_START: &str = "engine-mark-";
/// Explains the item to people who find it.
const NOTE: (&str, &str) = ("engine_note", "a test item of `engine verify`, which deletes it again");
/// Interval between two attempts of a write that DynamoDB throttles.
const PAUSE: Duration = Duration::from_millis(500);

/// An attribute of a table's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyAttribute {
    /// Its name.
    pub name: String,
    /// `S`, `N` or `B`.
    pub type_: String,
}

/// The test item of one mapping, as one run knows it.
#[derive(Debug)]
pub(super) struct Item {
    table: String,
    key: Vec<(String, AttributeValue)>,
    /// Unique for the run.
    nonce: String,
    /// Number of the last write.
    serial: u32,
    /// Whether it may exist in the table.
    stands: bool,
}

/// The item's partition key in the forms in which a log may show it.
pub(super) fn names(pipeline: &Pipeline) -> Vec<String> {
    let id = id(pipeline);
    match pipeline.keys.first().map(|key| key.type_.as_str()) {
        Some("N") => vec![number(pipeline)],
        // As Lambda passes it, and decoded.
        Some("B") => vec![base64::engine::general_purpose::STANDARD.encode(&id), id],
        _ => vec![id],
    }
}

/// The item's key.
pub(super) fn key(pipeline: &Pipeline) -> Vec<(String, AttributeValue)> {
    let value = |type_: &str| match type_ {
        "N" => AttributeValue::N(number(pipeline)),
        "B" => AttributeValue::B(Blob::new(id(pipeline))),
        _ => AttributeValue::S(id(pipeline)),
    };
    pipeline.keys.iter().map(|key| (key.name.clone(), value(&key.type_))).collect()
}

fn digest(pipeline: &Pipeline) -> Vec<u8> {
    let Pipeline { team, stack, mapping, .. } = pipeline;
    Sha256::digest(format!("{team}/{stack}/{mapping}")).to_vec()
}

fn id(pipeline: &Pipeline) -> String {
    let digits: String = digest(pipeline).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("engine-verify-{digits}")
}

/// Fifteen digits, which JavaScript prints exactly.
fn number(pipeline: &Pipeline) -> String {
    let number = digest(pipeline).iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    (100_000_000_000_000 + number % 900_000_000_000_000).to_string()
}

/// The marks in a text: those of this run, and whether there are others.
pub(super) struct Marks<'t> {
    ours: Vec<&'t str>,
    others: bool,
}

impl Marks<'_> {
    /// Whether the text is about this change: `Some(false)` if its marks are of other writes,
    /// `None` if it has none.
    pub(super) fn mean(&self, item: &Item, change: EventName) -> Option<bool> {
        let now = item.mark(item.serial);
        let before = item.mark(item.serial.saturating_sub(1));
        let meant = |mark: &&str| *mark == now || (change == EventName::Modify && *mark == before);
        match (self.ours.is_empty(), self.others) {
            (true, false) => None,
            (true, true) => Some(false),
            _ => Some(self.ours.iter().any(meant)),
        }
    }
}

impl Item {
    pub(super) fn new(pipeline: &Pipeline) -> Item {
        let millis = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis());
        let nonce = format!("{millis:x}{:06x}", fastrand::u32(..1 << 24));
        Item { table: pipeline.table.clone(), key: key(pipeline), nonce, serial: 0, stands: false }
    }

    fn mark(&self, serial: u32) -> String {
        format!("{MARK_START}{}-{serial}", self.nonce)
    }

    /// The marks in a text.
    pub(super) fn marks<'t>(&self, text: &'t str) -> Marks<'t> {
        let mut marks = Marks { ours: Vec::new(), others: false };
        for (at, _) in text.match_indices(MARK_START) {
            let rest = &text[at..];
            let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).unwrap_or(rest.len());
            match rest[MARK_START.len()..end].strip_prefix(self.nonce.as_str()) {
                Some(serial) if serial.starts_with('-') => marks.ours.push(&rest[..end]),
                _ => marks.others = true,
            }
        }
        marks
    }

    /// Whether it may exist in the table.
    pub(super) fn may_stand(&self) -> bool {
        self.stands
    }

    /// Writes the change so that it makes a new record, even if the same change was written before.
    ///
    /// # Errors
    /// `Changed` if another process changed or deleted the item; other errors of DynamoDB that last
    /// until `deadline`.
    pub(super) async fn write(&mut self, cx: &Context, change: EventName, deadline: Instant) -> Result<(), AwsError> {
        match change {
            EventName::Insert => {
                if self.stands {
                    self.remove(cx, deadline).await?;
                }
                self.put(cx, deadline).await
            }
            EventName::Modify => self.update(cx, deadline).await,
            EventName::Remove => {
                if !self.stands {
                    self.put(cx, deadline).await?;
                }
                self.remove(cx, deadline).await
            }
        }
    }

    async fn put(&mut self, cx: &Context, deadline: Instant) -> Result<(), AwsError> {
        self.serial += 1;
        self.stands = true;
        let Some((hash, _)) = self.key.first() else { return Ok(()) };
        let put = || async {
            let request = cx.aws.dynamodb.put_item().table_name(&self.table);
            let request = request.set_item(Some(self.key.iter().cloned().collect()));
            let request = request.item(MARK, AttributeValue::S(self.mark(self.serial)));
            let request = request.item(NOTE.0, AttributeValue::S(NOTE.1.to_owned()));
            let request =
                request.condition_expression("attribute_not_exists(#h)").expression_attribute_names("#h", hash);
            request.send().await.context("PutItem", &self.table).map(drop)
        };
        match persistently(cx, deadline, put).await {
            // Left by a killed run, or written by a request whose answer was lost.
            Err(error) if error.class == Class::Changed => {
                let delete = || async {
                    let request = cx.aws.dynamodb.delete_item().table_name(&self.table);
                    let request = request.set_key(Some(self.key.iter().cloned().collect()));
                    request.send().await.context("DeleteItem", &self.table).map(drop)
                };
                persistently(cx, deadline, delete).await?;
                // Only another run could have put it there again.
                persistently(cx, deadline, put).await
            }
            done => done,
        }
    }

    async fn update(&mut self, cx: &Context, deadline: Instant) -> Result<(), AwsError> {
        self.serial += 1;
        let update = || async {
            let request = cx.aws.dynamodb.update_item().table_name(&self.table);
            let request = request.set_key(Some(self.key.iter().cloned().collect()));
            let request = request.update_expression("SET #m = :now").condition_expression("begins_with(#m, :run)");
            let request = request.expression_attribute_names("#m", MARK);
            let request = request.expression_attribute_values(":now", AttributeValue::S(self.mark(self.serial)));
            let request = request.expression_attribute_values(":run", AttributeValue::S(self.mark_of_run()));
            request.send().await.context("UpdateItem", &self.table).map(drop)
        };
        persistently(cx, deadline, update).await
    }

    /// Deletes the item if this run wrote it.
    ///
    /// # Errors
    /// As [`Item::write`].
    pub(super) async fn remove(&mut self, cx: &Context, deadline: Instant) -> Result<(), AwsError> {
        let Some((hash, _)) = self.key.first() else { return Ok(()) };
        let delete = || async {
            let request = cx.aws.dynamodb.delete_item().table_name(&self.table);
            let request = request.set_key(Some(self.key.iter().cloned().collect()));
            let request = request.condition_expression("attribute_not_exists(#h) OR begins_with(#m, :run)");
            let request = request.expression_attribute_names("#h", hash).expression_attribute_names("#m", MARK);
            let request = request.expression_attribute_values(":run", AttributeValue::S(self.mark_of_run()));
            request.send().await.context("DeleteItem", &self.table).map(drop)
        };
        let removed = persistently(cx, deadline, delete).await;
        // If another run has written it, that run deletes it.
        self.stands = removed.as_ref().is_err_and(|error| error.class != Class::Changed);
        removed
    }

    fn mark_of_run(&self) -> String {
        format!("{MARK_START}{}-", self.nonce)
    }

    /// The record of a change as the mapping's filters see it, as far as it is known in advance.
    pub(super) fn record(pipeline: &Pipeline, change: EventName) -> Json {
        let typed = |value: &AttributeValue| match value {
            AttributeValue::N(number) => json!({ "N": number }),
            AttributeValue::B(bytes) => json!({ "B": base64::engine::general_purpose::STANDARD.encode(bytes) }),
            AttributeValue::S(text) => json!({ "S": text }),
            _ => Json::Null,
        };
        let keys: serde_json::Map<_, _> = key(pipeline).iter().map(|(name, it)| (name.clone(), typed(it))).collect();
        let mut image = keys.clone();
        // It differs from run to run, so it can't decide about a filter.
        image.insert(MARK.to_owned(), json!({ "S": null }));
        image.insert(NOTE.0.to_owned(), json!({ "S": NOTE.1 }));
        filter::record(change, &pipeline.view, &Json::Object(keys), &Json::Object(image))
    }
}

/// Retries a write while DynamoDB throttles it or doesn't answer, until `deadline`.
async fn persistently<F>(cx: &Context, deadline: Instant, call: impl Fn() -> F) -> Result<(), AwsError>
where
    F: Future<Output = Result<(), AwsError>>,
{
    loop {
        match call().await {
            Err(error) if error.class == Class::Throttled || error.is_ambiguous() => {
                if Instant::now() + PAUSE > deadline {
                    return Err(cx.masked(error));
                }
                cx.rest(PAUSE, "write capacity of the table", "").await?;
            }
            done => return done.map_err(|error| cx.masked(error)),
        }
    }
}
