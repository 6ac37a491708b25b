//! A command line that can't be meant, told as everything else that is wrong is: what, why, what to do.
//!
//! **Invariant:** nothing is printed in the words of the parser, but help that was asked for.

use std::ffi::OsString;
use std::io::Write as _;

use clap::error::{ContextKind, ContextValue, Error, ErrorKind};
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};

use crate::sanitize::Screen;

use super::terminal::{Failure, Terminal};
use super::{Cli, Exit, Global};

/// What other tools call their commands, and what does that here, or why nothing does.
const ELSEWHERE: [(&[&str], &str); 15] = [
    (&["version"], "`engine --version` prints it"),
    (&["up", "create", "sync"], "`engine apply` shows the plan, asks, and carries it out"),
    (&["preview", "changes"], "`engine diff` shows what an apply would do"),
    (
        &["remove", "delete", "down", "rm", "undeploy"],
        "`engine destroy` deletes what the team and stack own; what leaves the spec goes with the next `engine apply`",
    ),
    (
        &["import"],
        "there is no such step: a resource with `import: NAME` in the spec is read and never changed, one with \
         `adopt: true` takes over what nobody owns; `engine explain spec` says more",
    ),
    (
        &["refresh"],
        "there is nothing to refresh: every command reads AWS itself, and `engine diff` shows what is different there",
    ),
    (
        &["state"],
        "there is no state file: tags in AWS say whose things are; `engine list` shows them, `engine release NAME` takes \
         them off",
    ),
    (&["fmt", "format"], "specs are not formatted; `engine validate` says what is wrong with one"),
    (&["lint"], "`engine validate` says everything that is wrong with a spec"),
    (&["test"], "`engine verify` proves that the pipeline works; with `--local` it does so on this machine"),
    (
        &["terraform", "tofu", "pulumi", "cdk", "sam", "serverless"],
        "the engine works on its own: `engine diff`, `engine apply`, `engine destroy`",
    ),
    (&["new"], "`engine init` writes a first spec"),
    (&["status", "show"], "`engine list` shows what is there, `engine diff` whether it is as the spec says"),
    (&["rollback"], "apply the earlier spec again: `engine apply` makes true whatever the spec says"),
    (&["tail"], "`engine logs --follow` shows what the functions log, as it comes"),
];

/// Options of other tools, and what does the same here.
const OPTIONS: [(&str, &str); 5] = [
    ("--no-color", "`--color never` does that, and so does NO_COLOR"),
    ("--no-colour", "`--color never` does that, and so does NO_COLOR"),
    ("--auto-approve", "`--yes` does that"),
    ("--dry-run", "`engine diff` shows what an apply would do"),
    ("--debug", "`-v` logs every call to AWS, `-vv` more"),
];

/// Tells why a command line was not understood, or what it asked for: help, the version.
pub(super) fn tell(error: &Error, args: Vec<OsString>) -> Exit {
    let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if asked || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return match help(error) {
            _ if !asked => Exit::Usage,
            Err(lost) if lost.kind() != std::io::ErrorKind::BrokenPipe => Exit::Failed,
            _ => Exit::Done,
        };
    }
    // As far as it can be understood.
    let matches = Cli::command().ignore_errors(true).try_get_matches_from(&args).unwrap_or_default();
    let (command, global) = innermost(&matches);
    super::start_log(&global);
    let failure = failure(error, &command, &args);
    Terminal::new(&global).problems(&failure.diagnostics);
    failure.exit
}

/// Prints what the parser has to show where it belongs.
fn help(error: &Error) -> std::io::Result<()> {
    let mut screen = if error.use_stderr() { Screen::stderr() } else { Screen::stdout() };
    let text = error.render();
    let text = if screen.has_color() { text.ansi().to_string() } else { text.to_string() };
    screen.write_all(text.as_bytes()).and_then(|()| screen.flush())
}

/// The command that was given, and what holds for all of them.
fn innermost(matches: &ArgMatches) -> (String, Global) {
    let (mut command, mut at) = ("engine".to_owned(), matches);
    while let Some((name, within)) = at.subcommand() {
        command = format!("{command} {name}");
        at = within;
    }
    (command, Global::from_arg_matches(at).unwrap_or_default())
}

/// A long option that is written with one dash, which the parser reads as several short ones.
fn one_dash(short: &str, args: &[OsString]) -> Option<(String, String)> {
    let is_meant =
        |arg: &&str| !arg.starts_with("--") && short.len() == 2 && arg.contains(short.trim_start_matches('-'));
    let mut texts = args.iter().filter_map(|arg| arg.to_str()).filter(|arg| arg.starts_with('-')).filter(is_meant);
    texts.find_map(|arg| {
        let name = arg.get(1..)?.split('=').next()?;
        has_long(&Cli::command(), name).then(|| (format!("-{name}"), format!("--{name}")))
    })
}

fn has_long(command: &clap::Command, name: &str) -> bool {
    command.get_arguments().any(|arg| arg.get_long() == Some(name))
        || command.get_subcommands().any(|command| has_long(command, name))
}

fn failure(error: &Error, command: &str, args: &[OsString]) -> Failure {
    let text = |kind: ContextKind| texts(error, kind).into_iter().next();
    let near = |kind: ContextKind| text(kind).map_or_else(String::new, |near| format!("did you mean `{near}`? "));
    // An option without the name of its value.
    let subject = text(ContextKind::InvalidArg).unwrap_or_default();
    let name = subject.split(' ').next().unwrap_or_default();
    let value = text(ContextKind::InvalidValue).unwrap_or_default();
    let helps = format!("`{command} --help` shows what it takes");
    match error.kind() {
        ErrorKind::UnknownArgument if name.starts_with('-') => {
            if let Some((one, two)) = one_dash(name, args) {
                let hint = format!("did you mean `{two}`? {helps}");
                return Failure::usage(format!("`{command}` has no option `{one}`"), hint);
            }
            if let Some((_, here)) = OPTIONS.iter().find(|(option, _)| *option == name) {
                return Failure::usage(format!("`{command}` has no option `{name}`"), *here);
            }
            let hint = format!("{}{helps}", near(ContextKind::SuggestedArg));
            Failure::usage(format!("`{command}` has no option `{name}`"), hint)
        }
        ErrorKind::UnknownArgument => Failure::usage(format!("`{command}` has no place for `{name}`"), helps),
        ErrorKind::InvalidSubcommand => {
            let name = text(ContextKind::InvalidSubcommand).unwrap_or_default();
            let there = ELSEWHERE.iter().find(|(words, _)| command == "engine" && words.contains(&name.as_str()));
            if let Some((_, here)) = there {
                return Failure::usage(format!("`{command}` has no command `{name}`"), *here);
            }
            let known = Cli::command();
            let known = known.get_subcommands().filter(|it| !it.is_hide_set()).map(clap::Command::get_name);
            let meant = match command {
                "engine" => crate::spec::nearest(&name, known).map(|near| format!("did you mean `{near}`? ")),
                _ => Some(near(ContextKind::SuggestedSubcommand)),
            };
            let hint = format!("{}`{command} --help` lists what there is", meant.unwrap_or_default());
            Failure::usage(format!("`{command}` has no command `{name}`"), hint)
        }
        ErrorKind::InvalidValue if value.is_empty() => Failure::usage(format!("`{name}` needs a value"), helps),
        ErrorKind::InvalidValue => {
            let words = texts(error, ContextKind::ValidValue);
            let words = words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
            let hint = match near(ContextKind::SuggestedValue) {
                near if near.is_empty() => format!("it is one of {words}"),
                near => format!("{near}It is one of {words}"),
            };
            Failure::usage(format!("`{name}` can't be `{value}`"), hint)
        }
        // What the value takes says the reader of it.
        ErrorKind::ValueValidation => {
            let hint = std::error::Error::source(error).map_or(helps, ToString::to_string);
            Failure::usage(format!("`{name}` can't be `{value}`"), hint)
        }
        ErrorKind::ArgumentConflict => {
            let other = text(ContextKind::PriorArg).unwrap_or_default();
            let other = other.split(' ').next().unwrap_or_default();
            match other {
                "" => Failure::usage(format!("`{name}` does not go with the rest of the command line"), helps),
                other if other == name => Failure::usage(format!("`{name}` is given twice"), "leave one of them out"),
                other => Failure::usage(format!("`{name}` and `{other}` exclude each other"), "leave one of them out"),
            }
        }
        ErrorKind::MissingRequiredArgument => {
            let missing = texts(error, ContextKind::InvalidArg).join(" ");
            Failure::usage(format!("`{command}` needs `{missing}`"), helps)
        }
        ErrorKind::InvalidUtf8 => Failure::usage("an argument is not text", "write names and paths in UTF-8"),
        _ => Failure::usage(format!("`{command}` can't be called like this"), helps),
    }
}

/// What the parser knows of that kind.
fn texts(error: &Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        _ => Vec::new(),
    }
}

/// Reads a whole number.
pub(super) fn whole<T: TryFrom<u64>>(text: &str, least: u64, most: u64) -> Result<T, String> {
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    number
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| format!("it takes a whole number, {least} to {most}"))
}

/// Reads how long something lasts.
pub(super) fn duration(text: &str) -> Result<std::time::Duration, String> {
    humantime::parse_duration(text).map_err(|_| "it takes a number and its unit, like `10m`, `2h` or `1day`".to_owned())
}
