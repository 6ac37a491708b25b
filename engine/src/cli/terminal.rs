//! The terminal: output, prompts and Ctrl-C.
//!
//! **Invariant:** it knows nothing about specs, plans or AWS resources.

use std::collections::BTreeSet;
use std::future::Future;
use std::io::{BufRead as _, IsTerminal as _, Write};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anstream::ColorChoice;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tracing::{error, info, warn};

use crate::aws::{ANSWER, Context, Reporter};
use crate::diagnostic::{self, Diagnostic, Severity};
use crate::local::LocalError;
use crate::render::{Look, Progress, reflow};
use crate::sanitize::{Screen, is_ci, wants_color};
use crate::wait::RESPONSE;

use super::{Colour, Exit, Global, LogFormat};

/// Why a command ended early.
pub(super) struct Failure {
    pub(super) exit: Exit,
    pub(super) diagnostics: Vec<Diagnostic>,
}

impl Failure {
    /// An invalid command line.
    pub(super) fn usage(problem: impl Into<String>, hint: impl Into<String>) -> Failure {
        Failure { exit: Exit::Usage, diagnostics: vec![Diagnostic::error(problem, hint)] }
    }

    pub(super) fn one(diagnostic: Diagnostic) -> Failure {
        Failure { exit: Exit::Failed, diagnostics: vec![diagnostic] }
    }
}

impl From<LocalError> for Failure {
    fn from(error: LocalError) -> Failure {
        let mut diagnostic = Diagnostic::error(error.problem(), error.hint());
        diagnostic.why = error.why();
        let exit = if matches!(error, LocalError::Interrupted { .. }) { Exit::Interrupted } else { Exit::Failed };
        Failure { exit, diagnostics: vec![diagnostic] }
    }
}

/// Whether the reader of stdout has closed it, as `head` does.
#[cfg(unix)]
fn is_closed() -> bool {
    use rustix::event::{PollFd, PollFlags, poll};
    let out = std::io::stdout();
    // poll reports errors without being asked to.
    let mut pipe = [PollFd::new(&out, PollFlags::empty())];
    let ready = poll(&mut pipe, Some(&Default::default()));
    ready.is_ok() && pipe[0].revents().contains(PollFlags::ERR)
}

#[cfg(not(unix))]
fn is_closed() -> bool {
    false
}

/// The output streams and how to format text for them.
pub(super) struct Terminal {
    pub(super) out: Look,
    pub(super) err: Look,
    pub(super) quiet: bool,
    pub(super) live: bool,
    /// The folder of `-C`.
    pub(super) directory: Option<PathBuf>,
    /// Whether stdout and stderr are windows of that width.
    in_window: [bool; 2],
    logs: LogFormat,
    /// The error that lost output.
    lost: OnceLock<std::io::Error>,
    /// Set once the reader of stdout has closed it.
    unheard: OnceLock<()>,
}

impl Terminal {
    pub(super) fn new(global: &Global) -> Terminal {
        let choice = match global.color {
            _ if global.plain => ColorChoice::Never,
            Colour::Auto => ColorChoice::Auto,
            Colour::Always => ColorChoice::Always,
            Colour::Never => ColorChoice::Never,
        };
        choice.write_global();
        let width = terminal_size::terminal_size().map_or(80, |(width, _)| usize::from(width.0)).max(40);
        let (out, err) = (std::io::stdout(), std::io::stderr());
        let env = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let dumb = env("TERM").is_none_or(|term| term == "dumb");
        Terminal {
            out: Look { colour: wants_color(&out), width, plain: global.plain },
            err: Look { colour: wants_color(&err) && global.log_format == LogFormat::Text, width, plain: global.plain },
            quiet: global.quiet,
            directory: global.directory.clone(),
            in_window: [std::io::stdout().is_terminal(), std::io::stderr().is_terminal()]
                .map(|is_terminal| is_terminal && !global.plain),
            // Log lines would interrupt redrawn lines. A CI system may have a terminal, but keeps its
            // output as a log.
            live: err.is_terminal()
                && !dumb
                && global.verbose == 0
                && !global.plain
                && !is_ci()
                && global.log_format == LogFormat::Text,
            logs: global.log_format,
            lost: OnceLock::new(),
            unheard: OnceLock::new(),
        }
    }

    /// Data, on stdout.
    pub(super) fn print(&self, text: &str) {
        self.print_on(Screen::stdout(), text);
    }

    /// Commands to the CI runner that reads stdout.
    pub(super) fn print_commands(&self, text: &str) {
        self.print_on(Screen::stdout().for_commands(), text);
    }

    /// Raw data, for programs.
    pub(super) fn print_raw(&self, text: &str) {
        self.print_on(Screen::stdout().for_programs(), text);
    }

    fn print_on(&self, mut screen: Screen, text: &str) {
        match screen.write_all(text.as_bytes()).and_then(|()| screen.flush()) {
            Ok(()) => {}
            // A closed pipe (`| head`) is no error.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => drop(self.unheard.set(())),
            // The first error counts.
            Err(error) => drop(self.lost.set(error)),
        }
    }

    /// Text for people, on stdout: no line is longer than the window.
    pub(super) fn show(&self, text: &str) {
        let [in_window, _] = self.in_window;
        self.print(&if in_window { reflow(text, self.out.width) } else { text.to_owned() });
    }

    /// Whether stdout still has a reader, as far as is known.
    pub(super) fn is_heard(&self) -> bool {
        self.unheard.get().is_none() && self.lost.get().is_none() && !is_closed()
    }

    /// Reports lost output and returns whether any was lost: a script must not mistake the rest for all.
    pub(super) fn told_loss(&self) -> bool {
        let Some(error) = self.lost.get() else { return false };
        let hint = "free disk space or redirect the output elsewhere, and run the command again";
        self.problems(&[Diagnostic::error("couldn't write the output", hint).why(error.to_string())]);
        true
    }

    /// A line for people, on stderr.
    pub(super) fn say(&self, text: &str) {
        if !self.quiet {
            let [_, in_window] = self.in_window;
            line(&if in_window { reflow(text, self.err.width) } else { text.to_owned() });
        }
    }

    /// The outcome of a run, if stderr is JSON.
    pub(super) fn summary(&self, team: &str, stack: &str, status: &str, text: &str) {
        if self.logs == LogFormat::Json && !self.quiet {
            info!(target: "engine::message", team, stack, status, "{}", text.trim());
        }
    }

    /// The progress display of a run.
    pub(super) fn progress(&self) -> Progress {
        match self.logs {
            LogFormat::Text => Progress::new(self.err, self.live, self.quiet),
            LogFormat::Json => Progress::on(Box::new(Lines::default()), Box::new(|| None), self.err, false, self.quiet),
        }
    }

    /// Shows a prompt; a screen reader only reads it once its line ends.
    pub(super) fn prompt(&self, question: &str) {
        if self.logs == LogFormat::Json {
            return line(question.trim());
        }
        put(&format!("{question}{}", if self.err.plain { "\n" } else { " " }));
    }

    pub(super) fn problems(&self, diagnostics: &[Diagnostic]) {
        if self.logs == LogFormat::Json {
            return self.log(diagnostics);
        }
        let (text, [_, in_window]) = (self.err.problems(diagnostics), self.in_window);
        put(&if in_window { reflow(&text, self.err.width) } else { text });
    }

    /// Problems as log lines, if stderr is JSON.
    pub(super) fn log(&self, diagnostics: &[Diagnostic]) {
        if self.logs != LogFormat::Json {
            return;
        }
        for it in diagnostic::in_order(diagnostics) {
            let Diagnostic { problem, why, .. } = it;
            let (code, said) = (it.code(), it.said());
            let (file, hint) = (it.at.as_ref().map(|place| place.file.name()), it.hints.join("; "));
            let line = it.at.as_ref().map(|place| place.line_column().0);
            match it.severity {
                Severity::Error => error!(target: "engine::problem", code, file, line, why, hint, said, "{problem}"),
                Severity::Warning => warn!(target: "engine::problem", code, file, line, why, hint, said, "{problem}"),
            }
        }
    }

    /// Whether there is a user to ask. A CI system may have a terminal, but no user.
    pub(super) fn can_ask() -> bool {
        std::io::stdin().is_terminal() && std::io::stderr().is_terminal() && !is_ci()
    }
}

/// Text for people, on stderr.
fn put(text: &str) {
    // A terminal that went away is no reason to stop working.
    drop(Screen::stderr().write_all(text.as_bytes()));
}

pub(super) fn start_log(global: &Global) {
    use tracing_subscriber::EnvFilter;
    // Only engine's own lines: the SDK's may contain secrets.
    let filter = match (global.quiet, global.verbose) {
        (true, _) => "engine=error",
        (_, 0) if global.log_format == LogFormat::Json => "engine=warn,engine::message=info",
        (_, 0) => "engine=warn",
        (_, 1) => "engine=debug",
        _ => "engine=trace",
    };
    let builder = tracing_subscriber::fmt().with_env_filter(EnvFilter::new(filter)).with_writer(Screen::stderr);
    // Otherwise a log line that can't be written causes a panic.
    let builder = builder.log_internal_errors(false);
    let builder = builder.with_ansi(wants_color(&std::io::stderr()));
    match global.log_format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => {
            IS_JSON.store(true, Ordering::Relaxed);
            builder.json().init();
        }
    }
}

/// Whether stderr is JSON.
static IS_JSON: AtomicBool = AtomicBool::new(false);

/// A text line on stderr, or a JSON log line.
fn line(text: &str) {
    if IS_JSON.load(Ordering::Relaxed) {
        info!(target: "engine::message", "{text}");
    } else {
        put(&format!("{text}\n"));
    }
}

/// Turns each written line into a log line.
#[derive(Default)]
struct Lines(Vec<u8>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.extend_from_slice(bytes);
        while let Some(end) = self.0.iter().position(|byte| *byte == b'\n') {
            let whole: Vec<u8> = self.0.drain(..=end).collect();
            line(String::from_utf8_lossy(&whole).trim_end());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Reports on stderr what reading waits for, each wait once: nothing else has been shown by then.
pub(super) fn said_once(quiet: bool) -> Reporter {
    let said: Mutex<BTreeSet<String>> = Mutex::default();
    Arc::new(move |what: Option<&str>| {
        // That a call is in flight again is no news here.
        if let Some(what) = what.filter(|what| *what != RESPONSE)
            && !quiet
            && said.lock().unwrap_or_else(PoisonError::into_inner).insert(what.to_owned())
        {
            line(&format!("waiting for {what}..."));
        }
    })
}

/// After this time a read reports what it waits for, and then again every [`REMINDER`].
const PATIENCE: Duration = Duration::from_secs(3);
const REMINDER: Duration = Duration::from_secs(20);
/// How many waits are named; the rest are counted.
const NAMED_WAITS: usize = 3;

/// Runs `work`, and reports on stderr what it waits for.
pub(super) async fn telling<T>(quiet: bool, waits: impl Fn() -> Vec<String>, work: impl Future<Output = T>) -> T {
    let start = Instant::now();
    let mut work = pin!(work);
    let mut next = start + PATIENCE;
    loop {
        if let Ok(done) = timeout_at(next, &mut work).await {
            return done;
        }
        next = Instant::now() + REMINDER;
        if !quiet {
            line(&format!("{} ({} s)", said_of(&waits()), start.elapsed().as_secs()));
        }
    }
}

/// `waiting for A, B, C and 4 more`.
fn said_of(waits: &[String]) -> String {
    // A wait that several share is reported once.
    let about = |wait: &'_ String| wait.strip_prefix(ANSWER)?.strip_prefix(" about ").map(str::to_owned);
    let about: Vec<String> = waits.iter().filter_map(about).collect();
    let is_alike = about.len() > 1 && waits.iter().all(|wait| wait.starts_with(ANSWER));
    if is_alike {
        let named = about.iter().take(NAMED_WAITS).cloned().collect::<Vec<_>>().join(", ");
        let more = about.len().saturating_sub(NAMED_WAITS);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        return format!("waiting for {ANSWER} about {named}{more}");
    }
    let named: Vec<&str> = waits.iter().take(NAMED_WAITS).map(String::as_str).collect();
    match waits.len() - named.len() {
        0 if named.is_empty() => format!("waiting for {ANSWER}"),
        0 => format!("waiting for {}", named.join(", ")),
        more => format!("waiting for {} and {more} more", named.join(", ")),
    }
}

pub(super) enum Answer {
    Yes,
    No,
    Interrupted,
}

pub(super) async fn confirm(terminal: &Terminal, cx: &Context, destroy: bool) -> Result<Answer, Failure> {
    if !Terminal::can_ask() {
        let what = if destroy { "destroy" } else { "a plan that destroys, replaces or adopts resources" };
        let problem = format!("{what} needs confirmation, but there is no terminal (or CI is set)");
        let diagnostic = Diagnostic::error(problem, "review the plan, then add `--yes`");
        return Err(Failure::one(diagnostic.why("nothing was changed")));
    }
    let question =
        if destroy { "Do you really want to destroy this?" } else { "Do you want to perform these actions?" };
    match ask(terminal, cx, question).await {
        Answer::Interrupted => {
            let gap = if IS_JSON.load(Ordering::Relaxed) { "" } else { "\n" };
            line(&format!("{gap}interrupted; nothing was changed"));
            Ok(Answer::Interrupted)
        }
        answer => Ok(answer),
    }
}

/// Asks on the terminal; only `yes` confirms.
pub(super) async fn ask(terminal: &Terminal, cx: &Context, question: &str) -> Answer {
    let space = if terminal.err.plain { "" } else { "\n" };
    terminal.prompt(&format!("{space}{question} Only 'yes' will be accepted:"));
    let answer = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).map(|_| line)
    });
    tokio::select! {
        line = answer => match line {
            Ok(Ok(line)) if line.trim() == "yes" => Answer::Yes,
            _ => Answer::No,
        },
        () = cx.interrupt() => Answer::Interrupted,
    }
}

/// Returns at the second Ctrl-C or TERM; the first one is sent through `sender`.
pub(super) async fn signals(sender: watch::Sender<bool>) {
    let Ok(mut presses) = Presses::listen() else {
        // Without handlers the default applies: the first signal ends the process.
        return std::future::pending().await;
    };
    presses.next().await;
    // The receiver is only dropped when the command has ended.
    let _ = sender.send(true);
    presses.next().await;
}

/// A flag that the first Ctrl-C or TERM from now on sets, for work that blocks its thread.
pub(super) fn interrupted() -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let (set, (ready, is_ready)) = (Arc::clone(&flag), std::sync::mpsc::channel::<()>());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        // Without a handler the default applies: the signal ends the process.
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            let Ok(mut presses) = Presses::listen() else { return };
            drop(ready);
            presses.next().await;
            set.store(true, Ordering::Relaxed);
        });
    });
    // Ends when the thread listens, or can't.
    let _ = is_ready.recv();
    flag
}

/// Ctrl-C and, on Unix, TERM.
#[cfg(unix)]
struct Presses {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Presses {
    fn listen() -> std::io::Result<Presses> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Presses { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Presses;

#[cfg(not(unix))]
impl Presses {
    fn listen() -> std::io::Result<Presses> {
        Ok(Presses)
    }

    async fn next(&mut self) {
        // An error means that Ctrl-C can't be received.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
