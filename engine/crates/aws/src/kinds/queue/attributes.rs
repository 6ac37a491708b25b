//! A queue's properties as SQS's attributes, which are all text
//! (docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html).
//!
//! **Invariant:** SetQueueAttributes merges, so a property without a value has an attribute with its
//! reset value.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_sqs::types::QueueAttributeName::{self, *};
use serde_json::{Value as Json, json};

use crate::schema::Unknown;

use super::{Allow, NOT_SENT, Props, Redrive};

/// Attributes as SQS sends them.
pub(super) type Attributes = HashMap<QueueAttributeName, String>;

/// The attributes that have these properties.
fn all(props: &Props) -> BTreeMap<QueueAttributeName, String> {
    let text = |json: Option<Json>| json.map(|json| json.to_string()).unwrap_or_default();
    let mut all = BTreeMap::from([
        (DelaySeconds, props.delay_seconds.to_string()),
        (KmsMasterKeyId, props.kms_key_arn.clone().unwrap_or_default()),
        (MaximumMessageSize, props.max_message_size.to_string()),
        (MessageRetentionPeriod, props.message_retention_seconds.to_string()),
        (Policy, text(props.policy.clone())),
        (ReceiveMessageWaitTimeSeconds, props.receive_wait_time_seconds.to_string()),
        (RedriveAllowPolicy, text(props.redrive_allow_policy.as_ref().map(Allow::to_json))),
        (RedrivePolicy, text(props.redrive_policy.as_ref().map(Redrive::to_json))),
        (VisibilityTimeout, props.visibility_timeout_seconds.to_string()),
    ]);
    // AWS rejects both kinds of encryption in one call, and turns this one off by itself.
    if props.kms_key_arn.is_none() {
        all.insert(SqsManagedSseEnabled, props.sqs_managed_sse_enabled.unwrap_or_default().to_string());
    }
    // AWS knows these only for FIFO queues, and rejects `FifoQueue: false`.
    if props.fifo_queue {
        all.insert(FifoQueue, true.to_string());
        all.insert(ContentBasedDeduplication, props.content_based_deduplication.to_string());
    }
    all
}

/// The attributes of a new queue that differ from AWS's defaults, and those whose default depends
/// on the region or on the queue's age.
pub(super) fn of_new(defaults: &Props, want: &Props) -> Attributes {
    let always = [MaximumMessageSize, SqsManagedSseEnabled];
    let defaults = all(defaults);
    let differs = |(name, value): &(QueueAttributeName, String)| {
        !value.is_empty() && (always.contains(name) || defaults.get(name) != Some(value))
    };
    all(want).into_iter().filter(differs).collect()
}

/// The attributes that change.
pub(super) fn changed(have: &Props, want: &Props) -> Attributes {
    let have = all(have);
    all(want).into_iter().filter(|(name, value)| have.get(name) != Some(value)).collect()
}

/// The properties that have these attributes, and those that can't be read. AWS always sends every
/// attribute that has a default.
pub(super) fn props(attributes: &Attributes, tags: BTreeMap<String, String>) -> (Props, Unknown) {
    let mut unknown = Unknown::new();
    let kms_key_arn = attributes.get(&KmsMasterKeyId).filter(|key| !key.is_empty()).cloned();
    let fifo_queue = is_true(attributes, &FifoQueue).unwrap_or_default();
    let mut number = |property: &'static str, name: QueueAttributeName| {
        let number = attributes.get(&name).and_then(|value| value.parse().ok());
        known(property, number, &mut unknown)
    };
    let mut props = Props {
        fifo_queue,
        visibility_timeout_seconds: number("visibility_timeout_seconds", VisibilityTimeout),
        message_retention_seconds: number("message_retention_seconds", MessageRetentionPeriod),
        delay_seconds: number("delay_seconds", DelaySeconds),
        receive_wait_time_seconds: number("receive_wait_time_seconds", ReceiveMessageWaitTimeSeconds),
        max_message_size: number("max_message_size", MaximumMessageSize),
        tags,
        ..Props::default()
    };
    if fifo_queue {
        let is_on = is_true(attributes, &ContentBasedDeduplication);
        props.content_based_deduplication = known("content_based_deduplication", is_on, &mut unknown);
    }
    // With a KMS key, SQS's own encryption is off.
    let is_on = if kms_key_arn.is_some() { Some(false) } else { is_true(attributes, &SqsManagedSseEnabled) };
    props.sqs_managed_sse_enabled = Some(known("sqs_managed_sse_enabled", is_on, &mut unknown));
    props.kms_key_arn = kms_key_arn;
    props.policy = document("policy", attributes.get(&Policy), Some, &mut unknown);
    props.redrive_policy =
        document("redrive_policy", attributes.get(&RedrivePolicy), |json| Redrive::from_json(&json), &mut unknown);
    props.redrive_allow_policy = document(
        "redrive_allow_policy",
        attributes.get(&RedriveAllowPolicy),
        |json| Allow::from_json(&json),
        &mut unknown,
    );
    (props, unknown)
}

fn is_true(attributes: &Attributes, name: &QueueAttributeName) -> Option<bool> {
    attributes.get(name).and_then(|value| value.parse().ok())
}

/// A value that AWS always sends; without it, the property is unknown.
fn known<T: Default>(property: &'static str, value: Option<T>, unknown: &mut Unknown) -> T {
    value.unwrap_or_else(|| {
        unknown.insert(property.into(), NOT_SENT.to_owned());
        T::default()
    })
}

/// A JSON attribute; AWS sends it only if it is set.
fn document<T>(
    property: &'static str,
    text: Option<&String>,
    read: impl Fn(Json) -> Option<T>,
    unknown: &mut Unknown,
) -> Option<T> {
    let text = text.filter(|text| !text.is_empty())?;
    let value = serde_json::from_str(text).ok().and_then(read);
    if value.is_none() {
        unknown.insert(property.into(), "AWS's response isn't in a form that engine knows".to_owned());
    }
    value
}

impl Redrive {
    fn to_json(&self) -> Json {
        // AWS stores a count that is sent as text as text.
        json!({ "deadLetterTargetArn": self.dead_letter_target_arn, "maxReceiveCount": self.max_receive_count })
    }

    fn from_json(json: &Json) -> Option<Redrive> {
        let count = json.get("maxReceiveCount")?;
        Some(Redrive {
            dead_letter_target_arn: json.get("deadLetterTargetArn")?.as_str()?.to_owned(),
            max_receive_count: count.as_i64().or_else(|| count.as_str()?.parse().ok())?,
        })
    }
}

impl Allow {
    fn to_json(&self) -> Json {
        let mut json = json!({ "redrivePermission": self.redrive_permission });
        if !self.source_queue_arns.is_empty() {
            json["sourceQueueArns"] = json!(self.source_queue_arns);
        }
        json
    }

    fn from_json(json: &Json) -> Option<Allow> {
        let arns = json.get("sourceQueueArns").and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
        let arns = arns.iter().map(|arn| arn.as_str().map(str::to_owned)).collect::<Option<_>>()?;
        let redrive_permission = json.get("redrivePermission")?.as_str()?.to_owned();
        Some(Allow { redrive_permission, source_queue_arns: arns })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(pairs: &[(QueueAttributeName, &str)]) -> Attributes {
        pairs.iter().map(|(name, value)| (name.clone(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_removed_line_sends_its_reset_value() {
        let full = Props {
            visibility_timeout_seconds: 5,
            redrive_policy: Some(Redrive { dead_letter_target_arn: "arn:x".to_owned(), max_receive_count: 3 }),
            redrive_allow_policy: Some(Allow { redrive_permission: "denyAll".to_owned(), ..Allow::default() }),
            policy: Some(json!({ "Statement": [] })),
            kms_key_arn: Some("alias/aws/sqs".to_owned()),
            sqs_managed_sse_enabled: Some(false),
            ..Props::default()
        };
        let none = Props { visibility_timeout_seconds: 30, sqs_managed_sse_enabled: Some(true), ..Props::default() };
        let resets = [
            (VisibilityTimeout, "30"),
            (RedrivePolicy, ""),
            (RedriveAllowPolicy, ""),
            (Policy, ""),
            (KmsMasterKeyId, ""),
            (SqsManagedSseEnabled, "true"),
        ];
        assert_eq!(changed(&full, &none), attributes(&resets));
        // Turning a key on sends nothing about the other kind of encryption.
        let keyed = Props { kms_key_arn: Some("k".to_owned()), sqs_managed_sse_enabled: Some(false), ..none.clone() };
        assert_eq!(changed(&none, &keyed), attributes(&[(KmsMasterKeyId, "k")]));
        assert_eq!(changed(&none, &none), Attributes::new());
    }

    #[test]
    fn attributes_are_read_in_every_form_and_what_is_missing_is_unknown() {
        let seen = attributes(&[
            (VisibilityTimeout, "7"),
            (MessageRetentionPeriod, "many"),
            (RedrivePolicy, r#"{"maxReceiveCount":"4","deadLetterTargetArn":"arn:x"}"#),
            (RedriveAllowPolicy, "[]"),
            (Policy, "no JSON"),
            (KmsMasterKeyId, "alias/aws/sqs"),
        ]);
        let (props, unknown) = props(&seen, BTreeMap::new());
        assert_eq!((props.visibility_timeout_seconds, props.redrive_policy.unwrap().max_receive_count), (7, 4));
        assert_eq!(
            unknown.keys().map(|name| &**name).collect::<Vec<_>>(),
            [
                "delay_seconds",
                "max_message_size",
                "message_retention_seconds",
                "policy",
                "receive_wait_time_seconds",
                "redrive_allow_policy"
            ]
        );
    }
}
