//! `engine export`: writes a spec of existing resources.
//!
//! `find` reads AWS, `engine_core::export` makes the spec, and `project` writes files.
//!
//! **Invariant:** it changes nothing in AWS, overwrites no file, and shows no value of a variable.

mod find;
mod project;

use std::path::PathBuf;

use clap::{Args, ValueHint};
use tokio::sync::watch;

use crate::aws::{Access, Context};
use crate::diagnostic::Diagnostic;
use crate::export::{Conflict, Declaration, Export, ExportSettings};
use crate::live;
use crate::plan::Options;
use crate::schema::{AwsEnv, Ownership};
use crate::spec::{Depth, grammar};

use super::CommandContext;
use super::args::{SpecArgs, WhenStopped};
use super::exit::{CommandError, Exit};
use super::interrupt::on_runtime;
use super::session::{self, Session};
use super::terminal::{report_waits_once, with_wait_notice};

use find::FoundResources;
use project::Project;

/// Write a spec of existing resources
#[derive(Debug, Args)]
#[command(after_help = "\
NAME is a name in AWS: of a table, a function, a queue, a log group or a role. A function brings its \
mappings and permissions, and imports its role. Without -o, the spec goes to stdout and the code of \
functions to lambda-src/ in the current folder.

Examples:
  engine export blue-owls-todos --local          print the spec of a table
  engine export blue-owls-todos blue-owls-logger -o specs/copy.yaml --local
                                                 into a file, with a function
  engine export blue-owls-logger -o specs/logger.yaml --with-values values.yaml --local
                                                 with the values of its variables")]
pub(super) struct ExportArgs {
    /// Names or ARNs of resources in AWS
    #[arg(value_name = "NAME|ARN", required = true)]
    names: Vec<String>,
    /// Write the spec to this new file
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: Option<PathBuf>,
    /// Use this team for resources without engine's tags
    #[arg(long, value_name = "TEAM")]
    team: Option<String>,
    /// Write the values of variables to this new file, which only you can read
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    with_values: Option<PathBuf>,
}

pub(super) fn run(cx: &CommandContext<'_>, args: ExportArgs) -> Result<Exit, CommandError> {
    if let Some((team, objection)) = args.team.as_ref().and_then(|it| Some((it, grammar::objection_to_team(it)?))) {
        let problem = format!("the team name `{team}` {objection}");
        return Err(CommandError::usage(problem, format!("use {}", grammar::team_name_rule())));
    }
    let project = Project::new(args.output.clone(), args.with_values.clone())?;
    let session = session(cx, &args.names)?;
    on_runtime(async |interrupt| {
        let exported = ExportedSpec::read(&session, &args.names, args.team.as_deref(), &project, &interrupt).await?;
        project.write(cx, &exported, &about(&exported, &project, &args.names))
    })
}

/// A session for reading what no spec declares: in the region of the first ARN, if nothing else sets
/// one.
pub(super) fn session<'t>(cx: &CommandContext<'t>, names: &[String]) -> Result<Session<'t>, CommandError> {
    let spec = SpecArgs { when_stopped: WhenStopped::Fail, ..SpecArgs::bare("export") };
    let region = names.iter().filter(|name| name.starts_with("arn:")).find_map(|arn| arn.split(':').nth(3));
    let region = region.filter(|region| !region.is_empty() && !cx.global.local).map(str::to_owned);
    let mut cx = cx.clone();
    cx.global.region = cx.global.region.or(region);
    let sessions = session::open(&cx, &spec, &Options::default(), Depth::Identities)?;
    sessions.into_iter().next().ok_or_else(CommandError::interrupted)
}

/// The table with this name, as a spec of this team would adopt it.
pub(super) fn table(cx: &CommandContext<'_>, name: &str, team: &str) -> Result<Export, CommandError> {
    let names = [name.to_owned()];
    let (session, mut found) = (session(cx, &names)?, None);
    let project = Project::new(None, None)?;
    on_runtime(async |interrupt| {
        found = Some(ExportedSpec::read(&session, &names, Some(team), &project, &interrupt).await?);
        Ok(Exit::Done)
    })?;
    let ExportedSpec { spec, .. } = found.ok_or_else(CommandError::interrupted)?;
    if let Some(stack) = &spec.stack {
        let problem = format!("`{name}` already belongs to the stack `{stack}` of the team `{team}`");
        return Err(CommandError::one(Diagnostic::error(problem, format!("run `engine export {name}` instead"))));
    }
    let mut spec = spec;
    spec.resources.retain(|it| it.existing.kind.schema().kind == "table");
    if spec.resources.is_empty() {
        let problem = format!("`{name}` is not a table");
        return Err(CommandError::one(Diagnostic::error(problem, format!("run `engine export {name}` instead"))));
    }
    Ok(spec)
}

/// A spec of existing resources, with everything that its files need.
pub(super) struct ExportedSpec {
    pub(super) spec: Export,
    env: AwsEnv,
    /// The packages of resources, by their names in the spec.
    packages: Vec<(String, Vec<u8>)>,
    /// What the spec lacks: explanations, one sentence each.
    gaps: Vec<String>,
}

impl ExportedSpec {
    /// Reads the resources with these names, and makes their spec.
    pub(super) async fn read(
        session: &Session<'_>,
        names: &[String],
        team: Option<&str>,
        project: &Project,
        interrupt: &watch::Receiver<bool>,
    ) -> Result<ExportedSpec, CommandError> {
        let (cx, account) = session.reader(Access::ReadOnly, interrupt).await?;
        let quiet = session.terminal.quiet;
        let cx = cx.reporting(report_waits_once(quiet));
        let env = AwsEnv::new(&cx.aws.region, &account);
        let read = async {
            let FoundResources { existing, mut gaps } = find::find(&cx, session, names, &env).await?;
            let settings = ExportSettings { team, env: &env, has_values: project.has_values() };
            let mut spec = Export::new(existing, &settings).map_err(conflict)?;
            gaps.extend(
                spec.left_out.iter().map(|it| format!("The {} `{}` isn't exported: {}.", it.kind, it.name, it.why)),
            );
            let packages = packages(&cx, &mut spec).await?;
            gaps.extend(others(&cx, &spec, &account).await?);
            Ok((spec, packages, gaps))
        };
        let read = tokio::select! {
            read = with_wait_notice(quiet, || cx.waits(), read) => read,
            () = cx.interrupt() => Err(CommandError::interrupted()),
        };
        let (spec, packages, gaps) = read?;
        Ok(ExportedSpec { spec, env, packages, gaps })
    }

    /// What the spec lacks.
    fn all_gaps(&self) -> impl Iterator<Item = String> {
        let of_resources =
            |it: &Declaration| it.gaps.iter().map(|gap| format!("`{}`: {gap}.", it.name)).collect::<Vec<_>>();
        self.gaps.iter().cloned().chain(self.spec.resources.iter().flat_map(of_resources))
    }
}

/// Downloads the packages; what can't be downloaded is a gap.
async fn packages(cx: &Context, spec: &mut Export) -> Result<Vec<(String, Vec<u8>)>, CommandError> {
    let mut packages = Vec::new();
    for declaration in spec.resources.iter_mut().filter(|it| it.package.is_some()) {
        let existing = &declaration.existing;
        let provider =
            cx.provider(&existing.kind.schema().kind).map_err(|error| CommandError::of_call(&error, "download"))?;
        match cx.read(&existing.id.name, || provider.package(cx, &existing.id)).await {
            Ok(package) => packages.push((declaration.name.clone(), package)),
            Err(error) => {
                let why = error.unreadable().ok_or_else(|| CommandError::of_call(&error, "download the code"))?;
                let property = declaration.package.take().unwrap_or_default();
                declaration.gaps.push(format!("`{property}` can't be downloaded, because {why}"));
            }
        }
    }
    Ok(packages)
}

/// What else the stack owns: applying the spec would delete it.
async fn others(cx: &Context, spec: &Export, account: &str) -> Result<Option<String>, CommandError> {
    let Some(stack) = &spec.stack else { return Ok(None) };
    let owned = match live::discover_all(cx, Some((&spec.team, stack)), &[], account).await {
        Ok(owned) => owned,
        Err(error) => {
            let why =
                error.unreadable().ok_or_else(|| CommandError::of_call(&error, "search for the rest of the stack"))?;
            let problem = "engine couldn't check whether the spec has everything that the stack owns";
            return Ok(Some(format!("{problem}: {why}.")));
        }
    };
    let has = |kind: &str, name: &str| {
        let is_it = |it: &Declaration| it.existing.kind.schema().kind == kind && it.existing.id.name == name;
        spec.resources.iter().any(is_it) || spec.is_implied(kind, name)
    };
    let missing = owned.iter().filter(|(kind, id, _)| !has(&kind.schema().kind, &id.name));
    let missing: Vec<String> = missing
        .map(|(kind, id, live)| {
            let name = match &live.owner {
                Ownership::Engine(owner) if !owner.resource.is_empty() => &owner.resource,
                _ => &id.name,
            };
            format!("the {} `{name}`", kind.schema().kind)
        })
        .collect();
    Ok((!missing.is_empty()).then(|| {
        let missing = missing.join(", ");
        format!("The stack `{stack}` also owns {missing}. `engine apply` would delete that: export it, too.")
    }))
}

fn conflict(conflict: Conflict) -> CommandError {
    match conflict {
        Conflict::NoTeam => CommandError::usage(
            "the resources have no tags of engine, so the spec needs a team",
            "add `--team TEAM`, with the team that is to own them",
        ),
        Conflict::SeveralStacks(stacks) => {
            let stacks: Vec<String> =
                stacks.iter().map(|(team, stack)| format!("team `{team}`, stack `{stack}`")).collect();
            let problem = format!("the resources belong to several stacks: {}", stacks.join("; "));
            CommandError::one(Diagnostic::error(problem, "export the resources of one stack at a time"))
        }
        Conflict::OtherTeam(owner) => CommandError::one(Diagnostic::error(
            format!("the resources belong to the team `{owner}`"),
            "leave out `--team`: the tags of the resources name their team",
        )),
    }
}

/// The comments at the start of the spec.
fn about(exported: &ExportedSpec, project: &Project, names: &[String]) -> Vec<String> {
    let ExportedSpec { spec, env, .. } = exported;
    let AwsEnv { account, region, .. } = env;
    let names: Vec<String> = names.iter().map(|it| crate::diagnostic::shell_word(it)).collect();
    let mut about = vec![format!("Exported from account {account}, {region}: `engine export {}`.", names.join(" "))];
    if spec.resources.iter().any(|it| it.is_adopted) {
        about.push(
            "Resources with `adopt: true` have no tags of engine yet. `engine diff` shows that adopting them adds \
             these tags and changes nothing else."
                .to_owned(),
        );
    }
    about.extend(project.about(exported));
    about.extend(exported.gaps.iter().cloned());
    about
}
