//! The logs of functions: following log groups, and what their lines mean.
//!
//! **Invariant:** [`read`] alone interprets Lambda's formats, so `engine logs` and `engine verify`
//! see the same.

mod line;
mod mentions;
mod retry;
mod tail;
mod trace;

pub use line::{
    AttributeChange, EventName, FunctionFailure, Image, Line, LogEntry, LoggedError, Record, Report,
    join_split_entries, plain_item, read,
};
pub use mentions::{Mention, change_word, has_change_word, mentions};
pub use retry::RetryPolicy;
pub(crate) use tail::OPERATIONS;
pub use tail::{LogEvent, Tail};
