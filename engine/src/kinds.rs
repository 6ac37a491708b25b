//! The registry: one line a kind, one file a kind.
//!
//! **Invariant:** kinds know nothing of plan, graph or scheduler, and nothing of each other but the words in
//! [`Shape::Link`](crate::schema::Shape::Link).

mod function;
mod mapping;
mod permission;
mod role;
pub mod runtimes;
mod table;
mod text;

use std::collections::{BTreeMap, HashMap};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};
use tokio::time::Instant;

use crate::aws::{AwsError, Class, Context, Named, Wait};
use crate::kind::{DynKind, Kind, erase};
use crate::schema::{Id, Owner, Ownership, Presence, Problem, Property, Shape, Unknown, property};
use crate::value::{Path, Tree, Value, tree_to_json};

pub use function::default_log_group;
pub use permission::properties_of_policy;

/// Every kind that `type:` can name, in alphabetical order.
pub fn registry() -> &'static BTreeMap<&'static str, Box<dyn DynKind>> {
    static REGISTRY: LazyLock<BTreeMap<&'static str, Box<dyn DynKind>>> = LazyLock::new(|| {
        [
            erase(function::Function),
            erase(mapping::Mapping),
            erase(permission::Permission),
            erase(role::Role),
            erase(table::Table),
        ]
        .into_iter()
        .map(|kind| (kind.schema().kind, kind))
        .collect()
    });
    &REGISTRY
}

/// `tags:` is the same for every kind: those declared are ensured, others left alone.
fn tags() -> Property {
    let shape = Shape::Map { key: text::TAG_KEY, value: Box::new(Shape::Text(text::TAG_VALUE)), max: 47 };
    property("tags", shape, "tags to ensure; others are left alone").default(json!({})).ensured()
}

/// A list of words that AWS extends, and of which engine only passes one on.
fn open(offered: &[&'static str]) -> Shape {
    Shape::OpenChoice { offered: offered.to_vec(), retired: Vec::new(), form: text::WORD }
}

/// What is worth a warning about an ARN of a service to which Lambda was not known to send.
fn unusual_target(desired: &Tree, property: &str, services: &[&str]) -> Option<Problem> {
    let arn = desired.get(property).and_then(Value::as_str)?;
    let service = arn.split(':').nth(2).filter(|service| !services.contains(service))?;
    let problem = format!("engine knows no `{property}` of the service `{service}`");
    let hint = format!("if AWS refuses it: it takes one of {}", services.join(", "));
    Some(Problem::warning(Path::property(property), problem, hint))
}

/// The tags in AWS that are people's, without ours and AWS's own.
fn own_tags<'a>(tags: impl IntoIterator<Item = (&'a str, &'a str)>) -> BTreeMap<String, String> {
    let own = tags.into_iter().filter(|(key, _)| !crate::schema::is_reserved_tag(key));
    own.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// All tags that a resource is to have: the owner's three and the declared ones.
fn all_tags(owner: &crate::schema::Owner, declared: &BTreeMap<String, String>) -> HashMap<String, String> {
    let ours = owner.tags().into_iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
    declared.clone().into_iter().chain(ours).collect()
}

/// The declared tags that AWS does not have with that value.
fn missing_tags(have: &BTreeMap<String, String>, declared: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let missing = declared.iter().filter(|(key, value)| have.get(*key) != Some(value));
    missing.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// A change from one set of properties to another. A request carries the members that differ and no others: what is left
/// out stays as it is, needs no permission, and can't overwrite what engine doesn't know.
struct Delta<'p, P> {
    from: &'p P,
    to: &'p P,
}

impl<P> Delta<'_, P> {
    /// A member of the request as it is wanted; `None` if it doesn't differ.
    fn member<T: PartialEq>(&self, of: impl Fn(&P) -> T) -> Option<T> {
        let wanted = of(self.to);
        (of(self.from) != wanted).then_some(wanted)
    }
}

/// The properties of a resource that is created with no more than the required ones of `want`. A create carries the
/// difference, so that it also works in a region that doesn't know a newer property.
///
/// # Errors
/// A defect: properties and schema disagree.
fn with_defaults<K: Kind>(kind: &K, id: &Id, want: &K::Props) -> Result<K::Props, AwsError> {
    let defect = |error: serde_json::Error| AwsError::defect(format!("the defaults of a kind can't be read: {error}"));
    let Value::Map(mut tree) = Value::from(serde_json::to_value(want).map_err(defect)?) else {
        return Err(AwsError::defect("properties are not a mapping".to_owned()));
    };
    for property in kind.schema().properties {
        let value = match property.presence {
            Presence::Default(default) => Value::from(default),
            Presence::Optional => Value::Null,
            Presence::Required | Presence::Derived => continue,
        };
        tree.insert(property.name.to_owned(), value);
    }
    kind.normalize(id, &mut tree);
    serde_json::from_value(tree_to_json(&tree)).map_err(defect)
}

/// Whether tags have to be written: a declared one is missing, or ours are and may be put on. Where the tags may not be
/// read, putting ours on would be a claim to what may be another team's.
fn must_tag(
    cx: &Context,
    id: &Id,
    owner: &Ownership,
    have: &BTreeMap<String, String>,
    declared: &BTreeMap<String, String>,
) -> bool {
    match owner {
        Ownership::Denied => cx.consent.assume_owner,
        Ownership::Untaggable => false,
        owner => *owner != Ownership::Engine(id.owner.clone()) || !has_tags(have, declared),
    }
}

/// Whether every declared tag stands in AWS with that value.
fn has_tags(have: &BTreeMap<String, String>, declared: &BTreeMap<String, String>) -> bool {
    declared.iter().all(|(key, value)| have.get(key) == Some(value))
}

/// What a scan has found by its name.
fn scanned(owner: &Owner, name: String) -> Id {
    Id {
        owner: Owner { resource: String::new(), ..owner.clone() },
        name,
        arn: None,
        anchors: BTreeMap::new(),
        site: None,
        incarnation: None,
    }
}

/// Takes the owner's three tags off a function or a mapping.
async fn untag(cx: &Context, wait: Wait, id: &Id, arn: &str) -> Result<(), AwsError> {
    let send = || async {
        let keys = id.owner.tags().map(|(key, _)| key.to_owned());
        let request = cx.aws.lambda.untag_resource().resource(arn).set_tag_keys(Some(keys.to_vec()));
        request.send().await.named("UntagResource", &id.name)
    };
    cx.send(wait, &id.name, send).await.map(|_| ())
}

/// Whether what was just made, or is being waited for, has come into other hands.
fn is_anothers(owner: &Ownership, id: &Id) -> bool {
    match owner {
        Ownership::Engine(owner) => (&owner.team, &owner.stack) != (&id.owner.team, &id.owner.stack),
        Ownership::CloudFormation(_) => true,
        _ => false,
    }
}

/// The names of the properties in which two differ, but for some.
fn differing<P: Serialize>(ours: &P, theirs: &P, but: &[&str]) -> Vec<String> {
    let fields = |props: &P| match serde_json::to_value(props) {
        Ok(Json::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let (ours, theirs) = (fields(ours), fields(theirs));
    let compared = ours.iter().filter(|(name, _)| !but.contains(&name.as_str()));
    compared.filter(|(name, value)| theirs.get(*name) != Some(value)).map(|(name, _)| format!("`{name}`")).collect()
}

/// Properties as if `unknown` had not been read: whatever a read shows there is not compared with what it once hid.
fn without<P: Serialize + DeserializeOwned>(props: &P, unknown: &[&str]) -> Result<P, AwsError> {
    let defect = |error: serde_json::Error| AwsError::defect(format!("properties can't be compared in part: {error}"));
    let mut json = serde_json::to_value(props).map_err(defect)?;
    if let Json::Object(fields) = &mut json {
        fields.retain(|name, _| !unknown.contains(&name.as_str()));
    }
    serde_json::from_value(json).map_err(defect)
}

/// What AWS always sends, and has not sent.
fn missing<const N: usize>(properties: [(&'static str, bool); N]) -> Unknown {
    let missing = properties.into_iter().filter(|(_, is_missing)| *is_missing);
    missing.map(|(name, _)| (name, NOT_SENT.to_owned())).collect()
}

const NOT_SENT: &str = "AWS's answer does not have it";

/// The error of a read whose answer lacks what it was asked for.
fn not_sent(operation: &str, name: &str) -> AwsError {
    AwsError::own(Class::Rejected, operation, name, NOT_SENT)
}

/// What a read found; `None`: it can't be read, and nobody has to wait for it.
fn readable<T>(read: Result<T, AwsError>) -> Result<Option<T>, AwsError> {
    match read {
        Err(error) if error.unreadable().is_some() => Ok(None),
        read => read.map(Some),
    }
}

/// Why AWS shows an error where something encrypted would be.
fn undecrypted(code: Option<&str>, message: Option<&str>) -> String {
    let (code, message) = (code.unwrap_or_default(), message.unwrap_or_default());
    match () {
        () if code.contains("AccessDenied") || message.contains("access was denied") => {
            "you lack permission to use the KMS key".to_owned()
        }
        () if message.is_empty() => format!("AWS can't decrypt it: {code}"),
        () if code.is_empty() => message.to_owned(),
        () => format!("AWS can't decrypt it: {message}"),
    }
}

/// What a create found in its place that its own owner has made: its own work, or another run's, which may want
/// something else.
///
/// # Errors
/// `Changed`, where `differing` says in what it is not as wanted.
fn made_alike(operation: &str, id: &Id, differing: &[String]) -> Result<(), AwsError> {
    if differing.is_empty() {
        return Ok(());
    }
    let message = format!(
        "another run for this team and stack made it meanwhile with another {}, and it was left as it is",
        differing.join(", ")
    );
    Err(AwsError::own(Class::Changed, operation, &id.name, message))
}

/// The error for a create that found something of somebody else's in its place.
fn taken(operation: &str, id: &Id) -> AwsError {
    AwsError::own(Class::Exists, operation, &id.name, "somebody else made one of that name meanwhile")
}

/// How long what was made may not be found yet, where AWS needs milliseconds to seconds, ...
const NOT_YET: Duration = Duration::from_secs(20);
/// ... and how often at least, for a machine that sleeps lets time pass without looking.
const LOOKS_NOT_YET: u32 = 6;

/// Tells what can't be found yet from what somebody else has deleted meanwhile.
#[derive(Debug, Default)]
struct Sighting(Mutex<Sighted>);

#[derive(Debug, Default)]
struct Sighted {
    before: bool,
    missing_since: Option<Instant>,
    n_missing: u32,
}

impl Sighting {
    /// Takes note of a look; `None`: not yet.
    ///
    /// # Errors
    /// `Changed` if it is gone: seen before, and missing in two looks, for one alone may lag behind.
    fn note<T>(&self, operation: &str, id: &Id, look: Option<T>) -> Result<Option<T>, AwsError> {
        if self.shows(look.is_some()) {
            return Ok(look);
        }
        Err(AwsError::own(Class::Changed, operation, &id.name, "changed meanwhile: somebody else deleted it"))
    }

    /// Whether it is there, or may still come to light.
    fn shows(&self, is_seen: bool) -> bool {
        let mut sighted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if is_seen {
            *sighted = Sighted { before: true, ..Sighted::default() };
            return true;
        }
        sighted.n_missing += 1;
        let waited = sighted.missing_since.get_or_insert_with(Instant::now).elapsed();
        if sighted.before { sighted.n_missing < 2 } else { sighted.n_missing < LOOKS_NOT_YET || waited < NOT_YET }
    }

    /// What a call about a function means that AWS refused since there is none: made a moment ago, so that not everybody
    /// in AWS has heard of it, or deleted meanwhile.
    async fn of_function(&self, cx: &Context, function: &str, error: AwsError) -> AwsError {
        let look = || async {
            let look = cx.aws.lambda.get_function().function_name(function).send().await;
            match look.named("GetFunction", function) {
                Err(error) if error.class == Class::NotFound => Ok(false),
                answer => answer.map(|_| true),
            }
        };
        match cx.read(function, look).await {
            Err(trouble) => trouble,
            Ok(is_there) if self.shows(is_there) => AwsError { class: Class::Busy, ..error },
            Ok(_) => {
                let message = format!("the function {function} is gone: somebody else deleted it meanwhile");
                AwsError::own(Class::Changed, &error.operation, &error.resource, message)
            }
        }
    }
}
