//! The program's JSON output matches `schemas/plan.schema.json`, and that schema accepts nothing
//! else.

use serde_json::{Value as Json, json};

use super::TEAM;
use super::project::{ACCOUNT, Project};
use crate::shared::proxy::{Proxy, lambda_error};

fn schema() -> Json {
    serde_json::from_str(include_str!("../../../schemas/plan.schema.json")).unwrap()
}

/// Calls `visit` with the JSON pointer of every object that the schema describes. The schema
/// doesn't restrict the values of properties.
fn objects(node: &Json, place: &str, visit: &mut dyn FnMut(&str, &serde_json::Map<String, Json>)) {
    match node {
        Json::Object(map) => {
            visit(place, map);
            for (key, value) in map.iter().filter(|(key, _)| !["before", "after"].contains(&key.as_str())) {
                objects(value, &format!("{place}/{key}"), visit);
            }
        }
        // One item of each list is enough.
        Json::Array(items) => {
            if let Some(item) = items.first() {
                objects(item, &format!("{place}/0"), visit);
            }
        }
        _ => {}
    }
}

#[test]
fn real_documents_match_the_schema_and_malformed_ones_do_not() {
    let schema = schema();
    assert!(jsonschema::draft202012::meta::is_valid(&schema));
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let project = Project::new();
    let mut documents: Vec<(String, Json)> = Vec::new();
    let mut note = |ran: super::Ran, what: &str, code: i32| {
        let ran = ran.expect(code, &[]);
        let [document] = &ran.json()[..] else { panic!("{what}: one document: {ran:#?}") };
        let problems: Vec<String> =
            validator.iter_errors(document).map(|it| format!("{}: {it}", it.instance_path())).collect();
        assert!(problems.is_empty(), "{what}: {problems:#?}");
        documents.push((what.to_owned(), document.clone()));
        document.clone()
    };
    let run = |args: &[&str]| project.run(&[args, &["--local", "--format", "json"]].concat());

    let created = note(run(&["diff"]), "a diff of nothing", 0);
    assert_eq!(created["summary"]["create"], 4);
    let proxy = Proxy::new(&project.endpoint(), |request| {
        if request.is("POST /2015-03-31/functions") {
            lambda_error(400, "InvalidParameterValueException", "The runtime is not for today.")
        } else {
            request.forward()
        }
    });
    let partial = project.run_at(&proxy.endpoint(), ACCOUNT, &["apply", "--format", "json"]);
    assert_eq!(note(partial, "an apply that fails in part", 3)["status"], "partial");
    assert_eq!(note(run(&["apply"]), "an apply", 0)["status"], "complete");
    let nothing = note(run(&["apply"]), "an apply of nothing", 0);
    assert_eq!((&nothing["status"], &nothing["steps"]), (&json!("complete"), &json!([])));
    assert_eq!(note(run(&["diff", "--destroy"]), "a preview of destroy", 0)["summary"]["delete"], 4);

    project.edit(TEAM, &[("handler: index.handler", "handler: index.handler\n    environment: { LEVEL: debug }")]);
    project.edit(TEAM, &[("starting_position: TRIM_HORIZON", "starting_position: LATEST")]);
    assert_eq!(note(run(&["diff"]), "a diff with sensitive values", 0)["summary"]["update"], 1);
    assert_eq!(note(run(&["apply"]), "an apply that nobody agrees to", 1)["status"], "declined");
    project.edit(TEAM, &[("attributes: { id: S }", "attributes: { id: N }")]);
    assert_eq!(note(run(&["diff"]), "a refused diff", 1)["summary"]["refused"], 1);
    assert_eq!(note(run(&["apply", "--yes"]), "a refused apply", 1)["status"], "refused");
    const ADOPT: &str = "specs/examples/adopt.yaml";
    project.account(ACCOUNT).create_table("blue-owls_todos-1a2b3c4", &[]);
    let young = note(run(&["diff", ADOPT]), "a diff that can't tell yet", 0);
    assert_eq!((&young["changes"][0]["undecided"], &young["changes"][0]["action"]), (&json!(true), &json!("none")));

    let mut n_changes = 0;
    for (what, document) in &documents {
        let mut broken: Vec<(String, Json)> = Vec::new();
        let mut break_at = |place: String, key: &str, value: Option<Json>| {
            let mut copy = document.clone();
            let object = copy.pointer_mut(&place).unwrap().as_object_mut().unwrap();
            match value {
                Some(value) => drop(object.insert(key.to_owned(), value)),
                None => drop(object.remove(key)),
            }
            broken.push((format!("{what}: {place}/{key}"), copy));
        };
        objects(document, "", &mut |place, map| {
            break_at(place.to_owned(), "surplus", Some(json!(1)));
            for (key, value) in map {
                break_at(place.to_owned(), key, None);
                if !["before", "after"].contains(&key.as_str()) {
                    // A boolean is invalid for every other type, and text is invalid for a boolean.
                    break_at(place.to_owned(), key, Some(if value.is_boolean() { json!("yes") } else { json!(true) }));
                }
            }
        });
        n_changes += broken.len();
        for (place, document) in broken {
            assert!(!validator.is_valid(&document), "{place} may be broken: {document}");
        }
    }
    assert!(n_changes > 500, "{n_changes}");
}

#[test]
fn the_schema_describes_every_field_and_closes_every_object() {
    fn walk(node: &Json, place: &str, n_fields: &mut u32) {
        let Json::Object(map) = node else {
            return node.as_array().into_iter().flatten().for_each(|it| walk(it, place, n_fields));
        };
        if map.get("type") == Some(&json!("object")) {
            // Closed, or a map with free keys whose values are described.
            let further = map.get("additionalProperties");
            let named = map.get("properties").is_none() && further.is_some_and(Json::is_object);
            assert!(named || further == Some(&json!(false)), "{place}");
        }
        if let Some(Json::Object(fields)) = map.get("properties").filter(|_| map.contains_key("type")) {
            for (name, field) in fields {
                *n_fields += 1;
                let told = field.get("description").or(field.get("$ref")).and_then(Json::as_str);
                assert!(told.is_some_and(|it| !it.is_empty()), "{place}/{name}");
            }
        }
        if place.starts_with("/$defs/") && place.matches('/').count() == 2 {
            assert!(map.contains_key("description"), "{place}");
        }
        map.iter().for_each(|(key, value)| walk(value, &format!("{place}/{key}"), n_fields));
    }
    let mut n_fields = 0;
    walk(&schema(), "", &mut n_fields);
    assert!(n_fields >= 35, "{n_fields}");
}
