//! `engine export` in accounts that hide something, refuse something, or belong to several.

use std::fs;

use super::server::{Cloud, Fault};
use super::world::{Reply, World};
use super::{FUNCTION, Project, Ran, TABLE, writes};

const EXPORTED: &str = "specs/exported.yaml";

/// An account to which the default spec was applied.
fn applied(project: &Project) -> Cloud {
    let cloud = Cloud::start(World::empty());
    project.run(&cloud, &["apply", "--yes"]).ends_with(0);
    cloud.world(|world| *world = world.clone().aged());
    cloud
}

fn export(project: &Project, cloud: &Cloud, names: &[&str]) -> (Ran, String) {
    let _ = fs::remove_file(project.path(EXPORTED));
    let before = writes(cloud);
    let ran = project.run(cloud, &[&["export", "-o", EXPORTED, "--region", "eu-central-1"][..], names].concat());
    assert_eq!(writes(cloud), before, "an export only reads");
    let text = fs::read_to_string(project.path(EXPORTED)).unwrap_or_default();
    (ran, text)
}

/// Comments can be wrapped.
fn flat(text: &str) -> String {
    text.replace('#', " ").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn references_between_queues_make_no_cycle() {
    let project = Project::new(|text| {
        let (head, _) = text.split_once("resources:\n").unwrap();
        let arn = "arn:aws:sqs:eu-central-1:123456789012:blue-owls-jobs";
        format!(
            "{head}resources:
  jobs:
    type: queue
    redrive_policy: {{ dead_letter_target_arn: \"${{dead.arn}}\", max_receive_count: 5 }}
    policy:
      Version: \"2012-10-17\"
      Statement:
        - {{ Effect: Allow, Principal: {{ Service: sns.amazonaws.com }}, Action: sqs:SendMessage, Resource: \"{arn}\" }}
  dead:
    type: queue
    redrive_allow_policy: {{ redrive_permission: byQueue, source_queue_arns: [\"{arn}\"] }}
"
        )
    });
    let cloud = applied(&project);
    for names in [["blue-owls-jobs", "blue-owls-dead"], ["blue-owls-dead", "blue-owls-jobs"]] {
        let (ran, text) = export(&project, &cloud, &names);
        ran.ends_with(0);
        let references = text.matches("${jobs.arn}").count() + text.matches("${dead.arn}").count();
        assert_eq!(references, 1, "one of the two is an ARN, and so is a queue's own: {text}");
        project.run(&cloud, &["diff", EXPORTED, "--detailed-exitcode"]).ends_with(0).says("No changes.");
    }
}

#[test]
fn what_cannot_be_read_is_named_and_left_out() {
    let project = Project::usual();
    let cloud = applied(&project);
    let denied = |operation: &str| {
        let text = format!("User: X is not authorized to perform: lambda:{operation}");
        cloud.always(operation, Fault::Answer(Reply::lambda(403, "AccessDeniedException", &text)));
    };
    denied("GetPolicy");
    denied("GetFunctionUrlConfig");
    let refusal = Reply::dynamodb("AccessDeniedException", "not authorized: dynamodb:DescribeTimeToLive");
    cloud.always("DescribeTimeToLive", Fault::Answer(refusal));
    let (ran, text) = export(&project, &cloud, &[TABLE, FUNCTION]);
    let ran = ran.ends_with(0);
    for gap in [
        "A permission of `blue-owls-logger` can't be read, because you lack permission for GetPolicy.",
        "`url` can't be read, because you lack permission for GetFunctionUrlConfig",
        "`ttl_attribute` can't be read, because you lack permission for DescribeTimeToLive",
    ] {
        assert!(flat(&text).contains(gap) && flat(&ran.err).contains(gap), "{gap}: {text}{}", ran.err);
    }
    assert!(!text.contains("type: permission") && !text.contains("url:"), "{text}");
    // Without permission to read it, it isn't compared either.
    project.run(&cloud, &["diff", EXPORTED]).ends_with(0).says("No changes");
}

#[test]
fn code_that_cannot_be_downloaded_is_named_and_the_spec_needs_it() {
    let project = Project::usual();
    let cloud = applied(&project);
    cloud.world(|world| world.archives.clear());
    let (ran, text) = export(&project, &cloud, &[FUNCTION]);
    ran.ends_with(1)
        .complains("`code` can't be downloaded")
        .complains("HTTP status 404")
        .complains("`logger` is missing `code`");
    assert!(text.contains("type: function") && !project.path("lambda-src/logger.zip").exists(), "{text}");
}

#[test]
fn resources_of_several_stacks_or_of_another_team_are_refused() {
    let project = Project::usual();
    let cloud = applied(&project);
    let (ran, _) = export(&project, &cloud, &[TABLE, "--team", "red-foxes"]);
    ran.ends_with(1).complains("the resources belong to the team `blue-owls`").complains("leave out `--team`");
    cloud.world(|world| {
        let tags = &mut world.functions.get_mut(FUNCTION).unwrap().tags;
        tags.insert("engine:stack".to_owned(), "other".to_owned());
    });
    let (ran, text) = export(&project, &cloud, &[TABLE, FUNCTION]);
    ran.ends_with(1)
        .complains("team `blue-owls`, stack `other`; team `blue-owls`, stack `team`")
        .complains("one stack at a time");
    assert_eq!(text, "");
}

#[test]
fn a_name_that_cant_be_read_is_not_reported_as_missing() {
    let project = Project::usual();
    let cloud = applied(&project);
    let refusal = Reply::dynamodb("AccessDeniedException", "not authorized: dynamodb:DescribeTable");
    cloud.always("DescribeTable", Fault::Answer(refusal));
    let (ran, text) = export(&project, &cloud, &[TABLE]);
    ran.ends_with(1).complains("it may be a table, which can't be read, because you lack permission for DescribeTable");
    assert_eq!(text, "");
}
