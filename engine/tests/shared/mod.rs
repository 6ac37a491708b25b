//! What both test programs need: a user's project, the AWS behind it, and a way to bend its
//! answers.

#[cfg(unix)]
pub(crate) mod account;
// Each test program runs others in its own way.
#[allow(dead_code)]
pub(crate) mod program;
#[cfg(unix)]
pub(crate) mod project;
#[cfg(unix)]
pub(crate) mod proxy;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The program under test.
pub(crate) const ENGINE: &str = env!("CARGO_BIN_EXE_engine");

/// Until then a condition that a test waits for has to hold.
pub(crate) const DEADLINE: Duration = Duration::from_secs(15);

/// The cache folder of all tests that are not about installing. Kept between runs.
pub(crate) fn installed() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("engine-cache")
}

/// The keys of local AWSs, by the endpoints that lead to them.
static KEYS: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());

/// Takes note of the key of the local AWS at `endpoint`.
pub(crate) fn learn_key(endpoint: &str, key: &str) {
    KEYS.lock().unwrap().insert(endpoint.to_owned(), key.to_owned());
}

/// The key of the local AWS to which `endpoint` leads; empty for a scripted one.
pub(crate) fn key_of(endpoint: &str) -> String {
    KEYS.lock().unwrap().get(endpoint).cloned().unwrap_or_default()
}

/// With what a client is in `account` at `endpoint`.
pub(crate) fn access_key_id(endpoint: &str, account: &str) -> String {
    format!("{}{account}", key_of(endpoint))
}

/// Waits until `holds`, for as long as [`DEADLINE`].
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within {DEADLINE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
