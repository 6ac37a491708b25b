//! `engine completions`: generates completion scripts from the command line.
//!
//! **Invariant:** what the help hides is hidden here too.

use clap::builder::PossibleValuesParser;
use clap::{Args, Command};

use crate::cause::Code;
use crate::kind::Kinds;

use super::exit::{CommandError, Exit};
use super::{CommandContext, explain, help, man};

/// Generate shell completions
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  engine completions bash > engine.bash          then: source engine.bash
  engine completions zsh > _engine               then: move it to a folder in $fpath
  engine completions fish > engine.fish          then: move it to ~/.config/fish/completions
  engine completions powershell > engine.ps1     then: . ./engine.ps1")]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: clap_complete::Shell,
}

pub(super) fn run(cx: &CommandContext<'_>, CompletionsArgs { shell }: CompletionsArgs) -> Result<Exit, CommandError> {
    let mut script = Vec::new();
    let mut command = completed(&cx.kinds);
    clap_complete::generate(shell, &mut command, "engine", &mut script);
    let mut script = String::from_utf8_lossy(&script).into_owned();
    if shell == clap_complete::Shell::Fish {
        script += &operands_for_fish(&command);
    }
    cx.terminal.print(&script);
    Ok(Exit::Done)
}

/// Fish's script only completes the values of options; these lines complete operands.
fn operands_for_fish(command: &Command) -> String {
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
fn completed(kinds: &Kinds) -> Command {
    let manual = man::manual();
    let pages: Vec<String> = man::pages(&manual).into_iter().map(|(name, _)| name).collect();
    let kinds = kinds.schemas().map(|schema| schema.kind.to_string()).chain([explain::SPEC.to_owned()]);
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
        .mut_subcommand("man", |it| values(it, "command", pages.into()))
}
