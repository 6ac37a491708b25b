//! MiniStack in the user's cache folder: one version, every package pinned by hash, complete or
//! absent.
//!
//! pip or uv only download. The downloads are checked here against the hashes in the lock file,
//! unpacked and compiled, and a digest of the result is checked at each start.
//!
//! **Invariant:** knows nothing of projects or servers. A folder with the final name is complete.

use std::collections::HashMap;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::error::{InstallAttempt, LocalError};
use super::process;
use super::tools::{Tool, Tools, last_lines};
use super::wheels::{self, BadWheel};

/// The MiniStack release. Each release, every few days, changes its behavior
/// (<https://pypi.org/project/ministack/>).
pub(super) const VERSION: &str = "1.5.33";

/// Made by
/// `echo ministack==1.5.33 | uv pip compile --universal --generate-hashes --python-version 3.10 -`.
const LOCK: &str = include_str!("ministack-1.5.33.lock.txt");

/// The pip that uv installs where Python has none, because uv itself can't download without
/// installing.
const PIP_LOCK: &str = "pip==25.3 --hash=sha256:9655943313a94722b7774661c21049070f6bbb0a1516bf02f7c8d5d9201514cd\n";

/// The version of the folder's layout, so that the folder of an older engine isn't used.
const FORMAT: u32 = 2;

/// All downloads together, and the installation on disk, in MB.
const DOWNLOAD_MB: u64 = 20;
const DISK_MB: u64 = 65;

/// Progress is reported after each of these steps, in MB, and after this time without one.
const STEP_MB: u64 = 5;
const REMINDER: Duration = Duration::from_secs(10);

/// Time between two checks whether a program has ended, and how much it has downloaded.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
const MEASURE_INTERVAL: Duration = Duration::from_millis(500);

/// Prefix of the folders that an installation works in. Without a lock on the cache, they are left
/// over.
const STAGING_PREFIX: &str = "ministack-installing-";

/// Compiles a folder; tracebacks show its final path. Python never compares such files with their
/// source, and doesn't rewrite them.
const COMPILE: &str = "import compileall, py_compile, sys; \
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH; \
    sys.exit(not compileall.compile_dir(sys.argv[1], ddir=sys.argv[2], quiet=2, invalidation_mode=mode))";

/// Runs the pip of a folder.
const RUN_PIP: &str =
    "import runpy, sys; sys.path.append(sys.argv.pop(1)); runpy.run_module('pip', run_name='__main__')";

/// The settings of pip for the package index and the way to it. All others could change what is
/// downloaded, or run code.
const PIP_SETTINGS: [&str; 11] = [
    "index-url",
    "extra-index-url",
    "find-links",
    "no-index",
    "trusted-host",
    "proxy",
    "cert",
    "client-cert",
    "cache-dir",
    "default-timeout",
    "retries",
];

/// What a command sees and hears while it installs or starts.
pub(super) struct Monitor<'a> {
    /// Gets a line for whatever takes time.
    pub(super) report: &'a mut dyn FnMut(&str),
    /// Set once the user presses Ctrl-C.
    pub(super) interrupted: &'a AtomicBool,
}

impl Monitor<'_> {
    pub(super) fn report(&mut self, text: &str) {
        (self.report)(text);
    }

    pub(super) fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }
}

/// Whether MiniStack is installed for this Python.
///
/// # Errors
/// It is damaged.
pub(super) fn is_installed(cache: &Path, python: &Tool) -> Result<bool, LocalError> {
    let folder = cache.join(folder_name(LOCK, python.version));
    match folder.symlink_metadata() {
        Ok(_) => check(&folder).map(|_| true),
        Err(_) => Ok(false),
    }
}

/// Returns the folder with MiniStack's packages, installing them on first use, and checks that
/// nothing in it has changed since.
pub(super) fn packages(
    cache: &Path,
    tools: &Tools,
    python: &Tool,
    monitor: &mut Monitor<'_>,
) -> Result<PathBuf, LocalError> {
    let folder = cache.join(folder_name(LOCK, python.version));
    // Whatever else has the name is damaged.
    if folder.symlink_metadata().is_err() {
        install(cache, &folder, tools, python, monitor)?;
    }
    check(&folder)
}

/// The packages of an installation, if nothing in it has changed.
fn check(folder: &Path) -> Result<PathBuf, LocalError> {
    let packages = folder.join("packages");
    let recorded = fs::read_to_string(folder.join("digest")).ok();
    if recorded.is_none() || recorded != wheels::digest(&packages).ok() {
        return Err(LocalError::CacheDamaged { path: folder.to_owned() });
    }
    Ok(packages)
}

/// Deletes the installations of this version, damaged ones included. Returns whether there was one.
pub(super) fn remove(cache: &Path) -> Result<bool, LocalError> {
    let in_cache = |source| LocalError::CacheFolder { path: cache.to_owned(), source };
    if !cache.is_dir() {
        return Ok(false);
    }
    let _lock = lock(cache, &mut Monitor { report: &mut |_| {}, interrupted: &AtomicBool::new(false) })?;
    let mut found = false;
    for entry in fs::read_dir(cache).map_err(in_cache)?.flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(format!("ministack-{VERSION}-").as_bytes()) {
            // Renamed first, so that no partly deleted folder has the final name.
            let staging = cache.join(format!("{STAGING_PREFIX}{}", random_name()));
            fs::rename(entry.path(), &staging).and_then(|()| remove_any(&staging)).map_err(in_cache)?;
            found = true;
        }
    }
    Ok(found)
}

/// Deletes a folder, or a file in its place.
fn remove_any(path: &Path) -> io::Result<()> {
    match path.symlink_metadata()?.is_dir() {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    }
}

fn lock(cache: &Path, monitor: &mut Monitor<'_>) -> Result<fs::File, LocalError> {
    let in_cache = |source| LocalError::CacheFolder { path: cache.to_owned(), source };
    let lock = fs::File::create(cache.join("ministack.lock")).map_err(in_cache)?;
    let mut is_told = false;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(fs::TryLockError::Error(source)) => return Err(in_cache(source)),
            Err(fs::TryLockError::WouldBlock) if monitor.is_interrupted() => {
                return Err(LocalError::Interrupted { what: "waiting for another installation" });
            }
            Err(fs::TryLockError::WouldBlock) if !is_told => {
                monitor.report("waiting for another command that is installing the local AWS");
                is_told = true;
            }
            Err(fs::TryLockError::WouldBlock) => std::thread::sleep(POLL_INTERVAL),
        }
    }
}

fn install(
    cache: &Path,
    folder: &Path,
    tools: &Tools,
    python: &Tool,
    monitor: &mut Monitor<'_>,
) -> Result<(), LocalError> {
    let in_cache = |source| LocalError::CacheFolder { path: cache.to_owned(), source };
    fs::create_dir_all(cache).map_err(in_cache)?;
    let _lock = lock(cache, monitor)?;
    if folder.is_dir() {
        return Ok(());
    }
    remove_leftovers(cache);
    monitor.report(&format!(
        "installing the local AWS: MiniStack {VERSION} with its {} Python packages, about {DOWNLOAD_MB} MB to download, \
         {DISK_MB} MB on disk, into `{}`. Ctrl-C stops the installation; the next command starts it again",
        wheels::count(LOCK, python.version),
        folder.display()
    ));
    let staging = cache.join(format!("{STAGING_PREFIX}{}", random_name()));
    let done = install_into(&staging, folder, tools, python, monitor)
        .and_then(|done| fs::rename(done, folder).map_err(in_cache));
    // What can't be removed now is removed by the next installation.
    let _ = fs::remove_dir_all(&staging);
    done
}

/// Sixteen characters that no other process uses.
pub(super) fn random_name() -> String {
    format!("{:016x}", RandomState::new().hash_one(std::process::id()))
}

/// Another lock file, or another minor version of Python, for which the lock file may name other
/// packages, gets another folder.
fn folder_name(lock: &str, [major, minor, _]: [u32; 3]) -> String {
    let hash = wheels::hex(&Sha256::digest(lock.as_bytes()));
    let prefix = hash.get(..12).unwrap_or_default();
    format!("ministack-{VERSION}-{prefix}-py{major}.{minor}-{FORMAT}")
}

/// Removes what killed installations left over. Only the holder of the installation lock may call
/// this.
fn remove_leftovers(cache: &Path) {
    for entry in fs::read_dir(cache).into_iter().flatten().flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(STAGING_PREFIX.as_bytes()) {
            let _ = remove_any(&entry.path());
        }
    }
}

/// Downloads, checks, unpacks and compiles, and returns the folder in `staging` that is the
/// complete installation.
fn install_into(
    staging: &Path,
    folder: &Path,
    tools: &Tools,
    python: &Tool,
    monitor: &mut Monitor<'_>,
) -> Result<PathBuf, LocalError> {
    let in_staging = |source| LocalError::CacheFolder { path: staging.to_owned(), source };
    let make = |path: &Path| fs::DirBuilder::new().mode(0o700).create(path).map_err(in_staging);
    make(staging)?;
    make(&staging.join(TEMPORARY))?;
    let downloads = download(staging, tools, python, monitor)?;
    monitor.report("downloaded and checked; unpacking and compiling");
    let done = staging.join("done");
    make(&done)?;
    let packages = done.join("packages");
    make(&packages)?;
    wheels::unpack(LOCK, python.version, &downloads, &packages).map_err(|error| match error {
        BadWheel::Refused(output) => LocalError::HashMismatch { output },
        BadWheel::Io(source) => in_staging(source),
    })?;
    let mut compile = tools.command(&python.executable);
    compile.args(["-I", "-S", "-B", "-c", COMPILE]).arg(&packages).arg(folder.join("packages"));
    let output = ProgramRunner { staging, monitor, shown: DOWNLOAD_MB }.run(&mut compile);
    output.map_err(|failed| match failed {
        Failed::Interrupted => Failed::interrupted(),
        Failed::Output(output) if classify(&output) == InstallFailure::Space => {
            in_staging(io::ErrorKind::StorageFull.into())
        }
        Failed::Output(output) => {
            LocalError::ToolBroken { path: python.executable.clone(), output: last_lines(&output, 4) }
        }
    })?;
    let digest = wheels::digest(&packages).map_err(in_staging)?;
    fs::write(done.join("digest"), digest).map_err(in_staging)?;
    Ok(done)
}

/// Tries the ways to download in turn and returns the folder in `staging` with the wheels.
fn download(staging: &Path, tools: &Tools, python: &Tool, monitor: &mut Monitor<'_>) -> Result<PathBuf, LocalError> {
    let in_staging = |source| LocalError::CacheFolder { path: staging.to_owned(), source };
    let lock = staging.join("lock.txt");
    fs::write(&lock, LOCK).map_err(in_staging)?;
    fs::write(staging.join("pip.txt"), PIP_LOCK).map_err(in_staging)?;

    let mut attempts = Vec::new();
    let mut no_network = false;
    for way in [Installer::Pip, Installer::Uv, Installer::Venv] {
        // A separate folder, so that it contains no files of a failed attempt.
        let wheels = staging.join(way.name());
        let mut runner = ProgramRunner { staging, monitor, shown: 0 };
        let output = match way.run(tools, python, &mut runner, &wheels, &lock) {
            Ok(()) => return Ok(wheels),
            Err(Failed::Interrupted) => return Err(Failed::interrupted()),
            Err(Failed::Output(output)) => output,
        };
        attempts.push(InstallAttempt { way: way.name(), output: last_lines(&output, 4) });
        match classify(&output) {
            InstallFailure::Hash => {
                return Err(LocalError::HashMismatch { output: last_lines(&output, 12) });
            }
            InstallFailure::Space => return Err(in_staging(io::ErrorKind::StorageFull.into())),
            InstallFailure::Network => {
                no_network = true;
                // A proxy or a certificate may be configured for uv alone, so it is tried as well.
                // The pip of a virtual environment would only wait for the same failure.
                if way == Installer::Uv || tools.find("uv").is_none() {
                    break;
                }
            }
            InstallFailure::Other => {}
        }
    }
    Err(if no_network { LocalError::NoNetwork { attempts } } else { LocalError::NoInstaller { attempts } })
}

/// A way to download packages.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Installer {
    Pip,
    /// A pip that uv fetches.
    Uv,
    /// Debian's `python3` comes with neither pip nor always this.
    Venv,
}

impl Installer {
    fn name(self) -> &'static str {
        match self {
            Self::Uv => "uv",
            Self::Pip => "pip",
            Self::Venv => "venv",
        }
    }

    /// Downloads into `wheels`; the error is everything that the program printed.
    fn run(
        self,
        tools: &Tools,
        python: &Tool,
        runner: &mut ProgramRunner<'_, '_>,
        wheels: &Path,
        lock: &Path,
    ) -> Result<(), Failed> {
        let staging = runner.staging;
        let pip = match self {
            Self::Pip => Pip { python: python.executable.clone(), folder: None },
            Self::Uv => {
                let uv = tools.find("uv").ok_or_else(|| Failed::Output("`uv` was not found".to_owned()))?;
                let folder = staging.join("tools");
                let mut command = tools.command(&uv);
                command.args(["--no-config", "pip", "install", "--no-progress", "--no-python-downloads", "--python"]);
                command.arg(&python.executable).args(["--no-deps", "--require-hashes", "--only-binary", ":all:"]);
                runner.run(command.arg("--target").arg(&folder).arg("--requirement").arg(staging.join("pip.txt")))?;
                Pip { python: python.executable.clone(), folder: Some(folder) }
            }
            Self::Venv => {
                let environment = staging.join("environment");
                runner.run(tools.command(&python.executable).args(["-I", "-m", "venv"]).arg(&environment))?;
                Pip { python: environment.join("bin/python3"), folder: None }
            }
        };
        let mut command = pip.command(tools);
        command.env("PIP_CONFIG_FILE", "/dev/null").envs(pip.settings(tools));
        command.args(["download", "--quiet", "--no-input", "--disable-pip-version-check", "--retries", "2"]);
        command.args(["--no-deps", "--require-hashes", "--only-binary", ":all:"]);
        runner.run(command.arg("--dest").arg(wheels).arg("--requirement").arg(lock))
    }
}

/// A pip: that of a Python, or one in a folder.
struct Pip {
    python: PathBuf,
    folder: Option<PathBuf>,
}

impl Pip {
    fn command(&self, tools: &Tools) -> Command {
        let mut command = tools.command(&self.python);
        match &self.folder {
            Some(folder) => command.args(["-I", "-S", "-B", "-c", RUN_PIP]).arg(folder),
            None => command.args(["-I", "-m", "pip"]),
        };
        command
    }

    /// The settings for the package index in pip's files, as variables. The files themselves are
    /// not used for the download, because they may also set what else to install, and where.
    fn settings(&self, tools: &Tools) -> HashMap<String, String> {
        let mut command = self.command(tools);
        let listed = command.args(["config", "list"]).env("PIP_DISABLE_PIP_VERSION_CHECK", "1").output();
        let listed = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        settings_in(&listed)
    }
}

/// Reads `pip config list`: `SECTION.NAME='VALUE'` lines, whose later sections win.
fn settings_in(listed: &str) -> HashMap<String, String> {
    let mut found: Vec<(usize, String, String)> = listed.lines().filter_map(setting).collect();
    found.sort_by_key(|(rank, ..)| *rank);
    found.into_iter().map(|(_, name, value)| (name, value)).collect()
}

/// The rank of a setting's section, its variable, and its value.
fn setting(line: &str) -> Option<(usize, String, String)> {
    let (name, value) = line.trim_end().split_once('=')?;
    let (section, name) = name.rsplit_once('.')?;
    let rank = ["global", "install", "download", ":env:"].iter().position(|it| *it == section)?;
    let name = if name == "timeout" { "default-timeout" } else { name };
    if !PIP_SETTINGS.contains(&name) {
        return None;
    }
    let name = format!("PIP_{}", name.to_ascii_uppercase().replace('-', "_"));
    Some((rank, name, unquoted(value)?))
}

/// A text in the quotes and escapes of Python's `repr`.
fn unquoted(text: &str) -> Option<String> {
    let quote = text.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
    let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
    let mut value = String::new();
    let mut chars = inner.chars();
    while let Some(char) = chars.next() {
        value.push(match char {
            '\\' => match chars.next()? {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                plain @ ('\\' | '\'' | '"') => plain,
                _ => return None,
            },
            plain => plain,
        });
    }
    Some(value)
}

/// Why a program of the installation did not succeed.
enum Failed {
    Interrupted,
    /// What it printed.
    Output(String),
}

impl Failed {
    fn interrupted() -> LocalError {
        LocalError::Interrupted { what: "the installation of the local AWS" }
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Output(error.to_string())
    }
}

/// Where programs put their temporary files, so that they are removed with the rest, and downloads
/// can be measured.
const TEMPORARY: &str = "tmp";

/// Runs the programs of an installation one after another and reports the progress of downloads.
struct ProgramRunner<'r, 'm> {
    staging: &'r Path,
    monitor: &'r mut Monitor<'m>,
    /// The MB that were reported last.
    shown: u64,
}

impl ProgramRunner<'_, '_> {
    /// Runs a program to its end, or ends it with all that it started once the user interrupts.
    fn run(&mut self, command: &mut Command) -> Result<(), Failed> {
        let printed = self.staging.join("output.txt");
        // In a file, which takes any amount while nothing reads it. venv prints errors on stdout,
        // the others on stderr.
        let output = fs::File::create(&printed)?;
        command.stdout(output.try_clone()?).stderr(output).env("TMPDIR", self.staging.join(TEMPORARY));
        // A group, so that Ctrl-C ends all of it here and in this order.
        let mut child = command.process_group(0).spawn()?;
        let started = Instant::now();
        let (mut reported, mut measured) = (started, started);
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if self.monitor.is_interrupted() {
                process::end_group(i32::try_from(child.id()).unwrap_or_default());
                child.wait()?;
                return Err(Failed::Interrupted);
            }
            if measured.elapsed() >= MEASURE_INTERVAL {
                measured = Instant::now();
                let size = downloaded(self.staging);
                let seconds = started.elapsed().as_secs();
                if size >= self.shown + STEP_MB && size < DOWNLOAD_MB {
                    self.monitor.report(&format!("downloaded {size} of about {DOWNLOAD_MB} MB ({seconds} s)"));
                    (self.shown, reported) = (size, measured);
                } else if reported.elapsed() >= REMINDER {
                    self.monitor.report(&format!("still installing, {size} MB downloaded ({seconds} s)"));
                    reported = measured;
                }
            }
            std::thread::sleep(POLL_INTERVAL);
        };
        if status.success() {
            return Ok(());
        }
        let output = String::from_utf8_lossy(&fs::read(&printed).unwrap_or_default()).into_owned();
        Err(Failed::Output(format!("{output}\n{status}")))
    }
}

/// How many MB of wheels there are below a folder. pip copies each from its temporary folder, so a
/// name counts once.
fn downloaded(folder: &Path) -> u64 {
    let mut sizes = HashMap::new();
    for entry in walkdir::WalkDir::new(folder).into_iter().flatten() {
        let is_wheel = entry.path().extension().is_some_and(|it| it == "whl");
        if let (true, Ok(metadata)) = (is_wheel, entry.metadata()) {
            let size: &mut u64 = sizes.entry(entry.file_name().to_owned()).or_default();
            *size = metadata.len().max(*size);
        }
    }
    sizes.values().sum::<u64>() / 1_000_000
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InstallFailure {
    Hash,
    Network,
    Space,
    Other,
}

/// Reads the cause from the output of pip or uv, because both exit with the same status for all of
/// them.
fn classify(output: &str) -> InstallFailure {
    let has = |needles: &[&str]| needles.iter().any(|needle| output.contains(needle));
    if has(&["DO NOT MATCH THE HASHES", "Hash mismatch for"]) {
        InstallFailure::Hash
    } else if has(&["No space left on device", "Disk quota exceeded"]) {
        InstallFailure::Space
    } else if has(&["after connection broken by", "error sending request for url"]) {
        InstallFailure::Network
    } else {
        InstallFailure::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_lock_or_python_gets_another_folder() {
        let name = folder_name("ministack", [3, 11, 7]);
        assert_eq!(name, "ministack-1.5.33-0837e6ba5608-py3.11-2");
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

    #[test]
    fn only_settings_about_where_packages_come_from_are_taken_from_pip() {
        let listed = "global.index-url='https://mirror.example/simple'\nglobal.timeout='7'\n\
            global.requirement='/tmp/evil.txt'\nglobal.user='true'\ninstall.target='/tmp'\n\
            download.index-url=\"https://it's.example/simple\"\nwheel.index-url='https://other.example'\n\
            global.find-links='/a\\n/b'\nglobal.proxy='odd\\x00'\n:env:.config-file='/etc/x'\nnonsense\n";
        let mut found: Vec<(String, String)> = settings_in(listed).into_iter().collect();
        found.sort();
        let found: Vec<(&str, &str)> = found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(
            found,
            [
                ("PIP_DEFAULT_TIMEOUT", "7"),
                ("PIP_FIND_LINKS", "/a\n/b"),
                ("PIP_INDEX_URL", "https://it's.example/simple"),
            ]
        );
    }

    /// Texts of pip 23.2 and uv 0.9.
    #[test]
    fn the_cause_is_read_from_the_installers_output() {
        for (output, cause) in [
            (
                "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. If you have",
                InstallFailure::Hash,
            ),
            (
                "error: Failed to download `ministack==1.5.33`\n  cause: Hash mismatch for `ministack==1.5.33`",
                InstallFailure::Hash,
            ),
            (
                "WARNING: Retrying (Retry(total=0, connect=None, read=None)) after connection broken by \
                 'NewConnectionError(': Failed to establish a new connection: [Errno 111] Connection refused')'",
                InstallFailure::Network,
            ),
            (
                "  cause: error sending request for url (https://pypi.invalid/simple/pyyaml/)\n  cause: dns error",
                InstallFailure::Network,
            ),
            (
                "shutil.Error: [('a.so', 'b.so', \"[Errno 28] No space left on device: 'a.so' -> 'b.so'\")",
                InstallFailure::Space,
            ),
            ("/usr/bin/python3: No module named pip", InstallFailure::Other),
        ] {
            assert_eq!(classify(output), cause, "{output}");
        }
    }
}
