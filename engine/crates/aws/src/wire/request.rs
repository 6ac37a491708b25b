//! Reads a request as it is sent, with nothing but the declared [`Operations`].
//!
//! **Invariant:** a request that fits no declaration, or that could be read in two ways, has no
//! reading.

use std::collections::BTreeSet;
use std::fmt;

use engine_core::wait::limiter::LimitId;
use percent_encoding::percent_decode_str;
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer as _};
use serde_json::Value as Json;

use crate::schema::AwsEnv;

use crate::operation::{Asks, At, Attachments, Effect, NameForm, Operation, Operations, Takes, TargetField, Wire};

/// The parts of a request that the guard checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The name of the service.
    pub service: &'static str,
    /// The API operation.
    pub operation: &'static str,
    /// Its effect.
    pub effect: Effect,
    /// Whether it is allowed on a resource whose tags can't be read.
    pub is_in_place: bool,
    /// The kind and name (or UUID) of its resource, if it names one.
    pub target: Option<(&'static str, String)>,
    /// How the resource is named.
    pub form: Option<&'static NameForm>,
    /// The kind of the resource that the target is attached to, if AWS assigns the target's name.
    pub attached_to: Option<&'static str>,
    /// Region and account, if the target is an ARN.
    pub region_and_account: Option<(String, String)>,
    /// The statement ID, for permissions.
    pub statement: Option<String>,
    /// The ARN of what a new attached resource reads.
    pub source: Option<String>,
    /// The item that it writes, or its key.
    pub item: Option<Json>,
    /// What its response shows about attached resources.
    pub shows: Option<&'static Attachments>,
    /// What it asks for, and the names of that, if only the spec's lookups allow it.
    pub asks: Option<(Asks, Vec<String>)>,
    /// The rate limit that it counts against.
    pub limit: LimitId,
}

/// Names and values in one part of a request.
type Fields = Vec<(String, String)>;

/// The values in a request, by the part that contains them.
#[derive(Debug, Default)]
struct RequestValues {
    body: Fields,
    form: Fields,
    path: Fields,
    query: Fields,
}

/// A request on the wire.
struct RawRequest<'m> {
    method: &'m str,
    path: &'m str,
    query: &'m str,
    target: Option<&'m str>,
    body: &'m [u8],
}

impl Operations {
    /// Reads a request as it is sent, with the header `X-Amz-Target`; `None` if engine never makes
    /// it.
    pub fn parse(&self, method: &str, uri: &str, target: Option<&str>, body: &[u8]) -> Option<Request> {
        let path = match uri.split_once("://") {
            Some((_, rest)) => rest.find(['/', '?']).map_or("/", |start| &rest[start..]),
            None => uri,
        };
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let message = RawRequest { method, path, query, target, body };
        let mut readings = self.iter().filter_map(|operation| message.read(operation, self.limit_of(operation)));
        let first = readings.next()?;
        readings.all(|other| other == first).then_some(first)
    }
}

impl RawRequest<'_> {
    /// The request as a call of this operation.
    fn read(&self, operation: &Operation, limit: LimitId) -> Option<Request> {
        let values = self.values(operation)?;
        if operation.forbidden.is_some_and(|name| values.body.iter().any(|(key, _)| key == name)) {
            return None;
        }
        // A read may leave it out, and the guard refuses a write without it.
        let named = match operation.target {
            Some(TargetField { form, at, takes }) => match values.get(at) {
                Some(text) => Some((form, named(form, text, takes)?)),
                None => None,
            },
            None => None,
        };
        let statement = match operation.statement {
            Some(at) => Some(values.get(at)?.to_owned()),
            None => None,
        };
        let asks = match operation.asks {
            Some(asks) => Some((asks, asked(asks.at.map(|at| values.all(at)))?)),
            None => None,
        };
        let form = named.as_ref().map(|(form, _)| *form);
        let (target, attached_to, region_and_account) = match named {
            Some((form, (name, region_and_account))) => (Some((form.kind, name)), form.attached_to, region_and_account),
            None => (None, None, None),
        };
        Some(Request {
            service: operation.service.name,
            operation: operation.name,
            effect: operation.effect,
            is_in_place: operation.is_in_place,
            target,
            form,
            attached_to,
            region_and_account,
            statement,
            source: operation.source.and_then(|at| values.get(at)).map(str::to_owned),
            item: operation.item.and_then(|name| serde_json::from_str(values.get(At::Body(name))?).ok()),
            shows: operation.shows,
            asks,
            limit,
        })
    }

    /// The values in the request, if it has the form of this operation.
    fn values(&self, operation: &Operation) -> Option<RequestValues> {
        // Anything outside of the body could make AWS read the request differently than this code.
        let is_in_body = self.method == "POST" && self.path == "/" && self.query.is_empty();
        match (operation.wire, self.target) {
            (Wire::Json(prefix), Some(target)) if is_in_body => {
                let name = target.strip_prefix(prefix)?.strip_prefix('.')?;
                (name == operation.name).then_some(())?;
                Some(RequestValues { body: members(self.body, operation)?, ..RequestValues::default() })
            }
            (Wire::Query, None) if is_in_body => {
                let values =
                    RequestValues { form: pairs(std::str::from_utf8(self.body).ok()?), ..RequestValues::default() };
                (values.get(At::Form("Action"))? == operation.name).then_some(values)
            }
            (Wire::Rest(method, pattern), None) if method == self.method => {
                let (path, query) = (placeholders(pattern, self.path)?, pairs(self.query));
                let body = if self.body.is_empty() { Fields::new() } else { members(self.body, operation)? };
                Some(RequestValues { body, path, query, ..RequestValues::default() })
            }
            _ => None,
        }
    }
}

impl RequestValues {
    /// The value there; `None` if there is none, or several in any case, of which it is unclear
    /// which one AWS uses.
    fn get(&self, at: At) -> Option<&str> {
        let (fields, name) = self.part(at);
        let mut found = fields.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        let (key, value) = found.next()?;
        (found.next().is_none() && key == name).then_some(value)
    }

    /// All values there: in a body, the texts of one list.
    fn all(&self, at: At) -> Vec<String> {
        if !matches!(at, At::Body(_)) {
            return self.get(at).map(str::to_owned).into_iter().collect();
        }
        let (fields, name) = self.part(at);
        fields.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone()).collect()
    }

    fn part(&self, at: At) -> (&Fields, &'static str) {
        match at {
            At::Body(name) => (&self.body, name),
            At::Form(name) => (&self.form, name),
            At::Path(name) => (&self.path, name),
            At::Query(name) => (&self.query, name),
        }
    }
}

/// The names of what a read asks for; `None` if it must name something and doesn't.
fn asked(names: Option<Vec<String>>) -> Option<Vec<String>> {
    match names {
        Some(names) if names.is_empty() => None,
        names => Some(names.unwrap_or_default()),
    }
}

/// The segments of a path in the places of a pattern's placeholders.
fn placeholders(pattern: &str, path: &str) -> Option<Fields> {
    let mut fields = Fields::new();
    let mut segments = path.split('/');
    for expected in pattern.split('/') {
        let segment = segments.next()?;
        match expected.strip_prefix('{').and_then(|it| it.strip_suffix('}')) {
            Some(name) if !segment.is_empty() => {
                fields.push((name.to_owned(), percent_decode_str(segment).decode_utf8().ok()?.into_owned()));
            }
            None if segment == expected => {}
            _ => return None,
        }
    }
    segments.next().is_none().then_some(fields)
}

fn pairs(text: &str) -> Fields {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (decoded(key), decoded(value))).collect()
}

/// The text members of a JSON body that matter to this operation; `None` if the body can't be read,
/// and if it has a member twice. A REST body that doesn't matter may be of any form.
fn members(body: &[u8], operation: &Operation) -> Option<Fields> {
    let asked = operation.asks.and_then(|asks| asks.at);
    let named = [operation.target.map(|target| target.at), operation.statement, operation.source, asked];
    let in_body = named.into_iter().flatten().filter_map(|at| match at {
        At::Body(name) => Some(name),
        _ => None,
    });
    let wanted: Vec<&str> = in_body.chain(operation.forbidden).collect();
    let item = operation.item;
    if wanted.is_empty() && matches!(operation.wire, Wire::Rest(..)) {
        return Some(Fields::new());
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let fields = json.deserialize_map(MemberVisitor { wanted, item, lists: operation.asks.is_some() }).ok()?;
    json.end().ok()?;
    Some(fields)
}

struct MemberVisitor<'w> {
    /// Members with texts.
    wanted: Vec<&'w str>,
    /// A member that is kept as JSON.
    item: Option<&'w str>,
    /// Whether they can be lists.
    lists: bool,
}

/// A member that is text or a list of texts.
#[derive(Deserialize)]
#[serde(untagged)]
enum Texts {
    None(()),
    One(String),
    Several(Vec<String>),
}

impl<'de> Visitor<'de> for MemberVisitor<'_> {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let (mut seen, mut fields) = (BTreeSet::new(), Fields::new());
        while let Some(name) = map.next_key::<String>()? {
            if self.wanted.contains(&name.as_str()) {
                let texts = match map.next_value()? {
                    Texts::None(()) => Vec::new(),
                    Texts::One(text) => vec![text],
                    Texts::Several(texts) if self.lists => texts,
                    Texts::Several(_) => return Err(A::Error::custom("a list where a text is expected")),
                };
                fields.extend(texts.into_iter().map(|text| (name.clone(), text)));
            } else if self.item == Some(name.as_str()) {
                fields.push((name.clone(), map.next_value::<Json>()?.to_string()));
            } else {
                map.next_value::<IgnoredAny>()?;
            }
            if !seen.insert(name) {
                return Err(A::Error::custom("a member occurs twice"));
            }
        }
        Ok(fields)
    }
}

/// The name in a name, ARN or URL, and region and account of the ARN or URL; `None` for what AWS
/// could read differently, like a partial ARN, whose account can't be compared.
fn named(form: &NameForm, text: &str, takes: Takes) -> Option<(String, Option<(String, String)>)> {
    if takes == Takes::Url {
        let (region, account, name) = url(text)?;
        // Only one text is the URL of this resource.
        let env = AwsEnv::new(region, account);
        return (form.is_plain(name) && form.url(&env, name) == text)
            .then(|| (name.to_owned(), Some((env.region, env.account))));
    }
    let in_arn = form.arn.as_ref().and_then(|of| Some((arn(text, &of.service)?, of.prefix())));
    let (region_and_account, name) = match in_arn {
        Some(((region_and_account, resource), prefix)) if takes != Takes::Name => {
            (Some(region_and_account), resource.strip_prefix(prefix)?)
        }
        None if takes != Takes::Arn => (None, text),
        _ => return None,
    };
    let (name, qualifier) = if form.is_qualified { name.split_once(':').unwrap_or((name, "")) } else { (name, "") };
    let is_partial =
        qualifier.contains(':') || form.arn.as_ref().is_some_and(|of| of.prefix().strip_suffix(':') == Some(qualifier));
    (form.is_plain(name) && !is_partial).then(|| (name.to_owned(), region_and_account))
}

/// Region, account and name in the URL of a resource.
fn url(text: &str) -> Option<(&str, &str, &str)> {
    let (host, path) = text.strip_prefix("https://")?.split_once('/')?;
    let (account, name) = path.split_once('/')?;
    let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    is_account.then_some((host.split('.').nth(1)?, account, name))
}

/// Region, account and resource of an ARN of that service.
fn arn<'a>(text: &'a str, service: &str) -> Option<((String, String), &'a str)> {
    let mut fields = text.splitn(6, ':');
    let (marker, _partition, of) = (fields.next()?, fields.next()?, fields.next()?);
    let (region, account, resource) = (fields.next()?, fields.next()?, fields.next()?);
    (marker == "arn" && of == service).then(|| ((region.to_owned(), account.to_owned()), resource))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation;

    #[test]
    fn a_request_that_aws_could_interpret_differently_is_not_parsed() {
        let delete = "/2015-03-31/functions/acme-f";
        let table = Some("DynamoDB_20120810.DeleteTable");
        let cases = [
            ("GET", delete, None, ""),
            ("POST", "/", table, r#"{"TableName":"acme-t"}"#),
            ("POST", "/", None, "Action=GetRole&RoleName=r"),
            // All of the following are one of these, in another form.
            ("GET", "/2015-03-31//functions/acme-f", None, ""),
            ("GET", "/2015-03-31/functions/acme-f/", None, ""),
            ("GET", "/2015-03-31/%66unctions/acme-f", None, ""),
            ("GET", "/2099-01-01/functions/acme-f", None, ""),
            ("GET", "/2015-03-31/functions/acme-f%FF", None, ""),
            ("GET", delete, table, ""),
            ("POST", "?TableName=acme-u", table, r#"{"TableName":"acme-t"}"#),
            ("POST", "/", table, r#"["acme-t"]"#),
            ("POST", "/", table, r#"{"TableName":"acme-t"}{"TableName":"acme-u"}"#),
            ("POST", "/", table, r#"{"TableName":"acme-t","Other":1,"Other":2}"#),
            ("POST", "/", table, r#"{"TableName":"acme-t","\u0054ableName":"acme-u"}"#),
            ("POST", "/", Some("DynamoDB_20120810DeleteTable"), r#"{"TableName":"acme-t"}"#),
            ("POST", "/", Some("dynamodb_20120810.DeleteTable"), r#"{"TableName":"acme-t"}"#),
            ("POST", "/", None, "Action=GetRole&RoleName=r&Action=GetRole"),
        ];
        let operations = operation::all();
        let is_read = |(method, path, target, body): &(&str, &str, Option<&str>, &str)| {
            operations.parse(method, &format!("https://host{path}"), *target, body.as_bytes()).is_some()
        };
        let (plain, others) = cases.split_at(3);
        assert!(plain.iter().all(is_read));
        assert_eq!(others.iter().filter(|it| is_read(it)).collect::<Vec<_>>(), Vec::<&_>::new());
    }

    #[test]
    fn a_request_that_matches_two_declarations_is_parsed_only_if_they_agree() {
        let declared = || operation::all().iter().find(|it| it.name == "DeleteTable").copied().unwrap();
        let parse = |operations: Operations| {
            let body = br#"{"TableName":"acme-t"}"#;
            operations.parse("POST", "https://host/", Some("DynamoDB_20120810.DeleteTable"), body)
        };
        assert!(parse(Operations::new([declared(), declared()])).is_some());
        for other in [Operation { effect: Effect::Read, ..declared() }, Operation { target: None, ..declared() }] {
            assert_eq!(parse(Operations::new([declared(), other])), None);
            assert_eq!(parse(Operations::new([other, declared()])), None);
        }
    }
}
