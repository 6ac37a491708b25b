//! Runs engine and other programs with a clean environment and a time limit. A run that exceeds the
//! limit is killed and fails its test; a run that is dropped is killed.

use std::ffi::OsStr;
use std::io::{Read, Write as _};
#[cfg(unix)]
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use super::{ENGINE, access_key_id, installed};

/// The default time limit of a run.
const LIMIT: Duration = Duration::from_secs(120);

/// A program to run. Its environment has a home folder, a time zone, and a setting that keeps an
/// SDK from looking for credentials in the network.
pub(crate) struct Program {
    command: Command,
    limit: Duration,
    may_steer: bool,
}

impl Program {
    /// Engine in `folder`, which is also its home folder. Its output must not contain control
    /// characters.
    pub(crate) fn engine(folder: &Path) -> Program {
        Program { may_steer: false, ..Program::new(ENGINE, folder) }
    }

    /// Another program in `folder`, which is also its home folder.
    pub(crate) fn new(program: impl AsRef<OsStr>, folder: &Path) -> Program {
        let mut command = Command::new(program);
        command.current_dir(folder).env_clear().stdin(Stdio::null());
        command.env("HOME", folder).env("TZ", "UTC").env("AWS_EC2_METADATA_DISABLED", "true");
        Program { command, limit: LIMIT, may_steer: true }
    }

    pub(crate) fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Program {
        self.command.arg(arg);
        self
    }

    pub(crate) fn args<S: AsRef<OsStr>>(&mut self, args: impl IntoIterator<Item = S>) -> &mut Program {
        self.command.args(args);
        self
    }

    pub(crate) fn env(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Program {
        self.command.env(name, value);
        self
    }

    pub(crate) fn envs<K: AsRef<OsStr>, V: AsRef<OsStr>>(
        &mut self,
        all: impl IntoIterator<Item = (K, V)>,
    ) -> &mut Program {
        self.command.envs(all);
        self
    }

    pub(crate) fn env_remove(&mut self, name: &str) -> &mut Program {
        self.command.env_remove(name);
        self
    }

    pub(crate) fn current_dir(&mut self, folder: impl AsRef<Path>) -> &mut Program {
        self.command.current_dir(folder);
        self
    }

    /// Runs it as another user. Needs root.
    #[cfg(unix)]
    pub(crate) fn user(&mut self, id: u32) -> &mut Program {
        self.command.uid(id).gid(id);
        self
    }

    /// Sets its time limit.
    pub(crate) fn limit(&mut self, limit: Duration) -> &mut Program {
        self.limit = limit;
        self
    }

    /// Accepts control characters in the output of engine.
    pub(crate) fn may_steer(&mut self) -> &mut Program {
        self.may_steer = true;
        self
    }

    /// Gives it the `PATH` of this machine.
    pub(crate) fn search_path(&mut self) -> &mut Program {
        self.env("PATH", std::env::var_os("PATH").unwrap_or_default())
    }

    /// Gives it this machine's settings for package indexes and the way to them.
    pub(crate) fn package_indexes(&mut self) -> &mut Program {
        let passed =
            ["PIP_", "NPM_CONFIG_", "SSL_CERT_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "NODE_EXTRA_CA_CERTS"];
        let is_passed = |name: &OsStr| {
            let name = name.to_string_lossy().to_uppercase();
            passed.iter().any(|prefix| name.starts_with(prefix))
        };
        self.envs(std::env::vars_os().filter(|(name, _)| is_passed(name)))
    }

    /// Gives it what a local AWS needs: the `PATH` of this machine, and the installation that all
    /// tests share.
    pub(crate) fn local_aws(&mut self) -> &mut Program {
        self.search_path().env("ENGINE_CACHE_DIR", installed())
    }

    /// Makes engine use an account at `endpoint` instead of the real AWS.
    pub(crate) fn endpoint(&mut self, endpoint: &str, account: &str) -> &mut Program {
        self.args(["--endpoint-url", endpoint]).env("AWS_ACCESS_KEY_ID", access_key_id(endpoint, account));
        self.env("AWS_SECRET_ACCESS_KEY", "secret")
    }

    /// Keeps its input open until [`Running::close_input`].
    pub(crate) fn open_input(&mut self) -> &mut Program {
        self.command.stdin(Stdio::piped());
        self
    }

    /// Runs it and waits for its end.
    #[track_caller]
    pub(crate) fn run(&mut self) -> Ran {
        self.start().end()
    }

    /// The same with this text on its input.
    #[track_caller]
    pub(crate) fn run_with(&mut self, input: &str) -> Ran {
        let mut running = self.open_input().start();
        // A run that ends without reading it closes the pipe.
        drop(running.input.as_mut().unwrap().write_all(input.as_bytes()));
        running.close_input();
        running.end()
    }

    #[track_caller]
    pub(crate) fn start(&mut self) -> Running {
        // In its own process group, so that a kill also ends its children.
        #[cfg(unix)]
        self.command.process_group(0);
        let start = Instant::now();
        let mut child = self.command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let deadline = start + self.limit;
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        Running {
            input: child.stdin.take(),
            child,
            out: Lines::of(out, deadline),
            err: Lines::of(err, deadline),
            start,
            limit: self.limit,
            deadline,
            may_steer: self.may_steer,
        }
    }

    /// Starts it on its own terminal, with the same time limit for waits.
    #[cfg(unix)]
    #[track_caller]
    pub(crate) fn terminal(&mut self) -> rexpect::session::PtySession {
        let mut command = std::mem::replace(&mut self.command, Command::new(""));
        command.stdin(Stdio::inherit());
        let limit = u64::try_from(super::DEADLINE.as_millis() * 4).unwrap();
        let mut session = rexpect::session::spawn_command(command, Some(limit)).unwrap();
        session.process_mut().set_kill_timeout(Some(limit));
        session
    }
}

/// A run that may still be in progress. Dropping it kills the process.
pub(crate) struct Running {
    child: Child,
    input: Option<ChildStdin>,
    pub(crate) out: Lines,
    pub(crate) err: Lines,
    start: Instant,
    limit: Duration,
    deadline: Instant,
    may_steer: bool,
}

impl Running {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The text on stderr so far.
    pub(crate) fn said(&self) -> String {
        self.err.text()
    }

    #[cfg(unix)]
    pub(crate) fn press_ctrl_c(&self) {
        self.signal(rustix::process::Signal::INT);
    }

    /// Sends a signal to this process only.
    #[cfg(unix)]
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }

    /// Closes its input and restarts its time limit.
    pub(crate) fn close_input(&mut self) {
        drop(self.input.take());
        self.deadline = Instant::now() + self.limit;
        self.out.deadline = self.deadline;
        self.err.deadline = self.deadline;
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn end(mut self) -> Ran {
        let Some(status) = self.wait() else {
            self.kill();
            let (out, err) = (self.out.text(), self.err.text());
            panic!("no end within {:?}\nstdout:\n{out}\nstderr:\n{err}", self.limit);
        };
        let [out, err] = [&self.out, &self.err].map(|lines| String::from_utf8(lines.printed.bytes()).unwrap());
        for printed in [&out, &err].into_iter().filter(|_| !self.may_steer) {
            // Only tests that request colors check them.
            assert_eq!(steering(&printed.replace('\u{1b}', "")), None, "{printed:?}");
        }
        Ran { status, out, err, took: self.start.elapsed() }
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end, at most until the limit.
    pub(crate) fn wait(&mut self) -> Option<ExitStatus> {
        let is_silent = self.out.wait_for_end() && self.err.wait_for_end();
        while is_silent && Instant::now() < self.deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
        None
    }

    /// Kills it and its children, unless it has already ended.
    pub(crate) fn kill(&mut self) {
        #[cfg(unix)]
        if let Ok(None) = self.child.try_wait() {
            let group = rustix::process::Pid::from_child(&self.child);
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The output of a run on one stream, line by line as printed. A line that is not printed in time
/// fails the test.
#[derive(Clone)]
pub(crate) struct Lines {
    printed: Arc<Printed>,
    at: usize,
    deadline: Instant,
}

#[derive(Default)]
struct Printed {
    /// All bytes so far, and whether the stream has ended.
    stream: Mutex<(Vec<u8>, bool)>,
    changed: Condvar,
}

impl Printed {
    fn read(&self, mut from: impl Read) {
        let mut buffer = [0; 8192];
        loop {
            let count = match from.read(&mut buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                read => read.unwrap_or_default(),
            };
            let mut stream = self.stream.lock().unwrap();
            stream.0.extend_from_slice(&buffer[..count]);
            stream.1 = count == 0;
            self.changed.notify_all();
            if stream.1 {
                return;
            }
        }
    }

    /// Waits until `find` returns a value for the bytes so far, at most until the deadline. Its
    /// second argument is whether the stream has ended.
    fn wait<T>(&self, deadline: Instant, mut find: impl FnMut(&[u8], bool) -> Option<T>) -> Option<T> {
        let mut stream = self.stream.lock().unwrap();
        loop {
            let found = find(&stream.0, stream.1);
            let left = deadline.saturating_duration_since(Instant::now());
            if found.is_some() || left.is_zero() {
                return found;
            }
            stream = self.changed.wait_timeout(stream, left).unwrap().0;
        }
    }

    fn bytes(&self) -> Vec<u8> {
        self.stream.lock().unwrap().0.clone()
    }
}

impl Lines {
    fn of(from: impl Read + Send + 'static, deadline: Instant) -> Lines {
        let printed = Arc::<Printed>::default();
        let lines = Lines { printed: Arc::clone(&printed), at: 0, deadline };
        // The thread ends with the stream, which ends with the program.
        std::thread::spawn(move || printed.read(from));
        lines
    }

    /// Everything so far.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.printed.bytes()).into_owned()
    }

    fn wait_for_end(&self) -> bool {
        self.printed.wait(self.deadline, |_, is_all| is_all.then_some(())).is_some()
    }
}

impl Iterator for Lines {
    type Item = String;

    #[track_caller]
    fn next(&mut self) -> Option<String> {
        let next = self.printed.wait(self.deadline, |bytes, is_all| {
            let rest = &bytes[self.at..];
            match rest.iter().position(|byte| *byte == b'\n') {
                Some(end) => Some(Some(rest[..=end].to_vec())),
                None => is_all.then(|| (!rest.is_empty()).then(|| rest.to_vec())),
            }
        });
        let line = next.unwrap_or_else(|| panic!("no further line in time after\n{}", self.text()))?;
        self.at += line.len();
        let line = String::from_utf8(line).unwrap();
        Some(line.trim_end_matches('\n').trim_end_matches('\r').to_owned())
    }
}

/// The exit status and the output of a run.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: ExitStatus,
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) took: Duration,
}

impl Ran {
    /// Its exit code; `None` if a signal ended it.
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The output on both streams.
    pub(crate) fn text(&self) -> String {
        format!("{}{}", self.out, self.err)
    }

    /// Fails unless it ended with `code` and printed all of `texts`, regardless of line breaks.
    #[track_caller]
    pub(crate) fn expect(self, code: i32, texts: &[&str]) -> Ran {
        self.ends_with(code);
        let said = flat(&format!("{} {}", self.out, self.err)).replace(" # ", " ");
        for text in texts {
            assert!(said.contains(text), "`{text}` is not in {self:#?}");
        }
        self
    }

    /// The text on stderr of a run that must have failed with no output.
    #[track_caller]
    pub(crate) fn failure(self) -> String {
        assert_eq!((self.code(), self.out.as_str()), (Some(1), ""), "{}", self.err);
        self.err
    }

    /// The JSON documents on stdout, one per line.
    pub(crate) fn json(&self) -> Vec<Json> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[track_caller]
    pub(crate) fn ends_with(&self, code: i32) -> &Ran {
        assert_eq!(self.code(), Some(code), "{}\nstdout:\n{}\nstderr:\n{}", self.status, self.out, self.err);
        self
    }

    /// Fails unless stderr contains `words`, regardless of line breaks.
    #[track_caller]
    pub(crate) fn complains(&self, words: &str) -> &Ran {
        self.says_in(&self.err, words)
    }

    /// Fails unless it reported exactly one error.
    #[track_caller]
    pub(crate) fn complains_once(&self) -> &Ran {
        let errors = self.err.lines().filter(|line| line.starts_with("error:") || line.starts_with("error[")).count();
        assert_eq!(errors, 1, "{}", self.err);
        self
    }

    /// Fails unless stdout contains `words`, regardless of line breaks.
    #[track_caller]
    pub(crate) fn says(&self, words: &str) -> &Ran {
        self.says_in(&self.out, words)
    }

    #[track_caller]
    fn says_in(&self, text: &str, words: &str) -> &Ran {
        assert!(flat(text).contains(words), "no `{words}` in\nstdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }
}

/// A text with its line breaks and repeated spaces collapsed.
pub(crate) fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The first control or invisible character in an output, by Unicode's lists instead of the
/// program's.
pub(crate) fn steering(output: &str) -> Option<char> {
    output.chars().find(|c| match c {
        '\n' | '\t' => false,
        '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2028}' | '\u{2029}' => true,
        '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e0fff}' => true,
        c => c.is_control(),
    })
}
