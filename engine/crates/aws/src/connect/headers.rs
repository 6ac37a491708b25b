//! Settings of this machine that become part of request headers: keys, session token, region, user
//! agent.
//!
//! The SDK's signer panics on values that are invalid in HTTP headers (`aws-runtime`'s `auth.rs`
//! unwraps), so they must be found before a request is signed.
//!
//! **Invariant:** an error names the source of a value and what is wrong with it, never the value.

use aws_credential_types::Credentials;

use super::profiles::{Profiles, variable};
use crate::answer::AwsError;
use crate::cause::Code;

/// The environment variables of the three parts of static credentials.
pub(crate) const KEY_VARIABLES: [&str; 3] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];
/// The same parts in a profile.
pub(crate) const KEY_SETTINGS: [&str; 3] = ["aws_access_key_id", "aws_secret_access_key", "aws_session_token"];
/// Variables that are part of every request, regardless of flags: the SDK's user agent contains the
/// first.
const ALWAYS: [&str; 2] = ["AWS_EXECUTION_ENV", "AWS_SDK_UA_APP_ID"];
/// Variables that configure a credential service on this machine. A token may contain spaces.
const SERVICES: [&str; 4] = [
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
];
/// Environment variables with this prefix set an endpoint, and so the header `host`.
pub(crate) const ENDPOINT: &str = "AWS_ENDPOINT_URL";

/// Why a text is invalid in a header, worded to follow "contains".
pub(crate) fn fault(text: &str) -> Option<&'static str> {
    match text.chars().find(|c| !c.is_ascii_graphic())? {
        '\n' | '\r' => Some("a line break"),
        c if c.is_whitespace() => Some("a space"),
        c if c.is_control() => Some("a control character"),
        _ => Some("a non-ASCII character"),
    }
}

/// The same for values that may contain spaces.
fn fault_of_line(text: &str) -> Option<&'static str> {
    fault(&text.replace(' ', ""))
}

/// The error for values that can't be sent, each as `(source, fault)`.
fn error(faults: &[(String, &str)]) -> Option<AwsError> {
    let (first, _) = faults.first()?;
    let why = faults.iter().map(|(name, fault)| format!("{name} contains {fault}")).collect::<Vec<_>>().join("; ");
    let remedy = format!("set {first} again without it; a value copied from a file often ends with a line break");
    let error = AwsError::own(Code::SettingMalformed, "", "", "an AWS setting can't be sent");
    Some(error.with_reason(format!("{why}, which is invalid in an HTTP header"), remedy))
}

/// Whether the environment contains keys, valid or not.
pub(crate) fn has_environment_keys() -> bool {
    std::env::var_os(KEY_VARIABLES[0]).is_some_and(|value| !value.to_string_lossy().trim().is_empty())
}

/// Checks the environment variables of every request and the keys that the run will sign with: a
/// role or SSO uses them before the credential source returns anything to check. `is_named`: the
/// profile was selected by name.
///
/// # Errors
/// All values that can't be sent, in one error.
pub(crate) fn check_settings(profiles: &Profiles, is_named: bool) -> Result<(), AwsError> {
    let mut faults: Vec<(String, &str)> = Vec::new();
    let uses_profile = is_named || !has_environment_keys();
    if !uses_profile || profiles.uses_environment() {
        let [id, secret, token] = KEY_VARIABLES;
        faults.extend(of_variables(&[id, secret], fault));
        // The SDK trims only the token.
        faults.extend(of_variables(&[token], |text| fault(text.trim())));
    }
    if uses_profile {
        faults.extend(profiles.unsendable());
        faults.extend(of_variables(&SERVICES, fault_of_line));
    }
    let endpoints: Vec<String> = std::env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|it| it.starts_with(ENDPOINT))
        .collect();
    faults.extend(of_variables(&endpoints, fault));
    faults.extend(of_variables(&ALWAYS, fault_of_line));
    error(&faults).map_or(Ok(()), Err)
}

fn of_variables<'n>(
    names: &'n [impl AsRef<str>],
    fault: fn(&str) -> Option<&'static str>,
) -> impl Iterator<Item = (String, &'static str)> + 'n {
    let of = move |name: &str| match std::env::var(name) {
        Ok(value) => fault(&value),
        Err(std::env::VarError::NotUnicode(_)) => Some("invalid Unicode"),
        Err(std::env::VarError::NotPresent) => None,
    };
    names.iter().filter_map(move |name| Some((name.as_ref().to_owned(), of(name.as_ref())?)))
}

/// Checks only the environment, for requests that depend on no other setting.
pub(crate) fn unsendable_environment() -> Option<AwsError> {
    let faults: Vec<_> = of_variables(&ALWAYS, fault_of_line).collect();
    error(&faults)
}

/// Endpoints that would receive requests unencrypted over a network, each as
/// `(the setting that names it, its address without credentials)`.
pub(crate) fn unencrypted(named: Option<&str>, profiles: &Profiles) -> Vec<(String, String)> {
    let is_ignored =
        || variable("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS").is_some_and(|it| it.eq_ignore_ascii_case("true"));
    let mut endpoints: Vec<(String, String)> = Vec::new();
    match named {
        Some(url) => endpoints.push(("--endpoint-url".to_owned(), url.to_owned())),
        None if is_ignored() => {}
        None => {
            let variables = std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
            endpoints.extend(variables.filter(|(name, _)| name.starts_with(ENDPOINT)));
            endpoints.extend(profiles.endpoints().map(|(source, url)| (source, url.to_owned())));
        }
    }
    let open = |(source, url): (String, String)| {
        let rest =
            url.split_at_checked("http://".len()).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("http://"))?.1;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let address = authority.rsplit('@').next().unwrap_or_default();
        (!is_loopback(address)).then(|| (source, format!("http://{address}")))
    };
    endpoints.into_iter().filter_map(open).collect()
}

/// Whether an address, with or without a port, is a loopback address.
fn is_loopback(address: &str) -> bool {
    let host = match address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, _)) => host,
        None => address.split(':').next().unwrap_or_default(),
    };
    let host = host.to_ascii_lowercase();
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Checks a region from any source; a spec's region was already checked more strictly.
///
/// # Errors
/// It contains a character that is invalid in a region name.
pub(crate) fn check_region(region: &str) -> Result<(), AwsError> {
    let fault = fault(region).or_else(|| {
        let is_word = region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        (!is_word).then_some("a character that is invalid in a region name")
    });
    let Some(fault) = fault else { return Ok(()) };
    let is_same = |name: &&str| variable(name).is_some_and(|value| value == region);
    let source = ["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter().find(is_same);
    let source = source.map_or_else(|| "the region of the AWS profile".to_owned(), str::to_owned);
    error(&[(source, fault)]).map_or(Ok(()), Err)
}

/// The error for credentials that can't be sent, if the part is unknown.
pub(crate) fn unsendable(source: &str) -> AwsError {
    let faults = [(format!("a part of the credentials from {source}"), "a character")];
    error(&faults).unwrap_or_else(|| AwsError::own(Code::CredentialsRefused, "", "", "malformed"))
}

/// Checks credentials right after they are fetched; `source` describes where they come from.
///
/// # Errors
/// A part of them can't be sent.
pub(crate) fn check_credentials(credentials: &Credentials, source: &str) -> Result<(), AwsError> {
    let parts = [
        ("the access key ID", Some(credentials.access_key_id())),
        ("the secret access key", Some(credentials.secret_access_key())),
        ("the session token", credentials.session_token()),
    ];
    let faults = parts.into_iter().filter_map(|(part, value)| Some((format!("{part} from {source}"), fault(value?)?)));
    error(&faults.collect::<Vec<_>>()).map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn only_addresses_of_this_machine_are_loopback() {
        for address in ["localhost:4566", "LOCALHOST", "127.0.0.1:1", "127.9.9.9", "[::1]:80", "x.localhost"] {
            assert!(is_loopback(address), "{address}");
        }
        for address in ["localhost.example.com", "10.0.0.1:80", "[::2]", "127.0.0.1.example.com", "example", ""] {
            assert!(!is_loopback(address), "{address}");
        }
    }
}
