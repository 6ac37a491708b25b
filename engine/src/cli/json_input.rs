//! JSON that a user passes to a command: as an argument, in a file, or on stdin.
//!
//! **Invariant:** it is checked before the first call to AWS, and an error shows the position.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use serde_json::value::RawValue;

use crate::diagnostic::{Diagnostic, SourceFile, Span};
use crate::files;

use super::exit::CommandError;

/// The maximum length of a line that an error shows, in bytes.
const MAX_QUOTED_LINE: usize = 2_000;

/// JSON and where it is from.
pub(super) struct JsonInput {
    file: Arc<SourceFile>,
    json: Box<RawValue>,
}

impl JsonInput {
    /// Reads an argument, or stdin if that is `-`.
    ///
    /// # Errors
    /// It isn't JSON, or has more than `most` bytes.
    pub(super) fn argument(text: &str, most: usize) -> Result<JsonInput, CommandError> {
        match text {
            "-" => JsonInput::stdin(most),
            text => JsonInput::parse("the JSON on the command line", text.as_bytes().to_vec(), most),
        }
    }

    /// Reads a file, or stdin if the path is `-`.
    ///
    /// # Errors
    /// It can't be read, isn't JSON, or has more than `most` bytes.
    pub(super) fn file(path: &Path, most: usize) -> Result<JsonInput, CommandError> {
        if path.as_os_str() == "-" {
            return JsonInput::stdin(most);
        }
        let name = path.display().to_string();
        let unread = |unread: files::Unread| {
            let hint = "name a file with JSON, or use `-` to read stdin";
            CommandError::one(Diagnostic::error(format!("`{name}` {}", unread.reason()), hint))
        };
        JsonInput::parse(&name, files::read(path, most + 1).map_err(unread)?, most)
    }

    fn stdin(most: usize) -> Result<JsonInput, CommandError> {
        let mut bytes = Vec::new();
        let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes).map_err(|error| {
            let diagnostic = Diagnostic::error("can't read the JSON from stdin", "pass it as an argument");
            CommandError::one(diagnostic.why(error.to_string()))
        })?;
        JsonInput::parse("stdin", bytes, most)
    }

    fn parse(name: &str, bytes: Vec<u8>, most: usize) -> Result<JsonInput, CommandError> {
        let wrong = |problem: String, hint: &str| Err(CommandError::one(Diagnostic::error(problem, hint)));
        if bytes.len() > most {
            return wrong(format!("{name} has more than {most} bytes"), "AWS takes no more: make it smaller");
        }
        let Ok(text) = String::from_utf8(bytes) else {
            return wrong(format!("{name} is not UTF-8 text"), "save it as UTF-8");
        };
        let file = SourceFile::new(name, text.strip_prefix('\u{feff}').unwrap_or(&text));
        // An error shows the line, which the user wrote for this command.
        if file.text().lines().all(|line| line.len() <= MAX_QUOTED_LINE) {
            file.reveal_except(Vec::new());
        }
        match serde_json::from_str(file.text()) {
            Ok(json) => Ok(JsonInput { file, json }),
            Err(error) => Err(CommandError::one(not_json(&file, &error))),
        }
    }

    /// The JSON as it was written, without the space around it.
    pub(super) fn json(&self) -> &RawValue {
        &self.json
    }

    /// An error about all of it.
    pub(super) fn wrong(&self, problem: impl Into<String>, hint: &str) -> CommandError {
        let whole = self.file.location(Span::new(0, self.file.text().len().min(1)));
        CommandError::one(Diagnostic::error(problem.into(), hint).at(whole))
    }
}

fn not_json(file: &Arc<SourceFile>, error: &serde_json::Error) -> Diagnostic {
    let text = file.text();
    let start = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum::<usize>();
    // serde_json counts bytes from 1; 0 is the line break before.
    let at = text.floor_char_boundary((start + error.column().saturating_sub(1)).min(text.len()));
    let shown = error.to_string();
    let reason = shown.rsplit_once(" at line ").map_or(shown.as_str(), |(reason, _)| reason);
    // serde_json's word for `true`, `false` and `null`.
    let reason = reason.replace("expected ident", "expected `true`, `false` or `null`");
    let hint = match text.trim().is_empty() {
        true => "write JSON, like `{}`",
        false => "JSON needs double quotes around names and text, and no comma after the last member",
    };
    Diagnostic::error(format!("{} is not JSON", file.name()), hint).at(file.location(Span::new(at, at))).why(reason)
}
