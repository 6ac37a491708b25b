//! Reads lists of teams.
//!
//! **Invariant:** no line of a list is shown in an error.

use std::path::Path;

use crate::cli::exit::CommandError;
use crate::diagnostic::Diagnostic;
use crate::files;
use crate::spec::grammar;

/// The maximum size of a list, in bytes.
const MAX_BYTES: usize = 1 << 20;

/// The teams in a file, one per line; `#` starts a comment.
pub(in crate::cli) fn read_teams(file: &Path) -> Result<Vec<String>, CommandError> {
    let shown = file.display();
    let unusable = |reason: &str| {
        let problem = format!("the list of teams `{shown}` {reason}");
        CommandError::one(Diagnostic::error(problem, "use a text file with one team per line"))
    };
    let bytes = files::read(file, MAX_BYTES).map_err(|unread| unusable(&unread.reason()))?;
    let text = String::from_utf8(bytes).map_err(|_| unusable("is not UTF-8"))?;
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()).zip(1_usize..);
    let lines = lines.filter(|(line, _)| !line.is_empty());
    let (teams, wrong): (Vec<_>, Vec<_>) = lines.partition(|(line, _)| grammar::objection_to_team(line).is_none());
    if let Some((_, first)) = wrong.first() {
        // The line isn't shown: if this is the wrong file, it may be a secret.
        let more = match wrong.len() - 1 {
            0 => String::new(),
            1 => " (and 1 more line)".to_owned(),
            more => format!(" (and {more} more lines)"),
        };
        let problem = format!("line {first}{more} of the list of teams `{shown}` is not a team name");
        let hint = format!("use a text file with one team per line; a team name has {}", grammar::team_name_rule());
        return Err(CommandError::one(Diagnostic::error(problem, hint)));
    }
    let teams: Vec<String> = teams.into_iter().map(|(line, _)| line.to_owned()).collect();
    if teams.is_empty() {
        let problem = format!("the list of teams `{shown}` is empty");
        return Err(CommandError::one(Diagnostic::error(problem, "write one team per line")));
    }
    Ok(teams)
}
