//! `engine policy`: prints IAM policies for a spec, ready to use.
//!
//! **Invariant:** a policy that IAM would reject for its size is an error, unless it goes to files,
//! which it can be divided among.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum, ValueHint};

use crate::aws::{self, Access};
use crate::diagnostic::Diagnostic;
use crate::execution::{self, RoleDocument};
use crate::kinds::MAX_INLINE_CHARACTERS;
use crate::plan::Options;
use crate::policy::{self, Document, MAX_CHARACTERS, Purpose, RoleLimit};
use crate::policy_file::{self, PolicyFile, Written};
use crate::schema::{AwsEnv, Str};
use crate::spec::Depth;

use super::CommandContext;
use super::args::{OneSpecArgs, SpecArgs};
use super::exit::{CommandError, Exit};
use super::interrupt::on_runtime;
use super::names;
use super::parse::account_id;
use super::session::{self, AwsTarget, Session};
use super::terminal::Terminal;

/// Print a least-privilege IAM policy for a spec
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  engine policy --account 123456789012   for every command but those, offline
  engine policy --for diff --account 123456789012
                                         read-only
  engine policy --for verify --account 123456789012
                                         to write test items, and nothing else
  engine policy --for dev --account 123456789012
                                         to change items and invoke functions by hand
  engine policy --team red-foxes --account 123456789012
                                         for another team
  engine policy --role --account 123456789012
                                         the trust and permissions policies of the roles
  engine policy --boundary arn:aws:iam::123456789012:policy/students --account 123456789012
                                         with a limit for the roles that a spec creates
  engine policy --account 123456789012 --output policies
                                         into files, for a policy that is too large for IAM
  engine policy --teams specs/examples/teams.txt --account 123456789012 --output policies
                                         for each team in a list")]
pub(super) struct PolicyArgs {
    #[command(flatten)]
    spec: OneSpecArgs,
    /// Print the permissions for this command
    #[arg(long = "for", value_enum, value_name = "COMMAND", default_value_t = PolicyCommand::All)]
    purpose: PolicyCommand,
    /// Instead, print the trust and permissions policies that the spec's roles need
    #[arg(long, conflicts_with = "purpose")]
    role: bool,
    /// Limit the roles that a spec creates: they must have this managed policy as their boundary
    #[arg(long, value_name = "ARN", conflicts_with = "role")]
    boundary: Option<String>,
    /// Don't limit the roles that a spec creates: they can get any permission
    #[arg(long, conflicts_with_all = ["boundary", "role"])]
    no_boundary: bool,
    /// Also allow testing or invoking this imported table, queue or function, by its name in the spec;
    /// can be repeated
    #[arg(long, value_name = "NAME", conflicts_with = "role")]
    allow_imported: Vec<String>,
    /// Leave out the permissions to read lookups, for `engine diff --no-lookups`
    #[arg(long, conflicts_with = "role")]
    no_lookups: bool,
    /// Write the policies into this folder instead, divided into files that IAM accepts as managed policies
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    output: Option<PathBuf>,
    /// Write the policies of each team in this file (one team per line), a set of files for each
    #[arg(long, value_name = "FILE", requires = "output", conflicts_with = "team")]
    teams: Option<PathBuf>,
    /// Use this account. Defaults to the spec's account, or else your credentials' account
    #[arg(long, value_name = "ID", value_parser = account_id)]
    account: Option<String>,
}

/// The default quota of managed policies on a user or role
/// (docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html).
const MAX_ATTACHED: usize = 10;

/// The commands that a policy can be for.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum PolicyCommand {
    /// `diff`, `output`, `list` and `export`
    #[value(alias = "export")]
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
    /// `items`, `invoke`, and `dev` for a stack that is deployed
    Dev,
    /// All commands but `items`, `invoke` and `dev`
    All,
}

impl From<PolicyCommand> for Purpose {
    fn from(command: PolicyCommand) -> Purpose {
        match command {
            PolicyCommand::Diff => Purpose::Diff,
            PolicyCommand::Apply => Purpose::Apply,
            PolicyCommand::Destroy => Purpose::Destroy,
            PolicyCommand::Verify => Purpose::Verify,
            PolicyCommand::Logs => Purpose::Logs,
            PolicyCommand::Preflight => Purpose::Check,
            PolicyCommand::Dev => Purpose::Dev,
            PolicyCommand::All => Purpose::All,
        }
    }
}

pub(super) fn run(cx: &CommandContext<'_>, args: PolicyArgs) -> Result<Exit, CommandError> {
    if cx.global.local {
        return Err(not_local());
    }
    let spec = SpecArgs { teams: args.teams.clone(), ..SpecArgs::from(&args.spec) };
    let mut sessions = session::open(cx, &spec, &Options::default(), Depth::Full)?;
    if args.no_lookups {
        sessions.iter_mut().for_each(|session| session.spec.lookups.clear());
    }
    let mut printer = PolicyPrinter { terminal: cx.terminal, args: &args, files: Vec::new(), notes: BTreeSet::new() };
    let mut known: Option<(&AwsTarget, AwsEnv)> = None;
    for session in &sessions {
        // Teams in one place need one answer about the account.
        let env = match &known {
            Some((target, env)) if **target == session.target => env.clone(),
            _ => env(session, args.account.clone())?,
        };
        if args.role {
            printer.roles(session, &env)?;
        } else {
            printer.team(session, &env)?;
        }
        known = Some((&session.target, env));
    }
    if let Some(folder) = &args.output {
        write(cx.terminal, folder, &printer.files)?;
    }
    Ok(Exit::Done)
}

/// Prints policies, or collects them for files.
struct PolicyPrinter<'p> {
    terminal: &'p Terminal,
    args: &'p PolicyArgs,
    files: Vec<PolicyFile>,
    /// The explanations so far, each of which is printed once for all teams.
    notes: BTreeSet<String>,
}

impl PolicyPrinter<'_> {
    /// The policies of a spec's roles.
    fn roles(&mut self, session: &Session<'_>, env: &AwsEnv) -> Result<(), CommandError> {
        let (team, roles) = (&session.spec.team, execution::roles(&session.spec, env));
        if roles.is_empty() {
            return Err(CommandError::one(Diagnostic::error("the spec has no role", "add a `role:` to a function")));
        }
        for (name, policies) in &roles {
            match &policies.permissions {
                RoleDocument::Needed(document) => self.explain(team, document),
                RoleDocument::Granted(_) => self.explain_statements(policies.notes.iter().cloned()),
            }
            if self.args.output.is_none() {
                check_size(&format!("of the role `{name}`"), &policies.permissions)?;
            }
        }
        if self.args.output.is_none() {
            self.terminal.print(&text(&roles));
            return Ok(());
        }
        // Teams can share an imported role.
        let prefix = self.args.teams.as_ref().map(|_| format!("{team}-")).unwrap_or_default();
        self.files.extend(roles.iter().flat_map(|(name, policies)| {
            let trust = PolicyFile { stem: format!("{prefix}{name}-trust"), texts: vec![text(&policies.trust)] };
            let stem = format!("{prefix}{name}-permissions");
            let permissions = match &policies.permissions {
                RoleDocument::Needed(document) => divided(stem, document),
                RoleDocument::Granted(document) => PolicyFile { stem, texts: vec![text(document)] },
            };
            [trust, permissions]
        }));
        Ok(())
    }

    /// The policy for those who deploy a team's spec.
    fn team(&mut self, session: &Session<'_>, env: &AwsEnv) -> Result<(), CommandError> {
        let PolicyArgs { purpose, boundary, no_boundary, allow_imported, output, .. } = self.args;
        names::check_imported(&session.spec, allow_imported, &["table", "queue", "function"])?;
        let decides = matches!(purpose, PolicyCommand::Apply | PolicyCommand::Destroy | PolicyCommand::All);
        let limit = match boundary {
            Some(arn) => RoleLimit::Boundary(arn),
            None if *no_boundary => RoleLimit::Nothing,
            None => RoleLimit::Undecided,
        };
        if decides && limit == RoleLimit::Undecided && session.spec.managed("role").next().is_some() {
            return Err(no_limit());
        }
        let team = &session.spec.team;
        let document = policy::deploying(&session.spec, env, Purpose::from(*purpose), limit, allow_imported);
        // Several files have room for everything.
        let document = if output.is_some() { document } else { document.within_limit() };
        self.explain(team, &document);
        if output.is_some() {
            self.files.push(divided(team.clone(), &document));
            return Ok(());
        }
        let document = RoleDocument::Needed(document);
        check_size(&format!("for the team `{team}`"), &document)?;
        self.terminal.print(&text(&document));
        Ok(())
    }

    /// Explains statements that no ARN restricts.
    fn explain_statements(&mut self, statements: impl Iterator<Item = (Str, &'static str)>) {
        for (sid, why) in statements {
            if self.notes.insert(sid.to_string()) {
                self.terminal.note(&format!("{sid}: {why}"));
            }
        }
    }

    /// Explains the statements that no ARN restricts, and what a prefix matches.
    fn explain(&mut self, team: &str, document: &Document) {
        self.explain_statements(document.statement.iter().filter_map(|it| Some((it.sid.clone(), it.why?))));
        if document.omits_optional && self.notes.insert("omits".to_owned()) {
            self.terminal
                .note("the optional statements are omitted, since the policy would exceed IAM's size limit with them");
        }
        if document.goes_by_prefix(team) && self.notes.insert("prefix".to_owned()) {
            self.terminal.note(&format!(
                "`{team}-*` also matches the resources of a team named `{team}-more`: don't use a team name that extends \
                 another one"
            ));
        }
    }
}

/// The error for a spec that creates roles, without a decision about their limit.
fn no_limit() -> CommandError {
    let problem = "the spec creates roles, so this policy must say what they can get";
    let hint = "pass `--boundary ARN` with a managed policy that limits every role, or `--no-boundary` if those who \
                deploy have every permission anyway";
    let why = "without a limit, a spec can create a role with every permission and run code with it";
    CommandError::one(Diagnostic::error(problem, hint).why(why))
}

/// The error for `--local`.
fn not_local() -> CommandError {
    let problem = "a policy is for an AWS account, but the local AWS doesn't check permissions";
    CommandError::usage(problem, "leave out `--local` (or ENGINE_LOCAL), and add the account: `--account ID`")
}

/// The region and account of the policy. You may have no credentials yet, so AWS is only called for
/// what neither spec nor command line has.
fn env(session: &Session<'_>, account: Option<String>) -> Result<AwsEnv, CommandError> {
    let declared = session.spec.account.as_ref();
    let account = match (account, declared) {
        (Some(named), Some(declared)) if named != *declared => {
            let problem = format!("`--account {named}` differs from the spec's account, `{declared}`");
            return Err(CommandError::usage(problem, "leave out `--account`, or change `account:` in the spec"));
        }
        (named, declared) => named.or_else(|| declared.cloned()),
    };
    let AwsTarget::Account(settings) = &session.target else {
        return Err(not_local());
    };
    let mut found = None;
    on_runtime(async |interrupt| {
        let region =
            aws::region(settings).await.map_err(|error| CommandError::one(error.diagnostic("find the region")))?;
        let account = match account {
            Some(account) => account,
            None => session.reader(Access::ReadOnly, &interrupt).await.map_err(hint_account)?.1,
        };
        found = Some(AwsEnv::new(&region, &account));
        Ok(Exit::Done)
    })?;
    found.ok_or_else(CommandError::interrupted)
}

/// With the account, no credentials are needed.
fn hint_account(failure: CommandError) -> CommandError {
    let hint = "or add `--account ID`, or `account:` in the spec, to need no credentials";
    let diagnostics = failure.diagnostics.into_iter().map(|it| it.hint(hint)).collect();
    CommandError { diagnostics, ..failure }
}

fn check_size(subject: &str, document: &RoleDocument) -> Result<(), CommandError> {
    let most = match document {
        RoleDocument::Needed(_) => MAX_CHARACTERS,
        RoleDocument::Granted(_) => MAX_INLINE_CHARACTERS,
    };
    let n_characters = document.n_characters();
    if n_characters <= most {
        return Ok(());
    }
    let problem = format!("the policy {subject} has {n_characters} characters, but IAM allows at most {most}");
    let hint = "add `--output DIR` to divide it among files that IAM accepts, or print one policy per command \
                (`--for diff`, …)";
    Err(CommandError::one(Diagnostic::error(problem, hint).why("it lists each imported resource, layer and key")))
}

/// A policy as the texts of files, each within IAM's size limit.
fn divided(stem: String, document: &Document) -> PolicyFile {
    PolicyFile { stem, texts: document.parts().iter().map(text).collect() }
}

/// Writes policies, and prints the names of their files.
fn write(terminal: &Terminal, folder: &Path, policies: &[PolicyFile]) -> Result<(), CommandError> {
    let Written { files, outdated } = policy_file::write(folder, policies).map_err(CommandError::one)?;
    for file in &files {
        terminal.print(&format!("{}\n", file.display()));
    }
    if let Some(set) = policies.iter().find(|it| it.texts.len() > 1) {
        let n_files = set.texts.len();
        terminal.note(&format!("`{}` is divided among {n_files} policies: attach all of them", set.stem));
        if n_files > MAX_ATTACHED {
            terminal.note(&format!(
                "IAM allows {MAX_ATTACHED} managed policies on a user or role unless AWS raises the quota"
            ));
        }
    }
    for file in outdated {
        terminal.note(&format!("`{}` is from an earlier run: delete it", file.display()));
    }
    Ok(())
}

fn text(document: &impl serde::Serialize) -> String {
    // This never fails: it contains only strings and lists.
    serde_json::to_string_pretty(document).map_or_else(|_| String::new(), |text| format!("{text}\n"))
}
