//! The contract between the engine and a resource type: [`Kind`] for the author of one, [`DynKind`] for the engine.
//!
//! Trees in the middle, types at both ends: the engine compares plain trees, a kind meets only its own structs, and
//! neither ever meets a value that is not known yet.
//!
//! **Invariant:** no kind is named here, and nothing of plan, graph or scheduler.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::aws::{AwsError, Context};
use crate::schema::{Contents, Id, Live, Outputs, Owner, Problem, Reading, Rule, Schema};
use crate::value::{Tree, Value, tree_to_json};

/// Bytes that go to AWS beside the properties: a function's zip.
pub type Artifact = Arc<[u8]>;

/// What a spec wants a resource to be, at the moment it is made so.
#[derive(Debug, Clone)]
pub struct Want<P> {
    /// All properties; nothing is unknown.
    pub props: P,
    /// What [`Kind::load`] packed.
    pub artifact: Option<Artifact>,
}

/// Where a spec's local files are.
#[derive(Debug, Clone)]
pub struct SpecFolder {
    /// The folder of the spec, which relative paths in it begin at.
    pub path: PathBuf,
    /// The project's folder, which no path may lead out of; `None`: paths may lead anywhere (`--allow-code-outside`).
    pub boundary: Option<PathBuf>,
}

/// What local files add to a declaration.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Values for the derived properties.
    pub derived: Tree,
    /// Bytes for the verbs.
    pub artifact: Option<Artifact>,
    /// What is wrong with the files, or worth a warning.
    pub problems: Vec<Problem>,
}

/// One AWS resource type: a table of what its changes mean, and its verbs.
///
/// Every verb bears repetition: after a crash or a lost answer it is simply run again.
pub trait Kind: Send + Sync + 'static {
    /// The properties that are compared or needed by the verbs; its serde fields are those of the schema.
    type Props: Serialize + DeserializeOwned + Send + Sync + 'static;

    /// The table of what can be set and what a change means.
    fn schema(&self) -> Schema;

    /// Fills in defaults that depend on the name or on other properties, and brings what is written into the form in
    /// which AWS shows it. Runs once, after the table's own defaults; `desired` may hold unknown values.
    fn normalize(&self, _id: &Id, _desired: &mut Tree) {}

    /// Rules that tie several properties together. `desired` is canonical, but may hold unknown values.
    fn check(&self, _desired: &Tree) -> Vec<Problem> {
        Vec::new()
    }

    /// Folds local files into the declaration as content hashes. Files only.
    fn load(&self, _desired: &Tree, _folder: &SpecFolder) -> Loaded {
        Loaded::default()
    }

    /// What stands in AWS. Never fails on a half-made resource. With an incarnation in `id`, that one alone.
    fn read(&self, cx: &Context, id: &Id) -> impl Future<Output = Result<Reading<Self::Props>, AwsError>> + Send;

    /// The function in whose line its creates, updates, deletes and releases stand: they are one at a time, and none begins
    /// before the one in front is over. `settle`, which mostly waits, takes its turn for itself.
    fn queue<'a>(&self, _id: &'a Id) -> Option<&'a str> {
        None
    }

    /// What may be this owner's by its name or by what it belongs to, where the tag index can't be asked: all of the
    /// kind whose name begins with the team's. The owner's resource name is empty.
    fn scan(&self, _cx: &Context, _owner: &Owner) -> impl Future<Output = Result<Vec<Id>, AwsError>> + Send {
        std::future::ready(Ok(Vec::new()))
    }

    /// What would be lost with it.
    fn contents(&self, _cx: &Context, _id: &Id) -> impl Future<Output = Result<Contents, AwsError>> + Send {
        std::future::ready(Ok(Contents::Empty))
    }

    /// Makes it. Returns as soon as AWS names the outputs: the step is *made*. Tags go with the create call.
    fn create(
        &self,
        cx: &Context,
        id: &Id,
        want: Want<Self::Props>,
    ) -> impl Future<Output = Result<Outputs, AwsError>> + Send;

    /// Changes it in place, from `have` to `want`; also puts our tags on it if they are missing. Unknown properties are
    /// equal in both.
    fn update(
        &self,
        cx: &Context,
        id: &Id,
        have: Live<Self::Props>,
        want: Want<Self::Props>,
    ) -> impl Future<Output = Result<Outputs, AwsError>> + Send;

    /// Waits until AWS is done with what `create` or `update` began: the step is *ready*. It doesn't wait for the
    /// values of `unknown` properties, which `want` does not have.
    fn settle(
        &self,
        cx: &Context,
        id: &Id,
        want: &Self::Props,
        unknown: &[&'static str],
        outputs: &Outputs,
    ) -> impl Future<Output = Result<(), AwsError>> + Send;

    /// Removes it and waits until it is gone. What is gone already is fine.
    fn delete(
        &self,
        cx: &Context,
        id: &Id,
        have: Live<Self::Props>,
    ) -> impl Future<Output = Result<(), AwsError>> + Send;

    /// Whether AWS would take it, as far as that can be known before the one that it replaces is deleted.
    ///
    /// # Errors
    /// Why it would not.
    fn precheck(
        &self,
        _cx: &Context,
        _id: &Id,
        _want: &Self::Props,
    ) -> impl Future<Output = Result<(), AwsError>> + Send {
        std::future::ready(Ok(()))
    }

    /// Creates what was deleted for a successor that AWS then refused. `false`: it stays deleted, for a kind whose old state
    /// should not come back.
    ///
    /// # Errors
    /// Why it can't be created again.
    fn put_back(
        &self,
        _cx: &Context,
        _id: &Id,
        _was: Live<Self::Props>,
    ) -> impl Future<Output = Result<bool, AwsError>> + Send {
        std::future::ready(Ok(false))
    }

    /// Takes our tags off it, and changes nothing else.
    fn release(
        &self,
        _cx: &Context,
        id: &Id,
        _have: Live<Self::Props>,
    ) -> impl Future<Output = Result<(), AwsError>> + Send {
        let defect = AwsError::defect(format!("`{}` has no tags that could be taken off", id.name));
        std::future::ready(Err(defect))
    }
}

/// A future as trait objects return it.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, AwsError>> + Send + 'a>>;

/// [`Kind`] on trees and object safe; [`erase`] makes one.
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

/// Makes the engine's view out of the author's.
pub fn erase<K: Kind>(kind: K) -> Box<dyn DynKind> {
    let schema = kind.schema();
    Box::new(Erased { kind, schema })
}

struct Erased<K> {
    kind: K,
    schema: Schema,
}

impl<K: Kind> Erased<K> {
    /// Trees were checked against the schema when the spec was read, so a failure here is a defect of the kind; it is
    /// reported as one instead of ending the process.
    fn typed(&self, tree: &Tree) -> Result<K::Props, AwsError> {
        serde_json::from_value(tree_to_json(tree)).map_err(|error| self.defect(&error))
    }

    fn untyped(&self, live: Live<K::Props>) -> Result<Live, AwsError> {
        let json = serde_json::to_value(&live.props).map_err(|error| self.defect(&error))?;
        let Value::Map(mut props) = Value::from(json) else {
            return Err(self.defect(&"properties are not a mapping"));
        };
        // What AWS never returns is no part of a live tree.
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
    /// The same with other properties.
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
