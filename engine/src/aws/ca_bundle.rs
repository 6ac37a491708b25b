//! Certificates of one's own: what AWS_CA_BUNDLE or a profile's `ca_bundle` names takes the place of the system's, as with
//! AWS's other tools (docs.aws.amazon.com/sdkref/latest/guide/feature-gen-config.html).
//!
//! **Invariant:** the HTTP client gets a bundle only after each certificate in it was parsed, for it panics on others.

use std::path::{Path, PathBuf};

use aws_smithy_http_client::tls::TrustStore;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::error::{AwsError, Class};
use super::profiles::{Profiles, variable};
use crate::cause::Code;
use crate::files::{self, Unread};

/// More than any bundle has, in bytes; that of Mozilla's certificates has 230 KB.
const MAX_BYTES: usize = 16 << 20;

/// The certificates that are trusted instead of the system's; `None`: nobody names any.
///
/// # Errors
/// The file can't be read, or is no bundle of PEM certificates.
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
        AwsError::own(Class::Unaddressed, "", "", "the CA bundle can't be used").known(
            Code::CaBundleUnusable,
            format!("{source} names `{path}`, {why}"),
            remedy,
        )
    };
    let text = files::read(&expanded(&path), MAX_BYTES).map_err(|unread| {
        unusable(match unread {
            Unread::Refused(error) => format!("which can't be read: {error}"),
            unread => format!("which {}", unread.reason()),
        })
    })?;
    let certificates: Vec<CertificateDer> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|_| unusable("in which a PEM certificate is damaged".to_owned()))?;
    if certificates.is_empty() {
        return Err(unusable("which has no PEM certificate (`-----BEGIN CERTIFICATE-----`)".to_owned()));
    }
    let mut parsed = RootCertStore::empty();
    for (at, certificate) in certificates.into_iter().enumerate() {
        parsed
            .add(certificate)
            .map_err(|error| unusable(format!("whose certificate number {} can't be used: {error}", at + 1)))?;
    }
    Ok(Some(TrustStore::empty().with_pem_certificate(text)))
}

/// A path with the home folder in place of `~`.
fn expanded(path: &str) -> PathBuf {
    let in_home = path.strip_prefix("~/").and_then(|rest| Some(std::env::home_dir()?.join(rest)));
    in_home.unwrap_or_else(|| Path::new(path).to_owned())
}
