//! Rules for the sources: the order of modules, short functions, and kinds whose tables, structs
//! and examples agree.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::aws::{Access, Aws, Code, Context, LocalSettings, Overrides};
use engine::inventory::{Found, Inventory};
use engine::kind::Want;
use engine::kinds::all;
use engine::plan::{Action, Goal, Options, plan};
use engine::schema::{AwsEnv, Live, Outputs, Ownership, Rule, Status, Timestamps};
use engine::spec::{Depth, Spec, SpecOverrides};
use engine::value::{Tree, Value};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// The crates and their source folders, from the top layer to the bottom one.
const CRATES: [(&str, &str); 3] =
    [("engine", "src"), ("engine-aws", "crates/aws/src"), ("engine-core", "crates/core/src")];

/// The source files of a crate, without their unit tests, by path below `src`.
fn sources_of(root: &str) -> BTreeMap<String, String> {
    fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, files);
            } else if path.extension().is_some_and(|it| it == "rs") {
                files.push(path);
            }
        }
    }
    let root = folder().join(root);
    let mut files = Vec::new();
    collect(&root, &mut files);
    let shipped = files.into_iter().map(|path| {
        let text = fs::read_to_string(&path).unwrap();
        let shipped = text.split("#[cfg(test)]").next().unwrap().to_owned();
        (path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned(), shipped)
    });
    shipped.collect()
}

/// The source files of all crates.
fn sources() -> BTreeMap<String, String> {
    CRATES.iter().flat_map(|(_, root)| sources_of(root)).collect()
}

/// Lines without comments.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim_start().starts_with("//"))
}

/// Exceptions: modules that use some above them in the code map.
const UPWARD: [(&str, &[&str]); 8] = [
    // The set of all operations is built from the declarations of the modules that call them.
    ("operation", &["connect", "iam", "kinds", "logs", "lookups", "policy", "verify", "wire"]),
    // Operations are declared with the permissions that they require, and filters are compared with
    // logged records.
    ("kinds", &["iam", "logs", "policy"]),
    ("logs", &["policy"]),
    ("lookups", &["policy"]),
    ("connect", &["iam", "lookups", "policy"]),
    // The meaning of a response depends on the operation, the kind and the profile.
    ("answer", &["connect", "kinds", "lookups", "wire"]),
    // What follows for a declaration depends on the others of its spec.
    ("kind", &["spec"]),
    // The context holds the providers, and each of their calls takes the context.
    ("provider", &["wait"]),
];

#[test]
fn each_module_uses_only_modules_below_it_in_the_code_map() {
    let map = fs::read_to_string(folder().join("ARCHITECTURE.md")).unwrap();
    let rows = map.lines().skip_while(|line| !line.starts_with("| module")).skip(2);
    let rows: Vec<&str> = rows.take_while(|line| line.starts_with('|')).collect();
    let mut uses = 0;
    let upward = UPWARD.iter().flat_map(|(module, used)| used.iter().map(move |used| (*module, *used)));
    let mut unseen: BTreeSet<(&str, &str)> = upward.clone().collect();
    for (name, root) in CRATES {
        // The crate's own modules and those of the crates below. Each row lists its modules from
        // top to bottom.
        let below = rows.iter().skip_while(|row| !row.starts_with(&format!("| **`{name}`**"))).skip(1);
        let order: Vec<&str> = below
            .flat_map(|line| line.split('|').nth(1).unwrap().split(','))
            .map(|name| name.trim().trim_matches('`'))
            .collect();
        let rank = |module: &str| {
            let rank = order.iter().position(|name| *name == module);
            rank.unwrap_or_else(|| panic!("`{module}` is missing in the code map"))
        };
        for (path, text) in sources_of(root) {
            let module = path.split(['/', '.']).next().unwrap();
            if module == "lib" {
                for line in code(&text).filter_map(|line| line.strip_prefix("pub mod ")) {
                    rank(line.trim_end_matches([';', ' ', '{']));
                }
                continue;
            }
            for line in code(&text) {
                assert!(!line.contains("crate::{"), "{path}: one `use` for each module: {line}");
                for used in line.split("crate::").skip(1) {
                    let used = used.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).next().unwrap();
                    if upward.clone().any(|it| it == (module, used)) {
                        unseen.retain(|it| *it != (module, used));
                        continue;
                    }
                    assert!(used == module || rank(used) > rank(module), "{path} looks up to `{used}`: {line}");
                    uses += 1;
                }
            }
        }
    }
    assert!(uses > 50, "only {uses} uses were found");
    assert_eq!(unseen, BTreeSet::new(), "exceptions that nothing needs");
}

#[test]
fn every_file_starts_with_a_module_comment() {
    for (path, text) in sources() {
        assert!(text.starts_with("//! "), "{path} has no header");
    }
}

/// The maximum length of a function, in lines.
const MAX_LINES: usize = 60;

/// The functions that are tables, each with its file: one arm for each kind of syntax error, and one
/// entry for each property of a kind.
const TABLES: [(&str, &str); 8] = [
    ("yaml.rs", "fn explain("),
    ("kinds/function/schema.rs", "pub(super) fn schema("),
    ("kinds/log_group.rs", "fn schema("),
    ("kinds/mapping.rs", "fn schema("),
    ("kinds/permission.rs", "fn schema("),
    ("kinds/queue.rs", "fn properties("),
    ("kinds/role.rs", "fn properties("),
    ("kinds/table.rs", "fn schema("),
];

/// Each function with its number of lines: rustfmt indents the closing brace like the signature.
fn functions<'t>(text: &'t str) -> Vec<(&'t str, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let function = |(at, line): (usize, &'t str)| {
        let signature = line.trim_start();
        let begins = ["fn ", "pub", "async ", "const "].iter().any(|word| signature.starts_with(word));
        if !begins || !signature.split(' ').any(|word| word == "fn") || line.ends_with([';', '}']) {
            return None;
        }
        let indent = &line[..line.len() - signature.len()];
        let is_end = |line: &&str| {
            let rest = line.strip_prefix(indent);
            rest == Some("}") || rest.is_some_and(|rest| rest.starts_with(')') && rest.ends_with(';'))
        };
        Some((signature, lines[at..].iter().position(is_end)? + 1))
    };
    lines.iter().copied().enumerate().filter_map(function).collect()
}

#[test]
fn no_function_exceeds_the_limit_and_no_match_is_a_chain_of_conditions() {
    let (mut found, mut n_functions) = (Vec::new(), 0);
    for (name, root) in CRATES {
        for (path, text) in sources_of(root) {
            let functions = functions(&text);
            n_functions += functions.len();
            let is_table = |signature: &str| TABLES.iter().any(|(file, of)| path == *file && signature.starts_with(of));
            let long = functions.iter().filter(|(signature, lines)| *lines > MAX_LINES && !is_table(signature));
            found.extend(long.map(|(signature, n_lines)| format!("{name}, {path}, {n_lines} lines: {signature}")));
            let chains = code(&text).filter(|line| line.contains("match () {"));
            found.extend(chains.map(|line| format!("{name}, {path}, use `if` and `else`: {}", line.trim())));
        }
    }
    assert!(n_functions > 500, "only {n_functions} functions were found");
    assert_eq!(found, Vec::<String>::new());
}

/// The lines of `cargo tree` for a crate and the given kinds of dependencies, one crate per line.
fn tree(package: &str, kinds: &str, format: &str) -> BTreeSet<String> {
    let args = ["tree", "--offline", "--locked", "--prefix", "none", "--package", package];
    let mut cargo = std::process::Command::new(env!("CARGO"));
    let output = cargo.args(args).args(["--edges", kinds, "--format", format]).current_dir(folder()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.trim_end_matches(" (*)").to_owned()).collect()
}

/// Otherwise `cargo test` after `cargo run` rebuilds the SDK, which takes minutes.
#[test]
fn dev_dependencies_enable_no_features_of_shared_crates() {
    let program = tree("engine", "normal,build", "{p} {f}");
    let with_tests = tree("engine", "normal,build,dev", "{p} {f}");
    assert!(program.len() > 200, "{}", program.len());
    assert_eq!(program.difference(&with_tests).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn the_core_depends_on_no_sdk_no_network_and_no_terminal() {
    let is_barred = |name: &&String| {
        let barred = ["clap", "hyper", "rustls", "anstream", "comfy-table", "terminal_size", "reqwest", "http", "zip"];
        name.starts_with("aws-") || name.starts_with("engine-aws") || barred.contains(&name.as_str())
    };
    let names = |package| -> Vec<String> {
        let tree = tree(package, "normal", "{p}");
        tree.iter().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
    };
    let core = names("engine-core");
    assert!(core.len() > 20 && core.contains(&"petgraph".to_owned()), "{core:?}");
    assert_eq!(core.iter().filter(is_barred).collect::<Vec<_>>(), Vec::<&String>::new());
    let aws = names("engine-aws");
    assert!(aws.iter().any(|name| name == "aws-sdk-lambda") && !aws.iter().any(|name| name == "clap"), "{aws:?}");
}

/// All output passes through one filter, and no write follows a link, because no other module opens
/// streams or files.
#[test]
fn streams_and_files_are_opened_in_one_place_each() {
    // These lines query a stream and print nothing to it. Progress must move the cursor, and
    // sanitizes its own texts.
    let asks =
        ["is_terminal()", "let (out, err) =", "let out = std::io::stdout();", "wants_color(", "terminal_size_of("];
    let ways = ["File::create", "fs::write(", "OpenOptions", "File::options"];
    // These write only to the user's cache folder, which no cloned repository controls.
    let own = ["local/install.rs", "local/wheels.rs", "kinds/function/source/cache.rs"];
    let (mut asked, mut opened) = (0, 0);
    for (path, text) in sources() {
        for line in code(&text) {
            let is_stream = ["stdout()", "stderr()"].iter().any(|name| line.contains(name)) && line.contains("io::");
            if is_stream && path != "sanitize.rs" {
                let is_progress = path == "render/progress.rs" && line.contains("Box::new(std::io::stderr())");
                assert!(is_progress || asks.iter().any(|ask| line.contains(ask)), "{path}: {line}");
                asked += 1;
            }
            if ways.iter().any(|way| line.contains(way)) {
                assert!(
                    ["files.rs", "spec/files.rs"].contains(&path.as_str()) || own.contains(&path.as_str()),
                    "{path}: {line}"
                );
                opened += 1;
            }
        }
    }
    assert!(asked > 4 && opened > 4, "{asked} streams and {opened} files were found");
}

/// The YAML example in the module comment of a kind.
fn example(kind: &str) -> String {
    let sources = sources();
    let header = sources[&format!("kinds/{kind}.rs")].lines().map_while(|line| line.strip_prefix("//!"));
    let lines = header.map(|line| line.strip_prefix(' ').unwrap_or(line));
    let yaml = lines.skip_while(|line| *line != "```yaml").skip(1).take_while(|line| *line != "```");
    yaml.map(|line| format!("{line}\n")).collect()
}

/// A context whose clients refuse every write before sending it.
fn context() -> (Context, tokio::sync::watch::Sender<bool>) {
    let settings = LocalSettings {
        endpoint_url: "http://127.0.0.1:1".into(),
        key: String::new(),
        account: "123456789012".into(),
        region: "eu-central-1".into(),
    };
    let (sender, receiver) = tokio::sync::watch::channel(false);
    let aws = Aws::local(&settings, Access::ReadOnly);
    // Without this consent, `delete` first checks whether the table is empty, and no AWS answers
    // here.
    (engine::kinds::context(Arc::new(aws), Overrides { delete_data: true, ..Overrides::default() }, receiver), sender)
}

#[tokio::test]
async fn every_kinds_example_plans_and_its_struct_matches_its_schema() {
    let (cx, _keep) = context();
    for kind in all().iter() {
        let schema = kind.schema();
        let name = &*schema.kind;
        assert!(!schema.summary.is_empty() && schema.source.starts_with("https://docs.aws.amazon.com/"), "{name}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spec.yaml");
        fs::write(&path, example(name)).unwrap();
        crate::offline::expect_in_schema(&example(name));
        let spec = Spec::load(&engine::kinds::all(), &path, &SpecOverrides::default(), Depth::Full)
            .unwrap_or_else(|errors| panic!("the example of `{name}`: {errors:#?}"));
        assert!(spec.warnings.is_empty(), "{name}: {:?}", spec.warnings);

        // Imported resources exist, with any outputs; no other resource does.
        let imported = spec.resources.iter().filter(|it| it.imported).map(|declared| {
            let outputs = declared.schema().outputs.iter().map(|it| (it.name.to_string(), "known".to_owned()));
            let live = Live { outputs: outputs.collect(), ..live(Ownership::Unowned) };
            (declared.name.clone(), Found { live: Some(live), ..Found::default() })
        });
        let env = AwsEnv::new("eu-central-1", "123456789012");
        let inventory = Inventory { found: imported.collect(), ..Inventory::new(env) };
        let plan = plan(&spec, &inventory, Goal::Present, &Options::default());
        assert_eq!(plan.count(Action::Refused), 0, "{name}");
        let declared = spec.resources.iter().find(|it| it.schema().kind == name).expect("its own example shows it");
        if !schema.managed {
            continue;
        }
        let provider = cx.provider(name).unwrap();

        // With all values known, the tree must deserialize into the struct: a property that only
        // one of them has is a defect.
        let mut id = declared.id.clone();
        id.env = Some(inventory.env.clone());
        let props: Tree = declared
            .desired
            .iter()
            .map(|(name, value)| (name.clone(), value.resolve(&|_| Some("known".to_owned()))))
            .collect();
        let known: Vec<&str> = schema.properties.iter().map(|it| &*it.name).collect();
        assert_eq!(props.keys().map(String::as_str).filter(|it| !known.contains(it)).count(), 0, "{name}");
        assert_eq!(props.len(), known.len(), "{name}: {props:?}");
        let want = |props: &Tree| Want { props: props.clone(), artifact: declared.artifact.clone() };
        let error = provider.create(&cx, &id, want(&props)).await.unwrap_err();
        assert_eq!(error.cause, Code::Guarded, "{name}: {error}");
        // A delete must work without the properties that AWS never returns.
        let mut seen = props.clone();
        seen.retain(|name, _| schema.property(name).is_some_and(|it| it.change != Rule::WriteOnly));
        let error = provider
            .delete(&cx, &id, Live { props: seen, ..live(Ownership::Unowned) })
            .await
            .map_or_else(|it| it.cause, |()| Code::Guarded);
        assert_ne!(error, Code::Defect, "{name}");
        let surplus = Tree::from([("surplus".to_owned(), Value::Null)]).into_iter().chain(props).collect();
        assert_eq!(provider.create(&cx, &id, want(&surplus)).await.unwrap_err().cause, Code::Defect, "{name}");
    }
}

/// A resource with this owner and without properties.
pub(crate) fn live(owner: Ownership) -> Live {
    Live {
        props: Tree::new(),
        outputs: Outputs::new(),
        owner,
        status: Status::Stable,
        unique_id: None,
        revision: None,
        timestamps: Timestamps::default(),
        notes: Vec::new(),
        unknown: Default::default(),
    }
}

#[test]
fn every_property_and_output_is_documented_and_in_snake_case() {
    for kind in all().iter() {
        let schema = kind.schema();
        let name = &*schema.kind;
        let properties = schema.properties.iter().map(|it| (&*it.name, &*it.doc));
        for (word, doc) in properties.chain(schema.outputs.iter().map(|it| (&*it.name, &*it.doc))) {
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
            assert!(word.bytes().all(plain) && !doc.ends_with('.'), "{name}.{word}: {doc}");
            // A property that a spec can't set needs no documentation.
            let derived = schema.property(word).is_some_and(|_| !schema.settable().any(|it| it.name == word));
            assert!(derived || !doc.is_empty(), "{name}.{word}");
        }
    }
}

/// The string literals of a source, without its comments.
fn literals(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = source;
    while let Some(at) = rest.find(['"', '\'', '/']) {
        let (before, here) = rest.split_at(at);
        let raw = before.trim_end_matches('#');
        let hashes = &before[raw.len()..];
        rest = if let Some(comment) = here.strip_prefix("//") {
            comment.split_once('\n').map_or("", |(_, rest)| rest)
        } else if let Some(text) = here.strip_prefix('"').filter(|_| raw.ends_with('r')) {
            let (literal, rest) = text.split_once(&format!("\"{hashes}")).unwrap();
            found.push(literal.to_owned());
            rest
        } else if let Some(text) = here.strip_prefix('"') {
            let end = text.char_indices().scan(false, |is_escaped, (at, c)| {
                let is_end = c == '"' && !*is_escaped;
                *is_escaped = c == '\\' && !*is_escaped;
                Some((at, is_end))
            });
            let end = end.filter(|(_, is_end)| *is_end).map(|(at, _)| at).next().unwrap();
            found.push(text[..end].to_owned());
            &text[end + 1..]
        } else if let Some(escaped) = here.strip_prefix("'\\") {
            escaped.get(1..).and_then(|it| it.split_once('\'')).map_or("", |(_, rest)| rest)
        } else {
            // A character literal, a lifetime or a division.
            let mut chars = here.char_indices().skip(2);
            match chars.next() {
                Some((_, '\'')) if here.starts_with('\'') => chars.next().map_or("", |(at, _)| &here[at..]),
                _ => &here[1..],
            }
        };
    }
    found
}

/// Kinds, services and operations belong to `engine-aws`; the core gets them as data.
#[test]
fn the_core_names_no_kind_no_service_and_no_operation() {
    assert_eq!(literals("a(\"x\\\"y\", '\"', '\\'', r#\"q\"r\"#) // \"no\"\n/ 'a \"b\""), ["x\\\"y", "q\"r", "b"]);
    let manifest = fs::read_to_string(folder().join("crates/aws/Cargo.toml")).unwrap();
    let kinds = all();
    let mut names: BTreeSet<String> = kinds.schemas().map(|schema| schema.kind.to_string()).collect();
    names.extend(kinds.schemas().filter_map(|schema| Some(schema.arn.as_ref()?.service.to_string())));
    names.extend(manifest.split("aws-sdk-").skip(1).filter_map(|it| Some(it.split(['.', ' ']).next()?.to_owned())));
    let verbs = [
        "Add", "Create", "Delete", "Describe", "Get", "Invoke", "List", "Put", "Remove", "Scan", "Simulate", "Tag",
        "Untag", "Update",
    ];
    let is_operation = |text: &String| {
        let rest = verbs.iter().find_map(|verb| text.strip_prefix(verb));
        rest.is_some_and(|it| it.starts_with(char::is_uppercase) && it.chars().all(char::is_alphanumeric))
    };
    names.extend(sources_of("crates/aws/src").values().flat_map(|text| literals(text)).filter(is_operation));
    for known in ["function", "table", "dynamodb", "iam", "sts", "GetFunction", "DeleteTable"] {
        assert!(names.contains(known), "{known}: {names:?}");
    }
    let mut read = 0;
    for (path, text) in sources_of("crates/core/src") {
        // The error catalog describes AWS errors, so it names operations.
        for literal in literals(&text).into_iter().filter(|_| path != "cause.rs") {
            assert!(!names.contains(&literal), "{path}: {literal:?} is a kind, a service or an operation");
            read += 1;
        }
    }
    assert!(read > 1000, "only {read} literals were found");
}

/// Only `render/remedy.rs` in the program names its options and commands. The catalogue of causes
/// and the descriptions of a spec's keys are documentation.
#[test]
fn the_core_names_no_option_and_no_command() {
    let names_option = |text: &str| text.split("--").skip(1).any(|rest| rest.starts_with(|c: char| c.is_alphabetic()));
    let mut read = 0;
    for (path, text) in sources_of("crates/core/src") {
        if ["cause.rs", "spec/grammar.rs"].contains(&path.as_str()) {
            continue;
        }
        for literal in literals(&text) {
            let names_command = ["`engine ", "`apply`", "ENGINE_"].iter().any(|it| literal.contains(it));
            assert!(!names_option(&literal) && !names_command, "{path}: {literal:?} names an option or a command");
            read += 1;
        }
    }
    assert!(read > 800, "only {read} literals were found");
}
