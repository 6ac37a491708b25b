//! `engine validate`: checks specs without AWS.
//!
//! **Invariant:** it reads files, and starts only `node --check`, which runs no code.

use serde_json::json;

use crate::diagnostic::{Diagnostic, Place, Severity, printable};
use crate::preflight;
use crate::spec::Depth;

use super::check::today;
use super::session;
use super::terminal::{Failure, Terminal};
use super::{Exit, Global, SpecArgs, ValidateArgs, ValidateFormat, patterns, syntax};

/// Validates all specs of the command line.
pub(super) fn run(global: &Global, terminal: &Terminal, args: &ValidateArgs) -> Result<Exit, Failure> {
    let specs = SpecArgs { spec: patterns::in_folders(&args.spec.named())?, file: Vec::new(), ..args.spec.clone() };
    let (mut loaded, mut problems) = session::load(global, &specs, Depth::Full)?;
    problems.extend(syntax::settle_all(&mut loaded));
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
        ValidateFormat::Human => {
            terminal.problems(&distinct);
            let names: Vec<String> = loaded.iter().map(|it| format!("`{}`", it.spec.file.name())).collect();
            if n_errors == 0 {
                let (n, warnings) = (names.len(), distinct.len());
                let what = if let [name] = names.as_slice() {
                    format!("{name} is valid")
                } else {
                    format!("{n} specs are valid")
                };
                let but =
                    if warnings == 0 { String::new() } else { format!(", with {}", counted(warnings, "warning")) };
                terminal.print(&format!("{what}{but}.\n"));
            } else {
                terminal.print(&format!("{}\n", counted(n_errors, "error")));
            }
        }
        ValidateFormat::Json => {
            let document = json!({ "format_version": 1, "valid": n_errors == 0, "problems": distinct });
            terminal.print(&format!("{document}\n"));
        }
        ValidateFormat::Github => {
            let lines: String = distinct.iter().map(annotation).collect();
            terminal.print_commands(&lines);
        }
    }
    Ok(if n_errors == 0 { Exit::Done } else { Exit::Failed })
}

/// `1 error`, `2 errors`.
pub(super) fn counted(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// A line that GitHub Actions shows as an annotation in the file
/// (docs.github.com/actions/reference/workflows-and-actions/workflow-commands).
fn annotation(problem: &Diagnostic) -> String {
    let level = match problem.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let place = problem.at.as_ref().map_or_else(String::new, |place: &Place| {
        let (line, column) = place.line_column();
        format!(" file={},line={line},col={column}", escaped(place.file.name()).replace(':', "%3A").replace(',', "%2C"))
    });
    let whole = [Some(&problem.problem), problem.why.as_ref()].into_iter().flatten().chain(&problem.hints);
    let text = whole.map(|text| printable(text)).collect::<Vec<_>>().join("\n");
    format!("::{level}{place}::{}\n", escaped(&text))
}

fn escaped(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}
