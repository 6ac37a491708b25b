//! What people see: plans, progress, outcomes and errors as text or JSON.
//!
//! **Invariant:** alone knows colours and columns, and decides nothing. No value of a sensitive property gets past it.

mod progress;

use std::fmt::Write as _;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use serde_json::{Value as Json, json};

use crate::apply::Ending;
use crate::aws::Class;
use crate::plan::{Action, Change, Op, Plan, PropertyChange};
use crate::schema::{Effect, Site};
use crate::spec::Spec;
use crate::value::Value;

pub use progress::Progress;

/// How to draw on a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Whether colours are wanted.
    pub colour: bool,
    /// Columns.
    pub width: usize,
}

/// The version of the JSON documents.
const FORMAT_VERSION: u32 = 1;

const GREEN: Style = AnsiColor::Green.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const RED: Style = AnsiColor::Red.on_default();
const CYAN: Style = AnsiColor::Cyan.on_default();
const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

impl Look {
    fn paint(self, style: Style, text: &str) -> String {
        if self.colour && !text.is_empty() { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

/// Who is meant: the first line of every plan.
pub fn heading(spec: &Spec, site: &Site, notes: &[String], look: Look) -> String {
    let mut line = format!(
        "team {}, stack {}, account {}, {}",
        look.paint(BOLD, &spec.team),
        look.paint(BOLD, &spec.stack),
        look.paint(BOLD, &site.account),
        look.paint(BOLD, &site.region)
    );
    if !notes.is_empty() {
        let _ = write!(line, " ({})", notes.join(", "));
    }
    line
}

/// A plan for people.
pub fn plan(plan: &Plan, destroy: bool, look: Look) -> String {
    let mut text = String::new();
    let noteworthy = |change: &&Change| {
        !matches!(change.action, Action::None | Action::Import) || change.reason.is_some() || !change.remarks.is_empty()
    };
    let shows_all = plan.has_changes();
    for change in &plan.changes {
        if noteworthy(&change) || (shows_all && change.action == Action::Import && !destroy) {
            row(&mut text, change, look);
        }
    }
    for remark in &plan.remarks {
        paragraph(&mut text, "note: ", remark, look);
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(&summary(plan, destroy, look));
    text.push('\n');
    text
}

/// The last line of a plan.
pub fn summary(plan: &Plan, destroy: bool, look: Look) -> String {
    let refused = plan.count(Action::Refused);
    if refused > 0 {
        let rows =
            if refused == 1 { "1 resource is refused".to_owned() } else { format!("{refused} resources are refused") };
        return format!("{} {rows}, so nothing can be applied.", look.paint(RED, "Refused:"));
    }
    let n_undecided = plan.changes.iter().filter(|change| change.undecided).count();
    if !plan.has_changes() && n_undecided > 0 {
        let rows = if n_undecided == 1 { "1 resource".to_owned() } else { format!("{n_undecided} resources") };
        return format!("{} {rows} can't be judged yet; look again in a minute.", look.paint(YELLOW, "Undecided:"));
    }
    if !plan.has_changes() {
        return if destroy {
            "No changes. No objects need to be destroyed.".to_owned()
        } else {
            format!("{} Your infrastructure matches the configuration.", look.paint(GREEN, "No changes."))
        };
    }
    let replaced = plan.count(Action::Replace);
    let (adopt, add) = (plan.count(Action::Adopt), plan.count(Action::Create) + replaced);
    let (change, destroy) = (plan.count(Action::Update), plan.count(Action::Delete) + replaced);
    let adopt = if adopt > 0 { format!("{adopt} to adopt, ") } else { String::new() };
    format!("{} {adopt}{add} to add, {change} to change, {destroy} to destroy.", look.paint(BOLD, "Plan:"))
}

/// How many resources a run has adopted, added, changed and destroyed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    adopted: usize,
    added: usize,
    changed: usize,
    destroyed: usize,
}

impl Tally {
    /// Counts what was done.
    pub fn of(plan: &Plan, endings: &[Ending]) -> Tally {
        let mut tally = Tally::default();
        for (step, _) in plan.steps.iter().zip(endings).filter(|(_, ending)| matches!(ending, Ending::Done(_))) {
            let adopts = plan.changes.get(step.change).is_some_and(|change| change.action == Action::Adopt);
            match step.op {
                Op::Create => tally.added += 1,
                Op::Update if adopts => tally.adopted += 1,
                Op::Update => tally.changed += 1,
                Op::Delete => tally.destroyed += 1,
                Op::Settle => {}
            }
        }
        tally
    }

    fn text(self, destroy: bool) -> String {
        let Tally { adopted, added, changed, destroyed } = self;
        let adopted = if adopted > 0 { format!("{adopted} adopted, ") } else { String::new() };
        if destroy {
            format!("{destroyed} destroyed")
        } else {
            format!("{adopted}{added} added, {changed} changed, {destroyed} destroyed")
        }
    }
}

/// What a run has come to, for people.
pub fn outcome(plan: &Plan, endings: &[Ending], destroy: bool, look: Look) -> String {
    let done = Tally::of(plan, endings).text(destroy);
    let verb = if destroy { "Destroy" } else { "Apply" };
    if endings.iter().all(|ending| matches!(ending, Ending::Done(_))) {
        return format!("{} Resources: {done}.\n", look.paint(GREEN, &format!("{verb} complete!")));
    }
    let mut text = String::new();
    for (step, ending) in plan.steps.iter().zip(endings) {
        let Some(change) = plan.changes.get(step.change) else { continue };
        let what = format!("{} {}", verb_of(step.op).0, change.resource);
        match ending {
            Ending::Done(_) => {}
            Ending::Failed(error) if error.class == Class::Interrupted => {
                let _ = writeln!(text, "  {} {what}: {}", look.paint(YELLOW, "stopped"), error.message);
            }
            Ending::Failed(error) => {
                let _ = writeln!(text, "  {} {what}", look.paint(RED, "failed "));
                paragraph(&mut text, "          ", &error.to_string(), look);
                if let Some(hint) = error.hint() {
                    paragraph(&mut text, "          hint: ", &hint, look);
                }
            }
            Ending::Skipped(cause) => {
                let _ = writeln!(text, "  {} {what}: it depends on {cause}", look.paint(YELLOW, "skipped"));
            }
            Ending::NotStarted => {
                let _ = writeln!(text, "  {} {what}", look.paint(YELLOW, "left   "));
            }
        }
    }
    let _ = writeln!(
        text,
        "\n{} {done}. Run the same command again to go on.",
        look.paint(RED, &format!("{verb} incomplete:"))
    );
    text
}

/// What a step does, as an order, while it lasts, and when it is over.
fn verb_of(op: Op) -> (&'static str, &'static str, &'static str) {
    match op {
        Op::Create => ("create", "creating", "created"),
        Op::Update => ("update", "updating", "updated"),
        Op::Delete => ("destroy", "destroying", "destroyed"),
        Op::Settle => ("wait for", "waiting for AWS", "ready"),
    }
}

fn row(text: &mut String, change: &Change, look: Look) {
    let (symbol, style) = symbol(change.action);
    let told = match change.action {
        Action::None if change.undecided => "can't be judged yet",
        Action::None => "is unchanged",
        Action::Create => "will be created",
        Action::Update => "will be updated in-place",
        Action::Replace => "must be replaced",
        Action::Delete => "will be destroyed",
        Action::Adopt => "will be adopted",
        Action::Import => "is read",
        Action::Refused => "is refused",
    };
    let name = if change.kind == "mapping" { String::new() } else { format!(" {}", change.name) };
    let title = format!("{} ({}{name})", look.paint(BOLD, &change.resource), change.kind);
    let _ = writeln!(
        text,
        "{:>width$}{} {title} {told}",
        "",
        look.paint(style, symbol),
        width = 3usize.saturating_sub(symbol.len())
    );
    if let Some(reason) = &change.reason {
        paragraph(text, "      # ", reason, look);
    }
    if let (Action::Refused, Some(hint)) = (change.action, &change.hint) {
        paragraph(text, "      # hint: ", hint, look);
    }
    let columns = change.properties.iter().map(|property| property.path.to_string().chars().count()).max().unwrap_or(0);
    for property in &change.properties {
        property_line(text, change.action, property, columns, look);
    }
    for remark in &change.remarks {
        paragraph(text, "      # ", remark, look);
    }
}

fn property_line(text: &mut String, action: Action, property: &PropertyChange, columns: usize, look: Look) {
    let path = property.path.to_string();
    let (before, after) = (shown(&property.before, property.sensitive), shown(&property.after, property.sensitive));
    if action == Action::Create {
        let _ = writeln!(text, "      {} {path:columns$} = {after}", look.paint(GREEN, "+"));
        return;
    }
    let force = match property.effect {
        Effect::Replace => format!(" {}", look.paint(RED, "# forces replacement")),
        Effect::Refuse(_) | Effect::InPlace => String::new(),
    };
    let sign = look.paint(YELLOW, "~");
    let one_line = 11 + columns + before.chars().count() + 4 + after.chars().count();
    if one_line <= look.width {
        let _ = writeln!(text, "      {sign} {path:columns$} = {before} -> {after}{force}");
    } else {
        let _ = writeln!(text, "      {sign} {path}{force}");
        let _ = writeln!(text, "          {before}");
        let _ = writeln!(text, "       -> {after}");
    }
}

/// A value for people.
fn shown(value: &Value, sensitive: bool) -> String {
    match (value, sensitive) {
        (Value::Null, _) => "null".to_owned(),
        (value, true) if value.has_unknown() => "(sensitive, known after apply)".to_owned(),
        (_, true) => "(sensitive)".to_owned(),
        (Value::Unknown(_), false) => "(known after apply)".to_owned(),
        (Value::Map(map), false) => {
            // What is not set has no line in a spec either.
            let set = map.iter().filter(|(_, value)| **value != Value::Null);
            let entries: Vec<String> = set.map(|(key, value)| format!("{key}: {}", shown(value, false))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        (Value::List(items), false) => {
            format!("[{}]", items.iter().map(|item| shown(item, false)).collect::<Vec<_>>().join(", "))
        }
        (value, false) => Json::from(value).to_string(),
    }
}

fn symbol(action: Action) -> (&'static str, Style) {
    match action {
        Action::None => (" ", DIM),
        Action::Create => ("+", GREEN),
        Action::Update => ("~", YELLOW),
        Action::Replace => ("-/+", RED),
        Action::Delete => ("-", RED),
        Action::Adopt => ("=", CYAN),
        Action::Import => ("<=", CYAN),
        Action::Refused => ("!", RED),
    }
}

/// A sentence, wrapped to the width and indented below its lead.
fn paragraph(text: &mut String, lead: &str, sentence: &str, look: Look) {
    let indent = " ".repeat(lead.chars().count());
    // Lines that are to be copied keep their own indentation and length.
    let options = textwrap::Options::new(look.width.max(40)).initial_indent(lead).subsequent_indent(&indent);
    let options = options.break_words(false).word_splitter(textwrap::WordSplitter::NoHyphenation);
    for line in textwrap::wrap(sentence, options) {
        let _ = writeln!(text, "{}", look.paint(DIM, &line));
    }
}

/// A plan as one JSON document.
pub fn plan_json(spec: &Spec, site: &Site, plan: &Plan) -> Json {
    let changes: Vec<Json> = plan.changes.iter().map(change_json).collect();
    let replaced = plan.count(Action::Replace);
    json!({
        "format_version": FORMAT_VERSION,
        "team": spec.team,
        "stack": spec.stack,
        "region": site.region,
        "account": site.account,
        "changes": changes,
        "remarks": plan.remarks,
        "summary": {
            "create": plan.count(Action::Create),
            "update": plan.count(Action::Update),
            "replace": replaced,
            "delete": plan.count(Action::Delete),
            "adopt": plan.count(Action::Adopt),
            "import": plan.count(Action::Import),
            "none": plan.count(Action::None),
            "refused": plan.count(Action::Refused),
        },
    })
}

/// A plan and how each of its steps ended, as one JSON document.
pub fn outcome_json(spec: &Spec, site: &Site, plan: &Plan, status: &str, endings: &[Ending]) -> Json {
    let steps = plan.steps.iter().zip(endings).map(|(step, ending)| {
        let (result, seconds, reason) = match ending {
            Ending::Done(elapsed) => ("done", Some(seconds(*elapsed)), None),
            Ending::Failed(error) => ("failed", None, Some(error.to_string())),
            Ending::Skipped(cause) => ("skipped", None, Some(format!("it depends on {cause}"))),
            Ending::NotStarted => ("not_started", None, None),
        };
        json!({
            "resource": plan.changes.get(step.change).map(|change| &change.resource),
            "step": match step.op {
                Op::Create => "create",
                Op::Update => "update",
                Op::Delete => "delete",
                Op::Settle => "settle",
            },
            "result": result,
            "seconds": seconds,
            "reason": reason,
        })
    });
    let mut document = plan_json(spec, site, plan);
    if let Json::Object(map) = &mut document {
        map.insert("status".to_owned(), json!(status));
        map.insert("steps".to_owned(), steps.collect());
    }
    document
}

fn seconds(elapsed: Duration) -> f64 {
    (elapsed.as_secs_f64() * 1000.0).round() / 1000.0
}

fn change_json(change: &Change) -> Json {
    let value = |value: &Value, sensitive: bool| match value {
        Value::Null => Json::Null,
        value if sensitive || value.has_unknown() => json!(shown(value, sensitive)),
        value => Json::from(value),
    };
    let properties: Vec<Json> = change
        .properties
        .iter()
        .map(|property| {
            json!({
                "path": property.path.to_string(),
                "before": value(&property.before, property.sensitive),
                "after": value(&property.after, property.sensitive),
                "effect": match property.effect {
                    Effect::InPlace => "in_place",
                    Effect::Replace => "replace",
                    Effect::Refuse(_) => "refused",
                },
            })
        })
        .collect();
    json!({
        "resource": change.resource,
        "kind": change.kind,
        "name": change.name,
        "action": match change.action {
            Action::None => "none",
            Action::Create => "create",
            Action::Update => "update",
            Action::Replace => "replace",
            Action::Delete => "delete",
            Action::Adopt => "adopt",
            Action::Import => "import",
            Action::Refused => "refused",
        },
        "properties": properties,
        "reason": change.reason,
        "hint": change.hint,
        "remarks": change.remarks,
    })
}
