//! What CloudWatch Logs' answers about log groups mean. Codes and messages are CloudWatch Logs', as
//! seen on the wire.

use crate::aws::Class;
use crate::aws::error::ErrorRow;

pub(super) const ERRORS: &[ErrorRow] = &[ErrorRow::of(&["ResourceAlreadyExistsException"]).class(Class::Exists)];
