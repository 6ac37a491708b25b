//! Random accounts with resources of other owners, specs with similar names, and runs on both.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::json;

use super::super::world::{ACCOUNT, REGION, ROLE, Tags, World, function_arn, queue};

/// The teams of the account. Their names are prefixes of each other or differ only in case.
pub(super) const TEAMS: [&str; 4] = ["acme", "acme-extra", "acme_x", "Acme"];
pub(super) const STACK: &str = "team";
const TABLES: [&str; 3] = ["todos", "logs", "extra-todos"];
const FUNCTIONS: [&str; 2] = ["logger", "extra-logger"];
const QUEUES: [&str; 2] = ["jobs", "extra-jobs"];

/// All inputs of a test case.
#[derive(Debug, Clone)]
pub(super) struct Case {
    /// Index into [`TEAMS`] of the team that runs engine.
    us: usize,
    tables: Vec<TableSeed>,
    functions: Vec<FunctionSeed>,
    mappings: Vec<MappingSeed>,
    queues: Vec<QueueSeed>,
    /// Stale entries of the tag index: whether it is a table, the index of its name, and its tags.
    index: Vec<(bool, usize, Tagged)>,
    is_blind: bool,
    small_pages: bool,
    pub(super) denied: Denied,
    spec: SpecSeed,
    pub(super) runs: Vec<RunSeed>,
}

/// The tags that the caller lacks permission to read.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Denied {
    pub(super) tables: bool,
    pub(super) functions: bool,
    pub(super) mappings: bool,
    pub(super) queues: bool,
    pub(super) index: bool,
}

/// The tags of a resource.
#[derive(Debug, Clone)]
pub(super) enum Tagged {
    /// The tags that engine itself sets; the resource is the AWS name without the team's prefix.
    ThisStack,
    /// This stack's tags, with the name of another resource, in the spec or not.
    ThisStackAs(usize),
    Untagged,
    OtherStack,
    Team(usize),
    CloudFormation {
        has_engine_tags: bool,
    },
    /// Some of engine's three tags (one bit each).
    Half(u8),
    Garbage(usize),
}

#[derive(Debug, Clone)]
struct TableSeed {
    name: usize,
    tagged: Tagged,
    has_stream: bool,
    items: u32,
    is_protected: bool,
    is_creating: bool,
}

#[derive(Debug, Clone)]
struct FunctionSeed {
    name: usize,
    tagged: Tagged,
    statements: Vec<usize>,
    concurrency: Option<u64>,
    is_pending: bool,
}

#[derive(Debug, Clone)]
struct QueueSeed {
    name: usize,
    tagged: Tagged,
    messages: [u32; 3],
}

#[derive(Debug, Clone)]
struct MappingSeed {
    function: usize,
    qualifier: bool,
    table: usize,
    dead_stream: bool,
    tagged: Tagged,
}

#[derive(Debug, Clone)]
struct SpecSeed {
    tables: Vec<Option<DeclarationSeed>>,
    functions: Vec<Option<DeclarationSeed>>,
    queues: Vec<Option<DeclarationSeed>>,
    permissions: Vec<Option<Hung>>,
    mappings: Vec<Option<Hung>>,
    says_account: bool,
}

#[derive(Debug, Clone)]
struct DeclarationSeed {
    form: Form,
    adopt: bool,
    retain: bool,
    protect: bool,
    ignores: bool,
    /// Whether the declaration differs from the state in AWS.
    differs: bool,
    /// Whether it may declare an AWS name that another resource already declares.
    twice: bool,
}

#[derive(Debug, Clone)]
enum Form {
    Usual,
    Named(usize),
    Imported(usize),
    ImportedArn(usize),
}

/// A permission or a mapping.
#[derive(Debug, Clone)]
struct Hung {
    function: usize,
    table: usize,
    /// The source is a literal stream ARN of this table name, not a reference.
    literal: Option<usize>,
    /// Adds optional settings to a mapping, or an explicit `statement_id` to a permission.
    flag: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aim {
    Apply,
    Destroy,
    /// Destroy without a spec.
    DestroyBare,
    Release,
}

#[derive(Debug, Clone)]
pub(super) struct RunSeed {
    pub(super) aim: Aim,
    pub(super) yes: bool,
    pub(super) assume_owner: bool,
    pub(super) delete_data: bool,
    pub(super) replace: Option<Index>,
    pub(super) target: Option<Index>,
    /// A resource that is no longer in the spec.
    drop: Option<Index>,
    pub(super) meddling: Vec<ConcurrentChange>,
}

/// A concurrent change by another actor.
#[derive(Debug, Clone)]
pub(super) struct ConcurrentChange {
    /// `None`: right after the plan. Otherwise right before the write with this number.
    pub(super) before: Option<usize>,
    pub(super) whom: usize,
    pub(super) tagged: Tagged,
    /// The next owner deletes and re-creates it.
    pub(super) reborn: bool,
}

/// Mostly this stack's tags, so that not every plan is refused.
fn tagged() -> impl Strategy<Value = Tagged> {
    prop_oneof![
        40 => Just(Tagged::ThisStack),
        4 => Just(Tagged::Untagged),
        2 => (0..8_usize).prop_map(Tagged::ThisStackAs),
        1 => Just(Tagged::OtherStack),
        3 => (0..TEAMS.len()).prop_map(Tagged::Team),
        1 => any::<bool>().prop_map(|has_engine_tags| Tagged::CloudFormation { has_engine_tags }),
        2 => (1..7_u8).prop_map(Tagged::Half),
        1 => (0..GARBAGE.len()).prop_map(Tagged::Garbage),
    ]
}

/// Tags of other owners.
fn other_owner() -> impl Strategy<Value = Tagged> {
    tagged().prop_filter("somebody else's", |it| !matches!(it, Tagged::ThisStack | Tagged::ThisStackAs(_)))
}

fn rarely() -> impl Strategy<Value = bool> {
    prop::bool::weighted(0.12)
}

fn mostly() -> impl Strategy<Value = bool> {
    prop::bool::weighted(0.85)
}

fn table() -> impl Strategy<Value = TableSeed> {
    (0..12_usize, tagged(), any::<bool>(), 0..3_u32, rarely(), rarely()).prop_map(
        |(name, tagged, has_stream, items, is_protected, is_creating)| TableSeed {
            name,
            tagged,
            has_stream,
            items: items.saturating_sub(1),
            is_protected,
            is_creating,
        },
    )
}

fn function() -> impl Strategy<Value = FunctionSeed> {
    (0..9_usize, tagged(), vec(0..7_usize, 0..4), weighted(0.2, 0..9_u64), rarely()).prop_map(
        |(name, tagged, statements, concurrency, is_pending)| FunctionSeed {
            name,
            tagged,
            statements,
            concurrency,
            is_pending,
        },
    )
}

fn mapping() -> impl Strategy<Value = MappingSeed> {
    (0..9_usize, rarely(), 0..12_usize, rarely(), tagged()).prop_map(
        |(function, qualifier, table, dead_stream, tagged)| MappingSeed {
            function,
            qualifier,
            table,
            dead_stream,
            tagged,
        },
    )
}

fn queue_seed() -> impl Strategy<Value = QueueSeed> {
    (0..9_usize, tagged(), prop::array::uniform3(0..2_u32)).prop_map(|(name, tagged, messages)| QueueSeed {
        name,
        tagged,
        messages: if messages.iter().sum::<u32>() < 3 { [0; 3] } else { messages },
    })
}

fn declaration() -> impl Strategy<Value = Option<DeclarationSeed>> {
    let form = prop_oneof![
        6 => Just(Form::Usual),
        2 => (0..12_usize).prop_map(Form::Named),
        1 => (0..12_usize).prop_map(Form::Imported),
        1 => (0..12_usize).prop_map(Form::ImportedArn),
    ];
    let flags = (any::<bool>(), rarely(), rarely(), rarely(), any::<bool>(), rarely());
    let declared = (form, flags).prop_map(|(form, (adopt, retain, protect, ignores, differs, twice))| {
        DeclarationSeed { form, adopt, retain, protect, ignores, differs, twice }
    });
    weighted(0.75, declared)
}

fn hung() -> impl Strategy<Value = Option<Hung>> {
    let hung = (0..FUNCTIONS.len(), 0..TABLES.len(), weighted(0.2, 0..12_usize), rarely())
        .prop_map(|(function, table, literal, flag)| Hung { function, table, literal, flag });
    weighted(0.6, hung)
}

fn spec() -> impl Strategy<Value = SpecSeed> {
    let tables = vec(declaration(), TABLES.len());
    let functions = vec(declaration(), FUNCTIONS.len());
    let queues = vec(declaration(), QUEUES.len());
    (tables, functions, queues, vec(hung(), 2), vec(hung(), 2), any::<bool>()).prop_map(
        |(tables, functions, queues, permissions, mappings, says_account)| SpecSeed {
            tables,
            functions,
            queues,
            permissions,
            mappings,
            says_account,
        },
    )
}

fn run() -> impl Strategy<Value = RunSeed> {
    let aim = prop_oneof![
        6 => Just(Aim::Apply),
        4 => Just(Aim::Destroy),
        1 => Just(Aim::DestroyBare),
        2 => Just(Aim::Release),
    ];
    let meddling = (weighted(0.6, 1..6_usize), 0..60_usize, other_owner(), rarely())
        .prop_map(|(before, whom, tagged, reborn)| ConcurrentChange { before, whom, tagged, reborn });
    let part = (weighted(0.15, any::<Index>()), weighted(0.2, any::<Index>()), weighted(0.3, any::<Index>()));
    (aim, mostly(), prop::bool::weighted(0.25), mostly(), part, vec(meddling, 0..3)).prop_map(
        |(aim, yes, assume_owner, delete_data, (replace, target, drop), meddling)| RunSeed {
            aim,
            yes,
            assume_owner,
            delete_data,
            replace,
            target,
            drop,
            meddling,
        },
    )
}

pub(super) fn case() -> impl Strategy<Value = Case> {
    let denied = (rarely(), rarely(), rarely(), rarely(), rarely())
        .prop_map(|(tables, functions, mappings, queues, index)| Denied { tables, functions, mappings, queues, index });
    let world = (vec(table(), 0..8), vec(function(), 0..6), vec(mapping(), 0..6), vec(queue_seed(), 0..4));
    let index = (vec((any::<bool>(), 0..12_usize, tagged()), 0..4), rarely(), rarely());
    (0..3_usize, world, index, denied, spec(), vec(run(), 1..4)).prop_map(
        |(us, (tables, functions, mappings, queues), (index, is_blind, small_pages), denied, spec, runs)| Case {
            us,
            tables,
            functions,
            mappings,
            queues,
            index,
            is_blind,
            small_pages,
            denied,
            spec,
            runs,
        },
    )
}

/// Regression cases: each once caused an unwanted call, or one that only the guard blocked.
pub(super) fn known() -> Vec<(&'static str, Case)> {
    let nothing = || Case {
        us: 0,
        tables: Vec::new(),
        functions: Vec::new(),
        mappings: Vec::new(),
        queues: Vec::new(),
        index: Vec::new(),
        is_blind: false,
        small_pages: false,
        denied: Denied::default(),
        spec: SpecSeed {
            tables: vec![None; TABLES.len()],
            functions: vec![None; FUNCTIONS.len()],
            queues: vec![None; QUEUES.len()],
            permissions: Vec::new(),
            mappings: Vec::new(),
            says_account: false,
        },
        runs: vec![run_of(Aim::Apply)],
    };
    fn run_of(aim: Aim) -> RunSeed {
        let (replace, target, drop) = (None, None, None);
        RunSeed { aim, yes: true, assume_owner: false, delete_data: true, replace, target, drop, meddling: Vec::new() }
    }
    let function = |name, statements: &[usize]| FunctionSeed {
        name,
        tagged: Tagged::ThisStack,
        statements: statements.to_vec(),
        concurrency: None,
        is_pending: false,
    };
    let table = |name| TableSeed {
        name,
        tagged: Tagged::ThisStackAs(0),
        has_stream: true,
        items: 0,
        is_protected: false,
        is_creating: false,
    };
    let declared = |form| {
        let flags = (false, false, false, false, true);
        let (adopt, retain, protect, ignores, differs) = flags;
        Some(DeclarationSeed { form, adopt, retain, protect, ignores, differs, twice: true })
    };
    let hung = Some(Hung { function: 0, table: 0, literal: Some(0), flag: false });
    // Index 0 is the function: it is the first resource in the account that can change owners.
    let changes_hands = |before| ConcurrentChange { before, whom: 0, tagged: Tagged::OtherStack, reborn: false };
    let with_function = |spec: SpecSeed| SpecSeed { functions: vec![declared(Form::Usual), None], ..spec };
    vec![
        ("our tags under another team's name", Case { functions: vec![function(5, &[0, 2])], ..nothing() }),
        (
            "CloudFormation's mapping on a function that goes",
            Case {
                functions: vec![function(0, &[])],
                mappings: vec![MappingSeed {
                    function: 0,
                    qualifier: false,
                    table: 0,
                    dead_stream: false,
                    tagged: Tagged::CloudFormation { has_engine_tags: false },
                }],
                ..nothing()
            },
        ),
        (
            "imported under one name and declared under another",
            Case {
                tables: vec![table(0)],
                spec: SpecSeed {
                    tables: vec![declared(Form::Usual), declared(Form::Imported(0)), None],
                    ..nothing().spec
                },
                runs: vec![run_of(Aim::Destroy)],
                ..nothing()
            },
        ),
        (
            "a function that changes hands after the plan, and a new permission and mapping of it",
            Case {
                functions: vec![function(0, &[0])],
                spec: SpecSeed {
                    permissions: vec![None, hung.clone()],
                    mappings: vec![hung],
                    ..with_function(nothing().spec)
                },
                runs: vec![RunSeed { meddling: vec![changes_hands(None)], ..run_of(Aim::Apply) }],
                ..nothing()
            },
        ),
        (
            "a function that changes hands between two writes to it",
            Case {
                functions: vec![function(0, &[])],
                spec: with_function(nothing().spec),
                runs: vec![RunSeed { meddling: vec![changes_hands(Some(1))], ..run_of(Aim::Apply) }],
                ..nothing()
            },
        ),
    ]
}

/// Malformed values of the team, stack and resource tags, as if written by hand.
const GARBAGE: [[Option<&str>; 3]; 8] = [
    [Some(""), Some(""), Some("")],
    [Some("{us} "), Some(STACK), Some("todos")],
    [Some("{us}"), Some("TEAM"), Some("todos")],
    [Some("{us}-"), Some(STACK), None],
    [Some("{us}\n"), Some(STACK), Some("todos")],
    [Some("*"), Some("*"), Some("*")],
    [Some("{us},red-foxes"), Some(STACK), Some("logger")],
    [None, Some(STACK), Some("../todos")],
];

impl Tagged {
    /// The tags of a resource with the AWS name `name`.
    pub(super) fn tags(&self, us: &str, name: &str) -> Tags {
        let natural = name.strip_prefix(us).map_or(name, |rest| rest.trim_start_matches(['-', '_', '.']));
        let all = |team: &str, stack: &str, resource: &str| {
            let pairs = [("engine:team", team), ("engine:stack", stack), ("engine:resource", resource)];
            pairs.map(|(key, value)| (key.to_owned(), value.to_owned()))
        };
        let mut tags = Tags::from([("course".to_owned(), "cloud".to_owned())]);
        match self {
            Tagged::Untagged => {}
            Tagged::ThisStack => tags.extend(all(us, STACK, natural)),
            Tagged::ThisStackAs(at) => {
                let names = ["todos", "logs", "extra-todos", "logger", "extra-logger", "feed", "old", "older"];
                tags.extend(all(us, STACK, names[*at % names.len()]));
            }
            Tagged::OtherStack => tags.extend(all(us, "other", natural)),
            // The team's own name would not be another owner.
            Tagged::Team(at) if TEAMS[*at] == us => tags.extend(all("red-foxes", STACK, natural)),
            Tagged::Team(at) => tags.extend(all(TEAMS[*at], STACK, natural)),
            Tagged::CloudFormation { has_engine_tags } => {
                if *has_engine_tags {
                    tags.extend(all(us, STACK, natural));
                }
                tags.insert("aws:cloudformation:stack-name".to_owned(), "their-stack".to_owned());
            }
            Tagged::Half(mask) => {
                let some = all(us, STACK, natural).into_iter().enumerate().filter(|(at, _)| mask & (1 << at) != 0);
                tags.extend(some.map(|(_, pair)| pair));
            }
            Tagged::Garbage(at) => {
                for (key, value) in ["engine:team", "engine:stack", "engine:resource"].iter().zip(GARBAGE[*at]) {
                    tags.extend(value.map(|value| ((*key).to_owned(), value.replace("{us}", us))));
                }
            }
        }
        tags
    }
}

fn stream_of(table: &str) -> String {
    format!("arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{table}/stream/2020-01-01T00:00:00.000")
}

impl Case {
    pub(super) fn us(&self) -> &'static str {
        TEAMS[self.us]
    }

    /// AWS names: of this stack's resources, and similar ones of other owners.
    fn table_name(&self, at: usize) -> String {
        let us = self.us();
        let others = TEAMS.iter().filter(|team| **team != us).copied().collect::<Vec<_>>();
        match at {
            0 | 9 => format!("{us}-todos"),
            1 | 10 => format!("{us}-logs"),
            2 => format!("{us}-extra-todos"),
            3 => format!("{us}_todos"),
            4 => format!("{us}.logs"),
            5 => format!("{us}todos"),
            6 => format!("{}-todos", others[0]),
            7 => format!("{}_todos", others[1]),
            8 => format!("{}-todos", us.to_uppercase()),
            _ => "shared-todos".to_owned(),
        }
    }

    fn function_name(&self, at: usize) -> String {
        let us = self.us();
        let others = TEAMS.iter().filter(|team| **team != us).copied().collect::<Vec<_>>();
        match at {
            0 | 1 => format!("{us}-logger"),
            2 => format!("{us}-extra-logger"),
            3 => format!("{us}_logger"),
            4 => format!("{us}logger"),
            5 => format!("{}-logger", others[0]),
            6 => format!("{}_logger", others[1]),
            7 => format!("{}-logger", us.to_uppercase()),
            _ => "shared-logger".to_owned(),
        }
    }

    fn queue_name(&self, at: usize) -> String {
        let us = self.us();
        let others = TEAMS.iter().filter(|team| **team != us).copied().collect::<Vec<_>>();
        match at {
            0 | 1 => format!("{us}-jobs"),
            2 => format!("{us}-extra-jobs"),
            3 => format!("{us}_jobs"),
            4 => format!("{us}jobs"),
            5 => format!("{}-jobs", others[0]),
            6 => format!("{}_jobs", others[1]),
            7 => format!("{}-jobs", us.to_uppercase()),
            _ => "shared-jobs".to_owned(),
        }
    }

    fn statement_id(&self, at: usize) -> String {
        let us = self.us();
        match at {
            0 => format!("{us}-allow-0"),
            1 => format!("{us}-allow-1"),
            2 => format!("{us}-old"),
            3 => "red-foxes-allow".to_owned(),
            4 => format!("{us}allow"),
            5 => format!("{}-allow-0", us.to_uppercase()),
            _ => "by-hand".to_owned(),
        }
    }

    /// The account before the first run.
    pub(super) fn world(&self) -> World {
        let us = self.us();
        let mut world = World::empty();
        for seed in &self.tables {
            let name = self.table_name(seed.name);
            world.add_log_group(&name, seed.tagged.tags(us, &name));
            let table = world.add_table(&name, seed.has_stream, seed.tagged.tags(us, &name));
            (table.items, table.counted) = (seed.items, seed.items);
            table.shown["DeletionProtectionEnabled"] = json!(seed.is_protected);
            if seed.is_creating {
                table.make_creating();
            }
        }
        for seed in &self.functions {
            let name = self.function_name(seed.name);
            world.add_function(&name, seed.tagged.tags(us, &name));
            world.add_log_group(&format!("/aws/lambda/{name}"), seed.tagged.tags(us, &name));
            let function = world.functions.get_mut(&name).unwrap();
            function.concurrency = seed.concurrency;
            for id in seed.statements.iter().map(|at| self.statement_id(*at)) {
                if function.policy.iter().all(|known| known["Sid"] != id.as_str()) {
                    function.policy.push(json!({
                        "Sid": id,
                        "Effect": "Allow",
                        "Principal": { "Service": "dynamodb.amazonaws.com" },
                        "Action": "lambda:InvokeFunction",
                        "Resource": function_arn(&name),
                    }));
                }
            }
            if seed.is_pending {
                function.make_pending();
            }
        }
        for seed in &self.mappings {
            let (function, table) = (self.function_name(seed.function), self.table_name(seed.table));
            let function = if seed.qualifier { format!("{function}:live") } else { function };
            let live = world.tables.get(&table).and_then(|it| it.shown["LatestStreamArn"].as_str().map(str::to_owned));
            let stream = live.filter(|_| !seed.dead_stream).unwrap_or_else(|| stream_of(&table));
            world.add_mapping(&function, &stream, seed.tagged.tags(us, &format!("{us}-feed-0")));
        }
        for seed in &self.queues {
            let name = self.queue_name(seed.name);
            world.add_queue(&name, seed.tagged.tags(us, &name)).messages = seed.messages;
        }
        for (is_table, at, tagged) in &self.index {
            let name = if *is_table { self.table_name(*at) } else { self.function_name(*at) };
            let table = format!("arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}");
            let arn = if *is_table { table } else { function_arn(&name) };
            world.index.ghosts.push((arn, tagged.tags(us, &name)));
        }
        world.index.mappings = self.is_blind != self.small_pages;
        world.index.blind = self.is_blind;
        world.small_pages = self.small_pages;
        world.function_tags_denied = self.denied.functions;
        world
    }

    /// The lines that identify a resource, and whether it is imported. `None` if another
    /// declaration already uses this AWS name.
    fn head(
        &self,
        resource: &str,
        kind: &str,
        declared: &DeclarationSeed,
        used: &mut BTreeSet<String>,
    ) -> Option<(String, bool)> {
        let us = self.us();
        let names = |at| match kind {
            "table" => self.table_name(at),
            "queue" => self.queue_name(at),
            _ => self.function_name(at),
        };
        // Most imports refer to an existing resource.
        let there = |at: usize| {
            let seeds: Vec<usize> = match kind {
                "table" => self.tables.iter().map(|seed| seed.name).collect(),
                "queue" => self.queues.iter().map(|seed| seed.name).collect(),
                _ => self.functions.iter().map(|seed| seed.name).collect(),
            };
            names(seeds.get(at).copied().unwrap_or(at))
        };
        let mut block = format!("    type: {kind}\n");
        let (name, is_import) = match declared.form {
            Form::Usual => (format!("{us}-{resource}"), false),
            Form::Named(at) => {
                let own = names(at);
                // The spec rejects any other name.
                let fits = own.strip_prefix(us).is_some_and(|rest| rest.starts_with(['-', '_', '.']));
                let own = if fits { own } else { format!("{us}-{resource}") };
                writeln!(block, "    name: {own}").unwrap();
                (own, false)
            }
            Form::Imported(at) => {
                writeln!(block, "    import: {}", there(at)).unwrap();
                (there(at), true)
            }
            Form::ImportedArn(at) => {
                let name = there(at);
                let arn = match kind {
                    "table" => format!("arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}"),
                    "queue" => queue::arn(&name),
                    _ => function_arn(&name),
                };
                writeln!(block, "    import: {arn}").unwrap();
                (name, true)
            }
        };
        if !used.insert(format!("{kind} {name}")) && !declared.twice {
            return None;
        }
        for (flag, key) in [(declared.adopt, "adopt"), (declared.retain, "retain"), (declared.protect, "protect")] {
            if flag && !is_import && !(key == "retain" && declared.protect) {
                writeln!(block, "    {key}: true").unwrap();
            }
        }
        Some((block, is_import))
    }

    /// The spec of a run, and the names in it.
    pub(super) fn spec(&self, run: &RunSeed) -> (String, Vec<String>) {
        let us = self.us();
        let mut blocks: Vec<(String, String)> = Vec::new();
        let mut used: BTreeSet<String> = BTreeSet::new();
        let (mut tables, mut managed) = (Vec::new(), Vec::new());
        let (mut own_tables, mut imported) = (Vec::new(), Vec::new());
        for (resource, declared) in TABLES.iter().zip(&self.spec.tables) {
            let Some(declared) = declared else { continue };
            let Some((mut block, is_import)) = self.head(resource, "table", declared, &mut used) else { continue };
            tables.push(*resource);
            if !is_import {
                own_tables.push(*resource);
                block.push_str("    attributes: { id: S }\n    hash_key: id\n    billing_mode: PAY_PER_REQUEST\n");
                block.push_str("    stream_view_type: NEW_AND_OLD_IMAGES\n");
                if declared.ignores {
                    block.push_str("    ignore_changes: [deletion_protection]\n");
                }
                if declared.differs {
                    block.push_str("    tags: { course: cloud, more: yes-please }\n    ttl_attribute: until\n");
                }
            }
            blocks.push(((*resource).to_owned(), block));
        }
        for (resource, declared) in FUNCTIONS.iter().zip(&self.spec.functions) {
            let Some(declared) = declared else { continue };
            let Some((mut block, is_import)) = self.head(resource, "function", declared, &mut used) else { continue };
            if is_import {
                imported.push(*resource);
            } else {
                managed.push(*resource);
                block
                    .push_str("    runtime: nodejs22.x\n    handler: index.handler\n    role: ${execution-role.arn}\n");
                block.push_str("    code: { inline: \"exports.handler = async () => {};\" }\n");
                if declared.ignores {
                    block.push_str("    ignore_changes: [reserved_concurrent_executions]\n");
                }
                if declared.differs {
                    block.push_str("    memory_size: 256\n    reserved_concurrent_executions: 3\n");
                }
            }
            blocks.push(((*resource).to_owned(), block));
        }
        for (resource, declared) in QUEUES.iter().zip(&self.spec.queues) {
            let Some(declared) = declared else { continue };
            let Some((mut block, is_import)) = self.head(resource, "queue", declared, &mut used) else { continue };
            if declared.ignores && !is_import {
                block.push_str("    ignore_changes: [delay_seconds]\n");
            }
            if declared.differs && !is_import {
                block.push_str("    tags: { course: cloud, more: yes-please }\n    visibility_timeout_seconds: 7\n");
            }
            blocks.push(((*resource).to_owned(), block));
        }
        let hangs = |hung: &Hung| {
            let function = managed.get(hung.function % managed.len().max(1))?;
            let source = match hung.literal {
                Some(at) => stream_of(&self.table_name(at)),
                None => format!("${{{}.stream_arn}}", tables.get(hung.table % tables.len().max(1))?),
            };
            Some((*function, source))
        };
        for (at, hung) in self.spec.permissions.iter().enumerate() {
            let Some((hung, (function, source))) = hung.as_ref().and_then(|it| Some((it, hangs(it)?))) else {
                continue;
            };
            let mut block = format!("    type: permission\n    function: ${{{function}.arn}}\n");
            writeln!(block, "    principal: dynamodb.amazonaws.com\n    source_arn: {source}").unwrap();
            if hung.flag {
                writeln!(block, "    statement_id: {us}-old").unwrap();
            }
            blocks.push((format!("allow-{at}"), block));
        }
        // An imported function takes only the streams of the spec's own tables.
        let shares = |hung: &Hung| {
            let n_functions = managed.len() + imported.len();
            let at = (hung.function % n_functions.max(1)).checked_sub(managed.len())?;
            let table = own_tables.get(hung.table % own_tables.len().max(1)).filter(|_| hung.literal.is_none())?;
            Some((*imported.get(at)?, format!("${{{table}.stream_arn}}")))
        };
        for (at, hung) in self.spec.mappings.iter().enumerate() {
            let attached = hung.as_ref().and_then(|it| Some((it, shares(it).or_else(|| hangs(it))?)));
            let Some((hung, (function, source))) = attached else { continue };
            let mut block =
                format!("    type: mapping\n    function: ${{{function}.arn}}\n    event_source_arn: {source}\n");
            block.push_str("    starting_position: TRIM_HORIZON\n");
            if hung.flag {
                block.push_str("    batch_size: 7\n    adopt: true\n");
            }
            blocks.push((format!("feed-{at}"), block));
        }
        if let Some(at) = run.drop.filter(|_| !blocks.is_empty()) {
            let gone = at.index(blocks.len());
            let name = format!("{{{}.", blocks[gone].0);
            if !blocks.iter().any(|(_, block)| block.contains(&name)) {
                blocks.remove(gone);
            }
        }
        let mut text = format!("team: {us}\nstack: {STACK}\nregion: {REGION}\n");
        if self.spec.says_account {
            writeln!(text, "account: \"{ACCOUNT}\"").unwrap();
        }
        writeln!(text, "resources:\n  execution-role:\n    type: role\n    import: {ROLE}").unwrap();
        for (name, block) in &blocks {
            write!(text, "  {name}:\n{block}").unwrap();
        }
        (text, blocks.into_iter().map(|(name, _)| name).collect())
    }
}

/// The functions and tables in AWS that mappings on imported functions connect, by a spec's text
/// alone.
pub(super) fn shared(spec: &str, us: &str) -> BTreeSet<(String, String)> {
    let spec: serde_json::Value = serde_yaml::from_str(spec).unwrap();
    let resources = spec["resources"].as_object().unwrap();
    let target = |resource: &serde_json::Value, property: &str| {
        let (name, _) = resource[property].as_str()?.strip_prefix("${")?.split_once('.')?;
        let target = resources.get(name)?;
        let own = target["name"].as_str().map_or_else(|| format!("{us}-{name}"), str::to_owned);
        Some((own, target["import"].as_str().map(|it| it.rsplit([':', '/']).next().unwrap().to_owned())))
    };
    let mappings = resources.values().filter(|it| it["type"] == "mapping");
    let pairs = mappings.filter_map(|it| match (target(it, "function")?, target(it, "event_source_arn")?) {
        ((_, Some(function)), (table, None)) => Some((function, table)),
        _ => None,
    });
    pairs.collect()
}

/// What a spec declares, by its text alone: the AWS names of managed resources, each with whether
/// engine may adopt it without confirmation, and the names of imported ones.
pub(super) fn declared(spec: &str, us: &str) -> (BTreeMap<String, bool>, Vec<String>) {
    let spec: serde_json::Value = serde_yaml::from_str(spec).unwrap();
    let (mut ours, mut imported) = (BTreeMap::new(), Vec::new());
    for (name, resource) in spec["resources"].as_object().into_iter().flatten() {
        let kind = resource["type"].as_str().unwrap();
        match resource["import"].as_str() {
            Some(import) => imported.push(format!("{kind} {}", import.rsplit([':', '/']).next().unwrap())),
            None => {
                let name = resource["name"].as_str().map_or_else(|| format!("{us}-{name}"), str::to_owned);
                ours.insert(format!("{kind} {name}"), resource["adopt"] == true);
            }
        }
    }
    (ours, imported)
}
