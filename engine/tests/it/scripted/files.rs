//! `diff --out`: the file is looked at before AWS is, and is whole or as it was.

use std::fs;

use super::server::{Cloud, Fault};
use super::world::{Reply, World};
use super::{Project, deployed};

#[test]
fn where_no_plan_can_be_saved_nothing_is_asked() {
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
fn a_diff_that_fails_later_leaves_the_file_as_it_was() {
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
