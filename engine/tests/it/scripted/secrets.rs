//! engine reveals no secrets. The tests plant unique secrets wherever a user has them, and search
//! everything that the program prints or writes for them, in every encoding that might appear.
//!
//! [`COMMANDS`] lists how each command is tested; a command that is missing there fails the test.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use base64::Engine as _;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use super::server::{Cloud, Fault};
use super::world::{Reply, World};
use super::{Project, Ran, replaced};
use crate::support::{commands, installed, installed_program};

/// Credentials from the environment, a profile and a credential process.
const KEYS: [(&str, &str, &str); 3] = [
    ("AKIAENVSWORDFISH0001", "envSecret/Sw0rdfish+Key/0000000000000001", "envToken+Sw0rdfish/session/0001=="),
    ("AKIAPROFILEFISH00002", "profileSecret/Sw0rdfish+Key/00000000002", "profileToken+Sw0rdfish/session/0002=="),
    ("AKIAPROCESSFISH00003", "processSecret/Sw0rdfish+Key/00000000003", "processToken+Sw0rdfish/session/0003=="),
];
/// Values of a function's environment: short, multi-line, non-ASCII, with JSON's special
/// characters, and similar to YAML.
const VALUES: [(&str, &str); 8] = [
    ("PIN", "q7Zx"),
    ("KEY_FILE", "-----first-line-swordfish\nsecond \"line\" swordfish\n"),
    ("UNICODE", "pässwörd-☃-schwertfisch-𝄞"),
    ("JSON_LIKE", "{\"quoted\": \"back\\slash\\swordfish\", 'it''s': [1]}"),
    ("YAML_LIKE", "swordfish: [looks, &like] # yaml"),
    ("NUMERIC", "90210555123467"),
    ("DOLLAR", "swordfish-${not.a.reference}-$"),
    ("CONTROL", "tab\tbell\u{7}escape\u{1b}[31mswordfish"),
];
const TABLE: &str = "blue-owls-dev-todos";
const FUNCTION: &str = "blue-owls-dev-logger";
const ROLE: &str = "blue-owls-dev-logger-role";
const QUEUE: &str = "blue-owls-dev-jobs";
const LOG_GROUP: &str = "/aws/lambda/blue-owls-dev-logger";
const INLINE: &str = "inline-source-sw0rdfish";
/// Values of lookups: an SSM SecureString, a key of a secret, and a secret as a whole.
const LOOKUPS: [&str; 3] =
    ["secure-parameter-sw0rdfish", "key-of-secret-sw0rdfish", "{\"whole\":\"secret-sw0rdfish\"}"];
/// The spec's variables, each from another source; the function's environment uses all.
const VARIABLES: [(&str, &str); 6] = [
    ("usual", "default-variable-sw0rdfish"),
    ("flagged", "flag-variable-sw0rdfish"),
    ("outside", "env-variable-sw0rdfish"),
    ("staged", "stage-variable-sw0rdfish"),
    ("filed", "file-variable-sw0rdfish"),
    ("extended", "extended-variable-sw0rdfish"),
];
/// A variable of the environment of all functions.
const DEFAULTED: &str = "default-of-functions-sw0rdfish";
/// The file of variables.
const VAR_FILE: &str = "values.yaml";

/// How each command is tested, besides its `--help`.
const COMMANDS: [(&str, Backend); 26] = [
    ("apply", Backend::Scripted),
    ("diff", Backend::Scripted),
    ("destroy", Backend::Scripted),
    ("forget", Backend::Scripted),
    ("output", Backend::Scripted),
    ("list", Backend::Scripted),
    ("logs", Backend::Scripted),
    ("preflight", Backend::Scripted),
    ("init", Backend::Scripted),
    ("validate", Backend::Scripted),
    ("graph", Backend::Scripted),
    ("schema", Backend::Scripted),
    ("explain", Backend::Scripted),
    ("verify", Backend::Scripted),
    ("policy", Backend::Scripted),
    ("doctor", Backend::Scripted),
    ("completions", Backend::Scripted),
    ("man", Backend::Scripted),
    ("status", Backend::Scripted),
    ("items", Backend::Scripted),
    ("invoke", Backend::Scripted),
    ("export", Backend::Scripted),
    ("dev", Backend::Scripted),
    ("render", Backend::Whole),
    ("local", Backend::Local),
    ("help", Backend::Scripted),
];
const LOCAL_COMMANDS: [&str; 6] = ["start", "stop", "status", "env", "reset", "help"];

/// The AWS that a command runs against.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Backend {
    Scripted,
    Local,
    /// Not at all: it prints the values that the spec has, since its output is a spec.
    Whole,
}

/// A secret, and all encodings that reveal it.
struct Secret {
    plain: String,
    forms: BTreeSet<String>,
}

impl Secret {
    fn new(plain: &str) -> Secret {
        let mut forms = BTreeSet::new();
        let mut add = |form: String| {
            forms.insert(form);
        };
        let json = serde_json::Value::from(plain).to_string();
        let ascii: String = json
            .chars()
            .flat_map(|c| if c.is_ascii() { vec![u16::from(c as u8)] } else { c.encode_utf16(&mut [0; 2]).to_vec() })
            .map(|unit| if unit < 128 { char::from(unit as u8).to_string() } else { format!("\\u{unit:04x}") })
            .collect();
        add(plain.to_owned());
        add(json.trim_matches('"').to_owned());
        add(ascii.trim_matches('"').to_owned());
        // JSON inside a JSON string.
        let twice = serde_json::Value::from(json).to_string();
        add(twice.trim_matches(['"', '\\']).to_owned());
        add(format!("{plain:?}").trim_matches('"').to_owned());
        add(plain.escape_default().to_string());
        add(plain.replace('\'', "''"));
        add(utf8_percent_encode(plain, NON_ALPHANUMERIC).to_string());
        // A single line of a secret counts as the secret.
        plain.lines().filter(|line| line.chars().count() > 3).for_each(|line| add(line.to_owned()));
        if plain.len() > 8 {
            add(plain.bytes().map(|byte| format!("{byte:02x}")).collect());
            // Base64 depends on the secret's offset in the encoded text.
            for before in 0..3 {
                let shifted = [&vec![b'x'; before][..], plain.as_bytes()].concat();
                for engine in [&base64::engine::general_purpose::STANDARD, &base64::engine::general_purpose::URL_SAFE] {
                    let all = engine.encode(&shifted);
                    add(all[4..all.len() - 4].to_owned());
                }
            }
        }
        // Wrapped output may lack the blanks of a form.
        let flat: Vec<String> = forms.iter().map(|form| flat(form)).collect();
        forms.extend(flat);
        forms.retain(|form| form.chars().count() > 3);
        Secret { plain: plain.to_owned(), forms }
    }
}

/// Removes blanks, colors and the frame characters around lines.
fn flat(text: &str) -> String {
    let mut flat = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' if chars.peek() == Some(&'[') => drop(chars.by_ref().find(char::is_ascii_alphabetic)),
            '|' | '│' => {}
            c if c.is_whitespace() => {}
            c => flat.push(c),
        }
    }
    flat
}

struct Hunt {
    secrets: Vec<Secret>,
    n_surfaces: usize,
    n_bytes: usize,
    found: Vec<String>,
}

impl Hunt {
    fn new() -> Hunt {
        let keys = KEYS.iter().flat_map(|(id, key, token)| [*id, *key, *token]);
        let named = VALUES.iter().chain(&VARIABLES).map(|(_, value)| *value);
        let all = keys.chain(named).chain(LOOKUPS).chain([INLINE, DEFAULTED]);
        let secrets: Vec<Secret> = all.map(Secret::new).collect();
        Hunt { secrets, n_surfaces: 0, n_bytes: 0, found: Vec::new() }
    }

    /// Adds the key of the local AWS from this record file, once.
    fn add_key_of(&mut self, record: &Path) -> Option<String> {
        let record: serde_json::Value = serde_json::from_slice(&fs::read(record).ok()?).ok()?;
        let key = record["key"].as_str()?.to_owned();
        let is_new = self.secrets.iter().all(|secret| secret.plain != key);
        is_new.then(|| {
            self.secrets.push(Secret::new(&key));
            key
        })
    }

    /// Searches a text for all secrets.
    fn search(&mut self, surface: &str, text: &str) {
        self.n_surfaces += 1;
        self.n_bytes += text.len();
        let flat = flat(text);
        for secret in &self.secrets {
            let form = secret.forms.iter().find(|form| text.contains(*form) || flat.contains(*form));
            if let Some(form) = form {
                let at = text.find(form.as_str()).unwrap_or_default();
                let around: String = text[..at].chars().rev().take(160).collect::<Vec<_>>().into_iter().rev().collect();
                let (plain, told) = (&secret.plain, text[at..].chars().take(120).collect::<String>());
                self.found.push(format!("{surface}: {plain:?} as {form:?}\n    …{around}>>>{told}…"));
            }
        }
    }

    fn run(&mut self, surface: &str, run: &Ran) {
        self.search(&format!("{surface} (stdout)"), &run.out);
        self.search(&format!("{surface} (stderr)"), &run.err);
    }

    /// Searches all files in a folder except those that the user wrote.
    fn files(&mut self, surface: &str, folder: &Path, planted: &[&str]) {
        for entry in walkdir::WalkDir::new(folder).into_iter().flatten().filter(|entry| entry.file_type().is_file()) {
            let path = entry.path().strip_prefix(folder).unwrap().display().to_string();
            if planted.iter().any(|it| path.starts_with(it)) {
                continue;
            }
            // Sockets and files deleted in the meantime can't be read and reveal nothing.
            let bytes = fs::read(entry.path()).unwrap_or_default();
            self.search(&format!("{surface}: {path}"), &String::from_utf8_lossy(&bytes));
        }
    }

    #[track_caller]
    fn end(self, what: &str) {
        let Hunt { secrets, n_surfaces, n_bytes, found } = self;
        let n_forms: usize = secrets.iter().map(|secret| secret.forms.len()).sum();
        eprintln!("{what}: {} secrets in {n_forms} forms, {n_surfaces} surfaces, {n_bytes} bytes", secrets.len());
        assert!(found.is_empty(), "{} leaks:\n{}", found.len(), found.join("\n"));
    }
}

/// The environment of a function, as YAML for the spec.
fn environment() -> String {
    let values = VALUES.iter().map(|(name, value)| {
        let value = serde_json::Value::from(value.replace("${", "$${"));
        format!("      {name}: {value}\n")
    });
    let variables = VARIABLES.map(|(name, _)| format!("      V_{name}: \"${{var.{name}}}\"\n"));
    let lookups = ["secure", "key", "whole"].map(|name| format!("      L_{name}: \"x-${{lookup.{name}}}\"\n"));
    format!("    environment:\n{}{}{}", values.collect::<String>(), variables.concat(), lookups.concat())
}

/// Gives the function its own role, which can use a queue, and its own log group.
fn with_own_resources(text: &str) -> String {
    let (head, rest) = text.split_once("  execution-role:\n").unwrap();
    let (_, rest) = rest.split_once("  logger:\n").unwrap();
    let policy = "{ Version: '2012-10-17', Statement: { Effect: Allow, Principal: '*', Action: 'sqs:SendMessage', \
                  Resource: '*', Condition: { StringEquals: { 'aws:PrincipalAccount': '${account}' } } } }";
    let queue = format!("  jobs:\n    type: queue\n    policy: {policy}\n\n");
    let own = "    access: { jobs: send }\n    statements: [{ actions: ses:SendEmail, resources: '*' }]\n    \
               log_retention_in_days: 14\n";
    format!("{head}{queue}  logger:\n{}", replaced(rest, "    role: ${execution-role.arn}\n", own))
}

/// A project whose function has every secret.
fn planted() -> Project {
    let project = Project::new(|text| {
        let text = with_own_resources(&text);
        let (before, rest) = text.split_once("    code: ../").unwrap();
        let (_, after) = rest.split_once('\n').unwrap();
        let code = format!("    code:\n      inline: |\n        exports.handler = async () => \"{INLINE}\";\n");
        let vars = format!("vars:\n  usual: {}\n  flagged: x\n  outside: y\n  filed: z\n", value_of("usual"));
        let stages = format!("stages:\n  dev: {{ staged: {} }}\n", value_of("staged"));
        let defaults = format!("defaults:\n  function: {{ environment: {{ DEFAULTED: {DEFAULTED} }} }}\n");
        let outputs = "outputs:\n  function: ${logger.arn}\n";
        let lookups = "lookups:\n  secure: { ssm: /app/secure }\n  key: { secret: app/key, key: token }\n  \
                       whole: { secret: app/whole }\n";
        let values = [vars, stages, defaults, lookups.to_owned()].concat();
        format!("extends: common.yaml\n{before}{}{code}{after}\n{values}{outputs}", environment())
    });
    let file = |name: &str| format!("{name}: {}\n", value_of(name));
    fs::write(project.path(VAR_FILE), file("filed")).unwrap();
    fs::write(project.path("specs/common.yaml"), format!("vars:\n  {}", file("extended"))).unwrap();
    let (id, key, token) = KEYS[1];
    let torn = key;
    let profile = format!("aws_access_key_id = {id}\naws_secret_access_key = {key}\naws_session_token = {token}\n");
    let (id, key, token) = KEYS[2];
    let answer = json!({ "Version": 1, "AccessKeyId": id, "SecretAccessKey": key, "SessionToken": token }).to_string();
    fs::create_dir_all(project.path("home/.aws")).unwrap();
    fs::create_dir_all(project.path("tmp")).unwrap();
    fs::write(project.path("home/.aws/answer"), &answer).unwrap();
    fs::write(project.path("home/.aws/broken"), answer.replace('}', ",")).unwrap();
    fs::write(project.path("home/.aws/incomplete"), answer.replace("SecretAccessKey", "Secret")).unwrap();
    let process = |name: &str, command: String| format!("[profile {name}]\ncredential_process = {command}\n");
    let file = |name: &str| project.path(&format!("home/.aws/{name}")).display().to_string();
    let fails = format!("sh -c \"cat {0}; cat {0} >&2; exit 3\"", file("answer"));
    let config = [
        process("process", format!("cat {}", file("answer"))),
        process("broken", format!("cat {}", file("broken"))),
        process("incomplete", format!("cat {}", file("incomplete"))),
        process("argument", format!("false {key}")),
        process("fails", fails),
    ];
    fs::write(project.path("home/.aws/config"), config.concat()).unwrap();
    // An invalid line, because the parser's error may quote it.
    fs::write(project.path("home/.aws/credentials"), format!("[file]\n{profile}")).unwrap();
    fs::write(project.path("home/.aws/torn"), format!("[torn]\n{profile}{torn}\n")).unwrap();
    project
}

const PLANTED: [&str; 6] = ["specs/", "home/.aws", "lambda-src", "bin/", "broken.yaml", VAR_FILE];

/// Environment variables that might make the program reveal more than it should.
const LOUD: [(&str, &str); 5] = [
    ("RUST_LOG", "trace"),
    ("ENGINE_LOG", "trace"),
    ("RUST_BACKTRACE", "full"),
    ("AWS_LOG", "trace"),
    ("SMITHY_LOG", "trace"),
];

/// Where credentials come from.
#[derive(Debug, Clone, Copy)]
enum From {
    Environment,
    Profile(&'static str),
}

impl Project {
    fn loudly(&self, url: &str, from: From, args: &[&str]) -> Ran {
        let mut command = self.command(args);
        let (id, key, token) = KEYS[0];
        match from {
            From::Environment => {
                command.env("AWS_ACCESS_KEY_ID", id).env("AWS_SECRET_ACCESS_KEY", key).env("AWS_SESSION_TOKEN", token)
            }
            From::Profile("torn") => {
                command.env("AWS_PROFILE", "torn").env("AWS_SHARED_CREDENTIALS_FILE", self.path("home/.aws/torn"))
            }
            From::Profile(name) => command.env("AWS_PROFILE", name).env("PATH", "/usr/bin:/bin"),
        };
        command.env("TMPDIR", self.path("tmp")).envs(LOUD).envs(outside());
        if !url.is_empty() {
            command.args(["--endpoint-url", url]);
        }
        command.run()
    }
}

fn value_of(variable: &str) -> &'static str {
    VARIABLES.iter().find(|(name, _)| *name == variable).unwrap().1
}

/// The stage, and the variable that the environment sets.
fn outside() -> [(&'static str, &'static str); 2] {
    [("ENGINE_STAGE", "dev"), ("ENGINE_VAR_outside", value_of("outside"))]
}

/// The arguments that set the other variables.
fn flags() -> [String; 4] {
    ["--var".to_owned(), format!("flagged={}", value_of("flagged")), "--var-file".to_owned(), VAR_FILE.to_owned()]
}

#[test]
fn every_command_is_searched_for_secrets() {
    let project = Project::usual();
    let help = |args: &[&str]| commands(&project.command(args).run().out);
    let known: BTreeSet<&str> = COMMANDS.iter().map(|(name, _)| *name).filter(|name| *name != "help").collect();
    let listed = help(&["--help"]);
    let listed: BTreeSet<&str> = listed.iter().map(String::as_str).collect();
    assert_eq!(listed, known, "make a new one talk in `says`");
    assert_eq!(help(&["local", "--help"]), LOCAL_COMMANDS);
}

/// The command lines of each command, in the order of a lifecycle.
fn command_lines(command: &str) -> Vec<Vec<&'static str>> {
    let lines: &[&str] = match command {
        "apply" => &[
            "apply --yes --timeline timeline.html",
            "apply --yes -vv",
            "apply --yes --format json",
            "apply --yes --format markdown",
        ],
        "diff" => &[
            "diff",
            "diff -v",
            "diff -vv --log-format json --color always",
            "diff --format json --show-unchanged",
            "diff --format markdown --show-unchanged -vv",
            "diff --show-unchanged --color always",
            "diff --destroy -vv",
            "diff --out saved.json -vv",
            "diff --replace logger --format json",
            "diff --no-lookups --format json -vv",
        ],
        "destroy" => &["destroy", "destroy --yes -vv --format json", "destroy --yes -vv"],
        "forget" => &["forget logger -vv", "forget nothing -vv"],
        "output" => &["output -vv", "output function", "output --format json", "output nothing -vv"],
        "list" => &["list -vv", "list --format json", "list --all-teams -vv --log-format json"],
        "logs" => &["logs -vv", "logs --format json", "logs --raw", "logs nothing -vv"],
        "preflight" => &["preflight -vv", "preflight --format json"],
        "init" => &["init", "init nowhere --team red-foxes -vv"],
        "validate" => &["validate -vv", "validate --format json", "validate --format github"],
        "schema" => &["schema"],
        "doctor" => &["doctor -vv", "doctor --format json"],
        "completions" => &["completions bash", "completions zsh"],
        "man" => &["man", "man apply", "man nothing"],
        "graph" => &["graph -vv", "graph --plan -vv", "graph --plan --format html", "graph --format dot"],
        "explain" => &["explain", "explain function", "explain function.environment", "explain nothing -vv"],
        "verify" => &["verify -vv --timeout 1", "verify --yes --timeout 1 --format json"],
        "policy" => &["policy -vv", "policy --role", "policy --for diff --account 123456789012 -vv"],
        "status" => &["status -vv", "status --format json"],
        "items" => &["items list todos -vv", "items put todos {\"id\":\"7\"} --yes -vv", "items list nothing -vv"],
        "invoke" => &["invoke logger -vv", "invoke logger --format json", "invoke nothing -vv"],
        // The values of variables go to a file that only the user can read, and nowhere else.
        "export" => &[
            "export blue-owls-dev-logger blue-owls-dev-todos --region eu-central-1 -vv",
            "export blue-owls-dev-logger --region eu-central-1 -o exported.yaml -vv --log-format json",
            "export blue-owls-dev-logger --region eu-central-1 -o exported-2.yaml --with-values specs/values.yaml -vv",
            "export nothing blue-owls-dev-logger --region eu-central-1 -vv",
        ],
        // Without a terminal it ends with the plan.
        "dev" => &["dev -vv"],
        "help" => &["help", "help apply", "--version", "apply --nonsense"],
        other => panic!("{other} has nothing to say"),
    };
    lines.iter().map(|line| line.split(' ').collect()).collect()
}

fn takes_variables(args: &[&str]) -> bool {
    matches!(
        args[0],
        "apply"
            | "diff"
            | "destroy"
            | "forget"
            | "output"
            | "list"
            | "logs"
            | "verify"
            | "preflight"
            | "validate"
            | "policy"
            | "status"
            | "items"
            | "invoke"
            | "dev"
    )
}

/// Runs a command, with the secret variable on its command line if it accepts variables.
fn ask(hunt: &mut Hunt, project: &Project, url: &str, from: From, what: &str, args: &[&str]) -> Ran {
    let flags = flags();
    let mut args = args.to_vec();
    if takes_variables(&args) {
        args.extend(flags.iter().map(String::as_str));
    }
    let url = if ["explain", "help", "--version"].contains(&args[0]) { "" } else { url };
    let run = project.loudly(url, from, &args);
    hunt.run(&format!("{what}: engine {}", args.join(" ")), &run);
    // The next command overwrites the page.
    if args.contains(&"--timeline") {
        let page = fs::read_to_string(project.path("timeline.html")).unwrap_or_default();
        hunt.search(&format!("{what}: the page of engine {}", args.join(" ")), &page);
    }
    run
}

/// An account with only the role and what the lookups read.
fn empty() -> World {
    let [secure, key, whole] = LOOKUPS;
    let key = json!({ "token": key, "other": "x" }).to_string();
    World {
        parameters: BTreeMap::from([("/app/secure".to_owned(), ("SecureString", secure.to_owned(), 1))]),
        secrets: BTreeMap::from([("app/key", key), ("app/whole", whole.to_owned())])
            .into_iter()
            .map(|(name, value)| (name.to_owned(), Some(value)))
            .collect(),
        ..World::empty()
    }
}

fn deployed(project: &Project) -> World {
    let cloud = Cloud::start(empty());
    let flags = flags();
    let args: Vec<&str> = ["apply"].into_iter().chain(flags.iter().map(String::as_str)).collect();
    let done = project.loudly(&cloud.url, From::Environment, &args);
    done.ends_with(0);
    let world = cloud.world(|world| world.clone()).aged();
    let environment = &world.functions[FUNCTION].config["Environment"]["Variables"];
    for (name, value) in VALUES {
        assert_eq!(environment[name], value, "it is really planted");
    }
    for (name, value) in VARIABLES {
        assert_eq!(environment[format!("V_{name}")], value);
    }
    assert_eq!(environment["DEFAULTED"], DEFAULTED);
    assert_eq!(environment["L_key"], format!("x-{}", LOOKUPS[1]));
    world
}

#[test]
fn no_command_prints_a_secret_in_any_format() {
    let mut hunt = Hunt::new();
    let project = planted();
    let deployed = deployed(&project);
    let froms = [From::Environment, From::Profile("file"), From::Profile("process")];
    for (command, _) in COMMANDS.iter().filter(|(_, how)| *how == Backend::Scripted) {
        for (at, args) in command_lines(command).iter().enumerate() {
            // An empty account, and accounts that differ from the spec or match it.
            let mut changed = deployed.clone();
            changed.functions.get_mut(FUNCTION).unwrap().config["Environment"]["Variables"] =
                json!({ "PIN": VALUES[1].1, "OLD": VALUES[2].1, "UNICODE": VALUES[0].1 });
            changed.functions.get_mut(FUNCTION).unwrap().config["LastUpdateStatus"] = json!("Failed");
            changed.functions.get_mut(FUNCTION).unwrap().config["LastUpdateStatusReason"] =
                json!(format!("The value {:?} of {} is bad", VALUES[1].1, VALUES[2].1));
            let mut nobodys = changed.clone();
            nobodys.functions.get_mut(FUNCTION).unwrap().tags.clear();
            let worlds = [("empty", empty()), ("changed", changed), ("adopted", nobodys), ("same", deployed.clone())];
            for (what, world) in worlds {
                // Waits take time, and one run shows all of their output.
                if (*command == "apply" || *command == "destroy") && what == "empty" && at > 1 {
                    continue;
                }
                let cloud = Cloud::start(world);
                ask(&mut hunt, &project, &cloud.url, froms[at % 3], what, args);
            }
        }
    }
    hunt.files("files of the project", &project.path(""), &PLANTED);
    assert!(project.path("saved.json").exists() && project.path("timeline.html").exists());
    hunt.end("formats");
}

#[test]
fn no_error_contains_a_secret() {
    let mut hunt = Hunt::new();
    let project = planted();
    let deployed = deployed(&project);
    // AWS's messages quote parts of a request or a function in these forms.
    let quotes: Vec<String> = {
        let all = VALUES.iter().map(|(name, value)| (*name, *value));
        let plain = all.clone().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", ");
        let json = serde_json::Value::from_iter(all.clone()).to_string();
        let debug = all.clone().map(|(name, value)| format!("{name}: {value:?}")).collect::<Vec<_>>().join(", ");
        let ascii = VALUES[2].1.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect::<String>();
        vec![plain, json, debug, ascii, VARIABLES.map(|(_, value)| value).join(" ")]
    };
    let errors = [
        ("refused", 400, "InvalidParameterValueException"),
        ("denied", 403, "AccessDeniedException"),
        ("broken", 500, "ServiceException"),
        ("unknown", 418, "SomethingNewException"),
    ];
    let operations = [
        ("GetFunction", "diff"),
        ("GetPolicy", "diff"),
        ("DescribeTable", "diff"),
        ("GetFunction", "list"),
        ("UpdateFunctionConfiguration", "apply"),
        ("UpdateFunctionCode", "apply"),
        ("TagResource", "apply"),
        ("DeleteFunction", "destroy"),
        ("GetRolePolicy", "diff"),
        ("GetQueueAttributes", "diff"),
        ("DescribeLogGroups", "list"),
        ("PutRolePolicy", "apply"),
        ("UpdateAssumeRolePolicy", "apply"),
        ("SetQueueAttributes", "apply"),
        ("PutRetentionPolicy", "apply"),
        ("DeleteRole", "destroy"),
    ];
    for (at, (operation, command)) in operations.into_iter().enumerate() {
        for (what, status, code) in errors {
            let text = &quotes[..].join(" and ");
            let mut world = deployed.clone();
            let function = world.functions.get_mut(FUNCTION).unwrap();
            function.config["MemorySize"] = json!(512);
            function.config["CodeSha256"] = json!("other");
            function.tags.insert("engine:resource".to_owned(), "was-logger".to_owned());
            let role = world.roles.get_mut(ROLE).unwrap();
            role.inline.clear();
            role.trust = Some(role.trust.take().unwrap().replace("lambda.", "ecs-tasks."));
            world.queues.get_mut(QUEUE).unwrap().attributes.remove("Policy");
            world.log_groups.get_mut(LOG_GROUP).unwrap().shown["retentionInDays"] = json!(30);
            // engine retries a server error; a few cases show all of its output.
            if status == 500 && at > 5 {
                continue;
            }
            let cloud = Cloud::start(world);
            cloud.always(operation, Fault::Answer(Reply::of(operation, status, code, text)));
            for args in [vec![command], vec![command, "-vv", "--log-format", "json"]] {
                let mut args = args;
                if command != "diff" && command != "list" {
                    args.extend(["--yes", "--timeline", "timeline.html"]);
                }
                let run =
                    ask(&mut hunt, &project, &cloud.url, From::Environment, &format!("{operation} {what}"), &args);
                assert_ne!(run.code(), Some(101), "{}", run.err);
            }
        }
    }
    // Malformed responses.
    for body in [quotes[1].clone(), format!("{{\"Configuration\": {{\"Handler\": {:?}", VALUES[1].1), quotes[0].clone()]
    {
        let cloud = Cloud::start(deployed.clone());
        cloud.always("GetFunction", Fault::Answer(Reply::raw(200, &body)));
        ask(&mut hunt, &project, &cloud.url, From::Environment, "garbage", &["diff", "-vv"]);
        let cloud = Cloud::start(empty());
        cloud.always("CreateFunction", Fault::Answer(Reply::raw(502, &body)));
        ask(&mut hunt, &project, &cloud.url, From::Environment, "garbage", &["apply", "-vv"]);
    }
    // A concurrent change.
    let cloud = Cloud::start(World { ..deployed.clone() });
    cloud.world(|world| world.functions.get_mut(FUNCTION).unwrap().change_outside("MemorySize", json!(512)));
    cloud.before("GetFunction", 2, |world| {
        world
            .functions
            .get_mut(FUNCTION)
            .unwrap()
            .change_outside("Environment", json!({ "Variables": { "PIN": VALUES[3].1 } }));
    });
    ask(&mut hunt, &project, &cloud.url, From::Environment, "changed in the meantime", &["apply", "-vv"]).ends_with(1);
    // Unusable credentials.
    for profile in ["broken", "incomplete", "argument", "fails", "torn", "file", "nobody"] {
        let cloud = Cloud::start(deployed.clone());
        for args in [&["diff", "-vv"][..], &["list", "-vv", "--log-format", "json"]] {
            ask(&mut hunt, &project, &cloud.url, From::Profile(profile), profile, args);
        }
    }
    // AWS is unreachable.
    ask(&mut hunt, &project, "http://127.0.0.1:1", From::Environment, "nobody there", &["diff", "-vv"]);
    hunt.files("files of the project", &project.path(""), &PLANTED);
    hunt.end("errors");
}

#[test]
fn no_invalid_spec_reveals_a_secret() {
    let mut hunt = Hunt::new();
    let project = planted();
    let whole = fs::read_to_string(project.path("specs/team.yaml")).unwrap();
    let cloud = Cloud::start(empty());
    let mut n_broken = 0;
    let lines: Vec<&str> = whole.lines().collect();
    let first = lines.iter().position(|line| line.contains("environment:")).unwrap();
    let last = lines.iter().position(|line| line.contains("inline:")).unwrap() + 1;
    let vars = lines.iter().position(|line| line.starts_with("vars:")).unwrap();
    for at in (first..=last).chain(vars..vars + 2) {
        let replaced = |line: String| {
            let mut lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
            lines[at] = line;
            lines.join("\n")
        };
        let line = lines[at];
        let indent = line.len() - line.trim_start().len();
        let broken = [
            replaced(line.replacen(": ", ":", 1)),
            replaced(line.replacen(": ", ": [", 1)),
            replaced(line.replacen(": ", ": &a ", 1)),
            replaced(line.replacen(": ", ": !x ", 1)),
            replaced(line.replacen(": ", ": ${nothing.here}", 1)),
            replaced(line.replacen('"', "", 1)),
            replaced(format!("{line}\n{line}")),
            replaced(format!("{line}\n{:indent$}broken", "")),
            replaced(format!("\t{line}")),
            replaced(format!("{:indent$}  {line}", "")),
            replaced(line.trim_start().to_owned()),
            replaced(line.replace("environment", "enviroment").replace("inline", "inlin").replace("vars", "var")),
        ];
        for (how, text) in broken.into_iter().enumerate() {
            if text == whole {
                continue;
            }
            fs::write(project.path("broken.yaml"), &text).unwrap();
            let command = [&["diff", "broken.yaml"][..], &["destroy", "broken.yaml", "--yes", "-vv"]][how % 2];
            ask(&mut hunt, &project, &cloud.url, From::Environment, "broken spec", command);
            n_broken += 1;
        }
    }
    eprintln!("{n_broken} broken specs");
    hunt.end("broken specs");
}

/// A terminal, with live updates, confirmation prompts and interrupts.
#[test]
fn no_terminal_shows_a_secret() {
    let mut hunt = Hunt::new();
    let project = planted();
    let deployed = deployed(&project);
    for (command, answer) in [("apply", "yes"), ("destroy", "no"), ("destroy", "yes")] {
        let mut world = deployed.clone();
        let function = world.functions.get_mut(FUNCTION).unwrap();
        function.config["Environment"]["Variables"] = json!({ "PIN": VALUES[1].1 });
        world.tables.get_mut(TABLE).unwrap().tags.clear();
        let cloud = Cloud::start(world);
        let mut process = project.command(&[command, "--endpoint-url", &cloud.url]);
        process.args(flags());
        let (id, key, token) = KEYS[0];
        process.env("AWS_ACCESS_KEY_ID", id).env("AWS_SECRET_ACCESS_KEY", key).env("AWS_SESSION_TOKEN", token);
        process.env("TERM", "xterm-256color").envs(outside()).envs(LOUD);
        let mut session = process.terminal();
        let shown = session.exp_string("Only 'yes' will be accepted: ").unwrap();
        session.send_line(answer).unwrap();
        hunt.search(&format!("{command} on a terminal"), &(shown + &session.exp_eof().unwrap()));
    }
    hunt.end("terminal");
}

/// The local AWS, and every process that the program starts.
#[test]
fn no_process_of_the_local_aws_receives_a_credential() {
    let mut hunt = Hunt::new();
    let project = planted();
    // Wrappers in PATH record arguments and environment before they run the program.
    fs::create_dir_all(project.path("bin")).unwrap();
    fs::create_dir_all(project.path("children")).unwrap();
    let path = std::env::var("PATH").unwrap();
    for program in ["python3", "node", "uv", "pip", "ps", "sh"] {
        let Some(real) = installed_program(program) else { continue };
        let wrapper = project.path(&format!("bin/{program}"));
        let report = project.path(&format!("children/{program}")).display().to_string();
        let text = format!("#!/bin/bash\n(env; echo \"$0\" \"$@\") >>{report}.$$\nexec {} \"$@\"\n", real.display());
        fs::write(&wrapper, text).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&wrapper, mode).unwrap();
    }
    let run = |args: &[&str]| {
        let mut command = project.command(args);
        let (id, key, token) = KEYS[0];
        command.env("AWS_ACCESS_KEY_ID", id).env("AWS_SECRET_ACCESS_KEY", key).env("AWS_SESSION_TOKEN", token);
        command.env("AWS_PROFILE", "file").envs(outside()).envs(LOUD);
        command.env("TMPDIR", project.path("tmp")).env("ENGINE_CACHE_DIR", installed());
        command.env("PATH", format!("{}:{path}", project.path("bin").display()));
        if takes_variables(args) {
            command.args(flags());
        }
        command.run()
    };
    let mut asked = Vec::new();
    for command in ["start", "status", "reset"] {
        asked.push(vec!["local", command, "-vv"]);
    }
    asked.push(vec!["apply", "--local", "--yes", "-vv"]);
    asked.push(vec!["diff", "--local", "--format", "json", "--show-unchanged", "-vv"]);
    asked.push(vec!["list", "--local", "-vv"]);
    for args in &asked {
        let ended = run(args);
        ended.ends_with(0);
        if let Some(key) = hunt.add_key_of(&project.path(".engine/local.json")) {
            // The only command that is meant to print the key.
            assert!(run(&["local", "env"]).out.contains(&key));
        }
        hunt.run(&format!("engine {}", args.join(" ")), &ended);
    }
    // The server, its supervisor and the functions' workers, by their entries in `/proc`.
    let text = fs::read_to_string(project.path(".engine/local.json")).unwrap();
    let supervisor: serde_json::Value = serde_json::from_str(&text).unwrap();
    let group = supervisor["supervisor"]["pid"].as_u64().unwrap();
    let mut n_processes = 0;
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(command) = fs::read_to_string(entry.path().join("cmdline")) else { continue };
        let is_ours = entry.file_name().to_string_lossy() == group.to_string()
            || command.contains("ministack") && command.contains(&*project.path("").to_string_lossy())
            || fs::read_to_string(entry.path().join("environ"))
                .is_ok_and(|it| it.contains(&*project.path("").to_string_lossy()));
        if !is_ours || entry.file_name().to_string_lossy() == std::process::id().to_string() {
            continue;
        }
        n_processes += 1;
        hunt.search(&format!("command line of {command:?}"), &command.replace('\0', " "));
        let environ = fs::read_to_string(entry.path().join("environ")).unwrap_or_default();
        // Functions need the key to call the local AWS.
        let environ = environ.split('\0').filter(|variable| !variable.starts_with("AWS_ACCESS_KEY_ID=LOCAL"));
        hunt.search(&format!("environment of {command:?}"), &environ.collect::<Vec<_>>().join("\n"));
    }
    for args in [&["destroy", "--local", "--yes", "-vv"][..], &["local", "stop", "-vv"]] {
        let ended = run(args);
        hunt.run(&format!("engine {}", args.join(" ")), &ended);
    }
    assert!(n_processes > 0 || !cfg!(target_os = "linux"), "the server was looked at");
    assert!(fs::read_dir(project.path("children")).unwrap().count() > 0, "the wrappers were used");
    // The children's arguments and environments are now files. The program's own come from the
    // user's shell and don't count.
    hunt.files("files of the project", &project.path(""), &PLANTED);
    hunt.end("local AWS");
}
