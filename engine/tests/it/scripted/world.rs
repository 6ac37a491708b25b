//! One AWS account as a model: its states pass slowly, its answers have AWS's own shapes, and what AWS refuses on some
//! days it refuses always.
//!
//! Texts and shapes are AWS's, as recorded from the real services. Every waiting state is shown [`READS`] times before
//! it passes, so nothing is ever ready at the first look.

mod table;
mod tagging;

use std::collections::BTreeMap;

use base64::Engine as _;
use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::http::request::Parts;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};

use table::Table;

/// The account of the credentials.
pub(super) const ACCOUNT: &str = "123456789012";
pub(super) const REGION: &str = "eu-central-1";
/// The role that somebody else owns.
pub(super) const ROLE: &str = "fhms-pulumi-challenge-lambda-execution-role";
/// How often a waiting state is shown before it passes.
const READS: u32 = 2;

/// An answer.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Reply {
    fn json(status: u16, body: &Json) -> Reply {
        Reply { status, headers: vec![("content-type", "application/json".to_owned())], body: body.to_string() }
    }

    /// What it is.
    pub(super) fn ok(body: &Json) -> Reply {
        Reply::json(200, body)
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
            "GetRole" | "GetCallerIdentity" => Reply::query(status, code, message),
            "GetResources" => Reply { status, ..Reply::dynamodb(code, message) },
            _ if table::operation(operation) == operation => Reply { status, ..Reply::dynamodb(code, message) },
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

/// A request, taken apart.
#[derive(Debug, Clone)]
pub(super) struct Call {
    /// The API operation; `?` where no AWS would know it.
    pub(super) operation: &'static str,
    /// What it is about.
    pub(super) about: String,
    pub(super) body: Json,
    query: BTreeMap<String, String>,
}

impl Call {
    pub(super) fn parse(head: &Parts, bytes: &[u8]) -> Call {
        let path = head.uri.path().to_owned();
        let query = pairs(head.uri.query().unwrap_or_default());
        let body: Json = serde_json::from_slice(bytes).unwrap_or_default();
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        if let Some(target) = head.headers.get("x-amz-target") {
            if target == "ResourceGroupsTaggingAPI_20170126.GetResources" {
                return Call { operation: "GetResources", about: String::new(), body, query };
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
            let (operation, about) = match form.get("Action").map(String::as_str) {
                Some("GetCallerIdentity") => ("GetCallerIdentity", String::new()),
                Some("GetRole") => ("GetRole", form.get("RoleName").cloned().unwrap_or_default()),
                other => ("?", format!("{other:?}")),
            };
            return Call { operation, about, body, query };
        }
        let segments: Vec<String> = path.split('/').skip(2).filter(|it| !it.is_empty()).map(decode).collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let (operation, about) = match (head.method.as_str(), segments.as_slice()) {
            ("GET", ["functions", name]) => ("GetFunction", (*name).to_owned()),
            ("GET", ["functions", name, "policy"]) => ("GetPolicy", (*name).to_owned()),
            ("POST", ["functions"]) => ("CreateFunction", text("FunctionName")),
            ("PUT", ["functions", name, "code"]) => ("UpdateFunctionCode", (*name).to_owned()),
            ("PUT", ["functions", name, "configuration"]) => ("UpdateFunctionConfiguration", (*name).to_owned()),
            ("DELETE", ["functions", name]) => ("DeleteFunction", (*name).to_owned()),
            ("POST", ["functions", name, "policy"]) => ("AddPermission", (*name).to_owned()),
            ("DELETE", ["functions", name, "policy", _]) => ("RemovePermission", (*name).to_owned()),
            ("GET", ["event-source-mappings"]) => {
                ("ListEventSourceMappings", query.get("FunctionName").cloned().unwrap_or_default())
            }
            ("GET", ["event-source-mappings", uuid]) => ("GetEventSourceMapping", (*uuid).to_owned()),
            ("POST", ["event-source-mappings"]) => ("CreateEventSourceMapping", text("FunctionName")),
            ("PUT", ["event-source-mappings", uuid]) => ("UpdateEventSourceMapping", (*uuid).to_owned()),
            ("DELETE", ["event-source-mappings", uuid]) => ("DeleteEventSourceMapping", (*uuid).to_owned()),
            ("GET", ["tags", arn]) => ("ListTags", last(arn)),
            ("POST", ["tags", arn]) => ("TagResource", last(arn)),
            (method, _) => ("?", format!("{method} {path}")),
        };
        let mut query = query;
        if let ["functions", _, "policy", statement] = segments.as_slice() {
            query.insert("StatementId".to_owned(), (*statement).to_owned());
        }
        Call { operation, about, body, query }
    }
}

fn pairs(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (decode(key), decode(value))).collect()
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8().unwrap().into_owned()
}

/// The name at the end of an ARN.
fn last(arn: &str) -> String {
    arn.rsplit([':', '/']).next().unwrap_or_default().to_owned()
}

type Tags = BTreeMap<String, String>;

/// A state that passes by being looked at.
#[derive(Debug, Clone)]
struct Passing {
    words: Vec<&'static str>,
    reads: u32,
}

impl Passing {
    fn through(words: &[&'static str]) -> Passing {
        Passing { words: words.to_vec(), reads: READS }
    }

    /// One look; `None` once it has passed.
    fn look(&mut self) -> Option<&'static str> {
        if self.reads == 0 {
            self.words.remove(0);
            self.reads = READS;
        }
        let word = *self.words.first()?;
        self.reads -= 1;
        Some(word)
    }
}

/// The account.
#[derive(Debug, Clone, Default)]
pub(super) struct World {
    pub(super) tables: BTreeMap<String, Table>,
    pub(super) functions: BTreeMap<String, Function>,
    pub(super) mappings: Vec<Mapping>,
    pub(super) roles: Vec<String>,
    pub(super) index: tagging::Index,
    /// Looks at a fresh table's tags that find nothing, also once it is ACTIVE.
    pub(super) tag_lag: u32,
    /// Lists come in pages of one, the first of them empty.
    pub(super) small_pages: bool,
    pub(super) ids: u32,
}

#[derive(Debug, Clone)]
pub(super) struct Function {
    pub(super) config: Json,
    pub(super) tags: Tags,
    pending: Option<Passing>,
    updating: Option<Passing>,
    revision: u32,
    /// The statements of its policy, in the order of their adding.
    pub(super) policy: Vec<Json>,
}

#[derive(Debug, Clone)]
pub(super) struct Mapping {
    pub(super) uuid: String,
    function: String,
    pub(super) shown: Json,
    enabled: bool,
    passing: Option<Passing>,
    leaving: bool,
    pub(super) tags: Tags,
}

impl World {
    /// With nothing but the role.
    pub(super) fn empty() -> World {
        World { roles: vec![ROLE.to_owned()], ..World::default() }
    }

    /// As if all of it had been made long ago.
    pub(super) fn aged(mut self) -> World {
        for table in self.tables.values_mut() {
            table.age();
        }
        self
    }

    fn id(&mut self) -> u32 {
        self.ids += 1;
        self.ids
    }

    pub(super) fn execute(&mut self, call: &Call) -> Reply {
        if let Some(done) = self.table_call(call) {
            return done.unwrap_or_else(|refusal| refusal);
        }
        let done = match call.operation {
            "GetFunction" => self.get_function(&call.about),
            "CreateFunction" => self.create_function(&call.about, &call.body),
            "UpdateFunctionConfiguration" => self.update_configuration(&call.about, &call.body),
            "UpdateFunctionCode" => self.update_code(&call.about, &call.body),
            "DeleteFunction" => self.delete_function(&call.about),
            "GetPolicy" => self.get_policy(&call.about),
            "AddPermission" => self.add_permission(&call.about, &call.body),
            "RemovePermission" => self.remove_permission(&call.about, &call.query),
            "ListEventSourceMappings" => self.list_mappings(&call.query),
            "GetEventSourceMapping" => self.get_mapping(&call.about),
            "CreateEventSourceMapping" => self.create_mapping(&call.about, &call.body),
            "UpdateEventSourceMapping" => self.update_mapping(&call.about, &call.body),
            "DeleteEventSourceMapping" => self.delete_mapping(&call.about),
            "ListTags" => self.list_tags(&call.about),
            "TagResource" => self.tag(&call.about, &call.body),
            "GetRole" => self.get_role(&call.about),
            "GetResources" => self.get_resources(&call.body),
            "GetCallerIdentity" => Ok(identity()),
            "Metadata" => Ok(Reply::ok(&json!({
                "AccessKeyId": "AKIAEXAMPLE",
                "SecretAccessKey": "secret",
                "Token": "token",
                "Expiration": "2099-01-01T00:00:00Z",
            }))),
            _ => Err(Reply::query(400, "InvalidAction", "no such action")),
        };
        done.unwrap_or_else(|refusal| refusal)
    }

    // Functions.

    fn function(&mut self, name: &str) -> Result<&mut Function, Reply> {
        let missing = format!("Function not found: {}", function_arn(name));
        let missing = Reply::lambda(404, "ResourceNotFoundException", &missing);
        self.functions.get_mut(&last(name)).ok_or(missing)
    }

    fn get_function(&mut self, name: &str) -> Result<Reply, Reply> {
        let function = self.function(name)?;
        let mut config = function.config.clone();
        config["State"] = json!("Active");
        config["LastUpdateStatus"] = json!("Successful");
        if let Some(passing) = &mut function.pending {
            match passing.look() {
                Some(word) => {
                    config["State"] = json!(word);
                    config["StateReasonCode"] = json!("Creating");
                    config.as_object_mut().unwrap().remove("LastUpdateStatus");
                }
                None => {
                    function.pending = None;
                    // The lock also moves when Lambda itself changes something.
                    function.revision += 1;
                }
            }
        }
        if let Some(passing) = &mut function.updating {
            match passing.look() {
                Some(word) => config["LastUpdateStatus"] = json!(word),
                None => {
                    function.updating = None;
                    function.revision += 1;
                }
            }
        }
        config["RevisionId"] = json!(function.revision.to_string());
        let mut answer =
            json!({ "Configuration": config, "Code": { "RepositoryType": "S3", "Location": "https://s3/" } });
        if !function.tags.is_empty() {
            answer["Tags"] = json!(function.tags);
        }
        Ok(Reply::json(200, &answer))
    }

    fn create_function(&mut self, name: &str, body: &Json) -> Result<Reply, Reply> {
        if self.functions.contains_key(name) {
            let text = format!("Function already exist: {name}");
            return Err(Reply::lambda(409, "ResourceConflictException", &text));
        }
        self.assumable(&body["Role"])?;
        let mut config = json!({
            "FunctionName": name,
            "FunctionArn": function_arn(name),
            "Runtime": body["Runtime"],
            "Role": body["Role"],
            "Handler": body["Handler"],
            "Description": "",
            "Timeout": body["Timeout"].as_u64().unwrap_or(3),
            "MemorySize": body["MemorySize"].as_u64().unwrap_or(128),
            "LastModified": "2026-11-22T19:00:00.000+0000",
            "Version": "$LATEST",
            "TracingConfig": { "Mode": "PassThrough" },
            "PackageType": "Zip",
            "Architectures": ["x86_64"],
            "EphemeralStorage": { "Size": 512 },
            "SnapStart": { "ApplyOn": "None", "OptimizationStatus": "Off" },
            "LoggingConfig": { "LogFormat": "Text", "LogGroup": format!("/aws/lambda/{name}") },
        });
        set_code(&mut config, &body["Code"]["ZipFile"]);
        if body["Environment"]["Variables"].as_object().is_some_and(|variables| !variables.is_empty()) {
            config["Environment"] = body["Environment"].clone();
        }
        let function = Function {
            config: config.clone(),
            tags: serde_json::from_value(body["Tags"].clone()).unwrap_or_default(),
            pending: Some(Passing::through(&["Pending"])),
            updating: None,
            revision: 1,
            policy: Vec::new(),
        };
        self.functions.insert(name.to_owned(), function);
        config["State"] = json!("Pending");
        config["StateReasonCode"] = json!("Creating");
        config["RevisionId"] = json!("1");
        Ok(Reply::json(201, &config))
    }

    fn assumable(&self, role: &Json) -> Result<(), Reply> {
        let role = role.as_str().unwrap_or_default();
        if self.roles.iter().any(|name| role_arn(name) == role) {
            return Ok(());
        }
        Err(not_assumable())
    }

    fn update_configuration(&mut self, name: &str, body: &Json) -> Result<Reply, Reply> {
        self.assumable(&body["Role"])?;
        let function = self.function(name)?;
        function.quiet()?;
        function.locked(body)?;
        for field in ["Runtime", "Handler", "Role", "MemorySize", "Timeout", "Environment"] {
            if !body[field].is_null() {
                function.config[field] = body[field].clone();
            }
        }
        Ok(function.begin_update())
    }

    fn update_code(&mut self, name: &str, body: &Json) -> Result<Reply, Reply> {
        let function = self.function(name)?;
        function.quiet()?;
        function.locked(body)?;
        set_code(&mut function.config, &body["ZipFile"]);
        Ok(function.begin_update())
    }

    fn delete_function(&mut self, name: &str) -> Result<Reply, Reply> {
        self.function(name)?.not_pending()?;
        // Its mappings live on.
        self.functions.remove(name);
        Ok(Reply::empty())
    }

    // Permissions.

    fn get_policy(&mut self, name: &str) -> Result<Reply, Reply> {
        let nothing = Reply::lambda(404, "ResourceNotFoundException", "The resource you requested does not exist.");
        let function = self.functions.get(name).filter(|it| !it.policy.is_empty()).ok_or(nothing)?;
        let policy = json!({ "Version": "2012-10-17", "Id": "default", "Statement": function.policy });
        Ok(Reply::json(200, &json!({ "Policy": policy.to_string(), "RevisionId": "p" })))
    }

    fn add_permission(&mut self, name: &str, body: &Json) -> Result<Reply, Reply> {
        let function = self.function(name)?;
        function.not_updating()?;
        let id = body["StatementId"].as_str().unwrap();
        if function.policy.iter().any(|statement| statement["Sid"] == id) {
            let text = format!(
                "The statement id ({id}) provided already exists. Please provide a new statement id, or remove the existing statement."
            );
            return Err(Reply::lambda(409, "ResourceConflictException", &text));
        }
        let principal = body["Principal"].as_str().unwrap();
        let principal = match principal {
            "*" => json!("*"),
            name if name.contains(".amazonaws.com") => json!({ "Service": name }),
            arn if arn.starts_with("arn:") => json!({ "AWS": arn }),
            account => json!({ "AWS": format!("arn:aws:iam::{account}:root") }),
        };
        let mut statement = json!({
            "Sid": id,
            "Effect": "Allow",
            "Principal": principal,
            "Action": body["Action"],
            "Resource": function_arn(name),
        });
        if body["SourceArn"].is_string() {
            statement["Condition"] = json!({ "ArnLike": { "AWS:SourceArn": body["SourceArn"] } });
        }
        function.policy.push(statement.clone());
        Ok(Reply::json(201, &json!({ "Statement": statement.to_string() })))
    }

    fn remove_permission(&mut self, name: &str, query: &BTreeMap<String, String>) -> Result<Reply, Reply> {
        let nothing =
            Reply::lambda(404, "ResourceNotFoundException", "No policy is associated with the given resource.");
        let function = self.functions.get_mut(name).filter(|it| !it.policy.is_empty()).ok_or(nothing)?;
        function.not_updating()?;
        let id = &query["StatementId"];
        let before = function.policy.len();
        function.policy.retain(|statement| statement["Sid"] != id.as_str());
        if function.policy.len() == before {
            let text = format!("Statement {id} is not found in resource policy.");
            return Err(Reply::lambda(404, "ResourceNotFoundException", &text));
        }
        Ok(Reply::empty())
    }

    // Mappings.

    fn list_mappings(&mut self, query: &BTreeMap<String, String>) -> Result<Reply, Reply> {
        let function = query.get("FunctionName").map(|name| last(name));
        let all: Vec<String> = self
            .mappings
            .iter()
            .filter(|mapping| function.as_ref().is_none_or(|name| *name == mapping.function))
            .map(|mapping| mapping.uuid.clone())
            .collect();
        let shown: Vec<Json> = all.iter().filter_map(|uuid| self.look_at_mapping(uuid)).collect();
        if !self.small_pages {
            return Ok(Reply::json(200, &json!({ "EventSourceMappings": shown, "NextMarker": null })));
        }
        // The first page is empty and has a successor all the same.
        let page: usize = query.get("Marker").map_or(0, |marker| marker.parse().unwrap());
        let items: Vec<&Json> = page.checked_sub(1).and_then(|index| shown.get(index)).into_iter().collect();
        let next = (page < shown.len()).then(|| (page + 1).to_string());
        Ok(Reply::json(200, &json!({ "EventSourceMappings": items, "NextMarker": next })))
    }

    fn look_at_mapping(&mut self, uuid: &str) -> Option<Json> {
        let index = self.mappings.iter().position(|mapping| mapping.uuid == uuid)?;
        let mapping = &mut self.mappings[index];
        let mut state = if mapping.enabled { "Enabled" } else { "Disabled" };
        if let Some(passing) = &mut mapping.passing {
            match passing.look() {
                Some(word) => state = word,
                None if mapping.leaving => {
                    self.mappings.remove(index);
                    return None;
                }
                None => mapping.passing = None,
            }
        }
        let mut shown = self.mappings[index].shown.clone();
        shown["State"] = json!(state);
        Some(shown)
    }

    fn get_mapping(&mut self, uuid: &str) -> Result<Reply, Reply> {
        let shown = self.look_at_mapping(uuid).ok_or_else(no_mapping)?;
        Ok(Reply::json(200, &shown))
    }

    fn create_mapping(&mut self, function: &str, body: &Json) -> Result<Reply, Reply> {
        let function = last(function);
        let refuse = |text: &str| Err(Reply::lambda(400, "InvalidParameterValueException", text));
        if !self.functions.contains_key(&function) {
            return refuse("Function does not exist");
        }
        let stream = body["EventSourceArn"].as_str().unwrap();
        // Whether AWS takes a mapping on a table that is not ACTIVE is not known, so this one does not.
        let live = self.tables.values().any(|table| {
            table.passing.is_none()
                && table.shown["StreamSpecification"].is_object()
                && table.shown["LatestStreamArn"] == stream
        });
        if !live {
            return refuse(&format!("Stream not found: {stream}"));
        }
        if let Some(old) =
            self.mappings.iter().find(|it| it.function == function && it.shown["EventSourceArn"] == stream)
        {
            let text = format!(
                "The event source arn (\" {stream} \") and function (\" {function} \") provided mapping already exists. \
                 Please update or delete the existing mapping with UUID {}",
                old.uuid
            );
            return Err(Reply::lambda(409, "ResourceConflictException", &text));
        }
        let uuid = format!("00000000-0000-4000-8000-{:012}", self.id());
        let enabled = body["Enabled"].as_bool().unwrap_or(true);
        let shown = json!({
            "UUID": uuid,
            "EventSourceArn": stream,
            "EventSourceMappingArn": format!("arn:aws:lambda:{REGION}:{ACCOUNT}:event-source-mapping:{uuid}"),
            "FunctionArn": function_arn(&function),
            "StartingPosition": body["StartingPosition"],
            "BatchSize": body["BatchSize"].as_u64().unwrap_or(100),
            "MaximumBatchingWindowInSeconds": 0,
            "ParallelizationFactor": 1,
            "DestinationConfig": { "OnFailure": {} },
            "MaximumRecordAgeInSeconds": -1,
            "MaximumRetryAttempts": -1,
            "BisectBatchOnFunctionError": false,
            "TumblingWindowInSeconds": 0,
            "FunctionResponseTypes": [],
            "LastModified": 1_700_000_000.0,
            "LastProcessingResult": "No records processed",
            "StateTransitionReason": "User action",
            "State": "Creating",
        });
        let words: &[_] = if enabled { &["Creating", "Enabling"] } else { &["Creating"] };
        self.mappings.push(Mapping {
            uuid,
            function,
            shown: shown.clone(),
            enabled,
            passing: Some(Passing::through(words)),
            leaving: false,
            tags: serde_json::from_value(body["Tags"].clone()).unwrap_or_default(),
        });
        Ok(Reply::json(202, &shown))
    }

    fn quiet_mapping(&mut self, uuid: &str, verb: &str) -> Result<&mut Mapping, Reply> {
        let mapping = self.mappings.iter_mut().find(|mapping| mapping.uuid == uuid).ok_or_else(no_mapping)?;
        let leaving = mapping.leaving;
        if leaving || mapping.passing.as_mut().and_then(Passing::look).is_some() {
            let text = format!("Cannot {verb} the event source mapping because it is in use.");
            return Err(Reply::lambda(400, "ResourceInUseException", &text));
        }
        mapping.passing = None;
        Ok(mapping)
    }

    fn update_mapping(&mut self, uuid: &str, body: &Json) -> Result<Reply, Reply> {
        let mapping = self.quiet_mapping(uuid, "update")?;
        if body["BatchSize"].is_u64() {
            mapping.shown["BatchSize"] = body["BatchSize"].clone();
        }
        let enabled = body["Enabled"].as_bool().unwrap_or(mapping.enabled);
        let words: &[_] = match (mapping.enabled, enabled) {
            (false, true) => &["Updating", "Enabling"],
            (true, false) => &["Updating", "Disabling"],
            _ => &["Updating"],
        };
        mapping.enabled = enabled;
        mapping.passing = Some(Passing::through(words));
        let mut shown = mapping.shown.clone();
        shown["State"] = json!("Updating");
        Ok(Reply::json(202, &shown))
    }

    fn delete_mapping(&mut self, uuid: &str) -> Result<Reply, Reply> {
        let mapping = self.quiet_mapping(uuid, "delete")?;
        mapping.passing = Some(Passing::through(&["Deleting"]));
        mapping.leaving = true;
        let mut shown = mapping.shown.clone();
        shown["State"] = json!("Deleting");
        Ok(Reply::json(202, &shown))
    }

    // Tags of functions and mappings.

    fn tagged(&mut self, name: &str) -> Result<&mut Tags, Reply> {
        if let Some(index) = self.mappings.iter().position(|mapping| mapping.uuid == name) {
            return Ok(&mut self.mappings[index].tags);
        }
        let function = self.function(name)?;
        function.not_updating()?;
        function.revision += 1;
        Ok(&mut function.tags)
    }

    fn list_tags(&mut self, name: &str) -> Result<Reply, Reply> {
        let mapping = self.mappings.iter().find(|mapping| mapping.uuid == name).ok_or_else(no_mapping)?;
        Ok(Reply::json(200, &json!({ "Tags": mapping.tags })))
    }

    fn tag(&mut self, name: &str, body: &Json) -> Result<Reply, Reply> {
        let tags: Tags = serde_json::from_value(body["Tags"].clone()).unwrap();
        self.tagged(name)?.extend(tags);
        Ok(Reply::empty())
    }

    // Roles.

    fn get_role(&mut self, name: &str) -> Result<Reply, Reply> {
        if !self.roles.iter().any(|role| role == name) {
            let text = format!("The role with name {name} cannot be found.");
            return Err(Reply::query(404, "NoSuchEntity", &text));
        }
        let trust = json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Effect": "Allow",
                "Principal": { "Service": "lambda.amazonaws.com" },
                "Action": "sts:AssumeRole",
            }],
        });
        let trust = utf8_percent_encode(&trust.to_string(), NON_ALPHANUMERIC).to_string();
        let arn = role_arn(name);
        Ok(Reply::xml(
            200,
            format!(
                "<GetRoleResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><GetRoleResult><Role>\
                 <Path>/</Path><RoleName>{name}</RoleName><RoleId>AROAEXAMPLE</RoleId><Arn>{arn}</Arn>\
                 <CreateDate>2025-11-01T09:00:00Z</CreateDate><MaxSessionDuration>3600</MaxSessionDuration>\
                 <AssumeRolePolicyDocument>{trust}</AssumeRolePolicyDocument>\
                 </Role></GetRoleResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></GetRoleResponse>"
            ),
        ))
    }
}

impl Function {
    fn not_pending(&mut self) -> Result<(), Reply> {
        if self.pending.as_mut().and_then(Passing::look).is_none() {
            self.revision += u32::from(self.pending.take().is_some());
            return Ok(());
        }
        let text =
            "The operation cannot be performed at this time. The function is currently in the following state: Pending";
        Err(Reply::lambda(409, "ResourceConflictException", text))
    }

    fn not_updating(&mut self) -> Result<(), Reply> {
        if self.updating.as_mut().and_then(Passing::look).is_none() {
            self.revision += u32::from(self.updating.take().is_some());
            return Ok(());
        }
        let arn = self.config["FunctionArn"].as_str().unwrap();
        let text =
            format!("The operation cannot be performed at this time. An update is in progress for resource: {arn}");
        Err(Reply::lambda(409, "ResourceConflictException", &text))
    }

    fn quiet(&mut self) -> Result<(), Reply> {
        self.not_pending()?;
        self.not_updating()
    }

    fn locked(&self, body: &Json) -> Result<(), Reply> {
        match body["RevisionId"].as_str() {
            Some(revision) if revision != self.revision.to_string() => {
                let text = "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the latest Revision Id";
                Err(Reply::lambda(412, "PreconditionFailedException", text))
            }
            _ => Ok(()),
        }
    }

    fn begin_update(&mut self) -> Reply {
        self.revision += 1;
        self.updating = Some(Passing::through(&["InProgress"]));
        let mut config = self.config.clone();
        config["State"] = json!("Active");
        config["LastUpdateStatus"] = json!("InProgress");
        config["RevisionId"] = json!(self.revision.to_string());
        Reply::json(200, &config)
    }

    /// As if somebody else had changed something; moves the lock.
    pub(super) fn meddle(&mut self, field: &str, value: Json) {
        self.config[field] = value;
        self.revision += 1;
    }

    /// As if it had been made a moment ago.
    pub(super) fn make_pending(&mut self) {
        self.pending = Some(Passing::through(&["Pending"]));
    }
}

impl Mapping {
    pub(super) fn is_enabled(&self) -> bool {
        self.enabled && self.passing.is_none()
    }
}

/// What Lambda says of a role that it may not assume, or has not heard of yet.
pub(super) fn not_assumable() -> Reply {
    let text = "The role defined for the function cannot be assumed by Lambda.";
    Reply::lambda(400, "InvalidParameterValueException", text)
}

/// What Lambda says of a role that may not read a stream, or whose rights have not arrived yet.
pub(super) fn stream_not_readable() -> Reply {
    let text = "Cannot access stream X. Please ensure the role can perform the GetRecords, GetShardIterator, \
                DescribeStream, and ListStreams Actions on your stream in IAM.";
    Reply::lambda(400, "InvalidParameterValueException", text)
}

fn no_mapping() -> Reply {
    Reply::lambda(404, "ResourceNotFoundException", "The resource you requested does not exist.")
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

fn set_code(config: &mut Json, zip: &Json) {
    let zip = base64::engine::general_purpose::STANDARD.decode(zip.as_str().unwrap()).unwrap();
    config["CodeSize"] = json!(zip.len());
    config["CodeSha256"] = json!(base64::engine::general_purpose::STANDARD.encode(Sha256::digest(&zip)));
}

pub(super) fn function_arn(name: &str) -> String {
    format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{}", last(name))
}

fn role_arn(name: &str) -> String {
    format!("arn:aws:iam::{ACCOUNT}:role/{name}")
}
