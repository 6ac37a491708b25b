//! The files of an exported spec: the spec, the packages and the values of its variables.
//!
//! **Invariant:** it overwrites nothing, and writes nothing at all if one of the files can't be
//! written.

use std::path::{Path, PathBuf};

use crate::cli::CommandContext;
use crate::cli::exit::{CommandError, Exit};
use crate::cli::names::quoted;
use crate::diagnostic::{Diagnostic, Severity};
use crate::files::{self, NewFile, Readers};
use crate::inventory::{Found, Inventory};
use crate::plan::{Action, Change, Goal, Options, plan};
use crate::spec::{Depth, Spec, SpecOverrides};

use super::ExportedSpec;

/// The folder for packages.
const CODE: &str = "lambda-src";
/// The folder of a project's specs.
const SPECS: &str = "specs";

/// Where the files go.
pub(in crate::cli) struct Project {
    /// The spec; `None` is stdout.
    spec: Option<PathBuf>,
    values: Option<PathBuf>,
    /// The folder for packages, and the same relative to the spec.
    code: (PathBuf, &'static str),
}

impl Project {
    /// Checks that the named files don't exist.
    pub(in crate::cli) fn new(spec: Option<PathBuf>, values: Option<PathBuf>) -> Result<Project, CommandError> {
        for path in spec.iter().chain(&values) {
            if path.symlink_metadata().is_ok() {
                let problem = format!("`{}` already exists, so nothing was written", path.display());
                return Err(CommandError::one(Diagnostic::error(problem, "use the path of a new file")));
            }
        }
        let folder = spec.as_deref().and_then(Path::parent).map(Path::to_owned).unwrap_or_default();
        // In a project, code is beside the folder of the specs.
        let is_in_project = folder.file_name().is_some_and(|name| name == SPECS);
        let code = match folder.parent().filter(|_| is_in_project) {
            Some(project) => (project.join(CODE), "../lambda-src"),
            None => (folder.join(CODE), CODE),
        };
        // The user didn't name this folder, so no link is followed.
        if code.0.is_symlink() {
            let problem = format!("`{}` is a symbolic link, so nothing was written", code.0.display());
            return Err(CommandError::one(Diagnostic::error(problem, "remove the link, or use another folder")));
        }
        Ok(Project { spec, values, code })
    }

    /// Whether values of variables are written.
    pub(super) fn has_values(&self) -> bool {
        self.values.is_some()
    }

    /// The comments about the files.
    pub(super) fn about(&self, exported: &ExportedSpec) -> Vec<String> {
        let mut about = Vec::new();
        if !exported.packages.is_empty() {
            let from_source = "To deploy from source instead, name its folder in `code:`.";
            let folder = self.code.1;
            about.push(format!("The code is what is deployed now, as archives in {folder}/. {from_source}"));
            if self.spec.is_none() {
                about.push(format!("Save this file beside the folder {folder}, which `code:` refers to."));
            }
        }
        let has_hidden = exported.spec.resources.iter().any(|it| it.is_value_hidden);
        match &self.values {
            Some(file) if !exported.spec.values.is_empty() => about.push(format!(
                "The values of its variables are in {}: add `--var-file {}` to each command.",
                file.display(),
                quoted(file)
            )),
            None if has_hidden => about.push(
                "The values of environment variables are not in this file, and stay as they are in AWS. `engine export \
                 --with-values FILE` writes them to a file."
                    .to_owned(),
            ),
            _ => {}
        }
        about
    }

    /// Writes the files, and reports what is missing or differs.
    pub(super) fn write(
        &self,
        cx: &CommandContext<'_>,
        exported: &ExportedSpec,
        about: &[String],
    ) -> Result<Exit, CommandError> {
        let terminal = cx.terminal;
        let has_package = |name: &str| exported.packages.iter().any(|(it, _)| it == name);
        let path = |name: &str| has_package(name).then(|| format!("{}/{name}.zip", self.code.1));
        let text = exported.spec.yaml(about, &path);
        let packages: Vec<(PathBuf, &Vec<u8>)> = exported
            .packages
            .iter()
            .map(|(name, package)| (self.code.0.join(format!("{name}.zip")), package))
            .collect();
        ensure_new(&packages)?;
        let packages = packages.iter().map(|(path, bytes)| NewFile::new(path, bytes));
        let values = self.values.as_deref().filter(|_| !exported.spec.values.is_empty());
        let value_text = exported.spec.values_yaml();
        let values =
            values.map(|path| NewFile { readers: Readers::Owner, ..NewFile::new(path, value_text.as_bytes()) });
        let spec = self.spec.as_deref().map(|path| NewFile::new(path, text.as_bytes()));
        let files: Vec<NewFile<'_>> = packages.chain(values).chain(spec).collect();
        let is_new = files::create_all(&files).map_err(|(path, error)| unwritable(&path, &error))?;
        for (file, is_new) in files.iter().zip(is_new) {
            let what = if is_new { "wrote" } else { "already there:" };
            terminal.note(&format!("{what} {}", file.path.display()));
        }
        if let Some(path) = self.values.as_deref().filter(|_| exported.spec.values.is_empty()) {
            terminal.note(&format!("there are no values of variables, so {} isn't written", path.display()));
        }
        if self.spec.is_none() {
            terminal.print(&text);
        }
        for gap in exported.all_gaps() {
            terminal.note(&gap);
        }
        self.check(cx, exported, &text)
    }

    /// Plans the spec with what was read, and reports what differs.
    fn check(&self, cx: &CommandContext<'_>, exported: &ExportedSpec, text: &str) -> Result<Exit, CommandError> {
        let path = self.spec.clone().unwrap_or_else(|| PathBuf::from("exported.yaml"));
        let has_values = !exported.spec.values.is_empty();
        let overrides = SpecOverrides {
            var_files: self.values.iter().filter(|_| has_values).cloned().collect(),
            current_dir: std::env::current_dir().ok(),
            ..SpecOverrides::default()
        };
        let spec = match Spec::parse(&cx.kinds, &path, text.as_bytes(), &overrides, Depth::Full) {
            Ok(spec) => spec,
            Err(diagnostics) => {
                let errors: Vec<Diagnostic> =
                    diagnostics.into_iter().filter(|it| it.severity == Severity::Error).collect();
                cx.terminal.note("the spec needs these corrections:");
                return Err(CommandError { exit: Exit::Failed, diagnostics: errors });
            }
        };
        let mut inventory = Inventory::new(exported.env.clone());
        for it in &exported.spec.resources {
            let found = Found { live: Some(it.existing.live.clone()), ..Found::default() };
            inventory.found.insert(it.name.clone(), found);
        }
        let plan = plan(&spec, &inventory, Goal::Present, &Options::default());
        plan.changes.iter().filter_map(difference).for_each(|it| cx.terminal.note(&it));
        Ok(Exit::Done)
    }
}

/// What a plan does with an exported resource, unless that is nothing, or only adopting it.
fn difference(change: &Change) -> Option<String> {
    let paths: Vec<String> = change.properties.iter().map(|it| format!("`{}`", it.path)).collect();
    let what = match change.action {
        Action::None | Action::Import | Action::Forget => return None,
        Action::Adopt if paths.is_empty() => return None,
        Action::Adopt | Action::Update => "changes",
        Action::Create => "creates",
        Action::Replace => "replaces",
        Action::Delete => "deletes",
        Action::Refused => "refuses",
    };
    let paths = if paths.is_empty() { String::new() } else { format!(": {}", paths.join(", ")) };
    Some(format!("the spec can't describe everything: `engine diff` {what} `{}`{paths}", change.resource))
}

/// Checks that no other package is in the way.
fn ensure_new(packages: &[(PathBuf, &Vec<u8>)]) -> Result<(), CommandError> {
    let other = packages.iter().find(|(path, bytes)| {
        let is_same = || std::fs::read(path).is_ok_and(|there| there == **bytes);
        path.symlink_metadata().is_ok() && (path.is_symlink() || !is_same())
    });
    let Some((path, _)) = other else { return Ok(()) };
    let problem = format!("`{}` already exists with other content, so nothing was written", path.display());
    Err(CommandError::one(Diagnostic::error(problem, "move it away, or export to another folder with `-o`")))
}

fn unwritable(path: &Path, error: &std::io::Error) -> CommandError {
    let problem = format!("can't write `{}`, so nothing was written", path.display());
    CommandError::one(Diagnostic::error(problem, files::remedy(error, "use a writable folder")).why(error.to_string()))
}
