//! What functions do with their execution role: the permissions that follow from a spec, each with
//! its reasons.
//!
//! `engine policy --role` prints them for imported roles, and the roles that engine creates get
//! them as their policy.
//!
//! **Invariant:** pure: a spec and an environment in, statements out. ARNs follow from names alone,
//! so a statement makes no dependency.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::aws::trust::LAMBDA;
use crate::kinds::{EventSource, QUEUE, TABLE, default_log_group, destinations, printed, printed_document};
use crate::schema::{AwsEnv, Str};
use crate::spec::{ResourceDecl, Spec};
use crate::value::Value;

use super::policy::{
    Document, PolicyBuilder, Statement, allow, env_arn, in_region, key_grant, log_group, merged, n_characters,
    narrowest,
};

/// The policies of a role.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RolePolicies {
    /// Its trust policy.
    pub trust: RoleDocument,
    /// Its permissions policy.
    pub permissions: RoleDocument,
    /// The managed policies that it also gets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub managed_policy_arns: Vec<String>,
    /// Why no ARN restricts some statements of a role that engine manages, by their name.
    #[serde(skip)]
    pub notes: Vec<(Str, &'static str)>,
}

/// One policy of a role.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum RoleDocument {
    /// What a role needs that engine doesn't manage.
    Needed(Document),
    /// What `engine apply` gives a role that engine manages.
    Granted(Json),
}

impl RoleDocument {
    /// The number of characters that IAM counts, without whitespace.
    pub fn n_characters(&self) -> usize {
        match self {
            RoleDocument::Needed(document) => document.n_characters(),
            RoleDocument::Granted(document) => n_characters(document),
        }
    }
}

/// The name of the statement about the network interfaces of functions in a VPC.
pub(crate) const INTERFACES: &str = "UseNetworkInterfaces";

/// A value of the spec with everything that follows from names in this environment.
pub(crate) fn filled(spec: &Spec, env: &AwsEnv, value: &Value) -> Value {
    PolicyBuilder::exact(spec, env).filled(value)
}

/// The resource and the condition of a statement about a key, through a service.
pub(crate) fn key_grant_in(spec: &Spec, env: &AwsEnv, key: &str, service: &str) -> Option<(String, Option<Json>)> {
    key_grant(&PolicyBuilder::exact(spec, env), key, Some(service))
}

/// The policies of each role in the spec, by name, and of those that functions name by ARN.
pub fn roles(spec: &Spec, env: &AwsEnv) -> BTreeMap<String, RolePolicies> {
    let mut roles: BTreeMap<String, Vec<&ResourceDecl>> = BTreeMap::new();
    let policy = PolicyBuilder::exact(spec, env);
    for role in spec.resources.iter().filter(|it| it.schema().kind == "role") {
        roles.entry(role.id.name.clone()).or_default();
    }
    for function in policy.functions() {
        if let Some((name, _)) = policy.role(function) {
            roles.entry(name).or_default().push(function);
        }
    }
    let policies = |name: &str, functions: Vec<&ResourceDecl>| match spec.managed("role").find(|it| it.id.name == name)
    {
        Some(role) => granted(&policy, role, &functions),
        None => {
            let permissions = narrowest(spec, env, true, |policy| Document::new(statements(policy, &functions)));
            let [trust, permissions] = [trust(), permissions].map(RoleDocument::Needed);
            RolePolicies { trust, permissions, managed_policy_arns: Vec::new(), notes: Vec::new() }
        }
    };
    roles.into_iter().map(|(name, functions)| (name.clone(), policies(&name, functions))).collect()
}

/// What `engine apply` gives a role.
fn granted(policy: &PolicyBuilder<'_>, role: &ResourceDecl, functions: &[&ResourceDecl]) -> RolePolicies {
    let desired = |property: &str| policy.filled(role.desired.get(property).unwrap_or(&Value::Null));
    let managed_policy_arns = match desired("managed_policy_arns") {
        Value::List(arns) => arns.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    let notes = statements(policy, functions).into_iter().filter_map(|it| Some((it.sid, it.why?))).collect();
    RolePolicies {
        trust: RoleDocument::Granted(printed(&desired("assume_role_policy"))),
        permissions: RoleDocument::Granted(printed_document(&desired("policy"))),
        managed_policy_arns,
        notes,
    }
}

fn trust() -> Document {
    Document::new(vec![Statement {
        principal: Some(json!({ "Service": LAMBDA })),
        ..allow("LambdaRunsFunctions", "sts:AssumeRole", Vec::new(), None, None)
    }])
}

/// The permissions that these functions need of their role, with each resource by its own name.
pub(crate) fn of_functions(spec: &Spec, env: &AwsEnv, functions: &[&ResourceDecl]) -> Vec<Statement> {
    statements(&PolicyBuilder::exact(spec, env), functions)
}

/// A permission to ask IAM about.
#[derive(Debug, Clone, PartialEq)]
pub struct Needed {
    /// The action.
    pub action: Str,
    /// The ARNs under which a policy may allow it; one of them suffices.
    pub arns: Vec<String>,
    /// What needs it, as complete clauses.
    pub reasons: Vec<String>,
}

impl Needed {
    /// One action on one resource.
    pub fn one(action: &'static str, arn: &str) -> Needed {
        Needed { action: action.into(), arns: vec![arn.to_owned()], reasons: Vec::new() }
    }
}

/// What a function needs of a role that engine doesn't manage.
pub fn needed(spec: &Spec, env: &AwsEnv, function: &ResourceDecl) -> Vec<Needed> {
    let policy = PolicyBuilder::exact(spec, env);
    let statements = single(&policy, &[function]);
    let mut needed: Vec<Needed> = Vec::new();
    for statement in &statements {
        for action in &statement.action {
            let arns = asked_about(action, &statement.resource, &statements);
            match needed.iter_mut().find(|it| it.action == *action && it.arns == arns) {
                Some(known) => known.reasons.extend(statement.reasons.iter().cloned()),
                None => needed.push(Needed { action: action.clone(), arns, reasons: statement.reasons.clone() }),
            }
        }
    }
    needed
}

/// The ARNs under which a policy may allow an action: those of its statement, with a placeholder
/// for what policies can't sensibly name.
fn asked_about(action: &str, resources: &[String], others: &[Statement]) -> Vec<String> {
    let service = |action: &str| action.split(':').next().unwrap_or_default().to_owned();
    let is_all = |resource: &String| resource == "*";
    let mut arns: Vec<&String> = resources.iter().collect();
    // Many policies allow a list call on what the function uses, and what allows it on every
    // resource allows it on these too.
    if resources.iter().all(is_all) {
        let of_service = others.iter().filter(|it| it.action.iter().any(|it| service(it) == service(action)));
        let named: Vec<&String> = of_service.flat_map(|it| &it.resource).filter(|it| !is_all(it)).collect();
        arns = if named.is_empty() { arns } else { named };
    }
    // These two are about a group's streams (docs.aws.amazon.com/service-authorization/latest/reference/
    // list_amazoncloudwatchlogs.html).
    if ["logs:CreateLogStream", "logs:PutLogEvents"].contains(&action) {
        arns.retain(|arn| arn.ends_with(":*"));
    }
    let placeholder = |arn: &String| match arn.strip_suffix('*') {
        Some(group) if service(action) == "logs" => format!("{group}log-stream:any"),
        Some(start) if !start.is_empty() => format!("{start}any"),
        _ => arn.clone(),
    };
    arns.into_iter().map(placeholder).collect()
}

/// The permissions that `access` of a declaration grants. Unknown resources and levels are reported
/// where it is checked.
pub(crate) fn of_access(spec: &Spec, env: &AwsEnv, declared: &ResourceDecl) -> Vec<Statement> {
    let mut needs = Needs { policy: &PolicyBuilder::exact(spec, env), statements: Vec::new() };
    needs.access(declared);
    merged(needs.statements)
}

fn statements(policy: &PolicyBuilder<'_>, functions: &[&ResourceDecl]) -> Vec<Statement> {
    merged(single(policy, functions))
}

/// One statement for each action and each thing that needs it
/// (docs.aws.amazon.com/lambda/latest/dg/lambda-intro-execution-role.html).
fn single(policy: &PolicyBuilder<'_>, functions: &[&ResourceDecl]) -> Vec<Statement> {
    let mut needs = Needs { policy, statements: Vec::new() };
    for function in functions {
        needs.logs(function);
        needs.tracing(function);
        needs.network(function);
        needs.variables(function);
        if let Some(target) = policy.text(function.desired.get("dead_letter_target_arn")) {
            needs.send(&target, &format!("`{}` sends failed invocations there", function.name));
        }
        for (name, target) in destinations(&function.desired) {
            if let Some(target) = policy.text(Some(target)) {
                needs.send(&target, &format!("`{}` has it as `async.{name}`", function.name));
            }
        }
        for mapping in policy.mappings(&function.id.name) {
            needs.source(mapping);
            if let Some(target) = policy.text(mapping.desired.get("on_failure_destination_arn")) {
                needs.send(&target, &format!("`{}` sends failed records there", mapping.name));
            }
        }
        needs.access(function);
    }
    needs.statements
}

/// The statements so far.
struct Needs<'p, 's> {
    policy: &'p PolicyBuilder<'s>,
    statements: Vec<Statement>,
}

impl Needs<'_, '_> {
    /// Adds a statement, for this reason.
    fn add(&mut self, sid: &'static str, actions: &[Str], resources: &[String], reason: &str) {
        for action in actions {
            let reasons = vec![reason.to_owned()];
            let statement = allow(sid, action.clone(), resources.to_vec(), None, None);
            self.statements.push(Statement { reasons, ..statement });
        }
    }

    fn add_all(&mut self, sid: &'static str, actions: &[&'static str], resources: &[String], reason: &str) {
        let actions: Vec<Str> = actions.iter().map(|action| (*action).into()).collect();
        self.add(sid, &actions, resources, reason);
    }

    /// The same, on every resource, with the reason why it can't be more restrictive.
    fn add_unrestricted(&mut self, statement: Statement, actions: &[&'static str], reason: &str) {
        self.statements.extend(actions.iter().map(|action| Statement {
            action: vec![(*action).into()],
            resource: vec!["*".to_owned()],
            reasons: vec![reason.to_owned()],
            ..statement.clone()
        }));
    }

    /// Lambda writes a function's log with the function's role. If engine manages the group, the
    /// function can't create it again.
    fn logs(&mut self, function: &ResourceDecl) {
        let (policy, env) = (self.policy, self.policy.env);
        let group = policy.text(function.desired.get("log_group"));
        let resources = match &group {
            Some(group) if !policy.is_by_prefix(function) || *group != default_log_group(&function.id.name) => {
                log_group(env, group)
            }
            _ => vec![env_arn(env, "logs", &format!("log-group:{}", default_log_group(&policy.prefix("-"))))],
        };
        let is_declared = policy.spec.target(function, "log_group").is_some();
        let is_managed = is_declared || policy.spec.managed("log_group").any(|it| Some(&it.id.name) == group.as_ref());
        let reason = format!("`{}` writes its log", function.name);
        if !is_managed {
            self.add_all("WriteLogs", &["logs:CreateLogGroup"], &resources, &reason);
        }
        self.add_all("WriteLogs", &["logs:CreateLogStream", "logs:PutLogEvents"], &resources, &reason);
    }

    fn tracing(&mut self, function: &ResourceDecl) {
        if self.policy.text(function.desired.get("tracing")).as_deref() == Some("Active") {
            let why = Some("IAM has no resource type for X-Ray traces");
            let statement = allow("Trace", "", Vec::new(), None, why);
            let actions = ["xray:PutTelemetryRecords", "xray:PutTraceSegments"];
            self.add_unrestricted(statement, &actions, &format!("`{}` has `tracing: Active`", function.name));
        }
    }

    /// What Lambda does with the function's role to read a mapping's source.
    fn source(&mut self, mapping: &ResourceDecl) {
        match EventSource::of_declared(mapping, self.policy.spec) {
            Some(EventSource::Queue) => self.queue(mapping),
            Some(EventSource::Kinesis) => self.kinesis(mapping),
            Some(EventSource::Table) | None => self.stream(mapping),
        }
    }

    /// docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html#configuration-vpc-permissions
    fn network(&mut self, function: &ResourceDecl) {
        if function.desired.get("vpc").is_some_and(|vpc| *vpc != Value::Null) {
            let why = Some("Lambda names its network interfaces itself, and checks these actions on every resource");
            let statement = allow(INTERFACES, "", Vec::new(), None, why);
            let actions = [
                "ec2:AssignPrivateIpAddresses",
                "ec2:CreateNetworkInterface",
                "ec2:DeleteNetworkInterface",
                "ec2:DescribeNetworkInterfaces",
                "ec2:DescribeSubnets",
                "ec2:UnassignPrivateIpAddresses",
            ];
            self.add_unrestricted(statement, &actions, &format!("`{}` has `vpc`", function.name));
        }
    }

    /// Lambda decrypts a function's variables with the function's role
    /// (docs.aws.amazon.com/lambda/latest/dg/configuration-envvars-encryption.html).
    fn variables(&mut self, function: &ResourceDecl) {
        if let Some(key) = self.policy.text(function.desired.get("kms_key_arn")) {
            let reason = format!("`{}` decrypts its environment variables", function.name);
            self.use_key("DecryptVariables", &["kms:Decrypt"], (&key, None), &reason);
        }
    }

    /// docs.aws.amazon.com/lambda/latest/dg/services-ddb.html
    fn stream(&mut self, mapping: &ResourceDecl) {
        let (policy, env) = (self.policy, self.policy.env);
        let (stream, table) = policy.source(mapping);
        let stream = match table {
            Some(table) if policy.is_by_prefix(table) => TABLE.arn(env, &format!("{}/stream/*", policy.prefix("-"))),
            _ => stream,
        };
        let source = table.map_or("its source".to_owned(), |table| format!("`{}`", table.name));
        let reason = format!("`{}` reads the stream of {source}", mapping.name);
        let reads = ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"];
        self.add_all("ReadStreams", &reads, &[stream], &reason);
        self.list_streams("ListStreams", "dynamodb:ListStreams", &reason);
        if let Some(key) = table.and_then(|table| policy.text(table.desired.get("kms_key_arn"))) {
            self.use_key("DecryptStreams", &["kms:Decrypt"], (&key, Some("dynamodb")), &reason);
        }
    }

    fn list_streams(&mut self, sid: &'static str, action: &'static str, reason: &str) {
        let why = Some("IAM has no resource type for listing streams, so it is restricted to the region");
        let lists = allow(sid, "", Vec::new(), Some(in_region(self.policy)), why);
        self.add_unrestricted(lists, &[action], reason);
    }

    /// docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
    fn queue(&mut self, mapping: &ResourceDecl) {
        let policy = self.policy;
        let (arn, queue) = policy.source(mapping);
        let arns = match queue {
            Some(queue) if policy.is_by_prefix(queue) => policy.of_team(&QUEUE),
            _ => vec![arn],
        };
        let source = queue.map_or("its source".to_owned(), |queue| format!("`{}`", queue.name));
        let reason = format!("`{}` reads {source}", mapping.name);
        let reads = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"];
        self.add_all("ReadQueues", &reads, &arns, &reason);
        if let Some(key) = queue.and_then(|queue| policy.text(queue.desired.get("kms_key_arn"))) {
            self.use_key("DecryptMessages", &["kms:Decrypt"], (&key, Some("sqs")), &reason);
        }
    }

    /// docs.aws.amazon.com/lambda/latest/dg/services-kinesis-create.html
    fn kinesis(&mut self, mapping: &ResourceDecl) {
        let (stream, _) = self.policy.source(mapping);
        let reason = format!("`{}` reads its source", mapping.name);
        let reads = [
            "kinesis:DescribeStream",
            "kinesis:DescribeStreamSummary",
            "kinesis:GetRecords",
            "kinesis:GetShardIterator",
            "kinesis:ListShards",
        ];
        self.add_all("ReadKinesisStreams", &reads, &[stream], &reason);
        self.list_streams("ListKinesisStreams", "kinesis:ListStreams", &reason);
    }

    /// Sending to a destination
    /// (docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html,
    /// …/invocation-async-retain-records.html).
    fn send(&mut self, target: &str, reason: &str) {
        let resource = [target.to_owned()];
        match target.split(':').nth(2) {
            Some("sqs") => self.add_all("SendToQueues", &["sqs:SendMessage"], &resource, reason),
            Some("sns") => self.add_all("PublishToTopics", &["sns:Publish"], &resource, reason),
            Some("lambda") => self.add_all("InvokeFunctions", &["lambda:InvokeFunction"], &resource, reason),
            Some("events") => self.add_all("PutEvents", &["events:PutEvents"], &resource, reason),
            Some("s3") => {
                self.add_all("ListBuckets", &["s3:ListBucket"], &resource, reason);
                self.add_all("PutIntoBuckets", &["s3:PutObject"], &[format!("{target}/*")], reason);
            }
            _ => {}
        }
        let policy = self.policy;
        let is_target = |it: &&ResourceDecl| policy.arns(it).iter().any(|arn| arn == target);
        if let Some(declared) = policy.spec.resources.iter().find(is_target)
            && let Some(form) = &declared.schema().arn
        {
            self.key(declared, &form.service, reason);
        }
    }

    /// What `access` grants: a level of the target's type, or an IAM action on the target and on
    /// what belongs to it.
    fn access(&mut self, declared: &ResourceDecl) {
        let policy = self.policy;
        let Some(Value::Map(access)) = declared.desired.get("access") else { return };
        for (name, granted) in access {
            let Some(target) = policy.spec.resource(name) else { continue };
            let Some(form) = &target.schema().arn else { continue };
            let arns = policy.arns(target);
            for word in levels(granted) {
                let reason = format!("`{}` has `access: {{ {name}: {word} }}`", declared.name);
                let (actions, parts) = match target.kind.access_levels().iter().find(|level| level.name == word) {
                    Some(level) => (level.actions.clone(), level.parts.clone()),
                    None => (vec![word.to_owned().into()], parts(target)),
                };
                let resources = parts.iter().flat_map(|part| arns.iter().map(move |arn| format!("{arn}{part}")));
                self.add("Access", &actions, &resources.collect::<Vec<_>>(), &reason);
                self.key(target, &form.service, &reason);
            }
        }
    }

    /// The key of a resource that encrypts its data with one, through its service.
    fn key(&mut self, target: &ResourceDecl, service: &str, reason: &str) {
        if let Some(key) = self.policy.text(target.desired.get("kms_key_arn")) {
            self.use_key("UseKeys", &["kms:Decrypt", "kms:GenerateDataKey"], (&key, Some(service)), reason);
        }
    }

    /// Actions on a key, named by ARN or alias, through a service. An AWS managed key needs none.
    fn use_key(
        &mut self,
        sid: &'static str,
        actions: &[&'static str],
        (key, service): (&str, Option<&str>),
        reason: &str,
    ) {
        let Some((resource, condition)) = key_grant(self.policy, key, service) else { return };
        self.statements.extend(actions.iter().map(|action| {
            let statement = allow(sid, *action, vec![resource.clone()], condition.clone(), None);
            Statement { reasons: vec![reason.to_owned()], ..statement }
        }));
    }
}

/// What follows a target's ARN in the resources of an IAM action: nothing, and whatever belongs to
/// the target, in the form of its type's access levels.
fn parts(target: &ResourceDecl) -> Vec<Str> {
    let levels = target.kind.access_levels();
    if levels.is_empty() {
        return vec!["".into(), "/*".into()];
    }
    let parts = levels.iter().flat_map(|level| &level.parts);
    let parts = parts.map(|part| part.chars().next().map_or_else(String::new, |mark| format!("{mark}*")));
    parts.collect::<BTreeSet<_>>().into_iter().map(Str::from).collect()
}

/// The words in one entry of `access`: one text or a list.
pub(crate) fn levels(granted: &Value) -> Vec<&str> {
    match granted {
        Value::String(word) => vec![word],
        Value::List(words) => words.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// A statement as JSON, in IAM's own form.
pub(crate) fn to_json(statement: &Statement) -> Json {
    serde_json::to_value(statement).unwrap_or_default()
}
