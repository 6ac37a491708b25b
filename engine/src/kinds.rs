//! The registry: one line a kind, one file a kind.
//!
//! **Invariant:** kinds know nothing of plan, graph or scheduler, and nothing of each other but the words in
//! [`Shape::Link`](crate::schema::Shape::Link).

mod function;
mod mapping;
mod permission;
mod role;
mod table;
mod text;

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::aws::{AwsError, Class, Context, Named, Wait};
use crate::kind::{DynKind, erase};
use crate::schema::{Id, Owner, Ownership, Property, Shape, property};

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

/// Whether what was just made, or is being waited for, has come into other hands.
fn is_anothers(owner: &Ownership, id: &Id) -> bool {
    match owner {
        Ownership::Engine(owner) => (&owner.team, &owner.stack) != (&id.owner.team, &id.owner.stack),
        Ownership::CloudFormation(_) => true,
        _ => false,
    }
}

/// The error for a create that found something of somebody else's in its place.
fn taken(operation: &str, id: &Id) -> AwsError {
    AwsError::own(Class::Changed, operation, &id.name, "somebody else made one of that name meanwhile")
}
