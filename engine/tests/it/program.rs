//! A run of a program can't block the tests: it ends at its time limit or when its test drops it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::local::is_alive;
use crate::shared::program::{Program, Running};
use crate::support::{DEADLINE, eventually};

/// A shell that prints the ID of the process that it started, and waits for that process.
fn endless(limit: Duration) -> (Running, u32) {
    let mut shell = Program::new("sh", &std::env::temp_dir());
    let mut shell = shell.args(["-c", "sleep 600 & echo $!; wait"]).limit(limit).start();
    let child = shell.out.next().unwrap().parse().unwrap();
    (shell, child)
}

/// The panic message of `work`.
fn failure<T>(work: impl FnOnce() -> T) -> String {
    let why = catch_unwind(AssertUnwindSafe(work)).err().expect("it fails");
    why.downcast_ref::<String>().cloned().unwrap_or_default()
}

#[test]
fn a_run_that_exceeds_its_limit_fails_and_leaves_no_process() {
    let start = Instant::now();
    let (shell, child) = endless(Duration::from_secs(2));
    let said = failure(|| shell.end());
    assert!(said.starts_with("no end within 2s") && said.contains(&child.to_string()), "{said}");
    eventually("the process ends", || !is_alive(child));
    assert!(start.elapsed() < DEADLINE);
}

#[test]
fn a_missing_line_fails_the_test_and_a_run_ends_with_its_test() {
    let (mut shell, child) = endless(Duration::from_secs(2));
    let said = failure(|| shell.out.next());
    assert!(said.starts_with("no further line in time") && said.contains(&child.to_string()), "{said}");
    assert!(is_alive(child));
    drop(shell);
    eventually("the process ends", || !is_alive(child));
}

#[test]
fn a_run_does_not_inherit_the_environment_of_the_tests() {
    let ran = Program::new("env", &std::env::temp_dir()).run();
    let mut names: Vec<&str> = ran.out.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    names.sort_unstable();
    assert_eq!(names, ["AWS_EC2_METADATA_DISABLED", "HOME", "TZ"]);
}
