//! The calls of `permission` (docs.aws.amazon.com/lambda/latest/api/API_Operations.html).

use std::collections::BTreeSet;

use crate::aws::limits;
use crate::kinds::{FUNCTION, FUNCTIONS, GET_ROLE};
use crate::operation::{
    At, Effect, Grant, Operation, Service, Takes,
    Wire::{self, Rest},
};
use crate::policy::{DELETE, PolicyBuilder, Purpose::Apply, READ, Scope};

/// The team's functions, for the statements in their policies.
const PERMISSIONS: Scope = Scope { kind: Some("permission"), imported: None, ..FUNCTIONS };

/// The team's functions, whose aliases may have the statement of a permission.
const ALIASES: Scope = Scope {
    kind: Some("permission"),
    why: Some("with it, engine finds the statement of a permission whose `qualifier` changes"),
    ..Scope::new("AliasesOfFunctions", |policy| policy.of_team(&FUNCTION))
};

/// Roles that are allowed to invoke functions.
const PRINCIPALS: Scope = Scope {
    why: Some("with it, `engine apply` checks that a role exists before it replaces a permission for that role"),
    ..Scope::new("OptionalPrincipals", principals)
};

/// The roles of this account that permissions name.
fn principals(policy: &PolicyBuilder<'_>) -> Vec<String> {
    let in_account = format!("arn:{}:iam::{}:role/", policy.env.partition, policy.env.account);
    let named = policy.spec.managed("permission").filter_map(|it| policy.text(it.desired.get("principal")));
    named.filter(|arn| arn.starts_with(&in_account)).collect::<BTreeSet<_>>().into_iter().collect()
}

const fn of(action: &'static str, effect: Effect, wire: Wire, grants: &'static [Grant]) -> Operation {
    Operation::new(Service::LAMBDA, action, effect, wire, &limits::CONTROL_PLANE, grants).of_kind("permission").on(
        &FUNCTION,
        At::Path("function"),
        Takes::Either,
    )
}

const POLICY: &str = "/2015-03-31/functions/{function}/policy";

pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        statement: Some(At::Body("StatementId")),
        ..of("lambda:AddPermission", Effect::Write, Rest("POST", POLICY), &[(&PERMISSIONS, &[Apply])]).in_place()
    },
    Operation {
        limit: &limits::GET_POLICY,
        ..of("lambda:GetPolicy", Effect::Read, Rest("GET", POLICY), &[(&PERMISSIONS, READ)])
    },
    of(
        "lambda:ListAliases",
        Effect::Read,
        Rest("GET", "/2015-03-31/functions/{function}/aliases"),
        &[(&ALIASES, READ)],
    ),
    Operation { grants: &[(&PRINCIPALS, &[Apply])], ..GET_ROLE },
    Operation {
        statement: Some(At::Path("statement")),
        ..of(
            "lambda:RemovePermission",
            Effect::Write,
            Rest("DELETE", "/2015-03-31/functions/{function}/policy/{statement}"),
            &[(&PERMISSIONS, DELETE)],
        )
        .in_place()
    },
];
