//! What commands print around a plan: each fact once, for people or for programs.

use std::fs;

use serde_json::Value as Json;

use super::server::Cloud;
use super::world::World;
use super::{Project, deployed};

#[test]
fn a_successful_apply_names_what_it_wrote_and_the_next_commands() {
    let cloud = Cloud::start(World::empty());
    let project = Project::usual();
    let run = project.run(&cloud, &["apply", "--timeline", "where.html"]);
    run.ends_with(0)
        .complains("Wrote the timeline to where.html")
        .complains("Next: `engine verify`, then `engine logs`");
    let again = project.run(&cloud, &["apply"]);
    assert!(!again.ends_with(0).err.contains("Next:"), "nothing was applied");
    let destroyed = project.run(&cloud, &["destroy", "--yes"]);
    assert!(!destroyed.ends_with(0).err.contains("Next:"), "nothing is left");
    fs::rename(project.path("specs/team.yaml"), project.path("mine.yaml")).unwrap();
    let spec = fs::read_to_string(project.path("mine.yaml")).unwrap().replace("../lambda-src", "lambda-src");
    fs::write(project.path("mine.yaml"), spec).unwrap();
    let run = project.run(&cloud, &["apply", "-f", "mine.yaml", "--team", "red-foxes"]);
    let options = "--spec mine.yaml --team red-foxes";
    run.ends_with(0).complains(&format!("Next: `engine verify {options}`, then `engine logs {options}`"));
}

#[test]
fn with_a_json_log_every_line_of_stderr_is_a_document() {
    let cloud = Cloud::start(World::empty());
    let project = Project::usual();
    let mut n_lines = 0;
    let mut messages = |args: &[&str], code: i32| {
        let run = project.run(&cloud, &[args, &["--log-format", "json"]].concat());
        run.ends_with(code);
        let lines = run.err.lines().map(|line| serde_json::from_str::<Json>(line).unwrap_or_else(|_| panic!("{line}")));
        let texts = lines.map(|line| line["fields"]["message"].as_str().unwrap_or_default().to_owned());
        let texts: Vec<String> = texts.collect();
        n_lines += texts.len();
        texts.join("\n")
    };
    let applied = messages(&["apply"], 0);
    for words in ["todos: creating...", "todos: created after", "Apply complete! Resources: 4 added"] {
        assert!(applied.contains(words), "{words}: {applied}");
    }
    messages(&["apply", "-vv"], 0);
    assert!(messages(&["destroy"], 1).contains("confirmation") || cloud.count("DeleteTable") == 0);
    assert!(messages(&["destroy", "--yes"], 0).contains("Destroy complete! Resources: 4 destroyed."));
    messages(&["list"], 0);
    messages(&["preflight"], 0);
    messages(&["diff", "nowhere.yaml"], 1);
    messages(&["logs"], 1);
    assert_eq!(messages(&["apply", "--quiet"], 0), "");
    assert!(n_lines > 20, "{n_lines}");
}

#[test]
fn a_renamed_spec_file_is_one_error_with_one_hint() {
    let (cloud, project) = (deployed(), Project::usual());
    fs::rename(project.path("specs/team.yaml"), project.path("specs/other.yaml")).unwrap();
    for command in [&["diff"][..], &["apply", "--yes"]] {
        let run = project.run(&cloud, command);
        run.ends_with(1).complains("belong to the stack `team`").complains("add `stack: team` to the spec");
        assert_eq!(run.err.matches("error").count(), 1, "{}", run.err);
        assert!(run.out.lines().count() <= 4, "{}", run.out);
    }
}

#[test]
fn the_reason_for_a_refusal_is_shown_once() {
    let (cloud, project) = (deployed(), Project::usual());
    project.edit("resources:", "stack: web\n\nresources:");
    let run = project.run(&cloud, &["apply", "--yes"]);
    run.ends_with(1).complains("`todos` is refused: it belongs to team `blue-owls`");
    assert!(run.out.contains("! todos (table blue-owls-todos) is refused"), "{}", run.out);
    let whole = format!("{}{}", run.out, run.err);
    assert_eq!(whole.matches("resource `todos`").count(), 1, "{whole}");
}

#[test]
fn equal_plans_of_many_teams_are_shown_once() {
    let (cloud, project) = (Cloud::start(World::empty()), Project::usual());
    fs::write(project.path("teams.txt"), "red-foxes\nblue-owls\ngrey-geese\n").unwrap();
    let run = project.run(&cloud, &["diff", "--teams", "teams.txt"]);
    run.ends_with(0).says("3 teams: red-foxes, blue-owls, grey-geese; stack team").says("todos (table <team>-todos)");
    assert_eq!(run.out.matches("Plan:").count(), 1, "{}", run.out);
    let json = project.run(&cloud, &["diff", "--teams", "teams.txt", "--json"]);
    assert_eq!(json.ends_with(0).out.lines().count(), 3, "programs get each");
    project.run(&cloud, &["apply", "--team", "red-foxes"]).ends_with(0);
    let run = project.run(&cloud, &["diff", "--teams", "teams.txt"]);
    run.ends_with(0).says("2 teams: blue-owls, grey-geese; stack team").says("team red-foxes, stack team");
}

#[test]
fn a_list_shows_what_each_permission_and_mapping_connects() {
    let (cloud, project) = (deployed(), Project::usual());
    fs::write(project.path("teams.txt"), "blue-owls\nred-foxes\n").unwrap();
    for args in [&["list"][..], &["list", "--teams", "teams.txt"]] {
        let run = project.run(&cloud, args);
        run.ends_with(0).says("todos -> logger").says("logger-permission").says("blue-owls-logger-permission");
        assert_eq!(run.out.lines().count(), 5, "a head and four rows: {}", run.out);
    }
    project.run(&cloud, &["list", "--teams", "teams.txt"]).complains("Resources of team red-foxes, stack team in");
    let json: Json = serde_json::from_str(&project.run(&cloud, &["list", "--json"]).out).unwrap();
    let mapping = json["resources"].as_array().unwrap().iter().find(|it| it["kind"] == "mapping").unwrap();
    assert_eq!((&mapping["source"], &mapping["function"]), (&"blue-owls-todos".into(), &"blue-owls-logger".into()));
}
