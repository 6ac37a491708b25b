//! `items` and `invoke`: a person's first event, on a real table, stream and function.

use serde_json::{Value as Json, json};

use super::TEAM;
use super::project::{ACCOUNT, Project};

fn deployed() -> Project {
    let project = Project::new();
    project.run(&["apply", TEAM, "--local"]).expect(0, &["Apply complete!"]);
    project
}

#[test]
fn an_item_is_put_listed_and_deleted_and_reaches_the_function() {
    let project = deployed();
    let aws = project.account(ACCOUNT);
    let run = |args: &[&str], code| project.run(&[args, &["--local"]].concat()).expect(code, &[]);
    // Every digit arrives, which a float wouldn't keep.
    let item = r#"{"id":"7","n":12345678901234567890.50,"text":"buy milk"}"#;
    let put = run(&["items", "put", "todos", item], 0);
    assert_eq!(put.out, format!("{item}: created in blue-owls-todos\n"));
    aws.await_log("blue-owls-logger", &["INSERT keys {\"id\":\"7\"}"]);
    let oat = r#"{"text":"buy oat milk","id":"7"}"#;
    assert!(run(&["items", "put", "todos", oat], 0).out.ends_with(": replaced in blue-owls-todos\n"));
    aws.await_log("blue-owls-logger", &["MODIFY keys {\"id\":\"7\"}"]);

    run(&["items", "put", "todos", "--dynamodb-json", r#"{"id":{"S":"8"},"tags":{"SS":["a"]},"n":{"N":"1e2"}}"#], 0);
    let listed = |args: &[&str]| -> Vec<String> {
        let mut lines: Vec<String> = run(args, 0).out.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let plain = listed(&["items", "list", "todos"]);
    assert_eq!(plain[0], r#"{"id":"7","text":"buy oat milk"}"#);
    assert!(plain[1].starts_with(r#"{"id":"8","#) && plain[1].ends_with(r#""tags":["a"]}"#), "{plain:?}");
    let typed = listed(&["items", "list", "todos", "--dynamodb-json"]);
    assert_eq!(typed[0], r#"{"id":{"S":"7"},"text":{"S":"buy oat milk"}}"#);

    // The key of a listed item is enough, from stdin too.
    let deleted = run(&["items", "delete", "todos", &plain[0]], 0);
    assert_eq!(deleted.out, "{\"id\":\"7\"}: deleted from blue-owls-todos\n");
    aws.await_log("blue-owls-logger", &["REMOVE keys {\"id\":\"7\"}"]);
    let again = project.command(&["items", "delete", "todos", "-", "--local"]).run_with(r#"{"id":"7"}"#);
    again.expect(0, &["not found in blue-owls-todos"]);

    // `list` shows the first 25.
    (0..30).for_each(|n| aws.put_item("blue-owls-todos", &format!("n{n}"), "x"));
    let many = run(&["items", "list", "todos"], 0);
    assert_eq!(many.out.lines().count(), 25);
    assert!(many.err.contains("the first 25 items; `todos` has more"), "{}", many.err);
}

#[test]
fn what_cannot_be_an_item_is_refused_before_any_call() {
    let project = Project::new();
    let imported = "  theirs: { type: table, import: blue-owls-theirs }\n";
    project.edit(TEAM, &[("resources:\n", &format!("resources:\n{imported}"))]);
    for (line, words) in [
        (["put", "todos", r#"{"text":"x"}"#], ["the item lacks `id`", r#"{"id":"7"}"#]),
        (["put", "todos", r#"{"id":7}"#], ["`id` must be text", r#"{"id":"7"}"#]),
        (["put", "todos", r#"{"id":{"S":"7"}}"#], ["`id` must be text", "--dynamodb-json"]),
        (["put", "todos", r#"{"id":""}"#], ["`id` is empty", "DynamoDB takes no empty text"]),
        (["put", "todos", r#"{"id":"7",}"#], ["is not JSON", "1:11"]),
        (["put", "todos", r#"{"id":"7","id":"8"}"#], ["it has `id` twice", "write an item like this"]),
        (["put", "todos", "[]"], ["the item must be a JSON object", "write an item like this"]),
        (["delete", "todos", r#"{"text":"x"}"#], ["the item lacks `id`", "part of the key of `todos`"]),
        (["put", "todo", r#"{"id":"7"}"#], ["the spec has no resource `todo`", "did you mean `todos`?"]),
        (["put", "logger", r#"{"id":"7"}"#], ["`logger` is a function, and only tables have items", "`todos`"]),
        (["put", "theirs", r#"{"id":"7"}"#], ["`theirs` is imported", "ask the table's owner"]),
    ] {
        // Without the local AWS: it isn't even looked for.
        let ran = project.run(&[&["items"], &line[..], &["--local"]].concat());
        let ran = ran.expect(1, &words);
        assert!(!ran.err.contains("local AWS"), "{line:?}: {}", ran.err);
    }
}

#[test]
fn a_function_is_invoked_with_a_record_of_its_table_or_any_event() {
    let project = Project::new();
    let code = "exports.handler = async (event) => { console.log('got', JSON.stringify(event)); \
                if (event.fail) throw new TypeError('no luck'); return event.Records ? event.Records[0] : event; };\n";
    project.write("lambda-src/log-events/index.js", code);
    project.run(&["apply", TEAM, "--local"]).expect(0, &["Apply complete!"]);
    let run =
        |args: &[&str], code| project.run(&[&["invoke", "logger"], args, &["--local"]].concat()).expect(code, &[]);
    // The result is the only thing on stdout.
    let record: Json = serde_json::from_str(&run(&[], 0).out).unwrap();
    assert_eq!((&record["eventName"], &record["eventSource"]), (&json!("INSERT"), &json!("aws:dynamodb")));
    assert_eq!(record["dynamodb"]["Keys"], json!({ "id": { "S": "engine-invoke" } }));
    assert_eq!(record["dynamodb"]["NewImage"]["id"], json!({ "S": "engine-invoke" }));
    assert!(
        record["dynamodb"].get("OldImage").is_none() && record["eventSourceARN"].as_str().unwrap().contains("/stream/")
    );
    let modified: Json = serde_json::from_str(&run(&["--record", "modify"], 0).out).unwrap();
    assert_ne!(modified["dynamodb"]["OldImage"], modified["dynamodb"]["NewImage"]);
    let removed: Json = serde_json::from_str(&run(&["--record", "remove"], 0).out).unwrap();
    assert!(removed["dynamodb"].get("NewImage").is_none(), "{removed}");

    let echoed = run(&["-d", r#"{ "n": 12345678901234567890 }"#], 0);
    assert!(echoed.err.contains("got") && echoed.err.contains("Finished in"), "{}", echoed.err);
    project.write("event.json", r#"{"from":"a file"}"#);
    let from_file: Json = serde_json::from_str(&run(&["-e", "event.json"], 0).out).unwrap();
    assert_eq!(from_file, json!({ "from": "a file" }));
    let piped = project.command(&["invoke", "logger", "-e", "-", "--local"]).run_with("[1]");
    assert_eq!(piped.expect(0, &[]).out.trim(), "[1]");

    let failed = run(&["-d", r#"{"fail":true}"#], 1);
    assert_eq!(failed.out, "");
    let failed = failed.expect(1, &["the function `logger` failed:", "no luck"]);
    assert!(!failed.err.contains("node:"), "frames of the runtime are left out: {}", failed.err);
    let [document] = &run(&["-d", r#"{"fail":true}"#, "--json"], 1).json()[..] else { panic!("one document") };
    assert_eq!((&document["succeeded"], &document["result"]["errorMessage"]), (&json!(false), &json!("no luck")));

    // Errors that need no AWS.
    run(&["-d", "{\"a\": }"], 1).expect(1, &["is not JSON", "1:7"]);
    project.write("event.json", "{\n  \"a\": [1,\n}\n");
    run(&["-e", "event.json"], 1).expect(1, &["event.json is not JSON", "event.json:3:1"]);
    project.run(&["invoke", "loger", "--local"]).expect(1, &["no resource `loger`", "did you mean `logger`?"]);
    project.run(&["invoke", "todos", "--local"]).expect(1, &["`todos` is a table, and only functions"]);
}

#[test]
fn an_imported_function_is_invoked_only_with_permission_of_the_user() {
    let project = Project::new();
    let imported = "  helper: { type: function, import: shared-helper }\n";
    project.edit(TEAM, &[("resources:\n", &format!("resources:\n{imported}"))]);
    project.run(&["diff", TEAM, "--local"]);
    let aws = project.account(ACCOUNT);
    aws.create_function("shared-helper", |function| function);
    let run = |args: &[&str]| project.run(&[&["invoke", "helper", "-d", "{}", "--local"], args].concat());
    run(&[]).expect(1, &["`helper` is imported", "add `--allow-imported helper`"]);
    run(&["--allow-imported", "todos"]).expect(1, &["the spec imports no such function"]);
    // It is invoked: its code has no handler.
    run(&["--allow-imported", "helper"]).expect(1, &["invoking shared-helper", "the function `helper` failed"]);
    project
        .run(&["invoke", "helper", "--record", "insert", "--allow-imported", "helper", "--local"])
        .expect(1, &["no mapping of the spec connects `helper` to a table", "-d JSON"]);
}
