//! The commands that work without AWS: `init`, `validate`, `schema` and `graph`. The binary runs
//! with an empty environment.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::Value as Json;

use crate::shared::program::Program;

const TEAM: &str = "specs/team.yaml";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Standard output and standard error of a command that exits with `code`.
#[track_caller]
fn exec(folder: &Path, args: &[&str], code: i32) -> [String; 2] {
    let ran = Program::engine(folder).local_aws().args(args).run();
    assert_eq!(ran.code(), Some(code), "{args:?}: {ran:#?}");
    [ran.out, ran.err]
}

// The command line.

#[test]
fn an_invalid_command_line_is_reported_like_any_other_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut story = String::new();
    for line in [
        "aply",
        "apply --foo",
        "apply --tem red-foxes",
        "apply --team",
        "apply --team a --team b",
        "apply --var =1",
        "diff --color blue",
        "--plain diff --format hum",
        "diff --rate abc",
        "diff --rate 16",
        "apply --parallelism 0",
        "diff --local --profile mine",
        "diff --endpoint-url host",
        "forget",
        "release",
        "schema more",
        "logs --since soon",
        "logs --since 1h --until 2h",
        "logs --follow --until 1h",
        "logs -n all",
        "--local",
        "--profile mine",
        "diff -o json",
        "diff -n",
        "diff --force",
        "diff -f a.yaml --stack b",
        "diff --json --format markdown",
        "verify a.yaml -f b.yaml",
        "-C nowhere diff",
        "verify --timeout 0",
        "policy --account 12",
        "policy --local",
        "init --role a:b:c:!",
        "local stat",
        "completions",
        "completions tcsh",
        "explain tabel",
        "explain table.hash",
        "explain lambda",
        "explain DynamoDB hash_key",
        "explain table protekt",
        "explain spec.tem",
        "up",
        "import",
        "state",
        "terraform apply",
        "testt",
        "diff --no-color",
        "diff -local",
        "apply -team=red-foxes",
        "logs specs/team.yaml",
        "logs --follow a's.yaml",
        "output specs/team.yaml",
        "release specs/team.yaml",
        "release specs/team.yaml todos",
        "man aply",
        "--log-format json diff --foo",
    ] {
        let [out, err] = exec(folder.path(), &line.split(' ').collect::<Vec<_>>(), 64);
        assert_eq!(out, "", "{line}");
        let err = match err.split_once("\"timestamp\":\"") {
            Some((before, rest)) => format!("{before}\"timestamp\":\"…{}", &rest[27..]),
            None => err,
        };
        story += &format!("$ engine {line}\n{err}");
    }
    insta::assert_snapshot!("usage", story);
}

#[test]
fn spec_settings_are_explained_with_resource_types_and_alone() {
    let folder = tempfile::tempdir().unwrap();
    let explained = |words: &[&str]| exec(folder.path(), &[&["explain"], words].concat(), 0)[0].clone();
    let table = explained(&["table"]);
    let (_, beside) = table.split_once("Settings for engine:").unwrap();
    for word in ["name", "protect", "retain", "ignore_changes", "depends_on"] {
        assert!(beside.contains(&format!("\n  {word}\n")), "{word}: {beside}");
    }
    assert!(explained(&["table", "protect"]).contains("never delete or replace the resource"));
    assert!(explained(&["role.import"]).contains("name or ARN of a resource that this spec doesn't manage"));
    // A resource type's page doesn't explain a property that the type doesn't accept.
    let refused = &exec(folder.path(), &["explain", "permission.retain"], 64)[1];
    assert!(refused.contains("a permission has no property `retain`"), "{refused}");
    assert_eq!(explained(&["table", "hash_key"]), explained(&["table.hash_key"]));
    let spec = explained(&["spec"]);
    for word in ["team", "region", "account", "stack", "vars", "resources", "outputs", "type", "import"] {
        assert!(spec.contains(&format!("\n  {word}\n")), "{word}: {spec}");
    }
    assert!(
        explained(&["spec.team"]).contains("prefix of every name in AWS")
            && !explained(&["spec.team"]).contains("vars")
    );
}

#[test]
fn a_name_that_the_spec_lacks_is_reported_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let root = root();
    let spec = root.join("specs/examples/inline.yaml");
    let spec = spec.to_str().unwrap();
    for (line, words) in [
        (["logs", "loger", "--spec", spec, "--local"], "the spec has no resource `loger`"),
        (["output", "foo", "--spec", spec, "--local"], "the spec has no output `foo`"),
    ] {
        let [out, err] = exec(folder.path(), &line, 1);
        assert!(out.is_empty() && err.contains(words) && !err.contains("local AWS"), "{err}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

// The schema.

fn validator() -> &'static jsonschema::Validator {
    static VALIDATOR: OnceLock<jsonschema::Validator> = OnceLock::new();
    VALIDATOR.get_or_init(|| {
        let schema = serde_json::from_str::<serde_json::Value>(&engine::cli::json_schema()).unwrap();
        assert!(jsonschema::draft7::meta::is_valid(&schema));
        jsonschema::draft7::new(&schema).unwrap()
    })
}

/// The violations of the schema in a spec.
fn objections(spec: &str) -> Vec<String> {
    // Comments, parents and quotes have the same meaning for the schema as for engine.
    let spec: Json = serde_yaml::from_str(spec).unwrap();
    validator().iter_errors(&spec).map(|it| format!("{}: {it}", it.instance_path())).collect()
}

/// Checks that the schema allows a spec that engine accepts.
#[track_caller]
pub(crate) fn expect_in_schema(spec: &str) {
    let objections = objections(spec);
    assert!(objections.is_empty(), "{objections:#?} in\n{spec}");
}

fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|it| it == "yaml")).collect();
    files.sort();
    files
}

#[test]
fn the_schema_in_the_repository_matches_the_printed_one() {
    let [printed, _] = exec(&root(), &["schema"], 0);
    let kept = root().join("engine/schemas/spec.schema.json");
    if std::env::var_os("UPDATE_README").is_some() {
        fs::write(&kept, &printed).unwrap();
    }
    assert!(fs::read_to_string(kept).unwrap() == printed, "`UPDATE_README=1 cargo test offline` writes it anew");
}

#[test]
fn every_valid_spec_matches_the_schema_and_names_it_for_editors() {
    let specs = root().join("specs");
    for path in [yaml_files(&specs), yaml_files(&specs.join("examples"))].concat() {
        let text = fs::read_to_string(&path).unwrap();
        expect_in_schema(&text);
        let named = text.lines().next().unwrap().strip_prefix("# yaml-language-server: $schema=").unwrap();
        assert!(path.parent().unwrap().join(named).is_file(), "{}", path.display());
    }
    let warned = yaml_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/specs/warned"));
    warned.iter().for_each(|path| expect_in_schema(&fs::read_to_string(path).unwrap()));
    // A variable can replace any value but a list or a mapping.
    let team = fs::read_to_string(root().join(TEAM)).unwrap();
    let varied = team.replace("read_capacity: 1", "read_capacity: ${var.units}").replace("PROVISIONED", "${var.mode}");
    assert_ne!(varied, team);
    expect_in_schema(&varied);
}

/// Specs with structural errors, which an editor can show. The list excludes errors that only
/// engine can detect.
#[test]
fn a_spec_with_structural_errors_violates_the_schema() {
    let broken = yaml_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/specs/broken"));
    let (mut seen, mut unseen) = (Vec::new(), Vec::new());
    for path in &broken {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = fs::read(path).unwrap();
        match serde_yaml::from_slice::<Json>(&text) {
            Ok(spec) if validator().is_valid(&spec) => unseen.push(name),
            _ => seen.push(name),
        }
    }
    insta::assert_snapshot!(
        "structure",
        format!("shown by an editor:\n{}\n\nonly by the engine:\n{}\n", seen.join("\n"), unseen.join("\n"))
    );
}

#[test]
fn every_property_in_the_schema_has_a_description_and_examples() {
    fn walk(node: &Json, place: &str, n: &mut usize) {
        let Json::Object(node) = node else { return };
        if let Some(Json::Object(properties)) = node.get("properties") {
            for (name, property) in properties.iter().filter(|(_, it)| it.is_object() && it.get("const").is_none()) {
                let words = property["description"].as_str().unwrap_or_default();
                assert!(words.len() > 5, "{place}.{name}: {property}");
                let examples = property["examples"].as_array().map_or(&[][..], Vec::as_slice);
                assert!(!examples.is_empty() || name == "resources", "{place}.{name} has no example");
                // A definition elsewhere can't be resolved from here.
                if name != "resources" {
                    let shape = jsonschema::draft7::new(property).unwrap();
                    for value in examples.iter().chain(property.get("default")) {
                        assert!(shape.is_valid(value), "{place}.{name}: {value} does not fit");
                    }
                }
                *n += 1;
                walk(property, &format!("{place}.{name}"), n);
            }
        }
        for key in ["anyOf", "items", "additionalProperties"] {
            match node.get(key) {
                Some(Json::Array(ways)) => ways.iter().for_each(|way| walk(way, place, n)),
                Some(way) => walk(way, place, n),
                None => {}
            }
        }
    }
    let mut n = 0;
    let schema = serde_json::from_str::<serde_json::Value>(&engine::cli::json_schema()).unwrap();
    walk(&schema, "", &mut n);
    for (name, definition) in schema["definitions"].as_object().unwrap().iter().filter(|(name, _)| *name != "resource")
    {
        walk(definition, name, &mut n);
    }
    assert!(n > 100, "only {n} properties");
}

// Validate.

#[test]
fn validate_reports_all_errors_in_all_specs() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    exec(at, &["init", "--team", "red-foxes"], 0);
    assert_eq!(exec(at, &["validate"], 0), ["`specs/team.yaml` is valid.\n", ""]);
    let good = fs::read_to_string(at.join(TEAM)).unwrap();
    // Mistakes that otherwise only AWS would report, each in its own spec.
    for (from, to, says) in [
        ("hash_key: id", "hash_key: other", "`other`"),
        ("nodejs22.x", "nodejs18.x", "nodejs18.x"),
        ("index.handler", "nothing.handler", "nothing"),
        ("write_capacity: 1", "write_capacity: 0", "write_capacity"),
        ("  todos:", "  todos-that-has-a-name-which-nobody-can-read-to-its-end-for-it-is-long:", "the maximum is 63"),
        ("starting_position: TRIM_HORIZON", "starting_position: TRIM_HORIZON\n    filters: ['{']", "is not valid JSON"),
        ("${todos.stream_arn}", "${todos.stream}", "stream_arn"),
    ] {
        assert!(good.contains(from), "{from}");
        fs::write(at.join("specs/broken.yaml"), good.replace(from, to)).unwrap();
        let [out, err] = exec(at, &["validate", TEAM, "specs/broken.yaml"], 1);
        assert!(err.contains("specs/broken.yaml:") && err.contains(says), "{says}: {err}");
        assert!(out.contains(" error"), "{out}");
    }
    let [_, told] = exec(at, &["validate", "specs/none.yaml", "specs/broken.yaml"], 1);
    assert!(told.contains("specs/none.yaml") && told.contains("specs/broken.yaml:"), "{told}");
    // A deprecated runtime is a warning, not an error.
    fs::write(at.join(TEAM), good.replace("nodejs22.x", "nodejs20.x")).unwrap();
    let [out, err] = exec(at, &["validate"], 0);
    assert_eq!(out, "`specs/team.yaml` is valid, with 1 warning.\n");
    assert!(err.contains("warning: the runtime `nodejs20.x` is deprecated"), "{err}");
}

#[test]
fn names_collide_only_in_the_same_account_and_region() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let table = "type: table, name: Orders, attributes: { id: S }, hash_key: id, billing_mode: PAY_PER_REQUEST";
    let role = "type: role, name: owls-runner, trusted_services: [lambda.amazonaws.com]";
    let spec = |stages: &str, resource: &str| {
        let text = format!("team: owls\nowns: [Orders]\nstages: {{ {stages} }}\nresources:\n  it: {{ {resource} }}\n");
        fs::write(at.join("team.yaml"), text).unwrap();
    };
    let [a, b] = ["\"111111111111\"", "\"222222222222\""];
    let accounts = format!("one: {{ account: {a} }}, two: {{ account: {b} }}");
    let regions = format!("one: {{ account: {a}, region: eu-west-1 }}, two: {{ account: {a}, region: eu-west-2 }}");
    let same = format!("one: {{ account: {a} }}, two: {{ account: {a}, region: eu-west-2 }}");
    for (stages, resource, collides) in [
        (&accounts, table, false),
        (&regions, table, false),
        (&same, table, true),
        (&accounts, role, false),
        (&regions, role, true),
    ] {
        spec(stages, resource);
        let [_, err] = exec(at, &["validate", "team.yaml"], i32::from(collides));
        assert_eq!(err.contains("are both the"), collides, "{stages} {resource}: {err}");
    }
    // An error in the second stage alone.
    spec("one: { days: 1 }, two: { days: x }", &format!("{table}, read_capacity: \"${{var.days}}\""));
    let [_, err] = exec(at, &["validate", "team.yaml"], 1);
    assert!(err.contains("read_capacity"), "{err}");
}

#[test]
fn validate_prints_json_and_github_annotations() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    exec(at, &["init", "--team", "red-foxes"], 0);
    let [valid, _] = exec(at, &["validate", "--format", "json"], 0);
    assert_eq!(valid, "{\"format_version\":1,\"valid\":true,\"problems\":[]}\n");
    assert_eq!(exec(at, &["validate", "--format", "github"], 0), ["", ""]);
    let good = fs::read_to_string(at.join(TEAM)).unwrap();
    fs::write(
        at.join("specs/a,b.yaml"),
        good.replace("billing_mode: PROVISIONED", "billing_mode: 100%") + "stack: ab\n",
    )
    .unwrap();
    let [document, _] = exec(at, &["validate", "specs/a,b.yaml", "--format", "json"], 1);
    let document: Json = serde_json::from_str(&document).unwrap();
    let line = good.lines().position(|line| line.contains("billing_mode")).unwrap() + 1;
    assert_eq!(document["valid"], false);
    assert_eq!(
        (&document["problems"][0]["file"], &document["problems"][0]["line"]),
        (&"specs/a,b.yaml".into(), &line.into())
    );
    let [lines, _] = exec(at, &["validate", "specs/a,b.yaml", "--format", "github"], 1);
    let first = lines.lines().next().unwrap();
    assert!(first.starts_with(&format!("::error file=specs/a%2Cb.yaml,line={line},col=19::")), "{first}");
    assert!(first.contains("100%25"), "{first}");
    assert!(lines.lines().all(|line| line.starts_with("::")), "{lines}");
}

#[test]
fn validate_accepts_folders_and_multi_spec_commands_accept_patterns() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    exec(at, &["init", "--team", "red-foxes"], 0);
    let good = fs::read_to_string(at.join(TEAM)).unwrap();
    fs::create_dir(at.join("specs/below")).unwrap();
    for (name, stack) in [("b.yml", "b"), (".hidden.yaml", "h"), ("below/c.yaml", "c"), ("notes.txt", "n")] {
        let other = good.replace("team: red-foxes", "team: blue-owls") + &format!("stack: {stack}\n");
        let other = if name.starts_with("below") { other.replace("../lambda-src", "../../lambda-src") } else { other };
        fs::write(at.join("specs").join(name), other).unwrap();
    }
    let valid = |specs: &str| exec(at, &["validate", specs], 0)[0].clone();
    assert_eq!(valid("specs/*.yaml"), "`specs/team.yaml` is valid.\n");
    assert_eq!(valid("specs/*.y*ml"), "2 specs are valid.\n");
    assert_eq!(valid("*/?.yml"), "`specs/b.yml` is valid.\n");
    assert_eq!(valid("./specs/**/c.yaml"), "`./specs/below/c.yaml` is valid.\n");
    // The name of an existing file is never a pattern.
    fs::write(at.join("specs/[a].yaml"), good.clone() + "stack: a\n").unwrap();
    assert_eq!(valid("specs/[a].yaml"), "`specs/[a].yaml` is valid.\n");
    fs::remove_file(at.join("specs/[a].yaml")).unwrap();
    fs::remove_file(at.join("specs/.hidden.yaml")).unwrap();
    // A file of values and one that specs extend are no specs.
    fs::write(at.join("specs/values.yaml"), "days: 7\n").unwrap();
    fs::write(at.join("specs/common.yaml"), "team: green-newts\ntags: { app: shop }\n").unwrap();
    assert_eq!(valid("specs"), "2 specs are valid.\n");
    let [graph, _] = exec(at, &["graph", "specs/*.yml"], 0);
    assert!(graph.contains("todos-to-logger"), "{graph}");
    for (args, says) in [
        (["validate", "specs/*.toml"], "no file matches the pattern `specs/*.toml`"),
        (["graph", "specs/*.toml"], "no file matches the pattern `specs/*.toml`"),
        (["validate", ".engine-none/*"], "no file matches the pattern `.engine-none/*`"),
        (["graph", "specs"], "`engine validate specs` checks every spec"),
    ] {
        let [_, err] = exec(at, &args, 1);
        assert!(err.replace("\n           ", "").contains(says), "{err}");
    }
    fs::create_dir(at.join("empty")).unwrap();
    let [_, err] = exec(at, &["validate", "empty"], 1);
    assert!(err.contains("the folder `empty` has no `.yaml` or `.yml` file"), "{err}");
}

#[test]
fn errors_that_are_only_counted_have_no_entry_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let entries: String = (0..150).map(|n| format!("wrong{n}: 1\n")).collect();
    fs::write(at.join("s.yaml"), format!("team: owls\nresources: {{}}\n{entries}")).unwrap();
    let [document, _] = exec(at, &["validate", "s.yaml", "--format", "json"], 1);
    let document: Json = serde_json::from_str(&document).unwrap();
    let problems = document["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 100);
    assert!(problems.iter().all(|it| it["problem"].as_str().unwrap().contains("wrong")), "{problems:?}");
    let hints = problems[99]["hints"].as_array().unwrap();
    assert_eq!(hints.last().unwrap(), "fix these first; 50 more errors not shown");
}

// Init.

#[test]
fn init_writes_a_valid_project_and_never_overwrites_files() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let role: &[&str] = &["--role", "my-role"];
    let templates = ["pipeline", "queue", "dead-letter", "existing-table"].map(|it| (it, role));
    let own = ["pipeline", "queue", "own-role", "existing-table"].map(|it| (it, &[][..]));
    for (template, role) in templates.into_iter().chain(own) {
        let name = &format!("{template}{}", role.len());
        let args = ["init", name, "--team", "red-foxes", "--template", template];
        let [out, _] = exec(at, &[&args, role].concat(), 0);
        let project = at.join(name);
        assert!(out.contains("engine apply --local"), "{out}");
        exec(&project, &["validate"], 0);
        let spec = fs::read_to_string(project.join(TEAM)).unwrap();
        expect_in_schema(&spec);
        assert!(!spec.contains("blue-owls"), "{spec}");
        assert_eq!(spec.contains("import: my-role"), !role.is_empty(), "{spec}");
        assert_eq!(spec.contains("role: ${execution-role.arn}"), !role.is_empty(), "{spec}");
        // Without an existing role, engine creates one.
        let [graph, _] = exec(&project, &["graph"], 0);
        assert_eq!(graph.contains("logger-role"), role.is_empty(), "{graph}");
        assert_eq!(out.contains("allow the role to send"), !role.is_empty() && spec.contains("type: queue"), "{out}");
        let schema = fs::read_to_string(project.join("specs/spec.schema.json")).unwrap();
        assert!(spec.starts_with("# yaml-language-server: $schema=spec.schema.json\n") && schema.contains("draft-07"));
        // Once the spec exists, `init` changes nothing, no matter which arguments it gets.
        let [_, err] = exec(at, &["init", name, "--team", "blue-owls"], 1);
        assert!(err.contains("already exists, so nothing was written"), "{err}");
        assert_eq!(fs::read_to_string(project.join(TEAM)).unwrap(), spec);
    }
    // `init` keeps existing code.
    let own = at.join("own/lambda-src/log-events/index.js");
    fs::create_dir_all(own.parent().unwrap()).unwrap();
    fs::write(&own, "exports.handler = async () => 1;\n").unwrap();
    let [out, _] = exec(at, &["init", "own", "--yes"], 0);
    assert!(out.contains("already existed, not changed") && out.contains("Created for team own:"), "{out}");
    assert_eq!(fs::read_to_string(&own).unwrap(), "exports.handler = async () => 1;\n");
}

fn git(folder: &Path, args: &[&str]) {
    let mut command = Program::new("git", folder);
    command
        .search_path()
        .args(["-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "init.defaultBranch=main"])
        .args(args);
    // Ignores the settings and the repository of the user that runs the tests.
    command.env("GIT_CONFIG_NOSYSTEM", "1").run().ends_with(0);
}

fn code_hash(project: &Path) -> String {
    let spec = engine::spec::Spec::load(
        &engine::kinds::all(),
        &project.join(TEAM),
        &Default::default(),
        engine::spec::Depth::Full,
    )
    .unwrap();
    Json::from(&spec.resource("logger").unwrap().desired["code_sha256"]).as_str().unwrap().to_owned()
}

#[test]
fn a_checkout_with_windows_line_endings_has_the_same_package() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    exec(at, &["init", "project", "--team", "red-foxes"], 0);
    let project = at.join("project");
    let code = project.join("lambda-src/log-events");
    // Line breaks in a binary file are data, and a script is text.
    fs::write(code.join("logo.png"), b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\n\0\r\n").unwrap();
    fs::write(code.join("tool"), "#!/bin/sh\necho\n").unwrap();
    let hash = code_hash(&project);
    git(&project, &["init", "--quiet"]);
    git(&project, &["add", "."]);
    git(&project, &["commit", "--quiet", "--message", "first"]);
    for ending in ["lf", "crlf"] {
        let eol = format!("core.eol={ending}");
        let autocrlf = format!("core.autocrlf={}", ending == "crlf");
        git(at, &["clone", "--quiet", "--config", &eol, "--config", &autocrlf, "project", ending]);
        let checkout = at.join(ending);
        // The spec shows the line endings of the checkout. YAML treats all line breaks alike, so
        // both are fine for inline source.
        let is_crlf = fs::read(checkout.join(TEAM)).unwrap().windows(2).any(|two| two == b"\r\n");
        assert_eq!(is_crlf, ending == "crlf");
        assert_eq!(code_hash(&checkout), hash, "{ending}");
    }
    // Without the attributes, each checkout would replace the other's package.
    fs::remove_file(project.join("lambda-src/.gitattributes")).unwrap();
    git(&project, &["commit", "--quiet", "--all", "--message", "second"]);
    git(at, &["clone", "--quiet", "--config", "core.autocrlf=true", "project", "without"]);
    assert_ne!(code_hash(&at.join("without")), hash);
}

#[test]
fn inline_source_is_the_same_for_all_line_endings() {
    let text = fs::read_to_string(root().join("specs/examples/inline.yaml")).unwrap();
    let hash = |text: &str| {
        let depth = engine::spec::Depth::Full;
        let spec = engine::spec::Spec::parse(
            &engine::kinds::all(),
            Path::new("team.yaml"),
            text.as_bytes(),
            &Default::default(),
            depth,
        )
        .unwrap();
        Json::from(&spec.resource("logger").unwrap().desired["code_sha256"])
    };
    assert_eq!(hash(&text.replace('\n', "\r\n")), hash(&text));
}

/// Every path under a folder, without following links.
#[cfg(unix)]
fn tree(folder: &Path) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            paths.extend(tree(&path));
        }
        paths.push(path);
    }
    paths.sort();
    paths
}

#[cfg(unix)]
#[test]
fn a_failed_init_leaves_nothing_behind() {
    use std::os::unix::fs::symlink;
    type Spoil = fn(&Path);
    let spoils: [(&str, Spoil); 4] = [
        ("`{}/specs` is not a folder", |at| fs::write(at.join("specs"), "").unwrap()),
        ("`{}/specs` is a symbolic link", |at| symlink("nowhere", at.join("specs")).unwrap()),
        ("`{}/lambda-src` is a symbolic link", |at| symlink("..", at.join("lambda-src")).unwrap()),
        ("`{}/lambda-src` is not a folder", |at| fs::write(at.join("lambda-src"), "").unwrap()),
    ];
    for (wanted, spoil) in spoils {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("new");
        fs::create_dir(&at).unwrap();
        spoil(&at);
        let before = tree(&at);
        let [_, err] = exec(folder.path(), &["init", "new", "--yes"], 1);
        assert!(err.contains(&wanted.replace("{}", "new")), "{err}");
        assert_eq!(tree(&at), before);
    }
}

#[test]
fn init_refuses_invalid_names() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let own = ["--template=own-role", "--role=lambda-role"];
    for args in [["--team", "a b"], ["--team", "-x"], ["--team", ""], ["--role", "x: y"], ["--yes", "x!/…"], own] {
        let [_, err] = exec(at, &[&["init"], &args[..]].concat(), 64);
        assert!(!err.is_empty());
    }
    // There is no terminal for questions.
    let [_, err] = exec(at, &["init"], 64);
    assert!(err.contains("engine init --team blue-owls"), "{err}");
    assert_eq!(fs::read_dir(at).unwrap().count(), 0, "nothing is written");
}

#[cfg(unix)]
#[test]
fn init_asks_on_a_terminal_and_writes_a_project_that_deploys() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let mut terminal = Program::engine(at).args(["init", "demo"]).env("TERM", "xterm").terminal();
    terminal.exp_string("begin with it [demo]: ").unwrap();
    terminal.send_line("no team").unwrap();
    terminal.exp_string("`no team` has an invalid format").unwrap();
    terminal.exp_string("[demo]: ").unwrap();
    terminal.send_line("red-foxes").unwrap();
    terminal.exp_string("Created for team red-foxes").unwrap();
    terminal.exp_eof().unwrap();
    let project = at.join("demo");
    let [out, _] = exec(&project, &["apply", "--local"], 0);
    assert!(out.contains("Apply complete! Resources: 5 added"), "{out}");
    let [out, _] = exec(&project, &["verify", "--local"], 0);
    assert!(out.contains("REMOVE"), "{out}");
    // A spec elsewhere in the project uses the same local AWS.
    let spec = fs::read_to_string(project.join(TEAM)).unwrap();
    fs::create_dir(project.join("more")).unwrap();
    fs::write(project.join("more/team.yaml"), spec).unwrap();
    let [out, _] = exec(&project, &["diff", "more/team.yaml", "--local"], 0);
    assert!(out.contains("No changes."), "{out}");
    assert!(!project.join("more/.engine").exists());
    exec(&project, &["local", "stop"], 0);
    // A file has the name of the folder that the local AWS needs.
    fs::remove_dir_all(project.join(".engine")).unwrap();
    fs::write(project.join(".engine"), "").unwrap();
    let [_, err] = exec(&project, &["diff", "--local"], 1);
    assert!(err.contains("rename that file"), "{err}");
}

// Graph.

#[test]
fn a_spec_is_drawn_in_five_formats_and_the_readme_is_up_to_date() {
    let mut drawn = String::new();
    for format in ["text", "mermaid", "dot"] {
        let [out, err] = exec(&root(), &["graph", TEAM, "--format", format], 0);
        assert_eq!(err, "");
        drawn += &format!("{format}:\n{out}\n");
    }
    insta::assert_snapshot!("graph", drawn);
    let [svg, _] = exec(&root(), &["graph", TEAM, "--format", "svg"], 0);
    let kept = root().join("engine/docs/pipeline.svg");
    if std::env::var_os("UPDATE_README").is_some() {
        fs::write(&kept, &svg).unwrap();
    }
    assert!(fs::read_to_string(kept).unwrap() == svg, "`UPDATE_README=1 cargo test offline` draws it anew");
    let [page, _] = exec(&root(), &["graph", TEAM, "--format", "html"], 0);
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("logger-permission"), "{page}");
    assert!(
        !page.contains("http://")
            || page.matches("http://").count() == page.matches("http://www.w3.org/2000/svg").count()
    );
    let [_, err] = exec(&root(), &["graph", TEAM, "specs/examples/inline.yaml", "--format", "svg"], 64);
    assert!(err.contains("an image shows one spec"), "{err}");
}

/// A spec of tables that depend on earlier tables, through one property or another; the first
/// tables are a chain.
fn tables(needs: &[Vec<usize>], n_chained: usize) -> String {
    let mut text = "team: red-foxes\nresources:\n".to_owned();
    for (at, needs) in needs.iter().enumerate() {
        let mut before: Vec<usize> = needs.iter().map(|need| need % at.max(1)).collect();
        before.extend((0..n_chained).contains(&at).then(|| at.saturating_sub(1)));
        before.sort();
        before.dedup();
        before.truncate(if at == 0 { 0 } else { before.len() });
        let (tagged, waited): (Vec<usize>, Vec<usize>) = before.into_iter().partition(|need| need % 3 == 0);
        let tags: Vec<String> = tagged.iter().map(|it| format!("a{it}: \"${{t{it}.arn}}\"")).collect();
        let waited: Vec<String> = waited.iter().map(|it| format!("t{it}")).collect();
        text += &format!(
            "  t{at}:\n    type: table\n    attributes: {{ id: S }}\n    hash_key: id\n    billing_mode: PAY_PER_REQUEST\n    \
             tags: {{ {} }}\n    depends_on: [{}]\n",
            tags.join(", "),
            waited.join(", ")
        );
    }
    text
}

fn parsed(text: &str) -> engine::spec::Spec {
    engine::spec::Spec::parse(
        &engine::kinds::all(),
        Path::new("team.yaml"),
        text.as_bytes(),
        &Default::default(),
        engine::spec::Depth::Full,
    )
    .unwrap()
}

/// From left to right and from top to bottom.
#[derive(Debug, Clone, Copy)]
struct Area {
    x: [f64; 2],
    y: [f64; 2],
}

impl Area {
    fn overlaps(&self, other: &Area) -> bool {
        let overlap = |one: [f64; 2], other: [f64; 2]| one[0] < other[1] && other[0] < one[1];
        overlap(self.x, other.x) && overlap(self.y, other.y)
    }
}

/// The contents of a picture: boxes, and for each line its pieces and its label.
struct Drawn {
    boxes: Vec<Area>,
    lines: Vec<(Vec<Area>, Area)>,
}

fn attribute<'t>(element: &'t str, name: &str) -> &'t str {
    let (_, rest) = element.split_once(&format!(" {name}=\"")).unwrap_or_else(|| panic!("{name} in {element}"));
    rest.split('"').next().unwrap()
}

fn number(element: &str, name: &str) -> f64 {
    attribute(element, name).parse().unwrap()
}

fn drawn(svg: &str) -> Drawn {
    let boxes = svg.split("<g class=\"node").skip(1).map(|node| {
        let place = attribute(node, "transform").strip_prefix("translate(").unwrap().strip_suffix(')').unwrap();
        let (x, y) =
            place.split_once(' ').map(|(x, y)| (x.parse::<f64>().unwrap(), y.parse::<f64>().unwrap())).unwrap();
        let (_, rect) = node.split_once("<rect").unwrap();
        Area { x: [x, x + number(rect, "width")], y: [y, y + number(rect, "height")] }
    });
    let lines = svg.split("<g class=\"edge").skip(1).map(|edge| {
        let (_, label) = edge.split_once("<text").unwrap();
        let words = label.split(['>', '<']).nth(1).unwrap();
        // Assumes letters of one width and a height of eleven.
        let (x, y, width) = (number(label, "x"), number(label, "y"), words.len() as f64 * 6.6);
        let left = if attribute(label, "text-anchor") == "end" { x - width } else { x };
        (pieces(attribute(edge, "d")), Area { x: [left, left + width], y: [y - 9.0, y + 2.5] })
    });
    Drawn { boxes: boxes.collect(), lines: lines.collect() }
}

/// Splits a path into pieces so short that each fills its area.
fn pieces(path: &str) -> Vec<Area> {
    let mut points: Vec<[f64; 2]> = Vec::new();
    let mut rest = path;
    while let Some(command) = rest.chars().next() {
        let end = rest[1..].find(char::is_alphabetic).map_or(rest.len(), |at| at + 1);
        let numbers: Vec<f64> = rest[1..end].split_whitespace().map(|it| it.parse().unwrap()).collect();
        let to: Vec<[f64; 2]> = numbers.chunks(2).map(|it| [it[0], it[1]]).collect();
        match (command, &to[..]) {
            ('M', [to]) => points.push(*to),
            ('L', [to]) => points.push(*to),
            ('C', [one, two, to]) => {
                let from = *points.last().unwrap();
                points.extend((1..=40).map(|n| {
                    let t = f64::from(n) / 40.0;
                    let part = |of: usize| {
                        let u = 1.0 - t;
                        u * u * u * from[of]
                            + 3.0 * u * u * t * one[of]
                            + 3.0 * u * t * t * two[of]
                            + t * t * t * to[of]
                    };
                    [part(0), part(1)]
                }));
            }
            other => panic!("{other:?} in {path}"),
        }
        rest = &rest[end..];
    }
    let piece = |pair: &[[f64; 2]]| {
        let span = |of: usize| [pair[0][of].min(pair[1][of]) - 0.5, pair[0][of].max(pair[1][of]) + 0.5];
        Area { x: span(0), y: span(1) }
    };
    points.windows(2).map(piece).collect()
}

/// The elements that overlap in a picture.
fn overlaps(Drawn { boxes, lines }: &Drawn) -> Vec<String> {
    let mut found = Vec::new();
    for (at, one) in boxes.iter().enumerate() {
        found.extend(boxes[..at].iter().filter(|it| one.overlaps(it)).map(|it| format!("boxes {one:?} {it:?}")));
    }
    for (at, (pieces, words)) in lines.iter().enumerate() {
        let on_box = boxes.iter().filter(|it| it.overlaps(words)).map(|it| format!("words {words:?} on a box {it:?}"));
        found.extend(on_box);
        for (other, (others, other_words)) in lines.iter().enumerate().filter(|(other, _)| *other != at) {
            if other < at && other_words.overlaps(words) {
                found.push(format!("words {words:?} on words {other_words:?}"));
            }
            found.extend(
                others.iter().find(|it| it.overlaps(words)).map(|it| format!("words {words:?} on a line {it:?}")),
            );
        }
        if pieces.iter().any(|it| it.overlaps(words)) {
            found.push(format!("words {words:?} on their own line"));
        }
        // A line begins and ends at the edge of a box.
        let inner = |it: &Area| Area { x: [it.x[0] + 1.0, it.x[1] - 1.0], y: [it.y[0] + 1.0, it.y[1] - 1.0] };
        found.extend(
            boxes
                .iter()
                .filter(|it| pieces.iter().any(|piece| piece.overlaps(&inner(it))))
                .map(|it| format!("a line through {it:?}")),
        );
    }
    found
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    #[test]
    fn nothing_in_a_picture_overlaps(
        needs in proptest::collection::vec(proptest::collection::vec(0..60_usize, 0..4), 1..60), n_chained in 0..60_usize,
    ) {
        use engine::render::graph::{Drawing, GraphView};
        let look = engine::render::OutputStyle { color: false, width: 80, plain: false };
        let spec = parsed(&tables(&needs, n_chained / 2));
        let svg = GraphView::of_spec(&spec).draw(Drawing::Svg, look);
        proptest::prop_assert_eq!(&svg, &GraphView::of_spec(&spec).draw(Drawing::Svg, look));
        let drawn = drawn(&svg);
        proptest::prop_assert_eq!(drawn.boxes.len(), needs.len());
        let overlaps = overlaps(&drawn);
        proptest::prop_assert!(overlaps.is_empty(), "{:#?}", overlaps);
    }
}

#[test]
fn a_long_chain_is_drawn_downwards_and_independent_tables_in_rows() {
    use engine::render::graph::{Drawing, GraphView};
    let look = engine::render::OutputStyle { color: false, width: 80, plain: false };
    for (needs, n_chained, most) in [(30, 30, [200.0, 3400.0]), (40, 0, [1000.0, 700.0])] {
        let svg = GraphView::of_spec(&parsed(&tables(&vec![Vec::new(); needs], n_chained))).draw(Drawing::Svg, look);
        let drawn = drawn(&svg);
        assert_eq!(overlaps(&drawn), Vec::<String>::new());
        let (width, height) = (number(&svg, "width"), number(&svg, "height"));
        assert!(width <= most[0] && height <= most[1], "{width} x {height}");
    }
}

#[test]
fn a_dependency_table_fits_the_window() {
    use engine::render::graph::{Drawing, GraphView};
    let spec = engine::spec::Spec::load(
        &engine::kinds::all(),
        &root().join(TEAM),
        &Default::default(),
        engine::spec::Depth::Full,
    )
    .unwrap();
    let at = |width| {
        let look = engine::render::OutputStyle { color: false, width, plain: false };
        GraphView::of_spec(&spec).draw(Drawing::Text, look)
    };
    insta::assert_snapshot!("widths", [50, 80, 200].map(|width| format!("{width}:\n{}", at(width))).join("\n"));
    assert!([50, 80].iter().all(|width| at(*width).lines().all(|line| line.chars().count() <= *width)));
}
