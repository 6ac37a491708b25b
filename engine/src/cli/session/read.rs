//! Reads AWS for all sessions of a command, and plans.
//!
//! **Invariant:** before a command writes, every owner is known.

use std::path::Path;
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::watch;

use crate::aws::{self, Access, Aws, AwsError, Code, Connection, Context, LocalSettings, Overrides};
use crate::cli::exit::{CommandError, Exit};
use crate::cli::terminal::{report_waits_once, with_wait_notice};
use crate::diagnostic::{Diagnostic, Severity};
use crate::inventory::{Inventory, Orphan};
use crate::kinds;
use crate::live::{self, Lookups, OrphanSearch, ReadError};
use crate::lookup::LookupValues;
use crate::ownership::OwnershipVerdict;
use crate::plan::{self, Goal, Options, Plan};
use crate::remedy::Advice;
use crate::render::{self, remedy};
use crate::schema::{Id, Identity, Ownership};
use crate::spec::Spec;

use super::local_aws::lock_writes;
use super::{AwsTarget, Session};

/// A session and what exists in AWS.
pub(in crate::cli) struct Run<'t> {
    pub(in crate::cli) session: Session<'t>,
    pub(in crate::cli) cx: Context,
    pub(in crate::cli) inventory: Inventory,
}

/// What a command does in AWS.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct Intent {
    pub(in crate::cli) goal: Goal,
    /// Whether it writes, which requires that every owner is known.
    pub(in crate::cli) writes: bool,
    pub(in crate::cli) orphans: OrphanSearch,
    pub(in crate::cli) lookups: LookupReads,
}

/// How a command reads the lookups of a spec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum LookupReads {
    /// It needs all of them.
    Required,
    /// It reports what can't be read, and plans without.
    Tolerant,
    /// Only if they have the names of resources.
    ToFindResources,
    /// None.
    Skipped,
}

/// Connects and reads all sessions concurrently.
pub(in crate::cli) async fn read<'t>(
    mut sessions: Vec<Session<'t>>,
    intent: Intent,
    interrupt: &watch::Receiver<bool>,
) -> Result<Vec<Run<'t>>, CommandError> {
    if intent.writes {
        // Before the read, which otherwise would miss what the other command is creating.
        lock_writes(&mut sessions, interrupt).await?;
    }
    let quiet = sessions.first().is_some_and(|session| session.terminal.quiet);
    let contexts = contexts(&sessions.iter().collect::<Vec<_>>(), intent, interrupt).await?;
    let waits = || contexts.iter().flat_map(|cx| cx.waits()).collect();
    let reads = sessions.into_iter().zip(&contexts).map(|(session, cx)| session.read(cx.clone(), intent));
    let (mut runs, mut failure) = (Vec::new(), None::<CommandError>);
    for read in with_wait_notice(quiet, waits, join_all(reads)).await {
        match (read, &mut failure) {
            (Ok(run), _) => runs.push(run),
            (Err(first), slot @ None) => *slot = Some(first),
            // A cause that all share is one error.
            (Err(more), Some(failure)) => {
                let new: Vec<Diagnostic> =
                    more.diagnostics.into_iter().filter(|it| !failure.diagnostics.contains(it)).collect();
                failure.diagnostics.extend(new);
            }
        }
    }
    failure.map_or(Ok(runs), Err)
}

/// A context for each session, before any call; those with the same target share credentials and
/// rate limits.
pub(in crate::cli) async fn contexts(
    sessions: &[&Session<'_>],
    intent: Intent,
    interrupt: &watch::Receiver<bool>,
) -> Result<Vec<Context>, CommandError> {
    let access = |session: &Session<'_>| match intent.writes {
        true => Access::Team {
            team: session.spec.team.clone(),
            owns: session.spec.owns.clone(),
            assume_owner: session.options.assume_owner,
        },
        false => Access::ReadOnly,
    };
    contexts_with(sessions, intent.goal, access, interrupt).await
}

/// The same with this access to AWS.
pub(in crate::cli) async fn contexts_with(
    sessions: &[&Session<'_>],
    goal: Goal,
    access: impl Fn(&Session<'_>) -> Access,
    interrupt: &watch::Receiver<bool>,
) -> Result<Vec<Context>, CommandError> {
    let quiet = sessions.first().is_some_and(|session| session.terminal.quiet);
    let source = || vec!["AWS credentials".to_owned()];
    let clients = with_wait_notice(quiet, source, connect(sessions, goal, access)).await?;
    // What several wait for is reported once.
    let reporter = report_waits_once(quiet);
    let contexts = sessions.iter().zip(clients).map(|(session, aws)| {
        let Options { assume_owner, delete_data, .. } = session.options;
        let overrides = Overrides { delete_data, assume_owner };
        if session.is_recorded {
            aws.recorder.start();
        }
        kinds::context(Arc::new(aws), overrides, interrupt.clone()).reporting(Arc::clone(&reporter))
    });
    Ok(contexts.collect())
}

/// Clients for each session; those with the same target share credentials and rate limits.
async fn connect(
    sessions: &[&Session<'_>],
    goal: Goal,
    access: impl Fn(&Session<'_>) -> Access,
) -> Result<Vec<Aws>, CommandError> {
    let mut connections: Vec<(&AwsTarget, Connection)> = Vec::new();
    let mut clients = Vec::new();
    for session in sessions {
        if let AwsTarget::Local(settings) = &session.target
            && goal == Goal::Present
        {
            ensure_stand_ins(session, settings).await?;
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
        clients.extend(connections.get(position).map(|(_, connection)| connection.clients(access(session))));
    }
    Ok(clients)
}

/// Creates stand-ins in the local AWS for imported roles.
async fn ensure_stand_ins(session: &Session<'_>, settings: &LocalSettings) -> Result<(), CommandError> {
    let made = aws::standin::ensure_roles(settings, &session.spec).await;
    for role in made.map_err(|error| CommandError::one(error.diagnostic("create stand-ins for imported roles")))? {
        session.terminal.note(&format!(
            "local AWS: created a stand-in for the imported role {role} (trusts Lambda; stream and log permissions)"
        ));
    }
    Ok(())
}

impl<'t> Session<'t> {
    /// The account, if it is known without a call, which saves a round trip.
    fn account(&self) -> Option<&str> {
        match &self.target {
            AwsTarget::Account(_) => self.spec.account.as_deref(),
            AwsTarget::Local(settings) => Some(&settings.account),
        }
    }

    /// Reads AWS, and before writes waits until every owner is known.
    pub(in crate::cli) async fn read(mut self, mut cx: Context, intent: Intent) -> Result<Run<'t>, CommandError> {
        let writes = intent.writes;
        // An earlier read may have found another one.
        self.spec.resources.iter_mut().for_each(|declared| declared.id.unique_id = None);
        let mut values = self.look_up_names(&cx, intent).await?;
        let mut inventory = loop {
            let inventory = self.wave(&cx, intent, &mut values).await?;
            cx = cx.riding_out_outages();
            let pending = self.spec.resources.iter().filter(|declared| writes && !declared.imported);
            let pending: Vec<_> =
                pending.filter_map(|declared| Some((declared, inventory.live(&declared.name)?.pending()?))).collect();
            let is_settled = !writes || !inventory.orphans.iter().any(Orphan::is_pending);
            if pending.is_empty() && is_settled {
                break inventory;
            }
            for (declared, reason) in pending {
                // It may take a minute, and nothing else has been shown yet.
                self.terminal.note(&format!("{}: waiting, because {reason}", declared.name));
            }
            for orphan in inventory.orphans.iter().filter(|orphan| orphan.is_pending()) {
                let name = &orphan.declared.id.name;
                self.terminal.note(&format!("{name}: waiting, because its owner can't be determined yet"));
            }
            // The result may affect other declarations, so everything is read again.
            live::await_owners(&cx, &self.spec, &inventory).await.map_err(|errors| self.read_failure(errors))?;
        };
        inventory.lookups = values.unwrap_or_default();
        self.identify(&inventory);
        Ok(Run { session: self, cx, inventory })
    }

    /// Completes the identities of the declarations with what only AWS knows.
    pub(in crate::cli) fn identify(&mut self, inventory: &Inventory) {
        for declared in &mut self.spec.resources {
            let id = inventory
                .live(&declared.name)
                .map_or_else(|| declared.id.clone(), |live| live::with_unique_id(declared, live));
            declared.id = Id { env: Some(inventory.env.clone()), ..id };
        }
    }

    /// Reads lookups before everything else, if the resources can't be read without the names in
    /// them; returns their values, or `None` if they are still to be read.
    async fn look_up_names(&mut self, cx: &Context, intent: Intent) -> Result<Option<LookupValues>, CommandError> {
        let is_named = self.spec.is_named_by_lookups();
        let is_read = match intent.lookups {
            LookupReads::Skipped => false,
            LookupReads::ToFindResources => is_named,
            LookupReads::Required | LookupReads::Tolerant => true,
        };
        if !is_read {
            return Ok(Some(LookupValues::unread(self.spec.used_lookups(), "`--no-lookups`")));
        }
        if !is_named {
            return Ok(None);
        }
        let values = tokio::select! {
            read = self.look_up(cx, intent.lookups) => read?,
            () = cx.interrupt() => return Err(CommandError::interrupted()),
        };
        self.fill(cx, &values).await?;
        Ok(Some(values))
    }

    /// Reads everything at once: the resources, and the lookups if they have no values yet.
    async fn wave(
        &mut self,
        cx: &Context,
        intent: Intent,
        values: &mut Option<LookupValues>,
    ) -> Result<Inventory, CommandError> {
        let look_up =
            async { if values.is_some() { Ok(None) } else { self.look_up(cx, intent.lookups).await.map(Some) } };
        let read = live::read(cx, &self.spec, intent.goal, &self.options, intent.orphans, self.account());
        let (read, looked_up) = tokio::select! {
            read = async { tokio::join!(read, look_up) } => read,
            // Reads change nothing, so they can be canceled.
            () = cx.interrupt() => return Err(CommandError::interrupted()),
        };
        let (inventory, looked_up) = match (read, looked_up) {
            (Ok(inventory), Ok(looked_up)) => (inventory, looked_up),
            (Err(errors), looked_up) => return Err(self.read_failure(errors).and(looked_up.err())),
            (Ok(_), Err(failure)) => return Err(failure),
        };
        if let Some(read) = looked_up {
            self.fill(cx, &read).await?;
            *values = Some(read);
        }
        Ok(inventory)
    }

    /// Reads the spec's lookups.
    async fn look_up(&self, cx: &Context, reads: LookupReads) -> Result<LookupValues, CommandError> {
        let is_local = matches!(self.target, AwsTarget::Local(_));
        let read = live::read_lookups(cx, &self.spec, is_local).await;
        let Lookups { mut values, unfound } =
            read.map_err(|error| self.read_failure(vec![ReadError { resource: None, error }]))?;
        let mut errors = Vec::new();
        let mut warnings = Vec::new();
        for it in unfound {
            let name = &it.lookup.name;
            let uses = self.spec.lookup_uses.get(name).into_iter().flatten().map(ToString::to_string);
            let diagnostic = it.diagnostic(self.spec.lookup_location(it.lookup), &uses.collect::<Vec<_>>());
            // What engine itself can't use stays an error: it takes another spec or value.
            let refused = it.error.as_ref().filter(|error| error.code.is_some());
            match refused.and_then(AwsError::unreadable) {
                Some(why) if reads == LookupReads::Tolerant => {
                    values.unread.insert(name.clone(), why);
                    warnings.push(Diagnostic { severity: Severity::Warning, ..diagnostic });
                }
                _ => errors.push(diagnostic),
            }
        }
        if !errors.is_empty() {
            return Err(CommandError { exit: Exit::Failed, diagnostics: errors.into_iter().chain(warnings).collect() });
        }
        self.terminal.problems(&warnings);
        for name in &values.stand_ins {
            self.terminal.note(&format!(
                "local AWS: `lookups.{name}` has the stand-in `local-{name}`; to use another value, add `local:` to it"
            ));
        }
        Ok(values)
    }

    /// Checks the spec with the values of its lookups.
    ///
    /// # Errors
    /// Values that aren't allowed where they are used.
    pub(in crate::cli) async fn fill(&mut self, cx: &Context, values: &LookupValues) -> Result<(), CommandError> {
        let filled = self.spec.filled(values);
        let filled = filled.map_err(|diagnostics| CommandError { exit: Exit::Failed, diagnostics })?;
        let Some(spec) = filled else { return Ok(()) };
        self.terminal.problems(&spec.warnings);
        let was_unnamed = !self.spec.unnamed_imports.is_empty();
        self.spec = spec;
        live::register_secrets(cx, &self.spec);
        match &self.target {
            AwsTarget::Local(settings) if was_unnamed => ensure_stand_ins(self, settings).await,
            _ => Ok(()),
        }
    }

    /// The errors of reads, each with its place in the spec.
    pub(in crate::cli) fn read_failure(&self, errors: Vec<ReadError>) -> CommandError {
        let interrupted = errors.iter().any(|it| it.error.is_interrupted());
        let diagnostics = errors.into_iter().map(|ReadError { resource, error }| {
            let action = resource.as_ref().map_or_else(String::new, |name| format!("read `{name}`"));
            let mut diagnostic = error.diagnostic(&action);
            if let Some(location) = resource.and_then(|name| self.spec.blamed(&name, &error)) {
                diagnostic = diagnostic.at(location);
            }
            if error.is_any(&[Code::NoCredentials, Code::ProfileUnknown])
                && let Some(running) = self.running_local()
            {
                diagnostic = diagnostic.hint(format!(
                    "to use this project's local AWS, which runs on port {}, add `--local`",
                    running.port
                ));
            }
            diagnostic
        });
        CommandError {
            exit: if interrupted { Exit::Interrupted } else { Exit::Failed },
            diagnostics: diagnostics.collect(),
        }
    }
}

impl Run<'_> {
    /// Plans the run.
    pub(in crate::cli) fn plan(&self, goal: Goal) -> Plan {
        plan::plan(&self.session.spec, &self.inventory, goal, &self.session.options)
    }

    /// The first line of each output.
    pub(in crate::cli) fn heading(&self) -> String {
        let Session { spec, notes, terminal, .. } = &self.session;
        render::heading(spec, &self.inventory.env, notes, terminal.out)
    }

    /// The stack of the same team that owns everything in the spec: the spec's file was renamed.
    pub(in crate::cli) fn renamed<'p>(&'p self, plan: &'p Plan) -> Option<&'p str> {
        let Spec { stack, file, .. } = &self.session.spec;
        let is_from_file = Path::new(file.name()).file_stem().is_some_and(|stem| stem == stack.as_str());
        let mut other = None;
        for declared in self.session.spec.resources.iter().filter(|it| is_from_file && !it.imported) {
            let Some(live) = self.inventory.live(&declared.name) else {
                // If any resource doesn't exist, it is a different stack that shares a name.
                if matches!(declared.schema().identity, Identity::Named { .. }) {
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
    pub(in crate::cli) fn refusals(&self, plan: &Plan) -> Vec<Diagnostic> {
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
            let words = |advice: &Option<Advice>| advice.as_ref().map(remedy::text);
            let reason = words(&change.reason).unwrap_or_else(|| "it can't be applied".to_owned());
            let hint = words(&change.hint).unwrap_or_else(|| "`engine diff` shows the whole plan".to_owned());
            // The plan has the lines to paste.
            let hint =
                hint.split_once('\n').map_or(hint.clone(), |(first, _)| format!("{first} see its row in the plan"));
            let diagnostic = Diagnostic::error(format!("`{}` is refused: {reason}", change.resource), hint);
            let path = change.properties.first().map(|property| property.path.clone()).unwrap_or_default();
            match spec.location(&change.resource, &path) {
                Some(location) => diagnostic.at(location),
                None => diagnostic,
            }
        });
        refused.collect()
    }
}
