//! The packages that a function's code names in `package.json` or `requirements.txt` and that are
//! not in its package.
//!
//! **Invariant:** only warnings: bundled code and layers bring packages that no file name shows.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnostic::listed;
use crate::schema::Problem;
use crate::value::Path;

use super::EntryPoint;

const MANIFEST: &str = "package.json";
pub(super) const REQUIREMENTS: &str = "requirements.txt";
/// What Lambda's runtimes have (docs.aws.amazon.com/lambda/latest/dg/lambda-nodejs.html,
/// …/lambda-python.html).
const OF_NODE: [&str; 2] = ["@aws-sdk/", "@smithy/"];
const OF_PYTHON: [&str; 7] = ["boto3", "botocore", "jmespath", "python-dateutil", "s3transfer", "six", "urllib3"];
/// Maximum number of packages in a warning.
const MAX_LISTED: usize = 5;

/// The warning for packages that are named and missing in `files` (name to content).
pub(super) fn missing(files: &BTreeMap<String, Vec<u8>>, entry: EntryPoint<'_>) -> Option<Problem> {
    let (manifest, missing, install) = if entry.runtime.starts_with("nodejs") {
        let missing: Vec<String> =
            of_manifest(files.get(MANIFEST)?).into_iter().filter(|it| !has_module(files, it)).collect();
        (MANIFEST, missing, "run `npm install --omit=dev` in the `code` folder")
    } else if entry.runtime.starts_with("python") {
        let text = std::str::from_utf8(files.get(REQUIREMENTS)?).ok()?;
        let named = text.lines().filter_map(requirement);
        let missing: Vec<String> = named.filter(|it| !has_distribution(files, it)).collect();
        (REQUIREMENTS, missing, "install them into the `code` folder with `pip install --target`")
    } else {
        return None;
    };
    let missing: BTreeSet<String> = missing.into_iter().collect();
    let all = listed(missing.iter().map(String::as_str), MAX_LISTED);
    (!missing.is_empty()).then(|| {
        let problem = format!("`{manifest}` names packages that are not in the package: {all}");
        let hint = format!("{install}, or ignore this if the code is bundled or doesn't use them");
        Problem::warning(Path::default(), problem, hint).why("Lambda installs nothing: loading such a package fails")
    })
}

/// The names in `dependencies`, without packages of the runtime.
fn of_manifest(text: &[u8]) -> Vec<String> {
    let manifest: Option<serde_json::Value> = serde_json::from_slice(text).ok();
    let dependencies = manifest.as_ref().and_then(|it| it.get("dependencies")?.as_object());
    let names = dependencies.into_iter().flat_map(|all| all.keys().cloned());
    names.filter(|name| !OF_NODE.iter().any(|scope| name.starts_with(scope))).collect()
}

fn has_module(files: &BTreeMap<String, Vec<u8>>, name: &str) -> bool {
    let folder = format!("node_modules/{name}/");
    has_prefix(files, &folder)
}

/// The normalized name of a line's package
/// (packaging.python.org/en/latest/specifications/dependency-specifiers); `None` for options, URLs,
/// comments, packages of the runtime, and those that only other systems need.
fn requirement(line: &str) -> Option<String> {
    let line = line.split('#').next()?.trim();
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let end = line.find(|c| !is_name(c)).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || rest.contains(';') || rest.starts_with(['/', ':', '+'])
    {
        return None;
    }
    Some(normalized(name)).filter(|name| !OF_PYTHON.contains(&name.as_str()))
}

/// packaging.python.org/en/latest/specifications/name-normalization
fn normalized(name: &str) -> String {
    let parts = name.split(['-', '_', '.']).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("-").to_lowercase()
}

/// Whether pip has installed a distribution there, or a module has its name.
fn has_distribution(files: &BTreeMap<String, Vec<u8>>, name: &str) -> bool {
    let is_it = |file: &String| {
        let first = file.split('/').next().unwrap_or_default();
        let own = first.strip_suffix(".dist-info").map_or(first, |it| it.split('-').next().unwrap_or_default());
        normalized(own.strip_suffix(".py").unwrap_or(own)) == name
    };
    files.keys().any(is_it)
}

fn has_prefix(files: &BTreeMap<String, Vec<u8>>, prefix: &str) -> bool {
    files.range(prefix.to_owned()..).next().is_some_and(|(name, _)| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warning(files: &[(&str, &str)], runtime: &str) -> Option<String> {
        let files = files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect();
        missing(&files, EntryPoint { handler: "index.handler", runtime, architecture: None }).map(|it| it.problem)
    }

    #[test]
    fn packages_of_the_runtime_and_installed_ones_are_not_missing() {
        let manifest = r#"{ "dependencies": { "uuid": "^9", "@scope/a": "1", "@aws-sdk/client-s3": "3" }, "devDependencies": { "x": "1" } }"#;
        let text = warning(&[("package.json", manifest), ("index.js", "")], "nodejs22.x").unwrap_or_default();
        assert_eq!(text, "`package.json` names packages that are not in the package: `@scope/a`, `uuid`");
        let installed = [
            ("package.json", manifest),
            ("node_modules/uuid/package.json", "{}"),
            ("node_modules/@scope/a/index.js", ""),
        ];
        assert_eq!(warning(&installed, "nodejs22.x"), None);
        for harmless in ["{}", "not json", r#"{ "dependencies": ["uuid"] }"#] {
            assert_eq!(warning(&[("package.json", harmless)], "nodejs22.x"), None);
        }
        assert_eq!(warning(&[("package.json", manifest)], "provided.al2023"), None);
    }

    #[test]
    fn requirements_are_compared_by_normalized_names() {
        let text = "# pinned\nPyYAML==6.0\nAWS.lambda_powertools[tracer]>=3 # x\nboto3\n-r other.txt\nhttps://e.org/a.whl\n\
                    git+ssh://x\ncolorama; sys_platform == 'win32'\n./local\n\n";
        let found = warning(&[("requirements.txt", text), ("app.py", "")], "python3.13").unwrap_or_default();
        assert!(found.ends_with("not in the package: `aws-lambda-powertools`, `pyyaml`"), "{found}");
        let installed = [
            ("requirements.txt", text),
            ("PyYAML-6.0.dist-info/METADATA", ""),
            ("aws_lambda_powertools-3.1.dist-info/METADATA", ""),
        ];
        assert_eq!(warning(&installed, "python3.13"), None);
        assert_eq!(warning(&[("requirements.txt", "six_pack"), ("six_pack.py", "")], "python3.13"), None);
    }
}
