//! The secret that requests to a server need.
//!
//! **Invariant:** a key is written to the project's record and printed by `engine local env`, and
//! nowhere else.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

/// The prefix by which a person, or a scanner for leaked secrets, recognizes a key.
const PREFIX: &str = "LOCAL";

/// Hexadecimal digits of randomness: 160 bits.
const DIGITS: usize = 40;

/// AWS account ids have twelve digits.
const ACCOUNT_DIGITS: usize = 12;

/// The suffix of the access key ids of functions.
const FUNCTION_MARK: &str = "F";

/// The random part of each access key id that a server accepts. AWS clients send the access key id
/// with each request, and the account follows the random part, so one key works for all accounts.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServerKey(String);

/// The sender of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caller {
    pub(super) account: String,
    /// Whether it is a function that the server runs.
    pub(super) is_function: bool,
}

impl ServerKey {
    /// A new key from the system's random source.
    pub(super) fn random() -> io::Result<Self> {
        let mut bytes = [0; DIGITS / 2];
        File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(Self(bytes.iter().fold(PREFIX.to_owned(), |text, byte| text + &format!("{byte:02X}"))))
    }

    /// The prefix of the access key ids of all accounts.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The access key id for `account`.
    #[must_use]
    pub fn access_key_id(&self, account: &str) -> String {
        format!("{}{account}", self.0)
    }

    /// The sender of an access key id; `None` unless it begins with this key. Takes the same time
    /// wherever the key differs.
    pub(super) fn caller(&self, access_key_id: &str) -> Option<Caller> {
        let (key, account) = access_key_id.split_at_checked(self.0.len())?;
        if !bool::from(key.as_bytes().ct_eq(self.0.as_bytes())) {
            return None;
        }
        let (account, is_function) = match account.strip_suffix(FUNCTION_MARK) {
            Some(account) => (account, true),
            None => (account, false),
        };
        let is_account = account.len() == ACCOUNT_DIGITS && account.bytes().all(|byte| byte.is_ascii_digit());
        is_account.then(|| Caller { account: account.to_owned(), is_function })
    }
}

impl fmt::Debug for ServerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerKey(***)")
    }
}

impl TryFrom<String> for ServerKey {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let digits = text.strip_prefix(PREFIX).unwrap_or_default();
        let is_key = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_key { Ok(Self(text)) } else { Err("not a key") }
    }
}

impl From<ServerKey> for String {
    fn from(key: ServerKey) -> Self {
        key.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn only_this_key_and_an_account_name_a_caller() {
        let (key, other) = (ServerKey::random().unwrap(), ServerKey::random().unwrap());
        let caller = |is_function| Some(Caller { account: "123456789012".into(), is_function });
        assert_eq!(key.caller(&key.access_key_id("123456789012")), caller(false));
        assert_eq!(key.caller(&key.access_key_id("123456789012F")), caller(true));
        for wrong in [
            String::new(),
            "123456789012".into(),
            key.expose().into(),
            key.access_key_id("12345678901"),
            key.access_key_id("1234567890123"),
            key.access_key_id("12345678901x"),
            key.access_key_id("١٢٣٤٥٦"),
            key.access_key_id("123456789012").to_lowercase(),
            other.access_key_id("123456789012"),
            format!(" {}", key.access_key_id("123456789012")),
            "é".repeat(30),
        ] {
            assert_eq!(key.caller(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_key_does_not_show_in_debug_output() {
        let key = ServerKey::random().unwrap();
        assert!(!format!("{key:?}").contains(key.expose()));
    }
}
