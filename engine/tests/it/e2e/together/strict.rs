//! The local AWS, as strict as the real one about concurrent calls: each check and the write that
//! depends on it are atomic.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value as Json, json};

use crate::shared::DEADLINE;
use crate::shared::proxy::{Request, existing_mapping};

/// A local AWS that refuses what the real one refuses.
pub(super) struct Strict {
    pub(super) endpoint: String,
    serial: Mutex<()>,
}

impl Strict {
    pub(super) fn new(endpoint: &str) -> Strict {
        Strict { endpoint: endpoint.to_owned(), serial: Mutex::new(()) }
    }

    /// Answers as the real AWS would, with the data of the local one.
    pub(super) fn answer(&self, request: &Request) -> String {
        let is_mapping = request.is("POST /2015-03-31/event-source-mappings");
        if request.is("ListTagsOfResource") {
            return found(request.forward());
        }
        if !is_mapping && !request.is("UpdateTable") {
            return request.forward();
        }
        let _turn = self.serial.lock().unwrap_or_else(PoisonError::into_inner);
        let refusal = if is_mapping { existing_mapping(request) } else { self.pointless_stream(request) };
        refusal.unwrap_or_else(|| request.forward())
    }

    /// The error for enabling the stream of a table that has one, whatever its view type, or for
    /// disabling a stream that is off.
    fn pointless_stream(&self, request: &Request) -> Option<String> {
        let wanted: Json = serde_json::from_slice(&request.body).ok()?;
        let on = wanted["StreamSpecification"]["StreamEnabled"].as_bool()?;
        let name = wanted["TableName"].as_str()?;
        let table = self.describe(request, name)?;
        let is_on = table["Table"]["StreamSpecification"]["StreamEnabled"] == true;
        let text = match (on, is_on) {
            (true, true) => "Table already has an enabled stream",
            (false, false) => "Table has no stream to disable",
            _ => return None,
        };
        Some(refusal("com.amazon.coral.validate#ValidationException", &format!("{text}: TableName: {name}")))
    }

    /// Reads a table from the local AWS with the headers of another request.
    fn describe(&self, request: &Request, table: &str) -> Option<Json> {
        let body = json!({ "TableName": table }).to_string();
        let head = request.head.split("\r\n").filter(|line| !line.is_empty()).map(|line| {
            match line.split_once(':').map(|(name, _)| name.to_ascii_lowercase()).as_deref() {
                Some("x-amz-target") => "x-amz-target: DynamoDB_20120810.DescribeTable".to_owned(),
                Some("content-length") => format!("content-length: {}", body.len()),
                _ => line.to_owned(),
            }
        });
        let head = head.collect::<Vec<_>>().join("\r\n");
        let mut stream = TcpStream::connect(self.endpoint.strip_prefix("http://")?).ok()?;
        stream.set_read_timeout(Some(DEADLINE)).ok()?;
        stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
    }
}

/// For a missing table, the local AWS reports a missing permission to read its tags.
fn found(answer: String) -> String {
    if !answer.contains("AccessDeniedException") {
        return answer;
    }
    refusal("com.amazonaws.dynamodb.v20120810#ResourceNotFoundException", "Requested resource not found")
}

/// An error response in DynamoDB's format.
fn refusal(code: &str, message: &str) -> String {
    let body = json!({ "__type": code, "message": message }).to_string();
    format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    )
}
