//! Single items of a spec's tables, for people: lists, puts and deletes them.
//!
//! **Invariant:** it writes only to the table that it was given, and only if this stack owns it.

mod attribute;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::aws::{AwsError, CallContext, Code, Context};
use crate::diagnostic::Diagnostic;
use crate::ownership::{OwnershipVerdict, READ_TAGS, UNPROVEN, UnreadableTags};
use crate::remedy::Advice;
use crate::schema::Live;
use crate::spec::{ResourceDecl, Spec};
use crate::value::Value;

/// Time limit for a write that DynamoDB throttles or doesn't answer.
const WRITE: Duration = Duration::from_secs(30);
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

/// The form of an item as JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonForm {
    /// Plain values. Binary values are Base64, and sets are lists.
    Plain,
    /// DynamoDB's own form with a type for each value, like `{"id":{"S":"7"}}`
    /// (docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.LowLevelAPI.html).
    Typed,
}

/// A table as far as its items are concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemTable {
    /// Its name in the spec.
    pub resource: String,
    /// Its name in AWS.
    pub name: String,
    /// Its key, partition key first.
    pub keys: Vec<KeyAttribute>,
    /// The types of the attributes that the table's or an index's key consists of.
    pub types: BTreeMap<String, String>,
}

/// An item, or its key.
#[derive(Debug, Clone, PartialEq)]
pub struct Item(HashMap<String, AttributeValue>);

impl ItemTable {
    /// The table of a declaration, as far as the spec knows it.
    pub fn declared(table: &ResourceDecl) -> ItemTable {
        let types = match table.desired.get("attributes") {
            Some(Value::Map(types)) => types.iter(),
            _ => return ItemTable::new(table, BTreeMap::new()),
        };
        let types = types.filter_map(|(name, type_)| Some((name.clone(), type_.as_str()?.to_owned()))).collect();
        ItemTable::new(table, types)
    }

    fn new(table: &ResourceDecl, types: BTreeMap<String, String>) -> ItemTable {
        let keys = key_attributes(table, None);
        ItemTable { resource: table.name.clone(), name: table.id.name.clone(), keys, types }
    }

    /// Checks that an item has what the table needs.
    ///
    /// # Errors
    /// What is missing, or has another type.
    pub fn check(&self, item: &Item) -> Result<(), Vec<Diagnostic>> {
        let wrong = |problem: String, hint: String| Diagnostic::error(problem, hint);
        let typed = |key: &KeyAttribute| match key.type_.as_str() {
            "N" => "a number",
            "B" => "binary, which is Base64 text in JSON",
            _ => "text",
        };
        let missing = self.keys.iter().filter(|key| !item.0.contains_key(&key.name)).map(|key| {
            let problem = format!("the item lacks `{}`, which is part of the key of `{}`", key.name, self.resource);
            wrong(problem, format!("add it, for example: {}", self.example()))
        });
        let others = self.types.iter().filter(|(name, _)| self.keys.iter().all(|key| key.name != **name));
        let others = others.map(|(name, type_)| KeyAttribute { name: name.clone(), type_: type_.clone() });
        let all: Vec<KeyAttribute> = self.keys.iter().cloned().chain(others).collect();
        let mistyped = all.iter().filter_map(|key| {
            let KeyAttribute { name, type_ } = key;
            let found = attribute::type_of(item.0.get(name)?);
            if found == type_ {
                let is_empty = matches!(item.0.get(name)?, AttributeValue::S(text) if text.is_empty());
                let problem = format!("`{name}` is empty, but it is part of a key of `{}`", self.resource);
                return is_empty.then(|| wrong(problem, "DynamoDB takes no empty text in a key: write a value".into()));
            }
            let problem =
                format!("`{name}` must be {}, because it is part of a key of `{}`", typed(key), self.resource);
            let hint = match found {
                "M" => "write its plain value, or pass `--dynamodb-json` if this is DynamoDB's own form".to_owned(),
                _ => format!("write it like this: {}", self.example()),
            };
            Some(wrong(problem, hint))
        });
        let problems: Vec<Diagnostic> = missing.chain(mistyped).collect();
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// The key of an item as an example in plain JSON.
    pub fn example(&self) -> String {
        let value = |key: &KeyAttribute| match key.type_.as_str() {
            "N" => AttributeValue::N("7".to_owned()),
            "B" => AttributeValue::B(aws_sdk_dynamodb::primitives::Blob::new("7")),
            _ => AttributeValue::S("7".to_owned()),
        };
        Item(self.keys.iter().map(|key| (key.name.clone(), value(key))).collect()).json(self, JsonForm::Plain)
    }
}

impl Item {
    /// Reads an item from JSON.
    ///
    /// # Errors
    /// The JSON isn't an object, has a name twice, or has another form; `None` as position if the
    /// JSON itself is valid.
    pub fn read(json: &RawValue, form: JsonForm, table: &ItemTable) -> Result<Item, String> {
        attribute::read_item(json, form, &table.types).map(Item)
    }

    /// The item as one line of JSON, its key first.
    pub fn json(&self, table: &ItemTable, form: JsonForm) -> String {
        let key = |name: &str| table.keys.iter().position(|key| key.name == *name).unwrap_or(usize::MAX);
        let mut names: Vec<&String> = self.0.keys().collect();
        names.sort_by_key(|name| (key(name), *name));
        attribute::json(names.into_iter().filter_map(|name| Some((name.as_str(), self.0.get(name)?))), form)
    }

    /// Only its key.
    #[must_use]
    pub fn key(&self, table: &ItemTable) -> Item {
        let is_key = |name: &String| table.keys.iter().any(|key| key.name == *name);
        Item(self.0.iter().filter(|(name, _)| is_key(name)).map(|(name, it)| (name.clone(), it.clone())).collect())
    }
}

/// Checks that the items of a table can be written by this stack.
///
/// # Errors
/// Another owner, or none that is certain.
pub fn check_owner(spec: &Spec, table: &ResourceDecl, live: &Live) -> Result<(), Diagnostic> {
    let hint = "ask its owner to change an item, then check `engine logs`";
    let refuse =
        |(what, hint)| Diagnostic::error(format!("the items of `{}` can't be changed: {what}", table.name), hint);
    owner_problem(spec, table, live, hint).map_or(Ok(()), |problem| Err(refuse(problem)))
}

/// Why this stack must not change a resource's contents, and what to do about it: it has another
/// owner (with the hint `otherwise`), or its owner can't be determined.
pub(crate) fn owner_problem(
    spec: &Spec,
    declared: &ResourceDecl,
    live: &Live,
    otherwise: &str,
) -> Option<(String, Advice)> {
    let (kind, name) = (&declared.schema().kind, &declared.id.name);
    let verdict = OwnershipVerdict::of(&live.owner, None, &declared.id.owner);
    if verdict == OwnershipVerdict::Free {
        return Some((format!("the {kind} `{name}` has no owner yet"), "run `engine apply` to adopt it".into()));
    }
    if let OwnershipVerdict::Unknown(UnreadableTags::NotYet(reason)) = verdict {
        let what = format!("the owner of the {kind} `{name}` can't be determined yet: {reason}");
        return Some((what, "run the command again in a minute".into()));
    }
    if matches!(verdict, OwnershipVerdict::Unknown(_)) && spec.is_listed(declared) {
        return Some((format!("the {kind} `{name}` has no team's prefix, and {UNPROVEN}"), READ_TAGS.into()));
    }
    verdict.other_owner().map(|owner| (format!("the {kind} `{name}` is owned by {owner}"), otherwise.into()))
}

/// The first `limit` items of a table in DynamoDB's order, and whether there are more.
///
/// # Errors
/// `NotFound` if the table doesn't exist; `AccessDenied` without the permission `dynamodb:Scan`.
pub async fn list(cx: &Context, table: &ItemTable, limit: usize) -> Result<(Vec<Item>, bool), AwsError> {
    let (mut items, mut start) = (Vec::new(), None);
    loop {
        let missing = i32::try_from(limit + 1 - items.len()).unwrap_or(i32::MAX);
        let page = cx.read(&table.name, || async {
            let request = cx.aws.dynamodb.scan().table_name(&table.name).limit(missing);
            request.set_exclusive_start_key(start.clone()).send().await.context("Scan", &table.name)
        });
        let page = page.await?;
        items.extend(page.items.unwrap_or_default().into_iter().map(Item));
        start = page.last_evaluated_key.filter(|key| !key.is_empty());
        let has_more = items.len() > limit;
        if has_more || start.is_none() {
            items.truncate(limit);
            return Ok((items, has_more));
        }
    }
}

/// Puts an item into a table, and returns whether it replaced one with the same key.
///
/// # Errors
/// DynamoDB's, or the guard's if a read in this run didn't show that this stack owns the table.
pub async fn put(cx: &Context, table: &ItemTable, item: &Item) -> Result<bool, AwsError> {
    let put = || async {
        let request = cx.aws.dynamodb.put_item().table_name(&table.name).set_item(Some(item.0.clone()));
        request.return_values(ReturnValue::AllOld).send().await.context("PutItem", &table.name)
    };
    let put = persistently(cx, Instant::now() + WRITE, put).await?;
    Ok(put.attributes.is_some_and(|before| !before.is_empty()))
}

/// Deletes the item with this key, and returns whether there was one.
///
/// # Errors
/// As [`put`].
pub async fn delete(cx: &Context, table: &ItemTable, key: &Item) -> Result<bool, AwsError> {
    let delete = || async {
        let request = cx.aws.dynamodb.delete_item().table_name(&table.name).set_key(Some(key.0.clone()));
        request.return_values(ReturnValue::AllOld).send().await.context("DeleteItem", &table.name)
    };
    let deleted = persistently(cx, Instant::now() + WRITE, delete).await?;
    Ok(deleted.attributes.is_some_and(|before| !before.is_empty()))
}

/// A table's key attributes, partition key first. They can't change, so the spec has them if the
/// read doesn't.
pub(crate) fn key_attributes(table: &ResourceDecl, live: Option<&Live>) -> Vec<KeyAttribute> {
    let value = |property: &str| live.and_then(|live| live.props.get(property)).or(table.desired.get(property));
    let key = |property: &str| {
        let name = value(property).and_then(Value::as_str).unwrap_or_default().to_owned();
        let Some(Value::Map(types)) = value("attributes") else { return None };
        let type_ = types.get(&name)?.as_str()?.to_owned();
        Some(KeyAttribute { name, type_ })
    };
    [key("hash_key"), key("range_key")].into_iter().flatten().collect()
}

/// Retries a write while DynamoDB throttles it or doesn't answer, until `deadline`.
///
/// # Errors
/// The last error of `call`; `Interrupted`.
pub(crate) async fn persistently<T, F>(cx: &Context, deadline: Instant, call: impl Fn() -> F) -> Result<T, AwsError>
where
    F: Future<Output = Result<T, AwsError>>,
{
    loop {
        match call().await {
            Err(error) if error.is(Code::Throttled) || error.is_ambiguous() => {
                if Instant::now() + PAUSE > deadline {
                    return Err(cx.masked(error));
                }
                cx.pause_between_polls(PAUSE, "AWS to accept the write", "").await?;
            }
            done => return done.map_err(|error| cx.masked(error)),
        }
    }
}
