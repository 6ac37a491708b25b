//! Why a function's source can't be packaged.
//!
//! **Invariant:** each error has a hint, and none has the content of a file.

use std::io;
use std::path::PathBuf;

use super::{MAX_UNZIPPED, MAX_ZIP};

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
    /// Something else than a wheel among the downloads of pip.
    #[error("pip downloaded `{}`, which is not a wheel", path.file_name().unwrap_or_default().display())]
    NotWheel {
        /// The file.
        path: PathBuf,
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
            Self::EmptyFolder(_) => Some(
                "Lambda rejects an empty package; version control, editor files and `__pycache__` are always excluded",
            ),
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
            Self::NotWheel { .. } => Some("only wheels are built for another machine than this one"),
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
            Self::NotWheel { .. } => "require a version with a wheel, or make the package with `build:`",
            Self::Runtime { .. } => "move the code to a folder and set its path as `code`",
            Self::UnzippedTooLarge { .. } | Self::ZipTooLarge => {
                "exclude unneeded files with `exclude`, bundle the code, or move libraries to a layer"
            }
            Self::Zip(_) => "shorten the file names",
        }
    }
}
