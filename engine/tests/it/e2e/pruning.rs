//! Resources with this stack's tags that the spec no longer declares are deleted, and nothing else
//! is; also if the spec no longer exists.

use aws_sdk_dynamodb::types::StreamViewType;

use super::project::{Account, Project};
use super::{ACCOUNT, NO_CHANGES, ROLE, TEAM, long_ago};

const TABLE: &str = "blue-owls-todos";
const FUNCTION: &str = "blue-owls-logger";

/// Removes resources and their lines from a spec.
fn drop_resources(project: &Project, names: &[&str]) {
    let mut is_kept = true;
    let text = project.read(TEAM);
    let kept = text.lines().filter(|line| {
        if let Some(name) = line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')) {
            is_kept = !names.contains(&name.trim_end_matches(':'));
        }
        is_kept
    });
    let kept: Vec<&str> = kept.collect();
    assert!(kept.len() < text.lines().count());
    project.write(TEAM, &(kept.join("\n") + "\n"));
}

fn add_statement(aws: &Account, id: &str) {
    let add = aws.lambda.add_permission().function_name(FUNCTION).statement_id(id);
    aws.wait(add.action("lambda:InvokeFunction").principal("s3.amazonaws.com").send());
}

#[test]
fn resources_removed_from_the_spec_are_deleted_from_aws() {
    let project = Project::new();
    let aws = project.account(ACCOUNT);
    let run = |args: &[&str]| project.run(&[args, &["--local"]].concat());
    run(&["apply", TEAM]).expect(0, &["4 added"]);
    add_statement(&aws, "somebody-elses");
    aws.create_table("blue-owls-by-hand", &[]);
    aws.put_item(TABLE, "7", "buy milk");
    let gone = |names: &[&str], rows: &[&str], done: &str| {
        drop_resources(&project, names);
        run(&["diff", TEAM]).expect(0, &[rows, &["it is no longer in the spec"]].concat());
        run(&["apply", TEAM]).expect(1, &["there is no terminal"]);
        run(&["apply", TEAM, "--yes"]).expect(0, &[done]);
        run(&["diff", TEAM]).expect(0, &[NO_CHANGES]);
    };
    gone(
        &["todos-to-logger"],
        &["- todos-to-logger (mapping ", "Plan: 0 to add, 0 to change, 1 to destroy."],
        "0 added, 0 changed, 1 destroyed",
    );
    assert_eq!(aws.mappings(), [""; 0]);
    gone(
        &["logger-permission"],
        &["- logger-permission (permission blue-owls-logger-permission) will be destroyed"],
        "0 added, 0 changed, 1 destroyed",
    );
    let function = &aws.snapshot()[&format!("function {FUNCTION}")];
    assert!(function.contains("somebody-elses") && !function.contains("blue-owls-logger-permission"), "{function}");
    // A function's mappings are deleted with it, whichever client created them.
    aws.create_mapping(FUNCTION, &aws.table(TABLE).latest_stream_arn.unwrap(), &[]);
    let uuid = &aws.mappings()[0];
    gone(
        &["logger"],
        &[
            &format!("- {uuid} (mapping) will be destroyed"),
            "the function that it invokes will be destroyed",
            "2 to destroy",
        ],
        "0 added, 0 changed, 2 destroyed",
    );
    // A table that is not empty needs a separate flag.
    drop_resources(&project, &["todos"]);
    run(&["diff", TEAM]).expect(1, &["! todos (table blue-owls-todos) is refused", "it is not empty"]);
    run(&["apply", TEAM, "--yes"]).expect(1, &["add `--delete-data`"]);
    assert_eq!(aws.n_items(TABLE), 1);
    run(&["apply", TEAM, "--yes", "--delete-data"]).expect(0, &["0 added, 0 changed, 1 destroyed"]);
    // Untagged resources have no owner, whatever their names are.
    let left = [&format!("role {ROLE}"), "table blue-owls-by-hand"];
    assert_eq!(Vec::from_iter(aws.snapshot().keys()), left);
}

#[test]
fn a_stack_can_be_destroyed_with_an_empty_a_broken_or_no_spec() {
    let project = Project::new();
    let proxy = long_ago(&project);
    let head = |account: &str| format!("team: blue-owls\nregion: eu-central-1\naccount: \"{account}\"\nstack: team\n");
    let resources = [
        "resources: {}\n",
        "resources:\n  todos: { type: tabel, attributes: 7 }\n  logger: { type: function, role: \"${gone.arn}\" }\nmore: 1\n",
        "",
    ];
    for (case, resources) in resources.iter().enumerate() {
        let account = format!("10000000020{case}");
        let (spec, aws) = (&project.spec_for(TEAM, &account), project.account(&account));
        project.edit(spec, &[("team: blue-owls", "team: blue-owls\nstack: team")]);
        project.run(&["apply", spec, "--local"]).expect(0, &["4 added"]);
        aws.create_table("blue-owls-by-hand", &[]);
        let stream = aws.new_stream("blue-owls-by-hand", StreamViewType::KeysOnly);
        aws.create_mapping(FUNCTION, &stream, &[]);
        let (project, endpoint, account) = (&project, &proxy.endpoint(), &account);
        let run = |args: &[&str]| {
            let bare = ["--team", "blue-owls", "--stack", "team", "--region", "eu-central-1"];
            let of = if resources.is_empty() { bare.as_slice() } else { &[spec.as_str()] };
            project.run_at(endpoint, account, &[args, of].concat())
        };
        project.write(spec, &format!("{}{resources}", head(account)));
        if !resources.is_empty() {
            let before = aws.snapshot();
            run(&["diff", "--destroy"]).expect(0, &["Plan: 0 to add, 0 to change, 5 to destroy."]);
            assert_eq!(aws.snapshot(), before);
        }
        run(&["destroy"]).expect(1, &["5 to destroy", "there is no terminal"]);
        let gone = run(&["destroy", "--yes"]);
        let left = ["blue-owls-by-hand (table) is unchanged", "skipped: it has no engine tags"];
        let gone = gone.expect(0, &[&left[..], &["Destroy complete! Resources: 5 destroyed."]].concat());
        assert_eq!(gone.out.contains("no longer in the spec"), !resources.is_empty(), "{}", gone.out);
        let left = [&format!("role {ROLE}"), "table blue-owls-by-hand"];
        assert_eq!(Vec::from_iter(aws.snapshot().keys()), left, "case {case}");
        run(&["destroy", "--yes"]).expect(0, &["No changes. No objects need to be destroyed."]);
    }
    // If the spec can't be parsed, flags have to name the owner.
    project.write("specs/torn.yaml", "team: blue-owls\nresources: [\n");
    project.run(&["destroy", "specs/torn.yaml", "--local"]).expect(1, &["`engine destroy --team TEAM --stack STACK"]);
}
