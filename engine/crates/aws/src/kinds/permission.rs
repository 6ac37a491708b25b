//! `permission`: a statement in a function's resource policy that allows a service or account to
//! invoke it.
//!
//! A mapping of a stream doesn't need one, because Lambda polls the stream with the function's
//! role. A spec can still declare one; it has no effect.
//!
//! ```yaml
//! team: blue-owls
//! resources:
//!   execution-role: { type: role, import: fhms-pulumi-challenge-lambda-execution-role }
//!   logger:
//!     type: function
//!     runtime: nodejs22.x
//!     handler: index.handler
//!     role: ${execution-role.arn}
//!     code: { inline: "exports.handler = async () => {};" }
//!   logger-permission:
//!     type: permission
//!     function: ${logger.arn}
//!     principal: dynamodb.amazonaws.com
//! ```

mod errors;
pub(super) mod operations;

use std::sync::LazyLock;
use std::time::Duration;

use aws_sdk_lambda::config::Builder as Override;
use aws_sdk_lambda::types::FunctionUrlAuthType;
use aws_smithy_types::retry::RetryConfig;
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::ExistenceTracker;
use crate::aws::error::ErrorRow;
use crate::aws::{AwsError, CallContext, Code, Context, Existing, Wait, limits, trust};
use crate::diagnostic::nearest;
use crate::kind::Kind;
use crate::operation::Operation;
use crate::schema::{
    Disruption, Effect, Id, Identity, Live, Output, Outputs, Owner, Ownership, PARTITIONS, Problem, Reading, Schema,
    Shape, Status, Tagging, Text, Timestamps, is_of_team, property,
};
use crate::value::{Path, Tree, Value};
use engine_core::kind::Want;

pub(super) struct Permission;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Props {
    function: String,
    qualifier: Option<String>,
    statement_id: String,
    action: String,
    principal: String,
    source_arn: Option<String>,
    source_account: Option<String>,
    principal_org_id: Option<String>,
    function_url_auth_type: Option<String>,
    invoked_via_function_url: bool,
    other_conditions: Option<String>,
}

/// docs.aws.amazon.com/lambda/latest/api/API_AddPermission.html
static STATEMENT: LazyLock<Text> =
    LazyLock::new(|| Text::new(1..=100, "letters, digits, `-` and `_`", super::text::is_word));
/// docs.aws.amazon.com/lambda/latest/api/API_AddPermission.html; Lambda has no policy for `$LATEST`.
static QUALIFIER: LazyLock<Text> =
    LazyLock::new(|| Text::new(1..=128, "an alias, or the number of a version", super::text::is_word));
static ACTION: LazyLock<Text> = LazyLock::new(|| {
    Text::new(1..=256, "`lambda:` and an operation, like `lambda:InvokeFunction`", |text| {
        text == "*"
            || text
                .strip_prefix("lambda:")
                .is_some_and(|verb| verb == "*" || verb.bytes().all(|b| b.is_ascii_alphabetic()))
    })
});
static PRINCIPAL: LazyLock<Text> = LazyLock::new(|| {
    Text::new(1..=2048, "a service (`dynamodb.amazonaws.com`), a 12-digit account ID, an ARN or `*`", |text| {
        let number = text.bytes().all(|byte| byte.is_ascii_digit());
        !text.contains(char::is_whitespace) && (!number || text.len() == 12)
    })
});
static ACCOUNT: LazyLock<Text> =
    LazyLock::new(|| Text::new(12..=12, "12 digits", |text| text.bytes().all(|byte| byte.is_ascii_digit())));
static ORGANIZATION: LazyLock<Text> = LazyLock::new(|| {
    Text::new(12..=34, "an organization ID, like `o-a1b2c3d4e5`", |text| {
        let id = text.strip_prefix("o-");
        id.is_some_and(|id| id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()))
    })
});
/// Operations on a function that a permission can allow
/// (docs.aws.amazon.com/service-authorization/latest/reference/list_awslambda.html).
const OPERATIONS: &[&str] = &[
    "AddPermission",
    "CreateAlias",
    "CreateFunctionUrlConfig",
    "DeleteAlias",
    "DeleteFunction",
    "DeleteFunctionCodeSigningConfig",
    "DeleteFunctionConcurrency",
    "DeleteFunctionEventInvokeConfig",
    "DeleteFunctionUrlConfig",
    "DeleteProvisionedConcurrencyConfig",
    "DisableReplication",
    "EnableReplication",
    "GetAlias",
    "GetFunction",
    "GetFunctionCodeSigningConfig",
    "GetFunctionConcurrency",
    "GetFunctionConfiguration",
    "GetFunctionEventInvokeConfig",
    "GetFunctionRecursionConfig",
    "GetFunctionScalingConfig",
    "GetFunctionUrlConfig",
    "GetPolicy",
    "GetProvisionedConcurrencyConfig",
    "GetRuntimeManagementConfig",
    "InvokeAsync",
    "InvokeFunction",
    "InvokeFunctionUrl",
    "ListAliases",
    "ListFunctionEventInvokeConfigs",
    "ListFunctionUrlConfigs",
    "ListProvisionedConcurrencyConfigs",
    "ListTags",
    "ListVersionsByFunction",
    "PublishVersion",
    "PutFunctionCodeSigningConfig",
    "PutFunctionConcurrency",
    "PutFunctionEventInvokeConfig",
    "PutFunctionRecursionConfig",
    "PutFunctionScalingConfig",
    "PutProvisionedConcurrencyConfig",
    "PutRuntimeManagementConfig",
    "RemovePermission",
    "TagResource",
    "UntagResource",
    "UpdateAlias",
    "UpdateFunctionCode",
    "UpdateFunctionConfiguration",
    "UpdateFunctionEventInvokeConfig",
    "UpdateFunctionUrlConfig",
];

/// docs.aws.amazon.com/lambda/latest/dg/urls-auth.html
const VIA_URL: &str = "lambda:InvokedViaFunctionUrl";

const BUSY: Wait = Wait {
    what: "an earlier change of the function to finish",
    reason: "Lambda allows one change at a time",
    inspect_cmd: "",
    limit: Some(limits::LAMBDA),
    budget: Duration::from_secs(300),
};

/// docs.aws.amazon.com/lambda/latest/dg/with-ddb.html, section "Execution role permissions"
const REMARK: &str = "A permission is for services and accounts that invoke a function directly, like S3, SNS or \
    EventBridge. DynamoDB doesn't: Lambda polls the stream with the function's execution role, so events depend on the \
    mapping and on the permissions of that role. The example spec contains a permission for `dynamodb.amazonaws.com` because \
    its task requires one; it has no effect, and you can remove it. If no events arrive, see \
    `engine explain stream-not-readable` and run `engine verify`.

With `qualifier`, the statement is about that alias or version, which engine doesn't create. AWS keeps a policy for each. \
    If the declared one lacks the statement, engine looks for it in those of the function and its aliases, so a changed or \
    removed `qualifier` leaves nothing behind. When the whole permission is removed, `engine apply` and \
    `engine diff --prune-scan` find its statement on an alias, but not on a version, and not in a spec with more than 20 \
    functions.";

impl Kind for Permission {
    type Props = Props;

    fn schema(&self) -> Schema {
        Schema {
            kind: "permission".into(),
            summary: "a statement in a function's resource-based policy that allows a service or account to invoke it"
                .into(),
            remark: REMARK.into(),
            source: "https://docs.aws.amazon.com/lambda/latest/api/API_AddPermission.html".into(),
            identity: Identity::Nested { key: "statement_id".into(), text: STATEMENT.clone() },
            managed: true,
            importable: false,
            adoptable: true,
            holds_data: false,
            delete_block: None,
            retained_on_delete: None,
            disruption: Some(Disruption {
                deleted: "its principal loses permission to invoke the function".into(),
                replaced: "its principal has no permission to invoke the function until it is re-created".into(),
            }),
            recreate_note: None,
            arn: None,
            tagging: Tagging::Inherited,
            properties: vec![
                property(
                    "function",
                    Shape::link([("function", "arn"), ("function", "name")], None),
                    "the function to allow access to",
                )
                .member("FunctionName")
                .required()
                .parent()
                .write_only()
                .needs_created(),
                property(
                    "qualifier",
                    Shape::Text(QUALIFIER.clone()),
                    "alias or version to allow access to; it must exist; if omitted, the function without a qualifier",
                )
                .no_references()
                .identity()
                .on_change(Effect::Replace),
                property(
                    "statement_id",
                    Shape::Text(STATEMENT.clone()),
                    "ID of the statement in the policy; defaults to TEAM-RESOURCE",
                )
                .no_references()
                .write_only(),
                property("action", Shape::Text(ACTION.clone()), "the action to allow")
                    .default("lambda:InvokeFunction")
                    .on_change(Effect::Replace),
                property("principal", Shape::Text(PRINCIPAL.clone()), "the service or account to allow")
                    .required()
                    .on_change(Effect::Replace),
                property(
                    "source_arn",
                    Shape::link(
                        [("table", "stream_arn"), ("table", "arn"), ("function", "arn"), ("role", "arn")],
                        Some(&super::text::ARN),
                    ),
                    "ARN of the resource that invokes the function; if omitted, any resource is allowed",
                )
                .on_change(Effect::Replace)
                .needs_created(),
                property(
                    "source_account",
                    Shape::Text(ACCOUNT.clone()),
                    "account of the invoking resource; if omitted, any account is allowed",
                )
                .on_change(Effect::Replace),
                property(
                    "principal_org_id",
                    Shape::Text(ORGANIZATION.clone()),
                    "organization of the principal; if omitted, any organization is allowed",
                )
                .on_change(Effect::Replace),
                property(
                    "function_url_auth_type",
                    super::open(&["AWS_IAM", "NONE"]),
                    "authentication of the function URL; only with `lambda:InvokeFunctionUrl`; if omitted, any",
                )
                .on_change(Effect::Replace),
                property("invoked_via_function_url", Shape::Bool, "allow invocations only through the function URL")
                    .default(false)
                    .on_change(Effect::Replace),
                property("other_conditions", Shape::Text(Text::any(20_480)), "other elements of the statement")
                    .derived()
                    .on_change(Effect::Replace),
            ],
            outputs: vec![Output::computed(
                "statement_id",
                "the ID of the statement in the function's policy",
                |_, name| name.to_owned(),
            )],
        }
    }

    fn normalize(&self, id: &Id, desired: &mut Tree) {
        desired.insert("statement_id".to_owned(), Value::String(id.name.clone()));
        // engine never adds other elements.
        desired.insert("other_conditions".to_owned(), Value::Null);
    }

    /// Lambda can lose statements that are added concurrently.
    fn write_key<'a>(&self, id: &'a Id) -> Option<&'a str> {
        Some(id.parent("function"))
    }

    fn check(&self, desired: &Tree) -> Vec<Problem> {
        // AWS returns an account ID as its root ARN, so reads can't distinguish the two.
        let principal = desired.get("principal").and_then(Value::as_str).and_then(account_of_root);
        let problem = |account| {
            let problem = "use the account ID instead of the ARN of the account's root".to_owned();
            Problem::error(Path::property("principal"), problem, format!("write `principal: \"{account}\"`"))
        };
        let mut problems: Vec<Problem> = principal.map(problem).into_iter().collect();
        let text = |name: &str| desired.get(name).and_then(Value::as_str);
        problems.extend(text("principal").and_then(service));
        problems.extend(url_problem(text("action"), text("function_url_auth_type")));
        let is_open = |name: &str| desired.get(name) == Some(&Value::Null);
        let is_via_url = desired.get("invoked_via_function_url") == Some(&Value::Bool(true));
        if text("principal") == Some("*")
            && !is_via_url
            && is_open("function_url_auth_type")
            && ["source_arn", "source_account", "principal_org_id"].iter().all(|it| is_open(it))
        {
            let problem = "anyone in any AWS account can invoke the function: `principal` is `*` without restrictions";
            let hint = "add `source_arn`, `source_account` or `principal_org_id`, or set a specific principal";
            problems.push(Problem::warning(Path::property("principal"), problem, hint));
        }
        if let Some(operation) = text("action").and_then(|action| action.strip_prefix("lambda:"))
            && operation != "*"
            && !OPERATIONS.contains(&operation)
        {
            let problem = format!("`lambda:{operation}` is not a known operation on a function");
            let hint = match nearest(operation, OPERATIONS.iter().copied()) {
                Some(_) if operation == "Invoke" => "did you mean `lambda:InvokeFunction`?".to_owned(),
                Some(near) => format!("did you mean `lambda:{near}`?"),
                None => "to allow invocations, use `lambda:InvokeFunction`".to_owned(),
            };
            problems.push(Problem::warning(Path::property("action"), problem, hint));
        }
        problems
    }

    async fn read(&self, cx: &Context, id: &Id) -> Result<Reading<Props>, AwsError> {
        let mut reading = Reading::from(None);
        add(&mut reading, id, statements_of(cx, id, qualifier(id)).await?);
        Ok(reading)
    }

    /// The spec may have had another qualifier, or none, when the statement was created.
    async fn read_elsewhere(&self, cx: &Context, id: &Id) -> Result<Reading<Props>, AwsError> {
        let (mut reading, declared) = (Reading::from(None), qualifier(id));
        let aliases = super::readable(aliases(cx, id.parent("function")).await)?.unwrap_or_default();
        let others = aliases.iter().map(|name| Some(name.as_str())).chain([None]).filter(|it| *it != declared);
        for statements in try_join_all(others.map(|other| statements_of(cx, id, other))).await? {
            add(&mut reading, id, statements);
        }
        Ok(reading)
    }

    async fn create(&self, cx: &Context, id: &Id, want: Want<Props>) -> Result<Outputs, AwsError> {
        let (function, tracker) = (id.parent("function"), ExistenceTracker::default());
        let url_auth_type = want.props.function_url_auth_type.as_deref().map(FunctionUrlAuthType::from);
        let add = || async {
            let request = cx
                .aws
                .lambda
                .add_permission()
                .function_name(function)
                .statement_id(&id.name)
                .action(&want.props.action)
                .principal(&want.props.principal)
                .set_source_arn(want.props.source_arn.clone())
                .set_source_account(want.props.source_account.clone())
                .set_principal_org_id(want.props.principal_org_id.clone())
                .set_function_url_auth_type(url_auth_type.clone())
                .set_invoked_via_function_url(want.props.invoked_via_function_url.then_some(true))
                .set_qualifier(want.props.qualifier.clone());
            match request.customize().config_override(once()).send().await.context("AddPermission", &id.name) {
                // engine creates neither aliases nor versions, so it has no reason to wait for one.
                Err(error) if error.is(Code::NotFound) && want.props.qualifier.is_some() => {
                    let reason = Some("the function has no such alias or version, and engine creates none".into());
                    Err(AwsError { cause: Code::Rejected, is_final: true, reason, ..error })
                }
                Err(error) if error.is(Code::NotFound) => Err(tracker.of_function(cx, function, error).await),
                // Only a user or role that was just created can become known later, not a service.
                Err(error) if error.is(Code::PrincipalUnknown) && !want.props.principal.contains(":iam::") => {
                    Err(AwsError { is_final: true, ..error })
                }
                Err(error) if error.is(Code::PrincipalUnknown) => match self.precheck(cx, id, &want.props).await {
                    Err(certain) => Err(AwsError { is_final: true, reason: certain.reason, ..error }),
                    Ok(()) => Err(error),
                },
                answer => answer.map(|_| ()),
            }
        };
        let find = || async {
            let Some(live) = self.read(cx, id).await?.live else { return Ok(None) };
            super::ensure_matches("AddPermission", id, &live.props.diff_from_wanted(&want.props))?;
            Ok(Some(()))
        };
        cx.create(BUSY, &id.name, add, find).await?;
        Ok(outputs(&id.name))
    }

    async fn update(&self, _: &Context, id: &Id, have: Live<Props>, want: Want<Props>) -> Result<Outputs, AwsError> {
        // A permission has no tags; it is adopted together with its function.
        if have.props.same_statement(&want.props) {
            return Ok(outputs(&id.name));
        }
        Err(AwsError::defect("a permission can't be changed, only replaced".to_owned()))
    }

    /// Statement IDs are unique, so the old statement must be deleted first.
    async fn precheck(&self, cx: &Context, id: &Id, want: &Props) -> Result<(), AwsError> {
        let account = id.env.as_ref().map(|env| env.account.as_str());
        trust::check_principal(cx, &want.principal, account, "AddPermission", &id.name).await
    }

    async fn put_back(&self, cx: &Context, id: &Id, was: Live<Props>) -> Result<bool, AwsError> {
        if was.props.other_conditions.is_some() {
            let message = "AddPermission doesn't support all elements of the old statement";
            return Err(AwsError::refused(Code::UnexpectedAnswer, "AddPermission", &id.name, message));
        }
        self.create(cx, id, Want { props: was.props, artifact: None }).await?;
        Ok(true)
    }

    async fn wait_ready(&self, _: &Context, _: &Id, _: &Props, _: &[&str], _: &Outputs) -> Result<(), AwsError> {
        Ok(())
    }

    async fn delete(&self, cx: &Context, id: &Id, have: Live<Props>) -> Result<(), AwsError> {
        let function = id.parent("function");
        let remove = || async {
            let request = cx.aws.lambda.remove_permission().function_name(function).statement_id(&id.name);
            let request = request.set_qualifier(have.props.qualifier.clone());
            request.send().await.context("RemovePermission", &id.name).if_deleted()
        };
        cx.send(BUSY, &id.name, remove).await
    }

    fn operations(&self) -> &'static [Operation] {
        operations::OPERATIONS
    }

    fn errors(&self) -> &'static [ErrorRow] {
        errors::ERRORS
    }
}

impl Props {
    /// Whether both allow the same principals the same actions.
    fn same_statement(&self, other: &Props) -> bool {
        self.diff_from_wanted(other).is_empty()
    }

    /// The properties that differ from what a create would have set.
    fn diff_from_wanted(&self, want: &Props) -> Vec<String> {
        super::differing(self, want, &["function", "statement_id"])
    }
}

/// Disables the SDK's retries: a create is sent again only after a read shows that the first one
/// had no effect.
fn once() -> Override {
    aws_sdk_lambda::Config::builder().retry_config(RetryConfig::disabled())
}

/// The alias or version in a statement's identity.
fn qualifier(id: &Id) -> Option<&str> {
    Some(id.parent("qualifier")).filter(|qualifier| !qualifier.is_empty())
}

/// The aliases of a function, which may not exist.
async fn aliases(cx: &Context, function: &str) -> Result<Vec<String>, AwsError> {
    let pages = cx.aws.lambda.list_aliases().function_name(function).into_paginator().items().send();
    let aliases = pages.collect::<Result<Vec<_>, _>>().await.context("ListAliases", function).if_exists()?;
    Ok(aliases.into_iter().flatten().filter_map(|alias| alias.name).collect())
}

/// The statements of a function's policy, or of that of an alias or version, which AWS keeps apart.
async fn statements_of(cx: &Context, id: &Id, qualifier: Option<&str>) -> Result<Vec<(String, Props)>, AwsError> {
    let function = id.parent("function");
    let request = cx.aws.lambda.get_policy().function_name(function).set_qualifier(qualifier.map(str::to_owned));
    // AWS returns the same error for a missing function and a function without a policy.
    let Some(answer) = request.send().await.context("GetPolicy", function).if_exists()? else { return Ok(Vec::new()) };
    let mut statements = statements(answer.policy().unwrap_or("{}")).map_err(|error| {
        AwsError::refused(Code::UnexpectedAnswer, "GetPolicy", function, format!("the policy can't be read: {error}"))
    })?;
    // The local AWS lists those of aliases and versions with the function's own, so they would be
    // found twice.
    statements.retain(|(_, props)| props.qualifier.is_none() || props.qualifier.as_deref() == qualifier);
    Ok(statements)
}

/// Adds statements of one policy: the wanted one, and others with the team's prefix, or all others
/// without a team.
fn add(reading: &mut Reading<Props>, id: &Id, statements: Vec<(String, Props)>) {
    for (sid, props) in statements {
        if sid == id.name && !sid.is_empty() && reading.live.is_none() {
            reading.live = Some(live(&sid, props));
        } else if is_of_team(&sid, &id.owner.team) || id.owner.team.is_empty() {
            // The resource name follows from the default statement ID; a custom ID doesn't contain
            // it.
            let resource = sid.get(id.owner.team.len() + 1..).unwrap_or_default().to_owned();
            let owner = Owner { resource, ..id.owner.clone() };
            let mut neighbour = Id { owner, name: sid.clone(), ..id.clone() };
            match props.qualifier.clone() {
                Some(other) => drop(neighbour.parents.insert("qualifier".into(), other)),
                None => drop(neighbour.parents.remove("qualifier")),
            }
            reading.others.push((neighbour, live(&sid, props)));
        }
    }
}

/// The problem with an authentication of the function URL for another action
/// (docs.aws.amazon.com/lambda/latest/dg/urls-auth.html).
fn url_problem(action: Option<&str>, auth_type: Option<&str>) -> Option<Problem> {
    const INVOKE: &str = "lambda:InvokeFunctionUrl";
    let action = action.filter(|action| auth_type.is_some() && *action != INVOKE)?;
    let problem = format!("`function_url_auth_type` doesn't apply to the action `{action}`");
    let hint = format!("set `action: {INVOKE}`, or remove `function_url_auth_type`");
    let problem = Problem::error(Path::property("function_url_auth_type"), problem, hint);
    Some(problem.inapplicable_with("function_url_auth_type", "action"))
}

/// The problem with a principal that is not a valid service name.
fn service(principal: &str) -> Option<Problem> {
    let is_other = principal == "*" || principal.contains([':', '/']) || principal.bytes().all(|b| b.is_ascii_digit());
    // Unique IDs of users and roles are in capitals.
    let is_id = principal.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    // A service name ends with the domain of its partition; Alexa's ends with `amazon.com`.
    let mut domains = PARTITIONS.iter().map(|it| it.dns_suffix).chain(["amazon.com"]);
    let is_service = |domain| principal.strip_suffix(domain).is_some_and(|name| name.ends_with('.'));
    if is_other || is_id || domains.any(is_service) {
        return None;
    }
    let path = Path::property("principal");
    Some(match principal.split_once('.') {
        None => {
            let problem = format!("`{principal}` is not a valid principal: service names include a domain");
            Problem::error(
                path,
                problem,
                format!("write `principal: {}.amazonaws.com`", principal.to_ascii_lowercase()),
            )
        }
        Some((name, _)) => {
            let problem = format!("`{principal}` doesn't look like a service name: these end with `.amazonaws.com`");
            Problem::warning(path, problem, format!("did you mean `{name}.amazonaws.com`?"))
        }
    })
}

/// `123456789012` in `arn:aws:iam::123456789012:root`, in any partition.
fn account_of_root(principal: &str) -> Option<&str> {
    let (_, rest) = principal.strip_prefix("arn:")?.split_once(":iam::")?;
    rest.strip_suffix(":root")
}

fn outputs(statement_id: &str) -> Outputs {
    Outputs::from([("statement_id".to_owned(), statement_id.to_owned())])
}

fn live(sid: &str, props: Props) -> Live<Props> {
    // Each statement has both, in some form.
    let has = |name: &str| props.other_conditions.as_ref().is_some_and(|rest| rest.contains(name));
    let unknown = super::missing([
        ("action", props.action.is_empty() && !has("Action")),
        ("principal", props.principal.is_empty() && !has("Principal")),
    ]);
    Live {
        props,
        outputs: outputs(sid),
        owner: Ownership::Inherited,
        status: Status::Stable,
        unique_id: None,
        revision: None,
        timestamps: Timestamps::default(),
        notes: Vec::new(),
        unknown,
    }
}

/// The statements of a resource policy from Lambda, by ID, as properties of a spec.
///
/// # Errors
/// It is not a valid policy.
fn statements(policy: &str) -> Result<Vec<(String, Props)>, serde_json::Error> {
    let policy: Policy = serde_json::from_str(policy)?;
    Ok(policy.statements.iter().map(|statement| (statement.sid().to_owned(), statement.props())).collect())
}

/// The statements of a function's policy, by ID, as properties of permissions. Elements without a
/// property are in `other_conditions`.
///
/// # Errors
/// It is not a valid policy.
pub fn properties_of_policy(policy: &str) -> Result<Vec<(String, Tree)>, serde_json::Error> {
    let tree = |props| match Value::from(serde_json::to_value(props)?) {
        Value::Map(tree) => Ok(tree),
        _ => Ok(Tree::new()),
    };
    statements(policy)?.into_iter().map(|(sid, props)| Ok((sid, tree(props)?))).collect()
}

/// A resource policy as Lambda returns it.
#[derive(Debug, Deserialize)]
struct Policy {
    #[serde(rename = "Statement", default)]
    statements: Vec<ParsedStatement>,
}

/// A statement's elements by name.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct ParsedStatement(Map<String, Json>);

impl ParsedStatement {
    fn sid(&self) -> &str {
        self.0.get("Sid").and_then(Json::as_str).unwrap_or_default()
    }

    /// The statement as properties: AWS returns `x.amazonaws.com` as `{"Service": …}`, an account
    /// ID as its root ARN, and a source ARN as an `ArnLike` condition. Other elements are kept as
    /// text.
    fn props(&self) -> Props {
        let mut rest = self.0.clone();
        // ID and function are known.
        rest.remove("Sid");
        let resource = take(&mut rest, "Resource").unwrap_or_default();
        let target = resource.rsplit_once(":function:").and_then(|(_, target)| target.split_once(':'));
        let qualifier = target.map(|(_, qualifier)| qualifier.to_owned());
        rest.remove("Resource");
        if rest.get("Effect").and_then(Json::as_str) == Some("Allow") {
            rest.remove("Effect");
        }
        let action = take(&mut rest, "Action").unwrap_or_default();
        let principal = match rest.get_mut("Principal") {
            Some(Json::Object(by_type)) => ["Service", "AWS"].into_iter().find_map(|kind| take(by_type, kind)),
            _ => take(&mut rest, "Principal"),
        };
        let via_url = rest.get("Condition").and_then(|it| it.get("Bool")?.get(VIA_URL)).and_then(Json::as_str);
        let invoked_via_function_url = via_url == Some("true");
        let mut condition = |operators: &[&str], key: &str| {
            let conditions = rest.get_mut("Condition")?.as_object_mut()?;
            operators.iter().find_map(|operator| {
                let keys = conditions.get_mut(*operator)?.as_object_mut()?;
                // Condition keys are case-insensitive.
                let name = keys.keys().find(|name| name.eq_ignore_ascii_case(key))?.clone();
                take(keys, &name)
            })
        };
        let source_arn = condition(&["ArnLike", "ArnEquals"], "aws:SourceArn");
        let source_account = condition(&["StringEquals"], "aws:SourceAccount");
        let principal_org_id = condition(&["StringEquals"], "aws:PrincipalOrgID");
        let function_url_auth_type = condition(&["StringEquals"], "lambda:FunctionUrlAuthType");
        if invoked_via_function_url {
            condition(&["Bool"], VIA_URL);
        }
        let principal = principal.unwrap_or_default();
        prune(&mut rest);
        Props {
            function: String::new(),
            qualifier,
            statement_id: String::new(),
            action,
            principal: account_of_root(&principal).map_or_else(|| principal.clone(), str::to_owned),
            source_arn,
            source_account,
            principal_org_id,
            function_url_auth_type,
            invoked_via_function_url,
            other_conditions: (!rest.is_empty()).then(|| Json::from(&Value::from(Json::Object(rest))).to_string()),
        }
    }
}

/// Removes and returns a text or a list with one text; keeps any other value.
fn take(map: &mut Map<String, Json>, key: &str) -> Option<String> {
    let text = match map.get(key)? {
        Json::String(text) => text.clone(),
        Json::Array(items) => match items.as_slice() {
            [Json::String(text)] => text.clone(),
            _ => return None,
        },
        _ => return None,
    };
    map.remove(key);
    Some(text)
}

/// Removes empty mappings.
fn prune(map: &mut Map<String, Json>) {
    map.retain(|_, value| match value {
        Json::Object(inner) => {
            prune(inner);
            !inner.is_empty()
        }
        _ => true,
    });
}
