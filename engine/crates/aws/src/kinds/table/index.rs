//! A table's secondary indexes: their properties, checks, and conversion to and from AWS's types.
//!
//! **Invariant:** it makes no calls. The table decides when to create or delete an index.

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

use super::throughput::{self, OnDemand};
use super::{ATTRIBUTE, CAPACITY, NAME, incomplete, provisioned};

/// The property for global indexes.
pub(super) const GLOBAL: &str = "global_secondary_indexes";
/// The property for local indexes.
pub(super) const LOCAL: &str = "local_secondary_indexes";
/// Limits of docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html: indexes
/// of a table, attributes of one half of a global index's key, attributes that one index or all of
/// them together project. AWS can raise the number of global indexes, so exceeding it is a warning,
/// up to engine's own limit.
const USUAL_GLOBAL: i64 = 20;
const MAX_GLOBAL: usize = 1000;
const MAX_LOCAL: usize = 5;
const MAX_KEYS: usize = 4;
const MAX_PROJECTED: usize = 20;
const MAX_PROJECTED_TOGETHER: usize = 100;
/// The table's key, both halves of each global key, and one attribute for each local index.
pub(super) const MAX_ATTRIBUTES: usize = 2 + MAX_GLOBAL * 2 * MAX_KEYS + MAX_LOCAL;
const CAPACITIES: [&str; 2] = ["read_capacity", "write_capacity"];
/// Properties that AWS can't change on an existing index.
const FIXED: [&str; 4] = ["hash_key", "range_key", "projection_type", "non_key_attributes"];

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GlobalIndex {
    hash_key: KeyAttributes,
    range_key: Option<KeyAttributes>,
    projection_type: String,
    non_key_attributes: Option<Vec<String>>,
    read_capacity: Option<i64>,
    write_capacity: Option<i64>,
    on_demand_throughput: Option<OnDemand>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LocalIndex {
    range_key: String,
    projection_type: String,
    non_key_attributes: Option<Vec<String>>,
}

/// One or several attributes of one half of a key; a single one is text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum KeyAttributes {
    One(String),
    Several(Vec<String>),
}

impl KeyAttributes {
    fn new(mut names: Vec<String>) -> KeyAttributes {
        match names.pop() {
            Some(name) if names.is_empty() => KeyAttributes::One(name),
            last => KeyAttributes::Several(names.into_iter().chain(last).collect()),
        }
    }

    fn names(&self) -> &[String] {
        match self {
            KeyAttributes::One(name) => std::slice::from_ref(name),
            KeyAttributes::Several(names) => names,
        }
    }
}

pub(super) fn global() -> Property {
    let keys = || Shape::Texts { item: ATTRIBUTE.clone(), max: MAX_KEYS };
    let [projection_type, non_key_attributes] = projection_properties();
    let index = vec![
        property("hash_key", keys(), "partition key attribute, or up to four")
            .member("KeySchema.1.AttributeName")
            .required(),
        property("range_key", keys(), "sort key attribute, or up to four").member("KeySchema.2.AttributeName"),
        projection_type,
        non_key_attributes,
        property("read_capacity", CAPACITY, "read capacity units; only with PROVISIONED; defaults to the table's")
            .member("ProvisionedThroughput.ReadCapacityUnits"),
        property("write_capacity", CAPACITY, "write capacity units; only with PROVISIONED; defaults to the table's")
            .member("ProvisionedThroughput.WriteCapacityUnits"),
        throughput::on_demand(),
    ];
    let indexes = Shape::Map { key: NAME.clone(), value: Box::new(Shape::Record(index)), max: MAX_GLOBAL };
    property(GLOBAL, indexes, "indexes with their own partition key, by name")
        .quota(USUAL_GLOBAL, "AWS can raise this quota on request")
        .default(json!({}))
        .no_references()
        .destructive_notes(losses)
}

pub(super) fn local() -> Property {
    let [projection_type, non_key_attributes] = projection_properties();
    let range_key = property("range_key", Shape::Text(ATTRIBUTE.clone()), "sort key attribute of the index")
        .required()
        .member("KeySchema.2.AttributeName");
    let index = vec![range_key, projection_type, non_key_attributes];
    let indexes = Shape::Map { key: NAME.clone(), value: Box::new(Shape::Record(index)), max: MAX_LOCAL };
    property(LOCAL, indexes, "indexes with the table's partition key and another sort key, by name")
        .default(json!({}))
        .no_references()
        .on_change(Effect::refuse(
            "DynamoDB can't change local indexes of an existing table; a new table would be empty",
        ))
}

fn projection_properties() -> [Property; 2] {
    let names = Shape::Set { item: Box::new(Shape::Text(ATTRIBUTE.clone())), max: MAX_PROJECTED };
    [
        property(
            "projection_type",
            Shape::choice(["ALL", "KEYS_ONLY", "INCLUDE"]),
            "attributes that the index contains",
        )
        .member("Projection.ProjectionType")
        .default("ALL"),
        property("non_key_attributes", names, "additional attributes that the index contains; only with INCLUDE")
            .member("Projection.NonKeyAttributes"),
    ]
}

fn losses(before: &Value, after: &Value) -> Vec<String> {
    let (Value::Map(have), Value::Map(want)) = (before, after) else { return Vec::new() };
    let loss = |(name, index): (&String, &Value)| match (index, want.get(name)) {
        (Value::Map(index), Some(Value::Map(wanted))) => {
            FIXED.iter().any(|property| index.get(*property) != wanted.get(*property)).then(|| {
                format!(
                    "AWS can't change the key or the projection of an index: `{name}` is deleted and re-created, and \
                     queries on it fail until it is built"
                )
            })
        }
        _ => Some(format!("the index `{name}` is deleted, and queries on it will fail")),
    };
    have.iter().filter_map(loss).collect()
}

/// A global index without its own capacity gets the table's.
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

/// The declared indexes of a property, without invalid ones.
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

/// A text, or each text in a list.
fn texts(value: Option<&Value>) -> impl Iterator<Item = &str> {
    let values = match value {
        Some(Value::List(items)) => items.as_slice(),
        Some(value) => std::slice::from_ref(value),
        None => &[],
    };
    values.iter().filter_map(Value::as_str)
}

/// Each key attribute of each index, with its path.
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

/// Whether [`keys`] is complete, because all key properties are valid.
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

/// Projected attributes of an index that are already keys of the table or the index
/// (docs.aws.amazon.com/amazondynamodb/latest/developerguide/GSI.html#GSI.Projections).
fn projected_keys<'t>(desired: &'t Tree, index: &'t Tree) -> Vec<&'t str> {
    let halves = |tree: &'t Tree| ["hash_key", "range_key"].into_iter().flat_map(move |half| texts(tree.get(half)));
    let keys: BTreeSet<&str> = halves(desired).chain(halves(index)).collect();
    texts(index.get("non_key_attributes")).filter(|name| keys.contains(name)).collect()
}

/// Errors in a table's indexes that AWS would reject.
pub(super) fn check(desired: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut projected = 0;
    for property in [GLOBAL, LOCAL] {
        for (name, index) in declared(desired, property) {
            projected += texts(index.get("non_key_attributes")).count();
            problems.extend(key_problem(desired, property, name, index));
            problems.extend(projection_problem(property, name, index));
            problems.extend(projected_keys(desired, index).into_iter().map(|key| {
                Problem::warning(
                    Path::property(property).key(name).key("non_key_attributes"),
                    format!("`non_key_attributes` contains the key attribute `{key}`"),
                    "remove it",
                )
                .why("an index always contains its own key and the table's key")
            }));
            problems.extend(capacity_problems(desired, property, name, index));
            let mode = desired.get("billing_mode").and_then(Value::as_str);
            let path = Path::property(property).key(name).key(throughput::ON_DEMAND);
            problems.extend(throughput::maximum_problem(path, index, mode));
        }
    }
    if projected > MAX_PROJECTED_TOGETHER {
        problems.push(Problem::error(
            Path::property(GLOBAL),
            format!(
                "the indexes have {projected} `non_key_attributes` in total, but the maximum is {MAX_PROJECTED_TOGETHER}"
            ),
            "remove some, or use `projection_type: ALL`",
        ));
    }
    problems.extend(local_problems(desired));
    problems
}

fn key_problem(desired: &Tree, property: &str, name: &str, index: &Tree) -> Option<Problem> {
    let hash = if property == LOCAL { desired.get("hash_key") } else { index.get("hash_key") };
    let mut seen = BTreeSet::new();
    let twice = texts(hash).chain(texts(index.get("range_key"))).find(|key| !seen.insert(*key))?;
    let problem = Problem::error(
        Path::property(property).key(name),
        format!("the key of the index `{name}` contains the attribute `{twice}` twice"),
        "use different attributes",
    );
    Some(problem.why(match property {
        LOCAL => "the partition key of a local index is the table's `hash_key`",
        _ => "the attributes of a key must differ",
    }))
}

/// `non_key_attributes` without the projection type that they belong to, or the reverse.
fn projection_problem(property: &str, name: &str, index: &Tree) -> Option<Problem> {
    let path = Path::property(property).key(name);
    let is_include = index.get("projection_type").and_then(Value::as_str) == Some("INCLUDE");
    let attributes = index.get("non_key_attributes");
    if is_include && attributes.is_some() && texts(attributes).next().is_none() {
        let problem = Problem::error(
            path,
            format!("the index `{name}` has no `non_key_attributes`"),
            "add `non_key_attributes: [name]`, or use another `projection_type`",
        );
        return Some(problem.why("projection type INCLUDE requires them"));
    }
    let is_set = attributes.is_some_and(|names| *names != Value::Null);
    (is_set && !is_include && index.contains_key("projection_type")).then(|| {
        Problem::error(
            path.key("non_key_attributes"),
            "`non_key_attributes` requires `projection_type: INCLUDE`",
            "remove it, or set `projection_type: INCLUDE`",
        )
    })
}

fn capacity_problems(desired: &Tree, property: &str, name: &str, index: &Tree) -> Vec<Problem> {
    if desired.get("billing_mode").and_then(Value::as_str) != Some("PAY_PER_REQUEST") {
        return Vec::new();
    }
    let set = CAPACITIES.iter().filter(|it| matches!(index.get(**it), Some(Value::Number(_))));
    let problem = |capacity: &&str| {
        Problem::error(
            Path::property(property).key(name).key(capacity),
            format!("`{capacity}` has no effect with billing mode PAY_PER_REQUEST"),
            format!("remove `{capacity}`, or set `billing_mode: PROVISIONED` on the table"),
        )
    };
    set.map(problem).collect()
}

/// Local indexes with the name of a global one, or of a table without a `range_key`.
fn local_problems(desired: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, _) in declared(desired, LOCAL) {
        if declared(desired, GLOBAL).any(|(other, _)| other == name) {
            problems.push(Problem::error(
                Path::property(LOCAL).key(name),
                format!("the table has two indexes with the name `{name}`"),
                "rename one of them",
            ));
        }
    }
    let no_range_key = matches!(desired.get("range_key"), Some(Value::Null));
    if no_range_key && let Some((name, _)) = declared(desired, LOCAL).next() {
        problems.push(
            Problem::error(
                Path::property(LOCAL).key(name),
                "a local index requires a table with a `range_key`",
                format!("add `range_key:` to the table, or move the index to `{GLOBAL}`"),
            )
            .why("it sorts the items of a partition in another order"),
        );
    }
    problems
}

impl GlobalIndex {
    /// Whether AWS can change `other` to `self` without rebuilding it: both have the same key and
    /// projection.
    pub(super) fn is_like(&self, other: &GlobalIndex) -> bool {
        (&self.hash_key, &self.range_key, &self.projection_type, &self.non_key_attributes)
            == (&other.hash_key, &other.range_key, &other.projection_type, &other.non_key_attributes)
    }

    /// Read and write units.
    pub(super) fn capacity(&self) -> (Option<i64>, Option<i64>) {
        (self.read_capacity, self.write_capacity)
    }

    /// Its maximum in on-demand mode.
    pub(super) fn maximum(&self) -> Option<&OnDemand> {
        self.on_demand_throughput.as_ref()
    }

    /// The attributes of its key.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.hash_key.names().iter().chain(self.range_key.iter().flat_map(KeyAttributes::names)).map(String::as_str)
    }

    /// The index for CreateTable.
    pub(super) fn of_table(&self, name: &str) -> Result<GlobalSecondaryIndex, AwsError> {
        GlobalSecondaryIndex::builder()
            .index_name(name)
            .set_key_schema(Some(self.key_schema()?))
            .projection(projection(&self.projection_type, self.non_key_attributes.as_deref()))
            .set_provisioned_throughput(provisioned(self.capacity())?)
            .set_on_demand_throughput(self.maximum().map(|it| throughput::maximum(Some(it))))
            .build()
            .map_err(incomplete)
    }

    /// The index for UpdateTable.
    pub(super) fn action(&self, name: &str) -> Result<CreateGlobalSecondaryIndexAction, AwsError> {
        CreateGlobalSecondaryIndexAction::builder()
            .index_name(name)
            .set_key_schema(Some(self.key_schema()?))
            .projection(projection(&self.projection_type, self.non_key_attributes.as_deref()))
            .set_provisioned_throughput(provisioned(self.capacity())?)
            .set_on_demand_throughput(self.maximum().map(|it| throughput::maximum(Some(it))))
            .build()
            .map_err(incomplete)
    }

    fn key_schema(&self) -> Result<Vec<KeySchemaElement>, AwsError> {
        key_schema(self.hash_key.names(), self.range_key.as_ref().map_or(&[], KeyAttributes::names))
    }
}

impl LocalIndex {
    /// Its sort key attribute.
    pub(super) fn range_key(&self) -> &str {
        &self.range_key
    }

    /// The index for CreateTable, on a table with this partition key.
    pub(super) fn of_table(&self, name: &str, hash_key: &String) -> Result<LocalSecondaryIndex, AwsError> {
        LocalSecondaryIndex::builder()
            .index_name(name)
            .set_key_schema(Some(key_schema(std::slice::from_ref(hash_key), std::slice::from_ref(&self.range_key))?))
            .projection(projection(&self.projection_type, self.non_key_attributes.as_deref()))
            .build()
            .map_err(incomplete)
    }
}

/// A key schema; AWS requires the partition key first.
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

/// The attributes of one half of a key, in order.
pub(super) fn half(schema: &[KeySchemaElement], half: &KeyType) -> Vec<String> {
    schema.iter().filter(|it| it.key_type == *half).map(|it| it.attribute_name.clone()).collect()
}

fn read_projection(projection: Option<&Projection>) -> (String, Option<Vec<String>>) {
    let projection_type = projection.and_then(Projection::projection_type).unwrap_or(&ProjectionType::All);
    let mut names = projection.map(|it| it.non_key_attributes().to_vec()).unwrap_or_default();
    // Sort them like sets in a spec.
    names.sort_by_cached_key(|name| json!(name).to_string());
    (projection_type.as_str().to_owned(), (!names.is_empty()).then_some(names))
}

/// The global indexes in AWS, including those being created, without those being deleted.
pub(super) fn global_indexes_of(table: &TableDescription, on_demand: bool) -> BTreeMap<String, GlobalIndex> {
    let lasting = table.global_secondary_indexes().iter().filter(|it| it.index_status != Some(IndexStatus::Deleting));
    let indexes = lasting.map(|index| {
        let (projection_type, non_key_attributes) = read_projection(index.projection());
        let range_key = half(index.key_schema(), &KeyType::Range);
        let throughput = index.provisioned_throughput().filter(|_| !on_demand);
        let props = GlobalIndex {
            hash_key: KeyAttributes::new(half(index.key_schema(), &KeyType::Hash)),
            range_key: (!range_key.is_empty()).then(|| KeyAttributes::new(range_key)),
            projection_type,
            non_key_attributes,
            read_capacity: throughput.and_then(|it| it.read_capacity_units),
            write_capacity: throughput.and_then(|it| it.write_capacity_units),
            on_demand_throughput: OnDemand::read(index.on_demand_throughput().filter(|_| on_demand)),
        };
        (index.index_name().unwrap_or_default().to_owned(), props)
    });
    indexes.collect()
}

/// The local indexes in AWS.
pub(super) fn local_indexes_of(table: &TableDescription) -> BTreeMap<String, LocalIndex> {
    let indexes = table.local_secondary_indexes().iter().map(|index| {
        let (projection_type, non_key_attributes) = read_projection(index.projection());
        let range_key = half(index.key_schema(), &KeyType::Range).pop().unwrap_or_default();
        let props = LocalIndex { range_key, projection_type, non_key_attributes };
        (index.index_name().unwrap_or_default().to_owned(), props)
    });
    indexes.collect()
}

/// The first index with a change in progress, and its status. The table itself can be ACTIVE
/// meanwhile.
pub(super) fn under_way(table: &TableDescription) -> Option<(&str, &IndexStatus)> {
    let states = table.global_secondary_indexes().iter().map(|index| (index.index_name(), index.index_status()));
    states
        .filter_map(|(name, status)| Some((name.unwrap_or_default(), status?)))
        .find(|(_, status)| **status != IndexStatus::Active)
}
