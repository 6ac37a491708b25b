//! What reads of Lambda find beyond the spec, and how they report a resource's state.

use std::collections::BTreeMap;

use engine::aws::Context;
use engine::cause::Code;
use engine::kinds::all;
use engine::schema::{Id, Live, Owner, Ownership, Status, Timestamps};
use engine::value::Value;
use serde_json::{Value as Json, json};
use tokio::time::Instant;

use super::library::{context, load, read, team};
use super::server::{Cloud, Fault};
use super::world::{ACCOUNT, REGION, Reply, World, function_arn};
use super::{FUNCTION, Project, deployed};

fn team_owner() -> Owner {
    Owner { team: "blue-owls".to_owned(), stack: "team".to_owned(), resource: String::new() }
}

fn id(name: &str, function: &str) -> Id {
    let parents =
        if function.is_empty() { BTreeMap::new() } else { BTreeMap::from([("function".into(), function.into())]) };
    Id { owner: team_owner(), name: name.to_owned(), arn: None, parents, env: None, unique_id: None }
}

/// The account after an apply, on the current runtime.
async fn deployed_on_runtime() -> Cloud {
    Cloud::on_current_runtime(deployed().world(|world| world.clone())).await
}

async fn read_live(cx: &Context, kind: &str, id: &Id) -> Option<Live> {
    cx.provider(kind).unwrap().read(cx, id).await.unwrap().live
}

/// Adds a mapping on the stream of the first one.
pub(super) fn second(world: &mut World, uuid: &str, qualifier: &str, owner: Option<&str>) {
    let mut mapping = world.mappings[0].clone();
    mapping.uuid = uuid.to_owned();
    mapping.shown["UUID"] = json!(uuid);
    mapping.shown["EventSourceMappingArn"] =
        json!(format!("arn:aws:lambda:{REGION}:{ACCOUNT}:event-source-mapping:{uuid}"));
    mapping.shown["FunctionArn"] = json!(format!("{}{qualifier}", function_arn(FUNCTION)));
    mapping.tags.clear();
    if let Some(team) = owner {
        mapping.tags.insert("engine:team".to_owned(), team.to_owned());
        mapping.tags.insert("engine:stack".to_owned(), "team".to_owned());
        mapping.tags.insert("engine:resource".to_owned(), "other".to_owned());
    }
    world.mappings.push(mapping);
}

/// The minimal description of a mapping that AWS may return.
fn bare(state: &str) -> Json {
    json!({ "UUID": "u", "EventSourceMappingArn": "arn:aws:lambda:r:1:event-source-mapping:u", "State": state })
}

#[tokio::test]
async fn scans_find_names_with_the_teams_prefix_on_every_page() {
    let cloud = deployed_on_runtime().await;
    cloud.world(|world| {
        world.small_pages = true;
        let function = world.functions[FUNCTION].clone();
        for name in ["blue-owls_old", "blue-owlsish", "blue-owls", "red-foxes-logger", "a"] {
            let mut function = function.clone();
            function.config["FunctionName"] = json!(name);
            world.functions.insert(name.to_owned(), function);
        }
        second(world, "u-2", ":live", None);
        second(world, "u-3", "", None);
        world.mappings[2].shown["FunctionArn"] = json!(function_arn("red-foxes-logger"));
    });
    let (cx, _press) = context(&cloud, team());
    let functions = cx.provider("function").unwrap().list_by_prefix(&cx, &team_owner()).await.unwrap();
    let names: Vec<&str> = functions.iter().map(|id| id.name.as_str()).collect();
    assert_eq!(names, [FUNCTION, "blue-owls_old"]);
    assert!(functions.iter().all(|id| id.owner == team_owner()));
    let mappings = cx.provider("mapping").unwrap().list_by_prefix(&cx, &team_owner()).await.unwrap();
    let first = cloud.world(|world| world.mappings[0].uuid.clone());
    let found: Vec<_> = mappings.iter().map(|id| id.unique_id.clone().unwrap()).collect();
    assert_eq!(found, [first, "u-2".to_owned()]);
    assert!(mappings.iter().all(|id| id.parent("function") == FUNCTION));
    assert_eq!(mappings[0].parent("event_source_arn"), super::TABLE);
}

#[tokio::test]
async fn a_released_resource_loses_only_engines_tags() {
    let cloud = deployed_on_runtime().await;
    cloud.world(|world| {
        world.functions.get_mut(FUNCTION).unwrap().tags.insert("course".into(), "cloud".into());
        world.mappings[0].tags.insert("course".into(), "cloud".into());
    });
    let project = Project::usual();
    let mut spec = load(&project.path("specs/team.yaml"));
    let (cx, _press) = context(&cloud, team());
    let inventory = read(&cx, &mut spec).await.unwrap();
    for name in ["logger", "todos-to-logger"] {
        let declared = spec.resource(name).unwrap();
        let live = inventory.live(name).unwrap().clone();
        cx.provider(&declared.schema().kind).unwrap().untag(&cx, &declared.id, live).await.unwrap();
    }
    let left = BTreeMap::from([("course".to_owned(), "cloud".to_owned())]);
    assert_eq!(cloud.world(|world| world.functions[FUNCTION].tags.clone()), left);
    assert_eq!(cloud.world(|world| world.mappings[0].tags.clone()), left);
    assert_eq!(super::writes(&cloud), ["UntagResource", "UntagResource"]);
}

#[tokio::test]
async fn a_mapping_of_an_alias_is_a_candidate_only_with_engines_tags() {
    let cloud = deployed_on_runtime().await;
    cloud.world(|world| {
        second(world, "u-2", ":live", None);
        second(world, "u-3", ":$LATEST", Some("red-foxes"));
        second(world, "u-4", ":2", Some("blue-owls"));
        second(world, "u-5", "", None);
    });
    let (cx, _press) = context(&cloud, team());
    let others = cx.provider("mapping").unwrap().read(&cx, &id("", FUNCTION)).await.unwrap().others;
    let found: Vec<(&str, &str)> =
        others.iter().skip(1).map(|(id, _)| (id.name.as_str(), id.parent("function"))).collect();
    let latest = format!("{FUNCTION}:$LATEST");
    let live = format!("{FUNCTION}:live");
    assert_eq!(found, [("u-2", live.as_str()), ("u-3", &latest), ("u-4", FUNCTION), ("u-5", FUNCTION)]);
    assert_eq!(others[3].0.owner.resource, "other");
}

#[test]
fn a_mapping_of_an_alias_is_deleted_with_its_function() {
    let cloud = super::deployed();
    cloud.world(|world| second(world, "u-2", ":live", None));
    let project = Project::usual();
    super::diff_is_empty(&project, &cloud);
    project.run(&cloud, &["destroy", "--yes"]).ends_with(0).says("u-2 (mapping) will be destroyed");
    assert_eq!(cloud.world(|world| world.mappings.len()), 0);
}

#[tokio::test]
async fn a_lost_create_finds_its_mapping_among_others_of_the_pair() {
    for theirs_first in [true, false] {
        let cloud = deployed_on_runtime().await;
        let ours = cloud.world(|world| {
            second(world, "u-2", "", None);
            if theirs_first {
                world.mappings.swap(0, 1);
            }
            world.mappings.iter().find(|it| it.uuid != "u-2").unwrap().uuid.clone()
        });
        let project = Project::usual();
        let mut spec = load(&project.path("specs/team.yaml"));
        let (cx, _press) = context(&cloud, team());
        let inventory = read(&cx, &mut spec).await.unwrap();
        let declared = spec.resource("todos-to-logger").unwrap();
        let live = inventory.live("todos-to-logger").unwrap();
        let want = engine::kind::Want { props: live.props.clone(), artifact: None };
        let made = cx.provider(&declared.schema().kind).unwrap().create(&cx, &declared.id, want).await.unwrap();
        assert_eq!(made["uuid"], ours);
    }
}

#[tokio::test]
async fn a_read_finds_the_teams_other_statements_in_a_policy() {
    let cloud = deployed_on_runtime().await;
    cloud.world(|world| {
        let policy = &mut world.functions.get_mut(FUNCTION).unwrap().policy;
        let statement = policy[0].clone();
        for sid in ["blue-owls-old", "blue-owls_older", "blue-owlsish", "red-foxes-x"] {
            let mut statement = statement.clone();
            statement["Sid"] = json!(sid);
            policy.push(statement);
        }
    });
    let (cx, _press) = context(&cloud, team());
    let names = |others: &[(Id, Live)]| others.iter().map(|(id, _)| id.name.clone()).collect::<Vec<_>>();
    let reading =
        cx.provider("permission").unwrap().read(&cx, &id("blue-owls-logger-permission", FUNCTION)).await.unwrap();
    assert_eq!(reading.live.unwrap().outputs["statement_id"], "blue-owls-logger-permission");
    assert_eq!(names(&reading.others), ["blue-owls-old", "blue-owls_older"]);
    let (neighbour, live) = &reading.others[0];
    assert_eq!(
        (neighbour.parent("function"), &neighbour.owner),
        (FUNCTION, &Owner { resource: "old".to_owned(), ..team_owner() })
    );
    assert_eq!((&live.owner, live.outputs["statement_id"].as_str()), (&Ownership::Inherited, "blue-owls-old"));
    // An ID without a name reads all statements.
    let reading = cx.provider("permission").unwrap().read(&cx, &id("", FUNCTION)).await.unwrap();
    assert_eq!(reading.live, None);
    assert_eq!(names(&reading.others), ["blue-owls-logger-permission", "blue-owls-old", "blue-owls_older"]);
}

#[tokio::test]
async fn a_read_explains_a_functions_state_and_dates_its_last_change() {
    let cloud = deployed_on_runtime().await;
    let (cx, _press) = context(&cloud, team());
    let change = |field: &str, value: &str| {
        cloud.world(|world| world.functions.get_mut(FUNCTION).unwrap().change_outside(field, json!(value)));
    };
    change("LastModified", "2026-11-22T20:47:57.123+0000");
    let live = read_live(&cx, "function", &id(FUNCTION, "")).await.unwrap();
    assert_eq!(live.timestamps, Timestamps { created: None, modified: Some(1_795_380_477_123) });
    assert_eq!((live.status, live.notes), (Status::Stable, Vec::new()));
    change("State", "Inactive");
    change("LastUpdateStatus", "Failed");
    change("LastUpdateStatusReason", "the layer is gone");
    let live = read_live(&cx, "function", &id(FUNCTION, "")).await.unwrap();
    assert_eq!(live.status, Status::Stable);
    assert_eq!(
        live.notes,
        [
            "it is inactive; Lambda activates it at the next invocation",
            "its last update failed, so Lambda still runs the previous version: the layer is gone"
        ]
    );
    for state in ["Deactivating", "SomethingNew"] {
        change("State", state);
        let live = read_live(&cx, "function", &id(FUNCTION, "")).await.unwrap();
        assert_eq!(live.status, Status::InTransition(state.to_owned()));
    }
}

#[tokio::test]
async fn a_mappings_problems_are_reported() {
    let cloud = deployed_on_runtime().await;
    let (cx, _press) = context(&cloud, team());
    let uuid = cloud.world(|world| world.mappings[0].uuid.clone());
    let this = Id { unique_id: Some(uuid), ..id("", FUNCTION) };
    cloud.world(|world| {
        let shown = &mut world.mappings[0].shown;
        shown["LastProcessingResult"] = json!("PROBLEM: Function call failed");
        // Only a change that AWS made by itself is reported, and only while the mapping is
        // disabled.
        shown["StateTransitionReason"] = json!("Lambda disabled it");
        shown["FilterCriteria"] = json!({ "Filters": [{ "Pattern": null }] });
        shown["FilterCriteriaError"] = json!({ "ErrorCode": "KMSAccessDenied", "Message": "no key" });
    });
    let live = read_live(&cx, "mapping", &this).await.unwrap();
    assert_eq!(live.notes, ["Lambda reports about its last batch: PROBLEM: Function call failed"]);
    let why = |text: &str| BTreeMap::from([("filters".into(), text.to_owned())]);
    assert_eq!(live.unknown, why("you lack permission to use the KMS key"));
    assert_eq!(live.props.get("filters"), None);
    // Without an error, the missing pattern shows that the filters are encrypted.
    cloud.world(|world| world.mappings[0].shown["FilterCriteriaError"] = Json::Null);
    let live = read_live(&cx, "mapping", &this).await.unwrap();
    assert_eq!(live.unknown, why("AWS doesn't show encrypted filters"));
    assert_eq!(live.timestamps.modified, Some(1_700_000_000_000));
    let mut disabled = bare("Disabled");
    disabled["StateTransitionReason"] = json!("Lambda disabled it");
    cloud.always("GetEventSourceMapping", Fault::Answer(Reply::ok(&disabled)));
    cloud.always("ListTags", Fault::Answer(Reply::ok(&json!({ "Tags": {} }))));
    assert_eq!(read_live(&cx, "mapping", &this).await.unwrap().notes, ["AWS has disabled it: Lambda disabled it"]);
}

#[tokio::test]
async fn a_minimal_mapping_has_awss_defaults() {
    let cloud = deployed_on_runtime().await;
    let (cx, _press) = context(&cloud, team());
    cloud.always("GetEventSourceMapping", Fault::Answer(Reply::ok(&bare("Enabled"))));
    cloud.always("ListTags", Fault::Answer(Reply::ok(&json!({ "Tags": {} }))));
    let live = read_live(&cx, "mapping", &Id { unique_id: Some("u".into()), ..id("", FUNCTION) }).await.unwrap();
    has_defaults("mapping", &live);
    assert_eq!(live.props["on_failure_destination_arn"], Value::Null);
    let unknown =
        ["batch_size", "event_source_arn", "maximum_batching_window_in_seconds", "report_batch_item_failures"];
    let unknown = [&unknown[..], &["starting_position"]].concat();
    assert_eq!(live.unknown.into_keys().collect::<Vec<_>>(), unknown);
}

/// Asserts that a property missing from a response has its default, unless AWS always returns it:
/// then it is unknown.
fn has_defaults(kind: &str, live: &Live) {
    for property in &all().get(kind).unwrap().schema().properties {
        if let engine::schema::Presence::Default(default) = &property.presence
            && !live.unknown.contains_key(&property.name)
        {
            assert_eq!(live.props[&*property.name], Value::from(default.clone()), "{}", property.name);
        }
    }
}

#[tokio::test]
async fn a_minimal_function_has_awss_defaults() {
    let cloud = deployed_on_runtime().await;
    let (cx, _press) = context(&cloud, team());
    let always = [
        "application_log_level",
        "architecture",
        "code_sha256",
        "code_size",
        "description",
        "ephemeral_storage",
        "handler",
        "log_format",
        "log_group",
        "memory_size",
        "role",
        "runtime",
        "system_log_level",
        "timeout",
        "tracing",
    ];
    // Empty values where nothing is set, and the logging settings as sent.
    for (bare, has_logging) in [
        (json!({ "FunctionName": FUNCTION }), false),
        (
            json!({
                "FunctionName": FUNCTION,
                "Layers": [],
                "LoggingConfig": { "LogFormat": "Text" },
                "DeadLetterConfig": { "TargetArn": "" },
                "Environment": { "Variables": {} },
            }),
            true,
        ),
    ] {
        cloud.forget();
        cloud.always("GetFunction", Fault::Answer(Reply::ok(&json!({ "Configuration": bare }))));
        let live = read_live(&cx, "function", &id(FUNCTION, "")).await.unwrap();
        has_defaults("function", &live);
        let unknown = always.into_iter().filter(|name| !(has_logging && name.contains("log_")));
        assert_eq!(live.unknown.keys().map(|name| &**name).collect::<Vec<_>>(), unknown.collect::<Vec<_>>());
        if has_logging {
            assert_eq!(live.props["log_group"], Value::String(format!("/aws/lambda/{FUNCTION}")));
            assert_eq!(live.props["application_log_level"], Value::Null);
        }
        for absent in ["dead_letter_target_arn", "reserved_concurrent_executions"] {
            assert_eq!(live.props[absent], Value::Null, "{absent}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_that_aws_never_shows_is_named_in_the_error() {
    let cloud = deployed_on_runtime().await;
    let project = Project::new(|text| text + "    tumbling_window_in_seconds: 30\n");
    let mut spec = load(&project.path("specs/team.yaml"));
    let (cx, _press) = context(&cloud, team());
    let inventory = read(&cx, &mut spec).await.unwrap();
    let declared = spec.resource("todos-to-logger").unwrap();
    let live = inventory.live("todos-to-logger").unwrap();
    let mut want = live.props.clone();
    want.insert("tumbling_window_in_seconds".into(), Value::from(json!(30)));
    let start = Instant::now();
    let error = cx
        .provider(&declared.schema().kind)
        .unwrap()
        .wait_ready(&cx, &declared.id, &want, &live.outputs)
        .await
        .unwrap_err();
    assert_eq!(error.cause, Code::NotAsAsked);
    assert_eq!(
        &*error.message,
        "AWS accepted the mapping, but still shows another value for `tumbling_window_in_seconds`"
    );
    assert!((25..40).contains(&start.elapsed().as_secs()), "took {:?}", start.elapsed());
}

#[tokio::test]
async fn only_a_function_with_variables_is_tied_to_its_roles_unique_id() {
    let cloud = deployed_on_runtime().await;
    let (cx, _press) = context(&cloud, team());
    let bound =
        all().get("function").unwrap().schema().property("role").unwrap().replace_if_target_recreated.clone().unwrap();
    let live = read_live(&cx, "function", &id(FUNCTION, "")).await.unwrap();
    assert_eq!(bound(&live.props), None);
    cloud.world(|world| {
        let variables = json!({ "Variables": { "LEVEL": "debug" } });
        world.functions.get_mut(FUNCTION).unwrap().change_outside("Environment", variables);
    });
    let live = read_live(&cx, "function", &id(FUNCTION, "")).await.unwrap();
    assert!(bound(&live.props).unwrap().contains("decrypt"));
}

#[tokio::test]
async fn a_role_shows_its_path() {
    let cloud = deployed_on_runtime().await;
    let (cx, _press) = context(&cloud, team());
    let live = read_live(&cx, "role", &id(super::ROLE, "")).await.unwrap();
    assert_eq!(live.props["path"], Value::String("/".to_owned()));
}
