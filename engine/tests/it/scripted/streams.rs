//! Streams that change while a mapping reads them, and mappings that engine didn't create.

use serde_json::{Value as Json, json};

use super::lambda_reads::second;
use super::server::Cloud;
use super::world::World;
use super::{FUNCTION, Project, Ran, TABLE, deployed, diff_is_empty, is_write, named, nth, writes};

/// UUIDs of the mappings that tests create.
const BY_HAND: [&str; 2] = ["00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b"];

fn stream(world: &World) -> Json {
    world.tables[TABLE].shown["LatestStreamArn"].clone()
}

/// Disables the stream and enables a new one, as a user might do by hand.
fn toggle_stream(world: &mut World) {
    world.have_changed(TABLE, &json!({ "StreamSpecification": { "StreamEnabled": false } }));
    let on = json!({ "StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES" });
    world.have_changed(TABLE, &json!({ "StreamSpecification": on }));
}

/// Re-creates the table with the same name, as a user might do by hand.
fn remake_table(world: &mut World) {
    toggle_stream(world);
    let table = world.tables.get_mut(TABLE).unwrap();
    table.reincarnate();
    table.tags.clear();
}

/// Adds a second mapping on the live stream.
fn add_mapping(world: &mut World, uuid: &str, owner: Option<&str>) {
    second(world, uuid, "", owner);
    let stream = stream(world);
    world.mappings.last_mut().unwrap().shown["EventSourceArn"] = stream;
}

/// Checks that there is one mapping, on the live stream, enabled and owned by this stack, and that
/// AWS never had two mappings of one stream.
#[track_caller]
fn one_mapping_reads_the_live_stream(cloud: &Cloud) -> String {
    cloud.world(|world| {
        let [mapping] = &world.mappings[..] else { panic!("{:?}", world.mappings) };
        assert_eq!(mapping.shown["EventSourceArn"], stream(world));
        assert!(mapping.is_enabled());
        let tags = [("engine:team", "blue-owls"), ("engine:stack", "team"), ("engine:resource", "todos-to-logger")];
        assert_eq!(mapping.tags, tags.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
        mapping.uuid.clone()
    })
}

/// Checks that an apply without confirmation writes nothing, and returns the apply with `--yes`.
#[track_caller]
fn apply_asks(project: &Project, cloud: &Cloud) -> Ran {
    project.run(cloud, &["apply"]).ends_with(1).complains("there is no terminal").complains("add `--yes`");
    assert_eq!(writes(cloud), [""; 0], "nothing is written unasked");
    cloud.forget();
    let run = project.run(cloud, &["apply", "--yes"]);
    run.ends_with(0);
    run
}

#[test]
fn a_new_view_type_is_planned_with_its_effects_and_applied_in_order() {
    let cloud = deployed();
    let project = Project::usual();
    project.edit("NEW_AND_OLD_IMAGES", "NEW_IMAGE");
    let before = cloud.world(|world| (stream(world), world.mappings[0].uuid.clone()));
    let run = apply_asks(&project, &cloud);
    run.says("~ stream_view_type = \"NEW_AND_OLD_IMAGES\" -> \"NEW_IMAGE\"")
        .says(&format!("~ stream_arn {} -> (known after apply)", before.0))
        .says(
            "engine disables the stream and enables a new one; writes during the switch (about ten seconds) create no records",
        )
        .says("-/+ logger-permission (permission blue-owls-logger-permission) must be replaced")
        .says("-/+ todos-to-logger (mapping) must be replaced")
        .says("redelivers the stream's records from the last 24 hours")
        .says("Plan: 2 to add, 1 to change, 2 to destroy.");
    let calls = cloud.calls();
    let of_the_pipe: Vec<String> = calls.iter().filter(|it| is_write(it)).map(named).collect();
    let [off, on] = [1, 2].map(|n| nth(&calls, "UpdateTable", n));
    assert_eq!(calls[off].body["StreamSpecification"], json!({ "StreamEnabled": false }));
    assert_eq!(calls[on].body["StreamSpecification"]["StreamViewType"], "NEW_IMAGE");
    let (delete, create) = (nth(&calls, "DeleteEventSourceMapping", 1), nth(&calls, "CreateEventSourceMapping", 1));
    assert!(off < on && on < delete && delete < create, "{of_the_pipe:?}");
    assert_eq!(calls[delete].about, before.1);
    // Measured from the read that shows the old mapping as deleted.
    let gone = calls[..create].iter().rposition(|it| it.operation == "GetEventSourceMapping").unwrap();
    assert_eq!(calls[gone].status, 404);
    let wasted = calls[create].start - calls[gone].end.unwrap();
    assert!(wasted.as_millis() < 1000, "the new one is made directly after the old one has gone: {wasted:?}");
    let uuid = one_mapping_reads_the_live_stream(&cloud);
    assert!(uuid != before.1 && cloud.world(|world| stream(world)) != before.0);
    diff_is_empty(&project, &cloud);
}

#[test]
fn a_missing_stream_is_reported_without_calling_aws() {
    let cloud = deployed();
    let project = Project::usual();
    project.edit("    stream_view_type: NEW_AND_OLD_IMAGES\n", "");
    for command in [&["diff"][..], &["apply", "--yes"]] {
        project.run(&cloud, command).ends_with(1).complains("`todos` has no `stream_arn`");
    }
    assert_eq!(cloud.calls().len(), 0);
}

#[test]
fn a_stream_that_will_never_exist_fails_fast() {
    let gone = "arn:aws:dynamodb:eu-central-1:123456789012:table/blue-owls-todos/stream/2020-01-01T00:00:00.000";
    for (stream, why) in
        [(gone.to_owned(), "the table has no such stream"), (gone.replace("todos", "notes"), "the table doesn't exist")]
    {
        let cloud = Cloud::start(World::empty());
        let project = Project::usual();
        project.edit("event_source_arn: ${todos.stream_arn}", &format!("event_source_arn: \"{stream}\""));
        let run = project.run(&cloud, &["apply", "--yes"]);
        run.ends_with(3)
            .says(&format!("Stream not found: {stream}"))
            .says(&format!("= why: {why}"))
            .says("`${TABLE.stream_arn}`");
        // The table may be created between the first two calls.
        let n_creates = cloud.count("CreateEventSourceMapping");
        assert!((2..=3).contains(&n_creates), "two reads of the table that agree decide: {n_creates}");
        assert!(run.took.as_secs() < 60, "{:?}", run.took);
    }
}

/// A change made outside engine: its description, the change, and the summary of the run that
/// fixes it.
type Moved = (&'static str, fn(&mut World), &'static str);

#[test]
fn a_mapping_on_a_dead_stream_is_replaced() {
    let cases: [Moved; 4] = [
        ("switched off and on", toggle_stream, "Resources: 2 added, 0 changed, 2 destroyed."),
        ("table re-created", remake_table, "Resources: 1 adopted, 2 added, 0 changed, 2 destroyed."),
        (
            "table re-created without a stream",
            |world| {
                remake_table(world);
                world.have_changed(TABLE, &json!({ "StreamSpecification": { "StreamEnabled": false } }));
            },
            "Resources: 1 adopted, 2 added, 0 changed, 2 destroyed.",
        ),
        (
            "switched off",
            |world| world.have_changed(TABLE, &json!({ "StreamSpecification": { "StreamEnabled": false } })),
            "Resources: 2 added, 1 changed, 2 destroyed.",
        ),
    ];
    for (what, make, done) in cases {
        let cloud = deployed();
        let project = Project::usual();
        let old = cloud.world(|world| world.mappings[0].uuid.clone());
        cloud.world(make);
        project.run(&cloud, &["diff", "--detailed-exitcode"]).ends_with(2).says("-/+ todos-to-logger (mapping)");
        apply_asks(&project, &cloud).says(done);
        assert!(one_mapping_reads_the_live_stream(&cloud) != old, "{what}");
        assert_eq!(cloud.count("CreateEventSourceMapping"), 1, "{what}");
        diff_is_empty(&project, &cloud);
    }
}

#[test]
fn of_several_mappings_the_one_on_the_live_stream_is_kept() {
    /// The additional mappings, the one to keep, and the summary of the run.
    type Duplicates<'a> = (fn(&mut World), &'a str, &'a str);
    let first = cloud_uuid();
    let cases: [Duplicates<'_>; 5] = [
        (
            |world| {
                toggle_stream(world);
                add_mapping(world, BY_HAND[0], None);
            },
            BY_HAND[0],
            "Resources: 1 adopted, 1 added, 0 changed, 2 destroyed.",
        ),
        (
            |world| {
                toggle_stream(world);
                add_mapping(world, BY_HAND[0], None);
                add_mapping(world, BY_HAND[1], None);
            },
            BY_HAND[0],
            "Resources: 1 adopted, 1 added, 0 changed, 3 destroyed.",
        ),
        (|world| add_mapping(world, BY_HAND[0], None), &first, "Resources: 0 added, 0 changed, 1 destroyed."),
        (
            |world| {
                // A user is disabling it.
                add_mapping(world, BY_HAND[0], None);
                world.mappings[1].pass_through(&["Updating", "Disabling"], false);
            },
            &first,
            "Resources: 0 added, 0 changed, 1 destroyed.",
        ),
        (
            |world| {
                add_mapping(world, BY_HAND[0], None);
                world.mappings[1].shown["EventSourceArn"] = json!(format!("{}-old", stream(world).as_str().unwrap()));
            },
            &first,
            "Resources: 0 added, 0 changed, 1 destroyed.",
        ),
    ];
    for (at, (make, stays, done)) in cases.into_iter().enumerate() {
        let cloud = deployed();
        let project = Project::usual();
        cloud.world(make);
        let gone: Vec<String> = cloud.world(|world| {
            world.mappings.iter().map(|mapping| mapping.uuid.clone()).filter(|uuid| uuid != stays).collect()
        });
        let run = apply_asks(&project, &cloud);
        run.says(done);
        for uuid in &gone {
            run.says(uuid);
        }
        let told = "# it duplicates `todos-to-logger`";
        assert_eq!(run.out.matches(told).count(), gone.len(), "case {at}: {}", run.out);
        assert!(!run.out.contains("does not reach the function"), "case {at}: {}", run.out);
        assert_eq!(one_mapping_reads_the_live_stream(&cloud), stays, "case {at}");
        assert_eq!(cloud.count("CreateEventSourceMapping"), 0, "case {at}: none is made");
        diff_is_empty(&project, &cloud);
        // A destroy of the same account, without an apply before it.
        let cloud = deployed();
        cloud.world(make);
        project.run(&cloud, &["destroy", "--yes"]).ends_with(0);
        assert!(cloud.world(|world| world.is_empty()), "case {at}");
        let calls = cloud.calls();
        let taken = calls.iter().filter(|it| it.operation == "DeleteEventSourceMapping" && it.status < 400);
        assert_eq!(taken.count(), gone.len() + 1, "case {at}");
    }
}

/// The mapping of the deployed account.
fn cloud_uuid() -> String {
    deployed().world(|world| world.mappings[0].uuid.clone())
}

#[test]
fn another_teams_mapping_on_the_function_stops_the_command() {
    for dead in [false, true] {
        let cloud = deployed();
        cloud.world(|world| {
            if !dead {
                toggle_stream(world);
            }
            add_mapping(world, BY_HAND[0], Some("red-foxes"));
            if dead {
                world.mappings[1].shown["EventSourceArn"] = json!("arn:aws:dynamodb:x:1:table/elsewhere/stream/1");
            }
        });
        let project = Project::usual();
        if !dead {
            let run = project.run(&cloud, &["apply", "--yes"]);
            run.ends_with(1).complains("it belongs to team `red-foxes`, stack `team`, resource `other`");
        }
        let run = project.run(&cloud, &["destroy", "--yes"]);
        run.ends_with(1).complains("it belongs to team `red-foxes`, stack `team`, resource `other`");
        assert_eq!(writes(&cloud), [""; 0]);
    }
}

#[test]
fn deleting_a_function_deletes_its_mappings_declared_or_not() {
    let spec_without = |project: &Project| {
        let text = std::fs::read_to_string(project.path("specs/team.yaml")).unwrap();
        project.spec(text.split("  todos-to-logger:").next().unwrap());
    };
    let project = Project::usual();
    spec_without(&project);
    let (ours, elsewhere) = (cloud_uuid(), json!("arn:aws:dynamodb:eu-central-1:123456789012:table/others/stream/1"));
    let cloud = deployed();
    cloud.world(|world| {
        add_mapping(world, BY_HAND[0], None);
        world.mappings[1].shown["EventSourceArn"] = elsewhere.clone();
    });
    let run = project.run(&cloud, &["destroy", "--yes"]);
    run.ends_with(0)
        .says(&format!("(mapping {ours}) will be destroyed # it is no longer in the spec"))
        .says(&format!("{} (mapping) will be destroyed # the function that it invokes will be destroyed", BY_HAND[0]))
        .says("Destroy complete! Resources: 5 destroyed.");
    assert!(cloud.world(|world| world.is_empty()));
    let calls = cloud.calls();
    let last = calls.iter().rposition(|it| it.operation == "GetEventSourceMapping").unwrap();
    assert!(last < nth(&calls, "DeleteFunction", 1), "a mapping would live on, and feed the next one of that name");

    // A mapping of another team blocks the whole destroy.
    let cloud = deployed();
    cloud.world(|world| {
        add_mapping(world, BY_HAND[0], Some("red-foxes"));
        world.mappings[1].shown["EventSourceArn"] = elsewhere;
    });
    let run = project.run(&cloud, &["destroy", "--yes"]);
    run.ends_with(1).complains("it belongs to team `red-foxes`, stack `team`, resource `other`, but the function");
    assert_eq!(writes(&cloud), [""; 0]);

    // The same holds if the spec no longer has the function.
    let cloud = deployed();
    cloud.world(|world| {
        add_mapping(world, BY_HAND[0], None);
        add_mapping(world, BY_HAND[1], Some("red-foxes"));
    });
    let project = Project::usual();
    let text = std::fs::read_to_string(project.path("specs/team.yaml")).unwrap();
    project.spec(text.split("  # Existing role").next().unwrap());
    let theirs = "it belongs to team `red-foxes`, stack `team`, resource `other`, but the function";
    project.run(&cloud, &["apply", "--yes"]).ends_with(1).complains(theirs);
    assert_eq!(writes(&cloud), [""; 0]);
    cloud.world(|world| drop(world.mappings.pop()));
    apply_asks(&project, &cloud).says("Resources: 0 added, 0 changed, 4 destroyed.");
    assert!(cloud.world(|world| world.functions.is_empty() && world.mappings.is_empty()));
    diff_is_empty(&project, &cloud);

    // Removing only the mapping deletes only the mapping.
    let project = Project::usual();
    spec_without(&project);
    let cloud = deployed();
    project.run(&cloud, &["apply", "--yes"]).ends_with(0).says("Resources: 0 added, 0 changed, 1 destroyed.");
    assert_eq!(cloud.world(|world| (world.mappings.len(), world.functions.contains_key(FUNCTION))), (0, true));
}

/// The default spec with a second table that feeds the same function.
fn two_tables() -> Project {
    Project::new(|text| {
        let (table, rest) = text.split_once("  # Existing role").unwrap();
        let (_, table) = table.split_once("resources:\n").unwrap();
        let (_, mapping) = rest.split_once("  todos-to-logger:").unwrap();
        let second = format!(
            "{}  before:{}",
            table.replace("todos:", "archive:"),
            mapping.replace("todos.stream_arn", "archive.stream_arn")
        );
        format!("{text}\n{second}")
    })
}

#[test]
fn mappings_of_two_tables_are_not_confused() {
    let cloud = Cloud::start(World::empty());
    let project = two_tables();
    project.run(&cloud, &["apply"]).ends_with(0).says("Resources: 6 added, 0 changed, 0 destroyed.");
    diff_is_empty(&project, &cloud);
    let aged = cloud.world(|world| world.clone()).aged();
    let cloud = Cloud::start(aged.clone());
    let uuids = cloud.world(|world| {
        toggle_stream(world);
        add_mapping(world, BY_HAND[0], None);
        world.mappings.iter().map(|it| it.uuid.clone()).collect::<Vec<_>>()
    });
    let run = apply_asks(&project, &cloud);
    run.says("Resources: 1 adopted, 1 added, 0 changed, 2 destroyed.");
    let left = cloud.world(|world| world.mappings.iter().map(|it| it.uuid.clone()).collect::<Vec<_>>());
    assert_eq!((left.len(), left.contains(&BY_HAND[0].to_owned())), (2, true), "{uuids:?}, {left:?}");
    diff_is_empty(&project, &cloud);
    let cloud = Cloud::start(aged);
    cloud.world(|world| {
        toggle_stream(world);
        add_mapping(world, BY_HAND[0], None);
    });
    project.run(&cloud, &["destroy", "--yes"]).ends_with(0).says("Destroy complete! Resources: 7 destroyed.");
    assert_eq!(cloud.count("DeleteEventSourceMapping"), 3);
    assert!(cloud.world(|world| world.is_empty()));
}
