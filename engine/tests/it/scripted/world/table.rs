//! The tables of the scripted account, with their indexes, streams and settings.
//!
//! Each UpdateTable has one concern and must change something: AWS refuses most combinations, the
//! model refuses all.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};

use super::{ACCOUNT, Call, Passing, REGION, Reply, Tags, World};

/// How often AWS reports that a new table's backups aren't available yet.
const BACKUPS_LAG: u32 = 2;
/// An index is being filled or emptied; the table itself is ACTIVE.
const INDEXING: &str = "INDEXING";
/// The table's encryption changes; the table itself is ACTIVE.
const ENCRYPTING: &str = "ENCRYPTING";
/// The table's warm throughput rises; the table itself is ACTIVE.
const WARMING: &str = "WARMING";

#[derive(Debug, Clone)]
pub(in super::super) struct Table {
    id: String,
    /// What reads show.
    pub(in super::super) shown: Json,
    /// What reads show while a change is in progress, where that differs.
    meanwhile: Option<Json>,
    /// What reads show once the change in progress is done.
    next: Option<Json>,
    /// How many reads don't show the change yet.
    stale: u32,
    pub(super) passing: Option<Passing>,
    pub(in super::super) tags: Tags,
    pub(in super::super) items: u32,
    /// How many items AWS counted last.
    pub(in super::super) counted: u32,
    created: f64,
    tag_lag: u32,
    deleted: bool,
    /// The attribute of its time to live.
    pub(in super::super) ttl: Option<String>,
    /// Whether the time to live was switched within the last hour.
    ttl_is_fresh: bool,
    /// The days of its recovery period; `None`: recovery is off.
    pub(in super::super) recovery: Option<u64>,
    backups_lag: u32,
}

/// The model's name for a DynamoDB operation.
pub(super) fn operation(target: &str) -> &'static str {
    match target {
        "DescribeTable" => "DescribeTable",
        "DescribeTimeToLive" => "DescribeTimeToLive",
        "DescribeContinuousBackups" => "DescribeContinuousBackups",
        "ListTables" => "ListTables",
        "ListTagsOfResource" => "ListTagsOfResource",
        "Scan" => "Scan",
        "PutItem" => "PutItem",
        "UpdateItem" => "UpdateItem",
        "DeleteItem" => "DeleteItem",
        "CreateTable" => "CreateTable",
        "UpdateTable" => "UpdateTable",
        "UpdateTimeToLive" => "UpdateTimeToLive",
        "UpdateContinuousBackups" => "UpdateContinuousBackups",
        "DeleteTable" => "DeleteTable",
        // Lambda has operations with these names, too.
        "TagResource" => "TagTable",
        "UntagResource" => "UntagTable",
        _ => "?",
    }
}

fn invalid<T>(text: &str) -> Result<T, Reply> {
    Err(Reply::dynamodb("ValidationException", text))
}

impl World {
    /// Executes a call about tables; `None` for any other call.
    pub(super) fn table_call(&mut self, call: &Call) -> Option<Result<Reply, Reply>> {
        Some(match call.operation {
            "DescribeTable" => self.describe_table(&call.about),
            "DescribeTimeToLive" => self.describe_ttl(&call.about),
            "DescribeContinuousBackups" => self.describe_backups(&call.about),
            "ListTables" => self.list_tables(&call.body),
            "ListTagsOfResource" => self.table_tags(&call.about),
            "Scan" => self.scan(&call.about),
            "PutItem" | "UpdateItem" | "DeleteItem" => self.table(&call.about).map(|_| Reply::ok(&json!({}))),
            "CreateTable" => self.create_table(&call.about, &call.body),
            "UpdateTable" => self.update_table(&call.about, &call.body),
            "UpdateTimeToLive" => self.update_ttl(&call.about, &call.body["TimeToLiveSpecification"]),
            "UpdateContinuousBackups" => self.update_backups(&call.about, &call.body),
            "DeleteTable" => self.delete_table(&call.about),
            "TagTable" => self.tag_table(&call.about, &call.body),
            "UntagTable" => self.untag_table(&call.about, &call.body),
            _ => return None,
        })
    }

    /// An old, empty table without tags.
    pub(in super::super) fn one_table() -> Table {
        let mut world = World::empty();
        let body = json!({
            "AttributeDefinitions": [{ "AttributeName": "id", "AttributeType": "S" }],
            "KeySchema": [{ "AttributeName": "id", "KeyType": "HASH" }],
            "BillingMode": "PAY_PER_REQUEST",
        });
        world.create_table("any", &body).unwrap();
        let mut table = world.tables.remove("any").unwrap();
        table.passing = None;
        table.age();
        table
    }

    fn table(&mut self, name: &str) -> Result<&mut Table, Reply> {
        let missing = format!("Requested resource not found: Table: {name} not found");
        self.tables.get_mut(name).ok_or_else(|| Reply::dynamodb("ResourceNotFoundException", &missing))
    }

    fn describe_table(&mut self, name: &str) -> Result<Reply, Reply> {
        let table = self.table(name)?;
        let mut status = "ACTIVE";
        let mut is_stale = false;
        if table.stale > 0 {
            table.stale -= 1;
            is_stale = true;
        } else if let Some(word) = table.next_state() {
            status = word;
        }
        if table.deleted {
            self.tables.remove(name);
        }
        let table = self.table(name)?;
        let shown = if is_stale { &table.shown } else { table.meanwhile.as_ref().unwrap_or(&table.shown) };
        Ok(Reply::json(200, &json!({ "Table": table.describe(shown, name, status) })))
    }

    fn list_tables(&mut self, body: &Json) -> Result<Reply, Reply> {
        let start = body["ExclusiveStartTableName"].as_str().unwrap_or_default();
        // A page may be empty and still have a next page.
        if self.small_pages && start.is_empty() {
            return Ok(Reply::ok(&json!({ "TableNames": [], "LastEvaluatedTableName": "!" })));
        }
        let limit = if self.small_pages { 1 } else { 100 };
        let rest: Vec<&String> = self.tables.keys().filter(|name| name.as_str() > start).collect();
        let page = &rest[..rest.len().min(limit)];
        let mut answer = json!({ "TableNames": page });
        if page.len() < rest.len() {
            answer["LastEvaluatedTableName"] = json!(page.last().unwrap());
        }
        Ok(Reply::ok(&answer))
    }

    fn table_tags(&mut self, name: &str) -> Result<Reply, Reply> {
        let missing = format!("Requested resource not found: ResourcArn: {} not found", arn(name));
        let missing = Reply::dynamodb("ResourceNotFoundException", &missing);
        let table = self.tables.get_mut(name).ok_or_else(|| missing.clone())?;
        match &table.passing {
            Some(passing) if ["CREATING", "DELETING"].contains(&passing.words[0]) => Err(missing),
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
            return invalid("One or more parameter values were invalid: ReadCapacityUnits and WriteCapacityUnits");
        }
        let mut shown = json!({
            "AttributeDefinitions": body["AttributeDefinitions"],
            "KeySchema": body["KeySchema"],
            "ProvisionedThroughput": throughput(if on_demand { &Json::Null } else { &body["ProvisionedThroughput"] }),
            "DeletionProtectionEnabled": body["DeletionProtectionEnabled"] == true,
        });
        if on_demand {
            shown["BillingModeSummary"] = json!({ "BillingMode": "PAY_PER_REQUEST" });
        }
        let (reads, writes) = if on_demand { (12_000, 4_000) } else { (1, 1) };
        shown["WarmThroughput"] =
            json!({ "ReadUnitsPerSecond": reads, "WriteUnitsPerSecond": writes, "Status": "ACTIVE" });
        if body["WarmThroughput"].is_object() {
            warm(&mut shown, &body["WarmThroughput"])?;
        }
        limit(&mut shown, &body["OnDemandThroughput"], on_demand)?;
        for kind in ["GlobalSecondaryIndexes", "LocalSecondaryIndexes"] {
            let Some(indexes) = body[kind].as_array() else { continue };
            if indexes.is_empty() {
                return invalid(&format!("One or more parameter values were invalid: List of {kind} is empty"));
            }
            if kind.starts_with("Local") && body["KeySchema"].as_array().unwrap().len() < 2 {
                return invalid("One or more parameter values were invalid: Table KeySchema does not have a range key");
            }
            let mut described = Vec::new();
            for index in indexes {
                described.push(index_of(name, index, on_demand, kind.starts_with("Global"))?);
            }
            described.sort_by_key(|index| index["IndexName"].to_string());
            shown[kind] = json!(described);
        }
        exact_definitions(&shown)?;
        let id = self.id();
        if body["StreamSpecification"]["StreamEnabled"] == true {
            enable_stream(&mut shown, name, &body["StreamSpecification"], id);
        }
        if body["TableClass"] == "STANDARD_INFREQUENT_ACCESS" {
            shown["TableClassSummary"] = json!({ "TableClass": body["TableClass"] });
        }
        if body["SSESpecification"]["Enabled"] == true {
            shown["SSEDescription"] = encryption("ENABLED", &key(&body["SSESpecification"]));
        }
        let table = Table {
            id: format!("table-{id}"),
            meanwhile: shown["GlobalSecondaryIndexes"].is_array().then(|| with_status(&shown, "CREATING")),
            shown,
            next: None,
            stale: 0,
            passing: Some(Passing::through(&["CREATING"])),
            tags: tag_list(&body["Tags"]),
            items: 0,
            counted: 0,
            created: now(),
            tag_lag: self.tag_lag,
            deleted: false,
            ttl: None,
            ttl_is_fresh: false,
            recovery: None,
            backups_lag: BACKUPS_LAG,
        };
        let answer = json!({ "TableDescription": table.describe(&table.shown, name, "CREATING") });
        self.tables.insert(name.to_owned(), table);
        Ok(Reply::json(200, &answer))
    }

    pub(in super::super) fn update_table(&mut self, name: &str, body: &Json) -> Result<Reply, Reply> {
        let id = self.id();
        let table = self.table(name)?;
        table.quiet(name)?;
        let updates: Vec<&Json> = body["GlobalSecondaryIndexUpdates"].as_array().into_iter().flatten().collect();
        let (of_maximum, updates): (Vec<&Json>, Vec<&Json>) =
            updates.iter().copied().partition(|it| it["Update"]["OnDemandThroughput"].is_object());
        let (of_capacity, of_indexes): (Vec<&Json>, Vec<&Json>) =
            updates.iter().copied().partition(|update| update["Update"].is_object());
        let capacity =
            body["ProvisionedThroughput"].is_object() || body["BillingMode"].is_string() || !of_capacity.is_empty();
        let stream = &body["StreamSpecification"];
        if stream.is_object() && capacity {
            return invalid("You cannot modify stream status while updating table IOPS");
        }
        let concerns = [
            body["DeletionProtectionEnabled"].is_boolean(),
            body["SSESpecification"].is_object(),
            body["TableClass"].is_string(),
            stream.is_object(),
            capacity,
            !of_indexes.is_empty(),
            body["OnDemandThroughput"].is_object(),
            !of_maximum.is_empty(),
            body["WarmThroughput"].is_object(),
        ];
        match concerns.iter().filter(|concern| **concern).count() {
            0 => return invalid("At least one of the parameters is required"),
            1 => {}
            _ => return invalid("This operation must be the only operation in the request"),
        }
        if of_indexes.len() > 1 {
            return Err(one_index_at_a_time());
        }
        if body["AttributeDefinitions"].is_array() && of_indexes.iter().all(|it| !it["Create"].is_object()) {
            return invalid("One or more parameter values were invalid: Some AttributeDefinitions are not used");
        }
        let (mut next, mut meanwhile, mut words) = (table.shown.clone(), None, vec!["UPDATING"]);
        if let Some(on) = body["DeletionProtectionEnabled"].as_bool() {
            // It takes effect immediately, and repeating it is fine.
            table.shown["DeletionProtectionEnabled"] = json!(on);
            return Ok(Reply::ok(&json!({ "TableDescription": table.describe(&table.shown, name, "ACTIVE") })));
        }
        if body["OnDemandThroughput"].is_object() || !of_maximum.is_empty() {
            // It takes effect immediately.
            let on_demand = table.shown["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST";
            limit(&mut table.shown, &body["OnDemandThroughput"], on_demand)?;
            for update in of_maximum.iter().map(|it| &it["Update"]) {
                let mut indexes = table.shown["GlobalSecondaryIndexes"].as_array_mut().into_iter().flatten();
                let index = indexes.find(|it| it["IndexName"] == update["IndexName"]).unwrap();
                limit(index, &update["OnDemandThroughput"], on_demand)?;
            }
            return Ok(Reply::ok(&json!({ "TableDescription": table.describe(&table.shown, name, "ACTIVE") })));
        }
        if body["WarmThroughput"].is_object() {
            words = vec![WARMING; 2];
            warm(&mut next, &body["WarmThroughput"])?;
            let mut rising = table.shown.clone();
            rising["WarmThroughput"]["Status"] = json!("UPDATING");
            meanwhile = Some(rising);
        } else if body["SSESpecification"].is_object() {
            words = vec![ENCRYPTING; 2];
            meanwhile = Some(encrypted(&mut next, &body["SSESpecification"])?);
        } else if body["TableClass"].is_string() {
            let old = table.shown["TableClassSummary"]["TableClass"].as_str().unwrap_or("STANDARD");
            if body["TableClass"] == old {
                return invalid("The table class will not change");
            }
            next["TableClassSummary"] = json!({ "TableClass": body["TableClass"] });
        } else if let Some(on) = stream["StreamEnabled"].as_bool() {
            match (on, table.shown["StreamSpecification"].is_object()) {
                (true, true) => return invalid(&format!("Table already has an enabled stream: TableName: {name}")),
                (false, false) => return invalid(&format!("Table has no stream to disable: TableName: {name}")),
                (true, false) => enable_stream(&mut next, name, stream, id),
                // The old ARN remains, but has no meaning.
                (false, true) => drop(next.as_object_mut().unwrap().remove("StreamSpecification")),
            }
        } else if capacity {
            change_capacity(&mut next, body, &of_capacity)?;
        } else {
            // Longer than a client would poll that takes ACTIVE for done.
            words.extend([INDEXING; 2]);
            meanwhile = Some(change_index(&mut next, name, body, of_indexes[0])?);
        }
        // Enabling returns the new stream immediately; everything else is returned as it was.
        let mut echo = table.describe(&table.shown, name, "UPDATING");
        if stream["StreamEnabled"] == true {
            echo["LatestStreamArn"] = next["LatestStreamArn"].clone();
        }
        table.next = Some(next);
        table.meanwhile = meanwhile;
        table.stale = 1;
        table.passing = Some(Passing::through(&words));
        Ok(Reply::json(200, &json!({ "TableDescription": echo })))
    }

    /// Another writer's change, completed a while ago.
    pub(in super::super) fn have_changed(&mut self, name: &str, body: &Json) {
        self.update_table(name, body).unwrap();
        let table = self.tables.get_mut(name).unwrap();
        while table.next_state().is_some() {}
        table.catch_up();
    }

    fn describe_ttl(&mut self, name: &str) -> Result<Reply, Reply> {
        let table = self.table(name)?;
        let ttl = match &table.ttl {
            // ENABLING lasts up to an hour, and engine doesn't wait for it.
            Some(attribute) => json!({ "TimeToLiveStatus": "ENABLING", "AttributeName": attribute }),
            None if table.ttl_is_fresh => json!({ "TimeToLiveStatus": "DISABLING", "AttributeName": "old" }),
            None => json!({ "TimeToLiveStatus": "DISABLED" }),
        };
        Ok(Reply::ok(&json!({ "TimeToLiveDescription": ttl })))
    }

    fn update_ttl(&mut self, name: &str, wanted: &Json) -> Result<Reply, Reply> {
        let table = self.table(name)?;
        table.quiet(name)?;
        let attribute = wanted["AttributeName"].as_str().unwrap();
        match (wanted["Enabled"].as_bool().unwrap(), &table.ttl) {
            (true, Some(old)) if old == attribute => return invalid("TimeToLive is already enabled"),
            (false, None) => return invalid("TimeToLive is already disabled"),
            (_, Some(old)) if old != attribute => {
                let text = format!("TimeToLive is active on a different AttributeName: current AttributeName is {old}");
                return invalid(&text);
            }
            _ if table.ttl_is_fresh => {
                return invalid("Time to live has been modified multiple times within a fixed interval");
            }
            (on, _) => table.ttl = on.then(|| attribute.to_owned()),
        }
        table.ttl_is_fresh = true;
        Ok(Reply::ok(&json!({ "TimeToLiveSpecification": wanted })))
    }

    fn describe_backups(&mut self, name: &str) -> Result<Reply, Reply> {
        let missing = Reply::dynamodb("TableNotFoundException", &format!("Table not found: {name}"));
        let table = self.tables.get(name).ok_or(missing)?;
        let recovery = match table.recovery {
            Some(days) => json!({ "PointInTimeRecoveryStatus": "ENABLED", "RecoveryPeriodInDays": days }),
            None => json!({ "PointInTimeRecoveryStatus": "DISABLED" }),
        };
        let backups = json!({ "ContinuousBackupsStatus": "ENABLED", "PointInTimeRecoveryDescription": recovery });
        Ok(Reply::ok(&json!({ "ContinuousBackupsDescription": backups })))
    }

    fn update_backups(&mut self, name: &str, body: &Json) -> Result<Reply, Reply> {
        let table = self.table(name)?;
        table.quiet(name)?;
        if table.backups_lag > 0 {
            table.backups_lag -= 1;
            let text = "Backups are being enabled for the table: please retry later";
            return Err(Reply::dynamodb("ContinuousBackupsUnavailableException", text));
        }
        let wanted = &body["PointInTimeRecoverySpecification"];
        let on = wanted["PointInTimeRecoveryEnabled"] == true;
        if !on && wanted["RecoveryPeriodInDays"].is_u64() {
            return invalid("RecoveryPeriodInDays can only be given when point in time recovery is enabled");
        }
        table.recovery = on.then(|| wanted["RecoveryPeriodInDays"].as_u64().unwrap_or(35));
        Ok(Reply::ok(&json!({})))
    }

    pub(in super::super) fn delete_table(&mut self, name: &str) -> Result<Reply, Reply> {
        let table = self.table(name)?;
        if table.shown["DeletionProtectionEnabled"] == true {
            return invalid(
                "Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection first.",
            );
        }
        table.quiet(name)?;
        table.passing = Some(Passing::through(&["DELETING"]));
        let answer = json!({ "TableDescription": table.describe(&table.shown, name, "DELETING") });
        Ok(Reply::json(200, &answer))
    }

    fn tag_table(&mut self, name: &str, body: &Json) -> Result<Reply, Reply> {
        let table = self.table(name)?;
        table.quiet(name)?;
        table.tags.extend(tag_list(&body["Tags"]));
        Ok(Reply::json(200, &json!({})))
    }

    fn untag_table(&mut self, name: &str, body: &Json) -> Result<Reply, Reply> {
        let table = self.table(name)?;
        table.quiet(name)?;
        for key in body["TagKeys"].as_array().unwrap() {
            table.tags.remove(key.as_str().unwrap());
        }
        Ok(Reply::json(200, &json!({})))
    }
}

impl Table {
    /// Everything that only a write changes.
    pub(in super::super) fn bits(&self) -> String {
        let shown = self.next.as_ref().unwrap_or(&self.shown);
        let settings = (&self.tags, self.items, &self.ttl, self.recovery);
        format!("{} {shown} {settings:?} {}", self.id, self.is_leaving())
    }

    fn describe(&self, shown: &Json, name: &str, status: &str) -> Json {
        let mut shown = shown.clone();
        shown["TableName"] = json!(name);
        shown["TableArn"] = json!(arn(name));
        shown["TableId"] = json!(self.id);
        shown["TableStatus"] = json!(if [INDEXING, ENCRYPTING, WARMING].contains(&status) { "ACTIVE" } else { status });
        shown["CreationDateTime"] = json!(self.created);
        shown["ItemCount"] = json!(self.counted);
        shown["TableSizeBytes"] = json!(0);
        shown
    }

    /// From now on every read shows the change in progress.
    pub(in super::super) fn catch_up(&mut self) {
        self.stale = 0;
    }

    /// Counts one read of the change in progress; `None` once it is done.
    pub(in super::super) fn next_state(&mut self) -> Option<&'static str> {
        let passing = self.passing.as_mut()?;
        let deleting = passing.words == ["DELETING"];
        let word = passing.next_state();
        if word.is_none() {
            self.passing = None;
            self.meanwhile = None;
            self.deleted = deleting;
            if let Some(next) = self.next.take() {
                self.shown = next;
            }
        }
        word
    }

    /// Refuses a change while another one is in progress; each attempt counts as a read.
    fn quiet(&mut self, name: &str) -> Result<(), Reply> {
        if self.passing.as_ref().is_some_and(|passing| passing.words == ["DELETING"]) {
            let text = format!("Attempt to change a resource which is still in use: Table is being deleted: {name}");
            return Err(Reply::dynamodb("ResourceInUseException", &text));
        }
        let doing = match self.next_state() {
            None => return Ok(()),
            Some(INDEXING) => return Err(one_index_at_a_time()),
            Some("CREATING") => "created",
            Some(_) => "updated",
        };
        let text = format!("Attempt to change a resource which is still in use: Table is being {doing}: {name}");
        Err(Reply::dynamodb("ResourceInUseException", &text))
    }

    /// Whether it is ACTIVE while a change is in progress.
    pub(in super::super) fn is_active_and_busy(&self) -> bool {
        self.stale == 0
            && self.passing.as_ref().is_some_and(|it| [INDEXING, ENCRYPTING, WARMING].contains(&it.words[0]))
    }

    /// As if it had been deleted and re-created under the same name; its tags stay the same.
    pub(in super::super) fn reincarnate(&mut self) {
        self.id.push_str("-again");
    }

    pub(in super::super) fn is_leaving(&self) -> bool {
        self.deleted || self.passing.as_ref().is_some_and(|passing| passing.words == ["DELETING"])
    }

    /// As if it had just been created.
    pub(in super::super) fn make_creating(&mut self) {
        self.passing = Some(Passing::through(&["CREATING"]));
    }

    /// As if it had been created, and its settings changed, long ago.
    pub(in super::super) fn age(&mut self) {
        self.created = 1_700_000_000.0;
        self.ttl_is_fresh = false;
        self.backups_lag = 0;
    }
}

fn one_index_at_a_time() -> Reply {
    let text = "Subscriber limit exceeded: Only 1 online index can be created or deleted simultaneously per table";
    Reply::dynamodb("LimitExceededException", text)
}

/// An index as reads show it, built from a request.
fn index_of(table: &str, wanted: &Json, on_demand: bool, is_global: bool) -> Result<Json, Reply> {
    let name = wanted["IndexName"].as_str().unwrap();
    if is_global && on_demand == wanted["ProvisionedThroughput"].is_object() {
        return invalid(&format!("One or more parameter values were invalid: ProvisionedThroughput for index: {name}"));
    }
    let projection = &wanted["Projection"];
    if (projection["ProjectionType"] == "INCLUDE") != projection["NonKeyAttributes"].is_array() {
        return invalid("One or more parameter values were invalid: ProjectionType and NonKeyAttributes");
    }
    let mut index = json!({
        "IndexName": name,
        "IndexArn": format!("{}/index/{name}", arn(table)),
        "KeySchema": wanted["KeySchema"],
        "Projection": projection,
        "ItemCount": 0,
        "IndexSizeBytes": 0,
    });
    if is_global {
        index["IndexStatus"] = json!("ACTIVE");
        index["ProvisionedThroughput"] = throughput(&wanted["ProvisionedThroughput"]);
        limit(&mut index, &wanted["OnDemandThroughput"], on_demand)?;
    }
    Ok(index)
}

/// A description in which all global indexes have this status.
fn with_status(shown: &Json, status: &str) -> Json {
    let mut shown = shown.clone();
    for index in shown["GlobalSecondaryIndexes"].as_array_mut().unwrap() {
        index["IndexStatus"] = json!(status);
        index["Backfilling"] = json!(true);
    }
    shown
}

fn indexes(shown: &Json) -> impl Iterator<Item = &Json> {
    ["GlobalSecondaryIndexes", "LocalSecondaryIndexes"]
        .into_iter()
        .flat_map(|kind| shown[kind].as_array().into_iter().flatten())
}

/// Checks that each key attribute has a definition, and no other attribute has one.
fn exact_definitions(shown: &Json) -> Result<(), Reply> {
    let names = |list: &Json| -> BTreeSet<String> {
        list.as_array().unwrap().iter().map(|it| it["AttributeName"].as_str().unwrap().to_owned()).collect()
    };
    let used = indexes(shown).map(|index| names(&index["KeySchema"]));
    let used = used.fold(names(&shown["KeySchema"]), |all, some| &all | &some);
    if names(&shown["AttributeDefinitions"]) != used {
        return invalid("One or more parameter values were invalid: Some AttributeDefinitions are not used or missing");
    }
    Ok(())
}

/// Creates or deletes one index; returns what reads show until that is done.
fn change_index(next: &mut Json, table: &str, body: &Json, update: &Json) -> Result<Json, Reply> {
    let on_demand = next["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST";
    let mut all: BTreeMap<String, Json> = next["GlobalSecondaryIndexes"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|index| (index["IndexName"].as_str().unwrap().to_owned(), index.clone()))
        .collect();
    let (name, status) = match (update["Create"]["IndexName"].as_str(), update["Delete"]["IndexName"].as_str()) {
        (Some(name), _) if all.contains_key(name) => {
            return invalid("Attempting to create an index which already exists");
        }
        (Some(name), _) => {
            all.insert(name.to_owned(), index_of(table, &update["Create"], on_demand, true)?);
            next["AttributeDefinitions"] = body["AttributeDefinitions"].clone();
            (name, "CREATING")
        }
        (None, Some(name)) if all.contains_key(name) => (name, "DELETING"),
        (None, name) => {
            let text = format!("Requested resource not found: Index: {name:?} not found");
            return Err(Reply::dynamodb("ResourceNotFoundException", &text));
        }
    };
    let mut meanwhile = next.clone();
    let mut shown = all.clone();
    shown.get_mut(name).unwrap()["IndexStatus"] = json!(status);
    meanwhile["GlobalSecondaryIndexes"] = json!(shown.values().collect::<Vec<_>>());
    if status == "DELETING" {
        all.remove(name);
    }
    next["GlobalSecondaryIndexes"] = json!(all.values().collect::<Vec<_>>());
    if all.is_empty() {
        next.as_object_mut().unwrap().remove("GlobalSecondaryIndexes");
    }
    if status == "CREATING" {
        // Whether AWS removes a definition with the last index that uses it is unknown, so the
        // model keeps it.
        exact_definitions(next)?;
    }
    Ok(meanwhile)
}

fn change_capacity(next: &mut Json, body: &Json, of_indexes: &[&Json]) -> Result<(), Reply> {
    let was_on_demand = next["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST";
    let on_demand = body["BillingMode"].as_str().map_or(was_on_demand, |mode| mode == "PAY_PER_REQUEST");
    if body["BillingMode"].is_string() && on_demand == was_on_demand {
        return invalid("The billing mode will not change");
    }
    if on_demand && (body["ProvisionedThroughput"].is_object() || !of_indexes.is_empty()) {
        return invalid(
            "One or more parameter values were invalid: Neither ReadCapacityUnits nor WriteCapacityUnits can be \
             specified when BillingMode is PAY_PER_REQUEST",
        );
    }
    let switches = was_on_demand && !on_demand;
    if switches && !body["ProvisionedThroughput"].is_object() {
        return invalid("One or more parameter values were invalid: ProvisionedThroughput must be specified");
    }
    if switches {
        next.as_object_mut().unwrap().remove("OnDemandThroughput");
        for index in next["GlobalSecondaryIndexes"].as_array_mut().into_iter().flatten() {
            index.as_object_mut().unwrap().remove("OnDemandThroughput");
        }
    }
    if body["BillingMode"].is_string() {
        next["BillingModeSummary"] = json!({ "BillingMode": body["BillingMode"] });
    }
    let set = |slot: &mut Json, wanted: &Json| {
        let wanted = throughput(wanted);
        if *slot == wanted {
            return invalid(
                "The provisioned throughput for the table will not change. The requested value equals the current value.",
            );
        }
        *slot = wanted;
        Ok(())
    };
    if on_demand || body["ProvisionedThroughput"].is_object() {
        set(&mut next["ProvisionedThroughput"], &body["ProvisionedThroughput"])?;
    }
    for index in next["GlobalSecondaryIndexes"].as_array_mut().into_iter().flatten() {
        let update = of_indexes.iter().find(|it| it["Update"]["IndexName"] == index["IndexName"]);
        match update {
            Some(update) => {
                set(&mut index["ProvisionedThroughput"], &update["Update"]["ProvisionedThroughput"])?;
            }
            None if switches => {
                let name = &index["IndexName"];
                return invalid(&format!(
                    "One or more parameter values were invalid: ProvisionedThroughput must be specified for index: {name}"
                ));
            }
            None if on_demand => index["ProvisionedThroughput"] = throughput(&Json::Null),
            None => {}
        }
    }
    Ok(())
}

/// Sets the maximum in on-demand mode of a table or an index; -1 removes it.
fn limit(shown: &mut Json, wanted: &Json, on_demand: bool) -> Result<(), Reply> {
    if !wanted.is_object() {
        return Ok(());
    }
    if !on_demand {
        return invalid("One or more parameter values were invalid: OnDemandThroughput requires PAY_PER_REQUEST");
    }
    for field in ["MaxReadRequestUnits", "MaxWriteRequestUnits"] {
        match wanted[field].as_i64() {
            None => {}
            Some(units) if units == -1 || units > 0 => shown["OnDemandThroughput"][field] = json!(units),
            Some(units) => return invalid(&format!("1 validation error detected: Value '{units}' at '{field}'")),
        }
    }
    Ok(())
}

/// Raises the warm throughput, which AWS never lowers.
fn warm(next: &mut Json, wanted: &Json) -> Result<(), Reply> {
    for field in ["ReadUnitsPerSecond", "WriteUnitsPerSecond"] {
        let (now, wanted) = (next["WarmThroughput"][field].as_i64(), wanted[field].as_i64());
        if wanted.is_some_and(|wanted| Some(wanted) < now) {
            return invalid(&format!("One or more parameter values were invalid: {field} must not be below {now:?}"));
        }
        next["WarmThroughput"][field] = json!(wanted.or(now));
    }
    Ok(())
}

/// Changes the key; returns what reads show until that is done.
fn encrypted(next: &mut Json, wanted: &Json) -> Result<Json, Reply> {
    let key = &if wanted["Enabled"] == true { key(wanted) } else { Json::Null };
    if *key == next["SSEDescription"]["KMSMasterKeyArn"] {
        return invalid("One or more parameter values were invalid: Table is already encrypted that way");
    }
    let mut meanwhile = next.clone();
    meanwhile["SSEDescription"] = encryption("UPDATING", key);
    match key {
        Json::Null => drop(next.as_object_mut().unwrap().remove("SSEDescription")),
        key => next["SSEDescription"] = encryption("ENABLED", key),
    }
    Ok(meanwhile)
}

/// AWS's managed key if the request names none.
fn key(wanted: &Json) -> Json {
    let managed = "arn:aws:kms:eu-central-1:123456789012:key/aaaaaaaa-0000-0000-0000-000000000000";
    if wanted["KMSMasterKeyId"].is_string() { wanted["KMSMasterKeyId"].clone() } else { json!(managed) }
}

fn encryption(status: &str, key: &Json) -> Json {
    json!({ "Status": status, "SSEType": "KMS", "KMSMasterKeyArn": key })
}

fn enable_stream(shown: &mut Json, name: &str, specification: &Json, id: u32) {
    shown["StreamSpecification"] = specification.clone();
    shown["LatestStreamLabel"] = json!(format!("2026-11-22T19:00:00.{id:03}"));
    shown["LatestStreamArn"] = json!(format!("{}/stream/2026-11-22T19:00:00.{id:03}", arn(name)));
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

fn arn(name: &str) -> String {
    format!("arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}")
}
