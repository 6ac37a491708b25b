//! Orphans if the tag index lags, is stale, can't be read or is paginated, and runs after a kill.

use std::collections::BTreeMap;

use super::server::{Cloud, Fault};
use super::world::{ACCOUNT, REGION, Reply, World};
use super::{FUNCTION, Project, TABLE, deployed, diff_is_empty, nth, writes};

/// The spec without its mapping.
pub(super) fn without_mapping(spec: &str) -> String {
    spec.split_once("\n  todos-to-logger:").unwrap().0.to_owned() + "\n"
}

const EMPTY: &str = "team: blue-owls\nregion: eu-central-1\nresources: {}\n";

fn tags(team: &str, resource: &str) -> BTreeMap<String, String> {
    let tags = [("engine:team", team), ("engine:stack", "team"), ("engine:resource", resource)];
    tags.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

/// Adds a table with this name to the account.
fn add_table(cloud: &Cloud, name: &str, tags: BTreeMap<String, String>) {
    cloud.world(|world| {
        let mut table = World::one_table();
        table.tags = tags;
        table.shown["TableName"] = name.into();
        table.shown["TableArn"] = format!("arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}").into();
        world.tables.insert(name.to_owned(), table);
    });
}

fn deny(cloud: &Cloud) {
    let text = "User: X is not authorized to perform: tag:GetResources";
    cloud.always("GetResources", Fault::Answer(Reply::of("GetResources", 400, "AccessDeniedException", text)));
}

#[test]
fn an_empty_tag_index_delays_a_prune_and_creates_no_duplicates() {
    let cloud = deployed();
    cloud.world(|world| world.index.blind = true);
    let project = Project::usual();
    diff_is_empty(&project, &cloud);
    // A mapping is found through its function, independent of the index.
    project.spec(&without_mapping(&std::fs::read_to_string(project.path("specs/team.yaml")).unwrap()));
    project.run(&cloud, &["apply", "--yes"]).ends_with(0).says("1 destroyed");
    assert_eq!(cloud.world(|world| world.mappings.len()), 0);
    project.spec(EMPTY);
    project.run(&cloud, &["apply", "--yes"]).ends_with(0).says("No changes.");
    assert_eq!(cloud.world(|world| (world.tables.len(), world.functions.len())), (1, 1), "later, not never");
    cloud.world(|world| world.index.blind = false);
    project.run(&cloud, &["diff"]).ends_with(0).says("3 to destroy");
    // A destroy doesn't rely on the index.
    cloud.world(|world| world.index.blind = true);
    project.run(&cloud, &["destroy", "--yes"]).ends_with(0).says("Destroy complete! Resources: 3 destroyed.");
    assert_eq!(cloud.world(|world| (world.tables.len(), world.functions.len())), (0, 0));
}

#[test]
fn a_stale_index_entry_is_not_in_the_plan() {
    let cloud = deployed();
    cloud.world(|world| {
        world.index.ghosts = vec![
            (format!("arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/blue-owls-old"), tags("blue-owls", "old")),
            (format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:blue-owls-older"), tags("blue-owls", "older")),
        ];
        world.small_pages = true;
    });
    let project = Project::usual();
    diff_is_empty(&project, &cloud);
    // The table's tags differ from those in the index.
    add_table(&cloud, "blue-owls-old", tags("red-foxes", "old"));
    diff_is_empty(&project, &cloud);
    add_table(&cloud, "blue-owls-old", tags("blue-owls", "old"));
    project.run(&cloud, &["diff"]).ends_with(0).says("- old (table blue-owls-old) will be destroyed");
    project.run(&cloud, &["destroy", "--yes"]).ends_with(0).says("Destroy complete! Resources: 5 destroyed.");
    assert_eq!(cloud.world(|world| (world.tables.len(), world.functions.len(), world.mappings.len())), (0, 0, 0));
}

#[test]
fn without_access_to_the_index_write_commands_search_by_name() {
    let cloud = deployed();
    deny(&cloud);
    cloud.world(|world| world.small_pages = true);
    add_table(&cloud, "blue-owls-old", tags("blue-owls", "old"));
    add_table(&cloud, "blue-owls-extra-todos", tags("blue-owls-extra", "old"));
    add_table(&cloud, "blue-owls-by-hand", BTreeMap::new());
    let project = Project::usual();
    let diff = project.run(&cloud, &["diff"]);
    diff.ends_with(0).says("engine couldn't search for orphans").says("--prune-scan");
    assert!(!diff.out.contains("blue-owls-old"), "{}", diff.out);
    assert_eq!(cloud.count("ListTables"), 0);
    let scan = project.run(&cloud, &["diff", "--prune-scan"]);
    scan.ends_with(0).says("- old (table blue-owls-old) will be destroyed").says("1 to destroy");
    assert!(!scan.out.contains("couldn't search for orphans"), "{}", scan.out);
    // Another team's resource is also called `old`, but engine keeps that team's tags on it.
    project.run(&cloud, &["apply", "--yes"]).ends_with(0).says("1 destroyed");
    project.run(&cloud, &["release", "old"]).ends_with(1).complains("it belongs to team `blue-owls-extra`");
    let left: Vec<String> = cloud.world(|world| world.tables.keys().cloned().collect());
    assert_eq!(left, ["blue-owls-by-hand", "blue-owls-extra-todos", TABLE]);
    assert_eq!(cloud.world(|world| world.tables["blue-owls-extra-todos"].tags.clone()), tags("blue-owls-extra", "old"));
    project.spec(EMPTY);
    let gone = project.run(&cloud, &["destroy", "--yes"]);
    gone.ends_with(0).says("blue-owls-by-hand (table) is unchanged").says("skipped: it has no engine tags");
    let left: Vec<String> = cloud.world(|world| world.tables.keys().cloned().collect());
    assert_eq!(left, ["blue-owls-by-hand", "blue-owls-extra-todos"]);
}

#[test]
fn a_resource_owned_only_by_the_index_is_deleted_only_with_assume_owner() {
    let cloud = deployed();
    let text = "User: X is not authorized to perform: dynamodb:ListTagsOfResource";
    cloud.always("ListTagsOfResource", Fault::Answer(Reply::dynamodb("AccessDeniedException", text)));
    add_table(&cloud, "blue-owls-old", tags("blue-owls", "old"));
    let project = Project::usual();
    let told = "skipped: `tag:GetResources` lists it for this stack, but you lack permission to read its";
    project.run(&cloud, &["diff"]).ends_with(0).says("old (table blue-owls-old) is unchanged").says(told);
    project.run(&cloud, &["apply", "--yes"]).ends_with(0).says(told);
    assert_eq!(writes(&cloud), [""; 0]);
    project.run(&cloud, &["apply", "--yes", "--assume-owner"]).ends_with(0).says("1 destroyed");
    assert_eq!(writes(&cloud), ["DeleteTable"]);
    assert_eq!(cloud.world(|world| world.tables.keys().cloned().collect::<Vec<_>>()), [TABLE]);

    // The same holds for mappings of a function that is deleted.
    let text = "User: X is not authorized to perform: lambda:ListTags";
    cloud.forget();
    cloud.always("ListTags", Fault::Answer(Reply::lambda(403, "AccessDeniedException", text)));
    project.spec(EMPTY);
    let refused = project.run(&cloud, &["destroy", "--yes"]);
    refused
        .ends_with(1)
        .complains("the function that it invokes will be destroyed, but you lack permission to read its tags");
    assert_eq!(writes(&cloud), [""; 0]);
    project.run(&cloud, &["destroy", "--yes", "--assume-owner"]).ends_with(0).says("Resources: 4 destroyed.");
}

#[test]
fn a_destroy_without_a_spec_deletes_dependents_first() {
    let cloud = deployed();
    let bare = ["destroy", "--team", "blue-owls", "--stack", "team", "--region", REGION, "--yes"];
    project_without_specs().run(&cloud, &bare).ends_with(0).says("Destroy complete! Resources: 4 destroyed.");
    let calls = cloud.calls();
    let sent = |operation: &str| calls[nth(&calls, operation, 1)].start;
    let gone = |operation: &str| calls[nth(&calls, operation, 1)].end.unwrap();
    for (first, then) in [
        ("DeleteEventSourceMapping", "DeleteFunction"),
        ("DeleteEventSourceMapping", "DeleteTable"),
        ("RemovePermission", "DeleteFunction"),
    ] {
        assert!(gone(first) <= sent(then), "{first}, then {then}");
    }
}

/// A project whose specs are deleted.
fn project_without_specs() -> Project {
    let project = Project::usual();
    std::fs::remove_dir_all(project.path("specs")).unwrap();
    project
}

#[test]
fn a_run_after_a_kill_finds_the_table_being_created() {
    for command in ["apply", "destroy"] {
        let cloud = Cloud::start(World { tag_lag: 3, ..World::empty() });
        let project = Project::usual();
        let mut running = project.start(&cloud, &["apply"]);
        cloud.wait_for("CreateTable", 1);
        cloud.wait_for("CreateFunction", 1);
        running.kill();
        let made = cloud.world(|world| world.tables.len());
        assert_eq!(made, 1);
        let before = writes(&cloud).iter().filter(|call| *call == "CreateTable").count();
        if command == "apply" {
            project.run(&cloud, &["diff"]).ends_with(0).says("todos (table blue-owls-todos) can't be planned yet");
            project.run(&cloud, &["apply"]).ends_with(0).complains("todos: waiting, because");
            diff_is_empty(&project, &cloud);
            assert_eq!(before, writes(&cloud).iter().filter(|call| *call == "CreateTable").count());
            assert_eq!(cloud.world(|world| world.functions.len() + world.mappings.len()), 2);
        } else {
            // Without a spec, engine knows only the table's name until it can read the tags.
            let bare = ["destroy", "--team", "blue-owls", "--stack", "team", "--region", "eu-central-1", "--yes"];
            let gone = project.run(&cloud, &bare);
            gone.ends_with(0).complains(&format!("{TABLE}: waiting, because its owner can't be determined yet"));
            assert_eq!(cloud.world(|world| world.tables.len()), 0);
            assert!(!cloud.world(|world| world.functions.contains_key(FUNCTION)));
        }
    }
}

#[test]
fn destroying_one_function_considers_everything_attached_to_it() {
    // A mapping of another stack on the function, with and without a mapping in the spec.
    for is_declared in [true, false] {
        let cloud = deployed();
        cloud.world(|world| {
            let tags = &mut world.mappings[0].tags;
            tags.insert("engine:stack".to_owned(), "other".to_owned());
        });
        let project = Project::new(move |text| if is_declared { text } else { without_mapping(&text) });
        let run = project.run(&cloud, &["destroy", "--target", "logger", "--yes"]);
        run.ends_with(1).complains("stack `other`");
        assert_eq!(writes(&cloud), Vec::<String>::new(), "declared: {is_declared}");
    }
    // It also blocks a replacement of the function.
    let cloud = deployed();
    cloud.world(|world| drop(world.mappings[0].tags.insert("engine:stack".to_owned(), "other".to_owned())));
    let run = Project::new(|text| without_mapping(&text)).run(&cloud, &["apply", "--replace", "logger", "--yes"]);
    run.ends_with(1).complains("the function that it invokes must be replaced");
    assert_eq!(writes(&cloud), Vec::<String>::new());
    // A mapping without an owner is deleted with the function, and the plan lists it; the table
    // and other orphans are kept.
    let cloud = deployed();
    cloud.world(|world| world.mappings[0].tags.clear());
    let project = Project::new(|text| without_mapping(&text));
    let run = project.run(&cloud, &["destroy", "--target", "logger", "--yes"]);
    run.ends_with(0).says("the function that it invokes will be destroyed");
    assert!(cloud.world(|world| world.mappings.iter().all(|it| it.is_leaving()) && world.tables.len() == 1));
}
