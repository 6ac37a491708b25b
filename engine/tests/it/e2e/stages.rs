//! Stages of one spec, and resources that `for_each` and `when` repeat and leave out.

use super::project::Project;
use super::{NO_CHANGES, TEAM};

#[test]
fn two_stages_of_a_spec_never_see_each_other() {
    let project = Project::new();
    let head = "stages: { dev: { days: 1 }, prod: { days: 7 } }\ntags: { stage: \"${stage}\" }\nresources:\n";
    project.edit(
        TEAM,
        &[
            ("resources:\n", head),
            ("handler: index.handler", "handler: index.handler\n    log_retention_in_days: ${var.days}"),
        ],
    );
    let run = |stage: &str, args: &[&str]| project.run(&[args, &["--local", "--stage", stage]].concat());
    project.run(&["diff", TEAM, "--local"]).expect(1, &["choose one with `--stage`: `dev`, `prod`"]);
    run("dev", &["apply", TEAM, "--yes"]).expect(0, &["blue-owls-dev-todos", "0 changed, 0 destroyed."]);
    run("prod", &["apply", TEAM, "--yes"]).expect(0, &["blue-owls-prod-todos", "0 changed, 0 destroyed."]);
    run("dev", &["diff", TEAM, "--detailed-exitcode"]).expect(0, &[NO_CHANGES]);

    // What a stage no longer has is only its own orphan.
    project.edit(
        TEAM,
        &[(
            "resources:\n",
            "resources:\n  extra:\n    type: queue\n    when: { stage: [dev] }\n    for_each: [a, b]\n",
        )],
    );
    run("prod", &["diff", TEAM, "--detailed-exitcode"]).expect(0, &[NO_CHANGES]);
    run("dev", &["apply", TEAM, "--yes"]).expect(0, &["extra-a", "extra-b", "2 added, 0 changed, 0 destroyed."]);
    project.edit(TEAM, &[("for_each: [a, b]", "for_each: [a]")]);
    run("dev", &["diff", TEAM])
        .expect(0, &["it is no longer in the spec; `for_each` of `extra` doesn't have the key `b`"]);
    project.edit(TEAM, &[("stage: [dev]", "stage: [test]")]);
    run("dev", &["diff", TEAM]).expect(0, &["`extra` is left out: `stage` is not one of the values in its `when`"]);
    run("dev", &["apply", TEAM, "--yes"]).expect(0, &["0 added, 0 changed, 2 destroyed."]);

    run("dev", &["destroy", TEAM, "--yes", "--delete-data"]).expect(0, &["Destroy complete!"]);
    run("prod", &["diff", TEAM, "--detailed-exitcode"]).expect(0, &[NO_CHANGES]);
    run("prod", &["destroy", TEAM, "--yes", "--delete-data"]).expect(0, &["Destroy complete!"]);
}
