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

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::aws::{AwsError, Class, Context, Named, Wait};
use crate::kind::{Kind, Want};
use crate::schema::{
    Age, Condition, Effect, Id, Live, Naming, Origin, Output, Outputs, Ownership, Problem, Reading, Schema, Shape,
    Text, property,
};
use crate::value::{Path, Tree, Value};

pub(super) struct Permission;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Props {
    #[serde(default)]
    function: String,
    action: String,
    principal: String,
    source_arn: Option<String>,
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
    allows: |text| !text.contains(char::is_whitespace),
    words: "a service (`dynamodb.amazonaws.com`), an account's number, an ARN or `*`",
};
const BUSY: Wait =
    Wait { what: "an earlier change of the function to finish", counted: true, budget: Duration::from_secs(300) };

impl Kind for Permission {
    type Props = Props;

    fn schema(&self) -> Schema {
        Schema {
            kind: "permission",
            summary: "a statement in a function's policy that lets somebody call it",
            source: "https://docs.aws.amazon.com/lambda/latest/api/API_AddPermission.html",
            naming: Naming::Inner { key: "statement_id", text: STATEMENT },
            managed: true,
            importable: false,
            adoptable: false,
            holds_data: false,
            locked: None,
            leaves: None,
            renewal: None,
            index: None,
            properties: vec![
                property(
                    "function",
                    Shape::Link { to: &[("function", "arn"), ("function", "name")], literal: None },
                    "the function that may be called",
                )
                .required()
                .identity()
                .local()
                .needs_made(),
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
            ],
            outputs: vec![Output {
                name: "statement_id",
                doc: "the statement's id in the function's policy",
                origin: Origin::Computed(|_, name| name.to_owned()),
            }],
        }
    }

    fn check(&self, desired: &Tree) -> Vec<Problem> {
        // AWS shows an account's number as its root's ARN, so the two can't be told apart afterwards.
        let principal = desired.get("principal").and_then(Value::as_str).and_then(account_of_root);
        let problem = |account| {
            let problem = "an account's root is written as the account's number".to_owned();
            Problem::error(Path::property("principal"), problem, format!("write `principal: \"{account}\"`"))
        };
        principal.map(problem).into_iter().collect()
    }

    async fn read(&self, cx: &Context, id: &Id) -> Result<Reading<Props>, AwsError> {
        let function = id.anchor("function");
        let answer = match cx.aws.lambda.get_policy().function_name(function).send().await.named("GetPolicy", function)
        {
            // One answer for both: no such function, and no policy on it.
            Err(error) if error.class == Class::NotFound => return Ok(None.into()),
            answer => answer?,
        };
        let policy: Policy = serde_json::from_str(answer.policy().unwrap_or("{}")).map_err(|error| {
            AwsError::own(Class::Rejected, "GetPolicy", function, format!("the policy can't be read: {error}"))
        })?;
        let statement = policy.statements.into_iter().find(|statement| statement.sid == id.name);
        let live = statement.map(|statement| Live {
            props: statement.props(),
            outputs: outputs(id),
            owner: Ownership::Inherited,
            condition: Condition::Settled,
            incarnation: None,
            age: Age::default(),
            notes: Vec::new(),
        });
        Ok(live.into())
    }

    async fn create(&self, cx: &Context, id: &Id, want: Want<Props>) -> Result<Outputs, AwsError> {
        let function = id.anchor("function");
        // Statements added at the same time can get lost, so a function's writes are one queue.
        let _turn = cx.turn(function).await;
        let add = || async {
            let request = cx
                .aws
                .lambda
                .add_permission()
                .function_name(function)
                .statement_id(&id.name)
                .action(&want.props.action)
                .principal(&want.props.principal)
                .set_source_arn(want.props.source_arn.clone());
            match request.send().await.named("AddPermission", &id.name) {
                // The function was made a moment ago; not everybody in AWS has heard of it.
                Err(error) if error.class == Class::NotFound => Err(AwsError { class: Class::Busy, ..error }),
                answer => answer.map(|_| ()),
            }
        };
        let find = || async {
            match self.read(cx, id).await?.live {
                Some(live) if live.props.same_statement(&want.props) => Ok(Some(())),
                Some(_) => Err(super::taken("AddPermission", id)),
                None => Ok(None),
            }
        };
        cx.create(BUSY, &id.name, add, find).await?;
        Ok(outputs(id))
    }

    async fn update(&self, _: &Context, _: &Id, _: Live<Props>, _: Want<Props>) -> Result<Outputs, AwsError> {
        Err(AwsError::defect("a permission can't be changed, only replaced".to_owned()))
    }

    async fn settle(&self, _: &Context, _: &Id, _: &Props, _: &Outputs) -> Result<(), AwsError> {
        Ok(())
    }

    async fn delete(&self, cx: &Context, id: &Id, _have: Live<Props>) -> Result<(), AwsError> {
        let function = id.anchor("function");
        let _turn = cx.turn(function).await;
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
    fn same_statement(&self, other: &Props) -> bool {
        (&self.action, &self.principal, &self.source_arn) == (&other.action, &other.principal, &other.source_arn)
    }
}

/// `123456789012` in `arn:aws:iam::123456789012:root`, in any partition.
fn account_of_root(principal: &str) -> Option<&str> {
    let (_, rest) = principal.strip_prefix("arn:")?.split_once(":iam::")?;
    rest.strip_suffix(":root")
}

fn outputs(id: &Id) -> Outputs {
    Outputs::from([("statement_id".to_owned(), id.name.clone())])
}

/// A resource policy as Lambda returns it.
#[derive(Debug, Deserialize)]
struct Policy {
    #[serde(rename = "Statement", default)]
    statements: Vec<Statement>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    #[serde(default)]
    sid: String,
    #[serde(default)]
    principal: Json,
    #[serde(default)]
    action: Json,
    #[serde(default)]
    condition: Json,
}

impl Statement {
    /// The statement as it was asked for: `x.amazonaws.com` comes back as `{"Service": …}`, an account's number as its
    /// root ARN, a source ARN as an `ArnLike` condition.
    fn props(&self) -> Props {
        let text = |json: &Json| match json {
            Json::Array(items) if items.len() == 1 => items[0].as_str().unwrap_or_default().to_owned(),
            json => json.as_str().map_or_else(|| json.to_string(), str::to_owned),
        };
        let principal = match &self.principal {
            Json::Object(map) => map.get("Service").or_else(|| map.get("AWS")).map_or_else(String::new, text),
            other => text(other),
        };
        let root = account_of_root(&principal);
        let source = ["ArnLike", "ArnEquals"].into_iter().find_map(|operator| {
            let condition = self.condition.get(operator)?.as_object()?;
            condition.iter().find(|(key, _)| key.eq_ignore_ascii_case("aws:SourceArn")).map(|(_, value)| text(value))
        });
        Props {
            function: String::new(),
            action: text(&self.action),
            principal: root.map_or_else(|| principal.clone(), str::to_owned),
            source_arn: source,
        }
    }
}
