//! Forged requests that the guard must block: each write that engine declares, on each resource
//! that it must not change, in each form in which AWS accepts a name.
//!
//! The requests are forged below the SDK's operations, so they can be ones that no resource type
//! sends. They are generated from the declared operations, so a new operation is covered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use engine::aws::{Access, AwsError, CallContext, Code, Connection, Context, LocalSettings, Network, Overrides};
use engine::operation::{self, At, Effect, Operation, Operations, Takes, TargetField, Wire};
use engine::schema::{AwsEnv, Id, Owner, Ownership};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use super::Project;
use super::library::{context, load, read, team};
use super::server::{Cloud, Fault};
use super::world::{ACCOUNT, REGION, Reply, World};

const SPEC: &str = "
team: blue-owls
stack: team
resources:
  role: { type: role, import: fhms-pulumi-challenge-lambda-execution-role }
  todos: { type: table, attributes: { id: S }, hash_key: id, billing_mode: PAY_PER_REQUEST, stream_view_type: KEYS_ONLY }
  theirs: { type: table, attributes: { id: S }, hash_key: id, billing_mode: PAY_PER_REQUEST }
  shared: { type: table, import: blue-owls-imported }
  logger: { type: function, runtime: nodejs22.x, handler: index.handler, role: '${role.arn}', code: { inline: 'exports.handler = 1' } }
  their-logger: { type: function, name: blue-owls-their-logger, runtime: nodejs22.x, handler: index.handler, role: '${role.arn}', code: { inline: 'exports.handler = 1' } }
  shared-logger: { type: function, import: blue-owls-imported-logger }
  jobs: { type: queue }
  their-jobs: { type: queue, name: blue-owls-their-jobs }
  shared-jobs: { type: queue, import: blue-owls-imported-jobs }
  runner: { type: role, trusted_services: [states.amazonaws.com] }
  their-runner: { type: role, name: blue-owls-their-runner, trusted_services: [states.amazonaws.com] }
  shared-runner: { type: role, import: blue-owls-imported-runner }
  feed: { type: mapping, function: '${logger.arn}', event_source_arn: '${todos.stream_arn}', starting_position: LATEST }
";

/// The text of a forged message.
const MESSAGE: &str = "{\"engine_verify\":\"x\"}";

/// A request in wire format.
#[derive(Debug, Clone)]
struct Forged {
    method: &'static str,
    path: String,
    target: Option<String>,
    body: String,
}

/// A request of this operation on the resource with this name, which may be in any form.
fn forged(operation: &Operation, name: &str) -> Forged {
    let values = [
        operation.target.map(|it| (it.at, name)),
        operation.statement.map(|it| (it, "blue-owls-x")),
        operation.asks.and_then(|asks| asks.at).map(|it| (it, "blue-owls-x")),
    ];
    let values: Vec<(At, &str)> = values.into_iter().flatten().collect();
    let in_body = values.iter().filter_map(|(at, value)| match at {
        At::Body(name) => Some(((*name).to_owned(), json!(value))),
        _ => None,
    });
    let message = operation.item.filter(|_| operation.effect == Effect::Message);
    let message = message.map(|name| (name.to_owned(), json!(MESSAGE)));
    let body: serde_json::Map<_, _> = in_body.chain(message).collect();
    let json = serde_json::Value::Object(body).to_string();
    match operation.wire {
        Wire::Json(prefix) => Forged {
            method: "POST",
            path: "/".to_owned(),
            target: Some(format!("{prefix}.{}", operation.name)),
            body: json,
        },
        Wire::Query => {
            let fields = values.iter().filter_map(|(at, value)| match at {
                At::Form(name) => Some(format!("&{name}={value}")),
                _ => None,
            });
            let body = format!("Action={}{}", operation.name, fields.collect::<String>());
            Forged { method: "POST", path: "/".to_owned(), target: None, body }
        }
        Wire::Rest(method, pattern) => {
            let path = values.iter().fold(pattern.to_owned(), |path, (at, value)| match at {
                At::Path(name) => path.replace(&format!("{{{name}}}"), value),
                At::Query(name) => format!("{path}?{name}={value}"),
                _ => path,
            });
            let body = if matches!(method, "POST" | "PUT") { json } else { String::new() };
            Forged { method, path, target: None, body }
        }
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn each_byte_encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// The forms of a name that an operation accepts, all equivalent to AWS.
fn forms(target: &TargetField, name: &str) -> Vec<String> {
    let arn = target.form.arn(&AwsEnv::new(REGION, ACCOUNT), name);
    let mut forms = match target.takes {
        Takes::Name => vec![name.to_owned()],
        Takes::Arn => vec![arn.clone()],
        Takes::Either => vec![name.to_owned(), arn.clone()],
        Takes::Url => vec![target.form.url(&AwsEnv::new(REGION, ACCOUNT), name)],
    };
    if target.form.is_qualified {
        forms.extend(["live", "$LATEST", "1"].map(|version| format!("{arn}:{version}")));
        if target.takes == Takes::Either {
            forms.extend([format!("{name}:live"), format!("{name}:blue-owls-logger")]);
        }
    }
    if matches!(target.at, At::Path(_)) {
        let plain = forms.clone();
        forms.extend(plain.iter().flat_map(|form| [encoded(form), each_byte_encoded(form)]));
    }
    forms
}

/// Sends the forged request through the clients that resource types use.
async fn send_forged(cx: &Context, forged: &Forged) -> Result<(), AwsError> {
    let Forged { method, path, target, body } = forged.clone();
    let forge = move |request: &mut HttpRequest| {
        let host = request.uri().split('/').take(3).collect::<Vec<_>>().join("/");
        request.set_uri(format!("{host}{path}")).unwrap();
        request.set_method(method).unwrap();
        match &target {
            Some(target) => drop(request.headers_mut().insert("x-amz-target", target.clone())),
            None => drop(request.headers_mut().remove("x-amz-target")),
        }
        request.headers_mut().insert("content-length", body.len().to_string());
        *request.body_mut() = SdkBody::from(body.clone());
    };
    let (_, lambda, _) = cx.aws.clients();
    lambda.list_functions().customize().mutate_request(forge).send().await.context("lie", "").map(drop)
}

fn tags(team: &str, resource: &str) -> BTreeMap<String, String> {
    let tags = [("engine:team", team), ("engine:stack", "team"), ("engine:resource", resource)];
    tags.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

/// An account with resources of this stack and of others, after a read of a spec that declares
/// both.
async fn stage(access: Access) -> (Cloud, Context, [String; 3]) {
    let mut world = World::empty();
    let mut stream = String::new();
    for (name, team, resource) in [
        ("blue-owls-todos", "blue-owls", "todos"),
        ("blue-owls-theirs", "red-foxes", "theirs"),
        ("blue-owls-imported", "blue-owls", "shared"),
        ("blue-owls-unseen", "blue-owls", "unseen"),
        ("red-foxes-todos", "red-foxes", "todos"),
    ] {
        let table = world.add_table(name, true, tags(team, resource));
        if resource == "todos" && team == "blue-owls" {
            stream = table.shown["LatestStreamArn"].as_str().unwrap().to_owned();
        }
    }
    for (name, team, resource) in [
        ("blue-owls-logger", "blue-owls", "logger"),
        ("blue-owls-their-logger", "red-foxes", "their-logger"),
        ("blue-owls-imported-logger", "blue-owls", "shared-logger"),
        ("blue-owls-unseen-logger", "blue-owls", "unseen"),
        ("red-foxes-logger", "red-foxes", "logger"),
    ] {
        world.add_function(name, tags(team, resource));
    }
    for (name, team, resource) in [
        ("blue-owls-jobs", "blue-owls", "jobs"),
        ("blue-owls-their-jobs", "red-foxes", "their-jobs"),
        ("blue-owls-imported-jobs", "blue-owls", "shared-jobs"),
        ("blue-owls-unseen-jobs", "blue-owls", "unseen"),
        ("red-foxes-jobs", "red-foxes", "jobs"),
    ] {
        world.add_queue(name, tags(team, resource));
    }
    for (name, team, resource) in [
        ("blue-owls-runner", "blue-owls", "runner"),
        ("blue-owls-their-runner", "red-foxes", "their-runner"),
        ("blue-owls-imported-runner", "blue-owls", "shared-runner"),
        ("blue-owls-unseen-runner", "blue-owls", "unseen"),
        ("red-foxes-runner", "red-foxes", "runner"),
    ] {
        world.add_role(name, tags(team, resource));
    }
    world.add_mapping("blue-owls-logger", &stream, tags("blue-owls", "feed"));
    world.add_mapping("blue-owls-logger", "arn:aws:dynamodb:x:1:table/t/stream/1", tags("red-foxes", "feed"));
    world.add_mapping("red-foxes-logger", &stream, tags("blue-owls", "feed"));
    let uuids: Vec<String> = world.mappings.iter().map(|mapping| mapping.uuid.clone()).collect();
    let cloud = Cloud::on_current_runtime(world).await;
    let project = Project::usual();
    project.spec(SPEC);
    let (cx, _press) = context(&cloud, access);
    read(&cx, &mut load(&project.path("specs/team.yaml"))).await.unwrap();
    cloud.forget();
    (cloud, cx, uuids.try_into().unwrap())
}

/// What a run that makes calls with this effect is allowed to do; `function` is the one to invoke.
fn access(effect: Effect, function: &str) -> Access {
    let (team_name, owns) = ("blue-owls".to_owned(), BTreeSet::new());
    match effect {
        Effect::Item | Effect::Message => Access::Items { team: team_name, owns },
        Effect::Invoke => Access::Single {
            team: team_name,
            owns,
            effect,
            kind: "function",
            name: function.to_owned(),
            allow_imported: false,
        },
        Effect::Read | Effect::Create | Effect::Write => team(),
    }
}

/// Checks that the guard blocks the request and nothing is sent.
async fn assert_blocked(cx: &Context, cloud: &Cloud, lie_about: &str, forged: &Forged) {
    let error = send_forged(cx, forged).await.expect_err(lie_about);
    assert_eq!(error.cause, Code::Guarded, "{lie_about}: {error}");
    assert_eq!(cloud.calls().len(), 0, "{lie_about}");
}

/// The operation's name in the scripted AWS, which distinguishes operations with the same name.
fn in_cloud(operation: &Operation) -> &'static str {
    match operation.action {
        "dynamodb:TagResource" => "TagTable",
        "dynamodb:UntagResource" => "UntagTable",
        "logs:TagResource" => "TagLogGroup",
        "logs:UntagResource" => "UntagLogGroup",
        "iam:GetPolicy" => "IAM's GetPolicy",
        _ => operation.name,
    }
}

/// Names of resources that this stack must not write to, each for a different reason.
fn not_ours<'a>(kind: &str, effect: Effect, [_, their_mapping, unseen_mapping]: &'a [String; 3]) -> Vec<&'a str> {
    let mut names = match kind {
        "table" => vec![
            "red-foxes-todos",
            "Blue-Owls-todos",
            "BLUE-OWLS-todos",
            "blue-owlstodos",
            "blue-owls",
            "blue-owls-theirs",
            "blue-owls-imported",
            "blue-owls-todos/stream/1",
            "red-foxes-todos/index/blue-owls-todos",
            "red-foxes-todos/stream/blue-owls-todos",
            "blue-owls-todos/../red-foxes-todos",
            "",
        ],
        "queue" => vec![
            "red-foxes-jobs",
            "Blue-Owls-jobs",
            "blue-owlsjobs",
            "blue-owls",
            "blue-owls-their-jobs",
            "blue-owls-imported-jobs",
            "red-foxes-jobs/blue-owls-jobs",
            "blue-owls-jobs/../red-foxes-jobs",
            "blue-owls-jobs?Action=DeleteQueue",
            "",
        ],
        "role" => vec![
            "red-foxes-runner",
            "Blue-Owls-runner",
            "BLUE-OWLS-runner",
            "blue-owlsrunner",
            "blue-owls",
            "blue-owls-their-runner",
            "blue-owls-imported-runner",
            "fhms-pulumi-challenge-lambda-execution-role",
            "teams/blue-owls-runner",
            "blue-owls-runner/red-foxes-runner",
            "blue-owls-runner%26RoleName%3Dred-foxes-runner",
            "",
        ],
        "mapping" => return vec![their_mapping, unseen_mapping, "blue-owls-feed", "..", "%2E%2E"],
        _ => vec![
            "red-foxes-logger",
            "Blue-Owls-logger",
            "BLUE-OWLS-logger",
            "blue-owlslogger",
            "blue-owls",
            "blue-owls-their-logger",
            "blue-owls-imported-logger",
            "red-foxes-logger:function:blue-owls-logger",
            "function:blue-owls-logger",
            "blue-owls-logger/../red-foxes-logger",
        ],
    };
    if effect != Effect::Create {
        // IAM ignores the case of names, so this is another form of a name that was read.
        names.extend((kind == "role").then_some("blue-owls-Runner"));
        names.push(match kind {
            "role" => "blue-owls-unseen-runner",
            "table" => "blue-owls-unseen",
            "queue" => "blue-owls-unseen-jobs",
            _ => "blue-owls-unseen-logger",
        });
    }
    names
}

#[tokio::test]
async fn no_declared_write_reaches_a_resource_that_engine_does_not_own() {
    let (mut n_lies, mut n_true) = (0, 0);
    for operation in operation::all().iter().filter(|it| it.effect != Effect::Read) {
        let (name, target) = (operation.name, operation.target.expect("a write is about something"));
        if !["table", "function", "mapping", "queue", "role"].contains(&target.form.kind) {
            continue;
        }
        let access = access(operation.effect, "blue-owls-logger");
        let (cloud, cx, mappings) = stage(access).await;
        let kind = target.form.kind;
        let ours = match kind {
            "table" => "blue-owls-todos",
            "mapping" => &mappings[0],
            "queue" => "blue-owls-jobs",
            "role" => "blue-owls-runner",
            _ => "blue-owls-logger",
        };
        let not_ours = not_ours(kind, operation.effect, &mappings);
        let mut lies: Vec<String> = not_ours.iter().flat_map(|name| forms(&target, name)).collect();
        // The same name in another account or region is another resource.
        for arn in forms(&target, ours).into_iter().filter(|form| form.contains("arn") || form.contains("://")) {
            lies.push(arn.replace(ACCOUNT, "210987654321"));
            lies.push(arn.replace(REGION, "eu-west-1").replace(&encoded(REGION), &encoded("eu-west-1")));
        }
        lies.retain(|form| !forms(&target, ours).contains(form));
        if target.takes == Takes::Url {
            // AWS could read these differently: a name, an ARN, and other hosts and paths.
            lies.extend([ours.to_owned(), target.form.arn(&AwsEnv::new(REGION, ACCOUNT), ours)]);
            lies.extend(
                [
                    "http://127.0.0.1:4566",
                    "https://sqs.eu-central-1.amazonaws.com.example",
                    "http://sqs.eu-central-1.amazonaws.com",
                    "https://sqs.amazonaws.com",
                ]
                .map(|host| format!("{host}/{ACCOUNT}/{ours}")),
            );
            lies.extend([
                format!("https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/x/{ours}"),
                format!("https://sqs.{REGION}.amazonaws.com/{ours}"),
            ]);
        }
        if kind == "function" {
            // Partial ARNs: of another team's function, and of this stack's in another account.
            lies.push(format!("{ACCOUNT}:function:red-foxes-logger"));
            lies.push("210987654321:function:blue-owls-logger".to_owned());
        }
        // The user confirmed the message to each of them, which is only enough for an imported queue
        // that no other team owns.
        let named = [&not_ours[..], &[ours]].concat();
        let confirmed = named.iter().filter(|name| **name != "blue-owls-imported-jobs");
        for name in confirmed.filter(|_| operation.effect == Effect::Message) {
            cx.aws.guard.allow_message(kind, name, MESSAGE);
        }
        for form in lies {
            assert_blocked(&cx, &cloud, &format!("{name} of {form}"), &forged(operation, &form)).await;
            n_lies += 1;
        }
        // Permitted requests must pass in every form; otherwise the checks above prove nothing.
        let in_cloud = in_cloud(operation);
        cloud.always(in_cloud, Fault::Answer(Reply::ok(&json!({}))));
        for form in forms(&target, ours) {
            let before = cloud.count(in_cloud);
            drop(send_forged(&cx, &forged(operation, &form)).await);
            assert_eq!(cloud.count(in_cloud), before + 1, "{name} of {form} is ours");
            n_true += 1;
        }
    }
    eprintln!("guard: {n_lies} lies about writes stopped, {n_true} true ones let through");
}

/// The same for every resource type, also for those that [`stage`] doesn't create: the guard gets
/// the observations directly.
#[tokio::test]
async fn no_write_of_any_kind_reaches_a_resource_read_as_another_owners() {
    let (cloud, ..) = stage(team()).await;
    let kinds = engine::kinds::all();
    let owner = |team: &str| Owner { team: team.to_owned(), stack: "team".to_owned(), resource: "it".to_owned() };
    let id = |name: &str| Id {
        owner: owner("blue-owls"),
        name: name.to_owned(),
        arn: None,
        parents: BTreeMap::new(),
        env: None,
        unique_id: None,
    };
    for operation in operation::all().iter().filter(|it| it.effect != Effect::Read) {
        let (name, target) = (operation.name, operation.target.expect("a write is about something"));
        if target.form.attached_to.is_some() {
            continue;
        }
        let access = access(operation.effect, "blue-owls-x");
        let (cx, _press) = context(&cloud, access);
        let guard = &cx.aws.guard;
        guard.observe_env(&AwsEnv::new(REGION, ACCOUNT));
        let schema = kinds.get(target.form.kind).unwrap().schema();
        for (name, team) in [("blue-owls-x", "blue-owls"), ("blue-owls-y", "red-foxes"), ("red-foxes-x", "red-foxes")] {
            let live = crate::tidy::live(Ownership::Engine(owner(team)));
            guard.observe(schema, &id(name), &live);
        }
        guard.observe_import(target.form.kind, "blue-owls-z");
        for name in ["blue-owls-x", "blue-owls-y", "blue-owls-z", "blue-owls-unseen", "red-foxes-x", "blue-owls"] {
            guard.allow_message(target.form.kind, name, MESSAGE);
        }
        let unseen = (operation.effect != Effect::Create).then_some("blue-owls-unseen");
        let elsewhere = ["blue-owls-x/red-foxes-x", "/blue-owls-x/red-foxes-x", "/blue-owls-x/", "/blue-owls/x"];
        let lies = ["blue-owls-y", "blue-owls-z", "red-foxes-x", "blue-owls"].into_iter().chain(elsewhere);
        for lie in lies.chain(unseen) {
            for form in forms(&target, lie) {
                assert_blocked(&cx, &cloud, &format!("{name} of {form}"), &forged(operation, &form)).await;
            }
        }
        cloud.always(in_cloud(operation), Fault::Answer(Reply::ok(&json!({}))));
        for (n_before, form) in forms(&target, "blue-owls-x").iter().enumerate() {
            drop(send_forged(&cx, &forged(operation, form)).await);
            assert_eq!(cloud.calls().len(), n_before + 1, "{name} of {form} is ours");
        }
        cloud.forget();
    }
}

#[tokio::test]
async fn ambiguous_requests_are_not_sent() {
    let (cloud, cx, [our_mapping, ..]) = stage(team()).await;
    let (ours, theirs) = ("blue-owls-todos", "red-foxes-todos");
    let arn = |name: &str| format!("arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}");
    let dynamodb = |operation: &str, body: String| Forged {
        method: "POST",
        path: "/".to_owned(),
        target: Some(format!("DynamoDB_20120810.{operation}")),
        body,
    };
    let lambda =
        |method, path: &str, body: &str| Forged { method, path: path.to_owned(), target: None, body: body.to_owned() };
    let iam = |body: &str| lambda("POST", "/", body);
    let functions = "/2015-03-31/functions";
    let (our_arn, their_arn) = (arn(ours), arn(theirs));
    let cases = [
        // A duplicate key in either order, and a key in different case.
        dynamodb("DeleteTable", format!(r#"{{"TableName":"{ours}","TableName":"{theirs}"}}"#)),
        dynamodb("DeleteTable", format!(r#"{{"TableName":"{theirs}","TableName":"{ours}"}}"#)),
        dynamodb("DeleteTable", format!(r#"{{"tableName":"{ours}"}}"#)),
        dynamodb("DeleteTable", format!(r#"{{"TableName":"{ours}","TableName":"{theirs}"}}"#)),
        // A field of another operation that names this stack's table.
        dynamodb("TagResource", format!(r#"{{"TableName":"{ours}","ResourceArn":"{their_arn}","Tags":[]}}"#)),
        dynamodb("UntagResource", format!(r#"{{"ResourceArn":"{their_arn}","TableName":"{ours}","TagKeys":[]}}"#)),
        dynamodb("DeleteTable", format!(r#"{{"ResourceArn":"{our_arn}","TableName":"{theirs}"}}"#)),
        dynamodb("UpdateTable", format!(r#"{{"ResourceArn":"{our_arn}"}}"#)),
        dynamodb("DeleteTable", "{}".to_owned()),
        dynamodb("DeleteTable", String::new()),
        dynamodb("DeleteTable", format!(r#"[{{"TableName":"{ours}"}}]"#)),
        dynamodb("DeleteTable", format!(r#"{{"TableName":["{ours}"]}}"#)),
        Forged {
            path: format!("/?TableName={ours}"),
            ..dynamodb("DeleteTable", format!(r#"{{"TableName":"{ours}"}}"#))
        },
        // Operations that engine doesn't use, also on this stack's resources.
        dynamodb("DeleteItem", format!(r#"{{"TableName":"{ours}","Key":{{}}}}"#)),
        dynamodb("PutResourcePolicy", format!(r#"{{"ResourceArn":"{our_arn}","Policy":"{{}}"}}"#)),
        dynamodb("DeleteTable.DescribeTable", format!(r#"{{"TableName":"{ours}"}}"#)),
        lambda("POST", &format!("{functions}/blue-owls-logger/aliases"), "{}"),
        lambda("POST", &format!("{functions}/blue-owls-logger/invocations"), "{}"),
        lambda("PUT", "/2019-09-30/functions/blue-owls-logger/provisioned-concurrency", "{}"),
        lambda("POST", &format!("{functions}/blue-owls-logger/../red-foxes-logger/policy"), "{}"),
        lambda("DELETE", &format!("{functions}/red-foxes-logger?FunctionName=blue-owls-logger"), ""),
        lambda("DELETE", &format!("{functions}/red-foxes-logger?Qualifier=blue-owls-logger"), ""),
        // A read of another service in the header of a write.
        Forged {
            target: Some("DynamoDB_20120810.DescribeTable".to_owned()),
            ..lambda("DELETE", &format!("{functions}/red-foxes-logger"), "{}")
        },
        Forged {
            target: Some("ResourceGroupsTaggingAPI_20170126.GetResources".to_owned()),
            ..lambda("DELETE", &format!("{functions}/red-foxes-logger"), "{}")
        },
        lambda("POST", functions, r#"{"FunctionName":"blue-owls-new","FunctionName":"red-foxes-new"}"#),
        lambda("POST", functions, r#"{"functionName":"blue-owls-new"}"#),
        lambda("POST", functions, "no JSON"),
        lambda(
            "POST",
            "/2015-03-31/event-source-mappings",
            r#"{"FunctionName":"blue-owls-logger","FunctionName":"red-foxes-logger"}"#,
        ),
        // The mapping would invoke another team's function.
        lambda(
            "PUT",
            &format!("/2015-03-31/event-source-mappings/{our_mapping}"),
            r#"{"FunctionName":"red-foxes-logger"}"#,
        ),
        // Statements of other owners on this stack's function.
        lambda("DELETE", &format!("{functions}/blue-owls-logger/policy/red-foxes-x"), ""),
        lambda("DELETE", &format!("{functions}/blue-owls-logger/policy/Blue-Owls-x"), ""),
        lambda("DELETE", &format!("{functions}/blue-owls-logger/policy/%72ed-foxes-x"), ""),
        lambda("DELETE", &format!("{functions}/blue-owls-logger/policy/by-hand?StatementId=blue-owls-x"), ""),
        lambda("POST", &format!("{functions}/blue-owls-logger/policy"), r#"{"StatementId":"red-foxes-x"}"#),
        lambda("POST", &format!("{functions}/blue-owls-logger/policy"), r#"{"StatementId":""}"#),
        lambda("POST", &format!("{functions}/blue-owls-logger/policy"), "{}"),
        lambda(
            "POST",
            &format!("{functions}/blue-owls-logger/policy"),
            r#"{"StatementId":"blue-owls-x","StatementId":"red-foxes-x"}"#,
        ),
        // Tags of a resource that is not a function, mapping or table.
        lambda("POST", &format!("/2017-03-31/tags/arn:aws:lambda:{REGION}:{ACCOUNT}:layer:blue-owls-x"), "{}"),
        lambda("POST", &format!("/2017-03-31/tags/arn:aws:s3:{REGION}:{ACCOUNT}:function:blue-owls-logger"), "{}"),
        lambda(
            "POST",
            &format!(
                "/2017-03-31/tags/arn:aws:lambda:{REGION}:{ACCOUNT}:function:red-foxes-logger:event-source-mapping:{our_mapping}"
            ),
            "{}",
        ),
        // IAM requests with a duplicate or encoded action.
        iam("Action=DeleteRole&RoleName=blue-owls-runner&RoleName=red-foxes-runner"),
        iam("Action=DeleteRole&RoleName=blue-owls-runner&rolename=red-foxes-runner"),
        iam("Action=DeleteRole&RoleName=blue-owls-runner&%52oleName=red-foxes-runner"),
        iam("Action=DeleteRole&RoleName=red-foxes-runner&RoleName=blue-owls-runner"),
        iam("Action=DeleteRole&RoleName=blue-owls-role"),
        iam("Action=GetRole&RoleName=r&Action=DeleteRole"),
        iam("Action=DeleteRole&RoleName=r&Action=GetRole"),
        iam("Action=GetRole&RoleName=r&%41ction=DeleteRole"),
        iam("%41ction=DeleteRole&RoleName=r"),
        Forged { path: "/?Action=DeleteRole".to_owned(), ..iam("Action=GetRole&RoleName=r") },
        Forged { method: "DELETE", ..iam("Action=GetRole&RoleName=r") },
    ];
    for forged in &cases {
        assert_blocked(&cx, &cloud, &format!("{forged:?}"), forged).await;
    }
    eprintln!("guard: {} ambiguous requests stopped", cases.len());
}

#[tokio::test]
async fn a_failed_create_does_not_allow_a_delete() {
    let (cloud, cx, _) = stage(team()).await;
    // Another actor created the table after this run's read.
    let operations = operation::all();
    let forged = |action: &str| forged(operations.iter().find(|it| it.action == action).unwrap(), "blue-owls-unseen");
    let create = forged("dynamodb:CreateTable");
    let text = "Table already exists: blue-owls-unseen";
    cloud.always("CreateTable", Fault::Answer(Reply::dynamodb("ResourceInUseException", text)));
    send_forged(&cx, &create).await.unwrap_err();
    cloud.forget();
    let delete = forged("dynamodb:DeleteTable");
    assert_blocked(&cx, &cloud, "a delete of what was there already", &delete).await;
}

#[tokio::test]
async fn a_call_without_a_declaration_is_blocked() {
    let cloud = Cloud::on_current_runtime(World::empty()).await;
    let settings = LocalSettings {
        endpoint_url: cloud.url.clone(),
        key: String::new(),
        account: ACCOUNT.to_owned(),
        region: REGION.to_owned(),
    };
    let (_press, interrupt) = tokio::sync::watch::channel(false);
    let context = |operations: Operations, access: Access| {
        let aws = Connection::local_for(&settings, &Network::default(), operations).clients(access);
        engine::kinds::context(Arc::new(aws), Overrides::default(), interrupt.clone())
    };
    let all = operation::all();
    for operation in all.iter() {
        let name = operation.name;
        let access = access(operation.effect, "blue-owls-x");
        let form = operation.target.map(|target| forms(&target, "blue-owls-x").remove(0)).unwrap_or_default();
        let request = forged(operation, &form);
        let rest = Operations::new(all.iter().filter(|it| !it.is_same(operation)).copied());
        let error = send_forged(&context(rest, access.clone()), &request).await.expect_err(name);
        assert_eq!(error.cause, Code::Guarded, "{name}: {error}");
        assert!(error.message.contains("the guard blocked an unknown request"), "{name}: {error}");
        assert_eq!(cloud.calls().len(), 0, "{name}");
        // With all declarations the guard knows the call: a read reaches AWS, a write depends on
        // its target, and a read of a value on the spec's lookups.
        cloud.always(in_cloud(operation), Fault::Answer(Reply::ok(&json!({}))));
        let outcome = send_forged(&context(all.clone(), access), &request).await;
        let is_unknown = outcome.is_err_and(|error| error.message.contains("unknown request"));
        assert!(!is_unknown, "{name}");
        let is_free = matches!(operation.effect, Effect::Read | Effect::Create) && operation.asks.is_none();
        assert_eq!(!cloud.calls().is_empty(), is_free, "{name}");
        cloud.forget();
    }
    eprintln!("guard: {} calls refused without their declarations", all.iter().count());
}
