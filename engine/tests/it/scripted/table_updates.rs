//! The requests that a table update sends, with their order and content. Like the real AWS, the
//! scripted one refuses combined concerns, changes without an effect, and changes that come too
//! early.

use std::collections::BTreeMap;
use std::sync::Mutex;

use engine::aws::{Access, Overrides};
use engine::kinds::all;
use engine::schema::{AwsEnv, Id, Owner};
use insta::assert_snapshot;
use serde_json::{Value as Json, json};

use super::library::{context, team};
use super::server::{Cloud, Fault, RecordedCall};
use super::world::{ACCOUNT, REGION, Reply, World};
use super::{Project, TABLE, diff_is_empty, is_write};

/// A spec with one table that has these properties, one per line.
fn spec(properties: &str) -> String {
    let lines = properties.lines().map(|line| format!("    {}\n", line.trim_end())).collect::<String>();
    format!("team: blue-owls\nregion: eu-central-1\nresources:\n  todos:\n    type: table\n{lines}")
}

/// An account in which the table was created long ago.
fn aged_account(project: &Project, properties: &str) -> Cloud {
    static WORLDS: Mutex<BTreeMap<String, World>> = Mutex::new(BTreeMap::new());
    project.spec(&spec(properties));
    let known = WORLDS.lock().unwrap().get(properties).cloned();
    if let Some(world) = known {
        return Cloud::start(world);
    }
    let cloud = Cloud::start(World::empty());
    project.run(&cloud, &["apply"]).ends_with(0);
    skip_cooldowns(&cloud);
    WORLDS.lock().unwrap().insert(properties.to_owned(), cloud.world(|world| world.clone()));
    cloud
}

/// Skips the hours in which AWS accepts no second change.
fn skip_cooldowns(cloud: &Cloud) {
    cloud.world(|world| *world = world.clone().aged());
    cloud.forget();
}

/// The writes, one per line, without the fields that all of them have.
fn sent(cloud: &Cloud) -> String {
    let line = |call: &RecordedCall| {
        let mut body = call.body.clone();
        let fields = body.as_object_mut().unwrap();
        fields.retain(|name, _| !["TableName", "ResourceArn"].contains(&name.as_str()));
        if let Some(tags) = fields.get_mut("Tags").and_then(Json::as_array_mut) {
            tags.sort_by_key(ToString::to_string);
        }
        format!("{} {}", call.operation, Json::from(fields.clone()))
    };
    cloud.calls().iter().filter(|call| is_write(call)).map(line).collect::<Vec<_>>().join("\n")
}

/// Returns what the change from one table to another sends. Afterwards nothing is left to change.
#[track_caller]
fn change(before: &str, after: &str) -> String {
    let project = Project::usual();
    let cloud = aged_account(&project, before);
    project.spec(&spec(after));
    project.run(&cloud, &["apply", "--yes"]).ends_with(0);
    assert!(cloud.calls().iter().all(|call| call.status == 200), "nothing is sent too early");
    assert!(!cloud.world(|world| world.tables[TABLE].is_active_and_busy()), "it ends when all is done");
    let sent = sent(&cloud);
    diff_is_empty(&project, &cloud);
    sent
}

/// Several such changes in parallel, each with a label.
#[track_caller]
fn changes<const N: usize>(cases: [(&str, &str, &str); N]) -> String {
    std::thread::scope(|scope| {
        let sent = cases.map(|(what, before, after)| (what, scope.spawn(move || change(before, after))));
        sent.map(|(what, sent)| format!("{what}:\n{}", sent.join().unwrap())).join("\n")
    })
}

const PLAIN: &str = "attributes: { id: S }\nhash_key: id\nread_capacity: 1\nwrite_capacity: 1\n";
const KEY: &str = "arn:aws:kms:eu-central-1:123456789012:key/11111111-1111-1111-1111-111111111111";

fn plain(more: &str) -> String {
    format!("{PLAIN}{more}")
}

/// With the attributes of two indexes.
fn indexed(more: &str) -> String {
    let provisioned = PLAIN.replace("{ id: S }", "{ id: S, owner: S, due: N }");
    format!("{provisioned}{more}")
}

const TWO_INDEXES: &str = "global_secondary_indexes:
  by-due: { hash_key: due, projection_type: KEYS_ONLY, read_capacity: 2 }
  by-owner: { hash_key: owner, range_key: due }
";

#[test]
fn a_new_table_gets_the_remaining_settings_once_it_is_active() {
    let project = Project::usual();
    let cloud = Cloud::start(World::empty());
    project.spec(&spec(&format!(
        "attributes: {{ id: S, at: N, owner: S, due: N }}\nhash_key: id\nrange_key: at\nread_capacity: 1\nwrite_capacity: 1\n\
         stream_view_type: KEYS_ONLY\nttl_attribute: expires\npoint_in_time_recovery: true\nrecovery_period_in_days: 7\n\
         deletion_protection: true\ntable_class: STANDARD_INFREQUENT_ACCESS\nkms_key_arn: {KEY}\n\
         local_secondary_indexes:\n  by-due: {{ range_key: due, projection_type: INCLUDE, non_key_attributes: [b, a] }}\n\
         global_secondary_indexes:\n  by-owner: {{ hash_key: [owner, id], range_key: [due, at], write_capacity: 3 }}\n"
    )));
    project.run(&cloud, &["apply"]).ends_with(0);
    let said = sent(&cloud).replace("},{", "},\n  {").replace("],\"", "],\n  \"");
    diff_is_empty(&project, &cloud);
    assert_snapshot!(said);
    // CREATING twice, then ACTIVE: nothing that needs an ACTIVE table is sent before.
    let calls = cloud.calls();
    let place = |operation: &str| calls.iter().position(|call| call.operation == operation).unwrap();
    let describes = calls[place("CreateTable")..place("UpdateContinuousBackups")].iter();
    assert_eq!(describes.filter(|call| call.operation == "DescribeTable").count(), 3);
}

#[test]
fn capacity_updates_cover_differences_or_all_on_a_mode_change() {
    let table = indexed(TWO_INDEXES);
    let on_demand = table.replace(", read_capacity: 2", "");
    let on_demand = on_demand.replace("read_capacity: 1\nwrite_capacity: 1", "billing_mode: PAY_PER_REQUEST");
    assert_snapshot!(changes([
        ("of the table", PLAIN, &PLAIN.replace("read_capacity: 1", "read_capacity: 2")),
        ("of an index", &table, &table.replace("read_capacity: 2", "read_capacity: 5")),
        ("on demand", &table, &on_demand),
        ("provisioned", &on_demand, &table),
        // The deleted index gets no capacity, and the new one is created in the new mode.
        ("provisioned, with another index", &on_demand, &table.replace("by-due:", "by-day:")),
    ]), @r#"
    of the table:
    UpdateTable {"ProvisionedThroughput":{"ReadCapacityUnits":2,"WriteCapacityUnits":1}}
    of an index:
    UpdateTable {"GlobalSecondaryIndexUpdates":[{"Update":{"IndexName":"by-due","ProvisionedThroughput":{"ReadCapacityUnits":5,"WriteCapacityUnits":1}}}]}
    on demand:
    UpdateTable {"BillingMode":"PAY_PER_REQUEST"}
    provisioned:
    UpdateTable {"BillingMode":"PROVISIONED","ProvisionedThroughput":{"ReadCapacityUnits":1,"WriteCapacityUnits":1},"GlobalSecondaryIndexUpdates":[{"Update":{"IndexName":"by-due","ProvisionedThroughput":{"ReadCapacityUnits":2,"WriteCapacityUnits":1}}},{"Update":{"IndexName":"by-owner","ProvisionedThroughput":{"ReadCapacityUnits":1,"WriteCapacityUnits":1}}}]}
    provisioned, with another index:
    UpdateTable {"GlobalSecondaryIndexUpdates":[{"Delete":{"IndexName":"by-due"}}]}
    UpdateTable {"BillingMode":"PROVISIONED","ProvisionedThroughput":{"ReadCapacityUnits":1,"WriteCapacityUnits":1},"GlobalSecondaryIndexUpdates":[{"Update":{"IndexName":"by-owner","ProvisionedThroughput":{"ReadCapacityUnits":1,"WriteCapacityUnits":1}}}]}
    UpdateTable {"AttributeDefinitions":[{"AttributeName":"due","AttributeType":"N"},{"AttributeName":"id","AttributeType":"S"},{"AttributeName":"owner","AttributeType":"S"}],"GlobalSecondaryIndexUpdates":[{"Create":{"IndexName":"by-day","KeySchema":[{"AttributeName":"due","KeyType":"HASH"}],"Projection":{"ProjectionType":"KEYS_ONLY"},"ProvisionedThroughput":{"ReadCapacityUnits":2,"WriteCapacityUnits":1}}}]}
    "#);
}

#[test]
fn indexes_are_created_and_deleted_one_at_a_time() {
    let one = indexed("global_secondary_indexes: { by-owner: { hash_key: owner, range_key: due } }\n");
    assert_snapshot!(changes([
        ("two come", PLAIN, &indexed(TWO_INDEXES)),
        ("one goes", &indexed(TWO_INDEXES), &one),
        ("the last goes", &one, PLAIN),
    ]), @r#"
    two come:
    UpdateTable {"AttributeDefinitions":[{"AttributeName":"due","AttributeType":"N"},{"AttributeName":"id","AttributeType":"S"}],"GlobalSecondaryIndexUpdates":[{"Create":{"IndexName":"by-due","KeySchema":[{"AttributeName":"due","KeyType":"HASH"}],"Projection":{"ProjectionType":"KEYS_ONLY"},"ProvisionedThroughput":{"ReadCapacityUnits":2,"WriteCapacityUnits":1}}}]}
    UpdateTable {"AttributeDefinitions":[{"AttributeName":"due","AttributeType":"N"},{"AttributeName":"id","AttributeType":"S"},{"AttributeName":"owner","AttributeType":"S"}],"GlobalSecondaryIndexUpdates":[{"Create":{"IndexName":"by-owner","KeySchema":[{"AttributeName":"owner","KeyType":"HASH"},{"AttributeName":"due","KeyType":"RANGE"}],"Projection":{"ProjectionType":"ALL"},"ProvisionedThroughput":{"ReadCapacityUnits":1,"WriteCapacityUnits":1}}}]}
    one goes:
    UpdateTable {"GlobalSecondaryIndexUpdates":[{"Delete":{"IndexName":"by-due"}}]}
    the last goes:
    UpdateTable {"GlobalSecondaryIndexUpdates":[{"Delete":{"IndexName":"by-owner"}}]}
    "#);
}

#[test]
fn an_index_that_aws_cant_change_is_deleted_and_re_created() {
    let one = |index: &str| indexed(&format!("global_secondary_indexes:\n  by-owner: {{ {index} }}\n"));
    let before = one("hash_key: owner, range_key: due");
    let after = one("hash_key: owner, range_key: due, projection_type: INCLUDE, non_key_attributes: [title]");
    assert_snapshot!(changes([
        ("another projection", &before, &after),
        ("another type of an attribute of its key", &before, &before.replace("due: N", "due: S")),
    ]), @r#"
    another projection:
    UpdateTable {"GlobalSecondaryIndexUpdates":[{"Delete":{"IndexName":"by-owner"}}]}
    UpdateTable {"AttributeDefinitions":[{"AttributeName":"due","AttributeType":"N"},{"AttributeName":"id","AttributeType":"S"},{"AttributeName":"owner","AttributeType":"S"}],"GlobalSecondaryIndexUpdates":[{"Create":{"IndexName":"by-owner","KeySchema":[{"AttributeName":"owner","KeyType":"HASH"},{"AttributeName":"due","KeyType":"RANGE"}],"Projection":{"ProjectionType":"INCLUDE","NonKeyAttributes":["title"]},"ProvisionedThroughput":{"ReadCapacityUnits":1,"WriteCapacityUnits":1}}}]}
    another type of an attribute of its key:
    UpdateTable {"GlobalSecondaryIndexUpdates":[{"Delete":{"IndexName":"by-owner"}}]}
    UpdateTable {"AttributeDefinitions":[{"AttributeName":"due","AttributeType":"S"},{"AttributeName":"id","AttributeType":"S"},{"AttributeName":"owner","AttributeType":"S"}],"GlobalSecondaryIndexUpdates":[{"Create":{"IndexName":"by-owner","KeySchema":[{"AttributeName":"owner","KeyType":"HASH"},{"AttributeName":"due","KeyType":"RANGE"}],"Projection":{"ProjectionType":"ALL"},"ProvisionedThroughput":{"ReadCapacityUnits":1,"WriteCapacityUnits":1}}}]}
    "#);
    let project = Project::usual();
    let cloud = aged_account(&project, &before);
    project.spec(&spec(&before.replace("due: N", "due: S")));
    let run = project.run(&cloud, &["apply"]);
    run.ends_with(1).says("the type of `due` changes: the indexes that use it are deleted and re-created");
    project.spec(&spec(&before.replace("id: S", "id: N")));
    project.run(&cloud, &["diff"]).ends_with(1).complains("`attributes.id` can't change");
    assert_eq!(sent(&cloud), "");
}

#[test]
fn a_stream_is_toggled_and_replaced_for_a_new_view_type() {
    let streaming = plain("stream_view_type: NEW_IMAGE\n");
    assert_snapshot!(changes([
        ("on", PLAIN, &streaming),
        ("off", &streaming, PLAIN),
        ("another view type", &streaming, &streaming.replace("NEW_IMAGE", "KEYS_ONLY")),
    ]), @r#"
    on:
    UpdateTable {"StreamSpecification":{"StreamEnabled":true,"StreamViewType":"NEW_IMAGE"}}
    off:
    UpdateTable {"StreamSpecification":{"StreamEnabled":false}}
    another view type:
    UpdateTable {"StreamSpecification":{"StreamEnabled":false}}
    UpdateTable {"StreamSpecification":{"StreamEnabled":true,"StreamViewType":"KEYS_ONLY"}}
    "#);
}

#[test]
fn a_time_to_live_is_toggled_and_changes_attribute_in_two_runs() {
    let (a, b) = (plain("ttl_attribute: a\n"), plain("ttl_attribute: b\n"));
    assert_snapshot!(changes([("on", PLAIN, &a), ("off", &a, PLAIN)]), @r#"
    on:
    UpdateTimeToLive {"TimeToLiveSpecification":{"Enabled":true,"AttributeName":"a"}}
    off:
    UpdateTimeToLive {"TimeToLiveSpecification":{"Enabled":false,"AttributeName":"a"}}
    "#);
    let project = Project::usual();
    let cloud = aged_account(&project, &a);
    project.spec(&spec(&b));
    let run = project.run(&cloud, &["apply", "--yes"]);
    run.ends_with(3).says("modified multiple times").says("run `engine apply` again in an hour");
    assert_snapshot!(sent(&cloud), @r#"
    UpdateTimeToLive {"TimeToLiveSpecification":{"Enabled":false,"AttributeName":"a"}}
    UpdateTimeToLive {"TimeToLiveSpecification":{"Enabled":true,"AttributeName":"b"}}
    "#);
    skip_cooldowns(&cloud);
    project.run(&cloud, &["apply", "--yes"]).ends_with(0);
    assert_snapshot!(sent(&cloud), @r#"
    UpdateTimeToLive {"TimeToLiveSpecification":{"Enabled":true,"AttributeName":"b"}}
    "#);
    diff_is_empty(&project, &cloud);
}

#[test]
fn recovery_protection_class_and_key_change_separately() {
    let restorable = plain("point_in_time_recovery: true\n");
    let protected = plain("deletion_protection: true\n");
    let encrypted = plain(&format!("kms_key_arn: {KEY}\n"));
    let seldom = plain("table_class: STANDARD_INFREQUENT_ACCESS\n");
    assert_snapshot!(changes([
        ("recovery on", PLAIN, &restorable),
        ("recovery of fewer days", &restorable, &(restorable.clone() + "recovery_period_in_days: 3\n")),
        ("recovery off", &restorable, PLAIN),
        ("protection on", PLAIN, &protected),
        ("protection off", &protected, &protected.replace("true", "false")),
        ("protection no longer mentioned", &protected, PLAIN),
        ("class", PLAIN, &seldom),
        ("class as usual", &seldom, PLAIN),
        ("key on", PLAIN, &encrypted),
        ("another key", &encrypted, &encrypted.replace("key/1", "key/2")),
        ("key off", &encrypted, PLAIN),
    ]), @r#"
    recovery on:
    UpdateContinuousBackups {"PointInTimeRecoverySpecification":{"PointInTimeRecoveryEnabled":true}}
    recovery of fewer days:
    UpdateContinuousBackups {"PointInTimeRecoverySpecification":{"PointInTimeRecoveryEnabled":true,"RecoveryPeriodInDays":3}}
    recovery off:
    UpdateContinuousBackups {"PointInTimeRecoverySpecification":{"PointInTimeRecoveryEnabled":false}}
    protection on:
    UpdateTable {"DeletionProtectionEnabled":true}
    protection off:
    UpdateTable {"DeletionProtectionEnabled":false}
    protection no longer mentioned:

    class:
    UpdateTable {"TableClass":"STANDARD_INFREQUENT_ACCESS"}
    class as usual:
    UpdateTable {"TableClass":"STANDARD"}
    key on:
    UpdateTable {"SSESpecification":{"Enabled":true,"SSEType":"KMS","KMSMasterKeyId":"arn:aws:kms:eu-central-1:123456789012:key/11111111-1111-1111-1111-111111111111"}}
    another key:
    UpdateTable {"SSESpecification":{"Enabled":true,"SSEType":"KMS","KMSMasterKeyId":"arn:aws:kms:eu-central-1:123456789012:key/21111111-1111-1111-1111-111111111111"}}
    key off:
    UpdateTable {"SSESpecification":{"Enabled":false}}
    "#);
}

#[test]
fn simultaneous_changes_are_sent_one_concern_at_a_time() {
    let before = indexed(TWO_INDEXES) + "stream_view_type: KEYS_ONLY\n";
    let after = format!(
        "attributes: {{ id: S, owner: S, day: S }}\nhash_key: id\nread_capacity: 4\nwrite_capacity: 1\n\
         global_secondary_indexes:\n  by-owner: {{ hash_key: owner }}\n  by-day: {{ hash_key: day }}\n\
         ttl_attribute: expires\npoint_in_time_recovery: true\ndeletion_protection: true\nkms_key_arn: {KEY}\n\
         table_class: STANDARD_INFREQUENT_ACCESS\ntags: {{ course: cloud }}\n"
    );
    assert_snapshot!(change(&before, &after));
}

#[test]
fn an_unreadable_setting_is_not_reported_as_unchanged() {
    let cloud = super::deployed();
    let text = "User: X is not authorized to perform: dynamodb:DescribeTimeToLive";
    cloud.always("DescribeTimeToLive", super::Fault::Answer(super::Reply::dynamodb("AccessDeniedException", text)));
    let project = super::Project::usual();
    project.run(&cloud, &["diff", "--detailed-exitcode"]).ends_with(0).says("No changes.");
    project.edit("read_capacity: 1", "read_capacity: 1\n    ttl_attribute: expires");
    let run = project.run(&cloud, &["diff", "--detailed-exitcode"]);
    run.ends_with(2).says("its `ttl_attribute` can't be read (you lack permission for DescribeTimeToLive)");
    run.says("Undecided: no changes, but 1 resource can't be fully read.");
}

#[test]
fn a_protected_table_is_not_deleted() {
    let project = Project::usual();
    let cloud = aged_account(&project, &plain("deletion_protection: true\n"));
    project.run(&cloud, &["destroy", "--yes"]).ends_with(1).complains("set `deletion_protection: false` in the spec");
    assert_eq!(cloud.count("DeleteTable"), 0);
    // Another writer may protect it between the last read and the deletion.
    let cloud = aged_account(&project, PLAIN);
    cloud.before("DeleteTable", 1, |world| {
        world.tables.get_mut(TABLE).unwrap().shown["DeletionProtectionEnabled"] = true.into();
    });
    project.run(&cloud, &["destroy", "--yes"]).ends_with(1).says("set `deletion_protection: false` in the spec");
    assert_eq!(cloud.count("DeleteTable"), 1);
}

#[test]
fn a_change_started_by_an_earlier_run_is_awaited_not_repeated() {
    let project = Project::usual();
    let encrypted = plain(&format!("kms_key_arn: {KEY}\n"));
    let one = indexed("global_secondary_indexes: { by-owner: { hash_key: owner, range_key: due } }\n");
    for (after, words, n_changes) in [
        (indexed(TWO_INDEXES), "", 2),
        (indexed(TWO_INDEXES), "the index `by-due` is being built", 2),
        (one, "the index `by-owner` is being built", 1),
        (encrypted, "its encryption is being changed", 1),
    ] {
        let cloud = aged_account(&project, PLAIN);
        project.spec(&spec(&after));
        let running = project.start(&cloud, &["apply"]);
        cloud.wait_for("UpdateTable", 1);
        running.press_ctrl_c();
        running.end().ends_with(130);
        if !words.is_empty() {
            // At first the table is UPDATING, and no read shows the change yet.
            let shows = || cloud.world(|world| world.tables[TABLE].is_active_and_busy());
            let mut looks = 0;
            while !shows() {
                project.run(&cloud, &["diff"]).ends_with(0);
                looks += 1;
                assert!(looks < 6, "{words}");
            }
            project.run(&cloud, &["diff"]).ends_with(0).says(words);
        }
        project.run(&cloud, &["apply", "--yes"]).ends_with(0);
        assert!(!cloud.world(|world| world.tables[TABLE].is_active_and_busy()), "{words}");
        diff_is_empty(&project, &cloud);
        assert_eq!(cloud.count("UpdateTable"), n_changes, "{words}");
    }
}

#[test]
fn a_lost_response_repeats_no_change() {
    let project = Project::usual();
    let cloud = aged_account(&project, PLAIN);
    for operation in ["UpdateTable", "UpdateTimeToLive", "UpdateContinuousBackups"] {
        cloud.fault(operation, 1..2, Fault::DoneButCut);
    }
    let settings = "point_in_time_recovery: true\nttl_attribute: expires\n";
    project.spec(&spec(&(indexed(TWO_INDEXES) + settings)));
    project.run(&cloud, &["apply", "--yes"]).ends_with(0);
    diff_is_empty(&project, &cloud);
}

#[test]
fn unreadable_settings_are_left_unchanged() {
    let project = Project::usual();
    let cloud = aged_account(&project, &plain("ttl_attribute: expires\npoint_in_time_recovery: true\n"));
    for operation in ["DescribeTimeToLive", "DescribeContinuousBackups"] {
        let text = format!("User: X is not authorized to perform: dynamodb:{operation}");
        cloud.always(operation, Fault::Answer(Reply::dynamodb("AccessDeniedException", &text)));
    }
    project.spec(&spec(PLAIN));
    diff_is_empty(&project, &cloud);
    project.spec(&spec(&PLAIN.replace("read_capacity: 1", "read_capacity: 2")));
    project.run(&cloud, &["apply"]).ends_with(0);
    assert_snapshot!(sent(&cloud), @r#"
    UpdateTable {"ProvisionedThroughput":{"ReadCapacityUnits":2,"WriteCapacityUnits":1}}
    "#);
    assert_eq!(cloud.world(|world| world.tables[TABLE].ttl.clone()).as_deref(), Some("expires"));
    assert_eq!(cloud.world(|world| world.tables[TABLE].recovery), Some(35));
    // What the spec declares and can't be read is reported as neither compared nor changed.
    project.spec(&spec(&PLAIN.replace("read_capacity: 1", "ttl_attribute: due\nread_capacity: 3")));
    let told = "its `ttl_attribute` can't be read (you lack permission for DescribeTimeToLive), so it is neither";
    project.run(&cloud, &["apply"]).ends_with(0).says(told);
    assert_eq!(cloud.world(|world| world.tables[TABLE].ttl.clone()).as_deref(), Some("expires"));
}

fn id(owner: &Owner, name: &str) -> Id {
    Id {
        owner: owner.clone(),
        name: name.to_owned(),
        arn: None,
        parents: Default::default(),
        env: None,
        unique_id: None,
    }
}

#[tokio::test]
async fn a_scan_finds_the_teams_tables_on_all_pages() {
    let cloud = Cloud::on_current_runtime(World { small_pages: true, ..World::empty() }).await;
    cloud.world(|world| {
        let table = World::one_table();
        for name in ["blue-owls-todos", "blue-owls_old", "blue-owls.x", "blue-owlsy", "red-foxes-todos"] {
            world.tables.insert(name.to_owned(), table.clone());
        }
    });
    let (cx, _press) = context(&cloud, Access::ReadOnly);
    let owner = Owner { team: "blue-owls".into(), stack: "team".into(), resource: "todos".into() };
    let ids = cx.provider("table").unwrap().list_by_prefix(&cx, &owner).await.unwrap();
    let nobody = Owner { resource: String::new(), ..owner };
    assert_eq!(ids, ["blue-owls-todos", "blue-owls.x", "blue-owls_old"].map(|name| id(&nobody, name)));
    assert_eq!(cx.overrides, Overrides::default());
}

#[tokio::test]
async fn a_released_table_loses_only_engines_tags() {
    let cloud = Cloud::on_current_runtime(World::empty()).await;
    let owner = Owner { team: "blue-owls".into(), stack: "team".into(), resource: "todos".into() };
    cloud.world(|world| {
        let mut table = World::one_table();
        let tags = owner.tags().map(|(key, value)| (key.to_owned(), value.to_owned()));
        table.tags.extend(tags.into_iter().chain([("course".to_owned(), "cloud".to_owned())]));
        world.tables.insert(TABLE.to_owned(), table);
    });
    let (cx, _press) = context(&cloud, team());
    let kind = cx.provider("table").unwrap();
    let id = id(&owner, TABLE);
    let live = kind.read(&cx, &id).await.unwrap().live.unwrap();
    cx.aws.guard.observe(all().get("table").unwrap().schema(), &id, &live);
    cx.aws.guard.observe_env(&AwsEnv::new(REGION, ACCOUNT));
    kind.untag(&cx, &id, live).await.unwrap();
    let tags = cloud.world(|world| world.tables[TABLE].tags.clone());
    assert_eq!(tags.into_iter().collect::<Vec<_>>(), [("course".to_owned(), "cloud".to_owned())]);
}

/// Requests select AWS's managed key by naming none, and reads show an ARN that could be any key's.
#[test]
fn the_managed_key_is_set_once_and_adoption_removes_no_key() {
    use super::{Cloud, Project, World, replaced};

    let managed = |text: String| {
        replaced(&text, "    read_capacity: 1", "    kms_key_arn: alias/aws/dynamodb\n    read_capacity: 1")
    };
    let wanted = serde_json::json!({ "Enabled": true, "SSEType": "KMS" });
    let sent = |cloud: &Cloud| {
        let calls =
            cloud.calls().into_iter().filter(|it| ["CreateTable", "UpdateTable"].contains(&it.operation.as_str()));
        calls.map(|it| it.body["SSESpecification"].clone()).collect::<Vec<_>>()
    };
    for cloud in [Cloud::start(World::empty()), super::deployed()] {
        let project = Project::new(managed);
        project.run(&cloud, &["apply", "--yes"]).ends_with(0);
        assert_eq!(sent(&cloud), std::slice::from_ref(&wanted));
        let run = project.run(&cloud, &["diff", "--detailed-exitcode", "--show-unchanged"]);
        run.ends_with(0).says("No changes.").says("`kms_key_arn` is not compared");
        cloud.forget();
        // Without an owner, the table is adopted unchanged or not at all.
        cloud.world(|world| world.tables.get_mut(super::TABLE).unwrap().tags.clear());
        Project::usual().run(&cloud, &["apply", "--yes"]).ends_with(1).complains("engine never does that");
        project.run(&cloud, &["apply", "--yes"]).ends_with(0);
        assert!(sent(&cloud).is_empty(), "{:?}", sent(&cloud));
    }
}

#[test]
fn warm_throughput_only_rises_and_aws_may_raise_it_by_itself() {
    const BEFORE: &str = "attributes: { id: S }\nhash_key: id\nbilling_mode: PAY_PER_REQUEST";
    let with = |reads: u32, writes: u32| {
        format!("{BEFORE}\nwarm_throughput: {{ read_units_per_second: {reads}, write_units_per_second: {writes} }}")
    };
    let raised = change(BEFORE, &with(15_000, 4_000));
    assert_eq!(raised, r#"UpdateTable {"WarmThroughput":{"ReadUnitsPerSecond":15000,"WriteUnitsPerSecond":4000}}"#);
    let project = Project::usual();
    let cloud = aged_account(&project, &with(15_000, 5_000));
    // AWS has raised it, and a lower value has no effect: neither is a difference.
    let grown = |field: &str, units: u32| {
        cloud.world(|world| world.tables.get_mut(TABLE).unwrap().shown["WarmThroughput"][field] = json!(units));
    };
    grown("ReadUnitsPerSecond", 20_000);
    diff_is_empty(&project, &cloud);
    project.spec(&spec(&with(12_000, 4_000)));
    let note = "`warm_throughput` is not compared: the table supports 20000 reads and 5000 writes per second, and DynamoDB \
                never lowers that";
    project.run(&cloud, &["diff", "--detailed-exitcode"]).ends_with(0).says(note);
    project.spec(&spec(BEFORE));
    diff_is_empty(&project, &cloud);
    // One value can't rise while the other one falls.
    project.spec(&spec(&with(15_000, 6_000)));
    let refused = project.run(&cloud, &["apply", "--yes"]);
    refused.ends_with(1).complains("`warm_throughput.read_units_per_second` can't change: DynamoDB never lowers it");
    project.spec(&spec(&with(20_000, 6_000)));
    project.run(&cloud, &["apply", "--yes"]).ends_with(0);
    assert_eq!(
        sent(&cloud),
        r#"UpdateTable {"WarmThroughput":{"ReadUnitsPerSecond":20000,"WriteUnitsPerSecond":6000}}"#
    );
    // A new table in its place gets what the spec declares, not what the old one had.
    project.spec(&spec(&BEFORE.replace("id", "key")));
    cloud.forget();
    project.run(&cloud, &["apply", "--yes", "--replace", "todos", "--delete-data"]).ends_with(0);
    assert!(!sent(&cloud).contains("WarmThroughput"), "{}", sent(&cloud));
}

#[test]
fn a_maximum_is_changed_apart_from_the_billing_mode_and_removed_with_it() {
    const PROVISIONED: &str = "attributes: { id: S, at: N }\nhash_key: id\nread_capacity: 1\nwrite_capacity: 1
global_secondary_indexes: { by-at: { hash_key: at } }";
    const LIMITED: &str = "attributes: { id: S, at: N }\nhash_key: id\nbilling_mode: PAY_PER_REQUEST
on_demand_throughput: { max_read_request_units: 10 }
global_secondary_indexes: { by-at: { hash_key: at, on_demand_throughput: { max_write_request_units: 5 } } }";
    let limited = [
        r#"UpdateTable {"BillingMode":"PAY_PER_REQUEST"}"#,
        r#"UpdateTable {"OnDemandThroughput":{"MaxReadRequestUnits":10,"MaxWriteRequestUnits":-1}}"#,
        r#"UpdateTable {"GlobalSecondaryIndexUpdates":[{"Update":{"IndexName":"by-at","OnDemandThroughput":{"MaxReadRequestUnits":-1,"MaxWriteRequestUnits":5}}}]}"#,
    ];
    assert_eq!(change(PROVISIONED, LIMITED), limited.join("\n"));
    let back = change(LIMITED, PROVISIONED);
    assert!(!back.contains("OnDemandThroughput") && back.lines().count() == 1, "{back}");
}
