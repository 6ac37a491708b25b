//! `engine completions` and `engine man`: the command line itself, as shells and `man` read it.
//!
//! **Invariant:** commands are data here; none is run, and what is hidden from the help is hidden from both.

use clap::Command;
use clap::builder::PossibleValuesParser;

use crate::cause::Code;
use crate::diagnostic::Diagnostic;
use crate::kinds::registry;
use crate::spec::nearest;

use super::terminal::{Failure, Terminal};
use super::{Exit, VERSION, help};

/// Prints what makes a shell complete command lines.
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

/// Fish's script knows the values of options alone; these lines know the words that follow a command.
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

/// The command line as it is completed: without what is hidden, which scripts offer otherwise, and with values where the
/// parser takes any word in order to say more about a wrong one.
fn completed() -> Command {
    let whole = manual();
    let named: Vec<String> = pages(&whole).into_iter().map(|(name, _)| name).collect();
    let kinds = registry().values().map(|kind| kind.schema().kind).chain([super::SPEC]);
    let explained: Vec<&str> = kinds.chain(Code::ALL.iter().map(|code| code.name())).collect();
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

/// Prints a manual page: of `words`, as they are typed or as their page is called.
pub(super) fn man(terminal: &Terminal, words: &[String]) -> Result<Exit, Failure> {
    let whole = manual();
    let pages = pages(&whole);
    let wanted = words.join("-");
    // Under its old name, which is hidden, each is still found.
    let old = whole.get_subcommands().find(|it| it.get_all_aliases().any(|alias| alias == wanted));
    let wanted = old.map_or(wanted, |it| it.get_name().to_owned());
    let command = match pages.iter().find(|(name, _)| *name == wanted) {
        Some((_, command)) => command,
        None if wanted.is_empty() => &whole,
        None => {
            let meant = nearest(&wanted, pages.iter().map(|(name, _)| name.as_str()));
            let meant = meant.map_or_else(String::new, |near| format!("did you mean `{near}`? "));
            let hint = format!("{meant}`engine --help` lists them");
            return Err(Failure::usage(format!("there is no command `{}`", words.join(" ")), hint));
        }
    };
    let mut page = Vec::new();
    let man = clap_mangen::Man::new(command.clone()).source(format!("engine {VERSION}"));
    let rendered = man.render(&mut page);
    rendered.map_err(|error| {
        let diagnostic = Diagnostic::error("the page can't be made").why(error.to_string());
        Failure::one(diagnostic.hint("`--help` behind the command says the same"))
    })?;
    terminal.print(&String::from_utf8_lossy(&page));
    Ok(Exit::Done)
}

/// The command line with every name filled in, and without `help`, which has no page.
fn manual() -> Command {
    let mut whole = help::command().disable_help_subcommand(true);
    whole = whole.mut_subcommands(|command| command.disable_help_subcommand(true));
    whole.build();
    whole
}

/// Each command below `command` that is shown, under each name that its page is asked for: `apply`, `deploy`,
/// `local-stop`.
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
