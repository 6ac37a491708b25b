//! The calls of `log_group`
//! (docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_Operations.html), and the
//! permissions on log groups.

use engine_core::wait::limiter::Limit;

use crate::aws::limits::{LOG_GROUP_CHANGES, LOG_GROUP_READS};
use crate::operation::{At, Effect, Grant, NameForm, Operation, Service, Takes, Wire};
use crate::policy::{DELETE, Imported, PolicyBuilder, Purpose::Apply, READ, Scope};
use crate::schema::ArnForm;

/// docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_CreateLogGroup.html
pub(crate) static LOG_GROUP: NameForm = NameForm {
    kind: "log_group",
    arn: Some(ArnForm::regional_with_folders("logs", "log-group:{name}")),
    marks: Some(".-_/#"),
    is_qualified: false,
    attached_to: None,
};

/// The folder of Lambda's default log groups, which are named after their functions
/// (docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs.html).
pub(super) const OF_FUNCTIONS: &str = "/aws/lambda/";

/// The team's log groups. IAM uses the ARN with and without `:*`
/// (docs.aws.amazon.com/AmazonCloudWatch/latest/logs/iam-access-control-overview-cwl.html).
const LOG_GROUPS: Scope = Scope {
    kind: Some("log_group"),
    imported: Some(Imported {
        sid: "ImportedLogGroups",
        kind: "log_group",
        resources: |policy, group| both_forms(policy.arn(&LOG_GROUP, group)),
        why: None,
    }),
    ..Scope::new("LogGroups", log_groups)
};

fn log_groups(policy: &PolicyBuilder<'_>) -> Vec<String> {
    policy.of_team_in(&LOG_GROUP, &["", OF_FUNCTIONS]).into_iter().flat_map(both_forms).collect()
}

/// A wildcard at the end covers both forms.
fn both_forms(arn: String) -> Vec<String> {
    let arn = arn.strip_suffix(":*").map(str::to_owned).unwrap_or(arn);
    if arn.ends_with('*') { vec![arn] } else { vec![format!("{arn}:*"), arn] }
}

const fn of(action: &'static str, effect: Effect, limit: &'static Limit, grants: &'static [Grant]) -> Operation {
    Operation::new(Service::LOGS, action, effect, Wire::Json("Logs_20140328"), limit, grants).of_kind("log_group")
}

/// A call about the log group in the body.
const fn named(action: &'static str, effect: Effect, limit: &'static Limit, grants: &'static [Grant]) -> Operation {
    of(action, effect, limit, grants).on(&LOG_GROUP, At::Body("logGroupName"), Takes::Name)
}

/// A change of a setting.
const fn setting(action: &'static str) -> Operation {
    named(action, Effect::Write, &LOG_GROUP_CHANGES, &[(&LOG_GROUPS, &[Apply])]).in_place()
}

/// A change of its key. The other member could name the results of all queries of the account.
const fn key(action: &'static str) -> Operation {
    Operation { forbidden: Some("resourceIdentifier"), ..setting(action) }
}

/// A call about its tags.
const fn tags(action: &'static str, effect: Effect, limit: &'static Limit, grants: &'static [Grant]) -> Operation {
    of(action, effect, limit, grants).on(&LOG_GROUP, At::Body("resourceArn"), Takes::Arn)
}

pub(super) const OPERATIONS: &[Operation] = &[
    key("logs:AssociateKmsKey"),
    // With tags it also requires logs:TagResource.
    named("logs:CreateLogGroup", Effect::Create, &LOG_GROUP_READS, &[(&LOG_GROUPS, &[Apply])]),
    named("logs:DeleteLogGroup", Effect::Write, &LOG_GROUP_CHANGES, &[(&LOG_GROUPS, DELETE)]),
    setting("logs:DeleteRetentionPolicy"),
    // IAM has no resource type for it
    // (docs.aws.amazon.com/service-authorization/latest/reference/list_amazoncloudwatchlogs.html).
    of("logs:DescribeLogGroups", Effect::Read, &LOG_GROUP_READS, &[(&Scope::LISTS, READ)]),
    named("logs:DescribeLogStreams", Effect::Read, &LOG_GROUP_READS, &[(&LOG_GROUPS, DELETE)]),
    key("logs:DisassociateKmsKey"),
    tags("logs:ListTagsForResource", Effect::Read, &LOG_GROUP_READS, &[(&LOG_GROUPS, READ)]),
    setting("logs:PutRetentionPolicy"),
    tags("logs:TagResource", Effect::Write, &LOG_GROUP_CHANGES, &[(&LOG_GROUPS, &[Apply])]),
    tags("logs:UntagResource", Effect::Write, &LOG_GROUP_CHANGES, &[(&LOG_GROUPS, DELETE)]),
];
