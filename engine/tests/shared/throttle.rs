//! The account-wide rate limit of Lambda's control plane. The local AWS has none, so a proxy
//! applies it.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::shared::program::{Ran, Running};
use crate::shared::project::Project;
use crate::shared::proxy::{Proxy, Request};

/// Lambda control-plane calls per second and account. Also the burst after an idle second.
pub(crate) const RATE: f64 = 15.0;

/// The time limit of a run that waits for the rate limit.
const LIMIT: Duration = Duration::from_secs(600);

/// The state and the counts of a rate limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tally {
    /// Counted calls that AWS accepted.
    pub(crate) n_taken: usize,
    /// Counted calls that AWS refused with HTTP 429.
    pub(crate) n_throttled: usize,
    tokens: f64,
    filled: Instant,
}

impl Tally {
    /// Counts a call, and returns whether it is within the limit.
    fn takes(&mut self) -> bool {
        let now = Instant::now();
        self.tokens = (self.tokens + (now - self.filled).as_secs_f64() * RATE).min(RATE);
        self.filled = now;
        let takes = self.tokens >= 1.0;
        if takes {
            self.tokens -= 1.0;
            self.n_taken += 1;
        } else {
            self.n_throttled += 1;
        }
        takes
    }
}

/// A local AWS behind the rate limit.
pub(crate) struct Shared {
    proxy: Proxy,
    tally: Arc<Mutex<Tally>>,
}

impl Shared {
    pub(crate) fn new(project: &Project) -> Shared {
        let tally = Tally { n_taken: 0, n_throttled: 0, tokens: RATE, filled: Instant::now() };
        let tally = Arc::new(Mutex::new(tally));
        let proxy = {
            let tally = Arc::clone(&tally);
            Proxy::new(&project.endpoint(), move |request| {
                if is_counted(request) && !tally.lock().unwrap().takes() { throttled("") } else { request.forward() }
            })
        };
        Shared { proxy, tally }
    }

    pub(crate) fn endpoint(&self) -> String {
        self.proxy.endpoint()
    }

    pub(crate) fn tally(&self) -> Tally {
        *self.tally.lock().unwrap()
    }
}

/// Whether a request counts against the limit: all do except reads of a function or its policy, and
/// invocations.
pub(crate) fn is_counted(request: &Request) -> bool {
    let (method, path) = line(request);
    let parts: Vec<&str> = path.split('?').next().unwrap().split('/').skip(1).collect();
    // Only Lambda's paths start with its API version, a date.
    let is_lambda = parts[0].starts_with("20");
    let counts_apart = matches!(
        (method, &parts[1..]),
        ("GET", ["functions", _] | ["functions", _, "policy"]) | ("POST", ["functions", _, "invocations"])
    );
    is_lambda && !counts_apart
}

/// The method and the path of a request.
pub(crate) fn line(request: &Request) -> (&str, &str) {
    let mut words = request.head.split(' ');
    (words.next().unwrap(), words.next().unwrap())
}

/// Lambda's response to a call beyond the limit; `more` are header lines.
pub(crate) fn throttled(more: &str) -> String {
    let body = json!({ "Reason": "CallerRateLimitExceeded", "Type": "User", "message": "Rate exceeded" }).to_string();
    format!(
        "HTTP/1.1 429 Too Many Requests\r\nx-amzn-errortype: TooManyRequestsException\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n{more}\r\n{body}",
        body.len()
    )
}

/// The names `team-01`, `team-02` and so on.
pub(crate) fn teams(count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("team-{number:02}")).collect()
}

/// Runs one process for all teams.
pub(crate) fn together(project: &Project, endpoint: &str, account: &str, command: &str, teams: &[String]) -> Ran {
    project.write("teams.txt", &teams.join("\n"));
    let args = [command, "specs/team.yaml", "--teams", "teams.txt"];
    project.command_at(endpoint, account, &args).limit(LIMIT).run()
}

/// Runs a process for each team, all concurrently.
pub(crate) fn side_by_side(
    project: &Project,
    endpoint: &str,
    account: &str,
    command: &str,
    teams: &[String],
) -> Vec<Ran> {
    let start = |team: &String| {
        let args = [command, "specs/team.yaml", "--team", team];
        project.command_at(endpoint, account, &args).limit(LIMIT).start()
    };
    // Start all before waiting for the first.
    let started: Vec<_> = teams.iter().map(start).collect();
    started.into_iter().map(Running::end).collect()
}
