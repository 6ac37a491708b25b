//! What several modules of the tests need.

pub(crate) use crate::shared::{DEADLINE, ENGINE, eventually, installed};
