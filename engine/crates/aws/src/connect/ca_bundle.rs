//! Custom CA certificates: AWS_CA_BUNDLE or a profile's `ca_bundle` replaces the system's
//! certificates, as in other AWS tools
//! (docs.aws.amazon.com/sdkref/latest/guide/feature-gen-config.html).
//!
//! **Invariant:** every certificate of a bundle is parsed before the HTTP client gets it, because
//! the client panics on invalid ones.

use std::path::{Path, PathBuf};

use aws_smithy_http_client::tls::TrustStore;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::profiles::{Profiles, variable};
use crate::answer::AwsError;
use crate::cause::Code;
use crate::spec::files::{self, Unread};

/// The maximum size of a bundle in bytes; Mozilla's bundle has 230 KB.
const MAX_BYTES: usize = 16 << 20;

/// The certificates that replace the system's; `None` if no bundle is set.
///
/// # Errors
/// The file can't be read or isn't a bundle of PEM certificates.
pub(super) fn read(profiles: &Profiles) -> Result<Option<TrustStore>, AwsError> {
    let of_profile = || {
        let (name, path) = profiles.in_use("ca_bundle").filter(|(_, path)| !path.is_empty())?;
        Some((path.to_owned(), format!("`ca_bundle` of the profile `{name}`")))
    };
    let Some((path, source)) =
        variable("AWS_CA_BUNDLE").map(|path| (path, "AWS_CA_BUNDLE".to_owned())).or_else(of_profile)
    else {
        return Ok(None);
    };
    let unusable = |why: String| {
        let remedy = format!("correct {source}, or remove it to trust the system's certificates");
        AwsError::own(Code::CaBundleUnusable, "", "", "the CA bundle can't be used")
            .with_reason(format!("{source} is `{path}`, {why}"), remedy)
    };
    let text = files::read(&expanded(&path), MAX_BYTES).map_err(|unread| {
        unusable(match unread {
            Unread::Refused(error) => format!("which can't be read: {error}"),
            unread => format!("which {}", unread.reason()),
        })
    })?;
    let certificates: Vec<CertificateDer> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|_| unusable("which contains a damaged PEM certificate".to_owned()))?;
    if certificates.is_empty() {
        return Err(unusable("which contains no PEM certificate (`-----BEGIN CERTIFICATE-----`)".to_owned()));
    }
    let mut parsed = RootCertStore::empty();
    for (at, certificate) in certificates.into_iter().enumerate() {
        parsed
            .add(certificate)
            .map_err(|error| unusable(format!("in which certificate {} can't be used: {error}", at + 1)))?;
    }
    Ok(Some(TrustStore::empty().with_pem_certificate(text)))
}

/// The path with `~` replaced by the home folder.
fn expanded(path: &str) -> PathBuf {
    let in_home = path.strip_prefix("~/").and_then(|rest| Some(std::env::home_dir()?.join(rest)));
    in_home.unwrap_or_else(|| Path::new(path).to_owned())
}
