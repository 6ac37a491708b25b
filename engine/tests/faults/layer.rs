//! Runs engine with a fault layer in its network stack: one call gets a wrong, late or no response,
//! or the process is killed there. All other calls go through, so the state in AWS stays real.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::{RuntimeComponents, RuntimeComponentsBuilder};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::timeout::TimeoutConfig;
use bytes::Bytes;
use engine::aws::Network;
use engine::aws::guard::Request;
use engine::operation::{self, Effect, Operations};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use rustix::process::{Signal, getpid, kill_process};

/// The first argument that makes this program run as engine.
pub(crate) const AS_ENGINE: &str = "--as-engine";

/// A fault and the number of attempts of a call that it affects.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    kind: Kind,
    /// The number of affected attempts of the same request. The SDK makes 4, engine 16 in total.
    attempts: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Throttled by AWS.
    Throttled,
    /// HTTP 500; AWS doesn't execute the call.
    Failed,
    /// HTTP 500 although AWS executes the call.
    FailedAfter,
    /// HTTP 503 without an error code, like that of a load balancer.
    Unavailable,
    /// The connection closes before AWS receives the request.
    Closed,
    /// AWS executes the call, but the connection closes before the response.
    Lost,
    /// AWS executes the call, but the response arrives after the timeout.
    Late,
    /// AWS executes the call, but the response is not from AWS.
    Garbage,
    /// AWS executes the call, but the connection closes in the middle of the response.
    Truncated,
    /// SIGKILL before AWS receives the request.
    Killed,
    /// SIGKILL after AWS executes the call.
    KilledAfter,
}

/// All faults.
pub(crate) const FAULTS: [Fault; 18] = [
    Fault { name: "throttled", kind: Kind::Throttled, attempts: 1 },
    Fault { name: "throttled_4_times", kind: Kind::Throttled, attempts: 4 },
    Fault { name: "error_500", kind: Kind::Failed, attempts: 1 },
    Fault { name: "error_500_4_times", kind: Kind::Failed, attempts: 4 },
    Fault { name: "error_500_but_done", kind: Kind::FailedAfter, attempts: 1 },
    Fault { name: "error_503", kind: Kind::Unavailable, attempts: 1 },
    Fault { name: "closed_before", kind: Kind::Closed, attempts: 1 },
    Fault { name: "closed_before_4_times", kind: Kind::Closed, attempts: 4 },
    Fault { name: "closed_before_16_times", kind: Kind::Closed, attempts: 16 },
    Fault { name: "answer_lost", kind: Kind::Lost, attempts: 1 },
    Fault { name: "answer_lost_4_times", kind: Kind::Lost, attempts: 4 },
    Fault { name: "answer_lost_16_times", kind: Kind::Lost, attempts: 16 },
    Fault { name: "answer_late", kind: Kind::Late, attempts: 1 },
    Fault { name: "answer_late_16_times", kind: Kind::Late, attempts: 16 },
    Fault { name: "answer_garbage", kind: Kind::Garbage, attempts: 1 },
    Fault { name: "answer_truncated", kind: Kind::Truncated, attempts: 1 },
    Fault { name: "killed_before", kind: Kind::Killed, attempts: 1 },
    Fault { name: "killed_after", kind: Kind::KilledAfter, attempts: 1 },
];

impl Fault {
    /// Whether a run must recover from this fault without a second run, because the next attempt
    /// succeeds.
    pub(crate) fn is_got_over(&self, is_write: bool) -> bool {
        // Engine retries an unparsable response to a read only while it waits for a resource.
        let is_unreadable = matches!(self.kind, Kind::Garbage | Kind::Truncated);
        self.attempts == 1 && !self.kills() && (is_write || !is_unreadable)
    }

    /// Whether it kills the process.
    pub(crate) fn kills(&self) -> bool {
        matches!(self.kind, Kind::Killed | Kind::KilledAfter)
    }
}

/// Runs as engine. The arguments are `FAULT CALL RECORD ARGS…`: injects the fault into the given
/// call, counted from 1, and records every call in the file `RECORD`. With `-` as the fault, it
/// only records.
pub(crate) fn be_the_engine(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let mut text = || args.next().and_then(|arg| arg.into_string().ok()).expect("FAULT CALL RECORD ARGS…");
    let fault = text();
    let (call, record) = (text().parse().expect("a number"), text());
    let fault = FAULTS.into_iter().find(|it| it.name == fault);
    let record = OpenOptions::new().append(true).create(true).open(record).expect("a file for the record");
    let is_late = fault.is_some_and(|it| it.kind == Kind::Late);
    let state = Mutex::new(State { n_calls: 0, hit: None, record });
    let layer = Arc::new(Layer { fault, call, operations: operation::all(), state });
    let usual = Network::default();
    let limits = |usual: TimeoutConfig| match is_late {
        true => TimeoutConfig::builder().operation_attempt_timeout(Duration::from_millis(1500)).build(),
        false => usual,
    };
    let network = Network {
        wrap: Arc::new(move |inner| SharedHttpClient::new(Client { inner, layer: Arc::clone(&layer) })),
        timeouts: limits(usual.timeouts),
        upload_timeouts: limits(usual.upload_timeouts),
    };
    let args = std::iter::once(OsString::from("engine")).chain(args);
    ExitCode::from(engine::cli::run_through(args, network) as u8)
}

#[derive(Debug)]
struct Layer {
    fault: Option<Fault>,
    call: usize,
    operations: Operations,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    n_calls: usize,
    hit: Option<Hit>,
    record: File,
}

/// The affected request and the number of its attempts so far.
#[derive(Debug)]
struct Hit {
    method: String,
    uri: String,
    body: Vec<u8>,
    attempts: usize,
}

impl Hit {
    fn is(&self, request: &HttpRequest) -> bool {
        let body = request.body().bytes().unwrap_or_default();
        (self.method.as_str(), self.uri.as_str(), self.body.as_slice()) == (request.method(), request.uri(), body)
    }
}

#[derive(Debug)]
struct Client {
    inner: SharedHttpClient,
    layer: Arc<Layer>,
}

#[derive(Debug)]
struct Connector {
    inner: SharedHttpConnector,
    layer: Arc<Layer>,
}

impl HttpClient for Client {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(Connector { inner, layer: Arc::clone(&self.layer) })
    }

    fn validate_base_client_config(
        &self,
        components: &RuntimeComponentsBuilder,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.inner.validate_base_client_config(components, config)
    }

    fn validate_final_config(&self, components: &RuntimeComponents, config: &ConfigBag) -> Result<(), BoxError> {
        self.inner.validate_final_config(components, config)
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.inner.connector_metadata()
    }
}

impl Layer {
    /// Counts and records a call, and returns the fault to inject.
    fn meet(&self, request: &HttpRequest, parsed: &Request) -> Option<Kind> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.n_calls += 1;
        let n_calls = state.n_calls;
        let fault = self.fault.filter(|fault| match &state.hit {
            None => n_calls == self.call,
            Some(hit) => hit.is(request) && hit.attempts < fault.attempts,
        });
        if fault.is_some() {
            let hit = state.hit.get_or_insert_with(|| Hit {
                method: request.method().to_owned(),
                uri: request.uri().to_owned(),
                body: request.body().bytes().unwrap_or_default().to_vec(),
                attempts: 0,
            });
            hit.attempts += 1;
        }
        let effect = if parsed.effect == Effect::Read { "read" } else { "write" };
        let target = parsed.target.as_ref().map_or("", |(_, name)| name);
        let marked = fault.map_or("", |fault| fault.name);
        let Request { service, operation, .. } = parsed;
        writeln!(state.record, "{n_calls} {effect} {service} {operation} {target} {marked}").expect("a record");
        fault.map(|fault| fault.kind)
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target");
        let body = request.body().bytes().unwrap_or_default();
        let operations = &self.layer.operations;
        let parsed = operations.parse(request.method(), request.uri(), target, body).expect("the guard knows it");
        let Some(kind) = self.layer.meet(&request, &parsed) else { return self.inner.call(request) };
        let service = parsed.service;
        if kind == Kind::Killed {
            die();
        }
        let closed = || ConnectorError::io("connection closed before message completed".into());
        match kind {
            Kind::Throttled => return HttpConnectorFuture::ready(Ok(throttled(service))),
            Kind::Failed => return HttpConnectorFuture::ready(Ok(failed(service))),
            Kind::Unavailable => return HttpConnectorFuture::ready(Ok(answer(503, "", String::new()))),
            Kind::Closed => return HttpConnectorFuture::ready(Err(closed())),
            _ => {}
        }
        let inner = self.inner.clone();
        HttpConnectorFuture::new(async move {
            let mut response = inner.call(request).await?;
            let body = response.take_body().collect().await.map_err(ConnectorError::io)?.to_bytes();
            match kind {
                Kind::FailedAfter => Ok(failed(service)),
                Kind::Lost => Err(closed()),
                Kind::Late => std::future::pending().await,
                Kind::Garbage => Ok(answer(200, "text/html", "<html><body>Welcome to our Wi-Fi!</body></html>".into())),
                Kind::Truncated => {
                    *response.body_mut() = cut(&body);
                    Ok(response)
                }
                _ => die(),
            }
        })
    }
}

fn die() -> ! {
    kill_process(getpid(), Signal::KILL).expect("a process may kill itself");
    // The signal may be delivered with a delay.
    loop {
        std::thread::park();
    }
}

/// The first half of a body, after which the connection closes.
fn cut(body: &Bytes) -> SdkBody {
    let half = body.slice(..body.len() / 2);
    let end = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
    SdkBody::from_body_1_x(StreamBody::new(futures_util::stream::iter([Ok(Frame::data(half)), Err(end)])))
}

/// The throttling error of each service.
fn throttled(service: &str) -> HttpResponse {
    match service {
        "lambda" => json(
            429,
            "TooManyRequestsException",
            r#"{"Reason":"CallerRateLimitExceeded","Type":"User","message":"Rate exceeded"}"#,
        ),
        "dynamodb" | "tagging" => json(
            400,
            "ThrottlingException",
            r#"{"__type":"com.amazon.coral.availability#ThrottlingException","message":"Rate exceeded"}"#,
        ),
        "logs" => json(400, "ThrottlingException", r#"{"__type":"ThrottlingException","message":"Rate exceeded"}"#),
        "sqs" => json(
            400,
            "RequestThrottled",
            r#"{"__type":"com.amazonaws.sqs#RequestThrottled","message":"Rate exceeded"}"#,
        ),
        _ => xml(400, "Sender", "Throttling", "Rate exceeded"),
    }
}

/// The internal server error of each service.
fn failed(service: &str) -> HttpResponse {
    match service {
        "lambda" => json(
            500,
            "ServiceException",
            r#"{"Type":"Service","Message":"An error occurred and the request cannot be processed."}"#,
        ),
        "dynamodb" => json(
            500,
            "InternalServerError",
            r#"{"__type":"com.amazonaws.dynamodb.v20120810#InternalServerError","message":"Internal server error"}"#,
        ),
        "logs" => json(500, "ServiceUnavailableException", r#"{"__type":"ServiceUnavailableException"}"#),
        "sqs" => json(500, "InternalFailure", r#"{"__type":"com.amazonaws.sqs#InternalFailure"}"#),
        "tagging" => json(500, "InternalServiceException", r#"{"__type":"InternalServiceException"}"#),
        _ => xml(500, "Receiver", "ServiceFailure", "The request processing has failed because of an unknown error."),
    }
}

fn json(status: u16, code: &'static str, body: &str) -> HttpResponse {
    let mut response = answer(status, "application/json", body.to_owned());
    response.headers_mut().insert("x-amzn-errortype", code);
    response
}

fn xml(status: u16, whose: &str, code: &str, message: &str) -> HttpResponse {
    let error = format!("<Error><Type>{whose}</Type><Code>{code}</Code><Message>{message}</Message></Error>");
    answer(status, "text/xml", format!("<ErrorResponse>{error}<RequestId>0</RequestId></ErrorResponse>"))
}

fn answer(status: u16, content_type: &'static str, body: String) -> HttpResponse {
    let status = status.try_into().expect("a status");
    let mut response = HttpResponse::new(status, SdkBody::from(body));
    if !content_type.is_empty() {
        response.headers_mut().insert("content-type", content_type);
    }
    response
}
