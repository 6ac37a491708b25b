//! Loads the spec on a separate thread: packing code takes a while, and starting the local AWS
//! needs a thread that drives no runtime.
//!
//! **Invariant:** it loads one spec at a time.

use std::sync::mpsc::{Sender, channel};
use std::thread::Scope;

use tokio::sync::oneshot;

use crate::cli::CommandContext;
use crate::cli::args::SpecArgs;
use crate::cli::exit::CommandError;
use crate::cli::session::{self, AwsTarget, Session};
use crate::plan::Options;
use crate::spec::Depth;

type LoadedSession<'t> = Result<Session<'t>, CommandError>;

/// Loads the spec of a command.
pub(super) struct Loader<'t> {
    requests: Sender<(Option<AwsTarget>, oneshot::Sender<LoadedSession<'t>>)>,
}

impl<'t> Loader<'t> {
    /// Starts the thread, which ends with the loader.
    pub(super) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        cx: &'scope CommandContext<'t>,
        args: &'scope SpecArgs,
    ) -> Loader<'t>
    where
        't: 'scope,
    {
        let (requests, received) = channel::<(Option<AwsTarget>, oneshot::Sender<LoadedSession<'t>>)>();
        scope.spawn(move || {
            for (target, answer) in received {
                let loaded = match &target {
                    Some(target) => session::reopen(cx, args, target),
                    None => session::open(cx, args, &Options::default(), Depth::Full),
                };
                // Fails only after the command has ended.
                drop(answer.send(one(loaded)));
            }
        });
        Loader { requests }
    }

    /// Loads the spec for a known AWS. Its warnings are left to the caller.
    ///
    /// # Errors
    /// Those of the spec.
    pub(super) async fn reload(&self, target: &AwsTarget) -> LoadedSession<'t> {
        self.request(Some(target.clone())).await
    }

    /// Loads the spec, and starts the local AWS if necessary.
    ///
    /// # Errors
    /// Those of the spec, and of the start.
    pub(super) async fn open(&self) -> LoadedSession<'t> {
        self.request(None).await
    }

    async fn request(&self, target: Option<AwsTarget>) -> LoadedSession<'t> {
        let (sender, answer) = oneshot::channel();
        drop(self.requests.send((target, sender)));
        // The thread ends only with the command.
        answer.await.unwrap_or_else(|_| Err(CommandError::interrupted()))
    }
}

/// The only session of a command with one spec.
fn one(sessions: Result<Vec<Session<'_>>, CommandError>) -> LoadedSession<'_> {
    sessions?.pop().ok_or_else(CommandError::interrupted)
}
