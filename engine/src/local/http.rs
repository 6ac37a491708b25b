//! Two requests to a server, past its proxy: whether it is the expected one and ready, and to
//! delete everything.
//!
//! **Invariant:** talks only to a socket on this machine, without credentials; knows no AWS
//! protocol.

use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::UnixStream;

/// A probe that takes longer counts as unanswered: the server handles one request at a time and may
/// be busy.
const PROBE_LIMIT: Duration = Duration::from_secs(2);

/// Deleting 3,000 resources takes 60 ms; the rest is for a busy machine.
const RESET_LIMIT: Duration = Duration::from_secs(30);

/// The answer of `/_ministack/health`.
#[derive(Deserialize)]
struct Health {
    version: String,
    edition: String,
}

/// Whether the server at `socket` is ready and has this version and identity.
///
/// The identity is the variable `MINISTACK_EDITION`, which MiniStack only returns here.
pub(super) fn is_ready(socket: &Path, version: &str, identity: &str) -> bool {
    let ready = request(socket, Method::GET, "/_ministack/ready", PROBE_LIMIT);
    if !ready.is_ok_and(|(status, _)| status == StatusCode::OK) {
        return false;
    }
    let health = request(socket, Method::GET, "/_ministack/health", PROBE_LIMIT);
    let health = health.ok().and_then(|(_, body)| serde_json::from_slice::<Health>(&body).ok());
    health.is_some_and(|health| health.version == version && health.edition == identity)
}

/// Deletes everything in all accounts and regions and ends the functions' processes.
pub(super) fn reset(socket: &Path) -> Result<(), String> {
    match request(socket, Method::POST, "/_ministack/reset", RESET_LIMIT) {
        Ok((StatusCode::OK, _)) => Ok(()),
        Ok((status, _)) => Err(format!("it answered with status {status}")),
        Err(error) => Err(error.to_string()),
    }
}

fn request(socket: &Path, method: Method, path: &str, limit: Duration) -> io::Result<(StatusCode, Bytes)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let exchange = async {
        let stream = UnixStream::connect(socket).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "127.0.0.1")
            .body(Empty::<Bytes>::new())
            .map_err(io::Error::other)?;
        let answer = sender.send_request(request).await.map_err(io::Error::other)?;
        let status = answer.status();
        let body = answer.into_body().collect().await.map_err(io::Error::other)?;
        Ok((status, body.to_bytes()))
    };
    runtime.block_on(async { tokio::time::timeout(limit, exchange).await })?
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;

    use super::*;

    /// A server that gives this answer to every request, until the test ends.
    fn answering(body: &'static str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("socket")).unwrap();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _ = stream.read(&mut [0; 1024]);
                let length = body.len();
                let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
            }
        });
        folder
    }

    #[test]
    fn only_the_server_we_started_counts_as_ready() {
        let ours = answering(r#"{"version": "1.5.33", "edition": "engine-local-1", "services": {}}"#);
        assert!(is_ready(&ours.path().join("socket"), "1.5.33", "engine-local-1"));
        assert!(!is_ready(&ours.path().join("socket"), "1.5.33", "engine-local-2"), "another project's server");
        assert!(!is_ready(&ours.path().join("socket"), "1.5.34", "engine-local-1"), "another version");
        let other = answering("ready");
        assert!(!is_ready(&other.path().join("socket"), "1.5.33", "engine-local-1"), "another program");
    }
}
