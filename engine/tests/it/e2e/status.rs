//! `status` for one stack, for specs and for teams: what is deployed, and which changes reached the
//! functions, on real tables, streams and functions.

use serde_json::{Value as Json, json};

use super::TEAM;
use super::project::{ACCOUNT, Project, patiently};
use crate::shared::program::flat;

/// The rows of a JSON status by name.
fn rows(project: &Project, args: &[&str], code: i32) -> Vec<Json> {
    let ran = project.run(&[&["status", "--json", "--local"], args].concat()).expect(code, &[]);
    let documents = ran.json();
    let [document] = &documents[..] else { panic!("one document: {ran:#?}") };
    assert_eq!(document["format_version"], 1);
    document["rows"].as_array().unwrap().clone()
}

#[test]
fn a_stack_is_deployed_then_working_then_drifted() {
    let project = Project::new();
    project.run(&["status", "--local"]).expect(1, &["the local AWS of this project is not running"]);
    project.run(&["diff", TEAM, "--local"]);
    let row = |code| rows(&project, &["--detailed-exitcode"], code).remove(0);
    assert_eq!(row(2)["state"], "not_deployed");
    project.run(&["apply", TEAM, "--local"]).expect(0, &["Apply complete!"]);
    let deployed = row(0);
    assert_eq!(
        (&deployed["state"], &deployed["present"], &deployed["declared"]),
        (&json!("deployed"), &json!(4), &json!(4))
    );
    assert_eq!(deployed["mappings"][0]["state"], "enabled");
    assert_eq!(deployed["seen"], json!({ "INSERT": null, "MODIFY": null, "REMOVE": null }));

    // What engine passes to the function doesn't show that the stream works.
    for record in ["insert", "modify", "remove"] {
        project.run(&["invoke", "logger", "--record", record, "--local"]).expect(0, &[]);
    }
    project.account(ACCOUNT).await_log("blue-owls-logger", &["REMOVE"]);
    assert_eq!(row(0)["seen"], json!({ "INSERT": null, "MODIFY": null, "REMOVE": null }));

    let items = |args: &[&str]| project.run(&[&["items"], args, &["--local"]].concat()).expect(0, &[]);
    items(&["put", "todos", r#"{"id":"7","text":"a"}"#]);
    items(&["put", "todos", r#"{"id":"7","text":"b"}"#]);
    assert!(patiently(|| !row(0)["seen"]["MODIFY"].is_null()));
    assert_eq!(row(0)["state"], "deployed", "nothing was removed yet");
    items(&["delete", "todos", r#"{"id":"7"}"#]);
    assert!(patiently(|| row(0)["state"] == "working"));
    let shown = project.run(&["status", "--local"]).expect(0, &["working", "4 of 4", "1 of 1 working"]);
    assert!(shown.out.lines().all(|line| line.chars().count() <= 80), "{}", shown.out);

    project.edit(TEAM, &[("handler: index.handler\n", "handler: index.handler\n    memory_size: 256\n")]);
    let drifted = row(2);
    assert_eq!((&drifted["state"], &drifted["changes"]), (&json!("drifted"), &json!(1)));
    project.edit(TEAM, &[("    memory_size: 256\n", ""), ("TRIM_HORIZON\n", "TRIM_HORIZON\n    enabled: false\n")]);
    project.run(&["apply", TEAM, "--local"]).expect(0, &[]);
    assert_eq!(row(2)["state"], "not_enabled");
}

#[test]
fn a_row_of_a_team_shows_what_has_its_tags_and_a_broken_spec_hides_no_other() {
    let project = Project::new();
    project.write("teams.txt", "blue-owls\nred-foxes\ngrey-geese\n");
    project.write("two.txt", "blue-owls\nred-foxes\n");
    project.run(&["apply", TEAM, "--teams", "two.txt", "--local"]).expect(0, &[]);
    let aws = project.account(ACCOUNT);
    aws.put_item("red-foxes-todos", "7", "x");
    aws.await_log("red-foxes-logger", &["INSERT"]);
    let teams = rows(&project, &["--teams", "teams.txt"], 0);
    let of = |name: &str| teams.iter().find(|row| row["name"] == name).unwrap();
    assert_eq!(teams.iter().map(|row| &row["name"]).collect::<Vec<_>>(), ["blue-owls", "red-foxes", "grey-geese"]);
    assert_eq!((&of("grey-geese")["state"], &of("blue-owls")["state"]), (&json!("not_deployed"), &json!("deployed")));
    assert!(!of("red-foxes")["seen"]["INSERT"].is_null() && of("blue-owls")["seen"]["INSERT"].is_null());
    assert_eq!(of("red-foxes")["stacks"], json!(["team"]));
    aws.wait(aws.dynamodb.delete_table().table_name("red-foxes-todos").send());
    let teams = rows(&project, &["--teams", "teams.txt", "--detailed-exitcode"], 2);
    let foxes = teams.iter().find(|row| row["name"] == "red-foxes").unwrap();
    assert_eq!((&foxes["state"], &foxes["missing"]), (&json!("incomplete"), &json!(["red-foxes-todos"])));
    let said = project.run(&["status", "--teams", "teams.txt", "--local"]).expect(0, &[]);
    assert!(flat(&said.out).contains("`red-foxes-todos` doesn't exist"), "{}", said.out);

    // Of a folder, each spec is a row, with errors too.
    std::fs::create_dir(project.path("all")).unwrap();
    project.write("all/owls.yaml", &project.read(TEAM));
    project.write("all/geese.yaml", "team: grey-geese\nresources: { t: { type: tabel } }\n");
    let specs = rows(&project, &["--specs", "all"], 1);
    let broken = specs.iter().find(|row| row["name"] == "geese").unwrap();
    assert!(broken["problem"].as_str().unwrap().contains("its spec all/geese.yaml has errors"), "{broken}");
    assert_eq!(specs.len(), 2);
    project.run(&["status", "--specs", "all", "--local"]).expect(1, &["can't be read", "tabel"]);

    // What another stack owns is not deployed, whatever its log shows.
    project.write("specs/other.yaml", &project.read(TEAM).replace("team: blue-owls", "stack: other\nteam: blue-owls"));
    let other = &rows(&project, &["specs/other.yaml"], 0)[0];
    assert_eq!((&other["state"], &other["present"]), (&json!("not_deployed"), &json!(0)), "{other:#}");
    assert!(other["refused"].as_str().unwrap().contains("stack `team`"), "{other:#}");
}

#[test]
fn the_page_is_replaced_while_watching_and_overwrites_nothing_else() {
    let project = Project::new();
    project.run(&["apply", TEAM, "--local"]).expect(0, &[]);
    let html = ["status", "--format", "html", "--local"];
    project.run(&[&html[..], &["--watch"]].concat()).expect(64, &["add `--output board.html`"]);
    project.run(&["status", "--output", "x.html", "--local"]).expect(64, &["add `--format html`"]);
    project.write("mine.html", "<p>mine</p>");
    project.run(&[&html[..], &["--output", "mine.html"]].concat()).expect(1, &["is not a status page"]);
    let running = project.command(&[&html[..], &["--watch", "--output", "board.html"]].concat()).start();
    let page = || std::fs::read_to_string(project.path("board.html")).unwrap_or_default();
    assert!(patiently(|| page().contains("blue-owls")));
    project.account(ACCOUNT).put_item("blue-owls-todos", "7", "x");
    assert!(patiently(|| page().contains("class=\"seen\"")), "{}", page());
    running.press_ctrl_c();
    running.end().ends_with(130);
    let page = page();
    assert!(page.contains("http-equiv=\"refresh\"") && page.ends_with("</html>\n"), "{page}");
    for word in ["http:", "https:", "<script", "<link", "<img", "src=", "url(", "@import", "href="] {
        assert!(!page.contains(word), "{word}");
    }
    // A page that is printed once isn't loaded again.
    let once = project.run(&html).expect(0, &[]);
    assert!(!once.out.contains("http-equiv=\"refresh\""), "{}", once.out);
}
