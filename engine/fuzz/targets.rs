//! What must hold for any bytes, one function for each parser of external input. The fuzzer runs them
//! with generated input, and `cargo test` with the seeds and mutations of them.
//!
//! None touches the disk or the network. A panic is a finding, and so is high use of time or
//! memory, which the caller watches.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use engine::diagnostic::{self, Severity, Style};
use engine::javascript;
use engine::kinds::properties_of_policy;
use engine::logs::{self as records, Line, LogEntry};
use engine::operation::{self, Operations};
use engine::render::logs::{self, Journal, JournalEntry};
use engine::render::{OutputStyle, remedy};
use engine::sanitize::{self, Reader};
use engine::saved::SavedPlan;
use engine::spec::template::{Name, Token, tokens};
use engine::spec::{Depth, Spec, SpecOverrides};

/// A function that takes bytes.
pub(crate) type Target = fn(&[u8]);

/// All of them, by name.
pub(crate) const ALL: [(&str, Target); 7] = [
    ("spec", spec),
    ("reference", reference),
    ("plan", plan),
    ("policy", policy),
    ("request", request),
    ("javascript", javascript),
    ("log", log),
];

/// The spec parser: every error has a location and a hint, and can be shown.
pub(crate) fn spec(bytes: &[u8]) {
    // The region and account of a spec make more of it checkable, so they are not given. Local
    // files are not read.
    let path = Path::new("specs/team.yaml");
    for overrides in
        [SpecOverrides::default(), SpecOverrides { team: Some("owls".to_owned()), ..SpecOverrides::default() }]
    {
        match Spec::parse(&engine::kinds::all(), path, bytes, &overrides, Depth::Identities) {
            Ok(spec) => {
                for declared in &spec.resources {
                    assert!(spec.resource(&declared.name).is_some(), "{}", declared.name);
                    assert!(spec.graph.order().any(|name| name == declared.name), "{}", declared.name);
                }
                show(&spec.warnings);
            }
            Err(problems) => {
                assert!(problems.iter().any(|it| it.severity == Severity::Error), "refused without an error");
                for problem in problems.iter().filter(|it| it.severity == Severity::Error) {
                    assert!(problem.at.is_some() && !problem.hints.is_empty(), "{problem:?}");
                }
                show(&problems);
            }
        }
    }
}

fn show(problems: &[diagnostic::Diagnostic]) {
    for style in [Style::Plain, Style::Ansi] {
        let shown = diagnostic::render(&remedy::worded(problems), style, 80);
        // A hundred errors of the file as YAML, and a hundred of it as a spec.
        assert!(shown.len() < 2_000_000, "{} bytes of errors", shown.len());
        let is_plain = |c: char| !c.is_control() || c == '\n' || (c == '\x1b' && style == Style::Ansi);
        assert!(shown.chars().all(is_plain), "a control character came through");
    }
}

/// The reference parser: what it takes apart can be put together again.
pub(crate) fn reference(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match tokens(text) {
        Err(errors) => assert!(errors.iter().all(|(problem, hint)| !problem.is_empty() && !hint.is_empty())),
        Ok(found) => {
            let written = found.iter().map(|token| match token {
                Token::Text(text) => text.replace("${", "$${"),
                Token::Name(Name::Team) => "${team}".to_owned(),
                Token::Name(Name::Region) => "${region}".to_owned(),
                Token::Name(Name::Account) => "${account}".to_owned(),
                Token::Name(Name::Partition) => "${partition}".to_owned(),
                Token::Name(Name::Missing(name)) => format!("${{{name}}}"),
                Token::Name(Name::Lookup(lookup)) => format!("${{lookup.{lookup}}}"),
                Token::Name(Name::Output { resource, attribute }) => format!("${{{resource}.{attribute}}}"),
            });
            assert_eq!(tokens(&written.collect::<String>()), Ok(found), "{text}");
        }
    }
}

/// The plan reader: what it accepts it writes as it was, and a plan has not moved from itself.
pub(crate) fn plan(bytes: &[u8]) {
    match SavedPlan::parse(bytes) {
        Ok(Some(saved)) => {
            let written = serde_json::to_vec(&saved).unwrap_or_default();
            assert_eq!(SavedPlan::parse(&written).ok().flatten().as_ref(), Some(&saved));
            assert_eq!(saved.moved(&saved), Vec::new());
        }
        Ok(None) => {}
        Err(problem) => {
            assert!(!problem.hints.is_empty());
            show(&[problem]);
        }
    }
}

/// The policy normaliser: each statement has all properties, and normalizing is deterministic.
pub(crate) fn policy(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(statements) = properties_of_policy(text) else { return };
    for (sid, properties) in &statements {
        for name in ["action", "principal", "source_arn", "source_account", "principal_org_id", "other_conditions"] {
            assert!(properties.contains_key(name), "{sid} has no {name}");
        }
    }
    assert_eq!(properties_of_policy(text).ok(), Some(statements));
}

/// What the guard reads off the wire, percent-decoding included: the first line is method and path,
/// the second the target.
pub(crate) fn request(bytes: &[u8]) {
    let mut parts = bytes.splitn(3, |byte| *byte == b'\n');
    let mut line = || parts.next().and_then(|line| std::str::from_utf8(line).ok()).unwrap_or_default();
    let (first, target) = (line(), line());
    let (method, uri) = first.split_once(' ').unwrap_or(("POST", first));
    let body = parts.next().unwrap_or_default();
    static OPERATIONS: LazyLock<Operations> = LazyLock::new(operation::all);
    let _ = OPERATIONS.parse(method, uri, Some(target).filter(|it| !it.is_empty()), body);
}

/// The parser of a function's JavaScript.
pub(crate) fn javascript(bytes: &[u8]) {
    for name in ["index.js", "index.mjs"] {
        let files = BTreeMap::from([(name.to_owned(), bytes.to_vec()), ("package.json".to_owned(), bytes.to_vec())]);
        for it in javascript::problems(&files, "index.handler", "nodejs22.x") {
            assert!(!it.problem.is_empty() && it.why.is_some_and(|why| !why.is_empty()) && !it.hint.is_empty());
        }
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        javascript::is_module(text);
        javascript::split_handler(text);
    }
}

/// The reader of logs: nothing that a function prints gets lost or reaches the terminal as a
/// command.
pub(crate) fn log(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    let joined = records::join_split_entries(lines, |line| line);
    assert_eq!(joined.join("\n"), text);
    let mut journal = Journal::new(["logger"].into_iter(), OutputStyle { color: false, width: 80, plain: false });
    let own = records::read(text).with_own_frames(&|path| Some(path.to_owned()));
    for line in joined.iter().map(|line| records::read(line)).chain([records::read(text), own, Line::raw(text)]) {
        for record in &line.entries {
            let entry = JournalEntry {
                function: "logger",
                at: 0,
                stream: "s",
                request: line.request.as_deref(),
                entry: record,
            };
            let rows = journal.fold(vec![entry.clone(), entry.clone()]);
            let shown: String = rows.iter().map(|row| journal.row(row, None)).collect();
            let shown = sanitize::clean(&shown, Reader::default());
            assert!(
                shown.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\t')),
                "a control character came through"
            );
            assert!(logs::json(&entry).is_object());
            // Raw output is cleaned only where a terminal or a runner reads it.
            assert!(!matches!(record, LogEntry::Text { text, .. } if !logs::raw(&entry).starts_with(text.as_str())));
        }
    }
}
