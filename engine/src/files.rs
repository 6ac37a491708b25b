//! Writes files that the user names, atomically, and reads and writes engine's own files in a
//! project.
//!
//! Links in the user's paths are followed. Links in place of engine's own files in a project
//! ([`own`]) are not, because a cloned repository could contain a link to any file.
//!
//! **Invariant:** writes never follow a link in the last component of a path.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

pub use engine_core::spec::files::*;

#[cfg(unix)]
const NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
#[cfg(unix)]
const NOFOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();

/// engine's own files and folders, none of which may be a link.
pub mod own {
    use std::fs::{File, OpenOptions};
    use std::io::{self, Read as _};
    use std::path::{Path, PathBuf};

    use super::{NewFile, Readers};

    /// The name of engine's own folder in a project.
    pub const FOLDER: &str = super::OWN_FOLDER;

    /// Creates engine's own folder in a project, which only its owner can open and git ignores, and
    /// returns its path.
    ///
    /// # Errors
    /// Something else exists there, like a link, or it can't be created.
    pub fn project_folder(project: &Path) -> io::Result<PathBuf> {
        let path = project.canonicalize()?.join(FOLDER);
        folder(&path)?;
        #[cfg(unix)]
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
        super::create_all(&[NewFile::new(&path.join(".gitignore"), b"*\n")]).map_err(|(_, error)| error)?;
        Ok(path)
    }

    /// Creates a folder unless it exists.
    ///
    /// # Errors
    /// Something else exists there, like a link, or it can't be created.
    pub fn folder(path: &Path) -> io::Result<()> {
        match std::fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => is_folder(path),
            made => made,
        }
    }

    /// Checks that a path is a folder and not a link to one.
    ///
    /// # Errors
    /// It is something else, or doesn't exist.
    pub fn is_folder(path: &Path) -> io::Result<()> {
        let kind = path.symlink_metadata()?.file_type();
        match kind.is_dir() {
            true => Ok(()),
            false if kind.is_symlink() => Err(link()),
            false => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    /// The first `limit` bytes of a file.
    ///
    /// # Errors
    /// It is a link or not a regular file, doesn't exist, or can't be read.
    pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        open(OpenOptions::new().read(true), path)?.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Opens a file for writing without truncating it, and creates it if it doesn't exist.
    ///
    /// # Errors
    /// It is a link or not a regular file, or can't be written.
    pub fn keep(path: &Path) -> io::Result<File> {
        open(OpenOptions::new().write(true).create(true).truncate(false), path)
    }

    /// Creates a new file, replacing an existing one.
    ///
    /// # Errors
    /// The existing one can't be removed, or the new one can't be created.
    pub fn renew(path: &Path) -> io::Result<File> {
        super::renew(path, Readers::Owner)
    }

    fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::custom_flags(options, super::NONBLOCK | super::NOFOLLOW);
        let file = options.open(path).map_err(|error| match path.is_symlink() {
            true => link(),
            false => error,
        })?;
        match file.metadata()?.is_file() {
            true => Ok(file),
            false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")),
        }
    }

    fn link() -> io::Error {
        io::Error::new(io::ErrorKind::InvalidInput, "it is a symbolic link, which engine doesn't follow here")
    }
}

/// Who can read a new file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// Only its owner.
    Owner,
    /// As set by the user's umask.
    Usual,
}

/// Writes a file atomically: to a temporary file in the same folder, which is then renamed. An
/// existing link is replaced, not its target.
///
/// # Errors
/// The path has no file name, or can't be written; no temporary file remains.
pub fn replace(path: &Path, bytes: &[u8], readers: Readers) -> io::Result<()> {
    let new = beside(path)?;
    let written = renew(&new, readers).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&new, path)
    });
    // The temporary file may not exist.
    written.inspect_err(|_| drop(std::fs::remove_file(&new)))
}

/// Checks that [`replace`] could write to the path.
///
/// # Errors
/// The path has no file name, or its folder isn't writable.
pub fn probe(path: &Path) -> io::Result<()> {
    let new = beside(path)?;
    renew(&new, Readers::Owner)?;
    std::fs::remove_file(&new)
}

/// What to do about a file that can't be written: free space if the disk is full, else `otherwise`.
pub fn remedy(error: &io::Error, otherwise: &str) -> String {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            "free disk space, and run the command again".to_owned()
        }
        _ => otherwise.to_owned(),
    }
}

/// A file to write.
#[derive(Debug, Clone, Copy)]
pub struct NewFile<'f> {
    /// Its path.
    pub path: &'f Path,
    /// Its content.
    pub bytes: &'f [u8],
    /// Who can read it.
    pub readers: Readers,
}

impl<'f> NewFile<'f> {
    /// A file that others can read.
    pub fn new(path: &'f Path, bytes: &'f [u8]) -> NewFile<'f> {
        NewFile { path, bytes, readers: Readers::Usual }
    }
}

/// Writes new files, all or none, and the folders they need. Existing files are kept, and reported
/// as `false`.
///
/// # Errors
/// One of them can't be written; all new ones are removed.
pub fn create_all(files: &[NewFile<'_>]) -> Result<Vec<bool>, (PathBuf, io::Error)> {
    let mut made = Vec::new();
    let is_new: Result<Vec<bool>, _> =
        files.iter().map(|file| create_new(file, &mut made).map_err(|it| (file.path.to_owned(), it))).collect();
    if is_new.is_err() {
        // Remove the newest first, so that folders are empty. Folders with files from other
        // processes remain.
        for path in made.iter().rev() {
            let _ = std::fs::remove_file(path).or_else(|_| std::fs::remove_dir(path));
        }
    }
    is_new
}

fn create_new(file: &NewFile<'_>, made: &mut Vec<PathBuf>) -> io::Result<bool> {
    let NewFile { path, bytes, readers } = *file;
    let folders: Vec<&Path> = path.ancestors().skip(1).filter(|it| !it.as_os_str().is_empty()).collect();
    for folder in folders.into_iter().rev() {
        match std::fs::create_dir(folder) {
            Ok(()) => made.push(folder.to_owned()),
            Err(_) if folder.is_dir() => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(io::Error::new(
                    io::ErrorKind::NotADirectory,
                    format!("`{}` is not a folder", folder.display()),
                ));
            }
            Err(error) => return Err(error),
        }
    }
    let mut file = match create(path, readers) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        other => other?,
    };
    made.push(path.to_owned());
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(true)
}

fn beside(path: &Path) -> io::Result<PathBuf> {
    let name =
        path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path has no file name"))?;
    let mut new = std::ffi::OsString::from(".");
    new.push(name);
    new.push(format!(".{}.new", std::process::id()));
    Ok(path.with_file_name(new))
}

/// Creates a new file, replacing an existing one, for example of an earlier process with the same
/// ID.
fn renew(path: &Path, readers: Readers) -> io::Result<File> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => create(path, readers),
    }
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

#[cfg(test)]
#[cfg(unix)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// Each operation on engine's own files, with links to a file, a folder and a missing target.
    #[test]
    fn nothing_is_read_or_written_through_a_link() {
        type FileOperation = fn(&Path) -> io::Result<()>;
        let ways: [(&str, bool, FileOperation); 8] = [
            ("read", false, |path| own::read(path, 10).map(drop)),
            ("keep", false, |path| own::keep(path).map(drop)),
            ("folder", false, own::folder),
            ("is_folder", false, own::is_folder),
            ("renew", true, |path| own::renew(path)?.write_all(b"new")),
            ("replace", true, |path| replace(path, b"new", Readers::Usual)),
            ("replace for its owner", true, |path| replace(path, b"new", Readers::Owner)),
            ("create_all", false, |path| match create_all(&[NewFile::new(path, b"new")]) {
                Ok(made) if made == [true] => Ok(()),
                _ => Err(io::ErrorKind::AlreadyExists.into()),
            }),
        ];
        for target in ["file", "folder", "missing"] {
            for (name, replaces, way) in &ways {
                let folder = tempfile::tempdir().unwrap();
                let [link, real] = ["link", target].map(|it| folder.path().join(it));
                fs::write(folder.path().join("file"), "precious").unwrap();
                fs::create_dir(folder.path().join("folder")).unwrap();
                symlink(&real, &link).unwrap();
                assert_eq!(way(&link).is_ok(), *replaces, "{name} of a link to a {target}");
                assert_eq!(fs::read(folder.path().join("file")).unwrap(), b"precious", "{name}");
                assert!(fs::read_dir(folder.path().join("folder")).unwrap().next().is_none(), "{name}");
                assert!(!folder.path().join("missing").exists(), "{name}");
                assert_eq!(link.is_symlink(), !replaces, "{name}: a link that is not followed stays, or is replaced");
            }
        }
    }

    #[test]
    fn a_temporary_file_of_an_earlier_process_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plan.json");
        fs::write(folder.path().join("precious"), "precious").unwrap();
        symlink(folder.path().join("precious"), beside(&path).unwrap()).unwrap();
        probe(&path).unwrap();
        symlink(folder.path().join("precious"), beside(&path).unwrap()).unwrap();
        replace(&path, b"new", Readers::Owner).unwrap();
        assert_eq!(fs::read(folder.path().join("precious")).unwrap(), b"precious");
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }
}
