//! `engine destroy`: deletes everything that the team's stack owns.
//!
//! **Invariant:** only resources that this stack owns are deleted.

use std::collections::BTreeSet;

use clap::Args;

use crate::live::OrphanSearch;
use crate::plan::{Goal, Options};
use crate::spec::Depth;

use super::CommandContext;
use super::args::{RunArgs, SpecArgs, ViewArgs};
use super::builds::BuildMode;
use super::deploy::{Deployment, unless_targeted};
use super::exit::{CommandError, Exit};
use super::interrupt::on_runtime;
use super::session::{self, Intent, LookupReads};

/// Delete everything that the team's stack owns
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  engine destroy                          with a confirmation prompt
  engine destroy --yes --delete-data      without a prompt, even if tables or queues have data
  engine destroy --team blue-owls --stack team --region eu-central-1
                                          a stack whose spec no longer exists")]
pub(super) struct DestroyArgs {
    #[command(flatten)]
    spec: SpecArgs,
    /// Use this stack, with --team, if the spec no longer exists
    #[arg(long, value_name = "STACK", requires = "team", conflicts_with_all = ["spec", "file", "teams"])]
    stack: Option<String>,
    /// Limit the command to this resource and its dependents; may be repeated
    #[arg(long, value_name = "NAME")]
    target: Vec<String>,
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    view: ViewArgs,
}

pub(super) fn run(cx: &CommandContext<'_>, args: DestroyArgs) -> Result<Exit, CommandError> {
    let options = Options {
        assume_owner: args.spec.assume_owner,
        delete_data: args.run.delete_data,
        replace: BTreeSet::new(),
        targets: args.target.iter().cloned().collect(),
    };
    let orphans = unless_targeted(&options, OrphanSearch::Scanned);
    let intent = Intent { goal: Goal::Absent, writes: true, orphans, lookups: LookupReads::Skipped };
    let spec = SpecArgs { stack: args.stack, ..args.spec };
    let sessions = session::open(cx, &spec, &options, Depth::Identities)?;
    let deployment = Deployment::new(cx.terminal, intent, &args.view);
    on_runtime(|interrupt| deployment.apply(sessions, &args.run, BuildMode::Skip, None, interrupt))
}
