//! What IAM's answers about roles mean. Codes and messages are IAM's, as seen on the wire.

use crate::aws::error::ErrorRow;
use crate::cause::Code;

pub(super) const ERRORS: &[ErrorRow] = &[
    // Detached policies count as attached for a moment.
    ErrorRow::of(&["DeleteConflict", "DeleteConflictException"]).means(Code::Busy),
    ErrorRow::of(&["ConcurrentModification", "ConcurrentModificationException"]).means(Code::Busy),
    // A principal that was just created is unknown for some seconds.
    ErrorRow::of(&["MalformedPolicyDocument", "MalformedPolicyDocumentException"])
        .saying(&["Invalid principal in policy"])
        .means(Code::PrincipalUnknown),
];
