//! One AWS account as a model: its states change slowly, its responses have AWS's own shapes, and
//! it always refuses what AWS refuses only sometimes.
//!
//! Texts and shapes were recorded from the real services. Every transitional state is shown
//! [`READS`] times before it ends, so nothing is ever ready at the first read.

mod code;
mod invocation;
mod lambda;
mod log_group;
mod lookups;
pub(super) mod queue;
pub(crate) mod role;
mod stage;
mod table;
mod tagging;

use std::collections::BTreeMap;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::http::request::Parts;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Value as Json, json};
use tokio::time::{Duration, Instant};

use log_group::LogGroup;
use role::Role;
use table::Table;

pub(super) use lambda::{Function, Mapping, function_arn, not_assumable, stream_not_readable};

/// The account of the credentials.
pub(crate) const ACCOUNT: &str = "123456789012";
pub(super) const REGION: &str = "eu-central-1";
/// A role with another owner.
pub(super) const ROLE: &str = "fhms-pulumi-challenge-lambda-execution-role";
/// How often a transitional state is shown before it ends.
const READS: u32 = 2;

/// A response.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    body: String,
}

impl Reply {
    pub(super) fn json(status: u16, body: &Json) -> Reply {
        Reply { status, headers: vec![("content-type", "application/json".to_owned())], body: body.to_string() }
    }

    /// A success with this JSON body.
    pub(super) fn ok(body: &Json) -> Reply {
        Reply::json(200, body)
    }

    /// A reply with this status and any body.
    pub(super) fn raw(status: u16, body: &str) -> Reply {
        Reply { body: body.to_owned(), ..Reply::json(status, &json!({})) }
    }

    /// The reply with an edited body, unless it is an error.
    pub(super) fn edited(self, edit: &dyn Fn(&str) -> String) -> Reply {
        if self.status >= 300 { self } else { Reply { body: edit(&self.body), ..self } }
    }

    fn empty() -> Reply {
        Reply { status: 204, headers: Vec::new(), body: String::new() }
    }

    fn xml(status: u16, body: String) -> Reply {
        Reply { status, headers: vec![("content-type", "text/xml".to_owned())], body }
    }

    /// An error as DynamoDB sends it.
    pub(super) fn dynamodb(code: &str, message: &str) -> Reply {
        let kind = format!("com.amazonaws.dynamodb.v20120810#{code}");
        Reply::json(400, &json!({ "__type": kind, "message": message }))
    }

    /// An error as CloudWatch Logs sends it.
    pub(super) fn logs(code: &str, message: &str) -> Reply {
        Reply::json(400, &json!({ "__type": code, "message": message }))
    }

    /// An error as Lambda sends it.
    pub(super) fn lambda(status: u16, code: &str, message: &str) -> Reply {
        let mut reply = Reply::json(status, &json!({ "Type": "User", "Message": message }));
        reply.headers.push(("x-amzn-errortype", code.to_owned()));
        reply
    }

    /// An error as IAM and STS send it.
    pub(super) fn query(status: u16, code: &str, message: &str) -> Reply {
        Reply::xml(
            status,
            format!(
                "<ErrorResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><Error><Type>Sender</Type>\
                 <Code>{code}</Code><Message>{message}</Message></Error><RequestId>r</RequestId></ErrorResponse>"
            ),
        )
    }

    /// An error of the service that the operation belongs to.
    pub(super) fn of(operation: &str, status: u16, code: &str, message: &str) -> Reply {
        match operation {
            "GetCallerIdentity" | "ListExports" | "DescribeStacks" => Reply::query(status, code, message),
            "GetParameters" | "GetSecretValue" => Reply { status, ..Reply::logs(code, message) },
            _ if role::operation(operation) == operation => Reply::query(status, code, message),
            _ if IAM_READS.contains(&operation) => Reply::query(status, code, message),
            "GetResources" | "FilterLogEvents" => Reply { status, ..Reply::dynamodb(code, message) },
            _ if queue::operation(operation) == operation => Reply { status, ..queue::error(code, message) },
            _ if table::operation(operation) == operation => Reply { status, ..Reply::dynamodb(code, message) },
            "TagLogGroup" | "UntagLogGroup" => Reply { status, ..Reply::logs(code, message) },
            _ if log_group::operation(operation) == operation => Reply { status, ..Reply::logs(code, message) },
            _ => Reply::lambda(status, code, message),
        }
    }

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::builder().status(self.status).header("x-amzn-requestid", "scripted-request");
        for (name, value) in self.headers {
            response = response.header(name, value);
        }
        response.body(Full::new(Bytes::from(self.body))).unwrap()
    }
}

/// The IAM operations that read a role's permissions.
pub(super) const IAM_READS: [&str; 6] = [
    IAMS_GET_POLICY,
    "GetPolicyVersion",
    "GetRolePolicy",
    "ListAttachedRolePolicies",
    "ListRolePolicies",
    "SimulatePrincipalPolicy",
];
/// Lambda has an operation of that name, too.
const IAMS_GET_POLICY: &str = "IAM's GetPolicy";

/// A parsed request.
#[derive(Debug, Clone)]
pub(super) struct Call {
    /// The API operation; `?` if AWS doesn't know it.
    pub(super) operation: &'static str,
    /// Its subject, such as a resource's name.
    pub(super) about: String,
    pub(super) body: Json,
    pub(super) query: BTreeMap<String, String>,
}

impl Call {
    pub(super) fn parse(head: &Parts, bytes: &[u8]) -> Call {
        let path = head.uri.path().to_owned();
        let query = pairs(head.uri.query().unwrap_or_default());
        let body: Json = serde_json::from_slice(bytes).unwrap_or_default();
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        if let Some(target) = head.headers.get("x-amz-target") {
            if let Some((operation, about)) = lookups::operation(target.to_str().unwrap(), &body) {
                return Call { operation, about, body, query };
            }
            if target == "ResourceGroupsTaggingAPI_20170126.GetResources" {
                return Call { operation: "GetResources", about: String::new(), body, query };
            }
            if target == "Logs_20140328.FilterLogEvents" {
                return Call { operation: "FilterLogEvents", about: text("logGroupName"), body, query };
            }
            if let Some(operation) = target.to_str().unwrap().strip_prefix("AmazonSQS.") {
                return Call { operation: queue::operation(operation), about: queue::about(&body), body, query };
            }
            if let Some(name) = target.to_str().unwrap().strip_prefix("Logs_20140328.") {
                let named = if body["logGroupName"].is_string() { "logGroupName" } else { "logGroupNamePrefix" };
                let arn = text("resourceArn");
                let about = if arn.is_empty() { text(named) } else { log_group::name_in(&arn) };
                return Call { operation: log_group::operation(name), about, body, query };
            }
            if let Some(name) = target.to_str().unwrap().strip_prefix("DynamoDBStreams_20120810.") {
                let operation = match name {
                    "DescribeStream" => "DescribeStream",
                    "GetShardIterator" => "GetShardIterator",
                    _ => "GetRecords",
                };
                return Call { operation, about: text("StreamArn"), body, query };
            }
            let operation = target.to_str().unwrap().strip_prefix("DynamoDB_20120810.").map_or("?", table::operation);
            let about = if body["TableName"].is_string() { text("TableName") } else { last(&text("ResourceArn")) };
            return Call { operation, about, body, query };
        }
        if path.starts_with("/latest/") {
            return Call { operation: "Metadata", about: path, body, query };
        }
        if !path.starts_with("/20") {
            let form = pairs(&String::from_utf8_lossy(bytes));
            let named = || form.get("RoleName").cloned().unwrap_or_default();
            let (operation, about) = match form.get("Action").map(String::as_str) {
                Some("GetCallerIdentity") => ("GetCallerIdentity", String::new()),
                Some("ListExports") => ("ListExports", String::new()),
                Some("DescribeStacks") => ("DescribeStacks", form.get("StackName").cloned().unwrap_or_default()),
                // The SDK calls it for a profile with a role.
                Some("AssumeRole") => ("AssumeRole", form.get("RoleArn").cloned().unwrap_or_default()),
                Some(action) if role::operation(action) == action => (role::operation(action), named()),
                other => {
                    let other = if other == Some("GetPolicy") { Some(IAMS_GET_POLICY) } else { other };
                    let read = IAM_READS.into_iter().find(|read| other == Some(*read));
                    (read.unwrap_or("?"), form.get("RoleName").cloned().unwrap_or_else(|| format!("{other:?}")))
                }
            };
            let body = if role::operation(operation) == operation { role::body(&form) } else { body };
            return Call { operation, about, body, query: form };
        }
        let segments: Vec<String> = path.split('/').skip(2).filter(|it| !it.is_empty()).map(decode).collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let (operation, about) = lambda::route(head.method.as_str(), &segments, &body, &query)
            .unwrap_or_else(|| ("?", format!("{} {path}", head.method)));
        let mut query = query;
        if let ["functions", _, "policy", statement] = segments.as_slice() {
            query.insert("StatementId".to_owned(), (*statement).to_owned());
        }
        Call { operation, about, body, query }
    }
}

fn pairs(text: &str) -> BTreeMap<String, String> {
    let mut pairs: BTreeMap<String, String> = BTreeMap::new();
    for (key, value) in text.split('&').filter_map(|pair| pair.split_once('=')) {
        let value = decode(value);
        // A repeated parameter becomes a list.
        pairs.entry(decode(key)).and_modify(|list| *list = format!("{list}\n{value}")).or_insert(value);
    }
    pairs
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8().unwrap().into_owned()
}

/// The name at the end of an ARN.
fn last(arn: &str) -> String {
    arn.rsplit([':', '/']).next().unwrap_or_default().to_owned()
}

pub(super) type Tags = BTreeMap<String, String>;

/// A transitional state that ends after a number of reads.
#[derive(Debug, Clone)]
struct Passing {
    words: Vec<&'static str>,
    reads: u32,
}

impl Passing {
    fn through(words: &[&'static str]) -> Passing {
        Passing { words: words.to_vec(), reads: READS }
    }

    /// Counts one read; `None` once the state has ended.
    fn next_state(&mut self) -> Option<&'static str> {
        if self.reads == 0 {
            self.words.remove(0);
            self.reads = READS;
        }
        let word = *self.words.first()?;
        self.reads -= 1;
        Some(word)
    }
}

/// What AWS may return about the mappings of a deleted function.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Orphans {
    #[default]
    Listed,
    Hidden,
    NotFound,
    Invalid,
}

/// When roles were created that IAM may still propagate.
pub(super) const YOUNG: &str = "2999-01-01T00:00:00Z";

/// The modeled account.
#[derive(Debug, Clone, Default)]
pub(crate) struct World {
    pub(super) tables: BTreeMap<String, Table>,
    pub(super) functions: BTreeMap<String, Function>,
    pub(super) log_groups: BTreeMap<String, LogGroup>,
    /// Whether a line of a function arrives right after the next log group is deleted.
    pub(super) late_line: bool,
    /// The aliases that each function has.
    pub(crate) aliases: Vec<&'static str>,
    /// Uploaded packages, by their hash.
    pub(super) archives: BTreeMap<String, Bytes>,
    pub(super) mappings: Vec<Mapping>,
    pub(super) queues: BTreeMap<String, queue::Queue>,
    /// Names of deleted queues, and how many creates AWS still refuses.
    pub(super) deleted_queues: BTreeMap<String, u32>,
    pub(crate) roles: BTreeMap<String, Role>,
    /// The network interfaces that Lambda created, by requester, and how many reads still show each.
    pub(super) interfaces: Vec<(String, u32)>,
    /// When the old roles were created; `None`: long before everything else.
    pub(super) roles_created: Option<&'static str>,
    /// When functions are created or changed from now on; `None`: at the default time.
    pub(super) lambda_time: Option<&'static str>,
    pub(crate) index: tagging::TagIndex,
    /// How many reads of a new table's tags find nothing, even once it is ACTIVE.
    pub(super) tag_lag: u32,
    /// Whether reading a function's tags is denied.
    pub(super) function_tags_denied: bool,
    /// Whether lists return pages of one entry, the first of them empty.
    pub(super) small_pages: bool,
    pub(super) ids: u32,
    /// The trust policy of the roles; `None`: one that lets Lambda assume them.
    pub(super) trust: Option<Json>,
    /// The simulator's decision for everything, and whether context is missing; `None`: access is
    /// denied.
    pub(super) simulated: Option<(&'static str, bool)>,
    /// The time that AWS's clock shows; `None`: the current time.
    pub(super) date: Option<&'static str>,
    /// The policies of the roles, one attached and one inline; `None`: access is denied.
    pub(super) policies: Option<[Json; 2]>,
    /// Accepts what AWS isn't known to accept: mappings on a new table, permissions and tags during
    /// an update.
    pub(super) lenient: bool,
    /// What a list of mappings shows for a deleted function.
    pub(super) orphans: Orphans,
    /// SSM parameters by name, each with its type, value and version.
    pub(super) parameters: BTreeMap<String, (&'static str, String, u64)>,
    /// Secrets by name; `None`: without a value.
    pub(super) secrets: BTreeMap<String, Option<String>>,
    /// CloudFormation's exports.
    pub(super) exports: BTreeMap<String, String>,
    /// Stacks by name, each with its state and outputs.
    pub(super) stacks: BTreeMap<String, (&'static str, BTreeMap<String, String>)>,
    /// The maximum total bytes of a function's code and layers; `None`: no limit.
    pub(super) max_unpacked: Option<u64>,
    /// Until then every connection is cut before its call is executed.
    pub(super) dark_until: Option<Instant>,
}

impl World {
    /// Cuts every connection from now on, for this time.
    pub(super) fn go_dark(&mut self, time: Duration) {
        self.dark_until = Some(Instant::now() + time);
    }

    /// An account with only the role, which IAM may still propagate.
    pub(super) fn young() -> World {
        World { roles_created: Some(YOUNG), ..World::empty() }
    }

    /// An account with only the role.
    pub(crate) fn empty() -> World {
        World { roles: BTreeMap::from([(ROLE.to_owned(), Role::old("/"))]), ..World::default() }
    }

    /// As if everything had been created long ago.
    pub(crate) fn aged(mut self) -> World {
        for table in self.tables.values_mut() {
            table.age();
        }
        for queue in self.queues.values_mut() {
            queue.age();
        }
        self.roles.values_mut().for_each(Role::age);
        self.queues.retain(|_, queue| !queue.is_leaving());
        self.deleted_queues.clear();
        self
    }

    /// Whether nothing is left except resources that are being deleted.
    pub(super) fn is_empty(&self) -> bool {
        let mappings = self.mappings.iter().all(Mapping::is_leaving);
        let queues = self.queues.values().all(queue::Queue::is_leaving);
        let is_idle = self.functions.is_empty() && self.log_groups.is_empty();
        is_idle && mappings && queues && self.tables.values().all(Table::is_leaving)
    }

    fn id(&mut self) -> u32 {
        self.ids += 1;
        self.ids
    }

    pub(super) fn execute(&mut self, call: &Call) -> Reply {
        if let Some(done) = self.queue_call(call) {
            return done.unwrap_or_else(|refusal| refusal);
        }
        if let Some(done) = self.table_call(call) {
            return done.unwrap_or_else(|refusal| refusal);
        }
        if let Some(done) = self.log_group_call(call) {
            return done.unwrap_or_else(|refusal| refusal);
        }
        if let Some(done) = self.role_call(call) {
            return done.unwrap_or_else(|refusal| refusal);
        }
        if let Some(done) = self.looked_up(call) {
            return done;
        }
        let done = match call.operation {
            "GetResources" => self.get_resources(&call.body),
            "GetCallerIdentity" => Ok(identity()),
            "FilterLogEvents" => Ok(Reply::ok(&json!({ "events": [], "searchedLogStreams": [] }))),
            "DescribeStream" => {
                Ok(Reply::ok(&json!({ "StreamDescription": { "Shards": [{ "ShardId": "shard-1" }] } })))
            }
            "GetShardIterator" => Ok(Reply::ok(&json!({ "ShardIterator": call.about }))),
            "GetRecords" => Ok(Reply::ok(&json!({ "Records": [], "NextShardIterator": call.body["ShardIterator"] }))),
            "SimulatePrincipalPolicy" if self.simulated.is_some() => Ok(self.simulate(call)),
            read if IAM_READS[..5].contains(&read) && self.policies.is_some() => Ok(self.policies(read, call)),
            // Few callers have permission for these.
            denied if IAM_READS.contains(&denied) => {
                let text = format!("User: X is not authorized to perform: iam:{denied} on resource: {}", call.about);
                Err(Reply::query(403, "AccessDenied", &text))
            }
            "Metadata" => Ok(Reply::ok(&json!({
                "AccessKeyId": "AKIAEXAMPLE",
                "SecretAccessKey": "secret",
                "Token": "token",
                "Expiration": "2099-01-01T00:00:00Z",
            }))),
            _ => self.lambda(call),
        };
        done.unwrap_or_else(|refusal| refusal)
    }

    // Roles.

    fn simulate(&self, call: &Call) -> Reply {
        let (decision, lacks_context) = self.simulated.unwrap();
        let missing = if lacks_context { "<member>aws:SourceVpc</member>" } else { "" };
        let missing = format!("<MissingContextValues>{missing}</MissingContextValues>");
        let listed = |list: &str| {
            let of_list = call.query.iter().filter(|(name, _)| name.starts_with(&format!("{list}.member.")));
            of_list.map(|(_, value)| value.clone()).collect::<Vec<_>>()
        };
        let resources = listed("ResourceArns");
        let result = |action: &String| {
            let inner = resources.iter().map(|resource| {
                format!(
                    "<member><EvalResourceName>{resource}</EvalResourceName>                     <EvalResourceDecision>{decision}</EvalResourceDecision>{missing}</member>"
                )
            });
            // For a single resource, the result itself has the decision.
            let inner = if resources.len() > 1 { inner.collect() } else { String::new() };
            format!(
                "<member><EvalActionName>{action}</EvalActionName><EvalResourceName>{}</EvalResourceName>                 <EvalDecision>{decision}</EvalDecision>{missing}                 <ResourceSpecificResults>{inner}</ResourceSpecificResults></member>",
                resources[0]
            )
        };
        let results: String = listed("ActionNames").iter().map(result).collect();
        iam("SimulatePrincipalPolicy", &format!("<EvaluationResults>{results}</EvaluationResults>"))
    }

    /// A role with one managed and one inline policy.
    fn policies(&self, read: &str, call: &Call) -> Reply {
        let [attached, own] = self.policies.as_ref().unwrap();
        let encoded = |policy: &Json| utf8_percent_encode(&policy.to_string(), NON_ALPHANUMERIC).to_string();
        let arn = "arn:aws:iam::aws:policy/service-role/AWSLambdaDynamoDBExecutionRole";
        match read {
            "ListAttachedRolePolicies" => iam(
                read,
                &format!(
                    "<AttachedPolicies><member><PolicyName>managed</PolicyName><PolicyArn>{arn}</PolicyArn></member>                     </AttachedPolicies>"
                ),
            ),
            "ListRolePolicies" => iam(read, "<PolicyNames><member>own</member></PolicyNames>"),
            "GetRolePolicy" => iam(
                read,
                &format!(
                    "<RoleName>{}</RoleName><PolicyName>own</PolicyName><PolicyDocument>{}</PolicyDocument>",
                    call.about,
                    encoded(own)
                ),
            ),
            "GetPolicyVersion" => {
                iam(read, &format!("<PolicyVersion><Document>{}</Document></PolicyVersion>", encoded(attached)))
            }
            _ => iam("GetPolicy", "<Policy><DefaultVersionId>v7</DefaultVersionId></Policy>"),
        }
    }
}

fn identity() -> Reply {
    Reply::xml(
        200,
        format!(
            "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
             <Arn>arn:aws:iam::{ACCOUNT}:user/student</Arn><UserId>AIDAEXAMPLE</UserId><Account>{ACCOUNT}</Account>\
             </GetCallerIdentityResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata>\
             </GetCallerIdentityResponse>"
        ),
    )
}

fn role_arn(path: &str, name: &str) -> String {
    format!("arn:aws:iam::{ACCOUNT}:role{path}{name}")
}

/// A response of IAM.
fn iam(operation: &str, result: &str) -> Reply {
    Reply::xml(
        200,
        format!(
            "<{operation}Response xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><{operation}Result>\
             <IsTruncated>false</IsTruncated>{result}</{operation}Result></{operation}Response>"
        ),
    )
}
