//! The fuzzer's checks as ordinary tests: the same functions, run with the seeds in `fuzz/seeds`
//! and with mutations of them. Inputs of earlier findings are seeds, too.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use engine::kinds::properties_of_policy;
use engine::saved::SavedPlan;
use engine::spec::{Depth, Spec, SpecOverrides};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

#[path = "../../fuzz/targets.rs"]
mod targets;

/// Far more than any target needs, even on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

/// Files below a folder; a corpus has few levels.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

/// The inputs that the fuzzer starts from.
fn seeds(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let elsewhere: &[&str] = match target {
        "spec" => &["../specs", "tests/specs"],
        "javascript" => &["../lambda-src"],
        _ => &[],
    };
    let mut found = Vec::new();
    files(&root.join("fuzz/seeds").join(target), &mut found);
    elsewhere.iter().for_each(|folder| files(&root.join(folder), &mut found));
    found.sort();
    found.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// Runs `target` on its own thread to detect one that hangs.
fn run(target: targets::Target, bytes: &[u8]) -> Result<(), String> {
    let (sender, receiver) = mpsc::channel();
    let input = bytes.to_vec();
    let thread = std::thread::spawn(move || {
        target(&input);
        // Nothing receives this after the time limit.
        let _ = sender.send(());
    });
    match receiver.recv_timeout(LIMIT) {
        Ok(()) => Ok(()),
        Err(mpsc::RecvTimeoutError::Timeout) => Err(format!("not done after {LIMIT:?}")),
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            let panic = thread.join().unwrap_err();
            let said =
                panic.downcast_ref::<String>().cloned().or(panic.downcast_ref::<&str>().map(|it| (*it).to_owned()));
            Err(said.unwrap_or_default())
        }
    }
}

/// A change of some bytes: where, how many old bytes it removes, and the new bytes.
#[derive(Debug, Clone)]
struct ByteEdit {
    at: prop::sample::Index,
    removed: usize,
    inserted: Vec<u8>,
}

fn edit() -> impl Strategy<Value = ByteEdit> {
    let words = [
        "\n",
        "  ",
        "\t",
        ": ",
        "- ",
        "? ",
        "[",
        "]",
        "{",
        "}",
        ",",
        "\"",
        "'",
        "#",
        "&a ",
        "*a",
        "!t ",
        "|\n",
        ">-\n",
        "---\n",
        "${",
        "$${",
        "}",
        "${team}",
        "${a.arn}",
        "${var.x}",
        "<<",
        "~",
        "\u{feff}",
        "\u{a0}",
        "“",
        "：",
        "\r",
        "\r\n",
        "\0",
        "\\u",
        "%",
        "%2F",
        "null",
        "-1",
        "1e999",
        "0x",
        "99999999999999999999",
        "`",
        "/*",
        "//",
        "exports.",
        "import ",
        "\u{10ffff}",
    ];
    let word = prop::sample::select(words.to_vec()).prop_map(|word| word.as_bytes().to_vec());
    let inserted = prop_oneof![4 => word, 2 => prop::collection::vec(any::<u8>(), 0..4), 1 => Just(Vec::new())];
    (any::<prop::sample::Index>(), prop_oneof![3 => 0..2_usize, 1 => 0..40_usize], inserted)
        .prop_map(|(at, removed, inserted)| ByteEdit { at, removed, inserted })
}

fn mutated(seed: &[u8], other: Option<&[u8]>, edits: &[ByteEdit]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    if let Some(other) = other {
        // The first half of one seed and the second half of the other.
        bytes.truncate(seed.len() / 2);
        bytes.extend_from_slice(&other[other.len() / 2..]);
    }
    for ByteEdit { at, removed, inserted } in edits {
        let at = at.index(bytes.len() + 1);
        let end = (at + removed).min(bytes.len());
        bytes.splice(at..end, inserted.iter().copied());
    }
    bytes
}

/// Checks every seed, and mutations of them.
fn check(name: &str) {
    let target = targets::ALL.into_iter().find(|(known, _)| *known == name).unwrap().1;
    let seeds = seeds(name);
    for (path, bytes) in &seeds {
        run(target, bytes).unwrap_or_else(|problem| panic!("{}: {problem}", path.display()));
    }
    let pick = || any::<prop::sample::Index>();
    let strategy = (pick(), prop::option::weighted(0.2, pick()), prop::collection::vec(edit(), 1..8));
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    let outcome = TestRunner::new(config).run(&strategy, |(seed, other, edits)| {
        let of = |index: prop::sample::Index| index.get(&seeds).1.as_slice();
        let bytes = mutated(of(seed), other.map(of), &edits);
        run(target, &bytes).map_err(|problem| {
            TestCaseError::fail(format!("{problem}\nin {}", String::from_utf8_lossy(&bytes).escape_debug()))
        })
    });
    outcome.unwrap_or_else(|problem| panic!("{problem}"));
}

#[test]
fn any_spec_is_read_or_refused_with_locations_and_hints() {
    check("spec");
}

#[test]
fn any_text_is_split_at_its_references() {
    check("reference");
}

#[test]
fn any_saved_plan_is_read_as_it_was_written_or_refused() {
    check("plan");
}

#[test]
fn the_seeds_pass_the_first_checks() {
    let seed = |name: &str| fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name)).unwrap();
    assert!(SavedPlan::parse(&seed("plan/whole")).unwrap().is_some());
    assert_eq!(properties_of_policy(std::str::from_utf8(&seed("policy/several")).unwrap()).unwrap().len(), 2);
    let overrides = SpecOverrides { vars: [("team".to_owned(), "owls".to_owned())].into(), ..SpecOverrides::default() };
    let spec =
        Spec::parse(&engine::kinds::all(), Path::new("team.yaml"), &seed("spec/every-kind"), &overrides, Depth::Full)
            .unwrap();
    assert_eq!(spec.resources.len(), 5);
}

#[test]
fn any_policy_is_normalized_completely() {
    check("policy");
}

#[test]
fn any_request_is_parsed_or_rejected() {
    check("request");
}

#[test]
fn any_javascript_can_be_analyzed() {
    check("javascript");
}

#[test]
fn any_log_is_shown_in_full_without_terminal_commands() {
    check("log");
}

#[test]
fn the_fuzzer_and_the_tests_run_the_same_targets() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let script = fs::read_to_string(folder.join("run")).unwrap();
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    for (name, _) in targets::ALL {
        let target = fs::read_to_string(folder.join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(target.contains(&format!("targets::{name}(bytes)")), "{name}");
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
        let all = script.lines().find(|line| line.contains("set --")).unwrap();
        assert!(all.split_whitespace().any(|word| word.trim_end_matches(';') == name), "{name}");
    }
}
