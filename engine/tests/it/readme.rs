//! Tests of the README and the pages in `docs`: every command runs, every link resolves, every
//! output in the README matches what the program prints, and generated parts are up to date.
//! `UPDATE_README=1 cargo test readme` regenerates outputs and generated parts.

use std::collections::BTreeSet;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use engine::kinds::all;
use engine::render::explain;

use crate::shared::program::{Program, Ran};
use crate::support::{self, ENGINE};

/// The time limit of a command: some install packages.
const LIMIT: Duration = Duration::from_secs(300);

/// A copy of the files of a fresh clone, with its own local AWS.
struct Clone {
    folder: tempfile::TempDir,
}

impl Clone {
    fn new() -> Clone {
        let folder = tempfile::tempdir().unwrap();
        for part in ["specs", "lambda-src"] {
            copy(&root().join(part), &folder.path().join(part));
        }
        Clone { folder }
    }

    /// Runs a line of the README like a shell, at `endpoint` as if it were AWS if given, and
    /// returns its exit code and both streams interleaved as in a terminal.
    fn run(&self, line: &str, endpoint: Option<&str>) -> (i32, String) {
        let line = line.replacen("cargo run --", "engine", 1);
        let mut command = Program::new("sh", self.folder.path());
        // Ctrl-C is for engine, not for the shell.
        let exec = if line.starts_with("engine dev") { "exec " } else { "" };
        command.args(["-c", &format!("{exec}{} 2>&1", line.replacen("engine", ENGINE, 1))]).local_aws().limit(LIMIT);
        if let Some(endpoint) = endpoint {
            command.env("AWS_ENDPOINT_URL", endpoint);
            let record = std::fs::read(self.folder.path().join(".engine/local.json")).unwrap_or_default();
            let record: serde_json::Value = serde_json::from_slice(&record).unwrap_or_default();
            let key = record["key"].as_str().unwrap_or_default();
            command.env("AWS_ACCESS_KEY_ID", format!("{key}000000000001")).env("AWS_SECRET_ACCESS_KEY", "any");
        }
        let ran = if line.starts_with("engine dev") { until_watching(&mut command) } else { command.run() };
        (ran.code().unwrap(), ran.out)
    }
}

/// Runs a command that ends with Ctrl-C, which is pressed once everything is deployed.
fn until_watching(command: &mut Program) -> Ran {
    let mut running = command.start();
    if running.out.any(|line| line.contains("watching")) {
        running.press_ctrl_c();
    }
    running.end()
}

impl Drop for Clone {
    fn drop(&mut self) {
        self.run("engine local stop", None);
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn readme() -> String {
    std::fs::read_to_string(root().join("README.md")).unwrap()
}

fn updating() -> bool {
    std::env::var_os("UPDATE_README").is_some()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The bodies of the README's `console` blocks: those marked as transcripts, or the others.
fn blocks(readme: &str, transcripts: bool) -> Vec<&str> {
    let mut blocks = Vec::new();
    let mut rest = readme;
    while let Some(start) = rest.find("```console\n") {
        let (before, after) = rest.split_at(start);
        let body = &after["```console\n".len()..];
        let end = body.find("```").unwrap();
        if before.trim_end().ends_with("<!-- transcript -->") == transcripts {
            blocks.push(&body[..end]);
        }
        rest = &body[end + 3..];
    }
    blocks
}

/// Removes what differs between runs: messages of a first run, times, and the order of concurrent
/// steps.
fn comparable(output: &str) -> Vec<String> {
    let first_use = [
        "installing ",
        "downloaded ",
        "still installing",
        "waiting for another ",
        "functions run with ",
        "starting ",
        "local AWS: not running",
        "local AWS: started ",
    ];
    let lines = output.lines().filter(|line| !first_use.iter().any(|start| line.starts_with(start)));
    let untimed = lines.map(|line| match line.split_once(" after ") {
        Some((what, time)) if time.ends_with("ok") => format!("{what} after a while"),
        // The critical path is random if all steps take almost no time.
        _ if line.starts_with("Finished in ") => "Finished in a while".to_owned(),
        _ => line.to_owned(),
    });
    let mut lines: Vec<String> = untimed.collect();
    let plan = lines.iter().position(|line| line.starts_with("Plan:")).unwrap_or(lines.len());
    lines[plan..].sort();
    lines
}

#[test]
fn outputs_in_the_readme_are_what_the_program_prints() {
    let clone = Clone::new();
    let mut text = readme();
    for block in blocks(&readme(), true) {
        let (line, shown) = block.strip_prefix("$ ").unwrap().split_once('\n').unwrap();
        let (_, printed) = clone.run(line, None);
        if updating() {
            let kept: Vec<&str> =
                printed.lines().filter(|line| line.is_empty() || !comparable(line).is_empty()).collect();
            let new = format!("$ {line}\n{}\n", kept.join("\n"));
            // Blocks with the same command keep their order, so each run updates the first
            // unchanged block.
            text = text.replacen(
                &format!("<!-- transcript -->\n```console\n{block}"),
                &format!("<!-- done -->\n```console\n{new}"),
                1,
            );
        } else {
            assert_eq!(comparable(shown), comparable(&printed), "`{line}` prints:\n{printed}");
        }
    }
    if updating() {
        std::fs::write(root().join("README.md"), text.replace("<!-- done -->", "<!-- transcript -->")).unwrap();
    }
}

/// The endpoint that AWS's own settings use for AWS: a local AWS with the imported role.
fn aws(clone: &Clone) -> String {
    clone.run("engine diff --local", None);
    let (_, status) = clone.run("engine local status", None);
    status.split_whitespace().nth(1).unwrap().to_owned()
}

/// The exit codes that a command in the documentation can have.
fn endings(line: &str) -> &'static [i32] {
    match line {
        // It asks for confirmation, but there is no terminal.
        _ if line.starts_with("engine destroy") && !line.contains("--yes") => &[0, 1],
        // It asks for confirmation on AWS, and ends with Ctrl-C.
        _ if line.starts_with("engine dev") => &[1, 130],
        _ if line.contains("--detailed-exitcode") => &[0, 2],
        // The local AWS may be stopped.
        "engine local status" => &[0, 1],
        // Not every team in the list has deployed its function.
        _ if line.starts_with("engine logs --teams") => &[0, 1],
        // The account has no such resource.
        _ if line.contains(" Orders") => &[1],
        // The clone already has a spec.
        "engine init" => &[1],
        _ => &[0],
    }
}

#[test]
fn every_example_in_the_help_runs() {
    let clone = Clone::new();
    let endpoint = aws(&clone);
    clone.run("engine apply specs/examples/inline.yaml", Some(&endpoint));
    let mut n_lines = 0;
    // Commands that read need deployed resources, and commands that delete come last. `forget`
    // comes after `destroy`, because a new table without tags would cause a wait.
    let commands = "explain init validate render schema graph completions man apply diff preflight output list logs status verify items invoke export dev \
                    policy doctor destroy forget local";
    let (_, help) = clone.run("engine --help", None);
    let listed = support::commands(&help);
    let listed: BTreeSet<&str> = listed.iter().map(String::as_str).collect();
    assert_eq!(listed, commands.split_whitespace().collect(), "each has examples");
    let below = |command: &'static str| match command {
        "local" => vec!["local start", "local status", "local env", "local reset", "local", "local stop"],
        "items" => vec!["items", "items put", "items list", "items delete"],
        _ => vec![command],
    };
    for command in commands.split_whitespace().flat_map(below) {
        let (_, help) = clone.run(&format!("engine {command} --help"), None);
        let examples = help.split("Examples:\n").nth(1).unwrap();
        let lines = examples.lines().take_while(|line| !line.is_empty());
        let lines = lines.filter_map(|line| line.strip_prefix("  engine "));
        // Commands that only end with Ctrl-C are tested in `e2e::logs`.
        for line in lines.filter(|line| !line.contains("--follow") && !line.contains("--watch")) {
            n_lines += 1;
            let line = format!("engine {}", line.split("   ").next().unwrap().trim());
            let (code, printed) =
                clone.run(&line, Some(&endpoint).filter(|_| !line.contains("--local")).map(|it| &**it));
            assert!(endings(&line).contains(&code), "`{line}` ended with {code}:\n{printed}");
        }
    }
    assert!(n_lines > 15, "{n_lines}");
}

/// The README and the pages in `docs`.
fn pages() -> Vec<PathBuf> {
    let docs = std::fs::read_dir(root().join("engine/docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut pages: Vec<PathBuf> = docs.filter(|path| path.extension().is_some_and(|it| it == "md")).collect();
    pages.push(root().join("README.md"));
    pages.sort();
    pages
}

#[test]
fn every_command_in_the_readme_and_the_docs_runs() {
    const AT_ONCE: usize = 3;
    let pages = pages();
    let n_lines: usize = std::thread::scope(|scope| {
        let workers = (0..AT_ONCE).map(|worker| {
            let own = pages.iter().skip(worker).step_by(AT_ONCE);
            scope.spawn(move || own.map(|page| run_commands(page)).sum::<usize>())
        });
        let workers: Vec<_> = workers.collect();
        workers.into_iter().map(|worker| worker.join().unwrap_or_else(|why| resume_unwind(why))).sum()
    });
    assert!(n_lines > 60, "the command lines are not where this test looks for them: {n_lines}");
}

/// Runs the command lines of a page in a clone of its own, and returns how many there are.
fn run_commands(page: &Path) -> usize {
    let text = std::fs::read_to_string(page).unwrap();
    let clone = Clone::new();
    let mut endpoint = None;
    // Blocks in a list are indented.
    let text: String = text.lines().map(|line| format!("{}\n", line.trim_start())).collect();
    let lines = blocks(&text, false).into_iter().flat_map(str::lines).filter_map(|line| line.strip_prefix("$ "));
    // `cargo test` is already running.
    let lines: Vec<&str> = lines.filter(|line| *line != "cargo test").collect();
    for line in &lines {
        let on_this_machine = line.contains(" local") || line.contains("--local");
        if !on_this_machine && endpoint.is_none() {
            endpoint = Some(aws(&clone));
        }
        let (code, printed) = clone.run(line, endpoint.as_deref().filter(|_| !on_this_machine));
        let page = page.display();
        assert!(endings(line).contains(&code), "{page}: `{line}` ended with {code}:\n{printed}");
    }
    lines.len()
}

/// A heading's anchor, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept.trim_start_matches('#').trim().chars().filter(|c| c.is_alphanumeric() || "-_ ".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_link_in_the_readme_and_the_docs_resolves() {
    let others = ["engine/ARCHITECTURE.md", "engine/SECURITY.md", "engine/CHANGELOG.md"].map(|name| root().join(name));
    let mut n_links = 0;
    for page in pages().into_iter().chain(others) {
        let text = std::fs::read_to_string(&page).unwrap();
        for rest in text.split("](").skip(1) {
            let target = rest.split(')').next().unwrap();
            if target.starts_with("http") || target.contains(' ') {
                continue;
            }
            n_links += 1;
            let (file, part) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            assert!(path.exists(), "{}: {target}", page.display());
            if !part.is_empty() {
                let there = std::fs::read_to_string(&path).unwrap();
                let headings = there.lines().filter(|line| line.starts_with('#')).map(anchor);
                assert!(headings.into_iter().any(|it| it == part), "{}: {target}", page.display());
            }
        }
    }
    assert!(n_links > 20, "{n_links}");
}

/// Fails unless the text between two marks in a page equals the generated text.
fn expect_generated(page: &str, mark: &str, wanted: &str) {
    let path = root().join("engine/docs").join(page);
    let text = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = (format!("<!-- {mark}: begin -->\n"), format!("<!-- {mark}: end -->"));
    let (before, rest) = text.split_once(&begin).unwrap();
    let (shown, after) = rest.split_once(&end).unwrap();
    if updating() {
        std::fs::write(&path, format!("{before}{begin}{wanted}{end}{after}")).unwrap();
    } else {
        assert_eq!(shown, wanted, "`UPDATE_README=1 cargo test readme` writes {page} anew");
    }
}

#[test]
fn the_spec_reference_and_the_error_catalog_are_generated() {
    expect_generated("spec.md", "properties", &explain::markdown(all().schemas()));
    expect_generated("spec.md", "words", &engine::spec::grammar::markdown(&engine::kinds::all()));
    let mut codes = String::new();
    for code in engine::cause::Code::ALL {
        let entry = code.entry();
        codes += &format!("### `{}`: {}\n", code.name(), entry.title);
        codes += &format!("Why: {}. Next: {}.\n\n{}\n\n", entry.why, entry.next, entry.more);
    }
    expect_generated("errors.md", "codes", &codes);
    expect_generated("errors.md", "causes", &crate::spec::catalogue());
}

#[test]
fn the_spec_in_the_readme_is_the_one_in_the_repository() {
    let readme = readme();
    let shown = readme.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let parse = |text: &str| serde_yaml::from_str::<serde_yaml::Value>(text).unwrap();
    assert_eq!(parse(shown), parse(&std::fs::read_to_string(root().join("specs/team.yaml")).unwrap()));
}
