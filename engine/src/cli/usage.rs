//! Invalid command lines, reported like every other error: what, why, what to do.
//!
//! **Invariant:** of the parser's own texts, only help is printed.

use std::ffi::OsString;
use std::io::Write as _;

use clap::error::{ContextKind, ContextValue, Error, ErrorKind};
use clap::{ArgMatches, FromArgMatches as _};

use crate::diagnostic::{Diagnostic, nearest};
use crate::sanitize::Screen;

use super::exit::{CommandError, Exit};
use super::terminal::{Terminal, start_log};
use super::{Global, VERSION, help};

/// Commands of other tools, with the equivalent here, or why there is none.
const ELSEWHERE: [(&[&str], &str); 15] = [
    (&["up", "create", "sync"], "`engine apply` shows the plan, asks for confirmation, and applies it"),
    (&["preview", "changes"], "`engine diff` shows what an apply would change"),
    (
        &["remove", "delete", "down", "rm", "undeploy"],
        "`engine destroy` deletes everything that the team's stack owns; to delete one resource, remove it from the spec \
         and run `engine apply`",
    ),
    (
        &["import"],
        "write `import: NAME` in the spec to read a resource without changing it, or `adopt: true` to start managing it; \
         see `engine explain spec`",
    ),
    (&["refresh"], "every command reads AWS itself; `engine diff` shows what differs from the spec"),
    (
        &["state"],
        "engine has no state file and finds resources by their tags: `engine list` shows them, `engine forget NAME` stops \
         managing one",
    ),
    (&["fmt", "format"], "there is no formatter; `engine validate` checks specs"),
    (&["lint"], "`engine validate` checks specs offline"),
    (&["test"], "`engine verify` tests the pipeline end to end; with `--local`, on this machine"),
    (
        &["terraform", "tofu", "pulumi", "cdk", "sam", "serverless"],
        "leave it out: `engine diff`, `engine apply`, `engine destroy`",
    ),
    (&["new"], "`engine init` writes a starter spec"),
    (&["show"], "`engine status` shows what is deployed, `engine diff` whether it matches the spec"),
    (&["rollback"], "apply the earlier spec again with `engine apply`"),
    (&["tail"], "`engine logs --follow` follows the logs of the functions"),
    (&["help-all", "usage"], "`engine --help` shows all commands and options"),
];

/// Options of other tools, with the equivalent here.
const OPTIONS: [(&str, &str); 10] = [
    ("--no-color", "use `--color never`, or set NO_COLOR=1"),
    ("--no-colour", "use `--color never`, or set NO_COLOR=1"),
    ("--auto-approve", "`apply --yes` and `destroy --yes` skip the confirmation prompt"),
    ("--force", "`--yes` skips the confirmation prompt; `--replace NAME` re-creates a resource"),
    ("--dry-run", "`engine diff` shows what an apply would change"),
    ("--debug", "`-v` logs each AWS call, `-vv` more"),
    ("--output", "`--json` prints JSON, `engine diff --out FILE` saves a plan"),
    ("-o", "`--json` prints JSON, `engine diff --out FILE` saves a plan"),
    ("-n", "`engine diff` shows what an apply would change; `engine logs -n 20` shows the last 20 entries"),
    ("-t", "use `--team NAME` or `--target NAME`"),
];

/// Reports why a command line is invalid, or prints the help or version that it requests.
pub(super) fn report(error: &Error, args: Vec<OsString>) -> Exit {
    let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if asked || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return match help(error) {
            _ if !asked => Exit::Usage,
            Err(lost) if lost.kind() != std::io::ErrorKind::BrokenPipe => Exit::Failed,
            _ => Exit::Done,
        };
    }
    if error.kind() == ErrorKind::InvalidSubcommand && texts(error, ContextKind::InvalidSubcommand) == ["version"] {
        Terminal::new(&Global::default()).print(&format!("engine {}\n", VERSION));
        return Exit::Done;
    }
    // As much of the command line as can be parsed.
    let matches = help::command().ignore_errors(true).try_get_matches_from(&args).unwrap_or_default();
    let (command, global) = innermost(&matches);
    start_log(&global);
    let failure = Misuse::new(error, &command, &args).failure();
    Terminal::new(&global).problems(&failure.diagnostics);
    failure.exit
}

/// Prints the parser's help to the stream that it is for.
fn help(error: &Error) -> std::io::Result<()> {
    let mut screen = if error.use_stderr() { Screen::stderr() } else { Screen::stdout() };
    let text = error.render();
    let text = if screen.has_color() { text.ansi().to_string() } else { text.to_string() };
    screen.write_all(text.as_bytes()).and_then(|()| screen.flush())
}

/// The innermost command, and the global options.
fn innermost(matches: &ArgMatches) -> (String, Global) {
    let (mut command, mut at) = ("engine".to_owned(), matches);
    while let Some((name, within)) = at.subcommand() {
        command = format!("{command} {name}");
        at = within;
    }
    (command, Global::from_arg_matches(at).unwrap_or_default())
}

/// A long option with a single dash, which the parser reads as several short ones.
fn one_dash(short: &str, args: &[OsString]) -> Option<(String, String)> {
    let is_meant =
        |arg: &&str| !arg.starts_with("--") && short.len() == 2 && arg.contains(short.trim_start_matches('-'));
    let mut texts = args.iter().filter_map(|arg| arg.to_str()).filter(|arg| arg.starts_with('-')).filter(is_meant);
    texts.find_map(|arg| {
        let name = arg.get(1..)?.split('=').next()?;
        has_long(&help::command(), name).then(|| (format!("-{name}"), format!("--{name}")))
    })
}

fn has_long(command: &clap::Command, name: &str) -> bool {
    command.get_arguments().any(|arg| arg.get_long() == Some(name))
        || command.get_subcommands().any(|command| has_long(command, name))
}

/// An invalid command line, as the parser sees it.
struct Misuse<'e> {
    error: &'e Error,
    /// The innermost command, like `engine local`.
    command: &'e str,
    args: &'e [OsString],
    /// The argument without its value name.
    argument: String,
    /// Where the valid arguments are listed.
    see_help: String,
}

impl<'e> Misuse<'e> {
    fn new(error: &'e Error, command: &'e str, args: &'e [OsString]) -> Misuse<'e> {
        let argument = texts(error, ContextKind::InvalidArg).into_iter().next().unwrap_or_default();
        let argument = argument.split(' ').next().unwrap_or_default().to_owned();
        Misuse {
            error,
            command,
            args,
            argument,
            see_help: format!("`{command} --help` shows its arguments and options"),
        }
    }

    /// The first text of that kind, or none.
    fn text(&self, kind: ContextKind) -> String {
        texts(self.error, kind).into_iter().next().unwrap_or_default()
    }

    /// The parser's suggestion of that kind, or nothing.
    fn suggestion(&self, kind: ContextKind) -> String {
        let near = texts(self.error, kind).into_iter().next();
        near.map_or_else(String::new, |near| format!("did you mean `{near}`? "))
    }

    fn failure(&self) -> CommandError {
        let Misuse { command, argument, .. } = self;
        let value = self.text(ContextKind::InvalidValue);
        match self.error.kind() {
            ErrorKind::UnknownArgument if argument.starts_with('-') => self.unknown_option(),
            ErrorKind::UnknownArgument => {
                CommandError::usage(format!("unexpected argument `{argument}`"), &self.see_help)
            }
            ErrorKind::InvalidSubcommand => self.unknown_command(),
            ErrorKind::InvalidValue if value.is_empty() => {
                CommandError::usage(format!("`{argument}` needs a value"), &self.see_help)
            }
            ErrorKind::InvalidValue => self.invalid_value(&value),
            // The value's parser explains what it accepts.
            ErrorKind::ValueValidation => {
                let hint =
                    std::error::Error::source(self.error).map_or_else(|| self.see_help.clone(), ToString::to_string);
                CommandError::usage(format!("invalid value `{value}` for `{argument}`"), hint)
            }
            ErrorKind::ArgumentConflict => self.conflict(),
            ErrorKind::MissingSubcommand if *command == "engine" => self.missing_command(),
            ErrorKind::MissingRequiredArgument => {
                let missing = texts(self.error, ContextKind::InvalidArg).join(" ");
                CommandError::usage(format!("`{command}` needs `{missing}`"), &self.see_help)
            }
            ErrorKind::InvalidUtf8 => {
                CommandError::usage("an argument is not valid UTF-8", "use UTF-8 for names and paths")
            }
            _ => CommandError::usage(format!("invalid arguments for `{command}`"), &self.see_help),
        }
    }

    fn unknown_option(&self) -> CommandError {
        let Misuse { command, argument, .. } = self;
        if let Some((one, two)) = one_dash(argument, self.args) {
            let hint = format!("did you mean `{two}`? {}", self.see_help);
            return CommandError::usage(format!("`{command}` has no option `{one}`"), hint);
        }
        let hint = match OPTIONS.iter().find(|(option, _)| option == argument) {
            Some((_, equivalent)) => (*equivalent).to_owned(),
            None => format!("{}{}", self.suggestion(ContextKind::SuggestedArg), &self.see_help),
        };
        CommandError::usage(format!("`{command}` has no option `{argument}`"), hint)
    }

    fn unknown_command(&self) -> CommandError {
        let (command, name) = (self.command, self.text(ContextKind::InvalidSubcommand));
        let problem = format!("`{command}` has no command `{name}`");
        let elsewhere = ELSEWHERE.iter().find(|(names, _)| command == "engine" && names.contains(&name.as_str()));
        if let Some((_, equivalent)) = elsewhere {
            return CommandError::usage(problem, *equivalent);
        }
        let known = help::command();
        let known = known.get_subcommands().filter(|it| !it.is_hide_set()).map(clap::Command::get_name);
        let suggestion = match command {
            "engine" => nearest(&name, known).map_or_else(String::new, |near| format!("did you mean `{near}`? ")),
            _ => self.suggestion(ContextKind::SuggestedSubcommand),
        };
        CommandError::usage(problem, format!("{suggestion}`{command} --help` lists the commands"))
    }

    fn invalid_value(&self, value: &str) -> CommandError {
        let choices = texts(self.error, ContextKind::ValidValue);
        let choices = choices.iter().map(|choice| format!("`{choice}`")).collect::<Vec<_>>().join(", ");
        let hint = match self.suggestion(ContextKind::SuggestedValue) {
            near if near.is_empty() => format!("use one of {choices}"),
            near => format!("{near}Use one of {choices}"),
        };
        CommandError::usage(format!("invalid value `{value}` for `{}`", self.argument), hint)
    }

    fn conflict(&self) -> CommandError {
        let argument = &self.argument;
        let other = self.text(ContextKind::PriorArg);
        match other.split(' ').next().unwrap_or_default() {
            "" => CommandError::usage(format!("`{argument}` conflicts with the other arguments"), &self.see_help),
            other if other == argument => {
                CommandError::usage(format!("`{argument}` is used twice"), "leave one of them out")
            }
            other => {
                let problem = format!("`{argument}` and `{other}` can't be used together");
                CommandError::usage(problem, "leave one of them out")
            }
        }
    }

    fn missing_command(&self) -> CommandError {
        let hint = match self.args.iter().any(|arg| arg == "--local") {
            true => "`engine apply --local` deploys the spec to a local AWS on this machine",
            false => "`engine diff` shows what an apply would change",
        };
        let diagnostic = Diagnostic::error("no command was given", hint).hint("`engine -h` lists the commands");
        CommandError { exit: Exit::Usage, diagnostics: vec![diagnostic] }
    }
}

/// The parser's context of that kind.
fn texts(error: &Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        _ => Vec::new(),
    }
}
