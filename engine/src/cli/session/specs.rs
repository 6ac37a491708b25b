//! Finds and loads the specs of a command, each for each of its teams.
//!
//! **Invariant:** it calls nothing; all errors in all specs are returned together.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use crate::cli::args::SpecArgs;
use crate::cli::exit::CommandError;
use crate::cli::names::quoted;
use crate::cli::{CommandContext, Global};
use crate::diagnostic::Diagnostic;
use crate::local;
use crate::schema::Identity;
use crate::spec::{Depth, Spec, SpecOverrides};

use super::discovery::{self, ProjectSearch, project_of};
use super::patterns;
use super::teams::read_teams;

/// The default spec of a project.
const DEFAULT_SPEC: &str = "specs/team.yaml";

/// A spec and where it came from.
pub(in crate::cli) struct LoadedSpec {
    /// `None` if only team and stack are given.
    pub(super) path: Option<PathBuf>,
    pub(super) overrides: SpecOverrides,
    pub(in crate::cli) spec: Spec,
}

impl LoadedSpec {
    /// Whether it is for a local AWS.
    pub(in crate::cli) fn is_local(&self) -> bool {
        self.overrides.is_local
    }

    /// The folder of its project, or the current one.
    pub(super) fn project_folder(&self) -> PathBuf {
        self.path.as_deref().map_or_else(|| PathBuf::from("."), project_of)
    }
}

/// Loads every spec for every team; returns the errors in each and the conflicts between them, too.
pub(in crate::cli) fn load(
    cx: &CommandContext<'_>,
    args: &SpecArgs,
    depth: Depth,
) -> Result<(Vec<LoadedSpec>, Vec<Diagnostic>), CommandError> {
    load_each(cx, args, depth, |_, overrides| vec![overrides])
}

/// The same for every stage of each spec, unless the command line chooses one.
pub(in crate::cli) fn load_all_stages(
    cx: &CommandContext<'_>,
    args: &SpecArgs,
    depth: Depth,
) -> Result<(Vec<LoadedSpec>, Vec<Diagnostic>), CommandError> {
    load_each(cx, args, depth, |path, overrides| {
        let is_chosen = overrides.stage.is_some() || overrides.usual_stage.is_some();
        let stages = if is_chosen { Vec::new() } else { Spec::stages(&cx.kinds, path, &overrides) };
        match stages.is_empty() {
            true => vec![overrides],
            false => stages.into_iter().map(|it| SpecOverrides { stage: Some(it), ..overrides.clone() }).collect(),
        }
    })
}

/// Loads every spec for every team, and with each of the overrides that `variants` makes of those on
/// the command line.
fn load_each(
    cx: &CommandContext<'_>,
    args: &SpecArgs,
    depth: Depth,
    variants: impl Fn(&Path, SpecOverrides) -> Vec<SpecOverrides>,
) -> Result<(Vec<LoadedSpec>, Vec<Diagnostic>), CommandError> {
    let mut loaded: Vec<LoadedSpec> = Vec::new();
    let mut errors = Vec::new();
    if let (Some(team), Some(stack)) = (&args.team, &args.stack) {
        match Spec::bare(&cx.kinds, team, stack, cx.global.region.as_deref()) {
            Ok(spec) => loaded.push(LoadedSpec { path: None, overrides: SpecOverrides::default(), spec }),
            Err(wrong) => errors.extend(wrong),
        }
    } else {
        let named = args.named();
        let paths = match named.as_slice() {
            [] => vec![find_spec()?],
            [one] if args.is_one => vec![one.clone()],
            specs => patterns::expand(specs)?,
        };
        let paths: Vec<PathBuf> = paths.into_iter().map(of_project).collect::<Result<_, _>>()?;
        let teams = match &args.teams {
            Some(file) => read_teams(file)?.into_iter().map(Some).collect(),
            None => vec![args.team.clone()],
        };
        let is_one_of_several = paths.len() > 1;
        for path in &paths {
            for team in &teams {
                let overrides = overrides(&cx.global, args, team.clone());
                let overrides = SpecOverrides { is_one_of_several, ..overrides };
                for overrides in variants(path, overrides) {
                    match Spec::load(&cx.kinds, path, &overrides, depth) {
                        Ok(spec) => loaded.push(LoadedSpec { path: Some(path.clone()), overrides, spec }),
                        Err(wrong) => errors.extend(wrong),
                    }
                }
            }
        }
    }
    errors.extend(collisions(&loaded));
    errors.dedup();
    Ok((loaded, errors))
}

fn overrides(global: &Global, args: &SpecArgs, team: Option<String>) -> SpecOverrides {
    let from_env = std::env::vars_os().filter_map(|(name, value)| {
        Some((name.to_str()?.strip_prefix("ENGINE_VAR_")?.to_owned(), value.to_str()?.to_owned()))
    });
    SpecOverrides {
        team,
        vars: args.values.var.iter().cloned().collect(),
        stage: args.values.stage.clone(),
        usual_stage: std::env::var("ENGINE_STAGE").ok().filter(|stage| !stage.is_empty()),
        is_local: global.local,
        var_files: args.values.var_file.clone(),
        is_one_of_several: false,
        region: global.region.clone(),
        env: from_env.collect::<BTreeMap<_, _>>(),
        allow_code_outside: args.code.allow_code_outside,
        current_dir: std::env::current_dir().ok(),
        cache: local::cache_folder(None).ok(),
    }
}

/// Where a resource is, as far as its spec says so.
#[derive(Clone, Copy)]
struct AccountRegion<'s> {
    account: Option<&'s str>,
    region: Option<&'s str>,
}

impl<'s> AccountRegion<'s> {
    /// The local AWS is one account for all specs.
    fn of(LoadedSpec { spec, overrides, .. }: &'s LoadedSpec) -> AccountRegion<'s> {
        let account = spec.account.as_deref().filter(|_| !overrides.is_local);
        AccountRegion { account, region: spec.region.as_deref() }
    }

    /// Whether it may be the same: what isn't known may be.
    fn overlaps(self, other: AccountRegion<'_>) -> bool {
        let may_be = |one: Option<&str>, other: Option<&str>| one.zip(other).is_none_or(|(one, other)| one == other);
        may_be(self.account, other.account) && may_be(self.region, other.region)
    }
}

/// What is called by a key in some locations.
type Claims<'s> = HashMap<(&'s str, &'s str), Vec<(AccountRegion<'s>, String)>>;

/// Adds what is called by a key; returns what has the same key where it may be the same.
fn claim<'s>(all: &mut Claims<'s>, key: (&'s str, &'s str), at: AccountRegion<'s>, what: &str) -> Option<String> {
    let known = all.entry(key).or_default();
    let first = known.iter().find(|(other, _)| at.overlaps(*other)).map(|(_, first)| first.clone());
    known.push((at, what.to_owned()));
    first
}

/// Conflicts between the specs of one command.
fn collisions(loaded: &[LoadedSpec]) -> Vec<Diagnostic> {
    let (mut stacks, mut names) = (Claims::new(), Claims::new());
    let mut errors = Vec::new();
    for it in loaded {
        let (LoadedSpec { path, spec, .. }, at) = (it, AccountRegion::of(it));
        let shown = path.as_ref().map_or_else(String::new, |path| path.display().to_string());
        if let Some(first) = claim(&mut stacks, (&spec.team, &spec.stack), at, &shown) {
            let owner = format!("team `{}`, stack `{}`", spec.team, spec.stack);
            errors.push(match first == shown {
                true => Diagnostic::error(format!("`{shown}` is listed twice for {owner}"), "list each team once"),
                false => Diagnostic::error(
                    format!("`{first}` and `{shown}` are both {owner}"),
                    "give one of them another `stack:`",
                )
                .why("each would delete the resources that only the other has"),
            });
            continue;
        }
        for declared in spec.resources.iter().filter(|it| !it.imported) {
            if !matches!(declared.schema().identity, Identity::Named { .. }) {
                continue;
            }
            let what = format!("`{}` of team `{}` in `{shown}`", declared.name, spec.team);
            let kind = &*declared.schema().kind;
            // IAM has no regions.
            let at = if kind == "role" { AccountRegion { region: None, ..at } } else { at };
            if let Some(first) = claim(&mut names, (kind, &declared.id.name), at, &what) {
                let problem =
                    format!("{first} and {what} are both the {} `{}`", declared.schema().kind, declared.id.name);
                errors.push(Diagnostic::error(problem, "give one of them another `name:`"));
            }
        }
    }
    errors
}

/// The default spec: that of the current folder's project.
pub(in crate::cli) fn find_spec() -> Result<PathBuf, CommandError> {
    let ProjectSearch { project, other_users_folder } = discovery::search(|folder| folder.join("specs").is_dir());
    if let Some(project) = project {
        return spec_in(&project);
    }
    let problem = "no spec found: there is no `specs/` folder here or in a folder above";
    let diagnostic = no_spec(problem, "`engine init` writes a starter spec");
    Err(CommandError::one(match other_users_folder {
        Some(folder) => diagnostic.why(format!("`{}` wasn't searched: it belongs to another user", folder.display())),
        None => diagnostic,
    }))
}

/// An error whose first hints are the specs in the current folder.
fn no_spec(problem: &str, otherwise: &str) -> Diagnostic {
    let here = discovery::specs_here().into_iter().map(|path| format!("add `--spec {}`", quoted(&path)));
    let mut hints = here.chain([otherwise.to_owned()]);
    let first = Diagnostic::error(problem, hints.next().unwrap_or_default());
    hints.fold(first, Diagnostic::hint)
}

/// The spec of a project: specs/team.yaml, or the only YAML file in specs/.
fn spec_in(project: &Path) -> Result<PathBuf, CommandError> {
    let (default, specs) = (project.join(DEFAULT_SPEC), project.join("specs"));
    let found = if default.exists() {
        vec![default]
    } else {
        patterns::yaml_files(&specs).into_iter().filter(|path| patterns::may_be_spec(path)).collect()
    };
    // The folder wasn't named by the user either.
    let root = if specs.is_symlink() { project } else { &specs };
    match patterns::within(root, found)?.as_slice() {
        [only] => Ok(only.clone()),
        [] => {
            let problem = format!("no spec found: `{}` has no YAML file", specs.display());
            Err(CommandError::one(no_spec(&problem, "`engine init` writes a starter spec; or add `--spec FILE`")))
        }
        several => {
            let list = several.iter().map(|path| format!("`{}`", path.display())).collect::<Vec<_>>().join(", ");
            let problem = format!("`{}` has several specs", specs.display());
            Err(CommandError::one(Diagnostic::error(problem, format!("choose one with `--spec FILE`: {list}"))))
        }
    }
}

/// The path of a command's only spec, which may not exist.
pub(in crate::cli) fn path_of(args: &SpecArgs) -> Result<PathBuf, CommandError> {
    match args.named().into_iter().next() {
        Some(path) => of_project(path),
        None => find_spec(),
    }
}

/// A folder with `specs/` means the spec of its project.
fn of_project(path: PathBuf) -> Result<PathBuf, CommandError> {
    if path.join("specs").is_dir() { spec_in(&path) } else { Ok(path) }
}
