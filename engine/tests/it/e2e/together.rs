//! Concurrent runs on the same resources: of one spec, of two that differ, and an apply with a
//! destroy. Two real processes share one local AWS, and for each pair a seeded schedule orders
//! their calls. `cargo test` runs a sample; `ENGINE_RACES=all cargo test --test it together` runs all,
//! and `ENGINE_RACES=7` that sample again.

mod differing;
mod pair;
mod strict;

use std::panic::resume_unwind;
use std::sync::{Arc, LazyLock};
use std::time::{SystemTime, UNIX_EPOCH};

use pair::race;
use strict::Strict;

use super::project::{Account, Project, Ran};
use super::{NO_CHANGES, TEAM};

const CODE: &str = "code: ../lambda-src/log-events";
const OTHER_CODE: &str = "code: { inline: \"exports.handler = async () => 2;\" }";
/// The edits of an update: each step conflicts with the other run's.
const EDITS: [(&str, &str); 4] = [
    ("stream_view_type: NEW_AND_OLD_IMAGES", "stream_view_type: NEW_IMAGE"),
    ("read_capacity: 1", "read_capacity: 2"),
    (CODE, OTHER_CODE),
    ("handler: index.handler", "handler: index.handler\n    memory_size: 256"),
];
/// Makes the pipeline's role and log group engine's own.
const OWN: [(&str, &str); 1] = [("    role: ${execution-role.arn}\n", "    log_retention_in_days: 14\n")];
/// More edits of an update, of the role's policy and of the log group.
const EDITS_OF_OWN: [(&str, &str); 1] = [(
    "log_retention_in_days: 14\n",
    "log_retention_in_days: 7\n    statements: [{ actions: [ses:SendEmail], resources: [\"*\"] }]\n",
)];
/// Texts by which a run reports another run's changes, always with what changed.
const CONFLICT_TEXTS: [&str; 8] = [
    "the resource changed since the plan was made",
    "changed in the meantime",
    "outside this run",
    "during this run",
    "no longer exists",
    "another client",
    "another owner created",
    "another run",
];

/// The spec of an account. Every other one leaves the role and the log group to engine.
fn spec_of(project: &Project, account: &str, seed: u64) -> String {
    let spec = project.spec_for(TEAM, account);
    if is_own(seed) {
        project.edit(&spec, &OWN);
    }
    spec
}

fn is_own(seed: u64) -> bool {
    seed % 2 == 1
}

/// Changes whatever the spec has.
fn change(project: &Project, spec: &str, seed: u64) {
    project.edit(spec, &EDITS);
    if is_own(seed) {
        project.edit(spec, &EDITS_OF_OWN);
    }
}

/// Expects that the account contains one pipeline of this stack and nothing else.
#[track_caller]
fn expect_one_pipeline(aws: &Account, stack: &str, seed: u64, context: &str) {
    let mut owned = Vec::new();
    for (name, tags) in aws.tags() {
        let of = |key: &str| tags.get(key).cloned().unwrap_or_default();
        let kind = name.split(' ').next().unwrap().to_owned();
        assert_eq!([of("engine:team"), of("engine:stack")], ["blue-owls".to_owned(), stack.to_owned()], "{context}");
        owned.push((kind, of("engine:resource")));
    }
    let own: &[_] = if is_own(seed) { &[("log_group", "logger-logs"), ("role", "logger-role")] } else { &[] };
    let others = [("function", "logger"), ("mapping", "todos-to-logger"), ("table", "todos")];
    let mut expected = [own, &others].concat();
    expected.sort_unstable();
    let expected = expected.into_iter();
    assert_eq!(owned, expected.map(|(kind, name)| (kind.to_owned(), name.to_owned())).collect::<Vec<_>>(), "{context}");
    let policy = aws.wait(aws.lambda.get_policy().function_name("blue-owls-logger").send()).policy.unwrap();
    assert_eq!(policy.matches("\"Sid\"").count(), 1, "{context}: {policy}");
    assert!(policy.contains("blue-owls-logger-permission"), "{context}: {policy}");
}

/// How pairs of runs ended.
#[derive(Debug, Default, Clone, Copy)]
struct Endings {
    both_succeeded: usize,
    one_reported: usize,
    both_reported: usize,
}

impl Endings {
    /// Counts a pair. Each run has to succeed or to report what the other one changed.
    #[track_caller]
    fn count(&mut self, pair: &[Ran; 2], context: &str) {
        let told = pair.iter().filter(|ran| ran.code() != Some(0)).map(|ran| {
            assert!([Some(1), Some(3)].contains(&ran.code()), "{context}: {pair:#?}");
            let said = format!("{}{}", ran.out, ran.err);
            let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(CONFLICT_TEXTS.iter().any(|text| said.contains(text)), "{context}: {pair:#?}");
            assert!(!said.contains("defect"), "{context}: {pair:#?}");
        });
        match told.count() {
            0 => self.both_succeeded += 1,
            1 => self.one_reported += 1,
            _ => self.both_reported += 1,
        }
    }
}

/// What `ENGINE_RACES` says: all races, or a sample with a seed.
enum Extent {
    All,
    Sample(u64),
}

static EXTENT: LazyLock<Extent> = LazyLock::new(|| {
    let given = std::env::var("ENGINE_RACES").ok();
    if given.as_deref() == Some("all") {
        return Extent::All;
    }
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let seed = given.map_or_else(now, |seed| seed.parse().expect("ENGINE_RACES is `all` or a seed"));
    eprintln!("races: again with ENGINE_RACES={seed}");
    Extent::Sample(seed)
});

/// Runs `case` for each seed below `n_all`, or for a sample of them, some concurrently, and collects
/// the results.
fn for_seeds<T: Send>(n_all: u64, n_sample: usize, case: impl Fn(u64) -> T + Sync) -> Vec<T> {
    const AT_ONCE: usize = 4;
    let mut seeds: Vec<u64> = (0..n_all).collect();
    if let Extent::Sample(seed) = *EXTENT {
        fastrand::Rng::with_seed(seed).shuffle(&mut seeds);
        seeds.truncate(n_sample);
    }
    std::thread::scope(|scope| {
        let (case, seeds) = (&case, &seeds);
        let workers = (0..AT_ONCE).map(|worker| {
            let own = seeds.iter().copied().skip(worker).step_by(AT_ONCE);
            scope.spawn(move || own.map(case).collect::<Vec<T>>())
        });
        let workers: Vec<_> = workers.collect();
        // A worker's panic becomes the test's panic.
        workers.into_iter().flat_map(|worker| worker.join().unwrap_or_else(|why| resume_unwind(why))).collect()
    })
}

#[test]
fn concurrent_equal_runs_succeed_or_report_and_leave_one_pipeline() {
    let project = Project::new();
    let endpoint = project.endpoint();
    let all = for_seeds(50, 14, |seed| {
        let account = format!("2000000000{seed:02}");
        let (spec, aws) = (spec_of(&project, &account, seed), project.account(&account));
        project.run(&["diff", &spec, "--local"]).expect(0, &[]);
        let strict = Arc::new(Strict::new(&endpoint));
        let mut endings = [Endings::default(); 3];
        let both = |args: &[&str], salt: u64| {
            let args = [args, &[&spec, "--yes"]].concat();
            race(&project, &strict, &account, seed * 3 + salt, [&args, &args])
        };
        // If a run reported a conflict, repeat it; otherwise the state already matches the spec.
        let same = |context: &str, pair: &[Ran; 2]| {
            let context = format!("seed {seed}, {context}: {pair:#?}");
            if pair.iter().any(|ran| ran.code() != Some(0)) {
                let again = project.run(&["apply", &spec, "--yes", "--local"]);
                assert_eq!(again.code(), Some(0), "{context}, again: {again:#?}");
            }
            expect_one_pipeline(&aws, &account, seed, &context);
            let diff = project.run(&["diff", &spec, "--local"]);
            assert!(diff.code() == Some(0) && diff.out.contains(NO_CHANGES), "{context}: {diff:#?}");
        };

        let pair = both(&["apply"], 0);
        endings[0].count(&pair, &format!("seed {seed}, create"));
        same("create", &pair);

        change(&project, &spec, seed);
        let pair = both(&["apply"], 1);
        endings[1].count(&pair, &format!("seed {seed}, update"));
        same("update", &pair);

        let pair = both(&["destroy"], 2);
        endings[2].count(&pair, &format!("seed {seed}, destroy"));
        if pair.iter().any(|ran| ran.code() != Some(0)) {
            project.run(&["destroy", &spec, "--yes", "--local"]).expect(0, &[]);
        }
        assert_eq!(aws.tags().len(), 0, "seed {seed}, destroy: {pair:#?}");
        endings
    });
    for (at, what) in ["create", "update", "destroy"].into_iter().enumerate() {
        let sum = |of: fn(&Endings) -> usize| all.iter().map(|endings| of(&endings[at])).sum::<usize>();
        let (succeeded, reported, both) =
            (sum(|it| it.both_succeeded), sum(|it| it.one_reported), sum(|it| it.both_reported));
        println!("{what}: both succeeded {succeeded}, one reported {reported}, both reported {both}");
    }
}

#[test]
fn concurrent_apply_and_destroy_both_end_and_either_can_be_repeated() {
    let project = Project::new();
    let endpoint = project.endpoint();
    let all = for_seeds(20, 7, |seed| {
        let account = format!("2100000000{seed:02}");
        let (spec, aws) = (spec_of(&project, &account, seed), project.account(&account));
        project.run(&["diff", &spec, "--local"]).expect(0, &[]);
        // Start with an empty account, an existing pipeline, or one that has to change.
        if seed % 3 != 0 {
            project.run(&["apply", &spec, "--local"]).expect(0, &[]);
        }
        if seed % 3 == 2 {
            change(&project, &spec, seed);
        }
        let (apply, destroy) = (["apply", &spec, "--yes"], ["destroy", &spec, "--yes"]);
        let mut endings = Endings::default();
        let strict = Arc::new(Strict::new(&endpoint));
        let context = format!("seed {seed}, apply beside destroy");
        endings.count(&race(&project, &strict, &account, seed, [&apply, &destroy]), &context);
        if seed % 2 == 0 {
            project.run(&["apply", &spec, "--local", "--yes"]).expect(0, &[]);
            expect_one_pipeline(&aws, &account, seed, &context);
            project.run(&["diff", &spec, "--local"]).expect(0, &[NO_CHANGES]);
        } else {
            project.run(&["destroy", &spec, "--local", "--yes"]).expect(0, &[]);
            assert_eq!(aws.tags().len(), 0, "{context}");
        }
        endings
    });
    let sum = |of: fn(&Endings) -> usize| all.iter().map(of).sum::<usize>();
    let (succeeded, reported, both) =
        (sum(|it| it.both_succeeded), sum(|it| it.one_reported), sum(|it| it.both_reported));
    println!("apply beside destroy: both succeeded {succeeded}, one reported {reported}, both reported {both}");
}
