//! The rate limits of AWS that engine keeps below, and which request counts against which.
//!
//! **Invariant:** [`of`] returns an index into [`ALL`].

use engine_core::wait::limiter::{Limit, LimitId};

use super::guard::{Effect, Request};

const fn limit(service: &'static str, start: f64, ceiling: f64, burst: f64) -> Limit {
    Limit { service, start, ceiling, burst, reserve: 0.0, in_flight: 0 }
}

/// Lambda's limit for an account and region, which `--rate` reduces.
pub const LAMBDAS_RATE: u8 = 15;

/// Each limit that AWS counts separately.
pub const ALL: [Limit; 9] = [
    // Lambda allows 15 control-plane calls per second per account and region, for all operations except GetFunction and
    // GetPolicy (docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html).
    Limit { reserve: 4.0, ..limit("Lambda", 10.0, 14.0, 10.0) },
    // GetFunction has its own limit of 100 per second (same page).
    limit("Lambda", 50.0, 90.0, 50.0),
    // GetPolicy has its own limit of 15 per second (same page).
    limit("Lambda", 10.0, 14.0, 10.0),
    // Not documented; DynamoDB throttles some of ten parallel table changes and accepts them a second later, but not four.
    Limit { in_flight: 4, ..limit("DynamoDB", 10.0, 10.0, 10.0) },
    // Not documented; ten simultaneous reads were never throttled.
    limit("DynamoDB", 50.0, 100.0, 50.0),
    // Not documented; all regions of an account share IAM's limit.
    limit("IAM", 5.0, 10.0, 20.0),
    // Not documented for the tag index; other tools use about five calls per second.
    limit("the tag index", 5.0, 5.0, 10.0),
    // FilterLogEvents has a limit of 5 to 10 per second, depending on the region
    // (docs.aws.amazon.com/AmazonCloudWatch/latest/logs/cloudwatch_limits_cwl.html).
    limit("CloudWatch Logs", 4.0, 5.0, 5.0),
    // STS allows 600 calls per second (docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html).
    limit("STS", 50.0, 100.0, 50.0),
];

/// Lambda's limit for the control plane, against which polls count.
pub const LAMBDA: LimitId = LimitId(0);

/// The limit that a request counts against.
pub fn of(request: &Request) -> LimitId {
    LimitId(match (request.service, request.operation.as_str()) {
        ("lambda", "GetFunction") => 1,
        ("lambda", "GetPolicy") => 2,
        ("lambda", _) => LAMBDA.0,
        // Items use the table's own capacity, and engine writes only one at a time.
        ("dynamodb", _) if !matches!(request.effect, Effect::Read | Effect::Item) => 3,
        ("dynamodb", _) => 4,
        ("iam", _) => 5,
        ("tagging", _) => 6,
        ("logs", _) => 7,
        _ => 8,
    })
}
