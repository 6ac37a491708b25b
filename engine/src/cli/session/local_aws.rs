//! The local AWS of a session's project: starts it where the command wants that, and keeps other
//! commands from writing to it at the same time.
//!
//! **Invariant:** locks are taken in the order of their folders, so that two commands never wait
//! for each other.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use crate::aws::LocalSettings;
use crate::cli::CommandContext;
use crate::cli::args::{SpecArgs, WhenStopped};
use crate::cli::exit::CommandError;
use crate::cli::interrupt::interrupt_flag;
use crate::cli::terminal::Terminal;
use crate::local::{self, LocalError, LockAttempt, Project, Running, WriteLock};
use crate::spec::{Depth, Spec};

use super::specs::{LoadedSpec, load};
use super::{AwsTarget, Session};

/// The account, if the spec has none.
pub(in crate::cli) const LOCAL_ACCOUNT: &str = "000000000001";
/// The region, if neither spec nor option has one.
pub(in crate::cli) const LOCAL_REGION: &str = "eu-central-1";
/// The time between two messages about the lock for writes.
const LOCK_REMINDER: Duration = Duration::from_secs(20);
/// How often engine checks whether an unresponsive local AWS has a successor.
const RESTART_INTERVAL: Duration = Duration::from_millis(250);

/// The local AWSs of one command, by the folder of their project.
pub(super) struct LocalServers<'t> {
    terminal: &'t Terminal,
    when_stopped: WhenStopped,
    running: HashMap<PathBuf, Running>,
}

impl<'t> LocalServers<'t> {
    pub(super) fn new(terminal: &'t Terminal, when_stopped: WhenStopped) -> LocalServers<'t> {
        LocalServers { terminal, when_stopped, running: HashMap::new() }
    }

    /// How to reach the local AWS of `project`, which is started if necessary.
    pub(super) fn settings(&mut self, project: &Project, spec: &Spec) -> Result<LocalSettings, CommandError> {
        let server = match self.running.entry(project.dir.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(slot) => {
                let server = start(self.terminal, project, self.when_stopped)?;
                announce(self.terminal, &server);
                slot.insert(server)
            }
        };
        let (endpoint_url, key) = (server.endpoint.clone(), server.key.expose().to_owned());
        let (account, region) = (String::new(), String::new());
        Ok(settings_for(&LocalSettings { endpoint_url, key, account, region }, spec))
    }
}

/// The settings of a running local AWS, for the account and the region of a spec.
pub(super) fn settings_for(running: &LocalSettings, spec: &Spec) -> LocalSettings {
    LocalSettings {
        account: account_of(spec),
        region: spec.region.clone().unwrap_or_else(|| LOCAL_REGION.to_owned()),
        ..running.clone()
    }
}

/// The project's local AWS, started where the command wants that.
fn start(terminal: &Terminal, project: &Project, when_stopped: WhenStopped) -> Result<Running, CommandError> {
    let is_stopped = || local::status(project).map(|running| running.is_none());
    match when_stopped {
        WhenStopped::Start => {}
        WhenStopped::Fail if is_stopped()? => return Err(LocalError::NotRunning.into()),
        WhenStopped::StartToCompare if is_stopped()? => {
            terminal.note("local AWS: not running; starting an empty one to compare the spec with");
        }
        WhenStopped::StartToCompare | WhenStopped::Fail => {}
    }
    let project = Project { interrupted: interrupt_flag(), ..project.clone() };
    Ok(local::ensure(&project, &mut |text| terminal.note(text))?)
}

fn announce(terminal: &Terminal, running: &Running) {
    if running.lost_previous {
        terminal.note("local AWS: the previous local AWS has stopped; its resources are gone");
    }
    if running.started_now {
        terminal.note(&format!("local AWS: started on port {}", running.port));
    }
}

/// The account in the local AWS: the spec's, or that of an imported ARN, so that it is found.
fn account_of(spec: &Spec) -> String {
    let in_arn = |arn: &String| arn.split(':').nth(4).filter(|account| !account.is_empty()).map(str::to_owned);
    let imported = || spec.resources.iter().find_map(|declared| declared.id.arn.as_ref().and_then(in_arn));
    spec.account.clone().or_else(imported).unwrap_or_else(|| LOCAL_ACCOUNT.to_owned())
}

/// Whether the specs are for local AWSs of which none is running.
pub(in crate::cli) fn is_stopped(cx: &CommandContext<'_>, args: &SpecArgs) -> bool {
    let Some((loaded, errors)) = load(cx, args, Depth::Identities).ok().filter(|_| cx.global.local) else {
        return false;
    };
    let is_stopped = |it: &LoadedSpec| matches!(local::status(&Project::new(it.project_folder())), Ok(None));
    errors.is_empty() && loaded.iter().all(is_stopped)
}

/// Waits until no other command writes to the local AWS of the same projects. None does until the
/// sessions end.
pub(in crate::cli) async fn lock_writes(
    sessions: &mut [Session<'_>],
    interrupt: &watch::Receiver<bool>,
) -> Result<(), CommandError> {
    let folder_of = |session: &Session<'_>| {
        let is_local = matches!(session.target, AwsTarget::Local(_));
        is_local.then(|| session.project.dir.canonicalize().unwrap_or_else(|_| session.project.dir.clone()))
    };
    let projects: BTreeMap<PathBuf, (&Terminal, Project)> = sessions
        .iter()
        .filter_map(|session| Some((folder_of(session)?, (session.terminal, session.project.clone()))))
        .collect();
    let mut locks = HashMap::new();
    for (folder, (terminal, project)) in projects {
        let lock = lock_project(terminal, &project, interrupt.clone()).await?;
        locks.insert(folder, Arc::new(lock));
    }
    for session in sessions {
        session.write_lock = folder_of(session).and_then(|folder| locks.get(&folder).cloned());
    }
    Ok(())
}

async fn lock_project(
    terminal: &Terminal,
    project: &Project,
    mut interrupt: watch::Receiver<bool>,
) -> Result<WriteLock, CommandError> {
    let (grant, mut granted) = oneshot::channel();
    let mut grant = Some(grant);
    loop {
        let writer = match local::try_lock_writes(project)? {
            LockAttempt::Granted(lock) => return Ok(lock),
            LockAttempt::Taken(writer) => writer,
        };
        let process = writer.map_or_else(String::new, |pid| format!(" (process {pid})"));
        terminal.note(&format!("waiting for another command that changes this project's local AWS{process}..."));
        if let Some(grant) = grant.take() {
            let project = project.clone();
            // The runtime would wait for one of its own threads after Ctrl-C.
            std::thread::spawn(move || drop(grant.send(local::lock_writes(&project))));
        }
        tokio::select! {
            lock = &mut granted => return Ok(lock.map_err(|_| CommandError::interrupted())??),
            () = tokio::time::sleep(LOCK_REMINDER) => {}
            _ = interrupt.wait_for(|interrupted| *interrupted) => return Err(CommandError::interrupted()),
        }
    }
}

/// Waits until the project's local AWS with these settings no longer runs.
pub(in crate::cli) async fn stopped(project: &Project, current: &LocalSettings) {
    // A single check may fail because the machine is busy.
    let mut n_missed = 0;
    while n_missed < 2 {
        tokio::time::sleep(RESTART_INTERVAL).await;
        let project = project.clone();
        let found = tokio::task::spawn_blocking(move || local::status(&project)).await;
        let runs = matches!(found, Ok(Ok(Some(Running { key, .. }))) if key.expose() == current.key);
        n_missed = if runs { 0 } else { n_missed + 1 };
    }
}

impl Session<'_> {
    /// Waits until the project has another local AWS than `current`, and returns its settings.
    pub(in crate::cli) async fn restarted(&self, current: &LocalSettings) -> LocalSettings {
        loop {
            tokio::time::sleep(RESTART_INTERVAL).await;
            let project = self.project.clone();
            let found = tokio::task::spawn_blocking(move || local::status(&project)).await;
            if let Ok(Ok(Some(Running { endpoint, key, .. }))) = found
                && key.expose() != current.key
            {
                return LocalSettings { endpoint_url: endpoint, key: key.expose().to_owned(), ..current.clone() };
            }
        }
    }

    /// The project's local AWS, if it runs. Called on a separate thread, since it starts a runtime.
    pub(super) fn running_local(&self) -> Option<Running> {
        let project = self.project.clone();
        std::thread::spawn(move || local::status(&project)).join().ok()?.ok()?
    }
}
