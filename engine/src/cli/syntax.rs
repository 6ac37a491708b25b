//! Syntax errors in handlers, as Node.js finds them: with file, line and excerpt.
//!
//! **Invariant:** no code is run, and each mistake is reported once: what the spec's own parser
//! only suspects is replaced by the verdict of Node.js, and kept where there is none.

use std::path::{Component, Path as FilePath, PathBuf};

use crate::diagnostic::{Diagnostic, Location, Severity, SourceFile, Span};
use crate::javascript;
use crate::local::{self, Script, SyntaxVerdict};
use crate::plan::{Action, Change, Plan};
use crate::source::{self, EntryPoint};
use crate::spec::{ResourceDecl, Spec};
use crate::value::{Path, Value};

use super::session::{AwsTarget, LoadedSpec, Session};

/// A handler in JavaScript.
struct Handler {
    /// Where the spec names its code.
    location: Option<Location>,
    /// The file as the user knows it, unless the code is part of the spec.
    file: Option<PathBuf>,
    /// Its name in the package.
    name: String,
    script: Script,
    runtime: String,
    has_layers: bool,
    /// Whether the local AWS runs it, with the Node.js of this machine.
    runs_here: bool,
}

/// Checks the handlers that the spec's own parser suspects. Its warnings stay only where Node.js
/// has no verdict. Returns the errors.
pub(super) fn check_suspected(loaded: &mut [LoadedSpec]) -> Vec<Diagnostic> {
    if !loaded.iter().any(|it| it.spec.warnings.iter().any(is_suspicion)) {
        return Vec::new();
    }
    check(loaded, |spec, handler| {
        spec.warnings.iter().any(|warning| is_suspicion(warning) && warning.at == handler.location)
    })
}

/// Checks all handlers. The warnings of the spec's own parser stay only where Node.js has no
/// verdict. Returns the errors.
pub(super) fn check_all(loaded: &mut [LoadedSpec]) -> Vec<Diagnostic> {
    check(loaded, |_, _| true)
}

fn check(loaded: &mut [LoadedSpec], is_selected: impl Fn(&Spec, &Handler) -> bool) -> Vec<Diagnostic> {
    let handlers = loaded.iter().enumerate().flat_map(|(at, it)| {
        let handlers = it.spec.managed("function").filter_map(|function| handler(&it.spec, function, it.is_local()));
        handlers.filter(|handler| is_selected(&it.spec, handler)).map(|handler| (at, handler)).collect::<Vec<_>>()
    });
    let (positions, handlers): (Vec<usize>, Vec<Handler>) = handlers.unzip();
    let verdicts = verdicts(&handlers);
    let mut errors = Vec::new();
    for ((at, handler), verdict) in positions.into_iter().zip(&handlers).zip(&verdicts) {
        let Some(spec) = loaded.get_mut(at).map(|it| &mut it.spec) else { continue };
        if *verdict == SyntaxVerdict::Unknown {
            continue;
        }
        spec.warnings.retain(|warning| !(is_suspicion(warning) && warning.at == handler.location));
        match diagnostic(handler, verdict) {
            Some(error) if error.severity == Severity::Error => errors.push(error),
            warning => spec.warnings.extend(warning),
        }
    }
    errors
}

/// Checks the handlers whose code a plan sends, or all without a plan, as far as
/// [`check_suspected`] has not reported them.
pub(super) async fn check_sent<'s, 't: 's>(
    sessions: impl Iterator<Item = (&'s Session<'t>, Option<&'s Plan>)>,
) -> Vec<Diagnostic> {
    let (mut handlers, mut known) = (Vec::new(), Vec::new());
    for (Session { spec, target, .. }, plan) in sessions {
        let runs_here = matches!(target, AwsTarget::Local(_));
        let sends = |function: &&ResourceDecl| {
            plan.is_none_or(|plan| plan.changes.iter().any(|it| it.resource == function.name && is_sent(it)))
        };
        let sent = spec.managed("function").filter(sends);
        handlers.extend(sent.filter_map(|function| handler(spec, function, runs_here)));
        known.extend(spec.warnings.iter().cloned());
    }
    let checked = tokio::task::spawn_blocking(move || {
        let verdicts = verdicts(&handlers);
        handlers.iter().zip(&verdicts).filter_map(|(handler, verdict)| diagnostic(handler, verdict)).collect::<Vec<_>>()
    });
    let mut found: Vec<Diagnostic> = Vec::new();
    for it in checked.await.unwrap_or_default() {
        // Several teams may have the same code.
        if !known.contains(&it) && !found.contains(&it) {
            found.push(it);
        }
    }
    found
}

/// Whether a change sends the code of a function.
fn is_sent(change: &Change) -> bool {
    let has_code = || {
        change.properties.iter().any(|it| it.path.root().is_some_and(|root| root == "code" || root == "code_sha256"))
    };
    match change.action {
        Action::Create | Action::Replace => true,
        Action::Update | Action::Adopt => has_code(),
        _ => false,
    }
}

fn is_suspicion(warning: &Diagnostic) -> bool {
    warning.problem.contains(javascript::SUSPECTED)
}

/// The handler of a function, if it is JavaScript in the function's package.
fn handler(spec: &Spec, function: &ResourceDecl, runs_here: bool) -> Option<Handler> {
    let text = |name: &str| function.desired.get(name).and_then(Value::as_str);
    let runtime = text("runtime")?;
    let entry = EntryPoint { handler: text("handler")?, runtime, architecture: None };
    let (name, content, is_module) = source::script(function.artifact.as_ref()?, entry)?;
    let property = Path::property("code");
    let (code, property) = match function.desired.get("code")? {
        Value::String(path) => (Some(path), property),
        Value::Map(code) => match code.get("path") {
            Some(Value::String(path)) => (Some(path), property.key("path")),
            _ => (None, property.key("inline")),
        },
        _ => return None,
    };
    let layers = function.desired.get("layers");
    Some(Handler {
        location: spec.location(&function.name, &property),
        file: code.map(|path| file_of(spec, path, &name)),
        name,
        script: Script { text: content, is_module },
        runtime: runtime.to_owned(),
        has_layers: matches!(layers, Some(Value::List(layers)) if !layers.is_empty()),
        runs_here,
    })
}

/// The path of a file of the code, as it would be written in the current folder.
fn file_of(spec: &Spec, code: &str, name: &str) -> PathBuf {
    let path = FilePath::new(spec.file.name()).parent().unwrap_or(FilePath::new("")).join(code);
    let is_archive = path.extension().is_some_and(|it| it == "zip" || it == "jar");
    let whole = if path.is_file() && !is_archive { path } else { path.join(name) };
    let mut short = PathBuf::new();
    for part in whole.components() {
        let goes_up =
            part == Component::ParentDir && matches!(short.components().next_back(), Some(Component::Normal(_)));
        match part {
            Component::ParentDir if goes_up => drop(short.pop()),
            Component::CurDir => {}
            _ => short.push(part),
        }
    }
    short
}

/// The verdict on each handler; the same script is checked once.
fn verdicts(handlers: &[Handler]) -> Vec<SyntaxVerdict> {
    let mut scripts: Vec<&Script> = Vec::new();
    let mut positions = Vec::new();
    for Handler { script, .. } in handlers {
        let position = scripts.iter().position(|it| *it == script).unwrap_or(scripts.len());
        if position == scripts.len() {
            scripts.push(script);
        }
        positions.push(position);
    }
    let scripts: Vec<Script> = scripts.into_iter().cloned().collect();
    let found = local::check_syntax(&scripts);
    positions.into_iter().map(|at| found.get(at).cloned().unwrap_or(SyntaxVerdict::Unknown)).collect()
}

fn diagnostic(handler: &Handler, verdict: &SyntaxVerdict) -> Option<Diagnostic> {
    let SyntaxVerdict::Invalid { line, column, reason, major } = verdict else { return None };
    let Handler { location, file, name, script, runtime, has_layers, runs_here } = handler;
    let text = String::from_utf8_lossy(&script.text);
    // Node.js counts the mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let problem = match file {
        Some(_) => format!("`{name}` has a syntax error: {reason}"),
        // It may quote the source, which may contain a secret.
        None => format!("line {line} of the inline `{name}` has a syntax error: {}", without_quotes(reason)),
    };
    let version = runtime.strip_prefix("nodejs").and_then(|it| it.split('.').next()?.parse().ok()).unwrap_or(u32::MAX);
    // Node.js 22 no longer has the import assertions of older versions
    // (nodejs.org/api/esm.html#import-attributes).
    let is_removed = text.lines().nth(line.saturating_sub(1)).is_some_and(|line| line.contains(" assert "));
    let doubt = if *runs_here {
        None
    } else if *major < version {
        Some("it is older than the runtime, which may accept this")
    } else if *major > version && is_removed {
        Some("the runtime is older and may accept this")
    } else {
        None
    };
    let diagnostic = match doubt {
        Some(doubt) => {
            Diagnostic::warning(problem, "check the line, or install the runtime's version of Node.js to be sure")
                .why(format!("your Node.js {major} can't parse the file; {doubt} ({runtime})"))
        }
        None if *has_layers => {
            Diagnostic::warning(problem, "fix the line, or leave it if a layer brings or wraps the handler")
                .why("if Lambda loads this file, each call fails with `Runtime.UserCodeSyntaxError`")
        }
        None if *runs_here && *major != version => {
            Diagnostic::error(problem, "fix the line, or install the runtime's version of Node.js")
                .why(format!("the local AWS runs the function with your Node.js {major}, which can't parse the file"))
        }
        None => Diagnostic::error(problem, "fix the line, and check it with `engine validate`")
            .why("Lambda can't load the file, so each call would fail with `Runtime.UserCodeSyntaxError`"),
    };
    let shown = file.as_ref().map(|file| {
        let file = SourceFile::new(file.display().to_string(), text);
        file.reveal_except(Vec::new());
        let span = span(text, *line, *column);
        file.location(span)
    });
    Some(match shown.or_else(|| location.clone()) {
        Some(location) => diagnostic.at(location),
        None => diagnostic,
    })
}

/// A message of Node.js without the parts in quotes.
fn without_quotes(reason: &str) -> String {
    match (reason.find('\''), reason.rfind('\'')) {
        (Some(first), Some(last)) => format!("{}…{}", &reason[..first], &reason[last + 1..]),
        _ => reason.to_owned(),
    }
}

/// The character at a line and column, which count from 1, or the end of the line.
fn span(text: &str, line: usize, column: Option<usize>) -> Span {
    let lines = text.split_inclusive('\n').map(str::len);
    let starts = lines.scan(0, |start, len| Some(std::mem::replace(start, *start + len)));
    let last = text.lines().count().max(1);
    let start = starts.take(line.min(last)).last().unwrap_or_default();
    let content = text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
    let at = column.filter(|_| line <= last).and_then(|column| content.char_indices().nth(column - 1));
    match at {
        Some((at, c)) => Span { start: start + at, end: start + at + c.len_utf8() },
        None => Span { start: start + content.len(), end: start + content.len() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_and_a_column_are_a_span_wherever_they_are() {
        let text = "aä\n\n  b\n";
        for (line, column, span_of) in [
            (1, Some(1), (0, 1)),
            (1, Some(2), (1, 3)),
            (1, Some(9), (3, 3)),
            (1, None, (3, 3)),
            (2, None, (4, 4)),
            (3, Some(3), (7, 8)),
            (4, None, (8, 8)),
            (9, Some(1), (8, 8)),
        ] {
            let Span { start, end } = span(text, line, column);
            assert_eq!((start, end), span_of, "{line}:{column:?}");
        }
        let Span { start, end } = span("", 1, Some(1));
        assert_eq!((start, end), (0, 0));
    }

    #[test]
    fn a_reason_without_its_quotes_shows_nothing_of_the_source() {
        assert_eq!(without_quotes("Unexpected identifier 'hunter2'"), "Unexpected identifier …");
        assert_eq!(without_quotes("Unexpected token '''"), "Unexpected token …");
        assert_eq!(without_quotes("Unexpected end of input"), "Unexpected end of input");
    }
}
