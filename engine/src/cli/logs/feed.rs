//! The log of one function: its events, parsed, and why it has none.
//!
//! **Invariant:** texts of events are masked before they are parsed.

use std::path::{Component, Path as FilePath, PathBuf};

use crate::aws::Context;
use crate::diagnostic::Diagnostic;
use crate::inventory::SearchScope;
use crate::kinds::default_log_group;
use crate::logs::{self, Line, LogEvent, Tail};
use crate::remedy::Advice;
use crate::schema::Live;
use crate::spec::{ResourceDecl, Spec};
use crate::value::{Path, Value};

use super::LogsArgs;

/// The log of one function.
pub(super) struct Feed {
    /// The function's name in the spec.
    pub(super) function: String,
    pub(super) group: String,
    pub(super) tail: Tail,
    /// Whether it had events, or the reason that there are none has been shown.
    pub(super) is_explained: bool,
    /// The period, in milliseconds since 1970.
    period: (i64, Option<i64>),
    /// Where the function's code is in the project, if it is there: a folder, or one file.
    code: Option<PathBuf>,
}

/// An event of a function's log and its parsed content.
pub(super) struct ParsedEvent<'f> {
    pub(super) function: &'f str,
    pub(super) event: LogEvent,
    pub(super) line: Line,
}

impl Feed {
    /// The log of a function in the period from `start` to `end`, in milliseconds since 1970. Its
    /// live configuration decides, and it may differ from the spec.
    pub(super) fn new(spec: &Spec, declared: &ResourceDecl, live: &Live, (start, end): (i64, Option<i64>)) -> Feed {
        let group = live.props.get("log_group").or(declared.desired.get("log_group"));
        let group = group.and_then(Value::as_str).map(str::to_owned);
        let group = group.unwrap_or_else(|| default_log_group(&declared.id.name));
        let code = match declared.desired.get("code") {
            Some(Value::Map(code)) => code.get("path").and_then(Value::as_str),
            code => code.and_then(Value::as_str),
        };
        let folder = FilePath::new(spec.file.name()).parent().map(FilePath::to_owned).unwrap_or_default();
        let code = code.map(|code| normalized(&folder.join(code)));
        let tail = Tail::new(&group, start).until(end);
        Feed { function: declared.name.clone(), group, tail, is_explained: false, period: (start, end), code }
    }

    /// Begins again, for a local AWS that has none of the earlier events.
    pub(super) fn restart(&mut self) {
        self.tail = Tail::new(&self.group, self.period.0).until(self.period.1);
    }

    /// The project's file for a path below the folder of the function's code.
    fn locate(&self, path: &str) -> Option<String> {
        let code = self.code.as_ref()?;
        let is_it = |file: &PathBuf| file.is_file();
        let itself = || Some(code.clone()).filter(|code| code.file_name().is_some_and(|name| name == path));
        let file = Some(code.join(path)).filter(is_it).or_else(|| itself().filter(is_it))?;
        let here = std::env::current_dir().ok();
        let file = here.and_then(|here| file.strip_prefix(here).ok().map(FilePath::to_owned)).unwrap_or(file);
        Some(file.display().to_string())
    }

    /// Parses events, with secrets masked.
    pub(super) fn parse<'f>(
        &'f self,
        cx: &Context,
        mut events: Vec<LogEvent>,
        args: &LogsArgs,
    ) -> Vec<ParsedEvent<'f>> {
        for event in &mut events {
            event.text = cx.aws.secrets.mask(&event.text);
        }
        if !args.raw {
            // Stable, so that each stream keeps its order.
            events.sort_by(|a, b| a.stream.cmp(&b.stream));
            let streams = events.chunk_by(|a, b| a.stream == b.stream).map(<[LogEvent]>::to_vec);
            events = streams.flat_map(|stream| logs::join_split_entries(stream, |event| &mut event.text)).collect();
        }
        let mut parsed: Vec<ParsedEvent<'f>> = Vec::with_capacity(events.len());
        for event in events {
            let mut line = if args.raw { Line::raw(&event.text) } else { logs::read(&event.text) };
            if args.is_for_people() {
                line = line.with_own_frames(&|path| self.locate(path));
                // An execution environment has one invocation at a time, and one stream.
                let before = parsed.last().filter(|before| before.event.stream == event.stream);
                line.request = line.request.or_else(|| before?.line.request.clone());
            }
            parsed.push(ParsedEvent { function: &self.function, event, line });
        }
        parsed
    }

    /// Why there are no entries.
    pub(super) fn silence(&self, has_group: bool, args: &LogsArgs) -> String {
        let Feed { function, group, .. } = self;
        let period = args.period();
        match (has_group, args.follow) {
            (true, true) => format!("{function}: nothing was logged {period}"),
            (true, false) => format!("{function}: nothing was logged {period} (use `--since 1d` for the last day)"),
            (false, _) => format!(
                "{function}: nothing was ever logged: the log group {group} doesn't exist. Lambda creates it when it first \
                 invokes the function, if the function's role allows logs:CreateLogGroup. Change an item of the function's \
                 table, then run the command again"
            ),
        }
    }
}

/// A path without `.` and without what `..` takes back.
fn normalized(path: &FilePath) -> PathBuf {
    let mut normalized = PathBuf::new();
    for part in path.components() {
        match (part, normalized.components().next_back()) {
            (Component::CurDir, _) => {}
            (Component::ParentDir, Some(Component::Normal(_))) => {
                normalized.pop();
            }
            (part, _) => normalized.push(part),
        }
    }
    normalized
}

/// The error for a function that doesn't exist where it was scope.
pub(super) fn absent(spec: &Spec, declared: &ResourceDecl, scope: &SearchScope) -> Diagnostic {
    let ResourceDecl { name, id, .. } = declared;
    let problem = format!("`{name}` has no log: there is no function `{}` {}", id.name, scope.location());
    let diagnostic = Diagnostic::error(problem, scope.elsewhere());
    let diagnostic = match spec.location(name, &Path::default()) {
        Some(location) => diagnostic.at(location),
        None => diagnostic,
    };
    match declared.imported {
        true => diagnostic.hint("otherwise ask its owner, or import another function"),
        false => diagnostic.hint(Advice::from("otherwise run ").then(scope.apply()).then(" first")),
    }
}
