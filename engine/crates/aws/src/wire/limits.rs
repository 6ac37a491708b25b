//! AWS's rate limits that engine stays below, one for each that AWS counts separately. Each
//! call names its own ([`Operation::limit`](crate::operation::Operation::limit)).

use engine_core::wait::limiter::{Limit, LimitId};

const fn limit(service: &'static str, start: f64, ceiling: f64, burst: f64) -> Limit {
    Limit { service, start, ceiling, burst, reserve: 0.0, in_flight: 0 }
}

/// Lambda's limit for an account and region, which `--rate` reduces.
pub const LAMBDAS_RATE: u8 = 15;

/// Lambda's limit for the control plane, against which polls count: always the first.
pub const LAMBDA: LimitId = LimitId(0);

/// Lambda allows 15 control-plane calls per second per account and region, for all operations
/// except GetFunction and GetPolicy
/// (docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html).
pub static CONTROL_PLANE: Limit = Limit { reserve: 4.0, ..limit("Lambda", 10.0, 14.5, 10.0) };

/// Invocations have a limit of ten per second for each concurrent execution, of which an account
/// has at least ten (same page).
pub static INVOCATIONS: Limit = limit("Lambda", 50.0, 100.0, 50.0);

/// GetFunction has its own limit of 100 per second (same page).
pub static GET_FUNCTION: Limit = limit("Lambda", 50.0, 90.0, 50.0);

/// GetPolicy has its own limit of 15 per second (same page).
pub static GET_POLICY: Limit = limit("Lambda", 10.0, 14.5, 10.0);

/// Not documented; DynamoDB throttles some of ten parallel table changes, accepts those a second
/// later, and throttles none of four.
pub static TABLE_CHANGES: Limit = Limit { in_flight: 4, ..limit("DynamoDB", 10.0, 10.0, 10.0) };

/// Not documented; ten simultaneous reads were never throttled. Items use the table's own capacity,
/// and engine writes only one at a time.
pub static TABLE_READS: Limit = limit("DynamoDB", 50.0, 100.0, 50.0);

/// Not documented; all regions of an account share IAM's limit. The rate follows throttling.
pub static IAM: Limit = limit("IAM", 20.0, 20.0, 20.0);

/// Reads that aren't filtered by ID have a bucket of 100 calls, refilled with 20 per second
/// (docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html).
pub static NETWORK_INTERFACES: Limit = limit("EC2", 10.0, 20.0, 20.0);

/// Not documented for the tag index; other tools use about five calls per second.
pub static TAG_INDEX: Limit = limit("the tag index", 5.0, 5.0, 10.0);

/// FilterLogEvents has a limit of 5 to 10 per second, depending on the region
/// (docs.aws.amazon.com/AmazonCloudWatch/latest/logs/cloudwatch_limits_cwl.html).
pub static LOGS: Limit = limit("CloudWatch Logs", 5.0, 5.0, 5.0);

/// Not documented for SQS's control plane
/// (docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-queues.html).
pub static QUEUES: Limit = limit("SQS", 20.0, 50.0, 20.0);

/// CreateLogGroup and DescribeLogGroups have limits of 10 per second each, and calls about tags and
/// streams have higher ones (same page).
pub static LOG_GROUP_READS: Limit = limit("CloudWatch Logs", 5.0, 10.0, 10.0);

/// The other changes of log groups have limits of 5 to 10 per second each, depending on the region
/// (same page).
pub static LOG_GROUP_CHANGES: Limit = limit("CloudWatch Logs", 5.0, 5.0, 5.0);

/// The calls that read parameters together have a limit of 40 per second unless an account pays for
/// more (docs.aws.amazon.com/general/latest/gr/ssm.html).
pub static PARAMETERS: Limit = limit("SSM", 20.0, 40.0, 20.0);

/// GetSecretValue has a limit of 10,000 per second
/// (docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html).
pub static SECRETS: Limit = limit("Secrets Manager", 50.0, 100.0, 50.0);

/// Not documented for CloudFormation; other tools see throttling at about 10 per second.
pub static STACKS: Limit = limit("CloudFormation", 5.0, 10.0, 10.0);

/// STS allows 600 calls per second
/// (docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html).
pub static STS: Limit = limit("STS", 50.0, 100.0, 50.0);
