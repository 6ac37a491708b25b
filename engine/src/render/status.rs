//! Renders the state of stacks, a row each, as text and JSON. [`status_page`](super::status_page) is the page.
//!
//! **Invariant:** each state has its own label; color only repeats it.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;
use serde_json::{Value as Json, json};
use textwrap::core::display_width;

use crate::diagnostic::{listed, wrap};
use crate::logs::EventName;

use super::json::FORMAT_VERSION;
use super::logs::{on_clock, timestamp};
use super::remedy;
use super::{BOLD, DIM, GREEN, OutputStyle, RED, YELLOW};

/// A mapping and whether it works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappingRow {
    /// Its name in the spec, or in AWS.
    pub name: String,
    /// Its state in a word or two.
    pub state: String,
    /// Whether it reads its source.
    pub is_enabled: bool,
    /// What Lambda reports about it.
    pub problem: Option<String>,
}

/// What is known of a stack, or of everything that a team owns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StackRow {
    /// The name of its row.
    pub name: String,
    /// The team.
    pub team: String,
    /// The stacks whose resources it shows.
    pub stacks: Vec<String>,
    /// The number of resources that exist.
    pub n_present: usize,
    /// The number of resources that the spec declares, if there is a spec.
    pub n_declared: Option<usize>,
    /// What doesn't exist: resources of the spec, or tables whose streams mappings read.
    pub missing: BTreeSet<String>,
    /// The number of resources that an apply would change, if there is a spec.
    pub n_changes: Option<usize>,
    /// The number of properties that were not compared, because they need lookups or a build.
    pub n_not_compared: usize,
    /// A change that an apply would refuse, as a complete clause.
    pub refused: Option<String>,
    /// Its mappings.
    pub mappings: Vec<MappingRow>,
    /// When the functions' logs last showed each change, in milliseconds since 1970; in the order
    /// of [`EventName::ALL`].
    pub seen: [Option<i64>; 3],
    /// Why the logs couldn't be read.
    pub log_problem: Option<String>,
    /// Why some resources are missing in the row, as complete clauses.
    pub unlisted: Vec<String>,
    /// Why the stack couldn't be read.
    pub problem: Option<String>,
}

/// The state of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StackState {
    /// It couldn't be read.
    Unreadable,
    /// None of its resources exists.
    NotDeployed,
    /// Some of its resources don't exist.
    Incomplete,
    /// An apply would change something.
    Drifted,
    /// A mapping doesn't read its source.
    NotEnabled,
    /// It is deployed, and not every change was seen.
    Deployed,
    /// It is deployed, and the log shows every change.
    Working,
}

impl StackState {
    /// The word for people.
    pub fn label(self) -> &'static str {
        match self {
            StackState::Unreadable => "can't be read",
            StackState::NotDeployed => "not deployed",
            StackState::Incomplete => "incomplete",
            StackState::Drifted => "drifted",
            StackState::NotEnabled => "mapping off",
            StackState::Deployed => "deployed",
            StackState::Working => "working",
        }
    }

    /// The word for programs.
    pub fn code(self) -> &'static str {
        match self {
            StackState::Unreadable => "unreadable",
            StackState::NotDeployed => "not_deployed",
            StackState::Incomplete => "incomplete",
            StackState::Drifted => "drifted",
            StackState::NotEnabled => "not_enabled",
            StackState::Deployed => "deployed",
            StackState::Working => "working",
        }
    }

    /// Whether it is deployed as declared and its mappings are enabled.
    pub fn is_deployed(self) -> bool {
        matches!(self, StackState::Deployed | StackState::Working)
    }
}

impl StackRow {
    /// Its state: the most severe one that holds.
    pub fn state(&self) -> StackState {
        let is_missing = !self.missing.is_empty() || self.n_declared.is_some_and(|declared| self.n_present < declared);
        match self {
            StackRow { problem: Some(_), .. } => StackState::Unreadable,
            StackRow { n_present: 0, .. } => StackState::NotDeployed,
            _ if is_missing => StackState::Incomplete,
            StackRow { n_changes: Some(1..), .. } => StackState::Drifted,
            StackRow { mappings, .. } if mappings.iter().any(|it| !it.is_enabled || it.problem.is_some()) => {
                StackState::NotEnabled
            }
            StackRow { seen, .. } if seen.iter().all(Option::is_some) => StackState::Working,
            _ => StackState::Deployed,
        }
    }

    /// What people should know besides the state, a sentence each.
    pub fn remarks(&self) -> Vec<String> {
        let mappings = self.mappings.iter().filter(|it| !it.is_enabled || it.problem.is_some()).map(|it| {
            let problem = it.problem.as_ref().map(|problem| format!(": {problem}")).unwrap_or_default();
            format!("{} is {}{problem}", it.name, it.state)
        });
        let is_possible = self.n_present > 0 && self.refused.is_none();
        let changes = self.n_changes.filter(|n| *n > 0 && is_possible).map(|n| match n {
            1 => "an apply would change 1 resource".to_owned(),
            n => format!("an apply would change {n} resources"),
        });
        let missing = Some(&self.missing).filter(|it| !it.is_empty() && self.n_present > 0).map(|missing| {
            let verb = if missing.len() == 1 { "doesn't" } else { "don't" };
            format!("{} {verb} exist", listed(missing.iter().map(String::as_str), 3))
        });
        let unknown = Some(self.n_not_compared).filter(|n| *n > 0 && self.problem.is_none()).map(|n| {
            let what = if n == 1 { "1 property was".to_owned() } else { format!("{n} properties were") };
            let compare = remedy::completed("`engine diff` compares all", Some(&self.team));
            format!("{what} not compared, because of lookups or builds; {compare}")
        });
        let log = self.log_problem.as_ref().map(|problem| format!("its log can't be read: {problem}"));
        let unlisted = self.unlisted.iter().cloned();
        self.problem
            .iter()
            .chain(&self.refused)
            .cloned()
            .chain(missing)
            .chain(changes)
            .chain(unknown)
            .chain(mappings)
            .chain(log)
            .chain(unlisted)
            .collect()
    }

    /// How many resources exist.
    pub fn resources(&self) -> String {
        match (&self.problem, self.n_declared) {
            (Some(_), _) => "-".to_owned(),
            (None, Some(declared)) => format!("{} of {declared}", self.n_present),
            (None, None) => self.n_present.to_string(),
        }
    }
}

/// The time of day when a change was last seen.
pub(super) fn time(at: Option<i64>, zone: &TimeZone) -> String {
    at.map_or_else(|| "-".to_owned(), |at| on_clock(at, zone).1.chars().take(8).collect())
}

/// A table that is printed row by row. Its columns depend on the names alone, so rows can be printed
/// as they arrive.
#[derive(Debug)]
pub struct StatusTable {
    out: OutputStyle,
    zone: TimeZone,
    names: usize,
}

/// Columns of the longest state, and of the number of resources.
const STATE: usize = 13;
const RESOURCES: usize = 9;

impl StatusTable {
    /// A table for rows with these names.
    pub fn new<'n>(names: impl Iterator<Item = &'n str>, out: OutputStyle, zone: TimeZone) -> StatusTable {
        let names = names.map(display_width).max().unwrap_or(0).clamp(4, 40);
        StatusTable { out, zone, names }
    }

    /// The first line.
    pub fn head(&self) -> String {
        if self.out.plain {
            return String::new();
        }
        let [insert, modify, remove] = EventName::ALL.map(EventName::word);
        let line = format!(
            "{:names$}  {:STATE$}  {:RESOURCES$}  {insert:8}  {modify:8}  {remove}",
            "TEAM",
            "STATE",
            "RESOURCES",
            names = self.names
        );
        format!("{}\n", self.out.paint(BOLD, &line))
    }

    /// A row, with its remarks below it.
    pub fn row(&self, row: &StackRow) -> String {
        let state = row.state();
        let [insert, modify, remove] = row.seen.map(|at| time(at, &self.zone));
        if self.out.plain {
            let remarks = row.remarks().iter().map(|it| format!("; {it}")).collect::<String>();
            let resources = row.resources();
            return format!(
                "{}: {}, resources: {resources}, INSERT: {insert}, MODIFY: {modify}, REMOVE: {remove}{remarks}\n",
                row.name,
                state.label()
            );
        }
        let style = match state {
            StackState::Working => GREEN,
            StackState::Deployed => BOLD,
            StackState::Unreadable => RED,
            StackState::NotDeployed => DIM,
            StackState::Incomplete | StackState::Drifted | StackState::NotEnabled => YELLOW,
        };
        let pad = self.names.saturating_sub(display_width(&row.name));
        let mut text = format!(
            "{}{:pad$}  {}  {:RESOURCES$}  {insert:8}  {modify:8}  {remove}\n",
            row.name,
            "",
            self.out.paint(style, &format!("{:STATE$}", state.label())),
            row.resources(),
        );
        for remark in row.remarks() {
            for line in wrap(&remark, self.out.width.saturating_sub(4).max(40)) {
                text.push_str(&format!("    {line}\n"));
            }
        }
        text
    }

    /// The last line.
    pub fn summary(&self, rows: &[StackRow], since: i64) -> String {
        let n = |wanted: StackState| rows.iter().filter(|row| row.state() == wanted).count();
        let (day, time) = on_clock(since, &self.zone);
        let time: String = time.chars().take(8).collect();
        format!("{} of {} working: every kind of change seen since {time}, {day}.", n(StackState::Working), rows.len())
    }
}

/// All rows as one document.
pub fn json(rows: &[StackRow], since: i64) -> Json {
    let row = |row: &StackRow| {
        let mappings = row
            .mappings
            .iter()
            .map(|it| json!({ "name": it.name, "state": it.state, "enabled": it.is_enabled, "problem": it.problem }));
        let seen: serde_json::Map<String, Json> = EventName::ALL
            .iter()
            .zip(row.seen)
            .map(|(change, at)| (change.word().to_owned(), json!(at.map(timestamp))))
            .collect();
        json!({
            "name": row.name,
            "team": row.team,
            "stacks": row.stacks,
            "state": row.state().code(),
            "present": row.n_present,
            "declared": row.n_declared,
            "missing": row.missing,
            "changes": row.n_changes,
            "not_compared": row.n_not_compared,
            "refused": row.refused,
            "mappings": mappings.collect::<Vec<Json>>(),
            "seen": seen,
            "log_problem": row.log_problem,
            "unlisted": row.unlisted,
            "problem": row.problem,
        })
    };
    json!({
        "format_version": FORMAT_VERSION,
        "since": timestamp(since),
        "rows": rows.iter().map(row).collect::<Vec<Json>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> StackRow {
        StackRow {
            name: "red".to_owned(),
            n_present: 4,
            n_declared: Some(4),
            n_changes: Some(0),
            ..StackRow::default()
        }
    }

    #[test]
    fn a_state_is_the_most_severe_one_that_holds() {
        let mapping = |is_enabled, problem: Option<&str>| MappingRow {
            name: "m".to_owned(),
            state: "enabled".to_owned(),
            is_enabled,
            problem: problem.map(str::to_owned),
        };
        let seen = [Some(1), Some(2), Some(3)];
        for (row, state) in [
            (row(), StackState::Deployed),
            (StackRow { seen, ..row() }, StackState::Working),
            (StackRow { seen: [Some(1), None, Some(3)], ..row() }, StackState::Deployed),
            (StackRow { seen, mappings: vec![mapping(false, None)], ..row() }, StackState::NotEnabled),
            (StackRow { seen, mappings: vec![mapping(true, Some("PROBLEM"))], ..row() }, StackState::NotEnabled),
            (StackRow { seen, n_changes: Some(1), ..row() }, StackState::Drifted),
            (StackRow { seen, n_present: 3, n_changes: Some(1), ..row() }, StackState::Incomplete),
            (StackRow { seen, n_present: 0, ..row() }, StackState::NotDeployed),
            (StackRow { seen, problem: Some("denied".to_owned()), ..row() }, StackState::Unreadable),
            // Without a spec, what exists counts.
            (StackRow { n_declared: None, n_changes: None, seen, ..row() }, StackState::Working),
        ] {
            assert_eq!(row.state(), state, "{row:?}");
        }
    }

    #[test]
    fn a_row_fits_80_columns_and_its_remarks_are_below_it() {
        let out = OutputStyle { color: false, width: 80, plain: false };
        let table = StatusTable::new(["team-with-a-long-name-20"].into_iter(), out, TimeZone::UTC);
        let row = StackRow {
            name: "team-with-a-long-name-20".to_owned(),
            seen: [Some(1_764_080_596_123), None, None],
            n_present: 3,
            problem: Some("you lack permission to read it, ".repeat(5)),
            ..row()
        };
        let text = table.head() + &table.row(&row) + &table.summary(std::slice::from_ref(&row), 0);
        assert!(text.lines().all(|line| display_width(line) <= 80), "{text}");
        assert!(text.contains("14:23:16  -         -\n    you lack"), "{text}");
        let plain = StatusTable::new([].into_iter(), OutputStyle { plain: true, ..out }, TimeZone::UTC);
        assert_eq!(plain.row(&row).lines().count(), 1);
    }
}
