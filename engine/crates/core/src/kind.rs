//! The offline half of a resource type: [`Definition`], which is all that spec, plan and
//! documentation use, and [`Kinds`], the set of resource types that a program knows.
//!
//! **Invariant:** a definition makes no calls. [`Provider`](crate::provider::Provider) has the
//! operations.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::build::{Build, Built};
use crate::lookup::LookupSource;
use crate::schema::{AwsEnv, Id, Problem, Property, Schema, Shape, Str};
use crate::spec::{ResourceDecl, Spec};
use crate::value::{Path, Tree, Value};

/// Bytes to upload in addition to the properties: a function's zip.
pub type Artifact = Arc<dyn ArtifactSource>;

/// Where an artifact comes from: it may be made only when it is needed.
pub trait ArtifactSource: std::fmt::Debug + Send + Sync {
    /// Its bytes.
    ///
    /// # Errors
    /// Why it can't be made, in one sentence.
    fn bytes(&self) -> Result<Arc<[u8]>, String>;

    /// The content of the files in it whose names are wanted, without making it; `None` if they
    /// can't be read.
    fn files(&self, is_wanted: &dyn Fn(&str) -> bool) -> Option<BTreeMap<String, Vec<u8>>>;
}

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
    /// The folder in which loading may remember its results; `None` remembers none.
    pub cache: Option<PathBuf>,
}

/// The result of loading a declaration's local files.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// Values of derived properties.
    pub derived: Tree,
    /// Bytes for the kind's operations.
    pub artifact: Option<Artifact>,
    /// What has to run before the files exist. The derived values are unknown then.
    pub build: Option<Build>,
    /// Errors and warnings about the files.
    pub problems: Vec<Problem>,
}

/// A resource that a declaration implies, as if the spec declared it.
#[derive(Debug)]
pub struct ImpliedResource {
    /// Its name in the spec.
    pub name: String,
    /// Its kind.
    pub kind: Str,
    /// Its name in AWS, if it isn't the default one.
    pub aws_name: Option<String>,
    /// The properties that it has besides its kind's defaults, in canonical form.
    pub properties: Tree,
    /// The property of the declaration that refers to it, and the output that it refers to; `None`
    /// if the declaration doesn't refer to it.
    pub reference: Option<(Str, Str)>,
    /// Where the declaration has its properties, for errors about them.
    pub path: Path,
}

/// How a spec declares an existing resource, beyond the properties that AWS shows in the spec's form.
#[derive(Debug, Default)]
pub struct Exported {
    /// Properties that AWS shows in another form.
    pub properties: Tree,
    /// The property with the path of the resource's package, which has to be saved to a file.
    pub package: Option<Str>,
    /// Properties that the spec can't declare as they are, so it has to ignore their changes, each
    /// with the reason as a complete clause.
    pub ignored: Vec<(Str, String)>,
}

/// A level of access to resources of a kind, for `access:` of a role or of what uses one.
#[derive(Debug, Clone)]
pub struct AccessLevel {
    /// The word in the spec.
    pub name: Str,
    /// The IAM actions that it allows.
    pub actions: Vec<Str>,
    /// What follows a resource's ARN in the ARNs on which it allows them; empty for the resource
    /// itself.
    pub parts: Vec<Str>,
}

impl AccessLevel {
    /// A level with these actions on the resource and on these parts of it.
    pub fn new(name: &'static str, actions: &[&'static str], parts: &[&'static str]) -> AccessLevel {
        let texts = |texts: &[&'static str]| texts.iter().map(|text| Str::from(*text)).collect();
        AccessLevel { name: name.into(), actions: texts(actions), parts: texts(parts) }
    }
}

/// What follows for a declaration from the other resources of its spec.
#[derive(Debug, Default)]
pub struct Derived {
    /// Values of derived properties. They contain no references, so they make no dependency.
    pub values: Tree,
    /// Those of them that the file sets in another form, so they count as written.
    pub explicit: Vec<&'static str>,
    /// Why properties or parts of them have these values, one sentence each.
    pub reasons: Vec<(Path, String)>,
    /// The names of resources that it has to wait for although it doesn't refer to them.
    pub depends_on: Vec<String>,
    /// Errors and warnings.
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

    /// The resources that a declaration implies; `kind_of` has the kinds of the spec's other
    /// resources by name.
    fn implies(&self, _declared: &ResourceDecl, _kind_of: &dyn Fn(&str) -> Option<Str>) -> Vec<ImpliedResource> {
        Vec::new()
    }

    /// The levels that `access:` can name for resources of this kind.
    fn access_levels(&self) -> &[AccessLevel] {
        &[]
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

    /// Loads local files and adds their content hashes to the declaration. Only for files.
    ///
    /// Files that a build makes are loaded once it has run, as `built`.
    fn load(&self, _desired: &Tree, _folder: &SpecFolder, _built: Option<&Built>) -> Loaded {
        Loaded::default()
    }
}

/// The resource types that a program knows, by their name in `type:`, in alphabetical order, and
/// the sources of lookups.
#[derive(Clone, Default)]
pub struct Kinds {
    definitions: Arc<BTreeMap<String, Arc<dyn Definition>>>,
    lookups: Arc<[LookupSource]>,
}

impl Kinds {
    /// The set of these types.
    pub fn new(definitions: impl IntoIterator<Item = Arc<dyn Definition>>) -> Kinds {
        let named = definitions.into_iter().map(|it| (it.schema().kind.to_string(), it));
        Kinds { definitions: Arc::new(named.collect()), lookups: Arc::default() }
    }

    /// The same types, with these sources of lookups.
    #[must_use]
    pub fn with_lookups(self, sources: impl IntoIterator<Item = LookupSource>) -> Kinds {
        Kinds { lookups: sources.into_iter().collect(), ..self }
    }

    /// The sources of lookups.
    pub fn lookups(&self) -> &[LookupSource] {
        &self.lookups
    }

    /// The type with this name.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Definition>> {
        self.definitions.get(name)
    }

    /// All types.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Definition>> + Clone {
        self.definitions.values()
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

    /// How an identity property names its target: by the name alone, or as `service/name` if the
    /// property's first kind belongs to another service, because names are unique only within a
    /// service.
    pub fn identity(&self, property: &Property, service: &str, name: &str) -> String {
        let first = links(property).first().map(|(kind, _)| kind);
        if first.is_none_or(|kind| self.is_of_service(kind, service)) {
            name.to_owned()
        } else {
            format!("{service}/{name}")
        }
    }

    /// The same for the target of an ARN.
    pub fn identity_in_arn(&self, property: &Property, arn: &str) -> String {
        self.identity(property, service_of(arn), self.name_in_arn(arn))
    }

    /// The kind that an identity property refers to, and the name within it, from an ARN.
    pub fn linked_by_arn<'p>(&self, property: &'p Property, arn: &str) -> Option<(&'p str, String)> {
        self.target_of_arn(links(property), arn)
    }

    /// The same from [`Kinds::identity`], which may have a qualifier (`name:alias`).
    pub fn linked_by_identity<'p>(&self, property: &'p Property, identity: &str) -> Option<(&'p str, String)> {
        let (kind, name) = match identity.split_once('/') {
            Some((service, name)) => (self.linked_kind(property, service)?, name),
            None => (&*links(property).first()?.0, identity),
        };
        Some((kind, name.split(':').next()?.to_owned()))
    }

    /// The kind of this service that a property can refer to.
    fn linked_kind<'p>(&self, property: &'p Property, service: &str) -> Option<&'p str> {
        self.kind_of_service(links(property), service)
    }

    fn target_of_arn<'p>(&self, links: &'p [(Str, Str)], arn: &str) -> Option<(&'p str, String)> {
        Some((self.kind_of_service(links, service_of(arn))?, self.name_in_arn(arn).to_owned()))
    }

    fn kind_of_service<'p>(&self, links: &'p [(Str, Str)], service: &str) -> Option<&'p str> {
        links.iter().map(|(kind, _)| &**kind).find(|kind| self.is_of_service(kind, service))
    }

    /// What a live value refers to, as kind and name: by ARN in any text, and by name where its shape
    /// links to the output that is the name. Not what documents allow, which doesn't use it.
    pub fn references(&self, env: &AwsEnv, shape: &Shape, value: &Value) -> Vec<(Str, String)> {
        let of = |shape: &Shape, value: &Value| self.references(env, shape, value);
        match (shape, value) {
            (Shape::Link { to, .. }, Value::String(text)) => self.linked(env, to, text).into_iter().collect(),
            (Shape::Text(_) | Shape::TextOrRecord(..), Value::String(text)) => self.in_arn(text).into_iter().collect(),
            (Shape::Map { value: shape, .. }, Value::Map(entries)) => {
                entries.values().flat_map(|it| of(shape, it)).collect()
            }
            (Shape::List { item, .. } | Shape::Set { item, .. }, Value::List(items)) => {
                items.iter().flat_map(|it| of(item, it)).collect()
            }
            (Shape::Record(members) | Shape::TextOrRecord(_, members), Value::Map(entries)) => {
                let present = members.iter().filter_map(|it| Some((it, entries.get(&*it.name)?)));
                present.flat_map(|(member, it)| of(&member.shape, it)).collect()
            }
            (Shape::OneOf(shapes), value) => shapes.iter().flat_map(|shape| of(shape, value)).collect(),
            _ => Vec::new(),
        }
    }

    /// The target of a link to one of these outputs.
    fn linked(&self, env: &AwsEnv, to: &[(Str, Str)], text: &str) -> Option<(Str, String)> {
        if text.starts_with("arn:") {
            return self.target_of_arn(to, text).map(|(kind, name)| (kind.to_owned().into(), name));
        }
        let is_name = |(kind, attribute): &&(Str, Str)| {
            let outputs = self.get(kind).map(|kind| kind.schema().computed(env, text)).unwrap_or_default();
            outputs.get(&**attribute).is_some_and(|output| output == text)
        };
        to.iter().find(is_name).map(|(kind, _)| (kind.clone(), text.to_owned()))
    }

    /// The resource with this ARN.
    fn in_arn(&self, arn: &str) -> Option<(Str, String)> {
        let named = |schema: &Schema| Some((schema.kind.clone(), schema.arn.as_ref()?.name(arn)?.to_owned()));
        self.schemas().find_map(named)
    }

    /// Whether a kind's ARNs are of this service; a kind without ARNs fits each.
    fn is_of_service(&self, kind: &str, service: &str) -> bool {
        let form = self.get(kind).and_then(|kind| kind.schema().arn.as_ref());
        form.is_none_or(|form| form.service == service)
    }
}

fn links(property: &Property) -> &[(Str, Str)] {
    match &property.shape {
        Shape::Link { to, .. } => to,
        _ => &[],
    }
}

fn service_of(arn: &str) -> &str {
    arn.split(':').nth(2).unwrap_or_default()
}

impl std::fmt::Debug for Kinds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.definitions.keys()).finish()
    }
}
