//! Which calls an update of a mapping or permission makes, in which order, and what they send.

use serde_json::{Value as Json, json};

use super::server::{Cloud, Fault};
use super::world::{Reply, YOUNG};
use super::{FUNCTION, Project, deployed, diff_is_empty, in_order, nth, replaced, writes};

const QUEUE: &str = "arn:aws:sqs:eu-central-1:123456789012:dead";
const ALL: &str = "    batch_size: 7
    maximum_batching_window_in_seconds: 3
    filters:
      - '{ \"eventName\" : [\"REMOVE\"] }'
      - { eventName: [INSERT], dynamodb: { Keys: { id: { S: [{ prefix: x }] } } } }
    maximum_retry_attempts: 2
    maximum_record_age_in_seconds: 60
    bisect_batch_on_function_error: true
    parallelization_factor: 2
    tumbling_window_in_seconds: 30
    report_batch_item_failures: true
    on_failure_destination_arn: arn:aws:sqs:eu-central-1:123456789012:dead
    enabled: false
    tags: { course: cloud }
";

/// The mapping is at the end of the default spec.
fn with(lines: &str) -> Project {
    Project::new(|text| format!("{text}{lines}"))
}

fn shown(cloud: &Cloud) -> Json {
    cloud.world(|world| world.mappings[0].shown.clone())
}

/// A line of the spec, the request field that it changes, and its value with and without the line.
fn settings() -> Vec<(String, &'static str, Json, Json)> {
    let line = |text: &str| format!("    {text}\n");
    vec![
        (line("batch_size: 7"), "BatchSize", json!(7), json!(100)),
        (line("maximum_batching_window_in_seconds: 3"), "MaximumBatchingWindowInSeconds", json!(3), json!(0)),
        (
            line("filters: [{ eventName: [INSERT] }]"),
            "FilterCriteria",
            json!({ "Filters": [{ "Pattern": "{\"eventName\":[\"INSERT\"]}" }] }),
            json!({}),
        ),
        (line("maximum_retry_attempts: 2"), "MaximumRetryAttempts", json!(2), json!(-1)),
        (line("maximum_record_age_in_seconds: 60"), "MaximumRecordAgeInSeconds", json!(60), json!(-1)),
        (line("bisect_batch_on_function_error: true"), "BisectBatchOnFunctionError", json!(true), json!(false)),
        (line("parallelization_factor: 2"), "ParallelizationFactor", json!(2), json!(1)),
        (line("tumbling_window_in_seconds: 30"), "TumblingWindowInSeconds", json!(30), json!(0)),
        (
            line("report_batch_item_failures: true"),
            "FunctionResponseTypes",
            json!(["ReportBatchItemFailures"]),
            json!([]),
        ),
        (
            line(&format!("on_failure_destination_arn: {QUEUE}")),
            "DestinationConfig",
            json!({ "OnFailure": { "Destination": QUEUE } }),
            json!({}),
        ),
        (line("enabled: false"), "Enabled", json!(false), json!(true)),
    ]
}

#[test]
fn each_property_is_set_and_reset_by_its_own_call() {
    std::thread::scope(|scope| {
        for (line, field, set, reset) in settings() {
            scope.spawn(move || {
                let cloud = deployed();
                let before = shown(&cloud);
                let project = with(&line);
                for (said, undo) in [(set, false), (reset, true)] {
                    if undo {
                        project.edit(&line, "");
                    }
                    cloud.forget();
                    project.run(&cloud, &["apply"]).ends_with(0).says("Resources: 0 added, 1 changed");
                    assert_eq!(writes(&cloud), ["UpdateEventSourceMapping"], "{line}");
                    let calls = cloud.calls();
                    let body = &calls[nth(&calls, "UpdateEventSourceMapping", 1)].body;
                    assert_eq!(cloud.sent(), [format!("UpdateEventSourceMapping {field}")], "{line}");
                    assert_eq!(body[field], said, "{line}");
                    diff_is_empty(&project, &cloud);
                }
                assert_eq!(shown(&cloud), before, "{line}");
            });
        }
    });
}

#[test]
fn a_new_mapping_gets_everything_in_the_create() {
    let cloud = deployed();
    Project::usual().run(&cloud, &["destroy", "--yes"]).ends_with(0);
    cloud.forget();
    let project = with(ALL);
    project.run(&cloud, &["apply"]).ends_with(0);
    let calls = cloud.calls();
    let mut said = calls[nth(&calls, "CreateEventSourceMapping", 1)].body.clone();
    said["EventSourceArn"] = json!("…");
    insta::assert_snapshot!(in_order(&said), @r#"
    {
      "BatchSize": 7,
      "BisectBatchOnFunctionError": true,
      "DestinationConfig": {
        "OnFailure": {
          "Destination": "arn:aws:sqs:eu-central-1:123456789012:dead"
        }
      },
      "Enabled": false,
      "EventSourceArn": "…",
      "FilterCriteria": {
        "Filters": [
          {
            "Pattern": "{\"dynamodb\":{\"Keys\":{\"id\":{\"S\":[{\"prefix\":\"x\"}]}}},\"eventName\":[\"INSERT\"]}"
          },
          {
            "Pattern": "{\"eventName\":[\"REMOVE\"]}"
          }
        ]
      },
      "FunctionName": "blue-owls-logger",
      "FunctionResponseTypes": [
        "ReportBatchItemFailures"
      ],
      "MaximumBatchingWindowInSeconds": 3,
      "MaximumRecordAgeInSeconds": 60,
      "MaximumRetryAttempts": 2,
      "ParallelizationFactor": 2,
      "StartingPosition": "TRIM_HORIZON",
      "Tags": {
        "course": "cloud",
        "engine:resource": "todos-to-logger",
        "engine:stack": "team",
        "engine:team": "blue-owls"
      },
      "TumblingWindowInSeconds": 30
    }
    "#);
    assert_eq!(cloud.count("UpdateEventSourceMapping"), 0);
    diff_is_empty(&project, &cloud);
}

#[test]
fn whitespace_and_order_in_filters_are_no_difference() {
    let cloud = deployed();
    let project = with(ALL);
    project.run(&cloud, &["apply"]).ends_with(0);
    cloud.world(|world| {
        let insert = r#"{"eventName":["INSERT"], "dynamodb": {"Keys":{"id":{"S":[ {"prefix":"x"} ]}}}}"#;
        world.mappings[0].shown["FilterCriteria"] =
            json!({ "Filters": [{ "Pattern": insert }, { "Pattern": "{\"eventName\":[ \"REMOVE\" ]}" }] });
    });
    diff_is_empty(&project, &cloud);
    cloud.world(|world| {
        world.mappings[0].shown["FilterCriteria"] =
            json!({ "Filters": [{ "Pattern": "{\"eventName\":[\"MODIFY\"]}" }] });
    });
    project.run(&cloud, &["diff"]).ends_with(0).says("filters[0]").says("MODIFY");
}

const SOURCE: &str = "    source_arn: ${todos.stream_arn}\n";

fn policy(cloud: &Cloud) -> Vec<Json> {
    cloud.world(|world| world.functions[FUNCTION].policy.clone())
}

#[test]
fn a_statement_is_removed_before_it_is_re_added() {
    let cloud = deployed();
    let organization = "    source_account: \"123456789012\"\n    principal_org_id: o-a1b2c3d4e5\n";
    let project = Project::new(|text| replaced(&text, SOURCE, &format!("{SOURCE}{organization}")));
    project.run(&cloud, &["apply"]).ends_with(0).says("Resources: 1 added, 0 changed, 1 destroyed");
    assert_eq!(writes(&cloud), ["RemovePermission", "AddPermission"]);
    let calls = cloud.calls();
    let (remove, add) = (nth(&calls, "RemovePermission", 1), nth(&calls, "AddPermission", 1));
    assert!(calls[add].start >= calls[remove].end.unwrap());
    assert_eq!(calls[add].body["SourceAccount"], "123456789012");
    assert_eq!(calls[add].body["PrincipalOrgID"], "o-a1b2c3d4e5");
    assert_eq!(
        policy(&cloud)[0]["Condition"]["StringEquals"],
        json!({ "AWS:SourceAccount": "123456789012", "aws:PrincipalOrgID": "o-a1b2c3d4e5" })
    );
    diff_is_empty(&project, &cloud);
    project.edit(organization, "");
    project.run(&cloud, &["apply"]).ends_with(0);
    diff_is_empty(&project, &cloud);
    assert_eq!(policy(&cloud)[0]["Condition"].as_object().unwrap().len(), 1);
}

#[test]
fn each_form_of_a_principal_is_read_back_as_written() {
    for principal in ["events.amazonaws.com", "\"210987654321\"", "arn:aws:iam::210987654321:role/caller", "\"*\""] {
        let cloud = deployed();
        let project = Project::usual();
        project.edit("principal: dynamodb.amazonaws.com", &format!("principal: {principal}"));
        project.run(&cloud, &["apply"]).ends_with(0);
        assert_eq!(writes(&cloud), ["RemovePermission", "AddPermission"], "{principal}");
        diff_is_empty(&project, &cloud);
    }
}

#[test]
fn statement_elements_beyond_the_spec_are_a_difference() {
    type ConcurrentChange = fn(&mut Json);
    let meddlings: [(ConcurrentChange, &str); 4] = [
        (|statement| statement["Effect"] = json!("Deny"), r#"{"Effect":"Deny"}"#),
        (
            |statement| statement["Condition"]["Bool"]["aws:SecureTransport"] = json!("true"),
            r#"{"Condition":{"Bool":{"aws:SecureTransport":"true"}}}"#,
        ),
        (
            |statement| statement["Action"] = json!(["lambda:InvokeFunction", "lambda:GetFunction"]),
            r#"{"Action":["lambda:InvokeFunction","lambda:GetFunction"]}"#,
        ),
        (
            |statement| statement["Principal"] = json!({ "Service": "dynamodb.amazonaws.com", "AWS": ["a", "b"] }),
            r#"{"Principal":{"AWS":["a","b"]}}"#,
        ),
    ];
    for (change_outside, said) in meddlings {
        let cloud = deployed();
        cloud.world(|world| change_outside(&mut world.functions.get_mut(FUNCTION).unwrap().policy[0]));
        let project = Project::usual();
        let run = project.run(&cloud, &["diff", "--format", "json"]);
        let document: Json = serde_json::from_str(run.ends_with(0).out.lines().next().unwrap()).unwrap();
        let changes = document["changes"].as_array().unwrap();
        let permission = changes.iter().find(|change| change["kind"] == "permission").unwrap();
        let property = permission["properties"].as_array().unwrap().iter().find(|it| it["path"] == "other_conditions");
        assert_eq!(property.map(|it| it["before"].clone()), Some(json!(said)), "{document:#}");
        project.run(&cloud, &["apply", "--yes"]).ends_with(0);
        diff_is_empty(&project, &cloud);
    }
}

#[test]
fn a_mapping_waits_for_the_roles_permission_on_its_destination() {
    let cloud = deployed();
    cloud.world(|world| world.roles_created = Some(YOUNG));
    let text = "The provided execution role does not have permissions to call SendMessage on SQS";
    let reply = Reply::lambda(400, "InvalidParameterValueException", text);
    cloud.fault("UpdateEventSourceMapping", 1..3, Fault::Answer(reply));
    let project = with(&format!("    on_failure_destination_arn: {QUEUE}\n"));
    project.run(&cloud, &["apply"]).ends_with(0);
    assert_eq!(cloud.count("UpdateEventSourceMapping"), 3);
}
