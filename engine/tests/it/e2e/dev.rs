//! `dev`: what is saved is deployed once, and its log follows.

use std::fs;
use std::time::Duration;

use rexpect::session::PtySession;

use super::builds::workspace;
use super::project::{ACCOUNT, Project};
use super::{NO_CHANGES, TEAM};
use crate::shared::program::{Program, Running, flat};
use crate::shared::{ENGINE, eventually};

const TABLE: &str = "blue-owls-todos";
const CODE: &str = "lambda-src/log-events/index.js";
const DEV: [&str; 3] = ["dev", TEAM, "--local"];
/// Long enough for a machine that does much else.
const LIMIT: Duration = Duration::from_secs(120);

/// A handler that logs this text for each invocation.
fn code(says: &str) -> String {
    format!("exports.handler = async () => {{ console.log('{says}'); }};\n")
}

/// The project with `dev` at work in it.
struct Dev {
    project: Project,
    running: Running,
}

impl Dev {
    fn start(project: Project, args: &[&str]) -> Dev {
        let running = project.command(&[&DEV, args].concat()).limit(LIMIT).start();
        Dev { project, running }
    }

    /// In a project whose code logs `one`.
    fn new() -> Dev {
        let project = Project::new();
        project.write(CODE, &code("one"));
        let mut dev = Dev::start(project, &[]);
        dev.says("watching specs/team.yaml and its code");
        dev
    }

    /// Waits for a line on stderr.
    #[track_caller]
    fn says(&mut self, text: &str) -> String {
        self.running.err.find(|line| line.contains(text)).unwrap_or_else(|| panic!("{text}\n{}", self.running.said()))
    }

    /// Waits for a line on stdout.
    #[track_caller]
    fn prints(&mut self, text: &str) -> String {
        self.running.out.find(|line| line.contains(text)).unwrap_or_else(|| panic!("{text}\n{}", self.printed()))
    }

    fn printed(&self) -> String {
        self.running.out.text()
    }

    fn n_deployed(&self) -> usize {
        self.printed().lines().filter(|line| line.starts_with("deployed ")).count()
    }

    /// Invokes the function, and waits until it logs this.
    fn logs(&mut self, item: &str, text: &str) {
        self.project.account(ACCOUNT).put_item(TABLE, item, "x");
        self.prints(text);
    }

    /// Saves a change and waits for it, so that everything before has been seen.
    fn settle(&mut self, says: &str) {
        self.project.write(CODE, &code(says));
        self.prints("deployed logger");
    }

    /// Presses Ctrl-C; what is deployed stays.
    fn end(self) {
        self.running.press_ctrl_c();
        let ran = self.running.end();
        assert_eq!(ran.code(), Some(130), "{}", ran.text());
        assert!(ran.err.ends_with("stopped; what is deployed stays\n"), "{}", ran.text());
        self.project.run(&["diff", TEAM, "--local", "--detailed-exitcode"]).expect(0, &[NO_CHANGES]);
    }
}

#[test]
fn what_is_saved_is_deployed_once_and_its_log_follows() {
    let mut dev = Dev::new();
    dev.logs("1", "one");
    // Written to a draft and renamed, as many editors do.
    dev.project.write("lambda-src/log-events/.index.js.swp", &code("two"));
    fs::rename(dev.project.path("lambda-src/log-events/.index.js.swp"), dev.project.path(CODE)).unwrap();
    dev.prints("deployed logger");
    dev.logs("2", "two");
    // Saved twice.
    dev.project.write(CODE, &code("thr"));
    dev.project.write(CODE, &code("three"));
    dev.prints("deployed logger");
    dev.logs("3", "three");
    assert_eq!(dev.n_deployed(), 2, "{}", dev.printed());
    // Another branch touches everything.
    dev.project.write(TEAM, &dev.project.read(TEAM));
    dev.project.write("lambda-src/log-events/more.js", "exports.more = 1;\n");
    dev.project.write(CODE, &code("four"));
    dev.prints("deployed logger");
    dev.logs("4", "four");
    assert_eq!(dev.n_deployed(), 3, "{}", dev.printed());
    dev.end();
}

#[test]
fn files_that_are_not_part_of_the_package_cause_no_update() {
    let mut dev = Dev::new();
    for path in [".git/HEAD", "node_modules/left/index.js", "lambda-src/log-events/.git/HEAD", "specs/notes.txt"] {
        fs::create_dir_all(dev.project.path(path).parent().unwrap()).unwrap();
        dev.project.write(path, "changed\n");
    }
    dev.project.run(&["diff", TEAM, "--local", "--out", "plan.json"]).expect(0, &[]);
    dev.project.write(CODE, &code("one"));
    dev.settle("two");
    assert_eq!(dev.n_deployed(), 1, "{}", dev.printed());
    // A module of the package is part of it, also in a new folder.
    fs::create_dir_all(dev.project.path("lambda-src/log-events/node_modules/left")).unwrap();
    dev.project.write("lambda-src/log-events/node_modules/left/index.js", "exports.left = 1;\n");
    dev.prints("deployed logger");
    dev.end();
}

#[test]
fn a_syntax_error_is_shown_once_and_the_old_code_keeps_running() {
    let mut dev = Dev::new();
    dev.project.write(CODE, "exports.handler = async () => {\n  const = 1;\n};\n");
    let shown = dev.says("`index.js` has a syntax error");
    dev.logs("1", "one");
    // The same error again is no news.
    dev.project.write(CODE, &dev.project.read(CODE));
    dev.project.write("lambda-src/log-events/other.js", "exports.other = 1;\n");
    dev.settle("two");
    let said = dev.running.said();
    assert_eq!(said.matches(&shown).count(), 1, "{said}");
    assert!(said.contains("const = 1;"), "the line is shown: {said}");
    dev.logs("2", "two");
    // After a fix it is news.
    dev.project.write(CODE, "exports.handler = async () => {\n  const = 1;\n};\n");
    dev.says("`index.js` has a syntax error");
    dev.settle("three");
    dev.end();
}

#[test]
fn a_changed_environment_is_deployed_without_a_question_and_other_changes_are_not() {
    let mut dev = Dev::new();
    dev.project.write(CODE, "exports.handler = async () => console.log(`mode of ${process.env.MODE?.length}`);\n");
    dev.prints("deployed logger");
    dev.project.edit(TEAM, &[("handler: index.handler", "handler: index.handler\n    environment: { MODE: fast }")]);
    dev.prints("deployed logger");
    dev.logs("1", "mode of 4");
    // It may also come from a file that the spec extends.
    fs::create_dir(dev.project.path("base")).unwrap();
    dev.project.write("base/common.yaml", "vars: { mode: slowly }\n");
    dev.project
        .edit(TEAM, &[("MODE: fast", "MODE: \"${var.mode}\""), ("team: ", "extends: ../base/common.yaml\nteam: ")]);
    dev.prints("deployed logger");
    dev.project.write("base/common.yaml", "vars: { mode: quick }\n");
    dev.prints("deployed logger");
    dev.logs("2", "mode of 5");
    dev.project.edit(TEAM, &[("read_capacity: 1", "read_capacity: 2")]);
    dev.prints("read_capacity = 1 -> 2");
    dev.says("Not applied: run `engine apply --local`");
    // Code is still deployed, and the question isn't repeated.
    dev.settle("two");
    dev.settle("three");
    assert_eq!(dev.running.said().matches("Not applied").count(), 1, "{}", dev.running.said());
    let read = dev.project.run(&["diff", TEAM, "--local", "--detailed-exitcode"]);
    read.expect(2, &["Plan: 0 to add, 1 to change, 0 to destroy."]);
    dev.project.run(&["apply", TEAM, "--local"]).expect(0, &["1 changed"]);
    dev.end();
}

#[test]
fn code_and_environment_are_deployed_while_other_changes_of_the_function_wait() {
    let mut dev = Dev::new();
    let spec = dev.project.read(TEAM);
    let with = |more: &str| spec.replace("    handler: index.handler", &format!("{more}    handler: index.handler"));
    dev.project.write(TEAM, &with("    timeout: 9\n"));
    dev.says("Changes of code are still deployed as you save.");
    dev.settle("two");
    dev.logs("1", "two");
    // A changed value looks the same in a plan.
    for value in ["first", "second"] {
        dev.project
            .write(CODE, "exports.handler = async () => { console.log(`mode of ${process.env.MODE.length}`); };\n");
        dev.project.write(TEAM, &with(&format!("    timeout: 9\n    environment: {{ MODE: {value} }}\n")));
        dev.prints("deployed logger");
        dev.logs(value, &format!("mode of {}", value.len()));
    }
    let timeout = |project: &Project| {
        let aws = project.account(ACCOUNT);
        aws.wait(aws.lambda.get_function_configuration().function_name("blue-owls-logger").send()).timeout
    };
    assert_eq!(timeout(&dev.project), Some(3));
    assert_eq!(dev.running.said().matches("Not applied").count(), 1, "{}", dev.running.said());
    dev.project.run(&["apply", TEAM, "--local", "--yes"]).expect(0, &["0 added, 1 changed"]);
    assert_eq!(timeout(&dev.project), Some(9));
    dev.end();
}

#[test]
fn dev_deletes_and_replaces_nothing() {
    let project = Project::new();
    project.write(CODE, &code("one"));
    let mut dev = Dev::start(project, &["--yes"]);
    dev.says("watching");
    let all = dev.project.read(TEAM);
    let (kept, _) = all.split_once("  todos-to-logger:").unwrap();
    dev.project.write(TEAM, kept);
    dev.says("`dev` never deletes or replaces. To change `todos-to-logger` as well, run `engine apply --local`");
    // A change that deletes nothing is applied.
    dev.project.edit(TEAM, &[("handler: index.handler", "handler: index.handler\n    memory_size: 256")]);
    dev.prints("1 changed, 0 destroyed");
    dev.settle("two");
    dev.project.edit(TEAM, &[("hash_key: id", "hash_key: other"), ("{ id: S }", "{ other: S }")]);
    dev.says("error: `todos` is refused");
    assert_eq!(dev.project.account(ACCOUNT).mappings().len(), 1);
    dev.project.write(TEAM, &all);
    dev.prints("1 changed, 0 destroyed");
    dev.logs("1", "two");
    dev.end();
}

#[test]
fn code_that_is_ignored_or_protected_is_left_alone() {
    let mut dev = Dev::new();
    let with = |lines: &str| format!("handler: index.handler\n    {lines}");
    dev.project.edit(TEAM, &[("handler: index.handler", &with("ignore_changes: [code]"))]);
    dev.project.write(CODE, &code("two"));
    dev.project.edit(TEAM, &[("ignore_changes: [code]", "ignore_changes: [code]\n    environment: { MODE: fast }")]);
    dev.prints("deployed logger");
    dev.logs("1", "one");
    // Its environment is left alone, too.
    let lines = "ignore_changes: [code]\n    environment: { MODE: fast }";
    dev.project.edit(TEAM, &[(lines, "protect: true\n    environment: { MODE: slow }")]);
    let note =
        dev.says("Not deployed as you save: `logger` has `protect: true`; to deploy, run `engine apply --local`");
    dev.project.write(CODE, &code("three"));
    dev.project.edit(TEAM, &[("read_capacity: 1", "read_capacity: 2")]);
    dev.says("Not applied: run `engine apply --local`");
    dev.logs("2", "one");
    assert_eq!(dev.n_deployed(), 1, "{}", dev.printed());
    dev.project.edit(TEAM, &[("protect: true", "timeout: 3"), ("read_capacity: 2", "read_capacity: 1")]);
    dev.prints("deployed logger");
    dev.logs("3", "three");
    assert_eq!(dev.running.said().matches(&note).count(), 1, "{}", dev.running.said());
    dev.end();
}

#[test]
fn deletions_that_dev_will_not_make_need_no_approval() {
    let project = Project::new();
    project.run(&["apply", TEAM, "--local"]).expect(0, &[]);
    let all = project.read(TEAM);
    let (kept, _) = all.split_once("  todos-to-logger:").unwrap();
    project.write(TEAM, &kept.replace("read_capacity: 1", "read_capacity: 2"));
    let mut dev = Dev::start(project, &[]);
    dev.says("`dev` never deletes or replaces. To change `todos-to-logger` as well, run `engine apply --local`");
    dev.says("watching specs/team.yaml and its code");
    dev.prints("1 changed, 0 destroyed");
    assert_eq!(dev.project.account(ACCOUNT).mappings().len(), 1);
    dev.project.write(TEAM, &all.replace("read_capacity: 1", "read_capacity: 2"));
    dev.settle("two");
    dev.end();
}

#[test]
fn a_broken_spec_is_waited_for_and_a_missing_one_is_an_error() {
    let project = Project::new();
    project.write(CODE, &code("one"));
    let whole = project.read(TEAM);
    project.write(TEAM, &whole.replace("billing_mode", "biling_mode"));
    let mut dev = Dev::start(project, &[]);
    dev.says("biling_mode");
    dev.says("waiting for a fix: save specs/team.yaml or its code");
    dev.project.write(TEAM, &whole);
    dev.says("watching specs/team.yaml and its code");
    dev.project.write(TEAM, &whole.replace("read_capacity: 1", "read_capacity: one"));
    dev.says("read_capacity");
    dev.logs("1", "one");
    dev.project.write(TEAM, &whole);
    dev.settle("two");
    dev.end();

    let empty = tempfile::tempdir().unwrap();
    for args in [&["dev", "--local"][..], &["dev", "missing.yaml", "--local"]] {
        let ran = Program::engine(empty.path()).local_aws().args(args).run();
        ran.ends_with(1).complains_once();
    }
    assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0);
}

#[test]
fn a_local_aws_that_stops_is_started_and_deployed_to_again() {
    let mut dev = Dev::new();
    dev.logs("1", "one");
    dev.project.run(&["local", "stop"]).expect(0, &[]);
    dev.says("local AWS: it has stopped; starting it again");
    dev.says("watching");
    dev.logs("2", "one");
    dev.settle("two");
    dev.logs("3", "two");
    dev.end();
}

#[test]
fn a_failing_build_leaves_the_old_code_and_runs_once_for_each_change() {
    let project = Project::new();
    let build = "{ command: 'echo run >> ran; grep -q broken src/index.js && exit 3; mkdir -p dist; cp src/index.js dist', \
                 directory: .., inputs: [src] }";
    project.edit(TEAM, &[("code: ../lambda-src/log-events", &format!("code: ../dist\n    build: {build}"))]);
    fs::create_dir(project.path("src")).unwrap();
    project.write("src/index.js", &code("one"));
    let mut dev = Dev::start(project, &["--allow-build"]);
    dev.says("watching");
    dev.logs("1", "one");
    dev.project.write("src/index.js", "broken");
    dev.says("failed with exit code 3");
    dev.logs("2", "one");
    dev.project.write("src/index.js", &code("two"));
    dev.prints("deployed logger");
    dev.logs("3", "two");
    assert_eq!(dev.project.read("ran").lines().count(), 3);
    dev.end();
}

#[test]
fn code_outside_the_project_is_waited_for_and_never_deployed() {
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("index.js"), code("elsewhere")).unwrap();
    let project = Project::new();
    fs::create_dir(project.path(".git")).unwrap();
    project.write(CODE, &code("one"));
    let inside = project.read(TEAM);
    let outside = inside.replace("code: ../lambda-src/log-events", &format!("code: {}", elsewhere.path().display()));
    assert_ne!(inside, outside);
    project.write(TEAM, &outside);
    let mut dev = Dev::start(project, &[]);
    dev.says("outside the project folder");
    dev.says("waiting for a fix: save specs/team.yaml or its code");
    dev.project.write(TEAM, &inside);
    dev.says("watching specs/team.yaml and its code");
    // While it runs.
    dev.project.write(TEAM, &outside);
    dev.says("outside the project folder");
    dev.logs("1", "one");
    dev.project.write(TEAM, &inside);
    dev.settle("two");
    dev.logs("2", "two");
    assert!(!dev.printed().contains("elsewhere"), "{}", dev.printed());
    dev.end();
}

/// Limits the size of the files that a process and its children write, in bytes, which to them is
/// a full disk.
#[cfg(target_os = "linux")]
fn limit_files(running: &Running, bytes: Option<u64>) {
    let process = rustix::process::Pid::from_raw(running.id().try_into().unwrap());
    let limit = rustix::process::Rlimit { current: bytes, maximum: None };
    rustix::process::prlimit(process, rustix::process::Resource::Fsize, limit).unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_the_old_code_and_is_over_once_there_is_space() {
    let project = Project::new();
    let build = "{ command: 'mkdir -p dist; cp src/index.js dist', directory: .., inputs: [src] }";
    project.edit(TEAM, &[("code: ../lambda-src/log-events", &format!("code: ../dist\n    build: {build}"))]);
    fs::create_dir(project.path("src")).unwrap();
    project.write("src/index.js", &code("one"));
    // Before the limit, which a server would inherit.
    project.endpoint();
    let run = format!("trap '' XFSZ; exec \"$0\" {} --allow-build", DEV.join(" "));
    let running = project.program("sh").args(["-c", &run, ENGINE]).limit(LIMIT).start();
    let mut dev = Dev { project, running };
    dev.says("watching");
    dev.logs("1", "one");
    // The build can't write its output.
    limit_files(&dev.running, Some(0));
    dev.project.write("src/index.js", &code("two"));
    dev.says("File too large");
    dev.says("failed with exit code 1");
    dev.logs("2", "one");
    // It can, and engine can't write what it has built from.
    limit_files(&dev.running, Some(64));
    dev.project.write("src/index.js", &code("three"));
    dev.says("free disk space");
    dev.logs("3", "one");
    limit_files(&dev.running, None);
    dev.project.write("src/index.js", &code("four"));
    dev.prints("deployed logger");
    dev.logs("4", "four");
    assert_eq!(dev.n_deployed(), 1, "{}", dev.printed());
    dev.end();
}

#[test]
fn a_file_beside_the_package_of_a_bundle_is_watched() {
    let mut dev = Dev::start(workspace(), &["--allow-build"]);
    dev.says("watching");
    for says in ["goodbye", "welcome"] {
        let greet = format!("export const greet = (name: string): string => `{says} ${{name}}`;\n");
        dev.project.write("shared/greet.ts", &greet);
        dev.prints("deployed api");
        dev.project.run(&["invoke", "api", "--local"]).expect(0, &[&format!("{says} owl")]);
    }
    // An import that is new.
    fs::create_dir(dev.project.path("more")).unwrap();
    dev.project.write("more/index.ts", "export const more = 'one';\n");
    dev.project
        .write("shared/greet.ts", "import { more } from '../more';\nexport const greet = () => `more: ${more}`;\n");
    dev.prints("deployed api");
    dev.project.write("more/index.ts", "export const more = 'two';\n");
    dev.prints("deployed api");
    dev.project.run(&["invoke", "api", "--local"]).expect(0, &["more: two"]);
    dev.end();
}

#[test]
fn dev_leaves_nothing_behind_however_often_a_file_is_saved() {
    let mut dev = Dev::new();
    let id = dev.running.id();
    let entries = |folder: String| fs::read_dir(folder).unwrap().count();
    let used = || (entries(format!("/proc/{id}/fd")), entries(format!("/proc/{id}/task")));
    (0..3).for_each(|at| dev.settle(&format!("warm {at}")));
    let before = used();
    for at in 0..12 {
        dev.settle(&format!("again {at}"));
    }
    // Threads of the runtime's pool end by themselves.
    eventually("as few files and threads as before", || {
        let now = used();
        now.0 <= before.0 && now.1 <= before.1 + 1
    });
    dev.end();
}

fn terminal(project: &Project, args: &[&str]) -> PtySession {
    project.command(&[&DEV, args].concat()).env("TERM", "xterm").terminal()
}

fn press(terminal: &mut PtySession, key: &str) {
    terminal.send(key).unwrap();
    terminal.flush().unwrap();
}

#[test]
fn keys_apply_invoke_verify_and_quit() {
    let project = Project::new();
    project.write(CODE, &code("one"));
    let mut terminal = terminal(&project, &[]);
    terminal.exp_string("keys: a apply, i invoke, v verify, q quit").unwrap();
    press(&mut terminal, "i");
    terminal.exp_string("invoking blue-owls-logger with a stream record of `todos` (INSERT)").unwrap();
    terminal.exp_string("one").unwrap();
    project.edit(TEAM, &[("read_capacity: 1", "read_capacity: 2")]);
    terminal.exp_string("= 1 -> 2").unwrap();
    terminal.exp_string("Not applied: press a to apply it.").unwrap();
    press(&mut terminal, "a");
    terminal.exp_string("1 changed, 0 destroyed").unwrap();
    press(&mut terminal, "i");
    terminal.exp_string("invoking blue-owls-logger with the event").unwrap();
    press(&mut terminal, "v");
    terminal.exp_string("todos-to-logger").unwrap();
    terminal.exp_string("item").unwrap();
    press(&mut terminal, "q");
    terminal.exp_eof().unwrap();
    let status = format!("{:?}", terminal.process_mut().wait().unwrap());
    assert!(status.starts_with("Exited") && status.ends_with(", 0)"), "{status}");
    project.run(&["diff", TEAM, "--local", "--detailed-exitcode"]).expect(0, &[NO_CHANGES]);
}

#[test]
fn logs_are_printed_while_a_key_is_at_work() {
    let project = Project::new();
    project.write(CODE, &code("a record"));
    let wait = "exports.handler = async ({ path }) => { while (!require('fs').existsSync(path)) \
                await new Promise(next => setTimeout(next, 20)); return 'done'; };";
    let waiter = format!(
        "  waiter:\n    type: function\n    runtime: nodejs22.x\n    handler: index.handler\n    timeout: 60\n    \
         role: ${{execution-role.arn}}\n    code: {{ inline: \"{wait}\" }}\n"
    );
    project.edit(TEAM, &[("resources:\n", &format!("resources:\n{waiter}"))]);
    let end = project.path("end");
    project.write("event.json", &format!("{{ \"path\": {end:?} }}"));
    let mut terminal = terminal(&project, &["--event", "event.json"]);
    terminal.exp_string("keys: a apply, i invoke, v verify, q quit").unwrap();
    press(&mut terminal, "i");
    terminal.exp_string("invoking blue-owls-waiter with the event").unwrap();
    project.account(ACCOUNT).put_item(TABLE, "1", "x");
    terminal.exp_string("a record").unwrap();
    fs::write(end, "").unwrap();
    terminal.exp_string("done").unwrap();
    press(&mut terminal, "q");
    terminal.exp_eof().unwrap();
}

#[test]
fn in_a_window_of_sixty_columns_no_line_is_longer() {
    let project = Project::new();
    project.write(CODE, &code("one"));
    let mut shell = project.program("sh");
    shell
        .args(["-c", "stty rows 24 cols 60; exec \"$@\"", "sh", ENGINE])
        .args(DEV)
        .env("TERM", "xterm")
        .env("NO_COLOR", "1");
    let mut terminal = shell.terminal();
    let mut shown = terminal.exp_string("q quit").unwrap();
    project.write(CODE, "exports.handler = async () => {\n  const = 1;\n};\n");
    shown += &terminal.exp_string("= hint").unwrap();
    project.edit(TEAM, &[("read_capacity: 1", "read_capacity: 2")]);
    project.write(CODE, &code("two"));
    shown += &terminal.exp_string("press a to apply").unwrap();
    shown += &terminal.exp_string("deployed logger").unwrap();
    press(&mut terminal, "q");
    shown += &terminal.exp_eof().unwrap();
    // The progress of the first apply redraws its lines.
    let (_, shown) = shown.split_once("watching").unwrap();
    let long: Vec<&str> = shown.lines().map(str::trim_end).filter(|line| line.chars().count() > 60).collect();
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn on_aws_dev_asks_once_and_is_refused_in_ci() {
    let project = Project::new();
    project.write(CODE, &code("one"));
    // Creates the role of others.
    project.run(&["diff", TEAM, "--local"]).expect(0, &[]);
    let endpoint = project.endpoint();
    let command = || project.command_at(&endpoint, ACCOUNT, &["dev", TEAM]);
    let refused = command().env("CI", "true").run();
    refused.ends_with(64).complains("CI is set");
    let unasked = command().run().expect(1, &[]);
    let why = "it would deploy to team `blue-owls`, stack `team` in account 000000000001, eu-central-1";
    assert!(flat(&unasked.text()).contains(why), "{}", unasked.text());
    project.run(&["list", "--local"]).expect(0, &[]);
    assert_eq!(project.account(ACCOUNT).mappings().len(), 0, "nothing was deployed");

    let mut terminal = command().env("TERM", "xterm").terminal();
    let asked = terminal.exp_string("Only 'yes' will be accepted:").unwrap();
    let asked = flat(&asked);
    assert!(asked.contains("team blue-owls, stack team, account 000000000001, eu-central-1"), "{asked}");
    terminal.send_line("yes").unwrap();
    terminal.exp_string("keys: a apply").unwrap();
    project.write(CODE, &code("two"));
    terminal.exp_string("deployed logger").unwrap();
    press(&mut terminal, "q");
    terminal.exp_eof().unwrap();
}
