//! Builds: what runs, when, who has to allow it, and what it sees.

use std::collections::BTreeSet;
use std::fs;

use rexpect::session::PtySession;

use super::project::{ACCOUNT, Project};
use super::{NO_CHANGES, TEAM};
use crate::shared::eventually;
use crate::shared::program::{Ran, flat};

/// A project whose function `api` is built by a command, with `more` for the spec.
fn project(build: &str, more: &str) -> Project {
    let project = Project::new();
    let spec = format!(
        "team: blue-owls\nregion: eu-central-1\nresources:\n  api:\n    type: function\n    runtime: nodejs22.x\n    \
         handler: index.handler\n    code: ../dist\n    build: {build}\n{more}"
    );
    project.write(TEAM, &spec);
    project.write(".gitignore", "dist/\nran\n.cache/\n.config/\n.npm/\n");
    project.write("index.js", "exports.handler = async () => console.log('built');\n");
    project
}

/// A build that notes each run in `ran`.
const COPY: &str = "{ command: 'echo run >> ran; mkdir -p dist; cp index.js dist', directory: .. }";

fn n_runs(project: &Project) -> usize {
    fs::read_to_string(project.path("ran")).map_or(0, |text| text.lines().count())
}

fn diff(project: &Project, args: &[&str]) -> Ran {
    project.run(&[&["diff", "--local"], args].concat())
}

#[test]
fn a_build_line_neither_runs_unasked_nor_sees_credentials() {
    let project = project("{ command: 'env > ran; mkdir -p dist; cp index.js dist', directory: .. }", "");
    project.run(&["validate"]).expect(0, &["is valid"]);
    for args in [&["diff", "--local"][..], &["apply", "--local"], &["apply", "--local", "--yes"]] {
        let said = project.run(args).expect(
            1,
            &[
                "hasn't been allowed on this machine, and there is no terminal to ask",
                "specs/team.yaml:9:12",
                "nothing was run",
                "add `--allow-build`",
            ],
        );
        said.complains_once();
    }
    diff(&project, &["--no-build"]).expect(0, &["code = (known after build)", "Plan: 2 to add"]);
    // Only `diff`, `apply` and `dev` build.
    let others = "graph|policy --role|list --local|preflight --local|verify --local --yes|output --local|status --local|\
                  logs --local|invoke api --local|items list api --local|render|forget api --local --yes|\
                  export blue-owls-api --local|destroy --local --yes";
    for command in others.split('|') {
        project.run(&command.split(' ').collect::<Vec<_>>());
        assert_eq!(n_runs(&project), 0, "{command}");
    }
    let mut dev = project.command(&["dev", "--local", "--yes"]).start();
    dev.err.find(|line| line.contains("hasn't been allowed on this machine, and there is no terminal to ask")).unwrap();
    dev.err.find(|line| line.contains("waiting for a fix")).unwrap();
    dev.press_ctrl_c();
    dev.end().ends_with(130);
    assert_eq!(n_runs(&project), 0);

    let mut command = project.command(&["diff", "--local", "--allow-build"]);
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "GITHUB_TOKEN", "NPM_TOKEN"] {
        command.env(name, "hunter2");
    }
    command.env("ACTIONS_ID_TOKEN_REQUEST_URL", "hunter2").env("npm_config__authToken", "hunter2");
    command.env("npm_config_registry", "https://registry.example.com");
    command.env("PIP_INDEX_URL", "https://user:hunter2@registry.example.com/simple");
    command.env("GOPROXY", "https://user:hunter2@go.example.com,direct").env("no_proxy", "hunter2@localhost");
    command.run().expect(0, &["building: env > ran", "Plan: 2 to add"]);
    let seen = project.read("ran");
    assert!(!seen.contains("hunter2"), "{seen}");
    assert!(seen.contains("AWS_EC2_METADATA_DISABLED=true") && seen.contains("npm_config_registry="), "{seen}");
}

#[test]
fn the_output_of_a_build_that_succeeds_is_not_shown() {
    let project = project("{ command: sh build.sh, directory: .. }", "");
    project.write("build.sh", "echo noisy; echo loud >&2; mkdir -p dist; cp index.js dist\n");
    let ran = diff(&project, &["--allow-build"]).expect(0, &["building: sh build.sh", "Plan: 2 to add"]);
    assert!(!ran.text().contains("noisy") && !ran.text().contains("loud"), "{}", ran.text());
}

#[test]
fn a_build_is_asked_for_once_for_each_command() {
    let project = project(COPY, "");
    project.run(&["local", "start"]).ends_with(0);
    let session = |answer: &str| {
        let mut process = project.command(&["diff", "--local"]);
        process.env("TERM", "xterm").env("NO_COLOR", "1");
        let mut session = process.terminal();
        let shown = session.exp_string("Only 'yes' will be accepted: ").unwrap();
        assert!(flat(&shown).contains("echo run >> ran; mkdir -p dist; cp index.js dist"), "{shown}");
        session.send_line(answer).unwrap();
        end(session)
    };
    assert!(session("no").contains("Nothing was run"));
    assert_eq!(n_runs(&project), 0);
    assert!(session("yes").contains("Plan: 2 to add"));
    assert_eq!(n_runs(&project), 1);
    // What was allowed is allowed without a terminal, too.
    project.write("index.js", "exports.handler = async () => console.log('again');\n");
    diff(&project, &[]).expect(0, &["Plan: 2 to add"]);
    assert_eq!(n_runs(&project), 2);
    let allowed: Vec<_> = fs::read_dir(project.path(".config/engine/builds")).unwrap().collect();
    assert_eq!(allowed.len(), 1);

    project.edit(TEAM, &[("cp index.js dist", "cp index.js dist; true")]);
    diff(&project, &[]).expect(1, &["hasn't been allowed on this machine"]);
    assert_eq!(n_runs(&project), 2);
    // `--allow-build` allows one run.
    diff(&project, &["--allow-build"]).expect(0, &[]);
    project.write("index.js", "exports.handler = async () => console.log('more');\n");
    diff(&project, &[]).expect(1, &["hasn't been allowed on this machine"]);
}

fn end(mut session: PtySession) -> String {
    session.exp_eof().unwrap()
}

#[test]
fn a_build_runs_once_for_all_functions_and_when_its_inputs_changed() {
    let build = COPY.replace('{', "{ inputs: [index.js],");
    let other = "  web: { type: function, runtime: nodejs22.x, handler: index.handler, code: ../dist, build: BUILD }\n";
    let project = project(&build, &other.replace("BUILD", &build));
    project.run(&["apply", "--local", "--allow-build"]).expect(0, &["Apply complete! Resources: 4 added"]);
    assert_eq!(n_runs(&project), 1);
    project.account(ACCOUNT).wait(project.account(ACCOUNT).lambda.get_function().function_name("blue-owls-api").send());
    project.write("unrelated.txt", "not an input");
    fs::File::open(project.path("index.js")).unwrap().set_modified(std::time::SystemTime::now()).unwrap();
    diff(&project, &["--detailed-exitcode"]).expect(0, &[NO_CHANGES]);
    assert_eq!(n_runs(&project), 1, "nothing has to run, so nothing is asked for");

    project.write("index.js", "exports.handler = async () => console.log('changed');\n");
    diff(&project, &["--no-build"]).expect(0, &["(known after build)"]);
    project.run(&["status", "--local"]).expect(0, &["deployed", "2 properties were not compared"]);
    diff(&project, &["--allow-build"]).expect(0, &["Plan: 0 to add, 2 to change"]);
    assert_eq!(n_runs(&project), 2);
    // An output that was deleted, or that another program changed, is rebuilt.
    fs::remove_dir_all(project.path("dist")).unwrap();
    diff(&project, &["--allow-build"]).expect(0, &["Plan: 0 to add, 2 to change"]);
    project.write("dist/index.js", "exports.handler = 1;\n");
    diff(&project, &["--allow-build"]).expect(0, &["Plan: 0 to add, 2 to change"]);
    assert_eq!(n_runs(&project), 4);
    project.run(&["destroy", "--local", "--yes"]).expect(0, &["Destroy complete! Resources: 4 destroyed."]);
    assert_eq!(n_runs(&project), 4);
}

/// Writes the program that Lambda starts, without the right to run it. It is in JavaScript, since the
/// local AWS runs it on this machine.
const BOOTSTRAP: &str = r#"set -e
mkdir -p dist
cat > dist/bootstrap <<END
#!/usr/bin/env node
const invocation = "http://" + process.env.AWS_LAMBDA_RUNTIME_API + "/2018-06-01/runtime/invocation";
const serve = async () => {
  for (;;) {
    const id = (await fetch(invocation + "/next")).headers.get("lambda-runtime-aws-request-id");
    await fetch(invocation + "/" + id + "/response", { method: "POST", body: JSON.stringify("$1") });
  }
};
serve();
END
chmod 600 dist/bootstrap
"#;

#[test]
fn a_script_can_write_a_bootstrap_which_lambda_can_run() {
    let project = Project::new();
    let function = "type: function, runtime: provided.al2023, code: ../dist";
    let build = "{ command: [sh, build.sh, hello from a script], directory: .. }";
    let spec = format!("team: blue-owls\nregion: eu-central-1\nresources:\n  api: {{ {function}, build: {build} }}\n");
    project.write(TEAM, &spec);
    project.write("build.sh", BOOTSTRAP);
    project.write(".gitignore", "dist/\n.cache/\n.config/\n");
    project.run(&["apply", "--local", "--allow-build"]).expect(0, &["Apply complete! Resources: 2 added"]);
    diff(&project, &["--detailed-exitcode"]).expect(0, &[NO_CHANGES]);
    project.run(&["invoke", "api", "--local"]).expect(0, &["hello from a script"]);
}

#[test]
fn builds_run_side_by_side_within_the_parallelism() {
    const N: usize = 20;
    let project = Project::new();
    // Each build waits for three others, and fails if there are more.
    let script = "set -e; touch run/$1; n() { ls run done | grep -c '[0-9]'; }\n\
        [ $(ls run | wc -l) -le 4 ]\n\
        while [ $(n) -lt 4 ]; do sleep 0.01; done\n\
        mkdir -p dist/$1; echo \"exports.handler = () => $1;\" > dist/$1/index.js; mv run/$1 done/$1\n";
    project.write("build.sh", script);
    project.write(".gitignore", "dist/\nrun/\ndone/\n.cache/\n.config/\n");
    ["run", "done"].iter().for_each(|folder| fs::create_dir(project.path(folder)).unwrap());
    let functions: String = (0..N)
        .map(|n| {
            format!(
                "  f{n}: {{ type: function, runtime: nodejs22.x, handler: index.handler, code: ../dist/{n}, \
                 build: {{ command: [sh, build.sh, '{n}'], directory: .., inputs: [build.sh] }} }}\n"
            )
        })
        .collect();
    project.write(TEAM, &format!("team: blue-owls\nregion: eu-central-1\nresources:\n{functions}"));
    let done = project.run(&["apply", "--local", "--allow-build", "--parallelism", "4"]);
    done.expect(0, &["Apply complete! Resources: 40 added"]);
    let built: BTreeSet<_> = fs::read_dir(project.path("done")).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(built.len(), N);
}

/// A build, and what the command says about it: its exit code and texts.
const BAD: [(&str, i32, &[&str]); 8] = [
    (
        "{ command: 'echo one; echo two >&2; exit 7', directory: .. }",
        1,
        &["one two error: the build", "failed with exit code 7", "specs/team.yaml:9:12", "to run it by hand, in `.`"],
    ),
    (
        "{ command: 'echo started; sleep 1000', directory: .. }",
        1,
        &["started error: the build", "was stopped after 1 s", "specs/team.yaml:9:12", "raise `--build-timeout`"],
    ),
    (
        "{ command: 'true', directory: .. }",
        1,
        &[
            "succeeded, but `specs/../dist` is missing or empty",
            "specs/team.yaml:8:11",
            "set `code` to the file or folder",
        ],
    ),
    ("{ command: 'mkdir -p dist', directory: .. }", 1, &["`specs/../dist` is missing or empty"]),
    (
        "{ command: 'mkdir -p dist; cp index.js dist; echo >> index.js', directory: .. }",
        0,
        &["changed `index.js`, which is one of its inputs", "specs/team.yaml:9:12", "add the file to .gitignore"],
    ),
    (
        "{ command: [no-such-program], directory: .. }",
        1,
        &[
            "needs `no-such-program`, which isn't in your `PATH`",
            "specs/team.yaml:9:12",
            "install it, or correct the command",
        ],
    ),
    (
        "{ command: 'true', directory: ../nowhere }",
        1,
        &["the folder `nowhere` of the build `true` doesn't exist", "specs/team.yaml:9:42"],
    ),
    (
        "{ command: 'true', directory: .., inputs: [src, missing.txt] }",
        1,
        &["the input `missing.txt` of the build `true` doesn't exist", "relative to the build's `directory`"],
    ),
];

#[test]
fn a_failed_build_is_an_error_with_a_location_and_a_hint() {
    let project = project(COPY, "");
    fs::create_dir(project.path("src")).unwrap();
    let spec = project.read(TEAM);
    for (build, code, texts) in BAD {
        project.write(TEAM, &spec.replace(COPY, build));
        let _ = fs::remove_dir_all(project.path("dist"));
        diff(&project, &["--allow-build", "--build-timeout", "1"]).expect(code, texts);
    }
    // Its output would be outside of the project, so it doesn't run.
    let outside = spec.replace("code: ../dist", "code: ../../elsewhere/dist").replace(COPY, "touch ran");
    project.write(TEAM, &outside);
    diff(&project, &["--allow-build"]).expect(1, &["outside the project folder", "specs/team.yaml:8:11"]);
    assert!(!project.path("ran").exists());
    // The same inputs, with another output each time.
    project.write(TEAM, &spec.replace("cp index.js dist", "cp index.js dist; date +%s%N > dist/time"));
    diff(&project, &["--allow-build"]).expect(0, &[]);
    fs::remove_dir_all(project.path("dist")).unwrap();
    let said = diff(&project, &["--allow-build"]);
    said.expect(0, &["made something else from the same inputs", "SOURCE_DATE_EPOCH", "specs/team.yaml:9:12"]);
}

#[cfg(target_os = "linux")]
#[test]
fn ctrl_c_ends_a_build_and_what_it_started() {
    let project = project("{ command: '(sleep 1000 & echo $! > pid; wait) & wait', directory: .. }", "");
    project.run(&["local", "start"]).ends_with(0);
    let mut command = project.command(&["diff", "--local", "--allow-build"]);
    let running = command.start();
    let pid = || fs::read_to_string(project.path("pid")).ok().filter(|text| text.ends_with('\n'));
    eventually("the build has started", || pid().is_some());
    let process = format!("/proc/{}", pid().unwrap().trim());
    assert!(fs::exists(&process).unwrap());
    running.press_ctrl_c();
    running.end().expect(130, &["interrupted; nothing was changed"]);
    eventually("the build's child has ended", || {
        let state = fs::read_to_string(format!("{process}/stat")).unwrap_or_default();
        state.is_empty() || state.contains(") Z ")
    });
}

#[test]
fn typescript_is_bundled_by_the_projects_own_esbuild() {
    let project = Project::new();
    let function = "type: function, runtime: nodejs22.x, handler: index.handler, code: ../src";
    let spec = format!("team: blue-owls\nregion: eu-central-1\nresources:\n  api: {{ {function} }}\n");
    project.write(TEAM, &spec);
    fs::create_dir(project.path("src")).unwrap();
    project.write("package.json", "{}\n");
    project.write("src/greet.ts", "export const greet = (name: string): string => `hello ${name}`;\n");
    let source = "import { greet } from './greet';\n\
        export const handler = async (event: { name: string }): Promise<void> => {\n\
        using _closed = { [Symbol.dispose]() {} };\n\
        console.log(greet(event.name));\n};\n";
    project.write("src/index.ts", source);
    project.write(".gitignore", "node_modules\n.cache/\n.config/\n");
    project.run(&["validate"]).expect(0, &["is valid"]);
    diff(&project, &["--allow-build"]).expect(
        1,
        &[
            "bundling `src/index.ts` needs esbuild, which isn't installed in this project",
            "specs/team.yaml:4:",
            "engine never fetches a bundler",
            "run `npm install --save-dev esbuild`",
        ],
    );
    project.install_esbuild();
    diff(&project, &[]).expect(1, &["the build `esbuild src/index.ts` hasn't been allowed on this machine"]);
    project.run(&["apply", "--local", "--allow-build"]).expect(0, &["Apply complete! Resources: 2 added"]);
    let aws = project.account(ACCOUNT);
    let payload = aws_smithy_types::Blob::new(r#"{"name":"owl"}"#);
    let answer = aws.wait(aws.lambda.invoke().function_name("blue-owls-api").payload(payload).send());
    assert_eq!(answer.function_error, None, "{answer:?}");
    aws.await_log("blue-owls-api", &["hello owl"]);
    diff(&project, &["--detailed-exitcode"]).expect(0, &[NO_CHANGES]);
    let builds = fs::read_dir(project.path(".engine/builds")).unwrap().map(|it| it.unwrap().path());
    let bundle = builds.filter(|it| it.is_dir()).collect::<Vec<_>>().remove(0);
    let files: BTreeSet<_> = fs::read_dir(&bundle).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(files, ["index.js".into(), "index.js.map".into()].into());
    let text = fs::read_to_string(bundle.join("index.js")).unwrap();
    // Node.js 22 doesn't know `using`.
    assert!(text.contains("sourceMappingURL=index.js.map") && !text.contains("using _closed"), "{text}");

    project.write("src/greet.ts", "export const greet = (name: string): string => `goodbye ${name`;\n");
    let broken = diff(&project, &["--allow-build"]);
    broken.expect(1, &["src/greet.ts:2:0", "the build `esbuild src/index.ts` failed with exit code 1"]);
    // The bundle is the same wherever the project is.
    project.write("src/greet.ts", "export const greet = (name: string): string => `hello ${name}`;\n");
    fs::remove_dir_all(project.path(".engine/builds")).unwrap();
    diff(&project, &["--allow-build", "--detailed-exitcode"]).expect(0, &[NO_CHANGES]);
}

/// A workspace whose function, an ES module, imports what is beside its package.
pub(super) fn workspace() -> Project {
    let project = Project::new();
    let function = "type: function, runtime: nodejs22.x, code: ../apps/api/src/index.ts";
    project.write(TEAM, &format!("team: blue-owls\nregion: eu-central-1\nresources:\n  api: {{ {function} }}\n"));
    ["apps/api/src", "shared"].iter().for_each(|folder| fs::create_dir_all(project.path(folder)).unwrap());
    project.write("apps/api/package.json", "{ \"type\": \"module\" }\n");
    let source = "import { greet } from '../../../shared/greet';\nimport old from '../../../shared/old.cjs';\n\
        const name: string = await Promise.resolve('owl');\n\
        const file = import.meta.url.split('/').pop();\n\
        export const handler = async () => console.log(greet(name), 'in', file, 'with', old.lines('a\\nb'), 'lines');\n";
    project.write("apps/api/src/index.ts", source);
    project
        .write("shared/old.cjs", "const { EOL } = require('os');\nexports.lines = text => text.split(EOL).length;\n");
    project.write("shared/greet.ts", "export const greet = (name: string): string => `hello ${name}`;\n");
    project.write(".gitignore", "node_modules\n.cache/\n.config/\n");
    project.install_esbuild();
    project
}

#[test]
fn a_bundle_in_a_workspace_is_an_es_module_and_follows_what_it_imports() {
    let project = workspace();
    let apply = ["apply", "--local", "--allow-build"];
    project.run(&apply).expect(0, &["building: esbuild src/index.ts", "Apply complete! Resources: 2 added"]);
    project.run(&["invoke", "api", "--local"]).expect(0, &["hello owl in index.mjs with 2 lines"]);
    let unchanged = diff(&project, &["--detailed-exitcode"]).expect(0, &[NO_CHANGES]);
    assert!(!unchanged.text().contains("building"), "{}", unchanged.text());

    project.write("shared/greet.ts", "export const greet = (name: string): string => `goodbye ${name}`;\n");
    diff(&project, &[]).expect(1, &["the build `esbuild src/index.ts` hasn't been allowed on this machine"]);
    project.run(&apply).expect(0, &["1 changed"]);
    project.run(&["invoke", "api", "--local"]).expect(0, &["goodbye owl"]);
    // A dependency is another version.
    project.write("package-lock.json", "{}\n");
    diff(&project, &["--allow-build", "--detailed-exitcode"]).expect(0, &["building", NO_CHANGES]);
    // What isn't imported doesn't matter.
    project.write("shared/other.ts", "export const other = 1;\n");
    assert!(!diff(&project, &[]).text().contains("building"));
    fs::remove_file(project.path("shared/greet.ts")).unwrap();
    diff(&project, &["--allow-build"]).expect(1, &["Could not resolve", "failed with exit code 1"]);
}

/// Writes a wheel with one module.
fn wheel(project: &Project, name: &str, tag: &str, module: &str) {
    let mut zip = zip::ZipWriter::new(fs::File::create(project.path(&format!("wheels/{name}-1.0-{tag}.whl"))).unwrap());
    let info = format!("{name}-1.0.dist-info");
    let metadata = format!("Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n");
    let about = format!("Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n");
    let record = format!("{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n");
    let files = [
        (format!("{name}.py"), module.to_owned()),
        (format!("{info}/METADATA"), metadata),
        (format!("{info}/WHEEL"), about),
        (format!("{info}/RECORD"), record),
    ];
    for (name, text) in files {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        std::io::Write::write_all(&mut zip, text.as_bytes()).unwrap();
    }
    zip.finish().unwrap();
}

#[test]
fn python_requirements_are_packaged_as_wheels_for_lambda() {
    let project = Project::new();
    let function = "type: function, runtime: python3.12, architecture: arm64, handler: app.handler, code: ../py";
    let spec = format!("team: blue-owls\nregion: eu-central-1\nresources:\n  api: {{ {function} }}\n");
    project.write(TEAM, &spec);
    ["py", "wheels"].iter().for_each(|folder| fs::create_dir(project.path(folder)).unwrap());
    project.write("py/app.py", "import greet\n\ndef handler(event, context):\n    print(greet.hello())\n");
    project.write("py/requirements.txt", "# of this project\ngreet==1.0\n");
    wheel(&project, "greet", "py3-none-any", "import native\n\ndef hello():\n    return 'hello ' + native.NAME\n");
    let run = |args: &[&str]| {
        let mut engine = project.command(args);
        engine.env("PIP_NO_INDEX", "1").env("PIP_FIND_LINKS", project.path("wheels")).run()
    };
    run(&["validate"]).expect(0, &["is valid"]);
    let apply = ["apply", "--local", "--yes", "--allow-build"];
    run(&["apply", "--local", "--yes"])
        .expect(1, &["the build `pip download -r requirements.txt` hasn't been allowed"]);

    project.write("py/requirements.txt", "# of this project\ngreet==1.0\nnative==1.0\n");
    wheel(&project, "native", "cp312-cp312-manylinux_2_17_x86_64", "NAME = 'x86'\n");
    run(&apply).expect(
        1,
        &[
            "`native==1.0` has no wheel for python3.12 on arm64",
            "py/requirements.txt:3:1",
            "require a version that has one",
        ],
    );
    wheel(&project, "native", "cp312-cp312-manylinux_2_28_aarch64", "NAME = 'arm'\n");
    run(&apply).expect(0, &["Apply complete! Resources: 2 added"]);
    let aws = project.account(ACCOUNT);
    let answer = aws.wait(aws.lambda.invoke().function_name("blue-owls-api").send());
    assert_eq!(answer.function_error, None, "{answer:?}");
    aws.await_log("blue-owls-api", &["hello arm"]);
    run(&["diff", "--local", "--detailed-exitcode"]).expect(0, &[NO_CHANGES]);

    // Without a version, another machine may get another package.
    project.write("py/requirements.txt", "greet\nnative==1.0\n");
    let said = run(&["validate"]);
    said.expect(0, &["`greet` has no fixed version (`requirements.txt`, line 1)", "write `greet==VERSION`"]);
}

#[test]
fn a_saved_plan_is_applied_with_the_package_that_was_planned() {
    let project = project(COPY, "");
    let save = || diff(&project, &["--allow-build", "--out", "plan.json"]).expect(0, &["Saved the plan to plan.json"]);
    diff(&project, &["--no-build", "--out", "plan.json"]).expect(1, &["the code of `api` isn't built"]);
    save();
    assert_eq!(n_runs(&project), 1);
    // On another machine, neither the output nor the record of the build is there.
    fs::remove_dir_all(project.path("dist")).unwrap();
    fs::remove_dir_all(project.path(".engine/builds")).unwrap();
    let package = project.path("plan.json.engine/api.zip");
    let planned = fs::read(&package).unwrap();
    fs::write(&package, b"something else").unwrap();
    let apply = || project.run(&["apply", "plan.json", "--local"]);
    apply().expect(1, &["the saved plan is out of date", "the source of `api` has changed"]);
    fs::remove_file(&package).unwrap();
    apply().expect(
        1,
        &["the package that was planned for `api`", "doesn't exist", "keep the folder beside the saved plan"],
    );
    fs::write(&package, planned).unwrap();
    apply().expect(0, &["Apply complete! Resources: 2 added"]);
    assert_eq!(n_runs(&project), 1);
    let aws = project.account(ACCOUNT);
    aws.wait(aws.lambda.invoke().function_name("blue-owls-api").send());
    aws.await_log("blue-owls-api", &["built"]);
    // The plan and its packages are no inputs.
    diff(&project, &["--allow-build", "--detailed-exitcode"]).expect(0, &[NO_CHANGES]);
    save();
    assert_eq!(n_runs(&project), 2);
}
