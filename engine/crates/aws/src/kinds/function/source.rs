//! Packs a function's source (a folder, a file, an archive, or inline text) into the zip for
//! Lambda.
//!
//! **Invariant**: the zip's bytes depend only on the files' names and contents, never on times,
//! modes, directory order, operating system or clock: Lambda returns the hash of the zip, which is
//! the only way to detect a code change. Line endings are content and are never changed. This
//! module doesn't depend on AWS clients, specs or plans.

mod archive;
mod handler;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use sha2::{Digest, Sha256};
use walkdir::WalkDir;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, PreparedZipFile, System, ZipWriter};

use crate::javascript;
use crate::schema::Problem;
use crate::spec::files::{self, Unread};

/// Where a function's code comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
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
pub struct Entry<'a> {
    /// As in the spec.
    pub handler: &'a str,
    /// As in the spec.
    pub runtime: &'a str,
    /// As in the spec; `None` if it is not known yet.
    pub architecture: Option<&'a str>,
}

/// A function's code, ready for `CreateFunction` and `UpdateFunctionCode`.
pub struct Package {
    /// The bytes of the archive.
    pub zip: Vec<u8>,
    /// SHA-256 over `zip` in standard base64: what Lambda returns as `CodeSha256` for exactly these
    /// bytes.
    pub code_sha256: String,
    /// The sum of all file sizes, in bytes.
    pub unzipped: u64,
    /// The names in the archive, in its order.
    pub files: Vec<String>,
    /// Problems in the files that will probably fail on AWS.
    pub problems: Vec<Problem>,
}

/// Why a source can't be packaged.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The path doesn't exist.
    #[error("code `{}` doesn't exist", .0.display())]
    Missing(PathBuf),
    /// A file or folder can't be read.
    #[error("can't read `{}`: {error}", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// A file of the folder's listing that is no longer a file.
    #[error("`{}` changed while engine was reading the code", .0.display())]
    Changed(PathBuf),
    /// A folder without files, or without files after the excludes.
    #[error("folder `{}` has no files to package", .0.display())]
    EmptyFolder(PathBuf),
    /// A single file without content.
    #[error("code `{}` is empty", .0.display())]
    EmptyFile(PathBuf),
    /// Inline source without content.
    #[error("the inline source is empty")]
    EmptyInline,
    /// A path outside the project.
    #[error("code `{}` resolves to `{}`, outside the project folder `{}`", path.display(), target.display(), project.display())]
    Outside {
        /// As in the spec.
        path: PathBuf,
        /// The path's target.
        target: PathBuf,
        /// The project's folder.
        project: PathBuf,
    },
    /// A path in `/proc`, `/sys` or `/dev`, or the root of the file system.
    #[error("code `{}` resolves to `{}`, which belongs to the operating system", path.display(), target.display())]
    OperatingSystem {
        /// As in the spec.
        path: PathBuf,
        /// The path's target.
        target: PathBuf,
    },
    /// An archive that no zip program can open.
    #[error("`{}` is not a valid zip archive: {error}", path.display())]
    NotZip {
        /// The archive.
        path: PathBuf,
        /// The parser's reason.
        error: zip::result::ZipError,
    },
    /// An archive without files.
    #[error("archive `{}` contains no files", .0.display())]
    EmptyArchive(PathBuf),
    /// A password-protected archive.
    #[error("`{name}` in archive `{}` is encrypted", path.display())]
    Encrypted {
        /// The archive.
        path: PathBuf,
        /// The file in it.
        name: String,
    },
    /// An archive that is too large for Lambda.
    #[error("archive `{}` is larger than Lambda allows: {limit}", path.display())]
    ArchiveTooLarge {
        /// The archive.
        path: PathBuf,
        /// The limit it exceeds.
        limit: &'static str,
    },
    /// Exclude patterns with an archive.
    #[error("`exclude` can't be used with the archive `{}`", .0.display())]
    ExcludeFromArchive(PathBuf),
    /// A file name that is not UTF-8.
    #[error("the name of `{}` is not valid UTF-8", .0.display())]
    NotUtf8(PathBuf),
    /// A socket, pipe or device.
    #[error("`{}` is neither a file nor a folder", .0.display())]
    Special(PathBuf),
    /// A symbolic link to something outside the folder.
    #[error("`{}` is a link to `{}`, outside the code folder", link.display(), target.display())]
    LinkOutside {
        /// The link.
        link: PathBuf,
        /// The link's target.
        target: PathBuf,
    },
    /// A symbolic link to a folder that contains it.
    #[error("`{}` is a link to a folder that contains it", .0.display())]
    LinkLoop(PathBuf),
    /// A broken symbolic link.
    #[error("`{}` is a broken link", .0.display())]
    LinkBroken(PathBuf),
    /// An exclude that is not a glob.
    #[error("invalid exclude pattern `{pattern}`: {reason}")]
    Pattern {
        /// As in the spec.
        pattern: String,
        /// The parser's reason.
        reason: String,
    },
    /// A handler without a file name for the inline source.
    #[error("handler `{handler}` has no file name for the inline source")]
    Handler {
        /// As in the spec.
        handler: String,
    },
    /// Inline source for a runtime that has no single source file.
    #[error("inline source can't be used with runtime `{runtime}`")]
    Runtime {
        /// As in the spec.
        runtime: String,
    },
    /// Too many bytes before compression.
    #[error("code `{}` is {} MiB or larger before compression", path.display(), MAX_UNZIPPED >> 20)]
    UnzippedTooLarge {
        /// The source.
        path: PathBuf,
    },
    /// Too many bytes after compression.
    #[error("the zip is larger than {} MiB", MAX_ZIP >> 20)]
    ZipTooLarge,
    /// The zip format doesn't support the files.
    #[error("can't build the zip: {0}")]
    Zip(#[from] zip::result::ZipError),
}

impl SourceError {
    /// The reason for the error, if the message doesn't include it.
    pub fn why(&self) -> Option<&'static str> {
        match self {
            Self::Missing(_) => Some("a relative path is relative to the spec's folder"),
            Self::EmptyFolder(_) => {
                Some("Lambda rejects an empty package; version control and editor files are always excluded")
            }
            Self::Outside { .. } => Some(
                "engine reads code only from the project, so that a spec can't upload other files; the project is \
                 the nearest folder with \
                 `.git`, else the nearest with `specs/`, else the spec's own folder",
            ),
            Self::OperatingSystem { .. } => {
                Some("`/proc`, `/sys` and `/dev` contain devices and processes, not code, and `/` includes them")
            }
            Self::NotZip { .. } => Some("engine uploads a `.zip` or `.jar` unchanged, and Lambda unpacks it"),
            Self::EmptyArchive(_) => Some("Lambda rejects an empty package"),
            Self::Encrypted { .. } => Some("Lambda can't unpack encrypted archives"),
            Self::ExcludeFromArchive(_) => Some("engine uploads a `.zip` or `.jar` unchanged"),
            Self::NotUtf8(_) => Some("names in the zip are UTF-8, so that they are the same on every machine"),
            Self::LinkOutside { .. } => Some("the package would depend on files elsewhere on this machine"),
            Self::Handler { .. } => Some("the file name is the part of the handler before the dot"),
            Self::Runtime { .. } => Some("only the Node.js and Python runtimes run a single source file"),
            Self::UnzippedTooLarge { .. } => Some("Lambda requires an unzipped size below 250 MiB"),
            Self::ZipTooLarge => Some("Lambda accepts at most 50 MiB in a request"),
            _ => None,
        }
    }

    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Missing(path) => match path.to_str() {
                Some(path) if cfg!(unix) && path.contains('\\') => "use `/` between the folders of the path",
                Some(path) if path.contains("/~/") || path.starts_with("~/") => {
                    "`~` is not supported: use an absolute path, or one relative to the spec's folder"
                }
                _ => "correct `code`, or create the folder",
            },
            Self::Unreadable { error, .. } => match error.kind() {
                io::ErrorKind::PermissionDenied => "make it readable, or exclude it with `exclude`",
                io::ErrorKind::InvalidFilename => "shorten the path",
                _ => "correct the path, or exclude it with `exclude`",
            },
            Self::Changed(_) => "stop the program that is writing to the folder, and run the command again",
            Self::EmptyFolder(_) => "add the handler's file to it, or narrow `exclude`",
            Self::EmptyFile(_) | Self::EmptyInline => "add the handler's source code to it",
            Self::Outside { .. } => "move it into the project, or pass `--allow-code-outside`",
            Self::OperatingSystem { .. } => "set `code` to the folder of the function's code",
            Self::NotZip { .. } => "rebuild the archive, or set `code` to the folder that it was built from",
            Self::EmptyArchive(_) => "rebuild the archive with the handler's file",
            Self::Encrypted { .. } => "rebuild the archive without a password",
            Self::ArchiveTooLarge { .. } => "remove files that the function doesn't need, or move libraries to a layer",
            Self::ExcludeFromArchive(_) => {
                "remove `exclude`, or set `code` to the folder that the archive was built from"
            }
            Self::NotUtf8(_) => "rename it",
            Self::Special(_) => "remove it, or exclude it with `exclude`",
            Self::LinkOutside { .. } => "copy its target into the folder, or exclude the link with `exclude`",
            Self::LinkLoop(_) | Self::LinkBroken(_) => "remove the link, or exclude it with `exclude`",
            Self::Pattern { .. } => "use a glob like `**/*.test.js` or `docs`",
            Self::Handler { .. } => "set `handler: index.handler`",
            Self::Runtime { .. } => "move the code to a folder and set its path as `code`",
            Self::UnzippedTooLarge { .. } | Self::ZipTooLarge => {
                "exclude unneeded files with `exclude`, bundle the code, or move libraries to a layer"
            }
            Self::Zip(_) => "shorten the file names",
        }
    }
}

/// In bytes; the package must be smaller: "Unzipped size must be smaller than 262144000 bytes".
const MAX_UNZIPPED: u64 = 250 << 20;

/// In bytes. The limit of `ZipFile` is 50 MiB
/// (docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html); as base64, that leaves 256
/// KiB of the largest request, 70,167,211 bytes, for everything else.
const MAX_ZIP: u64 = 50 << 20;

/// Packages up to this size, in bytes before compression, are stored uncompressed, so that
/// upgrading the compressor doesn't change their zip.
const MAX_STORED: u64 = 1 << 20;

/// Folders without code, which differ on every machine.
const SYSTEM: [&str; 3] = ["/proc", "/sys", "/dev"];

/// Excluded from every package: version control, leftovers of editors and file managers, and
/// engine's own folder. [`files::is_own_output`] and [`files::is_draft`] recognize engine's output
/// under other names.
const ALWAYS_LEFT_OUT: [&str; 14] = [
    "**/.engine",
    "**/.git",
    "**/.gitattributes",
    "**/.gitignore",
    "**/.hg",
    "**/.svn",
    "**/.DS_Store",
    "**/Thumbs.db",
    "**/.idea",
    "**/.vscode",
    "**/*~",
    "**/*.swp",
    "**/.#*",
    "**/#*#",
];

/// Content by `/`-separated name, in the archive's order (by bytes).
type Files = BTreeMap<String, Vec<u8>>;

/// Reads a source once, zips it, and checks the handler's file.
///
/// # Errors
/// All errors in the source.
pub fn package(source: &Source, entry: Entry<'_>) -> Result<Package, Vec<SourceError>> {
    let files = match source {
        Source::Path { path, boundary, exclude } => {
            let left_out = patterns(exclude)?;
            let (metadata, target) = accessible(path, boundary.as_deref()).map_err(|error| vec![error])?;
            // Also check the target of a link with another name.
            if metadata.is_file() && (archive::is_one(path) || archive::is_one(&target)) {
                let patterned = (!exclude.is_empty()).then(|| SourceError::ExcludeFromArchive(path.clone()));
                return patterned.map_or_else(|| archive::package(path, entry), Err).map_err(|error| vec![error]);
            }
            read(path, &metadata, &left_out)?
        }
        Source::Inline(text) => {
            let name = inline_name(text, entry).map_err(|error| vec![error])?;
            Files::from([(name, text.clone().into_bytes())])
        }
    };
    let zip = build(&files, MAX_ZIP).map_err(|error| vec![error])?;
    Ok(Package {
        code_sha256: code_sha256(&zip),
        zip,
        unzipped: size(&files),
        problems: problems(&files, entry),
        files: files.into_keys().collect(),
    })
}

/// The handler's file of a package, if it is JavaScript that can be read: its name, its content,
/// and whether Lambda loads it as an ES module.
pub fn script(zip: &[u8], entry: Entry<'_>) -> Option<(String, Vec<u8>, bool)> {
    archive::script(zip, entry)
}

fn code_sha256(zip: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(Sha256::digest(zip))
}

fn problems(files: &Files, entry: Entry<'_>) -> Vec<Problem> {
    let mut problems = javascript::problems(files, entry.handler, entry.runtime);
    problems.extend(handler::problems(files, entry));
    problems
}

fn inline_name(text: &str, entry: Entry<'_>) -> Result<String, SourceError> {
    let Entry { handler, runtime, .. } = entry;
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

/// The metadata and real path of an allowed path. Links are followed, and their target must be
/// allowed.
fn accessible(path: &Path, boundary: Option<&Path>) -> Result<(fs::Metadata, PathBuf), SourceError> {
    let unreadable = |error| SourceError::Unreadable { path: path.into(), error };
    let metadata = fs::metadata(path).map_err(|error| match Unread::from(error) {
        Unread::Refused(error) => unreadable(error),
        _ => SourceError::Missing(path.into()),
    })?;
    let target = fs::canonicalize(path).map_err(unreadable)?;
    if target.parent().is_none() || SYSTEM.iter().any(|folder| target.starts_with(folder)) {
        return Err(SourceError::OperatingSystem { path: path.into(), target });
    }
    match boundary.filter(|project| !target.starts_with(project)) {
        Some(project) => Err(SourceError::Outside { path: path.into(), target, project: project.into() }),
        None => Ok((metadata, target)),
    }
}

fn read(path: &Path, metadata: &fs::Metadata, left_out: &GlobSet) -> Result<Files, Vec<SourceError>> {
    if !metadata.is_dir() {
        let found = single(path, metadata).map_err(|error| vec![error])?;
        return contents(path, found);
    }
    let mut files = contents(path, walk(path, left_out)?)?;
    // The user chose the names of engine's output files, so only the content identifies them.
    files.retain(|_, content| !files::is_own_output(content));
    if files.is_empty() { Err(vec![SourceError::EmptyFolder(path.into())]) } else { Ok(files) }
}

/// Reads the listed files, which may have changed since.
fn contents(path: &Path, found: BTreeMap<String, PathBuf>) -> Result<Files, Vec<SourceError>> {
    let mut files = Files::new();
    let mut errors = Vec::new();
    let mut budget = MAX_UNZIPPED;
    for (name, path) in found {
        // Check the limit again while reading, because a file may grow.
        let mut content = Vec::new();
        match files::open(&path).and_then(|file| Ok(file.take(budget).read_to_end(&mut content)?)) {
            Ok(_) => budget -= content.len() as u64,
            Err(Unread::Refused(error)) => errors.push(SourceError::Unreadable { path, error }),
            // It was a file when the folder was listed.
            Err(_) => errors.push(SourceError::Changed(path)),
        }
        files.insert(name, content);
    }
    if budget == 0 {
        errors.push(SourceError::UnzippedTooLarge { path: path.into() });
    }
    if errors.is_empty() { Ok(files) } else { Err(errors) }
}

fn single(path: &Path, metadata: &fs::Metadata) -> Result<BTreeMap<String, PathBuf>, SourceError> {
    let path = path.to_path_buf();
    if !metadata.is_file() {
        return Err(SourceError::Special(path));
    }
    if metadata.len() == 0 {
        return Err(SourceError::EmptyFile(path));
    }
    if metadata.len() >= MAX_UNZIPPED {
        return Err(SourceError::UnzippedTooLarge { path });
    }
    match path.file_name().and_then(|name| name.to_str()) {
        Some(name) => Ok(BTreeMap::from([(name.to_owned(), path)])),
        None => Err(SourceError::NotUtf8(path)),
    }
}

/// All files in a folder that are not excluded, by their name in the archive. Reads no content.
fn walk(root: &Path, left_out: &GlobSet) -> Result<BTreeMap<String, PathBuf>, Vec<SourceError>> {
    let real_root =
        fs::canonicalize(root).map_err(|error| vec![SourceError::Unreadable { path: root.into(), error }])?;
    let mut found = BTreeMap::new();
    let mut errors = Vec::new();
    let mut size = 0;
    // Sorted, so that the first error is the same on every machine.
    let mut steps = WalkDir::new(root).min_depth(1).follow_links(true).sort_by_file_name().into_iter();
    while let Some(step) = steps.next() {
        let path = match &step {
            Ok(entry) => entry.path().to_path_buf(),
            Err(error) => error.path().unwrap_or(root).to_path_buf(),
        };
        let name = archive_name(root, &path);
        // Check this first, so that excluded files cause no errors: lock files of editors are
        // broken links.
        let is_draft = |name: &str| files::is_draft(name.rsplit('/').next().unwrap_or(name));
        let is_left_out = name.as_ref().is_some_and(|name| left_out.is_match(name) || is_draft(name));
        let is_folder = step.as_ref().is_ok_and(|entry| entry.file_type().is_dir());
        let file = match (step, name) {
            _ if is_left_out => Ok(None),
            (Err(error), _) => Err(walk_error(path, error)),
            (Ok(_), None) => Err(SourceError::NotUtf8(path)),
            (Ok(entry), Some(name)) => match link_target(&entry) {
                Some(Ok(target)) if !target.starts_with(&real_root) => {
                    Err(SourceError::LinkOutside { link: path, target })
                }
                Some(Err(error)) => Err(SourceError::Unreadable { path, error }),
                _ if is_folder => continue,
                _ if !entry.file_type().is_file() => Err(SourceError::Special(path)),
                _ => match entry.metadata() {
                    Ok(metadata) => Ok(Some((name, path, metadata.len()))),
                    Err(error) => Err(walk_error(path, error)),
                },
            },
        };
        match file {
            Ok(Some((name, path, len))) => {
                size += len;
                found.insert(name, path);
            }
            Ok(None) => {}
            Err(error) => errors.push(error),
        }
        if is_folder {
            steps.skip_current_dir();
        }
        if size >= MAX_UNZIPPED {
            errors.push(SourceError::UnzippedTooLarge { path: root.into() });
            break;
        }
    }
    if found.is_empty() && errors.is_empty() {
        errors.push(SourceError::EmptyFolder(root.into()));
    }
    if errors.is_empty() { Ok(found) } else { Err(errors) }
}

/// `None` if the name is not UTF-8.
fn archive_name(root: &Path, path: &Path) -> Option<String> {
    let relative = path.strip_prefix(root).unwrap_or(path);
    let parts: Option<Vec<&str>> = relative.components().map(|part| part.as_os_str().to_str()).collect();
    Some(parts?.join("/"))
}

/// The target of a symbolic link; `None` for anything else.
fn link_target(entry: &walkdir::DirEntry) -> Option<io::Result<PathBuf>> {
    entry.path_is_symlink().then(|| fs::canonicalize(entry.path()))
}

fn walk_error(path: PathBuf, error: walkdir::Error) -> SourceError {
    if error.loop_ancestor().is_some() {
        return SourceError::LinkLoop(path);
    }
    let message = error.to_string();
    let error = error.into_io_error().unwrap_or_else(|| io::Error::other(message));
    if error.kind() == io::ErrorKind::NotFound && path.is_symlink() {
        return SourceError::LinkBroken(path);
    }
    SourceError::Unreadable { path, error }
}

fn patterns(exclude: &[String]) -> Result<GlobSet, Vec<SourceError>> {
    let mut set = GlobSetBuilder::new();
    let mut errors = Vec::new();
    for pattern in ALWAYS_LEFT_OUT.into_iter().chain(exclude.iter().map(String::as_str)) {
        // `./docs`, `/docs` and `docs/` are the same as `docs`.
        let glob = pattern.strip_prefix("./").unwrap_or(pattern).trim_matches('/');
        match GlobBuilder::new(glob).literal_separator(true).backslash_escape(true).build() {
            Ok(glob) => _ = set.add(glob),
            Err(error) => {
                errors.push(SourceError::Pattern { pattern: pattern.into(), reason: error.kind().to_string() })
            }
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    set.build().map_err(|error| {
        vec![SourceError::Pattern {
            pattern: error.glob().unwrap_or_default().into(),
            reason: error.kind().to_string(),
        }]
    })
}

fn size(files: &Files) -> u64 {
    files.values().map(|content| content.len() as u64).sum()
}

/// The mode of a file, which Lambda applies when it unpacks the zip
/// (docs.aws.amazon.com/lambda/latest/dg/configuration-function-zip.html). Scripts with `#!`, ELF
/// files and `bootstrap`, which Lambda starts
/// (docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html), are executable.
///
/// The content decides, because the file system's executable bit is unreliable: Windows has none,
/// and an archive, a checkout or a umask can lose it. An extra bit is harmless.
fn mode(name: &str, content: &[u8]) -> u32 {
    let is_executable = name == handler::BOOTSTRAP || content.starts_with(b"#!") || content.starts_with(handler::ELF);
    if is_executable { 0o755 } else { 0o644 }
}

/// Builds the zip: only files, sorted by name, all with the earliest timestamp of the format
/// (1980).
fn build(files: &Files, max: u64) -> Result<Vec<u8>, SourceError> {
    let method = if size(files) <= MAX_STORED { CompressionMethod::Stored } else { CompressionMethod::Deflated };
    let options = SimpleFileOptions::default()
        .compression_method(method)
        .compression_level((method == CompressionMethod::Deflated).then_some(6))
        .last_modified_time(DateTime::default())
        // Otherwise the header contains the current operating system.
        .system(System::Unix);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let mut compressed = 0;
    for (name, content) in files {
        let options = options.unix_permissions(mode(name, content));
        let entry = PreparedZipFile::from_data(name, options, content)?;
        compressed += entry.compressed_size();
        if compressed > max {
            return Err(SourceError::ZipTooLarge);
        }
        zip.add_prepared_file(entry)?;
    }
    let zip = zip.finish()?.into_inner();
    if zip.len() as u64 > max { Err(SourceError::ZipTooLarge) } else { Ok(zip) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs::{File, FileTimes};
    use std::time::{Duration, SystemTime};

    use insta::assert_snapshot;
    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;

    const HANDLER: &str = "index.handler";
    const RUNTIME: &str = "nodejs22.x";

    fn entry<'a>(handler: &'a str, runtime: &'a str) -> Entry<'a> {
        Entry { handler, runtime, architecture: Some("x86_64") }
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
        package(&Source::Path { path: path.into(), boundary: None, exclude }, entry(HANDLER, RUNTIME))
    }

    fn package_inline(text: &str, handler: &str, runtime: &str) -> Result<Package, Vec<SourceError>> {
        package(&Source::Inline(text.into()), entry(handler, runtime))
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

    fn unzip(zip: &[u8]) -> Vec<(String, Vec<u8>)> {
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
        assert!(deflated.unzipped > MAX_STORED && (deflated.zip.len() as u64) < deflated.unzipped / 2);
        assert_eq!(deflated.code_sha256, "IrbZoNlR4n+UVXuWA574c75W67hIAsrJIxBB3+79QW0=");
    }

    /// The modes in a zip, by name.
    fn modes(zip: &[u8]) -> Vec<(String, u32)> {
        let mut archive = zip::ZipArchive::new(Cursor::new(zip)).unwrap();
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
                assert_eq!(modes(&package.zip), expected, "mode {mode:o}, umask {umask:o}");
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
            let source = Source::Path { path: path.into(), boundary: boundary.map(Into::into), exclude: Vec::new() };
            package(&source, entry(HANDLER, RUNTIME)).map_err(|errors| match errors.as_slice() {
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
                let wanted = if is_whole && wanted.is_ok() { Err("other") } else { wanted };
                assert_eq!(seen, wanted, "{path} {boundary:?}");
            }
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
            prop_assert_eq!(&package.zip, &package_path(other.path(), &[]).unwrap().zip);
            prop_assert_eq!(&package.files, &files.keys().cloned().collect::<Vec<_>>());
            prop_assert_eq!(package.unzipped, size(&files));
            prop_assert_eq!(unzip(&package.zip), files.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn editor_files_and_matches_of_patterns_are_excluded() {
        let kept = ["index.js", "lib/.env", "lib/a.test.js", "lib/docs/a.md", "node_modules/a/b.js", "#1.js", "git/x"];
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
        ];
        let files: Vec<(&str, &str)> = kept.iter().chain(&leavings).map(|name| (*name, "x")).collect();
        let root = folder(&files);
        let left = |exclude: &[&str]| outcome_in(root.path(), package_path(root.path(), exclude)).replace('\n', "  ");
        assert_snapshot!(left(&[]), @"#1.js  git/x  index.js  lib/.env  lib/a.test.js  lib/docs/a.md  node_modules/a/b.js");
        assert_snapshot!(left(&["docs", "*.test.js", "./node_modules/"]), @"#1.js  git/x  index.js  lib/.env  lib/a.test.js  lib/docs/a.md");
        assert_snapshot!(left(&["**/docs", "**/*.test.js", "node_modules/**", "{git,#*}"]), @"index.js  lib/.env");
        assert_snapshot!(left(&["**"]), @"folder `root` has no files to package    why: Lambda rejects an empty package; version control and editor files are always excluded    hint: add the handler's file to it, or narrow `exclude`");
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
        assert_snapshot!(named(es, "./src/api.v1.handler", RUNTIME), @r#"src/api.mjs [Problem { path: Path(None), problem: "`src/api.mjs` doesn't export `v1`", why: Some("it exports `handler`"), hint: "add `export const v1 = …` to it, or use another export in `handler`", warning: false }]"#);
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
            unzip(&package_inline(es, HANDLER, RUNTIME).unwrap().zip),
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
          why: Lambda rejects an empty package; version control and editor files are always excluded
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
