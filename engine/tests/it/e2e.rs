//! End-to-end tests that drive a pipeline as a user does: the real program against a real local
//! AWS, with a real Node.js function behind a real stream. Needs `python3`, `node`, and on the
//! first run a package index.

mod adoption;
mod builds;
mod check;
#[cfg(target_os = "linux")]
mod dev;
mod export;
mod field;
mod hints;
mod items;
mod lifecycle;
mod logs;
mod lookups;
mod own_role;
mod owned;
mod ownership;
mod packages;
mod project;
mod pruning;
mod queues;
mod replacement;
mod saved;
mod schema;
mod several;
mod stages;
mod status;
mod streams;
mod syntax;
mod templates;
#[path = "../shared/throttle.rs"]
mod throttle;
mod throttled;
mod together;
mod verify;
#[cfg(target_os = "linux")]
mod workflows;

use std::sync::Mutex;

use aws_sdk_dynamodb::types::{AttributeValue, StreamSpecification, StreamViewType};
use rexpect::session::PtySession;
use serde_json::{Value as Json, json};

pub(crate) use self::project::Project;
use self::project::{ACCOUNT, Account, ROLE, Ran};
use crate::shared::eventually;
use crate::shared::program::Running;
use crate::shared::proxy::{Proxy, aged, existing_mapping, lambda_error};

const TEAM: &str = "specs/team.yaml";
const INLINE: &str = "specs/examples/inline.yaml";
const NO_CHANGES: &str = "No changes. Your infrastructure matches the configuration.";

#[test]
fn the_team_spec_pipeline_passes_its_full_lifecycle() {
    let project = Project::new();
    let lines = [
        r#"INSERT keys {"id":"7"} | new {"id":"7","text":"buy milk"}"#,
        r#"MODIFY keys {"id":"7"} | old {"id":"7","text":"buy milk"} | new {"id":"7","text":"buy oat milk"}"#,
        r#"REMOVE keys {"id":"7"} | old {"id":"7","text":"buy oat milk"}"#,
    ];
    full_lifecycle(&project, TEAM, "blue-owls", lines, || {
        project.edit("lambda-src/log-events/index.js", &[("console.log(`", "console.log(`version 2: ")]);
    });
}

#[test]
fn the_inline_spec_pipeline_passes_its_full_lifecycle() {
    let project = Project::new();
    let lines = [
        r#"INSERT red-foxes-todos {"Keys":{"id":{"S":"7"}},"NewImage":{"id":{"S":"7"},"text":{"S":"buy milk"}}}"#,
        r#"MODIFY red-foxes-todos {"Keys":{"id":{"S":"7"}},"NewImage":{"id":{"S":"7"},"text":{"S":"buy oat milk"}},"OldImage":{"id":{"S":"7"},"text":{"S":"buy milk"}}}"#,
        r#"REMOVE red-foxes-todos {"Keys":{"id":{"S":"7"}},"OldImage":{"id":{"S":"7"},"text":{"S":"buy oat milk"}}}"#,
    ];
    full_lifecycle(&project, INLINE, "red-foxes", lines, || {
        project.edit(INLINE, &[("console.log(`", "console.log(`version 2: ")]);
    });
}

/// Creates, changes and destroys a pipeline. `lines` are the log lines of one item's three changes.
fn full_lifecycle(project: &Project, spec: &str, team: &str, lines: [&str; 3], change_code: impl Fn()) {
    let (table, function) = (&format!("{team}-todos"), &format!("{team}-logger"));
    let done = project.run(&["apply", spec, "--local"]);
    done.expect(0, &["Plan: 4 to add,", "Apply complete! Resources: 4 added, 0 changed, 0 destroyed."]);
    let aws = project.account(ACCOUNT);
    let role = aws.snapshot().remove(&format!("role {ROLE}")).unwrap();

    aws.put_item(table, "7", "buy milk");
    aws.update_item(table, "7", "buy oat milk");
    aws.delete_item(table, "7");
    aws.await_log(function, &lines);
    assert_eq!(changed_paths(&project.run(&["diff", spec, "--local", "--format", "json"])), Vec::<Json>::new());
    project.run(&["diff", spec, "--local", "--detailed-exitcode"]).expect(0, &[NO_CHANGES]);

    let deployed = aws.snapshot();
    change_code();
    project.edit(
        spec,
        &[
            ("read_capacity: 1", "read_capacity: 2\n    tags: { purpose: lesson }"),
            ("handler: index.handler", "handler: index.handler\n    memory_size: 256"),
        ],
    );
    let diff = project.run(&["diff", spec, "--local", "--format", "json"]);
    let code = aws.wait(aws.lambda.get_function_configuration().function_name(function).send()).code_sha256.unwrap();
    let mut changes = changed_paths(&diff);
    let new_code = changes[2][4].take();
    let sizes = changes.remove(3);
    assert!(sizes[2] == "code_size" && sizes[3].as_u64() < sizes[4].as_u64(), "{sizes}");
    assert_eq!(
        changes,
        [
            json!(["todos", "update", "read_capacity", 1, 2]),
            json!(["todos", "update", "tags.purpose", null, "lesson"]),
            json!(["logger", "update", "code_sha256", code, null]),
            json!(["logger", "update", "memory_size", 128, 256]),
        ]
    );
    project.run(&["diff", spec, "--local", "--detailed-exitcode"]).expect(2, &["Plan: 0 to add, 2 to change,"]);
    assert_eq!(aws.snapshot(), deployed, "diff never writes");
    let done = project.run(&["apply", spec, "--local"]);
    done.expect(0, &["Apply complete! Resources: 0 added, 2 changed, 0 destroyed."]);
    let now = aws.wait(aws.lambda.get_function_configuration().function_name(function).send());
    assert_eq!((now.memory_size, json!(now.code_sha256)), (Some(256), new_code));
    let now = aws.wait(aws.dynamodb.describe_table().table_name(table).send()).table.unwrap();
    assert_eq!(now.provisioned_throughput().unwrap().read_capacity_units, Some(2));
    assert!(aws.snapshot()[&format!("table {table}")].contains(r#"Tag { key: "purpose", value: "lesson" }"#));
    project.run(&["diff", spec, "--local"]).expect(0, &[NO_CHANGES]);
    aws.put_item(table, "8", "new code");
    aws.await_log(function, &["version 2: INSERT"]);

    let [uuid] = &aws.mappings()[..] else { panic!("one mapping: {:?}", aws.mappings()) };
    aws.wait(aws.lambda.delete_event_source_mapping().uuid(uuid).send());
    let diff = project.run(&["diff", spec, "--local"]);
    diff.expect(0, &["+ todos-to-logger (mapping) will be created", "Plan: 1 to add, 0 to change, 0 to destroy."]);
    project.run(&["apply", spec, "--local"]).expect(0, &["Resources: 1 added, 0 changed, 0 destroyed."]);
    aws.put_item(table, "9", "corrected");
    aws.await_log(function, &["corrected"]);

    let deployed = aws.snapshot();
    let refused = project.run(&["destroy", spec, "--local", "--yes"]);
    refused.expect(1, &["it is not empty", "add `--delete-data`"]);
    assert_eq!(aws.snapshot(), deployed, "refused before the first write");
    let destroyed = project.run(&["destroy", spec, "--local", "--yes", "--delete-data"]);
    destroyed.expect(0, &["Plan: 0 to add, 0 to change, 4 to destroy.", "Destroy complete! Resources: 4 destroyed."]);
    assert_eq!(Vec::from_iter(aws.snapshot()), [(format!("role {ROLE}"), role)]);
}

#[test]
fn function_permission_and_mapping_properties_can_be_set_and_removed() {
    let project = Project::new();
    let lines = [
        (
            "    handler: index.handler\n",
            "    description: reads\n    memory_size: 256\n    timeout: 10\n    environment: { LEVEL: debug }\n    \
             architecture: arm64\n    layers: [\"arn:aws:lambda:eu-central-1:123456789012:layer:a:1\"]\n    \
             ephemeral_storage: 1024\n    tracing: Active\n    log_format: JSON\n    log_group: /teams/owls\n    \
             application_log_level: DEBUG\n    system_log_level: WARN\n    reserved_concurrent_executions: 0\n    \
             tags: { course: cloud }\n",
        ),
        (
            "    source_arn: ${todos.stream_arn}\n",
            "    source_account: \"123456789012\"\n    principal_org_id: o-a1b2c3d4e5\n",
        ),
        (
            "    starting_position: TRIM_HORIZON\n",
            "    batch_size: 7\n    maximum_batching_window_in_seconds: 3\n    \
             filters: [{ eventName: [REMOVE] }, '{ \"eventName\": [\"INSERT\"] }']\n    \
             maximum_retry_attempts: 2\n    maximum_record_age_in_seconds: 60\n    \
             bisect_batch_on_function_error: true\n    parallelization_factor: 2\n    \
             report_batch_item_failures: true\n    enabled: false\n    tags: { course: cloud }\n",
        ),
    ];
    let edits = lines.map(|(place, added)| (place, format!("{place}{added}")));
    let added = edits.each_ref().map(|(from, to)| (*from, to.as_str()));
    let removed = edits.each_ref().map(|(from, to)| (to.as_str(), *from));
    let same = || project.run(&["diff", TEAM, "--local", "--detailed-exitcode"]).expect(0, &[NO_CHANGES]);
    // Create with all properties, remove them, then set them again.
    project.edit(TEAM, &added);
    project.run(&["apply", TEAM, "--local"]).expect(0, &["Resources: 4 added, 0 changed, 0 destroyed."]);
    same();
    for edits in [&removed, &added] {
        project.edit(TEAM, edits);
        project.run(&["apply", TEAM, "--local"]).expect(0, &["Resources: 1 added, 2 changed, 1 destroyed."]);
        same();
    }
}

/// The changes in a plan, as `[resource, action, path, before, after]`.
fn changed_paths(ran: &Ran) -> Vec<Json> {
    let documents = ran.json();
    let [plan] = &documents[..] else { panic!("one document: {ran:#?}") };
    let mut paths = Vec::new();
    for change in plan["changes"].as_array().unwrap() {
        for property in change["properties"].as_array().unwrap() {
            let of = |field: &str| property[field].clone();
            paths.push(json!([change["resource"], change["action"], of("path"), of("before"), of("after")]));
        }
    }
    paths
}

#[test]
fn a_resource_with_another_owner_is_refused_and_left_unchanged() {
    let project = Project::new();
    type Make = fn(&Account);
    let cases: [(Make, &[&str], &[&str]); 4] = [
        (
            |aws| {
                let tags = [("engine:team", "red-foxes"), ("engine:stack", "app"), ("engine:resource", "list")];
                aws.create_table("blue-owls-todos", &tags);
            },
            &["`todos` is refused: it belongs to team `red-foxes`, stack `app`, resource `list`"],
            &["`todos` is refused: it belongs to team `red-foxes`, stack `app`, resource `list`"],
        ),
        (
            |aws| {
                let tags = [("engine:team", "blue-owls"), ("engine:stack", "app"), ("engine:resource", "todos")];
                aws.create_table("blue-owls-todos", &tags);
            },
            &["it belongs to team `blue-owls`, stack `app`, resource `todos`", "add `stack: app` to it"],
            &["it belongs to team `blue-owls`, stack `app`, resource `todos`"],
        ),
        (
            |aws| aws.create_table("blue-owls-todos", &[("aws:cloudformation:stack-name", "shop-1")]),
            &["it belongs to the CloudFormation stack `shop-1`"],
            &["it belongs to the CloudFormation stack `shop-1`"],
        ),
        (
            |aws| aws.create_function("blue-owls-logger", |function| function.memory_size(512)),
            &["adopting it would reset what the spec doesn't declare, and engine never does that", "memory_size: 512"],
            &[],
        ),
    ];
    let endpoint = project.endpoint();
    assert!(!endpoint.is_empty());
    for (case, (make, applied, destroyed)) in cases.iter().enumerate() {
        let account = format!("10000000000{case}");
        let (spec, aws) = (&project.spec_for(TEAM, &account), project.account(&account));
        project.run(&["diff", spec, "--local"]).expect(0, &[&format!("account {account}")]);
        make(&aws);
        let before = aws.snapshot();
        assert_eq!(before.len(), 2, "the role and what was made");
        project.run(&["diff", spec, "--local"]).expect(1, applied);
        project.run(&["apply", spec, "--local", "--yes"]).expect(1, applied);
        assert_eq!(aws.snapshot(), before, "case {case}, after apply");
        if destroyed.is_empty() {
            let left = project.run(&["destroy", spec, "--local", "--yes", "--delete-data"]);
            left.expect(0, &["skipped: it has no engine tags", "No changes."]);
        } else {
            project.run(&["destroy", spec, "--local", "--yes", "--delete-data"]).expect(1, destroyed);
        }
        assert_eq!(aws.snapshot(), before, "case {case}, after destroy");
    }
}

#[test]
fn an_untagged_table_is_adopted_with_consent_and_keeps_its_items() {
    const SPEC: &str = "specs/examples/adopt.yaml";
    const TABLE: &str = "blue-owls_todos-1a2b3c4";
    let project = Project::new();
    let aws = project.account(ACCOUNT);
    aws.create_table(TABLE, &[]);
    aws.put_item(TABLE, "7", "buy milk");
    let before = aws.snapshot();
    let young = project.run(&["diff", SPEC, "--local"]);
    young.expect(0, &["its owner can't be determined yet: the table is less than a minute old"]);

    // The apply waits until the owner can be determined, reports that, and can be interrupted.
    let mut waiting = project.command(&["apply", SPEC, "--local", "--yes"]).start();
    assert!(waiting.err.any(|line| line.contains("todos: waiting, because its owner can't be determined")));
    waiting.press_ctrl_c();
    waiting.end().ends_with(130);
    assert_eq!(aws.snapshot(), before);

    let proxy = long_ago(&project);
    let run = |args: &[&str]| project.run_at(&proxy.endpoint(), ACCOUNT, args);
    run(&["diff", SPEC]).expect(
        0,
        &[
            "= todos (table blue-owls_todos-1a2b3c4) will be adopted",
            "if another tool still manages it, that tool will undo these changes",
            r#"~ stream_view_type = null -> "NEW_AND_OLD_IMAGES""#,
            "Plan: 1 to adopt, 0 to add, 0 to change, 0 to destroy.",
        ],
    );
    run(&["apply", SPEC]).expect(1, &["there is no terminal", "nothing was changed", "add `--yes`"]);
    assert_eq!(aws.snapshot(), before);

    run(&["apply", SPEC, "--yes"]).expect(0, &["Resources: 1 adopted, 0 added, 0 changed, 0 destroyed."]);
    let scan = aws.wait(aws.dynamodb.scan().table_name(TABLE).send());
    assert_eq!(scan.items()[0]["text"], AttributeValue::S("buy milk".to_owned()));
    let table = aws.wait(aws.dynamodb.describe_table().table_name(TABLE).send()).table.unwrap();
    assert_eq!(table.stream_specification().unwrap().stream_view_type(), Some(&StreamViewType::NewAndOldImages));
    run(&["diff", SPEC]).expect(0, &[NO_CHANGES]);

    // With `adopt: true` in the spec, too, adopting never resets what the spec doesn't declare.
    let account = "100000000001";
    let aws = project.account(account);
    aws.create_table(TABLE, &[]);
    let stream = StreamSpecification::builder().stream_enabled(true).stream_view_type(StreamViewType::NewImage);
    aws.wait(aws.dynamodb.update_table().table_name(TABLE).stream_specification(stream.build().unwrap()).send());
    let before = aws.snapshot();
    project.edit(SPEC, &[("    stream_view_type: NEW_AND_OLD_IMAGES", "    adopt: true")]);
    let run = |args: &[&str]| project.run_at(&proxy.endpoint(), account, args);
    let refused = run(&["apply", SPEC, "--yes"]);
    refused.expect(
        1,
        &["engine never does that", "to keep it as it is, add to `todos`:", r#"stream_view_type: "NEW_IMAGE""#],
    );
    assert_eq!(aws.snapshot(), before);
    project.edit(SPEC, &[("adopt: true", "adopt: true\n    stream_view_type: NEW_IMAGE")]);
    run(&["apply", SPEC]).expect(0, &["Resources: 1 adopted, 0 added, 0 changed, 0 destroyed."]);
    run(&["diff", SPEC]).expect(0, &[NO_CHANGES]);
}

/// A proxy to the project's local AWS that shows every table as created long ago.
fn long_ago(project: &Project) -> Proxy {
    Proxy::new(&project.endpoint(), |request| {
        let answer = request.forward();
        if request.is("DescribeTable") { aged(&answer) } else { answer }
    })
}

#[test]
fn any_partial_pipeline_can_be_destroyed_twice() {
    let project = Project::new();
    project.endpoint();
    // Bits: table, function, permission, mapping. A permission is deleted with its function.
    let subsets = (0..16_u32).filter(|bits| bits & 0b0100 == 0 || bits & 0b0010 != 0);
    let subsets: Vec<u32> = subsets.collect();
    std::thread::scope(|scope| {
        for part in subsets.chunks(3) {
            let project = &project;
            scope.spawn(move || {
                for bits in part {
                    destroy_subset(project, *bits);
                }
            });
        }
    });
}

fn destroy_subset(project: &Project, bits: u32) {
    let account = format!("1000000000{bits:02}");
    let (spec, aws) = (&project.spec_for(TEAM, &account), project.account(&account));
    project.run(&["apply", spec, "--local"]).expect(0, &["Apply complete!"]);
    if bits & 1 == 0 {
        aws.wait(aws.dynamodb.delete_table().table_name("blue-owls-todos").send());
    }
    if bits & 2 == 0 {
        aws.wait(aws.lambda.delete_function().function_name("blue-owls-logger").send());
    } else if bits & 4 == 0 {
        let remove = aws.lambda.remove_permission().function_name("blue-owls-logger");
        aws.wait(remove.statement_id("blue-owls-logger-permission").send());
    }
    if bits & 8 == 0 {
        aws.wait(aws.lambda.delete_event_source_mapping().uuid(&aws.mappings()[0]).send());
    }
    let half = aws.snapshot();
    // The plan has a row for each resource; in the snapshot, a permission is part of its function.
    let rows = bits.count_ones();
    assert_eq!(half.len(), 1 + usize::try_from(rows - (bits >> 2 & 1)).unwrap(), "{half:#?}");
    if bits == 0b1111 {
        project.run(&["destroy", spec, "--local"]).expect(1, &["there is no terminal", "add `--yes`"]);
        assert_eq!(aws.snapshot(), half, "nothing happens without an answer");
    }
    if rows > 0 {
        let done = project.run(&["destroy", spec, "--local", "--yes"]);
        done.expect(0, &[&format!("Destroy complete! Resources: {rows} destroyed.")]);
    }
    let again = project.run(&["destroy", spec, "--local"]);
    again.expect(0, &["No changes. No objects need to be destroyed."]);
    assert_eq!(Vec::from_iter(aws.snapshot().keys()), [&format!("role {ROLE}")]);
}

#[test]
fn a_replacement_and_a_destroy_ask_for_confirmation_on_a_terminal() {
    const PROMPT: &str = "Only 'yes' will be accepted: ";
    let project = Project::new();
    project.run(&["apply", "--local"]).expect(0, &["Apply complete!"]);
    let aws = project.account(ACCOUNT);
    let before = aws.snapshot();
    project.edit(TEAM, &[("starting_position: TRIM_HORIZON", "starting_position: LATEST")]);
    let session = |command: &str| {
        let mut process = project.command(&[command, "--local"]);
        process.env("TERM", "xterm").env("NO_COLOR", "1");
        let mut session = process.terminal();
        let shown = session.exp_string(PROMPT).unwrap();
        assert_eq!(aws.snapshot(), before, "nothing happens before the answer");
        (session, shown)
    };
    let end = |mut session: PtySession, code: i32| {
        let rest = session.exp_eof().unwrap();
        // The status type isn't public, so compare its debug text.
        let mut status = String::new();
        eventually("the program ends", || {
            status = format!("{:?}", session.process().status());
            !status.contains("StillAlive")
        });
        assert!(status.starts_with("Some(Exited(") && status.ends_with(&format!(", {code}))")), "{status}: {rest}");
        rest
    };

    for (command, asks) in
        [("apply", "Do you want to perform these actions?"), ("destroy", "Do you really want to destroy this?")]
    {
        for answer in ["no", "y", ""] {
            let (mut session, shown) = session(command);
            assert!(shown.contains(asks), "{shown}");
            session.send_line(answer).unwrap();
            assert!(end(session, 1).contains("Nothing was changed."));
        }
        for (key, code, said) in [('c', 130, "interrupted; nothing was changed"), ('d', 1, "Nothing was changed.")] {
            let (mut session, _) = session(command);
            session.send_control(key).unwrap();
            assert!(end(session, code).contains(said));
        }
        assert_eq!(aws.snapshot(), before);
    }

    // In CI, a prompt gets no answer, even if there is a terminal.
    let mut process = project.command(&["destroy", "--local"]);
    process.env("TERM", "xterm").env("NO_COLOR", "1").env("CI", "true");
    let said = end(process.terminal(), 1).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("there is no terminal (or CI is set)"), "{said}");
    assert_eq!(aws.snapshot(), before);

    let (mut session, shown) = session("apply");
    assert!(shown.contains("forces replacement") && shown.contains("Plan: 1 to add, 0 to change, 1 to destroy."));
    session.send_line("yes").unwrap();
    assert!(end(session, 0).contains("Resources: 1 added, 0 changed, 1 destroyed."));
    assert_eq!(aws.mappings().len(), 1);
    assert!(aws.snapshot() != before);
}

#[test]
fn each_outcome_has_its_exit_code_and_stdout_carries_only_data() {
    let project = Project::new();
    let cases: [(&[&str], i32, bool); 11] = [
        (&["--version"], 0, true),
        (&["--help"], 0, true),
        (&["diff", "--local"], 0, true),
        (&["diff", "--local", "--detailed-exitcode"], 2, true),
        (&["diff", "--local", "--destroy", "--detailed-exitcode"], 0, true),
        (&["bogus"], 64, false),
        (&["diff", "--bogus"], 64, false),
        (&["diff", "--local", "--profile", "p"], 64, false),
        (&["apply", "--local", "--parallelism", "0"], 64, false),
        (&["diff", "--local", "specs/missing.yaml"], 1, false),
        (&["apply", "--local", "lambda-src/log-events/index.js"], 1, false),
    ];
    for (args, code, speaks) in cases {
        let ran = project.run(args);
        assert_eq!((ran.code(), !ran.out.is_empty()), (Some(code), speaks), "{args:?}: {ran:#?}");
        assert!(speaks || !ran.err.is_empty(), "{args:?} says why");
    }
    let quiet = project.run(&["diff", "--local", "--quiet"]);
    assert_eq!(quiet.err, "");
    let colourful = |choice: &str| project.run(&["diff", "--local", "--color", choice]).out.contains('\x1b');
    assert_eq!(["auto", "always", "never"].map(colourful), [false, true, false], "a pipe gets colours only if told so");
}

#[test]
fn each_command_prints_one_complete_json_document() {
    let project = Project::new();
    let document = |args: &[&str], code: i32| {
        let ran = project.run(&[args, &["--local", "--format", "json"]].concat()).expect(code, &[]);
        let mut documents = ran.json();
        assert_eq!((documents.len(), ran.out.lines().count()), (1, 1), "{ran:#?}");
        documents.remove(0)
    };
    let check = |document: &Json, actions: [&str; 5]| {
        let of = |field: &str| document[field].as_str().unwrap().to_owned();
        let head = (document["format_version"].clone(), of("team"), of("stack"), of("region"), of("account"));
        assert_eq!(head, (json!(1), "blue-owls".into(), "team".into(), "eu-central-1".into(), ACCOUNT.into()));
        let names = ["todos", "execution-role", "logger", "logger-permission", "todos-to-logger"];
        let changes = document["changes"].as_array().unwrap();
        for ((change, name), action) in changes.iter().zip(names).zip(actions) {
            assert_eq!((&change["resource"], &change["action"]), (&json!(name), &json!(action)));
            assert!(change["kind"].is_string() && change["name"].is_string() && change.get("reason").is_some());
            for property in change["properties"].as_array().unwrap() {
                let fields: Vec<&String> = property.as_object().unwrap().keys().collect();
                assert_eq!(fields, ["path", "before", "after", "effect"]);
            }
        }
        for action in ["create", "update", "replace", "delete", "adopt", "import", "none", "refused"] {
            let count = changes.iter().filter(|change| change["action"] == action).count();
            assert_eq!(document["summary"][action], count, "{action}");
        }
    };
    let all = |action: &'static str| [action, "import", action, action, action];
    check(&document(&["diff"], 0), all("create"));
    let applied = document(&["apply"], 0);
    check(&applied, all("create"));
    assert_eq!(applied["status"], "complete");
    let steps = applied["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 4);
    assert!(steps.iter().all(|step| step["step"] == "create" && step["result"] == "done"), "{steps:?}");
    let again = document(&["apply"], 0);
    check(&again, all("none"));
    assert_eq!((&again["status"], &again["steps"]), (&json!("complete"), &json!([])));
    check(&document(&["diff", "--destroy"], 0), all("delete"));

    project.edit(TEAM, &[("starting_position: TRIM_HORIZON", "starting_position: LATEST")]);
    let plan = document(&["diff"], 0);
    check(&plan, ["none", "import", "none", "none", "replace"]);
    let change =
        json!([{ "path": "starting_position", "before": "TRIM_HORIZON", "after": "LATEST", "effect": "replace" }]);
    assert_eq!(plan["changes"][4]["properties"], change);
    let unasked = document(&["apply"], 1);
    check(&unasked, ["none", "import", "none", "none", "replace"]);
    assert_eq!(unasked["status"], "declined");
    project.edit(TEAM, &[("attributes: { id: S }", "attributes: { id: N }")]);
    let refused = document(&["apply", "--yes"], 1);
    assert_eq!((&refused["status"], &refused["changes"][0]["action"]), (&json!("refused"), &json!("refused")));
}

#[test]
fn each_command_prints_one_markdown_comment_without_unchanged_resources() {
    let project = Project::new();
    let comment = |args: &[&str], code: i32| {
        let ran = project.run(&[args, &["--local", "--format", "markdown"]].concat()).expect(code, &[]);
        assert!(ran.out.starts_with("### team `blue-owls`, stack `team`\n\naccount `000000000001`,"), "{ran:#?}");
        assert_eq!(ran.out.matches("### ").count() - ran.out.matches("#### ").count(), 1, "{ran:#?}");
        ran
    };
    let created = "| `+` | `todos` | `table` | `blue-owls-todos` | will be created |";
    comment(&["diff"], 0).expect(0, &["(local AWS)", "**Plan: 4 to add, 0 to change, 0 to destroy.**", created]);
    comment(&["apply"], 0).expect(0, &[created, "**Apply complete! Resources: 4 added, 0 changed, 0 destroyed.**"]);
    let again = comment(&["apply"], 0).expect(0, &[NO_CHANGES, "5 resources are unchanged."]);
    assert!(!again.out.contains("todos`") && !again.out.contains("complete"), "{again:#?}");
    let unchanged = "| `·` | `todos` | `table` | `blue-owls-todos` | is unchanged |";
    comment(&["diff", "--show-unchanged"], 0).expect(0, &[NO_CHANGES, unchanged]);
    let all = project.run(&["diff", "--local", "--show-unchanged"]);
    all.expect(0, &["todos (table blue-owls-todos) is unchanged", NO_CHANGES]);

    project.edit(TEAM, &[("starting_position: TRIM_HORIZON", "starting_position: LATEST")]);
    let unasked = comment(&["apply"], 1).expect(1, &["the plan was not confirmed", "there is no terminal"]);
    assert!(unasked.err.contains("-/+ todos-to-logger (mapping) must be replaced"), "{unasked:#?}");
    project.edit(TEAM, &[("attributes: { id: S }", "attributes: { id: N }")]);
    let refused = comment(&["apply", "--yes"], 1);
    refused.expect(1, &["- `todos` is refused: `attributes", "Nothing was changed."]);
}

#[test]
fn a_command_without_a_spec_uses_the_only_one_or_lists_all() {
    let project = Project::new();
    let team = "team blue-owls, stack team,";
    project.run(&["diff", "--local"]).expect(0, &[team]);
    project.run(&["destroy", "--local"]).expect(0, &[team, "No changes."]);
    std::fs::rename(project.path(TEAM), project.path("specs/first.yaml")).unwrap();
    project.run(&["diff", "--local"]).expect(0, &["team blue-owls, stack first,"]);
    std::fs::copy(project.path(INLINE), project.path("specs/second.yml")).unwrap();
    for command in ["diff", "apply", "destroy"] {
        let listed = project.run(&[command, "--local"]).expect(1, &["`specs/first.yaml`, `specs/second.yml`"]);
        assert_eq!(listed.out, "");
    }
    std::fs::remove_dir_all(project.path("specs")).unwrap();
    project.run(&["diff", "--local"]).expect(1, &["no spec found: there is no `specs/` folder here"]);
}

#[test]
fn a_failed_step_skips_its_dependents_and_the_next_run_continues() {
    let project = Project::new();
    project.run(&["diff", "--local"]).expect(0, &[]);
    let proxy = Proxy::new(&project.endpoint(), |request| {
        if request.is("POST /2015-03-31/functions") {
            lambda_error(400, "InvalidParameterValueException", "The runtime is not for today.")
        } else {
            request.forward()
        }
    });
    project.run_at(&proxy.endpoint(), ACCOUNT, &["apply"]).expect(
        3,
        &[
            "failed create logger",
            "InvalidParameterValueException",
            "The runtime is not for today.",
            "skipped create logger-permission: it depends on logger",
            "skipped create todos-to-logger: it depends on logger",
            "Apply incomplete: 1 added, 0 changed, 0 destroyed. Run the same command again to continue.",
        ],
    );
    project.run(&["apply", "--local"]).expect(0, &["Apply complete! Resources: 3 added, 0 changed, 0 destroyed."]);
    project.run(&["diff", "--local"]).expect(0, &[NO_CHANGES]);
}

#[test]
fn the_local_aws_neither_uses_nor_leaks_the_users_settings() {
    let project = Project::new();
    let (from, to) = ("console.log(`", "console.log(JSON.stringify(process.env)); console.log(`");
    project.edit(INLINE, &[(from, to)]);
    let canaries = [
        "AWS_PROFILE",
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_DYNAMODB",
        "AWS_ENDPOINT_URL_LAMBDA",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_CONFIG_FILE",
        "AWS_CA_BUNDLE",
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "DATABASE_URL",
    ]
    .map(|name| (name, format!("http://127.0.0.1:9/canary-{name}")));
    let run = |args: &[&str]| {
        let ran = project.command(args).envs(canaries.clone()).run();
        assert!(!format!("{ran:?}").contains("canary"), "{ran:#?}");
        ran
    };
    run(&["diff", INLINE, "--local", "-vv"]).expect(0, &["eu-central-1 (local AWS)"]);
    run(&["apply", INLINE, "--local", "-vv"]).expect(0, &["Apply complete!"]);
    run(&["diff", INLINE, "--local", "-vv", "--format", "json"]).expect(0, &["\"none\":4"]);
    let aws = project.account(ACCOUNT);
    aws.put_item("red-foxes-todos", "7", "buy milk");
    let log = aws.await_log("red-foxes-logger", &["AWS_LAMBDA_FUNCTION_NAME", "INSERT red-foxes-todos"]);
    assert!(!log.join("\n").contains("canary"), "{log:#?}");
    run(&["destroy", INLINE, "--local", "-vv", "--yes", "--delete-data"]).expect(0, &["Destroy complete!"]);
}

#[test]
fn concurrent_applies_create_one_pipeline() {
    let project = Project::new();
    let endpoint = project.endpoint();
    let turn = Mutex::new(());
    // The local AWS would create a duplicate mapping; the real AWS refuses it.
    let proxy = Proxy::new(&endpoint, move |request| {
        if !request.is("POST /2015-03-31/event-source-mappings") {
            return request.forward();
        }
        let _turn = turn.lock().unwrap();
        existing_mapping(request).unwrap_or_else(|| request.forward())
    });
    for round in 0..3 {
        let account = format!("10000000000{round}");
        let (spec, aws) = (&project.spec_for(TEAM, &account), project.account(&account));
        project.run(&["diff", spec, "--local"]).expect(0, &[]);
        let both = || {
            let apply = || project.command_at(&proxy.endpoint(), &account, &["apply", spec]).start();
            [apply(), apply()].map(Running::end)
        };
        for ran in both() {
            ran.expect(0, &[]);
        }
        let kinds: Vec<String> = aws.snapshot().keys().map(|key| key.split(' ').next().unwrap().to_owned()).collect();
        assert_eq!(kinds, ["function", "mapping", "role", "table"]);
        project.run(&["diff", spec, "--local"]).expect(0, &[NO_CHANGES]);

        project.edit(
            spec,
            &[("read_capacity: 1", "read_capacity: 2"), ("index.handler", "index.handler\n    timeout: 9")],
        );
        for ran in both() {
            ran.expect(0, &[]);
        }
        project.run(&["diff", spec, "--local"]).expect(0, &[NO_CHANGES]);
    }
}
