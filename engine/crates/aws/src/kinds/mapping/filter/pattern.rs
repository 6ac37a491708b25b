//! A filter pattern as types: parsed once, with the problems that AWS would report.

use serde_json::{Map, Value as Json};

use crate::diagnostic::nearest;
use crate::schema::Problem;
use crate::value::Path;

/// A filter pattern: all of its rules must hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Pattern {
    pub(super) rules: Vec<PatternRule>,
}

/// One rule of a pattern.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum PatternRule {
    /// The object in this field must match.
    Field(String, Pattern),
    /// The value of this field must pass one of these tests.
    Value(String, Vec<Test>),
    /// One of these patterns must match (`$or`).
    AnyOf(Vec<Pattern>),
    /// A rule that AWS rejects, or that engine doesn't know.
    Unknown,
}

/// One item of a field's list: a test of the field's value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Test {
    /// It is this number, boolean or null.
    Is(Json),
    /// It exists, or not.
    Exists(bool),
    /// It is a text like this.
    Text(TextTest),
    /// It is a text, and none like these (`anything-but`).
    NoText(Vec<TextTest>),
    /// It is a number, and none of these (`anything-but`).
    NoNumber(Vec<f64>),
    /// It is a number with all of these relations.
    Numeric(Vec<(Sign, f64)>),
    /// A test that AWS rejects, or that engine can't evaluate.
    Unknown,
}

/// A test of a text.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum TextTest {
    Is(String),
    IgnoreCase(String),
    Prefix(String),
    PrefixIgnoreCase(String),
    Suffix(String),
    SuffixIgnoreCase(String),
    Wildcard(String),
}

/// The relation of a number to a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    Less,
    AtMost,
    Equal,
    AtLeast,
    Greater,
}

impl Sign {
    fn of(text: &str) -> Option<Sign> {
        Some(match text {
            "<" => Sign::Less,
            "<=" => Sign::AtMost,
            "=" => Sign::Equal,
            ">=" => Sign::AtLeast,
            ">" => Sign::Greater,
            _ => return None,
        })
    }

    pub(super) fn text(self) -> &'static str {
        match self {
            Sign::Less => "<",
            Sign::AtMost => "<=",
            Sign::Equal => "=",
            Sign::AtLeast => ">=",
            Sign::Greater => ">",
        }
    }
}

/// A problem with an item of a field's list.
struct Wrong {
    /// Appended to the field's name.
    problem: String,
    hint: String,
    /// Whether AWS may support it, because it adds operators over time.
    is_unknown: bool,
}

impl Wrong {
    fn new(problem: impl Into<String>, hint: impl Into<String>) -> Wrong {
        Wrong { problem: problem.into(), hint: hint.into(), is_unknown: false }
    }

    fn unknown_operator(name: &str) -> Wrong {
        let hint = nearest(name, OPERATORS).map(|near| format!("did you mean `{near}`?")).unwrap_or_else(|| {
            let known: Vec<String> = OPERATORS.iter().map(|it| format!("`{it}`")).collect();
            format!("the operators are {}; write a nested field under its parent without a list", known.join(", "))
        });
        Wrong { is_unknown: true, ..Wrong::new(format!("has an unknown operator `{name}`"), hint) }
    }
}

const OPERATORS: [&str; 9] =
    ["prefix", "suffix", "equals-ignore-case", "anything-but", "exists", "numeric", "cidr", "wildcard", "exactly"];

/// The problems of a pattern at `path`.
pub fn faults(pattern: &Json, path: &Path) -> Vec<Problem> {
    let mut faults = Vec::new();
    if let Json::Object(fields) = pattern {
        Pattern::parse(fields, path, &mut faults);
    }
    faults
}

impl Pattern {
    /// A mapping's filter, which AWS returns as text.
    pub fn of(filter: &Json) -> Pattern {
        let unknown = || Pattern { rules: vec![PatternRule::Unknown] };
        match filter {
            Json::String(text) => serde_json::from_str(text).map_or_else(
                |_| unknown(),
                |json: Json| match &json {
                    Json::Object(fields) => Pattern::parse(fields, &Path::default(), &mut Vec::new()),
                    _ => unknown(),
                },
            ),
            Json::Object(fields) => Pattern::parse(fields, &Path::default(), &mut Vec::new()),
            _ => unknown(),
        }
    }

    fn parse(fields: &Map<String, Json>, path: &Path, faults: &mut Vec<Problem>) -> Pattern {
        let rules = fields.iter().map(|(name, wanted)| {
            let path = path.key(name);
            let mut fault = |problem: String, hint: String| {
                faults.push(Problem::error(path.clone(), problem, hint));
                PatternRule::Unknown
            };
            match wanted {
                Json::Object(inner) => PatternRule::Field(name.clone(), Pattern::parse(inner, &path, faults)),
                Json::Array(ways) if ways.is_empty() => {
                    fault(format!("`{name}` in a filter is an empty list"), "add values, or remove it".to_owned())
                }
                Json::Array(ways) if name == "$or" && ways.iter().all(Json::is_object) => {
                    let ways = ways.iter().filter_map(Json::as_object).enumerate();
                    PatternRule::AnyOf(ways.map(|(at, way)| Pattern::parse(way, &path.index(at), faults)).collect())
                }
                Json::Array(ways) => {
                    let tests = ways.iter().enumerate();
                    PatternRule::Value(
                        name.clone(),
                        tests.map(|(at, way)| test(name, way, path.index(at), faults)).collect(),
                    )
                }
                value => fault(
                    format!("`{name}` in a filter must be a list, not a single value"),
                    match value {
                        Json::Number(number) if name == "N" => format!("write `N: [\"{number}\"]`"),
                        value => format!("write `{name}: [{}]`", bare(value)),
                    },
                ),
            }
        });
        Pattern { rules: rules.collect() }
    }
}

/// Parses an item of a field's list.
fn test(name: &str, way: &Json, path: Path, faults: &mut Vec<Problem>) -> Test {
    let test = Test::of(way);
    if let Err(Wrong { problem, hint, is_unknown }) = &test {
        let problem = format!("`{name}` in a filter {problem}");
        faults.push(Problem { warning: *is_unknown, ..Problem::error(path, problem, hint.clone()) });
    } else if name == "N" && (way.is_number() || way.get("numeric").is_some()) {
        let problem = "a number at `N` matches no records: DynamoDB sends numbers as strings".to_owned();
        let hint = match way {
            Json::Number(number) => format!("write `N: [\"{number}\"]`"),
            _ => "list the values as strings, like `N: [\"1\", \"2\"]`, or compare in the function".to_owned(),
        };
        faults.push(Problem::warning(path, problem, hint));
    }
    test.unwrap_or(Test::Unknown)
}

/// A value as written in YAML between brackets.
fn bare(value: &Json) -> String {
    let is_word = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    match value {
        Json::String(text) if is_word(text) && !matches!(&**text, "true" | "false" | "null") => text.clone(),
        value => value.to_string(),
    }
}

impl Test {
    /// Parses an item, or returns why AWS rejects it and how to fix it.
    fn of(item: &Json) -> Result<Test, Wrong> {
        let rule = match item {
            Json::Object(rule) => rule,
            Json::Array(_) => {
                let hint = "move its items to the outer list; each item is an alternative";
                return Err(Wrong::new("contains a nested list", hint));
            }
            Json::String(text) => return Ok(Test::Text(TextTest::Is(text.clone()))),
            value => return Ok(Test::Is(value.clone())),
        };
        let mut entries = rule.iter();
        let (Some((operator, operand)), None) = (entries.next(), entries.next()) else {
            let hint = "write each operator as a separate item, like `[{ prefix: a }, { suffix: b }]`; each item is an alternative";
            return Err(Wrong::new(format!("has an item with {} operators instead of one", rule.len()), hint));
        };
        let wrong = |takes: &str, example: &str| {
            Err(Wrong::new(format!("has an invalid value for `{operator}`: {takes}"), format!("write `{example}`")))
        };
        match operator.as_str() {
            "exists" => match operand {
                Json::Bool(exists) => Ok(Test::Exists(*exists)),
                _ => wrong("it must be true or false", "{ exists: true }"),
            },
            "numeric" => match range(operand) {
                Some(range) => Ok(Test::Numeric(range)),
                None => wrong("it must be a comparison", "{ numeric: [\">\", 0, \"<=\", 100] }"),
            },
            "anything-but" => match anything_but(operand) {
                Some(test) => Ok(test),
                None => wrong("it must be only texts or only numbers", "{ anything-but: [one, two] }"),
            },
            "cidr" if operand.is_string() => Ok(Test::Unknown),
            known if OPERATORS.contains(&known) => match TextTest::of(known, operand) {
                Some(test) => Ok(Test::Text(test)),
                // Only EventBridge's page documents a case-insensitive prefix.
                None if operand.is_object() && matches!(known, "prefix" | "suffix") => Ok(Test::Unknown),
                None => wrong("it must be text", &format!("{{ {operator}: text }}")),
            },
            unknown => Err(Wrong::unknown_operator(unknown)),
        }
    }
}

impl TextTest {
    /// The test of an operator with its operand; `None` for an operand of another form.
    fn of(operator: &str, operand: &Json) -> Option<TextTest> {
        if let Some(text) = operand.get("equals-ignore-case").and_then(Json::as_str) {
            return match operator {
                "prefix" => Some(TextTest::PrefixIgnoreCase(text.to_owned())),
                "suffix" => Some(TextTest::SuffixIgnoreCase(text.to_owned())),
                _ => None,
            };
        }
        let text = operand.as_str()?.to_owned();
        Some(match operator {
            "prefix" => TextTest::Prefix(text),
            "suffix" => TextTest::Suffix(text),
            "equals-ignore-case" => TextTest::IgnoreCase(text),
            "wildcard" => TextTest::Wildcard(text),
            "exactly" => TextTest::Is(text),
            _ => return None,
        })
    }
}

/// The operand of `anything-but`: a value, a list of values, or an operator with one or several
/// texts; `None` if it is something else.
fn anything_but(operand: &Json) -> Option<Test> {
    let exactly = |text: &Json| Some(TextTest::Is(text.as_str()?.to_owned()));
    match operand {
        Json::String(_) => Some(Test::NoText(vec![exactly(operand)?])),
        Json::Number(number) => Some(Test::NoNumber(vec![number.as_f64()?])),
        Json::Array(others) if others.is_empty() => None,
        Json::Array(others) if others.iter().all(Json::is_number) => {
            Some(Test::NoNumber(others.iter().filter_map(Json::as_f64).collect()))
        }
        Json::Array(others) => Some(Test::NoText(others.iter().map(exactly).collect::<Option<_>>()?)),
        // Only EventBridge's page documents these
        // (docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html).
        Json::Object(rule) => {
            let mut entries = rule.iter();
            let (Some((operator, texts)), None) = (entries.next(), entries.next()) else {
                return Some(Test::Unknown);
            };
            let texts = match texts {
                Json::Array(texts) => texts.iter().collect(),
                text => vec![text],
            };
            let tests: Option<Vec<TextTest>> = texts.into_iter().map(|text| TextTest::of(operator, text)).collect();
            Some(tests.filter(|it| !it.is_empty()).map_or(Test::Unknown, Test::NoText))
        }
        _ => None,
    }
}

/// One comparison, or a lower bound followed by an upper one.
fn range(operand: &Json) -> Option<Vec<(Sign, f64)>> {
    let Json::Array(terms) = operand else { return None };
    let term = |sign: &Json, number: &Json| Some((Sign::of(sign.as_str()?)?, number.as_f64()?));
    match terms.as_slice() {
        [sign, number] => Some(vec![term(sign, number)?]),
        [low, from, high, to] => {
            let (low, high) = (term(low, from)?, term(high, to)?);
            let is_range = matches!(low.0, Sign::Greater | Sign::AtLeast)
                && matches!(high.0, Sign::Less | Sign::AtMost)
                && low.1 <= high.1;
            is_range.then(|| vec![low, high])
        }
        _ => None,
    }
}
