//! IAM: trust policies, the permissions of roles and callers, least-privilege policies, and checks
//! before an apply.
//!
//! **Invariant:** it only reads.

pub mod document;
pub mod execution;
pub mod permissions;
pub mod policy;
pub mod preflight;
pub mod trust;
