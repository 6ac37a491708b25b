//! The printed policies, compared with the calls that engine sends: each call has its permission,
//! and each permission has a call or a stated reason. A pipeline goes through its lifecycle on the
//! local AWS and on the scripted one, which supports what the local one doesn't.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use engine::policy::implied;
use serde_json::{Value as Json, json};

use super::server::{Cloud, Fault, Witness};
use super::world::{ACCOUNT, Call, REGION, ROLE, Reply, Tags, World};
use super::{FUNCTION, Project, TABLE, replaced};
use crate::e2e;
use crate::shared::program::flat;
use crate::shared::proxy::{Proxy, Request, aged};

const TEAM: &str = "blue-owls";
/// All values of `--for`.
const PURPOSES: [&str; 8] = ["diff", "apply", "destroy", "verify", "logs", "check", "dev", "all"];
/// The name of the IAM user that makes the calls.
const USER: &str = "student";

/// A permission that AWS requires.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Right {
    pub(super) action: String,
    pub(super) resource: String,
    pub(super) context: BTreeMap<String, String>,
    /// Whether a call with another name requires it.
    along: bool,
}

/// A call, and what its permissions depend on besides the request itself.
pub(super) struct ObservedCall<'c> {
    pub(super) call: &'c Call,
    pub(super) account: &'c str,
    /// The function and the tags of the mapping that the call is about, if that mapping exists.
    pub(super) mapping: Option<(String, BTreeMap<String, String>)>,
}

/// The permissions that AWS requires, by its service authorization reference
/// (docs.aws.amazon.com/service-authorization/latest/reference/list_awslambda.html,
/// …/list_amazondynamodb.html, …/list_amazoncloudwatchlogs.html).
pub(super) fn required_permissions(seen: &ObservedCall<'_>) -> Vec<Right> {
    let ObservedCall { call: Call { operation, about, body, query }, account, mapping } = seen;
    let arn = |service: &str, resource: &str| format!("arn:aws:{service}:{REGION}:{account}:{resource}");
    let right = |action: &str, resource: String, context: &[(&str, String)]| Right {
        action: action.to_owned(),
        resource,
        context: context.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
        along: false,
    };
    let along = |right: Right| Right { along: true, ..right };
    let named = |service: &str| format!("{service}:{operation}");
    let table = || arn("dynamodb", &format!("table/{}", about.rsplit('/').next().unwrap()));
    let function = |name: &str| {
        let name = name.rsplit_once("function:").map_or(name, |(_, name)| name);
        arn("lambda", &format!("function:{name}"))
    };
    let tags = || ("aws:RequestTag/engine:team", body["Tags"]["engine:team"].as_str().unwrap_or_default().to_owned());
    let mapping_arn = || arn("lambda", &format!("event-source-mapping:{about}"));
    let log_group = |rest: &str| arn("logs", &format!("log-group:{about}{rest}"));
    let here = || [("aws:RequestedRegion", REGION.to_owned())];
    let pass = || {
        let role = body["Role"].as_str().map(str::to_owned);
        role.map(|role| {
            along(right("iam:PassRole", role, &[("iam:PassedToService", "lambda.amazonaws.com".to_owned())]))
        })
    };
    match *operation {
        // Requires no permission.
        "GetCallerIdentity" => Vec::new(),
        "DescribeLogGroups" => vec![right(&named("logs"), "*".to_owned(), &here())],
        // Calls about tags name the log group, and the others also its streams.
        "ListTagsForResource" => vec![right(&named("logs"), log_group(""), &[])],
        "TagLogGroup" => vec![right("logs:TagResource", log_group(""), &[])],
        "UntagLogGroup" => vec![right("logs:UntagResource", log_group(""), &[])],
        "CreateLogGroup" => vec![
            right(&named("logs"), log_group(":log-stream:"), &[]),
            along(right("logs:TagResource", log_group(""), &[])),
        ],
        name if LOG_GROUP_CALLS.contains(&name) => {
            vec![right(&named("logs"), log_group(":log-stream:"), &[])]
        }
        "ListTables" => vec![right(&named("dynamodb"), "*".to_owned(), &here())],
        "ListFunctions" | "ListEventSourceMappings" => vec![right(&named("lambda"), "*".to_owned(), &here())],
        "ListQueues" => vec![right(&named("sqs"), "*".to_owned(), &here())],
        "CreateQueue" => {
            let queue = arn("sqs", about);
            vec![right(&named("sqs"), queue.clone(), &[]), along(right("sqs:TagQueue", queue, &[]))]
        }
        "SendMessage" => vec![right("sqs:SendMessage", arn("sqs", about), &[])],
        name if name.contains("Queue") => vec![right(&named("sqs"), arn("sqs", about), &[])],
        "GetResources" => vec![right(&named("tag"), "*".to_owned(), &here())],
        "DescribeNetworkInterfaces" => vec![right(&named("ec2"), "*".to_owned(), &here())],
        // IAM has neither a resource type nor a condition key for it
        // (docs.aws.amazon.com/service-authorization/latest/reference/list_awsidentityandaccessmanagementiam.html).
        "ListRoles" => vec![right(&named("iam"), "*".to_owned(), &[])],
        "CreateRole" => {
            let role = format!("arn:aws:iam::{account}:role/{about}");
            vec![right(&named("iam"), role.clone(), &[]), along(right("iam:TagRole", role, &[]))]
        }
        name if ROLE_CALLS.contains(&name) => {
            vec![right(&named("iam"), format!("arn:aws:iam::{account}:role/{about}"), &[])]
        }
        "ListAttachedRolePolicies" | "ListRolePolicies" | "GetRolePolicy" => {
            vec![right(&named("iam"), format!("arn:aws:iam::{account}:role/{about}"), &[])]
        }
        "SimulatePrincipalPolicy" => vec![right(&named("iam"), query["PolicySourceArn"].clone(), &[])],
        // The scripted AWS uses this name to distinguish it from Lambda's operation.
        "IAM's GetPolicy" => vec![right("iam:GetPolicy", query["PolicyArn"].clone(), &[])],
        "GetPolicyVersion" => vec![right(&named("iam"), query["PolicyArn"].clone(), &[])],
        // Access-denied messages name a log stream of the group with an empty name.
        "FilterLogEvents" => ["", ":log-stream:"].map(|rest| right(&named("logs"), log_group(rest), &[])).to_vec(),
        "CreateTable" => {
            vec![right(&named("dynamodb"), table(), &[]), along(right("dynamodb:TagResource", table(), &[]))]
        }
        // The scripted AWS uses this name to distinguish DynamoDB's operation from Lambda's.
        "TagTable" => vec![right("dynamodb:TagResource", table(), &[])],
        "UntagTable" => vec![right("dynamodb:UntagResource", table(), &[])],
        "DescribeStream" | "GetShardIterator" => vec![right(&named("dynamodb"), about.clone(), &[])],
        // The scripted AWS uses the stream as its iterator; a real one doesn't show it.
        "GetRecords" => {
            let stream = body["ShardIterator"].as_str().filter(|it| it.starts_with("arn:"));
            stream.map(|stream| right(&named("dynamodb"), stream.to_owned(), &[])).into_iter().collect()
        }
        "Scan" | "PutItem" | "UpdateItem" | "DeleteItem" | "ListTagsOfResource" => {
            vec![right(&named("dynamodb"), table(), &[])]
        }
        name if ["Table", "TimeToLive", "ContinuousBackups"].iter().any(|it| name.ends_with(it)) => {
            vec![right(&named("dynamodb"), table(), &[])]
        }
        "CreateEventSourceMapping" => {
            let feeds = ("lambda:FunctionArn", function(body["FunctionName"].as_str().unwrap()));
            vec![
                right(&named("lambda"), "*".to_owned(), &[feeds]),
                along(right("lambda:TagResource", arn("lambda", "event-source-mapping:new"), &[tags()])),
            ]
        }
        // The function of a deleted mapping can't be determined.
        name if name.ends_with("EventSourceMapping") => {
            let of = mapping.iter().map(|(name, _)| ("lambda:FunctionArn", function(name)));
            of.map(|feeds| right(&named("lambda"), mapping_arn(), &[feeds])).collect()
        }
        "ListTags" | "TagResource" | "UntagResource" if !about.contains(TEAM) => {
            let owner = mapping.as_ref().and_then(|(_, tags)| tags.get("engine:team").cloned()).unwrap_or_default();
            let context = [tags(), ("aws:ResourceTag/engine:team", owner)];
            // A tag that is not set is not part of the context.
            let context: Vec<_> = context.into_iter().filter(|(_, value)| !value.is_empty()).collect();
            vec![right(&named("lambda"), mapping_arn(), &context)]
        }
        "Invoke" => vec![right("lambda:InvokeFunction", function(about), &[])],
        "GetFunction" => {
            vec![right(&named("lambda"), function(about), &[]), along(right("lambda:ListTags", function(about), &[]))]
        }
        "CreateFunction" => [right(&named("lambda"), function(about), &[])]
            .into_iter()
            .chain([along(right("lambda:TagResource", function(about), &[]))])
            .chain(pass())
            .collect(),
        "UpdateFunctionConfiguration" => {
            [right(&named("lambda"), function(about), &[])].into_iter().chain(pass()).collect()
        }
        _ => vec![right(&named("lambda"), function(about), &[])],
    }
}

/// The other calls about one role.
const ROLE_CALLS: [&str; 13] = [
    "AttachRolePolicy",
    "DeleteRole",
    "DeleteRolePermissionsBoundary",
    "DeleteRolePolicy",
    "DetachRolePolicy",
    "GetRole",
    "ListInstanceProfilesForRole",
    "PutRolePermissionsBoundary",
    "PutRolePolicy",
    "TagRole",
    "UntagRole",
    "UpdateAssumeRolePolicy",
    "UpdateRole",
];

/// The other calls about one log group.
const LOG_GROUP_CALLS: [&str; 6] = [
    "AssociateKmsKey",
    "DeleteLogGroup",
    "DeleteRetentionPolicy",
    "DescribeLogStreams",
    "DisassociateKmsKey",
    "PutRetentionPolicy",
];

/// The names of the statements that allow it, by the subset of IAM's rules used here.
fn allowing<'p>(policy: &'p Json, right: &Right) -> Vec<&'p str> {
    let holds = |statement: &Json| {
        let conditions = statement["Condition"].as_object().into_iter().flatten();
        let holds = conditions.into_iter().all(|(operator, keys)| {
            let if_absent = operator.ends_with("IfExists");
            keys.as_object().unwrap().iter().all(|(key, patterns)| match right.context.get(key) {
                Some(value) => texts(patterns).iter().any(|it| like(it, value)),
                None => if_absent,
            })
        });
        statement["Effect"] == "Allow"
            && texts(&statement["Action"]).contains(&right.action)
            && texts(&statement["Resource"])
                .iter()
                .any(|it| like(&it.replace("${aws:username}", USER), &right.resource))
            && holds
    };
    let statements = policy["Statement"].as_array().unwrap().iter().filter(|it| holds(it));
    statements.map(|it| it["Sid"].as_str().unwrap()).collect()
}

pub(super) fn allows(policy: &Json, right: &Right) -> bool {
    !allowing(policy, right).is_empty()
}

fn texts(value: &Json) -> Vec<String> {
    match value {
        Json::Array(items) => items.iter().map(|it| it.as_str().unwrap().to_owned()).collect(),
        other => vec![other.as_str().unwrap().to_owned()],
    }
}

/// `*` matches anything.
fn like(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text
            .strip_prefix(start)
            .is_some_and(|text| (0..=text.len()).any(|at| text.is_char_boundary(at) && like(rest, &text[at..]))),
    }
}

/// The program's stdout and stderr without credentials and network.
fn output(project: &Project, args: &[&str]) -> [String; 2] {
    let ran = project.command(&[&["policy", "--account", ACCOUNT], args].concat()).run();
    ran.ends_with(0);
    [ran.out, ran.err]
}

fn printed(project: &Project, args: &[&str]) -> String {
    let [out, _] = output(project, args);
    out
}

fn policy(project: &Project, args: &[&str]) -> Json {
    serde_json::from_str(&printed(project, args)).unwrap()
}

fn actions(policy: &Json) -> BTreeSet<String> {
    let statements = policy["Statement"].as_array().unwrap().iter();
    statements.flat_map(|it| texts(&it["Action"])).collect()
}

/// Statement and action.
type Pair = (String, String);

fn pairs(policy: &Json) -> BTreeSet<Pair> {
    let statements = policy["Statement"].as_array().unwrap().iter();
    let pairs =
        statements.flat_map(|it| texts(&it["Action"]).into_iter().map(|action| (it["Sid"].to_string(), action)));
    pairs.map(|(sid, action)| (sid.trim_matches('"').to_owned(), action)).collect()
}

/// The recorded calls, compared with the policies.
struct Ledger {
    /// The policy for each `--for`.
    policies: BTreeMap<&'static str, Json>,
    /// Policies of other teams.
    others: Vec<Json>,
    /// The permissions of each policy that some call has used.
    used: BTreeSet<(&'static str, Pair)>,
    /// The commands that made a call, by action and resource.
    callers: BTreeMap<(String, String), BTreeSet<&'static str>>,
    lacking: Vec<String>,
}

impl Ledger {
    fn new(policy: impl Fn(&[&str]) -> Json) -> Ledger {
        Ledger {
            policies: PURPOSES.map(|purpose| (purpose, policy(&["--for", purpose, "--no-boundary"]))).into(),
            others: ["red-foxes", "blue-owls-more"].map(|team| policy(&["--team", team, "--no-boundary"])).into(),
            used: BTreeSet::new(),
            callers: BTreeMap::new(),
            lacking: Vec::new(),
        }
    }

    /// Whether an action is optional, and a policy is so large that it has no optional statements.
    fn omits(&self, purpose: &str, action: &str) -> bool {
        let optional = |policy: &Json| {
            let pairs = pairs(policy).into_iter().filter(|(sid, _)| sid.starts_with("Optional"));
            pairs.map(|(_, action)| action).collect::<BTreeSet<_>>()
        };
        optional(&self.policies[purpose]).is_empty() && optional(&self.policies["check"]).contains(action)
    }

    fn enter(&mut self, command: &'static str, rights: Vec<Right>) {
        assert!(!rights.is_empty(), "{command} calls nothing");
        for right in rights {
            // `items`, `invoke` and `dev` have a policy of their own.
            let purposes = if command == "dev" { &["dev"][..] } else { &[command, "all"] };
            for purpose in purposes.iter().copied() {
                let statements = allowing(&self.policies[purpose], &right);
                if statements.is_empty() && !self.omits(purpose, &right.action) {
                    self.lacking.push(format!("`--for {purpose}` lacks {right:?}"));
                }
                let used = statements.into_iter().map(|sid| (purpose, (sid.to_owned(), right.action.clone())));
                self.used.extend(used);
            }
            // With another team's credentials, a caller can list resources and read the tags of
            // mappings, and nothing else.
            let is_ours = right.resource.contains(TEAM) || right.context.values().any(|value| value.contains(TEAM));
            if is_ours && right.action != "lambda:ListTags" && self.others.iter().any(|it| allows(it, &right)) {
                self.lacking.push(format!("another team may do {right:?}"));
            }
            let what = if right.along { format!("({})", right.action) } else { right.action };
            // UUIDs differ from run to run.
            let resource = match right.resource.split_once("event-source-mapping:") {
                Some((start, _)) => format!("{start}event-source-mapping:…"),
                None => right.resource,
            };
            self.callers.entry((what, resource)).or_default().insert(command);
        }
    }

    /// The actions and their commands; actions in parentheses are required by other calls.
    fn table(&self) -> String {
        let mut table = String::new();
        for ((action, resource), commands) in &self.callers {
            let commands = commands.iter().copied().collect::<Vec<_>>().join(", ");
            let _ = writeln!(table, "{action:<40} {resource:<90} {commands}");
        }
        table
    }
}

/// Records the permissions that each call requires.
struct Clerk(Arc<Mutex<Vec<Right>>>);

impl Witness for Clerk {
    fn before(&mut self, call: &Call, world: &mut World) {
        let mapping = world.mappings.iter().find(|it| it.uuid == call.about);
        let mapping = mapping.map(|it| (it.function.clone(), it.tags.clone()));
        self.0.lock().unwrap().extend(required_permissions(&ObservedCall { call, account: ACCOUNT, mapping }));
    }
}

/// A queue and a role beside the pipeline.
const QUEUE: &str = "  jobs:\n    type: queue\n  runner:\n    type: role\n    \
                     trusted_services: [states.amazonaws.com]\n    access: { jobs: send }\n";
const HANDLER: &str = "    handler: index.handler\n";
/// Properties of the function that have calls of their own.
const ASYNC: &str = "    async: { maximum_retry_attempts: 1 }\n    url: { auth_type: AWS_IAM }\n";
/// More properties of the role.
const POLICIES: &str = "    managed_policy_arns: [arn:aws:iam::aws:policy/ReadOnlyAccess]\n";
const BOUNDARY: &str = "    permissions_boundary: arn:aws:iam::aws:policy/ReadOnlyAccess\n";
const ACCESS: &str = "    access: { jobs: send }\n";

/// Changes to every resource type, applied one after another.
const EDITS: [&[(&str, &str)]; 5] = [
    &[
        (
            "stream_view_type: NEW_AND_OLD_IMAGES",
            "stream_view_type: NEW_AND_OLD_IMAGES\n    ttl_attribute: gone\n    point_in_time_recovery: true\n    \
             tags: { course: cloud }",
        ),
        ("read_capacity: 1", "read_capacity: 2"),
        ("    type: queue\n", "    type: queue\n    delay_seconds: 1\n"),
        (
            "    access: { jobs: send }\n",
            "    access: { jobs: send }\n    managed_policy_arns: [arn:aws:iam::aws:policy/ReadOnlyAccess]\n    \
             permissions_boundary: arn:aws:iam::aws:policy/ReadOnlyAccess\n    description: first\n",
        ),
        ("handler: index.handler", "handler: index.handler\n    reserved_concurrent_executions: 5"),
        ("starting_position: TRIM_HORIZON", "starting_position: TRIM_HORIZON\n    batch_size: 7"),
        ("auth_type: AWS_IAM }", "auth_type: AWS_IAM, invoke_mode: RESPONSE_STREAM }"),
        ("retention_in_days: 7", "retention_in_days: 14\n    tags: { course: cloud }"),
    ],
    &[
        ("    reserved_concurrent_executions: 5", "    memory_size: 256\n    tags: { course: cloud }"),
        ("    async: { maximum_retry_attempts: 1 }\n", ""),
        ("    url: { auth_type: AWS_IAM, invoke_mode: RESPONSE_STREAM }\n", ""),
        ("batch_size: 7", "batch_size: 7\n    tags: { course: cloud }"),
        ("    delay_seconds: 1\n", "    tags: { course: cloud }\n"),
        ("    trusted_services: [states.amazonaws.com]\n", "    trusted_services: [ec2.amazonaws.com]\n"),
        (POLICIES, ""),
        (BOUNDARY, "    tags: { course: rust }\n"),
        (ACCESS, ""),
        ("    retention_in_days: 14\n", ""),
    ],
    &[
        ("handler: index.handler\n    memory_size: 256\n    tags: { course: cloud }", "handler: index.handler"),
        ("batch_size: 7\n    tags: { course: cloud }", "batch_size: 7"),
        ("point_in_time_recovery: true\n    tags: { course: cloud }", "point_in_time_recovery: true"),
    ],
    &[(
        "    tags: { course: rust }\n",
        "    access: { jobs: send }\n    managed_policy_arns: [arn:aws:iam::aws:policy/ReadOnlyAccess]\n",
    )],
    &[("principal: dynamodb.amazonaws.com", "principal: dynamodb.amazonaws.com\n    source_account: \"123456789012\"")],
];

/// A log group after the other resources of the spec.
const LOGS: &str = "\n  logs:\n    type: log_group\n    retention_in_days: 7\n";

/// The spec before this line.
fn spec_before(text: &str, line: &str) -> String {
    text.split_once(line).unwrap().0.to_owned()
}

/// The spec with `retain` on its resources.
fn retained(text: &str) -> String {
    let heads = [
        ("todos", "table"),
        ("logger", "function"),
        ("todos-to-logger", "mapping"),
        ("jobs", "queue"),
        ("runner", "role"),
        ("logs", "log_group"),
    ];
    let heads = heads.map(|(name, kind)| format!("  {name}:\n    type: {kind}\n"));
    heads.iter().fold(text.to_owned(), |text, head| replaced(&text, head, &format!("{head}    retain: true\n")))
}

/// A pipeline's lifecycle: each command runs with the `--for` that must cover it.
fn run_lifecycle(spec: impl Fn(Option<&str>) -> String, mut run: impl FnMut(&'static str, &[&str])) {
    let change = |edits: &[(&str, &str)]| {
        spec(Some(&edits.iter().fold(spec(None), |text, (from, to)| replaced(&text, from, to))));
    };
    run("diff", &["diff"]);
    run("check", &["check"]);
    run("apply", &["apply", "--yes"]);
    run("check", &["check"]);
    run("diff", &["diff", "--destroy"]);
    run("diff", &["diff", "--prune-scan"]);
    run("diff", &["list"]);
    run("diff", &["list", "--all-teams"]);
    run("diff", &["export", "blue-owls-todos", "blue-owls-logger", "--region", "eu-central-1", "-o", "exported.yaml"]);
    for edits in EDITS {
        change(edits);
        run("diff", &["diff"]);
        run("apply", &["apply", "--yes"]);
    }
    let text = spec(None);
    // First only the table is in the spec, then all but mapping and permission.
    spec(Some(&spec_before(&text, "  logger:\n")));
    run("diff", &["diff"]);
    spec(Some(&spec_before(&text, "  # Required by the task")));
    run("diff", &["diff"]);
    run("apply", &["apply", "--yes"]);
    spec(Some(&text));
    run("apply", &["apply", "--yes"]);
    run("verify", &["verify", "--yes", "--timeout", "60"]);
    run("logs", &["logs"]);
    run("dev", &["items", "put", "todos", r#"{"id":"7"}"#, "--yes"]);
    run("dev", &["items", "list", "todos"]);
    run("dev", &["items", "delete", "todos", r#"{"id":"7"}"#, "--yes"]);
    run("dev", &["invoke", "logger"]);
    // `dev` does what these do.
    run("dev", &["check"]);
    run("dev", &["logs"]);
    for name in ["todos-to-logger", "logger", "todos", "jobs", "runner", "logs"] {
        run("apply", &["release", name]);
    }
    // Adopt them again.
    run("apply", &["apply", "--yes"]);
    run("apply", &["apply", "--yes", "--replace", "logger"]);
    run("apply", &["apply", "--yes", "--replace", "todos"]);
    run("apply", &["apply", "--yes", "--replace", "jobs"]);
    run("apply", &["apply", "--yes", "--replace", "runner"]);
    spec(Some(&retained(&text)));
    run("destroy", &["destroy", "--yes"]);
    spec(Some(&text));
    run("apply", &["apply", "--yes"]);
    run("destroy", &["destroy", "--yes"]);
}

/// On the scripted AWS.
fn scripted_life() -> Ledger {
    let project = Project::new(|text| {
        let text = replaced(&text, "resources:\n", &format!("resources:\n{QUEUE}"));
        replaced(&text, HANDLER, &format!("{HANDLER}{ASYNC}")) + LOGS
    });
    let cloud = Cloud::start(World::empty());
    cloud.world(|world| {
        world.index.mappings = true;
        // The caller can't use the policy simulator but can read the policies.
        world.policies = Some([json!({}), json!({})]);
    });
    let mut ledger = Ledger::new(|args| policy(&project, args));
    let seen: Arc<Mutex<Vec<Right>>> = Arc::default();
    cloud.watch(Some(Box::new(Clerk(Arc::clone(&seen)))));
    let spec = |text: Option<&str>| {
        text.iter().for_each(|text| project.spec(text));
        std::fs::read_to_string(project.path("specs/team.yaml")).unwrap()
    };
    run_lifecycle(spec, |command, args| {
        // The scripted AWS doesn't invoke the function, so its log is empty.
        let (args, code) = if args[0] == "verify" { (&["verify", "--timeout", "1"][..], 1) } else { (args, 0) };
        project.run(&cloud, args).ends_with(code);
        ledger.enter(command, std::mem::take(&mut seen.lock().unwrap()));
        // Tags of aged resources are readable at once, so engine doesn't wait for them.
        cloud.world(|world| *world = world.clone().aged());
        let source = project.path("lambda-src/log-events/index.js");
        std::fs::write(&source, format!("// New.\n{}", std::fs::read_to_string(&source).unwrap())).unwrap();
    });
    // The local AWS can't change a log group's key.
    for lines in ["", "    kms_key_arn: arn:aws:kms:eu-central-1:123456789012:key/one\n", ""] {
        project.spec(&format!("{}{lines}", spec(None).split("    kms_key_arn").next().unwrap()));
        project.run(&cloud, &["apply", "--yes"]).ends_with(0);
        ledger.enter("apply", std::mem::take(&mut seen.lock().unwrap()));
    }
    // Signed code has a separate configuration.
    let unsigned = spec(None);
    let object = "    code_signing_config_arn: arn:aws:lambda:eu-central-1:123456789012:code-signing-config:csc-0123456789abcdef0\n    \
                  code: { s3: { bucket: deploys, key: app.zip } }\n";
    project.spec(&replaced(&unsigned, "    code: ../lambda-src/log-events\n", object));
    // The policies are those of a spec without it.
    project.run(&cloud, &["apply", "--yes"]).ends_with(0);
    seen.lock().unwrap().clear();
    let verify: &[&str] = &["verify", "--timeout", "1"];
    for (command, args) in [("diff", &["diff"][..]), ("check", &["check"]), ("dev", &["check"]), ("verify", verify)] {
        project.run(&cloud, args);
        ledger.enter(command, std::mem::take(&mut seen.lock().unwrap()));
    }
    project.spec(&unsigned);
    project.run(&cloud, &["apply", "--yes"]).ends_with(0);
    ledger.enter("apply", std::mem::take(&mut seen.lock().unwrap()));
    // Without access to the tag index, engine lists resources.
    let text = "User: X is not authorized to perform: tag:GetResources";
    cloud.always("GetResources", Fault::Answer(Reply::of("GetResources", 400, "AccessDeniedException", text)));
    project.run(&cloud, &["apply", "--yes"]).ends_with(0);
    ledger.enter("apply", std::mem::take(&mut seen.lock().unwrap()));
    // If a mapping's tags don't exist, engine reads the mapping again.
    cloud.forget();
    let none = Reply::of("ListTags", 404, "ResourceNotFoundException", "The resource does not exist.");
    cloud.fault("ListTags", 1..2, Fault::Answer(none));
    project.run(&cloud, &["check"]).ends_with(0);
    let rights = std::mem::take(&mut *seen.lock().unwrap());
    ledger.enter("dev", rights.clone());
    ledger.enter("check", rights);
    // Where a function lacks the statement of a permission, engine looks for it in its aliases.
    let none = Reply::of("GetPolicy", 404, "ResourceNotFoundException", "The resource you requested does not exist.");
    cloud.always("GetPolicy", Fault::Answer(none));
    let commands: [(&str, &[&str]); 5] = [
        ("diff", &["diff"]),
        ("check", &["check"]),
        ("dev", &["check"]),
        ("verify", &["verify", "--timeout", "1"]),
        ("destroy", &["diff", "--destroy"]),
    ];
    for (command, args) in commands {
        project.run(&cloud, args);
        ledger.enter(command, std::mem::take(&mut seen.lock().unwrap()));
    }
    // For a repeated error, `logs` reads the mapping's settings.
    let event = |n: u64| json!({ "eventId": n.to_string(), "timestamp": n, "message": "[ERROR] KeyError: 'x'" });
    cloud.always("FilterLogEvents", Fault::Answer(Reply::ok(&json!({ "events": [event(1), event(2)] }))));
    project.run(&cloud, &["logs"]).ends_with(0);
    ledger.enter("logs", std::mem::take(&mut seen.lock().unwrap()));
    // For an invocation that doesn't log the test item, `verify` reads the stream.
    project.run(&cloud, &["verify", "--yes", "--timeout", "1"]).ends_with(1);
    ledger.enter("verify", std::mem::take(&mut seen.lock().unwrap()));
    ledger
}

/// On the local AWS, next to a table and a function of another team.
fn real_life() -> Ledger {
    const LOCAL: &str = "000000000001";
    const SPEC: &str = "specs/team.yaml";
    let project = e2e::Project::new();
    // Creates the role.
    project.run(&["diff", "--local"]).expect(0, &[]);
    let aws = project.account(LOCAL);
    aws.create_table("green-newts-todos", &[]);
    aws.create_function("green-newts-logger", |function| function);
    let imports = "resources:\n  theirs:\n    type: table\n    import: green-newts-todos\n  helper:\n    \
                   type: function\n    import: green-newts-logger\n";
    project.edit(SPEC, &[("resources:\n", &format!("{imports}{QUEUE}")), (HANDLER, &format!("{HANDLER}{ASYNC}"))]);
    project.write(SPEC, &(project.read(SPEC) + LOGS));
    let print = |args: &[&str]| {
        let ran = project.run(&[&["policy", "--account", LOCAL], args].concat()).expect(0, &[]);
        serde_json::from_str(&ran.out).unwrap()
    };
    let mut ledger = Ledger::new(print);
    let seen: Arc<Mutex<Vec<Right>>> = Arc::default();
    let proxy = {
        let seen = Arc::clone(&seen);
        Proxy::new(&project.endpoint(), move |request| {
            let call = parsed(request);
            let mapping = mapping(request, &call);
            seen.lock().unwrap().extend(required_permissions(&ObservedCall { call: &call, account: LOCAL, mapping }));
            let answer = request.forward();
            if request.is("DescribeTable") { aged(&answer) } else { answer }
        })
    };
    let spec = |text: Option<&str>| {
        text.iter().for_each(|text| project.write(SPEC, text));
        project.read(SPEC)
    };
    run_lifecycle(spec, |command, args| {
        project.run_at(&proxy.endpoint(), LOCAL, args).expect(0, &[]);
        ledger.enter(command, std::mem::take(&mut seen.lock().unwrap()));
        if args[0] == "invoke" {
            save_twice(&project, &proxy.endpoint(), LOCAL);
            ledger.enter("dev", std::mem::take(&mut seen.lock().unwrap()));
        }
    });
    ledger
}

/// Saves code and environment of the deployed function while `dev` runs.
fn save_twice(project: &e2e::Project, endpoint: &str, account: &str) {
    const CODE: &str = "lambda-src/log-events/index.js";
    let mut dev = project.command_at(endpoint, account, &["dev", "--yes"]).start();
    dev.err.find(|line| line.contains("watching")).unwrap();
    project.write(CODE, &format!("// Saved.\n{}", project.read(CODE)));
    dev.out.find(|line| line.contains("deployed logger")).unwrap();
    let spec = project.read("specs/team.yaml");
    project.edit("specs/team.yaml", &[(HANDLER, &format!("    environment: {{ MODE: fast }}\n{HANDLER}"))]);
    dev.out.find(|line| line.contains("deployed logger")).unwrap();
    project.write("specs/team.yaml", &spec);
    dev.out.find(|line| line.contains("deployed logger")).unwrap();
    dev.press_ctrl_c();
    assert_eq!(dev.end().code(), Some(130));
}

fn parsed(request: &Request) -> Call {
    let mut lines = request.head.split("\r\n");
    let mut first = lines.next().unwrap().split(' ');
    let (method, uri) = (first.next().unwrap(), first.next().unwrap());
    let mut parts = hyper::Request::builder().method(method).uri(uri);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        parts = parts.header(name, value.trim());
    }
    let call = Call::parse(&parts.body(()).unwrap().into_parts().0, &request.body);
    assert_ne!(call.operation, "?", "{}", call.about);
    call
}

/// The function and the tags of a call's mapping.
fn mapping(request: &Request, call: &Call) -> Option<(String, BTreeMap<String, String>)> {
    let get = |path: String| -> Json {
        let answer = request.instead_get(&path);
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap_or_default()
    };
    let is_of_lambda = request.head.split(' ').nth(1).unwrap().starts_with("/20");
    if !is_of_lambda || call.about.is_empty() || call.about.contains(TEAM) {
        return None;
    }
    let found = get(format!("/2015-03-31/event-source-mappings/{}", call.about));
    let function = found["FunctionArn"].as_str()?.rsplit(':').next()?.to_owned();
    let tags = get(format!("/2017-03-31/tags/{}", found["EventSourceMappingArn"].as_str()?));
    Some((function, serde_json::from_value(tags["Tags"].clone()).unwrap_or_default()))
}

#[test]
fn each_call_has_its_permission_and_each_permission_a_call_or_a_reason() {
    let ledgers = [scripted_life(), real_life()];
    for ledger in &ledgers {
        println!("{}", ledger.table());
        assert!(ledger.lacking.is_empty(), "{:#?}", ledger.lacking);
    }
    let used: BTreeSet<_> = ledgers.iter().flat_map(|ledger| &ledger.used).collect();
    let mut surplus = Vec::new();
    for purpose in PURPOSES {
        let all: BTreeSet<Pair> = ledgers.iter().flat_map(|ledger| pairs(&ledger.policies[purpose])).collect();
        for pair in all.into_iter().filter(|pair| !used.contains(&(purpose, pair.clone()))) {
            let (sid, action) = &pair;
            match implied().into_iter().find(|it| it.0 == action) {
                Some((_, why)) => println!("`--for {purpose}` {sid}: {action}, since {why}"),
                None => surplus.push(format!("`--for {purpose}` {sid}: {action}")),
            }
        }
    }
    assert!(surplus.is_empty(), "{surplus:#?}");
}

#[test]
fn read_commands_get_no_write_permissions_and_verify_and_dev_only_theirs() {
    let project = Project::usual();
    let writes = |purpose: &str| {
        let of = |action: &&String| {
            let name = action.split(':').nth(1).unwrap();
            !["Get", "List", "Describe", "Scan", "Filter", "Simulate"].iter().any(|it| name.starts_with(it))
        };
        actions(&policy(&project, &["--for", purpose])).iter().filter(of).cloned().collect::<Vec<_>>()
    };
    for purpose in ["diff", "logs", "check"] {
        assert_eq!(writes(purpose), [""; 0], "{purpose}");
    }
    // Invoking functions by hand is in this policy alone.
    let of_functions = ["InvokeFunction", "UpdateFunctionCode", "UpdateFunctionConfiguration"];
    let of_items = ["DeleteItem", "PutItem"].map(|it| format!("dynamodb:{it}"));
    assert_eq!(writes("dev"), [&of_items[..], &of_functions.map(|it| format!("lambda:{it}"))].concat());
    assert!(!writes("all").contains(&"lambda:InvokeFunction".to_owned()));
    assert_eq!(writes("verify"), ["DeleteItem", "PutItem", "UpdateItem"].map(|it| format!("dynamodb:{it}")));
    assert!(writes("destroy").iter().all(|it| [":Delete", ":Remove", ":Untag"].iter().any(|verb| it.contains(verb))));
    // Only the tables of the spec, not all tables of the team.
    let put = |table: &str| Right {
        action: "dynamodb:PutItem".to_owned(),
        resource: arn("dynamodb", &format!("table/{table}")),
        context: BTreeMap::new(),
        along: false,
    };
    let verify = policy(&project, &["--for", "verify"]);
    assert!(allows(&verify, &put(TABLE)) && !allows(&verify, &put("blue-owls-lists")), "{verify:#}");
}

/// Who may remove a role's policies may remove a statement that denies something.
#[test]
fn a_policy_that_changes_roles_needs_a_decision_about_their_limit() {
    let runner = "resources:\n  runner: { type: role, trusted_services: [states.amazonaws.com] }\n";
    let project = Project::new(|text| replaced(&text, "resources:\n", runner));
    let limit = "arn:aws:iam::123456789012:policy/students";
    for purpose in PURPOSES {
        let decides = ["apply", "destroy", "all"].contains(&purpose);
        let ran = project.command(&["policy", "--account", ACCOUNT, "--for", purpose]).run();
        if !decides {
            ran.ends_with(0);
            continue;
        }
        ran.ends_with(1)
            .complains("the spec creates roles, so this policy must say what they can get")
            .complains("a spec can create a role with every permission and run code with it")
            .complains("pass `--boundary ARN` with a managed policy that limits every role")
            .complains("`--no-boundary` if those who deploy have every permission anyway");
        let changes = |args: &[&str]| {
            let policy = policy(&project, &[&["--for", purpose], args].concat());
            let statements = policy["Statement"].as_array().unwrap().iter();
            let is_change = |it: &&Json| texts(&it["Action"]).iter().any(|it| it == "iam:DeleteRolePolicy");
            statements.filter(is_change).map(|it| it["Condition"].clone()).collect::<Vec<_>>()
        };
        assert_eq!(changes(&["--no-boundary"]), [Json::Null], "{purpose}");
        let condition = json!({ "StringEquals": { "iam:PermissionsBoundary": limit } });
        assert_eq!(changes(&["--boundary", limit]), std::slice::from_ref(&condition), "{purpose}");
        // A spec without roles may have had some, and can have no new ones.
        let without = |args: &[&str]| policy(&Project::usual(), &[&["--for", purpose], args].concat());
        assert!(!actions(&without(&[])).iter().any(|it| DELETES_ROLES.contains(&it.as_str())), "{purpose}");
        for (args, condition) in [(&["--no-boundary"][..], Json::Null), (&["--boundary", limit], condition)] {
            let policy = without(args);
            let of = |action: &str| {
                let statements = policy["Statement"].as_array().unwrap().iter();
                let found = statements.filter(|it| texts(&it["Action"]).iter().any(|it| it == action));
                found.map(|it| (texts(&it["Resource"]).join(" "), it["Condition"].clone())).collect::<Vec<_>>()
            };
            let roles = format!("arn:aws:iam::{ACCOUNT}:role/{TEAM}-*");
            for action in DELETES_ROLES {
                let is_bounded = ["iam:DeleteRolePolicy", "iam:DetachRolePolicy"].contains(&action);
                let condition = if is_bounded { condition.clone() } else { Json::Null };
                let resource = if action == "iam:ListRoles" { "*".to_owned() } else { roles.clone() };
                assert_eq!(of(action), [(resource, condition)], "{purpose} {action}");
            }
            assert!(of("iam:GetRole").iter().any(|(it, _)| *it == roles), "{purpose}");
            for action in ["iam:CreateRole", "iam:PutRolePolicy", "iam:AttachRolePolicy", "iam:UpdateAssumeRolePolicy"]
            {
                assert_eq!(of(action), [], "{purpose} {action}");
            }
        }
    }
}

/// What finding and deleting an orphaned role needs besides reading it.
const DELETES_ROLES: [&str; 4] = ["iam:ListRoles", "iam:DeleteRole", "iam:DeleteRolePolicy", "iam:DetachRolePolicy"];

#[test]
fn only_verify_sends_messages_and_only_to_queues_that_a_mapping_reads() {
    let key = "arn:aws:kms:eu-central-1:123456789012:key/one";
    let queues = "resources:\n  dead: { type: queue }\n  jobs:\n    type: queue\n    kms_key_arn: KEY\n    redrive_policy: { \
                  dead_letter_target_arn: \"${dead.arn}\", max_receive_count: 5 }\n  jobs-to-logger: { type: mapping, \
                  function: \"${logger.arn}\", event_source_arn: \"${jobs.arn}\" }\n";
    let project = Project::new(|text| replaced(&text, "resources:\n", &queues.replace("KEY", key)));
    let send = |queue: &str| Right {
        action: "sqs:SendMessage".to_owned(),
        resource: arn("sqs", queue),
        context: BTreeMap::new(),
        along: false,
    };
    for purpose in PURPOSES {
        let policy = policy(&project, &["--for", purpose]);
        let sends = ["verify", "all"].contains(&purpose);
        assert_eq!(allows(&policy, &send("blue-owls-jobs")), sends, "{purpose}: {policy:#}");
        assert!(!allows(&policy, &send("blue-owls-dead")), "{purpose}: {policy:#}");
        let encrypts = actions(&policy).contains("kms:GenerateDataKey") && policy.to_string().contains(key);
        assert_eq!(encrypts, sends, "{purpose}: {policy:#}");
    }
}

/// IAM's policies don't name a key by its alias: the alias is a condition.
#[test]
fn a_key_that_is_named_by_an_alias_is_allowed_by_that_alias() {
    let queues = |key: &str| {
        let queue = format!("{{ type: queue, visibility_timeout_seconds: 60, kms_key_arn: \"{key}\" }}");
        format!(
            "resources:\n  jobs: {queue}\n  outbox: {queue}\n  dead: {queue}\n  jobs-to-logger: {{ type: mapping, function: \
             \"${{logger.arn}}\", event_source_arn: \"${{jobs.arn}}\" }}\n"
        )
    };
    let more = "dead_letter_target_arn: ${dead.arn}\n    access: { outbox: send }\n    handler: index.handler";
    let aliases = ["one".to_owned(), "alias/two".to_owned(), arn("kms", "alias/three")];
    for (name, key) in ["", "two", "three"].into_iter().zip(&aliases) {
        let is_key = name.is_empty();
        let key = if is_key { arn("kms", "key/one") } else { key.clone() };
        let project = Project::new(|text| {
            replaced(&replaced(&text, "resources:\n", &queues(&key)), "handler: index.handler", more)
        });
        let via = ("kms:ViaService", "sqs.eu-central-1.amazonaws.com");
        let may = |policy: &Json, action: &str, key: &str, context: &[(&str, &str)]| {
            let context = context.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            allows(policy, &Right { action: action.to_owned(), resource: arn("kms", key), context, along: false })
        };
        let role = policy(&project, &["--role"])[ROLE]["permissions"].clone();
        for (policy, whose) in [(&role, "role"), (&policy(&project, &["--for", "verify"]), "verify")] {
            for action in ["kms:Decrypt", "kms:GenerateDataKey"] {
                let of = format!("{whose} {action} {key}: {policy:#}");
                if is_key {
                    assert!(may(policy, action, "key/one", &[via]) && !may(policy, action, "key/any", &[via]), "{of}");
                    continue;
                }
                let alias = format!("alias/{name}");
                let named = ("kms:ResourceAliases", alias.as_str());
                assert!(may(policy, action, "key/any", &[via, named]), "{of}");
                assert!(!may(policy, action, "key/any", &[named]) && !may(policy, action, "key/any", &[via]), "{of}");
                assert!(!may(policy, action, "key/any", &[via, ("kms:ResourceAliases", "alias/other")]), "{of}");
            }
        }
    }
    let managed = Project::new(|text| replaced(&text, "resources:\n", &queues("alias/aws/sqs")));
    for args in [&["--role"][..], &["--for", "verify"]] {
        assert!(!printed(&managed, args).contains("kms:"), "{args:?}");
    }
}

/// Lambda uses these keys with the caller's permissions.
#[test]
fn keys_of_functions_and_filters_are_allowed_by_their_alias() {
    let alias = arn("kms", "alias/owls");
    let project = Project::new(|text| {
        let text = replaced(&text, "    handler:", &format!("    kms_key_arn: \"{alias}\"\n    handler:"));
        let filter = "filters: [{ eventName: [INSERT] }]";
        replaced(
            &text,
            "    starting_position:",
            &format!("    kms_key_arn: \"{alias}\"\n    {filter}\n    starting_position:"),
        )
    });
    let policy = policy(&project, &["--for", "apply"]);
    let may = |action: &str, context: &[(&str, &str)]| {
        let context = context.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        allows(&policy, &Right { action: action.to_owned(), resource: arn("kms", "key/any"), context, along: false })
    };
    for action in ["kms:CreateGrant", "kms:Encrypt", "kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey"] {
        assert!(may(action, &[("kms:ResourceAliases", "alias/owls")]), "{action}: {policy:#}");
        assert!(!may(action, &[("kms:ResourceAliases", "alias/other")]) && !may(action, &[]), "{action}: {policy:#}");
    }
}

/// The statement of a permission that has left the spec may be in the policy of an alias.
#[test]
fn a_spec_without_permissions_may_list_aliases() {
    let project = Project::new(|text| {
        let (head, rest) = text.split_once("  logger-permission:\n").unwrap();
        format!("{head}{}", &rest[rest.find("  todos-to-logger:").unwrap()..])
    });
    assert!(actions(&policy(&project, &["--for", "apply"])).contains("lambda:ListAliases"));
}

/// The policies with `--allow-imported` allow each call of the commands with it, and only on what they
/// name.
#[test]
fn imported_resources_are_tested_and_invoked_with_the_policy_that_allows_them() {
    let imports = "resources:\n  theirs: { type: table, import: shared-todos }\n  jobs: { type: queue, import: \
                   shared-jobs }\n  helper: { type: function, import: shared-helper }\n  other: { type: table, import: \
                   other-todos }\n";
    let project = Project::new(|text| {
        let text = replaced(&text, "resources:\n", imports);
        replaced(&text, "    code: ../", "    events: { theirs: {}, jobs: {} }\n    code: ../")
    });
    let mut world = World::empty();
    world.add_table("shared-todos", true, Tags::new());
    world.add_table("other-todos", true, Tags::new());
    world.add_queue("shared-jobs", Tags::new());
    world.add_function("shared-helper", Tags::new());
    let cloud = Cloud::start(world);
    project.run(&cloud, &["apply", "--yes"]).ends_with(0);
    cloud.world(|world| *world = world.clone().aged());
    let event = |n: u64| json!({ "eventId": n.to_string(), "timestamp": n, "message": "[ERROR] KeyError: 'x'" });
    cloud.always("FilterLogEvents", Fault::Answer(Reply::ok(&json!({ "events": [event(1), event(2)] }))));
    let seen: Arc<Mutex<Vec<Right>>> = Arc::default();
    cloud.watch(Some(Box::new(Clerk(Arc::clone(&seen)))));
    let verify = ["verify", "--yes", "--timeout", "1", "--allow-imported", "theirs", "--allow-imported", "jobs"];
    let mut callers = BTreeSet::new();
    for (purpose, command, names) in [
        ("verify", &verify[..], &["theirs", "jobs"][..]),
        ("dev", &["invoke", "helper", "--allow-imported", "helper"], &["helper"]),
    ] {
        seen.lock().unwrap().clear();
        project.run(&cloud, command);
        let allow: Vec<&str> = names.iter().flat_map(|name| ["--allow-imported", *name]).collect();
        let with = policy(&project, &[&["--for", purpose], &allow[..]].concat());
        let without = policy(&project, &["--for", purpose]);
        assert_valid_policy(&with);
        for right in seen.lock().unwrap().iter().filter(|it| !it.along) {
            assert!(allows(&with, right), "{} on {}: {with:#}", right.action, right.resource);
            if right.resource.contains("shared-") && !allows(&without, right) {
                callers.insert(right.action.clone());
            }
        }
        assert!(!without.to_string().contains("Allowed"), "{without:#}");
        assert!(!with["Statement"].as_array().unwrap().iter().any(|it| {
            it["Sid"].as_str().unwrap().starts_with("Allowed") && it["Resource"].to_string().contains("other-todos")
        }));
    }
    for action in ["dynamodb:PutItem", "dynamodb:DeleteItem", "sqs:SendMessage", "lambda:InvokeFunction"] {
        assert!(callers.contains(action), "{action}: {callers:?}");
    }
    let refused = project.command(&["policy", "--account", ACCOUNT, "--allow-imported", "logger"]).run();
    refused.ends_with(1).complains("`logger` is not an imported table, queue or function").complains("`theirs`");
}

#[test]
fn a_policy_with_a_name_prefix_comes_with_an_explanation() {
    let project = Project::usual();
    for (args, is_told) in [(&[][..], true), (&["--for", "verify"], false), (&["--role"], false)] {
        let [out, said] = output(&project, args);
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        let told = said.contains("`blue-owls-*` also matches the resources of a team named `blue-owls-more`");
        assert_eq!((told, out.contains("blue-owls-*")), (is_told, is_told), "{args:?}: {said}");
    }
}

#[test]
fn the_default_specs_policies_match_their_snapshots() {
    let project = Project::usual();
    for purpose in PURPOSES {
        insta::assert_snapshot!(format!("policy_for_{purpose}"), printed(&project, &["--for", purpose]));
        assert_valid_policy(&policy(&project, &["--for", purpose]));
    }
    assert_eq!(printed(&project, &[]), printed(&project, &["--for", "all"]));
    insta::assert_snapshot!("policy_of_the_role", printed(&project, &["--role"]));
    assert_valid_policy(&policy(&project, &["--role"])[ROLE]["permissions"]);
}

/// Checks IAM's policy grammar
/// (docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html), and that no action
/// contains a wildcard.
fn assert_valid_policy(policy: &Json) {
    assert_eq!(policy["Version"], "2012-10-17");
    let mut sids = BTreeSet::new();
    for statement in policy["Statement"].as_array().unwrap() {
        let sid = statement["Sid"].as_str().unwrap();
        assert!(sid.chars().all(|c| c.is_ascii_alphanumeric()) && sids.insert(sid), "{sid}");
        let (actions, resources) = (texts(&statement["Action"]), texts(&statement["Resource"]));
        assert!(!actions.is_empty() && actions.iter().all(|it| it.contains(':') && !it.contains('*')), "{actions:?}");
        assert!(
            !resources.is_empty() && resources.iter().all(|it| it == "*" || it.starts_with("arn:")),
            "{resources:?}"
        );
    }
}

fn arn(service: &str, resource: &str) -> String {
    format!("arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}")
}

/// So many tables, functions and mappings that their names alone exceed a policy's size limit.
fn crowded() -> String {
    let usual = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../specs/team.yaml")).unwrap();
    let mut text = usual.clone();
    let resources = usual.split_once("resources:\n").unwrap().1;
    for n in 0..60 {
        let renamed = resources
            .split("\n  # Existing role")
            .next()
            .into_iter()
            .chain(resources.find("  logger:").map(|at| &resources[at..]))
            .collect::<Vec<_>>()
            .join("\n")
            .replace("todos", &format!("table-number-{n}"))
            .replace("logger", &format!("function-number-{n}"));
        text.push_str(&format!("\n{renamed}"));
    }
    text
}

#[test]
fn a_policy_for_many_resources_fits_iams_size_limit() {
    let project = Project::new(|_| crowded());
    for args in [&[][..], &["--role"], &["--for", "verify"], &["--for", "logs"]] {
        let text = printed(&project, args);
        let parsed: Json = serde_json::from_str(&text).unwrap();
        let document = if args == ["--role"] { &parsed[ROLE]["permissions"] } else { &parsed };
        let n_characters = document.to_string().len();
        assert!(n_characters <= 6144, "{args:?}: {n_characters}");
        assert!(text.contains("blue-owls-*"), "{text}");
    }
}

#[test]
fn a_policy_over_iams_size_limit_is_an_error_or_is_divided_among_files() {
    let imports = |n_tables: u32| {
        let import = |n: u32| format!("  theirs-{n}:\n    type: table\n    import: red-foxes-table-number-{n}\n");
        format!("resources:\n{}", (0..n_tables).map(import).collect::<String>())
    };
    let project = Project::new(|text| replaced(&text, "resources:\n", &imports(90)));
    let said = flat(&project.command(&["policy", "--account", ACCOUNT]).run().failure());
    for words in [
        "the policy for the team `blue-owls` has",
        "characters, but IAM allows at most 6144",
        "it lists each",
        "add `--output DIR`",
    ] {
        assert!(said.contains(words), "{said}");
    }

    let write = || project.command(&["policy", "--account", ACCOUNT, "--output", "out/policies"]).run();
    let ran = write().expect(0, &[]);
    let said = flat(&ran.err);
    let files: Vec<String> = ran.out.lines().map(str::to_owned).collect();
    assert!(files.len() > 1 && said.contains("attach all of them"), "{files:?}: {said}");
    let read = |file: &str| std::fs::read_to_string(project.path(file)).unwrap();
    let documents: Vec<Json> = files.iter().map(|file| serde_json::from_str(&read(file)).unwrap()).collect();
    for document in &documents {
        assert!(document.to_string().len() <= 6144, "{document}");
    }
    for n in 0..90 {
        let resource = arn("dynamodb", &format!("table/red-foxes-table-number-{n}"));
        let right =
            Right { action: "dynamodb:DescribeTable".to_owned(), resource, context: BTreeMap::new(), along: false };
        assert!(documents.iter().any(|document| allows(document, &right)), "{right:?}");
    }

    // A smaller set leaves files of the larger one, and no other file is overwritten.
    project.edit(&imports(90), &imports(1));
    let ran = write().expect(0, &[]);
    let said = flat(&ran.err);
    assert_eq!(ran.out, "out/policies/blue-owls.json\n");
    for file in &files {
        assert!(said.contains(&format!("`{file}` is from an earlier run: delete it")), "{file}: {said}");
    }
    let other = "{ \"Version\": 1 }";
    std::fs::write(project.path("out/policies/blue-owls.json"), other).unwrap();
    let said = flat(&write().failure());
    assert!(said.contains("already exists and isn't an IAM policy"), "{said}");
    assert_eq!(read("out/policies/blue-owls.json"), other);
}

#[test]
fn role_and_deployer_get_the_permissions_that_the_spec_requires() {
    let queue = arn("sqs", "failures");
    let topic = arn("sns", "letters");
    let (key, layer) = (arn("kms", "key/1"), arn("lambda", "layer:tools:3"));
    let project = Project::new(|text| {
        let more = format!(
            "handler: index.handler\n    tracing: Active\n    dead_letter_target_arn: {topic}\n    \
             layers: [\"{layer}\"]\n    log_group: teams/owls"
        );
        let text = replaced(&text, "handler: index.handler", &more);
        let text = replaced(&text, "hash_key: id", &format!("hash_key: id\n    kms_key_arn: {key}"));
        format!("{}\n    on_failure_destination_arn: {queue}\n", text.trim_end())
    });
    let role = &policy(&project, &["--role"])[ROLE]["permissions"];
    let may = |policy: &Json, action: &str, resource: &str, context: &[(&str, &str)]| {
        let context = context.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        allows(policy, &Right { action: action.to_owned(), resource: resource.to_owned(), context, along: false })
    };
    let via = [("kms:ViaService", "dynamodb.eu-central-1.amazonaws.com")];
    let stream = arn("dynamodb", &format!("table/{TABLE}/stream/2026"));
    for (action, resource, context) in [
        ("sqs:SendMessage", queue.as_str(), &[][..]),
        ("sns:Publish", &topic, &[]),
        ("xray:PutTraceSegments", "*", &[]),
        ("dynamodb:GetRecords", &stream, &[]),
        ("kms:Decrypt", &key, &via),
        ("logs:PutLogEvents", &arn("logs", "log-group:teams/owls:log-stream:1"), &[]),
    ] {
        assert!(may(role, action, resource, context), "{action} on {resource}: {role:#}");
    }
    assert!(!may(role, "sns:Publish", &queue, &[]) && !may(role, "kms:Decrypt", &key, &[]));
    let all = policy(&project, &[]);
    assert!(may(&all, "lambda:GetLayerVersion", &layer, &[]) && may(&all, "kms:CreateGrant", &key, &via), "{all:#}");
    assert!(may(&all, "logs:FilterLogEvents", &arn("logs", "log-group:teams/owls"), &[]), "{all:#}");
    assert!(!may(&all, "logs:FilterLogEvents", &arn("logs", "log-group:/aws/lambda/red-foxes-logger"), &[]));
    let usual = policy(&Project::usual(), &[]);
    assert!(!actions(&usual).iter().any(|it| it.starts_with("kms:")), "no key, no right to one");
}

#[test]
fn a_function_in_a_vpc_and_one_with_a_key_get_their_permissions() {
    let key = arn("kms", "key/1");
    let within = "handler: index.handler\n    vpc: { subnet_ids: [subnet-1], security_group_ids: [sg-1] }";
    let project = Project::new(|text| {
        let text = replaced(&text, "handler: index.handler", &format!("{within}\n    kms_key_arn: {key}"));
        replaced(&text, "hash_key: id", "hash_key: id\n    kms_key_arn: alias/aws/dynamodb")
    });
    let right = |action: &str, resource: &str, context: &[(&str, &str)]| Right {
        action: action.to_owned(),
        resource: resource.to_owned(),
        context: context.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        along: false,
    };
    let role = &policy(&project, &["--role"])[ROLE]["permissions"];
    for action in ["AssignPrivateIpAddresses", "CreateNetworkInterface", "DeleteNetworkInterface", "DescribeSubnets"] {
        assert!(allows(role, &right(&format!("ec2:{action}"), "*", &[])), "{action}: {role:#}");
    }
    assert!(allows(role, &right("kms:Decrypt", &key, &[])), "{role:#}");
    let all = policy(&project, &[]);
    let here = [("aws:RequestedRegion", REGION)];
    for action in ["ec2:DescribeSecurityGroups", "ec2:DescribeSubnets", "ec2:DescribeVpcs"] {
        assert!(allows(&all, &right(action, "*", &here)), "{action}: {all:#}");
    }
    for action in ["kms:CreateGrant", "kms:Decrypt", "kms:Encrypt"] {
        assert!(allows(&all, &right(action, &key, &[])), "{action}: {all:#}");
    }
    // The AWS managed key needs no permission, and its alias is no resource of IAM.
    for document in [role, &all] {
        assert!(!document.to_string().contains("alias/"), "{document:#}");
    }
    let usual = policy(&Project::usual(), &[]);
    assert!(!actions(&usual).iter().any(|it| it.starts_with("ec2:")), "no VPC, no permission to describe one");
}

#[test]
fn encrypted_filters_need_permissions_only_where_the_spec_has_them() {
    let key = arn("kms", "key/1");
    let project = Project::new(|text| {
        let text = replaced(&text, "starting_position:", &format!("kms_key_arn: {key}\n    starting_position:"));
        replaced(&text, "principal:", "qualifier: live\n    principal:")
    });
    let (all, usual) = (policy(&project, &[]), policy(&Project::usual(), &[]));
    let function = arn("lambda", &format!("function:{FUNCTION}"));
    for (action, resource) in [
        ("kms:Decrypt", &key),
        ("kms:DescribeKey", &key),
        ("kms:GenerateDataKey", &key),
        ("lambda:ListAliases", &function),
    ] {
        let right =
            Right { action: action.to_owned(), resource: resource.clone(), context: BTreeMap::new(), along: false };
        assert!(allows(&all, &right), "{action}: {all:#}");
        let is_usual = action == "lambda:ListAliases";
        assert_eq!(actions(&usual).contains(action), is_usual, "{action}: {usual:#}");
    }
    // Lambda doesn't use the key with the function's role.
    let role = &policy(&project, &["--role"])[ROLE]["permissions"];
    assert!(!actions(role).iter().any(|it| it.starts_with("kms:")), "{role:#}");
}

#[test]
fn imported_resources_get_only_read_permissions_by_name() {
    let project = Project::new(|text| {
        let theirs = "resources:\n  theirs:\n    type: table\n    import: red-foxes-todos\n";
        replaced(&text, "resources:\n", theirs)
    });
    let all = policy(&project, &[]);
    let statement = all["Statement"].as_array().unwrap().iter().find(|it| it["Sid"] == "ImportedTables").unwrap();
    assert_eq!(statement["Resource"], json!([arn("dynamodb", "table/red-foxes-todos")]));
    let reads = ["DescribeContinuousBackups", "DescribeTable", "DescribeTimeToLive", "ListTagsOfResource"];
    assert_eq!(statement["Action"], json!(reads.map(|it| format!("dynamodb:{it}"))));
}

/// The resources of a policy whose names don't start with the team, by statement.
fn outside_prefix(policy: &Json) -> BTreeMap<String, Vec<String>> {
    let statements = policy["Statement"].as_array().unwrap().iter();
    let outside = statements.map(|it| {
        let functions = it["Condition"]["ArnLike"].get("lambda:FunctionArn").map(texts);
        let names = texts(&it["Resource"]).into_iter().chain(functions.into_iter().flatten());
        let names = names.filter(|arn| arn.starts_with("arn:") && !arn.contains(TEAM) && !arn.contains(":iam:"));
        (it["Sid"].as_str().unwrap().to_owned(), names.collect::<Vec<_>>())
    });
    outside.filter(|(_, names)| !names.is_empty()).collect()
}

/// A name that no resource has may be an orphan's, of any type that allows it.
#[test]
fn a_policy_lists_exactly_the_names_in_owns() {
    let project = Project::new(|text| {
        let text = replaced(&text, "team: blue-owls", "owns: [Todos, Logger, old.fifo, /old/logs]\nteam: blue-owls");
        let text = replaced(&text, "    type: table\n", "    type: table\n    name: Todos\n");
        replaced(&text, "    type: function\n", "    type: function\n    name: Logger\n")
    });
    let mut all = String::new();
    for purpose in PURPOSES {
        let policy = policy(&project, &["--for", purpose]);
        assert_valid_policy(&policy);
        writeln!(all, "{purpose}: {:#?}", outside_prefix(&policy)).unwrap();
    }
    insta::assert_snapshot!("policy_of_names_in_owns", all);
    let role = policy(&project, &["--role"]);
    let role = printed_names(&role[ROLE]["permissions"]);
    assert!(role.iter().any(|arn| arn.contains("table/Todos/stream/*")), "{role:?}");
    assert!(role.iter().any(|arn| arn.contains("log-group:/aws/lambda/Logger")), "{role:?}");
}

fn printed_names(policy: &Json) -> Vec<String> {
    policy["Statement"].as_array().unwrap().iter().flat_map(|it| texts(&it["Resource"])).collect()
}

#[test]
fn a_type_not_in_the_spec_gets_only_list_and_delete_permissions() {
    let project = Project::new(|text| text.split("  # Existing role").next().unwrap().to_owned());
    let actions = actions(&policy(&project, &["--for", "apply"]));
    assert!(actions.contains("lambda:DeleteFunction") && actions.contains("dynamodb:CreateTable"), "{actions:?}");
    let surplus = ["lambda:CreateFunction", "lambda:AddPermission", "lambda:CreateEventSourceMapping", "iam:PassRole"];
    assert!(surplus.iter().all(|it| !actions.contains(*it)), "{actions:?}");
}

#[test]
fn the_account_comes_from_the_spec_the_command_line_or_aws() {
    let project = Project::usual();
    let cloud = Cloud::start(World::empty());
    let asked = project.run(&cloud, &["policy", "-q"]);
    asked.ends_with(0);
    assert_eq!(asked.out, printed(&project, &[]));
    assert_eq!(cloud.count("GetCallerIdentity"), 1);
    assert_eq!(cloud.calls().len(), 1);
    let unnamed = project.command(&["policy"]).run();
    unnamed.ends_with(1).complains("no AWS credentials found").complains("`--account ID`");
    project.edit("# account: \"123456789012\"", "account: \"123456789012\"");
    project.command(&["policy", "--account", "999999999999"]).run().ends_with(64);
    assert_eq!(project.command(&["policy", "-q"]).run().out, printed(&project, &[]));
    assert!(printed(&project, &[]).contains(&FUNCTION.replace("logger", "*")));
}
