//! `logs` of what AWS really writes: its two formats, its own lines, pages and refusals.

use serde_json::{Value as Json, json};

use super::server::Fault;
use super::world::Reply;
use super::{Project, deployed, is_write};

const REQUEST: &str = "8f0c1d2e-3a4b-4c5d-8e6f-708192a3b4c5";

/// Log events a second apart, all of one stream.
fn events(texts: &[&str]) -> Vec<Json> {
    let event = |(at, text): (usize, &&str)| {
        json!({
            "eventId": format!("event-{at}"),
            "logStreamName": "2026/11/25/[$LATEST]0123456789abcdef",
            "timestamp": 1_795_000_000_000_u64 + at as u64 * 1000,
            "message": text,
        })
    };
    texts.iter().enumerate().map(event).collect()
}

fn page(events: &[Json], next: Option<&str>) -> Fault {
    Fault::Answer(Reply::ok(&json!({ "events": events, "nextToken": next })))
}

/// A record as the stream has it.
fn record(word: &str) -> Json {
    let item =
        |text: &str| json!({ "id": { "S": "7" }, "text": { "S": text }, "n": { "N": "12345678901234567890123" } });
    let mut dynamodb = json!({ "Keys": { "id": { "S": "7" } } });
    if word != "INSERT" {
        dynamodb["OldImage"] = item("buy milk");
    }
    if word != "REMOVE" {
        dynamodb["NewImage"] = item("buy oat milk");
    }
    json!({ "eventName": word, "dynamodb": dynamodb })
}

/// What is shown of these texts, in these columns.
fn shown(texts: &[&str], args: &[&str]) -> String {
    let cloud = deployed();
    cloud.always("FilterLogEvents", page(&events(texts), None));
    let project = Project::usual();
    let run = project.run(&cloud, &[&["logs"], args].concat());
    run.ends_with(0);
    assert!(!cloud.calls().iter().any(is_write));
    run.out.clone()
}

#[test]
fn the_text_format_is_folded_into_what_people_want_to_know() {
    let (insert, modify) = (record("INSERT").to_string(), record("MODIFY").to_string());
    let at = "2026-11-18T06:26:40.000Z";
    let texts = [
        "INIT_START Runtime Version: nodejs:22.v50\tRuntime Version ARN: arn:aws:lambda:x::runtime:y\n".to_owned(),
        format!("START RequestId: {REQUEST} Version: $LATEST\n"),
        format!("{at}\t{REQUEST}\tINFO\t{insert}\n"),
        format!(
            "{at}\t{REQUEST}\tINFO\tReceived event: {}\n",
            json!({ "Records": [record("MODIFY"), record("REMOVE")] })
        ),
        format!("{at}\t{REQUEST}\tWARN\tnot a record\nof two lines {modify} and more\n"),
        format!(
            "{at}\t{REQUEST}\tERROR\tInvoke Error \t{}\n",
            json!({
                "errorType": "TypeError",
                "errorMessage": "no luck",
                "stack": ["TypeError: no luck", "    at handler (/var/task/index.js:3:9)", "    at async run"],
            })
        ),
        format!("END RequestId: {REQUEST}\n"),
        format!(
            "REPORT RequestId: {REQUEST}\tDuration: 12.34 ms\tBilled Duration: 165 ms\tMemory Size: 128 MB\t\
             Max Memory Used: 67 MB\tInit Duration: 151.90 ms\t\n"
        ),
        format!("{at} {REQUEST} Task timed out after 3.00 seconds\n\n"),
        "\u{1b}[31mred\u{7}\n".to_owned(),
    ];
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    insta::assert_snapshot!(shown(&texts, &[]));
    insta::assert_snapshot!(shown(&texts, &["--filter", "oat", "--color", "always"]));
}

#[test]
fn the_json_format_is_read_as_well() {
    let line = |level: &str, message: Json| json!({ "timestamp": "2026-11-18T06:26:40.000Z", "level": level, "requestId": REQUEST, "message": message });
    let report = json!({
        "time": "2026-11-18T06:26:41.000Z",
        "type": "platform.report",
        "record": {
            "requestId": REQUEST,
            "metrics": { "durationMs": 3000.0, "billedDurationMs": 3000, "memorySizeMB": 128, "maxMemoryUsedMB": 67 },
            "status": "timeout",
        },
    });
    let texts = [
        line("INFO", record("MODIFY")).to_string(),
        line("INFO", json!(record("REMOVE").to_string())).to_string(),
        line("ERROR", json!({ "errorType": "Error", "errorMessage": "no", "stackTrace": ["    at x"] })).to_string(),
        line("DEBUG", json!("plain")).to_string(),
        json!({ "time": "x", "type": "platform.start", "record": { "requestId": REQUEST } }).to_string(),
        report.to_string(),
        json!({ "somebody": "else's" }).to_string(),
    ];
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    insta::assert_snapshot!(shown(&texts, &[]));
    insta::assert_snapshot!(shown(&texts, &["--format", "json"]));
}

#[test]
fn all_pages_are_read_also_behind_an_empty_one_and_each_event_is_shown_once() {
    let cloud = deployed();
    let all = events(&["one", "two", "three"]);
    cloud.fault("FilterLogEvents", 1..2, page(&all[..1], Some("a")));
    cloud.fault("FilterLogEvents", 2..3, page(&[], Some("b")));
    cloud.fault("FilterLogEvents", 3..4, page(&all[1..], Some("c")));
    // A token that comes again leads nowhere.
    cloud.always("FilterLogEvents", page(&all[2..], Some("c")));
    let run = Project::usual().run(&cloud, &["logs", "--raw"]);
    run.ends_with(0);
    assert_eq!(run.out, "one\ntwo\nthree\n");
    assert_eq!(cloud.count("FilterLogEvents"), 4);
}

/// Of a millisecond in which more was logged than a page has, the rest can't be reached; what comes later can.
#[test]
fn a_crowded_moment_is_passed_and_told() {
    let cloud = deployed();
    let event = |at: u64, n: usize| json!({ "eventId": format!("{at}-{n}"), "logStreamName": "s", "timestamp": at, "message": format!("line {n}") });
    let crowd: Vec<Json> = (0..10_000).map(|n| event(1_795_000_000_000, n)).collect();
    cloud.fault("FilterLogEvents", 1..3, page(&crowd, None));
    cloud.always("FilterLogEvents", page(&[event(1_795_000_000_001, 10_000)], None));
    let run = Project::usual().run(&cloud, &["logs", "--raw", "--since", "3650d"]);
    run.ends_with(0).complains("logger: AWS shows only some of the lines that were logged at 2026-11-18T11:06:40.000Z");
    assert!(run.out.ends_with("line 9999\nline 10000\n"), "{}", run.out.len());
    assert_eq!(cloud.count("FilterLogEvents"), 3);
}

#[test]
fn what_keeps_a_log_from_being_read_is_told() {
    for (code, text, ends, says) in [
        (
            "AccessDeniedException",
            "User: X is not authorized to perform: logs:FilterLogEvents on resource: arn:aws:logs:x",
            1,
            "ask the account's administrator for the permission `logs:FilterLogEvents`",
        ),
        (
            "ResourceNotFoundException",
            "The specified log group does not exist.",
            0,
            "nothing was ever logged, the log group /aws/lambda/blue-owls-logger does not exist",
        ),
    ] {
        let cloud = deployed();
        cloud.always("FilterLogEvents", Fault::Answer(Reply::of("FilterLogEvents", 400, code, text)));
        let run = Project::usual().run(&cloud, &["logs"]);
        run.ends_with(ends).complains(says);
        assert_eq!(run.out, "");
    }
}

#[test]
fn a_function_logs_where_its_configuration_says() {
    let cloud = deployed();
    cloud.world(|world| {
        let function = world.functions.get_mut(super::FUNCTION).unwrap();
        function.config["LoggingConfig"] = json!({ "LogFormat": "Text", "LogGroup": "/elsewhere" });
    });
    Project::usual().run(&cloud, &["logs"]).ends_with(0);
    let calls = cloud.calls();
    let look = calls.iter().find(|it| it.operation == "FilterLogEvents").unwrap();
    assert_eq!(look.about, "/elsewhere");
}
