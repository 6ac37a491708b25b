//! Checks of a spec before the first write: facts in, findings out.
//!
//! An error is certain and stops a run before its first write; a warning is informational.
//!
//! **Invariant:** no I/O and no clock. What can't be known is never an error.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use crate::aws::rights::{Decision, Need, has_propagated};
use crate::aws::trust::{RoleLookup, Trust, closed, misnamed};
use crate::cause::Code;
use crate::diagnostic::{Diagnostic, Severity};
use crate::filter;
use crate::iam::execution::{self, Needed};
use crate::inventory::Inventory;
use crate::kinds::{QUEUE, VISIBILITY, runtimes, visibility_problem};
use crate::logs::EventName;
use crate::schema::{AwsEnv, Locality};
use crate::spec::{ResourceDecl, Spec};
use crate::value::{Path, Value};

/// Required on a function's role to create the function.
const PASS_ROLE: &str = "iam:PassRole";

/// A question about permissions, and its result.
#[derive(Debug)]
pub struct Question {
    /// The function that needs them, by its name in the spec.
    pub function: String,
    /// The principal that needs them.
    pub who: Who,
    /// Its ARN.
    pub principal: String,
    /// The required permissions.
    pub needs: Vec<Needed>,
    /// One decision for each; `None` if they couldn't be determined.
    pub decisions: Option<Vec<Decision>>,
}

impl Question {
    /// Each action with each ARN under which a policy may allow it.
    pub fn pairs(&self) -> Vec<Need> {
        let pairs = |it: &Needed| it.arns.iter().map(|arn| (it.action.clone(), arn.clone())).collect::<Vec<_>>();
        self.needs.iter().flat_map(pairs).collect()
    }

    /// Takes the decisions about [`Question::pairs`], in that order.
    pub fn decide(&mut self, decisions: &[Decision]) {
        let mut rest = decisions.iter().copied();
        let best = |it: &Needed| rest.by_ref().take(it.arns.len()).max().unwrap_or(Decision::Unknown);
        self.decisions = Some(self.needs.iter().map(best).collect());
    }
}

/// The principal that needs permissions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// The function's role, by name.
    Role(String),
    /// The caller.
    Caller,
}

/// All findings about what a run has read. `roles`: the roles that functions name by ARN, as read
/// from IAM. `now`: the time in UTC, like `2026-11-25T17:30:00Z`; `now_ms`: the same in
/// milliseconds since 1970.
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
        check_arn_localities(spec, declared, &inventory.env, &mut findings);
    }
    for role in spec.resources.iter().filter(|it| it.schema().kind == "role") {
        let is_used =
            spec.managed("function").any(|function| role_of(spec, function).is_some_and(|it| it.name == role.name));
        if let Some(Trust::Missing(others)) = trusts.get(&role.id.name).filter(|_| is_used) {
            let created = inventory.live(&role.name).and_then(|live| live.timestamps.created);
            let is_propagated = has_propagated(created, now_ms);
            findings.push(at(spec, role, &Path::property("import"), untrusting(role, others, is_propagated)));
        }
    }
    for function in spec.managed("function") {
        let Some(arn) = named_role(function) else { continue };
        let finding = roles.get(arn).and_then(|found| misfit(arn, found));
        findings.extend(finding.map(|it| at(spec, function, &Path::property("role"), it)));
    }
    for mapping in spec.managed("mapping") {
        let finding = imported_queue(spec, inventory, mapping);
        findings.extend(finding.map(|it| at(spec, mapping, &Path::property("event_source_arn"), it)));
    }
    spec.managed("role").for_each(|role| keys_of_imports(spec, inventory, role, &mut findings));
    asked.iter().for_each(|question| rights(spec, question, &mut findings));
    findings.extend(offline(spec, now));
    findings
}

/// The keys of imported resources that a role of this spec uses: only AWS shows them, so the role gets
/// no permission for them.
fn keys_of_imports(spec: &Spec, inventory: &Inventory, role: &ResourceDecl, findings: &mut Vec<Diagnostic>) {
    let granted = role.desired.get("policy").map(|policy| Json::from(policy).to_string()).unwrap_or_default();
    for (name, actions) in imports_of(spec, role) {
        let Some(target) = spec.resource(name) else { continue };
        let key = inventory.live(name).and_then(|live| live.props.get("kms_key_arn")?.as_str());
        let Some((key, form)) = key.zip(target.schema().arn.as_ref()) else { continue };
        let Some((resource, condition)) = execution::key_grant_in(spec, &inventory.env, key, &form.service) else {
            continue;
        };
        if granted.contains(key) {
            continue;
        }
        let owner = role.implied_by.as_ref().and_then(|function| spec.resource(function)).unwrap_or(role);
        let problem = format!(
            "`{name}` is encrypted with the key `{key}`, and the role `{}` gets no permission for it",
            role.id.name
        );
        let statement = format!(
            "{{ actions: [{}], resources: [\"{resource}\"], conditions: {} }}",
            actions.join(", "),
            condition.unwrap_or_default()
        );
        let hint = format!("add to `statements` of `{}`: {statement}", owner.name);
        let why =
            "the resource is imported, so the spec doesn't show its key; a key that AWS manages needs no permission";
        findings.push(at(spec, owner, &Path::default(), Diagnostic::warning(problem, hint).why(why)));
    }
}

/// The imported resources that a role uses, with the actions that it needs on their keys.
fn imports_of<'s>(spec: &'s Spec, role: &'s ResourceDecl) -> BTreeMap<&'s str, &'static [&'static str]> {
    const READS: &[&str] = &["kms:Decrypt"];
    const ALL: &[&str] = &["kms:Decrypt", "kms:GenerateDataKey"];
    let mut used: BTreeMap<&str, &[&str]> = BTreeMap::new();
    let mut add = |name: &'s str, actions| {
        if spec.resource(name).is_some_and(|it| it.imported) {
            let known = used.entry(name).or_insert(actions);
            *known = if known.len() < actions.len() { actions } else { known };
        }
    };
    let functions: Vec<&ResourceDecl> =
        spec.managed("function").filter(|it| role_of(spec, it).is_some_and(|it| it.name == role.name)).collect();
    for declared in functions.iter().copied().chain([role]) {
        if let Some(Value::Map(access)) = declared.desired.get("access") {
            access.keys().for_each(|name| add(name, ALL));
        }
        if let Some(target) = spec.target(declared, "dead_letter_target_arn") {
            add(&target.name, ALL);
        }
    }
    for mapping in spec.managed("mapping") {
        let is_ours = |function: &ResourceDecl| functions.iter().any(|it| it.name == function.name);
        if !spec.target(mapping, "function").is_some_and(is_ours) {
            continue;
        }
        for (property, actions) in [("event_source_arn", READS), ("on_failure_destination_arn", ALL)] {
            if let Some(target) = spec.target(mapping, property) {
                add(&target.name, actions);
            }
        }
    }
    used
}

/// The visibility timeout of an imported queue, which only AWS shows. That of a managed queue is
/// checked with the spec.
fn imported_queue(spec: &Spec, inventory: &Inventory, mapping: &ResourceDecl) -> Option<Diagnostic> {
    let queue = spec.target(mapping, "event_source_arn").filter(|it| it.imported && it.schema().kind == QUEUE.kind)?;
    let function = spec.target(mapping, "function")?;
    let value = |declared: &ResourceDecl, property: &str| {
        let live = inventory.live(&declared.name).filter(|live| !live.unknown.contains_key(property));
        live.and_then(|live| live.props.get(property)?.as_i64())
    };
    let is_desired = !function.imported && !function.lifecycle.ignore_changes.contains("timeout");
    let timeout = if is_desired { number(function, "timeout") } else { value(function, "timeout") }?;
    let problem = visibility_problem(mapping, (queue, value(queue, VISIBILITY)?), (function, timeout))?;
    let severity = if problem.warning { Severity::Warning } else { Severity::Error };
    let finding = Diagnostic::new(severity, problem.problem, problem.hint).why(problem.why.unwrap_or_default());
    Some(finding.cause(Code::VisibilityTimeoutShort.name(), None))
}

/// Findings about the spec alone: a runtime that is deprecated by `now`, settings that conflict.
pub fn offline(spec: &Spec, now: &str) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    spec.managed("function").for_each(|function| runtime(spec, function, now, &mut findings));
    spec.managed("table").for_each(|table| capacity(spec, table, &mut findings));
    spec.managed("mapping").for_each(|mapping| settings(spec, mapping, &mut findings));
    findings
}

/// The questions for the functions for which `is_selected` holds: whether a role that engine doesn't
/// manage has the permissions that the function needs, and whether `caller` can pass the function's
/// role to Lambda.
pub fn questions(
    spec: &Spec,
    inventory: &Inventory,
    caller: Option<&str>,
    is_selected: &dyn Fn(&ResourceDecl) -> bool,
) -> Vec<Question> {
    let mut questions = Vec::new();
    let mut handed = BTreeSet::new();
    for function in spec.managed("function") {
        let of_function = |it: &&ResourceDecl| spec.target(it, "function").is_some_and(|it| it.name == function.name);
        if !is_selected(function) && !spec.managed("mapping").filter(of_function).any(is_selected) {
            continue;
        }
        let Some(Passed { name, arn, is_managed }) = passed(spec, inventory, function) else { continue };
        let mut ask = |who: Who, principal: &str, needs: Vec<Needed>| {
            let (function, principal) = (function.name.clone(), principal.to_owned());
            questions.push(Question { function, who, principal, needs, decisions: None });
        };
        if !is_managed {
            ask(Who::Role(name), &arn, execution::needed(spec, &inventory.env, function));
        }
        if let Some(caller) = caller.filter(|_| handed.insert(arn.clone())) {
            ask(Who::Caller, caller, vec![Needed::one(PASS_ROLE, &arn)]);
        }
    }
    questions
}

/// A role that exists and is passed to Lambda.
struct Passed {
    name: String,
    arn: String,
    /// Whether engine manages it, and so grants what its functions need.
    is_managed: bool,
}

fn passed(spec: &Spec, inventory: &Inventory, function: &ResourceDecl) -> Option<Passed> {
    if let Some(role) = role_of(spec, function) {
        let arn = inventory.live(&role.name)?.outputs.get("arn")?.clone();
        return Some(Passed { name: role.id.name.clone(), arn, is_managed: !role.imported });
    }
    let arn = named_role(function).filter(|arn| arn.split(':').nth(4) == Some(&inventory.env.account))?;
    Some(Passed { name: spec.kinds.name_in_arn(arn).to_owned(), arn: arn.to_owned(), is_managed: false })
}

/// The ARN of a function's role, if the function names it without a reference.
pub fn named_role(function: &ResourceDecl) -> Option<&str> {
    function.desired.get("role").and_then(Value::as_str).filter(|role| role.starts_with("arn:"))
}

/// The problem of a role that is named by ARN, if any.
fn misfit(arn: &str, found: &RoleLookup) -> Option<Diagnostic> {
    let name = arn.rsplit('/').next().unwrap_or_default();
    let finding = match found {
        RoleLookup::Missing => Diagnostic::error(
            format!("the role `{name}` doesn't exist in this account"),
            format!("check the ARN, or ask the account's administrator to create the role `{name}`"),
        )
        .why("IAM returned no role with that name"),
        RoleLookup::Found(actual, _) if actual != arn => {
            let (why, remedy) = misnamed(arn, actual);
            Diagnostic::error(format!("this isn't the ARN of the role `{name}`"), remedy).why(why)
        }
        RoleLookup::Found(_, Trust::Missing(others)) => {
            let (why, remedy) = closed(name, others);
            Diagnostic::error(format!("Lambda can't assume the role `{name}`"), remedy).why(why)
        }
        RoleLookup::Found(..) => return None,
    };
    Some(finding.cause(Code::RoleNotAssumable.name(), None))
}

fn role_of<'s>(spec: &'s Spec, function: &ResourceDecl) -> Option<&'s ResourceDecl> {
    spec.target(function, "role").filter(|role| role.schema().kind == "role")
}

fn at(spec: &Spec, declared: &ResourceDecl, path: &Path, finding: Diagnostic) -> Diagnostic {
    match spec.location(&declared.name, path) {
        Some(location) => finding.at(location),
        None => finding,
    }
}

/// ARNs in another account or region, for properties that require the spec's own.
fn check_arn_localities(spec: &Spec, declared: &ResourceDecl, env: &AwsEnv, findings: &mut Vec<Diagnostic>) {
    for property in &declared.schema().properties {
        let (field, word, ours, code) = match property.locality {
            Some(Locality::Region) => (3, "region", &env.region, Code::OtherRegion),
            Some(Locality::Account) => (4, "account", &env.account, Code::RoleOfOtherAccount),
            None => continue,
        };
        let arns: Vec<&str> = match declared.desired.get(&*property.name) {
            Some(Value::String(arn)) => vec![arn],
            Some(Value::List(values)) => values.iter().filter_map(Value::as_str).collect(),
            _ => continue,
        };
        for arn in arns.into_iter().filter(|arn| arn.starts_with("arn:")) {
            let Some(named) = arn.split(':').nth(field).filter(|named| !named.is_empty() && named != ours) else {
                continue;
            };
            let problem = format!("this ARN is in the {word} `{named}`, but the spec is deployed to `{ours}`");
            let finding =
                Diagnostic::error(problem, format!("use an ARN in `{ours}`, or deploy to the {word} `{named}`"))
                    .why(format!("`{}` of a {} must be in the spec's {word}", property.name, declared.schema().kind))
                    .cause(code.name(), None);
            findings.push(at(spec, declared, &Path::property(&property.name), finding));
        }
    }
}

/// Deprecation of a function's runtime according to AWS's schedule. AWS changes these dates, so
/// they never stop a run.
fn runtime(spec: &Spec, function: &ResourceDecl, now: &str, findings: &mut Vec<Diagnostic>) {
    let name = function.desired.get("runtime").and_then(Value::as_str);
    let Some(runtime) = name.and_then(runtimes::known) else { return };
    // ISO dates compare as strings.
    let is_past = |day: Option<&'static str>| day.filter(|day| *day <= now);
    let Some(deprecated) = is_past(runtime.deprecated) else { return };
    let name = runtime.name;
    let blocked = |what: &str, day: Option<&str>| match day {
        Some(day) if day <= now => format!(", {what} have been blocked since {day}"),
        Some(day) => format!(", {what} will be blocked from {day}"),
        None => String::new(),
    };
    let problem = match (is_past(runtime.update_blocked), is_past(runtime.create_blocked)) {
        (Some(_), _) => format!("Lambda no longer creates or updates functions with the runtime `{name}`"),
        (None, Some(_)) => format!("Lambda no longer creates functions with the runtime `{name}`"),
        (None, None) => format!("the runtime `{name}` is deprecated and no longer gets security updates"),
    };
    let why = format!(
        "according to AWS's schedule, it has been deprecated since {deprecated}{}{}",
        blocked("new functions", runtime.create_blocked),
        blocked("updates", runtime.update_blocked)
    );
    let page = "docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html";
    let hint = format!("use `{}`; for AWS's current schedule, see {page}", runtimes::successor(name, now));
    let finding = Diagnostic::warning(problem, hint).why(why);
    findings.push(at(spec, function, &Path::property("runtime"), finding));
}

/// An index that throttles writes although the table's own capacity suffices
/// (docs.aws.amazon.com/amazondynamodb/latest/developerguide/GSI.html).
fn capacity(spec: &Spec, table: &ResourceDecl, findings: &mut Vec<Diagnostic>) {
    let Some(units) = table.desired.get("write_capacity").and_then(Value::as_i64) else { return };
    let Some(Value::Map(indexes)) = table.desired.get("global_secondary_indexes") else { return };
    for (name, index) in indexes {
        let Value::Map(index) = index else { continue };
        let Some(fewer) = index.get("write_capacity").and_then(Value::as_i64).filter(|fewer| *fewer < units) else {
            continue;
        };
        let problem =
            format!("the index `{name}` has fewer write capacity units than its table: {fewer} instead of {units}");
        let finding = Diagnostic::warning(problem, format!("set `write_capacity: {units}` or more for the index"))
            .why("DynamoDB throttles a write to the table if the index lacks capacity for it");
        let path = Path::property("global_secondary_indexes").key(name).key("write_capacity");
        findings.push(at(spec, table, &path, finding));
    }
}

/// Conflicting settings of a mapping, its function and its table.
fn settings(spec: &Spec, mapping: &ResourceDecl, findings: &mut Vec<Diagnostic>) {
    let (function, table) = (spec.target(mapping, "function"), spec.target(mapping, "event_source_arn"));
    let found = [
        function.and_then(|function| concurrency(mapping, function)),
        function.and_then(|function| record_age(mapping, function)),
        failure_destination(mapping),
        table.and_then(|table| filters(mapping, table)),
    ];
    let location = |(property, finding)| at(spec, mapping, &Path::property(property), finding);
    findings.extend(found.into_iter().flatten().map(location));
}

/// A finding and the property that it is about.
type OfProperty = (&'static str, Diagnostic);

/// A function that can't run as many batches at once as its mapping sends.
fn concurrency(mapping: &ResourceDecl, function: &ResourceDecl) -> Option<OfProperty> {
    if let Some(most) = number(mapping, "maximum_concurrency") {
        return queue_concurrency(mapping, function, most);
    }
    let factor = number(mapping, "parallelization_factor").unwrap_or(1);
    let reserved = number(function, "reserved_concurrent_executions").filter(|it| *it == 0 || *it < factor)?;
    if reserved == 0 {
        return Some(never_runs(mapping, function));
    }
    let problem = format!(
        "`{}` sends up to {factor} batches per shard at once, but the concurrency of `{}` is limited to {reserved}",
        mapping.name, function.name
    );
    let hint = "lower `parallelization_factor`, or raise the function's `reserved_concurrent_executions`";
    let finding =
        Diagnostic::warning(problem, hint).why("Lambda throttles the other invocations, so their batches wait");
    Some(("parallelization_factor", finding))
}

/// A function whose concurrency is below the limit of its mapping of a queue
/// (docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html).
fn queue_concurrency(mapping: &ResourceDecl, function: &ResourceDecl, most: i64) -> Option<OfProperty> {
    let reserved = number(function, "reserved_concurrent_executions").filter(|reserved| *reserved < most)?;
    if reserved == 0 {
        return Some(never_runs(mapping, function));
    }
    let problem = format!(
        "`{}` invokes `{}` up to {most} times at once, but its concurrency is limited to {reserved}",
        mapping.name, function.name
    );
    let hint = "lower `maximum_concurrency`, or raise the function's `reserved_concurrent_executions`";
    let why = "Lambda throttles the other invocations, and their messages return to the queue";
    Some(("maximum_concurrency", Diagnostic::warning(problem, hint).why(why)))
}

fn never_runs(mapping: &ResourceDecl, function: &ResourceDecl) -> OfProperty {
    let problem = format!("`{}` can never run, so `{}` delivers no records", function.name, mapping.name);
    let hint = "set `reserved_concurrent_executions` to more than 0, or remove it";
    ("function", Diagnostic::warning(problem, hint).why("its `reserved_concurrent_executions` is 0"))
}

/// Records that expire while an earlier batch is processed.
fn record_age(mapping: &ResourceDecl, function: &ResourceDecl) -> Option<OfProperty> {
    let (age, timeout) = (number(mapping, "maximum_record_age_in_seconds")?, number(function, "timeout")?);
    if !(0..timeout).contains(&age) {
        return None;
    }
    let problem = format!("`{}` discards records after {age} s, but one invocation can take {timeout} s", mapping.name);
    let finding = Diagnostic::warning(problem, "raise `maximum_record_age_in_seconds` above the function's `timeout`")
        .why("Lambda can discard records that wait behind a slow invocation before it processes them");
    Some(("maximum_record_age_in_seconds", finding))
}

/// A failure destination of a mapping that retries without a limit.
fn failure_destination(mapping: &ResourceDecl) -> Option<OfProperty> {
    mapping.desired.get("on_failure_destination_arn").and_then(Value::as_str)?;
    let age = number(mapping, "maximum_record_age_in_seconds").unwrap_or(-1);
    if number(mapping, "maximum_retry_attempts") != Some(-1) || age != -1 {
        return None;
    }
    let problem = format!(
        "the failure destination of `{}` gets a failed batch only when its records expire, after 24 hours",
        mapping.name
    );
    let finding = Diagnostic::warning(problem, "set `maximum_retry_attempts` or `maximum_record_age_in_seconds`")
        .why("without a limit, Lambda retries a failed batch until then, and the rest of the shard waits");
    Some(("on_failure_destination_arn", finding))
}

/// Filters that drop every record of the table's stream.
fn filters(mapping: &ResourceDecl, table: &ResourceDecl) -> Option<OfProperty> {
    let view = table.desired.get("stream_view_type").and_then(Value::as_str)?;
    let Some(Value::List(filters)) = mapping.desired.get("filters") else { return None };
    let filters: Vec<Json> = filters.iter().map(Json::from).collect();
    let record = |change| {
        let facts = filter::RecordFacts { view, stream: "" };
        let mut record = filter::record(change, &facts, &Json::Null, &Json::Null);
        // TTL deletions have a user identity
        // (docs.aws.amazon.com/lambda/latest/dg/with-ddb-filtering.html).
        if change == EventName::Remove {
            record["userIdentity"] = Json::Null;
        }
        record
    };
    if !EventName::ALL.into_iter().all(|change| filter::certainly_drops(&filters, &record(change))) {
        return None;
    }
    let problem = format!("the filters of `{}` drop every record", mapping.name);
    let finding = Diagnostic::warning(problem, "correct `filters`, or the table's `stream_view_type`")
        .why(format!("a record has an `eventName` of INSERT, MODIFY or REMOVE, and contains {}", images(view)));
    Some(("filters", finding))
}

fn number(declared: &ResourceDecl, property: &str) -> Option<i64> {
    declared.desired.get(property).and_then(Value::as_i64)
}

fn images(view: &str) -> &'static str {
    match view {
        "KEYS_ONLY" => "`Keys`, no image",
        "NEW_IMAGE" => "`Keys` and `NewImage`, no `OldImage`",
        "OLD_IMAGE" => "`Keys` and `OldImage`, no `NewImage`",
        _ => "`Keys`, `NewImage` and `OldImage`",
    }
}

fn untrusting(role: &ResourceDecl, others: &BTreeSet<String>, is_propagated: bool) -> Diagnostic {
    let name = &role.id.name;
    let problem = format!("Lambda can't assume the role `{name}`");
    let severity = if is_propagated { Severity::Error } else { Severity::Warning };
    let (why, remedy) = closed(name, others);
    let why = match is_propagated {
        true => why,
        false => {
            format!(
                "{why}; if the role was created less than a minute ago, IAM might not show its current trust policy yet"
            )
        }
    };
    Diagnostic::new(severity, problem, remedy).why(why).cause(Code::RoleNotAssumable.name(), None)
}

/// Missing permissions. Neither the simulator nor the policies show everything, so they are only
/// warnings.
fn rights(spec: &Spec, question: &Question, findings: &mut Vec<Diagnostic>) {
    let (Some(function), Some(decisions)) = (spec.resource(&question.function), &question.decisions) else { return };
    for (wanted, why) in [
        (Decision::Denied, "a policy statement denies them"),
        (Decision::NotAllowed, "no policy statement allows them"),
    ] {
        let missing = question.needs.iter().zip(decisions).filter(|(_, decision)| **decision == wanted);
        let mut by_resource: BTreeMap<(&str, String), Vec<String>> = BTreeMap::new();
        for (Needed { action, arns, reasons }, _) in missing {
            let resource = arns.first().map_or("*", String::as_str);
            by_resource.entry((resource, reasons.join(", and "))).or_default().push(format!("`{action}`"));
        }
        if by_resource.is_empty() {
            continue;
        }
        let actions: BTreeSet<&str> = by_resource.values().flatten().map(String::as_str).collect();
        let name = &function.name;
        let (problem, whom, prints, code) = match &question.who {
            Who::Caller => (
                format!("you may lack permission to pass the role of `{name}` to Lambda"),
                "the account's administrator",
                "`engine policy --for apply` prints all permissions that you need",
                Code::AccessDenied,
            ),
            Who::Role(_) => (
                format!("the role of `{name}` may lack permissions"),
                "the role's owner",
                "`engine policy --role` prints all permissions that the role needs",
                Code::RoleLacksRight,
            ),
        };
        let actions: Vec<&str> = actions.into_iter().collect();
        let why = format!("{}: as far as engine can determine from IAM, {why}", actions.join(", "));
        let to_ask = by_resource.into_iter().map(|((resource, reasons), actions)| {
            let resource =
                resource.strip_suffix("any").map_or_else(|| resource.to_owned(), |known| format!("{known}*"));
            let reasons = if reasons.is_empty() { reasons } else { format!(", because {reasons}") };
            format!("ask {whom} to allow {} on `{resource}`{reasons}", actions.join(", "))
        });
        let mut hints = to_ask.chain([prints.to_owned()]);
        let finding = Diagnostic::warning(problem, hints.next().unwrap_or_default()).why(why).cause(code.name(), None);
        findings.push(at(spec, function, &Path::property("role"), hints.fold(finding, Diagnostic::hint)));
    }
}
