//! The walks of a role's properties: of an imported one, which engine only verifies, and of one that
//! engine manages.

use serde_json::{Value as Json, json};

use super::stage::AwsRequest::{Iam, Remake};
use super::{RUNNER, Row, row};

const KIND: &str = "role";
const BOX: &str = "  box: { type: queue }
";
/// A function that uses the role.
const USER: &str = "  helper:
    { type: function, runtime: nodejs22.x, handler: index.handler, role: '${runner.arn}', code: ../two }
";
const POLICY: &[(&str, &str, &[&str])] = &[(RUNNER, "update", &["policy"])];
const TRUST: &[(&str, &str, &[&str])] = &[(RUNNER, "update", &["assume_role_policy"])];
const BY_HAND: &[(&str, &str)] = &[
    ("PolicyName", "engine"),
    (
        "PolicyDocument",
        r#"{"Version":"2012-10-17","Statement":[{"Sid":"ByHand","Effect":"Allow","Action":"ses:*","Resource":"*"}]}"#,
    ),
];
const FOR_EC2: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;

/// A property of the managed role.
fn own(
    property: &'static str,
    set: &'static str,
    changed: &'static str,
    pointer: &'static str,
    seen: [Json; 3],
) -> Row {
    let root = property.split('.').next().unwrap();
    let [first, second, last] = seen;
    Row { resource: RUNNER, shown: vec![(RUNNER, "update", vec![root])], ..row(KIND, property, set, changed) }
        .isolated()
        .seen(pointer, first, second, last)
}

/// A property that becomes a part of the inline policy.
fn granted(property: &'static str, values: [&'static str; 2], pointer: &'static str, seen: [Json; 2]) -> Row {
    let ([set, changed], [first, second]) = (values, seen);
    let row = own(property, set, changed, pointer, [first, second, Json::Null]);
    row.beside(BOX).shows(POLICY).drift(Iam("PutRolePolicy", BY_HAND))
}

/// The principals of a trust policy.
fn services(names: &[&str]) -> Json {
    json!({ "Service": names })
}

pub(super) fn rows() -> Vec<Row> {
    [paths(), settings(), trusts(), grants(), policies()].concat()
}

fn paths() -> Vec<Row> {
    vec![
        row(KIND, "path", "path: /", "path: /teams/")
            .seen("/Path", json!("/"), json!("/"), json!("/"))
            .shows(&[("execution-role", "refused", &["path"])])
            .drift(Remake(json!({ "Path": "/teams/" })))
            // The path is part of the ARN that the function has.
            .drift_shows(&[("execution-role", "refused", &["path"]), ("logger", "update", &["role"])])
            .drift(Remake(json!({ "Path": "/" })))
            .checked("path"),
        own("path", "path: /", "path: /teams/", "/Own/Path", [json!("/"), json!("/teams/"), json!("/")])
            .shows(&[(RUNNER, "refused", &["path"])])
            .drift(Iam("DeleteRole", &[]))
            .drift(Iam(
                "CreateRole",
                &[
                    ("Path", "/by-hand/"),
                    (
                        "AssumeRolePolicyDocument",
                        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":["states.amazonaws.com"]},"Action":"sts:AssumeRole"}]}"#,
                    ),
                    ("Tags.member.1.Key", "engine:team"),
                    ("Tags.member.1.Value", "blue-owls"),
                    ("Tags.member.2.Key", "engine:stack"),
                    ("Tags.member.2.Value", "team"),
                    ("Tags.member.3.Key", "engine:resource"),
                    ("Tags.member.3.Value", "runner"),
                ],
            ))
            .refused("IAM can't change a role's path"),
    ]
}

fn settings() -> Vec<Row> {
    vec![
        own(
            "description",
            "description: reads",
            "description: writes",
            "/Own/Description",
            [json!("reads"), json!("writes"), Json::Null],
        )
        .drift(Iam("UpdateRole", &[("Description", "by hand")]))
        .not_local("it ignores an empty description"),
        own(
            "max_session_duration",
            "max_session_duration: 7200",
            "max_session_duration: 14400",
            "/Own/MaxSessionDuration",
            [json!("7200"), json!("14400"), json!("3600")],
        )
        .drift(Iam("UpdateRole", &[("MaxSessionDuration", "10800")])),
        own(
            "permissions_boundary",
            "permissions_boundary: arn:aws:iam::aws:policy/ReadOnlyAccess",
            "permissions_boundary: arn:aws:iam::aws:policy/PowerUserAccess",
            "/Own/Boundary",
            [
                json!("arn:aws:iam::aws:policy/ReadOnlyAccess"),
                json!("arn:aws:iam::aws:policy/PowerUserAccess"),
                Json::Null,
            ],
        )
        .drift(Iam(
            "PutRolePermissionsBoundary",
            &[("PermissionsBoundary", "arn:aws:iam::aws:policy/AdministratorAccess")],
        )),
        own(
            "tags",
            "tags: { course: cloud }",
            "tags: { course: rust }",
            "/Own/Tags/course",
            [json!("cloud"), json!("rust"), json!("rust")],
        )
        .drift(Iam("TagRole", &[("Tags.member.1.Key", "course"), ("Tags.member.1.Value", "none")]))
        .retained(),
    ]
}

fn trusts() -> Vec<Row> {
    let drift = || Iam("UpdateAssumeRolePolicy", &[("PolicyDocument", FOR_EC2)]);
    vec![
        own(
            "trusted_services",
            "trusted_services: [states.amazonaws.com, scheduler.amazonaws.com]",
            "trusted_services: [scheduler.amazonaws.com]",
            "/Own/Trust/Statement/0/Principal",
            [
                services(&["states.amazonaws.com", "scheduler.amazonaws.com"]),
                services(&["scheduler.amazonaws.com"]),
                services(&["states.amazonaws.com"]),
            ],
        )
        .shows(TRUST)
        .drift(drift()),
        own(
            "assume_role_policy",
            "trusted_services:\nassume_role_policy: { Version: '2012-10-17', Statement: { Effect: Allow, Principal: { AWS: '${account}' }, Action: sts:AssumeRole } }",
            "trusted_services:\nassume_role_policy: { Version: '2012-10-17', Statement: [{ Effect: Allow, Principal: { Service: ec2.amazonaws.com }, Action: sts:AssumeRole }] }",
            "/Own/Trust/Statement",
            [
                // IAM turns an account into its root ARN.
                json!({
                    "Effect": "Allow",
                    "Principal": { "AWS": "arn:aws:iam::{account}:root" },
                    "Action": "sts:AssumeRole",
                }),
                json!([{ "Effect": "Allow", "Principal": { "Service": "ec2.amazonaws.com" }, "Action": "sts:AssumeRole" }]),
                json!([{ "Effect": "Allow", "Principal": services(&["states.amazonaws.com"]), "Action": "sts:AssumeRole" }]),
            ],
        )
        .seen_locally(
            json!({ "Effect": "Allow", "Principal": { "AWS": "{account}" }, "Action": "sts:AssumeRole" }),
            json!([{ "Effect": "Allow", "Principal": { "Service": "ec2.amazonaws.com" }, "Action": "sts:AssumeRole" }]),
            json!([{ "Effect": "Allow", "Principal": services(&["states.amazonaws.com"]), "Action": "sts:AssumeRole" }]),
        )
        .drift(drift()),
    ]
}

fn grants() -> Vec<Row> {
    vec![
        granted(
            "access",
            ["access: { box: send }", "access: { box: sqs:PurgeQueue }"],
            "/Own/Policy/Access/Action",
            [json!(["sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:SendMessage"]), json!(["sqs:PurgeQueue"])],
        ),
        granted(
            "statements",
            [
                "statements: [{ actions: ses:SendEmail, resources: '*' }]",
                "statements: [{ actions: ses:SendRawEmail, resources: '*' }]",
            ],
            "/Own/Policy/Statement/Action",
            [json!(["ses:SendEmail"]), json!(["ses:SendRawEmail"])],
        ),
        granted(
            "statements.effect",
            [
                "statements: [{ effect: Allow, actions: ses:SendEmail, resources: '*' }]",
                "statements: [{ effect: Deny, actions: ses:SendEmail, resources: '*' }]",
            ],
            "/Own/Policy/Statement/Effect",
            [json!("Allow"), json!("Deny")],
        ),
        granted(
            "statements.actions",
            [
                "statements: [{ actions: [ses:SendEmail, ses:SendRawEmail], resources: '*' }]",
                "statements: [{ actions: [ses:SendEmail], resources: '*' }]",
            ],
            "/Own/Policy/Statement/Action",
            [json!(["ses:SendEmail", "ses:SendRawEmail"]), json!(["ses:SendEmail"])],
        ),
        granted(
            "statements.resources",
            [
                "statements: [{ actions: sqs:PurgeQueue, resources: '${box.arn}' }]",
                "statements: [{ actions: sqs:PurgeQueue, resources: ['arn:aws:sqs:eu-central-1:*:other'] }]",
            ],
            "/Own/Policy/Statement/Resource",
            [json!(["arn:aws:sqs:eu-central-1:{account}:blue-owls-box"]), json!(["arn:aws:sqs:eu-central-1:*:other"])],
        ),
        granted(
            "statements.conditions",
            [
                "statements: [{ actions: ses:*, resources: '*', conditions: { Bool: { 'aws:SecureTransport': true } } }]",
                "statements: [{ actions: ses:*, resources: '*', conditions: { Bool: { 'aws:SecureTransport': false } } }]",
            ],
            "/Own/Policy/Statement/Condition",
            [json!({ "Bool": { "aws:SecureTransport": true } }), json!({ "Bool": { "aws:SecureTransport": false } })],
        ),
        own(
            "derive_permissions",
            "derive_permissions: true",
            "derive_permissions: false",
            "/Own/Policy/WriteLogs/Effect",
            [json!("Allow"), Json::Null, json!("Allow")],
        )
        .given("trusted_services: [lambda.amazonaws.com]")
        .beside(USER)
        .shows(POLICY)
        .drift(Iam("PutRolePolicy", BY_HAND)),
    ]
}

fn policies() -> Vec<Row> {
    vec![
        own(
            "managed_policy_arns",
            "managed_policy_arns: [arn:aws:iam::aws:policy/ReadOnlyAccess]",
            "managed_policy_arns: [arn:aws:iam::aws:policy/AmazonSQSReadOnlyAccess]",
            "/Own/Attached",
            [
                json!(["arn:aws:iam::aws:policy/ReadOnlyAccess"]),
                json!(["arn:aws:iam::aws:policy/AmazonSQSReadOnlyAccess"]),
                json!([]),
            ],
        )
        .drift(Iam("AttachRolePolicy", &[("PolicyArn", "arn:aws:iam::aws:policy/AdministratorAccess")])),
    ]
}
