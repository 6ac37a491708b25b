//! A role's inline policy: `access` and `statements` in the spec, and statements by name instead of
//! a document, so that a plan shows which one changes.
//!
//! **Invariant:** a policy that was changed by hand is kept as IAM returns it, and never equals a
//! desired one by accident: both are compared as documents.

use serde_json::{Map, Value as Json, json};

use crate::iam::policy::Statement;
use crate::iam::{document, execution};
use crate::schema::{AwsEnv, Problem, Shape, Text, property};
use crate::spec::ResourceDecl;
use crate::value::{Template, Tree, Value, tree_to_json};

/// The members of a statement in the spec, and IAM's names for them.
const MEMBERS: [(&str, &str); 4] =
    [("effect", "Effect"), ("actions", "Action"), ("resources", "Resource"), ("conditions", "Condition")];

/// `access: { todos: read, dead: [send, sqs:PurgeQueue] }`.
pub(in crate::kinds) fn access() -> Shape {
    let word = Text::new(2..=128, "an access level or an IAM action", |text| {
        text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b':' | b'*' | b'-'))
    });
    Shape::Map { key: Text::any(63), value: Box::new(Shape::Texts { item: word, max: 50 }), max: 100 }
}

/// The shape of `statements`.
pub(in crate::kinds) fn statements() -> Shape {
    let action = Text::new(1..=256, "an IAM action, like `ses:SendEmail`", |text| {
        text == "*" || text.split_once(':').is_some_and(|(service, name)| !service.is_empty() && !name.is_empty())
    });
    let resource = Text::new(1..=2048, "a reference, an ARN or `*`", |text| {
        text == "*" || (text.starts_with("arn:") && text.split(':').count() >= 6)
    });
    let conditions = Shape::Json {
        max: 2048,
        references: true,
        example: "StringEquals: { \"ses:FromAddress\": noreply@example.com }".into(),
        faults: std::sync::Arc::new(|_, _| Vec::new()),
    };
    let members = vec![
        property("effect", Shape::choice(["Allow", "Deny"]), "whether it allows or denies").default("Allow"),
        property("actions", Shape::Texts { item: action, max: 100 }, "IAM actions").required(),
        property("resources", Shape::Texts { item: resource, max: 100 }, "ARNs, references or `*`").required(),
        property("conditions", conditions, "conditions in IAM's form"),
    ];
    Shape::List { item: Box::new(Shape::Record(members)), max: 50 }
}

/// Any policy document.
pub(super) fn document_shape() -> Shape {
    Shape::Json {
        // docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html: 2,048 characters,
        // up to 4,096 on request.
        max: 4096,
        references: true,
        example: "Version: \"2012-10-17\", Statement: […]".into(),
        faults: std::sync::Arc::new(|document, path| {
            let has = |element: &str| document.get(element).is_some();
            let missing = ["Version", "Statement"].into_iter().find(|element| !has(element));
            let missing = missing.map(|element| {
                let problem = format!("the policy has no `{element}`");
                Problem::error(
                    path.clone(),
                    problem,
                    "write a policy document: `Version: \"2012-10-17\"`, `Statement: […]`",
                )
            });
            missing.into_iter().collect()
        }),
    }
}

/// Statements by name.
pub(super) fn policy_shape() -> Shape {
    Shape::Map { key: Text::any(128), value: Box::new(statements_record()), max: 500 }
}

fn statements_record() -> Shape {
    match statements() {
        Shape::List { item, .. } => *item,
        other => other,
    }
}

/// A name that no statement has yet.
pub(super) fn unique(statements: &Tree, sid: &str) -> String {
    let numbered = (1..).map(|n| if n == 1 { sid.to_owned() } else { format!("{sid}{n}") });
    numbered.into_iter().find(|name| !statements.contains_key(name)).unwrap_or_default()
}

/// A derived statement in the spec's form, in which unknown parts of ARNs are placeholders.
pub(super) fn derived(statement: &Statement) -> Value {
    of_document(&execution::to_json(statement))
}

/// The `statements` of a declaration.
pub(super) fn written(declared: &ResourceDecl) -> Vec<Value> {
    let Some(Value::List(statements)) = declared.desired.get("statements") else { return Vec::new() };
    let canonical = statements.iter().filter_map(|statement| {
        let Value::Map(statement) = statement else { return None };
        let mut statement: Tree = statement.clone();
        statement.retain(|_, value| *value != Value::Null);
        if statement.get("effect") == Some(&Value::String("Allow".to_owned())) {
            statement.remove("effect");
        }
        for list in ["actions", "resources"] {
            if let Some(one @ (Value::String(_) | Value::Unknown(_))) = statement.get(list).cloned() {
                statement.insert(list.to_owned(), Value::List(vec![one]));
            }
        }
        Some(Value::Map(statement))
    });
    canonical.collect()
}

/// A statement of a document in the spec's form. Elements that the spec doesn't have keep IAM's
/// name.
fn of_document(statement: &Json) -> Value {
    let Json::Object(elements) = statement else { return Value::from(statement.clone()) };
    let mut tree = Tree::new();
    for (name, value) in elements {
        let member = MEMBERS.iter().find(|(_, element)| element == name).map_or(name.as_str(), |(member, _)| member);
        let value = match (member, value) {
            ("effect", Json::String(effect)) if effect == "Allow" => continue,
            ("Sid", _) => continue,
            ("actions" | "resources", Json::String(one)) => json!([one]),
            (_, value) => value.clone(),
        };
        tree.insert(member.to_owned(), unmarked(value));
    }
    Value::Map(tree)
}

/// JSON as a value, with placeholders instead of marks.
fn unmarked(json: Json) -> Value {
    match json {
        Json::String(text) => AwsEnv::unmarked(&text),
        Json::Array(items) => Value::List(items.into_iter().map(unmarked).collect()),
        Json::Object(map) => Value::Map(map.into_iter().map(|(key, value)| (key, unmarked(value))).collect()),
        other => Value::from(other),
    }
}

/// A policy document as statements by name; those without one are numbered.
pub(super) fn by_name(document: &Json) -> Value {
    let statements = match document.get("Statement") {
        Some(Json::Array(statements)) => statements.clone(),
        Some(statement) => vec![statement.clone()],
        None => Vec::new(),
    };
    let mut tree = Tree::new();
    for statement in &statements {
        let sid = statement.get("Sid").and_then(Json::as_str).unwrap_or("Statement");
        let sid = unique(&tree, sid);
        tree.insert(sid, of_document(statement));
    }
    Value::Map(tree)
}

/// The document of statements by name. Unknown values become `null`.
pub(super) fn document_of(policy: &Value) -> Json {
    let Value::Map(statements) = policy else { return json!({ "Version": "2012-10-17", "Statement": [] }) };
    let statements = statements.iter().map(|(sid, statement)| {
        let Value::Map(members) = statement else { return Json::Null };
        let mut elements = Map::new();
        elements.insert("Sid".to_owned(), json!(sid));
        elements.insert("Effect".to_owned(), json!("Allow"));
        for (name, value) in members {
            let element = MEMBERS.iter().find(|(member, _)| member == name).map_or(name.as_str(), |(_, it)| it);
            elements.insert(element.to_owned(), Json::from(value));
        }
        Json::Object(elements)
    });
    json!({ "Version": "2012-10-17", "Statement": statements.collect::<Vec<_>>() })
}

/// The same document as it is printed: with `${…}` for values that only AWS knows.
pub(crate) fn printed_document(policy: &Value) -> Json {
    document_of(&with_texts(policy, &Template::to_string))
}

/// Any document as it is printed.
pub(crate) fn printed(document: &Value) -> Json {
    Json::from(&with_texts(document, &Template::to_string))
}

/// A value with texts instead of the templates in it.
pub(super) fn with_texts(value: &Value, text: &dyn Fn(&Template) -> String) -> Value {
    match value {
        Value::Unknown(template) => Value::String(text(template)),
        Value::List(items) => Value::List(items.iter().map(|item| with_texts(item, text)).collect()),
        Value::Map(map) => Value::Map(map.iter().map(|(key, item)| (key.clone(), with_texts(item, text))).collect()),
        known => known.clone(),
    }
}

/// Whether two policies by name grant the same.
pub(super) fn is_same_policy(have: &Value, want: &Value) -> bool {
    !want.has_unknown() && document::is_equivalent(&document_of(have), &document_of(want))
}

/// Whether two documents grant the same.
pub(super) fn is_same_document(have: &Value, want: &Value) -> bool {
    match (have, want) {
        (Value::Map(have), Value::Map(want)) => document::is_equivalent(&tree_to_json(have), &tree_to_json(want)),
        _ => false,
    }
}
