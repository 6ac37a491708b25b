//! Values that can't be sent: a local setting that is invalid in an HTTP header causes an error
//! that names it, whatever its value and source, and never a panic.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use super::server::{Cloud, Fault};
use super::world::Reply;
use super::{KEY_ID, Project, deployed};

/// The environment variables that AWS's tools read
/// (docs.aws.amazon.com/sdkref/latest/guide/settings-reference.html), and others that affect a
/// request.
const VARIABLES: [&str; 38] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_PROFILE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CA_BUNDLE",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_STS",
    "AWS_ENDPOINT_URL_LAMBDA",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_EXECUTION_ENV",
    "AWS_SDK_UA_APP_ID",
    "AWS_LAMBDA_FUNCTION_NAME",
    "_X_AMZN_TRACE_ID",
    "AWS_ACCOUNT_ID",
    "AWS_ACCOUNT_ID_ENDPOINT_MODE",
    "AWS_AUTH_SCHEME_PREFERENCE",
    "AWS_SIGV4A_SIGNING_REGION_SET",
    "AWS_USE_FIPS_ENDPOINT",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "AWS_RETRY_MODE",
    "AWS_MAX_ATTEMPTS",
    "AWS_DEFAULTS_MODE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "AWS_EC2_METADATA_DISABLED",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "HOME",
];
/// The settings that a profile may have.
const SETTINGS: [&str; 14] = [
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
    "region",
    "endpoint_url",
    "sdk_ua_app_id",
    "ca_bundle",
    "role_session_name",
    "external_id",
    "role_arn",
    "source_profile",
    "credential_process",
    "sso_start_url",
    "sso_region",
];
const BAD: [&[u8]; 7] = [b"\n", b"\r", b"\x7f", b"\x01", "é".as_bytes(), "🦉".as_bytes(), b"\xff"];

/// A part of each bad value that no output may contain.
const CANARY: &str = "CANARY";

/// Where a bad value is set.
#[derive(Debug, Clone, Copy)]
enum BadValue {
    Variable(&'static str),
    /// In the selected profile.
    Setting(&'static str),
    /// In the source profile of a role.
    OfSource(&'static str),
    /// In the output of the source profile's `credential_process`, under that name.
    Printed(&'static str),
}

fn bad(bytes: &[u8]) -> OsString {
    OsString::from_vec([CANARY.as_bytes(), bytes, b"tail"].concat())
}

fn every() -> Vec<(BadValue, &'static [u8])> {
    let variables = VARIABLES.map(BadValue::Variable);
    let keys = &SETTINGS[..3];
    let printed = ["AccessKeyId", "SecretAccessKey", "SessionToken"].map(BadValue::Printed);
    let sources = variables.into_iter().chain(SETTINGS.map(BadValue::Setting)).chain(printed);
    let sources = sources.chain(keys.iter().map(|key| BadValue::OfSource(key)));
    sources.flat_map(|source| BAD.map(|bytes| (source, bytes))).collect()
}

/// Runs the program with one bad value.
fn play(project: &Project, cloud: &Cloud, source: BadValue, bytes: &[u8]) -> (Option<i32>, String) {
    let mut command = project.command(&["diff", "--endpoint-url", &cloud.url]);
    let value = bad(bytes);
    let keys = [("AWS_ACCESS_KEY_ID", KEY_ID), ("AWS_SECRET_ACCESS_KEY", "secret")];
    let has_no_keys = |name: &str| name.contains("CONTAINER") || name.contains("IDENTITY") || name.contains("ROLE_");
    let text = |bytes: &OsStr| String::from_utf8_lossy(bytes.as_bytes()).into_owned();
    let (mut config, profile) = (b"[profile own]\n".to_vec(), "own");
    let mut set = |name: &str, value: &[u8]| config.extend([name.as_bytes(), b" = ", value, b"\n"].concat());
    match source {
        BadValue::Variable(name) => {
            if !has_no_keys(name) {
                command.envs(keys);
            }
            if name == "_X_AMZN_TRACE_ID" {
                command.env("AWS_LAMBDA_FUNCTION_NAME", "any");
            }
            command.env(name, &value);
        }
        BadValue::Setting(name) => {
            if name.starts_with("role_") || name == "external_id" {
                set("role_arn", b"arn:aws:iam::123456789012:role/any");
                set("credential_source", b"Environment");
                command.envs(keys);
            }
            if !["aws_access_key_id", "aws_secret_access_key", "credential_process"].contains(&name) {
                set("aws_access_key_id", b"AKIAEXAMPLE");
                set("aws_secret_access_key", b"secret");
            }
            set(name, value.as_bytes());
        }
        BadValue::OfSource(name) => {
            set("role_arn", b"arn:aws:iam::123456789012:role/any");
            set("source_profile", b"base");
            config.extend(b"[profile base]\naws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = secret\n");
            config.extend([name.as_bytes(), b" = ", value.as_bytes(), b"\n"].concat());
        }
        BadValue::Printed(name) => {
            let mut keys = serde_json::json!({
                "Version": 1, "AccessKeyId": "AKIAEXAMPLE", "SecretAccessKey": "secret", "SessionToken": "token",
            });
            keys[name] = text(&value).into();
            fs::write(project.path("keys.json"), keys.to_string()).unwrap();
            set("role_arn", b"arn:aws:iam::123456789012:role/any");
            set("source_profile", b"base");
            config.extend(
                format!("[profile base]\ncredential_process = cat {}\n", project.path("keys.json").display()).bytes(),
            );
            command.env("PATH", "/usr/bin:/bin");
        }
    }
    if !matches!(source, BadValue::Variable(_)) {
        fs::create_dir_all(project.path("home/.aws")).unwrap();
        fs::write(project.path("home/.aws/config"), config).unwrap();
        command.args(["--profile", profile]);
        // The scripted AWS also handles AssumeRole.
        command.env("AWS_ENDPOINT_URL_STS", &cloud.url);
    }
    let run = command.run();
    (run.code(), format!("{}{}", run.out, run.err))
}

/// An account that denies AssumeRole.
fn cloud() -> Cloud {
    let cloud = deployed();
    let denied = "User: arn:aws:iam::123456789012:user/student is not authorized to perform: sts:AssumeRole";
    cloud.always("AssumeRole", Fault::Answer(Reply::query(403, "AccessDenied", denied)));
    cloud
}

/// `ENGINE_HEADERS=all` tests every value in every place, `ENGINE_HEADERS=SEED` the sample of that
/// seed.
#[test]
fn no_setting_of_the_machine_causes_a_panic_or_is_shown() {
    let cloud = cloud();
    let project = Project::usual();
    let mut cases = every();
    let wish = std::env::var("ENGINE_HEADERS").unwrap_or_default();
    if wish != "all" {
        let seed = wish.parse().unwrap_or_else(|_| fastrand::u64(..));
        eprintln!("ENGINE_HEADERS={seed}");
        fastrand::Rng::with_seed(seed).shuffle(&mut cases);
        cases.truncate(12);
    }
    let mut n_refused = 0;
    for (source, bytes) in &cases {
        let (code, text) = play(&project, &cloud, *source, bytes);
        assert!(matches!(code, Some(0 | 1)), "{source:?} {bytes:?}: {code:?}\n{text}");
        assert!(!text.contains("panicked"), "{source:?} {bytes:?}:\n{text}");
        let is_name = |name: &str| ["PROFILE", "FILE", "BUNDLE"].iter().any(|it| name.contains(it));
        let may_be_shown = match source {
            BadValue::Variable(name) => is_name(name) || *name == "HOME",
            BadValue::Setting(name) => ["source_profile", "ca_bundle"].contains(name),
            _ => false,
        };
        assert!(may_be_shown || !text.contains(CANARY), "{source:?} {bytes:?}:\n{text}");
        n_refused += usize::from(text.contains("error[setting-malformed]"));
    }
    eprintln!("{} values, {n_refused} refused as malformed", cases.len());
}

#[test]
fn a_value_that_can_not_be_sent_is_reported_with_its_source() {
    let cloud = cloud();
    let project = Project::usual();
    for (source, bytes, words) in [
        (BadValue::Variable("AWS_ACCESS_KEY_ID"), &b"\n"[..], "AWS_ACCESS_KEY_ID contains a line break"),
        (BadValue::Variable("AWS_SECRET_ACCESS_KEY"), b"\r", "AWS_SECRET_ACCESS_KEY contains a line break"),
        (BadValue::Variable("AWS_SESSION_TOKEN"), b"\x7f", "AWS_SESSION_TOKEN contains a control character"),
        (BadValue::Variable("AWS_SESSION_TOKEN"), b"\xff", "AWS_SESSION_TOKEN contains invalid Unicode"),
        (
            BadValue::Variable("AWS_ENDPOINT_URL_STS"),
            "é".as_bytes(),
            "AWS_ENDPOINT_URL_STS contains a non-ASCII character",
        ),
        (BadValue::Variable("AWS_EXECUTION_ENV"), b"\n", "AWS_EXECUTION_ENV contains a line break"),
        (
            BadValue::Setting("aws_session_token"),
            b" ",
            "`aws_session_token` of the profile `own` in `~/.aws/config` contains a space",
        ),
        (BadValue::OfSource("aws_access_key_id"), "é".as_bytes(), "`aws_access_key_id` of the profile `base`"),
        (BadValue::Printed("SessionToken"), b"\x7f", "from `credential_process` of the profile `base`"),
    ] {
        let (code, text) = play(&project, &cloud, source, bytes);
        let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(code, Some(1), "{source:?}: {text}");
        assert!(flat.contains("error[setting-malformed]") && flat.contains(words), "{source:?}, `{words}`: {flat}");
        assert!(!flat.contains(CANARY), "{flat}");
    }
    // Several bad values at once, and a bad region where the spec has none.
    let mut command = project.command(&["diff"]);
    command.env("AWS_ACCESS_KEY_ID", "AKIA\n").env("AWS_SECRET_ACCESS_KEY", "a b").env("AWS_EXECUTION_ENV", "x\n");
    command.run().complains(
        "AWS_ACCESS_KEY_ID contains a line break; AWS_SECRET_ACCESS_KEY contains a space; AWS_EXECUTION_ENV contains a line",
    );
    project.edit("region: eu-central-1\n", "");
    let (_, text) = play(&project, &cloud, BadValue::Variable("AWS_REGION"), b"\n");
    assert!(text.contains("AWS_REGION contains a line break"), "{text}");
}

/// The SDK never asks for an MFA code, so AWS denies the role like any unauthorized request.
#[test]
fn a_profile_with_mfa_shows_how_to_get_a_session() {
    let cloud = cloud();
    let project = Project::usual();
    fs::create_dir_all(project.path("home/.aws")).unwrap();
    let keys = "aws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = secret\n";
    let role = "role_arn = arn:aws:iam::123456789012:role/any\nsource_profile = base\n";
    let device = "mfa_serial = arn:aws:iam::123456789012:mfa/student\n";
    for (device, code) in [(device, "mfa-required"), ("", "credentials-not-fetched")] {
        let config = format!("[profile team admin]\n[profile admin]\n{role}{device}[profile base]\n{keys}");
        fs::write(project.path("home/.aws/config"), config).unwrap();
        let mut command = project.command(&["diff", "--endpoint-url", &cloud.url, "--profile", "admin"]);
        command.env("AWS_ENDPOINT_URL_STS", &cloud.url);
        let run = command.run();
        run.ends_with(1).complains_once().complains(&format!("error[{code}]"));
        let words = "`eval \"$(aws configure export-credentials --profile admin --format env)\"`";
        assert_eq!(run.err.split_whitespace().collect::<Vec<_>>().join(" ").contains(words), !device.is_empty());
    }
}

/// A bundle replaces the system's certificates; a broken one would make the HTTP client panic.
#[test]
fn a_ca_bundle_is_checked_before_the_first_call() {
    let project = Project::usual();
    let pem = |body: &str| format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
    fs::write(project.path("empty.pem"), "# no certificate\n").unwrap();
    fs::write(project.path("damaged.pem"), pem("!!!")).unwrap();
    fs::write(project.path("other.pem"), pem("aGVsbG8gd29ybGQ=")).unwrap();
    fs::create_dir_all(project.path("home/.aws")).unwrap();
    fs::write(project.path("home/.aws/config"), "[default]\nca_bundle = ~/no.pem\n").unwrap();
    for (bundle, words) in [
        (Some("none.pem"), "AWS_CA_BUNDLE is `none.pem`, which doesn't exist"),
        (Some("specs"), "AWS_CA_BUNDLE is `specs`, which is a folder"),
        (Some("empty.pem"), "which contains no PEM certificate"),
        (Some("damaged.pem"), "which contains a damaged PEM certificate"),
        (Some("other.pem"), "in which certificate 1 can't be used"),
        (None, "`ca_bundle` of the profile `default` is `~/no.pem`, which doesn't exist"),
    ] {
        let mut command = project.command(&["diff"]);
        command.env("AWS_ACCESS_KEY_ID", KEY_ID).env("AWS_SECRET_ACCESS_KEY", "secret");
        bundle.map(|bundle| command.env("AWS_CA_BUNDLE", bundle));
        let run = command.run();
        run.ends_with(1).complains_once().complains("error[ca-bundle-unusable]").complains(words);
    }
}

/// AWS refuses a signature with a wrong time, whatever its error text; each response has AWS's
/// time.
#[test]
fn a_wrong_clock_is_detected_from_the_response() {
    let cloud = deployed();
    let mut refusal = Reply::query(403, "SignatureDoesNotMatch", "The request signature we calculated does not match");
    refusal.headers.push(("date", "Wed, 25 Nov 2020 12:00:00 GMT".into()));
    cloud.always("GetCallerIdentity", Fault::Answer(refusal));
    let project = Project::usual();
    for args in [&["diff"][..], &["doctor"]] {
        let run = project.run(&cloud, args);
        run.ends_with(1);
        let text = format!("{}{}", run.out, run.err);
        assert!(text.contains("ahead of"), "{text}");
    }
    project.run(&cloud, &["diff"]).complains("error[clock-wrong]").complains("this machine's clock is");
}

#[test]
fn a_remote_endpoint_without_tls_gets_a_warning() {
    let project = Project::usual();
    let far = "http://user:CANARY@aws.example.invalid:4566/path";
    for (variable, args, words) in [
        (None, &["diff", "--endpoint-url", far][..], "--endpoint-url sets an `http://` endpoint"),
        (Some("AWS_ENDPOINT_URL"), &["diff"], "AWS_ENDPOINT_URL sets an `http://` endpoint"),
        (Some("AWS_ENDPOINT_URL_DYNAMODB"), &["diff"], "AWS_ENDPOINT_URL_DYNAMODB sets"),
    ] {
        let mut command = project.command(args);
        variable.map(|name| command.env(name, far));
        let run = command.run();
        run.ends_with(1).complains("requests to http://aws.example.invalid:4566 are not encrypted").complains(words);
        assert!(!run.err.contains(CANARY), "{}", run.err);
    }
    let config = project.path("config");
    for (settings, words) in [
        (format!("endpoint_url = {far}\n"), "`endpoint_url` of the profile `far` sets"),
        (
            format!("services = far\n[services far]\ndynamodb =\n  endpoint_url = {far}\n"),
            "`endpoint_url` in the section `services far` sets",
        ),
    ] {
        fs::write(&config, format!("[profile far]\n{settings}")).unwrap();
        let mut command = project.command(&["diff", "--profile", "far"]);
        command.env("AWS_CONFIG_FILE", &config);
        let run = command.run();
        run.ends_with(1).complains("requests to http://aws.example.invalid:4566 are not encrypted").complains(words);
    }
    let run = project.command(&["diff", "--endpoint-url", "http://127.0.0.1:9"]).run();
    assert!(!run.err.contains("unencrypted"), "{}", run.err);
}
