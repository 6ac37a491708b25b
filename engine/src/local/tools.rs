//! The programs of this machine that the local AWS needs: `python3`, `node`, and an installer of
//! packages.
//!
//! **Invariant:** installs nothing. The programs that it runs have no access to the project through
//! their folder or environment: they start in a private folder, with only the variables of
//! [`PASSED_ON`].

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::error::LocalError;
use super::install::random_name;

/// A search path and the programs on it.
pub(super) struct Tools {
    path: OsString,
    /// The folder in which programs start.
    empty: PathBuf,
}

impl Drop for Tools {
    fn drop(&mut self) {
        // What can't be removed is left to the system, which cleans its temporary folder.
        let _ = fs::remove_dir_all(&self.empty);
    }
}

/// The variables that programs receive: for package indexes, proxies, certificates and caches, for
/// the user's folders and version managers, and for the language. All others could change what a
/// program does or runs: `PIP_REQUIREMENT`, `PYTHONPATH`, `UV_CONFIG_FILE`, `NODE_OPTIONS`,
/// `LD_PRELOAD` and future ones.
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

/// A program, and not the shim for it in `PATH` (pyenv, nvm, Volta), which wouldn't work in the
/// server's environment.
#[derive(Debug)]
pub(super) struct Tool {
    pub(super) executable: PathBuf,
    /// Major, minor, patch.
    pub(super) version: [u32; 3],
}

struct Asked {
    program: &'static str,
    /// Arguments that make it print its version and its executable, a line each.
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
    /// Searches `path`, which has the form of the variable `PATH`.
    ///
    /// # Errors
    /// When the folder for temporary files can't be written.
    pub(super) fn new(path: OsString) -> Result<Self, LocalError> {
        let empty = std::env::temp_dir().join(format!("engine-empty-{}", random_name()));
        let made = std::path::absolute(&empty).and_then(|empty| {
            fs::DirBuilder::new().mode(0o700).create(&empty)?;
            Ok(Self { path, empty })
        });
        made.map_err(|source| LocalError::System { what: "a private temporary folder couldn't be created", source })
    }

    /// The Python that runs MiniStack, whose botocore needs 3.10.
    pub(super) fn python(&self) -> Result<Tool, LocalError> {
        self.ask(&PYTHON)
    }

    /// The Node.js that runs the functions, whatever `runtime` they declare.
    pub(super) fn node(&self) -> Result<Tool, LocalError> {
        self.ask(&NODE)
    }

    /// The file of a program, or `None`.
    pub(super) fn find(&self, program: &str) -> Option<PathBuf> {
        which::which_in(program, Some(&self.path), Path::new("/")).ok()
    }

    /// A folder that only this user can open, which is deleted with this value.
    pub(super) fn folder(&self) -> &Path {
        &self.empty
    }

    /// A command without access to the project's folder and variables.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.stdin(Stdio::null()).env_clear().env("PATH", &self.path).current_dir(&self.empty);
        command.envs(PASSED_ON.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command
    }

    fn ask(&self, asked: &Asked) -> Result<Tool, LocalError> {
        let Asked { program, question, needed, lowest } = *asked;
        let path = self.find(program).ok_or(LocalError::ToolMissing { program, needed })?;
        let broken = |output: String| LocalError::ToolBroken { path: path.clone(), output };
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

/// A version in the form `1.2.3`.
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

    fn text_of(error: &LocalError) -> String {
        format!("{}\n{}\n{}", error.problem(), error.why().unwrap_or_default(), error.hint())
    }

    #[test]
    fn an_old_python_is_reported_with_its_path() {
        let (folder, tools) = tools_with("python3", "echo 3.9.18; echo /usr/bin/python3");
        let shown_error = text_of(&tools.python().unwrap_err()).replace(&folder.path().display().to_string(), "…");
        insta::assert_snapshot!(shown_error, @r"
        `python3` is version 3.9.18, but the local AWS needs 3.10 or newer
        engine found it at `…/python3`
        put Python 3.10 or newer first in `PATH` as `python3`
        ");
    }

    #[test]
    fn a_missing_program_has_a_hint_to_install_it() {
        let tools = Tools::new("/nonexistent".into()).unwrap();
        insta::assert_snapshot!(text_of(&tools.node().unwrap_err()), @"
        `node` was not found
        the local AWS is a Python program that runs functions with this machine's Node.js
        install Node.js 18 or newer and add `node` to `PATH`
        ");
    }

    #[test]
    fn the_output_of_a_failing_shim_is_shown() {
        let (folder, tools) = tools_with("node", "echo 'shim: no version set' >&2; exit 1");
        let shown_error = text_of(&tools.node().unwrap_err()).replace(&folder.path().display().to_string(), "…");
        insta::assert_snapshot!(shown_error, @r"
        `…/node` doesn't work
        shim: no version set
        repair that program, or put a working one first in `PATH`
        ");
    }

    #[test]
    fn the_program_is_used_and_not_its_shim() {
        let (_folder, tools) = tools_with("node", "echo 22.1.0; echo /opt/node/bin/node");
        let node = tools.node().unwrap();
        assert_eq!((node.executable, node.version), (PathBuf::from("/opt/node/bin/node"), [22, 1, 0]));
    }
}
