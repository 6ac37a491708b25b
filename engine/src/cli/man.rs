//! `engine man`: generates man pages from the command line.
//!
//! **Invariant:** what the help hides is hidden here too.

use clap::{Args, Command};

use crate::diagnostic::{Diagnostic, nearest};

use super::exit::{CommandError, Exit};
use super::{CommandContext, VERSION, help};

/// Print the man page for engine or a command
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  engine man > engine.1                then: man ./engine.1
  engine man apply > engine-apply.1    the page for one command
  engine man local stop                the same as: engine man local-stop")]
pub(super) struct ManArgs {
    /// A command, or a command and its subcommand
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
}

/// Prints the man page of a command, which may also be the name of a page.
pub(super) fn run(cx: &CommandContext<'_>, args: ManArgs) -> Result<Exit, CommandError> {
    let words = &args.command;
    let whole = manual();
    let pages = pages(&whole);
    let page_name = words.join("-");
    // Old names are hidden but still work.
    let old = whole.get_subcommands().find(|it| it.get_all_aliases().any(|alias| alias == page_name));
    let page_name = old.map_or(page_name, |it| it.get_name().to_owned());
    let command = match pages.iter().find(|(name, _)| *name == page_name) {
        Some((_, command)) => command,
        None if page_name.is_empty() => &whole,
        None => {
            let suggestion = nearest(&page_name, pages.iter().map(|(name, _)| name.as_str()));
            let suggestion = suggestion.map_or_else(String::new, |near| format!("did you mean `{near}`? "));
            let hint = format!("{suggestion}`engine --help` lists the commands");
            return Err(CommandError::usage(format!("`engine` has no command `{}`", words.join(" ")), hint));
        }
    };
    let mut page = Vec::new();
    let man = clap_mangen::Man::new(command.clone()).source(format!("engine {VERSION}"));
    let rendered = man.render(&mut page);
    rendered.map_err(|error| {
        let hint = "read the command's `--help` instead";
        CommandError::one(Diagnostic::error("can't generate the man page", hint).why(error.to_string()))
    })?;
    cx.terminal.print(&String::from_utf8_lossy(&page));
    Ok(Exit::Done)
}

/// The complete command line, without `help`, which has no page.
pub(super) fn manual() -> Command {
    let mut whole = help::command().disable_help_subcommand(true);
    whole = whole.mut_subcommands(|command| command.disable_help_subcommand(true));
    whole.build();
    whole
}

/// Each visible subcommand under each name of its page: `apply`, `deploy`, `local-stop`.
pub(super) fn pages(command: &Command) -> Vec<(String, &Command)> {
    let mut found = Vec::new();
    for it in command.get_subcommands().filter(|it| !it.is_hide_set()) {
        let names = || it.get_name_and_visible_aliases().into_iter();
        found.extend(names().map(|name| (name.to_owned(), it)));
        for (below, page) in pages(it) {
            found.extend(names().map(|name| (format!("{name}-{below}"), page)));
        }
    }
    found
}
