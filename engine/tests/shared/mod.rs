//! Helpers for both test programs: a user's project, its local AWS, and a proxy that changes
//! responses.

#[cfg(unix)]
pub(crate) mod account;
// Each test program uses only a part of this module.
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

/// How long a test waits for a condition.
pub(crate) const DEADLINE: Duration = Duration::from_secs(15);

/// The cache folder of all tests except those of the installation. It is kept between runs.
pub(crate) fn installed() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("engine-cache")
}

/// The keys of local AWS servers, by endpoint, including proxies in front of them.
static KEYS: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());

/// Stores the key of the local AWS at `endpoint`.
pub(crate) fn register_key(endpoint: &str, key: &str) {
    KEYS.lock().unwrap().insert(endpoint.to_owned(), key.to_owned());
}

/// The key of the local AWS behind `endpoint`; empty for a scripted one.
pub(crate) fn key_of(endpoint: &str) -> String {
    KEYS.lock().unwrap().get(endpoint).cloned().unwrap_or_default()
}

/// The access key ID that selects `account` at `endpoint`.
pub(crate) fn access_key_id(endpoint: &str, account: &str) -> String {
    format!("{}{account}", key_of(endpoint))
}

/// Waits until `holds` returns `true`, for at most [`DEADLINE`].
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within {DEADLINE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
