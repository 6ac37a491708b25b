//! Ctrl-C and TERM: the first one lets a command end in order, the second one ends it.
//!
//! **Invariant:** without a handler the default applies, which ends the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

use crate::diagnostic::Diagnostic;

use super::exit::{CommandError, Exit};

/// Runs `command` on a runtime that listens for Ctrl-C.
pub(super) fn on_runtime(
    command: impl AsyncFnOnce(watch::Receiver<bool>) -> Result<Exit, CommandError>,
) -> Result<Exit, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
        let hint = "close other programs, or raise `ulimit -n`, and run the command again";
        CommandError::one(Diagnostic::error("engine can't start its runtime", hint).why(error.to_string()))
    })?;
    let (sender, receiver) = watch::channel(false);
    let result = runtime.block_on(async {
        // Before the command starts, so that it misses no signal.
        let interrupts = Interrupts::listen();
        tokio::select! {
            result = command(receiver) => result,
            // Ends only at the second signal: the first one goes through the channel.
            () = second(interrupts, sender) => Ok(Exit::Interrupted),
        }
    });
    // A prompt may still block a thread that reads; it must not delay the exit.
    runtime.shutdown_background();
    result
}

/// Returns at the second Ctrl-C or TERM; the first one is sent through `sender`.
async fn second(interrupts: std::io::Result<Interrupts>, sender: watch::Sender<bool>) {
    let Ok(mut interrupts) = interrupts else {
        // Without handlers the default applies: the first signal ends the process.
        return std::future::pending().await;
    };
    interrupts.next().await;
    // The receiver is only dropped when the command has ended.
    let _ = sender.send(true);
    interrupts.next().await;
}

/// A flag that the first Ctrl-C or TERM from now on sets, for work that blocks its thread.
pub(super) fn interrupt_flag() -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let (set, (ready, is_ready)) = (Arc::clone(&flag), std::sync::mpsc::channel::<()>());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        // Without a handler the default applies: the signal ends the process.
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            let Ok(mut interrupts) = Interrupts::listen() else { return };
            drop(ready);
            interrupts.next().await;
            set.store(true, Ordering::Relaxed);
        });
    });
    // Ends when the thread listens, or can't.
    let _ = is_ready.recv();
    flag
}

/// Ctrl-C and, on Unix, TERM.
#[cfg(unix)]
struct Interrupts {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Interrupts {
    fn listen() -> std::io::Result<Interrupts> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Interrupts { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Interrupts;

#[cfg(not(unix))]
impl Interrupts {
    fn listen() -> std::io::Result<Interrupts> {
        Ok(Interrupts)
    }

    async fn next(&mut self) {
        // An error means that Ctrl-C can't be received.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
