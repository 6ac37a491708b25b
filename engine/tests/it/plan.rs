//! What a plan shows and does for every way in which spec and AWS can differ. Each test takes spec
//! text and live state, and checks the plan as a user sees it and each step's dependencies.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use engine::aws::{AwsError, Code};
use engine::inventory::{Found, Inventory};
use engine::plan::{Action, Change, Goal, Op, Options, Plan, plan};
use engine::render::remedy;
use engine::render::{self, OutputStyle, Rows};
use engine::schema::{AwsEnv, Contents, Id, Live, Milestone, Owner, Ownership, Presence, Status, Timestamps};
use engine::spec::{Depth, Spec, SpecOverrides};
use engine::value::{Tree, Value};
use insta::assert_snapshot;
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value as Json, json};

pub(crate) const PIPELINE: &str = "
team: owls
stack: main
resources:
  todos:
    type: table
    attributes: { id: S }
    hash_key: id
    read_capacity: 1
    write_capacity: 1
    stream_view_type: NEW_AND_OLD_IMAGES
  runner: { type: role, import: runner }
  logger:
    type: function
    runtime: nodejs22.x
    handler: index.handler
    role: ${runner.arn}
    code: { inline: 'exports.handler = async () => {};' }
  allow:
    type: permission
    function: ${logger.arn}
    principal: dynamodb.amazonaws.com
    source_arn: ${todos.stream_arn}
  pipe:
    type: mapping
    function: ${logger.arn}
    event_source_arn: ${todos.stream_arn}
    starting_position: TRIM_HORIZON
";

/// The pipeline as AWS reports it after an apply.
pub(crate) const DEPLOYED: &str = "
todos:
  props: { attributes: { id: S }, hash_key: id, range_key: ~, billing_mode: PROVISIONED, read_capacity: 1,
           write_capacity: 1, stream_view_type: NEW_AND_OLD_IMAGES, tags: {} }
  outputs: { arn: 'arn:aws:dynamodb:eu-central-1:123456789012:table/owls-todos', name: owls-todos,
             stream_arn: 'arn:aws:dynamodb:eu-central-1:123456789012:table/owls-todos/stream/1' }
runner:
  owner: nobody
  outputs: { arn: 'arn:aws:iam::123456789012:role/runner', name: runner }
logger:
  props: { runtime: nodejs22.x, handler: index.handler, role: 'arn:aws:iam::123456789012:role/runner',
           code_sha256: =, code_size: 99, memory_size: 128, timeout: 3, environment: {}, tags: {} }
  outputs: { arn: 'arn:aws:lambda:eu-central-1:123456789012:function:owls-logger', name: owls-logger }
allow:
  owner: inherited
  props: { action: 'lambda:InvokeFunction', principal: dynamodb.amazonaws.com,
           source_arn: 'arn:aws:dynamodb:eu-central-1:123456789012:table/owls-todos/stream/1' }
  outputs: { statement_id: owls-allow }
pipe:
  props: { event_source_arn: 'arn:aws:dynamodb:eu-central-1:123456789012:table/owls-todos/stream/1',
           starting_position: TRIM_HORIZON, batch_size: 100, enabled: true, tags: {} }
  outputs: { uuid: 11111111-1111-1111-1111-111111111111 }
";

/// One resource in AWS, as the tables in this file describe it. `=` means the value in the spec.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LiveResource {
    #[serde(default)]
    props: BTreeMap<String, serde_json::Value>,
    #[serde(default)]
    outputs: BTreeMap<String, String>,
    /// `ours` (the default), `nobody`, `inherited`, `denied`, `young`, `stack NAME`, or
    /// `team/stack/resource`.
    #[serde(default)]
    owner: Option<String>,
    /// `settled` (the default), `leaving`, `changing WORD`, `broken WORD`, `unusable WORD`.
    #[serde(default)]
    condition: Option<String>,
    #[serde(default)]
    items: Option<u64>,
    /// The resource was not read; the ARN in the spec identifies it.
    #[serde(default)]
    unread: bool,
    /// The properties that could not be read, and why.
    #[serde(default)]
    unknown: BTreeMap<String, String>,
}

fn found(inventory_of: LiveResource, declared: &engine::spec::ResourceDecl) -> Found {
    let LiveResource { props, outputs, owner, condition, items, unread, unknown } = inventory_of;
    let mut tree = Tree::new();
    for (name, value) in props {
        let value = match value {
            serde_json::Value::String(text) if text == "=" => declared.desired[&name].clone(),
            value => Value::from(value),
        };
        tree.insert(name, value);
    }
    if !declared.imported {
        // A property that a table in this file omits has the default of AWS.
        for property in declared.schema().settable().filter(|property| property.is_compared()) {
            let default = match &property.presence {
                Presence::Default(default) => Value::from(default.clone()),
                _ => Value::Null,
            };
            tree.entry(property.name.to_string()).or_insert(default);
        }
        // The source matches the package unless a table in this file overrides it.
        for (name, value) in &declared.desired {
            let property = declared.schema().property(name).filter(|it| it.is_compared());
            if property.is_some() {
                tree.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
        declared.kind.normalize(&declared.id, &mut tree);
    }
    tree.retain(|name, _| !unknown.contains_key(name));
    let unknown = unknown.into_iter().map(|(name, why)| (name.into(), why));
    let owner = match owner.as_deref() {
        None | Some("ours") => Ownership::Engine(declared.id.owner.clone()),
        Some("nobody") => Ownership::Unowned,
        Some("inherited") => Ownership::Inherited,
        Some("denied") => Ownership::Denied,
        Some("young") => {
            Ownership::NotYetReadable("the table is less than a minute old, and its tags may not be visible yet".into())
        }
        Some(other) => match (other.strip_prefix("stack "), other.split('/').collect::<Vec<_>>().as_slice()) {
            (Some(stack), _) => Ownership::CloudFormation(stack.into()),
            (None, [team, stack, resource]) => {
                Ownership::Engine(Owner { team: (*team).into(), stack: (*stack).into(), resource: (*resource).into() })
            }
            _ => panic!("no owner: {other}"),
        },
    };
    let condition = match condition.as_deref().map(|word| word.split_once(' ').unwrap_or((word, ""))) {
        None => Status::Stable,
        Some(("leaving", _)) => Status::Deleting,
        Some(("changing", word)) => Status::InTransition(word.into()),
        Some(("broken", word)) => Status::Failed(word.into()),
        Some(("unusable", word)) => Status::Unusable(word.into()),
        Some(other) => panic!("no condition: {other:?}"),
    };
    Found {
        live: Some(Live {
            props: tree,
            outputs,
            owner,
            status: condition,
            unique_id: None,
            revision: None,
            timestamps: Timestamps::default(),
            notes: Vec::new(),
            unknown: unknown.collect(),
        }),
        contents: items.map(|items| if items == 0 { Contents::Empty } else { Contents::Items(items) }),
        users: None,
        unread: unread.then(|| AwsError::own(Code::AccessDenied, "GetRole", "runner", "not authorized")),
    }
}

pub(crate) fn load(text: &str) -> Spec {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spec.yaml");
    fs::write(&path, text).unwrap();
    Spec::load(&engine::kinds::all(), &path, &SpecOverrides::default(), Depth::Full)
        .unwrap_or_else(|errors| panic!("{errors:#?}"))
}

pub(crate) fn planned(spec: &Spec, live: &str, goal: Goal, options: Options) -> Plan {
    plan(spec, &inventory_of(spec, live), goal, &options)
}

/// The inventory of AWS that `live` describes.
pub(crate) fn inventory_of(spec: &Spec, live: &str) -> Inventory {
    let inventory_of: BTreeMap<String, LiveResource> =
        if live.trim().is_empty() { BTreeMap::new() } else { serde_yaml::from_str(live).unwrap() };
    let found = inventory_of.into_iter().filter_map(|(name, inventory_of)| {
        let declared = spec.resource(&name)?;
        Some((name, found(inventory_of, declared)))
    });
    Inventory { found: found.collect(), ..Inventory::new(AwsEnv::new("eu-central-1", "123456789012")) }
}

/// The plan as its user sees it, then one line per step: its operation, and the milestones of the
/// steps that it waits for.
fn plan_of(spec: &str, live: &str) -> String {
    text_of(&planned(&load(spec), live, Goal::Present, Options::default()), false)
}

fn text_of(plan: &Plan, destroy: bool) -> String {
    let mut text =
        render::plan(plan, destroy, Rows::Noteworthy, OutputStyle { color: false, width: 100, plain: false });
    let name = |index: usize| {
        let step = &plan.steps[index];
        let verb = match step.op {
            Op::Create => "create",
            Op::Update => "update",
            Op::Delete => "delete",
            Op::Untag => "release",
            Op::Wait => "settle",
        };
        format!("{verb} {}", plan.changes[step.change].resource)
    };
    for (index, step) in plan.steps.iter().enumerate() {
        let after = step.after.iter().map(|(before, moment)| {
            let moment = if *moment == Milestone::Created { "made" } else { "ready" };
            format!("{} {moment}", name(before.0))
        });
        let after = after.collect::<Vec<_>>().join(", ");
        writeln!(text, "step: {}{}", name(index), if after.is_empty() { after } else { format!(" <- {after}") })
            .unwrap();
    }
    if plan.needs_approval() {
        text.push_str("asks\n");
    }
    text
}

/// `text` with one part replaced; fails if `text` doesn't contain the part.
pub(crate) fn with(text: &str, old: &str, new: &str) -> String {
    assert!(text.contains(old), "{old}");
    text.replace(old, new)
}

/// The deployed pipeline without some of its resources.
fn without(names: &[&str]) -> String {
    let mut live: BTreeMap<String, serde_json::Value> = serde_yaml::from_str(DEPLOYED).unwrap();
    live.retain(|name, _| !names.contains(&name.as_str()));
    serde_json::to_string(&live).unwrap()
}

#[test]
fn an_empty_account_gets_each_resource_as_early_as_possible() {
    assert_snapshot!(plan_of(PIPELINE, &without(&["todos", "logger", "allow", "pipe"])), @r#"
        + todos (table owls-todos) will be created
            + attributes       = { id: "S" }
            + hash_key         = "id"
            + read_capacity    = 1
            + write_capacity   = 1
            + stream_view_type = "NEW_AND_OLD_IMAGES"
       <= runner (role runner) is read
        + logger (function owls-logger) will be created
            + runtime = "nodejs22.x"
            + handler = "index.handler"
            + role    = "arn:aws:iam::123456789012:role/runner"
            + code    = DxKPiZHiBuq2… (147 bytes)
        + allow (permission owls-allow) will be created
            + principal  = "dynamodb.amazonaws.com"
            + source_arn = (known after apply)
        + pipe (mapping) will be created
            + event_source_arn  = (known after apply)
            + starting_position = "TRIM_HORIZON"

      Plan: 4 to add, 0 to change, 0 to destroy.
      step: create todos
      step: create logger
      step: create allow <- create todos made, create logger made
      step: create pipe <- create todos ready, create logger made
      "#);
}

#[test]
fn resources_that_match_the_spec_are_unchanged() {
    assert_snapshot!(plan_of(PIPELINE, DEPLOYED), @"No changes. Your infrastructure matches the configuration.");
    // engine doesn't change tags that the spec doesn't name.
    let tagged = with(DEPLOYED, "tags: {}", "tags: { cost: low }");
    assert_snapshot!(plan_of(PIPELINE, &tagged), @"No changes. Your infrastructure matches the configuration.");
}

#[test]
fn a_change_in_place_touches_nothing_else() {
    let spec = with(PIPELINE, "read_capacity: 1", "read_capacity: 5\n    tags: { cost: low }");
    let spec = with(
        &spec,
        "code: { inline: 'exports",
        "environment: { SECRET: swordfish, OTHER: x }\n    code: { inline: '/* new */ exports",
    );
    let live = with(DEPLOYED, "environment: {}", "environment: { OLD: x, OTHER: x }");
    let live = with(&live, "code_sha256: =", "code_sha256: abc=");
    let text = plan_of(&spec, &live);
    assert!(!text.contains("swordfish"));
    assert_snapshot!(text, @r#"
        ~ todos (table owls-todos) will be updated in-place
            ~ read_capacity = 1 -> 5
            ~ tags.cost     = null -> "low"
       <= runner (role runner) is read
        ~ logger (function owls-logger) will be updated in-place
            ~ code               = abc= (99 bytes) -> 3EPnY1Vrpez9… (157 bytes)
            ~ environment.OLD    = (sensitive) -> null
            ~ environment.SECRET = null -> (sensitive)

      Plan: 0 to add, 2 to change, 0 to destroy.
      step: update todos
      step: update logger
      "#);
}

#[test]
fn destructive_table_changes_are_explained_and_need_approval() {
    let table = |more: &str| {
        format!(
            "team: owls\nstack: main\nresources:\n  todos:\n    type: table\n    attributes: {{ id: S, a: S, b: N }}\n    \
             hash_key: id\n    billing_mode: PAY_PER_REQUEST\n{more}"
        )
    };
    let live = "todos: { props: { attributes: { id: S, a: S, b: S }, hash_key: id, range_key: ~,
        billing_mode: PAY_PER_REQUEST, read_capacity: ~, write_capacity: ~, stream_view_type: ~,
        global_secondary_indexes: {
          by-a: { hash_key: a, range_key: ~, projection_type: ALL, non_key_attributes: ~,
                  read_capacity: ~, write_capacity: ~ },
          by-b: { hash_key: b, range_key: ~, projection_type: ALL, non_key_attributes: ~,
                  read_capacity: ~, write_capacity: ~ },
          old: { hash_key: a, range_key: ~, projection_type: ALL, non_key_attributes: ~,
                 read_capacity: ~, write_capacity: ~ } },
        local_secondary_indexes: {}, ttl_attribute: old, point_in_time_recovery: true, recovery_period_in_days: 35,
        deletion_protection: true, table_class: STANDARD, kms_key_arn: 'arn:aws:kms:r:1:key/1', tags: {} } }";
    let indexes = "    global_secondary_indexes:\n      by-a: { hash_key: a, projection_type: KEYS_ONLY }\n      \
                   by-b: { hash_key: b }\n";
    assert_snapshot!(plan_of(&table(&format!("{indexes}    ttl_attribute: expires\n")), live), @r#"
          ~ todos (table owls-todos) will be updated in-place
              ~ attributes.b                                  = "S" -> "N"
              ~ global_secondary_indexes.by-a.projection_type = "ALL" -> "KEYS_ONLY"
              ~ global_secondary_indexes.old
                  { hash_key: "a", projection_type: "ALL" }
               -> null
              ~ ttl_attribute                                 = "old" -> "expires"
              ~ point_in_time_recovery                        = true -> false
              ~ recovery_period_in_days                       = 35 -> null
              ~ kms_key_arn                                   = "arn:aws:kms:r:1:key/1" -> null
              # the type of `b` changes: the indexes that use it are deleted and re-created, and queries on
                them fail until they are built
              # AWS can't change the key or the projection of an index: `by-a` is deleted and re-created,
                and queries on it fail until it is built
              # the index `old` is deleted, and queries on it will fail
              # AWS can't change the time-to-live attribute: engine turns time to live off and on again, and
                AWS can reject the second step for up to an hour; run `engine apply` again then. Items whose
                time in `expires` has passed are deleted
              # point-in-time recovery is turned off, and the table can no longer be restored to an earlier
                time
              # the table is encrypted with a key owned by AWS instead of a KMS key in the account

        Plan: 0 to add, 1 to change, 0 to destroy.
        step: update todos
        asks
        "#);
    // A shorter recovery period loses the older restore points, and another KMS key loses nothing.
    // engine doesn't change properties that it can't read.
    let kept = "    global_secondary_indexes: { old: { hash_key: a }, by-a: { hash_key: a }, by-b: { hash_key: b } }\n    \
                point_in_time_recovery: true\n    recovery_period_in_days: 7\n    kms_key_arn: arn:aws:kms:r:1:key/2\n";
    let unread = with(&with(live, "b: S }", "b: N }"), "ttl_attribute: old, ", "");
    assert_snapshot!(plan_of(&table(kept), &unread), @r#"
      ~ todos (table owls-todos) will be updated in-place
          ~ recovery_period_in_days = 35 -> 7
          ~ kms_key_arn             = "arn:aws:kms:r:1:key/1" -> "arn:aws:kms:r:1:key/2"
          # the table can no longer be restored to a time more than 7 days ago

    Plan: 0 to add, 1 to change, 0 to destroy.
    step: update todos
    asks
    "#);
}

#[test]
fn unreadable_properties_are_neither_compared_nor_changed() {
    let arn = "  outputs: { arn: 'arn:aws:lambda";
    let why = "you lack permission to use the KMS key";
    let hidden = with(DEPLOYED, arn, &format!("  unknown: {{ environment: {why} }}\n{arn}"));
    let function = "    role: ${runner.arn}\n";
    let spec = |lines: &str| with(PIPELINE, function, &format!("{function}{lines}"));
    let declared = spec("    environment: { MODE: new }\n");
    let ignored = spec("    ignore_changes: [environment]\n");
    let unowned = with(&hidden, "  unknown:", "  owner: nobody\n  unknown:");
    let replace = Options { replace: ["logger".to_owned()].into(), ..Options::default() };
    let replaced = |spec: &str| text_of(&planned(&load(spec), &hidden, Goal::Present, replace.clone()), false);
    let plans = [
        ("not declared", plan_of(PIPELINE, &hidden)),
        ("declared", plan_of(&declared, &hidden)),
        ("another change", plan_of(&spec("    environment: { MODE: new }\n    timeout: 9\n"), &hidden)),
        ("adopted, declared", plan_of(&declared, &unowned)),
        ("adopted, ignored", plan_of(&ignored, &unowned)),
        ("replaced, declared", replaced(&declared)),
        ("replaced, ignored", replaced(&ignored)),
    ];
    let texts = plans.map(|(what, plan)| format!("{what}:\n{plan}"));
    insta::assert_snapshot!("what_cannot_be_read", texts.join("\n"));
}

#[test]
fn removing_a_line_resets_to_the_default() {
    let live = with(&with(DEPLOYED, "memory_size: 128", "memory_size: 512"), "batch_size: 100", "batch_size: 7");
    assert_snapshot!(plan_of(PIPELINE, &live), @r"
     <= runner (role runner) is read
      ~ logger (function owls-logger) will be updated in-place
          ~ memory_size = 512 -> 128
      ~ pipe (mapping) will be updated in-place
          ~ batch_size = 7 -> 100

    Plan: 0 to add, 2 to change, 0 to destroy.
    step: update logger
    step: update pipe <- update logger ready
    ");
}

#[test]
fn a_new_view_type_replaces_stream_readers_after_the_table() {
    assert_snapshot!(plan_of(&with(PIPELINE, "NEW_AND_OLD_IMAGES", "KEYS_ONLY"), DEPLOYED), @r#"
      ~ todos (table owls-todos) will be updated in-place
          ~ stream_view_type = "NEW_AND_OLD_IMAGES" -> "KEYS_ONLY"
          ~ stream_arn
              "arn:aws:dynamodb:eu-central-1:123456789012:table/owls-todos/stream/1"
           -> (known after apply)
          # AWS can't change a stream's view type: engine disables the stream and enables a new one;
            writes during the switch (about ten seconds) create no records, and records that the old
            mapping has not read may be lost
     <= runner (role runner) is read
    -/+ allow (permission owls-allow) must be replaced
          ~ source_arn # forces replacement
              "arn:aws:dynamodb:eu-central-1:123456789012:table/owls-todos/stream/1"
           -> (known after apply)
          # its principal has no permission to invoke the function until it is re-created
    -/+ pipe (mapping) must be replaced
          ~ event_source_arn # forces replacement
              "arn:aws:dynamodb:eu-central-1:123456789012:table/owls-todos/stream/1"
           -> (known after apply)
          # a new mapping with TRIM_HORIZON redelivers the stream's records from the last 24 hours
          # the function is not invoked until the new mapping is Enabled

    Plan: 2 to add, 1 to change, 2 to destroy.
    step: update todos
    step: delete allow <- update todos ready
    step: create allow <- update todos ready, delete allow ready
    step: delete pipe <- update todos ready
    step: create pipe <- update todos ready, delete pipe ready
    asks
    "#);
}

#[test]
fn disabling_the_stream_needs_approval() {
    let spec = with(PIPELINE, "    stream_view_type: NEW_AND_OLD_IMAGES\n", "");
    let spec = spec.split("  allow:").next().unwrap().to_owned();
    assert_snapshot!(plan_of(&spec, DEPLOYED), @r#"
        ~ todos (table owls-todos) will be updated in-place
            ~ stream_view_type = "NEW_AND_OLD_IMAGES" -> null
            ~ stream_arn
                "arn:aws:dynamodb:eu-central-1:123456789012:table/owls-todos/stream/1"
             -> null
            # the stream is turned off; records that its mappings have not read may be lost
       <= runner (role runner) is read

      Plan: 0 to add, 1 to change, 0 to destroy.
      step: update todos
      asks
      "#);
}

#[test]
fn a_stream_recreated_by_hand_moves_the_mapping_off_the_old_one() {
    let table = "name: owls-todos,\n             stream_arn: 'arn:aws:dynamodb:eu-central-1:123456789012:table/owls-todos/stream/";
    assert_snapshot!(plan_of(PIPELINE, &with(DEPLOYED, &format!("{table}1"), &format!("{table}2"))), @r#"
     <= runner (role runner) is read
    -/+ allow (permission owls-allow) must be replaced
          ~ source_arn # forces replacement
              "arn:aws:dynamodb:eu-central-1:123456789012:table/owls-todos/stream/1"
           -> "arn:aws:dynamodb:eu-central-1:123456789012:table/owls-todos/stream/2"
          # its principal has no permission to invoke the function until it is re-created
    -/+ pipe (mapping) must be replaced
          ~ event_source_arn # forces replacement
              "arn:aws:dynamodb:eu-central-1:123456789012:table/owls-todos/stream/1"
           -> "arn:aws:dynamodb:eu-central-1:123456789012:table/owls-todos/stream/2"
          # a new mapping with TRIM_HORIZON redelivers the stream's records from the last 24 hours
          # the function is not invoked until the new mapping is Enabled

    Plan: 2 to add, 0 to change, 2 to destroy.
    step: delete allow
    step: create allow <- delete allow ready
    step: delete pipe
    step: create pipe <- delete pipe ready
    asks
    "#);
}

#[test]
fn a_failed_function_is_replaced_with_its_dependents() {
    let live = with(DEPLOYED, "logger:\n", "logger:\n  condition: broken the role vanished\n");
    assert_snapshot!(plan_of(PIPELINE, &live), @"
     <= runner (role runner) is read
    -/+ logger (function owls-logger) must be replaced
          # it failed and has to be re-created: the role vanished
          # callers will get errors until it is re-created; its versions, its aliases, its URL and all
            settings that are not in the spec are lost
    -/+ allow (permission owls-allow) must be replaced
          # it depends on `logger`, which must be replaced
          # its principal has no permission to invoke the function until it is re-created
    -/+ pipe (mapping) must be replaced
          # it depends on `logger`, which must be replaced
          # a new mapping with TRIM_HORIZON redelivers the stream's records from the last 24 hours
          # the function is not invoked until the new mapping is Enabled

    Plan: 3 to add, 0 to change, 3 to destroy.
    step: delete logger <- delete allow ready, delete pipe ready
    step: create logger <- delete logger ready
    step: delete allow
    step: create allow <- create logger made, delete allow ready
    step: delete pipe
    step: create pipe <- create logger made, delete pipe ready
    asks
    ");
}

#[test]
fn no_plan_waits_for_itself() {
    // The permission on `logger` is deleted before `logger`, `other` changes after `logger`, and
    // the permission has `other` as its source.
    let other = "  other:
    type: function
    runtime: nodejs22.x
    handler: index.handler
    role: ${runner.arn}
    timeout: 9
    environment: { NEXT: '${logger.name}' }
    code: { inline: 'exports.handler = async () => {};' }
";
    let spec = with(
        &format!("{PIPELINE}{other}"),
        "amazonaws.com\n    source_arn: ${todos.stream_arn}",
        "amazonaws.com\n    source_arn: ${other.arn}",
    );
    let live = with(DEPLOYED, "logger:\n", "logger:\n  condition: broken it failed\n");
    let inventory_of = "other:
  props: { runtime: nodejs22.x, handler: index.handler, role: 'arn:aws:iam::123456789012:role/runner',
           code_sha256: =, code_size: 99, memory_size: 128, timeout: 3, environment: { NEXT: owls-logger }, tags: {} }
";
    let text = plan_of(&spec, &format!("{live}{inventory_of}"));
    assert_snapshot!(text.lines().filter(|line| line.starts_with("step")).collect::<Vec<_>>().join("\n"), @r"
    step: delete logger <- delete allow ready, delete pipe ready
    step: create logger <- delete logger ready
    step: delete allow
    step: create allow <- create logger made, delete allow ready, update other ready
    step: delete pipe
    step: create pipe <- create logger made, delete pipe ready
    step: update other <- create logger ready
    ");
}

#[test]
fn a_mapping_deleted_by_hand_is_recreated_alone() {
    assert_snapshot!(plan_of(PIPELINE, &without(&["pipe"])), @r#"
     <= runner (role runner) is read
      + pipe (mapping) will be created
          + event_source_arn  = "arn:aws:dynamodb:eu-central-1:123456789012:table/owls-todos/stream/1"
          + starting_position = "TRIM_HORIZON"
          # a new mapping with TRIM_HORIZON redelivers the stream's records from the last 24 hours

    Plan: 1 to add, 0 to change, 0 to destroy.
    step: create pipe
    "#);
}

#[test]
fn a_tables_key_never_changes() {
    let spec = with(&with(PIPELINE, "{ id: S }", "{ key: S }"), "hash_key: id", "hash_key: key");
    assert_snapshot!(plan_of(&spec, DEPLOYED), @r#"
      ! todos (table owls-todos) is refused
          # `attributes.id` and `hash_key` can't change: DynamoDB can't change the key of an existing
            table; a new table would be empty
          # hint: undo the change in the spec, or declare a new resource under another name; to delete
                  and re-create it, add `--replace todos`
          ~ attributes.id  = "S" -> null
          ~ attributes.key = null -> "S"
          ~ hash_key       = "id" -> "key"
     <= runner (role runner) is read

    Refused: 1 resource is refused, so nothing can be applied.
    "#);
}

#[test]
fn a_plan_waits_for_resources_that_aws_is_still_changing() {
    let live = with(DEPLOYED, "todos:\n", "todos:\n  condition: changing UPDATING\n");
    let live = with(&live, "pipe:\n", "pipe:\n  condition: changing Creating\n");
    assert_snapshot!(plan_of(PIPELINE, &live), @r"
        todos (table owls-todos) is unchanged
          # AWS is still working on it (UPDATING)
        pipe (mapping) is unchanged
          # AWS is still working on it (Creating)

    No changes. Your infrastructure matches the configuration.
    step: settle todos
    step: settle pipe <- settle todos ready
    ");
    let live = with(DEPLOYED, "todos:\n", "todos:\n  condition: leaving\n");
    assert_snapshot!(plan_of(PIPELINE, &live), @r#"
      + todos (table owls-todos) will be created
          # AWS is still deleting the previous one; `apply` waits until it is deleted
          + attributes       = { id: "S" }
          + hash_key         = "id"
          + read_capacity    = 1
          + write_capacity   = 1
          + stream_view_type = "NEW_AND_OLD_IMAGES"
     <= runner (role runner) is read
    -/+ allow (permission owls-allow) must be replaced
          ~ source_arn # forces replacement
              "arn:aws:dynamodb:eu-central-1:123456789012:table/owls-todos/stream/1"
           -> (known after apply)
          # its principal has no permission to invoke the function until it is re-created
    -/+ pipe (mapping) must be replaced
          ~ event_source_arn # forces replacement
              "arn:aws:dynamodb:eu-central-1:123456789012:table/owls-todos/stream/1"
           -> (known after apply)
          # a new mapping with TRIM_HORIZON redelivers the stream's records from the last 24 hours
          # the function is not invoked until the new mapping is Enabled

    Plan: 3 to add, 0 to change, 2 to destroy.
    step: create todos
    step: delete allow <- create todos ready
    step: create allow <- create todos made, delete allow ready
    step: delete pipe <- create todos ready
    step: create pipe <- create todos ready, delete pipe ready
    asks
    "#);
    let live = with(DEPLOYED, "todos:\n", "todos:\n  condition: unusable ARCHIVED\n");
    assert_snapshot!(plan_of(PIPELINE, &live), @r"
      ! todos (table owls-todos) is refused
          # its state is ARCHIVED, in which AWS allows no changes
          # hint: fix it in the AWS console first
     <= runner (role runner) is read

    Refused: 1 resource is refused, so nothing can be applied.
    ");
}

const TABLE: &str = "
team: owls
stack: main
resources:
  todos: { type: table, attributes: { id: S }, hash_key: id, read_capacity: 1, write_capacity: 1 }
";

fn table_owned_by(owner: &str) -> String {
    format!(
        "todos:
  owner: {owner}
  props: {{ attributes: {{ id: S }}, hash_key: id, range_key: ~, billing_mode: PROVISIONED, read_capacity: 1,
           write_capacity: 1, stream_view_type: ~, tags: {{}} }}
  outputs: {{ arn: 'arn:aws:dynamodb:eu-central-1:123456789012:table/owls-todos', name: owls-todos }}
"
    )
}

#[test]
fn the_owner_decides_what_a_plan_does() {
    let owners = [
        "ours",
        "owls/main/old-name",
        "nobody",
        "foxes/main/todos",
        "owls/other/todos",
        "owls//",
        "stack legacy",
        "young",
        "denied",
    ];
    let mut all = String::new();
    let spec = load(TABLE);
    for owner in owners {
        let live = table_owned_by(owner);
        writeln!(all, "## {owner}\n{}", text_of(&planned(&spec, &live, Goal::Present, Options::default()), false))
            .unwrap();
        let live = format!("{live}  items: 0\n");
        writeln!(
            all,
            "## destroy, {owner}\n{}",
            text_of(&planned(&spec, &live, Goal::Absent, Options::default()), true)
        )
        .unwrap();
    }
    assert_snapshot!(all);
}

/// Neither `adopt: true` nor `--assume-owner` helps: only tags prove the owner.
#[test]
fn a_name_in_owns_is_adopted_only_with_consent_and_only_with_readable_tags() {
    let spec = TABLE.replace("stack: main", "stack: main\nowns: [Orders]");
    let spec = load(&with(&spec, "{ type: table,", "{ type: table, name: Orders, adopt: true,"));
    let options = || Options { assume_owner: true, ..Options::default() };
    let mut all = String::new();
    for owner in
        ["ours", "owls/main/old-name", "nobody", "foxes/main/todos", "owls/other/todos", "stack legacy", "denied"]
    {
        let live = format!("{}  items: 0\n", table_owned_by(owner));
        for (what, goal) in [("apply", Goal::Present), ("destroy", Goal::Absent), ("forget", Goal::Unmanaged)] {
            let plan = planned(&spec, &live, goal, options());
            writeln!(all, "## {what}, {owner}\n{}", text_of(&plan, goal == Goal::Absent)).unwrap();
        }
    }
    assert_snapshot!(all);
}

#[test]
fn what_is_attached_to_a_function_in_owns_with_unreadable_tags_is_kept() {
    let spec = with(PIPELINE, "stack: main", "stack: main\nowns: [Logger]");
    let spec = load(&with(&spec, "    type: function\n", "    type: function\n    name: Logger\n"));
    let live = with(DEPLOYED, "logger:\n", "logger:\n  owner: denied\n");
    let options = Options { assume_owner: true, delete_data: true, ..Options::default() };
    assert_snapshot!(text_of(&planned(&spec, &live, Goal::Absent, options), true));
}

#[test]
fn a_function_is_adopted_with_its_permissions() {
    let live = with(DEPLOYED, "logger:\n", "logger:\n  owner: nobody\n");
    assert_snapshot!(plan_of(PIPELINE, &live), @"
     <= runner (role runner) is read
      = logger (function owls-logger) will be adopted
          # if another tool still manages it, that tool will undo these changes
      = allow (permission owls-allow) will be adopted
          # if another tool still manages it, that tool will undo these changes

    Plan: 2 to adopt, 0 to add, 0 to change, 0 to destroy.
    step: update logger
    step: update allow <- update logger ready
    asks
    ");
}

#[test]
fn unreadable_tags_allow_only_harmless_changes() {
    let live = with(DEPLOYED, "todos:\n", "todos:\n  owner: denied\n");
    let live = with(&live, "logger:\n", "logger:\n  owner: denied\n  condition: broken it failed\n");
    let spec = with(PIPELINE, "read_capacity: 1", "read_capacity: 5");
    assert_snapshot!(plan_of(&spec, &live), @"
      ~ todos (table owls-todos) will be updated in-place
          ~ read_capacity = 1 -> 5
     <= runner (role runner) is read
      ! logger (function owls-logger) is refused
          # it must be replaced, but you lack permission to read its tags, so engine can't confirm that
            this stack owns it
          # hint: get permission to read its tags, or add `--assume-owner`
    note: you lack permission to read some tags, so engine only creates and updates resources whose
          names match the spec exactly; to adopt, replace or delete resources, add `--assume-owner`

    Refused: 1 resource is refused, so nothing can be applied.
    step: update todos
    ");
    let assume = Options { assume_owner: true, ..Options::default() };
    assert_snapshot!(text_of(&planned(&load(&spec), &live, Goal::Present, assume), false), @"
      ~ todos (table owls-todos) will be updated in-place
          ~ read_capacity = 1 -> 5
     <= runner (role runner) is read
    -/+ logger (function owls-logger) must be replaced
          # it failed and has to be re-created: it failed
          # callers will get errors until it is re-created; its versions, its aliases, its URL and all
            settings that are not in the spec are lost
    -/+ allow (permission owls-allow) must be replaced
          # it depends on `logger`, which must be replaced
          # its principal has no permission to invoke the function until it is re-created
    -/+ pipe (mapping) must be replaced
          # it depends on `logger`, which must be replaced
          # a new mapping with TRIM_HORIZON redelivers the stream's records from the last 24 hours
          # the function is not invoked until the new mapping is Enabled

    Plan: 3 to add, 1 to change, 3 to destroy.
    step: update todos
    step: delete logger <- delete allow ready, delete pipe ready
    step: create logger <- delete logger ready
    step: delete allow <- update todos ready
    step: create allow <- update todos ready, create logger made, delete allow ready
    step: delete pipe <- update todos ready
    step: create pipe <- update todos ready, create logger made, delete pipe ready
    asks
    ");
}

#[test]
fn the_hint_for_an_adopted_table_is_valid_in_a_spec() {
    let index = "global_secondary_indexes: { by-id: { hash_key: id, range_key: ~, projection_type: ALL,
                 non_key_attributes: ~, read_capacity: 1, write_capacity: 1 } }, tags: {}";
    let live = with(&table_owned_by("nobody"), "tags: {}", index);
    let refused = planned(&load(TABLE), &live, Goal::Present, Options::default());
    let hint = remedy::text(refused.changes[0].hint.as_ref().unwrap());
    let (_, lines) = hint.split_once('\n').unwrap();
    let (head, _) = TABLE.split_once(" { type").unwrap();
    let table = "type: table\n    attributes: { id: S }\n    hash_key: id\n    read_capacity: 1\n    write_capacity: 1";
    let keeps = format!("{head}\n    {table}\n{lines}\n");
    assert!(plan_of(&keeps, &live).contains("todos (table owls-todos) will be adopted"), "{keeps}");
}

#[test]
fn the_adoption_hint_includes_properties_that_never_change() {
    let live =
        with(&with(&table_owned_by("nobody"), "{ id: S }", "{ id: S, day: S }"), "range_key: ~", "range_key: day");
    let refused = plan_of(TABLE, &live);
    assert!(refused.contains("engine never does that"), "{refused}");
    assert!(refused.contains("    range_key: \"day\"") && !refused.contains("--replace"), "{refused}");
}

#[test]
fn adopting_never_resets() {
    let live = with(&table_owned_by("nobody"), "stream_view_type: ~", "stream_view_type: OLD_IMAGE");
    let refused = plan_of(TABLE, &live);
    assert_snapshot!(refused, @r#"
        ! todos (table owls-todos) is refused
            # adopting it would reset what the spec doesn't declare, and engine never does that
            # hint: to keep it as it is, add to `todos`:
          stream_view_type: "OLD_IMAGE"
            ~ stream_view_type = "OLD_IMAGE" -> null

      Refused: 1 resource is refused, so nothing can be applied.
      "#);
    // The edit in the hint resolves the refusal.
    let keeps = with(TABLE, "write_capacity: 1 }", "write_capacity: 1, stream_view_type: \"OLD_IMAGE\" }");
    assert!(refused.contains("stream_view_type: \"OLD_IMAGE\""));
    assert_snapshot!(plan_of(&keeps, &live), @"
      = todos (table owls-todos) will be adopted
          # if another tool still manages it, that tool will undo these changes

    Plan: 1 to adopt, 0 to add, 0 to change, 0 to destroy.
    step: update todos
    asks
    ");
    let consents = with(&keeps, "type: table", "type: table, adopt: true");
    assert!(!plan_of(&consents, &live).contains("asks"));
    // Adopting a resource also applies a declared difference.
    let changes = with(TABLE, "read_capacity: 1", "read_capacity: 3");
    assert_snapshot!(plan_of(&changes, &table_owned_by("nobody")), @"
      = todos (table owls-todos) will be adopted
          # if another tool still manages it, that tool will undo these changes
          ~ read_capacity = 1 -> 3

    Plan: 1 to adopt, 0 to add, 0 to change, 0 to destroy.
    step: update todos
    asks
    ");
}

#[test]
fn an_imported_resource_must_exist_and_match_its_arn() {
    let spec = "team: owls\nstack: main\nresources: { runner: { type: role, import: IMPORT } }";
    let by_arn = with(spec, "IMPORT", "'arn:aws:iam::123456789012:role/path/runner'");
    let live = "runner: { owner: nobody, outputs: { arn: 'arn:aws:iam::123456789012:role/runner', name: runner } }";
    assert_snapshot!(plan_of(&with(spec, "IMPORT", "runner"), ""), @r"
      ! runner (role runner) is refused
          # the role `runner` does not exist in account 123456789012
          # hint: check the name, account and region

    Refused: 1 resource is refused, so nothing can be applied.
    ");
    assert_snapshot!(plan_of(&by_arn, live), @r"
      ! runner (role runner) is refused
          # the role with that name is `arn:aws:iam::123456789012:role/runner`, not
            `arn:aws:iam::123456789012:role/path/runner`
          # hint: correct the ARN in the spec

    Refused: 1 resource is refused, so nothing can be applied.
    ");
    assert_snapshot!(plan_of(&with(spec, "IMPORT", "runner"), live), @"No changes. Your infrastructure matches the configuration.");
    let denied =
        "runner: { owner: denied, unread: true, outputs: { arn: 'arn:aws:iam::123456789012:role/path/runner' } }";
    assert_snapshot!(plan_of(&by_arn, denied), @"
     <= runner (role runner) is read
          # engine couldn't check it: GetRole of `runner`: not authorized

    No changes. Your infrastructure matches the configuration.
    ");
}

#[test]
fn destroy_deletes_dependents_first_and_keeps_unowned_resources() {
    let destroy = |live: &str, allowed| text_of(&planned(&load(PIPELINE), live, Goal::Absent, allowed), true);
    let empty = with(DEPLOYED, "todos:\n", "todos:\n  items: 0\n");
    let full = with(DEPLOYED, "todos:\n", "todos:\n  items: 3\n");
    assert_snapshot!(destroy(&empty, Options::default()), @r"
      - todos (table owls-todos) will be destroyed
          # its items and its stream are deleted too
      - logger (function owls-logger) will be destroyed
          # callers will get errors; its versions, aliases and URL are deleted too
          # its log group /aws/lambda/owls-logger is not deleted
      - allow (permission owls-allow) will be destroyed
          # its principal loses permission to invoke the function
      - pipe (mapping) will be destroyed
          # new records no longer reach the function

    Plan: 0 to add, 0 to change, 4 to destroy.
    step: delete todos <- delete allow ready, delete pipe ready
    step: delete logger <- delete allow ready, delete pipe ready
    step: delete allow
    step: delete pipe
    asks
    ");
    assert_snapshot!(destroy(&full, Options::default()), @r"
      ! todos (table owls-todos) is refused
          # it is not empty: about 3 items would be lost (AWS's count is approximate)
          # hint: to delete the items too, add `--delete-data`
      - logger (function owls-logger) will be destroyed
          # callers will get errors; its versions, aliases and URL are deleted too
          # its log group /aws/lambda/owls-logger is not deleted
      - allow (permission owls-allow) will be destroyed
          # its principal loses permission to invoke the function
      - pipe (mapping) will be destroyed
          # new records no longer reach the function

    Refused: 1 resource is refused, so nothing can be applied.
    step: delete logger <- delete allow ready, delete pipe ready
    step: delete allow
    step: delete pipe
    asks
    ");
    let delete_data = Options { delete_data: true, ..Options::default() };
    assert!(destroy(&full, delete_data).contains("4 to destroy"));
    // Resources that no longer exist, one that AWS is deleting, and a partial deployment.
    let half = with(&without(&["allow", "logger"]), "\"todos\":{", "\"todos\":{\"items\":0,");
    let half = with(&half, "\"pipe\":{", "\"pipe\":{\"condition\":\"leaving\",");
    assert_snapshot!(destroy(&half, Options::default()), @r"
      - todos (table owls-todos) will be destroyed
          # its items and its stream are deleted too
        pipe (mapping) is unchanged
          # AWS is already deleting it

    Plan: 0 to add, 0 to change, 1 to destroy.
    step: delete todos
    asks
    ");
    assert_snapshot!(destroy("", Options::default()), @"No changes. No objects need to be destroyed.");
    let foreign = with(DEPLOYED, "todos:\n", "todos:\n  owner: foxes/main/todos\n");
    let foreign = with(&foreign, "logger:\n", "logger:\n  owner: nobody\n");
    assert_snapshot!(destroy(&foreign, Options::default()), @r"
      ! todos (table owls-todos) is refused
          # it belongs to team `foxes`, stack `main`, resource `todos`
          # hint: choose another name
        logger (function owls-logger) is unchanged
          # skipped: it has no engine tags
        allow (permission owls-allow) is unchanged
          # skipped: it has no engine tags
      - pipe (mapping) will be destroyed
          # new records no longer reach the function

    Refused: 1 resource is refused, so nothing can be applied.
    step: delete pipe
    asks
    ");
}

#[test]
fn one_unknown_part_leaves_its_siblings_comparable() {
    let env = "code: { inline: 'exports";
    let spec = with(
        PIPELINE,
        env,
        &format!(
            "environment: {{ AA: 'in ${{todos.stream_arn}}!', BB: '${{todos.name}} in ${{account}}', CC: c }}\n    {env}"
        ),
    );
    let live = with(
        DEPLOYED,
        "environment: {}",
        "environment: { AA: 'in arn:aws:dynamodb:eu-central-1:123456789012:table/owls-todos/stream/1!', \
         BB: 'owls-todos in 123456789012', CC: c }",
    );
    assert!(plan_of(&spec, &live).contains("No changes."));
    assert_snapshot!(plan_of(&with(&spec, "NEW_AND_OLD_IMAGES", "KEYS_ONLY"), &live), @r#"
      ~ todos (table owls-todos) will be updated in-place
          ~ stream_view_type = "NEW_AND_OLD_IMAGES" -> "KEYS_ONLY"
          ~ stream_arn
              "arn:aws:dynamodb:eu-central-1:123456789012:table/owls-todos/stream/1"
           -> (known after apply)
          # AWS can't change a stream's view type: engine disables the stream and enables a new one;
            writes during the switch (about ten seconds) create no records, and records that the old
            mapping has not read may be lost
     <= runner (role runner) is read
      ~ logger (function owls-logger) will be updated in-place
          ~ environment.AA = (sensitive) -> (sensitive, known after apply)
    -/+ allow (permission owls-allow) must be replaced
          ~ source_arn # forces replacement
              "arn:aws:dynamodb:eu-central-1:123456789012:table/owls-todos/stream/1"
           -> (known after apply)
          # its principal has no permission to invoke the function until it is re-created
    -/+ pipe (mapping) must be replaced
          ~ event_source_arn # forces replacement
              "arn:aws:dynamodb:eu-central-1:123456789012:table/owls-todos/stream/1"
           -> (known after apply)
          # a new mapping with TRIM_HORIZON redelivers the stream's records from the last 24 hours
          # the function is not invoked until the new mapping is Enabled

    Plan: 2 to add, 2 to change, 2 to destroy.
    step: update todos
    step: update logger <- update todos ready
    step: delete allow <- update todos ready, update logger ready
    step: create allow <- update todos ready, update logger ready, delete allow ready
    step: delete pipe <- update todos ready, update logger ready
    step: create pipe <- update todos ready, update logger ready, delete pipe ready
    asks
    "#);
    // Parts of a text that is not secret are joined only when all of them are known.
    let tag = with(PIPELINE, env, &format!("tags: {{ reads: '${{todos.stream_arn}}', by: '${{team}}' }}\n    {env}"));
    assert_snapshot!(plan_of(&with(&tag, "NEW_AND_OLD_IMAGES", "KEYS_ONLY"), DEPLOYED), @r#"
      ~ todos (table owls-todos) will be updated in-place
          ~ stream_view_type = "NEW_AND_OLD_IMAGES" -> "KEYS_ONLY"
          ~ stream_arn
              "arn:aws:dynamodb:eu-central-1:123456789012:table/owls-todos/stream/1"
           -> (known after apply)
          # AWS can't change a stream's view type: engine disables the stream and enables a new one;
            writes during the switch (about ten seconds) create no records, and records that the old
            mapping has not read may be lost
     <= runner (role runner) is read
      ~ logger (function owls-logger) will be updated in-place
          ~ tags.by    = null -> "owls"
          ~ tags.reads = null -> (known after apply)
    -/+ allow (permission owls-allow) must be replaced
          ~ source_arn # forces replacement
              "arn:aws:dynamodb:eu-central-1:123456789012:table/owls-todos/stream/1"
           -> (known after apply)
          # its principal has no permission to invoke the function until it is re-created
    -/+ pipe (mapping) must be replaced
          ~ event_source_arn # forces replacement
              "arn:aws:dynamodb:eu-central-1:123456789012:table/owls-todos/stream/1"
           -> (known after apply)
          # a new mapping with TRIM_HORIZON redelivers the stream's records from the last 24 hours
          # the function is not invoked until the new mapping is Enabled

    Plan: 2 to add, 2 to change, 2 to destroy.
    step: update todos
    step: update logger <- update todos ready
    step: delete allow <- update todos ready, update logger ready
    step: create allow <- update todos ready, update logger ready, delete allow ready
    step: delete pipe <- update todos ready, update logger ready
    step: create pipe <- update todos ready, update logger ready, delete pipe ready
    asks
    "#);
}

#[test]
fn every_spec_of_the_repository_can_be_planned() {
    let specs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../specs");
    let mut all = String::new();
    for name in ["team.yaml", "examples/inline.yaml", "examples/adopt.yaml", "examples/everything.yaml"] {
        let spec = Spec::load(&engine::kinds::all(), &specs.join(name), &SpecOverrides::default(), Depth::Full)
            .unwrap_or_else(|errors| panic!("{name}: {errors:#?}"));
        assert!(spec.warnings.is_empty(), "{name}: {:?}", spec.warnings);
        let role = "execution-role: { owner: nobody, outputs: { arn: 'arn:aws:iam::123456789012:role/r', name: r } }";
        let text = text_of(&planned(&spec, role, Goal::Present, Options::default()), false);
        // Another test covers the hash of the package.
        let text = text.lines().filter(|line| !line.contains("+ code ")).collect::<Vec<_>>().join("\n");
        writeln!(all, "## {name}\n{text}\n").unwrap();
    }
    assert_snapshot!(all);
}

/// Adds a resource of the stack that no declaration matches, with `name` and with the tag of
/// `resource`.
fn orphan(spec: &Spec, inventory: &mut Inventory, like: &str, name: &str, resource: &str, owner: Option<Ownership>) {
    let declared = spec.resource(like).unwrap();
    let id = Id {
        name: name.to_owned(),
        owner: Owner { resource: resource.to_owned(), ..declared.id.owner.clone() },
        ..declared.id.clone()
    };
    let live = Live {
        props: Tree::new(),
        outputs: BTreeMap::new(),
        owner: owner.unwrap_or_else(|| Ownership::Engine(id.owner.clone())),
        status: Status::Stable,
        unique_id: None,
        revision: None,
        timestamps: Timestamps::default(),
        notes: Vec::new(),
        unknown: BTreeMap::new(),
    };
    inventory.add_orphan(spec, &declared.kind, id, live, None);
}

/// A name alone doesn't prove that a resource was an instance of another one.
#[test]
fn the_reason_of_an_orphan_is_only_what_is_certain() {
    let spec = load(
        "team: owls
vars: { on: false }
resources:
  runner: { type: role, import: runner }
  pager: { type: queue, when: { var.on: [true] } }
  pages: { type: queue, when: { var.on: [true] }, for_each: [one] }
  store: { type: queue, for_each: [orders] }
  none: { type: queue, for_each: [] }
  worker: { type: function, for_each: [orders], runtime: nodejs22.x, handler: index.handler, role: '${runner.arn}',
            code: { inline: 'exports.handler = async () => {};' }, events: { store-orders: {} } }
",
    );
    let mut inventory = inventory_of(&spec, "runner: { owner: nobody, outputs: { arn: a, name: runner } }");
    let gone = "it is no longer in the spec";
    let expected = [
        ("store-orders", "pager", "it is left out: `var.on` is not one of the values in its `when`".to_owned()),
        ("store-orders", "pager-extra", gone.to_owned()),
        (
            "store-orders",
            "pages-one",
            format!("{gone}; `pages` is left out: `var.on` is not one of the values in its `when`"),
        ),
        ("store-orders", "store", "the spec now declares `store` with `for_each`".to_owned()),
        ("store-orders", "store-archive", format!("{gone}; `for_each` of `store` doesn't have the key `archive`")),
        ("store-orders", "storehouse", gone.to_owned()),
        ("store-orders", "none-a", format!("{gone}; `for_each` of `none` doesn't have the key `a`")),
        // A queue was never an instance of a function.
        ("store-orders", "worker-a", gone.to_owned()),
        ("worker-orders", "worker-users", format!("{gone}; `for_each` of `worker` doesn't have the key `users`")),
    ];
    for (like, resource, _) in &expected {
        orphan(&spec, &mut inventory, like, &format!("owls-{resource}"), resource, None);
    }
    // What such an instance implied goes with it.
    let (like, resource) = ("store-orders-to-worker-orders", "jobs-to-worker-users");
    orphan(&spec, &mut inventory, like, "owls-jobs-to-worker-users", resource, None);
    let mapping = &mut inventory.orphans.last_mut().unwrap().declared.id;
    mapping.parents.insert("function".into(), "owls-worker-users".into());
    let plan = plan(&spec, &inventory, Goal::Present, &Options { delete_data: true, ..Options::default() });
    let reason = |resource: &str| {
        let row = plan.changes.iter().find(|it| it.resource == resource && it.action == Action::Delete);
        row.and_then(|it| it.reason.as_ref()).map(remedy::text)
    };
    let of_mapping = (like, resource, expected.last().unwrap().2.clone());
    for (_, resource, expected) in expected.iter().chain([&of_mapping]) {
        assert_eq!(reason(resource).as_ref(), Some(expected), "{resource}");
    }
}

/// The live properties of the orphan that was added last.
fn give(inventory: &mut Inventory, props: &str) {
    let live = inventory.orphans.last_mut().unwrap().found.live.as_mut().unwrap();
    let props: BTreeMap<String, serde_json::Value> = serde_yaml::from_str(props).unwrap();
    live.props = props.into_iter().map(|(name, value)| (name, Value::from(value))).collect();
}

fn queue_arn(name: &str) -> String {
    format!("arn:aws:sqs:eu-central-1:123456789012:owls-{name}")
}

#[test]
fn a_removed_resource_is_deleted_after_what_referred_to_it() {
    let spec = load(
        "team: owls
resources:
  runner: { type: role, import: runner }
  worker: { type: function, runtime: nodejs22.x, handler: index.handler, role: '${runner.arn}', log_group: '${logs.name}',
            code: { inline: 'exports.handler = async () => {};' } }
  logs: { type: log_group, name: owls-logs }
  jobs: { type: queue }
",
    );
    let role = "arn:aws:iam::123456789012:role/runner";
    let live = |worker: &str, jobs: &str| {
        let group = if worker.contains("log_group") { "" } else { "log_group: owls-logs" };
        format!(
            "runner: {{ owner: nobody, outputs: {{ arn: '{role}', name: runner }} }}
worker:
  props: {{ runtime: nodejs22.x, handler: index.handler, role: '{role}', code_sha256: =, code_size: 99, {worker} {group} }}
  outputs: {{ arn: 'arn:aws:lambda:eu-central-1:123456789012:function:owls-worker', name: owls-worker }}
logs: {{ outputs: {{ name: owls-logs }} }}
jobs: {{ props: {{ {jobs} }}, outputs: {{ name: owls-jobs }} }}
"
        )
    };
    let dead = queue_arn("dead");
    let steps = |worker: &str, jobs: &str, orphans: &[(&str, &str, String)]| {
        let mut inventory = inventory_of(&spec, &live(worker, jobs));
        for (like, name, props) in orphans {
            orphan(&spec, &mut inventory, like, name, name.rsplit('-').next().unwrap(), None);
            give(&mut inventory, props);
        }
        let options = Options { delete_data: true, ..Options::default() };
        let text = text_of(&plan(&spec, &inventory, Goal::Present, &options), false);
        let steps = text.lines().filter_map(|line| line.strip_prefix("step: ")).map(str::to_owned);
        steps.collect::<Vec<_>>().join("; ")
    };
    let queue = |props: &str| vec![("jobs", "owls-dead", props.to_owned())];
    let after = |step: &str| format!("delete dead <- {step} ready; {step}");
    // Each at the depth at which its property refers.
    for worker in [
        format!("dead_letter_target_arn: '{dead}',"),
        format!("async: {{ on_success_destination_arn: ~, on_failure_destination_arn: '{dead}' }},"),
        format!("environment: {{ DEAD: '{dead}' }},"),
    ] {
        assert_eq!(sorted(&steps(&worker, "", &queue("{}"))), sorted(&after("update worker")), "{worker}");
    }
    let redrive = format!("redrive_policy: {{ dead_letter_target_arn: '{dead}', max_receive_count: 3 }}");
    assert_eq!(sorted(&steps("", &redrive, &queue("{}"))), sorted(&after("update jobs")));
    // By name, also if the function never had another group.
    let group = ("logs", "/aws/lambda/owls-worker", "{}".to_owned());
    let moved = steps("log_group: /aws/lambda/owls-worker", "", &[group]);
    assert_eq!(sorted(&moved), sorted("delete worker <- update worker ready; update worker"));
    let former = [
        ("worker", "owls-former", format!("{{ role: '{role}', log_group: /aws/lambda/owls-group }}")),
        ("logs", "/aws/lambda/owls-group", "{}".to_owned()),
    ];
    assert_eq!(sorted(&steps("", "", &former)), sorted("delete former; delete group <- delete former ready"));
    // Two that refer to each other don't wait.
    let allow = format!("{{ redrive_allow_policy: {{ source_queue_arns: ['{}'] }} }}", queue_arn("source"));
    let both = [("jobs", "owls-dead", allow.clone()), ("jobs", "owls-source", format!("{{ {redrive} }}"))];
    assert_eq!(sorted(&steps("", "", &both)), sorted("delete dead; delete source"));
    // What a policy allows doesn't use it.
    let policy = format!("{{ policy: {{ Statement: [{{ Resource: '{dead}' }}] }} }}");
    let both = [("jobs", "owls-dead", "{}".to_owned()), ("jobs", "owls-source", policy)];
    assert_eq!(sorted(&steps("", "", &both)), sorted("delete dead; delete source"));
}

fn sorted(steps: &str) -> Vec<&str> {
    let mut steps: Vec<&str> = steps.split("; ").collect();
    steps.sort_unstable();
    steps
}

/// Queues in AWS: whether the spec still declares each, its dead-letter queue, and the sources that
/// it allows.
fn any_queues() -> impl Strategy<Value = Vec<(bool, Option<usize>, BTreeSet<usize>)>> {
    let queue = (any::<bool>(), prop::option::of(0..6_usize), prop::collection::btree_set(0..6_usize, 0..3));
    prop::collection::vec(queue, 6)
}

proptest! {
    #[test]
    fn each_deletion_waits_for_what_refers_to_it_without_a_cycle(queues in any_queues()) {
        let declared = queues.iter().enumerate().filter(|(_, (declared, ..))| *declared);
        let declared: String = declared.map(|(at, _)| format!("  q{at}: {{ type: queue }}\n")).collect();
        let spec = load(&format!("team: owls\nresources:\n  like: {{ type: queue }}\n{declared}"));
        let arn = |at: &usize| queue_arn(&format!("q{at}"));
        let props = |redrive: &Option<usize>, sources: &BTreeSet<usize>| {
            let redrive = redrive.map(|it| format!("redrive_policy: {{ dead_letter_target_arn: '{}' }}, ", arn(&it)));
            let sources: Vec<String> = sources.iter().map(arn).collect();
            format!("{}redrive_allow_policy: {{ source_queue_arns: {sources:?} }}", redrive.unwrap_or_default())
        };
        let rows = queues.iter().enumerate().filter(|(_, (declared, ..))| *declared);
        let rows: String = rows.map(|(at, (_, redrive, sources))| format!("q{at}: {{ props: {{ {} }} }}\n", props(redrive, sources))).collect();
        let mut inventory = inventory_of(&spec, &rows);
        for (at, (_, redrive, sources)) in queues.iter().enumerate().filter(|(_, (declared, ..))| !*declared) {
            orphan(&spec, &mut inventory, "like", &format!("owls-q{at}"), &format!("q{at}"), None);
            give(&mut inventory, &format!("{{ {} }}", props(redrive, sources)));
        }
        let plan = plan(&spec, &inventory, Goal::Present, &Options { delete_data: true, ..Options::default() });
        let step = |at: usize| {
            plan.steps.iter().position(|it| plan.changes[it.change].name == format!("owls-q{at}"))
        };
        let waits_for = |from: usize| {
            let (mut todo, mut seen) = (vec![from], BTreeSet::new());
            while let Some(step) = todo.pop() {
                todo.extend(plan.steps[step].after.iter().map(|(before, _)| before.0).filter(|it| seen.insert(*it)));
            }
            seen
        };
        for at in 0..plan.steps.len() {
            prop_assert!(!waits_for(at).contains(&at), "a cycle");
        }
        let refers = |from: usize, to: usize| queues[from].1 == Some(to) || queues[from].2.contains(&to);
        for (from, to) in (0..6).flat_map(|from| (0..6).map(move |to| (from, to))) {
            let (Some(referrer), Some(target)) = (step(from), step(to)) else { continue };
            if from == to || !refers(from, to) || plan.steps[target].op != Op::Delete {
                continue;
            }
            let is_mutual = refers(to, from) && plan.steps[referrer].op == Op::Delete;
            let is_ordered = waits_for(target).contains(&referrer) || waits_for(referrer).contains(&target);
            prop_assert!(is_ordered || is_mutual, "q{to} doesn't wait for q{from}");
        }
    }
}

#[test]
fn a_resource_with_a_former_name_is_deleted_only_on_request() {
    let spec = load(&with(
        PIPELINE,
        "  logger:\n    type: function\n",
        "  logger:\n    type: function\n    name: owls-prod\n",
    ));
    let rows = |deployed: bool, resource: &str, goal: Goal, options: Options| {
        let live = if deployed { DEPLOYED.to_owned() } else { without(&["logger", "allow", "pipe"]) };
        let mut inventory = inventory_of(&spec, &live);
        orphan(&spec, &mut inventory, "logger", "owls-dev", resource, None);
        let plan = plan(&spec, &inventory, goal, &options);
        let row = |subject: &dyn Fn(&Change) -> bool| plan.changes.iter().find(|it| subject(it)).cloned().unwrap();
        (row(&|it| it.name == "owls-dev"), row(&|it| it.name == "owls-prod"))
    };
    let replace = || Options { replace: ["logger".to_owned()].into(), ..Options::default() };
    for deployed in [true, false] {
        let (former, _) = rows(deployed, "logger", Goal::Present, Options::default());
        assert_eq!(former.action, Action::Refused);
        let [reason, hint] = [former.reason.unwrap(), former.hint.unwrap()].map(|it| remedy::text(&it));
        assert!(reason.contains("the spec declares `logger` under the name `owls-prod`"), "{reason}");
        assert!(hint.contains("`--replace logger`"), "{hint}");
        // Only the resource with the former name is deleted, never the one with the spec's name.
        let (former, now) = rows(deployed, "logger", Goal::Present, replace());
        assert_eq!((former.action, now.action), (Action::Delete, if deployed { Action::None } else { Action::Create }));
        // Destroying with this value of the variable keeps the resource of another value.
        let (former, now) = rows(deployed, "logger", Goal::Absent, Options::default());
        assert_eq!((former.action, now.action), (Action::None, if deployed { Action::Delete } else { Action::None }));
        let reason = remedy::text(&former.reason.unwrap());
        assert!(reason.contains("`engine destroy --team owls --stack main --region eu-central-1`"), "{reason}");
        // A resource that is no longer in the spec is deleted as usual.
        for goal in [Goal::Present, Goal::Absent] {
            assert_eq!(rows(deployed, "gone", goal, Options::default()).0.action, Action::Delete);
        }
    }
}

#[test]
fn duplicates_that_only_the_plan_can_detect_are_refused() {
    for name in ["todos", "logger", "allow", "pipe"] {
        let spec = load(PIPELINE);
        let mut resources: Vec<_> = spec.resources.iter().map(|it| (it.clone(), Vec::new())).collect();
        let (mut double, _) = resources.iter().find(|(it, _)| it.name == name).unwrap().clone();
        double.name = "double".to_owned();
        double.id.owner.resource = "double".to_owned();
        resources.push((double, vec![name.to_owned()]));
        let spec = Spec::declare(("owls", "main"), resources).unwrap();
        let plan = planned(
            &spec,
            "runner: { owner: nobody, outputs: { arn: a, name: runner } }",
            Goal::Present,
            Options::default(),
        );
        let refused: Vec<&Change> = plan.refusals().collect();
        let [row] = refused.as_slice() else { panic!("{name}: {refused:?}") };
        assert_eq!(row.resource, "double");
        assert!(
            remedy::text(row.reason.as_ref().unwrap()).contains(&format!("`{name}` declares the same")),
            "{:?}",
            row.reason
        );
    }
}

#[test]
fn ignored_properties_are_set_on_create_and_unchanged_afterwards() {
    const INDEXED: &str =
        "team: owls\nstack: main\nresources:\n  todos:\n    type: table\n    attributes: { id: S, day: S }
    hash_key: id\n    read_capacity: 1\n    write_capacity: 1\n    tags: { a.b: spec, c: spec }
    global_secondary_indexes:\n      by-day: { hash_key: day, read_capacity: 2, write_capacity: 2 }\n";
    const SCALED: &str = "todos:\n  props: { attributes: { id: S, day: S }, hash_key: id, read_capacity: 1, write_capacity: 1,
      tags: { a.b: live, c: live }, global_secondary_indexes: { by-day: { hash_key: day, range_key: ~, projection_type: ALL,
      non_key_attributes: ~, read_capacity: 7, write_capacity: 7 } } }\n  outputs: { arn: a, name: owls-todos }\n";
    let function = format!(
        "{PIPELINE}  other:\n    type: function\n    runtime: nodejs22.x\n    handler: index.handler\n    \
        role: ${{runner.arn}}\n    code: {{ inline: 'exports.handler = async () => {{}};' }}\n    \
        environment: {{ AA: spec, BB: spec, CC: spec }}\n"
    );
    let live = format!(
        "{DEPLOYED}other:\n  props: {{ runtime: nodejs22.x, handler: index.handler, \
        role: 'arn:aws:iam::123456789012:role/runner', code_sha256: other, code_size: 1, environment: {{ AA: live, BB: spec }} }}\n  \
        outputs: {{ arn: b, name: owls-other }}\n"
    );
    // The ignored properties, and the properties that still change.
    let cases: &[(&str, &str, &str, &[&str])] = &[
        (
            INDEXED,
            SCALED,
            "",
            &[
                "global_secondary_indexes.by-day.read_capacity",
                "global_secondary_indexes.by-day.write_capacity",
                "tags.a.b",
                "tags.c",
            ],
        ),
        (
            INDEXED,
            SCALED,
            "global_secondary_indexes.*.read_capacity, tags",
            &["global_secondary_indexes.by-day.write_capacity"],
        ),
        (
            INDEXED,
            SCALED,
            "global_secondary_indexes.by-day.write_capacity, tags.c",
            &["global_secondary_indexes.by-day.read_capacity", "tags.a.b"],
        ),
        (INDEXED, SCALED, "global_secondary_indexes.by-day, tags.a.b", &["tags.c"]),
        (INDEXED, SCALED, "global_secondary_indexes.*, tags.*", &[]),
        (
            INDEXED,
            SCALED,
            "global_secondary_indexes.other.read_capacity, tags",
            &["global_secondary_indexes.by-day.read_capacity", "global_secondary_indexes.by-day.write_capacity"],
        ),
        (&function, &live, "", &["code_sha256", "code_size", "environment.AA", "environment.CC"]),
        (&function, &live, "code", &["environment.AA", "environment.CC"]),
        (&function, &live, "code, environment.AA", &["environment.CC"]),
        // engine doesn't send an ignored entry that AWS doesn't have: the tool that manages it
        // omitted or removed it.
        (&function, &live, "code, environment.AA, environment.CC", &[]),
        (&function, &live, "code, environment.*", &[]),
    ];
    for (spec, live, ignored, changed) in cases {
        let spec = load(&format!("{spec}    ignore_changes: [{ignored}]\n"));
        let name = &spec.resources.last().unwrap().name;
        let row = |live: &str| {
            let plan = planned(&spec, live, Goal::Present, Options::default());
            plan.changes.into_iter().find(|it| it.resource == *name).unwrap()
        };
        let paths: Vec<String> = row(live).properties.iter().map(|it| it.path.to_string()).collect();
        assert_eq!(paths, *changed, "{ignored}");
        let desired = &row(live).desired;
        if ignored.contains("environment.CC") {
            assert_eq!(Json::from(&desired["environment"]), json!({ "AA": "live", "BB": "spec" }), "{ignored}");
        }
        // Create sets the ignored properties.
        let runner = "runner: { owner: nobody, outputs: { arn: a, name: runner } }";
        let created = row(runner);
        assert_eq!(created.action, Action::Create);
        assert_eq!(created.desired["tags"], spec.resources.last().unwrap().desired["tags"]);
        let all = if name == "other" { "environment" } else { "global_secondary_indexes" };
        assert_eq!(created.desired[all], spec.resources.last().unwrap().desired[all], "{ignored}");
        // Adopting resets no ignored property.
        let adopted = row(&live
            .replace(
                "  props: { runtime: nodejs22.x, handler: index.handler, role",
                "  owner: nobody\n  props: { runtime: nodejs22.x, handler: index.handler, role",
            )
            .replace("todos:\n  props", "todos:\n  owner: nobody\n  props"));
        if changed.is_empty() {
            assert!(matches!(adopted.action, Action::Adopt | Action::None), "{ignored}: {adopted:?}");
            assert_eq!(adopted.properties, [], "{ignored}");
        }
    }
    // A new index has no capacity in AWS yet that could stay unchanged.
    let spec = load(&format!("{INDEXED}    ignore_changes: [global_secondary_indexes.*.read_capacity, tags]\n"));
    let plan = planned(&spec, &with(SCALED, "by-day:", "by-night:"), Goal::Present, Options::default());
    let indexes = Json::from(&plan.changes[0].desired["global_secondary_indexes"]);
    assert_eq!((indexes["by-day"]["read_capacity"].as_i64(), indexes.get("by-night")), (Some(2), None));
}

#[test]
fn a_change_that_needs_an_ignored_property_is_refused() {
    let spec = with(
        PIPELINE,
        "    runtime: nodejs22.x\n",
        "    runtime: nodejs22.x\n    architecture: arm64\n    ignore_changes: [code]\n",
    );
    let plan = planned(&load(&spec), DEPLOYED, Goal::Present, Options::default());
    let row = plan.changes.iter().find(|it| it.resource == "logger").unwrap();
    assert_eq!(row.action, Action::Refused);
    assert!(
        remedy::text(row.reason.as_ref().unwrap()).contains("`architecture` only together with `code`"),
        "{:?}",
        row.reason
    );
}

/// What an event can read: its declaration, what AWS reports about it, its reference in a mapping, and
/// the properties of the mapping with some of their values.
struct EventSource {
    declared: &'static str,
    live: &'static str,
    reference: &'static str,
    is_stream: bool,
}

const EVENT_SOURCES: [EventSource; 3] = [
    EventSource {
        declared: "{ type: table, attributes: { id: S }, hash_key: id, billing_mode: PAY_PER_REQUEST, stream_view_type: \
                   KEYS_ONLY }",
        live: "",
        reference: "${source.stream_arn}",
        is_stream: true,
    },
    EventSource {
        declared: "{ type: table, import: shared-todos }",
        live: "source: { owner: nobody, outputs: { arn: 'arn:aws:dynamodb:eu-central-1:123456789012:table/shared-todos', name: \
               shared-todos, stream_arn: 'arn:aws:dynamodb:eu-central-1:123456789012:table/shared-todos/stream/1' } }",
        reference: "${source.stream_arn}",
        is_stream: true,
    },
    EventSource {
        declared: "{ type: queue, visibility_timeout_seconds: 60 }",
        live: "",
        reference: "${source.arn}",
        is_stream: false,
    },
];

/// Any lines of a mapping that its source takes; each may be missing, or have its default.
fn any_body(is_stream: bool) -> impl Strategy<Value = Vec<String>> {
    const BOTH: &[(&str, &[&str])] = &[
        ("batch_size", &["1", "7", "10"]),
        ("maximum_batching_window_in_seconds", &["0", "5"]),
        ("report_batch_item_failures", &["false", "true"]),
        ("enabled", &["true", "false"]),
        ("tags", &["{}", "{ a: b }"]),
    ];
    const OF_STREAMS: &[(&str, &[&str])] = &[
        ("starting_position", &["TRIM_HORIZON", "LATEST"]),
        ("filters", &["[]", "[{ eventName: [INSERT] }, { eventName: [REMOVE] }]"]),
        ("maximum_retry_attempts", &["-1", "3"]),
        ("maximum_record_age_in_seconds", &["-1", "60"]),
        ("bisect_batch_on_function_error", &["false", "true"]),
        ("parallelization_factor", &["1", "3"]),
        ("tumbling_window_in_seconds", &["0", "9"]),
    ];
    const OF_QUEUES: &[(&str, &[&str])] =
        &[("filters", &["[]", "[{ body: { kind: [order] } }]"]), ("maximum_concurrency", &["2", "5"])];
    let own = if is_stream { OF_STREAMS } else { OF_QUEUES };
    let lines = BOTH.iter().chain(own).map(|(name, values)| {
        prop::option::of(prop::sample::select(*values)).prop_map(move |value| value.map(|it| format!("{name}: {it}")))
    });
    lines.collect::<Vec<_>>().prop_map(|lines| lines.into_iter().flatten().collect())
}

fn any_event() -> impl Strategy<Value = (usize, Vec<String>)> {
    (0..EVENT_SOURCES.len()).prop_flat_map(|at| (Just(at), any_body(EVENT_SOURCES[at].is_stream)))
}

/// The rows of a plan without the property that implies mappings, and the number of its steps.
fn rows_of(spec: &str, live: &str) -> (Vec<(String, String, Action, String)>, usize) {
    let plan = planned(&load(spec), live, Goal::Present, Options::default());
    let row = |change: Change| {
        let mut desired = change.desired;
        desired.remove("events");
        (change.resource, change.kind.to_string(), change.action, format!("{desired:?}"))
    };
    let mut rows: Vec<_> = plan.changes.into_iter().map(row).collect();
    rows.sort();
    (rows, plan.steps.len())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// `events` of a function and the same mappings, written out, are planned the same.
    #[test]
    fn events_are_planned_like_written_mappings((at, lines) in any_event()) {
        let EventSource { declared, live, reference, is_stream } = &EVENT_SOURCES[at];
        let spec = |events: &str, mapping: &str| {
            format!(
                "team: owls\nresources:\n  source: {declared}\n  worker: {{ type: function, runtime: nodejs22.x, handler: \
                 index.handler, code: {{ inline: 'exports.handler = async () => 1;' }}{events} }}\n{mapping}"
            )
        };
        let body = lines.join(", ");
        let mut written = lines.clone();
        if *is_stream && !lines.iter().any(|it| it.starts_with("starting_position")) {
            written.push("starting_position: TRIM_HORIZON".to_owned());
        }
        written.extend(["function: '${worker.arn}'".to_owned(), format!("event_source_arn: '{reference}'")]);
        let mapping = format!("  source-to-worker: {{ type: mapping, {} }}\n", written.join(", "));
        let implied = rows_of(&spec(&format!(", events: {{ source: {{ {body} }} }}"), ""), live);
        prop_assert_eq!(&implied, &rows_of(&spec("", &mapping), live), "{}", body);
        prop_assert!(implied.0.iter().any(|row| row.0 == "source-to-worker" && row.2 == Action::Create), "{:?}", implied);
    }
}
