//! Maps a refusal by AWS to its code in the catalogue.

use super::ROWS;
use crate::cause::Code;

/// The property that a refusal names, as it is spelled in specs: Lambda writes "Value 'x' at
/// 'memorySize' failed to satisfy constraint" or "'MemorySize' value failed to satisfy constraint".
pub(super) fn property(message: &str) -> Option<String> {
    let (before, _) = message.split_once(" failed to satisfy constraint")?;
    let quoted = before.strip_suffix(" value").unwrap_or(before).strip_suffix('\'')?;
    let name = quoted.rsplit(['\'', '.']).next()?;
    let is_word = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let snake = name.char_indices().fold(String::new(), |mut snake, (at, c)| {
        if c.is_ascii_uppercase() && at > 0 {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
        snake
    });
    is_word.then_some(snake)
}

/// The words of a message that may be members of a request: quoted words after `at`, words next to
/// `parameter`, and words with an inner capital, like `MemorySize`. Plain words alone mean nothing.
pub(super) fn members(message: &str) -> Vec<&str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '.';
    let words: Vec<(&str, bool)> = message
        .split_inclusive(|c: char| !is_part(c))
        .scan("", |before, piece| {
            let quoted = before.ends_with('\'') && piece.ends_with('\'');
            *before = piece;
            Some((piece.trim_matches(|c: char| !c.is_ascii_alphanumeric()), quoted))
        })
        .filter(|(word, _)| !word.is_empty())
        .collect();
    let has_hump = |word: &str| {
        let inner = word.trim_start_matches(|c: char| c.is_ascii_uppercase());
        inner.contains(|c: char| c.is_ascii_uppercase()) && inner.contains(|c: char| c.is_ascii_lowercase())
    };
    let at = |index: Option<usize>| index.and_then(|index| words.get(index)).map_or("", |(word, _)| word);
    let is_member = |(index, (word, quoted)): &(usize, &(&str, bool))| {
        let (before, after) = (at(index.checked_sub(1)), at(index.checked_add(1)));
        let is_named =
            (*quoted && matches!(before, "at" | "parameter")) || before == "parameter" || after == "parameter";
        is_named || (has_hump(word) && !word.contains("..")) || (word.contains('.') && *quoted)
    };
    words.iter().enumerate().filter(is_member).map(|(_, (word, _))| *word).collect()
}

/// AWS's error code and message.
pub(super) struct CodedMessage<'a> {
    pub(super) code: &'a str,
    pub(super) text: &'a str,
}

impl CodedMessage<'_> {
    fn contains(&self, text: &str) -> bool {
        self.text.contains(text)
    }

    pub(super) fn denied(&self) -> Code {
        // Lambda's response to a role from another account.
        if self.contains("Cross-account pass role") {
            Code::RoleOfOtherAccount
        } else if self.contains("explicit deny") {
            Code::ExplicitDeny
        } else {
            Code::AccessDenied
        }
    }

    pub(super) fn credentials(&self) -> Code {
        match self.code {
            "RequestExpired" => Code::ClockWrong,
            _ if self.contains("Signature expired") || self.contains("Signature not yet current") => Code::ClockWrong,
            "ExpiredToken" | "ExpiredTokenException" => Code::CredentialsExpired,
            _ => Code::CredentialsRefused,
        }
    }

    /// The code of a permanent refusal. Messages come before codes, because AWS uses one code for
    /// many causes.
    pub(super) fn refusal(&self) -> Code {
        if self.contains("not reachable in this region") || self.contains("not in the same region") {
            return Code::OtherRegion;
        }
        if self.code.starts_with("KMS") || self.contains("KMS ") {
            return Code::KmsKeyNotUsable;
        }
        let mut rows = ROWS.iter().filter(|row| row.fits("", self.code, self.text));
        rows.find_map(|row| row.refuses).unwrap_or_else(|| self.refusal_by_code())
    }

    fn refusal_by_code(&self) -> Code {
        match self.code {
            // A response without an error code isn't from an AWS service.
            code if code.starts_with("HTTP 413") => Code::CodeTooLarge,
            code if code.starts_with("HTTP ") => Code::NotAws,
            "OptInRequired" | "SubscriptionRequiredException" | "RegionDisabledException" => Code::ServiceNotEnabled,
            "LimitExceeded" | "ServiceQuotaExceededException" => Code::QuotaReached,
            "ValidationException"
            | "ValidationError"
            | "InvalidParameterValueException"
            | "InvalidParameterValue"
            | "InvalidRequestContentException"
            | "InvalidParameterException" => Code::InvalidValue,
            "" => Code::UnexpectedAnswer,
            _ => Code::Rejected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::property;

    #[test]
    fn the_rejected_property_is_parsed_from_the_message() {
        for (message, name) in [
            (
                "1 validation error detected: Value '5000' at 'memorySize' failed to satisfy constraint: Member must have",
                Some("memory_size"),
            ),
            ("'MemorySize' value failed to satisfy constraint: Member must have value less than", Some("memory_size")),
            ("Value 'a b' at 'deadLetterConfig.targetArn' failed to satisfy constraint: X", Some("target_arn")),
            ("Value at '' failed to satisfy constraint: X", None),
            ("Value at 'a b' failed to satisfy constraint: X", None),
            (" failed to satisfy constraint", None),
            ("Stream not found: x", None),
        ] {
            assert_eq!(property(message).as_deref(), name, "{message}");
        }
    }
}
