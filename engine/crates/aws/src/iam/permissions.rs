//! What a run knows about permissions: trust policies, the caller's identity, and the results of
//! IAM's policy simulator.
//!
//! **Invariant:** the simulator is called once with a short timeout, and its result never stops a
//! run: it considers neither session policies nor resource-based policies
//! (docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_testing-policies.html).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_iam::types::{ContextEntry, ContextKeyTypeEnum, EvaluationResult, PolicyEvaluationDecisionType};
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use futures_util::future::{try_join, try_join_all};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value as Json};

use super::policy::{
    OPTIONAL,
    Purpose::{Apply, Check},
    Scope,
};
use super::trust::{Covers, LAMBDA, Trust, has_conditions, matches, texts, trust};
use crate::answer::{AwsError, CallContext};
use crate::connect::Context;
use crate::operation::{Effect, Grant, Operation, Service, Wire};
use crate::schema::Str;
use crate::wire::limits;

/// How long a new role takes to propagate in IAM, in milliseconds.
const PROPAGATION_MS: i64 = 60_000;
/// The timeout of the simulator.
pub const PATIENCE: Duration = Duration::from_secs(3);
/// The maximum number of results in one response of the simulator.
const MOST_RESULTS: i32 = 1000;

/// The permissions policies of the roles.
const ROLES_POLICIES: Scope =
    Scope { why: Some(OPTIONAL), ..Scope::new("OptionalRolesPolicies", |policy| policy.roles()) };

/// The managed policies that may be attached to the roles.
const MANAGED_POLICIES: Scope = Scope {
    why: Some(OPTIONAL),
    ..Scope::new("OptionalManagedPolicies", |policy| {
        let of = |account: &str| format!("arn:{}:iam::{account}:policy/*", policy.env.partition);
        if policy.roles().is_empty() { Vec::new() } else { vec![of(&policy.env.account), of("aws")] }
    })
};

/// The permissions of the caller. User names are unique regardless of the path.
const CALLER: Scope = Scope {
    why: Some(
        "IAM has a policy variable for user names but not for role names; if you deploy with a role, add its ARN",
    ),
    ..Scope::new("OptionalCaller", |policy| {
        let (partition, account) = (&policy.env.partition, &policy.env.account);
        let of = |path: &str| format!("arn:{partition}:iam::{account}:user{path}${{aws:username}}");
        vec![of("/"), of("/*/")]
    })
};

const fn read(action: &'static str, grants: &'static [Grant]) -> Operation {
    Operation::new(Service::IAM, action, Effect::Read, Wire::Query, &limits::IAM, grants).of_kind("role")
}

pub(crate) const OPERATIONS: &[Operation] = &[
    read("iam:GetPolicy", &[(&MANAGED_POLICIES, &[Check])]),
    read("iam:GetPolicyVersion", &[(&MANAGED_POLICIES, &[Check])]),
    // docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html
    read("iam:SimulatePrincipalPolicy", &[(&ROLES_POLICIES, &[Apply, Check]), (&CALLER, &[Apply, Check])]),
];

/// Names of resources that something has been noted about.
#[derive(Debug, Default)]
struct NameSet(Mutex<BTreeSet<String>>);

impl NameSet {
    fn add(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
    }

    fn contains(&self, name: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
    }
}

/// What other reads have shown.
#[derive(Debug, Default)]
pub struct ObservedRoles {
    trusts: Mutex<BTreeMap<String, Trust>>,
    /// When roles were created, in milliseconds since 1970.
    births: Mutex<BTreeMap<String, i64>>,
    new_roles: NameSet,
    changed_roles: NameSet,
    replaced_roles: NameSet,
    /// The roles of functions that have a VPC, by name.
    vpc_roles: NameSet,
    /// The queues whose visibility timeout this run has set.
    changed_queues: NameSet,
    caller: OnceLock<String>,
    /// Whether the plan already says that the account's functions can't be listed.
    lacks_functions: AtomicBool,
}

impl ObservedRoles {
    /// Records the trust policy of a role, as IAM returns it.
    pub fn note_trust(&self, role: &str, document: &str) {
        let trust = trust(document, LAMBDA);
        self.trusts.lock().unwrap_or_else(PoisonError::into_inner).insert(role.to_owned(), trust);
    }

    /// Records when a role was created, in milliseconds since 1970.
    pub fn note_birth(&self, role: &str, millis: i64) {
        self.births.lock().unwrap_or_else(PoisonError::into_inner).insert(role.to_owned(), millis);
    }

    /// Records that this run changes the trust policy or the permissions of a role.
    pub fn note_changed_role(&self, role: &str) {
        self.changed_roles.add(role);
    }

    /// Whether this run created or changed a role, so that other services may not know it yet.
    pub fn is_written_role(&self, role: &str) -> bool {
        self.is_new_role(role) || self.changed_roles.contains(role)
    }

    /// Whether IAM has surely propagated a role: it is old, and this run didn't change it. A role
    /// that wasn't read isn't known to be.
    pub fn has_surely_propagated(&self, role: &str) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let created = self.births.lock().unwrap_or_else(PoisonError::into_inner).get(role).copied();
        let is_old = has_propagated(created, now);
        is_old && !self.is_written_role(role)
    }

    /// Records that a function in a VPC runs with the role that has this ARN.
    pub fn note_vpc_role(&self, arn: &str) {
        self.vpc_roles.add(arn.rsplit('/').next().unwrap_or_default());
    }

    /// Whether a read in this run showed a function in a VPC with this role. Lambda removes the
    /// function's network interfaces with it, minutes later.
    pub fn has_vpc_function(&self, role: &str) -> bool {
        self.vpc_roles.contains(role)
    }

    /// Records that this run sets the visibility timeout of a queue.
    pub fn note_changed_queue(&self, queue: &str) {
        self.changed_queues.add(queue);
    }

    /// Whether this run set the visibility timeout of a queue, so that AWS may still see the old one.
    pub fn is_changed_queue(&self, queue: &str) -> bool {
        self.changed_queues.contains(queue)
    }

    /// Records that this run replaces a role, and its functions get the new one.
    pub fn note_replaced_role(&self, role: &str) {
        self.replaced_roles.add(role);
    }

    /// Whether this run replaces the role.
    pub fn is_replaced_role(&self, role: &str) -> bool {
        self.replaced_roles.contains(role)
    }

    /// Records that this run created a role.
    pub fn note_new_role(&self, role: &str) {
        self.new_roles.add(role);
    }

    /// Whether this run created the role, so that IAM may not show it yet.
    pub fn is_new_role(&self, role: &str) -> bool {
        self.new_roles.contains(role)
    }

    /// What the trust policies allow Lambda, by role name.
    pub fn trusts(&self) -> BTreeMap<String, Trust> {
        self.trusts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Records that the plan says that the account's functions can't be listed.
    pub fn note_unlisted_functions(&self) {
        self.lacks_functions.store(true, Ordering::Relaxed);
    }

    /// Whether the plan says that the account's functions can't be listed.
    pub fn lacks_functions(&self) -> bool {
        self.lacks_functions.load(Ordering::Relaxed)
    }

    /// Records the caller's ARN.
    pub fn note_caller(&self, arn: &str) {
        self.caller.get_or_init(|| arn.to_owned());
    }

    /// The user or role of the run, in the form that the simulator accepts. The path of an assumed
    /// role isn't in its session's ARN, and neither root nor a federated user has policies to
    /// simulate.
    pub fn principal(&self) -> Option<String> {
        let arn = self.caller.get()?;
        let mut fields = arn.splitn(6, ':');
        let (_, partition, service) = (fields.next()?, fields.next()?, fields.next()?);
        let (account, resource) = (fields.nth(1)?, fields.next()?);
        match (service, resource.split('/').collect::<Vec<_>>().as_slice()) {
            ("iam", ["user", ..]) => Some(arn.clone()),
            ("sts", ["assumed-role", role, _]) => Some(format!("arn:{partition}:iam::{account}:role/{role}")),
            _ => None,
        }
    }
}

/// Whether IAM has surely propagated a role that was created then; both in milliseconds since 1970.
pub fn has_propagated(created: Option<i64>, now: i64) -> bool {
    created.is_some_and(|created| now.saturating_sub(created) >= PROPAGATION_MS)
}

/// The decision about one action on one resource, from the worst to the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Decision {
    /// No statement allows it.
    NotAllowed,
    /// A statement denies it.
    Denied,
    /// It depends on something that engine can't read.
    Unknown,
    /// It is allowed.
    Allowed,
}

/// An action and the ARN of its resource.
pub type Need = (Str, String);

/// Simulates, once, what `principal` is allowed to do for Lambda; the decisions are in the order of
/// the needs.
///
/// # Errors
/// The failure of the call: usually, the caller lacks permission to use the simulator.
pub async fn simulate(cx: &Context, principal: &str, needs: &[Need]) -> Result<Vec<Decision>, AwsError> {
    let passed_to = ContextEntry::builder()
        .context_key_name("iam:PassedToService")
        .context_key_type(ContextKeyTypeEnum::String)
        .context_key_values(LAMBDA)
        .build();
    let briefly = TimeoutConfig::builder().operation_timeout(PATIENCE).build();
    let once = aws_sdk_iam::Config::builder().retry_config(RetryConfig::disabled()).timeout_config(briefly);
    let actions: BTreeSet<&str> = needs.iter().map(|(action, _)| &**action).collect();
    let resources: BTreeSet<&str> = needs.iter().map(|(_, resource)| resource.as_str()).collect();
    let request = cx
        .aws
        .iam
        .simulate_principal_policy()
        .policy_source_arn(principal)
        .set_action_names(Some(actions.into_iter().map(str::to_owned).collect()))
        .set_resource_arns(Some(resources.into_iter().map(str::to_owned).collect()))
        .context_entries(passed_to)
        .max_items(MOST_RESULTS);
    let answer = request.customize().config_override(once).send().await;
    let results = answer.context("SimulatePrincipalPolicy", principal)?.evaluation_results.unwrap_or_default();
    Ok(needs.iter().map(|need| simulated(&results, need)).collect())
}

/// Several resources are returned as separate or as nested results; the API reference doesn't
/// specify which (docs.aws.amazon.com/IAM/latest/APIReference/API_EvaluationResult.html).
fn simulated(results: &[EvaluationResult], (action, resource): &Need) -> Decision {
    let judge = |decision: &PolicyEvaluationDecisionType, missing: &[String]| match decision {
        PolicyEvaluationDecisionType::Allowed => Decision::Allowed,
        _ if !missing.is_empty() => Decision::Unknown,
        PolicyEvaluationDecisionType::ExplicitDeny => Decision::Denied,
        PolicyEvaluationDecisionType::ImplicitDeny => Decision::NotAllowed,
        _ => Decision::Unknown,
    };
    let of_action = || results.iter().filter(|it| it.eval_action_name.eq_ignore_ascii_case(action));
    let inner = of_action().flat_map(EvaluationResult::resource_specific_results);
    let inner = inner.filter(|it| it.eval_resource_name == *resource);
    let mut inner = inner.map(|it| judge(&it.eval_resource_decision, it.missing_context_values()));
    let outer = of_action().filter(|it| it.eval_resource_name() == Some(resource.as_str()));
    let mut outer = outer.map(|it| judge(&it.eval_decision, it.missing_context_values()));
    inner.next().or_else(|| outer.next()).unwrap_or(Decision::Unknown)
}

/// All permissions policies of a role: attached and inline ones.
///
/// # Errors
/// The failure of a call: without all policies, a missing permission can't be determined.
pub async fn policies(cx: &Context, role: &str) -> Result<Vec<String>, AwsError> {
    let iam = &cx.aws.iam;
    let (attached, own) = try_join(
        async {
            let pages = iam.list_attached_role_policies().role_name(role).into_paginator().items().send();
            let attached = pages.collect::<Result<Vec<_>, _>>().await.context("ListAttachedRolePolicies", role)?;
            try_join_all(attached.into_iter().filter_map(|it| it.policy_arn).map(|arn| managed(cx, arn))).await
        },
        async {
            let pages = iam.list_role_policies().role_name(role).into_paginator().items().send();
            let names = pages.collect::<Result<Vec<_>, _>>().await.context("ListRolePolicies", role)?;
            let read = names.into_iter().map(|name| async move {
                let answer = iam.get_role_policy().role_name(role).policy_name(&name).send().await;
                Ok::<_, AwsError>(answer.context("GetRolePolicy", &name)?.policy_document)
            });
            try_join_all(read).await
        },
    )
    .await?;
    Ok(attached.into_iter().chain(own).collect())
}

async fn managed(cx: &Context, arn: String) -> Result<String, AwsError> {
    let policy = cx.aws.iam.get_policy().policy_arn(&arn).send().await.context("GetPolicy", &arn)?.policy;
    let version = policy.and_then(|it| it.default_version_id).unwrap_or_default();
    let answer = cx.aws.iam.get_policy_version().policy_arn(&arn).version_id(version).send().await;
    let version = answer.context("GetPolicyVersion", &arn)?.policy_version;
    Ok(version.and_then(|it| it.document).unwrap_or_default())
}

/// Evaluates policies, percent-encoded as IAM returns them, for an action.
pub fn decide(policies: &[String], (action, resource): &Need) -> Decision {
    let (mut allowed, mut denied) = (Covers::No, Covers::No);
    for policy in policies {
        let document = percent_decode_str(policy).decode_utf8().ok();
        let Some(Json::Object(document)) = document.and_then(|text| serde_json::from_str(&text).ok()) else {
            (allowed, denied) = (allowed.max(Covers::Unknown), denied.max(Covers::Unknown));
            continue;
        };
        let statements = match document.get("Statement") {
            Some(Json::Array(statements)) => statements.as_slice(),
            Some(statement) => std::slice::from_ref(statement),
            None => &[],
        };
        for statement in statements.iter().filter_map(Json::as_object) {
            let covers = of_statement(statement, "Action", action).min(of_statement(statement, "Resource", resource));
            let covers = if has_conditions(statement) { covers.min(Covers::Unknown) } else { covers };
            if statement.get("Effect").and_then(Json::as_str) == Some("Allow") {
                allowed = allowed.max(covers);
            } else {
                denied = denied.max(covers);
            }
        }
    }
    match (allowed, denied) {
        (_, Covers::Yes) => Decision::Denied,
        (Covers::No, _) => Decision::NotAllowed,
        (Covers::Yes, Covers::No) => Decision::Allowed,
        _ => Decision::Unknown,
    }
}

/// Whether a statement covers an action or a resource, by `Action` or `NotAction` (or the same for
/// resources).
fn of_statement(statement: &Map<String, Json>, field: &str, what: &str) -> Covers {
    let one = |patterns: &Json| {
        let Some(patterns) = texts(patterns) else { return Covers::Unknown };
        patterns.into_iter().map(|pattern| matches(pattern, what)).max().unwrap_or(Covers::No)
    };
    match (statement.get(field), statement.get(&format!("Not{field}"))) {
        (Some(patterns), None) => one(patterns),
        (None, Some(but)) => match one(but) {
            Covers::Yes => Covers::No,
            Covers::No => Covers::Yes,
            Covers::Unknown => Covers::Unknown,
        },
        _ => Covers::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(caller: &str) -> Option<String> {
        let seen = ObservedRoles::default();
        seen.note_caller(caller);
        seen.principal()
    }

    #[test]
    fn a_session_is_simulated_as_its_role_and_root_not_at_all() {
        let user = "arn:aws:iam::123456789012:user/teams/student";
        assert_eq!(principal(user).as_deref(), Some(user));
        let role = principal("arn:aws:sts::123456789012:assumed-role/student/session");
        assert_eq!(role.as_deref(), Some("arn:aws:iam::123456789012:role/student"));
        assert_eq!(principal("arn:aws:iam::123456789012:root"), None);
        assert_eq!(principal("arn:aws:sts::123456789012:federated-user/x"), None);
    }
}
