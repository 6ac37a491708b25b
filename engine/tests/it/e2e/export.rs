//! `engine export`: what exists in AWS becomes a spec that matches it.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{Environment, FunctionCode};
use serde_json::Value as Json;

use super::adoption::{FUNCTION, SECRET, TABLE, create_everything};
use super::project::{ACCOUNT, Account, Project, ROLE, Ran};
use super::{NO_CHANGES, TEAM, long_ago};

const EXPORTED: &str = "specs/exported.yaml";
const REGION: [&str; 2] = ["--region", "eu-central-1"];

/// A package whose handler exists.
fn package() -> Blob {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file("index.js", zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(b"exports.handler = async () => 1;\n").unwrap();
    Blob::new(zip.finish().unwrap().into_inner())
}

/// What a plan does with each resource besides reading it, and the paths that differ.
fn changes(diff: &Ran) -> Vec<String> {
    let plan: Json = serde_json::from_str(&diff.out).unwrap_or_else(|_| panic!("{diff:#?}"));
    let text = |it: &Json| it.as_str().unwrap_or_default().to_owned();
    let changes = plan["changes"].as_array().unwrap().iter();
    let changes = changes.filter(|it| !["none", "import"].contains(&it["action"].as_str().unwrap()));
    let path = |it: &Json| text(&it["path"]);
    let changes = changes.map(|it| {
        let paths: Vec<String> = it["properties"].as_array().unwrap().iter().map(path).collect();
        format!("{} {} {}", text(&it["action"]), text(&it["resource"]), paths.join(" ")).trim_end().to_owned()
    });
    let mut changes: Vec<String> = changes.collect();
    changes.sort();
    changes
}

#[test]
fn an_exported_stack_keeps_its_owner_and_its_references() {
    let project = Project::new();
    let run = |args: &[&str]| project.run(&[args, &["--local"]].concat());
    run(&["apply", TEAM]).expect(0, &["4 added"]);
    let export = ["export", TABLE, FUNCTION, "-o", EXPORTED];
    run(&export).expect(0, &["wrote lambda-src/logger.zip", "wrote specs/exported.yaml"]);
    let text = project.read(EXPORTED);
    for line in [
        "team: blue-owls\nstack: team\nregion: eu-central-1\n",
        "  todos:\n    type: table\n",
        "    event_source_arn: ${todos.stream_arn}\n",
        "    source_arn: ${todos.stream_arn}\n",
        "    role: ${fhms-pulumi-challenge-lambda-execution-role.arn}\n",
        "    import: fhms-pulumi-challenge-lambda-execution-role\n",
        "    code: ../lambda-src/logger.zip\n",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
    assert!(!["adopt", "owns", "ignore", "batch_size", "timeout"].iter().any(|it| text.contains(it)), "{text}");
    run(&["diff", EXPORTED, "--detailed-exitcode"]).expect(0, &[NO_CHANGES]);
    // Nothing is overwritten.
    run(&export).expect(1, &["`specs/exported.yaml` already exists, so nothing was written"]);
    project.write("lambda-src/logger.zip", "mine");
    let other = run(&["export", FUNCTION, "-o", "specs/other.yaml"]);
    other.expect(1, &["`lambda-src/logger.zip` already exists with other content, so nothing was written"]);
    assert!(!project.path("specs/other.yaml").exists());
    // An ARN selects one resource, and what the stack has besides it is named.
    let arn = format!("arn:aws:dynamodb:eu-central-1:{ACCOUNT}:table/{TABLE}");
    let one =
        run(&["export", &arn]).expect(0, &["also owns the function `logger`", "`engine apply` would delete that"]);
    assert!(one.out.contains("type: table") && !one.out.contains("type: function"), "{}", one.out);
    let elsewhere = arn.replace("eu-central-1", "eu-west-1");
    run(&["export", &elsewhere]).expect(64, &["is in the region eu-west-1, but the command runs in eu-central-1"]);
}

#[test]
fn each_name_that_exists_nowhere_is_an_error_and_nothing_is_written() {
    let project = Project::new();
    let aws = project.account(ACCOUNT);
    aws.create_table("Orders", &[]);
    aws.create_function("Orders", |function| function.code(FunctionCode::builder().zip_file(package()).build()));
    let run = |args: &[&str]| project.run(&[args, &["--local", "--team", "red-foxes"]].concat());
    let missing = run(&["export", "Orders", "Invoices", "Customers", "-o", EXPORTED]);
    missing.expect(1, &["is named `Invoices`", "is named `Customers`"]);
    assert!(!project.path(EXPORTED).exists() && !project.path("lambda-src/Orders.zip").exists());
    // A name can be that of a table and of a function.
    let both = run(&["export", "Orders", "-o", EXPORTED]).expect(0, &["wrote specs/exported.yaml"]);
    let text = project.read(EXPORTED);
    assert!(
        text.contains("  Orders:\n") && text.contains("type: function") && text.contains("type: table"),
        "{both:?}{text}"
    );
    let none = project.run(&["export", "Orders", "--local"]);
    none.expect(64, &["the resources have no tags of engine, so the spec needs a team", "`--team TEAM`"]);
    let arn = format!("arn:aws:sns:eu-central-1:{ACCOUNT}:Orders");
    run(&["export", &arn]).expect(64, &["is not the ARN of a resource that can be exported"]);
}

/// A table with every setting and its function, which no stack owns.
fn created(project: &Project, account: &str) -> Account {
    let aws = project.account(account);
    project.run(&["diff", &project.spec_for(TEAM, account), "--local"]).expect(0, &["4 to add"]);
    create_everything(&aws);
    aws.wait(aws.lambda.update_function_code().function_name(FUNCTION).zip_file(package()).send());
    let role = format!("arn:aws:iam::{account}:role/{ROLE}");
    aws.wait(aws.lambda.update_function_configuration().function_name(FUNCTION).role(role).send());
    aws
}

#[test]
fn what_another_tool_created_is_adopted_unchanged() {
    let project = Project::new();
    let proxy = long_ago(&project);
    let account = "100000000001";
    let aws = created(&project, account);
    let run = |args: &[&str]| project.run_at(&proxy.endpoint(), account, args);
    let before = aws.snapshot();
    let export = [&["export", TABLE, FUNCTION, "--team", "blue-owls", "-o", EXPORTED][..], &REGION].concat();
    let exported = run(&export).expect(0, &["wrote specs/exported.yaml"]);
    let text = project.read(EXPORTED);
    assert!(text.contains("# Resources with `adopt: true` have no tags of engine yet."), "{text}");
    assert!(text.contains("The permission `other` isn't exported: its `statement_id` doesn't begin"), "{text}");
    assert!(text.contains("    description: says \"$${x}\"\n") && text.contains("    - environment\n"), "{text}");
    let adopted = ["adopt logger", "adopt logger-permission", "adopt todos", "adopt todos-to-logger"];
    assert_eq!(changes(&run(&["diff", EXPORTED, "--format", "json"])), adopted, "{text}");
    assert_eq!(aws.snapshot(), before, "an export only reads");
    run(&["apply", EXPORTED]).expect(0, &["Resources: 4 adopted, 0 added, 0 changed, 0 destroyed."]);
    run(&["diff", EXPORTED, "--detailed-exitcode"]).expect(0, &[NO_CHANGES]);
    let now = aws.wait(aws.lambda.get_function_configuration().function_name(FUNCTION).send());
    assert_eq!(now.environment.unwrap().variables.unwrap()["TOKEN"], SECRET);
    assert!(!format!("{exported:?}{text}").contains(SECRET));
}

#[test]
fn names_of_other_teams_are_owned_and_values_go_to_a_file_of_the_users() {
    let project = Project::new();
    let proxy = long_ago(&project);
    let account = "100000000001";
    let _aws = created(&project, account);
    let run = |args: &[&str]| project.run_at(&proxy.endpoint(), account, args);
    let export = ["export", TABLE, FUNCTION, "--team", "red-foxes", "-o", EXPORTED, "--with-values", "values.yaml"];
    let exported = run(&[&export[..], &REGION].concat()).expect(0, &["wrote values.yaml"]);
    let text = project.read(EXPORTED);
    assert!(text.contains("owns:\n- blue-owls-logger\n- blue-owls-todos\n"), "{text}");
    assert!(text.contains("      TOKEN: ${var.blue-owls-logger_TOKEN}\n"), "{text}");
    assert_eq!(project.read("values.yaml"), format!("blue-owls-logger_TOKEN: {SECRET}\n"));
    assert_eq!(fs::metadata(project.path("values.yaml")).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!format!("{exported:?}{text}").contains(SECRET));
    let diff = run(&["diff", EXPORTED, "--var-file", "values.yaml", "--format", "json"]);
    let wanted = ["adopt blue-owls-logger", "adopt blue-owls-todos", "adopt blue-owls-todos-to-blue-owls-logger"];
    assert_eq!(changes(&diff), wanted, "{text}");
    run(&["diff", EXPORTED]).expect(1, &["blue-owls-logger_TOKEN"]);
    let again = run(&[&export[..], &REGION].concat());
    again.expect(1, &["already exists, so nothing was written"]);
}

#[test]
fn each_variable_has_a_name_of_its_own() {
    let project = Project::new();
    let aws = project.account(ACCOUNT);
    for (function, variable, value) in [("orders", "api_KEY", "one"), ("orders_api", "KEY", "two")] {
        let variables = Environment::builder().variables(variable, value).build();
        let code = FunctionCode::builder().zip_file(package()).build();
        aws.create_function(function, |function| function.code(code).environment(variables));
    }
    let export = ["export", "orders", "orders_api", "--team", "red-foxes", "-o", EXPORTED, "--with-values", "v.yaml"];
    project.run(&[&export[..], &["--local"]].concat()).expect(0, &["wrote v.yaml"]);
    assert_eq!(project.read("v.yaml"), "orders_api_KEY: one\norders_api_KEY_2: two\n");
    let text = project.read(EXPORTED);
    assert!(text.contains("api_KEY: ${var.orders_api_KEY}\n"), "{text}");
    assert!(text.contains(" KEY: ${var.orders_api_KEY_2}\n"), "{text}");
}

#[test]
fn a_project_starts_with_an_existing_table() {
    let project = Project::new();
    let (endpoint, aws) = (project.endpoint(), project.account(ACCOUNT));
    aws.create_table("Orders", &[]);
    project.run(&["diff", TEAM, "--local"]).expect(0, &["4 to add"]);
    let proxy = long_ago(&project);
    let run = |args: &[&str]| project.run_at(&proxy.endpoint(), ACCOUNT, args);
    let init = ["init", "shop", "--team", "red-foxes", "--from", "Orders"];
    run(&[&init[..], &REGION].concat()).expect(0, &["Created for team red-foxes"]);
    let text = project.read("shop/specs/team.yaml");
    assert!(
        text.contains("owns:\n  - \"Orders\"\n") && text.contains("stream_view_type: NEW_AND_OLD_IMAGES"),
        "{text}"
    );
    let diff = run(&["-C", "shop", "diff", "--format", "json"]);
    let changed = changes(&diff);
    assert!(changed.iter().any(|it| it.starts_with("adopt Orders stream_view_type")), "{changed:?}{text}");
    run(&["-C", "shop", "apply", "--yes"]).expect(0, &["1 adopted"]);
    run(&["-C", "shop", "diff", "--detailed-exitcode"]).expect(0, &[NO_CHANGES]);
    let init = ["init", "again", "--team", "red-foxes", "--from", "Orders"];
    run(&[&init[..], &REGION].concat()).expect(1, &["already belongs to the stack `team`"]);
    let init = ["init", "none", "--team", "red-foxes", "--from", "Invoices"];
    project.run_at(&endpoint, ACCOUNT, &[&init[..], &REGION].concat()).expect(1, &["is named `Invoices`"]);
    assert!(!project.path("none").exists());
}
