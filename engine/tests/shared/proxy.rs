//! A proxy in front of the local AWS that can change responses to match those of the real AWS.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use serde_json::Value as Json;

use super::{DEADLINE, key_of, register_key};

/// One request as received.
pub(crate) struct Request {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    upstream: SocketAddr,
}

impl Request {
    /// Whether the request begins with a line like `POST /2015-03-31/functions`, or is for the
    /// operation of that name, for services that name it in a header.
    pub(crate) fn is(&self, what: &str) -> bool {
        let (head, what) = (self.head.to_ascii_lowercase(), what.to_ascii_lowercase());
        let target = head.split("\r\n").find_map(|line| header(line, "x-amz-target"));
        head.starts_with(&format!("{what} ")) || target.is_some_and(|it| it.rsplit('.').next() == Some(&what))
    }

    /// Sends the request to the local AWS and returns the response.
    pub(crate) fn forward(&self) -> String {
        self.send(&self.head, &self.body)
    }

    /// Sends a GET of `path` with this request's credentials instead, and returns the response.
    pub(crate) fn instead_get(&self, path: &str) -> String {
        let headers = self.head.split_once("\r\n").unwrap().1.split("\r\n");
        let kept: Vec<&str> = headers.filter(|line| !line.to_ascii_lowercase().starts_with("content-")).collect();
        self.send(&format!("GET {path} HTTP/1.1\r\n{}", kept.join("\r\n")), b"")
    }

    fn send(&self, head: &str, body: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.upstream).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

/// An error response in Lambda's protocol.
pub(crate) fn lambda_error(status: u16, code: &str, message: &str) -> String {
    let body = serde_json::json!({ "Type": "User", "Message": message }).to_string();
    format!(
        "HTTP/1.1 {status} Error\r\nx-amzn-errortype: {code}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// The description of a table with a creation time long ago.
pub(crate) fn aged(answer: &str) -> String {
    const KEY: &str = "\"CreationDateTime\":";
    let Some((start, rest)) = answer.split_once(KEY) else { return answer.to_owned() };
    let end = rest.find([',', '}']).unwrap();
    // Keep the length, because the `Content-Length` header has it.
    let old = format!("{: <end$}", " 1700000000");
    format!("{start}{KEY}{old}{}", &rest[end..])
}

/// AWS's error for a second mapping from the same stream to the same function, if one exists. The
/// local AWS would create the second one.
pub(crate) fn existing_mapping(request: &Request) -> Option<String> {
    let wanted: Json = serde_json::from_slice(&request.body).ok()?;
    let (function, stream) = (wanted["FunctionName"].as_str()?, wanted["EventSourceArn"].as_str()?);
    let there = request.instead_get(&format!("/2015-03-31/event-source-mappings?FunctionName={function}"));
    let there: Json = serde_json::from_str(there.split_once("\r\n\r\n")?.1).ok()?;
    let mut same = there["EventSourceMappings"].as_array()?.iter().filter(|it| it["EventSourceArn"] == stream);
    let uuid = same.next()?["UUID"].as_str()?;
    let message = format!(
        "The event source arn (\" {stream} \") and function (\" {function} \") provided mapping already exists. Please \
         update or delete the existing mapping with UUID {uuid}"
    );
    Some(lambda_error(409, "ResourceConflictException", &message))
}

/// A proxy that listens on its own port until dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Starts a proxy in front of `endpoint` that responds to each request with the result of
    /// `bend`.
    pub(crate) fn new(endpoint: &str, bend: impl Fn(&Request) -> String + Send + Sync + 'static) -> Self {
        let upstream: SocketAddr = endpoint.strip_prefix("http://").unwrap().parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        register_key(&format!("http://{address}"), &key_of(endpoint));
        let ended = Arc::new(AtomicBool::new(false));
        let thread = {
            let ended = Arc::clone(&ended);
            std::thread::spawn(move || {
                std::thread::scope(|scope| {
                    for stream in listener.incoming() {
                        if ended.load(Ordering::SeqCst) {
                            return;
                        }
                        let bend = &bend;
                        scope.spawn(move || serve(stream.unwrap(), upstream, bend));
                    }
                });
            })
        };
        Self { address, ended, thread: Some(thread) }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        // A panic in the thread is already reported, and its client has failed.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

pub(crate) fn header(line: &str, name: &str) -> Option<String> {
    line.split_once(':').filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
}

/// Serves one request per connection.
fn serve(mut stream: TcpStream, upstream: SocketAddr, bend: &impl Fn(&Request) -> String) {
    // An idle client must not keep the proxy from ending.
    stream.set_read_timeout(Some(DEADLINE * 4)).unwrap();
    stream.set_write_timeout(Some(DEADLINE * 4)).unwrap();
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    let mut fill = |received: &mut Vec<u8>| {
        let count = stream.read(&mut buffer).unwrap_or_default();
        received.extend_from_slice(&buffer[..count]);
        count > 0
    };
    let end = loop {
        if let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if !fill(&mut received) {
            return;
        }
    };
    let head = String::from_utf8(received[..end].to_vec()).unwrap();
    let length = head.split("\r\n").find_map(|line| header(line, "content-length"));
    let length: usize = length.map_or(0, |length| length.parse().unwrap());
    while received.len() < end + 4 + length {
        if !fill(&mut received) {
            return;
        }
    }
    let kept: Vec<&str> = head.split("\r\n").filter(|line| header(line, "connection").is_none()).collect();
    let head = format!("{}\r\nConnection: close\r\n\r\n", kept.join("\r\n"));
    let request = Request { head, body: received[end + 4..].to_vec(), upstream };
    // A killed client doesn't read its response.
    let _ = stream.write_all(bend(&request).as_bytes());
}
