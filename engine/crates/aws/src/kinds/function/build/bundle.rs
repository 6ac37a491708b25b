//! A TypeScript function: which file esbuild bundles, and how.
//!
//! **Invariant:** esbuild is the project's own, never one that engine fetches or finds elsewhere.

use std::path::{Path as FilePath, PathBuf};

use engine_core::build::{Build, Command, OUTPUT, Output};
use engine_core::kind::SpecFolder;

use crate::schema::Problem;
use crate::value::Path;

use super::super::javascript::split_handler;
use super::super::source::accessible;

/// The extensions of TypeScript, and of the JavaScript that Lambda loads instead.
const TYPESCRIPT: [&str; 4] = ["ts", "mts", "cts", "tsx"];
const JAVASCRIPT: [&str; 3] = ["js", "mjs", "cjs"];

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
    let args = [
        name.as_str(),
        "--bundle",
        "--platform=node",
        &format!("--target=node{version}"),
        "--sourcemap",
        "--external:@aws-sdk/*",
        "--log-level=warning",
        "--color=false",
        &format!("--outfile={OUTPUT}/{module}.js"),
    ];
    let tool = Command::Tool {
        title: format!("esbuild {name}"),
        program: within().find_map(esbuild).ok_or_else(|| Box::new(missing(&name))),
        args: args.map(str::to_owned).to_vec(),
        install: "run `npm install --save-dev esbuild` in the project",
        explanations: Vec::new(),
    };
    let path = Path::property("code");
    // The project's lock file is among them, so it runs again after a dependency has changed.
    let inputs = vec![".".to_owned()];
    let build = Build { command: tool, directory: directory.to_owned(), inputs, output: Output::Folder, path };
    Some((build, format!("{module}.handler")))
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
