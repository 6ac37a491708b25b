//! Turns arguments into sessions: loads each spec of a command for its team, and connects.
//!
//! **Invariant:** every error that needs no AWS is reported for all specs before the first call.

mod discovery;
mod local_aws;
mod patterns;
mod read;
mod specs;
mod teams;

use std::sync::Arc;

use tokio::sync::watch;

use crate::aws::{self, Access, AwsError, Connection, Context, LocalSettings, Network, Overrides, Settings};
use crate::diagnostic::Diagnostic;
use crate::kinds;
use crate::live::{self, ReadError};
use crate::local::{Project, WriteLock};
use crate::plan::Options;
use crate::spec::{Depth, Spec, SpecOverrides};

use super::args::SpecArgs;
use super::exit::{CommandError, Exit};
use super::names::unknown_names;
use super::terminal::{Terminal, with_wait_notice};
use super::{CommandContext, Global, syntax};

use local_aws::LocalServers;

pub(super) use discovery::{absolute, is_project, search};
pub(super) use local_aws::{LOCAL_ACCOUNT, LOCAL_REGION, is_stopped, lock_writes, stopped};
pub(super) use patterns::in_folders;
pub(super) use read::{Intent, LookupReads, Run, contexts, contexts_with, read};
pub(super) use specs::{LoadedSpec, find_spec, load, load_all_stages, path_of};
pub(super) use teams::read_teams;

/// A loaded spec, and how to reach AWS.
pub(super) struct Session<'t> {
    pub(super) terminal: &'t Terminal,
    pub(super) spec: Spec,
    /// What the spec was loaded with.
    pub(super) overrides: SpecOverrides,
    pub(super) target: AwsTarget,
    /// The overrides on the command line, for the plan's first line.
    pub(super) notes: Vec<String>,
    pub(super) options: Options,
    /// Whether its calls and waits are recorded.
    pub(super) is_recorded: bool,
    network: Network,
    /// Where the project's local AWS would be.
    project: Project,
    /// Held by a command that writes to the local AWS.
    write_lock: Option<Arc<WriteLock>>,
}

/// Which AWS.
#[derive(Clone, PartialEq)]
pub(super) enum AwsTarget {
    Account(Settings),
    Local(LocalSettings),
}

/// Loads every spec for every team, checks the resources that options name, and starts the local
/// AWS if needed: that brings its own runtime, so this must not be called on one.
pub(super) fn open<'t>(
    cx: &CommandContext<'t>,
    args: &SpecArgs,
    options: &Options,
    depth: Depth,
) -> Result<Vec<Session<'t>>, CommandError> {
    open_checked(cx, args, options, depth, |loaded| unknown_names(loaded, options))
}

/// The same with another check of the names on the command line, before anything starts; `unknown`
/// returns its errors.
pub(super) fn open_checked<'t>(
    cx: &CommandContext<'t>,
    args: &SpecArgs,
    options: &Options,
    depth: Depth,
    unknown: impl FnOnce(&[LoadedSpec]) -> Vec<Diagnostic>,
) -> Result<Vec<Session<'t>>, CommandError> {
    let CommandContext { global, terminal, .. } = cx;
    let loaded = load_checked(cx, args, depth, |loaded| {
        loaded.iter().for_each(|it| terminal.problems(&it.spec.warnings));
        unknown(loaded)
    })?;
    if !global.local {
        terminal.problems(&unencrypted(global));
    }
    let mut servers = LocalServers::new(terminal, args.when_stopped);
    let mut sessions = Vec::new();
    for it in loaded {
        let target = if global.local {
            AwsTarget::Local(servers.settings(&Project::new(it.project_folder()), &it.spec)?)
        } else {
            AwsTarget::Account(account_settings(global, &it.spec))
        };
        sessions.push(session(cx, args, options, it, target));
    }
    Ok(sessions)
}

/// Loads the spec of a session again, for the local AWS that it uses, or for AWS with the spec's
/// settings. The spec's warnings are left to the caller.
pub(super) fn reopen<'t>(
    cx: &CommandContext<'t>,
    args: &SpecArgs,
    target: &AwsTarget,
) -> Result<Vec<Session<'t>>, CommandError> {
    let loaded = load_checked(cx, args, Depth::Full, |_| Vec::new())?;
    let sessions = loaded.into_iter().map(|it| {
        let target = match target {
            AwsTarget::Local(running) => AwsTarget::Local(local_aws::settings_for(running, &it.spec)),
            AwsTarget::Account(_) => AwsTarget::Account(account_settings(&cx.global, &it.spec)),
        };
        session(cx, args, &Options::default(), it, target)
    });
    Ok(sessions.collect())
}

/// Loads every spec for every team; `check` returns further errors.
fn load_checked(
    cx: &CommandContext<'_>,
    args: &SpecArgs,
    depth: Depth,
    check: impl FnOnce(&[LoadedSpec]) -> Vec<Diagnostic>,
) -> Result<Vec<LoadedSpec>, CommandError> {
    let (mut loaded, mut errors) = load(cx, args, depth)?;
    errors.extend(syntax::check_suspected(&mut loaded));
    errors.extend(check(&loaded));
    match errors.is_empty() {
        true => Ok(loaded),
        false => Err(CommandError { exit: Exit::Failed, diagnostics: errors }),
    }
}

fn account_settings(global: &Global, spec: &Spec) -> Settings {
    Settings {
        profile: global.profile.clone(),
        region: spec.region.clone(),
        endpoint_url: global.endpoint_url.clone(),
        rate: global.rate,
    }
}

fn session<'t>(
    cx: &CommandContext<'t>,
    args: &SpecArgs,
    options: &Options,
    loaded: LoadedSpec,
    target: AwsTarget,
) -> Session<'t> {
    let notes = notes(&cx.global, args, &loaded);
    let project = Project::new(loaded.project_folder());
    let LoadedSpec { overrides, spec, .. } = loaded;
    Session {
        terminal: cx.terminal,
        spec,
        overrides,
        target,
        notes,
        options: options.clone(),
        is_recorded: false,
        network: cx.global.network.clone(),
        project,
        write_lock: None,
    }
}

/// The overrides on the command line, for the plan's first line.
fn notes(global: &Global, args: &SpecArgs, loaded: &LoadedSpec) -> Vec<String> {
    let found_above = loaded.path.as_ref().filter(|path| args.named().is_empty() && path.starts_with(".."));
    let notes = [
        args.team.is_some().then(|| "team from --team".to_owned()),
        args.teams.is_some().then(|| "team from --teams".to_owned()),
        global.region.is_some().then(|| "region from --region".to_owned()),
        found_above.map(|path| format!("spec {}", path.display())),
        global.local.then(|| "local AWS".to_owned()),
    ];
    notes.into_iter().flatten().collect()
}

/// Warnings about unencrypted endpoints.
fn unencrypted(global: &Global) -> Vec<Diagnostic> {
    let settings =
        Settings { profile: global.profile.clone(), endpoint_url: global.endpoint_url.clone(), ..Settings::default() };
    let warning = |(source, address): (String, String)| {
        Diagnostic::warning(
            format!("requests to {address} are not encrypted"),
            "use an `https://` endpoint, or `--local` for a local AWS",
        )
        .why(format!(
            "{source} sets an `http://` endpoint on another machine, so others on the network can read your code and \
                 variables, and change responses"
        ))
    };
    aws::unencrypted_endpoints(&settings).into_iter().map(warning).collect()
}

impl Session<'_> {
    /// A context for reading, and its account.
    pub(super) async fn reader(
        &self,
        access: Access,
        interrupt: &watch::Receiver<bool>,
    ) -> Result<(Context, String), CommandError> {
        let cx = self.context(access, interrupt).await?;
        let account = cx.read("", || cx.aws.account());
        let account = with_wait_notice(self.terminal.quiet, || cx.waits(), account).await;
        let account = account.map_err(|error| self.read_failure(vec![ReadError { resource: None, error }]))?;
        Ok((cx, account))
    }

    /// A context with that access, before any call.
    pub(super) async fn context(
        &self,
        access: Access,
        interrupt: &watch::Receiver<bool>,
    ) -> Result<Context, CommandError> {
        let connection = self.connection().await;
        let connection = connection.map_err(|error| self.read_failure(vec![ReadError { resource: None, error }]))?;
        let aws = connection.clients(access);
        let cx = kinds::context(Arc::new(aws), Overrides::default(), interrupt.clone());
        live::register_secrets(&cx, &self.spec);
        Ok(cx)
    }

    /// The context `cx` with clients for another local AWS.
    pub(super) fn reconnected(
        &self,
        cx: &Context,
        settings: &LocalSettings,
        interrupt: &watch::Receiver<bool>,
    ) -> Context {
        let mut aws = Connection::local(settings, &self.network).clients(Access::ReadOnly);
        cx.aws.secrets.register(&settings.key);
        aws.secrets = Arc::clone(&cx.aws.secrets);
        kinds::context(Arc::new(aws), Overrides::default(), interrupt.clone())
    }

    /// Lets other commands write to the local AWS again.
    pub(super) fn unlock_writes(&mut self) {
        self.write_lock = None;
    }

    /// The project, which has its own local AWS.
    pub(super) fn project(&self) -> &Project {
        &self.project
    }

    /// Connects to AWS.
    ///
    /// # Errors
    /// `RegionNotUsable` without a region; the errors of the credential provider chain.
    pub(super) async fn connection(&self) -> Result<Connection, AwsError> {
        match &self.target {
            AwsTarget::Local(settings) => Ok(Connection::local(settings, &self.network)),
            AwsTarget::Account(settings) => Connection::open(settings, &self.network).await,
        }
    }
}
