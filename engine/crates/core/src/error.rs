//! A failed call to AWS, sorted into classes by what engine does about it.
//!
//! **Invariant:** it never interprets AWS's own codes and messages: who receives an answer does
//! that, and attaches what it found as [`Api`].

use std::error::Error as StdError;
use std::fmt;

use crate::cause::Code;
use crate::diagnostic::Diagnostic;
use crate::remedy::{Advice, Command};

/// A failed call to AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsError {
    /// The API operation, or the wait.
    pub operation: Box<str>,
    /// The name of the resource in AWS.
    pub resource: Box<str>,
    /// Its class.
    pub class: Class,
    /// AWS's error code; `AWS SDK` if the SDK failed before it sent the request.
    pub code: Option<Box<str>>,
    /// AWS's message, or engine's own.
    pub message: Box<str>,
    /// Why, worded to follow "since", if more is known than the class shows.
    pub reason: Option<Box<str>>,
    /// What to do next, if more is known than the class shows.
    pub remedy: Option<Box<str>>,
    /// The cause, if more is known than class, code and message show.
    pub known: Option<Code>,
    /// What the call and AWS's answer show beyond the class; `None` for engine's own errors.
    pub api: Option<Box<Api>>,
}

/// What a failed call and AWS's answer show beyond the class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Api {
    /// The cause, for classes that cover many: denied, refused, and rejected credentials.
    pub cause: Code,
    /// The cause, if the refusal turns out to be permanent.
    pub refusal: Code,
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

/// The classes, as an enum and as a list.
macro_rules! classes {
    ($($(#[$doc:meta])+ $class:ident,)*) => {
        /// What a failed call means.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Class {
            $($(#[$doc])+ $class,)*
        }

        impl Class {
            /// Every class.
            pub const ALL: &[Class] = &[$(Class::$class),*];
        }
    };
}

classes! {
    /// The resource doesn't exist.
    NotFound,
    /// The name is taken.
    Exists,
    /// AWS is still busy with an earlier change; the same call works later.
    Busy,
    /// The resource is being deleted.
    Leaving,
    /// Lambda can't assume the role (yet): IAM is eventually consistent.
    RoleNotAssumable,
    /// Lambda doesn't know the stream (yet): it may have been enabled seconds ago.
    StreamUnknown,
    /// The role lacks permission to read the stream (yet).
    StreamNotReadable,
    /// The role lacks another permission that Lambda checks (yet), like tracing or sending to a
    /// queue.
    RoleLacksRight,
    /// The key for a function's environment variables can't be used (yet).
    KeyNotUsable,
    /// AWS doesn't know the user or role (yet).
    PrincipalUnknown,
    /// Too many calls.
    Throttled,
    /// The resource changed since it was read (HTTP 412).
    Changed,
    /// The caller lacks permission.
    Denied,
    /// There are no credentials.
    NoCredentials,
    /// The credentials are expired or wrong.
    BadCredentials,
    /// No response: the call may have been carried out.
    NoAnswer,
    /// No response for longer than the maximum wait.
    OutOfReach,
    /// An unreadable response: the call may have been carried out.
    Garbled,
    /// A server error (HTTP 5xx): the call may have been carried out.
    ServerFault,
    /// AWS refused the request permanently.
    Rejected,
    /// The guard blocked the request before it was sent.
    Guarded,
    /// Ctrl-C ended a wait.
    Interrupted,
    /// A wait reached its deadline.
    Overdue,
    /// The resource is already as requested.
    Unchanged,
    /// AWS allows this change only once per hour.
    TooSoon,
    /// The resource is protected against deletion.
    Protected,
    /// The endpoint can't be determined: no region, or an invalid one.
    Unaddressed,
    /// The credentials are for a different account than the spec.
    WrongAccount,
    /// AWS accepted the request and failed later.
    Broken,
    /// AWS accepted the request but shows something else.
    Differs,
    /// The table has items, and the user didn't allow engine to delete them.
    NotEmpty,
    /// A bug in engine.
    Defect,
}

impl AwsError {
    /// An error of engine itself, without a response from AWS.
    pub fn own(class: Class, operation: &str, resource: &str, message: impl Into<Box<str>>) -> Self {
        AwsError {
            operation: operation.into(),
            resource: resource.into(),
            class,
            code: None,
            message: message.into(),
            reason: None,
            remedy: None,
            known: None,
            api: None,
        }
    }

    /// The same error with its cause, reason and remedy.
    pub fn known(self, code: Code, why: String, remedy: String) -> Self {
        AwsError { known: Some(code), reason: Some(why.into()), remedy: Some(remedy.into()), ..self }
    }

    /// AWS's request ID.
    pub fn request_id(&self) -> Option<&str> {
        self.api.as_ref()?.request_id.as_deref()
    }

    /// What happened in one line, without AWS's own words if more is known.
    pub fn brief(&self) -> &str {
        if self.known.is_some() { self.reason.as_ref().unwrap_or(&self.message) } else { &self.message }
    }

    /// A bug in engine, reported instead of a panic.
    pub fn defect(message: String) -> Self {
        AwsError::own(Class::Defect, "", "", message)
    }

    /// Whether AWS may have carried out the call in spite of the error.
    pub fn is_ambiguous(&self) -> bool {
        matches!(self.class, Class::NoAnswer | Class::Garbled | Class::ServerFault)
    }

    /// Whether the same call may succeed later without any other change.
    pub fn passes(&self) -> bool {
        self.is_ambiguous() || self.is_about_the_run() || matches!(self.class, Class::Throttled | Class::Interrupted)
    }

    /// Why the detail that the call reads is unreadable; `None` if a retry may succeed or the
    /// failure affects every call.
    pub fn unreadable(&self) -> Option<String> {
        match self.class {
            Class::Denied => Some(format!("you lack permission for {}", self.operation)),
            // A response without the detail has no error code.
            Class::Rejected if self.code.is_none() => Some(self.message.to_string()),
            Class::Rejected => Some(format!("AWS rejected {}: {}", self.operation, self.message)),
            _ => None,
        }
    }

    /// Whether every other call of the run would fail for the same reason.
    pub fn is_about_the_run(&self) -> bool {
        matches!(
            self.class,
            Class::BadCredentials | Class::NoCredentials | Class::NoAnswer | Class::OutOfReach | Class::Garbled
        )
    }

    /// Its cause, as a code that `engine explain` takes.
    pub fn cause(&self) -> Code {
        if let Some(known) = self.known {
            return known;
        }
        let api = self.api.as_deref();
        match self.class {
            Class::NotFound => Code::NotFound,
            Class::Exists => Code::NameTaken,
            Class::Busy => Code::Busy,
            Class::Leaving => Code::BeingDeleted,
            Class::RoleNotAssumable => Code::RoleNotAssumable,
            Class::StreamUnknown => Code::StreamUnknown,
            Class::StreamNotReadable => Code::StreamNotReadable,
            Class::RoleLacksRight => Code::RoleLacksRight,
            Class::KeyNotUsable => Code::KmsKeyNotUsable,
            Class::PrincipalUnknown => Code::PrincipalUnknown,
            Class::Throttled => Code::Throttled,
            Class::Changed => Code::ChangedMeanwhile,
            Class::Denied => api.map_or(Code::AccessDenied, |api| api.cause),
            Class::NoCredentials => Code::NoCredentials,
            Class::BadCredentials => api.map_or(Code::CredentialsRefused, |api| api.cause),
            Class::NoAnswer => Code::NoAnswer,
            Class::OutOfReach => Code::OutOfReach,
            Class::Garbled => Code::NotAws,
            Class::ServerFault => Code::AwsFault,
            Class::Rejected => api.map_or(Code::UnexpectedAnswer, |api| api.refusal),
            Class::Unaddressed => Code::RegionNotUsable,
            Class::WrongAccount => Code::OtherAccount,
            Class::Broken => Code::FunctionFailed,
            Class::Differs => Code::NotAsAsked,
            Class::NotEmpty => Code::TableNotEmpty,
            Class::Guarded => Code::Guarded,
            Class::Interrupted => Code::Interrupted,
            Class::Overdue => Code::WaitOverdue,
            Class::Unchanged => Code::NothingToChange,
            Class::TooSoon => Code::TtlTooSoon,
            Class::Protected => Code::DeletionProtected,
            Class::Defect => Code::Defect,
        }
    }

    /// The properties of a spec that may have caused the error, the most likely first.
    pub fn blames(&self) -> &'static [&'static str] {
        self.cause().entry().blames
    }

    /// What to do next.
    pub fn hint(&self) -> Advice {
        if let Some(remedy) = &self.remedy {
            return (&**remedy).into();
        }
        let code = self.cause();
        let next = code.entry().next;
        match (code, &self.api) {
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
                    Some(kind) => see.then(Command::Explain(Some((*kind).to_owned()))).then(" and "),
                    None => see,
                };
                see.then(format!(
                    "{page}. If AWS's message is unclear, please report it: all lines after `aws:`, and this resource's \
                     part of the spec"
                ))
            }
            _ if self.leaves_open() => Advice::from(format!("{next}; completed changes are kept, and "))
                .then(Command::Diff { spec: None })
                .then(" shows what is left"),
            _ => next.into(),
        }
    }

    /// Why it failed: the specific reason, or the general one of its cause.
    pub fn why(&self) -> String {
        let why = self.cause().entry().why;
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
        (self.is_ambiguous() || self.class == Class::OutOfReach) && self.api.as_ref().is_some_and(|api| api.changes)
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
        let code = self.cause();
        let title = code.entry().title;
        let problem = if doing.is_empty() { title.to_owned() } else { format!("{doing}: {title}") };
        Diagnostic::error(problem, self.hint()).cause(code.name(), self.aws_text()).why(self.why())
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
