//! Least-privilege IAM policies for deploying a spec. [`execution`](crate::iam::execution) has those
//! of its functions' roles.
//!
//! Each declared [operation](crate::operation::Operation) names the permission that it requires,
//! and on which resources. Resource types and condition keys are in AWS's service authorization
//! reference: docs.aws.amazon.com/service-authorization/latest/reference/list_amazondynamodb.html,
//! …/list_awslambda.html, …/list_awsidentityandaccessmanagementiam.html,
//! …/list_amazoncloudwatchlogs.html, …/list_amazonresourcegrouptaggingapi.html.
//!
//! **Invariant:** pure: a spec and an environment in, a document out. No action is a pattern, and a
//! statement that no ARN can restrict has a condition or a reason why not.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::iam::permissions::Need;
use crate::kinds::{FUNCTION, QUEUE, ROLE, TABLE, default_log_group};
use crate::operation::{self, Grant, ImpliedPermission, NameForm};
use crate::schema::{AwsEnv, Str, partition_of};
use crate::spec::{ResourceDecl, Spec};
use crate::value::{Placeholder, Value};

use Purpose::{Apply, Check, Destroy, Dev, Diff, Logs, Verify};

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
    /// `items`, `invoke`, and `dev` for a stack that is deployed
    Dev,
    /// All commands but those of `Dev`
    All,
}

impl Purpose {
    /// Whether it includes one of these commands.
    fn includes(self, commands: &[Purpose]) -> bool {
        match self {
            // Only `dev` grants changing items and invoking functions directly.
            Purpose::All => commands.iter().any(|command| *command != Dev),
            // `dev` also reads what `preflight` does, and follows the logs.
            Dev => commands.iter().any(|command| matches!(command, Dev | Check | Logs)),
            command => commands.contains(&command),
        }
    }

    /// Whether only resources in the spec are read: without pruning, nothing is listed by prefix.
    fn keeps_to_the_spec(self) -> bool {
        matches!(self, Verify | Logs | Check | Dev)
    }
}

/// Commands that read what the spec declares.
pub(crate) const READ: &[Purpose] = &[Diff, Apply, Destroy, Verify, Check];
/// The same, and those that read one table and one function.
pub(crate) const READ_ONE: &[Purpose] = &[Diff, Apply, Destroy, Verify, Check, Dev];
/// Commands that also look for orphans.
pub(crate) const PLAN: &[Purpose] = &[Diff, Apply, Destroy];
/// Commands that delete.
pub(crate) const DELETE: &[Purpose] = &[Apply, Destroy];

/// The resources on which an action is allowed: one statement.
#[derive(Debug, Clone, Copy)]
pub struct Scope {
    /// The name of the statement.
    pub sid: &'static str,
    /// The ARNs; without any, there is no statement.
    pub resources: fn(&PolicyBuilder<'_>) -> Vec<String>,
    /// Instead of ARNs, KMS keys by ARN or alias.
    pub keys: Option<Keys>,
    /// The condition.
    pub condition: Option<fn(&PolicyBuilder<'_>) -> Json>,
    /// Why it isn't more restrictive, if the team's ARNs can't restrict it.
    pub why: Option<&'static str>,
    /// The resource type without which a spec doesn't need it. Commands that prune need it anyway.
    pub kind: Option<&'static str>,
    /// The same for imported resources, which are only read.
    pub imported: Option<Imported>,
    /// Whether a boundary of roles restricts it.
    pub is_bounded: bool,
}

/// KMS keys on which an action is allowed.
#[derive(Debug, Clone, Copy)]
pub struct Keys {
    /// The keys, as the spec names them.
    pub of: fn(&PolicyBuilder<'_>) -> Vec<String>,
    /// The service through which alone they can be used.
    pub service: Option<&'static str>,
}

/// The imported resources on which an action is allowed.
#[derive(Debug, Clone, Copy)]
pub struct Imported {
    /// The name of the statement.
    pub sid: &'static str,
    /// The resource type.
    pub kind: &'static str,
    /// The ARNs of one resource.
    pub resources: fn(&PolicyBuilder<'_>, &ResourceDecl) -> Vec<String>,
    /// Why it isn't more restrictive.
    pub why: Option<&'static str>,
}

impl Scope {
    /// List calls, for which IAM has no resource type.
    pub const LISTS: Scope = Scope {
        condition: Some(in_region),
        why: Some("IAM has no resource type for list calls, so it is restricted to the region"),
        ..Scope::new("Lists", |_| vec!["*".to_owned()])
    };

    /// A scope without a condition.
    pub const fn new(sid: &'static str, resources: fn(&PolicyBuilder<'_>) -> Vec<String>) -> Scope {
        Scope { sid, resources, keys: None, condition: None, why: None, kind: None, imported: None, is_bounded: false }
    }

    /// A scope of KMS keys.
    pub const fn of_keys(
        sid: &'static str,
        of: fn(&PolicyBuilder<'_>) -> Vec<String>,
        service: Option<&'static str>,
    ) -> Scope {
        Scope { keys: Some(Keys { of, service }), ..Scope::new(sid, |_| Vec::new()) }
    }
}

/// The reason for statements with which engine reports more problems in advance.
pub(crate) const OPTIONAL: &str =
    "optional: with it, `engine preflight` and `engine apply` can report more problems in advance";

/// A policy document, with the fields in IAM's usual order.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Document {
    version: &'static str,
    /// Its statements.
    pub statement: Vec<Statement>,
    /// Whether optional statements are missing, because they would exceed IAM's size limit.
    #[serde(skip)]
    pub omits_optional: bool,
}

/// One statement of a policy.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Statement {
    /// Its name; statements whose name starts with `Optional` can be omitted.
    pub sid: Str,
    pub(super) effect: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) principal: Option<Json>,
    pub(crate) action: Vec<Str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) resource: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) condition: Option<Json>,
    /// Why it isn't more restrictive, if the team's ARNs can't restrict it.
    #[serde(skip)]
    pub why: Option<&'static str>,
    /// What needs it, as complete clauses.
    #[serde(skip)]
    pub reasons: Vec<String>,
}

impl Statement {
    /// Two statements that together allow the same.
    fn halves(&self) -> Option<(Statement, Statement)> {
        let (first, rest) = self.resource.split_at(self.resource.len() / 2);
        let of = |resource: &[String]| Statement { resource: resource.to_vec(), ..self.clone() };
        (!first.is_empty()).then(|| (of(first), of(rest)))
    }
}

impl Document {
    pub(super) fn new(statement: Vec<Statement>) -> Document {
        Document { version: "2012-10-17", statement, omits_optional: false }
    }

    /// The same without its optional statements, if it exceeds IAM's size limit.
    #[must_use]
    pub fn within_limit(mut self) -> Document {
        if self.n_characters() > MAX_CHARACTERS {
            let n_statements = self.statement.len();
            self.statement.retain(|it| !it.sid.starts_with("Optional"));
            self.omits_optional = self.statement.len() < n_statements;
        }
        self
    }

    /// Each action and resource that is allowed without a condition; `*` at the end is replaced by
    /// a name.
    pub fn needs(&self) -> Vec<Need> {
        let plain = self.statement.iter().filter(|it| it.condition.is_none());
        let pairs = plain.flat_map(|it| {
            let any = |resource: &String| match resource.strip_suffix('*') {
                Some(start) if !start.is_empty() => format!("{start}any"),
                _ => resource.clone(),
            };
            it.action
                .iter()
                .flat_map(move |action| it.resource.iter().map(move |resource| (action.clone(), any(resource))))
        });
        pairs.collect()
    }

    /// Whether a resource in it is named only by the team's prefix.
    pub fn goes_by_prefix(&self, team: &str) -> bool {
        let resources = self.statement.iter().flat_map(|it| &it.resource);
        resources.into_iter().any(|arn| arn.contains(&format!("{team}-*")))
    }

    /// The same permissions as documents within IAM's size limit. A single name that is longer than
    /// the limit stays too large.
    pub fn parts(&self) -> Vec<Document> {
        let mut parts: Vec<Document> = Vec::new();
        let mut pending: Vec<Statement> = self.statement.iter().rev().cloned().collect();
        while let Some(statement) = pending.pop() {
            let alone = Document::new(vec![statement.clone()]);
            if alone.n_characters() > MAX_CHARACTERS
                && let Some((first, rest)) = statement.halves()
            {
                pending.extend([rest, first]);
                continue;
            }
            let fits = |part: &&mut Document| {
                // Names are unique in a policy, and the separator counts.
                let is_new = part.statement.iter().all(|it| it.sid != statement.sid);
                let n_more = alone.n_characters() - Document::new(Vec::new()).n_characters() + 1;
                is_new && part.n_characters() + n_more <= MAX_CHARACTERS
            };
            match parts.iter_mut().find(fits) {
                Some(part) => part.statement.push(statement),
                None => parts.push(alone),
            }
        }
        parts
    }

    /// The number of characters that IAM counts, without whitespace.
    pub fn n_characters(&self) -> usize {
        n_characters(self)
    }
}

/// The number of characters of a policy that IAM counts, without whitespace.
pub(crate) fn n_characters(document: &impl Serialize) -> usize {
    serde_json::to_string(document).map_or(usize::MAX, |text| text.chars().filter(|c| !c.is_whitespace()).count())
}

/// What limits the roles that engine creates or changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleLimit<'a> {
    /// Not decided.
    Undecided,
    /// Nothing.
    Nothing,
    /// A managed policy that they must have as their permissions boundary, so that a spec can't grant
    /// more than it allows
    /// (docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_boundaries.html).
    Boundary(&'a str),
}

/// The least-privilege policy for running these commands on the spec.
///
/// Managed resources are named by the team's prefix and the names in `owns:`, because pruning
/// deletes orphans, of which only these are known. Without pruning, resources are named
/// individually if IAM's size limit allows it. Kinds that aren't in the spec are only searched for
/// and deleted. Imported resources are named individually and only read.
/// `limit` is what limits the roles that engine creates or changes. Undecided, a spec that has none
/// gets no permission to delete orphaned ones: without their policies, which may deny something, a
/// role can do more.
/// `allowed`: the imported resources that `--allow-imported` names: their tests and invocations need
/// permissions, too.
pub fn deploying(spec: &Spec, env: &AwsEnv, purpose: Purpose, limit: RoleLimit<'_>, allowed: &[String]) -> Document {
    let document = |policy: &PolicyBuilder<'_>| PolicyBuilder { limit, allowed, ..*policy }.deploying(purpose);
    narrowest(spec, env, purpose.keeps_to_the_spec(), document)
}

/// The document with individual names, if it is requested and within IAM's size limit, otherwise
/// the one with prefixes.
pub(super) fn narrowest(
    spec: &Spec,
    env: &AwsEnv,
    exact: bool,
    document: impl Fn(&PolicyBuilder<'_>) -> Document,
) -> Document {
    let by_name = PolicyBuilder::exact(spec, env);
    match exact.then(|| document(&by_name)) {
        Some(exact) if exact.n_characters() <= MAX_CHARACTERS => exact,
        _ => document(&PolicyBuilder { exact: false, ..by_name }),
    }
}

/// Why a permission is required that no call has as its own action, by action.
pub fn implied() -> Vec<(&'static str, &'static str)> {
    operation::all().iter().flat_map(|it| it.implied).map(|it| (it.action, it.why)).collect()
}

/// The input for a document.
#[derive(Debug, Clone, Copy)]
pub struct PolicyBuilder<'s> {
    /// The spec.
    pub spec: &'s Spec,
    /// Region and account.
    pub env: &'s AwsEnv,
    /// Whether managed resources are named individually instead of by the team's prefix.
    pub(super) exact: bool,
    /// What limits the roles that engine manages.
    pub(super) limit: RoleLimit<'s>,
    /// The imported resources on which tests and invocations are allowed, by their names in the spec.
    pub(super) allowed: &'s [String],
}

impl<'s> PolicyBuilder<'s> {
    /// Names managed resources individually.
    pub(super) fn exact(spec: &'s Spec, env: &'s AwsEnv) -> PolicyBuilder<'s> {
        PolicyBuilder { spec, env, exact: true, limit: RoleLimit::Undecided, allowed: &[] }
    }

    /// The permissions for the commands of a purpose.
    fn deploying(&self, purpose: Purpose) -> Document {
        let operations = operation::all();
        let own = operations.iter().flat_map(|it| it.grants.iter().map(|grant| (it.action, *grant)));
        let mut required: Vec<(&'static str, Grant)> = own.collect();
        required.sort_by_key(|(action, (scope, _))| (*action, scope.sid.starts_with("Optional")));
        let implied = operations.iter().flat_map(|it| it.implied);
        required.extend(implied.map(|ImpliedPermission { action, grant, .. }| (*action, *grant)));
        let mut statements: Vec<Statement> = Vec::new();
        for (action, (scope, commands)) in required {
            if !purpose.includes(commands) || !self.has(scope, commands) {
                continue;
            }
            statements.extend(self.statement(scope, action));
            statements.extend(self.key_statements(scope, action));
            let planned = commands.contains(&Diff) && purpose.includes(&[Diff, Apply, Verify, Check]);
            let logged = commands.contains(&Logs) && purpose.includes(&[Logs]);
            // A destroy reads only the imported resources whose attachments it deletes.
            let destroyed = commands.contains(&Destroy) && purpose.includes(&[Destroy]);
            if planned || logged || destroyed {
                statements.extend(self.imported(scope, action, !(planned || logged)));
            }
        }
        Document::new(merged(statements))
    }

    /// Whether the spec needs the permission. Commands that prune need it even for kinds that the
    /// spec doesn't have.
    fn has(&self, scope: &Scope, commands: &[Purpose]) -> bool {
        let is_declared = scope.kind.is_none_or(|kind| self.spec.managed(kind).next().is_some());
        is_declared || commands.contains(&Diff) || commands.contains(&Destroy)
    }

    /// The functions that the spec manages.
    pub(crate) fn functions(&self) -> impl Iterator<Item = &'s ResourceDecl> {
        self.spec.managed("function")
    }

    pub(super) fn mappings(&self, function: &str) -> impl Iterator<Item = &'s ResourceDecl> {
        self.spec.managed("mapping").filter(move |it| it.parent().is_some_and(|(_, name)| name == function))
    }

    /// One permission as a statement; `None` if there are no resources for it.
    fn statement(&self, scope: &Scope, action: &'static str) -> Option<Statement> {
        let resources = (scope.resources)(self);
        let bounded = self.boundary().filter(|_| scope.is_bounded);
        let bounded = || bounded.map(|arn| json!({ "StringEquals": { "iam:PermissionsBoundary": arn } }));
        let condition = || scope.condition.map(|condition| condition(self)).or_else(bounded);
        (!resources.is_empty()).then(|| allow(scope.sid, action, resources, condition(), scope.why))
    }

    /// One permission on the keys of a scope, a statement for each.
    fn key_statements(&self, scope: &Scope, action: &'static str) -> Vec<Statement> {
        let Some(Keys { of, service }) = scope.keys else { return Vec::new() };
        let grants = of(self).into_iter().filter_map(|key| key_grant(self, &key, service));
        grants.map(|(resource, condition)| allow(scope.sid, action, vec![resource], condition, scope.why)).collect()
    }

    /// The KMS keys of these resources, as the spec names them.
    pub(crate) fn keys_of<'r>(&self, resources: impl Iterator<Item = &'r ResourceDecl>) -> Vec<String> {
        let keys = resources.filter_map(|it| self.text(it.desired.get("kms_key_arn")));
        keys.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The same permission on imported resources, or only on those that the spec attaches something
    /// to.
    fn imported(&self, scope: &Scope, action: &'static str, only_parents: bool) -> Option<Statement> {
        let Imported { sid, kind, resources, why } = scope.imported?;
        let parents = only_parents.then(|| self.spec.imported_parents());
        let is_included = |it: &&ResourceDecl| parents.as_ref().is_none_or(|parents| parents.contains(&*it.name));
        let imported = self.spec.resources.iter().filter(|it| it.imported && it.schema().kind == kind);
        let imported = imported.filter(is_included);
        let resources: Vec<String> = imported.flat_map(|it| resources(self, it)).collect();
        (!resources.is_empty()).then(|| allow(sid, action, resources, None, why))
    }

    /// `acme-*`, for the team's resources; `_` or `.` instead of `-` if the spec uses it.
    pub(super) fn prefix(&self, mark: &str) -> String {
        format!("{}{mark}*", self.spec.team)
    }

    /// The ARNs of the imported resources of a type that the user allows.
    pub(crate) fn allowed(&self, form: &NameForm) -> Vec<String> {
        let is_allowed =
            |it: &&ResourceDecl| it.imported && it.schema().kind == form.kind && self.allowed.contains(&it.name);
        self.spec.resources.iter().filter(is_allowed).map(|it| self.arn(form, it)).collect()
    }

    /// The ARNs of the team's resources of a type.
    pub(crate) fn of_team(&self, form: &NameForm) -> Vec<String> {
        self.of_team_in(form, &[""])
    }

    /// The same for names in these folders, and in those that the spec uses.
    pub(crate) fn of_team_in(&self, form: &NameForm, folders: &[&'s str]) -> Vec<String> {
        let managed = || self.spec.managed(form.kind);
        if self.exact {
            return managed().map(|it| self.arn(form, it)).collect();
        }
        let split = |it: &'s ResourceDecl| {
            let name = it.id.name.as_str();
            form.arn.as_ref().map_or(("", name), |arn| arn.split_folders(name))
        };
        let begins = |name: &str, mark: &str| name.strip_prefix(&self.spec.team).is_some_and(|it| it.starts_with(mark));
        let used = |mark| managed().map(split).filter(move |(_, name)| begins(name, mark)).map(|(folder, _)| folder);
        let usual = folders.iter().map(|folder| (*folder, "-"));
        let used = ["-", "_", "."].into_iter().flat_map(|mark| used(mark).map(move |folder| (folder, mark)));
        let prefixes: BTreeSet<(&str, &str)> = usual.chain(used).collect();
        let arn = |(folder, mark)| form.arn(self.env, &format!("{folder}{}", self.prefix(mark)));
        let listed = self.spec.kinds.get(form.kind).into_iter().flat_map(|kind| self.spec.listed_names(kind.schema()));
        prefixes.into_iter().map(arn).chain(listed.map(|name| form.arn(self.env, name))).collect()
    }

    /// Whether a resource is named by the team's prefix.
    pub(super) fn is_by_prefix(&self, declared: &ResourceDecl) -> bool {
        !self.exact && !declared.imported && !self.spec.is_listed(declared)
    }

    /// The ARN of a resource.
    pub(crate) fn arn(&self, form: &NameForm, declared: &ResourceDecl) -> String {
        let arn = self.arns(declared).into_iter().next();
        arn.unwrap_or_else(|| form.arn(self.env, &declared.id.name))
    }

    /// The ARNs that a resource may have.
    pub(super) fn arns(&self, declared: &ResourceDecl) -> Vec<String> {
        match (&declared.id.arn, &declared.schema().arn) {
            _ if declared.schema().kind == ROLE.kind => self.role_arns(declared),
            (Some(arn), _) => vec![arn.clone()],
            (None, Some(form)) => vec![form.of(self.env, &declared.id.name)],
            (None, None) => Vec::new(),
        }
    }

    /// The ARNs of a role, of an imported one with any path if the spec has none: role names are
    /// unique regardless of the path
    /// (docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html).
    fn role_arns(&self, role: &ResourceDecl) -> Vec<String> {
        let of =
            |path: &str| format!("arn:{}:iam::{}:role{path}{}", self.env.partition, self.env.account, role.id.name);
        match (&role.id.arn, self.text(role.desired.get("path"))) {
            (Some(arn), _) => vec![arn.clone()],
            (None, Some(path)) => vec![of(&path)],
            (None, None) => vec![of("/"), of("/*/")],
        }
    }

    /// The name and the ARNs of a function's role.
    pub(super) fn role(&self, function: &ResourceDecl) -> Option<(String, Vec<String>)> {
        if let Some(role) = self.spec.target(function, "role") {
            return Some((role.id.name.clone(), self.role_arns(role)));
        }
        let arn = self.text(function.desired.get("role"))?;
        Some((self.spec.kinds.name_in_arn(&arn).to_owned(), vec![arn]))
    }

    /// The ARNs of the roles that engine manages.
    pub(crate) fn managed_roles(&self) -> Vec<String> {
        let roles = || self.spec.managed("role");
        if !self.manages_roles() {
            return Vec::new();
        }
        // The team's prefix doesn't cover roles with a path.
        let has_path = |role: &&ResourceDecl| role.desired.get("path").and_then(Value::as_str) != Some("/");
        let with_path = roles().filter(has_path).flat_map(|role| self.role_arns(role));
        self.of_team(&ROLE).into_iter().chain(with_path).collect()
    }

    /// The same, unless roles must keep their boundary.
    pub(crate) fn roles_without_boundary(&self) -> Vec<String> {
        if self.boundary().is_some() { Vec::new() } else { self.managed_roles() }
    }

    /// Whether engine manages roles of this spec, or deletes those that an earlier one had.
    pub(crate) fn manages_roles(&self) -> bool {
        self.limit != RoleLimit::Undecided || self.spec.managed("role").next().is_some()
    }

    /// The permissions boundary that roles must have.
    fn boundary(&self) -> Option<&'s str> {
        match self.limit {
            RoleLimit::Boundary(arn) => Some(arn),
            RoleLimit::Undecided | RoleLimit::Nothing => None,
        }
    }

    /// The ARNs of all roles in the spec.
    pub(crate) fn roles(&self) -> Vec<String> {
        let imported = self.spec.resources.iter().filter(|it| it.schema().kind == "role");
        let arns = imported.flat_map(|role| self.role_arns(role)).chain(self.passed_roles());
        arns.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The ARNs of the functions' roles.
    pub(crate) fn passed_roles(&self) -> Vec<String> {
        let arns = self.functions().filter_map(|it| self.role(it)).flat_map(|(_, arns)| arns);
        arns.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The log groups of the functions.
    pub(crate) fn log_groups(&self) -> Vec<String> {
        let mut groups = BTreeSet::new();
        for function in self.functions() {
            let usual = default_log_group(&function.id.name);
            match self.text(function.desired.get("log_group")) {
                Some(group) if self.exact || group != usual => groups.extend(log_group(self.env, &group)),
                _ => groups.extend(self.of_team(&FUNCTION).iter().map(|arn| {
                    let name = arn.rsplit(':').next().unwrap_or_default();
                    env_arn(self.env, "logs", &format!("log-group:{}", default_log_group(name)))
                })),
            }
        }
        groups.into_iter().collect()
    }

    /// What a mapping reads, a table's stream with any label, and its table or queue if it is in the
    /// spec.
    pub(super) fn source(&self, mapping: &ResourceDecl) -> (String, Option<&'s ResourceDecl>) {
        match self.spec.target(mapping, "event_source_arn") {
            Some(queue) if queue.schema().kind == QUEUE.kind => (self.arn(&QUEUE, queue), Some(queue)),
            Some(table) => (format!("{}/stream/*", self.arn(&TABLE, table)), Some(table)),
            None => (self.text(mapping.desired.get("event_source_arn")).unwrap_or_default(), None),
        }
    }

    /// A text of the spec, if it is known without AWS.
    pub(crate) fn text(&self, value: Option<&Value>) -> Option<String> {
        self.filled(value?).as_str().map(str::to_owned)
    }

    /// A value of the spec with everything that follows from names.
    pub(crate) fn filled(&self, value: &Value) -> Value {
        let output = |resource: &str, attribute: &str| {
            let declared = self.spec.resource(resource)?;
            if attribute == "arn" && declared.schema().kind == ROLE.kind {
                // An imported role can have any path.
                return self.role_arns(declared).into_iter().next().filter(|_| !declared.imported);
            }
            if attribute == "arn" && declared.id.arn.is_some() {
                return declared.id.arn.clone();
            }
            declared.schema().computed(self.env, &declared.id.name).get(attribute).cloned()
        };
        value.resolve(&|placeholder: &Placeholder| self.env.fill(placeholder, output))
    }
}

/// A log group and its streams: IAM uses both forms
/// (docs.aws.amazon.com/AmazonCloudWatch/latest/logs/iam-access-control-overview-cwl.html).
pub(crate) fn log_group(env: &AwsEnv, name: &str) -> Vec<String> {
    ["", ":*"].map(|rest| env_arn(env, "logs", &format!("log-group:{name}{rest}"))).to_vec()
}

pub(crate) fn env_arn(env: &AwsEnv, service: &str, resource: &str) -> String {
    format!("arn:{}:{service}:{}:{}:{resource}", env.partition, env.region, env.account)
}

pub(crate) fn in_region(policy: &PolicyBuilder<'_>) -> Json {
    json!({ "StringEquals": { "aws:RequestedRegion": policy.env.region } })
}

/// Through one service only
/// (docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-via-service).
pub(crate) fn via_service(policy: &PolicyBuilder<'_>, service: &str) -> Json {
    let region = &policy.env.region;
    let suffix = partition_of(region).dns_suffix;
    json!({ "StringEquals": { "kms:ViaService": format!("{service}.{region}.{suffix}") } })
}

/// The resource and the condition of a statement about a KMS key, for calls of KMS through a service.
/// Policies name a key only by its own ARN, so an alias becomes a condition
/// (docs.aws.amazon.com/kms/latest/developerguide/alias-authorization.html). `None` for AWS managed
/// keys, which need no permission.
pub(crate) fn key_grant(
    policy: &PolicyBuilder<'_>,
    key: &str,
    service: Option<&str>,
) -> Option<(String, Option<Json>)> {
    let condition = service.map(|service| via_service(policy, service));
    let Some(alias) = key_alias(key) else { return key.starts_with("arn:").then(|| (key.to_owned(), condition)) };
    if alias.starts_with("alias/aws/") {
        return None;
    }
    let resource = match key.strip_suffix(alias) {
        Some(start) if !start.is_empty() => format!("{start}key/*"),
        _ => env_arn(policy.env, "kms", "key/*"),
    };
    Some((resource, Some(with_alias(condition, alias))))
}

/// The alias by which a key is named, if any.
fn key_alias(key: &str) -> Option<&str> {
    if key.starts_with("alias/") {
        return Some(key);
    }
    key.find(":alias/").and_then(|at| key.get(at + 1..))
}

/// A condition that also requires this alias
/// (docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-resource-aliases).
fn with_alias(condition: Option<Json>, alias: &str) -> Json {
    let mut operators = match condition {
        Some(Json::Object(operators)) => operators,
        _ => serde_json::Map::new(),
    };
    operators.insert("ForAnyValue:StringEquals".to_owned(), json!({ "kms:ResourceAliases": [alias] }));
    Json::Object(operators)
}

pub(super) fn allow(
    sid: &'static str,
    action: impl Into<Str>,
    resource: Vec<String>,
    condition: Option<Json>,
    why: Option<&'static str>,
) -> Statement {
    Statement {
        sid: Str::Borrowed(sid),
        effect: "Allow",
        principal: None,
        action: vec![action.into()],
        resource,
        condition,
        why,
        reasons: Vec::new(),
    }
}

/// Merges statements with the same name and condition, without allowing more: if their resources or
/// their actions are the same. Other statements with that name get a number.
pub(super) fn merged(statements: Vec<Statement>) -> Vec<Statement> {
    let by_resources = merged_if(statements, |one, other| one.resource == other.resource);
    let mut merged = merged_if(by_resources, |one, other| one.action == other.action);
    let mut names: BTreeMap<Str, u32> = BTreeMap::new();
    for statement in &mut merged {
        let count = names.entry(statement.sid.clone()).or_default();
        *count += 1;
        if *count > 1 {
            statement.sid = format!("{}{count}", statement.sid).into();
        }
    }
    merged
}

fn merged_if(statements: Vec<Statement>, is_alike: impl Fn(&Statement, &Statement) -> bool) -> Vec<Statement> {
    fn sort<T: Ord>(list: &mut Vec<T>) {
        list.sort_unstable();
        list.dedup();
    }
    let mut merged: Vec<Statement> = Vec::new();
    for mut statement in statements {
        sort(&mut statement.resource);
        let is_it = |it: &&mut Statement| {
            (&it.sid, &it.condition) == (&statement.sid, &statement.condition) && is_alike(it, &statement)
        };
        match merged.iter_mut().find(is_it) {
            Some(one) => {
                one.action.extend(statement.action);
                one.resource.extend(statement.resource);
                one.reasons.extend(statement.reasons);
                sort(&mut one.action);
                sort(&mut one.resource);
            }
            None => merged.push(statement),
        }
    }
    merged.iter_mut().for_each(|statement| sort(&mut statement.reasons));
    merged
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const NAMES: [&str; 6] = ["One", "Two", "Three", "Four", "Five", "Six"];

    /// What documents allow: each action on each resource, under a condition.
    fn allowed(documents: &[Document]) -> BTreeSet<(String, String, String)> {
        let statements = documents.iter().flat_map(|it| &it.statement);
        let pairs = statements.flat_map(|it| {
            let condition = it.condition.as_ref().map(Json::to_string).unwrap_or_default();
            it.action.iter().flat_map(move |action| {
                let condition = condition.clone();
                it.resource.iter().map(move |resource| (action.to_string(), resource.clone(), condition.clone()))
            })
        });
        pairs.collect()
    }

    fn statement() -> impl Strategy<Value = Statement> {
        let few = |prefix: &'static str| {
            prop::collection::vec(0..4_u8, 1..4)
                .prop_map(move |it| it.into_iter().map(|n| format!("{prefix}{n}")).collect::<Vec<_>>())
        };
        (prop::sample::select(&NAMES[..2]), few("sqs:"), few("arn:"), any::<bool>()).prop_map(
            |(sid, actions, resources, conditional)| {
                let condition = conditional.then(|| json!({ "StringEquals": { "aws:RequestedRegion": "here" } }));
                let action = actions.into_iter().map(Str::from).collect();
                Statement { action, ..allow(sid, "", resources, condition, None) }
            },
        )
    }

    proptest! {
        #[test]
        fn merged_statements_allow_the_same(statements in prop::collection::vec(statement(), 0..12)) {
            let merged = merged(statements.clone());
            let names: BTreeSet<_> = merged.iter().map(|it| &it.sid).collect();
            prop_assert_eq!(names.len(), merged.len());
            prop_assert_eq!(allowed(&[Document::new(merged)]), allowed(&[Document::new(statements)]));
        }

        #[test]
        fn the_parts_of_a_policy_fit_and_allow_the_same(
            statements in prop::collection::vec((prop::collection::vec(1_usize..900, 1..24), any::<bool>()), 1..6),
        ) {
            let statements = statements.into_iter().zip(NAMES).map(|((lengths, conditional), sid)| {
                let resource = |(n, length): (usize, usize)| format!("arn:aws:dynamodb:::{n}/{}", "x".repeat(length));
                let resources = lengths.into_iter().enumerate().map(resource).collect();
                let condition = conditional.then(|| json!({ "StringEquals": { "aws:RequestedRegion": sid } }));
                allow(sid, "dynamodb:DescribeTable", resources, condition, None)
            });
            let whole = Document::new(statements.collect());
            let parts = whole.parts();
            prop_assert_eq!(allowed(&parts), allowed(std::slice::from_ref(&whole)));
            for part in &parts {
                prop_assert!(part.n_characters() <= MAX_CHARACTERS, "{}", part.n_characters());
                let names: BTreeSet<_> = part.statement.iter().map(|it| &it.sid).collect();
                prop_assert_eq!(names.len(), part.statement.len());
            }
            prop_assert_eq!(parts.len() == 1, whole.n_characters() <= MAX_CHARACTERS);
        }
    }
}
