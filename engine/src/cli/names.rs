//! Names on a command line, and the errors for unknown ones.
//!
//! **Invariant:** no call to AWS; names are checked before anything starts.

use std::path::Path;

use crate::diagnostic::{Diagnostic, shell_word};
use crate::inventory::Searched;
use crate::schema::Site;
use crate::spec::Spec;

use super::session::{Loaded, Target};
use super::terminal::Failure;

/// Where a session searches.
pub(super) fn searched(target: &Target, site: &Site) -> Searched {
    match target {
        Target::Local(_) => Searched::locally(),
        Target::Account(_) => Searched::account(site),
    }
}

/// Checks a name against the spec; for [`session::open_checked`], before anything starts.
pub(super) fn unknown(
    name: Option<&str>,
    has: impl Fn(&Spec, &str) -> Result<(), Failure>,
) -> impl FnOnce(&[Loaded]) -> Vec<Diagnostic> {
    move |loaded| {
        let looked = name.zip(loaded.first()).map(|(name, loaded)| has(&loaded.spec, name));
        looked.and_then(Result::err).map_or_else(Vec::new, |failure| failure.diagnostics)
    }
}

/// Rejects a spec in place of a name; `line` returns the corrected command line.
pub(super) fn refuse_spec(name: Option<&str>, line: impl Fn(&str) -> String) -> Result<(), Failure> {
    let Some(name) = name.filter(|name| is_path(name)) else { return Ok(()) };
    let problem = format!("expected a name from the spec, found the file `{name}`");
    Err(Failure::usage(problem, format!("use `{}`", line(&quoted(Path::new(name))))))
}

fn is_path(name: &str) -> bool {
    let is_yaml = Path::new(name).extension().is_some_and(|it| it == "yaml" || it == "yml");
    is_yaml || name.contains('/') || name.contains('\\')
}

/// A path, quoted for a shell.
pub(super) fn quoted(path: &Path) -> String {
    shell_word(&path.display().to_string())
}
