//! How long `engine dev --local` takes from a save to the first log line of the new code, while an
//! item is written every 50 ms. And on an account that answers like AWS, where each call takes 40 ms
//! and an update 2 s: how long after the update's end `deployed` is printed.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::print_stdout)]
// What the tests need of these is more than this does.
#![allow(dead_code)]

#[path = "../tests/shared/mod.rs"]
mod shared;

#[cfg(unix)]
fn main() {
    locally::run();
    like_aws::run();
}

#[cfg(not(unix))]
fn main() {}

/// Prints the median and the range of times.
fn show(what: &str, mut times: Vec<std::time::Duration>) {
    times.sort();
    let [least, median, most] = [times[0], times[times.len() / 2], times[times.len() - 1]].map(|it| it.as_millis());
    println!("{what:44} median {median:>5} ms   least {least:>5} ms   most {most:>5} ms");
}

/// A handler that logs its version.
fn code(version: usize) -> String {
    format!("exports.handler = async () => {{ console.log('version {version} runs'); }};\n")
}

const ACCOUNT: &str = "000000000001";
const SPEC: &str = "specs/team.yaml";
const CODE: &str = "lambda-src/log-events/index.js";
const LIMIT: std::time::Duration = std::time::Duration::from_secs(300);

#[cfg(unix)]
mod locally {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::{Duration, Instant};

    use super::shared::account::Account;
    use super::shared::project::Project;
    use super::{ACCOUNT, CODE, LIMIT, SPEC, code, show};

    const SAVES: usize = 20;
    const PAUSE: Duration = Duration::from_millis(50);

    pub(super) fn run() {
        let project = Project::new();
        project.write(CODE, &code(0));
        let mut dev = project.command(&["dev", SPEC, "--local"]).limit(LIMIT).start();
        dev.err.find(|line| line.contains("watching")).expect("dev starts");
        let aws = Account::new(&project.endpoint(), ACCOUNT);
        let is_done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for at in 0.. {
                    if is_done.load(Ordering::Relaxed) {
                        return;
                    }
                    aws.put_item("blue-owls-todos", &(at % 5).to_string(), &at.to_string());
                    std::thread::sleep(PAUSE);
                }
            });
            let (mut seen, mut done) = (Vec::new(), Vec::new());
            for at in 1..=SAVES {
                // Saves come at any time of the writer's rhythm.
                std::thread::sleep(PAUSE * 10 + PAUSE * u32::try_from(at % 7).unwrap() / 7);
                let (start, line) = (Instant::now(), format!("version {at} runs"));
                project.write(CODE, &code(at));
                let (mut is_seen, mut is_deployed) = (false, false);
                while !(is_seen && is_deployed) {
                    let printed = dev.out.next().expect("dev prints");
                    if printed.contains(&line) && !is_seen {
                        is_seen = true;
                        seen.push(start.elapsed());
                    } else if printed.starts_with("deployed ") {
                        is_deployed = true;
                        done.push(start.elapsed());
                    }
                }
            }
            is_done.store(true, Ordering::Relaxed);
            show("locally: first log line of the new code", seen);
            show("locally: deployed", done);
        });
        dev.press_ctrl_c();
        dev.end();
    }
}

#[cfg(unix)]
mod like_aws {
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, Instant};

    use super::shared::project::Project;
    use super::shared::proxy::Proxy;
    use super::{ACCOUNT, CODE, LIMIT, SPEC, code, show};

    const SAVES: usize = 5;
    /// Half of a call's round trip, and how long an update takes.
    const HALF: Duration = Duration::from_millis(20);
    const UPDATE: Duration = Duration::from_secs(2);

    pub(super) fn run() {
        let project = Project::new();
        project.write(CODE, &code(0));
        // Creates the role of others.
        project.run(&["apply", SPEC, "--local"]).expect(0, &[]);
        let updated: Arc<Mutex<Option<Instant>>> = Arc::default();
        let last = Arc::clone(&updated);
        let proxy = Proxy::new(&project.endpoint(), move |request| {
            std::thread::sleep(HALF);
            let answer = request.forward();
            let is_function = request.head.contains(" /2015-03-31/functions/");
            if request.head.starts_with("PUT /2015-03-31/functions/") {
                *last.lock().unwrap() = Some(Instant::now());
            }
            let is_busy = last.lock().unwrap().is_some_and(|at| at.elapsed() < UPDATE);
            std::thread::sleep(HALF);
            // Of the same length, so that the header stays right.
            if is_function && is_busy { answer.replace("\"Successful\"", "\"InProgress\"") } else { answer }
        });
        let mut dev = project.command_at(&proxy.endpoint(), ACCOUNT, &["dev", SPEC, "--yes"]).limit(LIMIT).start();
        dev.err.find(|line| line.contains("watching")).expect("dev starts");
        let (mut sent, mut after) = (Vec::new(), Vec::new());
        for at in 1..=SAVES {
            std::thread::sleep(Duration::from_millis(300));
            let start = Instant::now();
            project.write(CODE, &code(at));
            dev.out.find(|line| line.starts_with("deployed ")).expect("dev deploys");
            let updated = updated.lock().unwrap().unwrap();
            sent.push(updated - start);
            after.push(updated.elapsed().saturating_sub(UPDATE));
        }
        show("like AWS: from the save to the update", sent);
        show("like AWS: deployed after the update's end", after);
        dev.press_ctrl_c();
        dev.end();
    }
}
