//! The README is true: every command line in it runs, every output in it is what the program prints, and its table of
//! properties is the schema's. `UPDATE_README=1 cargo test readme` writes the latter two anew.

use std::path::{Path, PathBuf};
use std::process::Command;

use engine::kinds::registry;
use engine::render::explain;

use crate::support::{ENGINE, installed};

/// A copy of what a fresh clone has, with a local AWS of its own.
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

    /// Runs a line of the README as a shell would, on AWS if it is not meant for the local one, and returns its exit
    /// code and both streams as a terminal shows them.
    fn run(&self, line: &str, endpoint: Option<&str>) -> (i32, String) {
        let line = line.replacen("cargo run --", "engine", 1);
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{} 2>&1", line.replacen("engine", ENGINE, 1))]);
        command.current_dir(self.folder.path()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap());
        command.env("HOME", self.folder.path()).env("ENGINE_CACHE_DIR", installed());
        if let Some(endpoint) = endpoint {
            command.env("AWS_ENDPOINT_URL", endpoint).env("AWS_EC2_METADATA_DISABLED", "true");
            command.env("AWS_ACCESS_KEY_ID", "000000000001").env("AWS_SECRET_ACCESS_KEY", "any");
        }
        let output = command.output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    }
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

/// Leaves out what differs from run to run: what the first use of a machine says, times, and the order in which steps
/// that run at once report.
fn comparable(output: &str) -> Vec<String> {
    let first_use = ["installing ", "waiting for another ", "functions run with ", "starting ", "local AWS: started "];
    let lines = output.lines().filter(|line| !first_use.iter().any(|start| line.starts_with(start)));
    let untimed = lines.map(|line| match line.split_once(" after ") {
        Some((what, time)) if time.ends_with("ok") => format!("{what} after a while"),
        // What took longest when all of it takes no time is chance.
        _ if line.starts_with("Took ") => "Took a while".to_owned(),
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
            // Blocks with the same command follow one another, so each takes the first that is still as it was.
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

/// Where the program finds AWS by AWS's own settings: here that leads to the local one and a role made there.
fn aws(clone: &Clone) -> String {
    clone.run("engine diff --local", None);
    let (_, status) = clone.run("engine local status", None);
    status.split_whitespace().nth(1).unwrap().to_owned()
}

/// How a command line of the documentation may end.
fn endings(line: &str) -> &'static [i32] {
    match line {
        // It asks, and nobody is there to answer.
        _ if line.starts_with("engine destroy") && !line.contains("--yes") => &[0, 1],
        _ if line.contains("--detailed-exitcode") => &[0, 2],
        _ => &[0],
    }
}

#[test]
fn every_command_line_of_the_help_runs() {
    let clone = Clone::new();
    let endpoint = aws(&clone);
    clone.run("engine apply specs/examples/inline.yaml", Some(&endpoint));
    let mut n_lines = 0;
    // What looks needs something to look at, and what removes comes last; without its tags a young table would have to
    // be waited for.
    for command in ["explain", "apply", "diff", "output", "list", "logs", "verify", "policy", "destroy", "release"] {
        let (_, help) = clone.run(&format!("engine {command} --help"), None);
        let examples = help.split("Examples:\n").nth(1).unwrap();
        let lines = examples.lines().filter_map(|line| line.strip_prefix("  engine "));
        // What ends with Ctrl-C alone is run by `e2e::logs`.
        for line in lines.filter(|line| !line.contains("--follow")) {
            n_lines += 1;
            let line = format!("engine {}", line.split("   ").next().unwrap().trim());
            let (code, printed) =
                clone.run(&line, Some(&endpoint).filter(|_| !line.contains("--local")).map(|it| &**it));
            assert!(endings(&line).contains(&code), "`{line}` ended with {code}:\n{printed}");
        }
    }
    assert!(n_lines > 15, "{n_lines}");
}

#[test]
fn every_command_line_of_the_readme_runs() {
    let clone = Clone::new();
    let mut endpoint = None;
    let readme = readme();
    let lines = blocks(&readme, false).into_iter().flat_map(str::lines).filter_map(|line| line.strip_prefix("$ "));
    let mut n_lines = 0;
    // This very run is the test command.
    for line in lines.filter(|line| *line != "cargo test") {
        n_lines += 1;
        let on_this_machine = line.contains(" local") || line.contains("--local");
        if !on_this_machine && endpoint.is_none() {
            endpoint = Some(aws(&clone));
        }
        let (code, printed) = clone.run(line, endpoint.as_deref().filter(|_| !on_this_machine));
        assert!(endings(line).contains(&code), "`{line}` ended with {code}:\n{printed}");
    }
    assert!(n_lines > 10, "the README's command lines are not where this test looks for them");
}

#[test]
fn the_spec_in_the_readme_is_the_one_in_the_repository() {
    let readme = readme();
    let shown = readme.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let parse = |text: &str| serde_yaml::from_str::<serde_yaml::Value>(text).unwrap();
    assert_eq!(parse(shown), parse(&std::fs::read_to_string(root().join("specs/team.yaml")).unwrap()));
}

#[test]
fn the_table_of_properties_in_the_readme_is_the_schemas() {
    let (begin, end) = ("<!-- properties: begin -->\n", "<!-- properties: end -->");
    let readme = readme();
    let (before, rest) = readme.split_once(begin).unwrap();
    let (shown, after) = rest.split_once(end).unwrap();
    let table = explain::markdown(registry().values().map(|kind| kind.schema()));
    if updating() {
        std::fs::write(root().join("README.md"), format!("{before}{begin}{table}{end}{after}")).unwrap();
    } else {
        assert_eq!(shown, table);
    }
}
