//! The calls of `table`
//! (docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Operations.html), and the
//! permissions on tables.

use engine_core::kind::AccessLevel;
use engine_core::wait::limiter::Limit;

use crate::aws::limits::{TABLE_CHANGES, TABLE_READS};
use crate::operation::{At, Effect, Grant, ImpliedPermission, NameForm, Operation, Service, Takes, Wire};
use crate::policy::{
    DELETE, Imported, PLAN,
    Purpose::{self, Apply, Check, Destroy, Dev, Diff, Verify},
    READ_ONE, Scope,
};
use crate::schema::ArnForm;

/// Nested resources like streams are never written.
pub(crate) static TABLE: NameForm = NameForm {
    kind: "table",
    arn: Some(ArnForm::regional("dynamodb", "table/{name}")),
    marks: Some("-_."),
    is_qualified: false,
    attached_to: None,
};

/// The team's tables.
pub(crate) const TABLES: Scope = Scope {
    kind: Some("table"),
    imported: Some(Imported {
        sid: "ImportedTables",
        kind: "table",
        resources: |policy, table| vec![policy.arn(&TABLE, table)],
        why: None,
    }),
    ..Scope::new("Tables", |policy| policy.of_team(&TABLE))
};

/// The same, for their items: those of imported tables are neither read nor written.
pub(crate) const ITEMS: Scope = Scope { imported: None, ..TABLES };

/// Imported tables that the user allows to test.
pub(crate) const ALLOWED_TABLES: Scope = Scope::new("AllowedTables", |policy| policy.allowed(&TABLE));

/// The keys of the tables. Every principal that can use DynamoDB can use the AWS managed key
/// (docs.aws.amazon.com/amazondynamodb/latest/developerguide/encryption.usagenotes.html).
const KEYS: Scope =
    Scope::of_keys("KeysOfTables", |policy| policy.keys_of(policy.spec.managed("table")), Some("dynamodb"));

/// docs.aws.amazon.com/kms/latest/developerguide/services-dynamodb.html
const fn key(action: &'static str, used_by: &'static [Purpose]) -> ImpliedPermission {
    let why = "DynamoDB uses a table's customer managed key with the caller's permissions";
    ImpliedPermission { action, grant: (&KEYS, used_by), why, property: None }
}

const fn of(action: &'static str, effect: Effect, limit: &'static Limit, grants: &'static [Grant]) -> Operation {
    Operation::new(Service::DYNAMODB, action, effect, Wire::Json("DynamoDB_20120810"), limit, grants).of_kind("table")
}

const fn read(action: &'static str, grants: &'static [Grant]) -> Operation {
    of(action, Effect::Read, &TABLE_READS, grants).on(&TABLE, At::Body("TableName"), Takes::Either)
}

const fn write(action: &'static str, grants: &'static [Grant]) -> Operation {
    of(action, Effect::Write, &TABLE_CHANGES, grants).on(&TABLE, At::Body("TableName"), Takes::Either)
}

/// A call that writes or deletes one item, whose key is in this member.
pub(crate) const fn item_operation(action: &'static str, member: &'static str, used_by: &'static [Grant]) -> Operation {
    let call = of(action, Effect::Item, &TABLE_READS, used_by);
    call.on(&TABLE, At::Body("TableName"), Takes::Either).with_item(member)
}

/// The commands that compare settings: a deletion doesn't depend on them.
const DETAILS: &[Purpose] = &[Diff, Apply, Verify, Check];

pub(super) const OPERATIONS: &[Operation] = &[
    of("dynamodb:CreateTable", Effect::Create, &TABLE_CHANGES, &[(&TABLES, &[Apply])])
        .on(&TABLE, At::Body("TableName"), Takes::Either)
        .implying(&[
            key("kms:CreateGrant", &[Apply]),
            key("kms:DescribeKey", &[Apply, Verify]),
            key("kms:Encrypt", &[Apply, Verify]),
            key("kms:GenerateDataKey", &[Apply, Verify]),
            key("kms:ReEncryptFrom", &[Apply, Verify]),
            key("kms:ReEncryptTo", &[Apply, Verify]),
        ]),
    write("dynamodb:DeleteTable", &[(&TABLES, DELETE)]),
    read("dynamodb:DescribeContinuousBackups", &[(&TABLES, DETAILS)]),
    read("dynamodb:DescribeTable", &[(&TABLES, READ_ONE)]).implying(&[key("kms:Decrypt", READ_ONE)]),
    read("dynamodb:DescribeTimeToLive", &[(&TABLES, DETAILS)]),
    of("dynamodb:ListTables", Effect::Read, &TABLE_READS, &[(&Scope::LISTS, PLAN)]),
    of("dynamodb:ListTagsOfResource", Effect::Read, &TABLE_READS, &[(&TABLES, READ_ONE)]).on(
        &TABLE,
        At::Body("ResourceArn"),
        Takes::Arn,
    ),
    read("dynamodb:Scan", &[(&ITEMS, &[Diff, Apply, Destroy, Dev, Verify]), (&ALLOWED_TABLES, &[Verify])]),
    of("dynamodb:TagResource", Effect::Write, &TABLE_CHANGES, &[(&TABLES, &[Apply])]).on(
        &TABLE,
        At::Body("ResourceArn"),
        Takes::Arn,
    ),
    of("dynamodb:UntagResource", Effect::Write, &TABLE_CHANGES, &[(&TABLES, DELETE)]).on(
        &TABLE,
        At::Body("ResourceArn"),
        Takes::Arn,
    ),
    write("dynamodb:UpdateContinuousBackups", &[(&TABLES, &[Apply])]).in_place(),
    write("dynamodb:UpdateTable", &[(&TABLES, &[Apply])]).in_place(),
    write("dynamodb:UpdateTimeToLive", &[(&TABLES, &[Apply])]).in_place(),
];

/// What `access: { table: read }` and `write` allow
/// (docs.aws.amazon.com/service-authorization/latest/reference/list_amazondynamodb.html).
pub(super) fn access_levels() -> Vec<AccessLevel> {
    let read = [
        "dynamodb:BatchGetItem",
        "dynamodb:ConditionCheckItem",
        "dynamodb:DescribeTable",
        "dynamodb:GetItem",
        "dynamodb:PartiQLSelect",
        "dynamodb:Query",
        "dynamodb:Scan",
    ];
    let write = [
        "dynamodb:BatchWriteItem",
        "dynamodb:DeleteItem",
        "dynamodb:PartiQLDelete",
        "dynamodb:PartiQLInsert",
        "dynamodb:PartiQLUpdate",
        "dynamodb:PutItem",
        "dynamodb:UpdateItem",
    ];
    let parts = ["", "/index/*"];
    vec![AccessLevel::new("read", &read, &parts), AccessLevel::new("write", &write, &parts)]
}
