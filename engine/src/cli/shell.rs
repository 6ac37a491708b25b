//! `engine completions` and `engine man`: generate completions and man pages from the command line.
//!
//! **Invariant:** no command is run, and what the help hides is hidden here too.

use clap::Command;
use clap::builder::PossibleValuesParser;

use crate::cause::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::nearest;
use crate::kinds;

use super::terminal::{Failure, Terminal};
use super::{Exit, VERSION, help};

/// Prints a completion script.
pub(super) fn completions(terminal: &Terminal, shell: clap_complete::Shell) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    let mut command = completed();
    clap_complete::generate(shell, &mut command, "engine", &mut script);
    let mut script = String::from_utf8_lossy(&script).into_owned();
    if shell == clap_complete::Shell::Fish {
        script += &words_for_fish(&command);
    }
    terminal.print(&script);
    Ok(Exit::Done)
}

/// Fish's script only completes the values of options; these lines complete operands.
fn words_for_fish(command: &Command) -> String {
    let mut lines = String::new();
    for it in command.get_subcommands() {
        let values = it.get_positionals().flat_map(clap::Arg::get_possible_values);
        let values: Vec<String> = values.map(|value| value.get_name().to_owned()).collect();
        if !values.is_empty() {
            let names = it.get_name_and_visible_aliases().join(" ");
            let when = format!("__fish_engine_using_subcommand {names}");
            lines += &format!("complete -c engine -n \"{when}\" -f -a \"{}\"\n", values.join(" "));
        }
    }
    lines
}

/// The command line for completion: without hidden options, which scripts would offer, and with the
/// values of operands for which the parser accepts any word, to give a better error.
fn completed() -> Command {
    let whole = manual();
    let named: Vec<String> = pages(&whole).into_iter().map(|(name, _)| name).collect();
    let all = kinds::all();
    let kinds = all.schemas().map(|schema| schema.kind.to_string()).chain([super::SPEC.to_owned()]);
    let explained: Vec<String> = kinds.chain(Code::ALL.iter().map(|code| code.name().to_owned())).collect();
    let values = |command: Command, arg: &str, values: PossibleValuesParser| {
        command.mut_arg(arg, |arg| arg.value_parser(values))
    };
    help::visible()
        .mut_subcommand("local", |local| {
            let shown = local.get_subcommands().filter(|it| !it.is_hide_set()).cloned();
            let copy = Command::new("local").args(local.get_arguments()).subcommands(shown).subcommand_required(true);
            local.get_about().map_or(copy.clone(), |about| copy.about(about.clone()))
        })
        .mut_subcommand("explain", |it| values(it, "what", explained.into()))
        .mut_subcommand("man", |it| values(it, "command", named.into()))
}

/// Prints the man page of the command `words`, which may also be the name of a page.
pub(super) fn man(terminal: &Terminal, words: &[String]) -> Result<Exit, Failure> {
    let whole = manual();
    let pages = pages(&whole);
    let wanted = words.join("-");
    // Old names are hidden but still work.
    let old = whole.get_subcommands().find(|it| it.get_all_aliases().any(|alias| alias == wanted));
    let wanted = old.map_or(wanted, |it| it.get_name().to_owned());
    let command = match pages.iter().find(|(name, _)| *name == wanted) {
        Some((_, command)) => command,
        None if wanted.is_empty() => &whole,
        None => {
            let meant = nearest(&wanted, pages.iter().map(|(name, _)| name.as_str()));
            let meant = meant.map_or_else(String::new, |near| format!("did you mean `{near}`? "));
            let hint = format!("{meant}`engine --help` lists the commands");
            return Err(Failure::usage(format!("`engine` has no command `{}`", words.join(" ")), hint));
        }
    };
    let mut page = Vec::new();
    let man = clap_mangen::Man::new(command.clone()).source(format!("engine {VERSION}"));
    let rendered = man.render(&mut page);
    rendered.map_err(|error| {
        let hint = "read the command's `--help` instead";
        Failure::one(Diagnostic::error("can't generate the man page", hint).why(error.to_string()))
    })?;
    terminal.print(&String::from_utf8_lossy(&page));
    Ok(Exit::Done)
}

/// The complete command line, without `help`, which has no page.
fn manual() -> Command {
    let mut whole = help::command().disable_help_subcommand(true);
    whole = whole.mut_subcommands(|command| command.disable_help_subcommand(true));
    whole.build();
    whole
}

/// Each visible subcommand under each name of its page: `apply`, `deploy`, `local-stop`.
fn pages(command: &Command) -> Vec<(String, &Command)> {
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
