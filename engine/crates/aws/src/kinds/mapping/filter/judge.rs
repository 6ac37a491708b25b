//! Whether a pattern matches a record, as far as that is certain.

use serde_json::Value as Json;

use super::pattern::{Pattern, PatternRule, Sign, Test, TextTest};

/// Whether a pattern matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Certainly not.
    No,
    /// It depends on a value that isn't known, or on a rule that AWS doesn't document.
    Unknown,
    /// Certainly.
    Yes,
}

fn certain(is: bool) -> Verdict {
    if is { Verdict::Yes } else { Verdict::No }
}

impl Pattern {
    /// Whether it matches a record, or a part of it; `null` is a value that exists but is unknown.
    pub fn judge(&self, record: &Json) -> Verdict {
        self.judge_part(Some(record))
    }

    fn judge_part(&self, part: Option<&Json>) -> Verdict {
        let verdicts = self.rules.iter().map(|rule| match rule {
            PatternRule::AnyOf(ways) => ways.iter().map(|way| way.judge_part(part)).max().unwrap_or(Verdict::Unknown),
            PatternRule::Field(name, inner) => match part.and_then(|part| part.get(name)) {
                Some(Json::Null) => Verdict::Unknown,
                // Which elements must match together isn't documented.
                Some(Json::Array(elements)) => {
                    let best = elements.iter().map(|element| inner.judge_part(Some(element))).max();
                    best.filter(|best| *best == Verdict::Yes).unwrap_or(Verdict::Unknown)
                }
                found => inner.judge_part(found),
            },
            PatternRule::Value(name, tests) => any(tests, part.and_then(|part| part.get(name))),
            PatternRule::Unknown => Verdict::Unknown,
        });
        verdicts.min().unwrap_or(Verdict::Yes)
    }
}

/// Whether a value passes one of these tests.
pub(super) fn any(tests: &[Test], found: Option<&Json>) -> Verdict {
    tests.iter().map(|test| test.judge(found)).max().unwrap_or(Verdict::Unknown)
}

impl Test {
    pub(super) fn judge(&self, found: Option<&Json>) -> Verdict {
        match (self, found) {
            (Test::Unknown, _) => Verdict::Unknown,
            // Lambda matches only leaf values; AWS doesn't document `exists` for others.
            (Test::Exists(_), Some(Json::Null | Json::Object(_) | Json::Array(_))) => Verdict::Unknown,
            (Test::Exists(wanted), found) => certain(*wanted == found.is_some()),
            (_, None) => Verdict::No,
            (_, Some(Json::Null | Json::Object(_))) => Verdict::Unknown,
            // A set of texts matches if one of them does.
            (Test::Text(_) | Test::Is(_), Some(Json::Array(values))) => {
                values.iter().map(|value| self.judge(Some(value))).max().unwrap_or(Verdict::Unknown)
            }
            (_, Some(Json::Array(values))) => match values.as_slice() {
                [value] => self.judge(Some(value)),
                _ => Verdict::Unknown,
            },
            (Test::Is(Json::Number(wanted)), Some(Json::Number(number))) if wanted != number => {
                if wanted.as_f64() == number.as_f64() { Verdict::Unknown } else { Verdict::No }
            }
            (Test::Is(wanted), Some(found)) => certain(wanted == found),
            (Test::Text(test), Some(Json::String(text))) => test.judge(text),
            (Test::NoText(tests), Some(Json::String(text))) => {
                match tests.iter().map(|test| test.judge(text)).max().unwrap_or(Verdict::Unknown) {
                    Verdict::Yes => Verdict::No,
                    Verdict::No => Verdict::Yes,
                    Verdict::Unknown => Verdict::Unknown,
                }
            }
            (Test::Numeric(range), Some(Json::Number(number))) => match number.as_f64() {
                Some(number) => certain(range.iter().all(|(sign, bound)| compares(number, *sign, *bound))),
                None => Verdict::Unknown,
            },
            (Test::NoNumber(others), Some(Json::Number(number))) => {
                certain(!others.iter().any(|other| number.as_f64() == Some(*other)))
            }
            (Test::Text(_) | Test::Numeric(_), Some(_)) => Verdict::No,
            // AWS doesn't document `anything-but` for values of another type.
            (Test::NoText(_) | Test::NoNumber(_), Some(_)) => Verdict::Unknown,
        }
    }
}

fn compares(number: f64, sign: Sign, bound: f64) -> bool {
    match sign {
        Sign::Less => number < bound,
        Sign::AtMost => number <= bound,
        Sign::Equal => number == bound,
        Sign::AtLeast => number >= bound,
        Sign::Greater => number > bound,
    }
}

impl TextTest {
    pub(super) fn judge(&self, text: &str) -> Verdict {
        match self {
            TextTest::Is(wanted) => certain(wanted == text),
            TextTest::Prefix(part) => certain(text.starts_with(part)),
            TextTest::Suffix(part) => certain(text.ends_with(part)),
            TextTest::IgnoreCase(wanted) => ignoring_case(wanted, text),
            TextTest::PrefixIgnoreCase(part) => {
                let start: String = text.chars().take(part.chars().count()).collect();
                ignoring_case(part, &start)
            }
            TextTest::SuffixIgnoreCase(part) => {
                let n_before = text.chars().count().saturating_sub(part.chars().count());
                let end: String = text.chars().skip(n_before).collect();
                ignoring_case(part, &end)
            }
            TextTest::Wildcard(pattern) => matches_wildcard(pattern, text),
        }
    }
}

fn ignoring_case(wanted: &str, text: &str) -> Verdict {
    if wanted.eq_ignore_ascii_case(text) {
        Verdict::Yes
    } else if wanted.is_ascii() && text.is_ascii() || wanted.to_lowercase() != text.to_lowercase() {
        Verdict::No
    } else {
        // Which letters of other alphabets are the same isn't documented.
        Verdict::Unknown
    }
}

/// `*` is any text. How a literal `*` is written isn't documented for Lambda.
fn matches_wildcard(pattern: &str, text: &str) -> Verdict {
    if pattern.contains('\\') {
        return Verdict::Unknown;
    }
    let mut parts = pattern.split('*');
    let (Some(first), Some(last)) = (parts.next(), parts.next_back()) else { return certain(pattern == text) };
    let Some(rest) = text.strip_prefix(first) else { return Verdict::No };
    let Some(mut rest) = rest.strip_suffix(last) else { return Verdict::No };
    for part in parts {
        let Some(at) = rest.find(part) else { return Verdict::No };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    Verdict::Yes
}
