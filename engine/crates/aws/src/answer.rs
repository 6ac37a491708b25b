//! Errors from AWS: what caused them, and whether AWS refused permanently.
//!
//! What all services share is here; each resource type brings the rows for answers that only it
//! gets ([`Kind::errors`](crate::kind::Kind::errors)).
//!
//! **Invariant:** the only place that inspects AWS's error codes and messages; all other code uses
//! the cause.

mod code;

use std::error::Error as StdError;
use std::sync::LazyLock;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::interceptors::context::InterceptorContext;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::{ConnectorError, SdkError, ServiceError};
use aws_smithy_runtime_api::client::retries::classifiers::{ClassifyRetry, RetryAction, RetryClassifierPriority};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use http_body_util::BodyExt as _;
use serde_json::Value as Json;

use crate::connect::headers;
use crate::connect::profiles::Profiles;
use crate::kinds;
use crate::lookups;
use crate::operation::{self, Operations};
use crate::wire::guard::Refusal;
use engine_core::recorder::CallResult;
use engine_core::wait::limiter::Crowded;

pub use engine_core::cause::Code;
pub use engine_core::error::{Api, AwsError};

/// What is known of the calls that may fail.
static OPERATIONS: LazyLock<Operations> = LazyLock::new(operation::all);

/// What the answers mean that only one resource type gets, or only lookups.
static ROWS: LazyLock<Vec<ErrorRow>> = LazyLock::new(|| {
    let of_kinds = kinds::registry().into_iter().flat_map(|kind| kind.errors());
    of_kinds.chain(lookups::ERRORS).copied().collect()
});

/// A refusal by AWS with one of these codes and with these texts, and what it means for a resource
/// type.
#[derive(Debug, Clone, Copy)]
pub struct ErrorRow {
    /// AWS's error codes; empty for any.
    codes: &'static [&'static str],
    /// Parts of AWS's message, all of which must occur.
    texts: &'static [&'static str],
    /// The property that AWS's message must reject.
    property: Option<&'static str>,
    /// The operation, if it matters.
    operation: Option<&'static str>,
    /// The cause, and whether AWS refuses permanently.
    means: Option<(Code, bool)>,
    refuses: Option<Code>,
}

/// Lambda's code for a value that it rejects, whatever the reason.
pub(crate) const INVALID_PARAMETER: ErrorRow =
    ErrorRow::of(&["InvalidParameterValueException", "InvalidParameterValue"]);

impl ErrorRow {
    /// An answer with any code.
    pub const ANY: ErrorRow = ErrorRow::of(&[]);

    /// An answer with one of these codes.
    pub const fn of(codes: &'static [&'static str]) -> ErrorRow {
        ErrorRow { codes, texts: &[], property: None, operation: None, means: None, refuses: None }
    }

    /// The same with a message that contains all of these texts.
    #[must_use]
    pub const fn saying(self, texts: &'static [&'static str]) -> ErrorRow {
        ErrorRow { texts, ..self }
    }

    /// The same with a message that rejects this property.
    #[must_use]
    pub const fn about(self, property: &'static str) -> ErrorRow {
        ErrorRow { property: Some(property), ..self }
    }

    /// The same for this operation.
    #[must_use]
    pub const fn to(self, operation: &'static str) -> ErrorRow {
        ErrorRow { operation: Some(operation), ..self }
    }

    /// Its cause, whatever AWS's code means elsewhere.
    #[must_use]
    pub const fn means(self, cause: Code) -> ErrorRow {
        ErrorRow { means: Some((cause, false)), ..self }
    }

    /// The same for an answer that AWS's code alone doesn't show to be final.
    #[must_use]
    pub const fn means_refusal(self, cause: Code) -> ErrorRow {
        ErrorRow { means: Some((cause, true)), ..self }
    }

    /// Its cause if AWS refuses permanently.
    #[must_use]
    pub const fn refuses(self, cause: Code) -> ErrorRow {
        ErrorRow { refuses: Some(cause), ..self }
    }

    fn fits(&self, operation: &str, code: &str, message: &str) -> bool {
        (self.codes.is_empty() || self.codes.contains(&code))
            && self.texts.iter().all(|text| message.contains(text))
            && self.operation.is_none_or(|it| it == operation)
            && self.property.is_none_or(|it| code::property(message).as_deref() == Some(it))
    }
}

/// The missing permission in AWS's message: "… is not authorized to perform: iam:PassRole on
/// resource: X because …". It may differ from the operation that was called.
fn denied(message: &str) -> (Option<&str>, Option<&str>) {
    let word_after = |text: &str| {
        let (_, rest) = message.split_once(text)?;
        Some(rest.split_whitespace().next()?.trim_end_matches(['.', ',']))
    };
    (word_after("not authorized to perform: "), word_after(" on resource: "))
}

/// Converts an SDK result: `client.create_table()….send().await.context("CreateTable", name)?`.
pub trait CallContext<T> {
    /// Adds operation and resource, and finds the cause of the error.
    fn context(self, operation: &str, resource: &str) -> Result<T, AwsError>;
}

impl<T, E> CallContext<T> for Result<T, SdkError<E, HttpResponse>>
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    fn context(self, operation: &str, resource: &str) -> Result<T, AwsError> {
        self.map_err(|error| convert(operation, resource, &error))
    }
}

/// Results of calls about a resource that may not exist.
pub trait Existing<T> {
    /// `None` if the resource doesn't exist.
    ///
    /// # Errors
    /// Every other error.
    fn if_exists(self) -> Result<Option<T>, AwsError>;

    /// Success of a delete, also if the resource is already deleted.
    ///
    /// # Errors
    /// Every other error.
    fn if_deleted(self) -> Result<(), AwsError>;
}

impl<T> Existing<T> for Result<T, AwsError> {
    fn if_exists(self) -> Result<Option<T>, AwsError> {
        match self {
            Err(error) if error.is(Code::NotFound) => Ok(None),
            result => result.map(Some),
        }
    }

    fn if_deleted(self) -> Result<(), AwsError> {
        self.if_exists().map(drop)
    }
}

/// Attaches what the operation and AWS's answer show beyond the cause.
pub fn explained(error: AwsError) -> AwsError {
    let (action, on) = denied(&error.message);
    let implied = action.and_then(|action| OPERATIONS.implied(action));
    let api = Api {
        changes: OPERATIONS.changes(&error.operation),
        permission: action.map_or_else(|| OPERATIONS.permission(&error.operation).into(), Into::into),
        on: on.unwrap_or_default().into(),
        page: OPERATIONS.page(&error.operation),
        lacking: implied.and_then(|it| it.property),
        members: match error.code {
            Some(_) => code::members(&error.message).into_iter().map(Into::into).collect(),
            None => Vec::new(),
        },
        request_id: None,
    };
    AwsError { api: Some(Box::new(api)), ..error }
}

/// Whether AWS doesn't support this operation here, or not for this resource type.
pub fn is_unsupported(error: &AwsError) -> bool {
    let code = error.code.as_deref().unwrap_or_default();
    code.starts_with("UnknownOperation") || error.message.starts_with("Unsupported resource type")
}

/// Whether tags aren't supported for that resource type there, like mappings in some regions
/// (github.com/aws/aws-cdk/issues/31774).
pub fn is_untaggable(error: &AwsError) -> bool {
    error.message.contains("Unsupported resource type for tagging")
}

/// Whether a function's code and layers exceed Lambda's limit.
pub fn is_too_large(error: &AwsError) -> bool {
    error.cause == Code::CodeTooLarge
}

fn convert<E>(operation: &str, resource: &str, error: &SdkError<E, HttpResponse>) -> AwsError
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    let classified = classified(operation, resource, error);
    // An error of refreshing the credentials.
    if classified.api.is_some() {
        return classified;
    }
    let mut explained = explained(classified);
    if let (SdkError::ServiceError(service), Some(api)) = (error, &mut explained.api) {
        let header = |name: &str| service.raw().headers().get(name).map(Box::from);
        api.request_id = header("x-amzn-requestid").or_else(|| header("x-amz-request-id"));
    }
    explained
}

fn classified<E>(operation: &str, resource: &str, error: &SdkError<E, HttpResponse>) -> AwsError
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    let own = |cause, message: String| AwsError::own(cause, operation, resource, message);
    if let Some(refusal) = find::<Refusal>(error) {
        return own(Code::Guarded, refusal.to_string());
    }
    if let Some(crowded) = find::<Crowded>(error) {
        return own(Code::Throttled, crowded.wording());
    }
    // An error from refreshing the credentials.
    if let Some(refresh) = find::<AwsError>(error) {
        return match refresh.cause {
            Code::NoAnswer => own(Code::NoAnswer, refresh.message.to_string()),
            _ => refresh.clone(),
        };
    }
    if let Some(credentials) = find::<CredentialsError>(error) {
        return match from_credentials(credentials, &Profiles::default()) {
            AwsError { cause: Code::NoAnswer, message, .. } => own(Code::NoAnswer, message.into()),
            other => other,
        };
    }
    // Nothing is known about the result; a success status proves nothing, because the server may
    // not be AWS.
    let garbled = |response: &HttpResponse| {
        let status = response.status().as_u16();
        own(Code::NotAws, format!("the response isn't a valid AWS response (HTTP {status})"))
    };
    match error {
        SdkError::ServiceError(service) if service.raw().status().is_success() => garbled(service.raw()),
        SdkError::ServiceError(service) => refused(operation, resource, service),
        SdkError::ResponseError(response) => garbled(response.raw()),
        SdkError::TimeoutError(_) => own(Code::NoAnswer, "the request timed out".to_owned()),
        SdkError::DispatchFailure(failure) => {
            let reason = failure.as_connector_error().map_or_else(String::new, |error| chain(error));
            own(Code::NoAnswer, format!("AWS can't be reached: {reason}"))
        }
        // The error isn't shown, because it may quote secrets from the request.
        _ => headers::unsendable_environment().unwrap_or_else(|| {
            own(Code::RegionNotUsable, "the request can't be built; check the region and the endpoint".to_owned())
        }),
    }
}

/// An error response of a service.
fn refused<E>(operation: &str, resource: &str, error: &ServiceError<E, HttpResponse>) -> AwsError
where
    E: ProvideErrorMetadata,
{
    let (meta, response) = (error.err().meta(), error.raw());
    let (code, message) = (meta.code().unwrap_or_default(), meta.message().unwrap_or_default());
    let error = answered(operation, resource, code, message, response.status().as_u16());
    match response.headers().get("date").and_then(crate::connect::seconds_ahead) {
        Some(ahead) if error.is_bad_credentials() => of_clock(error, ahead),
        _ => error,
    }
}

/// The error for AWS's code and message in a response with this status.
pub fn answered(operation: &str, resource: &str, code: &str, message: &str, status: u16) -> AwsError {
    let code = if code.is_empty() { format!("HTTP {status}") } else { code.to_owned() };
    let message = aws_text(message);
    let (cause, is_final) = classify(operation, &code, message, status);
    AwsError { is_final, code: Some(code.into()), ..AwsError::own(cause, operation, resource, message) }
}

/// Rejected credentials on a machine whose clock is `ahead` seconds ahead of AWS's: AWS checks the
/// time of a signature, but its message doesn't always mention the time.
fn of_clock(error: AwsError, ahead: i64) -> AwsError {
    if ahead.abs() <= crate::connect::MOST_SKEW {
        return error;
    }
    let (n, side) = (ahead.unsigned_abs(), if ahead > 0 { "ahead of" } else { "behind" });
    let off = humantime::format_duration(Duration::from_secs(n));
    let why = format!(
        "this machine's clock is {off} {side} AWS's clock, and AWS rejects requests that are more than a few minutes off"
    );
    let error = AwsError { cause: Code::ClockWrong, ..error };
    error.with_reason(why, Code::ClockWrong.entry().next.to_owned())
}

/// AWS's message. If a function's environment is too large, Lambda repeats all of it, so that part
/// is omitted.
fn aws_text(message: &str) -> &str {
    match message.split_once(" String measured:") {
        _ if message.is_empty() => "AWS gave no reason",
        Some((reason, _)) => reason,
        None => message,
    }
}

/// Which credential source failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CredentialSource {
    /// SSO without a valid session.
    SignOn,
    /// A `credential_process`.
    Process,
    /// The profile itself.
    Settings,
    Other,
}

/// The error for one of the credential provider chain.
pub(crate) fn from_credentials(error: &CredentialsError, profiles: &Profiles) -> AwsError {
    if let Some(ours) = find::<AwsError>(error) {
        return ours.clone();
    }
    let missing = || AwsError::own(Code::NoCredentials, "", "", "no AWS credentials found");
    match error {
        CredentialsError::CredentialsNotLoaded(_) => missing(),
        // The instance role is the last source of the chain, so no earlier one was configured.
        other if is_of_the_instance(other) => missing(),
        // The signer's error for an invalid header: keys that a `credential_process` printed for a
        // role profile.
        other if chain(other).contains("canonical request") => headers::unsendable(&profiles.source(true)),
        other => {
            // Without a network, credentials can't be refreshed either.
            if let Some(cause) = find::<ConnectorError>(other) {
                let message = format!("failed to refresh the credentials: {}", chain(cause));
                return AwsError::own(Code::NoAnswer, "", "", message);
            }
            let text = chain(other);
            let has_text = |words: &[&str]| words.iter().any(|word| text.contains(word));
            let source = match other {
                CredentialsError::InvalidConfiguration(_) => CredentialSource::Settings,
                _ if has_text(&["external process"]) => CredentialSource::Process,
                _ if has_text(&["SSO token", "sso/cache", "access token", "UnauthorizedException"]) => {
                    CredentialSource::SignOn
                }
                _ => CredentialSource::Other,
            };
            // The output of a `credential_process` may contain the keys.
            let end = [" Stderr:", ": invalid JSON", ": Error at offset"].iter().filter_map(|it| text.find(it)).min();
            let text = text.get(..end.unwrap_or(text.len())).unwrap_or_default();
            let text = text.strip_prefix("an error occurred while loading credentials: ").unwrap_or(text);
            profiles.failed(source, text.to_owned())
        }
    }
}

fn is_of_the_instance(error: &CredentialsError) -> bool {
    chain(error).contains("IMDS")
}

/// Keeps the SDK from retrying DynamoDB's `LimitExceededException`: the SDK treats it as
/// throttling, but DynamoDB means a quota, or a change in progress that engine waits for elsewhere.
#[derive(Debug)]
pub(crate) struct QuotaIsNoThrottle;

impl ClassifyRetry for QuotaIsNoThrottle {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let body = context.response().and_then(|response| response.body().bytes()).unwrap_or_default();
        let quota = b"LimitExceededException";
        if body.windows(quota.len()).any(|window| window == quota) {
            RetryAction::RetryForbidden
        } else {
            RetryAction::NoActionIndicated
        }
    }

    fn name(&self) -> &'static str {
        "quota is no throttle"
    }

    fn priority(&self) -> RetryClassifierPriority {
        RetryClassifierPriority::run_after(RetryClassifierPriority::transient_error_classifier())
    }
}

/// The error codes for throttling.
const THROTTLES: [&str; 9] = [
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "SlowDown",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
];

/// A throttling response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Throttle {
    /// The time that AWS asks to wait before the next call, if it does.
    pub(crate) pause: Option<Duration>,
}

/// Reads the body of an error response, where some services put the code, and restores it.
///
/// # Errors
/// The connection ended before the body did.
pub(crate) async fn opened(mut response: HttpResponse) -> Result<HttpResponse, ConnectorError> {
    if response.status().is_client_error() || response.status().is_server_error() {
        let body = response.take_body().collect().await.map_err(ConnectorError::io)?.to_bytes();
        *response.body_mut() = SdkBody::from(body);
    }
    Ok(response)
}

/// Whether an opened response is throttling. Lambda sends HTTP 429 and a header, DynamoDB and the
/// tag index 400 and JSON, IAM and STS 400 and XML.
pub(crate) fn throttle(response: &HttpResponse) -> Option<Throttle> {
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) {
        return None;
    }
    let is_throttle = status.as_u16() == 429 || codes(response).any(|code| THROTTLES.contains(&code.as_str()));
    let seconds = || response.headers().get("retry-after")?.parse().ok();
    is_throttle.then(|| Throttle { pause: seconds().map(Duration::from_secs) })
}

/// The outcome of an attempt, to be recorded.
pub(crate) fn recorded(response: &HttpResponse) -> CallResult {
    match throttle(response) {
        Some(_) => CallResult::Throttled,
        None if response.status().as_u16() < 400 => CallResult::Done,
        None => {
            let is_code = |code: &String| code.len() < 100 && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
            let code = codes(response).find(is_code).filter(|code| !code.is_empty());
            CallResult::Error(response.status().as_u16(), code)
        }
    }
}

/// The error codes in an opened response, from every place where services put them.
pub(crate) fn codes(response: &HttpResponse) -> impl Iterator<Item = String> {
    let body = response.body().bytes().unwrap_or_default();
    let in_header = response.headers().get("x-amzn-errortype").map(str::to_owned);
    let in_json = || {
        let body: Json = serde_json::from_slice(body).ok()?;
        Some(body.get("__type")?.as_str()?.to_owned())
    };
    let in_xml = || {
        let text = std::str::from_utf8(body).unwrap_or_default();
        Some(text.split_once("<Code>")?.1.split_once("</Code>")?.0.to_owned())
    };
    // `com.amazonaws.dynamodb.v20120810#ThrottlingException`, `TooManyRequestsException:http://…`.
    let bare = |code: String| {
        let code = code.rsplit('#').next().unwrap_or_default();
        code.split(':').next().unwrap_or_default().to_owned()
    };
    [in_header, in_json(), in_xml()].into_iter().flatten().map(bare)
}

/// The cause of an error by its code and, where one code has several meanings, by its message, and
/// whether AWS refused permanently.
///
/// Codes and messages are AWS's, as seen on the wire. DynamoDB reports not-found with HTTP 400,
/// Lambda a wrong region with 404, and IAM's codes lack the `Exception` of the SDK's type names, so
/// neither alone is enough.
fn classify(operation: &str, code: &str, message: &str, status: u16) -> (Code, bool) {
    let has_text = |text: &str| message.contains(text);
    let mut rows = ROWS.iter().filter(|row| row.fits(operation, code, message));
    if let Some(meaning) = rows.find_map(|row| row.means) {
        return meaning;
    }
    let answer = code::CodedMessage { code, text: message };
    let refusal = || (answer.refusal(), true);
    let cause = match code {
        "ResourceNotFoundException" | "NoSuchEntity" | "NoSuchEntityException"
            if has_text("not reachable in this region") =>
        {
            return refusal();
        }
        "ResourceNotFoundException" | "NoSuchEntity" | "NoSuchEntityException" | "PolicyNotFoundException" => {
            Code::NotFound
        }
        "ResourceConflictException" | "ResourceInUseException" if exists(message) => Code::NameTaken,
        "EntityAlreadyExists" => Code::NameTaken,
        "ResourceInUseException" if has_text("is being deleted") => Code::BeingDeleted,
        // Every other conflict is transient.
        "ResourceConflictException"
        | "ResourceInUseException"
        | "ConcurrentModification"
        | "OperationAbortedException" => Code::Busy,
        "InvalidParameterValueException" | "InvalidParameterValue" | "ValidationException" => return refusal(),
        "PreconditionFailedException" | "ConditionalCheckFailedException" => Code::ChangedMeanwhile,
        "ExpiredToken"
        | "ExpiredTokenException"
        | "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "SignatureDoesNotMatch"
        | "InvalidSignatureException"
        | "MissingAuthenticationToken"
        | "RequestExpired"
        | "InvalidAccessKeyId"
        | "AuthFailure" => answer.credentials(),
        "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation" => answer.denied(),
        _ if status == 429 || THROTTLES.contains(&code) => Code::Throttled,
        _ if status >= 500 => Code::AwsFault,
        _ => return refusal(),
    };
    (cause, false)
}

/// "Function already exist: X" is AWS's own spelling.
fn exists(message: &str) -> bool {
    message.contains("already exist")
}

/// Whether a request certainly didn't reach AWS.
pub(crate) fn never_left(error: &ConnectorError) -> bool {
    find::<std::io::Error>(error).is_some_and(|cause| cause.kind() == std::io::ErrorKind::ConnectionRefused)
}

/// The first error of a type in a chain of causes.
fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// A chain of causes in one line, without repetitions.
fn chain(error: &dyn StdError) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if !texts.iter().any(|seen| seen.contains(&text)) {
            texts.push(text);
        }
        next = error.source();
    }
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// AWS's messages as seen on the wire, for codes with several meanings.
    #[test]
    fn dynamodb_errors_with_one_code_are_distinguished_by_message() {
        let (invalid, limit) = ("ValidationException", "LimitExceededException");
        for (code, message, cause) in [
            (invalid, "Table already has an enabled stream: TableName: t", Code::NothingToChange),
            (invalid, "Table has no stream to disable: TableName: t", Code::NothingToChange),
            (
                invalid,
                "The provisioned throughput for the table will not change. The requested value equals the current value.",
                Code::NothingToChange,
            ),
            (invalid, "Attempting to create an index which already exists", Code::NothingToChange),
            (invalid, "Attempting to create a duplicate index: by-day", Code::NothingToChange),
            (invalid, "TimeToLive is already enabled", Code::NothingToChange),
            (invalid, "TimeToLive is already disabled", Code::NothingToChange),
            (invalid, "Time to live has been modified multiple times within a fixed interval", Code::TtlTooSoon),
            (
                invalid,
                "Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection first.",
                Code::DeletionProtected,
            ),
            (invalid, "Table is protected against deletion. Disable it first.", Code::DeletionProtected),
            (
                invalid,
                "TimeToLive is active on a different AttributeName: current AttributeName is a",
                Code::InvalidValue,
            ),
            (invalid, "You cannot modify stream status while updating table IOPS", Code::InvalidValue),
            (
                limit,
                "Subscriber limit exceeded: Only 1 online index can be created or deleted simultaneously per table",
                Code::Busy,
            ),
            (limit, "Table tags are being updated: t", Code::Busy),
            (
                limit,
                "Subscriber limit exceeded: Provisioned throughput decreases are limited within a given UTC day.",
                Code::ChangedTooOften,
            ),
            ("ContinuousBackupsUnavailableException", "Backups are being enabled for the table: t", Code::Busy),
            ("TableNotFoundException", "Table not found: t", Code::NotFound),
            (
                "ResourceInUseException",
                "Attempt to change a resource which is still in use: Cannot delete table while indexes are being created, updated, or deleted",
                Code::Busy,
            ),
        ] {
            let is_final = matches!(cause, Code::InvalidValue | Code::ChangedTooOften);
            assert_eq!(classify("UpdateTable", code, message, 400), (cause, is_final), "{code}: {message}");
        }
    }

    #[test]
    fn a_change_that_aws_allows_once_per_hour_has_a_hint_with_the_time() {
        let message = "Time to live has been modified multiple times within a fixed interval";
        let error = AwsError::own(Code::TtlTooSoon, "UpdateTimeToLive", "t", message);
        assert!(error.hint().contains("in an hour"));
    }

    /// A proxy's error page can be either: an error, or a success without AWS's response.
    #[test]
    fn a_refusal_for_good_is_not_retried_even_if_its_cause_can_be_transient() {
        let refused = answered("GetFunction", "f", "", "", 404);
        let garbled = AwsError::own(Code::NotAws, "GetFunction", "f", "the response isn't a valid AWS response");
        assert_eq!(refused.cause, garbled.cause);
        assert!(garbled.is_ambiguous() && garbled.is_about_the_run() && garbled.unreadable().is_none());
        assert!(!refused.is_ambiguous() && !refused.passes() && refused.unreadable().is_some());
    }

    #[test]
    fn only_a_failed_change_may_have_been_carried_out() {
        for cause in [Code::NoAnswer, Code::OutOfReach, Code::NotAws, Code::AwsFault] {
            for (operation, changes) in [("CreateTable", true), ("DescribeTable", false), ("GetCallerIdentity", false)]
            {
                let error = explained(AwsError::own(cause, operation, "t", "nothing came back"));
                let message = format!("{}\n{:?}", error.why(), error.hint());
                assert_eq!(message.contains("AWS may or may not have carried out the call"), changes, "{message}");
                assert_eq!(message.contains(" shows what is left"), changes, "{message}");
            }
        }
    }

    /// In the four forms that the services use, and in similar responses that are no throttling.
    #[tokio::test]
    async fn throttling_is_recognized_in_every_protocol() {
        let xml = |code: &str| {
            format!("<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code></Error></ErrorResponse>")
        };
        let throttled = |pause: Option<u64>| Some(Throttle { pause: pause.map(Duration::from_secs) });
        for (status, header, body, expected) in [
            (
                429,
                Some(("x-amzn-errortype", "TooManyRequestsException")),
                "{\"Reason\":\"CallerRateLimitExceeded\"}",
                throttled(None),
            ),
            (429, Some(("retry-after", "7")), "", throttled(Some(7))),
            (400, Some(("x-amzn-errortype", "ThrottlingException:http://internal.amazon.com/")), "{}", throttled(None)),
            (
                400,
                None,
                "{\"__type\":\"com.amazonaws.dynamodb.v20120810#ThrottlingException\",\"message\":\"Rate exceeded\"}",
                throttled(None),
            ),
            (400, None, "{\"__type\":\"ThrottledException\"}", throttled(None)),
            (400, None, &xml("Throttling"), throttled(None)),
            (503, None, &xml("RequestLimitExceeded"), throttled(None)),
            (
                400,
                None,
                "{\"__type\":\"com.amazonaws.dynamodb.v20120810#LimitExceededException\",\"message\":\"ThrottlingException\"}",
                None,
            ),
            (404, None, &xml("NoSuchEntity"), None),
            (500, None, "ThrottlingException", None),
            (200, None, "{\"__type\":\"ThrottlingException\"}", None),
        ] {
            let mut response = HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body));
            if let Some((name, value)) = header {
                response.headers_mut().insert(name, value);
            }
            let opened = opened(response).await.unwrap();
            assert_eq!(throttle(&opened), expected, "{status} {header:?} {body}");
            assert_eq!(opened.body().bytes(), Some(body.as_bytes()));
        }
    }

    /// SSO and assumed roles need the network to refresh their credentials.
    #[test]
    fn a_network_error_during_a_refresh_does_not_mean_rejected_credentials() {
        type Failure = SdkError<aws_sdk_sts::operation::get_caller_identity::GetCallerIdentityError, HttpResponse>;
        let failed = |cause: CredentialsError| Failure::dispatch_failure(ConnectorError::other(cause.into(), None));
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let cases = [
            (CredentialsError::provider_error(ConnectorError::io(refused.into())), Code::NoAnswer),
            (CredentialsError::provider_error("the session has expired"), Code::CredentialsNotFetched),
            (CredentialsError::not_loaded_no_source(), Code::NoCredentials),
        ];
        for (reason, cause) in cases {
            assert_eq!(convert("GetCallerIdentity", "", &failed(reason)).cause, cause);
        }
    }
}
