//! What DynamoDB's answers about tables mean. Codes and messages are DynamoDB's, as seen on the
//! wire.

use crate::aws::error::ErrorRow;
use crate::cause::Code;

const INVALID: ErrorRow = ErrorRow::of(&["ValidationException"]);
/// DynamoDB uses one code for changes in progress, account quotas and limits on how often a setting
/// can change.
const LIMIT: ErrorRow = ErrorRow::of(&["LimitExceededException"]);

pub(super) const ERRORS: &[ErrorRow] = &[
    ErrorRow::of(&["TableNotFoundException"]).means(Code::NotFound),
    ErrorRow::of(&["ContinuousBackupsUnavailableException"]).means(Code::Busy),
    INVALID.saying(&["already has an enabled stream"]).means(Code::NothingToChange),
    INVALID.saying(&["no stream to disable"]).means(Code::NothingToChange),
    INVALID.saying(&["will not change"]).means(Code::NothingToChange),
    INVALID.saying(&["index which already exists"]).means(Code::NothingToChange),
    INVALID.saying(&["duplicate index"]).means(Code::NothingToChange),
    INVALID.saying(&["TimeToLive is already"]).means(Code::NothingToChange),
    INVALID.saying(&["multiple times within a fixed interval"]).means(Code::TtlTooSoon),
    INVALID.saying(&["protected against deletion"]).means(Code::DeletionProtected),
    ErrorRow::ANY.saying(&["SecondaryIndex count exceeds"]).refuses(Code::IndexQuota),
    ErrorRow::ANY.saying(&["SecondaryIndexes exceeds"]).refuses(Code::IndexQuota),
    ErrorRow::ANY.saying(&["ProjectedAttributes"]).refuses(Code::IndexQuota),
    LIMIT.saying(&["simultaneously"]).means(Code::Busy),
    LIMIT.saying(&["tags are being updated"]).means(Code::Busy),
    LIMIT.saying(&["index"]).refuses(Code::IndexQuota),
    LIMIT.saying(&["decreases"]).refuses(Code::ChangedTooOften),
    LIMIT.saying(&["UTC day"]).refuses(Code::ChangedTooOften),
    LIMIT.saying(&["table class"]).refuses(Code::ChangedTooOften),
    LIMIT.saying(&["encryption"]).refuses(Code::ChangedTooOften),
    LIMIT.refuses(Code::TableQuota),
];
