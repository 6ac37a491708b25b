//! Advice about a plan, which refers to the program's options and commands without naming them.
//!
//! **Invariant:** how an option or a command is called and spelled, only the program knows.

/// What a user can do about something in a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    /// Delete tables that are not empty, too.
    AllowDataLoss,
    /// Assume ownership by name if tags can't be read.
    AssumeOwner,
    /// Delete and re-create the resource with this name in the spec.
    Replace(String),
    /// Stop managing the resource with this name in the spec, or whichever the text names.
    Forget(Option<String>),
    /// Search for orphans by name, too.
    SearchByName,
    /// Delete everything that a stack owns.
    DestroyStack {
        /// Its team.
        team: String,
        /// Its name.
        stack: String,
        /// Its region.
        region: String,
    },
}

/// What the user can request of a run, as the reason for something in a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// To apply the plan.
    Apply,
    /// To re-create some resources.
    Replace,
    /// To plan some resources only.
    Targets,
}

/// A part of an [`Advice`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdvicePart {
    /// Text as it is.
    Text(String),
    /// A remedy as an imperative.
    Remedy(Remedy),
    /// A request as a noun.
    Request(Request),
}

/// A text for the user, in which the program words remedies and requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Advice(Vec<AdvicePart>);

impl Advice {
    /// Its parts in order; adjacent texts are one part.
    pub fn parts(&self) -> &[AdvicePart] {
        &self.0
    }

    /// The same, followed by `more`.
    #[must_use]
    pub fn then(mut self, more: impl Into<Advice>) -> Advice {
        for part in more.into().0 {
            match (self.0.last_mut(), part) {
                (Some(AdvicePart::Text(text)), AdvicePart::Text(more)) => text.push_str(&more),
                (_, part) => self.0.push(part),
            }
        }
        self
    }
}

impl From<String> for Advice {
    fn from(text: String) -> Advice {
        Advice(vec![AdvicePart::Text(text)])
    }
}

impl From<&str> for Advice {
    fn from(text: &str) -> Advice {
        Advice::from(text.to_owned())
    }
}

impl From<Remedy> for Advice {
    fn from(remedy: Remedy) -> Advice {
        Advice(vec![AdvicePart::Remedy(remedy)])
    }
}

impl From<Request> for Advice {
    fn from(request: Request) -> Advice {
        Advice(vec![AdvicePart::Request(request)])
    }
}
