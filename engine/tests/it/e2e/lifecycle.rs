//! Lifecycle settings in a spec, parts of a spec, and outputs.

use aws_sdk_dynamodb::types::ProvisionedThroughput;
use serde_json::json;

use super::ownership::notes;
use super::project::Project;
use super::{ACCOUNT, NO_CHANGES, TEAM, changed_paths};

const SPEC: &str = "specs/notes.yaml";
const TABLE: &str = "acme-notes";

/// Creates a project with a deployed table, then adds the lines in `more` to its spec.
fn deployed(more: &str) -> Project {
    let project = Project::new();
    project.write(SPEC, &notes("acme", "app"));
    project.run(&["apply", SPEC, "--local"]).expect(0, &["1 added"]);
    project.write(SPEC, &format!("{}{more}", notes("acme", "app")));
    project
}

#[test]
fn a_protected_resource_is_neither_deleted_nor_replaced() {
    let project = deployed("    protect: true\n");
    let aws = project.account(ACCOUNT);
    let before = aws.snapshot();
    let run = |args: &[&str]| project.run(&[args, &["--local"]].concat());
    run(&["diff", SPEC]).expect(0, &[NO_CHANGES]);
    let kept = ["`notes` is refused: `protect: true` prevents its deletion", "remove `protect` from the spec"];
    run(&["diff", SPEC, "--destroy"]).expect(1, &kept);
    run(&["destroy", SPEC, "--yes", "--delete-data"]).expect(1, &kept);
    run(&["apply", SPEC, "--replace", "notes", "--yes", "--delete-data"]).expect(1, &kept);
    assert_eq!(aws.snapshot(), before);
    project.edit(SPEC, &[("protect: true", "protect: false")]);
    run(&["destroy", SPEC, "--yes"]).expect(0, &["1 destroyed"]);
}

#[test]
fn a_retained_resource_is_forgotten_instead_of_deleted() {
    let project = deployed("    retain: true\n    tags: { course: cloud }\n");
    let aws = project.account(ACCOUNT);
    let run = |args: &[&str]| project.run(&[args, &["--local"]].concat());
    run(&["apply", SPEC]).expect(0, &["1 changed"]);
    aws.put_item(TABLE, "7", "buy milk");
    run(&["diff", SPEC, "--destroy"])
        .expect(0, &["will no longer be managed by engine", "keeps it in AWS, without engine's tags"]);
    run(&["destroy", SPEC, "--yes"]).expect(0, &["Destroy complete! Resources: 0 destroyed, 1 forgotten."]);
    assert_eq!(
        (format!("{:?}", aws.tags()[&format!("table {TABLE}")]), aws.n_items(TABLE)),
        (r#"{"course": "cloud"}"#.to_owned(), 1)
    );
}

#[test]
fn ignored_changes_are_kept_and_no_other_change_resets_them() {
    let project = Project::new();
    let aws = project.account(ACCOUNT);
    let run = |args: &[&str]| project.run(&[args, &["--local"]].concat());
    let units = "billing_mode: PROVISIONED\n    read_capacity: 1\n    write_capacity: 1";
    project.write(SPEC, &notes("acme", "app").replace("billing_mode: PAY_PER_REQUEST", units));
    run(&["apply", SPEC]).expect(0, &["1 added"]);
    let scaled = ProvisionedThroughput::builder().read_capacity_units(9).write_capacity_units(1).build().unwrap();
    aws.wait(aws.dynamodb.update_table().table_name(TABLE).provisioned_throughput(scaled).send());
    run(&["diff", SPEC]).expect(0, &["read_capacity = 9 -> 1"]);
    project.edit(SPEC, &[("write_capacity: 1", "write_capacity: 1\n    ignore_changes: [read_capacity]")]);
    run(&["diff", SPEC, "--detailed-exitcode"]).expect(0, &[NO_CHANGES]);
    project.edit(SPEC, &[("write_capacity: 1", "write_capacity: 2")]);
    let diff = run(&["diff", SPEC, "--format", "json"]);
    assert_eq!(changed_paths(&diff), [json!(["notes", "update", "write_capacity", 1, 2])]);
    run(&["apply", SPEC]).expect(0, &["1 changed"]);
    let units = aws.table(TABLE).provisioned_throughput.unwrap();
    assert_eq!((units.read_capacity_units, units.write_capacity_units), (Some(9), Some(2)));
    run(&["diff", SPEC]).expect(0, &[NO_CHANGES]);
    // The ignored value also survives a replacement of the table.
    run(&["apply", SPEC, "--replace", "notes", "--yes"]).expect(0, &["1 added, 0 changed, 1 destroyed."]);
    let units = aws.table(TABLE).provisioned_throughput.unwrap();
    assert_eq!((units.read_capacity_units, units.write_capacity_units), (Some(9), Some(2)));
}

#[test]
fn a_dependent_is_created_after_and_deleted_before_its_dependency() {
    let project = Project::new();
    let second = "  lists:\n    type: table\n    attributes: { id: S }\n    hash_key: id\n    \
                  billing_mode: PAY_PER_REQUEST\n    depends_on: [notes]\n";
    project.write(SPEC, &(notes("acme", "app") + second));
    let run = |args: &[&str]| project.run(&[args, &["--local"]].concat());
    let order = |text: &str, first: &str, then: &str| {
        let [first, then] = [first, then].map(|line| text.find(line).unwrap_or_else(|| panic!("{line}: {text}")));
        assert!(first < then, "{text}");
    };
    let made = run(&["apply", SPEC]).expect(0, &["2 added"]);
    order(&made.err, "notes: created", "lists: creating");
    let gone = run(&["destroy", SPEC, "--yes"]).expect(0, &["2 destroyed"]);
    order(&gone.err, "lists: destroyed", "notes: destroying");
}

#[test]
fn outputs_are_printed_after_an_apply_and_on_demand() {
    let project = Project::new();
    project.edit(
        TEAM,
        &[("resources:", "outputs:\n  table: ${todos.name}\n  stream: \"at ${todos.stream_arn}\"\n\nresources:")],
    );
    let run = |args: &[&str]| project.run(&[args, &["--local"]].concat());
    let output = |args: &[&str]| run(&[&["output", "--spec", TEAM], args].concat());
    let unknown = ["the local AWS of this project is not running", "run `engine apply --local` first"];
    output(&[]).expect(1, &unknown);
    output(&["stream"]).expect(1, &unknown);
    let applied = run(&["apply", TEAM]).expect(0, &["Outputs:", r#"table = "blue-owls-todos""#]);
    let stream = project.account(ACCOUNT).table("blue-owls-todos").latest_stream_arn.unwrap();
    assert!(applied.out.contains(&format!(r#"stream = "at {stream}""#)), "{}", applied.out);
    assert_eq!(output(&["stream"]).expect(0, &[]).out, format!("at {stream}\n"));
    let all = output(&["--format", "json"]).expect(0, &[]).json();
    assert_eq!(all, [json!({ "table": "blue-owls-todos", "stream": format!("at {stream}") })]);
    output(&["streem"])
        .expect(1, &["the spec has no output `streem`", "did you mean `stream`? The outputs are `table`, `stream`"]);
    project.write(SPEC, &notes("acme", "app"));
    run(&["output", "--spec", SPEC, "any"]).expect(1, &["the spec has no output `any`", "add outputs to the spec"]);
}

#[test]
fn a_target_includes_its_dependencies_and_prunes_nothing() {
    let project = Project::new();
    let aws = project.account(ACCOUNT);
    let run = |args: &[&str]| project.run(&[args, &["--local"]].concat());
    let partial = "this plan covers only part of the spec (`--target`)";
    run(&["apply", TEAM, "--target", "todos"]).expect(0, &[partial, "Plan: 1 to add,", "1 added"]);
    run(&["diff", TEAM, "--target", "logger"]).expect(0, &["<= execution-role", "+ logger", "Plan: 1 to add,"]);
    run(&["diff", TEAM, "--target", "todos-to-logger"]).expect(0, &["+ logger", "Plan: 2 to add,"]);
    run(&["apply", TEAM, "--target", "loger"]).expect(1, &["the spec has no such resource", "`logger`"]);
    run(&["apply", TEAM]).expect(0, &["3 added"]);
    // An orphan belongs to no target.
    project.edit(TEAM, &[("\n  logger-permission:", "\n  may-call:")]);
    run(&["diff", TEAM]).expect(0, &["- logger-permission (permission", "+ may-call (permission"]);
    let part = run(&["apply", TEAM, "--target", "may-call"]).expect(0, &["1 added, 0 changed, 0 destroyed", partial]);
    assert!(!part.out.contains("- logger-permission"), "{}", part.out);
    let before = aws.snapshot().len();
    run(&["diff", TEAM, "--destroy", "--target", "todos-to-logger"]).expect(0, &["1 to destroy"]);
    for command in [&["diff", "--destroy"][..], &["destroy", "--yes"]] {
        let typo = run(&[command, &[TEAM, "--target", "todso"]].concat());
        typo.expect(1, &["the spec has no such resource", "did you mean `todos`?"]);
    }
    let gone = run(&["destroy", TEAM, "--target", "todos", "--yes"]);
    let rows = ["- todos (table", "- may-call (permission", "- todos-to-logger (mapping)", "Resources: 3 destroyed."];
    gone.expect(0, &rows);
    assert_eq!(aws.snapshot().len(), before - 2, "the function and its role are left");
    assert_eq!(aws.mappings(), [""; 0]);
}

#[test]
fn a_table_with_deletion_protection_explains_how_to_destroy_it() {
    let project = deployed("    deletion_protection: true\n");
    let run = |args: &[&str]| project.run(&[args, &["--local"]].concat());
    run(&["apply", SPEC]).expect(0, &["1 changed"]);
    let how = "set `deletion_protection: false` in the spec";
    run(&["destroy", SPEC, "--yes"]).expect(1, &["`notes` is refused", how]);
    // Removing the line is not enough.
    project.write(SPEC, &notes("acme", "app"));
    run(&["diff", SPEC]).expect(0, &[NO_CHANGES]);
    run(&["destroy", SPEC, "--yes"]).expect(1, &[how]);
    project.write(SPEC, &(notes("acme", "app") + "    deletion_protection: false\n"));
    run(&["apply", SPEC, "--yes"]).expect(0, &["1 changed"]);
    run(&["destroy", SPEC, "--yes"]).expect(0, &["1 destroyed"]);
}

#[test]
fn unchanged_resources_are_shown_on_demand() {
    let project = deployed("");
    let all = project.run(&["diff", SPEC, "--local", "--show-unchanged"]);
    all.expect(0, &["notes (table acme-notes) is unchanged", NO_CHANGES]);
    let usual = project.run(&["diff", SPEC, "--local"]).expect(0, &[NO_CHANGES]);
    assert!(!usual.out.contains("unchanged"), "{}", usual.out);
}
