//! Untrusted text can't manipulate what a user or a CI runner sees: tags, owners, names, AWS's
//! texts, log lines and file names with escape sequences, reordering and invisible characters, and
//! lines that a CI runner executes as commands.

use std::collections::BTreeMap;
use std::fs;

use serde_json::json;

use super::server::{Cloud, Fault};
use super::world::{Reply, World};
use super::{Project, Ran, TABLE, deployed_world};
use crate::shared::program::steering;

/// One of each: screen clearing, clipboard, link, title, C1, hidden text, reordering, invisible
/// characters, carriage returns and other line ends, and commands of three runners, also after
/// white space and within a line.
const HOSTILE: &str = "x\u{1b}[2J\u{1b}]52;c;aGk=\u{7}\u{1b}]8;;http://x.y\u{1b}\\\u{9b}31m\u{9d}0;t\u{9c}\u{1b}[8m\u{202e}\u{2066}\
                       \u{200b}\u{e0041}\u{85}\u{2028}\r::add-mask::a\r\n  ::error::y\n::stop-commands::z\n\t##[error]z \
                       ##vso[task.setvariable variable=a]b\n##teamcity[x]";

/// Text as a double-quoted YAML string.
fn quoted(text: &str) -> String {
    let escape = |c: char| match c {
        ' '..='~' if !"\"\\".contains(c) => c.to_string(),
        c => format!("\\U{:08x}", u32::from(c)),
    };
    format!("\"{}\"", text.chars().map(escape).collect::<String>())
}

/// The lines that a CI runner would execute.
fn commands(output: &str) -> Vec<&str> {
    let is_command = |line: &&str| {
        line.trim_start().starts_with("::") || ["##[", "##vso", "##teamcity["].iter().any(|word| line.contains(word))
    };
    output.lines().filter(is_command).collect()
}

struct OutputTotals {
    n_runs: usize,
    n_bytes: usize,
    /// How many outputs showed hostile text in a harmless form.
    n_shown: usize,
}

impl OutputTotals {
    fn check(&mut self, what: &str, output: &str) {
        self.n_runs += 1;
        self.n_bytes += output.len();
        self.n_shown += usize::from(output.contains("\\u001b") || output.contains('\u{fffd}'));
        assert_eq!(steering(output), None, "{what}: {output:?}");
        assert_eq!(commands(output), Vec::<&str>::new(), "{what}: {output:?}");
    }

    fn run(&mut self, project: &Project, cloud: &Cloud, args: &[&str]) -> Ran {
        // Azure Pipelines doesn't set `CI`.
        let run = project.command_on(&cloud.url, args).env("TF_BUILD", "True").run();
        self.check(&args.join(" "), &format!("{}{}", run.out, run.err));
        run
    }
}

/// The deployed pipeline, with hostile values wherever other AWS users can write.
fn world() -> World {
    let mut world = deployed_world();
    world.tables.get_mut(TABLE).unwrap().tags.insert("note".to_owned(), HOSTILE.to_owned());
    let tags = |team: &str, resource: &str| -> BTreeMap<String, String> {
        let tags = [("engine:team", team), ("engine:stack", "team"), ("engine:resource", resource)];
        tags.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
    };
    world.add_table("blue-owls-old", false, tags("blue-owls", HOSTILE));
    world.add_function("blue-owls-theirs", tags(HOSTILE, HOSTILE));
    world
}

#[test]
fn untrusted_text_controls_neither_the_terminal_nor_ci() {
    let mut outputs = OutputTotals { n_runs: 0, n_bytes: 0, n_shown: 0 };
    let refused = |operation| Fault::Answer(Reply::of(operation, 400, "ValidationException", HOSTILE));
    let project = Project::usual();
    project.edit("    hash_key: id\n", "    hash_key: id\n    tags: { note: fine }\n");
    let cloud = Cloud::start(world());
    for args in [
        &["diff"][..],
        &["diff", "--plain", "-vv"],
        &["diff", "--format", "json"],
        &["diff", "--format", "markdown"],
        &["diff", "--destroy", "--log-format", "json", "-vv"],
        &["graph", "--plan"],
        &["graph", "--plan", "--format", "svg"],
        &["graph", "--plan", "--format", "html"],
        &["graph", "--plan", "--format", "dot"],
        &["graph", "--plan", "--format", "mermaid"],
        &["list", "--all-teams"],
        &["list", "--all-teams", "--format", "json"],
    ] {
        outputs.run(&project, &cloud, args);
    }
    let event =
        json!({ "eventId": "1", "logStreamName": HOSTILE, "timestamp": 1_795_000_000_000_u64, "message": HOSTILE });
    let failure = json!({ "errorType": HOSTILE, "errorMessage": HOSTILE, "trace": [HOSTILE] }).to_string();
    let events = json!([event, { "eventId": "2", "logStreamName": "s", "timestamp": 1_795_000_000_000_u64, "message": failure }]);
    cloud.always("FilterLogEvents", Fault::Answer(Reply::ok(&json!({ "events": events }))));
    outputs.run(&project, &cloud, &["logs"]);
    let told = outputs.run(&project, &cloud, &["logs", "--format", "json"]);
    let mut documents = told.out.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    assert!(documents.any(|it| it["text"] == HOSTILE), "a program gets what was logged: {}", told.out);

    // A program gets the raw text; only lines that a CI runner would execute are broken up.
    let raw = |ci: &str| project.command_on(&cloud.url, &["logs", "--raw"]).env("CI", ci).may_steer().run();
    assert!(raw("").out.contains(&format!("{HOSTILE}\n")));
    let in_ci = raw("1").out;
    assert!(in_ci.contains("\u{1b}[2J") && commands(&in_ci).is_empty(), "{in_ci:?}");

    // A terminal gets harmless text even with `--raw`; all colors are engine's own.
    for args in [&["logs", "--raw"][..], &["logs"], &["diff"]] {
        let mut terminal = project.command_on(&cloud.url, args).env("TERM", "xterm").terminal();
        // The pseudo-terminal returns each byte as one character.
        let bytes: Vec<u8> = terminal.exp_eof().unwrap().chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
        let shown = String::from_utf8(bytes).unwrap().replace("\r\n", "\n");
        let own = ["0", "1", "2", "31", "32", "33", "36", "91", "94", "96"];
        let plain = own.iter().fold(shown.clone(), |text, style| text.replace(&format!("\u{1b}[{style}m"), ""));
        assert_eq!(steering(&plain), None, "{args:?}: {shown:?}");
        assert!(["\\u001b[2J", "\u{fffd}[2J"].iter().any(|it| shown.contains(it)), "{args:?}: {shown:?}");
        assert!(args.contains(&"--raw") || plain != shown, "{args:?}: there are no colors in {shown:?}");
    }

    cloud.always("UpdateTable", refused("UpdateTable"));
    cloud.always("TagResource", refused("TagResource"));
    cloud.always("DeleteTable", refused("DeleteTable"));
    project.edit("read_capacity: 1", "read_capacity: 2");
    outputs.run(&project, &cloud, &["apply", "--yes", "--delete-data", "--timeline", "page.html"]);
    outputs.check("the timeline", &fs::read_to_string(project.path("page.html")).unwrap());
    outputs.run(&project, &cloud, &["apply", "--yes", "--format", "markdown", "--delete-data"]);
    outputs.run(&project, &cloud, &["destroy", "--yes", "--format", "json", "--delete-data"]);
    cloud.always("DescribeTable", refused("DescribeTable"));
    outputs.run(&project, &cloud, &["diff", "-v"]);
    cloud.always("GetFunction", Fault::Answer(Reply::of("GetFunction", 403, "AccessDeniedException", HOSTILE)));
    outputs.run(&project, &cloud, &["check", "--format", "json"]);

    // Hostile text in files, names and arguments.
    let spec = format!(
        "team: blue-owls\nregion: eu-central-1\nstack: s\nresources:\n  t:\n    type: table\n    attributes: {{ {hostile}: S }}\n    \
         hash_key: {hostile}\n    {hostile}: 1\noutputs: {{ {hostile}: {hostile} }}\n",
        hostile = quoted(HOSTILE)
    );
    let name = format!("specs/{}.yaml", HOSTILE.replace('/', "|"));
    fs::write(project.path(&name), &spec).unwrap();
    for args in
        [&["diff", &name][..], &["validate", &name], &["validate", &name, "--format", "json"], &["graph", &name]]
    {
        outputs.run(&project, &cloud, args);
    }
    let annotated = project.command(&["validate", &name, "--format", "github"]).env("CI", "true").run();
    assert!(annotated.out.lines().count() > 1 && annotated.out.lines().all(|line| line.starts_with("::error file=")));
    assert_eq!(steering(&annotated.out), None, "{:?}", annotated.out);
    for args in [
        &["diff", "--team", HOSTILE][..],
        &["diff", "--profile", HOSTILE],
        &["explain", HOSTILE],
        &["logs", HOSTILE],
        &["diff", "--target", HOSTILE],
        &[HOSTILE],
        &["diff", &format!("--{HOSTILE}")],
        &["diff", "--color", HOSTILE],
    ] {
        outputs.run(&project, &cloud, args);
    }
    let OutputTotals { n_runs, n_bytes, n_shown } = outputs;
    assert!(n_shown * 2 > n_runs, "hardly anything hostile came out at all: {n_shown} of {n_runs}");
    eprintln!("hostile: {n_runs} outputs, {n_bytes} bytes, {n_shown} of them with something made visible");
}
