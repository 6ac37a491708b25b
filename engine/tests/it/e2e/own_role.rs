//! A function without `role:`: engine creates one with what the pipeline needs, keeps it that way,
//! and deletes it with the function.

use std::collections::BTreeSet;

use aws_sdk_iam::types::PolicyEvaluationDecisionType;
use serde_json::{Value as Json, json};

use super::project::{Project, config};
use super::{ACCOUNT, NO_CHANGES, ROLE, TEAM};

const OWN: &str = "blue-owls-logger-role";
const BY_HAND: &str = "arn:aws:iam::aws:policy/AdministratorAccess";

/// The pipeline without a role, and a queue.
fn project() -> Project {
    let project = Project::new();
    let text = project.read(TEAM);
    let (head, rest) = text.split_once("resources:\n").unwrap();
    let rest: Vec<&str> = rest.lines().filter(|line| !line.contains("role: ${execution-role.arn}")).collect();
    let rest =
        rest.join("\n").replace("type: role\n    import: fhms-pulumi-challenge-lambda-execution-role", "type: queue");
    project.write(TEAM, &format!("{head}resources:\n{}\n", rest.replace("  execution-role:", "  jobs:")));
    project
}

#[test]
fn a_function_without_a_role_gets_one_that_follows_the_spec() {
    let project = project();
    let run = |args: &[&str]| project.run(&[args, &["--local"]].concat());
    let check = || run(&["diff", TEAM, "--detailed-exitcode"]).expect(0, &[NO_CHANGES]);
    let added = ["`logger` writes its log", "6 added, 0 changed, 0 destroyed."];
    run(&["apply", TEAM, "--yes"]).expect(0, &added);
    check();
    run(&["verify", TEAM, "--yes"]).expect(0, &[]);

    let aws = project.account(ACCOUNT);
    let iam = aws_sdk_iam::Client::new(&config(&project.endpoint(), ACCOUNT));
    let policy = || policy_of(&aws, &iam).to_string();
    assert!(policy().contains("dynamodb:GetRecords") && !policy().contains("sqs:"), "{}", policy());

    project.edit(TEAM, &[("handler: index.handler", "handler: index.handler\n    access: { jobs: send }")]);
    run(&["diff", TEAM]).expect(0, &["policy.Access", "`logger` has `access: { jobs: send }`"]);
    run(&["apply", TEAM, "--yes"]).expect(0, &["0 added, 1 changed, 0 destroyed."]);
    check();
    assert!(policy().contains("sqs:SendMessage"), "{}", policy());

    // What is attached by hand is only detached after approval, unless it is ignored.
    aws.wait(iam.attach_role_policy().role_name(OWN).policy_arn(BY_HAND).send());
    let document = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ses:*","Resource":"*"}]}"#;
    aws.wait(iam.put_role_policy().role_name(OWN).policy_name("by-hand").policy_document(document).send());
    let lost = [
        "the managed policy `arn:aws:iam::aws:policy/AdministratorAccess` will be detached",
        "the inline policy `by-hand` will be deleted",
    ];
    run(&["diff", TEAM]).expect(0, &lost);
    run(&["apply", TEAM]).expect(1, &lost);
    let attached = || {
        let answer = aws.wait(iam.list_attached_role_policies().role_name(OWN).send());
        answer.attached_policies.unwrap_or_default().len()
    };
    assert_eq!(attached(), 1);
    run(&["apply", TEAM, "--yes"]).expect(0, &["0 added, 1 changed, 0 destroyed."]);
    assert_eq!(attached(), 0);
    check();

    // Another role for the function: the implied one is deleted after it.
    let import = format!("  shared: {{ type: role, import: {ROLE} }}\n");
    let uses = "role: ${shared.arn}\n    code: ../";
    project.edit(TEAM, &[("resources:\n", &format!("resources:\n{import}")), ("code: ../", uses)]);
    project.edit(TEAM, &[("    access: { jobs: send }\n", "")]);
    run(&["apply", TEAM, "--yes"]).expect(0, &["0 added, 1 changed, 1 destroyed."]);
    assert!(iam_has_no(&aws, &iam), "the implied role is deleted");
    check();

    project.edit(TEAM, &[(&import, ""), ("    role: ${shared.arn}\n", "")]);
    run(&["apply", TEAM, "--yes"]).expect(0, &["1 added, 1 changed, 0 destroyed."]);
    run(&["destroy", TEAM, "--yes"]).expect(0, &["Destroy complete! Resources: 6 destroyed."]);
    assert!(iam_has_no(&aws, &iam), "nothing is left");
    aws.wait(iam.get_role().role_name(ROLE).send());
}

/// The policy of the function's role, as it is in the account.
fn policy_of(aws: &super::Account, iam: &aws_sdk_iam::Client) -> Json {
    let answer = aws.wait(iam.get_role_policy().role_name(OWN).policy_name("engine").send());
    let text = percent_encoding::percent_decode_str(&answer.policy_document).decode_utf8().unwrap();
    serde_json::from_str(&text).unwrap()
}

const REGION: &str = "eu-central-1";

/// A call with a role's permissions: its action and its resource.
#[derive(Debug, Clone, PartialEq)]
struct RoleCall(&'static str, String);

/// The local AWS's decision about a call with the permissions of the function's role.
fn is_allowed(aws: &super::Account, iam: &aws_sdk_iam::Client, RoleCall(action, resource): &RoleCall) -> bool {
    let request = iam
        .simulate_principal_policy()
        .policy_source_arn(format!("arn:aws:iam::{ACCOUNT}:role/{OWN}"))
        .action_names(*action)
        .resource_arns(resource);
    let results = aws.wait(request.send()).evaluation_results.unwrap();
    assert_eq!(results.len(), 1);
    results[0].eval_decision == PolicyEvaluationDecisionType::Allowed
}

/// A pipeline: lines after those of the function, resources, what Lambda and the code do with the
/// role, and what the role must not allow.
struct RoleCase {
    function: &'static str,
    resources: &'static str,
    calls: fn(&str) -> Vec<RoleCall>,
    others: fn() -> Vec<RoleCall>,
}

fn arn(service: &str, resource: &str) -> String {
    format!("arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}")
}

fn here(action: &'static str, resource: String) -> RoleCall {
    RoleCall(action, resource)
}

fn log_calls(group: &str) -> Vec<RoleCall> {
    let stream = arn("logs", &format!("log-group:{group}:log-stream:2026/11/30/[$LATEST]1"));
    vec![
        here("logs:CreateLogStream", arn("logs", &format!("log-group:{group}:log-stream:"))),
        here("logs:PutLogEvents", stream),
    ]
}

/// docs.aws.amazon.com/lambda/latest/dg/services-ddb.html
fn stream_calls(stream: &str) -> Vec<RoleCall> {
    let reads = ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"];
    let reads = reads.map(|action| here(action, stream.to_owned()));
    reads.into_iter().chain([here("dynamodb:ListStreams", "*".to_owned())]).collect()
}

const PIPELINES: [RoleCase; 3] = [
    RoleCase {
        function: "",
        resources: "",
        calls: |stream| {
            let group = here("logs:CreateLogGroup", arn("logs", "log-group:/aws/lambda/blue-owls-logger"));
            [stream_calls(stream), log_calls("/aws/lambda/blue-owls-logger"), vec![group]].concat()
        },
        others: || {
            let other_stream = arn("dynamodb", "table/blue-owls-todos-2/stream/2026-11-30T00:00:00.000");
            let mut others = stream_calls(&other_stream);
            others.pop();
            others.extend(log_calls("/aws/lambda/blue-owls-logger-2"));
            others.extend([
                here("dynamodb:GetItem", arn("dynamodb", "table/blue-owls-todos")),
                here("dynamodb:PutItem", arn("dynamodb", "table/blue-owls-todos")),
            ]);
            others
        },
    },
    RoleCase {
        function: "    log_retention_in_days: 7\n    tracing: Active\n    dead_letter_target_arn: ${dead.arn}\n    \
                   access: { archive: read, outbox: [send, receive], dead: sqs:PurgeQueue }\n",
        resources: "  dead: { type: queue }\n  outbox: { type: queue }\n  jobs: { type: queue, visibility_timeout_seconds: 30 }\n  archive:\n    \
                    type: table\n    attributes: { id: S }\n    hash_key: id\n    billing_mode: PAY_PER_REQUEST\n  \
                    jobs-to-logger:\n    type: mapping\n    function: ${logger.arn}\n    event_source_arn: ${jobs.arn}\n",
        calls: |stream| {
            let (dead, jobs) = (arn("sqs", "blue-owls-dead"), arn("sqs", "blue-owls-jobs"));
            let outbox = arn("sqs", "blue-owls-outbox");
            let polls = ["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"];
            let archive = arn("dynamodb", "table/blue-owls-archive");
            let reads = [
                "dynamodb:BatchGetItem",
                "dynamodb:ConditionCheckItem",
                "dynamodb:DescribeTable",
                "dynamodb:GetItem",
                "dynamodb:PartiQLSelect",
                "dynamodb:Query",
                "dynamodb:Scan",
            ];
            let index = format!("{archive}/index/by-owner");
            let queue = [
                "sqs:ChangeMessageVisibility",
                "sqs:DeleteMessage",
                "sqs:GetQueueAttributes",
                "sqs:GetQueueUrl",
                "sqs:ReceiveMessage",
                "sqs:SendMessage",
            ];
            let traces = ["xray:PutTelemetryRecords", "xray:PutTraceSegments"];
            let mut calls = [stream_calls(stream), log_calls("/aws/lambda/blue-owls-logger")].concat();
            calls.extend(reads.map(|action| here(action, archive.clone())));
            calls.push(here("dynamodb:Query", index));
            calls.extend(queue.map(|action| here(action, outbox.clone())));
            calls.extend(polls.map(|action| here(action, jobs.clone())));
            calls.extend([here("sqs:SendMessage", dead.clone()), here("sqs:PurgeQueue", dead)]);
            calls.extend(traces.map(|action| here(action, "*".to_owned())));
            calls
        },
        others: || {
            vec![
                here("logs:CreateLogGroup", arn("logs", "log-group:/aws/lambda/blue-owls-logger")),
                here("dynamodb:PutItem", arn("dynamodb", "table/blue-owls-archive")),
                here("dynamodb:GetItem", arn("dynamodb", "table/blue-owls-todos")),
                here("sqs:ReceiveMessage", arn("sqs", "blue-owls-dead")),
                here("sqs:PurgeQueue", arn("sqs", "blue-owls-jobs")),
                here("sqs:SendMessage", arn("sqs", "blue-owls-jobs")),
                here("sqs:SendMessage", arn("sqs", "blue-owls-outbox-2")),
            ]
        },
    },
    RoleCase {
        function: "    vpc: { subnet_ids: [subnet-1], security_group_ids: [sg-1] }\n    kms_key_arn: arn:aws:kms:eu-central-1:${account}:key/one\n    environment: { \
                   LEVEL: debug }\n    dead_letter_target_arn: arn:aws:sns:eu-central-1:${account}:failures\n    async: {\n      \
                   on_success_destination_arn: \"arn:aws:events:eu-central-1:${account}:event-bus/default\",\n      \
                   on_failure_destination_arn: \"arn:aws:lambda:eu-central-1:${account}:function:reporter\" }\n",
        resources: "  clicks-to-logger:\n    type: mapping\n    function: ${logger.arn}\n    event_source_arn: \
                    arn:aws:kinesis:eu-central-1:${account}:stream/clicks\n    starting_position: LATEST\n    \
                    maximum_retry_attempts: 1\n    on_failure_destination_arn: arn:aws:s3:::lost-clicks\n",
        calls: |stream| {
            let clicks = arn("kinesis", "stream/clicks");
            let reads = [
                "kinesis:DescribeStream",
                "kinesis:DescribeStreamSummary",
                "kinesis:GetRecords",
                "kinesis:GetShardIterator",
                "kinesis:ListShards",
            ];
            let interfaces = [
                "ec2:AssignPrivateIpAddresses",
                "ec2:CreateNetworkInterface",
                "ec2:DeleteNetworkInterface",
                "ec2:DescribeNetworkInterfaces",
                "ec2:DescribeSubnets",
                "ec2:UnassignPrivateIpAddresses",
            ];
            let mut calls = [stream_calls(stream), log_calls("/aws/lambda/blue-owls-logger")].concat();
            calls.extend(reads.map(|action| here(action, clicks.clone())));
            calls.extend(interfaces.map(|action| here(action, "*".to_owned())));
            calls.extend([
                here("logs:CreateLogGroup", arn("logs", "log-group:/aws/lambda/blue-owls-logger")),
                here("kinesis:ListStreams", "*".to_owned()),
                here("kms:Decrypt", arn("kms", "key/one")),
                here("sns:Publish", arn("sns", "failures")),
                here("events:PutEvents", arn("events", "event-bus/default")),
                here("lambda:InvokeFunction", arn("lambda", "function:reporter")),
                here("s3:ListBucket", "arn:aws:s3:::lost-clicks".to_owned()),
                here("s3:PutObject", "arn:aws:s3:::lost-clicks/aws/lambda/1".to_owned()),
            ]);
            calls
        },
        others: || {
            vec![
                here("kinesis:GetRecords", arn("kinesis", "stream/clicks-2")),
                here("kinesis:PutRecord", arn("kinesis", "stream/clicks")),
                here("kms:Decrypt", arn("kms", "key/two")),
                here("kms:Encrypt", arn("kms", "key/one")),
                here("sns:Publish", arn("sns", "failures-2")),
                here("events:PutEvents", arn("events", "event-bus/other")),
                here("lambda:InvokeFunction", arn("lambda", "function:blue-owls-logger")),
                here("s3:GetObject", "arn:aws:s3:::lost-clicks/aws/lambda/1".to_owned()),
                here("s3:PutObject", "arn:aws:s3:::other/aws/lambda/1".to_owned()),
            ]
        },
    },
];

/// Removes one action; `None` if there is none at this place.
fn without(policy: &Json, n: usize) -> Option<(String, Json)> {
    let mut policy = policy.clone();
    let statements = policy["Statement"].as_array_mut().unwrap();
    let mut at = n;
    for index in 0..statements.len() {
        let actions = match statements[index]["Action"].take() {
            Json::Array(actions) => actions,
            action => vec![action],
        };
        let mut actions: Vec<String> = actions.iter().map(|it| it.as_str().unwrap().to_owned()).collect();
        if at < actions.len() {
            let removed = actions.remove(at);
            statements[index]["Action"] = json!(actions);
            if actions.is_empty() {
                statements.remove(index);
            }
            return Some((removed, policy));
        }
        at -= actions.len();
        statements[index]["Action"] = json!(actions);
    }
    None
}

/// The policy evaluator of the local AWS decides about each call that a pipeline makes.
#[test]
fn the_derived_role_is_enough_and_no_more() {
    for RoleCase { function, resources, calls, others } in PIPELINES {
        let project = Project::new();
        let text = project.read("specs/examples/own-role.yaml");
        let text = text.replace("    code: ../../", &format!("{function}    code: ../"));
        project.write(TEAM, &text.replace("resources:\n", &format!("resources:\n{resources}")));
        project.run(&["apply", TEAM, "--local", "--yes"]).expect(0, &[]);
        let aws = project.account(ACCOUNT);
        let iam = aws_sdk_iam::Client::new(&config(&project.endpoint(), ACCOUNT));
        let stream = aws.table("blue-owls-todos").latest_stream_arn.unwrap();
        let (calls, policy) = (calls(&stream), policy_of(&aws, &iam));

        for call in &calls {
            assert!(is_allowed(&aws, &iam, call), "{call:?} is denied: {policy:#}");
        }
        for call in others() {
            assert!(!is_allowed(&aws, &iam, &call), "{call:?} is allowed: {policy:#}");
        }
        let mut removed = BTreeSet::new();
        for (action, less) in (0..).map_while(|n| without(&policy, n)) {
            let request = iam.put_role_policy().role_name(OWN).policy_name("engine");
            aws.wait(request.policy_document(less.to_string()).send());
            let of_action = calls.iter().filter(|RoleCall(name, _)| *name == action);
            let is_needed = of_action.into_iter().any(|call| !is_allowed(&aws, &iam, call));
            assert!(is_needed, "no call needs {action}, or another statement allows it too: {policy:#}");
            removed.insert(action);
        }
        let called: BTreeSet<String> = calls.iter().map(|RoleCall(action, _)| (*action).to_owned()).collect();
        assert_eq!(removed, called);
        project.run(&["diff", TEAM, "--local"]).expect(0, &["policy."]);
    }
}

fn iam_has_no(aws: &super::Account, iam: &aws_sdk_iam::Client) -> bool {
    let roles = aws.wait(iam.list_roles().send()).roles;
    roles.iter().all(|role| role.role_name != OWN)
}
