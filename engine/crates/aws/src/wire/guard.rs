//! The guard: checks every request right before it is sent to AWS.
//!
//! It allows reads, of values only those that the spec's lookups name, and a write only to a resource of this team: its name starts with the team's
//! name or is one of those in `owns:`, a read in this run showed no other owner, and it is not
//! imported. The name alone is no proof: `acme-extra-todos` may belong to team `acme-extra`, and
//! `Orders` to anyone, so without the prefix the tags must be readable. A mapping has no name and
//! its tags are easily copied, so the function that it is attached to must belong to the team too;
//! or the spec imports the function and declares this mapping of a source that it manages, and a
//! read showed that no other team owns the function. In an imported table it allows the one item
//! that the user named with the table (`verify --allow-imported`), if no other team owns the table.
//! A message can't be taken back, so it allows only the one that the user confirmed, to that queue.
//!
//! **Invariant:** it trusts only the request and AWS's responses, never what a kind says that it is
//! about to do. An unknown request is refused.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use engine_core::lookup::LookupRead;
use serde_json::Value as Json;

use crate::operation::{Asks, Attachments, NameForm, Operations};
use crate::ownership::{OwnershipVerdict, UnreadableTags};
use crate::schema::{self, AwsEnv, Id, Identity, Live, Names, Schema};

pub use super::request::Request;
pub use crate::operation::Effect;

/// What a run is allowed to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Reads only (`diff`).
    ReadOnly,
    /// Writes to resources of this team.
    Team {
        /// The team.
        team: String,
        /// The names without its prefix that it can also write (`owns:`).
        owns: BTreeSet<String>,
        /// Whether to assume ownership by name if tags can't be read (`--assume-owner`).
        assume_owner: bool,
    },
    /// Writes only single items of this team's tables, and sends only the messages that the user
    /// confirmed to its queues (`verify`).
    Items {
        /// The team.
        team: String,
        /// The names of its tables without its prefix.
        owns: BTreeSet<String>,
    },
    /// Requests with one effect on exactly one resource (`items`, `invoke`).
    Single {
        /// The team.
        team: String,
        /// The names of its resources without its prefix.
        owns: BTreeSet<String>,
        /// The effect.
        effect: Effect,
        /// The resource's kind.
        kind: &'static str,
        /// The resource's name.
        name: String,
        /// Whether the user allowed this for an imported resource (`--allow-imported`).
        allow_imported: bool,
    },
}

impl Access {
    /// The names of the resources that can be written.
    fn names(&self) -> Option<Names<'_>> {
        match self {
            Access::ReadOnly => None,
            Access::Team { team, owns, .. } | Access::Items { team, owns } | Access::Single { team, owns, .. } => {
                Some(Names { team, owns })
            }
        }
    }

    /// The names of the resources that a request with this effect can write, and whether a name
    /// proves the owner; else why no such request can be sent.
    fn writable(&self, effect: Effect) -> Result<(Names<'_>, bool), &'static str> {
        match self {
            Access::Items { .. } if !matches!(effect, Effect::Item | Effect::Message) => {
                return Err("this command writes only items and messages");
            }
            Access::Team { .. } if effect == Effect::Item => return Err("this command doesn't write items"),
            Access::Team { .. } if effect == Effect::Message => return Err("this command doesn't send messages"),
            Access::Team { .. } if effect == Effect::Invoke => return Err("this command doesn't invoke functions"),
            Access::Single { effect: Effect::Item, .. } if effect != Effect::Item => {
                return Err("this command writes only items");
            }
            Access::Single { effect: allowed, .. } if effect != *allowed => {
                return Err("this command only invokes a function");
            }
            _ => {}
        }
        let names = self.names().ok_or("this command is read-only")?;
        Ok((names, matches!(self, Access::Team { assume_owner: true, .. })))
    }

    /// Whether a request can be about this resource, apart from who owns it.
    fn covers(&self, kind: &str, name: &str) -> bool {
        match self {
            Access::Single { kind: only, name: named, .. } => (*only, named.as_str()) == (kind, name),
            _ => true,
        }
    }

    /// Whether the user allowed requests about imported resources.
    fn allows_imported(&self) -> bool {
        matches!(self, Access::Single { allow_imported: true, .. })
    }
}

/// What this run knows about resources.
#[derive(Debug)]
pub struct Guard {
    access: Access,
    /// The calls that can be made.
    operations: Operations,
    env: Mutex<Option<(String, String)>>,
    known: Mutex<HashMap<(String, String), WriteAccess>>,
    /// What each resource with an assigned name is attached to, from AWS's responses.
    parents: Mutex<HashMap<String, Parent>>,
    /// What can be attached to imported resources, by their kind and name.
    attachable: Mutex<HashMap<(String, String), Attachable>>,
    /// The key of the one item that can be written in an imported resource, by its kind and name.
    items: Mutex<HashMap<(String, String), Json>>,
    /// The messages that the user confirmed, by the kind and name of their target.
    messages: Mutex<HashMap<(String, String), String>>,
    /// The values that the spec's lookups read, by source and name.
    lookups: Mutex<HashSet<(String, String)>>,
    /// Resources that AWS refused to create and that were not read since.
    refused: Mutex<HashSet<(String, String)>>,
    n_writes: AtomicUsize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum WriteAccess {
    /// Owned by this stack, or without an owner.
    Writable,
    /// It has the right name, but its tags can't be read: it can be updated, but not tagged or
    /// deleted.
    Unproven,
    /// Not owned by this stack; the reason.
    Barred(String),
    /// The same, and not owned by the team either: resources attached to it are barred too.
    OutsideTeam(String),
    /// Imported by the spec, regardless of its owner.
    Imported,
}

/// What a resource with an assigned name is attached to.
#[derive(Debug, Clone)]
struct Parent {
    /// The form of its name.
    form: &'static NameForm,
    name: String,
    /// The ARN of what it reads.
    source: Option<String>,
}

/// What can be attached to an imported resource.
#[derive(Debug, Default)]
struct Attachable {
    /// The ARNs of the managed resources that the spec attaches to it.
    sources: HashSet<String>,
    /// Whether a read in this run showed that no other team owns it, or that it doesn't exist.
    is_free: bool,
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

impl Guard {
    /// A guard without any knowledge, which allows only these operations.
    pub fn new(access: Access, operations: Operations) -> Guard {
        Guard {
            access,
            operations,
            env: Mutex::default(),
            known: Mutex::default(),
            parents: Mutex::default(),
            attachable: Mutex::default(),
            items: Mutex::default(),
            messages: Mutex::default(),
            lookups: Mutex::default(),
            refused: Mutex::default(),
            n_writes: AtomicUsize::new(0),
        }
    }

    /// Reads a request as it is sent; `None` if engine never makes it.
    pub(crate) fn read(&self, method: &str, uri: &str, target: Option<&str>, body: &[u8]) -> Option<Request> {
        self.operations.parse(method, uri, target, body)
    }

    /// Records region and account of the run: an ARN may name a resource with the same name
    /// elsewhere.
    pub fn observe_env(&self, env: &AwsEnv) {
        *self.env.lock().unwrap_or_else(PoisonError::into_inner) = Some((env.region.clone(), env.account.clone()));
    }

    /// Records what a read of a *managed* declaration found.
    pub fn observe(&self, schema: &Schema, id: &Id, live: &Live) {
        let access = match OwnershipVerdict::of(&live.owner, None, &id.owner) {
            OwnershipVerdict::Owned | OwnershipVerdict::Renamed(_) | OwnershipVerdict::Free => WriteAccess::Writable,
            OwnershipVerdict::Unknown(UnreadableTags::Unsupported | UnreadableTags::Denied)
                if self.is_listed(schema, id) =>
            {
                WriteAccess::OutsideTeam("its tags can't be read, and its name in `owns` proves nothing".to_owned())
            }
            OwnershipVerdict::Unknown(UnreadableTags::Unsupported) => WriteAccess::Writable,
            OwnershipVerdict::OtherStack(owner) => WriteAccess::Barred(format!("it belongs to {owner}")),
            OwnershipVerdict::OutsideTeam(owner) => WriteAccess::OutsideTeam(format!("it belongs to {owner}")),
            OwnershipVerdict::Unknown(UnreadableTags::NotYet(_)) => {
                WriteAccess::Barred("its tags can't be read yet".to_owned())
            }
            OwnershipVerdict::Unknown(UnreadableTags::Denied) => WriteAccess::Unproven,
        };
        if let Some(key) = key(schema, id, live) {
            self.know(key, access);
        }
    }

    /// Whether only `owns:` has the name of a resource.
    fn is_listed(&self, schema: &Schema, id: &Id) -> bool {
        matches!(schema.identity, Identity::Named { .. })
            && self.access.names().is_some_and(|names| names.is_listed(schema.arn.as_ref(), &id.name))
    }

    /// Records that a read found nothing: earlier knowledge was about a resource that no longer
    /// exists.
    pub fn observe_absence(&self, schema: &Schema, id: &Id) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (schema.kind.to_string(), id.name.clone());
        if known.get(&key) != Some(&WriteAccess::Imported) {
            known.remove(&key);
        }
    }

    /// Records that the spec imports a resource.
    pub fn observe_import(&self, kind: &str, name: &str) {
        self.know((kind.to_owned(), name.to_owned()), WriteAccess::Imported);
    }

    /// Records that the spec attaches something to an imported resource that reads a managed resource
    /// with this ARN.
    pub fn observe_attachment(&self, kind: &str, name: &str, source: &str) {
        let mut attachable = self.attachable.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (kind.to_owned(), name.to_owned());
        attachable.entry(key).or_default().sources.insert(source.to_owned());
    }

    /// Records the values that the spec's lookups read.
    pub fn observe_lookups(&self, reads: &[LookupRead]) {
        let mut lookups = self.lookups.lock().unwrap_or_else(PoisonError::into_inner);
        lookups.extend(reads.iter().map(|read| (read.source.to_string(), read.name.clone())));
    }

    /// Why a read of values isn't allowed: the spec's lookups don't name them.
    fn unnamed(&self, request: &Request) -> Option<String> {
        let (Asks { source, at, prefix }, names) = request.asks.as_ref()?;
        let lookups = self.lookups.lock().unwrap_or_else(PoisonError::into_inner);
        let is_named = |name: &str| {
            let is_it = |known: &str| match prefix {
                true => known.split_once('.').is_some_and(|(before, _)| before == name),
                false => known == name,
            };
            lookups.iter().any(|(of, known)| of == source && is_it(known))
        };
        match at {
            None if lookups.iter().any(|(of, _)| of == source) => None,
            None => Some(format!("the spec has no `{source}` lookup")),
            Some(_) => {
                let unnamed = names.iter().find(|name| !is_named(name))?;
                Some(format!("no `{source}` lookup of the spec names `{unnamed}`"))
            }
        }
    }

    /// Records what a read of an imported resource found.
    pub fn observe_imported(&self, schema: &Schema, id: &Id, live: Option<&Live>) {
        let mut attachable = self.attachable.lock().unwrap_or_else(PoisonError::into_inner);
        let is_free = live.is_none_or(|live| live.owner.bars_team(&id.owner.team).is_none());
        attachable.entry((schema.kind.to_string(), id.name.clone())).or_default().is_free = is_free;
    }

    /// Allows writes of the item with this key in an imported resource, if no other team owns it.
    pub fn allow_item(&self, kind: &str, name: &str, key: Json) {
        let mut items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        items.insert((kind.to_owned(), name.to_owned()), key);
    }

    /// Whether a request writes nothing but an item that may be written in an imported resource.
    fn is_allowed_item(&self, kind: &str, name: &str, request: &Request) -> bool {
        let at = (kind.to_owned(), name.to_owned());
        let items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        let attachable = self.attachable.lock().unwrap_or_else(PoisonError::into_inner);
        let is_free = attachable.get(&at).is_some_and(|it| it.is_free);
        let key = items.get(&at).and_then(Json::as_object).filter(|key| !key.is_empty() && is_free);
        let (Some(key), Some(Json::Object(item)), Effect::Item) = (key, &request.item, request.effect) else {
            return false;
        };
        key.iter().all(|(name, value)| item.get(name) == Some(value))
    }

    /// Allows sending this message to a resource, if no other team owns it: the user confirmed it.
    pub fn allow_message(&self, kind: &str, name: &str, body: &str) {
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        messages.insert((kind.to_owned(), name.to_owned()), body.to_owned());
    }

    /// Whether a request sends a message that the user confirmed.
    fn is_confirmed_message(&self, kind: &str, name: &str, request: &Request) -> bool {
        let messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        let body = messages.get(&(kind.to_owned(), name.to_owned()));
        let sent = request.item.as_ref().and_then(Json::as_str);
        request.effect == Effect::Message && sent.is_some() && sent == body.map(String::as_str)
    }

    /// Whether a request sends a confirmed message to an imported resource that no other team owns.
    fn is_allowed_message(&self, kind: &str, name: &str, request: &Request) -> bool {
        let attachable = self.attachable.lock().unwrap_or_else(PoisonError::into_inner);
        let is_free = attachable.get(&(kind.to_owned(), name.to_owned())).is_some_and(|it| it.is_free);
        is_free && self.is_confirmed_message(kind, name, request)
    }

    /// Whether something that reads `source` can be attached to an imported resource.
    fn is_attachable(&self, kind: &str, name: &str, source: Option<&str>) -> bool {
        let attachable = self.attachable.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Attachable { sources, is_free }) = attachable.get(&(kind.to_owned(), name.to_owned())) else {
            return false;
        };
        *is_free && source.is_some_and(|source| sources.iter().any(|arn| schema::is_arn_within(source, arn)))
    }

    /// Whether the user allowed requests about an imported resource, and a read showed that no
    /// other team owns it.
    fn is_allowed_import(&self, kind: &str, name: &str) -> bool {
        let attachable = self.attachable.lock().unwrap_or_else(PoisonError::into_inner);
        let is_free = attachable.get(&(kind.to_owned(), name.to_owned())).is_some_and(|it| it.is_free);
        self.access.allows_imported() && is_free
    }

    /// Records what resources with assigned names are attached to, from a response that shows it.
    pub(crate) fn observe_answer(&self, request: &Request, body: &[u8]) {
        let Some(Attachments { list, name, parent, form, source }) = request.shows else { return };
        let Ok(answer) = serde_json::from_slice::<Json>(body) else { return };
        let mut parents = self.parents.lock().unwrap_or_else(PoisonError::into_inner);
        let text = |of: &Json, member: &str| of.get(member).and_then(Json::as_str).map(str::to_owned);
        let asked = request.target.as_ref().filter(|_| request.attached_to.is_some()).map(|(_, name)| name.clone());
        let one = text(&answer, name).or(asked).map(|name| (name, &answer));
        let listed = answer.get(*list).and_then(Json::as_array).into_iter().flatten();
        let several = listed.filter_map(|it| Some((text(it, name)?, it)));
        for (name, shown) in one.into_iter().chain(several) {
            let parent = text(shown, parent).map(|text| form.bare_name(&text)).filter(|parent| !parent.is_empty());
            match parent {
                Some(parent) => {
                    drop(parents.insert(name, Parent { form, name: parent, source: text(shown, source) }));
                }
                None => drop(parents.remove(&name)),
            }
        }
    }

    /// Records that AWS refused a request. After a refused create, another owner's resource may
    /// exist, so it doesn't count as owned.
    pub(crate) fn note_refused(&self, request: &Request) {
        if request.effect != Effect::Read {
            self.n_writes.fetch_sub(1, Ordering::Relaxed);
        }
        let Some((kind, name)) = request.target.clone().filter(|_| request.effect == Effect::Create) else { return };
        let key = (kind.to_owned(), name);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.get(&key) != Some(&WriteAccess::Imported) {
            known.remove(&key);
        }
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
    }

    /// Records that a read found this stack's resource after AWS refused to create it.
    pub(crate) fn note_owned(&self, name: &str) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let ours: Vec<(String, String)> = refused.extract_if(|(_, refused)| refused == name).collect();
        drop(refused);
        ours.into_iter().for_each(|key| self.know(key, WriteAccess::Writable));
    }

    /// Records a write that is being sent.
    pub(crate) fn note_write(&self) {
        self.n_writes.fetch_add(1, Ordering::Relaxed);
    }

    /// The number of writes that AWS carried out or may have carried out.
    pub fn n_writes(&self) -> usize {
        self.n_writes.load(Ordering::Relaxed)
    }

    fn know(&self, key: (String, String), access: WriteAccess) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.get(&key) != Some(&WriteAccess::Imported) {
            known.insert(key, access);
        }
    }

    /// Checks whether the request can be sent.
    ///
    /// # Errors
    /// The reason why not.
    pub fn check(&self, request: &Request) -> Result<(), Refusal> {
        let refuse = |why: String| Err(Refusal(format!("the guard blocked `{}`: {why}", request.operation)));
        if request.effect == Effect::Read {
            return self.unnamed(request).map_or(Ok(()), refuse);
        }
        let (names, assume_owner) = match self.access.writable(request.effect) {
            Ok(writable) => writable,
            Err(why) => return refuse(why.to_owned()),
        };
        let team = names.team;
        let Some((kind, name)) = &request.target else {
            return refuse("it doesn't name the resource that it would change".to_owned());
        };
        if let Some(why) = self.not_asked_for(kind, name, request) {
            return refuse(why);
        }
        // If AWS assigned the name, only a read can show the owner.
        let why = request.form.map_or(Some("has no known form".to_owned()), |form| name_violation(names, form, name));
        let is_permitted = self.is_permitted(kind, name, request);
        if let Some(why) = why.filter(|_| request.attached_to.is_none() && !is_permitted) {
            return refuse(format!("the name of the {kind} `{name}` {why}"));
        }
        if request.region_and_account.is_some()
            && request.region_and_account != *self.env.lock().unwrap_or_else(PoisonError::into_inner)
        {
            return refuse(format!("the {kind} `{name}` is in another account or region"));
        }
        if let Some(statement) = request.statement.as_ref().filter(|it| !schema::is_of_team(it, team)) {
            return refuse(format!("the statement ID `{statement}` doesn't start with the team's name `{team}`"));
        }
        if let Some(parent) = request.attached_to
            && let Some(why) = self.barred_parent((kind, name), parent, names)
        {
            return refuse(why);
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let key = ((*kind).to_owned(), name.clone());
        let claims = request.effect == Effect::Write && !request.is_in_place;
        match (known.get(&key), request.effect) {
            (Some(WriteAccess::Barred(reason) | WriteAccess::OutsideTeam(reason)), _) => {
                return refuse(format!("the {kind} `{name}` isn't owned by this stack: {reason}"));
            }
            (Some(WriteAccess::Imported), _) if is_permitted => {}
            (Some(WriteAccess::Imported), _) => {
                return refuse(format!("the {kind} `{name}` is imported, and engine never changes imported resources"));
            }
            (Some(WriteAccess::Unproven), _) if claims && !assume_owner => {
                return refuse(format!(
                    "you lack permission to read the tags of the {kind} `{name}`, so engine can't confirm that this stack \
                     owns it"
                ));
            }
            (Some(WriteAccess::Writable | WriteAccess::Unproven), _) => {}
            (None, Effect::Create) => drop(known.insert(key, WriteAccess::Writable)),
            (None, _) => return refuse(format!("no read in this run showed who owns the {kind} `{name}`")),
        }
        Ok(())
    }

    /// Whether a request can be about a resource that the spec imports.
    fn is_permitted(&self, kind: &str, name: &str, request: &Request) -> bool {
        self.is_attachable(kind, name, request.source.as_deref())
            || self.is_allowed_item(kind, name, request)
            || self.is_allowed_message(kind, name, request)
            || self.is_allowed_import(kind, name)
    }

    /// Why the user didn't ask for this request, regardless of the resource's owner.
    fn not_asked_for(&self, kind: &str, name: &str, request: &Request) -> Option<String> {
        if !self.access.covers(kind, name) {
            return Some(format!("this command isn't about the {kind} `{name}`"));
        }
        let is_unconfirmed = request.effect == Effect::Message && !self.is_confirmed_message(kind, name, request);
        is_unconfirmed.then(|| format!("you didn't confirm this message to the {kind} `{name}`"))
    }

    /// Why a resource can't be written because of the one that it is attached to. A deleted one is
    /// no obstacle.
    fn barred_parent(&self, (kind, name): (&str, &str), parent_kind: &str, names: Names<'_>) -> Option<String> {
        let parents = self.parents.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Parent { form, name: parent, source }) = parents.get(name) else {
            return Some(format!("no read in this run showed which {parent_kind} the {kind} `{name}` is attached to"));
        };
        if self.is_attachable(parent_kind, parent, source.as_deref()) {
            return None;
        }
        let of = format!("the {kind} `{name}` is attached to the {parent_kind} `{parent}`");
        if let Some(why) = name_violation(names, form, parent) {
            return Some(format!("{of}, whose name {why}"));
        }
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get(&(parent_kind.to_owned(), parent.clone())) {
            Some(WriteAccess::Imported) => {
                Some(format!("{of}, which is imported, and engine never changes imported resources"))
            }
            Some(WriteAccess::OutsideTeam(reason)) => Some(format!("{of}, and {reason}")),
            _ => None,
        }
    }
}

/// Why the team can't write a resource with this name, to follow the name.
fn name_violation(names: Names<'_>, form: &NameForm, name: &str) -> Option<String> {
    let team = names.team;
    (!names.includes(form.arn.as_ref(), name)).then(|| match names.owns.is_empty() {
        true => format!("doesn't start with the team's name `{team}`"),
        false => format!("doesn't start with the team's name `{team}`, and `owns` doesn't list it"),
    })
}

/// The kind and name in a request for this resource; `None` for resources nested in another one.
fn key(schema: &Schema, id: &Id, live: &Live) -> Option<(String, String)> {
    match schema.identity {
        Identity::Named { .. } => Some((schema.kind.to_string(), id.name.clone())),
        Identity::ServiceAssigned => live.unique_id.clone().map(|uuid| (schema.kind.to_string(), uuid)),
        Identity::Nested { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds;
    use crate::operation::{self, Operation};
    use crate::schema::{Outputs, Owner, Ownership, Status};
    use crate::value::Tree;
    use crate::wire::limits;

    const HOST: &str = "https://service.eu-central-1.amazonaws.com";

    fn parse(method: &str, path: &str, target: &str, body: &str) -> Option<Request> {
        let target = (!target.is_empty()).then(|| format!("DynamoDB_20120810.{target}"));
        operation::all().parse(method, &format!("{HOST}{path}"), target.as_deref(), body.as_bytes())
    }

    /// Method, path and body (or DynamoDB's target and body) as the SDK sends them, and the parsed
    /// request.
    #[test]
    fn every_request_that_engine_makes_is_parsed() {
        use Effect::{Create, Invoke, Item, Read, Write};
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
            assert_eq!((request.operation, request.effect), (operation, effect));
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
            ("Invoke", Invoke, "POST", "/2015-03-31/functions/a-f/invocations", "[7]", f),
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
            assert_eq!((request.operation, request.effect), (operation, effect), "{method} {path}");
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
            ("POST", "/", "", "Action=DeleteUser&UserName=u"),
            ("POST", "/", "", "Action=AssumeRole&Action=GetRole"),
            ("POST", "/2014-11-13/functions/a-f/invoke-async", "", "{}"),
            ("PUT", "/2019-09-30/functions/a-f/provisioned-concurrency", "", "{}"),
            ("POST", "/2015-03-31/functions/a-f/aliases", "", "{}"),
            ("PATCH", "/2015-03-31/functions/a-f", "", "{}"),
        ] {
            assert_eq!(parse(method, path, target, body), None, "{method} {path} {target} {body}");
        }
    }

    fn guard() -> Guard {
        owning(&[], false)
    }

    fn owning(owns: &[&str], assume_owner: bool) -> Guard {
        let owns = owns.iter().map(|name| (*name).to_owned()).collect();
        Guard::new(Access::Team { team: "acme".to_owned(), owns, assume_owner }, operation::all())
    }

    /// A request of an operation of that name in the declarations, or else of an update in place.
    fn request(kind: &'static str, name: &str, operation: &str, effect: Effect) -> Request {
        let operations = operation::all();
        let about = |it: &Operation| it.target.map(|target| target.form);
        let of_kind = |it: &&Operation| about(it).is_some_and(|form| form.kind == kind);
        let form = operations.iter().find(of_kind).and_then(about).unwrap();
        let declared = operations.iter().filter(of_kind).find(|it| it.name == operation);
        Request {
            service: "dynamodb",
            operation: declared.map_or("Op", |it| it.name),
            effect,
            is_in_place: declared.is_none_or(|it| it.is_in_place),
            target: Some((kind, name.to_owned())),
            form: Some(form),
            attached_to: form.attached_to,
            region_and_account: None,
            statement: None,
            source: None,
            item: None,
            shows: None,
            asks: None,
            limit: limits::LAMBDA,
        }
    }

    fn write(kind: &'static str, name: &str, effect: Effect) -> Request {
        request(kind, name, "Op", effect)
    }

    fn owner(team: &str, stack: &str) -> Owner {
        Owner { team: team.to_owned(), stack: stack.to_owned(), resource: "t".to_owned() }
    }

    fn id(name: &str) -> Id {
        Id::named(owner("acme", "s"), name.to_owned())
    }

    fn live(owner: Ownership) -> Live {
        Live {
            props: Tree::new(),
            outputs: Outputs::new(),
            owner,
            status: Status::Stable,
            unique_id: Some("u-1".to_owned()),
            revision: None,
            timestamps: crate::schema::Timestamps::default(),
            notes: Vec::new(),
            unknown: crate::schema::Unknown::new(),
        }
    }

    /// The guard's decision about a change of `acme-t` after a read found that owner.
    fn after_reading(owner: Ownership) -> Result<(), String> {
        let guard = guard();
        guard.observe(kinds::all().get("table").unwrap().schema(), &id("acme-t"), &live(owner));
        guard.check(&write("table", "acme-t", Effect::Write)).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn only_the_command_for_items_writes_items() {
        let team = "acme".to_owned();
        let item = write("table", "acme-t", Effect::Item);
        for (access, may_item, may_write) in [
            (Access::ReadOnly, false, false),
            (Access::Team { team: team.clone(), owns: BTreeSet::new(), assume_owner: true }, false, true),
            (Access::Items { team, owns: BTreeSet::new() }, true, false),
        ] {
            let guard = Guard::new(access.clone(), operation::all());
            guard.observe(kinds::all().get("table").unwrap().schema(), &id("acme-t"), &live(Ownership::Unowned));
            assert_eq!(guard.check(&item).is_ok(), may_item, "{access:?}");
            assert_eq!(guard.check(&write("table", "acme-t", Effect::Write)).is_ok(), may_write, "{access:?}");
            assert!(guard.check(&write("table", "acme-x", Effect::Item)).is_err(), "it was never read");
        }
    }

    /// The access of a command about one resource.
    fn single(effect: Effect, kind: &'static str, name: &str, allow_imported: bool) -> Guard {
        let (team, name) = ("acme".to_owned(), name.to_owned());
        let access = Access::Single { team, owns: BTreeSet::new(), effect, kind, name, allow_imported };
        Guard::new(access, operation::all())
    }

    #[test]
    fn a_command_about_one_resource_writes_nothing_else() {
        let kinds = kinds::all();
        for (effect, kind, other) in
            [(Effect::Item, "table", Effect::Invoke), (Effect::Invoke, "function", Effect::Item)]
        {
            let guard = single(effect, kind, "acme-x", false);
            let schema = kinds.get(kind).unwrap().schema();
            assert!(guard.check(&write(kind, "acme-x", effect)).is_err(), "it was never read");
            for name in ["acme-x", "acme-y", "red-x"] {
                guard.observe(schema, &id(name), &live(Ownership::Engine(owner("acme", "s"))));
            }
            assert!(guard.check(&write(kind, "acme-x", effect)).is_ok());
            for (name, effect) in [
                ("acme-y", effect),
                ("red-x", effect),
                ("acme-x", other),
                ("acme-x", Effect::Write),
                ("acme-x", Effect::Create),
            ] {
                assert!(guard.check(&write(kind, name, effect)).is_err(), "{name} {effect:?}");
            }
        }
    }

    #[test]
    fn an_imported_function_is_invoked_only_if_the_user_allows_it_and_no_other_team_owns_it() {
        let kinds = kinds::all();
        let schema = kinds.get("function").unwrap().schema();
        for (allow, owned, expected) in [
            (true, Ownership::Unowned, true),
            (true, Ownership::Engine(owner("acme", "other")), true),
            (true, Ownership::Engine(owner("red", "s")), false),
            (true, Ownership::Denied, false),
            (false, Ownership::Unowned, false),
        ] {
            let guard = single(Effect::Invoke, "function", "Theirs", allow);
            guard.observe_import("function", "Theirs");
            let invoke = write("function", "Theirs", Effect::Invoke);
            assert!(guard.check(&invoke).is_err(), "it was never read");
            guard.observe_imported(schema, &id("Theirs"), Some(&live(owned.clone())));
            assert_eq!(guard.check(&invoke).is_ok(), expected, "{allow} {owned:?}");
        }
    }

    #[test]
    fn the_owner_decides_whether_a_resource_can_change() {
        for ours in [Ownership::Engine(owner("acme", "s")), Ownership::Unowned, Ownership::Denied] {
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
        let guard = guard();
        guard.observe(kinds::all().get("function").unwrap().schema(), &id("acme-f"), &live(Ownership::Denied));
        for (operation, allowed) in [
            ("UpdateFunctionCode", true),
            ("PutFunctionConcurrency", true),
            ("DeleteFunctionConcurrency", true),
            ("DeleteFunction", false),
            ("TagResource", false),
            ("UntagResource", false),
        ] {
            let request = request("function", "acme-f", operation, Effect::Write);
            assert_eq!(guard.check(&request).is_ok(), allowed, "{operation}");
        }
    }

    #[test]
    fn a_later_read_can_show_another_owner() {
        let guard = guard();
        let kinds = kinds::all();
        let schema = kinds.get("table").unwrap().schema();
        guard.observe(schema, &id("acme-t"), &live(Ownership::Unowned));
        assert!(guard.check(&write("table", "acme-t", Effect::Write)).is_ok());
        guard.observe(schema, &id("acme-t"), &live(Ownership::Engine(owner("red", "s"))));
        assert!(guard.check(&write("table", "acme-t", Effect::Write)).is_err());
    }

    #[test]
    fn a_resource_that_was_not_read_can_be_created_but_not_changed() {
        let guard = guard();
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
        let guard = guard();
        let create = write("table", "acme-t", Effect::Create);
        assert!(guard.check(&create).is_ok());
        guard.note_refused(&create);
        assert!(guard.check(&write("table", "acme-t", Effect::Write)).is_err());
        guard.note_owned("acme-u");
        assert!(guard.check(&write("table", "acme-t", Effect::Write)).is_err());
        guard.note_owned("acme-t");
        assert!(guard.check(&write("table", "acme-t", Effect::Write)).is_ok());
    }

    #[test]
    fn an_arn_in_another_account_or_region_is_refused() {
        let guard = guard();
        let request = |region: &str, account: &str| Request {
            region_and_account: Some((region.to_owned(), account.to_owned())),
            ..write("table", "acme-t", Effect::Create)
        };
        assert!(guard.check(&request("eu-central-1", "123456789012")).is_err(), "region and account aren't known yet");
        guard.observe_env(&AwsEnv::new("eu-central-1", "123456789012"));
        assert!(guard.check(&request("eu-central-1", "123456789012")).is_ok());
        assert!(guard.check(&request("eu-west-1", "123456789012")).is_err());
        assert!(guard.check(&request("eu-central-1", "210987654321")).is_err());
    }

    #[test]
    fn a_name_must_start_with_the_whole_team_name() {
        let guard = guard();
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

    /// A request as it is sent: method, path, the header `X-Amz-Target` and the body.
    type Sent<'r> = (&'r str, String, &'r str, String);

    /// A guard for `owns: [Orders, jobs.fifo, /app/Orders]`, after a read that found this stack's
    /// resources of these names, and a mapping of the function.
    fn having_read_its_own() -> Guard {
        let guard = owning(&["Orders", "jobs.fifo", "/app/Orders"], true);
        guard.observe_env(&AwsEnv::new("eu-central-1", "123456789012"));
        let ours = || live(Ownership::Engine(owner("acme", "s")));
        for (kind, name) in [
            ("table", "Orders"),
            ("function", "Orders"),
            ("queue", "jobs.fifo"),
            ("log_group", "/app/Orders"),
            ("mapping", "m"),
        ] {
            guard.observe(kinds::all().get(kind).unwrap().schema(), &id(name), &ours());
        }
        answer(&guard, "u-1", "Orders:live");
        guard
    }

    fn in_table(operation: &str, name: &str) -> Sent<'static> {
        let target =
            if operation == "CreateTable" { "DynamoDB_20120810.CreateTable" } else { "DynamoDB_20120810.DeleteTable" };
        ("POST", "/".to_owned(), target, serde_json::json!({ "TableName": name }).to_string())
    }

    fn in_function(name: &str) -> Sent<'static> {
        ("DELETE", format!("/2015-03-31/functions/{name}"), "", String::new())
    }

    fn in_queue(url: &str) -> Sent<'static> {
        ("POST", "/".to_owned(), "AmazonSQS.DeleteQueue", serde_json::json!({ "QueueUrl": url }).to_string())
    }

    fn in_log_group(name: &str) -> Sent<'static> {
        (
            "POST",
            "/".to_owned(),
            "Logs_20140328.DeleteLogGroup",
            serde_json::json!({ "logGroupName": name }).to_string(),
        )
    }

    fn of_role(action: &str) -> Sent<'static> {
        ("POST", "/".to_owned(), "", format!("Action={action}&RoleName=Orders"))
    }

    fn allowed(guard: &Guard, (method, path, target, body): &Sent<'_>) -> bool {
        let target = (!target.is_empty()).then_some(*target);
        let request = operation::all().parse(method, &format!("{HOST}{path}"), target, body.as_bytes());
        request.is_some_and(|request| guard.check(&request).is_ok())
    }

    #[test]
    fn what_is_in_owns_is_written_in_each_form_of_its_name() {
        let arn = "arn:aws:lambda:eu-central-1:123456789012:function:Orders";
        for request in [
            in_table("DeleteTable", "Orders"),
            in_table("DeleteTable", "arn:aws:dynamodb:eu-central-1:123456789012:table/Orders"),
            in_table("CreateTable", "jobs.fifo"),
            in_function("Orders"),
            in_function("%4Frders"),
            in_function("Orders:live"),
            in_function(arn),
            in_function(&format!("{arn}:live")),
            in_queue("https://sqs.eu-central-1.amazonaws.com/123456789012/jobs.fifo"),
            in_log_group("/app/Orders"),
            ("DELETE", "/2015-03-31/event-source-mappings/u-1".to_owned(), "", String::new()),
        ] {
            assert!(allowed(&having_read_its_own(), &request), "{request:?}");
        }
    }

    #[test]
    fn no_request_gets_past_the_names_in_owns() {
        let arn = |service: &str, region: &str, account: &str, resource: &str| {
            format!("arn:aws:{service}:{region}:{account}:{resource}")
        };
        let sqs = "https://sqs.eu-central-1.amazonaws.com";
        let body = |text: &str| ("POST", "/".to_owned(), "DynamoDB_20120810.DeleteTable", text.to_owned());
        let names = [
            "orders",
            "ORDERS",
            "Orders2",
            "Orders-archive",
            "MyOrders",
            "Order",
            "Orders ",
            " Orders",
            "Orders\n",
            "Orders\0",
            "\u{FF2F}rders",
            "\u{41E}rders",
            "Or\u{200B}ders",
            "Orders\u{301}",
            "*",
            "Order?",
            "Orders*",
            "[O]rders",
            "",
            "Orders/index/by-id",
            "Orders/stream/1",
            "../Orders",
            "Orders/../red-foxes",
            "/app/Orders/",
            "acme",
            "%4Frders",
        ];
        let tables = names.iter().flat_map(|name| [in_table("DeleteTable", name), in_table("CreateTable", name)]);
        let mut forged: Vec<Sent<'_>> = tables.collect();
        forged.extend([
            in_table("DeleteTable", &arn("dynamodb", "eu-west-1", "123456789012", "table/Orders")),
            in_table("DeleteTable", &arn("dynamodb", "eu-central-1", "210987654321", "table/Orders")),
            in_table("DeleteTable", &arn("lambda", "eu-central-1", "123456789012", "table/Orders")),
            in_table("DeleteTable", &arn("dynamodb", "eu-central-1", "123456789012", "table/orders")),
            in_table("DeleteTable", &arn("dynamodb", "eu-central-1", "123456789012", "table/Orders/index/x")),
            body(r#"{"TableName":"Orders","TableName":"red-foxes"}"#),
            body(r#"{"TableName":"red-foxes","tableName":"Orders"}"#),
            body(r#"{"TableName":["Orders"]}"#),
            body(r#"{"ResourceArn":"Orders"}"#),
            in_function("orders"),
            in_function("Orders2"),
            in_function("Orders-x:Orders"),
            in_function("%254Frders"),
            in_function("Orders/../red-foxes"),
            in_function("red-foxes%2FOrders"),
            in_function("red-foxes?FunctionName=Orders"),
            in_function("123456789012:function:Orders"),
            in_function("210987654321:function:Orders"),
            in_function("function:Orders"),
            in_function(&arn("lambda", "eu-central-1", "210987654321", "function:Orders:live")),
            in_function(&arn("lambda", "eu-west-1", "123456789012", "function:Orders")),
            in_function(&arn("lambda", "eu-central-1", "123456789012", "function:red-foxes:Orders")),
            // The path decides, not the body.
            ("PUT", "/2015-03-31/functions/red-foxes/code".to_owned(), "", r#"{"FunctionName":"Orders"}"#.to_owned()),
            ("POST", "/2015-03-31/functions".to_owned(), "", r#"{"FunctionName":"orders"}"#.to_owned()),
            in_queue(&format!("{sqs}/210987654321/jobs.fifo")),
            in_queue("https://sqs.eu-west-1.amazonaws.com/123456789012/jobs.fifo"),
            in_queue("https://sqs.eu-central-1.amazonaws.com.example/123456789012/jobs.fifo"),
            in_queue(&format!("{sqs}/123456789012/jobs")),
            in_queue(&format!("{sqs}/123456789012/Jobs.fifo")),
            in_queue(&format!("{sqs}/123456789012/x/jobs.fifo")),
            in_queue("jobs.fifo"),
            // The name is in `owns`, but no read showed who owns the resource of this type.
            in_queue(&format!("{sqs}/123456789012/Orders")),
            in_log_group("Orders"),
            in_log_group("/app/orders"),
            in_log_group("/app/Orders/"),
            in_log_group("app/Orders"),
            in_log_group("/app/Orders/x"),
            in_log_group("/app/Orders:*"),
            in_log_group("/aws/lambda/Orders"),
            // A role needs the prefix.
            of_role("CreateRole"),
            of_role("DeleteRole"),
            // So does a statement, which has no tags.
            ("DELETE", "/2015-03-31/functions/Orders/policy/Orders".to_owned(), "", String::new()),
            ("POST", "/2015-03-31/functions/Orders/policy".to_owned(), "", r#"{"StatementId":"Orders"}"#.to_owned()),
        ]);
        assert!(forged.len() > 60, "{}", forged.len());
        for request in &forged {
            assert!(!allowed(&having_read_its_own(), request), "{request:?}");
        }
        for function in ["orders", "Orders2", "red-foxes"] {
            let guard = having_read_its_own();
            answer(&guard, "u-1", function);
            let delete = ("DELETE", "/2015-03-31/event-source-mappings/u-1".to_owned(), "", String::new());
            assert!(!allowed(&guard, &delete), "a mapping of {function}");
        }
    }

    /// `--assume-owner` is on, and doesn't help.
    #[test]
    fn a_name_in_owns_proves_nothing_about_the_owner() {
        let (delete, create) = (in_table("DeleteTable", "Orders"), in_table("CreateTable", "Orders"));
        let update = ("POST", "/".to_owned(), "DynamoDB_20120810.UpdateTable", r#"{"TableName":"Orders"}"#.to_owned());
        let kinds = kinds::all();
        for (owned, may_write) in [
            (Ownership::Engine(owner("acme", "s")), true),
            (Ownership::Unowned, true),
            (Ownership::Denied, false),
            (Ownership::Untaggable, false),
            (Ownership::NotYetReadable("x".to_owned()), false),
            (Ownership::Engine(owner("acme", "other")), false),
            (Ownership::Engine(owner("red", "s")), false),
            (Ownership::CloudFormation("cfn".to_owned()), false),
        ] {
            let guard = owning(&["Orders"], true);
            guard.observe(kinds.get("table").unwrap().schema(), &id("Orders"), &live(owned.clone()));
            for request in [&delete, &create, &update] {
                assert_eq!(allowed(&guard, request), may_write, "{owned:?}: {request:?}");
            }
        }
        let guard = owning(&["Orders"], true);
        assert!(!allowed(&guard, &delete), "it was never read");
        guard.observe_import("table", "Orders");
        assert!(!allowed(&guard, &delete) && !allowed(&guard, &create), "it is imported");
        // What is attached to a function whose tags can't be read has no proven owner either.
        let guard = having_read_its_own();
        guard.observe(kinds.get("function").unwrap().schema(), &id("Orders"), &live(Ownership::Denied));
        let delete = ("DELETE", "/2015-03-31/event-source-mappings/u-1".to_owned(), "", String::new());
        assert!(!allowed(&guard, &delete));
        let items = Access::Items { team: "acme".to_owned(), owns: BTreeSet::from(["Orders".to_owned()]) };
        let guard = Guard::new(items, operation::all());
        guard.observe(
            kinds.get("table").unwrap().schema(),
            &id("Orders"),
            &live(Ownership::Engine(owner("acme", "s"))),
        );
        let put =
            |name: &str| ("POST", "/".to_owned(), "DynamoDB_20120810.PutItem", format!(r#"{{"TableName":"{name}"}}"#));
        assert!(allowed(&guard, &put("Orders")) && !allowed(&guard, &put("orders")) && !allowed(&guard, &update));
    }

    #[test]
    fn an_imported_resource_stays_barred_whatever_a_read_finds() {
        let guard = guard();
        let kinds = kinds::all();
        let schema = kinds.get("table").unwrap().schema();
        guard.observe_import("table", "acme-t");
        guard.observe(schema, &id("acme-t"), &live(Ownership::Engine(owner("acme", "s"))));
        for effect in [Effect::Write, Effect::Create] {
            let refusal = guard.check(&write("table", "acme-t", effect)).unwrap_err().to_string();
            assert!(refusal.contains("imported"), "{refusal}");
        }
    }

    #[test]
    fn in_an_imported_table_only_the_allowed_item_is_written() {
        let table = "MembershipSub";
        let body = |member: &str, key: Json| serde_json::json!({ "TableName": table, member: key }).to_string();
        let ours = || serde_json::json!({ "id": { "S": "a" } });
        let put =
            parse("POST", "/", "PutItem", &body("Item", serde_json::json!({ "id": { "S": "a" }, "n": { "N": "1" } })));
        let update = parse("POST", "/", "UpdateItem", &body("Key", ours()));
        let delete = parse("POST", "/", "DeleteItem", &body("Key", ours()));
        let other = parse("POST", "/", "DeleteItem", &body("Key", serde_json::json!({ "id": { "S": "b" } })));
        let keyless = parse("POST", "/", "PutItem", &body("Item", serde_json::json!({})));
        let table_itself = parse("POST", "/", "DeleteTable", &serde_json::json!({ "TableName": table }).to_string());
        let guard = |owner: Ownership, is_named: bool| {
            let guard = Guard::new(Access::Items { team: "acme".to_owned(), owns: BTreeSet::new() }, operation::all());
            let kinds = kinds::all();
            guard.observe_import("table", table);
            guard.observe_imported(kinds.get("table").unwrap().schema(), &id(table), Some(&live(owner)));
            if is_named {
                guard.allow_item("table", table, ours());
            }
            guard
        };
        let allowed = |guard: &Guard| {
            [&put, &update, &delete, &other, &keyless, &table_itself]
                .map(|it| guard.check(it.as_ref().unwrap()).is_ok())
        };
        assert_eq!(allowed(&guard(Ownership::Unowned, true)), [true, true, true, false, false, false]);
        assert_eq!(allowed(&guard(Ownership::Unowned, false)), [false; 6]);
        assert_eq!(allowed(&guard(Ownership::Engine(owner("red", "s")), true)), [false; 6]);
    }

    #[test]
    fn only_the_message_that_the_user_confirmed_is_sent_to_that_queue() {
        let send = |name: &str, body: &str| {
            let url = format!("https://sqs.eu-central-1.amazonaws.com/123456789012/{name}");
            let body = serde_json::json!({ "QueueUrl": url, "MessageBody": body }).to_string();
            let target = Some("AmazonSQS.SendMessage");
            operation::all().parse("POST", &format!("{HOST}/"), target, body.as_bytes()).unwrap()
        };
        let kinds = kinds::all();
        let schema = kinds.get("queue").unwrap().schema();
        let text = r#"{"engine_verify":"x"}"#;
        let guard = |access: Access| {
            let guard = Guard::new(access, operation::all());
            guard.observe_env(&AwsEnv::new("eu-central-1", "123456789012"));
            for name in ["acme-jobs", "acme-other"] {
                guard.observe(schema, &id(name), &live(Ownership::Engine(owner("acme", "s"))));
            }
            guard.observe_import("queue", "Theirs");
            guard
        };
        let (team, owns) = ("acme".to_owned(), BTreeSet::new());
        let items = || Access::Items { team: team.clone(), owns: owns.clone() };
        let verify = guard(items());
        assert!(verify.check(&send("acme-jobs", text)).is_err(), "it isn't confirmed");
        verify.allow_message("queue", "acme-jobs", text);
        assert_eq!(verify.check(&send("acme-jobs", text)), Ok(()));
        for (name, body) in [("acme-jobs", "{}"), ("acme-jobs", ""), ("acme-other", text), ("red-jobs", text)] {
            assert!(verify.check(&send(name, body)).is_err(), "{name} {body}");
        }
        // An imported queue only if a read showed that no other team owns it.
        verify.allow_message("queue", "Theirs", text);
        assert!(verify.check(&send("Theirs", text)).is_err(), "it was never read");
        for (owned, expected) in [(Ownership::Unowned, true), (Ownership::Engine(owner("red", "s")), false)] {
            verify.observe_imported(schema, &id("Theirs"), Some(&live(owned)));
            assert_eq!(verify.check(&send("Theirs", text)).is_ok(), expected);
            assert!(verify.check(&send("Theirs", "{}")).is_err());
        }
        // No other command sends any.
        let single = |effect, kind| {
            let (team, owns, name) = (team.clone(), owns.clone(), "acme-jobs".to_owned());
            Access::Single { team, owns, effect, kind, name, allow_imported: true }
        };
        for access in [
            Access::ReadOnly,
            Access::Team { team: team.clone(), owns: owns.clone(), assume_owner: true },
            single(Effect::Item, "table"),
            single(Effect::Invoke, "function"),
        ] {
            let guard = guard(access.clone());
            guard.allow_message("queue", "acme-jobs", text);
            assert!(guard.check(&send("acme-jobs", text)).is_err(), "{access:?}");
        }
    }

    /// GetEventSourceMapping's response for a mapping that is attached to a function.
    fn answer(guard: &Guard, uuid: &str, function: &str) {
        let path = format!("/2015-03-31/event-source-mappings/{uuid}");
        let request = parse("GET", &path, "", "").unwrap();
        assert!(request.shows.is_some());
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
            let guard = guard();
            guard.observe_env(&AwsEnv::new("eu-central-1", "123456789012"));
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
        let guard = guard();
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

    /// Every write about a mapping of an imported function: only a declared one with a managed source
    /// is allowed, and only if no other team owns the function.
    #[test]
    fn an_imported_function_takes_only_the_declared_mappings() {
        let kinds = kinds::all();
        let (function, mapping) = (kinds.get("function").unwrap().schema(), kinds.get("mapping").unwrap().schema());
        let table = |name: &str| format!("arn:aws:dynamodb:eu-central-1:123456789012:table/{name}");
        let stream = |name: &str| format!("{}/stream/1", table(name));
        let ours = Ownership::Engine(owner("acme", "s"));
        let theirs = Ownership::Engine(owner("acme-extra", "s"));
        let cases = [
            (Some(Ownership::Unowned), stream("acme-t"), true, "no owner"),
            (Some(Ownership::CloudFormation("cfn".to_owned())), stream("acme-t"), true, "CloudFormation's"),
            (Some(theirs.clone()), stream("acme-t"), false, "another team's"),
            (Some(Ownership::Denied), stream("acme-t"), false, "unreadable"),
            (None, stream("acme-t"), false, "never read"),
            (Some(Ownership::Unowned), stream("acme-t2"), false, "another source"),
            (Some(Ownership::Unowned), format!("{}-2/stream/1", table("acme-t")), false, "a longer name"),
        ];
        for (owned, source, allowed, whose) in cases {
            for name in ["billing-f", "acme-f"] {
                let guard = guard();
                guard.observe_env(&AwsEnv::new("eu-central-1", "123456789012"));
                guard.observe_import("function", name);
                guard.observe_attachment("function", name, &table("acme-t"));
                guard.observe(mapping, &id("m"), &live(ours.clone()));
                if let Some(owned) = &owned {
                    guard.observe_imported(function, &id(name), Some(&live(owned.clone())));
                }
                let get = parse("GET", "/2015-03-31/event-source-mappings/u-1", "", "").unwrap();
                let arn = format!("arn:aws:lambda:eu-central-1:123456789012:function:{name}");
                let shown = serde_json::json!({ "UUID": "u-1", "FunctionArn": arn, "EventSourceArn": source });
                guard.observe_answer(&get, shown.to_string().as_bytes());
                let check = |method: &str, path: &str, body: String| {
                    guard.check(&parse(method, path, "", &body).expect(path)).is_ok()
                };
                let create = serde_json::json!({ "FunctionName": name, "EventSourceArn": source }).to_string();
                let all = "/2015-03-31/event-source-mappings";
                let tags =
                    "/2017-03-31/tags/arn%3Aaws%3Alambda%3Aeu-central-1%3A123456789012%3Aevent-source-mapping%3Au-1";
                let one = format!("{all}/u-1");
                for (method, path, body) in [
                    ("POST", all, create),
                    ("PUT", &one, "{}".to_owned()),
                    ("DELETE", &one, String::new()),
                    ("POST", tags, "{}".to_owned()),
                ] {
                    assert_eq!(check(method, path, body), allowed, "{name}, {whose}: {method} {path}");
                }
                // Nothing else about the function.
                let policy = format!("/2015-03-31/functions/{name}/policy");
                assert!(!check("POST", &policy, r#"{"StatementId":"acme-s"}"#.to_owned()), "{name}, {whose}");
                assert!(!check("DELETE", &format!("/2015-03-31/functions/{name}"), String::new()), "{name}, {whose}");
            }
        }
    }

    #[test]
    fn read_only_access_allows_no_writes() {
        let guard = Guard::new(Access::ReadOnly, operation::all());
        guard.observe(
            kinds::all().get("table").unwrap().schema(),
            &id("acme-t"),
            &live(Ownership::Engine(owner("acme", "s"))),
        );
        assert!(guard.check(&write("table", "acme-t", Effect::Read)).is_ok());
        assert!(guard.check(&write("table", "acme-t", Effect::Create)).is_err());
        assert!(guard.check(&write("table", "acme-t", Effect::Write)).is_err());
    }

    #[test]
    fn only_values_that_a_lookup_names_can_be_read() {
        let guard = Guard::new(Access::ReadOnly, operation::all());
        let read = |source: &str, name: &str| LookupRead {
            source: source.to_owned().into(),
            name: name.to_owned(),
            part: None,
        };
        guard.observe_lookups(&[
            read("ssm", "/a"),
            read("ssm", "/b"),
            read("secret", "app"),
            read("cfn_output", "shop.X"),
        ]);
        let is_allowed = |target: Option<&str>, body: &str| {
            let request = operation::all().parse("POST", &format!("{HOST}/"), target, body.as_bytes());
            request.is_some_and(|request| guard.check(&request).is_ok())
        };
        let (ssm, secret) = (Some("AmazonSSM.GetParameters"), Some("secretsmanager.GetSecretValue"));
        for (target, body) in [
            (ssm, r#"{"Names":["/a"],"WithDecryption":true}"#),
            (ssm, r#"{"Names":["/b","/a"]}"#),
            (secret, r#"{"SecretId":"app"}"#),
            (None, "Action=DescribeStacks&Version=2010-05-15&StackName=shop"),
        ] {
            assert!(is_allowed(target, body), "{body}");
        }
        for (target, body) in [
            (ssm, r#"{"Names":["/a","/c"]}"#),
            (ssm, r#"{"Names":[]}"#),
            (ssm, "{}"),
            (ssm, r#"{"Names":["/a"],"Names":["/c"]}"#),
            (ssm, r#"{"Names":[["/a"]]}"#),
            (Some("AmazonSSM.GetParameter"), r#"{"Name":"/a"}"#),
            (Some("AmazonSSM.GetParametersByPath"), r#"{"Path":"/"}"#),
            (secret, r#"{"SecretId":"other"}"#),
            (secret, r#"{"SecretId":"/a"}"#),
            (secret, "{}"),
            (None, "Action=DescribeStacks&Version=2010-05-15"),
            (None, "Action=DescribeStacks&Version=2010-05-15&StackName=other"),
            (None, "Action=DescribeStacks&StackName=shop&StackName=other"),
            // There is no lookup of an export.
            (None, "Action=ListExports&Version=2010-05-15"),
        ] {
            assert!(!is_allowed(target, body), "{body}");
        }
    }
}
