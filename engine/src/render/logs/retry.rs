//! What Lambda does with a batch of records that a function fails.
//!
//! **Invariant:** an unknown setting is left out, never guessed.

use std::time::Duration;

/// What a mapping does with a batch that the function fails; `None` is unknown.
#[derive(Debug, Clone, Default)]
pub struct RetryPolicy {
    /// The mapping's name.
    pub mapping: String,
    /// Whether it reads its stream.
    pub enabled: Option<bool>,
    /// Maximum number of retries; -1 is unlimited.
    pub attempts: Option<i32>,
    /// Maximum age of a record in seconds; -1 is unlimited.
    pub age: Option<i32>,
    /// Whether it splits a failed batch in two.
    pub bisects: Option<bool>,
    /// How long its stream keeps records, in seconds.
    pub retention: Option<i32>,
    /// The ARN that the metadata of a batch is sent to in the end; empty for none.
    pub destination: Option<String>,
}

impl RetryPolicy {
    /// What happens next, in words, as far as that is known
    /// (docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html).
    pub fn words(&self) -> Option<String> {
        let RetryPolicy { mapping, attempts, age, bisects, .. } = self;
        if self.enabled == Some(false) {
            return Some(format!("{mapping} is disabled, so failed batches aren't retried"));
        }
        let old = |seconds: i32| {
            let age = u64::from(seconds.unsigned_abs());
            let in_hours = (age > 0 && age % 3600 == 0).then(|| format!("{}h", age / 3600));
            let age = in_hours.unwrap_or_else(|| humantime::format_duration(Duration::from_secs(age)).to_string());
            format!("its records are {age} old")
        };
        let expired = || self.retention.map_or_else(|| "its records expire".to_owned(), old);
        let (until, is_endless) = match (*attempts, *age) {
            (Some(0), _) => ("never retries a failed batch".to_owned(), false),
            (Some(n), Some(age)) if n > 0 && age >= 0 => {
                (format!("retries a failed batch {}, or until {}", many(n), old(age)), false)
            }
            (Some(n), _) if n > 0 => (format!("retries a failed batch {}", many(n)), false),
            (Some(_), Some(age)) if age >= 0 => (format!("retries a failed batch until {}", old(age)), false),
            (Some(_), Some(_)) => (format!("retries a failed batch until it succeeds or {}", expired()), true),
            _ => return None,
        };
        let splits = if *bisects == Some(true) && *attempts != Some(0) { ", split in two each time" } else { "" };
        let end = match self.destination.as_deref() {
            Some("") if is_endless => String::new(),
            Some("") if *attempts == Some(0) => " and drops it".to_owned(),
            Some("") => " and then drops it".to_owned(),
            Some(arn) => format!(" and then reports it to {}", arn.rsplit(':').next().unwrap_or(arn)),
            None => String::new(),
        };
        let comma = if splits.is_empty() || end.is_empty() { "" } else { "," };
        Some(format!("{mapping} {until}{splits}{comma}{end}"))
    }
}

fn many(n: i32) -> String {
    if n == 1 { "once".to_owned() } else { format!("up to {n} times") }
}
