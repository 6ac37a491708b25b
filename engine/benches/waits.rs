//! How long a first apply, a comparison and a destroy take on an account that answers like AWS: each
//! call takes 40 ms, a new table, function and mapping need seconds, and so does a new role until Lambda can assume it.
//! The time that these waits require at least is printed beside it; and for a comparison of sixty
//! functions with a role each, the time that IAM's rate requires.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::print_stdout)]
// What the tests need of these is more than this does.
#![allow(dead_code)]

#[path = "../tests/shared/mod.rs"]
mod shared;

#[cfg(unix)]
fn main() {
    use std::time::{Duration, Instant};

    use shared::project::Project;

    const ACCOUNT: &str = "000000000001";
    const RUNS: usize = 3;
    println!("{:40} {:>8} {:>8} {:>8} {:>6}", "waits", "wall", "least", "ratio", "calls");
    for (spec, has_own_role) in [("specs/team.yaml", false), ("specs/examples/own-role.yaml", true)] {
        for _ in 0..RUNS {
            let project = Project::new();
            // Creates the role of others.
            project.run(&["diff", "specs/team.yaml", "--local"]).expect(0, &[]);
            let aws = slow::CountedAws::start(&project.endpoint());
            let least = slow::least(has_own_role);
            let runs =
                [(&["apply", spec, "--yes"][..], least), (&["diff", spec], 0.0), (&["destroy", spec, "--yes"], 0.0)];
            for (args, least) in runs {
                let (start, before) = (Instant::now(), aws.n_calls());
                project.run_at(&aws.endpoint(), ACCOUNT, args).expect(0, &[]);
                let (wall, calls) = (start.elapsed().as_secs_f64(), aws.n_calls() - before);
                let ratio = if least > 0.0 { format!("{:.3}", wall / least) } else { String::new() };
                println!("{:40} {wall:>6.2} s {least:>6.1} s {ratio:>8} {calls:>6}", args[..2].join(" "));
            }
        }
    }

    const FUNCTIONS: usize = 60;
    /// Calls of IAM per second and account: not documented, and assumed until IAM throttles.
    const IAM_RATE: f64 = 20.0;
    let project = Project::new();
    project.write("specs/many.yaml", &functions(FUNCTIONS));
    project
        .command(&["apply", "specs/many.yaml", "--local", "--yes"])
        .limit(Duration::from_secs(600))
        .run()
        .expect(0, &[]);
    for _ in 0..RUNS {
        let aws = slow::CountedAws::start(&project.endpoint());
        let start = Instant::now();
        project.run_at(&aws.endpoint(), ACCOUNT, &["diff", "specs/many.yaml", "--detailed-exitcode"]).expect(0, &[]);
        let (wall, calls) = (start.elapsed().as_secs_f64(), aws.n_calls());
        // A second's worth of calls can be sent at once.
        let least = (aws.n_iam_calls() as f64 / IAM_RATE - 1.0).max(0.0);
        println!(
            "{:40} {wall:>6.2} s {least:>6.1} s {:>8.3} {calls:>6}",
            "diff of 60 functions with roles",
            wall / least
        );
    }
}

/// A spec with `count` functions, each with a role that engine creates.
#[cfg(unix)]
fn functions(count: usize) -> String {
    use std::fmt::Write as _;

    let mut spec = "team: blue-owls\nregion: eu-central-1\nresources:\n".to_owned();
    for at in 1..=count {
        let code = "{ inline: 'exports.handler = async () => {};' }";
        writeln!(
            spec,
            "  worker-{at}: {{ type: function, runtime: nodejs22.x, handler: index.handler, code: {code} }}"
        )
        .unwrap();
    }
    spec
}

#[cfg(not(unix))]
fn main() {}

#[cfg(unix)]
mod slow {
    use std::collections::HashMap;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, Instant};

    use super::shared::proxy::{Proxy, Request, lambda_error};

    /// Half of a call's round trip.
    const HALF: Duration = Duration::from_millis(20);
    /// The name of a create, how long its resource is not ready, and the text of a read that shows
    /// it as ready, with the one that doesn't.
    const WAITS: [(&str, u64, &str, &str); 3] = [
        ("CreateTable", 6, "\"TableStatus\": \"ACTIVE\"", "\"TableStatus\": \"CREATING\""),
        ("POST /2015-03-31/functions", 2, "\"State\": \"Active\"", "\"State\": \"Pending\""),
        ("POST /2015-03-31/event-source-mappings", 4, "\"State\": \"Enabled\"", "\"State\": \"Creating\""),
    ];
    const ROLE_WAIT: u64 = 8;
    const NOT_ASSUMABLE: &str = "The role defined for the function cannot be assumed by Lambda.";

    /// The time of the longest chain of waits: a new role before its function, and the table or the
    /// function, which may be Pending, before the mapping.
    pub(super) fn least(has_own_role: bool) -> f64 {
        let [table, function, mapping] = WAITS.map(|(_, seconds, ..)| seconds);
        let role = if has_own_role { ROLE_WAIT } else { 0 };
        (role + function).max(table.max(role) + mapping) as f64
    }

    /// A proxy in front of the local AWS.
    pub(super) struct CountedAws {
        proxy: Proxy,
        n_calls: Arc<AtomicUsize>,
        n_iam_calls: Arc<AtomicUsize>,
    }

    impl CountedAws {
        pub(super) fn start(endpoint: &str) -> CountedAws {
            let (n_calls, n_iam_calls) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let (count, iam_count) = (Arc::clone(&n_calls), Arc::clone(&n_iam_calls));
            let made: Mutex<HashMap<&str, Instant>> = Mutex::default();
            let proxy = Proxy::new(endpoint, move |request| {
                count.fetch_add(1, Ordering::SeqCst);
                let is_iam = String::from_utf8_lossy(&request.body).contains("Version=2010-05-08");
                iam_count.fetch_add(usize::from(is_iam), Ordering::SeqCst);
                std::thread::sleep(HALF);
                let answer = answer(request, &made);
                std::thread::sleep(HALF);
                answer
            });
            CountedAws { proxy, n_calls, n_iam_calls }
        }

        pub(super) fn endpoint(&self) -> String {
            self.proxy.endpoint()
        }

        pub(super) fn n_iam_calls(&self) -> usize {
            self.n_iam_calls.load(Ordering::SeqCst)
        }

        pub(super) fn n_calls(&self) -> usize {
            self.n_calls.load(Ordering::SeqCst)
        }
    }

    fn answer(request: &Request, made: &Mutex<HashMap<&'static str, Instant>>) -> String {
        let is_young = |what: &str, seconds| {
            made.lock().unwrap().get(what).is_some_and(|at| at.elapsed() < Duration::from_secs(seconds))
        };
        if request.is("POST /2015-03-31/functions") && is_young("role", ROLE_WAIT) {
            return lambda_error(400, "InvalidParameterValueException", NOT_ASSUMABLE);
        }
        let answer = request.forward();
        let is_done = answer.split(' ').nth(1).is_some_and(|status| status.starts_with('2'));
        let creates = WAITS.iter().map(|(create, ..)| *create).find(|create| request.is(create));
        let creates =
            creates.or(String::from_utf8_lossy(&request.body).contains("Action=CreateRole&").then_some("role"));
        if let Some(create) = creates.filter(|_| is_done) {
            made.lock().unwrap().insert(create, Instant::now());
        }
        let unready = WAITS.iter().filter(|(create, seconds, ..)| is_young(create, *seconds));
        unready.fold(answer, |answer, (_, _, ready, not_yet)| edited(&answer, ready, not_yet))
    }

    /// The response with another text in its body.
    fn edited(answer: &str, from: &str, to: &str) -> String {
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        // With and without a space after the colon.
        let tight = |text: &str| text.replacen(": ", ":", 1);
        let body = body.replace(from, to).replace(&tight(from), &tight(to));
        let lines = head.split("\r\n").filter(|line| !line.to_ascii_lowercase().starts_with("content-length:"));
        let head = lines.collect::<Vec<_>>().join("\r\n");
        format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    }
}
