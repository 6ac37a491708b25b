//! `verify` on a working pipeline and on failures of each hop: a real table, a real stream, real
//! Node.js.

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value as Json, json};

use super::TEAM;
use super::project::{ACCOUNT, Project, patiently};

const TABLE: &str = "blue-owls-todos";
const CODE: &str = "lambda-src/log-events/index.js";

/// Deploys the team's pipeline with `edits` to the spec, and with `code` instead of the default
/// code.
fn deployed(edits: &[(&str, &str)], code: Option<&str>) -> Project {
    let project = Project::new();
    project.edit(TEAM, edits);
    if let Some(code) = code {
        project.write(CODE, &format!("exports.handler = async (event) => {{ {code} }};\n"));
    }
    project.run(&["apply", TEAM, "--local"]).expect(0, &["Apply complete!"]);
    project
}

/// The one mapping in the JSON outcome.
fn outcome(project: &Project, code: i32) -> Json {
    let patience = if code == 0 { "60" } else { "10" };
    let ran = project.run(&["verify", TEAM, "--local", "--format", "json", "--timeout", patience]).expect(code, &[]);
    let documents = ran.json();
    let [document] = &documents[..] else { panic!("one document: {ran:#?}") };
    assert_eq!((&document["format_version"], &document["verified"]), (&json!(1), &json!(code == 0)), "{document:#}");
    document["mappings"][0].clone()
}

#[test]
fn a_working_pipeline_is_verified_hop_by_hop_and_left_clean() {
    let project = deployed(&[], None);
    let ran = project.run(&["verify", TEAM, "--local"]);
    let ran = ran.expect(0, &["INSERT", "REMOVE", "Verified in"]);
    // Each fact is printed once, and all results go to stdout.
    let told = ran.out.clone() + &ran.err;
    for word in ["\n  INSERT ", "\n  MODIFY ", "\n  REMOVE ", "item written", "team blue-owls", "todos-to-logger: "] {
        assert_eq!(told.matches(word).count(), 1, "{word}: {told}");
    }
    assert!(ran.out.starts_with("team blue-owls") && !ran.err.contains("INSERT"), "{told}");
    eprintln!("{}{}", ran.err, ran.out);
    let aws = project.account(ACCOUNT);
    assert_eq!(aws.n_items(TABLE), 0);
    // Measure ten warm runs.
    let mut totals: Vec<f64> = Vec::new();
    let mut hops: [Vec<f64>; 3] = Default::default();
    for _ in 0..10 {
        let start = std::time::Instant::now();
        let outcome = outcome(&project, 0);
        totals.push(start.elapsed().as_secs_f64());
        for change in outcome["changes"].as_array().unwrap() {
            assert_eq!(change["matched_by"], "mark");
            for (hop, name) in hops.iter_mut().zip(["written_ms", "invoked_ms", "logged_ms"]) {
                hop.push(change[name].as_f64().unwrap());
            }
        }
    }
    let median = |mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    let total = median(totals);
    eprintln!("ten warm runs: {total:.3} s, hops in ms {:?}", hops.map(median));

    // An item left by a killed run is deleted, and doesn't require a confirmation.
    let item = outcome(&project, 0)["item"].as_str().unwrap().to_owned();
    aws.put_item(TABLE, &item, "left by a killed run");
    outcome(&project, 0);
    assert_eq!(aws.n_items(TABLE), 0);

    // If others would see the test item, verify needs a confirmation.
    aws.put_item(TABLE, "7", "buy milk");
    let refused = project.run(&["verify", TEAM, "--local"]);
    refused.expect(1, &["others will see the test item", "has items", "pass --yes"]);
    project.run(&["verify", TEAM, "--local", "--yes"]).expect(0, &["Verified in"]);
    assert_eq!(aws.n_items(TABLE), 1);
}

#[test]
fn keys_of_every_type_are_found_in_the_log() {
    for (attributes, keys, view) in [
        ("{ id: N, at: S }", "id\n    range_key: at", "KEYS_ONLY"),
        ("{ id: B, at: N }", "id\n    range_key: at", "OLD_IMAGE"),
    ] {
        let edits = [
            ("attributes: { id: S }", format!("attributes: {attributes}")),
            ("hash_key: id", format!("hash_key: {keys}")),
            ("NEW_AND_OLD_IMAGES", view.to_owned()),
        ];
        let edits = edits.each_ref().map(|(from, to)| (*from, to.as_str()));
        let project = deployed(&edits, Some("console.log(JSON.stringify(event, null, 2));"));
        outcome(&project, 0);
        assert_eq!(project.account(ACCOUNT).n_items(TABLE), 0);
    }
}

#[test]
fn the_failed_hop_is_reported_with_its_cause() {
    let filters = "starting_position: TRIM_HORIZON\n    filters: [{ eventName: [UPDATE] }]";
    let filters = ("starting_position: TRIM_HORIZON", filters);
    let disabled = ("starting_position: TRIM_HORIZON", "starting_position: TRIM_HORIZON\n    enabled: false");
    type Case<'a> = (&'a [(&'a str, &'a str)], Option<&'a str>, [&'a str; 3]);
    let cases: [Case<'_>; 4] = [
        (&[filters], None, ["INSERT", "invoked", "filtered"]),
        (&[disabled], None, ["INSERT", "invoked", "mapping_disabled"]),
        (&[], Some("throw new Error('no luck');"), ["INSERT", "logged", "function_error"]),
        // The local AWS logs nothing about it.
        (&[], Some("throw 1;"), ["INSERT", "logged", "function_error"]),
    ];
    for (edits, code, [change, hop, cause]) in cases {
        let project = deployed(edits, code);
        let failed = &outcome(&project, 1)["failed"];
        assert_eq!((&failed["change"], &failed["hop"], &failed["cause"]), (&json!(change), &json!(hop), &json!(cause)));
        if code.is_some_and(|code| code.contains("no luck")) {
            assert!(failed["diagnostic"]["problem"].as_str().unwrap().contains("no luck"), "{failed}");
            assert!(failed["diagnostic"]["why"].as_str().unwrap().contains("index.js"), "{failed}");
        }
        assert_eq!(project.account(ACCOUNT).n_items(TABLE), 0, "{cause}");
        let ran = project.run(&["verify", TEAM, "--local", "--timeout", "10"]).expect(1, &["Not verified"]);
        eprintln!("{}{}", ran.out, ran.err);
    }
}

const START: &str = "starting_position: TRIM_HORIZON";

/// The mapping with this filter.
fn filtered(filter: &str) -> String {
    format!("{START}\n    filters: [{filter}]")
}

/// What is known about each change: whether the filters let it through, and its proof.
fn proofs(outcome: &Json) -> Vec<(Json, Json)> {
    let changes = outcome["changes"].as_array().unwrap();
    changes.iter().map(|change| (change["passes_filters"].clone(), change["proof"].clone())).collect()
}

#[test]
fn changes_that_the_filters_drop_are_expected_to_be_dropped() {
    let filter = filtered("{ eventName: [INSERT, REMOVE] }");
    let project = deployed(&[(START, &filter)], None);
    let outcome = outcome(&project, 0);
    let [logged, dropped] = [(json!(true), json!("logged")), (json!(false), Json::Null)];
    assert_eq!((proofs(&outcome), &outcome["proof"]), (vec![logged.clone(), dropped, logged], &json!("logged")));
    let ran = project.run(&["verify", TEAM, "--local"]);
    ran.expect(0, &["shows INSERT and REMOVE; the filters drop MODIFY.", "the filters drop it, as expected"]);
}

/// The filters require an item with attributes, and another one after the update.
#[test]
fn an_item_that_looks_real_is_shown_and_asked_for() {
    let filter = filtered(
        "{ dynamodb: { NewImage: { state: { S: [done] } }, OldImage: { state: { S: [{ prefix: op }] }, \
         size: { M: { code: { N: [\"300\"] } } } } } }",
    );
    let project = deployed(&[(START, &filter)], None);
    let aws = project.account(ACCOUNT);
    let shown = ["looks like a real one", r#""size":{"code":300},"state":"op"#, r#"then {"id":"engine-verify-"#];
    project.run(&["verify", TEAM, "--local"]).expect(1, &shown[..2]);
    assert_eq!(aws.n_items(TABLE), 0);
    let mut terminal = project.command(&["verify", TEAM, "--local"]).terminal();
    shown.iter().for_each(|text| drop(terminal.exp_string(text).unwrap()));
    terminal.exp_string("Only 'yes' will be accepted").unwrap();
    terminal.send_line("yes").unwrap();
    terminal.exp_string("shows MODIFY; the filters drop").unwrap();
    terminal.exp_eof().unwrap();
    assert_eq!(aws.n_items(TABLE), 0);
}

#[test]
fn an_existing_item_with_the_required_key_is_left_unchanged() {
    let filter = filtered("{ dynamodb: { Keys: { id: { S: [\"7\"] } } } }");
    let project = deployed(&[(START, &filter)], None);
    let aws = project.account(ACCOUNT);
    project.run(&["verify", TEAM, "--local", "--yes"]).expect(0, &["item 7", "Verified in"]);
    aws.put_item(TABLE, "7", "buy milk");
    let ran = project.run(&["verify", TEAM, "--local", "--yes"]);
    ran.expect(1, &["has an item with the key that the filters require", "engine changes no item but its own"]);
    assert_eq!(aws.n_items(TABLE), 1);
}

#[test]
fn a_function_that_does_not_log_its_records_is_proven_to_be_invoked() {
    let project = deployed(&[], Some(""));
    let proven = outcome(&project, 0);
    assert_eq!((&proven["proof"], &proven["failed"]), (&json!("invoked"), &Json::Null));
    assert_eq!(proofs(&proven), vec![(json!(true), json!("invoked")); 3]);
    let ran = project.run(&["verify", TEAM, "--local"]);
    ran.expect(0, &["Lambda invoked blue-owls-logger for INSERT, MODIFY and REMOVE, which its log doesn't show."]);

    // Other items at the same time.
    let aws = project.account(ACCOUNT);
    let done = std::sync::atomic::AtomicBool::new(false);
    let failed = std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0.. {
                if done.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
                aws.put_item(TABLE, "7", &format!("edit {n}"));
            }
        });
        let ran = project.run(&["verify", TEAM, "--local", "--yes", "--format", "json", "--timeout", "10"]);
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        ran.expect(1, &["not proven: other traffic"]).json()[0]["mappings"][0]["failed"].clone()
    });
    assert_eq!((&failed["hop"], &failed["cause"]), (&json!("logged"), &json!("other_traffic")));
    assert_eq!(aws.n_items(TABLE), 1);
}

#[test]
fn ctrl_c_deletes_the_test_item() {
    let project = deployed(&[], Some("await new Promise((done) => setTimeout(done, 60000));"));
    let aws = project.account(ACCOUNT);
    let running = project.command(&["verify", TEAM, "--local", "--timeout", "60"]).start();
    assert!(patiently(|| aws.n_items(TABLE) == 1));
    running.press_ctrl_c();
    running.end().ends_with(130);
    assert_eq!(aws.n_items(TABLE), 0);
}

#[test]
fn an_imported_table_is_written_only_if_it_is_named_and_no_other_team_owns_it() {
    let project = Project::new();
    let aws = project.account(ACCOUNT);
    aws.create_table(TABLE, &[("project", "shop")]);
    aws.new_stream(TABLE, aws_sdk_dynamodb::types::StreamViewType::NewImage);
    let text = project.read(TEAM);
    let (before, rest) = text.split_once("    attributes:").unwrap();
    let (_, after) = rest.split_once("stream_view_type: NEW_AND_OLD_IMAGES\n").unwrap();
    project.write(TEAM, &format!("{before}    import: {TABLE}\n{after}"));
    project.run(&["apply", TEAM, "--local"]).expect(0, &["Apply complete!"]);
    let verify = |args: &[&str]| project.run(&[&["verify", TEAM, "--local"], args].concat());
    let refused = ["this spec doesn't manage the table", "pass `--allow-imported todos`"];
    verify(&["--yes"]).expect(1, &refused);
    verify(&["--yes", "--allow-imported", "logger"])
        .expect(1, &["`logger` is not an imported table or queue", "are `todos`"]);
    verify(&["--allow-imported", "todos"]).expect(1, &["the spec imports the table", "pass --yes"]);
    let scan = || aws.wait(aws.dynamodb.scan().table_name(TABLE).send()).items().to_vec();
    assert_eq!(scan(), Vec::<std::collections::HashMap<String, AttributeValue>>::new());
    verify(&["--yes", "--allow-imported", "todos"]).expect(0, &["Verified in"]);
    assert_eq!(scan(), Vec::<std::collections::HashMap<String, AttributeValue>>::new());

    let arn = aws.table(TABLE).table_arn.unwrap();
    let tag = |key: &str, value: &str| aws_sdk_dynamodb::types::Tag::builder().key(key).value(value).build().unwrap();
    let tags = [tag("engine:team", "red-foxes"), tag("engine:stack", "team"), tag("engine:resource", "todos")];
    aws.wait(aws.dynamodb.tag_resource().resource_arn(arn).set_tags(Some(tags.to_vec())).send());
    verify(&["--yes", "--allow-imported", "todos"]).expect(1, &["belongs to team `red-foxes`"]);
    assert_eq!(scan(), Vec::<std::collections::HashMap<String, AttributeValue>>::new());
}

#[test]
fn each_mapping_of_a_spec_is_verified() {
    let project = Project::new();
    let text = project.read(TEAM);
    let more = "\n  second:\n    type: function\n    runtime: nodejs22.x\n    handler: index.handler\n    \
                role: ${execution-role.arn}\n    code: ../lambda-src/log-events\n\n  todos-to-second:\n    \
                type: mapping\n    function: ${second.arn}\n    event_source_arn: ${todos.stream_arn}\n    \
                starting_position: TRIM_HORIZON\n";
    project.write(TEAM, &format!("{text}{more}"));
    project.run(&["apply", TEAM, "--local"]).expect(0, &["Apply complete!"]);
    let ran = project.run(&["verify", TEAM, "--local"]);
    ran.expect(0, &["the log of blue-owls-logger shows", "the log of blue-owls-second shows"]);
    assert_eq!(project.account(ACCOUNT).n_items(TABLE), 0);
    // A mapping that is no longer in the spec is another reader of the stream.
    project.write(TEAM, &text);
    let ran = project.run(&["verify", TEAM, "--local"]);
    ran.expect(1, &["others will see the test item", "sends it to `blue-owls-second`"]);
}

#[test]
fn other_readers_of_the_test_item_are_reported_and_need_confirmation() {
    let project = deployed(&[], None);
    let aws = project.account(ACCOUNT);
    aws.put_item(TABLE, "7", "buy milk");
    // Without a terminal, verify can't ask.
    let ran = project.run(&["verify", TEAM, "--local"]).expect(1, &[]);
    assert!(ran.err.contains("others will see the test item") && ran.err.contains("--yes"), "{ran:#?}");
    let ask = |answer: &str, ends: &[&str]| {
        let mut terminal = project.command(&["verify", TEAM, "--local"]).terminal();
        terminal.exp_string("Others will see the test:").unwrap();
        terminal.exp_string("Only 'yes' will be accepted").unwrap();
        terminal.send_line(answer).unwrap();
        ends.iter().for_each(|text| drop(terminal.exp_string(text).unwrap()));
        terminal.exp_eof().unwrap();
    };
    ask("no", &["Nothing was written."]);
    ask("yes", &["Verified in"]);
    assert_eq!(aws.n_items(TABLE), 1, "the item that was there stays");
}

/// Each row of a list of teams, and the entry of each team in the document.
#[test]
fn a_list_of_teams_is_verified_and_one_that_fails_hides_no_other() {
    let project = Project::new();
    project.write("all.txt", "blue-owls\nred-foxes\ngrey-geese\n");
    project.write("two.txt", "blue-owls\nred-foxes\n");
    project.run(&["apply", TEAM, "--teams", "two.txt", "--local"]).expect(0, &["Apply complete!"]);
    let verify =
        |list: &str, args: &[&str]| project.run(&[&["verify", TEAM, "--local", "--teams", list], args].concat());
    let ran =
        verify("two.txt", &[]).expect(0, &["2 teams: blue-owls, red-foxes; stack team", "2 of 2 teams verified."]);
    for team in ["blue-owls", "red-foxes"] {
        let row = format!("{team}/todos-to-logger: Verified in ");
        assert_eq!(ran.out.matches(&row).count(), 1, "{ran:#?}");
        assert!(ran.out.contains(&format!("the log of {team}-logger shows INSERT, MODIFY and REMOVE.")), "{ran:#?}");
    }
    eprintln!("{}{}", ran.err, ran.out);

    // One isn't deployed, one has its mapping disabled, and one has an item in its table.
    let aws = project.account(ACCOUNT);
    let uuid = aws.wait(aws.lambda.list_event_source_mappings().function_name("red-foxes-logger").send());
    let uuid = uuid.event_source_mappings.unwrap().remove(0).uuid.unwrap();
    aws.wait(aws.lambda.update_event_source_mapping().uuid(uuid).enabled(false).send());
    aws.put_item(TABLE, "7", "buy milk");
    verify("all.txt", &[]).expect(1, &["verify needs confirmation", "the table `blue-owls-todos` has items"]);
    let words = [
        "grey-geese: `todos-to-logger` can't be verified: the mapping doesn't exist",
        "red-foxes/todos-to-logger: Not verified; nothing was written.",
        "red-foxes: `todos-to-logger` is Disabled",
        "blue-owls/todos-to-logger: Verified in ",
        "1 of 3 teams verified.",
    ];
    let ran = verify("all.txt", &["--yes", "--parallelism", "1"]).expect(1, &words);
    eprintln!("{}{}", ran.err, ran.out);
    let documents = verify("all.txt", &["--yes", "--format", "json"]).expect(1, &[]).json();
    let [document] = &documents[..] else { panic!("one document: {documents:#?}") };
    let of_team =
        |it: &Json| (it["team"].clone(), it["verified"].clone(), it["mappings"][0]["failed"]["cause"].clone());
    let teams: Vec<_> = document["teams"].as_array().unwrap().iter().map(of_team).collect();
    let expected = [
        (json!("blue-owls"), json!(true), Json::Null),
        (json!("red-foxes"), json!(false), json!("mapping_disabled")),
        (json!("grey-geese"), json!(false), Json::Null),
    ];
    assert_eq!((teams, &document["verified"]), (expected.to_vec(), &json!(false)), "{document:#}");
    let problem = document["teams"][2]["problems"][0]["problem"].as_str().unwrap();
    assert!(problem.contains("the mapping doesn't exist"), "{document:#}");
    assert_eq!(aws.n_items(TABLE), 1, "the item that was there stays");
}

/// Each team's function gets the records of all test items.
#[test]
fn teams_that_share_an_imported_table_are_verified_one_after_the_other() {
    let project = Project::new();
    let aws = project.account(ACCOUNT);
    aws.create_table("shared-todos", &[("project", "shop")]);
    aws.new_stream("shared-todos", aws_sdk_dynamodb::types::StreamViewType::NewAndOldImages);
    let text = project.read(TEAM);
    let (before, rest) = text.split_once("    attributes:").unwrap();
    let (_, after) = rest.split_once("stream_view_type: NEW_AND_OLD_IMAGES\n").unwrap();
    project.write(TEAM, &format!("{before}    import: shared-todos\n{after}"));
    project.write("teams.txt", "blue-owls\nred-foxes\n");
    let run = |command: &str, args: &[&str]| {
        project.run(&[&[command, TEAM, "--local", "--teams", "teams.txt", "--yes"], args].concat())
    };
    run("apply", &[]).expect(0, &["Apply complete!"]);
    let ran = run("verify", &["--allow-imported", "todos", "--format", "json"]).expect(0, &[]);
    let document = &ran.json()[0];
    let proofs: Vec<&Json> =
        document["teams"].as_array().unwrap().iter().map(|it| &it["mappings"][0]["proof"]).collect();
    assert_eq!(proofs, [&json!("logged"), &json!("logged")], "{document:#}");
    assert_eq!(aws.n_items("shared-todos"), 0);
}
