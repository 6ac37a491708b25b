//! Invalid command lines, reported like every other error: what, why, what to do.
//!
//! **Invariant:** of the parser's own texts, only help is printed.

use std::ffi::OsString;
use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::error::{ContextKind, ContextValue, Error, ErrorKind};
use clap::{ArgMatches, FromArgMatches as _};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::sanitize::Screen;

use super::terminal::{Failure, Terminal};
use super::{Exit, Global, help};

/// Commands of other tools, with the equivalent here, or why there is none.
const ELSEWHERE: [(&[&str], &str); 15] = [
    (&["up", "create", "sync"], "`engine apply` shows the plan, asks, and applies it"),
    (&["preview", "changes"], "`engine diff` shows what an apply would change"),
    (
        &["remove", "delete", "down", "rm", "undeploy"],
        "`engine destroy` deletes everything that the team and stack own; to delete one resource, remove it from the spec \
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
        "there is no state file, resources are found by their tags: `engine list` shows them, `engine forget NAME` stops \
         managing one",
    ),
    (&["fmt", "format"], "there is no formatter; `engine validate` checks specs"),
    (&["lint"], "`engine validate` checks specs offline"),
    (&["test"], "`engine verify` tests the pipeline end to end; with `--local`, on this machine"),
    (
        &["terraform", "tofu", "pulumi", "cdk", "sam", "serverless"],
        "leave it out: `engine diff`, `engine apply`, `engine destroy`",
    ),
    (&["new"], "`engine init` writes a first spec"),
    (&["status", "show"], "`engine list` shows what exists, `engine diff` whether it matches the spec"),
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
pub(super) fn tell(error: &Error, args: Vec<OsString>) -> Exit {
    let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if asked || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return match help(error) {
            _ if !asked => Exit::Usage,
            Err(lost) if lost.kind() != std::io::ErrorKind::BrokenPipe => Exit::Failed,
            _ => Exit::Done,
        };
    }
    if error.kind() == ErrorKind::InvalidSubcommand && texts(error, ContextKind::InvalidSubcommand) == ["version"] {
        Terminal::new(&Global::default()).print(&format!("engine {}\n", super::VERSION));
        return Exit::Done;
    }
    // As much of the command line as can be parsed.
    let matches = help::command().ignore_errors(true).try_get_matches_from(&args).unwrap_or_default();
    let (command, global) = innermost(&matches);
    super::start_log(&global);
    let failure = failure(error, &command, &args);
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

fn failure(error: &Error, command: &str, args: &[OsString]) -> Failure {
    let text = |kind: ContextKind| texts(error, kind).into_iter().next();
    let near = |kind: ContextKind| text(kind).map_or_else(String::new, |near| format!("did you mean `{near}`? "));
    // The option without its value name.
    let subject = text(ContextKind::InvalidArg).unwrap_or_default();
    let name = subject.split(' ').next().unwrap_or_default();
    let value = text(ContextKind::InvalidValue).unwrap_or_default();
    let helps = format!("`{command} --help` shows its arguments and options");
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
        ErrorKind::UnknownArgument => Failure::usage(format!("unexpected argument `{name}`"), helps),
        ErrorKind::InvalidSubcommand => {
            let name = text(ContextKind::InvalidSubcommand).unwrap_or_default();
            let there = ELSEWHERE.iter().find(|(words, _)| command == "engine" && words.contains(&name.as_str()));
            if let Some((_, here)) = there {
                return Failure::usage(format!("`{command}` has no command `{name}`"), *here);
            }
            let known = help::command();
            let known = known.get_subcommands().filter(|it| !it.is_hide_set()).map(clap::Command::get_name);
            let meant = match command {
                "engine" => crate::diagnostic::nearest(&name, known).map(|near| format!("did you mean `{near}`? ")),
                _ => Some(near(ContextKind::SuggestedSubcommand)),
            };
            let hint = format!("{}`{command} --help` lists the commands", meant.unwrap_or_default());
            Failure::usage(format!("`{command}` has no command `{name}`"), hint)
        }
        ErrorKind::InvalidValue if value.is_empty() => Failure::usage(format!("`{name}` needs a value"), helps),
        ErrorKind::InvalidValue => {
            let words = texts(error, ContextKind::ValidValue);
            let words = words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
            let hint = match near(ContextKind::SuggestedValue) {
                near if near.is_empty() => format!("use one of {words}"),
                near => format!("{near}Use one of {words}"),
            };
            Failure::usage(format!("invalid value `{value}` for `{name}`"), hint)
        }
        // The value's parser explains what it accepts.
        ErrorKind::ValueValidation => {
            let hint = std::error::Error::source(error).map_or(helps, ToString::to_string);
            Failure::usage(format!("invalid value `{value}` for `{name}`"), hint)
        }
        ErrorKind::ArgumentConflict => {
            let other = text(ContextKind::PriorArg).unwrap_or_default();
            let other = other.split(' ').next().unwrap_or_default();
            match other {
                "" => Failure::usage(format!("`{name}` conflicts with the other arguments"), helps),
                other if other == name => Failure::usage(format!("`{name}` is used twice"), "leave one of them out"),
                other => {
                    let problem = format!("`{name}` and `{other}` can't be used together");
                    Failure::usage(problem, "leave one of them out")
                }
            }
        }
        ErrorKind::MissingSubcommand if command == "engine" => {
            let is_local = args.iter().any(|arg| arg == "--local");
            let hint = match is_local {
                true => "`engine apply --local` deploys the spec to a local AWS on this machine",
                false => "`engine diff` shows what an apply would change",
            };
            let failure = Failure::usage("no command was given", hint);
            let diagnostics = failure.diagnostics.into_iter().map(|it| it.hint("`engine -h` lists the commands"));
            Failure { diagnostics: diagnostics.collect(), ..failure }
        }
        ErrorKind::MissingRequiredArgument => {
            let missing = texts(error, ContextKind::InvalidArg).join(" ");
            Failure::usage(format!("`{command}` needs `{missing}`"), helps)
        }
        ErrorKind::InvalidUtf8 => Failure::usage("an argument is not valid UTF-8", "use UTF-8 for names and paths"),
        _ => Failure::usage(format!("invalid arguments for `{command}`"), helps),
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

/// Parses a whole number.
pub(super) fn whole<T: TryFrom<u64>>(text: &str, least: u64, most: u64) -> Result<T, String> {
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    number
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| format!("use a whole number from {least} to {most}"))
}

/// Parses a duration: `40s`, `2m`, or plain seconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().map(Duration::from_secs);
    seconds
        .or_else(|| humantime::parse_duration(text).ok())
        .ok_or_else(|| "use a duration like `40s`, `10m`, `2h` or `1day`, or a number of seconds".to_owned())
}

/// The same, within a range of seconds.
pub(super) fn limited(text: &str, least: u64, most: u64) -> Result<Duration, String> {
    let [least, most] = [least, most].map(Duration::from_secs);
    let duration = duration(text)?;
    let format = |it: Duration| humantime::format_duration(it).to_string();
    match (least..=most).contains(&duration) {
        true => Ok(duration),
        false => Err(format!("use a duration from {} to {}", format(least), format(most))),
    }
}

/// A point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// A duration before now.
    Ago(Duration),
    At(SystemTime),
}

impl Moment {
    pub(super) fn before(self, now: SystemTime) -> SystemTime {
        match self {
            Moment::Ago(duration) => now.checked_sub(duration).unwrap_or(UNIX_EPOCH).max(UNIX_EPOCH),
            Moment::At(time) => time,
        }
    }
}

/// Parses a time, or a duration that counts back from now.
pub(super) fn moment(text: &str) -> Result<Moment, String> {
    let time = || {
        let timestamp = text.parse::<Timestamp>().ok();
        // Without an offset it is local time.
        let local = || TimeZone::system().to_timestamp(text.parse().ok()?).ok();
        SystemTime::try_from(timestamp.or_else(local)?).ok()
    };
    let moment = duration(text).ok().map(Moment::Ago).or_else(|| time().map(Moment::At));
    moment.ok_or_else(|| "use a duration like `90s`, `10m` or `2h`, or a time like `2026-11-25T14:00`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit_or_are_seconds() {
        for (text, wanted) in [
            ("40", Some(40)),
            ("40s", Some(40)),
            ("2m", Some(120)),
            ("1h 30m", Some(5400)),
            ("1day", Some(86_400)),
            ("0", Some(0)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(duration(text).ok(), wanted.map(Duration::from_secs), "{text}");
        }
        for (text, fits) in [("0", false), ("1", true), ("1day", true), ("86401s", false), ("x", false)] {
            assert_eq!(limited(text, 1, 86_400).is_ok(), fits, "{text}");
        }
    }

    #[test]
    fn a_moment_is_a_duration_ago_or_a_time() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        for (text, seconds) in [
            ("10m", 999_400),
            ("90", 999_910),
            ("99999days", 0),
            ("1970-01-02T00:00:00Z", 86_400),
            ("1970-01-02T00:00+01:00", 82_800),
        ] {
            let moment = moment(text).map(|it| it.before(now));
            assert_eq!(moment, Ok(UNIX_EPOCH + Duration::from_secs(seconds)), "{text}");
        }
        assert!(moment("1970-01-02T00:00").is_ok() && moment("1970-01-02 00:00:00").is_ok());
        assert!(moment("yesterday").is_err() && moment("").is_err());
    }
}
