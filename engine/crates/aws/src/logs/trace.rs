//! Stack traces: which frames are the user's, and in which file of the project.
//!
//! **Invariant:** a line that isn't certainly a frame of the runtime stays.

use std::path::{Component, Path};

/// Where the code of a function is unpacked: in Lambda, and in the local AWS, below a folder of
/// each worker.
const ON_LAMBDA: &str = "/var/task/";
const IN_WORKER: (&str, &str) = ("/ministack-lambda-", "/code/");
/// What the runtime brings itself: its client, its language, and what V8 and CPython call their own
/// code.
const RUNTIME: [&str; 6] = ["/var/runtime/", "/var/lang/", "node:", "<anonymous>", "<frozen ", "java.base/"];
/// Opens a trace of Python; frames follow, then the error.
pub(super) const TRACEBACK: &str = "Traceback (most recent call last):";

/// The lines of a text without the frames of the runtime. A frame in the function's code names the
/// file that `locate` returns for its path below the code's folder, or else that path.
pub(super) fn own<'t>(lines: impl Iterator<Item = &'t str>, locate: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    let mut is_dropped = false;
    let mut own = Vec::new();
    for line in lines {
        // Python shows the source of a frame in the lines below it.
        let is_source = line.starts_with("    ") && !is_frame(line);
        is_dropped = if is_source { is_dropped } else { is_frame(line) && is_of_runtime(line) };
        if !is_dropped {
            own.push(if is_frame(line) { located(line, locate) } else { line.to_owned() });
        }
    }
    own
}

/// Whether a line is a frame: ` at handler (/var/task/index.js:3:9)` of Node.js,
/// ` File "/var/task/index.py", line 3, in handler` of Python, `/var/task/index.rb:3:in 'handler'`
/// of Ruby.
fn is_frame(line: &str) -> bool {
    is_of_node(line) || line.trim_start().starts_with("File \"") || line.starts_with("/var/") && line.contains(":in ")
}

/// Whether a line is a frame of Node.js.
pub(super) fn is_of_node(line: &str) -> bool {
    line.starts_with("    at ")
}

fn is_of_runtime(line: &str) -> bool {
    // What follows a brace belongs to the error, so it stays.
    if line.ends_with('{') {
        return false;
    }
    let location = location(line);
    let is_runtime = RUNTIME.iter().any(|start| location.starts_with(start));
    // `at async Promise.all (index 0)` names no file.
    let is_nowhere = is_of_node(line) && location.starts_with("index ");
    // CPython's own library, on any machine; what a project installs is in `site-packages`.
    let is_library = location.contains("/lib/python3") && !location.contains("/site-packages/");
    let is_worker = location.contains(IN_WORKER.0) && location.contains("/_worker.");
    is_runtime || is_nowhere || is_library || is_worker
}

/// The place that a frame names, from its file on.
fn location(line: &str) -> &str {
    let line = line.trim_end_matches(" {").trim();
    let location = match line.strip_prefix("File \"") {
        Some(rest) => rest.split('"').next().unwrap_or_default(),
        None => match line.strip_suffix(')').and_then(|line| line.rsplit_once(" (")) {
            Some((_, location)) => location,
            None => line.trim_start_matches("at ").trim_start_matches("async "),
        },
    };
    location.trim_start_matches("file://")
}

fn located(line: &str, locate: &dyn Fn(&str) -> Option<String>) -> String {
    let location = location(line);
    let in_worker = || location.split_once(IN_WORKER.0)?.1.split_once(IN_WORKER.1).map(|(_, rest)| rest);
    let Some(inner) = location.strip_prefix(ON_LAMBDA).or_else(in_worker) else { return line.to_owned() };
    let end = inner.find(':').unwrap_or(inner.len());
    let (path, position) = inner.split_at(end);
    // A path in a log may point outside the code's folder.
    let is_inner = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    let file = Some(path).filter(|_| is_inner).and_then(locate).unwrap_or_else(|| path.to_owned());
    line.replace("file://", "").replacen(location, &format!("{file}{position}"), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_keeps_the_users_frames_and_names_their_files() {
        let worker = "/tmp/x/ministack-lambda-blue-owls-logger-ab_1";
        let code = format!("    at handler ({worker}/code/lib/a.js:1:2)");
        let bootstrap = format!("    at Interface.<anonymous> ({worker}/_worker.cjs:9:9)");
        let cases: [(&[&str], &[&str]); 14] = [
            (&["    at handler (/var/task/index.js:3:9)"], &["    at handler (src/index.js:3:9)"]),
            (&["    at file:///var/task/index.mjs:3:9"], &["    at src/index.mjs:3:9"]),
            (&["    at async file:///var/task/lib/a b.mjs:3:9"], &["    at async src/lib/a b.mjs:3:9"]),
            (
                &["    at async Runtime.handler (file:///var/task/index.mjs:3:9)"],
                &["    at async Runtime.handler (src/index.mjs:3:9)"],
            ),
            (&["    at Runtime.handleOnce (file:///var/runtime/index.mjs:1173:29)"], &[]),
            (&["    at process.processTicksAndRejections (node:internal/process/task_queues:105:5)"], &[]),
            (&["    at Array.map (<anonymous>)", "    at async Promise.all (index 0)"], &[]),
            (
                &["    at get (/opt/nodejs/node_modules/x/i.js:1:1)"],
                &["    at get (/opt/nodejs/node_modules/x/i.js:1:1)"],
            ),
            (&[code.as_str(), bootstrap.as_str()], &["    at handler (src/lib/a.js:1:2)"]),
            (
                &[
                    "  File \"<frozen importlib._bootstrap>\", line 1, in _call",
                    "  File \"/var/lang/lib/python3.13/json/decoder.py\", line 3, in decode",
                    "    raise err",
                    "    ^^^^^^^^^",
                    "  File \"/var/task/index.py\", line 3, in handler",
                    "    return event[\"x\"]",
                ],
                &["  File \"src/index.py\", line 3, in handler", "    return event[\"x\"]"],
            ),
            (
                &["  File \"/usr/lib/python3.12/json/x.py\", line 1, in f", "    f()", "KeyError: 'x'"],
                &["KeyError: 'x'"],
            ),
            (
                &["/var/task/index.rb:3:in 'handler'", "/var/runtime/lib/lambda_handler.rb:28:in 'call'"],
                &["src/index.rb:3:in 'handler'"],
            ),
            (&["    at x (/var/task/../../etc/passwd:1:1)"], &["    at x (../../etc/passwd:1:1)"]),
            (
                &["not a frame (/var/task/index.js:3:9)", "    node: indented"],
                &["not a frame (/var/task/index.js:3:9)", "    node: indented"],
            ),
        ];
        let locate = |path: &str| Some(format!("src/{path}"));
        for (lines, wanted) in cases {
            assert_eq!(own(lines.iter().copied(), &locate), wanted, "{lines:?}");
        }
        // A file that the project doesn't have is named as in the package.
        let unknown = own(["    at x (/var/task/dist/a.js:1:1)"].into_iter(), &|_| None);
        assert_eq!(unknown, ["    at x (dist/a.js:1:1)"]);
    }
}
