//! `role`: an IAM role. With `import:`, engine reads an existing one and never changes it;
//! otherwise engine creates it, with the permissions that the spec's resources need.
//!
//! ```yaml
//! team: blue-owls
//! resources:
//!   runner:
//!     type: role
//!     trusted_services: [states.amazonaws.com]
//!     statements:
//!       - { actions: [lambda:InvokeFunction], resources: ["*"] }
//! ```

mod check;
mod errors;
mod interfaces;
pub(super) mod operations;
pub(super) mod policy;
mod requests;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::aws::error::ErrorRow;
use crate::aws::trust::LAMBDA;
use crate::aws::{AwsError, Context};
use crate::iam::execution;
use crate::kind::Kind;
use crate::operation::Operation;
use crate::schema::{
    AwsEnv, Effect, Id, Identity, Live, Output, Outputs, Owner, Problem, Property, Reading, Schema, Shape, Tagging,
    TargetKeys, Text, Users, is_of_team, property,
};
use crate::spec::{ResourceDecl, Spec};
use crate::value::{Path, Tree, Value};
use engine_core::kind::{Derived, Want};

use super::Input;

pub(super) use check::{check_statements, unknown_access};
pub(super) use policy::{access, statements};

pub(super) struct Role;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Props {
    path: Option<String>,
    description: String,
    max_session_duration: i32,
    trusted_services: Input,
    assume_role_policy: Json,
    access: Input,
    statements: Input,
    derive_permissions: Input,
    policy: Json,
    managed_policy_arns: Vec<String>,
    inline_policies: Vec<String>,
    permissions_boundary: Option<String>,
    tags: BTreeMap<String, String>,
}

/// docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html
static NAME: LazyLock<Text> = LazyLock::new(|| {
    Text::new(1..=64, "letters, digits and `_+=,.@-`", |text| {
        text.chars().all(|c| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c))
    })
});

/// docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html; Lambda accepts only these
/// characters in a role's ARN
/// (docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html, Role).
static PATH: LazyLock<Text> = LazyLock::new(|| {
    Text::new(1..=512, "`/`, or names between slashes, like `/teams/`", |text| {
        text.starts_with('/') && text.ends_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic())
    })
});

/// docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html, Description
static DESCRIPTION: LazyLock<Text> = LazyLock::new(|| {
    Text::new(0..=1000, "tabs, line breaks and characters of Latin-1", |text| {
        text.chars().all(|c| matches!(c, '\t' | '\n' | '\r' | ' '..='~' | '\u{A1}'..='\u{FF}'))
    })
});

static SERVICE: LazyLock<Text> = LazyLock::new(|| {
    Text::new(5..=128, "the name of a service, like `lambda.amazonaws.com`", |text| {
        text.contains('.') && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
    })
});

static POLICY_ARN: LazyLock<Text> = LazyLock::new(|| {
    Text::new(20..=2048, "the ARN of a managed policy (`arn:aws:iam::aws:policy/name`)", |text| {
        super::text::is_arn(text, "iam") && text.contains(":policy/")
    })
});

/// The default quota of managed policies on a role
/// (docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html).
const MANAGED_POLICIES: i64 = 10;
/// The maximum number of characters of all inline policies of a role, without whitespace (same
/// page).
pub const POLICY_CHARACTERS: usize = 10_240;
/// The default quota of characters of a trust policy (same page).
const TRUST_CHARACTERS: usize = 2048;
/// Any account, as long as the spec names none.
const SOME_ACCOUNT: &str = "123456789012";
/// The regions with the shortest and the longest ARNs, as long as the spec names none.
const SHORTEST_REGION: &str = "eu-west-1";
const LONGEST_REGION: &str = "us-gov-west-1";

impl Kind for Role {
    type Props = Props;

    fn schema(&self) -> Schema {
        Schema {
            kind: "role".into(),
            summary: "an IAM role, created with the permissions that the spec needs, or an existing one with `import:`"
                .into(),
            remark:
                "A function without `role:` implies one, named `<function>-role`. Permissions follow from what the \
                     functions that use it write, read and send."
                    .into(),
            source: "https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html".into(),
            identity: Identity::Named { text: NAME.clone() },
            managed: true,
            importable: true,
            adoptable: true,
            holds_data: false,
            delete_block: None,
            retained_on_delete: None,
            disruption: None,
            recreate_note: None,
            properties: properties(),
            arn: operations::ROLE.arn.clone(),
            tagging: Tagging::Own,
            outputs: vec![
                Output::assigned("arn", "the role's ARN"),
                Output::computed("name", "the role's name", |_, name| name.to_owned()),
            ],
        }
    }

    fn operations(&self) -> &'static [Operation] {
        operations::OPERATIONS
    }

    fn errors(&self) -> &'static [ErrorRow] {
        errors::ERRORS
    }

    /// IAM allows one change of a role at a time.
    fn write_key<'a>(&self, id: &'a Id) -> Option<&'a str> {
        Some(&id.name)
    }

    fn check(&self, desired: &Tree) -> Vec<Problem> {
        let mut problems = check_statements(desired);
        let has = |name: &str| desired.get(name).is_some_and(|value| *value != Value::Null);
        if has("trusted_services") && has("assume_role_policy") {
            let path = Path::property("assume_role_policy");
            let problem = "`trusted_services` and `assume_role_policy` can't be combined";
            let (services, document) = ("trusted_services", "assume_role_policy");
            let problem = Problem::error(path, problem, "remove one of them");
            problems.push(problem.inapplicable_with(services, document).inapplicable_with(document, services));
        }
        problems
    }

    fn derive(&self, declared: &ResourceDecl, spec: &Spec) -> Derived {
        let functions: Vec<&ResourceDecl> = spec
            .managed("function")
            .filter(|function| spec.target(function, "role").is_some_and(|role| role.name == declared.name))
            .collect();
        let mut derived = Derived { problems: unknown_access(declared, spec), ..Derived::default() };
        trust(declared, !functions.is_empty(), &mut derived);
        derived.problems.extend(long_trust(declared, spec, &derived));
        permissions(declared, spec, &functions, &mut derived);
        derived
    }

    async fn read(&self, cx: &Context, id: &Id) -> Result<Reading<Props>, AwsError> {
        Ok(requests::read(cx, id).await?.into())
    }

    async fn list_by_prefix(&self, cx: &Context, owner: &Owner) -> Result<Vec<Id>, AwsError> {
        self.list_by_prefixes(cx, std::slice::from_ref(owner)).await
    }

    /// One list has the roles of all owners.
    async fn list_by_prefixes(&self, cx: &Context, owners: &[Owner]) -> Result<Vec<Id>, AwsError> {
        let names = requests::names(cx).await?;
        let of = |owner: &Owner| {
            let names = names.iter().filter(|name| is_of_team(name, &owner.team));
            names.map(|name| super::scanned(owner, name.clone())).collect::<Vec<_>>()
        };
        Ok(owners.iter().flat_map(of).collect())
    }

    async fn create(&self, cx: &Context, id: &Id, want: Want<Props>) -> Result<Outputs, AwsError> {
        requests::create(cx, id, &want.props).await
    }

    async fn update(&self, cx: &Context, id: &Id, have: Live<Props>, want: Want<Props>) -> Result<Outputs, AwsError> {
        requests::update(cx, id, &have, &want.props).await?;
        Ok(have.outputs)
    }

    /// IAM has no state to wait for: what uses a new role is retried until IAM has propagated it.
    async fn wait_ready(&self, _: &Context, _: &Id, _: &Props, _: &[&str], _: &Outputs) -> Result<(), AwsError> {
        Ok(())
    }

    async fn users(&self, cx: &Context, id: &Id) -> Result<Option<Users>, AwsError> {
        requests::users(cx, &id.name).await.map(Some)
    }

    async fn check_delete(&self, cx: &Context, id: &Id, followers: &[&ResourceDecl]) -> Result<(), AwsError> {
        if !followers.is_empty() {
            cx.aws.seen.note_replaced_role(&id.name);
        }
        requests::check_unused(cx, &id.name, followers).await
    }

    async fn delete(&self, cx: &Context, id: &Id, have: Live<Props>) -> Result<(), AwsError> {
        requests::delete(cx, id, have.unique_id.as_deref()).await
    }

    async fn untag(&self, cx: &Context, id: &Id, _: Live<Props>) -> Result<(), AwsError> {
        requests::untag(cx, id).await
    }
}

fn properties() -> Vec<Property> {
    let arns = Shape::Set { item: Box::new(Shape::Text(POLICY_ARN.clone())), max: 20 };
    let services = Shape::List { item: Box::new(Shape::Text(SERVICE.clone())), max: 20 };
    vec![
        property("path", Shape::Text(PATH.clone()), "the role's path; on an import, the path that it must have")
            .no_references()
            .verified_on_import()
            .default("/")
            .on_change(Effect::refuse("IAM can't change a role's path")),
        property("description", Shape::Text(DESCRIPTION.clone()), "description of the role").default("").no_lookups(),
        property(
            "max_session_duration",
            Shape::Integer { min: 3600, max: 43200 },
            "maximum duration of a session in seconds",
        )
        .default(3600),
        property(
            "trusted_services",
            services,
            "services that can assume the role; defaults to lambda.amazonaws.com if a function uses it",
        )
        .write_only(),
        property(
            "assume_role_policy",
            policy::document_shape(),
            "the trust policy, as a document; instead of `trusted_services`",
        )
        .member("AssumeRolePolicyDocument")
        .equivalent(policy::is_same_document),
        property("access", access(), "what may use this role may do with resources of this spec")
            .target_keys(TargetKeys::All)
            .write_only(),
        property("statements", statements(), "other permissions").write_only(),
        property(
            "derive_permissions",
            Shape::Bool,
            "whether the role gets what its functions and their mappings need; `false` leaves `access` and `statements`",
        )
        .default(true)
        .write_only(),
        property("policy", policy::policy_shape(), "the inline policy `engine`, by statement")
            .derived()
            .equivalent(policy::is_same_policy),
        property("managed_policy_arns", arns, "ARNs of the managed policies to attach")
            .quota(MANAGED_POLICIES, "AWS allows up to 20 on request")
            .default(json!([]))
            .destructive_notes(|before, after| lost("the managed policy", "will be detached", before, after)),
        property(
            "inline_policies",
            Shape::Set { item: Box::new(Shape::Text(Text::any(128))), max: 100 },
            "inline policies besides engine's own",
        )
        .derived()
        .ignorable()
        .destructive_notes(|before, after| lost("the inline policy", "will be deleted", before, after)),
        property(
            "permissions_boundary",
            Shape::Text(POLICY_ARN.clone()),
            "ARN of the managed policy that limits the role's permissions",
        ),
        super::tags(),
    ]
}

/// What a change of a list of names removes.
fn lost(what: &str, fate: &str, before: &Value, after: &Value) -> Vec<String> {
    let (Value::List(before), Value::List(after)) = (before, after) else { return Vec::new() };
    let gone = before.iter().filter(|name| !after.contains(name)).filter_map(Value::as_str);
    gone.map(|name| format!("{what} `{name}` {fate}")).collect()
}

/// The trust policy, if the spec doesn't have it as a document.
fn trust(declared: &ResourceDecl, is_used: bool, derived: &mut Derived) {
    let is_invalid = |name: &&str| declared.explicit.contains(*name) && !declared.desired.contains_key(*name);
    let has_document = declared.desired.get("assume_role_policy").is_some_and(|document| *document != Value::Null);
    // An invalid value is already reported.
    if has_document || ["trusted_services", "assume_role_policy"].iter().any(is_invalid) {
        return;
    }
    let services = match declared.desired.get("trusted_services") {
        Some(Value::List(services)) if is_used && !services.iter().any(|it| it.as_str() == Some(LAMBDA)) => {
            let problem = format!("functions use `{}`, but Lambda isn't one of its trusted services", declared.name);
            let path = Path::property("trusted_services");
            derived.problems.push(Problem::error(path, problem, format!("add `{LAMBDA}` to the list")));
            return;
        }
        Some(Value::List(services)) if !services.is_empty() => services.iter().map(Json::from).collect(),
        _ if is_used => vec![json!(LAMBDA)],
        _ => {
            let problem = format!("`{}` has no trusted service, and no function of this spec uses it", declared.name);
            let hint = "add `trusted_services:` with the services that assume it, or `import:` with the name of an existing role";
            derived.problems.push(Problem::error(Path::default(), problem, hint));
            return;
        }
    };
    let document = json!({
        "Version": "2012-10-17",
        "Statement": [{ "Effect": "Allow", "Principal": { "Service": services }, "Action": "sts:AssumeRole" }],
    });
    derived.values.insert("assume_role_policy".to_owned(), Value::from(document));
    if declared.explicit.contains("trusted_services") {
        derived.explicit.push("assume_role_policy");
    }
}

/// The number of characters of a document that IAM counts: in the region with the shortest ARNs, and
/// in the one with the longest, unless the spec names its region.
/// What only AWS knows counts as nothing.
fn n_characters(spec: &Spec, value: &Value, document: impl Fn(&Value) -> Json) -> (usize, usize) {
    let in_region = |region: &str| {
        let account = spec.account.as_deref().unwrap_or(SOME_ACCOUNT);
        let env = AwsEnv::new(spec.region.as_deref().unwrap_or(region), account);
        let least = policy::with_texts(&execution::filled(spec, &env, value), &|_| String::new());
        crate::iam::policy::n_characters(&document(&least))
    };
    (in_region(SHORTEST_REGION), in_region(LONGEST_REGION))
}

/// A trust policy that exceeds the default quota.
fn long_trust(declared: &ResourceDecl, spec: &Spec, derived: &Derived) -> Option<Problem> {
    let name = "assume_role_policy";
    let document = derived.values.get(name).or_else(|| declared.desired.get(name))?;
    let (characters, _) = n_characters(spec, document, |document| Json::from(document));
    let name = if declared.explicit.contains(name) { name } else { "trusted_services" };
    (characters > TRUST_CHARACTERS).then(|| {
        let problem =
            format!("the trust policy has {characters} characters, above AWS's default limit of {TRUST_CHARACTERS}");
        let hint = format!("use at most {TRUST_CHARACTERS}, or request a higher quota for this account");
        Problem::warning(Path::property(name), problem, hint).why("AWS allows up to 4,096 on request")
    })
}

/// An inline policy that exceeds IAM's limit: an error if it does in every region.
fn too_large(declared: &ResourceDecl, spec: &Spec, policy: &Value) -> Option<Problem> {
    let (least, most) = n_characters(spec, policy, policy::document_of);
    let (path, name) = (Path::property("statements"), &declared.name);
    let hint = "move permissions to a managed policy and list it in `managed_policy_arns`, or use several roles";
    if least > POLICY_CHARACTERS {
        let at_least = if most > least { "at least " } else { "" };
        let problem = format!(
            "the policy of `{name}` has {at_least}{least} characters, but IAM's maximum is {POLICY_CHARACTERS}"
        );
        return Some(Problem::error(path, problem, hint));
    }
    (most > POLICY_CHARACTERS).then(|| {
        let problem = format!(
            "in some regions, the policy of `{name}` has up to {most} characters, but IAM's maximum is {POLICY_CHARACTERS}"
        );
        Problem::warning(path, problem, hint).why("ARNs contain the region, and the spec has no `region`")
    })
}

/// The inline policy: what follows from the graph, from `access` and from `statements`.
fn permissions(declared: &ResourceDecl, spec: &Spec, functions: &[&ResourceDecl], derived: &mut Derived) {
    let env = AwsEnv::marked(spec.region.as_deref(), spec.account.as_deref());
    let follows = declared.desired.get("derive_permissions") != Some(&Value::Bool(false));
    let mut granted = match follows {
        true => execution::of_functions(spec, &env, functions),
        false => functions.iter().flat_map(|function| execution::of_access(spec, &env, function)).collect(),
    };
    granted.extend(execution::of_access(spec, &env, declared));
    let mut statements = Tree::new();
    for statement in granted {
        let sid = policy::unique(&statements, &statement.sid);
        let reasons = statement.reasons.join(", and ");
        derived.reasons.push((Path::property("policy").key(&sid), format!("{sid}: {reasons}")));
        statements.insert(sid, policy::derived(&statement));
    }
    let written = std::iter::once(declared).chain(functions.iter().copied());
    for (owner, statement) in written.flat_map(|owner| policy::written(owner).into_iter().map(move |it| (owner, it))) {
        let sid = policy::unique(&statements, "Statement");
        derived
            .reasons
            .push((Path::property("policy").key(&sid), format!("{sid}: `{}` has it in `statements`", owner.name)));
        statements.insert(sid, statement);
    }
    let policy = Value::Map(statements);
    derived.problems.extend(too_large(declared, spec, &policy));
    derived.values.insert("policy".to_owned(), policy);
    derived.values.insert("inline_policies".to_owned(), Value::List(Vec::new()));
}
