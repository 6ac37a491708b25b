//! MiniStack in the user's cache folder: one version, every package by its hash, whole or not at all.
//!
//! **Invariant:** knows nothing of projects or servers. A folder that bears the final name is complete.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use super::error::{Attempt, LocalError};
use super::tools::{Tool, Tools, last_lines};

/// The MiniStack release, which changes its behaviour every few days (<https://pypi.org/project/ministack/>).
pub(super) const VERSION: &str = "1.5.33";

/// Made by `echo ministack==1.5.33 | uv pip compile --universal --generate-hashes --python-version 3.10 -`.
const LOCK: &str = include_str!("ministack-1.5.33.lock.txt");

/// Names of folders that an installation works in; what bears one and isn't locked was left behind.
const STAGING_PREFIX: &str = "ministack-installing-";

/// Whether MiniStack is there for this Python.
pub(super) fn is_installed(cache: &Path, python: &Tool) -> bool {
    cache.join(folder_name(LOCK, python.version)).is_dir()
}

/// Returns the folder with MiniStack's packages, installing them on first use.
pub(super) fn packages(
    cache: &Path,
    tools: &Tools,
    python: &Tool,
    say: &mut dyn FnMut(&str),
) -> Result<PathBuf, LocalError> {
    let folder = cache.join(folder_name(LOCK, python.version));
    if folder.is_dir() {
        return Ok(folder);
    }
    let in_cache = |source| LocalError::CacheFolder { path: cache.to_owned(), source };
    fs::create_dir_all(cache).map_err(in_cache)?;
    let lock = fs::File::create(cache.join("ministack.lock")).map_err(in_cache)?;
    if lock.try_lock().is_err() {
        say("waiting for another command that is installing MiniStack");
        lock.lock().map_err(in_cache)?;
    }
    if folder.is_dir() {
        return Ok(folder);
    }
    remove_left_behind(cache);
    say(&format!("installing MiniStack {VERSION} into `{}`", folder.display()));
    let staging = cache.join(format!("{STAGING_PREFIX}{}", random_name()));
    let done = install_into(&staging, tools, python).and_then(|site| fs::rename(site, &folder).map_err(in_cache));
    // What cannot be removed now is removed by the next installation.
    let _ = fs::remove_dir_all(&staging);
    done.map(|()| folder)
}

/// Sixteen characters that nobody has used before.
pub(super) fn random_name() -> String {
    format!("{:016x}", RandomState::new().hash_one(std::process::id()))
}

/// Another lock file, or another minor version of Python, for which the lock file may name other packages, gets another
/// folder.
fn folder_name(lock: &str, [major, minor, _]: [u32; 3]) -> String {
    let hash = Sha256::digest(lock.as_bytes());
    let prefix: String = hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("ministack-{VERSION}-{prefix}-py{major}.{minor}")
}

/// Only the holder of the installation lock may call this.
fn remove_left_behind(cache: &Path) {
    for entry in fs::read_dir(cache).into_iter().flatten().flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(STAGING_PREFIX.as_bytes()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Tries the ways to install in turn and returns the folder in `staging` that holds the packages.
fn install_into(staging: &Path, tools: &Tools, python: &Tool) -> Result<PathBuf, LocalError> {
    let in_staging = |source| LocalError::CacheFolder { path: staging.to_owned(), source };
    fs::create_dir(staging).map_err(in_staging)?;
    let lock = staging.join("lock.txt");
    fs::write(&lock, LOCK).map_err(in_staging)?;

    let mut attempts = Vec::new();
    let mut no_network = false;
    for way in [Way::Uv, Way::Pip, Way::Venv] {
        // A folder of its own, so that nothing of a failed attempt remains in it.
        let site = staging.join(way.name());
        let said = match way.run(tools, python, staging, &site, &lock) {
            Ok(()) => return Ok(site),
            Err(said) => said,
        };
        attempts.push(Attempt { way: way.name(), said: last_lines(&said, 4) });
        match cause_of(&said) {
            Cause::Hash => {
                return Err(LocalError::HashMismatch { said: last_lines(&said, 12) });
            }
            Cause::Space => return Err(in_staging(io::ErrorKind::StorageFull.into())),
            Cause::Network => {
                no_network = true;
                // A proxy or a certificate may be configured for pip alone, so uv's word is not the last; the pip of a
                // virtual environment would only wait for the same answer once more.
                if way == Way::Pip {
                    break;
                }
            }
            Cause::Other => {}
        }
    }
    Err(if no_network { LocalError::NoNetwork { attempts } } else { LocalError::NoInstaller { attempts } })
}

/// A way to put packages into a folder.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Uv,
    /// Also allowed on 'externally managed' Pythons, because of `--target`.
    Pip,
    /// Debian's `python3` comes with neither pip nor always this.
    Venv,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Uv => "uv",
            Self::Pip => "pip",
            Self::Venv => "venv",
        }
    }

    /// Installs into `site`; the error is all that the program said.
    fn run(self, tools: &Tools, python: &Tool, staging: &Path, site: &Path, lock: &Path) -> Result<(), String> {
        let mut command = match self {
            Self::Uv => {
                let uv = tools.find("uv").ok_or("`uv` was not found")?;
                let mut command = tools.command(&uv);
                command.args(["pip", "install", "--no-progress", "--python"]).arg(&python.executable);
                command
            }
            Self::Pip => pip(tools, &python.executable),
            Self::Venv => {
                let environment = staging.join("environment");
                run(tools.command(&python.executable).args(["-m", "venv"]).arg(&environment))?;
                pip(tools, &environment.join("bin/python3"))
            }
        };
        command.args(["--require-hashes", "--only-binary", ":all:"]);
        run(command.arg("--target").arg(site).arg("--requirement").arg(lock))
    }
}

fn pip(tools: &Tools, python: &Path) -> Command {
    let mut command = tools.command(python);
    command.args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "--retries", "2"]);
    command
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    // venv explains itself on stdout, the others on stderr.
    let said = [output.stdout, output.stderr].concat();
    Err(format!("{}\n{}", String::from_utf8_lossy(&said), output.status))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Hash,
    Network,
    Space,
    Other,
}

/// Reads the cause out of what pip or uv said, because both exit with the same status for all of them.
fn cause_of(said: &str) -> Cause {
    let has = |needles: &[&str]| needles.iter().any(|needle| said.contains(needle));
    if has(&["DO NOT MATCH THE HASHES", "Hash mismatch for"]) {
        Cause::Hash
    } else if has(&["No space left on device", "Disk quota exceeded"]) {
        Cause::Space
    } else if has(&["after connection broken by", "error sending request for url"]) {
        Cause::Network
    } else {
        Cause::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_lock_or_python_gets_another_folder() {
        let name = folder_name("ministack", [3, 11, 7]);
        assert_eq!(name, "ministack-1.5.33-0837e6ba5608-py3.11");
        assert_eq!(name, folder_name("ministack", [3, 11, 9]));
        assert_ne!(name, folder_name("ministack\n", [3, 11, 7]));
        assert_ne!(name, folder_name("ministack", [3, 10, 7]));
    }

    #[test]
    fn the_lock_pins_the_version_and_every_package_by_hash() {
        assert!(LOCK.contains(&format!("\nministack=={VERSION} ")));
        let packages = LOCK.lines().filter(|line| line.contains("==") && !line.starts_with(['#', ' ']));
        assert!(packages.clone().count() >= 17);
        assert!(packages.clone().all(|line| line.ends_with('\\')), "a hash follows each package");
    }

    /// Texts as pip 23.2 and uv 0.9 wrote them.
    #[test]
    fn the_installers_words_tell_the_cause() {
        for (said, cause) in [
            ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. If you have", Cause::Hash),
            (
                "error: Failed to download `ministack==1.5.33`\n  cause: Hash mismatch for `ministack==1.5.33`",
                Cause::Hash,
            ),
            (
                "WARNING: Retrying (Retry(total=0, connect=None, read=None)) after connection broken by \
                 'NewConnectionError(': Failed to establish a new connection: [Errno 111] Connection refused')'",
                Cause::Network,
            ),
            (
                "  cause: error sending request for url (https://pypi.invalid/simple/pyyaml/)\n  cause: dns error",
                Cause::Network,
            ),
            ("shutil.Error: [('a.so', 'b.so', \"[Errno 28] No space left on device: 'a.so' -> 'b.so'\")", Cause::Space),
            ("/usr/bin/python3: No module named pip", Cause::Other),
        ] {
            assert_eq!(cause_of(said), cause, "{said}");
        }
    }
}
