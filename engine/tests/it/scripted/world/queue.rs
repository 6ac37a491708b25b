//! The queues of the scripted account. Reads lag behind creates and deletes, and show old and new
//! attributes in turns after a change. Messages can be sent and are never received.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::{ACCOUNT, Call, READS, REGION, Reply, Tags, World};

const ENDPOINT: &str = "https://sqs.eu-central-1.amazonaws.com";
/// How many creates AWS refuses after a delete of the same name.
const RECENTLY: u32 = 2;
/// How many reads after a change show old and new attributes in turns; an odd number ends with an
/// old one.
const FLAPS: u32 = 3;

#[derive(Debug, Clone, Default)]
pub(in super::super) struct Queue {
    /// The attributes that were set, or that have defaults.
    pub(in super::super) attributes: BTreeMap<String, String>,
    /// The attributes before the last change, and how many reads may show them.
    before: Option<(BTreeMap<String, String>, u32)>,
    pub(in super::super) tags: Tags,
    /// How many reads don't find the new queue.
    hidden: u32,
    /// How many reads don't show its tags.
    tag_lag: u32,
    /// How many reads still find the deleted queue.
    leaving: Option<u32>,
    /// Messages that are visible, in flight and delayed.
    pub(in super::super) messages: [u32; 3],
}

/// The model's name for an SQS operation.
pub(super) fn operation(target: &str) -> &'static str {
    const ALL: [&str; 10] = [
        "CreateQueue",
        "DeleteQueue",
        "GetQueueAttributes",
        "GetQueueUrl",
        "ListQueueTags",
        "ListQueues",
        "SendMessage",
        "SetQueueAttributes",
        "TagQueue",
        "UntagQueue",
    ];
    ALL.into_iter().find(|it| *it == target).unwrap_or("?")
}

/// The name in a call's body.
pub(super) fn about(body: &Json) -> String {
    let url = body["QueueUrl"].as_str().map(|url| url.rsplit('/').next().unwrap().to_owned());
    url.or_else(|| body["QueueName"].as_str().map(str::to_owned)).unwrap_or_default()
}

/// An error as SQS sends it: with the code of its older protocol in a header.
pub(in super::super) fn error(code: &str, message: &str) -> Reply {
    let older = match code {
        "QueueDoesNotExist" => "AWS.SimpleQueueService.NonExistentQueue",
        "QueueNameExists" => "QueueAlreadyExists",
        "QueueDeletedRecently" => "AWS.SimpleQueueService.QueueDeletedRecently",
        other => other,
    };
    let mut reply = Reply::json(400, &json!({ "__type": format!("com.amazonaws.sqs#{code}"), "message": message }));
    reply.headers.push(("x-amzn-query-error", format!("{older};Sender")));
    reply
}

fn missing() -> Reply {
    error("QueueDoesNotExist", "The specified queue does not exist.")
}

fn invalid(name: &str, why: &str) -> Reply {
    error("InvalidAttributeValue", &format!("Invalid value for the parameter {name}. Reason: {why}"))
}

pub(in super::super) fn arn(name: &str) -> String {
    format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{name}")
}

fn url(name: &str) -> String {
    format!("{ENDPOINT}/{ACCOUNT}/{name}")
}

/// The attributes with a default.
fn defaults(is_fifo: bool) -> BTreeMap<String, String> {
    let all = [
        ("DelaySeconds", "0"),
        ("MaximumMessageSize", "1048576"),
        ("MessageRetentionPeriod", "345600"),
        ("ReceiveMessageWaitTimeSeconds", "0"),
        ("SqsManagedSseEnabled", "true"),
        ("VisibilityTimeout", "30"),
    ];
    let fifo = [
        ("ContentBasedDeduplication", "false"),
        ("DeduplicationScope", "queue"),
        ("FifoQueue", "true"),
        ("FifoThroughputLimit", "perQueue"),
    ];
    let own = fifo.into_iter().filter(|_| is_fifo);
    all.into_iter().chain(own).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

const RANGES: [(&str, i64, i64); 5] = [
    ("DelaySeconds", 0, 900),
    ("MaximumMessageSize", 1024, 1_048_576),
    ("MessageRetentionPeriod", 60, 1_209_600),
    ("ReceiveMessageWaitTimeSeconds", 0, 20),
    ("VisibilityTimeout", 0, 43_200),
];

impl Queue {
    /// An old queue with these tags.
    fn old(name: &str, tags: Tags) -> Queue {
        Queue { attributes: defaults(name.ends_with(".fifo")), tags, ..Queue::default() }
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.is_some()
    }

    pub(super) fn age(&mut self) {
        self.before = None;
        (self.hidden, self.tag_lag) = (0, 0);
        self.attributes.insert("CreatedTimestamp".to_owned(), "1700000000".to_owned());
    }

    /// Another actor deletes and re-creates it.
    pub(in super::super) fn reincarnate(&mut self) {
        self.before = None;
        self.leaving = None;
        self.messages = [0; 3];
        self.attributes.insert("CreatedTimestamp".to_owned(), "1700000001".to_owned());
    }

    /// Its state as text, without what reads change.
    pub(in super::super) fn bits(&self) -> String {
        format!("{:?} {:?} {:?} {}", self.attributes, self.tags, self.messages, self.is_leaving())
    }

    /// Counts a read of the attributes.
    fn show(&mut self) -> BTreeMap<String, String> {
        let Some((before, reads)) = self.before.as_mut() else { return self.attributes.clone() };
        let shown = if *reads % 2 == 1 { before.clone() } else { self.attributes.clone() };
        *reads -= 1;
        if *reads == 0 {
            self.before = None;
        }
        shown
    }
}

impl World {
    /// An old, empty queue.
    pub(in crate::scripted) fn add_queue(&mut self, name: &str, tags: Tags) -> &mut Queue {
        let mut queue = Queue::old(name, tags);
        queue.age();
        self.queues.insert(name.to_owned(), queue);
        self.queues.get_mut(name).unwrap()
    }

    /// The visibility timeout of the queue with this ARN, if it exists.
    pub(super) fn visibility_timeout(&self, of: &str) -> Option<i64> {
        let (_, queue) = self.queues.iter().find(|(name, queue)| arn(name) == of && !queue.is_leaving())?;
        queue.attributes["VisibilityTimeout"].parse().ok()
    }

    /// Executes a call about queues; `None` for any other call.
    pub(super) fn queue_call(&mut self, call: &Call) -> Option<Result<Reply, Reply>> {
        if operation(call.operation) == "?" {
            return None;
        }
        let (name, body) = (&call.about, &call.body);
        if let Some(given) = body["QueueUrl"].as_str().filter(|given| *given != url(name)) {
            return Some(Err(error("InvalidAddress", &format!("The address {given} is not valid for this endpoint."))));
        }
        Some(match call.operation {
            "CreateQueue" => self.create_queue(name, body),
            "GetQueueUrl" => self.queue(name).map(|_| Reply::ok(&json!({ "QueueUrl": url(name) }))),
            "GetQueueAttributes" => self.queue_attributes(name, &body["AttributeNames"]),
            "ListQueueTags" => self.queue_tags(name),
            "ListQueues" => self.list_queues(body),
            "SetQueueAttributes" => self.set_attributes(name, &body["Attributes"]),
            "DeleteQueue" => self.queue(name).map(|queue| {
                queue.leaving = Some(READS);
                Reply::ok(&json!({}))
            }),
            "SendMessage" => self.queue(name).map(|queue| {
                queue.messages[0] += 1;
                Reply::ok(&json!({ "MessageId": "5fea7756-0ea4-451a-a703-a558b933e274" }))
            }),
            "TagQueue" => self.queue(name).map(|queue| {
                queue.tags.extend(texts(&body["Tags"]));
                Reply::ok(&json!({}))
            }),
            _ => self.queue(name).map(|queue| {
                let keys = body["TagKeys"].as_array().unwrap();
                queue.tags.retain(|key, _| !keys.iter().any(|it| it == key));
                Reply::ok(&json!({}))
            }),
        })
    }

    /// A queue, if reads find it.
    fn queue(&mut self, name: &str) -> Result<&mut Queue, Reply> {
        let queue = self.queues.get_mut(name).ok_or_else(missing)?;
        if queue.hidden > 0 {
            queue.hidden -= 1;
            return Err(missing());
        }
        match &mut queue.leaving {
            Some(0) => {
                self.queues.remove(name);
                self.deleted_queues.insert(name.to_owned(), RECENTLY);
                return Err(missing());
            }
            Some(reads) => *reads -= 1,
            None => {}
        }
        self.queues.get_mut(name).ok_or_else(missing)
    }

    fn create_queue(&mut self, name: &str, body: &Json) -> Result<Reply, Reply> {
        let given = texts(&body["Attributes"]);
        let stem = name.strip_suffix(".fifo").unwrap_or(name);
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if stem.is_empty() || name.len() > 80 || !stem.chars().all(is_word) {
            let text = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length";
            return Err(error("InvalidParameterValue", text));
        }
        let is_fifo = given.contains_key("FifoQueue");
        if is_fifo != name.ends_with(".fifo") {
            let text = "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, \
                        must end with .fifo suffix and be 1 to 80 in length.";
            return Err(error("InvalidParameterValue", text));
        }
        self.check_attributes(is_fifo, &given)?;
        if self.queues.get(name).is_some_and(Queue::is_leaving) {
            self.queues.remove(name);
            self.deleted_queues.insert(name.to_owned(), RECENTLY);
        }
        if let Some(left) = self.deleted_queues.get_mut(name).filter(|left| **left > 0) {
            *left -= 1;
            let text =
                "You must wait 60 seconds after deleting a queue before you can create another with the same name.";
            return Err(error("QueueDeletedRecently", text));
        }
        if let Some(queue) = self.queues.get(name) {
            let differs = given.iter().find(|(name, value)| queue.attributes.get(*name) != Some(value));
            return match differs {
                Some((name, _)) => {
                    let text = "A queue already exists with the same name and a different value for attribute";
                    Err(error("QueueNameExists", &format!("{text} {name}")))
                }
                None => Ok(Reply::ok(&json!({ "QueueUrl": url(name) }))),
            };
        }
        let mut queue =
            Queue { hidden: READS, tag_lag: READS, tags: texts(&body["tags"]), ..Queue::old(name, Tags::new()) };
        queue.attributes.extend(given);
        queue.keyed();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        queue.attributes.insert("CreatedTimestamp".to_owned(), now.to_string());
        self.queues.insert(name.to_owned(), queue);
        Ok(Reply::ok(&json!({ "QueueUrl": url(name) })))
    }

    fn check_attributes(&self, is_fifo: bool, given: &Tags) -> Result<(), Reply> {
        let unknown = |name: &str| error("InvalidAttributeName", &format!("Unknown Attribute {name}."));
        for (name, value) in given {
            match name.as_str() {
                "FifoQueue" if value != "true" => return Err(unknown(name)),
                "FifoQueue" | "ContentBasedDeduplication" if !is_fifo => return Err(unknown(name)),
                "FifoQueue" | "ContentBasedDeduplication" | "SqsManagedSseEnabled" => {
                    if !["true", "false"].contains(&value.as_str()) {
                        return Err(invalid(name, "Must be true or false."));
                    }
                }
                "KmsMasterKeyId" => {}
                "Policy" | "RedriveAllowPolicy" | "RedrivePolicy" => self.check_document(name, value, is_fifo)?,
                number => {
                    let (_, min, max) =
                        RANGES.into_iter().find(|(it, ..)| *it == number).ok_or_else(|| unknown(name))?;
                    let is_valid = value.parse::<i64>().is_ok_and(|it| (min..=max).contains(&it));
                    if !is_valid {
                        return Err(invalid(name, "Out of range."));
                    }
                }
            }
        }
        let has = |name: &str, value: &str| {
            given.get(name).is_some_and(|it| if value.is_empty() { !it.is_empty() } else { it == value })
        };
        if has("KmsMasterKeyId", "") && has("SqsManagedSseEnabled", "true") {
            let text = "You can use one type of server-side encryption (SSE) at one time. You can either enable KMS SSE or SQS SSE.";
            return Err(error("InvalidAttributeName", text));
        }
        Ok(())
    }

    fn check_document(&self, name: &str, value: &str, is_fifo: bool) -> Result<(), Reply> {
        if value.is_empty() {
            return Ok(());
        }
        let document: Json = serde_json::from_str(value).map_err(|_| invalid(name, "It is no JSON."))?;
        let refused = |why: &str| {
            Err(error(
                "InvalidParameterValue",
                &format!("Value {value} for parameter {name} is invalid. Reason: {why}"),
            ))
        };
        if name == "RedrivePolicy" {
            let Some(dead) = document["deadLetterTargetArn"].as_str() else {
                return refused("Redrive policy does not contain mandatory attribute: deadLetterTargetArn.");
            };
            if !document["maxReceiveCount"].is_number() {
                return refused("Redrive policy does not contain mandatory attribute: maxReceiveCount.");
            }
            let exists =
                self.queues.iter().any(|(it, queue)| arn(it) == dead && queue.hidden == 0 && !queue.is_leaving());
            if !exists {
                return refused("Dead letter target does not exist.");
            }
            if dead.ends_with(".fifo") != is_fifo {
                return refused("Dead-letter queue must be same type of queue as the source.");
            }
        }
        Ok(())
    }

    fn queue_attributes(&mut self, name: &str, names: &Json) -> Result<Reply, Reply> {
        let queue = self.queue(name)?;
        let mut shown = queue.show();
        shown.retain(|_, value| !value.is_empty());
        shown.insert("QueueArn".to_owned(), arn(name));
        shown.insert("LastModifiedTimestamp".to_owned(), "1700000000".to_owned());
        for (count, suffix) in queue.messages.into_iter().zip(["", "NotVisible", "Delayed"]) {
            shown.insert(format!("ApproximateNumberOfMessages{suffix}"), count.to_string());
        }
        let names: Vec<&str> = names.as_array().into_iter().flatten().filter_map(Json::as_str).collect();
        shown.retain(|name, _| names.contains(&"All") || names.contains(&name.as_str()));
        // Without any attribute, the answer has no such field.
        Ok(Reply::ok(&if shown.is_empty() { json!({}) } else { json!({ "Attributes": shown }) }))
    }

    fn queue_tags(&mut self, name: &str) -> Result<Reply, Reply> {
        let queue = self.queue(name)?;
        if queue.tag_lag > 0 {
            queue.tag_lag -= 1;
            return Ok(Reply::ok(&json!({})));
        }
        let tags = &queue.tags;
        Ok(Reply::ok(&if tags.is_empty() { json!({}) } else { json!({ "Tags": tags }) }))
    }

    fn list_queues(&self, body: &Json) -> Result<Reply, Reply> {
        let prefix = body["QueueNamePrefix"].as_str().unwrap_or_default();
        let found: Vec<String> =
            self.queues.keys().filter(|name| name.starts_with(prefix)).map(|name| url(name)).collect();
        // Without a maximum, there is no token for the next page.
        let page: usize = body["NextToken"].as_str().unwrap_or("0").parse().unwrap();
        let size = if self.small_pages && !body["MaxResults"].is_null() { 1 } else { 1000 };
        let mut answer = json!({});
        let on_page: Vec<&String> = found.iter().skip(page * size).take(size).collect();
        if !on_page.is_empty() {
            answer["QueueUrls"] = json!(on_page);
        }
        if found.len() > (page + 1) * size {
            answer["NextToken"] = json!((page + 1).to_string());
        }
        Ok(Reply::ok(&answer))
    }

    fn set_attributes(&mut self, name: &str, attributes: &Json) -> Result<Reply, Reply> {
        let given = texts(attributes);
        if given.contains_key("FifoQueue") {
            return Err(invalid("FifoQueue", "Modifying queue type is not supported."));
        }
        self.check_attributes(name.ends_with(".fifo"), &given)?;
        let queue = self.queue(name)?;
        queue.before = Some((queue.attributes.clone(), FLAPS));
        queue.attributes.extend(given);
        queue.keyed();
        Ok(Reply::ok(&json!({})))
    }
}

impl Queue {
    /// With a KMS key, SQS's own encryption is off.
    fn keyed(&mut self) {
        if self.attributes.get("KmsMasterKeyId").is_some_and(|key| !key.is_empty()) {
            self.attributes.insert("SqsManagedSseEnabled".to_owned(), "false".to_owned());
        }
    }
}

fn texts(json: &Json) -> Tags {
    let fields = json.as_object().into_iter().flatten();
    fields.map(|(name, value)| (name.clone(), value.as_str().expect("every attribute is text").to_owned())).collect()
}
