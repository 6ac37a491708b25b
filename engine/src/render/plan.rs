//! Renders a plan as text: a row for each resource, its properties below it, and a summary.
//!
//! **Invariant:** values of sensitive properties are not shown.

use std::fmt::Write as _;

use anstyle::Style;
use textwrap::core::display_width;

use crate::plan::{Action, Change, Plan, Subject};
use crate::schema::Effect;
use crate::value::{Path, Value};

use super::remedy;
use super::value::{DisplayValue, sensitive};
use super::{BOLD, CYAN, DIM, GREEN, OutputStyle, PLAIN, RED, YELLOW, paragraph};

/// Which rows of a plan are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// Those with a change or a note.
    Noteworthy,
    /// Also unchanged ones.
    All,
}

impl Rows {
    pub(super) fn of(self, plan: &Plan, destroy: bool) -> impl Iterator<Item = &Change> {
        let shows_imports = plan.has_changes() && !destroy;
        plan.changes.iter().filter(move |change| {
            let remarkable = change.reason.is_some() || !change.remarks.is_empty();
            match change.action {
                _ if remarkable || self == Rows::All => true,
                Action::None => false,
                Action::Import => shows_imports,
                _ => true,
            }
        })
    }
}

/// A plan as text.
pub fn plan(plan: &Plan, destroy: bool, rows: Rows, out: OutputStyle) -> String {
    let mut text = String::new();
    for change in rows.of(plan, destroy) {
        row(&mut text, change, out);
    }
    for remark in &plan.remarks {
        paragraph(&mut text, PLAIN, "note: ", &remedy::text(remark), out);
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(&summary(plan, destroy, out));
    text.push('\n');
    text
}

/// The last line of a plan.
pub fn summary(plan: &Plan, destroy: bool, out: OutputStyle) -> String {
    let refused = plan.count(Action::Refused);
    if refused > 0 {
        let rows =
            if refused == 1 { "1 resource is refused".to_owned() } else { format!("{refused} resources are refused") };
        return format!("{} {rows}, so nothing can be applied.", out.paint(RED, "Refused:"));
    }
    let n_undecided = plan.changes.iter().filter(|change| change.pending).count();
    if !plan.has_changes() && n_undecided > 0 {
        let rows = if n_undecided == 1 { "1 resource".to_owned() } else { format!("{n_undecided} resources") };
        return format!("{} {rows} can't be planned yet; try again in a minute.", out.paint(YELLOW, "Undecided:"));
    }
    let n_partial = plan.changes.iter().filter(|change| change.partial).count();
    if !plan.has_changes() && n_partial > 0 {
        let rows = if n_partial == 1 { "1 resource".to_owned() } else { format!("{n_partial} resources") };
        let pending = out.paint(YELLOW, "Undecided:");
        return format!("{pending} no changes, but {rows} can't be fully read.");
    }
    if !plan.has_changes() {
        return if destroy {
            "No changes. No objects need to be destroyed.".to_owned()
        } else {
            format!("{} Your infrastructure matches the configuration.", out.paint(GREEN, "No changes."))
        };
    }
    let replaced = plan.count(Action::Replace);
    let (adopt, add) = (plan.count(Action::Adopt), plan.count(Action::Create) + replaced);
    let (change, destroy) = (plan.count(Action::Update), plan.count(Action::Delete) + replaced);
    let adopt = if adopt > 0 { format!("{adopt} to adopt, ") } else { String::new() };
    format!("{} {adopt}{add} to add, {change} to change, {destroy} to destroy.", out.paint(BOLD, "Plan:"))
}

/// How an action is shown.
pub(super) struct ActionStyle {
    /// Terraform's, except `=` and `.`.
    pub(super) symbol: &'static str,
    pub(super) style: Style,
    /// The text after the resource's name.
    pub(super) phrase: &'static str,
    /// The word in JSON.
    pub(super) word: &'static str,
}

/// Every action, in the order in which JSON counts them.
pub(super) const ACTIONS: [Action; 9] = [
    Action::Create,
    Action::Update,
    Action::Replace,
    Action::Delete,
    Action::Adopt,
    Action::Forget,
    Action::Import,
    Action::None,
    Action::Refused,
];

pub(super) fn action_style(action: Action) -> ActionStyle {
    let (symbol, style, phrase, word) = match action {
        Action::None => (" ", DIM, "is unchanged", "none"),
        Action::Create => ("+", GREEN, "will be created", "create"),
        Action::Update => ("~", YELLOW, "will be updated in-place", "update"),
        Action::Replace => ("-/+", RED, "must be replaced", "replace"),
        Action::Delete => ("-", RED, "will be destroyed", "delete"),
        Action::Adopt => ("=", CYAN, "will be adopted", "adopt"),
        Action::Forget => (".", YELLOW, "will no longer be managed by engine, but will not be destroyed", "release"),
        Action::Import => ("<=", CYAN, "is read", "import"),
        Action::Refused => ("!", RED, "is refused", "refused"),
    };
    ActionStyle { symbol, style, phrase, word }
}

/// The text after a resource's name.
pub(super) fn action_phrase(change: &Change) -> &'static str {
    match change {
        Change { pending: true, .. } => "can't be planned yet",
        Change { partial: true, .. } => "can't be fully read",
        _ => action_style(change.action).phrase,
    }
}

/// The name in AWS. The ID that AWS assigns to a mapping is only useful to identify an orphan.
pub(super) fn distinctive_name(change: &Change) -> Option<&str> {
    let is_distinctive = change.kind != "mapping" || matches!(change.subject, Subject::Orphan(_));
    is_distinctive.then_some(change.name.as_str())
}

pub(super) fn row(text: &mut String, change: &Change, out: OutputStyle) {
    let ActionStyle { symbol, style, .. } = action_style(change.action);
    let name = match change.subject {
        Subject::Orphan(_) if change.name == change.resource => String::new(),
        _ => distinctive_name(change).map_or_else(String::new, |name| format!(" {name}")),
    };
    let implied = change.implied_by.as_ref().map_or_else(String::new, |by| format!(", implied by {by}"));
    let title = format!("{} ({}{name}{implied})", out.paint(BOLD, &change.resource), change.kind);
    let pad = " ".repeat(3usize.saturating_sub(symbol.len()));
    let sign = if out.plain { String::new() } else { format!("{pad}{} ", out.paint(style, symbol)) };
    let _ = writeln!(text, "{sign}{title} {}", action_phrase(change));
    let (note, hint) = if out.plain { ("  note: ", "  hint: ") } else { ("      # ", "      # hint: ") };
    // Notes on destructive changes are not dimmed.
    let style = if change.needs_approval || change.action == Action::Refused { PLAIN } else { DIM };
    if let Some(reason) = &change.reason {
        paragraph(text, style, note, &remedy::text(reason), out);
    }
    if let (Action::Refused, Some(advice)) = (change.action, &change.hint) {
        paragraph(text, style, hint, &remedy::text(advice), out);
    }
    let lines = lines(change);
    let columns = lines.iter().map(|line| display_width(&line.path)).max().unwrap_or(0);
    for line in &lines {
        property_line(text, line, columns, out);
    }
    for remark in &change.remarks {
        paragraph(text, style, note, remark, out);
    }
}

/// One property's change, before it is laid out.
pub(super) struct PropertyLine {
    pub(super) path: String,
    /// `None` if the resource is new.
    pub(super) before: Option<DisplayValue>,
    pub(super) after: DisplayValue,
    /// Whether it forces replacement.
    pub(super) forces: bool,
}

/// The changes of a resource's properties. The hash and the size of the code are one line.
pub(super) fn lines(change: &Change) -> Vec<PropertyLine> {
    let is_new = change.action == Action::Create;
    let sizes = change.properties.iter().find(|property| property.path == Path::property(CODE_SIZE));
    let hashed = change.properties.iter().any(|property| property.path == Path::property(CODE_HASH));
    let mut lines = Vec::new();
    // Defaults of a new resource are left out.
    for property in change.properties.iter().filter(|property| !property.is_default) {
        let path = property.path.to_string();
        let forces = property.effect == Effect::Replace && !is_new;
        if path == CODE_SIZE && hashed {
            continue;
        }
        if path == CODE_HASH {
            let before = code(&property.before, sizes.map(|size| &size.before));
            let after = code(&property.after, sizes.map(|size| &size.after));
            lines.push(PropertyLine { path: "code".to_owned(), before: (!is_new).then_some(before), after, forces });
            continue;
        }
        match &property.after {
            // Keys may be shown, values may not.
            Value::Map(map) if is_new && property.sensitive => {
                lines.extend(map.iter().map(|(key, value)| PropertyLine {
                    path: property.path.key(key).to_string(),
                    before: None,
                    after: DisplayValue::Text(sensitive(value, false)),
                    forces,
                }))
            }
            after if property.sensitive => {
                let is_changed = !is_new && property.before != Value::Null;
                let before = (!is_new).then(|| DisplayValue::Text(sensitive(&property.before, false)));
                lines.push(PropertyLine {
                    path,
                    before,
                    after: DisplayValue::Text(sensitive(after, is_changed)),
                    forces,
                });
            }
            after => {
                let before = (!is_new).then(|| DisplayValue::Value(property.before.clone()));
                lines.push(PropertyLine { path, before, after: DisplayValue::Value(after.clone()), forces });
            }
        }
    }
    lines
}

/// The derived properties that identify a function's source.
pub(super) const CODE_HASH: &str = "code_sha256";
pub(super) const CODE_SIZE: &str = "code_size";
/// How many characters of a hash are shown.
pub(super) const HASH_CHARS: usize = 12;

/// A source as its shortened hash and its size.
pub(super) fn code(hash: &Value, bytes: Option<&Value>) -> DisplayValue {
    let Some(text) = hash.as_str() else { return DisplayValue::Value(hash.clone()) };
    let mut shown: String = text.chars().take(HASH_CHARS).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    match bytes {
        Some(Value::Number(bytes)) => DisplayValue::Text(format!("{shown} ({} bytes)", grouped(&bytes.to_string()))),
        _ => DisplayValue::Text(shown),
    }
}

/// Digits in groups of three: `4,312`.
pub(super) fn grouped(digits: &str) -> String {
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The indent of a value on separate lines.
const INDENT: usize = 10;

fn property_line(text: &mut String, line: &PropertyLine, columns: usize, out: OutputStyle) {
    let PropertyLine { path, before, after, forces } = line;
    if out.plain {
        let force = if *forces { ", which forces replacement" } else { "" };
        let new = after.on_one_line();
        let _ = match before {
            None => writeln!(text, "  {path} = {new}"),
            Some(before) => writeln!(text, "  {path} from {} to {new}{force}", before.on_one_line()),
        };
        return;
    }
    let room = out.width.saturating_sub(INDENT);
    let pad = " ".repeat(columns.saturating_sub(display_width(path)));
    let Some(before) = before else {
        let value = after.on_one_line();
        let fits = INDENT + columns + 1 + display_width(&value) <= out.width;
        let lines = if fits { vec![value] } else { after.lines(room) };
        let sign = out.paint(GREEN, "+");
        let _ = write!(text, "      {sign} {path}{pad} = ");
        let _ = writeln!(text, "{}", lines.join(&format!("\n{:1$}", "", INDENT - 2)));
        return;
    };
    let force = if *forces { format!(" {}", out.paint(RED, FORCES)) } else { String::new() };
    let sign = out.paint(YELLOW, "~");
    let (old, new) = (before.on_one_line(), after.on_one_line());
    let note = if *forces { FORCES.len() + 1 } else { 0 };
    if INDENT + columns + 5 + display_width(&old) + display_width(&new) + note <= out.width {
        let _ = writeln!(text, "      {sign} {path}{pad} = {old} -> {new}{force}");
    } else {
        let _ = writeln!(text, "      {sign} {path}{force}");
        let below = format!("\n{:INDENT$}", "");
        let _ = writeln!(text, "{:INDENT$}{}", "", before.lines(room).join(&below));
        let _ = writeln!(text, "       -> {}", after.lines(room).join(&below));
    }
}

pub(super) const FORCES: &str = "# forces replacement";
