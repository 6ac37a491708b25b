//! The local AWS as a user has it: real Python, real Node.js, real processes. Needs `python3`, `node`, and on the first
//! run a package index.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine as _;
use engine::local::{self, LocalError, Project, Running};

use crate::support::{DEADLINE, ENGINE, eventually, installed};

/// A project in a folder of its own, whose server ends with the test.
struct Sandbox {
    project: Project,
    folder: tempfile::TempDir,
}

impl Sandbox {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("specs")).unwrap();
        let project = Project {
            executable: Some(ENGINE.into()),
            cache: Some(installed()),
            // Should a test be killed, its server is not far behind.
            idle_limit: Duration::from_secs(120),
            ..Project::new(folder.path())
        };
        Self { project, folder }
    }

    fn ensure(&self) -> Running {
        local::ensure(&self.project, &mut |_| {}).unwrap_or_else(|error| panic!("{error}: {:?}", error.why()))
    }

    fn record(&self) -> serde_json::Value {
        serde_json::from_slice(&fs::read(self.folder.path().join(".engine/local.json")).unwrap()).unwrap()
    }

    fn supervisor(&self) -> u32 {
        self.record()["supervisor"]["pid"].as_u64().unwrap().try_into().unwrap()
    }

    fn private(&self) -> PathBuf {
        self.record()["private"].as_str().unwrap().into()
    }

    /// Starts a function that runs for ever and turns a deaf ear to SIGTERM. Returns its process and its environment.
    fn run_an_endless_function(&self, port: u16) -> (u32, serde_json::Value) {
        let report = self.folder.path().join("report.json");
        let source = format!(
            "exports.handler = async () => {{
                process.on('SIGTERM', () => {{}});
                const fs = require('fs'), report = {report:?};
                fs.writeFileSync(report + '.new', JSON.stringify({{ pid: process.pid, env: process.env }}));
                fs.renameSync(report + '.new', report);
                for (;;);
            }};"
        );
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        zip.start_file("index.js", zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(source.as_bytes()).unwrap();
        let code = base64::engine::general_purpose::STANDARD.encode(zip.finish().unwrap().into_inner());
        let function = serde_json::json!({
            "FunctionName": "endless", "Runtime": "nodejs22.x", "Handler": "index.handler", "Timeout": 900,
            "Role": "arn:aws:iam::000000000001:role/any", "Code": { "ZipFile": code },
        });
        assert!(post(port, "/2015-03-31/functions", "", &function.to_string()).contains("FunctionArn"));
        post(port, "/2015-03-31/functions/endless/invocations", "X-Amz-Invocation-Type: Event\r\n", "{}");
        eventually("the function runs", || report.exists());
        let mut told: serde_json::Value = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
        (told["pid"].as_u64().unwrap().try_into().unwrap(), told["env"].take())
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = local::stop(&self.project);
    }
}

fn post(port: u16, path: &str, headers: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let scope = "000000000001/20260101/eu-central-1/lambda/aws4_request";
    let length = body.len();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\
         Authorization: AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Whether the process is there and not a zombie, which a container without an init keeps.
fn is_alive(pid: u32) -> bool {
    let output = Command::new("ps").args(["-o", "stat=", "-p", &pid.to_string()]).output().unwrap();
    let state = String::from_utf8(output.stdout).unwrap();
    !state.trim().is_empty() && !state.trim().starts_with('Z')
}

fn kill(pid: u32) {
    assert!(Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
    eventually("the process dies", || !is_alive(pid));
}

#[test]
fn a_server_is_started_once_and_then_reused() {
    let sandbox = Sandbox::new();
    assert_eq!(local::status(&sandbox.project).unwrap(), None);
    assert!(!sandbox.folder.path().join(".engine").exists(), "asking leaves no trace");

    let first = sandbox.ensure();
    assert_eq!((first.started_now, first.lost_previous), (true, false));
    assert_eq!(first.endpoint, format!("http://127.0.0.1:{}", first.port));
    let reused = Running { started_now: false, ..first };
    let began = Instant::now();
    assert_eq!(sandbox.ensure(), reused);
    assert!(began.elapsed() < Duration::from_secs(1), "reuse runs neither Python nor Node.js");
    assert_eq!(local::status(&sandbox.project).unwrap(), Some(reused));
    assert_eq!(fs::read_to_string(sandbox.folder.path().join(".engine/.gitignore")).unwrap(), "*\n");
}

#[test]
fn two_commands_at_once_get_one_server() {
    let sandbox = Sandbox::new();
    let mut running: Vec<Running> = std::thread::scope(|scope| {
        let started = [(); 2].map(|()| scope.spawn(|| sandbox.ensure()));
        started.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    running.sort_by_key(|running| running.started_now);
    assert_eq!(running[0], Running { started_now: false, ..running[1].clone() });
    assert!(running[1].started_now);
}

#[test]
fn stop_ends_everything_even_an_endless_function() {
    let sandbox = Sandbox::new();
    let running = sandbox.ensure();
    let (function, _) = sandbox.run_an_endless_function(running.port);
    let (supervisor, private) = (sandbox.supervisor(), sandbox.private());
    assert!([running.pid, function, supervisor].into_iter().all(is_alive) && private.exists());

    assert!(local::stop(&sandbox.project).unwrap());
    assert_eq!([running.pid, function, supervisor].map(is_alive), [false; 3]);
    assert!(!private.exists());
    assert_eq!(local::status(&sandbox.project).unwrap(), None);
    assert!(!local::stop(&sandbox.project).unwrap());
    assert!(!sandbox.ensure().lost_previous, "what was stopped on purpose was not lost");
}

#[test]
fn what_a_killed_supervisor_leaves_is_cleaned_up_by_stop_and_by_start() {
    let sandbox = Sandbox::new();
    let first = sandbox.ensure();
    let (function, _) = sandbox.run_an_endless_function(first.port);
    kill(sandbox.supervisor());
    assert!(is_alive(first.pid));
    let second = sandbox.ensure();
    assert!(second.started_now && second.lost_previous);
    assert_eq!([first.pid, function].map(is_alive), [false; 2]);

    // Without server and supervisor, only the function's own command line tells whose it is.
    fs::remove_file(sandbox.folder.path().join("report.json")).unwrap();
    let (function, _) = sandbox.run_an_endless_function(second.port);
    kill(sandbox.supervisor());
    kill(second.pid);
    assert!(is_alive(function));
    assert!(local::stop(&sandbox.project).unwrap());
    assert!(!is_alive(function));
}

#[test]
fn a_server_that_dies_takes_its_supervisor_along_and_is_reported_as_lost() {
    let sandbox = Sandbox::new();
    let first = sandbox.ensure();
    let (supervisor, private) = (sandbox.supervisor(), sandbox.private());
    kill(first.pid);
    eventually("the supervisor ends", || !is_alive(supervisor));
    assert!(!private.exists());
    assert_eq!(local::status(&sandbox.project).unwrap(), None);
    let second = sandbox.ensure();
    assert!(second.started_now && second.lost_previous);
}

#[test]
fn an_unused_server_ends_and_a_used_one_stays() {
    let mut sandbox = Sandbox::new();
    sandbox.project.idle_limit = Duration::from_secs(1);
    let running = sandbox.ensure();
    let (supervisor, private) = (sandbox.supervisor(), sandbox.private());
    let began = Instant::now();
    eventually("two idle limits pass in use", || {
        assert_eq!(sandbox.ensure().pid, running.pid);
        began.elapsed() > Duration::from_secs(2)
    });
    eventually("the server ends", || local::status(&sandbox.project).unwrap().is_none());
    eventually("its supervisor ends", || !is_alive(supervisor));
    assert!(!is_alive(running.pid) && !private.exists());
    assert!(sandbox.ensure().lost_previous);
}

#[test]
fn a_server_whose_record_is_gone_ends_itself() {
    let sandbox = Sandbox::new();
    let running = sandbox.ensure();
    fs::remove_file(sandbox.folder.path().join(".engine/local.json")).unwrap();
    eventually("the server ends", || !is_alive(running.pid));
}

#[test]
fn reset_empties_the_server_and_keeps_it() {
    let sandbox = Sandbox::new();
    local::reset(&sandbox.project).unwrap();
    let running = sandbox.ensure();
    let (function, _) = sandbox.run_an_endless_function(running.port);
    local::reset(&sandbox.project).unwrap();
    assert_eq!(local::status(&sandbox.project).unwrap().map(|now| now.pid), Some(running.pid));
    eventually("the function ends", || !is_alive(function));
    let invoked = post(running.port, "/2015-03-31/functions/endless/invocations", "", "{}");
    assert!(invoked.starts_with("HTTP/1.1 404"), "{invoked}");
}

#[test]
fn a_function_sees_nothing_of_the_users_environment() {
    let sandbox = Sandbox::new();
    let status = Command::new(ENGINE)
        .args(["local", "start"])
        .current_dir(sandbox.folder.path())
        .env("ENGINE_CACHE_DIR", installed())
        .env("AWS_SECRET_ACCESS_KEY", "canary")
        .env("AWS_PROFILE", "canary")
        .env("DATABASE_URL", "canary")
        .status()
        .unwrap();
    assert!(status.success());
    let running = local::status(&sandbox.project).unwrap().expect("the command leaves a server behind");
    let (_, environment) = sandbox.run_an_endless_function(running.port);
    assert!(environment["AWS_LAMBDA_FUNCTION_NAME"] == "endless");
    assert!(!environment.to_string().contains("canary"), "{environment}");
}

#[test]
fn two_first_installations_at_once_download_once_and_leave_no_half_folder() {
    let cache = tempfile::tempdir().unwrap();
    // Left by an installation that was killed.
    fs::create_dir(cache.path().join("ministack-installing-0123456789abcdef")).unwrap();
    let sandboxes = [(); 2].map(|()| {
        let mut sandbox = Sandbox::new();
        sandbox.project.cache = Some(cache.path().to_owned());
        sandbox
    });
    let installations: usize = std::thread::scope(|scope| {
        let started = sandboxes.each_ref().map(|sandbox| {
            scope.spawn(|| {
                let mut lines = Vec::new();
                local::ensure(&sandbox.project, &mut |line| lines.push(line.to_owned())).unwrap();
                lines.iter().filter(|line| line.starts_with("installing MiniStack 1.5.33")).count()
            })
        });
        started.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(installations, 1);
    let mut names: Vec<String> =
        fs::read_dir(cache.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert!(
        matches!(&names[..], [folder, lock] if folder.starts_with("ministack-1.5.33-") && lock == "ministack.lock")
    );
}

#[test]
fn missing_programs_and_folders_are_told_before_anything_is_made() {
    let mut sandbox = Sandbox::new();
    let cache = sandbox.folder.path().join("cache");
    sandbox.project.cache = Some(cache.clone());
    sandbox.project.path = Some("/nonexistent".into());
    let error = local::ensure(&sandbox.project, &mut |_| {}).unwrap_err();
    assert!(matches!(error, LocalError::ToolMissing { program: "python3", .. }), "{error}");
    assert!(!cache.exists());

    sandbox.project.path = None;
    fs::write(&cache, "a file where the folder should be").unwrap();
    let error = local::ensure(&sandbox.project, &mut |_| {}).unwrap_err();
    assert!(matches!(error, LocalError::CacheFolder { .. }), "{error}");
}

#[test]
fn a_server_that_cannot_start_is_shown_with_the_end_of_its_log() {
    let mut sandbox = Sandbox::new();
    sandbox.ensure();
    local::stop(&sandbox.project).unwrap();
    // The installation is there but empty.
    let cache = tempfile::tempdir().unwrap();
    let installed = fs::read_dir(installed()).unwrap().map(|entry| entry.unwrap());
    for entry in installed.filter(|entry| entry.path().is_dir()) {
        fs::create_dir(cache.path().join(entry.file_name())).unwrap();
    }
    sandbox.project.cache = Some(cache.path().to_owned());
    let error = local::ensure(&sandbox.project, &mut |_| {}).unwrap_err();
    assert!(matches!(error, LocalError::NotStarted { .. }), "{error}");
    assert!(error.why().unwrap().contains("No module named ministack"), "{:?}", error.why());
}
