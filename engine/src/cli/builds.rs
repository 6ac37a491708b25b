//! Builds under `diff` and `apply`: asks for new ones, runs them while AWS is read, and loads what
//! they made.
//!
//! **Invariant:** no build runs that the user hasn't allowed, and `--yes` doesn't allow one.

use std::path::{Component, Path, PathBuf};
use std::process::ExitStatus;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use clap::Args;
use engine_core::build::{Built, Command};
use futures_util::future::try_join_all;
use tokio::sync::{Semaphore, watch};

use crate::build::{self, BuildError, BuildFailure, BuildState, Consent, FinishedBuild, Job};
use crate::diagnostic::{Diagnostic, Location, Severity, SourceFile, Span};
use crate::files;
use crate::plan_file;
use crate::value::Path as PropertyPath;

use super::exit::{CommandError, Exit};
use super::parse::whole_number;
use super::session::{Run, Session};
use super::terminal::{Confirmation, Terminal, ask_until, with_wait_notice};

/// How many lines of a failed build's output are shown, the last ones.
const MAX_LINES: usize = 200;
/// How many characters of a command a message shows; the spec's line is beside it.
const MAX_TITLE: usize = 60;
/// The largest input of which a line is shown, in bytes.
const MAX_QUOTED_FILE: usize = 1 << 20;

/// What the command line allows.
#[derive(Debug, Args, Clone)]
pub(super) struct BuildArgs {
    /// Run builds that haven't been allowed on this machine: they are code of the project
    #[arg(long)]
    pub(super) allow_build: bool,
    /// Maximum duration of a build
    #[arg(long, value_name = "SECONDS", default_value_t = 900,
          value_parser = |text: &str| whole_number::<u32>(text, 1, 86_400))]
    pub(super) build_timeout: u32,
}

/// What a command does about builds.
#[derive(Debug, Clone)]
pub(super) enum BuildMode {
    /// Run those that have to.
    Run {
        /// Whether all are allowed.
        allow: bool,
        /// The maximum duration of each.
        limit: Duration,
        /// How many run at once.
        parallelism: usize,
    },
    /// Run none.
    Skip,
    /// Run none, and use the packages of the saved plan in this file.
    Planned(PathBuf),
}

impl BuildMode {
    pub(super) fn of(args: &BuildArgs, parallelism: u16) -> BuildMode {
        BuildMode::Run {
            allow: args.allow_build,
            limit: Duration::from_secs(args.build_timeout.into()),
            parallelism: parallelism.into(),
        }
    }
}

/// The builds of a command's specs.
pub(super) struct Builds<'t> {
    terminal: &'t Terminal,
    mode: BuildMode,
    jobs: Vec<PlacedBuild>,
}

/// A build and where it is in a spec.
struct PlacedBuild {
    job: Job,
    state: BuildState,
    at: SpecLocations,
}

/// The places of a build's properties in the spec of its first declaration.
struct SpecLocations {
    build: Option<Location>,
    directory: Option<Location>,
    inputs: Option<Location>,
    code: Option<Location>,
}

impl SpecLocations {
    fn of(job: &Job, sessions: &[&Session<'_>]) -> SpecLocations {
        let first = job.users.first().and_then(|(at, resource)| Some((sessions.get(*at)?, resource)));
        let location =
            |path: &PropertyPath| first.and_then(|(session, resource)| session.spec.location(resource, path));
        SpecLocations {
            build: location(&job.build.path),
            directory: location(&job.build.path.key("directory")),
            inputs: location(&job.build.path.key("inputs")),
            code: location(&PropertyPath::property("code")),
        }
    }
}

impl<'t> Builds<'t> {
    /// Finds the builds that have to run, and asks for those that the user hasn't allowed. Runs
    /// none.
    pub(super) async fn prepare(
        terminal: &'t Terminal,
        sessions: &[&Session<'_>],
        mode: BuildMode,
        interrupt: &watch::Receiver<bool>,
    ) -> Result<Builds<'t>, CommandError> {
        let wanted = sessions.iter().enumerate().flat_map(|(at, session)| {
            let builds = session.spec.resources.iter().filter_map(|it| Some((it.name.as_str(), it.build.as_ref()?)));
            builds.map(move |(name, build)| (at, session.project().dir.as_path(), name, build))
        });
        let (mut jobs, mut errors) = (Vec::new(), Vec::new());
        for job in build::jobs(wanted) {
            let at = SpecLocations::of(&job, sessions);
            if let BuildMode::Planned(_) = mode {
                jobs.push(PlacedBuild { job, state: BuildState::default(), at });
                continue;
            }
            match job.state() {
                Ok(state) => jobs.push(PlacedBuild { job, state, at }),
                Err(error) => errors.push(diagnostic(&job, &at, &BuildError::Input(error))),
            }
        }
        if !errors.is_empty() {
            return Err(CommandError { exit: Exit::Failed, diagnostics: errors });
        }
        let builds = Builds { terminal, mode, jobs };
        if let BuildMode::Run { allow: false, .. } = builds.mode {
            builds.ask(interrupt).await?;
        }
        Ok(builds)
    }

    /// The builds that have to run.
    fn stale(&self) -> impl Iterator<Item = &PlacedBuild> {
        self.jobs.iter().filter(|it| !it.state.is_fresh && matches!(self.mode, BuildMode::Run { .. }))
    }

    /// A digest of the inputs of the builds that have to run; `None` if there are none.
    pub(super) fn stale_inputs(&self) -> Option<String> {
        let digests: Vec<String> = self.stale().map(|it| it.job.title() + &it.state.inputs()).collect();
        (!digests.is_empty()).then(|| digests.join(" "))
    }

    /// Asks for the builds that the user hasn't allowed, all at once, and records the answer.
    async fn ask(&self, interrupt: &watch::Receiver<bool>) -> Result<(), CommandError> {
        let consent = Consent::of_user();
        let new: Vec<&PlacedBuild> = self.stale().filter(|it| !consent.covers(&it.job.build)).collect();
        if new.is_empty() {
            return Ok(());
        }
        if !Terminal::can_prompt() {
            let errors = new.iter().map(|it| unasked(it));
            return Err(CommandError { exit: Exit::Failed, diagnostics: errors.collect() });
        }
        self.terminal.detail("The project wants to run these builds on this machine, with your permissions:");
        for PlacedBuild { job, .. } in &new {
            self.terminal.detail(&format!("  {}  (in {})", job.title(), display_path(&job.build.directory)));
        }
        let question = "Allow them, now and from now on?";
        match ask_until(self.terminal, interrupted(interrupt.clone()), question).await {
            Confirmation::Yes => {}
            Confirmation::No => {
                self.terminal.note("Nothing was run and nothing was changed.");
                return Err(CommandError { exit: Exit::Failed, diagnostics: Vec::new() });
            }
            Confirmation::Interrupted => return Err(CommandError::interrupted()),
        }
        for PlacedBuild { job, .. } in new {
            if let Err(error) = consent.add(&job.build) {
                let location = consent.folder().map_or_else(|| "it".to_owned(), |it| format!("`{}`", it.display()));
                let hint = files::remedy(&error, &format!("make {location} writable, or set `HOME`"));
                let problem = "the answer couldn't be recorded, so the next run asks again";
                self.terminal.problems(&[Diagnostic::warning(problem, hint).why(error.to_string())]);
                break;
            }
        }
        Ok(())
    }

    /// The same after they ran.
    pub(super) fn inputs_now(&self) -> String {
        let digests = self.stale().filter_map(|it| Some(it.job.title() + &it.job.state().ok()?.inputs()));
        digests.collect::<Vec<_>>().join(" ")
    }

    /// Runs the builds that have to run; returns whether one of them changed its own inputs.
    pub(super) async fn run(&self, interrupt: &watch::Receiver<bool>) -> Result<bool, CommandError> {
        let BuildMode::Run { limit, parallelism, .. } = self.mode else { return Ok(false) };
        let slots = Semaphore::new(parallelism.max(1));
        let running: Mutex<Vec<String>> = Mutex::default();
        let runs = self.stale().map(|PlacedBuild { job, state, at }| {
            let (slots, running) = (&slots, &running);
            async move {
                let _slot = slots.acquire().await;
                let list = || running.lock().unwrap_or_else(PoisonError::into_inner);
                let title = format!("the build `{}`", short(job));
                self.terminal.note(&format!("building: {}", short(job)));
                list().push(title.clone());
                let ran = job.run(state, limit, interrupted(interrupt.clone())).await;
                list().retain(|it| *it != title);
                let ran = ran.map_err(|error| self.failed(job, at, &error))?;
                self.terminal.problems(&warnings(job, at, &ran));
                Ok::<bool, CommandError>(ran.changed_input.is_some())
            }
        });
        let waits = || running.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let changed = with_wait_notice(self.terminal.quiet, waits, try_join_all(runs)).await?;
        Ok(changed.contains(&true))
    }

    /// Shows the output of a failed build, and returns the error.
    fn failed(&self, job: &Job, at: &SpecLocations, error: &BuildError) -> CommandError {
        if let BuildError::Failed(BuildFailure::Interrupted) = error {
            return CommandError::interrupted();
        }
        if let BuildError::Failed(BuildFailure::Failed(_, output) | BuildFailure::Overdue(_, output)) = error {
            let lines: Vec<&str> = output.trim_end().lines().collect();
            let first = lines.len().saturating_sub(MAX_LINES);
            if first > 0 {
                self.terminal.detail(&format!("  … {first} more lines"));
            }
            lines.iter().skip(first).for_each(|line| self.terminal.detail(&format!("  {line}")));
        }
        CommandError::one(diagnostic(job, at, error))
    }

    /// Loads what the builds made into the specs, except for builds that had to run and didn't.
    pub(super) fn load(&self, runs: &mut [Run<'_>]) -> Result<(), CommandError> {
        let skips = matches!(self.mode, BuildMode::Skip);
        let (mut errors, mut warnings) = (Vec::new(), Vec::new());
        for PlacedBuild { job, .. } in self.jobs.iter().filter(|it| it.state.is_fresh || !skips) {
            for (at, resource) in &job.users {
                let Some(run) = runs.get_mut(*at) else { continue };
                let built = match &self.mode {
                    BuildMode::Planned(plan) => match plan_file::read_package(plan, resource) {
                        Ok(package) => Built::Package(package.into()),
                        Err(error) => {
                            errors.push(error);
                            continue;
                        }
                    },
                    BuildMode::Run { .. } | BuildMode::Skip => Built::Output(job.folder()),
                };
                for problem in run.session.spec.load_built(resource, &built) {
                    let list = if problem.severity == Severity::Error { &mut errors } else { &mut warnings };
                    if !list.contains(&problem) {
                        list.push(problem);
                    }
                }
            }
        }
        self.terminal.problems(&warnings);
        match errors.is_empty() {
            true => Ok(()),
            false => Err(CommandError { exit: Exit::Failed, diagnostics: errors }),
        }
    }
}

/// Ends at the first Ctrl-C.
async fn interrupted(mut interrupt: watch::Receiver<bool>) {
    if interrupt.wait_for(|is_interrupted| *is_interrupted).await.is_err() {
        // Without a sender there is no Ctrl-C.
        std::future::pending::<()>().await;
    }
}

/// A folder as the user would write it.
fn display_path(folder: &Path) -> String {
    let real = path_from_here(folder);
    if real.is_empty() { ".".to_owned() } else { real }
}

/// What a build does, on one line.
fn short(job: &Job) -> String {
    let title = job.title();
    match title.char_indices().nth(MAX_TITLE) {
        Some((end, _)) => format!("{}…", &title[..end]),
        None => title,
    }
    .replace('\n', " ")
}

/// The error for a build that can't be asked for.
fn unasked(PlacedBuild { job, at, .. }: &PlacedBuild) -> Diagnostic {
    let problem = format!(
        "the build `{}` hasn't been allowed on this machine, and there is no terminal to ask (or CI is set)",
        short(job)
    );
    let why = "a build is code of the project: it runs with your permissions and can read your files; nothing was run";
    let hint = "review the command, then add `--allow-build`; `diff --no-build` plans without it";
    at_location(Diagnostic::error(problem, hint).why(why), at.build.as_ref())
}

fn at_location(diagnostic: Diagnostic, location: Option<&Location>) -> Diagnostic {
    match location {
        Some(location) => diagnostic.at(location.clone()),
        None => diagnostic,
    }
}

/// The error of a build.
fn diagnostic(job: &Job, at: &SpecLocations, error: &BuildError) -> Diagnostic {
    let title = short(job);
    match error {
        BuildError::Input(error) => {
            if !job.build.directory.is_dir() {
                let problem =
                    format!("the folder `{}` of the build `{title}` doesn't exist", display_path(&job.build.directory));
                let hint = "correct `directory`, which is relative to the spec";
                return at_location(Diagnostic::error(problem, hint), at.directory.as_ref());
            }
            let (problem, hint) = match error.error.kind() {
                std::io::ErrorKind::NotFound => (
                    format!("the input `{}` of the build `{title}` doesn't exist", error.input),
                    "correct the path, which is relative to the build's `directory`",
                ),
                _ => (
                    format!("can't read `{}`, an input of the build `{title}`", error.path.display()),
                    "make it readable, or list the files that the build needs in `inputs`",
                ),
            };
            at_location(Diagnostic::error(problem, hint).why(error.error.to_string()), at.inputs.as_ref())
        }
        BuildError::NoOutput(path) => {
            let problem = format!("the build `{title}` succeeded, but `{}` is missing or empty", path.display());
            let hint = "set `code` to the file or folder that the build writes, relative to the spec";
            at_location(Diagnostic::error(problem, hint), at.code.as_ref())
        }
        BuildError::Io(path, error) => {
            let problem = format!("can't read or write `{}` for the build `{title}`", path.display());
            let hint = files::remedy(error, "make it writable, and remove it if it is a link");
            at_location(Diagnostic::error(problem, hint).why(error.to_string()), at.build.as_ref())
        }
        BuildError::Failed(failure) => {
            let explained = match failure {
                BuildFailure::Failed(_, output) => explained(job, output, at),
                _ => None,
            };
            explained.unwrap_or_else(|| at_location(of_failure(job, failure), at.build.as_ref()))
        }
    }
}

fn of_failure(job: &Job, failure: &BuildFailure) -> Diagnostic {
    let title = short(job);
    match failure {
        BuildFailure::Missing(problem) => {
            let error = Diagnostic::error(problem.problem.clone(), problem.hint.clone());
            match &problem.why {
                Some(why) => error.why(why.clone()),
                None => error,
            }
        }
        BuildFailure::NotFound(program, install) => {
            let problem = format!("the build `{title}` needs `{program}`, which isn't in your `PATH`");
            Diagnostic::error(problem, install.unwrap_or("install it, or correct the command"))
        }
        BuildFailure::Unstartable(error) => {
            let hint = "check that the build's `directory` exists and that its program can be run";
            Diagnostic::error(format!("the build `{title}` can't be started"), hint).why(error.to_string())
        }
        BuildFailure::Failed(status, _) => {
            let problem = format!("the build `{title}` failed with {}", ending(*status));
            Diagnostic::error(problem, by_hand(job)).why("its output is above; nothing was changed")
        }
        BuildFailure::Overdue(limit, _) => {
            let problem = format!("the build `{title}` was stopped after {} s", limit.as_secs());
            let hint = "if it isn't stuck, raise `--build-timeout`";
            Diagnostic::error(problem, hint).hint(by_hand(job)).why("its output so far is above; nothing was changed")
        }
        BuildFailure::Interrupted => Diagnostic::error(format!("the build `{title}` was interrupted"), by_hand(job)),
    }
}

/// What a tool's own message means, at the line that it is about.
fn explained(job: &Job, output: &str, at: &SpecLocations) -> Option<Diagnostic> {
    let Command::Tool { explanations, .. } = &job.build.command else { return None };
    explanations.iter().find_map(|it| {
        let subject = output.lines().find_map(|line| Some(line.split_once(it.marker)?.1.trim()))?;
        let error = Diagnostic::error(it.problem.replace("{}", subject), it.hint);
        let error = error.why("the tool's output is above; nothing was changed");
        Some(at_location(error, line_about(job, subject).as_ref().or(at.build.as_ref())))
    })
}

/// The line of an input that begins with the first word of `subject`.
fn line_about(job: &Job, subject: &str) -> Option<Location> {
    let is_name = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    let name = subject.split(|c| !is_name(c)).next().filter(|name| !name.is_empty())?.to_lowercase();
    job.build.inputs.iter().find_map(|input| {
        let path = job.build.directory.join(input);
        let text = String::from_utf8(files::read(&path, MAX_QUOTED_FILE).ok()?).ok()?;
        let lines = text.split_inclusive('\n');
        let starts = lines.scan(0, |end, line| Some((std::mem::replace(end, *end + line.len()), line)));
        let (start, line) = starts.into_iter().find(|(_, line)| {
            let line = line.to_lowercase();
            line.strip_prefix(&name).is_some_and(|rest| !rest.starts_with(is_name))
        })?;
        let span = Span::new(start, start + line.trim_end().len());
        let file = SourceFile::new(path_from_here(&path), text);
        file.reveal_except(Vec::new());
        Some(file.location(span))
    })
}

/// A path relative to the current folder, if it is below it.
fn path_from_here(path: &Path) -> String {
    let here = std::env::current_dir().and_then(|it| it.canonicalize()).unwrap_or_default();
    let real = path.canonicalize().unwrap_or_else(|_| normal(path));
    real.strip_prefix(&here).unwrap_or(&real).display().to_string()
}

/// An absolute path without `..`, for a path that doesn't exist.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).components() {
        match part {
            Component::ParentDir => drop(normal.pop()),
            part => normal.push(part),
        }
    }
    normal
}

/// How to see more of a failing build.
fn by_hand(job: &Job) -> String {
    let folder = display_path(&job.build.directory);
    match &job.build.command {
        Command::Shell(line) => format!("fix what it reports; to run it by hand, in `{folder}`: {line}"),
        Command::Program(words) => {
            format!("fix what it reports; to run it by hand, in `{folder}`: {}", words.join(" "))
        }
        Command::Tool { .. } => "fix what it reports, or write the command that you need as `build:`".to_owned(),
    }
}

fn ending(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exit code {code}"),
        None => status.to_string(),
    }
}

/// What a build did that will be a problem in later runs.
fn warnings(job: &Job, at: &SpecLocations, ran: &FinishedBuild) -> Vec<Diagnostic> {
    let title = short(job);
    let changed = ran.changed_input.as_ref().map(|input| {
        let problem = format!("the build `{title}` changed `{input}`, which is one of its inputs");
        let hint = "let it write only to `code`, list its `inputs`, or add the file to .gitignore";
        at_location(Diagnostic::warning(problem, hint).why("it will run again each time"), at.build.as_ref())
    });
    let differs = ran.differs.then(|| {
        let problem = format!("the build `{title}` made something else from the same inputs");
        let hint = "keep times, random names and absolute paths out of its output; many tools read `SOURCE_DATE_EPOCH`";
        let why = "each build of an unchanged project on another machine shows as a change of the code";
        at_location(Diagnostic::warning(problem, hint).why(why), at.build.as_ref())
    });
    changed.into_iter().chain(differs).collect()
}
