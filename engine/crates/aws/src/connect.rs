//! The AWS clients: credentials, profiles, region, endpoint and account.
//!
//! **Invariant:** nothing here depends on a plan or a spec, and nothing names a kind.

mod ca_bundle;
mod context;
mod download;
pub(crate) mod headers;
pub(crate) mod profiles;
mod shared;
pub mod standin;
mod untyped;

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_config::environment::region::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_dynamodb::config::{BehaviorVersion, Region, StalledStreamProtectionConfig};
use aws_sdk_iam::operation::get_role::GetRoleOutput;
use aws_sdk_lambda::types::FunctionConfiguration;
use aws_sdk_sts::operation::get_caller_identity::GetCallerIdentityOutput;
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_async::time::{SharedTimeSource, SystemTimeSource};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{self, rustls_provider::CryptoMode};
use aws_smithy_http_client::{Builder as HttpBuilder, Connector};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::http::{HttpConnectorSettings, SharedHttpClient, SharedHttpConnector};
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::DateTime;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::date_time::Format as DateTimeFormat;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use futures_util::FutureExt as _;

use crate::answer::{self, AwsError, CallContext};
use crate::cause::Code;
use crate::iam::permissions;
use crate::lookups::SharedStacks;
use crate::operation::{self, Effect, Operation, Operations, Service, Wire};
use crate::policy::{
    Purpose::{Apply, Destroy, Dev, Diff},
    Scope,
};
use crate::wire::guard::{Access, Guard};
use crate::wire::{GuardedClient, limits};
use engine_core::mask::Secrets;
use engine_core::provider::Tags;
use engine_core::recorder::Recorder;
use engine_core::wait::limiter::{PATIENCE, RateLimits};

pub use context::Context;
use download::{Connect, Downloads};
use profiles::Profiles;
pub(crate) use shared::Answers;
pub(crate) use shared::{Batch, EventSources};
pub(crate) use untyped::{Input, Protocol, UntypedService};

/// The calls of every run, whatever its spec has.
pub(crate) const OPERATIONS: &[Operation] = &[
    Operation::new(Service::STS, "sts:GetCallerIdentity", Effect::Read, Wire::Query, &limits::STS, &[]),
    Operation::new(
        Service::TAGGING,
        "tag:GetResources",
        Effect::Read,
        Wire::Json("ResourceGroupsTaggingAPI_20170126"),
        &limits::TAG_INDEX,
        &[(&Scope::LISTS, &[Diff, Apply, Destroy, Dev])],
    ),
];

/// The clients of one run.
pub struct Aws {
    /// DynamoDB's control plane and single items.
    pub(crate) dynamodb: aws_sdk_dynamodb::Client,
    /// Tables' streams, read-only.
    pub(crate) streams: aws_sdk_dynamodbstreams::Client,
    /// Lambda's control plane.
    pub(crate) lambda: aws_sdk_lambda::Client,
    /// IAM, read-only.
    pub(crate) iam: aws_sdk_iam::Client,
    /// Queues, without their messages.
    pub(crate) sqs: aws_sdk_sqs::Client,
    /// The caller's identity.
    pub(crate) sts: aws_sdk_sts::Client,
    /// Log groups, and the logs of functions.
    pub(crate) logs: aws_sdk_cloudwatchlogs::Client,
    /// The tag index.
    pub(crate) tagging: aws_sdk_resourcegroupstagging::Client,
    /// The settings of all clients, for those of other services.
    pub sdk: SdkConfig,
    /// Checks every request of these clients.
    pub guard: Arc<Guard>,
    /// The rate limits that all clients share.
    pub limits: Arc<RateLimits>,
    /// Values that no text may show.
    pub secrets: Arc<Secrets>,
    /// Records calls and waits, if enabled.
    pub recorder: Arc<Recorder>,
    /// What reads showed about roles and the caller.
    pub seen: permissions::ObservedRoles,
    /// Responses that all runs of the connection share.
    shared: Arc<SharedAnswers>,
    /// Reads of event source mappings that a list may answer.
    pub(crate) event_sources: EventSources,
    /// Downloads from addresses in responses.
    pub(crate) downloads: Downloads,
    /// The region of all clients.
    pub region: String,
    /// The timeouts of calls that upload a function's code.
    pub upload_timeouts: TimeoutConfig,
}

/// The connection to AWS for all runs of a process in one region: they share credentials and rate
/// limits, but each has its own guard.
pub struct Connection {
    config: SdkConfig,
    /// Makes connectors for downloads.
    connect: Connect,
    /// The secret of a local AWS; empty for real AWS.
    key: String,
    operations: Operations,
    limits: Arc<RateLimits>,
    shared: Arc<SharedAnswers>,
    upload_timeouts: TimeoutConfig,
}

/// Calls that are the same for every run of a connection.
#[derive(Debug, Default)]
struct SharedAnswers {
    identity: Answers<GetCallerIdentityOutput>,
    roles: Answers<GetRoleOutput>,
    functions: Answers<Arc<Vec<FunctionConfiguration>>>,
    stacks: SharedStacks,
}

/// The layer between the clients and AWS, below guard and rate limits. The program uses the
/// default; a caller of the library can wrap the HTTP client and shorten the timeouts.
#[derive(Clone)]
pub struct Network {
    /// Wraps the HTTP client, and so sees every attempt of every call.
    pub wrap: Arc<dyn Fn(SharedHttpClient) -> SharedHttpClient + Send + Sync>,
    /// The timeouts of a call.
    pub timeouts: TimeoutConfig,
    /// The timeouts of a call that uploads a function's code: 50 MiB take a while on a slow
    /// connection.
    pub upload_timeouts: TimeoutConfig,
}

impl Default for Network {
    fn default() -> Network {
        let limits = |read, attempt| {
            TimeoutConfig::builder()
                .connect_timeout(Duration::from_secs(5))
                .read_timeout(Duration::from_secs(read))
                // An attempt starts when it is signed, and may then wait for its rate limit.
                .operation_attempt_timeout(Duration::from_secs(attempt) + PATIENCE)
                .build()
        };
        Network { wrap: Arc::new(|http| http), timeouts: limits(30, 60), upload_timeouts: limits(600, 600) }
    }
}

/// Where to find AWS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// `--profile`.
    pub profile: Option<String>,
    /// `--region`, else the spec's; otherwise the standard provider chain decides.
    pub region: Option<String>,
    /// `--endpoint-url`.
    pub endpoint_url: Option<String>,
    /// `--rate`: the maximum number of Lambda control-plane calls per second; all other limits are
    /// reduced by the same factor.
    pub rate: Option<u8>,
}

/// A local AWS on this machine.
#[derive(Clone, PartialEq, Eq)]
pub struct LocalSettings {
    /// Its endpoint.
    pub endpoint_url: String,
    /// The secret before the account in access key IDs; empty if the server requires none.
    pub key: String,
    /// The account: any 12 digits.
    pub account: String,
    /// The region.
    pub region: String,
}

impl LocalSettings {
    /// The access key ID that makes a client belong to the account.
    #[must_use]
    pub fn access_key_id(&self) -> String {
        format!("{}{}", self.key, self.account)
    }
}

impl std::fmt::Debug for LocalSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { endpoint_url, account, region, .. } = self;
        write!(f, "LocalSettings({endpoint_url}, {account}, {region})")
    }
}

/// The region of the calls: `--region`, else the spec's, else that of the AWS settings. Makes no
/// call.
///
/// # Errors
/// `RegionNotUsable` if no region is set; `ProfileUnknown` if the profile doesn't exist.
pub async fn region(settings: &Settings) -> Result<String, AwsError> {
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
            let unset = || AwsError::own(Code::RegionNotUsable, "", "", "no region is set");
            Profiles::read(settings).unknown().unwrap_or_else(unset)
        })?;
    headers::check_region(region.as_ref())?;
    Ok(region.to_string())
}

/// Endpoints that would receive requests unencrypted over a network: the setting that names each,
/// and its address.
pub fn unencrypted_endpoints(settings: &Settings) -> Vec<(String, String)> {
    headers::unencrypted(settings.endpoint_url.as_deref(), &Profiles::read(settings))
}

impl Connection {
    /// Connects to AWS (or the endpoint in the AWS settings) with the standard credential provider
    /// chain.
    ///
    /// # Errors
    /// `RegionNotUsable` without a region; the reason why the chain returns no credentials.
    pub async fn open(settings: &Settings, network: &Network) -> Result<Connection, AwsError> {
        let region = Region::new(region(settings).await?);
        let (profile, profiles) = (named_profile(settings), Profiles::read(settings));
        headers::check_settings(&profiles, profile.is_some())?;
        let trusted = ca_bundle::read(&profiles)?;
        let http = (network.wrap)(https(trusted.clone()));
        let settings_of_download = settings_of(&network.upload_timeouts);
        let connect: Connect = Arc::new(move || {
            let context = tls_context(trusted.clone());
            SharedHttpConnector::new(connector(context.as_ref(), Some(settings_of_download.clone()), Some(sleep())))
        });
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .region(region.clone())
            .http_client(http.clone())
            .retry_config(retries())
            .timeout_config(network.timeouts.clone())
            .stalled_stream_protection(stalls());
        if let Some(profile) = &profile {
            // Without this, keys in the environment would take precedence over `--profile`, and an
            // unknown name would fall through to the instance role.
            let config = ProviderConfig::without_region().with_http_client(http).with_region(Some(region));
            let provider = ProfileFileCredentialsProvider::builder().profile_name(profile).configure(&config).build();
            loader = loader.profile_name(profile).credentials_provider(provider);
        }
        // It takes precedence over AWS_ENDPOINT_URL_… of each service.
        if let Some(endpoint) = &settings.endpoint_url {
            loader = loader.endpoint_url(endpoint);
        }
        let config = loader.load().await;
        if let Some(unknown) = profile.as_ref().and_then(|_| profiles.unknown()) {
            return Err(unknown);
        }
        let credentials = authenticate(&config, profiles, profile.is_some()).await?;
        let config = config.into_builder().credentials_provider(credentials).build();
        let operations = operation::all();
        Ok(Connection {
            config,
            connect,
            key: String::new(),
            limits: Arc::new(RateLimits::new(
                &operations.limits(),
                settings.rate.map_or(1.0, |rate| f64::from(rate) / f64::from(limits::LAMBDAS_RATE)),
            )),
            operations,
            shared: Arc::default(),
            upload_timeouts: network.upload_timeouts.clone(),
        })
    }

    /// Connects to a local AWS, without the AWS variables, profiles and proxies of this machine.
    pub fn local(settings: &LocalSettings, network: &Network) -> Connection {
        Connection::local_for(settings, network, operation::all())
    }

    /// The same for other calls than those of the shipped kinds.
    pub fn local_for(settings: &LocalSettings, network: &Network, operations: Operations) -> Connection {
        let credentials = Credentials::from_keys(settings.access_key_id(), "local", None);
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(settings.region.clone()))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .endpoint_url(&settings.endpoint_url)
            .http_client((network.wrap)(HttpBuilder::new().build_http()))
            .retry_config(retries())
            .timeout_config(network.timeouts.clone())
            .stalled_stream_protection(stalls())
            .sleep_impl(sleep())
            .time_source(SharedTimeSource::new(SystemTimeSource::new()))
            .build();
        Connection {
            config,
            connect: Arc::new(|| SharedHttpConnector::new(Connector::builder().build_http())),
            key: settings.key.clone(),
            operations,
            limits: Arc::new(RateLimits::unlimited()),
            shared: Arc::default(),
            upload_timeouts: network.upload_timeouts.clone(),
        }
    }

    /// The clients of one run, behind a new guard.
    pub fn clients(&self, access: Access) -> Aws {
        let Connection { config, connect, key, operations, limits, shared, upload_timeouts } = self;
        let (guard, limits) = (Arc::new(Guard::new(access, operations.clone())), Arc::clone(limits));
        let recorder = Arc::<Recorder>::default();
        let secrets = Secrets::default();
        secrets.register(key);
        // Only the clients' requests pass the guard; requests for credentials don't.
        let client = config.http_client().map(|inner| {
            let (guard, limits, recorder) = (Arc::clone(&guard), Arc::clone(&limits), Arc::clone(&recorder));
            SharedHttpClient::new(GuardedClient { inner, guard, limits, recorder })
        });
        let mut sdk = config.clone().into_builder();
        sdk.set_http_client(client);
        let sdk = sdk.build();
        let dynamodb = aws_sdk_dynamodb::config::Builder::from(&sdk).retry_classifier(answer::QuotaIsNoThrottle);
        Aws {
            dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb.build()),
            streams: aws_sdk_dynamodbstreams::Client::new(&sdk),
            lambda: aws_sdk_lambda::Client::new(&sdk),
            iam: aws_sdk_iam::Client::new(&sdk),
            sqs: aws_sdk_sqs::Client::new(&sdk),
            sts: aws_sdk_sts::Client::new(&sdk),
            logs: aws_sdk_cloudwatchlogs::Client::new(&sdk),
            tagging: aws_sdk_resourcegroupstagging::Client::new(&sdk),
            sdk,
            guard,
            limits,
            secrets: Arc::new(secrets),
            recorder,
            seen: permissions::ObservedRoles::default(),
            shared: Arc::clone(shared),
            event_sources: EventSources::default(),
            downloads: Downloads { connect: Arc::clone(connect), config: config.clone() },
            region: config.region().map_or_else(String::new, ToString::to_string),
            upload_timeouts: upload_timeouts.clone(),
        }
    }
}

/// Facts about the credentials, without any secret part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The prefix of the access key ID: AKIA for a user, ASIA for a session.
    pub kind: String,
    /// When it expires; `None`: it doesn't, as far as is known.
    pub expiry: Option<SystemTime>,
    /// The profile that it comes from, if a profile was selected by name.
    pub profile: Option<String>,
}

/// AWS rejects a request that is signed with a clock that is off by more seconds
/// (docs.aws.amazon.com/IAM/latest/UserGuide/signature-v4-troubleshooting.html).
pub const MOST_SKEW: i64 = 300;

/// Seconds by which this machine's clock is ahead of a `date` header.
pub(crate) fn seconds_ahead(date: &str) -> Option<i64> {
    let date = DateTime::from_str(date, DateTimeFormat::HttpDate).ok()?;
    Some(DateTime::from(SystemTime::now()).secs() - date.secs())
}

/// The difference between AWS's clock and this machine's, taken from a response header.
#[derive(Debug, Clone, Default)]
pub struct Skew(Arc<Mutex<Option<i64>>>);

impl Skew {
    /// Seconds by which this machine is ahead of AWS; `None` without a response.
    pub fn seconds(&self) -> Option<i64> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[dyn_dispatch_hint]
impl Intercept for Skew {
    fn name(&self) -> &'static str {
        "Skew"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(ahead) = context.response().headers().get("date").and_then(seconds_ahead) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(ahead);
        }
        Ok(())
    }
}

impl Connection {
    /// Facts about the credentials that can be shown.
    pub async fn key(&self, settings: &Settings) -> Option<Key> {
        let credentials = self.config.credentials_provider()?.provide_credentials().await.ok()?;
        let kind = credentials.access_key_id().chars().take(4).collect();
        Some(Key { kind, expiry: credentials.expiry(), profile: named_profile(settings) })
    }
}

impl Aws {
    /// The caller's ARN; also measures the clock skew.
    ///
    /// # Errors
    /// The failure of the STS call; the skew may be known anyway.
    pub async fn caller(&self, skew: &Skew) -> Result<String, AwsError> {
        Ok(self.identity(skew).await?.arn.unwrap_or_default())
    }

    /// The clients for DynamoDB, Lambda and IAM, behind the guard: for resource types that another
    /// crate defines.
    #[doc(hidden)]
    pub fn clients(&self) -> (&aws_sdk_dynamodb::Client, &aws_sdk_lambda::Client, &aws_sdk_iam::Client) {
        (&self.dynamodb, &self.lambda, &self.iam)
    }

    async fn identity(&self, skew: &Skew) -> Result<GetCallerIdentityOutput, AwsError> {
        let request = self.sts.get_caller_identity().customize().interceptor(skew.clone());
        let identity = request.send().await.context("GetCallerIdentity", "")?;
        self.seen.note_caller(identity.arn().unwrap_or_default());
        Ok(identity)
    }

    /// Clients for a local AWS, without a shared connection.
    pub fn local(settings: &LocalSettings, access: Access) -> Aws {
        Connection::local(settings, &Network::default()).clients(access)
    }

    /// All resources in the tag index that have all of these tags (an empty value matches any), as
    /// ARN and tags. The index lags behind and keeps deleted resources for a while, so each result
    /// must be read
    /// (docs.aws.amazon.com/resourcegroupstagging/latest/APIReference/API_GetResources.html).
    ///
    /// # Errors
    /// `AccessDenied` without the permission `tag:GetResources`.
    pub async fn tagged(&self, tags: &[(&str, &str)], types: &[&str]) -> Result<Vec<(String, Tags)>, AwsError> {
        let filters = tags.iter().map(|(key, value)| {
            let filter = aws_sdk_resourcegroupstagging::types::TagFilter::builder().key(*key);
            if value.is_empty() { filter.build() } else { filter.values(*value).build() }
        });
        let request = self
            .tagging
            .get_resources()
            .set_tag_filters(Some(filters.collect()))
            .set_resource_type_filters(Some(types.iter().map(|it| (*it).to_owned()).collect()));
        let pages = request.into_paginator().items().send();
        let resources = pages.collect::<Result<Vec<_>, _>>().await.context("GetResources", "")?;
        let found = resources.into_iter().map(|resource| {
            let tags = resource.tags.unwrap_or_default().into_iter().map(|tag| (tag.key, tag.value)).collect();
            (resource.resource_arn.unwrap_or_default(), tags)
        });
        Ok(found.collect())
    }

    /// Reads a role by name.
    ///
    /// # Errors
    /// `NotFound`; `AccessDenied` without the permission `iam:GetRole`.
    pub async fn role(&self, name: &str) -> Result<GetRoleOutput, AwsError> {
        let (request, owned) = (self.iam.get_role().role_name(name), name.to_owned());
        self.shared.roles.get(name, async move { request.send().await.context("GetRole", &owned) }).await
    }

    /// The functions of the account in this region, from one list for all runs that plan at the same
    /// time.
    ///
    /// # Errors
    /// The failure of the call.
    pub async fn functions(&self) -> Result<Arc<Vec<FunctionConfiguration>>, AwsError> {
        let pages = self.lambda.list_functions().into_paginator().items().send();
        let call = async move { pages.collect::<Result<Vec<_>, _>>().await.context("ListFunctions", "").map(Arc::new) };
        self.shared.functions.get("", call).await
    }

    /// The account of the credentials. Requires no permission.
    ///
    /// # Errors
    /// The failure of the STS call.
    pub async fn account(&self) -> Result<String, AwsError> {
        let request = self.sts.get_caller_identity();
        let call = async move { request.send().await.context("GetCallerIdentity", "") };
        let identity = self.shared.identity.get("", call).await?;
        self.seen.note_caller(identity.arn().unwrap_or_default());
        identity.account.ok_or_else(|| {
            AwsError::refused(Code::UnexpectedAnswer, "GetCallerIdentity", "", "the response contains no account")
        })
    }
}

/// The profile that is selected by name. Keys in the environment take precedence over
/// `AWS_PROFILE`, not over `--profile`.
fn named_profile(settings: &Settings) -> Option<String> {
    let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    settings.profile.clone().or_else(|| env("AWS_PROFILE").filter(|_| env("AWS_ACCESS_KEY_ID").is_none()))
}

/// Gets credentials once, before the first call: missing credentials are then one error instead of
/// one per read, and a credential process or SSO runs only once for all clients.
async fn authenticate(
    config: &SdkConfig,
    profiles: Profiles,
    is_named: bool,
) -> Result<SharedCredentialsProvider, AwsError> {
    let missing = || AwsError::own(Code::NoCredentials, "", "", "no AWS credentials found");
    let source = config.credentials_provider().ok_or_else(missing)?;
    // If no source is configured on this machine, only an instance role could supply them, and that
    // responds fast.
    let configured = is_named || credentials_are_configured();
    let patience = Duration::from_secs(if configured { 60 } else { 2 });
    let origin = profiles.source(is_named);
    match tokio::time::timeout(patience, provided(&source, &origin)).await {
        Ok(Ok(first)) => Ok(SharedCredentialsProvider::new(Prefetched { first, source, profiles, origin })),
        Ok(Err(error)) => Err(match answer::from_credentials(&error, &profiles) {
            error if is_named && error.is(Code::NoCredentials) => profiles.empty(),
            // Without a configured source, an error from the instance metadata address means
            // nothing.
            error if configured => error,
            _ => missing(),
        }),
        Err(_) if configured => {
            let message = format!("the credential source didn't respond within {} s", patience.as_secs());
            Err(AwsError::own(Code::CredentialsNotFetched, "", "", message))
        }
        Err(_) => Err(missing()),
    }
}

/// Credentials that can be sent. The SDK signs internally with the keys that a `credential_process`
/// returns for a role profile, where they can't be checked, so a panic of its signer is caught
/// here.
async fn provided(source: &SharedCredentialsProvider, origin: &str) -> Result<Credentials, CredentialsError> {
    report_only_uncaught_panics();
    let asked = CAUGHT.scope((), AssertUnwindSafe(source.provide_credentials()).catch_unwind()).await;
    let credentials = asked.unwrap_or_else(|_| Err(CredentialsError::provider_error(headers::unsendable(origin))))?;
    headers::check_credentials(&credentials, origin).map_err(CredentialsError::provider_error)?;
    Ok(credentials)
}

tokio::task_local! {
    /// Set where a panic is caught and becomes an error.
    static CAUGHT: ();
}

/// Keeps the report of a caught panic off stderr: the error replaces it.
fn report_only_uncaught_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if CAUGHT.try_with(|()| ()).is_err() {
                report(panic);
            }
        }));
    });
}

/// Credentials that were already fetched, and their source for when they expire.
#[derive(Debug)]
struct Prefetched {
    first: Credentials,
    source: SharedCredentialsProvider,
    profiles: Profiles,
    /// A description of their source.
    origin: String,
}

/// Credentials that expire sooner are fetched again.
const FRESH: Duration = Duration::from_secs(300);

impl ProvideCredentials for Prefetched {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        if self.first.expiry().is_none_or(|expiry| expiry > SystemTime::now() + FRESH) {
            return future::ProvideCredentials::ready(Ok(self.first.clone()));
        }
        future::ProvideCredentials::new(async {
            let to_error = |error| CredentialsError::provider_error(answer::from_credentials(&error, &self.profiles));
            provided(&self.source, &self.origin).await.map_err(to_error)
        })
    }
}

/// Whether anything besides an instance role could supply credentials.
fn credentials_are_configured() -> bool {
    const VARIABLES: [&str; 4] = [
        "AWS_ACCESS_KEY_ID",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ];
    // Settings that name a source in a profile
    // (docs.aws.amazon.com/cli/latest/userguide/cli-configure-files.html); a file that only sets a
    // region has none.
    const KEYS: [&str; 6] =
        ["aws_access_key_id", "sso_", "credential_process", "role_arn", "credential_source", "login_session"];
    let file = |variable: &str, usual: &str| {
        let named = std::env::var_os(variable).filter(|path| !path.is_empty()).map(PathBuf::from);
        let path = named.or_else(|| Some(std::env::home_dir()?.join(usual)))?;
        std::fs::read_to_string(path).ok()
    };
    VARIABLES.iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
        || [("AWS_CONFIG_FILE", ".aws/config"), ("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials")]
            .into_iter()
            .filter_map(|(variable, usual)| file(variable, usual))
            .any(|text| KEYS.iter().any(|key| text.contains(key)))
}

/// The retry policy, for real and local AWS.
fn retries() -> RetryConfig {
    RetryConfig::standard().with_max_attempts(4).with_initial_backoff(Duration::from_millis(300))
}

/// Stalled responses are aborted. Requests are not: one that waits for a rate limit would look
/// stalled, and a sent one is bounded by the timeouts.
fn stalls() -> StalledStreamProtectionConfig {
    StalledStreamProtectionConfig::enabled().upload_enabled(false).build()
}

/// HTTPS with the proxy variables and the system's certificates or a CA bundle.
fn https(trusted: Option<tls::TrustStore>) -> SharedHttpClient {
    let context = tls_context(trusted);
    HttpBuilder::new().build_with_connector_fn(move |settings, components| {
        connector(context.as_ref(), settings.cloned(), components.and_then(RuntimeComponents::sleep_impl))
    })
}

fn tls_context(trusted: Option<tls::TrustStore>) -> Option<tls::TlsContext> {
    trusted.and_then(|trusted| tls::TlsContext::builder().with_trust_store(trusted).build().ok())
}

fn connector(
    context: Option<&tls::TlsContext>,
    settings: Option<HttpConnectorSettings>,
    sleep: Option<SharedAsyncSleep>,
) -> Connector {
    let mut connector = Connector::builder().proxy_config(ProxyConfig::from_env());
    connector.set_connector_settings(settings);
    connector.set_sleep_impl(sleep);
    let connector = connector.tls_provider(tls::Provider::Rustls(CryptoMode::Ring));
    match context {
        Some(context) => connector.tls_context(context.clone()).build(),
        None => connector.build(),
    }
}

/// The timeouts of a connector that no client configures.
fn settings_of(timeouts: &TimeoutConfig) -> HttpConnectorSettings {
    let mut settings = HttpConnectorSettings::builder();
    settings.set_connect_timeout(timeouts.connect_timeout()).set_read_timeout(timeouts.read_timeout());
    settings.build()
}

fn sleep() -> SharedAsyncSleep {
    SharedAsyncSleep::new(TokioSleep::new())
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("timeouts", &self.timeouts).finish_non_exhaustive()
    }
}

impl fmt::Debug for Aws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aws").field("region", &self.region).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod regions;
