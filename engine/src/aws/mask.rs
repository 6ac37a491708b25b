//! What must not be said: AWS's texts may quote what they object to, so every one of them is held against the secrets
//! that the run has met.
//!
//! **Invariant:** it keeps texts to look for, and shows none of them.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::sync::{Mutex, PoisonError};

/// The secrets of a run, in every form in which AWS or a log may quote one.
#[derive(Default)]
pub struct Secrets(Mutex<BTreeSet<Form>>);

/// Sorted by length, the longest first, so that no part of one is left over where another begins like it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Form(std::cmp::Reverse<usize>, String);

impl Secrets {
    /// Takes note of a secret.
    pub fn learn(&self, secret: &str) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.extend(forms(secret).into_iter().map(|form| Form(std::cmp::Reverse(form.len()), form)));
    }

    /// The text without any of them.
    pub fn mask(&self, text: &str) -> String {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = text.to_owned();
        for Form(_, form) in &*known {
            if text.contains(form.as_str()) {
                text = text.replace(form, if form.starts_with('"') { "\"***\"" } else { "***" });
            }
        }
        text
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

fn forms(secret: &str) -> BTreeSet<String> {
    let quoted = serde_json::Value::from(secret).to_string();
    if secret.is_empty() {
        return BTreeSet::new();
    }
    // One or two characters stand in every sentence by chance; they count only where they are quoted.
    if secret.chars().count() <= 2 {
        return BTreeSet::from([quoted]);
    }
    let inner = |text: &str| text.get(1..text.len() - 1).unwrap_or_default().to_owned();
    let json = inner(&quoted);
    let mut ascii = String::new();
    for c in json.chars() {
        match c {
            c if c.is_ascii() => ascii.push(c),
            c => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
                // Writing to a string never fails.
                let _ = write!(ascii, "\\u{unit:04x}");
            }),
        }
    }
    let twice = inner(&serde_json::Value::from(json.as_str()).to_string());
    let mut forms = BTreeSet::from([
        secret.to_owned(),
        ascii,
        twice,
        inner(&format!("{secret:?}")),
        secret.escape_default().to_string(),
        secret.replace('\'', "''"),
        json,
    ]);
    // Each line of a key is one, too.
    forms.extend(secret.lines().map(str::trim).filter(|line| line.chars().count() > 4).map(str::to_owned));
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_masked_in_every_form_and_nothing_else_is() {
        let secrets = Secrets::default();
        for secret in ["hunter2", "hunter2-and-more", "a\"b\\c\nsecond-line", "pä☃𝄞ss", "on", ""] {
            secrets.learn(secret);
        }
        for (text, masked) in [
            ("Value 'hunter2-and-more' is bad", "Value '***' is bad"),
            (r#"{"A":"hunter2","B":"on"}"#, r#"{"A":"***","B":"***"}"#),
            (r#"{"A":"a\"b\\c\nsecond-line"}"#, r#"{"A":"***"}"#),
            (r#"text: "{\"A\":\"a\\\"b\\\\c\\nsecond-line\"}""#, r#"text: "{\"A\":\"***\"}""#),
            (r"p\u00e4\u2603\ud834\udd1ess and pä☃𝄞ss", "*** and ***"),
            ("only its second-line", "only its ***"),
            ("nothing on it", "nothing on it"),
        ] {
            assert_eq!(secrets.mask(text), masked);
        }
    }
}
