//! Lookups: values that a spec takes from AWS by name, like parameters and secrets.
//!
//! The sources are data that a program declares. A spec is first checked with its lookups unread;
//! once they are read, [`Spec::filled`](crate::spec::Spec::filled) checks it again with their
//! values, so that every rule holds for them too.
//!
//! **Invariant:** a secret value is in no text, and what can't be read has no value, never its
//! default.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use crate::diagnostic::{Diagnostic, Location, Span};
use crate::error::AwsError;
use crate::remedy::{Advice, CliCommand, RunOption};
use crate::schema::{Str, Text};
use crate::value::Value;

/// A place in AWS from which lookups take values.
#[derive(Clone)]
pub struct LookupSource {
    /// Its key in a lookup.
    pub key: Str,
    /// What a value is, like "an SSM parameter".
    pub what: Str,
    /// A one-line description.
    pub doc: Str,
    /// The format of the names in it.
    pub name: Text,
    /// An example of a name.
    pub example: Str,
    /// Whether a lookup can list several names, of which the first that exists counts.
    pub takes_list: bool,
    /// The key that selects a part of a value, and its description.
    pub part: Option<(Str, Str)>,
    /// Whether every value in it is secret.
    pub is_secret: bool,
}

/// One lookup of a spec.
#[derive(Debug, Clone, PartialEq)]
pub struct Lookup {
    /// Its name in the spec.
    pub name: String,
    /// The names to try, in order: at least one.
    pub reads: Vec<LookupRead>,
    /// What a value is, like "an SSM parameter".
    pub what: Str,
    /// Whether its value is secret whatever a read shows.
    pub is_secret: bool,
    /// Its value if none of the names exists.
    pub default: Option<Value>,
    /// The same in a local AWS, before the default.
    pub local: Option<Value>,
    /// Its position in the file.
    pub span: Span,
}

/// A value to read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LookupRead {
    /// The source's key.
    pub source: Str,
    /// The name in it.
    pub name: String,
    /// The part of the value, if not all of it is used.
    pub part: Option<String>,
}

/// What a read found.
#[derive(Clone, PartialEq)]
pub struct LookupAnswer {
    /// The value: text, or a list of texts.
    pub value: Value,
    /// Whether it is secret.
    pub is_secret: bool,
    /// Where it comes from: "SSM parameter `/a/b`, version 3".
    pub from: String,
}

/// What each read found; `None` if there is nothing with that name.
pub type LookupAnswers = BTreeMap<LookupRead, Result<Option<LookupAnswer>, AwsError>>;

/// The values of a spec's lookups, by name.
#[derive(Debug, Clone, Default)]
pub struct LookupValues {
    /// The known ones.
    pub known: BTreeMap<String, LookupAnswer>,
    /// Those that were not read, each with the reason.
    pub unread: BTreeMap<String, String>,
    /// Those that have a stand-in, because the local AWS has no such value.
    pub stand_ins: BTreeSet<String>,
}

/// A lookup without a value, and why.
#[derive(Debug)]
pub struct Unfound<'l> {
    /// The lookup.
    pub lookup: &'l Lookup,
    /// The error of its read; `None` if nothing with its names exists.
    pub error: Option<AwsError>,
}

/// Secret values are hidden.
impl std::fmt::Debug for LookupAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LookupAnswer").field("from", &self.from).finish_non_exhaustive()
    }
}

impl Lookup {
    /// Its names, for messages: "`/a` or `/b`".
    pub fn names(&self) -> String {
        let names: Vec<String> = self.reads.iter().map(|read| format!("`{}`", read.name)).collect();
        names.join(" or ")
    }

    /// The value that the first existing name has, else the local value or the default.
    ///
    /// # Errors
    /// The failed read of a name, before which none exists; `None` if no name exists and there is
    /// no default.
    fn value(&self, answers: &LookupAnswers, is_local: bool) -> Result<LookupAnswer, Option<AwsError>> {
        for read in &self.reads {
            match answers.get(read) {
                Some(Ok(Some(answer))) => return Ok(answer.clone()),
                Some(Err(error)) => return Err(Some(error.clone())),
                // What wasn't read isn't known to be missing.
                None => return Err(None),
                Some(Ok(None)) => {}
            }
        }
        let written = |value: &Value, from: &str| LookupAnswer {
            value: value.clone(),
            is_secret: self.is_secret,
            from: format!("the {from} of `lookups.{}`", self.name),
        };
        let local = self.local.as_ref().filter(|_| is_local).map(|value| written(value, "`local`"));
        local.or_else(|| self.default.as_ref().map(|value| written(value, "`default`"))).ok_or(None)
    }

    /// A value for a local AWS that has none: its text says which lookup it replaces.
    fn stand_in(&self) -> LookupAnswer {
        LookupAnswer {
            value: Value::String(format!("local-{}", self.name)),
            is_secret: self.is_secret,
            from: format!("a stand-in for `lookups.{}`", self.name),
        }
    }
}

impl LookupValues {
    /// The values of these lookups, and those that have none. In a local AWS, a missing value gets a
    /// stand-in.
    pub fn of<'l>(
        lookups: impl Iterator<Item = &'l Lookup>,
        answers: &LookupAnswers,
        is_local: bool,
    ) -> (LookupValues, Vec<Unfound<'l>>) {
        let mut values = LookupValues::default();
        let mut unfound = Vec::new();
        for lookup in lookups {
            match lookup.value(answers, is_local) {
                Ok(answer) => drop(values.known.insert(lookup.name.clone(), answer)),
                Err(None) if is_local => {
                    values.known.insert(lookup.name.clone(), lookup.stand_in());
                    values.stand_ins.insert(lookup.name.clone());
                }
                Err(error) => unfound.push(Unfound { lookup, error }),
            }
        }
        (values, unfound)
    }

    /// No values, for this reason.
    pub fn unread<'l>(lookups: impl Iterator<Item = &'l Lookup>, why: &str) -> LookupValues {
        let unread = lookups.map(|lookup| (lookup.name.clone(), why.to_owned())).collect();
        LookupValues { unread, ..LookupValues::default() }
    }

    /// The texts in secret values.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        self.known.values().flat_map(LookupAnswer::secrets)
    }
}

impl LookupAnswer {
    /// The texts in its value, if that is secret.
    pub fn secrets(&self) -> Vec<&str> {
        if self.is_secret { texts(&self.value) } else { Vec::new() }
    }
}

fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::List(items) => items.iter().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

impl Unfound<'_> {
    /// What is wrong with a lookup, where it is declared, and what needs it.
    pub fn diagnostic(&self, at: Location, uses: &[String]) -> Diagnostic {
        let Lookup { name, what, .. } = self.lookup;
        let needed = if uses.is_empty() { String::new() } else { format!("{} need it", listed(uses)) };
        let needed = if uses.len() == 1 { needed.replace(" need it", " needs it") } else { needed };
        let diagnostic = match &self.error {
            Some(error) => {
                let why = error.why();
                let diagnostic = error.diagnostic(&format!("read `lookups.{name}` ({what})"));
                if needed.is_empty() { diagnostic } else { diagnostic.why(format!("{why}; {needed}")) }
            }
            None => {
                let names = self.lookup.names();
                let problem = format!("`lookups.{name}` has no value: {what} named {names} doesn't exist");
                let hint = Advice::from("create it, correct the name, or add `default:`; ")
                    .then(CliCommand::Doctor)
                    .then(" shows the account, and ")
                    .then(RunOption::Region(None))
                    .then(" searches another region");
                let diagnostic = Diagnostic::error(problem, hint);
                if needed.is_empty() { diagnostic } else { diagnostic.why(needed) }
            }
        };
        diagnostic.at(at)
    }
}

/// "`a`, `b` and `c`".
pub fn listed(names: &[String]) -> String {
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => names.concat(),
    }
}

/// A value as text, as it appears within a longer text; `None` for null.
pub fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(Json::from(value).to_string()),
        // As AWS writes a list as text.
        Value::List(items) => {
            let items: Option<Vec<String>> = items.iter().map(as_text).collect();
            Some(items?.join(","))
        }
        _ => None,
    }
}
