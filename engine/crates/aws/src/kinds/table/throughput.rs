//! A table's throughput besides its capacity: the maximum in on-demand mode, and the throughput that
//! it supports at once (warm throughput).
//!
//! **Invariant:** it makes no calls.

use aws_sdk_dynamodb::types::{
    OnDemandThroughput, TableDescription, TableStatus, TableWarmThroughputDescription, WarmThroughput,
};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::schema::{Effect, Problem, Property, Shape, Str, property};
use crate::value::{Path, Tree, Value};

use super::CAPACITY;

/// The property for the maximum in on-demand mode.
pub(super) const ON_DEMAND: &str = "on_demand_throughput";
/// The property for the throughput that a table supports at once.
const WARM: &str = "warm_throughput";
/// No maximum
/// (docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_OnDemandThroughput.html).
const UNLIMITED: i64 = -1;
const NEVER_LOWERED: &str = "DynamoDB never lowers it; write at least the current value";

/// The maximum throughput of a table or an index in on-demand mode.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OnDemand {
    max_read_request_units: Option<i64>,
    max_write_request_units: Option<i64>,
}

impl OnDemand {
    /// As AWS shows it; `None` if nothing has a maximum.
    pub(super) fn read(throughput: Option<&OnDemandThroughput>) -> Option<OnDemand> {
        let throughput = throughput?;
        let shown = OnDemand {
            max_read_request_units: throughput.max_read_request_units.filter(|units| *units != UNLIMITED),
            max_write_request_units: throughput.max_write_request_units.filter(|units| *units != UNLIMITED),
        };
        (shown.max_read_request_units.is_some() || shown.max_write_request_units.is_some()).then_some(shown)
    }
}

/// The request for a maximum, or for none: omitting a member would keep it.
pub(super) fn maximum(wanted: Option<&OnDemand>) -> OnDemandThroughput {
    let units = |of: fn(&OnDemand) -> Option<i64>| wanted.and_then(of).unwrap_or(UNLIMITED);
    OnDemandThroughput::builder()
        .max_read_request_units(units(|it| it.max_read_request_units))
        .max_write_request_units(units(|it| it.max_write_request_units))
        .build()
}

pub(super) fn on_demand() -> Property {
    let members = vec![
        property("max_read_request_units", CAPACITY, "maximum read request units; if omitted, there is no maximum")
            .member("OnDemandThroughput.MaxReadRequestUnits"),
        property("max_write_request_units", CAPACITY, "maximum write request units; if omitted, there is no maximum")
            .member("OnDemandThroughput.MaxWriteRequestUnits"),
    ];
    property(ON_DEMAND, Shape::Record(members), "maximum throughput in on-demand mode; only with PAY_PER_REQUEST")
        .member("OnDemandThroughput")
}

/// What is wrong with a maximum at this path.
pub(super) fn maximum_problem(path: Path, of: &Tree, mode: Option<&str>) -> Option<Problem> {
    let Some(Value::Map(maximum)) = of.get(ON_DEMAND) else { return None };
    if mode == Some("PROVISIONED") {
        let problem = format!("`{ON_DEMAND}` has no effect with billing mode PROVISIONED");
        let hint = format!("remove `{ON_DEMAND}`, or set `billing_mode: PAY_PER_REQUEST`");
        return Some(Problem::error(path, problem, hint));
    }
    maximum.values().all(|units| *units == Value::Null).then(|| {
        let hint = "add `max_read_request_units` or `max_write_request_units`, or remove it";
        Problem::error(path, format!("`{ON_DEMAND}` has no maximum"), hint)
    })
}

/// Reads and writes per second that a table supports at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Warm {
    read_units_per_second: i64,
    write_units_per_second: i64,
}

impl Warm {
    /// As AWS shows it; `None` if the response doesn't include it.
    pub(super) fn read(table: &TableDescription) -> Option<Warm> {
        let shown = table.warm_throughput()?;
        Some(Warm {
            read_units_per_second: shown.read_units_per_second?,
            write_units_per_second: shown.write_units_per_second?,
        })
    }

    /// Whether it is at least as much.
    pub(super) fn covers(&self, wanted: &Warm) -> bool {
        self.read_units_per_second >= wanted.read_units_per_second
            && self.write_units_per_second >= wanted.write_units_per_second
    }

    /// The request for it. AWS refuses a member below the current value.
    pub(super) fn request(&self, current: Option<&Warm>) -> WarmThroughput {
        let units = |of: fn(&Warm) -> i64| current.map_or(of(self), |current| of(self).max(of(current)));
        WarmThroughput::builder()
            .read_units_per_second(units(|it| it.read_units_per_second))
            .write_units_per_second(units(|it| it.write_units_per_second))
            .build()
    }

    fn of(value: &Value) -> Option<Warm> {
        serde_json::from_value(Json::from(value)).ok()
    }
}

/// Whether AWS is still raising it; the table itself is ACTIVE meanwhile.
pub(super) fn is_rising(table: &TableDescription) -> bool {
    let status = table.warm_throughput().and_then(TableWarmThroughputDescription::status);
    status.is_some_and(|status| *status != TableStatus::Active)
}

/// AWS raises it by itself with a table's traffic and never lowers it, so a table may have more than
/// the spec declares
/// (docs.aws.amazon.com/amazondynamodb/latest/developerguide/warm-throughput.html).
pub(super) fn warm() -> Property {
    let members = vec![
        property("read_units_per_second", CAPACITY, "reads per second").required(),
        property("write_units_per_second", CAPACITY, "writes per second").required(),
    ];
    let doc = "reads and writes per second that the table supports at once; DynamoDB only raises it; omit it to leave it \
               to DynamoDB, which also keeps the value when you remove it";
    property(WARM, Shape::Record(members), doc)
        .member("WarmThroughput")
        .equivalent(|_, wanted| *wanted == Value::Null)
        .unclear(covered)
        .decided_by(raised)
}

/// Why a lower value than the current one isn't compared.
fn covered(live: &Value, wanted: &Value) -> Option<Str> {
    let (current, wanted) = (Warm::of(live)?, Warm::of(wanted)?);
    (current.covers(&wanted) && current != wanted).then(|| {
        let Warm { read_units_per_second: reads, write_units_per_second: writes } = current;
        format!("the table supports {reads} reads and {writes} writes per second, and DynamoDB never lowers that")
            .into()
    })
}

/// A value that must rise while the other one would have to fall can't be reached.
fn raised(path: &Path, live: &Tree, desired: &Tree) -> Effect {
    let units = |tree: &Tree| match tree.get(WARM) {
        Some(Value::Map(warm)) => warm.iter().find(|(name, _)| *path == Path::property(WARM).key(name))?.1.as_i64(),
        _ => None,
    };
    if units(live) > units(desired) { Effect::refuse(NEVER_LOWERED) } else { Effect::InPlace }
}
