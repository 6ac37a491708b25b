//! Filter patterns of a mapping: their errors, whether they match a record as far as that is
//! certain, and items that they let through.
//!
//! The rules come from docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html, and for
//! details from docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html,
//! on which they are based. Undocumented rules and unknown parts of a record never count against a
//! pattern.
//!
//! **Invariant:** [`Pattern`] alone knows the syntax; checks, verdicts and the search for an item
//! use what it parsed.

mod judge;
mod pattern;
mod solve;

use serde_json::{Value as Json, json};

use crate::logs::EventName;

pub use judge::Verdict;
pub use pattern::{Pattern, faults};
pub use solve::{Message, Obstacle, Solution, TableFacts, solve, solve_message};

/// What all records of a stream have in common.
#[derive(Debug, Clone, Copy)]
pub struct RecordFacts<'s> {
    /// The stream's view type.
    pub view: &'s str,
    /// The stream's ARN; empty if it isn't known.
    pub stream: &'s str,
}

/// The record that Lambda gets for a change; `null` is a value that exists but is unknown. Both
/// images are `image`.
pub fn record(change: EventName, facts: &RecordFacts<'_>, keys: &Json, image: &Json) -> Json {
    let RecordFacts { view, stream } = facts;
    let mut dynamodb = json!({
        "ApproximateCreationDateTime": null,
        "Keys": keys,
        "SequenceNumber": null,
        "SizeBytes": null,
        "StreamViewType": view,
    });
    let shows = |side: &str| *view == side || *view == "NEW_AND_OLD_IMAGES";
    if change != EventName::Remove && shows("NEW_IMAGE") {
        dynamodb["NewImage"] = image.clone();
    }
    if change != EventName::Insert && shows("OLD_IMAGE") {
        dynamodb["OldImage"] = image.clone();
    }
    let region = stream.split(':').nth(3).filter(|region| !region.is_empty());
    json!({
        "eventID": null,
        "eventName": change.word(),
        "eventVersion": null,
        "eventSource": "aws:dynamodb",
        "awsRegion": region,
        "eventSourceARN": Some(stream).filter(|stream| !stream.is_empty()),
        "dynamodb": dynamodb,
    })
}

/// Whether the filters let the record through: one of them must match, if there are any.
pub fn verdict(filters: &[Pattern], record: &Json) -> Verdict {
    filters.iter().map(|filter| filter.judge(record)).max().unwrap_or(Verdict::Yes)
}

/// Whether all filters certainly drop the record; without filters, nothing is dropped. `null` in
/// the record is a value that exists but is unknown.
pub fn certainly_drops(filters: &[Json], record: &Json) -> bool {
    let filters: Vec<Pattern> = filters.iter().map(Pattern::of).collect();
    verdict(&filters, record) == Verdict::No
}

#[cfg(test)]
mod tests;
