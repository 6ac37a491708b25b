//! How long `engine dev --local` takes from a save to the first log line of the new code, while an
//! item is written every 50 ms; and to the end of the update.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::print_stdout)]
// What the tests need of these is more than this does.
#![allow(dead_code)]

#[path = "../tests/shared/mod.rs"]
mod shared;

#[cfg(unix)]
fn main() {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::{Duration, Instant};

    use shared::account::Account;
    use shared::project::Project;

    const ACCOUNT: &str = "000000000001";
    const SAVES: usize = 20;
    const PAUSE: Duration = Duration::from_millis(50);
    let project = Project::new();
    let code = |at: usize| format!("exports.handler = async () => {{ console.log('version {at} runs'); }};\n");
    project.write("lambda-src/log-events/index.js", &code(0));
    let mut dev = project.command(&["dev", "specs/team.yaml", "--local"]).limit(Duration::from_secs(300)).start();
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
            project.write("lambda-src/log-events/index.js", &code(at));
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
        for (what, mut times) in [("first log line of the new code", seen), ("deployed", done)] {
            times.sort();
            let [least, median, most] = [times[0], times[SAVES / 2], times[SAVES - 1]].map(|it| it.as_millis());
            println!("{what:32} median {median:>5} ms   least {least:>5} ms   most {most:>5} ms");
        }
    });
    dev.press_ctrl_c();
    dev.end();
}

#[cfg(not(unix))]
fn main() {}
