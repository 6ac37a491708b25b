//! Masks secrets: AWS's messages may quote rejected values, so all secrets of the run are replaced
//! in them.
//!
//! A secret of one or two characters is masked only where it is quoted, because it occurs in every
//! sentence by chance; one of three to five characters as it is and quoted; a longer one also
//! encoded and truncated.
//!
//! **Invariant:** it never shows a secret.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Shorter secrets are not masked in encoded or truncated form, because those occur in other texts
/// by chance.
const ENCODED: usize = 6;
/// Characters that are usually not encoded in URLs (RFC 3986, "unreserved").
const URL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// Marks of a truncated text.
const ELLIPSES: [&str; 2] = ["...", "…"];

/// The secrets of a run, in every form in which AWS or a log may quote them.
#[derive(Default)]
pub struct Secrets(Mutex<KnownSecrets>);

#[derive(Default)]
struct KnownSecrets {
    forms: BTreeSet<SecretForm>,
    /// The forms that may be truncated.
    plain: BTreeSet<String>,
}

/// Sorted by length, the longest first, so that no part of a secret remains if another is its
/// prefix.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct SecretForm(std::cmp::Reverse<usize>, String);

impl Secrets {
    /// Adds a secret.
    pub fn register(&self, secret: &str) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.forms.extend(forms(secret).into_iter().map(|form| SecretForm(std::cmp::Reverse(form.len()), form)));
        if secret.chars().count() > ENCODED {
            known.plain.extend([secret.to_owned(), inner(&json(secret))]);
        }
    }

    /// The text with all secrets masked.
    pub fn mask(&self, text: &str) -> String {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = text.to_owned();
        for SecretForm(_, form) in &known.forms {
            if text.contains(form.as_str()) {
                text = text.replace(form, if form.starts_with('"') { "\"***\"" } else { "***" });
            }
        }
        known.plain.iter().fold(text, |text, secret| without_pieces(text, secret))
    }
}

/// Masks truncated secrets: at the end of the text or a line, and before an ellipsis.
fn without_pieces(text: String, secret: &str) -> String {
    let Some(start) = secret.char_indices().nth(ENCODED).and_then(|(at, _)| secret.get(..at)) else { return text };
    let mut masked = String::new();
    let mut rest = text.as_str();
    while let Some((before, from)) = rest.find(start).and_then(|at| rest.split_at_checked(at)) {
        let same =
            from.chars().zip(secret.chars()).take_while(|(a, b)| a == b).map(|(c, _)| c.len_utf8()).sum::<usize>();
        let (piece, after) = from.split_at_checked(same).unwrap_or((from, ""));
        let is_cut = after.is_empty() || after.starts_with('\n') || ELLIPSES.iter().any(|it| after.starts_with(it));
        masked.push_str(before);
        masked.push_str(if is_cut { "***" } else { piece });
        rest = after;
    }
    masked.push_str(rest);
    masked
}

fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Removes the quotes of a quoted text.
fn inner(quoted: &str) -> String {
    quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_owned()
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

fn forms(secret: &str) -> BTreeSet<String> {
    let quoted = json(secret);
    if secret.is_empty() {
        return BTreeSet::new();
    }
    // One or two characters occur in every sentence by chance, so they count only where they are
    // quoted.
    if secret.chars().count() <= 2 {
        return BTreeSet::from([quoted]);
    }
    let once = inner(&quoted);
    let mut ascii = String::new();
    for c in once.chars() {
        match c {
            c if c.is_ascii() => ascii.push(c),
            c => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
                // Writing to a string never fails.
                let _ = write!(ascii, "\\u{unit:04x}");
            }),
        }
    }
    let twice = |text: &str| inner(&json(text));
    let mut forms = BTreeSet::from([
        secret.to_owned(),
        twice(&once),
        twice(&twice(&once)),
        twice(&ascii),
        inner(&format!("{secret:?}")),
        secret.escape_default().to_string(),
        secret.replace('\'', "''"),
        ascii,
        once,
    ]);
    if secret.chars().count() >= ENCODED {
        forms.extend(encoded(secret));
    }
    // Each line of a multi-line secret is a secret too.
    forms.extend(secret.lines().map(str::trim).filter(|line| line.chars().count() > 4).map(str::to_owned));
    forms
}

/// A secret as it is encoded in URLs, forms, HTML and headers.
fn encoded(secret: &str) -> Vec<String> {
    let lower = |text: &str| {
        let mut pieces = text.split('%');
        let first = pieces.next().unwrap_or_default().to_owned();
        pieces.fold(first, |text, piece| match piece.split_at_checked(2) {
            Some((hex, rest)) => format!("{text}%{}{rest}", hex.to_ascii_lowercase()),
            None => format!("{text}%{piece}"),
        })
    };
    let urls = [URL, NON_ALPHANUMERIC].map(|set| utf8_percent_encode(secret, set).to_string());
    let form = urls[0].replace("%20", "+");
    let page = secret.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let quoted = page.replace('"', "&quot;");
    let pages = ["&#39;", "&#x27;", "&apos;"].map(|quote| quoted.replace('\'', quote));
    let mut forms: Vec<String> = urls.iter().chain([&form]).map(|it| lower(it)).collect();
    forms.extend(urls);
    forms.extend(pages);
    forms.extend([form, page, quoted]);
    // In base64 of a longer text, like `user:password` in a header, a secret starts at one of three
    // offsets of a group; the characters that depend only on the secret are masked.
    for before in 0..3 {
        let bytes = [vec![0; before], secret.as_bytes().to_vec()].concat();
        let whole = bytes.len() * 8 / 6;
        for engine in [STANDARD, URL_SAFE] {
            let text = engine.encode(&bytes);
            let core = text.get([0, 2, 3][before]..whole).unwrap_or_default();
            forms.extend((core.len() >= 2 * ENCODED - 4).then(|| core.to_owned()));
        }
    }
    forms.extend([STANDARD.encode(secret), URL_SAFE.encode(secret)].map(|it| it.trim_end_matches('=').to_owned()));
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_masked_in_every_form_and_nothing_else_is() {
        let secrets = Secrets::default();
        for secret in ["hunter2", "hunter2-and-more", "a\"b\\c\nsecond-line", "pä☃𝄞ss", "on", ""] {
            secrets.register(secret);
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

    #[test]
    fn a_secret_is_masked_encoded_and_truncated() {
        let secrets = Secrets::default();
        for secret in ["pa ss/w&rd'1\"<x>", "correct-horse-battery", "abcd"] {
            secrets.register(secret);
        }
        for (text, masked) in [
            ("https://x/?t=pa%20ss%2Fw%26rd%271%22%3Cx%3E&b", "https://x/?t=***&b"),
            ("https://x/?t=pa%20ss%2fw%26rd%271%22%3cx%3e", "https://x/?t=***"),
            ("t=pa+ss%2Fw%26rd%271%22%3Cx%3E", "t=***"),
            ("<b>pa ss/w&amp;rd&#39;1&quot;&lt;x&gt;</b>", "<b>***</b>"),
            ("<b>pa ss/w&amp;rd'1\"&lt;x&gt;</b>", "<b>***</b>"),
            (
                r#"{"a":"{\"b\":\"{\\\"c\\\":\\\"pa ss/w&rd'1\\\\\\\"<x>\\\"}\"}"}"#,
                r#"{"a":"{\"b\":\"{\\\"c\\\":\\\"***\\\"}\"}"}"#,
            ),
            ("Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5", "***"),
            // `user:correct-horse-battery`, `me:…` and `bob:…`.
            ("Basic dXNlcjpjb3JyZWN0LWhvcnNlLWJhdHRlcnk=", "Basic dXNlcjp***k="),
            ("Basic bWU6Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5", "Basic bWU6***"),
            ("Basic Ym9iOmNvcnJlY3QtaG9yc2UtYmF0dGVyeQ==", "Basic Ym9iOm***Q=="),
            ("Value 'correct-horse-ba...' is bad", "Value '***...' is bad"),
            ("Value correct-hors…", "Value ***…"),
            ("the rest is correct-ho\nnext", "the rest is ***\nnext"),
            ("correct-horse", "***"),
            // Too short to distinguish from other texts, or not truncated.
            ("correct", "***"),
            ("corre", "corre"),
            ("correct-horse-power is fine", "correct-horse-power is fine"),
            ("YWJjZA is no abcd", "YWJjZA is no ***"),
        ] {
            assert_eq!(secrets.mask(text), masked, "{text}");
        }
    }
}
