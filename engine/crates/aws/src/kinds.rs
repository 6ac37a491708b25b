//! The registry of kinds: one line and one file for each.
//!
//! **Invariant:** kinds don't depend on plan, graph or scheduler, and refer to each other only by
//! the names in [`Shape::Link`](crate::schema::Shape::Link).

pub mod function;
mod log_group;
pub mod mapping;
mod permission;
mod queue;
mod role;
pub mod runtimes;
mod table;
mod text;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value as Json, json};
use tokio::sync::watch;
use tokio::time::Instant;

use engine_core::kind::Kinds;
use engine_core::wait::Overrides;

use crate::aws::{Aws, AwsError, CallContext, Code, Context, Existing, Wait};
use crate::kind::{self, DynKind, Kind, erase};
use crate::lookups;
use crate::ownership::{OwnershipVerdict, UnreadableTags};
use crate::schema::{Id, Owner, Ownership, Presence, Problem, Property, Shape, Unknown, property};
use crate::spec::Spec;
use crate::value::{Path, Tree, Value, tree_to_json};

pub(crate) use function::async_config::destinations;
pub(crate) use function::operations::{FUNCTION, FUNCTIONS, LAMBDA_TAGS};
pub use function::{default_log_group, function_name};
pub(crate) use mapping::source::{EventSource, VISIBILITY, visibility_problem};
pub use permission::properties_of_policy;
pub(crate) use queue::operations::QUEUE;
pub(crate) use queue::{n_messages, once};
pub use role::POLICY_CHARACTERS as MAX_INLINE_CHARACTERS;
pub(crate) use role::operations::{GET_ROLE, ROLE};
pub(crate) use role::policy::{printed, printed_document};
pub(crate) use table::operations::{ALLOWED_TABLES, ITEMS, TABLE, item_operation};

/// The registry: one line for each kind.
pub fn registry() -> Vec<Arc<dyn DynKind>> {
    vec![
        erase(function::Function),
        erase(log_group::LogGroup),
        erase(mapping::Mapping),
        erase(permission::Permission),
        erase(queue::Queue),
        erase(role::Role),
        erase(table::Table),
    ]
}

/// All kinds, for specs, plans and documentation.
pub fn all() -> Kinds {
    Kinds::new(registry().into_iter().map(DynKind::definition)).with_lookups(lookups::sources())
}

/// The context of a run with all kinds.
pub fn context(aws: Arc<Aws>, overrides: Overrides, interrupt: watch::Receiver<bool>) -> Context {
    kind::context(&registry(), aws, overrides, interrupt)
}

/// The `tags` property, which all kinds share: declared tags are set, and others are kept.
fn tags() -> Property {
    let shape =
        Shape::Map { key: text::TAG_KEY.clone(), value: Box::new(Shape::Text(text::TAG_VALUE.clone())), max: 47 };
    property("tags", shape, "tags to set; other tags in AWS are kept").default(json!({})).subset()
}

/// An enumeration that AWS extends over time and engine passes on unchanged.
fn open(offered: &[&'static str]) -> Shape {
    let offered = offered.iter().map(|word| (*word).into()).collect();
    Shape::OpenChoice { offered, retired: Vec::new(), form: text::ENUM_VALUE.clone() }
}

/// How many reads may still show old values after AWS accepted a change: some reads are stale.
const LAGGING_READS: u32 = 120;

/// What is lost when a value is removed, as the note of a property.
fn removal_loss(loss: &'static str) -> impl Fn(&Value, &Value) -> Vec<String> {
    move |before, after| {
        let is_lost = *before != Value::Null && *after == Value::Null;
        is_lost.then(|| loss.to_owned()).into_iter().collect()
    }
}

/// The warning for an ARN of a service that is not a known destination of Lambda.
fn unusual_target(desired: &Tree, property: &str, services: &[&str]) -> Option<Problem> {
    unusual_service(Path::property(property), property, desired.get(property)?, services)
}

/// The same at any path.
fn unusual_service(path: Path, property: &str, arn: &Value, services: &[&str]) -> Option<Problem> {
    let service = arn.as_str()?.split(':').nth(2).filter(|service| !services.contains(service))?;
    let problem = format!("`{service}` is not a known service for `{property}`");
    let hint = format!("if AWS rejects it, use one of {}", services.join(", "));
    Some(Problem::warning(path, problem, hint))
}

/// The warning for a FIFO queue or topic as a destination of Lambda: AWS documents only standard
/// ones (docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html,
/// …/invocation-async-retain-records.html).
fn fifo_destination(path: Path, destination: &Value, spec: &Spec) -> Option<Problem> {
    let name = spec.name_of(destination).filter(|name| name.ends_with(".fifo"))?;
    let problem = format!("Lambda may refuse `{name}` as a destination, because it is FIFO");
    let why = "AWS documents only standard queues and topics as destinations";
    Some(Problem::warning(path, problem, "use a standard queue").why(why))
}

/// A resource's tags without those of engine and AWS.
fn own_tags<'a>(tags: impl IntoIterator<Item = (&'a str, &'a str)>) -> BTreeMap<String, String> {
    let own = tags.into_iter().filter(|(key, _)| !crate::schema::is_reserved_tag(key));
    own.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// A resource's own tags and its owner, from a separate read of its tags. `hidden` says why tags
/// without an owner may not be all of them yet.
///
/// # Errors
/// The read's, unless it costs only the tags.
fn tags_and_owner(
    tags: Result<BTreeMap<String, String>, AwsError>,
    hidden: impl FnOnce(&BTreeMap<String, String>) -> Option<&'static str>,
    unknown: &mut Unknown,
) -> Result<(BTreeMap<String, String>, Ownership), AwsError> {
    match tags {
        Ok(tags) => {
            let pairs = || tags.iter().map(|(key, value)| (key.as_str(), value.as_str()));
            let owner = match Ownership::from_tags(pairs()) {
                Ownership::Unowned => {
                    hidden(&tags).map_or(Ownership::Unowned, |why| Ownership::NotYetReadable(why.to_owned()))
                }
                owner => owner,
            };
            Ok((own_tags(pairs()), owner))
        }
        // A resource that was just created, or is being deleted.
        Err(error) if error.is(Code::NotFound) => {
            Ok((BTreeMap::new(), Ownership::NotYetReadable("AWS doesn't show its tags yet".to_owned())))
        }
        Err(error) => {
            unknown.insert("tags".into(), error.unreadable().ok_or(error)?);
            Ok((BTreeMap::new(), Ownership::Denied))
        }
    }
}

/// All desired tags of a resource: the three owner tags and the declared ones.
fn all_tags(owner: &crate::schema::Owner, declared: &BTreeMap<String, String>) -> HashMap<String, String> {
    let owner_tags = owner.tags().into_iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
    declared.clone().into_iter().chain(owner_tags).collect()
}

/// The declared tags that are missing or have another value in AWS.
fn missing_tags(have: &BTreeMap<String, String>, declared: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let missing = declared.iter().filter(|(key, value)| have.get(*key) != Some(value));
    missing.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// A change from one set of properties to another. A request contains only members that differ:
/// omitted members stay unchanged, need no permission, and can't overwrite values that engine
/// doesn't know.
struct Delta<'p, P> {
    from: &'p P,
    to: &'p P,
}

impl<P> Delta<'_, P> {
    /// The desired value of a request member; `None` if it doesn't differ.
    fn member<T: PartialEq>(&self, of: impl Fn(&P) -> T) -> Option<T> {
        let wanted = of(self.to);
        (of(self.from) != wanted).then_some(wanted)
    }
}

/// The properties of a resource that is created with only the required ones of `want`. A create
/// sends the difference, so that it also works in a region without a newer property.
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
            Presence::Required | Presence::Implied | Presence::Derived => continue,
        };
        tree.insert(property.name.into_owned(), value);
    }
    kind.normalize(id, &mut tree);
    serde_json::from_value(tree_to_json(&tree)).map_err(defect)
}

/// Whether tags must be written, because declared or owner tags are missing. If the tags can't be
/// read, owner tags could claim another team's resource, so this requires `assume_owner`.
fn must_tag(
    cx: &Context,
    id: &Id,
    owner: &Ownership,
    have: &BTreeMap<String, String>,
    declared: &BTreeMap<String, String>,
) -> bool {
    match OwnershipVerdict::of(owner, None, &id.owner) {
        OwnershipVerdict::Unknown(UnreadableTags::Denied) => cx.overrides.assume_owner,
        OwnershipVerdict::Unknown(UnreadableTags::Unsupported) => false,
        OwnershipVerdict::Owned => !has_tags(have, declared),
        _ => true,
    }
}

/// Whether AWS has each declared tag with the declared value.
fn has_tags(have: &BTreeMap<String, String>, declared: &BTreeMap<String, String>) -> bool {
    declared.iter().all(|(key, value)| have.get(key) == Some(value))
}

/// The identity of a resource that a scan found by its name.
fn scanned(owner: &Owner, name: String) -> Id {
    Id::named(Owner { resource: String::new(), ..owner.clone() }, name)
}

/// Removes the three owner tags from a function or mapping with this ARN, and other tags of engine.
async fn untag(cx: &Context, wait: Wait, id: &Id, (arn, others): (&str, &[&str])) -> Result<(), AwsError> {
    let send = || async {
        let keys = id.owner.tags().into_iter().map(|(key, _)| key).chain(others.iter().copied());
        let request =
            cx.aws.lambda.untag_resource().resource(arn).set_tag_keys(Some(keys.map(str::to_owned).collect()));
        request.send().await.context("UntagResource", &id.name)
    };
    cx.send(wait, &id.name, send).await.map(|_| ())
}

/// A property that is only an input: other properties follow from it, and AWS shows none like it.
/// So all of its values are equal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
struct Input;

impl<'de> Deserialize<'de> for Input {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Input, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Input)
    }
}

/// Names of the properties that differ, except those in `but`.
fn differing<P: Serialize>(one: &P, other: &P, but: &[&str]) -> Vec<String> {
    let fields = |props: &P| match serde_json::to_value(props) {
        Ok(Json::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let (one, other) = (fields(one), fields(other));
    let compared = one.iter().filter(|(name, _)| !but.contains(&name.as_str()));
    compared.filter(|(name, value)| other.get(*name) != Some(value)).map(|(name, _)| format!("`{name}`")).collect()
}

/// Properties without the `unknown` ones, which must not be compared even if this read shows them.
fn without<P: Serialize + DeserializeOwned>(props: &P, unknown: &[&str]) -> Result<P, AwsError> {
    let defect = |error: serde_json::Error| AwsError::defect(format!("properties can't be compared in part: {error}"));
    let mut json = serde_json::to_value(props).map_err(defect)?;
    if let Json::Object(fields) = &mut json {
        fields.retain(|name, _| !unknown.contains(&name.as_str()));
    }
    serde_json::from_value(json).map_err(defect)
}

/// Properties that AWS always sends but that are missing in this response.
fn missing<const N: usize>(properties: [(&'static str, bool); N]) -> Unknown {
    let missing = properties.into_iter().filter(|(_, is_missing)| *is_missing);
    missing.map(|(name, _)| (name.into(), NOT_SENT.to_owned())).collect()
}

const NOT_SENT: &str = "AWS's response doesn't include it";

/// The error for a read whose response lacks the requested data.
fn not_sent(operation: &str, name: &str) -> AwsError {
    AwsError::refused(Code::UnexpectedAnswer, operation, name, NOT_SENT)
}

/// The result of a read; `None` if it can't be read, and waiting doesn't help.
fn readable<T>(read: Result<T, AwsError>) -> Result<Option<T>, AwsError> {
    match read {
        Err(error) if error.unreadable().is_some() => Ok(None),
        read => read.map(Some),
    }
}

/// The result of a separate read. If it can't be read, only its `properties` become unknown.
fn detail<T>(
    read: Result<Option<T>, AwsError>,
    properties: &[&'static str],
    unknown: &mut Unknown,
) -> Result<Option<T>, AwsError> {
    let error = match read {
        Err(error) => error,
        read => return read,
    };
    let why = error.unreadable().ok_or(error)?;
    unknown.extend(properties.iter().map(|property| ((*property).into(), why.clone())));
    Ok(None)
}

/// Why AWS returned an error instead of an encrypted value.
fn undecrypted(code: Option<&str>, message: Option<&str>) -> String {
    let (code, message) = (code.unwrap_or_default(), message.unwrap_or_default());
    if code.contains("AccessDenied") || message.contains("access was denied") {
        "you lack permission to use the KMS key".to_owned()
    } else if message.is_empty() {
        format!("AWS can't decrypt it: {code}")
    } else if code.is_empty() {
        message.to_owned()
    } else {
        format!("AWS can't decrypt it: {message}")
    }
}

/// Accepts an existing resource of the same owner that a create found: it comes from this run, or
/// from another run with possibly different settings.
///
/// # Errors
/// `ChangedMeanwhile`, if properties are `differing`.
fn ensure_matches(operation: &str, id: &Id, differing: &[String]) -> Result<(), AwsError> {
    if differing.is_empty() {
        return Ok(());
    }
    let message = format!(
        "another run for this team and stack created it with a different {}; it was not changed",
        differing.join(", ")
    );
    Err(AwsError::changed(operation, &id.name, message))
}

/// The error for a create that found a resource of another owner with the same name.
fn name_conflict(operation: &str, id: &Id) -> AwsError {
    AwsError::own(
        Code::NameTaken,
        operation,
        &id.name,
        "another owner created a resource with this name in the meantime",
    )
}

/// How long a created resource may not be found, although AWS usually needs seconds at most, ...
const NOT_YET: Duration = Duration::from_secs(20);
/// ... and the minimum number of reads, because time also passes while the machine sleeps.
const READS_NOT_YET: u32 = 6;

/// Distinguishes a resource that can't be found yet from one that was deleted outside this run.
#[derive(Debug, Default)]
struct ExistenceTracker(Mutex<Existence>);

#[derive(Debug, Default)]
struct Existence {
    before: bool,
    missing_since: Option<Instant>,
    n_missing: u32,
}

impl ExistenceTracker {
    /// Records the result of a read; `None` means not found yet.
    ///
    /// # Errors
    /// `ChangedMeanwhile` if it was deleted: found before, and missing in two reads, since a
    /// single one may be stale.
    fn note<T>(&self, operation: &str, id: &Id, look: Option<T>) -> Result<Option<T>, AwsError> {
        if self.shows(look.is_some()) {
            return Ok(look);
        }
        Err(AwsError::changed(operation, &id.name, "it was deleted outside this run"))
    }

    /// Whether it exists, or may still appear.
    fn shows(&self, is_seen: bool) -> bool {
        let mut existence = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if is_seen {
            *existence = Existence { before: true, ..Existence::default() };
            return true;
        }
        existence.n_missing += 1;
        let waited = existence.missing_since.get_or_insert_with(Instant::now).elapsed();
        if existence.before { existence.n_missing < 2 } else { existence.n_missing < READS_NOT_YET || waited < NOT_YET }
    }

    /// The cause of a "not found" error of a call about a function: it was just created and is not
    /// visible everywhere in AWS yet, or was deleted in the meantime.
    async fn of_function(&self, cx: &Context, function: &str, error: AwsError) -> AwsError {
        let look = || async {
            let look = cx.aws.lambda.get_function().function_name(function).send().await;
            Ok(look.context("GetFunction", function).if_exists()?.is_some())
        };
        match cx.read(function, look).await {
            Err(trouble) => trouble,
            Ok(is_there) if self.shows(is_there) => AwsError { cause: Code::Busy, ..error },
            Ok(_) => {
                let message = format!("the function {function} was deleted outside this run");
                AwsError::changed(&error.operation, &error.resource, message)
            }
        }
    }
}
