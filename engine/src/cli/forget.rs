//! `engine forget`: removes engine's tags from a resource, and changes nothing else.
//!
//! **Invariant:** the resource itself stays as it is.

use std::collections::BTreeSet;

use clap::Args;
use tokio::sync::watch;

use crate::diagnostic::{Diagnostic, nearest};
use crate::live::OrphanSearch;
use crate::plan::{Goal, Options};
use crate::spec::Depth;

use super::CommandContext;
use super::args::{PlanFormat, SpecArgs, ViewArgs, WhenStopped};
use super::builds::BuildMode;
use super::deploy::{Deployment, PlannedRun};
use super::exit::{CommandError, Exit};
use super::interrupt::on_runtime;
use super::names;
use super::session::{self, Intent, LookupReads, Session};

/// Stop managing a resource: remove engine's tags, keep it in AWS
#[derive(Debug, Args)]
#[command(
    alias = "release",
    after_help = "\
Examples:
  engine forget todos"
)]
pub(super) struct ForgetArgs {
    /// The resource's name in the spec
    #[arg(value_name = "NAME", required = true)]
    name: String,
    #[command(flatten)]
    spec: SpecArgs,
}

pub(super) fn run(cx: &CommandContext<'_>, args: ForgetArgs) -> Result<Exit, CommandError> {
    let swapped = args.spec.spec.first().and_then(|it| it.to_str()).unwrap_or("NAME");
    names::reject_spec_path(Some(&args.name), |path| format!("engine forget {swapped} {path}"))?;
    let targets = BTreeSet::from([args.name.clone()]);
    let options = Options { assume_owner: args.spec.assume_owner, targets, ..Options::default() };
    let intent = Intent {
        goal: Goal::Unmanaged,
        writes: true,
        orphans: OrphanSearch::IndexedOrScanned,
        lookups: LookupReads::Skipped,
    };
    let spec = SpecArgs { when_stopped: WhenStopped::Fail, ..args.spec };
    // An orphan can be forgotten too.
    let sessions = session::open_checked(cx, &spec, &options, Depth::Identities, |_| Vec::new())?;
    let view = ViewArgs { format: PlanFormat::Human, show_unchanged: false };
    let deployment = Deployment::new(cx.terminal, intent, &view);
    on_runtime(|interrupt| forget(sessions, &deployment, &args.name, interrupt))
}

async fn forget(
    sessions: Vec<Session<'_>>,
    deployment: &Deployment<'_>,
    name: &str,
    interrupt: watch::Receiver<bool>,
) -> Result<Exit, CommandError> {
    let planned = deployment.plan(sessions, BuildMode::Skip, &interrupt).await?;
    if planned.iter().all(|it| it.plan.changes.is_empty()) {
        return Err(not_owned(&planned, name));
    }
    deployment.show(&planned);
    deployment.check_refusals(&planned)?;
    deployment.carry_out(&planned, 1, None).await
}

/// The error for a resource that the stack doesn't own.
fn not_owned(planned: &[PlannedRun<'_>], name: &str) -> CommandError {
    let scope = planned.first().map(|it| names::search_scope(&it.run.session.target, &it.run.inventory.env));
    let location = scope.as_ref().map_or_else(String::new, |scope| format!(" {}", scope.location()));
    let problem = format!("this team's stack owns no resource `{name}`{location}");
    let known = planned.iter().flat_map(|it| &it.run.session.spec.resources).map(|it| it.name.as_str());
    let known = known.filter(|known| *known != name);
    let owned = "`engine list` shows what it owns";
    CommandError::one(match (nearest(name, known), scope) {
        (Some(near), _) => Diagnostic::error(problem, format!("did you mean `{near}`?")).hint(owned),
        (None, Some(scope)) => Diagnostic::error(problem, scope.elsewhere()).hint(owned),
        (None, None) => Diagnostic::error(problem, owned),
    })
}
