//! Downloaded packages: checks them against the lock file, unpacks them, and computes the digest of
//! the result.
//!
//! **Invariant:** a file is used only after its hash was found in the lock file, and the bytes that
//! are unpacked are those that were hashed. Runs no program.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Cursor, Read as _};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use zip::ZipArchive;

/// The largest download is 16 MB.
const LARGEST: u64 = 64 << 20;

/// Why downloads are refused.
#[derive(Debug)]
pub(super) enum BadWheel {
    /// They don't match the lock file.
    Refused(String),
    /// They can't be read, or their content can't be written.
    Io(io::Error),
}

impl From<io::Error> for BadWheel {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A package of a lock file: its accepted hashes, and whether this Python needs it.
#[derive(Debug, Default, PartialEq, Eq)]
struct LockedPackage<'l> {
    hashes: Vec<&'l str>,
    is_needed: bool,
}

/// Parses a lock file in the format of `uv pip compile --generate-hashes`.
fn parse_lock(lock: &str, python: [u32; 3]) -> BTreeMap<String, LockedPackage<'_>> {
    let mut packages = BTreeMap::<String, LockedPackage<'_>>::new();
    let mut current = None;
    for line in lock.lines() {
        let line = line.trim_end_matches('\\').trim_end();
        if let Some(hash) = line.trim_start().strip_prefix("--hash=sha256:") {
            let package = current.as_ref().and_then(|name: &String| packages.get_mut(name));
            package.into_iter().for_each(|package| package.hashes.push(hash));
        } else if let Some((name, rest)) = line.split_once("==").filter(|_| !line.starts_with([' ', '#'])) {
            let is_needed = rest.split_once(';').is_none_or(|(_, marker)| is_met(marker, python));
            packages.insert(normalized(name), LockedPackage { hashes: Vec::new(), is_needed });
            current = Some(normalized(name));
        }
    }
    packages
}

/// Evaluates the only form of marker in the lock file: `python_full_version < '3.11'`. Any other
/// counts as true, so that a package is reported as missing rather than omitted silently.
fn is_met(marker: &str, [major, minor, _]: [u32; 3]) -> bool {
    let bound = marker.trim().strip_prefix("python_full_version < '").and_then(|it| it.strip_suffix('\''));
    let bound = bound
        .and_then(|it| it.split_once('.'))
        .and_then(|(major, minor)| Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?)));
    bound.is_none_or(|bound| (major, minor) < bound)
}

/// A common spelling for the names of the lock file and of wheels.
fn normalized(name: &str) -> String {
    name.trim().to_ascii_lowercase().replace(['-', '.'], "_")
}

/// How many packages a lock file has for this Python.
pub(super) fn count(lock: &str, python: [u32; 3]) -> usize {
    parse_lock(lock, python).values().filter(|locked| locked.is_needed).count()
}

/// Unpacks the wheels of `downloads` into `site`, if they are exactly those of the lock file for
/// this Python.
pub(super) fn unpack(lock: &str, python: [u32; 3], downloads: &Path, site: &Path) -> Result<(), BadWheel> {
    let mut packages = parse_lock(lock, python);
    for entry in fs::read_dir(downloads)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let refused = |why: &str| BadWheel::Refused(format!("`{name}` {why}"));
        if !entry.file_type()?.is_file() || !name.ends_with(".whl") {
            return Err(refused("is not a wheel"));
        }
        let package = normalized(name.split('-').next().unwrap_or_default());
        let locked =
            packages.remove(&package).ok_or_else(|| refused("is not in the lock file, or was downloaded twice"))?;
        let mut bytes = Vec::new();
        File::open(entry.path())?.take(LARGEST).read_to_end(&mut bytes)?;
        let hash = hex(&Sha256::digest(&bytes));
        if !locked.hashes.contains(&hash.as_str()) {
            return Err(refused(&format!("has the hash {hash}")));
        }
        unpack_one(bytes, site).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => refused(&error.to_string()),
            _ => BadWheel::Io(error),
        })?;
    }
    match packages.iter().find(|(_, locked)| locked.is_needed) {
        Some((missing, _)) => Err(BadWheel::Refused(format!("`{missing}` was not downloaded"))),
        None => Ok(()),
    }
}

fn unpack_one(bytes: Vec<u8>, site: &Path) -> io::Result<()> {
    let mut archive = ZipArchive::new(Cursor::new(bytes))?;
    for index in 0..archive.len() {
        let mut member = archive.by_index(index)?;
        let odd = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("contains {what}"));
        let path = member.enclosed_name().ok_or_else(|| odd("a path that leads outside"))?;
        if member.is_symlink() {
            return Err(odd("a link"));
        }
        // Programs, headers and similar files, which MiniStack doesn't use.
        let is_data = path.iter().next().is_some_and(|first| first.as_encoded_bytes().ends_with(b".data"));
        if member.is_dir() || is_data {
            continue;
        }
        let target = site.join(&path);
        fs::create_dir_all(target.parent().unwrap_or(site))?;
        io::copy(&mut member, &mut File::create_new(target)?)?;
    }
    Ok(())
}

/// A digest of the paths and contents of all files in a folder.
pub(super) fn digest(folder: &Path) -> io::Result<String> {
    let mut files = Vec::new();
    for entry in walkdir::WalkDir::new(folder).min_depth(1) {
        let entry = entry?;
        match entry.file_type() {
            kind if kind.is_dir() => {}
            kind if kind.is_file() => files.push(entry.into_path()),
            _ => return Err(io::Error::other("neither a file nor a folder")),
        }
    }
    files.sort();
    // Reading 3,000 files takes longer than hashing them, so more threads than processors are
    // faster.
    let n_threads = std::thread::available_parallelism().map_or(4, |it| it.get() * 2).min(16);
    let chunk = files.len().div_ceil(n_threads).max(1);
    let parts: Vec<io::Result<Vec<u8>>> = std::thread::scope(|scope| {
        let started: Vec<_> = files.chunks(chunk).map(|files| scope.spawn(|| hashes(folder, files))).collect();
        started.into_iter().map(|it| it.join().unwrap_or_else(|_| Err(io::Error::other("a thread ended")))).collect()
    });
    let mut whole = Sha256::new();
    for part in parts {
        whole.update(part?);
    }
    Ok(hex(&whole.finalize()))
}

/// Path and hash of each file.
fn hashes(folder: &Path, files: &[PathBuf]) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    for file in files {
        let path = file.strip_prefix(folder).unwrap_or(file).as_os_str().as_encoded_bytes();
        all.extend_from_slice(path);
        all.push(0);
        all.extend_from_slice(&Sha256::digest(fs::read(file)?));
    }
    Ok(all)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Write as _;

    use zip::write::SimpleFileOptions;

    use super::*;

    /// A wheel with these files.
    fn wheel(files: &[(&str, &str)]) -> Vec<u8> {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, text) in files {
            match text.strip_prefix("-> ") {
                Some(target) => zip.add_symlink(*name, target, SimpleFileOptions::default()).unwrap(),
                None => {
                    zip.start_file(*name, SimpleFileOptions::default()).unwrap();
                    zip.write_all(text.as_bytes()).unwrap();
                }
            }
        }
        zip.finish().unwrap().into_inner()
    }

    const LOCK: &str = "# made by a tool\nDuck.Ling==1.0 \\\n    --hash=sha256:HASH \\\n    --hash=sha256:00\n    # via x\n\
        old==2 ; python_full_version < '3.11' \\\n    --hash=sha256:11\n";

    /// Unpacks `downloads` with the hash of `locked` in the lock file, and returns what was
    /// refused, or the files.
    fn unpacked(locked: &[u8], downloads: &[(&str, &[u8])], python: [u32; 3]) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        let (from, site) = (folder.path().join("wheels"), folder.path().join("a/site"));
        fs::create_dir_all(&from).unwrap();
        fs::create_dir_all(&site).unwrap();
        for (name, bytes) in downloads {
            fs::write(from.join(name), bytes).unwrap();
        }
        let lock = LOCK.replace("HASH", &hex(&Sha256::digest(locked)));
        let done = unpack(&lock, python, &from, &site);
        let outside = walkdir::WalkDir::new(folder.path())
            .into_iter()
            .flatten()
            .filter(|it| it.file_type().is_file() && !it.path().starts_with(&site) && !it.path().starts_with(&from));
        assert_eq!(outside.count(), 0);
        match done {
            Ok(()) => {
                let files = walkdir::WalkDir::new(&site).sort_by_file_name().into_iter().flatten();
                let files = files.filter(|it| it.file_type().is_file());
                Ok(files.map(|it| it.path().strip_prefix(&site).unwrap().display().to_string()).collect())
            }
            Err(BadWheel::Refused(reason)) => Err(reason),
            Err(BadWheel::Io(error)) => Err(format!("io: {error}")),
        }
    }

    #[test]
    fn only_packages_in_the_lock_file_are_unpacked() {
        const NAME: &str = "duck_ling-1.0-py3-none-any.whl";
        const PYTHON: [u32; 3] = [3, 11, 0];
        let good = wheel(&[("duck/ling.py", ""), ("duck_ling-1.0.data/scripts/run", "")]);
        let forged = wheel(&[("duck/ling.py", "import os")]);
        assert_eq!(unpacked(&good, &[(NAME, &good)], PYTHON), Ok(vec!["duck/ling.py".to_owned()]));
        let hash = hex(&Sha256::digest(&forged));
        for (downloads, reason) in [
            (vec![(NAME, &forged[..])], format!("`{NAME}` has the hash {hash}")),
            (vec![], "`duck_ling` was not downloaded".to_owned()),
            (
                vec![(NAME, &good[..]), ("evil-1-py3-none-any.whl", &good)],
                "`evil-1-py3-none-any.whl` is not in the lock file, or was downloaded twice".to_owned(),
            ),
            (
                vec![(NAME, &good), ("Duck.Ling-2-py3-none-any.whl", &good)],
                "is not in the lock file, or was downloaded twice".to_owned(),
            ),
            (vec![("duck_ling-1.0.tar.gz", &good)], "`duck_ling-1.0.tar.gz` is not a wheel".to_owned()),
        ] {
            let refused = unpacked(&good, &downloads, PYTHON).unwrap_err();
            assert!(refused.contains(&reason), "{refused}");
        }
        assert_eq!(unpacked(&good, &[(NAME, &good)], [3, 10, 0]), Err("`old` was not downloaded".to_owned()));
    }

    #[test]
    fn a_wheel_with_a_path_outside_its_folder_is_refused() {
        for files in [[("../../evil", "x")], [("/evil", "x")], [("evil", "-> /etc/passwd")]] {
            let bad = wheel(&files);
            let refused = unpacked(&bad, &[("duck_ling-1.0-py3-none-any.whl", &bad)], [3, 11, 0]);
            // An absolute path may also be taken for one inside.
            assert!(refused.as_ref().is_err_and(|it| !it.starts_with("io")) || refused == Ok(vec!["evil".into()]));
        }
    }

    #[test]
    fn the_digest_sees_every_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("a")).unwrap();
        fs::write(path("a/b.py"), "text").unwrap();
        let whole = digest(folder.path()).unwrap();
        let changes: [&dyn Fn(); 5] = [
            &|| fs::write(path("a/b.py"), "texT").unwrap(),
            &|| fs::write(path("a/c.pyc"), "").unwrap(),
            &|| fs::rename(path("a/b.py"), path("b.py")).unwrap(),
            &|| fs::remove_file(path("a/b.py")).unwrap(),
            &|| std::os::unix::fs::symlink("/etc/passwd", path("link")).unwrap(),
        ];
        for change in changes {
            change();
            assert_ne!(digest(folder.path()).ok().as_ref(), Some(&whole));
            for name in ["a/c.pyc", "b.py", "link"] {
                let _ = fs::remove_file(path(name));
            }
            fs::write(path("a/b.py"), "text").unwrap();
            assert_eq!(digest(folder.path()).unwrap(), whole);
        }
    }
}
