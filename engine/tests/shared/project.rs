//! A user's project in a temporary folder, with its own local AWS.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use engine::local;

use super::program::{Program, Ran, Running};
use super::{ENGINE, installed, register_key};

/// A copy of `specs/` and `lambda-src/` from the repository. Dropping it stops its local AWS.
pub(crate) struct Project {
    folder: tempfile::TempDir,
    /// A process that stops the local AWS when its input closes, which happens however the test
    /// ends.
    stopper: Running,
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
        let mut stopper = Program::new("sh", folder.path());
        stopper.args(["-c", r#"read _; exec "$@""#, "sh", ENGINE, "local", "stop"]);
        let stopper = stopper.local_aws().open_input().start();
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

    /// A program in this project's folder.
    pub(crate) fn program(&self, program: &str) -> Program {
        let mut program = Program::new(program, self.folder.path());
        program.local_aws();
        program
    }

    pub(crate) fn command(&self, args: &[&str]) -> Program {
        let mut engine = Program::engine(self.folder.path());
        engine.local_aws().args(args);
        engine
    }

    #[track_caller]
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.command(args).run()
    }

    /// Engine with the account at `endpoint` in place of the real AWS.
    pub(crate) fn command_at(&self, endpoint: &str, account: &str, args: &[&str]) -> Program {
        let mut engine = self.command(args);
        engine.endpoint(endpoint, account);
        engine
    }

    #[track_caller]
    pub(crate) fn run_at(&self, endpoint: &str, account: &str, args: &[&str]) -> Ran {
        self.command_at(endpoint, account, args).run()
    }

    /// The endpoint of this project's local AWS. Starts it if it isn't running.
    pub(crate) fn endpoint(&self) -> String {
        let told = self.run(&["local", "start"]).expect(0, &["running: http://127.0.0.1:"]).out;
        let endpoint = told.split_whitespace().nth(1).unwrap().to_owned();
        register_key(&endpoint, &self.key());
        endpoint
    }

    /// The key of the running local AWS.
    pub(crate) fn key(&self) -> String {
        let record: serde_json::Value = serde_json::from_str(&self.read(".engine/local.json")).unwrap();
        record["key"].as_str().unwrap().to_owned()
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        self.stopper.close_input();
        // Delete the folder only after the last process that writes to it has ended.
        let _ = self.stopper.wait();
    }
}

/// Installs the local AWS with this machine's environment, which may set proxies and package
/// indexes.
fn install() {
    let folder = tempfile::tempdir().unwrap();
    let project = local::Project {
        executable: Some(ENGINE.into()),
        cache: Some(installed()),
        ..local::Project::new(folder.path())
    };
    let there = local::check_requirements(&project)
        .iter()
        .any(|(_, part)| part.as_ref().is_ok_and(|it| it.ends_with("is installed")));
    if !there {
        local::ensure(&project, &mut |_| {}).unwrap();
        local::stop(&project).unwrap();
    }
}

pub(crate) fn copy(from: &Path, to: &Path) {
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
