//! The two accounts in which a walk runs, accessed without engine: plain HTTP requests, as another
//! tool sends them.

use std::collections::BTreeMap;
use std::fs;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Value as Json, json};

use crate::scripted::{Cloud, World};
use crate::shared::access_key_id;
use crate::shared::program::{Program, Ran};
use crate::support::{DEADLINE, eventually};

pub(super) const TABLE: &str = "blue-owls-todos";
const QUEUE: &str = "blue-owls-jobs";
pub(super) const FUNCTION: &str = "blue-owls-logger";
const LOG_GROUP: &str = "/aws/lambda/blue-owls-logger";
pub(super) const STATEMENT: &str = "blue-owls-logger-permission";
pub(super) const ROLE: &str = "fhms-pulumi-challenge-lambda-execution-role";
/// The role that engine manages.
const OWN_ROLE: &str = "blue-owls-runner";
/// The role of a function without `role:`.
pub(super) const IMPLIED_ROLE: &str = "blue-owls-logger-role";
/// Another role in the account.
pub(super) const OTHER_ROLE: &str = "other";
/// The aliases of the functions in the scripted account.
pub(super) const ALIASES: [&str; 2] = ["live", "next"];
const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;

/// A certificate that signs nothing: loading all of the machine's takes longer than the rest of a
/// run.
const NO_ROOTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/walk/root.pem");

/// A request to AWS. The account's values replace `{account}`, `{function}`, `{uuid}` and
/// `{stream}` in it.
#[derive(Debug, Clone)]
pub(super) enum AwsRequest {
    /// An operation of DynamoDB on the table.
    Dynamodb(&'static str, Json),
    /// An operation of SQS on the queue.
    Sqs(&'static str, Json),
    /// An operation of CloudWatch Logs on the log group.
    Logs(&'static str, Json),
    /// Method and path of Lambda.
    Lambda(&'static str, Json),
    /// An action of IAM on the role that engine manages, unless its fields name another.
    Iam(&'static str, &'static [(&'static str, &'static str)]),
    /// Deletes and re-creates the resource, with these fields of its create call changed.
    Remake(Json),
}

/// One account with its own project.
pub(super) struct Stage {
    folder: tempfile::TempDir,
    url: String,
    pub(super) account: String,
    /// The scripted account, whose clock can advance by hours.
    cloud: Option<Cloud>,
    runtime: tokio::runtime::Runtime,
}

impl Stage {
    /// In a scripted account.
    pub(super) fn scripted(world: World) -> Stage {
        let cloud = Cloud::start(world);
        Stage::new(cloud.url.clone(), crate::scripted::ACCOUNT.to_owned(), Some(cloud))
    }

    /// In an empty account of the local AWS at `url`.
    pub(super) fn local(url: &str, account: String) -> Stage {
        let stage = Stage::new(url.to_owned(), account, None);
        for role in [ROLE, OTHER_ROLE] {
            stage.create_role(role, "/");
        }
        stage
    }

    fn new(url: String, account: String, cloud: Option<Cloud>) -> Stage {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let stage = Stage { folder: tempfile::tempdir().unwrap(), url, account, cloud, runtime };
        fs::create_dir(stage.folder.path().join("specs")).unwrap();
        for (name, text) in [
            ("one/index.js", "exports.handler = exports.one = exports.two = async () => 1;\n"),
            ("two/index.js", "exports.handler = async () => 'two';\n"),
            ("many/index.js", "exports.handler = async () => 3;\n"),
            ("many/a.txt", "a\n"),
            ("many/b.txt", "bb\n"),
        ] {
            let path = stage.folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        stage
    }

    pub(super) fn is_local(&self) -> bool {
        self.cloud.is_none()
    }

    pub(super) fn spec(&self, text: &str) {
        fs::write(self.folder.path().join("specs/team.yaml"), text).unwrap();
    }

    /// A file of the project; empty if there is none.
    pub(super) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.folder.path().join(path)).unwrap_or_default()
    }

    /// Removes files and folders of the project, if they exist.
    pub(super) fn remove(&self, paths: &[&str]) {
        for path in paths.iter().map(|path| self.folder.path().join(path)) {
            let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        }
    }

    /// The account as it is now.
    pub(super) fn world(&self) -> World {
        self.cloud.as_ref().unwrap().world(|world| world.clone())
    }

    /// Clears the record of sent requests.
    pub(super) fn forget(&self) {
        self.cloud.iter().for_each(Cloud::forget);
    }

    /// The requests that were sent to the scripted account.
    pub(super) fn sent(&self) -> Option<Vec<String>> {
        self.cloud.as_ref().map(Cloud::sent)
    }

    /// Advances the clock past the hours within which AWS refuses a second change.
    pub(super) fn pass_cooldowns(&self) {
        if let Some(cloud) = &self.cloud {
            cloud.world(|world| *world = world.clone().aged());
        }
    }

    pub(super) fn run(&self, args: &[&str]) -> Ran {
        let mut engine = Program::engine(self.folder.path());
        engine.args(args).endpoint(&self.url, &self.account).env("SSL_CERT_FILE", NO_ROOTS).run()
    }

    // Requests.

    /// Sends one request; returns status and body of the response.
    fn send(&self, service: &str, method: &str, path: &str, target: Option<&str>, body: String) -> (u16, String) {
        let address = self.url.strip_prefix("http://").unwrap();
        let mut request = hyper::Request::builder().method(method).uri(path).header("host", address);
        // The local AWS takes the account from the key.
        let scope = access_key_id(&self.url, &self.account) + &format!("/20261122/eu-central-1/{service}/aws4_request");
        let key = format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0");
        request = request.header("authorization", key);
        request = match (service, target) {
            (_, Some(target)) => {
                request.header("x-amz-target", target).header("content-type", "application/x-amz-json-1.0")
            }
            ("iam", _) => request.header("content-type", "application/x-www-form-urlencoded"),
            _ => request.header("content-type", "application/json"),
        };
        let request = request.body(Full::new(Bytes::from(body))).unwrap();
        let exchange = async {
            let stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let (mut sender, line) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
            let line = tokio::spawn(line);
            let answer = sender.send_request(request).await.unwrap();
            let status = answer.status().as_u16();
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            line.abort();
            (status, String::from_utf8(body.to_vec()).unwrap())
        };
        self.runtime.block_on(async { tokio::time::timeout(DEADLINE * 4, exchange).await.unwrap() })
    }

    fn filled(&self, text: &str) -> String {
        let uuid = if text.contains("{uuid}") { self.uuid() } else { String::new() };
        let stream = if text.contains("{stream}") { self.stream() } else { String::new() };
        let text = text.replace("{stream}", &stream);
        text.replace("{account}", &self.account).replace("{function}", FUNCTION).replace("{uuid}", &uuid)
    }

    fn json(&self, service: &str, method: &str, path: &str, target: Option<&str>, body: &Json) -> (u16, Json) {
        let body = if body.is_null() { String::new() } else { self.filled(&body.to_string()) };
        let (status, text) = self.send(service, method, &self.filled(path), target, body);
        (status, serde_json::from_str(&text).unwrap_or_default())
    }

    fn dynamodb(&self, operation: &str, mut body: Json) -> (u16, Json) {
        if operation.contains("Tag") {
            body["ResourceArn"] = json!(format!("arn:aws:dynamodb:eu-central-1:{}:table/{TABLE}", self.account));
        } else {
            body["TableName"] = json!(TABLE);
        }
        self.json("dynamodb", "POST", "/", Some(&format!("DynamoDB_20120810.{operation}")), &body)
    }

    fn sqs(&self, operation: &str, mut body: Json) -> (u16, Json) {
        if operation == "CreateQueue" {
            return self.json("sqs", "POST", "/", Some("AmazonSQS.CreateQueue"), &body);
        }
        let mut last = (400, Json::Null);
        // A FIFO queue has another name.
        for name in [QUEUE, "blue-owls-jobs.fifo"] {
            body["QueueUrl"] = json!(format!("https://sqs.eu-central-1.amazonaws.com/{}/{name}", self.account));
            last = self.json("sqs", "POST", "/", Some(&format!("AmazonSQS.{operation}")), &body);
            if last.0 == 200 {
                break;
            }
        }
        last
    }

    fn logs(&self, operation: &str, mut body: Json) -> (u16, Json) {
        if operation.contains("Tag") {
            let arn = format!("arn:aws:logs:eu-central-1:{}:log-group:{LOG_GROUP}", self.account);
            body["resourceArn"] = json!(arn);
        } else {
            body["logGroupName"] = json!(LOG_GROUP);
        }
        self.json("logs", "POST", "/", Some(&format!("Logs_20140328.{operation}")), &body)
    }

    fn lambda(&self, method: &str, path: &str, body: &Json) -> (u16, Json) {
        self.json("lambda", method, path, None, body)
    }

    /// The answer to a read that has to succeed.
    #[track_caller]
    fn get(&self, path: &str) -> Json {
        let (status, body) = self.lambda("GET", path, &Json::Null);
        assert_eq!(status, 200, "GET {path}: {body}");
        body
    }

    fn form(&self, fields: &[(&str, &str)]) -> (u16, String) {
        let field = |(name, value): &(&str, &str)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC));
        let body = fields.iter().map(field).collect::<Vec<_>>().join("&");
        self.send("iam", "POST", "/", None, body)
    }

    /// An action of IAM on a role.
    fn iam(&self, action: &str, role: &str, fields: &[(&str, &str)]) -> (u16, String) {
        let named = fields.iter().any(|(name, _)| *name == "RoleName");
        let role = [("RoleName", role)].into_iter().filter(|_| !named);
        let fields: Vec<(&str, String)> =
            role.chain(fields.iter().copied()).map(|(k, v)| (k, self.filled(v))).collect();
        let head = [("Action", action), ("Version", "2010-05-08")];
        let fields: Vec<_> =
            head.into_iter().chain(fields.iter().map(|(name, value)| (*name, value.as_str()))).collect();
        self.form(&fields)
    }

    /// A role with its policies; null if there is none.
    fn role(&self, name: &str) -> Json {
        let (status, text) = self.iam("GetRole", name, &[]);
        if status == 404 {
            return Json::Null;
        }
        let document = |text: &str| match field(text, "AssumeRolePolicyDocument").or(field(text, "PolicyDocument")) {
            Some(encoded) => {
                let text = percent_decode_str(&encoded).decode_utf8().unwrap().into_owned();
                serde_json::from_str(&text.replace("&quot;", "\"")).unwrap()
            }
            None => Json::Null,
        };
        let tags = fields(&text, "Key").into_iter().zip(fields(&text, "Value"));
        json!({
            "Path": field(&text, "Path"),
            "Description": field(&text, "Description"),
            "MaxSessionDuration": field(&text, "MaxSessionDuration"),
            "Trust": document(&text),
            "Boundary": field(&text, "PermissionsBoundaryArn"),
            "Tags": tags.collect::<BTreeMap<_, _>>(),
            "Attached": fields(&self.iam("ListAttachedRolePolicies", name, &[]).1, "PolicyArn"),
            "Policy": document(&self.iam("GetRolePolicy", name, &[("PolicyName", "engine")]).1)["Statement"].as_array()
                .map(|all| all.iter().map(|it| (it["Sid"].as_str().unwrap().to_owned(), it.clone())).collect::<BTreeMap<_, _>>()),
        })
    }

    fn create_role(&self, name: &str, path: &str) {
        let fields = [
            ("Action", "CreateRole"),
            ("Version", "2010-05-08"),
            ("RoleName", name),
            ("Path", path),
            ("AssumeRolePolicyDocument", TRUST),
        ];
        let (status, text) = self.form(&fields);
        assert_eq!(status, 200, "{text}");
    }

    fn mappings(&self) -> Vec<Json> {
        let all = self.get("/2015-03-31/event-source-mappings/");
        all["EventSourceMappings"].as_array().unwrap().clone()
    }

    fn uuid(&self) -> String {
        let all = self.mappings();
        assert_eq!(all.len(), 1, "one mapping: {all:?}");
        all[0]["UUID"].as_str().unwrap().to_owned()
    }

    fn stream(&self) -> String {
        self.read_resource("table")["Table"]["LatestStreamArn"].as_str().unwrap().to_owned()
    }

    /// The resource of this kind under test as AWS shows it, all reads in one document; null if
    /// there is none.
    pub(super) fn read_resource(&self, kind: &str) -> Json {
        match kind {
            "table" => {
                let (status, mut table) = self.dynamodb("DescribeTable", json!({}));
                if status != 200 {
                    return Json::Null;
                }
                // Their order is arbitrary.
                for (list, name) in [("GlobalSecondaryIndexes", "IndexName"), ("AttributeDefinitions", "AttributeName")]
                {
                    if let Some(items) = table["Table"][list].as_array_mut() {
                        items.sort_by_key(|item| item[name].to_string());
                    }
                }
                let ttl = self.dynamodb("DescribeTimeToLive", json!({})).1["TimeToLiveDescription"].take();
                let ttl_is_on = ["ENABLED", "ENABLING"].iter().any(|word| ttl["TimeToLiveStatus"] == *word);
                let tags = self.dynamodb("ListTagsOfResource", json!({})).1;
                let tags: BTreeMap<_, _> = tags["Tags"].as_array().into_iter().flatten().map(pair).collect();
                json!({
                    "Table": table["Table"],
                    "Ttl": if ttl_is_on { ttl["AttributeName"].clone() } else { Json::Null },
                    "Backups": self.dynamodb("DescribeContinuousBackups", json!({})).1["ContinuousBackupsDescription"],
                    "Tags": tags,
                })
            }
            "log_group" => {
                let prefix = json!({ "logGroupNamePrefix": LOG_GROUP });
                let (_, answer) = self.json("logs", "POST", "/", Some("Logs_20140328.DescribeLogGroups"), &prefix);
                let groups = answer["logGroups"].as_array().unwrap();
                let Some(group) = groups.iter().find(|it| it["logGroupName"] == LOG_GROUP) else { return Json::Null };
                let tags = self.logs("ListTagsForResource", json!({})).1["tags"].take();
                json!({ "Group": group, "Tags": tags })
            }
            "function" => {
                let mut seen = self.get("/2015-03-31/functions/{function}");
                seen["ImpliedRole"] = self.role(IMPLIED_ROLE);
                let (status, config) =
                    self.lambda("GET", "/2019-09-25/functions/{function}/event-invoke-config", &Json::Null);
                let (url_status, url) = self.lambda("GET", "/2021-10-31/functions/{function}/url", &Json::Null);
                let signing = self.lambda("GET", "/2020-06-30/functions/{function}/code-signing-config", &Json::Null);
                // Lambda shows an empty text for a function without one.
                seen["Signing"] = signing.1["CodeSigningConfigArn"].clone();
                seen["Url"] = if url_status == 200 { url } else { Json::Null };
                seen["Async"] = if status == 200 { config } else { Json::Null };
                seen
            }
            "queue" => {
                let mut seen = self.sqs("GetQueueAttributes", json!({ "AttributeNames": ["All"] })).1;
                let attributes = seen["Attributes"].as_object_mut().into_iter().flatten();
                for (_, value) in attributes {
                    let text = value.as_str().unwrap().to_owned();
                    // The local AWS shows an empty text for what isn't set.
                    *value = if text.is_empty() { Json::Null } else { json!(text) };
                    if text.starts_with('{') {
                        *value = serde_json::from_str(&text).unwrap();
                    }
                }
                seen["Tags"] = self.sqs("ListQueueTags", json!({})).1["Tags"].clone();
                seen
            }
            "permission" => {
                let policy = "/2015-03-31/functions/{function}/policy";
                let aliases = ALIASES.iter().map(|alias| format!("{policy}?Qualifier={alias}"));
                let answers = aliases.chain([policy.to_owned()]).map(|path| self.lambda("GET", &path, &Json::Null));
                let policies = answers.filter(|(status, _)| *status == 200);
                let statements = policies.flat_map(|(_, answer)| {
                    let policy: Json = serde_json::from_str(answer["Policy"].as_str().unwrap()).unwrap();
                    policy["Statement"].as_array().unwrap().clone()
                });
                statements.map(|it| (it["Sid"].as_str().unwrap().to_owned(), it)).collect()
            }
            "mapping" => {
                let Some(mut mapping) = self.mappings().into_iter().next() else { return Json::Null };
                let arn = mapping["EventSourceMappingArn"].as_str().unwrap();
                let arn = utf8_percent_encode(arn, NON_ALPHANUMERIC).to_string();
                let source = mapping["EventSourceArn"].as_str().unwrap();
                let table = source.split('/').nth(1).map(str::to_owned);
                mapping["Table"] = json!(table);
                mapping["Tags"] = self.get(&format!("/2017-03-31/tags/{arn}"))["Tags"].clone();
                mapping
            }
            "role" => {
                let (_, text) = self.iam("GetRole", ROLE, &[]);
                json!({ "Path": field(&text, "Path"), "Arn": field(&text, "Arn"), "Own": self.role(OWN_ROLE) })
            }
            other => panic!("nothing is known about looking at a {other}"),
        }
    }

    /// Whether AWS has completed all changes.
    fn is_done(&self, kind: &str) -> bool {
        let seen = self.read_resource(kind);
        let is = |pointer: &str, words: &[&str]| {
            seen.pointer(pointer).is_none_or(|status| words.iter().any(|word| status == *word))
        };
        let indexes = seen["Table"]["GlobalSecondaryIndexes"].as_array().into_iter().flatten();
        is("/Table/TableStatus", &["ACTIVE"])
            && is("/Table/SSEDescription/Status", &["ENABLED", "DISABLED"])
            && indexes.into_iter().all(|index| index["IndexStatus"] == "ACTIVE")
            && is("/Configuration/State", &["Active"])
            && is("/Configuration/LastUpdateStatus", &["Successful"])
            && is("/State", &["Enabled", "Disabled"])
    }

    /// Checks twice in a row, since one read may be older than another.
    fn wait_until_done(&self, kind: &str) {
        eventually("AWS is done", || self.is_done(kind) && self.is_done(kind));
    }

    /// Changes something outside engine, and waits until AWS has completed the change.
    #[track_caller]
    pub(super) fn change_outside(&self, kind: &str, request: &AwsRequest) {
        let (status, body) = match request {
            AwsRequest::Dynamodb(operation, body) => self.dynamodb(operation, body.clone()),
            AwsRequest::Sqs(operation, body) => self.sqs(operation, body.clone()),
            AwsRequest::Logs(operation, body) => self.logs(operation, body.clone()),
            AwsRequest::Lambda(line, body) => {
                let (method, path) = line.split_once(' ').unwrap();
                let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
                // An ARN is one segment of a path.
                let tags = |path: &str| {
                    let (start, arn) = path.split_once("/tags/")?;
                    Some(format!("{start}/tags/{}", utf8_percent_encode(&self.filled(arn), NON_ALPHANUMERIC)))
                };
                let path = tags(path).unwrap_or_else(|| path.to_owned());
                let path = query.map_or(path.clone(), |query| format!("{path}?{query}"));
                self.lambda(method, &path, body)
            }
            AwsRequest::Iam(action, fields) => {
                let (status, text) = self.iam(action, OWN_ROLE, fields);
                (status, json!(text))
            }
            AwsRequest::Remake(fields) => self.remake(kind, fields),
        };
        assert!((200..300).contains(&status), "{request:?}: {status} {body}");
        self.wait_until_done(kind);
        self.pass_cooldowns();
    }

    fn remake(&self, kind: &str, fields: &Json) -> (u16, Json) {
        let was = self.read_resource(kind);
        let gone = || self.read_resource(kind).is_null();
        match kind {
            "table" => {
                let tags = was["Tags"].as_object().unwrap().iter();
                let tags: Vec<Json> = tags.map(|(key, value)| json!({ "Key": key, "Value": value })).collect();
                let mut body = json!({ "Tags": tags });
                for field in ["AttributeDefinitions", "KeySchema", "StreamSpecification"] {
                    body[field] = was["Table"][field].clone();
                }
                body["ProvisionedThroughput"] = json!({ "ReadCapacityUnits": 1, "WriteCapacityUnits": 1 });
                for field in ["GlobalSecondaryIndexes", "LocalSecondaryIndexes"] {
                    let Some(indexes) = was["Table"][field].as_array() else { continue };
                    let kept = |index: &Json| {
                        let mut kept = json!({});
                        for field in ["IndexName", "KeySchema", "Projection"] {
                            kept[field] = index[field].clone();
                        }
                        if field.starts_with("Global") {
                            kept["ProvisionedThroughput"] = json!({ "ReadCapacityUnits": 1, "WriteCapacityUnits": 1 });
                        }
                        kept
                    };
                    body[field] = indexes.iter().map(kept).collect();
                }
                replace(&mut body, fields);
                let (status, said) = self.dynamodb("DeleteTable", json!({}));
                assert_eq!(status, 200, "{said}");
                eventually("the table is gone", gone);
                self.dynamodb("CreateTable", body)
            }
            "log_group" => {
                let mut body = json!({ "tags": was["Tags"] });
                replace(&mut body, fields);
                let (status, said) = self.logs("DeleteLogGroup", json!({}));
                assert_eq!(status, 200, "{said}");
                self.logs("CreateLogGroup", body)
            }
            "mapping" => {
                let mut body = json!({ "FunctionName": FUNCTION, "BatchSize": 100 });
                for field in ["EventSourceArn", "StartingPosition", "Tags"] {
                    body[field] = was[field].clone();
                }
                replace(&mut body, fields);
                let (status, said) = self.lambda("DELETE", "/2015-03-31/event-source-mappings/{uuid}", &Json::Null);
                assert_eq!(status, 202, "{said}");
                eventually("the mapping is gone", gone);
                self.lambda("POST", "/2015-03-31/event-source-mappings/", &body)
            }
            "permission" => {
                let mut body = json!({
                    "StatementId": STATEMENT,
                    "Action": "lambda:InvokeFunction",
                    "Principal": "dynamodb.amazonaws.com",
                });
                let arn = &was[STATEMENT]["Condition"]["ArnLike"];
                body["SourceArn"] = arn.as_object().and_then(|it| it.values().next()).cloned().unwrap_or_default();
                replace(&mut body, fields);
                let path = format!("/2015-03-31/functions/{FUNCTION}/policy");
                let (status, said) = self.lambda("DELETE", &format!("{path}/{STATEMENT}"), &Json::Null);
                assert_eq!(status, 204, "{said}");
                self.lambda("POST", &path, &body)
            }
            "role" => {
                let (status, said) =
                    self.form(&[("Action", "DeleteRole"), ("Version", "2010-05-08"), ("RoleName", ROLE)]);
                assert_eq!(status, 200, "{said}");
                self.create_role(ROLE, fields["Path"].as_str().unwrap());
                (200, Json::Null)
            }
            other => panic!("nothing is known about making a {other} anew"),
        }
    }
}

/// The texts of all XML elements with this name.
fn fields(xml: &str, name: &str) -> Vec<String> {
    let (start, end) = (format!("<{name}>"), format!("</{name}>"));
    xml.split(&start).skip(1).map(|rest| rest.split(&end).next().unwrap().to_owned()).collect()
}

fn field(xml: &str, name: &str) -> Option<String> {
    fields(xml, name).into_iter().next()
}

/// Overwrites fields; null removes one.
fn replace(body: &mut Json, fields: &Json) {
    let body = body.as_object_mut().unwrap();
    for (name, value) in fields.as_object().unwrap() {
        body.insert(name.clone(), value.clone());
    }
    body.retain(|_, value| !value.is_null());
}

fn pair(tag: &Json) -> (String, Json) {
    (tag["Key"].as_str().unwrap().to_owned(), tag["Value"].clone())
}
