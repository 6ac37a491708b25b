//! Lookups against the local AWS: values of parameters, secrets, exports and outputs reach the
//! function, and a change of one is a change of the plan.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value as Json, json};

use super::project::{ACCOUNT, Project};
use super::{NO_CHANGES, TEAM};
use crate::shared::access_key_id;

const SECRET: &str = "hunter2-of-the-secret";
const SECURE: &str = "hunter2-of-the-parameter";

/// Sends a request to a service of the local AWS for which the tests have no client.
fn send(project: &Project, service: &str, target: Option<&str>, body: &str) -> String {
    let endpoint = project.endpoint();
    let host = endpoint.strip_prefix("http://").unwrap();
    let key = access_key_id(&endpoint, ACCOUNT);
    let kind = if target.is_some() { "application/x-amz-json-1.1" } else { "application/x-www-form-urlencoded" };
    let target = target.map_or_else(String::new, |target| format!("X-Amz-Target: {target}\r\n"));
    let request = format!(
        "POST / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\
         {target}X-Amz-Date: 20260101T000000Z\r\nAuthorization: AWS4-HMAC-SHA256 Credential={key}/20260101/eu-central-1/\
         {service}/aws4_request, SignedHeaders=host;x-amz-date, Signature=0\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(host).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{service}: {answer}");
    answer
}

fn put_parameter(project: &Project, name: &str, kind: &str, value: &str) {
    let body = json!({ "Name": name, "Type": kind, "Value": value, "Overwrite": true });
    send(project, "ssm", Some("AmazonSSM.PutParameter"), &body.to_string());
}

fn put_secret(project: &Project, name: &str, value: &Json) {
    let body = json!({ "Name": name, "SecretString": value.to_string() });
    send(project, "secretsmanager", Some("secretsmanager.CreateSecret"), &body.to_string());
}

/// A project whose function uses one lookup of each source.
fn project() -> Project {
    let project = Project::new();
    let lookups = "lookups:
  api_url: { ssm: [\"/${var.stage}/url\", /default/url] }
  secure: { ssm: /dev/secure }
  memory: { ssm: /dev/memory, default: 128 }
  none: { ssm: /dev/none, default: ~ }
  token: { secret: app/github, key: token }
";
    let environment = "    memory_size: ${lookup.memory}
    environment:
      API_URL: ${lookup.api_url}
      SECURE: ${lookup.secure}
      TOKEN: Bearer ${lookup.token}
      NONE: ${lookup.none}
";
    project.edit(
        TEAM,
        &[
            ("resources:\n", &format!("vars: {{ stage: dev }}\n{lookups}resources:\n")),
            ("    handler: index.handler\n", &format!("    handler: index.handler\n{environment}")),
        ],
    );
    project.run(&["local", "start"]).expect(0, &[]);
    put_parameter(&project, "/default/url", "String", "https://one.example");
    put_parameter(&project, "/dev/secure", "SecureString", SECURE);
    put_secret(&project, "app/github", &json!({ "token": SECRET, "other": 1 }));
    project
}

#[test]
fn values_of_lookups_reach_the_function_and_their_changes_are_planned() {
    let project = project();
    let run = |args: &[&str]| {
        let ran = project.run(&[args, &["--local"]].concat());
        for secret in [SECRET, SECURE] {
            assert!(!ran.out.contains(secret) && !ran.err.contains(secret), "{args:?} shows a secret");
        }
        ran
    };
    run(&["diff", TEAM]).expect(0, &["environment.API_URL` is from SSM parameter `/default/url`, version 1"]);
    run(&["diff", TEAM, "--no-lookups"]).expect(
        0,
        &["(not read)", "`environment.TOKEN` (`lookups.token`)", "lookups that weren't read: `--no-lookups`"],
    );
    run(&["apply", TEAM, "--yes"]).expect(0, &["4 added, 0 changed, 0 destroyed."]);
    run(&["diff", TEAM, "--detailed-exitcode"]).expect(0, &[NO_CHANGES]);

    let aws = project.account(ACCOUNT);
    let get = || aws.wait(aws.lambda.get_function_configuration().function_name("blue-owls-logger").send());
    let variables = get().environment.unwrap().variables.unwrap();
    assert_eq!(variables["API_URL"], "https://one.example");
    assert_eq!(variables["SECURE"], SECURE);
    assert_eq!(variables["TOKEN"], format!("Bearer {SECRET}"));
    assert!(!variables.contains_key("NONE"));
    assert_eq!(get().memory_size, Some(128));

    // Without reading, nothing that depends on a lookup is compared.
    let unread = ["`memory_size` (`lookups.memory`)", "are not compared", "logger (function"];
    run(&["diff", TEAM, "--no-lookups", "--detailed-exitcode"]).expect(2, &unread);

    run(&["status"]).expect(0, &["5 properties were not compared", "`engine diff --local` compares all"]);
    let status = run(&["status", "--json"]).json().remove(0);
    assert_eq!((&status["rows"][0]["state"], &status["rows"][0]["not_compared"]), (&json!("deployed"), &json!(5)));

    // A saved plan holds only as long as the values.
    project.run(&["diff", TEAM, "--local", "--out", "plan.json"]).expect(0, &[]);
    put_parameter(&project, "/dev/url", "String", "https://two.example");
    put_parameter(&project, "/dev/memory", "String", "256");
    let outdated = project.run(&["apply", "plan.json", "--yes"]);
    outdated.expect(1, &["the value of `lookups.api_url` has changed", "the value of `lookups.memory` has changed"]);
    let saved = project.read("plan.json");
    assert!(!saved.contains("example") && !saved.contains(SECRET) && !saved.contains(SECURE), "{saved}");
    run(&["diff", TEAM]).expect(0, &["memory_size", "128 -> 256", "environment.API_URL"]);
    run(&["apply", TEAM, "--yes"]).expect(0, &["0 added, 1 changed, 0 destroyed."]);
    assert_eq!(get().memory_size, Some(256));
    run(&["diff", TEAM, "--detailed-exitcode"]).expect(0, &[NO_CHANGES]);

    // Types are checked with the value, and the error has both places.
    put_parameter(&project, "/dev/memory", "String", "much");
    let wrong = ["`memory_size` must be a whole number", "SSM parameter `/dev/memory`, version 2", "team.yaml:"];
    run(&["diff", TEAM]).expect(1, &wrong);
    // A destroy needs no lookup.
    run(&["destroy", TEAM, "--yes"]).expect(0, &["4 destroyed."]);
}

#[test]
fn a_missing_value_has_a_stand_in_locally_and_is_reported() {
    let project = Project::new();
    let lookups = "lookups:
  url: { ssm: /nowhere/url }
  mode: { secret: nowhere, local: test }
  stack: { cfn_output: nowhere.Name, default: none }
  export: { cfn_export: nowhere, default: none }
resources:\n";
    let environment = "    handler: index.handler
    environment: { URL: \"${lookup.url}\", MODE: \"${lookup.mode}\", XX: \"${lookup.stack}${lookup.export}\" }\n";
    project.edit(TEAM, &[("resources:\n", lookups), ("    handler: index.handler\n", environment)]);
    let stand_in = ["`lookups.url` has the stand-in `local-url`"];
    project.run(&["apply", TEAM, "--local", "--yes"]).expect(0, &stand_in);
    let aws = project.account(ACCOUNT);
    let function = aws.wait(aws.lambda.get_function_configuration().function_name("blue-owls-logger").send());
    let variables = function.environment.unwrap().variables.unwrap();
    assert_eq!((&*variables["URL"], &*variables["MODE"], &*variables["XX"]), ("local-url", "test", "nonenone"));
}

#[test]
fn an_import_can_take_its_name_from_a_lookup() {
    let project = Project::new();
    project.edit(
        TEAM,
        &[
            ("resources:\n", "lookups: { role: { ssm: /shared/role } }\nresources:\n"),
            ("import: fhms-pulumi-challenge-lambda-execution-role", "import: ${lookup.role}"),
        ],
    );
    project.run(&["local", "start"]).expect(0, &[]);
    put_parameter(&project, "/shared/role", "String", "shared-runner");
    project.run(&["apply", TEAM, "--local", "--yes"]).expect(0, &["stand-in for the imported role shared-runner"]);
    project.run(&["diff", TEAM, "--local", "--detailed-exitcode"]).expect(0, &[NO_CHANGES]);
    let aws = project.account(ACCOUNT);
    let function = aws.wait(aws.lambda.get_function_configuration().function_name("blue-owls-logger").send());
    assert!(function.role.unwrap().ends_with("role/shared-runner"));
    let unread = ["its name is in `lookups.role`, which wasn't read (`--no-lookups`)"];
    project.run(&["diff", TEAM, "--local", "--no-lookups"]).expect(0, &unread);
    project.run(&["destroy", TEAM, "--local", "--yes"]).expect(0, &["4 destroyed."]);
}
