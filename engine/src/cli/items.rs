//! `engine items`: lists, puts and deletes single items of the spec's tables.
//!
//! **Invariant:** on AWS, nothing is written before the user confirms it.

use clap::{Args, Subcommand};
use tokio::sync::watch;

use crate::aws::wait::Detail;
use crate::aws::{Access, AwsError, Code, Context};
use crate::diagnostic::{Diagnostic, listed, nearest};
use crate::items::{self, Item, ItemTable, JsonForm};
use crate::live;
use crate::operation::Effect;
use crate::plan::Options;
use crate::remedy::Advice;
use crate::schema::AwsEnv;
use crate::spec::{Depth, ResourceDecl, Spec};
use crate::value::Path;

use super::CommandContext;
use super::args::{NamedSpecArgs, SpecArgs, WhenStopped};
use super::exit::{CommandError, Exit};
use super::interrupt::on_runtime;
use super::json_input::JsonInput;
use super::names;
use super::session::{self, AwsTarget, Session};
use super::terminal::{Confirmation, Terminal, ask, report_waits_once, with_wait_notice};

/// How many items `list` shows.
const DEFAULT_LIMIT: usize = 25;
/// DynamoDB takes items of 400 KB; as JSON, they are longer
/// (docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html).
const MAX_JSON: usize = 4 << 20;

/// List, put or delete items of a table
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  engine items put todos '{\"id\": \"7\", \"text\": \"buy milk\"}' --local
                                         the first event of a pipeline
  engine items list todos --local        what the table has
  engine items delete todos '{\"id\": \"7\"}' --local")]
pub(super) struct ItemsArgs {
    #[command(subcommand)]
    command: ItemsCommand,
}

#[derive(Debug, Subcommand)]
enum ItemsCommand {
    /// Print up to 25 items, one per line
    #[command(after_help = "\
Examples:
  engine items list todos --local              plain JSON
  engine items list todos --dynamodb-json --local
                                               with DynamoDB's types")]
    List {
        #[command(flatten)]
        table: TableArgs,
    },
    /// Put an item into a table, replacing the one with the same key
    #[command(after_help = "\
Examples:
  engine items put todos '{\"id\": \"7\", \"text\": \"buy milk\"}' --local
  engine items put todos '{\"id\": \"8\"}' --yes
                                               on AWS, without a prompt")]
    Put {
        #[command(flatten)]
        table: TableArgs,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Delete the item with this key
    #[command(after_help = "\
Examples:
  engine items delete todos '{\"id\": \"7\"}' --local
  engine items delete todos '{\"id\": \"7\"}' --yes
                                               on AWS, without a prompt")]
    Delete {
        #[command(flatten)]
        table: TableArgs,
        #[command(flatten)]
        write: WriteArgs,
    },
}

#[derive(Debug, Args)]
struct TableArgs {
    /// The table's name in the spec
    #[arg(value_name = "TABLE")]
    table: String,
    /// Use DynamoDB's JSON, which has a type for each value: {"id": {"S": "7"}}
    #[arg(long)]
    dynamodb_json: bool,
    #[command(flatten)]
    spec: NamedSpecArgs,
}

#[derive(Debug, Args)]
struct WriteArgs {
    /// The item as JSON (for `delete`, only its key is used), or `-` to read it from stdin
    #[arg(value_name = "JSON")]
    json: String,
    /// Skip the confirmation prompt on AWS
    #[arg(short, long)]
    yes: bool,
}

/// A write to one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Write {
    Put,
    Delete,
}

impl Write {
    /// The verb with its preposition.
    fn verb(self) -> &'static str {
        match self {
            Write::Put => "put into",
            Write::Delete => "delete from",
        }
    }
}

pub(super) fn run(cx: &CommandContext<'_>, args: ItemsArgs) -> Result<Exit, CommandError> {
    let (table, write) = match &args.command {
        ItemsCommand::List { table } => (table, None),
        ItemsCommand::Put { table, write } => (table, Some((Write::Put, write))),
        ItemsCommand::Delete { table, write } => (table, Some((Write::Delete, write))),
    };
    let name = Some(table.table.as_str());
    names::reject_spec_path(name, |path| format!("engine items list TABLE --spec {path}"))?;
    let json = write.map(|(_, write)| JsonInput::argument(&write.json, MAX_JSON)).transpose()?;
    let spec = SpecArgs { when_stopped: WhenStopped::Fail, ..SpecArgs::from(&table.spec) };
    let form = if table.dynamodb_json { JsonForm::Typed } else { JsonForm::Plain };
    let item = |spec: &Spec, name: &str| -> Result<Option<Item>, CommandError> {
        let declared = declared(spec, name)?;
        let Some(((write, _), json)) = write.zip(json.as_ref()) else { return Ok(None) };
        item(declared, write, json, form).map(Some)
    };
    let check = names::check_name(name, |spec, name| item(spec, name).map(drop));
    let sessions = session::open_checked(cx, &spec, &Options::default(), Depth::Identities, check)?;
    let Some(session) = sessions.into_iter().next() else { return Ok(Exit::Done) };
    let declared = declared(&session.spec, &table.table)?;
    let item = item(&session.spec, &table.table)?;
    let target = ItemsTarget { session: &session, declared, table: ItemTable::declared(declared), form };
    on_runtime(async |interrupt| match (write, item) {
        (Some((write, args)), Some(item)) => target.write(write, &item, args.yes, interrupt).await,
        _ => target.list(interrupt).await,
    })
}

/// The spec's own table with this name.
fn declared<'s>(spec: &'s Spec, name: &str) -> Result<&'s ResourceDecl, CommandError> {
    let tables = || spec.managed("table").map(|table| table.name.as_str());
    let known = listed(tables(), 10);
    let hint = if known.is_empty() { "declare a `type: table`".to_owned() } else { format!("the tables are {known}") };
    let problem = match spec.resource(name) {
        Some(table) if table.schema().kind == "table" && !table.imported => return Ok(table),
        Some(table) if table.schema().kind == "table" => {
            let problem = format!("`{name}` is imported, and engine neither reads nor writes items of imported tables");
            let diagnostic = Diagnostic::error(problem, "ask the table's owner to change an item");
            return Err(CommandError::one(at(spec, name, diagnostic)));
        }
        Some(other) => format!("`{name}` is a {}, and only tables have items", other.schema().kind),
        None => format!("the spec has no resource `{name}`"),
    };
    let near = nearest(name, tables()).map_or_else(String::new, |near| format!("did you mean `{near}`? "));
    Err(CommandError::one(Diagnostic::error(problem, format!("{near}{hint}"))))
}

fn at(spec: &Spec, resource: &str, diagnostic: Diagnostic) -> Diagnostic {
    match spec.location(resource, &Path::default()) {
        Some(location) => diagnostic.at(location),
        None => diagnostic,
    }
}

/// The item to write, or only its key to delete it.
fn item(declared: &ResourceDecl, write: Write, json: &JsonInput, form: JsonForm) -> Result<Item, CommandError> {
    let table = ItemTable::declared(declared);
    let hint = format!("write an item like this: {}", table.example());
    let item = Item::read(json.json(), form, &table).map_err(|wrong| json.wrong(wrong, &hint))?;
    let item = if write == Write::Delete { item.key(&table) } else { item };
    table.check(&item).map_err(|diagnostics| CommandError { exit: Exit::Failed, diagnostics })?;
    Ok(item)
}

/// The table of one command.
struct ItemsTarget<'s> {
    session: &'s Session<'s>,
    declared: &'s ResourceDecl,
    table: ItemTable,
    form: JsonForm,
}

impl ItemsTarget<'_> {
    async fn list(&self, interrupt: watch::Receiver<bool>) -> Result<Exit, CommandError> {
        let terminal = self.session.terminal;
        let (cx, env) = self.reader(Access::ReadOnly, &interrupt).await?;
        let list = with_wait_notice(terminal.quiet, || cx.waits(), items::list(&cx, &self.table, DEFAULT_LIMIT)).await;
        let (items, has_more) = list.map_err(|error| self.failed("list", error, &env))?;
        terminal
            .print(&items.iter().map(|item| format!("{}\n", item.json(&self.table, self.form))).collect::<String>());
        if items.is_empty() {
            terminal.note(&format!("`{}` has no items", self.table.resource));
        } else if has_more {
            terminal.note(&format!("the first {DEFAULT_LIMIT} items; `{}` has more", self.table.resource));
        }
        Ok(Exit::Done)
    }

    async fn write(
        &self,
        write: Write,
        item: &Item,
        yes: bool,
        interrupt: watch::Receiver<bool>,
    ) -> Result<Exit, CommandError> {
        let ItemsTarget { session, declared, table, form } = self;
        let terminal = session.terminal;
        let access = Access::Single {
            team: session.spec.team.clone(),
            owns: session.spec.owns.clone(),
            effect: Effect::Item,
            kind: "table",
            name: table.name.clone(),
            allow_imported: false,
        };
        let (cx, env) = self.reader(access, &interrupt).await?;
        // Only its owner matters.
        let reader = cx.with_detail(Detail::ForDelete);
        let live = with_wait_notice(terminal.quiet, || cx.waits(), live::read_again(&reader, declared)).await;
        let Some(live) = live.map_err(|error| self.failed(write.verb(), error, &env))? else {
            return Err(self.missing(&env));
        };
        items::check_owner(&session.spec, declared, &live)
            .map_err(|diagnostic| CommandError::one(at(&session.spec, &declared.name, diagnostic)))?;
        let json = item.json(table, *form);
        if !yes
            && matches!(session.target, AwsTarget::Account(_))
            && let Some(exit) = self.confirm(&cx, &env, write, &json).await?
        {
            return Ok(exit);
        }
        let outcome = async {
            match write {
                Write::Put => items::put(&cx, table, item).await.map(|replaced| match replaced {
                    true => format!("replaced in {}", table.name),
                    false => format!("created in {}", table.name),
                }),
                Write::Delete => items::delete(&cx, table, item).await.map(|existed| match existed {
                    true => format!("deleted from {}", table.name),
                    false => format!("not found in {}: nothing was deleted", table.name),
                }),
            }
        };
        let outcome = with_wait_notice(terminal.quiet, || cx.waits(), outcome).await;
        let outcome = outcome.map_err(|error| self.failed(write.verb(), error, &env))?;
        terminal.show(&format!("{json}: {outcome}\n"));
        Ok(Exit::Done)
    }

    async fn reader(
        &self,
        access: Access,
        interrupt: &watch::Receiver<bool>,
    ) -> Result<(Context, AwsEnv), CommandError> {
        let (cx, account) = self.session.reader(access, interrupt).await?;
        let cx = cx.reporting(report_waits_once(self.session.terminal.quiet));
        let wrong_account = |error: AwsError| CommandError::one(error.diagnostic("use the account"));
        live::in_account(&self.session.spec, &account).map_err(wrong_account)?;
        let env = AwsEnv::new(&cx.aws.region, &account);
        Ok((cx, env))
    }

    /// Asks whether to write on AWS; returns how the command ends if not.
    async fn confirm(
        &self,
        cx: &Context,
        env: &AwsEnv,
        write: Write,
        json: &str,
    ) -> Result<Option<Exit>, CommandError> {
        let ItemsTarget { session: Session { terminal, spec, .. }, declared, table, .. } = self;
        if !Terminal::can_prompt() {
            let problem = "this write needs confirmation, but there is no terminal (or CI is set)";
            let hint = "pass `--yes` to write without a prompt, or `--local` to write to the local AWS";
            return Err(CommandError::one(Diagnostic::error(problem, hint).why("nothing was changed")));
        }
        let AwsEnv { account, region, .. } = env;
        terminal.note(&format!("{} the table {}, account {account}, {region}:", write.verb(), table.name));
        terminal.note(&format!("  {json}"));
        let readers = names::functions_behind(spec, declared);
        if !readers.is_empty() {
            terminal.note(&format!("The table's stream sends the change to {}.", listed(readers, 10)));
        }
        Ok(match ask(terminal, cx, "Do you want to write this?").await {
            Confirmation::Yes => None,
            Confirmation::No => {
                terminal.note("Nothing was written.");
                Some(Exit::Failed)
            }
            Confirmation::Interrupted => Some(Exit::Interrupted),
        })
    }

    fn failed(&self, doing: &str, error: AwsError, env: &AwsEnv) -> CommandError {
        match error.cause {
            Code::Interrupted => CommandError::interrupted(),
            Code::NotFound => self.missing(env),
            _ => CommandError::one(error.diagnostic(&format!("{doing} `{}`", self.table.resource))),
        }
    }

    fn missing(&self, env: &AwsEnv) -> CommandError {
        let ItemsTarget { session, declared, .. } = self;
        let scope = names::search_scope(&session.target, env);
        let problem = format!("`{}` has no items: the table doesn't exist {}", declared.name, scope.location());
        let diagnostic = at(&session.spec, &declared.name, Diagnostic::error(problem, scope.elsewhere()));
        CommandError::one(diagnostic.hint(Advice::from("otherwise run ").then(scope.apply()).then(" first")))
    }
}
