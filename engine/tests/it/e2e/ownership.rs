//! A resource's owner determines what engine does with it: each row of the ownership table, tested
//! with the real program.

use super::project::{Account, Project};
use super::{ACCOUNT, NO_CHANGES, ROLE, TEAM, long_ago};

/// A spec with only a table.
pub(super) fn notes(team: &str, stack: &str) -> String {
    format!(
        "team: {team}\nregion: eu-central-1\nstack: {stack}\nresources:\n  notes:\n    type: table\n    \
         attributes: {{ id: S }}\n    hash_key: id\n    billing_mode: PAY_PER_REQUEST\n"
    )
}

/// The account's contents, whatever their resource names in the spec are.
fn but_for_names(aws: &Account) -> String {
    let names = [("items", "todos"), ("writer", "logger"), ("feed", "todos-to-logger")];
    let mut text = format!("{:#?}", aws.snapshot());
    for (new, old) in names {
        text = text.replace(&format!("\\\"{new}\\\""), &format!("\\\"{old}\\\""));
    }
    text
}

#[test]
fn renaming_a_resource_in_the_spec_only_updates_its_tags() {
    let project = Project::new();
    let aws = project.account(ACCOUNT);
    let run = |args: &[&str]| project.run(&[args, &["--local"]].concat());
    run(&["apply", TEAM]).expect(0, &["4 added"]);
    aws.put_item("blue-owls-todos", "7", "buy milk");
    let before = but_for_names(&aws);
    let spec = project.read(TEAM);
    // The default name would now be another table's; the refusal explains how to keep this one.
    let spec = spec.replace("\n  todos:", "\n  items:").replace("${todos.", "${items.");
    project.write(TEAM, &spec);
    let refused = run(&["diff", TEAM]).expect(1, &["+ items (table", "! todos (table blue-owls-todos) is refused"]);
    refused.expect(1, &["if you renamed it to `items`, add `name: blue-owls-todos` to `items` to keep it"]);
    let spec = spec.replace("\n  items:", "\n  items:\n    name: blue-owls-todos");
    let spec = spec.replace("\n  logger:", "\n  writer:\n    name: blue-owls-logger");
    let spec = spec.replace("\n  todos-to-logger:", "\n  feed:");
    project.write(TEAM, &spec.replace("${logger.", "${writer."));
    run(&["diff", TEAM]).expect(
        0,
        &[
            "~ items (table blue-owls-todos) will be updated in-place",
            "it was named `todos` in the spec; its tags will be updated to the new name",
            "it was named `logger` in the spec",
            "it was named `todos-to-logger` in the spec",
            "Plan: 0 to add, 3 to change, 0 to destroy.",
        ],
    );
    run(&["apply", TEAM]).expect(0, &["Resources: 0 added, 3 changed, 0 destroyed."]);
    let names: Vec<String> = aws.tags().values().map(|tags| tags["engine:resource"].clone()).collect();
    assert_eq!(names, ["writer", "feed", "items"]);
    assert_eq!(but_for_names(&aws), before);
    assert_eq!(aws.n_items("blue-owls-todos"), 1);
    run(&["diff", TEAM]).expect(0, &[NO_CHANGES]);
}

#[test]
fn a_shared_team_name_prefix_gives_no_ownership() {
    let project = Project::new();
    let aws = project.account(ACCOUNT);
    let run = |args: &[&str]| project.run(&[args, &["--local"]].concat());
    project.write("specs/extra.yaml", &notes("acme-extra", "app").replace("notes:", "todos:"));
    project.write("specs/acme.yaml", &notes("acme", "app"));
    run(&["apply", "specs/extra.yaml"]).expect(0, &["1 added"]);
    run(&["apply", "specs/acme.yaml"]).expect(0, &["1 added"]);
    let before = aws.snapshot();
    // Another resource name that leads to the same table name.
    project.write("specs/claim.yaml", &notes("acme", "app").replace("notes:", "extra-todos:"));
    let owner = "`extra-todos` is refused: it belongs to team `acme-extra`, stack `app`, resource `todos`";
    for command in [["diff", "specs/claim.yaml"].as_slice(), &["apply", "specs/claim.yaml", "--yes"]] {
        run(command).expect(1, &[owner]);
    }
    run(&["destroy", "specs/claim.yaml", "--yes", "--delete-data"]).expect(1, &[owner]);
    assert_eq!(aws.snapshot(), before);
    let gone = run(&["destroy", "--team", "acme", "--stack", "app", "--region", "eu-central-1", "--yes"]);
    let gone = gone.expect(0, &["- notes (table acme-notes) will be destroyed", "1 destroyed"]);
    assert!(!gone.out.contains("extra"), "{}", gone.out);
    assert_eq!(Vec::from_iter(aws.tags().into_keys()), ["table acme-extra-todos"]);
}

#[test]
fn two_stacks_of_a_team_and_a_renamed_file_dont_affect_each_other() {
    let project = Project::new();
    let aws = project.account(ACCOUNT);
    let run = |args: &[&str]| project.run(&[args, &["--local"]].concat());
    project.write("specs/one.yaml", &notes("acme", "one"));
    project.write("specs/two.yaml", &notes("acme", "two").replace("notes:", "lists:"));
    run(&["apply", "specs/one.yaml"]).expect(0, &["1 added"]);
    run(&["apply", "specs/two.yaml"]).expect(0, &["Plan: 1 to add, 0 to change, 0 to destroy.", "1 added"]);
    run(&["diff", "specs/one.yaml"]).expect(0, &[NO_CHANGES]);
    project.write("specs/one.yaml", "team: acme\nregion: eu-central-1\nresources: {}\n");
    let gone = run(&["destroy", "specs/one.yaml", "--yes"]);
    gone.expect(0, &["- notes (table acme-notes) will be destroyed", "Resources: 1 destroyed."]);
    assert_eq!(Vec::from_iter(aws.tags().into_keys()), ["table acme-lists"]);

    // The stack defaults to the file's name.
    let before = aws.snapshot();
    let unnamed = notes("acme", "two").replace("stack: two\n", "").replace("notes:", "lists:");
    project.write("specs/renamed.yaml", &unnamed);
    for command in [["diff", "specs/renamed.yaml"].as_slice(), &["apply", "specs/renamed.yaml", "--yes"]] {
        let told = "belong to the stack `two` of the team `acme`";
        run(command).expect(1, &[told, "add `stack: two` to the spec"]);
    }
    assert_eq!(aws.snapshot(), before);
}

#[test]
fn an_imported_resource_is_kept_whatever_tags_it_has() {
    let project = Project::new();
    let aws = project.account(ACCOUNT);
    let run = |args: &[&str]| project.run(&[args, &["--local"]].concat());
    run(&["apply", TEAM]).expect(0, &["4 added"]);
    let table = aws.snapshot().remove("table blue-owls-todos").unwrap();
    let spec = project.read(TEAM);
    let (before, rest) = spec.split_once("\n  todos:").unwrap();
    let (_, after) = rest.split_once("\n\n").unwrap();
    let imports = format!("{before}\n  todos:\n    type: table\n    import: blue-owls-todos\n\n{after}");
    project.write(TEAM, &imports);
    run(&["diff", TEAM, "--show-unchanged"]).expect(0, &["<= todos (table blue-owls-todos) is read", "No changes."]);
    run(&["apply", TEAM, "--yes"]).expect(0, &["No changes."]);
    assert_eq!(aws.snapshot()["table blue-owls-todos"], table);
    // With a spec whose error hides that the table is imported.
    project.edit(TEAM, &[("type: table\n    import", "type: tabel\n    import")]);
    let gone = run(&["destroy", TEAM, "--yes", "--delete-data"]);
    gone.expect(0, &["unknown resource type `tabel`", "Resources: 3 destroyed."]);
    let left = aws.snapshot();
    assert_eq!(Vec::from_iter(left.keys()), [&format!("role {ROLE}"), "table blue-owls-todos"]);
    assert_eq!(left["table blue-owls-todos"], table);
    project.edit(TEAM, &[("type: tabel\n    import", "type: table\n    import")]);
    run(&["destroy", TEAM, "--yes", "--delete-data"]).expect(0, &["No changes. No objects need to be destroyed."]);
    assert_eq!(aws.snapshot()["table blue-owls-todos"], table);
}

#[test]
fn release_removes_only_the_engine_tags() {
    let project = Project::new();
    let (aws, proxy) = (project.account(ACCOUNT), long_ago(&project));
    let run = |args: &[&str]| project.run_at(&proxy.endpoint(), ACCOUNT, args);
    project.edit(TEAM, &[("    read_capacity: 1\n", "    read_capacity: 1\n    tags: { course: cloud }\n")]);
    project.run(&["apply", TEAM, "--local"]).expect(0, &["4 added"]);
    aws.put_item("blue-owls-todos", "7", "buy milk");
    run(&["release", "todos", TEAM]).expect(0, &["it stays in AWS unchanged", "forgotten"]);
    let tags = aws.tags();
    assert_eq!(format!("{:?}", tags["table blue-owls-todos"]), r#"{"course": "cloud"}"#);
    assert!(tags["function blue-owls-logger"].contains_key("engine:team"));
    assert_eq!(aws.n_items("blue-owls-todos"), 1);
    run(&["diff", TEAM]).expect(0, &["= todos (table blue-owls-todos) will be adopted", "Plan: 1 to adopt,"]);
    run(&["release", "todos", TEAM]).expect(0, &["it has no engine tags"]);
    run(&["release", "nothing", TEAM]).expect(1, &["this team's stack owns no resource `nothing`"]);
    run(&["release", "execution-role", TEAM]).expect(1, &["it is imported, so this stack doesn't manage it"]);
    run(&["release", "logger-permission", TEAM]).expect(1, &["has no tags to remove"]);
    run(&["release", "todos-to-logger", TEAM]).expect(0, &["forgotten"]);
    run(&["release", "logger", TEAM]).expect(0, &["forgotten"]);
    // Nothing has an owner now, so destroy deletes nothing.
    let before = aws.snapshot();
    let left = run(&["destroy", TEAM, "--yes", "--delete-data"]);
    left.expect(0, &["skipped: it has no engine tags", "No changes. No objects need to be destroyed."]);
    assert_eq!(aws.snapshot(), before);
    run(&["apply", TEAM, "--yes"]).expect(0, &["Resources: 4 adopted, 0 added, 0 changed, 0 destroyed."]);
    run(&["diff", TEAM]).expect(0, &[NO_CHANGES]);
}
