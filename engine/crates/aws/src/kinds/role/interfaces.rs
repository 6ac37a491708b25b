//! The network interfaces that Lambda created with a role, for functions in a VPC. Lambda removes
//! them with the role some time after the functions are deleted
//! (docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html).
//!
//! EC2 has hundreds of operations, and this is the only one that engine uses, so it is called
//! without EC2's SDK.
//!
//! **Invariant:** it only reads.

use std::time::Duration;

use aws_runtime::auth::SigV4OperationSigningConfig;
use aws_runtime::auth::sigv4::{SCHEME_ID, SigV4AuthScheme};
use aws_smithy_runtime::client::identity::IdentityCache;
use aws_smithy_runtime::client::orchestrator::operation::Operation;
use aws_smithy_runtime_api::client::auth::static_resolver::StaticAuthSchemeOptionResolver;
use aws_smithy_runtime_api::client::auth::{
    AuthSchemeOptionResolverParams, SharedAuthScheme, SharedAuthSchemeOptionResolver,
};
use aws_smithy_runtime_api::client::identity::SharedIdentityResolver;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse, OrchestratorError};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponentsBuilder;
use aws_smithy_runtime_api::client::runtime_plugin::StaticRuntimePlugin;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::Layer;
use aws_smithy_types::error::ErrorMetadata;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::SigningName;
use aws_types::region::SigningRegion;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value as Json;

use crate::aws::rights::{Decision, decide};
use crate::aws::{AwsError, CallContext, Context, Wait};
use crate::schema::partition_of;

/// The permission with which Lambda removes them.
const REMOVE: &str = "ec2:DeleteNetworkInterface";
/// AWS's policies that contain it for functions
/// (docs.aws.amazon.com/lambda/latest/dg/lambda-intro-execution-role.html).
const MANAGED: [&str; 2] = ["/AWSLambdaVPCAccessExecutionRole", "/AWSLambdaENIManagementAccess"];

const OPERATION: &str = "DescribeNetworkInterfaces";

const REMOVED: Wait = Wait {
    what: "Lambda to remove its network interfaces",
    reason: "Lambda needs the role for that, 5 to 45 minutes after it deletes a function in a VPC",
    inspect_cmd: "aws ec2 describe-network-interfaces --filters Name=interface-type,Values=lambda",
    limit: None,
    budget: Duration::from_secs(60),
};

/// Whether Lambda may have created network interfaces with a role that has these policies; engine's
/// own one is `None` if it can't be read.
pub(super) fn may_have(attached: &[String], engine: Option<&Json>) -> bool {
    let removes = |document: &Json| {
        let document = utf8_percent_encode(&document.to_string(), NON_ALPHANUMERIC).to_string();
        decide(&[document], &(REMOVE.into(), "*".to_owned())) != Decision::NotAllowed
    };
    attached.iter().any(|arn| MANAGED.iter().any(|name| arn.ends_with(name))) || engine.is_none_or(removes)
}

/// Waits until Lambda has removed all network interfaces that it created with a role.
///
/// # Errors
/// `Overdue` after a minute: the caller must keep the role.
pub(super) async fn await_removal(cx: &Context, role: &str, id: &str) -> Result<(), AwsError> {
    let are_removed = || async { Ok(of_role(cx, id).await?.is_empty().then_some(())) };
    cx.until(REMOVED, role, are_removed).await
}

/// The interfaces that Lambda created with the role that has this ID: it is part of the ID of
/// their requester, `AROAEXAMPLE:…`.
async fn of_role(cx: &Context, id: &str) -> Result<Vec<String>, AwsError> {
    let requester = format!("{id}:");
    let fields = [
        ("Action", OPERATION),
        ("Version", "2016-11-15"),
        ("Filter.1.Name", "requester-id"),
        ("Filter.1.Value.1", &format!("{requester}*")),
    ];
    let form = fields.map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)));
    let found = call(cx, form.join("&")).await.context(OPERATION, "")?;
    Ok(found.into_iter().filter(|(_, it)| it.starts_with(&requester)).map(|(interface, _)| interface).collect())
}

type Sent<T> = Result<T, aws_smithy_runtime_api::client::result::SdkError<ErrorMetadata, HttpResponse>>;

/// Sends a form to EC2, behind the guard like every call, and returns the interfaces in its answer
/// with their requesters.
async fn call(cx: &Context, form: String) -> Sent<Vec<(String, String)>> {
    let (sdk, region) = (&cx.aws.sdk, cx.aws.region.as_str());
    let own = || format!("https://ec2.{region}.{}", partition_of(region).dns_suffix);
    let mut signing = Layer::new("EC2");
    signing.store_put(AuthSchemeOptionResolverParams::new(()));
    signing.store_put(SigV4OperationSigningConfig {
        region: sdk.region().cloned().map(SigningRegion::from),
        name: Some(SigningName::from_static("ec2")),
        ..SigV4OperationSigningConfig::default()
    });
    let identities = RuntimeComponentsBuilder::new("EC2")
        .with_auth_scheme(SharedAuthScheme::new(SigV4AuthScheme::new()))
        .with_auth_scheme_option_resolver(Some(SharedAuthSchemeOptionResolver::new(
            StaticAuthSchemeOptionResolver::new(vec![SCHEME_ID]),
        )))
        .with_identity_cache(Some(sdk.identity_cache().unwrap_or_else(IdentityCache::no_cache)));
    let identities = match sdk.credentials_provider() {
        Some(credentials) => identities.with_identity_resolver(SCHEME_ID, SharedIdentityResolver::new(credentials)),
        None => identities,
    };
    let mut operation = Operation::builder()
        .service_name("EC2")
        .operation_name(OPERATION)
        .endpoint_url(&sdk.endpoint_url().map_or_else(own, str::to_owned))
        .no_retry()
        .timeout_config(sdk.timeout_config().cloned().unwrap_or_else(TimeoutConfig::disabled))
        .runtime_plugin(StaticRuntimePlugin::new().with_config(signing.freeze()).with_runtime_components(identities));
    if let Some(http) = sdk.http_client() {
        operation = operation.http_client(http);
    }
    if let Some(sleep) = sdk.sleep_impl() {
        operation = operation.sleep_impl(sleep);
    }
    if let Some(time) = sdk.time_source() {
        operation = operation.time_source(time);
    }
    operation.serializer(|form: String| Ok(request(form))).deserializer(answer).build().invoke(form).await
}

fn request(form: String) -> HttpRequest {
    let mut request = HttpRequest::new(SdkBody::from(form));
    let is_set = request.set_method("POST").is_ok() && request.set_uri("/").is_ok();
    debug_assert!(is_set, "both are valid");
    request.headers_mut().insert("content-type", "application/x-www-form-urlencoded");
    request
}

/// Interfaces with their requesters, or EC2's error
/// (docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html).
fn answer(response: &HttpResponse) -> Result<Vec<(String, String)>, OrchestratorError<ErrorMetadata>> {
    let text = String::from_utf8_lossy(response.body().bytes().unwrap_or_default());
    if !response.status().is_success() {
        let error = ErrorMetadata::builder();
        let error = element(&text, "Code").into_iter().fold(error, |error, code| error.code(code));
        let error = element(&text, "Message").into_iter().fold(error, |error, message| error.message(message));
        return Err(OrchestratorError::operation(error.build()));
    }
    if !text.contains("<networkInterfaceSet") {
        return Err(OrchestratorError::other("the response contains no network interfaces"));
    }
    // The ID is the first element of an interface, and its only one with that name.
    let found = text.split("<networkInterfaceId>").skip(1).map(|interface| {
        let id = interface.split('<').next().unwrap_or_default().to_owned();
        (id, element(interface, "requesterId").unwrap_or_default().to_owned())
    });
    Ok(found.collect())
}

/// The text of the first element with this name.
fn element<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split('<').next()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_role_with_the_permission_can_have_interfaces() {
        let policy =
            |action: &str| json!({ "Statement": [{ "Effect": "Allow", "Action": [action], "Resource": "*" }] });
        for (action, may) in [("logs:*", false), (REMOVE, true), ("ec2:Delete*", true), ("*", true)] {
            assert_eq!(may_have(&[], Some(&policy(action))), may, "{action}");
        }
        assert!(may_have(&[], None), "it can't be read");
        let managed = "arn:aws:iam::aws:policy/service-role/AWSLambdaVPCAccessExecutionRole".to_owned();
        assert!(may_have(&[managed], Some(&policy("logs:*"))));
    }

    #[test]
    fn interfaces_are_read_with_their_requesters() {
        let interface = |id: &str, requester: &str| {
            format!(
                "<item><networkInterfaceId>{id}</networkInterfaceId><subnetId>subnet-1</subnetId>\
                 <requesterId>{requester}</requesterId><privateIpAddressesSet><item/></privateIpAddressesSet></item>"
            )
        };
        let body = format!(
            "<DescribeNetworkInterfacesResponse><networkInterfaceSet>{}{}</networkInterfaceSet>\
             </DescribeNetworkInterfacesResponse>",
            interface("eni-1", "AROA1:123456789012"),
            interface("eni-2", "AROA2:123456789012"),
        );
        let response = |status: u16, body: &str| HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body));
        let found = answer(&response(200, &body)).unwrap();
        let pair = |id: &str, requester: &str| (id.to_owned(), requester.to_owned());
        assert_eq!(found, [pair("eni-1", "AROA1:123456789012"), pair("eni-2", "AROA2:123456789012")]);
        let denied = "<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>You are not authorized\
                      </Message></Error></Errors></Response>";
        let error = answer(&response(403, denied)).unwrap_err();
        assert_eq!(error.as_operation_error().and_then(ErrorMetadata::code), Some("UnauthorizedOperation"));
        assert!(answer(&response(200, "<html/>")).is_err());
    }
}
