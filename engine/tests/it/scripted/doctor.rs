//! What `doctor` reports about an account, and what it keeps out of its output.

use serde_json::Value as Json;

use super::server::Cloud;
use super::world::World;
use super::{Project, replaced};

fn checks(cloud: &Cloud, project: &Project, code: i32) -> Vec<(String, String, String)> {
    let run = project.run(cloud, &["doctor", "--format", "json"]);
    run.ends_with(code);
    for secret in ["123456789012", "AKIAEXAMPLE", "secret", &project.path("home").display().to_string()] {
        assert!(!run.out.contains(secret), "{secret} in {}", run.out);
    }
    let document: Json = serde_json::from_str(&run.out).unwrap();
    let text = |check: &Json, key: &str| check[key].as_str().unwrap_or_default().to_owned();
    let all = document["checks"].as_array().unwrap();
    all.iter().map(|it| (text(it, "check"), text(it, "state"), text(it, "found") + "|" + &text(it, "hint"))).collect()
}

#[track_caller]
fn expect(checks: &[(String, String, String)], what: &str, state: &str, words: &str) {
    let found = checks.iter().find(|(check, ..)| check == what).unwrap_or_else(|| panic!("no {what}: {checks:#?}"));
    assert!(found.1 == state && found.2.contains(words), "{found:?}");
}

#[test]
fn a_healthy_account_is_reported_line_by_line() {
    let cloud = Cloud::start(World { simulated: Some(("allowed", false)), ..World::empty() });
    let checks = checks(&cloud, &Project::usual(), 0);
    expect(&checks, "spec", "ok", "specs/team.yaml, team blue-owls, stack team, 5 resources");
    expect(&checks, "region", "ok", "eu-central-1 (the spec's)");
    expect(&checks, "endpoint", "ok", "(--endpoint-url)");
    expect(&checks, "credentials", "ok", "AKIA… from environment variables");
    expect(&checks, "account", "ok", "********9012, as user/student");
    // A busy machine takes a second for the call.
    expect(&checks, "clock", "ok", "AWS's");
    expect(&checks, "permissions", "ok", "you have all");
}

#[test]
fn missing_permissions_are_named() {
    let cloud = Cloud::start(World { simulated: Some(("implicitDeny", false)), ..World::empty() });
    let some = checks(&cloud, &Project::usual(), 0);
    expect(&some, "permissions", "note", "dynamodb:CreateTable");
    expect(&some, "permissions", "note", "engine policy --for apply");
    let cloud = Cloud::start(World::empty());
    expect(&checks(&cloud, &Project::usual(), 0), "permissions", "note", "couldn't be checked with IAM");
}

#[test]
fn each_problem_has_a_next_step() {
    let other = Project::new(|text| replaced(&text, "region: eu", "account: \"999999999999\"\nregion: eu"));
    let cloud = Cloud::start(World::empty());
    expect(&checks(&cloud, &other, 1), "account", "problem", "--profile");
    let broken = Project::new(|text| replaced(&text, "hash_key: id", "hash_kee: id"));
    let found = checks(&cloud, &broken, 1);
    expect(&found, "spec", "problem", "engine validate");
    expect(&found, "account", "ok", "user/student");
    let ahead = Cloud::start(World { date: Some("Wed, 21 Oct 2015 07:28:00 GMT"), ..World::empty() });
    expect(&checks(&ahead, &Project::usual(), 1), "clock", "problem", "ahead of AWS's");
    // Every call is about the caller, none about a resource.
    assert_eq!(cloud.calls().iter().filter(|call| call.operation.starts_with("Describe")).count(), 0);
}
