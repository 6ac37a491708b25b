//! How much of the processor planning takes. It is pure and runs on one thread, so that thread's
//! time is measured, which is the same however busy the machine is.
//!
//! The target is 50 ms at most for 1,000 resources (200 teams of five, a spec each), and ten times
//! that for ten times as many. Each is measured for a first deployment and for one without changes;
//! a single spec of many resources shows whether anything grows faster than the spec.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use engine::inventory::{Found, Inventory};
use engine::plan::{Goal, Options, plan};
use engine::schema::{AwsEnv, Identity, Live, OutputOrigin, Outputs, Ownership, Rule, Status, Timestamps};
use engine::spec::{Depth, ResourceDecl, Spec, SpecOverrides};
use engine::value::{Placeholder, resolve};
use rustix::time::{ClockId, clock_gettime};

/// Resources of one pipeline.
const FIVE: usize = 5;

/// The time that this thread has had on a processor.
struct Processor;

impl Measurement for Processor {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
    }

    fn end(&self, start: Duration) -> Duration {
        self.start() - start
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

/// A spec with this number of pipelines, each with five resources.
fn text(pipelines: usize) -> String {
    let mut text = "team: owls\nresources:\n".to_owned();
    for at in 0..pipelines {
        write!(
            text,
            "  todos{at}:
    type: table
    attributes: {{ id: S }}
    hash_key: id
    read_capacity: 1
    write_capacity: 1
    stream_view_type: NEW_AND_OLD_IMAGES
  runner{at}: {{ type: role, import: runner{at} }}
  logger{at}:
    type: function
    runtime: nodejs22.x
    handler: index.handler
    role: ${{runner{at}.arn}}
    environment: {{ LOG_LEVEL: debug, TABLE: '${{todos{at}.name}}' }}
    code: {{ inline: 'exports.handler = async () => {{}};' }}
  allow{at}:
    type: permission
    function: ${{logger{at}.arn}}
    principal: dynamodb.amazonaws.com
    source_arn: ${{todos{at}.stream_arn}}
  pipe{at}:
    type: mapping
    function: ${{logger{at}.arn}}
    event_source_arn: ${{todos{at}.stream_arn}}
    starting_position: TRIM_HORIZON
"
        )
        .unwrap();
    }
    text
}

fn load(path: &Path, team: &str) -> Spec {
    let overrides = SpecOverrides { team: Some(team.to_owned()), ..SpecOverrides::default() };
    Spec::load(&engine::kinds::all(), path, &overrides, Depth::Full).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

fn outputs(declared: &ResourceDecl, env: &AwsEnv) -> Outputs {
    let schema = declared.schema();
    let assigned = schema.outputs.iter().filter(|output| matches!(output.origin, OutputOrigin::Assigned { .. }));
    let assigned = assigned.map(|output| (output.name.to_string(), format!("{}/{}", declared.id.name, output.name)));
    schema.computed(env, &declared.id.name).into_iter().chain(assigned).collect()
}

/// What AWS shows after an apply; without `everything`, only imported resources exist.
fn inventory(spec: &Spec, everything: bool) -> Inventory {
    let env = AwsEnv::new("eu-central-1", "123456789012");
    let outputs: BTreeMap<&str, Outputs> =
        spec.resources.iter().map(|it| (it.name.as_str(), outputs(it, &env))).collect();
    let output = |resource: &str, attribute: &str| outputs[resource].get(attribute).cloned();
    let fill = |placeholder: &Placeholder| env.fill(placeholder, output);
    let found = spec.resources.iter().filter(|it| everything || it.imported).map(|declared| {
        let schema = declared.schema();
        let mut props = resolve(&declared.desired, &fill);
        props.retain(|name, _| schema.property(name).is_some_and(|it| it.change != Rule::WriteOnly));
        let owner = match schema.identity {
            _ if declared.imported => Ownership::Unowned,
            Identity::Nested { .. } => Ownership::Inherited,
            Identity::Named { .. } | Identity::ServiceAssigned => Ownership::Engine(declared.id.owner.clone()),
        };
        let live = Live {
            props,
            outputs: outputs[declared.name.as_str()].clone(),
            owner,
            status: Status::Stable,
            unique_id: None,
            revision: None,
            timestamps: Timestamps::default(),
            notes: Vec::new(),
            unknown: std::collections::BTreeMap::new(),
        };
        (declared.name.clone(), Found { live: Some(live), ..Found::default() })
    });
    Inventory { found: found.collect(), ..Inventory::new(env.clone()) }
}

/// Measures planning all of `specs`, both in an empty account and with everything deployed.
fn measure(criterion: &mut Criterion<Processor>, what: &str, specs: &[Spec]) {
    let resources: usize = specs.iter().map(|spec| spec.resources.len()).sum();
    let mut group = criterion.benchmark_group(what);
    group.throughput(Throughput::Elements(u64::try_from(resources).unwrap()));
    for (case, everything) in [("create", false), ("no change", true)] {
        let inventories: Vec<Inventory> = specs.iter().map(|spec| inventory(spec, everything)).collect();
        let run = |spec: &Spec, inventory: &Inventory| plan(spec, inventory, Goal::Present, &Options::default());
        for (spec, inventory) in specs.iter().zip(&inventories) {
            let plan = run(spec, inventory);
            assert_eq!((plan.refusals().count(), plan.has_changes()), (0, !everything), "{case}");
        }
        group.bench_function(BenchmarkId::new(case, resources), |bencher| {
            bencher.iter(|| specs.iter().zip(&inventories).map(|(spec, it)| run(spec, it).steps.len()).sum::<usize>());
        });
    }
    group.finish();
}

fn planning(criterion: &mut Criterion<Processor>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spec.yaml");
    std::fs::write(&path, text(1)).unwrap();
    for teams in [200, 2000] {
        let specs: Vec<Spec> = (0..teams).map(|at| load(&path, &format!("owls{at}"))).collect();
        assert!(specs.iter().all(|spec| spec.resources.len() == FIVE));
        measure(criterion, "teams of five", &specs);
    }
    for pipelines in [20, 200, 1000] {
        std::fs::write(&path, text(pipelines)).unwrap();
        measure(criterion, "one spec", &[load(&path, "owls")]);
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(Processor).sample_size(20).warm_up_time(Duration::from_secs(1));
    targets = planning
}
criterion_main!(benches);
