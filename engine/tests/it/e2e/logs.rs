//! `logs` of a function that really runs: what is written to the table comes out as people want to
//! read it.

use std::time::Instant;

use serde_json::{Value as Json, json};

use super::TEAM;
use super::project::{ACCOUNT, Project};
use crate::shared::program::Running;
use crate::shared::{ENGINE, eventually};

const TABLE: &str = "blue-owls-todos";
const CODE: &str = "lambda-src/log-events/index.js";

/// With the team's pipeline, and this code unless it is the usual.
fn deployed(code: Option<&str>) -> Project {
    let project = Project::new();
    if let Some(code) = code {
        project.write(CODE, &format!("exports.handler = async (event) => {{ {code} }};\n"));
    }
    project.run(&["apply", TEAM, "--local"]).expect(0, &["Apply complete!"]);
    project
}

/// What `logs` says once it says all of these.
fn says(project: &Project, args: &[&str], texts: &[&str]) -> String {
    let mut said = String::new();
    eventually(&texts.join(", "), || {
        let args = [&["logs"], args, &["--spec", TEAM, "--local"]].concat();
        said = project.run(&args).expect(0, &[]).out;
        texts.iter().all(|text| said.contains(text))
    });
    said
}

/// An item's life.
fn live(project: &Project) {
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
    live(&project);
    let changed = "MODIFY  id=7  text: \"buy milk\" -> \"buy oat milk\"";
    let said = says(&project, &[], &["INSERT  id=7  text: \"buy milk\"", changed, "REMOVE  id=7"]);
    eprintln!("{said}");
    assert!(!says(&project, &["--filter", "MODIFY"], &[changed]).contains("INSERT"));
    says(&project, &["logger", "--raw"], &["MODIFY keys {\"id\":\"7\"} | old {"]);
    let documents = says(&project, &["--format", "json"], &["REMOVE"]);
    let documents: Vec<Json> = documents.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let events: Vec<&Json> = documents.iter().filter(|it| it["type"] == "record").map(|it| &it["event"]).collect();
    assert_eq!(events, ["INSERT", "MODIFY", "REMOVE"]);
    let change = json!([{ "attribute": "text", "before": "buy milk", "after": "buy oat milk" }]);
    assert_eq!(documents.iter().find(|it| it["event"] == "MODIFY").unwrap()["changes"], change);
    assert!(documents.iter().all(|it| it["format_version"] == 1 && it["function"] == "logger"), "{documents:?}");

    // What can't be shown says why.
    project.run(&["logs", "todos", "--spec", TEAM, "--local"]).expect(1, &["`todos` is a table"]);
    project.run(&["logs", "nobody", "--spec", TEAM, "--local"]).expect(1, &["the spec's functions are `logger`"]);
    project.run(&["destroy", TEAM, "--local", "--yes", "--delete-data"]).expect(0, &[]);
    project
        .run(&["logs", "--spec", TEAM, "--local"])
        .expect(1, &["there is no function", "in the local AWS", "run `engine apply --local` first"]);
}

#[test]
fn what_functions_print_otherwise_is_read_as_well() {
    for code in [
        "console.log(JSON.stringify(event));",
        "console.log('got', JSON.stringify(event, null, 2));",
        "for (const record of event.Records) console.log(JSON.stringify(record));",
    ] {
        let project = deployed(Some(code));
        live(&project);
        let said = says(&project, &[], &["INSERT  id=7", "\"buy milk\" -> \"buy oat milk\"", "REMOVE  id=7"]);
        assert!(!said.contains("eventName"), "{code}: {said}");
    }
    let project = deployed(Some("console.log('hello,\\x1b[31m you'); throw new TypeError('no luck');"));
    live(&project);
    let said = says(&project, &[], &["hello,", "no luck"]);
    assert!(!said.contains('\x1b'), "{said:?}");
}

/// The next line that contains a text.
fn next(running: &mut Running, text: &str) -> String {
    running.out.find(|line| line.contains(text)).unwrap()
}

#[test]
fn who_follows_sees_each_change_as_it_happens() {
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
fn who_follows_goes_on_after_a_restart_of_the_local_aws() {
    let project = deployed(None);
    // A function may show its own key; nobody shall see it.
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
fn following_ends_with_its_reader() {
    let project = deployed(None);
    let follow = r#"{ "$0" logs --follow --spec "$1" --local; echo "rc $?" >&2; } | grep -m 1 'INSERT  id=0'"#;
    let running = project.program("sh").args(["-c", follow, ENGINE, TEAM]).start();
    // Nothing is ever written again.
    project.account(ACCOUNT).put_item(TABLE, "0", "first");
    running.end().ends_with(0).says("INSERT id=0").complains("rc 0");
}
