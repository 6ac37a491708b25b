//! The spec: a YAML file as declarations that are checked, complete and canonical, or everything that is wrong with it.
//!
//! Nothing here talks to AWS. All errors of a file are found in one go, each with its place.
//!
//! **Invariant:** what leaves this module needs no further checking: every declaration has all properties of its kind
//! with defaults filled in, every reference names something that exists and fits, and there is no cycle.

mod check;
mod foreign;
pub mod grammar;
pub mod template;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

pub(crate) use check::{kind_elsewhere, nearest};

use crate::aws::AwsError;
use crate::diagnostic::{Diagnostic, Place, Severity, SourceFile, Span};
use crate::files::{self, Unread};
use crate::graph::{Cycle, Graph};
use crate::kind::{Artifact, DynKind};
use crate::schema::{Id, Naming, Schema, Shape};
use crate::value::{Hole, Path, Tree, Value};
use crate::yaml::{self, Yaml};

/// A spec that can be planned.
#[derive(Debug)]
pub struct Spec {
    /// The file it came from.
    pub file: Arc<SourceFile>,
    /// Whose it is.
    pub team: String,
    /// Which of the team's stacks it is.
    pub stack: String,
    /// `--region`, else the spec's.
    pub region: Option<String>,
    /// The account the spec insists on.
    pub account: Option<String>,
    /// In the order of the file.
    pub resources: Vec<Declared>,
    /// Who needs whom.
    pub graph: Graph,
    /// What is printed after an apply, in the order of the file.
    pub outputs: Vec<(String, Value)>,
    /// Names of what is imported as something that can't be told.
    pub untouchable: BTreeSet<String>,
    /// What is worth knowing but stops nothing.
    pub warnings: Vec<Diagnostic>,
    /// The index of each resource in `resources`.
    positions: HashMap<String, usize>,
    places: Places,
}

/// One resource of a spec.
#[derive(Clone)]
pub struct Declared {
    /// Its name in the spec.
    pub name: String,
    /// What it is.
    pub kind: &'static dyn DynKind,
    /// What it is in AWS.
    pub id: Id,
    /// Whether somebody else owns it.
    pub imported: bool,
    /// What the spec says about its coming and going.
    pub lifecycle: Lifecycle,
    /// All properties, defaults included.
    pub desired: Tree,
    /// The properties that stand in the file.
    pub written: BTreeSet<String>,
    /// What the local files were packed to.
    pub artifact: Option<Artifact>,
}

/// What a spec says about a resource's coming and going.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lifecycle {
    /// It may be taken over without a question.
    pub adopt: bool,
    /// It is never deleted or replaced.
    pub protect: bool,
    /// Instead of being deleted it is handed over: our tags come off.
    pub retain: bool,
    /// Properties that somebody else changes.
    pub ignore_changes: BTreeSet<String>,
}

impl Declared {
    /// Something in AWS that nothing declares: known by its identity, and nothing is desired of it.
    ///
    /// Where no tag says what it was called in a spec, it goes by its name in AWS.
    pub fn leftover(kind: &'static dyn DynKind, id: Id) -> Declared {
        let tagged = Some(&id.owner.resource).filter(|name| !name.is_empty());
        Declared {
            name: tagged.unwrap_or(&id.name).clone(),
            kind,
            id,
            imported: false,
            lifecycle: Lifecycle::default(),
            desired: Tree::new(),
            written: BTreeSet::new(),
            artifact: None,
        }
    }

    /// What it lives in or hangs on, as kind and name in AWS: what its first identity property refers to.
    pub fn host(&self) -> Option<(&'static str, &str)> {
        let property = self.schema().properties.iter().find(|property| property.identity)?;
        let Shape::Link { to, .. } = &property.shape else { return None };
        // A qualifier names a part of it.
        Some((to.first()?.0, self.id.anchors.get(property.name)?.split(':').next()?))
    }

    /// What tells it from all others of its kind in AWS: two declarations of one identity would undo each other for ever.
    /// `None`: what it is attached to is not known.
    pub fn identity(&self) -> Option<String> {
        let schema = self.schema();
        let n_anchors = schema.properties.iter().filter(|property| property.identity).count();
        let anchors = || self.id.anchors.values().cloned().collect::<Vec<_>>().join(" and ");
        match schema.naming {
            Naming::Own { .. } => Some(self.id.name.clone()),
            _ if self.id.anchors.len() < n_anchors => None,
            // A statement is its id and its function, a mapping what it connects.
            Naming::Inner { .. } => Some(format!("{} on {}", self.id.name, anchors())),
            Naming::Assigned => Some(anchors()),
        }
    }

    /// The table of its kind.
    pub fn schema(&self) -> &'static Schema {
        self.kind.schema()
    }
}

impl fmt::Debug for Declared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No properties: they may hold environment values.
        f.debug_struct("Declared").field("name", &self.name).field("kind", &self.schema().kind).finish_non_exhaustive()
    }
}

/// What the command line adds to a spec.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--team`.
    pub team: Option<String>,
    /// `--var name=value`.
    pub vars: BTreeMap<String, String>,
    /// `--region`.
    pub region: Option<String>,
    /// `ENGINE_VAR_name`, by name.
    pub env: BTreeMap<String, String>,
    /// `--allow-code-outside`: code may lie outside the project.
    pub allow_code_outside: bool,
}

/// How much of a spec is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// All of it, local files included.
    Full,
    /// Enough to find the resources: local files are not looked at (`destroy`).
    Identities,
}

/// Where the parts of a spec stand.
#[derive(Debug, Default)]
struct Places(HashMap<String, HashMap<Path, Span>>);

impl Places {
    fn set(&mut self, resource: &str, path: Path, span: Span) {
        match self.0.get_mut(resource) {
            Some(places) => drop(places.insert(path, span)),
            None => drop(self.0.insert(resource.to_owned(), HashMap::from([(path, span)]))),
        }
    }

    /// The place of a property, or of the closest thing around it that stands in the file.
    fn get(&self, resource: &str, path: &Path) -> Option<Span> {
        let places = self.0.get(resource)?;
        let mut path = path.clone();
        loop {
            if let Some(span) = places.get(&path) {
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
    /// Everything that is wrong with it, warnings included.
    pub fn load(path: &FilePath, overrides: &Overrides, depth: Depth) -> Result<Spec, Vec<Diagnostic>> {
        let bytes = read(path).map_err(|error| vec![error])?;
        Spec::parse(path, &bytes, overrides, depth)
    }

    /// Checks the spec that `bytes` are, as if they stood in the file `path`: it names the stack, and what the spec names
    /// lies beside it.
    ///
    /// # Errors
    /// As [`Spec::load`].
    pub fn parse(path: &FilePath, bytes: &[u8], overrides: &Overrides, depth: Depth) -> Result<Spec, Vec<Diagnostic>> {
        let name = path.display().to_string();
        let (file, root, errors) = yaml::read(&name, bytes);
        let may_be_spec = foreign::may_be_spec(&file, root.as_ref());
        if !may_be_spec {
            // It may be any file of this machine, so nothing of its text is shown.
            file.reveal_except(vec![Span::new(0, file.text().len())]);
        }
        if let Some(foreign) = foreign::recognised(&file) {
            return Err(vec![foreign]);
        }
        if let Some(Yaml::Map(_)) = root.as_ref().map(|root| &root.value).filter(|_| !may_be_spec) {
            return Err(vec![foreign::unrecognised(&file)]);
        }
        let errors = match if may_be_spec { errors } else { yaml::without_keys(errors) } {
            none if none.is_empty() && root.is_none() => vec![foreign::unrecognised(&file)],
            errors => errors,
        };
        let Some(root) = root else {
            let hint =
                "without the spec, `engine destroy --team TEAM --stack STACK --region REGION` deletes what they own";
            return Err(match depth {
                Depth::Full => errors,
                Depth::Identities => errors.into_iter().map(|error| error.hint(hint)).collect(),
            });
        };
        let dir = path.parent().map_or_else(PathBuf::new, FilePath::to_owned);
        let stem = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        let (spec, found) = check::check(&file, &root, &stem, &dir, overrides, depth);
        match (spec, [errors, found].concat()) {
            (Some(spec), diagnostics) if diagnostics.iter().all(|it| it.severity == Severity::Warning) => {
                Ok(Spec { warnings: diagnostics, ..spec })
            }
            // To delete something takes its owner and place; what else is wrong keeps nobody from cleaning up.
            (Some(spec), mut diagnostics) if depth == Depth::Identities => {
                diagnostics.iter_mut().for_each(|it| it.severity = Severity::Warning);
                Ok(Spec { warnings: diagnostics, ..spec })
            }
            (_, diagnostics) => Err(diagnostics),
        }
    }

    /// A spec that declares nothing: what is left of a stack whose file is gone.
    ///
    /// # Errors
    /// What is wrong with the names.
    pub fn bare(team: &str, stack: &str, region: Option<&str>) -> Result<Spec, Vec<Diagnostic>> {
        let wrong = check::names(team, stack, region);
        match Spec::declare((team, stack), Vec::new()) {
            Ok(spec) if wrong.is_empty() => Ok(Spec { region: region.map(str::to_owned), ..spec }),
            // Nothing can't go in circles.
            _ => Err(wrong),
        }
    }

    /// A spec out of complete declarations, each with what it names in `depends_on`; there is no file behind it. For
    /// callers that bring kinds of their own.
    ///
    /// # Errors
    /// The first cycle.
    pub fn declare(owner: (&str, &str), resources: Vec<(Declared, Vec<String>)>) -> Result<Spec, Cycle> {
        let needs = resources.iter().map(|(declared, on)| (declared, on.iter().map(String::as_str).collect()));
        let graph = check::graph(&needs.collect::<Vec<_>>())?;
        Ok(Spec {
            file: SourceFile::new("", ""),
            team: owner.0.to_owned(),
            stack: owner.1.to_owned(),
            region: None,
            account: None,
            positions: resources.iter().enumerate().map(|(at, (declared, _))| (declared.name.clone(), at)).collect(),
            resources: resources.into_iter().map(|(declared, _)| declared).collect(),
            graph,
            outputs: Vec::new(),
            untouchable: BTreeSet::new(),
            warnings: Vec::new(),
            places: Places::default(),
        })
    }

    /// The resource of that name.
    pub fn resource(&self, name: &str) -> Option<&Declared> {
        self.resources.get(*self.positions.get(name)?)
    }

    /// What the engine makes of a kind.
    pub fn managed(&self, kind: &'static str) -> impl Iterator<Item = &Declared> {
        self.resources.iter().filter(move |it| it.schema().kind == kind && !it.imported)
    }

    /// The resource that a property takes an attribute of, if that is all its value is made of.
    pub fn target(&self, declared: &Declared, property: &str) -> Option<&Declared> {
        let Some(Value::Unknown(template)) = declared.desired.get(property) else { return None };
        match template.sole_hole()? {
            Hole::Output { resource, .. } => self.resource(resource),
            Hole::Account | Hole::Region => None,
        }
    }

    /// Where a property of a resource stands in the file, or the closest thing around it.
    pub fn place(&self, resource: &str, path: &Path) -> Option<Place> {
        Some(self.file.place(self.places.get(resource, path)?))
    }

    /// Where stands what an error of AWS is about: the property that it names, else one that is often to blame for its
    /// cause, else the resource itself.
    pub fn blamed(&self, resource: &str, error: &AwsError) -> Option<Place> {
        let declared = self.resource(resource)?;
        let named = error.members().into_iter().filter_map(|it| declared.schema().place_of(it, &declared.desired));
        let lacking = error.lacking().into_iter().map(Path::property);
        let usual = error.blames().iter().map(|name| Path::property(name));
        let is_written = |path: &Path| path.root().is_some_and(|it| it == "name" || declared.written.contains(it));
        let path = lacking.chain(named).chain(usual).find(is_written);
        self.place(resource, &path.unwrap_or_default())
    }
}

/// The project that specs in this folder belong to: the nearest folder with `.git`, a folder or the file of a worktree;
/// else the nearest that holds `specs/`, with the spec in it or the command given in it; else the specs' own.
fn project(folder: &FilePath) -> PathBuf {
    let folder = if folder.as_os_str().is_empty() { FilePath::new(".") } else { folder };
    let folder = std::fs::canonicalize(folder).or_else(|_| std::path::absolute(folder)).unwrap_or_default();
    let repository = folder.ancestors().find(|it| it.join(".git").exists());
    let here = std::env::current_dir().and_then(std::fs::canonicalize).ok();
    // Above the command's folder, another project's `specs/` says nothing of this one.
    let is_within = |it: &FilePath| here.as_ref().is_some_and(|here| it.starts_with(here));
    let is_holder = |it: &FilePath| {
        let specs = it.join("specs");
        specs.is_dir() && (folder.starts_with(&specs) || is_within(it))
    };
    let holder = || folder.ancestors().find(|it| is_holder(it));
    repository.or_else(holder).unwrap_or(&folder).to_owned()
}

/// Reads the file, but hardly more than a spec may have.
fn read(path: &FilePath) -> Result<Vec<u8>, Diagnostic> {
    files::read(path, yaml::MAX_BYTES.saturating_add(1)).map_err(|unread| {
        let error = Diagnostic::error(format!("the spec `{}` {}", path.display(), unread.reason()));
        let hint = "give the path of a YAML file, like `engine diff specs/team.yaml`";
        match unread {
            Unread::Special => {
                error.why("what a spec names is looked for beside it, so it has to be a file").hint(hint)
            }
            Unread::Folder => {
                let folder = path.display();
                error.hint(format!("name a file in it; `engine validate {folder}` checks all that are right in it"))
            }
            Unread::Refused(_) => error.hint("make it readable, or name another file"),
            _ => error.hint(hint),
        }
    })
}
