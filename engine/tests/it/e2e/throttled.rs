//! A shared account in which Lambda accepts fifteen control-plane calls per second from all clients
//! together.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::project::{ACCOUNT, Project};
use super::throttle::{ThrottledAws, is_counted, line, side_by_side, teams, throttled, together};
use super::{NO_CHANGES, TEAM};
use crate::shared::program::flat;
use crate::shared::proxy::Proxy;

const PLACE: &str = "waiting for AWS's rate limit";

/// Expects one pipeline for each of twenty teams, and nothing else.
fn expect_pipelines(project: &Project, shared: &ThrottledAws) {
    let teams = teams(20);
    let aws = project.account(ACCOUNT);
    let of = |kind: &str| aws.tags().into_iter().filter(|(name, _)| name.starts_with(kind)).collect::<Vec<_>>();
    for (kind, resource) in [("table", "todos"), ("function", "logger"), ("mapping", "todos-to-logger")] {
        let mut owners: Vec<String> = of(kind)
            .into_iter()
            .map(|(_, tags)| {
                assert_eq!([&tags["engine:stack"], &tags["engine:resource"]], ["team", resource]);
                tags["engine:team"].clone()
            })
            .collect();
        owners.sort();
        assert_eq!(owners, teams, "{kind}");
    }
    for team in &teams {
        let policy = aws.wait(aws.lambda.get_policy().function_name(format!("{team}-logger")).send()).policy.unwrap();
        assert_eq!(policy.matches(&format!("\"{team}-logger-permission\"")).count(), 1, "{policy}");
        assert_eq!(policy.matches("\"Sid\"").count(), 1, "{policy}");
    }
    let same = together(project, &shared.endpoint(), ACCOUNT, "diff", &teams).expect(0, &[]);
    assert!(same.out.starts_with(&format!("20 teams: {};", teams.join(", "))), "{same:#?}");
    assert_eq!(same.out.matches(NO_CHANGES).count(), 1, "equal plans are shown once: {same:#?}");
}

#[test]
fn one_process_applies_twenty_teams_despite_the_rate_limit() {
    let project = Project::new();
    project.run(&["diff", TEAM, "--local"]).expect(0, &[]);
    let shared = ThrottledAws::new(&project);
    let done = together(&project, &shared.endpoint(), ACCOUNT, "apply", &teams(20)).expect(0, &[]);
    assert_eq!(done.out.matches("Apply complete! Resources: 4 added, 0 changed, 0 destroyed.").count(), 20);
    expect_pipelines(&project, &shared);
}

#[test]
fn twenty_concurrent_processes_succeed_despite_the_rate_limit() {
    let project = Project::new();
    project.run(&["diff", TEAM, "--local"]).expect(0, &[]);
    let shared = ThrottledAws::new(&project);
    for done in side_by_side(&project, &shared.endpoint(), ACCOUNT, "apply", &teams(20)) {
        done.expect(0, &["Apply complete! Resources: 4 added, 0 changed, 0 destroyed."]);
    }
    // Otherwise the runs didn't reach the limit.
    assert!(shared.tally().n_throttled > 0);
    expect_pipelines(&project, &shared);
}

/// A proxy that throttles the counted Lambda calls with method `hit` until `open` is set.
struct Gate {
    proxy: Proxy,
    open: Arc<AtomicBool>,
    n_taken: Arc<AtomicUsize>,
}

impl Gate {
    fn new(project: &Project, hit: &'static str, more: &'static str) -> Gate {
        let (open, n_taken) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let proxy = {
            let (open, n_taken) = (Arc::clone(&open), Arc::clone(&n_taken));
            Proxy::new(&project.endpoint(), move |request| {
                if !is_counted(request) || line(request).0 != hit {
                    return request.forward();
                }
                if !open.load(Ordering::SeqCst) {
                    return throttled(more);
                }
                n_taken.fetch_add(1, Ordering::SeqCst);
                request.forward()
            })
        };
        Gate { proxy, open, n_taken }
    }
}

#[test]
fn a_throttled_run_reports_its_wait_and_continues_afterwards() {
    let project = Project::new();
    project.run(&["diff", TEAM, "--local"]).expect(0, &[]);
    // Throttle before the plan, and during the apply for longer than the SDK lets a request idle.
    for (hit, more) in [("GET", ""), ("POST", "retry-after: 25\r\n")] {
        let gate = Gate::new(&project, hit, more);
        let mut applying = project.command_at(&gate.proxy.endpoint(), ACCOUNT, &["apply", TEAM]).start();
        let said = applying.err.find(|line| line.contains(PLACE));
        assert!(said.is_some_and(|line| hit == "GET" || line.contains("logger: still creating")));
        assert_eq!(gate.n_taken.load(Ordering::SeqCst), 0);
        gate.open.store(true, Ordering::SeqCst);
        let rest: Vec<String> = applying.err.by_ref().collect();
        applying.end().ends_with(0).says("Apply complete! Resources: 4 added, 0 changed, 0 destroyed.");
        // A throttled call is not a network outage.
        assert!(!rest.iter().any(|line| line.contains("the network to come back")), "{rest:#?}");
        project.run(&["diff", TEAM, "--local"]).expect(0, &[NO_CHANGES]);
        project.run(&["destroy", TEAM, "--local", "--yes"]).expect(0, &[]);
    }
}

#[test]
fn ctrl_c_ends_the_rate_limit_wait_and_no_more_calls_are_sent() {
    let project = Project::new();
    project.run(&["diff", TEAM, "--local"]).expect(0, &[]);
    for hit in ["GET", "POST"] {
        // Longer than calls in flight may take.
        let gate = Gate::new(&project, hit, "retry-after: 60\r\n");
        let mut applying = project.command_at(&gate.proxy.endpoint(), ACCOUNT, &["apply", TEAM]).start();
        assert!(applying.err.any(|line| line.contains(PLACE)));
        applying.press_ctrl_c();
        let rest: String = applying.err.by_ref().collect::<Vec<_>>().join(" ");
        let ran = applying.end();
        ran.ends_with(130);
        let said = flat(&format!("{}{rest}", ran.out));
        assert!(!said.contains("AWS may or may not have carried it out"), "{said}");
        if hit == "POST" {
            assert!(said.contains("logger: interrupted while waiting for AWS's rate limit"), "{said}");
        }
        assert_eq!(gate.n_taken.load(Ordering::SeqCst), 0);
        project.run(&["apply", TEAM, "--local"]).expect(0, &[]);
        project.run(&["destroy", TEAM, "--local", "--yes"]).expect(0, &[]);
    }
}
