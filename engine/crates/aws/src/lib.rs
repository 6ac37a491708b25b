//! AWS for engine: the connection, the guard in front of it, the resource types, and what is known of their policies,
//! permissions and logs.
//!
//! **Invariant:** it is the only user of the AWS SDK.

#![forbid(unsafe_code)]

pub mod aws;
pub mod filter;
pub mod javascript;
pub mod kind;
pub mod kinds;
pub mod operation;
pub mod policy;
pub mod preflight;
pub mod records;
pub mod source;
pub mod verify;

use engine_core::spec::files;
use engine_core::{cause, diagnostic, inventory, schema, spec, value};
