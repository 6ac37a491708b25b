//! Tells the program which commit it was made from, where there is a repository.

use std::process::Command;

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

fn main() {
    println!("cargo::rerun-if-env-changed=ENGINE_COMMIT");
    // Every commit and checkout is a line in this file.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={log}");
    }
    // If the source was unpacked inside another repository, that repository's commit is irrelevant.
    let is_own_repository = git(&["ls-files", "--error-unmatch", "build.rs"]).is_some();
    let head = || git(&["rev-parse", "--short=9", "HEAD"]).filter(|_| is_own_repository);
    let commit = std::env::var("ENGINE_COMMIT").ok().or_else(head);
    let version = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    match commit.filter(|commit| !commit.is_empty()) {
        Some(commit) => println!("cargo::rustc-env=ENGINE_VERSION={version} ({commit})"),
        None => println!("cargo::rustc-env=ENGINE_VERSION={version}"),
    }
}
