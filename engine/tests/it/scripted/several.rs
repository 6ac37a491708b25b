//! Several specs in one command: a problem with any spec is reported before the first call, and a
//! failure affects only its team.

use std::fs;

use super::server::{Cloud, Fault};
use super::world::{Reply, World};
use super::{Project, is_write, writes};

/// A spec with only a table.
fn notes(team: &str, stack: &str, resource: &str) -> String {
    format!(
        "team: {team}\nregion: eu-central-1\nstack: {stack}\nresources:\n  {resource}:\n    type: table\n    \
         attributes: {{ id: S }}\n    hash_key: id\n    billing_mode: PAY_PER_REQUEST\n"
    )
}

#[test]
fn a_problem_with_any_spec_is_reported_before_the_first_call() {
    let long = "x".repeat(33);
    let longest = format!("    name: ${{team}}-{}\n", "n".repeat(240));
    let cases: [(&str, String, &[&str], &str); 5] = [
        ("a.yaml", notes("acme", "a", "lists"), &[], "are both team `acme`, stack `a`"),
        ("b.yaml", notes("acme", "b", "x").replace("hash", "name: acme-notes\n    hash"), &[], "are both the table"),
        (&long, String::new(), &["--teams", "teams.txt"], "line 2 of the list of teams `teams.txt` is not a team name"),
        ("red-foxes\nacme", String::new(), &["--teams", "teams.txt"], "is listed twice for team `acme`, stack `a`"),
        // Only the second team's name makes the table's name too long.
        (
            "a-team-of-many-many-people",
            longest,
            &["--teams", "teams.txt"],
            "has 267 characters, but the maximum is 255",
        ),
    ];
    for (case, text, flags, problem) in cases {
        let cloud = Cloud::start(World::empty());
        let project = Project::usual();
        project.spec(&notes("acme", "a", "notes"));
        let mut args = vec!["apply", "--yes", "specs/team.yaml"];
        if flags.is_empty() {
            fs::write(project.path("specs/other.yaml"), text).unwrap();
            args.push("specs/other.yaml");
        } else {
            project.spec(&(notes("acme", "a", "notes") + &text));
            fs::write(project.path("teams.txt"), format!("acme\n{case}\n")).unwrap();
            args.extend(flags);
        }
        let run = project.run(&cloud, &args);
        run.ends_with(1).complains(problem);
        assert_eq!(cloud.calls().len(), 0, "{case}");
    }
}

#[test]
fn a_refused_step_of_one_spec_stops_all_before_the_first_write() {
    let cloud = Cloud::start(World::empty());
    cloud.world(|world| {
        let mut table = World::one_table();
        table.tags = [("engine:team", "other"), ("engine:stack", "s"), ("engine:resource", "r")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        world.tables.insert("red-foxes-notes".to_owned(), table);
    });
    let project = Project::usual();
    project.spec(&notes("acme", "a", "notes"));
    fs::write(project.path("specs/other.yaml"), notes("red-foxes", "a", "notes")).unwrap();
    let run = project.run(&cloud, &["apply", "--yes", "specs/team.yaml", "specs/other.yaml"]);
    run.ends_with(1).says("+ notes (table acme-notes) will be created").complains("it belongs to team `other`");
    assert_eq!(writes(&cloud), [""; 0]);
}

#[test]
fn a_failing_team_stops_no_other_team() {
    let cloud = Cloud::start(World::empty());
    let project = Project::usual();
    project.spec(&notes("acme", "a", "notes"));
    fs::write(project.path("teams.txt"), "acme\nblue-owls\nred-foxes\n").unwrap();
    let text = "Subscriber limit exceeded: There is a limit of 2500 tables.";
    cloud.fault("CreateTable", 1..2, Fault::Answer(Reply::dynamodb("LimitExceededException", text)));
    let run = project.run(&cloud, &["apply", "specs/team.yaml", "--teams", "teams.txt"]);
    run.ends_with(3).says("limit of 2500 tables").says("Run the same command again to continue.");
    assert_eq!(run.out.matches("Apply complete! Resources: 1 added").count(), 2, "{}", run.out);
    assert_eq!(run.out.matches("Apply incomplete:").count(), 1, "{}", run.out);
    run.says("Total: 2 of 3 complete. Resources: 2 added, 0 changed, 0 destroyed.");
    assert_eq!(cloud.world(|world| world.tables.len()), 2);
    cloud.forget();
    project.run(&cloud, &["apply", "specs/team.yaml", "--teams", "teams.txt"]).ends_with(0).says("1 added");
    assert_eq!(cloud.world(|world| world.tables.len()), 3);
}

#[test]
fn several_teams_share_the_maximum_of_concurrent_steps() {
    let cloud = Cloud::start(World::empty());
    let project = Project::usual();
    project.spec(&notes("acme", "a", "notes"));
    fs::write(project.path("specs/other.yaml"), notes("acme", "b", "lists")).unwrap();
    fs::write(project.path("teams.txt"), "acme\nblue-owls\nred-foxes\n").unwrap();
    cloud.hold();
    let args = ["apply", "specs/team.yaml", "specs/other.yaml", "--teams", "teams.txt", "--parallelism", "1"];
    let running = project.start(&cloud, &args);
    cloud.release_until("CreateTable");
    // Without the limit, more creates would follow immediately.
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(cloud.held(1).len(), 1);
    cloud.let_go();
    running.end().ends_with(0);
    let calls = cloud.calls();
    let creates: Vec<_> = calls.iter().filter(|call| is_write(call)).collect();
    assert_eq!(creates.len(), 6);
    for pair in creates.windows(2) {
        assert!(pair[1].start >= pair[0].end.unwrap(), "{} overlaps {}", pair[1].about, pair[0].about);
    }
}
