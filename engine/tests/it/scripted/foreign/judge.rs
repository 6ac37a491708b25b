//! Decides whether a call is allowed, based on the current state of the account.
//!
//! It doesn't use engine's guard, plan or reads: it has the spec's text, the incoming calls, and
//! the account before and after each call.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use super::super::server::Witness;
use super::super::world::{Call, Tags, World};
use super::case::{Aim, Denied, STACK, Tagged};

const READS: [&str; 26] = [
    "DescribeTable",
    "DescribeTimeToLive",
    "DescribeContinuousBackups",
    "ListTables",
    "ListTagsOfResource",
    "Scan",
    "GetFunction",
    "GetFunctionEventInvokeConfig",
    "GetFunctionUrlConfig",
    "ListFunctions",
    "GetPolicy",
    "ListAliases",
    "ListEventSourceMappings",
    "GetEventSourceMapping",
    "ListTags",
    "GetRole",
    "GetResources",
    "SimulatePrincipalPolicy",
    "DescribeLogGroups",
    "DescribeLogStreams",
    "ListTagsForResource",
    "GetQueueAttributes",
    "GetQueueUrl",
    "ListQueueTags",
    "ListQueues",
    "ListRoles",
];

/// A change by another actor, made right before a write (the first is 1), or at once.
pub(super) struct Deed {
    pub(super) before: Option<usize>,
    /// `table acme-todos`, `function …`, `mapping UUID`.
    pub(super) whom: String,
    pub(super) tagged: Tagged,
    pub(super) reborn: bool,
}

/// The facts that decide which writes a run may make.
pub(super) struct Rules {
    pub(super) us: &'static str,
    pub(super) aim: Aim,
    pub(super) yes: bool,
    pub(super) assume_owner: bool,
    pub(super) denied: Denied,
    /// `table acme-todos`, and whether engine may adopt it without confirmation.
    pub(super) declared: BTreeMap<String, bool>,
    pub(super) imported: Vec<String>,
    /// The imported functions and the own tables that the spec's mappings connect.
    pub(super) shared: BTreeSet<(String, String)>,
}

/// The result: counts, violations and writes.
#[derive(Debug, Default)]
pub(super) struct RunVerdict {
    pub(super) n_writes: usize,
    pub(super) n_deeds: usize,
    pub(super) wrongs: Vec<String>,
    pub(super) writes: Vec<String>,
}

pub(super) struct Judge {
    rules: Rules,
    deeds: Vec<Deed>,
    /// Resources that changed owners so recently that engine can't have seen it.
    unseen: BTreeSet<String>,
    /// Resources that changed owners since the plan. Only the plan checks the owner of the
    /// function that a mapping is attached to: a mapping with this stack's tags is owned by it.
    changed: BTreeSet<String>,
    /// Functions that this run has read before they changed owners and since its last write to
    /// them or their policy; `created` has those that it created. These writes form one queue, and
    /// each needs its own read: a read before another step's write doesn't count.
    freshly_read: BTreeSet<String>,
    created: BTreeSet<String>,
    /// The function whose write queue the current call belongs to.
    queue: Option<String>,
    /// What the current call must not change.
    held: BTreeMap<String, (String, String)>,
    verdict: Arc<Mutex<RunVerdict>>,
}

enum TagOwner {
    ThisStack,
    Unowned,
    Other(String),
}

fn owner_of(tags: &Tags, us: &str) -> TagOwner {
    if let Some(stack) = tags.get("aws:cloudformation:stack-name") {
        return TagOwner::Other(format!("CloudFormation's {stack}"));
    }
    let marks = ["engine:team", "engine:stack", "engine:resource"].map(|key| tags.get(key).map(String::as_str));
    match marks {
        [None, None, None] => TagOwner::Unowned,
        [Some(team), Some(stack), _] if team == us && stack == STACK => TagOwner::ThisStack,
        other => TagOwner::Other(format!("{other:?}")),
    }
}

/// `acme-todos` for `acme`, but not `acmetodos` nor `acme`.
fn has_prefix(name: &str, us: &str) -> bool {
    let Some(rest) = name.strip_prefix(us) else { return false };
    matches!(rest.as_bytes().first(), Some(b'-' | b'_' | b'.'))
}

/// Everything in the account, as text.
pub(super) fn contents(world: &World) -> BTreeMap<String, String> {
    let mut all = BTreeMap::from([("roles".to_owned(), format!("{:?}", world.roles))]);
    all.extend(world.tables.iter().map(|(name, table)| (format!("table {name}"), table.bits())));
    all.extend(world.queues.iter().map(|(name, queue)| (format!("queue {name}"), queue.bits())));
    for (name, function) in &world.functions {
        all.insert(format!("function {name}"), function.bits());
        for statement in &function.policy {
            let id = statement["Sid"].as_str().unwrap();
            all.insert(format!("statement {name} {id}"), statement.to_string());
        }
    }
    let groups = world.log_groups.iter();
    all.extend(groups.map(|(name, group)| (format!("log_group {name}"), format!("{group:?}"))));
    all.extend(world.mappings.iter().map(|it| (format!("mapping {}", it.uuid), it.bits())));
    all
}

/// Writes to a function or its policy, which engine serializes.
const IN_LINE: [&str; 12] = [
    "UpdateFunctionCode",
    "UpdateFunctionConfiguration",
    "PutFunctionConcurrency",
    "DeleteFunctionConcurrency",
    "PutFunctionEventInvokeConfig",
    "DeleteFunctionEventInvokeConfig",
    "CreateFunctionUrlConfig",
    "UpdateFunctionUrlConfig",
    "DeleteFunctionUrlConfig",
    "DeleteFunction",
    "AddPermission",
    "RemovePermission",
];

/// The tags of engine.
const ENGINE_TAGS: [&str; 4] = ["engine:team", "engine:stack", "engine:resource", "engine:settings"];

/// Deletes of a setting alone.
const RESETS: [&str; 3] = ["DeleteFunctionConcurrency", "DeleteFunctionEventInvokeConfig", "DeleteFunctionUrlConfig"];

/// The function whose write queue this call belongs to.
fn queue(call: &Call, world: &World) -> Option<String> {
    let name = call.about.rsplit([':', '/']).next().unwrap();
    let in_line = match call.operation {
        operation if IN_LINE.contains(&operation) => true,
        "TagResource" | "UntagResource" => !world.mappings.iter().any(|it| it.uuid == name),
        _ => false,
    };
    in_line.then(|| format!("function {name}"))
}

impl Judge {
    pub(super) fn new(rules: Rules, deeds: Vec<Deed>) -> (Judge, Arc<Mutex<RunVerdict>>) {
        let verdict = Arc::new(Mutex::new(RunVerdict::default()));
        let judge = Judge {
            rules,
            deeds,
            unseen: BTreeSet::new(),
            changed: BTreeSet::new(),
            freshly_read: BTreeSet::new(),
            created: BTreeSet::new(),
            queue: None,
            held: BTreeMap::new(),
            verdict: Arc::clone(&verdict),
        };
        (judge, verdict)
    }

    /// Whether the current call's sender can't know that a resource has changed owners.
    fn is_unseen(&self, key: &str) -> bool {
        let in_its_queue = self.queue.as_deref() == Some(key);
        self.unseen.contains(key) && (!in_its_queue || self.freshly_read.contains(key) || self.created.contains(key))
    }

    /// Why a resource must not change right now.
    pub(super) fn barred(&self, world: &World, key: &str) -> Option<String> {
        let Rules { us, aim, declared, imported, denied, .. } = &self.rules;
        let (kind, name) = key.split_once(' ').unwrap_or((key, ""));
        if self.is_unseen(key) {
            return None;
        }
        if imported.iter().any(|it| it == key) {
            return Some("it is imported".to_owned());
        }
        let is_declared = *aim == Aim::Apply && declared.contains_key(key);
        let may_adopt = is_declared && (self.rules.yes || declared.get(key) == Some(&true));
        match kind {
            "table" | "function" | "queue" => {
                if !has_prefix(name, us) {
                    return Some(format!("its name doesn't start with {us}"));
                }
                let tags = match kind {
                    "table" => world.tables.get(name).map(|it| &it.tags),
                    "queue" => world.queues.get(name).map(|it| &it.tags),
                    _ => world.functions.get(name).map(|it| &it.tags),
                };
                let unreadable = match kind {
                    "table" => denied.tables,
                    "queue" => denied.queues,
                    _ => denied.functions,
                };
                match owner_of(tags?, us) {
                    TagOwner::ThisStack => None,
                    // The owner can't be determined, so only the name counts.
                    _ if unreadable && (is_declared || self.rules.assume_owner) => None,
                    TagOwner::Unowned if may_adopt => None,
                    TagOwner::Unowned => Some("it has no owner, and no spec was meant to adopt it".to_owned()),
                    TagOwner::Other(owner) => Some(format!("it belongs to {owner}")),
                }
            }
            "log_group" => {
                if !has_prefix(name.rsplit('/').next().unwrap(), us) {
                    return Some(format!("its name doesn't start with {us}"));
                }
                match owner_of(&world.log_groups.get(name)?.tags, us) {
                    TagOwner::ThisStack => None,
                    TagOwner::Unowned => Some("it has no owner".to_owned()),
                    TagOwner::Other(owner) => Some(format!("it belongs to {owner}")),
                }
            }
            "mapping" => {
                let mapping = world.mappings.iter().find(|it| it.uuid == name)?;
                let source = mapping.shown["EventSourceArn"].as_str().unwrap();
                let is_shared = self.is_shared(&mapping.function, source);
                let parent = mapping.function.split(':').next().unwrap();
                let why = if is_shared { self.barred_import(world, parent) } else { self.barred_parent(world, parent) };
                if let Some(why) = why {
                    return Some(why);
                }
                let function = format!("function {}", mapping.function);
                let host = if !is_shared {
                    self.barred(world, &function)
                } else {
                    (*aim != Aim::Apply).then(|| "it is imported".to_owned())
                };
                match owner_of(&mapping.tags, us) {
                    TagOwner::ThisStack => None,
                    _ if denied.mappings && (host.is_none() || self.rules.assume_owner) => None,
                    TagOwner::Unowned => host.map(|why| format!("it has no owner, and of its function: {why}")),
                    TagOwner::Other(owner) => Some(format!("it belongs to {owner}")),
                }
            }
            "statement" => {
                let (function, id) = name.split_once(' ').unwrap();
                let host = self.barred(world, &format!("function {function}"));
                host.or_else(|| (!has_prefix(id, us)).then(|| format!("its name doesn't start with {us}")))
            }
            _ => Some("it is nobody's business".to_owned()),
        }
    }

    /// Whether the spec has a mapping of this source on an imported function.
    fn is_shared(&self, function: &str, source: &str) -> bool {
        let table = source.split('/').nth(1).unwrap_or_default();
        self.rules.shared.contains(&(function.to_owned(), table.to_owned()))
    }

    /// Why such a mapping must not change: another team owns the function, or may do so.
    fn barred_import(&self, world: &World, name: &str) -> Option<String> {
        let key = format!("function {name}");
        if self.is_unseen(&key) || self.changed.contains(&key) {
            return None;
        }
        if self.rules.denied.functions {
            return Some(format!("the tags of {key} can't be read"));
        }
        let tags = &world.functions.get(name)?.tags;
        let team = tags.get("engine:team").filter(|_| !tags.contains_key("aws:cloudformation:stack-name"));
        let other = team.filter(|team| !team.is_empty() && *team != self.rules.us);
        other.map(|team| format!("{key} belongs to {team}"))
    }

    /// Why resources attached to a function must not change, whatever tags they have.
    fn barred_parent(&self, world: &World, name: &str) -> Option<String> {
        let Rules { us, imported, denied, .. } = &self.rules;
        let key = format!("function {name}");
        if self.is_unseen(&key) {
            return None;
        }
        if imported.contains(&key) || !has_prefix(name, us) {
            return Some(format!("{key}, to which it is attached, is imported or not of {us}"));
        }
        if self.changed.contains(&key) {
            return None;
        }
        let tags = &world.functions.get(name).filter(|_| !denied.functions)?.tags;
        let is_ours = tags.get("engine:team").is_some_and(|team| team == us);
        let is_stacked = tags.contains_key("aws:cloudformation:stack-name");
        match owner_of(tags, us) {
            TagOwner::Other(owner) if is_stacked || !is_ours => {
                Some(format!("{key}, to which it is attached: {owner}"))
            }
            _ => None,
        }
    }

    fn wrong(&self, call: &Call, why: &str) {
        let wrong = format!("{} {}: {why}", call.operation, call.about);
        self.verdict.lock().unwrap().wrongs.push(wrong);
    }

    /// Checks whether a write may be sent at all, whatever AWS's response would be.
    fn judge(&self, call: &Call, world: &World) {
        let Rules { us, aim, declared, imported, denied, assume_owner, .. } = &self.rules;
        let operation = call.operation;
        if ["DeleteLogGroup", "UntagLogGroup"].contains(&operation) {
            let why = self.barred(world, &format!("log_group {}", call.about));
            return why.into_iter().for_each(|why| self.wrong(call, &why));
        }
        let name = call.about.rsplit([':', '/']).next().unwrap();
        let fits = match aim {
            Aim::Apply => true,
            Aim::Destroy | Aim::DestroyBare => {
                (operation.starts_with("Delete") && !RESETS.contains(&operation))
                    || ["RemovePermission", "UntagQueue", "UntagTable", "UntagResource"].contains(&operation)
            }
            Aim::Release => ["UntagQueue", "UntagTable", "UntagResource"].contains(&operation),
        };
        if !fits {
            self.wrong(call, &format!("no part of {aim:?}"));
        }
        let (kind, is_create) = match operation {
            "CreateTable" => ("table", true),
            "UpdateTable"
            | "UpdateTimeToLive"
            | "UpdateContinuousBackups"
            | "DeleteTable"
            | "TagTable"
            | "UntagTable" => ("table", false),
            "CreateFunction" => ("function", true),
            "CreateQueue" => ("queue", true),
            "DeleteQueue" | "SetQueueAttributes" | "TagQueue" | "UntagQueue" => ("queue", false),
            "TagResource" | "UntagResource" if world.mappings.iter().any(|it| it.uuid == name) => ("mapping", false),
            "UpdateEventSourceMapping" | "DeleteEventSourceMapping" => ("mapping", false),
            "CreateEventSourceMapping" | "TagResource" | "UntagResource" => ("function", false),
            operation if IN_LINE.contains(&operation) => ("function", false),
            _ => return self.wrong(call, "not a call that the engine has any reason to make"),
        };
        let key = format!("{kind} {name}");
        let source = call.body["EventSourceArn"].as_str().unwrap_or_default();
        if operation == "CreateEventSourceMapping" && self.is_shared(name, source) {
            if let Some(why) = self.barred_import(world, name) {
                self.wrong(call, &why);
            }
            return;
        }
        if kind != "mapping" && !has_prefix(name, us) {
            self.wrong(call, "not a name of ours");
        }
        if imported.contains(&key) {
            self.wrong(call, "imported");
        }
        if is_create && !declared.contains_key(&key) {
            self.wrong(call, "nobody declares it");
        }
        if let Some(why) = self.barred(world, &key) {
            self.wrong(call, &why);
        }
        let unreadable = match kind {
            "table" => denied.tables,
            "function" => denied.functions,
            "queue" => denied.queues,
            _ => denied.mappings,
        };
        let of_function = ["AddPermission", "RemovePermission", "CreateEventSourceMapping"];
        let claims = operation.starts_with("Delete") || operation.starts_with("Tag") || operation.starts_with("Untag");
        if unreadable && !assume_owner && claims && !of_function.contains(&operation) && !RESETS.contains(&operation) {
            // An untagged mapping is deleted with its function, but these tags can't be read.
            self.wrong(call, "its tags may not be read, and nobody vouched for it");
        }
        if operation == "DeleteFunction" {
            for mapping in world.mappings.iter().filter(|it| it.function == name && !it.is_leaving()) {
                let key = format!("mapping {}", mapping.uuid);
                let is_other = matches!(owner_of(&mapping.tags, us), TagOwner::Other(_));
                if is_other && !self.unseen.contains(&key) && !(denied.mappings && *assume_owner) {
                    self.wrong(call, &format!("{key} of somebody else hangs on it"));
                }
            }
        }
        let id = call.body["StatementId"].as_str().or_else(|| call.query.get("StatementId").map(String::as_str));
        if operation.ends_with("Permission") && !id.is_some_and(|id| has_prefix(id, us)) {
            self.wrong(call, &format!("not a statement of ours: {id:?}"));
        }
        // SQS spells it differently in one of its operations.
        let tags = if operation == "CreateQueue" { &call.body["tags"] } else { &call.body["Tags"] };
        let tags = match tags {
            serde_json::Value::Array(list) => {
                let text = |json: &serde_json::Value| json.as_str().unwrap().to_owned();
                list.iter().map(|tag| (text(&tag["Key"]), text(&tag["Value"]))).collect()
            }
            tags => serde_json::from_value::<Tags>(tags.clone()).unwrap_or_default(),
        };
        let brings = [
            "CreateTable",
            "CreateFunction",
            "CreateEventSourceMapping",
            "CreateQueue",
            "TagQueue",
            "TagTable",
            "TagResource",
        ];
        if brings.contains(&operation) && !matches!(owner_of(&tags, us), TagOwner::ThisStack) {
            self.wrong(call, "it is not tagged as ours");
        }
        let taken: Vec<String> = match (call.body["TagKeys"].as_array(), call.query.get("tagKeys")) {
            (Some(keys), _) => keys.iter().map(|key| key.as_str().unwrap().to_owned()).collect(),
            (None, keys) => keys.into_iter().flat_map(|keys| keys.lines()).map(str::to_owned).collect(),
        };
        if taken.iter().any(|key| !ENGINE_TAGS.contains(&key.as_str())) {
            self.wrong(call, "it takes off what is not the engine's");
        }
    }

    /// Makes the other actor's changes that are due before this write.
    pub(super) fn change_outside(&mut self, world: &mut World, write: Option<usize>) {
        let due: Vec<Deed> = self.deeds.extract_if(.., |deed| deed.before == write).collect();
        for Deed { before, whom, tagged, reborn } in due {
            let (kind, name) = whom.split_once(' ').unwrap();
            let tags = tagged.tags(self.rules.us, name);
            let slot = match kind {
                "table" => world.tables.get_mut(name).map(|table| {
                    if reborn {
                        table.reincarnate();
                    }
                    &mut table.tags
                }),
                "function" => world.functions.get_mut(name).map(|function| &mut function.tags),
                "queue" => world.queues.get_mut(name).map(|queue| {
                    if reborn {
                        queue.reincarnate();
                    }
                    &mut queue.tags
                }),
                _ => world.mappings.iter_mut().find(|it| it.uuid == name).map(|it| &mut it.tags),
            };
            let Some(slot) = slot else { continue };
            *slot = tags;
            self.verdict.lock().unwrap().n_deeds += 1;
            self.changed.insert(whom.clone());
            // engine can't see a change made right before a write, but can see one made right after
            // the plan.
            if before.is_some() {
                self.unseen.insert(whom);
            }
        }
    }
}

impl Witness for Judge {
    fn before(&mut self, call: &Call, world: &mut World) {
        if READS.contains(&call.operation) || call.operation == "GetCallerIdentity" {
            return;
        }
        let count = {
            let mut verdict = self.verdict.lock().unwrap();
            verdict.n_writes += 1;
            verdict.writes.push(format!("{} {}", call.operation, call.about));
            verdict.n_writes
        };
        self.change_outside(world, Some(count));
        self.queue = queue(call, world);
        self.judge(call, world);
        let mut held = BTreeMap::new();
        for (key, bits) in contents(world) {
            if let Some(why) = self.barred(world, &key) {
                // Deleting a function deletes its policy.
                let goes = format!("statement {} ", call.about);
                if call.operation != "DeleteFunction" || !key.starts_with(&goes) {
                    held.insert(key, (bits, why));
                }
            }
        }
        self.held = held;
    }

    fn after(&mut self, call: &Call, world: &World, status: u16) {
        let name = call.about.rsplit([':', '/']).next().unwrap();
        if (200..300).contains(&status) {
            match call.operation {
                "ListQueueTags" => drop(self.unseen.remove(&format!("queue {name}"))),
                "ListTagsOfResource" => drop(self.unseen.remove(&format!("table {name}"))),
                "ListTags" => drop(self.unseen.remove(&format!("mapping {name}"))),
                "GetFunction" => {
                    let key = format!("function {name}");
                    if !self.unseen.contains(&key) {
                        self.freshly_read.insert(key);
                    }
                }
                "CreateFunction" => drop(self.created.insert(format!("function {name}"))),
                _ => {}
            }
        }
        if let Some(queue) = self.queue.take().filter(|_| (200..300).contains(&status)) {
            self.freshly_read.remove(&queue);
        }
        if READS.contains(&call.operation) {
            return;
        }
        let now = contents(world);
        for (key, (bits, why)) in std::mem::take(&mut self.held) {
            if now.get(&key) != Some(&bits) {
                self.wrong(call, &format!("changed {key} ({why})\n  from {bits}\n  to {:?}", now.get(&key)));
            }
        }
    }
}
