//! The calls of `role` (docs.aws.amazon.com/IAM/latest/APIReference/API_Operations.html): only
//! reads.

use crate::aws::limits;
use crate::operation::{At, Effect, NameForm, Operation, Service, Takes, Wire};
use crate::policy::{
    Purpose::{Apply, Check, Diff, Verify},
    Scope,
};

/// Roles are only read, whatever their names.
pub(crate) static ROLE: NameForm =
    NameForm { kind: "role", arn: None, marks: None, is_qualified: false, attached_to: None };

/// The roles of the spec.
const ROLES: Scope = Scope::new("Roles", |policy| policy.roles());

pub(crate) const GET_ROLE: Operation = Operation::new(
    Service::IAM,
    "iam:GetRole",
    Effect::Read,
    Wire::Query,
    &limits::IAM,
    &[(&ROLES, &[Diff, Apply, Verify, Check])],
)
.of_kind("role")
.on(&ROLE, At::Form("RoleName"), Takes::Name);

pub(super) const OPERATIONS: &[Operation] = &[GET_ROLE];
