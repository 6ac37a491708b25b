//! `engine explain`: explains resource types, their properties, the keys of a spec, and error
//! codes.
//!
//! **Invariant:** it uses the tables that validation, planning and errors use.

use clap::Args;

use crate::cause::Code;
use crate::diagnostic::nearest;
use crate::render::explain;
use crate::spec::kind_elsewhere;

use super::CommandContext;
use super::exit::{CommandError, Exit};

/// The name under which the keys are shown that are independent of a resource type.
pub(super) const SPEC: &str = "spec";

/// Explain a resource type, property or error code
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  engine explain                        all resource types and error codes
  engine explain table                  a resource type
  engine explain table.ttl_attribute    one of its properties
  engine explain table protect          a setting that every resource accepts
  engine explain spec                   the top-level keys of a spec
  engine explain role-not-assumable     an error code")]
pub(super) struct ExplainArgs {
    /// A resource type, one of its properties (`table.hash_key` or `table hash_key`), `spec`, or an
    /// error code
    #[arg(value_name = "TYPE[.PROPERTY] | spec | CODE", num_args = 0..=2)]
    what: Vec<String>,
}

pub(super) fn run(cx: &CommandContext<'_>, args: ExplainArgs) -> Result<Exit, CommandError> {
    // `table hash_key` is `table.hash_key`.
    let topic = args.what.join(".");
    let text = match Code::named(&topic) {
        _ if args.what.is_empty() => all(cx),
        Some(code) => explain::code(code, cx.terminal.out),
        None => kind(cx, &topic)?,
    };
    cx.terminal.print(&text);
    Ok(Exit::Done)
}

/// All resource types and error codes.
fn all(cx: &CommandContext<'_>) -> String {
    let (kinds, codes) = (explain::kinds(cx.kinds.schemas(), cx.terminal.out), explain::codes(cx.terminal.out));
    format!("{kinds}\n`engine explain spec` shows the other keys of a spec.\n\nError codes:\n{codes}")
}

/// A resource type or one of its properties, or the keys of a spec.
fn kind(cx: &CommandContext<'_>, topic: &str) -> Result<String, CommandError> {
    let style = cx.terminal.out;
    let (kind, property) = topic.split_once('.').map_or((topic, None), |(kind, property)| (kind, Some(property)));
    let (text, known): (_, Vec<&str>) = match cx.kinds.schemas().find(|schema| schema.kind == kind) {
        Some(schema) => {
            let settings = explain::settings_of(schema).map(|(word, _)| word);
            let known = schema.settable().map(|property| &*property.name).chain(settings).collect();
            (explain::kind(schema, property, style), known)
        }
        None if kind == SPEC => (explain::spec(&cx.kinds, property, style), explain::spec_keys().collect()),
        None => return Err(unknown_kind(cx, kind, property)),
    };
    text.ok_or_else(|| {
        let property = property.unwrap_or_default();
        let suggestion = nearest(property, known);
        let suggestion = suggestion.map_or_else(String::new, |near| format!("did you mean `{kind}.{near}`? "));
        let hint = format!("{suggestion}`engine explain {kind}` lists them");
        CommandError::usage(format!("a {kind} has no property `{property}`"), hint)
    })
}

fn unknown_kind(cx: &CommandContext<'_>, kind: &str, property: Option<&str>) -> CommandError {
    let kinds = || cx.kinds.schemas().map(|schema| &*schema.kind).chain([SPEC]);
    let near = nearest(kind, kinds().chain(Code::ALL.iter().map(|code| code.name())));
    let rest = property.map_or_else(String::new, |property| format!(".{property}"));
    let hint = match near.or_else(|| kind_elsewhere(&cx.kinds, kind)) {
        Some(near) if kinds().any(|kind| kind == near) => {
            format!("did you mean `{near}{rest}`? `engine explain` lists resource types and error codes")
        }
        Some(near) => format!("did you mean `{near}`? `engine explain` lists resource types and error codes"),
        None => {
            let kinds = kinds().map(|kind| format!("`{kind}`")).collect::<Vec<_>>().join(", ");
            format!("the resource types are {kinds}; `engine explain` also lists error codes")
        }
    };
    CommandError::usage(format!("no resource type or error code is named `{kind}`"), hint)
}
