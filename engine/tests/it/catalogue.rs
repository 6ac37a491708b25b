//! Everything that the program may say went wrong, gathered from its source for the page of errors: each text that an
//! error, a warning or a refusal is made of, with what is advised beside it.

mod reading;
mod syntax;
mod texts;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use insta::assert_snapshot;

/// What gives no advice of its own, and what is said instead.
const WITHOUT_ADVICE: &[(&str, &str)] = &[
    ("`…` is refused: …", "what its row of the plan says, below `plan`"),
    ("`…` is refused: it can't be applied", "what its row of the plan says, below `plan`"),
    ("`…` in a filter …", "what is said of its operator, below"),
    ("…, and … more like this", "what is said below `source`"),
    ("handler `…` doesn't have the form `…`", "use `index.handler`"),
    ("`…`: it contains an invalid `${…}`", "what is said below `spec/template`"),
];

/// What makes an error of a text that it does not have itself, and where that is read instead.
const UNREAD: &[(&str, &str)] = &[
    ("aws/error: convert", "what `aws/guard` refuses"),
    ("aws/error: defect", "where it is called"),
    ("aws/error: diagnostic", "the title of a cause"),
    ("aws/profiles: failed", "the credentials of a cause"),
    ("cli/terminal: from", "an error of `local/error`"),
    ("cli/terminal: usage", "where it is called"),
    ("diagnostic: new", "where it is called"),
    ("diagnostic: serialize", "an error that is there already"),
    ("filter: new", "where it is called"),
    ("kinds/function: pack", "an error of `source`, a finding of `javascript` or of `source/handler`"),
    ("plan: absent", "where `Standing` is told"),
    ("plan: wanted", "where `Standing` is told"),
    ("schema: error", "where it is called"),
    ("schema: warning", "where it is called"),
    ("spec/check/shape: faults", "a fault of `filter`"),
    ("spec/check/shape: unknown_word", "a warning of its callers"),
    ("spec/check: error", "where it is called"),
    ("spec/check: problems", "a problem of a kind"),
];

fn errors() -> Vec<(String, reading::Found)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let named = |(path, found): (PathBuf, _)| {
        (path.strip_prefix(&root).unwrap().with_extension("").display().to_string(), found)
    };
    reading::errors(&root).into_iter().map(named).collect()
}

fn unread() -> Vec<String> {
    let of_file = |(module, found): (String, reading::Found)| {
        found.unread.into_iter().map(move |function| format!("{module}: {function}"))
    };
    errors().into_iter().flat_map(of_file).collect()
}

/// The catalogue as Markdown, module by module.
pub(crate) fn markdown() -> String {
    let cell = |text: &str| text.replace('|', "\\|").split_whitespace().collect::<Vec<_>>().join(" ");
    let mut page = String::new();
    for (module, found) in errors().into_iter().filter(|(_, found)| !found.rows.is_empty()) {
        let _ = writeln!(page, "### `{module}`\n{}\n\n| what is said | what to do |\n|---|---|", found.about);
        for row in found.rows {
            let instead = WITHOUT_ADVICE.iter().find(|(said, _)| *said == row.said).map(|(_, it)| (*it).to_owned());
            let advice: Vec<String> = row.advice.into_iter().chain(instead).collect();
            let _ = writeln!(page, "| {} | {} |", cell(&row.said), cell(&advice.join(" / ")));
        }
    }
    page
}

#[test]
fn what_is_said_is_found_where_it_is_made() {
    let page = markdown();
    let n_rows = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| what is said")).count();
    assert!(n_rows > 350, "{n_rows}");
    for row in [
        "| the saved plan is out of date, so nothing was changed | review the plan above, and save it again with \
         `engine diff --out` |",
        "| `…` has no value | add a value, or remove the line",
        "| the local AWS doesn't run on Windows itself | run engine in WSL (Windows Subsystem for Linux) |",
        "| no AWS credentials found | run `aws configure` or `aws sso login`",
        "| it must be replaced, but you lack permission to read its tags, so engine can't confirm that this stack owns \
         it | get permission to read its tags, or add `--assume-owner` |",
        "| `code` has both `inline` and `path` | remove one of them |",
        "| `…` doesn't export `…` | set `handler: ….…`, or rename the export / add `export const … = …` to it",
        "| this file is a web page, not a spec | download the raw file instead of the page that shows it |",
        "| the mapping no longer exists | run `engine diff` to see what changed",
        "| there is no free port on 127.0.0.1 | fix this problem and run the command again",
    ] {
        assert!(page.contains(row), "{row} is not in\n{page}");
    }
}

#[test]
fn nothing_is_said_without_something_to_do() {
    let rows = || errors().into_iter().flat_map(|(_, found)| found.rows);
    let without: Vec<String> = rows().filter(|row| row.advice.is_empty()).map(|row| row.said).collect();
    assert_eq!(without, WITHOUT_ADVICE.iter().map(|(said, _)| *said).collect::<Vec<_>>());
}

#[test]
fn every_place_that_makes_an_error_is_read() {
    assert_eq!(unread(), UNREAD.iter().map(|(function, _)| *function).collect::<Vec<_>>());
}

#[test]
fn a_text_is_followed_to_its_literals() {
    let found = reading::errors_in(include_str!("catalogue/sample.rs"));
    let rows: Vec<String> =
        found.rows.iter().map(|row| format!("{} -> {}", row.said, row.advice.join(" / "))).collect();
    assert_snapshot!(rows.join("\n"), @r"
    `…` is chained -> first / second
    it is hinted later -> by one arm / by the other
    there is no one thing -> what one needs
    there is no other thing -> shared advice
    it is refused: it comes too early -> go on / wait until somebody says so
    it is refused: it comes too late -> go on / wait until somebody says so
    the shape is wrong -> write {} or []
    the property is wrong -> shared advice
    the finding is found -> look …
    the pair is handed on -> with its advice
    the row is refused -> shared advice
    the call is throttled -> run the same command again in a minute; completed changes are kept, and `engine diff` shows what is left (`throttled`)
    `…` is in the way -> move it away
    the system says no -> mend the system
    ");
    assert_eq!(found.unread.into_iter().collect::<Vec<_>>(), ["unreadable"]);
}
