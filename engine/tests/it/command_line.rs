//! Tests of the command line without AWS: old names, the search for a spec, and the help of each
//! command. Each run of the real program has its own environment.

#![cfg(unix)]

use std::fs;
use std::path::Path;

use crate::shared::program::{Program, Ran};
use crate::support::commands;

/// A project in a temporary folder, next to a home folder.
struct TestProject(tempfile::TempDir);

impl TestProject {
    fn new() -> TestProject {
        let project = TestProject(tempfile::tempdir().unwrap());
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for file in ["specs/team.yaml", "lambda-src/log-events/index.js"] {
            project.write(&format!("project/{file}"), &fs::read_to_string(root.join(file)).unwrap());
        }
        fs::create_dir_all(project.0.path().join("home")).unwrap();
        fs::create_dir_all(project.0.path().join("project/a/b")).unwrap();
        project
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn command(&self, folder: &str, line: &str) -> Program {
        let mut engine = Program::engine(&self.0.path().join(folder));
        engine.args(line.split_whitespace()).env("HOME", self.0.path().join("home"));
        engine
    }

    fn run(&self, folder: &str, line: &str) -> Ran {
        self.command(folder, line).run()
    }

    #[track_caller]
    fn expect(&self, folder: &str, line: &str, code: i32, words: &[&str]) {
        self.run(folder, line).expect(code, words);
    }
}

/// Command lines of earlier versions or other tools, and their current form.
const OLD: [(&str, &str); 35] = [
    ("check", "preflight"),
    ("check specs/team.yaml --format human", "preflight -f specs/team.yaml"),
    ("check --help", "preflight --help"),
    ("release todos", "forget todos"),
    ("release todos specs/team.yaml", "forget todos --spec specs/team.yaml"),
    ("release --help", "forget --help"),
    ("plan", "diff"),
    ("plan --help", "diff --help"),
    ("deploy --yes", "apply --yes"),
    ("deploy --help", "apply --help"),
    ("man check", "man preflight"),
    ("man release", "man forget"),
    ("man deploy", "man apply"),
    ("diff --format human", "diff --format text"),
    ("apply --format human", "apply --format text"),
    ("destroy --format human", "destroy --format text"),
    ("output --format human", "output --format text"),
    ("list --format human", "list --format text"),
    ("logs --format human", "logs --format text"),
    ("verify --format human", "verify --format text"),
    ("validate --format human", "validate --format text"),
    ("validate --format json", "validate --json"),
    ("diff --format json", "diff --json"),
    ("diff specs/team.yaml", "diff -f specs/team.yaml"),
    ("diff specs/team.yaml", "diff --file specs/team.yaml"),
    ("output --spec specs/team.yaml", "output -f specs/team.yaml"),
    ("graph specs/team.yaml", "graph -f specs/team.yaml"),
    ("verify specs/team.yaml --timeout 600", "verify -f specs/team.yaml --timeout 10m"),
    ("logs --since 90s", "logs --since 90"),
    ("policy --for check --account 123456789012", "policy --for preflight --account 123456789012"),
    ("policy --for export --account 123456789012", "policy --for diff --account 123456789012"),
    ("policy specs/team.yaml --account 123456789012", "policy -f specs/team.yaml --account 123456789012"),
    ("apply --auto-approve", "apply --yes"),
    ("destroy --auto-approve", "destroy --yes"),
    ("destroy --force", "destroy --yes"),
];

#[test]
fn old_names_and_those_of_other_tools_behave_like_the_current_ones() {
    let project = TestProject::new();
    for (old, new) in OLD {
        let (ran, wanted) = (project.run("project", old), project.run("project", new));
        assert_eq!((ran.code(), &ran.out, &ran.err), (wanted.code(), &wanted.out, &wanted.err), "`{old}` and `{new}`");
        // The command line is valid: only credentials are missing.
        assert!(ran.code() == Some(0) || ran.err.contains("error[no-credentials]"), "`{old}`: {}", ran.err);
    }
}

#[test]
fn a_spec_is_found_from_any_folder_below_its_project_and_nowhere_else() {
    let project = TestProject::new();
    let valid = "`../../specs/team.yaml` is valid.";
    project.expect("project/a/b", "validate", 0, &[valid]);
    project.expect("project", "validate", 0, &["`specs/team.yaml` is valid."]);
    project.expect("", "-C project/a/b validate", 0, &[valid]);
    project.expect("", "validate project", 0, &["`project/specs/team.yaml` is valid."]);
    project.expect("", "graph -f project", 0, &["todos-to-logger"]);
    project.expect("", "policy project --account 123456789012", 0, &["blue-owls"]);
    let none = "no spec found: there is no `specs/` folder here";
    project.expect("", "diff", 1, &[none, "`engine init` writes a starter spec"]);
    // The search stops at a repository and at the home folder.
    fs::create_dir(project.0.path().join("project/a/.git")).unwrap();
    project.expect("project/a/b", "diff", 1, &[none]);
    fs::rename(project.0.path().join("project/a/.git"), project.0.path().join("project/.git")).unwrap();
    project.expect("project/a/b", "validate", 0, &[valid]);
    let home = project.command("project/a/b", "diff").env("HOME", project.0.path().join("project/a")).run();
    assert!(home.err.contains(none));
    // The parent folder belongs to the system. As root, the test makes another user its owner.
    let is_root = rustix::process::geteuid().is_root();
    if is_root {
        std::os::unix::fs::chown(project.0.path().join("project"), Some(65_534), None).unwrap();
        project.expect("project", "validate", 0, &["`specs/team.yaml` is valid."]);
        project.expect("project/a/b", "diff", 1, &[none, "project` wasn't searched: it belongs to another user"]);
    } else {
        project.expect("", "diff", 1, &["wasn't searched: it belongs to another user"]);
    }
}

#[test]
fn specs_outside_the_specs_folder_are_suggested_by_name() {
    let project = TestProject::new();
    let spec = fs::read_to_string(project.0.path().join("project/specs/team.yaml")).unwrap();
    project.write("loose/team.yaml", &spec);
    project.write("loose/compose.yaml", "services: {}\n");
    project.write("loose/lambda-src/log-events/index.js", "exports.handler = async () => {};\n");
    project.expect("loose", "diff", 1, &["no spec found", "add `--spec team.yaml`"]);
    assert!(!project.run("loose", "diff").err.contains("compose"));
    project.write("loose/specs/one.yml", &spec);
    project.expect("loose", "validate", 0, &["`specs/one.yml` is valid."]);
    project.write("loose/specs/two.yml", &spec);
    project.expect("loose", "diff", 1, &["`specs` has several specs", "`specs/one.yml`, `specs/two.yml`"]);
    fs::remove_dir_all(project.0.path().join("loose/specs")).unwrap();
    fs::create_dir(project.0.path().join("loose/specs")).unwrap();
    project.expect("loose", "diff", 1, &["no spec found: `specs` has no YAML file", "add `--spec team.yaml`"]);
}

#[test]
fn every_help_shows_the_environment_variables_and_the_exit_codes() {
    let project = TestProject::new();
    let help = |line: &str| {
        let ran = project.run("project", line);
        assert_eq!((ran.code(), ran.err.as_str()), (Some(0), ""), "{line}");
        ran.out
    };
    let mut all = vec![String::new(), "local start".to_owned(), "local status".to_owned()];
    all.extend(commands(&help("--help")));
    assert_eq!(all.len(), 28);
    let offline = ["validate", "explain", "render", "completions", "man", "schema", "local"];
    for command in all {
        let (short, long) = (help(&format!("{command} -h")), help(&format!("{command} --help")));
        for text in ["Environment:", "Exit codes:", "--log-format", "NO_COLOR", "130   interrupted", "-C, --directory"]
        {
            assert!(long.contains(text), "{command}: {text}");
            assert!(!short.contains(text), "{command}: {text}");
        }
        let asks = !offline.contains(&command.split(' ').next().unwrap());
        assert_eq!(long.contains("--profile"), asks, "{command}");
        assert_eq!(long.contains("AWS_PROFILE"), asks, "{command}");
        let man = help(&format!("man {command}")).replace("\\-", "-");
        assert!(man.contains("Exit codes:") && man.contains("ENGINE_VAR_"), "{command}: {man}");
    }
    assert!(help("version").starts_with(concat!("engine ", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn the_exit_code_of_local_status_shows_whether_it_runs() {
    let project = TestProject::new();
    let ran = project.run("project/a", "local status");
    assert_eq!((ran.code(), ran.out.as_str(), ran.err.as_str()), (Some(1), "not running\n", ""));
    let ran = project.run("project/a", "local status --json");
    let told = &ran.json()[0];
    assert_eq!((ran.code(), &told["running"], &told["endpoint"]), (Some(1), &false.into(), &serde_json::Value::Null));
}
