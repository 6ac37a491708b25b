//! Paths that lead nowhere or to something unexpected: specs, code, the cache, the project folder,
//! and output files. The tests run the real program, never as root, and its environment has only
//! what a case needs.

#![cfg(unix)]

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use engine::spec::{Depth, Spec, SpecOverrides};
use insta::assert_snapshot;

use crate::shared::program::{Program, Ran};
use crate::support::{ENGINE, installed};

/// The ID of the user `nobody`, which owns no files on any Unix.
const NOBODY: u32 = 65534;

const FUNCTION: &str = "team: owls
region: eu-central-1
resources:
  logger:
    type: function
    runtime: nodejs22.x
    handler: index.handler
    role: arn:aws:iam::123456789012:role/runner
    code: CODE
";

const SOURCE: &str = "exports.handler = async () => {};\n";

/// The error for a valid spec: only the credentials are missing.
const ACCEPTED: &str = "error[no-credentials]: no AWS credentials found";

/// The time limit of a run: some runs read a lot.
const LIMIT: Duration = Duration::from_secs(300);

/// A folder that all users can enter, with the program in it. Root's permissions would hide errors,
/// so the program runs as another user if the tests run as root.
struct SharedFolder {
    folder: tempfile::TempDir,
    program: PathBuf,
    /// The user that runs the program, if it isn't the user that runs the tests.
    user: Option<u32>,
}

impl SharedFolder {
    fn new() -> SharedFolder {
        SharedFolder::of(rustix::process::getuid().is_root().then_some(NOBODY))
    }

    /// A place where the program runs as the tests' user: it needs Python and Node.js, which other
    /// users may not be able to reach.
    fn own() -> SharedFolder {
        SharedFolder::of(None)
    }

    fn of(user: Option<u32>) -> SharedFolder {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        // Other users may not be able to read the build folder.
        let program = folder.path().join("engine");
        if fs::hard_link(ENGINE, &program).is_err() {
            fs::copy(ENGINE, &program).unwrap();
        }
        let shared = SharedFolder { folder, program, user };
        fs::create_dir(shared.path("home")).unwrap();
        shared.give("home");
        shared
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    fn mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), Permissions::from_mode(mode)).unwrap();
    }

    /// Makes the user that runs the program the owner of the path.
    fn give(&self, name: &str) {
        if let Some(user) = self.user {
            std::os::unix::fs::chown(self.path(name), Some(user), Some(user)).unwrap();
        }
    }

    fn make(&self, tool: &str, name: impl AsRef<Path>) {
        // Runs as the tests' user, which owns the folder.
        Program::new(tool, self.folder.path()).search_path().arg(self.path(name)).run().ends_with(0);
    }

    fn command(&self, program: impl AsRef<OsStr>) -> Program {
        let mut command = Program::new(program, self.folder.path());
        command.search_path().env("HOME", self.path("home")).limit(LIMIT);
        if let Some(user) = self.user {
            command.user(user);
        }
        command
    }

    fn engine<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        self.run(self.command(&self.program).args(args))
    }

    /// Runs the program from a shell that first sets limits or redirects.
    fn shell(&self, script: &str) -> Ran {
        self.run(self.command("sh").args(["-c", script]).arg(&self.program))
    }

    /// Runs a command line in the empty project with the local AWS that all tests share; `$0` is
    /// the program.
    fn project(&self, script: &str) -> Ran {
        let mut shell = self.command("sh");
        self.run(shell.local_aws().args(["-c", &format!("cd project; {script}")]).arg(&self.program))
    }

    /// Runs a command and masks the path of this folder in its output, since it differs in each
    /// run.
    fn run(&self, command: &mut Program) -> Ran {
        let ran = command.run();
        let folder = fs::canonicalize(self.folder.path()).unwrap();
        let text = |text: &str| {
            let text = text.replace(folder.to_str().unwrap(), "HERE");
            let text = text.replace(self.folder.path().to_str().unwrap(), "HERE");
            // Error numbers differ between systems.
            let mut parts = text.split(" (os error ");
            let first = parts.next().unwrap_or_default().to_owned();
            parts.fold(first, |text, part| {
                text + part.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start_matches(')')
            })
        };
        let ran = Ran { out: text(&ran.out), err: text(&ran.err), ..ran };
        assert!(!ran.err.contains("panicked") && ran.code().is_some_and(|code| code != 101), "{}", ran.err);
        ran
    }
}

#[test]
fn a_path_that_is_not_a_spec_is_reported_without_blocking() {
    let shared = SharedFolder::new();
    fs::create_dir(shared.path("folder.yaml")).unwrap();
    shared.make("mkfifo", "pipe.yaml");
    let _socket = UnixListener::bind(shared.path("socket.yaml")).unwrap();
    symlink("nowhere", shared.path("dangling.yaml")).unwrap();
    symlink("loop.yaml", shared.path("loop.yaml")).unwrap();
    shared.write("closed.yaml", "team: owls\nresources: {}\n");
    shared.mode("closed.yaml", 0o000);
    shared.write("good.yaml", "team: owls\nresources: {}\n");
    shared.write("shut/team.yaml", "team: owls\nresources: {}\n");
    shared.mode("shut", 0o000);
    let long = format!("{}.yaml", "long-".repeat(60));
    let mut all = String::new();
    for name in [
        "folder.yaml",
        "pipe.yaml",
        "socket.yaml",
        "dangling.yaml",
        "loop.yaml",
        "closed.yaml",
        "shut/team.yaml",
        "closed.yaml/team.yaml",
        &long,
        "/dev/zero",
    ] {
        let said = shared.engine(["diff", name]).failure();
        // `apply` first checks whether the file is a saved plan, and must fail with the same error.
        assert_eq!(shared.engine(["apply", name]).failure(), said);
        writeln!(all, "{said}").unwrap();
    }
    let unreadable = OsStr::from_bytes(b"caf\xe9.yaml");
    writeln!(all, "{}", shared.engine([OsStr::new("diff"), unreadable]).failure()).unwrap();
    for list in ["pipe.yaml", "/dev/zero", "folder.yaml", "nowhere"] {
        writeln!(all, "{}", shared.engine(["diff", "good.yaml", "--teams", list]).failure()).unwrap();
    }
    shared.mode("shut", 0o755);
    assert_snapshot!(all);
}

/// Files that hold secrets, as their tools write them. Each secret, keys included, contains
/// `s3cr3t`.
const SECRET_FILES: [(&str, &str); 18] = [
    (".env", "DATABASE_URL=postgres://app:s3cr3t-db@db.example.com/app\nAPI_KEY=s3cr3t-key\n"),
    (".env.local", "API_KEY: s3cr3t-one\ns3cr3t-name: s3cr3t-two\ns3cr3t-name: again\n"),
    (
        "id_rsa",
        "-----BEGIN OPENSSH PRIVATE KEY-----\ns3cr3tb3BlbnNzaC1rZXktdjEAAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
    ),
    ("server.pem", "-----BEGIN PRIVATE KEY-----\ns3cr3tMIIEvQIBADANBgkqhkiG9w0B=\n-----END PRIVATE KEY-----\n"),
    ("credentials", "[default]\naws_access_key_id = AKIAs3cr3tEXAMPLE\naws_secret_access_key = s3cr3t/K7MDENG\n"),
    (".netrc", "machine api.example.com login me password s3cr3t-netrc\n"),
    ("key.json", "{\n  \"type\": \"service_account\",\n  \"private_key\": \"s3cr3t-MIIE\",\n  \"s3cr3t\": 1\n}\n"),
    ("one-line.json", "{\"accessKeyId\":\"AKIAs3cr3t\",\"secretAccessKey\":\"s3cr3t-json\"}"),
    ("kubeconfig", "apiVersion: v1\nkind: Config\nusers:\n- name: admin\n  user:\n    token: s3cr3t-token\n"),
    (".pgpass", "localhost:5432:app:app:s3cr3t-pg\ns3cr3t-trailing:\n"),
    (".npmrc", "//registry.npmjs.org/:_authToken=npm_s3cr3t\nalways-auth=true\n"),
    (
        ".bash_history",
        "export TOKEN=s3cr3t-history\ncurl -H \"Authorization: Bearer s3cr3t\" https://api.example.com\n",
    ),
    (".my.cnf", "[client]\nuser=app\npassword=\"s3cr3t-my\"\n"),
    (".git-credentials", "https://me:s3cr3t-git@github.com\n"),
    (".vault-token", "hvs.s3cr3tCAESIJ"),
    ("shadow", "root:$6$s3cr3t$abcdef:19000:0:99999:7:::\n"),
    ("terraform.tfstate", "{\"terraform_version\":\"1.9\",\"resources\":[{\"password\":\"s3cr3t-state\"}]}"),
    ("secrets.yaml", "\tdb_password: s3cr3t-tab\ns3cr3t_key:\n"),
];

/// No command and no output format shows a line or a secret of such a file.
#[test]
fn an_error_about_a_file_that_is_not_a_spec_hides_its_text() {
    let shared = SharedFolder::new();
    let mut files: Vec<String> = Vec::new();
    for (name, content) in SECRET_FILES {
        shared.write(Path::new("secrets").join(name), content);
        files.push(format!("secrets/{name}"));
    }
    shared.write("good.yaml", "team: owls\nregion: eu-central-1\nresources: {}\n");
    let mut runs: Vec<Vec<&str>> = Vec::new();
    for options in [
        &["diff"][..],
        &["diff", "--plain", "-vv"],
        &["diff", "--color", "always", "--log-format", "json", "-vv"],
        &["apply", "--yes", "--format", "markdown"],
        &["destroy", "--yes", "--format", "json"],
        &["check", "--format", "json"],
        &["validate"],
        &["validate", "--format", "json"],
        &["validate", "--format", "github", "--color", "always"],
        &["graph", "--format", "html"],
        &["policy", "--account", "123456789012"],
    ] {
        runs.push(options.iter().copied().chain(files.iter().map(String::as_str)).collect());
    }
    for file in &files {
        runs.push(vec!["diff", "good.yaml", "--teams", file]);
        runs.push(vec!["list", "--all-teams", "--prefixes", file, "-vv"]);
    }
    for args in runs {
        let ran = shared.engine(&args);
        let (code, said) = (ran.code(), format!("{}{}", ran.out, ran.err));
        assert!(code.is_some_and(|code| code == 1 || code == 64), "{args:?}: {said}");
        assert!(!said.contains("s3cr3t"), "{args:?}: {said}");
        for line in SECRET_FILES.iter().flat_map(|(_, text)| text.lines()).map(str::trim).filter(|it| it.len() > 3) {
            assert!(!said.contains(line), "{args:?}: `{line}` in {said}");
        }
    }
}

/// A cloned repository can contain links under the names that engine searches for.
#[test]
fn a_discovered_file_must_not_be_a_link_out_of_its_folder() {
    let shared = SharedFolder::new();
    let (good, secret) = ("team: owls\nregion: eu-central-1\nresources: {}\n", "password: s3cr3t\n");
    shared.write("outside/team.yaml", good);
    shared.write("outside/.env", secret);
    shared.write("outside/deep/one.yaml", good);
    let projects: [(&str, &str, &[&str]); 7] = [
        ("the usual spec", "specs/team.yaml -> ../../outside/team.yaml", &["diff"]),
        ("the only spec", "specs/x.yaml -> ../../outside/.env", &["diff"]),
        ("a folder of the usual name", "specs -> ../outside", &["diff"]),
        ("in a folder", "specs/x.yaml -> ../../outside/.env", &["validate", "specs"]),
        ("by a pattern", "specs/x.yaml -> ../../outside/.env", &["validate", "specs/*.yaml"]),
        ("by a deep pattern", "specs/more -> ../../outside/deep", &["diff", "**/*.yaml"]),
        ("by a pattern of folders", "specs/more -> ../../outside/deep", &["diff", "specs/*/one.yaml"]),
    ];
    for (at, (what, link, args)) in projects.into_iter().enumerate() {
        let (link, target) = link.split_once(" -> ").unwrap();
        let project = shared.path(at.to_string());
        fs::create_dir_all(project.join(link).parent().unwrap()).unwrap();
        symlink(target, project.join(link)).unwrap();
        let run = |args: &[&str]| shared.run(shared.command(&shared.program).args(args).current_dir(&project));
        let said = run(args).failure();
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains("is a link to a file outside `") && !said.contains("s3cr3t"), "{what}: {said}");
        assert!(said.contains("if you trust it, name the file on the command line: `"), "{what}: {said}");
        // engine follows a link that the user names explicitly.
        let name = match link {
            "specs" => "specs/team.yaml",
            "specs/more" => "specs/more/one.yaml",
            link => link,
        };
        let named = run(&["validate", name]);
        assert_eq!(named.code(), Some(if target.ends_with(".env") { 1 } else { 0 }), "{what}: {}", named.err);
        assert!(!named.err.contains("leads out"), "{what}: {}", named.err);
    }
    // A link can lead anywhere within the folder.
    shared.write("inside/specs/real/team.yaml", good);
    symlink("real/team.yaml", shared.path("inside/specs/team.yaml")).unwrap();
    assert!(shared.shell("cd inside && exec \"$0\" diff").failure().starts_with(ACCEPTED));
    assert_eq!(shared.shell("cd inside && exec \"$0\" validate 'specs/*.yaml'").code(), Some(0));
    // `init` doesn't write through a link, either.
    fs::create_dir(shared.path("fresh")).unwrap();
    symlink("../outside", shared.path("fresh/specs")).unwrap();
    let said = shared.engine(["init", "fresh", "--team", "owls"]).failure();
    assert!(said.contains("`fresh/specs` is a symbolic link"), "{said}");
}

/// Each name below `.engine/` that the program reads or writes, and the folder itself, is a link to
/// a precious file or folder.
#[test]
fn no_link_below_the_projects_own_folder_is_followed() {
    let shared = SharedFolder::own();
    empty_project(&shared);
    fs::create_dir(shared.path("precious")).unwrap();
    symlink("../precious", shared.path("project/.engine")).unwrap();
    for command in ["start", "status", "stop", "reset"] {
        let said = shared.project(&format!("exec \"$0\" local {command}")).failure();
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains("symbolic link") && said.contains("`rm HERE/project/.engine`"), "{command}: {said}");
    }
    let said = shared.project("exec \"$0\" diff --local").failure();
    assert!(said.contains("symbolic link"), "{said}");
    assert_eq!(fs::read_dir(shared.path("precious")).unwrap().count(), 0);

    fs::remove_file(shared.path("project/.engine")).unwrap();
    fs::create_dir(shared.path("project/.engine")).unwrap();
    let link = |name: &str| {
        shared.write(format!("precious/{name}"), "precious");
        symlink(format!("../../precious/{name}"), shared.path(format!("project/.engine/{name}"))).unwrap();
    };
    for name in ["lock", "last-used"] {
        link(name);
        let said = shared.project("exec \"$0\" local start").failure();
        assert!(said.contains(&format!("`HERE/project/.engine/{name}` can't be used")), "{said}");
        fs::remove_file(shared.path(format!("project/.engine/{name}"))).unwrap();
    }
    fs::remove_file(shared.path("project/.engine/.gitignore")).unwrap();
    for name in [".gitignore", "local.json", "local.json.new", "local.log"] {
        link(name);
    }
    assert_eq!(shared.project("\"$0\" local start && exec \"$0\" local stop").code(), Some(0));
    for entry in fs::read_dir(shared.path("precious")).unwrap().map(Result::unwrap) {
        assert_eq!(fs::read(entry.path()).unwrap(), b"precious", "{:?}", entry.file_name());
    }
}

#[test]
fn a_spec_can_have_any_file_name() {
    let shared = SharedFolder::new();
    shared.write("code/index.js", SOURCE);
    let spec = FUNCTION.replace("CODE", "code");
    let names: [&[u8]; 4] =
        [b"with spaces/my spec.yaml", "größe/日本/spec.yaml".as_bytes(), b"./a/../team.yaml", b"caf\xe9/team.yaml"];
    fs::create_dir(shared.path("a")).unwrap();
    for name in names {
        let path = shared.write(OsStr::from_bytes(name), spec.replace("team: owls", "team: owls\nstack: one"));
        let code = path.parent().unwrap().join("code");
        if !code.exists() {
            fs::create_dir(&code).unwrap();
            fs::write(code.join("index.js"), SOURCE).unwrap();
        }
        let said = shared.engine([OsStr::new("diff"), path.as_os_str()]).failure();
        assert!(said.starts_with(ACCEPTED), "{}: {said}", path.display());
    }
    // A spec can be a link or an open file; a pipe has no folder with other files.
    symlink("team.yaml", shared.path("link.yaml")).unwrap();
    assert!(shared.engine(["diff", "link.yaml"]).failure().starts_with(ACCEPTED));
    let bare = "team: owls\nstack: one\nregion: eu-central-1\nresources: {}\n";
    shared.write("bare.yaml", bare);
    assert!(shared.shell("exec \"$0\" diff /dev/stdin < bare.yaml").failure().starts_with(ACCEPTED));
    assert_snapshot!(shared.shell("cat bare.yaml | \"$0\" diff /dev/stdin").failure());
}

#[test]
fn all_unpackable_files_in_a_code_folder_are_reported_at_once() {
    let shared = SharedFolder::new();
    for name in ["index.js", "with space.js", "größe.js", "closed.js", "shut/inside.js"] {
        shared.write(Path::new("code").join(name), SOURCE);
    }
    shared.write("outside/secret.txt", "s");
    shared.write("team.yaml", FUNCTION.replace("CODE", "code"));
    let link = |to: &str, name: &str| symlink(to, shared.path("code").join(name)).unwrap();
    link("../outside", "to-a-folder");
    link("../outside/secret.txt", "to-a-file");
    link("/dev/zero", "to-a-device");
    link("..", "up");
    link("nowhere", "dangling");
    link("around", "around");
    shared.make("mkfifo", "code/pipe");
    let _socket = UnixListener::bind(shared.path("code/socket")).unwrap();
    #[cfg(target_os = "linux")]
    shared.write(Path::new("code").join(OsStr::from_bytes(b"caf\xe9.js")), SOURCE);
    shared.mode("code/closed.js", 0o000);
    shared.mode("code/shut", 0o000);
    let said = shared.engine(["diff", "team.yaml"]).failure();
    // engine reads no file until all entries are known to be harmless, so the test needs a second
    // run.
    for name in ["to-a-folder", "to-a-file", "to-a-device", "up", "dangling", "around", "pipe", "socket"] {
        fs::remove_file(shared.path("code").join(name)).unwrap();
    }
    let _ = fs::remove_file(shared.path("code").join(OsStr::from_bytes(b"caf\xe9.js")));
    shared.mode("code/shut", 0o755);
    let then = shared.engine(["diff", "team.yaml"]).failure();
    shared.mode("code/closed.js", 0o644);
    let mut blocks: Vec<&str> = said.split("\n\n").map(str::trim_end).collect();
    blocks.sort_unstable();
    assert_snapshot!(format!("{}\n\n# then\n{then}", blocks.join("\n\n")));
    assert!(shared.engine(["diff", "team.yaml"]).failure().starts_with(ACCEPTED));
}

#[test]
fn code_that_cannot_be_opened_is_reported() {
    let shared = SharedFolder::new();
    shared.write("index.js", SOURCE);
    shared.write("closed.js", SOURCE);
    shared.mode("closed.js", 0o000);
    shared.write("shut/index.js", SOURCE);
    shared.mode("shut", 0o000);
    shared.make("mkfifo", "pipe.js");
    symlink("loop.js", shared.path("loop.js")).unwrap();
    let mut all = String::new();
    for code in ["closed.js", "shut", "shut/index.js", "pipe.js", "loop.js", "index.js/", "/dev/zero", "/dev/null"] {
        shared.write("team.yaml", FUNCTION.replace("CODE", code));
        writeln!(all, "{}", shared.engine(["diff", "team.yaml"]).failure()).unwrap();
    }
    shared.mode("shut", 0o755);
    // A folder with the name of a file is a folder.
    shared.write("folder.js/index.js", SOURCE);
    shared.write("team.yaml", FUNCTION.replace("CODE", "folder.js"));
    assert!(shared.engine(["diff", "team.yaml"]).failure().starts_with(ACCEPTED));
    assert_snapshot!(all);
}

/// Each case is a spec, the path of its code, and whether the project contains that path. The flag
/// allows all folders but the operating system's own.
#[test]
fn code_outside_the_project_needs_a_flag() {
    let shared = SharedFolder::new();
    for folder in ["git/code", "worktree/code", "plain/code", "alone/code", "elsewhere", "git/module/code"] {
        shared.write(format!("{folder}/index.js"), SOURCE);
    }
    fs::create_dir(shared.path("git/.git")).unwrap();
    shared.write("worktree/.git", "gitdir: /elsewhere\n");
    shared.write("git/module/.git", "gitdir: ../.git/modules/module\n");
    symlink("../elsewhere", shared.path("plain/link")).unwrap();
    symlink("code", shared.path("plain/alias")).unwrap();
    let cases = [
        // The repository, no matter how deep in it the spec is.
        ("git/specs/deep/team.yaml", "../../code", true),
        ("git/deploy/team.yaml", "../code", true),
        ("git/deploy/team.yaml", "../../elsewhere", false),
        ("worktree/deploy/team.yaml", "../code", true),
        ("worktree/deploy/team.yaml", "../../elsewhere", false),
        // The nearest repository.
        ("git/module/specs/team.yaml", "../code", true),
        ("git/module/specs/team.yaml", "../../code", false),
        // Without a repository: the folder that contains `specs/`, or else the spec's own folder.
        ("plain/specs/team.yaml", "../code", true),
        ("plain/specs/examples/team.yaml", "../../code", true),
        ("plain/specs/team.yaml", "../alias", true),
        ("plain/specs/team.yaml", "../link", false),
        ("plain/specs/team.yaml", "{ path: ../link/index.js }", false),
        ("plain/specs/team.yaml", "../../elsewhere", false),
        ("alone/team.yaml", "code", true),
        ("alone/deploy/team.yaml", "../code", false),
        ("plain/deploy/team.yaml", "../code", true),
    ];
    let absolute = shared.path("elsewhere").display().to_string();
    let absolute = ("alone/team.yaml", absolute.as_str(), false);
    let mut n_outside = 0;
    for (spec, code, is_inside) in cases.into_iter().chain([absolute]) {
        shared.write(spec, FUNCTION.replace("CODE", code));
        let said = shared.engine(["diff", spec]).failure();
        assert_eq!(said.starts_with(ACCEPTED), is_inside, "{spec} {code}: {said}");
        if !is_inside {
            n_outside += 1;
            assert!(
                said.contains("outside the project folder `HERE/") && said.contains("--allow-code-outside"),
                "{said}"
            );
        }
        // Every command that reads code supports the flag.
        let allowed = shared.engine(["diff", spec, "--allow-code-outside"]).failure();
        assert!(allowed.starts_with(ACCEPTED), "{spec} {code}: {allowed}");
    }
    assert_eq!(n_outside, 8);
    // Another project's `specs/`, above the command's folder, has no effect.
    let mut command = shared.command(&shared.program);
    command.args(["diff", "team.yaml"]).current_dir(shared.path("plain/deploy"));
    assert!(shared.run(&mut command).failure().contains("outside the project folder `HERE/plain/deploy`"));
    let spec = "alone/deploy/team.yaml";
    assert_snapshot!(shared.engine(["diff", spec]).failure());
    let commands: [&[&str]; 9] = [
        &["validate", spec],
        &["apply", spec],
        &["check", spec],
        &["graph", spec],
        &["verify", spec],
        &["policy", spec, "--account", "123456789012"],
        &["output", "--spec", spec],
        &["doctor", spec],
        &["diff", spec],
    ];
    for command in commands {
        let told = |ran: &Ran| format!("{}{}", ran.out, ran.err).contains("--allow-code-outside");
        let ran = shared.engine(command);
        let counts = ran.out.contains("1 error;");
        assert!(told(&ran) || counts, "{command:?}: {}{}", ran.out, ran.err);
        let allowed = shared.engine([command, &["--allow-code-outside"]].concat());
        assert!(!told(&allowed) && !allowed.out.contains("1 error;"), "{command:?}: {}{}", allowed.out, allowed.err);
    }
    // A command that needs no code doesn't check the code's path.
    assert!(shared.engine(["destroy", spec]).failure().starts_with(ACCEPTED));
    for code in ["/dev/zero", "/dev", "/"] {
        shared.write(spec, FUNCTION.replace("CODE", code));
        let said = shared.engine(["diff", spec, "--allow-code-outside"]).failure();
        assert!(said.contains("which belongs to the operating system"), "{said}");
    }
}

/// The files in the package of a spec's only function.
fn packed(spec: &Path) -> Vec<String> {
    let spec = Spec::load(&engine::kinds::all(), spec, &SpecOverrides::default(), Depth::Full).unwrap();
    let artifact = spec.resources[0].artifact.clone().unwrap();
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(artifact.bytes().unwrap())).unwrap();
    (0..zip.len()).map(|at| zip.by_index(at).unwrap().name().unwrap().into_owned()).collect()
}

/// These are two files on Lambda's file system, as on this one.
#[cfg(target_os = "linux")]
#[test]
fn names_that_other_file_systems_merge_stay_distinct() {
    let shared = SharedFolder::new();
    // The umlaut as one character and as two.
    let names = ["INDEX.js", "index.js", "u\u{308}ber.js", "\u{fc}ber.js"];
    for name in names {
        shared.write(Path::new("code").join(name), SOURCE);
    }
    let spec = shared.write("team.yaml", FUNCTION.replace("CODE", "code"));
    assert_eq!(packed(&spec), names);
}

#[test]
fn long_paths_are_read_up_to_the_limit_of_the_system() {
    let shared = SharedFolder::new();
    let deep: PathBuf = (0..14).map(|at| format!("{at:x}{}", "-folder".repeat(33))).collect();
    shared.write(Path::new("code").join(&deep).join("index.js"), SOURCE);
    let spec = shared.write("team.yaml", FUNCTION.replace("CODE", "code"));
    let alone = shared.engine(["diff", "team.yaml"]).failure();
    assert!(alone.starts_with("error: handler"), "{alone}");
    shared.write("code/index.js", SOURCE);
    assert_eq!(packed(&spec), [format!("{}/index.js", deep.display()), "index.js".to_owned()]);
    assert!(shared.engine(["diff", "team.yaml"]).failure().starts_with(ACCEPTED));
}

/// Memory limit in KiB; engine would have to read all of a 250 MiB package.
const MEMORY: usize = 1_000_000;

#[test]
fn too_much_code_names_the_limit_before_any_call() {
    let shared = SharedFolder::new();
    // Data that can't be compressed.
    let mut state = 1_u64;
    let mut noise = Vec::with_capacity(60 << 20);
    while noise.len() < 60 << 20 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        noise.extend_from_slice(&(state ^ (state >> 29)).to_le_bytes());
    }
    shared.write("noise/index.js", SOURCE);
    shared.write("noise/data.bin", &noise);
    shared.write("holes/index.js", SOURCE);
    fs::File::create(shared.path("holes/data.bin")).unwrap().set_len(300 << 20).unwrap();
    let mut all = String::new();
    // engine uploads a zip as it is, so it can't compress it further.
    shared.write("noise.zip", &noise);
    for code in ["noise", "holes", "holes/data.bin", "noise.zip"] {
        shared.write("team.yaml", FUNCTION.replace("CODE", code));
        let ran = shared.shell(&format!("ulimit -t 100; ulimit -v {MEMORY} && exec \"$0\" diff team.yaml"));
        writeln!(all, "{}", ran.failure()).unwrap();
    }
    assert_snapshot!(all);
}

#[test]
fn a_folder_that_changes_while_it_is_read_is_packed_or_reported() {
    let shared = SharedFolder::new();
    for at in 0..200 {
        shared.write(format!("code/{at}.js"), SOURCE);
    }
    shared.write("code/index.js", SOURCE);
    shared.write("team.yaml", FUNCTION.replace("CODE", "code"));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Stops the thread even if an assertion fails: the scope waits for its thread.
        let _ends = Ends(&done);
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for at in 0..200 {
                    let path = shared.path(format!("code/{at}.js"));
                    // It may be a folder by now.
                    let _ = fs::remove_file(&path);
                    let _ = if at % 2 == 0 { fs::write(&path, SOURCE) } else { fs::create_dir(&path) };
                    let _ = fs::remove_dir(&path);
                    let _ = fs::write(&path, SOURCE);
                }
            }
        });
        for _ in 0..10 {
            let said = shared.engine(["diff", "team.yaml"]).failure();
            let known =
                ["error[no-credentials]", "error: `HERE", "error: `code", "error: can't read `", "error: the name of"];
            let errors = said.lines().filter(|line| line.starts_with("error"));
            assert!(errors.into_iter().all(|line| known.iter().any(|it| line.starts_with(it))), "{said}");
        }
    });
}

/// Stops a thread when dropped.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn read_only_commands_work_on_a_read_only_disk() {
    let shared = SharedFolder::new();
    shared.write("project/specs/team.yaml", FUNCTION.replace("CODE", "../code"));
    shared.write("project/code/index.js", SOURCE);
    shared.write("full/.engine", "a file where the folder should be");
    shared.write("full/specs/team.yaml", "team: owls\nresources: {}\n");
    shared.mode("project", 0o555);
    let spec = "project/specs/team.yaml";
    assert!(shared.engine(["diff", spec]).failure().starts_with(ACCEPTED));
    assert!(shared.engine(["destroy", spec]).failure().starts_with(ACCEPTED));
    assert_eq!(shared.shell("cd project && exec \"$0\" local status").out, "not running\n");
    assert_eq!(shared.shell("cd project && exec \"$0\" local stop").out, "not running\n");
    let mut all = String::new();
    for spec in [spec, "full/specs/team.yaml"] {
        writeln!(all, "{}", shared.engine(["diff", spec, "--local"]).failure()).unwrap();
    }
    shared.mode("project", 0o755);
    assert_snapshot!(all);
}

/// A project with an empty spec; its owner is the user that runs the program.
fn empty_project(shared: &SharedFolder) {
    shared.write("project/specs/team.yaml", "team: owls\nresources: {}\n");
    shared.give("project");
}

#[test]
fn an_unusable_cache_folder_is_reported() {
    let shared = SharedFolder::own();
    empty_project(&shared);
    shared.write("a-file", "");
    fs::create_dir(shared.path("small")).unwrap();
    let mut all = String::new();
    for cache in ["a-file", "a-file/below", "/dev/full"] {
        let mut command = shared.command(&shared.program);
        command
            .args(["local", "start"])
            .current_dir(shared.path("project"))
            .env("ENGINE_CACHE_DIR", shared.path(cache));
        writeln!(all, "## {cache}\n{}", shared.run(&mut command).failure()).unwrap();
    }
    // Limits files to 8 KiB, which simulates a full disk.
    let full = "cd project; trap '' XFSZ; ulimit -f 16; ENGINE_CACHE_DIR=\"$PWD/../small\" exec \"$0\" local start";
    let said = shared.shell(full).failure();
    // The installation's name contains the version of Python, and its temporary folder has a new
    // name in each run.
    let (_, said) = said.split_once("ministack-installing-").unwrap();
    writeln!(all, "## small\n…/ministack-installing-…{}", &said[16..]).unwrap();
    // No partial installation has the final name.
    let left: Vec<_> = fs::read_dir(shared.path("small")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["ministack.lock"]);
    assert_snapshot!(all);
}

#[test]
fn a_broken_installation_is_reported_with_the_command_that_repairs_it() {
    let shared = SharedFolder::own();
    empty_project(&shared);
    assert_eq!(shared.project("\"$0\" local start && \"$0\" local stop").code(), Some(0));
    // The folders of real installations, each with only half of the first file.
    for entry in fs::read_dir(installed()).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_dir()) {
        shared.write(Path::new("cache").join(entry.file_name()).join("packages/ministack/__init__.py"), "def (");
    }
    let said = shared.project("ENGINE_CACHE_DIR=\"$PWD/../cache\" exec \"$0\" diff --local").failure();
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in
        ["error: the installed local AWS (MiniStack) in `HERE/", "is damaged", "run `engine local reset --install`"]
    {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn an_invalid_server_record_is_replaced_and_kills_no_process() {
    let shared = SharedFolder::own();
    empty_project(&shared);
    let mut bystander = shared.command("sleep").arg("600").start();
    let identity = format!(r#"{{"pid":{},"started":"another-boot 4711"}}"#, bystander.id());
    let other = format!(
        r#"{{"version":"1.5.33","port":1,"key":"LOCAL0123456789012345678901234567890123456789","private":"/tmp/engine-local-0123456789abcdef","supervisor":{identity},"server":{identity}}}"#
    );
    fs::create_dir(shared.path("project/.engine")).unwrap();
    let record = shared.path("project/.engine/local.json");
    for content in [&b""[..], b"\0\xff\xfe", b"{\"version\": 1", b"[[[[[[", other.as_bytes()] {
        for (command, said) in [("status", "not running\n"), ("reset", "not running\n"), ("stop", "not running\n")] {
            fs::write(&record, content).unwrap();
            let ran = shared.project(&format!("exec \"$0\" local {command}"));
            let code = i32::from(command == "status");
            assert_eq!((ran.code(), ran.out.as_str()), (Some(code), said), "{command}: {}", ran.err);
            assert!(bystander.is_running(), "{command}");
        }
    }
    fs::write(&record, &other).unwrap();
    let ran = shared.project("exec \"$0\" diff --local");
    assert_eq!(ran.code(), Some(0), "{}", ran.err);
    assert!(ran.err.contains("the previous local AWS has stopped"), "{}", ran.err);
    assert!(bystander.is_running());
    assert_eq!(shared.project("exec \"$0\" local stop").out, "stopped\n");
}

#[test]
fn unwritable_output_is_a_failure_and_never_a_panic() {
    let shared = SharedFolder::own();
    empty_project(&shared);
    shared.write("project/other.yaml", "team: owls\n");
    fs::create_dir(shared.path("project/folder")).unwrap();
    shared.make("mkfifo", "project/pipe");
    assert_eq!(shared.project("exec \"$0\" local start").code(), Some(0));
    let mut all = String::new();
    for out in ["no-such-folder/plan.json", "folder", "pipe", "other.yaml", "specs/team.yaml", "/dev/null", "/dev/zero"]
    {
        let ran = shared.project(&format!("ulimit -v {MEMORY}; exec \"$0\" diff --local --out {out}"));
        assert_eq!(ran.code(), Some(1), "{out}: {}", ran.err);
        writeln!(all, "## {out}\n{}", ran.err).unwrap();
    }
    let ran = shared.project("trap '' XFSZ; ulimit -f 0; exec \"$0\" diff --local --out plan.json");
    assert_eq!(ran.code(), Some(1), "{}", ran.err);
    writeln!(all, "## no room\n{}", ran.err).unwrap();
    let mut left: Vec<_> =
        fs::read_dir(shared.path("project")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, [".engine", "folder", "other.yaml", "pipe", "specs"]);
    if cfg!(target_os = "linux") {
        for command in ["explain", "local status", "diff --local --format json", "--help", "diff --local"] {
            let ran = shared.project(&format!("exec \"$0\" {command} > /dev/full"));
            assert_eq!(ran.code(), Some(1), "{command}: {}", ran.err);
            let lost = ran.err.contains("error: couldn't write the output");
            assert!(lost || command == "--help", "{command}: {}", ran.err);
        }
        // If engine can't write messages, the exit code still reports the result.
        for (command, code) in [
            ("-vv diff --local", 0),
            ("-vv --log-format json diff --local", 0),
            ("explain nothing", 64),
            ("--nothing", 64),
            ("diff nowhere.yaml", 1),
        ] {
            for to in ["2> /dev/full", "2>&-", ">&- 2>&-", "< /dev/full 2>&-"] {
                let ran = shared.project(&format!("\"$0\" {command} {to}; exec echo \"rc $?\" > ../code"));
                assert_eq!(ran.code(), Some(0));
                let code_line = fs::read_to_string(shared.path("code")).unwrap();
                assert_eq!(code_line, format!("rc {code}\n"), "{command} {to}");
            }
        }
        let ran = shared.project("exec \"$0\" explain > /dev/full");
        writeln!(all, "## stdout is full\n{}", ran.err).unwrap();
    }
    // A reader that closes the pipe has seen enough.
    let ran = shared.project("{ \"$0\" explain table; echo \"rc $?\" >&2; } | head -c 1");
    assert_eq!((ran.out.len(), ran.err.as_str()), (1, "rc 0\n"));
    assert_eq!(shared.project("exec \"$0\" local stop").out, "stopped\n");
    assert_snapshot!(all);
}

#[test]
fn without_a_home_folder_only_the_cache_is_missing() {
    let shared = SharedFolder::own();
    empty_project(&shared);
    let run = |home: Option<&str>, args: &[&str]| {
        let mut command = shared.command(&shared.program);
        command.args(args).current_dir(shared.path("project")).env_remove("HOME");
        if let Some(home) = home {
            command.env("HOME", home);
        }
        shared.run(&mut command)
    };
    for home in [None, Some(""), Some("/nonexistent"), Some("/dev/null")] {
        assert_eq!(run(home, &["explain"]).code(), Some(0));
        assert!(run(home, &["diff", "--region", "eu-central-1"]).failure().starts_with(ACCEPTED), "{home:?}");
    }
    assert_snapshot!(run(Some("/dev/null"), &["local", "start"]).failure());
}
