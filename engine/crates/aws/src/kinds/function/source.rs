//! Packs a function's source (a folder, a file, an archive, or inline text) into the zip for
//! Lambda.
//!
//! **Invariant**: the zip's bytes depend only on the files' names and contents, never on times,
//! modes, directory order, operating system or clock: Lambda returns the hash of the zip, which is
//! the only way to detect a code change. Line endings are content and are never changed. This
//! module doesn't depend on AWS clients, specs or plans.

mod archive;
mod artifact;
mod cache;
mod dependencies;
mod error;
mod handler;
mod pack;
mod walk;
mod wheels;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use base64::Engine as _;
use engine_core::kind::Artifact;
use sha2::{Digest, Sha256};

use crate::javascript;
use crate::schema::Problem;

use artifact::{PackedFolder, Zip};
use cache::{Cache, Packed};

pub use error::SourceError;
pub(super) use handler::BOOTSTRAP;

/// Where a function's code comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CodeSource {
    /// A folder with its contents, a single file under its own name, or an unchanged `.zip` or
    /// `.jar`.
    Path {
        /// Absolute, or relative to the working directory.
        path: PathBuf,
        /// The folder that must contain the path, as returned by [`fs::canonicalize`]; `None`
        /// allows any path except folders of the operating system.
        boundary: Option<PathBuf>,
        /// Globs for the `/`-separated path relative to the folder. `*` matches within one folder,
        /// `**` across folders; a matching folder is excluded with its contents. A single file is
        /// never excluded.
        exclude: Vec<String>,
    },
    /// The literal text of the handler's file, which is named after the handler. The extension for
    /// `nodejs` is `.mjs` if the text has top-level `import` or `export` statements, which `.js`
    /// can't have in a package without a `package.json`, and otherwise `.js`; for `python` it is
    /// `.py`.
    Inline(String),
}

/// What Lambda runs.
#[derive(Clone, Copy, Debug)]
pub struct EntryPoint<'a> {
    /// As in the spec.
    pub handler: &'a str,
    /// As in the spec.
    pub runtime: &'a str,
    /// As in the spec; `None` if it is not known yet.
    pub architecture: Option<&'a str>,
}

/// A function's code, ready for `CreateFunction` and `UpdateFunctionCode`.
pub struct Package {
    /// The archive.
    pub artifact: Artifact,
    /// The size of the archive, in bytes.
    pub size: u64,
    /// SHA-256 over the archive in standard base64: what Lambda returns as `CodeSha256` for exactly
    /// these bytes.
    pub code_sha256: String,
    /// The names in the archive, in its order.
    pub files: Vec<String>,
    /// Problems in the files that will probably fail on AWS.
    pub problems: Vec<Problem>,
}

impl Package {
    fn of(zip: Vec<u8>, files: Vec<String>, problems: Vec<Problem>) -> Package {
        Package {
            code_sha256: code_sha256(&zip),
            size: zip.len() as u64,
            artifact: Arc::new(Zip(zip.into())),
            files,
            problems,
        }
    }
}

/// In bytes; the package must be smaller: "Unzipped size must be smaller than 262144000 bytes".
const MAX_UNZIPPED: u64 = 250 << 20;

/// In bytes. The limit of `ZipFile` is 50 MiB
/// (docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html); as base64, that leaves 256
/// KiB of the largest request, 70,167,211 bytes, for everything else.
const MAX_ZIP: u64 = 50 << 20;

/// Content by `/`-separated name, in the archive's order (by bytes).
type Files = BTreeMap<String, Vec<u8>>;

/// Zips a source, unless `cache` knows the zip of a folder, and checks the handler's file.
///
/// # Errors
/// All errors in the source.
pub fn package(source: &CodeSource, entry: EntryPoint<'_>, cache: Option<&Path>) -> Result<Package, Vec<SourceError>> {
    package_with(source, None, entry, cache)
}

/// The same, with the libraries of the wheels in a folder. The source's own files come first.
///
/// # Errors
/// All errors in the source and the wheels.
pub fn package_with(
    source: &CodeSource,
    wheels: Option<&Path>,
    entry: EntryPoint<'_>,
    cache: Option<&Path>,
) -> Result<Package, Vec<SourceError>> {
    let one = |error| vec![error];
    match FileOrigin::of(source)? {
        FileOrigin::Archive(path) => archive::package(path, entry).map_err(one),
        FileOrigin::File(path, metadata) => {
            packed(&with_wheels(walk::single(path, &metadata)?, path, &[], wheels)?, entry)
        }
        FileOrigin::Inline(text) => {
            let name = inline_name(text, entry).map_err(one)?;
            packed(&Files::from([(name, text.clone().into_bytes())]), entry)
        }
        FileOrigin::Folder { path, exclude, .. } if wheels.is_some() => {
            let (files, _) = walk::read(path, walk::walk(path, &walk::patterns(exclude)?)?)?;
            packed(&with_wheels(files, path, exclude, wheels)?, entry)
        }
        FileOrigin::Folder { path, root, exclude } => {
            let before = SystemTime::now();
            let found = walk::walk(path, &walk::patterns(exclude)?)?;
            let cache = cache.map(|folder| Cache::new(folder, &root, exclude, &found, before));
            if let Some(known) = cache.as_ref().and_then(Cache::untouched) {
                let files = walk::some_contents(found, &known.dropped, |name| archive::decides(name, entry));
                return Ok(known_package(source, &known, files, entry));
            }
            let (files, dropped) = walk::read(path, found)?;
            if let Some(known) = cache.as_ref().and_then(|cache| cache.unchanged(&files)) {
                return Ok(known_package(source, &known, files, entry));
            }
            let package = packed(&files, entry)?;
            if let Some(cache) = cache {
                cache.store(&files, dropped, &package.code_sha256, package.size);
            }
            Ok(package)
        }
    }
}

/// Adds the files of the wheels in a folder.
fn with_wheels(
    mut files: Files,
    path: &Path,
    exclude: &[String],
    wheels: Option<&Path>,
) -> Result<Files, Vec<SourceError>> {
    let left_out = walk::patterns(exclude)?;
    for (name, content) in wheels.map(wheels::read).transpose()?.unwrap_or_default() {
        // A pattern that matches a folder matches all files in it.
        if !Path::new(&name).ancestors().any(|it| left_out.is_match(it)) {
            files.entry(name).or_insert(content);
        }
    }
    match size(&files) < MAX_UNZIPPED {
        true => Ok(files),
        false => Err(vec![SourceError::UnzippedTooLarge { path: path.into() }]),
    }
}

/// Where the files of a source are.
enum FileOrigin<'s> {
    Inline(&'s String),
    Archive(&'s Path),
    File(&'s Path, fs::Metadata),
    Folder { path: &'s Path, root: PathBuf, exclude: &'s [String] },
}

impl FileOrigin<'_> {
    fn of(source: &CodeSource) -> Result<FileOrigin<'_>, Vec<SourceError>> {
        let (path, boundary, exclude) = match source {
            CodeSource::Inline(text) => return Ok(FileOrigin::Inline(text)),
            CodeSource::Path { path, boundary, exclude } => (path, boundary, exclude),
        };
        walk::patterns(exclude)?;
        let (metadata, root) = walk::accessible(path, boundary.as_deref()).map_err(|error| vec![error])?;
        if metadata.is_dir() {
            return Ok(FileOrigin::Folder { path, root, exclude });
        }
        // Also check the target of a link with another name.
        if metadata.is_file() && (archive::is_one(path) || archive::is_one(&root)) {
            let patterned = (!exclude.is_empty()).then(|| SourceError::ExcludeFromArchive(path.clone()));
            return patterned.map_or(Ok(FileOrigin::Archive(path)), |error| Err(vec![error]));
        }
        Ok(FileOrigin::File(path, metadata))
    }
}

/// A zip in memory.
pub fn artifact(zip: &Arc<[u8]>) -> Artifact {
    Arc::new(Zip(Arc::clone(zip)))
}

fn packed(files: &Files, entry: EntryPoint<'_>) -> Result<Package, Vec<SourceError>> {
    let zip = pack::build(files, MAX_ZIP).map_err(|error| vec![error])?;
    Ok(Package::of(zip, files.keys().cloned().collect(), problems(files, entry)))
}

/// A package that is known; of `files`, at least those that decide have their content.
fn known_package(source: &CodeSource, known: &Packed, files: Files, entry: EntryPoint<'_>) -> Package {
    let folder = PackedFolder { source: source.clone(), code_sha256: known.code_sha256.clone(), zip: Mutex::default() };
    Package {
        artifact: Arc::new(folder),
        size: known.size,
        code_sha256: known.code_sha256.clone(),
        problems: problems(&files, entry),
        files: files.into_keys().collect(),
    }
}

/// The zip of a folder.
fn zip_of(source: &CodeSource) -> Result<Vec<u8>, Vec<SourceError>> {
    let FileOrigin::Folder { path, exclude, .. } = FileOrigin::of(source)? else { return Ok(Vec::new()) };
    let (files, _) = walk::read(path, walk::walk(path, &walk::patterns(exclude)?)?)?;
    pack::build(&files, MAX_ZIP).map_err(|error| vec![error])
}

/// The wanted files of a folder.
fn read_named(source: &CodeSource, is_wanted: &dyn Fn(&str) -> bool) -> Option<Files> {
    let Ok(FileOrigin::Folder { path, exclude, .. }) = FileOrigin::of(source) else { return None };
    let mut found = walk::walk(path, &walk::patterns(exclude).ok()?).ok()?;
    found.retain(|name, _| is_wanted(name));
    walk::contents(path, found).ok()
}

/// The handler's file of a package, if it is JavaScript that can be read: its name, its content,
/// and whether Lambda loads it as an ES module.
pub fn script(package: &Artifact, entry: EntryPoint<'_>) -> Option<(String, Vec<u8>, bool)> {
    let mut files = package.files(&|name| archive::decides(name, entry))?;
    let (name, _, is_module) = javascript::script(&files, entry.handler, entry.runtime)?;
    let content = files.remove(&name)?;
    Some((name, content, is_module))
}

/// The real path of a file or folder that a spec may read.
///
/// # Errors
/// It doesn't exist, or is outside of `boundary`.
pub fn accessible(path: &Path, boundary: Option<&Path>) -> Result<PathBuf, SourceError> {
    walk::accessible(path, boundary).map(|(_, target)| target)
}

/// Checks that a spec may read what a build writes to a path, which may not exist yet.
///
/// # Errors
/// It is outside of `boundary`.
pub fn will_be_accessible(path: &Path, boundary: Option<&Path>) -> Result<(), SourceError> {
    walk::will_be_accessible(path, boundary)
}

/// What Lambda returns as `CodeSha256` for a package.
pub fn code_sha256(zip: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(Sha256::digest(zip))
}

fn problems(files: &Files, entry: EntryPoint<'_>) -> Vec<Problem> {
    let mut problems = javascript::problems(files, entry.handler, entry.runtime);
    problems.extend(handler::problems(files, entry));
    problems.extend(dependencies::missing(files, entry));
    problems
}

fn inline_name(text: &str, entry: EntryPoint<'_>) -> Result<String, SourceError> {
    let EntryPoint { handler, runtime, .. } = entry;
    let malformed = || SourceError::Handler { handler: handler.into() };
    if text.trim().is_empty() {
        return Err(SourceError::EmptyInline);
    }
    if runtime.starts_with("nodejs") {
        let (module, _) = javascript::split_handler(handler).ok_or_else(malformed)?;
        let extension = if javascript::is_module(text) { "mjs" } else { "js" };
        Ok(format!("{module}.{extension}"))
    } else if runtime.starts_with("python") {
        let (module, _) = self::handler::split_python(handler).ok_or_else(malformed)?;
        Ok(format!("{module}.py"))
    } else {
        Err(SourceError::Runtime { runtime: runtime.into() })
    }
}

fn size(files: &Files) -> u64 {
    files.values().map(|content| content.len() as u64).sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs::{File, FileTimes};
    use std::io::{Cursor, Read as _};
    use std::time::Duration;

    use insta::assert_snapshot;
    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::pack::{MAX_STORED, build};
    use super::walk::{contents, patterns, walk};
    use super::*;

    const HANDLER: &str = "index.handler";
    const RUNTIME: &str = "nodejs22.x";

    fn entry<'a>(handler: &'a str, runtime: &'a str) -> EntryPoint<'a> {
        EntryPoint { handler, runtime, architecture: Some("x86_64") }
    }

    fn folder(files: &[(&str, &str)]) -> TempDir {
        let folder = TempDir::new().unwrap();
        for (name, content) in files {
            write(folder.path(), name, content.as_bytes());
        }
        folder
    }

    fn write(folder: &Path, name: &str, content: &[u8]) {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn package_path(path: &Path, exclude: &[&str]) -> Result<Package, Vec<SourceError>> {
        let exclude = exclude.iter().map(|pattern| (*pattern).to_owned()).collect();
        package(&CodeSource::Path { path: path.into(), boundary: None, exclude }, entry(HANDLER, RUNTIME), None)
    }

    fn package_inline(text: &str, handler: &str, runtime: &str) -> Result<Package, Vec<SourceError>> {
        package(&CodeSource::Inline(text.into()), entry(handler, runtime), None)
    }

    /// The names of the package, or its errors.
    fn outcome(result: Result<Package, Vec<SourceError>>) -> String {
        let text = |error: &SourceError| match error.why() {
            Some(why) => format!("{error}\n  why: {why}\n  hint: {}", error.hint()),
            None => format!("{error}\n  hint: {}", error.hint()),
        };
        match result {
            Ok(package) => package.files.join("\n"),
            Err(errors) => errors.iter().map(text).collect::<Vec<_>>().join("\n"),
        }
    }

    fn outcome_in(root: &Path, result: Result<Package, Vec<SourceError>>) -> String {
        let real = fs::canonicalize(root).unwrap();
        let text = outcome(result).replace(&real.display().to_string(), "root");
        text.replace(&root.display().to_string(), "root")
    }

    fn unzip(package: &Package) -> Vec<(String, Vec<u8>)> {
        let zip = package.artifact.bytes().unwrap();
        assert_eq!((code_sha256(&zip), zip.len() as u64), (package.code_sha256.clone(), package.size));
        let mut archive = zip::ZipArchive::new(Cursor::new(zip)).unwrap();
        (0..archive.len())
            .map(|i| {
                let mut file = archive.by_index(i).unwrap();
                let mut content = Vec::new();
                file.read_to_end(&mut content).unwrap();
                (file.name().unwrap().into_owned(), content)
            })
            .collect()
    }

    /// A change here makes every deployed function show as changed, so it needs a line in the
    /// changelog.
    #[test]
    fn the_bytes_of_a_zip_never_change() {
        let small =
            folder(&[("index.js", "exports.handler = async () => {};\n"), ("lib/grüße an alle.txt", "hallo\n")]);
        let stored = package_path(small.path(), &[]).unwrap();
        assert_eq!(stored.code_sha256, "uNaTckLOG+oDWM0sBB1bi50IEQBNejvyNxc/JLBROYA=");

        let line = |n: u32| format!("export const value{n} = {};\n", n.wrapping_mul(2_654_435_761));
        let large = folder(&[("index.mjs", &(0..40_000).map(line).collect::<String>()), ("a.txt", "a")]);
        let deflated = package_path(large.path(), &[]).unwrap();
        let unzipped: usize = unzip(&deflated).iter().map(|(_, content)| content.len()).sum();
        assert!(unzipped as u64 > MAX_STORED && deflated.size < unzipped as u64 / 2);
        assert_eq!(deflated.code_sha256, "IrbZoNlR4n+UVXuWA574c75W67hIAsrJIxBB3+79QW0=");
    }

    #[test]
    fn libraries_of_wheels_are_packed_unless_the_source_has_them() {
        let source = folder(&[("index.py", "import six\n"), ("six/own.py", "mine\n")]);
        let wheels = TempDir::new().unwrap();
        let wheel = |name: &str, files: &[(&str, &str)]| {
            let files = files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect();
            write(wheels.path(), name, &build(&files, MAX_ZIP).unwrap());
        };
        let path = || CodeSource::Path { path: source.path().into(), boundary: None, exclude: vec!["**/tests".into()] };
        let packed = || package_with(&path(), Some(wheels.path()), entry("index.handler", "python3.12"), None);
        wheel("six-1.0-py3-none-any.whl", &[("six/own.py", "theirs\n"), ("six/tests/a.py", ""), ("six/b.py", "b\n")]);
        wheel("seven-1.0-py3-none-any.whl", &[("seven-1.0.data/scripts/seven", "#!python\n"), ("seven.py", "7\n")]);
        assert_snapshot!(outcome(packed()), @"
        index.py
        seven.py
        six/b.py
        six/own.py
        ");
        let own = unzip(&packed().unwrap()).into_iter().find(|(name, _)| name == "six/own.py").unwrap();
        assert_eq!(own.1, b"mine\n");
        write(wheels.path(), "eight-1.0.tar.gz", b"");
        assert_snapshot!(outcome(packed()), @"
        pip downloaded `eight-1.0.tar.gz`, which is not a wheel
          why: only wheels are built for another machine than this one
          hint: require a version with a wheel, or make the package with `build:`
        ");
    }

    /// The modes in a zip, by name.
    fn modes(package: &Package) -> Vec<(String, u32)> {
        let mut archive = zip::ZipArchive::new(Cursor::new(package.artifact.bytes().unwrap())).unwrap();
        (0..archive.len())
            .map(|at| {
                let file = archive.by_index(at).unwrap();
                (file.name().unwrap().into_owned(), file.unix_mode().unwrap())
            })
            .collect()
    }

    /// Combines modes on disk under different umasks with names and first bytes, which decide.
    #[cfg(unix)]
    #[test]
    fn files_that_linux_can_run_are_packed_as_executable() {
        let files: [(&str, &[u8], u32); 11] = [
            ("bin/tool", b"\x7fELF\x02\x01\x01", 0o755),
            ("bin/tool.sh", b"#!/bin/sh\necho hi\n", 0o755),
            ("bin/windows.sh", b"#!/bin/sh\r\necho hi\r\n", 0o755),
            ("bootstrap", b"anything", 0o755),
            ("data.bin", b"\x00\x7fELF", 0o644),
            ("index.js", b"exports.handler = async () => {};\n", 0o644),
            ("lib/bootstrap", b"not the one that Lambda starts", 0o644),
            ("mac", b"\xcf\xfa\xed\xfe", 0o644),
            ("notes.md", b" #! not in front\n", 0o644),
            ("short", b"\x7fEL", 0o644),
            ("windows.exe", b"MZ\x90", 0o644),
        ];
        let expected: Vec<(String, u32)> =
            files.iter().map(|(name, _, mode)| ((*name).to_owned(), 0o100_000 | mode)).collect();
        let mut n = 0;
        for umask in [0o000, 0o002, 0o022, 0o027, 0o077] {
            for mode in [0o600, 0o644, 0o666, 0o700, 0o755, 0o777] {
                let root = TempDir::new().unwrap();
                for (name, content, _) in &files {
                    write(root.path(), name, content);
                    let mode = std::os::unix::fs::PermissionsExt::from_mode(mode & !umask);
                    fs::set_permissions(root.path().join(name), mode).unwrap();
                }
                let package = package_path(root.path(), &[]).unwrap();
                assert_eq!(modes(&package), expected, "mode {mode:o}, umask {umask:o}");
                assert_eq!(package.code_sha256, "Sruuhe4Sieic7BMzW/9pvT9GiNkapyLNlAvoQB9Et34=");
                n += files.len();
            }
        }
        assert_eq!(n, 330);
    }

    /// A timeline, a saved plan, and leftovers of a killed process, as written by engine or
    /// reformatted by a tool.
    #[test]
    fn output_files_of_engine_are_never_packed() {
        let plan = "{\n  \"kind\": \"engine saved plan\",\n  \"format_version\": 1\n}\n";
        let page = crate::spec::files::TIMELINE;
        let page = format!(
            "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"generator\" content=\"{page}\">"
        );
        let plain =
            folder(&[("index.js", "exports.handler = 1"), ("plan.json", "{}"), ("page.html", "<!DOCTYPE html>")]);
        let before = package_path(plain.path(), &[]).unwrap();
        for (name, content) in [
            (".engine/local.json", "{}"),
            (".engine/local.log", "started"),
            ("lib/.engine/lock", ""),
            ("plan.out", plan),
            ("deep/tomorrow.txt", plan),
            ("half.json", plan.get(..40).unwrap()),
            ("dense.json", "{\"kind\":\"engine saved plan\""),
            ("marked.json", "\u{feff}{ \"kind\": \"engine saved plan\" }"),
            ("crlf.json", "{\r\n  \"kind\": \"engine saved plan\",\r\n"),
            ("timeline.html", page.as_str()),
            ("where/the-time-went", page.as_str()),
            (".plan.out.4711.new", ""),
            ("lib/.timeline.html.1.new", "<!DOC"),
        ] {
            write(plain.path(), name, content.as_bytes());
            let after = package_path(plain.path(), &[]).unwrap();
            assert_eq!(after.files, before.files, "{name}");
            assert_eq!(after.code_sha256, before.code_sha256, "{name}");
        }
        // Similar files belong to the user.
        for (name, content) in [
            ("other.json", "{\"kind\": \"engine\"}"),
            ("nested.json", "{\"plan\": {\"kind\": \"engine saved plan\"}}"),
            ("says.html", "<p>engine timeline</p>"),
            (".a.new", ""),
            (".a.b.new", ""),
            ("a.1.new", ""),
        ] {
            write(plain.path(), name, content.as_bytes());
            assert!(package_path(plain.path(), &[]).unwrap().files.contains(&name.to_owned()), "{name}");
        }
        let only = folder(&[("plan.json", plan)]);
        assert!(matches!(package_path(only.path(), &[]).err().unwrap().as_slice(), [SourceError::EmptyFolder(_)]));
        // An explicitly named file is packed.
        assert_eq!(package_path(&only.path().join("plan.json"), &[]).unwrap().files, ["plan.json"]);
    }

    #[cfg(unix)]
    #[test]
    fn links_in_a_path_must_end_in_the_project() {
        use std::os::unix::fs::symlink;

        let root = folder(&[("project/code/index.js", "x"), ("project/one.js", "x"), ("elsewhere/index.js", "x")]);
        let real = fs::canonicalize(root.path()).unwrap();
        let project = real.join("project");
        symlink("code", project.join("inside")).unwrap();
        symlink("inside", project.join("chain")).unwrap();
        symlink("../elsewhere", project.join("out")).unwrap();
        symlink("../elsewhere/index.js", project.join("out.js")).unwrap();
        symlink("/dev/null", project.join("null.js")).unwrap();
        symlink("/", project.join("all")).unwrap();
        let packed = |path: &Path, boundary: Option<&Path>| {
            let source =
                CodeSource::Path { path: path.into(), boundary: boundary.map(Into::into), exclude: Vec::new() };
            package(&source, entry(HANDLER, RUNTIME), None).map_err(|errors| match errors.as_slice() {
                [SourceError::Outside { .. }] => "outside",
                [SourceError::OperatingSystem { .. }] => "system",
                _ => "other",
            })
        };
        let within = project.as_path();
        for (path, alone, allowed) in [
            ("code", Ok(()), Ok(())),
            ("code/../code", Ok(()), Ok(())),
            ("inside", Ok(()), Ok(())),
            ("chain", Ok(()), Ok(())),
            ("one.js", Ok(()), Ok(())),
            ("out", Err("outside"), Ok(())),
            ("out.js", Err("outside"), Ok(())),
            ("out/../code", Err("other"), Err("other")),
            ("../elsewhere", Err("outside"), Ok(())),
            ("../project", Ok(()), Ok(())),
            ("..", Err("outside"), Ok(())),
            ("null.js", Err("system"), Err("system")),
            ("all", Err("system"), Err("system")),
            ("/dev", Err("system"), Err("system")),
            ("/dev/zero", Err("system"), Err("system")),
            #[cfg(target_os = "linux")]
            ("/proc/self/environ", Err("system"), Err("system")),
            #[cfg(target_os = "linux")]
            ("/proc/self/fd", Err("system"), Err("system")),
            #[cfg(target_os = "linux")]
            ("/sys", Err("system"), Err("system")),
            #[cfg(target_os = "linux")]
            ("/proc/self/root/etc/passwd", Err("outside"), Ok(())),
        ] {
            // Links in the code folder to targets outside it are rejected with and without the
            // flag.
            let is_whole = matches!(path, ".." | "../project");
            for (boundary, wanted) in [(Some(within), alone), (None, allowed)] {
                let seen = packed(&project.join(path), boundary).map(drop);
                let may_be_written = will_be_accessible(&project.join(path), boundary).is_ok();
                // It would be beside `elsewhere`, where it doesn't exist.
                let is_missing = path == "out/../code" && boundary.is_none();
                assert_eq!(may_be_written, wanted.is_ok() || is_missing, "{path} {boundary:?}");
                let wanted = if is_whole && wanted.is_ok() { Err("other") } else { wanted };
                assert_eq!(seen, wanted, "{path} {boundary:?}");
            }
        }
        for (path, is_inside) in [
            ("new", true),
            ("new/../more/../code", true),
            ("new/../../project/more", true),
            ("inside/new/more", true),
            ("../new", false),
            ("new/../../elsewhere/more", false),
            ("out/new", false),
            ("all/usr/new", false),
        ] {
            assert_eq!(will_be_accessible(&project.join(path), Some(within)).is_ok(), is_inside, "{path}");
        }
        // A sibling whose name starts with the project's name is outside.
        write(&real, "project-2/index.js", b"x");
        assert_eq!(packed(&real.join("project-2"), Some(within)).map(drop), Err("outside"));
    }

    fn file_tree() -> impl Strategy<Value = BTreeMap<String, Vec<u8>>> {
        let name = prop::string::string_regex("([a-cé] ?/){0,2}[a-z.ü][ a-z.]{0,3}[A-Z]").unwrap();
        let content = prop_oneof![
            3 => prop::collection::vec(any::<u8>(), 0..64),
            1 => (any::<u8>(), 600_000..700_000_usize).prop_map(|(byte, len)| vec![byte; len]),
        ];
        prop::collection::btree_map(name, content, 1..8)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn only_names_and_contents_decide_the_bytes(
            (files, order) in file_tree().prop_flat_map(|files| {
                let order = Just(files.keys().cloned().collect::<Vec<_>>()).prop_shuffle();
                (Just(files), order)
            }),
            mode in prop::sample::select(vec![0o600, 0o644, 0o755, 0o777]),
            mtime in 1_u64..4_000_000_000,
        ) {
            let plain = TempDir::new().unwrap();
            for (name, content) in &files {
                write(plain.path(), name, content);
            }
            let other = TempDir::new().unwrap();
            for name in &order {
                write(other.path(), name, &files[name]);
                let file = File::open(other.path().join(name)).unwrap();
                file.set_times(FileTimes::new().set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(mtime))).unwrap();
                #[cfg(unix)]
                file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
            }
            let package = package_path(plain.path(), &[]).unwrap();
            prop_assert_eq!(&package.code_sha256, &package_path(other.path(), &[]).unwrap().code_sha256);
            prop_assert_eq!(&package.files, &files.keys().cloned().collect::<Vec<_>>());
            prop_assert_eq!(unzip(&package), files.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn editor_files_and_matches_of_patterns_are_excluded() {
        let kept = [
            "index.js",
            "lib/.env",
            "lib/a.test.js",
            "lib/docs/a.md",
            "node_modules/a/b.js",
            "#1.js",
            "git/x",
            "lib/b.pyc",
        ];
        let leavings = [
            ".git/HEAD",
            ".gitignore",
            "lib/.gitattributes",
            ".hg/x",
            ".svn/x",
            "lib/.DS_Store",
            "Thumbs.db",
            ".idea/x",
            ".vscode/x",
            "index.js~",
            "lib/.a.swp",
            "#index.js#",
            "lib/.#a.js",
            "__pycache__/app.cpython-313.pyc",
            "lib/__pycache__/a.cpython-313.pyc",
        ];
        let files: Vec<(&str, &str)> = kept.iter().chain(&leavings).map(|name| (*name, "x")).collect();
        let root = folder(&files);
        let left = |exclude: &[&str]| outcome_in(root.path(), package_path(root.path(), exclude)).replace('\n', "  ");
        assert_snapshot!(left(&[]), @"#1.js  git/x  index.js  lib/.env  lib/a.test.js  lib/b.pyc  lib/docs/a.md  node_modules/a/b.js");
        assert_snapshot!(left(&["docs", "*.test.js", "./node_modules/"]), @"#1.js  git/x  index.js  lib/.env  lib/a.test.js  lib/b.pyc  lib/docs/a.md");
        assert_snapshot!(left(&["**/docs", "**/*.test.js", "node_modules/**", "{git,#*}"]), @"index.js  lib/.env  lib/b.pyc");
        assert_snapshot!(left(&["**"]), @"folder `root` has no files to package    why: Lambda rejects an empty package; version control, editor files and `__pycache__` are always excluded    hint: add the handler's file to it, or narrow `exclude`");
        assert_snapshot!(left(&["a[", "{b"]), @"invalid exclude pattern `a[`: unclosed character class; missing ']'    hint: use a glob like `**/*.test.js` or `docs`  invalid exclude pattern `{b`: unclosed alternate group; missing '}' (maybe escape '{' with '[{]'?)    hint: use a glob like `**/*.test.js` or `docs`");
        assert_eq!(package_path(&root.path().join("index.js~"), &[]).unwrap().files, ["index.js~"]);
    }

    #[test]
    fn inline_source_is_named_after_handler_and_runtime() {
        let named = |text, handler, runtime| match package_inline(text, handler, runtime) {
            Ok(package) => format!("{} {:?}", package.files.join(" "), package.problems),
            Err(errors) => outcome(Err(errors)),
        };
        let common = "exports.handler = async () => {};";
        let es = "import fs from 'node:fs';\nexport const handler = async () => {};";
        assert_snapshot!(named(common, "index.handler", RUNTIME), @"index.js []");
        assert_snapshot!(named(es, "./src/api.v1.handler", RUNTIME), @r#"src/api.mjs [Problem { path: Path(None), problem: "`src/api.mjs` doesn't export `v1`", why: Some("it exports `handler`"), hint: "add `export const v1 = …` to it, or use another export in `handler`", warning: false, inapplicable: [] }]"#);
        assert_snapshot!(named("const m = import('m'); exports.handler = 1 // export", HANDLER, RUNTIME), @"index.js []");
        assert_snapshot!(named("def handler(event, context): pass", "pkg.app.handler", "python3.13"), @"pkg/app.py []");
        assert_snapshot!(named(common, "handler", RUNTIME), @r"
        handler `handler` has no file name for the inline source
          why: the file name is the part of the handler before the dot
          hint: set `handler: index.handler`
        ");
        assert_snapshot!(named(common, "../index.handler", RUNTIME), @r"
        handler `../index.handler` has no file name for the inline source
          why: the file name is the part of the handler before the dot
          hint: set `handler: index.handler`
        ");
        assert_snapshot!(named("x = 1", "/app.handler", "python3.13"), @r"
        handler `/app.handler` has no file name for the inline source
          why: the file name is the part of the handler before the dot
          hint: set `handler: index.handler`
        ");
        assert_snapshot!(named("class A {}", "A::handle", "java21"), @r"
        inline source can't be used with runtime `java21`
          why: only the Node.js and Python runtimes run a single source file
          hint: move the code to a folder and set its path as `code`
        ");
        assert_snapshot!(named(" \n", HANDLER, RUNTIME), @r"
        the inline source is empty
          hint: add the handler's source code to it
        ");
        assert_eq!(
            unzip(&package_inline(es, HANDLER, RUNTIME).unwrap()),
            [("index.mjs".into(), es.as_bytes().to_vec())]
        );
    }

    #[test]
    fn a_path_without_code_is_an_error() {
        let root = folder(&[("empty.js", "")]);
        fs::create_dir(root.path().join("none")).unwrap();
        let report = |name: &str| outcome_in(root.path(), package_path(&root.path().join(name), &[]));
        assert_snapshot!(report("gone"), @r"
        code `root/gone` doesn't exist
          why: a relative path is relative to the spec's folder
          hint: correct `code`, or create the folder
        ");
        assert_snapshot!(report("none"), @r"
        folder `root/none` has no files to package
          why: Lambda rejects an empty package; version control, editor files and `__pycache__` are always excluded
          hint: add the handler's file to it, or narrow `exclude`
        ");
        assert_snapshot!(report("empty.js"), @r"
        code `root/empty.js` is empty
          hint: add the handler's source code to it
        ");
    }

    /// Some systems don't allow names that are not UTF-8.
    #[cfg(target_os = "linux")]
    #[test]
    fn links_and_names_that_depend_on_the_machine_are_errors() {
        use std::os::unix::{ffi::OsStrExt, fs::symlink, net::UnixListener};

        let root = folder(&[("code/index.js", "x"), ("code/lib/a.js", "a"), ("outside/secret", "s")]);
        let code = root.path().join("code");
        symlink("lib", code.join("inside")).unwrap();
        symlink("../lib/a.js", code.join("lib/b.js")).unwrap();
        symlink("user@host.1234", code.join(".#index.js")).unwrap();
        symlink(&code, root.path().join("alias")).unwrap();
        let files = |path| outcome_in(root.path(), package_path(path, &[])).replace('\n', "  ");
        assert_snapshot!(files(&code), @"index.js  inside/a.js  inside/b.js  lib/a.js  lib/b.js");
        assert_eq!(files(&root.path().join("alias")), files(&code));

        symlink("../outside", code.join("to-folder")).unwrap();
        symlink("../outside/secret", code.join("to-file")).unwrap();
        symlink("..", code.join("lib/up")).unwrap();
        symlink("gone", code.join("broken")).unwrap();
        fs::write(code.join(std::ffi::OsStr::from_bytes(b"caf\xe9")), "x").unwrap();
        let _socket = UnixListener::bind(code.join("socket")).unwrap();
        let mut errors: Vec<String> = package_path(&code, &[])
            .err()
            .unwrap()
            .into_iter()
            .map(|error| outcome_in(root.path(), Err(vec![error])))
            .collect();
        errors.sort();
        assert_snapshot!(errors.join("\n"), @r"
        `root/code/broken` is a broken link
          hint: remove the link, or exclude it with `exclude`
        `root/code/inside/up` is a link to a folder that contains it
          hint: remove the link, or exclude it with `exclude`
        `root/code/lib/up` is a link to a folder that contains it
          hint: remove the link, or exclude it with `exclude`
        `root/code/socket` is neither a file nor a folder
          hint: remove it, or exclude it with `exclude`
        `root/code/to-file` is a link to `root/outside/secret`, outside the code folder
          why: the package would depend on files elsewhere on this machine
          hint: copy its target into the folder, or exclude the link with `exclude`
        `root/code/to-folder` is a link to `root/outside`, outside the code folder
          why: the package would depend on files elsewhere on this machine
          hint: copy its target into the folder, or exclude the link with `exclude`
        the name of `root/code/caf�` is not valid UTF-8
          why: names in the zip are UTF-8, so that they are the same on every machine
          hint: rename it
        ");
        let exclude = ["to-*", "lib/up", "broken", "socket", "caf*"];
        assert_snapshot!(outcome_in(root.path(), package_path(&code, &exclude)), @r"
        the name of `root/code/caf�` is not valid UTF-8
          why: names in the zip are UTF-8, so that they are the same on every machine
          hint: rename it
        `root/code/inside/up` is a link to a folder that contains it
          hint: remove the link, or exclude it with `exclude`
        ");
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_that_changes_during_the_read_is_an_error() {
        let root = folder(&[("index.js", "x"), ("gone.js", "x"), ("pipe", "x"), ("folder", "x")]);
        let found = walk(root.path(), &patterns(&[]).unwrap()).unwrap();
        for name in ["gone.js", "pipe", "folder"] {
            fs::remove_file(root.path().join(name)).unwrap();
        }
        fs::create_dir(root.path().join("folder")).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(root.path().join("pipe")).status().unwrap().success());
        let errors = contents(root.path(), found).unwrap_err();
        let reported = errors.into_iter().map(|error| outcome_in(root.path(), Err(vec![error]))).collect::<Vec<_>>();
        assert_snapshot!(reported.join("\n"), @r"
        `root/folder` changed while engine was reading the code
          hint: stop the program that is writing to the folder, and run the command again
        `root/gone.js` changed while engine was reading the code
          hint: stop the program that is writing to the folder, and run the command again
        `root/pipe` changed while engine was reading the code
          hint: stop the program that is writing to the folder, and run the command again
        ");
    }

    #[test]
    fn too_much_code_is_rejected_before_it_is_read() {
        let root = folder(&[("index.js", "x")]);
        File::create(root.path().join("huge")).unwrap().set_len(1 << 40).unwrap();
        assert!(walk(root.path(), &patterns(&[]).unwrap()).is_err());
        assert_snapshot!(outcome_in(root.path(), package_path(root.path(), &[])), @r"
        code `root` is 250 MiB or larger before compression
          why: Lambda requires an unzipped size below 250 MiB
          hint: exclude unneeded files with `exclude`, bundle the code, or move libraries to a layer
        ");
        assert_snapshot!(outcome_in(root.path(), package_path(&root.path().join("huge"), &[])), @r"
        code `root/huge` is 250 MiB or larger before compression
          why: Lambda requires an unzipped size below 250 MiB
          hint: exclude unneeded files with `exclude`, bundle the code, or move libraries to a layer
        ");
        let files = Files::from([("a".into(), vec![0; 80])]);
        let size = build(&files, MAX_ZIP).unwrap().len() as u64;
        assert!(build(&files, size).is_ok());
        let error = build(&files, size - 1).unwrap_err();
        assert_snapshot!(outcome_in(root.path(), Err(vec![error])), @r"
        the zip is larger than 50 MiB
          why: Lambda accepts at most 50 MiB in a request
          hint: exclude unneeded files with `exclude`, bundle the code, or move libraries to a layer
        ");
        assert!(matches!(build(&files, 79), Err(SourceError::ZipTooLarge)));
    }
}
