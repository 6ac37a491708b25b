//! What Lambda's answers about mappings mean. Messages are Lambda's, as seen on the wire.

use crate::aws::error::{ErrorRow, INVALID_PARAMETER};
use crate::cause::Code;

pub(super) const ERRORS: &[ErrorRow] = &[
    INVALID_PARAMETER.saying(&["ensure the role can perform"]).means(Code::StreamNotReadable),
    INVALID_PARAMETER.saying(&["Function does not exist"]).means(Code::NotFound),
    INVALID_PARAMETER.saying(&["Stream not found"]).to("CreateEventSourceMapping").means(Code::StreamUnknown),
    INVALID_PARAMETER.saying(&["NonExistentQueue"]).to("CreateEventSourceMapping").means(Code::StreamUnknown),
    ErrorRow::ANY.saying(&["Stream not found"]).refuses(Code::StreamUnknown),
    INVALID_PARAMETER.saying(&["NonExistentQueue"]).refuses(Code::StreamUnknown),
    INVALID_PARAMETER.saying(&["Queue visibility timeout"]).refuses(Code::VisibilityTimeoutShort),
    ErrorRow::ANY.saying(&["filter pattern"]).refuses(Code::FilterInvalid),
    ErrorRow::ANY.saying(&["FilterCriteria"]).refuses(Code::FilterInvalid),
];
