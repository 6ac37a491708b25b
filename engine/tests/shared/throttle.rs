//! The account-wide rate limits of Lambda. The local AWS has none, so a proxy applies them.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::shared::program::{Ran, Running};
use crate::shared::project::Project;
use crate::shared::proxy::{Proxy, Request};

/// Lambda control-plane calls per second and account. Also the burst after an idle second.
pub(crate) const RATE: f64 = 15.0;

/// The calls per second of each limit that AWS counts separately: of Lambda's control plane, of
/// GetFunction, and of GetPolicy (docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html),
/// and of FilterLogEvents (docs.aws.amazon.com/AmazonCloudWatch/latest/logs/cloudwatch_limits_cwl.html).
pub(crate) const RATES: [f64; 4] = [RATE, 100.0, 15.0, 5.0];

/// The time limit of a run that waits for the rate limit.
const LIMIT: Duration = Duration::from_secs(600);

/// The state and the counts of a rate limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tally {
    /// Counted calls that AWS accepted.
    pub(crate) n_taken: usize,
    /// Counted calls that AWS refused with HTTP 429.
    pub(crate) n_throttled: usize,
    rate: f64,
    tokens: f64,
    filled: Instant,
}

impl Tally {
    fn new(rate: f64) -> Tally {
        Tally { n_taken: 0, n_throttled: 0, rate, tokens: rate, filled: Instant::now() }
    }

    /// Counts a call, and returns whether it is within the limit.
    fn takes(&mut self) -> bool {
        let now = Instant::now();
        self.tokens = (self.tokens + (now - self.filled).as_secs_f64() * self.rate).min(self.rate);
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

/// A local AWS behind the rate limits.
pub(crate) struct ThrottledAws {
    proxy: Proxy,
    tallies: Arc<[Mutex<Tally>; 4]>,
}

impl ThrottledAws {
    pub(crate) fn new(project: &Project) -> ThrottledAws {
        let tallies = Arc::new(RATES.map(|rate| Mutex::new(Tally::new(rate))));
        let proxy = {
            let tallies = Arc::clone(&tallies);
            Proxy::new(&project.endpoint(), move |request| {
                let is_within = limit_of(request).is_none_or(|at| tallies[at].lock().unwrap().takes());
                match is_within {
                    true => request.forward(),
                    false if request.is(LOGS) => too_many_reads(),
                    false => throttled(""),
                }
            })
        };
        ThrottledAws { proxy, tallies }
    }

    pub(crate) fn endpoint(&self) -> String {
        self.proxy.endpoint()
    }

    /// Of the control plane.
    pub(crate) fn tally(&self) -> Tally {
        self.tallies()[0]
    }

    /// Of each limit.
    pub(crate) fn tallies(&self) -> [Tally; 4] {
        [0, 1, 2, 3].map(|at| *self.tallies[at].lock().unwrap())
    }
}

/// The call whose limit CloudWatch Logs has.
const LOGS: &str = "FilterLogEvents";

/// CloudWatch Logs' response to a call beyond the limit.
fn too_many_reads() -> String {
    let body = json!({ "__type": "ThrottlingException", "message": "Rate exceeded" }).to_string();
    format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    )
}

/// Whether a request counts against the limit of the control plane: all do except reads of a
/// function or its policy, and invocations.
pub(crate) fn is_counted(request: &Request) -> bool {
    limit_of(request) == Some(0)
}

/// The limit in [`RATES`] that a request counts against.
fn limit_of(request: &Request) -> Option<usize> {
    if request.is(LOGS) {
        return Some(3);
    }
    let (method, path) = line(request);
    let parts: Vec<&str> = path.split('?').next().unwrap().split('/').skip(1).collect();
    // Only Lambda's paths start with its API version, a date.
    let is_lambda = parts[0].starts_with("20");
    match (method, &parts[1..]) {
        _ if !is_lambda => None,
        ("GET", ["functions", _]) => Some(1),
        ("GET", ["functions", _, "policy"]) => Some(2),
        ("POST", ["functions", _, "invocations"]) => None,
        _ => Some(0),
    }
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
