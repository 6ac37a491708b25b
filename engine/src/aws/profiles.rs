//! The profiles of this machine's AWS settings: which there are, and why one of them gives no credentials.
//!
//! **Invariant:** of those files only names are kept and told, never a key or a command; AWS is not asked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Settings;
use super::error::{AwsError, Class, Source};
use super::headers::{self, KEY_SETTINGS};
use crate::cause::Code;
use crate::diagnostic::{nearest, shell_word};

/// So many names are told, and the rest counted.
const TOLD: usize = 12;
/// So many profiles are followed from one to the next.
const HOPS: usize = 10;

/// What the settings say, but for values that nobody has to see.
#[derive(Debug, Default, Clone)]
pub(super) struct Profiles {
    /// What each profile sets; the values of [`NAMES`] alone are kept.
    known: BTreeMap<String, BTreeMap<String, String>>,
    /// The endpoints that each `services` section sets.
    endpoints: BTreeMap<String, Vec<String>>,
    files: [String; 2],
    /// The profile in use.
    name: String,
    /// Who names it; `None`: nobody does, so it is the default.
    named_by: Option<&'static str>,
    /// Keys that can't be sent, by profile and setting: what is wrong with them, and in which of the files.
    unsendable: BTreeMap<(String, String), (&'static str, usize)>,
}

/// Settings whose value is the name or the address of something.
const NAMES: [&str; 7] = [
    "source_profile",
    "web_identity_token_file",
    "credential_source",
    "ca_bundle",
    "endpoint_url",
    "mfa_serial",
    "services",
];

/// A value without the comment behind it, which begins with a blank.
fn without_comment(value: &str) -> &str {
    let is_comment = |(at, _): &(usize, char)| {
        let rest = value.get(*at..).unwrap_or_default();
        rest.starts_with([' ', '\t']) && rest.get(1..).is_some_and(|rest| rest.starts_with(['#', ';']))
    };
    let end = value.char_indices().find(is_comment).map_or(value.len(), |(at, _)| at);
    value.get(..end).unwrap_or_default().trim()
}

/// A variable that says something.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl Profiles {
    /// Reads the files that the AWS settings name. One that can't be read has no profiles.
    pub(super) fn read(settings: &Settings) -> Profiles {
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

    /// Adds what a file says. Profiles have their word before the name in one of the two only.
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

    /// The profile in use, then the one that it takes its credentials from, and so on; the last may not exist.
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

    /// What no header can take of the keys that the profile in use has, or gets from others.
    pub(super) fn unsendable(&self) -> Vec<(String, &'static str)> {
        let chain = self.chain();
        let of_profiles = self.unsendable.iter().filter(|((name, _), _)| chain.contains(&name.as_str()));
        let words = |((name, key), (fault, at)): (&(String, String), &(&'static str, usize))| {
            let file = self.files.get(*at).map_or("", String::as_str);
            (format!("`{key}` of the profile `{name}` in `{file}`"), *fault)
        };
        of_profiles.map(words).collect()
    }

    /// Whether the profile in use signs with the keys of the environment.
    pub(super) fn uses_environment(&self) -> bool {
        let is_environment = |name: &&str| self.setting(name, "credential_source") == Some("Environment");
        self.chain().iter().any(is_environment)
    }

    /// What the profile in use, or the one it gets its credentials from, sets.
    pub(super) fn in_use(&self, key: &str) -> Option<(&str, &str)> {
        self.chain().into_iter().find_map(|name| Some((name, self.setting(name, key)?)))
    }

    /// The endpoints that the profile in use sets, for all services and for each, with where they are set.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = (String, &str)> {
        let own = self.in_use("endpoint_url");
        let own = own.map(|(name, url)| (format!("`endpoint_url` of the profile `{name}`"), url));
        let services = self.in_use("services").and_then(|(_, name)| self.endpoints.get_key_value(name));
        let of_services = services.into_iter().flat_map(|(name, urls)| {
            urls.iter().map(move |url| (format!("`endpoint_url` in the section `services {name}`"), url.as_str()))
        });
        own.into_iter().chain(of_services)
    }

    /// Where the credentials in use come from, in words; `is_named`: somebody asked for the profile by name.
    pub(super) fn source(&self, is_named: bool) -> String {
        let process = self.in_use("credential_process").map(|(name, _)| name);
        match (is_named, process) {
            (false, _) if headers::has_environment_keys() => "the environment".to_owned(),
            (_, Some(name)) => format!("`credential_process` of the profile `{name}`"),
            (true, None) => format!("the profile `{}`", self.name),
            (false, None) => "the source of the AWS credentials".to_owned(),
        }
    }

    fn setting(&self, profile: &str, key: &str) -> Option<&str> {
        self.known.get(profile)?.get(key).map(String::as_str)
    }

    /// The error of a name that no profile has, if somebody uses one.
    pub(super) fn unknown(&self) -> Option<AwsError> {
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
        let why = format!("{named_by} names `{last}`, and neither `{config}` nor `{credentials}` has that profile");
        let near = nearest(last, self.known.keys().map(String::as_str))
            .map_or_else(String::new, |near| format!("did you mean `{near}`? "));
        let remedy = match self.names() {
            names if names.is_empty() => {
                format!("there are no profiles at all; `aws configure --profile {}` makes one", shell_word(last))
            }
            names if near.is_empty() => format!("there are {names}"),
            names => format!("{near}There are {names}"),
        };
        let error = AwsError::own(Class::NoCredentials, "", "", format!("there is no AWS profile `{last}`"));
        Some(error.known(Code::ProfileUnknown, why, remedy))
    }

    /// What there is, to be chosen from.
    fn names(&self) -> String {
        let names: Vec<String> = self.known.keys().map(|name| format!("`{name}`")).collect();
        match names.get(..TOLD) {
            Some(told) if names.len() > TOLD => format!("{} and {} more", told.join(", "), names.len() - TOLD),
            _ => names.join(", "),
        }
    }

    /// What is true where a profile that there is has nothing to offer.
    pub(super) fn empty(&self) -> AwsError {
        let (name, config) = (&self.name, &self.files[0]);
        if name.contains(char::is_whitespace) {
            let why = format!("the AWS SDK reads no profile whose name has a blank, as that of `{name}` has");
            let remedy = format!("give it another name in `{config}`, and `--profile` that name");
            return AwsError::own(Class::NoCredentials, "", "", "no AWS credentials were found").known(
                Code::NoCredentials,
                why,
                remedy,
            );
        }
        let why = format!("the profile `{name}` has no keys, and names no source of any");
        let quoted = shell_word(name);
        let remedy = format!(
            "`aws configure sso --profile {quoted}` or `aws configure --profile {quoted}` gives it some (`{config}` shows \
             what it has now); or choose another with `--profile`: there are {}; `--local` needs none",
            self.names()
        );
        AwsError::own(Class::NoCredentials, "", "", "no AWS credentials were found").known(
            Code::NoCredentials,
            why,
            remedy,
        )
    }

    /// Says of the source of the credentials in use what has failed; `text`: in whose words, which stand last.
    pub(super) fn failed(&self, source: Source, text: String) -> AwsError {
        let chain = self.chain();
        let with = |key: &str| {
            let has = |name: &&str| {
                self.known.get(*name).is_some_and(|settings| settings.keys().any(|it| it.starts_with(key)))
            };
            chain.iter().copied().find(has)
        };
        let config = &self.files[0];
        let named = |name: &str| match name {
            "default" => String::new(),
            name => format!(" --profile {}", shell_word(name)),
        };
        let (code, why, remedy) = match source {
            Source::SignOn => {
                let name = with("sso_").unwrap_or(&self.name);
                (
                    Code::CredentialsExpired,
                    format!(
                        "the profile `{name}` takes its credentials from a single sign-on, and this machine has no valid \
                         session of it: it has run out, or nobody has signed in yet"
                    ),
                    format!("sign in with `aws sso login{}`, then run the same command again", named(name)),
                )
            }
            Source::Process => {
                let name = with("credential_process").unwrap_or(&self.name);
                (
                    Code::CredentialsNotFetched,
                    format!(
                        "the command in `credential_process` of the profile `{name}` has failed or printed no \
                         credentials; what it wrote is not shown, since it may hold keys"
                    ),
                    format!(
                        "run that command by hand (it stands in `{config}`) until it prints credentials, then run this one \
                         again"
                    ),
                )
            }
            Source::Settings if with("login_session").is_some() => (
                Code::CredentialsNotFetched,
                format!("the profile `{}` belongs to `aws login`, whose sessions the engine does not read", self.name),
                format!(
                    "hand them over with `eval \"$(aws configure export-credentials{} --format env)\"`, then run the same \
                     command again without `--profile`",
                    named(&self.name)
                ),
            ),
            Source::Settings => (
                Code::CredentialsNotFetched,
                format!("what the profile `{}` says of its credentials can't be used", self.name),
                format!("mend it in `{config}` as the text below says, or choose another with `--profile`"),
            ),
            Source::Other if with("mfa_serial").is_some() => {
                let name = with("mfa_serial").unwrap_or(&self.name);
                (
                    Code::MfaRequired,
                    format!(
                        "the profile `{name}` has an `mfa_serial`, so its role asks for a one-time code, which engine \
                         doesn't prompt for"
                    ),
                    format!(
                        "let the AWS CLI ask for the code and pass the session on: `eval \"$(aws configure \
                         export-credentials{} --format env)\"`, then run the same command again without `--profile`",
                        named(&self.name)
                    ),
                )
            }
            Source::Other => match self.token_file(&chain) {
                Some((file, by, error)) => (
                    Code::CredentialsNotFetched,
                    format!("the file of the web identity token, `{}`, can't be read: {error}", file.display()),
                    format!(
                        "{by} names it; have whatever writes the token do so (a CI job, a pod's service account), or take \
                         that setting away"
                    ),
                ),
                None => (
                    Code::CredentialsNotFetched,
                    Code::CredentialsNotFetched.entry().why.to_owned(),
                    format!(
                        "`aws sts get-caller-identity{}` shows whether other tools get any; mend the profile in \
                         `{config}`, or choose another with `--profile`",
                        named(&self.name)
                    ),
                ),
            },
        };
        let error = AwsError { code: Some("AWS SDK".into()), ..AwsError::own(Class::BadCredentials, "", "", text) };
        error.known(code, why, remedy)
    }

    /// The file of a web identity token that can't be read, and who names it.
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
    fn names_are_read_as_aws_tools_read_them_and_values_are_not_kept() {
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
        for (name, said) in
            [("o'hara dev", "`aws sso login --profile 'o'\\''hara dev'`"), ("default", "`aws sso login`")]
        {
            let read = profiles(name, &format!("[profile {name}]\nsso_session = s\n[default]\nsso_session = s\n"), "");
            assert!(read.failed(Source::SignOn, String::new()).hint().contains(said));
        }
    }
}
