//! The walks of a log group's properties.

use serde_json::{Value as Json, json};

use super::stage::AwsRequest::{Logs, Remake};
use super::{Row, row};

const KIND: &str = "log_group";

pub(super) fn rows() -> Vec<Row> {
    let of_key = |key: &str| format!("arn:aws:kms:eu-central-1:{{account}}:key/{key}");
    vec![
        row(KIND, "retention_in_days", "retention_in_days: 7", "retention_in_days: 14")
            .seen("/Group/retentionInDays", json!(7), json!(14), Json::Null)
            .drift(Logs("PutRetentionPolicy", json!({ "retentionInDays": 1 }))),
        row(KIND, "log_group_class", "log_group_class: STANDARD", "log_group_class: INFREQUENT_ACCESS")
            .seen("/Group/logGroupClass", json!("STANDARD"), json!("INFREQUENT_ACCESS"), json!("STANDARD"))
            .drift(Remake(json!({ "logGroupClass": "INFREQUENT_ACCESS" })))
            .shows(&[("logs", "refused", &["log_group_class"])])
            .refused("can't change the class"),
        row(
            KIND,
            "kms_key_arn",
            "kms_key_arn: \"arn:aws:kms:eu-central-1:${account}:key/one\"",
            "kms_key_arn: \"arn:aws:kms:eu-central-1:${account}:key/two\"",
        )
        .seen("/Group/kmsKeyId", json!(of_key("one")), json!(of_key("two")), Json::Null)
        .drift(Logs("AssociateKmsKey", json!({ "kmsKeyId": of_key("three") })))
        .not_local("it has no AssociateKmsKey"),
        row(KIND, "tags", "tags: { course: cloud }", "tags: { course: rust }")
            .seen("/Tags/course", json!("cloud"), json!("rust"), json!("rust"))
            .drift(Logs("TagResource", json!({ "tags": { "course": "none" } })))
            .retained(),
    ]
}
