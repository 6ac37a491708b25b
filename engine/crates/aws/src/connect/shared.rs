//! Responses that several callers share: the runs of one connection look up their identity and
//! their role only once, and many reads of a run are one list.
//!
//! **Invariant:** a call in flight is joined, not repeated. A response is reused for a few seconds,
//! a failure only by the callers that waited for it. A list begins after the read that it answers.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_lambda::types::EventSourceMappingConfiguration;
use futures_util::future::{FutureExt, Shared};
use tokio::time::Instant;

use crate::answer::AwsError;

/// How long a response is reused, from the time of the call: the reads of all runs start at the
/// same time, and later reads must see later changes.
const FRESH: Duration = Duration::from_secs(10);

/// Responses of one operation, by resource.
pub(crate) struct Answers<T> {
    calls: Mutex<HashMap<String, SharedCall<T>>>,
}

type SharedResult<T> = Shared<Pin<Box<dyn Future<Output = Result<T, AwsError>> + Send>>>;

struct SharedCall<T> {
    begun: Instant,
    answer: SharedResult<T>,
}

impl<T: Clone + Send + Sync + 'static> Answers<T> {
    /// The response for `key`: from a call in flight or a recent one, otherwise from `call`.
    ///
    /// # Errors
    /// Those of `call`.
    pub(crate) async fn get<F>(&self, key: &str, call: F) -> Result<T, AwsError>
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

    fn join<F>(&self, key: &str, call: F) -> SharedResult<T>
    where
        F: Future<Output = Result<T, AwsError>> + Send + 'static,
    {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let is_usable = |call: &&SharedCall<T>| call.answer.peek().is_none() || call.begun.elapsed() < FRESH;
        if let Some(call) = calls.get(key).filter(is_usable) {
            return call.answer.clone();
        }
        let call: Pin<Box<dyn Future<Output = Result<T, AwsError>> + Send>> = Box::pin(call);
        let answer = call.shared();
        calls.insert(key.to_owned(), SharedCall { begun: Instant::now(), answer: answer.clone() });
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

/// Reads of event source mappings that a list may answer.
#[derive(Debug, Default)]
pub(crate) struct EventSources {
    /// By function.
    pub(crate) by_function: Arc<Batches<HashMap<String, Vec<EventSourceMappingConfiguration>>>>,
    /// Of single ones, by UUID.
    pub(crate) reads: Arc<Batches<HashMap<String, EventSourceMappingConfiguration>>>,
    /// The same for polls, which come after all other calls.
    pub(crate) polls: Arc<Batches<HashMap<String, EventSourceMappingConfiguration>>>,
    /// The number of pages of a list, as far as known.
    pub(crate) n_pages: AtomicUsize,
}

/// Reads of single resources that one list may answer: those that begin at the same time, or while
/// the first of them waits for its rate limit.
pub(crate) struct Batches<T> {
    /// The batch that reads can still join.
    open: Mutex<Option<Arc<OpenBatch<T>>>>,
}

struct OpenBatch<T> {
    n_reads: AtomicUsize,
    is_needed: AtomicBool,
    answer: SharedResult<Option<Arc<T>>>,
}

/// A batch whose last read has joined.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Batch {
    /// The number of reads that the list would answer.
    pub(crate) n_reads: usize,
    /// Whether one of them needs the whole list.
    pub(crate) is_needed: bool,
}

impl<T: Send + Sync + 'static> Batches<T> {
    /// The list that answers this read and all others that begin before `turn` ends; `None` if
    /// `list` decides against it. `is_needed`: this read needs the whole list.
    ///
    /// # Errors
    /// Those of `list`.
    pub(crate) async fn join<F>(
        self: &Arc<Self>,
        is_needed: bool,
        turn: impl Future<Output = ()> + Send + 'static,
        list: impl FnOnce(Batch) -> F + Send + 'static,
    ) -> Result<Option<Arc<T>>, AwsError>
    where
        F: Future<Output = Result<Option<T>, AwsError>> + Send,
    {
        let batch = self.joined(turn, list);
        batch.n_reads.fetch_add(1, Ordering::Relaxed);
        batch.is_needed.fetch_or(is_needed, Ordering::Relaxed);
        batch.answer.clone().await
    }

    fn joined<F>(
        self: &Arc<Self>,
        turn: impl Future<Output = ()> + Send + 'static,
        list: impl FnOnce(Batch) -> F + Send + 'static,
    ) -> Arc<OpenBatch<T>>
    where
        F: Future<Output = Result<Option<T>, AwsError>> + Send,
    {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(batch) = &*open {
            return Arc::clone(batch);
        }
        let all = Arc::clone(self);
        let answer: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(async move {
            // This task runs once all reads that begin at the same time have joined.
            let _ = tokio::spawn(async {}).await;
            turn.await;
            let open = all.open.lock().unwrap_or_else(PoisonError::into_inner).take();
            let Some(open) = open else { return Ok(None) };
            let n_reads = open.n_reads.load(Ordering::Relaxed);
            let is_needed = open.is_needed.load(Ordering::Relaxed);
            Ok(list(Batch { n_reads, is_needed }).await?.map(Arc::new))
        });
        let (n_reads, is_needed) = (AtomicUsize::new(0), AtomicBool::new(false));
        let batch = Arc::new(OpenBatch { n_reads, is_needed, answer: answer.shared() });
        *open = Some(Arc::clone(&batch));
        batch
    }
}

impl<T> Default for Batches<T> {
    fn default() -> Batches<T> {
        Batches { open: Mutex::default() }
    }
}

impl<T> fmt::Debug for Batches<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batches").finish_non_exhaustive()
    }
}
