//! Which characters of external texts are safe to show.
//!
//! **Invariant:** a replaced character is still one character, so columns stay the same.

/// Whether a character could control a terminal, reorder text or be invisible: control characters
/// except line feed and tab, bidirectional and invisible formatting. Joiners, which scripts and
/// emoji need, are allowed.
pub fn is_steering(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        '\u{ad}'
        | '\u{34f}'
        | '\u{61c}'
        | '\u{115f}'..='\u{1160}'
        | '\u{180e}'
        | '\u{200b}'
        | '\u{200e}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{3164}'
        | '\u{feff}'
        | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}'
        | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}' => true,
        c => c.is_control(),
    }
}

/// Replaces each unsafe character by one character, so that columns stay the same.
pub fn printable(text: &str) -> String {
    text.chars().map(printable_char).collect()
}

/// The character, or its replacement.
pub fn printable_char(c: char) -> char {
    if is_steering(c) { char::REPLACEMENT_CHARACTER } else { c }
}
