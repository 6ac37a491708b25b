//! What CloudWatch Logs' answers about log groups mean. Codes and messages are CloudWatch Logs', as
//! seen on the wire.

use crate::aws::error::ErrorRow;
use crate::cause::Code;

pub(super) const ERRORS: &[ErrorRow] = &[ErrorRow::of(&["ResourceAlreadyExistsException"]).means(Code::NameTaken)];
