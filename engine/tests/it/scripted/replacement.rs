//! Destructive changes and replacements never happen by accident, are always in the plan, and run
//! in an order that leaves no orphans.

use serde_json::json;

use super::server::{Cloud, Fault, until};
use super::world::{Reply, World};
use super::{FUNCTION, Project, TABLE, deployed, diff_is_empty, is_write, nth, writes};

const STREAM: &str = "    stream_view_type: NEW_AND_OLD_IMAGES\n";
const HANDLER: &str = "    handler: index.handler\n";
const KEY: &str = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";

/// A spec's text without the resources that depend on the stream.
fn without_readers(text: &str) -> String {
    text.split("  # Required by the task").next().unwrap().to_owned()
}

/// The account after an apply of this spec long ago.
fn aged_deployment(project: &Project, spec: &str) -> Cloud {
    let cloud = Cloud::start(World::empty());
    project.spec(spec);
    project.run(&cloud, &["apply"]).ends_with(0);
    Cloud::start(cloud.world(|world| world.clone()).aged())
}

/// The names of the writes that AWS accepted, in order.
fn accepted_writes(cloud: &Cloud) -> Vec<String> {
    let taken = |call: &&super::server::RecordedCall| is_write(call) && call.status < 400;
    cloud.calls().iter().filter(taken).map(|call| call.operation.clone()).collect()
}

/// Changes of the default spec: the table's lines before and after, and the plan's text.
fn destructive() -> Vec<(String, String, &'static str)> {
    let index = "    attributes: { id: S, due: S }\n    global_secondary_indexes: { by-due: { hash_key: due, read_capacity: 1, write_capacity: 1 } }\n";
    let plain = "    attributes: { id: S }\n";
    let lines = |before: &str, after: &str, told| (format!("{plain}{before}"), format!("{plain}{after}"), told);
    vec![
        (index.to_owned(), plain.to_owned(), "the index `by-due` is deleted"),
        lines("", "    ttl_attribute: expires\n", "items whose time in `expires` has passed are deleted"),
        lines("    point_in_time_recovery: true\n", "", "point-in-time recovery is turned off"),
        lines(&format!("    kms_key_arn: {KEY}\n"), "", "the table is encrypted with a key owned by AWS"),
    ]
}

#[test]
fn only_destructive_changes_need_confirmation() {
    let text = std::fs::read_to_string(Project::usual().path("specs/team.yaml")).unwrap();
    let plain = "    attributes: { id: S }\n";
    let mut cases: Vec<(String, String, Vec<&str>, &str)> = destructive()
        .into_iter()
        .map(|(before, after, told)| (text.replace(plain, &before), text.replace(plain, &after), vec![], told))
        .collect();
    let readerless = without_readers(&text);
    cases.extend([
        (readerless.clone(), readerless.replace(STREAM, ""), vec![], "the stream is turned off"),
        (
            text.clone(),
            text.replace("TRIM_HORIZON", "LATEST"),
            vec![],
            "a new mapping with LATEST skips records that are written before it is Enabled",
        ),
        (text.clone(), text.clone(), vec!["--replace", "logger"], "callers will get errors until it is re-created"),
        (
            text.clone(),
            text.clone(),
            vec!["--replace", "todos"],
            "its items and its stream are deleted; the new table is empty, and reads and writes fail until it is ACTIVE",
        ),
        (
            text.clone(),
            text.split("  todos-to-logger:").next().unwrap().to_owned(),
            vec![],
            "new records no longer reach the function",
        ),
    ]);
    std::thread::scope(|scope| {
        for cases in cases.chunks(3) {
            scope.spawn(move || {
                for (before, after, flags, told) in cases {
                    let project = Project::usual();
                    let cloud = aged_deployment(&project, before);
                    project.spec(after);
                    let run = project.run(&cloud, &[&["apply"][..], flags].concat());
                    run.ends_with(1).says(told).complains("there is no terminal").complains("add `--yes`");
                    assert_eq!(writes(&cloud), [""; 0], "{told}");
                    project.run(&cloud, &[&["apply", "--yes"][..], flags].concat()).ends_with(0);
                    assert!(!accepted_writes(&cloud).is_empty(), "{told}");
                    diff_is_empty(&project, &cloud);
                }
            });
        }
    });
    // Replacing a statement interrupts invocations briefly but needs no confirmation.
    let cloud = deployed();
    let project = Project::usual();
    project.edit("    principal: dynamodb.amazonaws.com", "    principal: sns.amazonaws.com");
    let run = project.run(&cloud, &["apply"]);
    run.ends_with(0).says("its principal has no permission to invoke the function until it is re-created");
    assert_eq!(writes(&cloud), ["RemovePermission", "AddPermission"]);
}

#[test]
fn a_table_is_replaced_only_by_name_and_with_items_only_with_delete_data() {
    let cloud = deployed();
    let project = Project::usual();
    project.edit("attributes: { id: S }", "attributes: { key: S }");
    project.edit("hash_key: id", "hash_key: key");
    let refused = |flags: &[&str], told: &[&str]| {
        let run = project.run(&cloud, &[&["apply", "--yes"][..], flags].concat());
        run.ends_with(1);
        for words in told {
            run.complains(words);
        }
        assert_eq!(writes(&cloud), [""; 0], "{told:?}");
    };
    let key = "`hash_key` can't change: DynamoDB can't change the key of an existing table; a new table would be empty";
    refused(&[], &[key, "add `--replace todos`"]);
    // AWS's item count can be outdated, so engine scans for one item.
    cloud.world(|world| world.tables.get_mut(TABLE).unwrap().items = 1);
    refused(&["--replace", "todos"], &["it is not empty: at least one item would be lost", "add `--delete-data`"]);
    cloud.world(|world| world.tables.get_mut(TABLE).unwrap().counted = 40);
    refused(
        &["--replace", "todos"],
        &["it is not empty: about 40 items would be lost (AWS's count is approximate)", "add `--delete-data`"],
    );
    // A nonzero item count doesn't block the replacement if the table is empty.
    cloud.world(|world| world.tables.get_mut(TABLE).unwrap().items = 0);
    cloud.forget();
    project.run(&cloud, &["apply", "--replace", "todos"]).ends_with(1).complains("add `--yes`");
    assert_eq!(writes(&cloud), [""; 0]);
    cloud.world(|world| world.tables.get_mut(TABLE).unwrap().items = 40);
    project.run(&cloud, &["apply", "--replace", "todos", "--delete-data", "--yes"]).ends_with(0);
    assert_eq!(cloud.world(|world| world.tables[TABLE].items), 0);
    let calls = cloud.calls();
    let order = ["DeleteEventSourceMapping", "DeleteTable", "CreateTable", "CreateEventSourceMapping"];
    let places = order.map(|operation| nth(&calls, operation, 1));
    assert!(places.is_sorted(), "{:?}", accepted_writes(&cloud));
    assert!(nth(&calls, "RemovePermission", 1) < places[1] && places[2] < nth(&calls, "AddPermission", 1));
    diff_is_empty(&project, &cloud);
}

#[test]
fn a_table_that_gets_items_after_the_plan_is_not_replaced() {
    let cloud = deployed();
    // The first scan belongs to the plan.
    cloud.before("Scan", 2, |world| world.tables.get_mut(TABLE).unwrap().items = 1);
    let project = Project::usual();
    let run = project.run(&cloud, &["apply", "--replace", "todos", "--yes"]);
    run.ends_with(3).says("the table is not empty").says("--delete-data");
    assert_eq!((cloud.count("DeleteTable"), cloud.count("CreateTable")), (0, 0));
    // The next run re-creates what was deleted before the table.
    project.run(&cloud, &["apply"]).ends_with(0).says("Resources: 2 added, 0 changed, 0 destroyed.");
    diff_is_empty(&project, &cloud);
}

#[test]
fn a_re_created_role_replaces_a_function_with_variables() {
    let project = Project::usual();
    project.edit(HANDLER, &format!("{HANDLER}    environment: {{ LEVEL: debug }}\n"));
    let cloud = deployed();
    project.run(&cloud, &["apply"]).ends_with(0);
    let recreate = |world: &mut World| {
        world.roles_created = Some("2026-11-22T20:00:00Z");
        world.lambda_time = Some("2026-11-22T21:00:00.000+0000");
    };
    cloud.world(recreate);
    let reason = "`execution-role` was re-created under the same name after this resource changed: its role was re-created \
                  with the same name, and Lambda's grant to decrypt the function's variables refers to the old role";
    project.run(&cloud, &["diff"]).ends_with(0).says("-/+ logger (function blue-owls-logger)").says(reason);
    cloud.forget();
    project.run(&cloud, &["apply"]).ends_with(1).complains("add `--yes`");
    assert_eq!(writes(&cloud), [""; 0]);
    project.run(&cloud, &["apply", "--yes"]).ends_with(0).says("Resources: 3 added, 0 changed, 3 destroyed.");
    let calls = cloud.calls();
    let (delete, create) = (nth(&calls, "DeleteFunction", 1), nth(&calls, "CreateFunction", 1));
    assert!(nth(&calls, "DeleteEventSourceMapping", 1) < delete && nth(&calls, "RemovePermission", 1) < delete);
    assert!(create < nth(&calls, "AddPermission", 1) && create < nth(&calls, "CreateEventSourceMapping", 1));
    assert_eq!(cloud.world(|world| world.mappings.len()), 1);
    diff_is_empty(&project, &cloud);
    // A function without variables has nothing to decrypt.
    let cloud = deployed();
    cloud.world(recreate);
    diff_is_empty(&Project::usual(), &cloud);
}

#[test]
fn a_function_re_created_by_hand_is_adopted_with_its_attachments() {
    for survives in [true, false] {
        let cloud = deployed();
        cloud.world(|world| {
            let function = world.functions.get_mut(FUNCTION).unwrap();
            function.tags.clear();
            function.policy.clear();
            if !survives {
                world.mappings.clear();
            }
        });
        let project = Project::usual();
        let run = project.run(&cloud, &["apply"]);
        run.ends_with(1).complains("add `--yes`").says("= logger (function blue-owls-logger) will be adopted");
        run.says("+ logger-permission (permission blue-owls-logger-permission) will be created");
        assert_eq!(writes(&cloud), [""; 0]);
        let run = project.run(&cloud, &["apply", "--yes"]);
        let n_added = if survives { 1 } else { 2 };
        run.ends_with(0).says(&format!("Resources: 1 adopted, {n_added} added, 0 changed, 0 destroyed."));
        assert_eq!(cloud.world(|world| (world.mappings.len(), world.functions[FUNCTION].policy.len())), (1, 1));
        diff_is_empty(&project, &cloud);
    }
    // engine doesn't reset properties of the new function that the spec omits.
    let cloud = deployed();
    cloud.world(|world| {
        let function = world.functions.get_mut(FUNCTION).unwrap();
        function.tags.clear();
        function.change_outside("MemorySize", json!(512));
    });
    let run = Project::usual().run(&cloud, &["apply", "--yes"]);
    run.ends_with(1).complains("engine never does that").says("memory_size: 512");
    assert_eq!(writes(&cloud), [""; 0]);
}

#[test]
fn an_orphan_is_not_used_as_the_declared_resource() {
    let cloud = deployed();
    cloud.world(|world| {
        // The state after an interrupted run that renamed the table in AWS.
        let old = world.tables[TABLE].clone();
        world.tables.insert("blue-owls-before".to_owned(), old);
    });
    let project = Project::usual();
    project.edit(HANDLER, &format!("{HANDLER}    environment: {{ TABLE: \"${{todos.stream_arn}}\" }}\n"));
    // Another value of a variable may also have created this table.
    let run = project.run(&cloud, &["apply", "--yes"]);
    run.ends_with(1).complains("the spec declares `todos` under the name `blue-owls-todos`");
    assert_eq!(writes(&cloud), [""; 0]);
    let run = project.run(&cloud, &["apply", "--yes", "--replace", "todos"]);
    run.ends_with(0).says("- todos (table blue-owls-before) will be destroyed");
    let (tables, variables) = cloud.world(|world| {
        let variables = world.functions[FUNCTION].config["Environment"]["Variables"].clone();
        (world.tables.keys().cloned().collect::<Vec<_>>(), variables)
    });
    assert_eq!(tables, [TABLE]);
    assert_eq!(variables["TABLE"], cloud.world(|world| world.tables[TABLE].shown["LatestStreamArn"].clone()));
    diff_is_empty(&project, &cloud);
}

#[test]
fn ctrl_c_while_a_statement_is_replaced_still_re_creates_it() {
    let cloud = deployed();
    let project = Project::usual();
    project.edit("    principal: dynamodb.amazonaws.com", "    principal: sns.amazonaws.com");
    cloud.hold();
    let running = project.start(&cloud, &["apply"]);
    // The concurrent reads first, then sequential ones.
    for n_calls in [9, 2] {
        cloud.held(n_calls);
        cloud.release();
    }
    cloud.release_until("RemovePermission");
    let next = cloud.count("GetFunction") + 1;
    let throttled = Reply::lambda(429, "TooManyRequestsException", "Rate exceeded");
    cloud.fault("GetFunction", next..next + 4, Fault::Answer(throttled));
    running.press_ctrl_c();
    until("the interrupt", || running.said(), |said| said.contains("interrupted"));
    cloud.let_go();
    running.end().ends_with(0);
    assert_eq!(writes(&cloud), ["RemovePermission", "AddPermission"]);
    assert!(cloud.count("GetFunction") >= next + 4);
    diff_is_empty(&project, &cloud);
}
