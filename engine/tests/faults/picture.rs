//! All resources in one account of the local AWS, as raw JSON responses, because the SDK's models
//! omit fields.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::shared::account::Account;
use crate::shared::{DEADLINE, access_key_id, eventually};

/// The resources in every account that are not managed by engine, including the imported role.
pub(crate) const FOREIGN: [&str; 3] = ["blue-owls-archive", "blue-owls-archivist", crate::shared::account::ROLE];

/// The unmodified state of an account.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Picture(pub(crate) BTreeMap<String, Json>);

impl Picture {
    pub(crate) fn of(aws: &Account) -> Picture {
        let mut all = BTreeMap::new();
        let dynamodb = |operation: &str, body: Json| {
            let target = format!("x-amz-target: DynamoDB_20120810.{operation}\r\n");
            ask(aws, "dynamodb", "POST", "/", &target, &body.to_string())
        };
        let lambda = |path: &str| ask(aws, "lambda", "GET", path, "", "");
        for name in dynamodb("ListTables", json!({}))["TableNames"].as_array().unwrap() {
            let name = name.as_str().unwrap();
            let of_table = |operation: &str| dynamodb(operation, json!({ "TableName": name }));
            let table = of_table("DescribeTable");
            let mut items = of_table("Scan");
            items["Items"].as_array_mut().unwrap().sort_by_key(Json::to_string);
            let mut tags = dynamodb("ListTagsOfResource", json!({ "ResourceArn": table["Table"]["TableArn"] }));
            tags["Tags"].as_array_mut().unwrap().sort_by_key(Json::to_string);
            let mut more = ["DescribeTimeToLive", "DescribeContinuousBackups"].map(of_table);
            // Times that pass by themselves.
            let recovery = &mut more[1]["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"];
            for time in ["EarliestRestorableDateTime", "LatestRestorableDateTime"] {
                recovery.as_object_mut().map(|it| it.remove(time));
            }
            all.insert(format!("table {name}"), json!([table, items, tags, more]));
        }
        for function in lambda("/2015-03-31/functions/")["Functions"].as_array().unwrap() {
            let name = function["FunctionName"].as_str().unwrap();
            let path = format!("/2015-03-31/functions/{name}");
            let policy = lambda(&format!("{path}/policy"))["Policy"].as_str().map(|policy| {
                let mut policy: Json = serde_json::from_str(policy).unwrap();
                policy["Statement"].as_array_mut().unwrap().sort_by_key(|it| it["Sid"].to_string());
                policy
            });
            let policy = policy.filter(|policy| policy["Statement"] != json!([]));
            let mut function = lambda(&path);
            eventually("an update of a function ends", || {
                function = lambda(&path);
                function["Configuration"]["State"] == "Active"
                    && function["Configuration"]["LastUpdateStatus"] != "InProgress"
            });
            // A presigned link to the code, which expires.
            function["Code"]["Location"] = Json::Null;
            let mut config = lambda(&format!("/2019-09-25/functions/{name}/event-invoke-config"));
            // Its error has a request ID.
            config = if config["FunctionArn"].is_string() { config } else { Json::Null };
            let mut url = lambda(&format!("/2021-10-31/functions/{name}/url"));
            url = if url["FunctionUrl"].is_string() { url } else { Json::Null };
            all.insert(format!("function {name}"), json!([function, policy, config, url]));
        }
        for mapping in lambda("/2015-03-31/event-source-mappings/")["EventSourceMappings"].as_array_mut().unwrap() {
            // The progress of Lambda with the records varies. Keep only problems.
            if mapping["LastProcessingResult"].as_str().is_some_and(|result| !result.starts_with("PROBLEM")) {
                mapping["LastProcessingResult"] = Json::Null;
            }
            let arn = mapping["EventSourceMappingArn"].as_str().unwrap();
            let tags = lambda(&format!("/2017-03-31/tags/{arn}"));
            let function = mapping["FunctionArn"].as_str().unwrap().rsplit(':').next().unwrap();
            all.insert(format!("mapping {} to {function}", mapping["UUID"]), json!([mapping, tags]));
        }
        let sqs = |operation: &str, body: Json| {
            let target = format!("x-amz-target: AmazonSQS.{operation}\r\n");
            ask(aws, "sqs", "POST", "/", &target, &body.to_string())
        };
        for url in sqs("ListQueues", json!({}))["QueueUrls"].as_array().into_iter().flatten() {
            let name = url.as_str().unwrap().rsplit('/').next().unwrap();
            let attributes = sqs("GetQueueAttributes", json!({ "QueueUrl": url, "AttributeNames": ["All"] }));
            let tags = sqs("ListQueueTags", json!({ "QueueUrl": url }));
            all.insert(format!("queue {name}"), json!([attributes, tags]));
        }
        for name in roles(aws) {
            all.insert(format!("role {name}"), role(aws, &name));
        }
        let logs = |operation: &str, body: Json| {
            let target = format!("x-amz-target: Logs_20140328.{operation}\r\n");
            ask(aws, "logs", "POST", "/", &target, &body.to_string())
        };
        for mut group in logs("DescribeLogGroups", json!({}))["logGroups"].as_array().unwrap().iter().cloned() {
            let name = group["logGroupName"].as_str().unwrap().to_owned();
            let tags = logs("ListTagsLogGroup", json!({ "logGroupName": name }));
            // Lambda creates one for each function that ran, without tags.
            if tags["tags"] != json!({}) {
                group["storedBytes"] = Json::Null;
                all.insert(format!("log-group {name}"), json!([group, tags]));
            }
        }
        Picture(all)
    }

    /// The resources that are not managed by engine.
    pub(crate) fn foreign(&self) -> BTreeMap<String, Json> {
        self.0.iter().filter(|(name, _)| is_foreign(name)).map(|(name, it)| (name.clone(), it.clone())).collect()
    }

    /// The other resources without values that differ in each run: IDs, times and the account.
    /// Stream labels are replaced, but show whether the stream is the table's current one.
    pub(crate) fn comparable(&self, account: &str) -> BTreeMap<String, Vec<Json>> {
        let live: Vec<&str> = self.0.values().filter_map(|it| it[0]["Table"]["LatestStreamLabel"].as_str()).collect();
        let mut all: BTreeMap<String, Vec<Json>> = BTreeMap::new();
        for (name, it) in self.0.iter().filter(|(name, _)| !is_foreign(name)) {
            // Mappings have no name, so all of them share one entry.
            let name = if name.starts_with("mapping ") { "mapping".to_owned() } else { name.clone() };
            all.entry(name).or_default().push(plain(it, account, &live));
        }
        for several in all.values_mut() {
            several.sort_by_key(Json::to_string);
        }
        all
    }
}

fn is_foreign(name: &str) -> bool {
    name.split(' ').any(|word| FOREIGN.contains(&word))
}

/// The differences between two pictures, one per line.
pub(crate) fn differences<T: Serialize>(wanted: &BTreeMap<String, T>, found: &BTreeMap<String, T>) -> Vec<String> {
    let mut lines = Vec::new();
    compare("", &json!(wanted), &json!(found), &mut lines);
    lines
}

fn compare(path: &str, wanted: &Json, found: &Json, lines: &mut Vec<String>) {
    match (wanted, found) {
        (Json::Object(wanted), Json::Object(found)) => {
            let names: std::collections::BTreeSet<&String> = wanted.keys().chain(found.keys()).collect();
            for name in names {
                let of = |map: &serde_json::Map<String, Json>| map.get(name).cloned().unwrap_or_default();
                compare(&format!("{path}/{name}"), &of(wanted), &of(found), lines);
            }
        }
        (Json::Array(wanted), Json::Array(found)) if wanted.len() == found.len() => {
            for (index, (wanted, found)) in wanted.iter().zip(found).enumerate() {
                compare(&format!("{path}/{index}"), wanted, found, lines);
            }
        }
        _ if wanted == found => {}
        _ => lines.push(format!("{path}: {wanted} was expected, {found} is there")),
    }
}

fn plain(json: &Json, account: &str, live: &[&str]) -> Json {
    /// Fields that differ in each run.
    const CHOSEN: [&str; 20] = [
        "UUID",
        "RoleId",
        "TableId",
        "RevisionId",
        "RequestId",
        "CreateDate",
        "CreatedTimestamp",
        "CreationDateTime",
        "creationTime",
        "LastModifiedTimestamp",
        "LatestStreamLabel",
        "LastModified",
        "LastModifiedTime",
        "CreationTime",
        "FunctionUrl",
        "LastIncreaseDateTime",
        "LastDecreaseDateTime",
        "LastUpdateDateTime",
        "EarliestRestorableDateTime",
        "LatestRestorableDateTime",
    ];
    match json {
        Json::Object(map) => {
            let plain = |(name, value): (&String, &Json)| {
                let value =
                    if CHOSEN.contains(&name.as_str()) { json!("chosen by AWS") } else { plain(value, account, live) };
                (name.clone(), value)
            };
            Json::Object(map.iter().map(plain).collect())
        }
        Json::Array(list) => list.iter().map(|it| plain(it, account, live)).collect(),
        Json::String(text) => {
            let mut text = text.replace(account, "ACCOUNT");
            for label in live {
                text = text.replace(label, "LIVE");
            }
            let without = |start: &str, text: String| match text.split_once(start) {
                Some((before, rest)) if rest != "LIVE" => format!("{before}{start}CHOSEN"),
                _ => text,
            };
            Json::String(without(":event-source-mapping:", without("/stream/", text)))
        }
        other => other.clone(),
    }
}

/// Deletes all functions, mappings, queues and tables, so that no process keeps running.
pub(crate) fn clear(aws: &Account) {
    for name in Picture::of(aws).0.keys() {
        let words: Vec<&str> = name.split(' ').collect();
        match words[..] {
            ["mapping", uuid, ..] => {
                let path = format!("/2015-03-31/event-source-mappings/{}", uuid.trim_matches('"'));
                ask(aws, "lambda", "DELETE", &path, "", "")
            }
            ["function", name] => ask(aws, "lambda", "DELETE", &format!("/2015-03-31/functions/{name}"), "", ""),
            ["queue", name] => {
                let target = "x-amz-target: AmazonSQS.DeleteQueue\r\n";
                let url = format!("http://localhost/{}/{name}", aws.id);
                ask(aws, "sqs", "POST", "/", target, &json!({ "QueueUrl": url }).to_string())
            }
            ["table", name] => {
                let target = "x-amz-target: DynamoDB_20120810.DeleteTable\r\n";
                ask(aws, "dynamodb", "POST", "/", target, &json!({ "TableName": name }).to_string())
            }
            _ => Json::Null,
        };
    }
}

/// Writes an object in S3, in a new bucket.
pub(crate) fn store(aws: &Account, bucket: &str, key: &str, content: &[u8]) {
    ask(aws, "s3", "PUT", &format!("/{bucket}"), "", "");
    ask(aws, "s3", "PUT", &format!("/{bucket}/{key}"), "", content);
}

fn roles(aws: &Account) -> Vec<String> {
    let listed = iam(aws, "Action=ListRoles");
    elements(listed.as_str().unwrap(), "RoleName")
}

/// A role with all of its policies.
fn role(aws: &Account, name: &str) -> Json {
    let of_role = |operation: &str, more: &str| iam(aws, &format!("Action={operation}&RoleName={name}{more}"));
    let mut own = of_role("GetRole", "").as_str().unwrap().to_owned();
    // What varies between runs, and what has no order, are separate members.
    let mut separate = |element: &str| {
        let mut texts = elements(&own, element);
        texts.iter().for_each(|text| own = own.replace(text, ""));
        texts.sort();
        texts
    };
    let chosen = json!({ "RoleId": separate("RoleId"), "CreateDate": separate("CreateDate") });
    let tags = separate("member");
    let mut attached = elements(of_role("ListAttachedRolePolicies", "").as_str().unwrap(), "PolicyArn");
    attached.sort();
    let inline = elements(of_role("ListRolePolicies", "").as_str().unwrap(), "member").into_iter();
    let inline: BTreeMap<String, Json> = inline
        .map(|policy| {
            let answer = of_role("GetRolePolicy", &format!("&PolicyName={policy}"));
            (policy, answer)
        })
        .collect();
    json!([own, chosen, tags, attached, inline])
}

/// The texts of all elements with this name.
fn elements(xml: &str, name: &str) -> Vec<String> {
    let (start, end) = (format!("<{name}>"), format!("</{name}>"));
    xml.split(&start).skip(1).filter_map(|rest| Some(rest.split_once(&end)?.0.to_owned())).collect()
}

/// A response of IAM as XML, without its request ID.
fn iam(aws: &Account, body: &str) -> Json {
    let type_of = "content-type: application/x-www-form-urlencoded\r\n";
    let answer = ask(aws, "iam", "POST", "/", type_of, &format!("{body}&Version=2010-05-08"));
    let answer = answer.as_str().unwrap_or_default();
    Json::from(answer.split("<RequestId>").next().unwrap())
}

/// Sends one request without a valid signature: the local AWS only checks the key. Returns the
/// response as JSON, or as a string if it is no JSON.
fn ask(aws: &Account, service: &str, method: &str, path: &str, more: &str, body: &(impl AsRef<[u8]> + ?Sized)) -> Json {
    let body = body.as_ref();
    let mut stream = TcpStream::connect(aws.endpoint.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let scope = access_key_id(&aws.endpoint, &aws.id) + &format!("/20260101/eu-central-1/{service}/aws4_request");
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: AWS4-HMAC-SHA256 Credential={scope}, \
         SignedHeaders=host, Signature=0\r\n{more}content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(&[request.as_bytes(), body].concat()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    serde_json::from_str(body).unwrap_or_else(|_| Json::from(body))
}
