//! A table whose name doesn't start with the team, on the local AWS: created, changed, adopted,
//! orphaned and deleted.

use super::project::Project;
use super::{ACCOUNT, NO_CHANGES, TEAM, long_ago};

/// A spec that owns these names, with a table `Orders`.
fn orders(owns: &str, more: &str) -> String {
    format!(
        "team: blue-owls\nregion: eu-central-1\nowns: {owns}\nresources:\n  orders:\n    type: table\n    name: Orders\n    \
         attributes: {{ id: S }}\n    hash_key: id\n    read_capacity: 1\n    write_capacity: 1\n{more}"
    )
}

fn empty(owns: &str) -> String {
    format!("team: blue-owls\nregion: eu-central-1\nowns: {owns}\nresources: {{}}\n")
}

#[test]
fn a_table_in_owns_is_created_changed_and_destroyed() {
    let project = Project::new();
    let aws = project.account(ACCOUNT);
    let run = |args: &[&str]| project.run(&[args, &["--local"]].concat());
    aws.create_table("orders", &[]);
    let theirs = aws.snapshot();
    project.write(TEAM, &orders("[Users]", ""));
    run(&["apply", TEAM, "--yes"])
        .expect(1, &["the name `Orders` must start with `blue-owls-`", "add `Orders` to `owns:`"]);
    project.write(TEAM, &orders("[Orders]", ""));
    run(&["apply", TEAM]).expect(0, &["+ orders (table Orders) will be created", "1 added, 0 changed, 0 destroyed"]);
    run(&["diff", TEAM]).expect(0, &[NO_CHANGES]);
    project.write(TEAM, &orders("[Orders]", "    stream_view_type: KEYS_ONLY\n"));
    run(&["apply", TEAM]).expect(0, &["0 added, 1 changed, 0 destroyed"]);
    assert!(aws.table("Orders").latest_stream_arn.is_some());

    // Without the entry, it is reported and kept; with it, it is an orphan like any other.
    project.write(TEAM, &empty("[]"));
    let before = aws.snapshot();
    let kept = ["skipped: it has this stack's tags, but its name neither begins with `blue-owls` nor is in `owns`"];
    run(&["apply", TEAM, "--yes"]).expect(0, &kept);
    run(&["destroy", TEAM, "--yes", "--delete-data"]).expect(0, &kept);
    assert_eq!(aws.snapshot(), before);
    project.write(TEAM, &empty("[Orders]"));
    run(&["diff", TEAM]).expect(0, &["- orders (table Orders) will be destroyed", "it is no longer in the spec"]);
    project.write(TEAM, &orders("[Orders]", "    stream_view_type: KEYS_ONLY\n"));
    run(&["destroy", TEAM, "--yes"]).expect(0, &["Destroy complete! Resources: 1 destroyed."]);
    assert_eq!(aws.snapshot(), theirs, "`orders` is another table");
}

#[test]
fn a_table_in_owns_that_exists_is_adopted_only_after_a_question() {
    let project = Project::new();
    let aws = project.account(ACCOUNT);
    aws.create_table("Orders", &[]);
    aws.put_item("Orders", "7", "a book");
    let before = aws.snapshot();
    let proxy = long_ago(&project);
    let run = |args: &[&str]| project.run_at(&proxy.endpoint(), ACCOUNT, args);
    project.write(TEAM, &orders("[Orders]", "    adopt: true\n"));
    let asked = run(&["apply", TEAM, "--assume-owner"]);
    asked.expect(1, &["= orders (table Orders) will be adopted", "there is no terminal", "`adopt` has no effect"]);
    assert_eq!(aws.snapshot(), before);
    run(&["apply", TEAM, "--yes"]).expect(0, &["Resources: 1 adopted, 0 added, 0 changed, 0 destroyed."]);
    run(&["diff", TEAM]).expect(0, &[NO_CHANGES]);
    assert_eq!((aws.n_items("Orders"), aws.tags()["table Orders"]["engine:resource"].as_str()), (1, "orders"));
    run(&["destroy", TEAM, "--yes"]).expect(1, &["it is not empty"]);
    run(&["forget", "orders", TEAM]).expect(0, &[]);
    run(&["destroy", TEAM, "--yes", "--delete-data"]).expect(0, &["skipped: it has no engine tags"]);
    assert_eq!(aws.n_items("Orders"), 1);
}
