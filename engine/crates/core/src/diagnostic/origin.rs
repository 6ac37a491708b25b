//! Where a value comes from that isn't written where it is used: in another file, or in a variable.
//!
//! A span identifies a place in one file. So that values of several files can be in one tree, the
//! spans of further files continue behind those of the first one, and behind them are the spans of
//! substituted values, each with the place of its use and the place that it comes from.
//!
//! **Invariant:** a span never changes its meaning: the map only grows.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::{Location, SourceFile, Span};

/// The distance between the first spans of two files, which is more than the size of one.
const FILE_STRIDE: usize = 1 << 21;
/// The first span of a substituted value.
const SUBSTITUTED: usize = 1 << 30;

/// The place that a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// What is there, and that it is there: "`var.days` is set".
    pub text: String,
    /// The place, or where else it is: "on the command line".
    pub location: Result<Location, &'static str>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.location {
            Err(elsewhere) => write!(f, "{} {elsewhere}", self.text),
            Ok(location) => {
                let (line, column) = location.line_column();
                write!(f, "{} at {}:{line}:{column}", self.text, location.file.name())
            }
        }
    }
}

/// A value that is used at one place and comes from another one.
#[derive(Clone, Debug)]
pub struct ValueSource {
    /// Where it is used.
    pub used: Span,
    /// What it is, as in [`Origin::text`]; empty if that is obvious.
    pub text: Arc<str>,
    /// Where it comes from.
    pub from: Span,
    /// Whether its text must not be shown.
    pub is_hidden: bool,
    /// The value is written at the place of its use, and only applies to something at another
    /// place.
    pub is_applied: bool,
}

impl ValueSource {
    /// Where the value is written.
    fn origin(&self) -> Span {
        if self.is_applied { self.used } else { self.from }
    }
}

#[derive(Default)]
struct Entries {
    /// Further files, and where each is if it is no file.
    files: Vec<(Arc<SourceFile>, Option<&'static str>)>,
    sources: Vec<ValueSource>,
}

/// The meaning of all spans beyond a file's text.
#[derive(Default)]
pub(super) struct SourceMap(RwLock<Entries>);

/// What a span means.
enum Meaning {
    /// A place in the file itself.
    Own,
    /// A place in another file, or in a text that is elsewhere.
    Other(Arc<SourceFile>, Option<&'static str>, Span),
    /// A substituted value.
    Substituted(ValueSource),
}

impl SourceMap {
    fn read(&self) -> RwLockReadGuard<'_, Entries> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Entries> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn meaning(&self, span: Span) -> Meaning {
        if span.start < FILE_STRIDE {
            return Meaning::Own;
        }
        let entries = self.read();
        if span.start >= SUBSTITUTED {
            let source = entries.sources.get(span.start - SUBSTITUTED);
            return source.map_or(Meaning::Own, |source| Meaning::Substituted(source.clone()));
        }
        let base = span.start / FILE_STRIDE * FILE_STRIDE;
        let within = Span::new(span.start - base, span.end.saturating_sub(base));
        let file = entries.files.get(base / FILE_STRIDE - 1);
        file.map_or(Meaning::Own, |(file, elsewhere)| Meaning::Other(Arc::clone(file), *elsewhere, within))
    }
}

impl SourceFile {
    /// Adds another file whose values are used in this one, and returns the start of its spans.
    /// `elsewhere`: its text is no file, but "on the command line".
    ///
    /// Returns `None` for more than 500 files.
    pub fn append(&self, other: Arc<SourceFile>, elsewhere: Option<&'static str>) -> Option<usize> {
        let mut entries = self.beyond.write();
        let base = (entries.files.len() + 1) * FILE_STRIDE;
        if base >= SUBSTITUTED {
            return None;
        }
        entries.files.push((other, elsewhere));
        Some(base)
    }

    /// The texts of this file and of those that were added, in order.
    pub fn texts(&self) -> Vec<String> {
        let entries = self.beyond.read();
        let files = entries.files.iter().filter(|(_, elsewhere)| elsewhere.is_none());
        std::iter::once(self.text.clone()).chain(files.map(|(file, _)| file.text.clone())).collect()
    }

    /// The span of a value that is used at one place and comes from another one.
    pub fn substituted(&self, source: ValueSource) -> Span {
        let mut entries = self.beyond.write();
        let start = SUBSTITUTED + entries.sources.len();
        entries.sources.push(source);
        Span::new(start, start + 1)
    }

    /// Whether a span is that of a substituted value.
    pub fn is_substituted(&self, span: Span) -> bool {
        match self.beyond.meaning(span) {
            Meaning::Substituted(source) => !source.is_applied || self.is_substituted(source.used),
            _ => false,
        }
    }

    /// Whether a span is that of a substituted value whose text must not be shown.
    pub fn is_hidden(&self, span: Span) -> bool {
        matches!(self.beyond.meaning(span), Meaning::Substituted(source) if source.is_hidden)
    }

    /// The place of `span`; for a substituted value, where it is used.
    pub fn location(self: &Arc<Self>, span: Span) -> Location {
        let own = |span| Location { file: Arc::clone(self), span, origin: None };
        match self.beyond.meaning(span) {
            Meaning::Own => own(span),
            Meaning::Other(file, _, span) => Location { file, span, origin: None },
            Meaning::Substituted(ValueSource { used, text, from, .. }) => {
                let mut location = self.location(used);
                if text.is_empty() {
                    return location;
                }
                location.add_origin(Origin { text: text.to_string(), location: self.origin(from) });
                location
            }
        }
    }

    /// Where something comes from.
    fn origin(self: &Arc<Self>, span: Span) -> Result<Location, &'static str> {
        match self.beyond.meaning(span) {
            Meaning::Other(_, Some(elsewhere), _) => Err(elsewhere),
            _ => Ok(self.location(span)),
        }
    }

    /// Whether a value comes from a text that is no file.
    pub fn is_outside(&self, span: Span) -> bool {
        match self.beyond.meaning(span) {
            Meaning::Own => false,
            Meaning::Other(_, elsewhere, _) => elsewhere.is_some(),
            Meaning::Substituted(source) => self.is_outside(source.origin()),
        }
    }

    /// What is written where a value is used, unmasked.
    pub fn text_at_use(&self, span: Span) -> String {
        match self.beyond.meaning(span) {
            Meaning::Own => self.slice(span).to_owned(),
            Meaning::Other(file, _, span) => file.slice(span).to_owned(),
            Meaning::Substituted(source) => self.text_at_use(source.used),
        }
    }

    /// What is written where a value comes from, unmasked.
    pub fn text_at_origin(&self, span: Span) -> String {
        match self.beyond.meaning(span) {
            Meaning::Own => self.slice(span).to_owned(),
            Meaning::Other(file, _, span) => file.slice(span).to_owned(),
            Meaning::Substituted(source) => self.text_at_origin(source.origin()),
        }
    }
}
