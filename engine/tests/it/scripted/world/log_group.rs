//! The log groups of the scripted account.
//!
//! As in AWS, a list is by prefix and sorted, an ARN ends in `:*` only where AWS shows it that way,
//! and each call refuses the other form.

use serde_json::{Value as Json, json};

use super::{ACCOUNT, Call, REGION, Reply, Tags, World};

#[derive(Debug, Clone)]
pub(in super::super) struct LogGroup {
    /// What reads show in addition to names and ARNs.
    pub(in super::super) shown: Json,
    pub(in super::super) tags: Tags,
    pub(in super::super) streams: Vec<String>,
}

/// The model's name for an operation on log groups.
pub(super) fn operation(target: &str) -> &'static str {
    match target {
        "AssociateKmsKey" => "AssociateKmsKey",
        "CreateLogGroup" => "CreateLogGroup",
        "DeleteLogGroup" => "DeleteLogGroup",
        "DeleteRetentionPolicy" => "DeleteRetentionPolicy",
        "DescribeLogGroups" => "DescribeLogGroups",
        "DescribeLogStreams" => "DescribeLogStreams",
        "DisassociateKmsKey" => "DisassociateKmsKey",
        "ListTagsForResource" => "ListTagsForResource",
        "PutRetentionPolicy" => "PutRetentionPolicy",
        // Other services have operations with these names, too.
        "TagResource" => "TagLogGroup",
        "UntagResource" => "UntagLogGroup",
        _ => "?",
    }
}

/// The periods that AWS accepts.
const PERIODS: [u64; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];

fn arn(name: &str) -> String {
    format!("arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{name}")
}

/// The name in an ARN, as calls about tags take it.
pub(super) fn name_in(arn: &str) -> String {
    arn.split_once(":log-group:").map_or("", |(_, name)| name).to_owned()
}

fn invalid<T>(text: &str) -> Result<T, Reply> {
    Err(Reply::logs("InvalidParameterException", text))
}

impl World {
    /// Executes a call about log groups; `None` for any other call.
    pub(super) fn log_group_call(&mut self, call: &Call) -> Option<Result<Reply, Reply>> {
        let Call { about: name, body, .. } = call;
        Some(match call.operation {
            "CreateLogGroup" => self.create_log_group(name, body),
            "DescribeLogGroups" => self.describe_log_groups(body),
            "DescribeLogStreams" => self.log_group(name).map(|group| {
                let streams = group.streams.iter().map(|name| json!({ "logStreamName": name, "storedBytes": 0 }));
                let limit = body["limit"].as_u64().unwrap_or(50);
                let streams: Vec<Json> = streams.take(usize::try_from(limit).unwrap()).collect();
                Reply::ok(&json!({ "logStreams": streams }))
            }),
            "ListTagsForResource" => self.log_group(name).map(|group| Reply::ok(&json!({ "tags": group.tags }))),
            "AssociateKmsKey" => match body["kmsKeyId"].as_str() {
                Some(key) if is_key(key) => self.set(name, "kmsKeyId", json!(key)),
                _ => invalid("The specified KMS Key Id could not be found."),
            },
            "DisassociateKmsKey" => self.set(name, "kmsKeyId", Json::Null),
            "PutRetentionPolicy" => match body["retentionInDays"].as_u64() {
                Some(days) if PERIODS.contains(&days) => self.set(name, "retentionInDays", json!(days)),
                _ => invalid("1 validation error detected: Value at 'retentionInDays' failed to satisfy constraint"),
            },
            "DeleteRetentionPolicy" => self.set(name, "retentionInDays", Json::Null),
            "TagLogGroup" => self.log_group(name).map(|group| {
                group.tags.extend(tags(&body["tags"]));
                Reply::ok(&json!({}))
            }),
            "UntagLogGroup" => self.log_group(name).map(|group| {
                body["tagKeys"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .for_each(|key| drop(group.tags.remove(key.as_str().unwrap())));
                Reply::ok(&json!({}))
            }),
            "DeleteLogGroup" => self.delete_log_group(name),
            _ => return None,
        })
    }

    /// A line of a function: Lambda creates its log group if there is none.
    pub(in super::super) fn write_line(&mut self, name: &str) {
        if !self.log_groups.contains_key(name) {
            self.add_log_group(name, Tags::new());
        }
        self.log_group(name).unwrap().streams.push("2026/11/30/[$LATEST]1".to_owned());
    }

    fn log_group(&mut self, name: &str) -> Result<&mut LogGroup, Reply> {
        let missing = || Reply::logs("ResourceNotFoundException", "The specified log group does not exist.");
        self.log_groups.get_mut(name).ok_or_else(missing)
    }

    /// Sets what a read shows, unless an account-level policy decides about it; null removes it.
    fn set(&mut self, name: &str, field: &str, value: Json) -> Result<Reply, Reply> {
        let group = self.log_group(name)?;
        let shown = group.shown.as_object_mut().unwrap();
        if field != "retentionInDays" || !shown.contains_key("retentionPolicyName") {
            shown.insert(field.to_owned(), value);
            shown.retain(|_, value| !value.is_null());
        }
        Ok(Reply::ok(&json!({})))
    }

    fn create_log_group(&mut self, name: &str, body: &Json) -> Result<Reply, Reply> {
        if self.log_groups.contains_key(name) {
            return Err(Reply::logs("ResourceAlreadyExistsException", "The specified log group already exists"));
        }
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_/#".contains(&byte);
        if name.is_empty() || name.len() > 512 || name.starts_with("aws/") || !name.bytes().all(is_allowed) {
            return invalid("1 validation error detected: Value at 'logGroupName' failed to satisfy constraint");
        }
        let class = body["logGroupClass"].as_str().unwrap_or("STANDARD");
        if !["STANDARD", "INFREQUENT_ACCESS", "ESSENTIALS", "DELIVERY"].contains(&class) {
            return invalid("1 validation error detected: Value at 'logGroupClass' failed to satisfy constraint");
        }
        if body["kmsKeyId"].as_str().is_some_and(|key| !is_key(key)) {
            return invalid("The specified KMS Key Id could not be found.");
        }
        if body["tags"].as_object().is_some_and(serde_json::Map::is_empty) {
            return invalid("1 validation error detected: Value at 'tags' failed to satisfy constraint");
        }
        let id = self.id();
        let mut shown = json!({
            "creationTime": 1_764_000_000_000_u64 + u64::from(id),
            "metricFilterCount": 0,
            "storedBytes": 0,
            "logGroupClass": class,
            "deletionProtectionEnabled": false,
        });
        if body["kmsKeyId"].is_string() {
            shown["kmsKeyId"] = body["kmsKeyId"].clone();
        }
        let group = LogGroup { shown, tags: tags(&body["tags"]), streams: Vec::new() };
        self.log_groups.insert(name.to_owned(), group);
        Ok(Reply::ok(&json!({})))
    }

    fn describe_log_groups(&self, body: &Json) -> Result<Reply, Reply> {
        let prefix = body["logGroupNamePrefix"].as_str().unwrap_or_default();
        let groups = self.log_groups.iter().filter(|(name, _)| name.starts_with(prefix));
        let groups: Vec<Json> = groups
            .map(|(name, group)| {
                let mut shown = group.shown.clone();
                shown["logGroupName"] = json!(name);
                shown["arn"] = json!(format!("{}:*", arn(name)));
                shown["logGroupArn"] = json!(arn(name));
                shown
            })
            .collect();
        // With small pages, the first one is empty, and each of the others has one entry.
        let most = if self.small_pages { 1 } else { 50 };
        let page: usize = body["nextToken"].as_str().unwrap_or("0").parse().unwrap();
        let start = if self.small_pages { page.saturating_sub(1) } else { page * most };
        let end = if self.small_pages && page == 0 { 0 } else { groups.len().min(start + most) };
        let mut answer = json!({ "logGroups": groups[start.min(end)..end] });
        if end < groups.len() {
            answer["nextToken"] = json!((page + 1).to_string());
        }
        Ok(Reply::ok(&answer))
    }

    fn delete_log_group(&mut self, name: &str) -> Result<Reply, Reply> {
        if self.log_group(name)?.shown["deletionProtectionEnabled"] == true {
            return Err(Reply::logs("ValidationException", "The log group has deletion protection enabled."));
        }
        self.log_groups.remove(name);
        if std::mem::take(&mut self.late_line) {
            self.write_line(name);
        }
        Ok(Reply::ok(&json!({})))
    }
}

fn is_key(key: &str) -> bool {
    key.starts_with(&format!("arn:aws:kms:{REGION}:")) && key.contains(":key/")
}

fn tags(body: &Json) -> Tags {
    let tags = body.as_object().into_iter().flatten();
    tags.map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned())).collect()
}
