//! A TypeScript function: which file esbuild bundles, and how.
//!
//! **Invariant:** esbuild is the project's own, never one that engine fetches or finds elsewhere.

use std::path::{Path as FilePath, PathBuf};

use engine_core::build::{Build, Command, OUTPUT, Output, READ_FILES};
use engine_core::kind::SpecFolder;
use serde_json::Value as Json;

use crate::schema::Problem;
use crate::spec::files;
use crate::value::Path;

use super::super::javascript::split_handler;
use super::super::source::accessible;

/// The extensions of TypeScript, and of the JavaScript that Lambda loads instead.
const TYPESCRIPT: [&str; 4] = ["ts", "mts", "cts", "tsx"];
const JAVASCRIPT: [&str; 3] = ["js", "mjs", "cjs"];
/// Files that decide about a bundle without being part of it, in the folders of a workspace.
const OF_WORKSPACE: [&str; 9] = [
    "package.json",
    "package-lock.json",
    "npm-shrinkwrap.json",
    "yarn.lock",
    "pnpm-lock.yaml",
    "bun.lock",
    "bun.lockb",
    "tsconfig.json",
    "tsconfig.base.json",
];
/// The largest `package.json` that is read, in bytes.
const MAX_BYTES: usize = 1 << 20;
/// Gives CommonJS packages their `require`, which an ES module lacks. The bundle may have one of its
/// own.
const REQUIRE: &str = "--banner:js=import { createRequire as engineCreateRequire } from 'node:module'; \
                       globalThis.require ??= engineCreateRequire(import.meta.url);";

/// How esbuild bundles the TypeScript at `code`, and the handler of the bundle.
pub(super) fn of(
    code: &FilePath,
    handler: Option<&str>,
    runtime: &str,
    folder: &SpecFolder,
) -> Option<(Build, String)> {
    let version = runtime.strip_prefix("nodejs")?.trim_end_matches(".x");
    let (module, entry) = entry(code, handler)?;
    // Any other error about the path is reported when the code is loaded.
    let entry = accessible(&entry, folder.boundary.as_deref()).ok()?;
    let beside = entry.parent()?;
    let within = || beside.ancestors().take_while(|it| folder.boundary.as_ref().is_none_or(|all| it.starts_with(all)));
    let directory = within().find(|it| it.join("package.json").is_file()).unwrap_or(beside);
    let name = entry.strip_prefix(directory).ok()?.to_str()?.replace('\\', "/");
    let (format, extension, banner) = match is_module(&entry, directory) {
        true => ("esm", "mjs", Some(REQUIRE)),
        false => ("cjs", "js", None),
    };
    let args = [
        name.as_str(),
        "--bundle",
        &format!("--format={format}"),
        "--platform=node",
        &format!("--target=node{version}"),
        "--sourcemap",
        "--external:@aws-sdk/*",
        "--log-level=warning",
        "--color=false",
        &format!("--metafile={OUTPUT}/{READ_FILES}"),
        &format!("--outfile={OUTPUT}/{module}.{extension}"),
    ];
    let tool = Command::Tool {
        title: format!("esbuild {name}"),
        program: within().find_map(esbuild).ok_or_else(|| Box::new(missing(&name))),
        args: args.into_iter().chain(banner).map(str::to_owned).collect(),
        install: "run `npm install --save-dev esbuild` in the project",
        downloads: false,
        explanations: Vec::new(),
    };
    let path = Path::property("code");
    let inputs = inputs(directory, folder.boundary.as_deref());
    let build = Build { command: tool, directory: directory.to_owned(), inputs, output: Output::Folder, path };
    Some((build, format!("{module}.handler")))
}

/// What a bundle in `directory` depends on, besides what esbuild lists: the lock file is among it,
/// so that esbuild runs again after a dependency has changed.
fn inputs(directory: &FilePath, boundary: Option<&FilePath>) -> Vec<String> {
    let around = directory.ancestors().skip(1).take_while(|it| boundary.is_some_and(|all| it.starts_with(all)));
    let levels = around.enumerate().map(|(level, folder)| ("../".repeat(level + 1), folder));
    let shared = levels.flat_map(|(up, folder)| {
        let present = OF_WORKSPACE.into_iter().filter(|name| folder.join(name).is_file());
        present.map(|name| format!("{up}{name}")).collect::<Vec<_>>()
    });
    std::iter::once(".".to_owned()).chain(shared).collect()
}

/// Whether Node.js would load the entry as an ES module.
fn is_module(entry: &FilePath, package: &FilePath) -> bool {
    match entry.extension().and_then(|it| it.to_str()) {
        Some("mts") => true,
        Some("cts") => false,
        _ => {
            let text = files::read(&package.join("package.json"), MAX_BYTES).unwrap_or_default();
            let package: Json = serde_json::from_slice(&text).unwrap_or_default();
            package["type"] == "module"
        }
    }
}

/// The TypeScript at `code`: its module's name in the package, and its file.
fn entry(code: &FilePath, handler: Option<&str>) -> Option<(String, PathBuf)> {
    let is_typescript = |path: &FilePath| path.extension().is_some_and(|it| TYPESCRIPT.iter().any(|ts| it == *ts));
    if code.is_file() {
        return is_typescript(code).then(|| Some((code.file_stem()?.to_str()?.to_owned(), code.to_owned())))?;
    }
    let module = handler.map_or(Some("index".to_owned()), |handler| Some(split_handler(handler)?.0))?;
    let file = |extension: &&str| Some(code.join(format!("{module}.{extension}"))).filter(|it| it.is_file());
    // What is compiled already, Lambda can run.
    if JAVASCRIPT.iter().any(|extension| file(extension).is_some()) {
        return None;
    }
    let found = TYPESCRIPT.iter().find_map(file)?;
    Some((module, found))
}

fn esbuild(folder: &FilePath) -> Option<PathBuf> {
    let name = if cfg!(windows) { "esbuild.cmd" } else { "esbuild" };
    Some(folder.join("node_modules/.bin").join(name)).filter(|it| it.is_file())
}

fn missing(entry: &str) -> Problem {
    let problem = format!("bundling `{entry}` needs esbuild, which isn't installed in this project");
    let hint = "run `npm install --save-dev esbuild` in the project (`npm ci` if package.json already has it), or write the \
                command that makes `code` as `build:`";
    Problem {
        why: Some("Lambda can't run TypeScript, and engine never fetches a bundler".to_owned()),
        ..Problem::error(Path::property("code"), problem, hint)
    }
}
