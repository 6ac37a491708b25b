//! Which specs are accepted, and which diagnostics the others produce. No test here gets as far as
//! AWS: the binary runs with an empty environment, so a call would fail with missing credentials.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use engine::diagnostic::{self, Diagnostic, Severity, Style};
use engine::kinds::all;
use engine::preflight;
use engine::render::remedy;
use engine::schema::{Shape, Str};
use engine::spec::{Depth, Spec, SpecOverrides};
use engine::yaml::{self, Yaml};
use insta::assert_snapshot;

use crate::shared::program::{Program, Ran};
use crate::support::ENGINE;

/// The specs in a folder: `broken` has at least one per cause, `warned` has those that only produce
/// warnings.
fn corpus(folder: &str) -> Vec<PathBuf> {
    yaml_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/specs").join(folder))
}

fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|it| it == "yaml")).collect();
    files.sort();
    assert!(!files.is_empty(), "{}", folder.display());
    files
}

/// Every spec in the repository that must be valid.
fn working() -> Vec<PathBuf> {
    let specs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../specs");
    [yaml_files(&specs), yaml_files(&specs.join("examples"))].concat()
}

/// Runs `engine diff` without credentials, settings or a terminal.
fn diff(folder: &Path, args: &[&str]) -> Ran {
    static CACHE: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());
    Program::engine(folder).env("XDG_CACHE_HOME", CACHE.path()).arg("diff").args(args).run()
}

/// The diagnostics of `engine diff` for a spec that it must refuse.
fn refusal(spec: &[u8], args: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("spec.yaml"), spec).unwrap();
    diff(folder.path(), &[&["spec.yaml"], args].concat()).failure()
}

fn load(spec: &str, overrides: &SpecOverrides) -> Result<Spec, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spec.yaml");
    fs::write(&path, spec).unwrap();
    Spec::load(&engine::kinds::all(), &path, overrides, Depth::Full).map_err(|problems| {
        let folder = format!("{}/", folder.path().display());
        diagnostic::render(&remedy::worded(&problems), Style::Plain, 100).replace(&folder, "")
    })
}

/// One cause in `CAUSES.md`: its heading, its name, and the specs that have it.
struct ListedCause {
    group: String,
    cause: String,
    files: Vec<String>,
}

/// The causes in `CAUSES.md`, beside the broken specs.
fn causes() -> Vec<ListedCause> {
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/specs/broken/CAUSES.md");
    let (mut causes, mut group) = (Vec::new(), String::new());
    for line in fs::read_to_string(list).unwrap().lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            group = heading.to_owned();
        } else if let Some(row) = line.strip_prefix("- ") {
            let (cause, files) = row.split_once(": `").unwrap_or_else(|| panic!("{row}"));
            let files = files.trim_end_matches('`').split("`, `").map(str::to_owned).collect();
            causes.push(ListedCause { group: group.clone(), cause: cause.to_owned(), files });
        }
    }
    causes
}

/// Every cause with the error for its first spec, as Markdown.
pub(crate) fn catalogue() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/specs/broken");
    let mut page = String::new();
    let mut group = String::new();
    for it in causes() {
        if it.group != group {
            group = it.group;
            writeln!(page, "### {group}\n| problem | message | hint |\n|---|---|---|").unwrap();
        }
        // Code is already in backticks, so only characters that break a table row are replaced.
        let cell = |text: &str| {
            diagnostic::printable(text)
                .replace('|', "\\|")
                .replace('\n', " ")
                .replace(folder.to_str().unwrap(), "specs")
        };
        let errors =
            Spec::load(&engine::kinds::all(), &folder.join(&it.files[0]), &SpecOverrides::default(), Depth::Full)
                .unwrap_err();
        let first = errors.iter().find(|it| it.severity == Severity::Error).unwrap().worded(remedy::text);
        let hints = first.hints.join("; ");
        writeln!(page, "| {} | {} | {} |", cell(&it.cause), cell(&first.problem), cell(&hints)).unwrap();
    }
    page
}

/// The fixed wording of an error, without what comes from the file: text in backticks, numbers, and
/// source lines.
fn gist(said: &str) -> String {
    let notes = said.lines().map(str::trim_start).filter(|line| !line.starts_with(['|', '-']));
    let notes = notes.filter(|line| line.split_once(" | ").is_none_or(|(number, _)| number.parse::<u32>().is_err()));
    let text = notes.collect::<Vec<_>>().join(" ");
    let bare: Vec<&str> = text.split('`').step_by(2).collect();
    let mut words: Vec<&str> =
        bare.iter().flat_map(|it| it.split([' ', ',', '/'])).filter(|it| !it.is_empty()).collect();
    words.retain(|word| !word.starts_with(|c: char| c.is_ascii_digit()));
    words.join(" ")
}

#[test]
fn every_broken_spec_is_refused_with_a_location_and_a_hint() {
    let causes = causes();
    assert!(causes.len() >= 100, "{}", causes.len());
    let mut listed: Vec<&str> = causes.iter().flat_map(|it| &it.files).map(String::as_str).collect();
    listed.sort_unstable();
    let corpus = corpus("broken");
    let files: Vec<&str> = corpus.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(listed, files, "each broken spec stands once in CAUSES.md");

    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/specs/broken");
    let mut all = String::new();
    let mut group = "";
    // Two causes with the same wording are the same cause.
    let (mut names, mut gists) = (BTreeMap::new(), BTreeMap::new());
    for it in &causes {
        let ListedCause { cause, .. } = it;
        assert_eq!(names.insert(cause.clone(), &it.group), None, "two causes are called `{cause}`");
        if it.group != group {
            group = &it.group;
            writeln!(all, "# {group}\n").unwrap();
        }
        writeln!(all, "## {cause}").unwrap();
        for (at, name) in it.files.iter().enumerate() {
            let ran = diff(&folder, &[name]);
            let said = &ran.err;
            assert_eq!(ran.code(), Some(1), "{name}: {said}");
            assert_eq!(ran.out, "", "{name}");
            assert!(!said.contains("credentials") && !said.contains("panicked"), "{name} got as far as AWS: {said}");
            let errors: Vec<&str> = said.split("\n\n").filter(|block| block.starts_with("error: ")).collect();
            assert!(!errors.is_empty(), "{name}: {said}");
            for error in &errors {
                // Each error has a place and a hint.
                assert!(error.contains(&format!("--> {name}")) && error.contains("= hint: "), "{name}: {error}");
            }
            if at == 0 {
                let other = gists.insert(gist(errors[0]), cause.clone());
                assert_eq!(other, None, "`{cause}` reads like it: {}", errors[0]);
            }
            writeln!(all, "### {name}\n{said}").unwrap();
        }
    }
    assert_snapshot!("broken_specs", all);
}

#[test]
fn a_problem_that_syntax_cannot_prove_is_only_a_warning() {
    let mut all = String::new();
    for path in corpus("warned") {
        // The width of the folder's name must not matter.
        let path = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap();
        let spec = Spec::load(&engine::kinds::all(), path, &SpecOverrides::default(), Depth::Full)
            .unwrap_or_else(|errors| panic!("{}: {errors:?}", path.display()));
        assert!(!spec.warnings.is_empty(), "{}", path.display());
        assert!(spec.warnings.iter().all(|it| it.severity == Severity::Warning));
        let folder = format!("{}/", path.parent().unwrap().display());
        writeln!(
            all,
            "{}",
            diagnostic::render(&remedy::worded(&spec.warnings), Style::Plain, 100).replace(&folder, "")
        )
        .unwrap();
    }
    assert_snapshot!(all);
}

#[test]
fn ten_mistakes_are_ten_errors() {
    let said = refusal(
        b"team: blue owls
account: 123456789012
resources:
  todos:
    type: table
    attributes: { id: S }
    hashKey: id
    read_capacity: 0
    write_capacity: many
    stream_view_type: BOTH
  theirs: { type: role }
  logger:
    type: function
    runtime: nodejs22.x
    handler: index.handler
    role: ${todos.arn}
    code: no-such-folder
    environment: { TABLE: \"${todo.name}\" }
",
        &[],
    );
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_snapshot!(errors.join("\n"));
}

/// A working pipeline without anything local, whose parts the tables below exchange.
const PIPELINE: &str = "team: owls
resources:
  todos:
    type: table
    attributes: { id: S }
    hash_key: id
    billing_mode: PAY_PER_REQUEST
    stream_view_type: KEYS_ONLY
  logger:
    type: function
    runtime: nodejs22.x
    handler: index.handler
    role: arn:aws:iam::123456789012:role/runner
    code: { inline: \"exports.handler = async () => {};\" }
";

#[test]
fn valid_edge_cases_are_accepted() {
    let longest = format!("a{}", "b".repeat(62));
    let cases = [
        ("team of two", PIPELINE.replace("team: owls", "team: a1")),
        ("team of 32 with case and underscore", PIPELINE.replace("team: owls", &format!("team: A_{}", "b".repeat(30)))),
        ("resource name of 63", PIPELINE.replace("  todos:", &format!("  {longest}:"))),
        ("memory and timeout at the top", format!("{PIPELINE}    memory_size: 10240\n    timeout: 900\n")),
        ("memory and timeout at the bottom", format!("{PIPELINE}    memory_size: 128\n    timeout: 1\n")),
        ("name with dot", PIPELINE.replace("    hash_key: id\n", "    hash_key: id\n    name: owls.todos\n")),
        ("empty resources", "team: owls\nresources: {}\n".to_owned()),
        ("byte order mark", format!("\u{feff}{PIPELINE}")),
        ("windows line ends", PIPELINE.replace('\n', "\r\n")),
    ];
    for (what, spec) in cases {
        if let Err(said) = load(&spec, &SpecOverrides::default()) {
            panic!("{what}: {said}");
        }
    }
    assert!(load(&PIPELINE.replace("  todos:", &format!("  {longest}c:")), &SpecOverrides::default()).is_err());
}

/// A spec with these lines for `owns`, and a table with this name.
fn owning(owns: &str, name: &str) -> String {
    let named = format!("    hash_key: id\n    name: {name}\n");
    PIPELINE.replace("team: owls\n", &format!("team: owls\n{owns}\n")).replace("    hash_key: id\n", &named)
}

#[test]
fn a_name_in_owns_needs_no_prefix_and_variables_in_it_are_replaced() {
    let entries = "vars: { stage: Dev }\nowns: [Orders, \"Orders${var.stage}\", \"${team}Orders\", \"$${x}\"]";
    // `$${` is a literal, which no name can have.
    let said = load(&owning(entries, "Orders"), &SpecOverrides::default()).unwrap_err();
    assert!(said.contains("`${x}` in `owns` is not a valid name"), "{said}");
    let entries = entries.replace(", \"$${x}\"", ", Unused, /aws/lambda/Orders, jobs.fifo");
    for name in ["Orders", "OrdersDev", "owlsOrders", "\"Orders${var.stage}\"", "\"${team}Orders\""] {
        let spec =
            load(&owning(&entries, name), &SpecOverrides::default()).unwrap_or_else(|said| panic!("{name}: {said}"));
        let owns: Vec<&str> = spec.owns.iter().map(String::as_str).collect();
        assert_eq!(owns, ["/aws/lambda/Orders", "Orders", "OrdersDev", "Unused", "jobs.fifo", "owlsOrders"]);
    }
    for name in ["orders", "Orders2", "Order", "OrdersProd", "foxesOrders", "unused", "/aws/lambda/Orders"] {
        let said = load(&owning(&entries, name), &SpecOverrides::default()).unwrap_err();
        assert!(said.contains("must start with `owls-`") || said.contains("invalid"), "{name}: {said}");
    }
    let none = load(&owning("owns: []", "owls-x"), &SpecOverrides::default()).unwrap();
    assert!(none.owns.is_empty());
}

#[test]
fn another_team_on_the_command_line_needs_its_own_names_in_owns() {
    let with_team = |owns: &str, name: &str, depth: Depth| {
        let overrides = SpecOverrides { team: Some("foxes".to_owned()), ..SpecOverrides::default() };
        let bytes = owning(owns, name);
        Spec::parse(&engine::kinds::all(), Path::new("spec.yaml"), bytes.as_bytes(), &overrides, depth)
    };
    for depth in [Depth::Full, Depth::Identities] {
        let errors = with_team("owns: [\"${team}Orders\", Users, \"$${team}\"]", "${team}Orders", depth).unwrap_err();
        let said = diagnostic::render(&remedy::worded(&errors), Style::Plain, 100);
        assert_snapshot!(said);
        let spec = with_team("owns: [\"${team}Orders\"]", "${team}Orders", depth).unwrap();
        assert_eq!(spec.owns.iter().collect::<Vec<_>>(), ["foxesOrders"], "{depth:?}");
    }
}

#[test]
fn an_invalid_entry_of_owns_owns_nothing() {
    let said = owning("owns: [\"Orders*\", Users, Users]", "owls-x");
    let spec = Spec::parse(
        &engine::kinds::all(),
        Path::new("spec.yaml"),
        said.as_bytes(),
        &SpecOverrides::default(),
        Depth::Identities,
    );
    assert_eq!(spec.unwrap().owns.iter().collect::<Vec<_>>(), ["Users"]);
}

#[test]
fn limits_are_exact_to_the_byte() {
    let environment = |n: usize| format!("{PIPELINE}    environment: {{ AA: {} }}\n", "x".repeat(n));
    // The limit counts `{"AA":"…"}`: a quote takes two bytes, and an umlaut takes two of UTF-8.
    let overhead = r#"{"AA":""}"#.len();
    let quoted = format!("{PIPELINE}    environment: {{ AA: '{}\"ä' }}\n", "x".repeat(4096 - overhead - 4));
    let layer = |n: usize| {
        let arn = "arn:aws:lambda:eu-central-1:123456789012:layer::1";
        format!("{PIPELINE}    layers: [\"{}\"]\n", arn.replace("::1", &format!(":{}:1", "l".repeat(n - arn.len()))))
    };
    let filled = |n: usize, times: usize, outputs: usize| {
        let output = |at| format!("  o{at}: \"{}\"\n", "${var.x}".repeat(times));
        let outputs: String = (0..outputs).map(output).collect();
        format!("team: owls\nresources: {{}}\nvars: {{ x: {} }}\noutputs:\n{outputs}", "x".repeat(n))
    };
    let cases = [
        (environment(4096 - overhead), true),
        (environment(4097 - overhead), false),
        (quoted.clone(), true),
        (quoted.replace("ä", "äx"), false),
        (layer(2048), true),
        (layer(2049), false),
        (filled(1 << 10, 1 << 10, 1), true),
        (filled(1 << 10, (1 << 10) + 1, 1), false),
        (filled((1 << 20) / 4, 4, 16), true),
        (filled((1 << 20) / 4, 4, 17), false),
    ];
    for (spec, is_taken) in cases {
        let loaded = load(&spec, &SpecOverrides::default());
        assert_eq!(loaded.is_ok(), is_taken, "{:.300} {:.300}", loaded.err().unwrap_or_default(), spec);
    }
}

/// Every property with a list of allowed values, and whether AWS defines the list. A list is closed
/// if engine's own rules depend on its values: capacity depends on the billing mode, a record's
/// images on the view type, levels on the log format, attributes on INCLUDE and on their types,
/// another property on AT_TIMESTAMP, and confirmation on a URL's authentication.
fn lists() -> Vec<(&'static str, bool, Vec<&'static str>)> {
    use aws_sdk_dynamodb::types as dynamodb;
    use aws_sdk_lambda::types as lambda;
    vec![
        ("function.runtime", true, lambda::Runtime::values().to_vec()),
        ("function.architecture", true, lambda::Architecture::values().to_vec()),
        ("function.tracing", true, lambda::TracingMode::values().to_vec()),
        // The whole list of IAM's policy language.
        ("function.statements.effect", false, vec!["Allow", "Deny"]),
        ("function.events.starting_position", false, vec!["TRIM_HORIZON", "LATEST"]),
        ("function.log_format", false, lambda::LogFormat::values().to_vec()),
        ("function.application_log_level", true, lambda::ApplicationLogLevel::values().to_vec()),
        ("function.system_log_level", true, lambda::SystemLogLevel::values().to_vec()),
        ("function.url.auth_type", false, lambda::FunctionUrlAuthType::values().to_vec()),
        ("function.url.invoke_mode", true, lambda::InvokeMode::values().to_vec()),
        ("log_group.log_group_class", true, vec!["STANDARD", "INFREQUENT_ACCESS", "DELIVERY"]),
        // Only Kinesis supports AT_TIMESTAMP.
        ("mapping.starting_position", false, vec!["TRIM_HORIZON", "LATEST"]),
        ("permission.function_url_auth_type", true, lambda::FunctionUrlAuthType::values().to_vec()),
        // The SDK takes this document as text.
        ("queue.redrive_allow_policy.redrive_permission", false, vec!["allowAll", "denyAll", "byQueue"]),
        ("role.statements.effect", false, vec!["Allow", "Deny"]),
        ("table.attributes", false, dynamodb::ScalarAttributeType::values().to_vec()),
        ("table.billing_mode", false, dynamodb::BillingMode::values().to_vec()),
        ("table.global_secondary_indexes.projection_type", false, dynamodb::ProjectionType::values().to_vec()),
        ("table.local_secondary_indexes.projection_type", false, dynamodb::ProjectionType::values().to_vec()),
        ("table.stream_view_type", false, dynamodb::StreamViewType::values().to_vec()),
        ("table.table_class", true, dynamodb::TableClass::values().to_vec()),
    ]
}

#[test]
fn every_list_of_values_covers_the_sdk_and_is_open_or_closed() {
    fn collect(path: &str, shape: &Shape, found: &mut Vec<(String, bool, BTreeSet<Str>)>) {
        match shape {
            Shape::Choice(words) => found.push((path.to_owned(), false, words.iter().cloned().collect())),
            Shape::OpenChoice { offered, retired, .. } => {
                found.push((path.to_owned(), true, offered.iter().chain(retired).cloned().collect()));
            }
            Shape::Map { value: item, .. } | Shape::List { item, .. } | Shape::Set { item, .. } => {
                collect(path, item, found);
            }
            Shape::Record(properties) | Shape::TextOrRecord(_, properties) => {
                properties.iter().for_each(|it| collect(&format!("{path}.{}", it.name), &it.shape, found));
            }
            Shape::OneOf(shapes) => shapes.iter().for_each(|it| collect(path, it, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    for it in all().iter() {
        let kind = &it.schema().kind;
        it.schema().settable().for_each(|it| collect(&format!("{kind}.{}", it.name), &it.shape, &mut found));
    }
    let decided: BTreeMap<&str, (bool, Vec<&str>)> =
        lists().into_iter().map(|(path, is_open, words)| (path, (is_open, words))).collect();
    assert_eq!(found.iter().map(|it| it.0.as_str()).collect::<BTreeSet<_>>(), decided.keys().copied().collect());
    for (path, is_open, words) in found {
        let (decided, of_aws) = &decided[path.as_str()];
        assert_eq!(is_open, *decided, "{path}");
        let missing: Vec<&&str> = of_aws.iter().filter(|word| !words.contains(**word)).collect();
        assert!(missing.is_empty(), "`{path}` lacks {missing:?}, which the SDK has");
    }
}

#[test]
fn runtime_warnings_follow_the_deprecation_dates_of_aws() {
    let warned = |runtime: &str, day: &str| {
        let spec = load(&PIPELINE.replace("nodejs22.x", runtime), &SpecOverrides::default()).unwrap();
        let findings = preflight::offline(&spec, day);
        assert!(findings.iter().all(|it| it.severity == Severity::Warning));
        let findings = remedy::worded(&findings).into_iter();
        findings.map(|it| format!("{}; {}", it.problem, it.why.unwrap_or_default())).collect::<String>()
    };
    let cases = [
        ("nodejs22.x", "2026-11-30", ""),
        ("nodejs26.x", "2036-11-30", ""),
        ("nodejs28.x", "2036-11-30", ""),
        ("nodejs20.x", "2026-04-29", ""),
        ("nodejs20.x", "2026-04-30", "is deprecated and no longer gets security updates"),
        (
            "nodejs20.x",
            "2027-01-31",
            "new functions will be blocked from 2027-02-01, updates will be blocked from 2027-03-03",
        ),
        ("nodejs20.x", "2027-02-01", "no longer creates functions with the runtime `nodejs20.x`"),
        (
            "nodejs20.x",
            "2027-02-01",
            "new functions have been blocked since 2027-02-01, updates will be blocked from 2027-03-03",
        ),
        ("nodejs20.x", "2027-03-03", "no longer creates or updates functions with the runtime `nodejs20.x`"),
        ("nodejs12.x", "2026-11-30", "no longer creates or updates functions with the runtime `nodejs12.x`"),
    ];
    for (runtime, day, said) in cases {
        let found = warned(runtime, day);
        assert!(found.contains(said) && found.is_empty() == said.is_empty(), "{runtime} on {day}: {found}");
    }
}

#[test]
fn variables_come_from_the_flag_then_the_environment_then_the_spec() {
    let spec = "team: owls
vars: { memory: 256, level: info }
resources:
  logger:
    type: function
    name: ${team}-${var.level}
    runtime: nodejs22.x
    handler: index.handler
    role: arn:aws:iam::123456789012:role/runner
    memory_size: ${var.memory}
    environment: { PRICE: \"$${5}\", LEVEL: \"level=${var.level}!\" }
    code: { inline: \"exports.handler = async () => `${process.env.LEVEL} ${var.nothing} $${x}`;\" }
";
    let seen = |overrides: &SpecOverrides| {
        let spec = load(spec, overrides).unwrap();
        let logger = spec.resource("logger").unwrap();
        format!(
            "{} memory={} environment={}",
            logger.id.name,
            serde_json::Value::from(&logger.desired["memory_size"]),
            serde_json::Value::from(&logger.desired["environment"]),
        )
    };
    let mut overrides = SpecOverrides::default();
    assert_snapshot!(seen(&overrides), @r#"owls-info memory=256 environment={"LEVEL":"level=info!","PRICE":"${5}"}"#);
    overrides.env.extend([("memory".to_owned(), "512".to_owned()), ("level".to_owned(), "debug".to_owned())]);
    assert_snapshot!(seen(&overrides), @r#"owls-debug memory=512 environment={"LEVEL":"level=debug!","PRICE":"${5}"}"#);
    overrides.vars.insert("level".to_owned(), "trace".to_owned());
    overrides.team = Some("foxes".to_owned());
    assert_snapshot!(seen(&overrides), @r#"foxes-trace memory=512 environment={"LEVEL":"level=trace!","PRICE":"${5}"}"#);
    // engine doesn't interpolate inline source: `${…}` in it is JavaScript.
    let code = load(spec, &overrides).unwrap().resource("logger").unwrap().desired["code"].clone();
    assert!(serde_json::Value::from(&code).to_string().contains("`${process.env.LEVEL} ${var.nothing} $${x}`"));
}

#[test]
fn the_command_line_overrides_the_spec_and_is_checked_like_it() {
    let spec = PIPELINE.as_bytes();
    assert_snapshot!(refusal(spec, &["--team", "blue owls"]), @r"
    error: the team name `blue owls` has an invalid format
     |
     = hint: did you mean `blue-owls`? Use letters, digits, `-` and `_`, starting
             and ending with a letter or digit
    ");
    assert_snapshot!(refusal(spec, &["--region", "eu-central-1b"]), @r"
    error: `eu-central-1b` is not a valid region for `--region`
     |
     = hint: `eu-central-1b` is an availability zone; its region is
             `eu-central-1`
    ");
    assert_snapshot!(refusal(PIPELINE.replace("team: owls\n", "").as_bytes(), &["--region", "mars-north-1"]), @"
    warning: engine doesn't recognize the region in `--region mars-north-1`
     |
     = why: AWS adds values over time, so engine lets AWS decide
     = hint: if this is a typo, did you mean `eu-north-1`?

    error: the spec has no `team`
     --> spec.yaml:1:1
      |
    1 | resources:
      | ^^^^^^^^^^
      |
      = hint: add `team: your-team` at the top, or pass `--team`
    ");
    assert_snapshot!(refusal(PIPELINE.replace("owls", "${var.team}").as_bytes(), &["--var", "teams=owls"]), @"
    error: this spec doesn't use the variable in `--var teams=…`
     |
     = hint: did you mean `team`?

    error: the variable `team` has no value
     --> spec.yaml:1:7
      |
    1 | team: ${var.team}
      |       ^^^^^^^^^^^
      |
      = hint: did you mean `${var.teams}`? Otherwise add it to `vars:`, pass
              `--var team=…`, or set ENGINE_VAR_team
    ");
    assert_snapshot!(refusal(PIPELINE.replace("team: owls\n", "").as_bytes(), &["--var", "stage=test"]), @"
    error: this spec doesn't use the variable in `--var stage=…`
     |
     = hint: remove it, use it in the spec, or declare it in `vars:`

    error: the spec has no `team`
     --> spec.yaml:1:1
      |
    1 | resources:
      | ^^^^^^^^^^
      |
      = hint: add `team: your-team` at the top, or pass `--team`
    ");
}

#[test]
fn a_stack_without_a_readable_spec_can_be_destroyed_by_name() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("spec.yaml"), "team: 'owls\n").unwrap();
    let destroy = |args: &[&str]| Program::engine(folder.path()).arg("destroy").args(args).run().failure();
    let names = ["--team", "the owls", "--stack", "a/b", "--region", "Frankfurt"];
    assert_snapshot!([destroy(&["spec.yaml"]), destroy(&names)].join("\n"), @r"
    error: this quote is never closed
     --> spec.yaml:1:7
      |
    1 | team: ***
      |       ^^^
      |
      = hint: add the closing quote
      = hint: to delete the stack without its spec, run
              `engine destroy --team TEAM --stack STACK --region REGION`

    error: invalid `--team the owls`: the team name has an invalid format
     |
     = hint: did you mean `the-owls`? Use letters, digits, `-` and `_`, starting
             and ending with a letter or digit

    error: invalid `--stack a/b`: the stack name has an invalid format
     |
     = hint: did you mean `a-b`? Use letters, digits, `-`, `_` and `.`

    error: invalid `--region Frankfurt`: the region name has an invalid format
     |
     = hint: use a region name, like `eu-central-1`
    ");
}

#[test]
fn a_file_that_is_not_a_spec_gets_a_specific_error() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("a-folder.yaml")).unwrap();
    let mut all = String::new();
    for name in ["nothing.yaml", "a-folder.yaml", "/dev/null"] {
        writeln!(all, "{}", diff(folder.path(), &[name]).err).unwrap();
    }
    // "tëam" in Latin-1, and a file saved as Unicode on Windows.
    writeln!(all, "{}", refusal(b"t\xebam: owls\n", &[])).unwrap();
    writeln!(all, "{}", refusal(b"\xff\xfet\0e\0a\0m\0", &[])).unwrap();
    writeln!(all, "{}", refusal(b"team: ow\x07ls\n", &[])).unwrap();
    assert_snapshot!(all);
}

/// Memory limit in KiB: more than the program needs for the worst spec, its own code included.
const MEMORY: usize = 400_000;

/// The diagnostics for a file that is meant to exhaust the reader.
fn hostile(name: &str, spec: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("spec.yaml"), spec).unwrap();
    // Limits CPU time, which a busy machine doesn't increase.
    let limited = format!("ulimit -t 30; ulimit -v {MEMORY} && exec \"$0\" diff spec.yaml");
    let ran = Program::new("sh", folder.path()).args(["-c", &limited, ENGINE]).limit(Duration::from_secs(600)).run();
    let said = &ran.err;
    assert_eq!(ran.code(), Some(1), "{name}: {said:.2000}");
    assert!(said.len() < 100_000, "{name}: {} bytes of output", said.len());
    format!("## {name}\n{said}\n")
}

#[test]
fn hostile_specs_end_in_an_error_quickly() {
    let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (before, this) in ('a'..='h').zip('b'..='i') {
        let many = vec![format!("*{before}"); 9].join(", ");
        writeln!(bomb, "{this}: &{this} [{many}]").unwrap();
    }
    let many = |n: usize, line: &dyn Fn(usize) -> String| {
        let lines: String = (0..n).map(line).collect();
        let spec = format!("team: owls\nresources:\n{lines}");
        assert!(spec.len() < yaml::MAX_BYTES, "{}", spec.len());
        spec.into_bytes()
    };
    let role = |at: usize, rest: &str| format!("  r{at}: {{ type: role, import: i{at}, depends_on: [{rest}] }}\n");
    let property = |at: usize| match at {
        0 => "  todos:\n    type: table\n".to_owned(),
        _ => format!("    read_capacity_{at}: 1\n"),
    };
    let reference = |at: usize| match at {
        0 => PIPELINE.replace("team: owls\nresources:\n", "") + "outputs:\n",
        _ => format!("  o{at}: ${{r{at}.arn}}\n"),
    };
    // Half a megabyte, repeated as often as the rest of the file references it.
    let filled = |outputs: &str| {
        let spec = format!("team: owls\nresources: {{}}\nvars: {{ x: {} }}\noutputs:\n{outputs}", "x".repeat(500_000));
        assert!(spec.len() < yaml::MAX_BYTES, "{}", spec.len());
        spec.into_bytes()
    };
    // A path of `depth` keys, each `length` bytes long, leads to `items` items.
    let pattern = |depth: usize, length: usize, items: usize| {
        let mut spec =
            PIPELINE.to_owned() + "  pipe:\n    type: mapping\n    function: ${logger.arn}\n    filters:\n      - ";
        for _ in 0..depth {
            write!(spec, "{{ ? {} : ", "k".repeat(length)).unwrap();
        }
        write!(spec, "[{}]{}", "1,".repeat(items), "}".repeat(depth)).unwrap();
        assert!(spec.len() < yaml::MAX_BYTES, "{}", spec.len());
        spec.into_bytes()
    };
    let mut all = String::new();
    for (name, spec) in [
        ("alias bomb", bomb.into_bytes()),
        ("10 MB of brackets", vec![b'['; 10 << 20]),
        ("as many brackets as a spec may have bytes", vec![b'['; 1 << 20]),
        ("as many braces", b"{a: ".repeat(1 << 18)),
        ("deep by indentation", (0..500).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect::<String>().into()),
        ("one long line", [b"team: ".to_vec(), vec![b'x'; 1_000_000]].concat()),
        ("one long key", [b"team: owls\n? ".to_vec(), vec![b'x'; 1_000_000], b"\n: 1\n".to_vec()].concat()),
        ("one long list", [b"team: owls\nresources:\n".to_vec(), b"- \n".repeat(340_000)].concat()),
        ("ten thousand times the same key", b"team: owls\n".repeat(10_000)),
        ("resources that are none", many(60_000, &|at| format!("  r{at}: 1\n"))),
        ("properties that are none", many(30_000, &property)),
        ("a variable that fills memory", filled(&format!("  a: \"{}\"\n", "${var.x}".repeat(50_000)))),
        (
            "many that fill it together",
            filled(&(0..600).map(|at| format!("  o{at}: \"${{var.x}}${{var.x}}\"\n")).collect::<String>()),
        ),
        (
            "a long name with many properties",
            many(60_000, &|at| match at {
                0 => format!("  {}:\n    type: table\n", "n".repeat(1_000)),
                at => format!("    a{at}: 1\n"),
            }),
        ),
        ("a deep pattern with many items", pattern(55, 1_000, 200_000)),
        ("a long key with many items", pattern(1, 1_000, 400_000)),
        (
            "more attributes and keys than a table may have",
            many(40_000, &|at| match at {
                0 => "  todos:\n    type: table\n    hash_key: id\n    global_secondary_indexes:\n".to_owned(),
                20_000 => "    attributes:\n".to_owned(),
                at => format!(
                    "      k{at}: {}\n",
                    if at < 20_000 { format!("{{ hash_key: h{at} }}") } else { "S".to_owned() }
                ),
            }),
        ),
        ("references that lead nowhere", many(40_000, &reference)),
        ("names that lead nowhere", many(15_000, &|at| role(at, &format!("q{at}")))),
        ("a circle of fifteen thousand", many(15_000, &|at| role(at, &format!("r{}", (at + 1) % 15_000)))),
        ("a hub with fifteen thousand spokes", many(15_000, &|at| role(at, if at == 0 { "gone" } else { "r0" }))),
    ] {
        let said = hostile(name, &spec);
        let short = |line: &str| line.chars().take(160).collect::<String>() + "\n";
        all.push_str(&said.lines().take(9).map(short).collect::<String>());
        all.extend(said.lines().skip_while(|line| !line.contains("more errors")).take(8).map(short));
    }
    assert_snapshot!(all);
}

#[test]
fn both_yaml_readers_see_the_same_in_every_spec() {
    fn same(ours: &Yaml, theirs: &serde_yaml::Value) -> bool {
        use serde_yaml::Value;
        match (ours, theirs) {
            (Yaml::Null, Value::Null) => true,
            (Yaml::Bool(a), Value::Bool(b)) => a == b,
            (Yaml::Number(a), Value::Number(b)) => a.to_string() == b.to_string(),
            (Yaml::String(a), Value::String(b)) => a == b,
            (Yaml::List(a), Value::Sequence(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(&a.value, b))
            }
            (Yaml::Map(a), Value::Mapping(b)) => {
                a.len() == b.len()
                    && a.iter().zip(b).all(|(a, (key, b))| key.as_str() == Some(&a.key) && same(&a.value.value, b))
            }
            _ => false,
        }
    }
    let mut compared = 0;
    for path in [corpus("broken"), corpus("warned"), working()].concat() {
        let bytes = fs::read(&path).unwrap();
        match yaml::parse("spec.yaml", &bytes).1 {
            Ok(root) => {
                let value: serde_yaml::Value = serde_yaml::from_slice(&bytes).unwrap();
                assert!(same(&root.value, &value), "{}", path.display());
                compared += 1;
            }
            Err(errors) => {
                let disagrees = |error: &Diagnostic| error.problem.contains("ambiguous");
                // One spec exists to show exactly this disagreement.
                let is_expected = path.ends_with("yaml-two-meanings.yaml");
                assert!(is_expected == errors.iter().any(disagrees), "{}: {errors:?}", path.display());
            }
        }
    }
    assert!(compared > 90, "only {compared} specs were compared");
}

#[test]
fn no_secret_of_a_spec_reaches_any_output() {
    const SECRET: &str = "hunter2-swordfish";
    let secret = |spec: &str| spec.replace("SECRET", SECRET);
    // Each spec is broken at the secret or right beside it.
    let cases = [
        "    environment: { TOKEN: SECRET, 1ST: SECRET }\n",
        "    environment:\n      TOKEN: SECRET ${nothing.here}\n",
        "    environment: { TOKEN: \"SECRET ${\" }\n",
        "    environment: { TOKEN: [SECRET] }\n",
        "    environment: { TOKEN: { deep: SECRET } }\n",
        "    environment: [SECRET]\n",
        "    environment: SECRET\n",
        "    enviroment: { TOKEN: SECRET }\n",
        "    environment: { TOKEN: SECRET, TOKEN: SECRET }\n",
        "    environment: { TOKEN: SECRET\n",
        "    environment: { TOKEN: &a SECRET }\n",
        "    environment: { TOKEN: 'SECRET }\n",
        "    environment:\n      TOKEN:SECRET\n",
        "    environment:\n      TOKEN: SECRET # SECRET\n      OTHER: 5\n",
        "    memory_size: ${var.token}\n",
        "    tags: { a: \"${var.token}|\" }\n",
        "    timeout: many\n    environment: { TOKEN: SECRET }\n",
    ];
    for case in cases {
        let spec = format!("{}{case}vars: {{ token: SECRET }}\n", PIPELINE.replace("async", "async /*SECRET*/"));
        for flags in [&["-vv"][..], &["-vv", "--log-format", "json", "--var", "token=SECRET"][..]] {
            let flags: Vec<String> = flags.iter().map(|flag| secret(flag)).collect();
            let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
            let said = refusal(secret(&spec).as_bytes(), &flags);
            assert!(said.contains("error: ") || said.contains("\"level\":\"ERROR\""), "{case}: {said}");
            assert!(!said.contains(SECRET), "{case}: {said}");
        }
    }
}

/// The value of a misspelled key is shown where it can't be a secret, so that the excerpt helps to
/// find the mistake.
#[test]
fn excerpts_mask_only_values_that_may_be_secret() {
    const SHOWN: [(&str, &str); 12] = [
        ("function", "timeoutt: VALUE"),
        ("function", "memorysize: VALUE"),
        ("function", "memorySize: VALUE"),
        ("function", "memory-size: VALUE"),
        ("function", "layer: [VALUE]"),
        ("table", "hashkey: VALUE"),
        ("table", "rangeKey: VALUE"),
        ("code", "{ inline: x, exclude: [VALUE] }"),
        ("code", "{ pth: VALUE }"),
        ("top", "reigon: VALUE"),
        ("top", "acount: VALUE"),
        ("top", "stak: VALUE"),
    ];
    const MASKED: [(&str, &str); 24] = [
        ("function", "env: VALUE"),
        ("function", "inline: VALUE"),
        ("function", "source: VALUE"),
        ("function", "TIMEOUT: VALUE"),
        ("function", "api_key: VALUE"),
        ("function", "token: VALUE"),
        ("function", "password: VALUE"),
        ("function", "timeoutt: { deep: VALUE }"),
        ("function", "layer: [{ deep: VALUE }]"),
        ("function", "hashkey: VALUE"),
        ("function", "tags:VALUE"),
        ("function", "environment: { deep: { deeper: VALUE } }"),
        ("table", "api_key: VALUE"),
        ("table", "secret: VALUE"),
        ("table", "environment: { KEY: VALUE }"),
        ("code", "{ inlin: VALUE }"),
        ("code", "{ inline: VALUE, exclude: [x] }"),
        ("code", "{ pth: { deep: VALUE } }"),
        ("code", "{ text: VALUE }"),
        ("top", "secret: VALUE"),
        ("top", "environment: { KEY: VALUE }"),
        ("top", "variables: { key: VALUE }"),
        ("top", "REGION: VALUE"),
        ("top", "teem: { deep: VALUE }"),
    ];
    let is_shown = |place: &str, line: &str| {
        let spec = match place {
            "table" => PIPELINE.replace("    hash_key: id\n", &format!("    hash_key: id\n    {line}\n")),
            "function" => format!("{PIPELINE}    {line}\n"),
            "code" => PIPELINE.split("    code: ").next().unwrap().to_owned() + &format!("    code: {line}\n"),
            _ => format!("{PIPELINE}{line}\n"),
        };
        load(&spec.replace("VALUE", "sw0rdfish"), &SpecOverrides::default()).unwrap_err().contains("sw0rdfish")
    };
    for (place, line) in SHOWN {
        assert!(is_shown(place, line), "{place}: {line}");
    }
    for (place, line) in MASKED {
        assert!(!is_shown(place, line), "{place}: {line}");
    }
    // Each typo of a key with secrets: a letter missing, doubled, or swapped with the next one.
    let mut n_typos = 0;
    for key in ["environment", "inline", "code", "vars"] {
        for at in 0..key.len() {
            let (before, after) = key.split_at(at);
            let next = after.get(1..2).unwrap_or_default();
            let letter = &after[..1];
            let rest = after.get(2..).unwrap_or_default();
            let missing = format!("{before}{next}{rest}");
            let doubled = format!("{before}{letter}{after}");
            let swapped = format!("{before}{next}{letter}{rest}");
            for typo in [missing, doubled, swapped].into_iter().filter(|typo| *typo != key) {
                for place in ["function", "table", "top"] {
                    assert!(!is_shown(place, &format!("{typo}: VALUE")), "{place}: {typo}");
                    n_typos += 1;
                }
            }
        }
    }
    assert!(n_typos > 200, "{n_typos}");
}

/// The string literals in Rust code, with escapes resolved.
fn literals(code: &str) -> Vec<String> {
    let (mut found, mut chars) = (Vec::new(), code.char_indices().peekable());
    while let Some((at, c)) = chars.next() {
        match c {
            '/' if code[at..].starts_with("//") => while chars.next().is_some_and(|(_, c)| c != '\n') {},
            '\'' if code[at..].starts_with("'\"'") => drop(chars.nth(1)),
            'r' if code[at..].starts_with("r#\"") => {
                let (text, _) = code[at + 3..].split_once("\"#").unwrap();
                found.push(text.to_owned());
                chars.nth(text.chars().count() + 3);
            }
            '"' => {
                let mut text = String::new();
                while let Some((_, c)) = chars.next() {
                    match c {
                        '"' => break,
                        '\\' => match chars.next().unwrap().1 {
                            'n' => text.push('\n'),
                            '\n' => while chars.next_if(|(_, c)| c.is_whitespace()).is_some() {},
                            c => text.push(c),
                        },
                        c => text.push(c),
                    }
                }
                found.push(text);
            }
            _ => {}
        }
    }
    found
}

/// The parts of a format string between its placeholders.
fn fixed_parts(text: &str) -> Vec<String> {
    let text = text.replace("{{", "\u{1}").replace("}}", "\u{2}");
    let parts = text.split('{').enumerate().map(|(at, part)| match (at, part.split_once('}')) {
        (1.., Some((_, rest))) => rest,
        _ => part,
    });
    parts
        .map(|part| part.replace('\u{1}', "{").replace('\u{2}', "}").split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

/// The texts that the modules that check a spec can report, each with its module.
fn texts() -> Vec<(String, String)> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates");
    let read = |name: &str| {
        let of = |it: &str| fs::read_to_string(crates.join(it).join("src").join(name));
        of("core").or_else(|_| of("aws")).unwrap()
    };
    let mut texts = Vec::new();
    let whole = [
        "yaml.rs",
        "spec.rs",
        "spec/check.rs",
        "spec/check/implied.rs",
        "spec/check/owned.rs",
        "spec/check/references.rs",
        "spec/check/shape.rs",
    ];
    for name in whole.into_iter().chain([
        "spec/other_formats.rs",
        "spec/template.rs",
        "spec/text.rs",
        "spec/expand.rs",
        "spec/structure.rs",
        "spec/inputs.rs",
        "kinds/function/source.rs",
        "kinds/function/source/error.rs",
        "kinds/function/javascript.rs",
        "kinds/role/check.rs",
    ]) {
        let code = read(name);
        let shipped = code.split("#[cfg(test)]").next().unwrap();
        texts.extend(literals(shipped).into_iter().map(|text| (name.to_owned(), text)));
    }
    for name in ["function", "log_group", "mapping", "permission", "queue", "role", "table", "text", "table/index"] {
        let (name, code) = (format!("kinds/{name}.rs"), read(&format!("kinds/{name}.rs")));
        let check = code.split("fn check(").nth(1).map_or("", |rest| rest.split("\n    fn ").next().unwrap());
        let check = check.split("\n    async fn ").next().unwrap().split("\nimpl ").next().unwrap();
        let words = code.split("words: ").skip(1).filter_map(|rest| literals(rest.lines().next()?).pop());
        texts.extend(literals(check).into_iter().chain(words).map(|text| (name.clone(), text)));
    }
    texts.retain(|(_, text)| {
        text.trim().split(' ').count() > 2 && text.chars().filter(|c| c.is_alphabetic()).count() > 8
    });
    texts
}

#[test]
fn every_message_about_a_spec_is_triggered_by_a_test() {
    // Each with the reason why no spec can trigger it.
    let unprovoked = [
        ("can't build the zip: {0}", "the names and sizes that the format can't hold are refused before"),
        ("shorten the file names", "the same"),
        ("engine can't create a {}, only import it", "engine can create each kind that a spec can have"),
        ("add `import: name-of-the-{}`", "the same"),
        ("`{root}` comes from {from}", "lookups get their values from AWS"),
        ("in this run", "the same"),
    ];
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let mut said = String::new();
    for entry in fs::read_dir(tests.join("snapshots")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if ["it__spec__", "it__paths__", "it__values__"].iter().any(|it| name.starts_with(it)) {
            said += &fs::read_to_string(path).unwrap();
        }
    }
    // Texts in inline snapshots and assertions count, too.
    let crates = ["core/src/yaml.rs", "aws/src/kinds/function/source.rs", "aws/src/kinds/function/javascript.rs"]
        .map(|it| format!("../../crates/{it}"));
    for name in crates.iter().map(String::as_str).chain(["spec.rs"]) {
        let code = fs::read_to_string(tests.join(name)).unwrap();
        let tests = if name == "spec.rs" { code.as_str() } else { code.split_once("#[cfg(test)]").unwrap().1 };
        said += &tests.replace("= hint: ", "").replace("= why: ", "");
    }
    let said = said.split_whitespace().filter(|word| *word != "|").collect::<Vec<_>>().join(" ");
    let is_said = |text: &str| {
        let parts = fixed_parts(text);
        let first = parts.iter().find(|part| part.len() > 3).cloned().unwrap_or_default();
        said.match_indices(&first).any(|(at, _)| {
            let mut rest = said.get(at..).unwrap_or_default();
            parts.iter().skip_while(|part| **part != first).all(|part| match rest.find(part.as_str()) {
                Some(found) if found < 2_000 => {
                    rest = &rest[found + part.len()..];
                    true
                }
                _ => false,
            })
        })
    };
    let mut silent = Vec::new();
    let texts = texts();
    assert!(texts.len() > 250, "{}", texts.len());
    for (module, text) in texts {
        if !is_said(&text) && !unprovoked.iter().any(|(known, _)| *known == text) {
            silent.push(format!("{module}: {text}"));
        }
    }
    assert_eq!(silent, Vec::<String>::new(), "{}", silent.join("\n"));
}
