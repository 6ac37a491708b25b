//! A saved plan is applied exactly as shown or not at all; the error names whatever has changed.

use std::path::Path;

use super::project::{ACCOUNT, Project, Ran};
use super::{NO_CHANGES, TEAM};

const COMPLETE: &str = "Apply complete! Resources: 4 added, 0 changed, 0 destroyed.";

fn save(project: &Project, args: &[&str]) {
    project
        .run(&[&["diff", "--local", "--out", "plan.json"], args].concat())
        .expect(0, &["Saved the plan to plan.json."]);
}

/// Applies the saved plan, and expects an error with `reason` and no change in AWS.
#[track_caller]
fn refused(project: &Project, args: &[&str], reason: &str) {
    let before = project.account(ACCOUNT).snapshot();
    let ran = project.run(&[&["apply", "plan.json", "--yes"], args].concat());
    let flat = ran.err.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat.contains(reason), "no `{reason}` in\n{}", ran.err);
    ran.expect(1, &["the saved plan is out of date, so nothing was changed"]);
    assert_eq!(project.account(ACCOUNT).snapshot(), before);
}

#[test]
fn a_saved_plan_is_applied_as_shown() {
    let project = Project::new();
    save(&project, &[TEAM]);
    // The plan records that it is for the local AWS, so it needs no other flag.
    project.run(&["apply", "plan.json"]).expect(0, &["Plan: 4 to add,", COMPLETE]);
    project.run(&["diff", "--local"]).expect(0, &[NO_CHANGES]);
    refused(&project, &[], "`todos` did not exist and now does");

    save(&project, &["--destroy"]);
    let asks: Ran = project.run(&["apply", "plan.json"]);
    asks.expect(1, &["Plan: 0 to add, 0 to change, 4 to destroy.", "add `--yes`"]);
    project.run(&["apply", "plan.json", "--yes"]).expect(0, &["Destroy complete! Resources: 4 destroyed."]);
}

#[test]
fn an_outdated_saved_plan_names_what_changed_and_writes_nothing() {
    let project = Project::new();
    project.edit(TEAM, &[("region: eu-central-1\n", "region: eu-central-1\nvars: { memory: \"128\" }\n")]);
    project.edit(
        TEAM,
        &[("    handler: index.handler\n", "    handler: index.handler\n    memory_size: ${var.memory}\n")],
    );
    project.run(&["apply", TEAM, "--local"]).expect(0, &[COMPLETE]);
    save(&project, &["--var", "memory=256"]);

    refused(&project, &[], "the variable `memory` has another value or isn't set");
    let spec = project.read(TEAM);
    project.write(TEAM, &format!("{spec}\n# a thought\n"));
    refused(&project, &["--var", "memory=256"], "the spec `specs/team.yaml` has changed since the plan was saved");
    project.write(TEAM, &spec);

    let source = "lambda-src/log-events/index.js";
    let code = project.read(source);
    project.write(source, &format!("{code}\n// a thought\n"));
    refused(&project, &["--var", "memory=256"], "the source of `logger` has changed");
    project.write(source, &code);

    let aws = project.account(ACCOUNT);
    let configure = aws.lambda.update_function_configuration().function_name("blue-owls-logger");
    aws.wait(configure.timeout(9).send());
    refused(&project, &["--var", "memory=256"], "in AWS, `timeout` of `logger` has changed");
    let configure = aws.lambda.update_function_configuration().function_name("blue-owls-logger");
    aws.wait(configure.timeout(3).send());

    project.run(&["apply", "plan.json", "--var", "memory=256"]).expect(0, &["0 added, 1 changed, 0 destroyed."]);
}

#[test]
fn a_saved_plan_determines_its_own_team_region_and_targets() {
    let project = Project::new();
    save(&project, &[TEAM, "--team", "red-foxes"]);
    for flags in [&["--team", "blue-owls"][..], &["--target", "todos"], &["--region", "eu-west-1"], &[TEAM]] {
        let ran = project.run(&[&["apply", "plan.json"], flags].concat());
        assert_eq!(ran.code(), Some(64), "{flags:?}: {}", ran.err);
    }
    project.run(&["apply", "plan.json"]).expect(0, &["team red-foxes, stack team", COMPLETE]);

    // Neither a refused plan nor two plans are saved, nor is anything else overwritten.
    project.run(&["diff", TEAM, "--local", "--out", TEAM]).expect(1, &["isn't a saved plan"]);
    project.write("teams.txt", "blue-owls\nred-foxes\n");
    let ran = project.run(&["diff", TEAM, "--local", "--teams", "teams.txt", "--out", "two.json"]);
    assert_eq!(ran.code(), Some(64), "{}", ran.err);
    project.account(ACCOUNT).create_table("blue-owls-todos", &[("engine:team", "others"), ("engine:stack", "s")]);
    project.run(&["diff", TEAM, "--local", "--out", "two.json"]).expect(1, &["it belongs to team `others`"]);
    assert!(!Path::new(&project.path("two.json")).exists());
}
