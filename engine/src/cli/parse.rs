//! Parses the values of options and arguments.
//!
//! **Invariant:** an error says what is accepted, and doesn't repeat the value.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Parses a variable: `NAME=VALUE`.
pub(super) fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as NAME=VALUE".to_owned()),
    }
}

/// Parses an account ID.
pub(super) fn account_id(text: &str) -> Result<String, String> {
    let is_id = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_id { Ok(text.to_owned()) } else { Err("use the 12 digits of an account ID".to_owned()) }
}

/// Parses the URL of a service.
pub(super) fn url(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    match host {
        Some(host) if !host.is_empty() && !text.contains(char::is_whitespace) => Ok(text.to_owned()),
        _ => Err("write it as http://HOST:PORT or https://HOST".to_owned()),
    }
}

/// Parses a whole number.
pub(super) fn whole_number<T: TryFrom<u64>>(text: &str, least: u64, most: u64) -> Result<T, String> {
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    number
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| format!("use a whole number from {least} to {most}"))
}

/// Parses a duration: `40s`, `2m`, or plain seconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().map(Duration::from_secs);
    seconds
        .or_else(|| humantime::parse_duration(text).ok())
        .ok_or_else(|| "use a duration like `40s`, `10m`, `2h` or `1day`, or a number of seconds".to_owned())
}

/// The same, within a range of seconds.
pub(super) fn duration_within(text: &str, least: u64, most: u64) -> Result<Duration, String> {
    let [least, most] = [least, most].map(Duration::from_secs);
    let duration = duration(text)?;
    let format = |it: Duration| humantime::format_duration(it).to_string();
    match (least..=most).contains(&duration) {
        true => Ok(duration),
        false => Err(format!("use a duration from {} to {}", format(least), format(most))),
    }
}

/// A point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PointInTime {
    /// A duration before now.
    Ago(Duration),
    At(SystemTime),
}

impl PointInTime {
    /// The time that it means at `now`.
    pub(super) fn before(self, now: SystemTime) -> SystemTime {
        match self {
            PointInTime::Ago(duration) => now.checked_sub(duration).unwrap_or(UNIX_EPOCH).max(UNIX_EPOCH),
            PointInTime::At(time) => time,
        }
    }
}

/// Parses a time, or a duration that counts back from now.
pub(super) fn point_in_time(text: &str) -> Result<PointInTime, String> {
    let time = || {
        let timestamp = text.parse::<Timestamp>().ok();
        // Without an offset it is local time.
        let local = || TimeZone::system().to_timestamp(text.parse().ok()?).ok();
        SystemTime::try_from(timestamp.or_else(local)?).ok()
    };
    let parsed = duration(text).ok().map(PointInTime::Ago).or_else(|| time().map(PointInTime::At));
    parsed.ok_or_else(|| "use a duration like `90s`, `10m` or `2h`, or a time like `2026-11-25T14:00`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit_or_are_seconds() {
        for (text, wanted) in [
            ("40", Some(40)),
            ("40s", Some(40)),
            ("2m", Some(120)),
            ("1h 30m", Some(5400)),
            ("1day", Some(86_400)),
            ("0", Some(0)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(duration(text).ok(), wanted.map(Duration::from_secs), "{text}");
        }
        for (text, fits) in [("0", false), ("1", true), ("1day", true), ("86401s", false), ("x", false)] {
            assert_eq!(duration_within(text, 1, 86_400).is_ok(), fits, "{text}");
        }
    }

    #[test]
    fn a_start_time_is_a_duration_ago_or_a_timestamp() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        for (text, seconds) in [
            ("10m", 999_400),
            ("90", 999_910),
            ("99999days", 0),
            ("1970-01-02T00:00:00Z", 86_400),
            ("1970-01-02T00:00+01:00", 82_800),
        ] {
            let parsed = point_in_time(text).map(|it| it.before(now));
            assert_eq!(parsed, Ok(UNIX_EPOCH + Duration::from_secs(seconds)), "{text}");
        }
        assert!(point_in_time("1970-01-02T00:00").is_ok() && point_in_time("1970-01-02 00:00:00").is_ok());
        assert!(point_in_time("yesterday").is_err() && point_in_time("").is_err());
    }
}
