//! The profiles in this machine's AWS settings: which exist, and why one supplies no credentials.
//!
//! **Invariant:** only names are kept and shown, never a key or a command, and AWS is never called.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Settings;
use super::headers::{self, KEY_SETTINGS};
use crate::answer::{AwsError, CredentialSource};
use crate::cause::Code;
use crate::diagnostic::{nearest, shell_word};

/// The maximum number of names in a message.
const MAX_NAMED: usize = 12;
/// The maximum length of a chain of source profiles.
const HOPS: usize = 10;

/// The AWS settings, without values that may be secret.
#[derive(Debug, Default, Clone)]
pub(crate) struct Profiles {
    /// The settings of each profile; only the values of [`NAMES`] are kept.
    known: BTreeMap<String, BTreeMap<String, String>>,
    /// The endpoints that each `services` section sets.
    endpoints: BTreeMap<String, Vec<String>>,
    files: [String; 2],
    /// The profile in use.
    name: String,
    /// The flag or variable that selects it; `None` for the default profile.
    named_by: Option<&'static str>,
    /// Keys that can't be sent, by profile and setting: the fault, and the index of the file.
    unsendable: BTreeMap<(String, String), (&'static str, usize)>,
}

/// Settings whose value is a name or an address.
const NAMES: [&str; 7] = [
    "source_profile",
    "web_identity_token_file",
    "credential_source",
    "ca_bundle",
    "endpoint_url",
    "mfa_serial",
    "services",
];

/// A value without the comment after it, which starts with a space or a tab.
fn without_comment(value: &str) -> &str {
    let is_comment = |(at, _): &(usize, char)| {
        let rest = value.get(*at..).unwrap_or_default();
        rest.starts_with([' ', '\t']) && rest.get(1..).is_some_and(|rest| rest.starts_with(['#', ';']))
    };
    let end = value.char_indices().find(is_comment).map_or(value.len(), |(at, _)| at);
    value.get(..end).unwrap_or_default().trim()
}

/// An environment variable that is not empty.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Why credentials can't be used, and what to do.
type CredentialProblem = (Code, String, String);

/// The option with which AWS's tools use a profile; nothing for the default one.
fn profile_flag(name: &str) -> String {
    match name {
        "default" => String::new(),
        name => format!(" --profile {}", shell_word(name)),
    }
}

impl Profiles {
    /// Reads the AWS settings files. A file that can't be read has no profiles.
    pub(crate) fn read(settings: &Settings) -> Profiles {
        let (name, named_by) = match (&settings.profile, variable("AWS_PROFILE")) {
            (Some(name), _) => (name.clone(), Some("`--profile`")),
            (None, Some(name)) => (name, Some("AWS_PROFILE")),
            (None, None) => ("default".to_owned(), None),
        };
        let mut profiles = Profiles { name, named_by, ..Profiles::default() };
        let files = [("AWS_CONFIG_FILE", ".aws/config"), ("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials")];
        for (at, (other, usual)) in files.into_iter().enumerate() {
            let other = variable(other);
            let path = other.clone().map(PathBuf::from).or_else(|| Some(std::env::home_dir()?.join(usual)));
            let text = path.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
            profiles.add(&text, at == 0);
            if let Some(file) = profiles.files.get_mut(at) {
                *file = other.unwrap_or_else(|| format!("~/{usual}"));
            }
        }
        profiles
    }

    /// Adds the profiles in a file. Only the config file has the word `profile` before the name.
    fn add(&mut self, text: &str, is_config: bool) {
        let (mut current, mut services) = (None, None);
        for line in text.lines() {
            let is_nested = line.starts_with([' ', '\t']);
            let line = line.trim();
            if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
                let header = header.trim();
                let worded = header.strip_prefix("profile").filter(|rest| rest.starts_with([' ', '\t']));
                let name = match worded {
                    Some(name) if is_config => Some(name),
                    None if !is_config || header == "default" => Some(header),
                    _ => None,
                };
                services = header.strip_prefix("services").map(|name| name.trim().to_owned()).filter(|_| is_config);
                current = name.map(|name| name.trim().trim_matches(['"', '\'']).to_owned());
                if let Some(name) = &current {
                    self.known.entry(name.clone()).or_default();
                }
            } else if let (Some((key, value)), Some(name)) = (line.split_once('='), &services) {
                if key.trim() == "endpoint_url" {
                    self.endpoints.entry(name.clone()).or_default().push(without_comment(value).to_owned());
                }
            } else if let (Some((key, value)), Some(name), false) = (line.split_once('='), &current, is_nested) {
                let key = key.trim().to_owned();
                let value = without_comment(value);
                if let Some(fault) = headers::fault(value).filter(|_| KEY_SETTINGS.contains(&key.as_str())) {
                    self.unsendable.insert((name.clone(), key.clone()), (fault, usize::from(!is_config)));
                }
                let value = if NAMES.contains(&key.as_str()) { value } else { "" };
                self.known.entry(name.clone()).or_default().insert(key, value.to_owned());
            }
        }
    }

    /// The profile in use, then its source profile, and so on. The last one doesn't necessarily
    /// exist.
    fn chain(&self) -> Vec<&str> {
        let mut chain = vec![self.name.as_str()];
        while let Some(next) = self.setting(chain.last().copied().unwrap_or_default(), "source_profile") {
            if chain.contains(&next) || chain.len() > HOPS {
                break;
            }
            chain.push(next);
        }
        chain
    }

    /// The keys of the profile in use and its source profiles that can't be sent in a header.
    pub(crate) fn unsendable(&self) -> Vec<(String, &'static str)> {
        let chain = self.chain();
        let of_profiles = self.unsendable.iter().filter(|((name, _), _)| chain.contains(&name.as_str()));
        let words = |((name, key), (fault, at)): (&(String, String), &(&'static str, usize))| {
            let file = self.files.get(*at).map_or("", String::as_str);
            (format!("`{key}` of the profile `{name}` in `{file}`"), *fault)
        };
        of_profiles.map(words).collect()
    }

    /// Whether the profile in use signs with keys from the environment.
    pub(crate) fn uses_environment(&self) -> bool {
        let is_environment = |name: &&str| self.setting(name, "credential_source") == Some("Environment");
        self.chain().iter().any(is_environment)
    }

    /// A setting of the profile in use or its source profiles.
    pub(crate) fn in_use(&self, key: &str) -> Option<(&str, &str)> {
        self.chain().into_iter().find_map(|name| Some((name, self.setting(name, key)?)))
    }

    /// The endpoints that the active profile sets, for all services and for each, with where they
    /// are set.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = (String, &str)> {
        let own = self.in_use("endpoint_url");
        let own = own.map(|(name, url)| (format!("`endpoint_url` of the profile `{name}`"), url));
        let services = self.in_use("services").and_then(|(_, name)| self.endpoints.get_key_value(name));
        let of_services = services.into_iter().flat_map(|(name, urls)| {
            urls.iter().map(move |url| (format!("`endpoint_url` in the section `services {name}`"), url.as_str()))
        });
        own.into_iter().chain(of_services)
    }

    /// A description of where the credentials come from; `is_named`: the profile was selected by
    /// name.
    pub(crate) fn source(&self, is_named: bool) -> String {
        let process = self.in_use("credential_process").map(|(name, _)| name);
        match (is_named, process) {
            (false, _) if headers::has_environment_keys() => "the environment".to_owned(),
            (_, Some(name)) => format!("`credential_process` of the profile `{name}`"),
            (true, None) => format!("the profile `{}`", self.name),
            (false, None) => "the AWS credential source".to_owned(),
        }
    }

    fn setting(&self, profile: &str, key: &str) -> Option<&str> {
        self.known.get(profile)?.get(key).map(String::as_str)
    }

    /// The error if the selected profile or one of its source profiles doesn't exist.
    pub(crate) fn unknown(&self) -> Option<AwsError> {
        let named_by = self.named_by?;
        let chain = self.chain();
        let (last, before) = chain.split_last()?;
        if self.known.contains_key(*last) {
            return None;
        }
        let named_by = match before.last() {
            Some(before) => format!("`source_profile` of the profile `{before}`"),
            None => named_by.to_owned(),
        };
        let [config, credentials] = &self.files;
        let why = format!("{named_by} is `{last}`, but neither `{config}` nor `{credentials}` defines that profile");
        let near = nearest(last, self.known.keys().map(String::as_str))
            .map_or_else(String::new, |near| format!("did you mean `{near}`? "));
        let remedy = match self.names() {
            names if names.is_empty() => {
                format!("there are no profiles; create one with `aws configure --profile {}`", shell_word(last))
            }
            names if near.is_empty() => format!("the profiles are {names}"),
            names => format!("{near}The profiles are {names}"),
        };
        let error = AwsError::own(Code::ProfileUnknown, "", "", format!("AWS profile `{last}` not found"));
        Some(error.with_reason(why, remedy))
    }

    /// The names of the profiles.
    fn names(&self) -> String {
        let names: Vec<String> = self.known.keys().map(|name| format!("`{name}`")).collect();
        match names.get(..MAX_NAMED) {
            Some(first) if names.len() > MAX_NAMED => {
                format!("{} and {} more", first.join(", "), names.len() - MAX_NAMED)
            }
            _ => names.join(", "),
        }
    }

    /// The error of a profile that exists but has no credentials.
    pub(crate) fn empty(&self) -> AwsError {
        let (name, config) = (&self.name, &self.files[0]);
        let missing = AwsError::own(Code::NoCredentials, "", "", "no AWS credentials found");
        if name.contains(char::is_whitespace) {
            let why = format!("the AWS SDK ignores profiles whose name contains a space, like `{name}`");
            let remedy = format!("rename the profile in `{config}`, and pass the new name to `--profile`");
            return missing.with_reason(why, remedy);
        }
        let why = format!("the profile `{name}` has neither keys nor another credential source");
        let quoted = shell_word(name);
        let remedy = format!(
            "configure it with `aws configure sso --profile {quoted}` or `aws configure --profile {quoted}` (its current \
             settings are in `{config}`); or use another one with `--profile`: {}; or add `--local` to work without an \
             account",
            self.names()
        );
        missing.with_reason(why, remedy)
    }

    /// The error of a failed credential source; `text`: the message of the SDK, which is shown
    /// last.
    pub(crate) fn failed(&self, source: CredentialSource, text: String) -> AwsError {
        let (cause, why, remedy) = match source {
            CredentialSource::SignOn => self.no_sso_session(),
            CredentialSource::Process => self.failed_process(),
            CredentialSource::Settings => self.unusable_settings(),
            CredentialSource::Other => self.mfa_required().unwrap_or_else(|| self.not_fetched()),
        };
        let error = AwsError { code: Some("AWS SDK".into()), ..AwsError::own(cause, "", "", text) };
        error.with_reason(why, remedy)
    }

    fn no_sso_session(&self) -> CredentialProblem {
        let name = self.with_setting("sso_").unwrap_or(&self.name);
        let why = format!(
            "the profile `{name}` gets its credentials from SSO, but this machine has no valid SSO session: the session \
             expired, or you haven't signed in yet"
        );
        let remedy = format!("sign in with `aws sso login{}`, then run the same command again", profile_flag(name));
        (Code::CredentialsExpired, why, remedy)
    }

    fn failed_process(&self) -> CredentialProblem {
        let name = self.with_setting("credential_process").unwrap_or(&self.name);
        let why = format!(
            "the `credential_process` command of the profile `{name}` failed or printed no credentials; its output is \
             not shown, because it may contain keys"
        );
        let remedy = format!(
            "run that command yourself (it is in `{}`) until it prints credentials, then run the same engine command \
             again",
            self.files[0]
        );
        (Code::CredentialsNotFetched, why, remedy)
    }

    /// Invalid settings, or those of `aws login`.
    fn unusable_settings(&self) -> CredentialProblem {
        let name = &self.name;
        let (why, remedy) = if self.with_setting("login_session").is_some() {
            let remedy = format!(
                "export the session with `eval \"$(aws configure export-credentials{} --format env)\"`, then run the \
                 same command again without `--profile`",
                profile_flag(name)
            );
            (format!("the profile `{name}` uses `aws login`, whose sessions engine doesn't read"), remedy)
        } else {
            let remedy = format!(
                "fix the profile in `{}` according to the message below, or use another one with `--profile`",
                self.files[0]
            );
            (format!("the credential settings of the profile `{name}` are invalid"), remedy)
        };
        (Code::CredentialsNotFetched, why, remedy)
    }

    fn mfa_required(&self) -> Option<CredentialProblem> {
        let name = self.with_setting("mfa_serial")?;
        let why = format!(
            "the profile `{name}` has an `mfa_serial`, so its role requires an MFA code, and engine doesn't prompt for \
             one"
        );
        let remedy = format!(
            "let the AWS CLI prompt for the code and export the session: `eval \"$(aws configure \
             export-credentials{} --format env)\"`, then run the same command again without `--profile`",
            profile_flag(&self.name)
        );
        Some((Code::MfaRequired, why, remedy))
    }

    fn not_fetched(&self) -> CredentialProblem {
        let (why, remedy) = if let Some((file, by, error)) = self.token_file(&self.chain()) {
            let remedy = format!(
                "make sure that the token is written there (by a CI job or a pod's service account), or remove the \
                 setting: {by}"
            );
            (format!("the web identity token file `{}` can't be read: {error}", file.display()), remedy)
        } else {
            let remedy = format!(
                "run `aws sts get-caller-identity{}` to see whether other tools get credentials; fix the profile in \
                 `{}`, or use another one with `--profile`",
                profile_flag(&self.name),
                self.files[0]
            );
            (Code::CredentialsNotFetched.entry().why.to_owned(), remedy)
        };
        (Code::CredentialsNotFetched, why, remedy)
    }

    /// The first of the profile in use and its source profiles with a setting that starts with
    /// `key`.
    fn with_setting(&self, key: &str) -> Option<&str> {
        let has =
            |name: &&str| self.known.get(*name).is_some_and(|settings| settings.keys().any(|it| it.starts_with(key)));
        self.chain().into_iter().find(has)
    }

    /// The web identity token file if it can't be read, and the setting that names it.
    fn token_file(&self, chain: &[&str]) -> Option<(PathBuf, String, std::io::Error)> {
        let of_profile = chain.iter().find_map(|name| {
            let file = self.setting(name, "web_identity_token_file")?;
            Some((file.to_owned(), format!("`web_identity_token_file` of the profile `{name}`")))
        });
        let of_variable =
            || variable("AWS_WEB_IDENTITY_TOKEN_FILE").map(|file| (file, "AWS_WEB_IDENTITY_TOKEN_FILE".to_owned()));
        let (file, by) = of_profile.or_else(of_variable)?;
        let error = std::fs::File::open(Path::new(&file)).err()?;
        Some((PathBuf::from(file), by, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profiles(name: &str, config: &str, credentials: &str) -> Profiles {
        let mut profiles = Profiles { name: name.to_owned(), named_by: Some("`--profile`"), ..Profiles::default() };
        profiles.add(config, true);
        profiles.add(credentials, false);
        profiles
    }

    #[test]
    fn profile_names_are_parsed_like_aws_tools_do_and_values_are_not_kept() {
        let config = "[default]\nregion = x\n[profile a b]\nsso_session=s\n[ profile \"q\" ]\ns3 =\n  nested = 1\n\
                      [sso-session s]\n[services t]\n[lonely]\n# [profile commented]\n[profile c] ; note\nsource_profile = a b\n";
        let read = profiles("c", config, "[keys]\naws_secret_access_key = hidden\n[profile no]\n");
        assert_eq!(read.known.keys().collect::<Vec<_>>(), ["a b", "c", "default", "keys", "q"]);
        assert!(!format!("{read:?}").contains("hidden"));
        assert_eq!(read.chain(), ["c", "a b"]);
        let circle = profiles("a", "[profile a]\nsource_profile=b\n[profile b]\nsource_profile=a\n", "");
        assert_eq!(circle.chain(), ["a", "b"]);
    }

    #[test]
    fn the_next_command_can_be_pasted() {
        for (name, expected) in
            [("o'hara dev", "`aws sso login --profile 'o'\\''hara dev'`"), ("default", "`aws sso login`")]
        {
            let read = profiles(name, &format!("[profile {name}]\nsso_session = s\n[default]\nsso_session = s\n"), "");
            assert!(read.failed(CredentialSource::SignOn, String::new()).hint().contains(expected));
        }
    }
}
