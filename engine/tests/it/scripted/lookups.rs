//! Lookups on an account that answers as AWS does: what is read and how often, what a refusal costs,
//! and what the policy for it allows.

use std::collections::BTreeMap;

use insta::assert_snapshot;
use serde_json::{Value as Json, json};

use super::server::{Cloud, Fault};
use super::world::{Reply, World};
use super::{FUNCTION, Project, two_waves, writes};

const LOOKUPS: &str = "lookups:
  url: { ssm: [/nowhere/url, /app/url] }
  memory: { ssm: /app/memory }
  secure: { ssm: \"/app/secure:2\" }
  hosts: { ssm: /app/hosts }
  token: { secret: app/github, key: token }
  other: { secret: app/github, key: count }
  vpc: { cfn_export: network-vpc }
  table: { cfn_output: shop.TableName }
  bucket: { cfn_output: shop.Bucket, default: none }
  unused: { ssm: /app/unused }
resources:
";
const USES: &str = "    handler: index.handler
    memory_size: ${lookup.memory}
    environment:
      URL: ${lookup.url}
      SECURE: ${lookup.secure}
      HOSTS: ${lookup.hosts}
      TOKEN: ${lookup.token}-${lookup.other}
      VPC: ${lookup.vpc}
      TABLE: ${lookup.table}-${lookup.bucket}
";

fn project() -> Project {
    Project::new(|text| text.replacen("resources:\n", LOOKUPS, 1).replacen("    handler: index.handler\n", USES, 1))
}

fn world() -> World {
    let parameters = [
        ("/app/url", "String", "https://one.example"),
        ("/app/memory", "String", "256"),
        ("/app/secure:2", "SecureString", "hunter2-secure"),
        ("/app/hosts", "StringList", "one,two"),
    ];
    let secret = json!({ "token": "hunter2-token", "count": 7 }).to_string();
    let exports = ["network-subnet", "network-vpc", "other"].map(|name| (name.to_owned(), format!("value-of-{name}")));
    let outputs = BTreeMap::from([("TableName".to_owned(), "orders &amp; more".to_owned())]);
    World {
        parameters: parameters
            .map(|(name, kind, value)| (name.to_owned(), (kind, value.to_owned(), 1)))
            .into_iter()
            .collect(),
        secrets: BTreeMap::from([("app/github".to_owned(), Some(secret))]),
        exports: exports.into_iter().collect(),
        stacks: BTreeMap::from([("shop".to_owned(), ("UPDATE_COMPLETE", outputs))]),
        ..World::empty()
    }
}

/// The reads of lookups, in the order in which they were sent.
fn reads(cloud: &Cloud) -> Vec<String> {
    let is_read =
        |operation: &str| ["GetParameters", "GetSecretValue", "ListExports", "DescribeStacks"].contains(&operation);
    let calls = cloud.calls().into_iter().filter(|call| is_read(&call.operation));
    let mut reads: Vec<String> = calls.map(|call| format!("{} {}", call.operation, call.about)).collect();
    reads.sort();
    reads
}

#[test]
fn lookups_are_read_in_the_first_wave_and_before_it_for_names() {
    let lookups =
        "lookups: { url: { ssm: /app/url }, token: { secret: app/github, key: token }, role: { ssm: /app/role } }\n";
    let uses = "    handler: index.handler\n    environment: { URL: \"${lookup.url}\", TOKEN: \"${lookup.token}\" }\n";
    let project = Project::new(|text| {
        let text = text.replacen("resources:\n", &format!("{lookups}resources:\n"), 1);
        text.replacen("    handler: index.handler\n", uses, 1)
    });
    let first = Cloud::start(world());
    let role = "fhms-pulumi-challenge-lambda-execution-role";
    first.world(|world| world.parameters.insert("/app/role".to_owned(), ("String", role.to_owned(), 1)));
    project.run(&first, &["apply", "--yes"]).ends_with(0);
    let deployed = first.world(|world| world.clone()).aged();
    let cloud = Cloud::start(deployed.clone());
    let waves = two_waves(&cloud, &project, 13, 2);
    let (first, second) = waves.split_once("then").unwrap();
    assert!(first.contains("GetParameters /app/url") && first.contains("GetSecretValue app/github"), "{waves}");
    assert_eq!(second.trim().lines().count(), 2, "{waves}");

    // The name of an import is needed before it can be read.
    project.edit(&format!("import: {role}"), "import: \"${lookup.role}\"");
    let cloud = Cloud::start(deployed);
    cloud.hold();
    let running = project.start(&cloud, &["diff", "--detailed-exitcode"]);
    let mut waves = Vec::new();
    for n in [2, 11, 2] {
        waves.push(cloud.held(n));
        cloud.release();
    }
    running.end().ends_with(0).says("No changes.");
    assert_eq!(cloud.calls().len(), 15, "{waves:#?}");
    assert!(waves[0].iter().any(|it| it.starts_with("GetParameters")), "{waves:#?}");
}

#[test]
fn each_value_is_read_once_and_reaches_the_function() {
    let project = project();
    let cloud = Cloud::start(world());
    project.run(&cloud, &["apply", "--yes"]).ends_with(0);
    assert_snapshot!(reads(&cloud).join("\n"), @r"
    DescribeStacks shop
    GetParameters /app/hosts, /app/memory, /app/secure:2, /app/url, /nowhere/url
    GetSecretValue app/github
    ListExports 
    ListExports 
    ListExports 
    ");
    let config = cloud.world(|world| world.functions[FUNCTION].config.clone());
    assert_eq!(config["MemorySize"], 256);
    let expected = json!({
        "URL": "https://one.example",
        "SECURE": "hunter2-secure",
        "HOSTS": "one,two",
        "TOKEN": "hunter2-token-7",
        "VPC": "value-of-network-vpc",
        "TABLE": "orders & more-none",
    });
    assert_eq!(config["Environment"]["Variables"], expected);
    cloud.forget();
    project.run(&cloud, &["diff", "--detailed-exitcode"]).ends_with(0);

    // What doesn't need them doesn't read them.
    cloud.forget();
    for args in
        [&["diff", "--no-lookups"][..], &["list"], &["graph", "--plan"], &["diff", "--destroy"], &["destroy", "--yes"]]
    {
        project.run(&cloud, args);
        assert_eq!(reads(&cloud), Vec::<String>::new(), "{args:?}");
    }
}

fn denied(operation: &str, action: &str) -> Fault {
    let text = format!("User: arn:aws:iam::123456789012:user/x is not authorized to perform: {action} on resource: y");
    Fault::Answer(Reply::of(operation, 400, "AccessDeniedException", &text))
}

#[test]
fn a_diff_without_permission_shows_what_it_could_not_read_and_an_apply_writes_nothing() {
    let project = project();
    let cloud = Cloud::start(world());
    cloud.always("GetSecretValue", denied("GetSecretValue", "secretsmanager:GetSecretValue"));
    cloud.always("DescribeStacks", denied("DescribeStacks", "cloudformation:DescribeStacks"));
    let diff = project.run(&cloud, &["diff"]);
    diff.expect(
        0,
        &[
            "read `lookups.token` (a secret): AWS denied this call",
            "`environment.TOKEN` of `logger` needs it",
            "secretsmanager:GetSecretValue",
            "(sensitive, not read)",
            "you lack permission for GetSecretValue",
        ],
    );
    let apply = project.run(&cloud, &["apply", "--yes"]);
    apply.expect(1, &["error[access-denied]: read `lookups.token`", "error[access-denied]: read `lookups.table`"]);
    assert_eq!(writes(&cloud), Vec::<String>::new());
}

#[test]
fn every_lookup_without_a_value_is_an_error_before_the_first_write() {
    let project = project();
    let empty = World {
        secrets: BTreeMap::from([("app/github".to_owned(), None)]),
        stacks: BTreeMap::from([("shop".to_owned(), ("UPDATE_IN_PROGRESS", BTreeMap::new()))]),
        ..World::empty()
    };
    let cloud = Cloud::start(empty);
    let run = project.run(&cloud, &["apply", "--yes"]);
    let expected = [
        "`lookups.url` has no value: an SSM parameter named `/nowhere/url` or `/app/url` doesn't exist",
        "`memory_size` of `logger` needs it",
        "`lookups.vpc` has no value: a CloudFormation export named `network-vpc` doesn't exist",
        "staging label: AWSCURRENT",
        "error[lookup-unusable]: read `lookups.table` (a stack output)",
        "the stack `shop` is in the state UPDATE_IN_PROGRESS",
    ];
    run.expect(1, &expected);
    assert_eq!(writes(&cloud), Vec::<String>::new());
}

#[test]
fn a_secure_string_is_refused_where_it_would_be_shown() {
    let project = project();
    let mut account = world();
    account.parameters.insert("/app/memory".to_owned(), ("SecureString", "512".to_owned(), 3));
    let cloud = Cloud::start(account);
    let problem = "the value of `lookups.memory` is secret, so `memory_size` of `logger` can't use it";
    project.run(&cloud, &["diff"]).expect(1, &[problem, "memory_size: ${lookup.memory}"]);
}

#[test]
fn the_policy_names_exactly_what_the_lookups_read() {
    let project = project();
    let cloud = Cloud::start(World::empty());
    let policy = |args: &[&str]| -> Vec<String> {
        let run = project.run(&cloud, &[&["policy", "--account", "123456789012"], args].concat());
        let document: Json = serde_json::from_str(&run.out).unwrap_or_else(|_| panic!("{}", run.err));
        let statements = document["Statement"].as_array().unwrap().iter();
        let statements = statements.filter(|it| it["Sid"].as_str().unwrap().starts_with("Lookup"));
        statements.map(|it| serde_json::to_string_pretty(it).unwrap()).collect()
    };
    assert_snapshot!(policy(&["--for", "diff"]).join("\n"));
    for args in
        [&["--for", "diff", "--no-lookups"][..], &["--for", "destroy"], &["--for", "logs"], &["--for", "verify"]]
    {
        assert_eq!(policy(args), Vec::<String>::new(), "{args:?}");
    }
}
