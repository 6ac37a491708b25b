//! `table`: a DynamoDB table with its stream, indexes and data protection settings.
//!
//! ```yaml
//! team: blue-owls
//! resources:
//!   todos:
//!     type: table
//!     attributes: { id: S, owner: S, due: N }
//!     hash_key: id
//!     read_capacity: 1
//!     write_capacity: 1
//!     stream_view_type: NEW_AND_OLD_IMAGES
//!     global_secondary_indexes:
//!       by-owner: { hash_key: owner, range_key: due, projection_type: KEYS_ONLY }
//!     ttl_attribute: expires
//!     point_in_time_recovery: true
//!     deletion_protection: true
//! ```

mod change;
mod errors;
mod index;
pub(super) mod operations;
mod throughput;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::config::Builder as Override;
use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, IndexStatus, KeyType, PointInTimeRecoveryStatus, ProvisionedThroughput,
    ProvisionedThroughputDescription, ScalarAttributeType, Select, SseSpecification, SseStatus, SseType,
    StreamSpecification, StreamViewType, TableClass, TableDescription, TableStatus, Tag, TimeToLiveStatus,
};
use aws_smithy_types::retry::RetryConfig;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::aws::error::ErrorRow;
use crate::aws::{AwsError, CallContext, Code, Context, Existing, Wait};
use crate::kind::Kind;
use crate::operation::Operation;
use crate::ownership::{OwnershipVerdict, UnreadableTags};
use crate::schema::{
    Contents, DeleteBlock, Disruption, Effect, Id, Identity, Live, Locality, Output, Outputs, Owner, Ownership,
    Problem, Reading, Schema, Shape, Status, Str, Tagging, Text, Timestamps, Unknown, is_of_team, property,
};
use crate::spec::ResourceDecl;
use crate::value::{Path, Tree, Value};
use engine_core::kind::{AccessLevel, Exported, Want};
use engine_core::wait::Detail;

use super::{Delta, ExistenceTracker};

use index::{GlobalIndex, LocalIndex};
use throughput::{OnDemand, Warm};

pub(super) struct Table;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Props {
    attributes: BTreeMap<String, String>,
    hash_key: String,
    range_key: Option<String>,
    billing_mode: String,
    read_capacity: Option<i64>,
    write_capacity: Option<i64>,
    global_secondary_indexes: BTreeMap<String, GlobalIndex>,
    local_secondary_indexes: BTreeMap<String, LocalIndex>,
    stream_view_type: Option<String>,
    deletion_protection: Option<bool>,
    table_class: String,
    kms_key_arn: Option<String>,
    on_demand_throughput: Option<OnDemand>,
    warm_throughput: Option<Warm>,
    // These three have separate calls.
    ttl_attribute: Option<String>,
    point_in_time_recovery: bool,
    recovery_period_in_days: Option<i32>,
    tags: BTreeMap<String, String>,
}

impl Props {
    /// Key attributes of the table, of its local indexes, and of the given global indexes.
    fn key_attributes<'a>(&'a self, global: &'a BTreeMap<String, GlobalIndex>) -> BTreeSet<&'a str> {
        let own = self.range_key.iter().chain([&self.hash_key]).map(String::as_str);
        let of_local = self.local_secondary_indexes.values().map(LocalIndex::range_key);
        own.chain(of_local).chain(global.values().flat_map(GlobalIndex::keys)).collect()
    }
}

impl Props {
    /// The properties that differ from what a create would have set. Settings with separate calls
    /// are set later.
    fn diff_from_wanted(&self, want: &Props) -> Vec<String> {
        let mut but = vec!["ttl_attribute", "point_in_time_recovery", "recovery_period_in_days", "tags"];
        if want.deletion_protection.is_none() {
            but.push("deletion_protection");
        }
        let lacks = |wanted: &Warm| self.warm_throughput.as_ref().is_none_or(|it| !it.covers(wanted));
        if !want.warm_throughput.as_ref().is_some_and(lacks) {
            but.push("warm_throughput");
        }
        if want.kms_key_arn.as_deref() == Some(MANAGED_KEY) && self.kms_key_arn.is_some() {
            but.push("kms_key_arn");
        }
        let tags = (!super::has_tags(&self.tags, &want.tags)).then(|| "`tags`".to_owned());
        super::differing(self, want, &but).into_iter().chain(tags).collect()
    }
}

/// docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html
static NAME: LazyLock<Text> = LazyLock::new(|| {
    Text::new(3..=255, "letters, digits, `-`, `_` and `.`", |text| {
        text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    })
});
static ATTRIBUTE: LazyLock<Text> = LazyLock::new(|| Text::new(1..=255, "any text", |_| true));
/// The default quota for one table is 40,000 units and can be raised; the API itself has no limit.
const CAPACITY: Shape = Shape::Integer { min: 1, max: 1_000_000_000 };
static KMS_KEY: LazyLock<Text> =
    LazyLock::new(|| Text::new(1..=2048, "the ARN of a KMS key, or `alias/aws/dynamodb`", |_| true));
/// The AWS managed key. A request selects it by omitting the key, and DynamoDB returns its ARN
/// (docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_SSESpecification.html).
const MANAGED_KEY: &str = "alias/aws/dynamodb";
/// AWS's default recovery period
/// (docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_PointInTimeRecoverySpecification.html).
const RECOVERY_PERIOD: i32 = 35;

const FIXED_KEY: &str = "DynamoDB can't change the key of an existing table; a new table would be empty";
/// The maximum that AWS's own tools wait. Most changes take about a minute, switching to on-demand
/// three.
const CREATE: Wait = Wait {
    what: "the table to become ACTIVE",
    reason: "AWS creates it in the background, which usually takes seconds",
    inspect_cmd: INSPECT,
    limit: None,
    budget: Duration::from_secs(600),
};
const UPDATE: Wait = Wait {
    what: "the table's change to finish",
    reason: "AWS changes it in the background, and a new billing mode takes minutes",
    inspect_cmd: INSPECT,
    limit: None,
    budget: Duration::from_secs(1200),
};
const BUSY: Wait = Wait {
    what: "an earlier change of the table to finish",
    reason: "AWS allows one change at a time",
    inspect_cmd: INSPECT,
    limit: None,
    budget: Duration::from_secs(600),
};
const INDEX: Wait = Wait {
    what: "the index to be built",
    reason: "AWS needs 8 to 17 minutes for an index, even of an empty table",
    inspect_cmd: INSPECT,
    limit: None,
    budget: Duration::from_secs(3600),
};
const INDEX_DELETED: Wait = Wait {
    what: "the index to be deleted",
    reason: "AWS deletes it in the background",
    inspect_cmd: INSPECT,
    limit: None,
    budget: Duration::from_secs(1200),
};
const ENCRYPTION: Wait = Wait {
    what: "the table's encryption to change",
    reason: "AWS re-encrypts it in the background",
    inspect_cmd: INSPECT,
    limit: None,
    budget: Duration::from_secs(1200),
};
const WARMING: Wait = Wait {
    what: "the table's warm throughput to rise",
    reason: "AWS prepares the table in the background, which takes 4 to 9 minutes",
    inspect_cmd: INSPECT,
    limit: None,
    budget: Duration::from_secs(1200),
};
/// AWS applies these settings at once, although time to live can be ENABLING for up to an hour.
const UPKEEP: Wait = Wait {
    what: "the table to show the setting",
    reason: "AWS's reads are eventually consistent",
    inspect_cmd: INSPECT,
    limit: None,
    budget: Duration::from_secs(120),
};
const DELETED: Wait = Wait {
    what: "the table to be deleted",
    reason: "AWS deletes it in the background, which usually takes seconds",
    inspect_cmd: INSPECT,
    limit: None,
    budget: Duration::from_secs(600),
};
/// Shows `TableStatus` and the status of indexes, encryption and stream.
const INSPECT: &str = "aws dynamodb describe-table --table-name {} --region {region}";
/// Tags from the create call are readable once the table is ACTIVE, up to 3 s later, so an empty
/// response proves nothing for a table younger than this.
const TAGS_LAG: Duration = Duration::from_secs(60);

impl Kind for Table {
    type Props = Props;

    fn schema(&self) -> Schema {
        let attribute_types = Shape::Map {
            key: ATTRIBUTE.clone(),
            value: Box::new(Shape::choice(["S", "N", "B"])),
            max: index::MAX_ATTRIBUTES,
        };
        Schema {
            kind: "table".into(),
            summary: "a DynamoDB table with its stream and indexes".into(),
            remark: "".into(),
            source: "https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_CreateTable.html".into(),
            identity: Identity::Named { text: NAME.clone() },
            managed: true,
            importable: true,
            adoptable: true,
            holds_data: true,
            delete_block: Some(Arc::new(|props| {
                (props.get("deletion_protection") == Some(&Value::Bool(true))).then(|| DeleteBlock {
                    reason: "its deletion protection is on".into(),
                    hint: "set `deletion_protection: false` in the spec and run `engine apply` first".into(),
                })
            })),
            retained_on_delete: None,
            disruption: Some(Disruption {
                deleted: "its items and its stream are deleted too".into(),
                replaced: "its items and its stream are deleted; the new table is empty, and reads and writes fail until it is ACTIVE".into(),
            }),
            recreate_note: None,
            arn: operations::TABLE.arn.clone(),
            tagging: Tagging::Indexed,
            properties: vec![
                property(
                    "attributes",
                    attribute_types,
                    "types of the key attributes of the table and its indexes: S (string), N (number) or B (binary)",
                )
                .member("AttributeDefinitions")
                .required()
                .no_references()
                .decided_by(attribute_change)
                .destructive_notes(attribute_losses),
                property("hash_key", Shape::Text(ATTRIBUTE.clone()), "partition key attribute").member("KeySchema.1.AttributeName")
                    .required()
                    .no_references()
                    .on_change(Effect::refuse(FIXED_KEY)),
                property("range_key", Shape::Text(ATTRIBUTE.clone()), "sort key attribute").member("KeySchema.2.AttributeName")
                    .no_references()
                    .on_change(Effect::refuse(FIXED_KEY)),
                property("billing_mode", Shape::choice(["PROVISIONED", "PAY_PER_REQUEST"]), "billing mode: provisioned or on-demand capacity")
                    .default("PROVISIONED"),
                property("read_capacity", CAPACITY, "read capacity units; only with PROVISIONED").member("ProvisionedThroughput.ReadCapacityUnits"),
                property("write_capacity", CAPACITY, "write capacity units; only with PROVISIONED").member("ProvisionedThroughput.WriteCapacityUnits"),
                throughput::on_demand(),
                throughput::warm(),
                index::global(),
                index::local(),
                property(
                    "stream_view_type",
                    Shape::choice(["KEYS_ONLY", "NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES"]),
                    "content of the stream's records; omit it for no stream",
                ).member("StreamSpecification.StreamViewType")
                .destructive_notes(stream_loss),
                property("ttl_attribute", Shape::Text(ATTRIBUTE.clone()), "attribute with an item's expiration time in seconds since 1970; omit it to keep items").member("TimeToLiveSpecification.AttributeName")
                    .no_references()
                    .destructive_notes(ttl_loss),
                property("point_in_time_recovery", Shape::Bool, "enable point-in-time recovery of the table").member("PointInTimeRecoverySpecification.PointInTimeRecoveryEnabled")
                    .default(false)
                    .destructive_notes(recovery_loss),
                property("recovery_period_in_days", Shape::Integer { min: 1, max: 35 }, "days that the table can be restored to; only with point-in-time recovery; defaults to 35").member("PointInTimeRecoverySpecification.RecoveryPeriodInDays")
                    .destructive_notes(period_loss),
                property("deletion_protection", Shape::Bool, "prevent deletion of the table; if omitted, it is unchanged, and off for a new table").member("DeletionProtectionEnabled")
                    .optional_computed(),
                property("table_class", super::open(&["STANDARD", "STANDARD_INFREQUENT_ACCESS"]), "table class: lower cost of throughput or of storage")
                    .default("STANDARD"),
                property("kms_key_arn", Shape::Text(KMS_KEY.clone()), "ARN of the KMS key for encryption, or `alias/aws/dynamodb` for the AWS managed key; defaults to a key owned by AWS").member("SSESpecification.KMSMasterKeyId")
                    .in_locality(Locality::Region)
                    .unclear(unclear_key)
                    .destructive_notes(super::removal_loss(KEY_LOSS)),
                super::tags(),
            ],
            outputs: vec![
                Output::arn("arn", "the table's ARN"),
                Output::computed("name", "the table's name", |_, name| name.to_owned()),
                Output::assigned("stream_arn", "the ARN of the current stream").until(["stream_view_type"]),
            ],
        }
    }

    fn normalize(&self, _id: &Id, desired: &mut Tree) {
        let period = "recovery_period_in_days";
        if desired.get("point_in_time_recovery") == Some(&Value::Bool(true))
            && desired.get(period) == Some(&Value::Null)
        {
            desired.insert(period.to_owned(), Value::from(json!(RECOVERY_PERIOD)));
        }
        index::normalize(desired);
    }

    fn check(&self, desired: &Tree) -> Vec<Problem> {
        let mut problems = attribute_problems(desired);
        let text = |name: &str| desired.get(name).and_then(Value::as_str);
        if text("hash_key").is_some() && text("hash_key") == text("range_key") {
            problems.push(Problem::error(
                Path::property("range_key"),
                "`range_key` is the same attribute as `hash_key`",
                "remove `range_key`, or use another attribute",
            ));
        }
        problems.extend(capacity_problems(desired));
        let maximum = Path::property(throughput::ON_DEMAND);
        let problem = throughput::maximum_problem(maximum, desired, text("billing_mode"));
        let is_other_mode = text("billing_mode") == Some("PROVISIONED");
        problems.extend(problem.map(|it| match is_other_mode {
            true => it.inapplicable_with(throughput::ON_DEMAND, "billing_mode"),
            false => it,
        }));
        let recovery = desired.get("point_in_time_recovery");
        if is_set(desired, "recovery_period_in_days") && recovery == Some(&Value::Bool(false)) {
            let problem = Problem::error(
                Path::property("recovery_period_in_days"),
                "`recovery_period_in_days` has no effect without point-in-time recovery",
                "remove it, or add `point_in_time_recovery: true`",
            );
            problems.push(problem.inapplicable_with("recovery_period_in_days", "point_in_time_recovery"));
        }
        problems.extend(encryption_problem(desired));
        problems.extend(index::check(desired));
        problems
    }

    /// A key can be shown by its alias, which a spec has without the rest of the ARN.
    fn export(&self, live: &Tree) -> Exported {
        let key = live.get("kms_key_arn").and_then(Value::as_str);
        let managed = key.filter(|key| key.strip_suffix(MANAGED_KEY).is_some_and(|rest| rest.ends_with(':')));
        let managed = managed.map(|_| ("kms_key_arn".to_owned(), Value::String(MANAGED_KEY.to_owned())));
        Exported { properties: managed.into_iter().collect(), ..Exported::default() }
    }

    fn access_levels(&self) -> Vec<AccessLevel> {
        operations::access_levels()
    }

    async fn read(&self, cx: &Context, id: &Id) -> Result<Reading<Props>, AwsError> {
        // If the account is known, so is the table's ARN, and all reads can run at once.
        let table_and_tags = async {
            match &id.env {
                Some(env) => {
                    let arn = operations::TABLE.arn(env, &id.name);
                    tokio::join!(describe(cx, &id.name), list_tags(cx, &arn, &id.name))
                }
                None => match describe(cx, &id.name).await {
                    Ok(Some(table)) => {
                        let tags = list_tags(cx, table.table_arn().unwrap_or_default(), &id.name).await;
                        (Ok(Some(table)), tags)
                    }
                    nothing => (nothing, Ok(BTreeMap::new())),
                },
            }
        };
        let details = async {
            match cx.detail {
                Detail::ForDelete => None,
                _ => Some(tokio::join!(read_ttl(cx, &id.name), read_recovery(cx, &id.name))),
            }
        };
        let ((table, tags), details) = tokio::join!(table_and_tags, details);
        let Some(table) = table? else { return Ok(None.into()) };
        let mut unknown = unknown(&table);
        let (tags, owner) = ownership(&table, tags, &mut unknown)?;
        let (ttl, recovery) = match details {
            Some((ttl, recovery)) => {
                (super::detail(ttl, TTL, &mut unknown)?, super::detail(recovery, RECOVERY, &mut unknown)?)
            }
            None => {
                let why = "a deletion doesn't depend on it";
                unknown.extend(TTL.iter().chain(RECOVERY).map(|property| ((*property).into(), why.to_owned())));
                (None, None)
            }
        };
        let props = Props {
            ttl_attribute: ttl,
            point_in_time_recovery: recovery.is_some(),
            recovery_period_in_days: recovery,
            ..props(&table, tags)
        };
        let live = Live {
            props,
            outputs: outputs(&table),
            owner,
            status: condition(&table),
            unique_id: table.table_id().map(str::to_owned),
            revision: None,
            timestamps: Timestamps {
                created: table.creation_date_time().and_then(|time| time.to_millis().ok()),
                modified: None,
            },
            notes: under_way(&table).map(|(_, note)| note).into_iter().collect(),
            unknown,
        };
        Ok(Some(live).into())
    }

    async fn list_by_prefix(&self, cx: &Context, owner: &Owner) -> Result<Vec<Id>, AwsError> {
        let pages = cx.aws.dynamodb.list_tables().into_paginator().items().send();
        let names = pages.collect::<Result<Vec<_>, _>>().await.context("ListTables", &owner.team)?.into_iter();
        Ok(names.filter(|name| is_of_team(name, &owner.team)).map(|name| super::scanned(owner, name)).collect())
    }

    async fn contents(&self, cx: &Context, id: &Id) -> Result<Contents, AwsError> {
        match has_items(cx, &id.name).await {
            Ok(true) => {
                let estimate = describe(cx, &id.name).await?.and_then(|table| table.item_count).unwrap_or_default();
                Ok(Contents::Items(u64::try_from(estimate).unwrap_or_default().max(1)))
            }
            Ok(false) => Ok(Contents::Empty),
            Err(error) if error.is_about_the_run() => Err(error),
            // No permission, no capacity, or no key to decrypt: it is unknown whether the table has
            // items.
            Err(_) => Ok(Contents::Unchecked),
        }
    }

    async fn create(&self, cx: &Context, id: &Id, want: Want<Props>) -> Result<Outputs, AwsError> {
        let props = want.props;
        let definitions = definitions(&props.attributes, &props.key_attributes(&props.global_secondary_indexes))?;
        let keys = index::key_schema(std::slice::from_ref(&props.hash_key), props.range_key.as_slice())?;
        // AWS rejects an empty list of indexes.
        let global = props.global_secondary_indexes.iter().map(|(name, index)| index.of_table(name));
        let global = global.collect::<Result<Vec<_>, _>>().map(|it| (!it.is_empty()).then_some(it))?;
        let local = props.local_secondary_indexes.iter().map(|(name, index)| index.of_table(name, &props.hash_key));
        let local = local.collect::<Result<Vec<_>, _>>().map(|it| (!it.is_empty()).then_some(it))?;
        let throughput = provisioned((props.read_capacity, props.write_capacity))?;
        let tags = tag_list(&id.owner, &props.tags)?;
        let stream = stream(props.stream_view_type.as_deref())?;
        let encryption = props.kms_key_arn.as_deref().map(|key| encryption(Some(key)));
        let defaults = super::with_defaults(self, id, &props)?;
        let beyond = Delta { from: &defaults, to: &props };
        let send = || async {
            let request = cx
                .aws
                .dynamodb
                .create_table()
                .table_name(&id.name)
                .set_attribute_definitions(Some(definitions.clone()))
                .set_key_schema(Some(keys.clone()))
                .set_billing_mode(beyond.member(|it| BillingMode::from(it.billing_mode.as_str())))
                .set_provisioned_throughput(throughput.clone())
                .set_on_demand_throughput(beyond.member(|it| throughput::maximum(it.on_demand_throughput.as_ref())))
                .set_warm_throughput(props.warm_throughput.as_ref().map(|warm| warm.request(None)))
                .set_global_secondary_indexes(global.clone())
                .set_local_secondary_indexes(local.clone())
                .set_stream_specification(stream.clone())
                .set_sse_specification(encryption.clone())
                .set_table_class(beyond.member(|it| TableClass::from(it.table_class.as_str())))
                .set_deletion_protection_enabled(beyond.member(|it| it.deletion_protection.unwrap_or_default()))
                .set_tags(Some(tags.clone()));
            let answer = request.customize().config_override(once()).send().await.context("CreateTable", &id.name)?;
            answer.table_description.ok_or_else(|| AwsError::defect("AWS returned no table description".to_owned()))
        };
        let table = cx.create(BUSY, &id.name, send, || find_created(cx, id, &props)).await?;
        Ok(outputs(&table))
    }

    async fn update(&self, cx: &Context, id: &Id, have: Live<Props>, want: Want<Props>) -> Result<Outputs, AwsError> {
        let want = want.props;
        if super::must_tag(cx, id, &have.owner, &have.props.tags, &want.tags) {
            tag(cx, id, &super::missing_tags(&have.props.tags, &want.tags)).await?;
        }
        let unknown = have.unknown.clone();
        // Wait for changes of an earlier run first: they determine what is left to do.
        let have = match have.status {
            Status::InTransition(_) | Status::Unreadable(_) => {
                let now = Props {
                    ttl_attribute: have.props.ttl_attribute,
                    point_in_time_recovery: have.props.point_in_time_recovery,
                    recovery_period_in_days: have.props.recovery_period_in_days,
                    ..props(&change::wait_idle(cx, id).await?, have.props.tags)
                };
                super::without(&now, &have.unknown.keys().map(|name| &**name).collect::<Vec<_>>())?
            }
            _ => have.props,
        };
        change::carry_out(cx, id, &have, &want).await?;
        // UpdateTable returns old values, so read the outputs.
        let table = cx.read(&id.name, || describe(cx, &id.name)).await?;
        // Other resources may depend on the stream, and it may have been changed outside this run.
        let is_wanted = |table: &TableDescription| {
            unknown.contains_key("stream_view_type")
                || view_type(table).map(StreamViewType::as_str) == want.stream_view_type.as_deref()
        };
        match table.filter(is_wanted) {
            Some(table) => Ok(outputs(&table)),
            None => {
                let message = "`stream_view_type` was changed outside this run";
                Err(AwsError::changed("UpdateTable", &id.name, message))
            }
        }
    }

    async fn wait_ready(
        &self,
        cx: &Context,
        id: &Id,
        want: &Props,
        _unknown: &[&str],
        _outputs: &Outputs,
    ) -> Result<(), AwsError> {
        let tracker = ExistenceTracker::default();
        let idle = || async {
            let look = describe(cx, &id.name).await?;
            let Some(table) = tracker.note("DescribeTable", id, look)? else { return Ok(None) };
            if table.table_status() != Some(&TableStatus::Active) {
                return Ok(None);
            }
            // Wait until the tags are readable, because the next run needs them to determine the
            // owner.
            let tags = list_tags(cx, table.table_arn().unwrap_or_default(), &id.name).await;
            let (tags, owner) = ownership(&table, tags, &mut Unknown::new())?;
            match OwnershipVerdict::of(&owner, None, &id.owner) {
                OwnershipVerdict::Unknown(UnreadableTags::Denied) => Ok(Some(table)),
                OwnershipVerdict::Owned if super::has_tags(&tags, &want.tags) => Ok(Some(table)),
                verdict if verdict.other_owner().is_some() => Err(super::name_conflict("DescribeTable", id)),
                _ => Ok(None),
            }
        };
        let table = cx.until(CREATE, &id.name, idle).await?;
        if under_way(&table).is_some() {
            change::wait_idle(cx, id).await?;
        }
        // AWS accepts these two settings only once the table is ACTIVE.
        if let Some(period) = recovery_of(want) {
            change::set_recovery(cx, id, Some(period)).await?;
        }
        if let Some(attribute) = ttl_of(want) {
            change::set_ttl(cx, id, Some(attribute)).await?;
        }
        Ok(())
    }

    /// AWS's item count can be hours old, so this reads an item.
    async fn check_delete(&self, cx: &Context, id: &Id, _: &[&ResourceDecl]) -> Result<(), AwsError> {
        if !cx.overrides.delete_data && has_items(cx, &id.name).await? {
            return Err(not_empty(id));
        }
        Ok(())
    }

    async fn delete(&self, cx: &Context, id: &Id, have: Live<Props>) -> Result<(), AwsError> {
        if have.props.deletion_protection == Some(true) {
            return Err(protected(id));
        }
        // Items may have been added while engine waited for AWS.
        let again = || async { self.check_delete(cx, id, &[]).await.map(|()| None) };
        let delete = || async {
            match cx.aws.dynamodb.delete_table().table_name(&id.name).send().await.context("DeleteTable", &id.name) {
                Ok(_) => Ok(()),
                Err(error) if error.is_any(&[Code::NotFound, Code::BeingDeleted]) => Ok(()),
                Err(error) if error.is(Code::DeletionProtected) => Err(protected(id)),
                Err(error) => Err(error),
            }
        };
        // A table can't be deleted while AWS builds one of its indexes.
        let budget = if have.is_moving() { INDEX.budget } else { BUSY.budget };
        cx.change(Wait { budget, ..BUSY }, &id.name, delete, again).await?;
        cx.note_accepted();
        let is_deleted = || async {
            let table = describe(cx, &id.name).await?;
            // Another TableId means a new table with the same name.
            Ok(table.is_none_or(|table| table.table_id().map(str::to_owned) != have.unique_id).then_some(()))
        };
        cx.until(DELETED, &id.name, is_deleted).await
    }

    async fn untag(&self, cx: &Context, id: &Id, have: Live<Props>) -> Result<(), AwsError> {
        let arn = have.outputs.get("arn").cloned().unwrap_or_default();
        let keys: Vec<String> = id.owner.tags().map(|(key, _)| key.to_owned()).to_vec();
        let untag = || async {
            let request = cx.aws.dynamodb.untag_resource().resource_arn(&arn).set_tag_keys(Some(keys.clone()));
            request.send().await.context("UntagResource", &id.name)
        };
        cx.send(BUSY, &id.name, untag).await?;
        Ok(())
    }

    fn operations(&self) -> &'static [Operation] {
        operations::OPERATIONS
    }

    fn errors(&self) -> &'static [ErrorRow] {
        errors::ERRORS
    }
}

fn is_set(desired: &Tree, property: &str) -> bool {
    !matches!(desired.get(property), None | Some(Value::Null))
}

/// Keys whose attributes aren't declared, and declared attributes that aren't in any key.
fn attribute_problems(desired: &Tree) -> Vec<Problem> {
    let Some(Value::Map(attributes)) = desired.get("attributes") else { return Vec::new() };
    let text = |name: &str| desired.get(name).and_then(Value::as_str);
    let own = ["hash_key", "range_key"].into_iter().filter_map(|it| Some((Path::property(it), text(it)?)));
    let keys: Vec<(Path, &str)> = own.chain(index::keys(desired)).collect();
    let (mut problems, mut missing) = (Vec::new(), BTreeSet::new());
    for (path, key) in &keys {
        if !attributes.contains_key(*key) && missing.insert(*key) {
            problems.push(Problem::error(
                path.clone(),
                format!("`{path}` refers to `{key}`, which is missing from `attributes`"),
                format!("add it, like `attributes: {{ {key}: S }}`"),
            ));
        }
    }
    // Unused attributes can only be determined if all keys are valid.
    let is_readable = text("hash_key").is_some() && desired.contains_key("range_key") && index::are_readable(desired);
    let surplus = |name: &&String| is_readable && !keys.iter().any(|(_, key)| key == name);
    for attribute in attributes.keys().filter(surplus) {
        problems.push(
            Problem::error(
                Path::property("attributes").key(attribute),
                format!("the attribute `{attribute}` is not used in any key"),
                "remove it; items can have attributes that aren't declared",
            )
            .why("DynamoDB accepts only attributes that are keys of the table or its indexes"),
        );
    }
    problems
}

fn capacity_problems(desired: &Tree) -> Vec<Problem> {
    let mode = desired.get("billing_mode").and_then(Value::as_str);
    let mut problems = Vec::new();
    for property in ["read_capacity", "write_capacity"] {
        if mode == Some("PROVISIONED") && !is_set(desired, property) {
            problems.push(
                Problem::error(
                    Path::property(property),
                    format!("`{property}` is missing"),
                    format!("add `{property}: 1`, or `billing_mode: PAY_PER_REQUEST`"),
                )
                .why("the default billing mode, PROVISIONED, requires it"),
            );
        } else if mode == Some("PAY_PER_REQUEST") && is_set(desired, property) {
            let problem = Problem::error(
                Path::property(property),
                format!("`{property}` has no effect with billing mode PAY_PER_REQUEST"),
                format!("remove `{property}`, or set `billing_mode: PROVISIONED`"),
            );
            problems.push(problem.inapplicable_with(property, "billing_mode"));
        }
    }
    problems
}

fn encryption_problem(desired: &Tree) -> Option<Problem> {
    let key = desired.get("kms_key_arn").and_then(Value::as_str)?;
    let is_key_arn = key.starts_with("arn:") && key.contains(":kms:") && key.contains(":key/");
    if key == MANAGED_KEY || is_key_arn {
        return None;
    }
    let hint = "use the ARN from `aws kms describe-key --key-id …` (`arn:aws:kms:REGION:ACCOUNT:key/ID`), or \
                `alias/aws/dynamodb` for the AWS managed key";
    let problem = Problem::error(Path::property("kms_key_arn"), "`kms_key_arn` is not the ARN of a KMS key", hint);
    Some(problem.why("AWS returns the key's ARN, so an alias or ID would appear as a change in every plan"))
}

/// Types of attributes in a table's key are fixed; those of global indexes change with the indexes.
fn attribute_change(path: &Path, live: &Tree, _desired: &Tree) -> Effect {
    let text = |tree: &Tree, name: &str| tree.get(name).and_then(Value::as_str).map(str::to_owned);
    let mut fixed: BTreeSet<String> = ["hash_key", "range_key"].iter().filter_map(|it| text(live, it)).collect();
    if let Some(Value::Map(indexes)) = live.get(index::LOCAL) {
        fixed.extend(indexes.values().filter_map(|index| match index {
            Value::Map(index) => text(index, "range_key"),
            _ => None,
        }));
    }
    if fixed.iter().any(|name| *path == Path::property("attributes").key(name)) {
        Effect::refuse(FIXED_KEY)
    } else {
        Effect::InPlace
    }
}

fn attribute_losses(before: &Value, after: &Value) -> Vec<String> {
    let (Value::Map(have), Value::Map(want)) = (before, after) else { return Vec::new() };
    let changed = have.iter().filter(|(name, kind)| want.get(*name).is_some_and(|wanted| wanted != *kind));
    let loss = |(name, _)| {
        format!(
            "the type of `{name}` changes: the indexes that use it are deleted and re-created, and queries on them fail \
             until they are built"
        )
    };
    changed.map(loss).collect()
}

fn ttl_loss(before: &Value, after: &Value) -> Vec<String> {
    let loss = match (before.as_str(), after.as_str()) {
        (None, Some(attribute)) => {
            format!("items whose time in `{attribute}` has passed are deleted within a few days")
        }
        (Some(_), Some(attribute)) => format!(
            "AWS can't change the time-to-live attribute: engine turns time to live off and on again, and AWS can reject \
             the second step for up to an hour; run `engine apply` again then. Items whose time in `{attribute}` has \
             passed are deleted"
        ),
        (_, None) => return Vec::new(),
    };
    vec![loss]
}

fn recovery_loss(before: &Value, after: &Value) -> Vec<String> {
    let is_lost = (before, after) == (&Value::Bool(true), &Value::Bool(false));
    let loss = "point-in-time recovery is turned off, and the table can no longer be restored to an earlier time";
    is_lost.then(|| loss.to_owned()).into_iter().collect()
}

fn period_loss(before: &Value, after: &Value) -> Vec<String> {
    match (before.as_i64(), after.as_i64()) {
        (Some(before), Some(after)) if after < before => {
            vec![format!("the table can no longer be restored to a time more than {after} days ago")]
        }
        _ => Vec::new(),
    }
}

/// DynamoDB returns the ARN of both a customer key and the AWS managed key; only KMS can
/// distinguish them.
fn unclear_key(live: &Value, wanted: &Value) -> Option<Str> {
    (*live != Value::Null && wanted.as_str() == Some(MANAGED_KEY)).then_some(
        "DynamoDB doesn't show whether the table's KMS key is the AWS managed key, so the table keeps its current key"
            .into(),
    )
}

const KEY_LOSS: &str = "the table is encrypted with a key owned by AWS instead of a KMS key in the account";

fn protected(id: &Id) -> AwsError {
    AwsError::own(Code::DeletionProtected, "DeleteTable", &id.name, "DynamoDB refuses to delete it")
}

fn not_empty(id: &Id) -> AwsError {
    AwsError::own(Code::TableNotEmpty, "DeleteTable", &id.name, "a check right before the delete found items in it")
}

/// The desired time-to-live attribute.
fn ttl_of(want: &Props) -> Option<&str> {
    want.ttl_attribute.as_deref()
}

/// The desired recovery period in days; `None` without point-in-time recovery.
fn recovery_of(want: &Props) -> Option<i32> {
    want.point_in_time_recovery.then(|| want.recovery_period_in_days.unwrap_or(RECOVERY_PERIOD))
}

fn stream_loss(before: &Value, after: &Value) -> Vec<String> {
    let loss = match (before, after) {
        (Value::Null, _) => return Vec::new(),
        (_, Value::Null) => "the stream is turned off; records that its mappings have not read may be lost",
        _ => {
            "AWS can't change a stream's view type: engine disables the stream and enables a new one; writes during the \
             switch (about ten seconds) create no records, and records that the old mapping has not read may be lost"
        }
    };
    vec![loss.to_owned()]
}

/// The properties that DescribeTimeToLive shows.
const TTL: &[&str] = &["ttl_attribute"];
/// The properties that DescribeContinuousBackups shows.
const RECOVERY: &[&str] = &["point_in_time_recovery", "recovery_period_in_days"];

async fn describe(cx: &Context, name: &str) -> Result<Option<TableDescription>, AwsError> {
    let answer = cx.aws.dynamodb.describe_table().table_name(name).send().await.context("DescribeTable", name);
    Ok(answer.if_exists()?.and_then(|answer| answer.table))
}

/// The time-to-live attribute. A change takes AWS up to an hour, but reads show it at once.
async fn read_ttl(cx: &Context, name: &str) -> Result<Option<String>, AwsError> {
    let request = cx.aws.dynamodb.describe_time_to_live().table_name(name);
    let answer = request.send().await.context("DescribeTimeToLive", name);
    let Some(answer) = answer.if_exists()? else { return Ok(None) };
    let ttl = answer.time_to_live_description.filter(|ttl| ttl.time_to_live_status.is_some());
    let ttl = ttl.ok_or_else(|| super::not_sent("DescribeTimeToLive", name))?;
    let is_on = matches!(ttl.time_to_live_status, Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling));
    Ok(ttl.attribute_name.filter(|_| is_on))
}

/// The recovery period in days; `None` without point-in-time recovery.
async fn read_recovery(cx: &Context, name: &str) -> Result<Option<i32>, AwsError> {
    let request = cx.aws.dynamodb.describe_continuous_backups().table_name(name);
    let answer = request.send().await.context("DescribeContinuousBackups", name);
    let Some(answer) = answer.if_exists()? else { return Ok(None) };
    let backups = answer.continuous_backups_description;
    let recovery = backups.and_then(|backups| backups.point_in_time_recovery_description);
    let recovery = recovery.filter(|it| it.point_in_time_recovery_status.is_some());
    let recovery = recovery.ok_or_else(|| super::not_sent("DescribeContinuousBackups", name))?;
    let is_on = recovery.point_in_time_recovery_status == Some(PointInTimeRecoveryStatus::Enabled);
    Ok(is_on.then(|| recovery.recovery_period_in_days.unwrap_or(RECOVERY_PERIOD)))
}

/// Properties that are missing in the response although AWS always sends them
/// (docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TableDescription.html).
fn unknown(table: &TableDescription) -> Unknown {
    let is_on_demand =
        table.billing_mode_summary().and_then(|summary| summary.billing_mode()) == Some(&BillingMode::PayPerRequest);
    let capacity = |units: fn(&ProvisionedThroughputDescription) -> Option<i64>| {
        !is_on_demand && table.provisioned_throughput().and_then(units).is_none()
    };
    let no_key = table.key_schema().is_empty();
    super::missing([
        ("attributes", table.attribute_definitions().is_empty()),
        ("hash_key", no_key),
        ("range_key", no_key),
        ("read_capacity", capacity(ProvisionedThroughputDescription::read_capacity_units)),
        ("write_capacity", capacity(ProvisionedThroughputDescription::write_capacity_units)),
        ("deletion_protection", table.deletion_protection_enabled().is_none()),
        ("warm_throughput", Warm::read(table).is_none()),
    ])
}

async fn list_tags(cx: &Context, arn: &str, name: &str) -> Result<BTreeMap<String, String>, AwsError> {
    let mut tags = BTreeMap::new();
    let mut token = None;
    loop {
        let request = cx.aws.dynamodb.list_tags_of_resource().resource_arn(arn).set_next_token(token);
        let answer = request.send().await.context("ListTagsOfResource", name)?;
        tags.extend(answer.tags.unwrap_or_default().into_iter().map(|tag| (tag.key, tag.value)));
        token = answer.next_token;
        if token.is_none() {
            return Ok(tags);
        }
    }
}

/// Whether the table has an item. The consistent read includes the latest writes.
async fn has_items(cx: &Context, name: &str) -> Result<bool, AwsError> {
    let scan = cx.aws.dynamodb.scan().table_name(name).limit(1).select(Select::Count).consistent_read(true);
    let answer = scan.send().await.context("Scan", name).if_exists()?;
    Ok(answer.is_some_and(|answer| answer.count > 0 || answer.last_evaluated_key.is_some()))
}

/// Tag calls return "not found" during most of CREATING, and in DELETING.
fn ownership(
    table: &TableDescription,
    tags: Result<BTreeMap<String, String>, AwsError>,
    unknown: &mut Unknown,
) -> Result<(BTreeMap<String, String>, Ownership), AwsError> {
    let young = table
        .creation_date_time()
        .and_then(|time| SystemTime::try_from(*time).ok())
        .is_some_and(|time| SystemTime::now().duration_since(time).unwrap_or_default() < TAGS_LAG);
    let hidden = |tags: &BTreeMap<String, String>| match table.table_status() {
        Some(TableStatus::Creating) => Some("the table is CREATING"),
        _ => (young && tags.is_empty())
            .then_some("the table is less than a minute old, and its tags may not be visible yet"),
    };
    super::tags_and_owner(tags, hidden, unknown)
}

/// A table as properties with defaults for missing members: no billing summary means PROVISIONED,
/// and no stream specification means that the stream is off, regardless of `LatestStreamArn`.
fn props(table: &TableDescription, tags: BTreeMap<String, String>) -> Props {
    let key = |half: KeyType| index::half(table.key_schema(), &half).pop();
    let attributes = table.attribute_definitions().iter();
    let attributes = attributes.map(|it| (it.attribute_name.clone(), it.attribute_type.as_str().to_owned())).collect();
    let on_demand =
        table.billing_mode_summary().and_then(|summary| summary.billing_mode()) == Some(&BillingMode::PayPerRequest);
    let throughput = table.provisioned_throughput().filter(|_| !on_demand);
    let mut props = Props {
        attributes,
        hash_key: key(KeyType::Hash).unwrap_or_default(),
        range_key: key(KeyType::Range),
        billing_mode: if on_demand { "PAY_PER_REQUEST" } else { "PROVISIONED" }.to_owned(),
        read_capacity: throughput.and_then(|throughput| throughput.read_capacity_units),
        write_capacity: throughput.and_then(|throughput| throughput.write_capacity_units),
        global_secondary_indexes: index::global_indexes_of(table, on_demand),
        local_secondary_indexes: index::local_indexes_of(table),
        stream_view_type: view_type(table).map(|view_type| view_type.as_str().to_owned()),
        deletion_protection: Some(table.deletion_protection_enabled.unwrap_or_default()),
        table_class: table
            .table_class_summary()
            .and_then(|summary| summary.table_class())
            .unwrap_or(&TableClass::Standard)
            .as_str()
            .to_owned(),
        kms_key_arn: own_key(table).map(str::to_owned),
        on_demand_throughput: OnDemand::read(table.on_demand_throughput().filter(|_| on_demand)),
        warm_throughput: Warm::read(table),
        ttl_attribute: None,
        point_in_time_recovery: false,
        recovery_period_in_days: None,
        tags,
    };
    // Ignore attributes of indexes that are deleted or being deleted.
    let used = props.key_attributes(&props.global_secondary_indexes).into_iter().map(str::to_owned);
    let used: BTreeSet<String> = used.collect();
    props.attributes.retain(|name, _| used.contains(name));
    props
}

/// The KMS key that encrypts the table; `None` for a key owned by AWS.
fn own_key(table: &TableDescription) -> Option<&str> {
    let encryption = table.sse_description()?;
    let is_off = matches!(encryption.status(), None | Some(SseStatus::Disabled | SseStatus::Disabling));
    encryption.kms_master_key_arn().filter(|_| !is_off)
}

/// The change in progress of an ACTIVE table: the wait for it, and its description.
fn under_way(table: &TableDescription) -> Option<(Wait, String)> {
    if let Some((name, status)) = index::under_way(table) {
        return Some(match status {
            IndexStatus::Deleting => (INDEX_DELETED, format!("the index `{name}` is being deleted")),
            IndexStatus::Creating => {
                (INDEX, format!("the index `{name}` is being built, and queries on it fail until then"))
            }
            _ => (UPDATE, format!("the index `{name}` is being changed")),
        });
    }
    if throughput::is_rising(table) {
        return Some((WARMING, "its warm throughput is being raised".to_owned()));
    }
    match table.sse_description()?.status()? {
        SseStatus::Enabling | SseStatus::Disabling | SseStatus::Updating => {
            Some((ENCRYPTION, "its encryption is being changed".to_owned()))
        }
        _ => None,
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

fn condition(table: &TableDescription) -> Status {
    match table.table_status() {
        Some(TableStatus::Active) | None => {
            under_way(table).map_or(Status::Stable, |(_, state)| Status::InTransition(state))
        }
        Some(TableStatus::Deleting) => Status::Deleting,
        Some(status @ TableStatus::Creating) => Status::InTransition(status.as_str().to_owned()),
        // Until it is ACTIVE, it shows the old values.
        Some(status @ TableStatus::Updating) => Status::Unreadable(status.as_str().to_owned()),
        Some(status) => Status::Unusable(status.as_str().to_owned()),
    }
}

/// Definitions of the used attributes.
fn definitions(
    attributes: &BTreeMap<String, String>,
    used: &BTreeSet<&str>,
) -> Result<Vec<AttributeDefinition>, AwsError> {
    let definition = |(name, kind): (&String, &String)| {
        let kind = ScalarAttributeType::from(kind.as_str());
        AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build().map_err(incomplete)
    };
    attributes.iter().filter(|(name, _)| used.contains(name.as_str())).map(definition).collect()
}

/// Read and write units, if both are set.
fn provisioned(capacity: (Option<i64>, Option<i64>)) -> Result<Option<ProvisionedThroughput>, AwsError> {
    let (Some(read), Some(write)) = capacity else { return Ok(None) };
    let throughput = ProvisionedThroughput::builder().read_capacity_units(read).write_capacity_units(write);
    throughput.build().map(Some).map_err(incomplete)
}

/// Encryption with a KMS key, or with a key owned by AWS.
fn encryption(key: Option<&str>) -> SseSpecification {
    let encryption = SseSpecification::builder().enabled(key.is_some()).set_sse_type(key.map(|_| SseType::Kms));
    encryption.set_kms_master_key_id(key.filter(|key| *key != MANAGED_KEY).map(str::to_owned)).build()
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

/// Disables the SDK's retries: a create is sent again only after a read shows that the first one
/// had no effect.
fn once() -> Override {
    aws_sdk_dynamodb::Config::builder().retry_config(RetryConfig::disabled())
}

/// The table that a CreateTable with a lost response may have created.
async fn find_created(cx: &Context, id: &Id, want: &Props) -> Result<Option<TableDescription>, AwsError> {
    let Some(table) = describe(cx, &id.name).await? else { return Ok(None) };
    if table.table_status() == Some(&TableStatus::Deleting) {
        // The name becomes available once the old table is deleted.
        return Err(AwsError::own(
            Code::BeingDeleted,
            "CreateTable",
            &id.name,
            "an older table with this name is being deleted",
        ));
    }
    // Tags from the create call are readable once the table is ACTIVE, or a few seconds later.
    let owned = cx.until(CREATE, &id.name, || async {
        let Some(table) = describe(cx, &id.name).await? else { return Ok(Some(None)) };
        let tags = list_tags(cx, table.table_arn().unwrap_or_default(), &id.name).await;
        let (tags, owner) = ownership(&table, tags, &mut Unknown::new())?;
        Ok((!matches!(owner, Ownership::NotYetReadable(_))).then_some(Some((table, tags, owner))))
    });
    match owned.await? {
        None => Ok(None),
        Some((table, tags, owner)) if OwnershipVerdict::of(&owner, None, &id.owner) == OwnershipVerdict::Owned => {
            super::ensure_matches("CreateTable", id, &props(&table, tags).diff_from_wanted(want))?;
            Ok(Some(table))
        }
        Some(_) => Err(super::name_conflict("CreateTable", id)),
    }
}

async fn tag(cx: &Context, id: &Id, tags: &BTreeMap<String, String>) -> Result<(), AwsError> {
    let Some(arn) = cx.read(&id.name, || describe(cx, &id.name)).await?.and_then(|table| table.table_arn) else {
        return Err(AwsError::changed("TagResource", &id.name, "the table no longer exists"));
    };
    let tags = tag_list(&id.owner, tags)?;
    // Each tag write locks the table for about two seconds, so all tags go into one call.
    let send = || async {
        let request = cx.aws.dynamodb.tag_resource().resource_arn(&arn).set_tags(Some(tags.clone()));
        request.send().await.context("TagResource", &id.name)
    };
    cx.send(BUSY, &id.name, send).await?;
    Ok(())
}

fn incomplete(error: BuildError) -> AwsError {
    AwsError::defect(format!("a request to DynamoDB is incomplete: {error}"))
}
