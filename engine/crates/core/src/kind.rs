//! The offline half of a resource type: [`Definition`], which is all that spec, plan and
//! documentation use, and [`Kinds`], the set of resource types that a program knows.
//!
//! **Invariant:** a definition makes no calls. [`Provider`](crate::provider::Provider) has the
//! operations.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::schema::{Id, Problem, Schema};
use crate::value::Tree;

/// Bytes to upload in addition to the properties: a function's zip.
pub type Artifact = Arc<[u8]>;

/// The desired state of a resource, with all values known.
#[derive(Debug, Clone)]
pub struct Want<P> {
    /// All properties, without unknown values.
    pub props: P,
    /// The package from [`Definition::load`].
    pub artifact: Option<Artifact>,
}

/// The location of a spec's local files.
#[derive(Debug, Clone)]
pub struct SpecFolder {
    /// The spec's folder, to which its paths are relative.
    pub path: PathBuf,
    /// The project folder, which must contain all paths; `None` allows any path
    /// (`--allow-code-outside`).
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

/// A resource type as spec, plan and documentation see it.
pub trait Definition: Send + Sync {
    /// The properties and the effects of changing them.
    fn schema(&self) -> &Schema;

    /// Fills in defaults that depend on the name or other properties, and converts values to the
    /// form that AWS returns. Runs once, after the schema's defaults; `desired` can contain unknown
    /// values.
    fn normalize(&self, _id: &Id, _desired: &mut Tree) {}

    /// Checks rules for several properties. `desired` is in canonical form, but can contain unknown
    /// values.
    fn check(&self, _desired: &Tree) -> Vec<Problem> {
        Vec::new()
    }

    /// Loads local files and adds their content hashes to the declaration. Only for files.
    fn load(&self, _desired: &Tree, _folder: &SpecFolder) -> Loaded {
        Loaded::default()
    }
}

/// The resource types that a program knows, by their name in `type:`, in alphabetical order.
#[derive(Clone, Default)]
pub struct Kinds(Arc<BTreeMap<String, Arc<dyn Definition>>>);

impl Kinds {
    /// The set of these types.
    pub fn new(definitions: impl IntoIterator<Item = Arc<dyn Definition>>) -> Kinds {
        let named = definitions.into_iter().map(|it| (it.schema().kind.to_string(), it));
        Kinds(Arc::new(named.collect()))
    }

    /// The type with this name.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Definition>> {
        self.0.get(name)
    }

    /// All types.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Definition>> + Clone {
        self.0.values()
    }

    /// The schemas of all types.
    pub fn schemas(&self) -> impl Iterator<Item = &Schema> + Clone {
        self.iter().map(|kind| kind.schema())
    }

    /// The name in the ARN of a resource of one of these types; for other ARNs, their last part.
    pub fn name_in_arn<'a>(&self, arn: &'a str) -> &'a str {
        let name = self.schemas().find_map(|schema| schema.arn.as_ref()?.name(arn));
        name.unwrap_or_else(|| arn.rsplit(['/', ':']).next().unwrap_or_default())
    }
}

impl std::fmt::Debug for Kinds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
