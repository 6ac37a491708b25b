//! How a command ends: its exit code, and the errors that it ends with.
//!
//! **Invariant:** exit codes are those of the documentation.

use crate::aws::AwsError;
use crate::diagnostic::Diagnostic;
use crate::local::LocalError;
use crate::remedy::Advice;

/// How a run ended, as the documented exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Failed, refused or declined.
    Failed = 1,
    /// Something would change (`diff --detailed-exitcode`).
    Pending = 2,
    /// Applied in part.
    Partial = 3,
    /// Invalid command line.
    Usage = 64,
    /// Interrupted.
    Interrupted = 130,
}

impl Exit {
    /// The more severe one: 130, then 3, 1 and the others.
    pub(super) fn max(self, other: Exit) -> Exit {
        let severity = |exit: Exit| match exit {
            Exit::Interrupted => 3,
            Exit::Partial => 2,
            Exit::Failed => 1,
            Exit::Done | Exit::Pending | Exit::Usage => 0,
        };
        if severity(other) > severity(self) { other } else { self }
    }
}

/// Why a command ended early.
pub(super) struct CommandError {
    pub(super) exit: Exit,
    pub(super) diagnostics: Vec<Diagnostic>,
}

impl CommandError {
    /// An invalid command line.
    pub(super) fn usage(problem: impl Into<Advice>, hint: impl Into<Advice>) -> CommandError {
        CommandError { exit: Exit::Usage, diagnostics: vec![Diagnostic::error(problem, hint)] }
    }

    /// One error.
    pub(super) fn one(diagnostic: Diagnostic) -> CommandError {
        CommandError { exit: Exit::Failed, diagnostics: vec![diagnostic] }
    }

    /// The same with the errors of another one; a cause that both share is one error.
    pub(super) fn and(mut self, other: Option<CommandError>) -> CommandError {
        let Some(other) = other else { return self };
        let new = other.diagnostics.into_iter().filter(|it| !self.diagnostics.contains(it)).collect::<Vec<_>>();
        self.diagnostics.extend(new);
        CommandError { exit: self.exit.max(other.exit), ..self }
    }

    /// Ctrl-C, which is no error.
    pub(super) fn interrupted() -> CommandError {
        CommandError { exit: Exit::Interrupted, diagnostics: Vec::new() }
    }

    /// A failed call to AWS, or Ctrl-C while waiting for it; `doing`: the action that failed.
    pub(super) fn of_call(error: &AwsError, doing: &str) -> CommandError {
        if error.is_interrupted() { CommandError::interrupted() } else { CommandError::one(error.diagnostic(doing)) }
    }
}

impl From<LocalError> for CommandError {
    fn from(error: LocalError) -> CommandError {
        let mut diagnostic = Diagnostic::error(error.problem(), error.hint());
        diagnostic.why = error.why().map(Into::into);
        let exit = if matches!(error, LocalError::Interrupted { .. }) { Exit::Interrupted } else { Exit::Failed };
        CommandError { exit, diagnostics: vec![diagnostic] }
    }
}
