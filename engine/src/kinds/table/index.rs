//! A table's secondary indexes: what a spec may say of them, what AWS refuses, and how they look in AWS's own shapes.
//!
//! **Invariant:** no call leaves from here. When an index is made or deleted is the table's business.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::{
    CreateGlobalSecondaryIndexAction, GlobalSecondaryIndex, IndexStatus, KeySchemaElement, KeyType,
    LocalSecondaryIndex, Projection, ProjectionType, TableDescription,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::aws::AwsError;
use crate::schema::{Effect, Problem, Property, Shape, property};
use crate::value::{Path, Tree, Value};

use super::{ATTRIBUTE, CAPACITY, NAME, incomplete, throughput};

/// The property that holds the global ones.
pub(super) const GLOBAL: &str = "global_secondary_indexes";
/// The property that holds the local ones.
pub(super) const LOCAL: &str = "local_secondary_indexes";
/// Limits of docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html: indexes of a table,
/// attributes of one half of a global index's key, attributes that one index or all of them together project. AWS raises
/// the number of global indexes, so that one is a warning, with a bound of ours.
const USUAL_GLOBAL: i64 = 20;
const MAX_GLOBAL: usize = 1000;
const MAX_LOCAL: usize = 5;
const MAX_KEYS: usize = 4;
const MAX_PROJECTED: usize = 20;
const MAX_PROJECTED_TOGETHER: usize = 100;
/// The table's own key, two halves of each global key, and one attribute for each local index.
pub(super) const MAX_ATTRIBUTES: usize = 2 + MAX_GLOBAL * 2 * MAX_KEYS + MAX_LOCAL;
const CAPACITIES: [&str; 2] = ["read_capacity", "write_capacity"];
/// What AWS can't change of a living index.
const FIXED: [&str; 4] = ["hash_key", "range_key", "projection_type", "non_key_attributes"];

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GlobalIndex {
    hash_key: Keys,
    range_key: Option<Keys>,
    projection_type: String,
    non_key_attributes: Option<Vec<String>>,
    read_capacity: Option<i64>,
    write_capacity: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LocalIndex {
    range_key: String,
    projection_type: String,
    non_key_attributes: Option<Vec<String>>,
}

/// One attribute, or several that are one half of a key together; one alone is text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Keys {
    One(String),
    Several(Vec<String>),
}

impl Keys {
    fn new(mut names: Vec<String>) -> Keys {
        match names.pop() {
            Some(name) if names.is_empty() => Keys::One(name),
            last => Keys::Several(names.into_iter().chain(last).collect()),
        }
    }

    fn names(&self) -> &[String] {
        match self {
            Keys::One(name) => std::slice::from_ref(name),
            Keys::Several(names) => names,
        }
    }
}

pub(super) fn global() -> Property {
    let keys = || Shape::Texts { item: ATTRIBUTE, max: MAX_KEYS };
    let [projection_type, non_key_attributes] = projection_properties();
    let index = vec![
        property("hash_key", keys(), "the attribute that is the partition key, or up to four")
            .member("KeySchema.1.AttributeName")
            .required(),
        property("range_key", keys(), "the attribute that is the sort key, or up to four")
            .member("KeySchema.2.AttributeName"),
        projection_type,
        non_key_attributes,
        property("read_capacity", CAPACITY, "read units a second, the table's unless given; with PROVISIONED only")
            .member("ProvisionedThroughput.ReadCapacityUnits"),
        property("write_capacity", CAPACITY, "write units a second, the table's unless given; with PROVISIONED only")
            .member("ProvisionedThroughput.WriteCapacityUnits"),
    ];
    let indexes = Shape::Map { key: NAME, value: Box::new(Shape::Record(index)), max: MAX_GLOBAL };
    property(GLOBAL, indexes, "indexes with a partition key of their own, by name")
        .quota(USUAL_GLOBAL, "AWS raises the account's quota if it is asked to")
        .default(json!({}))
        .literal()
        .loses(losses)
}

pub(super) fn local() -> Property {
    let [projection_type, non_key_attributes] = projection_properties();
    let range_key = property("range_key", Shape::Text(ATTRIBUTE), "the attribute that is the index's sort key")
        .required()
        .member("KeySchema.2.AttributeName");
    let index = vec![range_key, projection_type, non_key_attributes];
    let indexes = Shape::Map { key: NAME, value: Box::new(Shape::Record(index)), max: MAX_LOCAL };
    property(LOCAL, indexes, "indexes with the table's partition key and another sort key, by name")
        .default(json!({}))
        .literal()
        .on_change(Effect::Refuse("DynamoDB fixes local indexes when the table is made; a new table would start empty"))
}

fn projection_properties() -> [Property; 2] {
    let names = Shape::Set { item: Box::new(Shape::Text(ATTRIBUTE)), max: MAX_PROJECTED };
    [
        property("projection_type", Shape::Choice(&["ALL", "KEYS_ONLY", "INCLUDE"]), "what the index holds of an item")
            .member("Projection.ProjectionType")
            .default("ALL"),
        property("non_key_attributes", names, "the attributes that the index holds; with INCLUDE only")
            .member("Projection.NonKeyAttributes"),
    ]
}

fn losses(before: &Value, after: &Value) -> Vec<String> {
    let (Value::Map(have), Value::Map(want)) = (before, after) else { return Vec::new() };
    let loss = |(name, index): (&String, &Value)| match (index, want.get(name)) {
        (Value::Map(index), Some(Value::Map(wanted))) => {
            FIXED.iter().any(|property| index.get(*property) != wanted.get(*property)).then(|| {
                format!(
                    "AWS can't change the key or the projection of an index: `{name}` is deleted and built anew, and \
                     until it is built queries on it fail"
                )
            })
        }
        _ => Some(format!("the index `{name}` is deleted, and queries on it fail from then on")),
    };
    have.iter().filter_map(loss).collect()
}

/// A global index is paid like the table unless it says otherwise.
pub(super) fn normalize(desired: &mut Tree) {
    if desired.get("billing_mode").and_then(Value::as_str) != Some("PROVISIONED") {
        return;
    }
    for capacity in CAPACITIES {
        let Some(of_table) = desired.get(capacity).cloned() else { continue };
        let Some(Value::Map(indexes)) = desired.get_mut(GLOBAL) else { continue };
        for index in indexes.values_mut() {
            if let Value::Map(index) = index
                && let Some(Value::Null) = index.get(capacity)
            {
                index.insert(capacity.to_owned(), of_table.clone());
            }
        }
    }
}

/// The declared indexes of a property, without those that are not even a mapping.
fn declared<'t>(desired: &'t Tree, property: &str) -> impl Iterator<Item = (&'t String, &'t Tree)> {
    let indexes = match desired.get(property) {
        Some(Value::Map(indexes)) => Some(indexes),
        _ => None,
    };
    indexes.into_iter().flatten().filter_map(|(name, index)| match index {
        Value::Map(index) => Some((name, index)),
        _ => None,
    })
}

/// Text, or each of several.
fn texts(value: Option<&Value>) -> impl Iterator<Item = &str> {
    let values = match value {
        Some(Value::List(items)) => items.as_slice(),
        Some(value) => std::slice::from_ref(value),
        None => &[],
    };
    values.iter().filter_map(Value::as_str)
}

/// Every key attribute of an index, with the place that names it.
pub(super) fn keys(desired: &Tree) -> impl Iterator<Item = (Path, &str)> {
    [GLOBAL, LOCAL].into_iter().flat_map(move |property| {
        declared(desired, property).flat_map(move |(name, index)| {
            ["hash_key", "range_key"].into_iter().flat_map(move |half| {
                let path = Path::property(property).key(name).key(half);
                texts(index.get(half)).map(move |key| (path.clone(), key))
            })
        })
    })
}

/// Whether [`keys`] can name them all: nothing of an index was written so that it can't be read.
pub(super) fn are_readable(desired: &Tree) -> bool {
    [GLOBAL, LOCAL].into_iter().all(|property| match desired.get(property) {
        Some(Value::Map(indexes)) => indexes.values().all(|index| match index {
            Value::Map(index) => {
                index.contains_key("range_key") && (property == LOCAL || index.contains_key("hash_key"))
            }
            _ => false,
        }),
        _ => false,
    })
}

/// What an index projects although it is a key of the table or of the index
/// (docs.aws.amazon.com/amazondynamodb/latest/developerguide/GSI.html#GSI.Projections).
fn projected_keys<'t>(desired: &'t Tree, index: &'t Tree) -> Vec<&'t str> {
    let halves = |tree: &'t Tree| ["hash_key", "range_key"].into_iter().flat_map(move |half| texts(tree.get(half)));
    let keys: BTreeSet<&str> = halves(desired).chain(halves(index)).collect();
    texts(index.get("non_key_attributes")).filter(|name| keys.contains(name)).collect()
}

/// What AWS would refuse of the indexes of a table.
pub(super) fn check(desired: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    let text = |name: &str| desired.get(name).and_then(Value::as_str);
    let mut projected = 0;
    for (property, (name, index)) in
        [GLOBAL, LOCAL].into_iter().flat_map(|property| declared(desired, property).map(move |it| (property, it)))
    {
        let path = Path::property(property).key(name);
        let (hash, range) = (texts(index.get("hash_key")), texts(index.get("range_key")));
        let hash: Vec<&str> = if property == LOCAL { text("hash_key").into_iter().collect() } else { hash.collect() };
        let mut seen = BTreeSet::new();
        if let Some(twice) = hash.into_iter().chain(range).find(|key| !seen.insert(*key)) {
            problems.push(
                Problem::error(
                    path.clone(),
                    format!("the attribute `{twice}` stands twice in the key of the index `{name}`"),
                    "name it once, or another attribute",
                )
                .why(match property {
                    LOCAL => "a local index has the table's `hash_key`",
                    _ => "a key is made of different attributes",
                }),
            );
        }
        let names = texts(index.get("non_key_attributes")).count();
        projected += names;
        let is_include = index.get("projection_type").and_then(Value::as_str) == Some("INCLUDE");
        let written = index.get("non_key_attributes").is_some_and(|names| *names != Value::Null);
        if is_include && names == 0 && index.contains_key("non_key_attributes") {
            problems.push(
                Problem::error(
                    path.clone(),
                    format!("the index `{name}` does not say which attributes it holds"),
                    "add `non_key_attributes: [name]`, or choose another `projection_type`",
                )
                .why("projection type INCLUDE needs them"),
            );
        } else if written && !is_include && index.contains_key("projection_type") {
            problems.push(Problem::error(
                path.key("non_key_attributes"),
                "`non_key_attributes` has no meaning without projection type INCLUDE",
                "remove it, or write `projection_type: INCLUDE`",
            ));
        }
        problems.extend(projected_keys(desired, index).into_iter().map(|key| {
            Problem::warning(
                path.key("non_key_attributes"),
                format!("`non_key_attributes` names `{key}`, which is part of a key"),
                "remove it",
            )
            .why("an index holds the keys of the table and its own anyway")
        }));
        if text("billing_mode") == Some("PAY_PER_REQUEST") {
            for capacity in CAPACITIES.iter().filter(|it| matches!(index.get(**it), Some(Value::Number(_)))) {
                problems.push(Problem::error(
                    path.key(capacity),
                    format!("`{capacity}` has no meaning with billing mode PAY_PER_REQUEST"),
                    format!("remove `{capacity}`, or choose `billing_mode: PROVISIONED` for the table"),
                ));
            }
        }
    }
    if projected > MAX_PROJECTED_TOGETHER {
        problems.push(Problem::error(
            Path::property(GLOBAL),
            format!("the indexes name {projected} `non_key_attributes` together, {MAX_PROJECTED_TOGETHER} are allowed"),
            "remove some, or choose `projection_type: ALL`",
        ));
    }
    for (name, _) in declared(desired, LOCAL) {
        if declared(desired, GLOBAL).any(|(other, _)| other == name) {
            problems.push(Problem::error(
                Path::property(LOCAL).key(name),
                format!("the table has two indexes of the name `{name}`"),
                "rename one of them",
            ));
        }
    }
    let no_range_key = matches!(desired.get("range_key"), Some(Value::Null));
    if no_range_key && let Some((name, _)) = declared(desired, LOCAL).next() {
        problems.push(
            Problem::error(
                Path::property(LOCAL).key(name),
                "a local index needs a table with a `range_key`",
                format!("add `range_key:` to the table, or move the index to `{GLOBAL}`"),
            )
            .why("it is another order of the items that share a partition key"),
        );
    }
    problems
}

impl GlobalIndex {
    /// Whether AWS could make `self` out of `other` without building it anew: the same key, the same projection.
    pub(super) fn is_like(&self, other: &GlobalIndex) -> bool {
        (&self.hash_key, &self.range_key, &self.projection_type, &self.non_key_attributes)
            == (&other.hash_key, &other.range_key, &other.projection_type, &other.non_key_attributes)
    }

    /// Read and write units.
    pub(super) fn capacity(&self) -> (Option<i64>, Option<i64>) {
        (self.read_capacity, self.write_capacity)
    }

    /// The attributes of its key.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.hash_key.names().iter().chain(self.range_key.iter().flat_map(Keys::names)).map(String::as_str)
    }

    /// For a CreateTable.
    pub(super) fn of_table(&self, name: &str) -> Result<GlobalSecondaryIndex, AwsError> {
        GlobalSecondaryIndex::builder()
            .index_name(name)
            .set_key_schema(Some(self.key_schema()?))
            .projection(projection(&self.projection_type, self.non_key_attributes.as_deref()))
            .set_provisioned_throughput(throughput(self.capacity())?)
            .build()
            .map_err(incomplete)
    }

    /// For an UpdateTable.
    pub(super) fn action(&self, name: &str) -> Result<CreateGlobalSecondaryIndexAction, AwsError> {
        CreateGlobalSecondaryIndexAction::builder()
            .index_name(name)
            .set_key_schema(Some(self.key_schema()?))
            .projection(projection(&self.projection_type, self.non_key_attributes.as_deref()))
            .set_provisioned_throughput(throughput(self.capacity())?)
            .build()
            .map_err(incomplete)
    }

    fn key_schema(&self) -> Result<Vec<KeySchemaElement>, AwsError> {
        key_schema(self.hash_key.names(), self.range_key.as_ref().map_or(&[], Keys::names))
    }
}

impl LocalIndex {
    /// The attribute of its key that is its own.
    pub(super) fn range_key(&self) -> &str {
        &self.range_key
    }

    /// For a CreateTable, on a table with that partition key.
    pub(super) fn of_table(&self, name: &str, hash_key: &String) -> Result<LocalSecondaryIndex, AwsError> {
        LocalSecondaryIndex::builder()
            .index_name(name)
            .set_key_schema(Some(key_schema(std::slice::from_ref(hash_key), std::slice::from_ref(&self.range_key))?))
            .projection(projection(&self.projection_type, self.non_key_attributes.as_deref()))
            .build()
            .map_err(incomplete)
    }
}

/// Partition key first: the order counts.
pub(super) fn key_schema(hash: &[String], range: &[String]) -> Result<Vec<KeySchemaElement>, AwsError> {
    let halves = hash.iter().map(|name| (name, KeyType::Hash)).chain(range.iter().map(|name| (name, KeyType::Range)));
    let element =
        |(name, half)| KeySchemaElement::builder().attribute_name(name).key_type(half).build().map_err(incomplete);
    halves.map(element).collect()
}

fn projection(projection_type: &str, names: Option<&[String]>) -> Projection {
    let projection_type = ProjectionType::from(projection_type);
    Projection::builder().projection_type(projection_type).set_non_key_attributes(names.map(<[_]>::to_vec)).build()
}

/// The attributes of one half of a key, in their order.
pub(super) fn half(schema: &[KeySchemaElement], half: &KeyType) -> Vec<String> {
    schema.iter().filter(|it| it.key_type == *half).map(|it| it.attribute_name.clone()).collect()
}

fn shown(projection: Option<&Projection>) -> (String, Option<Vec<String>>) {
    let projection_type = projection.and_then(Projection::projection_type).unwrap_or(&ProjectionType::All);
    let mut names = projection.map(|it| it.non_key_attributes().to_vec()).unwrap_or_default();
    // Sorted like the sets of a spec.
    names.sort_by_cached_key(|name| json!(name).to_string());
    (projection_type.as_str().to_owned(), (!names.is_empty()).then_some(names))
}

/// The global indexes that AWS shows, also those that are being made; one that is being deleted is none any more.
pub(super) fn living(table: &TableDescription, on_demand: bool) -> BTreeMap<String, GlobalIndex> {
    let lasting = table.global_secondary_indexes().iter().filter(|it| it.index_status != Some(IndexStatus::Deleting));
    let index = lasting.map(|index| {
        let (projection_type, non_key_attributes) = shown(index.projection());
        let range_key = half(index.key_schema(), &KeyType::Range);
        let throughput = index.provisioned_throughput().filter(|_| !on_demand);
        let shown = GlobalIndex {
            hash_key: Keys::new(half(index.key_schema(), &KeyType::Hash)),
            range_key: (!range_key.is_empty()).then(|| Keys::new(range_key)),
            projection_type,
            non_key_attributes,
            read_capacity: throughput.and_then(|it| it.read_capacity_units),
            write_capacity: throughput.and_then(|it| it.write_capacity_units),
        };
        (index.index_name().unwrap_or_default().to_owned(), shown)
    });
    index.collect()
}

/// The local indexes that AWS shows.
pub(super) fn living_local(table: &TableDescription) -> BTreeMap<String, LocalIndex> {
    let index = table.local_secondary_indexes().iter().map(|index| {
        let (projection_type, non_key_attributes) = shown(index.projection());
        let range_key = half(index.key_schema(), &KeyType::Range).pop().unwrap_or_default();
        let shown = LocalIndex { range_key, projection_type, non_key_attributes };
        (index.index_name().unwrap_or_default().to_owned(), shown)
    });
    index.collect()
}

/// The first index that AWS is working on, with AWS's word for it. The table itself may be ACTIVE all the while.
pub(super) fn under_way(table: &TableDescription) -> Option<(&str, &IndexStatus)> {
    let states = table.global_secondary_indexes().iter().map(|index| (index.index_name(), index.index_status()));
    states
        .filter_map(|(name, status)| Some((name.unwrap_or_default(), status?)))
        .find(|(_, status)| **status != IndexStatus::Active)
}
