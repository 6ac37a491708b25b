//! One AWS account as a model: its states pass slowly, its answers have AWS's own shapes, and what AWS refuses on some
//! days it refuses always.
//!
//! Texts and shapes are AWS's, as recorded from the real services. Every waiting state is shown [`READS`] times before
//! it passes, so nothing is ever ready at the first look.

mod lambda;

use std::collections::BTreeMap;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::http::request::Parts;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Value as Json, json};

pub(super) use lambda::{Function, Mapping, function_arn, not_assumable, stream_not_readable};

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
            "DescribeTable" | "ListTagsOfResource" | "Scan" | "CreateTable" | "UpdateTable" | "DeleteTable" => {
                Reply { status, ..Reply::dynamodb(code, message) }
            }
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
            let operation = match target.to_str().unwrap().strip_prefix("DynamoDB_20120810.") {
                Some("DescribeTable") => "DescribeTable",
                Some("ListTagsOfResource") => "ListTagsOfResource",
                Some("Scan") => "Scan",
                Some("CreateTable") => "CreateTable",
                Some("UpdateTable") => "UpdateTable",
                Some("DeleteTable") => "DeleteTable",
                Some("TagResource") => "TagTable",
                _ => "?",
            };
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
        // What comes more than once is a list.
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
    /// Looks at a fresh table's tags that find nothing, also once it is ACTIVE.
    pub(super) tag_lag: u32,
    /// Lists come in pages of one, the first of them empty.
    pub(super) small_pages: bool,
    pub(super) ids: u32,
}

#[derive(Debug, Clone)]
pub(super) struct Table {
    id: String,
    /// What a read shows.
    pub(super) shown: Json,
    /// What it shows once the change that is under way is done.
    next: Option<Json>,
    /// Reads that don't know yet of the change.
    stale: u32,
    passing: Option<Passing>,
    pub(super) tags: Tags,
    pub(super) items: u32,
    created: f64,
    tag_lag: u32,
    gone: bool,
}

impl World {
    /// With nothing but the role.
    pub(super) fn empty() -> World {
        World { roles: vec![ROLE.to_owned()], ..World::default() }
    }

    /// As if all of it had been made long ago.
    pub(super) fn aged(mut self) -> World {
        for table in self.tables.values_mut() {
            table.created = 1_700_000_000.0;
        }
        self
    }

    fn id(&mut self) -> u32 {
        self.ids += 1;
        self.ids
    }

    pub(super) fn execute(&mut self, call: &Call) -> Reply {
        let done = match call.operation {
            "DescribeTable" => self.describe_table(&call.about),
            "ListTagsOfResource" => self.table_tags(&call.about),
            "Scan" => self.scan(&call.about),
            "CreateTable" => self.create_table(&call.about, &call.body),
            "UpdateTable" => self.update_table(&call.about, &call.body),
            "DeleteTable" => self.delete_table(&call.about),
            "TagTable" => self.tag_table(&call.about, &call.body),
            "GetRole" => self.get_role(&call.about),
            "GetCallerIdentity" => Ok(identity()),
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

    // Tables.

    fn table(&mut self, name: &str) -> Result<&mut Table, Reply> {
        let missing = format!("Requested resource not found: Table: {name} not found");
        self.tables.get_mut(name).ok_or_else(|| Reply::dynamodb("ResourceNotFoundException", &missing))
    }

    fn describe_table(&mut self, name: &str) -> Result<Reply, Reply> {
        let table = self.table(name)?;
        let mut status = "ACTIVE";
        if table.stale > 0 {
            table.stale -= 1;
        } else if let Some(word) = table.look() {
            status = word;
        }
        if table.gone {
            self.tables.remove(name);
        }
        let table = self.table(name)?;
        Ok(Reply::json(200, &json!({ "Table": table.describe(name, status) })))
    }

    fn table_tags(&mut self, name: &str) -> Result<Reply, Reply> {
        let missing = format!("Requested resource not found: ResourcArn: {} not found", table_arn(name));
        let missing = Reply::dynamodb("ResourceNotFoundException", &missing);
        let table = self.tables.get_mut(name).ok_or_else(|| missing.clone())?;
        match &table.passing {
            Some(passing) if passing.words != ["UPDATING"] => Err(missing),
            _ if table.tag_lag > 0 => {
                table.tag_lag -= 1;
                Ok(Reply::json(200, &json!({ "Tags": [] })))
            }
            _ => {
                let tags: Vec<Json> = table.tags.iter().map(|(k, v)| json!({ "Key": k, "Value": v })).collect();
                Ok(Reply::json(200, &json!({ "Tags": tags })))
            }
        }
    }

    fn scan(&mut self, name: &str) -> Result<Reply, Reply> {
        let table = self.table(name)?;
        let count = table.items.min(1);
        Ok(Reply::json(200, &json!({ "Count": count, "ScannedCount": count })))
    }

    fn create_table(&mut self, name: &str, body: &Json) -> Result<Reply, Reply> {
        if self.tables.contains_key(name) {
            return Err(Reply::dynamodb("ResourceInUseException", &format!("Table already exists: {name}")));
        }
        let on_demand = body["BillingMode"] == "PAY_PER_REQUEST";
        if on_demand == body["ProvisionedThroughput"].is_object() {
            let text = "One or more parameter values were invalid: ReadCapacityUnits and WriteCapacityUnits";
            return Err(Reply::dynamodb("ValidationException", text));
        }
        let mut shown = json!({
            "AttributeDefinitions": body["AttributeDefinitions"],
            "KeySchema": body["KeySchema"],
            "ProvisionedThroughput": throughput(if on_demand { &Json::Null } else { &body["ProvisionedThroughput"] }),
            "DeletionProtectionEnabled": false,
        });
        if on_demand {
            shown["BillingModeSummary"] = json!({ "BillingMode": "PAY_PER_REQUEST" });
        }
        let id = self.id();
        if body["StreamSpecification"]["StreamEnabled"] == true {
            enable_stream(&mut shown, name, &body["StreamSpecification"], id);
        }
        let table = Table {
            id: format!("table-{id}"),
            shown,
            next: None,
            stale: 0,
            passing: Some(Passing::through(&["CREATING"])),
            tags: tag_list(&body["Tags"]),
            items: 0,
            created: now(),
            tag_lag: self.tag_lag,
            gone: false,
        };
        let answer = json!({ "TableDescription": table.describe(name, "CREATING") });
        self.tables.insert(name.to_owned(), table);
        Ok(Reply::json(200, &answer))
    }

    fn update_table(&mut self, name: &str, body: &Json) -> Result<Reply, Reply> {
        let id = self.id();
        let table = self.table(name)?;
        table.quiet(name)?;
        let refuse = |text: &str| Err(Reply::dynamodb("ValidationException", text));
        let stream = &body["StreamSpecification"];
        let capacity = body["ProvisionedThroughput"].is_object() || body["BillingMode"].is_string();
        if stream.is_object() && capacity {
            return refuse("You cannot modify stream status while updating table IOPS");
        }
        let mut next = table.shown.clone();
        match stream["StreamEnabled"].as_bool() {
            Some(true) if table.shown["StreamSpecification"].is_object() => {
                return refuse(&format!("Table already has an enabled stream: TableName: {name}"));
            }
            Some(false) if !table.shown["StreamSpecification"].is_object() => {
                return refuse(&format!("Table has no stream to disable: TableName: {name}"));
            }
            Some(true) => enable_stream(&mut next, name, stream, id),
            // The ARN stays where it is, and means nothing.
            Some(false) => drop(next.as_object_mut().unwrap().remove("StreamSpecification")),
            None if !capacity => return refuse("At least one of the parameters is required"),
            None => {
                let on_demand = body["BillingMode"] == "PAY_PER_REQUEST";
                let wanted = throughput(&body["ProvisionedThroughput"]);
                if wanted == table.shown["ProvisionedThroughput"] && !body["BillingMode"].is_string() {
                    return refuse(
                        "The provisioned throughput for the table will not change. The requested value equals the current value.",
                    );
                }
                next["ProvisionedThroughput"] = wanted;
                if body["BillingMode"].is_string() {
                    let mode = if on_demand { "PAY_PER_REQUEST" } else { "PROVISIONED" };
                    next["BillingModeSummary"] = json!({ "BillingMode": mode });
                }
            }
        }
        // Enabling names the new stream at once; everything else is echoed as it was.
        let mut echo = table.describe(name, "UPDATING");
        if stream["StreamEnabled"] == true {
            echo["LatestStreamArn"] = next["LatestStreamArn"].clone();
        }
        table.next = Some(next);
        table.stale = 1;
        table.passing = Some(Passing::through(&["UPDATING"]));
        Ok(Reply::json(200, &json!({ "TableDescription": echo })))
    }

    pub(super) fn delete_table(&mut self, name: &str) -> Result<Reply, Reply> {
        let table = self.table(name)?;
        table.quiet(name)?;
        table.passing = Some(Passing::through(&["DELETING"]));
        let answer = json!({ "TableDescription": table.describe(name, "DELETING") });
        Ok(Reply::json(200, &answer))
    }

    fn tag_table(&mut self, name: &str, body: &Json) -> Result<Reply, Reply> {
        let table = self.table(name)?;
        table.quiet(name)?;
        table.tags.extend(tag_list(&body["Tags"]));
        Ok(Reply::json(200, &json!({})))
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

impl Table {
    fn describe(&self, name: &str, status: &str) -> Json {
        let mut shown = self.shown.clone();
        shown["TableName"] = json!(name);
        shown["TableArn"] = json!(table_arn(name));
        shown["TableId"] = json!(self.id);
        shown["TableStatus"] = json!(status);
        shown["CreationDateTime"] = json!(self.created);
        // Hours old.
        shown["ItemCount"] = json!(0);
        shown["TableSizeBytes"] = json!(0);
        shown["WarmThroughput"] = json!({ "ReadUnitsPerSecond": 1, "WriteUnitsPerSecond": 1, "Status": "ACTIVE" });
        shown
    }

    /// One look at what is under way; `None` once it is done.
    fn look(&mut self) -> Option<&'static str> {
        let passing = self.passing.as_mut()?;
        let deleting = passing.words == ["DELETING"];
        let word = passing.look();
        if word.is_none() {
            self.passing = None;
            self.gone = deleting;
            if let Some(next) = self.next.take() {
                self.shown = next;
            }
        }
        word
    }

    /// A change while another one is under way is refused; time passes with each try.
    fn quiet(&mut self, name: &str) -> Result<(), Reply> {
        if self.passing.as_ref().is_some_and(|passing| passing.words == ["DELETING"]) {
            let text = format!("Attempt to change a resource which is still in use: Table is being deleted: {name}");
            return Err(Reply::dynamodb("ResourceInUseException", &text));
        }
        let doing = match self.look() {
            None => return Ok(()),
            Some("CREATING") => "created",
            Some(_) => "updated",
        };
        let text = format!("Attempt to change a resource which is still in use: Table is being {doing}: {name}");
        Err(Reply::dynamodb("ResourceInUseException", &text))
    }

    /// As if somebody had deleted it and made one of the same name.
    pub(super) fn reincarnate(&mut self) {
        self.id.push_str("-again");
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

fn enable_stream(shown: &mut Json, name: &str, specification: &Json, id: u32) {
    shown["StreamSpecification"] = specification.clone();
    shown["LatestStreamLabel"] = json!(format!("2026-11-22T19:00:00.{id:03}"));
    shown["LatestStreamArn"] = json!(format!("{}/stream/2026-11-22T19:00:00.{id:03}", table_arn(name)));
}

fn throughput(wanted: &Json) -> Json {
    json!({
        "NumberOfDecreasesToday": 0,
        "ReadCapacityUnits": wanted["ReadCapacityUnits"].as_u64().unwrap_or(0),
        "WriteCapacityUnits": wanted["WriteCapacityUnits"].as_u64().unwrap_or(0),
    })
}

fn tag_list(tags: &Json) -> Tags {
    let text = |json: &Json| json.as_str().unwrap().to_owned();
    tags.as_array().into_iter().flatten().map(|tag| (text(&tag["Key"]), text(&tag["Value"]))).collect()
}

fn now() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64()
}

fn table_arn(name: &str) -> String {
    format!("arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}")
}

fn role_arn(name: &str) -> String {
    format!("arn:aws:iam::{ACCOUNT}:role/{name}")
}
