//! A resource that engine or another client deletes and re-creates works again afterwards.

use std::collections::HashMap;

use aws_sdk_lambda::primitives::{Blob, DateTime};
use aws_sdk_lambda::types::{Environment, FunctionCode, Runtime};

use super::project::{ACCOUNT, Account, Project, ROLE, patiently};
use super::{NO_CHANGES, TEAM};

const TABLE: &str = "blue-owls-todos";
const FUNCTION: &str = "blue-owls-logger";

impl Account {
    /// Deletes and re-creates the role; returns its creation time.
    fn recreate_role(&self) -> DateTime {
        let role = self.wait(self.iam.get_role().role_name(ROLE).send()).role.unwrap();
        let policies = self.wait(self.iam.list_role_policies().role_name(ROLE).send()).policy_names;
        for policy in policies {
            self.wait(self.iam.delete_role_policy().role_name(ROLE).policy_name(policy).send());
        }
        self.wait(self.iam.delete_role().role_name(ROLE).send());
        let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
        let made = self.wait(self.iam.create_role().role_name(ROLE).assume_role_policy_document(trust).send());
        let made = made.role.unwrap();
        assert!(made.role_id != role.role_id && made.arn == role.arn);
        made.create_date
    }

    /// Deletes and re-creates the function without engine.
    fn recreate_function(&self) {
        let old = self.wait(self.lambda.get_function_configuration().function_name(FUNCTION).send());
        self.wait(self.lambda.delete_function().function_name(FUNCTION).send());
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        zip.start_file("index.js", zip::write::SimpleFileOptions::default()).unwrap();
        let code = FunctionCode::builder().zip_file(Blob::new(zip.finish().unwrap().into_inner())).build();
        let create = self.lambda.create_function().function_name(FUNCTION).code(code).runtime(Runtime::Nodejs22x);
        let variables = old.environment.and_then(|it| it.variables).unwrap_or_default();
        let environment = Environment::builder().set_variables(Some(HashMap::from_iter(variables))).build();
        self.wait(create.handler("index.handler").role(old.role.unwrap()).environment(environment).send());
    }

    #[track_caller]
    fn logs(&self, id: &str) {
        self.put_item(TABLE, id, "buy milk");
        self.await_log(FUNCTION, &[&format!("INSERT keys {{\"id\":\"{id}\"}}")]);
    }
}

#[test]
fn a_recreated_role_replaces_a_function_with_environment_variables() {
    let project = Project::new();
    let run = |args: &[&str]| project.run(&[args, &["--local"]].concat());
    project.edit(TEAM, &[("handler: index.handler", "handler: index.handler\n    environment: { LEVEL: debug }")]);
    run(&["apply"]).expect(0, &["Apply complete!"]);
    let aws = project.account(ACCOUNT);
    let function = aws.wait(aws.lambda.get_function_configuration().function_name(FUNCTION).send());
    let changed = function.last_modified.unwrap();
    // IAM's timestamps have whole seconds, and an equal second doesn't count as later.
    let later = |date: DateTime| date.to_string().get(..19) > changed.get(..19);
    assert!(patiently(|| later(aws.recreate_role())), "{changed}");
    run(&["diff"]).expect(
        0,
        &[
            "-/+ logger (function blue-owls-logger) must be replaced",
            "`execution-role` was re-created under the same name after this resource changed",
            "Lambda's grant to decrypt the function's variables refers to the old role",
            "callers will get errors until it is re-created",
        ],
    );
    run(&["apply"]).expect(1, &["add `--yes`"]);
    run(&["apply", "--yes"]).expect(0, &["Resources: 3 added, 0 changed, 3 destroyed."]);
    run(&["diff"]).expect(0, &[NO_CHANGES]);
    aws.logs("with-variables");

    // Without variables there is nothing to decrypt.
    project.edit(TEAM, &[("    environment: { LEVEL: debug }\n", "")]);
    run(&["apply"]).expect(0, &["Resources: 0 added, 1 changed, 0 destroyed."]);
    let function = aws.wait(aws.lambda.get_function_configuration().function_name(FUNCTION).send());
    let changed = function.last_modified.unwrap();
    let later = |date: DateTime| date.to_string().get(..19) > changed.get(..19);
    assert!(patiently(|| later(aws.recreate_role())), "{changed}");
    run(&["diff"]).expect(0, &[NO_CHANGES]);
}

#[test]
fn a_function_recreated_by_hand_is_adopted_and_gets_one_mapping() {
    let project = Project::new();
    let run = |args: &[&str]| project.run(&[args, &["--local"]].concat());
    run(&["apply"]).expect(0, &["Apply complete!"]);
    let aws = project.account(ACCOUNT);
    for survives in [true, false] {
        aws.recreate_function();
        if !survives {
            aws.wait(aws.lambda.delete_event_source_mapping().uuid(&aws.mappings()[0]).send());
        }
        let told = ["= logger (function blue-owls-logger) will be adopted", "~ code = ", "+ logger-permission"];
        run(&["diff"]).expect(0, &told);
        run(&["apply"]).expect(1, &["add `--yes`"]);
        let n_added = if survives { 1 } else { 2 };
        let done = format!("Resources: 1 adopted, {n_added} added, 0 changed, 0 destroyed.");
        run(&["apply", "--yes"]).expect(0, &[&done]);
        assert_eq!(aws.mappings().len(), 1);
        run(&["diff"]).expect(0, &[NO_CHANGES]);
        aws.logs(if survives { "fed" } else { "fed-anew" });
    }
}

#[test]
fn a_resource_recreated_with_replace_works_and_a_table_is_empty() {
    let project = Project::new();
    let run = |args: &[&str]| project.run(&[args, &["--local"]].concat());
    run(&["apply"]).expect(0, &["Apply complete!"]);
    let aws = project.account(ACCOUNT);
    aws.logs("old");
    let before = aws.snapshot();
    run(&["apply", "--replace", "logger"])
        .expect(1, &["callers will get errors until it is re-created", "add `--yes`"]);
    run(&["apply", "--replace", "todos", "--yes"]).expect(1, &["it is not empty: at least one item", "--delete-data"]);
    project.edit(TEAM, &[("{ id: S }", "{ key: S }"), ("hash_key: id", "hash_key: key")]);
    run(&["apply", "--yes"])
        .expect(1, &["DynamoDB can't change the key of an existing table", "add `--replace todos`"]);
    project.edit(TEAM, &[("{ key: S }", "{ id: S }"), ("hash_key: key", "hash_key: id")]);
    assert_eq!(aws.snapshot(), before);

    run(&["apply", "--replace", "logger", "--yes"]).expect(0, &["Resources: 3 added, 0 changed, 3 destroyed."]);
    aws.logs("new-function");
    let recreated = run(&["apply", "--replace", "todos", "--delete-data", "--yes"]);
    recreated.expect(0, &["its items and its stream are deleted", "Resources: 3 added, 0 changed, 3 destroyed."]);
    assert_eq!(aws.wait(aws.dynamodb.scan().table_name(TABLE).send()).count, 0);
    aws.logs("new-table");
    assert_eq!(aws.mappings().len(), 1);
    run(&["diff"]).expect(0, &[NO_CHANGES]);
}

#[test]
fn a_permission_moves_between_aliases_and_versions() {
    let project = Project::new();
    let run = |args: &[&str]| project.run(&[args, &["--local"]].concat());
    run(&["apply"]).expect(0, &["Apply complete!"]);
    let aws = project.account(ACCOUNT);
    let version = aws.wait(aws.lambda.publish_version().function_name(FUNCTION).send()).version.unwrap();
    for alias in ["live", "blue"] {
        aws.wait(aws.lambda.create_alias().function_name(FUNCTION).name(alias).function_version(&version).send());
    }
    let qualified = |name: &str| format!("qualifier: {name:?}\n    principal:");
    let mut written = "principal:".to_owned();
    for name in ["live", "blue", &version] {
        project.edit(TEAM, &[(&written, &qualified(name))]);
        written = qualified(name);
        // The old statement is deleted once.
        run(&["apply", "--yes"]).expect(0, &["Resources: 1 added, 0 changed, 1 destroyed."]);
        run(&["diff", "--prune-scan"]).expect(0, &[NO_CHANGES]);
    }
}
