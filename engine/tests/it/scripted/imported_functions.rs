//! Mappings on functions that the spec imports: which owners they can have, and what engine
//! leaves unchanged.

use serde_json::json;

use super::server::Cloud;
use super::world::{Tags, World};
use super::{Project, TABLE, diff_is_empty, replaced, writes};

/// A function that is not deployed with this spec.
const SHARED: &str = "billing";
const MAPPING: &str = "  todos-to-shared:
    type: mapping
    function: ${shared.arn}
    event_source_arn: ${todos.stream_arn}
    starting_position: LATEST
";

fn project() -> Project {
    Project::new(|text| {
        let (head, _) = text.split_once("resources:\n").unwrap();
        format!(
            "{head}resources:
  todos:
    type: table
    attributes: {{ id: S }}
    hash_key: id
    billing_mode: PAY_PER_REQUEST
    stream_view_type: KEYS_ONLY
  shared: {{ type: function, import: {SHARED} }}
{MAPPING}"
        )
    })
}

fn tags(team: &str) -> Tags {
    let tags = [("engine:team", team), ("engine:stack", "team"), ("engine:resource", "shared")];
    tags.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

/// An account with the function, and a mapping of another team on it.
fn with_function(of_function: Tags) -> Cloud {
    let mut world = World::empty();
    world.index.mappings = true;
    world.add_function(SHARED, of_function);
    world.add_mapping(
        SHARED,
        "arn:aws:dynamodb:eu-central-1:123456789012:table/red-foxes-t/stream/1",
        tags("red-foxes"),
    );
    Cloud::start(world)
}

/// The function's mappings by the names of their tables.
fn tables(cloud: &Cloud) -> Vec<String> {
    let table = |shown: &serde_json::Value| {
        let arn = shown["EventSourceArn"].as_str().unwrap();
        arn.split('/').nth(1).unwrap().to_owned()
    };
    cloud.world(|world| world.mappings.iter().filter(|it| !it.is_leaving()).map(|it| table(&it.shown)).collect())
}

#[test]
fn a_declared_mapping_is_managed_and_its_function_and_other_mappings_are_unchanged() {
    let by_cloudformation = Tags::from([("aws:cloudformation:stack-name".to_owned(), "billing".to_owned())]);
    for of_function in [Tags::new(), tags("blue-owls"), by_cloudformation] {
        let cloud = with_function(of_function);
        let project = project();
        let before = cloud.world(|world| (world.functions[SHARED].bits(), world.mappings[0].bits()));
        project.run(&cloud, &["apply", "--yes"]).ends_with(0).says("2 added");
        diff_is_empty(&project, &cloud);
        project.edit("starting_position", "batch_size: 7\n    starting_position");
        project.run(&cloud, &["apply", "--yes"]).ends_with(0).says("1 changed");
        cloud.world(|world| world.mappings[1].shown["BatchSize"] = json!(9));
        project.run(&cloud, &["apply", "--yes"]).ends_with(0).says("1 changed");
        assert_eq!(cloud.world(|world| world.mappings[1].shown["BatchSize"].clone()), json!(7));
        project.run(&cloud, &["destroy", "--yes"]).ends_with(0).says("2 destroyed");
        assert_eq!(cloud.world(|world| (world.functions[SHARED].bits(), world.mappings[0].bits())), before);
        assert_eq!(tables(&cloud), ["red-foxes-t"]);
    }
}

#[test]
fn another_teams_function_takes_no_mapping() {
    let cloud = with_function(tags("red-foxes"));
    let run = project().run(&cloud, &["apply", "--yes"]);
    run.ends_with(1).complains("the function `billing` that it is attached to belongs to team `red-foxes`");
    assert_eq!(writes(&cloud), [""; 0]);
    // Without permission to read its tags, another team may own it.
    let cloud = with_function(Tags::new());
    cloud.world(|world| world.function_tags_denied = true);
    let run = project().run(&cloud, &["apply", "--yes"]);
    run.ends_with(1).complains("has tags that can't be read, so another team may own it");
    assert_eq!(writes(&cloud), [""; 0]);
    // It is taken after the plan.
    let cloud = with_function(Tags::new());
    cloud.before("CreateTable", 1, |world| world.functions.get_mut(SHARED).unwrap().tags = tags("red-foxes"));
    project()
        .run(&cloud, &["apply", "--yes"])
        .ends_with(3)
        .says("the function `billing` that it belongs to has another owner");
    assert_eq!(writes(&cloud), ["CreateTable"]);
    // ... or before the mapping is deleted.
    let cloud = with_function(Tags::new());
    let project = project();
    project.run(&cloud, &["apply", "--yes"]).ends_with(0);
    cloud.world(|world| world.functions.get_mut(SHARED).unwrap().tags = tags("red-foxes"));
    project
        .run(&cloud, &["destroy", "--yes"])
        .ends_with(0)
        .says("not deleted: the function `billing` that it is attached to");
    assert_eq!(tables(&cloud), ["red-foxes-t", TABLE]);
}

#[test]
fn an_orphaned_mapping_of_an_imported_function_is_reported_with_the_command_that_deletes_it() {
    let cloud = with_function(Tags::new());
    let project = project();
    project.run(&cloud, &["apply", "--yes"]).ends_with(0);
    let uuid = cloud.world(|world| world.mappings[1].uuid.clone());
    project.spec(&replaced(&std::fs::read_to_string(project.path("specs/team.yaml")).unwrap(), MAPPING, ""));
    cloud.forget();
    for args in [&["diff"][..], &["apply", "--yes"], &["destroy", "--yes"]] {
        let run = project.run(&cloud, args);
        run.ends_with(0).says("the function `billing` that it is attached to is imported");
        run.says(&format!("aws lambda delete-event-source-mapping --uuid {uuid} --region eu-central-1"));
        // The other team's mapping isn't mentioned.
        assert!(!run.out.contains("red-foxes"), "{}", run.out);
    }
    assert_eq!(writes(&cloud), ["DeleteTable"]);
    assert_eq!(tables(&cloud), ["red-foxes-t", TABLE]);
}

#[test]
fn a_mapping_with_copied_tags_and_another_source_is_neither_replaced_nor_deleted() {
    let cloud = with_function(Tags::new());
    let project = project();
    let copied = Tags::from([("engine:resource".to_owned(), "todos-to-shared".to_owned())]);
    let stream = "arn:aws:dynamodb:eu-central-1:123456789012:table/red-foxes-t/stream/1";
    cloud.world(|world| world.add_mapping(SHARED, stream, tags("blue-owls").into_iter().chain(copied).collect()));
    let uuid = cloud.world(|world| world.mappings[1].uuid.clone());
    let command = format!("aws lambda delete-event-source-mapping --uuid {uuid} --region eu-central-1");
    for args in [&["diff"][..], &["apply", "--yes"], &["destroy", "--yes"]] {
        let run = project.run(&cloud, args);
        run.ends_with(1).complains("the function `billing` is imported, and").complains(&command);
    }
    assert_eq!(writes(&cloud), [""; 0]);
    assert_eq!(tables(&cloud), ["red-foxes-t"; 2]);
}

#[test]
fn an_imported_function_takes_only_sources_that_the_spec_manages() {
    let cloud = with_function(Tags::new());
    let project = project();
    project.edit("${todos.stream_arn}", "arn:aws:dynamodb:eu-central-1:123456789012:table/red-foxes-t/stream/1");
    let refused = project.run(&cloud, &["diff"]);
    let words = "`shared` is imported, so `event_source_arn` must refer to a resource that this spec manages";
    refused.ends_with(1).complains(words);
    project.edit("arn:aws:dynamodb:eu-central-1:123456789012:table/red-foxes-t/stream/1", "${theirs.stream_arn}");
    project.edit("  shared:", "  theirs: { type: table, import: red-foxes-t }\n  shared:");
    project.run(&cloud, &["diff"]).ends_with(1).complains(words);
    assert_eq!(cloud.calls().len(), 0);
}

#[test]
fn a_policy_allows_the_teams_mappings_on_an_imported_function_alone() {
    let statements = |purpose: &str| {
        let ran = project().command(&["policy", "--account", "123456789012", "--for", purpose, "-q"]).run();
        let document: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        let all = document["Statement"].as_array().unwrap().clone();
        move |sid: &str| all.iter().find(|it| it["Sid"] == sid).cloned().unwrap_or_default()
    };
    let function = json!(["arn:aws:lambda:eu-central-1:123456789012:function:billing"]);
    let of = statements("apply");
    assert_eq!(of("NewMappingsOfImported")["Condition"], json!({ "ArnLike": { "lambda:FunctionArn": function } }));
    let own = json!({
        "ArnLike": { "lambda:FunctionArn": function },
        "StringEquals": { "aws:ResourceTag/engine:team": "blue-owls" },
    });
    assert_eq!(of("MappingsOfImported")["Condition"], own);
    // It reads the function before it deletes a mapping on it.
    let of = statements("destroy");
    assert_eq!(of("ImportedFunctions")["Resource"], function);
    assert_eq!(of("MappingsOfImported")["Action"], json!(["lambda:DeleteEventSourceMapping"]));
}
