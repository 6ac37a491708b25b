//! What leaves the program for a terminal, a browser or a CI runner: text in which nothing steers whoever reads it.
//!
//! Names, tags, log lines and AWS's texts come from outside, and any of them may hold escape sequences, characters that
//! reorder what is read, or lines that a CI runner takes for commands. All that is printed passes [`Screen`], so no
//! place that builds a text has to think of it.
//!
//! **Invariant:** what passes holds no control character but line feed, tab and the program's own styles. Whatever else
//! steers is written as a JSON escape (`\u001b`), which is visible to people, and in a JSON document means the same.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::io::{self, IsTerminal as _, Write};

use anstream::{AutoStream, ColorChoice};

/// Who reads a text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reader {
    /// Whether the program's own styles pass.
    pub color: bool,
    /// Whether a CI runner may take lines for commands.
    pub runner: bool,
    /// Whether a program reads it, which gets all but commands to a runner as it is.
    pub raw: bool,
}

/// What the program, its diagnostics and its log lines are styled with: bold, dim, italic, underlined, and the colors of
/// the foreground but black and white. Nothing among them hides text.
const STYLES: [&str; 17] =
    ["0", "1", "2", "3", "4", "31", "32", "33", "34", "35", "36", "91", "92", "93", "94", "95", "96"];
const RESET: &str = "\u{1b}[0m";

/// The text as that reader gets it.
pub fn clean(text: &str, reader: Reader) -> Cow<'_, str> {
    let is_refused = |c: char| is_steering(c) && !reader.raw;
    if !text.contains(|c: char| is_refused(c) || reader.runner && matches!(c, ':' | '#')) {
        return Cow::Borrowed(text);
    }
    let (mut clean, mut rest) = (String::with_capacity(text.len()), text);
    // Whether the line has nothing but white space so far, and whether a style has not been ended yet.
    let (mut is_start, mut is_styled) = (true, false);
    while let Some(c) = rest.chars().next() {
        let mut taken = c.len_utf8();
        match c {
            '\r' if !reader.raw && rest.starts_with("\r\n") => {}
            '\u{1b}' if reader.color && style(rest).is_some() => {
                let style = style(rest).unwrap_or_default();
                taken = style.len();
                is_styled = style != RESET;
                clean.push_str(style);
            }
            ':' if reader.runner && is_start && rest.starts_with("::") => {
                taken = 2;
                is_start = false;
                clean.push_str(":\\u003a");
            }
            '#' if reader.runner && is_command(rest) => {
                taken = 2;
                is_start = false;
                clean.push_str("#\\u0023");
            }
            c if is_refused(c) => {
                is_start = false;
                escape(&mut clean, c);
            }
            c => {
                // For a runner, a line also ends at a carriage return.
                is_start = matches!(c, '\n' | '\r') || is_start && c.is_whitespace();
                clean.push(c);
            }
        }
        rest = rest.get(taken..).unwrap_or_default();
    }
    if is_styled {
        clean.push_str(RESET);
    }
    Cow::Owned(clean)
}

/// The style that a text begins with, if it is one of [`STYLES`].
fn style(text: &str) -> Option<&str> {
    let parameters = text.strip_prefix("\u{1b}[")?;
    let parameters = &parameters[..parameters.find('m')?];
    STYLES.contains(&parameters).then(|| &text[..parameters.len() + 3])
}

/// Whether a text begins as a command of GitHub's older form (`##[group]`), of Azure's (`##vso[task.setvariable …]`) or
/// TeamCity's (`##teamcity[…]`). Other than `::`, the first two count anywhere in a line
/// (github.com/actions/runner/blob/main/src/Runner.Common/ActionCommand.cs, `TryParse`).
fn is_command(text: &str) -> bool {
    let Some(word) = text.strip_prefix("##") else { return false };
    let letters = word.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(word.len());
    word.get(letters..).is_some_and(|rest| rest.starts_with('['))
        || word.get(..3).is_some_and(|it| it.eq_ignore_ascii_case("vso"))
}

fn escape(text: &mut String, c: char) {
    for unit in c.encode_utf16(&mut [0; 2]) {
        text.push_str(&format!("\\u{unit:04x}"));
    }
}

/// Whether a character could steer a terminal, reorder what is read, or hide: controls but line feed and tab,
/// bidirectional and invisible formatting. The joiners that scripts and emoji need are none of them.
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

/// `text` without what could steer its reader, a character for each, where columns are counted.
pub fn printable(text: &str) -> String {
    text.chars().map(printable_char).collect()
}

/// The character, or one that stands for it.
pub fn printable_char(c: char) -> char {
    if is_steering(c) { char::REPLACEMENT_CHARACTER } else { c }
}

/// Whether this runs in a CI system, as they say by variables of these names. Azure Pipelines and TeamCity don't set
/// `CI`.
pub fn is_ci() -> bool {
    let variables = ["CI", "GITHUB_ACTIONS", "TF_BUILD", "TEAMCITY_VERSION"];
    variables.into_iter().filter_map(std::env::var_os).any(|value| says_ci(&value))
}

/// People unset such a variable with an empty value, `0` or `false`.
fn says_ci(value: &OsStr) -> bool {
    !["", "0", "false"].iter().any(|unset| value.eq_ignore_ascii_case(unset))
}

/// Whether a stream is to have colors, as the user and the stream say.
pub fn wants_color(stream: &impl anstream::stream::RawStream) -> bool {
    AutoStream::choice(stream) != ColorChoice::Never
}

/// Standard output or standard error: the only way to them. Each write is one whole text.
#[derive(Debug)]
pub struct Screen {
    stream: Stream,
    reader: Reader,
}

#[derive(Debug)]
enum Stream {
    Out(io::Stdout),
    Err(io::Stderr),
}

impl Reader {
    fn of(stream: &impl anstream::stream::RawStream) -> Reader {
        Reader { color: wants_color(stream), runner: is_ci(), raw: false }
    }
}

impl Screen {
    /// Standard output.
    pub fn stdout() -> Screen {
        let stream = io::stdout();
        Screen { reader: Reader::of(&stream), stream: Stream::Out(stream) }
    }

    /// Standard error.
    pub fn stderr() -> Screen {
        let stream = io::stderr();
        Screen { reader: Reader::of(&stream), stream: Stream::Err(stream) }
    }

    /// The same for commands to a CI runner that the program gives itself.
    #[must_use]
    pub fn for_commands(self) -> Screen {
        Screen { reader: Reader { runner: false, ..self.reader }, ..self }
    }

    /// The same for text that programs want as it is. A terminal still gets it clean, and where a runner may be at the
    /// other end, its commands are broken up.
    #[must_use]
    pub fn for_programs(self) -> Screen {
        let raw = !self.is_terminal();
        Screen { reader: Reader { raw, ..self.reader }, ..self }
    }

    /// Whether it is a terminal.
    pub fn is_terminal(&self) -> bool {
        match &self.stream {
            Stream::Out(out) => out.is_terminal(),
            Stream::Err(err) => err.is_terminal(),
        }
    }

    /// Whether it gets the program's own styles.
    pub fn has_color(&self) -> bool {
        self.reader.color
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Out(out) => out.write_all(bytes),
            Stream::Err(err) => err.write_all(bytes),
        }
    }
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        self.put(clean(&text, self.reader).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.stream {
            Stream::Out(out) => out.flush(),
            Stream::Err(err) => err.flush(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    const TERMINAL: Reader = Reader { color: true, runner: false, raw: false };
    const LOG: Reader = Reader { color: false, runner: true, raw: false };
    const RAW: Reader = Reader { color: false, runner: true, raw: true };

    /// Text out of pieces that mean something to a terminal, a browser or a runner, and any others.
    pub(crate) fn hostile() -> impl Strategy<Value = String> {
        let pieces = select(vec![
            "\u{1b}",
            "\u{1b}[2J",
            "\u{1b}[31m",
            "\u{1b}[0m",
            "\u{1b}[8m",
            "\u{1b}[1;31m",
            "\u{1b}]52;c;aGk=\u{7}",
            "\u{1b}]8;;http://x.y\u{1b}\\",
            "\u{9b}31m",
            "\u{9d}0;x\u{9c}",
            "\u{202e}",
            "\u{2066}",
            "\u{2069}",
            "\u{200b}",
            "\u{feff}",
            "\u{e0041}",
            "\u{ad}",
            "\u{200d}",
            "\r",
            "\r\n",
            "\n",
            "\t",
            "\0",
            "\u{8}",
            "\u{7f}",
            "\u{85}",
            "\u{2028}",
            "::",
            ":",
            "::error::x",
            "::add-mask::x",
            "##[error]",
            "##",
            "#",
            "##vso[task.setvariable]",
            "##VSO ",
            "##teamcity[x]",
            "[",
            " ",
            "\u{a0}",
            "\u{3000}",
            "\\",
            "\"",
            "m",
            "name",
            "é",
            "👩\u{200d}🔬",
        ]);
        let any = prop_oneof![4 => pieces.prop_map(str::to_owned), 1 => any::<char>().prop_map(String::from)];
        prop::collection::vec(any, 0..24).prop_map(|it| it.concat())
    }

    /// Without the program's own styles.
    fn unstyled(text: &str) -> String {
        STYLES.iter().fold(text.to_owned(), |text, style| text.replace(&format!("\u{1b}[{style}m"), ""))
    }

    /// What a runner takes for lines, as it looks at them.
    fn commands(text: &str) -> Vec<&str> {
        let is_command = |line: &&str| {
            let line = line.trim_start().to_lowercase();
            let is_named = |(at, _)| {
                let word = line[at..].trim_start_matches('#');
                word.starts_with("vso") || word.trim_start_matches(char::is_alphabetic).starts_with('[')
            };
            line.starts_with("::") || line.match_indices("##").any(is_named)
        };
        text.split(['\n', '\r']).filter(is_command).collect()
    }

    proptest! {
        #[test]
        fn nothing_that_steers_passes(text in hostile()) {
            for reader in [TERMINAL, LOG, Reader { runner: true, ..TERMINAL }, Reader { runner: false, ..LOG }] {
                let clean = clean(&text, reader).into_owned();
                let own = if reader.color { unstyled(&clean) } else { clean.clone() };
                prop_assert!(!own.contains(is_steering), "{own:?}");
                prop_assert!(!reader.runner || commands(&clean).is_empty(), "{clean:?}");
                prop_assert_eq!(super::clean(&clean, reader), clean.as_str(), "twice is once");
                let is_left_open = clean.rfind("\u{1b}[").is_some_and(|at| !clean[at..].starts_with(RESET));
                prop_assert!(!is_left_open, "{clean:?}");
            }
        }

        /// A program gets all of it but what a runner would carry out.
        #[test]
        fn raw_text_keeps_everything_but_commands(text in hostile()) {
            let kept = clean(&text, RAW).into_owned();
            prop_assert!(commands(&kept).is_empty(), "{kept:?}");
            let back = kept.replace(":\\u003a", "::").replace("#\\u0023", "##");
            prop_assert_eq!(back, text.replace(":\\u003a", "::").replace("#\\u0023", "##"));
            prop_assert_eq!(clean(&text, Reader { runner: false, ..RAW }), text.as_str());
        }

        #[test]
        fn a_json_document_says_the_same(texts in prop::collection::vec(hostile(), 0..4)) {
            let document = serde_json::json!({ "texts": texts }).to_string();
            let read: serde_json::Value = serde_json::from_str(&clean(&document, LOG)).unwrap();
            prop_assert_eq!(read["texts"].as_array().unwrap().len(), texts.len());
            prop_assert!(read["texts"].as_array().unwrap().iter().zip(&texts).all(|(read, text)| read == text));
        }

        #[test]
        fn plain_text_passes_as_it_is(text in "[ -~\n\té–👩😀]{0,40}") {
            prop_assert_eq!(clean(&text, TERMINAL), text.as_str());
        }
    }

    #[test]
    fn what_steers_is_shown() {
        for (text, shown) in [
            ("\u{1b}]52;c;aGk=\u{7}", "\\u001b]52;c;aGk=\\u0007"),
            ("acme\u{202e}txt.exe", "acme\\u202etxt.exe"),
            ("tag\u{e0041}", "tag\\udb40\\udc41"),
            ("a\r\nb\rc", "a\nb\\u000dc"),
            ("\u{1b}[31mred\u{1b}[0m", "\\u001b[31mred\\u001b[0m"),
            ("one\n \t::set-env name=PATH::x", "one\n \t:\\u003aset-env name=PATH::x"),
            ("a::b", "a::b"),
            ("a ##[error]b", "a #\\u0023[error]b"),
            ("###[x]", "##\\u0023[x]"),
            ("## heading [x]", "## heading [x]"),
        ] {
            assert_eq!(clean(text, LOG), shown, "{text:?}");
        }
        assert_eq!(clean("\u{1b}[31mred", TERMINAL), "\u{1b}[31mred\u{1b}[0m", "no style outlives its text");
        assert_eq!(clean("\u{1b}[8mhidden", TERMINAL), "\\u001b[8mhidden");
    }

    #[test]
    fn a_variable_that_says_no_is_no_ci() {
        for (value, is_ci) in [
            ("", false),
            ("0", false),
            ("false", false),
            ("FALSE", false),
            ("1", true),
            ("true", true),
            ("woodpecker", true),
        ] {
            assert_eq!(says_ci(OsStr::new(value)), is_ci, "{value}");
        }
    }
}
