//! Tests of the local AWS with real Python, Node.js and processes. They need `python3`, `node`, and
//! on the first run a package index.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine as _;
use engine::local::{self, LocalError, Project, Running};
use rustix::process::Signal;

use crate::shared::program::{self, Program, flat};
use crate::support::{DEADLINE, ENGINE, eventually, installed};

/// A project in a temporary folder. Dropping it stops its server.
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
            // If a test is killed, its server exits soon after.
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

    fn command(&self, args: &[&str]) -> Program {
        let mut engine = Program::engine(self.folder.path());
        engine.local_aws().args(args);
        engine
    }

    /// A spec with a table.
    fn write_spec(&self) {
        let spec = "team: red-foxes\nregion: eu-central-1\nresources:\n  notes: { type: table, attributes: { id: S }, hash_key: id, billing_mode: PAY_PER_REQUEST }\n";
        fs::write(self.folder.path().join("specs/team.yaml"), spec).unwrap();
    }

    /// Creates a function with this JavaScript source.
    fn create_function(&self, running: &Running, name: &str, source: &str) {
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        zip.start_file("index.js", zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(source.as_bytes()).unwrap();
        let code = base64::engine::general_purpose::STANDARD.encode(zip.finish().unwrap().into_inner());
        let function = serde_json::json!({
            "FunctionName": name, "Runtime": "nodejs22.x", "Handler": "index.handler", "Timeout": 900,
            "Role": "arn:aws:iam::000000000001:role/any", "Code": { "ZipFile": code },
        });
        let made = post(running, "/2015-03-31/functions", "", &function.to_string());
        assert!(made.contains("FunctionArn"), "{made}");
    }

    /// Starts a function that never returns and ignores SIGTERM. Returns its process ID and its
    /// environment.
    fn run_an_endless_function(&self, running: &Running) -> (u32, serde_json::Value) {
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
        self.create_function(running, "endless", &source);
        post(running, &invocation("endless"), "X-Amz-Invocation-Type: Event\r\n", "{}");
        eventually("the function runs", || report.exists());
        let mut told: serde_json::Value = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
        (told["pid"].as_u64().unwrap().try_into().unwrap(), told["env"].take())
    }
}

fn invocation(function: &str) -> String {
    format!("/2015-03-31/functions/{function}/invocations")
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = local::stop(&self.project);
    }
}

fn post(running: &Running, path: &str, headers: &str, body: &str) -> String {
    let authorization = authorization(&running.key.access_key_id("000000000001"));
    exchange(
        running.port,
        &format!("POST {path} HTTP/1.1"),
        &format!("Host: 127.0.0.1\r\n{headers}{authorization}"),
        body.as_bytes(),
    )
}

/// An `Authorization` header like that of an AWS client.
fn authorization(access_key_id: &str) -> String {
    let scope = "20260101/eu-central-1/lambda/aws4_request";
    format!("Authorization: AWS4-HMAC-SHA256 Credential={access_key_id}/{scope}, SignedHeaders=host, Signature=0\r\n")
}

/// Sends one request and returns the whole response.
fn exchange(port: u16, line: &str, headers: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(DEADLINE * 4)).unwrap();
    let length = body.len();
    write!(stream, "{line}\r\n{headers}Connection: close\r\nContent-Length: {length}\r\n\r\n").unwrap();
    stream.write_all(body).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// Whether the process exists and is not a zombie: a container without an init keeps those.
pub(crate) fn is_alive(pid: u32) -> bool {
    let state = tool("ps").args(["-o", "stat=", "-p", &pid.to_string()]).run().out;
    !state.trim().is_empty() && !state.trim().starts_with('Z')
}

/// A program on the `PATH` of the tests.
fn tool(name: &str) -> Program {
    let mut tool = Program::new(name, Path::new("/"));
    tool.search_path();
    tool
}

fn kill(pid: u32) {
    tool("kill").args(["-KILL", &pid.to_string()]).run().ends_with(0);
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
fn stop_ends_all_processes_even_a_function_in_an_endless_loop() {
    let sandbox = Sandbox::new();
    let running = sandbox.ensure();
    let (function, _) = sandbox.run_an_endless_function(&running);
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
fn detached_processes_of_functions_end_with_the_server() {
    let sandbox = Sandbox::new();
    let detach = |running: &Running| {
        let reports: Vec<PathBuf> = ["plain", "forked"].map(|it| sandbox.folder.path().join(it)).into();
        reports.iter().for_each(|it| drop(fs::remove_file(it)));
        // The first process starts its own session. The second also loses its parent and the
        // environment that identifies it.
        let source = format!(
            "exports.handler = async () => {{
                const {{ spawn }} = require('child_process');
                const away = {{ detached: true, stdio: 'ignore' }};
                const script = 'echo $$ >\"$0.new\"; mv \"$0.new\" \"$0\"; exec sleep 600';
                spawn('sh', ['-c', script, {:?}], away).unref();
                spawn('sh', ['-c', '(sh -c \"$1\" \"$0\" &)', {:?}, script], {{ ...away, env: {{}} }}).unref();
            }};",
            reports[0], reports[1]
        );
        sandbox.create_function(running, "detaching", &source);
        post(running, &invocation("detaching"), "", "{}");
        eventually("both are away", || reports.iter().all(|it| it.exists()));
        let pids: Vec<u32> = reports.iter().map(|it| fs::read_to_string(it).unwrap().trim().parse().unwrap()).collect();
        assert!(pids.iter().all(|pid| is_alive(*pid)));
        pids
    };
    let detached = detach(&sandbox.ensure());
    assert!(local::stop(&sandbox.project).unwrap());
    // Only on Linux can a process without its parent and environment be found.
    let n_found = if cfg!(target_os = "linux") { 2 } else { 1 };
    detached[..n_found].iter().for_each(|pid| assert!(!is_alive(*pid), "{pid}"));

    // Without a supervisor, only the environment identifies the first process; the second has none
    // left and can't be found.
    let running = sandbox.ensure();
    let detached = detach(&running);
    kill(sandbox.supervisor());
    eventually("the server ends", || !is_alive(running.pid));
    local::stop(&sandbox.project).unwrap();
    assert!(!is_alive(detached[0]));
    tool("kill").args(["-KILL", &detached[1].to_string()]).run();
}

#[test]
fn killing_the_supervisor_ends_the_server_and_its_functions() {
    let sandbox = Sandbox::new();
    let first = sandbox.ensure();
    let (function, _) = sandbox.run_an_endless_function(&first);
    kill(sandbox.supervisor());
    eventually("server and function end", || ![first.pid, function].into_iter().any(is_alive));
    let second = sandbox.ensure();
    assert!(second.started_now && second.lost_previous);

    // With both server and supervisor killed, only the function's command line identifies its
    // server.
    fs::remove_file(sandbox.folder.path().join("report.json")).unwrap();
    let (function, _) = sandbox.run_an_endless_function(&second);
    let both = [second.pid, sandbox.supervisor()].map(|pid| pid.to_string());
    tool("kill").arg("-KILL").args(&both).run().ends_with(0);
    local::stop(&sandbox.project).unwrap();
    eventually("the function ends", || !is_alive(function));
}

#[test]
fn killing_the_server_ends_its_supervisor_and_is_reported_as_a_loss() {
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
fn an_idle_server_exits_and_a_used_one_keeps_running() {
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
fn a_server_exits_when_its_record_is_deleted() {
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
    let (function, _) = sandbox.run_an_endless_function(&running);
    local::reset(&sandbox.project).unwrap();
    assert_eq!(local::status(&sandbox.project).unwrap().map(|now| now.pid), Some(running.pid));
    eventually("the function ends", || !is_alive(function));
    let invoked = post(&running, &invocation("endless"), "", "{}");
    assert!(invoked.starts_with("HTTP/1.1 404"), "{invoked}");
}

#[test]
fn a_function_does_not_inherit_the_users_environment() {
    let sandbox = Sandbox::new();
    let canaries = ["AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "DATABASE_URL"].map(|name| (name, "canary"));
    sandbox.command(&["local", "start"]).envs(canaries).run().ends_with(0);
    let running = local::status(&sandbox.project).unwrap().expect("the command leaves a server behind");
    let (_, environment) = sandbox.run_an_endless_function(&running);
    assert!(environment["AWS_LAMBDA_FUNCTION_NAME"] == "endless");
    assert!(!environment.to_string().contains("canary"), "{environment}");
}

/// Hostile files and settings in the project, the user's configuration and the environment. Each
/// creates a file with its name in `$CANARIES` if it runs during an installation.
fn poison(folder: &Path) -> Vec<(&'static str, String)> {
    let canaries = folder.join("canaries");
    fs::create_dir_all(&canaries).unwrap();
    let write = |path: &str, text: String| {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let here = |path: &str| folder.join(path).display().to_string();
    let python = |name: &str| format!("open({:?}, 'w').close()\n", here(&format!("canaries/{name}")));
    // Modules in the working directory that shadow those of Python.
    for module in ["pip/__main__", "pip/__init__", "venv", "compileall", "runpy", "asyncio", "ministack/app", "site"] {
        write(&format!("{module}.py"), python(&module.replace('/', ".")));
    }
    write("sitecustomize.py", python("sitecustomize"));
    write("usercustomize.py", python("usercustomize"));
    write(".python-version", "no-such-python\n".into());
    write(".tool-versions", "python no-such-python\nnodejs no-such-node\n".into());
    write("uv.toml", "index-url = \"http://127.0.0.1:1/simple\"\n".into());
    write("pip.conf", "[global]\nindex-url = http://127.0.0.1:1/simple\n".into());
    // A package whose build runs code.
    write("evil/setup.py", python("setup.py") + "from setuptools import setup\nsetup(name='evil', version='1')\n");
    write("requirements.txt", here("evil") + "\n");
    let nasty = format!(
        "[global]\nrequirement = {0}\nuser = true\ntarget = {1}\nprefix = {1}\ndry-run = true\nno-binary = :all:\n\
         require-virtualenv = true\npython = {2}\n[download]\nrequirement = {0}\ndest = {1}\n",
        here("requirements.txt"),
        here("elsewhere"),
        here("evil/python"),
    );
    write("config/pip/pip.conf", nasty);
    write("evil.js", format!("require('fs').writeFileSync({:?}, '')", here("canaries/NODE_OPTIONS")));
    write("evil.sh", format!("touch {}\n", here("canaries/BASH_ENV")));
    let temporary = "a-folder-for-temporary-files-whose-name-leaves-no-room-for-sockets";
    fs::create_dir(folder.join(temporary)).unwrap();
    vec![
        ("TMPDIR", here(temporary)),
        ("XDG_CONFIG_HOME", here("config")),
        ("PYTHONPATH", here("")),
        ("PYTHONHOME", here("")),
        ("PYTHONSTARTUP", here("venv.py")),
        ("PYTHONUSERBASE", here("")),
        ("PYENV_VERSION", "no-such-python".into()),
        ("PIP_REQUIREMENT", here("requirements.txt")),
        ("PIP_TARGET", here("elsewhere")),
        ("PIP_USER", "1".into()),
        ("PIP_PREFIX", here("elsewhere")),
        ("PIP_DRY_RUN", "1".into()),
        ("PIP_NO_BINARY", ":all:".into()),
        ("PIP_PYTHON", here("evil/python")),
        ("PIP_REQUIRE_VIRTUALENV", "1".into()),
        ("UV_CONFIG_FILE", here("uv.toml")),
        ("NODE_OPTIONS", format!("--require {}", here("evil.js"))),
        ("BASH_ENV", here("evil.sh")),
        ("ENV", here("evil.sh")),
    ]
}

#[test]
fn two_installs_in_hostile_projects_download_once_and_run_no_project_file() {
    let cache = tempfile::tempdir().unwrap();
    // A killed installation leaves this folder.
    fs::create_dir(cache.path().join("ministack-installing-0123456789abcdef")).unwrap();
    let sandboxes = [(); 2].map(|()| Sandbox::new());
    let started = sandboxes.each_ref().map(|sandbox| {
        // Keep this machine's package index settings.
        let mut command = sandbox.command(&["local", "start"]);
        command.envs(std::env::vars_os()).env("ENGINE_CACHE_DIR", cache.path()).envs(poison(sandbox.folder.path()));
        command.limit(Duration::from_secs(600)).start()
    });
    let said = started.map(|running| running.end().expect(0, &[]).err);
    assert_eq!(said.concat().matches("installing the local AWS: MiniStack 1.5.33").count(), 1);
    for sandbox in &sandboxes {
        let ran: Vec<_> = fs::read_dir(sandbox.folder.path().join("canaries")).unwrap().flatten().collect();
        assert!(ran.is_empty(), "{ran:?}");
        assert!(!sandbox.folder.path().join("elsewhere").exists());
        // The server doesn't run the hostile files either.
        let running = local::status(&sandbox.project).unwrap().unwrap();
        sandbox.create_function(&running, "any", "exports.handler = async () => 'fine'");
        assert!(post(&running, &invocation("any"), "", "{}").ends_with("\"fine\""));
        let ran: Vec<_> = fs::read_dir(sandbox.folder.path().join("canaries")).unwrap().flatten().collect();
        assert!(ran.is_empty(), "{ran:?}");
    }
    let mut names = names_in(cache.path());
    assert_eq!(names.pop().unwrap(), "ministack.lock");
    assert!(names.len() == 1 && names[0].starts_with("ministack-1.5.33-"), "{names:?}");
    // The packages are the same as in a clean project.
    let packages = |cache: &Path| names_in(&cache.join(&names[0]).join("packages"));
    let clean = Sandbox::new();
    clean.ensure();
    assert_eq!(packages(cache.path()), packages(&installed()));
    // Running the server writes nothing into the installation.
    sandboxes.iter().for_each(|sandbox| assert!(local::stop(&sandbox.project).unwrap()));
    let again = Project { cache: Some(cache.path().to_owned()), ..clean.project.clone() };
    local::stop(&again).unwrap();
    local::ensure(&again, &mut |_| {}).unwrap();
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_damaged_installation_is_reported_never_run_and_repaired_by_reset() {
    let mut sandbox = Sandbox::new();
    sandbox.ensure();
    local::stop(&sandbox.project).unwrap();
    let cache = sandbox.folder.path().join("cache");
    tool("cp").arg("-R").arg(installed()).arg(&cache).run().ends_with(0);
    sandbox.project.cache = Some(cache.clone());
    sandbox.ensure();
    local::stop(&sandbox.project).unwrap();
    let name = names_in(&cache).into_iter().find(|it| it.starts_with("ministack-1.5.33-")).unwrap();
    let folder = cache.join(name);
    let at = |path: &str| folder.join("packages").join(path);
    let canary = sandbox.folder.path().join("ran");
    let evil = format!("open({canary:?}, 'w').close()\n");
    let init = fs::read(at("ministack/__init__.py")).unwrap();
    let changes: [(&str, Option<&str>); 5] = [
        ("ministack/__init__.py", Some(&evil)),
        ("ministack/extra.py", Some("")),
        ("sitecustomize.py", Some(&evil)),
        ("../digest", None),
        ("ministack/__init__.py", None),
    ];
    for (path, text) in changes {
        let before = fs::read(at(path)).ok();
        match text {
            Some(text) => fs::write(at(path), text).unwrap(),
            None => fs::remove_file(at(path)).unwrap(),
        }
        let error = local::ensure(&sandbox.project, &mut |_| {}).unwrap_err();
        assert!(matches!(&error, LocalError::CacheDamaged { path } if *path == folder), "{path}: {error}");
        assert_eq!(error.hint(), "run `engine local reset --install` to install it again");
        let found = local::check_requirements(&sandbox.project).into_iter().filter_map(|(_, part)| part.err());
        assert!(matches!(found.collect::<Vec<_>>()[..], [LocalError::CacheDamaged { .. }]), "doctor finds {path}");
        match before {
            Some(before) => fs::write(at(path), before).unwrap(),
            None => fs::remove_file(at(path)).unwrap(),
        }
    }
    assert!(!canary.exists());
    assert_eq!(fs::read(at("ministack/__init__.py")).unwrap(), init);
    sandbox.ensure();
    let run = |args: &[&str]| {
        let ran = sandbox.command(args).env("ENGINE_CACHE_DIR", &cache).run();
        (ran.code(), flat(&ran.text()))
    };
    // A missing folder, or a file or link in its place, is also damage, and `reset --install`
    // repairs each.
    let damages: [&dyn Fn(); 3] =
        [&|| fs::remove_dir_all(at("")).unwrap(), &|| fs::write(&folder, "a file").unwrap(), &|| {
            std::os::unix::fs::symlink("/nonexistent", &folder).unwrap()
        }];
    for damage in damages {
        damage();
        let (code, text) = run(&["doctor", "--local"]);
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("is damaged") && text.contains("`engine local reset --install`"), "{text}");
        local::stop(&sandbox.project).unwrap();
        let error = local::ensure(&sandbox.project, &mut |_| {}).unwrap_err();
        assert!(matches!(&error, LocalError::CacheDamaged { .. }), "{error}");
        let (code, text) = run(&["local", "reset", "--install"]);
        assert_eq!(code, Some(0), "{text}");
        assert_eq!(names_in(&cache), ["ministack.lock", "packages"]);
    }
    assert_eq!(local::status(&sandbox.project).unwrap(), None);
}

/// A `python3` whose pip downloads 6 MB and then stalls. It writes its process IDs to `$PIDS`.
const STALLING_PYTHON: &str = "#!/bin/sh
case \"$*\" in
  *sys.version_info*) echo VERSION; echo WRAPPER ;;
  *'pip config'*) ;;
  *'pip download'*)
    head -c 6500000 /dev/zero > \"$TMPDIR/half-1.0-py3-none-any.whl\"
    sleep 600 &
    echo $$ $! > PIDS
    wait ;;
esac
";

#[test]
fn an_install_shows_its_progress_and_ctrl_c_leaves_no_partial_files() {
    let sandbox = Sandbox::new();
    let at = |name: &str| sandbox.folder.path().join(name);
    let (cache, bin, pids) = (at("cache"), at("bin"), at("pids"));
    fs::create_dir(&bin).unwrap();
    let wrapper = bin.join("python3");
    let script = STALLING_PYTHON.replace("VERSION", "3.11.7").replace("WRAPPER", wrapper.to_str().unwrap());
    fs::write(&wrapper, script.replace("PIDS", pids.to_str().unwrap())).unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    for (args, signal) in [(["local", "start"], Signal::INT), (["diff", "--local"], Signal::TERM)] {
        sandbox.write_spec();
        let mut running = sandbox.command(&args).env("PATH", &path).env("ENGINE_CACHE_DIR", &cache).start();
        let lines = running.err.by_ref().take_while(|line| !line.contains("downloaded 6 of about 20 MB"));
        let said = lines.collect::<Vec<_>>().join(" ");
        for part in
            ["installing the local AWS: MiniStack 1.5.33", "about 20 MB to download", "MB on disk", "Ctrl-C stops"]
        {
            assert!(said.contains(part), "{said}");
        }
        let pids: Vec<u32> =
            fs::read_to_string(&pids).unwrap().split_whitespace().map(|it| it.parse().unwrap()).collect();
        assert!(pids.len() == 2 && pids.iter().all(|pid| is_alive(*pid)), "{pids:?}");
        running.signal(signal);
        let rest = running.err.by_ref().collect::<Vec<_>>().join(" ");
        running.end().ends_with(130);
        assert!(rest.contains("the installation of the local AWS was interrupted"), "{rest}");
        assert!(rest.contains("no partly installed") && rest.contains("run the command again"), "{rest}");
        assert_eq!(names_in(&cache), ["ministack.lock"]);
        assert!(!pids.iter().any(|pid| is_alive(*pid)), "{pids:?}");
    }
}

/// Locks a project's local AWS as another command would, until it is killed.
fn lock_writes_elsewhere(sandbox: &Sandbox) -> program::Running {
    let script = "import fcntl, os, sys; file = open(sys.argv[1], 'r+'); fcntl.flock(file, fcntl.LOCK_EX); \
        file.truncate(0); file.write(str(os.getpid())); file.flush(); print('locked', flush=True); sys.stdin.read()";
    let file = sandbox.folder.path().join(".engine/writes.lock");
    fs::OpenOptions::new().create(true).append(true).open(&file).unwrap();
    let mut holder = tool("python3").args(["-c", script]).arg(file).open_input().start();
    assert_eq!(holder.out.next().as_deref(), Some("locked"));
    holder
}

#[test]
fn only_commands_that_write_wait_for_each_other() {
    let sandbox = Sandbox::new();
    sandbox.write_spec();
    sandbox.ensure();
    let mut holder = lock_writes_elsewhere(&sandbox);
    for args in [&["diff"][..], &["list"], &["output"], &["logs"], &["preflight"], &["graph", "--plan"]] {
        let text = sandbox.command(args).arg("--local").run().text();
        assert!(!text.contains("waiting for another command"), "{args:?}: {text}");
    }
    let start = |args: &[&str]| {
        let mut running = sandbox.command(args).arg("--local").start();
        let waits =
            format!("waiting for another command that changes this project's local AWS (process {})", holder.id());
        assert!(running.err.any(|line| line.contains(&waits)), "{args:?}");
        running
    };
    for args in [&["apply"][..], &["destroy", "--yes"], &["forget", "notes"], &["verify", "--yes"]] {
        let running = start(args);
        running.press_ctrl_c();
        running.end().ends_with(130).complains("nothing was changed");
    }
    let both = [start(&["apply"]), start(&["apply"])];
    // The lock is released even if its holder is killed.
    holder.kill();
    let ran = both.map(|running| running.end().expect(0, &[]));
    let n_created = ran.iter().filter(|ran| ran.out.contains("1 added")).count();
    let n_unchanged = ran.iter().filter(|ran| ran.out.contains("No changes")).count();
    assert_eq!((n_created, n_unchanged), (1, 1), "{ran:?}");
}

#[test]
fn commands_that_need_deployed_resources_start_no_local_aws() {
    let sandbox = Sandbox::new();
    sandbox.write_spec();
    let run = |args: &[&str]| {
        let ran = sandbox.command(args).arg("--local").run();
        (ran.code().unwrap(), ran.out, flat(&ran.err))
    };
    for args in [&["output"][..], &["logs"], &["logs", "--follow"], &["verify"], &["forget", "notes"]] {
        let (code, _, err) = run(args);
        assert_eq!(code, 1, "{args:?}: {err}");
        assert!(err.contains("the local AWS of this project is not running"), "{args:?}: {err}");
        assert!(err.contains("`engine apply --local`"), "{args:?}: {err}");
    }
    let (code, out, _) = run(&["list"]);
    assert!(code == 0 && out.contains("the local AWS of this project is not running"), "{out}");
    let (code, out, err) = run(&["list", "--format", "json"]);
    let list: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(code == 0 && list["resources"].as_array().is_some_and(Vec::is_empty), "{out}{err}");
    assert!(!sandbox.folder.path().join(".engine").exists());
    // `diff` needs a local AWS, and reports that it starts one.
    let (code, out, err) = run(&["diff"]);
    assert!(code == 0 && out.contains("1 to add"), "{out}{err}");
    assert!(err.contains("not running; starting an empty one to compare the spec with"), "{err}");
}

#[test]
fn missing_programs_and_folders_are_reported_before_anything_is_created() {
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
    // A Python that only prints its version.
    let bin = sandbox.folder.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let question = "import sys; print('%d.%d.%d' % sys.version_info[:3])";
    let version = tool("python3").args(["-c", question]).run().out;
    let wrapper = bin.join("python3");
    let script = format!(
        "#!/bin/sh\ncase $# in 3) echo {}; echo {} ;; *) echo 'no server today' >&2; exit 1 ;; esac\n",
        version.trim(),
        wrapper.display()
    );
    fs::write(&wrapper, script).unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var("PATH").unwrap();
    sandbox.project.path = Some(format!("{}:{path}", bin.display()).into());
    let error = local::ensure(&sandbox.project, &mut |_| {}).unwrap_err();
    assert!(matches!(error, LocalError::NotStarted { .. }), "{error}");
    assert!(error.why().unwrap().contains("no server today"), "{:?}", error.why());
}

/// A request that the proxy must refuse: its description, request line and headers.
type Intruder = (&'static str, String, String);

fn intruders(running: &Running) -> Vec<Intruder> {
    let key = running.key.access_key_id("000000000001");
    let (signed, host) = (authorization(&key), "Host: 127.0.0.1\r\n");
    let other = key.replace(running.key.expose(), "LOCAL0123456789012345678901234567890123456789");
    let post = || "POST / HTTP/1.1".to_owned();
    let credential = |key: &str| format!("X-Amz-Credential={key}%2F20260101%2Feu-central-1%2Fs3%2Faws4_request");
    let evil = "Origin: https://evil.example\r\n";
    vec![
        // Requests from web pages.
        (
            "preflight",
            "OPTIONS / HTTP/1.1".into(),
            format!(
                "{host}{evil}Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization\r\n"
            ),
        ),
        ("preflight with the key", "OPTIONS / HTTP/1.1".into(), format!("{host}{signed}")),
        ("no-cors GET", "GET /2015-03-31/functions HTTP/1.1".into(), format!("{host}Sec-Fetch-Mode: no-cors\r\n")),
        ("no-cors POST", post(), format!("{host}{evil}Content-Type: text/plain\r\n")),
        ("form", post(), format!("{host}{evil}Content-Type: application/x-www-form-urlencoded\r\n")),
        ("form of a sandboxed frame", post(), format!("{host}Origin: null\r\nContent-Type: text/plain\r\n")),
        ("form without Origin", post(), format!("{host}Content-Type: application/x-www-form-urlencoded\r\n")),
        ("fetch with the key", post(), format!("{host}{signed}{evil}")),
        ("fetch from this machine with the key", post(), format!("{host}{signed}Origin: http://localhost:3000\r\n")),
        ("rebound name", post(), format!("Host: evil.example\r\n{signed}")),
        ("rebound name and port", post(), format!("Host: evil.example:{}\r\n{signed}", running.port)),
        ("name that only begins well", post(), format!("Host: 127.0.0.1.evil.example\r\n{signed}")),
        ("user in the host", post(), format!("Host: 127.0.0.1@evil.example\r\n{signed}")),
        ("two hosts", post(), format!("{host}Host: localhost\r\n{signed}")),
        ("no host", "POST / HTTP/1.0".into(), signed.clone()),
        // Requests from other users of the machine.
        ("unsigned", post(), host.into()),
        ("an account", post(), format!("{host}{}", authorization("000000000001"))),
        ("another server's key", post(), format!("{host}{}", authorization(&other))),
        ("the key without an account", post(), format!("{host}{}", authorization(running.key.expose()))),
        ("the key in lower case", post(), format!("{host}{}", authorization(&key.to_lowercase()))),
        ("half of the key", post(), format!("{host}{}", authorization(&key[..20]))),
        ("two signatures", post(), format!("{host}{signed}{signed}")),
        ("two credentials", post(), format!("{host}{}", signed.replace(", ", &format!(", Credential={key}/x, ")))),
        ("header and query", format!("POST /?{} HTTP/1.1", credential(&key)), format!("{host}{signed}")),
        ("two in the query", format!("POST /?{0}&x-amz-credential=1 HTTP/1.1", credential(&key)), host.into()),
        ("a wrong one in the query", format!("POST /?{} HTTP/1.1", credential(&other)), host.into()),
        ("version 2", post(), format!("{host}Authorization: AWS {key}:signature\r\n")),
        ("version 2 in the query", format!("GET /?AWSAccessKeyId={key} HTTP/1.1"), host.into()),
        ("bearer", post(), format!("{host}Authorization: Bearer {key}\r\n")),
        ("reset", "POST /_ministack/reset HTTP/1.1".into(), host.into()),
        ("health", "GET /_ministack/health HTTP/1.1".into(), host.into()),
        ("as a proxy", "GET http://127.0.0.1/ HTTP/1.1".into(), format!("{host}{signed}")),
        ("as a tunnel", "CONNECT 127.0.0.1:80 HTTP/1.1".into(), format!("{host}{signed}")),
        ("trace", "TRACE / HTTP/1.1".into(), format!("{host}{signed}")),
    ]
}

#[test]
fn requests_of_web_pages_and_requests_without_the_key_are_refused() {
    let sandbox = Sandbox::new();
    let running = sandbox.ensure();
    sandbox.create_function(&running, "kept", "");
    let body = "Action=CreateRole&RoleName=evil&AssumeRolePolicyDocument=%7B%7D&Version=2010-05-08";
    let intruders = intruders(&running);
    for (what, line, headers) in &intruders {
        let answer = exchange(running.port, line, headers, body.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 403 ") || answer.starts_with("HTTP/1.0 403 "), "{what}: {answer}");
        assert!(!answer.to_ascii_lowercase().contains("access-control-"), "{what}: {answer}");
        assert!(!answer.contains(running.key.expose()), "{what}: {answer}");
        assert!(answer.contains("local AWS: "), "{what}: {answer}");
        if *what == "unsigned" {
            assert!(answer.contains("`engine local env`"), "{answer}");
        }
    }
    eprintln!("{} requests were refused", intruders.len());
    // None of the refused requests took effect.
    let host = "Host: localhost\r\n";
    let signed = authorization(&running.key.access_key_id("000000000001"));
    let kept = exchange(running.port, "GET /2015-03-31/functions/kept HTTP/1.1", &format!("{host}{signed}"), b"");
    assert!(kept.starts_with("HTTP/1.1 200"), "{kept}");
    assert!(!kept.to_ascii_lowercase().contains("access-control-"), "{kept}");
    let form = format!("{host}{signed}Content-Type: application/x-www-form-urlencoded\r\n").replace("lambda", "iam");
    let role = exchange(running.port, "POST / HTTP/1.1", &form, b"Action=GetRole&RoleName=evil&Version=2010-05-08");
    assert!(role.contains("NoSuchEntity"), "{role}");
    // The access key ID selects the account.
    let elsewhere = authorization(&running.key.access_key_id("000000000002"));
    let line = "GET /2015-03-31/functions/kept HTTP/1.1";
    assert!(exchange(running.port, line, &format!("{host}{elsewhere}"), b"").starts_with("HTTP/1.1 404"));
}

#[test]
fn presigned_urls_large_bodies_and_persistent_connections_work() {
    let sandbox = Sandbox::new();
    let running = sandbox.ensure();
    let key = running.key.access_key_id("000000000001");
    let host = "Host: 127.0.0.1\r\n";
    let signed = authorization(&key).replace("eu-central-1/lambda", "us-east-1/s3");
    let made = exchange(running.port, "PUT /bucket HTTP/1.1", &format!("{host}{signed}"), b"");
    assert!(made.starts_with("HTTP/1.1 200"), "{made}");
    let large: Vec<u8> = (0..20_000_000_u32).map(|it| b'a' + (it % 23) as u8).collect();
    let headers = format!("{host}{signed}Expect: 100-continue\r\n");
    let put = exchange(running.port, "PUT /bucket/large HTTP/1.1", &headers, &large);
    assert!(put.contains("HTTP/1.1 200"), "{put}");
    let query = format!(
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={key}%2F20260101%2Fus-east-1%2Fs3\
        %2Faws4_request&X-Amz-Date=20260101T000000Z&X-Amz-Expires=999999999&X-Amz-SignedHeaders=host&X-Amz-Signature=0"
    );
    let got = exchange(running.port, &format!("GET /bucket/large?{query} HTTP/1.1"), host, b"");
    let body = got.split_once("\r\n\r\n").unwrap().1;
    assert!(body.as_bytes() == large, "{} bytes: {}", body.len(), &got[..got.len().min(600)]);

    // Reuse one connection for many calls, and measure the latency that the proxy adds.
    let mut stream = TcpStream::connect(("127.0.0.1", running.port)).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let request = format!("GET /bucket/none HTTP/1.1\r\n{host}{signed}\r\n");
    let private = sandbox.private();
    let mut behind = std::os::unix::net::UnixStream::connect(private.join("socket")).unwrap();
    behind.set_read_timeout(Some(DEADLINE)).unwrap();
    let direct = format!("GET /bucket/none HTTP/1.1\r\n{host}{}\r\n", signed.replace(&key, "000000000001"));
    let (mut through, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..100 {
        through.push(timed(&mut stream, &request));
        beside.push(timed(&mut behind, &direct));
    }
    through.sort();
    beside.sort();
    eprintln!("a call takes {:?} through the proxy and {:?} without it (median of 100)", through[50], beside[50]);
}

/// The response time of a request for a bucket that doesn't exist.
fn timed(stream: &mut (impl Read + Write), request: &str) -> Duration {
    let began = Instant::now();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"</Error>") {
        let mut part = [0; 4096];
        let count = stream.read(&mut part).unwrap();
        assert!(count > 0, "{}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&part[..count]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 404"), "{}", String::from_utf8_lossy(&answer));
    began.elapsed()
}

#[test]
fn five_hundred_concurrent_cold_invocations_and_nested_ones_are_answered() {
    let sandbox = Sandbox::new();
    let running = sandbox.ensure();
    sandbox.create_function(&running, "inner", "exports.handler = async () => 'done'");
    // Like an SDK, it takes the endpoint and the credentials from its environment.
    let outer = "exports.handler = async () => {
        const { AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID } = process.env;
        const scope = `${AWS_ACCESS_KEY_ID}/20260101/eu-central-1/lambda/aws4_request`;
        const authorization = `AWS4-HMAC-SHA256 Credential=${scope}, SignedHeaders=host, Signature=0`;
        const url = `${AWS_ENDPOINT_URL}/2015-03-31/functions/inner/invocations`;
        return (await fetch(url, { method: 'POST', body: '{}', headers: { authorization } })).json();
    };";
    sandbox.create_function(&running, "outer", outer);
    let began = Instant::now();
    let answers: Vec<String> = std::thread::scope(|scope| {
        let call = |n: u32| {
            let function = if n.is_multiple_of(10) { "outer" } else { "inner" };
            let running = &running;
            scope.spawn(move || post(running, &invocation(function), "", "{}"))
        };
        let calls: Vec<_> = (0..500).map(call).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    for answer in &answers {
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\"done\""), "{answer}");
    }
    eprintln!("{} invocations in {:?}", answers.len(), began.elapsed());
}

#[test]
fn only_local_env_prints_the_key_and_only_the_user_can_read_it() {
    let sandbox = Sandbox::new();
    let ask = |args: &[&str]| {
        let ran = sandbox.command(args).run();
        (ran.code().unwrap(), ran.out, ran.err)
    };
    let (code, out, err) = ask(&["local", "env"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(
        err.contains("the local AWS of this project is not running") && err.contains("engine local start"),
        "{err}"
    );
    // An earlier version of engine may have left the folder open to other users.
    fs::create_dir(sandbox.folder.path().join(".engine")).unwrap();
    fs::set_permissions(sandbox.folder.path().join(".engine"), fs::Permissions::from_mode(0o755)).unwrap();
    let running = sandbox.ensure();
    let mode = |path: &str| sandbox.folder.path().join(path).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(".engine"), mode(".engine/local.json")), (0o700, 0o600));
    assert_eq!(sandbox.private().metadata().unwrap().permissions().mode() & 0o777, 0o700);

    let key = running.key.access_key_id("000000000001");
    let endpoint = &running.endpoint;
    assert_eq!(
        ask(&["local", "env"]),
        (
            0,
            format!(
                "export AWS_ENDPOINT_URL='{endpoint}'\nexport AWS_REGION=eu-central-1\n\
                 export AWS_DEFAULT_REGION=eu-central-1\nexport AWS_ACCESS_KEY_ID={key}\n\
                 export AWS_SECRET_ACCESS_KEY=local\nunset AWS_PROFILE AWS_SESSION_TOKEN\n"
            ),
            String::new()
        )
    );
    let (_, out, _) = ask(&["local", "env", "--account", "123456789012", "--region", "eu-west-1"]);
    assert!(out.contains("=eu-west-1\n") && out.contains(&running.key.access_key_id("123456789012")), "{out}");
    assert_eq!(ask(&["local", "env", "--account", "12345678901"]).0, 64);

    sandbox.create_function(&running, "kept", "");
    for args in [&["local", "status", "-vv"][..], &["local", "start", "-vv"], &["doctor"], &["local", "reset", "-vv"]] {
        let (_, out, err) = ask(args);
        assert!(!out.contains(running.key.expose()) && !err.contains(running.key.expose()), "{args:?}: {out}{err}");
    }
    let log = fs::read_to_string(sandbox.folder.path().join(".engine/local.log")).unwrap();
    assert!(!log.contains(running.key.expose()), "{log}");
    let listed = tool("ps").args(["-A", "-ww", "-o", "args="]).run().out;
    assert!(!listed.contains(running.key.expose()));
    assert!(!format!("{running:?}").contains(running.key.expose()));
}

/// Only root can run a process as another user; without root, the test reads as the owner.
#[test]
fn another_user_reaches_neither_the_server_nor_the_key() {
    let sandbox = Sandbox::new();
    let running = sandbox.ensure();
    let owner = rustix::process::getuid().as_raw();
    let other = if owner == 0 { 65534 } else { owner };
    // Open the project's folder, so that only the modes of engine's own folders protect the key.
    fs::set_permissions(sandbox.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let script = "
        const net = require('net'), fs = require('fs'), [socket, record, port] = process.argv.slice(1);
        const request = 'POST /_ministack/reset HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\nConnection: close\\r\\n\\r\\n';
        const ask = (to) => new Promise((done) => {
            let got = '';
            const line = net.connect(to, () => line.write(request));
            line.on('data', (part) => (got += part)).on('end', () => done(got.slice(9, 12)));
            line.on('error', (error) => done(error.code));
        });
        let read = 'read';
        try { fs.readFileSync(record); } catch (error) { read = error.code; }
        Promise.all([ask(socket), ask(+port)]).then((both) => console.log(read, ...both));";
    let mut command = tool("node");
    command.args(["-e", script]).arg(sandbox.private().join("socket"));
    command.arg(sandbox.folder.path().join(".engine/local.json")).arg(running.port.to_string());
    if owner == 0 {
        command.user(other);
    }
    let ran = command.run();
    let wanted = if owner == 0 { "EACCES EACCES 403\n" } else { "read 200 403\n" };
    assert_eq!(ran.out, wanted, "{}", ran.err);
}
