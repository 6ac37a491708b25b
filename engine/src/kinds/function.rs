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

use std::collections::{BTreeMap, HashMap};
use std::path::Path as FilePath;
use std::time::Duration;

use aws_sdk_lambda::config::Builder as Override;
use aws_sdk_lambda::types::{Environment, FunctionCode, FunctionConfiguration, LastUpdateStatus, Runtime, State};
use aws_smithy_types::Blob;
use aws_smithy_types::retry::RetryConfig;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::aws::{AwsError, Class, Context, Named, Wait, upload_timeouts};
use crate::kind::{Kind, Loaded, Want};
use crate::schema::{
    Age, Condition, Id, Live, Naming, Origin, Output, Outputs, Ownership, Problem, Reading, Schema, Shape, Text,
    property,
};
use crate::source::{self, Source};
use crate::value::{Path, Tree, Value};

pub(super) struct Function;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Props {
    runtime: String,
    handler: String,
    role: String,
    #[serde(default)]
    code: Json,
    code_sha256: String,
    memory_size: i32,
    timeout: i32,
    environment: BTreeMap<String, String>,
    tags: BTreeMap<String, String>,
}

/// docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html
const NAME: Text = Text { min: 1, max: 64, allows: super::text::word, words: "letters, digits, `-` and `_`" };
const HANDLER: Text = Text {
    min: 1,
    max: 128,
    allows: |text| !text.contains(char::is_whitespace),
    words: "a file and an export without blanks, like `index.handler`",
};
/// docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html
const RUNTIMES: &[&str] = &[
    "nodejs20.x",
    "nodejs22.x",
    "nodejs24.x",
    "python3.10",
    "python3.11",
    "python3.12",
    "python3.13",
    "python3.14",
    "ruby3.2",
    "ruby3.3",
    "ruby3.4",
    "java11",
    "java17",
    "java21",
    "java25",
    "dotnet8",
    "dotnet10",
    "provided.al2",
    "provided.al2023",
];
const VARIABLE: Text = Text {
    min: 2,
    max: 256,
    allows: |text| {
        text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    },
    words: "letters, digits and `_`, beginning with a letter, at least two characters",
};
/// All variables of a function together (docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html).
const ENVIRONMENT_BYTES: usize = 4096;
/// Set by Lambda itself; a function can't redefine them (same page).
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

const BUSY: Wait =
    Wait { what: "an earlier change of the function to finish", counted: true, budget: Duration::from_secs(300) };
const ACTIVE: Wait = Wait { what: "the function to become Active", counted: false, budget: Duration::from_secs(600) };
const UPDATED: Wait =
    Wait { what: "the function's update to finish", counted: false, budget: Duration::from_secs(600) };

impl Kind for Function {
    type Props = Props;

    fn schema(&self) -> Schema {
        let exclude = Shape::List { item: Box::new(Shape::Text(Text::any(1024))), max: 1000 };
        let code = vec![
            property(
                "inline",
                Shape::Text(Text { min: 1, ..Text::any(4_000_000) }),
                "the source itself, taken literally",
            )
            .literal()
            .sensitive(),
            property("path", Shape::Text(Text { min: 1, ..Text::any(4096) }), "a folder or file, relative to the spec")
                .literal(),
            property("exclude", exclude, "patterns of files in the folder to leave out").literal(),
        ];
        let variables =
            Shape::Map { key: VARIABLE, value: Box::new(Shape::Text(Text::any(ENVIRONMENT_BYTES))), max: 1000 };
        Schema {
            kind: "function",
            summary: "a Lambda function from local source",
            source: "https://docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html",
            naming: Naming::Own { text: NAME },
            managed: true,
            importable: true,
            adoptable: false,
            holds_data: false,
            locked: None,
            leaves: Some(|name| format!("its log group /aws/lambda/{name} stays")),
            renewal: None,
            index: Some("lambda:function"),
            properties: vec![
                property("runtime", Shape::Choice(RUNTIMES), "the language and its version").required().literal(),
                property("handler", Shape::Text(HANDLER), "file and export that Lambda calls").required().literal(),
                property(
                    "role",
                    Shape::Link { to: &[("role", "arn")], literal: Some(super::text::ROLE_ARN) },
                    "the role that the function runs with",
                )
                .required(),
                property(
                    "code",
                    Shape::TextOrRecord(Text { min: 1, ..Text::any(4096) }, code),
                    "a folder or file relative to the spec, or `inline:` source",
                )
                .required()
                .literal()
                .local(),
                property("code_sha256", Shape::Text(Text::any(64)), "the hash of the packed source").derived(),
                property("memory_size", Shape::Integer { min: 128, max: 10240 }, "memory in MB").default(128),
                property("timeout", Shape::Integer { min: 1, max: 900 }, "seconds until an invocation is ended")
                    .default(3),
                property("environment", variables, "variables for the code, 4 KB in all")
                    .default(json!({}))
                    .sensitive(),
                super::tags(),
            ],
            outputs: vec![
                Output {
                    name: "arn",
                    doc: "the function's ARN",
                    origin: Origin::Computed(|site, name| {
                        format!("arn:{}:lambda:{}:{}:function:{name}", site.partition, site.region, site.account)
                    }),
                },
                Output {
                    name: "name",
                    doc: "the function's name",
                    origin: Origin::Computed(|_, name| name.to_owned()),
                },
            ],
        }
    }

    fn check(&self, desired: &Tree) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let Some(Value::Map(code)) = desired.get("code") {
            let has = |name: &str| !matches!(code.get(name), None | Some(Value::Null));
            // A key that is there without a value was written wrong, which is reported already.
            let known = code.contains_key("inline") && code.contains_key("path");
            if known && has("inline") == has("path") {
                let problem = "`code` needs either `inline` or `path`";
                let hint = "write `code: folder`, or `code:` with `inline: |` and the source below it";
                problems.push(Problem::error(Path::property("code"), problem, hint));
            } else if has("inline") && has("exclude") {
                let path = Path::property("code").key("exclude");
                problems.push(Problem::error(path, "`exclude` has no meaning with `inline`", "remove `exclude`"));
            }
        }
        if let Some(Value::Map(variables)) = desired.get("environment") {
            let path = Path::property("environment");
            for name in variables.keys().filter(|name| RESERVED.contains(&name.as_str())) {
                let problem = format!("the variable `{name}` is set by Lambda itself");
                problems.push(Problem::error(path.key(name), problem, "choose another name"));
            }
            let bytes: usize =
                variables.iter().map(|(name, value)| name.len() + value.as_str().map_or(0, str::len)).sum();
            if bytes > ENVIRONMENT_BYTES {
                let problem = format!("the environment has {bytes} bytes, {ENVIRONMENT_BYTES} are allowed");
                problems.push(Problem::error(path, problem, "keep large values in a file of the source, or elsewhere"));
            }
        }
        problems
    }

    fn load(&self, desired: &Tree, dir: &FilePath) -> Loaded {
        let text = |name: &str| desired.get(name).and_then(Value::as_str);
        let (Some(handler), Some(runtime)) = (text("handler"), text("runtime")) else { return Loaded::default() };
        let (source, path) = match desired.get("code") {
            Some(Value::String(path)) => {
                (Source::Path { path: dir.join(path), exclude: Vec::new() }, Path::property("code"))
            }
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
                    (Source::Path { path: dir.join(path), exclude }, Path::property("code").key("path"))
                }
                _ => return Loaded::default(),
            },
            _ => return Loaded::default(),
        };
        pack(&source, handler, runtime, &path)
    }

    async fn read(&self, cx: &Context, id: &Id) -> Result<Reading<Props>, AwsError> {
        let answer =
            match cx.aws.lambda.get_function().function_name(&id.name).send().await.named("GetFunction", &id.name) {
                Err(error) if error.class == Class::NotFound => return Ok(None.into()),
                answer => answer?,
            };
        let Some(config) = answer.configuration else { return Ok(None.into()) };
        let tags = answer.tags.unwrap_or_default();
        let pairs = || tags.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        // Without the right to list tags the answer simply has none, and newer answers say so.
        let owner = if answer.tags_error.is_some() { Ownership::Denied } else { Ownership::from_tags(pairs()) };
        let live = Live {
            outputs: outputs(&config),
            condition: condition(&config),
            owner,
            incarnation: None,
            age: Age::default(),
            notes: Vec::new(),
            props: props(config, super::own_tags(pairs())),
        };
        Ok(Some(live).into())
    }

    async fn create(&self, cx: &Context, id: &Id, want: Want<Props>) -> Result<Outputs, AwsError> {
        let _turn = cx.turn(&id.name).await;
        let zip = Blob::new(want.artifact.as_deref().unwrap_or_default());
        let props = want.props;
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
                .memory_size(props.memory_size)
                .timeout(props.timeout)
                .environment(environment(&props))
                .set_tags(Some(super::all_tags(&id.owner, &props.tags)));
            let answer = request.customize().config_override(once()).send().await.named("CreateFunction", &id.name)?;
            Ok([("arn", answer.function_arn), ("name", answer.function_name)]
                .into_iter()
                .filter_map(|(name, value)| Some((name.to_owned(), value?)))
                .collect())
        };
        let find = || async {
            let Some(live) = self.read(cx, id).await?.live else { return Ok(None) };
            if live.owner == Ownership::Engine(id.owner.clone()) {
                return Ok(Some(live.outputs));
            }
            Err(super::taken("CreateFunction", id))
        };
        cx.create(BUSY, &id.name, send, find).await
    }

    async fn update(&self, cx: &Context, id: &Id, have: Live<Props>, want: Want<Props>) -> Result<Outputs, AwsError> {
        let _turn = cx.turn(&id.name).await;
        let (zip, wanted) = (want.artifact, want.props);
        let arn = have.outputs.get("arn").cloned().unwrap_or_default();
        // A fresh or half-updated function refuses every change; one whose last update failed takes the next.
        let mut lock = idle(cx, id).await?;
        if super::must_tag(cx, id, &have.owner, &have.props.tags, &wanted.tags) {
            let tag = || async {
                let tags = HashMap::from_iter(super::all_tags(&id.owner, &wanted.tags));
                let request = cx.aws.lambda.tag_resource().resource(&arn).set_tags(Some(tags));
                request.send().await.named("TagResource", &id.name)
            };
            cx.send(BUSY, &id.name, tag).await?;
            lock = idle(cx, id).await?;
        }
        let mut revision = lock.revision_id.clone();
        let seen = props(lock, BTreeMap::new());
        if !seen.same_configuration(&have.props) || seen.code_sha256 != have.props.code_sha256 {
            let message = "changed meanwhile, while it was being waited for";
            return Err(AwsError::own(Class::Changed, "update", &id.name, message));
        }
        if !have.props.same_configuration(&wanted) {
            let configure = || async {
                let request = cx
                    .aws
                    .lambda
                    .update_function_configuration()
                    .function_name(&id.name)
                    .runtime(Runtime::from(wanted.runtime.as_str()))
                    .handler(&wanted.handler)
                    .role(&wanted.role)
                    .memory_size(wanted.memory_size)
                    .timeout(wanted.timeout)
                    // An empty map clears the variables; leaving the field out would keep them.
                    .environment(environment(&wanted))
                    .set_revision_id(revision.clone());
                request.send().await.named("UpdateFunctionConfiguration", &id.name)
            };
            cx.send(BUSY, &id.name, configure).await?;
            // Until LastUpdateStatus is Successful, the next call would be refused; then the lock has moved as well.
            revision = updated(cx, id).await?.revision_id;
        }
        if have.props.code_sha256 != wanted.code_sha256 {
            let zip = Blob::new(zip.as_deref().unwrap_or_default());
            let upload = || async {
                let request = cx.aws.lambda.update_function_code().function_name(&id.name).zip_file(zip.clone());
                let request = request.set_revision_id(revision.clone()).customize().config_override(patient());
                request.send().await.named("UpdateFunctionCode", &id.name)
            };
            cx.send(BUSY, &id.name, upload).await?;
            updated(cx, id).await?;
        }
        Ok(have.outputs)
    }

    async fn settle(&self, cx: &Context, id: &Id, want: &Props, _outputs: &Outputs) -> Result<(), AwsError> {
        // A create and an update that an earlier run began are both waited for.
        let probe = || async {
            let Some(config) = configuration(cx, id).await? else { return Ok(None) };
            match config.state() {
                Some(State::Failed) => {
                    let reason = config.state_reason().unwrap_or("no reason given");
                    let message = format!("Lambda could not make the function: {reason}");
                    Err(AwsError::own(Class::Rejected, "CreateFunction", &id.name, message))
                }
                _ if config.last_update_status() == Some(&LastUpdateStatus::InProgress) => Ok(None),
                Some(State::Active | State::Inactive) | None => Ok(Some(config)),
                Some(_) => Ok(None),
            }
        };
        let config = cx.until(ACTIVE, &id.name, probe).await?;
        if config.last_update_status() != Some(&LastUpdateStatus::Failed) {
            return Ok(());
        }
        // A failed update is taken back; one that an earlier run began may have been shown as done until then.
        let failure = failed_update(id, &config);
        let now = props(config, BTreeMap::new());
        let as_wanted = now.same_configuration(want) && now.code_sha256 == want.code_sha256;
        if as_wanted { Ok(()) } else { Err(failure) }
    }

    async fn delete(&self, cx: &Context, id: &Id, _have: Live<Props>) -> Result<(), AwsError> {
        let _turn = cx.turn(&id.name).await;
        let delete = || async {
            match cx.aws.lambda.delete_function().function_name(&id.name).send().await.named("DeleteFunction", &id.name)
            {
                Err(error) if error.class == Class::NotFound => Ok(()),
                answer => answer.map(|_| ()),
            }
        };
        cx.send(BUSY, &id.name, delete).await
    }
}

impl Props {
    /// Whether everything that UpdateFunctionConfiguration sets is the same.
    fn same_configuration(&self, other: &Props) -> bool {
        (&self.runtime, &self.handler, &self.role, self.memory_size, self.timeout, &self.environment)
            == (&other.runtime, &other.handler, &other.role, other.memory_size, other.timeout, &other.environment)
    }
}

fn pack(source: &Source, handler: &str, runtime: &str, path: &Path) -> Loaded {
    match source::package(source, handler, runtime) {
        Ok(package) => Loaded {
            derived: Tree::from([("code_sha256".to_owned(), Value::String(package.code_sha256))]),
            artifact: Some(package.zip.into()),
            problems: package
                .findings
                .into_iter()
                .map(|finding| Problem {
                    path: path.clone(),
                    problem: finding.problem,
                    why: Some(finding.why),
                    hint: Some(finding.hint),
                    warning: true,
                })
                .collect(),
        },
        Err(errors) => Loaded {
            problems: errors
                .into_iter()
                .map(|error| Problem {
                    path: path.clone(),
                    problem: error.to_string(),
                    why: error.why().map(str::to_owned),
                    hint: Some(error.hint().to_owned()),
                    warning: false,
                })
                .collect(),
            ..Loaded::default()
        },
    }
}

async fn configuration(cx: &Context, id: &Id) -> Result<Option<FunctionConfiguration>, AwsError> {
    // GetFunction, not GetFunctionConfiguration: only the latter counts against Lambda's 15 calls a second.
    match cx.aws.lambda.get_function().function_name(&id.name).send().await.named("GetFunction", &id.name) {
        Ok(answer) => Ok(answer.configuration),
        // Right after the create, not found means "not yet".
        Err(error) if error.class == Class::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Waits until no create or update is under way, and returns what the function looks like then.
async fn idle(cx: &Context, id: &Id) -> Result<FunctionConfiguration, AwsError> {
    let probe = || async {
        let Some(config) = configuration(cx, id).await? else {
            return Err(AwsError::own(Class::Changed, "GetFunction", &id.name, "the function is gone"));
        };
        let busy = config.last_update_status() == Some(&LastUpdateStatus::InProgress)
            || config.state() == Some(&State::Pending);
        Ok((!busy).then_some(config))
    };
    cx.until(UPDATED, &id.name, probe).await
}

/// Waits until our own update is over, and has succeeded.
async fn updated(cx: &Context, id: &Id) -> Result<FunctionConfiguration, AwsError> {
    let config = idle(cx, id).await?;
    if config.last_update_status() == Some(&LastUpdateStatus::Failed) {
        return Err(failed_update(id, &config));
    }
    Ok(config)
}

fn failed_update(id: &Id, config: &FunctionConfiguration) -> AwsError {
    let reason = config.last_update_status_reason().unwrap_or("no reason given");
    let message = format!("Lambda could not update the function, and runs it as it was before: {reason}");
    AwsError::own(Class::Rejected, "UpdateFunction", &id.name, message)
}

fn props(config: FunctionConfiguration, tags: BTreeMap<String, String>) -> Props {
    let variables = config.environment.and_then(|environment| environment.variables).unwrap_or_default();
    Props {
        runtime: config.runtime.map_or_else(String::new, |runtime| runtime.as_str().to_owned()),
        handler: config.handler.unwrap_or_default(),
        role: config.role.unwrap_or_default(),
        code: Json::Null,
        code_sha256: config.code_sha256.unwrap_or_default(),
        memory_size: config.memory_size.unwrap_or(128),
        timeout: config.timeout.unwrap_or(3),
        environment: variables.into_iter().collect(),
        tags,
    }
}

fn outputs(config: &FunctionConfiguration) -> Outputs {
    [("arn", config.function_arn()), ("name", config.function_name())]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
        .collect()
}

fn condition(config: &FunctionConfiguration) -> Condition {
    match (config.state(), config.last_update_status()) {
        (Some(State::Failed), _) => Condition::Broken(config.state_reason().unwrap_or("no reason given").to_owned()),
        (Some(state @ State::Pending), _) => Condition::Changing(state.as_str().to_owned()),
        (_, Some(status @ LastUpdateStatus::InProgress)) => Condition::Changing(status.as_str().to_owned()),
        _ => Condition::Settled,
    }
}

fn environment(props: &Props) -> Environment {
    Environment::builder().set_variables(Some(props.environment.clone().into_iter().collect())).build()
}

/// For calls that carry code, which take their time.
fn patient() -> Override {
    aws_sdk_lambda::Config::builder().timeout_config(upload_timeouts())
}

/// A create is sent once; whether to send it again is decided after a look at what it made.
fn once() -> Override {
    patient().retry_config(RetryConfig::disabled())
}
