//! `engine schema`: prints the JSON Schema of specs, for editors.
//!
//! **Invariant:** the examples in it are specs that the tests plan and apply.

use clap::Args;

use crate::kinds;
use crate::spec::grammar;

use super::CommandContext;
use super::exit::{CommandError, Exit};

/// Print the JSON Schema for specs, for use in editors
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  engine schema                             print it
  engine schema > specs/spec.schema.json    save it for editors; then start the spec with
                                            # yaml-language-server: $schema=spec.schema.json")]
pub(super) struct SchemaArgs {}

pub(super) fn run(cx: &CommandContext<'_>, SchemaArgs {}: SchemaArgs) -> Result<Exit, CommandError> {
    cx.terminal.print(&json_schema());
    Ok(Exit::Done)
}

/// The JSON Schema of a spec, with examples from the specs that the tests plan and apply.
pub fn json_schema() -> String {
    const EXAMPLES: [&str; 2] =
        [include_str!("../../../specs/team.yaml"), include_str!("../../../specs/examples/everything.yaml")];
    format!("{:#}\n", grammar::json_schema(&kinds::all(), &EXAMPLES))
}
