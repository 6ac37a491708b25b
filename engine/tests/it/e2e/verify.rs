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
    let filters = "starting_position: TRIM_HORIZON\n    filters: [{ eventName: [INSERT, REMOVE] }]";
    let filters = ("starting_position: TRIM_HORIZON", filters);
    let disabled = ("starting_position: TRIM_HORIZON", "starting_position: TRIM_HORIZON\n    enabled: false");
    type Case<'a> = (&'a [(&'a str, &'a str)], Option<&'a str>, [&'a str; 3]);
    let cases: [Case<'_>; 4] = [
        (&[filters], None, ["MODIFY", "invoked", "filtered"]),
        (&[disabled], None, ["INSERT", "invoked", "mapping_disabled"]),
        (&[], Some("throw new Error('no luck');"), ["INSERT", "logged", "function_error"]),
        (&[], Some(""), ["INSERT", "logged", "not_logged"]),
    ];
    for (edits, code, [change, hop, cause]) in cases {
        let project = deployed(edits, code);
        let failed = &outcome(&project, 1)["failed"];
        assert_eq!((&failed["change"], &failed["hop"], &failed["cause"]), (&json!(change), &json!(hop), &json!(cause)));
        if cause == "function_error" {
            assert!(failed["diagnostic"]["problem"].as_str().unwrap().contains("no luck"), "{failed}");
            assert!(failed["diagnostic"]["why"].as_str().unwrap().contains("index.js"), "{failed}");
        }
        assert_eq!(project.account(ACCOUNT).n_items(TABLE), 0, "{cause}");
        let ran = project.run(&["verify", TEAM, "--local", "--timeout", "10"]).expect(1, &["Not verified"]);
        eprintln!("{}{}", ran.out, ran.err);
    }
}

#[test]
fn ctrl_c_deletes_the_test_item() {
    let project = deployed(&[], Some(""));
    let aws = project.account(ACCOUNT);
    let running = project.command(&["verify", TEAM, "--local", "--timeout", "60"]).start();
    assert!(patiently(|| aws.n_items(TABLE) == 1));
    running.press_ctrl_c();
    running.end().ends_with(130);
    assert_eq!(aws.n_items(TABLE), 0);
}

#[test]
fn an_imported_table_is_never_written() {
    let project = Project::new();
    let aws = project.account(ACCOUNT);
    aws.create_table("blue-owls-todos", &[]);
    let stream = aws.new_stream("blue-owls-todos", aws_sdk_dynamodb::types::StreamViewType::NewImage);
    assert!(stream.contains("/stream/"));
    let text = project.read(TEAM);
    let (before, rest) = text.split_once("    attributes:").unwrap();
    let (_, after) = rest.split_once("stream_view_type: NEW_AND_OLD_IMAGES\n").unwrap();
    let text =
        format!("{before}    import: blue-owls-todos\n{after}").replace("    type: table\n", "    type: table\n");
    project.write(TEAM, &text);
    project.run(&["apply", TEAM, "--local"]).expect(0, &["Apply complete!"]);
    project.run(&["verify", TEAM, "--local", "--yes"]).expect(
        1,
        &["this spec doesn't manage the table", "engine writes a test item only to a table that the spec declares"],
    );
    let scan = aws.wait(aws.dynamodb.scan().table_name("blue-owls-todos").send());
    assert_eq!(scan.items(), &[] as &[std::collections::HashMap<String, AttributeValue>]);
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
        terminal.exp_string("Others will see the test item:").unwrap();
        terminal.exp_string("Only 'yes' will be accepted").unwrap();
        terminal.send_line(answer).unwrap();
        ends.iter().for_each(|text| drop(terminal.exp_string(text).unwrap()));
        terminal.exp_eof().unwrap();
    };
    ask("no", &["Nothing was written."]);
    ask("yes", &["Verified in"]);
    assert_eq!(aws.n_items(TABLE), 1, "the item that was there stays");
}
