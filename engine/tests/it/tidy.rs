//! What the sources promise about themselves: the order of modules, no way to panic, and kinds whose tables, structs and
//! examples say the same.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::aws::{Access, Aws, Class, Consent, Context, LocalSettings};
use engine::inventory::{Found, Inventory};
use engine::kind::Want;
use engine::kinds::all;
use engine::plan::{Action, Goal, Options, plan};
use engine::schema::{Age, Condition, Live, Outputs, Ownership, Rule, Site};
use engine::spec::{Depth, Overrides, Spec};
use engine::value::{Tree, Value};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// Every source file with its path below `src`, each without its tests.
fn sources() -> BTreeMap<String, String> {
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
    let root = folder().join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    let shipped = files.into_iter().map(|path| {
        let text = fs::read_to_string(&path).unwrap();
        let shipped = text.split("#[cfg(test)]").next().unwrap().to_owned();
        (path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned(), shipped)
    });
    shipped.collect()
}

/// Lines without comments.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim_start().starts_with("//"))
}

#[test]
fn each_module_uses_only_those_below_it_in_the_code_map() {
    let map = fs::read_to_string(folder().join("ARCHITECTURE.md")).unwrap();
    let rows = map.lines().skip_while(|line| !line.starts_with("| module")).skip(2);
    // Modules in one row are listed from the upper to the lower one.
    let order: Vec<&str> = rows
        .take_while(|line| line.starts_with('|'))
        .flat_map(|line| line.split('|').nth(1).unwrap().split(','))
        .map(|name| name.trim().trim_matches('`'))
        .collect();
    let rank = |module: &str| {
        let rank = order.iter().position(|name| *name == module);
        rank.unwrap_or_else(|| panic!("`{module}` is missing in the code map"))
    };
    let mut uses = 0;
    for (path, text) in sources() {
        let module = path.split(['/', '.']).next().unwrap();
        if module == "lib" {
            for line in code(&text).filter_map(|line| line.strip_prefix("pub mod ")) {
                rank(line.trim_end_matches(';'));
            }
            continue;
        }
        for line in code(&text) {
            assert!(!line.contains("crate::{"), "{path}: one `use` for each module: {line}");
            for used in line.split("crate::").skip(1) {
                let used = used.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).next().unwrap();
                assert!(used == module || rank(used) > rank(module), "{path} looks up to `{used}`: {line}");
                uses += 1;
            }
        }
    }
    assert!(uses > 50, "only {uses} uses were found");
}

#[test]
fn shipped_code_has_no_way_to_panic_and_every_file_says_what_it_is() {
    for (path, text) in sources() {
        assert!(text.starts_with("//! "), "{path} has no header");
        for line in code(&text) {
            let risky = [".unwrap()", ".expect(", "panic!(", "todo!(", "unimplemented!(", "unreachable!(", "dbg!("];
            assert!(!risky.iter().any(|word| line.contains(word)), "{path}: {line}");
        }
    }
}

/// What is printed passes one filter, and what is written never passes a link, because there is no other way to either.
#[test]
fn streams_and_files_are_opened_in_one_place_each() {
    // What asks about a stream prints nothing on it; progress is drawn with what moves the cursor, and cleans its texts.
    let asks =
        ["is_terminal()", "let (out, err) =", "let out = std::io::stdout();", "wants_color(", "terminal_size_of("];
    let ways = ["File::create", "fs::write(", "OpenOptions", "File::options"];
    // Folders of the user's own, in which no cloned repository has a say.
    let own = ["local/install.rs", "local/wheels.rs"];
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
                assert!(path == "files.rs" || own.contains(&path.as_str()), "{path}: {line}");
                opened += 1;
            }
        }
    }
    assert!(asked > 4 && opened > 4, "{asked} streams and {opened} files were found");
}

/// The example in the header of a kind's file.
fn example(kind: &str) -> String {
    let sources = sources();
    let header = sources[&format!("kinds/{kind}.rs")].lines().map_while(|line| line.strip_prefix("//!"));
    let lines = header.map(|line| line.strip_prefix(' ').unwrap_or(line));
    let yaml = lines.skip_while(|line| *line != "```yaml").skip(1).take_while(|line| *line != "```");
    yaml.map(|line| format!("{line}\n")).collect()
}

/// Clients that refuse every write before it leaves.
fn context() -> (Context, tokio::sync::watch::Sender<bool>) {
    let settings = LocalSettings {
        endpoint_url: "http://127.0.0.1:1".into(),
        key: String::new(),
        account: "123456789012".into(),
        region: "eu-central-1".into(),
    };
    let (sender, receiver) = tokio::sync::watch::channel(false);
    let aws = Aws::local(&settings, Access::ReadOnly);
    // Otherwise a table is looked into before it is deleted, and nobody answers here.
    (Context::new(Arc::new(aws), Consent { delete_data: true, ..Consent::default() }, receiver), sender)
}

#[tokio::test]
async fn every_kinds_example_plans_and_its_struct_takes_what_its_table_says() {
    let (cx, _keep) = context();
    for kind in all().iter() {
        let name = kind.schema().kind;
        let schema = kind.schema();
        assert!(!schema.summary.is_empty() && schema.source.starts_with("https://docs.aws.amazon.com/"), "{name}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spec.yaml");
        fs::write(&path, example(name)).unwrap();
        crate::offline::expect_in_schema(&example(name));
        let spec = Spec::load(&engine::kinds::all(), &path, &Overrides::default(), Depth::Full)
            .unwrap_or_else(|errors| panic!("the example of `{name}`: {errors:#?}"));
        assert!(spec.warnings.is_empty(), "{name}: {:?}", spec.warnings);

        // What is imported stands there, with any outputs; nothing else does.
        let imported = spec.resources.iter().filter(|it| it.imported).map(|declared| {
            let outputs = declared.schema().outputs.iter().map(|it| (it.name.to_owned(), "known".to_owned()));
            let live = Live { outputs: outputs.collect(), ..live(Ownership::Nobody) };
            (declared.name.clone(), Found { live: Some(live), ..Found::default() })
        });
        let site = Site::new("eu-central-1", "123456789012");
        let inventory = Inventory { found: imported.collect(), ..Inventory::new(site) };
        let plan = plan(&spec, &inventory, Goal::Present, &Options::default());
        assert_eq!(plan.count(Action::Refused), 0, "{name}");
        let declared = spec.resources.iter().find(|it| it.schema().kind == name).expect("its own example shows it");
        if !schema.managed {
            continue;
        }
        let provider = cx.provider(name).unwrap();

        // With everything known, the struct takes the tree: a property that only one of the two has is a defect.
        let mut id = declared.id.clone();
        id.site = Some(inventory.site.clone());
        let props: Tree = declared
            .desired
            .iter()
            .map(|(name, value)| (name.clone(), value.resolve(&|_| Some("known".to_owned()))))
            .collect();
        let known: Vec<&str> = schema.properties.iter().map(|it| it.name).collect();
        assert_eq!(props.keys().map(String::as_str).filter(|it| !known.contains(it)).count(), 0, "{name}");
        assert_eq!(props.len(), known.len(), "{name}: {props:?}");
        let want = |props: &Tree| Want { props: props.clone(), artifact: declared.artifact.clone() };
        let error = provider.create(&cx, &id, want(&props)).await.unwrap_err();
        assert_eq!(error.class, Class::Guarded, "{name}: {error}");
        // What a read leaves out, because AWS never returns it, is no obstacle to deleting.
        let mut seen = props.clone();
        seen.retain(|name, _| schema.property(name).is_some_and(|it| it.change != Rule::Local));
        let error = provider
            .delete(&cx, &id, Live { props: seen, ..live(Ownership::Nobody) })
            .await
            .map_or_else(|it| it.class, |()| Class::Guarded);
        assert_ne!(error, Class::Defect, "{name}");
        let surplus = Tree::from([("surplus".to_owned(), Value::Null)]).into_iter().chain(props).collect();
        assert_eq!(provider.create(&cx, &id, want(&surplus)).await.unwrap_err().class, Class::Defect, "{name}");
    }
}

/// A resource of this owner, without properties.
pub(crate) fn live(owner: Ownership) -> Live {
    Live {
        props: Tree::new(),
        outputs: Outputs::new(),
        owner,
        condition: Condition::Settled,
        incarnation: None,
        revision: None,
        age: Age::default(),
        notes: Vec::new(),
        unknown: Default::default(),
    }
}

#[test]
fn every_property_and_output_is_documented_and_named_as_the_field_does() {
    for kind in all().iter() {
        let name = kind.schema().kind;
        let schema = kind.schema();
        let properties = schema.properties.iter().map(|it| (it.name, it.doc));
        for (word, doc) in properties.chain(schema.outputs.iter().map(|it| (it.name, it.doc))) {
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
            assert!(word.bytes().all(plain) && !doc.ends_with('.'), "{name}.{word}: {doc}");
            // What people may not write needs no word for people.
            let derived = schema.property(word).is_some_and(|_| !schema.settable().any(|it| it.name == word));
            assert!(derived || !doc.is_empty(), "{name}.{word}");
        }
    }
}
