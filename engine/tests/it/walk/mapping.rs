//! The walks of a mapping's properties.

use serde_json::{Value as Json, json};

use super::stage::AwsRequest::{Lambda, Remake};
use super::{Row, row};

const KIND: &str = "mapping";
const SELF: &str = "todos-to-logger";
const FORGOTTEN: &str = "it takes the value and forgets it";

/// A setting that AWS returns under the same name that it accepts.
fn setting(
    property: &'static str,
    values: [&'static str; 2],
    field: &'static str,
    seen: [Json; 3],
    drifted: Json,
) -> Row {
    let [set, changed] = values;
    let [first, second, last] = seen;
    let pointer: &'static str = Box::leak(format!("/{field}").into_boxed_str());
    let mut body = json!({});
    body[field] = drifted;
    row(KIND, property, set, changed).seen(pointer, first, second, last).drift(update(body))
}

fn update(body: Json) -> super::AwsRequest {
    Lambda("PUT /2015-03-31/event-source-mappings/{uuid}", body)
}

fn filters(patterns: &[&str]) -> Json {
    json!({ "Filters": patterns.iter().map(|it| json!({ "Pattern": it })).collect::<Vec<_>>() })
}

pub(super) fn rows() -> Vec<Row> {
    vec![
        // Its identity is the pair of function and table.
        row(KIND, "function", "function: ${logger.arn}", "function: ${other.arn}")
            .beside(
                "  other:
    { type: function, runtime: nodejs22.x, handler: index.handler, role: '${execution-role.arn}', code: ../two }
",
            )
            .seen(
                "/FunctionArn",
                json!("arn:aws:lambda:eu-central-1:{account}:function:blue-owls-logger"),
                json!("arn:aws:lambda:eu-central-1:{account}:function:blue-owls-other"),
                Json::Null,
            )
            .shows(&[(SELF, "create", &[]), (SELF, "delete", &[])])
            .drift(update(json!({ "FunctionName": "blue-owls-logger" })))
            .not_local("its tag index lists no mappings, so the old one is not found")
            .required("is missing `function`"),
        row(
            KIND,
            "event_source_arn",
            "event_source_arn: ${todos.stream_arn}",
            "event_source_arn: ${others.stream_arn}",
        )
        .beside(
            "  others:
    { type: table, attributes: { id: S }, hash_key: id, billing_mode: PAY_PER_REQUEST, stream_view_type: KEYS_ONLY }
",
        )
        .shows(&[(SELF, "replace", &["event_source_arn"])])
        .seen("/Table", json!("blue-owls-todos"), json!("blue-owls-others"), Json::Null)
        .drift(Remake(json!({ "EventSourceArn": "{stream}" })))
        .required("is missing `event_source_arn`"),
        row(KIND, "starting_position", "starting_position: TRIM_HORIZON", "starting_position: LATEST")
            .seen("/StartingPosition", json!("TRIM_HORIZON"), json!("LATEST"), Json::Null)
            .shows(&[(SELF, "replace", &["starting_position"])])
            .drift(Remake(json!({ "StartingPosition": "TRIM_HORIZON" })))
            .required("is missing `starting_position`"),
        row(
            KIND,
            "starting_position_timestamp",
            "starting_position_timestamp: 2026-01-31T08:00:00Z",
            "starting_position_timestamp: '2026-01-31T10:30:00+01:00'",
        )
        .given(
            "event_source_arn: arn:aws:kinesis:eu-central-1:123456789012:stream/orders
starting_position: AT_TIMESTAMP
starting_position_timestamp: 2026-01-01T00:00:00Z",
        )
        .shows(&[(SELF, "replace", &["starting_position_timestamp"])])
        .seen("/StartingPositionTimestamp", json!(1_769_846_400), json!(1_769_851_800), Json::Null)
        .drift(Remake(json!({ "StartingPositionTimestamp": 1_700_000_000 })))
        .not_local("it has no Kinesis stream")
        .required("needs `starting_position_timestamp`"),
        setting(
            "batch_size",
            ["batch_size: 7", "batch_size: 8"],
            "BatchSize",
            [json!(7), json!(8), json!(100)],
            json!(9),
        ),
        setting(
            "maximum_batching_window_in_seconds",
            ["maximum_batching_window_in_seconds: 1", "maximum_batching_window_in_seconds: 2"],
            "MaximumBatchingWindowInSeconds",
            [json!(1), json!(2), json!(0)],
            json!(3),
        ),
        setting(
            "filters",
            [
                "filters: [{ eventName: [REMOVE] }]",
                "filters: [{ eventName: [INSERT] }, '{ \"eventName\": [\"MODIFY\"] }']",
            ],
            "FilterCriteria",
            [
                filters(&[r#"{"eventName":["REMOVE"]}"#]),
                filters(&[r#"{"eventName":["INSERT"]}"#, r#"{"eventName":["MODIFY"]}"#]),
                Json::Null,
            ],
            filters(&[r#"{"eventName":["INSERT"]}"#]),
        )
        .seen_locally(
            filters(&[r#"{"eventName":["REMOVE"]}"#]),
            filters(&[r#"{"eventName":["INSERT"]}"#, r#"{"eventName":["MODIFY"]}"#]),
            json!({}),
        ),
        setting(
            "kms_key_arn",
            [
                "kms_key_arn: arn:aws:kms:eu-central-1:123456789012:key/one",
                "kms_key_arn: arn:aws:kms:eu-central-1:123456789012:key/two",
            ],
            "KMSKeyArn",
            [
                json!("arn:aws:kms:eu-central-1:123456789012:key/one"),
                json!("arn:aws:kms:eu-central-1:123456789012:key/two"),
                Json::Null,
            ],
            json!("arn:aws:kms:eu-central-1:123456789012:key/three"),
        )
        .given("filters: [{ eventName: [REMOVE] }]")
        .not_local(FORGOTTEN),
        setting(
            "maximum_retry_attempts",
            ["maximum_retry_attempts: 0", "maximum_retry_attempts: 2"],
            "MaximumRetryAttempts",
            [json!(0), json!(2), json!(-1)],
            json!(3),
        ),
        setting(
            "maximum_record_age_in_seconds",
            ["maximum_record_age_in_seconds: 60", "maximum_record_age_in_seconds: 120"],
            "MaximumRecordAgeInSeconds",
            [json!(60), json!(120), json!(-1)],
            json!(180),
        ),
        setting(
            "bisect_batch_on_function_error",
            ["bisect_batch_on_function_error: false", "bisect_batch_on_function_error: true"],
            "BisectBatchOnFunctionError",
            [json!(false), json!(true), json!(false)],
            json!(true),
        )
        // The local AWS doesn't show what a create call leaves out.
        .seen_locally(Json::Null, json!(true), json!(false)),
        setting(
            "parallelization_factor",
            ["parallelization_factor: 2", "parallelization_factor: 3"],
            "ParallelizationFactor",
            [json!(2), json!(3), json!(1)],
            json!(4),
        ),
        setting(
            "tumbling_window_in_seconds",
            ["tumbling_window_in_seconds: 60", "tumbling_window_in_seconds: 120"],
            "TumblingWindowInSeconds",
            [json!(60), json!(120), json!(0)],
            json!(180),
        )
        .not_local(FORGOTTEN),
        setting(
            "report_batch_item_failures",
            ["report_batch_item_failures: false", "report_batch_item_failures: true"],
            "FunctionResponseTypes",
            [json!([]), json!(["ReportBatchItemFailures"]), json!([])],
            json!(["ReportBatchItemFailures"]),
        ),
        row(KIND, "maximum_concurrency", "maximum_concurrency: 5", "maximum_concurrency: 6")
            .given("event_source_arn: ${work.arn}\nstarting_position:")
            .beside("  work: { type: queue }\n")
            .seen("/ScalingConfig/MaximumConcurrency", json!(5), json!(6), Json::Null)
            .drift(update(json!({ "ScalingConfig": { "MaximumConcurrency": 7 } }))),
        row(
            KIND,
            "on_failure_destination_arn",
            "on_failure_destination_arn: \"arn:aws:sqs:eu-central-1:123456789012:one\"",
            "on_failure_destination_arn: \"arn:aws:sqs:eu-central-1:123456789012:two\"",
        )
        .seen(
            "/DestinationConfig/OnFailure/Destination",
            json!("arn:aws:sqs:eu-central-1:123456789012:one"),
            json!("arn:aws:sqs:eu-central-1:123456789012:two"),
            Json::Null,
        )
        .drift(update(json!({
            "DestinationConfig": { "OnFailure": { "Destination": "arn:aws:sns:eu-central-1:123456789012:three" } },
        }))),
        row(KIND, "enabled", "enabled: true", "enabled: false")
            .seen("/State", json!("Enabled"), json!("Disabled"), json!("Enabled"))
            .drift(update(json!({ "Enabled": false }))),
        row(KIND, "tags", "tags: { course: cloud }", "tags: { course: rust }")
            .seen("/Tags/course", json!("cloud"), json!("rust"), json!("rust"))
            .drift(Lambda(
                "POST /2017-03-31/tags/arn:aws:lambda:eu-central-1:{account}:event-source-mapping:{uuid}",
                json!({ "Tags": { "course": "none" } }),
            ))
            .retained(),
    ]
}
