//! `engine validate`: checks specs without AWS.
//!
//! **Invariant:** it reads files, and starts only `node --check`, which runs no code.

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::diagnostic::{Diagnostic, Location, Severity, printable};
use crate::preflight;
use crate::render::remedy;
use crate::spec::Depth;

use super::args::SpecArgs;
use super::exit::{CommandError, Exit};
use super::preflight::today;
use super::session::{self, LoadedSpec};
use super::terminal::Terminal;
use super::{CommandContext, syntax};

/// Validate specs offline
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  engine validate                                        specs/team.yaml
  engine validate specs/team.yaml specs/examples/adopt.yaml --var suffix=9z8y7x6
                                                         several specs at once
  engine validate specs                                  every YAML file in the folder
  engine validate --teams specs/examples/teams.txt       for each team in a list
  engine validate --format github                        as annotations on a pull request")]
pub(super) struct ValidateArgs {
    #[command(flatten)]
    spec: SpecArgs,
    /// Output format
    #[arg(long, value_enum, default_value_t = ValidateFormat::Human)]
    format: ValidateFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ValidateFormat {
    #[value(name = "text", alias = "human")]
    Human,
    Json,
    /// Workflow commands for GitHub Actions
    Github,
}

pub(super) fn run(cx: &CommandContext<'_>, args: ValidateArgs) -> Result<Exit, CommandError> {
    let specs = SpecArgs { spec: session::in_folders(&args.spec.named())?, file: Vec::new(), ..args.spec };
    let (mut loaded, mut problems) = session::load_all_stages(cx, &specs, Depth::Full)?;
    problems.extend(syntax::check_all(&mut loaded));
    let (today, _) = today();
    for it in &loaded {
        problems.extend(it.spec.warnings.iter().cloned());
        problems.extend(preflight::offline(&it.spec, &today));
    }
    // A problem that several teams' specs share is reported once.
    let mut distinct: Vec<Diagnostic> = Vec::new();
    for problem in problems {
        if !distinct.contains(&problem) {
            distinct.push(problem);
        }
    }
    let n_errors = distinct.iter().filter(|it| it.severity == Severity::Error).count();
    match args.format {
        ValidateFormat::Human => print_verdict(cx.terminal, &loaded, &distinct, n_errors),
        ValidateFormat::Json => {
            let document =
                json!({ "format_version": 1, "valid": n_errors == 0, "problems": remedy::worded(&distinct) });
            cx.terminal.print(&format!("{document}\n"));
        }
        ValidateFormat::Github => {
            let lines: String = remedy::worded(&distinct).iter().map(annotation).collect();
            cx.terminal.print_commands(&lines);
        }
    }
    Ok(if n_errors == 0 { Exit::Done } else { Exit::Failed })
}

fn print_verdict(terminal: &Terminal, loaded: &[LoadedSpec], problems: &[Diagnostic], n_errors: usize) {
    terminal.problems(problems);
    if n_errors > 0 {
        return terminal.print(&format!("{}\n", counted(n_errors, "error")));
    }
    let what = match loaded {
        [it] => format!("`{}` is valid", it.spec.file.name()),
        several => format!("{} specs are valid", several.len()),
    };
    let but = match problems.len() {
        0 => String::new(),
        n => format!(", with {}", counted(n, "warning")),
    };
    terminal.print(&format!("{what}{but}.\n"));
}

/// `1 error`, `2 errors`.
pub(super) fn counted(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// A line that GitHub Actions shows as an annotation in the file
/// (docs.github.com/actions/reference/workflows-and-actions/workflow-commands).
fn annotation(problem: &Diagnostic<String>) -> String {
    let level = match problem.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let location = problem.at.as_ref().map_or_else(String::new, |location: &Location| {
        let (line, column) = location.line_column();
        format!(
            " file={},line={line},col={column}",
            escaped(location.file.name()).replace(':', "%3A").replace(',', "%2C")
        )
    });
    let whole = [Some(&problem.problem), problem.why.as_ref()].into_iter().flatten().chain(&problem.hints);
    let text = whole.map(|text| printable(text)).collect::<Vec<_>>().join("\n");
    format!("::{level}{location}::{}\n", escaped(&text))
}

fn escaped(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}
