//! `mapping`: an event source mapping, by which Lambda reads a table's stream and calls a function.
//!
//! ```yaml
//! team: blue-owls
//! resources:
//!   todos:
//!     type: table
//!     attributes: { id: S }
//!     hash_key: id
//!     billing_mode: PAY_PER_REQUEST
//!     stream_view_type: NEW_AND_OLD_IMAGES
//!   execution-role: { type: role, import: fhms-pulumi-challenge-lambda-execution-role }
//!   logger:
//!     type: function
//!     runtime: nodejs22.x
//!     handler: index.handler
//!     role: ${execution-role.arn}
//!     code: { inline: "exports.handler = async () => {};" }
//!   todos-to-logger:
//!     type: mapping
//!     function: ${logger.arn}
//!     event_source_arn: ${todos.stream_arn}
//!     starting_position: TRIM_HORIZON
//! ```

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_sdk_lambda::config::Builder as Override;
use aws_sdk_lambda::types::{EventSourceMappingConfiguration, EventSourcePosition};
use aws_smithy_types::retry::RetryConfig;
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};

use crate::aws::{AwsError, Class, Context, Named, Wait};
use crate::kind::{Kind, Want};
use crate::schema::{
    Age, Condition, Effect, Id, Live, Naming, Origin, Output, Outputs, Owner, Ownership, Reading, Schema, Shape,
    property,
};
use crate::value::Value;

pub(super) struct Mapping;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Props {
    #[serde(default)]
    function: String,
    event_source_arn: String,
    starting_position: String,
    batch_size: i32,
    enabled: bool,
    tags: BTreeMap<String, String>,
}

const BUSY: Wait =
    Wait { what: "an earlier change of the mapping to finish", counted: true, budget: Duration::from_secs(300) };
const SETTLED: Wait = Wait { what: "the mapping to settle", counted: true, budget: Duration::from_secs(600) };
const GONE: Wait = Wait { what: "the mapping to be gone", counted: true, budget: Duration::from_secs(300) };

impl Kind for Mapping {
    type Props = Props;

    fn schema(&self) -> Schema {
        Schema {
            kind: "mapping",
            summary: "an event source mapping: Lambda reads a stream and calls a function",
            source: "https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html",
            naming: Naming::Assigned,
            managed: true,
            importable: false,
            adoptable: false,
            holds_data: false,
            locked: None,
            leaves: None,
            index: Some("lambda:event-source-mapping"),
            renewal: Some(|props| match props.get("starting_position").and_then(Value::as_str) {
                Some("LATEST") => "a new mapping at LATEST skips what is written until it is Enabled",
                _ => "a new mapping at TRIM_HORIZON delivers the stream's records of up to 24 hours again",
            }),
            properties: vec![
                property(
                    "function",
                    Shape::Link { to: &[("function", "arn"), ("function", "name")], literal: None },
                    "the function that is called",
                )
                .required()
                .identity()
                .local()
                .needs_made(),
                property(
                    "event_source_arn",
                    Shape::Link { to: &[("table", "stream_arn")], literal: Some(super::text::STREAM_ARN) },
                    "the stream that is read",
                )
                .required()
                .identity()
                .on_change(Effect::Replace),
                property("starting_position", Shape::Choice(&["TRIM_HORIZON", "LATEST"]), "where reading begins")
                    .required()
                    .on_change(Effect::Replace),
                property("batch_size", Shape::Integer { min: 1, max: 10_000 }, "most records in one call").default(100),
                property("enabled", Shape::Bool, "whether the stream is read").default(true),
                super::tags(),
            ],
            outputs: vec![Output {
                name: "uuid",
                doc: "the id that AWS gave it",
                origin: Origin::Assigned { until: &[] },
            }],
        }
    }

    async fn read(&self, cx: &Context, id: &Id) -> Result<Reading<Props>, AwsError> {
        if let Some(uuid) = &id.incarnation {
            let Some(mapping) = get(cx, uuid).await? else { return Ok(None.into()) };
            let tags = list_tags(cx, &mapping).await?;
            return Ok(Some(live(mapping, tags)).into());
        }
        let mappings = list(cx, id.anchor("function")).await?;
        let others = try_join_all(mappings.into_iter().map(|mapping| async {
            let tags = list_tags(cx, &mapping).await?;
            let resource = match &tags.owner {
                Ownership::Engine(owner) => owner.resource.clone(),
                _ => String::new(),
            };
            let id = Id {
                owner: Owner { resource, ..id.owner.clone() },
                name: mapping.uuid.clone().unwrap_or_default(),
                arn: None,
                anchors: BTreeMap::from([
                    ("function", id.anchor("function").to_owned()),
                    ("event_source_arn", table_of(mapping.event_source_arn().unwrap_or_default()).to_owned()),
                ]),
                site: id.site.clone(),
                incarnation: mapping.uuid.clone(),
            };
            Ok::<_, AwsError>((id, live(mapping, tags)))
        }))
        .await?;
        Ok(Reading { live: None, others })
    }

    async fn create(&self, cx: &Context, id: &Id, want: Want<Props>) -> Result<Outputs, AwsError> {
        let props = want.props;
        let send = || async {
            let request = cx
                .aws
                .lambda
                .create_event_source_mapping()
                .function_name(id.anchor("function"))
                .event_source_arn(&props.event_source_arn)
                .starting_position(EventSourcePosition::from(props.starting_position.as_str()))
                .batch_size(props.batch_size)
                .enabled(props.enabled)
                .set_tags(Some(super::all_tags(&id.owner, &props.tags)));
            let once = request.customize().config_override(once());
            let answer = match once.send().await.named("CreateEventSourceMapping", &id.name) {
                // The function was made a moment ago; not everybody in AWS has heard of it.
                Err(error) if error.class == Class::NotFound => return Err(AwsError { class: Class::Busy, ..error }),
                answer => answer?,
            };
            Ok(answer.uuid.map_or_else(Outputs::new, |uuid| Outputs::from([("uuid".to_owned(), uuid)])))
        };
        let find = || async {
            let of_pair = |mapping: &&EventSourceMappingConfiguration| {
                mapping.event_source_arn() == Some(&*props.event_source_arn)
            };
            let mappings = list(cx, id.anchor("function")).await?;
            let Some(mapping) = mappings.iter().find(of_pair) else { return Ok(None) };
            if condition(mapping) == Condition::Leaving {
                // The pair is free again once the old mapping is gone.
                let message = "an older mapping of the same stream is being deleted";
                return Err(AwsError::own(Class::Leaving, "CreateEventSourceMapping", &id.name, message));
            }
            match list_tags(cx, mapping).await?.owner {
                Ownership::Engine(owner) if owner == id.owner => Ok(Some(outputs(mapping))),
                _ => Err(super::taken("CreateEventSourceMapping", id)),
            }
        };
        cx.create(BUSY, &id.name, send, find).await
    }

    async fn update(&self, cx: &Context, id: &Id, have: Live<Props>, want: Want<Props>) -> Result<Outputs, AwsError> {
        let uuid = have.incarnation.clone().unwrap_or_default();
        let props = want.props;
        if super::must_tag(cx, id, &have.owner, &have.props.tags, &props.tags) {
            let arn = match get(cx, &uuid).await? {
                Some(mapping) => mapping.event_source_mapping_arn.unwrap_or_default(),
                None => return Err(AwsError::own(Class::Changed, "TagResource", &id.name, "the mapping is gone")),
            };
            let tag = || async {
                let tags = super::all_tags(&id.owner, &props.tags);
                let request = cx.aws.lambda.tag_resource().resource(&arn).set_tags(Some(tags));
                request.send().await.named("TagResource", &id.name)
            };
            cx.send(BUSY, &id.name, tag).await?;
        }
        if (have.props.batch_size, have.props.enabled) != (props.batch_size, props.enabled) {
            let change = || async {
                let request = cx.aws.lambda.update_event_source_mapping().uuid(&uuid);
                let request = request.batch_size(props.batch_size).enabled(props.enabled);
                request.send().await.named("UpdateEventSourceMapping", &id.name)
            };
            cx.send(BUSY, &id.name, change).await?;
        }
        Ok(have.outputs)
    }

    async fn settle(&self, cx: &Context, id: &Id, want: &Props, outputs: &Outputs) -> Result<(), AwsError> {
        let uuid = outputs.get("uuid").map_or("", String::as_str);
        let seen = AtomicBool::new(false);
        let gone =
            || AwsError::own(Class::Changed, "GetEventSourceMapping", &id.name, "somebody else deleted it meanwhile");
        let probe = || async {
            let Some(mapping) = get(cx, uuid).await? else {
                // Not found right after the create means "not yet".
                return if seen.load(Ordering::Relaxed) { Err(gone()) } else { Ok(None) };
            };
            seen.store(true, Ordering::Relaxed);
            if condition(&mapping) == Condition::Leaving {
                return Err(gone());
            }
            // The state alone may be the one from before the update.
            let settled = condition(&mapping) == Condition::Settled;
            let now = props(mapping, BTreeMap::new());
            Ok((settled && (now.enabled, now.batch_size) == (want.enabled, want.batch_size)).then_some(()))
        };
        cx.until(SETTLED, &id.name, probe).await
    }

    async fn delete(&self, cx: &Context, id: &Id, have: Live<Props>) -> Result<(), AwsError> {
        let uuid = have.incarnation.unwrap_or_default();
        let delete = || async {
            match cx
                .aws
                .lambda
                .delete_event_source_mapping()
                .uuid(&uuid)
                .send()
                .await
                .named("DeleteEventSourceMapping", &id.name)
            {
                Err(error) if error.class == Class::NotFound => Ok(()),
                // In use either because of an earlier change, which passes, or because it is being deleted already.
                Err(error) if error.class == Class::Busy => match get(cx, &uuid).await? {
                    Some(mapping) if mapping.state() != Some("Deleting") => Err(error),
                    _ => Ok(()),
                },
                answer => answer.map(|_| ()),
            }
        };
        cx.send(BUSY, &id.name, delete).await?;
        cx.until(GONE, &id.name, || async { Ok(get(cx, &uuid).await?.is_none().then_some(())) }).await
    }
}

fn live(mapping: EventSourceMappingConfiguration, tags: Tags) -> Live<Props> {
    Live {
        outputs: outputs(&mapping),
        condition: condition(&mapping),
        incarnation: mapping.uuid.clone(),
        owner: tags.owner,
        age: Age::default(),
        notes: Vec::new(),
        props: props(mapping, tags.own),
    }
}

struct Tags {
    own: BTreeMap<String, String>,
    owner: Ownership,
}

/// All mappings of a function, by its name: one on a dead stream or of a deleted function is found as well.
async fn list(cx: &Context, function: &str) -> Result<Vec<EventSourceMappingConfiguration>, AwsError> {
    let mut mappings = Vec::new();
    let mut marker = None;
    loop {
        let request = cx.aws.lambda.list_event_source_mappings().function_name(function).set_marker(marker);
        let answer = match request.send().await.named("ListEventSourceMappings", function) {
            Err(error) if error.class == Class::NotFound => return Ok(mappings),
            answer => answer?,
        };
        mappings.extend(answer.event_source_mappings.unwrap_or_default());
        // A page may be empty and still have a successor.
        marker = answer.next_marker.filter(|marker| !marker.is_empty());
        if marker.is_none() {
            return Ok(mappings);
        }
    }
}

async fn get(cx: &Context, uuid: &str) -> Result<Option<EventSourceMappingConfiguration>, AwsError> {
    let answer = cx.aws.lambda.get_event_source_mapping().uuid(uuid).send().await.named("GetEventSourceMapping", uuid);
    match answer {
        Ok(answer) => Ok(Some(
            EventSourceMappingConfiguration::builder()
                .set_uuid(answer.uuid)
                .set_state(answer.state)
                .set_batch_size(answer.batch_size)
                .set_event_source_arn(answer.event_source_arn)
                .set_starting_position(answer.starting_position)
                .set_event_source_mapping_arn(answer.event_source_mapping_arn)
                .build(),
        )),
        Err(error) if error.class == Class::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

async fn list_tags(cx: &Context, mapping: &EventSourceMappingConfiguration) -> Result<Tags, AwsError> {
    let arn = mapping.event_source_mapping_arn().unwrap_or_default();
    let nothing = |owner| Ok(Tags { own: BTreeMap::new(), owner });
    match cx.aws.lambda.list_tags().resource(arn).send().await.named("ListTags", mapping.uuid().unwrap_or_default()) {
        Ok(answer) => {
            let tags = answer.tags.unwrap_or_default();
            let pairs = || tags.iter().map(|(key, value)| (key.as_str(), value.as_str()));
            Ok(Tags { own: super::own_tags(pairs()), owner: Ownership::from_tags(pairs()) })
        }
        Err(error) if error.class == Class::Denied => nothing(Ownership::Denied),
        // Gone between the list and this.
        Err(error) if error.class == Class::NotFound => nothing(Ownership::Nobody),
        Err(error) => Err(error),
    }
}

/// The table's name in a stream's ARN.
fn table_of(stream_arn: &str) -> &str {
    stream_arn.split_once(":table/").map_or("", |(_, rest)| rest.split('/').next().unwrap_or_default())
}

/// A mapping as properties. `Enabled` is no field of AWS's answer: the state tells, also on its way there.
fn props(mapping: EventSourceMappingConfiguration, tags: BTreeMap<String, String>) -> Props {
    Props {
        function: String::new(),
        enabled: !matches!(mapping.state(), Some("Disabled" | "Disabling")),
        event_source_arn: mapping.event_source_arn.unwrap_or_default(),
        starting_position: mapping.starting_position.map_or_else(String::new, |position| position.as_str().to_owned()),
        batch_size: mapping.batch_size.unwrap_or(100),
        tags,
    }
}

fn outputs(mapping: &EventSourceMappingConfiguration) -> Outputs {
    mapping.uuid().map_or_else(Outputs::new, |uuid| Outputs::from([("uuid".to_owned(), uuid.to_owned())]))
}

fn condition(mapping: &EventSourceMappingConfiguration) -> Condition {
    match mapping.state() {
        Some("Deleting") => Condition::Leaving,
        Some("Enabled" | "Disabled") | None => Condition::Settled,
        // In these two it does not show whether it will be enabled.
        Some(state @ ("Creating" | "Updating")) => Condition::Unclear(state.to_owned()),
        Some(state) => Condition::Changing(state.to_owned()),
    }
}

/// A create is sent once; whether to send it again is decided after a look at what it made.
fn once() -> Override {
    aws_sdk_lambda::Config::builder().retry_config(RetryConfig::disabled())
}
