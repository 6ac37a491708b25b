//! A failed call to AWS: its cause, and what engine does about it.
//!
//! **Invariant:** it never interprets AWS's own codes and messages: who receives an answer does
//! that, and passes on the cause and [`Api`].

use std::error::Error as StdError;
use std::fmt;

use crate::cause::Code;
use crate::diagnostic::Diagnostic;
use crate::remedy::{Advice, CliCommand};

/// A failed call to AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsError {
    /// The API operation, or the wait.
    pub operation: Box<str>,
    /// The name of the resource in AWS.
    pub resource: Box<str>,
    /// Its cause, as a code that `engine explain` takes.
    pub cause: Code,
    /// Whether AWS refused permanently: neither a retry nor a wait helps, even if the cause can be
    /// transient.
    pub is_final: bool,
    /// AWS's error code; `AWS SDK` if the SDK failed before it sent the request.
    pub code: Option<Box<str>>,
    /// AWS's message, or engine's own.
    pub message: Box<str>,
    /// Why, worded to follow "since", if more is known than the cause shows.
    pub reason: Option<Box<str>>,
    /// What to do next, if more is known than the cause shows.
    pub remedy: Option<Box<str>>,
    /// What the call and AWS's answer show beyond the cause; `None` for engine's own errors.
    pub api: Option<Box<Api>>,
}

/// What a failed call and AWS's answer show beyond the cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Api {
    /// Whether the operation can change something.
    pub changes: bool,
    /// The permission that is missing if the call was denied.
    pub permission: Box<str>,
    /// The resource that it is missing on; may be empty.
    pub on: Box<str>,
    /// The operation's page in AWS's reference, and the kind that it belongs to.
    pub page: Option<(Option<&'static str>, String)>,
    /// The property that needs a separate permission, if that permission is missing.
    pub lacking: Option<&'static str>,
    /// The members of the request that AWS's message may name, in order.
    pub members: Vec<Box<str>>,
    /// AWS's request ID.
    pub request_id: Option<Box<str>>,
}

impl AwsError {
    /// An error of engine itself, without a response from AWS.
    pub fn own(cause: Code, operation: &str, resource: &str, message: impl Into<Box<str>>) -> Self {
        AwsError {
            operation: operation.into(),
            resource: resource.into(),
            cause,
            is_final: false,
            code: None,
            message: message.into(),
            reason: None,
            remedy: None,
            api: None,
        }
    }

    /// The same as a permanent refusal.
    pub fn refused(cause: Code, operation: &str, resource: &str, message: impl Into<Box<str>>) -> Self {
        AwsError { is_final: true, ..AwsError::own(cause, operation, resource, message) }
    }

    /// The error for a resource that another client changed or deleted in the meantime.
    pub fn changed(operation: &str, resource: &str, message: impl Into<Box<str>>) -> Self {
        AwsError::own(Code::ChangedMeanwhile, operation, resource, message)
    }

    /// The same error with its reason and remedy.
    pub fn with_reason(self, why: String, remedy: String) -> Self {
        AwsError { reason: Some(why.into()), remedy: Some(remedy.into()), ..self }
    }

    /// AWS's request ID.
    pub fn request_id(&self) -> Option<&str> {
        self.api.as_ref()?.request_id.as_deref()
    }

    /// What happened in one line, without AWS's own words if more is known.
    pub fn summary(&self) -> &str {
        self.reason.as_ref().unwrap_or(&self.message)
    }

    /// A bug in engine, reported instead of a panic.
    pub fn defect(message: String) -> Self {
        AwsError::own(Code::Defect, "", "", message)
    }

    /// Whether this is its cause, and AWS didn't refuse permanently.
    pub fn is(&self, cause: Code) -> bool {
        self.is_any(&[cause])
    }

    /// Whether one of these is its cause, and AWS didn't refuse permanently.
    pub fn is_any(&self, causes: &[Code]) -> bool {
        !self.is_final && causes.contains(&self.cause)
    }

    /// Whether Ctrl-C ended the wait.
    pub fn is_interrupted(&self) -> bool {
        self.is(Code::Interrupted)
    }

    /// Whether the caller lacks permission.
    pub fn is_denied(&self) -> bool {
        self.is_any(&[Code::AccessDenied, Code::ExplicitDeny, Code::RoleOfOtherAccount])
    }

    /// Whether there are credentials, and they can't be used.
    pub fn is_bad_credentials(&self) -> bool {
        self.is_any(&[
            Code::CredentialsRefused,
            Code::CredentialsExpired,
            Code::CredentialsNotFetched,
            Code::MfaRequired,
            Code::SettingMalformed,
            Code::ClockWrong,
        ])
    }

    /// Whether AWS may have carried out the call in spite of the error.
    pub fn is_ambiguous(&self) -> bool {
        self.is_any(&[Code::NoAnswer, Code::NotAws, Code::AwsFault])
    }

    /// Whether the same call may succeed later without any other change.
    pub fn passes(&self) -> bool {
        self.is_ambiguous() || self.is_about_the_run() || self.is_any(&[Code::Throttled, Code::Interrupted])
    }

    /// Why the detail that the call reads is unreadable; `None` if a retry may succeed or the
    /// failure affects every call.
    pub fn unreadable(&self) -> Option<String> {
        if self.is_denied() {
            return Some(format!("you lack permission for {}", self.operation));
        }
        self.is_final.then(|| match self.code {
            // A response without the detail has no error code.
            None => self.message.to_string(),
            Some(_) => format!("AWS rejected {}: {}", self.operation, self.message),
        })
    }

    /// Whether every other call of the run would fail for the same reason.
    pub fn is_about_the_run(&self) -> bool {
        let others = [Code::NoCredentials, Code::ProfileUnknown, Code::NoAnswer, Code::OutOfReach, Code::NotAws];
        self.is_bad_credentials() || self.is_any(&others)
    }

    /// The properties of a spec that may have caused the error, the most likely first.
    pub fn blames(&self) -> &'static [&'static str] {
        self.cause.entry().blames
    }

    /// What to do next.
    pub fn hint(&self) -> Advice {
        if let Some(remedy) = &self.remedy {
            return (&**remedy).into();
        }
        let next = self.cause.entry().next;
        match (self.cause, &self.api) {
            (Code::AccessDenied, Some(api)) => {
                let Api { permission, on, .. } = &**api;
                let on = if on.is_empty() { &self.resource } else { on };
                let on = if on.is_empty() { String::new() } else { format!(" on `{on}`") };
                Advice::from(format!(
                    "ask the account's administrator for the permission `{permission}`{on}; `aws sts \
                     get-caller-identity` shows which identity made the call"
                ))
            }
            (Code::Rejected, Some(api)) if let Some((kind, page)) = &api.page => {
                let on = match &*self.resource {
                    "" => String::new(),
                    name => format!(" on `{name}`"),
                };
                let see = Advice::from(format!("{next}; for what `{}`{on} accepts, see ", self.operation));
                let see = match kind {
                    Some(kind) => see.then(CliCommand::Explain(Some((*kind).to_owned()))).then(" and "),
                    None => see,
                };
                see.then(format!(
                    "{page}. If AWS's message is unclear, please report it: all lines after `aws:`, and this resource's \
                     part of the spec"
                ))
            }
            _ if self.leaves_open() => Advice::from(format!("{next}; completed changes are kept, and "))
                .then(CliCommand::Diff { spec: None })
                .then(" shows what is left"),
            _ => next.into(),
        }
    }

    /// Why it failed: the specific reason, or the general one of its cause.
    pub fn why(&self) -> String {
        let why = self.cause.entry().why;
        let why = match (&self.reason, &self.code) {
            (Some(reason), _) => reason.to_string(),
            (None, Some(_)) => why.to_owned(),
            // Without a response from AWS, the message is engine's own.
            (None, None) => format!("{}; {why}", self.message.trim_end_matches('.')),
        };
        if self.leaves_open() { format!("{why}; AWS may or may not have carried out the call") } else { why }
    }

    /// Whether the call may have changed something. A read never does.
    fn leaves_open(&self) -> bool {
        (self.is_ambiguous() || self.is(Code::OutOfReach)) && self.api.as_ref().is_some_and(|api| api.changes)
    }

    /// AWS's own error: code, operation, request ID and message; `None` without a response.
    pub fn aws_text(&self) -> Option<String> {
        let code = self.code.as_ref()?;
        let id = self.request_id().map_or_else(String::new, |id| format!(", request {id}"));
        if self.operation.is_empty() {
            return Some(format!("{code}{id}\n{}", self.message));
        }
        Some(format!("{code} ({}{id})\n{}", self.operation, self.message))
    }

    /// The error as a diagnostic; `doing`: the action that failed, like "create `logger`".
    pub fn diagnostic(&self, doing: &str) -> Diagnostic {
        let title = self.cause.entry().title;
        let problem = if doing.is_empty() { title.to_owned() } else { format!("{doing}: {title}") };
        Diagnostic::error(problem, self.hint()).cause(self.cause.name(), self.aws_text()).why(self.why())
    }
}

impl fmt::Display for AwsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.operation.is_empty() {
            write!(f, "{}", self.operation)?;
            if !self.resource.is_empty() {
                write!(f, " of `{}`", self.resource)?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.message)?;
        match (&self.code, self.request_id()) {
            (Some(code), Some(id)) => write!(f, " ({code}, request {id})")?,
            (Some(code), None) => write!(f, " ({code})")?,
            _ => {}
        }
        match &self.reason {
            Some(reason) => write!(f, "; {reason}"),
            None => Ok(()),
        }
    }
}

impl StdError for AwsError {}
