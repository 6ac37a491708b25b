//! A saved plan detects whatever changes after it was made, names the change, and reveals no
//! values.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use engine::inventory::{Found, Inventory, Orphan};
use engine::kinds::all;
use engine::plan::{Goal, Options, plan};
use engine::plan_file;
use engine::render::remedy;
use engine::saved::{Flags, Salt, SavedPlan};
use engine::schema::{Id, Live, Owner, Ownership, Status, Timestamps};
use engine::spec::{Depth, ResourceDecl, Spec, SpecOverrides};
use engine::value::{Tree, Value};
use proptest::prelude::*;

use crate::plan::{DEPLOYED, PIPELINE, inventory_of, with};

/// All inputs of a saved plan.
#[derive(Clone)]
struct Given {
    text: String,
    overrides: SpecOverrides,
    /// The names without the team's prefix.
    owns: BTreeSet<String>,
    flags: Flags,
    /// Changes the inventory that was read.
    moves: fn(&mut Inventory),
}

impl Given {
    fn new() -> Given {
        let text = with(PIPELINE, "    read_capacity: 1\n", "    read_capacity: ${var.units}\n");
        let vars = BTreeMap::from([("units".to_owned(), "1".to_owned())]);
        let overrides = SpecOverrides { vars, ..SpecOverrides::default() };
        Given { text, overrides, owns: BTreeSet::new(), flags: Flags::default(), moves: |_| {} }
    }

    fn saved(&self, salt: &Salt) -> SavedPlan {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spec.yaml");
        fs::write(&path, &self.text).unwrap();
        let mut spec = Spec::load(&engine::kinds::all(), &path, &self.overrides, Depth::Full)
            .unwrap_or_else(|errors| panic!("{errors:#?}"));
        spec.owns.clone_from(&self.owns);
        let mut inventory = inventory_of(&spec, DEPLOYED);
        (self.moves)(&mut inventory);
        let plan = plan(&spec, &inventory, Goal::Present, &Options::default());
        SavedPlan::new(&spec, &inventory, &plan, self.flags.clone(), salt.clone())
    }
}

fn live<'i>(inventory: &'i mut Inventory, resource: &str) -> &'i mut Live {
    inventory.found.get_mut(resource).unwrap().live.as_mut().unwrap()
}

/// Adds a mapping that no declaration matches.
fn add_orphan(inventory: &mut Inventory, uuid: &str, owner: Ownership) {
    let id = Id {
        owner: Owner { team: "owls".into(), stack: "main".into(), resource: "old-pipe".into() },
        name: "owls-old-pipe".into(),
        arn: None,
        parents: BTreeMap::new(),
        env: None,
        unique_id: Some(uuid.into()),
    };
    let live = Live {
        props: Tree::new(),
        outputs: BTreeMap::new(),
        owner,
        status: Status::Stable,
        unique_id: Some(uuid.into()),
        revision: None,
        timestamps: Timestamps::default(),
        notes: Vec::new(),
        unknown: Default::default(),
    };
    let found = Found { live: Some(live), ..Found::default() };
    let declared = ResourceDecl::orphan(std::sync::Arc::clone(all().get("mapping").unwrap()), id);
    inventory.orphans.push(Orphan { declared, found, instead: None });
}

/// What has changed since `then` was saved.
fn moved(then: &SavedPlan, now: &SavedPlan) -> Vec<String> {
    then.moved(now).iter().map(remedy::text).collect()
}

#[test]
fn an_unchanged_plan_can_be_applied_and_every_change_is_named() {
    let salt = Salt::random();
    let then = Given::new();
    assert_eq!(moved(&then.saved(&salt), &then.saved(&salt)), Vec::<String>::new());

    let read = |moves: fn(&mut Inventory)| Given { moves, ..Given::new() };
    let text = |old: &str, new: &str| Given { text: with(&Given::new().text, old, new), ..Given::new() };
    let flags = |flags: Flags| Given { flags, ..Given::new() };
    let mut unset = text("team: owls", "team: owls\nvars: { units: 1 }");
    unset.overrides.vars.clear();
    let mut other = Given::new();
    other.overrides.vars.insert("units".into(), "2".into());
    const SPEC: &str = "the spec `SPEC` has changed since the plan was saved";
    let cases: Vec<(Given, &[&str])> = vec![
        (text("stack: main", "stack: main # new"), &[SPEC]),
        (
            text("async () => {};", "async () => 1;"),
            &[SPEC, "the source of `logger` has changed", "in AWS, `code_sha256` of `logger` has changed"],
        ),
        (other, &["the variable `units` has another value or isn't set"]),
        (unset, &[SPEC, "the variable `units` has another value or isn't set"]),
        (
            flags(Flags { prune_scan: true, team: Some("owls".into()), ..Flags::default() }),
            &["`--prune-scan` has changed since the plan was saved", "`--team` has changed since the plan was saved"],
        ),
        (
            read(|it| it.env.account = "210987654321".into()),
            &["the plan was saved for account `123456789012`, but this is account `210987654321`"],
        ),
        (
            read(|it| drop(live(it, "todos").props.insert("read_capacity".into(), Value::Number(7.into())))),
            &["in AWS, `read_capacity` of `todos` has changed"],
        ),
        (read(|it| drop(live(it, "todos").props.remove("range_key"))), &["in AWS, `range_key` of `todos` has changed"]),
        (
            read(|it| drop(live(it, "todos").outputs.insert("stream_arn".into(), "arn:another".into()))),
            &["in AWS, `stream_arn` of `todos` has changed"],
        ),
        (read(|it| live(it, "todos").owner = Ownership::Unowned), &["in AWS, the owner of `todos` has changed"]),
        (
            read(|it| live(it, "logger").status = Status::Failed("the role vanished".into())),
            &["in AWS, the state of `logger` has changed"],
        ),
        (read(|it| live(it, "pipe").unique_id = Some("2".into())), &["`pipe` was deleted and re-created"]),
        (read(|it| it.found.get_mut("pipe").unwrap().live = None), &["`pipe` existed and no longer does"]),
        (
            read(|it| add_orphan(it, "9", Ownership::Unowned)),
            &["the mapping of `old-pipe`, which isn't in the spec, did not exist and now does"],
        ),
        // The age of a resource and other notes from AWS don't matter.
        (
            read(|it| {
                live(it, "todos").timestamps.modified = Some(1);
                live(it, "todos").notes.push("stopped".into());
            }),
            &[],
        ),
    ];
    for (now, expected) in cases {
        let then = then.saved(&salt);
        let moved = moved(&then, &now.saved(&salt));
        let expected: Vec<String> = expected.iter().map(|it| it.replace("SPEC", &then.spec)).collect();
        assert_eq!(moved, expected);
    }
    // The reverse changes.
    let gone = read(|it| it.found.get_mut("pipe").unwrap().live = None);
    assert_eq!(moved(&gone.saved(&salt), &then.saved(&salt)), ["`pipe` did not exist and now does"]);
    let left = read(|it| add_orphan(it, "9", Ownership::Unowned));
    let what = "the mapping of `old-pipe`, which isn't in the spec,";
    assert_eq!(moved(&left.saved(&salt), &then.saved(&salt)), [format!("{what} existed and no longer does")]);
    let ours = read(|it| add_orphan(it, "9", Ownership::Denied));
    assert_eq!(moved(&left.saved(&salt), &ours.saved(&salt)), [format!("in AWS, the owner of {what} has changed")]);
    // The names that the stack can have, wherever they come from.
    let mut owning = Given::new();
    owning.owns.insert("Orders".to_owned());
    let changed = "the names in `owns` have changed since the plan was saved";
    assert_eq!(moved(&then.saved(&salt), &owning.saved(&salt)), [changed]);
    assert_eq!(moved(&owning.saved(&salt), &then.saved(&salt)), [changed]);
    // A variable that the spec doesn't use.
    let mut more = Given::new();
    more.overrides.env.insert("elsewhere".into(), "x".into());
    assert_eq!(moved(&then.saved(&salt), &more.saved(&salt)), Vec::<String>::new());
}

#[test]
fn another_plan_from_the_same_inputs_is_detected() {
    let salt = Salt::random();
    let (then, given) = (Given::new().saved(&salt), Given::new());
    let spec = crate::plan::load(&with(&given.text, "${var.units}", "1"));
    let inventory = inventory_of(&spec, DEPLOYED);
    let of = |goal: Goal| {
        let plan = plan(&spec, &inventory, goal, &Options { delete_data: true, ..Options::default() });
        SavedPlan::new(&spec, &inventory, &plan, Flags::default(), salt.clone())
    };
    let changes = moved(&of(Goal::Present), &of(Goal::Absent));
    let rows = ["todos", "logger", "allow", "pipe"].map(|name| format!("the plan for `{name}` has changed"));
    assert_eq!(changes, rows);

    let older = serde_json::to_string(&then).unwrap().replace(&format!("{:?}", then.engine), "\"0.0.1\"");
    let older = SavedPlan::parse(older.as_bytes()).unwrap().unwrap();
    let version = format!("the plan was saved by engine 0.0.1, but this is engine {}", then.engine);
    assert_eq!(moved(&older, &then), [version]);
}

#[test]
fn a_saved_plan_differs_from_a_spec_and_from_an_incomplete_plan() {
    let saved = Given::new().saved(&Salt::random());
    let text = serde_json::to_string_pretty(&saved).unwrap();
    assert_eq!(SavedPlan::parse(text.as_bytes()).unwrap(), Some(saved.clone()));
    let compact = serde_json::to_string(&saved).unwrap();
    assert_eq!(SavedPlan::parse(compact.as_bytes()).unwrap(), Some(saved.clone()));
    for other in [PIPELINE, r#"{"team": "owls", "resources": {}}"#, "", "{", "null", "[]", "\u{0}", r#"{"kind": 1}"#] {
        assert_eq!(SavedPlan::parse(other.as_bytes()).unwrap(), None, "{other}");
    }
    assert_eq!(SavedPlan::parse(b"\xff\xfe").unwrap(), None);
    let problem = |text: &str| SavedPlan::parse(text.as_bytes()).unwrap_err().worded(remedy::text).problem;
    assert_eq!(problem(&text[..text.len() / 2]), "the saved plan is incomplete");
    assert_eq!(problem(&compact[..compact.len() - 1]), "the saved plan is incomplete");
    let newer = text.replace("\"format_version\": 3", "\"format_version\": 4");
    assert_eq!(problem(&newer), "the plan was saved by another version of engine");
    assert_eq!(problem(&text.replace("\"sources\"", "\"secrets\"")), "the saved plan is damaged");
}

#[test]
fn a_saved_plan_is_readable_only_by_its_owner_and_overwrites_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("my.plan");
    let names = || {
        let entries = fs::read_dir(folder.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<BTreeSet<_>>()
    };
    for _ in 0..2 {
        let saved = Given::new().saved(&Salt::random());
        plan_file::write(&saved, &path).unwrap();
        assert_eq!(SavedPlan::parse(&fs::read(&path).unwrap()).unwrap(), Some(saved));
        assert_eq!(names(), BTreeSet::from(["my.plan".to_owned()]));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }
    let saved = Given::new().saved(&Salt::random());
    for other in [PIPELINE, "", "{}"] {
        fs::write(&path, other).unwrap();
        let error = plan_file::write(&saved, &path).unwrap_err().worded(remedy::text);
        assert!(error.problem.ends_with("already exists and isn't a saved plan"), "{error:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), other);
    }
    for unwritable in [folder.path().to_owned(), folder.path().join("missing/my.plan"), "..".into()] {
        let error = plan_file::write(&saved, &unwritable).unwrap_err().worded(remedy::text);
        assert!(error.problem.starts_with("failed to save the plan to"), "{error:?}");
    }
    assert_eq!(names(), BTreeSet::from(["my.plan".to_owned()]));
}

/// The file also contains the salt, so an attacker can test guesses as fast as they can be hashed.
#[test]
fn a_short_secret_can_not_be_guessed_quickly() {
    use sha2::{Digest as _, Sha256};

    let mut given = Given::new();
    given.text = with(&given.text, "code: { inline", "environment: { PIN: '${var.pin}' }\n    code: { inline");
    given.overrides.vars.insert("pin".into(), "4711".into());
    let file = serde_json::to_value(given.saved(&Salt::random())).unwrap();
    let salt = file["salt"].as_str().unwrap();
    let quick = |label: &[&str], value: serde_json::Value| {
        let hash = Sha256::digest(serde_json::json!([salt, label, value]).to_string());
        hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    assert_ne!(file["variables"]["pin"], quick(&["variable", "pin"], "4711".into()));
    assert_ne!(file["spec_text"], quick(&["spec"], given.text.clone().into()));
    // Every plan shows the capacity units of a table.
    let units = quick(&["found", "todos", "property", "read_capacity"], 1.into());
    assert_eq!(file["found"]["todos"]["properties"]["read_capacity"], units);
    let start = std::time::Instant::now();
    given.saved(&Salt::random());
    let took = start.elapsed();
    assert!(took > std::time::Duration::from_millis(10), "a guess takes {took:?}");
}

#[test]
fn two_saved_plans_share_no_digest() {
    let digests = |salt: &Salt| -> BTreeSet<String> {
        let text = serde_json::to_string(&Given::new().saved(salt)).unwrap();
        let long = |word: &&str| word.len() == 64 && word.bytes().all(|it| it.is_ascii_hexdigit());
        text.split('"').filter(long).map(str::to_owned).collect()
    };
    let (one, other) = (Salt::random(), Salt::random());
    assert_ne!(one, other);
    assert!(digests(&one).len() > 40);
    assert_eq!(digests(&one).intersection(&digests(&other)).count(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]
    #[test]
    fn no_value_of_a_spec_is_in_the_file(
        secrets in prop::collection::vec("[A-Za-z0-9]{6,12}", 5), is_new in any::<bool>()
    ) {
        // The `Q`s prevent matches by chance.
        let [environment, source, variable, tag, from_env] = &secrets.iter().map(|it| format!("Q{it}Q")).collect::<Vec<_>>()[..] else {
            unreachable!()
        };
        let code = format!("environment: {{ LEVEL: '{environment}', OTHER: '${{var.other}}' }}\n    code: {{ inline: '/* {source} */ exports");
        let text = with(PIPELINE, "code: { inline: 'exports", &code);
        let text = with(&text, "    hash_key: id\n", &format!("    hash_key: id\n    tags: {{ cost: '{tag}', more: '${{var.more}}' }}\n"));
        let given = Given {
            text,
            overrides: SpecOverrides {
                vars: BTreeMap::from([("other".into(), variable.clone())]),
                env: BTreeMap::from([("more".into(), from_env.clone())]),
                ..SpecOverrides::default()
            },
            moves: if is_new { |it| it.found.retain(|name, _| name == "runner") } else { |_| {} },
            ..Given::new()
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plan");
        plan_file::write(&given.saved(&Salt::random()), &path).unwrap();
        let file = fs::read_to_string(&path).unwrap();
        for secret in [environment, source, variable, tag, from_env] {
            prop_assert!(!file.contains(secret.as_str()), "{secret} in {file}");
        }
        prop_assert!(file.contains("\"other\"") && file.contains("\"more\""));
    }
}
