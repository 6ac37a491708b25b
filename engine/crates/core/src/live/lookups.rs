//! Reads the lookups of a spec.
//!
//! **Invariant:** only what the spec names is read, and secret values are masked from then on.

use crate::error::AwsError;
use crate::lookup::{LookupAnswer, LookupAnswers, LookupRead, LookupValues, Unfound};
use crate::spec::Spec;
use crate::wait::Context;

/// The values of a spec's lookups, and what has none.
#[derive(Debug)]
pub struct Lookups<'s> {
    /// The values.
    pub values: LookupValues,
    /// The lookups without a value.
    pub unfound: Vec<Unfound<'s>>,
}

/// Reads the lookups that the spec uses, all at once.
///
/// # Errors
/// What affects every call, like missing credentials.
pub async fn read_lookups<'s>(cx: &Context, spec: &'s Spec, is_local: bool) -> Result<Lookups<'s>, AwsError> {
    let mut reads: Vec<LookupRead> = spec.used_lookups().flat_map(|lookup| lookup.reads.clone()).collect();
    reads.sort_unstable();
    reads.dedup();
    if reads.is_empty() {
        return Ok(Lookups { values: LookupValues::default(), unfound: Vec::new() });
    }
    cx.account.observe_lookups(&reads);
    let mut answers = LookupAnswers::new();
    let by_source = reads.chunk_by(|one, other| one.source == other.source);
    let calls = by_source.map(|reads| cx.read("lookups", move || cx.account.look_up(reads)));
    for call in futures_util::future::join_all(calls).await {
        answers.extend(call?);
    }
    // Before any of their errors is shown.
    let found = answers.values().flatten().flatten();
    found.flat_map(LookupAnswer::secrets).for_each(|secret| cx.secrets.register(secret));
    for found in answers.values_mut() {
        if let Err(error) = found {
            *error = cx.masked(error.clone());
        }
    }
    let (values, unfound) = LookupValues::of(spec.used_lookups(), &answers, is_local);
    values.secrets().for_each(|secret| cx.secrets.register(secret));
    Ok(Lookups { values, unfound })
}
