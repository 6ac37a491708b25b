//! More helpers to read and edit a user's project and the AWS behind it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::Value as Json;

pub(crate) use crate::shared::account::{Account, ROLE, config};
pub(crate) use crate::shared::program::{Program, Ran};
pub(crate) use crate::shared::project::Project;
use crate::support::DEADLINE;

/// The account that `--local` uses if the spec names none.
pub(super) const ACCOUNT: &str = "000000000001";

impl Project {
    /// Gives it an npm project with esbuild installed.
    pub(crate) fn install_esbuild(&self) {
        let pinned = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/esbuild");
        for name in ["package.json", "package-lock.json"] {
            fs::copy(pinned.join(name), self.path(name)).unwrap();
        }
        std::os::unix::fs::symlink(node_modules(), self.path("node_modules")).unwrap();
    }

    /// Replaces text that must be present.
    #[track_caller]
    pub(crate) fn edit(&self, path: &str, edits: &[(&str, &str)]) {
        let mut text = self.read(path);
        for (from, to) in edits {
            assert!(text.contains(from), "`{from}` is not in {path}");
            text = text.replacen(from, to, 1);
        }
        self.write(path, &text);
    }

    pub(crate) fn account(&self, account: &str) -> Account {
        Account::new(&self.endpoint(), account)
    }

    /// Copies a spec for a separate account, so that one local AWS serves several cases.
    pub(super) fn spec_for(&self, spec: &str, account: &str) -> String {
        let copy = format!("specs/{account}.yaml");
        self.write(&copy, &self.read(spec));
        self.edit(&copy, &[("region: eu-central-1", &format!("region: eu-central-1\naccount: \"{account}\""))]);
        copy
    }
}

/// The line with the keys of its JSON objects sorted.
fn sorted(line: &str) -> String {
    let Some(start) = line.find('{') else { return line.to_owned() };
    let (before, json) = line.split_at(start);
    let mut values = serde_json::Deserializer::from_str(json).into_iter::<Json>();
    match values.next() {
        Some(Ok(mut value)) => {
            value.sort_all_objects();
            format!("{before}{value}{}", sorted(&json[values.byte_offset()..]))
        }
        _ => line.to_owned(),
    }
}

/// Whether `holds` comes true before [`DEADLINE`].
pub(super) fn patiently(mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

impl Account {
    /// How many items a table has.
    pub(super) fn n_items(&self, table: &str) -> i32 {
        self.wait(self.dynamodb.scan().table_name(table).send()).count
    }

    /// The tags of all tables, functions and mappings, and of the roles and log groups that have any,
    /// by kind and name (of a mapping, its UUID).
    pub(super) fn tags(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        let mut all: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for name in self.wait(self.dynamodb.list_tables().send()).table_names.unwrap_or_default() {
            let arn = self.table(&name).table_arn.unwrap();
            let tags = self.wait(self.dynamodb.list_tags_of_resource().resource_arn(arn).send()).tags;
            let tags = tags.unwrap_or_default().into_iter().map(|tag| (tag.key, tag.value)).collect();
            all.insert(format!("table {name}"), tags);
        }
        for function in self.wait(self.lambda.list_functions().send()).functions.unwrap_or_default() {
            let tags = self.wait(self.lambda.list_tags().resource(function.function_arn.unwrap()).send()).tags;
            let name = format!("function {}", function.function_name.unwrap());
            all.insert(name, tags.unwrap_or_default().into_iter().collect());
        }
        for mapping in self.wait(self.lambda.list_event_source_mappings().send()).event_source_mappings.unwrap() {
            let tags = self.wait(self.lambda.list_tags().resource(mapping.event_source_mapping_arn.unwrap()).send());
            let name = format!("mapping {}", mapping.uuid.unwrap());
            all.insert(name, tags.tags.unwrap_or_default().into_iter().collect());
        }
        for role in self.wait(self.iam.list_roles().send()).roles {
            let tags = self.wait(self.iam.list_role_tags().role_name(&role.role_name).send()).tags;
            let tags = tags.into_iter().map(|tag| (tag.key, tag.value)).collect();
            all.insert(format!("role {}", role.role_name), tags);
        }
        let logs = self.log_client();
        for group in self.wait(logs.describe_log_groups().send()).log_groups.unwrap_or_default() {
            let tags = self.wait(logs.list_tags_for_resource().resource_arn(group.log_group_arn.unwrap()).send()).tags;
            let name = format!("log_group {}", group.log_group_name.unwrap());
            all.insert(name, tags.unwrap_or_default().into_iter().collect());
        }
        all.retain(|name, tags| !(name.starts_with("role ") || name.starts_with("log_group ")) || !tags.is_empty());
        all
    }

    /// A client for CloudWatch Logs.
    pub(super) fn log_client(&self) -> aws_sdk_cloudwatchlogs::Client {
        aws_sdk_cloudwatchlogs::Client::new(&config(&self.endpoint, &self.id))
    }

    pub(super) fn update_item(&self, table: &str, id: &str, text: &str) {
        let update = self.dynamodb.update_item().table_name(table).key("id", AttributeValue::S(id.to_owned()));
        let update = update.update_expression("SET #t = :t").expression_attribute_names("#t", "text");
        self.wait(update.expression_attribute_values(":t", AttributeValue::S(text.to_owned())).send());
    }

    pub(super) fn delete_item(&self, table: &str, id: &str) {
        self.wait(self.dynamodb.delete_item().table_name(table).key("id", AttributeValue::S(id.to_owned())).send());
    }

    pub(super) fn mappings(&self) -> Vec<String> {
        let answer = self.wait(self.lambda.list_event_source_mappings().send());
        answer.event_source_mappings().iter().map(|mapping| mapping.uuid().unwrap().to_owned()).collect()
    }

    /// Waits for lines in the function's log, and returns all of them. An item's attributes come in
    /// any order, so they are sorted by name.
    #[track_caller]
    pub(super) fn await_log(&self, function: &str, lines: &[&str]) -> Vec<String> {
        let logs = self.log_client();
        let group = format!("/aws/lambda/{function}");
        let mut seen = Vec::new();
        let found = patiently(|| {
            let answer = self.attempt(logs.filter_log_events().log_group_name(&group).send());
            // The group appears with the first line.
            let events = answer.ok().and_then(|answer| answer.events).unwrap_or_default();
            seen = events.into_iter().filter_map(|event| event.message).map(|line| sorted(&line)).collect();
            lines.iter().all(|line| seen.iter().any(|message: &String| message.contains(line)))
        });
        assert!(found, "{lines:#?} are not in {group} within {DEADLINE:?}: {seen:#?}");
        seen
    }

    /// Everything in the account that a client can change, by kind and name.
    pub(super) fn snapshot(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for name in self.wait(self.dynamodb.list_tables().send()).table_names.unwrap_or_default() {
            let table = self.wait(self.dynamodb.describe_table().table_name(&name).send()).table.unwrap();
            let tags = self.wait(self.dynamodb.list_tags_of_resource().resource_arn(table.table_arn().unwrap()).send());
            all.insert(format!("table {name}"), format!("{table:?} {:?}", tags.tags));
        }
        for listed in self.wait(self.lambda.list_functions().send()).functions.unwrap_or_default() {
            let name = listed.function_name().unwrap();
            let function = self.wait(self.lambda.get_function().function_name(name).send());
            let tags: BTreeMap<_, _> = function.tags.unwrap_or_default().into_iter().collect();
            let policy = self.attempt(self.lambda.get_policy().function_name(name).send());
            let policy = policy.ok().and_then(|answer| answer.policy);
            // Without its state, which changes without a client.
            let config = function.configuration.unwrap();
            let settings = (config.code_sha256, config.memory_size, config.timeout, config.last_modified);
            all.insert(format!("function {name}"), format!("{settings:?} {tags:?} {policy:?}"));
        }
        for mapping in self.wait(self.lambda.list_event_source_mappings().send()).event_source_mappings.unwrap() {
            let tags = self.wait(self.lambda.list_tags().resource(mapping.event_source_mapping_arn().unwrap()).send());
            let tags: BTreeMap<_, _> = tags.tags.unwrap_or_default().into_iter().collect();
            let settings = (mapping.event_source_arn, mapping.state, mapping.batch_size, mapping.last_modified);
            all.insert(format!("mapping {}", mapping.uuid.unwrap()), format!("{settings:?} {tags:?}"));
        }
        for role in self.wait(self.iam.list_roles().send()).roles {
            let name = role.role_name();
            let policies = self.wait(self.iam.list_role_policies().role_name(name).send()).policy_names;
            let documents: Vec<_> = policies
                .iter()
                .map(|policy| self.wait(self.iam.get_role_policy().role_name(name).policy_name(policy).send()))
                .map(|answer| (answer.policy_name, answer.policy_document))
                .collect();
            let tags = self.wait(self.iam.list_role_tags().role_name(name).send()).tags;
            let trust = (role.role_id(), role.create_date(), role.assume_role_policy_document());
            all.insert(format!("role {name}"), format!("{trust:?} {documents:?} {tags:?}"));
        }
        all
    }
}

/// A `node_modules` folder with the esbuild that `tests/esbuild` pins, installed by npm once for
/// each target folder.
fn node_modules() -> PathBuf {
    static INSTALLED: OnceLock<PathBuf> = OnceLock::new();
    let install = || {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("esbuild");
        fs::create_dir_all(&folder).unwrap();
        // The test programs can run side by side.
        let lock = fs::File::create(folder.join("lock")).unwrap();
        lock.lock().unwrap();
        let pinned = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/esbuild");
        let is_installed = |name: &str| fs::read(folder.join(name)).ok() == fs::read(pinned.join(name)).ok();
        if !is_installed("package-lock.json") {
            fs::copy(pinned.join("package.json"), folder.join("package.json")).unwrap();
            let staged = folder.join("npm-shrinkwrap.json");
            fs::copy(pinned.join("package-lock.json"), &staged).unwrap();
            let mut npm = Program::new("npm", &folder);
            npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).search_path().package_indexes();
            // It may have the address of the registry.
            npm.env("HOME", std::env::var_os("HOME").unwrap_or_default()).run().ends_with(0);
            // Last, so that it means that all is installed.
            fs::rename(staged, folder.join("package-lock.json")).unwrap();
        }
        folder.join("node_modules")
    };
    INSTALLED.get_or_init(install).clone()
}
