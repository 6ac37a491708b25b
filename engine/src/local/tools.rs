//! The programs of this machine that the local AWS needs: `python3` and `node`, and whatever installs packages.
//!
//! **Invariant:** installs and starts nothing. A program that it runs sees nothing of the project: it starts in a private
//! empty folder, with the few variables of [`PASSED_ON`].

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::error::LocalError;
use super::install::random_name;

/// A search path and what is found on it.
pub(super) struct Tools {
    path: OsString,
    /// Where programs start.
    empty: PathBuf,
}

impl Drop for Tools {
    fn drop(&mut self) {
        // What can't be removed stays for the system's own cleaning of its temporary folder.
        let _ = fs::remove_dir_all(&self.empty);
    }
}

/// The variables that programs get. Where packages come from, proxies, certificates and caches; where the user's own
/// files and version managers are; the language. All others could change what a program does or runs: `PIP_REQUIREMENT`,
/// `PYTHONPATH`, `UV_CONFIG_FILE`, `NODE_OPTIONS`, `LD_PRELOAD` and whatever comes next.
const PASSED_ON: [&str; 52] = [
    "PIP_CONFIG_FILE",
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_FIND_LINKS",
    "PIP_NO_INDEX",
    "PIP_TRUSTED_HOST",
    "PIP_PROXY",
    "PIP_CERT",
    "PIP_CLIENT_CERT",
    "PIP_CACHE_DIR",
    "PIP_DEFAULT_TIMEOUT",
    "PIP_TIMEOUT",
    "UV_INDEX",
    "UV_DEFAULT_INDEX",
    "UV_INDEX_URL",
    "UV_EXTRA_INDEX_URL",
    "UV_FIND_LINKS",
    "UV_INSECURE_HOST",
    "UV_NATIVE_TLS",
    "UV_SYSTEM_CERTS",
    "UV_CACHE_DIR",
    "UV_HTTP_TIMEOUT",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "SSL_CLIENT_CERT",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NETRC",
    "HOME",
    "TMPDIR",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_CONFIG_DIRS",
    "XDG_DATA_HOME",
    "LANG",
    "LC_ALL",
    "TZ",
    "PYENV_ROOT",
    "NODENV_ROOT",
    "NVM_DIR",
    "VOLTA_HOME",
    "ASDF_DIR",
    "ASDF_DATA_DIR",
    "MISE_DATA_DIR",
];

/// A program behind whatever shim stands in `PATH` (pyenv, nvm, Volta): the server is started with an environment in
/// which a shim would not work.
#[derive(Debug)]
pub(super) struct Tool {
    pub(super) executable: PathBuf,
    /// Major, minor, patch.
    pub(super) version: [u32; 3],
}

struct Asked {
    program: &'static str,
    /// Arguments that make it print its version and its own file, a line each.
    question: &'static [&'static str],
    needed: &'static str,
    lowest: [u32; 3],
}

const PYTHON: Asked = Asked {
    program: "python3",
    question: &["-I", "-c", "import sys; print('%d.%d.%d' % sys.version_info[:3]); print(sys.executable)"],
    needed: "3.10",
    lowest: [3, 10, 0],
};

const NODE: Asked = Asked {
    program: "node",
    question: &["-p", "process.versions.node + '\\n' + process.execPath"],
    needed: "18",
    lowest: [18, 0, 0],
};

impl Tools {
    /// Looks in `path`, which is written like the variable `PATH`.
    ///
    /// # Errors
    /// When the folder for temporary files can't be written.
    pub(super) fn new(path: OsString) -> Result<Self, LocalError> {
        let empty = std::env::temp_dir().join(format!("engine-empty-{}", random_name()));
        let made = std::path::absolute(&empty).and_then(|empty| {
            fs::DirBuilder::new().mode(0o700).create(&empty)?;
            Ok(Self { path, empty })
        });
        made.map_err(|source| LocalError::System { what: "a private temporary folder could not be made", source })
    }

    /// The Python that runs MiniStack, whose newest botocore needs 3.10.
    pub(super) fn python(&self) -> Result<Tool, LocalError> {
        self.ask(&PYTHON)
    }

    /// The Node.js that runs the functions, whatever their `runtime` says.
    pub(super) fn node(&self) -> Result<Tool, LocalError> {
        self.ask(&NODE)
    }

    /// The file of a program, or `None`.
    pub(super) fn find(&self, program: &str) -> Option<PathBuf> {
        which::which_in(program, Some(&self.path), Path::new("/")).ok()
    }

    /// A command that sees nothing of the project.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.stdin(Stdio::null()).env_clear().env("PATH", &self.path).current_dir(&self.empty);
        command.envs(PASSED_ON.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command
    }

    fn ask(&self, asked: &Asked) -> Result<Tool, LocalError> {
        let Asked { program, question, needed, lowest } = *asked;
        let path = self.find(program).ok_or(LocalError::ToolMissing { program, needed })?;
        let broken = |said: String| LocalError::ToolBroken { path: path.clone(), said };
        let output = self.command(&path).args(question).output().map_err(|error| broken(error.to_string()))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut lines = text.lines();
        let version = lines.next().and_then(parse_version);
        let executable = lines.next().map(PathBuf::from);
        let (Some(version), Some(executable)) = (version, executable.filter(|file| file.is_absolute())) else {
            return Err(broken(last_lines(&String::from_utf8_lossy(&output.stderr), 5)));
        };
        if version < lowest {
            return Err(LocalError::ToolTooOld { program, found: dotted(version), needed, path });
        }
        Ok(Tool { executable, version })
    }
}

/// `1.2.3`, as people write it.
pub(super) fn dotted(version: [u32; 3]) -> String {
    version.map(|part| part.to_string()).join(".")
}

/// The last `count` lines that are not blank, without trailing spaces.
pub(super) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    lines.get(lines.len().saturating_sub(count)..).unwrap_or_default().join("\n")
}

fn parse_version(line: &str) -> Option<[u32; 3]> {
    let parts: Vec<u32> = line.trim().split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    parts.try_into().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A folder with a program that prints `answer`.
    fn tools_with(program: &str, answer: &str) -> (tempfile::TempDir, Tools) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(program);
        std::fs::write(&file, format!("#!/bin/sh\n{answer}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        let tools = Tools::new(folder.path().as_os_str().to_owned()).unwrap();
        (folder, tools)
    }

    fn said(error: &LocalError) -> String {
        format!("{}\n{}\n{}", error.problem(), error.why().unwrap_or_default(), error.hint())
    }

    #[test]
    fn an_old_python_is_named_with_its_place() {
        let (folder, tools) = tools_with("python3", "echo 3.9.18; echo /usr/bin/python3");
        let told = said(&tools.python().unwrap_err()).replace(&folder.path().display().to_string(), "…");
        insta::assert_snapshot!(told, @r"
        `python3` is version 3.9.18, and the local AWS needs 3.10 or newer
        it was found at `…/python3`
        put Python 3.10 or newer first in `PATH` as `python3`
        ");
    }

    #[test]
    fn a_missing_program_says_what_to_install() {
        let tools = Tools::new("/nonexistent".into()).unwrap();
        insta::assert_snapshot!(said(&tools.node().unwrap_err()), @r"
        `node` was not found
        the local AWS is a Python program that runs functions with the Node.js of this machine
        install Node.js 18 or newer so that `node` is in `PATH`
        ");
    }

    #[test]
    fn a_shim_that_fails_is_quoted() {
        let (folder, tools) = tools_with("node", "echo 'shim: no version set' >&2; exit 1");
        let told = said(&tools.node().unwrap_err()).replace(&folder.path().display().to_string(), "…");
        insta::assert_snapshot!(told, @r"
        `…/node` could not be asked for its version
        shim: no version set
        repair that program, or put a working one first in `PATH`
        ");
    }

    #[test]
    fn the_program_behind_a_shim_is_what_counts() {
        let (_folder, tools) = tools_with("node", "echo 22.1.0; echo /opt/node/bin/node");
        let node = tools.node().unwrap();
        assert_eq!((node.executable, node.version), (PathBuf::from("/opt/node/bin/node"), [22, 1, 0]));
    }
}
