//! Whether the Node.js of this machine can parse JavaScript.
//!
//! **Invariant:** runs none of the code: `node --check` only parses, with an empty environment, in
//! a private folder that contains nothing but the scripts, and for a limited time.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::files::{self, Readers};

use super::process::wait_until;
use super::tools::{Tool, Tools};
use super::{Project, Script, SyntaxVerdict};

/// How many processes run at a time. A check takes 30 to 60 ms, nearly all of it the start of
/// Node.js.
const AT_ONCE: usize = 4;

/// A check that takes longer has no verdict.
const LIMIT: Duration = Duration::from_secs(5);

/// The largest part of the output that is read, in bytes. It repeats the line with the error, which
/// may be a whole bundle.
const MAX_OUTPUT: u64 = 4 << 20;

/// Asks the first `node` in `PATH` about each script, several at a time.
pub fn check_syntax(scripts: &[Script]) -> Vec<SyntaxVerdict> {
    if scripts.is_empty() {
        return Vec::new();
    }
    let Ok(tools) = Project::new(".").tools() else { return vec![SyntaxVerdict::Unknown; scripts.len()] };
    let Some(node) = node(&tools) else { return vec![SyntaxVerdict::Unknown; scripts.len()] };
    let next = AtomicUsize::new(0);
    let work = || {
        let mut found = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(script) = scripts.get(at) else { return found };
            found.push((at, check(tools.folder(), node, at, script).unwrap_or(SyntaxVerdict::Unknown)));
        }
    };
    let mut verdicts: Vec<(usize, SyntaxVerdict)> = std::thread::scope(|scope| {
        let started: Vec<_> = (0..scripts.len().min(AT_ONCE)).map(|_| scope.spawn(work)).collect();
        started.into_iter().flat_map(|it| it.join().unwrap_or_default()).collect()
    });
    verdicts.sort_by_key(|(at, _)| *at);
    verdicts.into_iter().map(|(_, verdict)| verdict).collect()
}

/// The Node.js of this machine. Its version is asked for once: that takes as long as a check.
fn node(tools: &Tools) -> Option<&'static Tool> {
    static NODE: OnceLock<Tool> = OnceLock::new();
    match NODE.get() {
        Some(node) => Some(node),
        None => tools.node().ok().map(|node| NODE.get_or_init(|| node)),
    }
}

fn check(folder: &Path, node: &Tool, at: usize, script: &Script) -> Option<SyntaxVerdict> {
    // These extensions decide, whatever `package.json` there is in a folder above.
    let name = format!("{at}.{}", if script.is_module { "mjs" } else { "cjs" });
    let file: PathBuf = folder.join(&name);
    files::replace(&file, &script.text, Readers::Owner).ok()?;
    let mut command = Command::new(&node.executable);
    command.arg("--check").arg(&file).current_dir(folder).env_clear();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().ok()?;
    let stderr = child.stderr.take()?;
    let reader = std::thread::spawn(move || {
        let mut output = Vec::new();
        let read = stderr.take(MAX_OUTPUT).read_to_end(&mut output);
        read.map(|_| output)
    });
    if !wait_until(LIMIT, || !matches!(child.try_wait(), Ok(None))) {
        let _ = child.kill();
    }
    let status = child.wait().ok()?;
    let output = reader.join().ok()?.ok()?;
    match status.code()? {
        0 => Some(SyntaxVerdict::Valid),
        _ => parse(&String::from_utf8_lossy(&output), &name, node.version[0]),
    }
}

/// Reads the error of a script: a line with the file and the line number, that line of the script,
/// carets below the error, and the reason. Other errors, such as an unknown option, have no
/// verdict.
fn parse(output: &str, name: &str, major: u32) -> Option<SyntaxVerdict> {
    let lines: Vec<&str> = output.lines().collect();
    let number = |line: &str| line.rsplit_once(':').filter(|(file, _)| file.ends_with(name))?.1.parse().ok();
    let (at, line) = lines.iter().enumerate().find_map(|(at, line)| Some((at, number(line)?)))?;
    let reason = lines.iter().skip(at).find_map(|line| line.strip_prefix("SyntaxError: "))?;
    // Below an empty line of the script there are none.
    let column = lines.get(at + 2).and_then(|carets| carets.chars().position(|it| it == '^'));
    Some(SyntaxVerdict::Invalid { line, column: column.map(|it| it + 1), reason: reason.trim().to_owned(), major })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts of Node.js 20.20.
    #[test]
    fn line_column_and_reason_are_read_from_the_output() {
        let invalid = |line, column, reason: &str| {
            Some(SyntaxVerdict::Invalid { line, column, reason: reason.to_owned(), major: 20 })
        };
        let trace = "    at wrapSafe (node:internal/modules/cjs/loader:1464:18)\n\nNode.js v20.20.2\n";
        for (output, verdict) in [
            (
                "/tmp/x/0.cjs:2\n  const = 5;\n        ^\n\nSyntaxError: Unexpected token '='\n",
                invalid(2, Some(9), "Unexpected token '='"),
            ),
            (
                "/tmp/x/0.cjs:2\n\n\n\nSyntaxError: Unexpected end of input\n",
                invalid(2, None, "Unexpected end of input"),
            ),
            (
                "(node:7) Warning: To load an ES module, set \"type\"\n(Use `node --trace-warnings ...`)\n\
                 file:///tmp/x/0.cjs:1\n\tawait 1\n\t^^^^^\n\nSyntaxError: await is only valid in async functions\n",
                invalid(1, Some(2), "await is only valid in async functions"),
            ),
            ("node: bad option: --check\n", None),
            ("/tmp/x/1.cjs:2\n  const = 5;\n        ^\n\nSyntaxError: Unexpected token '='\n", None),
            ("/tmp/x/0.cjs:2\nthrow x\n^\nTypeError: no\n", None),
        ] {
            assert_eq!(parse(&format!("{output}{trace}"), "0.cjs", 20), verdict, "{output}");
        }
    }

    #[test]
    fn node_decides_by_the_kind_of_module() {
        let script = |text: &str, is_module| Script { text: text.into(), is_module };
        let scripts = [
            script("export const handler = async () => {};", true),
            script("exports.handler = async () => {};", false),
            script("export const handler = async () => {};", false),
            script("exports.handler = (1;", false),
            script("#!/usr/bin/env node\nexports.handler = 1;\n", false),
            script("await 1; export {};", true),
            script("let a; let a;", true),
        ];
        let verdicts = check_syntax(&scripts);
        let is_valid: Vec<bool> = verdicts.iter().map(|it| *it == SyntaxVerdict::Valid).collect();
        assert_eq!(is_valid, [true, true, false, false, true, true, false], "{verdicts:?}");
        assert!(!verdicts.contains(&SyntaxVerdict::Unknown), "{verdicts:?}");
    }
}
