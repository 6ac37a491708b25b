//! The terminal: what is printed on which stream, and how; prompts, and notices while a command
//! waits.
//!
//! **Invariant:** it knows nothing about specs, plans or AWS resources.

#[cfg(unix)]
mod keys;
#[cfg(not(unix))]
#[path = "terminal/no_keys.rs"]
mod keys;
mod prompt;
mod wait;

use std::io::{IsTerminal as _, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use anstream::ColorChoice;
use tracing::{error, info, warn};

use crate::diagnostic::{self, Diagnostic, Severity};
use crate::render::{OutputStyle, Progress, reflow, remedy};
use crate::sanitize::{Screen, is_ci, wants_color};

use super::{ColorWhen, Global, LogFormat};

pub(super) use keys::Keys;
pub(super) use prompt::{Confirmation, ask, ask_until, confirm};
pub(super) use wait::{report_waits_once, with_wait_notice};

/// Whether the reader of stdout has closed it, as `head` does.
#[cfg(unix)]
fn is_stdout_closed() -> bool {
    use rustix::event::{PollFd, PollFlags, poll};
    let out = std::io::stdout();
    // poll reports errors without being asked to.
    let mut pipe = [PollFd::new(&out, PollFlags::empty())];
    let ready = poll(&mut pipe, Some(&Default::default()));
    ready.is_ok() && pipe[0].revents().contains(PollFlags::ERR)
}

#[cfg(not(unix))]
fn is_stdout_closed() -> bool {
    false
}

/// The output streams and how to format text for them.
pub(super) struct Terminal {
    pub(super) out: OutputStyle,
    pub(super) err: OutputStyle,
    pub(super) quiet: bool,
    pub(super) live: bool,
    /// Whether stdout and stderr are windows of that width.
    in_window: [bool; 2],
    logs: LogFormat,
    /// The error that lost output.
    write_error: OnceLock<std::io::Error>,
    /// Set once the reader of stdout has closed it.
    closed: OnceLock<()>,
    /// How the terminal reads lines, while keys are listened for.
    #[cfg(unix)]
    line_mode: std::sync::Mutex<Option<rustix::termios::Termios>>,
}

impl Terminal {
    pub(super) fn new(global: &Global) -> Terminal {
        let choice = match global.color {
            _ if global.plain => ColorChoice::Never,
            ColorWhen::Auto => ColorChoice::Auto,
            ColorWhen::Always => ColorChoice::Always,
            ColorWhen::Never => ColorChoice::Never,
        };
        choice.write_global();
        let width = terminal_size::terminal_size().map_or(80, |(width, _)| usize::from(width.0)).max(40);
        let (out, err) = (std::io::stdout(), std::io::stderr());
        let env = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let dumb = env("TERM").is_none_or(|term| term == "dumb");
        Terminal {
            out: OutputStyle { color: wants_color(&out), width, plain: global.plain },
            err: OutputStyle {
                color: wants_color(&err) && global.log_format == LogFormat::Text,
                width,
                plain: global.plain,
            },
            quiet: global.quiet,
            in_window: [std::io::stdout().is_terminal(), std::io::stderr().is_terminal()]
                .map(|is_terminal| is_terminal && !global.plain),
            // Log lines would interrupt redrawn lines. A CI system may have a terminal, but keeps
            // its output as a log.
            live: err.is_terminal()
                && !dumb
                && global.verbose == 0
                && !global.plain
                && !is_ci()
                && global.log_format == LogFormat::Text,
            logs: global.log_format,
            write_error: OnceLock::new(),
            closed: OnceLock::new(),
            #[cfg(unix)]
            line_mode: std::sync::Mutex::default(),
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
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => drop(self.closed.set(())),
            // The first error counts.
            Err(error) => drop(self.write_error.set(error)),
        }
    }

    /// Text for people, on stdout: no line is longer than the window.
    pub(super) fn show(&self, text: &str) {
        let [in_window, _] = self.in_window;
        self.print(&if in_window { reflow(text, self.out.width) } else { text.to_owned() });
    }

    /// Whether stdout still has a reader, as far as is known.
    pub(super) fn has_reader(&self) -> bool {
        self.closed.get().is_none() && self.write_error.get().is_none() && !is_stdout_closed()
    }

    /// Reports lost output and returns whether any was lost: a script must not mistake the rest for
    /// all.
    pub(super) fn report_write_error(&self) -> bool {
        let Some(error) = self.write_error.get() else { return false };
        let hint = "free disk space or redirect the output elsewhere, and run the command again";
        self.problems(&[Diagnostic::error("couldn't write the output", hint).why(error.to_string())]);
        true
    }

    /// A line for people, on stderr.
    pub(super) fn note(&self, text: &str) {
        if !self.quiet {
            let [_, in_window] = self.in_window;
            line(&if in_window { reflow(text, self.err.width) } else { text.to_owned() });
        }
    }

    /// A line for people, on stderr, also with `--quiet`: part of a question or an error.
    pub(super) fn detail(&self, text: &str) {
        let [_, in_window] = self.in_window;
        line(&if in_window { reflow(text, self.err.width) } else { text.to_owned() });
    }

    /// The outcome of a run, if stderr is JSON.
    pub(super) fn summary(&self, team: &str, stack: &str, status: &str, text: &str) {
        if self.logs == LogFormat::Json && !self.quiet {
            info!(target: "engine::message", team, stack, status, "{}", text.trim());
        }
    }

    /// The progress display of a run. `may_redraw`: nothing else prints meanwhile.
    pub(super) fn progress(&self, may_redraw: bool) -> Progress {
        match self.logs {
            LogFormat::Text => Progress::new(self.err, self.live && may_redraw, self.quiet),
            LogFormat::Json => {
                Progress::on(Box::new(LogLineWriter::default()), Box::new(|| None), self.err, false, self.quiet)
            }
        }
    }

    /// Shows a prompt; a screen reader only reads it once its line ends.
    pub(super) fn prompt(&self, question: &str) {
        if self.logs == LogFormat::Json {
            return line(question.trim());
        }
        put(&format!("{question}{}", if self.err.plain { "\n" } else { " " }));
    }

    /// Errors and warnings, on stderr.
    pub(super) fn problems(&self, diagnostics: &[Diagnostic]) {
        let with_address = |it| super::links::with_address(super::links::REPOSITORY, it);
        let diagnostics: &[Diagnostic] = &diagnostics.iter().map(with_address).collect::<Vec<_>>();
        if self.logs == LogFormat::Json {
            return self.log_problems(diagnostics);
        }
        let (text, [_, in_window]) = (self.err.problems(diagnostics), self.in_window);
        put(&if in_window { reflow(&text, self.err.width) } else { text });
    }

    /// Problems as log lines, if stderr is JSON.
    pub(super) fn log_problems(&self, diagnostics: &[Diagnostic]) {
        if self.logs != LogFormat::Json {
            return;
        }
        for it in diagnostic::in_order(&remedy::worded(diagnostics)) {
            let Diagnostic { problem, why, .. } = it;
            let (code, said) = (it.code(), it.aws_text());
            let (file, hint) = (it.at.as_ref().map(|location| location.file.name()), it.hints.join("; "));
            let line = it.at.as_ref().map(|location| location.line_column().0);
            match it.severity {
                Severity::Error => error!(target: "engine::problem", code, file, line, why, hint, said, "{problem}"),
                Severity::Warning => warn!(target: "engine::problem", code, file, line, why, hint, said, "{problem}"),
            }
        }
    }

    /// Whether there is a user to ask. A CI system may have a terminal, but no user.
    pub(super) fn can_prompt() -> bool {
        std::io::stdin().is_terminal() && std::io::stderr().is_terminal() && !is_ci()
    }
}

/// Text for people, on stderr.
fn put(text: &str) {
    // A terminal that went away is no reason to stop working.
    drop(Screen::stderr().write_all(text.as_bytes()));
}

/// Starts the log on stderr.
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
struct LogLineWriter(Vec<u8>);

impl Write for LogLineWriter {
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
