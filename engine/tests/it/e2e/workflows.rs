//! The workflows that the docs offer to copy, and the release workflow, run as GitHub would run
//! them: the `run:` steps of a job in order and in their shells, with the job's environment. Fakes
//! replace GitHub: `gh` is a program that keeps releases and comments in files, and a table
//! resolves `${{ … }}`; an expression that is not in it fails the test. Actions don't run: the
//! tests check their names and that each is pinned to a commit.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use super::project::{ACCOUNT, Project, ROLE};
use super::{NO_CHANGES, TEAM};
use crate::support::ENGINE;

/// Fakes `gh` and, for the release, `cargo`, `rustup` and `git`.
const PLAYED: &str = r#"#!/usr/bin/env python3
import glob, json, os, re, shutil, sys

folder, program, args = os.environ["PLAYED"], os.path.basename(sys.argv[0]), sys.argv[1:]

def refuse(why):
    sys.exit(f"{program}: {why}: {args}")

def value(option, default=None):
    if option in args:
        return args[args.index(option) + 1]
    return default if default is not None else refuse(f"{option} is missing")

if program == "cargo":
    if args[0] == "cyclonedx":
        manifest = value("--manifest-path")
        os.path.isfile(manifest) or refuse("no such manifest")
        # As the real one does.
        with open(os.path.join(os.path.dirname(manifest), "engine.cdx.json"), "w") as bom:
            json.dump({"bomFormat": "CycloneDX", "epoch": os.environ["SOURCE_DATE_EPOCH"]}, bom)
    elif args[0] != "install":
        refuse("not played")
    sys.exit()
if program == "rustup":
    sys.exit()
if program == "git":
    print({"rev-parse": "0123456789abcdef"[: int(args[1][-1]) if args[1].startswith("--short=") else 16], "log": "1"}[args[0]])
    sys.exit()

os.environ.get("GH_TOKEN") == "the token" or refuse("no token")
if args[:2] == ["release", "download"]:
    (args[2], value("--repo")) == ("v0.1.0", "OWNER/engine") or refuse("no such release")
    files = glob.glob(os.path.join(folder, "assets", value("--pattern")))
    files or refuse("no asset matches")
    for file in files:
        shutil.copy(file, value("--dir"))
elif args[:2] == ["release", "create"]:
    files = [arg for arg in args[3:] if arg.startswith("parts/")]
    os.makedirs(os.path.join(folder, "published", args[2]))
    for file in files + [value("--notes-file")]:
        shutil.copy(file, os.path.join(folder, "published", args[2]))
elif args[0] == "api":
    def stored():
        return [(int(name), json.load(open(os.path.join(comments, name)))) for name in sorted(os.listdir(comments))]
    comments, path, method = os.path.join(folder, "comments"), args[1], value("--method", "GET")
    of_seven, one = path == "repos/us/ours/issues/7/comments", re.fullmatch("repos/us/ours/issues/comments/(\\d+)", path)
    if method == "GET" and of_seven:
        asked = re.fullmatch(
            r'\.\[\] \| select\(\.user\.login == "(.*?)" and \(\.body \| startswith\("(.*?)"\)\)\) \| \.id', value("--jq"))
        asked or refuse("this filter is not played")
        for number, comment in stored():
            if comment["user"] == asked[1] and comment["body"].startswith(asked[2]):
                print(number)
    elif (method == "POST" and of_seven) or (method == "PATCH" and one):
        field = value("--field")
        field.startswith("body=@") or refuse("no body")
        body = open(field.removeprefix("body=@"), encoding="utf-8").read()
        len(body) <= 65536 or refuse("HTTP 422: body is too long (maximum is 65536 characters)")
        number = int(one[1]) if one else max([number for number, _ in stored()], default=0) + 1
        with open(os.path.join(comments, str(number)), "w") as file:
            json.dump({"user": "github-actions[bot]", "body": body}, file)
    else:
        refuse("not played")
else:
    refuse("not played")
"#;

/// A repository on GitHub, and a runner with its work tree.
struct Runner<'p> {
    project: &'p Project,
    /// The values of expressions.
    known: BTreeMap<String, String>,
}

/// The result of a job.
#[derive(Debug)]
struct JobResult {
    failed: bool,
    /// The output of its steps, each after the step's name.
    log: String,
    outputs: BTreeMap<String, String>,
    actions: Vec<String>,
}

impl JobResult {
    #[track_caller]
    fn expect(self, failed: bool, texts: &[&str]) -> JobResult {
        assert_eq!(self.failed, failed, "{}", self.log);
        for text in texts {
            assert!(self.log.contains(text), "`{text}` is not in\n{}", self.log);
        }
        self
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn workflow(path: &str) -> Json {
    serde_yaml::from_str(&fs::read_to_string(root().join(path)).unwrap()).unwrap()
}

fn text(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The entries of a mapping, or none.
fn entries(value: &Json) -> Vec<(String, String)> {
    value.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), text(value))).collect()
}

impl<'p> Runner<'p> {
    fn new(project: &'p Project) -> Runner<'p> {
        let folder = project.path("played");
        for name in ["bin", "assets", "comments"] {
            fs::create_dir_all(folder.join(name)).unwrap();
        }
        for name in ["gh", "cargo", "rustup", "git"] {
            executable(&folder.join("bin").join(name), PLAYED);
        }
        let known = [
            ("github.token", "the token"),
            ("github.event.pull_request.number", "7"),
            ("github.event.pull_request.head.repo.full_name != github.repository", "false"),
            ("!cancelled() && env.IS_FORK != 'true'", "true"),
            ("env.IS_FORK != 'true'", "true"),
            ("matrix.zig", "true"),
        ];
        let known = known.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Runner { project, known }
    }

    fn define(&mut self, entries: &[(&str, &str)]) {
        self.known.extend(entries.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    }

    /// Returns the value of an expression.
    fn lookup(&self, expression: &str) -> String {
        let known = self.known.get(expression.trim());
        known.unwrap_or_else(|| panic!("nobody knows what `{expression}` is")).clone()
    }

    fn fill(&self, text: &str) -> String {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${{") {
            let (expression, after) = after.split_once("}}").unwrap();
            filled += before;
            filled += &self.lookup(expression);
            rest = after;
        }
        filled + rest
    }

    fn holds(&self, condition: &str) -> bool {
        let bare = condition.strip_prefix("${{").and_then(|it| it.strip_suffix("}}")).unwrap_or(condition);
        self.lookup(bare) == "true"
    }

    /// Runs the steps of a job, on a machine without any files of another job.
    fn job(&self, workflow: &Json, name: &str) -> JobResult {
        let job = &workflow["jobs"][name];
        let (folder, mut path) = (self.project.path("played"), Vec::new());
        for part in ["temp", "output", "summary", "path"] {
            let _ = fs::remove_dir_all(folder.join(part));
            let _ = fs::remove_file(folder.join(part));
        }
        fs::create_dir(folder.join("temp")).unwrap();
        let shared = [entries(&workflow["env"]), entries(&job["env"])].concat();
        let mut done = JobResult { failed: false, log: String::new(), outputs: BTreeMap::new(), actions: Vec::new() };
        for step in job["steps"].as_array().unwrap() {
            let condition = step["if"].as_str();
            let also_after_failure = condition.is_some_and(|it| it.contains("!cancelled()"));
            if (done.failed && !also_after_failure) || !condition.is_none_or(|it| self.holds(it)) {
                continue;
            }
            if let Some(action) = step["uses"].as_str() {
                let (_, commit) = action.split_once('@').unwrap();
                assert!(commit.len() == 40 && commit.bytes().all(|it| it.is_ascii_hexdigit()), "{action} can change");
                done.actions.push(action.split('@').next().unwrap().to_owned());
                continue;
            }
            let script = folder.join("temp").join("step");
            fs::write(&script, self.fill(step["run"].as_str().unwrap())).unwrap();
            let shell = [step, job, workflow].into_iter();
            let shell =
                shell.map(|it| if it["shell"].is_null() { &it["defaults"]["run"]["shell"] } else { &it["shell"] });
            let words: &[&str] = match shell.filter_map(Json::as_str).next() {
                Some("bash") => &["bash", "--noprofile", "--norc", "-eo", "pipefail"],
                Some("python") => &["python3"],
                None => &["bash", "-e"],
                Some(other) => panic!("{other} is no shell here"),
            };
            let mut command = self.project.program(words[0]);
            command.args(&words[1..]).arg(&script).envs([
                ("CI", "true"),
                ("ENGINE_LOCAL", "1"),
                ("GITHUB_ACTIONS", "true"),
                ("GITHUB_REPOSITORY", "us/ours"),
                ("GITHUB_REF_NAME", "v0.1.0"),
                ("GITHUB_RUN_ID", "77"),
                ("GITHUB_SERVER_URL", "https://github.com"),
                ("LANG", "C.UTF-8"),
            ]);
            command.env("PLAYED", &folder).env("RUNNER_TEMP", folder.join("temp"));
            for (name, file) in [("OUTPUT", "output"), ("STEP_SUMMARY", "summary"), ("PATH", "path")] {
                command.env(format!("GITHUB_{name}"), folder.join(file));
            }
            command.envs([shared.clone(), entries(&step["env"])].concat().iter().map(|(k, v)| (k, self.fill(v))));
            let usual = std::env::var_os("PATH").unwrap();
            let first = path.iter().rev().cloned().chain([folder.join("bin")]);
            let all: Vec<PathBuf> = first.chain(std::env::split_paths(&usual)).collect();
            command.env("PATH", std::env::join_paths(all).unwrap());
            let ran = command.run();
            done.failed |= !ran.status.success();
            done.log += &format!("## {} ({})\n{}\n", text(&step["name"]), ran.status, ran.text());
            let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
            path = read("path").lines().map(PathBuf::from).collect();
            let told = read("output");
            done.outputs =
                told.lines().filter_map(|it| it.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect();
        }
        done
    }

    fn comments(&self) -> BTreeMap<String, Json> {
        let files = fs::read_dir(self.project.path("played/comments")).unwrap().map(|it| it.unwrap().path());
        let read = |path: &Path| serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        files.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), read(&path))).collect()
    }

    /// Builds the release that the workflows download, with the steps that build a real one.
    fn release(&mut self, target: &str, program: &str) -> JobResult {
        for file in ["README.md", "LICENSE-MIT", "LICENSE-APACHE", "engine/CHANGELOG.md", "engine/Cargo.toml"] {
            fs::create_dir_all(self.project.path(file).parent().unwrap()).unwrap();
            fs::copy(root().join(file), self.project.path(file)).unwrap();
        }
        let built = self.project.path(&format!("target/{target}/release"));
        fs::create_dir_all(&built).unwrap();
        executable(&built.join(program), &format!("#!/bin/sh\nexec '{ENGINE}' \"$@\"\n"));
        self.define(&[("matrix.target", target)]);
        let mut release = workflow(".github/workflows/release.yml");
        release["jobs"]["build"]["steps"].as_array_mut().unwrap().retain(|it| it["name"] == "Pack");
        let packed = self.job(&release, "build").expect(false, &[]);
        for ending in ["tar.gz", "tar.gz.sha256"] {
            let name = format!("engine-{target}.{ending}");
            fs::copy(self.project.path(&name), self.project.path("played/assets").join(&name)).unwrap();
        }
        packed
    }
}

fn executable(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

const LINUX: &str = "x86_64-unknown-linux-musl";
/// The actions of a job that reaches AWS.
const WITH_AWS: [&str; 3] = ["actions/checkout", "actions/download-artifact", "aws-actions/configure-aws-credentials"];

#[test]
fn a_pull_request_gets_its_plan_as_one_comment_and_a_merge_applies_it() {
    let project = Project::new();
    let mut runner = Runner::new(&project);
    runner.release(LINUX, "engine");
    let ours = workflow("engine/docs/github-actions.yml");
    // A person's comment that quotes engine's marker, and a comment of another workflow.
    let others = [("1", "somebody", "<!-- engine -->"), ("2", "github-actions[bot]", "lint: ok")];
    for (number, user, body) in others {
        project.write(&format!("played/comments/{number}"), &json!({ "user": user, "body": body }).to_string());
    }
    let comment = |runner: &Runner<'_>, texts: &[&str]| {
        let all = runner.comments();
        assert_eq!(all.keys().collect::<Vec<_>>(), ["1", "2", "3"], "{all:#?}");
        assert_eq!((&all["1"]["body"], &all["2"]["body"]), (&json!("<!-- engine -->"), &json!("lint: ok")));
        for text in texts {
            assert!(all["3"]["body"].as_str().unwrap().contains(text), "`{text}` is not in {all:#?}");
        }
    };
    runner.define(&[("github.event.pull_request.head.sha", "c0ffee1")]);
    let planned = runner.job(&ours, "plan").expect(false, &["engine-x86_64-unknown-linux-musl.tar.gz: OK"]);
    assert_eq!(planned.actions, WITH_AWS);
    comment(&runner, &["**Plan: 4 to add, 0 to change, 0 to destroy.**", "<sub>commit c0ffee1</sub>"]);
    assert!(project.read("played/summary").contains("**Plan: 4 to add,"));

    // The next push updates the comment and adds none.
    project.edit(TEAM, &[("read_capacity: 1", "read_capacity: 2")]);
    runner.define(&[("github.event.pull_request.head.sha", "c0ffee2")]);
    runner.job(&ours, "plan").expect(false, &[]);
    comment(&runner, &["+ read_capacity    = 2", "<sub>commit c0ffee2</sub>"]);

    // A push that breaks the spec gets annotations, and the comment loses the old plan.
    project.edit(TEAM, &[("read_capacity: 2", "read_capacityy: 2")]);
    runner.define(&[("github.event.pull_request.head.sha", "c0ffee3")]);
    let broken = runner
        .job(&ours, "plan")
        .expect(true, &["::error file=specs/team.yaml,line=13,col=5::a table has no property"]);
    assert!(!broken.log.contains("## Plan"), "{}", broken.log);
    let run = "There is no plan: [the run](https://github.com/us/ours/actions/runs/77) says why.";
    comment(&runner, &[run, "<sub>commit c0ffee3</sub>"]);
    project.edit(TEAM, &[("read_capacityy: 2", "read_capacity: 2")]);

    // The comment shows a refusal, and the check of the pull request fails.
    let aws = project.account(ACCOUNT);
    aws.create_table("blue-owls-todos", &[("engine:team", "red-foxes"), ("engine:stack", "app")]);
    runner.job(&ours, "plan").expect(true, &["`todos` is refused"]);
    comment(&runner, &["- `todos` is refused: it belongs to team `red-foxes`"]);
    aws.wait(aws.dynamodb.delete_table().table_name("blue-owls-todos").send());

    // The plans of many specs may exceed the maximum length of a comment.
    let mut only = ours.clone();
    let steps = only["jobs"]["plan"]["steps"].as_array_mut().unwrap();
    steps.retain(|it| it["name"] == "Comment");
    let comment_alone = text(&steps[0]["run"]);
    steps[0]["run"] = json!(format!("printf 'ä%.0s' {{1..65001}} > \"$RUNNER_TEMP/plan.md\"\n{comment_alone}"));
    runner.job(&only, "plan").expect(false, &[]);
    comment(&runner, &["too long for one comment: [the run](https://github.com/us/ours/actions/runs/77)"]);

    // A fork's pull request has no permissions, so the workflow calls neither AWS nor the comments
    // API.
    let before = runner.comments();
    runner.define(&[
        ("github.event.pull_request.head.repo.full_name != github.repository", "true"),
        ("!cancelled() && env.IS_FORK != 'true'", "false"),
        ("env.IS_FORK != 'true'", "false"),
    ]);
    let forked = runner.job(&ours, "plan").expect(false, &["## Validate"]);
    assert_eq!(forked.actions, WITH_AWS[..2]);
    assert_eq!(runner.comments(), before);
    assert_eq!(Vec::from_iter(aws.snapshot().keys()), [&format!("role {ROLE}")], "so far nothing was made");

    let merged =
        runner.job(&ours, "apply").expect(false, &["Apply complete! Resources: 4 added, 0 changed, 0 destroyed."]);
    assert_eq!(merged.actions, WITH_AWS);
    project.run(&["diff", TEAM, "--local", "--detailed-exitcode"]).expect(0, &[NO_CHANGES]);
    // The merge counts as the confirmation.
    project.edit(TEAM, &[("starting_position: TRIM_HORIZON", "starting_position: LATEST")]);
    runner.job(&ours, "apply").expect(false, &["Apply complete! Resources: 1 added, 0 changed, 1 destroyed."]);
}

#[test]
fn builds_run_in_a_job_without_access_to_aws() {
    let project = Project::new();
    let mut runner = Runner::new(&project);
    runner.release(LINUX, "engine");
    let ours = workflow("engine/docs/github-actions.yml");
    let build = "{ command: 'echo run >> ran; mkdir -p dist; cp index.js dist', directory: .., inputs: [index.js] }";
    let function = "type: function, runtime: nodejs22.x, handler: index.handler, code: ../dist";
    let spec = format!("team: blue-owls\nregion: eu-central-1\nresources:\n  api: {{ {function}, build: {build} }}\n");
    project.write(TEAM, &spec);
    project.write("index.js", "exports.handler = async () => 1;\n");
    assert_eq!(ours["jobs"]["build"]["permissions"], json!({ "contents": "read" }));
    runner.define(&[("github.event.pull_request.head.sha", "c0ffee1")]);
    runner.job(&ours, "plan").expect(true, &["hasn't been allowed on this machine"]);

    let built = runner.job(&ours, "build").expect(false, &["building: echo run >> ran"]);
    assert_eq!(built.actions, ["actions/checkout", "actions/upload-artifact"]);
    let upload = ours["jobs"]["build"]["steps"].as_array().unwrap().last().unwrap();
    assert_eq!(upload["with"]["path"], ".engine/builds\n${{ env.BUILT }}\n");
    runner.job(&ours, "plan").expect(false, &[]);
    assert!(project.read("played/summary").contains("**Plan: 2 to add,"));
    runner.job(&ours, "apply").expect(false, &["Apply complete! Resources: 2 added"]);
    assert_eq!(project.read("ran"), "run\n", "only the job without access to AWS builds");
}

#[test]
fn a_cancelled_merge_run_ends_cleanly_and_the_next_run_completes_it() {
    let project = Project::new();
    let ours = workflow("engine/docs/github-actions.yml");
    let steps = ours["jobs"]["apply"]["steps"].as_array().unwrap();
    let apply = steps.iter().find(|it| it["name"] == "Apply").unwrap();
    project.write("step", apply["run"].as_str().unwrap());
    fs::create_dir(project.path("bin")).unwrap();
    std::os::unix::fs::symlink(ENGINE, project.path("bin/engine")).unwrap();
    let usual = std::env::var_os("PATH").unwrap();
    let path = [project.path("bin")].into_iter().chain(std::env::split_paths(&usual));
    let path = std::env::join_paths(path).unwrap();
    let step = || {
        let mut command = project.program("bash");
        command.args(["--noprofile", "--norc", "-eo", "pipefail", "step"]).envs(entries(&ours["env"]));
        command.env("PATH", &path).env("ENGINE_LOCAL", "1").env("CI", "true");
        command
    };
    let mut cancelled = step().start();
    assert!(cancelled.err.any(|line| line.contains("creating...")));
    // The runner signals only the process that it started, not that process's children.
    cancelled.press_ctrl_c();
    cancelled.end().ends_with(130).complains("interrupted: finishing calls in flight");
    step().run().expect(0, &["Apply complete!"]);
    project.run(&["diff", TEAM, "--local", "--detailed-exitcode"]).expect(0, &[NO_CHANGES]);
}

#[test]
fn the_shares_of_many_specs_cover_each_spec_once_and_are_applied() {
    let project = Project::new();
    let mut runner = Runner::new(&project);
    runner.release(LINUX, "engine");
    let ours = workflow("engine/docs/github-actions-matrix.yml");
    let text = project.read(TEAM);
    for at in 2..=7 {
        let text = text.replace("blue-owls", &format!("team-{at}\nstack: app"));
        project.write(&format!("specs/team {at}.yaml"), &text);
    }
    let inputs = |runner: &mut Runner<'_>, specs: &str, n_runners: &str| {
        runner.define(&[("inputs.specs", specs), ("inputs.runners", n_runners)]);
        runner.job(&ours, "shares")
    };
    let shares_of = |job: &JobResult| serde_json::from_str::<Json>(&job.outputs["shares"]).unwrap()["include"].take();
    let specs_of = |share: &Json| {
        let lines = share["specs"].as_str().unwrap().lines();
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let mut wanted: Vec<String> = (2..=7).map(|at| format!("specs/team {at}.yaml")).collect();
    wanted.push(TEAM.to_owned());

    let cut = inputs(&mut runner, "specs/*.yaml", "3").expect(false, &[]);
    let shares = shares_of(&cut);
    let shares = shares.as_array().unwrap();
    let mut covered: Vec<String> = shares.iter().flat_map(specs_of).collect();
    covered.sort();
    assert_eq!((shares.len(), &covered, cut.outputs["rate"].as_str()), (3, &wanted, "5"));
    for share in shares {
        let specs = specs_of(share);
        assert!([2, 3].contains(&specs.len()), "{specs:?}");
        runner.define(&[("needs.shares.outputs.rate", &cut.outputs["rate"])]);
        runner.define(&[("matrix.specs", share["specs"].as_str().unwrap())]);
        let applied = runner.job(&ours, "apply").expect(false, &[]);
        let n_complete = applied.log.matches("Apply complete! Resources: 4 added,").count();
        assert_eq!(n_complete, specs.len(), "{}", applied.log);
    }
    let all: Vec<&str> = wanted.iter().map(String::as_str).collect();
    project.run(&[&["diff", "--local", "--detailed-exitcode"], &all[..]].concat()).expect(0, &[NO_CHANGES]);

    // There are no more shares than specs.
    let cut = inputs(&mut runner, "specs/*.yaml", "256").expect(false, &[]);
    assert_eq!((shares_of(&cut).as_array().unwrap().len(), cut.outputs["rate"].as_str()), (7, "2"));
    for (specs, n_runners, told) in [
        ("specs/*.yaml", "257", "::error::runners has to be a number from 1 to 256, not 257"),
        ("specs/*.yaml", "0", "::error::runners has to be"),
        ("specs/*.yaml", "few", "::error::runners has to be"),
        ("nowhere/*.yaml", "3", "::error::no spec is called nowhere/*.yaml"),
    ] {
        let refused = inputs(&mut runner, specs, n_runners).expect(true, &[told]);
        assert!(refused.outputs.is_empty(), "{refused:?}");
    }

    // Two specs that declare the same AWS resource are refused, whichever shares they are in.
    project.write("specs/other.yaml", &text);
    inputs(&mut runner, "specs/*.yaml", "3").expect(true, &["are both the table `blue-owls-todos`"]);

    // Hundreds of specs.
    fs::remove_dir_all(project.path("specs")).unwrap();
    fs::create_dir_all(project.path("specs/year/b")).unwrap();
    for at in 0..300 {
        project.write(
            &format!("specs/year/b/{at}.yaml"),
            &text.replace("blue-owls", &format!("team-{at}")).replace("../", "../../../"),
        );
    }
    let cut = inputs(&mut runner, "specs/**/*.yaml", "256").expect(false, &["## Validate"]);
    let shares = shares_of(&cut);
    let mut covered: Vec<String> = shares.as_array().unwrap().iter().flat_map(specs_of).collect();
    covered.sort();
    covered.dedup();
    assert_eq!((shares.as_array().unwrap().len(), covered.len(), cut.outputs["rate"].as_str()), (256, 300, "1"));
}

#[test]
fn a_release_has_checksummed_programs_completions_man_pages_and_an_sbom() {
    let project = Project::new();
    let mut runner = Runner::new(&project);
    runner.release("x86_64-pc-windows-msvc", "engine.exe");
    runner.release(LINUX, "engine");
    fs::rename(project.path("played/assets"), project.path("parts")).unwrap();
    fs::create_dir(project.path("played/assets")).unwrap();
    let release = workflow(".github/workflows/release.yml");
    // A version without an entry in the changelog is not published.
    runner.job(&release, "release").expect(true, &["::error file=engine/CHANGELOG.md::it says nothing of v0.1.0, or"]);
    assert!(!project.path("played/published").exists());

    let changes = "# What is new\n\n## 0.2.0 (not released yet)\nLater.\n\n## 0.1.0\nThe first.\n\n## 0.0.1\nBefore.\n";
    project.write("engine/CHANGELOG.md", changes);
    runner.job(&release, "release").expect(false, &[]);
    let published = project.path("played/published/v0.1.0");
    assert_eq!(fs::read_to_string(published.join("notes.md")).unwrap(), "## 0.1.0\nThe first.\n\n");
    let names = |folder: &Path| {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let windows = "engine-x86_64-pc-windows-msvc.tar.gz";
    let linux = "engine-x86_64-unknown-linux-musl.tar.gz";
    let (windows_sum, linux_sum) = (format!("{windows}.sha256"), format!("{linux}.sha256"));
    let (sbom, shell) = ("engine.cdx.json", "engine-completions-and-man.tar.gz");
    assert_eq!(names(&published), ["SHA256SUMS", shell, windows, &windows_sum, linux, &linux_sum, sbom, "notes.md"]);
    let run = |line: &str| {
        let ran = project.program("bash").args(["-ec", line]).current_dir(&published).run();
        assert!(ran.status.success(), "{line}: {ran:?}");
        ran.out
    };
    let checked = run("sha256sum --check SHA256SUMS *.sha256; for it in *.tar.gz; do tar -xzf $it; done");
    for name in [shell, windows, linux, sbom] {
        assert!(checked.contains(&format!("{name}: OK")), "{checked}");
    }
    let packed = ["CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT", "README.md", "engine"];
    assert_eq!(names(&published.join("engine-x86_64-unknown-linux-musl")), packed);
    let said = run("engine-x86_64-unknown-linux-musl/engine --version");
    assert!(said.starts_with(concat!("engine ", env!("CARGO_PKG_VERSION"))), "{said}");
    // Each man page that another one names exists.
    let pages = names(&published.join("shell/man1"));
    assert!(["engine.1", "engine-apply.1", "engine-local-stop.1"].iter().all(|it| pages.contains(&(*it).to_owned())));
    for page in &pages {
        let text = fs::read_to_string(published.join("shell/man1").join(page)).unwrap().replace("\\-", "-");
        for named in text.lines().filter_map(|line| line.strip_suffix("(1)")) {
            assert!(pages.contains(&format!("{named}.1")), "{page} names {named}");
        }
    }
    for script in ["_engine", "engine.bash", "engine.fish", "engine.ps1"] {
        assert!(fs::metadata(published.join("shell").join(script)).unwrap().len() > 10_000, "{script}");
    }
    assert!(run("cat engine.cdx.json").contains("CycloneDX"));
}
