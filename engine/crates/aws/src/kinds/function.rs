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

mod archive;
pub(super) mod async_config;
mod build;
mod code;
mod details;
mod errors;
mod events;
pub mod javascript;
mod network;
pub(super) mod operations;
mod reference;
mod requests;
mod schema;
mod seen;
mod signing;
pub mod source;
mod update;
mod url;

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_lambda::types::{LastUpdateStatus, PackageType, Runtime};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::aws::error::{ErrorRow, is_too_large};
use crate::aws::trust::RoleDiagnosis;
use crate::aws::{AwsError, CallContext, Context, Existing, Wait, limits};
use crate::kind::Kind;
use crate::operation::Operation;
use crate::ownership::OwnershipVerdict;
use crate::schema::{Id, Live, Outputs, Owner, Problem, Reading, Schema, Status, Str, is_of_team};
use crate::spec::{ResourceDecl, Spec};
use crate::value::{Path, Tree, Value};
use async_config::AsyncConfig;
use engine_core::build::Built;
use engine_core::kind::{AccessLevel, Derived, Exported, ImpliedResource, Loaded, SpecFolder, Want};
use reference::{ContainerImage, SIGNING, SOURCE};
use requests::{architectures, dead_letter, environment, ephemeral_storage, kms_key, logging, once, tracing};
use seen::{FunctionRead, INSPECT, active, failed_update, read_function, updated};
use update::{Before, Update};

use super::{Delta, Input};

pub(in crate::kinds) use schema::KMS_KEY;

pub(super) struct Function;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Props {
    runtime: Option<String>,
    handler: Option<String>,
    role: String,
    access: Input,
    statements: Input,
    code: Json,
    build: Input,
    code_sha256: Option<String>,
    code_size: Option<i64>,
    code_source: Option<String>,
    image: Option<ContainerImage>,
    code_signing_config_arn: Option<String>,
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

/// The property that implies a log group.
const RETENTION: &str = "log_retention_in_days";

const BUSY: Wait = Wait {
    what: "an earlier change of the function to finish",
    reason: "Lambda allows one change at a time",
    inspect_cmd: INSPECT,
    limit: Some(limits::LAMBDA),
    budget: Duration::from_secs(300),
};

impl Kind for Function {
    type Props = Props;

    fn schema(&self) -> Schema {
        schema::schema()
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
        code::normalize(desired);
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
        problems.extend(schema::log_level_problems(desired));
        problems.extend(schema::layer_problems(desired));
        problems.extend(network::problems(desired));
        problems.extend(code::code_problem(desired));
        problems.extend(build::problems(desired));
        problems.extend(reference::problems(desired));
        problems.extend(schema::environment_problems(desired));
        problems.extend(super::role::check_statements(desired));
        problems
    }

    fn implies(&self, declared: &ResourceDecl, kind_of: &dyn Fn(&str) -> Option<Str>) -> Vec<ImpliedResource> {
        let role = (!declared.explicit.contains("role")).then(|| ImpliedResource {
            name: format!("{}-role", declared.name),
            kind: "role".into(),
            aws_name: None,
            properties: Tree::new(),
            reference: Some(("role".into(), "arn".into())),
            path: Path::default(),
        });
        let retention = declared.desired.get(RETENTION).filter(|days| **days != Value::Null);
        let logs = retention.filter(|_| !declared.explicit.contains("log_group")).map(|days| ImpliedResource {
            name: format!("{}-logs", declared.name),
            kind: "log_group".into(),
            aws_name: Some(default_log_group(&declared.id.name)),
            properties: Tree::from([("retention_in_days".to_owned(), days.clone())]),
            reference: Some(("log_group".into(), "name".into())),
            path: Path::property(RETENTION),
        });
        let mappings = events::mappings(declared, kind_of);
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
            problems.push(
                Problem::error(Path::property("statements"), problem, hint).inapplicable_with("statements", "role"),
            );
        }
        problems.extend(events::not_polled(declared, spec));
        problems.extend(async_config::fifo_targets(declared, spec));
        if declared.explicit.contains(RETENTION) && declared.explicit.contains("log_group") {
            let problem = format!("`{RETENTION}` and `log_group` can't be combined");
            let hint = "remove one of them; a declared log group has `retention_in_days` of its own";
            problems.push(Problem::error(Path::property(RETENTION), problem, hint).inapplicable());
        }
        Derived { problems, ..Derived::default() }
    }

    fn export(&self, live: &Tree) -> Exported {
        archive::exported(live)
    }

    async fn package(&self, cx: &Context, id: &Id) -> Result<Vec<u8>, AwsError> {
        archive::download(cx, id).await
    }

    fn load(&self, desired: &Tree, folder: &SpecFolder, built: Option<&Built>) -> Loaded {
        match (built, build::of(desired, folder)) {
            (None, Some(planned)) => build::unbuilt(planned, desired),
            (Some(Built::Package(zip)), _) => build::planned(zip),
            (Some(Built::Output(output)), Some(planned)) => code::load(desired, folder, Some((&planned.makes, output))),
            (_, None) => code::load(desired, folder, None),
        }
    }

    async fn read(&self, cx: &Context, id: &Id) -> Result<Reading<Props>, AwsError> {
        let (seen, details) = tokio::join!(read_function(cx, id), details::read(cx, id));
        let Some(seen) = seen? else { return Ok(None.into()) };
        let details = details::read_late(cx, id, details, seen.is_marked).await;
        let may_be_signed = seen.may_be_signed();
        let mut live = seen.live();
        details::add(&mut live, details)?;
        details::add_signing(cx, id, &mut live, may_be_signed).await?;
        Ok(Some(live).into())
    }

    async fn list_by_prefix(&self, cx: &Context, owner: &Owner) -> Result<Vec<Id>, AwsError> {
        let pages = cx.aws.lambda.list_functions().into_paginator().items().send();
        let functions = pages.collect::<Result<Vec<_>, _>>().await.context("ListFunctions", "")?;
        let names = functions.into_iter().filter_map(|it| it.function_name);
        Ok(names.filter(|name| is_of_team(name, &owner.team)).map(|name| super::scanned(owner, name)).collect())
    }

    async fn create(&self, cx: &Context, id: &Id, want: Want<Props>) -> Result<Outputs, AwsError> {
        let props = want.props;
        let zip = code::bytes(want.artifact.as_ref(), "CreateFunction", id).await?;
        let code = reference::request(&props.code, &zip);
        let inquiry = RoleDiagnosis::default();
        let defaults = super::with_defaults(self, id, &props)?;
        let beyond = Delta { from: &defaults, to: &props };
        let send = || async {
            let request = cx
                .aws
                .lambda
                .create_function()
                .function_name(&id.name)
                .set_runtime(props.runtime.as_deref().map(Runtime::from))
                .set_handler(props.handler.clone())
                .role(&props.role)
                .code(code.clone())
                .set_package_type(props.image.as_ref().map(|_| PackageType::Image))
                .set_image_config(requests::image_config_of_new(&props))
                .set_code_signing_config_arn(props.code_signing_config_arn.clone())
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
                .set_tags(Some(details::tags_of_new(id, &props)));
            let answer = request.customize().config_override(once(cx)).send().await.context("CreateFunction", &id.name);
            let answer = explained(cx, id, &inquiry, &props.role, answer).await?;
            Ok([("arn", answer.function_arn), ("name", answer.function_name)]
                .into_iter()
                .filter_map(|(name, value)| Some((name.to_owned(), value?)))
                .collect())
        };
        let find = || async {
            let live = read_function(cx, id).await?.map(FunctionRead::live);
            let Some(live) = live.filter(|live| live.status != Status::Deleting) else { return Ok(None) };
            if OwnershipVerdict::of(&live.owner, None, &id.owner) == OwnershipVerdict::Owned {
                super::ensure_matches("CreateFunction", id, &live.props.diff_from_wanted(&props))?;
                return Ok(Some(live.outputs));
            }
            Err(super::name_conflict("CreateFunction", id))
        };
        let mut outputs = cx.create(BUSY, &id.name, send, find).await?;
        if let Some(source) = &props.code_source {
            let seen = active(cx, id).await?;
            update::record(cx, id, (&outputs, source), seen.config.code_sha256()).await?;
        }
        if let Some(url) = &props.url {
            active(cx, id).await?;
            outputs.insert(url::URL.to_owned(), url::create(cx, id, url).await?);
        }
        Ok(outputs)
    }

    async fn update(&self, cx: &Context, id: &Id, have: Live<Props>, want: Want<Props>) -> Result<Outputs, AwsError> {
        let wanted = want.props;
        let change = Delta { from: &have.props, to: &wanted };
        let update = Update { cx, id, have: &have, change, artifact: want.artifact.as_ref() };
        let mut before = Before::Read(update.first_revision().await?);
        if super::must_tag(cx, id, &have.owner, &have.props.tags, &wanted.tags) {
            update.tag().await?;
            before = Before::Tagged;
        }
        if details::ensure_mark(cx, id, &have, &wanted).await? {
            before = Before::Tagged;
        }
        if have.props.code_signing_config_arn != wanted.code_signing_config_arn {
            signing::write(cx, id, wanted.code_signing_config_arn.as_deref()).await?;
            before = Before::Tagged;
        }
        let mut deployed = None;
        let mut calls = update::calls(&have.props, &wanted);
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
                    deployed = answer?.or(deployed);
                    before = Before::Updated;
                }
            }
        }
        if let (Some(sha256), Some(source)) = (deployed, &wanted.code_source) {
            updated(cx, id, &have.owner).await?;
            update::record(cx, id, (&have.outputs, source), Some(&sha256)).await?;
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
        let others = [Some(details::MARK), have.props.code_source.as_ref().map(|_| reference::TAG)];
        let others: Vec<&str> = others.into_iter().flatten().collect();
        super::untag(cx, BUSY, id, (&arn, &others)).await
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
        // Its URI is part of the code.
        let image = match (&self.image, rest.image) {
            (Some(image), Some(rest)) => Some(ContainerImage { uri: rest.uri, ..image.clone() }),
            (_, rest) => rest,
        };
        let with_the_rest = Props {
            code: rest.code,
            code_sha256: rest.code_sha256,
            code_size: rest.code_size,
            code_source: rest.code_source,
            image,
            code_signing_config_arn: rest.code_signing_config_arn,
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
    fn diff_from_wanted(&self, want: &Props) -> Vec<String> {
        let mut but = vec!["code", "code_size", SOURCE, SIGNING, async_config::ASYNC, url::URL, "tags"];
        // A spec doesn't know the hash of code that it refers to.
        if want.code_sha256.is_none() {
            but.push("code_sha256");
        }
        if self.reserved_concurrent_executions.is_none() {
            but.push("reserved_concurrent_executions");
        }
        let tags = (!super::has_tags(&self.tags, &want.tags)).then(|| "`tags`".to_owned());
        super::differing(self, want, &but).into_iter().chain(tags).collect()
    }

    /// Whether everything that UpdateFunctionCode sets is equal. Code that a spec refers to has no known
    /// hash, and other code no source.
    fn same_code(&self, other: &Props) -> bool {
        let is_same = |ours: &Option<String>, theirs: &Option<String>| theirs.is_none() || ours == theirs;
        let uri = |props: &Props| props.image.as_ref().map(|image| image.uri.clone());
        is_same(&self.code_sha256, &other.code_sha256)
            && is_same(&self.code_source, &other.code_source)
            && (uri(self), &self.architecture) == (uri(other), &other.architecture)
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

/// A function's name in a name, a partial ARN or an ARN, without version or alias.
pub fn function_name(text: &str) -> String {
    operations::FUNCTION.bare_name(text)
}

/// A function's default log group
/// (docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs.html).
pub fn default_log_group(name: &str) -> String {
    format!("/aws/lambda/{name}")
}
