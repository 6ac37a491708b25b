//! What SQS's answers about queues mean. SQS sends two codes for one error: the SDK shows the one
//! of the older protocol, from the header `x-amzn-query-error`
//! (docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html). Codes and
//! messages are SQS's, as seen on the wire.

use crate::aws::error::ErrorRow;
use crate::cause::Code;

pub(super) const ERRORS: &[ErrorRow] = &[
    ErrorRow::of(&["AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"]).means(Code::NotFound),
    ErrorRow::of(&["QueueAlreadyExists", "QueueNameExists"]).means(Code::NameTaken),
    ErrorRow::of(&["AWS.SimpleQueueService.QueueDeletedRecently", "QueueDeletedRecently"]).means(Code::BeingDeleted),
    ErrorRow::of(&["InvalidAttributeName", "InvalidAttributeValue"]).refuses(Code::InvalidValue),
];
