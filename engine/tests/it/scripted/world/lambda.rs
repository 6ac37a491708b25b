//! The Lambda part of the account: functions, their policies, and mappings.
//!
//! As in AWS, a field that an update omits keeps its value, so tests detect a property that was
//! meant to be reset by omission.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::code::{configure_image, deploy};
use super::{ACCOUNT, Call, Orphans, Passing, REGION, Reply, Tags, World, last};

#[derive(Debug, Clone)]
pub(in crate::scripted) struct Function {
    pub(in crate::scripted) config: Json,
    pub(in crate::scripted) tags: Tags,
    /// Reserved concurrent executions.
    pub(in crate::scripted) concurrency: Option<u64>,
    /// The configuration of its asynchronous invocations.
    pub(in crate::scripted) async_config: Option<Json>,
    /// Its URL.
    pub(in crate::scripted) url: Option<Json>,
    /// Its code signing configuration.
    pub(in crate::scripted) signing: Option<String>,
    pending: Option<Passing>,
    updating: Option<Passing>,
    /// The configuration to restore once the update in progress has failed.
    fallback: Option<Json>,
    revision: u32,
    /// The statements of its policy, in the order in which they were added.
    pub(in crate::scripted) policy: Vec<Json>,
}

#[derive(Debug, Clone)]
pub(in crate::scripted) struct Mapping {
    pub(in crate::scripted) uuid: String,
    pub(in crate::scripted) function: String,
    pub(in crate::scripted) shown: Json,
    pub(in crate::scripted) enabled: bool,
    passing: Option<Passing>,
    leaving: bool,
    pub(in crate::scripted) tags: Tags,
}

/// The operation behind a path, and its subject; `None` if AWS doesn't know it.
pub(super) fn route(
    method: &str,
    segments: &[&str],
    body: &Json,
    query: &BTreeMap<String, String>,
) -> Option<(&'static str, String)> {
    let function = || body["FunctionName"].as_str().unwrap_or_default().to_owned();
    let (operation, about) = match (method, segments) {
        ("GET", ["functions"]) => ("ListFunctions", String::new()),
        ("GET", ["functions", name]) => ("GetFunction", (*name).to_owned()),
        ("GET", ["functions", name, "policy"]) => ("GetPolicy", (*name).to_owned()),
        ("GET", ["functions", name, "aliases"]) => ("ListAliases", (*name).to_owned()),
        ("POST", ["functions"]) => ("CreateFunction", function()),
        ("PUT", ["functions", name, "code"]) => ("UpdateFunctionCode", (*name).to_owned()),
        ("PUT", ["functions", name, "configuration"]) => ("UpdateFunctionConfiguration", (*name).to_owned()),
        ("PUT", ["functions", name, "concurrency"]) => ("PutFunctionConcurrency", (*name).to_owned()),
        ("DELETE", ["functions", name, "concurrency"]) => ("DeleteFunctionConcurrency", (*name).to_owned()),
        ("GET", ["functions", name, "event-invoke-config"]) => ("GetFunctionEventInvokeConfig", (*name).to_owned()),
        ("PUT", ["functions", name, "event-invoke-config"]) => ("PutFunctionEventInvokeConfig", (*name).to_owned()),
        ("DELETE", ["functions", name, "event-invoke-config"]) => {
            ("DeleteFunctionEventInvokeConfig", (*name).to_owned())
        }
        ("GET", ["functions", name, "code-signing-config"]) => ("GetFunctionCodeSigningConfig", (*name).to_owned()),
        ("PUT", ["functions", name, "code-signing-config"]) => ("PutFunctionCodeSigningConfig", (*name).to_owned()),
        ("DELETE", ["functions", name, "code-signing-config"]) => {
            ("DeleteFunctionCodeSigningConfig", (*name).to_owned())
        }
        ("GET", ["functions", name, "url"]) => ("GetFunctionUrlConfig", (*name).to_owned()),
        ("POST", ["functions", name, "url"]) => ("CreateFunctionUrlConfig", (*name).to_owned()),
        ("PUT", ["functions", name, "url"]) => ("UpdateFunctionUrlConfig", (*name).to_owned()),
        ("DELETE", ["functions", name, "url"]) => ("DeleteFunctionUrlConfig", (*name).to_owned()),
        ("POST", ["functions", name, "invocations"]) => ("Invoke", (*name).to_owned()),
        ("DELETE", ["functions", name]) => ("DeleteFunction", (*name).to_owned()),
        ("POST", ["functions", name, "policy"]) => ("AddPermission", (*name).to_owned()),
        ("DELETE", ["functions", name, "policy", _]) => ("RemovePermission", (*name).to_owned()),
        ("GET", ["event-source-mappings"]) => {
            ("ListEventSourceMappings", query.get("FunctionName").cloned().unwrap_or_default())
        }
        ("GET", ["event-source-mappings", uuid]) => ("GetEventSourceMapping", (*uuid).to_owned()),
        ("POST", ["event-source-mappings"]) => ("CreateEventSourceMapping", function()),
        ("PUT", ["event-source-mappings", uuid]) => ("UpdateEventSourceMapping", (*uuid).to_owned()),
        ("DELETE", ["event-source-mappings", uuid]) => ("DeleteEventSourceMapping", (*uuid).to_owned()),
        ("GET", ["tags", arn]) => ("ListTags", last(arn)),
        ("POST", ["tags", arn]) => ("TagResource", last(arn)),
        ("DELETE", ["tags", arn]) => ("UntagResource", last(arn)),
        _ => return None,
    };
    Some((operation, about))
}

impl World {
    pub(super) fn lambda(&mut self, call: &Call) -> Result<Reply, Reply> {
        let Call { operation, about, body, query } = call;
        match *operation {
            "ListFunctions" => self.list_functions(query),
            "GetFunction" => self.get_function(about),
            "CreateFunction" => self.create_function(about, body),
            "UpdateFunctionConfiguration" => self.update_configuration(about, body),
            "UpdateFunctionCode" => self.update_code(about, body),
            "PutFunctionConcurrency" => self.put_concurrency(about, body),
            "DeleteFunctionConcurrency" => self.delete_concurrency(about),
            "GetFunctionEventInvokeConfig" => self.get_async_config(about),
            "PutFunctionEventInvokeConfig" => self.put_async_config(about, body),
            "DeleteFunctionEventInvokeConfig" => self.delete_async_config(about),
            "GetFunctionCodeSigningConfig" => self.get_signing(about),
            "PutFunctionCodeSigningConfig" => self.put_signing(about, body),
            "DeleteFunctionCodeSigningConfig" => self.delete_signing(about),
            "GetFunctionUrlConfig" => self.get_url(about),
            "CreateFunctionUrlConfig" => self.create_url(about, body),
            "UpdateFunctionUrlConfig" => self.update_url(about, body),
            "DeleteFunctionUrlConfig" => self.delete_url(about),
            // Its result is `null`.
            "Invoke" => self.function(about).map(|_| Reply::ok(&Json::Null)),
            "DeleteFunction" => self.delete_function(about),
            "GetPolicy" => self.get_policy(about, query),
            "ListAliases" => self.list_aliases(about),
            "AddPermission" => self.add_permission(about, body, query),
            "RemovePermission" => self.remove_permission(about, query),
            "ListEventSourceMappings" => self.list_mappings(query),
            "GetEventSourceMapping" => self.get_mapping(about),
            "CreateEventSourceMapping" => self.create_mapping(about, body),
            "UpdateEventSourceMapping" => self.update_mapping(about, body),
            "DeleteEventSourceMapping" => self.delete_mapping(about),
            "ListTags" => self.list_tags(about),
            "TagResource" => self.tag(about, body),
            "UntagResource" => self.untag(about, query),
            _ => Err(Reply::query(400, "InvalidAction", "no such action")),
        }
    }

    // Functions.

    fn function(&mut self, name: &str) -> Result<&mut Function, Reply> {
        let missing = format!("Function not found: {}", function_arn(name));
        let missing = Reply::lambda(404, "ResourceNotFoundException", &missing);
        self.functions.get_mut(&last(name)).ok_or(missing)
    }

    /// Refuses a change of a function while another one is in progress.
    pub(super) fn quiet_function(&mut self, name: &str) -> Result<(), Reply> {
        self.function(name)?.quiet()
    }

    fn list_functions(&mut self, query: &BTreeMap<String, String>) -> Result<Reply, Reply> {
        let all: Vec<Json> = self.functions.values().map(|function| function.config.clone()).collect();
        let (items, next) = self.page(all, query);
        Ok(Reply::json(200, &json!({ "Functions": items, "NextMarker": next })))
    }

    /// All entries, or a page of one; the first page is empty and still has a next token.
    fn page(&self, all: Vec<Json>, query: &BTreeMap<String, String>) -> (Vec<Json>, Option<String>) {
        if !self.small_pages {
            return (all, None);
        }
        let page: usize = query.get("Marker").map_or(0, |marker| marker.parse().unwrap());
        let next = (page < all.len()).then(|| (page + 1).to_string());
        (page.checked_sub(1).and_then(|index| all.get(index)).cloned().into_iter().collect(), next)
    }

    fn get_function(&mut self, name: &str) -> Result<Reply, Reply> {
        let denied = self.function_tags_denied;
        let function = self.function(name)?;
        let mut config = function.config.clone();
        if config["State"].is_null() {
            config["State"] = json!("Active");
        }
        if config["LastUpdateStatus"].is_null() {
            config["LastUpdateStatus"] = json!("Successful");
        }
        if let Some(passing) = &mut function.pending {
            match passing.next_state() {
                Some(word) => {
                    config["State"] = json!(word);
                    config["StateReasonCode"] = json!("Creating");
                    config.as_object_mut().unwrap().remove("LastUpdateStatus");
                }
                None => {
                    function.pending = None;
                    // The revision ID also changes when Lambda itself changes something.
                    function.revision += 1;
                }
            }
        }
        if let Some(passing) = &mut function.updating {
            match passing.next_state() {
                Some(word) => config["LastUpdateStatus"] = json!(word),
                None => {
                    function.end_update();
                    config = function.config.clone();
                    config["State"] = json!("Active");
                    if config["LastUpdateStatus"].is_null() {
                        config["LastUpdateStatus"] = json!("Successful");
                    }
                }
            }
        }
        config["RevisionId"] = json!(function.revision.to_string());
        let code = match config["ImageUri"].take() {
            Json::String(uri) => json!({ "RepositoryType": "ECR", "ImageUri": uri, "ResolvedImageUri": uri }),
            _ => json!({ "RepositoryType": "S3", "Location": format!("https://s3/{name}") }),
        };
        config.as_object_mut().unwrap().remove("ImageUri");
        let mut answer = json!({ "Configuration": config, "Code": code });
        if denied {
            answer["TagsError"] = json!({ "ErrorCode": "AccessDenied", "Message": "not authorized: lambda:ListTags" });
        } else if !function.tags.is_empty() {
            answer["Tags"] = json!(function.tags);
        }
        if let Some(reserved) = function.concurrency {
            answer["Concurrency"] = json!({ "ReservedConcurrentExecutions": reserved });
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
            "Description": "",
            "Timeout": 3,
            "MemorySize": 128,
            "LastModified": self.lambda_time.unwrap_or("2026-11-22T19:00:00.000+0000"),
            "Version": "$LATEST",
            "TracingConfig": { "Mode": "PassThrough" },
            "PackageType": body["PackageType"].as_str().unwrap_or("Zip"),
            "Architectures": ["x86_64"],
            "EphemeralStorage": { "Size": 512 },
            "SnapStart": { "ApplyOn": "None", "OptimizationStatus": "Off" },
            "LoggingConfig": { "LogFormat": "Text", "LogGroup": format!("/aws/lambda/{name}") },
        });
        configure(&mut config, body)?;
        let is_image = config["PackageType"] == "Image";
        if is_image != (config["Runtime"].is_null() && config["Handler"].is_null()) {
            return Err(invalid(
                "Runtime and Handler are mandatory parameters for functions created with packageType Zip.",
            ));
        }
        deploy(&mut config, &body["Code"], &body["Architectures"])?;
        self.keep_archive(&body["Code"]);
        // Lambda omits it until it was set once.
        if config["Environment"]["Variables"].as_object().is_some_and(serde_json::Map::is_empty) {
            config.as_object_mut().unwrap().remove("Environment");
        }
        let function = Function {
            config: config.clone(),
            tags: serde_json::from_value(body["Tags"].clone()).unwrap_or_default(),
            concurrency: None,
            async_config: None,
            url: None,
            signing: body["CodeSigningConfigArn"].as_str().map(str::to_owned),
            pending: Some(Passing::through(&["Pending"])),
            updating: None,
            fallback: None,
            revision: 1,
            policy: Vec::new(),
        };
        self.functions.insert(name.to_owned(), function);
        config["State"] = json!("Pending");
        config["StateReasonCode"] = json!("Creating");
        config["RevisionId"] = json!("1");
        Ok(Reply::json(201, &config))
    }

    fn assumable(&mut self, role: &Json) -> Result<(), Reply> {
        let arn = role.as_str().unwrap_or_default();
        let role = self.roles.iter_mut().find(|(name, role)| role.arn(name) == arn);
        if role.is_some_and(|(_, role)| role.is_assumable()) { Ok(()) } else { Err(not_assumable()) }
    }

    fn update_configuration(&mut self, name: &str, body: &Json) -> Result<Reply, Reply> {
        if !body["Role"].is_null() {
            self.assumable(&body["Role"])?;
        }
        let max = self.max_unpacked;
        let function = self.function(name)?;
        function.quiet()?;
        function.locked(body)?;
        if !body["Architectures"].is_null() {
            return Err(invalid("Unknown field: Architectures"));
        }
        if function.config["PackageType"] != "Zip" && !(body["Runtime"].is_null() && body["Handler"].is_null()) {
            return Err(invalid("Runtime and Handler are not supported for functions created with container images."));
        }
        function.change_within(max, |config| configure(config, body))?;
        Ok(function.begin_update())
    }

    fn update_code(&mut self, name: &str, body: &Json) -> Result<Reply, Reply> {
        let max = self.max_unpacked;
        let function = self.function(name)?;
        function.quiet()?;
        function.locked(body)?;
        function.change_within(max, |config| deploy(config, body, &body["Architectures"]))?;
        let answer = function.begin_update();
        self.keep_archive(body);
        Ok(answer)
    }

    fn put_concurrency(&mut self, name: &str, body: &Json) -> Result<Reply, Reply> {
        let function = self.function(name)?;
        function.not_updating()?;
        let reserved = body["ReservedConcurrentExecutions"].as_u64().ok_or_else(|| invalid("must be at least 0"))?;
        // Of the account's 1000, 100 must stay unreserved.
        if reserved > 900 {
            return Err(invalid(
                "Specified ReservedConcurrentExecutions for function decreases account's \
                 UnreservedConcurrentExecution below its minimum value of [100].",
            ));
        }
        function.concurrency = Some(reserved);
        function.revision += 1;
        Ok(Reply::json(200, &json!({ "ReservedConcurrentExecutions": reserved })))
    }

    fn delete_concurrency(&mut self, name: &str) -> Result<Reply, Reply> {
        let function = self.function(name)?;
        function.not_updating()?;
        function.concurrency = None;
        function.revision += 1;
        Ok(Reply::empty())
    }

    fn delete_function(&mut self, name: &str) -> Result<Reply, Reply> {
        self.function(name)?.not_pending()?;
        // Its mappings continue to exist.
        self.functions.remove(name);
        Ok(Reply::empty())
    }

    // Permissions.

    /// The ARN that the statements of a policy are about: each alias has a policy of its own.
    fn policy_about(&self, name: &str, query: &BTreeMap<String, String>) -> Result<String, Reply> {
        let arn = function_arn(name);
        let Some(qualifier) = query.get("Qualifier") else { return Ok(arn) };
        if !self.aliases.contains(&qualifier.as_str()) {
            let text = format!("Cannot find alias arn: {arn}:{qualifier}");
            return Err(Reply::lambda(404, "ResourceNotFoundException", &text));
        }
        Ok(format!("{arn}:{qualifier}"))
    }

    fn get_policy(&mut self, name: &str, query: &BTreeMap<String, String>) -> Result<Reply, Reply> {
        let nothing = Reply::lambda(404, "ResourceNotFoundException", "The resource you requested does not exist.");
        let about = self.policy_about(name, query)?;
        let statements = self.functions.get(name).into_iter().flat_map(|it| &it.policy);
        let statements: Vec<&Json> = statements.filter(|it| it["Resource"] == about.as_str()).collect();
        if statements.is_empty() {
            return Err(nothing);
        }
        let policy = json!({ "Version": "2012-10-17", "Id": "default", "Statement": statements });
        Ok(Reply::json(200, &json!({ "Policy": policy.to_string(), "RevisionId": "p" })))
    }

    fn list_aliases(&mut self, name: &str) -> Result<Reply, Reply> {
        self.function(name)?;
        let arn = function_arn(name);
        let aliases = self.aliases.iter();
        let aliases = aliases.map(|alias| json!({ "AliasArn": format!("{arn}:{alias}"), "Name": alias }));
        Ok(Reply::json(200, &json!({ "Aliases": aliases.collect::<Vec<_>>() })))
    }

    fn add_permission(&mut self, name: &str, body: &Json, query: &BTreeMap<String, String>) -> Result<Reply, Reply> {
        self.function(name)?;
        let about = self.policy_about(name, query)?;
        let lenient = self.lenient;
        let function = self.function(name)?;
        if !lenient {
            function.not_updating()?;
        }
        let id = body["StatementId"].as_str().unwrap();
        if function.policy.iter().any(|it| it["Sid"] == id && it["Resource"] == about.as_str()) {
            let text = format!(
                "The statement id ({id}) provided already exists. Please provide a new statement id, or remove the existing statement."
            );
            return Err(Reply::lambda(409, "ResourceConflictException", &text));
        }
        known(
            body,
            &[
                "StatementId",
                "Action",
                "Principal",
                "SourceArn",
                "SourceAccount",
                "PrincipalOrgID",
                "FunctionUrlAuthType",
                "InvokedViaFunctionUrl",
            ],
        )?;
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
            "Resource": about,
        });
        if body["SourceArn"].is_string() {
            statement["Condition"]["ArnLike"]["AWS:SourceArn"] = body["SourceArn"].clone();
        }
        if let Some(account) = body["SourceAccount"].as_str() {
            if account.len() != 12 {
                return Err(invalid("failed to satisfy constraint: Member must satisfy regular expression \\d{12}"));
            }
            statement["Condition"]["StringEquals"]["AWS:SourceAccount"] = json!(account);
        }
        if body["PrincipalOrgID"].is_string() {
            statement["Condition"]["StringEquals"]["aws:PrincipalOrgID"] = body["PrincipalOrgID"].clone();
        }
        if body["FunctionUrlAuthType"].is_string() {
            if body["Action"] != "lambda:InvokeFunctionUrl" {
                return Err(invalid("FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action"));
            }
            statement["Condition"]["StringEquals"]["lambda:FunctionUrlAuthType"] = body["FunctionUrlAuthType"].clone();
        }
        if let Some(is_via_url) = body["InvokedViaFunctionUrl"].as_bool() {
            statement["Condition"]["Bool"]["lambda:InvokedViaFunctionUrl"] = json!(is_via_url.to_string());
        }
        function.policy.push(statement.clone());
        Ok(Reply::json(201, &json!({ "Statement": statement.to_string() })))
    }

    fn remove_permission(&mut self, name: &str, query: &BTreeMap<String, String>) -> Result<Reply, Reply> {
        let nothing =
            Reply::lambda(404, "ResourceNotFoundException", "No policy is associated with the given resource.");
        let about = self.policy_about(name, query)?;
        let lenient = self.lenient;
        let function = self.functions.get_mut(name).filter(|it| !it.policy.is_empty()).ok_or(nothing)?;
        if !lenient {
            function.not_updating()?;
        }
        let id = &query["StatementId"];
        let before = function.policy.len();
        function.policy.retain(|it| it["Sid"] != id.as_str() || it["Resource"] != about.as_str());
        if function.policy.len() == before {
            let text = format!("Statement {id} is not found in resource policy.");
            return Err(Reply::lambda(404, "ResourceNotFoundException", &text));
        }
        Ok(Reply::empty())
    }

    // Mappings.

    fn list_mappings(&mut self, query: &BTreeMap<String, String>) -> Result<Reply, Reply> {
        let function = query.get("FunctionName").map(|name| last(name));
        if let Some(name) = function.as_ref().filter(|name| !self.functions.contains_key(*name)) {
            match self.orphans {
                Orphans::Listed => {}
                Orphans::Hidden => return Ok(Reply::json(200, &json!({ "EventSourceMappings": [] }))),
                Orphans::NotFound => {
                    let text = format!("Function not found: {}", function_arn(name));
                    return Err(Reply::lambda(404, "ResourceNotFoundException", &text));
                }
                Orphans::Invalid => return Err(invalid("Function does not exist")),
            }
        }
        let all: Vec<String> = self
            .mappings
            .iter()
            .filter(|mapping| function.as_ref().is_none_or(|name| *name == mapping.function))
            .map(|mapping| mapping.uuid.clone())
            .collect();
        let mut shown: Vec<Json> = all.iter().filter_map(|uuid| self.read_mapping(uuid)).collect();
        // Lists omit encrypted filters.
        for mapping in shown.iter_mut().filter(|it| it["KMSKeyArn"].is_string()) {
            mapping.as_object_mut().unwrap().remove("FilterCriteria");
        }
        let (items, next) = self.page(shown, query);
        Ok(Reply::json(200, &json!({ "EventSourceMappings": items, "NextMarker": next })))
    }

    fn read_mapping(&mut self, uuid: &str) -> Option<Json> {
        let index = self.mappings.iter().position(|mapping| mapping.uuid == uuid)?;
        let mapping = &mut self.mappings[index];
        let mut state = if mapping.enabled { "Enabled" } else { "Disabled" };
        if let Some(passing) = &mut mapping.passing {
            match passing.next_state() {
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
        let shown = self.read_mapping(uuid).ok_or_else(no_mapping)?;
        Ok(Reply::json(200, &shown))
    }

    fn create_mapping(&mut self, function: &str, body: &Json) -> Result<Reply, Reply> {
        let function = last(function);
        if !self.functions.contains_key(&function) {
            return Err(invalid("Function does not exist"));
        }
        let stream = body["EventSourceArn"].as_str().unwrap();
        self.check_source(&function, stream)?;
        let role = self.functions[&function].config["Role"].clone();
        let role = self.roles.iter().find(|(name, it)| role == it.arn(name)).map(|(_, role)| role);
        let (action, refusal) = match stream.split(':').nth(2) {
            Some("sqs") => (
                "sqs:ReceiveMessage",
                invalid("The function execution role does not have permissions to call ReceiveMessage on SQS"),
            ),
            Some("kinesis") => ("kinesis:GetRecords", stream_not_readable()),
            _ => ("dynamodb:GetRecords", stream_not_readable()),
        };
        if role.is_some_and(|role| !role.allows(action)) {
            return Err(refusal);
        }
        if let Some(old) =
            self.mappings.iter().find(|it| it.function == function && it.shown["EventSourceArn"] == stream)
        {
            let text = if is_queue(stream) {
                format!(
                    "An event source mapping with SQS arn (\" {stream} \") and function (\" {function} \") already exists."
                )
            } else {
                format!(
                    "The event source arn (\" {stream} \") and function (\" {function} \") provided mapping already exists."
                )
            };
            let text = format!("{text} Please update or delete the existing mapping with UUID {}", old.uuid);
            return Err(Reply::lambda(409, "ResourceConflictException", &text));
        }
        let is_at_timestamp = body["StartingPosition"] == "AT_TIMESTAMP";
        let is_supported = match stream.split(':').nth(2) {
            Some("sqs") => body["StartingPosition"].is_null(),
            Some("kinesis") => body["StartingPosition"].is_string(),
            _ => ["TRIM_HORIZON", "LATEST"].iter().any(|position| body["StartingPosition"] == *position),
        };
        if !is_supported || is_at_timestamp != body["StartingPositionTimestamp"].is_number() {
            return Err(invalid("Unsupported starting position for arn type"));
        }
        let uuid = format!("00000000-0000-4000-8000-{:012}", self.id());
        let enabled = body["Enabled"].as_bool().unwrap_or(true);
        let mut shown = usual_mapping(&uuid, &function_arn(&function), stream);
        if !is_queue(stream) {
            shown["StartingPosition"] = body["StartingPosition"].clone();
        }
        if body["StartingPositionTimestamp"].is_number() {
            shown["StartingPositionTimestamp"] = body["StartingPositionTimestamp"].clone();
        }
        configure_mapping(&mut shown, body)?;
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

    /// Whether a mapping can read this source with this function.
    fn check_source(&self, function: &str, source: &str) -> Result<(), Reply> {
        if is_queue(source) {
            let Some(visible) = self.visibility_timeout(source) else {
                return Err(invalid(
                    "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. SQS \
                     Error Message: The specified queue does not exist.",
                ));
            };
            let timeout = self.functions[function].config["Timeout"].as_i64().unwrap_or(3);
            if visible < timeout {
                let text = format!(
                    "Queue visibility timeout: {visible} seconds is less than Function timeout: {timeout} seconds"
                );
                return Err(invalid(&text));
            }
            return Ok(());
        }
        // Whether AWS accepts a mapping on a table that isn't ACTIVE is unknown, so the model
        // refuses it.
        let live = self.tables.values().any(|table| {
            (table.passing.is_none() || self.lenient)
                && table.shown["StreamSpecification"].is_object()
                && table.shown["LatestStreamArn"] == source
        });
        let is_live = live || source.split(':').nth(2) == Some("kinesis") && source.ends_with(":stream/orders");
        if is_live { Ok(()) } else { Err(invalid(&format!("Stream not found: {source}"))) }
    }

    fn quiet_mapping(&mut self, uuid: &str, verb: &str) -> Result<&mut Mapping, Reply> {
        let mapping = self.mappings.iter_mut().find(|mapping| mapping.uuid == uuid).ok_or_else(no_mapping)?;
        let leaving = mapping.leaving;
        if leaving || mapping.passing.as_mut().and_then(Passing::next_state).is_some() {
            let text = format!("Cannot {verb} the event source mapping because it is in use.");
            return Err(Reply::lambda(400, "ResourceInUseException", &text));
        }
        mapping.passing = None;
        Ok(mapping)
    }

    fn update_mapping(&mut self, uuid: &str, body: &Json) -> Result<Reply, Reply> {
        let mapping = self.quiet_mapping(uuid, "update")?;
        if !body["EventSourceArn"].is_null() || !body["StartingPosition"].is_null() {
            return Err(invalid("EventSourceArn and StartingPosition can't be updated"));
        }
        configure_mapping(&mut mapping.shown, body)?;
        if let Some(function) = body["FunctionName"].as_str() {
            mapping.function = last(function);
            mapping.shown["FunctionArn"] = json!(function_arn(function));
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
        let lenient = self.lenient;
        let function = self.function(name)?;
        if !lenient {
            function.not_updating()?;
        }
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

    fn untag(&mut self, name: &str, query: &BTreeMap<String, String>) -> Result<Reply, Reply> {
        let keys: Vec<&str> = query["tagKeys"].lines().collect();
        self.tagged(name)?.retain(|key, _| !keys.contains(&key.as_str()));
        Ok(Reply::empty())
    }
}

impl Function {
    /// Everything that only a write changes, except its policy.
    pub(in crate::scripted) fn bits(&self) -> String {
        let beside = (&self.async_config, &self.url, &self.signing);
        format!("{} {:?} {:?} {beside:?}", self.config, self.tags, self.concurrency)
    }

    fn not_pending(&mut self) -> Result<(), Reply> {
        if self.pending.as_mut().and_then(Passing::next_state).is_none() {
            self.revision += u32::from(self.pending.take().is_some());
            return Ok(());
        }
        let text =
            "The operation cannot be performed at this time. The function is currently in the following state: Pending";
        Err(Reply::lambda(409, "ResourceConflictException", text))
    }

    fn not_updating(&mut self) -> Result<(), Reply> {
        if self.updating.as_mut().and_then(Passing::next_state).is_none() {
            if self.updating.is_some() {
                self.end_update();
            }
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

    /// Changes it, unless code and layers together would then exceed `max` bytes.
    fn change_within(
        &mut self,
        max: Option<u64>,
        change: impl FnOnce(&mut Json) -> Result<(), Reply>,
    ) -> Result<(), Reply> {
        let mut config = self.config.clone();
        change(&mut config)?;
        let layers = config["Layers"].as_array().into_iter().flatten().map(|layer| &layer["CodeSize"]);
        let bytes: u64 = layers.chain([&config["CodeSize"]]).filter_map(Json::as_u64).sum();
        if let Some(max) = max.filter(|max| bytes > *max) {
            return Err(invalid(&format!(
                "Function code combined with layers exceeds the maximum allowed size of {max} bytes. The actual size is \
                 {bytes} bytes."
            )));
        }
        self.config = config;
        Ok(())
    }

    /// A failed update is reverted, and reported until the next one.
    fn end_update(&mut self) {
        self.updating = None;
        self.revision += 1;
        if let Some(fallback) = self.fallback.take() {
            self.config = fallback;
            self.config["LastUpdateStatus"] = json!("Failed");
            self.config["LastUpdateStatusReason"] = json!("the layer is gone");
        }
    }

    fn begin_update(&mut self) -> Reply {
        self.revision += 1;
        for field in ["LastUpdateStatus", "LastUpdateStatusReason"] {
            self.config.as_object_mut().unwrap().remove(field);
        }
        self.updating = Some(Passing::through(&["InProgress"]));
        let mut config = self.config.clone();
        config["State"] = json!("Active");
        config["LastUpdateStatus"] = json!("InProgress");
        config["RevisionId"] = json!(self.revision.to_string());
        Reply::json(200, &config)
    }

    /// Another writer's change, which also changes the revision ID.
    pub(in crate::scripted) fn change_outside(&mut self, field: &str, value: Json) {
        self.config[field] = value;
        self.revision += 1;
    }

    /// Another writer's change that is still in progress and may fail.
    pub(in crate::scripted) fn begin_change_outside(&mut self, field: &str, value: Json, fails: bool) {
        self.fallback = fails.then(|| self.config.clone());
        self.change_outside(field, value);
        self.updating = Some(Passing::through(&["InProgress"]));
    }

    /// As if it had just been created.
    pub(in crate::scripted) fn make_pending(&mut self) {
        self.pending = Some(Passing::through(&["Pending"]));
    }
}

impl Mapping {
    /// A mapping that has existed for a long time; `function` may have a qualifier, and neither end
    /// has to exist.
    pub(super) fn old(uuid: &str, function: &str, stream: &str, tags: Tags) -> Mapping {
        let (name, qualifier) = function
            .split_once(':')
            .map_or((function, String::new()), |(name, qualifier)| (name, format!(":{qualifier}")));
        Mapping {
            uuid: uuid.to_owned(),
            function: name.to_owned(),
            shown: usual_mapping(uuid, &format!("{}{qualifier}", function_arn(name)), stream),
            enabled: true,
            passing: None,
            leaving: false,
            tags,
        }
    }

    /// Everything that only a write changes.
    pub(in crate::scripted) fn bits(&self) -> String {
        format!("{} {} {} {} {:?} {}", self.uuid, self.function, self.shown, self.enabled, self.tags, self.leaving)
    }

    pub(in crate::scripted) fn is_enabled(&self) -> bool {
        self.enabled && self.passing.is_none()
    }

    pub(in crate::scripted) fn is_leaving(&self) -> bool {
        self.leaving
    }

    /// As if a transition had just begun, after which it is enabled or not; `Deleting` ends in its
    /// deletion.
    pub(in crate::scripted) fn pass_through(&mut self, words: &[&'static str], enabled: bool) {
        self.enabled = enabled;
        self.leaving = words == ["Deleting"];
        self.passing = (!words.is_empty()).then(|| Passing::through(words));
    }
}

/// Applies a request to a function's configuration; omitted fields keep their values.
fn configure(config: &mut Json, body: &Json) -> Result<(), Reply> {
    known(
        body,
        &[
            "FunctionName",
            "Runtime",
            "Handler",
            "Role",
            "Description",
            "Timeout",
            "MemorySize",
            "Environment",
            "Layers",
            "EphemeralStorage",
            "TracingConfig",
            "LoggingConfig",
            "DeadLetterConfig",
            "VpcConfig",
            "KMSKeyArn",
            "ImageConfig",
            "RevisionId",
            // Only a create has these.
            "Code",
            "CodeSigningConfigArn",
            "PackageType",
            "Architectures",
            "Tags",
        ],
    )?;
    within(&body["Timeout"], 1..=900)?;
    within(&body["MemorySize"], 128..=10240)?;
    within(&body["EphemeralStorage"]["Size"], 512..=10240)?;
    for field in ["Runtime", "Handler", "Role", "Description", "Timeout", "MemorySize"] {
        if !body[field].is_null() {
            config[field] = body[field].clone();
        }
    }
    if body["Description"].as_str().is_some_and(|text| text.chars().count() > 256) {
        return Err(invalid("Member must have length less than or equal to 256"));
    }
    // Without `Variables`, it changes nothing.
    if body["Environment"]["Variables"].is_object() {
        config["Environment"] = json!({ "Variables": body["Environment"]["Variables"] });
    }
    if !body["EphemeralStorage"]["Size"].is_null() {
        config["EphemeralStorage"] = body["EphemeralStorage"].clone();
    }
    match body["TracingConfig"]["Mode"].as_str() {
        None => {}
        Some("Active" | "PassThrough") => config["TracingConfig"] = body["TracingConfig"].clone(),
        Some(_) => return Err(invalid("Member must satisfy enum value set: [Active, PassThrough]")),
    }
    if let Some(layers) = body["Layers"].as_array() {
        if layers.len() > 5 {
            return Err(invalid("cannot reference more than 5 layers"));
        }
        // An empty list removes the field.
        config.as_object_mut().unwrap().remove("Layers");
        if !layers.is_empty() {
            let shown: Vec<Json> = layers.iter().map(|arn| json!({ "Arn": arn, "CodeSize": 4711 })).collect();
            config["Layers"] = json!(shown);
        }
    }
    match body["DeadLetterConfig"]["TargetArn"].as_str() {
        None => {}
        Some("") => drop(config.as_object_mut().unwrap().remove("DeadLetterConfig")),
        Some(arn) if arn.starts_with("arn:aws:sqs:") || arn.starts_with("arn:aws:sns:") => {
            config["DeadLetterConfig"] = json!({ "TargetArn": arn });
        }
        Some(_) => return Err(invalid("The provided dead letter target is not supported")),
    }
    set_key(config, &body["KMSKeyArn"])?;
    configure_image(config, &body["ImageConfig"])?;
    connect(config, &body["VpcConfig"])?;
    let logging = &body["LoggingConfig"];
    if logging.is_object() {
        let was = config["LoggingConfig"].clone();
        let or_was = |field: &str| if logging[field].is_null() { was[field].clone() } else { logging[field].clone() };
        let mut now = json!({ "LogFormat": or_was("LogFormat"), "LogGroup": or_was("LogGroup") });
        for (field, words) in [
            ("ApplicationLogLevel", &["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"][..]),
            ("SystemLogLevel", &["DEBUG", "INFO", "WARN"]),
        ] {
            let json_format = now["LogFormat"] == "JSON";
            if !logging[field].is_null() && (!json_format || !words.iter().any(|word| logging[field] == *word)) {
                return Err(invalid("Log level filtering requires the JSON log format and a level that exists"));
            }
            if json_format {
                now[field] = or_was(field);
                if now[field].is_null() {
                    now[field] = json!("INFO");
                }
            }
        }
        config["LoggingConfig"] = now;
    }
    Ok(())
}

/// Sets the key; an empty ARN removes it.
fn set_key(shown: &mut Json, arn: &Json) -> Result<(), Reply> {
    match arn.as_str() {
        None => {}
        Some("") => drop(shown.as_object_mut().unwrap().remove("KMSKeyArn")),
        Some(arn) if arn.starts_with("arn:aws:kms:") => shown["KMSKeyArn"] = json!(arn),
        Some(_) => {
            return Err(invalid(
                "Member must satisfy regular expression pattern: (arn:(aws[a-zA-Z-]*)?:[a-z0-9-.]+:.*)|()",
            ));
        }
    }
    Ok(())
}

/// Connects a function to a VPC. Lambda shows the lists in an order of its own, and keeps empty ones
/// for a function that left its VPC.
fn connect(config: &mut Json, vpc: &Json) -> Result<(), Reply> {
    if !vpc.is_object() {
        return Ok(());
    }
    known(vpc, &["SubnetIds", "SecurityGroupIds", "Ipv6AllowedForDualStack"])?;
    let ids = |field: &str| vpc[field].as_array().cloned().unwrap_or_default();
    let (mut subnets, mut groups) = (ids("SubnetIds"), ids("SecurityGroupIds"));
    if subnets.is_empty() != groups.is_empty() {
        return Err(invalid("SubnetIds and SecurityIds must coexist or be both empty list."));
    }
    if subnets.len() > 16 || groups.len() > 5 {
        return Err(invalid("Member must have length less than or equal to 16 and 5"));
    }
    if let Some(missing) = subnets.iter().find(|id| id.as_str().is_some_and(|id| id.ends_with("missing"))) {
        let missing = missing.as_str().unwrap();
        return Err(invalid(&format!(
            "Error occurred while DescribeSubnets. EC2 Error Code: InvalidSubnetID.NotFound. EC2 Error Message: The \
             subnet ID '{missing}' does not exist"
        )));
    }
    subnets.reverse();
    groups.reverse();
    let id = if subnets.is_empty() { "" } else { "vpc-1" };
    let ipv6 = vpc["Ipv6AllowedForDualStack"].as_bool().unwrap_or_default();
    config["VpcConfig"] = json!({
        "SubnetIds": subnets, "SecurityGroupIds": groups, "VpcId": id, "Ipv6AllowedForDualStack": ipv6,
    });
    Ok(())
}

/// A mapping as reads show it if only its two ends are set.
fn usual_mapping(uuid: &str, function_arn: &str, source: &str) -> Json {
    let mut usual = json!({
        "UUID": uuid,
        "EventSourceArn": source,
        "EventSourceMappingArn": format!("arn:aws:lambda:{REGION}:{ACCOUNT}:event-source-mapping:{uuid}"),
        "FunctionArn": function_arn,
        "BatchSize": 10,
        "MaximumBatchingWindowInSeconds": 0,
        "FunctionResponseTypes": [],
        "LastModified": 1_700_000_000.0,
        "StateTransitionReason": "USER_INITIATED",
        "State": "Creating",
    });
    if !is_queue(source) {
        let of_streams = json!({
            "StartingPosition": "TRIM_HORIZON",
            "BatchSize": 100,
            "ParallelizationFactor": 1,
            "DestinationConfig": { "OnFailure": {} },
            "MaximumRecordAgeInSeconds": -1,
            "MaximumRetryAttempts": -1,
            "BisectBatchOnFunctionError": false,
            "TumblingWindowInSeconds": 0,
            "LastProcessingResult": "No records processed",
            "StateTransitionReason": "User action",
        });
        usual.as_object_mut().unwrap().extend(of_streams.as_object().unwrap().clone());
    }
    usual
}

fn is_queue(source: &str) -> bool {
    source.split(':').nth(2) == Some("sqs")
}

/// Refuses fields of another source.
fn of_its_source(shown: &Json, body: &Json) -> Result<(), Reply> {
    let of_streams = [
        "StartingPosition",
        "MaximumRetryAttempts",
        "MaximumRecordAgeInSeconds",
        "BisectBatchOnFunctionError",
        "ParallelizationFactor",
        "TumblingWindowInSeconds",
        "DestinationConfig",
    ];
    let is_of_queue = is_queue(shown["EventSourceArn"].as_str().unwrap());
    let of_others = if is_of_queue { &of_streams[..] } else { &["ScalingConfig"] };
    match of_others.iter().find(|field| !body[**field].is_null()) {
        Some(field) => Err(invalid(&format!("{field} is not allowed for this event source"))),
        None => Ok(()),
    }
}

/// Applies a request to a mapping; omitted fields keep their values.
fn configure_mapping(shown: &mut Json, body: &Json) -> Result<(), Reply> {
    of_its_source(shown, body)?;
    if body["ScalingConfig"].is_object() {
        within(&body["ScalingConfig"]["MaximumConcurrency"], 2..=1000)?;
        shown.as_object_mut().unwrap().remove("ScalingConfig");
        if !body["ScalingConfig"]["MaximumConcurrency"].is_null() {
            shown["ScalingConfig"] = body["ScalingConfig"].clone();
        }
    }
    let numbers = [
        ("BatchSize", 1..=10_000),
        ("MaximumBatchingWindowInSeconds", 0..=300),
        ("MaximumRetryAttempts", -1..=10_000),
        ("MaximumRecordAgeInSeconds", -1..=604_800),
        ("ParallelizationFactor", 1..=10),
        ("TumblingWindowInSeconds", 0..=900),
    ];
    for (field, range) in numbers {
        within(&body[field], range)?;
        if !body[field].is_null() {
            shown[field] = body[field].clone();
        }
    }
    let is_of_queue = is_queue(shown["EventSourceArn"].as_str().unwrap());
    if is_of_queue && shown["BatchSize"].as_i64() > Some(10) && shown["MaximumBatchingWindowInSeconds"] == 0 {
        let text = "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10";
        return Err(invalid(text));
    }
    if shown["MaximumRecordAgeInSeconds"].as_i64().is_some_and(|age| (0..60).contains(&age)) {
        return Err(invalid("The minimum valid value for maximum record age is 60s"));
    }
    if !body["BisectBatchOnFunctionError"].is_null() {
        shown["BisectBatchOnFunctionError"] = body["BisectBatchOnFunctionError"].clone();
    }
    if let Some(types) = body["FunctionResponseTypes"].as_array() {
        if types.iter().any(|word| word != "ReportBatchItemFailures") {
            return Err(invalid("Member must satisfy enum value set: [ReportBatchItemFailures]"));
        }
        shown["FunctionResponseTypes"] = json!(types);
    }
    if body["DestinationConfig"].is_object() {
        let target = &body["DestinationConfig"]["OnFailure"]["Destination"];
        shown["DestinationConfig"] = json!({ "OnFailure": {} });
        if target.is_string() {
            shown["DestinationConfig"]["OnFailure"]["Destination"] = target.clone();
        }
    }
    set_key(shown, &body["KMSKeyArn"])?;
    if body["FilterCriteria"].is_object() {
        let filters = body["FilterCriteria"]["Filters"].as_array().cloned().unwrap_or_default();
        for filter in &filters {
            let pattern: Option<Json> = filter["Pattern"].as_str().and_then(|text| serde_json::from_str(text).ok());
            if !pattern.is_some_and(|pattern| pattern.is_object()) {
                return Err(invalid("Invalid filter pattern definition."));
            }
        }
        shown.as_object_mut().unwrap().remove("FilterCriteria");
        if !filters.is_empty() {
            shown["FilterCriteria"] = json!({ "Filters": filters });
        }
    }
    Ok(())
}

pub(super) fn invalid(text: &str) -> Reply {
    Reply::lambda(400, "InvalidParameterValueException", text)
}

/// Refuses fields that the model doesn't know, because they would silently have no effect.
pub(super) fn known(body: &Json, fields: &[&str]) -> Result<(), Reply> {
    match body.as_object().into_iter().flatten().find(|(field, _)| !fields.contains(&field.as_str())) {
        Some((field, _)) => Err(invalid(&format!("Unknown field: {field}"))),
        None => Ok(()),
    }
}

pub(super) fn within(value: &Json, range: std::ops::RangeInclusive<i64>) -> Result<(), Reply> {
    match value.as_i64() {
        Some(number) if !range.contains(&number) => {
            Err(invalid(&format!("Value {number} failed to satisfy constraint: {range:?}")))
        }
        _ => Ok(()),
    }
}

/// Lambda's error for a role that it can't assume or doesn't know yet.
pub(in crate::scripted) fn not_assumable() -> Reply {
    invalid("The role defined for the function cannot be assumed by Lambda.")
}

/// Lambda's error for a role that can't read a stream, or whose permissions haven't propagated yet.
pub(in crate::scripted) fn stream_not_readable() -> Reply {
    invalid(
        "Cannot access stream X. Please ensure the role can perform the GetRecords, GetShardIterator, \
         DescribeStream, and ListStreams Actions on your stream in IAM.",
    )
}

fn no_mapping() -> Reply {
    Reply::lambda(404, "ResourceNotFoundException", "The resource you requested does not exist.")
}

pub(in crate::scripted) fn function_arn(name: &str) -> String {
    format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{}", last(name))
}
