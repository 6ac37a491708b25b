//! The proxy in front of the server, which only accepts requests with the server's key.
//!
//! The server runs the code that it receives, answers any `Origin` and `Host`, and verifies no
//! signature. So it listens on a Unix socket in a folder that only this user can open, and the
//! proxy listens on 127.0.0.1. Web pages, other users and everything else that reaches the port
//! don't have the key.
//!
//! **Invariant:** knows no AWS operation. [`admit`] contains all checks of a request and refuses a
//! request that can be interpreted in two ways.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Either, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::http::uri::{PathAndQuery, Uri};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixStream};
use tokio::sync::{Mutex, Semaphore};

use super::key::{Caller, ServerKey};

/// How many invocations from outside run at a time; the others wait here. Each may take a Node.js
/// process of 43 MiB, and hundreds at a time make the server drop connections. The calls of
/// functions don't wait: a function that invokes another one would wait for itself.
const INVOCATIONS: usize = 16;

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 4096;

/// How much of a refused request is read, in bytes.
const DRAINED: usize = 1 << 20;

/// How long an idle connection to the server is reused. The server closes those that are idle for
/// longer, and must not do so while a request is on its way.
const REUSE_LIMIT: Duration = Duration::from_secs(10);

/// The pause after the system couldn't take another connection.
const RETRY_INTERVAL: Duration = Duration::from_millis(5);

/// Headers for one connection only (RFC 9110, section 7.6.1); hyper adds them itself.
const CONNECTION_HEADERS: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::UPGRADE,
    // Answered here, because the server's answer would come too late.
    header::EXPECT,
];

type ProxyResponse = Response<Either<Incoming, Full<Bytes>>>;

/// The proxy of a server.
pub(super) struct Proxy {
    key: ServerKey,
    socket: PathBuf,
    invocations: Semaphore,
    opened: Instant,
    /// Seconds from `opened` to the last request from outside.
    used: AtomicU64,
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rejection {
    Method,
    Target,
    Host,
    Origin,
    Key,
    Unreachable,
}

impl Rejection {
    fn reason(self) -> &'static str {
        match self {
            Self::Method => "OPTIONS, CONNECT and TRACE requests are not supported",
            Self::Target => "the request must have a path as its target; this is not a proxy",
            Self::Host => {
                "the `Host` header must be 127.0.0.1, localhost or [::1]; `engine local env` prints the endpoint"
            }
            Self::Origin => {
                "requests from web pages (`Origin` header) are not supported; `engine local env` prints the settings for programs"
            }
            Self::Key => "the request doesn't have the access key id of this local AWS; `engine local env` prints it",
            Self::Unreachable => "the server has stopped; `engine local start` starts another one",
        }
    }

    /// The answer in the format of the AWS protocols, so that SDKs show the text.
    fn answer(self, request: &HeaderMap) -> ProxyResponse {
        let (status, code) = match self {
            Self::Unreachable => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"),
            _ => (StatusCode::FORBIDDEN, "UnrecognizedClientException"),
        };
        let text = format!("local AWS: {}", self.reason());
        let form = request.get(header::CONTENT_TYPE).is_some_and(|it| it.as_bytes().starts_with(b"application/x-www"));
        let (kind, body) = match form {
            true => (
                "text/xml",
                format!("<ErrorResponse><Error><Code>{code}</Code><Message>{text}</Message></Error></ErrorResponse>"),
            ),
            false => ("application/json", serde_json::json!({ "__type": code, "message": text }).to_string()),
        };
        let mut answer = Response::new(Either::Right(Full::from(body)));
        *answer.status_mut() = status;
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert("x-amzn-errortype", HeaderValue::from_static(code));
        answer
    }
}

/// A client's connection to the server and when it was last used.
type Upstream = Mutex<Option<(SendRequest<Incoming>, Instant)>>;

impl Proxy {
    pub(super) fn new(key: ServerKey, socket: PathBuf) -> Self {
        let invocations = Semaphore::new(INVOCATIONS);
        Self { key, socket, invocations, opened: Instant::now(), used: AtomicU64::new(0) }
    }

    /// A free port on 127.0.0.1 to listen on.
    pub(super) fn listen() -> io::Result<(TcpListener, u16)> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let listener = socket.listen(BACKLOG)?;
        let port = listener.local_addr()?.port();
        Ok((listener, port))
    }

    /// Time since the last request from outside.
    pub(super) fn idle(&self) -> Duration {
        self.opened.elapsed().saturating_sub(Duration::from_secs(self.used.load(Ordering::Relaxed)))
    }

    /// Answers requests for as long as it is polled.
    pub(super) async fn serve(self: Arc<Self>, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => drop(tokio::spawn(Arc::clone(&self).serve_one(stream))),
                // No file descriptor is free; open connections will free some.
                Err(_) => tokio::time::sleep(RETRY_INTERVAL).await,
            }
        }
    }

    async fn serve_one(self: Arc<Self>, stream: TcpStream) {
        // Answers are small, and a delayed one costs 40 ms.
        let _ = stream.set_nodelay(true);
        let upstream = Upstream::default();
        let service = service_fn(async |request| Ok::<_, Infallible>(self.answer(request, &upstream).await));
        // A broken connection is for the client to handle.
        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    }

    async fn answer(&self, request: Request<Incoming>, upstream: &Upstream) -> ProxyResponse {
        let (mut parts, body) = request.into_parts();
        let original = parts.headers.clone();
        let caller = match admit(&mut parts, &self.key) {
            Ok(caller) => caller,
            Err(refusal) => {
                // A client that is still sending doesn't read the answer.
                let _ = Limited::new(body, DRAINED).collect().await;
                return refusal.answer(&original);
            }
        };
        if !caller.is_function {
            self.used.store(self.opened.elapsed().as_secs(), Ordering::Relaxed);
        }
        let waits = !caller.is_function && is_invocation(parts.uri.path());
        let _permit = if waits { self.invocations.acquire().await.ok() } else { None };
        match self.forward(Request::from_parts(parts, body), upstream).await {
            Some(answer) => outward(answer),
            None => Rejection::Unreachable.answer(&original),
        }
    }

    async fn forward(&self, mut request: Request<Incoming>, upstream: &Upstream) -> Option<Response<Incoming>> {
        let mut kept = upstream.lock().await;
        loop {
            let (mut sender, is_new) = match kept.take() {
                Some((sender, used)) if used.elapsed() < REUSE_LIMIT => (sender, false),
                _ => (self.connect().await?, true),
            };
            if sender.ready().await.is_err() && !is_new {
                continue;
            }
            match sender.try_send_request(request).await {
                Ok(answer) => {
                    *kept = Some((sender, Instant::now()));
                    return Some(answer);
                }
                // The request was not sent.
                Err(mut failed) => request = failed.take_message().filter(|_| !is_new)?,
            }
        }
    }

    async fn connect(&self) -> Option<SendRequest<Incoming>> {
        let stream = loop {
            match UnixStream::connect(&self.socket).await {
                Ok(stream) => break stream,
                // The server's queue of connections is full.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => tokio::time::sleep(RETRY_INTERVAL).await,
                Err(_) => return None,
            }
        };
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        Some(sender)
    }
}

/// The end of Lambda's paths for all kinds of invocation, including streamed ones.
fn is_invocation(path: &str) -> bool {
    path.contains("/functions/") && path.ends_with("invocations")
}

/// Checks a request and puts the account in place of the key, as the server expects.
fn admit(parts: &mut Parts, key: &ServerKey) -> Result<Caller, Rejection> {
    if matches!(parts.method, Method::OPTIONS | Method::CONNECT | Method::TRACE) {
        return Err(Rejection::Method);
    }
    if parts.uri.authority().is_some() || !parts.uri.path().starts_with('/') {
        return Err(Rejection::Target);
    }
    if !only(&parts.headers, header::HOST).is_some_and(|host| is_loopback(&host)) {
        return Err(Rejection::Host);
    }
    if parts.headers.contains_key(header::ORIGIN) {
        return Err(Rejection::Origin);
    }
    let caller = replace_key(parts, key).ok_or(Rejection::Key)?;
    remove_connection_headers(&mut parts.headers);
    Ok(caller)
}

fn is_loopback(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, port),
        _ => (host, ""),
    };
    matches!(name, "127.0.0.1" | "localhost" | "[::1]") && port.bytes().all(|byte| byte.is_ascii_digit())
}

/// The value of a header that occurs once.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?.to_owned();
    values.next().is_none().then_some(value)
}

/// Finds the only access key id of a request, in the header or in the query of a presigned URL, and
/// puts the account in its place.
fn replace_key(parts: &mut Parts, key: &ServerKey) -> Option<Caller> {
    let query: Vec<&str> = parts.uri.query().unwrap_or_default().split('&').collect();
    let mut signed = query.iter().enumerate().filter(|(_, pair)| is_credential(pair));
    match (parts.headers.contains_key(header::AUTHORIZATION), signed.next(), signed.next()) {
        (true, None, _) => {
            let value = only(&parts.headers, header::AUTHORIZATION)?;
            let (before, credential) = value.split_once("Credential=")?;
            if !before.starts_with("AWS4-HMAC-SHA256 ") || credential.contains("Credential=") {
                return None;
            }
            let (access_key_id, scope) = credential.split_once('/')?;
            let caller = key.caller(access_key_id)?;
            let value = format!("{before}Credential={}/{scope}", caller.account);
            parts.headers.insert(header::AUTHORIZATION, HeaderValue::try_from(value).ok()?);
            Some(caller)
        }
        (false, Some((place, pair)), None) => {
            let value = percent_decode_str(pair.split_once('=')?.1).decode_utf8().ok()?;
            let (access_key_id, scope) = value.split_once('/')?;
            let caller = key.caller(access_key_id)?;
            let credential = format!("{}/{scope}", caller.account);
            let pair = format!("X-Amz-Credential={}", utf8_percent_encode(&credential, NON_ALPHANUMERIC));
            let mut query = query.clone();
            *query.get_mut(place)? = &pair;
            let target = format!("{}?{}", parts.uri.path(), query.join("&"));
            parts.uri = Uri::from(PathAndQuery::try_from(target).ok()?);
            Some(caller)
        }
        _ => None,
    }
}

fn is_credential(pair: &str) -> bool {
    let name = pair.split('=').next().unwrap_or_default();
    percent_decode_str(name).decode_utf8_lossy().eq_ignore_ascii_case("X-Amz-Credential")
}

fn remove_connection_headers(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        // These define where the body ends.
        .filter(|name| *name != header::CONTENT_LENGTH && *name != header::TRANSFER_ENCODING && *name != header::HOST)
        .collect();
    for name in CONNECTION_HEADERS.iter().chain(&named) {
        headers.remove(name);
    }
}

/// The server's answer without the headers that would let a web page read it.
fn outward(answer: Response<Incoming>) -> ProxyResponse {
    let (mut parts, body) = answer.into_parts();
    remove_connection_headers(&mut parts.headers);
    let open: Vec<HeaderName> =
        parts.headers.keys().filter(|name| name.as_str().starts_with("access-control-")).cloned().collect();
    for name in open {
        parts.headers.remove(name);
    }
    Response::from_parts(parts, Either::Left(body))
}
