//! Makes output safe for terminals, browsers and CI runners.
//!
//! Names, tags, log lines and AWS's texts come from outside and may contain escape sequences,
//! characters that reorder text, or lines that a CI runner would execute as commands. All output
//! passes through [`Screen`], so code that builds a text need not handle this.
//!
//! **Invariant:** the output has no control characters except line feed, tab and the program's own
//! styles. Any other is written as a JSON escape (`\u001b`), which is visible to people and has the
//! same meaning in JSON.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::io::{self, IsTerminal as _, Write};

use anstream::{AutoStream, ColorChoice};

pub use engine_core::printable::*;

/// The reader of a text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reader {
    /// Whether the program's own styles pass.
    pub color: bool,
    /// Whether a CI runner may execute lines as commands.
    pub runner: bool,
    /// Whether a program reads it, for which only runner commands are escaped.
    pub raw: bool,
}

/// The styles of the program, its diagnostics and its log lines: bold, dim, italic, underlined, and
/// the foreground colors except black and white. None of them can hide text.
const STYLES: [&str; 17] =
    ["0", "1", "2", "3", "4", "31", "32", "33", "34", "35", "36", "91", "92", "93", "94", "95", "96"];
const RESET: &str = "\u{1b}[0m";

/// Makes a text safe for that reader.
pub fn clean(text: &str, reader: Reader) -> Cow<'_, str> {
    let is_refused = |c: char| is_steering(c) && !reader.raw;
    if !text.contains(|c: char| is_refused(c) || reader.runner && matches!(c, ':' | '#')) {
        return Cow::Borrowed(text);
    }
    let (mut clean, mut rest) = (String::with_capacity(text.len()), text);
    // Whether the line is blank so far, and whether a style is still active.
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
                // A runner also splits lines at a carriage return.
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

/// The style at the start of a text, if it is one of [`STYLES`].
fn style(text: &str) -> Option<&str> {
    let parameters = text.strip_prefix("\u{1b}[")?;
    let parameters = &parameters[..parameters.find('m')?];
    STYLES.contains(&parameters).then(|| &text[..parameters.len() + 3])
}

/// Whether a text begins with a command for GitHub's older syntax (`##[group]`), for Azure
/// (`##vso[task.setvariable …]`) or TeamCity (`##teamcity[…]`). Unlike `::`, the first two count
/// anywhere in a line (github.com/actions/runner/blob/main/src/Runner.Common/ActionCommand.cs,
/// `TryParse`).
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

/// Whether this runs in a CI system, which sets one of these variables. Azure Pipelines and
/// TeamCity don't set `CI`.
pub fn is_ci() -> bool {
    let variables = ["CI", "GITHUB_ACTIONS", "TF_BUILD", "TEAMCITY_VERSION"];
    variables.into_iter().filter_map(std::env::var_os).any(|value| is_ci_value(&value))
}

/// An empty value, `0` and `false` mean no.
fn is_ci_value(value: &OsStr) -> bool {
    !["", "0", "false"].iter().any(|unset| value.eq_ignore_ascii_case(unset))
}

/// Whether a stream gets color, by the user's settings and its capabilities.
pub fn wants_color(stream: &impl anstream::stream::RawStream) -> bool {
    AutoStream::choice(stream) != ColorChoice::Never
}

/// Standard output or standard error, which nothing else writes to. Each write is one whole text.
#[derive(Debug)]
pub struct Screen {
    stream: StdStream,
    reader: Reader,
}

#[derive(Debug)]
enum StdStream {
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
        Screen { reader: Reader::of(&stream), stream: StdStream::Out(stream) }
    }

    /// Standard error.
    pub fn stderr() -> Screen {
        let stream = io::stderr();
        Screen { reader: Reader::of(&stream), stream: StdStream::Err(stream) }
    }

    /// The same for the program's own commands to a CI runner.
    #[must_use]
    pub fn for_commands(self) -> Screen {
        Screen { reader: Reader { runner: false, ..self.reader }, ..self }
    }

    /// The same for raw text for programs. On a terminal it is still made safe, and in CI, runner
    /// commands are still escaped.
    #[must_use]
    pub fn for_programs(self) -> Screen {
        let raw = !self.is_terminal();
        Screen { reader: Reader { raw, ..self.reader }, ..self }
    }

    /// Whether it is a terminal.
    pub fn is_terminal(&self) -> bool {
        match &self.stream {
            StdStream::Out(out) => out.is_terminal(),
            StdStream::Err(err) => err.is_terminal(),
        }
    }

    /// Whether it has color.
    pub fn has_color(&self) -> bool {
        self.reader.color
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            StdStream::Out(out) => out.write_all(bytes),
            StdStream::Err(err) => err.write_all(bytes),
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
            StdStream::Out(out) => out.flush(),
            StdStream::Err(err) => err.flush(),
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

    /// Text of pieces that are special to a terminal, a browser or a runner, and of other
    /// characters.
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

    /// The lines that a runner executes.
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
        fn no_control_sequence_passes(text in hostile()) {
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

        /// A program gets everything except runner commands.
        #[test]
        fn raw_text_keeps_everything_but_commands(text in hostile()) {
            let kept = clean(&text, RAW).into_owned();
            prop_assert!(commands(&kept).is_empty(), "{kept:?}");
            let back = kept.replace(":\\u003a", "::").replace("#\\u0023", "##");
            prop_assert_eq!(back, text.replace(":\\u003a", "::").replace("#\\u0023", "##"));
            prop_assert_eq!(clean(&text, Reader { runner: false, ..RAW }), text.as_str());
        }

        #[test]
        fn a_json_document_keeps_its_meaning(texts in prop::collection::vec(hostile(), 0..4)) {
            let document = serde_json::json!({ "texts": texts }).to_string();
            let read: serde_json::Value = serde_json::from_str(&clean(&document, LOG)).unwrap();
            prop_assert_eq!(read["texts"].as_array().unwrap().len(), texts.len());
            prop_assert!(read["texts"].as_array().unwrap().iter().zip(&texts).all(|(read, text)| read == text));
        }

        #[test]
        fn plain_text_passes_unchanged(text in "[ -~\n\té–👩😀]{0,40}") {
            prop_assert_eq!(clean(&text, TERMINAL), text.as_str());
        }
    }

    #[test]
    fn control_sequences_are_shown_as_escapes() {
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
    fn a_ci_variable_set_to_no_means_no_ci() {
        for (value, is_ci) in [
            ("", false),
            ("0", false),
            ("false", false),
            ("FALSE", false),
            ("1", true),
            ("true", true),
            ("woodpecker", true),
        ] {
            assert_eq!(is_ci_value(OsStr::new(value)), is_ci, "{value}");
        }
    }
}
