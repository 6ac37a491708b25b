//! DynamoDB's values as JSON, plain or typed.
//!
//! **Invariant:** a number keeps every digit: it is never parsed.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::{SerializeMap as _, SerializeSeq as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::JsonForm;

/// A JSON object whose values aren't parsed yet. Each name can occur once.
struct Members<'j>(Vec<(String, &'j RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;
        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members: Vec<(String, &'de RawValue)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
                    if members.iter().any(|(known, _)| *known == name) {
                        return Err(A::Error::custom(format!("it has `{name}` twice")));
                    }
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(MembersVisitor)
    }
}

/// DynamoDB's name for the type of a value.
pub(super) fn type_of(value: &AttributeValue) -> &'static str {
    match value {
        AttributeValue::B(_) => "B",
        AttributeValue::Bool(_) => "BOOL",
        AttributeValue::Bs(_) => "BS",
        AttributeValue::L(_) => "L",
        AttributeValue::M(_) => "M",
        AttributeValue::N(_) => "N",
        AttributeValue::Ns(_) => "NS",
        AttributeValue::Null(_) => "NULL",
        AttributeValue::S(_) => "S",
        AttributeValue::Ss(_) => "SS",
        _ => "",
    }
}

/// The attributes of an item. `types` are those that the table's keys have.
///
/// # Errors
/// What is wrong, as a sentence.
pub(super) fn read_item(
    json: &RawValue,
    form: JsonForm,
    types: &BTreeMap<String, String>,
) -> Result<HashMap<String, AttributeValue>, String> {
    let Members(members) = members(json, "the item must be a JSON object")?;
    let read = |(name, value): (String, &RawValue)| {
        let read = match form {
            JsonForm::Typed => typed(value),
            JsonForm::Plain if types.get(&name).is_some_and(|type_| type_ == "B") => binary(value),
            JsonForm::Plain => plain(value),
        };
        read.map_err(|wrong| format!("`{name}`: {wrong}")).map(|value| (name, value))
    };
    members.into_iter().map(read).collect()
}

fn members<'j>(json: &'j RawValue, otherwise: &str) -> Result<Members<'j>, String> {
    match json.get().starts_with('{') {
        true => serde_json::from_str(json.get()).map_err(|error| reason(&error)),
        false => Err(otherwise.to_owned()),
    }
}

/// An error without its position, which counts from the start of the value.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.clone(), |(reason, _)| reason.to_owned())
}

fn plain(json: &RawValue) -> Result<AttributeValue, String> {
    let text = json.get();
    Ok(match text.as_bytes().first() {
        Some(b'{') => AttributeValue::M(each(members(json, "")?, plain)?),
        Some(b'[') => AttributeValue::L(list(json)?.into_iter().map(plain).collect::<Result<_, _>>()?),
        Some(b'"') => AttributeValue::S(string(json)?),
        Some(b't' | b'f') => AttributeValue::Bool(text == "true"),
        Some(b'n') => AttributeValue::Null(true),
        _ => AttributeValue::N(text.to_owned()),
    })
}

fn binary(json: &RawValue) -> Result<AttributeValue, String> {
    match json.get().starts_with('"') {
        true => Ok(AttributeValue::B(blob(json)?)),
        // Its type is reported with those of the other keys.
        false => plain(json),
    }
}

fn typed(json: &RawValue) -> Result<AttributeValue, String> {
    let form = "a value in DynamoDB's form has one type, like {\"S\": \"text\"} or {\"N\": \"1\"}";
    let Members(members) = members(json, form)?;
    let [(type_, value)] = members.as_slice() else { return Err(form.to_owned()) };
    let each_of = |read: fn(&RawValue) -> Result<AttributeValue, String>| {
        list(value)?.into_iter().map(read).collect::<Result<Vec<_>, String>>()
    };
    Ok(match type_.as_str() {
        "S" => AttributeValue::S(string(value)?),
        "N" => AttributeValue::N(string(value)?),
        "B" => AttributeValue::B(blob(value)?),
        "BOOL" => AttributeValue::Bool(serde_json::from_str(value.get()).map_err(|error| reason(&error))?),
        "NULL" => AttributeValue::Null(serde_json::from_str(value.get()).map_err(|error| reason(&error))?),
        "M" => AttributeValue::M(each(self::members(value, "`M` must be an object")?, typed)?),
        "L" => AttributeValue::L(each_of(typed)?),
        "SS" => AttributeValue::Ss(list(value)?.into_iter().map(string).collect::<Result<_, _>>()?),
        "NS" => AttributeValue::Ns(list(value)?.into_iter().map(string).collect::<Result<_, _>>()?),
        "BS" => AttributeValue::Bs(list(value)?.into_iter().map(blob).collect::<Result<_, _>>()?),
        other => return Err(format!("DynamoDB has no type `{other}`; {form}")),
    })
}

fn each(
    Members(members): Members<'_>,
    read: fn(&RawValue) -> Result<AttributeValue, String>,
) -> Result<HashMap<String, AttributeValue>, String> {
    members.into_iter().map(|(name, value)| Ok((name, read(value)?))).collect()
}

fn list(json: &RawValue) -> Result<Vec<&RawValue>, String> {
    serde_json::from_str(json.get()).map_err(|error| reason(&error))
}

fn string(json: &RawValue) -> Result<String, String> {
    serde_json::from_str(json.get()).map_err(|error| reason(&error))
}

fn blob(json: &RawValue) -> Result<Blob, String> {
    STANDARD.decode(string(json)?).map(Blob::new).map_err(|error| format!("it isn't Base64: {error}"))
}

/// Attributes as one line of JSON, in their order.
pub(super) fn json<'v>(attributes: impl Iterator<Item = (&'v str, &'v AttributeValue)>, form: JsonForm) -> String {
    let shown: Vec<_> = attributes.map(|(name, value)| (name, FormattedValue { value, form })).collect();
    // This never fails: it contains only strings, lists and maps.
    serde_json::to_string(&Object(&shown)).unwrap_or_default()
}

/// A JSON object with its members in this order.
struct Object<'v>(&'v [(&'v str, FormattedValue<'v>)]);

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// A value in a form.
#[derive(Clone, Copy)]
struct FormattedValue<'v> {
    value: &'v AttributeValue,
    form: JsonForm,
}

impl Serialize for FormattedValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.form {
            JsonForm::Plain => self.bare(serializer),
            JsonForm::Typed => {
                let mut typed = serializer.serialize_map(Some(1))?;
                typed.serialize_entry(type_of(self.value), &Bare(*self))?;
                typed.end()
            }
        }
    }
}

/// The same without its type.
struct Bare<'v>(FormattedValue<'v>);

impl Serialize for Bare<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.bare(serializer)
    }
}

impl FormattedValue<'_> {
    fn bare<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let FormattedValue { value, form } = *self;
        match value {
            AttributeValue::B(bytes) => serializer.serialize_str(&STANDARD.encode(bytes)),
            AttributeValue::Bool(flag) => serializer.serialize_bool(*flag),
            AttributeValue::Bs(all) => serializer.collect_seq(all.iter().map(|bytes| STANDARD.encode(bytes))),
            AttributeValue::L(all) => serializer.collect_seq(all.iter().map(|value| FormattedValue { value, form })),
            AttributeValue::M(all) => {
                let sorted: BTreeMap<&String, FormattedValue<'_>> =
                    all.iter().map(|(name, value)| (name, FormattedValue { value, form })).collect();
                sorted.serialize(serializer)
            }
            AttributeValue::N(number) if form == JsonForm::Plain => Number(number).serialize(serializer),
            AttributeValue::N(number) => serializer.serialize_str(number),
            AttributeValue::Ns(all) if form == JsonForm::Plain => {
                let mut list = serializer.serialize_seq(Some(all.len()))?;
                all.iter().try_for_each(|number| list.serialize_element(&Number(number)))?;
                list.end()
            }
            AttributeValue::Null(_) if form == JsonForm::Plain => serializer.serialize_unit(),
            AttributeValue::Null(flag) => serializer.serialize_bool(*flag),
            AttributeValue::S(text) => serializer.serialize_str(text),
            AttributeValue::Ss(all) | AttributeValue::Ns(all) => serializer.collect_seq(all),
            // A type that the SDK doesn't know.
            _ => serializer.serialize_unit(),
        }
    }
}

/// A number with all its digits.
struct Number<'v>(&'v str);

impl Serialize for Number<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serde_json::from_str::<&RawValue>(self.0) {
            Ok(number) => number.serialize(serializer),
            // DynamoDB's numbers are JSON's; this is for other servers.
            Err(_) => serializer.serialize_str(self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        serde_json::from_str(text).unwrap()
    }

    fn read(text: &str, form: JsonForm, types: &[(&str, &str)]) -> Result<HashMap<String, AttributeValue>, String> {
        let types = types.iter().map(|(name, type_)| ((*name).to_owned(), (*type_).to_owned())).collect();
        read_item(&raw(text), form, &types)
    }

    fn shown(item: &HashMap<String, AttributeValue>, form: JsonForm) -> String {
        let sorted: BTreeMap<_, _> = item.iter().collect();
        json(sorted.into_iter().map(|(name, value)| (name.as_str(), value)), form)
    }

    #[test]
    fn a_number_keeps_every_digit_in_both_forms() {
        let digits = "12345678901234567890123456789012345678";
        let item = read(&format!(r#"{{"n":{digits},"s":0.10,"t":{{"x":[-1e3]}}}}"#), JsonForm::Plain, &[]).unwrap();
        assert_eq!(shown(&item, JsonForm::Plain), format!(r#"{{"n":{digits},"s":0.10,"t":{{"x":[-1e3]}}}}"#));
        let typed = shown(&item, JsonForm::Typed);
        assert!(typed.starts_with(&format!(r#"{{"n":{{"N":"{digits}"}},"s":{{"N":"0.10"}}"#)), "{typed}");
        assert_eq!(read(&typed, JsonForm::Typed, &[]).unwrap(), item);
    }

    #[test]
    fn what_is_no_item_is_refused_with_its_attribute() {
        for (text, form, words) in [
            ("[]", JsonForm::Plain, "the item must be a JSON object"),
            (r#"{"a":1,"a":2}"#, JsonForm::Plain, "it has `a` twice"),
            (r#"{"a":{"b":1,"b":2}}"#, JsonForm::Plain, "`a`: it has `b` twice"),
            (r#"{"a":1}"#, JsonForm::Typed, "`a`: a value in DynamoDB's form has one type"),
            (r#"{"a":{"S":"x","N":"1"}}"#, JsonForm::Typed, "`a`: a value in DynamoDB's form has one type"),
            (r#"{"a":{"X":"x"}}"#, JsonForm::Typed, "DynamoDB has no type `X`"),
            (r#"{"a":{"N":1}}"#, JsonForm::Typed, "`a`: invalid type"),
            (r#"{"a":{"B":"%"}}"#, JsonForm::Typed, "`a`: it isn't Base64"),
            (r#"{"key":"%"}"#, JsonForm::Plain, "`key`: it isn't Base64"),
        ] {
            let wrong = read(text, form, &[("key", "B")]).unwrap_err();
            assert!(wrong.contains(words), "{text}: {wrong}");
        }
    }

    #[test]
    fn binary_keys_are_base64_and_sets_are_lists() {
        let item = read(r#"{"key":"aGk="}"#, JsonForm::Plain, &[("key", "B")]).unwrap();
        assert_eq!(item["key"], AttributeValue::B(Blob::new("hi")));
        assert_eq!(shown(&item, JsonForm::Plain), r#"{"key":"aGk="}"#);
        let sets = r#"{"b":{"BS":["aGk="]},"n":{"NS":["1.50"]},"s":{"SS":["x","y"]}}"#;
        let item = read(sets, JsonForm::Typed, &[]).unwrap();
        assert_eq!(shown(&item, JsonForm::Typed), sets);
        assert_eq!(shown(&item, JsonForm::Plain), r#"{"b":["aGk="],"n":[1.50],"s":["x","y"]}"#);
    }

    fn values() -> impl Strategy<Value = AttributeValue> {
        let leaf = prop_oneof![
            any::<String>().prop_map(AttributeValue::S),
            "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,10})?".prop_map(AttributeValue::N),
            any::<bool>().prop_map(AttributeValue::Bool),
            Just(AttributeValue::Null(true)),
        ];
        leaf.prop_recursive(4, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(AttributeValue::L),
                prop::collection::hash_map("[a-z\"\\\\é]{1,4}", inner, 0..4).prop_map(AttributeValue::M),
            ]
        })
    }

    proptest! {
        #[test]
        fn both_forms_give_the_same_item_back(item in prop::collection::hash_map("[a-z\" ]{1,5}", values(), 0..5)) {
            for form in [JsonForm::Plain, JsonForm::Typed] {
                prop_assert_eq!(&read(&shown(&item, form), form, &[]).unwrap(), &item);
            }
        }

        #[test]
        fn any_bytes_that_are_json_are_read_or_refused(text in "[\\[\\]{}:,\"SNBML0-9a-z]{0,40}") {
            if let Ok(json) = serde_json::from_str::<Box<RawValue>>(&text) {
                for form in [JsonForm::Plain, JsonForm::Typed] {
                    let _ = read_item(&json, form, &BTreeMap::new());
                }
            }
        }
    }
}
