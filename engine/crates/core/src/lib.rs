//! Specs, plans and their execution, for any resource type.
//!
//! It knows no cloud service: a program gives it [`kind::Kinds`], which describe resource types,
//! and [`provider::Providers`], which carry out their operations.

#![forbid(unsafe_code)]

pub mod apply;
pub mod build;
pub mod cause;
pub mod diagnostic;
pub mod error;
pub mod export;
pub mod graph;
pub mod inventory;
pub mod kind;
pub mod live;
pub mod lookup;
pub mod mask;
pub mod ownership;
pub mod plan;
pub mod printable;
pub mod provider;
pub mod recorder;
pub mod remedy;
pub mod saved;
pub mod schema;
pub mod spec;
pub mod value;
pub mod wait;
pub mod yaml;
