//! `log_group`: a CloudWatch Logs log group with its retention period and its key.
//!
//! ```yaml
//! team: blue-owls
//! resources:
//!   logs:
//!     type: log_group
//!     name: /aws/lambda/blue-owls-logger
//!     retention_in_days: 14
//!   execution-role:
//!     type: role
//!     import: fhms-pulumi-challenge-lambda-execution-role
//!   logger:
//!     type: function
//!     runtime: nodejs22.x
//!     handler: index.handler
//!     role: ${execution-role.arn}
//!     log_group: ${logs.name}
//!     code:
//!       inline: |
//!         exports.handler = async (event) => console.log(JSON.stringify(event));
//! ```

mod errors;
pub(super) mod operations;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aws_sdk_cloudwatchlogs::config::Builder as Override;
use aws_sdk_cloudwatchlogs::types::{LogGroup as Description, LogGroupClass};
use aws_smithy_types::retry::RetryConfig;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use crate::aws::error::ErrorRow;
use crate::aws::{AwsError, CallContext, Code, Context, Existing, Wait};
use crate::kind::Kind;
use crate::operation::Operation;
use crate::ownership::{OwnershipVerdict, UnreadableTags};
use crate::schema::{
    DeleteBlock, Disruption, Effect, Id, Identity, Live, Locality, Output, Outputs, Owner, Problem, Reading, Schema,
    Shape, Status, Str, TAG_TEAM, Tagging, Text, Timestamps, Unknown, property,
};
use crate::value::{Path, Tree, Value};
use engine_core::kind::{AccessLevel, Want};

use super::{Delta, ExistenceTracker};

use operations::{LOG_GROUP, OF_FUNCTIONS};

pub(super) struct LogGroup;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Props {
    retention_in_days: Option<Period>,
    log_group_class: String,
    /// It has no place in a spec, but decides whether AWS deletes the log group.
    deletion_protection: Option<bool>,
    kms_key_arn: Option<String>,
    tags: BTreeMap<String, String>,
}

/// How long log events are kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Period {
    /// As set on the log group.
    Days(i32),
    /// As set by the account-level policy with this name, which overrides the log group's own
    /// setting. AWS then shows the policy's period instead
    /// (docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_LogGroup.html).
    OfPolicy(String),
}

impl Props {
    /// The properties that differ from what a create would have set. The retention period has a
    /// separate call, so it is either not set yet or as another run has set it.
    fn diff_from_wanted(&self, want: &Props) -> Vec<String> {
        let is_set = self.retention_in_days.is_some() && !self.has_period_of(want);
        let period = is_set.then(|| "`retention_in_days`".to_owned());
        let tags = (!super::has_tags(&self.tags, &want.tags)).then(|| "`tags`".to_owned());
        super::differing(self, want, &["retention_in_days", "deletion_protection", "tags"])
            .into_iter()
            .chain(period)
            .chain(tags)
            .collect()
    }

    /// Whether it has the wanted retention period, as far as the account's policy shows it.
    fn has_period_of(&self, want: &Props) -> bool {
        matches!(self.retention_in_days, Some(Period::OfPolicy(_))) || self.retention_in_days == want.retention_in_days
    }

    /// Whether a read shows everything that was wanted and can be read.
    fn shows(&self, want: &Props, is_known: impl Fn(&str) -> bool) -> bool {
        self.has_period_of(want)
            && (!is_known("kms_key_arn") || self.kms_key_arn == want.kms_key_arn)
            && (!is_known("tags") || super::has_tags(&self.tags, &want.tags))
    }
}

/// docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_CreateLogGroup.html
static NAME: LazyLock<Text> = LazyLock::new(|| {
    Text::new(1..=512, "letters, digits and `.-_/#`, not starting with `aws/`", |text| {
        text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_/#".contains(&byte)) && !text.starts_with("aws/")
    })
});
/// CloudWatch Logs takes only the ARN of a key, not its ID or alias (same page).
static KMS_KEY: LazyLock<Text> = LazyLock::new(|| {
    Text::new(1..=256, "the ARN of a KMS key (`arn:aws:kms:region:account:key/id`)", |text| {
        super::text::is_arn(text, "kms") && text.contains(":key/")
    })
});
/// The periods that AWS accepts
/// (docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html).
const PERIODS: [i64; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];
/// The class whose log events are kept for one day
/// (docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_CreateLogGroup.html).
const DELIVERY: &str = "DELIVERY";

/// docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CloudWatch_Logs_Log_Classes.html
const FIXED_CLASS: &str = "CloudWatch Logs can't change the class of an existing log group; a new one would be empty";

/// Several calls about one log group at once are in conflict
/// (docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/CommonErrors.html,
/// OperationAbortedException).
const BUSY: Wait = Wait {
    what: "an earlier change of the log group to finish",
    reason: "AWS allows one change at a time",
    inspect_cmd: INSPECT,
    limit: None,
    budget: Duration::from_secs(120),
};
/// A key takes up to five minutes to take effect
/// (docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_AssociateKmsKey.html).
const UPDATED: Wait = Wait {
    what: "the log group to show its settings",
    reason: "AWS's reads are eventually consistent",
    inspect_cmd: INSPECT,
    limit: None,
    budget: Duration::from_secs(360),
};
/// How many reads may show another retention period than the one that was set: some seconds.
/// CloudWatch Logs shows a new one at once, so another client has changed it.
const LAGGING_READS: u32 = 20;
const DELETED: Wait = Wait {
    what: "the log group to be deleted",
    reason: "AWS's reads are eventually consistent",
    inspect_cmd: INSPECT,
    limit: None,
    budget: Duration::from_secs(120),
};
/// Lambda buffers log lines for a few seconds, also those of a deleted function.
const LATE_LINES: Duration = Duration::from_secs(5);
const INSPECT: &str = "aws logs describe-log-groups --log-group-name-prefix {}";

impl Kind for LogGroup {
    type Props = Props;

    fn schema(&self) -> Schema {
        Schema {
            kind: "log_group".into(),
            summary: "a CloudWatch Logs log group".into(),
            remark: "`name` can begin with a path, like `/aws/lambda/blue-owls-logger`: its last part starts with the team's name.".into(),
            source: "https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_CreateLogGroup.html"
                .into(),
            identity: Identity::Named { text: NAME.clone() },
            managed: true,
            importable: true,
            adoptable: true,
            holds_data: false,
            delete_block: Some(Arc::new(|props| {
                (props.get("deletion_protection") == Some(&Value::Bool(true))).then(|| DeleteBlock {
                    reason: PROTECTED.into(),
                    hint: UNPROTECT.into(),
                })
            })),
            retained_on_delete: None,
            disruption: Some(Disruption {
                deleted: "its log events are deleted too".into(),
                replaced: "its log events are deleted; the new log group is empty".into(),
            }),
            recreate_note: None,
            arn: LOG_GROUP.arn.clone(),
            // Whether the tag index lists log groups isn't documented.
            tagging: Tagging::PartlyIndexed,
            properties: vec![
                property(
                    "retention_in_days",
                    Shape::Integer { min: 1, max: i32::MAX.into() },
                    "days after which log events are deleted; omit it to keep them",
                )
                .unclear(overridden)
                .destructive_notes(retention_loss),
                property(
                    "log_group_class",
                    super::open(&["STANDARD", "INFREQUENT_ACCESS", "ESSENTIALS", DELIVERY]),
                    "log class: features and cost",
                )
                .default("STANDARD")
                .no_references()
                .on_change(Effect::refuse(FIXED_CLASS)),
                property(
                    "kms_key_arn",
                    Shape::Text(KMS_KEY.clone()),
                    "ARN of the KMS key that encrypts new log events; defaults to encryption by CloudWatch Logs",
                )
                .member("KmsKeyId")
                .in_locality(Locality::Region)
                .destructive_notes(super::removal_loss(KEY_LOSS)),
                // With itself, which is never compared: so a plan never shows it.
                property("deletion_protection", Shape::Bool, "").derived().display_with("deletion_protection"),
                super::tags(),
            ],
            outputs: vec![
                Output::arn("arn", "the log group's ARN, without `:*`"),
                Output::computed("name", "the log group's name", |_, name| name.to_owned()),
            ],
        }
    }

    fn normalize(&self, _id: &Id, desired: &mut Tree) {
        desired.insert("deletion_protection".to_owned(), Value::Null);
    }

    fn check(&self, desired: &Tree) -> Vec<Problem> {
        let Some(Value::Number(days)) = desired.get("retention_in_days") else { return Vec::new() };
        let path = Path::property("retention_in_days");
        if desired.get("log_group_class").and_then(Value::as_str) == Some(DELIVERY) {
            let problem = "`retention_in_days` has no effect with the log class DELIVERY";
            let why = "CloudWatch Logs keeps the events of these log groups for one day";
            let problem = Problem::error(path, problem, "remove `retention_in_days`").why(why);
            return vec![problem.inapplicable_with("retention_in_days", "log_group_class")];
        }
        let Some(days) = days.as_i64().filter(|days| !PERIODS.contains(days)) else { return Vec::new() };
        let problem = format!("`{days}` is not a known retention period");
        let hint = format!("if AWS rejects it, use one of {}", PERIODS.map(|it| it.to_string()).join(", "));
        vec![Problem::warning(path, problem, hint)]
    }

    fn access_levels(&self) -> Vec<AccessLevel> {
        vec![AccessLevel::new("write", &["logs:CreateLogStream", "logs:PutLogEvents"], &["", ":*"])]
    }

    /// docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs.html
    fn created_for(&self, name: &str) -> Option<(Str, String)> {
        let function = name.strip_prefix(OF_FUNCTIONS)?;
        Some(("function".into(), function.to_owned()))
    }

    async fn read(&self, cx: &Context, id: &Id) -> Result<Reading<Props>, AwsError> {
        // If the account is known, so is the ARN, and both reads can run at once.
        let (group, tags) = match &id.env {
            Some(env) => {
                let arn = LOG_GROUP.arn(env, &id.name);
                tokio::join!(describe(cx, &id.name), list_tags(cx, &arn, &id.name))
            }
            None => match describe(cx, &id.name).await {
                Ok(Some(group)) => {
                    let tags = list_tags(cx, arn(&group), &id.name).await;
                    (Ok(Some(group)), tags)
                }
                nothing => (nothing, Ok(BTreeMap::new())),
            },
        };
        let Some(group) = group? else { return Ok(None.into()) };
        let mut unknown = unknown(&group);
        let (tags, owner) = super::tags_and_owner(tags, |_| None, &mut unknown)?;
        let live = Live {
            props: props(&group, tags),
            outputs: [("arn", arn(&group)), ("name", group.log_group_name().unwrap_or_default())]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            owner,
            status: Status::Stable,
            // A log group that was deleted and re-created has another creation time.
            unique_id: group.creation_time.map(|time| time.to_string()),
            revision: None,
            timestamps: Timestamps { created: group.creation_time, modified: None },
            notes: Vec::new(),
            unknown,
        };
        Ok(Some(live).into())
    }

    async fn list_by_prefix(&self, cx: &Context, owner: &Owner) -> Result<Vec<Id>, AwsError> {
        let of_functions = format!("{OF_FUNCTIONS}{}", owner.team);
        let (own, of_functions) = tokio::try_join!(list(cx, &owner.team), list(cx, &of_functions))?;
        let claimed = join_all(of_functions.into_iter().map(|group| claimed(cx, owner, group))).await;
        let claimed = claimed.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten();
        let names = own.into_iter().chain(claimed).filter_map(|group| group.log_group_name);
        let ours = names.filter(|name| LOG_GROUP.is_of_team(name, &owner.team));
        Ok(ours.map(|name| super::scanned(owner, name)).collect())
    }

    async fn create(&self, cx: &Context, id: &Id, want: Want<Props>) -> Result<Outputs, AwsError> {
        let props = want.props;
        let defaults = super::with_defaults(self, id, &props)?;
        let beyond = Delta { from: &defaults, to: &props };
        let send = || async {
            let request = cx
                .aws
                .logs
                .create_log_group()
                .log_group_name(&id.name)
                .set_log_group_class(beyond.member(|it| LogGroupClass::from(it.log_group_class.as_str())))
                .set_kms_key_id(props.kms_key_arn.clone())
                .set_tags(Some(super::all_tags(&id.owner, &props.tags)));
            request.customize().config_override(once()).send().await.context("CreateLogGroup", &id.name).map(|_| ())
        };
        let find = || async {
            let Some(live) = self.read(cx, id).await?.live else { return Ok(None) };
            match OwnershipVerdict::of(&live.owner, None, &id.owner) {
                OwnershipVerdict::Owned => {
                    super::ensure_matches("CreateLogGroup", id, &live.props.diff_from_wanted(&props)).map(Some)
                }
                OwnershipVerdict::Unknown(UnreadableTags::NotYet(why)) => {
                    Err(AwsError::own(Code::Busy, "CreateLogGroup", &id.name, why))
                }
                _ => Err(super::name_conflict("CreateLogGroup", id)),
            }
        };
        cx.create(BUSY, &id.name, send, find).await?;
        if props.retention_in_days.is_some() {
            self.set_first_retention(cx, id, &props).await?;
        }
        let arn = id.env.as_ref().map(|env| ("arn", LOG_GROUP.arn(env, &id.name)));
        let outputs = arn.into_iter().chain([("name", id.name.clone())]);
        Ok(outputs.map(|(name, value)| (name.to_owned(), value)).collect())
    }

    async fn update(&self, cx: &Context, id: &Id, have: Live<Props>, want: Want<Props>) -> Result<Outputs, AwsError> {
        let want = want.props;
        if super::must_tag(cx, id, &have.owner, &have.props.tags, &want.tags) {
            let missing = super::missing_tags(&have.props.tags, &want.tags);
            tag(cx, id, &have.outputs, &missing).await?;
        }
        let change = Delta { from: &have.props, to: &want };
        if let Some(key) = change.member(|it| it.kms_key_arn.clone()) {
            set_key(cx, id, key.as_deref()).await?;
        }
        if let Some(days) = change.member(|it| it.retention_in_days.clone()) {
            set_retention(cx, id, days.as_ref()).await?;
        }
        Ok(have.outputs)
    }

    async fn wait_ready(
        &self,
        cx: &Context,
        id: &Id,
        want: &Props,
        unknown: &[&str],
        _outputs: &Outputs,
    ) -> Result<(), AwsError> {
        let (tracker, lagging) = (ExistenceTracker::default(), AtomicU32::new(0));
        let shown = || async {
            let Some(live) = self.owned(cx, id, &tracker).await? else { return Ok(None) };
            let is_known = |name: &str| !unknown.contains(&name) && !live.unknown.contains_key(name);
            if live.props.shows(want, is_known) {
                return Ok(Some(()));
            }
            // With another client's period, it would never end.
            if live.props.has_period_of(want) || lagging.fetch_add(1, Ordering::Relaxed) < LAGGING_READS {
                return Ok(None);
            }
            let message = "AWS accepted the change, but the log group shows another `retention_in_days`";
            Err(AwsError::own(Code::NotAsAsked, "DescribeLogGroups", &id.name, message))
        };
        cx.until(UPDATED, &id.name, shown).await
    }

    async fn delete(&self, cx: &Context, id: &Id, have: Live<Props>) -> Result<(), AwsError> {
        // AWS doesn't document the error for a protected log group.
        let group = cx.read(&id.name, || describe(cx, &id.name)).await?;
        if let Some(group) = group.filter(is_protected) {
            return Err(protected(id, arn(&group)));
        }
        // With events, a function may still be writing some.
        let was_used = cx.read(&id.name, || has_events(cx, &id.name)).await.unwrap_or(true);
        cx.send(BUSY, &id.name, || delete(cx, &id.name)).await?;
        let is_deleted = || async {
            let group = describe(cx, &id.name).await?;
            // Another creation time means a new log group with the same name.
            let is_it = |it: Description| it.creation_time.map(|time| time.to_string()) == have.unique_id;
            Ok((!group.is_some_and(is_it)).then_some(()))
        };
        cx.until(DELETED, &id.name, is_deleted).await?;
        if was_used { delete_again(cx, id).await } else { Ok(()) }
    }

    async fn untag(&self, cx: &Context, id: &Id, have: Live<Props>) -> Result<(), AwsError> {
        let arn = have.outputs.get("arn").cloned().unwrap_or_default();
        let keys: Vec<String> = id.owner.tags().map(|(key, _)| key.to_owned()).to_vec();
        let untag = || async {
            let request = cx.aws.logs.untag_resource().resource_arn(&arn).set_tag_keys(Some(keys.clone()));
            request.send().await.context("UntagResource", &id.name).map(|_| ())
        };
        cx.send(BUSY, &id.name, untag).await
    }

    fn operations(&self) -> &'static [Operation] {
        operations::OPERATIONS
    }

    fn errors(&self) -> &'static [ErrorRow] {
        errors::ERRORS
    }
}

impl LogGroup {
    /// The log group, once its tags are readable, because the next run needs them to determine the
    /// owner.
    async fn owned(&self, cx: &Context, id: &Id, tracker: &ExistenceTracker) -> Result<Option<Live<Props>>, AwsError> {
        let look = self.read(cx, id).await?.live;
        let Some(live) = tracker.note("DescribeLogGroups", id, look)? else { return Ok(None) };
        match OwnershipVerdict::of(&live.owner, None, &id.owner) {
            OwnershipVerdict::Owned | OwnershipVerdict::Unknown(UnreadableTags::Denied) => Ok(Some(live)),
            verdict if verdict.other_owner().is_some() => Err(super::name_conflict("DescribeLogGroups", id)),
            _ => Ok(None),
        }
    }

    /// Sets the retention period of a new log group, which the create call can't set. Another run
    /// that created it may have set its own.
    async fn set_first_retention(&self, cx: &Context, id: &Id, want: &Props) -> Result<(), AwsError> {
        let tracker = ExistenceTracker::default();
        let live = cx.until(UPDATED, &id.name, || self.owned(cx, id, &tracker)).await?;
        super::ensure_matches("PutRetentionPolicy", id, &live.props.diff_from_wanted(want))?;
        match live.props.retention_in_days == want.retention_in_days {
            true => Ok(()),
            false => set_retention(cx, id, want.retention_in_days.as_ref()).await,
        }
    }
}

fn is_protected(group: &Description) -> bool {
    group.deletion_protection_enabled() == Some(true)
}

/// Deletes the log group again if Lambda has re-created it, without tags, for a late line of a
/// function (github.com/hashicorp/terraform-provider-aws/issues/29247).
async fn delete_again(cx: &Context, id: &Id) -> Result<(), AwsError> {
    cx.pause_between_polls(LATE_LINES, "the functions' last log lines", &id.name).await?;
    let Some(group) = cx.read(&id.name, || describe(cx, &id.name)).await? else { return Ok(()) };
    let tags = cx.read(&id.name, || list_tags(cx, arn(&group), &id.name)).await.if_exists()?;
    if !tags.is_some_and(|tags| tags.is_empty()) {
        return Ok(());
    }
    cx.send(BUSY, &id.name, || delete(cx, &id.name)).await
}

async fn delete(cx: &Context, name: &str) -> Result<(), AwsError> {
    cx.aws.logs.delete_log_group().log_group_name(name).send().await.context("DeleteLogGroup", name).if_deleted()
}

/// The call takes the ARN, not the name
/// (github.com/hashicorp/terraform-provider-aws/issues/45298).
const UNPROTECT: &str = "turn it off first: `aws logs put-log-group-deletion-protection --log-group-identifier {arn} \
                         --no-deletion-protection-enabled`";
const PROTECTED: &str = "its deletion protection is on, so AWS refuses to delete it";

fn protected(id: &Id, arn: &str) -> AwsError {
    let error = AwsError::own(Code::DeletionProtected, "DeleteLogGroup", &id.name, PROTECTED);
    AwsError { remedy: Some(UNPROTECT.replace("{arn}", arn).into()), ..error }
}

fn overridden(live: &Value, _wanted: &Value) -> Option<Str> {
    let policy = live.as_str()?;
    Some(format!("the account's retention policy `{policy}` overrides it").into())
}

/// AWS deletes the events for good, up to 72 hours later
/// (docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html).
fn retention_loss(before: &Value, after: &Value) -> Vec<String> {
    match (before.as_i64(), after.as_i64()) {
        (before, Some(after)) if before.is_none_or(|before| after < before) => {
            vec![format!("log events that are older than {after} days are deleted")]
        }
        _ => Vec::new(),
    }
}

/// docs.aws.amazon.com/AmazonCloudWatch/latest/logs/encrypt-log-data-kms.html
const KEY_LOSS: &str = "new log events are encrypted by CloudWatch Logs instead of with a KMS key in the account";

/// The log group with exactly this name: AWS searches by prefix.
async fn describe(cx: &Context, name: &str) -> Result<Option<Description>, AwsError> {
    let mut token = None;
    loop {
        let request = cx.aws.logs.describe_log_groups().log_group_name_prefix(name).set_next_token(token);
        let answer = request.send().await.context("DescribeLogGroups", name)?;
        let found = answer.log_groups.unwrap_or_default().into_iter();
        if let Some(group) = found.into_iter().find(|group| group.log_group_name.as_deref() == Some(name)) {
            return Ok(Some(group));
        }
        token = answer.next_token;
        if token.is_none() {
            return Ok(None);
        }
    }
}

/// All log groups whose names start with this.
async fn list(cx: &Context, prefix: &str) -> Result<Vec<Description>, AwsError> {
    let pages = cx.aws.logs.describe_log_groups().log_group_name_prefix(prefix).into_paginator().items().send();
    pages.collect::<Result<Vec<_>, _>>().await.context("DescribeLogGroups", prefix)
}

/// The log group, if it has the team's tags or they can't be read. Lambda creates one for almost
/// every function, without tags, and those are no orphans.
async fn claimed(cx: &Context, owner: &Owner, group: Description) -> Result<Option<Description>, AwsError> {
    let name = group.log_group_name().unwrap_or_default();
    if !LOG_GROUP.is_of_team(name, &owner.team) {
        return Ok(None);
    }
    let tags = cx.read(name, || list_tags(cx, arn(&group), name)).await.if_exists();
    let is_ours =
        super::readable(tags)?.is_none_or(|tags| tags.is_some_and(|tags| tags.get(TAG_TEAM) == Some(&owner.team)));
    Ok(is_ours.then_some(group))
}

async fn list_tags(cx: &Context, arn: &str, name: &str) -> Result<BTreeMap<String, String>, AwsError> {
    let answer = cx.aws.logs.list_tags_for_resource().resource_arn(arn).send().await;
    Ok(answer.context("ListTagsForResource", name)?.tags.unwrap_or_default().into_iter().collect())
}

/// Whether it has a log stream. AWS's count of bytes can be hours old.
async fn has_events(cx: &Context, name: &str) -> Result<bool, AwsError> {
    let mut token = None;
    loop {
        let request = cx.aws.logs.describe_log_streams().log_group_name(name).limit(1).set_next_token(token);
        let Some(answer) = request.send().await.context("DescribeLogStreams", name).if_exists()? else {
            return Ok(false);
        };
        token = answer.next_token;
        if !answer.log_streams.unwrap_or_default().is_empty() {
            return Ok(true);
        }
        if token.is_none() {
            return Ok(false);
        }
    }
}

/// Its ARN without `:*`, as the calls about tags require
/// (docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_LogGroup.html).
fn arn(group: &Description) -> &str {
    let arn = group.log_group_arn().or(group.arn()).unwrap_or_default();
    arn.strip_suffix(":*").unwrap_or(arn)
}

/// What the response doesn't show: the class, which AWS always sends
/// (docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_LogGroup.html).
fn unknown(group: &Description) -> Unknown {
    super::missing([("log_group_class", group.log_group_class().is_none())])
}

fn props(group: &Description, tags: BTreeMap<String, String>) -> Props {
    let class = group.log_group_class().map_or("STANDARD", LogGroupClass::as_str);
    let period = match group.retention_policy_name() {
        Some(policy) => Some(Period::OfPolicy(policy.to_owned())),
        // The class alone determines it.
        None if class == DELIVERY => None,
        None => group.retention_in_days.map(Period::Days),
    };
    Props {
        retention_in_days: period,
        deletion_protection: Some(is_protected(group)),
        log_group_class: class.to_owned(),
        kms_key_arn: group.kms_key_id.clone(),
        tags,
    }
}

/// Sets the retention period; with `None`, log events never expire.
async fn set_retention(cx: &Context, id: &Id, period: Option<&Period>) -> Result<(), AwsError> {
    let send = || async {
        let logs = &cx.aws.logs;
        match period {
            Some(Period::Days(days)) => {
                let request = logs.put_retention_policy().log_group_name(&id.name).retention_in_days(*days);
                request.send().await.context("PutRetentionPolicy", &id.name).map(|_| ())
            }
            // The account decides.
            Some(Period::OfPolicy(_)) => Ok(()),
            None => {
                let request = logs.delete_retention_policy().log_group_name(&id.name);
                request.send().await.context("DeleteRetentionPolicy", &id.name).map(|_| ())
            }
        }
    };
    cx.send(BUSY, &id.name, send).await
}

/// Sets the key of new log events, in place of an earlier one.
async fn set_key(cx: &Context, id: &Id, key: Option<&str>) -> Result<(), AwsError> {
    let send = || async {
        let logs = &cx.aws.logs;
        match key {
            Some(key) => {
                let request = logs.associate_kms_key().log_group_name(&id.name).kms_key_id(key);
                request.send().await.context("AssociateKmsKey", &id.name).map(|_| ())
            }
            None => {
                let request = logs.disassociate_kms_key().log_group_name(&id.name);
                request.send().await.context("DisassociateKmsKey", &id.name).map(|_| ())
            }
        }
    };
    cx.send(BUSY, &id.name, send).await
}

async fn tag(cx: &Context, id: &Id, outputs: &Outputs, tags: &BTreeMap<String, String>) -> Result<(), AwsError> {
    let arn = outputs.get("arn").map_or("", String::as_str);
    let send = || async {
        let tags = super::all_tags(&id.owner, tags);
        let request = cx.aws.logs.tag_resource().resource_arn(arn).set_tags(Some(tags));
        request.send().await.context("TagResource", &id.name).map(|_| ())
    };
    cx.send(BUSY, &id.name, send).await
}

/// Disables the SDK's retries: a create is sent again only after a read shows that the first one
/// had no effect.
fn once() -> Override {
    aws_sdk_cloudwatchlogs::Config::builder().retry_config(RetryConfig::disabled())
}
