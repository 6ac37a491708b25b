//! The clients: who we are in AWS, where, and how every call leaves the house.
//!
//! All requests pass one connector, which asks the guard, keeps AWS's rate limits and writes the call log.
//!
//! **Invariant:** nothing here knows a kind, a plan or a spec.

pub mod budget;
pub mod error;
pub mod guard;
pub mod wait;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::environment::region::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_dynamodb::config::{BehaviorVersion, Region};
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_async::time::{SharedTimeSource, SystemTimeSource};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{self, rustls_provider::CryptoMode};
use aws_smithy_http_client::{Builder as HttpBuilder, Connector};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use tokio::time::Instant;
use tracing::debug;

pub use budget::Budget;
pub use error::{AwsError, Class, Named};
pub use guard::{Access, Guard};
pub use wait::{Consent, Context, Wait};

/// The clients of one run.
pub struct Aws {
    /// DynamoDB's control plane.
    pub dynamodb: aws_sdk_dynamodb::Client,
    /// Lambda's control plane.
    pub lambda: aws_sdk_lambda::Client,
    /// IAM, read only.
    pub iam: aws_sdk_iam::Client,
    /// Who we are.
    pub sts: aws_sdk_sts::Client,
    /// What stands in front of all of them.
    pub guard: Arc<Guard>,
    /// The rate limits that all of them share.
    pub budget: Arc<Budget>,
    /// The region of all of them.
    pub region: String,
    credentials: SharedCredentialsProvider,
    configured: bool,
}

/// Where to find AWS.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// `--profile`.
    pub profile: Option<String>,
    /// `--region`, else the spec's; otherwise the usual chain decides.
    pub region: Option<String>,
    /// `--endpoint-url`.
    pub endpoint_url: Option<String>,
}

/// A local AWS on this machine.
#[derive(Debug, Clone)]
pub struct LocalSettings {
    /// Where it listens.
    pub endpoint_url: String,
    /// The account to be: any 12 digits.
    pub account: String,
    /// The region to be in.
    pub region: String,
}

impl Aws {
    /// Clients for real AWS (or whatever endpoint the AWS settings name), through the standard chain.
    ///
    /// # Errors
    /// `Rejected` without a region.
    pub async fn connect(settings: &Settings, access: Access) -> Result<Aws, AwsError> {
        let guard = Arc::new(Guard::new(access));
        let budget = Arc::new(Budget::default());
        let http = front(https(), &guard, &budget);
        let mut region_in_profile = ProfileFileRegionProvider::builder();
        if let Some(profile) = &settings.profile {
            region_in_profile = region_in_profile.profile_name(profile);
        }
        let region = RegionProviderChain::first_try(settings.region.clone().map(Region::new))
            .or_else(EnvironmentVariableRegionProvider::new())
            .or_else(region_in_profile.build())
            .region()
            .await
            .ok_or_else(|| {
                let message = "no region is set: write `region:` into the spec, or set AWS_REGION, or pass `--region`";
                AwsError::own(Class::Rejected, "", "", message)
            })?;
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .region(region.clone())
            .http_client(http)
            .retry_config(RetryConfig::standard().with_max_attempts(4))
            .timeout_config(timeouts());
        if let Some(profile) = &settings.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(endpoint) = &settings.endpoint_url {
            loader = loader.endpoint_url(endpoint);
        }
        let config = loader.load().await;
        let configured = settings.profile.is_some() || credentials_are_configured();
        Aws::new(&config, settings.endpoint_url.as_deref(), guard, budget, configured)
    }

    /// Clients for a local AWS; no AWS variable, profile or proxy of this machine has a say.
    ///
    /// # Errors
    /// None so far; the signature is [`Aws::connect`]'s.
    pub fn local(settings: &LocalSettings, access: Access) -> Result<Aws, AwsError> {
        let guard = Arc::new(Guard::new(access));
        let budget = Arc::new(Budget::unlimited());
        let http = front(HttpBuilder::new().build_http(), &guard, &budget);
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(settings.region.clone()))
            .credentials_provider(SharedCredentialsProvider::new(Credentials::from_keys(
                &settings.account,
                "local",
                None,
            )))
            .endpoint_url(&settings.endpoint_url)
            .http_client(http)
            .retry_config(RetryConfig::standard())
            .timeout_config(timeouts())
            .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
            .time_source(SharedTimeSource::new(SystemTimeSource::new()))
            .build();
        Aws::new(&config, Some(&settings.endpoint_url), guard, budget, true)
    }

    fn new(
        config: &SdkConfig,
        endpoint: Option<&str>,
        guard: Arc<Guard>,
        budget: Arc<Budget>,
        configured: bool,
    ) -> Result<Aws, AwsError> {
        let credentials = config
            .credentials_provider()
            .ok_or_else(|| AwsError::own(Class::NoCredentials, "", "", "no AWS credentials were found"))?;
        let mut dynamodb = aws_sdk_dynamodb::config::Builder::from(config).retry_classifier(error::QuotaIsNoThrottle);
        let mut lambda = aws_sdk_lambda::config::Builder::from(config);
        let mut iam = aws_sdk_iam::config::Builder::from(config);
        let mut sts = aws_sdk_sts::config::Builder::from(config);
        if let Some(endpoint) = endpoint {
            // Set on each client, so that a service's own AWS_ENDPOINT_URL_… does not override the flag.
            dynamodb = dynamodb.endpoint_url(endpoint);
            lambda = lambda.endpoint_url(endpoint);
            iam = iam.endpoint_url(endpoint);
            sts = sts.endpoint_url(endpoint);
        }
        Ok(Aws {
            dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb.build()),
            lambda: aws_sdk_lambda::Client::from_conf(lambda.build()),
            iam: aws_sdk_iam::Client::from_conf(iam.build()),
            sts: aws_sdk_sts::Client::from_conf(sts.build()),
            guard,
            budget,
            region: config.region().map_or_else(String::new, ToString::to_string),
            credentials,
            configured,
        })
    }

    /// Makes sure that there are credentials before the first call, so that their absence is one error, not one for
    /// each read. Where nothing on this machine configures any, only an instance role could, and that answers fast.
    ///
    /// # Errors
    /// `NoCredentials`, `BadCredentials`.
    pub async fn authenticate(&self) -> Result<(), AwsError> {
        let patience = Duration::from_secs(if self.configured { 60 } else { 2 });
        match tokio::time::timeout(patience, self.credentials.provide_credentials()).await {
            Ok(Ok(_)) => Ok(()),
            // Where nothing is configured, a refusal can only come from a metadata service that has no role for us.
            Ok(Err(_)) if !self.configured => {
                Err(AwsError::own(Class::NoCredentials, "", "", "no AWS credentials were found"))
            }
            Ok(Err(error)) => Err(error::from_credentials(&error)),
            Err(_) if self.configured => {
                let message = format!("the source of AWS credentials did not answer within {} s", patience.as_secs());
                Err(AwsError::own(Class::BadCredentials, "", "", message))
            }
            Err(_) => Err(AwsError::own(Class::NoCredentials, "", "", "no AWS credentials were found")),
        }
    }

    /// The account of the credentials. Needs no permission.
    ///
    /// # Errors
    /// Whatever keeps STS from answering.
    pub async fn account(&self) -> Result<String, AwsError> {
        let identity = self.sts.get_caller_identity().send().await.named("GetCallerIdentity", "")?;
        identity.account.ok_or_else(|| AwsError::own(Class::Rejected, "GetCallerIdentity", "", "AWS named no account"))
    }
}

/// Whether anything but an instance role could supply credentials.
fn credentials_are_configured() -> bool {
    const VARIABLES: [&str; 7] = [
        "AWS_ACCESS_KEY_ID",
        "AWS_PROFILE",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONFIG_FILE",
        "AWS_SHARED_CREDENTIALS_FILE",
    ];
    let home = std::env::home_dir().unwrap_or_else(|| PathBuf::from("/"));
    VARIABLES.iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
        || home.join(".aws/credentials").exists()
        || home.join(".aws/config").exists()
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(5))
        .read_timeout(Duration::from_secs(30))
        .operation_attempt_timeout(Duration::from_secs(60))
        .build()
}

/// HTTPS with the system's certificates and proxy variables.
fn https() -> SharedHttpClient {
    HttpBuilder::new().build_with_connector_fn(|settings, components| {
        let mut connector = Connector::builder().proxy_config(ProxyConfig::from_env());
        connector.set_connector_settings(settings.cloned());
        if let Some(components) = components {
            connector.set_sleep_impl(components.sleep_impl());
        }
        connector.tls_provider(tls::Provider::Rustls(CryptoMode::Ring)).build()
    })
}

fn front(inner: SharedHttpClient, guard: &Arc<Guard>, budget: &Arc<Budget>) -> SharedHttpClient {
    SharedHttpClient::new(Front { inner, guard: Arc::clone(guard), budget: Arc::clone(budget) })
}

/// The one door that every request passes.
#[derive(Debug)]
struct Front {
    inner: SharedHttpClient,
    guard: Arc<Guard>,
    budget: Arc<Budget>,
}

#[derive(Debug)]
struct Door {
    inner: SharedHttpConnector,
    guard: Arc<Guard>,
    budget: Arc<Budget>,
}

impl HttpClient for Front {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        let door = Door { inner, guard: Arc::clone(&self.guard), budget: Arc::clone(&self.budget) };
        SharedHttpConnector::new(door)
    }
}

impl HttpConnector for Door {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let parsed = guard::Request::parse(
            request.method(),
            request.uri(),
            request.headers().get("x-amz-target"),
            request.body().bytes().unwrap_or_default(),
        );
        let Some(parsed) = parsed else {
            // The credential chain (SSO, STS, instance roles) calls through here as well; it signs with no service's
            // key, or is a GET, or goes to a host that serves nothing we deploy.
            return if is_credential_call(&request) {
                self.inner.call(request)
            } else {
                let refusal = guard::Refusal::unknown(request.method(), request.uri());
                HttpConnectorFuture::ready(Err(ConnectorError::user(Box::new(refusal))))
            };
        };
        if let Err(refusal) = self.guard.check(&parsed) {
            return HttpConnectorFuture::ready(Err(ConnectorError::user(Box::new(refusal))));
        }
        let (inner, budget) = (self.inner.clone(), Arc::clone(&self.budget));
        HttpConnectorFuture::new(async move {
            let _permit = budget.admit(&parsed).await;
            let start = Instant::now();
            let answer = inner.call(request).await;
            let status = answer.as_ref().map_or(0, |response| response.status().as_u16());
            let ms = start.elapsed().as_millis();
            let target = parsed.target.as_ref().map_or("", |(_, name)| name.as_str());
            debug!(target: "engine::call", service = parsed.service, operation = parsed.operation, resource = target, status, ms);
            answer
        })
    }
}

/// What only the credential chain sends: SSO's portal, OIDC's tokens, STS's AssumeRole…, and the metadata services.
fn is_credential_call(request: &HttpRequest) -> bool {
    let authority = authority(request.uri());
    let host = authority.split(':').next().unwrap_or_default();
    // CloudShell, some editors and EKS name a service of their own, mostly on this very machine.
    let named = |variable: &str| std::env::var(variable).is_ok_and(|url| authority == self::authority(&url));
    let body = request.body().bytes().unwrap_or_default();
    host.starts_with("portal.sso.")
        || host.starts_with("oidc.")
        || matches!(host, "169.254.169.254" | "169.254.170.2" | "169.254.170.23")
        || (body.is_empty()
            && (named("AWS_CONTAINER_CREDENTIALS_FULL_URI") || named("AWS_EC2_METADATA_SERVICE_ENDPOINT")))
        || body.starts_with(b"Action=AssumeRole")
}

/// Host and port of a URL.
fn authority(url: &str) -> &str {
    url.split("://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default()
}

impl fmt::Debug for Aws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aws").field("region", &self.region).finish_non_exhaustive()
    }
}
