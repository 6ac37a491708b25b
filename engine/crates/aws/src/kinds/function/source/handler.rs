//! Checks the handler of a package in Python, Ruby and custom runtimes: whether Lambda will find
//! the file, in Python whether the file contains the function's name, and whether Linux can run
//! `bootstrap`.
//!
//! The lookup rules are those of Lambda's loaders: `bootstrap.py` in
//! github.com/aws/aws-lambda-python-runtime-interface-client, and `lambda_handler.rb` in
//! github.com/aws/aws-lambda-ruby-runtime-interface-client.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnostic::{listed, nearest};
use crate::schema::Problem;
use crate::value::Path;

use super::EntryPoint;

/// The program that Lambda starts with an OS-only runtime
/// (docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html).
pub(in crate::kinds::function) const BOOTSTRAP: &str = "bootstrap";
/// The first bytes of a Linux program.
pub(super) const ELF: &[u8] = b"\x7fELF";
/// The position of the processor architecture in an ELF file, and its values (`e_machine` in
/// elf.h).
const ELF_MACHINE: std::ops::Range<usize> = 18..20;
const MACHINES: [(u16, &str); 2] = [(62, "x86_64"), (183, "arm64")];

/// Maximum number of files in a reason.
const MAX_LISTED: usize = 5;
/// Ways for a Python file to define names that don't appear in it.
const NAMES_FROM_ELSEWHERE: [&str; 9] =
    ["sys.modules", "exec", "eval", "globals", "locals", "vars", "setattr", "__getattr__", "__dict__"];

/// Checks the handler's file in `files` (name to content); always empty for other runtimes.
pub(super) fn problems(files: &BTreeMap<String, Vec<u8>>, entry: EntryPoint<'_>) -> Vec<Problem> {
    let EntryPoint { handler, runtime, .. } = entry;
    if runtime.starts_with("provided") {
        return bootstrap(files, entry).into_iter().collect();
    }
    // A handler with a leading slash refers to a file of a layer.
    if handler.starts_with('/') {
        return Vec::new();
    }
    let problem = if runtime.starts_with("python") {
        python(files, handler)
    } else if runtime.starts_with("ruby") {
        ruby(files, handler)
    } else if runtime.starts_with("java") {
        java(files, handler)
    } else {
        None
    };
    problem.into_iter().collect()
}

/// The module of a Python handler as a path, and the function. Both dots and slashes separate
/// packages.
pub(super) fn split_python(handler: &str) -> Option<(String, &str)> {
    let (module, function) = handler.rsplit_once('.')?;
    let module = module.replace('.', "/");
    let is_whole = !function.is_empty() && !module.split('/').any(str::is_empty);
    is_whole.then_some((module, function))
}

fn python(files: &BTreeMap<String, Vec<u8>>, handler: &str) -> Option<Problem> {
    let Some((module, function)) = split_python(handler) else {
        return Some(malformed(
            handler,
            "module.function",
            "Lambda splits the handler at its last dot",
            "use `index.handler` for the function `handler` in `index.py`",
        ));
    };
    let [file, package] = [format!("{module}.py"), format!("{module}/__init__.py")];
    // A package takes precedence over a file with the same name.
    let Some((name, text)) = files.get_key_value(&package).or_else(|| files.get_key_value(&file)) else {
        // Names of compiled modules contain a version, and a folder without `__init__.py` is also a
        // package.
        let is_there = files
            .keys()
            .any(|name| name.strip_prefix(&module).is_some_and(|rest| rest.starts_with('/') || rest.starts_with('.')));
        let searched = format!("Lambda looks for `{file}` and `{package}`");
        return (!is_there).then(|| missing(files, handler, &module, function, ".py", &searched));
    };
    missing_function(name, std::str::from_utf8(text).ok()?, function)
}

/// Reports a function whose name is not in the file, and that the file can't get from elsewhere.
fn missing_function(file: &str, text: &str, function: &str) -> Option<Problem> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    // Whitespace or a line continuation can be between `import` and `*`.
    let has_star = text
        .split("import")
        .skip(1)
        .any(|rest| rest.trim_start_matches(|c: char| c.is_whitespace() || "(\\".contains(c)).starts_with('*'));
    if has_star
        || text.split(|c| !is_word(c)).any(|word| word == function)
        || NAMES_FROM_ELSEWHERE.iter().any(|it| text.contains(it))
    {
        return None;
    }
    let defined = || {
        let lines = text.lines().filter_map(|line| line.strip_prefix("async ").unwrap_or(line).strip_prefix("def "));
        lines.filter_map(|line| line.split(|c| !is_word(c)).next()).filter(|name| !name.is_empty())
    };
    let why = match defined().next() {
        Some(_) => format!("its functions are {}", list(defined())),
        None => "it defines no functions".to_owned(),
    };
    let hint = match nearest(function, defined()) {
        Some(near) => format!("use the function `{near}` in `handler`, or rename it to `{function}`"),
        None => format!("add `def {function}(event, context):` to it, or use another function in `handler`"),
    };
    Some(Problem::error(Path::default(), format!("`{file}` has no function `{function}`"), hint).why(why))
}

fn ruby(files: &BTreeMap<String, Vec<u8>>, handler: &str) -> Option<Problem> {
    let parts: Vec<&str> = handler.split('.').collect();
    let ([module, rest @ ..], 2 | 3, false) = (parts.as_slice(), parts.len(), parts.contains(&"")) else {
        return Some(malformed(
            handler,
            "file.method",
            "a Ruby handler has two parts, or three with a class between them",
            "use `index.handler` for the method `handler` in `index.rb`",
        ));
    };
    // Vendored files are in Ruby's load path.
    let is_there = ["rb", "so"].iter().any(|extension| files.contains_key(&format!("{module}.{extension}")))
        || files.contains_key(*module)
        || files.keys().any(|name| name.starts_with("vendor/"));
    let searched = format!("Lambda looks for `{module}.rb`");
    (!is_there).then(|| missing(files, handler, module, &rest.join("."), ".rb", &searched))
}

/// Checks that the handler's class is in the package: at its top level, or in a jar in `lib/`, which
/// isn't opened (docs.aws.amazon.com/lambda/latest/dg/java-package.html).
fn java(files: &BTreeMap<String, Vec<u8>>, handler: &str) -> Option<Problem> {
    let (class, method) = handler.split_once("::").map_or((handler, ""), |(class, method)| (class, method));
    let file = format!("{}.class", class.replace('.', "/"));
    let is_library = |name: &String| name.starts_with("lib/") && name.ends_with(".jar");
    if files.contains_key(&file) || files.keys().any(is_library) {
        return None;
    }
    if let Some(jar) = files.keys().find(|name| !name.contains('/') && name.ends_with(".jar")) {
        let problem = format!("`{jar}` is a file in the package, where Lambda doesn't find its classes");
        let hint = format!("set `code` to `{jar}` itself, or move it to a folder `lib` in the `code` folder");
        let why = "Lambda loads classes from the top level of the package and from jars in `lib`";
        return Some(Problem::error(Path::default(), problem, hint).why(why));
    }
    let classes: Vec<String> =
        files.keys().filter_map(|name| name.strip_suffix(".class")).map(|name| name.replace('/', ".")).collect();
    let simple = |name: &str| name.rsplit('.').next().map(str::to_owned);
    let same = classes.iter().map(String::as_str).find(|candidate| simple(candidate) == simple(class));
    let candidate = same.or_else(|| nearest(class, classes.iter().map(String::as_str)));
    let hint = match candidate {
        Some(candidate) if method.is_empty() => format!("set `handler: {candidate}`"),
        Some(candidate) => format!("set `handler: {candidate}::{method}`"),
        None => "set `handler` to the name of the class with its packages, `::`, and the method".to_owned(),
    };
    let problem = format!("the class of handler `{handler}` is not in the package");
    let why = format!("Lambda looks for `{file}`, and the package has no jar in `lib`");
    Some(Problem::error(Path::default(), problem, hint).why(why))
}

/// Checks that `bootstrap` exists and that Linux can run it on the function's processor. It can use
/// any handler.
fn bootstrap(files: &BTreeMap<String, Vec<u8>>, entry: EntryPoint<'_>) -> Option<Problem> {
    let problem =
        |problem: String, why: &str, hint: &str| Some(Problem::error(Path::default(), problem, hint).why(why));
    let Some(content) = files.get(BOOTSTRAP) else {
        return Some(
            Problem::error(
                Path::default(),
                format!("runtime `{}` starts `bootstrap`, but the package doesn't contain it", entry.runtime),
                "add the program as `bootstrap` to the top level of the `code` folder",
            )
            .why(format!("the package contains {}", list(files.keys().map(String::as_str)))),
        );
    };
    if content.starts_with(b"#!") {
        let first = content.split(|byte| *byte == b'\n').next().unwrap_or_default();
        return if first.ends_with(b"\r") {
            problem(
                "the first line of `bootstrap` ends with a carriage return".to_owned(),
                "Linux reads it as part of the interpreter's name, which then doesn't exist",
                "save it with Unix line endings (LF), and add `bootstrap text eol=lf` to `.gitattributes`",
            )
        } else {
            None
        };
    }
    if !content.starts_with(ELF) {
        return problem(
            "`bootstrap` is neither a Linux program nor a script that starts with `#!`".to_owned(),
            "Lambda runs on Linux, and fails with `Runtime.InvalidEntrypoint` or `exec format error`",
            "build it for Linux (`GOOS=linux`, `--target x86_64-unknown-linux-musl`), or start the script with `#!/bin/sh`",
        );
    }
    let number = content.get(ELF_MACHINE).and_then(|it| Some(u16::from_le_bytes(it.try_into().ok()?)))?;
    let (_, built_for) = MACHINES.iter().find(|(machine, _)| *machine == number)?;
    if entry.architecture.is_none_or(|wanted| wanted == *built_for) {
        return None;
    }
    problem(
        format!("`bootstrap` is built for {built_for}, but the function runs on {}", entry.architecture?),
        "Lambda fails with `Runtime.InvalidEntrypoint` or `exec format error`",
        &format!("set `architecture: {built_for}`, or build it for {}", entry.architecture?),
    )
}

/// The mode that the zip library returns for files in archives from Windows.
const NO_MODE: u32 = 0o664;

/// Reports a `bootstrap` that is not executable in the archive. Without a mode in the archive, the
/// result is uncertain.
pub(super) fn not_executable(mode: Option<u32>, entry: EntryPoint<'_>) -> Option<Problem> {
    (entry.runtime.starts_with("provided") && mode.is_none_or(|mode| mode & 0o111 == 0)).then(|| Problem {
        warning: mode.is_none_or(|mode| mode & 0o777 == NO_MODE),
        ..Problem::error(
            Path::default(),
            "`bootstrap` in the archive is not executable",
            "run `chmod 755 bootstrap` before packing it, or set `code` to the folder and let engine pack it",
        )
        .why("Lambda keeps the file modes of an archive, and fails with `permission denied`")
    })
}

fn malformed(handler: &str, form: &str, why: &str, hint: &str) -> Problem {
    let problem = format!("handler `{handler}` doesn't have the form `{form}`");
    Problem::error(Path::default(), problem, hint).why(why)
}

fn missing(
    files: &BTreeMap<String, Vec<u8>>,
    handler: &str,
    module: &str,
    function: &str,
    extension: &str,
    searched: &str,
) -> Problem {
    let modules: Vec<&str> = files.keys().filter_map(|name| name.strip_suffix(extension)).collect();
    let last = |path: &str| path.rsplit('/').next().map(str::to_owned);
    let same = modules.iter().copied().find(|candidate| last(candidate) == last(module));
    let candidate = same.or_else(|| nearest(module, modules.iter().copied())).or(match modules.as_slice() {
        [only] => Some(*only),
        _ => None,
    });
    let hint = match candidate {
        Some(candidate) => format!("set `handler: {candidate}.{function}`, or rename the file"),
        None => "set `handler` to the file's path without extension, a dot, and the function".to_owned(),
    };
    let problem = format!("handler `{handler}` matches no file in the package");
    Problem::error(Path::default(), problem, hint)
        .why(format!("{searched}; the package contains {}", list(files.keys().map(String::as_str))))
}

fn list<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let distinct: BTreeSet<&str> = names.collect();
    listed(distinct, MAX_LISTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(files: &[(&str, &str)], handler: &str, runtime: &str) -> Option<String> {
        let files = files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect();
        let entry = EntryPoint { handler, runtime, architecture: Some("x86_64") };
        problems(&files, entry).pop().map(|it| format!("{}; {}; {}", it.problem, it.why.unwrap_or_default(), it.hint))
    }

    #[test]
    fn python_finds_modules_and_packages_by_dots_and_slashes() {
        let code = "def handler(event, context):\n    pass\n";
        for (file, handler) in [
            ("index.py", "index.handler"),
            ("index/__init__.py", "index.handler"),
            ("index/part.py", "index.handler"),
            ("a/b.py", "a/b.handler"),
            ("a/b.py", "a.b.handler"),
            ("index.cpython-313-x86_64-linux-gnu.so", "index.handler"),
            ("other.py", "/opt/index.handler"),
        ] {
            assert_eq!(problem(&[(file, code)], handler, "python3.13"), None, "{file} {handler}");
        }
        let text = problem(&[("app/main.py", code)], "main.handler", "python3.13").unwrap_or_default();
        assert_eq!(
            text,
            "handler `main.handler` matches no file in the package; Lambda looks for `main.py` and `main/__init__.py`; \
             the package contains `app/main.py`; set `handler: app/main.handler`, or rename the file"
        );
        assert!(
            problem(&[("index.py", code)], "index", "python3.13")
                .is_some_and(|it| it.contains("doesn't have the form"))
        );
    }

    #[test]
    fn a_python_function_is_reported_only_if_the_file_cannot_define_it() {
        let cases = [
            ("def handler(event, context): pass", None),
            ("from other import handler", None),
            ("handler = lambda event, context: None", None),
            ("from other import *", None),
            ("from other import  *", None),
            ("from other import*", None),
            ("from other import \\\n    *", None),
            ("sys.modules[__name__] = other", None),
            ("exec(open('other.py').read())", None),
            (
                "def handle(event, context): pass",
                Some("use the function `handle` in `handler`, or rename it to `handler`"),
            ),
            ("x = 1", Some("add `def handler(event, context):` to it, or use another function in `handler`")),
        ];
        for (code, hint) in cases {
            let text = problem(&[("index.py", code)], "index.handler", "python3.13");
            assert_eq!(text.as_deref().and_then(|it| it.rsplit("; ").next()), hint, "{code}");
        }
    }

    #[test]
    fn ruby_needs_a_file_and_two_or_three_parts() {
        let code = "def handler(event:, context:)\nend\n";
        assert_eq!(problem(&[("index.rb", code)], "index.handler", "ruby3.4"), None);
        assert_eq!(problem(&[("lib/index.rb", code)], "lib/index.Class.handler", "ruby3.4"), None);
        assert_eq!(problem(&[("vendor/bundle/x.rb", code)], "index.handler", "ruby3.4"), None);
        for (handler, expected) in [("other.handler", "set `handler: index.handler`"), ("index", "two parts")] {
            let text = problem(&[("index.rb", code)], handler, "ruby3.4").unwrap_or_default();
            assert!(text.contains(expected), "{text}");
        }
    }

    #[test]
    fn a_java_class_is_at_the_top_level_or_in_a_library() {
        for files in [
            &["example/Main.class", "META-INF/MANIFEST.MF"][..],
            &["lib/app.jar"],
            &["example/Main.class", "lib/a.jar", "lib/b.jar"],
        ] {
            let files: Vec<(&str, &str)> = files.iter().map(|name| (*name, "")).collect();
            for handler in ["example.Main::run", "example.Main"] {
                assert_eq!(problem(&files, handler, "java21"), None, "{files:?}");
            }
        }
        for (file, handler, expected) in [
            ("app.jar", "example.Main::run", "where Lambda doesn't find its classes"),
            ("Main.class", "example.Main::run", "set `handler: Main::run`"),
            ("other/Main.class", "example.Main", "set `handler: other.Main`"),
            ("lib/readme.txt", "Main", "set `handler` to the name of the class"),
        ] {
            let text = problem(&[(file, "")], handler, "java21").unwrap_or_default();
            assert!(text.contains(expected), "{file}: {text}");
        }
    }

    #[test]
    fn a_custom_runtime_needs_a_bootstrap_that_linux_can_run() {
        let elf = |machine: u8| {
            let mut program = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0".to_vec();
            program.extend([machine, 0]);
            program
        };
        let of = |name: &str, content: &[u8], architecture| {
            let files = BTreeMap::from([(name.to_owned(), content.to_vec())]);
            let entry = EntryPoint { handler: "/any thing", runtime: "provided.al2023", architecture };
            problems(&files, entry).pop().map(|it| it.problem)
        };
        let (x86, arm) = (Some("x86_64"), Some("arm64"));
        for (name, content, architecture, expected) in [
            ("bootstrap", elf(62), x86, None),
            ("bootstrap", elf(183), arm, None),
            ("bootstrap", elf(183), None, None),
            // An unknown processor.
            ("bootstrap", elf(8), x86, None),
            ("bootstrap", b"\x7fELF".to_vec(), x86, None),
            ("bootstrap", elf(62), arm, Some("is built for x86_64")),
            ("bootstrap", elf(183), x86, Some("is built for arm64")),
            ("bootstrap", b"#!/bin/sh\necho\n".to_vec(), arm, None),
            ("bootstrap", b"#!/bin/sh".to_vec(), arm, None),
            ("bootstrap", b"#!/bin/sh\r\necho\r\n".to_vec(), arm, Some("carriage return")),
            ("bootstrap", b"\xcf\xfa\xed\xfe".to_vec(), arm, Some("neither a Linux program")),
            ("bootstrap", b"MZ".to_vec(), x86, Some("neither a Linux program")),
            ("bootstrap", b"echo hi".to_vec(), x86, Some("neither a Linux program")),
            ("main", elf(62), x86, Some("the package doesn't contain it")),
            ("bin/bootstrap", elf(62), x86, Some("the package doesn't contain it")),
        ] {
            let text = of(name, &content, architecture);
            assert_eq!(text.is_some(), expected.is_some(), "{name} {content:?}: {text:?}");
            assert!(text.unwrap_or_default().contains(expected.unwrap_or("")), "{name} {content:?}");
        }
    }
}
