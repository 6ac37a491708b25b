//! Diagnostics: what is wrong, where, why, and how to fix it, and their rendering with the source
//! line. Only those whose texts the program has worded can be shown.
//!
//! **Invariant.** This module knows source text and positions, never YAML, resources or AWS. It
//! prints nothing, and it shows no value of a file unless that file was revealed, so that a
//! forgotten mask can't leak a secret.

mod origin;

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, OnceLock};

use annotate_snippets::{AnnotationKind, Group, Level, Message, Origin as PathElement, Renderer, Snippet};
use serde::{Serialize, Serializer};

pub use crate::printable::printable;
use crate::printable::printable_char;
use crate::remedy::Advice;
use origin::SourceMap;
pub use origin::{Origin, ValueSource};

/// What a hidden stretch of source is shown as. Its length is fixed, so that the length of a secret
/// doesn't show.
const MASK: &str = "***";

/// One problem. Texts are lower-case sentences without a full stop, with values in backticks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic<Text = Advice> {
    /// Whether the command can continue.
    pub severity: Severity,
    /// What is wrong.
    pub problem: Text,
    /// Its place in a file, if it has one.
    pub at: Option<Location>,
    /// The reason, if the problem alone doesn't explain it.
    pub why: Option<Text>,
    /// What the user can do next.
    pub hints: Vec<Text>,
    /// Its cause in the catalogue, if it has one; boxed, because most have none.
    pub cause: Option<Box<Cause>>,
}

/// The cause of a problem in the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The code, for `engine explain`.
    pub code: &'static str,
    /// AWS's error and message.
    pub aws_text: Option<String>,
}

/// The severity of a [`Diagnostic`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The command stops.
    Error,
    /// The command continues.
    Warning,
}

impl Diagnostic {
    /// A problem that stops the command, and what to do about it.
    pub fn error(problem: impl Into<Advice>, hint: impl Into<Advice>) -> Self {
        Self::new(Severity::Error, problem, hint)
    }

    /// A problem that doesn't stop the command, and what to do about it.
    pub fn warning(problem: impl Into<Advice>, hint: impl Into<Advice>) -> Self {
        Self::new(Severity::Warning, problem, hint)
    }

    /// A problem of this severity, and what to do about it.
    pub fn new(severity: Severity, problem: impl Into<Advice>, hint: impl Into<Advice>) -> Self {
        Self { severity, problem: problem.into(), at: None, why: None, hints: vec![hint.into()], cause: None }
    }

    /// Sets the reason.
    #[must_use]
    pub fn why(mut self, why: impl Into<Advice>) -> Self {
        self.why = Some(why.into());
        self
    }

    /// Adds another hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Advice>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The same with its texts as `words` words them.
    pub fn worded(&self, words: impl Fn(&Advice) -> String) -> Diagnostic<String> {
        Diagnostic {
            severity: self.severity,
            problem: words(&self.problem),
            at: self.at.clone(),
            why: self.why.as_ref().map(&words),
            hints: self.hints.iter().map(&words).collect(),
            cause: self.cause.clone(),
        }
    }
}

impl<Text> Diagnostic<Text> {
    /// Sets the place.
    #[must_use]
    pub fn at(mut self, location: Location) -> Self {
        self.at = Some(location);
        self
    }

    /// Sets the cause, with AWS's message.
    #[must_use]
    pub fn cause(mut self, code: &'static str, said: Option<String>) -> Self {
        self.cause = Some(Box::new(Cause { code, aws_text: said }));
        self
    }

    /// The code of its cause.
    pub fn code(&self) -> Option<&'static str> {
        self.cause.as_ref().map(|cause| cause.code)
    }

    /// AWS's message.
    pub fn aws_text(&self) -> Option<&str> {
        self.cause.as_ref()?.aws_text.as_deref()
    }
}

/// The flat form for JSON: `line` and `column` are 1-based, both absent together with `file`.
impl Serialize for Diagnostic<String> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Flat<'a> {
            severity: Severity,
            problem: &'a str,
            file: Option<&'a str>,
            line: Option<usize>,
            column: Option<usize>,
            why: Option<&'a str>,
            origins: Vec<String>,
            hints: &'a [String],
            code: Option<&'a str>,
            said: Option<&'a str>,
        }
        let position = self.at.as_ref().map(Location::line_column);
        Flat {
            severity: self.severity,
            problem: &self.problem,
            file: self.at.as_ref().map(|location| location.file.name()),
            line: position.map(|(line, _)| line),
            column: position.map(|(_, column)| column),
            why: self.why.as_deref(),
            origins: self.at.iter().flat_map(Location::origins).collect(),
            hints: &self.hints,
            code: self.code(),
            said: self.aws_text(),
        }
        .serialize(serializer)
    }
}

/// A half-open range of bytes in a [`SourceFile`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// Offset of the first byte.
    pub start: usize,
    /// Offset after the last byte; equal to `start` for an empty value.
    pub end: usize,
}

impl Span {
    /// The bytes from `start` up to, not including, `end`.
    pub const fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }
}

/// A range of a file that a [`Diagnostic`] points at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The file.
    pub file: Arc<SourceFile>,
    /// The range.
    pub span: Span,
    /// Where the value comes from, if it isn't written there.
    pub origin: Option<Box<Origin>>,
}

impl Location {
    /// Where the value comes from, one sentence for each place on its way; empty if it is written
    /// at this place.
    pub fn origins(&self) -> impl Iterator<Item = String> {
        fn next<'o>(origin: &&'o Origin) -> Option<&'o Origin> {
            origin.location.as_ref().ok()?.origin.as_deref()
        }
        std::iter::successors(self.origin.as_deref(), next).map(ToString::to_string)
    }

    /// Line and column of the first byte, both 1-based, the column in characters.
    pub fn line_column(&self) -> (usize, usize) {
        self.file.line_column(self.span.start)
    }

    /// Adds where its value comes from, after what is already known.
    fn add_origin(&mut self, origin: Origin) {
        match &mut self.origin {
            None => self.origin = Some(Box::new(origin)),
            Some(known) => {
                if let Ok(location) = &mut known.location {
                    location.add_origin(origin);
                }
            }
        }
    }

    fn key(&self) -> (&str, Span) {
        (self.file.name(), self.span)
    }
}

/// A text file that the user wrote, and which parts of it may be shown.
///
/// All of it is hidden until [`SourceFile::reveal_except`] is called, which the reader of a file
/// does once it knows where the sensitive values are. So a file that cannot be parsed stays hidden.
pub struct SourceFile {
    name: String,
    text: String,
    sensitive: OnceLock<Vec<Span>>,
    /// The spans beyond the text.
    beyond: SourceMap,
}

impl SourceFile {
    /// A file under the name that the user knows it by. `text` has no byte order mark.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Arc<Self> {
        let (name, text) = (name.into(), text.into());
        Arc::new(Self { name, text, sensitive: OnceLock::new(), beyond: SourceMap::default() })
    }

    /// The name shown to the user.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole text, unmasked.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What is written at `span`, unmasked; empty where the span doesn't fit the text.
    pub fn slice(&self, span: Span) -> &str {
        self.text.get(span.start..span.end).unwrap_or_default()
    }

    /// Allows lines of this file to be shown, except for the spans in `sensitive` and comments
    /// after them on the same line. Applies to earlier diagnostics too. Only the first call counts.
    pub fn reveal_except(&self, mut sensitive: Vec<Span>) {
        sensitive.sort_unstable();
        // `set` fails only if an earlier call was made, and that one counts.
        let _ = self.sensitive.set(sensitive);
    }

    /// Line and column of a byte, both 1-based, the column in characters.
    pub fn line_column(&self, offset: usize) -> (usize, usize) {
        let before = &self.text[..self.text.floor_char_boundary(offset)];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        (line, before[line_start..].chars().count() + 1)
    }

    /// The line around a byte, without its line break.
    fn line_at(&self, offset: usize) -> Span {
        let offset = self.text.floor_char_boundary(offset);
        let (before, after) = self.text.split_at(offset);
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let end = after.find('\n').map_or(self.text.len(), |newline| offset + newline);
        let line = self.text[start..end].trim_end_matches('\r');
        Span::new(start, start + line.len())
    }

    /// What must not be shown of a line: ascending, without overlaps.
    fn hidden_in(&self, line: Span) -> Vec<Span> {
        let Some(sensitive) = self.sensitive.get() else {
            return Vec::from_iter(hidden_in_unknown_line(self.slice(line), line.start));
        };
        let mut hidden: Vec<Span> = Vec::new();
        for span in sensitive {
            let part = Span::new(span.start.max(line.start), span.end.min(line.end));
            // The indentation of a multi-line value is not part of it.
            let indent = self.slice(part).len() - self.slice(part).trim_start().len();
            let start = if part.start == line.start { part.start + indent } else { part.start };
            match hidden.last_mut() {
                _ if start >= part.end => {}
                Some(last) if start <= last.end => last.end = last.end.max(part.end),
                _ => hidden.push(Span::new(start, part.end)),
            }
        }
        if let Some(last) = hidden.last_mut()
            && self.slice(Span::new(last.end, line.end)).contains('#')
        {
            last.end = line.end;
        }
        hidden
    }
}

/// Equal if both are the same file under the same name; what is hidden doesn't matter.
impl PartialEq for SourceFile {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.text == other.text
    }
}

impl Eq for SourceFile {}

/// The name only, since the text may hold secrets.
impl fmt::Debug for SourceFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceFile").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What to hide of a line whose meaning is not known: all but its indentation, list dashes and one
/// plain `key:`.
fn hidden_in_unknown_line(line: &str, offset: usize) -> Option<Span> {
    let mut content = line.trim_start();
    while let Some(item) = content.strip_prefix("- ") {
        content = item.trim_start();
    }
    let key_length = content.find(|c: char| !(c.is_ascii_alphanumeric() || "_-.".contains(c))).unwrap_or(0);
    let value = match content.get(key_length..).and_then(|rest| rest.strip_prefix(':')) {
        Some(rest) if key_length > 0 && (rest.is_empty() || rest.starts_with([' ', '\t'])) => rest,
        _ => content,
    };
    let value = value.trim_start();
    let start = offset + line.len() - value.len();
    (!value.is_empty()).then(|| Span::new(start, offset + line.len()))
}

/// The order in which diagnostics are shown: without a place first, then by file and position, each
/// only once.
pub fn in_order(diagnostics: &[Diagnostic<String>]) -> Vec<&Diagnostic<String>> {
    let mut ordered: Vec<&Diagnostic<String>> = diagnostics.iter().collect();
    ordered.sort_by(|a, b| match (&a.at, &b.at) {
        (Some(a), Some(b)) => a.key().cmp(&b.key()),
        (None, None) => Ordering::Equal,
        (a, b) => a.is_some().cmp(&b.is_some()),
    });
    let mut seen = HashSet::new();
    ordered.retain(|d| {
        seen.insert((d.at.as_ref().map(Location::key), d.severity, &d.problem, &d.why, &d.hints, d.code()))
    });
    ordered
}

/// The style of rendered text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Text only.
    Plain,
    /// With ANSI escape sequences for color.
    Ansi,
    /// For a screen reader: each part on its own labeled line; nothing is drawn or wrapped.
    Words,
}

/// All diagnostics as text, [`in_order`], separated by blank lines. Source lines are truncated to
/// `width` columns around the marked range; notes are wrapped, problems are not. Control characters
/// are removed.
pub fn render(diagnostics: &[Diagnostic<String>], style: Style, width: usize) -> String {
    let rendered = in_order(diagnostics).into_iter().map(|diagnostic| match style {
        Style::Plain => render_one(&Renderer::plain().term_width(width), diagnostic, width) + "\n",
        Style::Ansi => render_one(&Renderer::styled().term_width(width), diagnostic, width) + "\n",
        Style::Words => render_labeled(diagnostic),
    });
    rendered.collect::<Vec<_>>().join("\n")
}

/// The codes of diagnostics in the order in which they are shown, each only once.
pub fn codes(diagnostics: &[Diagnostic<String>]) -> Vec<&'static str> {
    let mut codes: Vec<&str> = in_order(diagnostics).into_iter().filter_map(Diagnostic::code).collect();
    let mut seen = HashSet::new();
    codes.retain(|code| seen.insert(*code));
    codes
}

/// The maximum length of a source line for screen readers.
const READ_OUT: usize = 200;

fn render_labeled(diagnostic: &Diagnostic<String>) -> String {
    let level = match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let code = diagnostic.code().map_or_else(String::new, |code| format!("[{code}]"));
    let mut text = format!("{level}{code}: {}\n", printable(&diagnostic.problem));
    if let Some(location) = &diagnostic.at {
        let name = printable(location.file.name()).replace(['\n', '\t'], " ");
        let (line, column) = location.line_column();
        let shown = quoted_line(location, READ_OUT).text;
        let where_ = match location.file.text().is_empty() {
            true => format!("where: {name}\n"),
            false => format!("where: {name}, line {line}, column {column}: {}\n", shown.trim()),
        };
        text += &where_;
    }
    let origins: Vec<String> = diagnostic.at.iter().flat_map(Location::origins).collect();
    let notes = origins.iter().map(|origin| ("from", origin.as_str()));
    let notes = notes.chain(diagnostic.why.iter().map(|why| ("why", why.as_str())));
    let notes = notes.chain(diagnostic.hints.iter().map(|hint| ("hint", hint.as_str())));
    for (name, note) in notes.chain(diagnostic.aws_text().map(|said| ("aws", said))) {
        text += &format!("{name}: {}\n", printable(note));
    }
    text
}

fn render_one(renderer: &Renderer, diagnostic: &Diagnostic<String>, width: usize) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.clone().primary_title(printable(&diagnostic.problem));
    let title = match diagnostic.code() {
        Some(code) => title.id(code),
        None => title,
    };
    let origins = diagnostic.at.iter().flat_map(Location::origins).map(|origin| message("from", &origin, width));
    let why = diagnostic.why.iter().map(|why| message("why", why, width));
    let quote = diagnostic.aws_text().into_iter().map(|text| message("aws", text, width));
    let hints = diagnostic.hints.iter().map(|hint| message("hint", hint, width));
    let notes = origins.chain(why).chain(hints).chain(quote);
    let Some(location) = &diagnostic.at else {
        return renderer.render(&[Group::with_title(title).elements(notes)]);
    };
    let name = printable(location.file.name()).replace(['\n', '\t'], " ");
    if location.file.text().is_empty() {
        return renderer.render(&[title.element(PathElement::path(name)).elements(notes)]);
    }

    // The renderer computes the column from the given line, which may be truncated and masked. So
    // the head, with the real column, and the body are rendered separately.
    let (line, column) = location.line_column();
    let head = renderer.render(&[title.element(PathElement::path(name).line(line).char_column(column))]);
    let (title, origin) = head.rsplit_once('\n').unwrap_or((&head, ""));
    let gutter = line.to_string().len();
    let shown = quoted_line(location, width.saturating_sub(gutter + 3));
    let marker = AnnotationKind::Primary.span(shown.marked.start..shown.marked.end);
    let snippet = Snippet::source(shown.text).line_start(line).annotation(marker);
    let body = renderer.render(&[Group::with_level(level).element(snippet).elements(notes)]);
    format!("{title}\n{:gutter$}{origin}\n{body}", "")
}

/// A wrapped note: the renderer indents its lines after the first.
fn message(name: &'static str, text: &str, width: usize) -> Message<'static> {
    // The prefix of a note: the gutter, `= ` and its name.
    let room = width.saturating_sub(name.len() + 8).max(30);
    Level::NOTE.with_name(name).message(wrap(&printable(text), room).join("\n"))
}

/// Wraps text at `width` columns. Indented lines are meant to be copied and are not wrapped;
/// neither is a command in backticks, if it fits on a line.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let text = &tied(text, width);
    let options = textwrap::Options::new(width).break_words(false).word_splitter(textwrap::WordSplitter::NoHyphenation);
    let lines = text.split('\n').flat_map(|line| match line.starts_with(' ') {
        true => vec![line.to_owned()],
        false => textwrap::wrap(line, &options).into_iter().map(std::borrow::Cow::into_owned).collect(),
    });
    lines.map(|line| line.replace(TIE, " ")).collect()
}

/// A placeholder for a space where the line must not break.
const TIE: char = '\u{a0}';

/// The first words of commands in hints.
const COMMANDS: [&str; 2] = ["engine ", "aws "];

/// Keeps the words of each command on one line.
fn tied(text: &str, width: usize) -> String {
    // With its backticks and punctuation.
    let fits = |part: &str| part.chars().count() + 3 <= width;
    let is_command = |part: &str| COMMANDS.iter().any(|program| part.starts_with(program)) && fits(part);
    let parts = text.split('`').enumerate().map(|(at, part)| match at % 2 == 1 && is_command(part) {
        true => part.replace(' ', TIE.encode_utf8(&mut [0; 4])),
        false => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("`")
}

/// A source line as it may be shown.
struct QuotedLine {
    text: String,
    marked: Span,
}

/// The first line of `location`: masked, free of control characters, and cut to `columns` characters
/// around the mark.
fn quoted_line(location: &Location, columns: usize) -> QuotedLine {
    let file = &location.file;
    let columns = columns.max(20);
    let line = file.line_at(location.span.start);
    let hidden = file.hidden_in(line);
    let start = location.span.start.clamp(line.start, line.end);
    // An empty span marks the character at its position.
    let end = location.span.end.clamp(start + 1, line.end.max(start + 1));
    let marked = Span::new(start, end);
    let around = hidden.iter().find(|hidden| hidden.start < start && start < hidden.end);
    let anchor = around.map_or(start, |hidden| hidden.start);

    let mut stretches = Vec::new();
    let mut at = line.start;
    for hidden in hidden {
        stretches.extend(visible(Span::new(at, hidden.start), anchor));
        stretches.push(Stretch { span: hidden, hidden: true });
        at = hidden.end;
    }
    stretches.extend(visible(Span::new(at, line.end), anchor));

    // A line can be as long as the file, so only text that fits the window is read. The window is
    // measured in shown characters: in bytes, it would reveal the length of a secret.
    let (before, after) = stretches.split_at(stretches.partition_point(|s| s.span.start < anchor));
    let before = before.iter().rev().flat_map(|stretch| cells(file, *stretch, marked).rev());
    let after = after.iter().flat_map(|stretch| cells(file, *stretch, marked));
    let mut all: Vec<(char, bool)> = before.take(columns + 1).collect();
    all.reverse();
    let n_before = all.len();
    all.extend(after.take(columns + 1));

    let skipped = n_before.saturating_sub(columns / 3).min(all.len().saturating_sub(columns));
    let cut_after = skipped + columns < all.len();
    let mut window = all.get(skipped..).unwrap_or_default().to_vec();
    window.truncate(columns);
    if let Some(first) = window.first_mut().filter(|_| skipped > 0) {
        first.0 = '…';
    }
    if let Some(last) = window.last_mut().filter(|_| cut_after) {
        last.0 = '…';
    }
    let text_of = |cells: &[(char, bool)]| cells.iter().map(|(c, _)| c).collect::<String>();
    let (before, rest) = window.split_at(window.len().min(n_before - skipped));
    let n_marked = rest.iter().take_while(|(_, marked)| *marked).count();
    let start = text_of(before).len();
    let end = start + text_of(&rest[..n_marked]).len();
    QuotedLine { text: text_of(&window), marked: Span::new(start, end) }
}

/// A part of a line that is shown as it is, or as [`MASK`].
#[derive(Clone, Copy)]
struct Stretch {
    span: Span,
    hidden: bool,
}

/// A visible stretch, split in two at `anchor`.
fn visible(span: Span, anchor: usize) -> [Stretch; 2] {
    let middle = anchor.clamp(span.start, span.end);
    [Span::new(span.start, middle), Span::new(middle, span.end)].map(|span| Stretch { span, hidden: false })
}

/// The characters that a stretch is shown as, each with whether `marked` covers it.
fn cells(file: &SourceFile, stretch: Stretch, marked: Span) -> impl DoubleEndedIterator<Item = (char, bool)> {
    let Stretch { span, hidden } = stretch;
    let text = if hidden { MASK } else { file.slice(span) };
    text.char_indices().map(move |(i, c)| {
        let (start, end) =
            if hidden { (span.start, span.end) } else { (span.start + i, span.start + i + c.len_utf8()) };
        (printable_char(c), start < marked.end && marked.start < end)
    })
}

/// Adds the number of omitted errors to the last error of the file, so that the shown ones aren't
/// taken for all.
pub fn note_omitted(shown: &mut [Diagnostic], n_omitted: usize) {
    let errors = shown.iter_mut().filter(|it| it.severity == Severity::Error);
    if n_omitted > 0
        && let Some(last) = errors.max_by_key(|it| it.at.as_ref().map(|location| location.span))
    {
        last.hints.push(format!("fix these first; {n_omitted} more errors not shown").into());
    }
}

/// The candidate that is most similar to `word`, if any is close enough to be a typo.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A text this long isn't a mistyped name, and comparing it would take long.
    if word.len() > 100 {
        return None;
    }
    let snake = snake_case(word);
    let length = snake.chars().count();
    // Short words tolerate fewer typos, because they would match almost anything.
    let cut_off = match length {
        0..2 => 0,
        2..5 => 1,
        _ => length.div_ceil(3),
    };
    let rank = |candidate: &'a str| {
        let normal = snake_case(candidate);
        let distance = strsim::damerau_levenshtein(&snake, &normal);
        // A prefix counts as a match if nothing is closer.
        let is_begun = length >= 4 && normal.starts_with(&snake);
        (distance <= cut_off || is_begun).then_some(((distance > cut_off, distance), candidate))
    };
    candidates.into_iter().filter_map(rank).min_by_key(|(rank, _)| *rank).map(|(_, candidate)| candidate)
}

/// Words in backticks, at most `most` of them, and the number of others.
pub fn listed<'n>(words: impl IntoIterator<Item = &'n str>, most: usize) -> String {
    let mut words = words.into_iter();
    let mut shown: Vec<String> = words.by_ref().take(most).map(|word| format!("`{word}`")).collect();
    let unsaid = words.count();
    if unsaid > 0 {
        shown.push(format!("and {unsaid} more"));
    }
    shown.join(", ")
}

/// Quotes a text as one word of a POSIX shell, for commands that users paste.
pub fn shell_word(text: &str) -> String {
    let is_plain = !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "-_./@+".contains(c));
    if is_plain { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// `hashKey` and `HashKey`, copied from other tools, as `hash_key`.
fn snake_case(text: &str) -> String {
    let mut snake = String::new();
    let mut before = '_';
    for c in text.chars() {
        if c.is_ascii_uppercase() && before.is_ascii_lowercase() {
            snake.push('_');
        }
        snake.push(if c == '-' { '_' } else { c.to_ascii_lowercase() });
        before = c;
    }
    snake
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use insta::assert_snapshot;
    use proptest::prelude::*;

    use super::*;

    /// The first occurrence of `needle` in a file that may be shown, except for text between `‹`
    /// and `›`.
    fn location(name: &str, marked_up: &str, needle: &str) -> Location {
        let mut text = String::new();
        let mut sensitive = Vec::new();
        for (i, part) in marked_up.split(['‹', '›']).enumerate() {
            if i % 2 == 1 {
                sensitive.push(Span::new(text.len(), text.len() + part.len()));
            }
            text += part;
        }
        let start = text.find(needle).unwrap();
        let file = SourceFile::new(name, text);
        file.reveal_except(sensitive);
        file.location(Span::new(start, start + needle.len()))
    }

    fn worded(diagnostics: &[Diagnostic]) -> Vec<Diagnostic<String>> {
        diagnostics.iter().map(|it| it.worded(Advice::own_text)).collect()
    }

    fn plain(diagnostics: &[Diagnostic]) -> String {
        render(&worded(diagnostics), Style::Plain, 80)
    }

    const TODOS: &str = "resources:\n  todos:\n    type: table\n    attributes: { id: S }\n\r\n    hash_key: pk\n";

    #[test]
    fn a_diagnostic_shows_the_problem_its_location_the_reason_and_a_hint() {
        let changed = Diagnostic::error(
            "`hash_key` of `todos` cannot change from `id` to `pk`",
            "declare a second table under another name and move the items",
        )
        .at(location("specs/todos.yaml", TODOS, "pk"))
        .why("DynamoDB fixes the key at creation; a new table would start empty");
        assert_snapshot!(plain(&[changed]), @r"
        error: `hash_key` of `todos` cannot change from `id` to `pk`
         --> specs/todos.yaml:6:15
          |
        6 |     hash_key: pk
          |               ^^
          |
          = why: DynamoDB fixes the key at creation; a new table would start empty
          = hint: declare a second table under another name and move the items
        ");
    }

    #[test]
    fn diagnostics_come_in_the_order_of_the_file_and_only_once() {
        let a = |needle| location("a.yaml", TODOS, needle);
        let key = Diagnostic::error("second", "fix it").at(a("hash_key"));
        let diagnostics = [
            Diagnostic::error("fourth", "fix it").at(location("b\n\u{1b}.yaml", TODOS, "resources")),
            Diagnostic::warning("third", "one").at(a("pk")).hint("two\nlines"),
            key.clone(),
            Diagnostic::error("first", "fix it").at(a("table")),
            Diagnostic::warning("zeroth, about no place", "fix it").why("it is general"),
            key,
        ];
        assert_snapshot!(plain(&diagnostics), @"
        warning: zeroth, about no place
         |
         = why: it is general
         = hint: fix it

        error: first
         --> a.yaml:3:11
          |
        3 |     type: table
          |           ^^^^^
          |
          = hint: fix it

        error: second
         --> a.yaml:6:5
          |
        6 |     hash_key: pk
          |     ^^^^^^^^
          |
          = hint: fix it

        warning: third
         --> a.yaml:6:15
          |
        6 |     hash_key: pk
          |               ^^
          |
          = hint: one
          = hint: two
                  lines

        error: fourth
         --> b �.yaml:1:1
          |
        1 | resources:
          | ^^^^^^^^^
          |
          = hint: fix it
        ");
    }

    #[test]
    fn json_is_flat_and_counts_columns_in_characters() {
        let diagnostic = Diagnostic::warning("odd", "change it").at(location("a.yaml", "a: 1\nä日: x\n", "x"));
        let nowhere = Diagnostic::error("bad", "fix it").why("because");
        assert_snapshot!(serde_json::to_string_pretty(&worded(&[diagnostic, nowhere])).unwrap(), @r#"
        [
          {
            "severity": "warning",
            "problem": "odd",
            "file": "a.yaml",
            "line": 2,
            "column": 5,
            "why": null,
            "origins": [],
            "hints": [
              "change it"
            ],
            "code": null,
            "said": null
          },
          {
            "severity": "error",
            "problem": "bad",
            "file": null,
            "line": null,
            "column": null,
            "why": "because",
            "origins": [],
            "hints": [
              "fix it"
            ],
            "code": null,
            "said": null
          }
        ]
        "#);
    }

    #[test]
    fn sensitive_values_and_trailing_comments_are_masked_but_keys_are_shown() {
        let environment = "environment: { A: ‹hunter2›, B: ‹\"hunter2 # no\"›, C: x } # was hunter2\n\
            inline: ‹|\n  exports.hunter2 = 1\n  hunter2()›\nnext: x # shown\n";
        let at =
            |needle| Diagnostic::error(format!("at {}", needle), "fix it").at(location("s.yaml", environment, needle));
        let mut second_line = at("exports");
        second_line.problem = "inside".into();
        let mut value = at("hunter2,");
        value.problem = "value".into();
        assert_snapshot!(plain(&[at("B"), at("C"), value, at("inline"), second_line, at("x #")]), @"
        error: value
         --> s.yaml:1:19
          |
        1 | environment: { A: ***, B: ***
          |                   ^^^^
          |
          = hint: fix it

        error: at B
         --> s.yaml:1:28
          |
        1 | environment: { A: ***, B: ***
          |                        ^
          |
          = hint: fix it

        error: at C
         --> s.yaml:1:47
          |
        1 | environment: { A: ***, B: ***
          |                           ^^^
          |
          = hint: fix it

        error: at inline
         --> s.yaml:2:1
          |
        2 | inline: ***
          | ^^^^^^
          |
          = hint: fix it

        error: inside
         --> s.yaml:3:3
          |
        3 |   ***
          |   ^^^
          |
          = hint: fix it

        error: at x #
         --> s.yaml:5:7
          |
        5 | next: x # shown
          |       ^^^
          |
          = hint: fix it
        ");
    }

    #[test]
    fn a_file_is_hidden_until_it_is_revealed() {
        let file = SourceFile::new("s.yaml", "- - key: 'hunter2'\n  hunter2 hunter2\n-hunter2\nkey:\n  hunter2:80 ");
        let at =
            |start| Diagnostic::error(format!("byte {start}"), "fix it").at(file.location(Span::new(start, start + 3)));
        let diagnostics = [at(4), at(9), at(15), at(25), at(40), at(46), at(60), at(1000)];
        assert_snapshot!(plain(&diagnostics), @"
        error: byte 4
         --> s.yaml:1:5
          |
        1 | - - key: ***
          |     ^^^
          |
          = hint: fix it

        error: byte 9
         --> s.yaml:1:10
          |
        1 | - - key: ***
          |          ^^^
          |
          = hint: fix it

        error: byte 15
         --> s.yaml:1:16
          |
        1 | - - key: ***
          |          ^^^
          |
          = hint: fix it

        error: byte 25
         --> s.yaml:2:7
          |
        2 |   ***
          |   ^^^
          |
          = hint: fix it

        error: byte 40
         --> s.yaml:3:4
          |
        3 | ***
          | ^^^
          |
          = hint: fix it

        error: byte 46
         --> s.yaml:4:1
          |
        4 | key:
          | ^^^
          |
          = hint: fix it

        error: byte 60
         --> s.yaml:5:10
          |
        5 |   ***
          |   ^^^
          |
          = hint: fix it

        error: byte 1000
         --> s.yaml:5:14
          |
        5 |   ***
          |      ^
          |
          = hint: fix it
        ");
        file.reveal_except(Vec::new());
        assert!(plain(&diagnostics).contains("hunter2"));
    }

    #[test]
    fn a_long_line_is_truncated_around_the_mark() {
        let long = "x".repeat(5_000_000);
        let text = format!("{long} key: value {long}\n{long}: ‹{long}›, after: 1\n");
        let of = |needle| Diagnostic::error("long", "fix it").at(location("s.yaml", &text, needle));
        assert_snapshot!(plain(&[of("key"), of("value x"), of("after"), of("xx"), of("\n")]), @"
        error: long
         --> s.yaml:1:1
          |
        1 | xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
          | ^^
          |
          = hint: fix it

        error: long
         --> s.yaml:1:5000002
          |
        1 | …xxxxxxxxxxxxxxxxxxxxxxx key: value xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
          |                          ^^^
          |
          = hint: fix it

        error: long
         --> s.yaml:1:5000007
          |
        1 | …xxxxxxxxxxxxxxxxxx key: value xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
          |                          ^^^^^^^
          |
          = hint: fix it

        error: long
         --> s.yaml:1:10000013
          |
        1 | …xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
          |                                                                             ^
          |
          = hint: fix it

        error: long
         --> s.yaml:2:10000005
          |
        2 | …xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx: ***, after: 1
          |                                                                     ^^^^^
          |
          = hint: fix it
        ");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_terminal_control_character_gets_through(
            text in "([a-z :\n\t]|\\PC|\r\n|[\u{0}-\u{1f}\u{7f}-\u{9f}\u{200e}-\u{202e}\u{2066}-\u{2069}\u{feff}]){0,60}",
            start in 0usize..80,
            length in 0usize..40,
            hidden in prop::option::of((0usize..60, 0usize..30)),
            width in 0usize..120,
        ) {
            let file = SourceFile::new(&text, &text);
            if let Some((start, length)) = hidden {
                file.reveal_except(vec![Span::new(start, start + length)]);
            }
            let all = Diagnostic::error(&text, &text).at(file.location(Span::new(start, start + length))).why(&text);
            let all = worded(&[all]);
            let rendered = render(&all, Style::Plain, width);
            let steering = |c: char| match c {
                '\n' | '\t' => false,
                '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => true,
                c => c.is_control(),
            };
            prop_assert!(!rendered.contains(steering), "{:?}", rendered);
            let coloured = render(&all, Style::Ansi, width);
            prop_assert!(coloured.contains("\u{1b}[0m"), "{:?}", coloured);
        }

        #[test]
        fn the_output_reveals_nothing_about_a_secret(
            one in "[!-~]{1,60}", other in "[!-~]( [!-~]{1,900})?", known: bool, at in 0usize..20,
        ) {
            let shown = [one, other].map(|secret| {
                let file = SourceFile::new("s.yaml", format!("  password: {secret}, more: {}\n", "x".repeat(60)));
                if known {
                    file.reveal_except(vec![Span::new(12, 12 + secret.len())]);
                }
                let end = if at < 12 { at + 1 } else { 12 + secret.len() };
                let location = file.location(Span::new(at.min(12), end));
                plain(&[Diagnostic::error("wrong", "fix it").at(location)])
            });
            prop_assert_eq!(&shown[0], &shown[1]);
        }
    }
}
