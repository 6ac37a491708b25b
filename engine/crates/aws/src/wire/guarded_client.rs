//! The HTTP client that every request of a run passes through. It asks the guard, keeps the rate
//! limits, and records and logs the call.
//!
//! **Invariant:** a request that the guard refuses or can't parse is not sent.

use std::sync::Arc;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use engine_core::recorder::{self, Recorder};
use engine_core::wait::limiter::RateLimits;
use http_body_util::BodyExt as _;
use tokio::time::Instant;
use tracing::debug;

use crate::answer::{self, Throttle};

use super::guard::{self, Guard};

/// The HTTP client that every request passes through.
#[derive(Debug)]
pub(crate) struct GuardedClient {
    pub(crate) inner: SharedHttpClient,
    pub(crate) guard: Arc<Guard>,
    pub(crate) limits: Arc<RateLimits>,
    pub(crate) recorder: Arc<Recorder>,
}

#[derive(Debug)]
struct GuardedConnector {
    inner: SharedHttpConnector,
    guard: Arc<Guard>,
    limits: Arc<RateLimits>,
    recorder: Arc<Recorder>,
}

impl HttpClient for GuardedClient {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        let (guard, limits) = (Arc::clone(&self.guard), Arc::clone(&self.limits));
        SharedHttpConnector::new(GuardedConnector { inner, guard, limits, recorder: Arc::clone(&self.recorder) })
    }
}

impl HttpConnector for GuardedConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let parsed = self.guard.read(
            request.method(),
            request.uri(),
            request.headers().get("x-amz-target"),
            request.body().bytes().unwrap_or_default(),
        );
        let Some(parsed) = parsed else {
            let refusal = guard::Refusal::unknown(request.method(), request.uri());
            return HttpConnectorFuture::ready(Err(ConnectorError::user(Box::new(refusal))));
        };
        if let Err(refusal) = self.guard.check(&parsed) {
            return HttpConnectorFuture::ready(Err(ConnectorError::user(Box::new(refusal))));
        }
        let (inner, limits, guard) = (self.inner.clone(), Arc::clone(&self.limits), Arc::clone(&self.guard));
        let recorder = Arc::clone(&self.recorder);
        let target = parsed.target.as_ref().map_or("", |(_, name)| name.as_str());
        let writes = parsed.effect != guard::Effect::Read;
        let call = request.headers().get("amz-sdk-invocation-id");
        let entry = recorder.attempt(parsed.operation, target, writes, call);
        HttpConnectorFuture::new(async move {
            // Many requests that begin at the same time are all made before the first is sent. Their
            // limits count from the time when they can be sent, or else these would arrive at once.
            tokio::task::yield_now().await;
            let pass = limits.admit(parsed.limit).await.map_err(|crowded| ConnectorError::user(Box::new(crowded)))?;
            if parsed.effect != guard::Effect::Read {
                // Before the response: a call that times out may still have been carried out.
                guard.note_write();
            }
            let start = Instant::now();
            recorder.left(entry);
            let mut response = match inner.call(request).await {
                Ok(response) => answer::opened(response).await,
                Err(error) => Err(error),
            };
            if parsed.shows.is_some() {
                response = match response {
                    Ok(response) => read_by(&guard, &parsed, response).await,
                    lost => lost,
                };
            }
            recorder.answered(entry, || response.as_ref().map_or(recorder::CallResult::Nothing, answer::recorded));
            match response.as_ref().map(answer::throttle) {
                Ok(Some(Throttle { pause })) => pass.throttled(pause),
                Ok(None) => pass.accepted(),
                Err(_) => drop(pass),
            }
            let status = response.as_ref().map_or(0, |response| response.status().as_u16());
            let refused = (400..500).contains(&status) || response.as_ref().is_err_and(answer::never_left);
            if refused {
                guard.note_refused(&parsed);
            }
            let ms = start.elapsed().as_millis();
            let target = parsed.target.as_ref().map_or("", |(_, name)| name.as_str());
            debug!(target: "engine::call", service = parsed.service, operation = parsed.operation, resource = target, status, ms);
            response
        })
    }
}

/// A response that the guard has read, with its body restored.
///
/// # Errors
/// The connection ended before the body did.
async fn read_by(
    guard: &Guard,
    request: &guard::Request,
    mut response: HttpResponse,
) -> Result<HttpResponse, ConnectorError> {
    let body = response.take_body().collect().await.map_err(ConnectorError::io)?.to_bytes();
    if response.status().is_success() {
        guard.observe_answer(request, &body);
    }
    *response.body_mut() = SdkBody::from(body);
    Ok(response)
}
