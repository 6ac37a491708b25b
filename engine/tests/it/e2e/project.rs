//! A user's project in a folder of its own, with its own local AWS, and a look into that AWS through the SDK.

use std::collections::BTreeMap;
use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, KeySchemaElement, KeyType, ProvisionedThroughput, ScalarAttributeType,
    StreamSpecification, StreamViewType, TableDescription, Tag,
};
use aws_sdk_lambda::operation::create_function::builders::CreateFunctionFluentBuilder;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{EventSourcePosition, FunctionCode, Runtime};
use aws_smithy_http_client::Builder as HttpBuilder;
use engine::local;
use serde_json::Value as Json;
use std::os::unix::process::CommandExt as _;

use crate::support::{DEADLINE, ENGINE, installed};

/// The account of `--local` where the spec names none.
pub(super) const ACCOUNT: &str = "000000000001";
pub(super) const ROLE: &str = "fhms-pulumi-challenge-lambda-execution-role";

/// How a command ended.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) code: i32,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Ran {
    pub(super) fn of(output: std::process::Output) -> Ran {
        Ran {
            code: output.status.code().expect("no signal ended it"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Fails unless the command ended with `code` and `stdout` or `stderr` contain all of `texts`.
    #[track_caller]
    pub(super) fn expect(self, code: i32, texts: &[&str]) -> Ran {
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        // Long sentences are wrapped.
        let said = words(&format!("{} {}", self.stdout, self.stderr)).replace(" # ", " ");
        assert_eq!(self.code, code, "{self:#?}");
        for text in texts {
            assert!(said.contains(text), "`{text}` is not in {self:#?}");
        }
        self
    }

    /// The JSON documents on stdout, one a line.
    pub(super) fn json(&self) -> Vec<Json> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// `specs/` and `lambda-src/` as they stand in the repository. Its local AWS ends with it.
pub(crate) struct Project {
    folder: tempfile::TempDir,
    /// Waits for the end of its input, which comes however the test ends, and then stops the local AWS.
    stopper: Child,
}

impl Project {
    pub(crate) fn new() -> Project {
        static INSTALLED: OnceLock<()> = OnceLock::new();
        INSTALLED.get_or_init(install);
        let folder = tempfile::tempdir().unwrap();
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for name in ["specs", "lambda-src"] {
            copy(&repository.join(name), &folder.path().join(name));
        }
        let mut stopper = command(folder.path(), "sh");
        stopper.args(["-c", r#"read _; exec "$@""#, "sh", ENGINE, "local", "stop"]);
        // Ctrl-C in the terminal of the tests is not for it.
        let stopper = stopper.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        Project { folder, stopper }
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    pub(super) fn write(&self, path: &str, text: &str) {
        fs::write(self.path(path), text).unwrap();
    }

    pub(super) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    /// Replaces text that has to be there.
    #[track_caller]
    pub(super) fn edit(&self, path: &str, edits: &[(&str, &str)]) {
        let mut text = self.read(path);
        for (from, to) in edits {
            assert!(text.contains(from), "`{from}` is not in {path}");
            text = text.replacen(from, to, 1);
        }
        self.write(path, &text);
    }

    /// A copy of a spec for an account of its own, so that one local AWS serves several cases.
    pub(super) fn spec_for(&self, spec: &str, account: &str) -> String {
        let copy = format!("specs/{account}.yaml");
        self.write(&copy, &self.read(spec));
        self.edit(&copy, &[("region: eu-central-1", &format!("region: eu-central-1\naccount: \"{account}\""))]);
        copy
    }

    /// The engine with nothing of this machine's environment but the search path.
    pub(super) fn command(&self, args: &[&str]) -> Command {
        let mut command = command(self.folder.path(), ENGINE);
        command.args(args);
        command
    }

    pub(super) fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args).stdin(Stdio::null()).output().unwrap())
    }

    /// The engine as on real AWS, which is found at `endpoint`.
    pub(super) fn command_at(&self, endpoint: &str, account: &str, args: &[&str]) -> Command {
        let mut command = self.command(args);
        command.args(["--endpoint-url", endpoint]);
        command.env("AWS_ACCESS_KEY_ID", account).env("AWS_SECRET_ACCESS_KEY", "secret").stdin(Stdio::null());
        command
    }

    pub(super) fn run_at(&self, endpoint: &str, account: &str, args: &[&str]) -> Ran {
        Ran::of(self.command_at(endpoint, account, args).output().unwrap())
    }

    /// Where the local AWS of this project listens; starts it if need be.
    pub(crate) fn endpoint(&self) -> String {
        let told = self.run(&["local", "start"]).expect(0, &["running: http://127.0.0.1:"]).stdout;
        told.split_whitespace().nth(1).unwrap().to_owned()
    }

    pub(super) fn account(&self, account: &str) -> Account {
        Account::new(&self.endpoint(), account)
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        drop(self.stopper.stdin.take());
        // The folder may only go once nothing writes to it.
        let _ = self.stopper.wait();
    }
}

/// Fetching the local AWS's package may need what this machine's environment says about proxies and indexes.
fn install() {
    let folder = tempfile::tempdir().unwrap();
    let project = local::Project {
        executable: Some(ENGINE.into()),
        cache: Some(installed()),
        ..local::Project::new(folder.path())
    };
    let there = fs::read_dir(installed()).is_ok_and(|mut entries| {
        entries.any(|entry| entry.unwrap().file_name().to_string_lossy().starts_with("ministack-1"))
    });
    if !there {
        local::ensure(&project, &mut |_| {}).unwrap();
        local::stop(&project).unwrap();
    }
}

/// The line with the names in its JSON objects in order.
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

fn command(folder: &Path, program: &str) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).env_clear().env("HOME", folder).env("ENGINE_CACHE_DIR", installed());
    command.env("PATH", std::env::var_os("PATH").unwrap()).env("AWS_EC2_METADATA_DISABLED", "true");
    command
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// What the SDK sees of one account of a local AWS.
pub(super) struct Account {
    runtime: tokio::runtime::Runtime,
    pub(super) dynamodb: aws_sdk_dynamodb::Client,
    pub(super) lambda: aws_sdk_lambda::Client,
    pub(super) iam: aws_sdk_iam::Client,
    logs: aws_sdk_cloudwatchlogs::Client,
}

impl Account {
    fn new(endpoint: &str, account: &str) -> Account {
        let config = aws_config::SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-central-1"))
            .credentials_provider(aws_sdk_dynamodb::config::SharedCredentialsProvider::new(Credentials::new(
                account, "secret", None, None, "test",
            )))
            .endpoint_url(endpoint)
            .http_client(HttpBuilder::new().build_http())
            .build();
        Account {
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
            dynamodb: aws_sdk_dynamodb::Client::new(&config),
            lambda: aws_sdk_lambda::Client::new(&config),
            iam: aws_sdk_iam::Client::new(&config),
            logs: aws_sdk_cloudwatchlogs::Client::new(&config),
        }
    }

    /// The answer of a call that has to succeed.
    #[track_caller]
    pub(super) fn wait<T, E: std::fmt::Debug>(&self, call: impl Future<Output = Result<T, E>>) -> T {
        self.runtime.block_on(call).unwrap()
    }

    /// A table as another tool makes it.
    pub(super) fn create_table(&self, name: &str, tags: &[(&str, &str)]) {
        let key = KeySchemaElement::builder().attribute_name("id").key_type(KeyType::Hash).build().unwrap();
        let attribute = AttributeDefinition::builder().attribute_name("id").attribute_type(ScalarAttributeType::S);
        let units = ProvisionedThroughput::builder().read_capacity_units(1).write_capacity_units(1).build().unwrap();
        let tags = tags.iter().map(|(key, value)| Tag::builder().key(*key).value(*value).build().unwrap()).collect();
        let create = self.dynamodb.create_table().table_name(name).key_schema(key);
        let create = create.attribute_definitions(attribute.build().unwrap()).provisioned_throughput(units);
        self.wait(create.set_tags(Some(tags)).send());
    }

    /// A function as somebody makes it by hand.
    pub(super) fn create_function(
        &self,
        name: &str,
        more: impl FnOnce(CreateFunctionFluentBuilder) -> CreateFunctionFluentBuilder,
    ) {
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        zip.start_file("index.js", zip::write::SimpleFileOptions::default()).unwrap();
        let zip = Blob::new(zip.finish().unwrap().into_inner());
        let code = FunctionCode::builder().zip_file(zip).build();
        let function = self.lambda.create_function().function_name(name).code(code);
        let function = function.runtime(Runtime::Nodejs22x).handler("index.handler");
        let function = function.role(format!("arn:aws:iam::123456789012:role/{ROLE}"));
        self.wait(more(function).send());
    }

    /// A mapping as somebody makes it by hand, as its UUID.
    pub(super) fn create_mapping(&self, function: &str, stream: &str, tags: &[(&str, &str)]) -> String {
        let mapping = self.lambda.create_event_source_mapping().function_name(function).event_source_arn(stream);
        let mapping = mapping.starting_position(EventSourcePosition::TrimHorizon).batch_size(100);
        let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        self.wait(mapping.set_tags(Some(tags)).send()).uuid.unwrap()
    }

    /// Lets a stream begin, or, where there is one, another one; its ARN.
    pub(super) fn new_stream(&self, table: &str, view: StreamViewType) -> String {
        let switch = |spec: StreamSpecification| {
            self.wait(self.dynamodb.update_table().table_name(table).stream_specification(spec).send());
        };
        switch(StreamSpecification::builder().stream_enabled(false).build().unwrap());
        switch(StreamSpecification::builder().stream_enabled(true).stream_view_type(view).build().unwrap());
        self.table(table).latest_stream_arn.unwrap()
    }

    pub(super) fn table(&self, name: &str) -> TableDescription {
        self.wait(self.dynamodb.describe_table().table_name(name).send()).table.unwrap()
    }

    /// How many items a table has.
    pub(super) fn n_items(&self, table: &str) -> i32 {
        self.wait(self.dynamodb.scan().table_name(table).send()).count
    }

    /// The tags of everything that bears any, by kind and name; a mapping's name is what it feeds.
    pub(super) fn tags(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        let mut all = BTreeMap::new();
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
        all
    }

    pub(super) fn put_item(&self, table: &str, id: &str, text: &str) {
        let [id, text] = [id, text].map(|text| AttributeValue::S(text.to_owned()));
        self.wait(self.dynamodb.put_item().table_name(table).item("id", id).item("text", text).send());
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

    /// Waits for lines in the function's log, and returns all of them. An item's attributes come in any order, so they
    /// are sorted by name.
    #[track_caller]
    pub(super) fn await_log(&self, function: &str, lines: &[&str]) -> Vec<String> {
        let group = format!("/aws/lambda/{function}");
        let mut seen = Vec::new();
        let found = patiently(|| {
            let answer = self.runtime.block_on(self.logs.filter_log_events().log_group_name(&group).send());
            // The group appears with the first line.
            let events = answer.ok().and_then(|answer| answer.events).unwrap_or_default();
            seen = events.into_iter().filter_map(|event| event.message).map(|line| sorted(&line)).collect();
            lines.iter().all(|line| seen.iter().any(|message: &String| message.contains(line)))
        });
        assert!(found, "{lines:#?} are not in {group} within {DEADLINE:?}: {seen:#?}");
        seen
    }

    /// Everything in the account that somebody could have changed, by kind and name.
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
            let policy = self.runtime.block_on(self.lambda.get_policy().function_name(name).send());
            let policy = policy.ok().and_then(|answer| answer.policy);
            // Not its state, which settles by itself.
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
