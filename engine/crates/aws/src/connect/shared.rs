//! Responses that the runs of one connection share: twenty teams look up their identity and their
//! role only once.
//!
//! **Invariant:** a call in flight is joined, not repeated. A response is reused for a few seconds,
//! a failure only by the callers that waited for it.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{FutureExt, Shared};
use tokio::time::Instant;

use crate::answer::AwsError;

/// How long a response is reused, from the time of the call: the reads of all runs start at the
/// same time, and later reads must see later changes.
const FRESH: Duration = Duration::from_secs(10);

/// Responses of one operation, by resource.
pub(super) struct Answers<T> {
    calls: Mutex<HashMap<String, Call<T>>>,
}

type Answer<T> = Shared<Pin<Box<dyn Future<Output = Result<T, AwsError>> + Send>>>;

struct Call<T> {
    begun: Instant,
    answer: Answer<T>,
}

impl<T: Clone + Send + Sync + 'static> Answers<T> {
    /// The response for `key`: from a call in flight or a recent one, otherwise from `call`.
    ///
    /// # Errors
    /// Those of `call`.
    pub(super) async fn get<F>(&self, key: &str, call: F) -> Result<T, AwsError>
    where
        F: Future<Output = Result<T, AwsError>> + Send + 'static,
    {
        let answer = self.join(key, call);
        let result = answer.clone().await;
        if result.is_err() {
            let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
            if calls.get(key).is_some_and(|call| call.answer.ptr_eq(&answer)) {
                calls.remove(key);
            }
        }
        result
    }

    fn join<F>(&self, key: &str, call: F) -> Answer<T>
    where
        F: Future<Output = Result<T, AwsError>> + Send + 'static,
    {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let is_usable = |call: &&Call<T>| call.answer.peek().is_none() || call.begun.elapsed() < FRESH;
        if let Some(call) = calls.get(key).filter(is_usable) {
            return call.answer.clone();
        }
        let call: Pin<Box<dyn Future<Output = Result<T, AwsError>> + Send>> = Box::pin(call);
        let answer = call.shared();
        calls.insert(key.to_owned(), Call { begun: Instant::now(), answer: answer.clone() });
        answer
    }
}

impl<T> Default for Answers<T> {
    fn default() -> Answers<T> {
        Answers { calls: Mutex::default() }
    }
}

impl<T> fmt::Debug for Answers<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers").finish_non_exhaustive()
    }
}
