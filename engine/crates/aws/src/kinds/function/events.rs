//! `events:` of a function, which implies mappings.
//!
//! **Invariant:** each entry implies exactly one mapping or is an error.

use crate::schema::{Problem, Property, Shape, Str, TargetKeys, Text, property};
use crate::spec::{ResourceDecl, Spec};
use crate::value::{Path, Value};
use engine_core::kind::ImpliedResource;

/// The property that implies mappings.
pub(super) const EVENTS: &str = "events";

/// docs.aws.amazon.com/lambda/latest/dg/invocation-eventsourcemapping.html
pub(super) fn events() -> Property {
    property(
        EVENTS,
        Shape::Map { key: Text::any(63), value: Box::new(Shape::Record(crate::kinds::mapping::of_event())), max: 100 },
        "what invokes the function: tables and queues of this spec, each with the properties of its mapping",
    )
    .target_keys(TargetKeys::One)
    .write_only()
}

/// The sources in `events` of a function that Lambda doesn't poll
/// (docs.aws.amazon.com/lambda/latest/dg/invocation-eventsourcemapping.html).
pub(super) fn not_polled(declared: &ResourceDecl, spec: &Spec) -> Vec<Problem> {
    let Some(Value::Map(events)) = declared.desired.get(EVENTS) else { return Vec::new() };
    let sources = events.keys().filter_map(|source| spec.resource(source));
    let others = sources
        .filter(|it| !is_polled(&it.schema().kind) && spec.resource(&mapping_name(&it.name, declared)).is_none());
    let problem = |source: &ResourceDecl| {
        let path = Path::property(EVENTS).key(&source.name);
        let problem = format!("`{}` is a {}, which Lambda doesn't poll", source.name, source.schema().kind);
        let hint = format!(
            "for a service that invokes the function itself, add a permission instead: `type: permission`, `function: \
             ${{{}.arn}}`, `principal: events.amazonaws.com`",
            declared.name
        );
        Problem::error(path, problem, hint)
    };
    others.map(problem).collect()
}

/// Whether Lambda polls resources of a kind.
fn is_polled(kind: &str) -> bool {
    ["table", "queue"].contains(&kind)
}

/// The name of the mapping that a source in `events` implies.
fn mapping_name(source: &str, function: &ResourceDecl) -> String {
    format!("{source}-to-{}", function.name)
}

/// The mappings that `events` of a function implies. A source of another kind implies none, so that
/// it is a single error.
pub(super) fn mappings(declared: &ResourceDecl, kind_of: &dyn Fn(&str) -> Option<Str>) -> Vec<ImpliedResource> {
    let Some(Value::Map(events)) = declared.desired.get(EVENTS) else { return Vec::new() };
    let implied = events.iter().filter_map(|(source, body)| {
        let Value::Map(body) = body else { return None };
        let kind = kind_of(source);
        if kind.as_deref().is_some_and(|kind| !is_polled(kind)) {
            return None;
        }
        let is_stream = kind.as_deref() != Some("queue");
        let output = if is_stream { "stream_arn" } else { "arn" };
        let mut properties = crate::kinds::mapping::written(body, is_stream);
        properties.insert("function".to_owned(), Value::reference(&declared.name, "arn"));
        properties.insert("event_source_arn".to_owned(), Value::reference(source, output));
        Some(ImpliedResource {
            name: mapping_name(source, declared),
            kind: "mapping".into(),
            aws_name: None,
            properties,
            reference: None,
            path: Path::property(EVENTS).key(source),
        })
    });
    implied.collect()
}
