//! A Python function's `requirements.txt`: which files it consists of, which packages it doesn't
//! pin, and how pip downloads them for Lambda.
//!
//! **Invariant:** pip downloads wheels only, so no code of a package runs.

use std::path::{Path as FilePath, PathBuf};

use engine_core::build::{Build, Command, Explanation, OUTPUT, Output};

use crate::schema::Problem;
use crate::spec::files;
use crate::value::Path;

/// The file that makes a folder one with requirements.
const FILE: &str = "requirements.txt";
/// The largest file that is read, in bytes.
const MAX_BYTES: usize = 1 << 20;
/// How deep files can include each other.
const MAX_FILES: usize = 100;

/// What the requirements of a folder contain.
#[derive(Debug, Default)]
struct Requirements {
    /// The files, relative to the folder.
    files: Vec<String>,
    n_packages: usize,
    /// The packages without a version: the file, the line and the name.
    unpinned: Vec<(String, usize, String)>,
}

/// How pip downloads what the folder requires, and warnings about it.
pub(super) fn of(folder: &FilePath, runtime: &str, architecture: &str) -> Option<(Build, Vec<Problem>)> {
    let version = runtime.strip_prefix("python")?;
    let Requirements { files, n_packages, unpinned } = read(folder)?;
    if n_packages == 0 {
        return None;
    }
    let mut args: Vec<String> =
        ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input", "--progress-bar", "off"]
            .map(str::to_owned)
            .to_vec();
    args.extend(["--only-binary=:all:", "--implementation", "cp", "--python-version", version].map(str::to_owned));
    args.extend(platforms(version, architecture).into_iter().flat_map(|it| ["--platform".to_owned(), it]));
    args.extend(["--dest", OUTPUT, "--requirement", FILE].map(str::to_owned));
    let tool = Command::Tool {
        title: format!("pip download -r {FILE}"),
        program: Ok(PathBuf::from(if cfg!(windows) { "python" } else { "python3" })),
        args,
        install: "install Python 3 with pip, or make the package with `build:`",
        downloads: true,
        explanations: vec![
            Explanation {
                marker: "No matching distribution found for ",
                problem: format!("`{{}}` has no wheel for {runtime} on {architecture}"),
                hint: "require a version that has one (pypi.org lists the files of each), or make the package with \
                       `build:`, for example in a container",
            },
            Explanation {
                marker: "No module named pip",
                problem: "your Python has no pip".to_owned(),
                hint: "install it with `python3 -m ensurepip` or your system's `python3-pip`",
            },
        ],
    };
    let build = Build {
        command: tool,
        directory: folder.to_owned(),
        inputs: files,
        output: Output::Folder,
        path: Path::property("code"),
    };
    Some((build, unpinned_warning(&unpinned).into_iter().collect()))
}

fn unpinned_warning(unpinned: &[(String, usize, String)]) -> Option<Problem> {
    let (file, line, name) = unpinned.first()?;
    let more = match unpinned.len() - 1 {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    let problem = format!("`{name}` has no fixed version (`{file}`, line {line}){more}");
    let hint = format!("write `{name}==VERSION`; `pip freeze` prints the installed versions");
    Some(Problem {
        why: Some("each machine may package another version".to_owned()),
        ..Problem::warning(Path::property("code"), problem, hint)
    })
}

/// The platforms whose wheels run on Lambda, best first. Runtimes since Python 3.12 have Amazon
/// Linux 2023 with glibc 2.34, earlier ones Amazon Linux 2 with glibc 2.26
/// (docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html; PEP 600).
fn platforms(version: &str, architecture: &str) -> Vec<String> {
    let minor: u32 = version.split('.').nth(1).and_then(|it| it.parse().ok()).unwrap_or_default();
    let machine = if architecture == "arm64" { "aarch64" } else { "x86_64" };
    let newest = if minor >= 12 { 34 } else { 26 };
    let modern = (17..=newest).rev().map(|glibc| format!("manylinux_2_{glibc}_{machine}"));
    // pip knows the older names that this one includes.
    modern.chain([format!("manylinux2014_{machine}")]).collect()
}

/// Reads the requirements of a folder and the files that they include.
fn read(folder: &FilePath) -> Option<Requirements> {
    let mut all = Requirements::default();
    let mut left = vec![FILE.to_owned()];
    while let Some(name) = left.pop() {
        if all.files.contains(&name) || all.files.len() >= MAX_FILES {
            continue;
        }
        let bytes = files::read(&folder.join(&name), MAX_BYTES);
        if all.files.is_empty() {
            bytes.as_ref().ok()?;
        }
        // pip reports a missing file.
        let text = String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned();
        for (line, number) in text.lines().zip(1..) {
            match parse(line) {
                RequirementLine::Includes(other) => {
                    let beside = FilePath::new(&name).with_file_name(other);
                    left.push(beside.to_string_lossy().replace('\\', "/"));
                }
                RequirementLine::Requires { package, is_pinned } => {
                    all.n_packages += 1;
                    if !is_pinned {
                        all.unpinned.push((name.clone(), number, package.to_owned()));
                    }
                }
                RequirementLine::Other => {}
            }
        }
        all.files.push(name);
    }
    Some(all)
}

#[derive(Debug, PartialEq, Eq)]
enum RequirementLine<'l> {
    Includes(&'l str),
    Requires { package: &'l str, is_pinned: bool },
    Other,
}

/// One line (pip.pypa.io/en/stable/reference/requirements-file-format/).
fn parse(line: &str) -> RequirementLine<'_> {
    let line = line.split(" #").next().unwrap_or_default().trim();
    if line.is_empty() || line.starts_with('#') {
        return RequirementLine::Other;
    }
    for option in ["-r", "--requirement", "-c", "--constraint"] {
        let rest = line.strip_prefix(option).map(|rest| rest.trim_start_matches(['=', ' ', '\t']));
        if let Some(file) = rest.filter(|file| !file.is_empty() && !file.starts_with('-')) {
            return RequirementLine::Includes(file);
        }
    }
    if line.starts_with('-') {
        return RequirementLine::Other;
    }
    let end = line.find(['=', '<', '>', '!', '~', ';', '[', '@', ' ', ',']).unwrap_or(line.len());
    let (package, rest) = line.split_at(end);
    let requirement = rest.split(';').next().unwrap_or_default();
    let version = requirement.split_once("==").map(|(_, version)| version);
    let is_pinned = requirement.contains('@') || version.is_some_and(|it| !it.contains('*'));
    RequirementLine::Requires { package, is_pinned }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_requires_a_package_or_includes_a_file() {
        let requires = |package, is_pinned| RequirementLine::Requires { package, is_pinned };
        for (line, parsed) in [
            ("six==1.16.0", requires("six", true)),
            ("Six [extra] == 1.16 ; python_version > '3' # why", requires("Six", true)),
            ("six===1.16", requires("six", true)),
            ("six @ https://example.com/six.whl", requires("six", true)),
            ("six", requires("six", false)),
            ("six>=1,<2", requires("six", false)),
            ("six==1.*", requires("six", false)),
            ("six; python_version == '3.12'", requires("six", false)),
            ("-r base.txt", RequirementLine::Includes("base.txt")),
            ("--requirement=base.txt", RequirementLine::Includes("base.txt")),
            ("-cbase.txt", RequirementLine::Includes("base.txt")),
            ("--find-links wheels", RequirementLine::Other),
            ("    --hash=sha256:00", RequirementLine::Other),
            ("# six", RequirementLine::Other),
            ("", RequirementLine::Other),
        ] {
            assert_eq!(parse(line), parsed, "{line}");
        }
    }

    #[test]
    fn platforms_follow_the_runtime_and_the_architecture() {
        let of = |version, architecture| platforms(version, architecture);
        assert_eq!(of("3.12", "x86_64").first().map(String::as_str), Some("manylinux_2_34_x86_64"));
        assert_eq!(of("3.11", "arm64").first().map(String::as_str), Some("manylinux_2_26_aarch64"));
        assert_eq!(of("3.11", "arm64").last().map(String::as_str), Some("manylinux2014_aarch64"));
    }
}
