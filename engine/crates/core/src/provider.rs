//! The online half of a resource type: [`Provider`], its operations in AWS; and [`Account`], what a
//! run asks of the account itself.
//!
//! **Invariant:** only reads and apply hold a provider. An operation never gets unknown values.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::error::AwsError;
use crate::kind::Want;
use crate::lookup::{LookupAnswers, LookupRead};
use crate::schema::{AwsEnv, Contents, Id, Live, Outputs, Owner, Reading, Schema, Users};
use crate::spec::ResourceDecl;
use crate::value::Tree;
use crate::wait::Context;

/// A resource's tags.
pub type Tags = BTreeMap<String, String>;

/// A boxed future, for trait objects.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, AwsError>> + Send + 'a>>;

/// The operations of a resource type. All are idempotent: after a crash or a lost response they run
/// again.
pub trait Provider: Send + Sync {
    /// The key of the lock that serializes its creates, updates, deletes and releases. `wait_ready`,
    /// which mostly waits, takes the lock only for its writes.
    fn write_key<'a>(&self, _id: &'a Id) -> Option<&'a str> {
        None
    }

    /// Reads the resource. Never fails on an incomplete resource. With an unique_id in `id`,
    /// reads only that one.
    fn read<'a>(&'a self, cx: &'a Context, id: &'a Id) -> Pending<'a, Reading>;

    /// Reads a nested resource that an existing parent doesn't have where the spec declares it, from
    /// where an earlier spec may have declared it.
    fn read_elsewhere<'a>(&'a self, _cx: &'a Context, _id: &'a Id) -> Pending<'a, Reading> {
        Box::pin(std::future::ready(Ok(Reading { live: None, others: Vec::new() })))
    }

    /// Finds possible resources of this owner by name or parent, if the tag index is unavailable:
    /// all of this kind whose names start with the team. The owner's resource name is empty.
    fn list_by_prefix<'a>(&'a self, _cx: &'a Context, _owner: &'a Owner) -> Pending<'a, Vec<Id>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    /// The same for many owners at once.
    fn list_by_prefixes<'a>(&'a self, cx: &'a Context, owners: &'a [Owner]) -> Pending<'a, Vec<Id>> {
        Box::pin(async move {
            let mut found = Vec::new();
            for owner in owners {
                found.extend(self.list_by_prefix(cx, owner).await?);
            }
            Ok(found)
        })
    }

    /// The data that deleting it would lose.
    fn contents<'a>(&'a self, _cx: &'a Context, _id: &'a Id) -> Pending<'a, Contents> {
        Box::pin(std::future::ready(Ok(Contents::Empty)))
    }

    /// What uses it besides what refers to it in the spec, and would stop working without it; `None`
    /// for kinds that nothing uses.
    fn users<'a>(&'a self, _cx: &'a Context, _id: &'a Id) -> Pending<'a, Option<Users>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Downloads its package, as AWS keeps it. Only for kinds that name one in
    /// [`Definition::export`](crate::kind::Definition::export).
    fn package<'a>(&'a self, _cx: &'a Context, id: &'a Id) -> Pending<'a, Vec<u8>> {
        let defect = AwsError::defect(format!("`{}` has no package", id.name));
        Box::pin(std::future::ready(Err(defect)))
    }

    /// Creates it, including tags. Returns as soon as the outputs are known: the step is *made*.
    fn create<'a>(&'a self, cx: &'a Context, id: &'a Id, want: Want<Tree>) -> Pending<'a, Outputs>;

    /// Changes it in place from `have` to `want`, and adds missing owner tags. Unknown properties
    /// are missing in both.
    fn update<'a>(&'a self, cx: &'a Context, id: &'a Id, have: Live, want: Want<Tree>) -> Pending<'a, Outputs>;

    /// Waits until AWS has finished the `create` or `update`: the step is *ready*. It doesn't wait
    /// for properties that are missing in `want`.
    fn wait_ready<'a>(&'a self, cx: &'a Context, id: &'a Id, want: &'a Tree, outputs: &'a Outputs) -> Pending<'a, ()>;

    /// Checks what the read right before a delete doesn't show, like the data that would be lost or
    /// what would stop working; at the same time as that read. `followers` refer to it, and this run
    /// changes them right after its replacement is created.
    fn check_delete<'a>(&'a self, _cx: &'a Context, _id: &'a Id, _followers: &'a [&ResourceDecl]) -> Pending<'a, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Deletes it and waits until it no longer exists. Succeeds if it is already deleted.
    fn delete<'a>(&'a self, cx: &'a Context, id: &'a Id, have: Live) -> Pending<'a, ()>;

    /// Checks whether AWS would accept it, as far as possible before the resource that it replaces
    /// is deleted. The error is why AWS would reject it.
    fn precheck<'a>(&'a self, _cx: &'a Context, _id: &'a Id, _want: &'a Tree) -> Pending<'a, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Re-creates a resource that was deleted for a successor that AWS then rejected. Returns
    /// `false` if it stays deleted, for kinds whose old state should not be restored.
    fn put_back<'a>(&'a self, _cx: &'a Context, _id: &'a Id, _was: Live) -> Pending<'a, bool> {
        Box::pin(std::future::ready(Ok(false)))
    }

    /// Removes the owner tags, and changes nothing else.
    fn untag<'a>(&'a self, _cx: &'a Context, id: &'a Id, _have: Live) -> Pending<'a, ()> {
        let defect = AwsError::defect(format!("`{}` has no tags to remove", id.name));
        Box::pin(std::future::ready(Err(defect)))
    }
}

/// The operations of each resource type.
#[derive(Clone, Default)]
pub struct Providers(Arc<BTreeMap<String, Arc<dyn Provider>>>);

impl Providers {
    /// The operations of these types, by name.
    pub fn new(providers: impl IntoIterator<Item = (String, Arc<dyn Provider>)>) -> Providers {
        Providers(Arc::new(providers.into_iter().collect()))
    }

    /// The operations of the type with this name.
    pub fn get(&self, kind: &str) -> Option<&Arc<dyn Provider>> {
        self.0.get(kind)
    }
}

/// The account that a run works in, and the guard in front of it, which learns from every read who
/// owns what.
pub trait Account: Send + Sync {
    /// The region of all calls.
    fn region(&self) -> &str;

    /// The account's number.
    fn number(&self) -> Pending<'_, String>;

    /// All resources in the tag index that have all of these tags (an empty value matches any), as
    /// ARN and tags. The index lags behind and keeps deleted resources for a while, so each result
    /// must be read.
    fn tagged<'a>(&'a self, tags: &'a [(&'a str, &'a str)], types: &'a [&'a str]) -> Pending<'a, Vec<(String, Tags)>>;

    /// Reads the values of lookups. What nothing has the name of is `None`; an error of one read
    /// is part of the answers, and only what a retry may fix is an error of the call.
    fn look_up<'a>(&'a self, _reads: &'a [LookupRead]) -> Pending<'a, LookupAnswers> {
        Box::pin(std::future::ready(Ok(LookupAnswers::new())))
    }

    /// Records the values that the spec's lookups read: no others can be read.
    fn observe_lookups(&self, _reads: &[LookupRead]) {}

    /// Records region and account of the run.
    fn observe_env(&self, env: &AwsEnv);

    /// Records what a read of a managed resource found.
    fn observe(&self, schema: &Schema, id: &Id, live: &Live);

    /// Records that a read found nothing.
    fn observe_absence(&self, schema: &Schema, id: &Id);

    /// Records that the spec imports a resource.
    fn observe_import(&self, kind: &str, name: &str);

    /// Records that the spec attaches something to an imported resource that reads a managed resource
    /// with this ARN.
    fn observe_attachment(&self, _kind: &str, _name: &str, _source: &str) {}

    /// Records what a read of an imported resource found.
    fn observe_imported(&self, _schema: &Schema, _id: &Id, _live: Option<&Live>) {}

    /// Records that a read found this run's own resource after AWS refused to create it.
    fn observe_created(&self, name: &str);
}
