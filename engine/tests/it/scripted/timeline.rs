//! `--timeline`: the page of an apply that waits, is throttled, fails or is interrupted. A browser
//! shows the page without errors, and nothing starts if the page can't be written.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use engine::apply;
use engine::aws::recorder::CallResult;
use engine::live::{self, OrphanSearch};
use engine::plan::{self, Goal, Options};
use engine::timeline::{Axis, Timeline};

use super::library::{context, load, team};
use super::server::{Cloud, Fault};
use super::world::{Reply, World};
use super::{Project, Ran, TABLE, deployed, writes};
use crate::shared::program::Program;
use crate::support::installed_program;

const PAGE: &str = "timeline.html";

/// An account in which an apply waits, has a throttled call, and retries another call.
fn eventful() -> Cloud {
    let cloud = Cloud::start(World::empty());
    let throttled = Reply::dynamodb("ThrottlingException", "Rate exceeded");
    cloud.fault("CreateTable", 1..2, Fault::Answer(throttled));
    let busy = Reply::lambda(409, "ResourceConflictException", "The operation cannot be performed at this time.");
    cloud.fault("AddPermission", 1..2, Fault::Answer(busy));
    cloud
}

fn applied(project: &Project, cloud: &Cloud) -> (Ran, String) {
    let run = project.run(cloud, &["apply", "--yes", "--timeline", PAGE]);
    let page = fs::read_to_string(project.path(PAGE)).unwrap_or_else(|error| panic!("{error}: {}", run.err));
    (run, page)
}

/// The line with the total duration.
fn took(run: &Ran) -> &str {
    run.err.lines().find(|line| line.starts_with("Finished in ")).unwrap_or_else(|| panic!("{}", run.err))
}

/// The page's text, one line per block.
fn text_lines(page: &str) -> Vec<String> {
    let (_, body) = page.split_once("<body>").unwrap();
    let blocks = ["<h1", "<h2", "<p", "<li", "<dt", "<summary", "<tr", "<div", "<dd", "<section"];
    let mut text = String::new();
    for piece in body.split_inclusive('>') {
        let (before, tag) = piece.split_at(piece.find('<').unwrap_or(piece.len()));
        text.push_str(before);
        match blocks.iter().any(|block| tag.starts_with(block)) {
            true => text.push('\n'),
            false => text.push_str(if tag.starts_with("<td") { " | " } else { "" }),
        }
    }
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(|line| line.replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">")).collect()
}

/// The number of elements with this class in the chart.
fn n_of(page: &str, class: &str) -> usize {
    let (_, chart) = page.split_once("<div class=\"chart\"").unwrap();
    let (chart, _) = chart.split_once("<section class=\"legend\">").unwrap();
    chart
        .split("class=\"")
        .skip(1)
        .filter(|rest| rest.split('"').next().unwrap().split(' ').any(|it| it == class))
        .count()
}

#[test]
fn a_page_has_a_bar_per_step_with_waits_calls_and_the_critical_path() {
    let (run, page) = applied(&Project::usual(), &eventful());
    run.ends_with(0);
    assert_eq!((n_of(&page, "row"), n_of(&page, "bar")), (5, 5), "four steps and the reads");
    let all = text_lines(&page);
    let says = |said: &[String], piece: &str| {
        assert!(said.iter().any(|line| line.contains(piece)), "no `{piece}` in {said:#?}");
    };
    says(&all, "Critical path: todos (");
    says(&all, ") → todos-to-logger (");
    says(&all, "2 retried, 1 throttled");
    // Calls and waits are in the row of their step.
    let rows: Vec<Vec<String>> =
        page.split("<li class=\"row").skip(1).map(|row| text_lines(&format!("<body>{row}"))).collect();
    let [reads, table, function, permission, mapping] = rows.as_slice() else { panic!("{rows:#?}") };
    says(reads, "DescribeTable | blue-owls-todos | ");
    assert!(!reads.iter().any(|line| line.contains("Create") || line.contains("waited")), "{reads:#?}");
    says(table, "for the table to become ACTIVE, since AWS creates it in the background");
    says(table, "for AWS's rate limit");
    says(table, "CreateTable retry");
    says(table, "throttled");
    says(function, "CreateFunction | blue-owls-logger | ");
    says(permission, "since AWS reports: The operation cannot be performed at this time");
    says(permission, "AddPermission retry");
    says(permission, "ResourceConflictException");
    says(mapping, "CreateEventSourceMapping | ");
    says(mapping, "for the mapping to become ready");
    assert_eq!(n_of(&page, "critical"), 2, "of both its steps, and of nothing else");
    assert!(n_of(&page, "wait") >= 4 && n_of(&page, "call") > 20, "{page}");
    let last = took(&run);
    assert!(last.starts_with("Finished in ") && last.contains(". Critical path: todos ("), "{last}");
    assert!(last.contains(" s) -> todos-to-logger (") && last.ends_with(" s)"), "{last}");
}

#[test]
fn a_page_loads_nothing() {
    let (_, page) = applied(&Project::usual(), &eventful());
    for word in ["http:", "https:", "<script", "<link", "<img", "<iframe", "src=", "url(", "@import", "href="] {
        assert!(!page.contains(word), "{word}");
    }
    assert!(page.contains("Content-Security-Policy\" content=\"default-src 'none'"));
}

#[test]
fn failures_interrupts_and_empty_plans_have_a_page_too() {
    let project = Project::usual();
    let cloud = Cloud::start(World::empty());
    cloud.always("CreateTable", Fault::Answer(Reply::dynamodb("ValidationException", "no <such> table")));
    let (run, page) = applied(&project, &cloud);
    run.ends_with(3);
    let said = text_lines(&page);
    let has = |said: &[String], piece: &str| assert!(said.iter().any(|line| line.contains(piece)), "{said:#?}");
    has(&said, "creating failed, ");
    has(&said, "Incomplete: 3 of 4 steps failed or were skipped.");
    has(&said, "no <such> table");
    has(&said, "skipped, it depends on todos");
    assert!(!page.contains("<such>"), "what AWS says is text");
    took(&run);

    let cloud = Cloud::start(World::empty());
    cloud.hold();
    let running = project.start(&cloud, &["apply", "--yes", "--timeline", PAGE]);
    cloud.held_reads();
    cloud.release();
    // Permission checks come before the first write, so no step has started.
    cloud.held(2);
    running.press_ctrl_c();
    super::until("an interrupt", || running.said(), |said| said.contains("starting no new steps"));
    cloud.let_go();
    running.end().ends_with(130);
    let said = text_lines(&fs::read_to_string(project.path(PAGE)).unwrap());
    has(&said, "not started");
    has(&said, "Interrupted: AWS may still complete");

    let (run, page) = applied(&project, &deployed());
    run.ends_with(0);
    has(&text_lines(&page), "No changes.");
    assert!(!run.err.contains("Finished in "), "{}", run.err);
}

#[test]
fn a_second_ctrl_c_writes_a_page_with_what_is_known_so_far() {
    let project = Project::usual();
    let cloud = Cloud::start(World::empty());
    cloud.always("CreateTable", Fault::Silence);
    let running = project.start(&cloud, &["apply", "--yes", "--timeline", PAGE]);
    cloud.wait_for("CreateTable", 1);
    cloud.wait_for("CreateFunction", 1);
    running.press_ctrl_c();
    super::until("the first one to be heard", || running.said(), |said| said.contains("starting no new steps"));
    assert!(!project.path(PAGE).exists(), "the table still hangs");
    running.press_ctrl_c();
    running.end().ends_with(130);
    let page = fs::read_to_string(project.path(PAGE)).unwrap();
    let said = text_lines(&page);
    let has = |piece: &str| assert!(said.iter().any(|line| line.contains(piece)), "no `{piece}` in {said:#?}");
    has("Interrupted: AWS may still complete");
    has("creating interrupted, ");
    has("CreateTable | blue-owls-todos | ");
    has("no response before the end");
    has("CreateFunction | blue-owls-logger | ");
    // The function may or may not have been created before the interrupt.
    assert!(said.iter().any(|line| line == "not started" || line == "skipped, it depends on logger"), "{said:#?}");
    // The page of a complete run has no such notice.
    let (_, page) = applied(&project, &deployed());
    assert!(!page.contains("Interrupted: ") && !page.contains("Incomplete: "));
}

#[test]
fn several_specs_share_a_page_and_an_axis() {
    let project = Project::usual();
    fs::write(project.path("teams.txt"), "blue-owls\nred-foxes\n").unwrap();
    let cloud = Cloud::start(World::empty());
    let args = ["apply", "--yes", "--teams", "teams.txt", "--timeline", PAGE];
    let run = project.run(&cloud, &args);
    run.ends_with(0);
    let page = fs::read_to_string(project.path(PAGE)).unwrap();
    let headings: Vec<String> = text_lines(&page).into_iter().filter(|line| line.contains("/team account")).collect();
    assert_eq!(headings.len(), 2, "{headings:?}");
    assert_eq!(page.matches("<div class=\"scale\"").count(), 2);
    assert!(took(&run).contains(". Critical path: "), "{}", run.err);
    assert!(took(&run).contains("/team/todos ("), "{}", run.err);
}

#[test]
fn nothing_starts_if_the_page_cannot_be_written() {
    let project = Project::usual();
    fs::create_dir(project.path("folder")).unwrap();
    fs::write(project.path("notes.html"), "<!DOCTYPE html>mine").unwrap();
    let cloud = Cloud::start(World::empty());
    let cases = [
        ("nowhere/page.html", "No such file or directory"),
        ("folder", "it is a folder"),
        ("notes.html/page.html", "Not a directory"),
        ("notes.html", "already exists and is not a timeline"),
        ("specs/team.yaml", "already exists and is not a timeline"),
        ("/dev/null", "it is not a regular file"),
        ("/proc/page.html", ""),
    ];
    for (file, why) in cases {
        let run = project.run(&cloud, &["apply", "--yes", "--timeline", file]);
        run.ends_with(1).complains(why);
        assert_eq!(cloud.calls().len(), 0, "{file}");
    }
    assert_eq!(fs::read_to_string(project.path("notes.html")).unwrap(), "<!DOCTYPE html>mine");
    // engine overwrites its own page and leaves no temporary file.
    fs::create_dir(project.path("pages")).unwrap();
    for _ in 0..2 {
        project.run(&cloud, &["apply", "--yes", "--timeline", "pages/page.html"]).ends_with(0);
        let names: Vec<_> = fs::read_dir(project.path("pages")).unwrap().map(|it| it.unwrap().file_name()).collect();
        assert_eq!(names, ["page.html"]);
    }
}

#[test]
fn a_plan_that_is_not_applied_has_no_page() {
    let project = Project::usual();
    let cloud = deployed();
    project.run(&cloud, &["destroy", "--timeline", PAGE]).ends_with(1).complains("needs confirmation");
    assert!(!project.path(PAGE).exists() && writes(&cloud).is_empty());
    project.run(&cloud, &["destroy", "--yes", "--delete-data", "--timeline", PAGE]).ends_with(0);
    assert!(fs::read_to_string(project.path(PAGE)).unwrap().contains("destroyed, "));
}

#[test]
fn json_output_has_the_critical_path_as_fields() {
    let run = Project::usual().run(&Cloud::start(World::empty()), &["apply", "--yes", "--format", "json"]);
    let document: serde_json::Value = serde_json::from_str(&run.ends_with(0).out).unwrap();
    let timing = &document["timing"];
    let path: Vec<_> = timing["longest_pole"].as_array().unwrap().iter().map(|it| it["resource"].clone()).collect();
    assert_eq!(path, ["todos", "todos-to-logger"]);
    assert!(timing["seconds"].as_f64() >= timing["ideal_seconds"].as_f64());
    assert!(!run.err.contains("Finished in "), "{}", run.err);
}

/// On a paused clock, the page's times match those of the run.
#[tokio::test(start_paused = true)]
async fn a_hanging_call_is_shown_with_its_full_duration() {
    let cloud = Cloud::on_current_runtime(World::empty()).await;
    cloud.fault("CreateTable", 1..2, Fault::Silence);
    let mut spec = load(&Project::usual().path("specs/team.yaml"));
    let (cx, _press) = context(&cloud, team());
    cx.aws.recorder.start();
    let options = Options::default();
    let inventory = live::read(&cx, &spec, Goal::Present, &options, OrphanSearch::Ignored, None).await.unwrap();
    spec.resources.iter_mut().for_each(|declared| declared.id.env = Some(inventory.env.clone()));
    let plan = plan::plan(&spec, &inventory, Goal::Present, &options);
    let outcome = apply::apply(&cx, &spec, &inventory, &plan, 16, &mut |_| {}).await;
    let records = cx.aws.recorder.records();
    let axis = Axis::of([(&outcome.times, &records)].into_iter()).unwrap();
    let timeline = Timeline::new(&axis, &plan, &outcome, &records);
    let (_, table) = &timeline.bars[0];
    let create = table.calls.iter().find(|call| call.operation == "CreateTable").unwrap();
    assert_eq!((create.target.as_str(), create.answers.as_slice()), (TABLE, &[Some(CallResult::Nothing)][..]));
    // The time limit of a call.
    let hung = create.end - create.begin;
    assert!((Duration::from_secs(29)..Duration::from_secs(32)).contains(&hung), "{hung:?}");
    let again = table.calls.iter().filter(|call| call.operation == "CreateTable").nth(1);
    assert!(again.is_some_and(|call| call.is_retry && call.answers == [Some(CallResult::Done)]), "{:#?}", table.calls);
    assert!(table.waits.iter().any(|wait| wait.reason.starts_with("the table to become ACTIVE")), "{:#?}", table.waits);
    let reads = timeline.reads.as_ref().unwrap();
    assert!(reads.end <= table.begin && reads.calls.iter().any(|call| call.operation == "DescribeTable"));
    for (_, bar) in &timeline.bars {
        assert!(bar.ready <= bar.begin && bar.begin <= bar.end && bar.end <= axis.length, "{bar:#?}");
        let within = |begin, end| begin >= bar.begin && end <= bar.end && begin <= end;
        assert!(bar.calls.iter().all(|call| within(call.begin, call.end)), "{bar:#?}");
        assert!(bar.waits.iter().all(|wait| within(wait.begin, wait.end)), "{bar:#?}");
    }
    let timing = &timeline.timing;
    assert_eq!(timing.ideal, timing.path.iter().map(|link| link.share).sum::<Duration>());
    assert!(timing.ideal <= timing.total && timing.total >= hung, "{timing:?}");
}

/// The browser installed on this machine, if any.
pub(super) fn chromium() -> Option<PathBuf> {
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    names.into_iter().find_map(installed_program)
}

pub(super) fn browse(chromium: &Path, page: &Path, args: &[&str]) -> (String, String) {
    let profile = tempfile::tempdir().unwrap();
    let mut command = Program::new(chromium, profile.path());
    command.search_path().args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--hide-scrollbars",
    ]);
    command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
    command.args(["--enable-logging=stderr", "--v=0", "--window-size=1100,700"]).args(args);
    command.arg(format!("--user-data-dir={}", profile.path().display())).arg(format!("file://{}", page.display()));
    let ran = command.run();
    ran.ends_with(0);
    (ran.out, ran.err)
}

#[test]
fn a_browser_shows_the_page_without_console_messages() {
    let Some(chromium) = chromium() else {
        // The test runner captures the output of `eprintln!` in a passing test.
        let _ = writeln!(std::io::stderr(), "NOT RUN: no chromium on PATH to open the timeline in");
        return;
    };
    let project = Project::usual();
    let (run, _) = applied(&project, &eventful());
    run.ends_with(0);
    let page = fs::canonicalize(project.path(PAGE)).unwrap();
    let (shown, said) = browse(&chromium, &page, &["--dump-dom"]);
    assert!(!said.contains("CONSOLE"), "{said}");
    assert_eq!((n_of(&shown, "row"), n_of(&shown, "bar"), n_of(&shown, "critical")), (5, 5, 2), "{shown}");
    let picture = project.path("page.png");
    for flags in [&["--blink-settings=preferredColorScheme=1"][..], &["--blink-settings=preferredColorScheme=0"]] {
        let screenshot = format!("--screenshot={}", picture.display());
        let (_, said) = browse(&chromium, &page, &[flags, &[screenshot.as_str()]].concat());
        assert!(!said.contains("CONSOLE"), "{said}");
        // A screenshot of an empty page of this size has a few thousand bytes.
        assert!(fs::metadata(&picture).unwrap().len() > 20_000);
    }
    // A blocked script shows that console messages do appear in the log.
    let broken = project.path("broken.html");
    let text = fs::read_to_string(&page).unwrap().replace("</body>", "<script>1</script></body>");
    fs::write(&broken, text).unwrap();
    assert!(browse(&chromium, &fs::canonicalize(broken).unwrap(), &["--dump-dom"]).1.contains("CONSOLE"));
}
