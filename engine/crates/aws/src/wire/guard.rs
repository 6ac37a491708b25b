//! The guard: checks every request right before it is sent to AWS.
//!
//! It allows reads, and a write only to a resource of this team: its name starts with the team's name, a read in this
//! run showed no other owner, and it is not imported. The prefix alone is no proof: `acme-extra-todos` may belong to
//! team `acme-extra`. A mapping has no name and its tags are easily copied, so the function that it is attached to must
//! belong to the team too.
//!
//! **Invariant:** it trusts only the request and AWS's responses, never what a kind says that it is about to do. An
//! unknown request is refused.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use percent_encoding::percent_decode_str;
use serde::Deserialize;

use crate::ownership::{OwnershipVerdict, UnreadableTags};
use crate::schema::{Id, Live, Naming, Schema, Site, is_of_team};

/// What a run is allowed to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Reads only (`diff`).
    ReadOnly,
    /// Writes to resources of this team.
    Team {
        /// The team.
        team: String,
        /// Whether to assume ownership by name if tags can't be read (`--assume-owner`).
        assume_owner: bool,
    },
    /// Writes only to single items of this team's tables (`verify`).
    Items {
        /// The team.
        team: String,
    },
}

/// What this run knows about resources.
#[derive(Debug)]
pub struct Guard {
    access: Access,
    site: Mutex<Option<(String, String)>>,
    known: Mutex<HashMap<(String, String), Standing>>,
    /// The name of the function that each mapping is attached to, by UUID, from AWS's responses.
    parents: Mutex<HashMap<String, String>>,
    /// Resources that AWS refused to create and that were not read since.
    refused: Mutex<HashSet<(String, String)>>,
    n_writes: AtomicUsize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    /// Owned by this stack, or without an owner.
    Writable,
    /// It has the right name, but its tags can't be read: it can be updated, but not tagged or deleted.
    Unproven,
    /// Not owned by this stack; the reason.
    Barred(String),
    /// The same, and not owned by the team either: resources attached to it are barred too.
    Foreign(String),
    /// Imported by the spec, regardless of its owner.
    Imported,
}

/// Why a request was not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal(String);

impl Refusal {
    /// The refusal of a request that the guard can't parse.
    pub fn unknown(method: &str, uri: &str) -> Refusal {
        let path = uri.split('?').next().unwrap_or_default();
        Refusal(format!("the guard blocked an unknown request: {method} {path}"))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

/// The parts of a request that the guard checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `dynamodb`, `lambda`, `iam`, `logs`, `sts`, `tagging`.
    pub service: &'static str,
    /// The API operation.
    pub operation: String,
    /// Its effect.
    pub effect: Effect,
    /// The kind and name (or UUID) of its resource, if it names one.
    pub target: Option<(&'static str, String)>,
    /// Region and account, if the target is an ARN.
    pub place: Option<(String, String)>,
    /// The statement ID, for permissions.
    pub statement: Option<String>,
}

/// The effect of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Changes nothing.
    Read,
    /// Creates the target.
    Create,
    /// Changes or deletes the target or something in it.
    Write,
    /// Writes or deletes one item in the target.
    Item,
}

/// Every operation that engine uses, by service, with its effect. An operation that isn't listed can't be sent. Lambda
/// and DynamoDB both have a `TagResource`.
pub const OPERATIONS: [(&str, &str, Effect); 45] = [
    ("dynamodb", "CreateTable", Effect::Create),
    ("dynamodb", "DeleteItem", Effect::Item),
    ("dynamodb", "DeleteTable", Effect::Write),
    ("dynamodb", "DescribeContinuousBackups", Effect::Read),
    ("dynamodb", "DescribeTable", Effect::Read),
    ("dynamodb", "DescribeTimeToLive", Effect::Read),
    ("dynamodb", "ListTables", Effect::Read),
    ("dynamodb", "ListTagsOfResource", Effect::Read),
    ("dynamodb", "PutItem", Effect::Item),
    ("dynamodb", "Scan", Effect::Read),
    ("dynamodb", "TagResource", Effect::Write),
    ("dynamodb", "UntagResource", Effect::Write),
    ("dynamodb", "UpdateContinuousBackups", Effect::Write),
    ("dynamodb", "UpdateItem", Effect::Item),
    ("dynamodb", "UpdateTable", Effect::Write),
    ("dynamodb", "UpdateTimeToLive", Effect::Write),
    ("iam", "GetPolicy", Effect::Read),
    ("iam", "GetPolicyVersion", Effect::Read),
    ("iam", "GetRole", Effect::Read),
    ("iam", "GetRolePolicy", Effect::Read),
    ("iam", "ListAttachedRolePolicies", Effect::Read),
    ("iam", "ListRolePolicies", Effect::Read),
    ("iam", "SimulatePrincipalPolicy", Effect::Read),
    ("lambda", "AddPermission", Effect::Write),
    // A mapping belongs to the function that it invokes.
    ("lambda", "CreateEventSourceMapping", Effect::Write),
    ("lambda", "CreateFunction", Effect::Create),
    ("lambda", "DeleteEventSourceMapping", Effect::Write),
    ("lambda", "DeleteFunction", Effect::Write),
    ("lambda", "DeleteFunctionConcurrency", Effect::Write),
    ("lambda", "GetEventSourceMapping", Effect::Read),
    ("lambda", "GetFunction", Effect::Read),
    ("lambda", "GetPolicy", Effect::Read),
    ("lambda", "ListEventSourceMappings", Effect::Read),
    ("lambda", "ListFunctions", Effect::Read),
    ("lambda", "ListTags", Effect::Read),
    ("lambda", "PutFunctionConcurrency", Effect::Write),
    ("lambda", "RemovePermission", Effect::Write),
    ("lambda", "TagResource", Effect::Write),
    ("lambda", "UntagResource", Effect::Write),
    ("lambda", "UpdateEventSourceMapping", Effect::Write),
    ("lambda", "UpdateFunctionCode", Effect::Write),
    ("lambda", "UpdateFunctionConfiguration", Effect::Write),
    ("logs", "FilterLogEvents", Effect::Read),
    ("sts", "GetCallerIdentity", Effect::Read),
    ("tagging", "GetResources", Effect::Read),
];

/// Whether an operation with that name can change something.
pub(crate) fn changes(operation: &str) -> bool {
    OPERATIONS.iter().any(|(_, name, effect)| *name == operation && *effect != Effect::Read)
}

/// The permission that an operation requires, with its service
/// (docs.aws.amazon.com/service-authorization/latest/reference); two if two services have an operation with that name.
pub(crate) fn permission(operation: &str) -> String {
    let of = OPERATIONS.iter().filter(|(_, name, _)| *name == operation).map(|(service, ..)| match *service {
        "tagging" => format!("tag:{operation}"),
        service => format!("{service}:{operation}"),
    });
    match of.collect::<Vec<_>>() {
        none if none.is_empty() => operation.to_owned(),
        some => some.join("` or `"),
    }
}

/// The kind of an operation and its page in AWS's API reference; `None` if it isn't an AWS operation.
pub(crate) fn page(operation: &str) -> Option<(Option<&'static str>, String)> {
    let mut services = OPERATIONS.iter().filter(|(_, name, _)| *name == operation).map(|(service, ..)| service);
    // Ambiguous if two services have an operation with that name.
    let (Some(service), None) = (services.next(), services.next()) else { return None };
    let kind = match *service {
        "dynamodb" => Some("table"),
        "lambda" if operation.contains("EventSourceMapping") => Some("mapping"),
        "lambda" if operation.contains("Permission") => Some("permission"),
        "lambda" => Some("function"),
        "iam" => Some("role"),
        _ => None,
    };
    let folder = match *service {
        "dynamodb" => "amazondynamodb/latest/APIReference",
        "lambda" => "lambda/latest/api",
        "iam" => "IAM/latest/APIReference",
        "sts" => "STS/latest/APIReference",
        "logs" => "AmazonCloudWatchLogs/latest/APIReference",
        "tagging" => "resourcegroupstagging/latest/APIReference",
        _ => return None,
    };
    Some((kind, format!("https://docs.aws.amazon.com/{folder}/API_{operation}.html")))
}

impl Guard {
    /// A guard without any knowledge.
    pub fn new(access: Access) -> Guard {
        Guard {
            access,
            site: Mutex::default(),
            known: Mutex::default(),
            parents: Mutex::default(),
            refused: Mutex::default(),
            n_writes: AtomicUsize::new(0),
        }
    }

    /// Records region and account of the run: an ARN may name a resource with the same name elsewhere.
    pub fn observe_site(&self, site: &Site) {
        *self.site.lock().unwrap_or_else(PoisonError::into_inner) = Some((site.region.clone(), site.account.clone()));
    }

    /// Records what a read of a *managed* declaration found.
    pub fn observe(&self, schema: &Schema, id: &Id, live: &Live) {
        let standing = match OwnershipVerdict::of(&live.owner, None, &id.owner) {
            OwnershipVerdict::Owned | OwnershipVerdict::Renamed(_) | OwnershipVerdict::Free => Standing::Writable,
            OwnershipVerdict::Unknown(UnreadableTags::Unsupported) => Standing::Writable,
            OwnershipVerdict::OtherStack(owner) => Standing::Barred(format!("it belongs to {owner}")),
            OwnershipVerdict::Foreign(owner) => Standing::Foreign(format!("it belongs to {owner}")),
            OwnershipVerdict::Unknown(UnreadableTags::NotYet(_)) => {
                Standing::Barred("its tags can't be read yet".to_owned())
            }
            OwnershipVerdict::Unknown(UnreadableTags::Denied) => Standing::Unproven,
        };
        if let Some(key) = key(schema, id, live) {
            self.know(key, standing);
        }
    }

    /// Records that a read found nothing: earlier knowledge was about a resource that no longer exists.
    pub fn observe_absence(&self, schema: &Schema, id: &Id) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (schema.kind.to_string(), id.name.clone());
        if known.get(&key) != Some(&Standing::Imported) {
            known.remove(&key);
        }
    }

    /// Records that the spec imports a resource.
    pub fn observe_import(&self, kind: &str, name: &str) {
        self.know((kind.to_owned(), name.to_owned()), Standing::Imported);
    }

    /// Records which functions mappings are attached to, from a response that shows it.
    pub(crate) fn observe_answer(&self, request: &Request, body: &[u8]) {
        let Ok(answer) = serde_json::from_slice::<Mapping>(body) else { return };
        let mut parents = self.parents.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = request.target.as_ref().filter(|(kind, _)| *kind == "mapping").map(|(_, uuid)| uuid.clone());
        let Mapping { mappings, uuid, function_arn } = answer;
        let one = uuid.or(asked).map(|uuid| (uuid, function_arn));
        let several = mappings.into_iter().filter_map(|it| Some((it.uuid?, it.function_arn)));
        for (uuid, function) in one.into_iter().chain(several) {
            match function.map(|arn| function_name(&arn)).filter(|name| !name.is_empty()) {
                Some(name) => drop(parents.insert(uuid, name)),
                None => drop(parents.remove(&uuid)),
            }
        }
    }

    /// Records that AWS refused a request. After a refused create, another owner's resource may exist, so it doesn't
    /// count as owned.
    pub(crate) fn note_refused(&self, request: &Request) {
        if request.effect != Effect::Read {
            self.n_writes.fetch_sub(1, Ordering::Relaxed);
        }
        let Some((kind, name)) = request.target.clone().filter(|_| request.effect == Effect::Create) else { return };
        let key = (kind.to_owned(), name);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.get(&key) != Some(&Standing::Imported) {
            known.remove(&key);
        }
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
    }

    /// Records that a read found this stack's resource after AWS refused to create it.
    pub(crate) fn observe_ours(&self, name: &str) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let ours: Vec<(String, String)> = refused.extract_if(|(_, refused)| refused == name).collect();
        drop(refused);
        ours.into_iter().for_each(|key| self.know(key, Standing::Writable));
    }

    /// Records a write that is being sent.
    pub(crate) fn note_write(&self) {
        self.n_writes.fetch_add(1, Ordering::Relaxed);
    }

    /// The number of writes that AWS carried out or may have carried out.
    pub fn n_writes(&self) -> usize {
        self.n_writes.load(Ordering::Relaxed)
    }

    fn know(&self, key: (String, String), standing: Standing) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.get(&key) != Some(&Standing::Imported) {
            known.insert(key, standing);
        }
    }

    /// Checks whether the request can be sent.
    ///
    /// # Errors
    /// The reason why not.
    pub fn check(&self, request: &Request) -> Result<(), Refusal> {
        if request.effect == Effect::Read {
            return Ok(());
        }
        let refuse = |why: String| Err(Refusal(format!("the guard blocked `{}`: {why}", request.operation)));
        let (team, assume_owner) = match (&self.access, request.effect) {
            (Access::ReadOnly, _) => return refuse("this command is read-only".to_owned()),
            (Access::Items { .. }, effect) if effect != Effect::Item => {
                return refuse("this command writes only items".to_owned());
            }
            (Access::Team { .. }, Effect::Item) => return refuse("this command doesn't write items".to_owned()),
            (Access::Items { team }, _) => (team, false),
            (Access::Team { team, assume_owner }, _) => (team, *assume_owner),
        };
        let Some((kind, name)) = &request.target else {
            return refuse("it doesn't name the resource that it would change".to_owned());
        };
        // AWS chooses a mapping's UUID, so only a read can show its owner.
        if *kind != "mapping" && !is_of_team(name, team) {
            return refuse(format!("the name of the {kind} `{name}` doesn't start with the team's name `{team}`"));
        }
        if request.place.is_some() && request.place != *self.site.lock().unwrap_or_else(PoisonError::into_inner) {
            return refuse(format!("the {kind} `{name}` is in another account or region"));
        }
        if let Some(statement) = request.statement.as_ref().filter(|statement| !is_of_team(statement, team)) {
            return refuse(format!("the statement ID `{statement}` doesn't start with the team's name `{team}`"));
        }
        if *kind == "mapping"
            && let Some(why) = self.barred_parent(name, team)
        {
            return refuse(why);
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let key = ((*kind).to_owned(), name.clone());
        // Deleting reserved concurrency removes only a setting, and deleting an item keeps its table.
        let claims = matches!(request.operation.as_str(), "TagResource" | "UntagResource")
            || (request.effect != Effect::Item
                && request.operation.starts_with("Delete")
                && request.operation != "DeleteFunctionConcurrency");
        match (known.get(&key), request.effect) {
            (Some(Standing::Barred(reason) | Standing::Foreign(reason)), _) => {
                return refuse(format!("the {kind} `{name}` isn't owned by this stack: {reason}"));
            }
            (Some(Standing::Imported), _) => {
                return refuse(format!("the {kind} `{name}` is imported, and engine never changes imported resources"));
            }
            (Some(Standing::Unproven), _) if claims && !assume_owner => {
                return refuse(format!(
                    "you lack permission to read the tags of the {kind} `{name}`, so engine can't confirm that this stack \
                     owns it"
                ));
            }
            (Some(Standing::Writable | Standing::Unproven), _) => {}
            (None, Effect::Create) => drop(known.insert(key, Standing::Writable)),
            (None, _) => return refuse(format!("no read in this run showed who owns the {kind} `{name}`")),
        }
        Ok(())
    }

    /// Why a mapping can't be written because of the function that it is attached to. A deleted function is no obstacle.
    fn barred_parent(&self, uuid: &str, team: &str) -> Option<String> {
        let parents = self.parents.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(function) = parents.get(uuid) else {
            return Some(format!("no read in this run showed which function the mapping `{uuid}` is attached to"));
        };
        let of = format!("the mapping `{uuid}` is attached to the function `{function}`");
        if !is_of_team(function, team) {
            return Some(format!("{of}, whose name doesn't start with the team's name `{team}`"));
        }
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get(&("function".to_owned(), function.clone())) {
            Some(Standing::Imported) => {
                Some(format!("{of}, which is imported, and engine never changes imported resources"))
            }
            Some(Standing::Foreign(reason)) => Some(format!("{of}, and {reason}")),
            _ => None,
        }
    }
}

/// The kind and name in a request for this resource; `None` for resources nested in another one.
fn key(schema: &Schema, id: &Id, live: &Live) -> Option<(String, String)> {
    match schema.naming {
        Naming::Own { .. } => Some((schema.kind.to_string(), id.name.clone())),
        Naming::Assigned => live.incarnation.clone().map(|uuid| (schema.kind.to_string(), uuid)),
        Naming::Inner { .. } => None,
    }
}

/// The fields of request bodies that name the resource. A duplicate field makes the body unreadable.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Body {
    table_name: Option<String>,
    resource_arn: Option<String>,
    function_name: Option<String>,
    statement_id: Option<String>,
}

/// Lambda's response about one or several mappings
/// (docs.aws.amazon.com/lambda/latest/api/API_EventSourceMappingConfiguration.html).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Mapping {
    #[serde(rename = "EventSourceMappings")]
    mappings: Vec<Mapping>,
    #[serde(rename = "UUID")]
    uuid: Option<String>,
    #[serde(rename = "FunctionArn")]
    function_arn: Option<String>,
}

/// The resource of a request: kind, name or UUID, and region and account if it is an ARN.
type Target = (&'static str, String, Option<(String, String)>);

impl Request {
    /// Whether its response shows which functions mappings are attached to.
    pub(crate) fn shows_parents(&self) -> bool {
        matches!(self.operation.as_str(), "GetEventSourceMapping" | "ListEventSourceMappings")
    }

    /// Parses a request as it is sent; `None` if engine never makes it.
    pub fn parse(method: &str, uri: &str, target: Option<&str>, body: &[u8]) -> Option<Request> {
        let path = uri.split_once("://").map_or(uri, |(_, rest)| rest.find('/').map_or("/", |slash| &rest[slash..]));
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        match target {
            None if path.starts_with("/20") => lambda(method, path, query, body),
            // Anything outside of the body could make AWS read the request differently than this code.
            _ if method != "POST" || path != "/" || !query.is_empty() => None,
            Some(target) => json_protocol(target, body),
            None => query_protocol(body),
        }
    }

    fn known(
        service: &'static str,
        operation: &str,
        target: Option<Target>,
        statement: Option<String>,
    ) -> Option<Request> {
        let (.., effect) = OPERATIONS.iter().find(|(of, name, _)| (*of, *name) == (service, operation))?;
        let (target, place) = match target {
            Some((kind, name, place)) => (Some((kind, name)), place),
            None => (None, None),
        };
        Some(Request { service, operation: operation.to_owned(), effect: *effect, target, place, statement })
    }
}

fn json_protocol(target: &str, body: &[u8]) -> Option<Request> {
    if let Some(operation) = target.strip_prefix("DynamoDB_20120810.") {
        let body: Body = serde_json::from_slice(body).ok()?;
        // Each operation has one of the two fields.
        let tags = matches!(operation, "TagResource" | "UntagResource" | "ListTagsOfResource");
        let named = if tags { body.resource_arn } else { body.table_name };
        let target = match named {
            Some(name) => Some(table(&name)?),
            None => None,
        };
        return Request::known("dynamodb", operation, target, None);
    }
    if let Some(operation) = target.strip_prefix("Logs_20140328.") {
        return Request::known("logs", operation, None, None);
    }
    Request::known("tagging", target.strip_prefix("ResourceGroupsTaggingAPI_20170126.")?, None, None)
}

/// Paths as in docs.aws.amazon.com/lambda/latest/api/API_Operations.html.
fn lambda(method: &str, path: &str, query: &str, body: &[u8]) -> Option<Request> {
    let segments: Vec<String> = path.split('/').skip(2).filter(|segment| !segment.is_empty()).map(decode).collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let parsed = || if body.is_empty() { Some(Body::default()) } else { serde_json::from_slice::<Body>(body).ok() };
    let mapping = |uuid: &str| ("mapping", uuid.to_owned(), None);
    let mut statement = None;
    let (operation, target) = match (method, segments.as_slice()) {
        ("GET", ["functions"]) => ("ListFunctions", None),
        ("GET", ["functions", name]) => ("GetFunction", Some(function(name)?)),
        ("GET", ["functions", name, "policy"]) => ("GetPolicy", Some(function(name)?)),
        ("POST", ["functions"]) => ("CreateFunction", Some(function(&parsed()?.function_name?)?)),
        ("PUT", ["functions", name, "code"]) => ("UpdateFunctionCode", Some(function(name)?)),
        ("PUT", ["functions", name, "configuration"]) => ("UpdateFunctionConfiguration", Some(function(name)?)),
        ("PUT", ["functions", name, "concurrency"]) => ("PutFunctionConcurrency", Some(function(name)?)),
        ("DELETE", ["functions", name, "concurrency"]) => ("DeleteFunctionConcurrency", Some(function(name)?)),
        ("DELETE", ["functions", name]) => ("DeleteFunction", Some(function(name)?)),
        ("POST", ["functions", name, "policy"]) => {
            statement = Some(parsed()?.statement_id?);
            ("AddPermission", Some(function(name)?))
        }
        ("DELETE", ["functions", name, "policy", id]) => {
            statement = Some((*id).to_owned());
            ("RemovePermission", Some(function(name)?))
        }
        ("GET", ["event-source-mappings"]) => {
            let name = query.split('&').find_map(|pair| pair.strip_prefix("FunctionName=")).map(decode);
            ("ListEventSourceMappings", name.as_deref().and_then(function))
        }
        ("GET", ["event-source-mappings", uuid]) => ("GetEventSourceMapping", Some(mapping(uuid))),
        ("POST", ["event-source-mappings"]) => ("CreateEventSourceMapping", Some(function(&parsed()?.function_name?)?)),
        // With a function in the body, it would attach the mapping to that one.
        ("PUT", ["event-source-mappings", uuid]) if parsed()?.function_name.is_none() => {
            ("UpdateEventSourceMapping", Some(mapping(uuid)))
        }
        ("DELETE", ["event-source-mappings", uuid]) => ("DeleteEventSourceMapping", Some(mapping(uuid))),
        ("GET", ["tags", arn]) => ("ListTags", Some(tagged(arn)?)),
        ("POST", ["tags", arn]) => ("TagResource", Some(tagged(arn)?)),
        ("DELETE", ["tags", arn]) => ("UntagResource", Some(tagged(arn)?)),
        _ => return None,
    };
    Request::known("lambda", operation, target, statement)
}

/// IAM and STS: only reads are known, so every other call is refused.
fn query_protocol(body: &[u8]) -> Option<Request> {
    let body = std::str::from_utf8(body).ok()?;
    let pairs: Vec<(String, String)> = body
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (decode(key), decode(value)))
        .collect();
    let field = |name: &str| {
        let mut found = pairs.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone());
        // With duplicates, it is unclear which one AWS uses.
        found.next().filter(|_| found.next().is_none())
    };
    match field("Action")?.as_str() {
        "GetCallerIdentity" => Request::known("sts", "GetCallerIdentity", None, None),
        action => Request::known("iam", action, field("RoleName").map(|name| ("role", name, None)), None),
    }
}

/// Region, account and resource of an ARN of that service.
fn arn<'a>(text: &'a str, service: &str) -> Option<((String, String), &'a str)> {
    let mut fields = text.splitn(6, ':');
    let (marker, _partition, of) = (fields.next()?, fields.next()?, fields.next()?);
    let (region, account, resource) = (fields.next()?, fields.next()?, fields.next()?);
    (marker == "arn" && of == service).then(|| ((region.to_owned(), account.to_owned()), resource))
}

/// A table by name or ARN; nested resources like streams are never written.
fn table(text: &str) -> Option<Target> {
    let (place, name) = match arn(text, "dynamodb") {
        Some((place, resource)) => (Some(place), resource.strip_prefix("table/")?),
        None => (None, text),
    };
    is_name(name, &['-', '_', '.']).then(|| ("table", name.to_owned(), place))
}

/// A function by name, partial ARN or ARN, each with or without a qualifier
/// (docs.aws.amazon.com/lambda/latest/api/API_GetFunction.html).
fn function(text: &str) -> Option<Target> {
    let (place, name) = match arn(text, "lambda") {
        Some((place, resource)) => (Some(place), resource.strip_prefix("function:")?),
        None => (None, text),
    };
    let (name, qualifier) = name.split_once(':').unwrap_or((name, ""));
    // A partial ARN is refused, because its account can't be compared.
    let is_fine = is_name(name, &['-', '_']) && !qualifier.contains(':') && qualifier != "function";
    is_fine.then(|| ("function", name.to_owned(), place))
}

/// Whether AWS treats it as a plain name; it may interpret anything else differently.
fn is_name(text: &str, marks: &[char]) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || marks.contains(&c))
}

fn tagged(text: &str) -> Option<Target> {
    let (place, resource) = arn(text, "lambda")?;
    match resource.strip_prefix("event-source-mapping:") {
        Some(uuid) => (!uuid.contains(':')).then(|| ("mapping", uuid.to_owned(), Some(place))),
        None => function(text),
    }
}

/// A function's name from a name, a partial ARN or an ARN, without qualifier.
pub fn function_name(text: &str) -> String {
    let tail = text.rsplit_once(":function:").map_or(text, |(_, tail)| tail);
    tail.split(':').next().unwrap_or_default().to_owned()
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::kinds;
    use crate::schema::{Condition, Outputs, Owner, Ownership};
    use crate::value::Tree;

    const HOST: &str = "https://service.eu-central-1.amazonaws.com";

    fn parse(method: &str, path: &str, target: &str, body: &str) -> Option<Request> {
        let target = (!target.is_empty()).then(|| format!("DynamoDB_20120810.{target}"));
        Request::parse(method, &format!("{HOST}{path}"), target.as_deref(), body.as_bytes())
    }

    /// Method, path and body (or DynamoDB's target and body) as the SDK sends them, and the parsed request.
    #[test]
    fn every_request_that_engine_makes_is_parsed() {
        use Effect::{Create, Item, Read, Write};
        let arn = "arn:aws:dynamodb:eu-central-1:123456789012:table/a-t";
        let in_table = [
            ("DescribeTable", Read, r#"{"TableName":"a-t"}"#.to_owned()),
            ("DescribeTimeToLive", Read, r#"{"TableName":"a-t"}"#.to_owned()),
            ("DescribeContinuousBackups", Read, r#"{"TableName":"a-t"}"#.to_owned()),
            ("ListTagsOfResource", Read, format!(r#"{{"ResourceArn":"{arn}"}}"#)),
            ("Scan", Read, r#"{"TableName":"a-t","Select":"COUNT","Limit":1}"#.to_owned()),
            ("PutItem", Item, r#"{"TableName":"a-t","Item":{"id":{"S":"1"}}}"#.to_owned()),
            ("UpdateItem", Item, r#"{"TableName":"a-t","Key":{"id":{"S":"1"}}}"#.to_owned()),
            ("DeleteItem", Item, r#"{"TableName":"a-t","Key":{"id":{"S":"1"}}}"#.to_owned()),
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
            ("ListRolePolicies", Read, "POST", "/", "Action=ListRolePolicies&RoleName=r", Some(("role", "r"))),
            ("SimulatePrincipalPolicy", Read, "POST", "/", "Action=SimulatePrincipalPolicy&PolicySourceArn=x", None),
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
    fn a_request_that_engine_never_makes_is_refused() {
        for (method, path, target, body) in [
            ("POST", "/", "DeleteBackup", r#"{"BackupArn":"x"}"#),
            ("POST", "/", "BatchWriteItem", r#"{"RequestItems":{}}"#),
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
            place: None,
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
            revision: None,
            age: crate::schema::Age::default(),
            notes: Vec::new(),
            unknown: crate::schema::Unknown::new(),
        }
    }

    /// The guard's decision about a change of `acme-t` after a read found that owner.
    fn after_reading(owner: Ownership) -> Result<(), String> {
        let guard = Guard::new(Access::Team { team: "acme".to_owned(), assume_owner: false });
        guard.observe(kinds::all().get("table").unwrap().schema(), &id("acme-t"), &live(owner));
        guard.check(&write("table", "acme-t", Effect::Write)).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn only_the_command_for_items_writes_items() {
        let team = "acme".to_owned();
        let item = write("table", "acme-t", Effect::Item);
        for (access, may_item, may_write) in [
            (Access::ReadOnly, false, false),
            (Access::Team { team: team.clone(), assume_owner: true }, false, true),
            (Access::Items { team }, true, false),
        ] {
            let guard = Guard::new(access.clone());
            guard.observe(kinds::all().get("table").unwrap().schema(), &id("acme-t"), &live(Ownership::Nobody));
            assert_eq!(guard.check(&item).is_ok(), may_item, "{access:?}");
            assert_eq!(guard.check(&write("table", "acme-t", Effect::Write)).is_ok(), may_write, "{access:?}");
            assert!(guard.check(&write("table", "acme-x", Effect::Item)).is_err(), "it was never read");
        }
    }

    #[test]
    fn the_owner_decides_whether_a_resource_can_change() {
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
    fn a_resource_with_unreadable_tags_is_updated_but_neither_tagged_nor_deleted() {
        let guard = Guard::new(Access::Team { team: "acme".to_owned(), assume_owner: false });
        guard.observe(kinds::all().get("function").unwrap().schema(), &id("acme-f"), &live(Ownership::Denied));
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
    fn a_later_read_can_show_another_owner() {
        let guard = Guard::new(Access::Team { team: "acme".to_owned(), assume_owner: false });
        let kinds = kinds::all();
        let schema = kinds.get("table").unwrap().schema();
        guard.observe(schema, &id("acme-t"), &live(Ownership::Nobody));
        assert!(guard.check(&write("table", "acme-t", Effect::Write)).is_ok());
        guard.observe(schema, &id("acme-t"), &live(Ownership::Engine(owner("red", "s"))));
        assert!(guard.check(&write("table", "acme-t", Effect::Write)).is_err());
    }

    #[test]
    fn a_resource_that_was_not_read_can_be_created_but_not_changed() {
        let guard = Guard::new(Access::Team { team: "acme".to_owned(), assume_owner: false });
        assert!(guard.check(&write("table", "acme-t", Effect::Write)).is_err());
        assert!(guard.check(&write("table", "acme-t", Effect::Create)).is_ok());
        assert!(guard.check(&write("table", "acme-t", Effect::Write)).is_ok(), "it was created in this run");
        assert!(guard.check(&write("mapping", "u-1", Effect::Write)).is_err());
        guard.observe(
            kinds::all().get("mapping").unwrap().schema(),
            &id("m"),
            &live(Ownership::Engine(owner("acme", "s"))),
        );
        answer(&guard, "u-1", "acme-f");
        assert!(guard.check(&write("mapping", "u-1", Effect::Write)).is_ok(), "a read showed its owner");
    }

    #[test]
    fn after_a_refused_create_only_a_read_proves_ownership() {
        let guard = Guard::new(Access::Team { team: "acme".to_owned(), assume_owner: false });
        let create = write("table", "acme-t", Effect::Create);
        assert!(guard.check(&create).is_ok());
        guard.note_refused(&create);
        assert!(guard.check(&write("table", "acme-t", Effect::Write)).is_err());
        guard.observe_ours("acme-u");
        assert!(guard.check(&write("table", "acme-t", Effect::Write)).is_err());
        guard.observe_ours("acme-t");
        assert!(guard.check(&write("table", "acme-t", Effect::Write)).is_ok());
    }

    #[test]
    fn an_arn_in_another_account_or_region_is_refused() {
        let guard = Guard::new(Access::Team { team: "acme".to_owned(), assume_owner: false });
        let request = |region: &str, account: &str| Request {
            place: Some((region.to_owned(), account.to_owned())),
            ..write("table", "acme-t", Effect::Create)
        };
        assert!(guard.check(&request("eu-central-1", "123456789012")).is_err(), "region and account aren't known yet");
        guard.observe_site(&Site::new("eu-central-1", "123456789012"));
        assert!(guard.check(&request("eu-central-1", "123456789012")).is_ok());
        assert!(guard.check(&request("eu-west-1", "123456789012")).is_err());
        assert!(guard.check(&request("eu-central-1", "210987654321")).is_err());
    }

    #[test]
    fn a_name_must_start_with_the_whole_team_name() {
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
    fn an_imported_resource_stays_barred_whatever_a_read_finds() {
        let guard = Guard::new(Access::Team { team: "acme".to_owned(), assume_owner: false });
        let kinds = kinds::all();
        let schema = kinds.get("table").unwrap().schema();
        guard.observe_import("table", "acme-t");
        guard.observe(schema, &id("acme-t"), &live(Ownership::Engine(owner("acme", "s"))));
        for effect in [Effect::Write, Effect::Create] {
            let refusal = guard.check(&write("table", "acme-t", effect)).unwrap_err().to_string();
            assert!(refusal.contains("imported"), "{refusal}");
        }
    }

    /// GetEventSourceMapping's response for a mapping that is attached to a function.
    fn answer(guard: &Guard, uuid: &str, function: &str) {
        let path = format!("/2015-03-31/event-source-mappings/{uuid}");
        let request = parse("GET", &path, "", "").unwrap();
        assert!(request.shows_parents());
        let arn = format!("arn:aws:lambda:eu-central-1:123456789012:function:{function}");
        let body = serde_json::json!({ "UUID": uuid, "FunctionArn": arn, "BatchSize": 1 });
        guard.observe_answer(&request, body.to_string().as_bytes());
    }

    /// Every write to a mapping and to a function's policy and mappings, for each kind of owner.
    #[test]
    fn mappings_and_permissions_are_written_only_if_the_team_owns_the_function() {
        let arn = |resource: &str| format!("arn%3Aaws%3Alambda%3Aeu-central-1%3A123456789012%3A{resource}");
        let tags = format!("/2017-03-31/tags/{}", arn("event-source-mapping%3Au-1"));
        let mapping = "/2015-03-31/event-source-mappings/u-1";
        let on_mapping = [
            ("PUT", mapping.to_owned(), "{}".to_owned()),
            ("DELETE", mapping.to_owned(), String::new()),
            ("POST", tags.clone(), "{}".to_owned()),
            ("DELETE", format!("{tags}?tagKeys=x"), String::new()),
        ];
        let on_function = |function: &str| {
            let (policy, create) =
                (format!("/2015-03-31/functions/{function}/policy"), "/2015-03-31/event-source-mappings".to_owned());
            [
                ("POST", policy.clone(), r#"{"StatementId":"acme-s"}"#.to_owned()),
                ("DELETE", format!("{policy}/acme-s"), String::new()),
                ("POST", create, format!(r#"{{"FunctionName":"{function}"}}"#)),
            ]
        };
        let ours = Some(Ownership::Engine(owner("acme", "s")));
        let theirs = Some(Ownership::Engine(owner("acme-extra", "s")));
        let by_cloudformation = Some(Ownership::CloudFormation("cfn".to_owned()));
        let parents = [
            ("acme-f", ours.clone(), false, true, "own"),
            ("acme-f", Some(Ownership::Denied), false, true, "own, according to its name"),
            ("acme-f", ours, true, false, "imported, with the team's prefix"),
            ("billing-f", None, true, false, "imported"),
            ("billing-f", None, false, false, "another team's by its name"),
            ("Acme-f", None, false, false, "another team's, by case"),
            ("acme-extra-f", theirs, false, false, "another team's by its tags"),
            ("acme-f", by_cloudformation, false, false, "CloudFormation's"),
        ];
        for (function, owned, is_imported, allowed, whose) in parents {
            let guard = Guard::new(Access::Team { team: "acme".to_owned(), assume_owner: false });
            guard.observe_site(&Site::new("eu-central-1", "123456789012"));
            guard.observe(
                kinds::all().get("mapping").unwrap().schema(),
                &id("m"),
                &live(Ownership::Engine(owner("acme", "s"))),
            );
            if is_imported {
                guard.observe_import("function", function);
            }
            if let Some(owner) = owned {
                guard.observe(kinds::all().get("function").unwrap().schema(), &id(function), &live(owner));
            }
            let check = |(method, path, body): &(&str, String, String)| {
                let request = parse(method, path, "", body).expect(path);
                guard.check(&request).map_err(|refusal| refusal.to_string())
            };
            for write in &on_mapping {
                let refusal = check(write).expect_err("it was not read yet");
                assert!(refusal.contains("which function"), "{refusal}");
            }
            answer(&guard, "u-1", &format!("{function}:live"));
            for write in on_mapping.iter().chain(&on_function(function)) {
                assert_eq!(check(write).is_ok(), allowed, "{whose}: {write:?}: {:?}", check(write));
            }
        }
        // A deleted function doesn't block the deletion of its mappings.
        let guard = Guard::new(Access::Team { team: "acme".to_owned(), assume_owner: false });
        guard.observe(
            kinds::all().get("mapping").unwrap().schema(),
            &id("m"),
            &live(Ownership::Engine(owner("acme", "s"))),
        );
        answer(&guard, "u-1", "acme-gone");
        assert_eq!(guard.check(&write("mapping", "u-1", Effect::Write)), Ok(()));
        // The last response counts, even if it no longer shows the function.
        answer(&guard, "u-1", "billing-f");
        assert!(guard.check(&write("mapping", "u-1", Effect::Write)).is_err());
        let list = parse("GET", "/2015-03-31/event-source-mappings", "", "").unwrap();
        guard.observe_answer(
            &list,
            br#"{"EventSourceMappings":[{"UUID":"u-1","FunctionArn":"arn:aws:lambda:r:1:function:acme-f"}]}"#,
        );
        assert!(guard.check(&write("mapping", "u-1", Effect::Write)).is_ok());
        guard.observe_answer(&list, br#"{"EventSourceMappings":[{"UUID":"u-1"}]}"#);
        assert!(guard.check(&write("mapping", "u-1", Effect::Write)).is_err());
    }

    #[test]
    fn read_only_access_allows_no_writes() {
        let guard = Guard::new(Access::ReadOnly);
        guard.observe(
            kinds::all().get("table").unwrap().schema(),
            &id("acme-t"),
            &live(Ownership::Engine(owner("acme", "s"))),
        );
        assert!(guard.check(&write("table", "acme-t", Effect::Read)).is_ok());
        assert!(guard.check(&write("table", "acme-t", Effect::Create)).is_err());
        assert!(guard.check(&write("table", "acme-t", Effect::Write)).is_err());
    }
}
