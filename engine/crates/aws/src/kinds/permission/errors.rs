//! What Lambda's answers about permissions mean. Codes and messages are Lambda's, as seen on the
//! wire.

use crate::aws::error::{ErrorRow, INVALID_PARAMETER};
use crate::cause::Code;

pub(super) const ERRORS: &[ErrorRow] = &[
    INVALID_PARAMETER.saying(&["provided principal was invalid"]).means(Code::PrincipalUnknown),
    ErrorRow::ANY.saying(&["provided principal was invalid"]).refuses(Code::PrincipalUnknown),
    ErrorRow::of(&["PolicyLengthExceededException"]).refuses(Code::PolicyTooLarge),
];
