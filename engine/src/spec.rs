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
use crate::schema::{Id, Schema, Shape};
use crate::value::{Hole, Path, Tree, Value};
use crate::yaml;

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
struct Places(HashMap<(String, Path), Span>);

impl Places {
    fn set(&mut self, resource: &str, path: Path, span: Span) {
        self.0.insert((resource.to_owned(), path), span);
    }

    /// The place of a property, or of the closest thing around it that stands in the file.
    fn get(&self, resource: &str, path: &Path) -> Option<Span> {
        let mut path = path.clone();
        loop {
            if let Some(span) = self.0.get(&(resource.to_owned(), path.clone())) {
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
        if let Some(foreign) = foreign::recognised(&file) {
            return Err(vec![foreign]);
        }
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
