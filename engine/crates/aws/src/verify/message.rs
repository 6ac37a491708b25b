//! The test message: what is sent to a queue, and what shows that Lambda has passed it on.
//!
//! **Invariant:** a message can't be taken back, so a run sends it once: it is sent again only if
//! SQS refused it, or if the queue recognizes the duplicate.

use tokio::time::Instant;

use crate::aws::{AwsError, CallContext, Context};
use crate::items::persistently;
use crate::kinds::{QUEUE, n_messages, once};
use crate::schema::AwsEnv;

use super::QueueSource;
use super::log::{Evidence, Log, Sighting};

/// The test message of one mapping, as one run knows it.
#[derive(Debug)]
pub(super) struct TestMessage<'p> {
    queue: &'p QueueSource,
    /// The ID that SQS gave it.
    id: Option<String>,
    /// Whether the queue had no message before it was sent.
    was_empty: bool,
    /// The number of messages in the queue.
    n_left: Option<u64>,
    /// Why they can't be counted.
    pub(super) read_problem: Option<String>,
}

impl<'p> TestMessage<'p> {
    pub(super) fn new(queue: &'p QueueSource) -> TestMessage<'p> {
        TestMessage { queue, id: None, was_empty: false, n_left: None, read_problem: None }
    }

    /// Sends it.
    ///
    /// # Errors
    /// Errors of SQS that last until `deadline`; none if its response was lost, because it may have
    /// the message.
    pub(super) async fn send(&mut self, cx: &Context, deadline: Instant) -> Result<(), AwsError> {
        let QueueSource { name, own, is_fifo, .. } = self.queue;
        let body = self.queue.message.as_ref().map_err(|_| AwsError::defect(format!("no message for `{name}`")))?;
        self.poll(cx).await?;
        self.was_empty = self.n_left == Some(0);
        cx.aws.guard.allow_message("queue", name, &body.body);
        let send = || async {
            let mut request = cx.aws.sqs.send_message().queue_url(self.address()).message_body(&body.body);
            if *is_fifo {
                // In a group of its own, a message that fails holds up no other.
                request = request.message_group_id(own).message_deduplication_id(own);
            }
            match request.customize().config_override(once()).send().await.context("SendMessage", name) {
                Err(error) if error.is_ambiguous() && !is_fifo => Ok(None),
                answer => answer.map(|answer| answer.message_id),
            }
        };
        self.id = persistently(cx, deadline, send).await?;
        Ok(())
    }

    /// Counts the messages in the queue, without receiving any.
    ///
    /// # Errors
    /// Transient errors of AWS.
    pub(super) async fn poll(&mut self, cx: &Context) -> Result<(), AwsError> {
        let (name, address) = (&self.queue.name, self.address());
        match cx.read(name, || n_messages(cx, name, &address)).await {
            Ok(n) => self.n_left = n,
            Err(error) if error.passes() => return Err(error),
            Err(error) => {
                let why = error.unreadable().unwrap_or_else(|| error.to_string());
                self.read_problem = Some(format!("engine can't count the messages of `{name}` ({why})"));
            }
        }
        Ok(())
    }

    /// The URL for requests.
    fn address(&self) -> String {
        let QueueSource { name, arn, .. } = self.queue;
        let part = |at| arn.split(':').nth(at).unwrap_or_default();
        QUEUE.url(&AwsEnv::new(part(3), part(4)), name)
    }

    /// How the function's log shows it.
    pub(super) fn sighting(&self, log: &Log) -> Option<Sighting> {
        let by_own = log.has(&self.queue.own).then_some(Evidence::Mark);
        let by_id = || self.id.as_ref().filter(|id| log.has(id)).map(|_| Evidence::Key);
        by_own.or_else(by_id).map(|by| Sighting { word: None, by })
    }

    /// Whether it is no longer in the queue: Lambda deletes a message that the function has processed.
    pub(super) fn is_consumed(&self) -> bool {
        self.n_left == Some(0)
    }

    /// What shows that the function may have been invoked for another message.
    pub(super) fn others(&self, log: &Log) -> Option<String> {
        let name = &self.queue.name;
        if !self.was_empty && self.read_problem.is_none() {
            return Some(format!("the queue `{name}` had other messages before"));
        }
        let n = log.n_ended_calls(0);
        (n > 1).then(|| format!("the function was invoked {n} times meanwhile"))
    }
}

/// What happens to a message that wasn't processed.
pub(super) fn fate(queue: &QueueSource) -> String {
    format!(
        "the test message stays in `{}`: Lambda passes it to the function again, until SQS deletes it at the end of the \
         queue's retention or moves it to the dead-letter queue",
        queue.name
    )
}
