//! `verify` where AWS is stricter than the local AWS: no capacity, no permissions, no log group, no
//! invocation.

use serde_json::json;

use super::server::{Cloud, Fault};
use super::world::{Reply, World};
use super::{FUNCTION, Project, TABLE, deployed, nth};

/// The deployed pipeline after `change`.
fn after(change: impl FnOnce(&mut World)) -> Cloud {
    let cloud = deployed();
    cloud.world(change);
    cloud
}

fn refusal(operation: &str, code: &str, text: &str) -> Fault {
    Fault::Answer(Reply::of(operation, 400, code, text))
}

/// Asserts that `verify` fails with these words and leaves no item behind.
#[track_caller]
fn fails(cloud: &Cloud, words: &[&str]) {
    let run = Project::usual().run(cloud, &["verify", "--timeout", "2"]);
    run.ends_with(1);
    for words in words {
        run.complains(words);
    }
    let calls = cloud.calls();
    let taken = |operation: &str| calls.iter().rposition(|it| it.operation == operation && it.status == 200);
    if let Some(put) = taken("PutItem") {
        assert!(taken("DeleteItem") > Some(put), "the item is deleted: {words:?}");
    }
    let writes = ["PutItem", "UpdateItem", "DeleteItem"];
    let all = calls.iter().filter(|it| super::is_write(it));
    assert!(all.clone().all(|it| writes.contains(&it.operation.as_str())), "nothing but items is written");
}

#[test]
fn the_hop_that_fails_on_aws_is_named() {
    // An item that can't arrive isn't written.
    let cloud = after(|world| world.functions.get_mut(FUNCTION).unwrap().concurrency = Some(0));
    fails(&cloud, &["Lambda can't run `blue-owls-logger`: its reserved concurrency is 0"]);
    assert_eq!(cloud.count("PutItem"), 0);

    let cloud = deployed();
    let text = "The level of configured provisioned throughput for the table was exceeded.";
    cloud.always("PutItem", refusal("PutItem", "ProvisionedThroughputExceededException", text));
    fails(&cloud, &["`blue-owls-todos` has no write capacity left", "raise `write_capacity`"]);

    let cloud = deployed();
    let text = "User: X is not authorized to perform: dynamodb:PutItem on resource: arn:aws:dynamodb:x";
    cloud.always("PutItem", refusal("PutItem", "AccessDeniedException", text));
    fails(&cloud, &["ask the account's administrator for the permission `dynamodb:PutItem`"]);

    let cloud = deployed();
    let text = "User: X is not authorized to perform: logs:FilterLogEvents on resource: arn:aws:logs:x";
    cloud.always("FilterLogEvents", refusal("FilterLogEvents", "AccessDeniedException", text));
    fails(&cloud, &["ask the account's administrator for the permission `logs:FilterLogEvents`"]);

    let no_group =
        || refusal("FilterLogEvents", "ResourceNotFoundException", "The specified log group does not exist.");
    let cloud = after(|world| world.mappings[0].shown["LastProcessingResult"] = json!("OK"));
    cloud.always("FilterLogEvents", no_group());
    fails(&cloud, &["the log group /aws/lambda/blue-owls-logger doesn't exist", "needs logs:CreateLogGroup"]);

    let cloud = after(|world| {
        let problem = "PROBLEM: Cannot access stream. Please ensure the role can perform the GetRecords";
        world.mappings[0].shown["LastProcessingResult"] = json!(problem);
    });
    cloud.always("FilterLogEvents", no_group());
    fails(
        &cloud,
        &["Lambda reports a problem with `todos-to-logger`", "Cannot access stream", "dynamodb:DescribeStream"],
    );

    let cloud = after(|world| {
        let statement =
            json!([{ "Effect": "Allow", "Principal": { "Service": "ec2.amazonaws.com" }, "Action": "sts:*" }]);
        world.trust = Some(json!({ "Version": "2012-10-17", "Statement": statement }));
    });
    fails(&cloud, &["error[role-not-assumable]: Lambda can't assume the role of", "update-assume-role-policy"]);

    fails(&deployed(), &["Lambda didn't invoke `blue-owls-logger` for the INSERT", "with a longer `--timeout`"]);
}

/// Long before the timeout, because Lambda already knows.
#[test]
fn a_mapping_that_can_not_read_its_stream_is_reported_within_seconds() {
    let cloud = after(|world| {
        let problem = "PROBLEM: Cannot access stream. Please ensure the role can perform the GetRecords";
        world.mappings[0].shown["LastProcessingResult"] = json!(problem);
    });
    let start = std::time::Instant::now();
    let run = Project::usual().run(&cloud, &["verify", "--timeout", "10m"]);
    run.ends_with(1).complains("Lambda reports a problem with `todos-to-logger`");
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
    // The result of the last batch, however old, says nothing about this one.
    let cloud = after(|world| world.mappings[0].shown["LastProcessingResult"] = json!("PROBLEM: Function call failed"));
    let run = Project::usual().run(&cloud, &["verify", "--timeout", "12"]);
    run.ends_with(1);
    assert!(cloud.count("FilterLogEvents") > 12, "it waits until the timeout");
}

/// The mapping has sent a batch, so the log is missing, not the invocation.
#[test]
fn a_log_that_is_not_found_differs_from_a_function_that_was_not_invoked() {
    let empty = || Fault::Answer(Reply::ok(&json!({ "events": [] })));
    let cloud = deployed();
    cloud.always("FilterLogEvents", empty());
    cloud.before("PutItem", 1, |world| world.mappings[0].shown["LastProcessingResult"] = json!("OK"));
    fails(
        &cloud,
        &["Lambda invoked `blue-owls-logger`, but", "has no line of that invocation", "changed to \"OK\" after"],
    );
    // A result from before the test proves nothing.
    let cloud = after(|world| world.mappings[0].shown["LastProcessingResult"] = json!("OK"));
    cloud.always("FilterLogEvents", empty());
    fails(
        &cloud,
        &["Lambda didn't invoke `blue-owls-logger` for the INSERT", "\"OK\", as before the item was written"],
    );
}

#[test]
fn an_item_is_deleted_even_if_responses_get_lost() {
    let cloud = deployed();
    cloud.fault("PutItem", 1..2, Fault::DoneButCut);
    cloud.fault("DeleteItem", 1..3, Fault::Cut);
    fails(&cloud, &["for the INSERT of the test item"]);
    let calls = cloud.calls();
    let delete = &calls[nth(&calls, "DeleteItem", cloud.count("DeleteItem"))];
    assert_eq!((delete.status, delete.about.as_str()), (200, TABLE));
}

#[test]
fn a_table_of_another_owner_is_not_written_to() {
    let cloud = after(|world| world.tables.get_mut(TABLE).unwrap().tags.clear());
    fails(&cloud, &["the table `blue-owls-todos` has no owner yet", "run `engine apply` to adopt it"]);
    let cloud = after(|world| {
        let tags = &mut world.tables.get_mut(TABLE).unwrap().tags;
        tags.insert("engine:team".to_owned(), "red-foxes".to_owned());
    });
    fails(&cloud, &["the table `blue-owls-todos` is owned by team `red-foxes`, stack `team`"]);
}

#[test]
fn json_output_is_one_document_even_if_verify_can_not_start() {
    let project = Project::usual();
    let args = ["verify", "--format", "json"];
    let broken = Project::new(|text| super::replaced(&text, "hash_key: id", "hash_key: other"));
    // Nothing listens on this port.
    let nowhere = project.command_on("http://127.0.0.1:9", &args).run();
    for (run, problem) in [
        (project.run(&Cloud::start(World::empty()), &args), "`todos-to-logger` can't be verified"),
        (broken.run(&deployed(), &args), "`other`"),
        (project.run(&deployed(), &["verify", "specs/none.yaml", "--format", "json"]), "specs/none.yaml"),
        (nowhere, "no response from AWS"),
    ] {
        let document: serde_json::Value = serde_json::from_str(&run.ends_with(1).out).unwrap();
        assert_eq!((&document["verified"], &document["mappings"]), (&json!(false), &json!([])), "{document}");
        assert!(document["problems"][0]["problem"].as_str().unwrap().contains(problem), "{document}");
        run.complains(problem);
    }
    let run = project.run(&deployed(), &["verify", "--timeout", "1", "--format", "json"]);
    let document: serde_json::Value = serde_json::from_str(&run.ends_with(1).out).unwrap();
    assert_eq!((&document["verified"], &document["problems"]), (&json!(false), &json!([])), "{document}");
    assert_eq!(document["mappings"][0]["failed"]["hop"], "invoked");
}

#[test]
fn an_offline_read_reports_no_completed_steps() {
    for command in ["diff", "apply"] {
        let run = Project::usual().command_on("http://127.0.0.1:9", &[command]).run();
        run.ends_with(1).complains("no response from AWS").complains("check the network");
        assert!(!run.err.contains("done"), "{}", run.err);
    }
}

/// The pipelines of these teams, and a project with the list of them.
fn of_teams(teams: &str) -> (Cloud, Project) {
    let (cloud, project) = (Cloud::start(World::empty()), Project::usual());
    std::fs::write(project.path("teams.txt"), teams).unwrap();
    project.run(&cloud, &["apply", "--yes", "--teams", "teams.txt"]).ends_with(0);
    cloud.forget();
    (cloud, project)
}

#[test]
fn a_team_that_can_not_be_read_stops_no_other_team() {
    let (cloud, project) = of_teams("blue-owls\nred-foxes\n");
    let text = "User: X is not authorized to perform: dynamodb:DescribeTable on resource: y";
    cloud.fault("DescribeTable", 1..2, refusal("DescribeTable", "AccessDeniedException", text));
    let args = ["verify", "--yes", "--teams", "teams.txt", "--timeout", "1"];
    let run = project.run(&cloud, &[&args[..], &["--format", "json"]].concat());
    let document: serde_json::Value = serde_json::from_str(&run.ends_with(1).out).unwrap();
    let teams = document["teams"].as_array().unwrap();
    let (unread, read): (Vec<_>, Vec<_>) = teams.iter().partition(|it| it["mappings"] == json!([]));
    let ([unread], [read]) = (&unread[..], &read[..]) else { panic!("{document:#}") };
    assert!(unread["problems"][0].to_string().contains("dynamodb:DescribeTable"), "{document:#}");
    assert_eq!((&read["mappings"][0]["failed"]["hop"], &read["problems"]), (&json!("invoked"), &json!([])));
    run.complains(&format!("{}: ", unread["team"].as_str().unwrap())).complains("0 of 2 teams verified.");
}

/// What all teams lack is one error, and there is one document in any case.
#[test]
fn a_cause_that_all_teams_share_is_reported_once() {
    let (cloud, project) = of_teams("blue-owls\nred-foxes\n");
    cloud.world(|world| world.mappings.clear());
    let args = ["verify", "--yes", "--teams", "teams.txt"];
    let run = project.run(&cloud, &args);
    run.ends_with(1).complains("blue-owls, red-foxes: `todos-to-logger` can't be verified");
    assert_eq!(run.err.matches("can't be verified").count(), 1, "{}", run.err);
    std::fs::write(project.path("teams.txt"), "no team\n").unwrap();
    let run = project.run(&cloud, &[&args[..], &["--format", "json"]].concat());
    let document: serde_json::Value = serde_json::from_str(&run.ends_with(1).out).unwrap();
    assert_eq!((&document["teams"], &document["verified"]), (&json!([]), &json!(false)), "{document:#}");
}

#[test]
fn parallelism_bounds_how_many_mappings_of_all_teams_are_tested_at_once() {
    let (cloud, project) = of_teams("blue-owls\nred-foxes\nsad-cats\n");
    for (parallelism, is_alone) in [("1", true), ("16", false)] {
        cloud.forget();
        let args = ["verify", "--yes", "--teams", "teams.txt", "--timeout", "2", "--parallelism", parallelism];
        project.run(&cloud, &args).ends_with(1).complains("0 of 3 teams verified.");
        // A team's test ends with the deletion of its item.
        let calls = cloud.calls();
        let writes: Vec<_> = calls.iter().filter(|it| super::is_write(it)).map(|it| it.about.as_str()).collect();
        let changes = writes.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert_eq!(changes == 2, is_alone, "{writes:?}");
    }
}

/// A deployed queue with a mapping, after `change`.
fn queue(lines: &str, change: impl FnOnce(&mut World)) -> (Cloud, Project) {
    let project = Project::new(|text| {
        let (head, rest) = text.split_once("  todos:\n").unwrap();
        let (_, rest) = rest.split_once("  # Existing role").unwrap();
        let (rest, _) = rest.split_once("  # Required by the task").unwrap();
        let mapping =
            "  jobs-to-logger: { type: mapping, function: \"${logger.arn}\", event_source_arn: \"${jobs.arn}\" }\n";
        format!("{head}  jobs:\n    type: queue\n{lines}  # Existing role{rest}{mapping}")
    });
    let cloud = Cloud::start(World::empty());
    project.run(&cloud, &["apply", "--yes"]).ends_with(0);
    cloud.world(|world| {
        *world = world.clone().aged();
        change(world);
    });
    cloud.forget();
    (cloud, project)
}

const VERIFY: [&str; 4] = ["verify", "--yes", "--timeout", "2"];

#[test]
fn nothing_but_one_message_is_sent_to_a_queue() {
    let (cloud, project) = queue("", |_| {});
    project.run(&cloud, &["verify"]).ends_with(1).complains("a message to a queue can't be taken back");
    assert_eq!(cloud.count("SendMessage"), 0);
    let run = project.run(&cloud, &VERIFY);
    run.ends_with(1).says("MESSAGE").complains("Lambda didn't invoke `blue-owls-logger` for the test message");
    run.complains("the test message stays in `blue-owls-jobs`");
    assert_eq!(super::writes(&cloud), ["SendMessage"]);

    // A standard queue may have the message of a lost response, and a FIFO queue recognizes it.
    for (lines, is_sent_again) in [("", false), ("    fifo_queue: true\n", true)] {
        let (cloud, project) = queue(lines, |_| {});
        cloud.fault("SendMessage", 1..2, Fault::DoneButCut);
        project.run(&cloud, &VERIFY).ends_with(1).complains("for the test message");
        assert_eq!(cloud.count("SendMessage") == 2, is_sent_again, "{lines}");
        let calls = cloud.calls();
        let sent: Vec<_> = calls.iter().filter(|it| it.operation == "SendMessage").map(|it| &it.body).collect();
        assert!(sent.iter().all(|body| body == &sent[0] && body["MessageGroupId"].is_string() == is_sent_again));
        assert_eq!(sent[0]["MessageGroupId"], sent[0]["MessageDeduplicationId"]);
    }
}

#[test]
fn the_hop_of_a_message_that_fails_is_named_within_seconds() {
    let start = std::time::Instant::now();
    let patient = ["verify", "--yes", "--timeout", "10m"];
    // Someone disables the mapping after it was read.
    let (cloud, project) = queue("", |_| {});
    project.run(&cloud, &["verify"]).ends_with(1);
    let n_reads = cloud.count("GetEventSourceMapping");
    cloud.forget();
    cloud.before("GetEventSourceMapping", n_reads + 1, |world| world.mappings[0].enabled = false);
    let run = project.run(&cloud, &patient);
    run.ends_with(1).complains("`jobs-to-logger` is Disabled, so it doesn't read the queue");
    assert_eq!((cloud.count("GetEventSourceMapping"), cloud.count("SendMessage")), (n_reads + 1, 0));

    let problem = "PROBLEM: The function execution role does not have permissions to call ReceiveMessage on SQS";
    let (cloud, project) = queue("", |world| world.mappings[0].shown["LastProcessingResult"] = json!(problem));
    let run = project.run(&cloud, &patient);
    run.ends_with(1)
        .complains("Lambda reports a problem with `jobs-to-logger`")
        .complains("sqs:ReceiveMessage, DeleteMessage");

    let (cloud, project) = queue("", |_| {});
    let text = "User: X is not authorized to perform: sqs:SendMessage on resource: arn:aws:sqs:x";
    cloud.always("SendMessage", refusal("SendMessage", "AccessDeniedException", text));
    project.run(&cloud, &patient).ends_with(1).complains("for the permission `sqs:SendMessage`");

    let (cloud, project) = queue("", |world| world.functions.get_mut(FUNCTION).unwrap().concurrency = Some(0));
    let run = project.run(&cloud, &patient);
    run.ends_with(1).complains("its reserved concurrency is 0").says("nothing was written");
    assert_eq!(cloud.count("SendMessage"), 0);
    assert!(start.elapsed().as_secs() < 90, "{:?}", start.elapsed());
}

/// An invocation whose log doesn't show the message proves nothing if the queue had others.
#[test]
fn other_messages_in_the_queue_make_an_invocation_prove_nothing() {
    let request = "8f0c1d2e-3a4b-4c5d-8e6f-708192a3b4c5";
    let text = [
        format!("START RequestId: {request} Version: $LATEST"),
        format!("REPORT RequestId: {request}\tDuration: 3 ms\tMemory Size: 128 MB\t"),
    ];
    let soon = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() + 60_000;
    let events: Vec<_> = text
        .iter()
        .enumerate()
        .map(
            |(at, text)| json!({ "eventId": at.to_string(), "logStreamName": "s", "timestamp": soon, "message": text }),
        )
        .collect();
    for (n_before, n_after, word) in
        [(0, 0, None), (1, 0, Some("not proven: other traffic")), (0, 1, Some("doesn't show the test message"))]
    {
        let (cloud, project) =
            queue("", move |world| world.queues.get_mut("blue-owls-jobs").unwrap().messages[0] = n_before);
        cloud.before("FilterLogEvents", 3, move |world| {
            world.queues.get_mut("blue-owls-jobs").unwrap().messages = [0, n_after, 0];
        });
        cloud.fault("FilterLogEvents", 3..99, Fault::Answer(Reply::ok(&json!({ "events": events }))));
        let run = project.run(&cloud, &["verify", "--yes", "--timeout", "20"]);
        match word {
            None => run.ends_with(0).says("Lambda invoked blue-owls-logger for the test message"),
            Some(word) => run.ends_with(1).complains(word),
        };
    }
}
