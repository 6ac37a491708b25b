//! Syntax errors in handlers: what Node.js reports, and what engine reports if Node.js can't
//! decide.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::{Project, ROLE, Ran};

/// A spec with one function.
fn spec(runtime: &str, code: &str, more: &str) -> String {
    format!(
        "team: red-foxes\nregion: eu-central-1\nresources:\n  role: {{ type: role, import: {ROLE} }}\n  logger:\n    \
         type: function\n    runtime: {runtime}\n    handler: index.handler\n    role: ${{role.arn}}\n    code: {code}\n{more}"
    )
}

/// Creates a fake `node` of another version that records its environment.
fn pretend_node(project: &Project, version: &str) -> String {
    let real = project.program("node").args(["-p", "process.execPath"]).run().out;
    let (bin, seen) = (project.path("bin"), project.path("environment"));
    fs::create_dir_all(&bin).unwrap();
    let node = bin.join("node");
    let script = format!(
        "#!/bin/sh\ncase $1 in\n  -p) echo {version}; echo {} ;;\n  *) /usr/bin/env > {}; exec {} \"$@\" ;;\nesac\n",
        node.display(),
        seen.display(),
        real.trim()
    );
    fs::write(&node, script).unwrap();
    fs::set_permissions(&node, fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:/usr/bin:/bin", bin.display())
}

fn validate(project: &Project, path: &str, args: &[&str]) -> Ran {
    project.command(&["validate"]).args(args).env("PATH", path).env("DATABASE_URL", "canary").run()
}

/// engine's own parser suspects an error only in the first.
const BROKEN: [(&str, &str); 2] = [
    ("exports.handler = async () => {\n  return (1;\n};\n", "Unexpected token ';'"),
    ("let twice;\nlet twice;\nexports.handler = async () => {};\n", "Identifier 'twice' has already been declared"),
];

#[test]
fn a_syntax_error_is_one_error_with_file_line_and_excerpt() {
    let project = Project::new();
    let path = pretend_node(&project, "22.1.0");
    project.write("specs/team.yaml", &spec("nodejs22.x", "../lambda-src/log-events", ""));
    for (text, reason) in BROKEN {
        project.write("lambda-src/log-events/index.js", text);
        let ran = validate(&project, &path, &[]).expect(1, &["1 error"]);
        let problem = format!("error: `index.js` has a syntax error: {reason}");
        assert_eq!(ran.err.matches("syntax error").count(), 1, "{}", ran.err);
        let excerpt = text.lines().nth(1).unwrap();
        for part in [&problem, "--> lambda-src/log-events/index.js:2:", excerpt, "Runtime.UserCodeSyntaxError"] {
            assert!(ran.err.contains(part), "`{part}` is not in {}", ran.err);
        }
        let seen = project.read("environment");
        assert!(!seen.contains("canary") && !seen.contains("HOME=") && !seen.contains("AWS_"), "{seen}");
        // The annotation points to the error's line.
        let ran = validate(&project, &path, &["--format", "github"]);
        assert!(ran.out.contains("::error file=lambda-src/log-events/index.js,line=2,col="), "{}", ran.out);
    }
    let module = "import fs from 'node:fs';\nexport const handler = async () => {\n";
    fs::remove_file(project.path("lambda-src/log-events/index.js")).unwrap();
    project.write("lambda-src/log-events/index.mjs", module);
    let ran = validate(&project, &path, &[]).expect(1, &["1 error", "Unexpected end of input"]);
    assert!(ran.err.contains("--> lambda-src/log-events/index.mjs:2:"), "{}", ran.err);
    project.write("lambda-src/log-events/index.mjs", &format!("{module}}};\n"));
    validate(&project, &path, &[]).expect(0, &["is valid."]);
}

#[test]
fn a_syntax_error_that_the_local_nodejs_cannot_confirm_is_a_warning() {
    let project = Project::new();
    let (current, older) = (pretend_node(&project, "22.1.0"), "20.1.0");
    let file = "lambda-src/log-events/index.js";
    let said = |path: &str, runtime: &str, code: &str, more: &str, text: &str| {
        project.write("specs/team.yaml", &spec(runtime, code, more));
        project.write(file, text);
        let ran = validate(&project, path, &[]).expect(0, &["valid"]);
        assert!(ran.err.matches("syntax error").count() <= 1, "{}", ran.err);
        ran.err.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let (folder, [(suspected, _), (unsuspected, reason)]) = ("../lambda-src/log-events", BROKEN);
    // A layer may contain another file with that name.
    let layer = "    layers: ['arn:aws:lambda:eu-central-1:000000000001:layer:any:1']\n";
    let text = said(&current, "nodejs22.x", folder, layer, unsuspected);
    assert!(text.contains("warning: `index.js` has a syntax error") && text.contains("if a layer brings"), "{text}");
    // The runtime is newer than this Node.js, whether engine knows the runtime or not.
    for runtime in ["nodejs24.x", "nodejs28.x"] {
        let text = said(&current, runtime, folder, "", unsuspected);
        assert!(text.contains(&format!("warning: `index.js` has a syntax error: {reason}")), "{runtime}: {text}");
        assert!(text.contains("your Node.js 22 can't parse the file"), "{runtime}: {text}");
    }
    // An older runtime may accept syntax that this Node.js no longer accepts.
    let assertion = "export const handler = 1; import x from './x.json' assert { type: 'json' } }\n";
    fs::write(project.path("lambda-src/log-events/package.json"), r#"{ "type": "module" }"#).unwrap();
    let text = said(&current, "nodejs20.x", folder, "", assertion);
    assert!(text.contains("warning: `index.js` has a syntax error") && text.contains("the runtime is older"), "{text}");
    fs::remove_file(project.path("lambda-src/log-events/package.json")).unwrap();
    let path = pretend_node(&project, older);
    let text = said(&path, "nodejs22.x", folder, "", suspected);
    assert!(text.contains("your Node.js 20 can't parse the file; it is older than the runtime"), "{text}");

    // Without a usable Node.js, only engine's own parser can find errors.
    for version in ["16.1.0", "not-a-version"] {
        let path = pretend_node(&project, version);
        let text = said(&path, "nodejs22.x", folder, "", suspected);
        assert!(text.contains("seems to have a syntax error near line 2"), "{version}: {text}");
        assert!(!said(&path, "nodejs22.x", folder, "", unsuspected).contains("syntax error"));
    }
    fs::remove_file(project.path("bin/node")).unwrap();
    let bin = project.path("bin").display().to_string();
    assert!(!said(&bin, "nodejs22.x", folder, "", unsuspected).contains("Node.js"));
    let doctor = project.command(&["doctor", "--local"]).env("PATH", &bin).run();
    assert!(doctor.out.contains("`node` was not found"), "{}", doctor.out);
}

#[test]
fn the_excerpt_of_inline_code_stays_hidden() {
    let project = Project::new();
    let path = pretend_node(&project, "22.1.0");
    let code =
        "\n      inline: |\n        const password = 'it's hunter2';\n        exports.handler = async () => password;";
    project.write("specs/team.yaml", &spec("nodejs22.x", code, ""));
    let ran = validate(&project, &path, &[]).expect(1, &["line 1 of the inline `index.js` has a syntax error"]);
    assert!(ran.err.contains("Unexpected identifier …") && ran.err.contains("--> specs/team.yaml"), "{ran:?}");
    assert!(!format!("{ran:?}").contains("hunter2") && !format!("{ran:?}").contains("'s'"), "{ran:?}");
}

#[test]
fn code_with_a_syntax_error_is_not_sent() {
    let project = Project::new();
    let real = project.program("node").args(["-p", "process.versions.node.split('.')[0]"]).run().out;
    let runtime = format!("nodejs{}.x", real.trim());
    project.write("specs/team.yaml", &spec(&runtime, "../lambda-src/log-events", ""));
    let file = "lambda-src/log-events/index.js";
    let whole = project.read(file);
    for (text, reason) in BROKEN {
        project.write(file, text);
        let ran = project.run(&["apply", "--local"]).expect(1, &[reason]);
        assert_eq!(ran.err.matches("syntax error").count(), 1, "{}", ran.err);
        project.run(&["list", "--local"]).expect(0, &[]);
    }
    project.run(&["preflight", "--local"]).expect(1, &[BROKEN[1].1]);
    project.write(file, &whole);
    project.run(&["apply", "--local"]).expect(0, &["1 added"]);
    // engine checks new code, but not code that it doesn't send.
    project.write(file, BROKEN[1].0);
    project.run(&["apply", "--local"]).expect(1, &[BROKEN[1].1]);
    project.write(file, &whole);
    project.run(&["apply", "--local"]).expect(0, &["No changes"]);
}
