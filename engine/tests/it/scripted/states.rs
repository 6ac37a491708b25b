//! Every state in which another writer or run may leave a resource: `diff` reports it, `apply`
//! waits, fixes or re-creates, and `destroy` deletes it.

use serde_json::json;

use super::server::Cloud;
use super::world::{Function, Mapping, World};
use super::{FUNCTION, Project, TABLE, deployed, diff_is_empty};

/// A state: what brings the deployed account into it, and what `diff` then reports.
struct Case {
    state: &'static str,
    make: fn(&mut World),
    expected: &'static str,
}

fn case(state: &'static str, make: fn(&mut World), expected: &'static str) -> Case {
    Case { state, make, expected }
}

fn function(world: &mut World) -> &mut Function {
    world.functions.get_mut(FUNCTION).unwrap()
}

fn mapping(world: &mut World) -> &mut Mapping {
    &mut world.mappings[0]
}

fn change_table(world: &mut World, body: &serde_json::Value) {
    world.update_table(TABLE, body).unwrap();
    world.tables.get_mut(TABLE).unwrap().catch_up();
}

fn cases() -> Vec<Case> {
    vec![
        case(
            "table CREATING",
            |world| world.tables.get_mut(TABLE).unwrap().make_creating(),
            "todos (table blue-owls-todos) can't be planned yet # its owner can't be determined yet: AWS doesn't show its \
             tags yet; `apply` waits for that",
        ),
        case(
            "table UPDATING to what the spec does not want",
            |world| {
                let capacity = json!({ "ReadCapacityUnits": 5, "WriteCapacityUnits": 1 });
                change_table(world, &json!({ "ProvisionedThroughput": capacity }));
            },
            "todos (table blue-owls-todos) can't be planned yet # AWS is still working on it (UPDATING); `apply` waits",
        ),
        case(
            "table UPDATING, its stream being switched off",
            |world| change_table(world, &json!({ "StreamSpecification": { "StreamEnabled": false } })),
            "todos (table blue-owls-todos) can't be planned yet # AWS is still working on it (UPDATING); `apply` waits",
        ),
        case(
            "table DELETING",
            |world| drop(world.delete_table(TABLE)),
            "+ todos (table blue-owls-todos) will be created # AWS is still deleting the previous one; `apply` waits \
             until it is deleted",
        ),
        case(
            "index CREATING",
            |world| {
                change_table(
                    world,
                    &json!({
                        "AttributeDefinitions": [
                            { "AttributeName": "id", "AttributeType": "S" },
                            { "AttributeName": "due", "AttributeType": "S" },
                        ],
                        "GlobalSecondaryIndexUpdates": [{ "Create": {
                            "IndexName": "by-due",
                            "KeySchema": [{ "AttributeName": "due", "KeyType": "HASH" }],
                            "Projection": { "ProjectionType": "ALL" },
                            "ProvisionedThroughput": { "ReadCapacityUnits": 1, "WriteCapacityUnits": 1 },
                        } }],
                    }),
                );
                while !world.tables[TABLE].is_active_and_busy() {
                    world.tables.get_mut(TABLE).unwrap().next_state();
                }
            },
            "the index `by-due` is being built, and queries on it fail until then",
        ),
        case(
            "function Pending",
            |world| function(world).make_pending(),
            "logger (function blue-owls-logger) is unchanged # AWS is still working on it (Pending)",
        ),
        case(
            "function Failed",
            |world| {
                function(world).change_outside("State", json!("Failed"));
                function(world).change_outside("StateReason", json!("the subnet is gone"));
            },
            "-/+ logger (function blue-owls-logger) must be replaced # it failed and has to be re-created: the \
             subnet is gone # callers will get errors until it is re-created",
        ),
        case(
            "function Inactive",
            |world| function(world).change_outside("State", json!("Inactive")),
            "logger (function blue-owls-logger) is unchanged # it is inactive; Lambda activates it at the next invocation",
        ),
        case(
            "function in an update that succeeds",
            |world| function(world).begin_change_outside("Timeout", json!(10), false),
            "logger (function blue-owls-logger) can't be planned yet # AWS is still working on it (InProgress); `apply` \
             waits",
        ),
        case(
            "function in an update that fails",
            |world| function(world).begin_change_outside("Timeout", json!(10), true),
            "logger (function blue-owls-logger) can't be planned yet # AWS is still working on it (InProgress); `apply` \
             waits",
        ),
        case(
            "function with a failed update",
            |world| {
                function(world).change_outside("Timeout", json!(10));
                function(world).change_outside("LastUpdateStatus", json!("Failed"));
                function(world).change_outside("LastUpdateStatusReason", json!("the layer is gone"));
            },
            "~ timeout = 10 -> 3 # its last update failed, so Lambda still runs the previous version: the layer is gone",
        ),
        case(
            "mapping Creating",
            |world| mapping(world).pass_through(&["Creating", "Enabling"], true),
            "todos-to-logger (mapping) can't be planned yet # AWS is still working on it (Creating); `apply` waits",
        ),
        case(
            "mapping Enabling",
            |world| mapping(world).pass_through(&["Enabling"], true),
            "todos-to-logger (mapping) is unchanged # AWS is still working on it (Enabling)",
        ),
        case(
            "mapping Updating, and disabled then",
            |world| mapping(world).pass_through(&["Updating", "Disabling"], false),
            "todos-to-logger (mapping) can't be planned yet # AWS is still working on it (Updating); `apply` waits",
        ),
        case(
            "mapping Disabling",
            |world| mapping(world).pass_through(&["Disabling"], false),
            "~ enabled = false -> true # AWS is still working on it (Disabling)",
        ),
        case(
            "mapping Deleting",
            |world| mapping(world).pass_through(&["Deleting"], true),
            "+ todos-to-logger (mapping) will be created # AWS is still deleting the previous one; `apply` waits \
             until it is deleted",
        ),
        case(
            "mapping disabled by AWS",
            |world| {
                mapping(world).pass_through(&[], false);
                mapping(world).shown["StateTransitionReason"] = json!("Stream records were lost");
            },
            "~ enabled = false -> true # AWS has disabled it: Stream records were lost",
        ),
        case(
            "mapping with a PROBLEM",
            |world| mapping(world).shown["LastProcessingResult"] = json!("PROBLEM: Function call failed"),
            "todos-to-logger (mapping) is unchanged # Lambda reports about its last batch: PROBLEM: Function call failed",
        ),
    ]
}

/// The deployed account in the case's state.
fn left(case: &Case) -> Cloud {
    let cloud = deployed();
    cloud.world(case.make);
    cloud
}

/// Runs `check` for every state, some in parallel.
fn in_each_state(check: fn(&Case, &Project)) {
    let cases = cases();
    std::thread::scope(|scope| {
        for cases in cases.chunks(3) {
            scope.spawn(move || cases.iter().for_each(|case| check(case, &Project::usual())));
        }
    });
}

#[test]
fn diff_explains_every_state() {
    in_each_state(|case, project| {
        let cloud = left(case);
        let run = project.run(&cloud, &["diff"]);
        assert_eq!(run.code(), Some(0), "{}: {}{}", case.state, run.out, run.err);
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            words(&run.out).replace(" # ", " ").contains(&words(case.expected).replace(" # ", " ")),
            "{}: {}",
            case.state,
            run.out
        );
        assert_eq!(super::writes(&cloud), [""; 0], "{}", case.state);
    });
}

#[test]
fn apply_recovers_from_every_state() {
    in_each_state(|case, project| {
        let cloud = left(case);
        let run = project.run(&cloud, &["apply", "--yes"]);
        assert_eq!(run.code(), Some(0), "{}: {}{}", case.state, run.out, run.err);
        eprintln!("{}: {:?}", case.state, run.took);
        let (mappings, statements) = cloud.world(|world| {
            (world.mappings.iter().filter(|it| it.is_enabled()).count(), world.functions[FUNCTION].policy.len())
        });
        assert_eq!((mappings, statements), (1, 1), "{}", case.state);
        assert_eq!(cloud.world(|world| world.mappings.len()), 1, "{}", case.state);
        diff_is_empty(project, &cloud);
    });
}

#[test]
fn destroy_succeeds_in_every_state() {
    in_each_state(|case, project| {
        let cloud = left(case);
        let run = project.run(&cloud, &["destroy", "--yes"]);
        assert_eq!(run.code(), Some(0), "{}: {}{}", case.state, run.out, run.err);
        assert!(cloud.world(|world| world.is_empty()), "{}: {}{}", case.state, run.out, run.err);
        project.run(&cloud, &["diff", "--destroy", "--detailed-exitcode"]).ends_with(0);
    });
}
