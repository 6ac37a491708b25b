//! What a package needs to run, besides an existing handler.

use std::fs;
use std::io::Cursor;

use serde_json::{Value as Json, json};

use super::{ACCOUNT, NO_CHANGES, Project, ROLE};

/// The local AWS starts it as Lambda does; the program that it starts has to be executable as well.
const BOOTSTRAP: &str = "#!/bin/sh\nexec \"$LAMBDA_TASK_ROOT/bin/run\"\n";

/// A runtime that answers each event with the output of another program in the package.
const RUN: &str = r#"#!/usr/bin/env node
const { execFileSync } = require("node:child_process");
const base = `http://${process.env.AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime/invocation`;
(async () => {
  for (;;) {
    const next = await fetch(`${base}/next`);
    const id = next.headers.get("lambda-runtime-aws-request-id");
    const event = await next.json();
    const said = execFileSync(`${__dirname}/tool`, [event.name], { encoding: "utf8" }).trim();
    await fetch(`${base}/${id}/response`, { method: "POST", body: JSON.stringify({ said }) });
  }
})();
"#;

const TOOL: &str = "#!/bin/sh\necho \"hello $1\"\n";

#[test]
fn a_custom_runtime_starts_and_an_archive_is_deployed_unchanged() {
    let project = Project::new();
    fs::create_dir_all(project.path("own/bin")).unwrap();
    for (name, text) in [("own/bootstrap", BOOTSTRAP), ("own/bin/run", RUN), ("own/bin/tool", TOOL)] {
        // Without the executable bit, as an unpacked archive or Windows leaves them.
        project.write(name, text);
    }
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().unix_permissions(0o600);
    zip.start_file("./index.js", options).unwrap();
    std::io::Write::write_all(&mut zip, b"exports.handler = async () => ({ said: 'from a zip' });\n").unwrap();
    let zip = zip.finish().unwrap().into_inner();
    fs::write(project.path("app.zip"), &zip).unwrap();
    let function = |name: &str, runtime: &str, code: &str| {
        format!(
            "  {name}: {{ type: function, runtime: {runtime}, handler: index.handler, role: '${{role.arn}}', code: {code} }}\n"
        )
    };
    project.write(
        "specs/team.yaml",
        &format!(
            "team: red-foxes\nregion: eu-central-1\nresources:\n  role: {{ type: role, import: {ROLE} }}\n{}{}",
            function("own", "provided.al2023", "../own"),
            function("zipped", "nodejs22.x", "../app.zip"),
        ),
    );
    project.run(&["apply", "--local"]).expect(0, &["2 added"]);
    project.run(&["diff", "--local", "--detailed-exitcode"]).expect(0, &[NO_CHANGES]);

    let aws = project.account(ACCOUNT);
    let said = |name: &str, event: &Json| -> Json {
        let payload = aws_sdk_lambda::primitives::Blob::new(event.to_string());
        let answer = aws.wait(aws.lambda.invoke().function_name(name).payload(payload).send());
        let text = String::from_utf8(answer.payload.unwrap().into_inner()).unwrap();
        assert_eq!(answer.function_error, None, "{text}");
        serde_json::from_str(&text).unwrap()
    };
    assert_eq!(said("red-foxes-own", &json!({ "name": "world" })), json!({ "said": "hello world" }));
    assert_eq!(said("red-foxes-zipped", &json!({})), json!({ "said": "from a zip" }));
    let config = aws.wait(aws.lambda.get_function_configuration().function_name("red-foxes-zipped").send());
    assert_eq!(config.code_size, i64::try_from(zip.len()).unwrap());
}
