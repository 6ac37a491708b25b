//! What requests contain: creates send what isn't AWS's default, updates send what differs; and
//! what happens when AWS refuses the second half of a change.

use std::fs;

use serde_json::{Value as Json, json};

use super::server::{Cloud, Fault, named};
use super::world::{ACCOUNT, ROLE, Reply, World, function_arn};
use super::{FUNCTION, Project, TABLE, deployed, diff_is_empty, is_write, nth, replaced, writes};

const HANDLER: &str = "    handler: index.handler\n";
const LAYER: &str = "arn:aws:lambda:eu-central-1:123456789012:layer:libraries:1";
const SOURCE: &str = "lambda-src/log-events/index.js";

/// The writes so far, each with the members of its request in alphabetical order, without those
/// that only identify the resource or the revision that was read.
fn members(cloud: &Cloud) -> String {
    let mut sent = cloud.sent();
    // Some are sent in parallel.
    sent.sort();
    sent.join("\n")
}

fn invalid(text: &str) -> Fault {
    Fault::Answer(Reply::lambda(400, "InvalidParameterValueException", text))
}

// Creates.

#[test]
fn a_create_sends_no_defaults() {
    let cloud = Cloud::start(World::empty());
    let project = Project::usual();
    project.run(&cloud, &["apply"]).ends_with(0);
    insta::assert_snapshot!(members(&cloud), @r"
    AddPermission Action Principal SourceArn StatementId
    CreateEventSourceMapping BatchSize EventSourceArn StartingPosition Tags
    CreateFunction Code Handler Role Runtime Tags
    CreateTable AttributeDefinitions KeySchema ProvisionedThroughput StreamSpecification Tags
    ");
    diff_is_empty(&project, &cloud);
}

#[test]
fn explicit_defaults_are_not_sent_either() {
    let cloud = Cloud::start(World::empty());
    let project = Project::usual();
    let function = "    description: ''\n    memory_size: 128\n    timeout: 3\n    environment: {}\n    architecture: x86_64\n    \
                    layers: []\n    ephemeral_storage: 512\n    tracing: PassThrough\n    log_format: Text\n    \
                    log_group: /aws/lambda/blue-owls-logger\n";
    project.edit(HANDLER, &format!("{HANDLER}{function}"));
    let table = "    table_class: STANDARD\n    deletion_protection: false\n    \
                 point_in_time_recovery: true\n    recovery_period_in_days: 35\n    read_capacity: 1\n";
    project.edit("    read_capacity: 1\n", table);
    let mapping = "    batch_size: 100\n    maximum_batching_window_in_seconds: 0\n    filters: []\n    \
                   maximum_retry_attempts: -1\n    maximum_record_age_in_seconds: -1\n    \
                   bisect_batch_on_function_error: false\n    parallelization_factor: 1\n    \
                   tumbling_window_in_seconds: 0\n    report_batch_item_failures: false\n    enabled: true\n";
    let text = fs::read_to_string(project.path("specs/team.yaml")).unwrap();
    project.spec(&format!("{text}{mapping}"));
    project.run(&cloud, &["apply"]).ends_with(0);
    let sent = cloud.sent();
    let of = |operation: &str| sent.iter().find(|it| it.starts_with(operation)).unwrap().as_str();
    assert_eq!(of("CreateFunction"), "CreateFunction Code Handler Role Runtime Tags");
    assert_eq!(
        of("CreateTable"),
        "CreateTable AttributeDefinitions KeySchema ProvisionedThroughput StreamSpecification Tags"
    );
    assert_eq!(
        of("CreateEventSourceMapping"),
        "CreateEventSourceMapping BatchSize EventSourceArn StartingPosition Tags"
    );
    let calls = cloud.calls();
    assert_eq!(
        calls[nth(&calls, "UpdateContinuousBackups", 1)].body["PointInTimeRecoverySpecification"],
        json!({ "PointInTimeRecoveryEnabled": true })
    );
    diff_is_empty(&project, &cloud);
}

#[test]
fn a_mapping_is_created_without_tags_where_aws_supports_none() {
    let text = "Unsupported resource type for tagging or invalid ARN";
    let cloud = Cloud::start(World::empty());
    cloud.fault("CreateEventSourceMapping", 1..2, invalid(text));
    let project = Project::usual();
    project.run(&cloud, &["apply"]).ends_with(0);
    let calls = cloud.calls();
    let created: Vec<_> = calls.iter().filter(|it| it.operation == "CreateEventSourceMapping").collect();
    let [refused, taken] = &created[..] else { panic!("{created:?}") };
    assert!(refused.body["Tags"].is_object() && taken.body["Tags"].is_null());
    assert!(cloud.world(|world| world.mappings[0].tags.is_empty()));
    // Only the user can give up declared tags.
    let cloud = Cloud::start(World::empty());
    cloud.always("CreateEventSourceMapping", invalid(text));
    let text = fs::read_to_string(project.path("specs/team.yaml")).unwrap();
    project.spec(&format!("{text}    tags: {{ course: cloud }}\n"));
    project.run(&cloud, &["apply"]).ends_with(3).says("Unsupported resource type for tagging");
    assert_eq!(cloud.count("CreateEventSourceMapping"), 1);
}

// Updates.

#[test]
fn an_update_reads_its_function_once_before_and_until_it_is_done() {
    let cloud = deployed();
    let project = Project::new(|text| replaced(&text, HANDLER, &format!("{HANDLER}    timeout: 10\n")));
    project.run(&cloud, &["apply"]).ends_with(0);
    let calls = cloud.calls();
    let role_needs = |it: &&super::server::RecordedCall| !super::world::IAM_READS.contains(&it.operation.as_str());
    let all: Vec<String> = calls.iter().filter(role_needs).map(named).collect();
    let write = all.iter().position(|it| it.starts_with("UpdateFunctionConfiguration")).unwrap();
    let reads = |calls: &[String]| calls.iter().filter(|it| it.starts_with("GetFunction ")).count();
    eprintln!("calls of a change of one setting: {} in all, {} of GetFunction", all.len(), reads(&all));
    // The plan's read and the one before the write; InProgress twice, then Successful.
    assert_eq!((reads(&all[..write]), reads(&all[write..])), (2, 3), "{all:?}");
    assert_eq!(members(&cloud), "UpdateFunctionConfiguration Timeout");
    diff_is_empty(&project, &cloud);
}

#[test]
fn an_update_of_one_setting_sends_only_that_setting() {
    let cloud = deployed();
    let project = Project::new(|text| {
        replaced(&text, HANDLER, &format!("{HANDLER}    environment: {{ LEVEL: debug }}\n    timeout: 10\n"))
    });
    project.run(&cloud, &["apply"]).ends_with(0);
    cloud.forget();
    project.edit("timeout: 10", "timeout: 20");
    project.run(&cloud, &["apply"]).ends_with(0);
    assert_eq!(members(&cloud), "UpdateFunctionConfiguration Timeout");
}

/// Layers and code that only fit if one changes after the other.
fn crowded(layers: &str, code: &str) -> (Cloud, Project) {
    let cloud = Cloud::start(World { max_unpacked: Some(6000), ..World::empty() });
    let project = Project::usual();
    project.edit(HANDLER, &format!("{HANDLER}    layers: {layers}\n"));
    fs::write(project.path(SOURCE), code).unwrap();
    project.run(&cloud, &["apply"]).ends_with(0);
    let aged = cloud.world(|world| world.clone()).aged();
    (Cloud::start(aged), project)
}

/// Code that barely compresses.
fn with_libraries() -> String {
    let noise = (0..2000_u64).map(|n| format!("{:x}", n.wrapping_mul(0x9E37_79B9_7F4A_7C15))).collect::<String>();
    format!("exports.handler = async () => '{}';\n", &noise[..4000])
}

const SMALL: &str = "exports.handler = async () => 1;\n";

#[test]
fn libraries_move_from_the_code_to_a_layer_and_back_in_one_apply_each() {
    let layers = format!("[\"{LAYER}\"]");
    let (cloud, project) = crowded("[]", &with_libraries());
    for (from, to, code, order) in [
        ("[]", layers.as_str(), SMALL.to_owned(), ["UpdateFunctionCode", "UpdateFunctionConfiguration"]),
        (layers.as_str(), "[]", with_libraries(), ["UpdateFunctionConfiguration", "UpdateFunctionCode"]),
    ] {
        cloud.forget();
        project.edit(&format!("layers: {from}"), &format!("layers: {to}"));
        fs::write(project.path(SOURCE), code).unwrap();
        project.run(&cloud, &["apply"]).ends_with(0);
        assert_eq!(writes(&cloud), order, "each is sent once");
        assert!(cloud.calls().iter().all(|call| !is_write(call) || call.status < 400));
        diff_is_empty(&project, &cloud);
    }
}

#[test]
fn a_call_over_the_size_limit_is_retried_after_the_other() {
    let text = "Function code combined with layers exceeds the maximum allowed size of 262144000 bytes. The actual size is \
                306440202 bytes.";
    let layers = format!("[\"{LAYER}\"]");
    let (configure, upload) = ("UpdateFunctionConfiguration", "UpdateFunctionCode");
    // Which call is first: code that shrinks is sent before a layer is added.
    for (code, first, second) in
        [(SMALL.to_owned() + "// longer\n", configure, upload), ("1;".to_owned(), upload, configure)]
    {
        let (cloud, project) = crowded("[]", SMALL);
        cloud.world(|world| world.max_unpacked = None);
        project.edit("layers: []", &format!("layers: {layers}"));
        fs::write(project.path(SOURCE), format!("{code}exports.handler = () => {{}};")).unwrap();
        if first == upload {
            fs::write(project.path(SOURCE), "exports.handler=0").unwrap();
        }
        cloud.fault(first, 1..2, invalid(text));
        project.run(&cloud, &["apply"]).ends_with(0);
        assert_eq!(writes(&cloud), [first, second, first]);
        diff_is_empty(&project, &cloud);
        // If neither order fits, engine reports the error after it has tried both.
        project.edit(&format!("layers: {layers}"), "layers: []");
        project.edit("layers: []", &format!("layers: [\"{}\"]", LAYER.replace(":1", ":2")));
        fs::write(project.path(SOURCE), format!("{}// other\n", with_libraries())).unwrap();
        cloud.forget();
        cloud.always(configure, invalid(text));
        cloud.always(upload, invalid(text));
        project.run(&cloud, &["apply"]).ends_with(1).says("the function's code is too large");
        assert_eq!(writes(&cloud), [configure, upload]);
    }
}

// Permissions.

fn policy(cloud: &Cloud) -> Vec<Json> {
    cloud.world(|world| world.functions[FUNCTION].policy.clone())
}

#[test]
fn a_permission_is_not_deleted_for_a_role_that_does_not_exist() {
    let elsewhere = format!("arn:aws:iam::{ACCOUNT}:role/wrong/path/{ROLE}");
    for (principal, why) in [
        (format!("arn:aws:iam::{ACCOUNT}:role/nobody"), "account 123456789012 has no role `nobody`"),
        (elsewhere, "has the ARN `arn:aws:iam::123456789012:role/fhms-pulumi-challenge-lambda-execution-role`"),
    ] {
        let cloud = deployed();
        let before = policy(&cloud);
        let project = Project::usual();
        project.edit("principal: dynamodb.amazonaws.com", &format!("principal: {principal}"));
        project.run(&cloud, &["apply"]).ends_with(1).says(why);
        assert_eq!(writes(&cloud), [""; 0]);
        assert_eq!(policy(&cloud), before);
    }
    // A new permission isn't retried as if IAM were still propagating the role.
    let cloud = Cloud::start(World::empty());
    cloud.always(
        "AddPermission",
        invalid("The provided principal was invalid. Please check the principal and try again."),
    );
    let project = Project::usual();
    project.edit("principal: dynamodb.amazonaws.com", &format!("principal: arn:aws:iam::{ACCOUNT}:role/nobody"));
    project.run(&cloud, &["apply"]).ends_with(3).says("has no role `nobody`");
    assert_eq!(cloud.count("AddPermission"), 1);
}

#[test]
fn a_permission_moves_from_the_function_to_its_aliases() {
    let cloud = deployed();
    cloud.world(|world| world.aliases = vec!["live", "next"]);
    let abouts = || {
        let about = |it: Json| it["Resource"].as_str().unwrap().rsplit_once(":function:").unwrap().1.to_owned();
        policy(&cloud).into_iter().map(about).collect::<Vec<_>>()
    };
    let project = Project::usual();
    project.edit("principal:", "qualifier: live\n    principal:");
    project.run(&cloud, &["diff"]).ends_with(0).says("must be replaced");
    project.run(&cloud, &["apply", "--yes"]).ends_with(0);
    assert_eq!(abouts(), [format!("{FUNCTION}:live")]);
    project.edit("qualifier: live", "qualifier: next");
    project.run(&cloud, &["apply", "--yes"]).ends_with(0);
    assert_eq!(abouts(), [format!("{FUNCTION}:next")]);
    diff_is_empty(&project, &cloud);
    // Without the line, the statement of the alias goes.
    project.edit("    qualifier: next\n", "");
    project.run(&cloud, &["diff"]).ends_with(0).says("must be replaced").says("qualifier = \"next\" -> null");
    project.run(&cloud, &["apply", "--yes"]).ends_with(0);
    assert_eq!(abouts(), [FUNCTION]);
    diff_is_empty(&project, &cloud);
    project.edit("principal:", "qualifier: next\n    principal:");
    project.run(&cloud, &["apply", "--yes"]).ends_with(0);
    assert_eq!(abouts(), [format!("{FUNCTION}:next")]);
    // engine creates no alias, so it doesn't wait for one, and the old statement is restored.
    project.edit("qualifier: next", "qualifier: missing");
    cloud.forget();
    let refused = project.run(&cloud, &["apply", "--yes"]);
    refused.ends_with(3).says("the function has no such alias or version").says("the old permission was restored");
    assert_eq!((cloud.count("AddPermission"), abouts()), (2, vec![format!("{FUNCTION}:next")]));
    // Without permission to list aliases, the former statement isn't found.
    let text = "User: X is not authorized to perform: lambda:ListAliases";
    cloud.always("ListAliases", Fault::Answer(Reply::of("ListAliases", 403, "AccessDeniedException", text)));
    project.edit("qualifier: missing", "qualifier: live");
    project.run(&cloud, &["diff"]).ends_with(0).says("Plan: 1 to add, 0 to change, 0 to destroy");
}

#[test]
fn a_removed_permission_of_an_alias_is_found_by_apply() {
    let cloud = deployed();
    cloud.world(|world| world.aliases = vec!["live"]);
    let project = Project::usual();
    project.edit("principal:", "qualifier: live\n    principal:");
    project.run(&cloud, &["apply", "--yes"]).ends_with(0);
    let block = "  logger-permission:\n    type: permission\n    function: ${logger.arn}\n    qualifier: live\n    \
                 principal: dynamodb.amazonaws.com\n    source_arn: ${todos.stream_arn}\n";
    project.edit(block, "");
    // The policy of an alias takes more calls than a usual comparison makes.
    diff_is_empty(&project, &cloud);
    project.run(&cloud, &["diff", "--prune-scan"]).ends_with(0).says("0 to add, 0 to change, 1 to destroy");
    project.run(&cloud, &["apply", "--yes"]).ends_with(0);
    assert_eq!(policy(&cloud).len(), 0);
    cloud.forget();
    project.run(&cloud, &["apply"]).ends_with(0).says("No changes.");
    // What can't be listed is not declared, so it doesn't end the run.
    let text = "User: X is not authorized to perform: lambda:ListAliases";
    cloud.always("ListAliases", Fault::Answer(Reply::of("ListAliases", 403, "AccessDeniedException", text)));
    project.run(&cloud, &["apply"]).ends_with(0).says("No changes.");
}

#[test]
fn a_role_that_can_not_be_read_is_left_for_aws_to_validate() {
    let cloud = deployed();
    let project = Project::usual();
    project.edit("principal: dynamodb.amazonaws.com", &format!("principal: arn:aws:iam::{ACCOUNT}:role/caller"));
    let denied = Reply::query(403, "AccessDenied", "User: X is not authorized to perform: iam:GetRole");
    // The first read is the execution role's.
    cloud.fault("GetRole", 2..9, Fault::Answer(denied));
    project.run(&cloud, &["apply"]).ends_with(0);
    assert_eq!(writes(&cloud), ["RemovePermission", "AddPermission"]);
}

#[test]
fn an_apply_policy_allows_reading_the_roles_that_permissions_name() {
    let cloud = Cloud::start(World::empty());
    let project = Project::usual();
    let args = ["policy", "--for", "apply", "--account", ACCOUNT];
    assert!(!project.run(&cloud, &args).ends_with(0).out.contains("OptionalPrincipals"));
    let role = format!("arn:aws:iam::{ACCOUNT}:role/callers/caller");
    project.edit("principal: dynamodb.amazonaws.com", &format!("principal: {role}"));
    project.run(&cloud, &args).ends_with(0).says("\"OptionalPrincipals\"").says(&role);
    // Engine doesn't read the roles of another account.
    project.edit(ACCOUNT, "210987654321");
    assert!(!project.run(&cloud, &args).ends_with(0).out.contains("OptionalPrincipals"));
}

#[test]
fn a_permission_is_restored_if_its_successor_is_refused() {
    let refused = "The final policy size (20500) is bigger than the limit (20480).";
    let too_large = || Fault::Answer(Reply::lambda(400, "PolicyLengthExceededException", refused));
    let cloud = deployed();
    let before = policy(&cloud);
    let project = Project::usual();
    project.edit("principal: dynamodb.amazonaws.com", "principal: sns.amazonaws.com");
    cloud.fault("AddPermission", 1..2, too_large());
    project
        .run(&cloud, &["apply"])
        .ends_with(3)
        .says(refused)
        .says("the old permission was restored and works as before");
    assert_eq!(writes(&cloud), ["RemovePermission", "AddPermission", "AddPermission"]);
    assert_eq!(policy(&cloud), before);
    cloud.forget();
    project.run(&cloud, &["apply"]).ends_with(0);
    diff_is_empty(&project, &cloud);

    // AWS now refuses the old permission, too.
    project.edit("principal: sns.amazonaws.com", "principal: dynamodb.amazonaws.com");
    cloud.forget();
    cloud.always("AddPermission", too_large());
    let words =
        format!("the old permission was deleted, and restoring it failed, too: {}", refused.trim_end_matches('.'));
    project.run(&cloud, &["apply"]).ends_with(3).says(&words);
    assert_eq!(policy(&cloud), [Json::Null; 0]);
    cloud.forget();
    project.run(&cloud, &["apply"]).ends_with(0);
    diff_is_empty(&project, &cloud);
}

#[test]
fn only_expressible_statements_deleted_by_this_run_are_restored() {
    let refused =
        || Fault::Answer(Reply::lambda(400, "PolicyLengthExceededException", "The final policy size is too big."));
    let project = Project::usual();
    project.edit("principal: dynamodb.amazonaws.com", "principal: sns.amazonaws.com");
    // Another writer has already deleted it.
    let cloud = deployed();
    cloud.before("GetPolicy", 2, |world| world.functions.get_mut(FUNCTION).unwrap().policy.clear());
    cloud.always("AddPermission", refused());
    let run = project.run(&cloud, &["apply"]);
    assert!(!run.ends_with(1).out.contains("restored"), "{}", run.out);
    assert_eq!((policy(&cloud), cloud.count("AddPermission")), (Vec::new(), 1));
    // The statement has an element that was added by hand.
    let cloud = deployed();
    cloud.world(|world| {
        let statement = &mut world.functions.get_mut(FUNCTION).unwrap().policy[0];
        statement["Condition"]["Bool"]["aws:SecureTransport"] = json!("true");
    });
    cloud.always("AddPermission", refused());
    project
        .run(&cloud, &["apply"])
        .ends_with(3)
        .says("AddPermission doesn't support all elements of the old statement");
    assert_eq!(cloud.count("AddPermission"), 1);
    // It is unknown whether AWS accepted the new statement.
    let cloud = deployed();
    cloud.always("AddPermission", Fault::Answer(Reply::lambda(500, "ServiceException", "oops")));
    let run = project.run(&cloud, &["apply"]);
    assert!(!run.ends_with(3).out.contains("restored"), "{}", run.out);
    // Another run has created a different statement.
    let cloud = deployed();
    cloud.before("AddPermission", 1, |world| {
        let mut statement = json!({ "Sid": "blue-owls-logger-permission", "Effect": "Allow", "Action": "lambda:*" });
        statement["Resource"] = json!(function_arn(FUNCTION));
        world.functions.get_mut(FUNCTION).unwrap().policy.push(statement);
    });
    let run = project.run(&cloud, &["apply"]);
    assert!(!run.ends_with(3).out.contains("restored"), "{}", run.out);
    assert_eq!(policy(&cloud)[0]["Action"], "lambda:*");
}

// Streams that are turned off during a run.

fn switch_off(world: &mut World) {
    world.have_changed(TABLE, &json!({ "StreamSpecification": { "StreamEnabled": false } }));
}

#[test]
fn a_stream_turned_off_during_a_run_is_not_waited_for() {
    let why = "the table's stream is turned off";
    // Between the creates of the table and of the mapping.
    let cloud = deployed();
    cloud.world(|world| world.mappings.clear());
    cloud.before("CreateEventSourceMapping", 1, switch_off);
    let run = Project::usual().run(&cloud, &["apply"]);
    run.ends_with(1).says("Stream not found").says(why);
    assert_eq!(cloud.count("CreateEventSourceMapping"), 2, "two reads of the table decide");
    assert!(run.took.as_secs() < 10, "{:?}", run.took);
    // While the mapping is Creating, which then never ends.
    let cloud = deployed();
    cloud.world(|world| world.mappings.clear());
    cloud.before("GetEventSourceMapping", 1, |world| {
        switch_off(world);
        world.mappings[0].pass_through(&["Creating"; 200], true);
    });
    let run = Project::usual().run(&cloud, &["apply"]);
    run.ends_with(3).says("its stream gets no new records any more").says(why);
    assert!(run.took.as_secs() < 10, "{:?}", run.took);
}

// Several teams.

#[test]
fn teams_share_one_read_of_the_identity_and_the_role() {
    let cloud = Cloud::start(World::empty());
    let project = Project::usual();
    fs::write(project.path("teams.txt"), "acme\nblue-owls\nred-foxes\n").unwrap();
    project.run(&cloud, &["diff", "--teams", "teams.txt"]).ends_with(0);
    assert_eq!((cloud.count("GetCallerIdentity"), cloud.count("GetRole")), (1, 1));
    assert_eq!(cloud.count("GetFunction"), 3, "what differs is asked for each");
    // A failure of one team's read fails all teams, and each command tries again.
    cloud.forget();
    let denied = Reply::query(403, "AccessDenied", "User: X is not authorized to perform: iam:GetRole");
    cloud.fault("GetRole", 1..2, Fault::Answer(denied));
    project.run(&cloud, &["diff", "--teams", "teams.txt"]).ends_with(1).complains("iam:GetRole").complains_once();
    assert_eq!(cloud.count("GetRole"), 1);
}
