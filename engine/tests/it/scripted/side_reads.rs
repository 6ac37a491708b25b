//! Optional reads: whatever AWS responds, a run continues without the detail that they add.
//!
//! The cases are every optional read, every refusal of it and every command. `cargo test` runs a
//! seeded sample; `ENGINE_SIDE_READS=all cargo test --test it side_reads` runs all, and
//! `ENGINE_SIDE_READS=7` repeats that sample.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::server::{Cloud, Edit, Fault};
use super::world::{REGION, Reply, World};
use super::{FUNCTION, Project, deployed, diff_is_empty, replaced, writes};

/// The number of cases in a sample.
const SAMPLE: usize = 8;

/// An optional read, which only adds a detail.
#[derive(Debug, Clone, Copy, PartialEq)]
struct SideRead {
    operation: &'static str,
    /// A resource that the spec omits, so that the read isn't about a declared one.
    undeclared: Option<&'static str>,
    /// The run reports that the detail is missing.
    is_reported: bool,
    /// It shows an owner, without which nothing is deleted.
    shows_owner: bool,
}

const fn side(operation: &'static str) -> SideRead {
    SideRead { operation, undeclared: None, is_reported: true, shows_owner: false }
}

const SIDES: [SideRead; 10] = [
    SideRead { shows_owner: true, ..side("ListTagsOfResource") },
    SideRead { shows_owner: true, ..side("ListTags") },
    side("DescribeTimeToLive"),
    side("DescribeContinuousBackups"),
    side("GetResources"),
    side("GetEventSourceMapping"),
    side("GetFunctionEventInvokeConfig"),
    side("GetFunctionUrlConfig"),
    SideRead { undeclared: Some("logger-permission"), is_reported: false, ..side("GetPolicy") },
    SideRead { undeclared: Some("todos-to-logger"), is_reported: false, ..side("ListEventSourceMappings") },
];

/// The key of the mapping's filters.
const KEY: &str = "arn:aws:kms:eu-central-1:123456789012:key/1";

/// Code and text of a refusal.
const REFUSALS: [(&str, &str); 4] = [
    ("AccessDeniedException", "User: X is not authorized to perform: x:y on resource: z"),
    ("UnknownOperationException", ""),
    ("InvalidParameterValueException", "Unsupported resource type for tagging or invalid arn: x"),
    ("ValidationException", "1 validation error detected: Value at 'x' failed to satisfy constraint"),
];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Command {
    Diff,
    Apply,
    Change,
    Destroy,
    Verify,
    Logs,
}

const COMMANDS: [Command; 6] =
    [Command::Diff, Command::Apply, Command::Change, Command::Destroy, Command::Verify, Command::Logs];

/// The pipeline, with a mapping that needs a separate read.
fn cloud(side: SideRead) -> Cloud {
    let cloud = deployed();
    cloud.world(|world: &mut World| {
        match side.undeclared {
            Some("todos-to-logger") => world.mappings.clear(),
            Some(_) => world.functions.get_mut(FUNCTION).unwrap().policy.clear(),
            None => {}
        }
        if side.operation == "GetEventSourceMapping" {
            world.mappings[0].shown["KMSKeyArn"] = json!(KEY);
        }
    });
    cloud
}

fn project(side: SideRead) -> Project {
    Project::new(|text| match side.undeclared {
        None if side.operation == "GetEventSourceMapping" => {
            let encrypted = format!(
                "filters: [{{ eventName: [INSERT, MODIFY, REMOVE] }}]\n    kms_key_arn: {KEY}\n    starting_position:"
            );
            replaced(&text, "starting_position:", &encrypted)
        }
        None => text,
        Some(name) => {
            let from = text.find(&format!("  {name}:")).unwrap();
            let rest = &text[from..];
            let to = rest.match_indices("\n  ").find(|(at, _)| rest[at + 3..].starts_with(|c: char| c != ' '));
            format!("{}{}", &text[..from], to.map_or("", |(at, _)| &rest[at + 1..]))
        }
    })
}

/// Asserts that a command succeeds without the detail.
fn goes_on(side: SideRead, refusal: (&str, &str), command: Command) {
    let (code, text) = refusal;
    let cloud = cloud(side);
    let project = project(side);
    cloud.always(side.operation, Fault::Answer(Reply::of(side.operation, 400, code, text)));
    let case = format!("{side:?} {refusal:?} {command:?}");
    eprintln!("{case}");
    let is_mapping = side.operation == "ListTags" && (code.starts_with("Unknown") || text.starts_with("Unsupported"));
    let unchanged = match side.operation {
        // The spec declares the filters, so whether they differ is unknown.
        "GetEventSourceMapping" => "no changes, but 1 resource can't be fully read",
        _ => "No changes.",
    };
    match command {
        Command::Diff => reports(&project.run(&cloud, &["diff"]), side, unchanged),
        Command::Apply => {
            reports(&project.run(&cloud, &["apply", "--yes"]), side, unchanged);
            assert_eq!(writes(&cloud), [""; 0], "{case}");
        }
        Command::Change => {
            project.edit("read_capacity: 1", "read_capacity: 2");
            project.edit("handler: index.handler", "handler: index.handler\n    timeout: 9");
            let n_changed = if side.undeclared == Some("todos-to-logger") {
                2
            } else {
                project.edit("starting_position", "batch_size: 7\n    starting_position");
                3
            };
            reports(&project.run(&cloud, &["apply", "--yes"]), side, &format!("{n_changed} changed"));
        }
        Command::Destroy if side.shows_owner && !is_mapping => {
            // By contract, a resource without a confirmed owner is deleted only with
            // `--assume-owner`.
            project.run(&cloud, &["destroy", "--yes"]).ends_with(1).complains("--assume-owner");
            assert_eq!(writes(&cloud), [""; 0], "{case}");
            project.run(&cloud, &["destroy", "--yes", "--assume-owner"]).ends_with(0);
        }
        Command::Destroy => {
            project.run(&cloud, &["destroy", "--yes"]).ends_with(0);
            assert!(cloud.world(|world| world.is_empty()), "{case}");
        }
        // Nothing invokes the function here, so that is all that `verify` may report.
        Command::Verify if side.undeclared != Some("todos-to-logger") => {
            let run = project.run(&cloud, &["verify", "--timeout", "1"]);
            run.ends_with(1).complains("for the INSERT of the test item").complains_once();
        }
        Command::Verify => {}
        Command::Logs => drop(project.run(&cloud, &["logs"]).ends_with(0)),
    }
}

/// Asserts that a run succeeds, with one note about the detail.
#[track_caller]
fn reports(run: &super::Ran, side: SideRead, words: &str) {
    run.ends_with(0).says(words);
    let flat = run.out.split_whitespace().collect::<Vec<_>>().join(" ");
    let notes = [
        "can't be read (",
        "you lack permission to read some tags",
        "couldn't search for orphans",
        "may have missed orphans",
    ];
    let n_notes: usize = notes.iter().map(|note| flat.matches(note).count()).sum();
    let allowed = if side.is_reported { 1..=1 } else { 0..=0 };
    // Without the tag index, `apply` searches by name and then misses nothing.
    let allowed = if side.operation == "GetResources" { 0..=1 } else { allowed };
    assert!(allowed.contains(&n_notes), "{n_notes} notes in\n{}", run.out);
}

#[test]
fn a_failed_optional_read_only_omits_its_detail() {
    let mut cases: Vec<(SideRead, (&str, &str), Command)> = Vec::new();
    for side in SIDES {
        for refusal in REFUSALS {
            cases.extend(COMMANDS.map(|command| (side, refusal, command)));
        }
    }
    let n_all = cases.len();
    let given = std::env::var("ENGINE_SIDE_READS").ok();
    if given.as_deref() != Some("all") {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let seed = given.map_or_else(now, |seed| seed.parse().expect("ENGINE_SIDE_READS is `all` or a seed"));
        eprintln!("side reads: again with ENGINE_SIDE_READS={seed}");
        fastrand::Rng::with_seed(seed).shuffle(&mut cases);
        cases.truncate(SAMPLE);
    }
    eprintln!("side reads: {} of {n_all} cases", cases.len());
    for (side, refusal, command) in cases {
        goes_on(side, refusal, command);
    }
}

#[test]
fn a_mapping_without_an_arn_is_managed_without_tags() {
    let cloud = deployed();
    cloud.world(|world| world.mappings[0].tags.clear());
    for operation in ["ListEventSourceMappings", "GetEventSourceMapping"] {
        let edit = Edit::new(|text| text.replace("\"EventSourceMappingArn\":", "\"Other\":"));
        cloud.always(operation, Fault::DoneButEdited(edit));
    }
    let project = Project::usual();
    diff_is_empty(&project, &cloud);
    assert_eq!(cloud.count("ListTags"), 0);
    project.edit("starting_position", "batch_size: 7\n    starting_position");
    project
        .run(&cloud, &["apply", "--yes"])
        .ends_with(0)
        .says("1 changed")
        .says("you lack permission to read some tags");
    diff_is_empty(&project, &cloud);
    assert_eq!(writes(&cloud), ["UpdateEventSourceMapping"]);
    project.run(&cloud, &["destroy", "--yes"]).ends_with(0).says("the function that it invokes will be destroyed");
    assert!(cloud.world(|world| world.is_empty()));
}

/// GovCloud accepts tags of mappings but returns none: engine must not adopt a mapping without tags
/// in every run.
#[test]
fn tags_that_aws_does_not_return_are_not_written_in_every_run() {
    let here = "us-gov-west-1";
    let arns = |text: &str| text.replace("arn:aws:", "arn:aws-us-gov:").replace(REGION, here);
    let cloud = deployed();
    cloud.world(|world| world.mappings[0].tags.clear());
    let edit = Edit::new(arns);
    for operation in [
        "DescribeTable",
        "GetFunction",
        "GetPolicy",
        "ListEventSourceMappings",
        "GetEventSourceMapping",
        "GetRole",
        "GetCallerIdentity",
        "GetResources",
    ] {
        cloud.always(operation, Fault::DoneButEdited(edit.clone()));
    }
    let project = Project::new(|text| replaced(&text, REGION, here));
    let run = project.run(&cloud, &["diff", "--detailed-exitcode"]);
    run.ends_with(0).says("No changes.").says("you lack permission to read some tags");
}
