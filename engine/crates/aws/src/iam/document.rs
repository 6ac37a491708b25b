//! The canonical form of a policy document, by which two policies are compared.
//!
//! IAM and SQS keep a document's text as it was sent, but the same policy has many texts: one
//! statement or a list, one action or a list, lists in any order, actions and condition keys in any
//! case, and an account as its number or as its root ARN
//! (docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html).
//!
//! **Invariant:** documents with the same canonical form grant the same. The reverse doesn't hold:
//! what isn't certainly the same, like `"*"` and `{"AWS": "*"}` as principals, stays different.

use serde_json::Value as Json;

use crate::value::Value;

/// The elements whose order is irrelevant, and for which a text is a list of one.
const LISTS: [&str; 4] = ["Action", "NotAction", "Resource", "NotResource"];

/// A policy document in canonical form. What is no policy document is only sorted by its keys.
pub fn normalize(document: &Json) -> Json {
    let mut document = document.clone();
    if let Json::Object(elements) = &mut document
        && let Some(statements) = elements.get_mut("Statement")
    {
        let mut canonical: Vec<Json> = list(statements.take()).into_iter().map(statement).collect();
        // A repeated statement stays: it has no effect, but a reader would miss it.
        canonical.sort_by_cached_key(Json::to_string);
        *statements = Json::Array(canonical);
    }
    by_key(document)
}

/// Whether two documents certainly grant the same.
pub fn is_equivalent(one: &Json, other: &Json) -> bool {
    normalize(one) == normalize(other)
}

fn statement(statement: Json) -> Json {
    let Json::Object(elements) = statement else { return statement };
    let canonical = elements.into_iter().filter_map(|(name, value)| {
        let value = match name.as_str() {
            // Services and actions ignore case
            // (docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_action.html).
            "Action" | "NotAction" => set(value, |action| action.to_ascii_lowercase()),
            name if LISTS.contains(&name) => set(value, str::to_owned),
            "Principal" | "NotPrincipal" => principals(value),
            // Without a condition, the block has no effect.
            "Condition" if value.as_object().is_some_and(serde_json::Map::is_empty) => return None,
            "Condition" => conditions(value),
            _ => value,
        };
        Some((name, value))
    });
    by_key(Json::Object(canonical.collect()))
}

/// Principals by type, without the types that have none.
fn principals(value: Json) -> Json {
    let Json::Object(types) = value else { return value };
    let canonical = types.into_iter().map(|(kind, names)| {
        let names = match kind.as_str() {
            "AWS" => set(names, |name| account_of_root(name).unwrap_or(name).to_owned()),
            _ => set(names, str::to_owned),
        };
        (kind, names)
    });
    Json::Object(canonical.filter(|(_, names)| names.as_array().is_none_or(|names| !names.is_empty())).collect())
}

/// The account in a root ARN, which is another form of the account as a principal; IAM turns the
/// number into the ARN
/// (docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html).
fn account_of_root(arn: &str) -> Option<&str> {
    let (partition, rest) = arn.strip_prefix("arn:")?.split_once(":iam::")?;
    let account = rest.strip_suffix(":root")?;
    let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    (is_account && !partition.contains(':')).then_some(account)
}

/// Conditions by operator and key, with their values as a set of texts. Keys ignore case, operators
/// don't (docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition.html).
fn conditions(value: Json) -> Json {
    let Json::Object(operators) = value else { return value };
    let canonical = operators.into_iter().map(|(operator, keys)| {
        let Json::Object(keys) = keys else { return (operator, keys) };
        // Merging keys that differ only in case would change what they require.
        let is_unique = |key: &str| keys.keys().filter(|other| other.eq_ignore_ascii_case(key)).count() == 1;
        let keys = keys.iter().map(|(key, values)| {
            let name = if is_unique(key) { key.to_ascii_lowercase() } else { key.clone() };
            (name, set(values.clone(), str::to_owned))
        });
        (operator, Json::Object(keys.collect()))
    });
    Json::Object(canonical.collect())
}

/// A sorted list without repetitions; `true` and `5` are `"true"` and `"5"`.
fn set(value: Json, canonical: impl Fn(&str) -> String) -> Json {
    let items = list(value).into_iter().map(|item| match item {
        Json::String(text) => Json::String(canonical(&text)),
        Json::Bool(_) | Json::Number(_) => Json::String(item.to_string()),
        other => by_key(other),
    });
    let mut items: Vec<Json> = items.collect();
    items.sort_by_cached_key(Json::to_string);
    items.dedup();
    Json::Array(items)
}

fn list(value: Json) -> Vec<Json> {
    match value {
        Json::Array(items) => items,
        item => vec![item],
    }
}

/// The same JSON with its keys in order, so that equal values have equal texts.
fn by_key(value: Json) -> Json {
    Json::from(&Value::from(value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;
    use serde_json::json;

    use super::*;

    const ACCOUNT: &str = "123456789012";

    #[test]
    fn a_policy_in_another_form_is_the_same() {
        let written = json!({ "Version": "2012-10-17", "Statement": {
            "Effect": "Allow",
            "Principal": { "AWS": ACCOUNT, "Service": [] },
            "Action": "SQS:sendMessage",
            "Resource": ["b", "a", "a"],
            "Condition": { "Bool": { "aws:SecureTransport": true }, "NumericLessThan": { "aws:MultiFactorAuthAge": 5 } },
        } });
        let stored = json!({ "Statement": [{
            "Condition": { "NumericLessThan": { "aws:multifactorauthage": ["5"] }, "Bool": { "aws:SecureTransport": "true" } },
            "Resource": ["a", "b"],
            "Action": ["sqs:SendMessage"],
            "Principal": { "AWS": ["arn:aws-cn:iam::123456789012:root"] },
            "Effect": "Allow",
        }], "Version": "2012-10-17" });
        assert_eq!(normalize(&written), normalize(&stored));
        assert!(is_equivalent(
            &json!({ "Statement": [{ "Sid": "b" }, { "Sid": "a", "Condition": {} }] }),
            &json!({ "Statement": [{ "Sid": "a" }, { "Sid": "b" }] })
        ));
    }

    #[test]
    fn what_is_not_certainly_the_same_differs() {
        let of = |name: &str, value: Json| json!({ "Statement": [{ "Effect": "Allow", name: value }] });
        for (name, one, other) in [
            ("Principal", json!("*"), json!({ "AWS": "*" })),
            ("Principal", json!({ "AWS": ACCOUNT }), json!({ "AWS": "arn:aws:iam::210987654321:root" })),
            ("Principal", json!({ "AWS": ACCOUNT }), json!({ "AWS": "arn:aws:iam::123456789012:user/root" })),
            ("Principal", json!({ "AWS": "AROAEXAMPLE" }), json!({ "AWS": "arn:aws:iam::123456789012:role/a" })),
            ("Principal", json!({ "Service": ACCOUNT }), json!({ "Service": "arn:aws:iam::123456789012:root" })),
            ("Resource", json!("arn:aws:sqs:eu-west-1:1:A"), json!("arn:aws:sqs:eu-west-1:1:a")),
            ("Condition", json!({ "Bool": { "k": "true" } }), json!({ "bool": { "k": "true" } })),
            ("Condition", json!({ "Null": { "k": [] } }), json!({})),
            ("Condition", json!({ "E": { "k": "a", "K": "b" } }), json!({ "E": { "k": ["a", "b"] } })),
            ("Action", json!("a:b"), json!(["a:b", "a:c"])),
        ] {
            assert!(!is_equivalent(&of(name, one.clone()), &of(name, other.clone())), "{name}: {one} {other}");
        }
        let twice = json!({ "Statement": [{ "Sid": "a" }, { "Sid": "a" }] });
        assert!(!is_equivalent(&twice, &json!({ "Statement": [{ "Sid": "a" }] })));
    }

    #[test]
    fn what_is_no_policy_stays_as_it_is() {
        for odd in
            [json!(null), json!("text"), json!([{ "b": 1, "a": [2, 1] }]), json!({ "Statement": [3, null, "x"] })]
        {
            assert_eq!(normalize(&odd).to_string().len(), odd.to_string().len(), "{odd}");
        }
    }

    fn texts() -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec("[a-c]{1,2}:[A-Ca-c*]{1,3}", 1..4).prop_map(|mut texts| {
            texts.sort_by_key(|text| text.to_ascii_lowercase());
            texts.dedup_by_key(|text| text.to_ascii_lowercase());
            texts
        })
    }

    fn principal() -> impl Strategy<Value = String> {
        prop_oneof![
            "[0-9]{12}",
            "[0-9]{12}".prop_map(|account| format!("arn:aws:iam::{account}:root")),
            "[0-9]{12}".prop_map(|account| format!("arn:aws:iam::{account}:role/a")),
            Just("*".to_owned()),
        ]
    }

    prop_compose! {
        fn any_statement()(
            sid in prop::option::of("[A-C]{1,2}"),
            effect in prop_oneof![Just("Allow"), Just("Deny")],
            actions in texts(),
            resources in texts(),
            principals in prop::collection::vec(principal(), 1..3),
            conditions in prop::collection::btree_map("[A-C]", prop::collection::btree_map("[a-c]:[d-e]", texts(), 1..3), 0..3),
            is_negated in any::<bool>(),
        ) -> Json {
            let (action, resource) = if is_negated { ("NotAction", "NotResource") } else { ("Action", "Resource") };
            let mut statement = json!({
                "Effect": effect, action: actions, resource: resources, "Principal": { "AWS": principals },
            });
            if let Some(sid) = sid { statement["Sid"] = json!(sid); }
            if !conditions.is_empty() { statement["Condition"] = json!(conditions); }
            statement
        }
    }

    fn policy() -> impl Strategy<Value = Json> {
        prop::collection::vec(any_statement(), 1..4)
            .prop_map(|statements| json!({ "Version": "2012-10-17", "Statement": statements }))
    }

    /// The same policy in another form, which a sequence of choices determines.
    fn rewritten(value: &Json, path: &[&str], choices: &mut impl FnMut() -> bool) -> Json {
        match value {
            Json::Object(fields) => {
                let mut fields: Vec<_> = fields.iter().collect();
                if choices() {
                    fields.reverse();
                }
                let is_condition_key = path.len() == 3 && path.get(1) == Some(&"Condition");
                let fields = fields.into_iter().map(|(key, value)| {
                    let name = if is_condition_key && choices() { key.to_ascii_uppercase() } else { key.clone() };
                    (name, rewritten(value, &[path, &[key]].concat(), choices))
                });
                Json::Object(fields.collect())
            }
            Json::Array(items) => {
                let mut items: Vec<_> = items.iter().map(|item| rewritten(item, path, choices)).collect();
                if choices() {
                    items.reverse();
                }
                if path.last() != Some(&"Statement") && choices() {
                    items.extend(items.first().cloned());
                }
                match items.as_slice() {
                    [one] if choices() => one.clone(),
                    _ => Json::Array(items),
                }
            }
            Json::String(text) if path.iter().any(|it| it.ends_with("Action")) && choices() => {
                json!(text.to_ascii_uppercase())
            }
            Json::String(text) if path.contains(&"Principal") && choices() => match account_of_root(text) {
                Some(account) => json!(account),
                None if text.len() == 12 => json!(format!("arn:aws:iam::{text}:root")),
                None => value.clone(),
            },
            other => other.clone(),
        }
    }

    /// The paths of all texts, and of all keys of conditions.
    fn leaves(value: &Json, path: &str, found: &mut Vec<String>) {
        match value {
            Json::Object(fields) => {
                fields.iter().for_each(|(key, value)| leaves(value, &format!("{path}/{key}"), found))
            }
            Json::Array(items) => {
                items.iter().enumerate().for_each(|(at, item)| leaves(item, &format!("{path}/{at}"), found));
            }
            _ => found.push(path.to_owned()),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn any_other_form_of_a_policy_compares_equal(policy in policy(), choices in prop::collection::vec(any::<bool>(), 64)) {
            let mut next = choices.iter().cycle();
            let other = rewritten(&policy, &[], &mut || *next.next().unwrap());
            prop_assert_eq!(normalize(&policy), normalize(&other), "{} {}", policy, other);
            let canonical = normalize(&policy);
            prop_assert_eq!(normalize(&canonical), canonical);
        }

        #[test]
        fn any_changed_text_is_found(policy in policy(), at in any::<Index>(), choices in prop::collection::vec(any::<bool>(), 64)) {
            let mut paths = Vec::new();
            leaves(&policy, "", &mut paths);
            let mut changed = policy.clone();
            let leaf = changed.pointer_mut(at.get(&paths).as_str()).unwrap();
            *leaf = json!(format!("{}!", leaf.as_str().unwrap()));
            let mut next = choices.iter().cycle();
            let other = rewritten(&changed, &[], &mut || *next.next().unwrap());
            prop_assert!(!is_equivalent(&policy, &other), "{} {}", policy, other);
        }

        #[test]
        fn anything_removed_is_found(policy in policy(), at in any::<Index>()) {
            let mut paths = Vec::new();
            leaves(&policy, "", &mut paths);
            let (parent, last) = at.get(&paths).rsplit_once('/').unwrap();
            let mut changed = policy.clone();
            match changed.pointer_mut(parent).unwrap() {
                Json::Object(fields) => drop(fields.remove(last)),
                Json::Array(items) => {
                    let removed = items.remove(last.parse().unwrap());
                    // Removing one of two equal principals changes nothing.
                    let canonical = |it: &Json| it.as_str().map(|it| account_of_root(it).unwrap_or(it).to_owned());
                    prop_assume!(!items.iter().any(|item| canonical(item) == canonical(&removed)));
                }
                _ => {}
            }
            prop_assert!(!is_equivalent(&policy, &changed), "{} {}", policy, changed);
        }
    }
}
