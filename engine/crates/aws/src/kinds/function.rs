//! `function`: a Lambda function from local source.
//!
//! ```yaml
//! team: blue-owls
//! resources:
//!   execution-role:
//!     type: role
//!     import: fhms-pulumi-challenge-lambda-execution-role
//!   logger:
//!     type: function
//!     runtime: nodejs22.x
//!     handler: index.handler
//!     role: ${execution-role.arn}
//!     code:
//!       inline: |
//!         exports.handler = async (event) => console.log(JSON.stringify(event));
//! ```

pub(super) mod async_config;
mod details;
mod errors;
pub mod javascript;
mod network;
pub(super) mod operations;
pub mod source;
mod url;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::mem::discriminant;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aws_sdk_lambda::config::Builder as Override;
use aws_sdk_lambda::operation::get_function::GetFunctionOutput;
use aws_sdk_lambda::types::{
    Architecture, DeadLetterConfig, Environment, EphemeralStorage, FunctionCode, FunctionConfiguration,
    LastUpdateStatus, LogFormat, LoggingConfig, PackageType, Runtime, State, TracingConfig, TracingMode,
};
use aws_smithy_types::date_time::Format;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::{Blob, DateTime};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::aws::error::{ErrorRow, is_too_large};
use crate::aws::trust::RoleDiagnosis;
use crate::aws::{AwsError, CallContext, Class, Context, Existing, Wait, limits};
use crate::kind::Kind;
use crate::operation::Operation;
use crate::ownership::OwnershipVerdict;
use crate::schema::{
    Disruption, Effect, Id, Identity, Live, Locality, Output, Outputs, Owner, Ownership, Problem, Reading, Retained,
    Schema, Shape, Status, Str, Tagging, Text, Timestamps, Unknown, is_of_team, property,
};
use crate::spec::{ResourceDecl, Spec};
use crate::value::{Path, Tree, Value};
use async_config::AsyncConfig;
use engine_core::kind::{AccessLevel, Derived, Implied, Loaded, SpecFolder, Want};
use source::{Entry, Source, SourceError};

use super::{Delta, ExistenceTracker, Input};

pub(super) struct Function;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Props {
    runtime: String,
    handler: String,
    role: String,
    access: Input,
    statements: Input,
    code: Json,
    code_sha256: String,
    code_size: i64,
    image: Option<String>,
    description: String,
    memory_size: i32,
    timeout: i32,
    environment: BTreeMap<String, String>,
    architecture: String,
    layers: Vec<String>,
    ephemeral_storage: i32,
    tracing: String,
    log_format: String,
    log_group: String,
    log_retention_in_days: Input,
    events: Input,
    application_log_level: Option<String>,
    system_log_level: Option<String>,
    reserved_concurrent_executions: Option<i32>,
    dead_letter_target_arn: Option<String>,
    #[serde(rename = "async")]
    async_config: Option<AsyncConfig>,
    url: Option<url::FunctionUrl>,
    vpc: Option<network::Vpc>,
    kms_key_arn: Option<String>,
    tags: BTreeMap<String, String>,
}

/// docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html
static NAME: LazyLock<Text> = LazyLock::new(|| Text::new(1..=64, "letters, digits, `-` and `_`", super::text::word));
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
/// The property that implies a log group.
const RETENTION: &str = "log_retention_in_days";
/// The property that implies mappings.
const EVENTS: &str = "events";
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
        super::text::is_target(text) && !text.ends_with(".fifo")
    })
});
/// docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html, KMSKeyArn
pub(super) static KMS_KEY: LazyLock<Text> = LazyLock::new(|| {
    Text::new(20..=2048, "the ARN of a KMS key (`arn:aws:kms:region:account:key/id`)", |text| {
        super::text::is_arn(text, "kms")
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

const BUSY: Wait = Wait {
    what: "an earlier change of the function to finish",
    reason: "Lambda allows one change at a time",
    inspect_cmd: LOOK,
    limit: Some(limits::LAMBDA),
    budget: Duration::from_secs(300),
};
const ACTIVE: Wait = Wait {
    what: "the function to become Active",
    reason: "Lambda prepares or updates it, which usually takes seconds",
    inspect_cmd: LOOK,
    limit: None,
    budget: Duration::from_secs(600),
};
const UPDATED: Wait = Wait {
    what: "the function's update to finish",
    reason: "Lambda accepts the next change only after it",
    inspect_cmd: LOOK,
    limit: None,
    budget: Duration::from_secs(600),
};
/// Shows the function's `State` and `LastUpdateStatus`, each with its reason.
const LOOK: &str = "aws lambda get-function-configuration --function-name {} --region {region}";

impl Kind for Function {
    type Props = Props;

    fn schema(&self) -> Schema {
        let exclude = Shape::List { item: Box::new(Shape::Text(Text::any(1024))), max: 1000 };
        let code = vec![
            property(
                "inline",
                Shape::Text(Text { min: 1, ..Text::any(4_000_000) }),
                "source code, used literally",
            )
            .no_references()
            .sensitive(),
            property(
                "path",
                Shape::Text(Text { min: 1, ..Text::any(4096) }),
                "path to a folder, file, or `.zip` or `.jar` archive, which is uploaded unchanged; relative to the spec",
            )
            .no_references(),
            property("exclude", exclude, "glob patterns of files to exclude from the package").no_references(),
        ];
        let variables =
            Shape::Map { key: VARIABLE.clone(), value: Box::new(Shape::Text(Text::any(ENVIRONMENT_BYTES))), max: 1000 };
        Schema {
            kind: "function".into(),
            summary: "a Lambda function from local source code".into(),
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
                property("runtime", super::runtimes::shape(), "the language and its version").required().no_references(),
                property("handler", Shape::Text(HANDLER.clone()), "the file and the function that Lambda calls")
                    .required()
                    .no_references(),
                property(
                    "role",
                    Shape::link([("role", "arn")], Some(&super::text::ROLE_ARN)),
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
                    super::role::access(),
                    "what the function may do with resources of this spec",
                )
                .write_only(),
                property("statements", super::role::statements(), "other permissions of the function's role")
                    .write_only(),
                property(
                    "code",
                    Shape::TextOrRecord(Text { min: 1, ..Text::any(4096) }, code),
                    "path to a folder, file, `.zip` or `.jar`, relative to the spec, or a mapping with `inline` source",
                )
                .required()
                .no_references()
                .write_only(),
                property("code_sha256", Shape::Text(Text::any(64)), "hash of the package").derived_from("code"),
                property("code_size", Shape::Integer { min: 0, max: i64::MAX }, "size of the package in bytes")
                    .derived_from("code")
                    .display_with("code_sha256"),
                // A function's package type can't be changed
                // (docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html, PackageType).
                property(
                    "image",
                    Shape::Text(Text::any(2048)),
                    "the container image that it runs instead of a package",
                )
                .derived()
                .on_change(Effect::Replace),
                property("description", Shape::Text(Text::any(256)), "description of the function").default(""),
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
                property("architecture", super::open(&["x86_64", "arm64"]), "the processor architecture")
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
                    super::open(&["PassThrough", "Active"]),
                    "X-Ray tracing: `Active` samples requests, `PassThrough` follows the caller's decision",
                )
                .member("TracingConfig.Mode")
                .default("PassThrough"),
                property("log_format", Shape::choice(["Text", "JSON"]), "format of log lines")
                    .member("LoggingConfig.LogFormat")
                    .default("Text"),
                property(
                    EVENTS,
                    Shape::Map {
                        key: Text::any(63),
                        value: Box::new(Shape::Record(super::mapping::of_event())),
                        max: 100,
                    },
                    "what invokes the function: tables and queues of this spec, each with the properties of its mapping",
                )
                .write_only(),
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
                    super::open(&["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"]),
                    "minimum level of the function's log lines; only with format JSON; defaults to INFO",
                )
                .member("LoggingConfig.ApplicationLogLevel"),
                property(
                    "system_log_level",
                    super::open(&["DEBUG", "INFO", "WARN"]),
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
                super::tags(),
            ],
            outputs: vec![
                Output::arn("arn", "the function's ARN"),
                Output::computed("name", "the function's name", |_, name| name.to_owned()),
                Output::assigned(url::URL, "the function's URL").until([url::URL]),
            ],
        }
    }

    fn normalize(&self, id: &Id, desired: &mut Tree) {
        let json = desired.get("log_format").and_then(Value::as_str) == Some("JSON");
        let mut default = |property: &str, value: String| {
            let slot = desired.entry(property.to_owned()).or_insert(Value::Null);
            if *slot == Value::Null {
                *slot = Value::String(value);
            }
        };
        default("log_group", default_log_group(&id.name));
        if json {
            default("application_log_level", "INFO".to_owned());
            default("system_log_level", "INFO".to_owned());
        }
        url::normalize(desired);
    }

    /// Lambda allows one change at a time.
    fn write_key<'a>(&self, id: &'a Id) -> Option<&'a str> {
        Some(&id.name)
    }

    fn check(&self, desired: &Tree) -> Vec<Problem> {
        let mut problems = Vec::new();
        problems.extend(super::unusual_target(desired, "dead_letter_target_arn", &["sqs", "sns"]));
        problems.extend(async_config::unusual_destinations(desired));
        problems.extend(log_level_problems(desired));
        problems.extend(layer_problems(desired));
        problems.extend(network::problems(desired));
        problems.extend(code_problem(desired));
        problems.extend(environment_problems(desired));
        problems.extend(super::role::check_statements(desired));
        problems
    }

    fn implies(&self, declared: &ResourceDecl, kind_of: &dyn Fn(&str) -> Option<Str>) -> Vec<Implied> {
        let role = (!declared.explicit.contains("role")).then(|| Implied {
            name: format!("{}-role", declared.name),
            kind: "role".into(),
            aws_name: None,
            properties: Tree::new(),
            reference: Some(("role".into(), "arn".into())),
            path: Path::default(),
        });
        let retention = declared.desired.get(RETENTION).filter(|days| **days != Value::Null);
        let logs = retention.filter(|_| !declared.explicit.contains("log_group")).map(|days| Implied {
            name: format!("{}-logs", declared.name),
            kind: "log_group".into(),
            aws_name: Some(default_log_group(&declared.id.name)),
            properties: Tree::from([("retention_in_days".to_owned(), days.clone())]),
            reference: Some(("log_group".into(), "name".into())),
            path: Path::property(RETENTION),
        });
        let mappings = mappings(declared, kind_of);
        role.into_iter().chain(logs).chain(mappings).chain(url::statements(declared)).collect()
    }

    fn access_levels(&self) -> Vec<AccessLevel> {
        vec![AccessLevel::new("invoke", &["lambda:InvokeFunction"], &["", ":*"])]
    }

    fn derive(&self, declared: &ResourceDecl, spec: &Spec) -> Derived {
        let mut problems = super::role::unknown_access(declared, spec);
        let is_managed = spec.target(declared, "role").is_some_and(|role| !role.imported);
        let statements = declared.desired.get("statements").is_some_and(|statements| *statements != Value::Null);
        if statements && !is_managed {
            let problem = "`statements` needs a role that engine creates, but this function's role is imported";
            let hint = "remove `role:`, so that engine creates one, or ask the role's owner to add the permissions";
            problems.push(Problem::error(Path::property("statements"), problem, hint));
        }
        problems.extend(not_polled(declared, spec));
        problems.extend(async_config::fifo_destinations(declared, spec));
        if declared.explicit.contains(RETENTION) && declared.explicit.contains("log_group") {
            let problem = format!("`{RETENTION}` and `log_group` can't be combined");
            let hint = "remove one of them; a declared log group has `retention_in_days` of its own";
            problems.push(Problem::error(Path::property(RETENTION), problem, hint));
        }
        Derived { problems, ..Derived::default() }
    }

    fn load(&self, desired: &Tree, folder: &SpecFolder) -> Loaded {
        let text = |name: &str| desired.get(name).and_then(Value::as_str);
        let (Some(handler), Some(runtime)) = (text("handler"), text("runtime")) else { return Loaded::default() };
        let entry = Entry { handler, runtime, architecture: text("architecture") };
        let at = |path: &str, exclude| Source::Path {
            path: folder.path.join(path),
            boundary: folder.boundary.clone(),
            exclude,
        };
        let (source, path) = match desired.get("code") {
            // Misread source code is not a path to look up or to show.
            Some(Value::String(path)) if glued(path).is_some() => return Loaded::default(),
            Some(Value::String(path)) => (at(path, Vec::new()), Path::property("code")),
            Some(Value::Map(code)) => match (code.get("inline"), code.get("path")) {
                (Some(Value::String(inline)), _) => {
                    (Source::Inline(inline.clone()), Path::property("code").key("inline"))
                }
                (_, Some(Value::String(path))) => {
                    let exclude = match code.get("exclude") {
                        Some(Value::List(patterns)) => {
                            patterns.iter().filter_map(Value::as_str).map(str::to_owned).collect()
                        }
                        _ => Vec::new(),
                    };
                    (at(path, exclude), Path::property("code").key("path"))
                }
                _ => return Loaded::default(),
            },
            _ => return Loaded::default(),
        };
        // A layer can contain the handler's file, or wrap it.
        let has_layers = matches!(desired.get("layers"), Some(Value::List(layers)) if !layers.is_empty());
        pack(&source, entry, &path, has_layers)
    }

    async fn read(&self, cx: &Context, id: &Id) -> Result<Reading<Props>, AwsError> {
        let (seen, details) = tokio::join!(look(cx, id), details::read(cx, id));
        let Some(mut live) = seen?.map(Seen::live) else { return Ok(None.into()) };
        details::add(&mut live, details)?;
        Ok(Some(live).into())
    }

    async fn list_by_prefix(&self, cx: &Context, owner: &Owner) -> Result<Vec<Id>, AwsError> {
        let pages = cx.aws.lambda.list_functions().into_paginator().items().send();
        let functions = pages.collect::<Result<Vec<_>, _>>().await.context("ListFunctions", "")?;
        let names = functions.into_iter().filter_map(|it| it.function_name);
        Ok(names.filter(|name| is_of_team(name, &owner.team)).map(|name| super::scanned(owner, name)).collect())
    }

    async fn create(&self, cx: &Context, id: &Id, want: Want<Props>) -> Result<Outputs, AwsError> {
        let zip = Blob::new(want.artifact.as_deref().unwrap_or_default());
        let props = want.props;
        let inquiry = RoleDiagnosis::default();
        let defaults = super::with_defaults(self, id, &props)?;
        let beyond = Delta { from: &defaults, to: &props };
        let send = || async {
            let request = cx
                .aws
                .lambda
                .create_function()
                .function_name(&id.name)
                .runtime(Runtime::from(props.runtime.as_str()))
                .handler(&props.handler)
                .role(&props.role)
                .code(FunctionCode::builder().zip_file(zip.clone()).build())
                .set_architectures(beyond.member(architectures))
                .set_description(beyond.member(|it| it.description.clone()))
                .set_memory_size(beyond.member(|it| it.memory_size))
                .set_timeout(beyond.member(|it| it.timeout))
                .set_environment(beyond.member(environment))
                .set_layers(beyond.member(|it| it.layers.clone()))
                .set_ephemeral_storage(beyond.member(ephemeral_storage).transpose()?)
                .set_tracing_config(beyond.member(tracing))
                .set_logging_config(beyond.member(logging))
                .set_dead_letter_config(beyond.member(dead_letter))
                .set_vpc_config(beyond.member(network::request))
                .set_kms_key_arn(beyond.member(kms_key))
                .set_tags(Some(super::all_tags(&id.owner, &props.tags)));
            let answer = request.customize().config_override(once(cx)).send().await.context("CreateFunction", &id.name);
            let answer = explained(cx, id, &inquiry, &props.role, answer).await?;
            Ok([("arn", answer.function_arn), ("name", answer.function_name)]
                .into_iter()
                .filter_map(|(name, value)| Some((name.to_owned(), value?)))
                .collect())
        };
        let find = || async {
            let live = look(cx, id).await?.map(Seen::live);
            let Some(live) = live.filter(|live| live.status != Status::Deleting) else { return Ok(None) };
            if OwnershipVerdict::of(&live.owner, None, &id.owner) == OwnershipVerdict::Owned {
                super::ensure_matches("CreateFunction", id, &live.props.otherwise_made(&props))?;
                return Ok(Some(live.outputs));
            }
            Err(super::name_conflict("CreateFunction", id))
        };
        let mut outputs = cx.create(BUSY, &id.name, send, find).await?;
        if let Some(url) = &props.url {
            active(cx, id).await?;
            outputs.insert(url::URL.to_owned(), url::create(cx, id, url).await?);
        }
        Ok(outputs)
    }

    async fn update(&self, cx: &Context, id: &Id, have: Live<Props>, want: Want<Props>) -> Result<Outputs, AwsError> {
        let wanted = want.props;
        let change = Delta { from: &have.props, to: &wanted };
        let update = Update { cx, id, have: &have, change, artifact: want.artifact.as_deref() };
        let mut before = Before::Read(update.first_revision().await?);
        if super::must_tag(cx, id, &have.owner, &have.props.tags, &wanted.tags) {
            update.tag().await?;
            before = Before::Tagged;
        }
        let mut calls = calls(&have.props, &wanted);
        let mut is_deferred = false;
        while let Some(call) = calls.pop_front() {
            let revision = update.revision(&before).await?;
            match update.send(call, revision.as_deref()).await {
                // Code and layers exceed the size limit together; they may fit after the other
                // call.
                Err(error) if is_too_large(&error) && !calls.is_empty() && !is_deferred => {
                    calls.push_back(call);
                    is_deferred = true;
                }
                answer => {
                    answer?;
                    before = Before::Updated;
                }
            }
        }
        if details::differ(&have.props, &wanted) {
            if let Before::Updated = before {
                updated(cx, id, &have.owner).await?;
            }
            details::update(cx, id, &have.props, &wanted).await?;
        }
        // `wait_ready` waits for the last call.
        let mut outputs = have.outputs;
        url::update(cx, id, (have.props.url.as_ref(), wanted.url.as_ref()), &mut outputs).await?;
        Ok(outputs)
    }

    async fn wait_ready(
        &self,
        cx: &Context,
        id: &Id,
        want: &Props,
        unknown: &[&str],
        _outputs: &Outputs,
    ) -> Result<(), AwsError> {
        let seen = active(cx, id).await?;
        // Lambda reverts a failed update, and may have shown an earlier run's update as done before
        // that.
        let now = super::without(&seen.props(), unknown)?;
        if seen.config.last_update_status() == Some(&LastUpdateStatus::Failed)
            && !(now.same_configuration(want) && now.same_code(want))
        {
            return Err(failed_update(id, &seen.config));
        }
        details::complete(cx, id, &now, want).await
    }

    async fn delete(&self, cx: &Context, id: &Id, _have: Live<Props>) -> Result<(), AwsError> {
        let delete = || async {
            let request = cx.aws.lambda.delete_function().function_name(&id.name);
            request.send().await.context("DeleteFunction", &id.name).if_deleted()
        };
        cx.send(BUSY, &id.name, delete).await
    }

    async fn untag(&self, cx: &Context, id: &Id, have: Live<Props>) -> Result<(), AwsError> {
        let arn = have.outputs.get("arn").cloned().unwrap_or_default();
        super::untag(cx, BUSY, id, &arn).await
    }

    fn operations(&self) -> &'static [Operation] {
        operations::OPERATIONS
    }

    fn errors(&self) -> &'static [ErrorRow] {
        errors::ERRORS
    }
}

impl Props {
    /// Whether the function's code, configuration and concurrency are equal.
    fn same(&self, other: &Props) -> bool {
        let concurrency = |props: &Props| props.reserved_concurrent_executions;
        self.same_configuration(other) && self.same_code(other) && concurrency(self) == concurrency(other)
    }

    /// Whether everything that UpdateFunctionConfiguration sets is equal.
    fn same_configuration(&self, other: &Props) -> bool {
        let rest = other.clone();
        let with_the_rest = Props {
            code: rest.code,
            code_sha256: rest.code_sha256,
            code_size: rest.code_size,
            architecture: rest.architecture,
            reserved_concurrent_executions: rest.reserved_concurrent_executions,
            async_config: rest.async_config,
            url: rest.url,
            tags: rest.tags,
            ..self.clone()
        };
        with_the_rest == *other
    }

    /// The properties that differ from what a create would have set. The code's path is irrelevant,
    /// its size follows from the hash, and some settings are set later, if another run hasn't set
    /// them.
    fn otherwise_made(&self, want: &Props) -> Vec<String> {
        let mut but = vec!["code", "code_size", async_config::ASYNC, url::URL, "tags"];
        if self.reserved_concurrent_executions.is_none() {
            but.push("reserved_concurrent_executions");
        }
        let tags = (!super::has_tags(&self.tags, &want.tags)).then(|| "`tags`".to_owned());
        super::differing(self, want, &but).into_iter().chain(tags).collect()
    }

    /// Whether everything that UpdateFunctionCode sets is equal.
    fn same_code(&self, other: &Props) -> bool {
        (&self.code_sha256, &self.architecture) == (&other.code_sha256, &other.architecture)
    }
}

/// The two calls that update a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Configuration,
    Code,
}

/// The calls that a change needs, in the order that is more likely to fit the size limit: with each
/// call, Lambda checks the unzipped size of code and layers together, and shows neither. If
/// libraries move into a layer, the code shrinks first.
fn calls(have: &Props, want: &Props) -> VecDeque<Call> {
    let adds_layers = want.layers.iter().any(|layer| !have.layers.contains(layer));
    let order = match adds_layers && want.code_size < have.code_size {
        true => [Call::Code, Call::Configuration],
        false => [Call::Configuration, Call::Code],
    };
    let is_needed = |call: &Call| match call {
        Call::Configuration => !have.same_configuration(want),
        Call::Code => !have.same_code(want),
    };
    order.into_iter().filter(is_needed).collect()
}

/// The last action of an update before its next write.
enum Before {
    /// Only the read, which returned this revision.
    Read(Option<String>),
    /// It added tags, which changes the revision, but is no update of the function.
    Tagged,
    /// It started an update, which has to succeed first.
    Updated,
}

/// A change of one function.
struct Update<'a> {
    cx: &'a Context,
    id: &'a Id,
    have: &'a Live<Props>,
    change: Delta<'a, Props>,
    artifact: Option<&'a [u8]>,
}

impl Update<'_> {
    /// The revision of `have`. A new function, or one with an update in progress, rejects every
    /// change, so this waits for it; one whose last update failed accepts the next.
    async fn first_revision(&self) -> Result<Option<String>, AwsError> {
        if self.have.is_moving() { self.idle_revision().await } else { Ok(self.have.revision.clone()) }
    }

    /// The function's revision once it is idle, if it still equals `have`.
    async fn idle_revision(&self) -> Result<Option<String>, AwsError> {
        let Update { cx, id, have, .. } = self;
        let seen = idle(cx, id, &have.owner).await?;
        let unknown_now = seen.unknown();
        // Don't compare properties that either read couldn't show.
        let unknown: Vec<&str> = have.unknown.keys().chain(unknown_now.keys()).map(|name| &**name).collect();
        if !super::without(&seen.props(), &unknown)?.same(&super::without(&have.props, &unknown)?) {
            let message = "the function was changed while engine waited for it";
            return Err(AwsError::own(Class::Changed, "update", &id.name, message));
        }
        Ok(seen.config.revision_id)
    }

    /// The revision that the next write requires.
    async fn revision(&self, before: &Before) -> Result<Option<String>, AwsError> {
        match before {
            Before::Read(revision) => Ok(revision.clone()),
            Before::Tagged => self.idle_revision().await,
            Before::Updated => Ok(updated(self.cx, self.id, &self.have.owner).await?.config.revision_id),
        }
    }

    async fn tag(&self) -> Result<(), AwsError> {
        let Update { cx, id, have, change, .. } = self;
        let arn = have.outputs.get("arn").map_or("", String::as_str);
        let tag = || async {
            let missing = super::missing_tags(&have.props.tags, &change.to.tags);
            let tags = HashMap::from_iter(super::all_tags(&id.owner, &missing));
            let request = cx.aws.lambda.tag_resource().resource(arn).set_tags(Some(tags));
            request.send().await.context("TagResource", &id.name).map(|_| ())
        };
        cx.send(BUSY, &id.name, tag).await
    }

    async fn send(&self, call: Call, revision: Option<&str>) -> Result<(), AwsError> {
        match call {
            Call::Configuration => self.configure(revision).await,
            Call::Code => self.upload(revision).await,
        }
    }

    async fn configure(&self, revision: Option<&str>) -> Result<(), AwsError> {
        let Update { cx, id, change, .. } = self;
        let inquiry = RoleDiagnosis::default();
        let configure = || async {
            let request = cx
                .aws
                .lambda
                .update_function_configuration()
                .function_name(&id.name)
                .set_runtime(change.member(|it| Runtime::from(it.runtime.as_str())))
                .set_handler(change.member(|it| it.handler.clone()))
                .set_role(change.member(|it| it.role.clone()))
                .set_description(change.member(|it| it.description.clone()))
                .set_memory_size(change.member(|it| it.memory_size))
                .set_timeout(change.member(|it| it.timeout))
                .set_environment(change.member(environment))
                .set_layers(change.member(|it| it.layers.clone()))
                .set_ephemeral_storage(change.member(ephemeral_storage).transpose()?)
                .set_tracing_config(change.member(tracing))
                .set_logging_config(change.member(logging))
                .set_dead_letter_config(change.member(dead_letter))
                .set_vpc_config(change.member(network::request))
                .set_kms_key_arn(change.member(kms_key))
                .set_revision_id(revision.map(str::to_owned));
            let answer = request.send().await.context("UpdateFunctionConfiguration", &id.name);
            explained(cx, id, &inquiry, &change.to.role, answer).await.map(|_| ())
        };
        cx.send(BUSY, &id.name, configure).await
    }

    async fn upload(&self, revision: Option<&str>) -> Result<(), AwsError> {
        let Update { cx, id, change, artifact, .. } = self;
        let zip = Blob::new(artifact.unwrap_or_default());
        let upload = || async {
            let request = cx.aws.lambda.update_function_code().function_name(&id.name).zip_file(zip.clone());
            let request = request.set_architectures(change.member(architectures));
            let request = request.set_revision_id(revision.map(str::to_owned));
            let answer = request.customize().config_override(patient(cx)).send().await;
            answer.context("UpdateFunctionCode", &id.name).map(|_| ())
        };
        cx.send(BUSY, &id.name, upload).await
    }
}

/// A function as returned by GetFunction.
struct Seen {
    config: FunctionConfiguration,
    /// The image that it runs instead of a package, or its package type if there is no URI.
    image: Option<String>,
    reserved: Option<i32>,
    tags: BTreeMap<String, String>,
    /// Why its tags can't be read.
    tags_error: Option<String>,
    owner: Ownership,
}

impl Seen {
    fn of(answer: GetFunctionOutput) -> Option<Seen> {
        let tags = answer.tags.unwrap_or_default();
        let pairs = || tags.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let config = answer.configuration?;
        let uri = answer.code.and_then(|code| code.image_uri).filter(|uri| !uri.is_empty());
        // Unknown package types are not Zip either.
        let other = config.package_type().filter(|it| **it != PackageType::Zip);
        let image = other.map(|it| uri.unwrap_or_else(|| it.as_str().to_owned()));
        Some(Seen {
            config,
            image,
            reserved: answer.concurrency.and_then(|it| it.reserved_concurrent_executions),
            tags: super::own_tags(pairs()),
            // Without permission for ListTags, the response has no tags; newer responses include
            // the error.
            owner: if answer.tags_error.is_some() { Ownership::Denied } else { Ownership::from_tags(pairs()) },
            tags_error: answer.tags_error.map(|error| match error.error_code.contains("AccessDenied") {
                true => "you lack permission for ListTags".to_owned(),
                false => error.message,
            }),
        })
    }

    /// Checks that this stack owns it, or that its owner hasn't changed.
    fn still(&self, owner: &Ownership, id: &Id) -> Result<(), AwsError> {
        if self.owner == *owner || OwnershipVerdict::of(&self.owner, None, &id.owner) == OwnershipVerdict::Owned {
            return Ok(());
        }
        let message = "its owner changed during this run";
        Err(AwsError::own(Class::Changed, "update", &id.name, message))
    }

    fn live(self) -> Live<Props> {
        Live {
            outputs: outputs(&self.config),
            status: condition(&self.config),
            unique_id: None,
            revision: self.config.revision_id.clone(),
            timestamps: Timestamps { created: None, modified: self.config.last_modified().and_then(milliseconds) },
            notes: notes(&self),
            unknown: self.unknown(),
            props: self.props(),
            owner: self.owner,
        }
    }

    /// Properties that the response doesn't show: those for which AWS returns an error, and missing
    /// ones that AWS always sends
    /// (docs.aws.amazon.com/lambda/latest/api/API_FunctionConfiguration.html), as in regions
    /// without the feature.
    fn unknown(&self) -> Unknown {
        let config = &self.config;
        let no_logging = config.logging_config().is_none();
        // A container image has neither, and no size of a zip.
        let is_zip = self.image.is_none();
        let mut unknown = super::missing([
            ("runtime", is_zip && config.runtime().is_none()),
            ("handler", is_zip && config.handler().is_none()),
            ("role", config.role().is_none()),
            ("code_sha256", config.code_sha256().is_none()),
            ("code_size", is_zip && config.code_size() == 0),
            ("description", config.description().is_none()),
            ("memory_size", config.memory_size().is_none()),
            ("timeout", config.timeout().is_none()),
            ("architecture", config.architectures().is_empty()),
            ("ephemeral_storage", config.ephemeral_storage().is_none()),
            ("tracing", config.tracing_config().is_none_or(|it| it.mode().is_none())),
            ("log_format", no_logging),
            ("log_group", no_logging),
            ("application_log_level", no_logging),
            ("system_log_level", no_logging),
        ]);
        if let Some(error) = config.environment().and_then(|environment| environment.error()) {
            unknown.insert("environment".into(), super::undecrypted(error.error_code(), error.message()));
        }
        unknown.extend(self.tags_error.clone().map(|why| ("tags".into(), why)));
        unknown
    }

    /// Its properties, with AWS's defaults for missing or empty values, and without those in
    /// [`details`].
    fn props(&self) -> Props {
        let Seen { config, image, reserved, tags, tags_error: _, owner: _ } = self;
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        let logging = config.logging_config();
        let json = logging.and_then(LoggingConfig::log_format) == Some(&LogFormat::Json);
        let level = |level: Option<&str>| json.then(|| level.unwrap_or("INFO").to_owned());
        let group = logging.and_then(LoggingConfig::log_group).filter(|group| !group.is_empty());
        let target = config.dead_letter_config().and_then(DeadLetterConfig::target_arn);
        let variables = config.environment().and_then(|environment| environment.variables());
        Props {
            runtime: text(config.runtime().map(Runtime::as_str)),
            handler: text(config.handler()),
            role: text(config.role()),
            access: Input,
            statements: Input,
            code: Json::Null,
            code_sha256: text(config.code_sha256()),
            code_size: config.code_size(),
            image: image.clone(),
            description: text(config.description()),
            memory_size: config.memory_size().unwrap_or(128),
            timeout: config.timeout().unwrap_or(3),
            environment: variables.into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect(),
            architecture: config.architectures().first().map_or("x86_64", Architecture::as_str).to_owned(),
            layers: config.layers().iter().filter_map(|layer| layer.arn().map(str::to_owned)).collect(),
            ephemeral_storage: config.ephemeral_storage().map_or(512, EphemeralStorage::size),
            tracing: config.tracing_config().and_then(|it| it.mode()).map_or("PassThrough", TracingMode::as_str).into(),
            log_format: if json { "JSON" } else { "Text" }.to_owned(),
            log_retention_in_days: Input,
            events: Input,
            log_group: group.map_or_else(|| default_log_group(&text(config.function_name())), str::to_owned),
            application_log_level: level(logging.and_then(|it| Some(it.application_log_level()?.as_str()))),
            system_log_level: level(logging.and_then(|it| Some(it.system_log_level()?.as_str()))),
            reserved_concurrent_executions: *reserved,
            dead_letter_target_arn: target.filter(|arn| !arn.is_empty()).map(str::to_owned),
            async_config: None,
            url: None,
            vpc: network::of(config),
            kms_key_arn: config.kms_key_arn().filter(|arn| !arn.is_empty()).map(str::to_owned),
            tags: tags.clone(),
        }
    }
}

/// Adds the role's trust policy to an error about the role.
async fn explained<T>(
    cx: &Context,
    id: &Id,
    inquiry: &RoleDiagnosis,
    role: &str,
    answer: Result<T, AwsError>,
) -> Result<T, AwsError> {
    match answer {
        Err(error) => Err(inquiry.explain(cx, role, id, error).await),
        answer => answer,
    }
}

/// Log levels of a log format that has none.
fn log_level_problems(desired: &Tree) -> Vec<Problem> {
    if desired.get("log_format").and_then(Value::as_str) != Some("Text") {
        return Vec::new();
    }
    let levels = ["application_log_level", "system_log_level"].into_iter();
    let is_set = |level: &&str| desired.get(*level).is_some_and(|value| *value != Value::Null);
    let problem = |level: &str| {
        let problem = format!("`{level}` requires `log_format: JSON`");
        let hint = format!("add `log_format: JSON`, or remove `{level}`");
        Problem::error(Path::property(level), problem, hint)
    };
    levels.filter(is_set).map(problem).collect()
}

fn layer_problems(desired: &Tree) -> Vec<Problem> {
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

fn code_problem(desired: &Tree) -> Option<Problem> {
    let path = Path::property("code");
    let code = match desired.get("code")? {
        Value::String(text) => {
            let key = glued(text)?;
            let problem =
                format!("a space is missing after `{key}:`, so YAML reads the whole value of `code` as a path");
            return Some(Problem::error(path, problem, format!("write `{key}: …`")));
        }
        Value::Map(code) => code,
        _ => return None,
    };
    let has = |name: &str| !matches!(code.get(name), None | Some(Value::Null));
    // A missing key here had an invalid value, which is already reported.
    let known = code.contains_key("inline") && code.contains_key("path");
    if has("inline") && has("path") {
        Some(Problem::error(path, "`code` has both `inline` and `path`", "remove one of them"))
    } else if known && !has("inline") && !has("path") {
        let hint = "write `code: folder`, or `code:` with `inline: |` and the source under it";
        Some(Problem::error(path, "`code` needs either `inline` or `path`", hint))
    } else if has("inline") && has("exclude") {
        Some(Problem::error(path.key("exclude"), "`exclude` has no effect with `inline`", "remove `exclude`"))
    } else {
        None
    }
}

fn environment_problems(desired: &Tree) -> Vec<Problem> {
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

/// The key of `code` at the start of a text, where the space after its colon is missing.
fn glued(code: &str) -> Option<&'static str> {
    ["inline", "path", "exclude"]
        .into_iter()
        .find(|key| code.strip_prefix(key).is_some_and(|rest| rest.starts_with(':')))
}

/// Sets or, with `None`, removes the reserved concurrency.
async fn reserve(cx: &Context, id: &Id, executions: Option<i32>) -> Result<(), AwsError> {
    let send = || async {
        let lambda = &cx.aws.lambda;
        match executions {
            Some(executions) => {
                let request = lambda.put_function_concurrency().function_name(&id.name);
                let request = request.reserved_concurrent_executions(executions);
                request.send().await.context("PutFunctionConcurrency", &id.name).map(|_| ())
            }
            None => {
                let request = lambda.delete_function_concurrency().function_name(&id.name);
                request.send().await.context("DeleteFunctionConcurrency", &id.name).map(|_| ())
            }
        }
    };
    cx.send(BUSY, &id.name, send).await
}

fn pack(source: &Source, entry: Entry<'_>, path: &Path, has_layers: bool) -> Loaded {
    match source::package(source, entry) {
        Ok(package) => Loaded {
            derived: Tree::from([
                ("image".to_owned(), Value::Null),
                ("code_sha256".to_owned(), Value::String(package.code_sha256)),
                ("code_size".to_owned(), Value::Number(package.zip.len().into())),
            ]),
            artifact: Some(package.zip.into()),
            problems: package
                .problems
                .into_iter()
                .map(|it| Problem {
                    path: path.clone(),
                    hint: match has_layers {
                        true => format!("ignore this if a layer provides or wraps the handler; otherwise {}", it.hint),
                        false => it.hint,
                    },
                    warning: it.warning || has_layers,
                    ..it
                })
                .collect(),
        },
        Err(errors) => Loaded {
            problems: of_each_kind(errors)
                .into_iter()
                .map(|(error, n_more)| Problem {
                    path: match error {
                        SourceError::Pattern { .. } | SourceError::ExcludeFromArchive(_) => {
                            Path::property("code").key("exclude")
                        }
                        SourceError::Handler { .. } => Path::property("handler"),
                        _ => path.clone(),
                    },
                    problem: match n_more {
                        0 => error.to_string(),
                        n => format!("{error}, and {n} more like this"),
                    },
                    why: error.why().map(str::to_owned),
                    hint: error.hint().to_owned(),
                    warning: false,
                })
                .collect(),
            ..Loaded::default()
        },
    }
}

/// The first error of each variant and the number of others: in a wrong folder, each file can have
/// the same error. All pattern errors are kept, since each pattern is handwritten.
fn of_each_kind(errors: Vec<SourceError>) -> Vec<(SourceError, usize)> {
    let mut kinds: Vec<(SourceError, usize)> = Vec::new();
    for error in errors {
        let is_like = |it: &SourceError| discriminant(it) == discriminant(&error);
        match kinds.iter_mut().find(|(first, _)| is_like(first)) {
            Some((_, n_more)) if !matches!(error, SourceError::Pattern { .. }) => *n_more += 1,
            _ => kinds.push((error, 0)),
        }
    }
    kinds
}

/// The current function; `None` if it doesn't exist (yet).
async fn look(cx: &Context, id: &Id) -> Result<Option<Seen>, AwsError> {
    // GetFunction doesn't count against Lambda's 15 control-plane calls per second, unlike
    // GetFunctionConfiguration.
    let answer = cx.aws.lambda.get_function().function_name(&id.name).send().await.context("GetFunction", &id.name);
    Ok(answer.if_exists()?.and_then(Seen::of))
}

/// Waits until the function is active: for its create, and for an update that an earlier run
/// started.
async fn active(cx: &Context, id: &Id) -> Result<Seen, AwsError> {
    let tracker = ExistenceTracker::default();
    let probe = || async {
        let Some(seen) = tracker.note("GetFunction", id, look(cx, id).await?)? else { return Ok(None) };
        match condition(&seen.config) {
            Status::Failed(reason) => {
                let message = format!("Lambda couldn't create the function: {reason}");
                Err(AwsError::own(Class::Broken, "CreateFunction", &id.name, message))
            }
            Status::Stable => Ok(Some(seen)),
            _ => Ok(None),
        }
    };
    cx.until(ACTIVE, &id.name, probe).await
}

/// Waits until no create or update is in progress, and returns the function. Fails if it no longer
/// belongs to `owner` or this stack.
async fn idle(cx: &Context, id: &Id, owner: &Ownership) -> Result<Seen, AwsError> {
    let probe = || async {
        let Some(seen) = look(cx, id).await? else {
            return Err(AwsError::own(Class::Changed, "GetFunction", &id.name, "the function no longer exists"));
        };
        seen.still(owner, id)?;
        let busy = matches!(condition(&seen.config), Status::InTransition(_) | Status::Unreadable(_));
        Ok((!busy).then_some(seen))
    };
    cx.until(UPDATED, &id.name, probe).await
}

/// Waits until this run's update has succeeded.
async fn updated(cx: &Context, id: &Id, owner: &Ownership) -> Result<Seen, AwsError> {
    let seen = idle(cx, id, owner).await?;
    if seen.config.last_update_status() == Some(&LastUpdateStatus::Failed) {
        return Err(failed_update(id, &seen.config));
    }
    Ok(seen)
}

fn failed_update(id: &Id, config: &FunctionConfiguration) -> AwsError {
    let reason = reason(config.last_update_status_reason());
    let message = format!("Lambda couldn't update the function and still runs the previous version: {reason}");
    AwsError::own(Class::Broken, "UpdateFunction", &id.name, message)
}

fn outputs(config: &FunctionConfiguration) -> Outputs {
    [("arn", config.function_arn()), ("name", config.function_name())]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
        .collect()
}

fn condition(config: &FunctionConfiguration) -> Status {
    match (config.state(), config.last_update_status()) {
        (Some(State::Failed), _) => Status::Failed(reason(config.state_reason())),
        (Some(State::Deleting), _) => Status::Deleting,
        (None | Some(State::Active | State::Inactive), Some(status @ LastUpdateStatus::InProgress)) => {
            // Lambda shows the new values, and the old ones again if the update fails.
            Status::Unreadable(status.as_str().to_owned())
        }
        (None | Some(State::Active | State::Inactive), _) => Status::Stable,
        // This includes states unknown to engine.
        (Some(state), _) => Status::InTransition(state.as_str().to_owned()),
    }
}

fn notes(seen: &Seen) -> Vec<String> {
    let Seen { config, image, .. } = seen;
    let mut notes = Vec::new();
    if image.is_some() {
        let package_type = config.package_type().map_or("unknown", PackageType::as_str);
        notes.push(format!("its package type is {package_type}, which can't be changed to Zip"));
    }
    if config.state() == Some(&State::Inactive) {
        notes.push("it is inactive; Lambda activates it at the next invocation".to_owned());
    }
    if config.last_update_status() == Some(&LastUpdateStatus::Failed) {
        let reason = reason(config.last_update_status_reason());
        notes.push(format!("its last update failed, so Lambda still runs the previous version: {reason}"));
    }
    notes
}

fn reason(text: Option<&str>) -> String {
    text.unwrap_or("no reason given").to_owned()
}

/// Converts `2026-11-22T20:47:57.123+0000`, the time format of Lambda, to milliseconds since 1970.
fn milliseconds(text: &str) -> Option<i64> {
    let (rest, minutes) = text.split_at_checked(text.len().checked_sub(2)?)?;
    DateTime::from_str(&format!("{rest}:{minutes}"), Format::DateTimeWithOffset).ok()?.to_millis().ok()
}

/// A function's name in a name, a partial ARN or an ARN, without version or alias.
pub fn function_name(text: &str) -> String {
    operations::FUNCTION.bare_name(text)
}

/// The sources in `events` of a function that Lambda doesn't poll
/// (docs.aws.amazon.com/lambda/latest/dg/invocation-eventsourcemapping.html).
fn not_polled(declared: &ResourceDecl, spec: &Spec) -> Vec<Problem> {
    let Some(Value::Map(events)) = declared.desired.get(EVENTS) else { return Vec::new() };
    let sources = events.keys().filter_map(|source| spec.resource(source));
    let others = sources
        .filter(|it| !is_polled(&it.schema().kind) && spec.resource(&mapping_name(&it.name, declared)).is_none());
    let problem = |source: &ResourceDecl| {
        let path = Path::property(EVENTS).key(&source.name);
        let problem = format!("`{}` is a {}, which Lambda doesn't poll", source.name, source.schema().kind);
        let hint = format!(
            "for a service that invokes the function itself, add a permission instead: `type: permission`, `function: \
             ${{{}.arn}}`, `principal: events.amazonaws.com`",
            declared.name
        );
        Problem::error(path, problem, hint)
    };
    others.map(problem).collect()
}

/// Whether Lambda polls resources of a kind.
fn is_polled(kind: &str) -> bool {
    ["table", "queue"].contains(&kind)
}

/// The name of the mapping that a source in `events` implies.
fn mapping_name(source: &str, function: &ResourceDecl) -> String {
    format!("{source}-to-{}", function.name)
}

/// The mappings that `events` of a function implies. A source of another kind implies none, so that
/// it is a single error.
fn mappings(declared: &ResourceDecl, kind_of: &dyn Fn(&str) -> Option<Str>) -> Vec<Implied> {
    let Some(Value::Map(events)) = declared.desired.get(EVENTS) else { return Vec::new() };
    let implied = events.iter().filter_map(|(source, body)| {
        let Value::Map(body) = body else { return None };
        let kind = kind_of(source);
        if kind.as_deref().is_some_and(|kind| !is_polled(kind)) {
            return None;
        }
        let is_stream = kind.as_deref() != Some("queue");
        let output = if is_stream { "stream_arn" } else { "arn" };
        let mut properties = super::mapping::written(body, is_stream);
        properties.insert("function".to_owned(), Value::reference(&declared.name, "arn"));
        properties.insert("event_source_arn".to_owned(), Value::reference(source, output));
        Some(Implied {
            name: mapping_name(source, declared),
            kind: "mapping".into(),
            aws_name: None,
            properties,
            reference: None,
            path: Path::property(EVENTS).key(source),
        })
    });
    implied.collect()
}

/// A function's default log group
/// (docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs.html).
pub fn default_log_group(name: &str) -> String {
    format!("/aws/lambda/{name}")
}

/// A layer's ARN without its version: `arn:aws:lambda:region:account:layer:name`.
fn layer(arn: &str) -> Option<&str> {
    let (layer, version) = arn.rsplit_once(':')?;
    let [_, _, _, _, _, "layer", name] = layer.split(':').collect::<Vec<_>>()[..] else { return None };
    let numbered = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit());
    (super::text::is_arn(arn, "lambda") && !name.is_empty() && numbered).then_some(layer)
}

fn architectures(props: &Props) -> Vec<Architecture> {
    vec![Architecture::from(props.architecture.as_str())]
}

/// An empty map removes all variables; omitting the field would keep them.
fn environment(props: &Props) -> Environment {
    Environment::builder().set_variables(Some(props.environment.clone().into_iter().collect())).build()
}

fn ephemeral_storage(props: &Props) -> Result<EphemeralStorage, AwsError> {
    let storage = EphemeralStorage::builder().size(props.ephemeral_storage).build();
    storage.map_err(|error| AwsError::defect(format!("the size of /tmp can't be sent: {error}")))
}

fn tracing(props: &Props) -> TracingConfig {
    TracingConfig::builder().mode(TracingMode::from(props.tracing.as_str())).build()
}

/// All members, since AWS doesn't document whether it keeps omitted ones.
fn logging(props: &Props) -> LoggingConfig {
    LoggingConfig::builder()
        .log_format(LogFormat::from(props.log_format.as_str()))
        .log_group(&props.log_group)
        .set_application_log_level(props.application_log_level.as_deref().map(Into::into))
        .set_system_log_level(props.system_log_level.as_deref().map(Into::into))
        .build()
}

/// An empty target removes the current one.
fn dead_letter(props: &Props) -> DeadLetterConfig {
    DeadLetterConfig::builder().target_arn(props.dead_letter_target_arn.as_deref().unwrap_or_default()).build()
}

/// An empty ARN restores the key owned by AWS.
fn kms_key(props: &Props) -> String {
    props.kms_key_arn.clone().unwrap_or_default()
}

/// Longer timeouts for calls that upload code.
fn patient(cx: &Context) -> Override {
    aws_sdk_lambda::Config::builder().timeout_config(cx.aws.upload_timeouts.clone())
}

/// Disables the SDK's retries: a create is sent again only after a read shows that the first one
/// had no effect.
fn once(cx: &Context) -> Override {
    patient(cx).retry_config(RetryConfig::disabled())
}
