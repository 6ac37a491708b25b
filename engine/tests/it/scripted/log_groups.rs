//! Log groups: those that Lambda creates by itself, retention policies of the account, late lines,
//! names with folders, and races.

use std::collections::BTreeMap;

use serde_json::json;

use super::server::{Cloud, Fault};
use super::world::{Reply, World};
use super::{Project, deployed, diff_is_empty, writes};

const LOG_GROUP: &str = "/aws/lambda/blue-owls-logger";
/// The log group of the spec's function.
const LOGS: &str = "\n  logs:\n    type: log_group\n    name: /aws/lambda/${team}-logger\n";

fn tags(team: &str, stack: &str) -> BTreeMap<String, String> {
    let tags = [("engine:team", team), ("engine:stack", stack), ("engine:resource", "logs")];
    tags.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

/// The default spec with a log group that its function uses.
fn project(lines: &str) -> Project {
    let project = Project::new(|text| text + LOGS + lines);
    project.edit("    code: ../", "    log_group: ${logs.name}\n    code: ../");
    project
}

fn groups(cloud: &Cloud) -> Vec<String> {
    cloud.world(|world| world.log_groups.keys().cloned().collect())
}

fn retention(cloud: &Cloud) -> serde_json::Value {
    cloud.world(|world| world.log_groups[LOG_GROUP].shown["retentionInDays"].clone())
}

#[test]
fn a_log_group_is_created_before_its_function_and_deleted_after_it() {
    let cloud = Cloud::start(World::empty());
    let project = project("    retention_in_days: 14\n");
    project.run(&cloud, &["apply", "--yes"]).ends_with(0).says("5 added");
    let sent = writes(&cloud);
    let at = |name: &str| sent.iter().position(|it| it == name).unwrap();
    assert!(at("CreateLogGroup") < at("PutRetentionPolicy") && at("PutRetentionPolicy") < at("CreateFunction"));
    diff_is_empty(&project, &cloud);
    // Also if both are orphans.
    let table = Project::new(|text| text.split("  logger:").next().unwrap().to_owned());
    for (last, command, n_destroyed) in [(&table, "apply", 4), (&project, "destroy", 5)] {
        project.run(&cloud, &["apply", "--yes"]).ends_with(0);
        cloud.forget();
        let destroyed = last.run(&cloud, &[command, "--yes"]);
        destroyed.ends_with(0).says(&format!("{n_destroyed} destroyed."));
        assert!(!destroyed.out.contains("log group /aws/lambda/blue-owls-logger is not deleted"), "{}", destroyed.out);
        let sent = writes(&cloud);
        let at = |name: &str| sent.iter().position(|it| it == name).unwrap();
        assert!(at("DeleteFunction") < at("DeleteLogGroup"), "{sent:?}");
    }
    assert!(cloud.world(|world| world.is_empty()));
}

#[test]
fn a_log_group_that_lambda_created_for_a_function_of_the_spec_is_adopted_without_a_question() {
    let cloud = deployed();
    cloud.world(|world| world.write_line(LOG_GROUP));
    // Without `--yes`, and without a terminal to ask.
    let project = Project::new(|text| text + LOGS);
    project.run(&cloud, &["apply"]).ends_with(0).says("AWS created it for `logger`").says("1 adopted");
    assert_eq!(writes(&cloud), ["TagLogGroup"]);
    diff_is_empty(&project, &cloud);

    // A shorter retention period deletes events, so that is asked for.
    let cloud = deployed();
    cloud.world(|world| world.write_line(LOG_GROUP));
    let project = Project::new(|text| text + LOGS + "    retention_in_days: 14\n");
    let refused = project.run(&cloud, &["apply"]);
    refused.says("log events that are older than 14 days are deleted").complains("--yes");
    assert_eq!(writes(&cloud), [""; 0]);
    project.run(&cloud, &["apply", "--yes"]).ends_with(0).says("1 adopted");
    assert_eq!(retention(&cloud), 14);

    // That of a function that isn't in the spec is asked for.
    let cloud = deployed();
    cloud.world(|world| world.write_line("/aws/lambda/blue-owls-older"));
    let project = Project::new(|text| text + &LOGS.replace("-logger", "-older"));
    project.run(&cloud, &["apply"]).complains("--yes");
    assert_eq!(writes(&cloud), [""; 0]);
}

#[test]
fn a_lower_retention_period_is_asked_for_and_a_longer_one_is_not() {
    let cloud = Cloud::start(World::empty());
    let project = project("    retention_in_days: 14\n");
    project.run(&cloud, &["apply", "--yes"]).ends_with(0);
    project.edit("retention_in_days: 14", "retention_in_days: 30");
    project.run(&cloud, &["apply"]).ends_with(0).says("1 changed");
    project.edit("retention_in_days: 30", "retention_in_days: 7");
    project.run(&cloud, &["apply"]).says("log events that are older than 7 days are deleted").complains("--yes");
    assert_eq!(retention(&cloud), 30);
    project.run(&cloud, &["apply", "--yes"]).ends_with(0);
    project.edit("    retention_in_days: 7\n", "");
    project.run(&cloud, &["apply"]).ends_with(0).says("1 changed");
    assert_eq!(retention(&cloud), json!(null));
}

#[test]
fn under_an_accounts_retention_policy_a_period_is_set_once_and_not_compared() {
    let cloud = Cloud::start(World::empty());
    let project = project("    retention_in_days: 14\n");
    cloud.always(
        "DescribeLogGroups",
        Fault::DoneButEdited(super::server::Edit::new(|text| {
            let mut answer: serde_json::Value = serde_json::from_str(text).unwrap();
            for group in answer["logGroups"].as_array_mut().into_iter().flatten() {
                group["retentionInDays"] = json!(365);
                group["retentionPolicyName"] = json!("audit");
            }
            answer.to_string()
        })),
    );
    project.run(&cloud, &["apply", "--yes"]).ends_with(0).says("5 added");
    assert_eq!(retention(&cloud), 14);
    let ran = project.run(&cloud, &["diff", "--detailed-exitcode"]);
    ran.ends_with(0).says("`retention_in_days` is not compared: the account's retention policy `audit` overrides it");
    // Nor is it sent with another change.
    project.edit("retention_in_days: 14", "retention_in_days: 7\n    tags: { course: cloud }");
    let before = writes(&cloud).len();
    project.run(&cloud, &["apply", "--yes"]).ends_with(0).says("1 changed");
    assert_eq!(writes(&cloud)[before..], ["TagLogGroup"]);
}

#[test]
fn a_late_line_does_not_leave_a_log_group_behind() {
    let cloud = Cloud::start(World::empty());
    let project = project("");
    project.run(&cloud, &["apply", "--yes"]).ends_with(0);
    cloud.world(|world| world.write_line(LOG_GROUP));
    cloud.world(|world| world.late_line = true);
    project.run(&cloud, &["destroy", "--yes"]).ends_with(0).says("Resources: 5 destroyed.");
    assert_eq!(groups(&cloud), [""; 0]);
}

#[test]
fn a_retained_or_protected_log_group_stays() {
    let cloud = Cloud::start(World::empty());
    let project = project("    retain: true\n");
    project.run(&cloud, &["apply", "--yes"]).ends_with(0);
    cloud.world(|world| world.write_line(LOG_GROUP));
    project.run(&cloud, &["destroy", "--yes"]).ends_with(0);
    let left = cloud.world(|world| world.log_groups[LOG_GROUP].clone());
    assert_eq!((left.tags.len(), left.streams.len()), (0, 1));

    project.edit("    retain: true\n", "    adopt: true\n");
    project.run(&cloud, &["apply", "--yes"]).ends_with(0);
    cloud.forget();
    cloud.world(|world| world.log_groups.get_mut(LOG_GROUP).unwrap().shown["deletionProtectionEnabled"] = json!(true));
    let refused = project.run(&cloud, &["destroy", "--yes"]);
    let command = format!(
        "aws logs put-log-group-deletion-protection --log-group-identifier \
         arn:aws:logs:eu-central-1:123456789012:log-group:{LOG_GROUP} --no-deletion-protection-enabled"
    );
    refused.ends_with(1).complains("its deletion protection is on").complains(&command);
    assert_eq!((groups(&cloud), writes(&cloud)), (vec![LOG_GROUP.to_owned()], Vec::new()));
}

#[test]
fn an_orphan_is_found_by_the_tag_index_and_by_name_and_others_log_groups_are_not_touched() {
    for is_blind in [false, true] {
        let cloud = deployed();
        let others =
            ["/aws/lambda/blue-owls-theirs", "/aws/lambda/blue-owls-x", "/aws/lambda/red-foxes-x", "blue-owls-y"];
        cloud.world(|world| {
            world.index.blind = is_blind;
            world.small_pages = true;
            world.add_log_group(LOG_GROUP, tags("blue-owls", "team"));
            world.add_log_group("blue-owls-logs", tags("blue-owls", "team"));
            world.add_log_group(others[0], tags("red-foxes", "team"));
            world.add_log_group(others[1], tags("blue-owls", "other"));
            world.add_log_group(others[2], tags("blue-owls", "team"));
            world.add_log_group(others[3], BTreeMap::new());
            // Lambda's own, of another stack's function.
            world.write_line("/aws/lambda/blue-owls-z");
        });
        let project = Project::usual();
        if !is_blind {
            project.run(&cloud, &["diff"]).ends_with(0).says("2 to destroy");
        }
        let destroyed = project.run(&cloud, &["destroy", "--yes"]);
        destroyed.ends_with(0).says("Resources: 6 destroyed.");
        assert!(!destroyed.out.contains("blue-owls-z"), "{}", destroyed.out);
        let mut left: Vec<String> = others.iter().map(|it| (*it).to_owned()).collect();
        left.push("/aws/lambda/blue-owls-z".to_owned());
        left.sort();
        assert_eq!(groups(&cloud), left, "{is_blind}");
    }
}

#[test]
fn a_log_group_that_appears_after_the_plan_is_adopted_only_if_this_stack_owns_it() {
    for (owner, code) in [(tags("blue-owls", "team"), 0), (tags("red-foxes", "team"), 3), (BTreeMap::new(), 3)] {
        let cloud = Cloud::start(World::empty());
        let project = project("    retention_in_days: 14\n");
        let theirs = owner.clone();
        cloud.before("CreateLogGroup", 1, move |world| world.add_log_group(LOG_GROUP, theirs));
        let ran = project.run(&cloud, &["apply", "--yes"]);
        ran.ends_with(code);
        assert_eq!(retention(&cloud), if code == 0 { json!(14) } else { json!(null) }, "{owner:?}");
        assert_eq!(cloud.world(|world| world.log_groups[LOG_GROUP].tags.clone()), owner);
    }
}

#[test]
fn the_period_of_another_run_that_creates_the_log_group_first_is_not_overwritten() {
    for (lines, code) in [("    retention_in_days: 30\n", 0), ("    retention_in_days: 14\n", 3), ("", 3)] {
        let cloud = Cloud::start(World::empty());
        cloud.before("CreateLogGroup", 1, move |world| {
            world.add_log_group(LOG_GROUP, tags("blue-owls", "team"));
            world.log_groups.get_mut(LOG_GROUP).unwrap().shown["retentionInDays"] = json!(30);
        });
        let ran = project(lines).run(&cloud, &["apply", "--yes"]);
        ran.ends_with(code);
        if code != 0 {
            ran.says("another run for this team and stack created it with a different `retention_in_days`");
        }
        assert_eq!(retention(&cloud), 30, "{lines}");
    }
}

#[test]
fn a_lost_answer_and_a_conflict_end_in_one_log_group() {
    let cloud = Cloud::start(World::empty());
    let project = project("    retention_in_days: 14\n");
    cloud.fault("CreateLogGroup", 1..2, Fault::DoneButCut);
    let conflict = "Multiple concurrent requests to update the same resource were in conflict.";
    cloud.fault("PutRetentionPolicy", 1..3, Fault::Answer(Reply::logs("OperationAbortedException", conflict)));
    project.run(&cloud, &["apply", "--yes"]).ends_with(0).says("5 added");
    assert_eq!(retention(&cloud), 14);
    diff_is_empty(&project, &cloud);
}

#[test]
fn a_role_needs_no_permission_to_create_a_log_group_of_the_spec() {
    let policy = |project: &Project| {
        let ran = project.command(&["policy", "--account", super::ACCOUNT, "--role"]).run();
        ran.ends_with(0);
        ran.out
    };
    let own = policy(&project(""));
    assert!(own.contains("logs:CreateLogStream") && !own.contains("logs:CreateLogGroup"), "{own}");
    assert!(policy(&Project::usual()).contains("logs:CreateLogGroup"));
}

#[test]
fn preflight_asks_for_the_permissions_that_a_function_needs_for_its_log_group() {
    let asked = |project: &Project| {
        let cloud = deployed();
        cloud.world(|world| world.simulated = Some(("implicitDeny", false)));
        let ran = project.run(&cloud, &["preflight"]);
        ran.complains("logs:CreateLogStream");
        ran.out + &ran.err
    };
    assert!(!asked(&project("")).contains("logs:CreateLogGroup"));
    assert!(asked(&Project::usual()).contains("logs:CreateLogGroup"));
}
