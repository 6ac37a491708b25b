//! `permission`: a statement in a function's policy that lets somebody call it.
//!
//! A mapping on a stream does not need one: Lambda polls the stream with the function's role. It is made where a spec
//! asks for it, and harms nothing.
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

use std::time::Duration;

use aws_sdk_lambda::config::Builder as Override;
use aws_smithy_types::retry::RetryConfig;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::Sighting;
use crate::aws::{AwsError, Class, Context, Named, Wait, trust};
use crate::diagnostic::nearest;
use crate::kind::{Kind, Want};
use crate::schema::{
    Age, Condition, Effect, Id, Live, Naming, Origin, Outage, Output, Outputs, Owner, Ownership, PARTITIONS, Problem,
    Reading, Schema, Shape, Text, is_of_team, property,
};
use crate::value::{Path, Tree, Value};

pub(super) struct Permission;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Props {
    function: String,
    statement_id: String,
    action: String,
    principal: String,
    source_arn: Option<String>,
    source_account: Option<String>,
    principal_org_id: Option<String>,
    other_conditions: Option<String>,
}

/// docs.aws.amazon.com/lambda/latest/api/API_AddPermission.html
const STATEMENT: Text = Text { min: 1, max: 100, allows: super::text::word, words: "letters, digits, `-` and `_`" };
const ACTION: Text = Text {
    min: 1,
    max: 256,
    allows: |text| {
        text == "*"
            || text
                .strip_prefix("lambda:")
                .is_some_and(|verb| verb == "*" || verb.bytes().all(|b| b.is_ascii_alphabetic()))
    },
    words: "`lambda:` and an operation, like `lambda:InvokeFunction`",
};
const PRINCIPAL: Text = Text {
    min: 1,
    max: 2048,
    allows: |text| {
        let number = text.bytes().all(|byte| byte.is_ascii_digit());
        !text.contains(char::is_whitespace) && (!number || text.len() == 12)
    },
    words: "a service (`dynamodb.amazonaws.com`), an account's twelve digits, an ARN or `*`",
};
const ACCOUNT: Text =
    Text { min: 12, max: 12, allows: |text| text.bytes().all(|byte| byte.is_ascii_digit()), words: "twelve digits" };
const ORGANIZATION: Text = Text {
    min: 12,
    max: 34,
    allows: |text| {
        let id = text.strip_prefix("o-");
        id.is_some_and(|id| id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()))
    },
    words: "an organization's id, like `o-a1b2c3d4e5`",
};
/// What can be done with a function, whatever of it makes sense to allow others
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

const BUSY: Wait = Wait {
    what: "an earlier change of the function to finish",
    since: "Lambda takes one at a time",
    look: "",
    counted: true,
    budget: Duration::from_secs(300),
};

/// docs.aws.amazon.com/lambda/latest/dg/with-ddb.html, section "Execution role permissions"
const REMARK: &str = "A permission is for services and accounts that call a function themselves, like S3, SNS or \
    EventBridge. DynamoDB does not: Lambda polls the stream with the execution role of the function, so what makes events \
    arrive are the mapping and the rights of that role. A statement for `dynamodb.amazonaws.com` stands in the example \
    spec because its task asks for one; it is never used, harms nothing, and leaving it out changes nothing for the \
    stream. If no event arrives, look at `engine explain stream-not-readable` and run `engine verify`.";

impl Kind for Permission {
    type Props = Props;

    fn schema(&self) -> Schema {
        Schema {
            kind: "permission",
            summary: "a statement in a function's policy that lets somebody call it",
            remark: REMARK,
            source: "https://docs.aws.amazon.com/lambda/latest/api/API_AddPermission.html",
            naming: Naming::Inner { key: "statement_id", text: STATEMENT },
            managed: true,
            importable: false,
            adoptable: true,
            holds_data: false,
            locked: None,
            leaves: None,
            outage: Some(Outage {
                deleted: "whoever it lets call the function may not do so any more",
                replaced: "until it is made anew, whoever it lets call the function may not do so",
            }),
            renewal: None,
            index: None,
            properties: vec![
                property(
                    "function",
                    Shape::Link { to: &[("function", "arn"), ("function", "name")], literal: None },
                    "the function that may be called",
                )
                .member("FunctionName")
                .required()
                .identity()
                .local()
                .needs_made(),
                property(
                    "statement_id",
                    Shape::Text(STATEMENT),
                    "the statement's name in the policy; absent: team and resource",
                )
                .literal()
                .local(),
                property("action", Shape::Text(ACTION), "what may be done")
                    .default("lambda:InvokeFunction")
                    .on_change(Effect::Replace),
                property("principal", Shape::Text(PRINCIPAL), "who may do it").required().on_change(Effect::Replace),
                property(
                    "source_arn",
                    Shape::Link {
                        to: &[("table", "stream_arn"), ("table", "arn"), ("function", "arn"), ("role", "arn")],
                        literal: Some(super::text::ARN),
                    },
                    "on whose behalf; absent: anybody's",
                )
                .on_change(Effect::Replace)
                .needs_made(),
                property(
                    "source_account",
                    Shape::Text(ACCOUNT),
                    "the account that the source has to be in; absent: any",
                )
                .on_change(Effect::Replace),
                property(
                    "principal_org_id",
                    Shape::Text(ORGANIZATION),
                    "the organization that the caller has to be in; absent: any",
                )
                .on_change(Effect::Replace),
                property("other_conditions", Shape::Text(Text::any(20_480)), "what else the statement says")
                    .derived()
                    .on_change(Effect::Replace),
            ],
            outputs: vec![Output {
                name: "statement_id",
                doc: "the statement's id in the function's policy",
                origin: Origin::Computed(|_, name| name.to_owned()),
            }],
        }
    }

    fn normalize(&self, id: &Id, desired: &mut Tree) {
        desired.insert("statement_id".to_owned(), Value::String(id.name.clone()));
        // A statement that was made here says nothing else.
        desired.insert("other_conditions".to_owned(), Value::Null);
    }

    /// Statements added at the same time can get lost.
    fn queue<'a>(&self, id: &'a Id) -> Option<&'a str> {
        Some(id.anchor("function"))
    }

    fn check(&self, desired: &Tree) -> Vec<Problem> {
        // AWS shows an account's number as its root's ARN, so the two can't be told apart afterwards.
        let principal = desired.get("principal").and_then(Value::as_str).and_then(account_of_root);
        let problem = |account| {
            let problem = "an account's root is written as the account's number".to_owned();
            Problem::error(Path::property("principal"), problem, format!("write `principal: \"{account}\"`"))
        };
        let mut problems: Vec<Problem> = principal.map(problem).into_iter().collect();
        let text = |name: &str| desired.get(name).and_then(Value::as_str);
        problems.extend(text("principal").and_then(service));
        let is_open = |name: &str| desired.get(name) == Some(&Value::Null);
        if text("principal") == Some("*")
            && ["source_arn", "source_account", "principal_org_id"].iter().all(|it| is_open(it))
        {
            let problem = "anybody in any account may call the function: `principal` is `*`, and nothing narrows it";
            let hint = "add `source_arn`, `source_account` or `principal_org_id`, or name who is meant";
            problems.push(Problem::warning(Path::property("principal"), problem, hint));
        }
        if let Some(operation) = text("action").and_then(|action| action.strip_prefix("lambda:"))
            && operation != "*"
            && !OPERATIONS.contains(&operation)
        {
            let problem = format!("the engine knows no operation `lambda:{operation}` on a function");
            let hint = match nearest(operation, OPERATIONS.iter().copied()) {
                Some(_) if operation == "Invoke" => "did you mean `lambda:InvokeFunction`?".to_owned(),
                Some(near) => format!("did you mean `lambda:{near}`?"),
                None => "to let somebody call it, write `lambda:InvokeFunction`".to_owned(),
            };
            problems.push(Problem::warning(Path::property("action"), problem, hint));
        }
        problems
    }

    async fn read(&self, cx: &Context, id: &Id) -> Result<Reading<Props>, AwsError> {
        let function = id.anchor("function");
        let answer = match cx.aws.lambda.get_policy().function_name(function).send().await.named("GetPolicy", function)
        {
            // One answer for both: no such function, and no policy on it.
            Err(error) if error.class == Class::NotFound => return Ok(None.into()),
            answer => answer?,
        };
        let statements = statements(answer.policy().unwrap_or("{}")).map_err(|error| {
            AwsError::own(Class::Rejected, "GetPolicy", function, format!("the policy can't be read: {error}"))
        })?;
        let mut reading = Reading::from(None);
        for (sid, props) in statements {
            if sid == id.name && !sid.is_empty() {
                reading.live = Some(live(&sid, props));
            } else if is_of_team(&sid, &id.owner.team) {
                // What its id says it was called in the spec, unless it had one of its own.
                let resource = sid.get(id.owner.team.len() + 1..).unwrap_or_default().to_owned();
                let owner = Owner { resource, ..id.owner.clone() };
                let neighbour = Id { owner, name: sid.clone(), ..id.clone() };
                reading.others.push((neighbour, live(&sid, props)));
            }
        }
        Ok(reading)
    }

    async fn create(&self, cx: &Context, id: &Id, want: Want<Props>) -> Result<Outputs, AwsError> {
        let (function, sighting) = (id.anchor("function"), Sighting::default());
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
                .set_principal_org_id(want.props.principal_org_id.clone());
            match request.customize().config_override(once()).send().await.named("AddPermission", &id.name) {
                Err(error) if error.class == Class::NotFound => Err(sighting.of_function(cx, function, error).await),
                // Only what somebody has just made can become known: a user or a role, not a service.
                Err(error) if error.class == Class::PrincipalUnknown && !want.props.principal.contains(":iam::") => {
                    Err(AwsError { class: Class::Rejected, ..error })
                }
                Err(error) if error.class == Class::PrincipalUnknown => {
                    match self.precheck(cx, id, &want.props).await {
                        Err(certain) => Err(AwsError { class: Class::Rejected, reason: certain.reason, ..error }),
                        Ok(()) => Err(error),
                    }
                }
                answer => answer.map(|_| ()),
            }
        };
        let find = || async {
            let Some(live) = self.read(cx, id).await?.live else { return Ok(None) };
            super::made_alike("AddPermission", id, &live.props.otherwise_made(&want.props))?;
            Ok(Some(()))
        };
        cx.create(BUSY, &id.name, add, find).await?;
        Ok(outputs(&id.name))
    }

    async fn update(&self, _: &Context, id: &Id, have: Live<Props>, want: Want<Props>) -> Result<Outputs, AwsError> {
        // It is taken over with its function, and bears no tags of its own.
        if have.props.same_statement(&want.props) {
            return Ok(outputs(&id.name));
        }
        Err(AwsError::defect("a permission can't be changed, only replaced".to_owned()))
    }

    /// A new statement can't have the id of the old one, so that one has to be deleted first.
    async fn precheck(&self, cx: &Context, id: &Id, want: &Props) -> Result<(), AwsError> {
        let account = id.site.as_ref().map(|site| site.account.as_str());
        trust::check_principal(cx, &want.principal, account, "AddPermission", &id.name).await
    }

    async fn put_back(&self, cx: &Context, id: &Id, was: Live<Props>) -> Result<bool, AwsError> {
        if was.props.other_conditions.is_some() {
            let message = "AddPermission can't express all that it said";
            return Err(AwsError::own(Class::Rejected, "AddPermission", &id.name, message));
        }
        self.create(cx, id, Want { props: was.props, artifact: None }).await?;
        Ok(true)
    }

    async fn settle(&self, _: &Context, _: &Id, _: &Props, _: &[&str], _: &Outputs) -> Result<(), AwsError> {
        Ok(())
    }

    async fn delete(&self, cx: &Context, id: &Id, _have: Live<Props>) -> Result<(), AwsError> {
        let function = id.anchor("function");
        let remove = || async {
            let request = cx.aws.lambda.remove_permission().function_name(function).statement_id(&id.name);
            match request.send().await.named("RemovePermission", &id.name) {
                Err(error) if error.class == Class::NotFound => Ok(()),
                answer => answer.map(|_| ()),
            }
        };
        cx.send(BUSY, &id.name, remove).await
    }
}

impl Props {
    /// Whether the two let the same callers do the same.
    fn same_statement(&self, other: &Props) -> bool {
        self.otherwise_made(other).is_empty()
    }

    /// In what it is not as a create would have made it.
    fn otherwise_made(&self, want: &Props) -> Vec<String> {
        super::differing(self, want, &["function", "statement_id"])
    }
}

/// A create is sent once; whether to send it again is decided after a look at what it made.
fn once() -> Override {
    aws_sdk_lambda::Config::builder().retry_config(RetryConfig::disabled())
}

/// `123456789012` in `arn:aws:iam::123456789012:root`, in any partition.
/// What is wrong with a principal that can only be meant for a service.
fn service(principal: &str) -> Option<Problem> {
    let is_other = principal == "*" || principal.contains([':', '/']) || principal.bytes().all(|b| b.is_ascii_digit());
    // AWS's ids of users and roles are in capitals.
    let is_id = principal.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    // A service's name ends with the domain of its partition; Alexa's with `amazon.com`.
    let mut domains = PARTITIONS.iter().map(|it| it.dns_suffix).chain(["amazon.com"]);
    let is_service = |domain| principal.strip_suffix(domain).is_some_and(|name| name.ends_with('.'));
    if is_other || is_id || domains.any(is_service) {
        return None;
    }
    let path = Path::property("principal");
    Some(match principal.split_once('.') {
        None => {
            let problem = format!("`{principal}` is no principal: the name of a service has a domain");
            Problem::error(
                path,
                problem,
                format!("write `principal: {}.amazonaws.com`", principal.to_ascii_lowercase()),
            )
        }
        Some((name, _)) => {
            let problem = format!("`{principal}` does not look like a service: their names end on `.amazonaws.com`");
            Problem::warning(path, problem, format!("did you mean `{name}.amazonaws.com`?"))
        }
    })
}

fn account_of_root(principal: &str) -> Option<&str> {
    let (_, rest) = principal.strip_prefix("arn:")?.split_once(":iam::")?;
    rest.strip_suffix(":root")
}

fn outputs(statement_id: &str) -> Outputs {
    Outputs::from([("statement_id".to_owned(), statement_id.to_owned())])
}

fn live(sid: &str, props: Props) -> Live<Props> {
    // A statement has both, in one form or another.
    let has = |name: &str| props.other_conditions.as_ref().is_some_and(|rest| rest.contains(name));
    let unknown = super::missing([
        ("action", props.action.is_empty() && !has("Action")),
        ("principal", props.principal.is_empty() && !has("Principal")),
    ]);
    Live {
        props,
        outputs: outputs(sid),
        owner: Ownership::Inherited,
        condition: Condition::Settled,
        incarnation: None,
        revision: None,
        age: Age::default(),
        notes: Vec::new(),
        unknown,
    }
}

/// The statements of a resource policy as Lambda returns it, each by its id and as what a spec could have asked for.
///
/// # Errors
/// It is no policy.
fn statements(policy: &str) -> Result<Vec<(String, Props)>, serde_json::Error> {
    let policy: Policy = serde_json::from_str(policy)?;
    Ok(policy.statements.iter().map(|statement| (statement.sid().to_owned(), statement.props())).collect())
}

/// What a function's policy says, as properties of permissions: each statement by its id. Whatever they can't say stands in
/// `other_conditions`.
///
/// # Errors
/// It is no policy.
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
    statements: Vec<Statement>,
}

/// One statement of it, by element.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct Statement(Map<String, Json>);

impl Statement {
    fn sid(&self) -> &str {
        self.0.get("Sid").and_then(Json::as_str).unwrap_or_default()
    }

    /// The statement as it was asked for: `x.amazonaws.com` comes back as `{"Service": …}`, an account's number as its
    /// root ARN, a source ARN as an `ArnLike` condition. Whatever could not have been asked for here is kept as text.
    fn props(&self) -> Props {
        let mut rest = self.0.clone();
        // The id is known, and the policy hangs on no other function.
        rest.remove("Sid");
        rest.remove("Resource");
        if rest.get("Effect").and_then(Json::as_str) == Some("Allow") {
            rest.remove("Effect");
        }
        let action = take(&mut rest, "Action").unwrap_or_default();
        let principal = match rest.get_mut("Principal") {
            Some(Json::Object(by_type)) => ["Service", "AWS"].into_iter().find_map(|kind| take(by_type, kind)),
            _ => take(&mut rest, "Principal"),
        };
        let mut condition = |operators: &[&str], key: &str| {
            let conditions = rest.get_mut("Condition")?.as_object_mut()?;
            operators.iter().find_map(|operator| {
                let keys = conditions.get_mut(*operator)?.as_object_mut()?;
                // Condition keys are compared without regard to case.
                let name = keys.keys().find(|name| name.eq_ignore_ascii_case(key))?.clone();
                take(keys, &name)
            })
        };
        let source_arn = condition(&["ArnLike", "ArnEquals"], "aws:SourceArn");
        let source_account = condition(&["StringEquals"], "aws:SourceAccount");
        let principal_org_id = condition(&["StringEquals"], "aws:PrincipalOrgID");
        let principal = principal.unwrap_or_default();
        prune(&mut rest);
        Props {
            function: String::new(),
            statement_id: String::new(),
            action,
            principal: account_of_root(&principal).map_or_else(|| principal.clone(), str::to_owned),
            source_arn,
            source_account,
            principal_org_id,
            other_conditions: (!rest.is_empty()).then(|| Json::from(&Value::from(Json::Object(rest))).to_string()),
        }
    }
}

/// Takes out a text, which may also be a list of one; what is neither stays.
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

/// Removes every mapping that nothing is left in.
fn prune(map: &mut Map<String, Json>) {
    map.retain(|_, value| match value {
        Json::Object(inner) => {
            prune(inner);
            !inner.is_empty()
        }
        _ => true,
    });
}
