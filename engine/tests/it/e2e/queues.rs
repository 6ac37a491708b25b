//! Queues next to a pipeline: a dead-letter queue, and the destination of what the function failed
//! to process.

use serde_json::json;

use super::project::{Project, config};
use super::{ACCOUNT, NO_CHANGES, TEAM, changed_paths};

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
    run(&["apply", TEAM]).expect(0, &["Apply complete! Resources: 6 added, 0 changed, 0 destroyed."]);
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
    run(&["apply", TEAM, "--yes"]).expect(0, &["0 added, 2 changed, 0 destroyed."]);
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
    run(&["verify", SPEC]).expect(1, &["`jobs-to-worker` can't be verified: its source is an SQS queue"]);

    let mapping = aws.wait(aws.lambda.list_event_source_mappings().send()).event_source_mappings.unwrap().remove(0);
    assert_eq!((mapping.batch_size, mapping.starting_position), (Some(10), None));
    project.edit(SPEC, &[("maximum_concurrency: 5", "batch_size: 5")]);
    run(&["apply", SPEC]).expect(0, &["0 added, 1 changed, 0 destroyed."]);
    run(&["diff", SPEC, "--detailed-exitcode"]).expect(0, &[NO_CHANGES]);
    run(&["destroy", SPEC, "--yes"]).expect(0, &["Destroy complete! Resources: 4 destroyed."]);
}
