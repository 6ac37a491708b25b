//! The guard: the one place every request to AWS passes, right in front of the network.
//!
//! It lets reads through, and a write only where it is certain that the thing written is ours: its name begins with
//! the team's, a read of this run has shown that nobody else owns it, and it was not imported. The prefix alone is no
//! proof: `acme-extra-todos` may belong to team `acme-extra`.
//!
//! **Invariant:** it trusts the request alone, never what a kind says it is about to do. A request it does not know is
//! refused.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use percent_encoding::percent_decode_str;
use serde::Deserialize;

use crate::schema::{Id, Live, Naming, Ownership, Schema};

/// What the guard allows a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Reads alone (`diff`).
    ReadOnly,
    /// Writes to what is this team's.
    Team {
        /// The team.
        team: String,
        /// Whether what bears the right name is ours where its tags may not be read (`--assume-owner`).
        assume_owner: bool,
    },
}

/// What this run has learned about the things it may meet.
#[derive(Debug)]
pub struct Guard {
    access: Access,
    known: Mutex<HashMap<(String, String), Standing>>,
    n_writes: AtomicUsize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    /// Ours, or free to take.
    Writable,
    /// It bears the right name, but its tags may not be read: it is changed, never claimed or deleted.
    Unproven,
    /// Not ours; the reason in words.
    Barred(String),
    /// Somebody else's by declaration, whatever a read finds.
    Imported,
}

/// Why a request did not leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal(String);

impl Refusal {
    /// For a request that the guard can't read.
    pub fn unknown(method: &str, uri: &str) -> Refusal {
        let path = uri.split('?').next().unwrap_or_default();
        Refusal(format!("the guard stopped a request it does not know: {method} {path}"))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

/// One request, as far as the guard cares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `dynamodb`, `lambda`, `iam`, `sts`.
    pub service: &'static str,
    /// The API operation.
    pub operation: String,
    /// What it does.
    pub effect: Effect,
    /// The kind and name (or UUID) of what it is about, where it names one.
    pub target: Option<(&'static str, String)>,
    /// The statement id, for permissions.
    pub statement: Option<String>,
}

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    Read,
    /// Makes the target.
    Create,
    /// Changes or deletes the target, or something that lives in it.
    Write,
}

impl Guard {
    /// A guard that has seen nothing yet.
    pub fn new(access: Access) -> Guard {
        Guard { access, known: Mutex::default(), n_writes: AtomicUsize::new(0) }
    }

    /// Tells the guard what a read of a *managed* declaration found.
    pub fn observe(&self, schema: &Schema, id: &Id, live: &Live) {
        let standing = match &live.owner {
            Ownership::Engine(owner) if (&owner.team, &owner.stack) == (&id.owner.team, &id.owner.stack) => {
                Standing::Writable
            }
            Ownership::Engine(owner) => Standing::Barred(format!("it belongs to {owner}")),
            Ownership::CloudFormation(stack) => {
                Standing::Barred(format!("it belongs to the CloudFormation stack `{stack}`"))
            }
            Ownership::NotYetReadable(_) => Standing::Barred("its tags can't be read yet".to_owned()),
            Ownership::Nobody | Ownership::Inherited => Standing::Writable,
            Ownership::Denied => Standing::Unproven,
        };
        if let Some(key) = key(schema, id, live) {
            self.know(key, standing);
        }
    }

    /// Tells the guard that a read found nothing: what was known of the name is about something that is gone.
    pub fn observe_absence(&self, schema: &Schema, id: &Id) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (schema.kind.to_owned(), id.name.clone());
        if known.get(&key) != Some(&Standing::Imported) {
            known.remove(&key);
        }
    }

    /// Tells the guard that a thing is somebody else's by declaration.
    pub fn observe_import(&self, schema: &Schema, id: &Id) {
        self.know((schema.kind.to_owned(), id.name.clone()), Standing::Imported);
    }

    /// How many writes have left.
    pub fn n_writes(&self) -> usize {
        self.n_writes.load(Ordering::Relaxed)
    }

    fn know(&self, key: (String, String), standing: Standing) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.get(&key) != Some(&Standing::Imported) {
            known.insert(key, standing);
        }
    }

    /// Whether the request may leave.
    ///
    /// # Errors
    /// The reason, if it may not.
    pub fn check(&self, request: &Request) -> Result<(), Refusal> {
        if request.effect == Effect::Read {
            return Ok(());
        }
        let refuse = |why: String| Err(Refusal(format!("the guard stopped `{}`: {why}", request.operation)));
        let Access::Team { team, assume_owner } = &self.access else {
            return refuse("this command only reads".to_owned());
        };
        let Some((kind, name)) = &request.target else {
            return refuse("it does not name what it would change".to_owned());
        };
        let prefixed =
            |name: &str| name.strip_prefix(team.as_str()).is_some_and(|rest| rest.starts_with(['-', '_', '.']));
        // A mapping's UUID is AWS's choice, so a read has to vouch for it.
        if *kind != "mapping" && !prefixed(name) {
            return refuse(format!("the {kind} `{name}` does not begin with the team's name `{team}`"));
        }
        if let Some(statement) = request.statement.as_ref().filter(|statement| !prefixed(statement)) {
            return refuse(format!("the statement `{statement}` does not begin with the team's name `{team}`"));
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let key = ((*kind).to_owned(), name.clone());
        let claims = request.operation.starts_with("Delete") || request.operation == "TagResource";
        match (known.get(&key), request.effect) {
            (Some(Standing::Barred(reason)), _) => return refuse(format!("the {kind} `{name}` is not ours: {reason}")),
            (Some(Standing::Imported), _) => {
                return refuse(format!("the {kind} `{name}` is imported, and what is imported is never changed"));
            }
            (Some(Standing::Unproven), _) if claims && !assume_owner => {
                return refuse(format!("the tags of the {kind} `{name}` may not be read, so it may not be ours"));
            }
            (Some(Standing::Writable | Standing::Unproven), _) => {}
            (None, Effect::Create) => drop(known.insert(key, Standing::Writable)),
            (None, _) => return refuse(format!("no read of this run has shown whose the {kind} `{name}` is")),
        }
        self.n_writes.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// What a request about this resource would name; `None` for what lives in something else.
fn key(schema: &Schema, id: &Id, live: &Live) -> Option<(String, String)> {
    match schema.naming {
        Naming::Own { .. } => Some((schema.kind.to_owned(), id.name.clone())),
        Naming::Assigned => live.incarnation.clone().map(|uuid| (schema.kind.to_owned(), uuid)),
        Naming::Fixed { .. } => None,
    }
}

/// The fields of request bodies that say what a call is about.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Body {
    table_name: Option<String>,
    resource_arn: Option<String>,
    function_name: Option<String>,
    statement_id: Option<String>,
}

impl Request {
    /// Reads a request off the wire. `None`: not one that the engine makes.
    pub fn parse(method: &str, uri: &str, target: Option<&str>, body: &[u8]) -> Option<Request> {
        let path = uri.split_once("://").map_or(uri, |(_, rest)| rest.find('/').map_or("/", |slash| &rest[slash..]));
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        match target {
            Some(target) => dynamodb(target, body),
            None if path.starts_with("/20") => lambda(method, path, query, body),
            None => query_protocol(body),
        }
    }
}

fn dynamodb(target: &str, body: &[u8]) -> Option<Request> {
    let operation = target.strip_prefix("DynamoDB_20120810.")?;
    let effect = match operation {
        "DescribeTable" | "ListTagsOfResource" | "Scan" => Effect::Read,
        "CreateTable" => Effect::Create,
        "UpdateTable" | "DeleteTable" | "TagResource" | "UntagResource" => Effect::Write,
        _ => return None,
    };
    let body: Body = serde_json::from_slice(body).ok()?;
    let name = body.table_name.or(body.resource_arn).map(|name| last_segment(&name));
    Some(Request {
        service: "dynamodb",
        operation: operation.to_owned(),
        effect,
        target: name.map(|name| ("table", name)),
        statement: None,
    })
}

/// Paths as in docs.aws.amazon.com/lambda/latest/api/API_Operations.html.
fn lambda(method: &str, path: &str, query: &str, body: &[u8]) -> Option<Request> {
    let segments: Vec<String> = path.split('/').skip(2).filter(|segment| !segment.is_empty()).map(decode).collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let parsed = || serde_json::from_slice::<Body>(body).unwrap_or_default();
    let function = |name: &str| Some(("function", function_name(name)));
    let mut statement = None;
    let (operation, effect, target) = match (method, segments.as_slice()) {
        ("GET", ["functions", name]) => ("GetFunction", Effect::Read, function(name)),
        ("GET", ["functions", name, "policy"]) => ("GetPolicy", Effect::Read, function(name)),
        ("POST", ["functions"]) => {
            ("CreateFunction", Effect::Create, parsed().function_name.as_deref().and_then(function))
        }
        ("PUT", ["functions", name, "code"]) => ("UpdateFunctionCode", Effect::Write, function(name)),
        ("PUT", ["functions", name, "configuration"]) => ("UpdateFunctionConfiguration", Effect::Write, function(name)),
        ("DELETE", ["functions", name]) => ("DeleteFunction", Effect::Write, function(name)),
        ("POST", ["functions", name, "policy"]) => {
            statement = Some(parsed().statement_id.unwrap_or_default());
            ("AddPermission", Effect::Write, function(name))
        }
        ("DELETE", ["functions", name, "policy", id]) => {
            statement = Some((*id).to_owned());
            ("RemovePermission", Effect::Write, function(name))
        }
        ("GET", ["event-source-mappings"]) => {
            let name = query.split('&').find_map(|pair| pair.strip_prefix("FunctionName=")).map(decode);
            ("ListEventSourceMappings", Effect::Read, name.as_deref().and_then(function))
        }
        ("GET", ["event-source-mappings", uuid]) => {
            ("GetEventSourceMapping", Effect::Read, Some(("mapping", (*uuid).to_owned())))
        }
        // A mapping belongs to the function it feeds.
        ("POST", ["event-source-mappings"]) => {
            ("CreateEventSourceMapping", Effect::Write, parsed().function_name.as_deref().and_then(function))
        }
        ("PUT", ["event-source-mappings", uuid]) => {
            ("UpdateEventSourceMapping", Effect::Write, Some(("mapping", (*uuid).to_owned())))
        }
        ("DELETE", ["event-source-mappings", uuid]) => {
            ("DeleteEventSourceMapping", Effect::Write, Some(("mapping", (*uuid).to_owned())))
        }
        ("GET", ["tags", arn]) => ("ListTags", Effect::Read, tagged(arn)),
        ("POST", ["tags", arn]) => ("TagResource", Effect::Write, tagged(arn)),
        ("DELETE", ["tags", arn]) => ("UntagResource", Effect::Write, tagged(arn)),
        _ => return None,
    };
    Some(Request { service: "lambda", operation: operation.to_owned(), effect, target, statement })
}

/// IAM and STS: only reads are known, so every other call is refused.
fn query_protocol(body: &[u8]) -> Option<Request> {
    let body = std::str::from_utf8(body).ok()?;
    let field = |name: &str| body.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).map(decode);
    let operation = field("Action")?;
    let (service, target) = match operation.as_str() {
        "GetCallerIdentity" => ("sts", None),
        "GetRole" => ("iam", field("RoleName").map(|name| ("role", name))),
        _ => return None,
    };
    Some(Request { service, operation, effect: Effect::Read, target, statement: None })
}

fn tagged(arn: &str) -> Option<(&'static str, String)> {
    if arn.contains(":event-source-mapping:") {
        return Some(("mapping", arn.rsplit(':').next().unwrap_or_default().to_owned()));
    }
    arn.contains(":function:").then(|| ("function", function_name(arn)))
}

/// A function's name out of a name, a partial ARN or an ARN, without its qualifier.
pub fn function_name(text: &str) -> String {
    let tail = text.rsplit_once(":function:").map_or(text, |(_, tail)| tail);
    tail.split(':').next().unwrap_or_default().to_owned()
}

fn last_segment(text: &str) -> String {
    text.rsplit('/').next().unwrap_or_default().to_owned()
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}
