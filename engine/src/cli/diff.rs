//! `engine diff`: shows what an apply or a destroy would change, and saves the plan.
//!
//! **Invariant:** it changes nothing in AWS.

use std::path::PathBuf;

use clap::Args;
use tokio::sync::watch;

use crate::diagnostic::Diagnostic;
use crate::plan::Options;
use crate::plan_file;
use crate::render::remedy;
use crate::saved::{Flags, Salt, SavedPlan};

use super::CommandContext;
use super::args::{PARALLELISM, PartArgs, SpecArgs, ViewArgs, WhenStopped};
use super::builds::{BuildArgs, BuildMode};
use super::deploy::{Deployment, PlanScope, PlannedRun, unless_targeted};
use super::exit::{CommandError, Exit};
use super::interrupt::on_runtime;
use super::names::quoted;
use super::session::{self, Intent, LookupReads, Session};

/// Show what `apply` would change
#[derive(Debug, Args)]
#[command(
    visible_alias = "plan",
    after_help = "\
Examples:
  engine diff                       the plan for specs/team.yaml
  engine diff --detailed-exitcode   exit code 2 if anything would change
  engine diff --destroy             what `destroy` would do
  engine diff --out plan.json       also save the plan, for `engine apply plan.json`"
)]
pub(super) struct DiffArgs {
    #[command(flatten)]
    spec: SpecArgs,
    #[command(flatten)]
    part: PartArgs,
    /// Exit with code 2 if anything would change
    #[arg(long)]
    detailed_exitcode: bool,
    /// Show what `destroy` would do
    #[arg(long, conflicts_with = "replace")]
    destroy: bool,
    /// Find orphans by the team's name prefix if you lack the permission `tag:GetResources`
    #[arg(long)]
    prune_scan: bool,
    /// Don't read lookups: show what they decide as `(not read)`, and need no permission for them
    #[arg(long)]
    no_lookups: bool,
    /// Save the plan; `engine apply FILE` then applies exactly this plan or fails
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    build: BuildArgs,
    /// Run no build; code that isn't built is shown as `(known after build)`
    #[arg(long, conflicts_with = "allow_build")]
    no_build: bool,
    #[command(flatten)]
    view: ViewArgs,
}

pub(super) fn run(cx: &CommandContext<'_>, args: DiffArgs) -> Result<Exit, CommandError> {
    let options = Options {
        assume_owner: args.spec.assume_owner,
        delete_data: false,
        replace: args.part.replace.iter().cloned().collect(),
        targets: args.part.target.iter().cloned().collect(),
    };
    let PlanScope { goal, depth, orphans } = PlanScope::of(args.destroy, args.prune_scan);
    let lookups = if args.destroy || args.no_lookups { LookupReads::Skipped } else { LookupReads::Tolerant };
    let intent = Intent { goal, writes: false, orphans: unless_targeted(&options, orphans), lookups };
    let spec = SpecArgs { when_stopped: WhenStopped::StartToCompare, ..args.spec.clone() };
    let sessions = session::open(cx, &spec, &options, depth)?;
    if args.out.is_some() && sessions.len() != 1 {
        return Err(CommandError::usage(
            "a saved plan is for one spec and one team",
            "save one plan per spec and team",
        ));
    }
    let flags = Flags {
        destroy: args.destroy,
        local: cx.global.local,
        assume_owner: args.spec.assume_owner,
        prune_scan: args.prune_scan,
        replace: options.replace,
        target: options.targets,
        team: args.spec.team.clone(),
        region: cx.global.region.clone(),
        stage: args.spec.values.stage.clone(),
    };
    let deployment = Deployment::new(cx.terminal, intent, &args.view);
    on_runtime(|interrupt| diff(sessions, &deployment, &args, flags, interrupt))
}

async fn diff(
    sessions: Vec<Session<'_>>,
    deployment: &Deployment<'_>,
    args: &DiffArgs,
    flags: Flags,
    interrupt: watch::Receiver<bool>,
) -> Result<Exit, CommandError> {
    if let Some(out) = &args.out {
        plan_file::has_room_at(out).map_err(CommandError::one)?;
    }
    let builds = if args.no_build { BuildMode::Skip } else { BuildMode::of(&args.build, PARALLELISM) };
    let planned = deployment.plan(sessions, builds, &interrupt).await?;
    deployment.show(&planned);
    let mut exit = Exit::Done;
    let mut refusals = Vec::new();
    for PlannedRun { run, plan } in &planned {
        refusals.extend(run.refusals(plan));
        if let Some(out) = args.out.as_ref().filter(|_| refusals.is_empty()) {
            if plan.is_pending() {
                let problem = "the plan wasn't saved: some resources can't be planned yet";
                return Err(CommandError::one(Diagnostic::error(problem, "try again in a minute")));
            }
            let Session { spec, terminal, .. } = &run.session;
            if let Some(unbuilt) = spec.resources.iter().find(|it| it.is_unbuilt()) {
                let problem = format!("the plan wasn't saved: the code of `{}` isn't built", unbuilt.name);
                return Err(CommandError::one(Diagnostic::error(problem, "leave out `--no-build`")));
            }
            let saved = SavedPlan::new(spec, &run.inventory, plan, flags.clone(), Salt::random());
            plan_file::write_packages(spec, out).map_err(CommandError::one)?;
            plan_file::write(&saved, out).map_err(CommandError::one)?;
            let file = quoted(out);
            let command = remedy::completed_command(&format!("engine apply {file}"));
            terminal.note(&format!("Saved the plan to {file}. To apply exactly this plan, run: {command}"));
        }
        // What can't be determined yet may change as well.
        if args.detailed_exitcode && (plan.has_changes() || plan.is_pending() || plan.is_partial()) {
            exit = Exit::Pending;
        }
    }
    if !refusals.is_empty() {
        deployment.terminal.problems(&refusals);
        exit = Exit::Failed;
    }
    Ok(exit)
}
