//! Reading and writing what the user names: regular files alone, never more of one than was asked for, and all of one
//! or nothing.
//!
//! **Invariant:** it never waits and never reads without an end: a pipe that nobody writes to and a device are refused.
//! Whatever else a file is, is the caller's business.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// Why there is nothing to read.
#[derive(Debug)]
pub enum Unread {
    /// Nothing stands there.
    Missing,
    /// A folder.
    Folder,
    /// A pipe, a socket or a device.
    Special,
    /// The system does not allow it, or can't; its reason.
    Refused(io::Error),
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Unread {
        match error.kind() {
            // A path that goes on below a file leads nowhere either.
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Unread::Missing,
            io::ErrorKind::IsADirectory => Unread::Folder,
            _ => Unread::Refused(error),
        }
    }
}

impl Unread {
    /// The reason, as the end of a sentence that begins with the file's name.
    pub fn reason(&self) -> String {
        match self {
            Unread::Missing => "does not exist".to_owned(),
            Unread::Folder => "is a folder".to_owned(),
            Unread::Special => "is no regular file".to_owned(),
            Unread::Refused(error) => format!("can't be read: {error}"),
        }
    }
}

/// Opens a regular file.
///
/// # Errors
/// It is none, or can't be opened.
pub fn open(path: &Path) -> Result<File, Unread> {
    let mut options = OpenOptions::new();
    options.read(true);
    // Otherwise a pipe is only opened once somebody writes to it. On a regular file it means nothing.
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

/// The first `limit` bytes of a regular file. Who has to know that it has more asks for one more than is allowed.
///
/// # Errors
/// It is none, or can't be read.
pub fn read(path: &Path, limit: usize) -> Result<Vec<u8>, Unread> {
    let mut bytes = Vec::new();
    open(path)?.take(u64::try_from(limit).unwrap_or(u64::MAX)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Who may read a new file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// Nobody but its owner.
    Owner,
    /// Whoever may by the user's own rules.
    Usual,
}

/// Writes all of a file, or nothing: beside its place first, which is then renamed. What stood there is replaced.
///
/// # Errors
/// It names no file, or can't be written; then nothing is left behind.
pub fn replace(path: &Path, bytes: &[u8], readers: Readers) -> io::Result<()> {
    let new = beside(path)?;
    let written = create(&new, readers).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&new, path)
    });
    // What is not there need not be removed.
    written.inspect_err(|_| drop(std::fs::remove_file(&new)))
}

/// Whether [`replace`] could write there by now.
///
/// # Errors
/// It names no file, or nothing can be written beside it.
pub fn probe(path: &Path) -> io::Result<()> {
    let new = beside(path)?;
    create(&new, Readers::Owner)?;
    std::fs::remove_file(&new)
}

/// Writes new files, all or none, with the folders they need. What is there already stays, and is told apart in the
/// answer by `false`.
///
/// # Errors
/// One of them can't be written; then nothing is left behind.
pub fn create_all(files: &[(PathBuf, &str)]) -> Result<Vec<bool>, (PathBuf, io::Error)> {
    let mut made = Vec::new();
    let is_new: Result<Vec<bool>, _> =
        files.iter().map(|(path, text)| create_new(path, text, &mut made).map_err(|it| (path.clone(), it))).collect();
    if is_new.is_err() {
        // Newest first, so that folders are empty; what somebody else has put there meanwhile keeps its folder.
        for path in made.iter().rev() {
            let _ = std::fs::remove_file(path).or_else(|_| std::fs::remove_dir(path));
        }
    }
    is_new
}

fn create_new(path: &Path, text: &str, made: &mut Vec<PathBuf>) -> io::Result<bool> {
    let folders: Vec<&Path> = path.ancestors().skip(1).filter(|it| !it.as_os_str().is_empty()).collect();
    for folder in folders.into_iter().rev() {
        match std::fs::create_dir(folder) {
            Ok(()) => made.push(folder.to_owned()),
            Err(_) if folder.is_dir() => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(io::Error::new(
                    io::ErrorKind::NotADirectory,
                    format!("`{}` is no folder", folder.display()),
                ));
            }
            Err(error) => return Err(error),
        }
    }
    let mut file = match create(path, Readers::Usual) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        other => other?,
    };
    made.push(path.to_owned());
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(true)
}

/// What a saved plan (`diff --out`) says it is, in its first field, `kind`.
pub const SAVED_PLAN: &str = "engine saved plan";
/// What a timeline (`apply --timeline`) says it was generated by, in its head.
pub const TIMELINE: &str = "engine timeline";
/// Enough of a file to recognize it by, in bytes.
const HEAD: usize = 400;

/// Whether the content is that of a file that engine writes under a name of the user's choice: a saved plan or a
/// timeline, also one of another version, or the first half of one.
pub fn is_own_output(content: &[u8]) -> bool {
    let head = String::from_utf8_lossy(content.get(..HEAD).unwrap_or(content));
    let bare: String = head.trim_start_matches('\u{feff}').split_whitespace().collect();
    bare.starts_with(&format!(r#"{{"kind":"{SAVED_PLAN}""#).replace(' ', ""))
        || head.contains(&format!(r#"name="generator" content="{TIMELINE}""#))
}

/// Whether a file's name is one that only [`replace`] gives: what it was writing when it was killed.
pub fn is_draft(name: &str) -> bool {
    let id = name.strip_prefix('.').and_then(|it| it.strip_suffix(".new")).and_then(|it| it.rsplit_once('.'));
    id.is_some_and(|(of, id)| !of.is_empty() && !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()))
}

fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it names no file"))?;
    let mut new = std::ffi::OsString::from(".");
    new.push(name);
    new.push(format!(".{}.new", std::process::id()));
    Ok(path.with_file_name(new))
}

#[cfg_attr(not(unix), allow(unused_variables))]
fn create(path: &Path, readers: Readers) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if readers == Readers::Owner {
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    options.open(path)
}
