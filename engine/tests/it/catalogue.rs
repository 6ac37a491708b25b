//! Everything that the program may say went wrong, gathered from its source for the page of errors: each text where an
//! error, a warning or a refusal is made, with what is advised beside it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use regex_lite::Regex;

/// A text in the source, and what stands before it.
struct Literal {
    before: String,
    text: String,
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(sources(&path)),
            false if path.extension().is_some_and(|it| it == "rs") => found.push(path),
            false => {}
        }
    }
    found.sort();
    found
}

/// The texts of a file, in order, without those of its tests and comments.
fn literals(source: &str) -> Vec<Literal> {
    let source = source.split("\n#[cfg(test)]").next().unwrap();
    let code: String =
        source.lines().filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n")).collect();
    let mut literals = Vec::new();
    let mut from = 0;
    let bytes = code.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        // A quote alone is a character.
        if bytes[at] != b'"' || bytes.get(at.wrapping_sub(1)) == Some(&b'\'') {
            at += 1;
            continue;
        }
        let mut end = at + 1;
        while end < bytes.len() && bytes[end] != b'"' {
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        let before: Vec<&str> = code[from..at].split_whitespace().collect();
        let before = before.join(" ");
        // An empty one only keeps a place.
        if end > at + 1 {
            literals.push(Literal { before, text: shown(&code[at + 1..end]) });
            from = end + 1;
        }
        at = end + 1;
    }
    literals
}

/// A text as it is said, with `…` for what is filled in.
fn shown(text: &str) -> String {
    static CONTINUED: OnceLock<Regex> = OnceLock::new();
    static FILLED: OnceLock<Regex> = OnceLock::new();
    let continued = CONTINUED.get_or_init(|| Regex::new(r"\\\n\s*").unwrap());
    let filled = FILLED.get_or_init(|| Regex::new(r"\{[^{}]*\}").unwrap());
    let text = continued.replace_all(text, "").replace("\\\"", "\"").replace("\\n", " ").replace("\\\\", "\\");
    let text = text.replace("{{", "\u{1}").replace("}}", "\u{2}");
    filled.replace_all(&text, "…").replace('\u{1}', "{").replace('\u{2}', "}")
}

/// The catalogue as Markdown, module by module.
pub(crate) fn markdown() -> String {
    let hinted = Regex::new(r"\.hint\( ?(format!\( ?)?$").unwrap();
    let said = Regex::new(concat!(
        r"(Diagnostic::(error|warning)\(|Failure::usage\(|let (problem|reason|message) =|#\[error\(|",
        r"\.error\([^()]*(\([^()]*\))?[^()]*,|Problem::(error|warning)\([^;]*,|return refused\(row,|",
        r##"AwsError::own\(Class::\w+,( ?("",|[^"();]*,))*) ?(format!\( ?)?$"##,
    ))
    .unwrap();
    let advised = Regex::new(r", ?(format!\( ?)?$").unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut page = String::new();
    for path in sources(&root) {
        let mut rows: Vec<(String, Vec<String>)> = Vec::new();
        let mut is_open = false;
        for Literal { before, text } in literals(&fs::read_to_string(&path).unwrap()) {
            let is_sentence = text.chars().filter(|c| c.is_alphabetic()).count() > 8 && text.contains(' ');
            if said.is_match(&before) && is_sentence {
                rows.push((text, Vec::new()));
                is_open = true;
            } else if is_open
                && is_sentence
                && (hinted.is_match(&before) || (advised.is_match(&before) && !before.contains(';')))
            {
                rows.last_mut().unwrap().1.push(text);
            } else if before.contains('}') {
                is_open = false;
            }
        }
        let mut seen = std::collections::BTreeSet::new();
        rows.retain(|(text, _)| seen.insert(text.clone()));
        if rows.is_empty() {
            continue;
        }
        let module = path.strip_prefix(&root).unwrap().with_extension("");
        let _ = writeln!(page, "### `{}`\n| what is said | what to do |\n|---|---|", module.display());
        for (text, hints) in rows {
            let cell = |text: &str| text.replace('|', "\\|");
            let _ = writeln!(page, "| {} | {} |", cell(&text), cell(&hints.join("; ")));
        }
    }
    page
}

#[test]
fn what_is_said_is_found_where_it_is_made() {
    let page = markdown();
    let n_rows = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| what is said")).count();
    assert!(n_rows > 200, "{n_rows}");
    for said in [
        "| the saved plan no longer holds, so nothing was changed | look at the plan above, and save it anew with \
         `engine diff --out` |",
        "| `…` has no value | give it one, or remove the line |",
        "| the local AWS does not run on Windows itself |",
        "| no AWS credentials were found |",
        "it would be replaced, but its tags may not be read, so it may not be ours",
    ] {
        assert!(page.contains(said), "{said} is not in\n{page}");
    }
}
