//! A `.zip` or `.jar` as a function's code: uploaded unchanged, or rejected if Lambda would reject
//! it.
//!
//! **Invariant:** its bytes are never changed. Contents are checked only where that is cheap, and
//! files that can't be read produce no problems.

use std::io::{Cursor, Read as _};
use std::path::Path;

use zip::ZipArchive;

use crate::javascript;
use crate::schema::Problem;
use crate::spec::files::{self, Unread};

use super::dependencies::REQUIREMENTS;
use super::{EntryPoint, Files, MAX_UNZIPPED, MAX_ZIP, Package, SourceError, handler, problems};

/// Maximum size of a file whose content is read, in bytes.
const MAX_READ: u64 = 1 << 20;
/// Longer handlers are not given to Node.js, in bytes.
const MAX_SCRIPT: u64 = 16 << 20;
/// Number of bytes that identify a program's format.
const HEAD: u64 = 256;

/// Whether a file with this name is uploaded unchanged.
pub(super) fn is_one(path: &Path) -> bool {
    let extension = path.extension().and_then(|it| it.to_str()).map(str::to_ascii_lowercase);
    matches!(extension.as_deref(), Some("zip" | "jar"))
}

/// The archive as a package.
pub(super) fn package(path: &Path, entry: EntryPoint<'_>) -> Result<Package, SourceError> {
    let zip = read(path)?;
    let mut archive = ZipArchive::new(Cursor::new(zip.as_slice()))
        .map_err(|error| SourceError::NotZip { path: path.into(), error })?;
    let files = contents(path, &mut archive)?;
    let problems = visible(&mut archive, &files, entry).unwrap_or_default();
    let files = files.into_iter().map(|file| file.name).collect();
    Ok(Package::of(zip, files, problems))
}

fn read(path: &Path) -> Result<Vec<u8>, SourceError> {
    let limit = usize::try_from(MAX_ZIP).unwrap_or(usize::MAX);
    let zip = files::read(path, limit.saturating_add(1)).map_err(|unread| match unread {
        Unread::Refused(error) => SourceError::Unreadable { path: path.into(), error },
        // It was a file at the check before.
        _ => SourceError::Changed(path.into()),
    })?;
    match zip.len() {
        0 => Err(SourceError::EmptyFile(path.into())),
        n if n > limit => Err(SourceError::ArchiveTooLarge { path: path.into(), limit: "50 MiB" }),
        _ => Ok(zip),
    }
}

/// A file of an archive.
struct Member {
    /// The name after unpacking: `./index.js` is `index.js`.
    name: String,
    /// Its index in the archive.
    at: usize,
    size: u64,
    /// Its mode; archives from Windows may not contain one.
    mode: Option<u32>,
    is_link: bool,
}

/// The files of an archive.
fn contents(path: &Path, archive: &mut ZipArchive<Cursor<&[u8]>>) -> Result<Vec<Member>, SourceError> {
    let mut members = Vec::new();
    let mut unzipped: u64 = 0;
    for at in 0..archive.len() {
        let file = archive.by_index_raw(at).map_err(|error| SourceError::NotZip { path: path.into(), error })?;
        let name = String::from_utf8_lossy(file.name_raw()).into_owned();
        if file.encrypted() {
            return Err(SourceError::Encrypted { path: path.into(), name });
        }
        unzipped = unzipped.saturating_add(file.size());
        if !name.ends_with('/') {
            let name = name.strip_prefix("./").map(str::to_owned).unwrap_or(name);
            members.push(Member { name, at, size: file.size(), mode: file.unix_mode(), is_link: file.is_symlink() });
        }
    }
    if members.is_empty() {
        return Err(SourceError::EmptyArchive(path.into()));
    }
    match unzipped < MAX_UNZIPPED {
        true => Ok(members),
        false => Err(SourceError::ArchiveTooLarge { path: path.into(), limit: "250 MiB unpacked" }),
    }
}

/// Problems of the handler's file; `None` if it can't be read.
fn visible(archive: &mut ZipArchive<Cursor<&[u8]>>, members: &[Member], entry: EntryPoint<'_>) -> Option<Vec<Problem>> {
    let mut files = Files::new();
    for member in members {
        // A link's content is not its target's, and it is unknown how Lambda unpacks names with
        // backslashes, which are not the format's separator.
        if member.is_link || member.name.contains('\\') {
            return None;
        }
        let mut content = Vec::new();
        if member.name == handler::BOOTSTRAP {
            archive.by_index(member.at).ok()?.take(HEAD).read_to_end(&mut content).ok()?;
        } else if decides(&member.name, entry) {
            if member.size > MAX_READ {
                return None;
            }
            // The archive's size field can be wrong.
            archive.by_index(member.at).ok()?.take(MAX_READ).read_to_end(&mut content).ok()?;
        }
        files.insert(member.name.clone(), content);
    }
    let mut found = problems(&files, entry);
    let bootstrap = members.iter().find(|it| it.name == handler::BOOTSTRAP);
    found.extend(bootstrap.and_then(|it| handler::not_executable(it.mode, entry)));
    Some(found)
}

/// The wanted files of a package; `None` if one of them can't be read.
pub(super) fn named(zip: &[u8], is_wanted: &dyn Fn(&str) -> bool) -> Option<Files> {
    let mut archive = ZipArchive::new(Cursor::new(zip)).ok()?;
    let mut files = Files::new();
    for at in 0..archive.len() {
        let member = archive.by_index_raw(at).ok()?;
        let name = String::from_utf8_lossy(member.name_raw()).into_owned();
        let name = name.strip_prefix("./").map(str::to_owned).unwrap_or(name);
        if !is_wanted(&name) {
            continue;
        }
        if member.is_symlink() || member.size() > MAX_SCRIPT {
            return None;
        }
        drop(member);
        let mut content = Vec::new();
        archive.by_index(at).ok()?.take(MAX_SCRIPT).read_to_end(&mut content).ok()?;
        files.insert(name, content);
    }
    Some(files)
}

/// Whether the checks need the content of this file: the handler's, or one that defines how it is
/// loaded or which packages it needs.
pub(super) fn decides(name: &str, entry: EntryPoint<'_>) -> bool {
    let of_runtime = [("provided", handler::BOOTSTRAP), ("python", REQUIREMENTS), ("nodejs", "package.json")];
    if of_runtime.iter().any(|(runtime, file)| entry.runtime.starts_with(runtime) && name == *file) {
        return true;
    }
    let module = match javascript::split_handler(entry.handler) {
        Some((module, _)) if entry.runtime.starts_with("nodejs") => module,
        _ => match handler::split_python(entry.handler) {
            Some((module, _)) if entry.runtime.starts_with("python") => module,
            _ => return false,
        },
    };
    let folder = name.strip_suffix("package.json");
    let is_manifest = folder.is_some_and(|it| module.starts_with(it) && (it.is_empty() || it.ends_with('/')));
    let rest = name.strip_prefix(&module);
    is_manifest || rest.is_some_and(|it| it.is_empty() || it.starts_with('.') || it == "/__init__.py")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;
    use std::io::Write as _;
    use std::path::PathBuf;

    use proptest::prelude::*;
    use tempfile::TempDir;
    use zip::write::SimpleFileOptions;
    use zip::{CompressionMethod, System, ZipWriter};

    use super::*;
    use crate::source::{CodeSource, package};

    const JS: &str = "exports.handler = async () => {};";

    fn zip(files: &[(&str, &str)], options: SimpleFileOptions) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in files {
            zip.start_file(*name, options).unwrap();
            zip.write_all(content.as_bytes()).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    fn deflated() -> SimpleFileOptions {
        SimpleFileOptions::default().compression_method(CompressionMethod::Deflated)
    }

    /// The files of an archive, handler and runtime, and part of the expected problem.
    type ArchiveSample<'a> = (&'a [(&'a str, &'a str)], (&'a str, &'a str), Option<&'a str>);

    struct Case {
        folder: TempDir,
    }

    impl Case {
        fn write(name: &str, content: &[u8]) -> (Case, PathBuf) {
            let folder = TempDir::new().unwrap();
            let path = folder.path().join(name);
            fs::write(&path, content).unwrap();
            (Case { folder }, path)
        }

        fn package(path: &Path, entry: EntryPoint<'_>, exclude: &[&str]) -> Result<Package, Vec<SourceError>> {
            let exclude = exclude.iter().map(|it| (*it).to_owned()).collect();
            package(&CodeSource::Path { path: path.into(), boundary: None, exclude }, entry, None)
        }
    }

    fn entry<'a>(handler: &'a str, runtime: &'a str) -> EntryPoint<'a> {
        EntryPoint { handler, runtime, architecture: Some("x86_64") }
    }

    #[test]
    fn an_archive_is_sent_as_it_is() {
        let bytes = zip(&[("index.js", JS), ("node_modules/a/index.js", "x")], deflated());
        // A launcher before the zip is part of the archive.
        let launched = [b"#!/bin/sh\nexec java -jar \"$0\"\n".as_slice(), &bytes].concat();
        for bytes in [bytes, launched] {
            for name in ["app.zip", "app.jar", "APP.ZIP", "app.v1.Jar"] {
                let (_case, path) = Case::write(name, &bytes);
                let package = Case::package(&path, entry("index.handler", "nodejs22.x"), &[]).unwrap();
                assert_eq!(package.artifact.bytes().unwrap()[..], bytes, "{name}");
                assert_eq!(package.code_sha256, super::super::code_sha256(&bytes));
                assert_eq!(package.files, ["index.js", "node_modules/a/index.js"]);
                assert_eq!(package.problems, []);
            }
        }
        #[cfg(unix)]
        {
            let (case, path) = Case::write("app.zip", &zip(&[("index.js", JS)], deflated()));
            let link = case.folder.path().join("current");
            std::os::unix::fs::symlink(&path, &link).unwrap();
            let package = Case::package(&link, entry("index.handler", "nodejs22.x"), &[]).unwrap();
            assert_eq!(package.artifact.bytes().unwrap()[..], fs::read(path).unwrap());
        }
        // Other files are packed, as are folders with such a name.
        let (case, path) = Case::write("app.txt", b"PK");
        assert_eq!(Case::package(&path, entry("A::run", "java21"), &[]).unwrap().files, ["app.txt"]);
        fs::create_dir(case.folder.path().join("app.zip")).unwrap();
        fs::write(case.folder.path().join("app.zip/index.js"), JS).unwrap();
        let folder = Case::package(&case.folder.path().join("app.zip"), entry("index.handler", "nodejs22.x"), &[]);
        assert_eq!(folder.unwrap().files, ["index.js"]);
    }

    #[test]
    fn an_archive_that_lambda_would_refuse_is_an_error() {
        let whole = zip(&[("index.js", JS)], deflated());
        let mut encrypted = whole.clone();
        // The encryption flag, in the file's header and in the directory.
        encrypted[6] |= 1;
        let at = encrypted.windows(4).rposition(|it| it == b"PK\x01\x02").unwrap();
        encrypted[at + 8] |= 1;
        let empty = ZipWriter::new(Cursor::new(Vec::new())).finish().unwrap().into_inner();
        let mut folders = ZipWriter::new(Cursor::new(Vec::new()));
        folders.add_directory("lib", deflated()).unwrap();
        let folders = folders.finish().unwrap().into_inner();
        let mut claims = whole.clone();
        let at = claims.windows(4).rposition(|it| it == b"PK\x01\x02").unwrap();
        claims[at + 24..at + 28].copy_from_slice(&(250_u32 << 20).to_le_bytes());
        let cases: [(&str, &[u8], &str); 8] = [
            ("text", b"exports.handler = 1", "is not a valid zip archive"),
            ("tarball", b"\x1f\x8b\x08\0\0\0\0\0", "is not a valid zip archive"),
            ("half", &whole[..whole.len() - 10], "is not a valid zip archive"),
            ("nothing", b"", "is empty"),
            ("no files", &empty, "contains no files"),
            ("only folders", &folders, "contains no files"),
            ("password", &encrypted, "`index.js` in archive"),
            ("claims 250 MiB", &claims, "larger than Lambda allows: 250 MiB unpacked"),
        ];
        for (what, bytes, expected) in cases {
            let (_case, path) = Case::write("app.zip", bytes);
            let errors = Case::package(&path, entry("index.handler", "nodejs22.x"), &[]).err().unwrap();
            let text = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            assert!(errors.len() == 1 && text.contains(expected), "{what}: {text}");
        }
        let (_case, path) = Case::write("app.jar", &whole);
        fs::File::options().write(true).open(&path).unwrap().set_len(MAX_ZIP + 1).unwrap();
        let large = Case::package(&path, entry("index.handler", "nodejs22.x"), &[]).err().unwrap();
        assert!(large[0].to_string().ends_with("larger than Lambda allows: 50 MiB"), "{large:?}");
        let (_case, path) = Case::write("app.zip", &whole);
        let excluded = Case::package(&path, entry("index.handler", "nodejs22.x"), &["docs"]).err().unwrap();
        assert!(matches!(excluded.as_slice(), [SourceError::ExcludeFromArchive(_)]), "{excluded:?}");
    }

    #[test]
    fn a_missing_handler_in_an_archive_is_reported_if_it_can_be_checked() {
        let long = format!("// {}\nexports.other = 1;", "x".repeat(1 << 20));
        let es = "export const handler = async () => {};";
        let python = "def handler(event, context):\n    pass\n";
        let linux = "\u{7f}ELF\u{2}\u{1}\u{1}\0\0\0\0\0\0\0\0\0\u{2}\0>\0";
        let js = ("index.handler", "nodejs22.x");
        let py = ("app/main.handler", "python3.13");
        let own = ("any", "provided.al2023");
        let cases: [ArchiveSample; 21] = [
            (&[("index.js", JS)], js, None),
            (&[("./index.js", JS)], js, None),
            (&[("app/index.js", JS)], js, Some("matches no file in the package")),
            (&[("index.js", "exports.other = 1;")], js, Some("doesn't export `handler`")),
            (&[("index.js", es)], js, Some("`index.js`")),
            (&[("index.js", es), ("package.json", r#"{"type":"module"}"#)], js, None),
            (&[("index.mjs", es)], js, None),
            (&[("index.js", &long)], js, None),
            (&[("app\\index.js", JS)], js, None),
            (&[("node_modules/index/package.json", "{}")], js, None),
            (&[("app/main.py", python)], py, None),
            (&[("app/main/__init__.py", python)], py, None),
            (&[("app/main.pyc", "")], py, None),
            (&[("app/main.py", "x = 1")], py, Some("has no function `handler`")),
            (&[("main.py", python)], py, Some("matches no file in the package")),
            (&[("index.rb", "def handler(event:, context:) = 1")], ("index.handler", "ruby3.4"), None),
            (&[("a/B.class", ""), ("lib/c.jar", "")], ("a.B::run", "java21"), None),
            (&[("App.dll", "")], ("App::App.F::Run", "dotnet8"), None),
            (&[("bootstrap", linux)], own, None),
            (&[("main", linux)], own, Some("the package doesn't contain it")),
            (&[("bootstrap", "MZ")], own, Some("neither a Linux program nor a script")),
        ];
        for (files, (handler, runtime), expected) in cases {
            let bytes = zip(files, deflated().unix_permissions(0o755));
            let (_case, path) = Case::write("app.zip", &bytes);
            let problems = Case::package(&path, entry(handler, runtime), &[]).unwrap().problems;
            let text = problems.iter().map(|it| it.problem.as_str()).collect::<Vec<_>>().join("; ");
            assert!(
                text.is_empty() == expected.is_none() && text.contains(expected.unwrap_or("")),
                "{files:?}: {text}"
            );
        }
        // A link's content is its target's path, not the target's content.
        let mut linked = ZipWriter::new(Cursor::new(Vec::new()));
        linked.add_symlink("index.js", "dist/index.js", deflated()).unwrap();
        let (_case, path) = Case::write("app.zip", &linked.finish().unwrap().into_inner());
        assert_eq!(Case::package(&path, entry(js.0, js.1), &[]).unwrap().problems, []);
    }

    #[test]
    fn a_bootstrap_in_an_archive_needs_its_mode() {
        let script = [("bootstrap", "#!/bin/sh\n")];
        for (mode, system, certain) in [
            (0o755, System::Unix, None),
            (0o711, System::Unix, None),
            (0o644, System::Unix, Some(true)),
            (0o600, System::Unix, Some(true)),
            (0o755, System::Dos, Some(false)),
        ] {
            let bytes = zip(&script, deflated().unix_permissions(mode).system(system));
            let (_case, path) = Case::write("app.zip", &bytes);
            let own = Case::package(&path, entry("any", "provided.al2023"), &[]).unwrap().problems;
            assert_eq!(own.first().map(|it| !it.warning), certain, "{mode:o} {own:?}");
            let other = Case::package(&path, entry("A::A::Run", "dotnet8"), &[]).unwrap().problems;
            assert_eq!(other, [], "only Lambda's own start needs it");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        /// Archives are untrusted input.
        #[test]
        fn any_archive_bytes_give_a_package_or_an_error(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
            cut in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let files = [("index.js", JS), ("lib/a.js", "x"), ("package.json", "{}"), ("bootstrap", "#!/bin/sh\n")];
            let mut bytes = zip(&files, deflated());
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            let (_case, path) = Case::write("app.zip", &bytes);
            for (handler, runtime) in [("index.handler", "nodejs22.x"), ("any", "provided.al2023")] {
                if let Ok(package) = Case::package(&path, entry(handler, runtime), &[]) {
                    prop_assert_eq!(&package.artifact.bytes().unwrap()[..], &bytes);
                    prop_assert!(!package.files.is_empty());
                }
            }
        }
    }
}
