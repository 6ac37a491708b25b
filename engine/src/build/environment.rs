//! The environment of a build.
//!
//! **Invariant:** it is an allow list. No variable with a credential of AWS or GitHub is on it,
//! including future ones. Only engine's own pip gets a credential of a package registry or a proxy.

use std::ffi::{OsStr, OsString};

/// Variables that builds get: for finding programs and folders, for the language, the network and
/// its certificates, and for the folders of languages' tools.
const NAMES: [&str; 46] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TERM",
    "TMPDIR",
    "TEMP",
    "TMP",
    "CI",
    "SOURCE_DATE_EPOCH",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NODE_EXTRA_CA_CERTS",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NVM_DIR",
    "VOLTA_HOME",
    "PYENV_ROOT",
    "VIRTUAL_ENV",
    "CARGO_HOME",
    "CARGO_TARGET_DIR",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "GOPATH",
    "GOROOT",
    "GOCACHE",
    "GOMODCACHE",
    "GOPROXY",
    "JAVA_HOME",
    "DOTNET_ROOT",
    // Windows programs don't start without these.
    "SYSTEMROOT",
    "SYSTEMDRIVE",
    "COMSPEC",
    "PATHEXT",
    "USERPROFILE",
    "APPDATA",
    "LOCALAPPDATA",
    "PROGRAMFILES",
];

/// The variables of proxies, also in lower case.
const PROXIES: [&str; 4] = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"];

/// Beginnings of the names of settings of npm, pip and cargo, and of the language.
const PREFIXES: [&str; 6] = ["NPM_CONFIG_", "PIP_", "CARGO_NET_", "CARGO_HTTP_", "CARGO_BUILD_", "LC_"];

/// What the names of settings with credentials contain: `NPM_CONFIG__AUTHTOKEN`, `CARGO_…_TOKEN`.
const CREDENTIALS: [&str; 6] = ["TOKEN", "AUTH", "PASSWORD", "SECRET", "CREDENTIAL", "_KEY"];

/// The part of this process's environment that builds get, and what keeps the AWS SDKs in them from
/// asking the machine for credentials. With `downloads`, URLs may contain credentials.
pub(super) fn environment(downloads: bool) -> Vec<(OsString, OsString)> {
    let passed = std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_passed));
    let passed = passed.filter(|(name, value)| downloads || !has_user(name, value));
    passed.chain([("AWS_EC2_METADATA_DISABLED".into(), "true".into())]).collect()
}

fn is_passed(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let is_listed = NAMES.contains(&&*name) || PROXIES.contains(&&*name);
    is_listed
        || PREFIXES.iter().any(|prefix| name.starts_with(prefix)) && !CREDENTIALS.iter().any(|it| name.contains(it))
}

/// Whether a value contains a URL with user information, which may be a password or token. A proxy
/// may also be a URL without its scheme.
fn has_user(name: &OsStr, value: &OsStr) -> bool {
    let value = value.to_string_lossy();
    let is_proxy = PROXIES.contains(&&*name.to_string_lossy().to_ascii_uppercase());
    let is_end = |c: char| c.is_whitespace() || "/?#,|".contains(c);
    let authority = |text: &str| text.split(is_end).next().is_some_and(|it| it.contains('@'));
    value.split("://").skip(1).any(authority) || is_proxy && authority(&value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_with_credentials_are_recognized() {
        let with = [
            ("PIP_INDEX_URL", "https://user:hunter2@registry.example.com/simple"),
            ("PIP_EXTRA_INDEX_URL", "https://one.example.com https://hunter2@two.example.com"),
            ("GOPROXY", "https://proxy.golang.org,https://user:hunter2@go.example.com,direct"),
            ("https_proxy", "user:hunter2@proxy.example.com:8080"),
            ("npm_config_registry", "https://hunter2@npm.example.com"),
        ];
        let without = [
            ("PIP_INDEX_URL", "https://registry.example.com/@scope/simple"),
            ("GOPROXY", "https://proxy.golang.org,direct"),
            ("HTTPS_PROXY", "http://proxy.example.com:8080"),
            ("npm_config_registry", "https://npm.example.com/?user=a@b"),
            ("HOME", "/home/me@work"),
            ("PATH", "/usr/bin:/opt/a@1/bin"),
        ];
        let has_user = |(name, value): &(&str, &str)| super::has_user(name.as_ref(), value.as_ref());
        assert_eq!(with.iter().find(|it| !has_user(it)), None);
        assert_eq!(without.iter().find(|it| has_user(it)), None);
    }

    #[test]
    fn settings_pass_and_credentials_do_not() {
        let passed = ["PATH", "LC_ALL", "https_proxy", "npm_config_registry", "PIP_FIND_LINKS", "CARGO_NET_OFFLINE"];
        let held = [
            "AWS_ACCESS_KEY_ID",
            "AWS_PROFILE",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
            "GITHUB_TOKEN",
            "GH_TOKEN",
            "NPM_TOKEN",
            "NODE_AUTH_TOKEN",
            "npm_config__authToken",
            "NPM_CONFIG_//registry.npmjs.org/:_authToken",
            "CARGO_REGISTRY_TOKEN",
            "CARGO_HTTP_PROXY_PASSWORD",
            "ENGINE_VAR_SECRET",
            "LD_PRELOAD",
            "NODE_OPTIONS",
        ];
        assert_eq!(passed.iter().find(|name| !is_passed(name)), None);
        assert_eq!(held.iter().find(|name| is_passed(name)), None);
    }
}
