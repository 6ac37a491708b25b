//! How long runs take within Lambda's rate limits: twenty teams in an account that they share, by
//! one process for all and by a process for each; and one spec with 1,000 resources. It also shows
//! the time that the limits require at least. The limits are token buckets in front of the local
//! AWS; minutes, and most of it waiting.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::print_stdout)]
// What the tests need of these is more than this does.
#![allow(dead_code)]

#[path = "../tests/shared/mod.rs"]
mod shared;
#[cfg(unix)]
#[path = "../tests/shared/throttle.rs"]
mod throttle;

#[cfg(unix)]
fn main() {
    use std::time::{Duration, Instant};

    use shared::project::Project;
    use throttle::{RATE, ThrottledAws, side_by_side, teams, together};

    const ACCOUNT: &str = "000000000001";
    const LIMIT: Duration = Duration::from_secs(600);
    let everybody = teams(20);
    println!("{:28} {:>8} {:>8} {:>8} {:>6} {:>6}", "twenty teams", "wall", "least", "calls", "429s", "failed");
    type CountFailures = fn(&Project, &str, &[String]) -> usize;
    let one: CountFailures =
        |project, endpoint, teams| usize::from(together(project, endpoint, ACCOUNT, "apply", teams).code() != Some(0));
    let many: CountFailures = |project, endpoint, teams| {
        side_by_side(project, endpoint, ACCOUNT, "apply", teams).iter().filter(|ran| ran.code() != Some(0)).count()
    };
    for (what, apply) in [("apply, one process", one), ("apply, twenty processes", many)] {
        let project = Project::new();
        // Starts the local AWS, which creates the imported role.
        project.run(&["diff", "specs/team.yaml", "--local"]).expect(0, &[]);
        for what in [what, "the same again, no changes"] {
            let shared = ThrottledAws::new(&project);
            let start = Instant::now();
            let n_failed = apply(&project, &shared.endpoint(), &everybody);
            let (wall, tally) = (start.elapsed().as_secs_f64(), shared.tally());
            let least = ((tally.n_taken as f64 - RATE) / RATE).max(0.0);
            let (calls, throttled) = (tally.n_taken, tally.n_throttled);
            println!("{what:28} {wall:>6.1} s {least:>6.1} s {calls:>8} {throttled:>6} {n_failed:>6}");
        }
    }
    measure_status(ACCOUNT, &everybody);
    // Per resource one create, update or delete, one read before it and one after it: for the
    // control plane, GetFunction and GetPolicy. The function and its permission are read with calls
    // of limits of their own, and the table with those of DynamoDB, which documents none.
    const PIPELINES: usize = 250;
    let read = [PIPELINES, PIPELINES, PIPELINES];
    let write = [5 * PIPELINES, 2 * PIPELINES, 2 * PIPELINES];
    println!("\n{:28} {:>8} {:>8} {:>8} {:>8} {:>6}", "1,000 resources", "wall", "least", "ratio", "calls", "429s");
    let project = Project::new();
    project.run(&["diff", "specs/team.yaml", "--local"]).expect(0, &[]);
    project.write("specs/many.yaml", &pipelines(PIPELINES));
    for (what, args, bound) in [
        ("apply", &["apply", "specs/many.yaml"][..], write),
        ("diff, no changes", &["diff", "specs/many.yaml", "--detailed-exitcode"], read),
        ("destroy", &["destroy", "specs/many.yaml", "--yes"], write),
    ] {
        let shared = ThrottledAws::new(&project);
        let start = Instant::now();
        let ran = project.command_at(&shared.endpoint(), ACCOUNT, args).limit(LIMIT).run();
        let wall = start.elapsed().as_secs_f64();
        ran.expect(0, &[]);
        let (tallies, least) = (shared.tallies(), least(bound));
        let calls = [tallies[0], tallies[1], tallies[2]].map(|tally| tally.n_taken.to_string()).join("+");
        let throttled: usize = tallies.iter().map(|tally| tally.n_throttled).sum();
        println!("{what:28} {wall:>6.1} s {least:>6.1} s {:>8.2} {calls:>8} {throttled:>6}", wall / least);
    }
}

/// The first round of `status` for all teams, next to the time that the limits require for its calls.
#[cfg(unix)]
fn measure_status(account: &str, everybody: &[String]) {
    let project = shared::project::Project::new();
    project.run(&["diff", "specs/team.yaml", "--local"]).expect(0, &[]);
    throttle::together(&project, &project.endpoint(), account, "apply", everybody).expect(0, &[]);
    println!(
        "\n{:28} {:>8} {:>8} {:>8} {:>8} {:>6}",
        "board of twenty teams", "wall", "least", "ratio", "calls", "429s"
    );
    let shared = throttle::ThrottledAws::new(&project);
    let start = std::time::Instant::now();
    let args = ["status", "--teams", "teams.txt"];
    let ran = project.command_at(&shared.endpoint(), account, &args).run().expect(0, &[]);
    let wall = start.elapsed().as_secs_f64();
    assert_eq!(ran.out.lines().count(), everybody.len() + 1, "{}", ran.out);
    let tallies = shared.tallies();
    let least = least(tallies.map(|tally| tally.n_taken));
    let calls = tallies.map(|tally| tally.n_taken.to_string()).join("+");
    let throttled: usize = tallies.iter().map(|tally| tally.n_throttled).sum();
    println!("{:28} {wall:>6.1} s {least:>6.1} s {:>8.2} {calls:>8} {throttled:>6}", "first round", wall / least);
}

/// The minimum time in seconds that the limits allow for these numbers of calls: a full bucket of
/// tokens at once, then the rate per second.
#[cfg(unix)]
fn least<const N: usize>(calls: [usize; N]) -> f64 {
    calls.iter().zip(throttle::RATES).map(|(calls, rate)| (*calls as f64 - rate) / rate).fold(0.0, f64::max)
}

/// A spec with `count` pipelines of four resources each, and their role.
#[cfg(unix)]
fn pipelines(count: usize) -> String {
    use std::fmt::Write as _;

    let mut spec = "team: blue-owls\nregion: eu-central-1\nresources:\n  role:\n    type: role\n    import: \
                    fhms-pulumi-challenge-lambda-execution-role\n"
        .to_owned();
    for at in 1..=count {
        write!(
            spec,
            "  table-{at}:
    type: table
    attributes: {{ id: S }}
    hash_key: id
    billing_mode: PAY_PER_REQUEST
    stream_view_type: NEW_IMAGE
  function-{at}:
    type: function
    runtime: nodejs22.x
    handler: index.handler
    role: ${{role.arn}}
    code: {{ inline: 'exports.handler = async () => {{}};' }}
  permission-{at}:
    type: permission
    function: ${{function-{at}.arn}}
    principal: dynamodb.amazonaws.com
    source_arn: ${{table-{at}.stream_arn}}
  mapping-{at}:
    type: mapping
    function: ${{function-{at}.arn}}
    event_source_arn: ${{table-{at}.stream_arn}}
    starting_position: LATEST
"
        )
        .unwrap();
    }
    spec
}

#[cfg(not(unix))]
fn main() {}
