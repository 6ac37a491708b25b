//! What both test programs need: a user's project, the AWS behind it, and a way to bend its answers.

#[cfg(unix)]
pub(crate) mod account;
#[cfg(unix)]
pub(crate) mod project;
#[cfg(unix)]
pub(crate) mod proxy;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The program under test.
pub(crate) const ENGINE: &str = env!("CARGO_BIN_EXE_engine");

/// Until then a condition that a test waits for has to hold.
pub(crate) const DEADLINE: Duration = Duration::from_secs(15);

/// The cache folder of all tests that are not about installing. Kept between runs.
pub(crate) fn installed() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("engine-cache")
}

/// Waits until `holds`, for as long as [`DEADLINE`].
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within {DEADLINE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
