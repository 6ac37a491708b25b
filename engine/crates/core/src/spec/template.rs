//! `${…}` in strings: variables, which are replaced before checks, and references, which are kept.
//!
//! **Invariant:** it only splits text into parts; callers resolve the names.

/// One part of a string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// Literal text, with `$${` replaced by `${`.
    Text(String),
    /// The name in `${…}`.
    Name(Name),
}

/// A name in `${…}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// `${team}`.
    Team,
    /// `${region}`.
    Region,
    /// `${account}`.
    Account,
    /// `${partition}`.
    Partition,
    /// `${lookup.…}`.
    Lookup(String),
    /// `${var.…}`, `${each.…}` or `${stage}` without a value, which is already reported.
    Missing(String),
    /// `${resource.attribute}`.
    Output {
        /// The part before the dot.
        resource: String,
        /// The part after the dot.
        attribute: String,
    },
}

/// Splits a string into text and names.
///
/// # Errors
/// All errors in it, each with a hint.
pub fn tokens(text: &str) -> Result<Vec<Token>, Vec<(String, String)>> {
    let mut tokens = Vec::new();
    let mut errors = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        plain.push_str(&rest[..dollar]);
        rest = &rest[dollar..];
        if let Some(after) = rest.strip_prefix("$${") {
            plain.push_str("${");
            rest = after;
        } else if let Some(after) = rest.strip_prefix("${") {
            let Some(end) = after.find('}') else {
                errors.push((
                    "`${` has no closing `}`".to_owned(),
                    "close it, as in `${todos.arn}`; write `$${` for a literal `${`".to_owned(),
                ));
                return Err(errors);
            };
            if !plain.is_empty() {
                tokens.push(Token::Text(std::mem::take(&mut plain)));
            }
            match name(&after[..end]) {
                Ok(name) => tokens.push(Token::Name(name)),
                Err(error) => errors.push(error),
            }
            rest = &after[end + 1..];
        } else {
            plain.push('$');
            rest = &rest[1..];
        }
    }
    plain.push_str(rest);
    if !plain.is_empty() || tokens.is_empty() {
        tokens.push(Token::Text(plain));
    }
    if errors.is_empty() { Ok(tokens) } else { Err(errors) }
}

fn name(inside: &str) -> Result<Name, (String, String)> {
    let word = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    };
    let is_key = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    };
    match (inside, inside.split_once('.')) {
        ("team", _) => Ok(Name::Team),
        ("region", _) => Ok(Name::Region),
        ("account", _) => Ok(Name::Account),
        ("partition", _) => Ok(Name::Partition),
        ("stage", _) => Ok(Name::Missing(inside.to_owned())),
        (_, Some(("var" | "each", path))) if path.split('.').all(is_key) => Ok(Name::Missing(inside.to_owned())),
        (_, Some(("lookup", lookup))) if word(lookup) => Ok(Name::Lookup(lookup.to_owned())),
        (_, Some((resource, attribute))) if word(resource) && word(attribute) => {
            Ok(Name::Output { resource: resource.to_owned(), attribute: attribute.to_owned() })
        }
        _ => Err((
            format!("`${{{inside}}}` is not a valid reference"),
            "write `${resource.attribute}`, `${var.name}`, `${lookup.name}`, `${team}`, `${region}` or `${account}`; write `$${` \
             for a literal `${`"
                .to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn escaping_gives_any_text_back(text in ".*") {
            let escaped = text.replace("${", "$${");
            let plain: String = tokens(&escaped).expect("no reference in it").into_iter().map(|token| match token {
                Token::Text(text) => text,
                Token::Name(name) => panic!("{name:?}"),
            }).collect();
            prop_assert_eq!(plain, text);
        }

        #[test]
        fn any_text_is_split_without_panic(text in ".*") {
            let _ = tokens(&text);
        }
    }
}
