//! `engine apply`: makes AWS match the spec, or applies a saved plan.
//!
//! **Invariant:** a saved plan is applied as it was saved, or not at all.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::files;
use crate::live::OrphanSearch;
use crate::plan::{Goal, Options};
use crate::saved::{self, SavedPlan};
use crate::spec::Depth;

use super::args::{PartArgs, RunArgs, SpecArgs, ValueArgs, ViewArgs};
use super::builds::{BuildArgs, BuildMode};
use super::deploy::{Deployment, PlanScope, unless_targeted};
use super::exit::{CommandError, Exit};
use super::interrupt::on_runtime;
use super::names::quoted;
use super::selection::Selection;
use super::session::{self, Intent, LookupReads};
use super::{CommandContext, Global};

/// Make AWS match the spec
#[derive(Debug, Args)]
#[command(
    visible_alias = "deploy",
    after_help = "\
Examples:
  engine apply specs/team.yaml --local    deploy to a local AWS, without an account
  engine apply specs/team.yaml            in your AWS account
  engine apply --timeline timeline.html   also write an HTML timeline of the run
  engine apply --plain                    for a screen reader
  engine apply --teams specs/examples/teams.txt
                                          the same spec for each team in a list"
)]
pub(super) struct ApplyArgs {
    #[command(flatten)]
    spec: SpecArgs,
    #[command(flatten)]
    part: PartArgs,
    #[command(flatten)]
    build: BuildArgs,
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    view: ViewArgs,
}

pub(super) fn run(cx: &CommandContext<'_>, args: ApplyArgs) -> Result<Exit, CommandError> {
    if let Some((path, saved)) = saved_plan(&args.spec.named())? {
        return apply_saved(cx, args, &path, &saved);
    }
    let options = Options {
        assume_owner: args.spec.assume_owner,
        delete_data: args.run.delete_data,
        replace: args.part.replace.iter().cloned().collect(),
        targets: args.part.target.iter().cloned().collect(),
    };
    let orphans = unless_targeted(&options, OrphanSearch::IndexedOrScanned);
    let intent = Intent { goal: Goal::Present, writes: true, orphans, lookups: LookupReads::Required };
    let sessions = session::open(cx, &args.spec, &options, Depth::Full)?;
    let builds = BuildMode::of(&args.build, args.run.parallelism);
    let deployment = Deployment::new(cx.terminal, intent, &args.view);
    on_runtime(|interrupt| deployment.apply(sessions, &args.run, builds, None, interrupt))
}

/// The saved plan and its file, if one is given instead of specs.
fn saved_plan(named: &[PathBuf]) -> Result<Option<(PathBuf, SavedPlan)>, CommandError> {
    for path in named {
        // A read error is reported when the file is read as a spec.
        let Ok(bytes) = files::read(path, saved::MAX_BYTES) else { continue };
        let Some(saved) = SavedPlan::parse(&bytes).map_err(CommandError::one)? else { continue };
        if named.len() > 1 {
            let problem = format!("`{}` is a saved plan, which can't be combined with other files", path.display());
            return Err(CommandError::usage(problem, format!("run `engine apply {}`", quoted(path))));
        }
        return Ok(Some((path.clone(), saved)));
    }
    Ok(None)
}

/// Applies a saved plan, if it still holds.
fn apply_saved(cx: &CommandContext<'_>, args: ApplyArgs, path: &Path, saved: &SavedPlan) -> Result<Exit, CommandError> {
    let ApplyArgs { spec, part, run, view, .. } = args;
    let is_narrowed = spec.team.is_some()
        || spec.teams.is_some()
        || spec.assume_owner
        || cx.global.region.is_some()
        || spec.values.stage.is_some()
        || !(part.target.is_empty() && part.replace.is_empty());
    if is_narrowed {
        let problem = "a saved plan already contains the team, the stage, the region and the part of the spec";
        let hint = "leave out --team, --stage, --region, --target, --replace and --assume-owner";
        return Err(CommandError::usage(problem, hint));
    }
    let flags = &saved.flags;
    let options = Options {
        assume_owner: flags.assume_owner,
        delete_data: run.delete_data,
        replace: flags.replace.clone(),
        targets: flags.target.clone(),
    };
    let spec = SpecArgs {
        spec: vec![PathBuf::from(&saved.spec)],
        file: Vec::new(),
        team: flags.team.clone(),
        assume_owner: flags.assume_owner,
        values: ValueArgs { stage: flags.stage.clone(), ..spec.values },
        ..spec
    };
    Selection {
        is_local: flags.local || cx.global.local,
        region: flags.region.clone(),
        specs: spec.spec.clone(),
        team: flags.team.clone(),
        stage: flags.stage.clone(),
        directory: cx.global.directory.clone(),
        profile: cx.global.profile.clone(),
        teams: None,
    }
    .set();
    let global = Global { local: flags.local || cx.global.local, region: flags.region.clone(), ..cx.global.clone() };
    let PlanScope { goal, depth, orphans } = PlanScope::of(flags.destroy, flags.prune_scan);
    let lookups = if flags.destroy { LookupReads::Skipped } else { LookupReads::Required };
    let intent = Intent { goal, writes: true, orphans: unless_targeted(&options, orphans), lookups };
    let sessions = session::open(&CommandContext { global, ..cx.clone() }, &spec, &options, depth)?;
    let deployment = Deployment::new(cx.terminal, intent, &view);
    let builds = BuildMode::Planned(path.to_owned());
    on_runtime(|interrupt| deployment.apply(sessions, &run, builds, Some(saved), interrupt))
}
