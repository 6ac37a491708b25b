//! `engine`: declarative deployment of DynamoDB-to-Lambda pipelines on AWS.
//!
//! This is the program: command line, output, the local AWS and the test of a pipeline.
//! `engine-core` plans and applies, `engine-aws` knows AWS. `ARCHITECTURE.md` lists the modules of
//! all three.

#![forbid(unsafe_code)]

pub mod build;
pub mod cli;
pub mod files;
pub mod local;
pub mod plan_file;
pub mod policy_file;
pub mod render;
pub mod sanitize;
pub mod timeline;

pub use engine_aws::{
    aws, execution, filter, invoke, items, javascript, kinds, logs, lookups, operation, policy, preflight, source,
    verify,
};
pub use engine_core::{
    apply, cause, diagnostic, error, export, graph, inventory, kind, live, lookup, ownership, plan, provider, remedy,
    saved, schema, spec, value, wait, yaml,
};
