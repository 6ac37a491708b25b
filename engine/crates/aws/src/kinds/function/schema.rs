//! The properties of a function, and the rules that several of them share.
//!
//! **Invariant:** offline: it knows Lambda's limits, and makes no calls.

use std::sync::{Arc, LazyLock};

use serde_json::{Value as Json, json};

use crate::schema::{
    Disruption, Identity, Locality, Output, Problem, Retained, Schema, Shape, Tagging, TargetKeys, Text, property,
};
use crate::value::{Path, Tree, Value};

use super::{RETENTION, async_config, code, events, network, operations, reference, signing, url};

/// docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html
static NAME: LazyLock<Text> =
    LazyLock::new(|| Text::new(1..=64, "letters, digits, `-` and `_`", crate::kinds::text::is_word));
static HANDLER: LazyLock<Text> = LazyLock::new(|| {
    Text::new(1..=128, "a file and an export without whitespace, like `index.handler`", |text| {
        !text.contains(char::is_whitespace)
    })
});
static VARIABLE: LazyLock<Text> = LazyLock::new(|| {
    Text::new(2..=256, "at least two characters: letters, digits and `_`, starting with a letter", |text| {
        text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    })
});
/// docs.aws.amazon.com/lambda/latest/api/API_LoggingConfig.html
static LOG_GROUP: LazyLock<Text> = LazyLock::new(|| {
    Text::new(1..=512, "letters, digits and `.-_/#`", |text| {
        text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_/#".contains(&byte))
    })
});
/// docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html; the SDK's model allows 2,048
/// characters since 2025, and allowed 140 before.
static LAYER: LazyLock<Text> = LazyLock::new(|| {
    Text::new(1..=2048, "a layer version ARN (`arn:aws:lambda:region:account:layer:name:1`)", |text| {
        layer(text).is_some()
    })
});
/// docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
static DEAD_LETTER: LazyLock<Text> = LazyLock::new(|| {
    Text::new(1..=2048, "a reference like `${failed.arn}` or the ARN of a non-FIFO SQS queue or SNS topic", |text| {
        crate::kinds::text::is_target(text) && !text.ends_with(".fifo")
    })
});
/// docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html, KMSKeyArn
pub(in crate::kinds) static KMS_KEY: LazyLock<Text> = LazyLock::new(|| {
    Text::new(20..=2048, "the ARN of a KMS key (`arn:aws:kms:region:account:key/id`)", |text| {
        crate::kinds::text::is_arn(text, "kms")
    })
});
/// Maximum size of a function's environment variables as compact JSON
/// (docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html; Lambda accepts 4,096 bytes and
/// rejects 4,097).
const ENVIRONMENT_BYTES: usize = 4096;
/// The SDK's model allows 1,800 seconds and 32,768 MB.
const MANAGED: &str = "Lambda allows more only for functions on managed instances";
/// Variables that Lambda sets and a function can't override (same page).
const RESERVED: &[&str] = &[
    "AWS_ACCESS_KEY_ID",
    "AWS_ACCESS_KEY",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_LAMBDA_RUNTIME_API",
    "LAMBDA_TASK_ROOT",
    "LAMBDA_RUNTIME_DIR",
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
];

/// All properties of a function, and the effects of changing them.
pub(super) fn schema() -> Schema {
    let variables =
        Shape::Map { key: VARIABLE.clone(), value: Box::new(Shape::Text(Text::any(ENVIRONMENT_BYTES))), max: 1000 };
    Schema {
        kind: "function".into(),
        summary: "a Lambda function from local source code, an archive in S3 or a container image".into(),
        remark: "".into(),
        source: "https://docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html".into(),
        identity: Identity::Named { text: NAME.clone() },
        managed: true,
        importable: true,
        adoptable: true,
        holds_data: false,
        delete_block: None,
        retained_on_delete: Some(Arc::new(|props| {
            let name = props.get("log_group")?.as_str()?.to_owned();
            Some(Retained { kind: "log_group".into(), name })
        })),
        disruption: Some(Disruption {
            deleted: "callers will get errors; its versions, aliases and URL are deleted too".into(),
            replaced: "callers will get errors until it is re-created; its versions, its aliases, its URL and all settings that are not in the spec are lost".into(),
        }),
        recreate_note: None,
        arn: operations::FUNCTION.arn.clone(),
        tagging: Tagging::Indexed,
        properties: vec![
            property("runtime", crate::kinds::runtimes::shape(), "the language and its version; required for a package")
                .no_references(),
            property(
                "handler",
                Shape::Text(HANDLER.clone()),
                "the file and the function that Lambda calls; required for a package; defaults to `bootstrap` for \
                 `provided` runtimes",
            )
            .no_references(),
            property(
                "role",
                Shape::link([("role", "arn")], Some(&crate::kinds::text::ROLE_ARN)),
                "the function's execution role; if omitted, engine creates one, named `<function>-role`",
            )
            .implied()
            // A role can't be passed to a service in another account
            // (docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html).
            .in_locality(Locality::Account)
            .replace_if_target_recreated(|props| match props.get("environment") {
                Some(Value::Map(variables)) if !variables.is_empty() => Some(
                    "its role was re-created with the same name, and Lambda's grant to decrypt the function's \
                     variables refers to the old role"
                        .into(),
                ),
                _ => None,
            }),
            property(
                "access",
                crate::kinds::role::access(),
                "what the function may do with resources of this spec",
            )
            .target_keys(TargetKeys::All)
            .write_only(),
            property("statements", crate::kinds::role::statements(), "other permissions of the function's role")
                .write_only(),
            code::code(),
            super::build::build(),
            property("code_sha256", Shape::Text(Text::any(64)), "hash of the package")
                .derived_from("code")
                .equivalent(|_, want| *want == Value::Null),
            property("code_size", Shape::Integer { min: 0, max: i64::MAX }, "size of the package in bytes")
                .derived_from("code")
                .display_with("code_sha256")
                .equivalent(|_, want| *want == Value::Null),
            reference::source(),
            reference::derived_image(),
            signing::signing(),
            property("description", Shape::Text(Text::any(256)), "description of the function").default("").no_lookups(),
            property("memory_size", Shape::Integer { min: 128, max: i32::MAX.into() }, "memory in MB")
                .quota(10240, MANAGED)
                .default(128),
            property(
                "timeout",
                Shape::Integer { min: 1, max: i32::MAX.into() },
                "maximum duration of an invocation in seconds",
            )
            .quota(900, MANAGED)
            .default(3),
            property("environment", variables, "environment variables, 4 KB in total")
                .default(json!({}))
                .sensitive(),
            property("architecture", crate::kinds::open(&["x86_64", "arm64"]), "the processor architecture")
                .sent_with("code")
                .member("Architectures")
                .default("x86_64"),
            property(
                "layers",
                Shape::List { item: Box::new(Shape::Text(LAYER.clone())), max: 5 },
                "ARNs of layer versions; later layers override earlier ones",
            )
            .in_locality(Locality::Region)
            .default(json!([])),
            property("ephemeral_storage", Shape::Integer { min: 512, max: 10240 }, "size of /tmp in MB")
                .default(512),
            property(
                "tracing",
                crate::kinds::open(&["PassThrough", "Active"]),
                "X-Ray tracing: `Active` samples requests, `PassThrough` follows the caller's decision",
            )
            .member("TracingConfig.Mode")
            .default("PassThrough"),
            property("log_format", Shape::choice(["Text", "JSON"]), "format of log lines")
                .member("LoggingConfig.LogFormat")
                .default("Text"),
            events::events(),
            property(
                RETENTION,
                Shape::Integer { min: 1, max: i32::MAX.into() },
                "days after which log lines are deleted; with it, engine manages the log group, as `<function>-logs`",
            )
            .write_only(),
            property(
                "log_group",
                Shape::link([("log_group", "name")], Some(&LOG_GROUP)),
                "CloudWatch log group; defaults to /aws/lambda/NAME",
            )
            .member("LoggingConfig.LogGroup"),
            property(
                "application_log_level",
                crate::kinds::open(&["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"]),
                "minimum level of the function's log lines; only with format JSON; defaults to INFO",
            )
            .member("LoggingConfig.ApplicationLogLevel"),
            property(
                "system_log_level",
                crate::kinds::open(&["DEBUG", "INFO", "WARN"]),
                "minimum level of Lambda's log lines; only with format JSON; defaults to INFO",
            )
            .member("LoggingConfig.SystemLogLevel"),
            property(
                "reserved_concurrent_executions",
                Shape::Integer { min: 0, max: i32::MAX.into() },
                "reserved concurrency: guaranteed and maximum concurrent executions; 0 disables the function",
            ),
            property(
                "dead_letter_target_arn",
                Shape::Text(DEAD_LETTER.clone()),
                "dead-letter queue or topic for failed asynchronous invocations",
            )
            .member("DeadLetterConfig.TargetArn"),
            async_config::async_config(),
            url::url(),
            network::vpc(),
            property(
                "kms_key_arn",
                Shape::Text(KMS_KEY.clone()),
                "ARN of the KMS key that encrypts the environment variables; defaults to a key owned by AWS",
            )
            .member("KMSKeyArn")
            .in_locality(Locality::Region),
            crate::kinds::tags(),
        ],
        outputs: vec![
            Output::arn("arn", "the function's ARN"),
            Output::computed("name", "the function's name", |_, name| name.to_owned()),
            Output::assigned(url::URL, "the function's URL").until([url::URL]),
        ],
    }
}

/// Log levels of a log format that has none.
pub(super) fn log_level_problems(desired: &Tree) -> Vec<Problem> {
    if desired.get("log_format").and_then(Value::as_str) != Some("Text") {
        return Vec::new();
    }
    let levels = ["application_log_level", "system_log_level"].into_iter();
    let is_set = |level: &&str| desired.get(*level).is_some_and(|value| *value != Value::Null);
    let problem = |level: &str| {
        let problem = format!("`{level}` requires `log_format: JSON`");
        let hint = format!("add `log_format: JSON`, or remove `{level}`");
        Problem::error(Path::property(level), problem, hint).inapplicable_with(level, "log_format")
    };
    levels.filter(is_set).map(problem).collect()
}

pub(super) fn layer_problems(desired: &Tree) -> Vec<Problem> {
    let Some(Value::List(layers)) = desired.get("layers") else { return Vec::new() };
    let (mut problems, mut seen) = (Vec::new(), Vec::new());
    for (index, name) in layers.iter().enumerate().filter_map(|(at, it)| Some((at, layer(it.as_str()?)?))) {
        if seen.contains(&name) {
            let problem = "a function can't have two versions of one layer";
            let path = Path::property("layers").index(index);
            problems.push(Problem::error(path, problem, "remove one of them"));
        }
        seen.push(name);
    }
    problems
}

pub(super) fn environment_problems(desired: &Tree) -> Vec<Problem> {
    let Some(Value::Map(variables)) = desired.get("environment") else { return Vec::new() };
    let path = Path::property("environment");
    let reserved = variables.keys().filter(|name| RESERVED.contains(&name.as_str())).map(|name| {
        let problem = format!("the environment variable `{name}` is reserved by Lambda");
        Problem::error(path.key(name), problem, "choose another name")
    });
    let mut problems: Vec<Problem> = reserved.collect();
    // Values that AWS assigns later count as empty, so this is the minimum size.
    let known = |value: &Value| Json::from(value.as_str().unwrap_or_default());
    let json: Json = variables.iter().map(|(name, value)| (name.clone(), known(value))).collect();
    let bytes = json.to_string().len();
    if bytes > ENVIRONMENT_BYTES {
        let problem = format!("the environment has {bytes} bytes as JSON, but the maximum is {ENVIRONMENT_BYTES}");
        let hint = "move large values to a file in the code, or to Parameter Store";
        problems.push(Problem::error(path, problem, hint));
    }
    problems
}

/// A layer's ARN without its version: `arn:aws:lambda:region:account:layer:name`.
fn layer(arn: &str) -> Option<&str> {
    let (layer, version) = arn.rsplit_once(':')?;
    let [_, _, _, _, _, "layer", name] = layer.split(':').collect::<Vec<_>>()[..] else { return None };
    let numbered = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit());
    (crate::kinds::text::is_arn(arn, "lambda") && !name.is_empty() && numbered).then_some(layer)
}
