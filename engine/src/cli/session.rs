//! Turns arguments into runs: loads each spec of a command for its team, connects and reads AWS.
//!
//! **Invariant:** every error that needs no AWS is reported for all specs before the first call.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::watch;

use crate::aws::{self, Access, Aws, AwsError, Class, Connection, Consent, Context, LocalSettings, Network, Settings};
use crate::diagnostic::{Diagnostic, nearest};
use crate::files;
use crate::inventory::{Inventory, Leftover};
use crate::kinds;
use crate::live::{self, Leftovers, ReadError};
use crate::local::{self, LocalError, Project, Running, Turn, WriteLock};
use crate::ownership::OwnershipVerdict;
use crate::plan::{self, Goal, Options, Plan};
use crate::remedy::Advice;
use crate::render::{self, remedy};
use crate::saved::{self, SavedPlan};
use crate::schema::{Id, Naming, Ownership};
use crate::spec::{Depth, Overrides, Spec, grammar};

use super::discovery::{self, Search};
use super::names::quoted;
use super::terminal::{self, Failure, Terminal, said_once, telling};
use super::{Exit, Global, SpecArgs, WhenStopped, patterns, syntax};

/// The account of the local AWS, if the spec has none.
pub(super) const LOCAL_ACCOUNT: &str = "000000000001";
/// The region of the local AWS, if neither spec nor option has one.
pub(super) const LOCAL_REGION: &str = "eu-central-1";
/// The maximum size of a list of teams, in bytes.
const MAX_TEAMS_BYTES: usize = 1 << 20;
/// The pause between two tries to get the lock for writes.
const LOCK_INTERVAL: Duration = Duration::from_millis(50);
/// The time between two messages about that lock.
const LOCK_REMINDER: Duration = Duration::from_secs(20);
/// How often engine checks whether an unresponsive local AWS has a successor.
const RESTART_INTERVAL: Duration = Duration::from_millis(250);
/// The default spec.
const USUAL_SPEC: &str = "specs/team.yaml";

/// A loaded spec, and how to reach AWS.
pub(super) struct Session<'t> {
    pub(super) terminal: &'t Terminal,
    pub(super) spec: Spec,
    /// What the spec was loaded with.
    pub(super) overrides: Overrides,
    pub(super) target: Target,
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

/// A spec and where it came from.
pub(super) struct Loaded {
    /// `None` if only team and stack are given.
    path: Option<PathBuf>,
    overrides: Overrides,
    pub(super) spec: Spec,
}

/// Which AWS.
#[derive(Clone, PartialEq)]
pub(super) enum Target {
    Account(Settings),
    Local(LocalSettings),
}

/// A session and what exists in AWS.
pub(super) struct Run<'t> {
    pub(super) session: Session<'t>,
    pub(super) cx: Context,
    pub(super) inventory: Inventory,
}

/// What a command does in AWS.
#[derive(Debug, Clone, Copy)]
pub(super) struct Intent {
    pub(super) goal: Goal,
    /// Whether it writes, which requires that every owner is known.
    pub(super) writes: bool,
    pub(super) leftovers: Leftovers,
}

/// Loads every spec for every team; returns the errors in each and the conflicts between them, too.
pub(super) fn load(global: &Global, args: &SpecArgs, depth: Depth) -> Result<(Vec<Loaded>, Vec<Diagnostic>), Failure> {
    let mut loaded: Vec<Loaded> = Vec::new();
    let mut errors = Vec::new();
    let kinds = kinds::all();
    if let (Some(team), Some(stack)) = (&args.team, &args.stack) {
        match Spec::bare(&kinds, team, stack, global.region.as_deref()) {
            Ok(spec) => loaded.push(Loaded { path: None, overrides: Overrides::default(), spec }),
            Err(wrong) => errors.extend(wrong),
        }
    } else {
        let named = args.named();
        let paths = match named.as_slice() {
            [] => vec![find_spec()?],
            [one] if args.is_one => vec![one.clone()],
            specs => patterns::fitting(specs)?,
        };
        let paths: Vec<PathBuf> = paths.into_iter().map(of_project).collect::<Result<_, _>>()?;
        let teams = match &args.teams {
            Some(file) => teams(file)?.into_iter().map(Some).collect(),
            None => vec![args.team.clone()],
        };
        for path in &paths {
            for team in &teams {
                let overrides = overrides(global, args, team.clone());
                match Spec::load(&kinds, path, &overrides, depth) {
                    Ok(spec) => loaded.push(Loaded { path: Some(path.clone()), overrides, spec }),
                    Err(wrong) => errors.extend(wrong),
                }
            }
        }
    }
    errors.extend(collisions(&loaded));
    errors.dedup();
    Ok((loaded, errors))
}

/// Loads every spec for every team, checks the resources that options name, and starts the local AWS
/// if needed.
pub(super) fn open<'t>(
    global: &Global,
    terminal: &'t Terminal,
    args: &SpecArgs,
    options: &Options,
    depth: Depth,
) -> Result<Vec<Session<'t>>, Failure> {
    open_checked(global, terminal, args, options, depth, |loaded| unknown_names(loaded, options))
}

/// The same with another check of the names on the command line, before anything starts; `unknown`
/// returns its errors.
pub(super) fn open_checked<'t>(
    global: &Global,
    terminal: &'t Terminal,
    args: &SpecArgs,
    options: &Options,
    depth: Depth,
    unknown: impl FnOnce(&[Loaded]) -> Vec<Diagnostic>,
) -> Result<Vec<Session<'t>>, Failure> {
    let mut notes = Vec::new();
    if args.team.is_some() {
        notes.push("team from --team".to_owned());
    }
    if args.teams.is_some() {
        notes.push("team from --teams".to_owned());
    }
    if global.region.is_some() {
        notes.push("region from --region".to_owned());
    }
    let (mut loaded, mut errors) = load(global, args, depth)?;
    errors.extend(syntax::settle_suspicions(&mut loaded));
    loaded.iter().for_each(|it| terminal.problems(&it.spec.warnings));
    errors.extend(unknown(&loaded));
    if !errors.is_empty() {
        return Err(Failure { exit: Exit::Failed, diagnostics: errors });
    }
    if !global.local {
        terminal.problems(&unencrypted(global));
    }
    let mut running: HashMap<PathBuf, Running> = HashMap::new();
    let mut sessions = Vec::new();
    for Loaded { path, overrides, spec } in loaded {
        let root = path.as_deref().map_or_else(|| PathBuf::from("."), project_of);
        let project = Project::new(root.clone());
        let mut notes = notes.clone();
        if let Some(path) = path.as_ref().filter(|path| args.named().is_empty() && path.starts_with("..")) {
            notes.push(format!("spec {}", path.display()));
        }
        let target = if global.local {
            notes.push("local AWS".to_owned());
            if !running.contains_key(&root) {
                let server = start_local(terminal, &project, args.when_stopped)?;
                announce(terminal, &server);
                running.insert(root.clone(), server);
            }
            let server = running.get(&root);
            Target::Local(LocalSettings {
                endpoint_url: server.map(|server| server.endpoint.clone()).unwrap_or_default(),
                key: server.map(|server| server.key.expose().to_owned()).unwrap_or_default(),
                account: local_account(&spec),
                region: spec.region.clone().unwrap_or_else(|| LOCAL_REGION.to_owned()),
            })
        } else {
            Target::Account(Settings {
                profile: global.profile.clone(),
                region: spec.region.clone(),
                endpoint_url: global.endpoint_url.clone(),
                rate: global.rate,
            })
        };
        let (options, network) = (options.clone(), global.network.clone());
        sessions.push(Session {
            terminal,
            spec,
            overrides,
            target,
            notes,
            options,
            is_recorded: false,
            network,
            project,
            write_lock: None,
        });
    }
    Ok(sessions)
}

/// The project's local AWS, started where the command wants that.
fn start_local(terminal: &Terminal, project: &Project, when_stopped: WhenStopped) -> Result<Running, Failure> {
    let is_stopped = || local::status(project).map(|running| running.is_none());
    match when_stopped {
        WhenStopped::Start => {}
        WhenStopped::Fail if is_stopped()? => return Err(LocalError::NotRunning.into()),
        WhenStopped::StartToCompare if is_stopped()? => {
            terminal.say("local AWS: not running; starting an empty one to compare the spec with");
        }
        WhenStopped::StartToCompare | WhenStopped::Fail => {}
    }
    let project = Project { interrupted: terminal::interrupted(), ..project.clone() };
    Ok(local::ensure(&project, &mut |text| terminal.say(text))?)
}

/// Whether the specs are for local AWSs of which none is running.
pub(super) fn is_stopped(global: &Global, args: &SpecArgs) -> bool {
    let Some((loaded, errors)) = load(global, args, Depth::Identities).ok().filter(|_| global.local) else {
        return false;
    };
    let is_stopped = |it: &Loaded| {
        let root = it.path.as_deref().map_or_else(|| PathBuf::from("."), project_of);
        matches!(local::status(&Project::new(root)), Ok(None))
    };
    errors.is_empty() && loaded.iter().all(is_stopped)
}

/// Waits until no other command writes to the local AWS of the same projects. None does until the sessions end.
pub(super) async fn lock_writes(
    sessions: &mut [Session<'_>],
    interrupt: &watch::Receiver<bool>,
) -> Result<(), Failure> {
    let place = |session: &Session<'_>| {
        let is_local = matches!(session.target, Target::Local(_));
        is_local.then(|| session.project.dir.canonicalize().unwrap_or_else(|_| session.project.dir.clone()))
    };
    // In the order of their folders, so that two commands never wait for each other.
    let projects: BTreeMap<PathBuf, (&Terminal, Project)> = sessions
        .iter()
        .filter_map(|session| Some((place(session)?, (session.terminal, session.project.clone()))))
        .collect();
    let mut locks = HashMap::new();
    for (folder, (terminal, project)) in projects {
        let lock = lock_project(terminal, &project, interrupt.clone()).await?;
        locks.insert(folder, Arc::new(lock));
    }
    for session in sessions {
        session.write_lock = place(session).and_then(|folder| locks.get(&folder).cloned());
    }
    Ok(())
}

async fn lock_project(
    terminal: &Terminal,
    project: &Project,
    mut interrupt: watch::Receiver<bool>,
) -> Result<WriteLock, Failure> {
    let mut said_at: Option<Instant> = None;
    loop {
        let writer = match local::try_lock_writes(project)? {
            Turn::Granted(lock) => return Ok(lock),
            Turn::Taken(writer) => writer,
        };
        if said_at.is_none_or(|at| at.elapsed() >= LOCK_REMINDER) {
            let process = writer.map_or_else(String::new, |pid| format!(" (process {pid})"));
            terminal.say(&format!("waiting for another command that changes this project's local AWS{process}..."));
            said_at = Some(Instant::now());
        }
        tokio::select! {
            () = tokio::time::sleep(LOCK_INTERVAL) => {}
            _ = interrupt.wait_for(|interrupted| *interrupted) => {
                return Err(Failure { exit: Exit::Interrupted, diagnostics: Vec::new() });
            }
        }
    }
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

/// Connects and reads all sessions concurrently.
pub(super) async fn read<'t>(
    mut sessions: Vec<Session<'t>>,
    intent: Intent,
    interrupt: &watch::Receiver<bool>,
) -> Result<Vec<Run<'t>>, Failure> {
    if intent.writes {
        // Before the read, which otherwise would miss what the other command is creating.
        lock_writes(&mut sessions, interrupt).await?;
    }
    let quiet = sessions.first().is_some_and(|session| session.terminal.quiet);
    let source = || vec!["AWS credentials".to_owned()];
    let clients = telling(quiet, source, connect(&sessions, intent)).await?;
    let contexts: Vec<Context> = sessions
        .iter()
        .zip(clients)
        .map(|(session, aws)| {
            let Options { assume_owner, delete_data, .. } = session.options;
            let consent = Consent { delete_data, assume_owner };
            if session.is_recorded {
                aws.recorder.start();
            }
            kinds::context(Arc::new(aws), consent, interrupt.clone()).reporting(said_once(quiet))
        })
        .collect();
    let waits = || contexts.iter().flat_map(|cx| cx.waits()).collect();
    let reads = sessions.into_iter().zip(&contexts).map(|(session, cx)| session.read(cx.clone(), intent));
    let (mut runs, mut failure) = (Vec::new(), None::<Failure>);
    for read in telling(quiet, waits, join_all(reads)).await {
        match (read, &mut failure) {
            (Ok(run), _) => runs.push(run),
            (Err(first), slot @ None) => *slot = Some(first),
            // A cause that all share is one error.
            (Err(more), Some(failure)) => {
                let news = more.diagnostics.into_iter().filter(|it| !failure.diagnostics.contains(it));
                let news: Vec<Diagnostic> = news.collect();
                failure.diagnostics.extend(news);
            }
        }
    }
    failure.map_or(Ok(runs), Err)
}

/// Clients for each session; those with the same target share credentials and rate limits.
async fn connect(sessions: &[Session<'_>], intent: Intent) -> Result<Vec<Aws>, Failure> {
    let mut connections: Vec<(&Target, Connection)> = Vec::new();
    let mut clients = Vec::new();
    for session in sessions {
        let access = if intent.writes {
            Access::Team { team: session.spec.team.clone(), assume_owner: session.options.assume_owner }
        } else {
            Access::ReadOnly
        };
        if let Target::Local(settings) = &session.target
            && intent.goal == Goal::Present
        {
            stand_in(session, settings).await?;
        }
        let position = match connections.iter().position(|(known, _)| **known == session.target) {
            Some(position) => position,
            None => {
                let connection = session.connection().await;
                let connection =
                    connection.map_err(|error| session.read_failure(vec![ReadError { resource: None, error }]))?;
                connections.push((&session.target, connection));
                connections.len() - 1
            }
        };
        clients.extend(connections.get(position).map(|(_, connection)| connection.clients(access)));
    }
    Ok(clients)
}

/// Creates stand-ins in the local AWS for imported roles.
async fn stand_in(session: &Session<'_>, settings: &LocalSettings) -> Result<(), Failure> {
    let made = aws::standin::ensure_roles(settings, &session.spec).await;
    for role in made.map_err(|error| Failure::one(error.diagnostic("create stand-ins for imported roles")))? {
        session.terminal.say(&format!(
            "local AWS: created a stand-in for the imported role {role} (trusts Lambda; stream and log permissions)"
        ));
    }
    Ok(())
}

impl<'t> Session<'t> {
    /// A context for reading, and its account.
    pub(super) async fn reader(
        &self,
        access: Access,
        interrupt: &watch::Receiver<bool>,
    ) -> Result<(Context, String), Failure> {
        let cx = self.context(access, interrupt).await?;
        let account = cx.read("", || cx.aws.account());
        let account = telling(self.terminal.quiet, || cx.waits(), account).await;
        let account = account.map_err(|error| self.read_failure(vec![ReadError { resource: None, error }]))?;
        Ok((cx, account))
    }

    /// A context with that access, before any call.
    pub(super) async fn context(&self, access: Access, interrupt: &watch::Receiver<bool>) -> Result<Context, Failure> {
        let connection = self.connection().await;
        let connection = connection.map_err(|error| self.read_failure(vec![ReadError { resource: None, error }]))?;
        let aws = connection.clients(access);
        let cx = kinds::context(Arc::new(aws), Consent::default(), interrupt.clone());
        live::learn(&cx, &self.spec);
        Ok(cx)
    }

    /// Waits until the project has another local AWS than `current`, and returns its settings.
    pub(super) async fn restarted(&self, current: &LocalSettings) -> LocalSettings {
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

    /// The context `cx` with clients for another local AWS.
    pub(super) fn moved(&self, cx: &Context, settings: &LocalSettings, interrupt: &watch::Receiver<bool>) -> Context {
        let mut aws = Connection::local(settings, &self.network).clients(Access::ReadOnly);
        cx.aws.secrets.learn(&settings.key);
        aws.secrets = Arc::clone(&cx.aws.secrets);
        kinds::context(Arc::new(aws), Consent::default(), interrupt.clone())
    }

    /// The project, which has its own local AWS.
    pub(super) fn project(&self) -> &Project {
        &self.project
    }

    /// Connects to AWS.
    ///
    /// # Errors
    /// `Rejected` without a region; the errors of the credential provider chain.
    pub(super) async fn connection(&self) -> Result<Connection, AwsError> {
        match &self.target {
            Target::Local(settings) => Ok(Connection::local(settings, &self.network)),
            Target::Account(settings) => Connection::open(settings, &self.network).await,
        }
    }

    /// The account, if it is known without a call, which saves a round trip.
    fn account(&self) -> Option<&str> {
        match &self.target {
            Target::Account(_) => self.spec.account.as_deref(),
            Target::Local(settings) => Some(&settings.account),
        }
    }

    /// Reads AWS, and before writes waits until every owner is known.
    pub(super) async fn read(mut self, mut cx: Context, intent: Intent) -> Result<Run<'t>, Failure> {
        let Intent { goal, writes, leftovers } = intent;
        let inventory = loop {
            let read = tokio::select! {
                read = live::read(&cx, &self.spec, goal, &self.options, leftovers, self.account()) => read,
                // Reads change nothing, so they can be canceled.
                () = cx.interrupt() => return Err(Failure { exit: Exit::Interrupted, diagnostics: Vec::new() }),
            };
            let inventory = read.map_err(|errors| self.read_failure(errors))?;
            cx = cx.riding_out_outages();
            let undecided = self.spec.resources.iter().filter(|declared| writes && !declared.imported);
            let undecided: Vec<_> = undecided
                .filter_map(|declared| Some((declared, inventory.live(&declared.name)?.undecided()?)))
                .collect();
            let is_settled = !writes || !inventory.leftovers.iter().any(Leftover::is_undecided);
            if undecided.is_empty() && is_settled {
                break inventory;
            }
            for (declared, reason) in undecided {
                // It may take a minute, and nothing else has been shown yet.
                self.terminal.say(&format!("{}: waiting, because {reason}", declared.name));
            }
            for leftover in inventory.leftovers.iter().filter(|leftover| leftover.is_undecided()) {
                let name = &leftover.declared.id.name;
                self.terminal.say(&format!("{name}: waiting, because its owner can't be determined yet"));
            }
            // The result may affect other declarations, so everything is read again.
            live::await_owners(&cx, &self.spec, &inventory).await.map_err(|errors| self.read_failure(errors))?;
        };
        for declared in &mut self.spec.resources {
            let id =
                inventory.live(&declared.name).map_or_else(|| declared.id.clone(), |live| live::meant(declared, live));
            declared.id = Id { site: Some(inventory.site.clone()), ..id };
        }
        Ok(Run { session: self, cx, inventory })
    }

    fn read_failure(&self, errors: Vec<ReadError>) -> Failure {
        let interrupted = errors.iter().any(|it| it.error.class == Class::Interrupted);
        let diagnostics = errors.into_iter().map(|ReadError { resource, error }| {
            let doing = resource.as_ref().map_or_else(String::new, |name| format!("read `{name}`"));
            let mut diagnostic = error.diagnostic(&doing);
            if let Some(place) = resource.and_then(|name| self.spec.blamed(&name, &error)) {
                diagnostic = diagnostic.at(place);
            }
            if error.class == Class::NoCredentials
                && let Some(running) = self.running_local()
            {
                diagnostic = diagnostic.hint(format!(
                    "to use this project's local AWS, which runs on port {}, add `--local`",
                    running.port
                ));
            }
            diagnostic
        });
        Failure { exit: if interrupted { Exit::Interrupted } else { Exit::Failed }, diagnostics: diagnostics.collect() }
    }

    /// The project's local AWS, if it runs. Called on a separate thread, since it starts a runtime.
    fn running_local(&self) -> Option<Running> {
        let project = self.project.clone();
        std::thread::spawn(move || local::status(&project)).join().ok()?.ok()?
    }
}

impl Run<'_> {
    /// Plans the run.
    pub(super) fn plan(&self, goal: Goal) -> Plan {
        plan::plan(&self.session.spec, &self.inventory, goal, &self.session.options)
    }

    /// The first line of each output.
    pub(super) fn heading(&self) -> String {
        let Session { spec, notes, terminal, .. } = &self.session;
        render::heading(spec, &self.inventory.site, notes, terminal.out)
    }

    /// The stack of the same team that owns everything in the spec: the spec's file was renamed.
    pub(super) fn renamed<'p>(&'p self, plan: &'p Plan) -> Option<&'p str> {
        let Spec { stack, file, .. } = &self.session.spec;
        let is_from_file = Path::new(file.name()).file_stem().is_some_and(|stem| stem == stack.as_str());
        let mut other = None;
        for declared in self.session.spec.resources.iter().filter(|it| is_from_file && !it.imported) {
            let Some(live) = self.inventory.live(&declared.name) else {
                // If any resource doesn't exist, it is a different stack that shares a name.
                if matches!(declared.schema().naming, Naming::Own { .. }) {
                    return None;
                }
                continue;
            };
            match OwnershipVerdict::of(&live.owner, None, &declared.id.owner) {
                OwnershipVerdict::OtherStack(owner) if !owner.stack.is_empty() => {
                    if *other.get_or_insert(owner.stack.as_str()) != owner.stack {
                        return None;
                    }
                }
                _ if live.owner == Ownership::Inherited => {}
                _ => return None,
            }
        }
        other.filter(|_| plan.refusals().next().is_some())
    }

    /// The errors of refused rows, with their places in the file.
    pub(super) fn refusals(&self, plan: &Plan) -> Vec<Diagnostic> {
        let spec = &self.session.spec;
        if let Some(stack) = self.renamed(plan) {
            let file = spec.file.name();
            let problem =
                format!("the resources in `{file}` belong to the stack `{stack}` of the team `{}`", spec.team);
            let why = format!(
                "without `stack:`, the file name is the stack name, which is now `{}`; nothing was changed",
                spec.stack
            );
            return vec![Diagnostic::error(problem, format!("add `stack: {stack}` to the spec")).why(why)];
        }
        let refused = plan.refusals().map(|change| {
            let words = |advice: &Option<Advice>| advice.as_ref().map(remedy::words);
            let reason = words(&change.reason).unwrap_or_else(|| "it can't be applied".to_owned());
            let hint = words(&change.hint).unwrap_or_else(|| "`engine diff` shows the whole plan".to_owned());
            let diagnostic = Diagnostic::error(format!("`{}` is refused: {reason}", change.resource), hint);
            let path = change.properties.first().map(|property| property.path.clone()).unwrap_or_default();
            match spec.place(&change.resource, &path) {
                Some(place) => diagnostic.at(place),
                None => diagnostic,
            }
        });
        refused.collect()
    }
}

fn overrides(global: &Global, args: &SpecArgs, team: Option<String>) -> Overrides {
    let from_env = std::env::vars_os().filter_map(|(name, value)| {
        Some((name.to_str()?.strip_prefix("ENGINE_VAR_")?.to_owned(), value.to_str()?.to_owned()))
    });
    Overrides {
        team,
        vars: args.var.iter().cloned().collect(),
        region: global.region.clone(),
        env: from_env.collect::<BTreeMap<_, _>>(),
        allow_code_outside: args.code.allow_code_outside,
        current_dir: std::env::current_dir().ok(),
    }
}

/// The teams in a file, one per line; `#` starts a comment.
pub(super) fn teams(file: &Path) -> Result<Vec<String>, Failure> {
    let shown = file.display();
    let unusable = |reason: &str| {
        let problem = format!("the list of teams `{shown}` {reason}");
        Failure::one(Diagnostic::error(problem, "use a text file with one team per line"))
    };
    let bytes = files::read(file, MAX_TEAMS_BYTES).map_err(|unread| unusable(&unread.reason()))?;
    let text = String::from_utf8(bytes).map_err(|_| unusable("is not UTF-8"))?;
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()).zip(1_usize..);
    let lines = lines.filter(|(line, _)| !line.is_empty());
    let (teams, wrong): (Vec<_>, Vec<_>) = lines.partition(|(line, _)| grammar::objection_to_team(line).is_none());
    if let Some((_, first)) = wrong.first() {
        // The line isn't shown: if this is the wrong file, it may be a secret.
        let more = match wrong.len() - 1 {
            0 => String::new(),
            1 => " (and 1 more line)".to_owned(),
            more => format!(" (and {more} more lines)"),
        };
        let problem = format!("line {first}{more} of the list of teams `{shown}` is not a team name");
        let hint = format!("use a text file with one team per line; a team name has {}", grammar::team_words());
        return Err(Failure::one(Diagnostic::error(problem, hint)));
    }
    let teams: Vec<String> = teams.into_iter().map(|(line, _)| line.to_owned()).collect();
    if teams.is_empty() {
        let problem = format!("the list of teams `{shown}` is empty");
        return Err(Failure::one(Diagnostic::error(problem, "write one team per line")));
    }
    Ok(teams)
}

/// The saved plan, if one is given instead of specs.
pub(super) fn saved_plan(named: &[PathBuf]) -> Result<Option<SavedPlan>, Failure> {
    for path in named {
        // A read error is reported when the file is read as a spec.
        let Ok(bytes) = files::read(path, saved::MAX_BYTES) else { continue };
        let Some(saved) = SavedPlan::parse(&bytes).map_err(Failure::one)? else { continue };
        if named.len() > 1 {
            let problem = format!("`{}` is a saved plan, which can't be combined with other files", path.display());
            return Err(Failure::usage(problem, format!("run `engine apply {}`", quoted(path))));
        }
        return Ok(Some(saved));
    }
    Ok(None)
}

/// Conflicts between the specs of one command.
fn collisions(loaded: &[Loaded]) -> Vec<Diagnostic> {
    let mut stacks: HashMap<(&str, &str), String> = HashMap::new();
    let mut names: HashMap<(&str, &str), String> = HashMap::new();
    let mut errors = Vec::new();
    for Loaded { path, spec, .. } in loaded {
        let shown = path.as_ref().map_or_else(String::new, |path| path.display().to_string());
        if let Some(first) = stacks.insert((&spec.team, &spec.stack), shown.clone()) {
            let owner = format!("team `{}`, stack `{}`", spec.team, spec.stack);
            errors.push(match first == shown {
                true => Diagnostic::error(format!("`{shown}` is listed twice for {owner}"), "list each team once"),
                false => Diagnostic::error(
                    format!("`{first}` and `{shown}` are both {owner}"),
                    "give one of them another `stack:`",
                )
                .why("each would delete the resources that only the other has"),
            });
            continue;
        }
        for declared in spec.resources.iter().filter(|it| !it.imported) {
            if !matches!(declared.schema().naming, Naming::Own { .. }) {
                continue;
            }
            let what = format!("`{}` of team `{}` in `{shown}`", declared.name, spec.team);
            if let Some(first) = names.insert((&*declared.schema().kind, &declared.id.name), what.clone()) {
                let problem =
                    format!("{first} and {what} are both the {} `{}`", declared.schema().kind, declared.id.name);
                errors.push(Diagnostic::error(problem, "give one of them another `name:`"));
            }
        }
    }
    errors
}

/// Names on the command line that no spec has.
fn unknown_names(loaded: &[Loaded], options: &Options) -> Vec<Diagnostic> {
    if loaded.is_empty() {
        return Vec::new();
    }
    let named = options.targets.iter().map(|it| ("target", it)).chain(options.replace.iter().map(|it| ("replace", it)));
    let unknown = named.filter(|(_, name)| loaded.iter().all(|it| it.spec.resource(name).is_none()));
    let specs: Vec<&Spec> = loaded.iter().map(|it| &it.spec).collect();
    unknown.map(|(flag, name)| no_target(flag, name, &specs)).collect()
}

/// The error for an option with a resource that isn't in any spec. Orphans can't be targets: their
/// dependencies are unknown.
fn no_target(flag: &str, name: &str, specs: &[&Spec]) -> Diagnostic {
    let resources = || specs.iter().flat_map(|spec| &spec.resources);
    let known: BTreeSet<String> = resources().map(|it| format!("`{}`", it.name)).collect();
    let known = known.into_iter().collect::<Vec<_>>().join(", ");
    let problem = format!("`--{flag} {name}`: the spec has no such resource");
    if known.is_empty() {
        return Diagnostic::error(problem, "without a spec, only a whole stack can be destroyed: leave it out");
    }
    let meant = nearest(name, resources().map(|it| it.name.as_str()));
    let meant = meant.map_or_else(String::new, |near| format!("did you mean `{near}`? "));
    Diagnostic::error(problem, format!("{meant}the resources are {known}"))
        .hint("to delete orphans, which are no longer in the spec, run `engine apply` without this option")
}

/// The account in the local AWS: the spec's, or that of an imported ARN, so that it is found.
fn local_account(spec: &Spec) -> String {
    let in_arn = |arn: &String| arn.split(':').nth(4).filter(|account| !account.is_empty()).map(str::to_owned);
    let imported = || spec.resources.iter().find_map(|declared| declared.id.arn.as_ref().and_then(in_arn));
    spec.account.clone().or_else(imported).unwrap_or_else(|| LOCAL_ACCOUNT.to_owned())
}

/// The default spec: that of the current folder's project.
pub(super) fn find_spec() -> Result<PathBuf, Failure> {
    let Search { project, foreign } = discovery::search(|folder| folder.join("specs").is_dir());
    if let Some(project) = project {
        return spec_in(&project);
    }
    let problem = "no spec found: there is no `specs/` folder here or in a folder above";
    let diagnostic = no_spec(problem, "`engine init` writes a first spec");
    Err(Failure::one(match foreign {
        Some(folder) => diagnostic.why(format!("`{}` wasn't searched: it belongs to another user", folder.display())),
        None => diagnostic,
    }))
}

/// An error whose first hints are the specs in the current folder.
fn no_spec(problem: &str, otherwise: &str) -> Diagnostic {
    let here = discovery::specs_here().into_iter().map(|path| format!("add `--spec {}`", quoted(&path)));
    let mut hints = here.chain([otherwise.to_owned()]);
    let first = Diagnostic::error(problem, hints.next().unwrap_or_default());
    hints.fold(first, Diagnostic::hint)
}

/// The spec of a project: specs/team.yaml, or the only YAML file in specs/.
fn spec_in(project: &Path) -> Result<PathBuf, Failure> {
    let (usual, specs) = (project.join(USUAL_SPEC), project.join("specs"));
    let found = if usual.exists() { vec![usual] } else { patterns::yaml_files(&specs) };
    // The folder wasn't named by the user either.
    let root = if specs.is_symlink() { project } else { &specs };
    match patterns::within(root, found)?.as_slice() {
        [only] => Ok(only.clone()),
        [] => {
            let problem = format!("no spec found: `{}` has no YAML file", specs.display());
            Err(Failure::one(no_spec(&problem, "`engine init` writes a first spec; or add `--spec FILE`")))
        }
        several => {
            let list = several.iter().map(|path| format!("`{}`", path.display())).collect::<Vec<_>>().join(", ");
            let problem = format!("`{}` has several specs", specs.display());
            Err(Failure::one(Diagnostic::error(problem, format!("choose one with `--spec FILE`: {list}"))))
        }
    }
}

/// A folder with `specs/` means the spec of its project.
fn of_project(path: PathBuf) -> Result<PathBuf, Failure> {
    if path.join("specs").is_dir() { spec_in(&path) } else { Ok(path) }
}

/// An absolute path without `..`, if it exists.
pub(super) fn absolute(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(Path::new(".").join(path)).unwrap_or_else(|_| path.to_owned());
    let goes_up = path.components().any(|part| part == Component::ParentDir);
    if goes_up { absolute.canonicalize().unwrap_or(absolute) } else { absolute }
}

/// The project folder of a spec: the one that contains its `specs/`, or a project between the current
/// folder and the spec, or else the spec's own folder.
pub(super) fn project_of(spec: &Path) -> PathBuf {
    let absolute = absolute(spec);
    let specs = absolute.ancestors().skip(1).find(|folder| folder.file_name().is_some_and(|name| name == "specs"));
    if let Some(project) = specs.and_then(Path::parent) {
        return project.to_owned();
    }
    // A spec elsewhere in the current project belongs to that project.
    let here = std::env::current_dir().unwrap_or_default();
    let folder = absolute.parent().unwrap_or(Path::new("."));
    let within = folder.ancestors().take_while(|it| it.starts_with(&here));
    within.into_iter().find(|it| is_project(it)).unwrap_or(folder).to_owned()
}

/// Whether a folder looks like that of a project.
pub(super) fn is_project(folder: &Path) -> bool {
    folder.join(".engine").is_dir() || folder.join("specs").is_dir()
}

fn announce(terminal: &Terminal, running: &Running) {
    if running.lost_previous {
        terminal.say("local AWS: the previous local AWS has stopped; its resources are gone");
    }
    if running.started_now {
        terminal.say(&format!("local AWS: started on port {}", running.port));
    }
}
