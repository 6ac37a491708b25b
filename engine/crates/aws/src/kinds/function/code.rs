//! `code:` of a function: which source it names, and loading that.
//!
//! **Invariant:** it decides only what to load; `source` reads and packs files.

use std::mem::discriminant;
use std::path::Path as FilePath;
use std::sync::Arc;

use crate::aws::AwsError;
use crate::schema::{Id, Problem, Property, Shape, Text, property};
use crate::value::{Path, Tree, Value};
use engine_core::kind::{Artifact, Loaded, SpecFolder};

use super::build::Makes;
use super::reference::{self, CodeReference};
use super::source::{self, CodeSource, EntryPoint, Package, SourceError};

/// The property itself.
pub(super) fn code() -> Property {
    let exclude = Shape::List { item: Box::new(Shape::Text(Text::any(1024))), max: 1000 };
    let code = vec![
        property("inline", Shape::Text(Text { min: 1, ..Text::any(4_000_000) }), "source code, used literally")
            .no_references()
            .sensitive(),
        property(
            "path",
            Shape::Text(Text { min: 1, ..Text::any(4096) }),
            "path to a folder, file, or `.zip` or `.jar` archive, which is uploaded unchanged; relative to the spec",
        )
        .no_references(),
        property("exclude", exclude, "glob patterns of files to exclude from the package").no_references(),
        reference::s3(),
        reference::image(),
    ];
    property(
        "code",
        Shape::TextOrRecord(Text { min: 1, ..Text::any(4096) }, code),
        "path to a folder, file, `.zip` or `.jar`, relative to the spec, or a mapping with `inline`, `s3` or `image`",
    )
    .required()
    .no_references()
    .write_only()
}

/// The forms of `code`.
const FORMS: [&str; 4] = ["inline", "path", "s3", "image"];

/// A custom runtime starts `bootstrap`, whatever the handler
/// (docs.aws.amazon.com/lambda/latest/dg/runtimes-provided.html).
pub(super) fn normalize(desired: &mut Tree) {
    let is_custom = desired.get("runtime").and_then(Value::as_str).is_some_and(|it| it.starts_with("provided"));
    if is_custom && desired.get("handler") == Some(&Value::Null) {
        desired.insert("handler".to_owned(), Value::String(source::BOOTSTRAP.to_owned()));
    }
}

/// The errors of a package without a runtime or a handler. A property that is missing had an invalid
/// value, which is already reported; so had `code`, which may have been an image.
pub(super) fn missing(desired: &Tree) -> Vec<Problem> {
    let is_known = match desired.get("code") {
        Some(Value::Map(code)) => FORMS.iter().all(|form| code.contains_key(*form)),
        code => code.is_some(),
    };
    if !is_known {
        return Vec::new();
    }
    let needed = [
        ("runtime", "add `runtime:` (the language and its version), like `nodejs22.x`"),
        ("handler", "add `handler:` (the file and the function that Lambda calls), like `index.handler`"),
    ];
    let missing = needed.into_iter().filter(|(name, _)| desired.get(*name) == Some(&Value::Null));
    let problem =
        |(name, hint): (&str, &str)| Problem::error(Path::default(), format!("the function is missing `{name}`"), hint);
    missing.map(problem).collect()
}

/// Loads the code of a function.
pub(super) fn load(desired: &Tree, folder: &SpecFolder, made: Option<(&Makes, &FilePath)>) -> Loaded {
    if let Some(reference) = desired.get("code").and_then(|code| CodeReference::of(&code.into())) {
        let is_package = matches!(reference, CodeReference::Object(_));
        let problems = if is_package { missing(desired) } else { Vec::new() };
        return Loaded { derived: reference.derived(), problems, ..Loaded::default() };
    }
    let text = |name: &str| desired.get(name).and_then(Value::as_str);
    let (Some(handler), Some(runtime)) = (text("handler"), text("runtime")) else {
        return Loaded { problems: missing(desired), ..Loaded::default() };
    };
    let entry = EntryPoint { handler, runtime, architecture: text("architecture") };
    let at = |path: &str, exclude| CodeSource::Path {
        path: folder.path.join(path),
        boundary: folder.boundary.clone(),
        exclude,
    };
    let (source, path) = match desired.get("code") {
        // Misread source code is not a path to look up or to show.
        Some(Value::String(path)) if glued(path).is_some() => return Loaded::default(),
        Some(Value::String(path)) => (at(path, Vec::new()), Path::property("code")),
        Some(Value::Map(code)) => match (code.get("inline"), code.get("path")) {
            (Some(Value::String(inline)), _) => {
                (CodeSource::Inline(inline.clone()), Path::property("code").key("inline"))
            }
            (_, Some(Value::String(path))) => {
                let exclude = match code.get("exclude") {
                    Some(Value::List(patterns)) => {
                        patterns.iter().filter_map(Value::as_str).map(str::to_owned).collect()
                    }
                    _ => Vec::new(),
                };
                (at(path, exclude), Path::property("code").key("path"))
            }
            _ => return Loaded::default(),
        },
        _ => return Loaded::default(),
    };
    // What esbuild wrote is complete, and what pip downloaded is added.
    let (source, wheels) = match made {
        Some((Makes::Bundle(_), output)) => {
            (CodeSource::Path { path: output.to_owned(), boundary: None, exclude: Vec::new() }, None)
        }
        Some((Makes::Wheels, output)) => (source, Some(output)),
        Some((Makes::Code, _)) | None => (source, None),
    };
    // A layer can contain the handler's file, or wrap it.
    let has_layers = matches!(desired.get("layers"), Some(Value::List(layers)) if !layers.is_empty());
    pack(source::package_with(&source, wheels, entry, folder.cache.as_deref()), &path, has_layers)
}

pub(super) fn code_problem(desired: &Tree) -> Option<Problem> {
    let path = Path::property("code");
    let code = match desired.get("code")? {
        Value::String(text) => {
            let key = glued(text)?;
            let problem =
                format!("a space is missing after `{key}:`, so YAML reads the whole value of `code` as a path");
            return Some(Problem::error(path, problem, format!("write `{key}: …`")));
        }
        Value::Map(code) => code,
        _ => return None,
    };
    // A missing key here had an invalid value, which is already reported.
    let is_whole = FORMS.iter().all(|form| code.contains_key(*form));
    let has = |name: &&str| !matches!(code.get(*name), None | Some(Value::Null));
    let set: Vec<&str> = FORMS.into_iter().filter(has).collect();
    match set.as_slice() {
        [] if is_whole => {
            let hint = "write `code: folder`, or `code:` with `inline: |` and the source under it";
            Some(Problem::error(path, "`code` needs one of `inline`, `path`, `s3` and `image`", hint))
        }
        [first, second, ..] => {
            let problem = format!("`code` has both `{first}` and `{second}`");
            Some(Problem::error(path, problem, "remove one of them"))
        }
        [form] if *form != "path" && has(&"exclude") => {
            let problem = format!("`exclude` has no effect with `{form}`");
            Some(Problem::error(path.key("exclude"), problem, "remove `exclude`"))
        }
        _ => None,
    }
}

/// The key of `code` at the start of a text, where the space after its colon is missing.
fn glued(code: &str) -> Option<&'static str> {
    ["inline", "path", "exclude", "s3", "image"]
        .into_iter()
        .find(|key| code.strip_prefix(key).is_some_and(|rest| rest.starts_with(':')))
}

/// The bytes of a package, which may have to be packed first; none for code that is elsewhere.
pub(super) async fn bytes(artifact: Option<&Artifact>, operation: &str, id: &Id) -> Result<Arc<[u8]>, AwsError> {
    let Some(artifact) = artifact.map(Arc::clone) else { return Ok(Arc::default()) };
    let bytes = tokio::task::spawn_blocking(move || artifact.bytes()).await;
    let bytes = bytes.map_err(|error| AwsError::defect(format!("the code can't be packed: {error}")))?;
    bytes.map_err(|why| AwsError::changed(operation, &id.name, why))
}

fn pack(package: Result<Package, Vec<SourceError>>, path: &Path, has_layers: bool) -> Loaded {
    match package {
        Ok(package) => Loaded {
            derived: Tree::from([
                (reference::IMAGE.to_owned(), Value::Null),
                (reference::SOURCE.to_owned(), Value::Null),
                ("code_sha256".to_owned(), Value::String(package.code_sha256)),
                ("code_size".to_owned(), Value::Number(package.size.into())),
            ]),
            artifact: Some(package.artifact),
            build: None,
            problems: package
                .problems
                .into_iter()
                .map(|it| Problem {
                    path: path.clone(),
                    hint: match has_layers {
                        true => format!("ignore this if a layer provides or wraps the handler; otherwise {}", it.hint),
                        false => it.hint,
                    },
                    warning: it.warning || has_layers,
                    ..it
                })
                .collect(),
        },
        Err(errors) => Loaded { problems: refused(errors, path), ..Loaded::default() },
    }
}

/// The errors of code at this path of the spec, as problems.
pub(super) fn refused(errors: Vec<SourceError>, path: &Path) -> Vec<Problem> {
    let problem = |(error, n_more): (SourceError, usize)| Problem {
        path: match error {
            SourceError::Pattern { .. } | SourceError::ExcludeFromArchive(_) => Path::property("code").key("exclude"),
            SourceError::Handler { .. } => Path::property("handler"),
            _ => path.clone(),
        },
        problem: match n_more {
            0 => error.to_string(),
            n => format!("{error}, and {n} more like this"),
        },
        why: error.why().map(str::to_owned),
        hint: error.hint().to_owned(),
        warning: false,
        inapplicable: Vec::new(),
    };
    of_each_kind(errors).into_iter().map(problem).collect()
}

/// The first error of each variant and the number of others: in a wrong folder, each file can have
/// the same error. All pattern errors are kept, since each pattern is handwritten.
fn of_each_kind(errors: Vec<SourceError>) -> Vec<(SourceError, usize)> {
    let mut kinds: Vec<(SourceError, usize)> = Vec::new();
    for error in errors {
        let is_like = |it: &SourceError| discriminant(it) == discriminant(&error);
        match kinds.iter_mut().find(|(first, _)| is_like(first)) {
            Some((_, n_more)) if !matches!(error, SourceError::Pattern { .. }) => *n_more += 1,
            _ => kinds.push((error, 0)),
        }
    }
    kinds
}
