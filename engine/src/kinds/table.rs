//! `table`: a DynamoDB table with its stream.
//!
//! ```yaml
//! team: blue-owls
//! resources:
//!   todos:
//!     type: table
//!     attributes: { id: S }
//!     hash_key: id
//!     read_capacity: 1
//!     write_capacity: 1
//!     stream_view_type: NEW_AND_OLD_IMAGES
//! ```

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::config::Builder as Override;
use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ProvisionedThroughput, ScalarAttributeType, Select,
    StreamSpecification, StreamViewType, TableDescription, TableStatus, Tag,
};
use aws_smithy_types::retry::RetryConfig;
use serde::{Deserialize, Serialize};

use crate::aws::{AwsError, Class, Context, Named, Wait};
use crate::kind::{Kind, Want};
use crate::schema::{
    Age, Condition, Contents, Effect, Id, Live, Naming, Origin, Output, Outputs, Owner, Ownership, Problem, Reading,
    Schema, Shape, Text, property,
};
use crate::value::{Path, Tree, Value};

pub(super) struct Table;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Props {
    attributes: BTreeMap<String, String>,
    hash_key: String,
    range_key: Option<String>,
    billing_mode: String,
    read_capacity: Option<i64>,
    write_capacity: Option<i64>,
    stream_view_type: Option<String>,
    tags: BTreeMap<String, String>,
}

/// docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html
const NAME: Text = Text {
    min: 3,
    max: 255,
    allows: |text| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')),
    words: "letters, digits, `-`, `_` and `.`",
};
const ATTRIBUTE: Text = Text { min: 1, max: 255, allows: |_| true, words: "any text" };
/// The quota for one table is 40,000 units by default and can be raised; the API itself has no upper bound.
const CAPACITY: Shape = Shape::Integer { min: 1, max: 1_000_000_000 };

const FIXED_KEY: &str = "DynamoDB fixes the key when the table is made; a new table would start empty";
/// How long AWS's own tools wait at most: a minute or so is usual, on-demand switches take three.
const CREATE: Wait = Wait { what: "the table to become ACTIVE", counted: false, budget: Duration::from_secs(600) };
const UPDATE: Wait = Wait { what: "the table's change to finish", counted: false, budget: Duration::from_secs(1200) };
const BUSY: Wait =
    Wait { what: "an earlier change of the table to finish", counted: false, budget: Duration::from_secs(600) };
const GONE: Wait = Wait { what: "the table to be gone", counted: false, budget: Duration::from_secs(600) };
/// Tags given at create can be read once the table is ACTIVE, and lag up to 3 s; an empty answer about something this
/// young proves nothing.
const TAGS_LAG: Duration = Duration::from_secs(60);

impl Kind for Table {
    type Props = Props;

    fn schema(&self) -> Schema {
        let attribute_types = Shape::Map { key: ATTRIBUTE, value: Box::new(Shape::Choice(&["S", "N", "B"])), max: 2 };
        Schema {
            kind: "table",
            summary: "a DynamoDB table with its stream",
            source: "https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_CreateTable.html",
            naming: Naming::Own { text: NAME },
            managed: true,
            importable: true,
            adoptable: true,
            holds_data: true,
            locked: None,
            leaves: None,
            renewal: None,
            index: Some("dynamodb:table"),
            properties: vec![
                property(
                    "attributes",
                    attribute_types,
                    "type of each key attribute: S (text), N (number) or B (binary)",
                )
                .required()
                .literal()
                .on_change(Effect::Refuse(FIXED_KEY)),
                property("hash_key", Shape::Text(ATTRIBUTE), "the attribute that is the partition key")
                    .required()
                    .literal()
                    .on_change(Effect::Refuse(FIXED_KEY)),
                property("range_key", Shape::Text(ATTRIBUTE), "the attribute that is the sort key, if there is one")
                    .literal()
                    .on_change(Effect::Refuse(FIXED_KEY)),
                property("billing_mode", Shape::Choice(&["PROVISIONED", "PAY_PER_REQUEST"]), "how capacity is paid")
                    .default("PROVISIONED"),
                property("read_capacity", CAPACITY, "read units a second; with PROVISIONED only"),
                property("write_capacity", CAPACITY, "write units a second; with PROVISIONED only"),
                property(
                    "stream_view_type",
                    Shape::Choice(&["KEYS_ONLY", "NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES"]),
                    "what the stream's records show; absent: no stream",
                )
                .loses(stream_loss),
                super::tags(),
            ],
            outputs: vec![
                Output {
                    name: "arn",
                    doc: "the table's ARN",
                    origin: Origin::Computed(|site, name| {
                        format!("arn:{}:dynamodb:{}:{}:table/{name}", site.partition, site.region, site.account)
                    }),
                },
                Output { name: "name", doc: "the table's name", origin: Origin::Computed(|_, name| name.to_owned()) },
                Output {
                    name: "stream_arn",
                    doc: "the ARN of the live stream",
                    origin: Origin::Assigned { until: &["stream_view_type"] },
                },
            ],
        }
    }

    fn check(&self, desired: &Tree) -> Vec<Problem> {
        let mut problems = Vec::new();
        let text = |name: &str| desired.get(name).and_then(Value::as_str);
        let is_set = |name: &str| !matches!(desired.get(name), None | Some(Value::Null));
        if let Some(Value::Map(attributes)) = desired.get("attributes") {
            let keys: Vec<&str> = ["hash_key", "range_key"].into_iter().filter_map(text).collect();
            for property in ["hash_key", "range_key"] {
                if let Some(key) = text(property).filter(|key| !attributes.contains_key(*key)) {
                    problems.push(Problem::error(
                        Path::property(property),
                        format!("`{property}` names `{key}`, which is not among the `attributes`"),
                        format!("add it there: `attributes: {{ {key}: S }}`"),
                    ));
                }
            }
            // Without a key to compare with, none of them is one too many.
            let surplus = |name: &&String| text("hash_key").is_some() && !keys.contains(&name.as_str());
            for attribute in attributes.keys().filter(surplus) {
                problems.push(
                    Problem::error(
                        Path::property("attributes").key(attribute),
                        format!("the attribute `{attribute}` is not part of the key"),
                        "remove it; items may carry any other attribute without declaring it",
                    )
                    .why("DynamoDB takes types of key attributes only"),
                );
            }
        }
        if text("hash_key").is_some() && text("hash_key") == text("range_key") {
            problems.push(Problem::error(
                Path::property("range_key"),
                "`range_key` is the same attribute as `hash_key`",
                "remove `range_key`, or name another attribute",
            ));
        }
        let provisioned = text("billing_mode") == Some("PROVISIONED");
        for property in ["read_capacity", "write_capacity"] {
            if provisioned && !is_set(property) {
                problems.push(
                    Problem::error(
                        Path::property(property),
                        format!("`{property}` is missing"),
                        format!("add `{property}: 1`, or `billing_mode: PAY_PER_REQUEST`"),
                    )
                    .why("billing mode PROVISIONED, the default, needs it"),
                );
            } else if text("billing_mode") == Some("PAY_PER_REQUEST") && is_set(property) {
                problems.push(Problem::error(
                    Path::property(property),
                    format!("`{property}` has no meaning with billing mode PAY_PER_REQUEST"),
                    format!("remove `{property}`, or choose `billing_mode: PROVISIONED`"),
                ));
            }
        }
        problems
    }

    async fn read(&self, cx: &Context, id: &Id) -> Result<Reading<Props>, AwsError> {
        // The ARN for the tags is known before the table is, if the account is; the two reads then go out together.
        let (table, tags) = match &id.site {
            Some(site) => {
                let arn = format!("arn:{}:dynamodb:{}:{}:table/{}", site.partition, site.region, site.account, id.name);
                tokio::join!(describe(cx, &id.name), list_tags(cx, &arn, &id.name))
            }
            None => match describe(cx, &id.name).await {
                Ok(Some(table)) => {
                    let tags = list_tags(cx, table.table_arn().unwrap_or_default(), &id.name).await;
                    (Ok(Some(table)), tags)
                }
                nothing => (nothing, Ok(BTreeMap::new())),
            },
        };
        let Some(table) = table? else { return Ok(None.into()) };
        let (tags, owner) = ownership(&table, tags)?;
        let live = Live {
            props: props(&table, tags),
            outputs: outputs(&table),
            owner,
            condition: condition(&table),
            incarnation: table.table_id().map(str::to_owned),
            age: Age { born: table.creation_date_time().and_then(|time| time.to_millis().ok()), changed: None },
            notes: Vec::new(),
        };
        Ok(Some(live).into())
    }

    async fn contents(&self, cx: &Context, id: &Id) -> Result<Contents, AwsError> {
        let (table, first) = tokio::join!(describe(cx, &id.name), has_items(cx, &id.name));
        let estimate = table?.and_then(|table| table.item_count).unwrap_or_default();
        match first {
            Ok(true) => Ok(Contents::Items(u64::try_from(estimate).unwrap_or_default().max(1))),
            Ok(false) => Ok(Contents::Empty),
            Err(error) if error.class == Class::NotFound => Ok(Contents::Empty),
            Err(error) if matches!(error.class, Class::NoCredentials | Class::BadCredentials | Class::NoAnswer) => {
                Err(error)
            }
            // Not allowed, no capacity left, no key to decrypt: whether it has any items can't be known.
            Err(_) => Ok(Contents::Unchecked),
        }
    }

    async fn create(&self, cx: &Context, id: &Id, want: Want<Props>) -> Result<Outputs, AwsError> {
        let props = want.props;
        let definitions = definitions(&props)?;
        let keys = keys(&props)?;
        let throughput = throughput(&props)?;
        let tags = tag_list(&id.owner, &props.tags)?;
        let stream = stream(props.stream_view_type.as_deref())?;
        let send = || async {
            let request = cx
                .aws
                .dynamodb
                .create_table()
                .table_name(&id.name)
                .set_attribute_definitions(Some(definitions.clone()))
                .set_key_schema(Some(keys.clone()))
                .billing_mode(BillingMode::from(props.billing_mode.as_str()))
                .set_provisioned_throughput(throughput.clone())
                .set_stream_specification(stream.clone())
                .set_tags(Some(tags.clone()));
            let answer = request.customize().config_override(once()).send().await.named("CreateTable", &id.name)?;
            answer.table_description.ok_or_else(|| AwsError::defect("AWS described no table".to_owned()))
        };
        let table = cx.create(BUSY, &id.name, send, || find_ours(cx, id)).await?;
        Ok(outputs(&table))
    }

    async fn update(&self, cx: &Context, id: &Id, have: Live<Props>, want: Want<Props>) -> Result<Outputs, AwsError> {
        let (have_owner, have, want) = (have.owner, have.props, want.props);
        if super::must_tag(cx, id, &have_owner, &have.tags, &want.tags) {
            tag(cx, id, &want.tags).await?;
        }
        // One concern for each UpdateTable, and the next only once the table is ACTIVE and shows the last
        // (docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_UpdateTable.html).
        let capacity = |props: &Props| (props.billing_mode.clone(), props.read_capacity, props.write_capacity);
        if capacity(&have) != capacity(&want) {
            let mode = (have.billing_mode != want.billing_mode).then(|| BillingMode::from(want.billing_mode.as_str()));
            let throughput = throughput(&want)?;
            change(cx, id, || {
                let request = cx.aws.dynamodb.update_table().table_name(&id.name);
                request.set_billing_mode(mode.clone()).set_provisioned_throughput(throughput.clone())
            })
            .await?;
            changed(cx, id, |live| capacity(live) == capacity(&want)).await?;
        }
        if have.stream_view_type != want.stream_view_type {
            // The view type of a stream can't be changed: it is switched off, and a new stream is switched on.
            if have.stream_view_type.is_some() {
                let off = StreamSpecification::builder().stream_enabled(false).build().map_err(incomplete)?;
                change(cx, id, || {
                    cx.aws.dynamodb.update_table().table_name(&id.name).stream_specification(off.clone())
                })
                .await?;
                changed(cx, id, |live| live.stream_view_type.is_none()).await?;
            }
            if let Some(on) = stream(want.stream_view_type.as_deref())? {
                change(cx, id, || cx.aws.dynamodb.update_table().table_name(&id.name).stream_specification(on.clone()))
                    .await?;
                changed(cx, id, |live| live.stream_view_type == want.stream_view_type).await?;
            }
        }
        // The answer to UpdateTable echoes old values, so the outputs come from a read.
        Ok(describe(cx, &id.name).await?.map_or_else(Outputs::new, |table| outputs(&table)))
    }

    async fn settle(&self, cx: &Context, id: &Id, want: &Props, _outputs: &Outputs) -> Result<(), AwsError> {
        let settled = || async {
            // Not found right after CreateTable means "not yet".
            let Some(table) = describe(cx, &id.name).await? else { return Ok(None) };
            if table.table_status() != Some(&TableStatus::Active) {
                return Ok(None);
            }
            // Tags lag behind; until they can be read, the next run could not tell whose the table is.
            let tags = list_tags(cx, table.table_arn().unwrap_or_default(), &id.name).await;
            Ok(match ownership(&table, tags)? {
                (_, Ownership::Denied) => Some(()),
                (tags, Ownership::Engine(owner)) if owner == id.owner && super::has_tags(&tags, &want.tags) => Some(()),
                _ => None,
            })
        };
        cx.until(CREATE, &id.name, settled).await
    }

    async fn delete(&self, cx: &Context, id: &Id, have: Live<Props>) -> Result<(), AwsError> {
        // AWS's item count is hours old, so what the plan saw is checked once more, right before it is too late.
        if !cx.consent.delete_data && has_items(cx, &id.name).await? {
            let message = "the table is not empty; its items would be lost. Add --delete-data to delete them too";
            return Err(AwsError::own(Class::Refused, "DeleteTable", &id.name, message));
        }
        let delete = || async {
            match cx.aws.dynamodb.delete_table().table_name(&id.name).send().await.named("DeleteTable", &id.name) {
                Ok(_) => Ok(()),
                Err(error) if matches!(error.class, Class::NotFound | Class::Leaving) => Ok(()),
                Err(error) => Err(error),
            }
        };
        cx.send(BUSY, &id.name, delete).await?;
        let gone = || async {
            let table = describe(cx, &id.name).await?;
            // Another TableId is another table that took the name meanwhile.
            Ok(table.is_none_or(|table| table.table_id().map(str::to_owned) != have.incarnation).then_some(()))
        };
        cx.until(GONE, &id.name, gone).await
    }
}

fn stream_loss(before: &Value, after: &Value) -> Vec<String> {
    let loss = match (before, after) {
        (Value::Null, _) => return Vec::new(),
        (_, Value::Null) => "the stream is switched off; what its mappings have not read by then may be lost",
        _ => {
            "AWS can't change a stream's view type: the stream is disabled and a new one enabled; writes during the switch \
             (some ten seconds) make no record, and what the old mapping has not read by then may be lost"
        }
    };
    vec![loss.to_owned()]
}

async fn describe(cx: &Context, name: &str) -> Result<Option<TableDescription>, AwsError> {
    match cx.aws.dynamodb.describe_table().table_name(name).send().await.named("DescribeTable", name) {
        Ok(answer) => Ok(answer.table),
        Err(error) if error.class == Class::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

async fn list_tags(cx: &Context, arn: &str, name: &str) -> Result<BTreeMap<String, String>, AwsError> {
    let mut tags = BTreeMap::new();
    let mut token = None;
    loop {
        let request = cx.aws.dynamodb.list_tags_of_resource().resource_arn(arn).set_next_token(token);
        let answer = request.send().await.named("ListTagsOfResource", name)?;
        tags.extend(answer.tags.unwrap_or_default().into_iter().map(|tag| (tag.key, tag.value)));
        token = answer.next_token;
        if token.is_none() {
            return Ok(tags);
        }
    }
}

/// Whether one item can be found. The consistent read also sees what was written a moment ago.
async fn has_items(cx: &Context, name: &str) -> Result<bool, AwsError> {
    let scan = cx.aws.dynamodb.scan().table_name(name).limit(1).select(Select::Count).consistent_read(true);
    match scan.send().await.named("Scan", name) {
        Ok(answer) => Ok(answer.count > 0 || answer.last_evaluated_key.is_some()),
        Err(error) if error.class == Class::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn ownership(
    table: &TableDescription,
    tags: Result<BTreeMap<String, String>, AwsError>,
) -> Result<(BTreeMap<String, String>, Ownership), AwsError> {
    let pairs = |tags: &BTreeMap<String, String>| {
        Ownership::from_tags(tags.iter().map(|(key, value)| (key.as_str(), value.as_str())))
    };
    let young = table
        .creation_date_time()
        .and_then(|time| SystemTime::try_from(*time).ok())
        .is_some_and(|time| SystemTime::now().duration_since(time).unwrap_or_default() < TAGS_LAG);
    let creating = table.table_status() == Some(&TableStatus::Creating);
    match tags {
        Ok(tags) => match pairs(&tags) {
            Ownership::Nobody if creating => Ok((tags, Ownership::NotYetReadable("the table is CREATING".to_owned()))),
            Ownership::Nobody if young => {
                let reason = "the table is younger than a minute, and tags lag behind".to_owned();
                Ok((tags, Ownership::NotYetReadable(reason)))
            }
            owner => {
                let own = super::own_tags(tags.iter().map(|(key, value)| (key.as_str(), value.as_str())));
                Ok((own, owner))
            }
        },
        // For most of CREATING, and in DELETING, tag calls answer not-found.
        Err(error) if error.class == Class::NotFound => {
            Ok((BTreeMap::new(), Ownership::NotYetReadable("AWS does not show its tags yet".to_owned())))
        }
        Err(error) if error.class == Class::Denied => Ok((BTreeMap::new(), Ownership::Denied)),
        Err(error) => Err(error),
    }
}

/// A table as properties, with AWS's silence filled in: no billing summary means PROVISIONED, no stream specification
/// means off, whatever `LatestStreamArn` says.
fn props(table: &TableDescription, tags: BTreeMap<String, String>) -> Props {
    let key = |key_type: KeyType| {
        let element = table.key_schema().iter().find(|element| element.key_type == key_type);
        element.map(|element| element.attribute_name.clone())
    };
    let (hash_key, range_key) = (key(KeyType::Hash).unwrap_or_default(), key(KeyType::Range));
    // Indexes bring attributes of their own, which are theirs to declare.
    let keys = table.attribute_definitions().iter().filter(|definition| {
        definition.attribute_name == hash_key || Some(&definition.attribute_name) == range_key.as_ref()
    });
    let attributes = keys.map(|it| (it.attribute_name.clone(), it.attribute_type.as_str().to_owned())).collect();
    let on_demand =
        table.billing_mode_summary().and_then(|summary| summary.billing_mode()) == Some(&BillingMode::PayPerRequest);
    let throughput = table.provisioned_throughput().filter(|_| !on_demand);
    Props {
        attributes,
        hash_key,
        range_key,
        billing_mode: if on_demand { "PAY_PER_REQUEST" } else { "PROVISIONED" }.to_owned(),
        read_capacity: throughput.and_then(|throughput| throughput.read_capacity_units),
        write_capacity: throughput.and_then(|throughput| throughput.write_capacity_units),
        stream_view_type: view_type(table).map(|view_type| view_type.as_str().to_owned()),
        tags,
    }
}

fn view_type(table: &TableDescription) -> Option<&StreamViewType> {
    table.stream_specification().filter(|stream| stream.stream_enabled)?.stream_view_type()
}

fn outputs(table: &TableDescription) -> Outputs {
    let stream = view_type(table).and(table.latest_stream_arn());
    [("arn", table.table_arn()), ("name", table.table_name()), ("stream_arn", stream)]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
        .collect()
}

fn condition(table: &TableDescription) -> Condition {
    match table.table_status() {
        Some(TableStatus::Active) | None => Condition::Settled,
        Some(TableStatus::Deleting) => Condition::Leaving,
        Some(status @ (TableStatus::Creating | TableStatus::Updating)) => {
            Condition::Changing(status.as_str().to_owned())
        }
        Some(status) => Condition::Unusable(status.as_str().to_owned()),
    }
}

fn definitions(props: &Props) -> Result<Vec<AttributeDefinition>, AwsError> {
    let definition = |(name, kind): (&String, &String)| {
        let kind = ScalarAttributeType::from(kind.as_str());
        AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build().map_err(incomplete)
    };
    props.attributes.iter().map(definition).collect()
}

fn keys(props: &Props) -> Result<Vec<KeySchemaElement>, AwsError> {
    let element = |(name, kind): (&String, KeyType)| {
        KeySchemaElement::builder().attribute_name(name).key_type(kind).build().map_err(incomplete)
    };
    let range = props.range_key.iter().map(|name| (name, KeyType::Range));
    std::iter::once((&props.hash_key, KeyType::Hash)).chain(range).map(element).collect()
}

fn throughput(props: &Props) -> Result<Option<ProvisionedThroughput>, AwsError> {
    let (Some(read), Some(write)) = (props.read_capacity, props.write_capacity) else { return Ok(None) };
    let throughput = ProvisionedThroughput::builder().read_capacity_units(read).write_capacity_units(write);
    throughput.build().map(Some).map_err(incomplete)
}

fn stream(view_type: Option<&str>) -> Result<Option<StreamSpecification>, AwsError> {
    let Some(view_type) = view_type else { return Ok(None) };
    let stream = StreamSpecification::builder().stream_enabled(true).stream_view_type(StreamViewType::from(view_type));
    stream.build().map(Some).map_err(incomplete)
}

fn tag_list(owner: &Owner, tags: &BTreeMap<String, String>) -> Result<Vec<Tag>, AwsError> {
    let tag = |(key, value)| Tag::builder().key(key).value(value).build().map_err(incomplete);
    super::all_tags(owner, tags).into_iter().map(tag).collect()
}

/// A create is sent once; whether to send it again is decided after a look at what it made.
fn once() -> Override {
    aws_sdk_dynamodb::Config::builder().retry_config(RetryConfig::disabled())
}

/// What a CreateTable whose answer got lost may have made, or who took the name.
async fn find_ours(cx: &Context, id: &Id) -> Result<Option<TableDescription>, AwsError> {
    let Some(table) = describe(cx, &id.name).await? else { return Ok(None) };
    if table.table_status() == Some(&TableStatus::Deleting) {
        // The name is free again once the old table is gone.
        return Err(AwsError::own(
            Class::Leaving,
            "CreateTable",
            &id.name,
            "an older table of that name is being deleted",
        ));
    }
    // Tags given at create can be read once the table is ACTIVE, and some seconds later at the latest.
    let owner = cx
        .until(CREATE, &id.name, || async {
            let Some(table) = describe(cx, &id.name).await? else { return Ok(Some(Ownership::Nobody)) };
            let tags = list_tags(cx, table.table_arn().unwrap_or_default(), &id.name).await;
            let (_, owner) = ownership(&table, tags)?;
            Ok((!matches!(owner, Ownership::NotYetReadable(_))).then_some(owner))
        })
        .await?;
    match owner {
        Ownership::Engine(owner) if owner == id.owner => Ok(Some(table)),
        _ => Err(super::taken("CreateTable", id)),
    }
}

async fn tag(cx: &Context, id: &Id, tags: &BTreeMap<String, String>) -> Result<(), AwsError> {
    let Some(arn) = describe(cx, &id.name).await?.and_then(|table| table.table_arn) else {
        return Err(AwsError::own(Class::Changed, "TagResource", &id.name, "the table is gone"));
    };
    let tags = tag_list(&id.owner, tags)?;
    // Each tag write locks the table for some two seconds, so there is one with the full set.
    let send = || async {
        let request = cx.aws.dynamodb.tag_resource().resource_arn(&arn).set_tags(Some(tags.clone()));
        request.send().await.named("TagResource", &id.name)
    };
    cx.send(BUSY, &id.name, send).await?;
    Ok(())
}

/// Sends one UpdateTable, waiting out earlier changes. "It is so already" is fine: the read that follows decides.
async fn change(
    cx: &Context,
    id: &Id,
    request: impl Fn() -> aws_sdk_dynamodb::operation::update_table::builders::UpdateTableFluentBuilder,
) -> Result<(), AwsError> {
    let send = || async {
        match request().send().await.named("UpdateTable", &id.name) {
            Err(error) if error.class == Class::Unchanged => Ok(()),
            answer => answer.map(|_| ()),
        }
    };
    cx.send(BUSY, &id.name, send).await
}

/// Waits until the table is ACTIVE and shows the change, in two reads in a row: one alone may come from a replica that
/// is ahead of the others.
async fn changed(cx: &Context, id: &Id, shows: impl Fn(&Props) -> bool) -> Result<(), AwsError> {
    let seen = AtomicU8::new(0);
    let probe = || async {
        let table = describe(cx, &id.name)
            .await?
            .ok_or_else(|| AwsError::own(Class::Changed, "UpdateTable", &id.name, "the table is gone"))?;
        let settled = table.table_status() == Some(&TableStatus::Active) && shows(&props(&table, BTreeMap::new()));
        let reads = if settled { seen.load(Ordering::Relaxed) + 1 } else { 0 };
        seen.store(reads, Ordering::Relaxed);
        Ok((reads >= 2).then_some(()))
    };
    cx.until(UPDATE, &id.name, probe).await
}

fn incomplete(error: BuildError) -> AwsError {
    AwsError::defect(format!("a request to DynamoDB is incomplete: {error}"))
}
