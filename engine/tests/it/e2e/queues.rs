//! Queues next to a pipeline: a dead-letter queue, and the destination of what the function failed
//! to process.

use serde_json::{Value as Json, json};

use super::project::{Project, config};
use super::{ACCOUNT, NO_CHANGES, TEAM, changed_paths};
use crate::shared::program::flat;

const QUEUES: &str = "resources:
  dead: { type: queue, message_retention_seconds: 1209600 }
  failed:
    type: queue
    redrive_policy: { dead_letter_target_arn: \"${dead.arn}\", max_receive_count: 5 }
";

#[test]
fn a_pipeline_with_a_queue_for_failed_records_is_created_changed_and_destroyed() {
    let project = Project::new();
    let last = "starting_position: TRIM_HORIZON";
    let with_queue = format!("{last}\n    maximum_retry_attempts: 3\n    on_failure_destination_arn: ${{failed.arn}}");
    project.edit(TEAM, &[("resources:\n", QUEUES), (last, &with_queue)]);
    let run = |args: &[&str]| project.run(&[args, &["--local"]].concat());
    let note = "failed records of `todos-to-logger` don't reach `on_failure_destination_arn` after retries";
    let all = "Apply complete! Resources: 6 added, 0 changed, 0 destroyed.";
    let applied = run(&["apply", TEAM]).expect(0, &[all]);
    assert_eq!(flat(&applied.text()).matches(note).count(), 1, "{}", applied.text());
    run(&["diff", TEAM, "--detailed-exitcode"]).expect(0, &[NO_CHANGES]);

    let aws = project.account(ACCOUNT);
    let sqs = aws_sdk_sqs::Client::new(&config(&project.endpoint(), ACCOUNT));
    let url = aws.wait(sqs.get_queue_url().queue_name("blue-owls-failed").send()).queue_url.unwrap();
    let mapping = aws.wait(aws.lambda.list_event_source_mappings().send()).event_source_mappings.unwrap().remove(0);
    let destination = mapping.destination_config.unwrap().on_failure.unwrap().destination.unwrap();
    assert_eq!(destination, format!("arn:aws:sqs:eu-central-1:{ACCOUNT}:blue-owls-failed"));

    project.edit(TEAM, &[("max_receive_count: 5", "max_receive_count: 7"), ("1209600", "600")]);
    let diff = run(&["diff", TEAM, "--format", "json"]);
    assert_eq!(
        changed_paths(&diff),
        [
            json!(["dead", "update", "message_retention_seconds", 1_209_600, 600]),
            json!(["failed", "update", "redrive_policy.max_receive_count", 5, 7]),
        ]
    );
    // Messages are lost, so the change needs a confirmation, which a run without a terminal can't get.
    run(&["apply", TEAM]).expect(1, &["messages that are older than 600 s are deleted"]);
    let changed = run(&["apply", TEAM, "--yes"]).expect(0, &["0 added, 2 changed, 0 destroyed."]);
    assert!(!flat(&changed.text()).contains(note), "the mapping doesn't change: {}", changed.text());
    run(&["diff", TEAM, "--detailed-exitcode"]).expect(0, &[NO_CHANGES]);

    aws.wait(sqs.send_message().queue_url(&url).message_body("a failed record").send());
    run(&["destroy", TEAM, "--yes"]).expect(1, &["`failed` is refused", "it is not empty", "add `--delete-data`"]);
    run(&["destroy", TEAM, "--yes", "--delete-data"]).expect(0, &["Destroy complete! Resources: 6 destroyed."]);
    let left = aws.wait(sqs.list_queues().send()).queue_urls.unwrap_or_default();
    assert_eq!(left, [""; 0]);
}

#[test]
fn a_queue_of_another_type_replaces_the_old_one_and_keeps_its_messages_unless_allowed() {
    let project = Project::new();
    const SPEC: &str = "specs/queue.yaml";
    project.write(SPEC, "team: acme\nregion: eu-central-1\nresources:\n  jobs:\n    type: queue\n");
    let run = |args: &[&str]| project.run(&[args, &["--local"]].concat());
    run(&["apply", SPEC]).expect(0, &["1 added"]);
    let (aws, config) = (project.account(ACCOUNT), config(&project.endpoint(), ACCOUNT));
    let sqs = aws_sdk_sqs::Client::new(&config);
    let url = aws.wait(sqs.get_queue_url().queue_name("acme-jobs").send()).queue_url.unwrap();
    aws.wait(sqs.send_message().queue_url(&url).message_body("work").send());
    project.edit(SPEC, &[("type: queue", "type: queue\n    fifo_queue: true")]);
    run(&["apply", SPEC, "--yes"]).expect(1, &["`jobs` is refused", "it is not empty", "add `--delete-data`"]);
    run(&["apply", SPEC, "--yes", "--delete-data"]).expect(0, &["1 added, 0 changed, 1 destroyed."]);
    run(&["diff", SPEC, "--detailed-exitcode"]).expect(0, &[NO_CHANGES]);
    let urls = aws.wait(sqs.list_queues().send()).queue_urls.unwrap_or_default();
    assert!(matches!(&urls[..], [url] if url.ends_with("/acme-jobs.fifo")), "{urls:?}");
}

#[test]
fn a_queue_invokes_its_function_and_the_log_shows_its_messages() {
    const SPEC: &str = "specs/jobs.yaml";
    let project = Project::new();
    let handler = "exports.handler = async (event) => event.Records.forEach((it) => console.log('got ' + it.body));";
    project.write(
        SPEC,
        &format!(
            "team: acme
region: eu-central-1
resources:
  jobs: {{ type: queue }}
  worker:
    type: function
    runtime: nodejs22.x
    handler: index.handler
    code: {{ inline: \"{handler}\" }}
  jobs-to-worker:
    type: mapping
    function: ${{worker.arn}}
    event_source_arn: ${{jobs.arn}}
    maximum_concurrency: 5
"
        ),
    );
    let run = |args: &[&str]| project.run(&[args, &["--local"]].concat());
    run(&["apply", SPEC]).expect(0, &["4 added, 0 changed, 0 destroyed."]);
    run(&["diff", SPEC, "--detailed-exitcode"]).expect(0, &[NO_CHANGES]);

    let aws = project.account(ACCOUNT);
    let sqs = aws_sdk_sqs::Client::new(&config(&project.endpoint(), ACCOUNT));
    let url = aws.wait(sqs.get_queue_url().queue_name("acme-jobs").send()).queue_url.unwrap();
    aws.wait(sqs.send_message().queue_url(&url).message_body("the first job").send());
    crate::support::eventually("the message is in the log", || {
        run(&["logs", "worker", "--spec", SPEC]).out.contains("got the first job")
    });

    let mapping = aws.wait(aws.lambda.list_event_source_mappings().send()).event_source_mappings.unwrap().remove(0);
    assert_eq!((mapping.batch_size, mapping.starting_position), (Some(10), None));
    project.edit(SPEC, &[("maximum_concurrency: 5", "batch_size: 5")]);
    run(&["apply", SPEC]).expect(0, &["0 added, 1 changed, 0 destroyed."]);
    run(&["diff", SPEC, "--detailed-exitcode"]).expect(0, &[NO_CHANGES]);
    run(&["destroy", SPEC, "--yes"]).expect(0, &["Destroy complete! Resources: 4 destroyed."]);
}

const JOBS: &str = "specs/jobs.yaml";

/// A deployed queue whose messages go to a function with this code; `more` are lines of the mapping
/// and of the queue.
fn with_worker(code: &str, of_mapping: &str, of_queue: &str) -> Project {
    let project = Project::new();
    project.write("lambda-src/log-events/index.js", &format!("exports.handler = async (event) => {{ {code} }};\n"));
    project.write(
        JOBS,
        &format!(
            "team: acme
region: eu-central-1
resources:
  jobs:
    type: queue
    message_retention_seconds: 600
{of_queue}  worker:
    type: function
    runtime: nodejs22.x
    handler: index.handler
    code: ../lambda-src/log-events
  jobs-to-worker:
    type: mapping
    function: ${{worker.arn}}
    event_source_arn: ${{jobs.arn}}
{of_mapping}"
        ),
    );
    project.run(&["apply", JOBS, "--local"]).expect(0, &["4 added"]);
    project
}

const LOGS: &str = "event.Records.forEach((it) => console.log('got ' + it.body));";

fn verify(project: &Project, args: &[&str]) -> crate::shared::program::Ran {
    project.run(&[&["verify", JOBS, "--local"], args].concat())
}

/// The one mapping in the JSON outcome.
fn outcome(project: &Project, code: i32) -> Json {
    let ran = verify(project, &["--yes", "--json", "--timeout", if code == 0 { "60" } else { "10" }]);
    let documents = ran.expect(code, &[]).json();
    let [document] = &documents[..] else { panic!("one document: {documents:#?}") };
    assert_eq!(document["verified"], code == 0, "{document:#}");
    document["mappings"][0].clone()
}

/// The number of messages in the queue.
fn n_messages(project: &Project, name: &str) -> u32 {
    let aws = project.account(ACCOUNT);
    let sqs = aws_sdk_sqs::Client::new(&config(&project.endpoint(), ACCOUNT));
    let url = aws.wait(sqs.get_queue_url().queue_name(name).send()).queue_url.unwrap();
    let shown = sqs.get_queue_attributes().queue_url(url).attribute_names(aws_sdk_sqs::types::QueueAttributeName::All);
    let shown = aws.wait(shown.send()).attributes.unwrap();
    let counts = shown.iter().filter(|(name, _)| name.as_str().starts_with("ApproximateNumberOfMessages"));
    counts.map(|(_, count)| count.parse::<u32>().unwrap()).sum()
}

/// A function that always fails, with a queue `dead` and lines after those of the function.
fn failing(of_function: &str, resources: &str) -> String {
    format!(
        "team: acme\nregion: eu-central-1\nresources:\n  dead: {{ type: queue }}\n{resources}  worker:\n    type: \
         function\n    runtime: nodejs22.x\n    handler: index.handler\n    timeout: 2\n    code: {{ inline: \"exports.handler \
         = async () => {{ throw new Error('no luck'); }};\" }}\n{of_function}"
    )
}

/// The body of the only message in the queue `dead`, once it has arrived.
fn dead_letter(project: &Project) -> String {
    crate::support::eventually("a dead letter", || n_messages(project, "acme-dead") == 1);
    let aws = project.account(ACCOUNT);
    let sqs = aws_sdk_sqs::Client::new(&config(&project.endpoint(), ACCOUNT));
    let url = aws.wait(sqs.get_queue_url().queue_name("acme-dead").send()).queue_url.unwrap();
    let messages = aws.wait(sqs.receive_message().queue_url(url).send()).messages.unwrap();
    messages[0].body.clone().unwrap()
}

#[test]
fn a_message_that_is_not_processed_moves_to_the_dead_letter_queue() {
    let project = Project::new();
    let jobs = "  jobs:\n    type: queue\n    visibility_timeout_seconds: 2\n    redrive_policy: { dead_letter_target_arn: \
                \"${dead.arn}\", max_receive_count: 1 }\n";
    project.write(JOBS, &failing("    events: { jobs: { batch_size: 1 } }\n", jobs));
    project.run(&["apply", JOBS, "--local"]).expect(0, &["5 added"]);
    let aws = project.account(ACCOUNT);
    let sqs = aws_sdk_sqs::Client::new(&config(&project.endpoint(), ACCOUNT));
    let url = aws.wait(sqs.get_queue_url().queue_name("acme-jobs").send()).queue_url.unwrap();
    aws.wait(sqs.send_message().queue_url(&url).message_body("the first job").send());
    assert_eq!(dead_letter(&project), "the first job");
    assert_eq!(n_messages(&project, "acme-jobs"), 0);
    project.run(&["destroy", JOBS, "--local", "--yes"]).expect(1, &["`dead` is refused", "it is not empty"]);
}

#[test]
fn a_failed_asynchronous_invocation_ends_in_the_functions_dead_letter_queue() {
    let project = Project::new();
    let lines = "    dead_letter_target_arn: ${dead.arn}\n    async: { maximum_retry_attempts: 0 }\n";
    project.write(JOBS, &failing(lines, ""));
    project.run(&["apply", JOBS, "--local"]).expect(0, &["3 added"]);
    let aws = project.account(ACCOUNT);
    let event =
        aws.lambda.invoke().function_name("acme-worker").payload(aws_sdk_lambda::primitives::Blob::new("{\"n\":7}"));
    aws.wait(event.invocation_type(aws_sdk_lambda::types::InvocationType::Event).send());
    let letter: Json = serde_json::from_str(&dead_letter(&project)).unwrap();
    // AWS sends the event itself; the local AWS wraps it.
    assert_eq!(letter.get("requestPayload").unwrap_or(&letter), &json!({ "n": 7 }));
}

#[test]
fn a_queue_is_verified_with_a_message_that_is_shown_and_asked_for() {
    let project = with_worker(LOGS, "", "");
    let refused = ["a message to a queue can't be taken back", "for `jobs-to-worker`, to `acme-jobs`: {", "pass --yes"];
    verify(&project, &[]).expect(1, &refused);
    let ask = |answer: &str, end: &str| {
        let mut terminal = project.command(&["verify", JOBS, "--local"]).terminal();
        terminal.exp_string("These messages can't be taken back").unwrap();
        terminal.exp_string("{\"engine_verify\":\"engine-verify-").unwrap();
        terminal.exp_string("Only 'yes' will be accepted").unwrap();
        terminal.send_line(answer).unwrap();
        terminal.exp_string(end).unwrap();
        terminal.exp_eof().unwrap();
    };
    ask("no", "Nothing was written.");
    let log = || project.run(&["logs", "worker", "--spec", JOBS, "--local"]).out;
    assert!(!log().contains("engine-verify-"), "nothing was sent: {}", log());
    ask("yes", "the log of acme-worker shows the test message.");
    assert!(log().contains("engine-verify-"), "{}", log());
    let ran = verify(&project, &["--yes"]).expect(0, &["jobs-to-worker: acme-jobs -> acme-worker", "message sent"]);
    eprintln!("{}", ran.out);
    let found = outcome(&project, 0);
    assert_eq!(
        (&found["proof"], &found["queue"], &found["table"]),
        (&json!("logged"), &json!("acme-jobs"), &Json::Null)
    );
    let change = &found["changes"][0];
    assert_eq!(
        (&change["change"], &change["matched_by"], &change["writes"]),
        (&json!("MESSAGE"), &json!("mark"), &json!(1)),
        "{found:#}"
    );
    assert!(found["message"].as_str().unwrap().starts_with("{\"engine_verify\":"), "{found:#}");
    assert_eq!(n_messages(&project, "acme-jobs"), 0);
}

#[test]
fn the_message_is_built_from_the_filters_and_none_is_sent_if_none_passes() {
    let filter = |filter: &str| format!("    filters: [{filter}]\n");
    let kind = "{ body: { kind: [order], size: [{ numeric: [\">\", 5] }] } }";
    let project = with_worker(LOGS, &filter(kind), "");
    let found = outcome(&project, 0);
    let body: Json = serde_json::from_str(found["message"].as_str().unwrap()).unwrap();
    assert_eq!((&body["kind"], body["size"].as_f64().unwrap() > 5.0), (&json!("order"), true), "{body}");
    // The message ID is enough if the body has nothing of its own.
    let exact = "{ body: [run] }";
    project.edit(JOBS, &[(kind, exact)]);
    project.write("lambda-src/log-events/index.js", "exports.handler = async (e) => console.log(JSON.stringify(e));\n");
    project.run(&["apply", JOBS, "--local"]).expect(0, &["2 changed"]);
    let found = outcome(&project, 0);
    assert_eq!((&found["message"], &found["changes"][0]["matched_by"]), (&json!("run"), &json!("key")), "{found:#}");
    project.edit(JOBS, &[(exact, "{ body: [run], messageAttributes: { a: [b] } }")]);
    project.run(&["apply", JOBS, "--local"]).expect(0, &["1 changed"]);
    let failed = &outcome(&project, 1)["failed"];
    assert_eq!((&failed["cause"], &failed["hop"]), (&json!("filters_unknown"), &json!("invoked")), "{failed:#}");
    assert!(failed["diagnostic"]["why"].as_str().unwrap().contains("not `messageAttributes.a`"), "{failed:#}");
    assert_eq!(n_messages(&project, "acme-jobs"), 0);
}

#[test]
fn a_function_that_does_not_log_its_message_is_proven_to_be_invoked() {
    let project = with_worker("", "", "");
    let found = outcome(&project, 0);
    assert_eq!((&found["proof"], &found["failed"]), (&json!("invoked"), &Json::Null), "{found:#}");
    verify(&project, &["--yes"])
        .expect(0, &["Lambda invoked acme-worker for the test message, which its log doesn't show."]);
}

#[test]
fn a_queue_with_a_disabled_mapping_gets_no_message_and_a_failing_function_is_reported() {
    let project = with_worker("throw new Error('no luck');", "    enabled: false\n", "");
    let failed = outcome(&project, 1)["failed"].clone();
    assert_eq!((&failed["cause"], &failed["change"]), (&json!("mapping_disabled"), &json!("MESSAGE")), "{failed:#}");
    verify(&project, &[]).expect(1, &["Not verified; nothing was written.", "so it doesn't read the queue"]);
    assert_eq!(n_messages(&project, "acme-jobs"), 0);
    project.edit(JOBS, &[("    enabled: false\n", "")]);
    project.run(&["apply", JOBS, "--local"]).expect(0, &["1 changed"]);
    let words = ["`acme-worker` fails: Error: no luck", "the test message stays in `acme-jobs`", "\"log line found\""];
    let ran = verify(&project, &["--yes", "--timeout", "30"]).expect(1, &words);
    eprintln!("{}{}", ran.out, ran.err);
    assert_eq!(n_messages(&project, "acme-jobs"), 1);
}

#[test]
fn a_fifo_queue_and_an_allowed_imported_queue_are_verified() {
    let project = with_worker(LOGS, "", "    fifo_queue: true\n");
    assert_eq!(outcome(&project, 0)["queue"], "acme-jobs.fifo");

    let project = with_worker(LOGS, "", "");
    let aws = project.account(ACCOUNT);
    let sqs = aws_sdk_sqs::Client::new(&config(&project.endpoint(), ACCOUNT));
    let theirs = sqs.create_queue().queue_name("their-jobs").tags("project", "shop");
    let url = aws.wait(theirs.send()).queue_url.unwrap();
    let imported = "jobs:\n    type: queue\n    import: their-jobs\n";
    project.edit(JOBS, &[("jobs:\n    type: queue\n    message_retention_seconds: 600\n", imported)]);
    project.run(&["apply", JOBS, "--local", "--yes", "--replace", "jobs-to-worker"]).expect(0, &["Apply complete!"]);
    verify(&project, &["--yes"]).expect(
        1,
        &["this spec doesn't manage the queue `their-jobs`", "pass `--allow-imported jobs` to send one test"],
    );
    verify(&project, &["--yes", "--allow-imported", "jobs"]).expect(0, &["shows the test message"]);
    aws.wait(sqs.tag_queue().queue_url(&url).tags("engine:team", "red-foxes").send());
    verify(&project, &["--yes", "--allow-imported", "jobs"])
        .expect(1, &["the imported queue `their-jobs`", "red-foxes"]);
}
