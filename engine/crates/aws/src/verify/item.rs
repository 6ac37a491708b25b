//! The test item: its key, its attributes, and the writes that each make a visible change.
//!
//! **Invariant:** the key is fixed for a team's mapping and its filters, so a run finds and deletes
//! the item that a killed run left. The mark differs for each run and for each write. An item
//! without engine's mark is never overwritten or deleted, unless its key can only be engine's.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use serde_json::{Map, Value as Json, json};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use crate::aws::{AwsError, CallContext, Code, Context};
use crate::filter::{Solution, TableFacts};
use crate::items::persistently;
use crate::kinds::{ALLOWED_TABLES, ITEMS, item_operation};
use crate::logs::EventName;
use crate::operation::Operation;
use crate::policy::Purpose::{Dev, Verify};

use super::{TableSource, stream};

pub(crate) const OPERATIONS: &[Operation] = &[
    stream::DESCRIBE,
    stream::ITERATOR,
    stream::RECORDS,
    item_operation("dynamodb:DeleteItem", "Key", &[(&ITEMS, &[Dev, Verify]), (&ALLOWED_TABLES, &[Verify])]),
    item_operation("dynamodb:PutItem", "Item", &[(&ITEMS, &[Dev, Verify]), (&ALLOWED_TABLES, &[Verify])]),
    item_operation("dynamodb:UpdateItem", "Key", &[(&ITEMS, &[Verify]), (&ALLOWED_TABLES, &[Verify])]),
];

/// The attribute that holds the mark.
const MARK: &str = "engine_verify";
const MARK_START: &str = "engine-mark-";
/// Explains the item to people who find it.
const NOTE: (&str, &str) = ("engine_note", "a test item of `engine verify`, which deletes it again");

/// The test item of one mapping, as one run knows it.
#[derive(Debug)]
pub(super) struct TestItem {
    table: String,
    solution: Solution,
    /// Whether its key is engine's own, so that nothing else can have it.
    has_own_key: bool,
    /// Unique for the run.
    nonce: String,
    /// Number of the last write.
    serial: u32,
    /// Whether it may exist in the table.
    exists: bool,
    /// Whether another item has its key.
    is_key_taken: bool,
}

/// The item's partition key in the forms in which a log may show it.
pub(super) fn names(table: &TableSource) -> Vec<String> {
    let name = table.keys.first().map(|key| &key.name);
    let value = name.and_then(|name| table.solution.keys.get(name)).and_then(Json::as_object);
    let Some((type_, Json::String(text))) = value.and_then(|it| it.iter().next()) else { return Vec::new() };
    let mut names = vec![text.clone()];
    // As Lambda passes it, and decoded.
    let decoded = base64::engine::general_purpose::STANDARD.decode(text).ok().filter(|_| type_ == "B");
    names.extend(decoded.and_then(|bytes| String::from_utf8(bytes).ok()));
    names
}

/// The item's key.
pub(super) fn key(table: &TableSource) -> ItemAttributes {
    attributes(&table.solution.keys)
}

/// What the search for an item needs to know about the table.
pub(super) fn facts(table: &TableSource) -> TableFacts {
    let TableSource { keys, types, view, stream, own: (id, number), .. } = table;
    let value = |type_: &str| match type_ {
        "N" => number.clone(),
        "B" => base64::engine::general_purpose::STANDARD.encode(id),
        _ => id.clone(),
    };
    TableFacts {
        keys: keys.iter().map(|key| (key.name.clone(), key.type_.clone(), value(&key.type_))).collect(),
        types: types.clone(),
        view: view.clone(),
        stream: stream.clone(),
        // The mark differs from run to run, so it can't decide about a filter.
        fixed: Map::from_iter([(MARK.to_owned(), json!({ "S": null })), (NOTE.0.to_owned(), json!({ "S": NOTE.1 }))]),
        own: table.own.clone(),
    }
}

type ItemAttributes = HashMap<String, AttributeValue>;

fn attributes(typed: &Map<String, Json>) -> ItemAttributes {
    typed.iter().filter_map(|(name, value)| Some((name.clone(), attribute(value)?))).collect()
}

/// A value in DynamoDB's form, like `{"S": "x"}`.
fn attribute(typed: &Json) -> Option<AttributeValue> {
    let (type_, value) = typed.as_object()?.iter().next()?;
    let text = |value: &Json| value.as_str().map(str::to_owned);
    let blob = |value: &Json| {
        let bytes = base64::engine::general_purpose::STANDARD.decode(value.as_str()?).ok()?;
        Some(Blob::new(bytes))
    };
    let list = || value.as_array().map(Vec::as_slice).unwrap_or_default().iter();
    Some(match type_.as_str() {
        "S" => AttributeValue::S(text(value)?),
        "N" => AttributeValue::N(text(value)?),
        "B" => AttributeValue::B(blob(value)?),
        "BOOL" => AttributeValue::Bool(value.as_bool()?),
        "NULL" => AttributeValue::Null(true),
        "SS" => AttributeValue::Ss(list().map(text).collect::<Option<_>>()?),
        "NS" => AttributeValue::Ns(list().map(text).collect::<Option<_>>()?),
        "BS" => AttributeValue::Bs(list().map(blob).collect::<Option<_>>()?),
        "M" => AttributeValue::M(attributes(value.as_object()?)),
        "L" => AttributeValue::L(list().map(attribute).collect::<Option<_>>()?),
        _ => return None,
    })
}

/// A text and a number that only the mapping of a stack has. The number has fifteen digits, which
/// JavaScript prints exactly.
pub(super) fn own(team: &str, stack: &str, mapping: &str) -> (String, String) {
    let digest = Sha256::digest(format!("{team}/{stack}/{mapping}"));
    let digits: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let number = digest.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    (format!("engine-verify-{digits}"), (100_000_000_000_000 + number % 900_000_000_000_000).to_string())
}

/// A text that differs for each run.
pub(super) fn nonce() -> String {
    let millis = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis());
    format!("{millis:x}{:06x}", fastrand::u32(..1 << 24))
}

/// The marks in a text: those of this run, and whether there are others.
pub(super) struct Marks<'t> {
    own_marks: Vec<&'t str>,
    others: bool,
}

impl Marks<'_> {
    /// Whether any of them is of this run.
    pub(super) fn has_own(&self) -> bool {
        !self.own_marks.is_empty()
    }

    /// Whether the text is about this change: `Some(false)` if its marks are of other writes,
    /// `None` if it has none.
    pub(super) fn mean(&self, item: &TestItem, change: EventName) -> Option<bool> {
        let now = item.mark(item.serial);
        let before = item.mark(item.serial.saturating_sub(1));
        let matches_change = |mark: &&str| *mark == now || (change == EventName::Modify && *mark == before);
        match (self.own_marks.is_empty(), self.others) {
            (true, false) => None,
            (true, true) => Some(false),
            _ => Some(self.own_marks.iter().any(matches_change)),
        }
    }
}

impl TestItem {
    pub(super) fn new(table: &TableSource) -> TestItem {
        let solution = table.solution.clone();
        let has_own_key = facts(table).keys.iter().all(|(name, type_, value)| {
            solution.keys.get(name).and_then(|typed| typed.get(type_)?.as_str()) == Some(value.as_str())
        });
        let (table, nonce) = (table.name.clone(), nonce());
        TestItem { table, solution, has_own_key, nonce, serial: 0, exists: false, is_key_taken: false }
    }

    fn mark(&self, serial: u32) -> String {
        format!("{MARK_START}{}-{serial}", self.nonce)
    }

    /// The marks in a text.
    pub(super) fn marks<'t>(&self, text: &'t str) -> Marks<'t> {
        let mut marks = Marks { own_marks: Vec::new(), others: false };
        for (at, _) in text.match_indices(MARK_START) {
            let rest = &text[at..];
            let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).unwrap_or(rest.len());
            match rest[MARK_START.len()..end].strip_prefix(self.nonce.as_str()) {
                Some(serial) if serial.starts_with('-') => marks.own_marks.push(&rest[..end]),
                _ => marks.others = true,
            }
        }
        marks
    }

    /// Whether it may exist in the table.
    pub(super) fn may_exist(&self) -> bool {
        self.exists
    }

    /// Whether another item, not engine's, has its key.
    pub(super) fn is_key_taken(&self) -> bool {
        self.is_key_taken
    }

    fn key(&self) -> ItemAttributes {
        attributes(&self.solution.keys)
    }

    /// An attribute of its key.
    fn hash(&self) -> String {
        self.solution.keys.keys().next().cloned().unwrap_or_default()
    }

    /// Writes the change so that it makes a new record, even if the same change was written before.
    ///
    /// # Errors
    /// `ChangedMeanwhile` if another process changed or deleted the item; other errors of
    /// DynamoDB that last until `deadline`.
    pub(super) async fn write(&mut self, cx: &Context, change: EventName, deadline: Instant) -> Result<(), AwsError> {
        match change {
            EventName::Insert => {
                if self.exists {
                    self.remove(cx, deadline).await?;
                }
                self.put(cx, &self.solution.first.clone(), deadline).await
            }
            EventName::Modify => self.update(cx, deadline).await,
            EventName::Remove => {
                if !self.exists {
                    self.put(cx, &self.solution.second.clone(), deadline).await?;
                }
                self.remove(cx, deadline).await
            }
        }
    }

    async fn put(&mut self, cx: &Context, version: &Map<String, Json>, deadline: Instant) -> Result<(), AwsError> {
        self.serial += 1;
        self.exists = true;
        let mut done = self.put_once(cx, version, deadline).await;
        // Left by a killed run, or written by a request whose answer was lost.
        if done.as_ref().is_err_and(|error| error.is(Code::ChangedMeanwhile)) {
            let deleted = self.delete_test_item(cx, deadline).await;
            self.is_key_taken = deleted.as_ref().is_err_and(|error| error.is(Code::ChangedMeanwhile));
            self.exists = !self.is_key_taken;
            deleted?;
            // Only another run could have put it there again.
            done = self.put_once(cx, version, deadline).await;
        }
        done
    }

    async fn put_once(&self, cx: &Context, version: &Map<String, Json>, deadline: Instant) -> Result<(), AwsError> {
        let put = || async {
            let request = cx.aws.dynamodb.put_item().table_name(&self.table);
            let request = request.set_item(Some(self.key().into_iter().chain(attributes(version)).collect()));
            let request = request.item(MARK, AttributeValue::S(self.mark(self.serial)));
            let request = request.item(NOTE.0, AttributeValue::S(NOTE.1.to_owned()));
            let request =
                request.condition_expression("attribute_not_exists(#h)").expression_attribute_names("#h", self.hash());
            request.send().await.context("PutItem", &self.table).map(drop)
        };
        persistently(cx, deadline, put).await
    }

    /// Deletes the item that an earlier run left.
    async fn delete_test_item(&self, cx: &Context, deadline: Instant) -> Result<(), AwsError> {
        let delete = || async {
            let request = cx.aws.dynamodb.delete_item().table_name(&self.table).set_key(Some(self.key()));
            let request = match self.has_own_key {
                true => request,
                false => request
                    .condition_expression("attribute_not_exists(#h) OR begins_with(#m, :engine)")
                    .expression_attribute_names("#h", self.hash())
                    .expression_attribute_names("#m", MARK)
                    .expression_attribute_values(":engine", AttributeValue::S(MARK_START.to_owned())),
            };
            request.send().await.context("DeleteItem", &self.table).map(drop)
        };
        persistently(cx, deadline, delete).await
    }

    async fn update(&mut self, cx: &Context, deadline: Instant) -> Result<(), AwsError> {
        self.serial += 1;
        let Solution { first, second, .. } = &self.solution;
        let set: Vec<(&String, AttributeValue)> = second
            .iter()
            .filter(|(name, value)| first.get(*name) != Some(value))
            .filter_map(|(name, value)| Some((name, attribute(value)?)))
            .collect();
        let removed: Vec<&String> = first.keys().filter(|name| !second.contains_key(*name)).collect();
        let mut expression = "SET #m = :now".to_owned();
        (0..set.len()).for_each(|at| expression.push_str(&format!(", #s{at} = :s{at}")));
        let names: Vec<String> = (0..removed.len()).map(|at| format!("#r{at}")).collect();
        if !names.is_empty() {
            expression.push_str(&format!(" REMOVE {}", names.join(", ")));
        }
        let update = || async {
            let request = cx.aws.dynamodb.update_item().table_name(&self.table).set_key(Some(self.key()));
            let mut request = request.update_expression(&expression).condition_expression("begins_with(#m, :run)");
            for (at, (name, value)) in set.iter().enumerate() {
                request = request.expression_attribute_names(format!("#s{at}"), *name);
                request = request.expression_attribute_values(format!(":s{at}"), value.clone());
            }
            for (placeholder, name) in names.iter().zip(&removed) {
                request = request.expression_attribute_names(placeholder, *name);
            }
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
    /// As [`TestItem::write`].
    pub(super) async fn remove(&mut self, cx: &Context, deadline: Instant) -> Result<(), AwsError> {
        let delete = || async {
            let request = cx.aws.dynamodb.delete_item().table_name(&self.table).set_key(Some(self.key()));
            let request = request.condition_expression("attribute_not_exists(#h) OR begins_with(#m, :run)");
            let request = request.expression_attribute_names("#h", self.hash()).expression_attribute_names("#m", MARK);
            let request = request.expression_attribute_values(":run", AttributeValue::S(self.mark_of_run()));
            request.send().await.context("DeleteItem", &self.table).map(drop)
        };
        let removed = persistently(cx, deadline, delete).await;
        // If another run has written it, that run deletes it.
        self.exists = removed.as_ref().is_err_and(|error| !error.is(Code::ChangedMeanwhile));
        removed
    }

    fn mark_of_run(&self) -> String {
        format!("{MARK_START}{}-", self.nonce)
    }
}
