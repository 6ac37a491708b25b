//! A wrong region or account: a command that finds nothing names both before it suggests a command
//! that would create the resources there.

use super::server::Cloud;
use super::world::World;
use super::{Project, replaced};

const PLACE: &str = "in eu-west-1, account 123456789012";
const ELSEWHERE: &str =
    "to search elsewhere, pass `--region` or `--profile`; `engine doctor --region eu-west-1` shows the current ones";

#[test]
fn a_missing_resource_names_region_and_account_before_apply() {
    let cloud = Cloud::start(World::empty());
    let project =
        Project::new(|text| replaced(&text, "resources:", "outputs:\n  stream: ${todos.stream_arn}\n\nresources:"));
    for (command, apply) in [
        (&["logs"][..], "otherwise run `engine apply --region eu-west-1` first"),
        (&["output"], "otherwise run `engine apply --region eu-west-1` first"),
        (&["verify", "--yes"], "otherwise run `engine apply --region eu-west-1` to create it"),
    ] {
        let run = project.run(&cloud, &[command, &["--region", "eu-west-1"]].concat());
        run.ends_with(1);
        let line = run.err.split_whitespace().filter(|word| *word != "|").collect::<Vec<_>>().join(" ");
        let at = |words: &str| line.find(words).unwrap_or_else(|| panic!("{command:?}: {words}: {line}"));
        assert!(at(PLACE) < at(ELSEWHERE) && at(ELSEWHERE) < at(apply), "{line}");
    }
    let run = project.run(&cloud, &["list", "--region", "eu-west-1"]);
    run.ends_with(0);
    assert_eq!(
        run.out,
        format!(
            "No resources of team blue-owls, stack team exist {PLACE}.\nTo search elsewhere, pass `--region` or \
             `--profile`; `engine doctor --region eu-west-1` shows the current ones.\n"
        )
    );
}

#[test]
fn releasing_an_unknown_name_suggests_one_from_the_spec() {
    let cloud = Cloud::start(World::empty());
    let run = Project::usual().run(&cloud, &["release", "todso"]);
    run.ends_with(1).complains("owns no resource `todso` in eu-central-1").complains("did you mean `todos`?");
}
