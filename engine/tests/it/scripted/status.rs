//! `status` where something can't be read: its row says so, and the others are shown. Also what
//! `--watch` reads, and the page in a browser.

use std::fs;
use std::io::Write as _;
use std::time::{Duration, SystemTime};

use engine::render::status::{MappingRow, StackRow};
use engine::render::status_page;
use jiff::tz::TimeZone;
use serde_json::{Value as Json, json};

use super::server::{Cloud, Fault};
use super::timeline::{browse, chromium};
use super::world::Reply;
use super::{Project, TABLE, deployed};
use crate::shared::eventually;

fn denied(operation: &str) -> Fault {
    let text = format!("User: X is not authorized to perform: x:{operation} on resource: y");
    Fault::Answer(Reply::of(operation, 403, "AccessDeniedException", &text))
}

fn rows(project: &Project, cloud: &Cloud, args: &[&str], code: i32) -> Vec<Json> {
    let run = project.run(cloud, &[&["status", "--json"], args].concat());
    run.ends_with(code);
    let document: Json = serde_json::from_str(&run.out).unwrap();
    document["rows"].as_array().unwrap().clone()
}

#[test]
fn what_cannot_be_read_is_in_its_row() {
    let (cloud, project) = (deployed(), Project::usual());
    // Two specs: one of the two reads is refused.
    let text = fs::read_to_string(project.path("specs/team.yaml")).unwrap();
    fs::create_dir(project.path("all")).unwrap();
    fs::write(project.path("all/owls.yaml"), &text).unwrap();
    fs::write(project.path("all/foxes.yaml"), text.replace("team: blue-owls", "team: red-foxes")).unwrap();
    let specs = ["--specs", "all"];
    let both = rows(&project, &cloud, &specs, 0);
    let states: Vec<&Json> = both.iter().map(|row| &row["state"]).collect();
    assert!(states.contains(&&json!("not_deployed")) && states.len() == 2, "{states:?}");
    cloud.forget();
    cloud.fault("DescribeTable", 1..2, denied("DescribeTable"));
    let one = rows(&project, &cloud, &specs, 1);
    let unread: Vec<&Json> = one.iter().filter(|row| row["state"] == "unreadable").collect();
    assert_eq!(unread.len(), 1, "{one:#?}");
    assert!(unread[0]["problem"].as_str().unwrap().contains("AWS denied this call: "), "{unread:#?}");

    // Without the log, the rest of the row is known.
    cloud.always("FilterLogEvents", denied("FilterLogEvents"));
    let row = &rows(&project, &cloud, &[], 1)[0];
    assert!(row["log_problem"].as_str().unwrap().contains("denied") && row["present"] == 4, "{row:#}");
    let run = project.run(&cloud, &["status"]);
    run.ends_with(1).says("its log can't be read");
}

/// The tag index never lists roles.
#[test]
fn the_roles_of_teams_are_listed_by_their_prefixes_with_one_call() {
    let (cloud, project) = (deployed(), Project::usual());
    let tags = |team: &str, region: &str| {
        let tags =
            [("engine:team", team), ("engine:stack", "team"), ("engine:resource", "runner"), ("engine:region", region)];
        tags.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
    };
    cloud.world(|world| {
        world.add_role("blue-owls-runner", tags("blue-owls", "eu-central-1"));
        world.add_role("blue-owls-elsewhere", tags("blue-owls", "us-east-1"));
        world.add_role("blue-owls-theirs", tags("red-foxes", "eu-central-1"));
        world.add_role("red-foxes-runner", tags("red-foxes", "eu-central-1"));
        world.add_role("red-foxes-untagged", super::world::Tags::new());
    });
    fs::write(project.path("teams.txt"), "blue-owls\nred-foxes\n").unwrap();
    let teams = ["--teams", "teams.txt"];
    let present = |rows: &[Json]| rows.iter().map(|row| row["present"].clone()).collect::<Vec<_>>();
    let found = rows(&project, &cloud, &teams, 0);
    assert_eq!(present(&found), [json!(5), json!(1)], "{found:#?}");
    assert_eq!(cloud.count("ListRoles"), 1);
    assert!(found.iter().all(|row| row["unlisted"] == json!([])), "{found:#?}");
    let text = "User: X is not authorized to perform: iam:ListRoles";
    cloud.always("ListRoles", Fault::Answer(Reply::query(403, "AccessDenied", text)));
    let found = rows(&project, &cloud, &teams, 0);
    assert_eq!(present(&found), [json!(4), json!(0)], "{found:#?}");
    project.run(&cloud, &["status", "--teams", "teams.txt"]).ends_with(0).says("you lack permission for ListRoles");
}

#[test]
fn a_deleted_table_and_a_throttled_account_are_no_failure_of_the_command() {
    let (cloud, project) = (deployed(), Project::usual());
    cloud.world(|world| drop(world.tables.remove(TABLE)));
    let throttled = Reply::of("GetFunction", 429, "TooManyRequestsException", "Rate exceeded");
    cloud.fault("GetFunction", 1..2, Fault::Answer(throttled));
    let row = &rows(&project, &cloud, &["--detailed-exitcode"], 2)[0];
    assert_eq!((&row["state"], &row["present"]), (&json!("incomplete"), &json!(3)), "{row:#}");
}

#[test]
fn watching_reads_the_logs_again_and_the_resources_once_a_minute() {
    let (cloud, project) = (deployed(), Project::usual());
    let running = project.start(&cloud, &["status", "--watch"]);
    eventually("three reads of the log", || cloud.count("FilterLogEvents") >= 3);
    running.press_ctrl_c();
    running.end().ends_with(130);
    assert_eq!((cloud.count("GetFunction"), cloud.count("DescribeTable")), (1, 1));
    // A later read begins later.
    let starts: Vec<i64> = cloud
        .calls()
        .iter()
        .filter(|it| it.operation == "FilterLogEvents")
        .map(|it| it.body["startTime"].as_i64().unwrap())
        .collect();
    assert!(starts[1] > starts[0] && starts[2] > starts[1], "{starts:?}");
}

/// Twenty rows with every state.
fn twenty() -> Vec<StackRow> {
    let names = "blue-owls grey-herons red-foxes green-newts amber-bees black-cats brown-bears coral-crabs cyan-seals \
                 golden-eels indigo-jays ivory-swans jade-frogs lilac-moths olive-hawks pink-shrimps silver-wolves \
                 teal-turtles violet-voles white-geese";
    let row = |(at, name): (usize, &str)| {
        let name = name.to_owned();
        let now = 1_764_080_596_123 + i64::try_from(at).unwrap() * 61_000;
        let row = StackRow { team: name.clone(), name, n_present: 4, ..StackRow::default() };
        let off = MappingRow {
            name: "todos-to-logger".to_owned(),
            state: "disabled".to_owned(),
            is_enabled: false,
            problem: None,
        };
        match at % 6 {
            0 => StackRow { n_present: 0, ..row },
            1 => StackRow { seen: [Some(now), None, None], ..row },
            2 => StackRow { mappings: vec![off], seen: [Some(now), Some(now), None], ..row },
            3 if at == 3 => {
                StackRow { problem: Some("you lack the permission `lambda:GetFunction`".to_owned()), ..row }
            }
            _ => StackRow { seen: [Some(now), Some(now + 2_000), Some(now + 9_000)], ..row },
        }
    };
    names.split_whitespace().enumerate().map(row).collect()
}

#[test]
fn a_browser_shows_the_status_page_of_twenty_teams_without_console_messages() {
    let Some(chromium) = chromium() else {
        let _ = writeln!(std::io::stderr(), "NOT RUN: no chromium on PATH to open the board in");
        return;
    };
    let project = Project::usual();
    let again = Some(Duration::from_secs(5));
    let page = status_page::document(&twenty(), 1_764_080_000_000, SystemTime::UNIX_EPOCH, again, &TimeZone::UTC);
    fs::write(project.path("board.html"), page).unwrap();
    let page = fs::canonicalize(project.path("board.html")).unwrap();
    let (shown, said) = browse(&chromium, &page, &["--dump-dom"]);
    assert!(!said.contains("CONSOLE"), "{said}");
    let n_seen = twenty().iter().flat_map(|row| row.seen).flatten().count();
    assert_eq!((shown.matches("<h2>").count(), shown.matches("class=\"seen\"").count()), (20, n_seen), "{shown}");
    for (mode, flags) in
        [("dark", "--blink-settings=preferredColorScheme=0"), ("light", "--blink-settings=preferredColorScheme=1")]
    {
        let picture = std::env::var_os("ENGINE_PICTURES").map_or_else(|| project.path("."), Into::into);
        let picture = picture.join(format!("board-{mode}.png"));
        let screenshot = format!("--screenshot={}", picture.display());
        let (_, said) = browse(&chromium, &page, &[flags, &screenshot, "--window-size=1280,720"]);
        assert!(!said.contains("CONSOLE"), "{said}");
        assert!(fs::metadata(&picture).unwrap().len() > 20_000);
    }
}
