//! Renders plans, progress, outcomes and errors as text or JSON.
//!
//! **Invariant:** it alone knows colors and columns, and it decides nothing. It shows no value of a
//! sensitive property.

pub mod explain;
pub mod graph;
pub mod invoked;
mod json;
mod list;
pub mod logs;
pub mod markdown;
mod outcome;
mod page;
mod plan;
mod progress;
pub mod remedy;
pub mod status;
pub mod status_page;
pub mod timeline;
mod value;
pub mod verified;

use std::borrow::Cow;
use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use textwrap::core::display_width;

use crate::diagnostic::{self, Diagnostic, wrap};
use crate::sanitize::{self, Reader, is_ci};
use crate::schema::AwsEnv;
use crate::spec::Spec;

pub use json::{outcome_json, plan_json};
pub use list::{Owned, OwnerKind, checkup, outputs, outputs_env, outputs_json, owned, owned_json};
pub use outcome::{ChangeCounts, closing, failures, outcome, total};
pub use plan::{Rows, plan, summary};
pub use progress::{Progress, TICK};

/// How to format text for a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputStyle {
    /// Whether to use color.
    pub color: bool,
    /// Columns.
    pub width: usize,
    /// Whether it is for a screen reader: words instead of symbols, and one line per fact.
    pub plain: bool,
}

const GREEN: Style = AnsiColor::Green.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const RED: Style = AnsiColor::Red.on_default();
const CYAN: Style = AnsiColor::Cyan.on_default();
const BOLD: Style = Style::new().bold();
const PLAIN: Style = Style::new();
const DIM: Style = Style::new().dimmed();

impl OutputStyle {
    /// Formats errors and warnings.
    pub fn problems(self, diagnostics: &[Diagnostic]) -> String {
        let style = match self {
            OutputStyle { plain: true, .. } => diagnostic::Style::Words,
            OutputStyle { color: true, .. } => diagnostic::Style::Ansi,
            _ => diagnostic::Style::Plain,
        };
        let diagnostics = remedy::worded(diagnostics);
        let text = diagnostic::render(&diagnostics, style, self.width);
        let codes = diagnostic::codes(&diagnostics);
        if codes.is_empty() {
            return text;
        }
        let commands = codes.iter().map(|code| format!("`engine explain {code}`")).collect::<Vec<_>>().join(", ");
        let more = format!("For more information, run {commands}");
        let more = if self.plain { more } else { diagnostic::wrap(&more, self.width).join("\n") };
        format!("{text}\n{more}\n")
    }

    /// A text made safe for the stream; see [`sanitize`].
    fn clean(self, text: &str) -> Cow<'_, str> {
        sanitize::clean(text, Reader { color: self.color, runner: is_ci(), raw: false })
    }

    fn paint(self, style: Style, text: &str) -> String {
        if self.color && !text.is_empty() { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

/// Wraps lines longer than `width` at words, with a hanging indent.
pub fn reflow(text: &str, width: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in text.split('\n') {
        if display_width(line) <= width {
            lines.push(line.to_owned());
            continue;
        }
        let content = line.trim_start();
        let lead = line.len() - content.len();
        // Text after a symbol like `+` or `-/+` stays aligned with its start.
        let word = content.split(' ').next().unwrap_or_default();
        let sign = anstream::adapter::strip_str(word).to_string();
        let is_sign = sign.len() <= 3 && !sign.contains(char::is_alphanumeric);
        let hang = lead + if is_sign { sign.len() + 1 } else { 2 };
        let wrapped = wrap(content, width.saturating_sub(hang).max(20));
        let indents = std::iter::once(lead).chain(std::iter::repeat(hang));
        lines.extend(indents.zip(wrapped).map(|(indent, line)| format!("{:indent$}{line}", "")));
    }
    lines.join("\n")
}

/// The first line of a plan: team, stack, account and region.
pub fn heading(spec: &Spec, env: &AwsEnv, notes: &[String], out: OutputStyle) -> String {
    heading_of(&[&spec.team], &spec.stack, env, notes, out)
}

/// The same for several teams whose plans are equal.
pub fn heading_of(teams: &[&str], stack: &str, env: &AwsEnv, notes: &[String], out: OutputStyle) -> String {
    let named = teams.iter().map(|team| out.paint(BOLD, team)).collect::<Vec<_>>().join(", ");
    let teams = if let [_] = teams { format!("team {named}") } else { format!("{} teams: {named}", teams.len()) };
    let mut line = format!(
        "{teams}{} stack {}, account {}, {}",
        if teams.starts_with("team ") { "," } else { ";" },
        out.paint(BOLD, stack),
        out.paint(BOLD, &env.account),
        out.paint(BOLD, &env.region)
    );
    if !notes.is_empty() {
        let _ = write!(line, " ({})", notes.join(", "));
    }
    line
}

/// A sentence, wrapped to the width and indented below its lead.
fn paragraph(text: &mut String, style: Style, lead: &str, sentence: &str, out: OutputStyle) {
    let columns = lead.chars().count();
    let width = if out.plain { usize::MAX } else { out.width };
    for (at, line) in wrap(sentence, width.max(40).saturating_sub(columns)).into_iter().enumerate() {
        // Lines to paste keep the indent of a spec.
        let is_copied = line.starts_with(' ');
        let (lead, columns) = if at == 0 { (lead, columns) } else { ("", if is_copied { 0 } else { columns }) };
        let _ = writeln!(text, "{}", out.paint(style, &format!("{lead:columns$}{line}")));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn wrapped_text_stays_aligned_after_its_symbol() {
        let text =
            "  + todos (table) will be created\n-/+ logger must be replaced\n      # a note of many words\nshort";
        let wrapped = "  + todos (table) will\n    be created\n-/+ logger must be\n    replaced\n      # a note of many\n        words\nshort";
        assert_eq!(reflow(text, 25), wrapped);
    }

    proptest! {
        #[test]
        fn no_line_is_longer_than_the_window_and_no_word_is_lost(
            words in prop::collection::vec("[a-z+#`]{1,12}", 0..60), lead in 0..12_usize, width in 40..100_usize,
        ) {
            let text = format!("{:lead$}{}", "", words.join(" "));
            let wrapped = reflow(&text, width);
            prop_assert!(wrapped.lines().all(|line| display_width(line) <= width), "{wrapped}");
            let of = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            prop_assert_eq!(of(&wrapped), of(&text));
        }
    }
}
