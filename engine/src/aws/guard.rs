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

use crate::schema::{Id, Live, Naming, Ownership, Schema, is_of_team};

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
    /// `dynamodb`, `lambda`, `iam`, `sts`, `tagging`.
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

    /// Takes note of a write that leaves, and that AWS may do.
    pub(super) fn note_write(&self) {
        self.n_writes.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes note that AWS has not done a write.
    pub(super) fn forget_write(&self) {
        self.n_writes.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many writes AWS has done, or may have done.
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
        // A mapping's UUID is AWS's choice, so a read has to vouch for it.
        if *kind != "mapping" && !is_of_team(name, team) {
            return refuse(format!("the {kind} `{name}` does not begin with the team's name `{team}`"));
        }
        if let Some(statement) = request.statement.as_ref().filter(|statement| !is_of_team(statement, team)) {
            return refuse(format!("the statement `{statement}` does not begin with the team's name `{team}`"));
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let key = ((*kind).to_owned(), name.clone());
        // Lifting a function's reserved concurrency deletes no more than a setting.
        let claims = matches!(request.operation.as_str(), "TagResource" | "UntagResource")
            || (request.operation.starts_with("Delete") && request.operation != "DeleteFunctionConcurrency");
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
        Ok(())
    }
}

/// What a request about this resource would name; `None` for what lives in something else.
fn key(schema: &Schema, id: &Id, live: &Live) -> Option<(String, String)> {
    match schema.naming {
        Naming::Own { .. } => Some((schema.kind.to_owned(), id.name.clone())),
        Naming::Assigned => live.incarnation.clone().map(|uuid| (schema.kind.to_owned(), uuid)),
        Naming::Inner { .. } => None,
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
            Some(target) => json_protocol(target, body),
            None if path.starts_with("/20") => lambda(method, path, query, body),
            None => query_protocol(body),
        }
    }
}

fn json_protocol(target: &str, body: &[u8]) -> Option<Request> {
    let target = match target.strip_prefix("DynamoDB_20120810.") {
        Some(operation) => return dynamodb(operation, body),
        None => target.strip_prefix("ResourceGroupsTaggingAPI_20170126.")?,
    };
    let operation = (target == "GetResources").then(|| target.to_owned())?;
    Some(Request { service: "tagging", operation, effect: Effect::Read, target: None, statement: None })
}

fn dynamodb(operation: &str, body: &[u8]) -> Option<Request> {
    let effect = match operation {
        "DescribeTable"
        | "DescribeTimeToLive"
        | "DescribeContinuousBackups"
        | "ListTables"
        | "ListTagsOfResource"
        | "Scan" => Effect::Read,
        "CreateTable" => Effect::Create,
        "UpdateTable"
        | "UpdateTimeToLive"
        | "UpdateContinuousBackups"
        | "DeleteTable"
        | "TagResource"
        | "UntagResource" => Effect::Write,
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
        ("GET", ["functions"]) => ("ListFunctions", Effect::Read, None),
        ("GET", ["functions", name]) => ("GetFunction", Effect::Read, function(name)),
        ("GET", ["functions", name, "policy"]) => ("GetPolicy", Effect::Read, function(name)),
        ("POST", ["functions"]) => {
            ("CreateFunction", Effect::Create, parsed().function_name.as_deref().and_then(function))
        }
        ("PUT", ["functions", name, "code"]) => ("UpdateFunctionCode", Effect::Write, function(name)),
        ("PUT", ["functions", name, "configuration"]) => ("UpdateFunctionConfiguration", Effect::Write, function(name)),
        ("PUT", ["functions", name, "concurrency"]) => ("PutFunctionConcurrency", Effect::Write, function(name)),
        ("DELETE", ["functions", name, "concurrency"]) => ("DeleteFunctionConcurrency", Effect::Write, function(name)),
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::kinds::registry;
    use crate::schema::{Condition, Outputs, Owner};
    use crate::value::Tree;

    const HOST: &str = "https://service.eu-central-1.amazonaws.com";

    fn parse(method: &str, path: &str, target: &str, body: &str) -> Option<Request> {
        let target = (!target.is_empty()).then(|| format!("DynamoDB_20120810.{target}"));
        Request::parse(method, &format!("{HOST}{path}"), target.as_deref(), body.as_bytes())
    }

    /// Method, path and body (or DynamoDB's target and body) as the SDK sends them, and what the guard makes of them.
    #[test]
    fn every_request_of_the_engine_is_understood() {
        use Effect::{Create, Read, Write};
        let arn = "arn:aws:dynamodb:eu-central-1:123456789012:table/a-t";
        let in_table = [
            ("DescribeTable", Read, r#"{"TableName":"a-t"}"#.to_owned()),
            ("DescribeTimeToLive", Read, r#"{"TableName":"a-t"}"#.to_owned()),
            ("DescribeContinuousBackups", Read, r#"{"TableName":"a-t"}"#.to_owned()),
            ("ListTagsOfResource", Read, format!(r#"{{"ResourceArn":"{arn}"}}"#)),
            ("Scan", Read, r#"{"TableName":"a-t","Select":"COUNT","Limit":1}"#.to_owned()),
            ("CreateTable", Create, r#"{"AttributeDefinitions":[],"TableName":"a-t"}"#.to_owned()),
            ("UpdateTable", Write, r#"{"TableName":"a-t","StreamSpecification":{}}"#.to_owned()),
            ("UpdateTimeToLive", Write, r#"{"TableName":"a-t","TimeToLiveSpecification":{}}"#.to_owned()),
            ("UpdateContinuousBackups", Write, r#"{"TableName":"a-t"}"#.to_owned()),
            // An ARN is accepted where a name is.
            ("DeleteTable", Write, format!(r#"{{"TableName":"{arn}"}}"#)),
            ("TagResource", Write, format!(r#"{{"ResourceArn":"{arn}","Tags":[]}}"#)),
            ("UntagResource", Write, format!(r#"{{"ResourceArn":"{arn}","TagKeys":[]}}"#)),
        ];
        for (operation, effect, body) in in_table {
            let request = parse("POST", "/", operation, &body).expect(operation);
            assert_eq!((request.operation.as_str(), request.effect), (operation, effect));
            assert_eq!(request.target, Some(("table", "a-t".to_owned())), "{operation}");
        }
        let list = parse("POST", "/", "ListTables", r#"{"ExclusiveStartTableName":"a-t"}"#).expect("ListTables");
        assert_eq!((list.effect, list.target), (Read, None));
        let function = "arn%3Aaws%3Alambda%3Aeu-central-1%3A123456789012%3Afunction%3Aa-f";
        let mapping = "arn%3Aaws%3Alambda%3Aeu-central-1%3A123456789012%3Aevent-source-mapping%3Au-1";
        let (f, m) = (Some(("function", "a-f")), Some(("mapping", "u-1")));
        let tags = format!("/2017-03-31/tags/{function}");
        let qualified = format!("/2015-03-31/functions/{function}%3Alive");
        let of_mapping = format!("/2017-03-31/tags/{mapping}");
        let mappings = "/2015-03-31/event-source-mappings";
        let create = r#"{"FunctionName":"a-f","EventSourceArn":"arn:…/stream/1"}"#;
        let rest = [
            ("ListFunctions", Read, "GET", "/2015-03-31/functions?Marker=x", "", None),
            ("GetFunction", Read, "GET", "/2015-03-31/functions/a-f", "", f),
            ("GetPolicy", Read, "GET", "/2015-03-31/functions/a-f/policy", "", f),
            ("CreateFunction", Create, "POST", "/2015-03-31/functions", r#"{"FunctionName":"a-f"}"#, f),
            ("UpdateFunctionCode", Write, "PUT", "/2015-03-31/functions/a-f/code", "{}", f),
            ("UpdateFunctionConfiguration", Write, "PUT", "/2015-03-31/functions/a-f/configuration", "{}", f),
            ("PutFunctionConcurrency", Write, "PUT", "/2017-10-31/functions/a-f/concurrency", "{}", f),
            ("DeleteFunctionConcurrency", Write, "DELETE", "/2017-10-31/functions/a-f/concurrency", "", f),
            ("DeleteFunction", Write, "DELETE", "/2015-03-31/functions/a-f", "", f),
            ("DeleteFunction", Write, "DELETE", &qualified, "", f),
            ("AddPermission", Write, "POST", "/2015-03-31/functions/a-f/policy", r#"{"StatementId":"a-s"}"#, f),
            ("RemovePermission", Write, "DELETE", "/2015-03-31/functions/a-f/policy/a-s?RevisionId=1", "", f),
            ("ListEventSourceMappings", Read, "GET", "/2015-03-31/event-source-mappings?FunctionName=a-f", "", f),
            ("ListEventSourceMappings", Read, "GET", "/2015-03-31/event-source-mappings?Marker=x", "", None),
            ("CreateEventSourceMapping", Write, "POST", mappings, create, f),
            ("GetEventSourceMapping", Read, "GET", "/2015-03-31/event-source-mappings/u-1", "", m),
            ("UpdateEventSourceMapping", Write, "PUT", "/2015-03-31/event-source-mappings/u-1", "{}", m),
            ("DeleteEventSourceMapping", Write, "DELETE", "/2015-03-31/event-source-mappings/u-1", "", m),
            ("ListTags", Read, "GET", &of_mapping, "", m),
            ("TagResource", Write, "POST", &of_mapping, "{}", m),
            ("TagResource", Write, "POST", &tags, "{}", f),
            ("UntagResource", Write, "DELETE", &format!("{tags}?tagKeys=x"), "", f),
            ("GetRole", Read, "POST", "/", "Action=GetRole&Version=2010-05-08&RoleName=r", Some(("role", "r"))),
            ("GetCallerIdentity", Read, "POST", "/", "Action=GetCallerIdentity&Version=2011-06-15", None),
        ];
        for (operation, effect, method, path, body, target) in rest {
            let request = parse(method, path, "", body).expect(operation);
            assert_eq!((request.operation.as_str(), request.effect), (operation, effect), "{method} {path}");
            assert_eq!(request.target, target.map(|(kind, name)| (kind, name.to_owned())), "{method} {path}");
            let statement = operation.ends_with("Permission").then(|| "a-s".to_owned());
            assert_eq!(request.statement, statement, "{method} {path}");
        }
    }

    #[test]
    fn a_request_that_the_engine_never_makes_is_not_understood() {
        for (method, path, target, body) in [
            ("POST", "/", "DeleteBackup", r#"{"BackupArn":"x"}"#),
            ("POST", "/", "DeleteItem", r#"{"TableName":"a-t"}"#),
            ("POST", "/", "UpdateTable", "no JSON"),
            ("POST", "/", "", "Action=DeleteRole&RoleName=r"),
            ("POST", "/", "", "Action=AssumeRole&Action=GetRole"),
            ("POST", "/2015-03-31/functions/a-f/invocations", "", "{}"),
            ("PUT", "/2019-09-30/functions/a-f/provisioned-concurrency", "", "{}"),
            ("POST", "/2015-03-31/functions/a-f/aliases", "", "{}"),
            ("PATCH", "/2015-03-31/functions/a-f", "", "{}"),
        ] {
            assert_eq!(parse(method, path, target, body), None, "{method} {path} {target} {body}");
        }
    }

    fn write(kind: &'static str, name: &str, effect: Effect) -> Request {
        Request {
            service: "dynamodb",
            operation: "Op".to_owned(),
            effect,
            target: Some((kind, name.to_owned())),
            statement: None,
        }
    }

    fn owner(team: &str, stack: &str) -> Owner {
        Owner { team: team.to_owned(), stack: stack.to_owned(), resource: "t".to_owned() }
    }

    fn id(name: &str) -> Id {
        Id {
            owner: owner("acme", "s"),
            name: name.to_owned(),
            arn: None,
            anchors: BTreeMap::new(),
            site: None,
            incarnation: None,
        }
    }

    fn live(owner: Ownership) -> Live {
        Live {
            props: Tree::new(),
            outputs: Outputs::new(),
            owner,
            condition: Condition::Settled,
            incarnation: Some("u-1".to_owned()),
            age: crate::schema::Age::default(),
            notes: Vec::new(),
        }
    }

    /// What the guard says about a change of `acme-t` after a read found that owner.
    fn after_reading(owner: Ownership) -> Result<(), String> {
        let guard = Guard::new(Access::Team { team: "acme".to_owned(), assume_owner: false });
        guard.observe(registry()["table"].schema(), &id("acme-t"), &live(owner));
        guard.check(&write("table", "acme-t", Effect::Write)).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn whose_a_thing_is_decides_whether_it_may_be_changed() {
        for ours in [Ownership::Engine(owner("acme", "s")), Ownership::Nobody, Ownership::Denied] {
            assert_eq!(after_reading(ours.clone()), Ok(()), "{ours:?}");
        }
        for (theirs, words) in [
            (Ownership::Engine(owner("acme-extra", "s")), "team `acme-extra`"),
            (Ownership::Engine(owner("acme", "other")), "stack `other`"),
            (Ownership::CloudFormation("cfn".to_owned()), "CloudFormation stack `cfn`"),
            (Ownership::NotYetReadable("x".to_owned()), "its tags can't be read yet"),
        ] {
            let refusal = after_reading(theirs).unwrap_err();
            assert!(refusal.contains(words), "{refusal}");
        }
    }

    #[test]
    fn what_may_not_be_ours_is_changed_but_neither_claimed_nor_deleted() {
        let guard = Guard::new(Access::Team { team: "acme".to_owned(), assume_owner: false });
        guard.observe(registry()["function"].schema(), &id("acme-f"), &live(Ownership::Denied));
        for (operation, allowed) in [
            ("UpdateFunctionCode", true),
            ("PutFunctionConcurrency", true),
            ("DeleteFunctionConcurrency", true),
            ("DeleteFunction", false),
            ("TagResource", false),
            ("UntagResource", false),
        ] {
            let request = Request { operation: operation.to_owned(), ..write("function", "acme-f", Effect::Write) };
            assert_eq!(guard.check(&request).is_ok(), allowed, "{operation}");
        }
    }

    #[test]
    fn a_later_read_can_take_a_thing_away() {
        let guard = Guard::new(Access::Team { team: "acme".to_owned(), assume_owner: false });
        let schema = registry()["table"].schema();
        guard.observe(schema, &id("acme-t"), &live(Ownership::Nobody));
        assert!(guard.check(&write("table", "acme-t", Effect::Write)).is_ok());
        guard.observe(schema, &id("acme-t"), &live(Ownership::Engine(owner("red", "s"))));
        assert!(guard.check(&write("table", "acme-t", Effect::Write)).is_err());
    }

    #[test]
    fn what_nobody_has_read_can_be_made_but_not_changed() {
        let guard = Guard::new(Access::Team { team: "acme".to_owned(), assume_owner: false });
        assert!(guard.check(&write("table", "acme-t", Effect::Write)).is_err());
        assert!(guard.check(&write("table", "acme-t", Effect::Create)).is_ok());
        assert!(guard.check(&write("table", "acme-t", Effect::Write)).is_ok(), "what we made is ours");
        assert!(guard.check(&write("mapping", "u-1", Effect::Write)).is_err());
        guard.observe(registry()["mapping"].schema(), &id("m"), &live(Ownership::Engine(owner("acme", "s"))));
        assert!(guard.check(&write("mapping", "u-1", Effect::Write)).is_ok(), "a read vouches for a UUID");
    }

    #[test]
    fn a_name_must_begin_with_the_whole_team() {
        let guard = Guard::new(Access::Team { team: "acme".to_owned(), assume_owner: false });
        for (name, allowed) in
            [("acme-t", true), ("acme_t", true), ("acme.t", true), ("acmet", false), ("acme", false), ("Acme-t", false)]
        {
            assert_eq!(guard.check(&write("table", name, Effect::Create)).is_ok(), allowed, "{name}");
        }
        let statement = |statement: &str| Request {
            statement: Some(statement.to_owned()),
            ..write("function", "acme-f", Effect::Create)
        };
        assert!(guard.check(&statement("acme-s")).is_ok());
        assert!(guard.check(&statement("red-s")).is_err());
        assert!(guard.check(&statement("")).is_err());
    }

    #[test]
    fn what_is_imported_stays_barred_whatever_a_read_finds() {
        let guard = Guard::new(Access::Team { team: "acme".to_owned(), assume_owner: false });
        let schema = registry()["table"].schema();
        guard.observe_import(schema, &id("acme-t"));
        guard.observe(schema, &id("acme-t"), &live(Ownership::Engine(owner("acme", "s"))));
        for effect in [Effect::Write, Effect::Create] {
            let refusal = guard.check(&write("table", "acme-t", effect)).unwrap_err().to_string();
            assert!(refusal.contains("imported"), "{refusal}");
        }
    }

    #[test]
    fn who_only_reads_writes_nothing() {
        let guard = Guard::new(Access::ReadOnly);
        guard.observe(registry()["table"].schema(), &id("acme-t"), &live(Ownership::Engine(owner("acme", "s"))));
        assert!(guard.check(&write("table", "acme-t", Effect::Read)).is_ok());
        assert!(guard.check(&write("table", "acme-t", Effect::Create)).is_err());
        assert!(guard.check(&write("table", "acme-t", Effect::Write)).is_err());
    }
}
