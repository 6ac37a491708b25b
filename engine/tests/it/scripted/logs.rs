//! `logs` of real AWS output: its two formats, Lambda's own lines, pages and refusals.

use serde_json::{Value as Json, json};

use super::server::Fault;
use super::world::Reply;
use super::{Project, deployed, is_write};

const REQUEST: &str = "8f0c1d2e-3a4b-4c5d-8e6f-708192a3b4c5";

/// Log events of one stream, one second apart.
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

/// A record as the stream delivers it.
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

/// What `logs` prints for these texts with these arguments.
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
fn the_text_format_is_parsed() {
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
fn the_json_format_is_parsed() {
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
fn all_pages_are_read_and_each_event_is_shown_once() {
    let cloud = deployed();
    let all = events(&["one", "two", "three"]);
    cloud.fault("FilterLogEvents", 1..2, page(&all[..1], Some("a")));
    cloud.fault("FilterLogEvents", 2..3, page(&[], Some("b")));
    cloud.fault("FilterLogEvents", 3..4, page(&all[1..], Some("c")));
    // A repeated token ends the pages.
    cloud.always("FilterLogEvents", page(&all[2..], Some("c")));
    let run = Project::usual().run(&cloud, &["logs", "--raw"]);
    run.ends_with(0);
    assert_eq!(run.out, "one\ntwo\nthree\n");
    assert_eq!(cloud.count("FilterLogEvents"), 4);
}

/// A millisecond with more events than a page has can't be read completely; later events can.
#[test]
fn a_crowded_millisecond_is_skipped_and_reported() {
    let cloud = deployed();
    let event = |at: u64, n: usize| json!({ "eventId": format!("{at}-{n}"), "logStreamName": "s", "timestamp": at, "message": format!("line {n}") });
    let crowd: Vec<Json> = (0..10_000).map(|n| event(1_795_000_000_000, n)).collect();
    cloud.fault("FilterLogEvents", 1..3, page(&crowd, None));
    cloud.always("FilterLogEvents", page(&[event(1_795_000_000_001, 10_000)], None));
    let run = Project::usual().run(&cloud, &["logs", "--raw", "--since", "3650d"]);
    run.ends_with(0).complains("logger: AWS returns only some of the events logged at 2026-11-18T11:06:40.000Z");
    assert!(run.out.ends_with("line 9999\nline 10000\n"), "{}", run.out.len());
    assert_eq!(cloud.count("FilterLogEvents"), 3);
}

#[test]
fn a_log_that_can_not_be_read_has_a_reason() {
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
            "nothing was ever logged: the log group /aws/lambda/blue-owls-logger doesn't exist",
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
fn logs_come_from_the_configured_log_group() {
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

/// What a function logs when Lambda sends it the same batch three times, then other errors.
fn failing() -> Vec<String> {
    let at = "2026-11-18T06:26:40.000Z";
    let stack = [
        "TypeError: no luck",
        "    at handler (/var/task/index.js:3:9)",
        "    at helper (/var/task/dist/helper.js:1:1)",
        "    at Runtime.handleOnceNonStreaming (file:///var/runtime/index.mjs:1173:29)",
        "    at process.processTicksAndRejections (node:internal/process/task_queues:105:5)",
    ];
    let mut texts = Vec::new();
    for n in 0..3 {
        let request = format!("{n:08}-3a4b-4c5d-8e6f-708192a3b4c5");
        let error = json!({ "errorType": "TypeError", "errorMessage": "no luck", "stack": stack });
        texts.push(format!("START RequestId: {request} Version: $LATEST\n"));
        texts.push(format!("{at}\t{request}\tERROR\tInvoke Error \t{error}\n"));
        texts.push(format!(
            "REPORT RequestId: {request}\tDuration: {n} ms\tMemory Size: 128 MB\tMax Memory Used: 67 MB\t\n"
        ));
    }
    // As Lambda's Python runtime writes it, then without a trace.
    let frame =
        "\u{a0}\u{a0}File \"/var/task/index.py\", line 3, in handler\r\u{a0}\u{a0}\u{a0}\u{a0}return event['x']";
    let frozen = "\u{a0}\u{a0}File \"<frozen importlib._bootstrap>\", line 1, in _call";
    texts.push(format!("[ERROR] KeyError: 'x'\rTraceback (most recent call last):\r{frozen}\r{frame}\r"));
    texts.push("[ERROR] Runtime.ImportModuleError: Unable to import module 'index': No module named 'x'".to_owned());
    texts.push("[ERROR] no type, so no error".to_owned());
    texts
}

#[test]
fn a_repeated_error_is_one_line_with_its_count_and_retry_behavior() {
    let texts = failing();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    insta::assert_snapshot!(shown(&texts, &["--utc"]));
    insta::assert_snapshot!(shown(&texts, &["--color", "always", "--tail", "3"]));
    let documents = shown(&texts, &["--format", "json"]);
    let documents: Vec<Json> = documents.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let errors: Vec<&Json> = documents.iter().filter(|it| it["type"] == "error").collect();
    assert_eq!(errors.len(), 5, "JSON folds nothing: {documents:#?}");
    assert_eq!(errors[0]["trace"].as_array().unwrap().len(), 4, "JSON has each frame");
    assert_eq!(documents.iter().filter(|it| it["type"] == "report").count(), 3);
}

/// A time without an offset is local; clocks east of Greenwich are ahead.
#[test]
fn since_and_until_are_local_times_unless_they_have_an_offset() {
    let hour = 3_600_000;
    let noon = 1_764_072_000_000_i64; // 2025-11-25T12:00Z
    for (zone, offset, ahead) in [("UTC", "", 0), ("Europe/Berlin", "", 1), ("Europe/Berlin", "Z", 0)] {
        let cloud = deployed();
        cloud.always("FilterLogEvents", page(&events(&[]), None));
        let (since, until) = (format!("2025-11-25T12:00{offset}"), format!("2025-11-25T13:00{offset}"));
        let project = Project::usual();
        let mut command = project.command_on(&cloud.url, &["logs", "--since", &since, "--until", &until]);
        command.env("TZ", zone).run().ends_with(0);
        let calls = cloud.calls();
        let call = calls.iter().find(|call| call.operation == "FilterLogEvents").unwrap();
        let asked = [&call.body["startTime"], &call.body["endTime"]].map(|time| time.as_i64().unwrap());
        assert_eq!(asked, [noon - ahead * hour, noon + (1 - ahead) * hour], "{zone} {offset}: {}", call.body);
    }
}

#[test]
fn unknown_mapping_settings_only_omit_the_retry_behavior() {
    let texts = failing();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let refused = "User: X is not authorized to perform: lambda:ListEventSourceMappings on resource: *";
    let refusal = Reply::of("ListEventSourceMappings", 400, "AccessDeniedException", refused);
    for (settings, answer, ends) in [
        (json!({ "MaximumRetryAttempts": 2, "BisectBatchOnFunctionError": true }), None, "up to 2 times, split in two"),
        (json!({ "MaximumRetryAttempts": null }), None, "(3 times since 11:06:41)"),
        (json!({ "EventSourceArn": "arn:aws:sqs:eu-central-1:123456789012:queue" }), None, "(3 times since 11:06:41)"),
        (json!({}), Some(Fault::Answer(refusal)), "(3 times since 11:06:41)"),
    ] {
        let cloud = deployed();
        cloud.world(|world| {
            for (name, value) in settings.as_object().unwrap() {
                world.mappings[0].shown[name] = value.clone();
            }
        });
        cloud.always("FilterLogEvents", page(&events(&texts), None));
        if let Some(answer) = answer {
            cloud.always("ListEventSourceMappings", answer);
        }
        let run = Project::usual().run(&cloud, &["logs", "--utc"]);
        run.ends_with(0);
        assert!(run.out.contains(ends), "{settings}: {}", run.out);
        assert_eq!((run.err.as_str(), cloud.count("ListEventSourceMappings")), ("", 1), "{settings}");
    }
}

/// A record is found whatever the handler prints before it on the same line.
#[test]
fn text_before_an_event_does_not_hide_it() {
    let event = json!({ "Records": [record("MODIFY")] }).to_string();
    let plain = r#"MODIFY keys {"id":"7"} | old {"text":"buy milk"} | new {"text":"buy oat milk"}"#;
    let python = "{'Records': [{'eventName': 'MODIFY', 'dynamodb': {'Keys': {'id': {'S': '7'}}, 'OldImage': {'text': \
                  {'S': 'buy milk'}}, 'NewImage': {'text': {'S': 'buy oat milk'}}}}]}";
    let before = ["", "event: ", "[INFO] user {7} sent ", "[1] ", "{} then ", "line\nother line {\n"];
    let texts = before.iter().flat_map(|before| [event.as_str(), plain].map(|record| format!("{before}{record}")));
    let texts: Vec<String> = texts.chain([python.to_owned(), format!("[INFO] got {python}")]).collect();
    assert_eq!(texts.len(), 14);
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let out = shown(&texts, &[]);
    let line = "MODIFY  id=7  text: \"buy milk\" -> \"buy oat milk\"";
    assert_eq!(out.matches(line).count(), texts.len(), "{out}");
}

#[test]
fn dev_follows_a_log_again_after_it_could_not_be_read() {
    let cloud = deployed();
    let project = Project::usual();
    let denied = "User: X is not authorized to perform: logs:FilterLogEvents on resource: arn:aws:logs:x";
    let refusal = Reply::of("FilterLogEvents", 400, "AccessDeniedException", denied);
    cloud.fault("FilterLogEvents", 1..2, Fault::Answer(refusal));
    cloud.always("FilterLogEvents", page(&events(&["the log is back"]), None));
    let mut dev = project.start(&cloud, &["dev", "--yes"]);
    dev.err.find(|line| line.contains("AWS denied this call")).unwrap();
    let source = project.path("lambda-src/log-events/index.js");
    std::fs::write(&source, std::fs::read_to_string(&source).unwrap() + "// changed\n").unwrap();
    dev.out.find(|line| line.contains("deployed logger")).unwrap();
    dev.out.find(|line| line.contains("the log is back")).unwrap();
    dev.press_ctrl_c();
    dev.end().ends_with(130);
}
