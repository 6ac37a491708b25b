//! Links to the project's pages, which exist only once `repository` is set in `Cargo.toml`.
//!
//! **Invariant:** without a repository, no text has a link.

use crate::diagnostic::Diagnostic;

/// The address of the repository; empty until it is set.
pub(super) const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");

/// Where to read more, for the end of the help.
pub(super) fn further_reading(repository: &str) -> String {
    let explain = "`engine explain` describes resource types, properties and error codes.";
    match repository {
        "" => explain.to_owned(),
        repository => format!("{explain}\nDocumentation and issues: {repository}"),
    }
}

/// The problem with an address, where it asks for a report.
pub(super) fn with_address(repository: &str, problem: &Diagnostic) -> Diagnostic {
    let asks = problem.hints.iter().any(|hint| hint.contains("please report"));
    match repository {
        repository if asks && !repository.is_empty() => {
            problem.clone().hint(format!("report it at {repository}/issues"))
        }
        _ => problem.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::remedy::text;

    #[test]
    fn links_need_a_repository() {
        let bug = Diagnostic::error("engine has a bug", "please report it");
        let hints = |repository| with_address(repository, &bug).worded(text).hints;
        assert_eq!(hints(""), ["please report it"]);
        assert_eq!(hints("https://x"), ["please report it", "report it at https://x/issues"]);
        let typo = Diagnostic::error("unknown `x`", "did you mean `y`?");
        assert_eq!(with_address("https://x", &typo), typo);
        assert!(!further_reading("").contains("http") && further_reading("https://x").ends_with(": https://x"));
    }
}
