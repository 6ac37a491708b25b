//! What can be told of a spec before anything is made: facts in, findings out.
//!
//! An error is certain, and stops a run before its first write; a warning is worth knowing.
//!
//! **Invariant:** no I/O and no clock. What can't be known is never an error.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use crate::aws::rights::{Decision, Need};
use crate::aws::trust::{RoleLookup, Trust, closed, misnamed};
use crate::cause::Code;
use crate::diagnostic::Diagnostic;
use crate::filter;
use crate::inventory::Inventory;
use crate::kinds::{default_log_group, runtimes};
use crate::records::Happening;
use crate::schema::{Home, Site};
use crate::spec::{Declared, Spec};
use crate::value::{Path, Value};

/// What Lambda does with a function's role to read a stream
/// (docs.aws.amazon.com/lambda/latest/dg/with-ddb.html).
const STREAM_ACTIONS: [&str; 4] =
    ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams"];
/// And to keep what the function logs (docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs.html).
const LOG_ACTIONS: [&str; 2] = ["logs:CreateLogStream", "logs:PutLogEvents"];
/// Once, before there is a group to keep it in.
const LOG_GROUP_ACTION: &str = "logs:CreateLogGroup";
/// What whoever makes a function has to be allowed on its role.
const PASS_ROLE: &str = "iam:PassRole";

/// IAM takes about that long to let all of AWS know of a role, in milliseconds.
const SPREADING_MS: i64 = 60_000;

/// What is asked about rights, and what came of it.
#[derive(Debug)]
pub struct Question {
    /// The function that needs them, by its name in the spec.
    pub function: String,
    /// Whose they are.
    pub who: Who,
    /// Its ARN.
    pub principal: String,
    /// Which.
    pub needs: Vec<Need>,
    /// One decision for each; `None`: nobody could tell.
    pub decisions: Option<Vec<Decision>>,
}

/// Whose rights are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// The function's role, by its name.
    Role(String),
    /// Whoever runs the command.
    Caller,
}

/// Everything that can be told from what a run has read. `roles`: what IAM says of those that functions name by their
/// ARNs. `now`: the time in UTC, as `2026-11-25T17:30:00Z`; `now_ms`: the
/// same in milliseconds since 1970.
pub fn findings(
    spec: &Spec,
    inventory: &Inventory,
    trusts: &BTreeMap<String, Trust>,
    roles: &BTreeMap<String, RoleLookup>,
    asked: &[Question],
    (now, now_ms): (&str, i64),
) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    for declared in spec.resources.iter().filter(|declared| !declared.imported) {
        foreign_arns(spec, declared, &inventory.site, &mut findings);
    }
    for role in spec.resources.iter().filter(|it| it.schema().kind == "role") {
        let is_used =
            spec.managed("function").any(|function| role_of(spec, function).is_some_and(|it| it.name == role.name));
        if let Some(Trust::Missing(others)) = trusts.get(&role.id.name).filter(|_| is_used) {
            let born = inventory.live(&role.name).and_then(|live| live.age.born);
            let is_settled = born.is_some_and(|born| now_ms.saturating_sub(born) >= SPREADING_MS);
            findings.push(at(spec, role, &Path::property("import"), untrusting(role, others, is_settled)));
        }
    }
    for function in spec.managed("function") {
        let Some(arn) = named_role(function) else { continue };
        let finding = roles.get(arn).and_then(|found| misfit(arn, found));
        findings.extend(finding.map(|it| at(spec, function, &Path::property("role"), it)));
    }
    asked.iter().for_each(|question| rights(spec, question, &mut findings));
    findings.extend(offline(spec, now));
    findings
}

/// What the spec alone tells: a runtime that is out of support by `now`, settings that don't fit together.
pub fn offline(spec: &Spec, now: &str) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    spec.managed("function").for_each(|function| runtime(spec, function, now, &mut findings));
    spec.managed("table").for_each(|table| capacity(spec, table, &mut findings));
    spec.managed("mapping").for_each(|mapping| settings(spec, mapping, &mut findings));
    findings
}

/// What is worth asking for the functions that `is_meant`: what a function's role has to be allowed, and whether whoever
/// runs the command, as `caller`, may hand it over.
pub fn questions(
    spec: &Spec,
    inventory: &Inventory,
    caller: Option<&str>,
    is_meant: &dyn Fn(&Declared) -> bool,
) -> Vec<Question> {
    let Site { partition, region, account } = &inventory.site;
    let mut questions = Vec::new();
    let mut handed = BTreeSet::new();
    for function in spec.managed("function") {
        let mappings: Vec<&Declared> = spec
            .managed("mapping")
            .filter(|it| spec.target(it, "function").is_some_and(|it| it.name == function.name))
            .collect();
        if !is_meant(function) && !mappings.iter().any(|it| is_meant(it)) {
            continue;
        }
        let Some(role) = role_of(spec, function) else { continue };
        let Some(arn) = inventory.live(&role.name).and_then(|live| live.outputs.get("arn")) else { continue };
        let group = match function.desired.get("log_group").and_then(Value::as_str) {
            Some(group) => group.to_owned(),
            None => default_log_group(&function.id.name),
        };
        let group = format!("arn:{partition}:logs:{region}:{account}:log-group:{group}");
        let mut needs = vec![(LOG_GROUP_ACTION, group.clone())];
        // Whatever comes last in these ARNs, a policy can't sensibly name it.
        needs.extend(LOG_ACTIONS.map(|action| (action, format!("{group}:log-stream:any"))));
        let tables = mappings.iter().filter_map(|it| spec.target(it, "event_source_arn"));
        let tables: BTreeSet<&str> = tables.map(|table| table.id.name.as_str()).collect();
        for table in tables {
            let stream = format!("arn:{partition}:dynamodb:{region}:{account}:table/{table}/stream/any");
            needs.extend(STREAM_ACTIONS.map(|action| (action, stream.clone())));
        }
        let mut ask = |who: Who, principal: &str, needs: Vec<Need>| {
            let (function, principal) = (function.name.clone(), principal.to_owned());
            questions.push(Question { function, who, principal, needs, decisions: None });
        };
        ask(Who::Role(role.id.name.clone()), arn, needs);
        if let Some(caller) = caller.filter(|_| handed.insert(arn)) {
            ask(Who::Caller, caller, vec![(PASS_ROLE, arn.clone())]);
        }
    }
    questions
}

/// The ARN of the role that a function names without a reference.
pub fn named_role(function: &Declared) -> Option<&str> {
    function.desired.get("role").and_then(Value::as_str).filter(|role| role.starts_with("arn:"))
}

/// What is wrong with a role that is named by its ARN.
fn misfit(arn: &str, found: &RoleLookup) -> Option<Diagnostic> {
    let name = arn.rsplit('/').next().unwrap_or_default();
    let finding = match found {
        RoleLookup::Missing => Diagnostic::error(format!("there is no role `{name}` in this account"))
            .why("IAM finds none of that name")
            .hint(format!("check the ARN, or ask whoever owns the account to create the role `{name}`")),
        RoleLookup::Found(actual, _) if actual != arn => {
            let (why, remedy) = misnamed(arn, actual);
            Diagnostic::error(format!("this is not the ARN of the role `{name}`")).why(why).hint(remedy)
        }
        RoleLookup::Found(_, Trust::Missing(others)) => {
            let (why, remedy) = closed(name, others);
            Diagnostic::error(format!("Lambda can't assume the role `{name}`")).why(why).hint(remedy)
        }
        RoleLookup::Found(..) => return None,
    };
    Some(finding.cause(Code::RoleNotAssumable.name(), None))
}

fn role_of<'s>(spec: &'s Spec, function: &Declared) -> Option<&'s Declared> {
    spec.target(function, "role").filter(|role| role.schema().kind == "role")
}

fn at(spec: &Spec, declared: &Declared, path: &Path, finding: Diagnostic) -> Diagnostic {
    match spec.place(&declared.name, path) {
        Some(place) => finding.at(place),
        None => finding,
    }
}

/// ARNs of another account or region, where the property has to be at home.
fn foreign_arns(spec: &Spec, declared: &Declared, site: &Site, findings: &mut Vec<Diagnostic>) {
    for property in &declared.schema().properties {
        let (field, word, ours, code) = match property.home {
            Some(Home::Region) => (3, "region", &site.region, Code::OtherRegion),
            Some(Home::Account) => (4, "account", &site.account, Code::RoleOfOtherAccount),
            None => continue,
        };
        let arns: Vec<&str> = match declared.desired.get(property.name) {
            Some(Value::String(arn)) => vec![arn],
            Some(Value::List(values)) => values.iter().filter_map(Value::as_str).collect(),
            _ => continue,
        };
        for arn in arns.into_iter().filter(|arn| arn.starts_with("arn:")) {
            let Some(named) = arn.split(':').nth(field).filter(|named| !named.is_empty() && named != ours) else {
                continue;
            };
            let problem = format!("this ARN is of the {word} `{named}`, and the run is in `{ours}`");
            let finding = Diagnostic::error(problem)
                .why(format!(
                    "AWS takes none of another {word} for `{}` of a {}",
                    property.name,
                    declared.schema().kind
                ))
                .hint(format!("name one in `{ours}`, or use the {word} `{named}`"))
                .cause(code.name(), None);
            findings.push(at(spec, declared, &Path::property(property.name), finding));
        }
    }
}

/// What AWS's schedule says of a function's runtime by today. AWS moves these days, so none of them stops a run.
fn runtime(spec: &Spec, function: &Declared, now: &str, findings: &mut Vec<Diagnostic>) {
    let name = function.desired.get("runtime").and_then(Value::as_str);
    let Some(runtime) = name.and_then(runtimes::known) else { return };
    // Days compare as texts.
    let is_past = |day: Option<&'static str>| day.filter(|day| *day <= now);
    let Some(deprecated) = is_past(runtime.deprecated) else { return };
    let name = runtime.name;
    let blocked = |what: &str, day: Option<&str>| match day {
        Some(day) if day <= now => format!(", {what} are blocked since {day}"),
        Some(day) => format!(", {what} are blocked from {day}"),
        None => String::new(),
    };
    let problem = match (is_past(runtime.update_blocked), is_past(runtime.create_blocked)) {
        (Some(_), _) => format!("Lambda no longer creates or updates functions with the runtime `{name}`"),
        (None, Some(_)) => format!("Lambda no longer creates functions with the runtime `{name}`"),
        (None, None) => format!("the runtime `{name}` is deprecated since {deprecated} and gets no security updates"),
    };
    let why = format!(
        "by AWS's schedule it is deprecated since {deprecated}{}{}",
        blocked("new functions", runtime.create_blocked),
        blocked("changes", runtime.update_blocked)
    );
    let page = "docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html";
    let hint = format!("use `{}`; AWS's current schedule: {page}", runtimes::successor(name, now));
    let finding = Diagnostic::warning(problem).why(why).hint(hint);
    findings.push(at(spec, function, &Path::property("runtime"), finding));
}

/// What throttles a table although its own capacity would do
/// (docs.aws.amazon.com/amazondynamodb/latest/developerguide/GSI.html).
fn capacity(spec: &Spec, table: &Declared, findings: &mut Vec<Diagnostic>) {
    let Some(units) = table.desired.get("write_capacity").and_then(integer) else { return };
    let Some(Value::Map(indexes)) = table.desired.get("global_secondary_indexes") else { return };
    for (name, index) in indexes {
        let Value::Map(index) = index else { continue };
        let Some(fewer) = index.get("write_capacity").and_then(integer).filter(|fewer| *fewer < units) else {
            continue;
        };
        let problem = format!("the index `{name}` takes {fewer} write units a second, and its table {units}");
        let finding = Diagnostic::warning(problem)
            .why("a write that the index has no capacity for is throttled as a whole")
            .hint(format!("give the index at least the table's `write_capacity: {units}`"));
        let path = Path::property("global_secondary_indexes").key(name).key("write_capacity");
        findings.push(at(spec, table, &path, finding));
    }
}

/// What in a mapping and what it connects does not fit together.
fn settings(spec: &Spec, mapping: &Declared, findings: &mut Vec<Diagnostic>) {
    let name = &mapping.name;
    let number = |of: &Declared, property: &str| of.desired.get(property).and_then(integer);
    let mut find = |property: &str, finding: Diagnostic| {
        findings.push(at(spec, mapping, &Path::property(property), finding));
    };
    let factor = number(mapping, "parallelization_factor").unwrap_or(1);
    let (retries, age) =
        (number(mapping, "maximum_retry_attempts"), number(mapping, "maximum_record_age_in_seconds").unwrap_or(-1));
    if let Some(function) = spec.target(mapping, "function") {
        match number(function, "reserved_concurrent_executions") {
            Some(0) => {
                let problem = format!("`{}` may not run, so `{name}` delivers nothing", function.name);
                let finding = Diagnostic::warning(problem)
                    .why("its `reserved_concurrent_executions` is 0")
                    .hint("set it to more than 0, or drop it");
                find("function", finding);
            }
            Some(reserved) if reserved < factor => {
                let problem =
                    format!("`{name}` sends up to {factor} batches at once, and `{}` runs {reserved}", function.name);
                let finding = Diagnostic::warning(problem)
                    .why("the rest is throttled and waits")
                    .hint("lower `parallelization_factor`, or raise the function's `reserved_concurrent_executions`");
                find("parallelization_factor", finding);
            }
            _ => {}
        }
        let timeout = number(function, "timeout").unwrap_or_default();
        if (0..timeout).contains(&age) {
            let problem = format!("`{name}` gives records up after {age} s, and one try may take {timeout} s");
            let finding = Diagnostic::warning(problem)
                .why("what follows a slow try is dropped untried")
                .hint("raise `maximum_record_age_in_seconds` over the function's `timeout`");
            find("maximum_record_age_in_seconds", finding);
        }
    }
    let has_destination = mapping.desired.get("on_failure_destination_arn").and_then(Value::as_str).is_some();
    if has_destination && retries == Some(-1) && age == -1 {
        let problem =
            format!("the destination of `{name}` hears of a failing record only when it expires, after 24 hours");
        let finding = Diagnostic::warning(problem)
            .why("without a limit Lambda tries a failing batch again until then, and the shard waits")
            .hint("set `maximum_retry_attempts` or `maximum_record_age_in_seconds`");
        find("on_failure_destination_arn", finding);
    }
    let table = spec.target(mapping, "event_source_arn");
    let view = table.and_then(|table| table.desired.get("stream_view_type")).and_then(Value::as_str);
    if let (Some(view), Some(Value::List(filters))) = (view, mapping.desired.get("filters")) {
        let filters: Vec<Json> = filters.iter().map(Json::from).collect();
        let record = |change| {
            let mut record = filter::record(change, view, &Json::Null, &Json::Null);
            // What the time to live deletes bears who did it (docs.aws.amazon.com/lambda/latest/dg/with-ddb-filtering.html).
            if change == Happening::Remove {
                record["userIdentity"] = Json::Null;
            }
            record
        };
        if Happening::ALL.into_iter().all(|change| filter::drop_for_certain(&filters, &record(change))) {
            let finding = Diagnostic::warning(format!("the filters of `{name}` let no change of any item pass"))
                .why(format!("a record has an `eventName` of INSERT, MODIFY or REMOVE, and shows {}", images(view)))
                .hint("correct `filters`, or the table's `stream_view_type`");
            find("filters", finding);
        }
    }
}

fn images(view: &str) -> &'static str {
    match view {
        "KEYS_ONLY" => "`Keys`, no image",
        "NEW_IMAGE" => "`Keys` and `NewImage`, no `OldImage`",
        "OLD_IMAGE" => "`Keys` and `OldImage`, no `NewImage`",
        _ => "`Keys`, `NewImage` and `OldImage`",
    }
}

fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        _ => None,
    }
}

fn untrusting(role: &Declared, others: &BTreeSet<String>, is_settled: bool) -> Diagnostic {
    let name = &role.id.name;
    let problem = format!("Lambda may not assume the role `{name}`");
    let finding = if is_settled { Diagnostic::error(problem) } else { Diagnostic::warning(problem) };
    let (why, remedy) = closed(name, others);
    let why = match is_settled {
        true => why,
        false => {
            format!("{why}; the role may be younger than a minute, and AWS still on the way to show its trust policy")
        }
    };
    finding.why(why).hint(remedy).cause(Code::RoleNotAssumable.name(), None)
}

/// What is missing. Neither the simulator nor the policies show everything, so that is at most a warning.
fn rights(spec: &Spec, question: &Question, findings: &mut Vec<Diagnostic>) {
    let (Some(function), Some(decisions)) = (spec.resource(&question.function), &question.decisions) else { return };
    for (wanted, why) in [
        (Decision::Denied, "a statement of a policy denies that"),
        (Decision::NotAllowed, "no statement of a policy allows that"),
    ] {
        let missing = question.needs.iter().zip(decisions).filter(|(_, decision)| **decision == wanted);
        let mut by_resource: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for ((action, resource), _) in missing {
            by_resource.entry(resource).or_default().push(format!("`{action}`"));
        }
        if by_resource.is_empty() {
            continue;
        }
        let actions: Vec<String> = by_resource.values().flatten().cloned().collect();
        let name = &function.name;
        let (problem, whom, prints, code) = match &question.who {
            Who::Caller => (
                format!("you may not hand the role of `{name}` to Lambda"),
                "whoever gave you your keys",
                "`engine policy --for apply` prints all that you need",
                Code::AccessDenied,
            ),
            Who::Role(_) => (
                format!("the role of `{name}` seems to lack rights"),
                "its owner",
                "`engine policy --role` prints all that it needs",
                Code::RoleLacksRight,
            ),
        };
        let mut finding = Diagnostic::warning(problem)
            .why(format!("{}: as far as IAM tells, {why}", actions.join(", ")))
            .cause(code.name(), None);
        for (resource, actions) in by_resource {
            let resource =
                resource.strip_suffix("any").map_or_else(|| resource.to_owned(), |known| format!("{known}*"));
            finding = finding.hint(format!("{whom} has to allow {} on `{resource}`", actions.join(", ")));
        }
        findings.push(at(spec, function, &Path::property("role"), finding.hint(prints)));
    }
}
