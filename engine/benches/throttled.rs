//! How long twenty teams take in an account that they share, which takes fifteen of Lambda's
//! control calls a second from all of them together: by one process for all, and by a process for
//! each. It also shows the time that the limit itself requires for as many calls. The limit is a
//! token bucket in front of the local AWS; minutes, and most of it waiting.

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
    use std::time::Instant;

    use shared::project::Project;
    use throttle::{RATE, Shared, side_by_side, teams, together};

    const ACCOUNT: &str = "000000000001";
    let everybody = teams(20);
    println!("{:28} {:>8} {:>8} {:>8} {:>6} {:>6}", "twenty teams", "wall", "least", "calls", "429s", "failed");
    type Measured = fn(&Project, &str, &[String]) -> usize;
    let one: Measured =
        |project, endpoint, teams| usize::from(together(project, endpoint, ACCOUNT, "apply", teams).code() != Some(0));
    let many: Measured = |project, endpoint, teams| {
        side_by_side(project, endpoint, ACCOUNT, "apply", teams).iter().filter(|ran| ran.code() != Some(0)).count()
    };
    for (what, apply) in [("apply, one process", one), ("apply, twenty processes", many)] {
        let project = Project::new();
        // The role is somebody else's.
        project.run(&["diff", "specs/team.yaml", "--local"]).expect(0, &[]);
        for what in [what, "the same again, no changes"] {
            let shared = Shared::new(&project);
            let start = Instant::now();
            let n_failed = apply(&project, &shared.endpoint(), &everybody);
            let (wall, tally) = (start.elapsed().as_secs_f64(), shared.tally());
            // What is there at first, then so many a second.
            let least = ((tally.n_taken as f64 - RATE) / RATE).max(0.0);
            let (calls, throttled) = (tally.n_taken, tally.n_throttled);
            println!("{what:28} {wall:>6.1} s {least:>6.1} s {calls:>8} {throttled:>6} {n_failed:>6}");
        }
    }
}

#[cfg(not(unix))]
fn main() {}
