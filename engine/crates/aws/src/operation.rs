//! The calls that engine makes, as data: what a request looks like, what it does, and which rate
//! limit and permissions apply.
//!
//! Each resource type declares its own ([`Kind::operations`](crate::kind::Kind::operations)); the
//! few calls that belong to no type are declared where they are made. Guard, rate limits, IAM
//! policies, the hints of errors and the forged requests of the tests interpret these declarations.
//!
//! **Invariant:** a call that isn't declared can't be sent.

use std::ptr;

use engine_core::wait::limiter::{Limit, LimitId};

use crate::connect;
use crate::iam::permissions;
use crate::kinds;
use crate::logs;
use crate::lookups;
use crate::policy::{Purpose, Scope};
use crate::schema::{ArnForm, AwsEnv, is_of_team, partition_of};
use crate::verify;
use crate::wire::limits;

/// An AWS service.
#[derive(Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: &'static str,
    /// The path of its API reference on docs.aws.amazon.com.
    pub reference: &'static str,
}

impl Service {
    /// DynamoDB.
    pub const DYNAMODB: &Service = &Service { name: "dynamodb", reference: "amazondynamodb/latest/APIReference" };
    /// DynamoDB Streams, which needs permissions of DynamoDB.
    pub const STREAMS: &Service = &Service { name: "dynamodbstreams", reference: "amazondynamodb/latest/APIReference" };
    /// EC2.
    pub const EC2: &Service = &Service { name: "ec2", reference: "AWSEC2/latest/APIReference" };
    /// IAM.
    pub const IAM: &Service = &Service { name: "iam", reference: "IAM/latest/APIReference" };
    /// Lambda.
    pub const LAMBDA: &Service = &Service { name: "lambda", reference: "lambda/latest/api" };
    /// CloudFormation, of which engine reads exports and outputs.
    pub const CLOUDFORMATION: &Service =
        &Service { name: "cloudformation", reference: "AWSCloudFormation/latest/APIReference" };
    /// CloudWatch Logs.
    pub const LOGS: &Service = &Service { name: "logs", reference: "AmazonCloudWatchLogs/latest/APIReference" };
    /// Secrets Manager, of which engine reads secrets.
    pub const SECRETS_MANAGER: &Service =
        &Service { name: "secretsmanager", reference: "secretsmanager/latest/apireference" };
    /// Systems Manager, of which engine reads parameters.
    pub const SSM: &Service = &Service { name: "ssm", reference: "systems-manager/latest/APIReference" };
    /// SQS.
    pub const SQS: &Service = &Service { name: "sqs", reference: "AWSSimpleQueueService/latest/APIReference" };
    /// STS.
    pub const STS: &Service = &Service { name: "sts", reference: "STS/latest/APIReference" };
    /// The tag index.
    pub const TAGGING: &Service = &Service { name: "tagging", reference: "resourcegroupstagging/latest/APIReference" };
}

/// The effect of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Changes nothing.
    Read,
    /// Creates the target.
    Create,
    /// Changes or deletes the target or something in it.
    Write,
    /// Writes or deletes one item in the target.
    Item,
    /// Sends one message to the target.
    Message,
    /// Runs the target's code.
    Invoke,
}

/// How a request shows its operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// AWS JSON: `X-Amz-Target` has this prefix, a dot and the operation's name.
    Json(&'static str),
    /// REST: a method and a path, in which each `{name}` matches one segment.
    Rest(&'static str, &'static str),
    /// The query protocol: a form whose `Action` is the operation's name.
    Query,
}

/// The part of a request that contains a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// A member of the JSON body, at its top level.
    Body(&'static str),
    /// A field of the form.
    Form(&'static str),
    /// A placeholder of the path.
    Path(&'static str),
    /// A parameter of the query string.
    Query(&'static str),
}

/// How requests and ARNs name the resources of one type.
#[derive(Debug, PartialEq, Eq)]
pub struct NameForm {
    /// The type.
    pub kind: &'static str,
    /// The form of the ARNs; `None` if requests never contain one.
    pub arn: Option<ArnForm>,
    /// The characters that AWS allows in a name besides letters and digits; `None` for any.
    pub marks: Option<&'static str>,
    /// Whether a colon and a version or alias may follow the name.
    pub is_qualified: bool,
    /// If AWS assigns the name: the type of the resource that it is attached to, whose owner counts
    /// too.
    pub attached_to: Option<&'static str>,
}

impl NameForm {
    /// Whether a name has only the characters that AWS allows.
    pub(crate) fn is_plain(&self, name: &str) -> bool {
        let is_allowed = |c: char, marks: &str| c.is_ascii_alphanumeric() || marks.contains(c);
        self.marks.is_none_or(|marks| !name.is_empty() && name.chars().all(|c| is_allowed(c, marks)))
    }

    /// The ARN of the resource with this name; the name itself if requests never contain an ARN.
    pub fn arn(&self, env: &AwsEnv, name: &str) -> String {
        self.arn.as_ref().map_or_else(|| name.to_owned(), |arn| arn.of(env, name))
    }

    /// The URL of the resource with this name, for services that name resources by URL
    /// (docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-queue-message-identifiers.html).
    pub fn url(&self, env: &AwsEnv, name: &str) -> String {
        let service = self.arn.as_ref().map_or("", |arn| &*arn.service);
        let domain = partition_of(&env.region).dns_suffix;
        format!("https://{service}.{}.{domain}/{}/{name}", env.region, env.account)
    }

    /// Whether a name is the team's.
    pub fn is_of_team(&self, name: &str, team: &str) -> bool {
        self.arn.as_ref().map_or_else(|| is_of_team(name, team), |arn| arn.is_of_team(name, team))
    }

    /// The name in a name, a partial ARN or an ARN, without version or alias.
    pub fn bare_name(&self, text: &str) -> String {
        let prefix = self.arn.as_ref().map_or("", ArnForm::prefix);
        let name = text.rsplit_once(&format!(":{prefix}")).map_or(text, |(_, name)| name);
        let name = if self.is_qualified { name.split(':').next().unwrap_or_default() } else { name };
        name.to_owned()
    }
}

/// Where a request names its resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetField {
    /// How it is named.
    pub form: &'static NameForm,
    /// Where.
    pub at: At,
    /// What AWS takes there.
    pub takes: Takes,
}

/// What AWS takes as the name of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// Only a name.
    Name,
    /// Only an ARN.
    Arn,
    /// A name or an ARN.
    Either,
    /// Only a URL of the form of [`NameForm::url`].
    Url,
}

/// What a read asks for by name, so that it is allowed only if the spec's lookups name that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asks {
    /// The source of lookups.
    pub source: &'static str,
    /// The text or list of texts that names it; `None` if the read lists everything, and so is
    /// allowed if the spec has a lookup of that source.
    pub at: Option<At>,
    /// Whether the request names only what is before the first dot of a lookup's name.
    pub prefix: bool,
}

/// What a response shows about resources that are attached to others.
#[derive(Debug, PartialEq, Eq)]
pub struct Attachments {
    /// The member with the list, if there are several.
    pub list: &'static str,
    /// The member with the name that AWS assigned.
    pub name: &'static str,
    /// The member with the name or ARN of the resource that it is attached to.
    pub parent: &'static str,
    /// How that is named.
    pub form: &'static NameForm,
    /// The member with the ARN of what it reads.
    pub source: &'static str,
}

/// The resources on which a permission is needed, and the commands that need it.
pub type Grant = (&'static Scope, &'static [Purpose]);

/// A permission that AWS checks in addition to the one for the operation.
#[derive(Debug, Clone, Copy)]
pub struct ImpliedPermission {
    /// The action.
    pub action: &'static str,
    /// On which resources, and for which commands.
    pub grant: Grant,
    /// Why it is required.
    pub why: &'static str,
    /// The property whose value requires it.
    pub property: Option<&'static str>,
}

/// A call to AWS.
#[derive(Debug, Clone, Copy)]
pub struct Operation {
    /// The service.
    pub service: &'static Service,
    /// Its name in the API.
    pub name: &'static str,
    /// The type of resource that it is about, for hints; `None` if it is about none.
    pub kind: Option<&'static str>,
    /// What it does.
    pub effect: Effect,
    /// Whether it is allowed on a resource whose tags can't be read, because it neither claims nor
    /// deletes it.
    pub is_in_place: bool,
    /// What its requests look like.
    pub wire: Wire,
    /// Where a request names the resource.
    pub target: Option<TargetField>,
    /// Where a request names a part of the resource: a part that is written must have the team's
    /// prefix.
    pub statement: Option<At>,
    /// Where a request names what the new resource reads, by its ARN.
    pub source: Option<At>,
    /// The member of the body with the key of the item that it writes, alone or in the item, or with
    /// the message that it sends.
    pub item: Option<&'static str>,
    /// A member of the body that would move the resource to another one, so that no request may
    /// have it.
    pub forbidden: Option<&'static str>,
    /// What its response shows about attached resources.
    pub shows: Option<&'static Attachments>,
    /// What it asks for, if only the spec's lookups allow it.
    pub asks: Option<Asks>,
    /// The rate limit that it counts against.
    pub limit: &'static Limit,
    /// The IAM action that it requires
    /// (docs.aws.amazon.com/service-authorization/latest/reference).
    pub action: &'static str,
    /// On which resources it requires that, and for which commands; empty if it requires no
    /// permission.
    pub grants: &'static [Grant],
    /// The other permissions that it requires.
    pub implied: &'static [ImpliedPermission],
}

impl Operation {
    /// A call with the name of the action that it requires, like `dynamodb:CreateTable`.
    pub const fn new(
        service: &'static Service,
        action: &'static str,
        effect: Effect,
        wire: Wire,
        limit: &'static Limit,
        grants: &'static [Grant],
    ) -> Operation {
        Operation {
            service,
            name: after_colon(action),
            kind: None,
            effect,
            is_in_place: false,
            wire,
            target: None,
            statement: None,
            source: None,
            item: None,
            forbidden: None,
            shows: None,
            asks: None,
            limit,
            action,
            grants,
            implied: &[],
        }
    }

    /// The same call of this resource type.
    #[must_use]
    pub const fn of_kind(self, kind: &'static str) -> Operation {
        Operation { kind: Some(kind), ..self }
    }

    /// The same call about the resource that is named there.
    #[must_use]
    pub const fn on(self, form: &'static NameForm, at: At, takes: Takes) -> Operation {
        Operation { target: Some(TargetField { form, at, takes }), ..self }
    }

    /// The same write of the item whose key, or of the message that is in this member.
    #[must_use]
    pub const fn with_item(self, member: &'static str) -> Operation {
        Operation { item: Some(member), ..self }
    }

    /// The same write, which neither claims nor deletes its target.
    #[must_use]
    pub const fn in_place(self) -> Operation {
        Operation { is_in_place: true, ..self }
    }

    /// The same read, allowed only for what the spec's lookups name.
    #[must_use]
    pub const fn asking(self, asks: Asks) -> Operation {
        Operation { asks: Some(asks), ..self }
    }

    /// The same call with these additional permissions.
    #[must_use]
    pub const fn implying(self, implied: &'static [ImpliedPermission]) -> Operation {
        Operation { implied, ..self }
    }

    /// Whether it is the same call about the same type of resource.
    pub fn is_same(&self, other: &Operation) -> bool {
        let about = |it: &Operation| it.target.map(|target| target.form.kind);
        (self.service, self.name, about(self)) == (other.service, other.name, about(other))
    }
}

const fn after_colon(action: &'static str) -> &'static str {
    let mut rest = action.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte == b':' {
            break;
        }
    }
    match str::from_utf8(rest) {
        Ok(name) => name,
        Err(_) => action,
    }
}

/// A set of declared calls.
#[derive(Debug, Clone)]
pub struct Operations {
    rows: Vec<Operation>,
    limits: Vec<&'static Limit>,
}

impl Operations {
    /// The set of these calls. Several resource types may declare the same one.
    pub fn new(rows: impl IntoIterator<Item = Operation>) -> Operations {
        let rows: Vec<Operation> = rows.into_iter().collect();
        // Polls refer to this one by its index.
        let mut limits: Vec<&'static Limit> = vec![&limits::CONTROL_PLANE];
        for row in &rows {
            if !limits.iter().any(|it| ptr::eq(*it, row.limit)) {
                limits.push(row.limit);
            }
        }
        Operations { rows, limits }
    }

    /// All declarations.
    pub fn iter(&self) -> impl Iterator<Item = &Operation> {
        self.rows.iter()
    }

    /// The rate limits that the calls count against.
    pub fn limits(&self) -> Vec<Limit> {
        self.limits.iter().map(|limit| **limit).collect()
    }

    /// The index of a call's rate limit in [`limits`](Operations::limits).
    pub(crate) fn limit_of(&self, operation: &Operation) -> LimitId {
        let position = self.limits.iter().position(|it| ptr::eq(*it, operation.limit));
        position.map_or(limits::LAMBDA, LimitId)
    }

    /// The permission for this action, if a call implies it.
    pub(crate) fn implied(&self, action: &str) -> Option<&ImpliedPermission> {
        self.iter().flat_map(|it| it.implied).find(|it| it.action == action)
    }

    fn named(&self, name: &str) -> impl Iterator<Item = &Operation> {
        self.iter().filter(move |it| it.name == name)
    }

    /// Whether an operation with that name can change something.
    pub(crate) fn changes(&self, name: &str) -> bool {
        self.named(name).any(|it| it.effect != Effect::Read)
    }

    /// The permission that an operation requires; two if two services have an operation with that
    /// name.
    pub(crate) fn permission(&self, name: &str) -> String {
        let mut actions: Vec<&str> = self.named(name).map(|it| it.action).collect();
        actions.sort_unstable();
        actions.dedup();
        if actions.is_empty() { name.to_owned() } else { actions.join("` or `") }
    }

    /// The resource type of an operation and its page in AWS's API reference; `None` if it isn't an
    /// AWS operation, or if two services have one with that name.
    pub(crate) fn page(&self, name: &str) -> Option<(Option<&'static str>, String)> {
        let first = self.named(name).next()?;
        if self.named(name).any(|it| it.service != first.service) {
            return None;
        }
        Some((first.kind, format!("https://docs.aws.amazon.com/{}/API_{name}.html", first.service.reference)))
    }
}

/// All calls that engine makes.
pub fn all() -> Operations {
    let of_kinds = kinds::registry().into_iter().flat_map(|kind| kind.operations());
    let others =
        [connect::OPERATIONS, lookups::OPERATIONS, permissions::OPERATIONS, logs::OPERATIONS, verify::OPERATIONS];
    Operations::new(of_kinds.chain(others.into_iter().flatten()).copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_callers_identity_requires_no_permission() {
        let free: Vec<&str> = all().iter().filter(|it| it.grants.is_empty()).map(|it| it.name).collect();
        assert_eq!(free, ["GetCallerIdentity"]);
    }

    /// The guard lets every read through, so that this mistake would have no other witness.
    #[test]
    fn every_operation_declared_as_a_read_is_named_like_one() {
        let verbs = ["Describe", "Filter", "Get", "List", "Scan", "Simulate"];
        for operation in all().iter() {
            let is_read = verbs.iter().any(|verb| operation.name.starts_with(verb));
            assert_eq!(operation.effect == Effect::Read, is_read, "{}", operation.name);
        }
    }

    #[test]
    fn polls_count_against_the_control_planes_limit() {
        let operations = all();
        let polled = operations.iter().find(|it| it.name == "GetEventSourceMapping").unwrap();
        assert_eq!(operations.limit_of(polled), limits::LAMBDA);
    }
}
