//! Tests of user-visible behavior from outside: the real binary, a real local AWS, real Node.js.

#![allow(
    clippy::unreachable,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr
)]

mod command_line;
#[cfg(unix)]
mod e2e;
mod from_data;
mod fuzz;
mod implied;
mod inventory;
mod local;
mod members;
mod offline;
mod output;
#[cfg(unix)]
mod paths;
mod plan;
#[cfg(unix)]
mod program;
#[cfg(unix)]
mod progress;
mod readme;
mod saved;
mod schedule;
mod scripted;
#[path = "../shared/mod.rs"]
mod shared;
#[cfg(unix)]
mod shell;
mod spec;
mod support;
mod tidy;
#[cfg(unix)]
mod values;
mod walk;
