//! What a user sees while an apply runs: on a wide, narrow, low or resized terminal, on a terminal
//! that can't draw, in a log, and through a screen reader. The tests use a virtual terminal in
//! virtual time, and the real program on a real terminal.

use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::io::Write;
use std::rc::Rc;
use std::time::Duration;

use avt::Terminal;
use engine::apply::{self, Event, StepOutcome};
use engine::aws::{AwsError, Code};
use engine::plan::{Goal, Plan, StepId};
use engine::render::{OutputStyle, Progress, TICK};
use insta::assert_snapshot;
use rexpect::session::PtySession;
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::time::{Instant, sleep};

use crate::schedule::{ResourceNode, Stage, node};
use crate::scripted::{Cloud, Project, World};
use crate::support::eventually;

const PLAIN: OutputStyle = OutputStyle { color: false, width: 80, plain: false };

/// A terminal that keeps its scrollback and wraps its lines when it becomes narrower.
#[derive(Clone)]
struct TestScreen {
    terminal: Rc<RefCell<Terminal>>,
    size: Rc<Cell<(usize, usize)>>,
    frames: Rc<Cell<usize>>,
}

impl TestScreen {
    fn new(columns: usize, lines: usize) -> TestScreen {
        let terminal = Terminal::with_scrollback(columns, lines, None).unwrap();
        TestScreen {
            terminal: Rc::new(RefCell::new(terminal)),
            size: Rc::new(Cell::new((columns, lines))),
            frames: Rc::default(),
        }
    }

    fn resize(&self, columns: usize, lines: usize) {
        self.size.set((columns, lines));
        self.terminal.borrow_mut().resize(columns, lines);
    }

    /// All lines, including the scrollback.
    fn text(&self) -> String {
        let terminal = self.terminal.borrow();
        let lines: Vec<String> = terminal.screen().all_lines().map(|line| line.text().trim_end().to_owned()).collect();
        lines.join("\n").trim_matches('\n').to_owned()
    }

    fn progress(&self, look: OutputStyle, live: bool) -> Progress {
        let size = Rc::clone(&self.size);
        Progress::on(Box::new(self.clone()), Box::new(move || Some(size.get())), look, live, false)
    }
}

impl Write for TestScreen {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let text = std::str::from_utf8(bytes).unwrap();
        // Converts line ends as a terminal driver does.
        self.terminal.borrow_mut().feed(text.replace('\n', "\r\n"));
        self.frames.set(self.frames.get() + 1);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Applies, and captures the screen at each of these milliseconds, before the moment's change.
async fn watch(
    stage: &Stage,
    nodes: &[ResourceNode],
    mut progress: Progress,
    screen: &TestScreen,
    moments: &[Checkpoint],
) -> String {
    let spec = stage.spec(nodes);
    let (inventory, plan) = stage.plan(&spec, Goal::Present).await;
    progress.begin(0, "", &plan);
    let progress = RefCell::new(progress);
    let start = Instant::now();
    let mut story = String::new();
    {
        let mut hear = |event: &Event| progress.borrow_mut().event(0, event);
        let run = apply::apply(&stage.cx, &spec, &inventory, &plan, 16, &mut hear);
        let mut run = std::pin::pin!(run);
        let mut moments = moments.iter();
        let mut next = moments.next();
        loop {
            tokio::select! {
                biased;
                _ = &mut run => break,
                () = sleep(TICK) => {}
            }
            progress.borrow_mut().tick();
            let now = u64::try_from(start.elapsed().as_millis()).unwrap();
            if let Some((at, meddle)) = next.filter(|(at, _)| *at <= now) {
                writeln!(story, "-- after {at} ms, {} x {}", screen.size.get().0, screen.size.get().1).unwrap();
                writeln!(story, "{}", screen.text()).unwrap();
                meddle(screen);
                next = moments.next();
            }
        }
    }
    drop(progress);
    writeln!(story, "-- at the end\n{}", screen.text()).unwrap();
    story
}

type Checkpoint = (u64, fn(&TestScreen));

/// Two chains, a step that fails, and its dependents.
fn nodes() -> Vec<ResourceNode> {
    vec![
        node("slow"),
        node("quick"),
        node("broken"),
        node("after-slow").uses(&["slow"]),
        node("after-broken").uses(&["broken", "slow"]),
        node("tie").ties("slow"),
    ]
}

fn stage() -> Stage {
    let stage = Stage::new();
    stage.set_durations("slow", 1000, 9000, 0);
    stage.set_durations("broken", 2000, 0, 0);
    stage.refuse("broken");
    stage
}

const NOTHING: fn(&TestScreen) = |_| {};

#[tokio::test(start_paused = true)]
async fn steps_keep_their_places_until_done_and_failures_stay_visible() {
    let screen = TestScreen::new(80, 24);
    let moments: [Checkpoint; 4] = [(250, NOTHING), (1500, NOTHING), (6000, NOTHING), (10_050, NOTHING)];
    let story = watch(&stage(), &nodes(), screen.progress(PLAIN, true), &screen, &moments).await;
    assert_snapshot!(story);
    // The screen is redrawn only once a second and for each event.
    assert!(screen.frames.get() < 40, "{}", screen.frames.get());
}

#[tokio::test(start_paused = true)]
async fn the_reason_for_a_wait_is_shown_as_far_as_it_fits() {
    let stage = Stage::new();
    let spec = stage.spec(&[node("todos"), node("other"), node("pipe").uses(&["todos", "other"])]);
    let (_, plan) = stage.plan(&spec, Goal::Present).await;
    let news = "the table to become ACTIVE, since AWS creates it in the background, some seconds as a rule";
    let mut story = String::new();
    for columns in [160, 80, 60, 50, 30] {
        let screen = TestScreen::new(columns, 24);
        let mut progress = screen.progress(PLAIN, true);
        progress.begin(0, "", &plan);
        progress.event(0, &Event::Started(StepId(0)));
        progress.event(0, &Event::Waiting(StepId(0), news.to_owned()));
        writeln!(story, "{}", screen.text()).unwrap();
    }
    assert_snapshot!(story);
}

#[tokio::test(start_paused = true)]
async fn a_window_that_becomes_narrower_and_wider_keeps_each_line_once() {
    // Earlier output has filled the window.
    let screen = TestScreen::new(80, 24);
    screen.terminal.borrow_mut().feed("\r\n".repeat(24));
    let moments: [Checkpoint; 4] = [
        (3000, |screen| screen.resize(40, 24)),
        (5000, |screen| screen.resize(28, 24)),
        (6000, |screen| screen.resize(100, 24)),
        (8000, NOTHING),
    ];
    let story = watch(&stage(), &nodes(), screen.progress(PLAIN, true), &screen, &moments).await;
    assert_snapshot!(story);
    assert!(!screen.text().contains(" waits for ") && !screen.text().contains(": creating,"), "{story}");
}

#[tokio::test(start_paused = true)]
async fn a_low_window_shows_the_steps_that_fit_and_counts_the_rest() {
    let names: Vec<String> = (0..30).map(|n| format!("thing-{n:02}")).collect();
    let nodes: Vec<ResourceNode> = names.iter().map(|name| node(name)).collect();
    let stage = Stage::new();
    names.iter().for_each(|name| stage.set_durations(name, 2000, 3000, 0));
    stage.set_durations("thing-29", 500, 0, 0);
    stage.refuse("thing-02");
    let screen = TestScreen::new(60, 10);
    let moments: [Checkpoint; 2] = [(1000, NOTHING), (3000, |screen| screen.resize(60, 2))];
    let story = watch(&stage, &nodes, screen.progress(PLAIN, true), &screen, &moments).await;
    let (before, _) = story.split_once("-- at the end").unwrap();
    assert_snapshot!(before);
    let last = screen.text();
    assert!(last.contains("thing-02: creating failed") && !last.contains("more"), "{last}");
    assert_eq!(last.lines().filter(|line| line.contains(": created after")).count(), 29, "{last}");
}

#[tokio::test(start_paused = true)]
async fn twenty_runs_have_a_line_each() {
    let (stage, screen) = (Stage::new(), TestScreen::new(80, 24));
    let spec = stage.spec(&[node("todos"), node("logger"), node("pipe").uses(&["todos", "logger"])]);
    let (_, plan) = stage.plan(&spec, Goal::Present).await;
    let mut progress = screen.progress(PLAIN, true);
    (0..20).for_each(|run| progress.begin(run, &format!("team-{run:02}/team/"), &plan));
    // A plan without steps has no line.
    progress.begin(20, "idle/team/", &Plan::default());
    let [todos, logger, pipe] = [0, 1, 2].map(StepId);
    let done = |seconds| StepOutcome::Done(Duration::from_secs(seconds));
    let error = AwsError::own(Code::AccessDenied, "CreateFunction", "logger", "you lack permission to create it");
    for run in 0..19 {
        progress.event(run, &Event::Started(todos));
        progress.event(run, &Event::Started(logger));
        progress.event(run, &Event::Waiting(todos, "the table to become ACTIVE".to_owned()));
    }
    sleep(Duration::from_secs(3)).await;
    (0..9).for_each(|run| progress.event(run, &Event::Finished(todos, done(3))));
    progress.event(3, &Event::Finished(logger, StepOutcome::Failed(error)));
    progress.event(3, &Event::Finished(pipe, StepOutcome::Skipped("logger".to_owned())));
    for step in [logger, pipe] {
        progress.event(5, &Event::Finished(step, done(3)));
    }
    let middle = screen.text();
    for run in (0..20).filter(|run| ![3, 5].contains(run)) {
        [todos, logger, pipe].iter().for_each(|step| progress.event(run, &Event::Finished(*step, done(3))));
    }
    drop(progress);
    let last = screen.text();
    assert_snapshot!(format!("{middle}\n-- at the end\n{last}"));
    assert_eq!(last.lines().filter(|line| line.contains("3 of 3 steps after")).count(), 19, "{last}");
}

#[tokio::test(start_paused = true)]
async fn a_log_has_a_line_for_each_event_and_a_heartbeat_every_twenty_seconds() {
    let stage = Stage::new();
    stage.set_durations("silent", 65_000, 0, 0);
    stage.set_durations("waits", 100, 30_000, 0);
    stage.refuse("broken");
    let nodes = [node("silent"), node("waits"), node("broken"), node("after-broken").uses(&["broken"])];
    let screen = TestScreen::new(200, 60);
    let story = watch(&stage, &nodes, screen.progress(PLAIN, false), &screen, &[]).await;
    assert_snapshot!(story);
    let colour = OutputStyle { color: true, ..PLAIN };
    let plain = TestScreen::new(200, 60);
    watch(&stage, &[node("other")], plain.progress(colour, false), &plain, &[]).await;
    assert!(plain.text().contains("other: created after 0.1s ok"), "{}", plain.text());
}

// The real program on a real terminal.

/// Starts the program and holds it while it creates the table and the function.
fn held(project: &Project, cloud: &Cloud, args: &[&str], env: &[(&str, &str)]) -> (PtySession, TestScreen) {
    cloud.hold();
    let mut command = project.command_on(&cloud.url, &[&["apply", "--yes"], args].concat());
    let session = command.env("TERM", "xterm-256color").envs(env.iter().copied()).terminal();
    let screen = TestScreen::new(80, 40);
    resize(&session, &screen, 80, 40);
    cloud.held_reads();
    cloud.release();
    // The role's permissions, and whether it can be passed to Lambda.
    cloud.held(2);
    cloud.release();
    cloud.held(2);
    (session, screen)
}

fn resize(session: &PtySession, screen: &TestScreen, columns: u16, lines: u16) {
    let size = Winsize { ws_col: columns, ws_row: lines, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(session.process().get_file_handle().unwrap(), size).unwrap();
    screen.resize(columns.into(), lines.into());
}

/// Feeds output to `screen` until `done` accepts its text.
fn until(session: &mut PtySession, screen: &TestScreen, what: &str, done: impl Fn(&str) -> bool) -> String {
    let mut shown = String::new();
    eventually(what, || {
        let mut news = String::new();
        while let Some(c) = session.try_read() {
            news.push(c);
        }
        screen.terminal.borrow_mut().feed(&news);
        shown = screen.text();
        done(&shown)
    });
    shown
}

fn once(text: &str, piece: &str) -> bool {
    text.matches(piece).count() == 1
}

#[test]
fn progress_is_drawn_on_a_wide_narrow_or_resized_terminal() {
    let (project, cloud) = (Project::usual(), Cloud::start(World::empty()));
    let (mut session, screen) = held(&project, &cloud, &[], &[]);
    let wide =
        until(&mut session, &screen, "waits", |text| text.contains("s todos: creating, waiting for AWS to respond"));
    let rows = ["todos: creating", "logger: creating", "logger-permission: waits for", "todos-to-logger: waits for"];
    let places: Vec<usize> =
        rows.iter().map(|row| wide.find(row).unwrap_or_else(|| panic!("no {row} in {wide}"))).collect();
    assert!(places.is_sorted(), "{wide}");
    resize(&session, &screen, 40, 40);
    // What is read in the middle of an update shows parts of both.
    until(&mut session, &screen, "cut lines", |text| {
        text.contains("todos: waits for AWS to respond")
            && text.lines().rev().take(4).all(|line| line.chars().count() < 40)
            && once(text, "s todos: ")
            && once(text, "logger-permission: waits for")
    });
    resize(&session, &screen, 80, 40);
    until(&mut session, &screen, "whole lines", |text| text.contains("todos: creating, waiting for AWS to respond"));
    cloud.let_go();
    let end = until(&mut session, &screen, "an end", |text| text.contains("Critical path"));
    for done in ["todos: created after", "logger: created after", "todos-to-logger: created after"] {
        assert!(once(&end, &format!("\n{done}")), "{end}");
    }
    assert!(!end.contains("waits for") && !end.contains(": creating"), "{end}");
}

#[test]
fn dumb_terminals_ci_systems_and_screen_readers_get_whole_lines() {
    let dumb: (&[&str], &[(&str, &str)]) = (&[], &[("TERM", "dumb")]);
    for (args, env) in [dumb, (&[], &[("CI", "true")]), (&["--plain"], &[]), (&[], &[("ENGINE_PLAIN", "1")])] {
        let (project, cloud) = (Project::usual(), Cloud::start(World::empty()));
        let (mut session, _) = held(&project, &cloud, args, env);
        let mut said = session.exp_string("todos: still creating, waiting for AWS to respond (").unwrap();
        cloud.let_go();
        said += &session.exp_eof().unwrap();
        let is_plain = !args.is_empty() || env[0].0 == "ENGINE_PLAIN";
        assert!(!is_plain || !said.contains('\x1b'), "{said}");
        assert!(!said.contains("\x1b[A") && !said.contains("\x1b[K") && !said.contains("\r\r"), "{said}");
        assert!(said.contains("\ntodos: creating...\r\n") && said.contains("todos: created after "), "{said}");
    }
}

#[test]
fn a_screen_reader_gets_errors_as_lines_of_words() {
    let project = Project::usual();
    project.edit("hash_key: id", "hash_key: key");
    assert_snapshot!(project.command(&["validate", "--plain"]).run().err);
}

#[test]
fn a_screen_reader_gets_words_for_symbols_and_questions_as_lines() {
    let project = Project::usual();
    let cloud = Cloud::start(World::empty());
    project.run(&cloud, &["apply", "--yes"]).ends_with(0);
    project.edit("starting_position: TRIM_HORIZON", "starting_position: LATEST");
    project.edit("read_capacity: 1", "read_capacity: 2");
    let mut command = project.command_on(&cloud.url, &["apply", "--plain"]);
    let mut session = command.env("TERM", "xterm-256color").terminal();
    let asked = session.exp_string("Only 'yes' will be accepted:\r\n").unwrap();
    session.send_line("yes").unwrap();
    let said = asked + "Only 'yes' will be accepted:\n" + &session.exp_eof().unwrap();
    let mut lines: Vec<String> = said.replace('\r', "").lines().map(str::to_owned).collect();
    for line in &mut lines {
        if let Some((what, _)) = line.split_once(" after ").filter(|_| line.ends_with("ok")) {
            *line = format!("{what} after a while");
        } else if line.starts_with("Finished in ") {
            assert!(!line.contains("->") && line.contains(", then "), "{line}");
            *line = "Finished in a while".to_owned();
        }
    }
    // The number of lines about a wait depends on how long the wait takes.
    lines.retain(|line| !line.contains(": still "));
    assert_snapshot!(lines.join("\n"));
}
