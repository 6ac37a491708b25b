//! Arguments that several commands share.
//!
//! **Invariant:** what is skipped by the parser is set by a command.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::parse::{variable, whole_number};

/// The default of `--parallelism`.
pub(super) const PARALLELISM: u16 = 16;

#[derive(Debug, Args, Clone)]
pub(super) struct SpecArgs {
    /// The specs: files, glob patterns, or folders with a specs/ folder. Defaults to
    /// specs/team.yaml or the only YAML specs/, in this folder or a parent folder
    #[arg(value_name = "SPEC")]
    pub(super) spec: Vec<PathBuf>,
    /// The same as SPEC; may be repeated
    #[arg(short, long = "spec", value_name = "FILE", aliases = ["file", "filename"])]
    pub(super) file: Vec<PathBuf>,
    /// Use this team instead of the spec's
    #[arg(long, value_name = "TEAM")]
    pub(super) team: Option<String>,
    /// Run the command for each team in this file (one team per line)
    #[arg(long, value_name = "FILE", conflicts_with = "team")]
    pub(super) teams: Option<PathBuf>,
    #[command(flatten)]
    pub(super) values: ValueArgs,
    /// Assume ownership by name if tags can't be read
    #[arg(long)]
    pub(super) assume_owner: bool,
    #[command(flatten)]
    pub(super) code: CodeArgs,
    /// Set for commands that work without a spec.
    #[arg(skip)]
    pub(super) stack: Option<String>,
    /// Set for commands that take one spec, which is then a name and not a pattern.
    #[arg(skip)]
    pub(super) is_one: bool,
    /// Set by the command.
    #[arg(skip)]
    pub(super) when_stopped: WhenStopped,
}

/// What a command with `--local` does if the project's local AWS doesn't run.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum WhenStopped {
    #[default]
    Start,
    /// Start it, and report that: the command only compares the spec with what exists.
    StartToCompare,
    /// It needs deployed resources, and an empty local AWS has none.
    Fail,
}

/// Which folders a spec may read code from.
#[derive(Debug, Default, Clone, Copy, Args)]
pub(super) struct CodeArgs {
    /// Allow `code:` outside the project (the nearest folder with .git, or else with specs/)
    #[arg(long)]
    pub(super) allow_code_outside: bool,
}

/// One spec for one team, for commands whose only operand is the spec.
#[derive(Debug, Args)]
pub(super) struct OneSpecArgs {
    /// The spec, or a folder with a specs/ folder. Defaults to specs/team.yaml or the only YAML
    /// file in specs/, in the folder or a parent folder
    #[arg(value_name = "SPEC")]
    pub(super) spec: Option<PathBuf>,
    /// The same as SPEC
    #[arg(short, long = "spec", value_name = "FILE", aliases = ["file", "filename"], conflicts_with = "spec")]
    pub(super) file: Option<PathBuf>,
    #[command(flatten)]
    pub(super) overrides: OverrideArgs,
}

/// One spec for one team, for commands whose operand is a name.
#[derive(Debug, Args)]
pub(super) struct NamedSpecArgs {
    /// The spec, or a folder with a specs/ folder. Defaults to specs/team.yaml or the only YAML
    /// file in specs/, in the folder or a parent folder
    #[arg(long = "spec", value_name = "FILE")]
    pub(super) path: Option<PathBuf>,
    #[command(flatten)]
    pub(super) overrides: OverrideArgs,
}

/// What the command line overrides in a spec.
#[derive(Debug, Args)]
pub(super) struct OverrideArgs {
    /// Use this team instead of the spec's
    #[arg(long, value_name = "TEAM")]
    pub(super) team: Option<String>,
    #[command(flatten)]
    pub(super) values: ValueArgs,
    #[command(flatten)]
    pub(super) code: CodeArgs,
}

/// Which values the variables of a spec have.
#[derive(Debug, Default, Clone, Args)]
pub(super) struct ValueArgs {
    /// Use this stage of the spec
    #[arg(long, value_name = "STAGE")]
    pub(super) stage: Option<String>,
    /// Set the value of `${var.NAME}`; a list or mapping is JSON; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    pub(super) var: Vec<(String, String)>,
    /// Set the variables in this YAML or JSON file; may be repeated, and the last one has priority
    #[arg(long, value_name = "FILE")]
    pub(super) var_file: Vec<PathBuf>,
}

impl From<&OneSpecArgs> for SpecArgs {
    fn from(OneSpecArgs { spec, file, overrides }: &OneSpecArgs) -> SpecArgs {
        SpecArgs::one(spec.as_ref().or(file.as_ref()), overrides)
    }
}

impl From<&NamedSpecArgs> for SpecArgs {
    fn from(NamedSpecArgs { path, overrides }: &NamedSpecArgs) -> SpecArgs {
        SpecArgs::one(path.as_ref(), overrides)
    }
}

impl SpecArgs {
    /// One spec for one team.
    fn one(path: Option<&PathBuf>, OverrideArgs { team, values, code }: &OverrideArgs) -> SpecArgs {
        SpecArgs {
            spec: path.into_iter().cloned().collect(),
            file: Vec::new(),
            team: team.clone(),
            teams: None,
            values: values.clone(),
            assume_owner: false,
            code: *code,
            stack: None,
            is_one: true,
            when_stopped: WhenStopped::Start,
        }
    }

    /// No spec: for a command that reads what no spec declares.
    pub(super) fn bare(name: &str) -> SpecArgs {
        let overrides =
            OverrideArgs { team: Some(name.to_owned()), values: ValueArgs::default(), code: CodeArgs::default() };
        SpecArgs { stack: Some(name.to_owned()), ..SpecArgs::one(None, &overrides) }
    }

    /// The specs that are named, in either way.
    pub(super) fn named(&self) -> Vec<PathBuf> {
        [self.spec.as_slice(), &self.file].concat()
    }
}

/// Which part of the spec to apply, and what to re-create.
#[derive(Debug, Args)]
pub(super) struct PartArgs {
    /// Limit the command to this resource and its dependencies; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(super) target: Vec<String>,
    /// Delete and re-create this resource; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(super) replace: Vec<String>,
}

/// How a plan is shown.
#[derive(Debug, Args)]
pub(super) struct ViewArgs {
    /// Output format of the plan and the result
    #[arg(long, value_enum, default_value_t = PlanFormat::Human)]
    pub(super) format: PlanFormat,
    /// Also show unchanged resources
    #[arg(long)]
    pub(super) show_unchanged: bool,
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// Skip the confirmation prompt
    #[arg(short, long)]
    pub(super) yes: bool,
    /// Also delete tables and queues that are not empty
    #[arg(long)]
    pub(super) delete_data: bool,
    /// Maximum number of concurrent steps
    #[arg(long, value_name = "N", default_value_t = PARALLELISM, value_parser = |text: &str| whole_number::<u16>(text, 1, 256))]
    pub(super) parallelism: u16,
    /// Write an HTML timeline of the steps and AWS calls
    #[arg(long, value_name = "FILE.html")]
    pub(super) timeline: Option<PathBuf>,
}

/// The formats of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum PlanFormat {
    #[value(name = "text", alias = "human")]
    Human,
    Json,
    Markdown,
}

/// The formats of other results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum OutputFormat {
    #[value(name = "text", alias = "human")]
    Human,
    Json,
}
