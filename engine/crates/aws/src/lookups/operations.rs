//! The calls of lookups, and the permissions on exactly the names that a spec has.

use std::collections::BTreeSet;

use engine_core::wait::limiter::Limit;
use serde_json::{Value as Json, json};

use crate::operation::{Asks, At, Effect, ImpliedPermission, Operation, Service, Wire};
use crate::policy::{self, PolicyBuilder, Purpose, Scope};
use crate::wire::limits;

use super::cloudformation::stack_and_output;
use super::ssm::split;
use super::{EXPORT_KEY, OUTPUT_KEY, SECRET_KEY, SSM_KEY};

/// The commands that read lookups.
const READ: &[Purpose] = &[Purpose::Diff, Purpose::Apply, Purpose::Check];
/// The commands that read them only to find resources.
const NAMED: &[Purpose] = &[Purpose::Verify];

const PARAMETERS: Scope = Scope::new("LookupParameters", |it| parameters(it, false));
const NAMING_PARAMETERS: Scope = Scope::new("LookupParameters", |it| parameters(it, true));
const SECRETS: Scope = Scope::new("LookupSecrets", secrets);
const EXPORTS: Scope = Scope {
    condition: Some(policy::in_region),
    why: Some("IAM has no resource type for exports, so it is restricted to the region"),
    ..Scope::new("LookupExports", |it| exports(it, false))
};
const NAMING_EXPORTS: Scope =
    Scope { condition: Some(policy::in_region), ..Scope::new("LookupExports", |it| exports(it, true)) };
const STACKS: Scope = Scope::new("LookupStacks", |it| stacks(it, false));
const NAMING_STACKS: Scope = Scope::new("LookupStacks", |it| stacks(it, true));
const PARAMETER_KEYS: Scope = Scope {
    condition: Some(for_parameters),
    why: Some(KEYS),
    ..Scope::new("LookupParameterKeys", |it| keys(it, !parameters(it, false).is_empty()))
};
const SECRET_KEYS: Scope = Scope {
    condition: Some(for_secrets),
    why: Some(KEYS),
    ..Scope::new("LookupSecretKeys", |it| keys(it, !secrets(it).is_empty()))
};

const KEYS: &str =
    "a spec doesn't name the keys that encrypt its lookups, so it is restricted to decrypting exactly these";

pub(crate) const OPERATIONS: &[Operation] = &[
    // SSM checks this permission, not that for GetParameter
    // (docs.aws.amazon.com/service-authorization/latest/reference/list_awssystemsmanager.html).
    of(
        Service::SSM,
        "ssm:GetParameters",
        Wire::Json("AmazonSSM"),
        &limits::PARAMETERS,
        &[(&PARAMETERS, READ), (&NAMING_PARAMETERS, NAMED)],
    )
    .asking(Asks { source: SSM_KEY, at: Some(At::Body("Names")), prefix: false })
    .implying(&[ImpliedPermission {
        action: "kms:Decrypt",
        grant: (&PARAMETER_KEYS, READ),
        why: "a SecureString with a key of your own needs it",
        property: None,
    }]),
    of(
        Service::SECRETS_MANAGER,
        "secretsmanager:GetSecretValue",
        Wire::Json("secretsmanager"),
        &limits::SECRETS,
        &[(&SECRETS, READ)],
    )
    .asking(Asks { source: SECRET_KEY, at: Some(At::Body("SecretId")), prefix: false })
    .implying(&[ImpliedPermission {
        action: "kms:Decrypt",
        grant: (&SECRET_KEYS, READ),
        why: "a secret with a key of your own needs it",
        property: None,
    }]),
    of(
        Service::CLOUDFORMATION,
        "cloudformation:ListExports",
        Wire::Query,
        &limits::STACKS,
        &[(&EXPORTS, READ), (&NAMING_EXPORTS, NAMED)],
    )
    .asking(Asks { source: EXPORT_KEY, at: None, prefix: false }),
    of(
        Service::CLOUDFORMATION,
        "cloudformation:DescribeStacks",
        Wire::Query,
        &limits::STACKS,
        &[(&STACKS, READ), (&NAMING_STACKS, NAMED)],
    )
    .asking(Asks { source: OUTPUT_KEY, at: Some(At::Form("StackName")), prefix: true }),
];

const fn of(
    service: &'static Service,
    action: &'static str,
    wire: Wire,
    limit: &'static Limit,
    grants: &'static [crate::operation::Grant],
) -> Operation {
    Operation::new(service, action, Effect::Read, wire, limit, grants)
}

/// The names of one source in the spec's lookups; only those that name resources, if `naming`.
fn names<'s>(policy: &PolicyBuilder<'s>, source: &str, naming: bool) -> BTreeSet<&'s str> {
    let spec = policy.spec;
    let is_needed = |name: &str| !naming || spec.names_resources(name);
    let lookups = spec.used_lookups().filter(|lookup| is_needed(&lookup.name));
    lookups.flat_map(|it| &it.reads).filter(|read| read.source == source).map(|read| read.name.as_str()).collect()
}

/// The ARNs have no slash before the name
/// (docs.aws.amazon.com/systems-manager/latest/userguide/sysman-paramstore-access.html), and those
/// of AWS's public parameters no account.
fn parameters(policy: &PolicyBuilder<'_>, naming: bool) -> Vec<String> {
    let arn = |name: &str| match split(name).0 {
        name if name.starts_with("arn:") => name.to_owned(),
        name => {
            let env = policy.env;
            let account = if name.starts_with("/aws/service/") { "" } else { env.account.as_str() };
            let name = name.strip_prefix('/').unwrap_or(name);
            format!("arn:{}:ssm:{}:{account}:parameter/{name}", env.partition, env.region)
        }
    };
    names(policy, SSM_KEY, naming).into_iter().map(arn).collect::<BTreeSet<_>>().into_iter().collect()
}

/// The ARNs end with six characters that only AWS knows
/// (docs.aws.amazon.com/secretsmanager/latest/userguide/auth-and-access_iam-policies.html).
fn secrets(policy: &PolicyBuilder<'_>) -> Vec<String> {
    let arn = |name: &str| match name.starts_with("arn:") {
        true => name.to_owned(),
        false => policy::env_arn(policy.env, "secretsmanager", &format!("secret:{name}-??????")),
    };
    names(policy, SECRET_KEY, false).into_iter().map(arn).collect()
}

fn exports(policy: &PolicyBuilder<'_>, naming: bool) -> Vec<String> {
    if names(policy, EXPORT_KEY, naming).is_empty() { Vec::new() } else { vec!["*".to_owned()] }
}

fn stacks(policy: &PolicyBuilder<'_>, naming: bool) -> Vec<String> {
    let names = names(policy, OUTPUT_KEY, naming);
    let stacks: BTreeSet<&str> = names.into_iter().filter_map(stack_and_output).map(|(stack, _)| stack).collect();
    stacks.into_iter().map(|name| policy::env_arn(policy.env, "cloudformation", &format!("stack/{name}/*"))).collect()
}

fn keys(policy: &PolicyBuilder<'_>, are_needed: bool) -> Vec<String> {
    if are_needed { vec![policy::env_arn(policy.env, "kms", "key/*")] } else { Vec::new() }
}

/// To decrypt only these values, through their service
/// (docs.aws.amazon.com/kms/latest/developerguide/services-parameter-store.html).
fn for_parameters(policy: &PolicyBuilder<'_>) -> Json {
    let mut condition = policy::via_service(policy, "ssm");
    condition["StringEquals"]["kms:EncryptionContext:PARAMETER_ARN"] = json!(parameters(policy, false));
    condition
}

/// The same for secrets (docs.aws.amazon.com/secretsmanager/latest/userguide/security-encryption.html).
fn for_secrets(policy: &PolicyBuilder<'_>) -> Json {
    let mut condition = policy::via_service(policy, "secretsmanager");
    condition["StringLike"] = json!({ "kms:EncryptionContext:SecretARN": secrets(policy) });
    condition
}
