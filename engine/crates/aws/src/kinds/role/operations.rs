//! The calls of `role` (docs.aws.amazon.com/IAM/latest/APIReference/API_Operations.html).

use crate::aws::limits;
use crate::operation::{At, Effect, Grant, NameForm, Operation, Service, Takes, Wire};
use crate::policy::{
    DELETE, OPTIONAL, PLAN,
    Purpose::{self, Apply, Check, Destroy, Diff, Verify},
    Scope,
};
use crate::schema::ArnForm;

/// Requests name a role without its path: names are unique across paths.
pub(crate) static ROLE: NameForm = NameForm {
    kind: "role",
    arn: Some(ArnForm::global("iam", "role/{path}{name}")),
    marks: Some("_+=,.@-"),
    is_qualified: false,
    attached_to: None,
};

/// The roles of the spec.
const ROLES: Scope = Scope::new("Roles", |policy| policy.roles());

/// The roles that engine creates.
const MANAGED: Scope = Scope { kind: Some("role"), ..Scope::new("ManagedRoles", |policy| policy.managed_roles()) };

/// The same, for what decides what a role is allowed to do: a boundary of the account's
/// administrator limits it.
const BOUNDED: Scope = Scope { is_bounded: true, sid: "BoundedRoles", ..MANAGED };

/// Setting the boundary itself, which nothing would limit.
const UNBOUNDED: Scope = Scope { resources: |policy| policy.roles_without_boundary(), ..MANAGED };

/// Listing roles, which IAM can't restrict.
const LISTS: Scope = Scope {
    why: Some("IAM has no resource type and no condition key for listing roles"),
    kind: Some("role"),
    ..Scope::new("ListRoles", |policy| if policy.manages_roles() { vec!["*".to_owned()] } else { Vec::new() })
};

/// The permissions policies of the roles.
const ROLES_POLICIES: Scope =
    Scope { why: Some(OPTIONAL), ..Scope::new("OptionalRolesPolicies", |policy| policy.roles()) };

pub(crate) const GET_ROLE: Operation = Operation::new(
    Service::IAM,
    "iam:GetRole",
    Effect::Read,
    Wire::Query,
    &limits::IAM,
    &[(&ROLES, &[Diff, Apply, Verify, Check]), (&MANAGED, PLAN)],
)
.of_kind("role")
.on(&ROLE, At::Form("RoleName"), Takes::Name);

/// Reading the network interfaces of functions in a VPC, which Lambda removes with their role. An
/// earlier spec may have had such a function.
const INTERFACES: Scope = Scope {
    resources: |policy| if policy.manages_roles() { vec!["*".to_owned()] } else { Vec::new() },
    ..Scope::LISTS
};

const fn of(action: &'static str, effect: Effect, grants: &'static [Grant]) -> Operation {
    Operation::new(Service::IAM, action, effect, Wire::Query, &limits::IAM, grants).of_kind("role")
}

const fn read(action: &'static str, grants: &'static [Grant]) -> Operation {
    of(action, Effect::Read, grants).on(&ROLE, At::Form("RoleName"), Takes::Name)
}

const fn write(action: &'static str, grants: &'static [Grant]) -> Operation {
    of(action, Effect::Write, grants).on(&ROLE, At::Form("RoleName"), Takes::Name)
}

/// The commands that read the policies of managed roles; `Check` reads those of all roles.
const READS: &[Purpose] = &[Diff, Apply, Destroy, Verify];

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(
        Service::EC2,
        "ec2:DescribeNetworkInterfaces",
        Effect::Read,
        Wire::Query,
        &limits::NETWORK_INTERFACES,
        &[(&INTERFACES, DELETE)],
    )
    .of_kind("role"),
    write("iam:AttachRolePolicy", &[(&BOUNDED, &[Apply])]),
    of("iam:CreateRole", Effect::Create, &[(&BOUNDED, &[Apply])]).on(&ROLE, At::Form("RoleName"), Takes::Name),
    write("iam:DeleteRole", &[(&MANAGED, DELETE)]),
    write("iam:DeleteRolePermissionsBoundary", &[(&UNBOUNDED, &[Apply])]),
    write("iam:DeleteRolePolicy", &[(&BOUNDED, DELETE)]),
    write("iam:DetachRolePolicy", &[(&BOUNDED, DELETE)]),
    GET_ROLE,
    read("iam:GetRolePolicy", &[(&MANAGED, READS), (&ROLES_POLICIES, &[Check])]),
    read("iam:ListAttachedRolePolicies", &[(&MANAGED, READS), (&ROLES_POLICIES, &[Check])]),
    read("iam:ListInstanceProfilesForRole", &[(&MANAGED, PLAN)]),
    read("iam:ListRolePolicies", &[(&MANAGED, READS), (&ROLES_POLICIES, &[Check])]),
    of("iam:ListRoles", Effect::Read, &[(&LISTS, PLAN)]),
    write("iam:PutRolePermissionsBoundary", &[(&UNBOUNDED, &[Apply])]),
    write("iam:PutRolePolicy", &[(&BOUNDED, &[Apply])]),
    write("iam:TagRole", &[(&MANAGED, &[Apply])]),
    write("iam:UntagRole", &[(&MANAGED, DELETE)]),
    write("iam:UpdateAssumeRolePolicy", &[(&BOUNDED, &[Apply])]),
    write("iam:UpdateRole", &[(&MANAGED, &[Apply])]),
];
