//! SDK clients for one account of a local AWS, and helpers that create resources by hand.

use std::future::Future;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region, SharedCredentialsProvider};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, KeySchemaElement, KeyType, ProvisionedThroughput, ScalarAttributeType,
    StreamSpecification, StreamViewType, TableDescription, Tag,
};
use aws_sdk_lambda::operation::create_function::builders::CreateFunctionFluentBuilder;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{EventSourcePosition, FunctionCode, Runtime};
use aws_smithy_http_client::Builder as HttpBuilder;

use super::DEADLINE;

/// The role of functions that are created by hand.
pub(crate) const ROLE: &str = "fhms-pulumi-challenge-lambda-execution-role";

/// The SDK configuration for one account of the local AWS at `endpoint`.
pub(crate) fn config(endpoint: &str, account: &str) -> SdkConfig {
    let access_key_id = super::access_key_id(endpoint, account);
    let credentials = Credentials::new(access_key_id, "secret", None, None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(endpoint)
        .http_client(HttpBuilder::new().build_http())
        .build()
}

/// One account.
pub(crate) struct Account {
    pub(crate) endpoint: String,
    pub(crate) id: String,
    runtime: tokio::runtime::Runtime,
    pub(crate) dynamodb: aws_sdk_dynamodb::Client,
    pub(crate) lambda: aws_sdk_lambda::Client,
    pub(crate) iam: aws_sdk_iam::Client,
}

impl Account {
    pub(crate) fn new(endpoint: &str, account: &str) -> Account {
        let config = config(endpoint, account);
        Account {
            endpoint: endpoint.to_owned(),
            id: account.to_owned(),
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
            dynamodb: aws_sdk_dynamodb::Client::new(&config),
            lambda: aws_sdk_lambda::Client::new(&config),
            iam: aws_sdk_iam::Client::new(&config),
        }
    }

    /// Waits for a call that must succeed, and returns its response.
    #[track_caller]
    pub(crate) fn wait<T, E: std::fmt::Debug>(&self, call: impl Future<Output = Result<T, E>>) -> T {
        self.attempt(call).unwrap()
    }

    /// Waits for a call that must complete in time, and returns its result.
    #[track_caller]
    pub(crate) fn attempt<T, E>(&self, call: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        self.runtime.block_on(async { tokio::time::timeout(DEADLINE * 4, call).await }).expect("AWS answers in time")
    }

    /// Creates a table like another tool would.
    pub(crate) fn create_table(&self, name: &str, tags: &[(&str, &str)]) {
        let key = KeySchemaElement::builder().attribute_name("id").key_type(KeyType::Hash).build().unwrap();
        let attribute = AttributeDefinition::builder().attribute_name("id").attribute_type(ScalarAttributeType::S);
        let units = ProvisionedThroughput::builder().read_capacity_units(1).write_capacity_units(1).build().unwrap();
        let tags = tags.iter().map(|(key, value)| Tag::builder().key(*key).value(*value).build().unwrap()).collect();
        let create = self.dynamodb.create_table().table_name(name).key_schema(key);
        let create = create.attribute_definitions(attribute.build().unwrap()).provisioned_throughput(units);
        self.wait(create.set_tags(Some(tags)).send());
    }

    /// Creates a function by hand.
    pub(crate) fn create_function(
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

    /// Creates a mapping by hand, and returns its UUID.
    pub(crate) fn create_mapping(&self, function: &str, stream: &str, tags: &[(&str, &str)]) -> String {
        let mapping = self.lambda.create_event_source_mapping().function_name(function).event_source_arn(stream);
        let mapping = mapping.starting_position(EventSourcePosition::TrimHorizon).batch_size(100);
        let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        self.wait(mapping.set_tags(Some(tags)).send()).uuid.unwrap()
    }

    /// Enables the stream, or replaces an enabled one, and returns its ARN.
    pub(crate) fn new_stream(&self, table: &str, view: StreamViewType) -> String {
        let switch = |spec: StreamSpecification| {
            self.wait(self.dynamodb.update_table().table_name(table).stream_specification(spec).send());
        };
        switch(StreamSpecification::builder().stream_enabled(false).build().unwrap());
        switch(StreamSpecification::builder().stream_enabled(true).stream_view_type(view).build().unwrap());
        self.table(table).latest_stream_arn.unwrap()
    }

    pub(crate) fn table(&self, name: &str) -> TableDescription {
        self.wait(self.dynamodb.describe_table().table_name(name).send()).table.unwrap()
    }

    pub(crate) fn put_item(&self, table: &str, id: &str, text: &str) {
        let [id, text] = [id, text].map(|text| AttributeValue::S(text.to_owned()));
        self.wait(self.dynamodb.put_item().table_name(table).item("id", id).item("text", text).send());
    }
}
