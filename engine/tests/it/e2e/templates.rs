//! The specs that `engine init` writes, from the first apply to the last destroy.

use std::fs;

use super::project::Project;
use super::{ACCOUNT, NO_CHANGES, ROLE, TEAM};

#[test]
fn the_spec_of_each_template_passes_its_full_lifecycle() {
    let project = Project::new();
    let role = ["--role", ROLE];
    let templates: [(&str, &[&str], u32); 7] = [
        ("pipeline", &[], 5),
        ("pipeline", &role, 4),
        ("queue", &[], 5),
        ("queue", &role, 4),
        ("own-role", &[], 4),
        ("existing-table", &[], 5),
        ("existing-table", &role, 4),
    ];
    for (n, (template, role, added)) in templates.into_iter().enumerate() {
        for folder in ["specs", "lambda-src"] {
            fs::remove_dir_all(project.path(folder)).unwrap();
        }
        // The log groups of earlier functions still exist.
        let team = &format!("team-{n}");
        let args = ["init", "--team", team, "--region", "eu-central-1", "--template", template];
        project.run(&[&args, role].concat()).expect(0, &[&format!("Created for team {team}")]);
        project.run(&["validate"]).expect(0, &["`specs/team.yaml` is valid."]);
        let aws = project.account(ACCOUNT);
        let run = |args: &[&str]| project.run(&[args, &[TEAM, "--local"]].concat());
        run(&["apply", "--yes"]).expect(0, &[&format!("Resources: {added} added,")]);
        run(&["diff", "--detailed-exitcode"]).expect(0, &[NO_CHANGES]);
        run(&["verify", "--yes"]).expect(0, &["INSERT", "MODIFY", "REMOVE", "Verified in"]);
        run(&["diff", "--detailed-exitcode"]).expect(0, &[NO_CHANGES]);
        run(&["destroy", "--yes"]).expect(0, &[&format!("Destroy complete! Resources: {added} destroyed.")]);
        let left = Vec::from_iter(aws.snapshot().into_keys());
        assert!(left.iter().all(|it| *it == format!("role {ROLE}")), "{template}: {left:?}");
    }
}
