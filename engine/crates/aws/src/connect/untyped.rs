//! Calls to services of which engine needs one or two: made of the parts of the SDK's clients, with
//! its signatures, retries, timeouts and endpoints, but without a service's crate, which would add
//! more to the program than all that uses it.
//!
//! **Invariant:** its requests go through the same guarded client as those of the SDK's clients.

use std::error::Error as StdError;
use std::fmt;

use aws_config::SdkConfig;
use aws_runtime::auth::SigV4OperationSigningConfig;
use aws_runtime::auth::sigv4::{SCHEME_ID, SigV4AuthScheme};
use aws_runtime::invocation_id::InvocationIdInterceptor;
use aws_runtime::request_info::RequestInfoInterceptor;
use aws_runtime::retries::classifiers::AwsErrorCodeClassifier;
use aws_runtime::service_clock_skew::{ServiceClockSkewClassifier, ServiceClockSkewInterceptor};
use aws_runtime::user_agent::{ApiMetadata, UserAgentInterceptor};
use aws_smithy_runtime::client::identity::IdentityCache;
use aws_smithy_runtime::client::orchestrator::operation::Operation as SdkOperation;
use aws_smithy_runtime::client::retries::classifiers::{HttpStatusCodeClassifier, TransientErrorClassifier};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::auth::static_resolver::StaticAuthSchemeOptionResolver;
use aws_smithy_runtime_api::client::auth::{
    AuthSchemeOptionResolverParams, SharedAuthScheme, SharedAuthSchemeOptionResolver,
};
use aws_smithy_runtime_api::client::identity::SharedIdentityResolver;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse, OrchestratorError};
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponentsBuilder;
use aws_smithy_runtime_api::client::runtime_plugin::StaticRuntimePlugin;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::Layer;
use aws_smithy_types::error::metadata::{ErrorMetadata, ProvideErrorMetadata};
use aws_smithy_xml::decode::{Document, ScopedDecoder, try_data};
use aws_types::SigningName;
use aws_types::region::{Region, SigningRegion};
use aws_types::service_config::ServiceConfigKey;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value as Json;

use crate::answer::{AwsError, CallContext, Code};
use crate::operation::Service;
use crate::schema::partition_of;

/// A service that is called without its crate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UntypedService {
    /// The service, whose name is also that in host names and signatures.
    pub(crate) service: &'static Service,
    /// Its name in settings: `AWS_ENDPOINT_URL_SSM`
    /// (docs.aws.amazon.com/sdkref/latest/guide/ss-endpoints-table.html).
    pub(crate) id: &'static str,
    /// The form of its requests.
    pub(crate) protocol: Protocol,
}

/// The form of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Protocol {
    /// AWS JSON 1.1, with this prefix of `X-Amz-Target`.
    Json(&'static str),
    /// The query protocol, of this version of the API.
    Query(&'static str),
}

/// What a request asks for.
#[derive(Debug, Clone)]
pub(crate) enum Input {
    Json(Json),
    Form(Vec<(&'static str, String)>),
}

/// An error response.
#[derive(Debug)]
struct ServiceError(ErrorMetadata);

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for ServiceError {}

impl ProvideErrorMetadata for ServiceError {
    fn meta(&self) -> &ErrorMetadata {
        &self.0
    }
}

impl UntypedService {
    /// Calls an operation, about a resource in messages, and returns the body of the response.
    ///
    /// # Errors
    /// As any call.
    pub(crate) async fn call(
        self,
        sdk: &SdkConfig,
        operation: &'static str,
        resource: &str,
        input: Input,
    ) -> Result<String, AwsError> {
        let made = self.operation(sdk, operation);
        let operation_of = made.ok_or_else(|| {
            AwsError::own(Code::RegionNotUsable, operation, resource, "the request can't be built; check the region")
        })?;
        let response: Result<String, SdkError<ServiceError, HttpResponse>> = operation_of.invoke(input).await;
        response.context(operation, resource)
    }

    /// The operation with everything that the SDK's own clients have; `None` without a region or
    /// credentials.
    fn operation(self, sdk: &SdkConfig, operation: &'static str) -> Option<SdkOperation<Input, String, ServiceError>> {
        let UntypedService { service, id, protocol } = self;
        let region = sdk.region()?.clone();
        let mut layer = Layer::new("untyped");
        layer.store_put(SigningName::from_static(service.name));
        layer.store_put(SigningRegion::from(region.clone()));
        layer.store_put(SigV4OperationSigningConfig::default());
        layer.store_put(AuthSchemeOptionResolverParams::new(()));
        layer.store_put(ApiMetadata::new(service.name, env!("CARGO_PKG_VERSION")));
        layer.store_put(region.clone());
        let mut components = RuntimeComponentsBuilder::new("untyped");
        let schemes = StaticAuthSchemeOptionResolver::new(vec![SCHEME_ID]);
        components.set_auth_scheme_option_resolver(Some(SharedAuthSchemeOptionResolver::new(schemes)));
        components.push_auth_scheme(SharedAuthScheme::new(SigV4AuthScheme::new()));
        components.set_identity_resolver(SCHEME_ID, SharedIdentityResolver::new(sdk.credentials_provider()?));
        components.set_identity_cache(Some(IdentityCache::lazy().build()));
        let plugin = StaticRuntimePlugin::new().with_config(layer.freeze()).with_runtime_components(components);
        let mut builder = SdkOperation::builder()
            .service_name(id)
            .operation_name(operation)
            .http_client(sdk.http_client()?)
            .endpoint_url(&endpoint(sdk, service, id, &region))
            .standard_retry(sdk.retry_config()?)
            .timeout_config(sdk.timeout_config()?.clone())
            .sleep_impl(sdk.sleep_impl()?)
            .time_source(sdk.time_source()?)
            .stalled_stream_protection(sdk.stalled_stream_protection()?)
            .with_connection_poisoning()
            .retry_classifier(HttpStatusCodeClassifier::default())
            .retry_classifier(TransientErrorClassifier::<ServiceError>::new())
            .retry_classifier(AwsErrorCodeClassifier::<ServiceError>::new())
            .retry_classifier(ServiceClockSkewClassifier::<ServiceError>::new())
            .interceptor(ServiceClockSkewInterceptor::new())
            .interceptor(RequestInfoInterceptor::new())
            .interceptor(UserAgentInterceptor::new())
            .interceptor(InvocationIdInterceptor::new())
            .runtime_plugin(plugin);
        if let Some(version) = sdk.behavior_version() {
            builder = builder.behavior_version(version);
        }
        Some(builder.serializer(move |input| protocol.request(operation, input)).deserializer(body).build())
    }
}

/// The address of a service: what the settings say, else AWS's
/// (docs.aws.amazon.com/general/latest/gr/rande.html).
fn endpoint(sdk: &SdkConfig, service: &Service, id: &str, region: &Region) -> String {
    // An option takes precedence over the setting of one service.
    let key = ServiceConfigKey::builder().service_id(id).env("AWS_ENDPOINT_URL").profile("endpoint_url").build().ok();
    let of_service = || sdk.service_config()?.load_config(key?);
    let is_explicit = sdk.get_origin("endpoint_url").is_client_config();
    let set = if is_explicit { None } else { of_service() };
    if let Some(url) = set.or_else(|| sdk.endpoint_url().map(str::to_owned)) {
        return url;
    }
    let (name, region) = (service.name, region.as_ref());
    let suffix = partition_of(region).dns_suffix;
    let fips = if sdk.use_fips() == Some(true) { "-fips" } else { "" };
    match (sdk.use_dual_stack(), suffix) {
        (Some(true), "amazonaws.com.cn") => format!("https://{name}{fips}.{region}.api.amazonwebservices.com.cn"),
        (Some(true), "amazonaws.com") => format!("https://{name}{fips}.{region}.api.aws"),
        _ => format!("https://{name}{fips}.{region}.{suffix}"),
    }
}

impl Protocol {
    fn request(self, operation: &str, input: Input) -> Result<HttpRequest, BoxError> {
        let (content_type, body) = match (self, input) {
            (Protocol::Json(_), Input::Json(json)) => ("application/x-amz-json-1.1", json.to_string()),
            (Protocol::Query(version), Input::Form(fields)) => {
                let head = [("Action", operation.to_owned()), ("Version", version.to_owned())];
                let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
                let fields = head.into_iter().chain(fields);
                let fields: Vec<String> = fields.map(|(name, value)| format!("{name}={}", encoded(&value))).collect();
                ("application/x-www-form-urlencoded", fields.join("&"))
            }
            _ => return Err("the input doesn't have the form of the protocol".into()),
        };
        let mut request = HttpRequest::new(SdkBody::from(body.as_str()));
        request.set_method("POST")?;
        request.set_uri("/")?;
        request.headers_mut().insert("content-type", content_type);
        request.headers_mut().insert("content-length", body.len().to_string());
        if let Protocol::Json(prefix) = self {
            request.headers_mut().insert("x-amz-target", format!("{prefix}.{operation}"));
        }
        Ok(request)
    }
}

/// The body of a response, or the error in it.
fn body(response: &HttpResponse) -> Result<String, OrchestratorError<ServiceError>> {
    let text = response.body().bytes().and_then(|bytes| std::str::from_utf8(bytes).ok());
    let text = text.ok_or_else(|| OrchestratorError::response("the response is not text".into()))?;
    if response.status().is_success() {
        return Ok(text.to_owned());
    }
    let header = response.headers().get("x-amzn-errortype");
    let (code, message) = if text.trim_start().starts_with('<') { of_xml(text) } else { of_json(text, header) };
    let mut meta = ErrorMetadata::builder();
    if let Some(code) = code {
        meta = meta.code(code);
    }
    if let Some(message) = message {
        meta = meta.message(message);
    }
    Err(OrchestratorError::operation(ServiceError(meta.build())))
}

/// Code and message of an error (smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html).
fn of_json(text: &str, header: Option<&str>) -> (Option<String>, Option<String>) {
    let json: Json = serde_json::from_str(text).unwrap_or_default();
    let member = |name: &str| json.get(name).and_then(Json::as_str);
    let code = header.or_else(|| member("__type")).or_else(|| member("code"));
    let code = code.map(|code| code.split(':').next().unwrap_or_default().rsplit('#').next().unwrap_or_default());
    let message = member("message").or_else(|| member("Message")).or_else(|| member("errorMessage"));
    (code.map(str::to_owned), message.map(str::to_owned))
}

/// The same in XML (smithy.io/2.0/aws/protocols/aws-query-protocol.html, and with another element
/// around it for EC2: smithy.io/2.0/aws/protocols/aws-ec2-query-protocol.html).
fn of_xml(text: &str) -> (Option<String>, Option<String>) {
    let mut document = Document::new(text);
    let found = document.root_element().ok().and_then(|mut root| error_in(&mut root));
    found.unwrap_or_default()
}

fn error_in(element: &mut ScopedDecoder<'_, '_>) -> Option<(Option<String>, Option<String>)> {
    while let Some(mut tag) = element.next_tag() {
        match tag.start_el().local() {
            "Error" => return Some(code_and_message(&mut tag)),
            "Errors" => return error_in(&mut tag),
            _ => {}
        }
    }
    None
}

fn code_and_message(error: &mut ScopedDecoder<'_, '_>) -> (Option<String>, Option<String>) {
    let (mut code, mut message) = (None, None);
    while let Some(mut field) = error.next_tag() {
        let name = field.start_el().local().to_owned();
        let value = try_data(&mut field).ok().map(|text| text.into_owned());
        match name.as_str() {
            "Code" => code = value,
            "Message" => message = value,
            _ => {}
        }
    }
    (code, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_and_message_of_each_form_of_error_are_found() {
        let own = |code: &str, message: &str| (Some(code.to_owned()), Some(message.to_owned()));
        let query = "<ErrorResponse><Error><Type>Sender</Type><Code>ValidationError</Code><Message>no such stack\
                     </Message></Error><RequestId>1</RequestId></ErrorResponse>";
        assert_eq!(of_xml(query), own("ValidationError", "no such stack"));
        let ec2 = "<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>You are not authorized\
                   </Message></Error></Errors><RequestID>1</RequestID></Response>";
        assert_eq!(of_xml(ec2), own("UnauthorizedOperation", "You are not authorized"));
        assert_eq!(of_xml("<html><body>"), (None, None));
        let json = r#"{ "__type": "com.amazonaws.ssm#ThrottlingException", "message": "slow down" }"#;
        assert_eq!(of_json(json, None), own("ThrottlingException", "slow down"));
        let header = Some("AccessDeniedException:http://internal.amazon.com/");
        assert_eq!(of_json("{}", header), (Some("AccessDeniedException".to_owned()), None));
    }
}
