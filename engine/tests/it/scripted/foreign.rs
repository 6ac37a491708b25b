//! For any account and any spec, engine writes only to resources that it owns.
//!
//! Random accounts, specs and runs. An independent oracle checks every call against the current
//! state of the account and compares the account before and after. `PROPTEST_CASES` sets the
//! number of cases.

mod case;
mod judge;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use engine::apply::{self, StepOutcome};
use engine::aws::{Access, Aws, Code, LocalSettings, Overrides};
use engine::live::{self, OrphanSearch};
use engine::plan::{self, Goal, Options};
use engine::schema::Id;
use engine::spec::{Depth, Spec, SpecOverrides};
use proptest::prelude::*;
use tokio::sync::watch;

use super::Project;
use super::server::{Cloud, Fault};
use super::world::{ACCOUNT, REGION, Reply, Tags, World, function_arn};
use case::{Aim, Case, Denied, RunSeed, STACK, case, declared, known, shared};
use judge::{Deed, Judge, Rules, contents};

/// Event counts over all cases.
#[derive(Default)]
struct Tally {
    runs: AtomicUsize,
    unloadable: AtomicUsize,
    unread: AtomicUsize,
    refused: AtomicUsize,
    declined: AtomicUsize,
    wrote: AtomicUsize,
    writes: AtomicUsize,
    deeds: AtomicUsize,
}

fn count(slot: &AtomicUsize, by: usize) {
    slot.fetch_add(by, Ordering::Relaxed);
}

/// The number of cases is `PROPTEST_CASES` and defaults to `usual`.
fn cases(usual: u32) -> ProptestConfig {
    let config = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { config.cases } else { usual };
    ProptestConfig { cases, max_shrink_iters: 400, ..config }
}

fn deny(cloud: &Cloud, denied: Denied) {
    let text = "User: X is not authorized to perform that";
    let refusal = |operation| Fault::Answer(Reply::of(operation, 403, "AccessDeniedException", text));
    for (is_denied, operation) in [
        (denied.tables, "ListTagsOfResource"),
        (denied.mappings, "ListTags"),
        (denied.queues, "ListQueueTags"),
        (denied.index, "GetResources"),
    ] {
        if is_denied {
            cloud.always(operation, refusal(operation));
        }
    }
}

/// The ownership changes that another actor makes during a run.
fn deeds(cloud: &Cloud, run: &RunSeed) -> Vec<Deed> {
    let all: Vec<String> = cloud.world(|world| contents(world).into_keys().collect());
    let whom: Vec<&String> = all
        .iter()
        .filter(|key| ["table ", "function ", "mapping ", "queue "].iter().any(|kind| key.starts_with(kind)))
        .collect();
    if whom.is_empty() {
        return Vec::new();
    }
    let deed = |it: &case::ConcurrentChange| Deed {
        before: it.before,
        whom: whom[it.whom % whom.len()].clone(),
        tagged: it.tagged.clone(),
        reborn: it.reborn,
    };
    run.meddling.iter().map(deed).collect()
}

/// Runs one command in this process as the command line would. Returns the errors of the guard.
async fn drive(
    cloud: &Cloud,
    project: &Project,
    case: &Case,
    run: &RunSeed,
    names: &[String],
    tally: &Tally,
    judge: Judge,
) -> Vec<String> {
    let pick = |at: &Option<prop::sample::Index>| -> BTreeSet<String> {
        at.iter().filter(|_| !names.is_empty()).map(|at| at.get(names).clone()).collect()
    };
    let goal = match run.aim {
        Aim::Apply => Goal::Present,
        Aim::Destroy | Aim::DestroyBare => Goal::Absent,
        Aim::Release => Goal::Unmanaged,
    };
    let options = Options {
        assume_owner: run.assume_owner,
        delete_data: run.delete_data,
        replace: if goal == Goal::Present { pick(&run.replace) } else { BTreeSet::new() },
        targets: match run.aim {
            Aim::Release => BTreeSet::from([names.first().cloned().unwrap_or_else(|| "old".to_owned())])
                .into_iter()
                .chain(pick(&run.replace))
                .collect(),
            Aim::DestroyBare => BTreeSet::new(),
            _ => pick(&run.target),
        },
    };
    let orphans = match run.aim {
        Aim::Release => OrphanSearch::IndexedOrScanned,
        _ if !options.targets.is_empty() => OrphanSearch::Attached,
        Aim::Apply => OrphanSearch::IndexedOrScanned,
        _ => OrphanSearch::Scanned,
    };
    let depth = if goal == Goal::Present { Depth::Full } else { Depth::Identities };
    let loaded = match run.aim {
        Aim::DestroyBare => Spec::bare(&engine::kinds::all(), case.us(), STACK, Some(REGION)),
        _ => Spec::load(&engine::kinds::all(), &project.path("specs/team.yaml"), &SpecOverrides::default(), depth),
    };
    let Ok(mut spec) = loaded else {
        count(&tally.unloadable, 1);
        return Vec::new();
    };
    let settings = LocalSettings {
        endpoint_url: cloud.url.clone(),
        key: String::new(),
        account: ACCOUNT.to_owned(),
        region: REGION.to_owned(),
    };
    let access = Access::Team { team: case.us().to_owned(), owns: BTreeSet::new(), assume_owner: run.assume_owner };
    let overrides = Overrides { delete_data: run.delete_data, assume_owner: run.assume_owner };
    let (_press, interrupt) = watch::channel(false);
    let cx = engine::kinds::context(Arc::new(Aws::local(&settings, access)), overrides, interrupt);
    let account = spec.account.clone();
    let inventory = loop {
        let Ok(inventory) = live::read(&cx, &spec, goal, &options, orphans, account.as_deref()).await else {
            count(&tally.unread, 1);
            return Vec::new();
        };
        let pending = spec.resources.iter().filter(|it| !it.imported);
        let pending = pending.filter_map(|it| inventory.live(&it.name)?.pending()).count();
        if pending == 0 && !inventory.orphans.iter().any(engine::inventory::Orphan::is_pending) {
            break inventory;
        }
        if live::await_owners(&cx, &spec, &inventory).await.is_err() {
            count(&tally.unread, 1);
            return Vec::new();
        }
    };
    for declared in &mut spec.resources {
        let id = inventory
            .live(&declared.name)
            .map_or_else(|| declared.id.clone(), |live| live::with_unique_id(declared, live));
        declared.id = Id { env: Some(inventory.env.clone()), ..id };
    }
    let plan = plan::plan(&spec, &inventory, goal, &options);
    if plan.refusals().count() > 0 {
        count(&tally.refused, 1);
        return Vec::new();
    }
    if plan.needs_approval() && !run.yes {
        count(&tally.declined, 1);
        return Vec::new();
    }
    let mut judge = judge;
    cloud.world(|world| judge.change_outside(world, None));
    cloud.watch(Some(Box::new(judge)));
    let endings = apply::apply(&cx, &spec, &inventory, &plan, 16, &mut |_| {}).await.endings;
    cloud.watch(None);
    let guarded = endings.iter().filter_map(|ending| match ending {
        StepOutcome::Failed(error) if error.is(Code::Guarded) => Some(error.to_string()),
        _ => None,
    });
    guarded.collect()
}

fn rules(case: &Case, run: &RunSeed, spec: &str) -> Rules {
    let (declared, imported) = match run.aim {
        Aim::DestroyBare => Default::default(),
        _ => declared(spec, case.us()),
    };
    Rules {
        shared: if run.aim == Aim::DestroyBare { Default::default() } else { shared(spec, case.us()) },
        us: case.us(),
        aim: run.aim,
        yes: run.yes,
        assume_owner: run.assume_owner,
        denied: case.denied,
        declared,
        imported,
    }
}

fn in_process(case: &Case, tally: &Tally) -> Result<(), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let cloud = Cloud::on_current_runtime(case.world()).await;
        deny(&cloud, case.denied);
        let project = Project::usual();
        for run in &case.runs {
            let (text, names) = case.spec(run);
            project.spec(&text);
            let (judge, verdict) = Judge::new(rules(case, run, &text), deeds(&cloud, run));
            // Each run has its own judge, so calls still in flight don't count for the next run.
            let guarded = drive(&cloud, &project, case, run, &names, tally, judge).await;
            let verdict = verdict.lock().unwrap();
            count(&tally.runs, 1);
            count(&tally.wrote, usize::from(verdict.n_writes > 0));
            count(&tally.writes, verdict.n_writes);
            count(&tally.deeds, verdict.n_deeds);
            let context = || format!("{:?} of\n{text}wrote {:#?}", run, verdict.writes);
            prop_assert!(verdict.wrongs.is_empty(), "{:#?}\nin {}", verdict.wrongs, context());
            prop_assert!(guarded.is_empty(), "only the guard blocked {guarded:#?}\nin {}", context());
        }
        Ok(())
    })
}

/// Like [`in_process`], but runs the program itself, in real time.
fn by_the_program(case: &Case, tally: &Tally) -> Result<(), TestCaseError> {
    let cloud = Cloud::start(case.world());
    deny(&cloud, case.denied);
    let project = Project::usual();
    for run in &case.runs {
        let (text, names) = case.spec(run);
        project.spec(&text);
        let some = |at: &Option<prop::sample::Index>| at.filter(|_| !names.is_empty()).map(|at| at.get(&names).clone());
        let mut args: Vec<String> = match run.aim {
            Aim::Apply => vec!["apply".to_owned()],
            Aim::Destroy => vec!["destroy".to_owned()],
            Aim::DestroyBare => {
                ["destroy", "--team", case.us(), "--stack", STACK, "--region", REGION].map(str::to_owned).to_vec()
            }
            Aim::Release => vec!["release".to_owned(), names.first().cloned().unwrap_or_else(|| "old".to_owned())],
        };
        if run.aim != Aim::Release {
            args.extend(run.yes.then(|| "--yes".to_owned()));
            args.extend(run.delete_data.then(|| "--delete-data".to_owned()));
        }
        args.extend(run.assume_owner.then(|| "--assume-owner".to_owned()));
        if let (Aim::Apply | Aim::Destroy, Some(name)) = (run.aim, some(&run.target)) {
            args.extend(["--target".to_owned(), name]);
        }
        if let (Aim::Apply, Some(name)) = (run.aim, some(&run.replace)) {
            args.extend(["--replace".to_owned(), name]);
        }
        // The end of planning isn't visible from outside, so these changes precede the first write.
        let deeds = deeds(&cloud, run).into_iter().map(|deed| Deed { before: deed.before.or(Some(1)), ..deed });
        let (judge, verdict) = Judge::new(rules(case, run, &text), deeds.collect());
        cloud.watch(Some(Box::new(judge)));
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let ended = project.run(&cloud, &args);
        cloud.watch(None);
        let verdict = verdict.lock().unwrap();
        count(&tally.runs, 1);
        count(&tally.wrote, usize::from(verdict.n_writes > 0));
        count(&tally.writes, verdict.n_writes);
        let context =
            || format!("engine {args:?} of\n{text}wrote {:#?} and said {}{}", verdict.writes, ended.out, ended.err);
        prop_assert!(verdict.wrongs.is_empty(), "{:#?}\nin {}", verdict.wrongs, context());
        prop_assert!(!ended.err.contains("the guard blocked"), "only the guard blocked something in {}", context());
    }
    Ok(())
}

/// A mapping with copied tags on a function that engine doesn't own: the plan reports it, engine
/// writes nothing to it, and the run continues.
#[test]
fn a_mapping_with_this_stacks_tags_on_another_teams_function_is_kept() {
    let tags = |team: &str, resource: &str| -> Tags {
        let tags = [("engine:team", team), ("engine:stack", STACK), ("engine:resource", resource)];
        tags.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
    };
    let head = format!("team: acme\nstack: {STACK}\nregion: {REGION}\nresources:");
    let import = |of: &str| format!("{head}\n  theirs: {{ type: function, import: \"{of}\" }}\n");
    let mapping = "  feed:\n    type: mapping\n    function: ${theirs.arn}\n    event_source_arn: ${todos.stream_arn}\n    \
                   starting_position: LATEST\n  todos: { type: table, import: acme-todos }\n";
    let (billing, stream) = ("billing-sync", "arn:aws:dynamodb:eu-central-1:123456789012:table/x/stream/1");
    let empty = format!("{head} {{}}\n");
    let specs = [
        ("imported", billing, import(billing), "is imported"),
        ("imported by ARN", billing, import(&function_arn(billing)), "is imported"),
        ("imported, with the mapping declared", billing, import(billing) + mapping, "is imported"),
        ("imported under our prefix", "acme-sync", import("acme-sync"), "is imported"),
        ("not in the spec", billing, empty.clone(), "neither begins with `acme` nor is in `owns`"),
        ("under our prefix by its name alone", "acme-extra-sync", empty, "belongs to team `acme-extra`"),
    ];
    for (what, function, spec, why) in specs {
        let mut world = World::empty();
        let owner = if function.starts_with("acme-extra") { "acme-extra" } else { "billing" };
        world.add_function(function, tags(owner, "sync"));
        world.add_table("acme-todos", true, tags("acme", "todos"));
        world.add_mapping(&format!("{function}:live"), stream, tags("acme", "feed"));
        world.add_mapping(function, stream, tags("acme", "feed"));
        world.index.mappings = true;
        let cloud = Cloud::start(world);
        let project = Project::usual();
        project.spec(&spec);
        let before = cloud.world(|world| contents(world));
        let bare = ["destroy", "--team", "acme", "--stack", STACK, "--region", REGION, "--yes", "--delete-data"];
        let mut runs = vec![vec!["destroy", "--yes", "--delete-data"], vec!["diff", "--destroy"]];
        if !spec.contains("type: mapping") {
            runs.push(vec!["apply", "--yes", "--delete-data"]);
        }
        for args in runs {
            // This stack owns the table, unless the spec imports it.
            let kept = |key: &String| !key.starts_with("table ");
            let ran = project.run(&cloud, &args);
            ran.ends_with(0);
            ran.says(why).says("not deleted: ");
            let after = cloud.world(|world| contents(world));
            let (before, after): (Vec<_>, Vec<_>) =
                (before.iter().filter(|it| kept(it.0)).collect(), after.iter().filter(|it| kept(it.0)).collect());
            assert_eq!(before, after, "{what}: {args:?}");
        }
        let ran = project.run(&cloud, &["release", "feed"]);
        ran.ends_with(1);
        ran.complains("that it is attached to");
        if function == billing {
            project.run(&cloud, &bare).ends_with(0).says("neither begins with `acme` nor is in `owns`");
        }
        assert!(super::writes(&cloud).iter().all(|it| it == "DeleteTable"), "{what}: {:?}", super::writes(&cloud));
    }
}

#[test]
fn known_cases_write_only_owned_resources() {
    let tally = Tally::default();
    for (what, case) in known() {
        in_process(&case, &tally).unwrap_or_else(|error| panic!("{what}: {error}"));
    }
}

#[test]
fn random_runs_write_only_owned_resources() {
    let tally = Tally::default();
    let config = cases(100);
    proptest!(config, |(case in case())| in_process(&case, &tally)?);
    let of = |slot: &AtomicUsize| slot.load(Ordering::Relaxed);
    eprintln!(
        "foreign property: {} runs ({} refused, {} declined, {} unreadable, {} without a spec that loads); {} wrote, \
         {} writes in all; {} times somebody else meddled",
        of(&tally.runs),
        of(&tally.refused),
        of(&tally.declined),
        of(&tally.unread),
        of(&tally.unloadable),
        of(&tally.wrote),
        of(&tally.writes),
        of(&tally.deeds)
    );
    assert!(of(&tally.wrote) * 4 > of(&tally.runs), "too few runs get as far as a write");
}

#[test]
fn the_program_writes_only_owned_resources() {
    let tally = Tally::default();
    // In real time, shrinking takes minutes, so it is off.
    let config = ProptestConfig { max_shrink_iters: 0, ..cases(5) };
    proptest!(config, |(case in case())| by_the_program(&case, &tally)?);
    let of = |slot: &AtomicUsize| slot.load(Ordering::Relaxed);
    let (runs, wrote, writes) = (of(&tally.runs), of(&tally.wrote), of(&tally.writes));
    eprintln!("foreign property, by the program: {runs} runs, {wrote} wrote, {writes} writes in all");
}
