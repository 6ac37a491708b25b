//! A command line that can't be meant, told as everything else that is wrong is: what, why, what to do.
//!
//! **Invariant:** nothing is printed in the words of the parser, but help that was asked for.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, Error, ErrorKind};
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};

use super::terminal::{Failure, Terminal};
use super::{Cli, Exit, Global};

/// Tells why a command line was not understood, or what it asked for: help, the version.
pub(super) fn tell(error: &Error, args: Vec<OsString>) -> Exit {
    let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if asked || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return match error.print() {
            _ if !asked => Exit::Usage,
            Err(lost) if lost.kind() != std::io::ErrorKind::BrokenPipe => Exit::Failed,
            _ => Exit::Done,
        };
    }
    // As far as it can be understood.
    let matches = Cli::command().ignore_errors(true).try_get_matches_from(args).unwrap_or_default();
    let (command, global) = innermost(&matches);
    super::start_log(&global);
    let failure = failure(error, &command);
    Terminal::new(&global).problems(&failure.diagnostics);
    failure.exit
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

fn failure(error: &Error, command: &str) -> Failure {
    let text = |kind: ContextKind| texts(error, kind).into_iter().next();
    let near = |kind: ContextKind| text(kind).map_or_else(String::new, |near| format!("did you mean `{near}`? "));
    // An option without the name of its value.
    let subject = text(ContextKind::InvalidArg).unwrap_or_default();
    let name = subject.split(' ').next().unwrap_or_default();
    let value = text(ContextKind::InvalidValue).unwrap_or_default();
    let helps = format!("`{command} --help` shows what it takes");
    match error.kind() {
        ErrorKind::UnknownArgument if name.starts_with('-') => {
            let hint = format!("{}{helps}", near(ContextKind::SuggestedArg));
            Failure::usage(format!("`{command}` has no option `{name}`"), hint)
        }
        ErrorKind::UnknownArgument => Failure::usage(format!("`{command}` has no place for `{name}`"), helps),
        ErrorKind::InvalidSubcommand => {
            let name = text(ContextKind::InvalidSubcommand).unwrap_or_default();
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
