//! Roles that engine manages: names, owners and regions, propagation, and what a deletion spares.

use std::collections::BTreeMap;

use engine::apply;
use engine::aws::Code;
use serde_json::json;
use tokio::time::Instant;

use super::economy::planned;
use super::library::{context, failures, load, team};
use super::server::{Cloud, Fault};
use super::world::role::Role;
use super::world::{Reply, Tags, World};
use super::{FUNCTION, Project, ROLE, diff_is_empty, nth, replaced, writes};

const RUNNER: &str = "blue-owls-runner";
const IMPLIED: &str = "blue-owls-logger-role";
const READ_ONLY: &str = "arn:aws:iam::aws:policy/ReadOnlyAccess";
const SES: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ses:SendEmail","Resource":"*"}]}"#;

/// Only a role.
fn project(lines: &str) -> Project {
    Project::new(|text| {
        let (head, _) = text.split_once("resources:\n").unwrap();
        format!("{head}resources:\n  runner:\n    type: role\n    trusted_services: [states.amazonaws.com]\n{lines}")
    })
}

/// The pipeline without a role.
fn own_role() -> Project {
    Project::new(|text| {
        let text = replaced(&text, "    role: ${execution-role.arn}\n", "");
        let (head, rest) = text.split_once("  execution-role:\n").unwrap();
        let (_, rest) = rest.split_once("  logger:\n").unwrap();
        format!("{head}  logger:\n{rest}")
    })
}

fn tags(team: &str, resource: &str, region: &str) -> Tags {
    let tags =
        [("engine:team", team), ("engine:stack", "team"), ("engine:resource", resource), ("engine:region", region)];
    tags.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

fn trust() -> String {
    let service = json!({ "Service": ["states.amazonaws.com"] });
    let statement = json!([{ "Effect": "Allow", "Principal": service, "Action": "sts:AssumeRole" }]);
    json!({ "Version": "2012-10-17", "Statement": statement }).to_string()
}

/// An account with a role of this stack.
fn with_role(region: &str) -> Cloud {
    let mut world = World::empty();
    world.add_role(RUNNER, tags("blue-owls", "runner", region)).trust = Some(trust());
    Cloud::start(world)
}

/// IAM shows the new role late, and Lambda accepts it even later.
#[test]
fn a_function_waits_for_its_new_role() {
    let cloud = Cloud::start(World::empty());
    let project = own_role();
    project.run(&cloud, &["apply", "--yes"]).ends_with(0).says("5 added");
    assert!(cloud.count("CreateFunction") > 1);
    let role = cloud.world(|world| world.roles[IMPLIED].clone());
    assert_eq!(role.tags, tags("blue-owls", "logger-role", "eu-central-1"));
    assert_eq!(role.inline.keys().collect::<Vec<_>>(), ["engine"]);
    cloud.world(|world| *world = world.clone().aged());
    diff_is_empty(&project, &cloud);
}

/// The printed policies are those that `apply` sends, with every statement of the spec.
#[test]
fn the_printed_policies_of_a_role_are_those_that_it_gets() {
    let project = own_role();
    let more = format!(
        "  archive: {{ type: table, import: shared-archive }}\n  runner:\n    type: role\n    trusted_services: \
         [states.amazonaws.com]\n    path: /teams/\n    managed_policy_arns: [{READ_ONLY}]\n    access: {{ logger: invoke, \
         archive: read }}\n    statements: [{{ effect: Deny, actions: [ses:SendEmail], resources: \
         [\"${{archive.arn}}\", \"arn:aws:ses:${{region}}:${{account}}:identity/x\"], conditions: {{ Bool: {{ \"aws:SecureTransport\": false }} }} }}]\n"
    );
    project.edit("resources:\n", &format!("resources:\n{more}"));
    project.edit(
        "    code: ../",
        "    tracing: Active\n    statements: [{ actions: 's3:*', resources: '*' }]\n    code: ../",
    );
    let cloud = Cloud::start(World::empty());
    cloud.world(|world| {
        world.add_table("shared-archive", false, Tags::new());
    });
    let printed = project.run(&cloud, &["policy", "--role", "--account", super::ACCOUNT]);
    printed.ends_with(0).complains("IAM has no resource type for X-Ray traces");
    let printed: serde_json::Value = serde_json::from_str(&printed.out).unwrap();
    project.run(&cloud, &["apply", "--yes"]).ends_with(0);
    for name in [RUNNER, IMPLIED] {
        let role = cloud.world(|world| world.roles[name].clone());
        let parsed = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(printed[name]["permissions"], parsed(&role.inline["engine"]), "{name}");
        assert_eq!(printed[name]["trust"], parsed(&role.trust.unwrap()), "{name}");
    }
    assert_eq!(printed[RUNNER]["managed_policy_arns"], json!([READ_ONLY]));
    assert_eq!(printed[IMPLIED].get("managed_policy_arns"), None);
}

#[test]
fn what_another_client_attaches_during_a_deletion_is_removed_too() {
    let cloud = with_role("eu-central-1");
    cloud.before("DeleteRole", 1, |world| {
        let role = world.roles.get_mut(RUNNER).unwrap();
        role.inline.insert("engine".to_owned(), SES.to_owned());
        role.attached.insert(READ_ONLY.to_owned());
    });
    project("").run(&cloud, &["destroy", "--yes"]).ends_with(0).says("1 destroyed");
    assert!(!cloud.world(|world| world.roles.contains_key(RUNNER)));
}

/// The inputs of a function's role and log group are no part of the function.
#[test]
fn what_a_role_and_a_log_group_follow_from_is_not_compared_with_the_function() {
    let cloud = Cloud::start(World::empty());
    let project = own_role();
    let inputs = "    access: { todos: read }\n    statements: [{ actions: ses:SendEmail, resources: '*' }]\n    \
                  log_retention_in_days: 14\n";
    project.edit("    code: ../", &format!("{inputs}    code: ../"));
    // Lambda refuses the new role twice.
    cloud.fault("CreateFunction", 3..4, Fault::DoneButCut);
    project.run(&cloud, &["apply", "--yes"]).ends_with(0).says("6 added");
    assert_eq!(cloud.count("CreateFunction"), 3);
    cloud.world(|world| *world = world.clone().aged());
    diff_is_empty(&project, &cloud);
    cloud.forget();
    let source = project.path("lambda-src/log-events/index.js");
    std::fs::write(source, "exports.handler = async () => 2;\n").unwrap();
    project.run(&cloud, &["apply", "--yes"]).ends_with(0).says("1 changed");
    assert_eq!(writes(&cloud), ["UpdateFunctionCode"]);
}

#[test]
fn a_create_whose_response_is_lost_is_completed() {
    for fault in [Fault::DoneButCut, Fault::Cut] {
        let cloud = Cloud::start(World::empty());
        // IAM turns an account into its root ARN, which is the same.
        let lines = "    statements: [{ actions: ses:SendEmail, resources: '*' }]\n    managed_policy_arns: [arn:aws:iam::aws:policy/ReadOnlyAccess]\n";
        let project = project(lines);
        let document = "    assume_role_policy: { Version: '2012-10-17', Statement: { Effect: Allow, Principal: { AWS: '123456789012' }, Action: sts:AssumeRole } }\n";
        project.edit("    trusted_services: [states.amazonaws.com]\n", document);
        cloud.fault("CreateRole", 1..2, fault);
        project.run(&cloud, &["apply", "--yes"]).ends_with(0).says("1 added");
        let role = cloud.world(|world| world.roles[RUNNER].clone());
        assert!(role.inline.contains_key("engine") && role.attached.contains(READ_ONLY), "{role:?}");
        cloud.world(|world| *world = world.clone().aged());
        diff_is_empty(&project, &cloud);
    }
}

/// An imported role needs no permission in IAM.
#[test]
fn without_permission_to_create_roles_an_import_is_the_hint() {
    let cloud = Cloud::start(World::empty());
    let text = "User: arn:aws:iam::123456789012:user/student is not authorized to perform: iam:CreateRole";
    cloud.always("CreateRole", Fault::Answer(Reply::query(403, "AccessDenied", text)));
    let ran = own_role().run(&cloud, &["apply", "--yes"]);
    ran.ends_with(3)
        .says("iam:CreateRole")
        .says("a role to import: `type: role`")
        .says("`import: NAME`")
        .says("`role: ${…}`");
    assert_eq!(cloud.count("CreateFunction"), 0);
}

#[test]
fn a_role_that_another_owner_creates_meanwhile_is_not_adopted() {
    for theirs in [Tags::new(), tags("red-foxes", "runner", "eu-central-1"), tags("blue-owls", "runner", "us-east-1")] {
        let cloud = Cloud::start(World::empty());
        let before = theirs.clone();
        cloud.before("CreateRole", 1, move |world| world.add_role(RUNNER, before).trust = Some(trust()));
        let ran = project("").run(&cloud, &["apply", "--yes"]);
        ran.ends_with(1).says("another owner created a resource with this name in the meantime");
        assert_eq!(writes(&cloud), ["CreateRole"]);
        assert_eq!(cloud.world(|world| world.roles[RUNNER].tags.clone()), theirs);
    }
}

/// Roles exist once for all regions of an account.
#[test]
fn a_role_of_the_same_stack_in_another_region_is_refused() {
    let cloud = with_role("us-east-1");
    for args in [&["apply", "--yes"][..], &["apply", "--yes", "--replace", "runner"]] {
        let ran = project("    description: new\n").run(&cloud, args);
        ran.ends_with(1).complains("us-east-1").complains("${region}");
    }
    project("").run(&cloud, &["destroy", "--yes"]);
    assert_eq!(writes(&cloud), [""; 0]);
    assert!(cloud.world(|world| world.roles.contains_key(RUNNER)));
}

/// What the create can't set is set afterwards, so it can be another run's.
#[test]
fn settings_of_another_run_that_creates_the_role_first_are_not_overwritten() {
    type RoleEdit = fn(&mut Role);
    let edits: [(&str, RoleEdit); 4] = [
        ("`policy`", |role| drop(role.inline.insert("engine".to_owned(), SES.replace("ses:", "s3:")))),
        ("`managed_policy_arns`", |role| role.attached = [READ_ONLY.to_owned()].into()),
        ("`inline_policies`", |role| drop(role.inline.insert("audit".to_owned(), SES.to_owned()))),
        ("`tags`", |role| drop(role.tags.remove("course"))),
    ];
    let project =
        project("    statements: [{ actions: ses:SendEmail, resources: '*' }]\n    tags: { course: cloud }\n");
    for (what, edit) in edits {
        let cloud = Cloud::start(World::empty());
        cloud.before("CreateRole", 1, move |world| {
            let role = world.add_role(RUNNER, tags("blue-owls", "runner", "eu-central-1"));
            role.trust = Some(trust());
            role.tags.insert("course".to_owned(), "cloud".to_owned());
            edit(role);
        });
        let ran = project.run(&cloud, &["apply", "--yes"]);
        ran.ends_with(1).says(&format!("another run for this team and stack created it with a different {what}"));
        assert_eq!(writes(&cloud), ["CreateRole"], "{what}");
        cloud.world(|world| *world = world.clone().aged());
        project.run(&cloud, &["apply", "--yes"]).ends_with(0).says("1 changed");
        diff_is_empty(&project, &cloud);
    }
}

#[test]
fn a_role_whose_name_differs_only_in_case_is_not_this_stacks() {
    for owner in ["blue-owls", "red-foxes"] {
        let cloud = Cloud::start(World::empty());
        cloud.world(|world| {
            world.add_role("blue-owls-Runner", tags(owner, "runner", "eu-central-1")).trust = Some(trust())
        });
        let ran = project("    description: new\n").run(&cloud, &["apply", "--yes"]);
        ran.ends_with(1).complains("there is a role `blue-owls-Runner`, and IAM ignores the case of role names");
        assert_eq!(writes(&cloud), [""; 0]);
    }
}

#[test]
fn a_removal_detaches_before_it_deletes_and_waits_for_iam() {
    let cloud = with_role("eu-central-1");
    cloud.world(|world| {
        let role = world.roles.get_mut(RUNNER).unwrap();
        role.attached.insert(READ_ONLY.to_owned());
        role.inline = ["engine", "by-hand"].map(|name| (name.to_owned(), SES.to_owned())).into();
    });
    project("").run(&cloud, &["destroy", "--yes"]).ends_with(0).says("1 destroyed");
    let writes = writes(&cloud);
    assert_eq!(writes, ["DetachRolePolicy", "DeleteRolePolicy", "DeleteRolePolicy", "DeleteRole", "DeleteRole"]);
}

#[test]
fn a_role_that_something_outside_the_stack_uses_is_kept() {
    let cloud = with_role("eu-central-1");
    cloud.world(|world| {
        world.roles.get_mut(RUNNER).unwrap().attached.insert(READ_ONLY.to_owned());
        world.roles.get_mut(RUNNER).unwrap().profiles.push("web".to_owned());
    });
    let ran = project("").run(&cloud, &["destroy", "--yes"]);
    ran.ends_with(1).complains("it is still used by the instance profile `web`");

    cloud.world(|world| {
        world.roles.get_mut(RUNNER).unwrap().profiles.clear();
        world.add_function("red-foxes-logger", Tags::new());
        let function = world.functions.get_mut("red-foxes-logger").unwrap();
        function.change_outside("Role", json!(format!("arn:aws:iam::123456789012:role/{RUNNER}")));
    });
    let ran = project("").run(&cloud, &["destroy", "--yes"]);
    ran.ends_with(1).complains("it is still used by the function `red-foxes-logger`");
    assert_eq!(writes(&cloud), [""; 0]);
}

/// The plan knows it, so nothing of the pipeline is deleted.
#[test]
fn a_pipeline_whose_role_is_in_an_instance_profile_is_not_destroyed() {
    let cloud = Cloud::start(World::empty());
    let project = own_role();
    project.run(&cloud, &["apply", "--yes"]).ends_with(0);
    cloud.world(|world| {
        *world = world.clone().aged();
        world.roles.get_mut(IMPLIED).unwrap().profiles.push("web".to_owned());
    });
    cloud.forget();
    let ran = project.run(&cloud, &["destroy", "--yes"]);
    ran.ends_with(1).complains("it is still used by the instance profile `web`").complains("`retain: true`");
    assert_eq!(writes(&cloud), [""; 0]);
    // A profile that is added after the plan keeps the role.
    cloud.world(|world| world.roles.get_mut(IMPLIED).unwrap().profiles.clear());
    cloud.before("DeleteFunction", 1, |world| world.roles.get_mut(IMPLIED).unwrap().profiles.push("web".to_owned()));
    let ran = project.run(&cloud, &["destroy", "--yes"]);
    ran.ends_with(3).says("the role is still in use").says("it is still used by the instance profile `web`");
    assert!(cloud.world(|world| world.roles.contains_key(IMPLIED)));
}

/// Two runs destroy one stack.
#[test]
fn a_function_that_is_listed_and_already_deleted_keeps_no_role() {
    let cloud = Cloud::start(World::empty());
    let project = own_role();
    project.run(&cloud, &["apply", "--yes"]).ends_with(0);
    let listed = cloud.world(|world| {
        *world = world.clone().aged();
        let functions = std::mem::take(&mut world.functions);
        world.mappings.clear();
        functions.into_values().map(|function| function.config).collect::<Vec<_>>()
    });
    cloud.fault("ListFunctions", 1..2, Fault::Answer(Reply::json(200, &json!({ "Functions": listed }))));
    project.run(&cloud, &["destroy", "--yes", "--delete-data"]).ends_with(0);
    assert!(!cloud.world(|world| world.roles.contains_key(IMPLIED)));
}

/// Lambda lists the functions of one region.
#[test]
fn a_role_that_was_last_used_in_another_region_is_deleted_only_after_approval() {
    for (region, is_said) in [(Some("us-east-1"), true), (Some("eu-central-1"), false), (None, false)] {
        let cloud = with_role("eu-central-1");
        cloud.world(|world| world.roles.get_mut(RUNNER).unwrap().used_in = region);
        let words = "it was last used in `us-east-1`, where engine doesn't list functions";
        let unasked = project("").run(&cloud, &["destroy"]);
        unasked.ends_with(1).complains("destroy needs confirmation");
        assert_eq!(unasked.out.contains(words) || unasked.err.contains(words), is_said, "{region:?}: {}", unasked.out);
        assert_eq!(writes(&cloud), [""; 0]);
        project("").run(&cloud, &["destroy", "--yes"]).ends_with(0).says("1 destroyed");
    }
}

/// The plan reports what can't be checked, and asks for confirmation.
#[test]
fn without_permission_to_list_functions_a_deletion_reports_that_and_asks() {
    let cloud = with_role("eu-central-1");
    let text = "User: X is not authorized to perform: lambda:ListFunctions";
    cloud.always("ListFunctions", Fault::Answer(Reply::of("ListFunctions", 403, "AccessDeniedException", text)));
    let words = ["you lack permission to list the account's functions", "they would stop working"];
    let unasked = project("").run(&cloud, &["destroy"]);
    unasked.ends_with(1).says(words[0]).says(words[1]).complains("destroy needs confirmation");
    assert_eq!(writes(&cloud), [""; 0]);
    project("").run(&cloud, &["destroy", "--yes"]).ends_with(0).says(words[0]).says("1 destroyed");
    // An orphan, too.
    let cloud = with_role("eu-central-1");
    cloud.always("ListFunctions", Fault::Answer(Reply::of("ListFunctions", 403, "AccessDeniedException", text)));
    let other = Project::new(|text| text.split("  # Existing role").next().unwrap().to_owned());
    other.run(&cloud, &["diff", "--prune-scan"]).ends_with(0).says(words[0]);
    // The role's instance profiles are the same.
    let cloud = with_role("eu-central-1");
    let denied =
        Reply::query(403, "AccessDenied", "User: X is not authorized to perform: iam:ListInstanceProfilesForRole");
    cloud.always("ListInstanceProfilesForRole", Fault::Answer(denied));
    project("")
        .run(&cloud, &["diff", "--destroy"])
        .ends_with(0)
        .says("you lack permission to list the role's instance");
}

/// Lambda removes a function's network interfaces with the function's role, long after the function
/// is deleted.
#[test]
fn the_role_of_a_function_in_a_vpc_is_deleted_after_its_network_interfaces() {
    let cloud = with_role("eu-central-1");
    let policy = json!({ "Version": "2012-10-17", "Statement": [{
        "Sid": "UseNetworkInterfaces", "Effect": "Allow", "Action": "ec2:DeleteNetworkInterface", "Resource": "*",
    }] });
    cloud.world(|world| {
        world.roles.get_mut(RUNNER).unwrap().inline = BTreeMap::from([("engine".to_owned(), policy.to_string())]);
        world.interfaces = vec![("AROAEXAMPLE:123456789012".to_owned(), 2), ("AROAOTHER:123456789012".to_owned(), 99)];
    });
    project("").run(&cloud, &["destroy", "--yes"]).ends_with(0).says("1 destroyed");
    assert_eq!(cloud.count("DescribeNetworkInterfaces"), 3);
    let calls: Vec<String> = cloud.calls().into_iter().map(|it| it.operation).collect();
    let last_read = calls.iter().rposition(|it| *it == "DescribeNetworkInterfaces");
    assert!(last_read < calls.iter().position(|it| *it == "DeleteRolePolicy"), "{calls:?}");
    // Its policy may have had the permission earlier.
    let cloud = with_role("eu-central-1");
    cloud.world(|world| world.interfaces = vec![("AROAEXAMPLE:123456789012".to_owned(), 2)]);
    project("").run(&cloud, &["destroy", "--yes"]).ends_with(0);
    assert_eq!(cloud.count("DescribeNetworkInterfaces"), 3);
    // Interfaces that can't be read may be there, if the role has the permission.
    let text = "You are not authorized to perform this operation.";
    let denied = || Fault::Answer(Reply::of("DescribeNetworkInterfaces", 403, "UnauthorizedOperation", text));
    let cloud = with_role("eu-central-1");
    cloud.always("DescribeNetworkInterfaces", denied());
    project("").run(&cloud, &["destroy", "--yes"]).ends_with(0);
    let cloud = with_role("eu-central-1");
    cloud.world(|world| {
        world.roles.get_mut(RUNNER).unwrap().inline = BTreeMap::from([("engine".to_owned(), policy.to_string())]);
    });
    cloud.always("DescribeNetworkInterfaces", denied());
    project("").run(&cloud, &["destroy", "--yes"]).ends_with(1).says("ec2:DescribeNetworkInterfaces");
    assert_eq!(writes(&cloud), [""; 0]);
}

/// A step that gives up is exit code 3. Lambda may take 45 minutes.
#[tokio::test(start_paused = true)]
async fn a_role_whose_interfaces_stay_is_kept_and_the_next_destroy_deletes_it() {
    let mut world = World::empty();
    world.add_role(RUNNER, tags("blue-owls", "runner", "eu-central-1")).trust = Some(trust());
    world.interfaces = vec![("AROAEXAMPLE:123456789012".to_owned(), u32::MAX)];
    let cloud = Cloud::on_current_runtime(world).await;
    let (project, begun) = (project(""), Instant::now());
    for is_kept in [true, false] {
        let mut spec = load(&project.path("specs/team.yaml"));
        let (cx, _press) = context(&cloud, team());
        let (inventory, plan) = planned(&cx, &mut spec).await;
        let outcome = apply::apply(&cx, &spec, &inventory, &plan, 1, &mut |_| {}).await;
        let failures = failures(&outcome.endings);
        assert_eq!(failures.len(), usize::from(is_kept), "{failures:?}");
        assert!(failures.iter().all(|error| error.is(Code::WaitOverdue)), "{failures:?}");
        assert_eq!(cloud.world(|world| world.roles.contains_key(RUNNER)), is_kept);
        if is_kept {
            assert!((60..65).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
            assert_eq!(cloud.count("DeleteRole"), 0);
            cloud.world(|world| world.interfaces.clear());
        }
    }
}

/// Lambda needs the permissions for minutes after a function has left its VPC.
#[test]
fn a_role_keeps_its_permissions_for_network_interfaces_until_lambda_has_removed_them() {
    let cloud = Cloud::start(World::empty());
    let project = own_role();
    let vpc = "    vpc: { subnet_ids: [subnet-1], security_group_ids: [sg-1] }\n";
    project.edit("    code: ../", &format!("{vpc}    code: ../"));
    project.run(&cloud, &["apply", "--yes"]).ends_with(0);
    let policy = || cloud.world(|world| world.roles[IMPLIED].inline["engine"].clone());
    assert!(policy().contains("ec2:DeleteNetworkInterface"));
    cloud.world(|world| *world = world.clone().aged());
    project.edit(vpc, "    access: { todos: read }\n");
    project.run(&cloud, &["apply", "--yes"]).ends_with(0);
    assert!(policy().contains("ec2:DeleteNetworkInterface") && policy().contains("dynamodb:Query"), "{}", policy());
    // Lambda hasn't removed them yet.
    cloud.world(|world| {
        *world = world.clone().aged();
        world.interfaces = vec![(format!("{}:123456789012", world.roles[IMPLIED].id), u32::MAX)];
    });
    project.run(&cloud, &["apply", "--yes"]).ends_with(0);
    assert!(policy().contains("ec2:DeleteNetworkInterface") && policy().contains("dynamodb:Query"), "{}", policy());
    cloud.world(|world| world.interfaces.clear());
    // What can't be read may be there.
    let text = "You are not authorized to perform this operation.";
    let denied = Fault::Answer(Reply::of("DescribeNetworkInterfaces", 403, "UnauthorizedOperation", text));
    let next = cloud.count("DescribeNetworkInterfaces") + 1;
    cloud.fault("DescribeNetworkInterfaces", next..next + 1, denied);
    project.run(&cloud, &["apply", "--yes"]).ends_with(0);
    assert!(policy().contains("ec2:DeleteNetworkInterface"), "{}", policy());
    project.run(&cloud, &["diff"]).ends_with(0).says("policy.UseNetworkInterfaces");
    project.run(&cloud, &["apply", "--yes"]).ends_with(0).says("0 added, 1 changed, 0 destroyed");
    assert!(!policy().contains("ec2:") && policy().contains("dynamodb:Query"), "{}", policy());
    diff_is_empty(&project, &cloud);
}

/// The functions of the stack get the new role; those of others would stop working.
#[test]
fn a_replaced_role_takes_its_functions_along() {
    let cloud = Cloud::start(World::empty());
    let project = Project::new(|text| {
        let text = replaced(&text, &format!("import: {ROLE}"), "path: /");
        text.replace("execution-role", "runner")
    });
    project.run(&cloud, &["apply", "--yes"]).ends_with(0);
    cloud.world(|world| {
        *world = world.clone().aged();
        world.add_function("red-foxes-logger", Tags::new());
    });
    project.edit("path: /", "path: /teams/");
    let said = "`path` can't change: IAM can't change a role's path";
    project.run(&cloud, &["apply", "--yes"]).ends_with(1).complains(said);

    cloud.world(|world| {
        let role = json!(format!("arn:aws:iam::123456789012:role/{RUNNER}"));
        world.functions.get_mut("red-foxes-logger").unwrap().change_outside("Role", role);
    });
    let replace = ["apply", "--yes", "--replace", "runner"];
    cloud.forget();
    project.run(&cloud, &replace).ends_with(1).complains("it is still used by the function `red-foxes-logger`");
    assert_eq!(writes(&cloud), [""; 0]);

    cloud.world(|world| world.functions.remove("red-foxes-logger"));
    project.run(&cloud, &replace).ends_with(0).says("1 added, 1 changed, 1 destroyed");
    cloud.world(|world| {
        assert_eq!(world.roles[RUNNER].path, "/teams/");
        assert_eq!(world.functions[FUNCTION].config["Role"], format!("arn:aws:iam::123456789012:role/teams/{RUNNER}"));
        *world = world.clone().aged();
    });
    diff_is_empty(&project, &cloud);
}

#[test]
fn an_adoption_gives_a_role_the_trusted_services_of_the_spec() {
    let cloud = with_role("eu-central-1");
    cloud.world(|world| {
        let role = world.roles.get_mut(RUNNER).unwrap();
        role.tags.clear();
        role.trust = Some(trust().replace("states.", "ec2."));
    });
    let project = project("");
    project.run(&cloud, &["apply", "--yes"]).ends_with(0).says("1 adopted");
    cloud.world(|world| assert!(world.roles[RUNNER].trust.as_ref().unwrap().contains("states.amazonaws.com")));
    diff_is_empty(&project, &cloud);
}

#[test]
fn an_adoption_that_would_remove_policies_is_refused_with_the_lines_that_keep_them() {
    let cloud = with_role("eu-central-1");
    cloud.world(|world| {
        let role = world.roles.get_mut(RUNNER).unwrap();
        role.tags.clear();
        role.attached.insert(READ_ONLY.to_owned());
        role.inline.insert("by-hand".to_owned(), SES.to_owned());
    });
    let refused = project("").run(&cloud, &["apply", "--yes"]);
    refused.ends_with(1).says("managed_policy_arns: [\"arn:aws:iam::aws:policy/ReadOnlyAccess\"]");
    refused.says("ignore_changes: [inline_policies]");
    assert_eq!(writes(&cloud), [""; 0]);

    let project = project(&format!("    managed_policy_arns: [{READ_ONLY}]\n    ignore_changes: [inline_policies]\n"));
    project.run(&cloud, &["apply", "--yes"]).ends_with(0).says("1 adopted");
    assert_eq!(writes(&cloud), ["TagRole"]);
    let tags_now = cloud.world(|world| world.roles[RUNNER].tags.clone());
    assert_eq!(tags_now, tags("blue-owls", "runner", "eu-central-1"));
    diff_is_empty(&project, &cloud);
}

#[test]
fn a_refused_policy_leaves_the_role_for_the_next_run() {
    let cloud = Cloud::start(World::empty());
    let text = "Resource x must be in ARN format or \"*\".";
    let refusal = Reply::query(400, "MalformedPolicyDocument", text);
    cloud.fault("PutRolePolicy", 1..2, Fault::Answer(refusal));
    let project = own_role();
    project.run(&cloud, &["apply", "--yes"]).ends_with(3).says("MalformedPolicyDocument");
    assert!(!cloud.world(|world| world.functions.contains_key(FUNCTION)));
    project.run(&cloud, &["apply", "--yes"]).ends_with(0);
    cloud.world(|world| *world = world.clone().aged());
    diff_is_empty(&project, &cloud);
}

#[test]
fn a_released_role_loses_only_engines_tags() {
    let cloud = with_role("eu-central-1");
    cloud.world(|world| world.roles.get_mut(RUNNER).unwrap().tags.insert("course".to_owned(), "cloud".to_owned()));
    project("").run(&cloud, &["release", "runner"]).ends_with(0);
    assert_eq!(writes(&cloud), ["UntagRole"]);
    let tags = cloud.world(|world| world.roles[RUNNER].tags.clone());
    assert_eq!(tags, Tags::from([("course".to_owned(), "cloud".to_owned())]));
}

#[test]
fn an_orphaned_role_is_deleted_after_its_function_stops_using_it() {
    let world = {
        let cloud = Cloud::start(World::empty());
        own_role().run(&cloud, &["apply", "--yes"]).ends_with(0);
        cloud.world(|world| world.clone().aged())
    };
    // The function gets another role, is deleted as an orphan, or is replaced.
    let other = |text: &str| {
        replaced(text, "    code: ../", &format!("    role: arn:aws:iam::123456789012:role/{ROLE}\n    code: ../"))
    };
    let without = |text: &str| text.split("  logger:\n").next().unwrap().to_owned();
    let usual = std::fs::read_to_string(own_role().path("specs/team.yaml")).unwrap();
    for (write, text, args) in [
        ("UpdateFunctionConfiguration", other(&usual), &["apply", "--yes"][..]),
        ("DeleteFunction", without(&usual), &["apply", "--yes"]),
        ("DeleteFunction", other(&usual), &["apply", "--yes", "--replace", "logger"]),
    ] {
        let cloud = Cloud::start(world.clone());
        let project = own_role();
        project.spec(&text);
        let ran = project.run(&cloud, args);
        ran.ends_with(0).says("logger-role (role blue-owls-logger-role) will be destroyed");
        let calls = cloud.calls();
        // The plan lists them first.
        assert!(nth(&calls, write, 1) < nth(&calls, "ListInstanceProfilesForRole", 2), "{write}");
        assert!(!cloud.world(|world| world.roles.contains_key(IMPLIED)));
    }
}

/// The tag index doesn't list roles.
#[test]
fn an_orphaned_role_is_found_by_its_name() {
    for small_pages in [false, true] {
        let cloud = with_role("eu-central-1");
        cloud.world(|world| {
            world.small_pages = small_pages;
            world.add_role("blue-owls-untagged", Tags::new());
            world.add_role("blue-owls-elsewhere", tags("blue-owls", "elsewhere", "us-east-1"));
            world.add_role("blue-owlsrunner", tags("blue-owls", "other", "eu-central-1"));
            world.add_role("blue-owls-foreign", tags("red-foxes", "foreign", "eu-central-1"));
        });
        let project = project("");
        project.edit("  runner:", "  other:");
        project.run(&cloud, &["apply", "--yes"]).ends_with(0).says("1 added, 0 changed, 1 destroyed");
        let left = cloud.world(|world| world.roles.keys().cloned().collect::<Vec<_>>());
        let left: Vec<&str> = left.iter().map(String::as_str).filter(|it| it.starts_with("blue")).collect();
        assert_eq!(
            left,
            ["blue-owls-elsewhere", "blue-owls-foreign", "blue-owls-other", "blue-owls-untagged", "blue-owlsrunner"]
        );
    }
}
