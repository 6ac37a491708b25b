//! Prompts. Without a user there is none, and the command fails instead.
//!
//! **Invariant:** only `yes` confirms.

use std::io::BufRead as _;
use std::sync::atomic::Ordering;

use crate::aws::Context;
use crate::cli::exit::CommandError;
use crate::diagnostic::Diagnostic;

use super::{IS_JSON, Terminal, line};

/// The answer to a prompt.
pub(in crate::cli) enum Confirmation {
    Yes,
    No,
    Interrupted,
}

/// Asks whether to apply a plan.
pub(in crate::cli) async fn confirm(
    terminal: &Terminal,
    cx: &Context,
    destroy: bool,
) -> Result<Confirmation, CommandError> {
    if !Terminal::can_prompt() {
        let what = if destroy { "destroy" } else { "a plan that destroys, replaces or adopts resources" };
        let problem = format!("{what} needs confirmation, but there is no terminal (or CI is set)");
        let diagnostic = Diagnostic::error(problem, "review the plan, then add `--yes`");
        return Err(CommandError::one(diagnostic.why("nothing was changed")));
    }
    let question =
        if destroy { "Do you really want to destroy this?" } else { "Do you want to perform these actions?" };
    match ask(terminal, cx, question).await {
        Confirmation::Interrupted => {
            let gap = if IS_JSON.load(Ordering::Relaxed) { "" } else { "\n" };
            line(&format!("{gap}interrupted; nothing was changed"));
            Ok(Confirmation::Interrupted)
        }
        answer => Ok(answer),
    }
}

/// Asks on the terminal; only `yes` confirms.
pub(in crate::cli) async fn ask(terminal: &Terminal, cx: &Context, question: &str) -> Confirmation {
    ask_until(terminal, cx.interrupt(), question).await
}

/// The same before there is a connection; `interrupted` ends once the user presses Ctrl-C.
pub(in crate::cli) async fn ask_until(
    terminal: &Terminal,
    interrupted: impl Future<Output = ()>,
    question: &str,
) -> Confirmation {
    let space = if terminal.err.plain { "" } else { "\n" };
    terminal.prompt(&format!("{space}{question} Only 'yes' will be accepted:"));
    let _lines = terminal.read_lines();
    let answer = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).map(|_| line)
    });
    tokio::select! {
        line = answer => match line {
            Ok(Ok(line)) if line.trim() == "yes" => Confirmation::Yes,
            _ => Confirmation::No,
        },
        () = interrupted => Confirmation::Interrupted,
    }
}
