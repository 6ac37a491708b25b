//! AWS for engine: the connection, the guard in front of it, the resource types, and what is known
//! of their policies, permissions and logs.
//!
//! **Invariant:** it is the only user of the AWS SDK.

#![forbid(unsafe_code)]

pub mod answer;
pub mod connect;
pub mod iam;
pub mod invoke;
pub mod items;
pub mod kind;
pub mod kinds;
pub mod logs;
pub mod lookups;
pub mod operation;
pub mod verify;
pub mod wire;

pub use iam::{execution, policy, preflight};
pub use kinds::function::{javascript, source};
pub use kinds::mapping::filter;

/// What resource types and callers need of the connection to AWS.
pub mod aws {
    pub use engine_core::mask::Secrets;
    pub use engine_core::provider::Tags;
    pub use engine_core::recorder::{self, Recorder};
    pub use engine_core::wait::{self, ANSWER, BECAUSE, InterruptPolicy, Overrides, Reporter, Wait};

    pub use crate::answer::{self as error, AwsError, CallContext, Code, Existing};
    pub use crate::connect::*;
    pub(crate) use crate::connect::{Batch, EventSources};
    pub use crate::iam::{permissions as rights, trust};
    pub use crate::wire::guard::{Access, Guard};
    pub use crate::wire::{guard, limits};
}

use engine_core::{cause, diagnostic, inventory, ownership, remedy, schema, spec, value};
