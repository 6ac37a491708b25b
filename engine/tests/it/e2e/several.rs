//! Commands with several specs and teams, and `list`, which shows resources and their owners.

use serde_json::{Value as Json, json};

use super::ownership::notes;
use super::project::Project;
use super::{ACCOUNT, NO_CHANGES, long_ago};
use crate::support::ENGINE;

const TEAMS: &str = "# those who are here today\nblue-owls\n\nred-foxes  # in room 7\n";

/// The resources in a JSON listing, each as `[owner, team, stack, resource, kind, name]`.
fn listed(json: &Json) -> Vec<Json> {
    let fields =
        |it: &Json| json!(["owner", "team", "stack", "resource", "kind", "name"].map(|field| it[field].clone()));
    json["resources"].as_array().unwrap().iter().map(fields).collect()
}

#[test]
fn one_spec_is_applied_and_destroyed_for_each_team_in_a_list() {
    let project = Project::new();
    let aws = project.account(ACCOUNT);
    let run = |args: &[&str]| project.run(&[args, &["--local"]].concat());
    project.write("teams.txt", TEAMS);
    project.write("specs/app.yaml", &notes("nobody", "app"));
    let all = ["specs/app.yaml", "--teams", "teams.txt"];
    let diff = run(&[&["diff"], &all[..]].concat());
    let diff = diff.expect(0, &["2 teams: blue-owls, red-foxes; stack app", "(team from --teams"]);
    assert_eq!(diff.out.matches("Plan: 1 to add, 0 to change, 0 to destroy.").count(), 1, "equal plans are one");
    let done = run(&[&["apply"], &all[..]].concat());
    let done = done.expect(0, &["blue-owls/app/notes: created", "red-foxes/app/notes: created"]);
    assert_eq!(done.out.matches("Apply complete! Resources: 1 added, 0 changed, 0 destroyed.").count(), 2);
    assert_eq!(Vec::from_iter(aws.tags().into_keys()), ["table blue-owls-notes", "table red-foxes-notes"]);
    let same = run(&[&["diff", "--detailed-exitcode"], &all[..]].concat()).expect(0, &[NO_CHANGES]);
    assert_eq!(same.out.matches(NO_CHANGES).count(), 1, "equal plans are one");

    // A refused row in one plan stops all plans before the first write.
    aws.put_item("red-foxes-notes", "7", "buy milk");
    let before = aws.snapshot();
    let refused = run(&[&["destroy", "--yes"], &all[..]].concat());
    refused.expect(1, &["- notes (table blue-owls-notes) will be destroyed", "add `--delete-data`"]);
    assert_eq!(aws.snapshot(), before);
    let gone = run(&[&["destroy", "--yes", "--delete-data"], &all[..]].concat()).expect(0, &[]);
    assert_eq!(gone.out.matches("Destroy complete! Resources: 1 destroyed.").count(), 2);
    assert_eq!(aws.tags().len(), 0);
}

#[test]
fn list_shows_owned_and_untagged_resources_and_changes_nothing() {
    let project = Project::new();
    let (aws, proxy) = (project.account(ACCOUNT), long_ago(&project));
    let run = |args: &[&str]| project.run_at(&proxy.endpoint(), ACCOUNT, args);
    project.write("teams.txt", TEAMS);
    project.write("specs/owls.yaml", &notes("blue-owls", "app"));
    project.write("specs/foxes.yaml", &notes("red-foxes", "web"));
    run(&["list", "specs/owls.yaml"]).expect(0, &["No resources of team blue-owls"]);
    run(&["apply", "specs/owls.yaml", "specs/foxes.yaml"]).expect(0, &["stack app", "stack web"]);
    aws.create_table("red-foxes-by-hand", &[]);
    aws.create_table("blue-owls-old", &[("aws:cloudformation:stack-name", "shop")]);
    aws.create_table("nobodys", &[]);
    let before = aws.snapshot();
    let json = |args: &[&str]| listed(&run(&[&["list", "--format", "json"], args].concat()).expect(0, &[]).json()[0]);
    let owls = json!(["team", "blue-owls", "app", "notes", "table", "blue-owls-notes"]);
    let foxes = json!(["team", "red-foxes", "web", "notes", "table", "red-foxes-notes"]);
    let old = json!(["cloudformation", null, "shop", null, "table", "blue-owls-old"]);
    let by_hand = json!(["nobody", null, null, null, "table", "red-foxes-by-hand"]);
    assert_eq!(json(&["specs/owls.yaml"]), std::slice::from_ref(&owls));
    assert_eq!(json(&["specs/owls.yaml", "--all-teams"]), [owls.clone(), foxes.clone()]);
    let all = ["specs/owls.yaml", "--all-teams", "--prefixes", "teams.txt"];
    assert_eq!(json(&all), [by_hand.clone(), old.clone(), owls.clone(), foxes.clone()]);
    // An administrator of all teams may have none of their specs.
    assert_eq!(json(&["--all-teams", "--prefixes", "teams.txt", "--region", "eu-central-1"]).len(), 4);
    let human = run(&[&["list"], &all[..]].concat());
    human.expect(
        0,
        &[
            "TEAM STACK RESOURCE KIND NAME IN AWS",
            "(no tags) table red-foxes-by-hand",
            "CloudFormation shop table blue-owls-old",
            "blue-owls app notes table blue-owls-notes",
        ],
    );
    assert_eq!(aws.snapshot(), before);
}

#[test]
fn hundreds_of_resources_are_read_with_few_open_files() {
    let project = Project::new();
    let table = |at: usize| {
        format!(
            "  t{at}:\n    type: table\n    attributes: {{ id: S }}\n    hash_key: id\n    billing_mode: PAY_PER_REQUEST\n"
        )
    };
    let tables: String = (0..400).map(table).collect();
    project.write("specs/app.yaml", &format!("team: blue-owls\nregion: eu-central-1\nresources:\n{tables}"));
    // Start the local AWS first, so that the limit doesn't apply to it.
    project.endpoint();
    let mut limited = project.program("sh");
    limited.args(["-c", r#"ulimit -n 256; exec "$0" diff specs/app.yaml --local"#, ENGINE]);
    limited.run().expect(0, &["Plan: 400 to add, 0 to change, 0 to destroy."]);
}
