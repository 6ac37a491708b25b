//! Which calls a function update makes, in which order, and what they send.

use serde_json::{Value as Json, json};

use super::server::{Cloud, Fault, named};
use super::world::{Reply, World, YOUNG};
use super::{FUNCTION, Project, between, deployed, diff_is_empty, in_order, nth, replaced, writes};

const HANDLER: &str = "    handler: index.handler\n";
const QUEUE: &str = "arn:aws:sqs:eu-central-1:123456789012:dead";
const LAYERS: &str =
    "[\"arn:aws:lambda:eu-central-1:123456789012:layer:b:2\", \"arn:aws:lambda:eu-central-1:123456789012:layer:a:11\"]";

/// The default spec with more lines at its function.
fn with(lines: &str) -> Project {
    Project::new(|text| replaced(&text, HANDLER, &format!("{HANDLER}{lines}")))
}

fn config(cloud: &Cloud) -> Json {
    cloud.world(|world| world.functions[FUNCTION].config.clone())
}

/// The body of the last call of an operation.
fn body(cloud: &Cloud, operation: &str) -> Json {
    let calls = cloud.calls();
    let call = calls.iter().rfind(|call| call.operation == operation);
    call.unwrap_or_else(|| panic!("no {operation} in {:?}", calls.iter().map(named).collect::<Vec<_>>())).body.clone()
}

/// Lines of the spec, the request field that they change, and its value with and without them.
struct Setting {
    lines: String,
    field: &'static str,
    set: Json,
    reset: Json,
}

fn settings() -> Vec<Setting> {
    let group = format!("/aws/lambda/{FUNCTION}");
    let text = json!({ "LogFormat": "Text", "LogGroup": group });
    let setting = |lines: &str, field, set, reset| Setting { lines: format!("    {lines}\n"), field, set, reset };
    vec![
        setting("description: reads", "/Description", json!("reads"), json!("")),
        setting("memory_size: 256", "/MemorySize", json!(256), json!(128)),
        setting("timeout: 10", "/Timeout", json!(10), json!(3)),
        setting(
            "environment: { LEVEL: debug }",
            "/Environment",
            json!({ "Variables": { "LEVEL": "debug" } }),
            json!({ "Variables": {} }),
        ),
        setting(&format!("layers: {LAYERS}"), "/Layers", serde_json::from_str(LAYERS).unwrap(), json!([])),
        setting("ephemeral_storage: 1024", "/EphemeralStorage", json!({ "Size": 1024 }), json!({ "Size": 512 })),
        setting("tracing: Active", "/TracingConfig", json!({ "Mode": "Active" }), json!({ "Mode": "PassThrough" })),
        setting(
            "log_format: JSON",
            "/LoggingConfig",
            json!({
                "LogFormat": "JSON",
                "ApplicationLogLevel": "INFO",
                "SystemLogLevel": "INFO",
                "LogGroup": group,
            }),
            text.clone(),
        ),
        setting(
            "log_format: JSON\n    application_log_level: TRACE\n    system_log_level: WARN\n    log_group: /teams/owls",
            "/LoggingConfig",
            json!({
                "LogFormat": "JSON",
                "ApplicationLogLevel": "TRACE",
                "SystemLogLevel": "WARN",
                "LogGroup": "/teams/owls",
            }),
            text.clone(),
        ),
        setting(
            "log_group: /teams/owls",
            "/LoggingConfig",
            json!({ "LogFormat": "Text", "LogGroup": "/teams/owls" }),
            text,
        ),
        setting(
            &format!("dead_letter_target_arn: {QUEUE}"),
            "/DeadLetterConfig",
            json!({ "TargetArn": QUEUE }),
            json!({ "TargetArn": "" }),
        ),
    ]
}

#[test]
fn each_property_is_set_and_reset_by_its_own_call() {
    std::thread::scope(|scope| {
        for Setting { lines, field, set, reset } in settings() {
            scope.spawn(move || {
                let cloud = deployed();
                let mut before = config(&cloud);
                let project = with(&lines);
                for (said, undo) in [(set, false), (reset, true)] {
                    if undo {
                        project.edit(&lines, "");
                    }
                    cloud.forget();
                    project.run(&cloud, &["apply"]).ends_with(0).says("Resources: 0 added, 1 changed");
                    assert_eq!(writes(&cloud), ["UpdateFunctionConfiguration"], "{lines}");
                    assert_eq!(cloud.sent(), [format!("UpdateFunctionConfiguration {}", &field[1..])], "{lines}");
                    let body = body(&cloud, "UpdateFunctionConfiguration");
                    assert_eq!(body.pointer(field), Some(&said), "{lines}");
                    diff_is_empty(&project, &cloud);
                }
                // After variables are cleared once, Lambda always shows an empty map.
                if field == "/Environment" {
                    before["Environment"] = json!({ "Variables": {} });
                }
                assert_eq!(config(&cloud), before, "{lines}");
            });
        }
    });
}

#[test]
fn a_new_architecture_is_sent_with_the_code() {
    let cloud = deployed();
    let before = config(&cloud);
    let project = with("    architecture: arm64\n");
    project.run(&cloud, &["apply"]).ends_with(0);
    assert_eq!(writes(&cloud), ["UpdateFunctionCode"]);
    let said = body(&cloud, "UpdateFunctionCode");
    assert_eq!(said["Architectures"], json!(["arm64"]));
    assert!(said["ZipFile"].is_string() && said["RevisionId"].is_string());
    assert_eq!(config(&cloud)["Architectures"], json!(["arm64"]));
    diff_is_empty(&project, &cloud);
    project.edit("    architecture: arm64\n", "");
    project.run(&cloud, &["apply"]).ends_with(0);
    assert_eq!(config(&cloud), before);
}

#[test]
fn concurrency_is_reserved_set_to_zero_and_reset_by_its_own_calls() {
    let cloud = deployed();
    let project = with("    reserved_concurrent_executions: 5\n");
    let apply = |operation: &str, said: Json, left: Option<u64>| {
        cloud.forget();
        project.run(&cloud, &["apply"]).ends_with(0);
        assert_eq!(writes(&cloud), [operation]);
        assert_eq!(body(&cloud, operation), said);
        assert_eq!(cloud.world(|world| world.functions[FUNCTION].concurrency), left);
        diff_is_empty(&project, &cloud);
    };
    apply("PutFunctionConcurrency", json!({ "ReservedConcurrentExecutions": 5 }), Some(5));
    // A limit of zero, which stops the function, differs from having no limit.
    project.edit("executions: 5", "executions: 0");
    apply("PutFunctionConcurrency", json!({ "ReservedConcurrentExecutions": 0 }), Some(0));
    project.edit("    reserved_concurrent_executions: 0\n", "");
    apply("DeleteFunctionConcurrency", Json::Null, None);
}

/// The writes in order, each with the number of reads of the function since the previous write.
fn sequence(cloud: &Cloud) -> String {
    let mut looks = 0;
    let mut lines = Vec::new();
    for call in cloud.calls().into_iter().filter(|call| !super::world::IAM_READS.contains(&call.operation.as_str())) {
        let is_missing = call.operation.starts_with("GetFunction") && call.status == 404;
        assert!(call.status < 400 || is_missing, "{} was refused", call.operation);
        if call.operation == "GetFunction" {
            looks += 1;
        } else if super::is_write(&call) {
            let mut body = call.body;
            for field in ["ZipFile", "RevisionId"] {
                if body[field].is_string() {
                    body[field] = json!("…");
                }
            }
            if body["Code"]["ZipFile"].is_string() {
                body["Code"]["ZipFile"] = json!("…");
            }
            lines.push(format!("looks: {looks}\n{} {}", call.operation, in_order(&body)));
            looks = 0;
        }
    }
    lines.push(format!("looks: {looks}"));
    lines.join("\n")
}

/// A function with every property set.
fn everything() -> Project {
    with(&format!(
        "    description: reads\n    memory_size: 256\n    timeout: 10\n    environment: {{ LEVEL: debug }}\n    \
         architecture: arm64\n    layers: {LAYERS}\n    ephemeral_storage: 1024\n    tracing: Active\n    \
         log_format: JSON\n    log_group: /teams/owls\n    application_log_level: DEBUG\n    \
         system_log_level: WARN\n    reserved_concurrent_executions: 5\n    dead_letter_target_arn: {QUEUE}\n    \
         async: {{ maximum_retry_attempts: 1 }}\n    tags: {{ course: cloud }}\n"
    ))
}

#[test]
fn simultaneous_changes_are_sent_one_after_the_other() {
    let cloud = deployed();
    let project = everything();
    project.run(&cloud, &["apply"]).ends_with(0);
    // The plan's read, the read before the write, and the check that no update is in progress;
    // InProgress twice, then Successful; at the end the check that it is Active.
    insta::assert_snapshot!(sequence(&cloud));
    diff_is_empty(&project, &cloud);
}

#[test]
fn a_new_function_gets_what_its_create_cannot_set_once_it_is_active() {
    let cloud = Cloud::start(World::empty());
    let project = everything();
    // The responses are lost; only the next run reads the settings.
    cloud.fault("PutFunctionConcurrency", 1..2, Fault::DoneButCut);
    cloud.fault("PutFunctionEventInvokeConfig", 1..2, Fault::DoneButCut);
    project.run(&cloud, &["apply"]).ends_with(0);
    let calls = cloud.calls();
    let (create, reserve) = (nth(&calls, "CreateFunction", 1), nth(&calls, "PutFunctionConcurrency", 1));
    assert_eq!(between(&calls, create, reserve, "GetFunction"), 4, "Pending twice, then Active; whose it is");
    let mut said = calls[create].body.clone();
    said["Code"]["ZipFile"] = json!("…");
    insta::assert_snapshot!(in_order(&said));
    diff_is_empty(&project, &cloud);
    // As if the run had ended before that.
    cloud.world(|world| {
        let function = world.functions.get_mut(FUNCTION).unwrap();
        (function.concurrency, function.async_config) = (None, None);
    });
    cloud.forget();
    project.run(&cloud, &["apply"]).ends_with(0);
    assert_eq!(writes(&cloud), ["PutFunctionConcurrency", "PutFunctionEventInvokeConfig"]);
}

#[test]
fn asynchronous_invocations_are_configured_as_a_whole_and_reset_by_a_delete() {
    let cloud = deployed();
    let project = with(&format!(
        "    async:\n      maximum_retry_attempts: 1\n      on_success_destination_arn: {QUEUE}\n      \
         on_failure_destination_arn: {QUEUE}\n"
    ));
    let text = "The provided execution role does not have permissions to call SendMessage on SQS";
    let reply = Reply::lambda(400, "InvalidParameterValueException", text);
    // New permissions of a role take a while to propagate.
    cloud.fault("PutFunctionEventInvokeConfig", 1..3, Fault::Answer(reply));
    project.run(&cloud, &["apply"]).ends_with(0);
    assert_eq!(cloud.count("PutFunctionEventInvokeConfig"), 3);
    diff_is_empty(&project, &cloud);
    // What is no longer declared gets its default, and the rest is sent with it.
    project.edit(&format!("      on_failure_destination_arn: {QUEUE}\n"), "");
    project.edit("      maximum_retry_attempts: 1\n", "");
    cloud.forget();
    project.run(&cloud, &["apply"]).ends_with(0);
    assert_eq!(writes(&cloud), ["PutFunctionEventInvokeConfig"]);
    let sent = body(&cloud, "PutFunctionEventInvokeConfig");
    let destinations = json!({ "OnSuccess": { "Destination": QUEUE } });
    assert_eq!(
        sent,
        json!({ "MaximumRetryAttempts": 2, "MaximumEventAgeInSeconds": 21600, "DestinationConfig": destinations })
    );
    diff_is_empty(&project, &cloud);
    // A configuration that nothing declares is drift.
    project.edit(&format!("    async:\n      on_success_destination_arn: {QUEUE}\n"), "");
    cloud.forget();
    project.run(&cloud, &["apply"]).ends_with(0);
    assert_eq!(writes(&cloud), ["DeleteFunctionEventInvokeConfig"]);
    diff_is_empty(&project, &cloud);
}

#[test]
fn a_public_url_is_approved_and_comes_with_its_statements() {
    let cloud = deployed();
    let project = with("    url: { auth_type: NONE, cors: { allow_origins: ['*'] } }\n");
    let run = project.run(&cloud, &["diff"]);
    run.ends_with(0).says("anyone on the internet can invoke it, without credentials").says("implied by logger");
    // Without an answer, nothing is written.
    assert_ne!(project.run(&cloud, &["apply"]).code(), Some(0));
    assert_eq!(writes(&cloud), [""; 0]);
    project.run(&cloud, &["apply", "--yes"]).ends_with(0);
    assert_eq!(writes(&cloud), ["TagResource", "CreateFunctionUrlConfig", "AddPermission", "AddPermission"]);
    let marked = cloud.world(|world| world.functions[FUNCTION].tags.contains_key("engine:settings"));
    assert!(marked, "large specs find the URL by this tag");
    diff_is_empty(&project, &cloud);
    let statements = cloud.world(|world| world.functions[FUNCTION].policy.clone());
    let of = |id: &str| statements.iter().find(|it| it["Sid"] == id).unwrap_or_else(|| panic!("{statements:?}"));
    let (url, invoke) = (of("blue-owls-logger-url"), of("blue-owls-logger-url-invoke"));
    assert_eq!((&url["Principal"], &url["Action"]), (&json!("*"), &json!("lambda:InvokeFunctionUrl")));
    assert_eq!(url["Condition"], json!({ "StringEquals": { "lambda:FunctionUrlAuthType": "NONE" } }));
    assert_eq!((&invoke["Principal"], &invoke["Action"]), (&json!("*"), &json!("lambda:InvokeFunction")));
    assert_eq!(invoke["Condition"], json!({ "Bool": { "lambda:InvokedViaFunctionUrl": "true" } }));
    let address = || cloud.world(|world| world.functions[FUNCTION].url.as_ref().unwrap()["FunctionUrl"].clone());
    let before = address();
    // With authentication, the address stays and the statements are deleted.
    project.edit("auth_type: NONE, cors: { allow_origins: ['*'] }", "auth_type: AWS_IAM");
    cloud.forget();
    project.run(&cloud, &["apply", "--yes"]).ends_with(0);
    assert_eq!(body(&cloud, "UpdateFunctionUrlConfig"), json!({ "AuthType": "AWS_IAM", "Cors": {} }));
    assert_eq!(cloud.count("RemovePermission"), 2);
    assert_eq!(address(), before);
    diff_is_empty(&project, &cloud);
    // Removing the URL loses the address.
    project.edit("    url: { auth_type: AWS_IAM }\n", "");
    project.run(&cloud, &["diff"]).ends_with(0).says("its URL stops working");
    cloud.forget();
    project.run(&cloud, &["apply", "--yes"]).ends_with(0);
    assert_eq!(writes(&cloud), ["DeleteFunctionUrlConfig"]);
    diff_is_empty(&project, &cloud);
}

#[test]
fn a_url_is_created_once_and_its_address_is_an_output() {
    let cloud = Cloud::start(World::empty());
    let project = with("    url: { auth_type: AWS_IAM, invoke_mode: RESPONSE_STREAM }\n");
    project.edit(
        "  logger:\n",
        "  caller: { type: function, runtime: nodejs22.x, handler: index.handler, role: '${execution-role.arn}', code: { \
         inline: 'exports.handler = 1' }, environment: { URL: '${logger.url}' } }\n  logger:\n",
    );
    cloud.fault("CreateFunctionUrlConfig", 1..2, Fault::DoneButCut);
    project.run(&cloud, &["apply"]).ends_with(0);
    assert_eq!(cloud.count("CreateFunctionUrlConfig"), 1, "a read finds it");
    let address =
        |cloud: &Cloud| cloud.world(|world| world.functions[FUNCTION].url.as_ref().unwrap()["FunctionUrl"].clone());
    let variable =
        cloud.world(|world| world.functions["blue-owls-caller"].config["Environment"]["Variables"]["URL"].clone());
    assert_eq!(variable, address(&cloud));
    diff_is_empty(&project, &cloud);
    // A change inside it keeps the address, so nothing else changes.
    project.edit("invoke_mode: RESPONSE_STREAM", "cors: { max_age: 60 }");
    cloud.forget();
    project.run(&cloud, &["apply"]).ends_with(0);
    assert_eq!(writes(&cloud), ["UpdateFunctionUrlConfig"]);
    diff_is_empty(&project, &cloud);
    // As if the run had ended before the URL was created.
    cloud.world(|world| world.functions.get_mut(FUNCTION).unwrap().url = None);
    cloud.forget();
    project.run(&cloud, &["apply"]).ends_with(0);
    assert_eq!(writes(&cloud), ["CreateFunctionUrlConfig", "UpdateFunctionConfiguration"]);
    diff_is_empty(&project, &cloud);
}

#[test]
fn a_denied_read_of_asynchronous_invocations_leaves_them_as_they_are() {
    let cloud = deployed();
    let config = json!({ "MaximumRetryAttempts": 0 });
    cloud.world(|world| world.functions.get_mut(FUNCTION).unwrap().async_config = Some(config.clone()));
    let text = "User: X is not authorized to perform: lambda:GetFunctionEventInvokeConfig";
    let denied = Reply::lambda(403, "AccessDeniedException", text);
    cloud.always("GetFunctionEventInvokeConfig", Fault::Answer(denied));
    let project = with("    async: { maximum_retry_attempts: 1 }\n    timeout: 10\n");
    let run = project.run(&cloud, &["apply"]);
    run.ends_with(0).says("its `async` can't be read (you lack permission for GetFunctionEventInvokeConfig)");
    assert_eq!(writes(&cloud), ["UpdateFunctionConfiguration"]);
    assert_eq!(cloud.world(|world| world.functions[FUNCTION].async_config.clone()), Some(config));
    // A new function has none, so it is written without a read.
    let cloud = Cloud::start(World::empty());
    let text = "User: X is not authorized to perform: lambda:GetFunctionEventInvokeConfig";
    let denied = Reply::lambda(403, "AccessDeniedException", text);
    cloud.always("GetFunctionEventInvokeConfig", Fault::Answer(denied));
    project.run(&cloud, &["apply"]).ends_with(0);
    assert_eq!(cloud.count("PutFunctionEventInvokeConfig"), 1);
}

#[test]
fn the_concurrency_of_another_run_that_creates_the_function_first_is_not_overwritten() {
    for (theirs, code) in [(5, 0), (7, 3)] {
        let cloud = Cloud::start(World::empty());
        let project = with("    reserved_concurrent_executions: 5\n");
        let functions = deployed().world(|world| world.functions.clone());
        cloud.before("CreateFunction", 1, move |world| {
            world.functions = functions;
            world.functions.get_mut(FUNCTION).unwrap().concurrency = Some(theirs);
        });
        let ran = project.run(&cloud, &["apply"]);
        ran.ends_with(code);
        if code != 0 {
            ran.says(
                "another run for this team and stack created it with a different `reserved_concurrent_executions`",
            );
        }
        assert_eq!(cloud.count("PutFunctionConcurrency"), 0);
    }
}

#[test]
fn a_concurrency_limit_is_explained_and_role_permissions_are_awaited() {
    let cloud = deployed();
    let project = with("    reserved_concurrent_executions: 901\n");
    let run = project.run(&cloud, &["apply"]);
    run.ends_with(1)
        .says("below its minimum value of [100]")
        .says("the account doesn't have enough unreserved concurrency");
    assert_eq!(cloud.count("PutFunctionConcurrency"), 1, "it is not tried again");
    let cloud = deployed();
    cloud.world(|world| world.roles_created = Some(YOUNG));
    let text = "The provided execution role does not have permissions to call SendMessage on SQS";
    let reply = Reply::lambda(400, "InvalidParameterValueException", text);
    // New permissions of a role take a while to propagate.
    cloud.fault("UpdateFunctionConfiguration", 1..3, Fault::Answer(reply));
    let project = with(&format!("    dead_letter_target_arn: {QUEUE}\n"));
    project.run(&cloud, &["apply"]).ends_with(0);
    assert_eq!(cloud.count("UpdateFunctionConfiguration"), 3);
}

#[test]
fn a_function_without_concurrency_is_not_invoked() {
    let cloud = deployed();
    cloud.world(|world| world.functions.get_mut(FUNCTION).unwrap().concurrency = Some(0));
    let refused = Project::usual().run(&cloud, &["invoke", "logger"]);
    refused.ends_with(1).complains("Lambda can't run `logger`: its reserved concurrency is 0");
    refused.complains("set `reserved_concurrent_executions` to more than 0");
    assert_eq!(cloud.count("Invoke"), 0);
}
