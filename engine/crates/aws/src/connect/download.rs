//! Downloads from addresses that AWS's responses contain, like that of a function's code.
//!
//! **Invariant:** a download is a GET without a body and without the caller's secret key: the address
//! has its own signature. So it doesn't pass the guard, which parses AWS's calls.

use std::sync::Arc;

use aws_config::SdkConfig;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_smithy_runtime_api::client::http::{HttpConnector as _, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use http_body_util::{BodyExt as _, Limited};

use crate::answer::{AwsError, Code};

/// The largest file, in bytes: unzipped code has at most 250 MiB
/// (docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html).
const MAX_BYTES: usize = 256 << 20;

/// Makes a connector, which may load the system's certificates.
pub(super) type Connect = Arc<dyn Fn() -> SharedHttpConnector + Send + Sync>;

/// Downloads files.
#[derive(Clone)]
pub(crate) struct Downloads {
    pub(super) connect: Connect,
    /// The settings of the clients.
    pub(super) config: SdkConfig,
}

impl Downloads {
    /// The file at an address that the response to `operation` about `name` contains.
    ///
    /// # Errors
    /// `NoAnswer` or `AwsFault`; final if it can't be downloaded.
    pub(crate) async fn get(&self, address: &str, operation: &str, name: &str) -> Result<Vec<u8>, AwsError> {
        let error = |cause, why: &str| AwsError::own(cause, operation, name, format!("the download failed: {why}"));
        let refused = |why: &str| AwsError { is_final: true, ..error(Code::UnexpectedAnswer, why) };
        let mut request = HttpRequest::new(SdkBody::empty());
        let address = self.admitted(address).await;
        // The address is as good as a password for a while, so no message contains it.
        request.set_uri(address).map_err(|_| refused("its address is invalid"))?;
        let answer = (self.connect)().call(request).await;
        let mut answer = answer.map_err(|_| error(Code::NoAnswer, "there was no response"))?;
        let status = answer.status().as_u16();
        if !answer.status().is_success() {
            let why = format!("HTTP status {status}");
            return Err(if status >= 500 { error(Code::AwsFault, &why) } else { refused(&why) });
        }
        let body = Limited::new(answer.take_body(), MAX_BYTES).collect().await;
        let body = body.map_err(|_| error(Code::NoAnswer, "the connection ended too early"))?;
        Ok(body.to_bytes().into())
    }

    /// The address with the access key ID that a local AWS requires of each request and omits in
    /// its addresses. Addresses of AWS have one.
    async fn admitted(&self, address: &str) -> String {
        let is_local =
            ["http://localhost:", "http://127.0.0.1:", "http://[::1]:"].iter().any(|it| address.starts_with(it));
        let is_signed = address.to_ascii_lowercase().contains("x-amz-credential=");
        let provider = self.config.credentials_provider().filter(|_| is_local && !is_signed);
        let Some(provider) = provider else { return address.to_owned() };
        let Ok(credentials) = provider.provide_credentials().await else { return address.to_owned() };
        let separator = if address.contains('?') { '&' } else { '?' };
        format!("{address}{separator}X-Amz-Credential={}%2Flocal", credentials.access_key_id())
    }
}

impl std::fmt::Debug for Downloads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Downloads")
    }
}
