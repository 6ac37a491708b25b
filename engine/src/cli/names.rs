//! Names that stand on a command line, and what to say of one that nothing has, or of what is not where it was looked for.
//!
//! **Invariant:** AWS is not asked; names are known before anything is started.

use std::path::Path;

use crate::inventory::Searched;
use crate::schema::Site;
use crate::spec::{Depth, Spec};

use super::session::{self, Target};
use super::terminal::Failure;
use super::{Global, SpecArgs};

/// Where a session has looked.
pub(super) fn searched(target: &Target, site: &Site) -> Searched {
    match target {
        Target::Local(_) => Searched::locally(),
        Target::Account(_) => Searched::account(site),
    }
}

/// Looks for a name in the spec before the local AWS is started or AWS is asked. What is wrong with the spec itself is
/// told later.
pub(super) fn check(
    global: &Global,
    spec: &SpecArgs,
    depth: Depth,
    has: impl Fn(&Spec) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let (loaded, errors) = session::load(global, spec, depth)?;
    match loaded.first() {
        Some(loaded) if errors.is_empty() => has(&loaded.spec),
        _ => Ok(()),
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
    let text = path.display().to_string();
    let is_plain = text.chars().all(|c| c.is_alphanumeric() || "-_./".contains(c));
    if is_plain { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}
