//! Parses YAML into a tree in which each key and value has a position. No other module deals with
//! YAML syntax.
//!
//! Two parsers read the text: serde_yaml determines values, granit-parser positions. Where they
//! disagree, the file is rejected, as is every surprising feature of YAML: anchors, aliases, tags,
//! merge keys, directives, duplicate keys and several documents.
//!
//! **Invariant:** this module doesn't know the contents of a spec. Input is untrusted: time and
//! memory are linear in its size, which is limited, and no message repeats a value of the file,
//! only keys.

mod write;

use std::collections::HashMap;
use std::sync::Arc;

use granit_parser::{ErrorKind, Event, Options, Parser, ScalarStyle, ScanError, StructureStyle};
use serde_json::Number;

use crate::diagnostic::{Diagnostic, SourceFile, Span, note_omitted};
use crate::remedy::Advice;

pub use write::written;

/// Maximum file size in bytes. Callers don't need to read more than one byte beyond it.
pub const MAX_BYTES: usize = 1 << 20;

/// Maximum key length in bytes. YAML has the same limit for keys without a `?` (yaml.org/spec/1.2.2
/// section 7.4), and paths consist of keys.
const MAX_KEY: usize = 1024;

/// Maximum nesting depth of lists and mappings. serde_yaml itself stops at 128.
const MAX_DEPTH: usize = 64;

/// Maximum number of errors shown for one file; further ones are only counted.
const MAX_ERRORS: usize = 100;

/// The message for a duplicate key, the only one that repeats text of the file.
const REPEATED: &str = "is set more than once";

/// The errors of a file whose text must stay hidden, including its keys.
pub fn without_keys(mut errors: Vec<Diagnostic>) -> Vec<Diagnostic> {
    errors.retain(|error| !error.problem.contains(REPEATED));
    errors
}

/// A value and its position.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The bytes of the value as written, including quotes, brackets and the `|` of a block scalar,
    /// without surrounding comments and whitespace. Empty for an empty value.
    pub span: Span,
    /// Whether it was written without quotes. A plain string like `012` may be meant as a number;
    /// `file.slice(span)` has the original text.
    pub plain: bool,
    /// The value itself.
    pub value: Yaml,
}

/// A value as serde_yaml reads it: `yes`, `012`, `1_000` and dates are strings, `0o17` is 15.
#[derive(Clone, Debug, PartialEq)]
pub enum Yaml {
    /// An empty value, `~` or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer that fits `i64` or `u64`, or a finite float.
    Number(Number),
    /// Text, without its quotes and with its escapes resolved.
    String(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order of the file, without duplicate keys.
    Map(Vec<Entry>),
}

/// One key of a mapping and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key without its quotes.
    pub key: String,
    /// The bytes of the key as written.
    pub key_span: Span,
    /// The value.
    pub value: Node,
}

impl Entry {
    /// The key with an empty value.
    pub fn clone_key(&self) -> Entry {
        let value = Node { span: self.value.span, plain: false, value: Yaml::Null };
        Entry { key: self.key.clone(), key_span: self.key_span, value }
    }
}

/// Reads one valid YAML document; see [`read`].
///
/// # Errors
/// The diagnostics of [`read`].
pub fn parse(name: &str, bytes: &[u8]) -> (Arc<SourceFile>, Result<Node, Vec<Diagnostic>>) {
    let (file, root, errors) = read(name, bytes);
    (file, root.filter(|_| errors.is_empty()).ok_or(errors))
}

/// Reads one YAML document. `name` is the file name to show.
///
/// Returns the file even if it can't be parsed, and always hidden: call
/// [`SourceFile::reveal_except`] once the sensitive parts are known. Also returns up to
/// [`MAX_ERRORS`] YAML errors (a syntax error stops the search), and the tree, unless an error
/// makes its meaning uncertain.
pub fn read(name: &str, bytes: &[u8]) -> (Arc<SourceFile>, Option<Node>, Vec<Diagnostic>) {
    let refused = |text: String, span, diagnostic: Diagnostic| {
        let file = SourceFile::new(name, text);
        let diagnostic = diagnostic.at(file.location(span));
        (file, None, vec![diagnostic])
    };
    if bytes.len() > MAX_BYTES {
        let too_large = Diagnostic::error(
            format!("the file is larger than {} KiB", MAX_BYTES / 1024),
            "move large inline code into a separate file, and set its path as `code:`",
        )
        .why("a spec is a small, handwritten file, so this is probably another file");
        return refused(String::new(), Span::new(0, 0), too_large);
    }
    let bom = "\u{feff}".len();
    let body = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let text = match str::from_utf8(body) {
        Ok(text) => text,
        Err(error) => {
            let at = error.valid_up_to();
            let offset = at + if body.len() < bytes.len() { bom } else { 0 };
            let problem = format!("the file is not valid UTF-8 at byte {offset}");
            let text = String::from_utf8_lossy(body).into_owned();
            let span = Span::new(at, at + char::REPLACEMENT_CHARACTER.len_utf8());
            return refused(text, span, encoding_error(problem, bytes));
        }
    };
    if let Some((at, c)) = text.char_indices().find(|(at, c)| is_refused_character(&text[*at..], *c)) {
        return refused(text.to_owned(), Span::new(at, at + c.len_utf8()), character_error(c, bytes));
    }

    let file = SourceFile::new(name, text);
    let mut reader = TreeBuilder {
        file: &file,
        last: Span::new(0, 0),
        open: Vec::new(),
        root: None,
        errors: Vec::new(),
        n_errors: 0,
        n_harmless: 0,
    };
    reader.read();
    let (root, errors) = reader.finish();
    (file, root, errors)
}

/// Whether the bytes start like UTF-16: with a byte order mark, or with an ASCII character in two
/// bytes.
fn looks_like_utf16(bytes: &[u8]) -> bool {
    matches!(bytes, [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, 1..=0x7f, ..] | [1..=0x7f, 0, ..])
}

/// Control characters, and characters that a parser treats as a line break or drops: a lone
/// carriage return, U+0085, U+2028, U+2029 and the byte order mark (YAML 1.1 and 1.2 differ there,
/// yaml.org/spec/1.2.2 section 5.4).
fn is_refused_character(from_here: &str, c: char) -> bool {
    match c {
        '\t' | '\n' => false,
        '\r' => !from_here.starts_with("\r\n"),
        '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => true,
        _ => c.is_control(),
    }
}

/// A list or mapping that is not closed yet.
struct OpenCollection {
    start: usize,
    style: StructureStyle,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    /// `key` is the key whose value comes next. A rejected key has no text, and its value is
    /// dropped.
    Map {
        entries: Vec<Entry>,
        key: Option<(Option<String>, Span)>,
    },
}

/// Builds the tree from granit's events, without recursion.
struct TreeBuilder<'a> {
    file: &'a Arc<SourceFile>,
    /// The position of the last event.
    last: Span,
    open: Vec<OpenCollection>,
    root: Option<Node>,
    errors: Vec<Diagnostic>,
    n_errors: usize,
    /// Errors that don't change the meaning of the tree.
    n_harmless: usize,
}

impl TreeBuilder<'_> {
    fn read(&mut self) {
        let mut options = Options::default();
        options.disallow_directives = true;
        options.emit_unresolved_aliases = true;
        options.emit_anchor_events = true;
        options.block_scalar_eof_without_line_feed = true;
        options.flow_nesting_limit = MAX_DEPTH;
        options.block_nesting_limit = MAX_DEPTH;
        options.set_emit_comments(false);
        let mut n_documents = 0;
        for event in Parser::new_from_str_with_options(self.file.text(), options) {
            let (event, span) = match event {
                Ok((event, span)) => (event, span),
                Err(error) => return self.syntax_error(&error),
            };
            if let Some(tag) = span.tag_span() {
                self.error(span_of(tag), |_| tag_error());
            }
            let span = span_of(span);
            match event {
                Event::DocumentStart(..) => {
                    n_documents += 1;
                    if n_documents == 2 {
                        return self.error(span, |_| {
                            Diagnostic::error(
                                "a second YAML document starts here",
                                "move it to a separate file, or remove the `---` or `...` above it",
                            )
                            .why("a file can contain only one document")
                        });
                    }
                }
                Event::Scalar(text, style, ..) => self.scalar(&text, style, span),
                Event::SequenceStart(style, ..) => {
                    // For a list at its key's indentation, granit's position is after the dash.
                    let (before, after) = self.file.text().split_at_checked(span.start).unwrap_or_default();
                    let start = match before.trim_end().strip_suffix('-') {
                        Some(before) if style == StructureStyle::Block && !after.starts_with('-') => before.len(),
                        _ => span.start,
                    };
                    self.open.push(OpenCollection { start, style, content: Content::List(Vec::new()) });
                }
                Event::MappingStart(style, ..) => {
                    let content = Content::Map { entries: Vec::new(), key: None };
                    self.open.push(OpenCollection { start: span.start, style, content });
                }
                Event::SequenceEnd | Event::MappingEnd => self.close(span.end),
                Event::Anchor(..) => self.error(span, |_| anchor_error()),
                Event::Alias(_) | Event::UnresolvedAlias(_) => {
                    self.error(span, |_| anchor_error());
                    self.attach(Node { span, plain: true, value: Yaml::Null });
                }
                _ => {}
            }
            if self.open.len() > MAX_DEPTH {
                return self.error(span, |_| depth_error());
            }
            self.last = span;
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, span: Span) {
        let span = match style {
            // granit reports a block scalar without its header, but with the empty lines after it.
            ScalarStyle::Literal | ScalarStyle::Folded => {
                let gap = self.file.slice(Span::new(self.last.end, span.start));
                let start = gap.find(['|', '>']).map_or(span.start, |header| self.last.end + header);
                let written = self.file.slice(Span::new(start, span.end)).trim_end();
                Span::new(start, start + written.len())
            }
            _ => span,
        };
        let plain = style == ScalarStyle::Plain;
        let value = match style {
            ScalarStyle::Plain if text.starts_with(TYPOGRAPHIC) => {
                self.error(span, |_| {
                    Diagnostic::error(
                        "this value starts with a typographic quote, which YAML doesn't treat as a quote",
                        "type a plain `\"`; if the typographic quotes are part of the text, put plain ones around it",
                    )
                });
                Yaml::String(text.to_owned())
            }
            ScalarStyle::Plain => self.resolve(text, span),
            _ => Yaml::String(text.to_owned()),
        };
        self.attach(Node { span, plain, value });
    }

    /// The value of a plain scalar by serde_yaml's rules, using its code where that is public.
    fn resolve(&mut self, text: &str, span: Span) -> Yaml {
        match text {
            "" | "~" | "null" | "Null" | "NULL" => return Yaml::Null,
            "true" | "True" | "TRUE" => return Yaml::Bool(true),
            "false" | "False" | "FALSE" => return Yaml::Bool(false),
            _ => {}
        }
        let parsed = text.parse::<serde_yaml::Number>();
        if is_integer(text) && !parsed.as_ref().is_ok_and(|number| number.is_i64() || number.is_u64()) {
            self.error(span, |_| {
                Diagnostic::error("this number is too large", "quote it if it is text")
                    .why("whole numbers range from -9223372036854775808 to 18446744073709551615")
            });
            return Yaml::String(text.to_owned());
        }
        match parsed.as_ref().map(json_number) {
            Ok(Some(number)) => Yaml::Number(number),
            Ok(None) => {
                self.error(span, |_| Diagnostic::error("infinity and NaN are not supported", "quote it if it is text"));
                Yaml::String(text.to_owned())
            }
            Err(_) => Yaml::String(text.to_owned()),
        }
    }

    /// Adds a complete node to the tree: as the root, a list item, a key or a value.
    fn attach(&mut self, node: Node) {
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.root = Some(node),
            Some(Content::List(items)) => items.push(node),
            Some(Content::Map { entries, key }) => match key.take() {
                Some((Some(key), key_span)) => entries.push(Entry { key, key_span, value: node }),
                Some((None, _)) => {}
                None => {
                    let key_span = node.span;
                    let text = self.key(node);
                    if let Some(OpenCollection { content: Content::Map { key, .. }, .. }) = self.open.last_mut() {
                        *key = Some((text, key_span));
                    }
                }
            },
        }
    }

    /// The text of a key; reports an error and returns `None` if it is invalid.
    fn key(&mut self, node: Node) -> Option<String> {
        let refusal = match node.value {
            Yaml::String(key) if key.len() > MAX_KEY => Diagnostic::error(
                format!("this key has {} bytes, but the maximum is {MAX_KEY}", key.len()),
                "shorten the key, or move the text to its value",
            ),
            Yaml::String(key) if node.plain && key.contains(is_invisible) => invisible_error(&key),
            Yaml::String(key) if node.plain && key == "<<" => Diagnostic::error(
                "merge keys (`<<`) are not supported",
                "repeat the keys, or use a variable (`vars:`) for a repeated value",
            ),
            Yaml::String(key) => return Some(key),
            Yaml::List(_) | Yaml::Map(_) => Diagnostic::error(
                "a list or mapping can't be a key",
                "quote the key if it is text that starts with `{` or `[`",
            ),
            Yaml::Null if node.span.start == node.span.end => {
                Diagnostic::error("a key is missing before this `:`", "write `key: value`")
            }
            _ => Diagnostic::error("this key is not text", "quote it")
                .why("without quotes, YAML reads it as a number, boolean or null"),
        };
        self.error(node.span, |_| refusal);
        None
    }

    /// Closes the innermost list or mapping.
    fn close(&mut self, end: usize) {
        let Some(OpenCollection { start, style, content }) = self.open.pop() else {
            return;
        };
        let (value, last) = match content {
            Content::List(items) => {
                let last = items.last().map(|item| item.span.end);
                (Yaml::List(items), last)
            }
            Content::Map { entries, .. } => {
                self.check_duplicates(&entries);
                let last = entries.last().map(|entry| entry.value.span.end);
                (Yaml::Map(entries), last)
            }
        };
        // The parser ends a block only at the next token, so use the end of the last child.
        let end = last.filter(|_| style == StructureStyle::Block).unwrap_or(end);
        self.attach(Node { span: Span::new(start, end), plain: false, value });
    }

    fn check_duplicates(&mut self, entries: &[Entry]) {
        let mut first: HashMap<&str, Span> = HashMap::with_capacity(entries.len());
        for entry in entries {
            let Some(first) = first.get(entry.key.as_str()) else {
                first.insert(&entry.key, entry.key_span);
                continue;
            };
            self.n_harmless += 1;
            self.error(entry.key_span, |file| {
                let (line, _) = file.line_column(first.start);
                Diagnostic::error(format!("{} {REPEATED}", key_name(&entry.key)), "keep one of the two")
                    .why(format!("it is already set on line {line}"))
            });
        }
    }

    fn syntax_error(&mut self, error: &ScanError) {
        let at = error.marker().byte_offset().unwrap_or_default();
        let (at, diagnostic) = explain(error.kind(), self.file, at, self.last);
        let end = self.file.text().get(at..).and_then(|rest| rest.chars().next()).map_or(at, |c| at + c.len_utf8());
        self.error(Span::new(at, end), |_| diagnostic);
    }

    /// Counts each error, but builds only the diagnostics that are shown.
    fn error(&mut self, span: Span, diagnostic: impl FnOnce(&SourceFile) -> Diagnostic) {
        self.n_errors += 1;
        if self.n_errors <= MAX_ERRORS {
            self.errors.push(diagnostic(self.file).at(self.file.location(span)));
        }
    }

    /// Compares the tree with serde_yaml's if granit found no errors.
    fn finish(mut self) -> (Option<Node>, Vec<Diagnostic>) {
        let root = self.root.take();
        if self.n_errors == 0 {
            match &root {
                Some(root) if root.value != Yaml::Null || root.span.start < root.span.end => self.compare(root),
                _ => self.error(Span::new(0, 0), |_| {
                    Diagnostic::error("the file is empty", "add a spec to it, or pass another file")
                }),
            }
        }
        note_omitted(&mut self.errors, self.n_errors.saturating_sub(MAX_ERRORS));
        (root.filter(|_| self.n_errors == self.n_harmless), self.errors)
    }

    fn compare(&mut self, root: &Node) {
        let mut differing = Vec::new();
        match serde_yaml::from_str(self.file.text()) {
            Ok(value) => find_differences(root, &value, &mut differing),
            Err(error) => {
                let at = error.location().map_or(0, |at| offset_of(self.file.text(), at.line(), at.column()));
                differing.push(Span::new(at, at));
            }
        }
        for span in differing {
            self.error(span, |_| {
                Diagnostic::error("this YAML is ambiguous", "quote the value, or write it on one line")
                    .why("two YAML parsers read it differently")
            });
        }
    }
}

/// Collects where `value`, read by serde_yaml, differs from `node`. The depth of `node` is limited
/// by [`MAX_DEPTH`].
fn find_differences(node: &Node, value: &serde_yaml::Value, differing: &mut Vec<Span>) {
    use serde_yaml::Value;
    let equal = match (&node.value, value) {
        (Yaml::Null, Value::Null) => true,
        (Yaml::Bool(a), Value::Bool(b)) => a == b,
        (Yaml::Number(a), Value::Number(b)) => json_number(b).as_ref() == Some(a),
        (Yaml::String(a), Value::String(b)) => a == b,
        (Yaml::List(a), Value::Sequence(b)) if a.len() == b.len() => {
            a.iter().zip(b).for_each(|(a, b)| find_differences(a, b, differing));
            true
        }
        (Yaml::Map(a), Value::Mapping(b)) if a.len() == b.len() => {
            for (entry, (key, value)) in a.iter().zip(b) {
                if key.as_str() == Some(&entry.key) {
                    find_differences(&entry.value, value, differing);
                } else {
                    differing.push(entry.key_span);
                }
            }
            true
        }
        _ => false,
    };
    if !equal {
        differing.push(node.span);
    }
}

/// A number as JSON, or `None` for infinity and NaN.
fn json_number(number: &serde_yaml::Number) -> Option<Number> {
    let integer = number.as_u64().map(Number::from).or_else(|| number.as_i64().map(Number::from));
    integer.or_else(|| number.as_f64().and_then(Number::from_f64))
}

/// Whether a plain scalar is a whole number of any size. Leading zeros make it a string.
fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let prefixed = [("0x", 16), ("0o", 8), ("0b", 2)];
    let (digits, radix) = prefixed
        .into_iter()
        .find_map(|(prefix, radix)| Some((digits.strip_prefix(prefix)?, radix)))
        .unwrap_or((digits, 10));
    let leading_zero = radix == 10 && digits.len() > 1 && digits.starts_with('0');
    !digits.is_empty() && !leading_zero && digits.chars().all(|c| c.is_digit(radix))
}

/// A key for a message. A key that doesn't look like a property name may be a misplaced value, so
/// it is hidden.
fn key_name(key: &str) -> String {
    let is_name = key.len() <= 64 && key.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
    if is_name { format!("`{key}`") } else { "this key".to_owned() }
}

fn span_of(span: granit_parser::Span) -> Span {
    // Both offsets are always set for `str` input.
    let range = span.byte_range().unwrap_or_default();
    Span::new(range.start, range.end)
}

/// The byte offset of a line and column, both 1-based, the column in characters.
fn offset_of(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let rest = text.get(start..).unwrap_or_default();
    start + rest.char_indices().nth(column.saturating_sub(1)).map_or(0, |(at, _)| at)
}

/// Quotes that word processors and chat programs substitute for plain ones.
const TYPOGRAPHIC: [char; 7] = ['“', '”', '„', '‘', '’', '«', '»'];

/// Characters that look like a space or are invisible, often copied from web pages.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{a0}' | '\u{ad}' | '\u{2000}'..='\u{200f}' | '\u{202f}' | '\u{205f}'..='\u{2064}' | '\u{3000}')
}

fn invisible_error(key: &str) -> Diagnostic {
    let code = key.chars().find(|c| is_invisible(*c)).map_or(0, u32::from);
    Diagnostic::error(
        format!("this key contains an invisible character (U+{code:04X})"),
        "retype the line's indentation and the key, with plain spaces",
    )
    .why("it looks like a space or is invisible, but YAML treats it as part of the key")
}

/// Finds `key：value`, with the full-width colon of some keyboards.
fn wide_colon(text: &str) -> Option<(usize, Diagnostic)> {
    let at = text.find('：')?;
    let wide = Diagnostic::error(
        "this is a full-width colon (`：`), which YAML doesn't treat as `:`",
        "type a plain `:` followed by a space",
    );
    Some((at, wide))
}

fn anchor_error() -> Diagnostic {
    Diagnostic::error(
        "anchors and aliases (`&`, `*`) are not supported",
        "repeat the value, or use a variable (`vars:`)",
    )
    .hint("quote the value if the `&` or `*` is part of it")
}

fn encoding_error(problem: impl Into<Advice>, bytes: &[u8]) -> Diagnostic {
    let error = Diagnostic::error(problem, "save the file with UTF-8 encoding");
    if looks_like_utf16(bytes) { error.why("it looks like UTF-16") } else { error }
}

fn character_error(c: char, bytes: &[u8]) -> Diagnostic {
    match c {
        '\r' => Diagnostic::error(
            "carriage return without a line feed",
            "save the file with Unix (LF) or Windows (CRLF) line endings",
        )
        .why("some programs treat it as a line break, and others don't"),
        '\0' if looks_like_utf16(bytes) => encoding_error("the file is not valid UTF-8", bytes),
        _ => Diagnostic::error(
            format!("the character U+{:04X} is not allowed in YAML", u32::from(c)),
            format!("remove it, or write it inside double quotes as `\\u{:04X}`", u32::from(c)),
        ),
    }
}

fn tag_error() -> Diagnostic {
    Diagnostic::error("tags (`!`) are not supported", "remove the tag, or quote the value if the `!` is part of it")
}

fn depth_error() -> Diagnostic {
    Diagnostic::error(
        format!("lists and mappings are nested more than {MAX_DEPTH} levels deep here"),
        "check the brackets and the indentation; a spec needs four or five levels",
    )
}

/// A plain message for a syntax error, and its position. `at` is granit's position, and `last` the
/// last event's span.
fn explain(kind: &ErrorKind, file: &SourceFile, at: usize, last: Span) -> (usize, Diagnostic) {
    use ErrorKind as E;
    let diagnostic = match kind {
        E::UnclosedFlowCollection { open } => {
            Diagnostic::error(format!("this `{open}` is never closed"), "add the closing bracket, or quote the value")
        }
        E::MismatchedFlowCollectionEnd { open, close } => Diagnostic::error(
            format!("this `{open}` is closed by a `{close}`"),
            "make the brackets match, or quote the value",
        ),
        E::MisplacedFlowCollectionEnd => Diagnostic::error(
            "this closing bracket has no opening bracket",
            "remove it, or quote the value that contains it",
        ),
        E::ExpectedFlowMappingSeparator | E::ExpectedFlowSequenceSeparator | E::InvalidColonPlacement => {
            Diagnostic::error(
                "a `,` or a closing bracket is missing before this",
                "close the bracket, or quote the value: `{ role: \"${name.arn}\" }`",
            )
            .why("it is inside brackets that are not closed before it")
        }
        E::MappingValueNotAllowed => return explain_colon(file, at, last),
        E::SimpleKeyExpected | E::InvalidSimpleKey
            if let Some((colon, wide)) = wide_colon(rest_of_line(file.text(), at)) =>
        {
            return (at + colon, wide);
        }
        E::SimpleKeyExpected | E::InvalidSimpleKey => Diagnostic::error(
            "a `:` is missing after this key",
            "add it, or indent the line if it belongs to the value above",
        )
        .why("each key has the form `key: value`, with a space after the colon"),
        E::ExpectedBlockMappingKey
        | E::ExpectedBlockSequenceEntry
        | E::ExpectedDocumentStart
        | E::InvalidIndentation
        | E::UnexpectedEofBlockMapping
        | E::UnexpectedEofBlockSequence
            if !file.text().get(at..).is_some_and(|rest| rest.starts_with([',', ']', '}'])) =>
        {
            Diagnostic::error(
                "this line's indentation doesn't match any line above it",
                "indent it exactly like the keys or `-` items that it belongs to",
            )
        }
        E::BlockSequenceEntryNotAllowed | E::BlockEntryInFlowCollection => Diagnostic::error(
            "a `-` list item is not allowed here",
            "start the list on the line below its key, or write it as `[a, b]`",
        ),
        E::TabNotAllowed
        | E::TabInBlockIndentation
        | E::TabInIndentation
        | E::TabInPlainScalar
        | E::TabAtBlockScalarStart => {
            let tab = Diagnostic::error("a tab is used for indentation", "replace the tab with spaces")
                .why("YAML allows only spaces for indentation");
            return (first_indenting_tab(file.text(), at).unwrap_or(at), tab);
        }
        E::UnclosedQuotedScalar | E::DocumentIndicatorInQuotedScalar => {
            Diagnostic::error("this quote is never closed", "add the closing quote")
        }
        E::InvalidTrailingSingleQuotedScalar | E::InvalidTrailingDoubleQuotedScalar => Diagnostic::error(
            "unexpected text after the closing quote",
            "to include a quote, write `''` inside `'…'`, or `\\\"` inside `\"…\"`",
        ),
        E::UnknownQuotedScalarEscape | E::InvalidQuotedScalarHexEscape | E::InvalidUnicodeEscape => Diagnostic::error(
            "this text has an unknown escape sequence",
            "write `\\\\` for a backslash, or use single quotes, which have no escapes",
        ),
        E::ExpectedNodeContent
        | E::UnexpectedEofFlowSequence
        | E::UnexpectedEofFlowMapping
        | E::UnexpectedEofImplicitFlowMapping => {
            Diagnostic::error("a value is missing before this", "add the value, or remove the extra comma or bracket")
        }
        E::UnexpectedCharacter { .. }
        | E::MappingKeyNotAllowed
        | E::UnexpectedEofBlockMapping
        | E::UnexpectedEofBlockSequence => {
            Diagnostic::error("a value can't start with this character", "quote the value")
        }
        E::InvalidBlockScalarHeader | E::ZeroBlockScalarIndent => Diagnostic::error(
            "no text is allowed after `|` or `>` on the same line",
            "start the text on the next line, or quote the value",
        ),
        E::CommentInterceptedScalar => Diagnostic::error(
            "this comment is in the middle of a value",
            "check the next line's indentation, or quote the value if `#` is part of it",
        ),
        E::CommentNotSeparated => Diagnostic::error(
            "a comment needs a space before its `#`",
            "add the space, or quote the value if `#` is part of it",
        ),
        E::DirectiveDisallowed => Diagnostic::error("directives (`%`) are not supported", "remove the line"),
        E::MissingAnchorOrAliasName => anchor_error(),
        E::UndeclaredTagHandle
        | E::InvalidTagTerminator
        | E::MissingTagUri
        | E::UnclosedVerbatimTag
        | E::InvalidTagEscape
        | E::InvalidGlobalTagCharacter => tag_error(),
        E::RecursionLimitExceeded => depth_error(),
        // granit's messages describe grammar and never contain the file's text.
        other => Diagnostic::error(
            "this is not valid YAML",
            "check the quotes, brackets and indentation of this line and the one above",
        )
        .why(other.to_string()),
    };
    (at, diagnostic)
}

fn rest_of_line(text: &str, at: usize) -> &str {
    text.get(at..).and_then(|rest| rest.lines().next()).unwrap_or_default()
}

/// Explains a `:` where no key is allowed. It has four common causes, which the text before it
/// distinguishes.
fn explain_colon(file: &SourceFile, at: usize, last: Span) -> (usize, Diagnostic) {
    let before = file.slice(last);
    let Some((first_line, _)) = before.split_once('\n') else {
        let second = Diagnostic::error(
            "a second `:` on one line",
            "quote the value if `:` is part of it, or write it indented under a `|`",
        )
        .why("YAML treats a colon followed by a space as the end of a key");
        return (at, second);
    };
    if let Some((colon, wide)) = wide_colon(first_line) {
        return (last.start + colon, wide);
    }
    if let Some(colon) = first_line.find(':') {
        let missing = Diagnostic::error("a space is missing after this `:`", "write `key: value`")
            .why("without it, YAML reads the whole line as text");
        return (last.start + colon, missing);
    }
    let (line, _) = file.line_column(last.start);
    let continued = Diagnostic::error(
        "a key is not allowed here",
        format!("indent it like the keys around it, and check that line {line} has the form `key: value`"),
    )
    .why(format!("this line continues the text that starts on line {line}"));
    let key = before.rfind('\n').map_or(at, |newline| {
        let continuation = &before[newline + 1..];
        last.start + newline + 1 + (continuation.len() - continuation.trim_start().len())
    });
    (key, continued)
}

/// The first tab in the indentation of the line at `at` or of a later line.
fn first_indenting_tab(text: &str, at: usize) -> Option<usize> {
    let start = text.get(..at)?.rfind('\n').map_or(0, |newline| newline + 1);
    let mut offset = start;
    for line in text.get(start..)?.split_inclusive('\n') {
        let indentation = line.len() - line.trim_start_matches([' ', '\t']).len();
        if let Some(tab) = line[..indentation].find('\t') {
            return Some(offset + tab);
        }
        offset += line.len();
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use insta::assert_snapshot;
    use proptest::prelude::*;

    use super::*;
    use crate::diagnostic::{self, Style};

    const SECRET: &str = "hunter2";

    fn worded(errors: &[Diagnostic]) -> Vec<Diagnostic<String>> {
        errors.iter().map(|it| it.worded(Advice::own_text)).collect()
    }

    fn render(errors: &[Diagnostic]) -> String {
        diagnostic::render(&worded(errors), Style::Plain, 80)
    }

    fn errors_of(bytes: &[u8]) -> Vec<Diagnostic> {
        parse("s.yaml", bytes).1.expect_err("the file should be refused")
    }

    /// The rendered errors of several broken files.
    fn refusals<const N: usize>(texts: [&str; N]) -> String {
        let rendered = texts.map(|text| render(&errors_of(text.as_bytes())));
        rendered.concat()
    }

    fn problems_of(bytes: &[u8]) -> Vec<String> {
        errors_of(bytes).into_iter().map(|error| error.problem.own_text()).collect()
    }

    fn json(node: &Node) -> serde_json::Value {
        match &node.value {
            Yaml::Null => serde_json::Value::Null,
            Yaml::Bool(bool) => (*bool).into(),
            Yaml::Number(number) => number.clone().into(),
            Yaml::String(string) => string.as_str().into(),
            Yaml::List(items) => items.iter().map(json).collect(),
            Yaml::Map(entries) => entries.iter().map(|entry| (entry.key.clone(), json(&entry.value))).collect(),
        }
    }

    /// Every scalar in a node, including keys: its position and value.
    fn scalars(node: &Node) -> Vec<(Span, serde_json::Value)> {
        match &node.value {
            Yaml::List(items) => items.iter().flat_map(scalars).collect(),
            Yaml::Map(entries) => {
                let of = |e: &Entry| [vec![(e.key_span, e.key.as_str().into())], scalars(&e.value)].concat();
                entries.iter().flat_map(of).collect()
            }
            _ => vec![(node.span, json(node))],
        }
    }

    /// A document and its style.
    #[derive(Clone, Debug)]
    enum Doc {
        Plain(String),
        Lines(Vec<String>),
        Single(String),
        Double(String),
        Block { header: String, lines: Vec<String> },
        List { flow: bool, items: Vec<Doc> },
        Map { flow: bool, entries: Vec<(Doc, Doc)> },
    }

    /// Text in double quotes, with characters escaped that are not allowed in a file.
    fn quoted(text: &str) -> String {
        let json = serde_json::to_string(text).unwrap();
        let escaped = |c: char| match c {
            '\u{7f}'..='\u{9f}' | '\u{2028}' => format!("\\u{:04x}", u32::from(c)),
            c => c.to_string(),
        };
        json.chars().map(escaped).collect()
    }

    /// Writes a document after `- ` or `key:`; `in_flow` inside brackets.
    fn write(doc: &Doc, indent: usize, in_flow: bool, text: &mut String) {
        let pad = " ".repeat(indent);
        match doc {
            Doc::Plain(plain) if in_flow && (plain.contains('{') || plain.starts_with(['?', ':'])) => {
                *text += &format!("'{plain}'")
            }
            Doc::Plain(plain) => *text += plain,
            Doc::Lines(lines) => *text += &lines.join(&format!("\n{pad}  ")),
            Doc::Single(string) => *text += &format!("'{}'", string.replace('\'', "''")),
            Doc::Double(string) => *text += &quoted(string),
            Doc::Block { lines, .. } if in_flow => *text += &quoted(&lines.join("\n")),
            Doc::Block { header, lines } => {
                *text += header;
                for line in lines {
                    *text += &if line.is_empty() { "\n".to_owned() } else { format!("\n{pad}  {line}") };
                }
            }
            Doc::List { flow, items } if *flow || in_flow || items.is_empty() => {
                *text += "[";
                for (i, item) in items.iter().enumerate() {
                    *text += if i > 0 { ", " } else { "" };
                    write(item, indent, true, text);
                }
                *text += " ]";
            }
            Doc::Map { flow, entries } if *flow || in_flow || entries.is_empty() => {
                *text += "{";
                for (i, (key, value)) in entries.iter().enumerate() {
                    *text += if i > 0 { ",\t" } else { "" };
                    write(key, indent, true, text);
                    *text += ": ";
                    write(value, indent, true, text);
                }
                *text += "}";
            }
            Doc::List { items, .. } => {
                for item in items {
                    *text += &format!("\n{pad}- ");
                    write(item, indent + 2, false, text);
                }
            }
            Doc::Map { entries, .. } => {
                for (key, value) in entries {
                    *text += &format!("\n{pad}");
                    write(key, indent, false, text);
                    *text += ": ";
                    write(value, indent + 2, false, text);
                }
            }
        }
    }

    fn plain_text() -> impl Strategy<Value = String> {
        let words = "yes no on off y n true True TRUE false null Null NULL ~ 0 -0 +1 -1 012 -012 1_000 0o17 0x1F -0x1F \
            0b101 0x 1e3 1E3 1e999 .5 5. 1.5 -1.5e-7 +.inf5 inf nan 2024-01-01 2024-01-01T12:00:00Z 12:30:45 0.1.2 \
            18446744073709551615 -9223372036854775808 ü 日本 a#b a:b http://x/y?z=1&b=* ${a.b} ${a.b}-${c} -x ?x :x <<x \
            a'b a\"b a|b a>b a!b a%b a@b a\\nb x&y = == \u{1f980} a\u{a0}b a\u{200b}b";
        let words: Vec<String> = words.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        prop_oneof![4 => prop::sample::select(words), 1 => Just(String::new()), 1 => Just("two words".to_owned())]
    }

    fn any_doc() -> impl Strategy<Value = Doc> {
        let line = "[ ]{0,2}[a-z#:'\"{}\\[\\]|>*&!%@`$-]{1,6}( [a-z#:-]{1,4})?";
        let header = "[|>][+-]?";
        let block = (header, "[a-z#:-]{1,4}", prop::collection::vec(prop_oneof!["", line], 0..4));
        let scalar = prop_oneof![
            6 => plain_text().prop_map(Doc::Plain),
            1 => prop::collection::vec("[a-z]{1,3}", 2..4).prop_map(Doc::Lines),
            2 => "[ -~äß日]{0,8}".prop_map(Doc::Single),
            2 => "[ -~äß日\n\t\r\u{7f}\u{85}\u{2028}\u{1b}\u{0}]{0,8}".prop_map(Doc::Double),
            2 => block.prop_map(|(header, first, rest)| Doc::Block { header, lines: [vec![first], rest].concat() }),
        ];
        scalar.prop_recursive(4, 24, 4, |inner| {
            let key = prop_oneof![
                2 => "[a-z_-]{1,4}".prop_map(|key| Doc::Plain(format!("k{key}"))),
                1 => prop::sample::select(vec!["yes", "2024-01-01", "012", "a b", "on", "a:b"])
                    .prop_map(|key| Doc::Plain(key.to_owned())),
                1 => "[ -~]{0,4}".prop_map(|key| Doc::Single(format!("s{key}"))),
                1 => "[ -~\n]{0,4}".prop_map(|key| Doc::Double(format!("d{key}"))),
            ];
            let entries = prop::collection::vec((key, inner.clone()), 0..4).prop_map(|mut entries| {
                let text = |doc: &Doc| match doc {
                    Doc::Plain(text) | Doc::Single(text) | Doc::Double(text) => text.clone(),
                    _ => String::new(),
                };
                entries.sort_by_key(|(key, _)| text(key));
                entries.dedup_by_key(|(key, _)| text(key));
                entries
            });
            prop_oneof![
                (any::<bool>(), prop::collection::vec(inner, 0..4)).prop_map(|(flow, items)| Doc::List { flow, items }),
                (any::<bool>(), entries).prop_map(|(flow, entries)| Doc::Map { flow, entries }),
            ]
        })
    }

    #[test]
    fn syntax_errors_are_explained_at_their_position() {
        let brackets = ["a: [1, 2\n", "a: {b: [}\n", "a: ]\n", "a: {x: ${y}}\n", "a: [, 1]\n"];
        assert_snapshot!(refusals(brackets), @r#"
        error: this `[` is never closed
         --> s.yaml:1:4
          |
        1 | a: ***
          |    ^^^
          |
          = hint: add the closing bracket, or quote the value
        error: this `[` is closed by a `}`
         --> s.yaml:1:8
          |
        1 | a: ***
          |    ^^^
          |
          = hint: make the brackets match, or quote the value
        error: this closing bracket has no opening bracket
         --> s.yaml:1:4
          |
        1 | a: ***
          |    ^^^
          |
          = hint: remove it, or quote the value that contains it
        error: a `,` or a closing bracket is missing before this
         --> s.yaml:1:9
          |
        1 | a: ***
          |    ^^^
          |
          = why: it is inside brackets that are not closed before it
          = hint: close the bracket, or quote the value: `{ role: "${name.arn}" }`
        error: a value is missing before this
         --> s.yaml:1:5
          |
        1 | a: ***
          |    ^^^
          |
          = hint: add the value, or remove the extra comma or bracket
        "#);
        let indentation = ["a:\n  b: 1\n c: 2\n", "a: 1\n  b: 2\n", "- a\nb: 1\n", "a:\r\n\tb: ü\r\n", "a: - b\n"];
        assert_snapshot!(refusals(indentation), @r"
        error: this line's indentation doesn't match any line above it
         --> s.yaml:3:2
          |
        3 |  c: ***
          |  ^
          |
          = hint: indent it exactly like the keys or `-` items that it belongs to
        error: a key is not allowed here
         --> s.yaml:2:3
          |
        2 |   b: ***
          |   ^
          |
          = why: this line continues the text that starts on line 1
          = hint: indent it like the keys around it, and check that line 1 has the
                  form `key: value`
        error: this line's indentation doesn't match any line above it
         --> s.yaml:2:1
          |
        2 | b: ***
          | ^
          |
          = hint: indent it exactly like the keys or `-` items that it belongs to
        error: a tab is used for indentation
         --> s.yaml:2:1
          |
        2 |     b: ***
          | ^^^^
          |
          = why: YAML allows only spaces for indentation
          = hint: replace the tab with spaces
        error: a `-` list item is not allowed here
         --> s.yaml:1:4
          |
        1 | a: ***
          |    ^^^
          |
          = hint: start the list on the line below its key, or write it as `[a, b]`
        ");
        let colons = ["a: b: c\n", "a:\n  key:value\n  b: 2\n", "a: 1\nb\n", "a\nb: 1\n"];
        assert_snapshot!(refusals(colons), @r"
        error: a second `:` on one line
         --> s.yaml:1:5
          |
        1 | a: ***
          |    ^^^
          |
          = why: YAML treats a colon followed by a space as the end of a key
          = hint: quote the value if `:` is part of it, or write it indented under a
                  `|`
        error: a space is missing after this `:`
         --> s.yaml:2:6
          |
        2 |   ***
          |   ^^^
          |
          = why: without it, YAML reads the whole line as text
          = hint: write `key: value`
        error: a `:` is missing after this key
         --> s.yaml:2:1
          |
        2 | ***
          | ^^^
          |
          = why: each key has the form `key: value`, with a space after the colon
          = hint: add it, or indent the line if it belongs to the value above
        error: a key is not allowed here
         --> s.yaml:2:1
          |
        2 | b: ***
          | ^
          |
          = why: this line continues the text that starts on line 1
          = hint: indent it like the keys around it, and check that line 1 has the
                  form `key: value`
        ");
        let quotes = ["a: 'it\nb: 2\n", "a: 'it's'\n", "a: \"\\d\"\n", "a: @b\n", "a: |b\n", "a: b #c\n  d\n"];
        assert_snapshot!(refusals(quotes), @r#"
        error: this quote is never closed
         --> s.yaml:1:4
          |
        1 | a: ***
          |    ^^^
          |
          = hint: add the closing quote
        error: unexpected text after the closing quote
         --> s.yaml:1:8
          |
        1 | a: ***
          |    ^^^
          |
          = hint: to include a quote, write `''` inside `'…'`, or `\"` inside `"…"`
        error: this text has an unknown escape sequence
         --> s.yaml:1:4
          |
        1 | a: ***
          |    ^^^
          |
          = hint: write `\\` for a backslash, or use single quotes, which have no
                  escapes
        error: a value can't start with this character
         --> s.yaml:1:4
          |
        1 | a: ***
          |    ^^^
          |
          = hint: quote the value
        error: no text is allowed after `|` or `>` on the same line
         --> s.yaml:1:4
          |
        1 | a: ***
          |    ^^^
          |
          = hint: start the text on the next line, or quote the value
        error: this comment is in the middle of a value
         --> s.yaml:1:6
          |
        1 | a: ***
          |    ^^^
          |
          = hint: check the next line's indentation, or quote the value if `#` is part
                  of it
        "#);
    }

    #[test]
    fn all_errors_in_one_file_are_reported_at_once() {
        let text = "a: &x 1\nb: *x\nc: !t 5\n<<: *y\n1: 2\n'a': x\n: 4\n? [k]\n: v\nd: .inf\n\
            e: [{a: 1, b: 2, a: 3}, 18446744073709551616, -.INF]\na: 0xFFFFFFFFFFFFFFFFFF\ng:\n  1\ng: 2\n";
        assert_snapshot!(refusals([text]), @r"
        error: anchors and aliases (`&`, `*`) are not supported
         --> s.yaml:1:4
          |
        1 | a: ***
          |    ^^^
          |
          = hint: repeat the value, or use a variable (`vars:`)
          = hint: quote the value if the `&` or `*` is part of it

        error: anchors and aliases (`&`, `*`) are not supported
         --> s.yaml:2:4
          |
        2 | b: ***
          |    ^^^
          |
          = hint: repeat the value, or use a variable (`vars:`)
          = hint: quote the value if the `&` or `*` is part of it

        error: tags (`!`) are not supported
         --> s.yaml:3:4
          |
        3 | c: ***
          |    ^^^
          |
          = hint: remove the tag, or quote the value if the `!` is part of it

        error: merge keys (`<<`) are not supported
         --> s.yaml:4:1
          |
        4 | ***
          | ^^^
          |
          = hint: repeat the keys, or use a variable (`vars:`) for a repeated value

        error: anchors and aliases (`&`, `*`) are not supported
         --> s.yaml:4:5
          |
        4 | ***
          | ^^^
          |
          = hint: repeat the value, or use a variable (`vars:`)
          = hint: quote the value if the `&` or `*` is part of it

        error: this key is not text
         --> s.yaml:5:1
          |
        5 | 1: ***
          | ^
          |
          = why: without quotes, YAML reads it as a number, boolean or null
          = hint: quote it

        error: `a` is set more than once
         --> s.yaml:6:1
          |
        6 | ***
          | ^^^
          |
          = why: it is already set on line 1
          = hint: keep one of the two

        error: a key is missing before this `:`
         --> s.yaml:7:1
          |
        7 | ***
          | ^^^
          |
          = hint: write `key: value`

        error: a list or mapping can't be a key
         --> s.yaml:8:3
          |
        8 | ***
          | ^^^
          |
          = hint: quote the key if it is text that starts with `{` or `[`

        error: infinity and NaN are not supported
          --> s.yaml:10:4
           |
        10 | d: ***
           |    ^^^
           |
           = hint: quote it if it is text

        error: `a` is set more than once
          --> s.yaml:11:18
           |
        11 | e: ***
           |    ^^^
           |
           = why: it is already set on line 11
           = hint: keep one of the two

        error: this number is too large
          --> s.yaml:11:25
           |
        11 | e: ***
           |    ^^^
           |
           = why: whole numbers range from -9223372036854775808 to 18446744073709551615
           = hint: quote it if it is text

        error: infinity and NaN are not supported
          --> s.yaml:11:47
           |
        11 | e: ***
           |    ^^^
           |
           = hint: quote it if it is text

        error: `a` is set more than once
          --> s.yaml:12:1
           |
        12 | a: ***
           | ^
           |
           = why: it is already set on line 1
           = hint: keep one of the two

        error: this number is too large
          --> s.yaml:12:4
           |
        12 | a: ***
           |    ^^^
           |
           = why: whole numbers range from -9223372036854775808 to 18446744073709551615
           = hint: quote it if it is text

        error: `g` is set more than once
          --> s.yaml:15:1
           |
        15 | g: ***
           | ^
           |
           = why: it is already set on line 13
           = hint: keep one of the two
        ");
    }

    #[test]
    fn a_file_that_is_not_a_single_text_document_is_rejected() {
        assert_snapshot!(refusals(["", "# only a comment\n", "---\n", "a: 1\n---\nb: 1\n", "%YAML 1.1\n---\na: 1\n"]), @r"
        error: the file is empty
        --> s.yaml
         = hint: add a spec to it, or pass another file
        error: the file is empty
         --> s.yaml:1:1
          |
        1 | ***
          | ^^^
          |
          = hint: add a spec to it, or pass another file
        error: the file is empty
         --> s.yaml:1:1
          |
        1 | ***
          | ^^^
          |
          = hint: add a spec to it, or pass another file
        error: a second YAML document starts here
         --> s.yaml:2:1
          |
        2 | ***
          | ^^^
          |
          = why: a file can contain only one document
          = hint: move it to a separate file, or remove the `---` or `...` above it
        error: directives (`%`) are not supported
         --> s.yaml:1:1
          |
        1 | ***
          | ^^^
          |
          = hint: remove the line
        ");
        let bytes: [&[u8]; 5] = [b"a: 1\nb: \xff", b"\xef\xbb\xbf\xff", b"\xff\xfea\0", b"a: \0", b"a: b\rc: d"];
        assert_snapshot!(bytes.map(|bytes| render(&errors_of(bytes))).concat(), @r"
        error: the file is not valid UTF-8 at byte 8
         --> s.yaml:2:4
          |
        2 | b: ***
          |    ^^^
          |
          = hint: save the file with UTF-8 encoding
        error: the file is not valid UTF-8 at byte 3
         --> s.yaml:1:1
          |
        1 | ***
          | ^^^
          |
          = hint: save the file with UTF-8 encoding
        error: the file is not valid UTF-8 at byte 0
         --> s.yaml:1:1
          |
        1 | ***
          | ^^^
          |
          = why: it looks like UTF-16
          = hint: save the file with UTF-8 encoding
        error: the character U+0000 is not allowed in YAML
         --> s.yaml:1:4
          |
        1 | a: ***
          |    ^^^
          |
          = hint: remove it, or write it inside double quotes as `\u0000`
        error: carriage return without a line feed
         --> s.yaml:1:5
          |
        1 | a: ***
          |    ^^^
          |
          = why: some programs treat it as a line break, and others don't
          = hint: save the file with Unix (LF) or Windows (CRLF) line endings
        ");
    }

    #[test]
    fn a_file_is_rejected_where_the_parsers_differ() {
        assert_snapshot!(refusals(["a: 1\nb: [?x]\nc: {?x: 1}\n"]), @r"
        error: this YAML is ambiguous
         --> s.yaml:2:5
          |
        2 | b: ***
          |    ^^^
          |
          = why: two YAML parsers read it differently
          = hint: quote the value, or write it on one line

        error: this YAML is ambiguous
         --> s.yaml:3:5
          |
        3 | c: ***
          |    ^^^
          |
          = why: two YAML parsers read it differently
          = hint: quote the value, or write it on one line
        ");
    }

    #[test]
    fn no_error_message_contains_a_secret_of_an_invalid_file() {
        let broken = [
            "environment:\n  A: hunter2\n  A: hunter2\n",
            "environment: { A: hunter2, A: hunter2 }\n",
            "a: {b: hunter2\n",
            "a: [hunter2, 'b' hunter2]\n",
            "a: 'hunter2\n",
            "a: \"x\n   hunter2\n",
            "a: @hunter2\n",
            "a: !hunter2 x\n",
            "a: !hunter2!x y\n",
            "a: &hunter2 x\nb: *hunter2\n",
            "a: *hunter2\n",
            "a: \"hunter2\" hunter2\n",
            "a: \"\\hunter2\"\n",
            "a: x: hunter2\n",
            "a: |hunter2\n",
            "a: |\n   hunter2\n  hunter2\nb\n",
            "a: 1\n  hunter2\n b: 1\n",
            "a:hunter2\nb: 1\n",
            "hunter2\nb: 1\n",
            "a: 1\nhunter2\n",
            "a: b # hunter2\n  c\n",
            "a: hunter2\u{1}\n",
            "a: [?hunter2]\n",
            "a: 1\n--- hunter2\n",
            "%hunter2\n",
            "? hunter2\n? [hunter2]\n",
            "a:\n\thunter2\n",
        ];
        for text in broken {
            let errors = errors_of(text.as_bytes());
            let rendered = render(&errors);
            let shown = format!("{rendered}{errors:?}{}", serde_json::to_string(&worded(&errors)).unwrap());
            assert!(!shown.contains(SECRET), "{shown}");
        }
    }

    #[test]
    fn hostile_files_are_rejected_cheaply() {
        let aliases: String = (1..30).map(|i| format!("a{i}: &a{i} [{}*a{}]\n", "*a0, ".repeat(8), i - 1)).collect();
        let keys: String = (0..1_000_000).map(|i| format!("k{i}: 1, ")).collect();
        let stairs: String = (0..1400).map(|i| format!("{}a:\n", " ".repeat(i))).collect();
        let too_large = "the file is larger than 1024 KiB";
        let too_deep = "lists and mappings are nested more than 64 levels deep here";
        let anchors = "anchors and aliases (`&`, `*`) are not supported";
        let cases = [
            (format!("a0: &a0 x\n{aliases}"), anchors, 100),
            ("[".repeat(10 << 20), too_large, 1),
            (format!("{{{keys}}}"), too_large, 1),
            ("[".repeat(MAX_BYTES), too_deep, 1),
            ("[{a: ".repeat(200_000), too_deep, 1),
            ("- ".repeat(200_000), too_deep, 1),
            ("? ".repeat(200_000), too_deep, 1),
            (stairs, too_deep, 1),
            ("- ".repeat(40) + &"[".repeat(40) + &"]".repeat(40), too_deep, 1),
            (format!("{{{}b}}", "a, ".repeat(20_000)), "`a` is set more than once", 100),
            ("- &a [*a]\n".repeat(5_000), anchors, 100),
        ];
        for (text, problem, n_errors) in cases {
            let problems = problems_of(text.as_bytes());
            assert_eq!((problems[0].as_str(), problems.len()), (problem, n_errors), "{:.20}", text);
        }
        let many_keys: String = (0..20_000).map(|i| format!("k{i}: 1, ")).collect();
        assert!(parse("s.yaml", format!("{{{many_keys}}}").as_bytes()).1.is_ok());
        assert!(parse("s.yaml", format!("{}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH)).as_bytes()).1.is_ok());
        let duplicates = errors_of("a: 1\n".repeat(1_000).as_bytes());
        let hint = duplicates.last().unwrap().hints.last().unwrap();
        assert_eq!(hint, &Advice::from("fix these first; 899 more errors not shown"));
    }

    #[test]
    fn a_node_knows_how_it_was_written() {
        let text = "account: 012345678901\nquoted: '1'\nblock: |  # c\n  x\n\n\nlist:\n- a\n\
            map:\n  x: { y: 1 }  # c\n\nempty:\n";
        let (file, root) = parse("s.yaml", text.as_bytes());
        let Yaml::Map(entries) = root.unwrap().value else { panic!("a mapping is expected") };
        let written =
            |e: &Entry| (file.slice(e.key_span).to_owned(), file.slice(e.value.span).to_owned(), e.value.plain);
        let written: Vec<_> = entries.iter().map(written).collect();
        let expected = [
            ("account", "012345678901", true),
            ("quoted", "'1'", false),
            ("block", "|  # c\n  x", false),
            ("list", "- a", false),
            ("map", "x: { y: 1 }", false),
            ("empty", "", true),
        ];
        assert_eq!(written, expected.map(|(key, value, plain)| (key.to_owned(), value.to_owned(), plain)));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_tree_matches_serde_yaml_and_every_span_is_exact(
            doc in any_doc(),
            ending in prop::sample::select(vec!["", "\n", "\n\n  \n", "\nlast: x\n"]),
            crlf: bool,
            bom: bool,
        ) {
            let mut text = "root: ".to_owned();
            write(&doc, 2, false, &mut text);
            text += ending;
            if crlf {
                text = text.replace('\n', "\r\n");
            }
            let bytes = if bom { format!("\u{feff}{text}") } else { text.clone() };
            let (file, result) = parse("s.yaml", bytes.as_bytes());
            let expected = serde_yaml::from_str::<serde_json::Value>(&text);
            let (node, expected) = match (result, expected) {
                (Ok(node), Ok(expected)) => (node, expected),
                (Err(_), Err(_)) => return Ok(()),
                (Ok(_), Err(error)) => return Err(TestCaseError::fail(format!("{text}\n{error}"))),
                (Err(errors), Ok(_)) => {
                    return Err(TestCaseError::fail(format!("{text}\n{}", render(&errors))));
                }
            };
            prop_assert_eq!(json(&node), expected, "{}", text);
            for (span, value) in scalars(&node) {
                let written = file.slice(span);
                if written.starts_with(['|', '>']) {
                    prop_assert!(!written.ends_with(char::is_whitespace), "{:?} in {}", written, text);
                    continue;
                }
                // A plain key such as `kx` or a value alone is a separate document.
                let alone: serde_json::Value = serde_yaml::from_str(written).unwrap();
                prop_assert_eq!(alone, value, "{:?} in {}", written, text);
                prop_assert_eq!(written.trim(), written);
            }
        }

        #[test]
        fn any_text_is_read_like_serde_yaml_or_rejected(
            text in "(a: )?([a-c01~]|: |- |\\? |[\\[\\]{},:#&*!|>'\"%@<-]|\n|\n  |\n- |\nb: |\t|\r\n|\\.\\.\\.\n|---|ü){0,24}",
        ) {
            match parse("s.yaml", text.as_bytes()) {
                (_, Ok(node)) => {
                    let expected: serde_json::Value = serde_yaml::from_str(&text).unwrap();
                    prop_assert_eq!(json(&node), expected);
                }
                (_, Err(errors)) => {
                    prop_assert!(!errors.is_empty());
                    prop_assert!(render(&errors).starts_with("error: "));
                }
            }
        }
    }
}
