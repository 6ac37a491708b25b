//! What the operations of a kind need besides its properties: the core's [`Context`](wait::Context)
//! with the clients.

use std::ops::Deref;
use std::sync::Arc;

use engine_core::lookup::{LookupAnswers, LookupRead};
use engine_core::provider::{Account, Pending, Tags};
use engine_core::wait::{self, InterruptPolicy, Reporter};
use tokio::sync::watch;

use super::Aws;
use crate::lookups;
use crate::schema::{AwsEnv, Id, Live, Schema};

/// The core's context of a run, with the clients of its connection.
#[derive(Clone)]
pub struct Context {
    core: wait::Context,
    /// The AWS clients.
    pub aws: Arc<Aws>,
}

impl Context {
    /// The core's context with the clients that a provider holds.
    pub(crate) fn with_clients(core: wait::Context, aws: Arc<Aws>) -> Context {
        Context { core, aws }
    }

    /// See [`wait::Context::riding_out_outages`].
    #[must_use]
    pub fn riding_out_outages(&self) -> Context {
        Context { core: self.core.riding_out_outages(), ..self.clone() }
    }

    /// See [`wait::Context::reporting`].
    #[must_use]
    pub fn reporting(&self, report: Reporter) -> Context {
        Context { core: self.core.reporting(report), ..self.clone() }
    }

    /// See [`wait::Context::with_interrupt_policy`].
    #[must_use]
    pub fn with_interrupt_policy(&self, policy: InterruptPolicy) -> Context {
        Context { core: self.core.with_interrupt_policy(policy), ..self.clone() }
    }

    /// See [`wait::Context::interrupted_by`].
    #[must_use]
    pub fn interrupted_by(&self, interrupt: watch::Receiver<bool>) -> Context {
        Context { core: self.core.interrupted_by(interrupt), ..self.clone() }
    }
}

impl Deref for Context {
    type Target = wait::Context;

    fn deref(&self) -> &wait::Context {
        &self.core
    }
}

impl Account for Aws {
    fn region(&self) -> &str {
        &self.region
    }

    fn number(&self) -> Pending<'_, String> {
        Box::pin(self.account())
    }

    fn tagged<'a>(&'a self, tags: &'a [(&'a str, &'a str)], types: &'a [&'a str]) -> Pending<'a, Vec<(String, Tags)>> {
        Box::pin(self.tagged(tags, types))
    }

    fn look_up<'a>(&'a self, reads: &'a [LookupRead]) -> Pending<'a, LookupAnswers> {
        Box::pin(lookups::read(&self.sdk, &self.shared.stacks, reads))
    }

    fn observe_lookups(&self, reads: &[LookupRead]) {
        self.guard.observe_lookups(reads);
    }

    fn observe_env(&self, env: &AwsEnv) {
        self.guard.observe_env(env);
    }

    fn observe(&self, schema: &Schema, id: &Id, live: &Live) {
        self.guard.observe(schema, id, live);
    }

    fn observe_absence(&self, schema: &Schema, id: &Id) {
        self.guard.observe_absence(schema, id);
    }

    fn observe_import(&self, kind: &str, name: &str) {
        self.guard.observe_import(kind, name);
    }

    fn observe_attachment(&self, kind: &str, name: &str, source: &str) {
        self.guard.observe_attachment(kind, name, source);
    }

    fn observe_imported(&self, schema: &Schema, id: &Id, live: Option<&Live>) {
        self.guard.observe_imported(schema, id, live);
    }

    fn observe_created(&self, name: &str) {
        self.guard.note_owned(name);
    }
}
