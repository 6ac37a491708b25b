//! The walks of a table's properties.

use serde_json::{Value as Json, json};

use super::stage::AwsRequest::{self, Dynamodb, Remake};
use super::{Row, row};

const KIND: &str = "table";
const SELF: &str = "todos";
const FIXED: &str = "DynamoDB can't change";
const GSI: &str = "global_secondary_indexes";
/// Another index: its key keeps the attributes declared that the rows below use.
const KEPT: &str = "attributes: { id: S, at: N, due: N, owner: S }
global_secondary_indexes: { kept: { hash_key: owner, range_key: due } }";
/// The same for local indexes.
const LOCAL: &str = "attributes: { id: S, at: N, due: N, owner: S }
global_secondary_indexes: { kept: { hash_key: owner, range_key: due } }";

fn change(body: Json) -> AwsRequest {
    Dynamodb("UpdateTable", body)
}

fn key(hash: &str, range: Option<&str>) -> Json {
    let half = |name: &str, kind: &str| json!({ "AttributeName": name, "KeyType": kind });
    let range = range.map(|name| half(name, "RANGE"));
    [half(hash, "HASH")].into_iter().chain(range).collect()
}

fn definitions(attributes: &[(&str, &str)]) -> Json {
    attributes.iter().map(|(name, kind)| json!({ "AttributeName": name, "AttributeType": kind })).collect()
}

fn all_definitions() -> Json {
    definitions(&[("id", "S"), ("at", "N"), ("due", "N"), ("owner", "S")])
}

/// Builds an index as another tool would.
fn build(attributes: Json, name: &str, key: Json, projection: Json) -> AwsRequest {
    change(json!({
        "AttributeDefinitions": attributes,
        "GlobalSecondaryIndexUpdates": [{ "Create": {
            "IndexName": name,
            "KeySchema": key,
            "Projection": projection,
            "ProvisionedThroughput": { "ReadCapacityUnits": 1, "WriteCapacityUnits": 1 },
        } }],
    }))
}

fn drop_index(name: &str) -> AwsRequest {
    change(json!({ "GlobalSecondaryIndexUpdates": [{ "Delete": { "IndexName": name } }] }))
}

fn local_index(range: &str, projection: Json) -> Json {
    json!([{ "IndexName": "by-it", "KeySchema": key("id", Some(range)), "Projection": projection }])
}

/// A property of the global index `by-it`, which AWS shows before the index `kept`.
fn part(
    property: &'static str,
    set: &'static str,
    changed: &'static str,
    pointer: &'static str,
    seen: [Json; 3],
) -> Row {
    let [first, second, last] = seen;
    let path: &'static str = property.split_once('.').unwrap().1;
    let path: &'static str = Box::leak(format!("{GSI}.by-it.{path}").into_boxed_str());
    row(KIND, property, set, changed).given(KEPT).seen(pointer, first, second, last).shows(&[(SELF, "update", &[path])])
}

const ON_DEMAND: &str = "billing_mode: PAY_PER_REQUEST\nread_capacity:\nwrite_capacity:";

/// A maximum of the table in on-demand mode.
fn maximum(property: &'static str, set: &'static str, changed: &'static str, field: &'static str) -> Row {
    let pointer: &'static str = Box::leak(format!("/Table/OnDemandThroughput/{field}").into_boxed_str());
    row(KIND, property, set, changed)
        .given(ON_DEMAND)
        .seen(pointer, json!(10), json!(20), json!(-1))
        .drift(change(json!({ "OnDemandThroughput": { field: 30 } })))
}

/// The same of the index `by-it`.
fn index_maximum(property: &'static str, set: &'static str, changed: &'static str, field: &'static str) -> Row {
    let pointer: &'static str =
        Box::leak(format!("/Table/GlobalSecondaryIndexes/0/OnDemandThroughput/{field}").into_boxed_str());
    part(property, set, changed, pointer, [json!(10), json!(20), json!(-1)])
        .given(
            "attributes: { id: S, at: N, due: N, owner: S }
billing_mode: PAY_PER_REQUEST
read_capacity:
write_capacity:
global_secondary_indexes: { by-it: { hash_key: at }, kept: { hash_key: owner, range_key: due } }",
        )
        .drift(change(json!({ "GlobalSecondaryIndexUpdates": [{ "Update": {
            "IndexName": "by-it",
            "OnDemandThroughput": { field: 30 },
        } }] })))
        .not_local("it takes the maximum of an index and forgets it")
}

/// The throughput that a table supports at once. AWS only raises it, so only a new table has less.
fn warm(property: &'static str, pointer: &'static str, seen: [Json; 3]) -> Row {
    let [first, second, last] = seen;
    row(
        KIND,
        property,
        "warm_throughput: { read_units_per_second: 13000, write_units_per_second: 5000 }",
        "warm_throughput: { read_units_per_second: 14000, write_units_per_second: 6000 }",
    )
    .isolated()
    .seen(pointer, first, second, last)
    .drift(Remake(json!({})))
    .not_local("it takes the value and forgets it")
}

/// A property that only a new table can have.
fn fixed(property: &'static str, set: &'static str, changed: &'static str) -> Row {
    row(KIND, property, set, changed).isolated().refused(FIXED)
}

pub(super) fn rows() -> Vec<Row> {
    vec![
        fixed("attributes", "attributes: { id: S, at: N }", "attributes: { id: S, at: S }")
            .seen("/Table/AttributeDefinitions/0/AttributeType", json!("N"), json!("S"), Json::Null)
            .shows(&[(SELF, "refused", &["attributes.at"])])
            .drift(Remake(json!({ "AttributeDefinitions": definitions(&[("id", "S"), ("at", "B")]) })))
            .required("is missing `attributes`"),
        // An attribute that only an index key uses may change its type: engine re-creates the
        // index.
        row(
            KIND,
            "attributes",
            "attributes: { id: S, at: N, due: S, owner: S }",
            "attributes: { id: S, at: N, due: B, owner: S }",
        )
        .given(KEPT)
        .seen("/Table/AttributeDefinitions/1/AttributeType", json!("S"), json!("B"), json!("N"))
        .shows(&[(SELF, "update", &["attributes.due"])])
        .drift(drop_index("kept"))
        .drift(build(
            definitions(&[("at", "N"), ("due", "B"), ("id", "S"), ("owner", "S")]),
            "kept",
            key("owner", Some("due")),
            json!({ "ProjectionType": "ALL" }),
        )),
        fixed("hash_key", "hash_key: id", "hash_key: at\nrange_key: id")
            .seen("/Table/KeySchema", key("id", Some("at")), key("at", Some("id")), Json::Null)
            .shows(&[(SELF, "refused", &["hash_key", "range_key"])])
            .drift(Remake(json!({ "KeySchema": key("id", Some("at")) })))
            .required("is missing `hash_key`"),
        // In the pipeline: a new table has a new stream, so the permission and the mapping are
        // replaced.
        row(KIND, "hash_key", "hash_key: id", "hash_key: at\nrange_key: id")
            .refused(FIXED)
            .seen("/Table/KeySchema", key("id", Some("at")), key("at", Some("id")), Json::Null)
            .shows(&[(SELF, "refused", &["hash_key", "range_key"])])
            .drift(Remake(json!({ "KeySchema": key("id", Some("at")) })))
            .drift_shows(&[
                (SELF, "refused", &["hash_key", "range_key"]),
                ("logger-permission", "replace", &["source_arn"]),
                ("todos-to-logger", "replace", &["event_source_arn"]),
            ])
            .required("is missing `hash_key`"),
        fixed("range_key", "range_key: at\nattributes: { id: S, at: N }", "range_key: due\nattributes: { id: S, due: N }")
            .given("range_key:\nattributes: { id: S }")
            .seen("/Table/KeySchema", key("id", Some("at")), key("id", Some("due")), key("id", None))
            .shows(&[(SELF, "refused", &["range_key", "attributes"])])
            .drift(Remake(json!({
                "AttributeDefinitions": definitions(&[("id", "S"), ("at", "B")]),
                "KeySchema": key("id", Some("at")),
            }))),
        row(KIND, "billing_mode", "billing_mode: PROVISIONED", "billing_mode: PAY_PER_REQUEST\nread_capacity:\nwrite_capacity:")
            .seen(
                "/Table/BillingModeSummary/BillingMode",
                Json::Null,
                json!("PAY_PER_REQUEST"),
                json!("PROVISIONED"),
            )
            .seen_locally(json!("PROVISIONED"), json!("PAY_PER_REQUEST"), json!("PROVISIONED"))
            .shows(&[(SELF, "update", &["billing_mode", "read_capacity", "write_capacity"])])
            .drift(change(json!({ "BillingMode": "PAY_PER_REQUEST" }))),
        row(KIND, "read_capacity", "read_capacity: 2", "read_capacity: 5")
            .seen("/Table/ProvisionedThroughput/ReadCapacityUnits", json!(2), json!(5), Json::Null)
            .drift(change(json!({ "ProvisionedThroughput": { "ReadCapacityUnits": 7, "WriteCapacityUnits": 1 } })))
            .required("`read_capacity` is missing"),
        row(KIND, "write_capacity", "write_capacity: 2", "write_capacity: 5")
            .seen("/Table/ProvisionedThroughput/WriteCapacityUnits", json!(2), json!(5), Json::Null)
            .drift(change(json!({ "ProvisionedThroughput": { "ReadCapacityUnits": 1, "WriteCapacityUnits": 7 } })))
            .required("`write_capacity` is missing"),
        maximum(
            "on_demand_throughput",
            "on_demand_throughput: { max_read_request_units: 10 }",
            "on_demand_throughput: { max_read_request_units: 20, max_write_request_units: 5 }",
            "MaxReadRequestUnits",
        ),
        maximum(
            "on_demand_throughput.max_read_request_units",
            "on_demand_throughput: { max_read_request_units: 10, max_write_request_units: 5 }",
            "on_demand_throughput: { max_read_request_units: 20, max_write_request_units: 5 }",
            "MaxReadRequestUnits",
        ),
        maximum(
            "on_demand_throughput.max_write_request_units",
            "on_demand_throughput: { max_write_request_units: 10 }",
            "on_demand_throughput: { max_write_request_units: 20 }",
            "MaxWriteRequestUnits",
        ),
        index_maximum(
            "global_secondary_indexes.on_demand_throughput",
            "global_secondary_indexes: { by-it: { hash_key: at, on_demand_throughput: { max_read_request_units: 10 } }, kept: { hash_key: owner, range_key: due } }",
            "global_secondary_indexes: { by-it: { hash_key: at, on_demand_throughput: { max_read_request_units: 20 } }, kept: { hash_key: owner, range_key: due } }",
            "MaxReadRequestUnits",
        ),
        index_maximum(
            "global_secondary_indexes.on_demand_throughput.max_read_request_units",
            "global_secondary_indexes: { by-it: { hash_key: at, on_demand_throughput: { max_read_request_units: 10, max_write_request_units: 5 } }, kept: { hash_key: owner, range_key: due } }",
            "global_secondary_indexes: { by-it: { hash_key: at, on_demand_throughput: { max_read_request_units: 20, max_write_request_units: 5 } }, kept: { hash_key: owner, range_key: due } }",
            "MaxReadRequestUnits",
        )
        .shows(&[(SELF, "update", &["global_secondary_indexes.by-it.on_demand_throughput"])]),
        index_maximum(
            "global_secondary_indexes.on_demand_throughput.max_write_request_units",
            "global_secondary_indexes: { by-it: { hash_key: at, on_demand_throughput: { max_write_request_units: 10 } }, kept: { hash_key: owner, range_key: due } }",
            "global_secondary_indexes: { by-it: { hash_key: at, on_demand_throughput: { max_write_request_units: 20 } }, kept: { hash_key: owner, range_key: due } }",
            "MaxWriteRequestUnits",
        )
        .shows(&[(SELF, "update", &["global_secondary_indexes.by-it.on_demand_throughput"])]),
        warm(
            "warm_throughput",
            "/Table/WarmThroughput/ReadUnitsPerSecond",
            [json!(13_000), json!(14_000), json!(14_000)],
        )
        .raised(),
        warm(
            "warm_throughput.read_units_per_second",
            "/Table/WarmThroughput/ReadUnitsPerSecond",
            [json!(13_000), json!(14_000), Json::Null],
        )
        .required("is missing `read_units_per_second`"),
        warm(
            "warm_throughput.write_units_per_second",
            "/Table/WarmThroughput/WriteUnitsPerSecond",
            [json!(5_000), json!(6_000), Json::Null],
        )
        .required("is missing `write_units_per_second`"),
        row(
            KIND,
            GSI,
            "global_secondary_indexes: { by-it: { hash_key: at } }",
            "global_secondary_indexes: { other: { hash_key: at, range_key: id } }",
        )
        .seen("/Table/GlobalSecondaryIndexes/0/IndexName", json!("by-it"), json!("other"), Json::Null)
        .drift(build(
            definitions(&[("id", "S"), ("at", "N")]),
            "drifted",
            key("at", None),
            json!({ "ProjectionType": "ALL" }),
        )),
        part(
            "global_secondary_indexes.hash_key",
            "global_secondary_indexes: { by-it: { hash_key: at }, kept: { hash_key: owner, range_key: due } }",
            "global_secondary_indexes: { by-it: { hash_key: [at, owner] }, kept: { hash_key: owner, range_key: due } }",
            "/Table/GlobalSecondaryIndexes/0/KeySchema/1/AttributeName",
            [Json::Null, json!("owner"), Json::Null],
        )
        .drift(drop_index("by-it"))
        .drift(build(all_definitions(), "by-it", key("due", None), json!({ "ProjectionType": "ALL" })))
        .required("is missing `hash_key`"),
        part(
            "global_secondary_indexes.range_key",
            "global_secondary_indexes: { by-it: { hash_key: at, range_key: id }, kept: { hash_key: owner, range_key: due } }",
            "global_secondary_indexes: { by-it: { hash_key: at, range_key: due }, kept: { hash_key: owner, range_key: due } }",
            "/Table/GlobalSecondaryIndexes/0/KeySchema/1/AttributeName",
            [json!("id"), json!("due"), Json::Null],
        )
        .given(
            "attributes: { id: S, at: N, due: N, owner: S }
global_secondary_indexes: { by-it: { hash_key: at }, kept: { hash_key: owner, range_key: due } }",
        )
        .drift(drop_index("by-it"))
        .drift(build(all_definitions(), "by-it", key("at", Some("owner")), json!({ "ProjectionType": "ALL" }))),
        part(
            "global_secondary_indexes.projection_type",
            "global_secondary_indexes: { by-it: { hash_key: at, projection_type: ALL }, kept: { hash_key: owner, range_key: due } }",
            "global_secondary_indexes: { by-it: { hash_key: at, projection_type: KEYS_ONLY }, kept: { hash_key: owner, range_key: due } }",
            "/Table/GlobalSecondaryIndexes/0/Projection/ProjectionType",
            [json!("ALL"), json!("KEYS_ONLY"), json!("ALL")],
        )
        .given(
            "attributes: { id: S, at: N, due: N, owner: S }
global_secondary_indexes: { by-it: { hash_key: at }, kept: { hash_key: owner, range_key: due } }",
        )
        .drift(drop_index("by-it"))
        .drift(build(all_definitions(), "by-it", key("at", None), json!({ "ProjectionType": "KEYS_ONLY" }))),
        part(
            "global_secondary_indexes.non_key_attributes",
            "global_secondary_indexes: { by-it: { hash_key: at, projection_type: INCLUDE, non_key_attributes: [b, a] }, kept: { hash_key: owner, range_key: due } }",
            "global_secondary_indexes: { by-it: { hash_key: at, projection_type: INCLUDE, non_key_attributes: [c] }, kept: { hash_key: owner, range_key: due } }",
            "/Table/GlobalSecondaryIndexes/0/Projection/NonKeyAttributes/0",
            [json!("a"), json!("c"), Json::Null],
        )
        .drift(drop_index("by-it"))
        .drift(build(
            all_definitions(),
            "by-it",
            key("at", None),
            json!({ "ProjectionType": "INCLUDE", "NonKeyAttributes": ["d"] }),
        ))
        .required("has no `non_key_attributes`"),
        part(
            "global_secondary_indexes.read_capacity",
            "global_secondary_indexes: { by-it: { hash_key: at, read_capacity: 2 }, kept: { hash_key: owner, range_key: due } }",
            "global_secondary_indexes: { by-it: { hash_key: at, read_capacity: 3 }, kept: { hash_key: owner, range_key: due } }",
            "/Table/GlobalSecondaryIndexes/0/ProvisionedThroughput/ReadCapacityUnits",
            [json!(2), json!(3), json!(1)],
        )
        .given(
            "attributes: { id: S, at: N, due: N, owner: S }
global_secondary_indexes: { by-it: { hash_key: at }, kept: { hash_key: owner, range_key: due } }",
        )
        .drift(change(json!({ "GlobalSecondaryIndexUpdates": [{ "Update": {
            "IndexName": "by-it",
            "ProvisionedThroughput": { "ReadCapacityUnits": 4, "WriteCapacityUnits": 1 },
        } }] }))),
        part(
            "global_secondary_indexes.write_capacity",
            "global_secondary_indexes: { by-it: { hash_key: at, write_capacity: 2 }, kept: { hash_key: owner, range_key: due } }",
            "global_secondary_indexes: { by-it: { hash_key: at, write_capacity: 3 }, kept: { hash_key: owner, range_key: due } }",
            "/Table/GlobalSecondaryIndexes/0/ProvisionedThroughput/WriteCapacityUnits",
            [json!(2), json!(3), json!(1)],
        )
        .given(
            "attributes: { id: S, at: N, due: N, owner: S }
global_secondary_indexes: { by-it: { hash_key: at }, kept: { hash_key: owner, range_key: due } }",
        )
        .drift(change(json!({ "GlobalSecondaryIndexUpdates": [{ "Update": {
            "IndexName": "by-it",
            "ProvisionedThroughput": { "ReadCapacityUnits": 1, "WriteCapacityUnits": 4 },
        } }] }))),
        fixed(
            "local_secondary_indexes",
            "local_secondary_indexes: { by-it: { range_key: due } }",
            "local_secondary_indexes: { other: { range_key: due } }",
        )
        .given(LOCAL)
        .seen("/Table/LocalSecondaryIndexes/0/IndexName", json!("by-it"), json!("other"), Json::Null)
        .shows(&[(SELF, "refused", &["local_secondary_indexes"])])
        .drift(Remake(json!({ "LocalSecondaryIndexes": local_index("due", json!({ "ProjectionType": "ALL" })) }))),
        fixed(
            "local_secondary_indexes.range_key",
            "local_secondary_indexes: { by-it: { range_key: due } }",
            "local_secondary_indexes: { by-it: { range_key: owner } }",
        )
        .given(LOCAL)
        .seen(
            "/Table/LocalSecondaryIndexes/0/KeySchema/1/AttributeName",
            json!("due"),
            json!("owner"),
            Json::Null,
        )
        .shows(&[(SELF, "refused", &["local_secondary_indexes.by-it.range_key"])])
        .drift(Remake(json!({ "LocalSecondaryIndexes": local_index("due", json!({ "ProjectionType": "ALL" })) })))
        .required("is missing `range_key`"),
        fixed(
            "local_secondary_indexes.projection_type",
            "local_secondary_indexes: { by-it: { range_key: due, projection_type: ALL } }",
            "local_secondary_indexes: { by-it: { range_key: due, projection_type: KEYS_ONLY } }",
        )
        .given(
            "attributes: { id: S, at: N, due: N, owner: S }
global_secondary_indexes: { kept: { hash_key: owner, range_key: due } }
local_secondary_indexes: { by-it: { range_key: due } }",
        )
        .seen(
            "/Table/LocalSecondaryIndexes/0/Projection/ProjectionType",
            json!("ALL"),
            json!("KEYS_ONLY"),
            json!("ALL"),
        )
        .shows(&[(SELF, "refused", &["local_secondary_indexes.by-it.projection_type"])])
        .drift(Remake(json!({ "LocalSecondaryIndexes": local_index("due", json!({ "ProjectionType": "KEYS_ONLY" })) }))),
        fixed(
            "local_secondary_indexes.non_key_attributes",
            "local_secondary_indexes: { by-it: { range_key: due, projection_type: INCLUDE, non_key_attributes: [b, a] } }",
            "local_secondary_indexes: { by-it: { range_key: due, projection_type: INCLUDE, non_key_attributes: [c] } }",
        )
        .given(LOCAL)
        .seen("/Table/LocalSecondaryIndexes/0/Projection/NonKeyAttributes/0", json!("a"), json!("c"), Json::Null)
        .shows(&[(SELF, "refused", &["local_secondary_indexes.by-it.non_key_attributes"])])
        .drift(Remake(json!({ "LocalSecondaryIndexes": local_index(
            "due",
            json!({ "ProjectionType": "INCLUDE", "NonKeyAttributes": ["d"] }),
        ) })))
        .required("has no `non_key_attributes`"),
        // In the pipeline: a new stream replaces the permission and the mapping.
        row(KIND, "stream_view_type", "stream_view_type: NEW_AND_OLD_IMAGES", "stream_view_type: KEYS_ONLY")
            .seen(
                "/Table/StreamSpecification/StreamViewType",
                json!("NEW_AND_OLD_IMAGES"),
                json!("KEYS_ONLY"),
                Json::Null,
            )
            .shows(&[
                (SELF, "update", &["stream_view_type", "stream_arn"]),
                ("logger-permission", "replace", &["source_arn"]),
                ("todos-to-logger", "replace", &["event_source_arn"]),
            ])
            .drift(change(json!({ "StreamSpecification": { "StreamEnabled": false } })))
            .drift(change(json!({
                "StreamSpecification": { "StreamEnabled": true, "StreamViewType": "OLD_IMAGE" },
            })))
            .required("has no `stream_arn`"),
        // Without the pipeline: nothing needs a stream.
        row(KIND, "stream_view_type", "stream_view_type: NEW_IMAGE", "stream_view_type: KEYS_ONLY")
            .isolated()
            .given("stream_view_type:")
            .seen("/Table/StreamSpecification/StreamViewType", json!("NEW_IMAGE"), json!("KEYS_ONLY"), Json::Null)
            .shows(&[(SELF, "update", &["stream_view_type", "stream_arn"])])
            .drift(change(json!({
                "StreamSpecification": { "StreamEnabled": true, "StreamViewType": "OLD_IMAGE" },
            }))),
        row(KIND, "ttl_attribute", "ttl_attribute: expires", "ttl_attribute: until")
            .seen("/Ttl", json!("expires"), json!("until"), Json::Null)
            .drift(Dynamodb(
                "UpdateTimeToLive",
                json!({ "TimeToLiveSpecification": { "Enabled": true, "AttributeName": "hand" } }),
            ))
            .twice("AWS may refuse a second switch for up to an hour"),
        row(KIND, "point_in_time_recovery", "point_in_time_recovery: false", "point_in_time_recovery: true")
            .seen(
                "/Backups/PointInTimeRecoveryDescription/PointInTimeRecoveryStatus",
                json!("DISABLED"),
                json!("ENABLED"),
                json!("DISABLED"),
            )
            .shows(&[(SELF, "update", &["point_in_time_recovery", "recovery_period_in_days"])])
            .drift(Dynamodb(
                "UpdateContinuousBackups",
                json!({ "PointInTimeRecoverySpecification": { "PointInTimeRecoveryEnabled": true } }),
            )),
        row(KIND, "recovery_period_in_days", "recovery_period_in_days: 7", "recovery_period_in_days: 14")
            .given("point_in_time_recovery: true")
            .seen(
                "/Backups/PointInTimeRecoveryDescription/RecoveryPeriodInDays",
                json!(7),
                json!(14),
                json!(35),
            )
            .drift(Dynamodb(
                "UpdateContinuousBackups",
                json!({ "PointInTimeRecoverySpecification": {
                    "PointInTimeRecoveryEnabled": true,
                    "RecoveryPeriodInDays": 3,
                } }),
            ))
            .not_local("it takes the period and forgets it"),
        row(KIND, "deletion_protection", "deletion_protection: false", "deletion_protection: true")
            .seen("/Table/DeletionProtectionEnabled", json!(false), json!(true), json!(true))
            .drift(change(json!({ "DeletionProtectionEnabled": false })))
            .retained(),
        row(KIND, "table_class", "table_class: STANDARD", "table_class: STANDARD_INFREQUENT_ACCESS")
            .seen(
                "/Table/TableClassSummary/TableClass",
                Json::Null,
                json!("STANDARD_INFREQUENT_ACCESS"),
                json!("STANDARD"),
            )
            // The local AWS doesn't show what a create call leaves out.
            .seen_locally(Json::Null, json!("STANDARD_INFREQUENT_ACCESS"), json!("STANDARD"))
            .drift(change(json!({ "TableClass": "STANDARD_INFREQUENT_ACCESS" }))),
        row(
            KIND,
            "kms_key_arn",
            "kms_key_arn: \"arn:aws:kms:eu-central-1:123456789012:key/one\"",
            "kms_key_arn: \"arn:aws:kms:eu-central-1:123456789012:key/two\"",
        )
        .seen(
            "/Table/SSEDescription/KMSMasterKeyArn",
            json!("arn:aws:kms:eu-central-1:123456789012:key/one"),
            json!("arn:aws:kms:eu-central-1:123456789012:key/two"),
            Json::Null,
        )
        // The local AWS shows a key even if encryption is disabled.
        .seen_locally(
            json!("arn:aws:kms:eu-central-1:123456789012:key/one"),
            json!("arn:aws:kms:eu-central-1:123456789012:key/two"),
            json!("arn:aws:kms:eu-central-1:{account}:alias/aws/dynamodb"),
        )
        .drift(change(json!({ "SSESpecification": {
            "Enabled": true,
            "SSEType": "KMS",
            "KMSMasterKeyId": "arn:aws:kms:eu-central-1:123456789012:key/three",
        } }))),
        // AWS's managed key, which a request selects by naming none.
        row(
            KIND,
            "kms_key_arn",
            "kms_key_arn: alias/aws/dynamodb",
            "kms_key_arn: \"arn:aws:kms:eu-central-1:123456789012:key/two\"",
        )
        .seen(
            "/Table/SSEDescription/KMSMasterKeyArn",
            json!("arn:aws:kms:eu-central-1:123456789012:key/aaaaaaaa-0000-0000-0000-000000000000"),
            json!("arn:aws:kms:eu-central-1:123456789012:key/two"),
            Json::Null,
        )
        .seen_locally(
            json!("arn:aws:kms:eu-central-1:{account}:alias/aws/dynamodb"),
            json!("arn:aws:kms:eu-central-1:123456789012:key/two"),
            json!("arn:aws:kms:eu-central-1:{account}:alias/aws/dynamodb"),
        )
        .drift(change(json!({ "SSESpecification": { "Enabled": true, "SSEType": "KMS" } }))),
        row(KIND, "tags", "tags: { course: cloud }", "tags: { course: rust }")
            .seen("/Tags/course", json!("cloud"), json!("rust"), json!("rust"))
            .drift(Dynamodb("TagResource", json!({ "Tags": [{ "Key": "course", "Value": "none" }] })))
            .retained(),
    ]
}
