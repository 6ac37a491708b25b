//! The keys of a spec besides the properties of its kinds, and the JSON Schema of a spec for
//! editors.
//!
//! **Invariant:** the schema accepts each spec that the checker accepts, since both use the same
//! tables. Only the checker verifies names, references and combinations of properties.

use serde_json::{Map, Value as Json, json};

use crate::kind::Kinds;
use crate::lookup::LookupSource;
use crate::schema::{Identity, Presence, Property, Schema, Shape, Text, has_parts};

use super::check::{ACCOUNT, MAX_LOOKUPS, MAX_OWNED, REGION, RESERVED_NAMES, RESOURCE, STACK, TEAM};
use super::structure::MAX_INSTANCES;

/// Maximum number of examples for each property.
const MOST_EXAMPLES: usize = 3;

/// The top-level keys of a spec and their descriptions.
pub const TOP: [(&str, &str); 13] = [
    ("team", "the team that owns the resources; prefix of every name in AWS"),
    ("region", "AWS region; `--region` overrides it; defaults to the region of the AWS settings"),
    ("account", "the only AWS account that engine reads or changes for this spec, in quotes"),
    ("stack", "name of this spec's stack within the team; defaults to the file name"),
    (
        "owns",
        "exact names in AWS, without the team's prefix, that this spec's resources can have; adopting one always asks",
    ),
    ("extends", "a file relative to this one, whose `vars`, `stages`, `tags` and `defaults` this spec completes"),
    (
        "stages",
        "variants of the stack, like dev and prod, each with its values of `${var.NAME}` and its `account` and `region`; \
         `--stage` or `ENGINE_STAGE` chooses one",
    ),
    (
        "vars",
        "default values of `${var.NAME}`: texts, numbers, lists or mappings; a stage, `ENGINE_VAR_NAME`, `--var-file` and \
         `--var` override them, the last one first",
    ),
    ("tags", "tags of every resource that can have tags; a resource's own tags have priority"),
    (
        "defaults",
        "properties of all resources of a type, by type; mappings are merged with a resource's own, and `~` drops a \
         default",
    ),
    ("lookups", "values of `${lookup.NAME}`, which engine reads in AWS and never stores"),
    ("resources", "the resources to deploy, by name"),
    ("outputs", "values to print after an apply and with `engine output`"),
];

/// The keys of a resource besides the properties of its kind, and their descriptions.
pub const META: [(&str, &str); 10] = [
    ("type", "the resource type"),
    ("name", "name in AWS; starts with the team and `-`, `_` or `.`, or is in `owns`; defaults to TEAM-RESOURCE"),
    ("import", "name or ARN of a resource that this spec doesn't manage; engine reads it and never changes it"),
    ("when", "leave the resource out unless each name has one of these values: `{ stage: [prod], var.debug: [true] }`"),
    (
        "for_each",
        "a list of texts or a mapping: repeat the resource as RESOURCE-KEY for each key, with `${each.key}` and \
         `${each.value}`",
    ),
    ("depends_on", "resources that must be ready first, in addition to those that it refers to"),
    ("adopt", "adopt an existing resource with this name and no owner tags, without confirmation"),
    ("protect", "never delete or replace the resource"),
    ("retain", "keep the resource in AWS and remove engine's tags instead of deleting it"),
    ("ignore_changes", "properties, or parts like `environment.NAME`, that are set on create and never changed later"),
];

/// The keys of a lookup besides its source, and their descriptions.
pub const LOOKUP: [(&str, &str); 2] = [
    ("default", "the value if nothing with these names exists; `~` leaves out what uses it"),
    ("local", "the value in a local AWS that has nothing with these names"),
];

/// The keys in one of these tables.
pub(super) fn keys_of<const N: usize>(table: &[(&'static str, &'static str); N]) -> [&'static str; N] {
    table.map(|(word, _)| word)
}

/// Whether a resource of this kind may have the key `word` of [`META`].
pub fn takes(schema: &Schema, word: &str) -> bool {
    match word {
        "name" => matches!(schema.identity, Identity::Named { .. }) && schema.managed,
        "import" => schema.importable,
        "adopt" => schema.adoptable,
        "protect" | "ignore_changes" => schema.managed,
        "retain" => schema.managed && schema.is_tagged(),
        _ => true,
    }
}

/// Why `name` is not a valid team name, to be appended to the name; `None` if it is valid.
pub fn objection_to_team(name: &str) -> Option<String> {
    TEAM.violation(name)
}

/// Whether a resource of a spec can have this name.
pub fn is_resource_name(name: &str) -> bool {
    RESOURCE.violation(name).is_none() && !RESERVED_NAMES.contains(&name)
}

/// The rule for team names.
pub fn team_name_rule() -> String {
    format!("{} to {} characters: {}", TEAM.min, TEAM.max, TEAM.expected)
}

/// The keys of a lookup and their descriptions.
pub fn lookup_keys(kinds: &Kinds) -> Vec<(&str, &str)> {
    let sources = kinds.lookups().iter().map(|it| (&*it.key, &*it.doc));
    let parts = kinds.lookups().iter().filter_map(|it| it.part.as_ref()).map(|(key, doc)| (&**key, &**doc));
    sources.chain(parts).chain(LOOKUP).collect()
}

/// The keys of a spec, a lookup and a resource besides the properties of a kind, as Markdown.
pub fn markdown(kinds: &Kinds) -> String {
    let rows = |table: &[(&str, &str)]| -> String {
        table.iter().map(|(word, doc)| format!("| `{word}` | {} |\n", doc.replace('|', "\\|"))).collect()
    };
    let (top, lookup, meta) = (rows(&TOP), rows(&lookup_keys(kinds)), rows(&META));
    let table = |title: &str, rows: &str| format!("| {title} | |\n|---|---|\n{rows}");
    let tables = [("top level", &top), ("in each lookup", &lookup), ("in each resource", &meta)];
    tables.map(|(title, rows)| table(title, rows)).join("\n")
}

/// The JSON Schema of a spec (draft 7, which most editors support). `specs`: valid specs, from
/// which its examples are taken.
pub fn json_schema(kinds: &Kinds, specs: &[&str]) -> Json {
    let specs: Vec<Json> = specs.iter().map(|spec| serde_yaml::from_str(spec).unwrap_or_default()).collect();
    let specs: Vec<&Json> = specs.iter().collect();
    let described = |(key, doc): &(&str, &str)| {
        let mut shape = described(top_level(kinds, key), doc);
        specs.iter().filter(|_| *key != "resources").filter_map(|spec| spec.get(key)).for_each(|value| {
            exemplify(&mut shape, value);
        });
        ((*key).to_owned(), shape)
    };
    let properties: Map<String, Json> = TOP.iter().map(described).collect();
    let mut definitions = Map::from_iter([("resource".to_owned(), any_resource(kinds))]);
    definitions.extend(kinds.schemas().map(|schema| (schema.kind.to_string(), resource(schema, &specs))));
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": "urn:engine:spec:1",
        "title": "engine spec",
        "description": "The AWS resources that `engine apply` deploys: a table, its stream, and the function that processes it.",
        "type": "object",
        // The team may come from `--team`.
        "required": ["resources"],
        "additionalProperties": false,
        "properties": properties,
        "definitions": definitions,
        "examples": [specs.first()],
    })
}

/// The value of a top-level key.
fn top_level(kinds: &Kinds, key: &str) -> Json {
    match key {
        "team" => text(&TEAM),
        "region" => text(&REGION),
        "account" => text(&ACCOUNT),
        "stack" => text(&STACK),
        "owns" => json!({
            "type": "array",
            "items": { "type": "string", "minLength": 1, "not": { "pattern": "[*?]" } },
            "maxItems": MAX_OWNED,
            "uniqueItems": true,
        }),
        "extends" => json!({ "type": "string", "minLength": 1, "examples": ["common.yaml"] }),
        "stages" => json!({
            "type": "object",
            "minProperties": 1,
            "propertyNames": { "minLength": RESOURCE.min, "maxLength": RESOURCE.max },
            "additionalProperties": { "type": ["object", "null"] },
            "examples": [{ "dev": { "days": 7 }, "prod": { "days": 365, "region": "eu-west-1" } }],
        }),
        "vars" => json!({ "type": "object" }),
        "tags" => json!({ "type": "object", "examples": [{ "app": "shop", "stage": "${stage}" }] }),
        "defaults" => json!({
            "type": "object",
            "propertyNames": { "enum": kinds.schemas().map(|schema| &*schema.kind).collect::<Vec<_>>() },
            "additionalProperties": { "type": ["object", "null"] },
            "examples": kinds.schemas().take(1).map(|it| json!({ &*it.kind: { "protect": true } })).collect::<Vec<_>>(),
        }),
        "outputs" => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        "lookups" => json!({
            "type": "object",
            "maxProperties": MAX_LOOKUPS,
            "propertyNames": { "minLength": RESOURCE.min, "maxLength": RESOURCE.max },
            "additionalProperties": any_lookup(kinds),
        }),
        _ => json!({
            "type": "object",
            "propertyNames": {
                "minLength": RESOURCE.min, "maxLength": RESOURCE.max, "not": { "enum": RESERVED_NAMES },
            },
            "additionalProperties": { "$ref": "#/definitions/resource" },
        }),
    }
}

/// A lookup, whose source decides about the rest.
fn any_lookup(kinds: &Kinds) -> Json {
    let value = || {
        json!({ "anyOf": [
            { "type": ["string", "number", "boolean", "null"] },
            { "type": "array", "items": { "type": "string" } },
        ] })
    };
    let of_source = |source: &LookupSource| {
        let name = text(&source.name);
        let names = json!({ "anyOf": [name, { "type": "array", "items": name, "minItems": 1, "maxItems": 10 }] });
        let mut names = described(if source.takes_list { names } else { name }, &source.doc);
        names["examples"] = json!([source.example]);
        let mut properties = Map::from_iter([(source.key.to_string(), names)]);
        if let Some((key, doc)) = &source.part {
            let part = json!({ "type": "string", "minLength": 1, "examples": ["token"] });
            properties.insert(key.to_string(), described(part, doc));
        }
        let others = LOOKUP.iter().map(|(key, doc)| {
            let mut shape = described(value(), doc);
            shape["examples"] = json!(["text"]);
            ((*key).to_owned(), shape)
        });
        properties.extend(others);
        json!({
            "type": "object",
            "required": [source.key],
            "additionalProperties": false,
            "properties": properties,
        })
    };
    json!({ "anyOf": kinds.lookups().iter().map(of_source).collect::<Vec<_>>() })
}

/// A resource, whose type decides about the rest.
fn any_resource(kinds: &Kinds) -> Json {
    let rule = |schema: &Schema| {
        json!({
            "if": { "properties": { "type": { "const": schema.kind } }, "required": ["type"] },
            "then": { "$ref": format!("#/definitions/{}", schema.kind) },
        })
    };
    let names: Vec<&str> = kinds.schemas().map(|schema| &*schema.kind).collect();
    let summaries = kinds.schemas().map(|schema| format!("{}: {}", schema.kind, schema.summary));
    json!({
        "type": "object",
        "required": ["type"],
        "properties": {
            "type": { "enum": names, "description": summaries.collect::<Vec<_>>().join("\n") },
        },
        "allOf": kinds.schemas().map(rule).collect::<Vec<_>>(),
    })
}

/// A resource of one kind, with examples from specs.
fn resource(schema: &Schema, specs: &[&Json]) -> Json {
    let mut properties = Map::new();
    for (key, doc) in META.iter().filter(|(key, _)| takes(schema, key)) {
        let (shape, example) = meta(schema, key);
        let mut shape = described(shape, doc);
        if let Some(example) = example {
            shape["examples"] = json!([example]);
        }
        properties.insert((*key).to_owned(), shape);
    }
    let meta: Vec<String> = properties.keys().cloned().collect();
    properties.extend(members(&mut schema.settable()));
    let mut resource = json!({
        "type": "object",
        "description": format!("{}\n{}", schema.summary, schema.source),
        "additionalProperties": false,
        "properties": properties,
    });
    let resources = specs.iter().filter_map(|spec| spec.get("resources").and_then(Json::as_object));
    for alike in resources.flat_map(Map::values).filter(|it| it["type"] == *schema.kind) {
        exemplify_members(&mut resource, alike);
    }
    // A required property can come from `defaults`.
    if !schema.managed {
        resource["required"] = json!(["import"]);
    } else if schema.importable {
        // An imported resource can only set the properties that engine verifies.
        let checked = schema.settable().filter(|it| it.verified_on_import).map(|it| it.name.to_string());
        let read: Map<String, Json> = meta.into_iter().chain(checked).map(|name| (name, json!(true))).collect();
        resource["if"] = json!({ "required": ["import"] });
        resource["then"] = json!({ "additionalProperties": false, "properties": read });
    }
    resource
}

/// The value of a key of [`META`], with an example.
fn meta(schema: &Schema, key: &str) -> (Json, Option<Json>) {
    let text = || json!({ "type": "string", "minLength": 1 });
    match key {
        "type" => (json!({ "const": schema.kind }), None),
        "depends_on" => (json!({ "type": "array", "items": { "type": "string" } }), Some(json!(["another-resource"]))),
        "ignore_changes" => {
            let ignorable = schema.properties.iter().filter(|it| schema.is_ignorable(it));
            let names: Vec<&str> = ignorable.map(|it| &*it.name).collect();
            let parts: Vec<&str> = schema.settable().filter(|it| has_parts(&it.shape)).map(|it| &*it.name).collect();
            let pattern = format!("^({})\\.", parts.join("|"));
            let items = match parts.is_empty() {
                true => json!({ "enum": names }),
                false => json!({ "anyOf": [{ "enum": names }, { "type": "string", "pattern": pattern }] }),
            };
            (json!({ "type": "array", "items": items }), names.last().map(|name| json!([name])))
        }
        "when" => (json!({ "type": "object", "minProperties": 1 }), Some(json!({ "stage": ["prod"] }))),
        "for_each" => (
            json!({ "anyOf": [
                { "type": "array", "items": { "type": ["string", "number"] }, "maxItems": MAX_INSTANCES },
                { "type": "object", "maxProperties": MAX_INSTANCES },
                { "type": "string", "pattern": FILLED_IN },
            ] }),
            Some(json!(["orders", "users"])),
        ),
        "adopt" | "protect" | "retain" => {
            (or_variable(json!({ "type": "boolean", "default": false })), Some(json!(true)))
        }
        "name" => (text(), Some(json!(format!("${{team}}-my-{}", schema.kind)))),
        _ => (text(), Some(json!(format!("an-existing-{}", schema.kind)))),
    }
}

/// Adds a value and its members as examples to their shapes.
fn exemplify(shape: &mut Json, value: &Json) {
    let is_fixed = shape.get("const").is_some();
    if let Some(shape) = shape.as_object_mut().filter(|_| !is_fixed) {
        let examples = shape.entry("examples").or_insert_with(|| json!([]));
        if let Some(examples) = examples.as_array_mut().filter(|it| it.len() < MOST_EXAMPLES && !it.contains(value)) {
            examples.push(value.clone());
        }
    }
    exemplify_parts(shape, value);
}

/// Adds the parts of a value as examples to the shapes of these.
fn exemplify_parts(shape: &mut Json, value: &Json) {
    if let (Some(items), Json::Array(values)) = (shape.get_mut("items"), value) {
        return values.iter().for_each(|value| exemplify(items, value));
    }
    if ["properties", "additionalProperties"].iter().any(|it| shape.get(it).is_some()) {
        return exemplify_members(shape, value);
    }
    let alternatives = shape.get_mut("anyOf").and_then(Json::as_array_mut);
    alternatives.into_iter().flatten().for_each(|alternative| exemplify_parts(alternative, value));
}

/// The same for each member of an object.
fn exemplify_members(shape: &mut Json, value: &Json) {
    for (name, value) in value.as_object().into_iter().flatten() {
        if let Some(member) = shape.get_mut("properties").and_then(|it| it.get_mut(name)) {
            exemplify(member, value);
        } else if let Some(member) = shape.get_mut("additionalProperties").filter(|it| it.get("properties").is_some()) {
            exemplify_members(member, value);
        }
    }
}

/// Properties by name.
fn members(properties: &mut dyn Iterator<Item = &Property>) -> Map<String, Json> {
    let member = |property: &Property| {
        // A variable can be a list or a mapping, and `~` drops a default.
        let shape = json!({ "anyOf": [shape(&property.shape), { "type": "string", "pattern": FILLED_IN }, { "type": "null" }] });
        let mut member = described(shape, &property.doc);
        if let Presence::Default(value) = &property.presence {
            member["default"] = value.clone();
        }
        (property.name.to_string(), member)
    };
    properties.map(member).collect()
}

fn shape(of: &Shape) -> Json {
    match of {
        Shape::Bool => or_variable(json!({ "type": "boolean" })),
        Shape::Integer { min, max } => or_variable(json!({ "type": "integer", "minimum": min, "maximum": max })),
        Shape::Text(limits) => text(limits),
        Shape::Choice(choices) => or_variable(json!({ "enum": choices, "examples": [choices.first()] })),
        // Only a suggestion for editors: AWS may accept other words.
        Shape::OpenChoice { offered, form, .. } => json!({
            "type": "string",
            "anyOf": [
                { "enum": offered },
                { "minLength": form.min, "maxLength": form.max },
                { "pattern": FILLED_IN },
            ],
            "examples": [offered.first()],
        }),
        Shape::Link { to, .. } => {
            let examples: Vec<String> =
                to.iter().map(|(kind, attribute)| format!("${{my-{kind}.{attribute}}}")).collect();
            json!({ "type": "string", "minLength": 1, "examples": examples })
        }
        Shape::Map { key, value, max } => json!({
            "type": "object",
            "maxProperties": max,
            "propertyNames": { "minLength": key.min, "maxLength": key.max },
            "additionalProperties": shape(value),
        }),
        Shape::Texts { item, max } => {
            json!({ "anyOf": [text(item), { "type": "array", "items": text(item), "minItems": 1, "maxItems": max }] })
        }
        Shape::List { item, max } | Shape::Set { item, max } => {
            // Duplicates in a set don't count.
            let most = if matches!(of, Shape::List { .. }) { json!({ "maxItems": max }) } else { json!({}) };
            let mut list = json!({ "type": "array", "items": shape(item) });
            if let (Json::Object(list), Json::Object(most)) = (&mut list, most) {
                list.extend(most);
            }
            list
        }
        Shape::Json { .. } => json!({ "type": ["object", "string"] }),
        Shape::Record(properties) => record(properties),
        Shape::TextOrRecord(limits, properties) => json!({ "anyOf": [text(limits), record(properties)] }),
        Shape::OneOf(shapes) => json!({ "anyOf": shapes.iter().map(shape).collect::<Vec<_>>() }),
    }
}

fn record(properties: &[Property]) -> Json {
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": members(&mut crate::schema::settable(properties)),
    })
}

/// A string; its length limits apply after `${…}` is replaced.
fn text(limits: &Text) -> Json {
    json!({
        "type": "string",
        "description": format!("allowed: {}", limits.expected),
        "anyOf": [{ "minLength": limits.min, "maxLength": limits.max }, { "pattern": FILLED_IN }],
    })
}

const FILLED_IN: &str = "\\$\\{";

/// Accepts a variable in place of a value that is not a list or a mapping.
fn or_variable(plain: Json) -> Json {
    json!({ "anyOf": [plain, { "type": "string", "pattern": FILLED_IN }] })
}

/// Adds a description.
fn described(mut shape: Json, doc: &str) -> Json {
    let description = shape.get("description").and_then(Json::as_str).map(|text| format!("{doc}; {text}"));
    shape["description"] = Json::from(description.unwrap_or_else(|| doc.to_owned()));
    shape
}
