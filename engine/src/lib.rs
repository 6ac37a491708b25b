//! `engine`: declarative deployment of DynamoDB-to-Lambda pipelines on AWS.
//!
//! `ARCHITECTURE.md` lists the modules; each uses only those below it there.

#![forbid(unsafe_code)]

pub mod apply;
pub mod aws;
pub mod cause;
pub mod cli;
pub mod diagnostic;
pub mod files;
pub mod filter;
pub mod graph;
pub mod inventory;
pub mod javascript;
pub mod kind;
pub mod kinds;
pub mod live;
pub mod local;
pub mod plan;
pub mod policy;
pub mod preflight;
pub mod records;
pub mod render;
pub mod sanitize;
pub mod saved;
pub mod schema;
pub mod source;
pub mod spec;
pub mod timeline;
pub mod value;
pub mod verify;
pub mod yaml;
