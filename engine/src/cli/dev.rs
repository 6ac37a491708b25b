//! `engine dev`: deploys code each time it is saved, and follows the logs.
//!
//! `watch` notices saved files, `load` loads the spec, `round` plans and deploys.
//!
//! **Invariant:** what is deployed stays when it ends, and it leaves nothing else behind.

mod load;
mod round;
mod watch;

use std::path::{Path, PathBuf};
use std::pin::Pin;

use clap::Args;
use tokio::sync::watch::{Receiver, channel};
use tokio::time::Instant;

use crate::diagnostic::Diagnostic;
use crate::local::Project;
use crate::plan::Options;
use crate::sanitize::is_ci;
use crate::spec::Depth;

use super::CommandContext;
use super::args::{OneSpecArgs, PARALLELISM, SpecArgs};
use super::builds::{BuildArgs, BuildMode};
use super::exit::{CommandError, Exit};
use super::interrupt::on_runtime;
use super::logs::Follower;
use super::session::{self, AwsTarget, Session};
use super::terminal::{Keys, Terminal};
use super::{invoke, verify};

use load::Loader;
use round::{RoundEnd, Rounds, Trigger};
use watch::Watch;

/// Deploy code each time you save it, and follow the logs
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  engine dev --local                  in a local AWS
  engine dev specs/team.yaml          in your AWS account: asks once
  engine dev --local --event event.json
                                      the key `i` invokes the function with this event

Changes of code and of `environment` are deployed without a question. Any other change of the spec is
shown, and the key `a` applies it. `dev` never deletes or replaces a resource.")]
pub(super) struct DevArgs {
    #[command(flatten)]
    spec: OneSpecArgs,
    /// Skip every question: also apply other changes of the spec as you save them
    #[arg(short, long)]
    yes: bool,
    /// The event for the key `i`. Defaults to a stream record of the function's table
    #[arg(short, long, value_name = "FILE")]
    event: Option<PathBuf>,
    #[command(flatten)]
    build: BuildArgs,
}

pub(super) fn run(cx: &CommandContext<'_>, args: DevArgs) -> Result<Exit, CommandError> {
    if !cx.global.local && is_ci() {
        let problem = "`engine dev` deploys to AWS as somebody edits, and CI is set";
        let hint = "run `engine apply` in CI, or add `--local`";
        return Err(CommandError::usage(problem, hint));
    }
    let spec = SpecArgs::from(&args.spec);
    let path = session::path_of(&spec)?;
    // Before the spec is loaded, so that no change is missed.
    let watch = Watch::new(&path, &spec.values.var_file)?;
    let first = session::open(cx, &spec, &Options::default(), Depth::Full);
    if !path.is_file() {
        return first.map(|_| Exit::Done);
    }
    let first = first.and_then(|mut sessions| sessions.pop().ok_or_else(CommandError::interrupted));
    let result = std::thread::scope(|scope| {
        let loader = Loader::start(scope, cx, &spec);
        on_runtime(async |interrupt| {
            let builds = BuildMode::of(&args.build, PARALLELISM);
            let rounds = Rounds::new(cx.terminal, builds, args.yes, interrupt.clone());
            let (terminal, event) = (cx.terminal, args.event.as_deref());
            let (is_local, target, keys, last_event) = (cx.global.local, None, None, None);
            let mut dev =
                DevLoop { terminal, path, event, is_local, watch, loader, rounds, target, keys, last_event, interrupt };
            dev.run(first).await
        })
    });
    match result {
        // It has been reported.
        Err(failure) if failure.diagnostics.is_empty() => Ok(failure.exit),
        result => result,
    }
}

/// The loop of one command.
struct DevLoop<'t, 'a> {
    terminal: &'t Terminal,
    path: PathBuf,
    /// The file with the event for the key `i`.
    event: Option<&'a Path>,
    is_local: bool,
    watch: Watch,
    loader: Loader<'t>,
    rounds: Rounds<'t>,
    /// The AWS in use, and the project whose local AWS it may be.
    target: Option<(AwsTarget, Project)>,
    keys: Option<Keys<'t>>,
    /// The last function that was invoked, and its event.
    last_event: Option<(String, String)>,
    interrupt: Receiver<bool>,
}

/// What happened while the loop waited.
enum Happened {
    Saved,
    Key(char),
    /// The local AWS has stopped.
    Stopped,
    /// The log can't be followed, or stdout is closed.
    Unfollowed(Result<Exit, CommandError>),
    Interrupted,
}

/// How following one session ends.
enum Next<'t> {
    /// Another session replaces it.
    Session(Box<Session<'t>>),
    End(Exit),
}

/// A log that is followed.
type Followed<'f> = Pin<Box<dyn Future<Output = Result<Exit, CommandError>> + 'f>>;

fn nothing<'f>() -> Followed<'f> {
    Box::pin(std::future::pending())
}

impl<'t> DevLoop<'t, '_> {
    async fn run(&mut self, first: Result<Session<'t>, CommandError>) -> Result<Exit, CommandError> {
        let mut follower = Follower::from_now()?;
        if let Ok(session) = &first {
            // `open` has shown the warnings.
            self.rounds.warn(&session.spec, true);
        }
        let mut next = self.start(first).await?;
        loop {
            next = match next {
                Next::Session(session) => loop {
                    if let Some(next) = self.follow(&session, &mut follower).await? {
                        break next;
                    }
                },
                Next::End(exit) => {
                    if self.rounds.has_begun() {
                        self.terminal.note("stopped; what is deployed stays");
                    }
                    return Ok(exit);
                }
            }
        }
    }

    /// Applies the spec, once it has no error.
    async fn start(&mut self, mut loaded: Result<Session<'t>, CommandError>) -> Result<Next<'t>, CommandError> {
        loop {
            let applied = match loaded {
                Ok(session) => self.all(session, Trigger::Start, Instant::now()).await,
                Err(failure) => Err(failure),
            };
            let failure = match applied {
                Ok(session) => {
                    self.greet(&session);
                    return Ok(Next::Session(Box::new(session)));
                }
                Err(failure) => failure,
            };
            let is_in_file = failure.diagnostics.iter().any(|it| it.at.is_some());
            let can_wait = self.rounds.has_begun() || is_in_file && self.can_start();
            if !can_wait || failure.exit == Exit::Interrupted {
                return Err(failure);
            }
            if self.rounds.report(&failure.diagnostics) {
                self.terminal.note(&format!("waiting for a fix: save {} or its code", self.path.display()));
            }
            self.listen();
            match self.happens(&mut nothing()).await {
                Happened::Interrupted => return Ok(Next::End(Exit::Interrupted)),
                Happened::Key('q') => return Ok(Next::End(Exit::Done)),
                _ => {}
            }
            self.watch.refresh()?;
            loaded = self.load().await;
        }
    }

    /// Whether the question before the first apply on AWS can be answered.
    fn can_start(&self) -> bool {
        self.is_local || self.rounds.yes || Terminal::can_prompt()
    }

    /// Loads the spec, and starts the local AWS unless it runs.
    async fn load(&mut self) -> Result<Session<'t>, CommandError> {
        match &self.target {
            Some((target, _)) => {
                let session = self.loader.reload(target).await?;
                self.rounds.warn(&session.spec, false);
                Ok(session)
            }
            None => self.loader.open().await,
        }
    }

    /// Reads all of AWS, and applies what the user agrees to.
    async fn all(&mut self, session: Session<'t>, trigger: Trigger, at: Instant) -> Result<Session<'t>, CommandError> {
        self.target = Some((session.target.clone(), session.project().clone()));
        self.watch.follow(&session)?;
        let DevLoop { rounds, target, .. } = self;
        let stopped = stopped(target.clone());
        let session = tokio::select! {
            session = rounds.all(session, trigger, at) => session?,
            () = stopped => {
                self.target = None;
                return Err(CommandError::one(lost()));
            }
        };
        self.watch.follow_builds()?;
        Ok(session)
    }

    fn listen(&mut self) {
        if self.keys.is_none() {
            self.keys = Keys::listen(self.terminal);
        }
        self.rounds.has_keys = self.keys.is_some();
    }

    /// Says what is watched, and which keys there are.
    fn greet(&mut self, session: &Session<'_>) {
        self.listen();
        let name = session.spec.file.name();
        self.terminal.note(&match self.keys {
            Some(_) => format!("watching {name} and its code; keys: a apply, i invoke, v verify, q quit"),
            None => format!("watching {name} and its code; press Ctrl-C to stop"),
        });
    }

    /// Follows the logs and deploys what is saved, until all of AWS was read again. Returns `None`
    /// if the same session has to be followed again, because its log couldn't be read.
    async fn follow(
        &mut self,
        session: &Session<'t>,
        follower: &mut Follower,
    ) -> Result<Option<Next<'t>>, CommandError> {
        let (_stop, stopped) = channel(false);
        let mut followed = nothing();
        if let Some((cx, inventory)) = self.rounds.inventory() {
            follower.choose(&session.spec, inventory);
            let cx = cx.interrupted_by(stopped.clone());
            followed = Box::pin(follower.follow(session, cx, stopped));
        }
        let mut is_unfollowed = false;
        loop {
            // Once something was deployed or a key was pressed, the log may be readable again.
            let again = is_unfollowed;
            let next = match self.happens(&mut followed).await {
                Happened::Interrupted => return Ok(Some(Next::End(Exit::Interrupted))),
                Happened::Unfollowed(Ok(_)) => return Ok(Some(Next::End(Exit::Done))),
                Happened::Unfollowed(Err(failure)) => {
                    followed = nothing();
                    is_unfollowed = true;
                    Err(failure)
                }
                Happened::Stopped => {
                    self.terminal.note("local AWS: it has stopped; starting it again");
                    self.target = None;
                    self.rounds.forget();
                    let loaded = self.load().await;
                    return self.start(loaded).await.map(Some);
                }
                Happened::Saved => self.save(Instant::now(), &mut followed).await,
                Happened::Key(key) => self.press(key, session, &mut followed).await,
            };
            match next {
                Ok(Some(next)) => return Ok(Some(next)),
                Ok(None) => {}
                Err(failure) if failure.exit == Exit::Interrupted => {
                    return Ok(Some(Next::End(Exit::Interrupted)));
                }
                Err(failure) => drop(self.rounds.report(&failure.diagnostics)),
            }
            if again {
                return Ok(None);
            }
        }
    }

    /// Waits for what happens next, and prints logs meanwhile.
    async fn happens(&mut self, followed: &mut Followed<'_>) -> Happened {
        let DevLoop { watch, keys, interrupt, target, .. } = self;
        let pressed = async {
            match keys {
                Some(keys) => keys.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = interrupt.wait_for(|pressed| *pressed) => Happened::Interrupted,
            () = watch.next() => Happened::Saved,
            key = pressed => key.map_or(Happened::Interrupted, Happened::Key),
            () = stopped(target.clone()) => Happened::Stopped,
            ended = followed => Happened::Unfollowed(ended),
        }
    }

    /// Deploys what was saved.
    async fn save(&mut self, saved_at: Instant, followed: &mut Followed<'_>) -> Result<Option<Next<'t>>, CommandError> {
        self.watch.refresh()?;
        let stopped = stopped(self.target.clone());
        let session = tokio::select! {
            session = with_logs(self.round(saved_at), followed) => session?,
            // The loop notices it again.
            () = stopped => None,
        };
        match session {
            Some(session) => {
                let applied = with_logs(self.all(session, Trigger::Save, saved_at), followed).await?;
                Ok(Some(Next::Session(Box::new(applied))))
            }
            None => Ok(None),
        }
    }

    /// Deploys changes of code and environment; returns the session if there are others.
    async fn round(&mut self, mut saved_at: Instant) -> Result<Option<Session<'t>>, CommandError> {
        loop {
            let session = self.load().await?;
            self.watch.follow(&session)?;
            let DevLoop { rounds, watch, .. } = self;
            let ended = rounds.after_save(session, saved_at, || watch.has_changed()).await?;
            watch.follow_builds()?;
            match ended {
                RoundEnd::Complete => return Ok(None),
                RoundEnd::NeedsAll(session) => return Ok(Some(*session)),
                RoundEnd::Outdated => {
                    watch.next().await;
                    saved_at = Instant::now();
                    watch.refresh()?;
                }
            }
        }
    }

    /// Does what a key is for.
    async fn press(
        &mut self,
        key: char,
        session: &Session<'t>,
        followed: &mut Followed<'_>,
    ) -> Result<Option<Next<'t>>, CommandError> {
        self.rounds.repeat();
        match key {
            'q' => return Ok(Some(Next::End(Exit::Done))),
            'a' | 'y' => {
                let apply = async {
                    let session = self.load().await?;
                    self.all(session, Trigger::Key, Instant::now()).await
                };
                let applied = with_logs(apply, followed).await?;
                return Ok(Some(Next::Session(Box::new(applied))));
            }
            'i' => with_logs(self.invoke(session), followed).await?,
            'v' => {
                let verify = async {
                    let session = self.load().await?;
                    verify::by_key(session, self.rounds.yes, self.interrupt.clone()).await
                };
                with_logs(verify, followed).await?;
            }
            _ => {}
        }
        Ok(None)
    }

    /// Invokes the function that was deployed last, with the last event.
    async fn invoke(&mut self, session: &Session<'_>) -> Result<(), CommandError> {
        let functions = || session.spec.managed("function").map(|it| it.name.as_str());
        let name = functions().find(|it| self.rounds.deployed.iter().any(|name| name == it)).or(functions().next());
        let Some(name) = name else {
            let problem = "the spec has no function to invoke";
            return Err(CommandError::one(Diagnostic::error(problem, "declare a `type: function`")));
        };
        let last = self.last_event.as_ref().filter(|(of, _)| of == name).map(|(_, event)| event.as_str());
        let event = invoke::by_key(session, name, self.event, last, self.interrupt.clone()).await?;
        self.last_event = Some((name.to_owned(), event));
        Ok(())
    }
}

/// Does some work, and prints logs meanwhile.
async fn with_logs<T>(work: impl Future<Output = T>, followed: &mut Followed<'_>) -> T {
    let (mut work, mut has_ended) = (Box::pin(work), false);
    loop {
        tokio::select! {
            done = &mut work => return done,
            ended = &mut *followed, if !has_ended => {
                has_ended = true;
                // The loop notices it again.
                *followed = Box::pin(std::future::ready(ended));
            }
        }
    }
}

/// Ends once the local AWS has stopped; never for AWS itself.
async fn stopped(target: Option<(AwsTarget, Project)>) {
    match target {
        Some((AwsTarget::Local(settings), project)) => session::stopped(&project, &settings).await,
        _ => std::future::pending().await,
    }
}

fn lost() -> Diagnostic {
    let hint = "save a file to start it again, or run `engine local start`";
    Diagnostic::error("the local AWS has stopped during an apply", hint)
}
