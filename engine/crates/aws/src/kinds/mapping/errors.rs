//! What Lambda's answers about mappings mean. Messages are Lambda's, as seen on the wire.

use crate::aws::Class;
use crate::aws::error::{ErrorRow, INVALID_PARAMETER};
use crate::cause::Code;

pub(super) const ERRORS: &[ErrorRow] = &[
    INVALID_PARAMETER.saying(&["ensure the role can perform"]).class(Class::StreamNotReadable),
    INVALID_PARAMETER.saying(&["Function does not exist"]).class(Class::NotFound),
    INVALID_PARAMETER.saying(&["Stream not found"]).to("CreateEventSourceMapping").class(Class::StreamUnknown),
    INVALID_PARAMETER.saying(&["NonExistentQueue"]).to("CreateEventSourceMapping").class(Class::StreamUnknown),
    ErrorRow::ANY.saying(&["Stream not found"]).cause(Code::StreamUnknown),
    INVALID_PARAMETER.saying(&["NonExistentQueue"]).cause(Code::StreamUnknown),
    INVALID_PARAMETER.saying(&["Queue visibility timeout"]).cause(Code::VisibilityTimeoutShort),
    ErrorRow::ANY.saying(&["filter pattern"]).cause(Code::FilterInvalid),
    ErrorRow::ANY.saying(&["FilterCriteria"]).cause(Code::FilterInvalid),
];
