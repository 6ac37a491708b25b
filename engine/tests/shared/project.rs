//! A user's project in a folder of its own, with its own local AWS.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use engine::local;
use std::os::unix::process::CommandExt as _;

use super::{ENGINE, access_key_id, installed, learn_key};

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn of(output: std::process::Output) -> Ran {
        Ran {
            code: output.status.code().expect("no signal ended it"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Fails unless the command ended with `code` and `stdout` or `stderr` contain all of `texts`.
    #[track_caller]
    pub(crate) fn expect(self, code: i32, texts: &[&str]) -> Ran {
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        // Long sentences are wrapped.
        let said = words(&format!("{} {}", self.stdout, self.stderr)).replace(" # ", " ");
        assert_eq!(self.code, code, "{self:#?}");
        for text in texts {
            assert!(said.contains(text), "`{text}` is not in {self:#?}");
        }
        self
    }
}

/// `specs/` and `lambda-src/` as they stand in the repository. Its local AWS ends with it.
pub(crate) struct Project {
    folder: tempfile::TempDir,
    /// Waits for the end of its input, which comes however the test ends, and then stops the local AWS.
    stopper: Child,
}

impl Project {
    pub(crate) fn new() -> Project {
        static INSTALLED: OnceLock<()> = OnceLock::new();
        INSTALLED.get_or_init(install);
        let folder = tempfile::tempdir().unwrap();
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for name in ["specs", "lambda-src"] {
            copy(&repository.join(name), &folder.path().join(name));
        }
        let mut stopper = command(folder.path(), "sh");
        stopper.args(["-c", r#"read _; exec "$@""#, "sh", ENGINE, "local", "stop"]);
        // Ctrl-C in the terminal of the tests is not for it.
        let stopper = stopper.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        Project { folder, stopper }
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        fs::write(self.path(path), text).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    /// A program in this project's folder, with nothing of this machine's environment but the search path.
    pub(crate) fn program(&self, program: &str) -> Command {
        command(self.folder.path(), program)
    }

    /// The engine with nothing of this machine's environment but the search path.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.program(ENGINE);
        command.args(args);
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args).stdin(Stdio::null()).output().unwrap())
    }

    /// The engine as on real AWS, which is found at `endpoint`.
    pub(crate) fn command_at(&self, endpoint: &str, account: &str, args: &[&str]) -> Command {
        let mut command = self.command(args);
        command.args(["--endpoint-url", endpoint]);
        command.env("AWS_ACCESS_KEY_ID", access_key_id(endpoint, account));
        command.env("AWS_SECRET_ACCESS_KEY", "secret").stdin(Stdio::null());
        command
    }

    pub(crate) fn run_at(&self, endpoint: &str, account: &str, args: &[&str]) -> Ran {
        Ran::of(self.command_at(endpoint, account, args).output().unwrap())
    }

    /// Where the local AWS of this project listens; starts it if need be.
    pub(crate) fn endpoint(&self) -> String {
        let told = self.run(&["local", "start"]).expect(0, &["running: http://127.0.0.1:"]).stdout;
        let endpoint = told.split_whitespace().nth(1).unwrap().to_owned();
        learn_key(&endpoint, &self.key());
        endpoint
    }

    /// What opens the door of the running local AWS.
    pub(crate) fn key(&self) -> String {
        let record: serde_json::Value = serde_json::from_str(&self.read(".engine/local.json")).unwrap();
        record["key"].as_str().unwrap().to_owned()
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        drop(self.stopper.stdin.take());
        // The folder may only go once nothing writes to it.
        let _ = self.stopper.wait();
    }
}

/// Fetching the local AWS's package may need what this machine's environment says about proxies and indexes.
fn install() {
    let folder = tempfile::tempdir().unwrap();
    let project = local::Project {
        executable: Some(ENGINE.into()),
        cache: Some(installed()),
        ..local::Project::new(folder.path())
    };
    let there =
        local::survey(&project).iter().any(|(_, part)| part.as_ref().is_ok_and(|it| it.ends_with("is installed")));
    if !there {
        local::ensure(&project, &mut |_| {}).unwrap();
        local::stop(&project).unwrap();
    }
}

fn command(folder: &Path, program: &str) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).env_clear().env("HOME", folder).env("ENGINE_CACHE_DIR", installed());
    command.env("PATH", std::env::var_os("PATH").unwrap()).env("AWS_EC2_METADATA_DISABLED", "true");
    command.env("TZ", "UTC");
    command
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
