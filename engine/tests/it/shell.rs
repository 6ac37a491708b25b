//! Shell completions and man pages are generated from the program's command line.

use std::collections::BTreeSet;
use std::fs;

use engine::kinds::all;

use crate::shared::program::Program;
use crate::support::installed_program;

/// Runs the program and returns its output and its exit code.
fn engine(args: &[&str]) -> (i32, String) {
    let ran = Program::engine(&std::env::temp_dir()).args(args).run();
    (ran.code().unwrap(), ran.text())
}

/// The completions that bash offers for the last of `words`.
fn offered(script: &std::path::Path, words: &[&str]) -> Vec<String> {
    let ask = r#"source "$1"; shift; COMP_WORDS=(engine "$@"); COMP_CWORD=$#
        _engine engine "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"; printf '%s\n' "${COMPREPLY[@]}""#;
    let mut bash = Program::new("bash", script.parent().unwrap());
    let ran = bash.search_path().args(["--noprofile", "--norc", "-c", ask, "bash"]).arg(script).args(words).run();
    assert!(ran.err.is_empty(), "{ran:?}");
    ran.out.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_aliases_and_known_values() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("engine.bash");
    fs::write(&script, engine(&["completions", "bash"]).1).unwrap();
    let offered = |words: &[&str]| offered(&script, words);
    assert_eq!(offered(&["pl"]), ["plan"]);
    assert_eq!(offered(&["de"]), ["deploy", "dev", "destroy"]);
    for command in ["apply", "deploy"] {
        assert_eq!(offered(&[command, "--format", ""]), ["text", "json", "markdown"], "{command}");
        assert_eq!(offered(&[command, "--delete"]), ["--delete-data"], "{command}");
    }
    let explained = offered(&["explain", ""]);
    assert!(all().schemas().all(|schema| explained.contains(&schema.kind.to_string())), "{explained:?}");
    assert!(explained.contains(&"role-not-assumable".to_owned()));
    assert_eq!(offered(&["explain", "mapp"])[0], "mapping");
    assert_eq!(offered(&["man", "local-st"]), ["local-start", "local-stop", "local-status"]);
    assert_eq!(offered(&["local", "st"]), ["start", "stop", "status"]);
    assert!(offered(&["local", "su"]).is_empty());
    // Options for AWS are only offered for commands that call AWS.
    assert_eq!(offered(&["diff", "--prof"]), ["--profile"]);
    assert!(offered(&["explain", "--prof"]).is_empty() && offered(&["local", "start", "--prof"]).is_empty());
    assert_eq!(offered(&["local", "start", "--col"]), ["--color"]);
}

#[test]
fn completion_scripts_offer_nothing_hidden_and_load_in_their_shell() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let (code, script) = engine(&["completions", shell]);
        assert_eq!(code, 0, "{script}");
        assert!(!script.contains("supervise"), "{shell}");
        for word in ["deploy", "destroy", "local", "delete-data"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
        fs::write(folder.path().join(shell), script).unwrap();
    }
    let load = [
        (
            "zsh",
            r#"mv zsh _engine; fpath=($PWD $fpath); autoload -Uz compinit; compinit -u -D; autoload +X _engine; [ "$_comps[engine]" = _engine ]"#,
        ),
        (
            "fish",
            r#"source fish; complete -C 'engine explain perm' | string match -q 'permission*'; and complete -C 'engine deploy --delete' | string match -q -- '--delete-data*'"#,
        ),
    ];
    for (shell, line) in load {
        // Skip shells that are not installed.
        if installed_program(shell).is_some() {
            let ran = Program::new(shell, folder.path()).search_path().args(["-c", line]).run();
            assert!(ran.status.success() && ran.err.is_empty(), "{shell}: {ran:?}");
        }
    }
}

#[test]
fn every_command_and_every_referenced_page_has_a_man_page() {
    let mut left = vec![("engine".to_owned(), Vec::new())];
    let mut seen = BTreeSet::new();
    while let Some((name, words)) = left.pop() {
        let (code, page) = engine(&[&["man"], &words.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat());
        let page = page.replace("\\-", "-");
        assert!(code == 0 && page.contains(&format!(".SH NAME\n{name} - ")), "{name}: {page}");
        assert!(page.contains(concat!("engine ", env!("CARGO_PKG_VERSION"))), "{name}: {page}");
        for named in page.lines().filter_map(|line| line.strip_suffix("(1)")) {
            left.push((named.to_owned(), vec![named.strip_prefix("engine-").unwrap().to_owned()]));
        }
        seen.insert(name);
    }
    assert!(["engine-apply", "engine-local", "engine-local-stop"].iter().all(|it| seen.contains(*it)), "{seen:?}");
    assert_eq!(engine(&["man", "local", "stop"]), engine(&["man", "local-stop"]));
    assert_eq!(engine(&["man", "plan"]), engine(&["man", "diff"]));
    let (code, said) = engine(&["man", "local", "stopp"]);
    assert!(
        code == 64 && said.contains("`engine` has no command `local stopp`") && said.contains("`local-stop`"),
        "{said}"
    );
    assert_eq!(engine(&["man", "local-supervise"]).0, 64);
}
