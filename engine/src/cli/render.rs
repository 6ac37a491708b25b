//! `engine render`: prints a spec as it is planned: for one stage, without variables and defaults.
//!
//! **Invariant:** it reads files and calls nothing.

use clap::Args;

use crate::spec::Depth;

use super::CommandContext;
use super::args::{OneSpecArgs, SpecArgs};
use super::exit::{CommandError, Exit};
use super::session;

/// Print a spec with variables, defaults and repetitions filled in
#[derive(Debug, Args)]
#[command(after_help = "\
The result is a spec that plans the same. It contains the values of variables, secret ones, too.

Examples:
  engine render                                   specs/team.yaml
  engine render specs/examples/values.yaml        with `for_each` and `defaults` written out
  engine render specs/examples/values.yaml --var debug=true
                                                  with another value of a variable")]
pub(super) struct RenderArgs {
    #[command(flatten)]
    spec: OneSpecArgs,
}

pub(super) fn run(cx: &CommandContext<'_>, args: RenderArgs) -> Result<Exit, CommandError> {
    let (loaded, errors) = session::load(cx, &SpecArgs::from(&args.spec), Depth::Full)?;
    loaded.iter().for_each(|it| cx.terminal.problems(&it.spec.warnings));
    if !errors.is_empty() {
        return Err(CommandError { exit: Exit::Failed, diagnostics: errors });
    }
    loaded.iter().for_each(|it| cx.terminal.print(&it.spec.rendered()));
    Ok(Exit::Done)
}
