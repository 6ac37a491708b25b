//! Recognizes a folder that was packed before.
//!
//! A folder has one entry in the user's cache folder, named after the folder's path and the excludes.
//! It has the hash of the names and contents that were packed, and of the zip. If the contents have
//! the same hash, nothing is packed. If no file was touched since, they are not even read: the entry
//! also has a hash of each file's name, size, inode, and times of change.
//!
//! **Invariant:** an entry saves work and decides nothing: what is uploaded is packed from the
//! files, and must have the expected hash. Times of modification alone prove nothing, since programs
//! can set them. The time of the inode's change (`ctime`) is set by the system with every write and
//! every change of the other times; only files whose times are older than [`CLOCK_TICK`] count, since
//! two writes can fall into one tick of a file system's clock. Systems without it read the contents.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Files;
use super::walk::FoundFile;

/// Increase it with every change of what a package contains.
const FORMAT: &str = concat!("2 ", env!("CARGO_PKG_VERSION"));
/// The coarsest clocks of file systems tick every two seconds (FAT).
const CLOCK_TICK: Duration = Duration::from_secs(2);
/// Entries that weren't used for this long are deleted.
const UNUSED: Duration = Duration::from_secs(30 * 24 * 3600);
/// How exact that is.
const NOTED: Duration = Duration::from_secs(24 * 3600);
/// The folder of the entries.
const FOLDER: &str = "packages";

/// The entry of one folder.
pub(super) struct Cache {
    path: PathBuf,
    stamp: Option<String>,
}

/// What is known about a packed folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Packed {
    /// The hash of its zip.
    pub(super) code_sha256: String,
    /// The size of its zip.
    pub(super) size: u64,
    /// The files that were found but not packed, because engine wrote them.
    pub(super) dropped: BTreeSet<String>,
    /// The hash of the names and contents that were packed.
    contents: String,
    /// The hash of the files' metadata; `None` if it proves nothing.
    stamp: Option<String>,
}

impl Cache {
    /// The entry for a folder with these files, which were found after `before`.
    pub(super) fn new(
        folder: &Path,
        root: &Path,
        exclude: &[String],
        found: &BTreeMap<String, FoundFile>,
        before: SystemTime,
    ) -> Cache {
        let mut key = Sha256::new();
        field(&mut key, FORMAT.as_bytes());
        field(&mut key, root.as_os_str().as_encoded_bytes());
        exclude.iter().for_each(|pattern| field(&mut key, pattern.as_bytes()));
        let path = folder.join(FOLDER).join(format!("{}.json", hex(key)));
        Cache { path, stamp: stamp(found, before) }
    }

    /// What is known about the folder if no file was touched since.
    pub(super) fn untouched(&self) -> Option<Packed> {
        let packed = self.read()?;
        let is_same = self.stamp.is_some() && packed.stamp == self.stamp;
        let used = fs::metadata(&self.path).and_then(|it| it.modified()).ok();
        if is_same && used.and_then(|it| it.elapsed().ok()).is_some_and(|since| since > NOTED) {
            self.write(&packed);
        }
        is_same.then_some(packed)
    }

    /// What is known about the folder if it has these contents.
    pub(super) fn unchanged(&self, files: &Files) -> Option<Packed> {
        let packed = self.read()?;
        let is_same = packed.contents == contents(files);
        let packed = Packed { stamp: self.stamp.clone(), ..packed };
        is_same.then(|| {
            self.write(&packed);
            packed
        })
    }

    /// Stores what packing these files resulted in. An entry that can't be written isn't missed.
    pub(super) fn store(&self, files: &Files, dropped: BTreeSet<String>, code_sha256: &str, size: u64) {
        self.write(&Packed {
            code_sha256: code_sha256.to_owned(),
            size,
            dropped,
            contents: contents(files),
            stamp: self.stamp.clone(),
        });
    }

    fn read(&self) -> Option<Packed> {
        serde_json::from_slice(&fs::read(&self.path).ok()?).ok()
    }

    fn write(&self, packed: &Packed) {
        let _ = self.try_write(packed);
    }

    fn try_write(&self, packed: &Packed) -> io::Result<()> {
        let folder = self.path.parent().ok_or(io::ErrorKind::InvalidFilename)?;
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(folder)?;
        remove_unused(folder);
        let draft = self.path.with_extension(format!("{}.new", std::process::id()));
        fs::write(&draft, serde_json::to_vec(packed)?)?;
        fs::rename(draft, &self.path)
    }
}

fn remove_unused(folder: &Path) {
    let oldest = SystemTime::now().checked_sub(UNUSED);
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let modified = entry.metadata().and_then(|it| it.modified()).ok();
        if modified.zip(oldest).is_some_and(|(modified, oldest)| modified < oldest) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The hash of names and contents.
fn contents(files: &Files) -> String {
    let mut hash = Sha256::new();
    for (name, content) in files {
        field(&mut hash, name.as_bytes());
        field(&mut hash, content);
    }
    hex(hash)
}

/// The hash of the files' metadata; `None` if a file may change without changing it.
fn stamp(found: &BTreeMap<String, FoundFile>, before: SystemTime) -> Option<String> {
    let cutoff = before.checked_sub(CLOCK_TICK)?.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_nanos();
    let mut hash = Sha256::new();
    for (name, FoundFile { stamp, .. }) in found {
        let stamp = stamp.as_ref()?;
        if stamp.changed.max(stamp.modified) >= i128::try_from(cutoff).ok()? {
            return None;
        }
        field(&mut hash, name.as_bytes());
        for part in [stamp.changed, stamp.modified, stamp.inode.into(), stamp.device.into(), stamp.len.into()] {
            hash.update(part.to_le_bytes());
        }
    }
    Some(hex(hash))
}

/// Adds a part with its length, so that no two lists of parts are the same bytes.
fn field(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_le_bytes());
    hash.update(bytes);
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs::{File, FileTimes};

    use tempfile::TempDir;

    use super::super::{CodeSource, EntryPoint, Package, package, walk};
    use super::*;

    struct Project {
        code: TempDir,
        cache: TempDir,
    }

    impl Project {
        fn new() -> Project {
            let project = Project { code: TempDir::new().unwrap(), cache: TempDir::new().unwrap() };
            project.write("index.js", "exports.handler = async () => 1;");
            project.write("other.txt", "other");
            project
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.code.path().join(name), text).unwrap();
        }

        fn package(&self) -> Package {
            let source = CodeSource::Path { path: self.code.path().into(), boundary: None, exclude: Vec::new() };
            let entry = EntryPoint { handler: "index.handler", runtime: "nodejs22.x", architecture: None };
            package(&source, entry, Some(self.cache.path())).unwrap()
        }

        /// The stamp of the folder, as if it had been found that much later.
        fn stamp(&self, later: Duration) -> Option<String> {
            let found = walk::walk(self.code.path(), &walk::patterns(&[]).unwrap()).unwrap();
            stamp(&found, SystemTime::now() + later)
        }

        fn entries(&self) -> Vec<PathBuf> {
            let entries = fs::read_dir(self.cache.path().join(FOLDER)).unwrap();
            entries.map(|entry| entry.unwrap().path()).collect()
        }
    }

    #[test]
    fn a_folder_with_the_same_contents_is_packed_only_for_an_upload() {
        let project = Project::new();
        let first = project.package();
        // The same contents in new files.
        for (name, text) in [("other.txt", "other"), ("index.js", "exports.handler = async () => 1;")] {
            fs::remove_file(project.code.path().join(name)).unwrap();
            project.write(name, text);
        }
        let again = project.package();
        assert!(format!("{:?}", again.artifact).starts_with("the folder"), "{:?}", again.artifact);
        assert_eq!((&again.code_sha256, again.size, &again.files), (&first.code_sha256, first.size, &first.files));
        assert_eq!(again.artifact.bytes().unwrap(), first.artifact.bytes().unwrap());

        project.write("other.txt", "OTHER");
        let changed = project.package();
        assert!(format!("{:?}", changed.artifact).starts_with("a zip"));
        assert_ne!(changed.code_sha256, first.code_sha256);
        // What was found before is not what is there now.
        assert!(again.artifact.bytes().is_ok(), "its zip was made before");
        let known = project.package();
        project.write("other.txt", "third");
        assert!(known.artifact.bytes().unwrap_err().contains("the code changed after engine read it"));
    }

    #[test]
    fn an_entry_that_is_wrong_or_damaged_is_never_uploaded() {
        let project = Project::new();
        let first = project.package();
        let [entry] = &project.entries()[..] else { panic!("one entry") };
        let text = fs::read_to_string(entry).unwrap();
        fs::write(entry, text.replace(&first.code_sha256, "AAAA")).unwrap();
        assert!(project.package().artifact.bytes().is_err());
        for damaged in ["", "{}", "null", &text[..text.len() / 2]] {
            fs::write(entry, damaged).unwrap();
            assert_eq!(project.package().code_sha256, first.code_sha256, "{damaged}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn every_change_of_a_file_changes_the_stamp_even_if_its_time_is_set_back() {
        use std::os::unix::fs::MetadataExt as _;

        let project = Project::new();
        let later = Duration::from_secs(10);
        // Two writes can fall into one tick.
        assert_eq!(project.stamp(Duration::ZERO), None);
        let before = project.stamp(later);
        assert!(before.is_some());
        assert_eq!(project.stamp(later * 2), before, "reading changes nothing");

        let path = project.code.path().join("other.txt");
        let old = fs::metadata(&path).unwrap();
        let is_new = || {
            (fs::metadata(&path).unwrap().ctime_nsec(), fs::metadata(&path).unwrap().ctime())
                != (old.ctime_nsec(), old.ctime())
        };
        while !is_new() {
            project.write("other.txt", "OTHER");
            let file = File::options().write(true).open(&path).unwrap();
            file.set_times(FileTimes::new().set_modified(old.modified().unwrap())).unwrap();
        }
        let now = fs::metadata(&path).unwrap();
        assert_eq!((now.len(), now.modified().unwrap()), (old.len(), old.modified().unwrap()));
        assert_ne!(project.stamp(later), before);
        let changed = project.stamp(later);
        fs::rename(&path, project.code.path().join("another.txt")).unwrap();
        assert_ne!(project.stamp(later), changed);
    }

    #[test]
    fn unused_entries_are_deleted() {
        let project = Project::new();
        project.package();
        let [entry] = &project.entries()[..] else { panic!("one entry") };
        let old = entry.with_file_name("old.json");
        fs::copy(entry, &old).unwrap();
        let month = SystemTime::now() - UNUSED - Duration::from_secs(1);
        File::options().write(true).open(&old).unwrap().set_times(FileTimes::new().set_modified(month)).unwrap();
        project.write("other.txt", "changed");
        project.package();
        assert_eq!(project.entries(), std::slice::from_ref(entry));
    }
}
