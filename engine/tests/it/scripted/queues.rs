//! Queues: who created one, what a replacement waits for, and which policies are the same.

use std::collections::BTreeMap;

use serde_json::json;

use super::server::{Cloud, Fault};
use super::world::{Tags, World};
use super::{Project, diff_is_empty, replaced, writes};

const JOBS: &str = "blue-owls-jobs";

fn project(lines: &str) -> Project {
    Project::new(|text| {
        let (head, _) = text.split_once("resources:\n").unwrap();
        format!("{head}resources:\n  jobs:\n    type: queue\n{lines}")
    })
}

fn our_tags() -> Tags {
    let tags = [("engine:team", "blue-owls"), ("engine:stack", "team"), ("engine:resource", "jobs")];
    tags.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

/// An account with this stack's old queue.
fn with_queue() -> Cloud {
    let mut world = World::empty();
    world.add_queue(JOBS, our_tags());
    Cloud::start(world)
}

/// SQS answers a create with the URL of an existing queue that is equal.
#[test]
fn an_equal_queue_that_another_owner_creates_meanwhile_is_not_adopted() {
    for tags in [BTreeMap::new(), BTreeMap::from([("engine:team".to_owned(), "red-foxes".to_owned())])] {
        let cloud = Cloud::start(World::empty());
        let theirs = tags.clone();
        cloud.before("CreateQueue", 1, move |world| {
            world.add_queue(JOBS, theirs);
        });
        let ran = project("").run(&cloud, &["apply", "--yes"]);
        ran.ends_with(3).says("another owner created a resource with this name in the meantime");
        assert_eq!(writes(&cloud), ["CreateQueue"]);
        assert_eq!(cloud.world(|world| world.queues[JOBS].tags.clone()), tags);
    }
}

#[test]
fn a_create_whose_response_is_lost_is_not_repeated() {
    for fault in [Fault::DoneButCut, Fault::Cut] {
        let cloud = Cloud::start(World::empty());
        let is_done = matches!(fault, Fault::DoneButCut);
        cloud.fault("CreateQueue", 1..2, fault);
        let project = project("    delay_seconds: 3\n");
        project.run(&cloud, &["apply", "--yes"]).ends_with(0).says("1 added");
        // The new queue isn't visible at once, so a read right after the loss doesn't find it, and an
        // equal create is harmless.
        assert!(cloud.count("CreateQueue") <= 2, "{is_done}");
        cloud.world(|world| *world = world.clone().aged());
        diff_is_empty(&project, &cloud);
    }
}

#[test]
fn an_update_whose_response_is_lost_is_complete() {
    for fault in [Fault::DoneButCut, Fault::Cut] {
        let cloud = with_queue();
        cloud.fault("SetQueueAttributes", 1..2, fault);
        let project = project("    delay_seconds: 3\n");
        project.run(&cloud, &["apply", "--yes"]).ends_with(0).says("1 changed");
        diff_is_empty(&project, &cloud);
    }
}

#[test]
fn a_change_by_another_client_during_an_update_is_not_overwritten() {
    let cloud = with_queue();
    // The SDK and the HTTP client repeat the call before engine reads the queue again.
    cloud.fault("SetQueueAttributes", 1..9, Fault::Cut);
    cloud.before("SetQueueAttributes", 3, |world| {
        let queue = world.queues.get_mut(JOBS).unwrap();
        queue.attributes.insert("VisibilityTimeout".to_owned(), "99".to_owned());
    });
    let ran = project("    delay_seconds: 3\n").run(&cloud, &["apply", "--yes"]);
    ran.ends_with(3).says("changed in the meantime: `visibility_timeout_seconds`");
    assert_eq!(cloud.world(|world| world.queues[JOBS].attributes["DelaySeconds"].clone()), "0");
}

#[test]
fn a_replacement_waits_for_the_name_of_the_deleted_queue_and_shows_why() {
    let cloud = with_queue();
    let ran = project("").run(&cloud, &["apply", "--yes", "--replace", "jobs"]);
    ran.ends_with(0).says("1 added, 0 changed, 1 destroyed");
    assert_eq!(writes(&cloud), ["DeleteQueue", "CreateQueue", "CreateQueue", "CreateQueue"]);

    let cloud = Cloud::start(World::empty());
    cloud.world(|world| world.deleted_queues.insert(JOBS.to_owned(), 5));
    let why =
        "waiting for the name of the deleted queue to become available, since AWS reports: You must wait 60 seconds";
    project("").run(&cloud, &["apply", "--yes"]).ends_with(0).complains(why);
}

#[test]
fn a_queue_with_messages_is_deleted_only_if_that_is_allowed() {
    for messages in [[1, 0, 0], [0, 1, 0], [0, 0, 1]] {
        let cloud = with_queue();
        cloud.world(|world| world.queues.get_mut(JOBS).unwrap().messages = messages);
        let project = project("");
        let refused = project.run(&cloud, &["destroy", "--yes"]);
        refused.ends_with(1).complains("it is not empty").complains("--delete-data");
        assert_eq!(writes(&cloud), [""; 0]);
        project.run(&cloud, &["destroy", "--yes", "--delete-data"]).ends_with(0).says("1 destroyed");
    }
}

#[test]
fn a_lower_retention_is_destructive_and_a_higher_one_is_not() {
    let cloud = with_queue();
    let project = project("    message_retention_seconds: 60\n");
    project.run(&cloud, &["diff"]).ends_with(0).says("messages that are older than 60 s are deleted");
    project.run(&cloud, &["apply"]).ends_with(1);
    assert_eq!(writes(&cloud), [""; 0]);
    project.edit("seconds: 60", "seconds: 1209600");
    project.run(&cloud, &["apply"]).ends_with(0).says("1 changed");
}

const POLICY: &str = "    policy:
      Version: \"2012-10-17\"
      Statement:
        - { Sid: one, Effect: Allow, Principal: { AWS: \"123456789012\" }, Action: sqs:SendMessage, Resource: \"*\" }
        - Sid: two
          Effect: Deny
          Principal: \"*\"
          Action: [sqs:SendMessage, SQS:ReceiveMessage]
          Resource: \"*\"
          Condition: { Bool: { \"aws:SecureTransport\": false } }
";

fn set_policy(cloud: &Cloud, policy: &serde_json::Value) {
    let text = policy.to_string();
    cloud.world(|world| drop(world.queues.get_mut(JOBS).unwrap().attributes.insert("Policy".to_owned(), text)));
}

#[test]
fn a_policy_in_the_form_that_aws_shows_is_no_difference() {
    let cloud = with_queue();
    let shown = |principal: &str| {
        json!({
            "Statement": [
                {
                    "Sid": "two",
                    "Effect": "Deny",
                    "Principal": "*",
                    "Action": ["sqs:ReceiveMessage", "sqs:SendMessage"],
                    "Resource": ["*"],
                    "Condition": { "Bool": { "AWS:SecureTransport": ["false"] } },
                },
                {
                    "Sid": "one",
                    "Effect": "Allow",
                    "Principal": { "AWS": principal },
                    "Action": ["sqs:SendMessage"],
                    "Resource": "*",
                },
            ],
            "Version": "2012-10-17",
        })
    };
    set_policy(&cloud, &shown("arn:aws:iam::123456789012:root"));
    let project = project(POLICY);
    diff_is_empty(&project, &cloud);
    // Another change doesn't send it either.
    project.edit("    type: queue\n", "    type: queue\n    delay_seconds: 3\n");
    project.run(&cloud, &["apply", "--yes"]).ends_with(0).says("1 changed");
    let calls = cloud.calls();
    let sent = calls.iter().find(|call| call.operation == "SetQueueAttributes").unwrap();
    assert_eq!(sent.body["Attributes"], json!({ "DelaySeconds": "3" }));
    // A deleted principal is another one, even if a new role has its name.
    set_policy(&cloud, &shown("AROAEXAMPLEEXAMPLE123"));
    let ran = project.run(&cloud, &["diff", "--detailed-exitcode"]);
    ran.ends_with(2).says("its policy refers to `AROAEXAMPLEEXAMPLE123`, a user or role that was deleted");
}

#[test]
fn a_policy_can_refer_to_other_resources() {
    let cloud = Cloud::start(World::empty());
    let text = replaced(POLICY, "Resource: \"*\" }", "Resource: \"${other.arn}\" }");
    let project = project(&format!("{text}  other: {{ type: queue }}\n"));
    project.run(&cloud, &["apply", "--yes"]).ends_with(0).says("2 added");
    let policy = cloud.world(|world| world.queues[JOBS].attributes["Policy"].clone());
    assert!(policy.contains("arn:aws:sqs:eu-central-1:123456789012:blue-owls-other"), "{policy}");
    cloud.world(|world| *world = world.clone().aged());
    diff_is_empty(&project, &cloud);
}
