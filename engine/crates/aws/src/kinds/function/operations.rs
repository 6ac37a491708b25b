//! The calls of `function` (docs.aws.amazon.com/lambda/latest/api/API_Operations.html), and the
//! permissions on functions.

use std::collections::BTreeSet;

use serde_json::json;

use crate::aws::limits;
use crate::aws::trust::LAMBDA;
use crate::operation::{
    At, Effect, Grant, ImpliedPermission, NameForm, Operation, Service, Takes,
    Wire::{self, Rest},
};
use crate::policy::{
    DELETE, Imported, PLAN, PolicyBuilder,
    Purpose::{self, Apply, Check, Destroy, Dev, Diff, Logs, Verify},
    READ_ONE, Scope, in_region,
};
use crate::schema::ArnForm;
use crate::spec::ResourceDecl;
use crate::value::Value;

use super::async_config::ASYNC;
use super::network::VPC;
use super::reference::{self, CodeReference, SIGNING};
use super::url::URL;

/// docs.aws.amazon.com/lambda/latest/api/API_GetFunction.html
pub(crate) static FUNCTION: NameForm = NameForm {
    kind: "function",
    arn: Some(ArnForm::regional("lambda", "function:{name}")),
    marks: Some("-_"),
    is_qualified: true,
    attached_to: None,
};

/// The team's functions.
pub(crate) const FUNCTIONS: Scope = Scope {
    kind: Some("function"),
    imported: Some(Imported {
        sid: "ImportedFunctions",
        kind: "function",
        resources: |policy, function| vec![policy.arn(&FUNCTION, function)],
        why: None,
    }),
    ..Scope::new("Functions", |policy| policy.of_team(&FUNCTION))
};

/// The roles of the functions, when they are passed to Lambda.
const PASSED_ROLES: Scope = Scope {
    condition: Some(|_| json!({ "StringEquals": { "iam:PassedToService": LAMBDA } })),
    ..Scope::new("PassRole", |policy| policy.passed_roles())
};

/// Imported functions that the user allows to invoke.
const ALLOWED: Scope = Scope::new("AllowedFunctions", |policy| policy.allowed(&FUNCTION));

/// The layers of the functions.
const LAYERS: Scope = Scope::new("Layers", layers);

fn layers(policy: &PolicyBuilder<'_>) -> Vec<String> {
    let lists = policy.functions().filter_map(|it| it.desired.get("layers"));
    let layers = lists.filter_map(|list| match list {
        Value::List(layers) => Some(layers.iter().filter_map(|layer| policy.text(Some(layer)))),
        _ => None,
    });
    layers.flatten().collect::<BTreeSet<_>>().into_iter().collect()
}

/// The keys of the functions.
const FUNCTION_KEYS: Scope = Scope::of_keys("KeysOfFunctions", |policy| policy.keys_of(policy.functions()), None);

/// The networks of functions in a VPC.
const NETWORKS: Scope = Scope {
    condition: Some(in_region),
    why: Some("IAM has no resource type for calls that describe networks, so it is restricted to the region"),
    ..Scope::new("DescribeNetworks", networks)
};

fn networks(policy: &PolicyBuilder<'_>) -> Vec<String> {
    if functions_with(policy, VPC).is_empty() { Vec::new() } else { vec!["*".to_owned()] }
}

/// The archives in S3 with the functions' code.
const OBJECTS: Scope = Scope::new("CodeInS3", |policy| objects(policy, |_| true));
/// Those with a version.
const VERSIONS: Scope = Scope::new("CodeInS3", |policy| objects(policy, |version| version.is_some()));

fn objects(policy: &PolicyBuilder<'_>, is_needed: fn(Option<&str>) -> bool) -> Vec<String> {
    let objects = references(policy).filter_map(|it| match it {
        CodeReference::Object(object) => {
            let (arn, version) = object.arn(policy.env.partition);
            is_needed(version).then_some(arn)
        }
        CodeReference::Image(_) => None,
    });
    objects.collect::<BTreeSet<_>>().into_iter().collect()
}

fn references(policy: &PolicyBuilder<'_>) -> impl Iterator<Item = CodeReference> {
    policy.functions().filter_map(|it| CodeReference::of(&it.desired.get("code")?.into()))
}

/// The repositories of the functions' images. Those of other accounts are allowed by their own
/// policies (docs.aws.amazon.com/lambda/latest/dg/images-create.html#gettingstarted-images-permissions).
const REPOSITORIES: Scope = Scope::new("Repositories", repositories);

fn repositories(policy: &PolicyBuilder<'_>) -> Vec<String> {
    let repositories = references(policy).filter_map(|it| match it {
        CodeReference::Image(image) => {
            let (account, region, name) = reference::repository(&image.uri)?;
            Some(format!("arn:{}:ecr:{region}:{account}:repository/{name}", policy.env.partition))
        }
        CodeReference::Object(_) => None,
    });
    repositories.collect::<BTreeSet<_>>().into_iter().collect()
}

/// The code signing configurations of the functions.
const SIGNING_CONFIGS: Scope = Scope::new("CodeSigning", |policy| {
    let configs = policy.functions().filter_map(|it| policy.text(it.desired.get(SIGNING)));
    configs.collect::<BTreeSet<_>>().into_iter().collect()
});

/// docs.aws.amazon.com/lambda/latest/dg/images-create.html#gettingstarted-images-permissions
const fn repository(action: &'static str) -> ImpliedPermission {
    let why = "Lambda lets itself pull a function's image with the caller's permissions";
    ImpliedPermission { action, grant: (&REPOSITORIES, &[Apply]), why, property: Some("code") }
}

/// docs.aws.amazon.com/lambda/latest/api/API_FunctionCode.html
const fn object(action: &'static str, scope: &'static Scope) -> ImpliedPermission {
    let why = "Lambda reads code in S3 with the caller's permissions";
    ImpliedPermission { action, grant: (scope, &[Apply]), why, property: Some("code") }
}

/// docs.aws.amazon.com/lambda/latest/dg/configuration-envvars-encryption.html
const fn key(action: &'static str, used_by: &'static [Purpose], why: &'static str) -> ImpliedPermission {
    ImpliedPermission { action, grant: (&FUNCTION_KEYS, used_by), why, property: Some("kms_key_arn") }
}

/// docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html#configuration-vpc-permissions
const fn network(action: &'static str) -> ImpliedPermission {
    let why = "Lambda checks a function's subnets and security groups with the caller's permissions";
    ImpliedPermission { action, grant: (&NETWORKS, &[Apply]), why, property: Some(VPC) }
}

const PASS_ROLE: ImpliedPermission = ImpliedPermission {
    action: "iam:PassRole",
    grant: (&PASSED_ROLES, &[Apply]),
    why: "CreateFunction passes the role to Lambda, and so does UpdateFunctionConfiguration if the role changes",
    property: Some("role"),
};
/// docs.aws.amazon.com/lambda/latest/dg/tags-esm.html#esm-tags-required-permissions
const READ_TAGS: ImpliedPermission = ImpliedPermission {
    action: "lambda:ListTags",
    grant: (&FUNCTIONS, &[Diff, Apply, Destroy, Dev, Verify, Logs, Check]),
    why: "GetFunction requires it if the function has tags",
    property: None,
};
/// docs.aws.amazon.com/lambda/latest/dg/adding-layers.html
const READ_LAYERS: ImpliedPermission = ImpliedPermission {
    action: "lambda:GetLayerVersion",
    grant: (&LAYERS, &[Apply]),
    why: "adding a layer to a function requires permission to read the layer",
    property: Some("layers"),
};

const fn call(action: &'static str, effect: Effect, wire: Wire, grants: &'static [Grant]) -> Operation {
    Operation::new(Service::LAMBDA, action, effect, wire, &limits::CONTROL_PLANE, grants).of_kind("function")
}

/// A call about the function in the path.
const fn of(action: &'static str, effect: Effect, wire: Wire, grants: &'static [Grant]) -> Operation {
    call(action, effect, wire, grants).on(&FUNCTION, At::Path("function"), Takes::Either)
}

/// A call about the tags of the function in the path.
const fn tags(action: &'static str, method: &'static str, grants: &'static [Grant]) -> Operation {
    call(action, Effect::Write, Rest(method, LAMBDA_TAGS), grants).on(&FUNCTION, At::Path("arn"), Takes::Arn)
}

/// The path of everything about tags.
pub(crate) const LAMBDA_TAGS: &str = "/2017-03-31/tags/{arn}";
const FUNCTION_PATH: &str = "/2015-03-31/functions/{function}";
const CODE: &str = "/2015-03-31/functions/{function}/code";
const CONFIGURATION: &str = "/2015-03-31/functions/{function}/configuration";
const CONCURRENCY: &str = "/2017-10-31/functions/{function}/concurrency";
const ASYNC_PATH: &str = "/2019-09-25/functions/{function}/event-invoke-config";
const SIGNING_PATH: &str = "/2020-06-30/functions/{function}/code-signing-config";
const URL_PATH: &str = "/2021-10-31/functions/{function}/url";
const ALL: &str = "/2015-03-31/functions";
const INVOCATIONS: &str = "/2015-03-31/functions/{function}/invocations";

/// Commands that compare the settings that GetFunction doesn't show. Imported functions are not
/// compared.
const DETAILS: Grant = (&Scope { imported: None, ..FUNCTIONS }, &[Diff, Apply, Verify, Check]);
/// The functions, if any of them has a property that takes separate calls.
const WITH_ASYNC: Grant = (&Scope { resources: |policy| functions_with(policy, ASYNC), ..FUNCTIONS }, &[Apply]);
const WITH_SIGNING: Grant = (&Scope { resources: |policy| functions_with(policy, SIGNING), ..FUNCTIONS }, &[Apply]);
const WITH_URL: Grant = (&Scope { resources: |policy| functions_with(policy, URL), ..FUNCTIONS }, &[Apply]);

fn functions_with(policy: &PolicyBuilder<'_>, property: &str) -> Vec<String> {
    let has = |it: &ResourceDecl| it.desired.get(property).is_some_and(|value| *value != Value::Null);
    if policy.functions().any(has) { policy.of_team(&FUNCTION) } else { Vec::new() }
}

pub(super) const OPERATIONS: &[Operation] = &[
    call("lambda:CreateFunction", Effect::Create, Rest("POST", ALL), &[(&FUNCTIONS, &[Apply])])
        .on(&FUNCTION, At::Body("FunctionName"), Takes::Either)
        .implying(&[
            PASS_ROLE,
            READ_LAYERS,
            key("kms:CreateGrant", &[Apply], "Lambda gets access to a function's KMS key by a grant"),
            key("kms:Encrypt", &[Apply], "Lambda encrypts a function's variables with the caller's permissions"),
            network("ec2:DescribeSecurityGroups"),
            network("ec2:DescribeSubnets"),
            network("ec2:DescribeVpcs"),
            object("s3:GetObject", &OBJECTS),
            object("s3:GetObjectVersion", &VERSIONS),
            repository("ecr:GetRepositoryPolicy"),
            repository("ecr:SetRepositoryPolicy"),
        ]),
    of("lambda:CreateFunctionUrlConfig", Effect::Write, Rest("POST", URL_PATH), &[WITH_URL]).in_place(),
    of("lambda:DeleteFunction", Effect::Write, Rest("DELETE", FUNCTION_PATH), &[(&FUNCTIONS, DELETE)]),
    // It removes only a setting.
    of(
        "lambda:DeleteFunctionCodeSigningConfig",
        Effect::Write,
        Rest("DELETE", SIGNING_PATH),
        &[(&FUNCTIONS, &[Apply])],
    )
    .in_place(),
    // The same.
    of("lambda:DeleteFunctionConcurrency", Effect::Write, Rest("DELETE", CONCURRENCY), &[(&FUNCTIONS, &[Apply])])
        .in_place(),
    // The same.
    of("lambda:DeleteFunctionEventInvokeConfig", Effect::Write, Rest("DELETE", ASYNC_PATH), &[(&FUNCTIONS, &[Apply])])
        .in_place(),
    of("lambda:DeleteFunctionUrlConfig", Effect::Write, Rest("DELETE", URL_PATH), &[(&FUNCTIONS, &[Apply])]).in_place(),
    Operation {
        limit: &limits::GET_FUNCTION,
        implied: &[
            READ_TAGS,
            key("kms:Decrypt", READ_ONE, "GetFunction decrypts a function's variables with the caller's permissions"),
        ],
        ..of(
            "lambda:GetFunction",
            Effect::Read,
            Rest("GET", FUNCTION_PATH),
            &[(&FUNCTIONS, &[Diff, Apply, Destroy, Dev, Verify, Logs, Check])],
        )
    },
    of("lambda:GetFunctionCodeSigningConfig", Effect::Read, Rest("GET", SIGNING_PATH), &[DETAILS]),
    of("lambda:GetFunctionEventInvokeConfig", Effect::Read, Rest("GET", ASYNC_PATH), &[DETAILS]),
    of(
        "lambda:GetFunctionUrlConfig",
        Effect::Read,
        Rest("GET", URL_PATH),
        &[(&FUNCTIONS, &[Diff, Apply, Verify, Check])],
    ),
    // docs.aws.amazon.com/lambda/latest/api/API_Invoke.html
    Operation {
        name: "Invoke",
        limit: &limits::INVOCATIONS,
        ..of(
            "lambda:InvokeFunction",
            Effect::Invoke,
            Rest("POST", INVOCATIONS),
            &[(&Scope { imported: None, ..FUNCTIONS }, &[Dev]), (&ALLOWED, &[Dev])],
        )
    },
    call("lambda:ListFunctions", Effect::Read, Rest("GET", ALL), &[(&Scope::LISTS, PLAN)]),
    of(
        "lambda:PutFunctionCodeSigningConfig",
        Effect::Write,
        Rest("PUT", SIGNING_PATH),
        &[WITH_SIGNING, (&SIGNING_CONFIGS, &[Apply])],
    )
    .in_place(),
    of("lambda:PutFunctionConcurrency", Effect::Write, Rest("PUT", CONCURRENCY), &[(&FUNCTIONS, &[Apply])]).in_place(),
    of("lambda:PutFunctionEventInvokeConfig", Effect::Write, Rest("PUT", ASYNC_PATH), &[WITH_ASYNC]).in_place(),
    tags("lambda:TagResource", "POST", &[(&FUNCTIONS, &[Apply])]),
    tags("lambda:UntagResource", "DELETE", &[(&FUNCTIONS, DELETE)]),
    of("lambda:UpdateFunctionCode", Effect::Write, Rest("PUT", CODE), &[(&FUNCTIONS, &[Apply, Dev])]).in_place(),
    of("lambda:UpdateFunctionConfiguration", Effect::Write, Rest("PUT", CONFIGURATION), &[(&FUNCTIONS, &[Apply, Dev])])
        .in_place(),
    of("lambda:UpdateFunctionUrlConfig", Effect::Write, Rest("PUT", URL_PATH), &[WITH_URL]).in_place(),
];
