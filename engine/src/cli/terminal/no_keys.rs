//! Keys on systems on which engine can't read them.
//!
//! **Invariant:** there are none.

use std::marker::PhantomData;

use super::Terminal;

/// The keys that the user presses.
pub(in crate::cli) struct Keys<'t>(PhantomData<&'t Terminal>);

impl<'t> Keys<'t> {
    pub(in crate::cli) fn listen(_terminal: &'t Terminal) -> Option<Keys<'t>> {
        None
    }

    pub(in crate::cli) async fn next(&mut self) -> Option<char> {
        std::future::pending().await
    }
}

impl Terminal {
    pub(super) fn read_lines(&self) {}
}
