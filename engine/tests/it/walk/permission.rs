//! The walks of a permission's properties. A statement is never updated, only replaced.

use serde_json::{Value as Json, json};

use super::stage::AwsRequest::{Lambda, Remake};
use super::{Row, row};

const KIND: &str = "permission";
const REPLACED: &str = "replace";
const SELF: &str = "logger-permission";
/// Another function that the pipeline's role runs.
const OTHER_FUNCTION: &str = "  other:
    { type: function, runtime: nodejs22.x, handler: index.handler, role: '${execution-role.arn}', code: ../two }
";

/// A row in which every change replaces the statement.
fn statement(property: &'static str, set: &'static str, changed: &'static str, pointer: &'static str) -> Row {
    let shown: &'static [&'static str] = Box::leak(Box::new([property]));
    row(KIND, property, set, changed)
        .seen(pointer, Json::Null, Json::Null, Json::Null)
        .shows(&[(SELF, REPLACED, shown)])
}

pub(super) fn rows() -> Vec<Row> {
    vec![
        // A statement belongs to its function: on another function it is another statement.
        row(KIND, "function", "function: ${logger.arn}", "function: ${other.arn}")
            .beside(OTHER_FUNCTION)
            .seen("/blue-owls-logger-permission/Sid", json!("blue-owls-logger-permission"), Json::Null, Json::Null)
            .shows(&[(SELF, "create", &[]), (SELF, "delete", &[])])
            .drift(Lambda(
                "DELETE /2015-03-31/functions/blue-owls-other/policy/blue-owls-logger-permission",
                Json::Null,
            ))
            .drift_shows(&[(SELF, "create", &[])])
            .required("is missing `function`"),
        // The statement's name is its identity.
        row(KIND, "statement_id", "statement_id: blue-owls-one", "statement_id: blue-owls-two")
            .seen("/blue-owls-two/Sid", Json::Null, json!("blue-owls-two"), Json::Null)
            .shows(&[(SELF, "create", &[]), ("one", "delete", &[])])
            .removal_shows(&[(SELF, "create", &[]), ("two", "delete", &[])])
            .drift(Lambda("DELETE /2015-03-31/functions/{function}/policy/blue-owls-logger-permission", Json::Null))
            .drift_shows(&[(SELF, "create", &[])]),
        // engine finds the statement of the former alias, also once the spec has none.
        statement("qualifier", "qualifier: live", "qualifier: next", "")
            .seen(
                "/blue-owls-logger-permission/Resource",
                json!("arn:aws:lambda:eu-central-1:{account}:function:blue-owls-logger:live"),
                json!("arn:aws:lambda:eu-central-1:{account}:function:blue-owls-logger:next"),
                json!("arn:aws:lambda:eu-central-1:{account}:function:blue-owls-logger"),
            )
            .drift(Lambda("DELETE /2015-03-31/functions/{function}/policy/blue-owls-logger-permission", Json::Null))
            .drift_shows(&[(SELF, "create", &[])])
            .not_local("it has no aliases"),
        statement("action", "action: lambda:GetFunction", "action: lambda:*", "/blue-owls-logger-permission/Action")
            .seen(
                "/blue-owls-logger-permission/Action",
                json!("lambda:GetFunction"),
                json!("lambda:*"),
                json!("lambda:InvokeFunction"),
            )
            .drift(Remake(json!({ "Action": "lambda:GetPolicy" }))),
        statement("principal", "principal: sns.amazonaws.com", "principal: \"210987654321\"", "")
            .seen(
                "/blue-owls-logger-permission/Principal",
                json!({ "Service": "sns.amazonaws.com" }),
                json!({ "AWS": "arn:aws:iam::210987654321:root" }),
                Json::Null,
            )
            .seen_locally(json!({ "Service": "sns.amazonaws.com" }), json!({ "AWS": "210987654321" }), Json::Null)
            .drift(Remake(json!({ "Principal": "s3.amazonaws.com" })))
            .required("is missing `principal`"),
        statement("source_arn", "source_arn: ${todos.arn}", "source_arn: \"arn:aws:s3:::owls\"", "")
            .given("source_arn:")
            .seen(
                "/blue-owls-logger-permission/Condition/ArnLike/AWS:SourceArn",
                json!("arn:aws:dynamodb:eu-central-1:{account}:table/blue-owls-todos"),
                json!("arn:aws:s3:::owls"),
                Json::Null,
            )
            .drift(Remake(json!({ "SourceArn": "arn:aws:s3:::foxes" }))),
        statement("source_account", "source_account: \"111111111111\"", "source_account: \"222222222222\"", "")
            .seen(
                "/blue-owls-logger-permission/Condition/StringEquals/AWS:SourceAccount",
                json!("111111111111"),
                json!("222222222222"),
                Json::Null,
            )
            .drift(Remake(json!({ "SourceAccount": "333333333333" }))),
        statement("principal_org_id", "principal_org_id: o-a1b2c3d4e5", "principal_org_id: o-b1b2c3d4e5", "")
            .seen(
                "/blue-owls-logger-permission/Condition/StringEquals/aws:PrincipalOrgID",
                json!("o-a1b2c3d4e5"),
                json!("o-b1b2c3d4e5"),
                Json::Null,
            )
            .drift(Remake(json!({ "PrincipalOrgID": "o-c1b2c3d4e5" }))),
        statement("function_url_auth_type", "function_url_auth_type: NONE", "function_url_auth_type: AWS_IAM", "")
            .given("action: lambda:InvokeFunctionUrl")
            .seen(
                "/blue-owls-logger-permission/Condition/StringEquals/lambda:FunctionUrlAuthType",
                json!("NONE"),
                json!("AWS_IAM"),
                Json::Null,
            )
            .drift(Remake(json!({ "Action": "lambda:InvokeFunctionUrl", "FunctionUrlAuthType": "NONE" }))),
        statement("invoked_via_function_url", "invoked_via_function_url: false", "invoked_via_function_url: true", "")
            .seen(
                "/blue-owls-logger-permission/Condition/Bool/lambda:InvokedViaFunctionUrl",
                Json::Null,
                json!("true"),
                Json::Null,
            )
            .drift(Remake(json!({ "InvokedViaFunctionUrl": true }))),
    ]
}
