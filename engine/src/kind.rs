//! The interface between engine and a resource type: [`Kind`] for its author, [`DynKind`] for engine.
//!
//! Engine compares plain trees, and a kind uses only its own structs. A kind's operations never get unknown values.
//!
//! **Invariant:** it doesn't refer to any kind, or to plan, graph or scheduler.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::aws::{AwsError, Context};
use crate::schema::{Contents, Id, Live, Outputs, Owner, Problem, Reading, Rule, Schema};
use crate::value::{Tree, Value, tree_to_json};

/// Bytes to upload in addition to the properties: a function's zip.
pub type Artifact = Arc<[u8]>;

/// The desired state of a resource, with all values known.
#[derive(Debug, Clone)]
pub struct Want<P> {
    /// All properties, without unknown values.
    pub props: P,
    /// The package from [`Kind::load`].
    pub artifact: Option<Artifact>,
}

/// The location of a spec's local files.
#[derive(Debug, Clone)]
pub struct SpecFolder {
    /// The spec's folder, to which its paths are relative.
    pub path: PathBuf,
    /// The project folder, which must contain all paths; `None` allows any path (`--allow-code-outside`).
    pub boundary: Option<PathBuf>,
}

/// The result of loading a declaration's local files.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Values of derived properties.
    pub derived: Tree,
    /// Bytes for the kind's operations.
    pub artifact: Option<Artifact>,
    /// Errors and warnings about the files.
    pub problems: Vec<Problem>,
}

/// One AWS resource type: its schema and its operations.
///
/// All operations are idempotent: after a crash or a lost response they run again.
pub trait Kind: Send + Sync + 'static {
    /// The properties that are compared or needed by the operations; its serde fields match the schema.
    type Props: Serialize + DeserializeOwned + Send + Sync + 'static;

    /// The properties and the effects of changing them.
    fn schema(&self) -> Schema;

    /// Fills in defaults that depend on the name or other properties, and converts values to the form that AWS returns. Runs
    /// once, after the schema's defaults; `desired` can contain unknown values.
    fn normalize(&self, _id: &Id, _desired: &mut Tree) {}

    /// Checks rules for several properties. `desired` is in canonical form, but can contain unknown values.
    fn check(&self, _desired: &Tree) -> Vec<Problem> {
        Vec::new()
    }

    /// Loads local files and adds their content hashes to the declaration. Only for files.
    fn load(&self, _desired: &Tree, _folder: &SpecFolder) -> Loaded {
        Loaded::default()
    }

    /// Reads the resource. Never fails on an incomplete resource. With an incarnation in `id`, reads only that one.
    fn read(&self, cx: &Context, id: &Id) -> impl Future<Output = Result<Reading<Self::Props>, AwsError>> + Send;

    /// The function whose queue serializes its creates, updates, deletes and releases. `settle`, which mostly waits, joins the
    /// queue only for its writes.
    fn queue<'a>(&self, _id: &'a Id) -> Option<&'a str> {
        None
    }

    /// Finds possible resources of this owner by name or parent, if the tag index is unavailable: all of this kind whose names
    /// start with the team. The owner's resource name is empty.
    fn scan(&self, _cx: &Context, _owner: &Owner) -> impl Future<Output = Result<Vec<Id>, AwsError>> + Send {
        std::future::ready(Ok(Vec::new()))
    }

    /// The data that deleting it would lose.
    fn contents(&self, _cx: &Context, _id: &Id) -> impl Future<Output = Result<Contents, AwsError>> + Send {
        std::future::ready(Ok(Contents::Empty))
    }

    /// Creates it, including tags. Returns as soon as the outputs are known: the step is *made*.
    fn create(
        &self,
        cx: &Context,
        id: &Id,
        want: Want<Self::Props>,
    ) -> impl Future<Output = Result<Outputs, AwsError>> + Send;

    /// Changes it in place from `have` to `want`, and adds missing owner tags. Unknown properties are equal in both.
    fn update(
        &self,
        cx: &Context,
        id: &Id,
        have: Live<Self::Props>,
        want: Want<Self::Props>,
    ) -> impl Future<Output = Result<Outputs, AwsError>> + Send;

    /// Waits until AWS has finished the `create` or `update`: the step is *ready*. It doesn't wait for `unknown` properties,
    /// which are missing in `want`.
    fn settle(
        &self,
        cx: &Context,
        id: &Id,
        want: &Self::Props,
        unknown: &[&'static str],
        outputs: &Outputs,
    ) -> impl Future<Output = Result<(), AwsError>> + Send;

    /// Deletes it and waits until it no longer exists. Succeeds if it is already deleted.
    fn delete(
        &self,
        cx: &Context,
        id: &Id,
        have: Live<Self::Props>,
    ) -> impl Future<Output = Result<(), AwsError>> + Send;

    /// Checks whether AWS would accept it, as far as possible before the resource that it replaces is deleted.
    ///
    /// # Errors
    /// Why AWS would reject it.
    fn precheck(
        &self,
        _cx: &Context,
        _id: &Id,
        _want: &Self::Props,
    ) -> impl Future<Output = Result<(), AwsError>> + Send {
        std::future::ready(Ok(()))
    }

    /// Re-creates a resource that was deleted for a successor that AWS then rejected. Returns `false` if it stays deleted, for
    /// kinds whose old state should not be restored.
    ///
    /// # Errors
    /// Why it can't be re-created.
    fn put_back(
        &self,
        _cx: &Context,
        _id: &Id,
        _was: Live<Self::Props>,
    ) -> impl Future<Output = Result<bool, AwsError>> + Send {
        std::future::ready(Ok(false))
    }

    /// Removes the owner tags, and changes nothing else.
    fn release(
        &self,
        _cx: &Context,
        id: &Id,
        _have: Live<Self::Props>,
    ) -> impl Future<Output = Result<(), AwsError>> + Send {
        let defect = AwsError::defect(format!("`{}` has no tags to remove", id.name));
        std::future::ready(Err(defect))
    }
}

/// A boxed future, for trait objects.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, AwsError>> + Send + 'a>>;

/// An object-safe [`Kind`] on trees; created with [`erase`].
pub trait DynKind: Send + Sync {
    /// See [`Kind::schema`].
    fn schema(&self) -> &Schema;
    /// See [`Kind::normalize`].
    fn normalize(&self, id: &Id, desired: &mut Tree);
    /// See [`Kind::check`].
    fn check(&self, desired: &Tree) -> Vec<Problem>;
    /// See [`Kind::load`].
    fn load(&self, desired: &Tree, folder: &SpecFolder) -> Loaded;
    /// See [`Kind::queue`].
    fn queue<'a>(&self, id: &'a Id) -> Option<&'a str>;
    /// See [`Kind::read`].
    fn read<'a>(&'a self, cx: &'a Context, id: &'a Id) -> Pending<'a, Reading>;
    /// See [`Kind::scan`].
    fn scan<'a>(&'a self, cx: &'a Context, owner: &'a Owner) -> Pending<'a, Vec<Id>>;
    /// See [`Kind::contents`].
    fn contents<'a>(&'a self, cx: &'a Context, id: &'a Id) -> Pending<'a, Contents>;
    /// See [`Kind::create`].
    fn create<'a>(&'a self, cx: &'a Context, id: &'a Id, want: Want<Tree>) -> Pending<'a, Outputs>;
    /// See [`Kind::update`].
    fn update<'a>(&'a self, cx: &'a Context, id: &'a Id, have: Live, want: Want<Tree>) -> Pending<'a, Outputs>;
    /// See [`Kind::settle`].
    fn settle<'a>(&'a self, cx: &'a Context, id: &'a Id, want: &'a Tree, outputs: &'a Outputs) -> Pending<'a, ()>;
    /// See [`Kind::delete`].
    fn delete<'a>(&'a self, cx: &'a Context, id: &'a Id, have: Live) -> Pending<'a, ()>;
    /// See [`Kind::precheck`].
    fn precheck<'a>(&'a self, _cx: &'a Context, _id: &'a Id, _want: &'a Tree) -> Pending<'a, ()> {
        Box::pin(std::future::ready(Ok(())))
    }
    /// See [`Kind::put_back`].
    fn put_back<'a>(&'a self, _cx: &'a Context, _id: &'a Id, _was: Live) -> Pending<'a, bool> {
        Box::pin(std::future::ready(Ok(false)))
    }
    /// See [`Kind::release`].
    fn release<'a>(&'a self, cx: &'a Context, id: &'a Id, have: Live) -> Pending<'a, ()>;
}

/// Converts a [`Kind`] to a [`DynKind`].
pub fn erase<K: Kind>(kind: K) -> Box<dyn DynKind> {
    let schema = kind.schema();
    Box::new(Erased { kind, schema })
}

struct Erased<K> {
    kind: K,
    schema: Schema,
}

impl<K: Kind> Erased<K> {
    /// Converts a tree. Trees match the schema, so a failure is a defect of the kind; it is reported instead of panicking.
    fn typed(&self, tree: &Tree) -> Result<K::Props, AwsError> {
        serde_json::from_value(tree_to_json(tree)).map_err(|error| self.defect(&error))
    }

    fn untyped(&self, live: Live<K::Props>) -> Result<Live, AwsError> {
        let json = serde_json::to_value(&live.props).map_err(|error| self.defect(&error))?;
        let Value::Map(mut props) = Value::from(json) else {
            return Err(self.defect(&"properties are not a mapping"));
        };
        // A live tree has no properties that AWS never returns.
        for property in &self.schema.properties {
            if property.change == Rule::Local || live.unknown.contains_key(property.name) {
                props.remove(property.name);
            }
        }
        Ok(live.map(props))
    }

    fn defect(&self, error: &dyn std::fmt::Display) -> AwsError {
        AwsError::defect(format!("kind `{}` and its schema disagree: {error}", self.schema.kind))
    }
}

impl<P> Live<P> {
    /// Replaces the properties.
    pub fn map<Q>(self, props: Q) -> Live<Q> {
        let Live { props: _, outputs, owner, condition, incarnation, revision, age, notes, unknown } = self;
        Live { props, outputs, owner, condition, incarnation, revision, age, notes, unknown }
    }
}

impl<K: Kind> DynKind for Erased<K> {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn normalize(&self, id: &Id, desired: &mut Tree) {
        self.kind.normalize(id, desired);
    }

    fn check(&self, desired: &Tree) -> Vec<Problem> {
        self.kind.check(desired)
    }

    fn load(&self, desired: &Tree, folder: &SpecFolder) -> Loaded {
        self.kind.load(desired, folder)
    }

    fn queue<'a>(&self, id: &'a Id) -> Option<&'a str> {
        self.kind.queue(id)
    }

    fn read<'a>(&'a self, cx: &'a Context, id: &'a Id) -> Pending<'a, Reading> {
        Box::pin(async move {
            let Reading { live, others } = self.kind.read(cx, id).await?;
            let others = others.into_iter().map(|(id, live)| Ok((id, self.untyped(live)?)));
            Ok(Reading {
                live: live.map(|live| self.untyped(live)).transpose()?,
                others: others.collect::<Result<_, _>>()?,
            })
        })
    }

    fn scan<'a>(&'a self, cx: &'a Context, owner: &'a Owner) -> Pending<'a, Vec<Id>> {
        Box::pin(self.kind.scan(cx, owner))
    }

    fn contents<'a>(&'a self, cx: &'a Context, id: &'a Id) -> Pending<'a, Contents> {
        Box::pin(self.kind.contents(cx, id))
    }

    fn create<'a>(&'a self, cx: &'a Context, id: &'a Id, want: Want<Tree>) -> Pending<'a, Outputs> {
        Box::pin(async move {
            let want = Want { props: self.typed(&want.props)?, artifact: want.artifact };
            self.kind.create(cx, id, want).await
        })
    }

    fn update<'a>(&'a self, cx: &'a Context, id: &'a Id, have: Live, want: Want<Tree>) -> Pending<'a, Outputs> {
        Box::pin(async move {
            let props = self.typed(&have.props)?;
            let want = Want { props: self.typed(&want.props)?, artifact: want.artifact };
            self.kind.update(cx, id, have.map(props), want).await
        })
    }

    fn settle<'a>(&'a self, cx: &'a Context, id: &'a Id, want: &'a Tree, outputs: &'a Outputs) -> Pending<'a, ()> {
        Box::pin(async move {
            let compared = self.schema.properties.iter().filter(|it| it.is_compared());
            let unknown: Vec<&str> = compared.map(|it| it.name).filter(|name| !want.contains_key(*name)).collect();
            let want = self.typed(want)?;
            self.kind.settle(cx, id, &want, &unknown, outputs).await
        })
    }

    fn delete<'a>(&'a self, cx: &'a Context, id: &'a Id, have: Live) -> Pending<'a, ()> {
        Box::pin(async move {
            let props = self.typed(&have.props)?;
            self.kind.delete(cx, id, have.map(props)).await
        })
    }

    fn precheck<'a>(&'a self, cx: &'a Context, id: &'a Id, want: &'a Tree) -> Pending<'a, ()> {
        Box::pin(async move {
            let want = self.typed(want)?;
            self.kind.precheck(cx, id, &want).await
        })
    }

    fn put_back<'a>(&'a self, cx: &'a Context, id: &'a Id, was: Live) -> Pending<'a, bool> {
        Box::pin(async move {
            let props = self.typed(&was.props)?;
            self.kind.put_back(cx, id, was.map(props)).await
        })
    }

    fn release<'a>(&'a self, cx: &'a Context, id: &'a Id, have: Live) -> Pending<'a, ()> {
        Box::pin(async move {
            let props = self.typed(&have.props)?;
            self.kind.release(cx, id, have.map(props)).await
        })
    }
}
