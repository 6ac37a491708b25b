//! Prints entries of logs: for people as a journal, for programs as they were logged or as JSON.
//!
//! **Invariant:** secrets are masked in what is printed.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::time::Duration;

use jiff::tz::TimeZone;

use crate::aws::Context;
use crate::cli::args::OutputFormat;
use crate::cli::session::Session;
use crate::logs::{LogEvent, RetryPolicy};
use crate::render::logs::{self, Journal, JournalEntry};

use super::LogsArgs;
use super::feed::{Feed, ParsedEvent};

/// How long the log waits for the settings of a mapping, which are only a detail.
const DETAIL: Duration = Duration::from_secs(5);

/// Prints the entries of one command.
pub(super) struct Printer<'p> {
    session: &'p Session<'p>,
    args: &'p LogsArgs,
    journal: Journal,
    /// By function: what its mapping does with a batch that fails, once that was read.
    retry_policies: HashMap<String, Option<String>>,
    /// Limits the entries that exist at the start; new ones are always printed.
    limit: Option<usize>,
}

impl<'p> Printer<'p> {
    pub(super) fn new(session: &'p Session<'p>, args: &'p LogsArgs, feeds: &[Feed], has_names: bool) -> Printer<'p> {
        let mut style = session.terminal.out;
        if !std::io::stdout().is_terminal() {
            // Tools that search lines need each in one piece.
            style.width = usize::MAX;
        }
        let names = feeds.iter().map(|feed| feed.function.as_str()).filter(|_| has_names);
        let zone = if args.utc { TimeZone::UTC } else { TimeZone::system() };
        let journal = Journal::new(names, style).in_zone(zone);
        Printer { session, args, journal, retry_policies: HashMap::new(), limit: args.tail }
    }

    /// Prints the requested entries of events, and returns whether there were any.
    pub(super) async fn print(&mut self, cx: &Context, mut events: Vec<ParsedEvent<'_>>) -> bool {
        let (args, terminal) = (self.args, self.session.terminal);
        events.sort_by_key(|it| it.event.at);
        let entries: Vec<JournalEntry<'_>> = events.iter().flat_map(|it| entries(it, args)).collect();
        let limit = self.limit.take();
        let text = match args.is_for_people() {
            true => self.rows(cx, entries, limit).await,
            false => entries.iter().skip(n_skipped(limit, entries.len())).map(|entry| printed(entry, args)).collect(),
        };
        // Once more: a parsed text may show a secret in a form that wasn't in the event.
        let text = cx.aws.secrets.mask(&text);
        match args.raw && args.format == OutputFormat::Human {
            true => terminal.print_raw(&text),
            false => terminal.print(&text),
        }
        !text.is_empty()
    }

    /// Entries for people. Where an error repeats, it asks once for each function what its mapping
    /// does.
    async fn rows(&mut self, cx: &Context, entries: Vec<JournalEntry<'_>>, limit: Option<usize>) -> String {
        let rows = self.journal.fold(entries);
        let mut text = String::new();
        for row in rows.iter().skip(n_skipped(limit, rows.len())) {
            let function = row.entry.function;
            if row.times > 1 && !self.retry_policies.contains_key(function) {
                // With several teams, the team comes before the name.
                let name = function.rsplit('/').next().unwrap_or(function);
                let policy = tokio::time::timeout(DETAIL, RetryPolicy::of(cx, &self.session.spec, name)).await;
                let policy = policy.ok().flatten().and_then(|policy| policy.description());
                self.retry_policies.insert(function.to_owned(), policy);
            }
            let next = self.retry_policies.get(function).and_then(Option::as_deref);
            text.push_str(&self.journal.row(row, next));
        }
        text
    }
}

/// The requested entries of an event.
fn entries<'n>(it: &'n ParsedEvent<'_>, args: &LogsArgs) -> impl Iterator<Item = JournalEntry<'n>> {
    let ParsedEvent { function, event: LogEvent { stream, at, .. }, line } = it;
    let entries =
        line.entries.iter().filter(|entry| args.filter.as_ref().is_none_or(|text| logs::contains(entry, text)));
    entries.map(|entry| JournalEntry { function, at: *at, stream, request: line.request.as_deref(), entry })
}

/// How many entries come before the last `limit`.
fn n_skipped(limit: Option<usize>, n_entries: usize) -> usize {
    limit.map_or(0, |limit| n_entries.saturating_sub(limit))
}

fn printed(entry: &JournalEntry<'_>, args: &LogsArgs) -> String {
    match args.format {
        OutputFormat::Json => format!("{}\n", logs::json(entry)),
        OutputFormat::Human => logs::raw(entry),
    }
}
