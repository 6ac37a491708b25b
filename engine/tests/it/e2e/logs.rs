//! `logs` of a function that really runs: it shows the changes to a table in a readable form.

use std::time::Instant;

use serde_json::{Value as Json, json};

use super::TEAM;
use super::project::{ACCOUNT, Project};
use crate::shared::program::Running;
use crate::shared::{ENGINE, eventually};

const TABLE: &str = "blue-owls-todos";
const CODE: &str = "lambda-src/log-events/index.js";

/// Deploys the team's pipeline, with `code` instead of the default code.
fn deployed(code: Option<&str>) -> Project {
    let project = Project::new();
    if let Some(code) = code {
        project.write(CODE, &format!("exports.handler = async (event) => {{ {code} }};\n"));
    }
    project.run(&["apply", TEAM, "--local"]).expect(0, &["Apply complete!"]);
    project
}

/// Waits until `logs` prints all of these texts, and returns its output.
fn logs(project: &Project, args: &[&str], texts: &[&str]) -> String {
    let mut said = String::new();
    eventually(&texts.join(", "), || {
        let args = [&["logs"], args, &["--spec", TEAM, "--local"]].concat();
        said = project.run(&args).expect(0, &[]).out;
        texts.iter().all(|text| said.contains(text))
    });
    said
}

/// Creates, updates and deletes an item.
fn change_item(project: &Project) {
    let aws = project.account(ACCOUNT);
    aws.put_item(TABLE, "7", "buy milk");
    aws.update_item(TABLE, "7", "buy oat milk");
    aws.delete_item(TABLE, "7");
}

#[test]
fn each_change_of_an_item_is_a_line() {
    let project = deployed(None);
    let nothing = project.run(&["logs", "--spec", TEAM, "--local"]).expect(0, &[]);
    assert_eq!(nothing.out, "");
    assert!(nothing.err.contains("nothing was ever logged"), "{}", nothing.err);
    change_item(&project);
    let changed = "MODIFY  id=7  text: \"buy milk\" -> \"buy oat milk\"";
    let said = logs(&project, &[], &["INSERT  id=7  text: \"buy milk\"", changed, "REMOVE  id=7"]);
    eprintln!("{said}");
    assert!(!logs(&project, &["--filter", "MODIFY"], &[changed]).contains("INSERT"));
    logs(&project, &["logger", "--raw"], &["MODIFY keys {\"id\":\"7\"} | old {"]);
    let documents = logs(&project, &["--format", "json"], &["REMOVE"]);
    let documents: Vec<Json> = documents.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let events: Vec<&Json> = documents.iter().filter(|it| it["type"] == "record").map(|it| &it["event"]).collect();
    assert_eq!(events, ["INSERT", "MODIFY", "REMOVE"]);
    let change = json!([{ "attribute": "text", "before": "buy milk", "after": "buy oat milk" }]);
    assert_eq!(documents.iter().find(|it| it["event"] == "MODIFY").unwrap()["changes"], change);
    assert!(documents.iter().all(|it| it["format_version"] == 1 && it["function"] == "logger"), "{documents:?}");

    // If `logs` can't show anything, the error explains why.
    project.run(&["logs", "todos", "--spec", TEAM, "--local"]).expect(1, &["`todos` is a table"]);
    project.run(&["logs", "nobody", "--spec", TEAM, "--local"]).expect(1, &["the spec's functions are `logger`"]);
    project.run(&["destroy", TEAM, "--local", "--yes", "--delete-data"]).expect(0, &[]);
    project
        .run(&["logs", "--spec", TEAM, "--local"])
        .expect(1, &["there is no function", "in the local AWS", "run `engine apply --local` first"]);
}

#[test]
fn a_function_logs_to_a_log_group_of_the_spec() {
    const LOGS: &str = "\n  logs:\n    type: log_group\n    name: /owls/${team}-changes\n    retention_in_days: 14\n";
    let project = Project::new();
    project.edit(TEAM, &[("    code: ../", "    log_group: ${logs.name}\n    code: ../")]);
    project.write(TEAM, &(project.read(TEAM) + LOGS));
    project.run(&["apply", TEAM, "--local"]).expect(0, &["5 added"]);
    project.run(&["diff", TEAM, "--local", "--detailed-exitcode"]).expect(0, &["No changes."]);
    project.run(&["verify", "--spec", TEAM, "--local", "--yes"]).expect(0, &[]);
    change_item(&project);
    logs(&project, &[], &["INSERT  id=7  text: \"buy milk\"", "REMOVE  id=7"]);

    project.edit(TEAM, &[("retention_in_days: 14", "retention_in_days: 7")]);
    project.run(&["apply", TEAM, "--local"]).expect(1, &["log events that are older than 7 days are deleted", "--yes"]);
    project.run(&["apply", TEAM, "--local", "--yes"]).expect(0, &["1 changed"]);
    project.run(&["destroy", TEAM, "--local"]).expect(1, &["its log events are deleted too", "--yes"]);
    project.run(&["destroy", TEAM, "--local", "--yes"]).expect(0, &["5 destroyed"]);
    project.run(&["list", "--local"]).expect(0, &[]);
}

#[test]
fn other_log_formats_are_parsed_as_well() {
    for code in [
        "console.log(JSON.stringify(event));",
        "console.log('got', JSON.stringify(event, null, 2));",
        "for (const record of event.Records) console.log(JSON.stringify(record));",
    ] {
        let project = deployed(Some(code));
        change_item(&project);
        let said = logs(&project, &[], &["INSERT  id=7", "\"buy milk\" -> \"buy oat milk\"", "REMOVE  id=7"]);
        assert!(!said.contains("eventName"), "{code}: {said}");
    }
    let project = deployed(Some("console.log('hello,\\x1b[31m you'); throw new TypeError('no luck');"));
    change_item(&project);
    let said = logs(&project, &[], &["hello,", "no luck"]);
    assert!(!said.contains('\x1b'), "{said:?}");
}

/// The next line that contains a text.
fn next(running: &mut Running, text: &str) -> String {
    running.out.find(|line| line.contains(text)).unwrap()
}

#[test]
fn follow_shows_each_change_as_it_happens() {
    let project = deployed(None);
    let aws = project.account(ACCOUNT);
    let mut running = project.command(&["logs", "--follow", "--spec", TEAM, "--local"]).start();
    aws.put_item(TABLE, "0", "first");
    next(&mut running, "INSERT  id=0");
    let mut times: Vec<u128> = Vec::new();
    for n in 1..=10 {
        let start = Instant::now();
        aws.put_item(TABLE, &n.to_string(), "more");
        next(&mut running, &format!("INSERT  id={n}"));
        times.push(start.elapsed().as_millis());
    }
    times.sort_unstable();
    eprintln!("from a write to its line: {} ms, median of {times:?}", times[times.len() / 2]);
    aws.delete_item(TABLE, "3");
    next(&mut running, "REMOVE  id=3");
    running.press_ctrl_c();
    running.end().ends_with(130);
}

#[test]
fn follow_continues_after_a_restart_of_the_local_aws() {
    let project = deployed(None);
    // A function may log its own access key, which `logs` has to mask.
    project.edit(
        "lambda-src/log-events/index.js",
        &[("for (", "console.log('own', process.env.AWS_ACCESS_KEY_ID);\n  for (")],
    );
    let mut running = project.command(&["logs", "--follow", "--raw", "--spec", TEAM, "--local"]).start();
    project.account(ACCOUNT).put_item(TABLE, "0", "first");
    next(&mut running, "INSERT");
    let keys = [(); 2].map(|()| {
        project.run(&["local", "stop"]).expect(0, &["stopped"]);
        project.run(&["apply", TEAM, "--local"]).expect(0, &["Apply complete!"]);
        project.account(ACCOUNT).put_item(TABLE, "1", "second");
        next(&mut running, "own ***000000000001F");
        next(&mut running, "INSERT");
        project.key()
    });
    assert_ne!(keys[0], keys[1]);
    running.press_ctrl_c();
    running.end().ends_with(130);
}

#[test]
fn follow_ends_when_its_reader_exits() {
    let project = deployed(None);
    let follow = r#"{ "$0" logs --follow --spec "$1" --local; echo "rc $?" >&2; } | grep -m 1 'INSERT  id=0'"#;
    let running = project.program("sh").args(["-c", follow, ENGINE, TEAM]).start();
    // No further line will follow, so a failed write can't reveal that the reader has ended.
    project.account(ACCOUNT).put_item(TABLE, "0", "first");
    running.end().ends_with(0).says("INSERT id=0").complains("rc 0");
}
