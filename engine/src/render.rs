//! Renders plans, progress, outcomes and errors as text or JSON.
//!
//! **Invariant:** it alone knows colors and columns, and it decides nothing. It shows no value of a
//! sensitive property.

pub mod explain;
pub mod graph;
mod list;
pub mod logs;
pub mod markdown;
mod page;
mod progress;
pub mod remedy;
pub mod timeline;
pub mod verified;

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use serde_json::{Value as Json, json};
use textwrap::core::display_width;

use crate::apply::StepOutcome;
use crate::aws::{AwsError, Class};
use crate::diagnostic::{self, Diagnostic, printable, wrap};
use crate::plan::{Action, Change, Op, Plan, Subject};
use crate::sanitize::{self, Reader, is_ci};
use crate::schema::{Effect, Site};
use crate::spec::Spec;
use crate::timeline::Timing;
use crate::value::{Path, Tree, Value};

pub use list::{Holder, Owned, checkup, outputs, outputs_json, owned, owned_json};
pub use progress::{Progress, TICK};

/// How to format text for a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Whether to use color.
    pub colour: bool,
    /// Columns.
    pub width: usize,
    /// Whether it is for a screen reader: words instead of symbols, and one line per fact.
    pub plain: bool,
}

/// Which rows of a plan are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// Those with a change or a note.
    Noteworthy,
    /// Also unchanged ones.
    All,
}

impl Rows {
    fn of(self, plan: &Plan, destroy: bool) -> impl Iterator<Item = &Change> {
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

/// The version of the JSON documents.
const FORMAT_VERSION: u32 = 1;

const GREEN: Style = AnsiColor::Green.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const RED: Style = AnsiColor::Red.on_default();
const CYAN: Style = AnsiColor::Cyan.on_default();
const BOLD: Style = Style::new().bold();
const PLAIN: Style = Style::new();
const DIM: Style = Style::new().dimmed();

impl Look {
    /// Formats errors and warnings.
    pub fn problems(self, diagnostics: &[Diagnostic]) -> String {
        let style = match self {
            Look { plain: true, .. } => diagnostic::Style::Words,
            Look { colour: true, .. } => diagnostic::Style::Ansi,
            _ => diagnostic::Style::Plain,
        };
        diagnostic::render(diagnostics, style, self.width)
    }

    /// A text made safe for the stream; see [`sanitize`].
    fn clean(self, text: &str) -> Cow<'_, str> {
        sanitize::clean(text, Reader { color: self.colour, runner: is_ci(), raw: false })
    }

    fn paint(self, style: Style, text: &str) -> String {
        if self.colour && !text.is_empty() { format!("{style}{text}{style:#}") } else { text.to_owned() }
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
pub fn heading(spec: &Spec, site: &Site, notes: &[String], look: Look) -> String {
    heading_of(&[&spec.team], &spec.stack, site, notes, look)
}

/// The same for several teams whose plans are equal.
pub fn heading_of(teams: &[&str], stack: &str, site: &Site, notes: &[String], look: Look) -> String {
    let named = teams.iter().map(|team| look.paint(BOLD, team)).collect::<Vec<_>>().join(", ");
    let teams = if let [_] = teams { format!("team {named}") } else { format!("{} teams: {named}", teams.len()) };
    let mut line = format!(
        "{teams}{} stack {}, account {}, {}",
        if teams.starts_with("team ") { "," } else { ";" },
        look.paint(BOLD, stack),
        look.paint(BOLD, &site.account),
        look.paint(BOLD, &site.region)
    );
    if !notes.is_empty() {
        let _ = write!(line, " ({})", notes.join(", "));
    }
    line
}

/// A plan as text.
pub fn plan(plan: &Plan, destroy: bool, rows: Rows, look: Look) -> String {
    let mut text = String::new();
    for change in rows.of(plan, destroy) {
        row(&mut text, change, look);
    }
    for remark in &plan.remarks {
        paragraph(&mut text, PLAIN, "note: ", &remedy::words(remark), look);
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
        return format!("{} {rows} can't be determined yet; try again in a minute.", look.paint(YELLOW, "Undecided:"));
    }
    let n_partial = plan.changes.iter().filter(|change| change.partial).count();
    if !plan.has_changes() && n_partial > 0 {
        let rows = if n_partial == 1 { "1 resource".to_owned() } else { format!("{n_partial} resources") };
        let undecided = look.paint(YELLOW, "Undecided:");
        return format!("{undecided} no changes, but {rows} can't be fully read.");
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
    released: usize,
}

impl Tally {
    /// Counts the completed steps.
    pub fn of(plan: &Plan, endings: &[StepOutcome]) -> Tally {
        let mut tally = Tally::default();
        for (step, _) in plan.steps.iter().zip(endings).filter(|(_, ending)| matches!(ending, StepOutcome::Done(_))) {
            let adopts = plan.changes.get(step.change).is_some_and(|change| change.action == Action::Adopt);
            match step.op {
                Op::Create => tally.added += 1,
                Op::Update if adopts => tally.adopted += 1,
                Op::Update => tally.changed += 1,
                Op::Delete => tally.destroyed += 1,
                Op::Release => tally.released += 1,
                Op::Settle => {}
            }
        }
        tally
    }

    fn text(self, destroy: bool) -> String {
        let Tally { adopted, added, changed, destroyed, released } = self;
        let released = if released > 0 { format!(", {released} forgotten") } else { String::new() };
        let adopted = if adopted > 0 { format!("{adopted} adopted, ") } else { String::new() };
        if destroy {
            format!("{destroyed} destroyed{released}")
        } else {
            format!("{adopted}{added} added, {changed} changed, {destroyed} destroyed{released}")
        }
    }
}

/// The outcome of a run as text.
pub fn outcome(spec: &Spec, plan: &Plan, endings: &[StepOutcome], destroy: bool, look: Look) -> String {
    if endings.iter().all(|ending| matches!(ending, StepOutcome::Done(_))) {
        return format!("{}\n", closing(plan, endings, destroy, look));
    }
    let mut text = String::new();
    for (step, ending) in plan.steps.iter().zip(endings) {
        let Some(change) = plan.changes.get(step.change) else { continue };
        let what = format!("{} {}", verb_of(step.op).0, change.resource);
        match ending {
            StepOutcome::Done(_) => {}
            StepOutcome::Failed(error) if error.class == Class::Interrupted => {
                let _ = writeln!(text, "  {} {what}: {}", look.paint(YELLOW, "stopped"), error.message);
            }
            StepOutcome::Failed(error) => {
                let _ = writeln!(text, "  {} {what}: {}", look.paint(RED, "failed "), error.cause().entry().title);
            }
            StepOutcome::Skipped(cause) => {
                let _ = writeln!(text, "  {} {what}: it depends on {cause}", look.paint(YELLOW, "skipped"));
            }
            StepOutcome::NotStarted => {
                let _ = writeln!(text, "  {} {what}", look.paint(YELLOW, "not run"));
            }
        }
    }
    let failures = failures(spec, plan, endings);
    if !failures.is_empty() {
        let _ = write!(text, "\n{}", look.problems(&failures));
    }
    let _ = writeln!(text, "\n{}", closing(plan, endings, destroy, look));
    text
}

/// The last line of an outcome.
pub fn closing(plan: &Plan, endings: &[StepOutcome], destroy: bool, look: Look) -> String {
    let done = Tally::of(plan, endings).text(destroy);
    let verb = if destroy { "Destroy" } else { "Apply" };
    if endings.iter().all(|ending| matches!(ending, StepOutcome::Done(_))) {
        return format!("{} Resources: {done}.", look.paint(GREEN, &format!("{verb} complete!")));
    }
    format!("{} {done}. Run the same command again to continue.", look.paint(RED, &format!("{verb} incomplete:")))
}

/// The error of each step that failed, except by Ctrl-C. A cause that affects the whole run is reported
/// once, without a place in the spec.
pub fn failures(spec: &Spec, plan: &Plan, endings: &[StepOutcome]) -> Vec<Diagnostic> {
    let mut told = HashSet::new();
    let mut failures = Vec::new();
    for (step, ending) in plan.steps.iter().zip(endings) {
        let (Some(change), StepOutcome::Failed(error)) = (plan.changes.get(step.change), ending) else { continue };
        if error.class == Class::Interrupted {
            continue;
        }
        if error.is_about_the_run() {
            failures.extend(told.insert(error.cause()).then(|| error.diagnostic("")));
            continue;
        }
        let diagnostic = error.diagnostic(&format!("{} `{}`", verb_of(step.op).0, change.resource));
        let is_declared = change.subject == Subject::Declared;
        let place = is_declared.then(|| spec.blamed(&change.resource, error)).flatten();
        failures.push(match place {
            Some(place) => diagnostic.at(place),
            None => diagnostic,
        });
    }
    failures
}

/// The verb for a step: imperative, in progress, and done.
fn verb_of(op: Op) -> (&'static str, &'static str, &'static str) {
    match op {
        Op::Create => ("create", "creating", "created"),
        Op::Update => ("update", "updating", "updated"),
        Op::Delete => ("destroy", "destroying", "destroyed"),
        Op::Release => ("forget", "removing engine's tags", "forgotten"),
        Op::Settle => ("wait for", "waiting for AWS", "ready"),
    }
}

/// How an action is shown.
struct Face {
    /// Terraform's, except `=` and `.`.
    symbol: &'static str,
    style: Style,
    /// The text after the resource's name.
    told: &'static str,
    /// The word in JSON.
    word: &'static str,
}

/// Every action, in the order in which JSON counts them.
const ACTIONS: [Action; 9] = [
    Action::Create,
    Action::Update,
    Action::Replace,
    Action::Delete,
    Action::Adopt,
    Action::Release,
    Action::Import,
    Action::None,
    Action::Refused,
];

fn face(action: Action) -> Face {
    let (symbol, style, told, word) = match action {
        Action::None => (" ", DIM, "is unchanged", "none"),
        Action::Create => ("+", GREEN, "will be created", "create"),
        Action::Update => ("~", YELLOW, "will be updated in-place", "update"),
        Action::Replace => ("-/+", RED, "must be replaced", "replace"),
        Action::Delete => ("-", RED, "will be destroyed", "delete"),
        Action::Adopt => ("=", CYAN, "will be adopted", "adopt"),
        Action::Release => (".", YELLOW, "will no longer be managed by engine, but will not be destroyed", "release"),
        Action::Import => ("<=", CYAN, "is read", "import"),
        Action::Refused => ("!", RED, "is refused", "refused"),
    };
    Face { symbol, style, told, word }
}

/// The text after a resource's name.
fn told(change: &Change) -> &'static str {
    match change {
        Change { undecided: true, .. } => "can't be determined yet",
        Change { partial: true, .. } => "can't be fully read",
        _ => face(change.action).told,
    }
}

/// The name in AWS. The ID that AWS assigns to a mapping is only useful to identify an orphan.
fn telling_name(change: &Change) -> Option<&str> {
    let is_told = change.kind != "mapping" || matches!(change.subject, Subject::Leftover(_));
    is_told.then_some(change.name.as_str())
}

fn row(text: &mut String, change: &Change, look: Look) {
    let Face { symbol, style, .. } = face(change.action);
    let name = match change.subject {
        Subject::Leftover(_) if change.name == change.resource => String::new(),
        _ => telling_name(change).map_or_else(String::new, |name| format!(" {name}")),
    };
    let title = format!("{} ({}{name})", look.paint(BOLD, &change.resource), change.kind);
    let pad = " ".repeat(3usize.saturating_sub(symbol.len()));
    let sign = if look.plain { String::new() } else { format!("{pad}{} ", look.paint(style, symbol)) };
    let _ = writeln!(text, "{sign}{title} {}", told(change));
    let (note, hint) = if look.plain { ("  note: ", "  hint: ") } else { ("      # ", "      # hint: ") };
    // Notes on destructive changes are not dimmed.
    let style = if change.asks || change.action == Action::Refused { PLAIN } else { DIM };
    if let Some(reason) = &change.reason {
        paragraph(text, style, note, &remedy::words(reason), look);
    }
    if let (Action::Refused, Some(advice)) = (change.action, &change.hint) {
        paragraph(text, style, hint, &remedy::words(advice), look);
    }
    let lines = lines(change);
    let columns = lines.iter().map(|line| display_width(&line.path)).max().unwrap_or(0);
    for line in &lines {
        property_line(text, line, columns, look);
    }
    for remark in &change.remarks {
        paragraph(text, style, note, remark, look);
    }
}

/// One property's change, before it is laid out.
struct Line {
    path: String,
    /// `None` if the resource is new.
    before: Option<Shown>,
    after: Shown,
    /// Whether it forces replacement.
    forces: bool,
}

/// The changes of a resource's properties. The hash and the size of the code are one line.
fn lines(change: &Change) -> Vec<Line> {
    let is_new = change.action == Action::Create;
    let sizes = change.properties.iter().find(|property| property.path == Path::property(CODE_SIZE));
    let hashed = change.properties.iter().any(|property| property.path == Path::property(CODE_HASH));
    let mut lines = Vec::new();
    // Defaults of a new resource are left out.
    for property in change.properties.iter().filter(|property| !property.usual) {
        let path = property.path.to_string();
        let forces = property.effect == Effect::Replace && !is_new;
        if path == CODE_SIZE && hashed {
            continue;
        }
        if path == CODE_HASH {
            let before = code(&property.before, sizes.map(|size| &size.before));
            let after = code(&property.after, sizes.map(|size| &size.after));
            lines.push(Line { path: "code".to_owned(), before: (!is_new).then_some(before), after, forces });
            continue;
        }
        match &property.after {
            // Keys may be shown, values may not.
            Value::Map(map) if is_new && property.sensitive => lines.extend(map.iter().map(|(key, value)| Line {
                path: property.path.key(key).to_string(),
                before: None,
                after: Shown::Text(sensitive(value, false)),
                forces,
            })),
            after if property.sensitive => {
                let is_changed = !is_new && property.before != Value::Null;
                let before = (!is_new).then(|| Shown::Text(sensitive(&property.before, false)));
                lines.push(Line { path, before, after: Shown::Text(sensitive(after, is_changed)), forces });
            }
            after => {
                let before = (!is_new).then(|| Shown::Value(property.before.clone()));
                lines.push(Line { path, before, after: Shown::Value(after.clone()), forces });
            }
        }
    }
    lines
}

/// The derived properties that identify a function's source.
const CODE_HASH: &str = "code_sha256";
const CODE_SIZE: &str = "code_size";
/// How many characters of a hash are shown.
const HASH_CHARS: usize = 12;

/// A source as its shortened hash and its size.
fn code(hash: &Value, bytes: Option<&Value>) -> Shown {
    let Some(text) = hash.as_str() else { return Shown::Value(hash.clone()) };
    let mut shown: String = text.chars().take(HASH_CHARS).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    match bytes {
        Some(Value::Number(bytes)) => Shown::Text(format!("{shown} ({} bytes)", grouped(&bytes.to_string()))),
        _ => Shown::Text(shown),
    }
}

/// Digits in groups of three: `4,312`.
fn grouped(digits: &str) -> String {
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A value to lay out.
enum Shown {
    /// On one line or, if that is too long, with one entry per line.
    Value(Value),
    /// Unchanged.
    Text(String),
}

impl Shown {
    fn on_one_line(&self) -> String {
        match self {
            Shown::Value(value) => shown(value),
            Shown::Text(text) => text.clone(),
        }
    }

    /// In lines of at most `room` columns, if it can be divided.
    fn lines(&self, room: usize) -> Vec<String> {
        match self {
            Shown::Value(value) => tall(value, room),
            Shown::Text(text) => vec![text.clone()],
        }
    }
}

/// The indent of a value on separate lines.
const INDENT: usize = 10;

fn property_line(text: &mut String, line: &Line, columns: usize, look: Look) {
    let Line { path, before, after, forces } = line;
    if look.plain {
        let force = if *forces { ", which forces replacement" } else { "" };
        let new = after.on_one_line();
        let _ = match before {
            None => writeln!(text, "  {path} = {new}"),
            Some(before) => writeln!(text, "  {path} from {} to {new}{force}", before.on_one_line()),
        };
        return;
    }
    let room = look.width.saturating_sub(INDENT);
    let pad = " ".repeat(columns.saturating_sub(display_width(path)));
    let Some(before) = before else {
        let value = after.on_one_line();
        let fits = INDENT + columns + 1 + display_width(&value) <= look.width;
        let lines = if fits { vec![value] } else { after.lines(room) };
        let sign = look.paint(GREEN, "+");
        let _ = write!(text, "      {sign} {path}{pad} = ");
        let _ = writeln!(text, "{}", lines.join(&format!("\n{:1$}", "", INDENT - 2)));
        return;
    };
    let force = if *forces { format!(" {}", look.paint(RED, FORCES)) } else { String::new() };
    let sign = look.paint(YELLOW, "~");
    let (old, new) = (before.on_one_line(), after.on_one_line());
    let note = if *forces { FORCES.len() + 1 } else { 0 };
    if INDENT + columns + 5 + display_width(&old) + display_width(&new) + note <= look.width {
        let _ = writeln!(text, "      {sign} {path}{pad} = {old} -> {new}{force}");
    } else {
        let _ = writeln!(text, "      {sign} {path}{force}");
        let below = format!("\n{:INDENT$}", "");
        let _ = writeln!(text, "{:INDENT$}{}", "", before.lines(room).join(&below));
        let _ = writeln!(text, "       -> {}", after.lines(room).join(&below));
    }
}

const FORCES: &str = "# forces replacement";

/// A sensitive value as text.
fn sensitive(value: &Value, is_changed: bool) -> String {
    match value {
        Value::Null => "null".to_owned(),
        value if value.has_unknown() => "(sensitive, known after apply)".to_owned(),
        _ if is_changed => "(sensitive, changed)".to_owned(),
        _ => "(sensitive)".to_owned(),
    }
}

/// A value as text on one line.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Unknown(_) => "(known after apply)".to_owned(),
        Value::Map(map) if map.is_empty() => "{}".to_owned(),
        Value::Map(map) => {
            let entries: Vec<String> =
                set(map).map(|(key, value)| format!("{}: {}", word(key), shown(value))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        Value::List(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", ")),
        value => printable(&Json::from(value).to_string()),
    }
}

/// The entries of a mapping that are set.
fn set(map: &Tree) -> impl Iterator<Item = (&String, &Value)> {
    map.iter().filter(|(_, value)| **value != Value::Null)
}

/// A key as in YAML: quoted if needed.
fn word(key: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "_-./:@+$%".contains(c);
    if !key.is_empty() && key.chars().all(is_plain) { key.to_owned() } else { Json::from(key).to_string() }
}

/// A value with one entry per line, if it is wider than `room` columns.
fn tall(value: &Value, room: usize) -> Vec<String> {
    let line = shown(value);
    if display_width(&line) <= room {
        return vec![line];
    }
    let inner = room.saturating_sub(2);
    let entries: Vec<Vec<String>> = match value {
        Value::Map(map) => {
            let entries = set(map).map(|(key, value)| {
                let key = word(key);
                let mut lines = tall(value, inner.saturating_sub(display_width(&key) + 2));
                if let Some(first) = lines.first_mut() {
                    *first = format!("{key}: {first}");
                }
                lines
            });
            entries.collect()
        }
        Value::List(items) => items.iter().map(|item| tall(item, inner)).collect(),
        _ => return vec![line],
    };
    let (open, close) = if matches!(value, Value::Map(_)) { ("{", "}") } else { ("[", "]") };
    let entries = entries.into_iter().flatten().map(|line| format!("  {line}"));
    std::iter::once(open.to_owned()).chain(entries).chain([close.to_owned()]).collect()
}

/// A sentence, wrapped to the width and indented below its lead.
fn paragraph(text: &mut String, style: Style, lead: &str, sentence: &str, look: Look) {
    let columns = lead.chars().count();
    let width = if look.plain { usize::MAX } else { look.width };
    for (at, line) in wrap(sentence, width.max(40).saturating_sub(columns)).into_iter().enumerate() {
        // Lines to paste keep the indent of a spec.
        let is_copied = line.starts_with(' ');
        let (lead, columns) = if at == 0 { (lead, columns) } else { ("", if is_copied { 0 } else { columns }) };
        let _ = writeln!(text, "{}", look.paint(style, &format!("{lead:columns$}{line}")));
    }
}

/// A plan as one JSON document.
pub fn plan_json(spec: &Spec, site: &Site, plan: &Plan) -> Json {
    let changes: Vec<Json> = plan.changes.iter().map(change_json).collect();
    let summary = ACTIONS.map(|action| (face(action).word.to_owned(), json!(plan.count(action))));
    headed(
        spec,
        site,
        json!({
            "changes": changes,
            "remarks": plan.remarks.iter().map(remedy::words).collect::<Vec<_>>(),
            "summary": summary.into_iter().collect::<Json>(),
        }),
    )
}

/// A document about a spec's run: its owner and place, then the fields of `rest`.
fn headed(spec: &Spec, site: &Site, rest: Json) -> Json {
    let mut document = json!({
        "format_version": FORMAT_VERSION,
        "team": spec.team,
        "stack": spec.stack,
        "region": site.region,
        "account": site.account,
    });
    if let (Json::Object(document), Json::Object(rest)) = (&mut document, rest) {
        document.extend(rest);
    }
    document
}

/// A plan and how each of its steps ended, as one JSON document.
pub fn outcome_json(
    spec: &Spec,
    site: &Site,
    plan: &Plan,
    status: &str,
    endings: &[StepOutcome],
    timing: Option<&Timing>,
    outputs: &[(String, Value)],
) -> Json {
    let steps = plan.steps.iter().zip(endings).map(|(step, ending)| {
        let (result, seconds, reason) = match ending {
            StepOutcome::Done(elapsed) => ("done", Some(seconds(*elapsed)), None),
            StepOutcome::Failed(error) => ("failed", None, Some(error.to_string())),
            StepOutcome::Skipped(cause) => ("skipped", None, Some(format!("it depends on {cause}"))),
            StepOutcome::NotStarted => ("not_started", None, None),
        };
        let failure = match ending {
            StepOutcome::Failed(error) => Some(error),
            _ => None,
        };
        json!({
            "resource": plan.changes.get(step.change).map(|change| &change.resource),
            "step": step_word(step.op),
            "result": result,
            "seconds": seconds,
            "reason": reason,
            "code": failure.map(|error| error.cause().name()),
            "hint": failure.map(AwsError::hint),
        })
    });
    let mut document = plan_json(spec, site, plan);
    if let Json::Object(map) = &mut document {
        map.insert("status".to_owned(), json!(status));
        map.insert("steps".to_owned(), steps.collect());
        map.insert("timing".to_owned(), timing.map_or(Json::Null, |timing| timeline::timing_json(plan, timing)));
        map.insert("outputs".to_owned(), outputs_json(outputs));
    }
    document
}

fn step_word(op: Op) -> &'static str {
    match op {
        Op::Create => "create",
        Op::Update => "update",
        Op::Delete => "delete",
        Op::Release => "release",
        Op::Settle => "settle",
    }
}

fn seconds(elapsed: Duration) -> f64 {
    (elapsed.as_secs_f64() * 1000.0).round() / 1000.0
}

fn change_json(change: &Change) -> Json {
    let value = |value: &Value, is_sensitive: bool| match value {
        Value::Null => Json::Null,
        value if is_sensitive => json!(sensitive(value, false)),
        value if value.has_unknown() => json!(shown(value)),
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
        "action": face(change.action).word,
        "undecided": change.undecided || change.partial,
        "properties": properties,
        "reason": change.reason.as_ref().map(remedy::words),
        "hint": change.hint.as_ref().map(remedy::words),
        "remarks": change.remarks,
    })
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
