//! Public projects as specs (`tests/specs/field`): each is deployed, run, changed and destroyed.
//! The comments in the specs name the projects, and what is left out.

use std::fs;
use std::path::Path;
use std::process::Command;

use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use sha2::{Digest as _, Sha256};

use super::project::{Account, Project};
use super::{ACCOUNT, NO_CHANGES};
use crate::shared::program::Ran;
use crate::shared::project::copy;

struct Case {
    /// The spec's name.
    spec: &'static str,
    /// How many resources it creates.
    added: u32,
    /// An item to put, by its table.
    item: (&'static str, &'static [(&'static str, &'static str)]),
    /// What a function then logs; empty if no function gets the item.
    logged: (&'static str, &'static str),
    /// The exit code of `verify`, and what it prints.
    verified: (i32, &'static str),
    /// A change of the spec, and how many resources it updates.
    change: (&'static str, &'static str),
    changed: u32,
}

/// Of aws-samples/serverless-patterns.
const PATTERNS: [Case; 7] = [
    Case {
        spec: "dynamodb-lambda",
        added: 4,
        item: ("items", &[("id", "a"), ("text", "buy milk")]),
        logged: ("process-stream", r#""NewImage":{"id":{"S":"a"},"text":{"S":"buy milk"}}"#),
        verified: (0, "Verified in"),
        change: ("batch_size: 100", "batch_size: 10"),
        changed: 1,
    },
    Case {
        spec: "dynamodb-streams-lambda-terraform",
        added: 4,
        item: ("users-ids", &[("UserId", "a")]),
        logged: ("process-records", r#"INSERT {"#),
        verified: (0, "Verified in"),
        change: ("Environment: dev", "Environment: test"),
        changed: 1,
    },
    Case {
        spec: "dynamodb-eventbridge-scheduler",
        added: 7,
        item: ("schedule-configs", &[("scheduleId", "reminder"), ("scheduleExpression", "rate(1 hour)")]),
        logged: ("stream-processor", "INSERT reminder schedules: 1"),
        verified: (1, "KeyError: 'scheduleExpression'"),
        change: ("timeout: 60", "timeout: 30"),
        changed: 1,
    },
    Case {
        spec: "lambda-esm-ddb-filters-sam",
        added: 29,
        item: ("demo", &[("id", "a"), ("kind", "Event"), ("region", "us-east-1")]),
        logged: ("filter-starts-with", "records: 1"),
        verified: (0, "the log of field-filter-key shows INSERT and REMOVE; the filters drop MODIFY."),
        change: ("prefix: us-", "prefix: eu-"),
        changed: 1,
    },
    Case {
        spec: "dynamodb-streams-lambda-eventbridge-sam-node",
        added: 5,
        item: ("items", &[("id", "a")]),
        logged: ("stream-function", r#""DetailType":"inserted","EventBusName":"field-bus""#),
        verified: (1, "Cannot find package '@aws-sdk/client-eventbridge'"),
        change: ("memory_size: 1024", "memory_size: 512"),
        changed: 1,
    },
    Case {
        spec: "dynamodb-stream-lambda-sns",
        added: 6,
        item: ("barks", &[("username", "rex"), ("timestamp", "now")]),
        logged: ("listener", "to publish: rex barked"),
        verified: (1, "Cannot find package '@aws-sdk/client-sns'"),
        change: ("dynamodb:PutItem", "[dynamodb:PutItem, dynamodb:GetItem]"),
        changed: 1,
    },
    Case {
        spec: "dynamodb-streams-lambda-filters-tf",
        added: 10,
        item: ("requests", &[("request_id", "a"), ("degree", "Masters")]),
        logged: ("process-masters", "master's request INSERT"),
        verified: (0, "the log of field-process-delete shows REMOVE; the filters drop INSERT and MODIFY."),
        change: ("[Masters]", "[Masters, Doctorate]"),
        changed: 1,
    },
];

/// Of other repositories.
const OTHERS: [Case; 9] = [
    Case {
        spec: "batch-processing",
        added: 5,
        item: ("samples", &[("pk", "a"), ("sk", "b"), ("message", "{ \"done\": true }")]),
        logged: ("hello-world", "message: {'done': True}"),
        verified: (0, "Verified in"),
        change: ("tracing: Active", "tracing: PassThrough"),
        changed: 2,
    },
    Case {
        spec: "dynamodb-streams-lambda-golang",
        added: 7,
        item: ("users", &[("email", "ann@example.com"), ("state", "Utah"), ("city", "Provo")]),
        logged: ("replicate-user", r#""S":"ann@example.com""#),
        verified: (0, "Verified in"),
        change: ("users-by-state: write", "users-by-state: [read, write]"),
        changed: 1,
    },
    Case {
        spec: "dynamodb-stream-handler-rust",
        added: 4,
        item: ("samples", &[("Id", "7"), ("Message", "hello")]),
        logged: ("handler", r#""N":"7""#),
        verified: (0, "Verified in"),
        change: ("memory_size: 256", "memory_size: 512"),
        changed: 1,
    },
    Case {
        spec: "dynamodb-streams",
        added: 4,
        item: ("cars", &[("PK", "car#1"), ("SK", "model")]),
        logged: ("process-cars", r#""PK":{"S":"car#1"}"#),
        verified: (0, "Lambda invoked field-process-cars for INSERT, MODIFY and REMOVE, which its log doesn't show."),
        change: ("read_capacity: 1", "read_capacity: 2"),
        changed: 1,
    },
    Case {
        spec: "appsyncmasterclass-backend",
        added: 26,
        item: ("likes", &[("userId", "ann"), ("tweetId", "a")]),
        logged: ("notify-liked", "REPORT RequestId"),
        verified: (0, "Lambda invoked field-notify for INSERT, MODIFY and REMOVE, which its log doesn't show."),
        change: ("events: { likes: { starting_position: TRIM_HORIZON, batch_size: 10 } }", LIKES),
        changed: 1,
    },
    Case {
        spec: "account-management-backend",
        added: 18,
        item: ("raw-events", &[("id", "a"), ("timestamp", "1")]),
        // The filters let nothing through that isn't nested, so only `verify` shows that they are right.
        logged: ("", ""),
        verified: (
            0,
            "Lambda invoked field-update-user-email for INSERT, which its log doesn't show; the filters drop",
        ),
        change: ("[AUTH_UPDATE_EMAIL]", "[AUTH_UPDATE_EMAIL, AUTH_UPDATE_PHONE]"),
        changed: 1,
    },
    Case {
        spec: "national-document-repository",
        added: 4,
        item: ("document-references", &[("ID", "a")]),
        logged: ("", ""),
        verified: (1, "which only records of items have that"),
        change: ("timeout: 900", "timeout: 600"),
        changed: 1,
    },
    Case {
        spec: "dynamodb-stream-lambda-terraform",
        added: 4,
        item: ("example", &[("TestTableHashKey", "a")]),
        logged: ("stream-lambda", "keys: a"),
        verified: (0, "Lambda invoked field-stream-lambda for INSERT, MODIFY and REMOVE, which its log doesn't show."),
        change: ("timeout: 15", "timeout: 20"),
        changed: 1,
    },
    Case {
        spec: "repeated",
        added: 10,
        item: ("records-orders", &[("id", "a"), ("text", "milk")]),
        logged: ("worker-orders", "seen orders {"),
        verified: (0, "Verified in"),
        change: ("users: 100", "users: 50"),
        changed: 1,
    },
];
const LIKES: &str = "events: { likes: { starting_position: TRIM_HORIZON, batch_size: 20 } }";

#[test]
fn specs_of_serverless_patterns_pass_their_full_lifecycle() {
    lifecycles(&PATTERNS);
}

/// The tables belong to another stack, which doesn't use engine.
#[test]
fn a_spec_that_reads_tables_of_another_stack_is_proven() {
    let project = Project::new();
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/specs/field"), &project.path("specs/field"));
    let aws = project.account(ACCOUNT);
    for table in ["MembershipSub-Campaigns-CODE", "MembershipSub-Promotions-CODE"] {
        aws.create_table(table, &[("app", "promotions")]);
        aws.new_stream(table, aws_sdk_dynamodb::types::StreamViewType::NewAndOldImages);
    }
    let run = |args: &[&str]| project.run(&[args, &["specs/field/promotions.yaml", "--local", "--yes"]].concat());
    run(&["apply"]).expect(0, &["Resources: 6 added, 0 changed, 0 destroyed."]);
    run(&["verify"]).expect(1, &["pass `--allow-imported old-campaigns`", "pass `--allow-imported old-promotions`"]);
    let allowed = ["verify", "--allow-imported", "old-campaigns", "--allow-imported", "old-promotions"];
    run(&allowed).expect(0, &["Lambda invoked field-campaign-sync for", "Lambda invoked field-promotion-sync for"]);
    assert_eq!(aws.n_items("MembershipSub-Campaigns-CODE"), 0);
    run(&["destroy"]).expect(0, &["Destroy complete! Resources: 6 destroyed."]);
}

#[test]
fn specs_of_other_public_projects_pass_their_full_lifecycle() {
    lifecycles(&OTHERS);
}

/// The folder of the Java code, beside its spec.
const JAVA: &str = "specs/field/dynamodb-streams-java";

/// Makes a jar with a class, and a folder with the same class and a jar that it needs. Returns
/// whether a JDK has compiled them: without one, they contain what only looks like classes.
fn make_java(project: &Project, version: &str) -> bool {
    let has_jdk = Command::new("javac").arg("-version").output().is_ok();
    let run = |script: &str| project.program("sh").args(["-ec", script]).run().expect(0, &[]);
    let compile = if has_jdk {
        "javac -d classes example/*.java library/*.java"
    } else {
        "mkdir -p classes/example classes/library; \
         printf '\\312\\376\\272\\276' | tee classes/example/OrderHandler.class > classes/library/Words.class"
    };
    let zip = "python3 -m zipfile -c";
    run(&format!(
        "cd {JAVA}; rm -rf ../java classes; mkdir -p ../java/layout/lib
         sed -i.old 's/return \".*\"/return \"{version}\"/' library/Words.java; {compile}; cd classes
         {zip} ../../java/app.jar example library; {zip} ../../java/layout/lib/words.jar library
         cp -r example ../../java/layout"
    ));
    has_jdk
}

/// What the handler prints when Java runs what was deployed, unpacked as Lambda does.
fn run_java(project: &Project, function: &str) -> String {
    let archive = format!("lambda-src/{function}.zip");
    fs::remove_dir_all(project.path("task")).ok();
    for written in [archive.as_str(), "specs/exported.yaml"] {
        fs::remove_file(project.path(written)).ok();
    }
    let export = ["export", &format!("field-{function}"), "--local", "-o", "specs/exported.yaml"];
    project.run(&export).expect(0, &[&format!("wrote {archive}")]);
    zip::ZipArchive::new(fs::File::open(project.path(&archive)).unwrap())
        .unwrap()
        .extract(project.path("task"))
        .unwrap();
    let invoke = format!("{JAVA}/Invoke.java");
    let args = ["-cp", "task:task/lib/*", &invoke, "example.OrderHandler::handleRequest"];
    project.program("java").args(args).run().expect(0, &[]).out
}

#[test]
fn a_jar_is_deployed_as_it_is_a_lib_layout_is_packed_and_both_run() {
    let project = Project::new();
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/specs/field"), &project.path("specs/field"));
    let has_jdk = make_java(&project, "received");
    let aws = project.account(ACCOUNT);
    let spec = "specs/field/dynamodb-streams-java.yaml";
    let run = |args: &[&str]| project.run(&[args, &[spec, "--local"]].concat());
    let deployed = |name: &str| {
        let function = aws.wait(aws.lambda.get_function().function_name(format!("field-{name}")).send());
        function.configuration.unwrap().code_sha256.unwrap()
    };
    let hash = |path: &str| {
        base64::engine::general_purpose::STANDARD.encode(Sha256::digest(fs::read(project.path(path)).unwrap()))
    };
    project.run(&["validate", spec]).expect(0, &["is valid."]);
    run(&["apply", "--yes"]).expect(0, &["0 changed, 0 destroyed."]);
    run(&["diff", "--detailed-exitcode"]).expect(0, &[NO_CHANGES]);
    assert_eq!(deployed("jar"), hash("specs/field/java/app.jar"));
    let runs = |says: &str| {
        for function in ["jar", "layout"].into_iter().filter(|_| has_jdk) {
            assert_eq!(run_java(&project, function), format!("{says} INSERT\n1 records\n"), "{function}");
        }
    };
    runs("received");

    make_java(&project, "got");
    run(&["diff", "--detailed-exitcode"]).expect(2, &["code = "]);
    run(&["apply", "--yes"]).expect(0, &["Resources: 0 added, 2 changed, 0 destroyed."]);
    assert_eq!(deployed("jar"), hash("specs/field/java/app.jar"));
    runs("got");
    run(&["diff", "--detailed-exitcode"]).expect(0, &[NO_CHANGES]);
    run(&["destroy", "--yes", "--delete-data"]).expect(0, &["Destroy complete!"]);
    assert_eq!(aws.snapshot().into_keys().collect::<Vec<_>>(), [""; 0]);
}

fn lifecycles(cases: &[Case]) {
    let project = Project::new();
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/specs/field"), &project.path("specs/field"));
    project.write(".gitignore", ".cache/\n.npm/\nnode_modules\n");
    project.install_esbuild();
    let aws = project.account(ACCOUNT);
    for case in cases {
        lifecycle(&project, &aws, case);
        assert_eq!(aws.snapshot().into_keys().collect::<Vec<_>>(), [""; 0], "{}", case.spec);
    }
}

#[track_caller]
fn lifecycle(project: &Project, aws: &Account, case: &Case) {
    let spec = &format!("specs/field/{}.yaml", case.spec);
    let run = |args: &[&str]| project.run(&[args, &[spec, "--local"]].concat());
    let check = || run(&["diff", "--detailed-exitcode"]).expect(0, &[NO_CHANGES]);
    project.run(&["validate", spec]).expect(0, &[&format!("`{spec}` is valid.")]);
    apply(project, spec).expect(0, &[&format!("Resources: {} added, 0 changed, 0 destroyed.", case.added)]);
    check();

    let (table, item) = case.item;
    let put = aws.dynamodb.put_item().table_name(format!("field-{table}"));
    let put = item.iter().fold(put, |put, (name, text)| put.item(*name, attribute(text)));
    aws.wait(put.send());
    let (function, line) = case.logged;
    if !function.is_empty() {
        aws.await_log(&format!("field-{function}"), &[line]);
    }
    let (code, text) = case.verified;
    let patience = if code == 0 { "60s" } else { "5s" };
    run(&["verify", "--yes", "--timeout", patience]).expect(code, &[text]);

    project.edit(spec, &[case.change]);
    apply(project, spec).expect(0, &[&format!("Resources: 0 added, {} changed, 0 destroyed.", case.changed)]);
    check();
    let destroyed = format!("Destroy complete! Resources: {} destroyed.", case.added);
    run(&["destroy", "--yes", "--delete-data"]).expect(0, &[&destroyed]);
}

/// Applies a spec, with its builds.
fn apply(project: &Project, spec: &str) -> Ran {
    let mut engine = project.command(&["apply", spec, "--local", "--yes", "--allow-build"]);
    engine.package_indexes().run()
}

/// A number if the text is one, else a string.
fn attribute(text: &str) -> AttributeValue {
    match text.parse::<u32>() {
        Ok(_) => AttributeValue::N(text.to_owned()),
        Err(_) => AttributeValue::S(text.to_owned()),
    }
}
