//! The walks of a function's properties.

use serde_json::{Value as Json, json};

use super::stage::AwsRequest::{self, Iam, Lambda};
use super::stage::IMPLIED_ROLE;
use super::{Row, row};

const KIND: &str = "function";
const SELF: &str = "logger";
/// A plan shows code as the hash and the size of its package.
const CODE: &[(&str, &str, &[&str])] = &[(SELF, "update", &["code_sha256", "code_size"])];
/// A zip without files.
const EMPTY_ZIP: &str = "UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA==";

fn configure(body: Json) -> AwsRequest {
    Lambda("PUT /2015-03-31/functions/{function}/configuration", body)
}

fn upload(architecture: &str) -> AwsRequest {
    let body = json!({ "ZipFile": EMPTY_ZIP, "Architectures": [architecture] });
    Lambda("PUT /2015-03-31/functions/{function}/code", body)
}

/// A setting in the function's configuration.
fn setting(
    property: &'static str,
    values: [&'static str; 2],
    pointer: &'static str,
    seen: [Json; 3],
    drifted: Json,
) -> Row {
    let ([set, changed], [first, second, last]) = (values, seen);
    row(KIND, property, set, changed).seen(pointer, first, second, last).drift(configure(drifted))
}

/// A form of the source. AWS shows the size of its zip, which depends on the files alone.
fn code(property: &'static str, set: &'static str, changed: &'static str, sizes: [u32; 3]) -> Row {
    let [first, second, last] = sizes;
    row(KIND, property, set, changed)
        .seen("/Configuration/CodeSize", json!(first), json!(second), json!(last))
        .shows(CODE)
        .drift(upload("x86_64"))
}

/// A table beside the function.
const VISITS: &str = "  visits: { type: table, attributes: { id: S }, hash_key: id, billing_mode: PAY_PER_REQUEST, \
                      stream_view_type: KEYS_ONLY }\n";
const GROUP: &str = "/aws/lambda/blue-owls-logger";

/// A change of the implied role's policy by hand.
const BY_HAND: AwsRequest = Iam(
    "PutRolePolicy",
    &[
        ("RoleName", IMPLIED_ROLE),
        ("PolicyName", "engine"),
        (
            "PolicyDocument",
            r#"{"Version":"2012-10-17","Statement":[{"Sid":"ByHand","Effect":"Allow","Action":"ses:*","Resource":"*"}]}"#,
        ),
    ],
);

/// A permission of the role that the function implies, as the statement `sid`.
fn permission(
    property: &'static str,
    values: [&'static str; 2],
    sid: &'static str,
    member: &'static str,
    seen: [Json; 2],
) -> Row {
    let ([set, changed], [first, second]) = (values, seen);
    let pointer: &'static str = Box::leak(format!("/ImpliedRole/Policy/{sid}/{member}").into_boxed_str());
    row(KIND, property, set, changed)
        .given("role:")
        .beside("  box: { type: queue }\n")
        .shows(&[("logger-role", "update", &["policy"])])
        .seen(pointer, first, second, Json::Null)
        .drift(BY_HAND)
}

fn permissions() -> Vec<Row> {
    let of = |property, values, member, seen| permission(property, values, "Statement", member, seen);
    vec![
        // With a role of its own, so that only its own mapping and log group exist.
        row(KIND, "events", "events: { visits: { batch_size: 5 } }", "events: { visits: { batch_size: 7 } }")
            .isolated()
            .given("role:")
            .beside(VISITS)
            .seen("/Events", Json::Null, Json::Null, Json::Null)
            .shows(&[("visits-to-logger", "update", &["batch_size"])])
            .removal_shows(&[("visits-to-logger", "delete", &[]), ("logger-role", "update", &["policy"])])
            .drift_shows(&[("logger-role", "update", &["policy"])])
            .drift(BY_HAND),
        row(KIND, "log_retention_in_days", "log_retention_in_days: 7", "log_retention_in_days: 14")
            .isolated()
            .given("role:")
            .seen("/Configuration/LoggingConfig/LogGroup", json!(GROUP), json!(GROUP), json!(GROUP))
            .shows(&[("logger-logs", "update", &["retention_in_days"])])
            .removal_shows(&[("logger-logs", "delete", &[]), ("logger-role", "update", &["policy"])])
            .drift_shows(&[("logger-role", "update", &["policy"])])
            .not_local("its tag index has no log groups, so a diff finds none that is no longer declared")
            .drift(BY_HAND),
        permission(
            "access",
            ["access: { box: send }", "access: { box: sqs:PurgeQueue }"],
            "Access",
            "Action",
            [json!(["sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:SendMessage"]), json!(["sqs:PurgeQueue"])],
        ),
        of(
            "statements",
            [
                "statements: [{ actions: ses:SendEmail, resources: '*' }]",
                "statements: [{ actions: ses:SendRawEmail, resources: '*' }]",
            ],
            "Action",
            [json!(["ses:SendEmail"]), json!(["ses:SendRawEmail"])],
        ),
        of(
            "statements.effect",
            [
                "statements: [{ effect: Allow, actions: ses:SendEmail, resources: '*' }]",
                "statements: [{ effect: Deny, actions: ses:SendEmail, resources: '*' }]",
            ],
            "Effect",
            [json!("Allow"), json!("Deny")],
        ),
        of(
            "statements.actions",
            [
                "statements: [{ actions: [ses:SendEmail, ses:SendRawEmail], resources: '*' }]",
                "statements: [{ actions: [ses:SendEmail], resources: '*' }]",
            ],
            "Action",
            [json!(["ses:SendEmail", "ses:SendRawEmail"]), json!(["ses:SendEmail"])],
        ),
        of(
            "statements.resources",
            [
                "statements: [{ actions: sqs:PurgeQueue, resources: '${box.arn}' }]",
                "statements: [{ actions: sqs:PurgeQueue, resources: ['arn:aws:sqs:eu-central-1:*:other'] }]",
            ],
            "Resource",
            [json!(["arn:aws:sqs:eu-central-1:{account}:blue-owls-box"]), json!(["arn:aws:sqs:eu-central-1:*:other"])],
        ),
        of(
            "statements.conditions",
            [
                "statements: [{ actions: ses:*, resources: '*', conditions: { Bool: { 'aws:SecureTransport': true } } }]",
                "statements: [{ actions: ses:*, resources: '*', conditions: { Bool: { 'aws:SecureTransport': false } } }]",
            ],
            "Condition",
            [json!({ "Bool": { "aws:SecureTransport": true } }), json!({ "Bool": { "aws:SecureTransport": false } })],
        ),
    ]
}

/// A part of its connection to a VPC. AWS shows the lists in an order of its own.
fn connection(property: &'static str, set: &'static str, changed: &'static str, seen: [Json; 3]) -> Row {
    let pointer = match property {
        "vpc.security_group_ids" => "/Configuration/VpcConfig/SecurityGroupIds",
        "vpc.ipv6_allowed_for_dual_stack" => "/Configuration/VpcConfig/Ipv6AllowedForDualStack",
        _ => "/Configuration/VpcConfig/SubnetIds",
    };
    let drifted = json!({ "VpcConfig": { "SubnetIds": ["subnet-9"], "SecurityGroupIds": ["sg-9"] } });
    setting(property, [set, changed], pointer, seen, drifted)
}

fn networks() -> Vec<Row> {
    let one = "vpc: { subnet_ids: [subnet-2, subnet-1], security_group_ids: [sg-1] }";
    let fewer = "vpc: { subnet_ids: [subnet-1], security_group_ids: [sg-1] }";
    let guarded = "vpc: { security_group_ids: [sg-3, sg-2], subnet_ids: [subnet-1] }";
    let dual = "vpc: { subnet_ids: [subnet-1], security_group_ids: [sg-1], ipv6_allowed_for_dual_stack: true }";
    let two = json!(["subnet-2", "subnet-1"]);
    vec![
        connection("vpc", one, fewer, [two.clone(), json!(["subnet-1"]), json!([])]).seen_locally(
            json!(["subnet-1", "subnet-2"]),
            json!(["subnet-1"]),
            json!([]),
        ),
        connection("vpc.subnet_ids", one, fewer, [two, json!(["subnet-1"]), json!([])])
            .seen_locally(json!(["subnet-1", "subnet-2"]), json!(["subnet-1"]), json!([]))
            .required("is missing `subnet_ids`"),
        connection("vpc.security_group_ids", fewer, guarded, [json!(["sg-1"]), json!(["sg-3", "sg-2"]), json!([])])
            .seen_locally(json!(["sg-1"]), json!(["sg-2", "sg-3"]), json!([]))
            .required("is missing `security_group_ids`"),
        connection("vpc.ipv6_allowed_for_dual_stack", fewer, dual, [json!(false), json!(true), json!(false)])
            .given(fewer),
        setting(
            "kms_key_arn",
            [
                "kms_key_arn: \"arn:aws:kms:eu-central-1:123456789012:key/one\"",
                "kms_key_arn: \"arn:aws:kms:eu-central-1:123456789012:key/two\"",
            ],
            "/Configuration/KMSKeyArn",
            [
                json!("arn:aws:kms:eu-central-1:123456789012:key/one"),
                json!("arn:aws:kms:eu-central-1:123456789012:key/two"),
                Json::Null,
            ],
            json!({ "KMSKeyArn": "arn:aws:kms:eu-central-1:123456789012:key/three" }),
        )
        .seen_locally(
            json!("arn:aws:kms:eu-central-1:123456789012:key/one"),
            json!("arn:aws:kms:eu-central-1:123456789012:key/two"),
            json!(""),
        ),
    ]
}

/// A part of the configuration of asynchronous invocations.
fn asynchronous(property: &'static str, member: &'static str, values: [&'static str; 2], seen: [Json; 3]) -> Row {
    let ([set, changed], [first, second, last]) = (values, seen);
    let pointer: &'static str = Box::leak(format!("/Async/{member}").into_boxed_str());
    let drifted = json!({
        "MaximumRetryAttempts": 0,
        "MaximumEventAgeInSeconds": 60,
        "DestinationConfig": {
            "OnSuccess": { "Destination": "arn:aws:sns:eu-central-1:{account}:by-hand" },
            "OnFailure": { "Destination": "arn:aws:sns:eu-central-1:{account}:by-hand" },
        },
    });
    row(KIND, property, set, changed)
        .seen(pointer, first, second, last)
        .drift(Lambda("PUT /2019-09-25/functions/{function}/event-invoke-config", drifted))
}

fn asynchronous_invocations() -> Vec<Row> {
    let given = "async: { maximum_event_age_in_seconds: 600 }";
    let destination = |property, member, values| {
        let [one, two] = ["one", "two"].map(|name| json!(format!("arn:aws:sqs:eu-central-1:{{account}}:{name}")));
        asynchronous(property, member, values, [one, two, Json::Null]).given(given)
    };
    vec![
        asynchronous(
            "async",
            "MaximumRetryAttempts",
            ["async: { maximum_retry_attempts: 1 }", "async: { maximum_retry_attempts: 0 }"],
            [json!(1), json!(0), Json::Null],
        ),
        asynchronous(
            "async.maximum_retry_attempts",
            "MaximumRetryAttempts",
            [
                "async: { maximum_event_age_in_seconds: 600, maximum_retry_attempts: 1 }",
                "async: { maximum_event_age_in_seconds: 600, maximum_retry_attempts: 0 }",
            ],
            [json!(1), json!(0), json!(2)],
        )
        .given(given),
        asynchronous(
            "async.maximum_event_age_in_seconds",
            "MaximumEventAgeInSeconds",
            [
                "async: { maximum_retry_attempts: 1, maximum_event_age_in_seconds: 600 }",
                "async: { maximum_retry_attempts: 1, maximum_event_age_in_seconds: 700 }",
            ],
            [json!(600), json!(700), json!(21600)],
        )
        .given("async: { maximum_retry_attempts: 1 }"),
        destination(
            "async.on_success_destination_arn",
            "DestinationConfig/OnSuccess/Destination",
            [
                "async: { on_success_destination_arn: 'arn:aws:sqs:eu-central-1:${account}:one' }",
                "async: { on_success_destination_arn: 'arn:aws:sqs:eu-central-1:${account}:two' }",
            ],
        ),
        destination(
            "async.on_failure_destination_arn",
            "DestinationConfig/OnFailure/Destination",
            [
                "async: { on_failure_destination_arn: 'arn:aws:sqs:eu-central-1:${account}:one' }",
                "async: { on_failure_destination_arn: 'arn:aws:sqs:eu-central-1:${account}:two' }",
            ],
        ),
    ]
}

/// Code in S3. The scripted AWS shows the length of the object's name, and its version, as its size.
fn object(property: &'static str, set: &'static str, changed: &'static str, sizes: [u32; 3]) -> Row {
    let [first, second, last] = sizes;
    row(KIND, property, set, changed)
        .seen("/Configuration/CodeSize", json!(first), json!(second), json!(last))
        .shows(&[(SELF, "update", &["code_source"])])
        .drift(upload("x86_64"))
        .not_local("its S3 has no such object")
}

/// Settings of a container image.
fn image(
    property: &'static str,
    set: &'static str,
    changed: &'static str,
    pointer: &'static str,
    seen: [Json; 3],
) -> Row {
    let [first, second, last] = seen;
    let drifted = json!({ "ImageConfig": {
        "Command": ["by", "hand"], "EntryPoint": ["/by-hand"], "WorkingDirectory": "/by-hand",
    } });
    row(KIND, property, set, changed)
        .given("runtime:\nhandler:\ncode: { image: { uri: '123456789012.dkr.ecr.eu-central-1.amazonaws.com/app:1' } }")
        .seen(pointer, first, second, last)
        .shows(&[(SELF, "update", &["image"])])
        .drift(configure(drifted))
}

const SIGNING: [&str; 3] = [
    "code_signing_config_arn: \"arn:aws:lambda:eu-central-1:123456789012:code-signing-config:csc-1\"",
    "code_signing_config_arn: \"arn:aws:lambda:eu-central-1:123456789012:code-signing-config:csc-2\"",
    "arn:aws:lambda:eu-central-1:123456789012:code-signing-config:csc-",
];

fn references() -> Vec<Row> {
    let uri = |tag: &str| json!(format!("123456789012.dkr.ecr.eu-central-1.amazonaws.com/app:{tag}"));
    let by_uri = |property, set, changed| {
        let drifted = json!({ "ImageUri": "123456789012.dkr.ecr.eu-central-1.amazonaws.com/by-hand:1" });
        let row = image(property, set, changed, "/Code/ImageUri", [uri("2"), uri("3"), uri("1")]);
        Row { drift: Vec::new(), ..row }.drift(Lambda("PUT /2015-03-31/functions/{function}/code", drifted))
    };
    let settings = "/Configuration/ImageConfigResponse/ImageConfig";
    let of_image = |property, member: &str, set, changed, seen: [Json; 2]| {
        let pointer: &'static str = Box::leak(format!("{settings}/{member}").into_boxed_str());
        let [first, second] = seen;
        image(property, set, changed, pointer, [first, second, Json::Null])
    };
    let [one, two] = ["1", "2"].map(|number| json!(format!("{}{number}", SIGNING[2])));
    vec![
        object(
            "code.s3",
            "code: { s3: { bucket: deploys, key: app-1.zip } }",
            "code: { s3: { bucket: deploys, key: application-2.zip } }",
            [18, 26, 175],
        )
        .removal_shows(&[(SELF, "update", &["code_sha256", "code_size"])])
        .drift_shows(CODE),
        object(
            "code.s3.bucket",
            "code: { s3: { bucket: deploys, key: app.zip } }",
            "code: { s3: { bucket: others-deploys, key: app.zip } }",
            [16, 23, 0],
        )
        .required("is missing `bucket`"),
        object(
            "code.s3.key",
            "code: { s3: { bucket: deploys, key: app.zip } }",
            "code: { s3: { bucket: deploys, key: 'with a space.zip' } }",
            [16, 25, 0],
        )
        .required("is missing `key`"),
        object(
            "code.s3.version",
            "code: { s3: { bucket: deploys, key: app.zip, version: one } }",
            "code: { s3: { bucket: deploys, key: app.zip, version: three } }",
            [19, 21, 16],
        )
        .given("code: { s3: { bucket: deploys, key: app.zip } }"),
        by_uri(
            "code.image",
            "code: { image: '123456789012.dkr.ecr.eu-central-1.amazonaws.com/app:2' }",
            "code: { image: '123456789012.dkr.ecr.eu-central-1.amazonaws.com/app:3' }",
        ),
        by_uri(
            "code.image.uri",
            "code: { image: { uri: '123456789012.dkr.ecr.eu-central-1.amazonaws.com/app:2' } }",
            "code: { image: { uri: '123456789012.dkr.ecr.eu-central-1.amazonaws.com/app:3', command: [a] } }",
        )
        .required("is missing `uri`"),
        of_image(
            "code.image.command",
            "Command",
            "code: { image: { uri: '123456789012.dkr.ecr.eu-central-1.amazonaws.com/app:1', command: [app.run] } }",
            "code: { image: { uri: '123456789012.dkr.ecr.eu-central-1.amazonaws.com/app:1', command: [a, b] } }",
            [json!(["app.run"]), json!(["a", "b"])],
        ),
        of_image(
            "code.image.entry_point",
            "EntryPoint",
            "code: { image: { uri: '123456789012.dkr.ecr.eu-central-1.amazonaws.com/app:1', entry_point: [/a, b] } }",
            "code: { image: { uri: '123456789012.dkr.ecr.eu-central-1.amazonaws.com/app:1', entry_point: [/c] } }",
            [json!(["/a", "b"]), json!(["/c"])],
        ),
        of_image(
            "code.image.working_directory",
            "WorkingDirectory",
            "code: { image: { uri: '123456789012.dkr.ecr.eu-central-1.amazonaws.com/app:1', working_directory: /a } }",
            "code: { image: { uri: '123456789012.dkr.ecr.eu-central-1.amazonaws.com/app:1', working_directory: /b } }",
            [json!("/a"), json!("/b")],
        ),
        row(KIND, "code_signing_config_arn", SIGNING[0], SIGNING[1])
            .given("code: { s3: { bucket: deploys, key: signed.zip } }")
            .seen("/Signing", one, two, json!(""))
            .drift(Lambda(
                "PUT /2020-06-30/functions/{function}/code-signing-config",
                json!({ "CodeSigningConfigArn": "arn:aws:lambda:eu-central-1:123456789012:code-signing-config:csc-3" }),
            ))
            .not_local("its S3 has no such object"),
    ]
}

/// A part of the URL.
fn url(property: &'static str, member: &'static str, values: [&'static str; 2], seen: [Json; 3]) -> Row {
    let ([set, changed], [first, second, last]) = (values, seen);
    let pointer: &'static str = Box::leak(format!("/Url/{member}").into_boxed_str());
    let cors = json!({
        "AllowCredentials": true,
        "AllowHeaders": ["by-hand"],
        "AllowMethods": ["PATCH"],
        "AllowOrigins": ["https://by.hand"],
        "ExposeHeaders": ["by-hand"],
        "MaxAge": 7,
    });
    let drifted = json!({ "AuthType": "NONE", "InvokeMode": "RESPONSE_STREAM", "Cors": cors });
    row(KIND, property, set, changed)
        .seen(pointer, first, second, last)
        .drift(Lambda("PUT /2021-10-31/functions/{function}/url", drifted))
}

fn urls() -> Vec<Row> {
    let given = "url: { auth_type: AWS_IAM }";
    let cors = |property: &'static str, member: &'static str, values: [&'static str; 2], seen: [Json; 2]| {
        let [first, second] = seen;
        url(property, member, values, [first, second, Json::Null]).given(given)
    };
    let statements: [(&str, &str, &[&str]); 3] =
        [(SELF, "update", &["url"]), ("logger-url", "create", &[]), ("logger-url-invoke", "create", &[])];
    vec![
        row(
            KIND,
            "url",
            "url: { auth_type: AWS_IAM, cors: { max_age: 5 } }",
            "url: { auth_type: AWS_IAM, cors: { max_age: 9 } }",
        )
        .seen("/Url/Cors/MaxAge", json!(5), json!(9), Json::Null)
        .drift(Lambda("POST /2021-10-31/functions/{function}/url", json!({ "AuthType": "NONE" }))),
        url(
            "url.auth_type",
            "AuthType",
            ["url: { auth_type: AWS_IAM }", "url: { auth_type: NONE }"],
            [json!("AWS_IAM"), json!("NONE"), Json::Null],
        )
        .shows(&statements)
        .drift_shows(&[(SELF, "update", &["url"])])
        .required("is missing `auth_type`"),
        url(
            "url.invoke_mode",
            "InvokeMode",
            [
                "url: { auth_type: AWS_IAM, invoke_mode: BUFFERED }",
                "url: { auth_type: AWS_IAM, invoke_mode: RESPONSE_STREAM }",
            ],
            [json!("BUFFERED"), json!("RESPONSE_STREAM"), json!("BUFFERED")],
        )
        .given(given)
        .drift(Lambda("PUT /2021-10-31/functions/{function}/url", json!({ "InvokeMode": "RESPONSE_STREAM" }))),
        cors(
            "url.cors",
            "Cors/MaxAge",
            ["url: { auth_type: AWS_IAM, cors: { max_age: 5 } }", "url: { auth_type: AWS_IAM, cors: { max_age: 9 } }"],
            [json!(5), json!(9)],
        ),
        cors(
            "url.cors.allow_credentials",
            "Cors/AllowCredentials",
            [
                "url: { auth_type: AWS_IAM, cors: { max_age: 5, allow_credentials: true } }",
                "url: { auth_type: AWS_IAM, cors: { max_age: 5, allow_credentials: false } }",
            ],
            [json!(true), json!(false)],
        ),
        cors(
            "url.cors.allow_headers",
            "Cors/AllowHeaders",
            [
                "url: { auth_type: AWS_IAM, cors: { allow_headers: [x-two, x-one] } }",
                "url: { auth_type: AWS_IAM, cors: { allow_headers: [x-one] } }",
            ],
            [json!(["x-one", "x-two"]), json!(["x-one"])],
        ),
        cors(
            "url.cors.allow_methods",
            "Cors/AllowMethods",
            [
                "url: { auth_type: AWS_IAM, cors: { allow_methods: [GET, '*'] } }",
                "url: { auth_type: AWS_IAM, cors: { allow_methods: [POST] } }",
            ],
            [json!(["*", "GET"]), json!(["POST"])],
        ),
        cors(
            "url.cors.allow_origins",
            "Cors/AllowOrigins",
            [
                "url: { auth_type: AWS_IAM, cors: { allow_origins: ['https://one.example'] } }",
                "url: { auth_type: AWS_IAM, cors: { allow_origins: ['*'] } }",
            ],
            [json!(["https://one.example"]), json!(["*"])],
        ),
        cors(
            "url.cors.expose_headers",
            "Cors/ExposeHeaders",
            [
                "url: { auth_type: AWS_IAM, cors: { expose_headers: [x-one] } }",
                "url: { auth_type: AWS_IAM, cors: { expose_headers: [x-two] } }",
            ],
            [json!(["x-one"]), json!(["x-two"])],
        ),
        cors(
            "url.cors.max_age",
            "Cors/MaxAge",
            [
                "url: { auth_type: AWS_IAM, cors: { max_age: 5, allow_origins: ['*'] } }",
                "url: { auth_type: AWS_IAM, cors: { max_age: 9, allow_origins: ['*'] } }",
            ],
            [json!(5), json!(9)],
        ),
    ]
}

pub(super) fn rows() -> Vec<Row> {
    [settings(), asynchronous_invocations(), urls(), networks(), permissions(), references()].concat()
}

fn settings() -> Vec<Row> {
    vec![
        setting(
            "runtime",
            ["runtime: nodejs24.x", "runtime: nodejs20.x"],
            "/Configuration/Runtime",
            [json!("nodejs24.x"), json!("nodejs20.x"), Json::Null],
            json!({ "Runtime": "nodejs22.x" }),
        )
        .required("is missing `runtime`"),
        setting(
            "handler",
            ["handler: index.one", "handler: index.two"],
            "/Configuration/Handler",
            [json!("index.one"), json!("index.two"), Json::Null],
            json!({ "Handler": "index.three" }),
        )
        .required("is missing `handler`"),
        setting(
            "role",
            ["role: ${execution-role.arn}", "role: \"arn:aws:iam::${account}:role/other\""],
            "/Configuration/Role",
            [
                json!("arn:aws:iam::{account}:role/fhms-pulumi-challenge-lambda-execution-role"),
                json!("arn:aws:iam::{account}:role/other"),
                // Without a role, the function implies one.
                json!("arn:aws:iam::{account}:role/blue-owls-logger-role"),
            ],
            json!({ "Role": "arn:aws:iam::{account}:role/fhms-pulumi-challenge-lambda-execution-role" }),
        )
        .given("role:")
        .removal_shows(&[(SELF, "update", &["role"]), ("logger-role", "create", &[])])
        .drift_shows(&[(SELF, "update", &["role"])]),
        code("code", "code: ../one", "code: ../two", [175, 151, 0]).required("is missing `code`"),
        code(
            "code.inline",
            "code: { inline: 'exports.handler = async () => 1000;' }",
            "code: { inline: 'exports.handler = async () => 20;' }",
            [149, 147, 0],
        )
        .required("`code` needs one of `inline`, `path`"),
        code("code.path", "code: { path: ../one }", "code: { path: ../two }", [175, 151, 0])
            .required("`code` needs one of `inline`, `path`"),
        code(
            "code.exclude",
            "code: { path: ../many, exclude: [a.txt] }",
            "code: { path: ../many, exclude: ['*.txt'] }",
            [236, 147, 324],
        )
        .given("code: { path: ../many }"),
        setting(
            "description",
            ["description: reads", "description: writes"],
            "/Configuration/Description",
            [json!("reads"), json!("writes"), json!("")],
            json!({ "Description": "by hand" }),
        ),
        setting(
            "memory_size",
            ["memory_size: 256", "memory_size: 512"],
            "/Configuration/MemorySize",
            [json!(256), json!(512), json!(128)],
            json!({ "MemorySize": 1024 }),
        ),
        setting(
            "timeout",
            ["timeout: 10", "timeout: 20"],
            "/Configuration/Timeout",
            [json!(10), json!(20), json!(3)],
            json!({ "Timeout": 30 }),
        ),
        setting(
            "environment",
            ["environment: { LEVEL: debug, MODE: fast }", "environment: { LEVEL: info }"],
            "/Configuration/Environment/Variables",
            [json!({ "LEVEL": "debug", "MODE": "fast" }), json!({ "LEVEL": "info" }), json!({})],
            json!({ "Environment": { "Variables": { "LEVEL": "by hand" } } }),
        ),
        row(KIND, "architecture", "architecture: x86_64", "architecture: arm64")
            .seen("/Configuration/Architectures", json!(["x86_64"]), json!(["arm64"]), json!(["x86_64"]))
            // AWS accepts it only together with code.
            .drift(upload("arm64"))
            .drift_shows(&[(SELF, "update", &["architecture", "code_sha256", "code_size"])]),
        setting(
            "layers",
            [
                "layers: [\"arn:aws:lambda:eu-central-1:123456789012:layer:a:1\"]",
                "layers: [\"arn:aws:lambda:eu-central-1:123456789012:layer:b:1\", \"arn:aws:lambda:eu-central-1:123456789012:layer:a:1\"]",
            ],
            "/Configuration/Layers/0/Arn",
            [
                json!("arn:aws:lambda:eu-central-1:123456789012:layer:a:1"),
                json!("arn:aws:lambda:eu-central-1:123456789012:layer:b:1"),
                Json::Null,
            ],
            json!({ "Layers": ["arn:aws:lambda:eu-central-1:123456789012:layer:c:1"] }),
        ),
        setting(
            "ephemeral_storage",
            ["ephemeral_storage: 1024", "ephemeral_storage: 2048"],
            "/Configuration/EphemeralStorage/Size",
            [json!(1024), json!(2048), json!(512)],
            json!({ "EphemeralStorage": { "Size": 4096 } }),
        ),
        setting(
            "tracing",
            ["tracing: PassThrough", "tracing: Active"],
            "/Configuration/TracingConfig/Mode",
            [json!("PassThrough"), json!("Active"), json!("PassThrough")],
            json!({ "TracingConfig": { "Mode": "Active" } }),
        ),
        // JSON also adds the log levels, at INFO.
        setting(
            "log_format",
            ["log_format: Text", "log_format: JSON"],
            "/Configuration/LoggingConfig/LogFormat",
            [json!("Text"), json!("JSON"), json!("Text")],
            json!({ "LoggingConfig": { "LogFormat": "JSON" } }),
        )
        .shows(&[(SELF, "update", &["log_format", "application_log_level", "system_log_level"])]),
        setting(
            "log_group",
            ["log_group: /teams/owls", "log_group: /teams/foxes"],
            "/Configuration/LoggingConfig/LogGroup",
            [json!("/teams/owls"), json!("/teams/foxes"), json!("/aws/lambda/blue-owls-logger")],
            json!({ "LoggingConfig": { "LogFormat": "Text", "LogGroup": "/by/hand" } }),
        ),
        setting(
            "application_log_level",
            ["application_log_level: DEBUG", "application_log_level: WARN"],
            "/Configuration/LoggingConfig/ApplicationLogLevel",
            [json!("DEBUG"), json!("WARN"), json!("INFO")],
            json!({ "LoggingConfig": {
                "LogFormat": "JSON",
                "LogGroup": "/aws/lambda/blue-owls-logger",
                "ApplicationLogLevel": "FATAL",
                "SystemLogLevel": "INFO",
            } }),
        )
        .given("log_format: JSON"),
        setting(
            "system_log_level",
            ["system_log_level: DEBUG", "system_log_level: WARN"],
            "/Configuration/LoggingConfig/SystemLogLevel",
            [json!("DEBUG"), json!("WARN"), json!("INFO")],
            json!({ "LoggingConfig": {
                "LogFormat": "JSON",
                "LogGroup": "/aws/lambda/blue-owls-logger",
                "ApplicationLogLevel": "INFO",
                "SystemLogLevel": "WARN",
            } }),
        )
        .given("log_format: JSON"),
        row(
            KIND,
            "reserved_concurrent_executions",
            "reserved_concurrent_executions: 0",
            "reserved_concurrent_executions: 2",
        )
        .seen("/Concurrency/ReservedConcurrentExecutions", json!(0), json!(2), Json::Null)
        .drift(Lambda(
            "PUT /2017-10-31/functions/{function}/concurrency",
            json!({ "ReservedConcurrentExecutions": 0 }),
        )),
        setting(
            "dead_letter_target_arn",
            [
                "dead_letter_target_arn: \"arn:aws:sqs:eu-central-1:123456789012:one\"",
                "dead_letter_target_arn: \"arn:aws:sqs:eu-central-1:123456789012:two\"",
            ],
            "/Configuration/DeadLetterConfig/TargetArn",
            [
                json!("arn:aws:sqs:eu-central-1:123456789012:one"),
                json!("arn:aws:sqs:eu-central-1:123456789012:two"),
                Json::Null,
            ],
            json!({ "DeadLetterConfig": { "TargetArn": "arn:aws:sns:eu-central-1:123456789012:three" } }),
        )
        .not_local("it wants the queue to exist"),
        row(KIND, "tags", "tags: { course: cloud }", "tags: { course: rust }")
            .seen("/Tags/course", json!("cloud"), json!("rust"), json!("rust"))
            .drift(Lambda(
                "POST /2017-03-31/tags/arn:aws:lambda:eu-central-1:{account}:function:{function}",
                json!({ "Tags": { "course": "none" } }),
            ))
            .retained(),
    ]
}
