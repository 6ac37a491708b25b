//! Implied roles and derived policies: their names, who can refer to them, and what they grant with
//! which reason.

use std::path::Path;

use engine::spec::{Depth, ResourceDecl, Spec, SpecOverrides};
use engine::value::Value;
use serde_json::{Value as Json, json};

const HEAD: &str = "team: blue-owls\nregion: eu-central-1\naccount: \"123456789012\"\n";

fn function(name: &str, lines: &str) -> String {
    format!(
        "  {name}:\n    type: function\n    runtime: nodejs22.x\n    handler: index.handler\n    \
         code: {{ inline: 'exports.handler = 1' }}\n{lines}"
    )
}

fn parse(resources: &str) -> Result<Spec, String> {
    let text = format!("{HEAD}resources:\n{resources}");
    let kinds = engine::kinds::all();
    Spec::parse(&kinds, Path::new("specs/team.yaml"), text.as_bytes(), &SpecOverrides::default(), Depth::Full)
        .map_err(|problems| problems.iter().map(|it| format!("{it:?}\n")).collect())
}

#[track_caller]
fn declared<'s>(spec: &'s Spec, name: &str) -> &'s ResourceDecl {
    spec.resource(name).unwrap_or_else(|| panic!("no `{name}`"))
}

/// A property of a declaration as JSON.
fn property(declared: &ResourceDecl, name: &str) -> Json {
    declared.desired.get(name).map_or(Json::Null, Json::from)
}

/// The names of the statements in a role's policy.
fn statements(role: &ResourceDecl) -> Vec<String> {
    let Some(Value::Map(policy)) = role.desired.get("policy") else { panic!("no policy: {:?}", role.desired) };
    policy.keys().cloned().collect()
}

fn reasons(role: &ResourceDecl) -> Vec<&str> {
    role.reasons.iter().map(|(_, reason)| reason.as_str()).collect()
}

#[track_caller]
fn refused(resources: &str, texts: &[&str]) {
    let problems = parse(resources).err().unwrap_or_else(|| panic!("accepted:\n{resources}"));
    for text in texts {
        assert!(problems.contains(text), "no `{text}` in {problems}");
    }
}

#[test]
fn a_function_without_a_role_implies_one() {
    let spec = parse(&function("worker", "")).unwrap();
    let role = declared(&spec, "worker-role");
    assert_eq!((role.id.name.as_str(), role.implied_by.as_deref()), ("blue-owls-worker-role", Some("worker")));
    assert_eq!(spec.target(declared(&spec, "worker"), "role").unwrap().name, "worker-role");
    assert_eq!(
        property(role, "assume_role_policy")["Statement"][0]["Principal"],
        json!({ "Service": ["lambda.amazonaws.com"] })
    );
    assert_eq!(statements(role), ["WriteLogs"]);
    assert_eq!(reasons(role), ["WriteLogs: `worker` writes its log"]);
}

#[test]
fn an_implied_role_can_be_referred_to() {
    let other = function("other", "    role: ${worker-role.arn}\n");
    let spec = parse(&(function("worker", "") + &other)).unwrap();
    assert_eq!(spec.target(declared(&spec, "other"), "role").unwrap().name, "worker-role");
    assert!(spec.resource("other-role").is_none());
    let role = declared(&spec, "worker-role");
    assert_eq!(reasons(role), ["WriteLogs: `other` writes its log, and `worker` writes its log"]);
    let logs = property(role, "policy")["WriteLogs"]["resources"].to_string();
    assert!(logs.contains("blue-owls-worker") && logs.contains("blue-owls-other"), "{logs}");
}

#[test]
fn a_declared_role_of_the_implied_name_has_to_be_used() {
    let role = "  worker-role: { type: role, trusted_services: [lambda.amazonaws.com] }\n";
    let texts = [
        "`worker-role` is declared, and `worker` also implies a role with this name",
        "add `role: ${worker-role.arn}` to `worker` to use the declared one, or rename it",
    ];
    refused(&(function("worker", "") + role), &texts);
    refused(&(function("worker", "") + "  worker-role: { type: queue }\n"), &texts[..1]);
    let spec = parse(&(function("worker", "    role: ${worker-role.arn}\n") + role)).unwrap();
    assert_eq!(declared(&spec, "worker-role").implied_by, None);
    assert_eq!(declared(&spec, "worker-role").id.name, "blue-owls-worker-role");
}

#[test]
fn the_implied_name_has_iams_length() {
    // With the team and the suffix, 64 characters.
    let name = "w".repeat(64 - "blue-owls--role".len());
    let spec = parse(&function(&name, "")).unwrap();
    assert_eq!(declared(&spec, &format!("{name}-role")).id.name.len(), 64);
    let long = format!("{name}w");
    refused(&function(&long, ""), &[&format!("which `{long}` implies"), "shorten the name of"]);
}

#[test]
fn a_policy_follows_from_the_graph_and_each_statement_has_a_reason() {
    let pipeline = "  todos:
    type: table
    attributes: { id: S }
    hash_key: id
    billing_mode: PAY_PER_REQUEST
    stream_view_type: NEW_AND_OLD_IMAGES
    kms_key_arn: arn:aws:kms:eu-central-1:123456789012:key/one
  failed: { type: queue }
  dead: { type: queue }
  reporter: { type: function, runtime: nodejs22.x, handler: index.handler, code: { inline: \"exports.handler = 1\" } }
  archive: { type: table, import: shared-archive }
  feed:
    type: mapping
    function: ${worker.arn}
    event_source_arn: ${todos.stream_arn}
    starting_position: LATEST
    on_failure_destination_arn: ${failed.arn}
";
    let lines = "    tracing: Active
    dead_letter_target_arn: ${dead.arn}
    async: { on_success_destination_arn: \"${reporter.arn}\", on_failure_destination_arn: \"${failed.arn}\" }
    access: { archive: [read, dynamodb:UpdateTimeToLive] }
    statements: [{ actions: ses:SendEmail, resources: '*' }]
";
    let spec = parse(&(function("worker", lines) + pipeline)).unwrap();
    let role = declared(&spec, "worker-role");
    let mut reasons = reasons(role);
    reasons.sort_unstable();
    insta::assert_snapshot!(reasons.join("\n"), @r"
    Access2: `worker` has `access: { archive: dynamodb:UpdateTimeToLive }`
    Access: `worker` has `access: { archive: read }`
    DecryptStreams: `feed` reads the stream of `todos`
    InvokeFunctions: `worker` has it as `async.on_success_destination_arn`
    ListStreams: `feed` reads the stream of `todos`
    ReadStreams: `feed` reads the stream of `todos`
    SendToQueues: `feed` sends failed records there, and `worker` has it as `async.on_failure_destination_arn`, and `worker` sends failed invocations there
    Statement: `worker` has it in `statements`
    Trace: `worker` has `tracing: Active`
    WriteLogs: `worker` writes its log
    ");
    // Whatever isn't a condition is known without AWS.
    insta::assert_snapshot!(format!("{:#}", property(role, "policy")));
}

#[test]
fn an_iam_action_in_access_also_covers_what_belongs_to_the_target() {
    let resources = "  audit: { type: log_group, name: blue-owls-audit }
  todos: { type: table, import: shared-todos }
  jobs: { type: queue }
  shared: { type: role, import: shared }
  known: { type: role, import: 'arn:aws:iam::123456789012:role/teams/known' }
  runner: { type: role, path: /teams/, trusted_services: [states.amazonaws.com] }
  plain: { type: role, trusted_services: [states.amazonaws.com] }
";
    let access = "    access:
      audit: logs:GetLogEvents
      todos: dynamodb:GetRecords
      jobs: sqs:PurgeQueue
      worker: lambda:GetFunction
      shared: iam:GetRole
      known: iam:ListRoleTags
      runner: iam:PassRole
      plain: iam:TagRole
";
    let spec = parse(&(function("worker", access) + resources)).unwrap();
    let policy = property(declared(&spec, "worker-role"), "policy");
    let here = |service: &str, rest: &str| format!("arn:aws:{service}:eu-central-1:123456789012:{rest}");
    let role = |rest: &str| format!("arn:aws:iam::123456789012:role{rest}");
    for (action, resources) in [
        (
            "logs:GetLogEvents",
            vec![here("logs", "log-group:blue-owls-audit"), here("logs", "log-group:blue-owls-audit:*")],
        ),
        ("dynamodb:GetRecords", vec![here("dynamodb", "table/shared-todos"), here("dynamodb", "table/shared-todos/*")]),
        ("sqs:PurgeQueue", vec![here("sqs", "blue-owls-jobs")]),
        (
            "lambda:GetFunction",
            vec![here("lambda", "function:blue-owls-worker"), here("lambda", "function:blue-owls-worker:*")],
        ),
        // The path of an imported role is unknown.
        ("iam:GetRole", ["/*/shared", "/*/shared/*", "/shared", "/shared/*"].map(role).to_vec()),
        ("iam:ListRoleTags", ["/teams/known", "/teams/known/*"].map(role).to_vec()),
        ("iam:PassRole", ["/teams/blue-owls-runner", "/teams/blue-owls-runner/*"].map(role).to_vec()),
        ("iam:TagRole", ["/blue-owls-plain", "/blue-owls-plain/*"].map(role).to_vec()),
    ] {
        let statement = policy.as_object().unwrap().values().find(|it| it["actions"] == json!([action])).unwrap();
        assert_eq!(statement["resources"], json!(resources), "{action}");
    }
}

#[test]
fn a_mapping_waits_for_its_functions_role() {
    let pipeline = "  todos: { type: table, attributes: { id: S }, hash_key: id, billing_mode: PAY_PER_REQUEST, stream_view_type: KEYS_ONLY }
  feed: { type: mapping, function: '${worker.arn}', event_source_arn: '${todos.stream_arn}', starting_position: LATEST }
";
    let spec = parse(&(function("worker", "") + pipeline)).unwrap();
    let waits_for = |name: &str| spec.graph.dependencies(name).map(|(it, _)| it.to_owned()).collect::<Vec<_>>();
    assert!(waits_for("feed").contains(&"worker-role".to_owned()), "{:?}", waits_for("feed"));
    // The policy names the table's stream without waiting for the table.
    assert_eq!(waits_for("worker-role"), [""; 0]);
}

#[test]
fn without_derived_permissions_a_role_has_only_what_it_declares() {
    let role = "  shared:
    type: role
    derive_permissions: false
    statements: [{ effect: Deny, actions: '*', resources: '*' }]
";
    let spec = parse(&(function("worker", "    role: ${shared.arn}\n") + role)).unwrap();
    assert_eq!(statements(declared(&spec, "shared")), ["Statement"]);
}

#[test]
fn without_derived_permissions_a_role_keeps_what_its_functions_declare() {
    let resources = "  shared: { type: role, derive_permissions: false, access: { jobs: receive } }
  jobs: { type: queue }
  todos: { type: table, attributes: { id: S }, hash_key: id, billing_mode: PAY_PER_REQUEST, stream_view_type: KEYS_ONLY }
  feed: { type: mapping, function: '${worker.arn}', event_source_arn: '${todos.stream_arn}', starting_position: LATEST }
";
    let lines = "    role: ${shared.arn}
    access: { jobs: send }
    statements: [{ actions: ses:SendEmail, resources: '*' }]
";
    let spec = parse(&(function("worker", lines) + resources)).unwrap();
    let shared = declared(&spec, "shared");
    assert_eq!(statements(shared), ["Access", "Access2", "Statement"]);
    let policy = property(shared, "policy").to_string();
    for action in ["sqs:SendMessage", "sqs:ReceiveMessage", "ses:SendEmail"] {
        assert!(policy.contains(action), "{action}: {policy}");
    }
    assert!(reasons(shared).contains(&"Access: `worker` has `access: { jobs: send }`"), "{:?}", reasons(shared));
}

/// The region decides how long the ARNs are, so it may not be known whether IAM accepts the policy.
#[test]
fn a_policy_that_is_too_large_in_some_regions_is_a_warning() {
    let queues = |n: usize| {
        let names = (0..n).map(|it| format!("\"{it:052}\"")).collect::<Vec<_>>().join(", ");
        format!(
            "  jobs: {{ type: queue, for_each: [{names}] }}\n  runner: {{ type: role, trusted_services: \
             [states.amazonaws.com], access: {{ jobs: send }} }}\n"
        )
    };
    let parse = |head: &str, n: usize| {
        let text = format!("team: blue-owls\n{head}resources:\n{}", queues(n));
        let kinds = engine::kinds::all();
        Spec::parse(&kinds, Path::new("specs/team.yaml"), text.as_bytes(), &SpecOverrides::default(), Depth::Full)
    };
    let warnings = |head: &str, n: usize| format!("{:?}", parse(head, n).unwrap().warnings);
    assert_eq!(warnings("", 80), "[]");
    let warning = warnings("", 92);
    assert!(warning.contains("in some regions, the policy of `runner` has up to"), "{warning}");
    assert_eq!(warnings("region: eu-west-1\n", 92), "[]");
    assert!(parse("region: us-gov-west-1\n", 92).is_err() && parse("", 100).is_err());
}

#[test]
fn a_trust_policy_above_the_default_quota_is_a_warning() {
    let trusted = |n: usize| {
        let arns = (0..n).map(|it| format!("\"arn:aws:iam::123456789012:role/student-{it:02}\"")).collect::<Vec<_>>();
        let document = format!(
            "Version: \"2012-10-17\", Statement: [{{ Effect: Allow, Action: sts:AssumeRole, Principal: {{ AWS: [{}] }} }}]",
            arns.join(", ")
        );
        let spec = parse(&format!("  runner: {{ type: role, assume_role_policy: {{ {document} }} }}\n")).unwrap();
        format!("{:?}", spec.warnings)
    };
    assert_eq!(trusted(40), "[]");
    let warning = trusted(50);
    assert!(warning.contains("characters, above AWS's default limit of 2048"), "{warning}");
}

#[test]
fn a_role_needs_a_service_that_assumes_it() {
    refused("  runner: { type: role }\n", &["`runner` has no trusted service, and no function of this spec uses it"]);
    let role = "  shared: { type: role, trusted_services: [states.amazonaws.com] }\n";
    refused(
        &(function("worker", "    role: ${shared.arn}\n") + role),
        &["functions use `shared`, but Lambda isn't one of its trusted services", "add `lambda.amazonaws.com`"],
    );
}

#[test]
fn an_imported_role_gets_no_statements() {
    let role = "  shared: { type: role, import: shared }\n";
    let lines = "    role: ${shared.arn}\n    statements: [{ actions: ses:SendEmail, resources: '*' }]\n";
    refused(&(function("worker", lines) + role), &["`statements` needs a role that engine creates"]);
    let lines = "    role: ${shared.arn}\n    access: { shared: iam:GetRole }\n";
    assert!(parse(&(function("worker", lines) + role)).is_ok());
}
