//! Reads files that a user names: only regular files, and at most as many bytes as requested. Links
//! in the user's paths are followed.
//!
//! **Invariant:** reads never block and always end: pipes and devices are rejected.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// Why a file can't be read.
#[derive(Debug)]
pub enum Unread {
    /// The file doesn't exist.
    Missing,
    /// A folder.
    Folder,
    /// A pipe, a socket or a device.
    Special,
    /// The system's reason for refusing it.
    Refused(io::Error),
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Unread {
        match error.kind() {
            // A path with a file as a folder doesn't exist either.
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Unread::Missing,
            io::ErrorKind::IsADirectory => Unread::Folder,
            _ => Unread::Refused(error),
        }
    }
}

impl Unread {
    /// The reason, to be appended to the file's name.
    pub fn reason(&self) -> String {
        match self {
            Unread::Missing => "doesn't exist".to_owned(),
            Unread::Folder => "is a folder".to_owned(),
            Unread::Special => "is not a regular file".to_owned(),
            Unread::Refused(error) => format!("can't be read: {error}"),
        }
    }
}

/// Opens a regular file.
///
/// # Errors
/// It is not a regular file, or can't be opened.
pub fn open(path: &Path) -> Result<File, Unread> {
    let mut options = OpenOptions::new();
    options.read(true);
    // Without this, opening a pipe blocks until there is a writer. It has no effect on regular
    // files.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, NONBLOCK);
    let file = options.open(path).map_err(|error| match std::fs::metadata(path) {
        // A socket can't be opened at all.
        Ok(metadata) if !metadata.is_file() && !metadata.is_dir() => Unread::Special,
        _ => Unread::from(error),
    })?;
    let kind = file.metadata()?.file_type();
    match kind.is_file() {
        true => Ok(file),
        false if kind.is_dir() => Err(Unread::Folder),
        false => Err(Unread::Special),
    }
}

#[cfg(unix)]
const NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();

/// The first `limit` bytes of a regular file. To detect a larger file, request one byte more than
/// allowed.
///
/// # Errors
/// It is not a regular file, or can't be read.
pub fn read(path: &Path, limit: usize) -> Result<Vec<u8>, Unread> {
    let mut bytes = Vec::new();
    open(path)?.take(u64::try_from(limit).unwrap_or(u64::MAX)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The ending of the names of engine's own folders: the one in a project, and those with the
/// packages of saved plans.
pub const OWN_FOLDER: &str = ".engine";

/// The absolute path of a file without links; `None` if it doesn't exist.
pub(super) fn real_path(path: &Path) -> Option<PathBuf> {
    std::fs::canonicalize(path).ok()
}

/// The value of `kind`, the first field of a saved plan (`diff --out`).
pub const SAVED_PLAN: &str = "engine saved plan";
/// The generator in the head of a timeline (`apply --timeline`).
pub const TIMELINE: &str = "engine timeline";
/// Number of bytes that identify a file.
const HEAD: usize = 400;

/// Whether the content is an output file of engine with a user-defined name: a saved plan or
/// timeline, even from another version or incomplete.
pub fn is_own_output(content: &[u8]) -> bool {
    let head = String::from_utf8_lossy(content.get(..HEAD).unwrap_or(content));
    let bare: String = head.trim_start_matches('\u{feff}').split_whitespace().collect();
    bare.starts_with(&format!(r#"{{"kind":"{SAVED_PLAN}""#).replace(' ', ""))
        || head.contains(&format!(r#"name="generator" content="{TIMELINE}""#))
}

/// Whether the name is that of a temporary file that was left by a killed process: `.NAME.PID.new`.
pub fn is_draft(name: &str) -> bool {
    let id = name.strip_prefix('.').and_then(|it| it.strip_suffix(".new")).and_then(|it| it.rsplit_once('.'));
    id.is_some_and(|(of, id)| !of.is_empty() && !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The project folder of the specs in `folder`: the nearest ancestor with `.git` (a folder, or a
/// worktree's file), else the nearest with `specs/` that contains the spec or the current folder,
/// else `folder` itself.
pub(super) fn project(folder: &Path, current_dir: Option<&Path>) -> PathBuf {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let folder = std::fs::canonicalize(folder).or_else(|_| std::path::absolute(folder)).unwrap_or_default();
    let repository = folder.ancestors().find(|it| it.join(".git").exists());
    let here = current_dir.and_then(|folder| std::fs::canonicalize(folder).ok());
    // A `specs/` folder further up may belong to another project.
    let is_within = |it: &Path| here.as_ref().is_some_and(|here| it.starts_with(here));
    let is_holder = |it: &Path| {
        let specs = it.join("specs");
        specs.is_dir() && (folder.starts_with(&specs) || is_within(it))
    };
    let holder = || folder.ancestors().find(|it| is_holder(it));
    repository.or_else(holder).unwrap_or(&folder).to_owned()
}
