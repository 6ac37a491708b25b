//! Texts for the user that refer to the program's options and commands without naming them.
//!
//! **Invariant:** how an option or a command is called and spelled, only the program knows.

/// What a user can do about a problem.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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
    /// Set the variable with this name, outside of the spec.
    SetVariable(String),
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

/// What the user can request of a run.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RunOption {
    /// To apply the plan.
    Apply,
    /// To assume ownership by name if tags can't be read.
    AssumeOwner,
    /// To delete everything that the stack owns.
    Destroy,
    /// To use the local AWS.
    Local,
    /// To use a profile of AWS's tools.
    Profile,
    /// To use a region, or this one.
    Region(Option<String>),
    /// To re-create some resources.
    Replace,
    /// To search for orphans by name, too.
    SearchByName,
    /// To use the stack with this name.
    Stack(String),
    /// To use a stage, or the one with this name.
    Stage(Option<String>),
    /// To plan some resources only.
    Targets,
    /// To use a team, or the one with this name.
    Team(Option<String>),
    /// To set the variable with this name.
    Variable(String),
}

/// A command of the program.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CliCommand {
    /// Create and update the resources of a spec.
    Apply {
        /// Whether in the local AWS.
        is_local: bool,
    },
    /// Apply a saved plan, which determines the AWS, the spec and the team itself.
    ApplySavedPlan,
    /// Show what an apply would change; for a spec, if one is given.
    Diff {
        /// Its path.
        spec: Option<&'static str>,
    },
    /// Diagnose the settings of this machine.
    Doctor,
    /// Explain the resource type or error code with this name, or list the resource types.
    Explain(Option<String>),
    /// Create a spec.
    Init,
    /// Save a plan to a file.
    SavePlan,
    /// Validate the specs in this file or folder.
    Validate(String),
}

/// A part of an [`Advice`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AdvicePart {
    /// Text as it is.
    Text(String),
    /// A remedy as an imperative.
    Remedy(Remedy),
    /// A request as a noun.
    Request(RunOption),
    /// A command as a noun.
    Command(CliCommand),
}

/// A text for the user, in which the program words remedies, requests and commands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
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

    /// All of them, with `separator` in between.
    pub fn join(all: impl IntoIterator<Item = Advice>, separator: &str) -> Advice {
        all.into_iter().reduce(|all, next| all.then(separator).then(next)).unwrap_or_default()
    }

    /// Whether its own text contains `text`.
    pub fn contains(&self, text: &str) -> bool {
        self.0.iter().any(|part| matches!(part, AdvicePart::Text(own) if own.contains(text)))
    }

    /// Cuts its own text to `most` characters.
    pub fn cut(&mut self, most: usize) {
        let mut left = most;
        for part in &mut self.0 {
            let AdvicePart::Text(text) = part else { continue };
            let cut = text.char_indices().nth(left).map(|(end, _)| end);
            left = left.saturating_sub(text.chars().count());
            if let Some(end) = cut {
                text.replace_range(end.., "…");
            }
        }
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

impl From<&String> for Advice {
    fn from(text: &String) -> Advice {
        Advice::from(text.as_str())
    }
}

impl From<Remedy> for Advice {
    fn from(remedy: Remedy) -> Advice {
        Advice(vec![AdvicePart::Remedy(remedy)])
    }
}

impl From<RunOption> for Advice {
    fn from(request: RunOption) -> Advice {
        Advice(vec![AdvicePart::Request(request)])
    }
}

impl From<CliCommand> for Advice {
    fn from(command: CliCommand) -> Advice {
        Advice(vec![AdvicePart::Command(command)])
    }
}

#[cfg(test)]
impl Advice {
    /// Its own text, without what only the program words.
    pub(crate) fn own_text(&self) -> String {
        let texts = self.0.iter().filter_map(|part| match part {
            AdvicePart::Text(text) => Some(text.as_str()),
            _ => None,
        });
        texts.collect()
    }
}
