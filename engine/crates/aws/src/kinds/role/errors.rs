//! What IAM's answers about roles mean. Codes and messages are IAM's, as seen on the wire.

use crate::aws::Class;
use crate::aws::error::ErrorRow;

pub(super) const ERRORS: &[ErrorRow] = &[
    // Detached policies count as attached for a moment.
    ErrorRow::of(&["DeleteConflict", "DeleteConflictException"]).class(Class::Busy),
    ErrorRow::of(&["ConcurrentModification", "ConcurrentModificationException"]).class(Class::Busy),
    // A principal that was just created is unknown for some seconds.
    ErrorRow::of(&["MalformedPolicyDocument", "MalformedPolicyDocumentException"])
        .saying(&["Invalid principal in policy"])
        .class(Class::PrincipalUnknown),
];
