//! Text formats that several kinds share.

use std::sync::LazyLock;

use crate::schema::Text;

/// Tag keys (docs.aws.amazon.com/tag-editor/latest/userguide/best-practices-and-strats.html). AWS
/// reserves `aws:`, and engine reserves `engine:`.
pub(super) static TAG_KEY: LazyLock<Text> = LazyLock::new(|| {
    Text::new(1..=128, "letters, digits, spaces and `_.:/=+-@`, not starting with `aws:` or `engine:`", |text| {
        tag_text(text) && !text.to_ascii_lowercase().starts_with("aws:") && !text.starts_with("engine:")
    })
});

/// Tag values.
pub(super) static TAG_VALUE: LazyLock<Text> =
    LazyLock::new(|| Text::new(0..=256, "letters, digits, spaces and `_.:/=+-@`", tag_text));

/// A role's ARN.
pub(super) static ROLE_ARN: LazyLock<Text> = LazyLock::new(|| {
    Text::new(
        20..=2048,
        "a reference like `${execution-role.arn}` or the ARN of a role (`arn:aws:iam::123456789012:role/name`)",
        |text| is_arn(text, "iam") && text.contains(":role/"),
    )
});

/// The ARN of what a mapping reads: a DynamoDB stream, an SQS queue or a Kinesis stream.
pub(super) static SOURCE_ARN: LazyLock<Text> = LazyLock::new(|| {
    Text::new(
        20..=1024,
        "a reference like `${todos.stream_arn}` or `${jobs.arn}`, or the ARN of a DynamoDB stream, an SQS queue or a \
         Kinesis stream (`arn:aws:kinesis:…:stream/name`)",
        |text| match text.splitn(6, ':').nth(5) {
            Some(rest) if is_arn(text, "dynamodb") => rest.contains("/stream/"),
            Some(rest) if is_arn(text, "kinesis") => rest.strip_prefix("stream/").is_some_and(|it| !it.contains('/')),
            Some(rest) => is_arn(text, "sqs") && !rest.contains([':', '/']),
            None => false,
        },
    )
});

/// A value of an AWS enumeration.
pub(super) static ENUM_VALUE: LazyLock<Text> = LazyLock::new(|| {
    Text::new(1..=64, "letters, digits, `-` and `_`", |text| {
        text.starts_with(|c: char| c.is_ascii_alphabetic()) && is_word(text)
    })
});

/// Any ARN.
pub(super) static ARN: LazyLock<Text> = LazyLock::new(|| {
    Text::new(12..=2048, "a reference or an ARN (`arn:aws:service:region:account:name`)", |text| {
        text.starts_with("arn:") && text.split(':').count() >= 6
    })
});

/// Function names and statement IDs.
pub(super) fn is_word(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Whether it is the ARN of a possible destination of Lambda. AWS adds services over time.
pub(super) fn is_target(text: &str) -> bool {
    let service = text.split(':').nth(2).unwrap_or_default();
    !service.is_empty() && is_arn(text, service)
}

/// A queue's ARN.
pub(super) static QUEUE_ARN: LazyLock<Text> = LazyLock::new(|| {
    Text::new(
        20..=2048,
        "a reference like `${failed.arn}` or the ARN of a queue (`arn:aws:sqs:eu-central-1:123456789012:name`)",
        |text| is_arn(text, "sqs"),
    )
});

/// Whether it is an ARN of this service.
pub(super) fn is_arn(text: &str, service: &str) -> bool {
    let mut fields = text.split(':');
    fields.next() == Some("arn")
        && fields.next().is_some_and(|partition| partition.starts_with("aws"))
        && fields.next() == Some(service)
        && text.split(':').count() >= 6
}

fn tag_text(text: &str) -> bool {
    text.chars().all(|c| c.is_alphanumeric() || c == ' ' || "_.:/=+-@".contains(c))
}
