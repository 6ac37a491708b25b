//! `diff --out`: engine checks the file before it calls AWS, and writes it completely or not at
//! all.

use std::fs;

use super::server::{Cloud, Fault};
use super::world::{Reply, World};
use super::{Project, deployed};

#[test]
fn an_unwritable_plan_file_is_reported_before_any_call() {
    let project = Project::usual();
    fs::create_dir(project.path("folder")).unwrap();
    fs::write(project.path("notes.txt"), "mine").unwrap();
    let cloud = deployed();
    for (file, why) in [
        ("nowhere/plan.json", "No such file or directory"),
        ("folder", "it is a folder"),
        ("notes.txt/plan.json", "Not a directory"),
        ("notes.txt", "already exists and isn't a saved plan"),
        ("specs/team.yaml", "already exists and isn't a saved plan"),
        ("/dev/null", "isn't a saved plan"),
        ("/proc/plan.json", "failed to save the plan"),
    ] {
        project.run(&cloud, &["diff", "--out", file]).ends_with(1).complains(why);
        assert_eq!(cloud.calls().len(), 0, "{file}");
    }
    assert_eq!(fs::read_to_string(project.path("notes.txt")).unwrap(), "mine");
}

#[test]
fn a_failed_diff_leaves_the_plan_file_unchanged() {
    let project = Project::usual();
    fs::create_dir(project.path("plans")).unwrap();
    let names =
        || -> Vec<_> { fs::read_dir(project.path("plans")).unwrap().map(|it| it.unwrap().file_name()).collect() };
    let args = ["diff", "--out", "plans/plan.json"];
    let denied = Reply::of("DescribeTable", 400, "AccessDeniedException", "User: X is not authorized");
    let failing = Cloud::start(World::empty());
    failing.always("DescribeTable", Fault::Answer(denied));
    project.run(&failing, &args).ends_with(1);
    assert!(names().is_empty());
    project.run(&deployed(), &args).ends_with(0);
    let saved = fs::read_to_string(project.path("plans/plan.json")).unwrap();
    project.run(&failing, &args).ends_with(1);
    assert_eq!(
        (names(), fs::read_to_string(project.path("plans/plan.json")).unwrap()),
        (vec!["plan.json".into()], saved)
    );
}
