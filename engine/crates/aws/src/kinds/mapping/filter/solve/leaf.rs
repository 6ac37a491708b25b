//! Finds one value that passes several tests at once.
//!
//! **Invariant:** every value that is returned passes all tests by [`Test::judge`]; "impossible" is
//! returned only if no value passes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};

use super::super::judge::Verdict;
use super::super::pattern::{Sign, Test, TextTest};
use super::Trouble;

/// How many combinations of alternatives are tried for one value.
const MAX_COMBINATIONS: usize = 4096;
/// How many texts that differ in case are tried.
const MAX_CASINGS: usize = 1024;
/// Up to this many excluded texts, the tried fillers leave one over: each excludes at most two of
/// the 62 letters and digits after a prefix or before a suffix.
const MAX_EXCLUDED: usize = 25;
const LETTERS: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/// What a value can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Domain {
    /// A text.
    Text {
        /// Whether it can be empty.
        may_be_empty: bool,
    },
    /// A number as DynamoDB writes it.
    Number,
    /// Bytes in Base64.
    Binary,
    /// A boolean.
    Boolean,
    /// DynamoDB's null: `true`.
    Null,
    /// Any JSON value without members.
    Any,
}

/// The text that makes values this run's own.
#[derive(Debug, Clone, Copy)]
pub(super) struct UniqueText<'o> {
    pub(super) text: &'o str,
    pub(super) digits: &'o str,
}

/// A value that passes a test of each list; `None` if it must be absent.
pub(super) fn value(
    lists: &[&[Test]],
    domain: Domain,
    own: UniqueText<'_>,
    path: &str,
) -> Result<Option<Json>, Trouble> {
    let mut distinct: Vec<&[Test]> = Vec::new();
    for list in lists {
        if !distinct.contains(list) {
            distinct.push(list);
        }
    }
    let n_combinations = distinct.iter().fold(1_usize, |n, list| n.saturating_mul(list.len()));
    if n_combinations > MAX_COMBINATIONS {
        return Err(Trouble::Uncertain(format!("`{path}` has too many alternatives")));
    }
    let mut trouble = None;
    for at in 0..n_combinations {
        let mut rest = at;
        let tests: Vec<&Test> = distinct
            .iter()
            .filter_map(|list| {
                let test = list.get(rest % list.len());
                rest /= list.len();
                test
            })
            .collect();
        match conjunction(&tests, domain, own, path) {
            Ok(value) => return Ok(value),
            Err(found) => trouble = Some(Trouble::more_hopeful(trouble, found)),
        }
    }
    Err(trouble.unwrap_or_else(|| Trouble::Uncertain(format!("`{path}` has no tests"))))
}

/// A value that passes all of these tests.
fn conjunction(tests: &[&Test], domain: Domain, own: UniqueText<'_>, path: &str) -> Result<Option<Json>, Trouble> {
    let impossible = || Trouble::Impossible(format!("`{path}` would have to be {}", described(tests, domain)));
    if tests.iter().any(|test| **test == Test::Exists(false)) {
        return match tests.iter().all(|test| **test == Test::Exists(false)) {
            true => Ok(None),
            false => Err(impossible()),
        };
    }
    if tests.iter().any(|test| **test == Test::Unknown) {
        return Err(Trouble::Uncertain(format!("engine can't evaluate the filter of `{path}`")));
    }
    let CandidateValues { values, is_complete } = candidates(tests, domain, own);
    let mut is_uncertain = !is_complete;
    for value in values {
        match tests.iter().map(|test| test.judge(Some(&value))).min().unwrap_or(Verdict::Yes) {
            Verdict::Yes => return Ok(Some(value)),
            Verdict::Unknown => is_uncertain = true,
            Verdict::No => {}
        }
    }
    Err(match is_uncertain {
        true => Trouble::Uncertain(format!("engine found no value of `{path}` that is {}", described(tests, domain))),
        false => impossible(),
    })
}

/// Values to try, and whether one of them passes if any value does.
struct CandidateValues {
    values: Vec<Json>,
    is_complete: bool,
}

fn candidates(tests: &[&Test], domain: Domain, own: UniqueText<'_>) -> CandidateValues {
    let complete = |values: Vec<Json>| CandidateValues { values, is_complete: true };
    match domain {
        Domain::Boolean => complete(vec![json!(true), json!(false)]),
        Domain::Null => complete(vec![json!(true)]),
        Domain::Text { may_be_empty } => {
            let (texts, is_complete) = texts(tests, own.text);
            let texts = texts.into_iter().filter(|text| may_be_empty || !text.is_empty());
            CandidateValues { values: texts.map(Json::from).collect(), is_complete }
        }
        Domain::Number => numbers_as_text(tests, own.digits),
        Domain::Binary => {
            let own = STANDARD.encode(own.text);
            let (texts, is_complete) = texts(tests, &own);
            let padded = texts.iter().map(|text| format!("{text:A<width$}", width = text.len().div_ceil(4) * 4));
            let is_base64 = |text: &String| STANDARD.decode(text).is_ok_and(|bytes| STANDARD.encode(bytes) == **text);
            let values = texts.iter().cloned().chain(padded).filter(is_base64);
            let is_exact = is_complete && tests.iter().any(|it| matches!(it, Test::Text(TextTest::Is(_))));
            CandidateValues { values: values.map(Json::from).collect(), is_complete: is_exact }
        }
        Domain::Any => {
            let exact: Vec<Json> = tests
                .iter()
                .filter_map(|test| match test {
                    Test::Is(value) => Some(value.clone()),
                    _ => None,
                })
                .collect();
            if !exact.is_empty() {
                return complete(exact);
            }
            if tests.iter().any(|test| matches!(test, Test::Numeric(_) | Test::NoNumber(_))) {
                return numbers(tests);
            }
            let (texts, is_complete) = texts(tests, own.text);
            CandidateValues { values: texts.into_iter().map(Json::from).collect(), is_complete }
        }
    }
}

/// Texts to try, and whether one of them passes if any text does. `own` is what they contain where
/// they can contain anything.
fn texts(tests: &[&Test], own: &str) -> (Vec<String>, bool) {
    let wanted = || {
        tests.iter().filter_map(|test| match test {
            Test::Text(test) => Some(test),
            _ => None,
        })
    };
    if let Some(exact) = wanted().find_map(|test| match test {
        TextTest::Is(text) => Some(text),
        _ => None,
    }) {
        return (vec![exact.clone()], true);
    }
    if let Some(word) = wanted().find_map(|test| match test {
        TextTest::IgnoreCase(word) => Some(word),
        _ => None,
    }) {
        return casings(word);
    }
    let (start, end) = (overlay(wanted(), TextEnd::Start), overlay(wanted(), TextEnd::End));
    let wildcards: Vec<&String> = wanted()
        .filter_map(|test| match test {
            TextTest::Wildcard(pattern) => Some(pattern),
            _ => None,
        })
        .collect();
    let framed = |filler: &str| format!("{start}{filler}{end}");
    let mut texts: Vec<String> = ["", "-"]
        .iter()
        .flat_map(|between| {
            let mid = match (start.is_empty(), end.is_empty()) {
                (true, true) => own.to_owned(),
                (false, true) => format!("{between}{own}"),
                (true, false) => format!("{own}{between}"),
                (false, false) => format!("{between}{own}{between}"),
            };
            [framed(&mid), framed("")]
        })
        .collect();
    let of_wildcards = wildcards.iter().flat_map(|pattern| [pattern.replace('*', own), pattern.replace('*', "")]);
    texts.extend(of_wildcards.flat_map(|text| [text.clone(), framed(&text)]));
    for first in LETTERS.chars() {
        texts.extend(LETTERS.chars().map(|last| framed(&format!("{first}{own}{last}"))));
    }
    let n_excluded: usize = tests
        .iter()
        .map(|test| match test {
            Test::NoText(texts) => texts.len(),
            _ => 0,
        })
        .sum();
    let has_wildcard = |test: &&Test| match test {
        Test::Text(TextTest::Wildcard(_)) => true,
        Test::NoText(texts) => texts.iter().any(|it| matches!(it, TextTest::Wildcard(_))),
        _ => false,
    };
    (texts, n_excluded <= MAX_EXCLUDED && !tests.iter().any(has_wildcard))
}

/// A word in upper, lower and mixed case.
fn casings(word: &str) -> (Vec<String>, bool) {
    let mut casings = vec![String::new()];
    for letter in word.chars() {
        let other = if letter.is_ascii_lowercase() { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() };
        let others: Vec<String> = match other != letter && casings.len() < MAX_CASINGS {
            true => casings.iter().map(|start| format!("{start}{other}")).collect(),
            false => Vec::new(),
        };
        casings.iter_mut().for_each(|start| start.push(letter));
        casings.extend(others);
    }
    let is_complete = casings.len() < MAX_CASINGS && word.is_ascii();
    (casings, is_complete)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum TextEnd {
    Start,
    End,
}

/// The longest prefix or suffix that is required, with the case that any of them requires.
fn overlay<'t>(tests: impl Iterator<Item = &'t TextTest> + Clone, side: TextEnd) -> String {
    let turned = |text: &str| -> Vec<char> {
        if side == TextEnd::Start { text.chars().collect() } else { text.chars().rev().collect() }
    };
    let mut result: Vec<char> = Vec::new();
    let of = |test: &TextTest, is_loose: bool| match (test, side) {
        (TextTest::PrefixIgnoreCase(text), TextEnd::Start) | (TextTest::SuffixIgnoreCase(text), TextEnd::End)
            if is_loose =>
        {
            Some(turned(text))
        }
        (TextTest::Prefix(text), TextEnd::Start) | (TextTest::Suffix(text), TextEnd::End) if !is_loose => {
            Some(turned(text))
        }
        _ => None,
    };
    // What requires a case comes last.
    for is_loose in [true, false] {
        for part in tests.clone().filter_map(|test| of(test, is_loose)) {
            for (at, letter) in part.into_iter().enumerate() {
                match result.get_mut(at) {
                    Some(known) => *known = letter,
                    None => result.push(letter),
                }
            }
        }
    }
    if side == TextEnd::End {
        result.reverse();
    }
    result.into_iter().collect()
}

/// Numbers as DynamoDB writes them: at most 38 digits, without a sign, zeros or a point that have no
/// meaning (docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html).
fn numbers_as_text(tests: &[&Test], digits: &str) -> CandidateValues {
    let texts = if let [Test::Text(TextTest::Is(exact)), ..] = tests {
        vec![exact.clone()]
    } else {
        let (mut texts, _) = texts(tests, digits);
        texts.truncate(512);
        let (start, end): (Vec<String>, Vec<String>) = (
            texts.iter().map(|text| format!("-{text}")).collect(),
            ["1", "0.1", "12", "10"]
                .iter()
                .flat_map(|end| texts.iter().take(8).map(move |text| format!("{text}{end}")))
                .collect(),
        );
        texts.into_iter().chain(start).chain(end).collect()
    };
    let exact = tests.iter().find_map(|test| match test {
        Test::Text(TextTest::Is(text)) => Some(text),
        _ => None,
    });
    // With an exponent, how DynamoDB writes it isn't documented.
    let is_number = |test: &&Test| matches!(test, Test::Numeric(_) | Test::Is(_));
    let is_complete = exact.is_some_and(|text| !text.contains(['e', 'E'])) || tests.iter().any(is_number);
    let values = exact.cloned().map_or(texts, |text| vec![text]).into_iter().filter(|text| is_canonical(text));
    CandidateValues { values: values.map(Json::from).collect(), is_complete }
}

pub(super) fn is_canonical(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0.1"));
    let are_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_whole = are_digits(whole) && (whole == "0" || !whole.starts_with('0'));
    let is_fraction = fraction == "0.1" || are_digits(fraction) && !fraction.ends_with('0');
    is_whole && is_fraction && text != "-0" && digits.len() <= 38
}

/// JSON numbers to try.
fn numbers(tests: &[&Test]) -> CandidateValues {
    let (mut low, mut high) = (f64::NEG_INFINITY, f64::INFINITY);
    let mut n_excluded = 0_u32;
    for test in tests {
        match test {
            Test::Numeric(range) => {
                for (sign, bound) in range {
                    match sign {
                        Sign::Less | Sign::AtMost => high = high.min(*bound),
                        Sign::AtLeast | Sign::Greater => low = low.max(*bound),
                        Sign::Equal => (low, high) = (low.max(*bound), high.min(*bound)),
                    }
                }
            }
            Test::NoNumber(others) => n_excluded += u32::try_from(others.len()).unwrap_or(u32::MAX),
            _ => {}
        }
    }
    let n_points = f64::from(n_excluded.min(1000) + 3);
    let from = if low.is_finite() {
        low
    } else if high.is_finite() {
        high - n_points
    } else {
        0.0
    };
    let to = if high.is_finite() { high } else { from + n_points };
    let points = (0..=n_excluded.min(1000) + 3).map(|at| from + (to - from) * f64::from(at) / n_points);
    let points: Vec<f64> = points.collect();
    // Whole numbers read better.
    let whole = points.iter().map(|point| point.round());
    #[expect(clippy::cast_possible_truncation, reason = "only numbers that keep their value")]
    let number = |number: f64| match number.fract() == 0.0 && number.abs() < 9e15 {
        true => json!(number as i64),
        false => json!(number),
    };
    let values = whole.chain(points.iter().copied()).map(number).collect();
    // Between close bounds there may be too few numbers.
    let is_complete = low >= high || to - from > 1e-6 * (1.0 + from.abs());
    CandidateValues { values, is_complete: is_complete && n_excluded <= 1000 }
}

/// What the tests require, for a person.
fn described(tests: &[&Test], domain: Domain) -> String {
    let mut parts: Vec<String> = match domain {
        Domain::Text { may_be_empty: false } => vec!["a text that isn't empty".to_owned()],
        Domain::Text { .. } => vec!["a text".to_owned()],
        Domain::Number => vec!["a text with a number as DynamoDB writes it".to_owned()],
        Domain::Binary => vec!["bytes in Base64".to_owned()],
        Domain::Boolean => vec!["true or false".to_owned()],
        Domain::Null => vec!["true".to_owned()],
        Domain::Any => Vec::new(),
    };
    parts.extend(tests.iter().map(|test| test.described()));
    parts.dedup();
    parts.join(", and also ")
}

impl Test {
    pub(super) fn described(&self) -> String {
        let listed = |tests: &[TextTest]| tests.iter().map(TextTest::described).collect::<Vec<_>>().join(" or ");
        match self {
            Test::Is(value) => value.to_string(),
            Test::Exists(true) => "present".to_owned(),
            Test::Exists(false) => "absent".to_owned(),
            Test::Text(test) => test.described(),
            Test::NoText(tests) => format!("not {}", listed(tests)),
            Test::NoNumber(others) => {
                format!("not {}", others.iter().map(f64::to_string).collect::<Vec<_>>().join(" or "))
            }
            Test::Numeric(range) => {
                let terms: Vec<String> = range.iter().map(|(sign, bound)| format!("{} {bound}", sign.text())).collect();
                format!("a JSON number {}", terms.join(" and "))
            }
            Test::Unknown => "unknown".to_owned(),
        }
    }
}

impl TextTest {
    fn described(&self) -> String {
        let quoted = |text: &str| Json::from(text).to_string();
        match self {
            TextTest::Is(text) => quoted(text),
            TextTest::IgnoreCase(text) => format!("{} in any case", quoted(text)),
            TextTest::Prefix(text) => format!("something that begins with {}", quoted(text)),
            TextTest::PrefixIgnoreCase(text) => format!("something that begins with {} in any case", quoted(text)),
            TextTest::Suffix(text) => format!("something that ends with {}", quoted(text)),
            TextTest::SuffixIgnoreCase(text) => format!("something that ends with {} in any case", quoted(text)),
            TextTest::Wildcard(text) => format!("something like {}", quoted(text)),
        }
    }
}
