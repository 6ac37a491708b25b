//! Names that stand on a command line, and what to say of one that nothing has, or of what is not where it was looked for.
//!
//! **Invariant:** AWS is not asked; names are known before anything is started.

use std::path::Path;

use crate::diagnostic::{Diagnostic, shell_word};
use crate::inventory::Searched;
use crate::schema::Site;
use crate::spec::Spec;

use super::session::{Loaded, Target};
use super::terminal::Failure;

/// Where a session has looked.
pub(super) fn searched(target: &Target, site: &Site) -> Searched {
    match target {
        Target::Local(_) => Searched::locally(),
        Target::Account(_) => Searched::account(site),
    }
}

/// Looks for a name in the spec, as [`session::open_checked`] does before anything is started.
pub(super) fn unknown(
    name: Option<&str>,
    has: impl Fn(&Spec, &str) -> Result<(), Failure>,
) -> impl FnOnce(&[Loaded]) -> Vec<Diagnostic> {
    move |loaded| {
        let looked = name.zip(loaded.first()).map(|(name, loaded)| has(&loaded.spec, name));
        looked.and_then(Result::err).map_or_else(Vec::new, |failure| failure.diagnostics)
    }
}

/// The error of a spec that is given where a name is wanted; `line`: how it is given rightly.
pub(super) fn refuse_spec(name: Option<&str>, line: impl Fn(&str) -> String) -> Result<(), Failure> {
    let Some(name) = name.filter(|name| is_path(name)) else { return Ok(()) };
    let problem = format!("`{name}` is a file, and a name out of the spec stands here");
    Err(Failure::usage(problem, format!("write it as `{}`", line(&quoted(Path::new(name))))))
}

fn is_path(name: &str) -> bool {
    let is_yaml = Path::new(name).extension().is_some_and(|it| it == "yaml" || it == "yml");
    is_yaml || name.contains('/') || name.contains('\\')
}

/// A path as a shell takes it.
pub(super) fn quoted(path: &Path) -> String {
    shell_word(&path.display().to_string())
}
