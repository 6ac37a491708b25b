//! The whole command line: commands in groups, short and long help, and what all commands share.
//!
//! **Invariant:** every use of the command line (parsing, help, completions, man pages) starts from
//! [`command`].

use std::fmt::Write as _;

use anstyle::Style;
use clap::builder::{ArgPredicate, StyledStr};
use clap::{Arg, ArgAction, Command, CommandFactory as _};

use super::{Cli, links};

/// The commands, grouped by task.
const GROUPS: [(&str, &[&str]); 6] = [
    ("Start", &["init", "validate", "explain", "render"]),
    ("Deploy", &["diff", "apply", "destroy", "dev"]),
    ("Observe", &["verify", "logs", "status", "list", "output", "graph", "items", "invoke", "export"]),
    ("Account", &["preflight", "policy", "forget", "doctor"]),
    ("Local", &["local"]),
    ("Tools", &["completions", "man", "schema"]),
];

/// The global options that only matter to commands that call AWS.
const AWS: [&str; 5] = ["local", "profile", "region", "endpoint_url", "rate"];

const AWS_ENVIRONMENT: &str = "  \
  AWS_PROFILE, AWS_REGION, AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, ...
                            As in the AWS CLI; --profile, --region and
                            --endpoint-url take precedence
  ENGINE_LOCAL=1            The same as --local
  HTTPS_PROXY, NO_PROXY     Connect through a proxy
";

const ENVIRONMENT: &str = "  \
  ENGINE_VAR_<NAME>         Set the value of ${var.<NAME>}; --var takes precedence
  ENGINE_STAGE              Use this stage of specs with stages
  ENGINE_CACHE_DIR          Install the local AWS in this folder
  ENGINE_PLAIN=1            The same as --plain
  NO_COLOR=1                Disable color
  CI=true                   Never prompt, never redraw lines
";

const EXIT_CODES: &str = "\
Exit codes:
  0     done
  1     failed, refused or declined, or a problem was found
  2     changes pending (diff --detailed-exitcode)
  3     partially applied; run the same command again to continue
  64    invalid command line
  130   interrupted
";

/// The command line, complete.
pub(super) fn command() -> Command {
    assembled(true)
}

/// The command line for shell completions, without hidden options: shells would offer them.
pub(super) fn visible() -> Command {
    assembled(false)
}

fn assembled(with_hidden: bool) -> Command {
    let root = Cli::command();
    let globals: Vec<Arg> = root.get_arguments().filter(|arg| arg.is_global_set()).cloned().collect();
    let root = root
        // Without clap's propagation, each command gets its own copy.
        .mut_args(|arg| if arg.is_global_set() { arg.global(with_hidden).hide_short_help(true) } else { arg })
        .mut_subcommands(|it| complete(it, &globals, with_hidden))
        .mut_subcommand("destroy", |it| it.mut_arg("yes", |yes| yes.alias("force")))
        // On `logs`, `-f` is `--follow`.
        .mut_subcommand("output", |it| it.mut_arg("path", |path| path.short('f')));
    let template = template(&root);
    let further = links::further_reading(links::REPOSITORY);
    let with_further = |help: String| format!("{help}\n{further}");
    let short = root.get_after_help().map_or_else(String::new, ToString::to_string);
    let root = root.after_help(with_further(short));
    let long = extended(&root, true);
    root.after_long_help(long).help_template(template)
}

/// Which of [`AWS`] a command uses.
pub(super) fn aws_options(name: &str) -> &'static [&'static str] {
    match name {
        "explain" | "completions" | "man" | "schema" | "local" => &[],
        "validate" | "render" => &["region"],
        "policy" => &["profile", "region", "endpoint_url"],
        _ => &AWS,
    }
}

/// Completes a command with the help, aliases and formats that all commands share.
fn complete(command: Command, globals: &[Arg], with_hidden: bool) -> Command {
    let shown = aws_options(command.get_name());
    let long = extended(&command, shown.contains(&"profile"));
    let mut command = with_json(command.after_long_help(long)).mut_subcommands(|it| {
        let long = extended(&it, false);
        let it = with_json(it.after_long_help(long));
        // clap propagates a command's arguments to its subcommands.
        if with_hidden {
            it
        } else {
            it.args(globals.iter().filter(|arg| !is_hidden(arg, shown)).map(|arg| arg.clone().global(false)))
        }
    });
    for arg in globals {
        let is_hidden = is_hidden(arg, shown);
        if with_hidden || !is_hidden {
            // `-h` shows a command's own options, and `--local`.
            let is_long = arg.get_id() != "local";
            // A copy with the same id prevents clap from propagating its own.
            command = command.arg(arg.clone().global(with_hidden).hide_short_help(is_long).hide(is_hidden));
        }
    }
    let asks = command.get_arguments().any(|arg| arg.get_id() == "yes");
    // Terraform's name for it.
    if asks { command.mut_arg("yes", |yes| yes.alias("auto-approve")) } else { command }
}

fn is_hidden(global: &Arg, shown: &[&str]) -> bool {
    let id = global.get_id().as_str();
    AWS.contains(&id) && !shown.contains(&id)
}

fn has_value(arg: &Arg, wanted: &str) -> bool {
    arg.get_possible_values().iter().any(|value| value.get_name() == wanted)
}

/// Adds `--json` if there is `--format json`.
fn with_json(command: Command) -> Command {
    if !command.get_arguments().any(|arg| arg.get_id() == "format" && has_value(arg, "json")) {
        return command;
    }
    let json = Arg::new("json").long("json").action(ArgAction::SetTrue).conflicts_with("format");
    command
        .mut_arg("format", |format| format.default_value_if("json", ArgPredicate::IsPresent, "json"))
        .arg(json.help("The same as `--format json`"))
}

/// What `--help` and the man page show after the options: examples, environment variables and exit
/// codes.
fn extended(command: &Command, asks_aws: bool) -> String {
    let examples = command.get_after_help().map_or_else(String::new, |text| format!("{text}\n\n"));
    let aws = if asks_aws { AWS_ENVIRONMENT } else { "" };
    format!("{examples}Environment:\n{aws}{ENVIRONMENT}\n{}", EXIT_CODES.trim_end())
}

/// The program's help template: clap has no groups of commands.
fn template(root: &Command) -> StyledStr {
    let (heading, literal) = (Style::new().bold().underline(), Style::new().bold());
    let columns = root.get_subcommands().map(|it| it.get_name().len()).max().unwrap_or(0);
    let mut groups = String::new();
    for (group, commands) in GROUPS {
        let _ = writeln!(groups, "{heading}{group}:{heading:#}");
        for command in commands.iter().filter_map(|name| root.find_subcommand(name)) {
            let (name, about) = (command.get_name(), command.get_about().map(ToString::to_string).unwrap_or_default());
            let alias = command.get_visible_aliases().map(|alias| format!(" [alias: {alias}]")).collect::<String>();
            let pad = columns.saturating_sub(name.len());
            let _ = writeln!(groups, "  {literal}{name}{literal:#}{:pad$}  {about}{alias}", "");
        }
        groups.push('\n');
    }
    StyledStr::from(format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{groups}{heading}Options:{heading:#}\n{{options}}{{after-help}}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_in_one_group_and_its_summary_fits_80_columns() {
        let root = command();
        let mut shown: Vec<&str> =
            root.get_subcommands().filter(|it| !it.is_hide_set()).map(Command::get_name).collect();
        let mut grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, commands)| commands.iter().copied()).collect();
        shown.sort_unstable();
        grouped.sort_unstable();
        assert_eq!(grouped, shown);
        let help = command().term_width(80).render_help().to_string();
        assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
    }
}
