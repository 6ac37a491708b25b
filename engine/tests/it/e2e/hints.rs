//! Commands in hints, which a user copies: they act on the same AWS, spec and team.

use super::project::Project;
use crate::shared::program::flat;

/// A spec that isn't the default.
const COPY: &str = "specs/copy.yaml";

/// The commands in a text that act on an AWS.
fn commands(text: &str) -> Vec<String> {
    let text = flat(text).replace(" # ", " ");
    let quoted: Vec<&str> = text.split('`').skip(1).step_by(2).collect();
    let is_free = |command: &&str| ["explain", "init", "local", "policy", "validate"].contains(command);
    let acts = |command: &&&str| {
        let name = command.strip_prefix("engine ").and_then(|rest| rest.split(' ').next());
        name.is_some_and(|name| !is_free(&name))
    };
    quoted.iter().filter(acts).map(|command| (*command).to_owned()).collect()
}

#[test]
fn commands_in_hints_act_on_the_same_aws_spec_and_team() {
    let project = Project::new();
    project.write(COPY, &project.read("specs/team.yaml"));
    project.write("teams.txt", "red-foxes\ngrey-geese\n");
    let code = "lambda-src/log-events/index.js";
    let works = project.read(code);
    let start = "starting_position: TRIM_HORIZON";
    let disabled = format!("{start}\n    enabled: false");
    let check = |args: &[&str], selected: &[&str], hints: &[&str]| {
        let ran = project.run(&[args, &["--local"]].concat());
        let text = format!("{} {}", ran.out, ran.err);
        let flat = flat(&text).replace(" # ", " ");
        for hint in hints {
            assert!(flat.contains(hint), "`{hint}` is not in {ran:#?}");
        }
        for command in commands(&text) {
            // A stack is a team's, and instead of a spec.
            let replaces = |option: &str| option.starts_with("--spec") && command.contains("--stack ");
            let mut wanted = ["--local"].iter().chain(selected).filter(|option| !replaces(option));
            let lacks = wanted.find(|option| !command.contains(**option));
            assert!(lacks.is_none(), "{lacks:?} is not in `{command}` of {args:?}");
        }
    };
    let own = ["--spec", COPY, "--team", "owl"];
    let run =
        |args: &[&str], hints: &[&str]| check(&[args, &own].concat(), &["--spec specs/copy.yaml", "--team owl"], hints);
    let list = |args: &[&str], hints: &[&str]| check(&[args, &["--teams", "teams.txt"]].concat(), &["--team"], hints);

    run(&["list"], &["`engine apply --local --spec specs/copy.yaml --team owl` starts it"]);
    run(&["logs"], &["run `engine apply --local --spec specs/copy.yaml --team owl` first"]);
    project.run(&["local", "start"]).expect(0, &[]);
    run(&["verify"], &["otherwise run `engine apply --local --spec specs/copy.yaml --team owl` to create it"]);
    run(&["invoke", "logger"], &["--spec specs/copy.yaml --team owl`"]);
    run(&["items", "list", "todos"], &["--spec specs/copy.yaml --team owl`"]);
    list(&["verify"], &["run `engine apply --local --teams teams.txt` to create it"]);
    list(&["logs"], &["run `engine apply --local --team grey-geese`", "run `engine apply --local --team red-foxes`"]);
    run(&["diff", "--out", "plan.json"], &["run: engine apply plan.json --local"]);

    run(&["apply"], &["Next: `engine verify --local --spec specs/copy.yaml --team owl`"]);
    project.write(code, "exports.handler = async () => { throw new Error('no luck'); };\n");
    run(&["apply"], &[]);
    run(&["invoke", "logger"], &["run `engine apply --local --spec specs/copy.yaml --team owl`, then invoke it again"]);
    run(&["verify", "--timeout", "10"], &["no luck"]);
    project.write(code, &works);
    project.edit(COPY, &[(start, &disabled)]);
    run(&["apply"], &[]);
    let enable = "set `enabled: true` in the spec and run `engine apply --local --spec specs/copy.yaml --team owl`";
    run(&["verify"], &[enable]);
    project.edit(COPY, &[(&disabled, start)]);
    run(&["verify"], &["run `engine apply --local --spec specs/copy.yaml --team owl` to enable it"]);

    // Another stack has the name now.
    project.edit(COPY, &[("resources:\n", "stack: other\nresources:\n")]);
    run(&["apply", "--yes"], &[]);
    project.edit(COPY, &[("stack: other\n", ""), ("  logger:\n", "  logger:\n    name: ${team}-renamed\n")]);
    run(&["destroy", "--yes"], &["run `engine destroy --team owl --stack copy --region eu-central-1 --local`"]);
}
