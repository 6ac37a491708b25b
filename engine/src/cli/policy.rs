//! `engine policy`: prints IAM policies for a spec, ready to use.

use clap::{Args, ValueEnum};

use crate::aws::{self, Access};
use crate::diagnostic::Diagnostic;
use crate::plan::Options;
use crate::policy::{self, Document, MAX_CHARACTERS, Purpose};
use crate::schema::Site;
use crate::spec::Depth;

use super::session::{self, Session, Target};
use super::terminal::{Failure, Terminal};
use super::{Exit, Global, OneSpecArgs, SpecArgs, on_runtime};

#[derive(Debug, Args)]
pub(super) struct PolicyArgs {
    #[command(flatten)]
    spec: OneSpecArgs,
    /// Print the permissions for this command
    #[arg(long = "for", value_enum, value_name = "COMMAND", default_value_t = Command::All)]
    purpose: Command,
    /// Print the trust and permissions that the spec's roles need instead
    #[arg(long, conflicts_with = "purpose")]
    role: bool,
    /// Use this account. Defaults to the spec's, or that of your credentials
    #[arg(long, value_name = "ID", value_parser = account)]
    account: Option<String>,
}

/// The commands that a policy can be for.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Command {
    /// `diff`, `output` and `list`
    Diff,
    /// `apply` and `forget`
    Apply,
    /// `destroy`
    Destroy,
    /// `verify`
    Verify,
    /// `logs`
    Logs,
    /// `preflight`
    #[value(alias = "check")]
    Preflight,
    /// All commands
    All,
}

impl From<Command> for Purpose {
    fn from(command: Command) -> Purpose {
        match command {
            Command::Diff => Purpose::Diff,
            Command::Apply => Purpose::Apply,
            Command::Destroy => Purpose::Destroy,
            Command::Verify => Purpose::Verify,
            Command::Logs => Purpose::Logs,
            Command::Preflight => Purpose::Check,
            Command::All => Purpose::All,
        }
    }
}

fn account(text: &str) -> Result<String, String> {
    let fits = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| text.to_owned()).ok_or_else(|| "use the 12 digits of an account ID".to_owned())
}

pub(super) fn run(global: &Global, terminal: &Terminal, args: PolicyArgs) -> Result<Exit, Failure> {
    let PolicyArgs { spec, purpose, role, account } = args;
    let purpose = Purpose::from(purpose);
    if global.local {
        let problem = "a policy is for an AWS account, and the local AWS checks no permissions";
        return Err(Failure::usage(
            problem,
            "leave out `--local` (or ENGINE_LOCAL), and add the account: `--account ID`",
        ));
    }
    let spec = SpecArgs::from(&spec);
    let sessions = session::open(global, terminal, &spec, &Options::default(), Depth::Full)?;
    let Some(session) = sessions.into_iter().next() else { return Ok(Exit::Done) };
    let site = site(&session, account)?;
    if role {
        let roles = policy::roles(&session.spec, &site);
        if roles.is_empty() {
            return Err(Failure::one(Diagnostic::error("the spec has no role", "add a `role:` to a function")));
        }
        for (name, needed) in &roles {
            explain(terminal, &session.spec.team, &needed.permissions);
            fits(&format!("of the role `{name}`"), &needed.permissions)?;
        }
        terminal.print(&text(&roles));
    } else {
        let document = policy::deploying(&session.spec, &site, purpose);
        explain(terminal, &session.spec.team, &document);
        fits(&format!("for the team `{}`", session.spec.team), &document)?;
        terminal.print(&text(&document));
    }
    Ok(Exit::Done)
}

fn not_local() -> Failure {
    let problem = "a policy is for an AWS account, and the local AWS checks no permissions";
    Failure::usage(problem, "leave out `--local` (or ENGINE_LOCAL), and add the account: `--account ID`")
}

/// The region and account of the policy. You may have no credentials yet, so AWS is only called for
/// what neither spec nor command line has.
fn site(session: &Session<'_>, account: Option<String>) -> Result<Site, Failure> {
    let declared = session.spec.account.as_ref();
    let account = match (account, declared) {
        (Some(named), Some(declared)) if named != *declared => {
            let problem = format!("`--account {named}` differs from the spec's account, `{declared}`");
            return Err(Failure::usage(problem, "leave out `--account`, or change `account:` in the spec"));
        }
        (named, declared) => named.or_else(|| declared.cloned()),
    };
    let Target::Account(settings) = &session.target else {
        return Err(not_local());
    };
    let mut found = None;
    on_runtime(async |interrupt| {
        let region = aws::region(settings).await.map_err(|error| Failure::one(error.diagnostic("find the region")))?;
        let account = match account {
            Some(account) => account,
            None => session.reader(Access::ReadOnly, &interrupt).await.map_err(name_it)?.1,
        };
        found = Some(Site::new(&region, &account));
        Ok(Exit::Done)
    })?;
    found.ok_or(Failure { exit: Exit::Interrupted, diagnostics: Vec::new() })
}

/// With the account, no credentials are needed.
fn name_it(failure: Failure) -> Failure {
    let hint = "or add `--account ID`, or `account:` in the spec, to need no credentials";
    let diagnostics = failure.diagnostics.into_iter().map(|it| it.hint(hint)).collect();
    Failure { diagnostics, ..failure }
}

/// Explains the statements that no ARN restricts, and what a prefix matches.
fn explain(terminal: &Terminal, team: &str, document: &Document) {
    for statement in &document.statement {
        if let Some(why) = statement.why {
            terminal.say(&format!("{}: {why}", statement.sid));
        }
    }
    if document.goes_by_prefix(team) {
        terminal.say(&format!(
            "`{team}-*` also matches the resources of a team named `{team}-more`: don't use a team name that extends \
             another one"
        ));
    }
}

fn fits(whose: &str, document: &Document) -> Result<(), Failure> {
    let n_characters = document.n_characters();
    if n_characters <= MAX_CHARACTERS {
        return Ok(());
    }
    let problem = format!("the policy {whose} has {n_characters} characters, but IAM allows at most {MAX_CHARACTERS}");
    let hint = "print one policy per command (`--for diff`, …), or split the spec";
    Err(Failure::one(Diagnostic::error(problem, hint).why("it lists each imported resource, layer and key")))
}

fn text(document: &impl serde::Serialize) -> String {
    // This never fails: it contains only strings and lists.
    serde_json::to_string_pretty(document).map_or_else(|_| String::new(), |text| format!("{text}\n"))
}
