//! Maps AWS's member names to properties of a spec.
//!
//! Errors from AWS contain the member of the request, in three forms:
//! `'provisionedThroughput.readCapacityUnits'`, `'globalSecondaryIndexes.1.member.indexName'` and
//! `ReadCapacityUnits` (docs.aws.amazon.com/lambda/latest/api/ CommonErrors.html and messages of
//! the services).
//!
//! **Invariant:** an ambiguous name maps to no property.

use crate::value::{Path, Tree, Value};

use super::{Property, Schema, Shape};

/// Suffixes of structure names in different services.
const SUFFIXES: [&str; 3] = ["specification", "configuration", "config"];

/// How well a name matches a property: completely or not, in how many segments, and whether only at
/// the end, which other properties can share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct NameMatch {
    is_whole: bool,
    n_segments: usize,
    is_end: bool,
}

impl Schema {
    /// The path in a spec for AWS's `member`; `desired` determines the n-th entry.
    pub fn path_of(&self, member: &str, desired: &Tree) -> Option<Path> {
        let segments = segments(member);
        let is_name = segments.last().is_some_and(|last| *last == format!("{}name", self.kind));
        match best(&self.properties, &segments) {
            Some((property, rest)) => {
                let path = Path::property(&property.name);
                Some(inside(path, &property.shape, desired.get(&*property.name), rest))
            }
            // The resource's name, which is no property.
            None => is_name.then(|| Path::property("name")),
        }
    }
}

/// The segments of a member name in lowercase, without the word `member` that AWS adds after an
/// index.
fn segments(member: &str) -> Vec<String> {
    let words = member.split('.').filter(|word| !word.is_empty() && *word != "member");
    words.map(str::to_ascii_lowercase).collect()
}

/// The best matching property, and the rest of the name within it.
fn best<'p, 's>(properties: &'p [Property], name: &'s [String]) -> Option<(&'p Property, &'s [String])> {
    let fits = properties.iter().filter_map(|property| {
        let (fit, rest) = fit(&segments(&property.aws_name()), name)?;
        Some((fit, property, rest))
    });
    let mut best: Option<(NameMatch, &Property, &[String])> = None;
    let mut is_ambiguous = false;
    for (fit, property, rest) in fits {
        match best {
            Some((other, ..)) if other > fit => {}
            Some((other, ..)) if other == fit => is_ambiguous |= fit.is_end,
            _ => (best, is_ambiguous) = (Some((fit, property, rest)), false),
        }
    }
    best.filter(|_| !is_ambiguous).map(|(_, property, rest)| (property, rest))
}

/// How AWS's `name` matches a property's `member`: at its end, at its start, or beyond it.
fn fit<'s>(member: &[String], name: &'s [String]) -> Option<(NameMatch, &'s [String])> {
    let agree = |one: &[String], other: &[String]| {
        !one.is_empty() && one.len() == other.len() && one.iter().zip(other).all(|(a, b)| is_same(a, b))
    };
    if let Some((_, rest)) = name.split_at_checked(member.len()).filter(|(start, _)| agree(start, member)) {
        return Some((NameMatch { is_whole: rest.is_empty(), n_segments: member.len(), is_end: false }, rest));
    }
    let is_end =
        member.len().checked_sub(name.len()).and_then(|at| member.get(at..)).is_some_and(|end| agree(end, name));
    let is_start = member.get(..name.len()).is_some_and(|start| agree(start, name));
    let shares_start =
        name.first().zip(member.first()).is_some_and(|(one, other)| name.len() > 1 && is_same(one, other));
    if shares_start && !is_end && !is_start {
        return Some((NameMatch { is_whole: false, n_segments: 1, is_end: false }, &[]));
    }
    (is_end || is_start).then_some((NameMatch { is_whole: false, n_segments: name.len(), is_end }, &[]))
}

/// Compares names, ignoring plural and suffixes like `Specification`.
fn is_same(one: &str, other: &str) -> bool {
    let bare = |word: &str| SUFFIXES.iter().find_map(|suffix| word.strip_suffix(suffix)).unwrap_or(word).to_owned();
    let (one, other) = (bare(one), bare(other));
    let is_plural = |many: &str, single: &str| many.strip_prefix(single).is_some_and(|end| matches!(end, "s" | "es"));
    one == other || is_plural(&one, &other) || is_plural(&other, &one)
}

/// Resolves the rest of a name within a property: an entry by its index, and a property of that
/// entry.
fn inside(path: Path, shape: &Shape, value: Option<&Value>, rest: &[String]) -> Path {
    let Some((number, rest)) = rest.split_first().and_then(|(first, rest)| Some((first.parse::<usize>().ok()?, rest)))
    else {
        return path;
    };
    let at = number.saturating_sub(1);
    match (shape, value) {
        (Shape::Map { value: shape, .. }, Some(Value::Map(entries))) => {
            // Entries are sent in this order.
            let Some((key, _)) = entries.iter().nth(at) else { return path };
            let path = path.key(key);
            match &**shape {
                Shape::Record(inner) => match best(inner, rest) {
                    Some((property, _)) => path.key(&property.name),
                    None => path,
                },
                _ => path,
            }
        }
        (Shape::List { .. }, Some(Value::List(items))) if at < items.len() => path.index(at),
        _ => path,
    }
}

impl Property {
    /// AWS's name for it.
    fn aws_name(&self) -> String {
        self.member.as_deref().map_or_else(|| self.name.replace('_', ""), str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_matches_completely_at_its_end_or_within_a_property() {
        for (member, name, rest) in [
            ("TracingConfig.Mode", "tracingConfig.mode", Some(0)),
            ("ProvisionedThroughput.ReadCapacityUnits", "ReadCapacityUnits", Some(0)),
            ("ProvisionedThroughput.ReadCapacityUnits", "provisionedThroughput", Some(0)),
            ("TimeToLiveSpecification.AttributeName", "TimeToLive", Some(0)),
            ("GlobalSecondaryIndexes", "GlobalSecondaryIndex", Some(0)),
            ("GlobalSecondaryIndexes", "globalSecondaryIndexes.2.member.indexName", Some(2)),
            ("memorysize", "memorySize", Some(0)),
            ("SSESpecification.KMSMasterKeyId", "sSESpecification.sSEType", Some(0)),
            ("memorysize", "size", None),
            ("", "size", None),
            ("size", "", None),
        ] {
            assert_eq!(fit(&segments(member), &segments(name)).map(|(_, rest)| rest.len()), rest, "{member} {name}");
        }
    }
}
