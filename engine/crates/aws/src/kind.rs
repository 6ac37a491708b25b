//! The interface for the author of a resource type: [`Kind`], with typed properties instead of
//! trees.
//!
//! **Invariant:** it doesn't refer to any kind.

use std::future::Future;
use std::sync::Arc;

use engine_core::build::Built;
use engine_core::kind::{AccessLevel, Definition, Derived, Exported, ImpliedResource, Kinds, Loaded, SpecFolder, Want};
use engine_core::provider::{Pending, Provider, Providers};
use engine_core::wait::{self, Context as Core, Overrides};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::aws::error::ErrorRow;
use crate::aws::{Aws, AwsError, Context};
use crate::operation::Operation;
use crate::schema::{Contents, Id, Live, Outputs, Owner, Problem, Reading, Rule, Schema, Str, Users};
use crate::spec::{ResourceDecl, Spec};
use crate::value::{Tree, Value, tree_to_json};

/// One AWS resource type: its schema and its operations.
///
/// All operations are idempotent: after a crash or a lost response they run again.
pub trait Kind: Send + Sync + 'static {
    /// The properties that are compared or needed by the operations; its serde fields match the
    /// schema.
    type Props: Serialize + DeserializeOwned + Send + Sync + 'static;

    /// The properties and the effects of changing them.
    fn schema(&self) -> Schema;

    /// The calls that it makes: the guard blocks all others.
    fn operations(&self) -> &'static [Operation] {
        &[]
    }

    /// What AWS's answers mean that only this type gets.
    fn errors(&self) -> &'static [ErrorRow] {
        &[]
    }

    /// Fills in defaults that depend on the name or other properties, and converts values to the
    /// form that AWS returns. Runs once, after the schema's defaults; `desired` can contain unknown
    /// values.
    fn normalize(&self, _id: &Id, _desired: &mut Tree) {}

    /// Checks rules for several properties. `desired` is in canonical form, but can contain unknown
    /// values.
    fn check(&self, _desired: &Tree) -> Vec<Problem> {
        Vec::new()
    }

    /// The resources that a declaration implies; `kind_of` has the kinds of the spec's other
    /// resources by name.
    fn implies(&self, _declared: &ResourceDecl, _kind_of: &dyn Fn(&str) -> Option<Str>) -> Vec<ImpliedResource> {
        Vec::new()
    }

    /// The levels that `access:` can name for resources of this kind.
    fn access_levels(&self) -> Vec<AccessLevel> {
        Vec::new()
    }

    /// What follows for a declaration from the other resources of its spec.
    fn derive(&self, _declared: &ResourceDecl, _spec: &Spec) -> Derived {
        Derived::default()
    }

    /// The kind and name of the resource for which AWS by itself creates one with this name, without
    /// tags.
    fn created_for(&self, _name: &str) -> Option<(Str, String)> {
        None
    }

    /// How a spec declares an existing resource with these properties, beyond what the schema says.
    fn export(&self, _live: &Tree) -> Exported {
        Exported::default()
    }

    /// Loads local files and adds their content hashes to the declaration. Only for files. Files
    /// that a build makes are loaded once it has run, as `built`.
    fn load(&self, _desired: &Tree, _folder: &SpecFolder, _built: Option<&Built>) -> Loaded {
        Loaded::default()
    }

    /// Reads the resource. Never fails on an incomplete resource. With an unique_id in `id`,
    /// reads only that one.
    fn read(&self, cx: &Context, id: &Id) -> impl Future<Output = Result<Reading<Self::Props>, AwsError>> + Send;

    /// The function whose lock serializes its creates, updates, deletes and releases. `wait_ready`,
    /// which mostly waits, takes the lock only for its writes.
    fn write_key<'a>(&self, _id: &'a Id) -> Option<&'a str> {
        None
    }

    /// Finds possible resources of this owner by name or parent, if the tag index is unavailable:
    /// all of this kind whose names start with the team. The owner's resource name is empty.
    fn list_by_prefix(&self, _cx: &Context, _owner: &Owner) -> impl Future<Output = Result<Vec<Id>, AwsError>> + Send {
        std::future::ready(Ok(Vec::new()))
    }

    /// The same for many owners at once.
    fn list_by_prefixes(
        &self,
        cx: &Context,
        owners: &[Owner],
    ) -> impl Future<Output = Result<Vec<Id>, AwsError>> + Send {
        async move {
            let mut found = Vec::new();
            for owner in owners {
                found.extend(self.list_by_prefix(cx, owner).await?);
            }
            Ok(found)
        }
    }

    /// The data that deleting it would lose.
    fn contents(&self, _cx: &Context, _id: &Id) -> impl Future<Output = Result<Contents, AwsError>> + Send {
        std::future::ready(Ok(Contents::Empty))
    }

    /// Reads a nested resource that an existing parent doesn't have where the spec declares it, from
    /// where an earlier spec may have declared it.
    fn read_elsewhere(
        &self,
        _cx: &Context,
        _id: &Id,
    ) -> impl Future<Output = Result<Reading<Self::Props>, AwsError>> + Send {
        std::future::ready(Ok(Reading { live: None, others: Vec::new() }))
    }

    /// What uses it besides what refers to it in the spec, and would stop working without it; `None`
    /// for kinds that nothing uses.
    fn users(&self, _cx: &Context, _id: &Id) -> impl Future<Output = Result<Option<Users>, AwsError>> + Send {
        std::future::ready(Ok(None))
    }

    /// Downloads its package, as AWS keeps it. Only for kinds that name one in [`Kind::export`].
    fn package(&self, _cx: &Context, id: &Id) -> impl Future<Output = Result<Vec<u8>, AwsError>> + Send {
        std::future::ready(Err(AwsError::defect(format!("`{}` has no package", id.name))))
    }

    /// Creates it, including tags. Returns as soon as the outputs are known: the step is *made*.
    fn create(
        &self,
        cx: &Context,
        id: &Id,
        want: Want<Self::Props>,
    ) -> impl Future<Output = Result<Outputs, AwsError>> + Send;

    /// Changes it in place from `have` to `want`, and adds missing owner tags. Unknown properties
    /// are equal in both.
    fn update(
        &self,
        cx: &Context,
        id: &Id,
        have: Live<Self::Props>,
        want: Want<Self::Props>,
    ) -> impl Future<Output = Result<Outputs, AwsError>> + Send;

    /// Waits until AWS has finished the `create` or `update`: the step is *ready*. It doesn't wait
    /// for `unknown` properties, which are missing in `want`.
    fn wait_ready(
        &self,
        cx: &Context,
        id: &Id,
        want: &Self::Props,
        unknown: &[&str],
        outputs: &Outputs,
    ) -> impl Future<Output = Result<(), AwsError>> + Send;

    /// Checks what the read right before a delete doesn't show, like the data that would be lost or
    /// what would stop working; at the same time as that read. `followers` refer to it, and this run
    /// changes them right after its replacement is created.
    ///
    /// # Errors
    /// Why it must not be deleted.
    fn check_delete(
        &self,
        _cx: &Context,
        _id: &Id,
        _followers: &[&ResourceDecl],
    ) -> impl Future<Output = Result<(), AwsError>> + Send {
        std::future::ready(Ok(()))
    }

    /// Deletes it and waits until it no longer exists. Succeeds if it is already deleted.
    fn delete(
        &self,
        cx: &Context,
        id: &Id,
        have: Live<Self::Props>,
    ) -> impl Future<Output = Result<(), AwsError>> + Send;

    /// Checks whether AWS would accept it, as far as possible before the resource that it replaces
    /// is deleted.
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

    /// Re-creates a resource that was deleted for a successor that AWS then rejected. Returns
    /// `false` if it stays deleted, for kinds whose old state should not be restored.
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
    fn untag(
        &self,
        _cx: &Context,
        id: &Id,
        _have: Live<Self::Props>,
    ) -> impl Future<Output = Result<(), AwsError>> + Send {
        let defect = AwsError::defect(format!("`{}` has no tags to remove", id.name));
        std::future::ready(Err(defect))
    }
}

/// A resource type, from which both halves can be made.
pub trait DynKind: Send + Sync {
    /// Its offline half.
    fn definition(self: Arc<Self>) -> Arc<dyn Definition>;

    /// The calls that it makes.
    fn operations(&self) -> &'static [Operation];

    /// What AWS's answers mean that only this type gets.
    fn errors(&self) -> &'static [ErrorRow];

    /// Its operations with these clients.
    fn provider(self: Arc<Self>, aws: Arc<Aws>) -> Arc<dyn Provider>;
}

/// Converts a [`Kind`] to a [`DynKind`].
pub fn erase<K: Kind>(kind: K) -> Arc<dyn DynKind> {
    let (schema, access_levels) = (kind.schema(), kind.access_levels());
    Arc::new(Erased { kind, schema, access_levels })
}

/// The context of a run with these kinds and clients; its waits end when `interrupt` becomes true.
pub fn context(
    registry: &[Arc<dyn DynKind>],
    aws: Arc<Aws>,
    overrides: Overrides,
    interrupt: watch::Receiver<bool>,
) -> Context {
    let definitions = || registry.iter().map(|kind| Arc::clone(kind).definition());
    let providers = definitions()
        .zip(registry)
        .map(|(definition, kind)| (definition.schema().kind.to_string(), Arc::clone(kind).provider(Arc::clone(&aws))));
    let connected = wait::ConnectionParts {
        account: Arc::<Aws>::clone(&aws),
        limits: Arc::clone(&aws.limits),
        secrets: Arc::clone(&aws.secrets),
        recorder: Arc::clone(&aws.recorder),
        providers: Providers::new(providers),
        kinds: Kinds::new(definitions()),
    };
    Context::with_clients(Core::new(connected, overrides, interrupt), aws)
}

struct Erased<K> {
    kind: K,
    schema: Schema,
    access_levels: Vec<AccessLevel>,
}

/// A kind with its clients.
struct ConnectedKind<K> {
    kind: Arc<Erased<K>>,
    aws: Arc<Aws>,
}

impl<K> ConnectedKind<K> {
    fn context(&self, cx: &Core) -> Context {
        Context::with_clients(cx.clone(), Arc::clone(&self.aws))
    }
}

impl<K: Kind> DynKind for Erased<K> {
    fn definition(self: Arc<Self>) -> Arc<dyn Definition> {
        self
    }

    fn operations(&self) -> &'static [Operation] {
        self.kind.operations()
    }

    fn errors(&self) -> &'static [ErrorRow] {
        self.kind.errors()
    }

    fn provider(self: Arc<Self>, aws: Arc<Aws>) -> Arc<dyn Provider> {
        Arc::new(ConnectedKind { kind: self, aws })
    }
}

impl<K: Kind> Erased<K> {
    /// Converts a tree. Trees match the schema, so a failure is a defect of the kind; it is
    /// reported instead of panicking.
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
            if property.change == Rule::WriteOnly || live.unknown.contains_key(&property.name) {
                props.remove(&*property.name);
            }
        }
        Ok(live.map(props))
    }

    fn defect(&self, error: &dyn std::fmt::Display) -> AwsError {
        AwsError::defect(format!("kind `{}` and its schema disagree: {error}", self.schema.kind))
    }
}

impl<K: Kind> Definition for Erased<K> {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn normalize(&self, id: &Id, desired: &mut Tree) {
        self.kind.normalize(id, desired);
    }

    fn check(&self, desired: &Tree) -> Vec<Problem> {
        self.kind.check(desired)
    }

    fn implies(&self, declared: &ResourceDecl, kind_of: &dyn Fn(&str) -> Option<Str>) -> Vec<ImpliedResource> {
        self.kind.implies(declared, kind_of)
    }

    fn access_levels(&self) -> &[AccessLevel] {
        &self.access_levels
    }

    fn derive(&self, declared: &ResourceDecl, spec: &Spec) -> Derived {
        self.kind.derive(declared, spec)
    }

    fn created_for(&self, name: &str) -> Option<(Str, String)> {
        self.kind.created_for(name)
    }

    fn export(&self, live: &Tree) -> Exported {
        self.kind.export(live)
    }

    fn load(&self, desired: &Tree, folder: &SpecFolder, built: Option<&Built>) -> Loaded {
        self.kind.load(desired, folder, built)
    }
}

impl<K: Kind> ConnectedKind<K> {
    fn untyped(&self, Reading { live, others }: Reading<K::Props>) -> Result<Reading, AwsError> {
        let others = others.into_iter().map(|(id, live)| Ok((id, self.kind.untyped(live)?)));
        Ok(Reading {
            live: live.map(|live| self.kind.untyped(live)).transpose()?,
            others: others.collect::<Result<_, _>>()?,
        })
    }
}

impl<K: Kind> Provider for ConnectedKind<K> {
    fn write_key<'a>(&self, id: &'a Id) -> Option<&'a str> {
        self.kind.kind.write_key(id)
    }

    fn read<'a>(&'a self, cx: &'a Core, id: &'a Id) -> Pending<'a, Reading> {
        Box::pin(async move { self.untyped(self.kind.kind.read(&self.context(cx), id).await?) })
    }

    fn read_elsewhere<'a>(&'a self, cx: &'a Core, id: &'a Id) -> Pending<'a, Reading> {
        Box::pin(async move { self.untyped(self.kind.kind.read_elsewhere(&self.context(cx), id).await?) })
    }

    fn list_by_prefix<'a>(&'a self, cx: &'a Core, owner: &'a Owner) -> Pending<'a, Vec<Id>> {
        Box::pin(async move { self.kind.kind.list_by_prefix(&self.context(cx), owner).await })
    }

    fn list_by_prefixes<'a>(&'a self, cx: &'a Core, owners: &'a [Owner]) -> Pending<'a, Vec<Id>> {
        Box::pin(async move { self.kind.kind.list_by_prefixes(&self.context(cx), owners).await })
    }

    fn contents<'a>(&'a self, cx: &'a Core, id: &'a Id) -> Pending<'a, Contents> {
        Box::pin(async move { self.kind.kind.contents(&self.context(cx), id).await })
    }

    fn users<'a>(&'a self, cx: &'a Core, id: &'a Id) -> Pending<'a, Option<Users>> {
        Box::pin(async move { self.kind.kind.users(&self.context(cx), id).await })
    }

    fn package<'a>(&'a self, cx: &'a Core, id: &'a Id) -> Pending<'a, Vec<u8>> {
        Box::pin(async move { self.kind.kind.package(&self.context(cx), id).await })
    }

    fn create<'a>(&'a self, cx: &'a Core, id: &'a Id, want: Want<Tree>) -> Pending<'a, Outputs> {
        Box::pin(async move {
            let cx = self.context(cx);
            let want = Want { props: self.kind.typed(&want.props)?, artifact: want.artifact };
            self.kind.kind.create(&cx, id, want).await
        })
    }

    fn update<'a>(&'a self, cx: &'a Core, id: &'a Id, have: Live, want: Want<Tree>) -> Pending<'a, Outputs> {
        Box::pin(async move {
            let cx = self.context(cx);
            let props = self.kind.typed(&have.props)?;
            let want = Want { props: self.kind.typed(&want.props)?, artifact: want.artifact };
            self.kind.kind.update(&cx, id, have.map(props), want).await
        })
    }

    fn wait_ready<'a>(&'a self, cx: &'a Core, id: &'a Id, want: &'a Tree, outputs: &'a Outputs) -> Pending<'a, ()> {
        Box::pin(async move {
            let cx = self.context(cx);
            let compared = self.kind.schema.properties.iter().filter(|it| it.is_compared());
            let unknown: Vec<&str> = compared.map(|it| &*it.name).filter(|name| !want.contains_key(*name)).collect();
            let want = self.kind.typed(want)?;
            self.kind.kind.wait_ready(&cx, id, &want, &unknown, outputs).await
        })
    }

    fn check_delete<'a>(&'a self, cx: &'a Core, id: &'a Id, followers: &'a [&ResourceDecl]) -> Pending<'a, ()> {
        Box::pin(async move { self.kind.kind.check_delete(&self.context(cx), id, followers).await })
    }

    fn delete<'a>(&'a self, cx: &'a Core, id: &'a Id, have: Live) -> Pending<'a, ()> {
        Box::pin(async move {
            let cx = self.context(cx);
            let props = self.kind.typed(&have.props)?;
            self.kind.kind.delete(&cx, id, have.map(props)).await
        })
    }

    fn precheck<'a>(&'a self, cx: &'a Core, id: &'a Id, want: &'a Tree) -> Pending<'a, ()> {
        Box::pin(async move {
            let cx = self.context(cx);
            let want = self.kind.typed(want)?;
            self.kind.kind.precheck(&cx, id, &want).await
        })
    }

    fn put_back<'a>(&'a self, cx: &'a Core, id: &'a Id, was: Live) -> Pending<'a, bool> {
        Box::pin(async move {
            let cx = self.context(cx);
            let props = self.kind.typed(&was.props)?;
            self.kind.kind.put_back(&cx, id, was.map(props)).await
        })
    }

    fn untag<'a>(&'a self, cx: &'a Core, id: &'a Id, have: Live) -> Pending<'a, ()> {
        Box::pin(async move {
            let cx = self.context(cx);
            let props = self.kind.typed(&have.props)?;
            self.kind.kind.untag(&cx, id, have.map(props)).await
        })
    }
}
