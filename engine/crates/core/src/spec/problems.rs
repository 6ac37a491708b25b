//! The errors and warnings about one spec, from all phases.
//!
//! **Invariant:** however many errors a file has, only a limited number is built and shown.

use std::sync::Arc;

use crate::diagnostic::{self, Diagnostic, Severity, SourceFile, Span};
use crate::remedy::Advice;

/// Maximum number of errors shown for one file; further ones are only counted.
const MAX_ERRORS: usize = 100;
/// Maximum number of characters in one message or hint.
pub(super) const MAX_MESSAGE_CHARS: usize = 1000;

/// The problems that were found so far.
pub(super) struct Problems {
    file: Arc<SourceFile>,
    diagnostics: Vec<Diagnostic>,
    /// The number of all errors, including those that are not shown.
    n_errors: usize,
}

impl Problems {
    /// No problems of this file.
    pub(super) fn new(file: &Arc<SourceFile>) -> Problems {
        Problems { file: Arc::clone(file), diagnostics: Vec::new(), n_errors: 0 }
    }

    /// Adds an error at a place.
    pub(super) fn error(&mut self, span: Span, problem: impl Into<Advice>, hint: impl Into<Advice>) {
        self.push(Diagnostic::error(problem, hint).at(self.file.location(span)));
    }

    /// Adds a problem.
    pub(super) fn push(&mut self, mut diagnostic: Diagnostic) {
        // A name that the message repeats may be as long as the file.
        for text in std::iter::once(&mut diagnostic.problem).chain(&mut diagnostic.hints) {
            text.cut(MAX_MESSAGE_CHARS);
        }
        if diagnostic.severity == Severity::Error {
            self.n_errors += 1;
        }
        if self.n_errors <= MAX_ERRORS {
            self.diagnostics.push(diagnostic);
        }
    }

    /// Whether the next error exceeds the maximum; then it is counted here and not shown. Call it
    /// before building expensive messages: a file can have a hundred thousand errors.
    pub(super) fn is_only_counted(&mut self) -> bool {
        let full = self.n_errors >= MAX_ERRORS;
        if full {
            self.n_errors += 1;
        }
        full
    }

    /// All of them, with the number of those that are not shown.
    pub(super) fn into_diagnostics(mut self) -> Vec<Diagnostic> {
        let n_omitted = self.n_errors.saturating_sub(MAX_ERRORS);
        diagnostic::note_omitted(&mut self.diagnostics, n_omitted);
        self.diagnostics
    }
}
