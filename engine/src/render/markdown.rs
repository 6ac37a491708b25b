//! Renders a plan and its outcome as a comment on a pull request.
//!
//! The counts, the action for each resource, losses and refusals come first, then the properties,
//! folded. GitHub accepts at most 65,536 characters, so a long comment omits details, then rows,
//! and states that it does.
//!
//! **Invariant:** at most [`LIMIT`] characters, for any plan. Text from a spec or from AWS is
//! neither markup nor a mention, and it leaves no table, fence or fold open.

use std::fmt::Write as _;

use textwrap::core::display_width;

use crate::apply::StepOutcome;
use crate::plan::{Action, Change, Plan};
use crate::schema::AwsEnv;
use crate::spec::Spec;

use super::OutputStyle;
use super::outcome::{ChangeCounts, verb_of};
use super::plan::{FORCES, PropertyLine, Rows, action_phrase, action_style, distinctive_name, grouped, lines, summary};
use super::remedy;

/// The maximum length, in characters.
pub const LIMIT: usize = 60_000;
/// The maximum length of the notes and of the outcome, so that there is always room for rows.
const LISTS: usize = 15_000;
/// Reserved for the lines about what is omitted.
const RESERVE: usize = 1_000;
/// The maximum length of a name, of a sentence and of a value.
const NAME: usize = 256;
const SENTENCE: usize = 2_000;
const VALUE: usize = 1_000;

/// The maximum width of the column of paths.
const COLUMN: usize = 40;

/// No color and no wrapping.
const NO_STYLE: OutputStyle = OutputStyle { color: false, width: usize::MAX, plain: false };

/// The context of a plan.
#[derive(Debug, Clone, Copy)]
pub struct PlanContext<'a> {
    /// The spec.
    pub spec: &'a Spec,
    /// Region and account.
    pub env: &'a AwsEnv,
    /// The overrides on the command line.
    pub notes: &'a [String],
    /// Which rows are listed.
    pub rows: Rows,
    /// Whether everything will be destroyed.
    pub destroy: bool,
}

/// Renders a plan.
pub fn plan(page: &PlanContext<'_>, plan: &Plan) -> String {
    compose(page, plan, "")
}

/// Renders a plan and the outcome of its steps.
pub fn outcome(page: &PlanContext<'_>, plan: &Plan, status: &str, endings: &[StepOutcome]) -> String {
    compose(page, plan, &ended(plan, status, endings, page.destroy))
}

/// Text with a limited length in characters.
struct BoundedText {
    text: String,
    left: usize,
}

impl BoundedText {
    fn new(left: usize) -> BoundedText {
        BoundedText { text: String::new(), left }
    }

    /// Adds all of `text` if it fits, or nothing.
    fn add(&mut self, text: &str) -> bool {
        let length = text.chars().count();
        let fits = length <= self.left;
        if fits {
            self.left -= length;
            self.text.push_str(text);
        }
        fits
    }
}

fn compose(page: &PlanContext<'_>, plan: &Plan, ended: &str) -> String {
    let PlanContext { spec, env, notes, rows, destroy } = *page;
    let mut head = format!("### team {}, stack {}\n\n", code(&spec.team), code(&spec.stack));
    let _ = write!(head, "account {}, region {}", code(&env.account), code(&env.region));
    if !notes.is_empty() {
        let _ = write!(head, " ({})", sentence(&clip(&notes.join(", "), NAME)));
    }
    let _ = write!(head, "\n\n**{}**\n", summary(plan, destroy, NO_STYLE));
    let warnings = warnings(plan);

    // What comes last is omitted first.
    let taken = [head.as_str(), &warnings, ended].map(|text| text.chars().count()).iter().sum::<usize>();
    let mut part = BoundedText::new(LIMIT.saturating_sub(taken + RESERVE));
    let shown: Vec<&Change> = rows.of(plan, destroy).collect();
    table(&mut part, &shown);
    let unchanged = plan.changes.len() - shown.len();
    if unchanged > 0 {
        let what = if unchanged == 1 { "1 resource is unchanged" } else { "resources are unchanged" };
        let count = if unchanged == 1 { String::new() } else { format!("{} ", grouped(&unchanged.to_string())) };
        let _ = write!(part.text, "\n{count}{what}.\n");
    }
    part.text.push_str(&warnings);
    details(&mut part, &shown);
    format!("{head}{}{ended}", part.text)
}

/// The importance of a row; the lowest is the most important.
fn weight(change: &Change) -> u8 {
    match change.action {
        Action::Refused => 0,
        Action::Delete | Action::Replace => 1,
        Action::Adopt | Action::Forget => 2,
        Action::Update => 3,
        Action::Create => 4,
        Action::None | Action::Import => 5,
    }
}

fn table(part: &mut BoundedText, rows: &[&Change]) {
    if rows.is_empty() {
        return;
    }
    let line = |change: &Change| {
        format!(
            "| `{}` | {} | {} | {} | {} |\n",
            // A code span must not be empty.
            action_style(change.action).symbol.replace(' ', "·"),
            code(&change.resource),
            code(&change.kind),
            distinctive_name(change).map_or_else(String::new, code),
            action_phrase(change),
        )
    };
    part.add("\n| | resource | kind | name in AWS | |\n|---|---|---|---|---|\n");
    let all: String = rows.iter().map(|change| line(change)).collect();
    if part.add(&all) {
        return;
    }
    // With omissions, the most important rows come first.
    let mut ordered = rows.to_vec();
    ordered.sort_by_key(|change| weight(change));
    let listed = ordered.iter().take_while(|change| part.add(&line(change))).count();
    let _ = write!(part.text, "\n… and {} more\n", grouped(&(rows.len() - listed).to_string()));
}

/// The notes: refusals with their remedies, losses, and remarks on the whole plan.
fn warnings(plan: &Plan) -> String {
    let mut items: Vec<(u8, String)> = Vec::new();
    for change in &plan.changes {
        let who = code(&change.resource);
        let is_refused = change.action == Action::Refused;
        let weight = if is_refused || change.needs_approval { weight(change) } else { 6 };
        let verdict = if is_refused { " is refused" } else { "" };
        if let Some(reason) = &change.reason {
            let mut item = format!("- {who}{verdict}: {}\n", sentence(&remedy::text(reason)));
            if let (true, Some(hint)) = (is_refused, &change.hint) {
                let hint = remedy::text(hint);
                let (first, rest) = hint.split_once('\n').unwrap_or((&hint, ""));
                let _ = write!(item, "  - {}\n{}", sentence(first), fenced("yaml", rest, "    "));
            }
            items.push((weight, item));
        }
        items.extend(change.remarks.iter().map(|remark| (weight, format!("- {who}: {}\n", sentence(remark)))));
    }
    items.extend(plan.remarks.iter().map(|remark| (0, format!("- {}\n", sentence(&remedy::text(remark))))));
    if items.is_empty() {
        return String::new();
    }
    items.sort_by_key(|(weight, _)| *weight);
    let mut part = BoundedText::new(LISTS);
    part.add("\n#### Notes\n");
    let listed = items.iter().filter(|(_, item)| part.add(item)).count();
    left_out(&mut part.text, items.len() - listed);
    part.text
}

/// The last line of an incomplete list.
fn left_out(text: &mut String, n_items: usize) {
    if n_items > 0 {
        let _ = writeln!(text, "- … and {} more", grouped(&n_items.to_string()));
    }
}

/// The properties, in one fold per resource.
fn details(part: &mut BoundedText, rows: &[&Change]) {
    let mut dropped = 0;
    for change in rows {
        let lines = lines(change);
        if lines.is_empty() {
            continue;
        }
        let count = if lines.len() == 1 { "1 property".to_owned() } else { format!("{} properties", lines.len()) };
        let columns = lines.iter().map(|line| display_width(&line.path)).max().unwrap_or(0).min(COLUMN);
        let text: String = lines.iter().map(|line| property(line, columns)).collect();
        let fold = format!(
            "\n<details>\n<summary>{} {}: {count}</summary>\n\n{}\n</details>\n",
            escaped(action_style(change.action).symbol),
            html_code(&change.resource),
            fenced("diff", &text, "")
        );
        if !part.add(&fold) {
            dropped += 1;
        }
    }
    if dropped > 0 {
        let what = if dropped == 1 { "1 resource" } else { "resources" };
        let count = if dropped == 1 { String::new() } else { format!("{} ", grouped(&dropped.to_string())) };
        let _ = write!(part.text, "\nThe properties of {count}{what} are omitted: the comment would be too long.\n");
    }
}

fn property(line: &PropertyLine, columns: usize) -> String {
    let value = |text: &str| {
        let n_chars = text.chars().count();
        let cut =
            if n_chars > VALUE { format!(" ({} characters)", grouped(&n_chars.to_string())) } else { String::new() };
        format!("{}{cut}", clip(text, VALUE))
    };
    let after = value(&line.after.on_one_line());
    let path = clip(&line.path, NAME);
    match &line.before {
        None => format!("+ {path:columns$} = {after}\n"),
        Some(before) => {
            let force = if line.forces { format!(" {}", FORCES) } else { String::new() };
            let before = value(&before.on_one_line());
            let sign = if line.forces { "!" } else { "~" };
            format!("{sign} {path:columns$} = {before} -> {after}{force}\n")
        }
    }
}

fn ended(plan: &Plan, status: &str, endings: &[StepOutcome], destroy: bool) -> String {
    if endings.is_empty() {
        return match status {
            "refused" => "\nNothing was changed.\n".to_owned(),
            "declined" => "\nNothing was changed: the plan was not confirmed.\n".to_owned(),
            "interrupted" => "\nNothing was changed: the command was interrupted.\n".to_owned(),
            _ => String::new(),
        };
    }
    let done = ChangeCounts::of(plan, endings).text(destroy);
    let verb = if destroy { "Destroy" } else { "Apply" };
    if endings.iter().all(|ending| matches!(ending, StepOutcome::Done(_))) {
        return format!("\n**{verb} complete! Resources: {done}.**\n");
    }
    let mut part = BoundedText::new(LISTS);
    part.add("\n#### Incomplete steps\n");
    let mut n_left = 0;
    for (step, ending) in plan.steps.iter().zip(endings) {
        let Some(change) = plan.changes.get(step.change) else { continue };
        let what = format!("{} {}", verb_of(step.op).0, code(&change.resource));
        let item = match ending {
            StepOutcome::Done(_) => continue,
            StepOutcome::Failed(error) if error.is_interrupted() => {
                format!("- stopped: {what}: {}\n", sentence(&error.message))
            }
            StepOutcome::Failed(error) => {
                let cause = error.cause;
                let text =
                    format!("- **failed** ({}): {what}: {}\n", code(cause.name()), sentence(cause.entry().title));
                let notes =
                    [Some(error.why()), Some(remedy::text(&error.hint())), error.aws_text()].into_iter().flatten();
                notes.fold(text, |text, note| format!("{text}  - {}\n", sentence(&note)))
            }
            StepOutcome::Skipped(cause) => format!("- skipped: {what}: it depends on {}\n", code(cause)),
            StepOutcome::NotStarted => format!("- not run: {what}\n"),
        };
        if !part.add(&item) {
            n_left += 1;
        }
    }
    left_out(&mut part.text, n_left);
    format!("{}\n**{verb} incomplete: {done}.** Run the same command again to continue.\n", part.text)
}

/// At most `most` characters, on one line, without control characters and bidirectional formatting.
fn clip(text: &str, most: usize) -> String {
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let clean = |c: char| match c {
        '\n' | '\t' => ' ',
        c if c.is_control() || turns(c) || matches!(c, '\u{2028}' | '\u{2029}') => '\u{fffd}',
        c => c,
    };
    let mut chars = text.chars().map(clean);
    let mut clipped: String = chars.by_ref().take(most).collect();
    if chars.next().is_some() {
        clipped.push('…');
    }
    clipped
}

/// Escapes all markup as character references.
fn escaped(text: &str) -> String {
    let mut safe = String::new();
    for c in text.chars() {
        match c {
            // GitHub detects mentions and issues after it decodes character references.
            '@' | '#' => {
                let _ = write!(safe, "&#{};&#8203;", u32::from(c));
            }
            '&' | '<' | '>' | '`' | '|' | '\\' | '*' | '_' | '~' | '[' | ']' | '!' | '$' => {
                let _ = write!(safe, "&#{};", u32::from(c));
            }
            c => safe.push(c),
        }
    }
    safe
}

/// A name as code, in Markdown.
fn code(name: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_.:/=,+".contains(c);
    if !name.is_empty() && name.chars().all(plain) && name.chars().count() <= NAME {
        format!("`{name}`")
    } else {
        html_code(name)
    }
}

/// A name as code, in HTML.
fn html_code(name: &str) -> String {
    format!("<code>{}</code>", escaped(&clip(name, NAME)))
}

/// A sentence with values in backticks.
fn sentence(text: &str) -> String {
    let text = clip(text, SENTENCE);
    let stretches: Vec<&str> = text.split('`').collect();
    let n_stretches = stretches.len();
    let mut safe = String::new();
    for (at, stretch) in stretches.into_iter().enumerate() {
        match at % 2 {
            // The last backtick has no partner.
            1 if at + 1 == n_stretches => safe.push_str(&escaped(&format!("`{stretch}"))),
            1 => safe.push_str(&code(stretch)),
            _ => safe.push_str(&escaped(stretch)),
        }
    }
    safe
}

/// Lines in a fence that nothing in them can close; empty for an empty text.
fn fenced(language: &str, text: &str, indent: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    // The parts of a line are clipped already.
    let lines: Vec<String> = text.lines().map(|line| clip(line, NAME + 2 * VALUE + SENTENCE)).collect();
    let longest = lines.iter().flat_map(|line| line.split(|c| c != '`')).map(str::len).max().unwrap_or(0);
    let fence = "`".repeat((longest + 1).max(3));
    let lines: String = lines.iter().map(|line| format!("{indent}{line}\n")).collect();
    format!("{indent}{fence}{language}\n{lines}{indent}{fence}\n")
}
