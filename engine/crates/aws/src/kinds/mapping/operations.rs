//! The calls of `mapping` (docs.aws.amazon.com/lambda/latest/api/API_Operations.html), and the
//! permissions on mappings.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use crate::aws::limits;
use crate::kinds::{FUNCTION, LAMBDA_TAGS};
use crate::operation::{
    At, Attachments, Effect, Grant, ImpliedPermission, NameForm, Operation, Service, Takes,
    Wire::{self, Rest},
};
use crate::policy::{
    DELETE, PolicyBuilder,
    Purpose::{self, Apply, Check, Destroy, Diff, Logs, Verify},
    READ, Scope,
};
use crate::schema::{ArnForm, TAG_TEAM};

/// AWS assigns a mapping's UUID.
pub(super) static MAPPING: NameForm = NameForm {
    kind: "mapping",
    arn: Some(ArnForm::regional("lambda", "event-source-mapping:{name}")),
    marks: Some("-"),
    is_qualified: false,
    attached_to: Some("function"),
};

/// docs.aws.amazon.com/lambda/latest/api/API_EventSourceMappingConfiguration.html
const ATTACHMENTS: Attachments = Attachments {
    list: "EventSourceMappings",
    name: "UUID",
    parent: "FunctionArn",
    form: &FUNCTION,
    source: "EventSourceArn",
};

/// Why a mapping is not named.
const UUID: &str = "AWS assigns the UUID of a mapping, so a condition restricts the owner";

/// The mappings of the team's functions.
const MAPPINGS: Scope = Scope {
    kind: Some("mapping"),
    condition: Some(of_functions),
    why: Some(UUID),
    ..Scope::new("Mappings", |policy| where_team_has_functions(policy, &MAPPING.arn(policy.env, "*")))
};

/// A mapping that has no ARN yet.
const NEW_MAPPINGS: Scope = Scope {
    kind: Some("mapping"),
    condition: Some(of_functions),
    why: Some("a mapping has no ARN before it is created, so the condition restricts its function"),
    ..Scope::new("NewMappings", |policy| where_team_has_functions(policy, "*"))
};

/// The same on imported functions.
const NEW_MAPPINGS_OF_IMPORTED: Scope = Scope {
    kind: Some("mapping"),
    condition: Some(of_imported),
    why: Some("a mapping has no ARN before it is created, so the condition restricts its function"),
    ..Scope::new("NewMappingsOfImported", |policy| where_imported(policy, "*"))
};

/// Mappings of imported functions, which may have those of other teams.
const MAPPINGS_OF_IMPORTED: Scope = Scope {
    kind: Some("mapping"),
    condition: Some(|policy| {
        let mut condition = of_imported(policy);
        condition["StringEquals"] = json!({ format!("aws:ResourceTag/{TAG_TEAM}"): policy.spec.team });
        condition
    }),
    why: Some(UUID),
    ..Scope::new("MappingsOfImported", |policy| where_imported(policy, &MAPPING.arn(policy.env, "*")))
};

/// The same, only to read them.
const READ_MAPPINGS_OF_IMPORTED: Scope = Scope {
    kind: Some("mapping"),
    condition: Some(of_imported),
    why: Some(UUID),
    ..Scope::new("ReadMappingsOfImported", |policy| where_imported(policy, &MAPPING.arn(policy.env, "*")))
};

/// Mappings that get the team's tags: new and adopted ones have none yet.
const TAGGED_MAPPINGS: Scope = Scope {
    kind: Some("mapping"),
    condition: Some(|policy| {
        json!({
            "StringEquals": { format!("aws:RequestTag/{TAG_TEAM}"): policy.spec.team },
            "StringEqualsIfExists": { format!("aws:ResourceTag/{TAG_TEAM}"): policy.spec.team },
        })
    }),
    why: Some(UUID),
    ..Scope::new("TagMappings", any_mapping)
};

/// Mappings that have the team's tags.
const OWN_MAPPINGS: Scope = Scope {
    condition: Some(|policy| json!({ "StringEquals": { format!("aws:ResourceTag/{TAG_TEAM}"): policy.spec.team } })),
    why: Some(UUID),
    ..Scope::new("UntagMappings", any_mapping)
};

/// All mappings, because only their tags show the owner.
const ANY_MAPPING: Scope = Scope {
    why: Some("a mapping's tags show its owner, and IAM has no condition on its function for reading them"),
    ..Scope::new("TagsOfMappings", any_mapping)
};

/// The keys that encrypt the filters of mappings.
const KEYS: Scope = Scope::of_keys("KeysOfMappings", |policy| policy.keys_of(policy.spec.managed("mapping")), None);

/// docs.aws.amazon.com/lambda/latest/dg/security-encryption-at-rest.html
const fn key(action: &'static str, used_by: &'static [Purpose]) -> ImpliedPermission {
    let why = "Lambda uses the key of a mapping's filters with the caller's permissions";
    ImpliedPermission { action, grant: (&KEYS, used_by), why, property: Some("kms_key_arn") }
}

fn any_mapping(policy: &PolicyBuilder<'_>) -> Vec<String> {
    vec![MAPPING.arn(policy.env, "*")]
}

/// An empty condition would match everything.
fn where_team_has_functions(policy: &PolicyBuilder<'_>, resource: &str) -> Vec<String> {
    if policy.of_team(&FUNCTION).is_empty() { Vec::new() } else { vec![resource.to_owned()] }
}

fn of_functions(policy: &PolicyBuilder<'_>) -> Json {
    json!({ "ArnLike": { "lambda:FunctionArn": policy.of_team(&FUNCTION) } })
}

/// The imported functions that the spec's mappings invoke.
fn imported(policy: &PolicyBuilder<'_>) -> Vec<String> {
    let functions = policy.spec.managed("mapping").filter_map(|it| policy.spec.imported_parent(it));
    functions.map(|(function, _)| policy.arn(&FUNCTION, function)).collect::<BTreeSet<_>>().into_iter().collect()
}

fn where_imported(policy: &PolicyBuilder<'_>, resource: &str) -> Vec<String> {
    if imported(policy).is_empty() { Vec::new() } else { vec![resource.to_owned()] }
}

fn of_imported(policy: &PolicyBuilder<'_>) -> Json {
    json!({ "ArnLike": { "lambda:FunctionArn": imported(policy) } })
}

const fn call(action: &'static str, effect: Effect, wire: Wire, grants: &'static [Grant]) -> Operation {
    Operation::new(Service::LAMBDA, action, effect, wire, &limits::CONTROL_PLANE, grants).of_kind("mapping")
}

/// A call about the mapping in the path.
const fn of(action: &'static str, effect: Effect, method: &'static str, grants: &'static [Grant]) -> Operation {
    call(action, effect, Rest(method, "/2015-03-31/event-source-mappings/{uuid}"), grants).on(
        &MAPPING,
        At::Path("uuid"),
        Takes::Name,
    )
}

/// A call about the tags of the mapping in the path.
const fn tags(action: &'static str, effect: Effect, method: &'static str, grants: &'static [Grant]) -> Operation {
    call(action, effect, Rest(method, LAMBDA_TAGS), grants).on(&MAPPING, At::Path("arn"), Takes::Arn)
}

const ALL: &str = "/2015-03-31/event-source-mappings";

pub(super) const OPERATIONS: &[Operation] = &[
    // A mapping belongs to the function that it invokes.
    Operation {
        source: Some(At::Body("EventSourceArn")),
        implied: &[key("kms:DescribeKey", &[Apply]), key("kms:GenerateDataKey", &[Apply])],
        ..call(
            "lambda:CreateEventSourceMapping",
            Effect::Write,
            Rest("POST", ALL),
            &[(&NEW_MAPPINGS, &[Apply]), (&NEW_MAPPINGS_OF_IMPORTED, &[Apply])],
        )
        .on(&FUNCTION, At::Body("FunctionName"), Takes::Either)
        .in_place()
    },
    of(
        "lambda:DeleteEventSourceMapping",
        Effect::Write,
        "DELETE",
        &[(&MAPPINGS, DELETE), (&MAPPINGS_OF_IMPORTED, DELETE)],
    ),
    Operation {
        shows: Some(&ATTACHMENTS),
        implied: &[key("kms:Decrypt", READ)],
        ..of(
            "lambda:GetEventSourceMapping",
            Effect::Read,
            "GET",
            &[(&MAPPINGS, READ), (&READ_MAPPINGS_OF_IMPORTED, READ)],
        )
    },
    Operation {
        shows: Some(&ATTACHMENTS),
        ..call(
            "lambda:ListEventSourceMappings",
            Effect::Read,
            Rest("GET", ALL),
            &[(&Scope::LISTS, &[Diff, Apply, Destroy, Verify, Logs, Check])],
        )
        .on(&FUNCTION, At::Query("FunctionName"), Takes::Either)
    },
    tags("lambda:ListTags", Effect::Read, "GET", &[(&ANY_MAPPING, READ)]),
    tags("lambda:TagResource", Effect::Write, "POST", &[(&TAGGED_MAPPINGS, &[Apply])]),
    tags("lambda:UntagResource", Effect::Write, "DELETE", &[(&OWN_MAPPINGS, DELETE)]),
    Operation {
        // With a function in the body, it would attach the mapping to that one.
        forbidden: Some("FunctionName"),
        ..of(
            "lambda:UpdateEventSourceMapping",
            Effect::Write,
            "PUT",
            &[(&MAPPINGS, &[Apply]), (&MAPPINGS_OF_IMPORTED, &[Apply])],
        )
        .in_place()
    },
];
