//! The spec: a YAML file as checked, complete declarations in canonical form, or all of its errors.
//!
//! Nothing here talks to AWS. All errors of a file are found in one pass, each with its position.
//!
//! **Invariant:** a loaded spec needs no further checks: each declaration has every property of its
//! kind with defaults filled in, each reference points to an existing resource of a fitting kind,
//! and there is no cycle.

mod check;
mod expand;
#[allow(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod files;
pub mod grammar;
mod inputs;
mod other_formats;
mod problems;
mod render;
mod structure;
pub mod template;
mod text;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

pub use check::kind_elsewhere;
pub(crate) use render::plain;

use crate::build::{Build, Built};
use crate::diagnostic::{Diagnostic, Location, Severity, SourceFile, Span};
use crate::error::AwsError;
use crate::graph::{Cycle, Graph};
use crate::kind::{Artifact, Definition, Kinds, Loaded, SpecFolder};
use crate::lookup::{Lookup, LookupValues};
use crate::remedy::{Advice, CliCommand, Remedy};
use crate::schema::{Id, Identity, Names, Problem, Property, Schema, Shape};
use crate::value::{Path, Tree, Value};
use crate::yaml::{self, Node, Yaml};
use files::Unread;

/// A spec in examples of commands.
const EXAMPLE: &str = "specs/team.yaml";

/// A spec that can be planned.
#[derive(Debug)]
pub struct Spec {
    /// The resource types that its resources can have.
    pub kinds: Kinds,
    /// The file that it was read from.
    pub file: Arc<SourceFile>,
    /// The team that owns it.
    pub team: String,
    /// Its stack within the team.
    pub stack: String,
    /// The names without the team's prefix that its resources can have.
    pub owns: BTreeSet<String>,
    /// `--region`, or the spec's `region:`.
    pub region: Option<String>,
    /// The only account that the spec allows.
    pub account: Option<String>,
    /// The resources, in the order of the file.
    pub resources: Vec<ResourceDecl>,
    /// The dependencies between the resources.
    pub graph: Graph,
    /// The outputs to print after an apply, in the order of the file.
    pub outputs: Vec<(String, Value)>,
    /// The stage that it was loaded for, if it has stages.
    pub stage: Option<String>,
    /// Why resources of the file are left out, by name.
    pub absent: BTreeMap<String, String>,
    /// The resources that one of the file is repeated as, by its name: none if it is left out.
    pub instances: BTreeMap<String, Vec<String>>,
    /// The values of variables from outside of the file, as text.
    pub inputs: BTreeMap<String, String>,
    /// The lookups that it declares, by name.
    pub lookups: BTreeMap<String, Lookup>,
    /// What uses each lookup; without it, a lookup is not read.
    pub lookup_uses: BTreeMap<String, Vec<LookupUse>>,
    /// The imported resources whose names aren't known, each with the lookup that has it.
    pub unnamed_imports: BTreeMap<String, String>,
    /// Names of resources with an invalid `import:`, which engine must not touch either.
    pub untouchable: BTreeSet<String>,
    /// Warnings, which don't stop the command.
    pub warnings: Vec<Diagnostic>,
    /// The index of each resource in `resources`.
    positions: HashMap<String, usize>,
    /// Where its local files are.
    folder: SpecFolder,
    /// What was loaded from local files, by resource.
    loaded: BTreeMap<String, Loaded>,
    /// What it was checked from; `None` if it has no file.
    source: Option<Arc<SpecSource>>,
    locations: Locations,
    rendering: render::Rendering,
}

/// What a spec is checked from.
#[derive(Debug)]
struct SpecSource {
    file: Arc<SourceFile>,
    root: Node,
    /// The file's name without its extension.
    stem: String,
    /// The file's folder.
    dir: PathBuf,
    overrides: SpecOverrides,
    depth: Depth,
}

/// A place in a spec that uses a lookup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupUse {
    /// The resource; empty for the spec's outputs.
    pub resource: String,
    /// The property.
    pub path: Path,
    /// The position of the value.
    pub span: Span,
    /// Whether the property's values are never shown.
    pub is_hidden: bool,
}

impl LookupUse {
    /// The error of a secret that would be shown there.
    fn shows_secret(&self, lookup: &str, at: Location) -> Diagnostic {
        let problem = format!("the value of `lookups.{lookup}` is secret, so {self} can't use it");
        let hint = "use it in `environment`, or let the function's code read it";
        let error = Diagnostic::error(problem, hint).at(at);
        error.why("engine hides secrets only in properties whose values are never shown")
    }
}

impl fmt::Display for LookupUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.resource.as_str() {
            "" => write!(f, "`{}`", self.path),
            resource => write!(f, "`{}` of `{resource}`", self.path),
        }
    }
}

/// One resource of a spec.
#[derive(Clone)]
pub struct ResourceDecl {
    /// Its name in the spec.
    pub name: String,
    /// Its kind.
    pub kind: Arc<dyn Definition>,
    /// Its identity in AWS.
    pub id: Id,
    /// Whether it is imported: another owner manages it, and engine only reads it.
    pub imported: bool,
    /// Its lifecycle settings.
    pub lifecycle: Lifecycle,
    /// All properties, defaults included.
    pub desired: Tree,
    /// The properties that the file sets explicitly, also in another form.
    pub explicit: BTreeSet<String>,
    /// The package built from local files.
    pub artifact: Option<Artifact>,
    /// What has to run before there is a package.
    pub build: Option<Build>,
    /// The declaration that implies it, if the file doesn't contain it.
    pub implied_by: Option<String>,
    /// Why derived properties, or parts of them, have their values.
    pub reasons: Vec<(Path, String)>,
}

/// A resource's lifecycle settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lifecycle {
    /// Adopt an existing resource without asking.
    pub adopt: bool,
    /// Never delete or replace it.
    pub protect: bool,
    /// Keep it in AWS and remove engine's tags instead of deleting it.
    pub retain: bool,
    /// Properties that are managed outside the spec.
    pub ignore_changes: BTreeSet<String>,
}

impl ResourceDecl {
    /// A resource in AWS that no spec declares: it has an identity and no desired properties.
    ///
    /// Without a tag for its name in a spec, it uses its name in AWS.
    pub fn orphan(kind: Arc<dyn Definition>, id: Id) -> ResourceDecl {
        let tagged = Some(&id.owner.resource).filter(|name| !name.is_empty());
        ResourceDecl {
            name: tagged.unwrap_or(&id.name).clone(),
            kind,
            id,
            imported: false,
            lifecycle: Lifecycle::default(),
            desired: Tree::new(),
            explicit: BTreeSet::new(),
            artifact: None,
            build: None,
            implied_by: None,
            reasons: Vec::new(),
        }
    }

    /// Its parent's kind and name in AWS.
    pub fn parent(&self) -> Option<(&str, &str)> {
        let property = self.schema().parent()?;
        let Shape::Link { to, .. } = &property.shape else { return None };
        // A qualifier follows the parent's name after a colon.
        Some((&to.first()?.0, self.id.parents.get(&property.name)?.split(':').next()?))
    }

    /// Its unique identity among resources of its kind in AWS. Two declarations with one identity
    /// would overwrite each other on every apply. `None` if its parent is unknown.
    pub fn identity(&self) -> Option<String> {
        let schema = self.schema();
        let is_set = |property: &&Property| self.desired.get(&*property.name) != Some(&Value::Null);
        let n_parents = schema.properties.iter().filter(|it| it.is_identity).filter(is_set).count();
        let parents = || self.id.parents.values().cloned().collect::<Vec<_>>().join(" and ");
        match schema.identity {
            // The name of an imported resource may be in a lookup that isn't read yet.
            Identity::Named { .. } => Some(self.id.name.clone()).filter(|name| !name.is_empty()),
            _ if self.id.parents.len() < n_parents => None,
            // A statement is identified by its ID and function, a mapping by its source and
            // function.
            Identity::Nested { .. } => Some(format!("{} on {}", self.id.name, parents())),
            Identity::ServiceAssigned => Some(parents()),
        }
    }

    /// Takes over what was loaded from local files, and returns the problems.
    fn set_loaded(&mut self, loaded: Loaded) -> Vec<Problem> {
        let Loaded { derived, artifact, build, problems } = loaded;
        self.desired.extend(derived);
        self.artifact = artifact;
        self.build = build.or(self.build.take());
        problems
    }

    /// Whether its package is still to be built.
    pub fn is_unbuilt(&self) -> bool {
        self.build.is_some() && self.artifact.is_none()
    }

    /// The schema of its kind.
    pub fn schema(&self) -> &Schema {
        self.kind.schema()
    }
}

impl fmt::Debug for ResourceDecl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Properties are omitted: they may contain environment values.
        f.debug_struct("ResourceDecl")
            .field("name", &self.name)
            .field("kind", &self.schema().kind)
            .finish_non_exhaustive()
    }
}

/// Settings from the command line and environment that override the spec.
#[derive(Debug, Clone, Default)]
pub struct SpecOverrides {
    /// `--team`.
    pub team: Option<String>,
    /// `--var name=value`.
    pub vars: BTreeMap<String, String>,
    /// `--region`.
    pub region: Option<String>,
    /// `ENGINE_VAR_NAME`, by variable name.
    pub env: BTreeMap<String, String>,
    /// `--stage`.
    pub stage: Option<String>,
    /// `ENGINE_STAGE`, for specs with stages.
    pub usual_stage: Option<String>,
    /// Whether the command uses the local AWS, whose stage is `local` if there is one.
    pub is_local: bool,
    /// `--var-file`, in the order of the command line.
    pub var_files: Vec<PathBuf>,
    /// Whether the command has further specs, which may use the same variables.
    pub is_one_of_several: bool,
    /// `--allow-code-outside`: code may be outside the project.
    pub allow_code_outside: bool,
    /// The current folder, which may be the project of specs below it.
    pub current_dir: Option<PathBuf>,
    /// The folder in which loading local files may remember its results.
    pub cache: Option<PathBuf>,
}

/// How much of a spec is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Everything, including local files.
    Full,
    /// Only what identifies the resources, without local files (`destroy`).
    Identities,
}

/// Positions of resources and properties in the file.
#[derive(Debug, Default)]
struct Locations(HashMap<String, HashMap<Path, Span>>);

impl Locations {
    fn set(&mut self, resource: &str, path: Path, span: Span) {
        match self.0.get_mut(resource) {
            Some(locations) => drop(locations.insert(path, span)),
            None => drop(self.0.insert(resource.to_owned(), HashMap::from([(path, span)]))),
        }
    }

    /// Whether the file has exactly this property.
    fn has(&self, resource: &str, path: &Path) -> bool {
        self.0.get(resource).is_some_and(|locations| locations.contains_key(path))
    }

    /// The position of a property, or of its closest ancestor in the file.
    fn get(&self, resource: &str, path: &Path) -> Option<Span> {
        let locations = self.0.get(resource)?;
        let mut path = path.clone();
        loop {
            if let Some(span) = locations.get(&path) {
                return Some(*span);
            }
            path = path.parent()?;
        }
    }
}

impl Spec {
    /// Reads and checks a spec.
    ///
    /// # Errors
    /// All errors and warnings in it.
    pub fn load(
        kinds: &Kinds,
        path: &FilePath,
        overrides: &SpecOverrides,
        depth: Depth,
    ) -> Result<Spec, Vec<Diagnostic>> {
        let bytes = read(path).map_err(|error| vec![error])?;
        Spec::parse(kinds, path, &bytes, overrides, depth)
    }

    /// Checks the spec in `bytes` as if it were the file `path`, which names the stack and is the
    /// base of relative paths.
    ///
    /// # Errors
    /// As [`Spec::load`].
    pub fn parse(
        kinds: &Kinds,
        path: &FilePath,
        bytes: &[u8],
        overrides: &SpecOverrides,
        depth: Depth,
    ) -> Result<Spec, Vec<Diagnostic>> {
        let name = path.display().to_string();
        let (file, root, errors) = yaml::read(&name, bytes);
        let may_be_spec = other_formats::may_be_spec(&file, root.as_ref());
        if !may_be_spec {
            // This may be any file on this machine, so none of its text is shown.
            file.reveal_except(vec![Span::new(0, file.text().len())]);
        }
        if let Some(error) = other_formats::recognised(&file) {
            return Err(vec![error]);
        }
        if let Some(Yaml::Map(_)) = root.as_ref().map(|root| &root.value).filter(|_| !may_be_spec) {
            return Err(vec![other_formats::unrecognised(&file)]);
        }
        let errors = match if may_be_spec { errors } else { yaml::without_keys(errors) } {
            none if none.is_empty() && root.is_none() => vec![other_formats::unrecognised(&file)],
            errors => errors,
        };
        let Some(root) = root else {
            let [team, stack, region] = ["TEAM", "STACK", "REGION"].map(str::to_owned);
            let destroy = Remedy::DestroyStack { team, stack, region };
            let hint = Advice::from("to delete the stack without its spec, ").then(destroy);
            return Err(match depth {
                Depth::Full => errors,
                Depth::Identities => errors.into_iter().map(|error| error.hint(hint.clone())).collect(),
            });
        };
        let dir = path.parent().map_or_else(PathBuf::new, FilePath::to_owned);
        let stem = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        let source = SpecSource { file, root, stem, dir, overrides: overrides.clone(), depth };
        let (spec, found) = check::check(kinds, &source, &LookupValues::default(), None);
        let spec = spec.map(|spec| Spec { source: Some(Arc::new(source)), ..spec });
        match (spec, [errors, found].concat()) {
            (Some(spec), diagnostics) if diagnostics.iter().all(|it| it.severity == Severity::Warning) => {
                Ok(Spec { warnings: diagnostics, ..spec })
            }
            // Deleting needs only owner and location, so other errors must not block a destroy.
            (Some(spec), mut diagnostics) if depth == Depth::Identities => {
                diagnostics.iter_mut().for_each(|it| it.severity = Severity::Warning);
                Ok(Spec { warnings: diagnostics, ..spec })
            }
            (_, diagnostics) => Err(diagnostics),
        }
    }

    /// The names of the stages in a spec; none if it has none or can't be read.
    pub fn stages(kinds: &Kinds, path: &FilePath, overrides: &SpecOverrides) -> Vec<String> {
        let Ok(bytes) = read(path) else { return Vec::new() };
        let (file, root, _) = yaml::read(&path.display().to_string(), &bytes);
        let dir = path.parent().map_or_else(PathBuf::new, FilePath::to_owned);
        let setting =
            expand::ExpandContext { kinds, file: &file, dir: &dir, overrides, lookups: &LookupValues::default() };
        root.map_or_else(Vec::new, |root| expand::stages(&setting, &root))
    }

    /// Whether a file is a valid YAML mapping without `resources:`, so that it only has values for
    /// specs; `None` if it can't be read.
    pub fn is_values_only(path: &FilePath) -> Option<bool> {
        let bytes = files::read(path, yaml::MAX_BYTES).ok()?;
        let (_, root, _) = yaml::read("", &bytes);
        let Yaml::Map(entries) = root?.value else { return Some(false) };
        Some(entries.iter().all(|entry| entry.key != "resources"))
    }

    /// A spec without resources, for a stack whose file no longer exists.
    ///
    /// # Errors
    /// Invalid names.
    pub fn bare(kinds: &Kinds, team: &str, stack: &str, region: Option<&str>) -> Result<Spec, Vec<Diagnostic>> {
        let wrong = check::names(team, stack, region);
        match Spec::declare((team, stack), Vec::new()) {
            Ok(spec) if wrong.is_empty() => {
                Ok(Spec { kinds: kinds.clone(), region: region.map(str::to_owned), ..spec })
            }
            // An empty spec has no cycle, so `wrong` is not empty here.
            _ => Err(wrong),
        }
    }

    /// A spec made of complete declarations, each with its `depends_on`, without a file. For
    /// library callers with their own kinds, which are all that it knows.
    ///
    /// # Errors
    /// The first cycle.
    pub fn declare(owner: (&str, &str), resources: Vec<(ResourceDecl, Vec<String>)>) -> Result<Spec, Cycle> {
        let needs = resources.iter().map(|(declared, on)| (declared, on.iter().map(String::as_str).collect()));
        let graph = check::graph(&needs.collect::<Vec<_>>())?;
        Ok(Spec {
            kinds: Kinds::new(resources.iter().map(|(declared, _)| Arc::clone(&declared.kind))),
            file: SourceFile::new("", ""),
            team: owner.0.to_owned(),
            stack: owner.1.to_owned(),
            owns: BTreeSet::new(),
            region: None,
            account: None,
            positions: resources.iter().enumerate().map(|(at, (declared, _))| (declared.name.clone(), at)).collect(),
            resources: resources.into_iter().map(|(declared, _)| declared).collect(),
            graph,
            outputs: Vec::new(),
            stage: None,
            absent: BTreeMap::new(),
            instances: BTreeMap::new(),
            inputs: BTreeMap::new(),
            lookups: BTreeMap::new(),
            lookup_uses: BTreeMap::new(),
            unnamed_imports: BTreeMap::new(),
            untouchable: BTreeSet::new(),
            warnings: Vec::new(),
            folder: SpecFolder { path: PathBuf::new(), boundary: None, cache: None },
            loaded: BTreeMap::new(),
            source: None,
            locations: Locations::default(),
            rendering: render::Rendering::default(),
        })
    }

    /// The lookups that something uses: only these are read.
    pub fn used_lookups(&self) -> impl Iterator<Item = &Lookup> {
        self.lookups.values().filter(|lookup| self.lookup_uses.contains_key(&lookup.name))
    }

    /// Whether a lookup has the name of an imported resource, or of what identifies a resource.
    pub fn names_resources(&self, lookup: &str) -> bool {
        let is_identity = |used: &LookupUse| {
            let schema = self.resource(&used.resource).map(ResourceDecl::schema);
            let property = schema.zip(used.path.root()).and_then(|(schema, root)| schema.property(root));
            used.path.root() == Some("import") || property.is_some_and(|property| property.is_identity)
        };
        self.lookup_uses.get(lookup).is_some_and(|uses| uses.iter().any(is_identity))
    }

    /// Whether some resources can only be read once lookups are: these have the names of imported
    /// resources, or of what identifies a resource.
    pub fn is_named_by_lookups(&self) -> bool {
        let is_unnamed = |declared: &ResourceDecl| {
            let mut identities = declared.schema().properties.iter().filter(|property| property.is_identity);
            identities.any(|it| declared.desired.get(&*it.name).is_some_and(|value| !value.unread_lookups().is_empty()))
        };
        !self.unnamed_imports.is_empty() || self.resources.iter().any(is_unnamed)
    }

    /// The same spec with the values of its lookups; `None` if none is known. Lookups without a known
    /// value stay unread.
    ///
    /// # Errors
    /// Values that aren't allowed where they are used.
    pub fn filled(&self, values: &LookupValues) -> Result<Option<Spec>, Vec<Diagnostic>> {
        let Some(source) = self.source.clone().filter(|_| !values.known.is_empty()) else { return Ok(None) };
        let (spec, mut found) = check::check(&self.kinds, &source, values, Some(self));
        let is_secret = |lookup: &str| values.known.get(lookup).is_some_and(|answer| answer.is_secret);
        for (lookup, uses) in self.lookup_uses.iter().filter(|(lookup, _)| is_secret(lookup)) {
            let shown = uses.iter().filter(|used| !used.is_hidden);
            found.extend(shown.map(|used| used.shows_secret(lookup, self.file.location(used.span))));
        }
        let (errors, warnings): (Vec<_>, Vec<_>) = found.into_iter().partition(|it| it.severity == Severity::Error);
        let warnings = warnings.into_iter().filter(|it| !self.warnings.contains(it)).collect();
        match spec {
            Some(spec) if errors.is_empty() => {
                let mut spec = Spec { warnings, lookup_uses: self.lookup_uses.clone(), source: Some(source), ..spec };
                spec.explain_lookups(values);
                Ok(Some(spec))
            }
            _ => Err(errors),
        }
    }

    /// Adds to each resource where its looked-up values come from.
    fn explain_lookups(&mut self, values: &LookupValues) {
        for (lookup, uses) in &self.lookup_uses {
            let Some(answer) = values.known.get(lookup) else { continue };
            for used in uses {
                let declared = self.positions.get(&used.resource).and_then(|at| self.resources.get_mut(*at));
                if let Some(declared) = declared {
                    let reason = format!("`{}` is from {}", used.path, answer.from);
                    declared.reasons.push((used.path.clone(), reason));
                }
            }
        }
    }

    /// The position of a lookup in the file.
    pub fn lookup_location(&self, lookup: &Lookup) -> Location {
        self.file.location(lookup.span)
    }

    /// The resource with this name in the spec.
    pub fn resource(&self, name: &str) -> Option<&ResourceDecl> {
        self.resources.get(*self.positions.get(name)?)
    }

    /// Loads the package of a resource whose build has run, and returns the errors and warnings in
    /// it.
    pub fn load_built(&mut self, name: &str, built: &Built) -> Vec<Diagnostic> {
        let Some(declared) = self.positions.get(name).and_then(|at| self.resources.get_mut(*at)) else {
            return Vec::new();
        };
        let loaded = declared.kind.load(&declared.desired, &self.folder, Some(built));
        let build = loaded.build.clone().or(declared.build.clone());
        self.loaded.insert(name.to_owned(), Loaded { problems: Vec::new(), build, ..loaded.clone() });
        let problems = declared.set_loaded(loaded).into_iter();
        problems
            .map(|problem| (self.location(name, &problem.path), problem))
            .map(|(at, it)| check::diagnostic_of(it, at))
            .collect()
    }

    /// The names that its resources can have in AWS.
    pub fn names(&self) -> Names<'_> {
        Names { team: &self.team, owns: &self.owns }
    }

    /// Whether its resources of a kind can have this name in AWS.
    pub fn can_have_name(&self, kind: &str, name: &str) -> bool {
        self.names().includes(self.kinds.get(kind).and_then(|kind| kind.schema().arn.as_ref()), name)
    }

    /// Whether only `owns:` has the name of a resource.
    pub fn is_listed(&self, declared: &ResourceDecl) -> bool {
        let schema = declared.schema();
        matches!(schema.identity, Identity::Named { .. })
            && self.names().is_listed(schema.arn.as_ref(), &declared.id.name)
    }

    /// The names in `owns:` that resources of a kind have, or could still have because no resource
    /// of the spec has them any more.
    pub fn listed_names<'s>(&'s self, schema: &'s Schema) -> impl Iterator<Item = &'s str> {
        let of_kind = |it: &&ResourceDecl| it.schema().kind == schema.kind && !it.imported;
        let can_have = move |name: &str| {
            let mut declared = self.resources.iter().filter(|it| it.id.name == name).peekable();
            declared.peek().is_none() || declared.any(|it| of_kind(&it))
        };
        let names = self.owns.iter().map(String::as_str).filter(|name| schema.can_be_listed(name));
        names.filter(|name| self.names().is_listed(schema.arn.as_ref(), name)).filter(move |name| can_have(name))
    }

    /// The managed (not imported) resources of a kind.
    pub fn managed(&self, kind: &str) -> impl Iterator<Item = &ResourceDecl> {
        self.resources.iter().filter(move |it| it.schema().kind == kind && !it.imported)
    }

    /// The resource that a property refers to, if its value is exactly one reference.
    pub fn target(&self, declared: &ResourceDecl, property: &str) -> Option<&ResourceDecl> {
        self.resource(declared.desired.get(property)?.referred()?.0)
    }

    /// The imported resource that a declaration is attached to, and the managed one that allows it.
    pub fn imported_parent(&self, declared: &ResourceDecl) -> Option<(&ResourceDecl, &ResourceDecl)> {
        let property = declared.schema().parent()?;
        let source = &property.imported_parent.as_ref()?.source;
        let parent = self.target(declared, &property.name).filter(|it| it.imported)?;
        Some((parent, self.target(declared, source).filter(|it| !it.imported)?))
    }

    /// The imported resources that others are attached to, by their names in the spec.
    pub fn imported_parents(&self) -> BTreeSet<&str> {
        self.resources.iter().filter_map(|it| Some(&*self.imported_parent(it)?.0.name)).collect()
    }

    /// The name in AWS of what a value refers to: a resource of this spec, or the one in an ARN.
    pub fn name_of(&self, value: &Value) -> Option<String> {
        match value {
            Value::String(arn) => Some(arn.rsplit(':').next().unwrap_or_default().to_owned()),
            value => Some(self.resource(value.referred()?.0)?.id.name.clone()),
        }
    }

    /// The position of a resource's property in the file, or of its closest ancestor.
    pub fn location(&self, resource: &str, path: &Path) -> Option<Location> {
        Some(self.file.location(self.locations.get(resource, path)?))
    }

    /// The position to show for an AWS error: the property that AWS names, else a property that
    /// often causes this error, else the resource.
    pub fn blamed(&self, resource: &str, error: &AwsError) -> Option<Location> {
        let declared = self.resource(resource)?;
        let api = error.api.as_deref();
        let members = api.map_or(&[][..], |api| &api.members);
        let named = members.iter().filter_map(|it| declared.schema().path_of(it, &declared.desired));
        let lacking = api.and_then(|api| api.lacking).into_iter().map(Path::property);
        let usual = error.blames().iter().map(|name| Path::property(name));
        let is_written = |path: &Path| path.root().is_some_and(|it| it == "name" || declared.explicit.contains(it));
        let path = lacking.chain(named).chain(usual).find(is_written);
        self.location(resource, &path.unwrap_or_default())
    }
}

/// Reads the file, at most one byte beyond the size limit of a spec.
fn read(path: &FilePath) -> Result<Vec<u8>, Diagnostic> {
    files::read(path, yaml::MAX_BYTES.saturating_add(1)).map_err(|unread| {
        let shown = path.display();
        let hint = match unread {
            Unread::Folder => Advice::from("pass a file in it; ")
                .then(CliCommand::Validate(shown.to_string()))
                .then(" checks every spec in the folder"),
            Unread::Refused(_) => "make the file readable, or pass another file".into(),
            _ => Advice::from("pass the path of a YAML file, like ").then(CliCommand::Diff { spec: Some(EXAMPLE) }),
        };
        let error = Diagnostic::error(format!("the spec `{shown}` {}", unread.reason()), hint);
        match unread {
            Unread::Special => error.why("paths in a spec are relative to it, so it must be a regular file"),
            _ => error,
        }
    })
}
