//! One row of `engine status`: where it is read from, and how.
//!
//! **Invariant:** whatever fails becomes a sentence in its row.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use tokio::sync::watch;

use crate::aws::{AwsError, Context};
use crate::cli::exit::CommandError;
use crate::cli::session::{self, AwsTarget, Intent, LookupReads, Session};
use crate::diagnostic::Diagnostic;
use crate::invoke::is_about_own_record;
use crate::kind::Definition;
use crate::kinds::default_log_group;
use crate::live::{self, Listed, OrphanSearch, TeamsListing};
use crate::logs::{EventName, Tail, change_word, mentions};
use crate::plan::{self, Action, Change, Goal, PropertyChange};
use crate::render::remedy;
use crate::render::status::{MappingRow, StackRow};
use crate::schema::{AwsEnv, Id, Live, Owner, Ownership, Status};
use crate::spec::ResourceDecl;
use crate::value::Value;

const TABLE: &str = "table";

/// How far a round reads back: events arrive late and out of order.
const OVERLAP: Duration = Duration::from_secs(60);

/// A stack, or everything that a team owns.
pub(super) struct Watched<'t> {
    source: RowSource<'t>,
    cx: Option<Context>,
    since: i64,
    /// The logs of its functions, by log group.
    tails: BTreeMap<String, Tail>,
    pub(super) row: StackRow,
}

/// Where a row is read from.
enum RowSource<'t> {
    /// A spec.
    Spec(Box<Session<'t>>),
    /// The tags of a team. The first team has the session for all.
    Team(Option<Box<Session<'t>>>),
    /// Nothing: its spec has errors.
    Broken,
}

/// What a round reads.
pub(super) enum Round {
    /// Only the logs since the last round.
    Logs,
    /// Also the resources; for rows of teams, with what the tag index lists.
    Full(Option<Result<Listing, String>>),
}

/// What the teams own.
pub(super) struct Listing {
    env: AwsEnv,
    listed: TeamsListing,
}

/// A resource of a stack.
struct Resource {
    kind: Arc<dyn Definition>,
    /// Its name in the spec, or else in AWS.
    shown: String,
    /// Its name in AWS.
    name: String,
    live: Live,
}

/// Connects all rows: those with the same AWS share credentials and rate limits.
///
/// # Errors
/// AWS can't be reached, or there are no credentials.
pub(super) async fn connect(
    watched: &mut [Watched<'_>],
    interrupt: &watch::Receiver<bool>,
) -> Result<(), CommandError> {
    let intent =
        Intent { goal: Goal::Present, writes: false, orphans: OrphanSearch::Indexed, lookups: LookupReads::Skipped };
    let sessions: Vec<&Session<'_>> = watched.iter().filter_map(Watched::session).collect();
    let mut contexts = session::contexts(&sessions, intent, interrupt).await?.into_iter();
    let mut last = None;
    for it in watched.iter_mut().filter(|it| !matches!(it.source, RowSource::Broken)) {
        if it.session().is_some() {
            last = contexts.next();
        }
        it.cx.clone_from(&last);
    }
    Ok(())
}

/// What a full round needs to know of all rows.
pub(super) async fn list(watched: &[Watched<'_>]) -> Round {
    let teams: Vec<String> = watched.iter().filter(|it| it.is_team()).map(|it| it.row.team.clone()).collect();
    let session = watched.iter().find_map(|it| Some((it.session()?, it.cx.as_ref()?)));
    let Some((session, cx)) = session.filter(|_| !teams.is_empty()) else { return Round::Full(None) };
    let account = cx.read("", || cx.aws.account());
    let (account, listed) = tokio::join!(account, live::list_teams(cx, &teams));
    let found = async {
        let account = account?;
        live::in_account(&session.spec, &account)?;
        Ok(Listing { env: AwsEnv::new(&cx.aws.region, &account), listed: listed? })
    };
    let found: Result<_, AwsError> = found.await;
    Round::Full(Some(found.map_err(|error| sentence(&error))))
}

impl<'t> Watched<'t> {
    /// The row of a spec.
    pub(super) fn spec(session: Session<'t>, since: i64) -> Watched<'t> {
        let (team, stack) = (session.spec.team.clone(), session.spec.stack.clone());
        let name = if stack == "team" || stack == team { team.clone() } else { format!("{team}/{stack}") };
        let row = StackRow { name, team, stacks: vec![stack], ..StackRow::default() };
        Watched { source: RowSource::Spec(Box::new(session)), cx: None, since, tails: BTreeMap::new(), row }
    }

    /// The rows of teams, which are all read through one session.
    pub(super) fn teams(session: Session<'t>, teams: &[String], since: i64) -> Vec<Watched<'t>> {
        let mut session = Some(Box::new(session));
        let unique: BTreeSet<&String> = teams.iter().collect();
        let mut left = unique;
        let rows = teams.iter().filter(move |team| left.remove(team)).map(|team| {
            let row = StackRow { name: team.clone(), team: team.clone(), ..StackRow::default() };
            Watched { source: RowSource::Team(session.take()), cx: None, since, tails: BTreeMap::new(), row }
        });
        rows.collect()
    }

    /// The row of a spec with errors.
    pub(super) fn broken(path: &Path, failure: &CommandError) -> Watched<'t> {
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let problem = Some(format!("its spec {} has errors: {}", path.display(), problem(failure)));
        let row = StackRow { name, problem, ..StackRow::default() };
        Watched { source: RowSource::Broken, cx: None, since: 0, tails: BTreeMap::new(), row }
    }

    fn session(&self) -> Option<&Session<'t>> {
        match &self.source {
            RowSource::Spec(session) | RowSource::Team(Some(session)) => Some(session),
            RowSource::Team(None) | RowSource::Broken => None,
        }
    }

    fn is_team(&self) -> bool {
        matches!(self.source, RowSource::Team(_))
    }

    /// Which AWS it is in.
    pub(super) fn target(&self) -> Option<&AwsTarget> {
        self.session().map(|session| &session.target)
    }

    /// Reads what the round is about.
    pub(super) async fn update(&mut self, round: &Round) {
        let Some(cx) = self.cx.clone() else { return };
        if let Round::Full(listing) = round {
            let read = match (&self.source, listing) {
                (RowSource::Spec(session), _) => read_spec(&cx, session, &mut self.row).await,
                (_, Some(Ok(Listing { env, listed }))) => {
                    self.row.unlisted.clone_from(&listed.unlisted);
                    let listed = listed.teams.get(&self.row.team).map_or(&[][..], Vec::as_slice);
                    read_team(&cx, env, listed, &mut self.row).await
                }
                (_, Some(Err(problem))) => Err(problem.clone()),
                (_, None) => return,
            };
            match read {
                Ok(resources) => {
                    self.row.problem = None;
                    self.row.n_present = resources.len();
                    self.row.mappings = resources.iter().filter_map(mapping).collect();
                    self.follow(&resources);
                }
                Err(problem) => self.row.problem = Some(cx.aws.secrets.mask(&problem)),
            }
        }
        self.read_logs(&cx).await;
    }

    /// Follows the logs of the functions that exist.
    fn follow(&mut self, resources: &[Resource]) {
        let functions = resources.iter().filter(|it| it.kind.schema().kind == "function");
        let groups: BTreeSet<String> = functions.map(log_group).collect();
        self.tails.retain(|group, _| groups.contains(group));
        for group in groups {
            let tail = Tail::new(&group, self.since);
            self.tails.entry(group).or_insert(tail);
        }
    }

    /// Reads the logs since the last round.
    async fn read_logs(&mut self, cx: &Context) {
        let back = SystemTime::now().checked_sub(OVERLAP).and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let next = back.and_then(|time| i64::try_from(time.as_millis()).ok()).unwrap_or(self.since);
        let reads = join_all(self.tails.values_mut().map(|tail| tail.next(cx))).await;
        self.row.log_problem = None;
        for (read, tail) in reads.into_iter().zip(self.tails.values_mut()) {
            match read {
                Ok(events) => {
                    tail.skip_to(next);
                    for event in events.into_iter().flatten() {
                        note_changes(&event.text, event.at, &mut self.row.seen);
                    }
                }
                Err(error) => self.row.log_problem = Some(cx.aws.secrets.mask(&sentence(&error))),
            }
        }
    }
}

/// Notes the changes in an event of a log.
fn note_changes(text: &str, at: i64, seen: &mut [Option<i64>; 3]) {
    if is_about_own_record(text) {
        return;
    }
    let records = mentions(text);
    for (change, last) in EventName::ALL.into_iter().zip(seen) {
        // What isn't a record may be the function's own words for it.
        let is_shown = match records.is_empty() {
            true => change_word(text, change) == Some(change.word()),
            false => records.iter().any(|record| record.change == Some(change)),
        };
        if is_shown {
            *last = (*last).max(Some(at));
        }
    }
}

/// Reads what a spec declares, and compares.
async fn read_spec(cx: &Context, session: &Session<'_>, row: &mut StackRow) -> Result<Vec<Resource>, String> {
    let spec = &session.spec;
    let read = live::read(cx, spec, Goal::Present, &session.options, OrphanSearch::Indexed, None).await;
    let inventory = read.map_err(|errors| problem(&session.read_failure(errors)))?;
    let plan = plan::plan(spec, &inventory, Goal::Present, &session.options);
    let managed = || spec.resources.iter().filter(|declared| !declared.imported);
    row.n_declared = Some(managed().count());
    // Without a build, whether the code differs is unknown.
    let is_unbuilt = |change: &Change| {
        let is_code = |it: &PropertyChange| it.path.root().is_some_and(|name| name.starts_with("code_"));
        let declared = spec.resource(&change.resource).filter(|_| change.action == Action::Update);
        declared.is_some_and(ResourceDecl::is_unbuilt) && change.properties.iter().all(is_code)
    };
    let is_change = |change: &&Change| !matches!(change.action, Action::None | Action::Import) && !is_unbuilt(change);
    row.n_changes = Some(plan.changes.iter().filter(is_change).count());
    // What an apply would refuse to change may be of another stack.
    let refused: BTreeMap<&str, &Change> = plan.refusals().map(|it| (it.resource.as_str(), it)).collect();
    row.refused = refused.values().find_map(|it| {
        Some(format!("an apply refuses to change `{}`: {}", it.resource, remedy::text(it.reason.as_ref()?)))
    });
    let is_present = |declared: &&ResourceDecl| {
        inventory.live(&declared.name).is_some() && !refused.contains_key(declared.name.as_str())
    };
    let exists = |declared: &&ResourceDecl| inventory.live(&declared.name).is_some();
    row.missing = managed().filter(|it| !exists(it)).map(|it| it.name.clone()).collect();
    row.n_not_compared = managed().filter(is_present).map(n_not_compared).sum();
    let found = managed().filter(is_present).filter_map(|declared| {
        let live = inventory.live(&declared.name).filter(|live| live.status != Status::Deleting)?;
        let (kind, name) = (Arc::clone(&declared.kind), declared.id.name.clone());
        Some(Resource { kind, shown: declared.name.clone(), name, live: live.clone() })
    });
    Ok(found.collect())
}

/// How many values of a declaration need lookups or a build, neither of which a status has.
fn n_not_compared(declared: &ResourceDecl) -> usize {
    let compared = declared.desired.iter().filter(|(name, _)| !declared.lifecycle.ignore_changes.contains(*name));
    let n_unread: usize = compared.map(|(_, value)| n_unread(value)).sum();
    n_unread + usize::from(declared.is_unbuilt() && !declared.lifecycle.ignore_changes.contains("code"))
}

fn n_unread(value: &Value) -> usize {
    match value {
        Value::Map(members) => members.values().map(n_unread).sum(),
        Value::List(items) => items.iter().map(n_unread).sum(),
        value => usize::from(!value.unread_lookups().is_empty()),
    }
}

/// Reads what the tag index lists for a team.
async fn read_team(cx: &Context, env: &AwsEnv, listed: &[Listed], row: &mut StackRow) -> Result<Vec<Resource>, String> {
    let reads = join_all(listed.iter().map(|it| live::read_listed(cx, it, env))).await;
    let (mut found, mut stacks, mut seen) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for read in reads {
        for (kind, id, live) in read.map_err(|error| sentence(&error))? {
            let Ownership::Engine(owner) = &live.owner else { continue };
            // The index may list what is also attached to something.
            if !seen.insert((kind.schema().kind.clone(), id.name.clone(), live.unique_id.clone())) {
                continue;
            }
            stacks.insert(owner.stack.clone());
            let shown = Some(&owner.resource).filter(|it| !it.is_empty()).unwrap_or(&id.name).clone();
            found.push(Resource { kind, shown, name: id.name, live });
        }
    }
    row.stacks = stacks.into_iter().collect();
    row.missing = join_all(found.iter().filter_map(|it| source_table(it, &found)).map(|table| async move {
        let kind = cx.kinds.get(TABLE)?;
        let id = Id { env: Some(env.clone()), ..Id::named(Owner::default(), table.to_owned()) };
        // Without permission to read it, it may exist.
        matches!(live::read_existing(cx, kind, &id).await, Ok(None)).then(|| table.to_owned())
    }))
    .await
    .into_iter()
    .flatten()
    .collect();
    Ok(found)
}

/// The table whose stream a mapping reads, unless it was found.
fn source_table<'r>(mapping: &'r Resource, found: &[Resource]) -> Option<&'r str> {
    let source = mapping.live.props.get("event_source_arn").and_then(Value::as_str);
    let (_, rest) = source.filter(|_| mapping.kind.schema().kind == "mapping")?.split_once(":table/")?;
    let table = rest.split('/').next()?;
    found.iter().all(|it| it.kind.schema().kind != TABLE || it.name != table).then_some(table)
}

fn mapping(resource: &Resource) -> Option<MappingRow> {
    let Resource { kind, shown, live, .. } = resource;
    if kind.schema().kind != "mapping" {
        return None;
    }
    let is_enabled = live.props.get("enabled") != Some(&Value::Bool(false));
    let state = match &live.status {
        Status::Stable if is_enabled => "enabled".to_owned(),
        Status::Stable => "disabled".to_owned(),
        Status::InTransition(status) | Status::Unreadable(status) | Status::Unusable(status) => status.to_lowercase(),
        Status::Deleting => "being deleted".to_owned(),
        Status::Failed(_) => "broken".to_owned(),
    };
    let failed = match &live.status {
        Status::Failed(reason) => Some(reason.clone()),
        _ => None,
    };
    let problem = failed.or_else(|| live.notes.first().cloned());
    Some(MappingRow { name: shown.clone(), is_enabled: is_enabled && live.status == Status::Stable, state, problem })
}

fn log_group(function: &Resource) -> String {
    let named = function.live.props.get("log_group").and_then(Value::as_str);
    named.map_or_else(|| default_log_group(&function.name), str::to_owned)
}

/// An error as one sentence.
fn sentence(error: &AwsError) -> String {
    reported(&error.diagnostic(""))
}

/// What is wrong and why, as one sentence.
fn reported(diagnostic: &Diagnostic) -> String {
    let why = diagnostic.why.as_ref().map(|why| format!(": {}", remedy::text(why))).unwrap_or_default();
    format!("{}{why}", remedy::text(&diagnostic.problem))
}

/// Why a command failed, as one sentence.
fn problem(failure: &CommandError) -> String {
    let first = failure.diagnostics.first().map(reported).unwrap_or_default();
    match failure.diagnostics.len() {
        0 | 1 => first,
        n => format!("{first} (and {} more)", n - 1),
    }
}
