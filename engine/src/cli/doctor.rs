//! `engine doctor`: diagnoses this machine, its settings and credentials. Its output is safe to
//! share.
//!
//! **Invariant:** it changes nothing and starts nothing, and never prints an account, key or home
//! folder in full.

use std::path::Path;
use std::time::{Duration, SystemTime};

use clap::Args;
use serde_json::json;
use tokio::sync::watch;

use crate::aws::rights::{self, Decision};
use crate::aws::{self, Access, Connection, Context, MOST_SKEW, Settings, Skew};
use crate::cause::Code;
use crate::diagnostic::Diagnostic;
use crate::local::{self, Project};
use crate::plan::Options;
use crate::policy::{self, Purpose, RoleLimit};
use crate::render::{self, remedy};
use crate::schema::AwsEnv;
use crate::spec::Depth;

use super::args::{OneSpecArgs, OutputFormat, SpecArgs};
use super::exit::{CommandError, Exit};
use super::interrupt::on_runtime;
use super::names::quoted;
use super::session::{self, AwsTarget, Session};
use super::terminal::with_wait_notice;
use super::validate::counted;
use super::{CommandContext, Global, VERSION};

/// Diagnose settings, credentials, permissions, clock and tools
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  engine doctor                  accounts and keys are masked, so you can share the output
  engine doctor --local          only what the local AWS needs
  engine doctor --format json    for scripts")]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    spec: OneSpecArgs,
    /// Output format
    #[arg(long, value_enum, default_value_t = OutputFormat::Human)]
    format: OutputFormat,
}

/// Credentials that expire sooner get a note, in seconds.
const SOON: u64 = 900;

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CheckStatus {
    Fine,
    /// Unknown, or nothing that prevents a command from working.
    Note,
    Problem,
}

/// One check.
struct Check {
    what: &'static str,
    state: CheckStatus,
    found: String,
    hint: Option<String>,
}

/// The checks so far.
#[derive(Default)]
struct Checks(Vec<Check>);

impl Checks {
    fn fine(&mut self, what: &'static str, found: impl Into<String>) {
        self.0.push(Check { what, state: CheckStatus::Fine, found: found.into(), hint: None });
    }

    fn note(&mut self, what: &'static str, found: impl Into<String>, hint: impl Into<String>) {
        self.0.push(Check { what, state: CheckStatus::Note, found: found.into(), hint: Some(hint.into()) });
    }

    fn problem(&mut self, what: &'static str, found: impl Into<String>, hint: Option<String>) {
        self.0.push(Check { what, state: CheckStatus::Problem, found: found.into(), hint });
    }
}

pub(super) fn run(cx: &CommandContext<'_>, args: DoctorArgs) -> Result<Exit, CommandError> {
    let is_local = cx.global.local;
    let mut checks = Checks::default();
    let system = format!("{} {}", std::env::consts::OS, std::env::consts::ARCH);
    checks.fine("engine", format!("{VERSION} on {system}"));
    // The local AWS is checked, not started.
    let on_aws = CommandContext { global: Global { local: false, ..cx.global.clone() }, ..cx.clone() };
    let session = session_of(&on_aws, &SpecArgs::from(&args.spec), &mut checks)?;
    if is_local {
        checks.note("AWS", "not checked, because of `--local`", "leave that out to check your account");
    } else {
        on_runtime(async |interrupt| {
            check_aws(&session, &mut checks, &interrupt).await;
            Ok(Exit::Done)
        })?;
    }
    check_machine(&session, is_local, &mut checks);
    let home = etcetera::home_dir().ok();
    for check in &mut checks.0 {
        check.found = masked(&check.found, home.as_deref());
        check.hint = check.hint.as_ref().map(|hint| masked(hint, home.as_deref()));
    }
    cx.terminal.print(&match args.format {
        OutputFormat::Json => json(&checks),
        OutputFormat::Human => render::checkup(&lines(&checks), cx.terminal.out),
    });
    let is_well = checks.0.iter().all(|check| check.state != CheckStatus::Problem);
    Ok(if is_well { Exit::Done } else { Exit::Failed })
}

/// The spec's session, or one without a spec.
fn session_of<'t>(cx: &CommandContext<'t>, spec: &SpecArgs, checks: &mut Checks) -> Result<Session<'t>, CommandError> {
    let bare = || SpecArgs { team: Some("doctor".to_owned()), stack: Some("doctor".to_owned()), ..spec.clone() };
    let region = || {
        // The region may be valid even if other parts of the spec aren't.
        let (loaded, _) = session::load(cx, spec, Depth::Identities).ok()?;
        loaded.first()?.spec.region.clone()
    };
    let (spec, global) = match check_spec(cx, spec, checks) {
        true => (spec.clone(), cx.global.clone()),
        false => (bare(), Global { region: cx.global.region.clone().or_else(region), ..cx.global.clone() }),
    };
    let sessions = session::open(&CommandContext { global, ..cx.clone() }, &spec, &Options::default(), Depth::Full)?;
    sessions
        .into_iter()
        .next()
        .ok_or_else(|| CommandError::one(Diagnostic::error("no spec found", "`engine init` writes a starter spec")))
}

/// Checks the spec, and returns whether it can be used.
fn check_spec(cx: &CommandContext<'_>, spec: &SpecArgs, checks: &mut Checks) -> bool {
    match session::load(cx, spec, Depth::Full) {
        Ok((loaded, errors)) if errors.is_empty() => {
            for it in &loaded {
                let (file, team, stack) = (it.spec.file.name(), &it.spec.team, &it.spec.stack);
                let found = format!("{file}, team {team}, stack {stack}, {} resources", it.spec.resources.len());
                checks.fine("spec", found);
            }
            true
        }
        Ok((_, errors)) => {
            let hint = Some("run `engine validate`".to_owned());
            checks.problem("spec", counted(errors.len(), "error"), hint);
            false
        }
        Err(failure) => {
            let problem = failure.diagnostics.first().map_or_else(String::new, |it| remedy::text(&it.problem));
            checks.note("spec", problem, "`engine init` writes a starter spec");
            false
        }
    }
}

async fn check_aws(session: &Session<'_>, checks: &mut Checks, interrupt: &watch::Receiver<bool>) {
    let AwsTarget::Account(settings) = &session.target else { return };
    match aws::region(settings).await {
        Ok(region) => checks.fine("region", format!("{region}{}", source_of_region(session, settings))),
        Err(error) => {
            return checks.problem(missing_of(&error, "region"), error.summary(), Some(remedy::text(&error.hint())));
        }
    }
    checks.fine("endpoint", endpoint(settings));
    match session.connection().await {
        Ok(connection) => check_credentials(&connection, settings, checks).await,
        Err(error) => {
            return checks.problem(
                missing_of(&error, "credentials"),
                error.summary(),
                Some(remedy::text(&error.hint())),
            );
        }
    }
    let Ok(cx) = session.context(Access::ReadOnly, interrupt).await else { return };
    let skew = Skew::default();
    let caller = with_wait_notice(session.terminal.quiet, || cx.waits(), cx.read("", || cx.aws.caller(&skew))).await;
    check_clock(&skew, checks);
    let arn = match caller {
        Ok(arn) => arn,
        Err(error) => return checks.problem("account", error.to_string(), Some(remedy::text(&error.hint()))),
    };
    let mut fields = arn.splitn(6, ':').skip(4);
    let (account, caller) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
    match &session.spec.account {
        Some(wanted) if wanted != account => {
            let hint = format!("the spec's `account:` is {wanted}; use credentials for it: `--profile NAME`");
            checks.problem("account", format!("{account}, as {caller}"), Some(hint));
        }
        _ => checks.fine("account", format!("{account}, as {caller}")),
    }
    if !session.spec.resources.is_empty() {
        check_permissions(session, &cx, account, checks).await;
    }
}

/// Checks where the credentials are from, and whether they expire soon.
async fn check_credentials(connection: &Connection, settings: &Settings, checks: &mut Checks) {
    let Some(key) = connection.key(settings).await else { return };
    let source = match &key.profile {
        Some(profile) => format!("profile {profile}"),
        None if std::env::var_os("AWS_ACCESS_KEY_ID").is_some() => "environment variables".to_owned(),
        None => "the default provider chain".to_owned(),
    };
    let text = format!("{}… from {source}", key.kind);
    let renew = match key.profile.as_deref().filter(|name| *name != "default") {
        Some(name) => format!("renew them: `aws sso login --profile {}`", quoted(Path::new(name))),
        None => "renew them: `aws sso login`".to_owned(),
    };
    match key.expiry.map(|expiry| expiry.duration_since(SystemTime::now())) {
        None => checks.fine("credentials", format!("{text}, without a known expiration")),
        Some(Ok(left)) if left.as_secs() > SOON => {
            let minutes = Duration::from_secs(left.as_secs() / 60 * 60);
            checks.fine("credentials", format!("{text}, valid for {}", humantime::format_duration(minutes)));
        }
        Some(Ok(left)) => {
            let minutes = left.as_secs() / 60;
            checks.note("credentials", format!("{text}, valid for {minutes} more minutes"), renew);
        }
        Some(Err(_)) => {
            checks.problem("credentials", format!("{text}, expired"), Some(renew));
        }
    }
}

fn check_clock(skew: &Skew, checks: &mut Checks) {
    match skew.seconds() {
        Some(ahead) if ahead.abs() > MOST_SKEW => {
            let hint = "set this machine's clock; AWS rejects requests that are signed with a wrong time".to_owned();
            checks.problem("clock", off(ahead), Some(hint));
        }
        Some(ahead) => checks.fine("clock", off(ahead)),
        None => {}
    }
}

/// Checks which of the permissions that an apply needs are missing, according to IAM.
async fn check_permissions(session: &Session<'_>, cx: &Context, account: &str, checks: &mut Checks) {
    let env = AwsEnv::new(&cx.aws.region, account);
    let needs = policy::deploying(&session.spec, &env, Purpose::Apply, RoleLimit::Undecided, &[]).needs();
    let unknown = "couldn't be checked with IAM";
    let ask_for = "`engine policy --for apply` prints the permissions to request";
    let Some(principal) = cx.aws.seen.principal() else { return checks.note("permissions", unknown, ask_for) };
    let Ok(decisions) = rights::simulate(cx, &principal, &needs).await else {
        return checks.note("permissions", unknown, ask_for);
    };
    let mut missing: Vec<&str> = needs
        .iter()
        .zip(&decisions)
        .filter(|(_, decision)| matches!(decision, Decision::NotAllowed | Decision::Denied))
        .map(|((action, _), _)| &**action)
        .collect();
    missing.dedup();
    if missing.is_empty() {
        let mut actions: Vec<&str> = needs.iter().map(|(action, _)| &**action).collect();
        actions.sort_unstable();
        actions.dedup();
        checks.fine("permissions", format!("you have all {} that an apply needs, according to IAM", actions.len()));
    } else {
        checks.note("permissions", format!("according to IAM, you lack {}", missing.join(", ")), ask_for);
    }
}

fn check_machine(session: &Session<'_>, is_local: bool, checks: &mut Checks) {
    let project = session.project();
    for (what, found) in local::check_requirements(project) {
        match found {
            Ok(found) => checks.fine(what, found),
            Err(error) if is_local => checks.problem(what, error.problem(), Some(error.hint())),
            Err(error) if what == "Node.js" => {
                checks.note(
                    what,
                    error.problem(),
                    "without it, `validate` and `apply` don't check handlers for syntax errors",
                );
            }
            Err(error) => checks.note(what, error.problem(), "only `--local` needs it"),
        }
    }
    match running(project) {
        Some(port) => checks.fine("local AWS", format!("running on port {port}")),
        None => checks.fine("local AWS", "not running; `--local` starts it"),
    }
}

fn running(project: &Project) -> Option<u16> {
    local::status(project).ok()?.map(|running| running.port)
}

/// The check that failed: an unknown profile has no region or credentials either.
fn missing_of(error: &aws::AwsError, what: &'static str) -> &'static str {
    if error.cause == Code::ProfileUnknown { "profile" } else { what }
}

fn source_of_region(session: &Session<'_>, settings: &Settings) -> &'static str {
    match (&session.overrides.region, &settings.region) {
        (Some(_), _) => " (--region)",
        (None, Some(_)) => " (the spec's)",
        (None, None) => " (your AWS settings')",
    }
}

/// The endpoint according to options and environment variables.
fn endpoint(settings: &Settings) -> String {
    let variables =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let named = settings.endpoint_url.clone().map(|url| ("--endpoint-url".to_owned(), url));
    let named = named.or_else(|| variables.into_iter().find(|(name, _)| name.starts_with("AWS_ENDPOINT_URL")));
    match named {
        // A URL may contain a password.
        Some((from, url)) => {
            let (scheme, rest) = url.split_once("://").unwrap_or(("", &url));
            let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
            format!("{scheme}://{host} ({from})")
        }
        None => "AWS's default, unless your AWS settings have another".to_owned(),
    }
}

fn off(ahead: i64) -> String {
    match ahead {
        3.. => format!("{ahead} s ahead of AWS's"),
        -2.. => "in sync with AWS's".to_owned(),
        _ => format!("{} s behind AWS's", ahead.abs()),
    }
}

/// Masks a text for sharing: accounts are cut to their last four digits, the home folder to `~`.
fn masked(text: &str, home: Option<&Path>) -> String {
    let mut masked = String::new();
    let mut digits = String::new();
    let flush = |digits: &mut String, masked: &mut String| {
        match digits.get(8..) {
            Some(last) if digits.len() == 12 => masked.push_str(&format!("********{last}")),
            _ => masked.push_str(digits),
        }
        digits.clear();
    };
    for c in text.chars() {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        flush(&mut digits, &mut masked);
        masked.push(c);
    }
    flush(&mut digits, &mut masked);
    match home.and_then(Path::to_str).filter(|home| home.len() > 1) {
        Some(home) => masked.replace(home, "~"),
        None => masked,
    }
}

fn lines(checks: &Checks) -> Vec<(&'static str, &'static str, String)> {
    let line = |check: &Check| {
        let sign = match check.state {
            CheckStatus::Fine => "ok",
            CheckStatus::Note => "note",
            CheckStatus::Problem => "PROBLEM",
        };
        let hint = check.hint.as_ref().map_or_else(String::new, |hint| format!("; {hint}"));
        (sign, check.what, format!("{}{hint}", check.found))
    };
    checks.0.iter().map(line).collect()
}

fn json(checks: &Checks) -> String {
    let checks: Vec<_> = checks
        .0
        .iter()
        .map(|Check { what, state, found, hint }| {
            let state = match state {
                CheckStatus::Fine => "ok",
                CheckStatus::Note => "note",
                CheckStatus::Problem => "problem",
            };
            json!({ "check": what, "state": state, "found": found, "hint": hint })
        })
        .collect();
    format!("{}\n", json!({ "format_version": 1, "checks": checks }))
}
