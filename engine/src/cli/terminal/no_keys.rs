//! Keys on systems on which engine can't read them.
//!
//! **Invariant:** there are none.

use super::Terminal;

/// The keys that the user presses.
pub(in crate::cli) struct Keys;

impl Keys {
    pub(in crate::cli) fn listen(_terminal: &Terminal) -> Option<Keys> {
        None
    }

    pub(in crate::cli) async fn next(&mut self) -> Option<char> {
        std::future::pending().await
    }
}

impl Terminal {
    pub(super) fn read_lines(&self) {}
}
