//! Unavailable credentials: the error fits the profile in use, and AWS is not called.

use std::fs;

use super::{Project, Ran};

const CONFIG: &str = "[default]
region = eu-central-1
[profile sso]
sso_session = work
sso_account_id = 123456789012
sso_role_name = Developer
[sso-session work]
sso_start_url = https://example.invalid/start
sso_region = eu-central-1
[profile old:way]
sso_start_url = https://example.invalid/start
sso_region = eu-central-1
sso_account_id = 123456789012
sso_role_name = Developer
[profile role]
role_arn = arn:aws:iam::123456789012:role/deployer
source_profile = sso
[profile dangling]
role_arn = arn:aws:iam::123456789012:role/deployer
source_profile = ssso
[profile command]
credential_process = /bin/false SECRET
[profile garbage]
credential_process = echo SECRET
[profile web]
role_arn = arn:aws:iam::123456789012:role/deployer
web_identity_token_file = no/token
[profile half]
aws_access_key_id = AKIAEXAMPLE
[profile signed-in]
login_session = arn:aws:iam::123456789012:user/student
";

fn project() -> Project {
    let project = Project::usual();
    fs::create_dir_all(project.path("home/.aws")).unwrap();
    fs::write(project.path("home/.aws/config"), CONFIG).unwrap();
    fs::write(project.path("home/.aws/credentials"), "[other]\naws_access_key_id = SECRET\n").unwrap();
    project
}

/// Runs the program offline and joins its output into one line.
fn run_offline(project: &Project, variables: &[(&str, &str)], args: &[&str]) -> (Ran, String) {
    let mut command = project.command(args);
    command.envs(variables.iter().copied()).env("HTTPS_PROXY", "http://127.0.0.1:1");
    let run = command.run();
    let text = format!("{}{}", run.out, run.err);
    let line = text.split_whitespace().filter(|word| *word != "|").collect::<Vec<_>>().join(" ");
    assert!(!line.contains("SECRET") && !line.contains("AKIA"), "{line}");
    (run, line)
}

#[test]
fn each_failed_credential_source_is_named() {
    let project = project();
    let sign_on = "error[credentials-expired]: the AWS credentials have expired";
    let fetch = "error[credentials-not-fetched]: failed to get AWS credentials";
    for (profile, title, words) in [
        ("sso", sign_on, &["the profile `sso` gets its credentials from SSO", "`aws sso login --profile sso`"]),
        ("old:way", sign_on, &["the profile `old:way`", "`aws sso login --profile 'old:way'`"]),
        // The user must sign in with the profile that has the SSO session.
        ("role", sign_on, &["the profile `sso` gets", "`aws sso login --profile sso`"]),
        ("command", fetch, &["`credential_process` command of the profile `command`", "run that command yourself"]),
        ("garbage", fetch, &["`credential_process` command of the profile `garbage`", "run that command yourself"]),
        ("web", fetch, &["the web identity token file `no/token` can't be read", "of the profile `web`"]),
        (
            "half",
            fetch,
            &["the credential settings of the profile `half` are invalid", "fix the profile in `~/.aws/config`"],
        ),
        ("signed-in", fetch, &["uses `aws login`", "export-credentials --profile signed-in"]),
    ] {
        for (variables, args) in
            [(vec![], vec!["diff", "--profile", profile]), (vec![("AWS_PROFILE", profile)], vec!["diff"])]
        {
            let (run, line) = run_offline(&project, &variables, &args);
            run.ends_with(1).complains_once();
            assert!(line.contains(title), "{profile}: {line}");
            words.iter().for_each(|words| assert!(line.contains(words), "{profile}, {words}: {line}"));
            // The AWS SDK's text is labeled and follows engine's own.
            let (ours, theirs) = line.split_once("= aws: AWS SDK").unwrap_or_else(|| panic!("{profile}: {line}"));
            assert!(!ours.contains("occurred") && !ours.contains("keys are wrong") && !theirs.is_empty(), "{line}");
        }
    }
    let variables = [("AWS_WEB_IDENTITY_TOKEN_FILE", "no/token"), ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/x")];
    let (_, line) = run_offline(&project, &variables, &["diff"]);
    assert!(line.contains(fetch) && line.contains("remove the setting: AWS_WEB_IDENTITY_TOKEN_FILE"), "{line}");
}

#[test]
fn every_command_that_needs_credentials_reports_an_expired_sso_session() {
    let project = project();
    let cache = project.path("home/.aws/sso/cache");
    fs::create_dir_all(&cache).unwrap();
    // The file is named after the SHA-1 of the session's name.
    let token = r#"{"accessToken":"SECRET","expiresAt":"2020-01-01T00:00:00Z","region":"eu-central-1","startUrl":"https://example.invalid/start"}"#;
    fs::write(cache.join("e274eeff768c6396088ec6eb091f4bf4d47ab1e0.json"), token).unwrap();
    for args in [&["diff"][..], &["list"], &["logs"], &["verify"], &["apply", "--yes"], &["doctor"]] {
        let args = [args, &["--profile", "sso"]].concat();
        let (run, line) = run_offline(&project, &[], &args);
        run.ends_with(1);
        assert!(
            line.contains("valid SSO session") && line.contains("`aws sso login --profile sso`"),
            "{args:?}: {line}"
        );
    }
}

#[test]
fn a_missing_profile_differs_from_one_without_credentials() {
    let project = project();
    let unknown = "error[profile-unknown]: AWS profile not found";
    let (_, line) = run_offline(&project, &[], &["diff", "--profile", "ss0"]);
    assert!(line.contains(unknown) && line.contains("`--profile` is `ss0`"), "{line}");
    assert!(line.contains("did you mean `sso`? The profiles are `command`, `dangling`, `default`,"), "{line}");
    assert!(line.contains("`other`") && !line.contains("`work`") && !line.contains("container"), "{line}");
    let (_, line) = run_offline(&project, &[("AWS_PROFILE", "ss0")], &["doctor"]);
    assert!(line.contains("PROBLEM profile AWS_PROFILE is `ss0`"), "{line}");
    let (_, line) = run_offline(&project, &[], &["diff", "--profile", "dangling"]);
    assert!(line.contains(unknown) && line.contains("`source_profile` of the profile `dangling` is `ssso`"), "{line}");
    let (_, line) = run_offline(&project, &[], &["diff", "--profile", "default"]);
    assert!(
        line.contains("error[no-credentials]") && line.contains("the profile `default` has neither keys"),
        "{line}"
    );
    assert!(line.contains("`aws configure sso --profile default`") && !line.contains("container"), "{line}");
    // The environment variables select other files.
    let empty = [("AWS_CONFIG_FILE", "no/config"), ("AWS_SHARED_CREDENTIALS_FILE", "no/credentials")];
    let (_, line) = run_offline(&project, &empty, &["diff", "--profile", "my own"]);
    assert!(line.contains("neither `no/config` nor `no/credentials`"), "{line}");
    assert!(line.contains("there are no profiles; create one with `aws configure --profile 'my own'`"), "{line}");
}
