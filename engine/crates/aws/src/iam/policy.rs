//! Least-privilege IAM policies for a spec: for deploying it, and for the execution roles of its functions.
//!
//! One table lists which permission each call requires, and on which resources. A test compares it with
//! [`OPERATIONS`](crate::aws::guard), so that no call lacks its permission. Resource types and condition keys are in AWS's
//! service authorization reference: docs.aws.amazon.com/service-authorization/latest/reference/list_amazondynamodb.html, …/list_awslambda.html,
//! …/list_awsidentityandaccessmanagementiam.html, …/list_amazoncloudwatchlogs.html,
//! …/list_amazonresourcegrouptaggingapi.html.
//!
//! **Invariant:** pure: a spec and a site in, a document out. No action is a pattern, and a statement that no ARN can
//! restrict has a condition or a reason why not.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::aws::trust::LAMBDA;
use crate::kinds::default_log_group;
use crate::schema::{Site, TAG_TEAM, partition_of};
use crate::spec::{Declared, Spec};
use crate::value::{Hole, Value};

use Purpose::{Apply, Check, Destroy, Diff, Logs, Verify};

/// The maximum number of characters of a managed policy, without whitespace
/// (docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html).
pub const MAX_CHARACTERS: usize = 6144;

/// The commands that a policy must allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// `diff`, `output` and `list`
    Diff,
    /// `apply` and `forget`
    Apply,
    /// `destroy`
    Destroy,
    /// `verify`
    Verify,
    /// `logs`
    Logs,
    /// `preflight`
    Check,
    /// All commands
    All,
}

impl Purpose {
    /// Whether it includes one of these commands.
    fn includes(self, commands: &[Purpose]) -> bool {
        self == Purpose::All || commands.contains(&self)
    }

    /// Whether only resources in the spec are read: without pruning, nothing is listed by prefix.
    fn keeps_to_the_spec(self) -> bool {
        matches!(self, Verify | Logs | Check)
    }
}

/// The resources on which an action is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// The team's tables.
    Tables,
    /// The team's functions.
    Functions,
    /// The same, for the statements in their policies.
    Permissions,
    /// The mappings of the team's functions.
    Mappings,
    /// A mapping that has no ARN yet.
    NewMappings,
    /// Mappings that get the team's tags.
    TaggedMappings,
    /// Mappings that have the team's tags.
    OwnMappings,
    /// All mappings, because only their tags show the owner.
    AnyMappings,
    /// The roles of the spec.
    Roles,
    /// Roles that are allowed to invoke functions.
    Principals,
    /// The permissions policies of the roles.
    RolesPolicies,
    /// The permissions of the caller.
    Caller,
    /// The roles of the functions, when they are passed to Lambda.
    PassedRoles,
    /// The managed policies that may be attached to the roles.
    Policies,
    /// The log groups of the functions.
    LogGroups,
    /// The layers of the functions.
    Layers,
    /// The keys of the tables.
    Keys,
    /// List calls, for which IAM has no resource type.
    Lists,
    /// Requires no permission.
    Free,
}

/// Commands that read what the spec declares.
const LOOK: &[Purpose] = &[Diff, Apply, Destroy, Verify, Check];
/// Commands that also look for orphans.
const SEARCH: &[Purpose] = &[Diff, Apply, Destroy];
/// Commands that delete.
const REMOVE: &[Purpose] = &[Apply, Destroy];

/// Each call by the action of the same name that it requires, its resources, and the commands that make it; several rows
/// if an action applies to several resources.
const CALLS: [(&str, Scope, &[Purpose]); 49] = [
    ("dynamodb:CreateTable", Scope::Tables, &[Apply]),
    ("dynamodb:DeleteItem", Scope::Tables, &[Verify]),
    ("dynamodb:DeleteTable", Scope::Tables, REMOVE),
    ("dynamodb:DescribeContinuousBackups", Scope::Tables, LOOK),
    ("dynamodb:DescribeTable", Scope::Tables, LOOK),
    ("dynamodb:DescribeTimeToLive", Scope::Tables, LOOK),
    ("dynamodb:ListTables", Scope::Lists, SEARCH),
    ("dynamodb:ListTagsOfResource", Scope::Tables, LOOK),
    ("dynamodb:PutItem", Scope::Tables, &[Verify]),
    ("dynamodb:Scan", Scope::Tables, &[Diff, Apply, Destroy, Verify]),
    ("dynamodb:TagResource", Scope::Tables, &[Apply]),
    ("dynamodb:UntagResource", Scope::Tables, REMOVE),
    ("dynamodb:UpdateContinuousBackups", Scope::Tables, &[Apply]),
    ("dynamodb:UpdateItem", Scope::Tables, &[Verify]),
    ("dynamodb:UpdateTable", Scope::Tables, &[Apply]),
    ("dynamodb:UpdateTimeToLive", Scope::Tables, &[Apply]),
    ("iam:GetPolicy", Scope::Policies, &[Check]),
    ("iam:GetPolicyVersion", Scope::Policies, &[Check]),
    ("iam:GetRole", Scope::Roles, &[Diff, Apply, Verify, Check]),
    ("iam:GetRole", Scope::Principals, &[Apply]),
    ("iam:GetRolePolicy", Scope::RolesPolicies, &[Check]),
    ("iam:ListAttachedRolePolicies", Scope::RolesPolicies, &[Check]),
    ("iam:ListRolePolicies", Scope::RolesPolicies, &[Check]),
    // docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html
    ("iam:SimulatePrincipalPolicy", Scope::RolesPolicies, &[Apply, Check]),
    ("iam:SimulatePrincipalPolicy", Scope::Caller, &[Apply, Check]),
    ("lambda:AddPermission", Scope::Permissions, &[Apply]),
    ("lambda:CreateEventSourceMapping", Scope::NewMappings, &[Apply]),
    ("lambda:CreateFunction", Scope::Functions, &[Apply]),
    ("lambda:DeleteEventSourceMapping", Scope::Mappings, REMOVE),
    ("lambda:DeleteFunction", Scope::Functions, REMOVE),
    ("lambda:DeleteFunctionConcurrency", Scope::Functions, &[Apply]),
    ("lambda:GetEventSourceMapping", Scope::Mappings, LOOK),
    ("lambda:GetFunction", Scope::Functions, &[Diff, Apply, Destroy, Verify, Logs, Check]),
    ("lambda:GetPolicy", Scope::Permissions, LOOK),
    ("lambda:ListEventSourceMappings", Scope::Lists, &[Diff, Apply, Destroy, Verify, Logs, Check]),
    ("lambda:ListFunctions", Scope::Lists, SEARCH),
    ("lambda:ListTags", Scope::AnyMappings, LOOK),
    ("lambda:PutFunctionConcurrency", Scope::Functions, &[Apply]),
    ("lambda:RemovePermission", Scope::Permissions, REMOVE),
    ("lambda:TagResource", Scope::Functions, &[Apply]),
    ("lambda:TagResource", Scope::TaggedMappings, &[Apply]),
    ("lambda:UntagResource", Scope::Functions, REMOVE),
    ("lambda:UntagResource", Scope::OwnMappings, REMOVE),
    ("lambda:UpdateEventSourceMapping", Scope::Mappings, &[Apply]),
    ("lambda:UpdateFunctionCode", Scope::Functions, &[Apply]),
    ("lambda:UpdateFunctionConfiguration", Scope::Functions, &[Apply]),
    ("logs:FilterLogEvents", Scope::LogGroups, &[Verify, Logs]),
    ("sts:GetCallerIdentity", Scope::Free, &[Diff, Apply, Destroy, Verify, Logs, Check]),
    ("tag:GetResources", Scope::Lists, SEARCH),
];

/// Permissions without a call of that name, and why they are required.
pub const ALONG: [(&str, Scope, &[Purpose], &str); 10] = [
    (
        "iam:PassRole",
        Scope::PassedRoles,
        &[Apply],
        "CreateFunction passes the role to Lambda, and so does UpdateFunctionConfiguration if the role changes",
    ),
    // docs.aws.amazon.com/lambda/latest/dg/tags-esm.html#esm-tags-required-permissions
    (
        "lambda:ListTags",
        Scope::Functions,
        &[Diff, Apply, Destroy, Verify, Logs, Check],
        "GetFunction requires it if the function has tags",
    ),
    // docs.aws.amazon.com/lambda/latest/dg/adding-layers.html
    (
        "lambda:GetLayerVersion",
        Scope::Layers,
        &[Apply],
        "adding a layer to a function requires permission to read the layer",
    ),
    // docs.aws.amazon.com/kms/latest/developerguide/services-dynamodb.html
    ("kms:Decrypt", Scope::Keys, LOOK, KEYS),
    ("kms:CreateGrant", Scope::Keys, &[Apply], KEYS),
    ("kms:DescribeKey", Scope::Keys, &[Apply, Verify], KEYS),
    ("kms:Encrypt", Scope::Keys, &[Apply, Verify], KEYS),
    ("kms:GenerateDataKey", Scope::Keys, &[Apply, Verify], KEYS),
    ("kms:ReEncryptFrom", Scope::Keys, &[Apply, Verify], KEYS),
    ("kms:ReEncryptTo", Scope::Keys, &[Apply, Verify], KEYS),
];
const KEYS: &str = "DynamoDB uses a table's customer managed key with the caller's permissions";

/// A policy document, with the fields in IAM's usual order.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Document {
    version: &'static str,
    /// Its statements.
    pub statement: Vec<Statement>,
}

/// One statement of a policy.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Statement {
    /// Its name; statements whose name starts with `Optional` can be omitted.
    pub sid: &'static str,
    effect: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<Json>,
    action: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resource: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    condition: Option<Json>,
    /// Why it isn't more restrictive, if the team's ARNs can't restrict it.
    #[serde(skip)]
    pub why: Option<&'static str>,
}

/// The policies of a role.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RolePolicies {
    /// Its trust policy.
    pub trust: Document,
    /// Its permissions policy.
    pub permissions: Document,
}

impl Document {
    fn new(statement: Vec<Statement>) -> Document {
        Document { version: "2012-10-17", statement }
    }

    /// Each action and resource that is allowed without a condition; `*` at the end is replaced by a name.
    pub fn needs(&self) -> Vec<(&'static str, String)> {
        let plain = self.statement.iter().filter(|it| it.condition.is_none());
        let pairs = plain.flat_map(|it| {
            let any = |resource: &String| match resource.strip_suffix('*') {
                Some(start) if !start.is_empty() => format!("{start}any"),
                _ => resource.clone(),
            };
            it.action.iter().flat_map(move |action| it.resource.iter().map(move |resource| (*action, any(resource))))
        });
        pairs.collect()
    }

    /// Whether a resource in it is named only by the team's prefix.
    pub fn goes_by_prefix(&self, team: &str) -> bool {
        let resources = self.statement.iter().flat_map(|it| &it.resource);
        resources.into_iter().any(|arn| arn.contains(&format!("{team}-*")))
    }

    /// The number of characters that IAM counts, without whitespace.
    pub fn n_characters(&self) -> usize {
        serde_json::to_string(self).map_or(usize::MAX, |text| text.chars().filter(|c| !c.is_whitespace()).count())
    }
}

/// The least-privilege policy for running these commands on the spec.
///
/// Managed resources are named by the team's prefix, because pruning deletes orphans, of which only the prefix is known.
/// Without pruning, resources are named individually if IAM's size limit allows it. Kinds that aren't in the spec are
/// only searched for and deleted. Imported resources are named individually and only read.
pub fn deploying(spec: &Spec, site: &Site, purpose: Purpose) -> Document {
    narrowest(spec, site, purpose.keeps_to_the_spec(), |ground| ground.deploying(purpose))
}

/// The document with individual names, if it is requested and within IAM's size limit, otherwise the one with prefixes.
fn narrowest(spec: &Spec, site: &Site, exact: bool, document: impl Fn(&Ground<'_>) -> Document) -> Document {
    let by_prefix = || document(&Ground { spec, site, exact: false });
    match exact.then(|| document(&Ground { spec, site, exact: true })) {
        Some(exact) if exact.n_characters() <= MAX_CHARACTERS => exact,
        _ => by_prefix(),
    }
}

/// The policies of each role in the spec, by name: imported roles, and those that functions name by ARN.
pub fn roles(spec: &Spec, site: &Site) -> BTreeMap<String, RolePolicies> {
    let mut roles: BTreeMap<String, Vec<&Declared>> = BTreeMap::new();
    let ground = Ground { spec, site, exact: true };
    for role in spec.resources.iter().filter(|it| it.schema().kind == "role") {
        roles.entry(role.id.name.clone()).or_default();
    }
    for function in ground.functions() {
        if let Some((name, _)) = ground.role(function) {
            roles.entry(name).or_default().push(function);
        }
    }
    let policies = |functions: Vec<&Declared>| {
        let permissions = narrowest(spec, site, true, |ground| running(ground, &functions));
        RolePolicies { trust: trust(), permissions }
    };
    roles.into_iter().map(|(name, functions)| (name, policies(functions))).collect()
}

fn trust() -> Document {
    Document::new(vec![Statement {
        principal: Some(json!({ "Service": LAMBDA })),
        ..allow("LambdaRunsFunctions", "sts:AssumeRole", Vec::new(), None, None)
    }])
}

/// What these functions do with their role
/// (docs.aws.amazon.com/lambda/latest/dg/services-ddb.html, …/dg/lambda-intro-execution-role.html).
fn running(ground: &Ground<'_>, functions: &[&Declared]) -> Document {
    let site = ground.site;
    let mut statements = Vec::new();
    let mut add = |sid, actions: &[&'static str], resources: Vec<String>, condition: Option<Json>, why| {
        let of = actions.iter().map(|action| allow(sid, action, resources.clone(), condition.clone(), why));
        statements.extend(of);
    };
    for function in functions {
        let logs = match ground.text(function.desired.get("log_group")) {
            Some(group) if ground.exact || group != default_log_group(&function.id.name) => log_group(site, &group),
            _ => vec![site_arn(site, "logs", &format!("log-group:{}", default_log_group(&ground.prefix("-"))))],
        };
        add("WriteLogs", &["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"], logs, None, None);
        if ground.text(function.desired.get("tracing")).as_deref() == Some("Active") {
            let actions = ["xray:PutTelemetryRecords", "xray:PutTraceSegments"];
            add("Trace", &actions, vec!["*".to_owned()], None, Some("IAM has no resource type for X-Ray traces"));
        }
        if let Some(target) = ground.text(function.desired.get("dead_letter_target_arn")) {
            send(&mut add, &target);
        }
        for mapping in ground.mappings(&function.id.name) {
            let (stream, table) = ground.stream(mapping);
            let stream = match table {
                Some(table) if !ground.exact && !table.imported => {
                    site_arn(site, "dynamodb", &format!("table/{}/stream/*", ground.prefix("-")))
                }
                _ => stream,
            };
            let reads = ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"];
            add("ReadStreams", &reads, vec![stream], None, None);
            let lists = Some("IAM has no resource type for listing streams, so it is restricted to the region");
            add("ListStreams", &["dynamodb:ListStreams"], vec!["*".to_owned()], Some(in_region(site)), lists);
            if let Some(key) = table.and_then(|table| ground.text(table.desired.get("kms_key_arn"))) {
                add("DecryptStreams", &["kms:Decrypt"], vec![key], Some(via_dynamodb(site)), None);
            }
            if let Some(target) = ground.text(mapping.desired.get("on_failure_destination_arn")) {
                send(&mut add, &target);
            }
        }
    }
    Document::new(merged(statements))
}

/// The permissions to send to a queue, a topic or a bucket
/// (docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html).
fn send(
    add: &mut impl FnMut(&'static str, &[&'static str], Vec<String>, Option<Json>, Option<&'static str>),
    target: &str,
) {
    match target.split(':').nth(2) {
        Some("sqs") => add("SendToQueues", &["sqs:SendMessage"], vec![target.to_owned()], None, None),
        Some("sns") => add("PublishToTopics", &["sns:Publish"], vec![target.to_owned()], None, None),
        Some("s3") => {
            add("ListBuckets", &["s3:ListBucket"], vec![target.to_owned()], None, None);
            add("PutIntoBuckets", &["s3:PutObject"], vec![format!("{target}/*")], None, None);
        }
        _ => {}
    }
}

/// The input for a document.
#[derive(Clone, Copy)]
struct Ground<'s> {
    spec: &'s Spec,
    site: &'s Site,
    /// Whether managed resources are named individually instead of by the team's prefix.
    exact: bool,
}

impl<'s> Ground<'s> {
    /// The permissions for the commands of a purpose.
    fn deploying(&self, purpose: Purpose) -> Document {
        let along = ALONG.iter().map(|(action, scope, commands, _)| (*action, *scope, *commands));
        let mut statements: Vec<Statement> = Vec::new();
        for (action, scope, commands) in CALLS.into_iter().chain(along) {
            if !purpose.includes(commands) || !self.has(scope, commands) {
                continue;
            }
            statements.extend(self.statement(scope, action));
            // Planning reads imported resources, but never the items of an imported table.
            let planned = commands.contains(&Diff) && purpose.includes(&[Diff, Apply, Verify, Check]);
            let logged = commands.contains(&Logs) && purpose.includes(&[Logs]);
            if (planned && action != "dynamodb:Scan") || logged {
                statements.extend(self.imported(scope, action));
            }
        }
        Document::new(merged(statements))
    }

    /// Whether the spec needs the permission. Commands that prune need it even for kinds that the spec doesn't have.
    fn has(&self, scope: Scope, commands: &[Purpose]) -> bool {
        let kind = match scope {
            Scope::Tables => "table",
            Scope::Functions => "function",
            Scope::Permissions => "permission",
            Scope::Mappings | Scope::NewMappings | Scope::TaggedMappings => "mapping",
            _ => return true,
        };
        commands.contains(&Diff) || commands.contains(&Destroy) || self.spec.managed(kind).next().is_some()
    }

    fn functions(&self) -> impl Iterator<Item = &'s Declared> {
        self.spec.managed("function")
    }

    fn mappings(&self, function: &str) -> impl Iterator<Item = &'s Declared> {
        self.spec.managed("mapping").filter(move |it| it.host().is_some_and(|(_, name)| name == function))
    }

    /// One permission as a statement; `None` if there are no resources for it.
    fn statement(&self, scope: Scope, action: &'static str) -> Option<Statement> {
        let site = self.site;
        let anywhere = || vec!["*".to_owned()];
        let of_functions = || Some(json!({ "ArnLike": { "lambda:FunctionArn": self.ours("function") } }));
        let mappings = || vec![site_arn(site, "lambda", "event-source-mapping:*")];
        let (sid, resources, condition, why) = match scope {
            // An empty condition would match everything.
            Scope::Mappings | Scope::NewMappings if self.ours("function").is_empty() => return None,
            Scope::Tables => ("Tables", self.ours("table"), None, None),
            Scope::Functions | Scope::Permissions => ("Functions", self.ours("function"), None, None),
            Scope::Mappings => ("Mappings", mappings(), of_functions(), Some(UUID)),
            Scope::NewMappings => (
                "NewMappings",
                anywhere(),
                of_functions(),
                Some("a mapping has no ARN before it is created, so the condition restricts its function"),
            ),
            Scope::TaggedMappings => {
                // New and adopted mappings have no tags yet.
                let ours = json!({
                    "StringEquals": { format!("aws:RequestTag/{TAG_TEAM}"): self.spec.team },
                    "StringEqualsIfExists": { format!("aws:ResourceTag/{TAG_TEAM}"): self.spec.team },
                });
                ("TagMappings", mappings(), Some(ours), Some(UUID))
            }
            Scope::OwnMappings => {
                let ours = json!({ "StringEquals": { format!("aws:ResourceTag/{TAG_TEAM}"): self.spec.team } });
                ("UntagMappings", mappings(), Some(ours), Some(UUID))
            }
            Scope::AnyMappings => (
                "TagsOfMappings",
                mappings(),
                None,
                Some("a mapping's tags show its owner, and IAM has no condition on its function for reading them"),
            ),
            Scope::Roles => ("Roles", self.roles(), None, None),
            Scope::Principals => ("OptionalPrincipals", self.principals(), None, Some(PRINCIPALS)),
            Scope::RolesPolicies => ("OptionalRolesPolicies", self.roles(), None, Some(OPTIONAL)),
            Scope::Caller => {
                // User names are unique regardless of the path.
                let of =
                    |path: &str| format!("arn:{}:iam::{}:user{path}${{aws:username}}", site.partition, site.account);
                ("OptionalCaller", vec![of("/"), of("/*/")], None, Some(CALLER))
            }
            Scope::PassedRoles => {
                ("PassRole", self.passed(), Some(json!({ "StringEquals": { "iam:PassedToService": LAMBDA } })), None)
            }
            Scope::Policies if self.roles().is_empty() => return None,
            Scope::Policies => {
                let of = |account: &str| format!("arn:{}:iam::{account}:policy/*", site.partition);
                ("OptionalManagedPolicies", vec![of(&site.account), of("aws")], None, Some(OPTIONAL))
            }
            Scope::LogGroups => ("Logs", self.log_groups(), None, None),
            Scope::Layers => ("Layers", self.layers(), None, None),
            Scope::Keys => ("KeysOfTables", self.keys(), Some(via_dynamodb(site)), None),
            Scope::Lists => (
                "Lists",
                anywhere(),
                Some(in_region(site)),
                Some("IAM has no resource type for list calls, so it is restricted to the region"),
            ),
            Scope::Free => return None,
        };
        (!resources.is_empty()).then(|| allow(sid, action, resources, condition, why))
    }

    /// The same permission on imported resources.
    fn imported(&self, scope: Scope, action: &'static str) -> Option<Statement> {
        let (sid, kind) = match scope {
            Scope::Tables => ("ImportedTables", "table"),
            Scope::Functions => ("ImportedFunctions", "function"),
            Scope::LogGroups => ("ImportedLogs", "function"),
            _ => return None,
        };
        let imported = self.spec.resources.iter().filter(|it| it.imported && it.schema().kind == kind);
        let resources: Vec<String> = match scope {
            Scope::LogGroups => imported.flat_map(|it| log_group(self.site, &default_log_group(&it.id.name))).collect(),
            _ => imported.map(|it| self.arn(it)).collect(),
        };
        let why = (scope == Scope::LogGroups).then_some("the log group of an imported function isn't known in advance");
        (!resources.is_empty()).then(|| allow(sid, action, resources, None, why))
    }

    /// `acme-*`, for the team's resources; `_` or `.` instead of `-` if the spec uses it.
    fn prefix(&self, mark: &str) -> String {
        format!("{}{mark}*", self.spec.team)
    }

    /// The ARNs of the team's tables or functions.
    fn ours(&self, kind: &'static str) -> Vec<String> {
        if self.exact {
            return self.spec.managed(kind).map(|it| self.arn(it)).collect();
        }
        let marks = ["-", "_", "."].into_iter().filter(|mark| {
            let begins =
                |it: &Declared| it.id.name.strip_prefix(&self.spec.team).is_some_and(|it| it.starts_with(mark));
            *mark == "-" || self.spec.managed(kind).any(begins)
        });
        marks.map(|mark| self.arn_of(kind, &self.prefix(mark))).collect()
    }

    fn arn_of(&self, kind: &str, name: &str) -> String {
        match kind {
            "table" => site_arn(self.site, "dynamodb", &format!("table/{name}")),
            _ => site_arn(self.site, "lambda", &format!("function:{name}")),
        }
    }

    fn arn(&self, declared: &Declared) -> String {
        declared.id.arn.clone().unwrap_or_else(|| self.arn_of(&declared.schema().kind, &declared.id.name))
    }

    /// The ARNs of an imported role, with any path if the spec has none: role names are unique regardless of the path
    /// (docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html).
    fn role_arns(&self, role: &Declared) -> Vec<String> {
        let of =
            |path: &str| format!("arn:{}:iam::{}:role{path}{}", self.site.partition, self.site.account, role.id.name);
        match (&role.id.arn, self.text(role.desired.get("path"))) {
            (Some(arn), _) => vec![arn.clone()],
            (None, Some(path)) => vec![of(&path)],
            (None, None) => vec![of("/"), of("/*/")],
        }
    }

    /// The name and the ARNs of a function's role.
    fn role(&self, function: &Declared) -> Option<(String, Vec<String>)> {
        if let Some(role) = self.spec.target(function, "role") {
            return Some((role.id.name.clone(), self.role_arns(role)));
        }
        let arn = self.text(function.desired.get("role"))?;
        Some((self.spec.kinds.name_in_arn(&arn).to_owned(), vec![arn]))
    }

    fn roles(&self) -> Vec<String> {
        let imported = self.spec.resources.iter().filter(|it| it.schema().kind == "role");
        let arns = imported.flat_map(|role| self.role_arns(role)).chain(self.passed());
        arns.collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn passed(&self) -> Vec<String> {
        let arns = self.functions().filter_map(|it| self.role(it)).flat_map(|(_, arns)| arns);
        arns.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The roles of this account that permissions name.
    fn principals(&self) -> Vec<String> {
        let ours = format!("arn:{}:iam::{}:role/", self.site.partition, self.site.account);
        let named = self.spec.managed("permission").filter_map(|it| self.text(it.desired.get("principal")));
        named.filter(|arn| arn.starts_with(&ours)).collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn log_groups(&self) -> Vec<String> {
        let mut groups = BTreeSet::new();
        for function in self.functions() {
            let usual = default_log_group(&function.id.name);
            match self.text(function.desired.get("log_group")) {
                Some(group) if self.exact || group != usual => groups.extend(log_group(self.site, &group)),
                _ => groups.extend(self.ours("function").iter().map(|arn| {
                    let name = arn.rsplit(':').next().unwrap_or_default();
                    site_arn(self.site, "logs", &format!("log-group:{}", default_log_group(name)))
                })),
            }
        }
        groups.into_iter().collect()
    }

    fn layers(&self) -> Vec<String> {
        let lists = self.functions().filter_map(|it| it.desired.get("layers"));
        let layers = lists.filter_map(|list| match list {
            Value::List(layers) => Some(layers.iter().filter_map(|layer| self.text(Some(layer)))),
            _ => None,
        });
        layers.flatten().collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn keys(&self) -> Vec<String> {
        let keys = self.spec.managed("table").filter_map(|it| self.text(it.desired.get("kms_key_arn")));
        keys.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The stream that a mapping reads, with any label, and its table if it is in the spec.
    fn stream(&self, mapping: &Declared) -> (String, Option<&'s Declared>) {
        match self.spec.target(mapping, "event_source_arn") {
            Some(table) => (format!("{}/stream/*", self.arn(table)), Some(table)),
            None => (self.text(mapping.desired.get("event_source_arn")).unwrap_or_default(), None),
        }
    }

    /// A text of the spec, if it is known without AWS.
    fn text(&self, value: Option<&Value>) -> Option<String> {
        let output = |resource: &str, attribute: &str| {
            let declared = self.spec.resource(resource)?;
            declared.schema().computed(self.site, &declared.id.name).get(attribute).cloned()
        };
        let known = |placeholder: &Hole| self.site.fill(placeholder, output);
        value?.resolve(&known).as_str().map(str::to_owned)
    }
}

/// Why a mapping is not named.
const UUID: &str = "AWS assigns the UUID of a mapping, so a condition restricts the owner";
const OPTIONAL: &str = "optional: with it, `engine preflight` and `engine apply` can report more problems in advance";
const PRINCIPALS: &str =
    "with it, `engine apply` checks that a role exists before it replaces a permission for that role";
const CALLER: &str =
    "IAM has a policy variable for user names but not for role names; if you deploy with a role, add its ARN";

/// A log group and its streams: IAM uses both forms
/// (docs.aws.amazon.com/AmazonCloudWatch/latest/logs/iam-access-control-overview-cwl.html).
fn log_group(site: &Site, name: &str) -> Vec<String> {
    ["", ":*"].map(|rest| site_arn(site, "logs", &format!("log-group:{name}{rest}"))).to_vec()
}

fn site_arn(site: &Site, service: &str, resource: &str) -> String {
    format!("arn:{}:{service}:{}:{}:{resource}", site.partition, site.region, site.account)
}

fn in_region(site: &Site) -> Json {
    json!({ "StringEquals": { "aws:RequestedRegion": site.region } })
}

fn via_dynamodb(site: &Site) -> Json {
    // docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-via-service
    let domain = partition_of(&site.region).dns_suffix;
    json!({ "StringEquals": { "kms:ViaService": format!("dynamodb.{}.{domain}", site.region) } })
}

fn allow(
    sid: &'static str,
    action: &'static str,
    resource: Vec<String>,
    condition: Option<Json>,
    why: Option<&'static str>,
) -> Statement {
    Statement { sid, effect: "Allow", principal: None, action: vec![action], resource, condition, why }
}

/// Merges statements with the same name and condition; each action and resource occurs once.
fn merged(statements: Vec<Statement>) -> Vec<Statement> {
    let mut merged: Vec<Statement> = Vec::new();
    for statement in statements {
        let alike = |it: &&mut Statement| (it.sid, &it.condition) == (statement.sid, &statement.condition);
        match merged.iter_mut().find(alike) {
            Some(one) => {
                one.action.extend(statement.action);
                one.resource.extend(statement.resource);
            }
            None => merged.push(statement),
        }
    }
    for statement in &mut merged {
        statement.action.sort_unstable();
        statement.action.dedup();
        statement.resource.sort_unstable();
        statement.resource.dedup();
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::guard::OPERATIONS;

    #[test]
    fn every_call_has_its_action_and_every_action_its_call() {
        let prefix = |service: &str| if service == "tagging" { "tag".to_owned() } else { service.to_owned() };
        let calls: BTreeSet<String> =
            OPERATIONS.iter().map(|(service, name, _)| format!("{}:{name}", prefix(service))).collect();
        let actions: BTreeSet<String> = CALLS.iter().map(|(action, ..)| (*action).to_owned()).collect();
        assert_eq!(actions, calls);
        let doubled = ALONG.iter().find(|(action, scope, ..)| CALLS.iter().any(|it| (it.0, it.1) == (*action, *scope)));
        assert_eq!(doubled, None);
    }
}
