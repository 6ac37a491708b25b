//! What DynamoDB's answers about tables mean. Codes and messages are DynamoDB's, as seen on the
//! wire.

use crate::aws::Class;
use crate::aws::error::ErrorRow;
use crate::cause::Code;

const INVALID: ErrorRow = ErrorRow::of(&["ValidationException"]);
/// DynamoDB uses one code for changes in progress, account quotas and limits on how often a setting
/// can change.
const LIMIT: ErrorRow = ErrorRow::of(&["LimitExceededException"]);

pub(super) const ERRORS: &[ErrorRow] = &[
    ErrorRow::of(&["TableNotFoundException"]).class(Class::NotFound),
    ErrorRow::of(&["ContinuousBackupsUnavailableException"]).class(Class::Busy),
    INVALID.saying(&["already has an enabled stream"]).class(Class::Unchanged),
    INVALID.saying(&["no stream to disable"]).class(Class::Unchanged),
    INVALID.saying(&["will not change"]).class(Class::Unchanged),
    INVALID.saying(&["index which already exists"]).class(Class::Unchanged),
    INVALID.saying(&["duplicate index"]).class(Class::Unchanged),
    INVALID.saying(&["TimeToLive is already"]).class(Class::Unchanged),
    INVALID.saying(&["multiple times within a fixed interval"]).class(Class::TooSoon),
    INVALID.saying(&["protected against deletion"]).class(Class::Protected),
    ErrorRow::ANY.saying(&["SecondaryIndex count exceeds"]).cause(Code::IndexQuota),
    ErrorRow::ANY.saying(&["SecondaryIndexes exceeds"]).cause(Code::IndexQuota),
    ErrorRow::ANY.saying(&["ProjectedAttributes"]).cause(Code::IndexQuota),
    LIMIT.saying(&["simultaneously"]).class(Class::Busy).cause(Code::Rejected),
    LIMIT.saying(&["tags are being updated"]).class(Class::Busy).cause(Code::Rejected),
    LIMIT.saying(&["index"]).cause(Code::IndexQuota),
    LIMIT.saying(&["decreases"]).cause(Code::ChangedTooOften),
    LIMIT.saying(&["UTC day"]).cause(Code::ChangedTooOften),
    LIMIT.saying(&["table class"]).cause(Code::ChangedTooOften),
    LIMIT.saying(&["encryption"]).cause(Code::ChangedTooOften),
    LIMIT.cause(Code::TableQuota),
];
